"""`LocalBackplane`: joins the processes of one host and one user, by a directory of Unix sockets. Nothing to install.

LocalBackplane        what a Manager is given: options, and what happens in a fork
  Mesh                while it is started: the other processes, and the thread that minds them. Read it next
  LocalOutlet         for a Publisher
"""

from __future__ import annotations

import os
import threading
from collections.abc import Iterable

from .._base.forks import begin_anew_in_child
from .._base.options import check_integer
from .._base.printable import printable_repr
from .backplane import BusHealth, Sink
from .history import History
from .localdirectory import LocalDirectory
from .localframes import check_size, frame
from .localmesh import Mesh
from .localoutlet import LocalOutlet
from .memoryarchive import MemoryArchive

#: Bytes that max_message may be at most, as on every bus of this library.
_MOST_MESSAGE = 8 << 20


class LocalBackplane:
    """Joins the processes of one host: each has a Unix socket in a directory, and a connection to each other one.

    Nothing has to be installed or started, and no process is special: workers of gunicorn or of a `Server`, programs
    beside them. It is meant for up to about 32 of them, of one user. `Server(workers=N)` brings one by itself.

        manager = syncws.Manager(backplane=syncws.LocalBackplane("/run/app/bus"))

    A process that is stopped, or does not keep up, costs the others nothing: what it has not taken waits in each of
    them, up to ``queue`` and ``queue_bytes``, and what is beyond that is lost to this one process. `Sink.dropped` is
    told of it by channel, as soon as there is room to say so to that process. The mark that its Manager then publishes
    reaches all of them: who got everything has the number in it, or a higher one, and does nothing.

    Concurrency: any thread may call any method. In the child of a fork it begins anew.

    Args:
        path: the directory. It is made if it is not there (its parent has to be), and is this user's alone (0700). At
            most 69 bytes, as the paths of Unix sockets are short. Two Managers need two directories.
        max_message: bytes that one message may have, at most 8 MiB; the same in all processes.
        queue: messages that may wait for a process that does not keep up.
        queue_bytes: their bytes.
        history: rooms that remember their last messages, in each process; None: none does.

    Raises:
        TypeError, ValueError: an option is wrong; the message names it.
        PermissionError: the directory is there, and another user's, or not his alone.
        RuntimeError: this system has no Unix sockets (Python on Windows): use RedisBackplane.
    """

    addressed = False
    echoes = False
    tells_ends = True
    one_host = True

    def __init__(
        self,
        path: str | os.PathLike[str],
        *,
        max_message: int = 1 << 20,
        queue: int = 10_000,
        queue_bytes: int = 4 << 20,
        history: History | None = None,
    ) -> None:
        check_integer("max_message", max_message, 1)
        check_integer("queue", queue, 1)
        check_integer("queue_bytes", queue_bytes, 1)
        if max_message > _MOST_MESSAGE:
            raise ValueError(f"max_message is at most {_MOST_MESSAGE:,} bytes, not {max_message:,}")
        self.max_message = max_message
        self._queue, self._queue_bytes = queue, queue_bytes
        if not (history is None or isinstance(history, History)):
            raise TypeError(f"history is a History, or None, not {printable_repr(history, 80)}")
        self._archive = None if history is None else MemoryArchive(history)
        self._directory = LocalDirectory(path)
        # A directory that will not do is found here, where its path is written, and not with the first message. It is
        # not made here: a program may become another user first, as gunicorn's workers do.
        if os.path.lexists(self._directory.path) and os.geteuid() != 0:
            self._directory.check()
        # While it is started. One reference, replaced under `_turn`, and read without it.
        self._mesh: Mesh | None = None
        begin_anew_in_child(self)

    @property
    def _turn(self) -> threading.Lock:
        """One thread at a time starts or closes. Made when it is first needed: gunicorn's gevent worker may patch
        threading after this was made, and a lock from before would stop every greenlet while one starts. Two threads
        get the same one: dict.setdefault is one step."""
        lock: threading.Lock | None = self.__dict__.get("_made_turn")
        return self.__dict__.setdefault("_made_turn", threading.Lock()) if lock is None else lock

    def __repr__(self) -> str:
        return f"<LocalBackplane {self._directory.path!r} {'closed' if self._mesh is None else 'started'}>"

    @property
    def path(self) -> str:
        """The directory, as an absolute path."""
        return self._directory.path

    @property
    def archive(self) -> MemoryArchive | None:
        """What this process remembers of what it hears, if it was given a history."""
        return self._archive

    def start(self, sink: Sink, node: str) -> None:
        """Listen in the directory, connect to all that are there, and return. See `Backplane.start`.

        From its return on, what is published reaches all that had started before. A directory that cannot be used is
        told to `Sink.down`, and tried again each second. Raises RuntimeError if there is no thread to be had.
        """
        with self._turn:
            if self._mesh is not None:
                return
            mesh = Mesh(
                self._directory,
                f"{os.getpid()}-{node}",
                sink,
                max_message=self.max_message,
                queue=self._queue,
                queue_bytes=self._queue_bytes,
            )
            mesh.open()
            self._mesh = mesh

    def publish(self, channel: str, data: bytes, *, keep: bool = False) -> bool:
        """Send to all other processes, in order, or let it wait for those that do not keep up. See `Backplane.publish`.

        False if it is not started, or if no process can find this one: nobody gets it. Raises ValueError for data that
        is longer than max_message.
        """
        check_size(data, self.max_message)
        mesh = self._mesh
        return mesh is not None and mesh.publish(channel, frame(channel, data))

    def subscribe(self, channels: Iterable[str], timeout: float) -> bool:
        """Wait until all that were there at the start are connected: everything arrives then, on any channel.

        Otherwise see `Backplane.subscribe`.
        """
        mesh = self._mesh
        return mesh is not None and mesh.settle(timeout)

    def unsubscribe(self, channels: Iterable[str]) -> None:
        """Nothing: what nobody here asks for is dropped by its receiver. See `Backplane.unsubscribe`."""

    def flush(self, timeout: float) -> bool:
        """Wait until the sockets of all processes have taken what was published; see `Backplane.flush`."""
        mesh = self._mesh
        return mesh is None or mesh.flush(timeout)

    def health(self) -> BusHealth:
        """How it is. `published` counts messages, however many processes there are; `dropped_out` one for each process
        that did not get one."""
        mesh = self._mesh
        return BusHealth(up=False, error="not started") if mesh is None else mesh.health()

    def close(self, timeout: float) -> None:
        """Send what waits, at most timeout seconds, and say goodbye; see `Backplane.close`."""
        with self._turn:
            mesh, self._mesh = self._mesh, None
        if mesh is not None:
            mesh.close(timeout)

    def outlet(self) -> LocalOutlet:
        """A way out for a Publisher: of the same user, while the workers run."""
        return LocalOutlet(self._directory, self.max_message)

    def begin_anew(self) -> None:
        """In the child of a fork: close the copies of the parent's descriptors without a word, and be as new."""
        self.__dict__.pop("_made_turn", None)
        mesh, self._mesh = self._mesh, None
        if mesh is not None:
            mesh.abandon()
