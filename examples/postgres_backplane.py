"""A backplane on PostgreSQL: LISTEN and NOTIFY join the processes of an application that has a database anyway.

    pip install 'psycopg[binary]>=3.2.4'
    manager = syncws.Manager(backplane=PostgresBackplane("postgresql://localhost/app"))

It shows what a backplane of your own needs (docs/write-a-backplane.md), and passes `syncws.testing.BackplaneCases`.
A notification is text of less than 8,000 bytes: `<sender>-<number>:<base64>`. The number keeps the server from folding
equal ones into one. A larger body is put into a table, and `<sender>-<number>:@` tells of it; it is there for a minute.
"""

from __future__ import annotations

import base64
import contextlib
import hashlib
import os
import random
import re
import secrets
import select
import socket
import threading
import time
import weakref
from collections import Counter, deque
from collections.abc import Iterable, Iterator, Sequence
from itertools import count, islice, takewhile
from typing import Any, NamedTuple

import psycopg
from psycopg import sql

from syncws.backplane import BusHealth, Sink
from syncws.errors import BackplaneError, BackplaneTimeout

BATCH = 200  # messages in a transaction
LARGEST_TEXT = 7_900  # bytes of base64, so that a payload stays below 8,000
REST = 1.0  # seconds after a return before anything is sent: the other processes have to listen again, too
PAYLOAD = re.compile(r"([0-9a-f]{16}-\d+):(@|[A-Za-z0-9+/]*=*)")
COUNTS = ("published", "received", "dropped_out", "reconnects")
TABLE = "CREATE UNLOGGED TABLE IF NOT EXISTS syncws_bodies (id text PRIMARY KEY, body bytea, at timestamptz)"
CLEAN = "DELETE FROM syncws_bodies WHERE at < now() - interval '1 minute'"
INSERT = "INSERT INTO syncws_bodies VALUES (%s, %s, now())"
SELECT = "SELECT body FROM syncws_bodies WHERE id = %s"
NOTIFY = "SELECT pg_notify(%s, %s)"
LISTEN, UNLISTEN = sql.SQL("LISTEN {}"), sql.SQL("UNLISTEN {}")


class Link:
    """A connection to the database, which is cut when an answer does not come in time. One thread uses it, any cuts."""

    def __init__(self, backplane: PostgresBackplane) -> None:
        self._backplane, self._sender, self._numbers = backplane, secrets.token_hex(8), count()
        wait = int(1_000 * backplane.patience)  # for a dark network; a server that hangs is cut off
        self.connection = psycopg.connect(backplane.conninfo, autocommit=True, connect_timeout=2, tcp_user_timeout=wait)
        self.fd = self.connection.fileno()

    def send(self, messages: Iterable[tuple[str, bytes]], seconds: float) -> None:
        """Publish all, or none: in one transaction."""
        with self.within(seconds) as connection, connection.transaction(), connection.cursor() as cursor:
            notes, large = [], []
            for channel, data in messages:
                id, text = f"{self._sender}-{next(self._numbers)}", base64.b64encode(data).decode()
                if len(text) > LARGEST_TEXT:
                    large.append((id, data))
                    text = "@"
                notes.append((self._backplane.name(channel), f"{id}:{text}"))
            if large:
                cursor.execute(TABLE)  # fails if another process makes it at this moment; then all is sent once more
                cursor.execute(CLEAN)
                cursor.executemany(INSERT, large)
            cursor.executemany(NOTIFY, notes)

    @contextlib.contextmanager
    def within(self, seconds: float) -> Iterator[psycopg.Connection[Any]]:
        """The connection, which is cut after so many seconds."""
        timer = threading.Timer(seconds, self.cut)
        timer.daemon = True
        timer.start()
        try:
            yield self.connection
        finally:
            timer.cancel()
            timer.join()

    def cut(self) -> None:
        with contextlib.suppress(OSError), socket.socket(fileno=os.dup(self.fd)) as alias:
            alias.shutdown(socket.SHUT_RDWR)


class Message(NamedTuple):
    channel: str
    data: bytes
    at: float  # time.monotonic() of its publish()


