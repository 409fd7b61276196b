"""The task of a load generator, what it finds, and how it measures."""

from __future__ import annotations

import dataclasses
import sys
import time
from typing import Any

try:
    import psutil
except ImportError:  # then the server's processor time is not known
    psutil = None


class LoadError(Exception):
    """A server gives wrong answers, or none, and so is not measured. The message is one line."""


@dataclasses.dataclass(frozen=True)
class Job:
    """One measurement of one server.

    Args:
        kind: "echo", "visits" or "room": the module load_<kind> does it.
        port: where the server listens.
        pid: its process; the processor time of its children counts as well.
        connections: how many at the same time.
        size: bytes of payload in each message.
        depth: messages under way on each connection.
        text: text messages, not binary ones.
        deflate: the connections agree on permessage-deflate, and the messages are compressed.
        bare: the server has no framing and sends back what came, the mask too.
        authority: the file with the certificate to trust; with it the connections come by TLS.
        seconds: how long is measured; a quarter of that goes before, to warm up.
        patience: seconds of silence after which the server is given up.
    """

    kind: str
    port: int
    pid: int
    connections: int
    size: int
    depth: int = 1
    text: bool = False
    deflate: bool = False
    bare: bool = False
    authority: str = ""
    seconds: float = 1.0
    patience: float = 10.0

    @property
    def warm_up(self) -> float:
        return self.seconds / 4


@dataclasses.dataclass(frozen=True)
class Finding:
    """What one measurement found.

    Args:
        count: answers within the measured interval; what another program says need not be a whole number.
        seconds: how long that was.
        busy: the share of its core that the generator used itself; near 1 it is what limits.
        server_seconds: processor time of the server and its children, user and system; None: not known here.
        total: answers from the first to the last, those before and after the interval too.
        note: what else is to be said, such as the cipher.
    """

    count: float
    seconds: float
    busy: float
    server_seconds: float | None
    total: float = 0
    note: str = ""

    def reading(self) -> dict[str, float]:
        """The figures to compare: answers per second, microseconds of processor for each, the generator's share."""
        reading = {"rate": self.count / self.seconds, "busy": self.busy}
        if self.server_seconds is not None and self.count:
            reading["cpu"] = self.server_seconds / self.count * 1e6
        return reading


def family(pid: int) -> list[Any]:
    """A process and its children, of psutil. Raises LoadError."""
    try:
        root = psutil.Process(pid)
        return [root, *root.children(recursive=True)]
    except psutil.Error:
        raise LoadError("the server has ended") from None


def used() -> float:
    """Seconds of processor time that programs have used on this machine so far; 0 where that is not known."""
    if psutil is None:
        return 0.0
    times = psutil.cpu_times()
    return float(times.user + times.system + getattr(times, "nice", 0.0))


def stolen() -> float:
    """Seconds of processor time that a hypervisor has taken from this machine so far; 0 where that is not known."""
    return 0.0 if psutil is None else float(getattr(psutil.cpu_times(), "steal", 0.0))


class Processor:
    """The processor time of a process and of the children that it has now."""

    def __init__(self, pid: int) -> None:
        self._processes = family(pid) if psutil is not None else []

    def seconds(self) -> float | None:
        """User and system time until now; None: not known here."""
        if not self._processes:
            return None
        try:
            return sum(_processor_seconds(process) for process in self._processes)
        except (psutil.Error, OSError):
            raise LoadError("the server has ended") from None


def _processor_seconds(process: Any) -> float:
    """User and system time of one process. psutil counts in hundredths of a second, Linux's own clock more finely."""
    times = process.cpu_times()  # raises for one that has ended
    if sys.platform != "linux":
        return float(times.user + times.system)
    return time.clock_gettime((~process.pid << 3) | 2)  # clock_getcpuclockid(3)


class Meter:
    """The interval that is measured, for the generator, which makes one when the load is under way."""

    def __init__(self, pid: int) -> None:
        self._server = Processor(pid)
        self._server_began = self._server.seconds()
        self._busy_began = time.process_time()
        self._began = time.perf_counter()

    def stop(self, count: float) -> Finding:
        """End the interval, in which there were that many answers."""
        seconds = time.perf_counter() - self._began
        busy = (time.process_time() - self._busy_began) / seconds
        ended = self._server.seconds()
        used = None if ended is None or self._server_began is None else ended - self._server_began
        return Finding(count, seconds, busy, used)
