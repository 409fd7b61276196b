"""What goes wrong on purpose: a schedule that the seed decides, and what each fault does to a site.

A fault is on for a while and is then mended; when a round ends all are. What was on when says the `Diary`, to the
stories of what is found.
"""

from __future__ import annotations

import contextlib
import dataclasses
import random
import resource
import signal
import threading
import time
from collections.abc import Callable, Iterator

import psutil

from .sites import Cluster, Site


@dataclasses.dataclass
class Entry:
    """A fault that is on, or was: until when is infinity while it is on."""

    what: str
    began: float
    ended: float = float("inf")


class Diary:
    """Which faults were on, when. Any thread; `_lock` guards the list."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._entries: list[Entry] = []

    @contextlib.contextmanager
    def during(self, what: str) -> Iterator[None]:
        """A fault is on while the block lasts."""
        entry = Entry(what, time.monotonic())
        with self._lock:
            self._entries = [*self._entries[-200:], entry]
        try:
            yield
        finally:
            entry.ended = time.monotonic()

    def between(self, began: float, ended: float, site: str = "") -> str:
        """Those that were on between two instants, at a site, in one line."""
        with self._lock:
            found = [
                f"{each.what} ({each.began:.1f} to {each.ended:.1f})"
                for each in self._entries
                if each.began <= ended and each.ended >= began and each.what.startswith(site)
            ]
        return ", ".join(found)

    def spans(self) -> list[tuple[str, float, float]]:
        """The latest."""
        with self._lock:
            return [(each.what, each.began, each.ended) for each in self._entries]


Wait = Callable[[float], bool]

Fault = Callable[["Chaos", Site], None]


class Chaos:
    """Does the faults of one site, one after the other, in a thread of its own: `run`, until `over` is set.

    Attributes:
        calm: no fault begins while it is set.
        idle: no fault is on.
        killed: is called with the process ids of what is about to be killed.
        ready: waits until a site serves again.
    """

    def __init__(
        self,
        site: Site,
        diary: Diary,
        seed: int,
        *,
        only: list[str] | None,
        killed: Callable[[Site, list[int]], None],
        pause: tuple[float, float],
    ) -> None:
        self.site = site
        self.diary = diary
        self.random = random.Random(f"{seed} faults {site.name}")
        self.calm = threading.Event()
        self.over = threading.Event()
        self.idle = threading.Event()
        self.idle.set()
        self.killed = killed
        self.pause = pause
        self.names = [name for name in FAULTS[site.name] if only is None or name in only]
        self.done: dict[str, int] = {}
        self.failed: list[str] = []
        self.thread = threading.Thread(target=self.run, name=f"soak-chaos-{site.name}", daemon=True)

    def run(self) -> None:
        if not self.names:
            return
        deck: list[str] = []
        while not self.over.wait(self.random.uniform(*self.pause)):
            if self.calm.is_set():
                continue
            deck = deck or self.random.sample(self.names, len(self.names))
            name = deck.pop()
            self.idle.clear()
            if self.calm.is_set():
                self.idle.set()
                continue
            try:
                with self.diary.during(f"{self.site.name}: {name}"):
                    EVERY[name](self, self.site)
                self.done[name] = self.done.get(name, 0) + 1
            except psutil.NoSuchProcess:
                pass
            except Exception as error:
                self.failed.append(f"{self.site.name}: {name}: {error!r}")
            finally:
                self.idle.set()

    def wait(self, low: float, high: float) -> None:
        """Wait for a time between these, less if there is to be calm."""
        until = time.monotonic() + self.random.uniform(low, high)
        while time.monotonic() < until and not self.calm.is_set() and not self.over.is_set():
            time.sleep(0.1)

    def one(self) -> psutil.Process:
        """One of the processes that serve, once it has begun to: what goes wrong at a start is another story."""
        found = [each for each in self.site.serving() if each.pid in self.site.place.alive]
        if not found:
            raise psutil.NoSuchProcess(0)
        return self.random.choice(found)


def stop(chaos: Chaos, site: Site) -> None:
    """A serving process is stopped for a while (SIGSTOP)."""
    process = chaos.one()
    process.suspend()
    try:  # now and then for so long that others on the bus give it up
        chaos.wait(*((10, 14) if chaos.random.random() < 0.25 else (1, 6)))
    finally:
        process.resume()


def kill(chaos: Chaos, site: Site) -> None:
    """A worker is killed (SIGKILL)."""
    process = chaos.one()
    chaos.killed(site, [process.pid])
    process.kill()
    chaos.wait(1, 3)


def deploy(chaos: Chaos, site: Site) -> None:
    """New processes take the place of old ones."""
    chaos.killed(site, [process.pid for process in site.serving()])
    site.deploy()


def reload(chaos: Chaos, site: Site) -> None:
    """SIGHUP to gunicorn: other workers take the place of these."""
    chaos.killed(site, [process.pid for process in site.serving()])
    for process in site.processes:
        process.send_signal(signal.SIGHUP)
    chaos.wait(3, 6)


def descriptors(chaos: Chaos, site: Site) -> None:
    """A process may open three files more than it has, and no more."""
    process = chaos.one()
    soft, hard = process.rlimit(resource.RLIMIT_NOFILE)
    process.rlimit(resource.RLIMIT_NOFILE, (process.num_fds() + 3, hard))
    try:
        chaos.wait(2, 6)
    finally:
        process.rlimit(resource.RLIMIT_NOFILE, (soft, hard))


def disk(chaos: Chaos, site: Site) -> None:
    """A process may write no file: what it logs finds the disk full."""
    process = chaos.one()
    soft, hard = process.rlimit(resource.RLIMIT_FSIZE)
    process.rlimit(resource.RLIMIT_FSIZE, (0, hard))
    try:
        chaos.wait(2, 6)
    finally:
        process.rlimit(resource.RLIMIT_FSIZE, (soft, hard))


def clock(chaos: Chaos, site: Site) -> None:
    """The clock of a process is an hour ahead, and then right again."""
    process = chaos.one()
    process.send_signal(signal.SIGUSR1)
    try:
        chaos.wait(2, 8)
    finally:
        process.send_signal(signal.SIGUSR1)


def redis_killed(chaos: Chaos, site: Site) -> None:
    """Redis is killed and started again at once, with nothing in it."""
    assert isinstance(site, Cluster)
    site.store.restart(site.store.kill_master())
    site.store.wait_until_whole()


def _wait_for_failover(chaos: Chaos, site: Cluster, port: int) -> None:
    """Until the server of that port is the master no more, and a moment longer."""
    until = time.monotonic() + 30
    while site.store.master == port and time.monotonic() < until:
        time.sleep(0.1)
    time.sleep(chaos.random.uniform(0, 2))


def redis_failover(chaos: Chaos, site: Site) -> None:
    """Redis is killed, its replica becomes the master, and what was the master its replica."""
    assert isinstance(site, Cluster)
    port = site.store.kill_master()
    try:
        _wait_for_failover(chaos, site, port)
    finally:
        site.store.restart(port)
    site.store.wait_until_whole()


def redis_stopped(chaos: Chaos, site: Site) -> None:
    """Redis is stopped for a moment."""
    assert isinstance(site, Cluster)
    port = site.store.signal_master(signal.SIGSTOP)
    try:
        time.sleep(chaos.random.uniform(0.2, 1.2))
    finally:
        site.store.go_on(port)
    site.store.wait_until_whole()


def redis_frozen(chaos: Chaos, site: Site) -> None:
    """Redis is stopped for so long that its replica becomes the master; then it goes on, and believes it is one too."""
    assert isinstance(site, Cluster)
    port = site.store.signal_master(signal.SIGSTOP)
    try:
        _wait_for_failover(chaos, site, port)
    finally:
        site.store.go_on(port)
    site.store.wait_until_whole()


def redis_cut(chaos: Chaos, site: Site) -> None:
    """Redis cuts off who listens, some times: what is published until they listen again reaches nobody."""
    assert isinstance(site, Cluster)
    for _ in range(chaos.random.randrange(1, 4)):
        site.store.cut_listeners()
        chaos.wait(0.5, 2)


EVERY: dict[str, Fault] = {
    "stop": stop,
    "kill": kill,
    "deploy": deploy,
    "reload": reload,
    "descriptors": descriptors,
    "disk": disk,
    "clock": clock,
    "redis killed": redis_killed,
    "redis cut": redis_cut,
    "redis failover": redis_failover,
    "redis stopped": redis_stopped,
    "redis frozen": redis_frozen,
}

#: What goes wrong at each site.
FAULTS: dict[str, list[str]] = {
    "plain": ["stop", "descriptors", "disk", "clock"],
    "tls": ["stop", "deploy", "descriptors", "disk", "clock"],
    "workers": ["stop", "kill", "deploy", "descriptors", "disk", "clock"],
    "gthread": ["stop", "kill", "reload", "descriptors", "disk"],
    "gevent": ["stop", "kill", "reload", "descriptors", "disk"],
    "redis": [
        "stop",
        "deploy",
        "clock",
        "disk",
        "redis cut",
        "redis killed",
        "redis failover",
        "redis stopped",
        "redis frozen",
    ],
}
