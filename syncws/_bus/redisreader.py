"""What comes from Redis: one thread, one connection, which is subscribed to what is wanted, and watched."""

from __future__ import annotations

import selectors
import threading
import time
from collections.abc import Iterable, Sequence
from typing import Any

from .._base.logs import logger
from .._base.printable import printable_repr
from .._base.waker import Waker
from .backoff import Backoff
from .redisarchive import unpack
from .redislink import RedisLink
from .rediswire import RedisWire, Refusal, WireLost
from .subscriptions import Subscriptions

_log = logger("syncws.backplane")

#: Seconds for which the return of a connection is waited for by who subscribes.
_MOMENT = 1.0

#: Channels in one command: between two of them the server serves others.
_AT_ONCE = 500


class RedisReader:
    """Reads what is published on the channels that are wanted, and hands it to the sink. Reconnects for ever.

    Concurrency: `run` is for a thread of its own, the only one that uses the wire and calls the sink's received, down
    and up. `subscribe`, `unsubscribe`, `lose` and `end` are for any thread. `up_since`, `received` and `reconnects` are
    written by the thread alone; others read them without a lock, and may see what they were a moment ago.
    """

    def __init__(self, link: RedisLink, wire: RedisWire) -> None:
        self._link = link
        self._wire = wire
        self._subscriptions = Subscriptions()
        self._subscriptions.want([link.own_channel])
        self._waker = Waker()  # woken by who wants something of the thread; closed by the thread, at its end
        self._selector: selectors.BaseSelector | None = None
        self._backoff = Backoff()
        self._over = threading.Event()
        self._wrong: str | None = None  # why another thread says that the connection is worth nothing
        self._doubted = False  # the last server was a replica: the next one has to prove that it is none
        self._lost_at: float | None = None  # of time.monotonic(): the sink was told that the bus is lost
        self._proven: float | None = None  # the proof at that moment; the thread's own, as is all that follows
        self._was_up = False
        self.up_since: float | None = None  # of time.monotonic(): every subscription is acknowledged since then
        self.received = 0
        self.reconnects = 0

    # Any thread

    def subscribe(self, channels: Iterable[str], timeout: float) -> bool:
        """As `Backplane.subscribe`."""
        missing = self._subscriptions.want(channels)
        if not missing:
            return True
        self._waker.wake()
        lost_at = self._lost_at
        if lost_at is not None:  # a connection is often back at once; in a long outage nobody waits any more
            timeout = min(timeout, lost_at + _MOMENT - time.monotonic())
        return timeout > 0 and self._subscriptions.wait(missing, timeout)

    def unsubscribe(self, channels: Iterable[str]) -> None:
        """As `Backplane.unsubscribe`."""
        if self._subscriptions.drop(channels):
            self._waker.wake()

    def lose(self, reason: str) -> None:
        """The server is a replica: have the connection made anew. The bus is lost until a server has accepted a write
        and brought back the beat after it."""
        self._doubted = True  # first: the thread looks at it once it has seen the reason
        self._wrong = reason
        self._waker.wake()

    @property
    def wants_proof(self) -> bool:
        """Whether the bus is there once a beat comes back: every subscription is acknowledged, and it is in doubt."""
        return self._doubted and self.up_since is None and self._subscriptions.complete

    def proof(self) -> None:
        """The server has accepted a write and a beat: if the bus is in doubt, look at once whether that came back."""
        if self._doubted:
            self._waker.wake()

    def end(self) -> None:
        """Have the thread end soon. A connection that is just being made is ended by the next call."""
        self._over.set()
        self._subscriptions.close()
        self._waker.wake()
        self._wire.interrupt()

    def abandon(self) -> None:
        """In the child of a fork, where the thread does not exist: give back its descriptors."""
        self._wire.abandon()
        self._waker.begin_anew()  # a thread of the parent may have held its lock
        self._waker.close()
        if self._selector is not None:
            self._selector.close()

    # The thread

    def run(self) -> None:
        """Read until the end."""
        while not self._over.is_set():
            try:
                self._session()
            except WireLost as lost:
                self._down(str(lost), denied=lost.kind == "denied")
            except Exception as error:  # a defect must not leave this process deaf for good
                _log.exception("reading from the bus failed; it goes on with a new connection")
                self._down(printable_repr(error), denied=False)
            self._over.wait(self._backoff.next())
        self._waker.close()

    def _session(self) -> None:
        """One connection, from its first command to its end, which is WireLost."""
        self._wrong = None
        self._link.watchdog.connected()
        try:
            self._wire.connect()
            with selectors.DefaultSelector() as self._selector:
                self._selector.register(self._wire.fileno(), selectors.EVENT_READ)
                self._selector.register(self._waker, selectors.EVENT_READ)
                self._ask("SUBSCRIBE", self._subscriptions.begin())
                self._read(self._selector)
        except (OSError, ValueError) as error:  # of the selector, or of a wire that was interrupted
            raise WireLost(printable_repr(error)) from None
        finally:
            self._selector = None
            self._wire.close()
            self._subscriptions.end()

    def _read(self, selector: selectors.BaseSelector) -> None:
        watchdog = self._link.watchdog
        next_question = 0.0
        while not self._over.is_set():
            if self._wrong is not None:
                raise WireLost(self._wrong)
            self._reconcile()
            if self._doubted and self.wants_proof and watchdog.carries:
                self._doubted = False
                self._up()
            if self._wire.has_data():
                self._read_one()
                continue
            now = time.monotonic()
            if now >= next_question and watchdog.asked():
                self._wire.send([("PING",)], self._link.patience)
                next_question = now + self._link.beat
            self._wait(selector, now)

    def _wait(self, selector: selectors.BaseSelector, now: float) -> None:
        """Wait until there is something to read, or somebody wants something."""
        ready = selector.select(self._link.watchdog.tick)
        if not ready:
            self._idle(time.monotonic() - now)
        elif any(key.fileobj is self._waker for key, _ in ready):
            self._waker.wait(0)

    def _idle(self, seconds: float) -> None:
        if (reason := self._link.watchdog.idle(seconds)) is not None:
            raise WireLost(reason, "timeout")

    def _reconcile(self) -> None:
        """Ask for what is wanted since the last time, and let go of what is no more."""
        add, remove = self._subscriptions.changes()
        if add or remove:  # else this is one more message
            self._ask("UNSUBSCRIBE", remove)
            self._ask("SUBSCRIBE", add)

    def _ask(self, command: str, channels: Sequence[str]) -> None:
        if channels:
            named = [self._link.prefix + each for each in channels]
            parts = (named[i : i + _AT_ONCE] for i in range(0, len(named), _AT_ONCE))
            self._wire.send(((command, *part) for part in parts), self._link.patience)

    def _read_one(self) -> None:
        began = time.monotonic()
        try:
            message = self._wire.read(self._link.watchdog.tick)
        except TimeoutError:  # only the beginning of it has come
            self._idle(time.monotonic() - began)
        except Refusal as refusal:
            raise WireLost(str(refusal), "denied") from None
        else:
            self._take(message)

    def _take(self, message: Any) -> None:
        kind = message[0]
        if kind == b"message":
            self._received(self._name(message[1]), message[2])
        elif kind == b"pong":
            self._link.watchdog.answered()
        elif kind in (b"subscribe", b"unsubscribe"):
            name = self._name(message[1] or b"")
            if not self._subscriptions.acknowledged(name, subscribed=kind == b"subscribe"):
                raise WireLost("the server ended a subscription that is wanted")
            if self.up_since is None and self._subscriptions.complete:
                if self._doubted:
                    self._link.watchdog.subscribed()
                    self._link.outbox.wake()  # for the beat that is the proof
                else:
                    self._up()

    def _received(self, channel: str, data: bytes) -> None:
        if channel == self._link.own_channel:
            self._link.watchdog.heard(data)
            return
        self.received += 1
        try:
            position, data = unpack(data)
        except ValueError:
            position = None  # whoever reads messages counts it as none
        self._link.sink.received(channel, data, position)

    def _name(self, channel: bytes) -> str:
        """A channel's name, without the prefix."""
        return channel.decode(errors="replace")[len(self._link.prefix) :]

    def _up(self) -> None:
        # Before it begins anew. A server in doubt may have proved only that it speaks to itself.
        proven = self._link.watchdog.proven if self._proven is None else self._proven
        self._proven = None
        self._link.watchdog.subscribed()
        self._backoff.reset()
        self._link.trouble.over()
        self._lost_at = None
        self.reconnects += self._was_up
        self._was_up = True
        self.up_since = time.monotonic()
        self._lose_archive()  # also once it is there again: in between it may have connected to the old server
        self._link.outbox.wake()  # for the first beat that must come back
        self._link.sink.up(proven)

    def _lose_archive(self) -> None:
        """What reads the history is to look for the server anew: it may have connected to one that is none any more."""
        if self._link.archive is not None:
            self._link.archive.lose()

    def _down(self, reason: str, *, denied: bool) -> None:
        if self._over.is_set():
            return
        self._lose_archive()
        self._link.trouble.begins("reader", reason, denied=denied)
        if self._lost_at is None:
            self._lost_at = time.monotonic()  # before the sink: who subscribes from now on looks at it
            self.up_since = None
            self._proven = self._link.watchdog.proven
            self._link.watchdog.wanted = True  # the writer looks at once whether its connection is over, too
            self._link.outbox.wake()
            self._link.sink.down(reason)
