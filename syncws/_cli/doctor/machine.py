"""`syncws doctor`: whether this machine carries as many connections as a server accepts by default."""

from __future__ import annotations

import importlib.util
import os
import platform
import ssl
import sys
import sysconfig
import threading

from ..._base.version import __version__
from ..._frames.accelerator import accelerated
from ..._net.descriptors import reserve
from ..._server.cores import can_pin
from ..._wsgi.guests import MAX_CONNECTIONS
from . import facts
from .finding import Findings, note, ok, warning

#: Bytes of memory that are reckoned for a connection and its thread: an idle one takes less than half of them.
_PER_CONNECTION = 64 << 10

#: Clock sources that are read without a system call.
_FAST_CLOCKS = ("tsc", "kvm-clock", "arch_sys_counter", "hyperv_clocksource_tsc_page")

_MIB = 1 << 20

#: What one process makes of several cores, where it has the GIL.
_ONE_PROCESS = (
    "One alone uses one, and makes much more of it with --pin auto." if can_pin() else "One alone uses one of them."
)

#: Memory maps that a thread takes: its stack, and the guard below it.
_MAPS_OF_A_THREAD = 2


def check_machine() -> Findings:
    """Every check, in the order of the report. None needs rights, and none changes anything."""
    yield from _python()
    yield from _extras()
    yield from _tls_library()
    yield from _descriptors()
    yield from _threads()
    yield from _memory()
    yield from _cores()
    yield from _backlog()
    yield from _ports()
    yield from _buffers()
    yield from _clock()


def _python() -> Findings:
    build = "free-threaded" if sysconfig.get_config_var("Py_GIL_DISABLED") else "with the GIL"
    name = f"{platform.python_implementation()} {platform.python_version()}, {build}; syncws {__version__}"
    where = f"{platform.system()} {platform.release()}, {platform.machine()}"
    if sysconfig.get_config_var("Py_GIL_DISABLED") and not facts.is_free_threaded():
        yield warning(
            "python",
            name,
            "Something has enabled the GIL again: PYTHON_GIL=1, or an extension that is not made for free threads.",
        )
    elif hasattr(sys, "gettrace") and sys.gettrace() is not None:  # pragma: no cover - a debugger, or coverage
        yield note("python", name, f"{where}. A tracer runs, which makes everything slow.")
    else:
        yield ok("python", name, where)


def _extras() -> Findings:
    if accelerated:
        yield ok("masking", "the accelerator unmasks messages")
    elif _is_installed("numpy"):
        yield ok("masking", "numpy unmasks large messages")
    else:
        yield note("masking", "without numpy, messages of many KiB are unmasked more slowly", "", "numpy")
    if _is_installed("redis") and not _is_installed("hiredis"):
        yield note("redis", "redis-py is installed without hiredis, its fast parser", "", "hiredis")


def _is_installed(name: str) -> bool:
    try:
        return importlib.util.find_spec(name) is not None
    except (ImportError, ValueError):
        return False


def _tls_library() -> Findings:
    if getattr(ssl, "HAS_TLSv1_3", False):
        yield ok("tls-library", f"{ssl.OPENSSL_VERSION}, TLS 1.3")
    else:
        yield warning("tls-library", f"{ssl.OPENSSL_VERSION} has no TLS 1.3")


def _descriptors() -> Findings:
    limit = facts.descriptors()
    if limit is None:
        yield note("descriptors", "this system has no limit of descriptors that can be asked")
        return
    soft, hard = limit
    if hard is None:
        yield ok("descriptors", f"no hard limit (soft: {_say(soft)})")
        return
    room = hard - reserve(hard)
    title = f"{hard:,} (hard), {_say(soft)} (soft): room for {room:,} connections"
    if room >= MAX_CONNECTIONS:
        yield ok("descriptors", title, "A server raises the soft limit by itself.")
    else:
        yield warning(
            "descriptors",
            title,
            f"max_connections is {MAX_CONNECTIONS:,} unless it is set: those beyond get 503.",
            "descriptors",
        )


def _threads() -> Findings:
    """Each connection has a thread: the least of four limits says how many there can be."""
    limits = {
        "ulimit -u": facts.processes() if not _is_root() else None,  # which root need not heed
        "pids.max of the control group": facts.cgroup("pids.max", "pids/pids.max"),
        "kernel.threads-max": _first(facts.kernel("kernel.threads-max")),
        "kernel.pid_max": _first(facts.kernel("kernel.pid_max")),
        "vm.max_map_count": _halved(_first(facts.kernel("vm.max_map_count"))),
    }
    known = {name: value for name, value in limits.items() if value is not None}
    if known:
        name, least = min(known.items(), key=lambda pair: pair[1])
        title = f"at most {least:,}, by {name}"
        if least > MAX_CONNECTIONS:
            yield ok("threads", title)
        else:
            topic = "threads-max" if name.startswith(("kernel", "vm")) else "threads"
            yield warning(
                "threads",
                title,
                f"Each connection has a thread, and max_connections is {MAX_CONNECTIONS:,} unless it is set: those "
                "beyond get 503.",
                topic,
            )
    else:
        yield note("threads", "no limit of threads can be asked here")
    yield from _stack()


