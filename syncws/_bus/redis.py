"""`RedisBackplane`: processes joined by Redis or Valkey.

    publish ─ Outbox ─ RedisWriter ═ PUBLISH ═▶ Redis ═▶ RedisReader ─ Sink.received
    subscribe ─ Subscriptions ─ RedisReader ═ SUBSCRIBE ═▶

Two threads and two connections, from `start` on. A message is published on the channel ``<prefix>:<db>:<channel>``,
since Pub/Sub knows no databases.
"""

from __future__ import annotations

import re
import threading
import time
from collections.abc import Iterable
from typing import Any

from .._base.forks import begin_anew_in_child
from .._base.latelock import LateLock
from .._base.options import check_integer, check_seconds
from .._base.owners import explains_options
from .._base.printable import printable_repr
from .backplane import BusHealth, Sink
from .history import History
from .outbox import Outbox
from .redisarchive import RedisArchive
from .redislink import RedisLink
from .redisoutlet import RedisOutlet, check_size
from .redisreader import RedisReader
from .redisurl import settings_from
from .rediswire import RedisWire
from .rediswriter import RedisWriter
from .trouble import Trouble
from .watchdog import Watchdog

#: Seconds that connecting may take, in each of its steps; less where patience is shorter.
_CONNECT = 3.0

#: Seconds that the end of the threads is waited for: a connection that is being made is over then.
_LONGEST_END = 2 * _CONNECT

#: Bytes that a message may have at most: a server cuts off who has 32 MiB waiting, and several may come at once.
_MOST = 8 << 20

#: Makes starting and closing one step each, of all backplanes: both are rare.
_turn = LateLock()


@explains_options
class RedisBackplane:
    """Joins the Managers of many processes and machines over Redis or Valkey.

    ``Manager(backplane=RedisBackplane("redis://localhost:6379/0"))``. It needs redis-py (``pip install
    "syncws[redis]"``), or valkey-py for URLs of valkey (``"syncws[valkey]"``). Nothing is connected before the Manager
    needs it. A server that is away is waited for: what is published meanwhile is kept for `patience` seconds, and what
    may have been missed is told by the Manager's ``on_gap``.

    Any thread may call any method. One object is for one Manager or one Publisher; the child of a fork begins anew.

    Args:
        source: a URL: ``redis://[user:password@]host[:port][/db]``, ``rediss://`` with TLS, ``valkey://`` and
            ``valkeys://``, ``unix:///path/to.sock?db=0``, ``redis+sentinel://host:port,host:port/name/db``; or a client
            of redis-py or valkey-py, of which the settings of connections are taken, without timeouts and retries.
        prefix: what the names of channels and keys begin with, then the number of the database: programs that share a
            server and are not to hear each other have different ones. Letters, digits and ``._-``.
        history: rooms that remember their last messages; None: none does.
        max_message: bytes that one message may have between processes, at most 8 MiB; the head included, which has 26
            bytes and the names.
        patience: seconds for which a message waits for a server that is away, and an answer is waited for.
        beat: seconds between two looks at whether the bus carries what this process sends to what it reads.
        queue: messages that wait for the server at most.
        queue_bytes: their bytes.

    Raises:
        ModuleNotFoundError: redis-py is not installed.
        TypeError: an argument is of the wrong kind.
        ValueError: source names no server, or a number is out of its range; the text has the fix.
    """

    def __init__(
        self,
        source: object,
        *,
        prefix: str = "syncws",
        history: History | None = None,
        max_message: int = 1 << 20,
        patience: float = 10.0,
        beat: float = 3.0,
        queue: int = 10_000,
        queue_bytes: int = 16 << 20,
    ) -> None:
        _check_prefix(prefix)
        check_integer("max_message", max_message, 1024)
        if max_message > _MOST:
            raise ValueError(f"max_message is at most {_MOST:,}: a server cuts off who has 32 MiB waiting")
        check_integer("queue", queue, 1)
        check_integer("queue_bytes", queue_bytes, max_message)
        check_seconds("patience", patience)
        check_seconds("beat", beat)
        if not (history is None or isinstance(history, History)):
            raise TypeError(f"history is a History, or None, not {printable_repr(history, 80)}")
        self._patience = patience
        self._beat = beat
        self._settings = settings_from(source)
        self._prefix = f"{prefix}:{self._settings.db}:"
        self._max_message = max_message
        self._queue = queue
        self._queue_bytes = queue_bytes
        self._archive = None if history is None else RedisArchive(history, self._prefix, self._connection)
        self._running: _Running | None = None  # written under _turn; read without: any thread sees one or the other
        begin_anew_in_child(self)

    def __repr__(self) -> str:
        return f"<RedisBackplane {self._prefix}* on {self._settings.where}>"

    @property
    def addressed(self) -> bool:
        """True: only what is published on subscribed channels arrives."""
        return True

    @property
    def echoes(self) -> bool:
        """True: what this process publishes arrives at itself too, in one order for all processes."""
        return True

    @property
    def max_message(self) -> int:
        """Bytes that one message may have."""
        return self._max_message

    @property
    def archive(self) -> RedisArchive | None:
        """Where the history of rooms is kept; None: it is not."""
        return self._archive

    def begin_anew(self) -> None:
        """In the child of a fork: it is not started, and the parent's connections are the parent's."""
        running, self._running = self._running, None
        if running is not None:
            running.abandon()

    def start(self, sink: Sink, node: str) -> None:
        """As `Backplane.start`."""
        with _turn.made:
            if self._running is None:
                self._running = self._begin(sink, node)

    def _begin(self, sink: Sink, node: str) -> _Running:
        watchdog = Watchdog(self._beat, self._patience)
        trouble = Trouble(self._settings.where, "reader")
        outbox = Outbox(self._queue, self._queue_bytes)
        link = RedisLink(sink, node, self._prefix, self._beat, self._patience, self._archive, outbox, watchdog, trouble)
        return _Running(link, self._wire(), self._wire())

    def _wire(self) -> RedisWire:
        return RedisWire(self._settings, min(_CONNECT, self._patience))

    def _connection(self, timeout: float) -> Any:
        """For the archive: a connection to where the server is now, not connected."""
        return RedisWire(self._settings, timeout).located()

    def publish(self, channel: str, data: bytes, *, keep: bool = False) -> bool:
        """As `Backplane.publish`; False before `start` and after `close`. Raises ValueError over max_message bytes."""
        check_size(data, self._max_message)
        running = self._running
        return running is not None and running.outbox.put(channel, data, keep)

    def subscribe(self, channels: Iterable[str], timeout: float) -> bool:
        """As `Backplane.subscribe`; False before `start` and after `close`."""
        running = self._running
        return running is not None and running.reader.subscribe(list(channels), timeout)

    def unsubscribe(self, channels: Iterable[str]) -> None:
        """As `Backplane.unsubscribe`."""
        running = self._running
        if running is not None:
            running.reader.unsubscribe(list(channels))

    def flush(self, timeout: float) -> bool:
        """As `Backplane.flush`."""
        running = self._running
        return running is None or running.outbox.flush(timeout)

    def health(self) -> BusHealth:
        """As `Backplane.health`."""
        running = self._running
        return BusHealth(False, error="it was not started") if running is None else running.health()

    def close(self, timeout: float) -> None:
        """As `Backplane.close`. Where the network swallows what is sent to it, it may take three seconds more."""
        self.flush(timeout)
        with _turn.made:
            running, self._running = self._running, None
        if running is not None:
            running.end()
        if self._archive is not None:
            self._archive.close()

    def outlet(self) -> RedisOutlet:
        """As `Backplane.outlet`."""
        return RedisOutlet(self._settings, self._prefix, self._max_message, self._archive)


