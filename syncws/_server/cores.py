"""Which cores this process may use, and which of them its work is to be kept on.

With the GIL one process computes on one core at a time. Where its threads are free to run on several, each message
hands the GIL from one core to another, several times, and that takes longer than the work itself. A process that is
kept on one core does not pay for that. But it waits when other programs use that core, even while another is idle; and
work that gives the GIL away, such as hashing, loses the other cores.
"""

from __future__ import annotations

import os
import sys
from contextlib import suppress
from pathlib import Path
from typing import Literal

from .._base.options import check_integer

#: What is kept on a core: see `Server`.
Pin = bool | int | Literal["workers", "connections", "auto"] | None

#: The same, without its synonyms.
Kind = Literal["default", "nothing", "workers", "connections", "auto", "core"]

#: The number of this process among the workers of a server; None if it is none of them.
_place: int | None = None


def check_workers(count: int, pin: Pin) -> None:
    """Raise TypeError or ValueError unless this system can run so many workers, and keep them so."""
    check_integer("workers", count, 1)
    if count > 1 and not hasattr(os, "fork"):
        raise ValueError("workers are forked, and this system has no fork: use workers=1")
    kind = kind_of(pin)
    if kind in ("default", "nothing", "auto"):
        return
    if not can_pin():
        raise ValueError("this system cannot keep a process on a core: leave pin out")
    if kind == "core" and count > 1:
        raise ValueError(f"pin={pin} is a core for one process: with {count} workers use pin=True")
    if kind == "core" and pin not in own_cores():
        raise ValueError(f"this process may not use core {pin}: its cores are {', '.join(map(str, own_cores()))}")


def kind_of(pin: Pin) -> Kind:
    """What a value of the option asks for. Raises TypeError or ValueError for what is no such value."""
    if pin is None:
        return "default"
    if isinstance(pin, bool):
        return "workers" if pin else "nothing"
    if isinstance(pin, int):
        return "core"
    if pin in ("workers", "connections", "auto"):
        return pin
    raise (ValueError if isinstance(pin, str) else TypeError)(
        f'pin must be "workers", "connections", "auto", the number of a core, True, False or None, not {pin!r}'
    )


def can_pin() -> bool:
    """Whether this system keeps threads on cores: Linux does, macOS and Windows do not."""
    return hasattr(os, "sched_setaffinity")


def own_cores() -> list[int]:
    """The numbers of the cores that the process may use, in order; none where the system does not tell.

    They are those of its first thread: one of its connections may be kept on less.
    """
    return sorted(os.sched_getaffinity(os.getpid())) if hasattr(os, "sched_getaffinity") else []


def take_place(number: int) -> None:
    """This process is a worker, of this number: it is to have another core than the others."""
    global _place
    _place = number


def choose_core() -> int | None:
    """One of the process's cores for its work; None if it has no choice. Each worker has another one.

    Servers in one process get the same core, as they share the GIL.
    """
    cores = own_cores()
    return cores[(os.getpid() if _place is None else _place) % len(cores)] if len(cores) > 1 else None


def busy_seconds(root: Path = Path("/proc")) -> dict[int, float]:
    """For each core of the machine, the seconds for which it has had something to do; none where that is not told."""
    busy = {}
    with suppress(OSError, ValueError):
        for line in (root / "stat").read_text().splitlines():
            name, *numbers = line.split()
            if name.startswith("cpu") and name != "cpu":
                # user, nice, system, idle, iowait, irq, softirq, steal; then what is counted in user already
                ticks = [int(number) for number in numbers[:8]]
                busy[int(name[3:])] = (sum(ticks) - sum(ticks[3:5])) / os.sysconf("SC_CLK_TCK")
    return busy


def cores_of_workers(count: int, pin: Pin) -> list[int] | None:
    """The numbers of the cores that whole workers are kept on; None to leave that to the system, or to each worker."""
    kind, cores = kind_of(pin), own_cores()
    if kind in ("nothing", "connections") or not cores:
        return None
    if kind == "workers":
        return cores
    return cores if has_gil() and count == len(cores) and not has_quota() else None


def is_unrestricted() -> bool:
    """Whether nobody has decided yet where this process runs: it may use all cores, and all of their time."""
    return len(own_cores()) == os.cpu_count() and not has_quota()


def has_gil() -> bool:
    """Whether threads take turns at computing."""
    return bool(getattr(sys, "_is_gil_enabled", lambda: True)())


def has_quota(root: Path = Path("/sys/fs/cgroup"), own: Path = Path("/proc/self/cgroup")) -> bool:
    """Whether the system gives this process less time than its cores have (a container's CPU limit)."""
    try:
        lines = own.read_text().splitlines()
    except OSError:  # not Linux, or no control groups
        return False
    for line in lines:
        controllers, _, path = line.partition(":")[2].partition(":")
        if controllers and "cpu" not in controllers.split(","):
            continue
        folder = root / controllers / path.lstrip("/")
        while True:
            if _limits(folder):
                return True
            if folder in (root, root / controllers) or root not in folder.parents:
                break
            folder = folder.parent
    return False


def _limits(folder: Path) -> bool:
    """Whether a control group limits processor time. For no limit version 2 says "max", and version 1 says -1."""
    for name in ("cpu.max", "cpu.cfs_quota_us"):
        with suppress(OSError):
            return folder.joinpath(name).read_text().split()[:1] not in ([], ["max"], ["-1"])
    return False