class PostgresBackplane:
    """Joins processes by a database; see `syncws.backplane.Backplane`. Any thread may call any method.

    One thread sends and listens, on one connection. `_changed` guards what it shares with those who call.

    Args:
        conninfo: where the database is, as libpq has it: "postgresql://user@host/db". The user may create a table. Not
            through a pooler that gives each transaction another connection.
        prefix: Managers with the same one are joined.
        max_message, queue, queue_bytes: bytes of a message; messages that may wait for the database, and their bytes.
        beat: seconds from one proof that what is sent comes back to the next.
        patience: seconds that a message may wait to be sent, and that the database has for an answer.
    """

    addressed = True
    echoes = True
    archive = None
    _link: Link | None = None
    _sockets: Sequence[socket.socket] = ()

    def __init__(
        self, conninfo: str, *, prefix: str = "syncws", max_message: int = 1 << 20, queue: int = 10_000,
        queue_bytes: int = 16 << 20, beat: float = 3.0, patience: float = 10.0,
    ) -> None:  # fmt: skip
        self.conninfo, self.prefix, self.max_message = conninfo, prefix, max_message
        self.queue, self.queue_bytes, self.beat, self.patience = queue, queue_bytes, beat, patience
        self.begin_anew()
        backplanes.add(self)

    def begin_anew(self) -> None:
        """Be not started; in the child of a fork, without a word on the parent's connection."""
        self._changed = threading.Condition()
        self._thread: threading.Thread | None = None
        self._wanted: dict[str, str] = {}  # the channels that are subscribed, by their names in the database
        self._counts: Counter[str] = Counter()

    def start(self, sink: Sink, node: str) -> None:
        with self._changed:
            if self._thread is not None:
                return
            self._sink = sink
            self._queue: deque[Message] = deque()
            self._bytes = 0
            self._own = self.name(f"!{secrets.token_hex(8)}")  # where the beats go
            self._beats, self._beat_at = 0, 0.0  # those that did not come back; when the next one is due
            self._wanted = {self._own: ""}
            self._heard: set[str] = set()  # the names that the database has acknowledged
            self._state, self._error, self._since = "starting", "not connected yet", time.time()
            self._proven, self._send_from = time.monotonic(), 0.0
            self._lag: float | None = None
            self._counts = Counter()
            self._sockets = awake, wake = socket.socketpair()
            wake.setblocking(False)
            self._thread = threading.Thread(target=self._work, args=(awake, wake), name="postgres", daemon=True)
            self._thread.start()

    def publish(self, channel: str, data: bytes, *, keep: bool = False) -> bool:
        self.check(data)
        with self._changed:
            if self._thread is None or len(self._queue) >= self.queue or self._bytes + len(data) > self.queue_bytes:
                self._counts["dropped_out"] += 1
                return False
            self._queue.append(Message(channel, data, time.monotonic()))
            self._bytes += len(data)
            self._wake_up()
            return True

    def subscribe(self, channels: Iterable[str], timeout: float) -> bool:
        named = {self.name(channel): channel for channel in channels}
        with self._changed:
            if self._thread is None:
                return False
            self._wanted.update(named)
            self._wake_up()
            self._changed.wait_for(lambda: self._state == "down" or self._hears(named), timeout)
            return self._hears(named)

    def unsubscribe(self, channels: Iterable[str]) -> None:
        with self._changed:
            for channel in channels:
                self._wanted.pop(self.name(channel), None)
            self._wake_up()

    def flush(self, timeout: float) -> bool:
        with self._changed:
            return self._changed.wait_for(lambda: self._thread is None or not self._queue, timeout)

    def health(self) -> BusHealth:
        with self._changed:
            if self._thread is None:
                return BusHealth(up=False)
            up, proof = self._state == "up", time.time() - time.monotonic() + self._proven
            values = (self._since, None if up else self._error, proof, self._lag, len(self._queue), self._bytes)
            published, received, dropped_out, reconnects = map(self._counts.__getitem__, COUNTS)
            return BusHealth(up, *values, published, received, dropped_out, reconnects)

    def close(self, timeout: float) -> None:
        self.flush(timeout)
        with self._changed:
            thread, self._thread = self._thread, None
            if thread is None:
                return
            self._changed.notify_all()
            self._wake_up()
            if self._link is not None:
                self._link.cut()
        if thread is not threading.current_thread():
            thread.join()

    def outlet(self) -> Outlet:
        return Outlet(self)

    def check(self, data: bytes) -> None:
        if len(data) > self.max_message:
            raise ValueError(f"a message of {len(data):,} bytes; max_message is {self.max_message:,}")

    def name(self, channel: str) -> str:
        """The name of a channel in the database, where it has 63 bytes at most."""
        plain = f"{self.prefix}:{channel}"
        return plain if len(plain) < 64 else f"{self.prefix[:20]}#{hashlib.sha256(plain.encode()).hexdigest()[:40]}"

    def _hears(self, named: dict[str, str]) -> bool:
        return self._state == "up" and named.keys() <= self._heard

    def _wake_up(self) -> None:
        with contextlib.suppress(OSError, IndexError):  # it is full of such bytes, or closed; or was never started
            self._sockets[1].send(b"w")

    # The thread:

    def _work(self, awake: socket.socket, wake: socket.socket) -> None:
        failures = 0
        with awake, wake:
            while self._is_mine():
                try:
                    with self._connected() as link:
                        self._follow(link)
                        self._tell_up()
                        failures = 0
                        while self._is_mine():
                            self._step(link, awake)
                except (psycopg.Error, OSError) as error:
                    self._tell_down(" ".join(str(error).split()))
                    self._expire()
                    with self._changed:
                        pause = min(0.5, 0.05 * 2**failures) * random.uniform(0.5, 1)
                        self._changed.wait_for(lambda: not self._is_mine(), pause)
                    failures += 1

    def _is_mine(self) -> bool:
        """Whether this thread is that of the backplane: not if it was closed, and perhaps started again."""
        return self._thread is threading.current_thread()

    @contextlib.contextmanager
    def _connected(self) -> Iterator[Link]:
        link = Link(self)
        try:
            with self._changed:
                self._link = link
            yield link
        finally:
            with self._changed:
                self._link = None  # before another may have the number of its descriptor
            link.connection.close()

    def _step(self, link: Link, awake: socket.socket) -> None:
        """Ask for what is wanted, send what is queued, tell what has come; or wait for something to do."""
        self._follow(link)
        self._beat(link)
        self._expire()
        with self._changed:
            batch = list(islice(self._queue, BATCH)) if time.monotonic() >= self._send_from else []
        if batch:
            link.send([message[:2] for message in batch], self.patience)
            self._take(len(batch), "published")  # not before: what was not committed is sent again
        notes = list(link.connection.notifies(timeout=0))
        for note in notes:
            if self._is_mine():
                self._tell(link, note)
        poll = select.poll()
        poll.register(link.fd, select.POLLIN)
        poll.register(awake, select.POLLIN)
        if any(fd == awake.fileno() for fd, _ in poll.poll(0 if batch or notes else 50 if self._queue else 500)):
            awake.recv(4096)

    def _follow(self, link: Link) -> None:
        with self._changed:
            new, old = self._wanted.keys() - self._heard, self._heard - self._wanted.keys()
            self._heard -= old  # from now on subscribe() waits for them again
        commands = [(LISTEN, name) for name in new] + [(UNLISTEN, name) for name in old]
        if texts := [text.format(sql.Identifier(name)) for text, name in commands]:
            with link.within(self.patience) as connection:
                connection.execute(sql.SQL(";").join(texts))
        with self._changed:
            self._heard |= new
            self._changed.notify_all()

    def _beat(self, link: Link) -> None:
        """Prove that what is sent comes back, every few seconds: a loss that is told by nothing else is found so."""
        if (now := time.monotonic()) < self._beat_at:
            return
        if self._beats == 3:
            raise ConnectionError("the database takes notifications, and none comes back")
        with link.within(self.patience) as connection:
            connection.execute(NOTIFY, (self._own, repr(now)))
        self._beats, self._beat_at = self._beats + 1, now + self.beat

    def _tell(self, link: Link, note: psycopg.Notify) -> None:
        if note.channel == self._own:
            with contextlib.suppress(ValueError):  # somebody else wrote it
                self._proven = float(note.payload)  # all that was committed before this has come
                self._beats, self._lag = 0, time.monotonic() - self._proven
        channel, found = self._wanted.get(note.channel), PAYLOAD.fullmatch(note.payload)
        if not channel or not found:
            return  # it was let go of; or junk, or a beat
        id, text = found.groups()
        try:
            data = self._body(link, id) if text == "@" else base64.b64decode(text)
        except ValueError:  # junk
            return
        self._counts["received"] += 1
        self._sink.received(channel, data)

    def _body(self, link: Link, id: str) -> bytes:
        with link.within(self.patience) as connection:
            row = connection.execute(SELECT, (id,)).fetchone()
        if row is None:
            raise ConnectionError("a large message was deleted before it was read")
        return bytes(row[0])

    def _take(self, number: int, counted: str) -> Counter[str]:
        """Take the first messages out of the queue; of which channels they were."""
        with self._changed:
            taken = [self._queue.popleft() for _ in range(number)]
            self._bytes -= sum(len(message.data) for message in taken)
            self._counts[counted] += number
            self._changed.notify_all()
        return Counter(message.channel for message in taken)

    def _expire(self) -> None:
        """Give up what has waited for longer than the patience, and tell so."""
        last = time.monotonic() - self.patience
        with self._changed:
            old = sum(1 for _ in takewhile(lambda message: message.at < last, self._queue))
        if old and self._is_mine():
            self._sink.dropped(self._take(old, "dropped_out"))

    def _tell_up(self) -> None:
        with self._changed:
            if self._state == "down":
                self._counts["reconnects"] += 1
                self._send_from = time.monotonic() + REST
            self._state, self._since, self._beats, self._beat_at = "up", time.time(), 0, 0.0
            self._changed.notify_all()
        self._sink.up(self._proven)

    def _tell_down(self, reason: str) -> None:
        with self._changed:
            if not self._is_mine():
                return
            before, self._state, self._error = self._state, "down", reason
            self._heard.clear()
            self._changed.notify_all()
        if before != "down":
            self._since = time.time()
            self._sink.down(reason)


