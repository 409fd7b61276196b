"""What goes to Redis: one thread, one connection, and an outbox whose messages stay until the server has taken them.

A batch is sent in one piece, and then all its answers are read. If the connection breaks in between, nobody knows which
of its messages arrived: the same batch is sent again, whole and in order, and who listens drops what comes twice.
"""

from __future__ import annotations

import threading
import time
from collections import Counter
from collections.abc import Sequence
from typing import Any

from .._base.logs import logger
from .._base.printable import printable, printable_repr
from .backoff import Backoff
from .outbox import Waiting
from .redisarchive import pack
from .redislink import RedisLink
from .redisreader import RedisReader
from .rediswire import NEVER, WRONG_SERVER, RedisWire, Refusal, WireLost

_log = logger("syncws.backplane")

#: Seconds for which nothing is sent again once the server had gone: all who listen were cut off at the same moment, and
#: what is sent before they are back is lost to them.
_SETTLE = 1.0

#: How long the key lives that tells that this process does, in beats.
_KEY_LIVES = 5

#: Seconds of a wait after which it is looked whether the thread is to end.
_LOOK = 0.5


class RedisWriter:
    """Sends what is in an outbox, and beats. Reconnects for ever.

    Concurrency: `run` is for a thread of its own, the only one that uses the wire, takes from the outbox, and calls the
    sink's dropped. `end` is for any thread. `published`, `given_up` and `reconnects` are written by the thread alone;
    others read them without a lock, and may see what they were a moment ago.
    """

    def __init__(self, link: RedisLink, wire: RedisWire, reader: RedisReader) -> None:
        self._link = link
        self._wire = wire
        self._outbox = link.outbox
        self._reader = reader
        self._backoff = Backoff()
        self._over = threading.Event()
        self._was_connected = False
        self._next_beat = 0.0
        self._may_set = True  # whether this connection's user and server take the key
        self._script_sent = False  # whether this connection's server has the script of the archive
        self._astray = 0  # how often the watchdog had said so when this connection was made
        self.published = 0
        self.given_up = 0
        self.reconnects = 0

    def end(self) -> None:
        """Have the thread end soon. A connection that is just being made is ended by the next call."""
        self._over.set()
        self._outbox.close()
        self._wire.interrupt()

    def abandon(self) -> None:
        """In the child of a fork, where the thread does not exist: give back its descriptor."""
        self._wire.abandon()

    # The thread

    def run(self) -> None:
        """Send until the end; what waits then is given up."""
        settle = False
        while not self._over.is_set():
            try:
                self._session(settle)
            except WireLost as lost:
                settle = lost.kind != "timeout"
                self._down(lost)
            except Exception as error:  # a defect must not leave this process mute for good
                _log.exception("writing to the bus failed; it goes on with a new connection")
                self._down(WireLost(printable_repr(error)))
            finally:
                self._wire.close()
            self._outbox.pause(self._backoff.next())
        self._give_up(self._outbox.expire(float("inf")))

    def _session(self, settle: bool) -> None:
        """One connection, from its first command to its end, which is WireLost."""
        self._astray = self._link.watchdog.astray
        self._script_sent = False
        self._may_set = True
        self._next_beat = 0.0
        self._wire.connect()
        self._link.trouble.ends("writer")
        self.reconnects += self._was_connected
        self._was_connected = True
        if settle:
            self._settle()
        while not self._over.is_set():
            if self._link.watchdog.astray != self._astray:
                raise WireLost("what this process publishes does not come back", "timeout")
            batch = self._outbox.batch()
            beats = self._link.watchdog.wanted or time.monotonic() >= self._next_beat
            if batch or beats:
                self._send(batch, beats)
            else:
                self._outbox.wait(self._next_beat - time.monotonic())

    def _settle(self) -> None:
        """Wait until this process listens again, and then for a moment: so will the others."""
        moment = min(_SETTLE, self._link.patience / 2)  # or else everything would be too old by then
        while not self._over.is_set():
            since = self._reader.up_since
            if since is not None and time.monotonic() >= since + moment:
                return
            if self._reader.wants_proof and (self._link.watchdog.wanted or time.monotonic() >= self._next_beat):
                self._send((), True)
            self._expire()
            self._outbox.pause(0.05)

    def _send(self, batch: Sequence[Waiting], beats: bool) -> None:
        commands = [*map(self._command, batch)]
        if beats:
            commands[:0] = self._beat()
        self._wire.send(commands, self._link.patience)
        if beats:
            self._read_beat()
        refused = Counter(each.channel for each in batch if not self._read_answer(each))
        self._outbox.confirm(len(batch))
        self.published += len(batch) - refused.total()
        self._backoff.reset()
        self._give_up(refused)

    def _command(self, message: Waiting) -> tuple[Any, ...]:
        archive = self._link.archive
        if archive is not None:
            if message.keep:
                first, self._script_sent = not self._script_sent, True
                return archive.command(message.channel, message.data, first=first)
            if (told := archive.told_as(message.channel, message.data)) is not None:
                return told
        return ("PUBLISH", self._link.prefix + message.channel, pack(message.data))

    def _beat(self) -> list[tuple[Any, ...]]:
        """A beat, and a write: a server to which one cannot write is a replica, where nobody else would hear us."""
        commands: list[tuple[Any, ...]] = []
        if self._may_set:
            commands.append(("SET", self._link.own_key, 1, "PX", round(_KEY_LIVES * self._link.beat * 1000)))
        commands.append(("PUBLISH", self._link.prefix + self._link.own_channel, self._link.watchdog.begin()))
        return commands

    def _read_beat(self) -> None:
        if self._may_set:
            try:
                self._answer()
            except Refusal as refusal:
                self._raise_if_wrong_server(refusal)
                self._may_set = refusal.code not in NEVER
        try:
            self._answer()
        except Refusal as refusal:
            raise WireLost(str(refusal), "denied") from None
        self._link.watchdog.taken()
        self._reader.proof()
        self._next_beat = time.monotonic() + self._link.beat

    def _read_answer(self, message: Waiting) -> bool:
        """Whether the server has taken a message; False: it never will."""
        try:
            self._answer()
            return True
        except Refusal as refusal:
            self._raise_if_wrong_server(refusal)
            if not message.keep:
                if refusal.code != "NOPERM" or not self._next_beat:
                    raise WireLost(str(refusal), "denied") from None
                # This connection's beat was taken, so it is this channel alone: the others' messages do not wait.
                self._link.trouble.tell(f"a message on the channel {printable(message.channel, 100)}: {refusal}")
                return False
            if refusal.code == "NOSCRIPT":  # somebody had the server forget it: a new connection brings it again
                raise WireLost(str(refusal), "timeout") from None
            self._link.trouble.tell(f"a message that is to be kept: {refusal}")
            return False

    def _raise_if_wrong_server(self, refusal: Refusal) -> None:
        if refusal.code in WRONG_SERVER:
            if refusal.code == "READONLY":
                self._reader.lose("the server is a replica now")  # it listens there too
            raise WireLost(f"{refusal.code}: {refusal}") from None

    def _answer(self) -> Any:
        """The next answer. Time counts only while it is waited for: who was stopped finds it there."""
        waited = 0.0
        while not self._over.is_set():
            try:
                return self._wire.read(_LOOK)
            except TimeoutError:
                waited += _LOOK
                if waited >= self._link.patience:
                    break
        raise WireLost(f"the server did not answer for {self._link.patience:g} s", "timeout")

    def _down(self, lost: WireLost) -> None:
        if self._over.is_set():
            return
        if lost.kind != "broken":  # else it is known after the next attempt whether anything is wrong
            self._link.trouble.begins("writer", str(lost), denied=lost.kind == "denied")
        self._expire()

    def _expire(self) -> None:
        self._give_up(self._outbox.expire(time.monotonic() - self._link.patience))

    def _give_up(self, counts: Counter[str]) -> None:
        if counts:
            self.given_up += counts.total()
            self._link.sink.dropped(counts)
