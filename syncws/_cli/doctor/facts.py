"""What the system says of itself, in numbers; None for what it does not say, as on another system."""

from __future__ import annotations

import sys
from pathlib import Path

try:
    import resource
except ImportError:  # pragma: no cover - Windows
    resource = None  # type: ignore[assignment]

#: Where Linux tells; another place in tests.
ROOT = Path("/")

#: From so many bytes on cgroup v1 means: no limit. It writes the largest number of pages.
_NO_LIMIT = 1 << 60


def kernel(name: str) -> list[int] | None:
    """The numbers of a sysctl: kernel("net.ipv4.tcp_rmem")."""
    return _numbers(ROOT / "proc/sys" / name.replace(".", "/"))


def descriptors() -> tuple[int | None, int | None] | None:
    """(soft, hard) limit of descriptors of this process; None inside: no limit."""
    return _limit("RLIMIT_NOFILE")


def processes() -> int | None:
    """How many threads the user of this process may have."""
    limit = _limit("RLIMIT_NPROC")
    return None if limit is None else limit[0]


def stack() -> int | None:
    """Bytes of address space that a new thread gets for its stack."""
    limit = _limit("RLIMIT_STACK")
    return None if limit is None else limit[0]


def _limit(name: str) -> tuple[int | None, int | None] | None:
    number = getattr(resource, name, None)
    if number is None:
        return None
    soft, hard = resource.getrlimit(number)
    infinite = resource.RLIM_INFINITY
    return (None if soft == infinite else soft, None if hard == infinite else hard)


def cgroup(name: str, old: str = "") -> int | None:
    """The least limit of this process's control group and those around it: cgroup("pids.max", "pids/pids.max").

    old is the file of cgroup v1, of the outermost group that this process sees.
    """
    found = [_numbers(folder / name) for folder in _groups()]
    if old:
        found.append(_numbers(ROOT / "sys/fs/cgroup" / old))
    numbers = [each[0] for each in found if each and 0 < each[0] < _NO_LIMIT]
    return min(numbers, default=None)


def cpu_quota() -> float | None:
    """Cores that a control group lets this process use, in time; None for all."""
    shares = []
    for folder in _groups():
        found = _numbers(folder / "cpu.max")  # "max 100000" where there is none
        if found and len(found) == 2 and found[1] > 0:
            shares.append(found[0] / found[1])
    quota = _numbers(ROOT / "sys/fs/cgroup/cpu/cpu.cfs_quota_us")
    period = _numbers(ROOT / "sys/fs/cgroup/cpu/cpu.cfs_period_us")
    if quota and period and quota[0] > 0 and period[0] > 0:
        shares.append(quota[0] / period[0])
    return min(shares, default=None)


def memory() -> int | None:
    """Bytes of memory of this machine."""
    try:
        for line in (ROOT / "proc/meminfo").read_text().splitlines():
            name, _, value = line.partition(":")
            if name == "MemTotal":
                return int(value.split()[0]) * 1024
    except (OSError, ValueError, IndexError):
        pass
    return None


def clock_source() -> str | None:
    """What the kernel reads the time from."""
    try:
        return (ROOT / "sys/devices/system/clocksource/clocksource0/current_clocksource").read_text().strip()
    except OSError:
        return None


def _groups() -> list[Path]:
    """The folders of this process's control group (v2), from the innermost to the outermost."""
    base = ROOT / "sys/fs/cgroup"
    try:
        lines = (ROOT / "proc/self/cgroup").read_text().splitlines()
    except OSError:
        return []
    inner = next((line.removeprefix("0::/") for line in lines if line.startswith("0::/")), "")
    folder = base / inner
    return [folder, *(each for each in folder.parents if each == base or base in each.parents)]


def _numbers(path: Path) -> list[int] | None:
    """The numbers in a file; None if it cannot be read, or says something else, such as "max"."""
    try:
        return [int(each) for each in path.read_text().split()]
    except (OSError, ValueError):
        return None


def is_free_threaded() -> bool:
    """Whether this Python runs without the GIL."""
    enabled = getattr(sys, "_is_gil_enabled", None)
    return enabled is not None and not enabled()