class Outlet:
    """A `syncws.backplane.Outlet`. A server that hangs may hold it for two seconds more than the timeout."""

    def __init__(self, backplane: PostgresBackplane) -> None:
        self._backplane = backplane
        self._link: Link | None = None
        self._process = 0

    def send(self, messages: Sequence[tuple[str, bytes]], timeout: float, *, keep: bool = False) -> None:
        deadline = time.monotonic() + timeout
        for _, data in messages:
            self._backplane.check(data)
        if self._process != os.getpid():  # else a child would speak on its parent's connection
            of_parents.append(self._link)
            self._link, self._process = None, os.getpid()
        while True:
            try:
                self._link = self._link or Link(self._backplane)
                self._link.send(messages, max(0.01, deadline - time.monotonic()))
                return
            except (psycopg.Error, OSError) as error:
                self.close()
                if isinstance(error, psycopg.Error) and (error.sqlstate or "")[:2] in ("28", "3D", "42"):
                    raise BackplaneError(f"the database refuses: {error}") from error
                if time.monotonic() > deadline:
                    raise BackplaneTimeout(f"not sent within {timeout:g} s, or not known to be: {error}") from error
                time.sleep(0.05)

    def close(self) -> None:
        if self._link is not None:
            self._link.connection.close()
        self._link = None


backplanes: weakref.WeakSet[PostgresBackplane] = weakref.WeakSet()
of_parents: list[object] = []  # connections that belong to the parent: psycopg would warn that nobody has closed them


def after_fork() -> None:
    for backplane in backplanes:
        for each in backplane._sockets:
            each.close()
        if backplane._link is not None:
            os.close(backplane._link.fd)
            of_parents.append(backplane._link)
            backplane._link = None
        backplane.begin_anew()


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=after_fork)
