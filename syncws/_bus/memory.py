"""A bus inside one process, for tests: `MemoryBackplane`s on one `MemoryBus`, with levers for what goes wrong.

    bus = MemoryBus()  # as Redis is; MemoryBus(addressed=False, echoes=False, tells_ends=True) is as the local bus
    here, there = MemoryBackplane(bus), MemoryBackplane(bus)
    ...
    there.lose(2)      # the next two messages do not reach it, and nobody says so
    bus.settle()       # everything that was published has been delivered

The bus takes a message in the thread that publishes it, and puts it into the inbox of each backplane that is to get it.
A thread of that backplane's own, `syncws-memory-bus`, tells its sink, one thing after the other: messages, and that the
bus is down or up, in the order in which they happened.
"""

from __future__ import annotations

import sys
import threading
import time
from collections import Counter, deque
from collections.abc import Callable, Iterable, Sequence
from typing import NamedTuple

from .._base.forks import begin_anew_in_child
from ..errors import BackplaneError, BackplaneTimeout
from .backplane import BusHealth, Sink
from .busarchive import BusArchive
from .history import Archive, History

_REASON = "the bus was cut by the test"
_SENT = 1_000  # messages that a backplane could send twice


class _Message(NamedTuple):
    channel: str
    data: bytes
    keep: bool = False


class MemoryBus:
    """What every `MemoryBackplane` of one process shares. Any thread may call any method.

    Args:
        addressed, echoes: what the attributes of its backplanes say, and what it does (see `Backplane`).
        tells_ends: whether the others are told `Sink.vanished` when one of them ends by `MemoryBackplane.vanish`.
        max_message: bytes that one message may have; `publish` raises ValueError for more.
        queue: messages that wait in each backplane while the bus takes none; after that, `publish` returns False.
        history: what the bus remembers of what is published with ``keep=True``, as Redis does; None: it keeps nothing.
    """

    def __init__(
        self,
        *,
        addressed: bool = True,
        echoes: bool = True,
        tells_ends: bool = False,
        max_message: int = 1 << 20,
        queue: int = 10_000,
        history: History | None = None,
    ) -> None:
        self.addressed = addressed
        self.echoes = echoes
        self.tells_ends = tells_ends
        self.max_message = max_message
        self.queue = queue
        self.archive = None if history is None else BusArchive(history)
        self._lock = threading.RLock()  # guards all that follows, and the state of each backplane
        self._changed = threading.Condition(self._lock)
        self._nodes: list[MemoryBackplane] = []  # those that are started
        self._reason: str | None = None  # why it is cut
        self._frozen = False
        begin_anew_in_child(self)

    def begin_anew(self) -> None:
        """In the child of a fork: nobody is there; whoever starts again joins a bus of this process alone."""
        self._lock = threading.RLock()
        self._changed = threading.Condition(self._lock)
        if self.archive is not None:
            self.archive.begin_anew()
        nodes, self._nodes = self._nodes, []
        for node in nodes:
            node._clear()

    def settle(self, timeout: float = 10.0) -> None:
        """Wait until all that was published has been delivered, and what was published in answer to it.

        What waits where the bus is cut, frozen or held does not count. Not from a thread of the bus.

        Raises AssertionError after timeout seconds; its text says who is behind.
        """
        with self._lock:
            if not self._changed.wait_for(lambda: not self._busy(), timeout):
                raise AssertionError(f"not delivered after {timeout:g} s: {', '.join(map(repr, self._busy()))}")

    def cut(self, reason: str = _REASON) -> None:
        """Be gone, for every backplane: each tells its sink `down` and the reason, and keeps what it publishes."""
        with self._lock:
            self._reason = reason
            for node in self._nodes:
                node._lose_bus(reason)

    def mend(self, *, resend: bool = True) -> None:
        """Be back, for every backplane: first each tells its sink `up`, then what they published meanwhile goes out.

        resend=False: it does not go out; `Sink.dropped` is told, before `up`.
        """
        with self._lock:
            self._reason = None
            for node in self._nodes:
                node._find_bus(resend)
            for node in self._nodes:
                node._send()
            self._changed.notify_all()

    def freeze(self) -> None:
        """Take nothing any more, and let nobody notice, as a stopped server does. What was taken is delivered."""
        with self._lock:
            self._frozen = True

    def thaw(self) -> None:
        """Go on after `freeze`."""
        with self._lock:
            self._frozen = False
            for node in self._nodes:
                node._send()
            self._changed.notify_all()

    def inject(self, channel: str, data: bytes) -> None:
        """Deliver data on a channel that none of the backplanes published."""
        with self._lock:
            self._take(None, _Message(channel, data))

    # Under the lock:

    def _take(self, sender: MemoryBackplane | None, message: _Message) -> str | None:
        """Keep a message, if it is to be kept, and deliver it; its position, if it was kept."""
        position = None
        if self.archive is not None:
            if message.keep:
                position = self.archive.keep(message.channel, message.data)
            else:
                self.archive.told(message.channel, message.data)
        self._deliver(sender, message, position)
        return position

    def _deliver(self, sender: MemoryBackplane | None, message: _Message, position: str | None) -> None:
        for node in self._nodes:
            if node is not sender or self.echoes or position is not None:
                node._arrive(message, position)
        self._changed.notify_all()

    def _busy(self) -> list[MemoryBackplane]:
        return [node for node in self._nodes if node._is_busy()]