class _Running:
    """What there is between a start and its end: two threads, their connections, and what they know. Any thread."""

    def __init__(self, link: RedisLink, reading: RedisWire, writing: RedisWire) -> None:
        self._link = link
        self.outbox = link.outbox
        self.reader = RedisReader(link, reading)
        self._writer = RedisWriter(link, writing, self.reader)
        self._threads = [
            threading.Thread(target=self.reader.run, name="syncws-redis-reader", daemon=True),
            threading.Thread(target=self._writer.run, name="syncws-redis-writer", daemon=True),
        ]
        try:
            for each in self._threads:
                each.start()
        except BaseException:  # no thread is to be had: one is not to go on without the other
            self.end()
            self.abandon()  # what a thread that has not run does not give back
            raise

    def end(self) -> None:
        """End both threads, and wait for them; from one of them, for the other."""
        waits_for = [each for each in self._threads if each.ident and each is not threading.current_thread()]
        until = time.monotonic() + _LONGEST_END
        while True:
            # Again and again: a connection that is just being made was not there to be interrupted before.
            self.reader.end()
            self._writer.end()
            for each in waits_for:
                each.join(0.05)
            if not any(each.is_alive() for each in waits_for) or time.monotonic() > until:
                return

    def abandon(self) -> None:
        """In the child of a fork: give back the descriptors. No lock is taken."""
        self.reader.abandon()
        self._writer.abandon()

    def health(self) -> BusHealth:
        """As `Backplane.health`."""
        link, reader, writer = self._link, self.reader, self._writer
        up, since, error = link.trouble.state
        messages, size = self.outbox.size
        ago = time.monotonic() - link.watchdog.proven
        return BusHealth(
            up=up,
            since=since,
            error=error,
            last_proof=None if reader.up_since is None and not reader.received else time.time() - ago,
            lag=link.watchdog.lag,
            queued_messages=messages,
            queued_bytes=size,
            published=writer.published,
            received=reader.received,
            dropped_out=self.outbox.refused + writer.given_up,
            reconnects=reader.reconnects + writer.reconnects,
        )


def _check_prefix(prefix: object) -> None:
    if not isinstance(prefix, str):
        raise TypeError(f"prefix is a str, not {printable_repr(prefix, 80)}")
    if not re.fullmatch(r"[A-Za-z0-9._-]{1,100}", prefix):
        raise ValueError(f"prefix is of letters, digits and ._-, at most 100, not {printable_repr(prefix, 80)}")