def _stack() -> Findings:
    size = threading.stack_size() or facts.stack()
    if size is None:
        yield ok("stack", "the system chooses how large the stack of a thread is")
        return
    whole = size * MAX_CONNECTIONS
    title = f"{size / _MIB:g} MiB of addresses for a thread, of memory what it uses"
    if sys.maxsize > 1 << 32 or whole < 2 << 30:
        yield ok("stack", title)
    else:  # pragma: no cover - a 32-bit system
        yield warning("stack", title, "This Python has 32 bits: threading.stack_size(262144) before serving helps.")


def _memory() -> Findings:
    whole, limit = facts.memory(), facts.cgroup("memory.max", "memory/memory.limit_in_bytes")
    known = [each for each in (whole, limit) if each is not None]
    if not known:
        return
    least = min(known)
    whose = "of the control group" if limit == least and limit != whole else "of this machine"
    title = f"{least / _MIB:,.0f} MiB {whose}"
    if least >= MAX_CONNECTIONS * _PER_CONNECTION:
        yield ok("memory", title)
    else:
        fits = least // _PER_CONNECTION
        yield warning(
            "memory",
            title,
            f"With {_PER_CONNECTION >> 10} KiB for each connection and its thread, {fits:,} fit, if nothing else needs "
            "memory.",
            "memory",
        )


def _cores() -> Findings:
    try:
        cores = len(os.sched_getaffinity(0))
    except AttributeError:  # pragma: no cover - not on macOS and Windows
        cores = os.cpu_count() or 1
    quota = facts.cpu_quota()
    title = f"{cores} core{'' if cores == 1 else 's'}"
    if quota is not None and quota < cores:
        whole = max(1, int(quota))
        yield note("cpu", f"{title}, and a quota of {quota:g}", f"Take as many workers as the quota has: {whole}.")
    elif cores > 1 and facts.is_free_threaded():
        yield ok("cpu", f"{title}, no GIL", "One process uses all of them: it needs neither more workers nor pin.")
    elif cores > 1:
        yield ok("cpu", title, f"serve --workers {cores} uses all of them, one worker on each. {_ONE_PROCESS}")
    else:
        yield ok("cpu", title, "There is nothing to choose: one worker, and no pin.")


def _backlog() -> Findings:
    for name in ("net.core.somaxconn", "net.ipv4.tcp_max_syn_backlog"):
        value = _first(facts.kernel(name))
        if value is not None and value < 1024:
            yield warning(
                "backlog",
                f"{name} is {value}",
                "When many clients come back in the same second, as after a restart, those beyond it wait for seconds.",
                "backlog",
            )
            return
        if value is not None:
            yield ok("backlog", f"{name} is {value:,}")
            return


def _ports() -> Findings:
    found = facts.kernel("net.ipv4.ip_local_port_range")
    if found is None or len(found) != 2:
        return
    count = found[1] - found[0] + 1
    title = f"{count:,} ports for connections to one address"
    if count < MAX_CONNECTIONS:
        yield warning("ports", title, "A proxy here opens one for each WebSocket to the server behind it.", "ports")
    else:
        yield ok("ports", title)


def _buffers() -> Findings:
    found = facts.kernel("net.ipv4.tcp_rmem")
    pages = facts.kernel("net.ipv4.tcp_mem")
    if found is None or len(found) != 3:
        return
    title = f"{found[1] >> 10} KiB for what a connection has received, {found[2] >> 10} KiB at most"
    if found[2] < 128 << 10:
        yield warning("buffers", title, "Large messages from far away are slow with so little.", "buffers")
        return
    most = f"All together: {pages[2] * _page() // _MIB:,} MiB (tcp_mem)." if pages and len(pages) == 3 else ""
    yield ok("buffers", title, most)


def _page() -> int:
    return os.sysconf("SC_PAGE_SIZE") if hasattr(os, "sysconf") else 4096


def _clock() -> Findings:
    source = facts.clock_source()
    if source is None:
        return
    if source in _FAST_CLOCKS:
        yield ok("clock", source)
    else:
        yield note("clock", source, "Reading the time is a system call with it, and every message does so.")


def _is_root() -> bool:
    return hasattr(os, "geteuid") and os.geteuid() == 0


def _first(numbers: list[int] | None) -> int | None:
    return numbers[0] if numbers else None


def _halved(number: int | None) -> int | None:
    return None if number is None else number // _MAPS_OF_A_THREAD


def _say(limit: int | None) -> str:
    return "none" if limit is None else f"{limit:,}"