class MemoryBackplane:
    """A `Backplane` on a `MemoryBus`, for tests. Any thread may call any method.

    Args:
        bus: the bus, which others are on too; None: a new one, `MemoryBackplane.bus`.
    """

    def __init__(self, bus: MemoryBus | None = None) -> None:
        self.bus = MemoryBus() if bus is None else bus
        self._clear()

    def _clear(self) -> None:
        # All of it is guarded by the bus's lock.
        self._sink: Sink | None = None  # None: it is not started
        self._node = ""
        self._thread: threading.Thread | None = None
        self._inbox: deque[Callable[[Sink], None]] = deque()  # what is to be told
        self._outbox: deque[_Message] = deque()  # what the bus has not taken
        self._sent: deque[tuple[_Message, str | None]] = deque(maxlen=_SENT)  # with their positions
        self._channels: set[str] = set()
        self._unacknowledged: set[str] = set()
        self._defers = False  # subscriptions are not acknowledged
        self._held = False
        self._telling = False  # the sink is being told something
        self._to_lose = 0
        self._to_drop = 0
        self._reason: str | None = None  # why the bus is lost
        self._lost_at = 0.0  # time.monotonic()
        self._since: float | None = None
        self._published = self._received = self._dropped_out = self._reconnects = 0
        self._last_proof: float | None = None

    def __repr__(self) -> str:
        waiting = f"{len(self._inbox)} to deliver, {len(self._outbox)} to send"
        return f"<MemoryBackplane {self._node or 'not started'}: {waiting}>"

    # What every backplane does:

    @property
    def addressed(self) -> bool:
        """As its bus."""
        return self.bus.addressed

    @property
    def echoes(self) -> bool:
        """As its bus."""
        return self.bus.echoes

    @property
    def tells_ends(self) -> bool:
        """As its bus."""
        return self.bus.tells_ends

    @property
    def max_message(self) -> int:
        """Bytes that one message may have on its bus."""
        return self.bus.max_message

    @property
    def archive(self) -> Archive | None:
        """What its bus remembers."""
        return self.bus.archive

    def start(self, sink: Sink, node: str) -> None:
        """Join the bus; see `Backplane.start`."""
        with self.bus._lock:
            if self._sink is not None:
                return
            thread = threading.Thread(target=self._deliver, args=(sink,), name="syncws-memory-bus", daemon=True)
            thread.start()  # it waits for the lock; if there is none to be had, nothing has changed
            self._sink, self._node, self._thread = sink, node, thread
            self._lost_at, self._since = time.monotonic(), time.time()
            self.bus._nodes.append(self)
            if self.bus._reason is None:
                self._tell_up()
            else:
                self._lose_bus(self.bus._reason)

    def publish(self, channel: str, data: bytes, *, keep: bool = False) -> bool:
        """Hand a message to the bus; see `Backplane.publish`. False as well where it is not started.

        Raises ValueError for more than max_message bytes.
        """
        if len(data) > self.max_message:
            raise ValueError(f"a message of {len(data):,} bytes; max_message is {self.max_message:,}")
        with self.bus._lock:
            if self._sink is None:
                return False
            if len(self._outbox) >= self.bus.queue:
                self._dropped_out += 1
                return False
            if self._to_drop:
                self._to_drop -= 1
                self._tell_dropped({channel: 1})
                return True
            self._outbox.append(_Message(channel, bytes(data), keep))
            self._send()
            return True

    def subscribe(self, channels: Iterable[str], timeout: float) -> bool:
        """Ask for channels; see `Backplane.subscribe`. False as well where it is not started."""
        wanted = set(channels)
        with self.bus._lock:
            if self._sink is None:
                return False
            if self._defers:
                self._unacknowledged |= wanted - self._channels
            else:
                self._channels |= wanted
            self.bus._changed.wait_for(lambda: self._reason is not None or wanted <= self._channels, timeout)
            return self._reason is None and wanted <= self._channels

    def unsubscribe(self, channels: Iterable[str]) -> None:
        """Let go of channels; see `Backplane.unsubscribe`."""
        with self.bus._lock:
            self._channels.difference_update(channels)
            self._unacknowledged.difference_update(channels)

    def flush(self, timeout: float) -> bool:
        """Wait until the bus has taken everything; see `Backplane.flush`."""
        with self.bus._lock:
            return self.bus._changed.wait_for(lambda: not self._outbox, timeout)

    def health(self) -> BusHealth:
        """How it is; see `BusHealth`. Nothing is measured: ``lag`` is None."""
        with self.bus._lock:
            started = self._sink is not None
            return BusHealth(
                up=started and self._reason is None,
                since=self._since,
                error=self._reason,
                last_proof=self._last_proof,
                queued_messages=len(self._outbox),
                queued_bytes=sum(len(message.data) for message in self._outbox),
                published=self._published,
                received=self._received,
                dropped_out=self._dropped_out,
                reconnects=self._reconnects,
            )

    def close(self, timeout: float) -> None:
        """Flush and end; see `Backplane.close`. What has arrived and was not told is forgotten."""
        self.flush(timeout)
        thread = self._leave()
        if thread is not None and thread is not threading.current_thread():
            thread.join()

    def outlet(self) -> MemoryOutlet:
        """A way out without a thread; see `Backplane.outlet`."""
        return MemoryOutlet(self.bus)

    # The levers:

    def lose(self, count: int = 1) -> None:
        """Let the next messages that are on their way to here, count of them, vanish, and tell nobody."""
        with self.bus._lock:
            self._to_lose += count

    def drop_out(self, count: int = 1) -> None:
        """Take the next messages that are published here, count of them, send none, and tell `Sink.dropped`."""
        with self.bus._lock:
            self._to_drop += count

    def twice(self, count: int = _SENT) -> None:
        """Send the last messages, count of them, once more, in their order.

        That is done when a connection broke and they may be lost.
        """
        with self.bus._lock:
            for message, position in list(self._sent)[-count:]:
                self.bus._deliver(self, message, position)

    def hold(self) -> None:
        """Tell the sink nothing, as if it were busy: what arrives waits. Returns when it is told nothing any more."""
        with self.bus._lock:
            self._held = True
            if self._thread is not threading.current_thread():
                self.bus._changed.wait_for(lambda: not self._telling)

    def release(self) -> None:
        """Go on after `hold`."""
        with self.bus._lock:
            self._held = False
            self.bus._changed.notify_all()

    def defer(self) -> None:
        """Acknowledge no subscription: `subscribe` waits for new channels, and nothing arrives on them."""
        with self.bus._lock:
            self._defers = True

    def acknowledge(self) -> None:
        """Go on after `defer`."""
        with self.bus._lock:
            self._defers = False
            self._channels |= self._unacknowledged
            self._unacknowledged = set()
            self.bus._changed.notify_all()

    def cut(self, reason: str = _REASON) -> None:
        """Lose the bus, this one alone: what the others publish is missed, what is published here is kept.

        reason: why, for `Sink.down`.
        """
        with self.bus._lock:
            self._lose_bus(reason)

    def mend(self, *, resend: bool = True) -> None:
        """Find the bus again, after `cut`; what was published here goes out.

        resend=False: it does not go out; `Sink.dropped` is told, before `up`.
        """
        with self.bus._lock:
            self._find_bus(resend)
            self._send()
            self.bus._changed.notify_all()

    def vanish(self) -> None:
        """End as a killed process does: nothing more goes out or comes in, and nothing was said."""
        with self.bus._lock:
            node = self._node
            self._outbox.clear()
        if (thread := self._leave()) is None:
            return
        if self.bus.tells_ends:
            with self.bus._lock:
                for other in self.bus._nodes:
                    other._tell(lambda sink: sink.vanished(node))
        if thread is not threading.current_thread():
            thread.join()

    # Under the bus's lock:

    def _lose_bus(self, reason: str) -> None:
        if self._sink is None or self._reason is not None:
            return
        self._reason, self._lost_at, self._since = reason, time.monotonic(), time.time()
        self._tell(lambda sink: sink.down(reason))

    def _find_bus(self, resend: bool) -> None:
        if self._sink is None or self._reason is None:
            return
        if self._outbox and not resend:
            counts = Counter(message.channel for message in self._outbox)
            self._outbox.clear()
            self._tell_dropped(dict(counts))
        self._reason, self._since = None, time.time()
        self._reconnects += 1
        self._tell_up()

    def _send(self) -> None:
        while self._outbox and self._reason is None and not self.bus._frozen:
            message = self._outbox.popleft()
            self._published += 1
            self._sent.append((message, self.bus._take(self, message)))

    def _arrive(self, message: _Message, position: str | None) -> None:
        if self._reason is not None or (self.bus.addressed and message.channel not in self._channels):
            return
        if self._to_lose:
            self._to_lose -= 1
            return
        self._tell(lambda sink: sink.received(message.channel, message.data, position))
        self._received += 1
        self._last_proof = time.time()

    def _tell_up(self) -> None:
        proven = self._lost_at
        self._tell(lambda sink: sink.up(proven))

    def _tell_dropped(self, counts: dict[str, int]) -> None:
        self._dropped_out += sum(counts.values())
        self._tell(lambda sink: sink.dropped(counts))

    def _tell(self, what: Callable[[Sink], None]) -> None:
        self._inbox.append(what)
        self.bus._changed.notify_all()

    def _is_busy(self) -> bool:
        to_send = self._outbox and self._reason is None and not self.bus._frozen
        return bool(to_send or self._telling or (self._inbox and not self._held))

    # The thread, and its end:

    def _deliver(self, sink: Sink) -> None:
        lock, changed = self.bus._lock, self.bus._changed  # not those of a child of a fork, where this thread is not
        me = threading.current_thread()
        while True:
            with lock:
                if self._thread is me:  # else another start may have another thread, which is telling
                    self._telling = False
                    changed.notify_all()  # whoever waits for this one: `settle`, `hold`
                changed.wait_for(lambda: self._thread is not me or (self._inbox and not self._held))
                if self._thread is not me:
                    return
                tell = self._inbox.popleft()
                self._telling = True
            try:
                tell(sink)
            except Exception:  # a sink must not raise; the test that has one learns of it, and the bus goes on
                threading.excepthook(threading.ExceptHookArgs((*sys.exc_info(), me)))

    def _leave(self) -> threading.Thread | None:
        """Be on the bus no more; the thread, which then ends, if there is one."""
        with self.bus._lock:
            thread, self._thread = self._thread, None
            if self._sink is not None:
                self.bus._nodes.remove(self)
            self._clear()
            self.bus._changed.notify_all()
            return thread


class MemoryOutlet:
    """An `Outlet` to a `MemoryBus`. One thread at a time."""

    def __init__(self, bus: MemoryBus) -> None:
        self._bus = bus

    def send(self, messages: Sequence[tuple[str, bytes]], timeout: float, *, keep: bool = False) -> None:
        """Hand messages to the bus; see `Outlet.send`. Raises BackplaneError for one of more than max_message bytes."""
        for _, data in messages:
            if len(data) > self._bus.max_message:
                raise BackplaneError(f"a message of {len(data):,} bytes; max_message is {self._bus.max_message:,}")
        with self._bus._lock:
            if not self._bus._changed.wait_for(lambda: self._bus._reason is None and not self._bus._frozen, timeout):
                raise BackplaneTimeout(f"the bus took nothing within {timeout:g} s")
            for channel, data in messages:
                self._bus._take(None, _Message(channel, data, keep))

    def close(self) -> None:
        """There is no connection to let go of."""
