"""One process on a local bus, from its start to its close: a connection to each other process, and one from each.

    publish ── Peer.post ──────────────> the socket of each other process
                 '- what it does not take at once waits, and is sent by the thread that minds the bus
    Sink.received <── Reader <────────── a connection that another process has made to this one

**How they find each other.** A process listens before it looks (`open`), so of two that come at the same time at least
one sees the other. It connects to all that it sees and says its name, and is connected back. Once all that it saw have
done so, or a second has passed, it is settled: what the others publish arrives.

**Who was not heard for a while.** A process that greets again after its connection had broken, and one that answers
when this one has settled without it, may have published meanwhile. That is told as if the bus had been lost for so
long: `Sink.down`, then `Sink.up` with the instant until which nothing was missed.

**The thread that minds the bus** (`_mind`) alone connects, accepts, sends what waits, looks into the directory once a
second, and tells its sink `up`, `down` and `dropped`.
"""

from __future__ import annotations

import selectors
import socket
import threading
import time

from .._base.advice import advisor
from .._base.logs import lines_later, logger
from .._base.waker import Waker
from .backplane import BusHealth, Sink
from .localdirectory import LocalDirectory, check_user, is_for_later, node_of, pid_of
from .localframes import goodbye, greeting
from .localpeer import Peer
from .localreader import Reader

_logger = logger("syncws.backplane")

#: Seconds between two looks into the directory.
_LOOK = 1.0

#: Seconds in which those that are there at the start answer, or are not waited for.
_SETTLING = 1.0

#: Seconds until the next accept where there is no descriptor or thread to be had.
_PAUSE = 0.1

#: Seconds between two gaps that are told while others are refused.
_CROWD = 5.0

#: Connections from others at once: a process needs one of each other, and each Publisher has one.
_MOST_READERS = 512

#: Processes of which is known that their connection broke, and when.
_MOST_BROKEN = 1_000

#: How many channels may be delivered at the same time.
_TURNS = 16

#: Seconds for which the end waits for a reader: it may be in the middle of a broadcast to members here.
_ENDING = 5.0


class Mesh:
    """What a `LocalBackplane` is while it is started.

    Concurrency: `publish` and the other methods are for any thread; `greeted`, `received` and `ended` are called by
    readers. `_lock`, which `_changed` tells others of, guards every field that is not said to be the minding thread's;
    nobody is told anything under it. Whoever posts reads `_posting`, a tuple that is replaced as a whole, and whether
    there is a listener, without it.
    """

    def __init__(
        self, directory: LocalDirectory, name: str, sink: Sink, *, max_message: int, queue: int, queue_bytes: int
    ) -> None:
        self._directory = directory
        self._name = name
        self._sink = sink
        self._queue, self._queue_bytes = queue, queue_bytes
        self._max_message = max_message
        self._greeting = greeting(name)
        self._lock = threading.Lock()
        self._changed = threading.Condition(self._lock)
        self._peers: dict[str, Peer] = {}
        self._posting: tuple[Peer, ...] = ()  # the same
        self._new: list[Peer] = []  # those that the minding thread is to connect at once
        self._readers: dict[Reader, None] = {}
        self._known: dict[str, Reader] = {}  # those that have said who they are
        self._broken: dict[str, float] = {}  # when the connection from each ended without a goodbye
        self._awaited: set[str] = set()  # those seen at the start that have not answered yet
        self._is_settled = False
        self._gap: tuple[float, str] | None = None  # since when something may have been missed, and why
        self._trouble: str | None = None  # why nobody can find this process
        self._is_leaving = False  # goodbyes are said: nobody is greeted any more
        self._closing = False
        self._published = 0
        self._received = self._lost = 0  # of readers and peers that are gone
        self._reconnects = 0
        # A channel's messages are told one after the other, whoever sends them; those of others at the same time. Held
        # while the sink is told.
        self._turns = tuple(threading.Lock() for _ in range(_TURNS))
        # The minding thread's
        self._waker = Waker()
        self._listener: socket.socket | None = None
        self._started = self._looked = time.monotonic()
        self._next_look = self._started + _LOOK
        self._next_accept = 0.0
        self._next_crowd = 0.0  # guarded by _changed
        self._tried: set[Peer] = set()  # those that were connected again at once since it last looked
        self._is_up: bool | None = None  # what was told last, and when
        self._since: float | None = None
        self._thread = threading.Thread(target=self._mind, name="syncws-bus", daemon=True)

    # Start and end

    def open(self) -> None:
        """Listen, connect to all that are there, and start. Raises RuntimeError if there is no thread to be had."""
        self._look()
        with self._lock:
            self._awaited.update(self._peers)  # those that are gone were taken out of both
            self._settle_if_answered()
        try:
            self._thread.start()
        except BaseException:
            self.close(0)
            raise

    def close(self, timeout: float) -> None:
        """Send what waits, at most timeout seconds, say goodbye, and leave no thread and no descriptor behind."""
        with self._lock:
            self._is_leaving = True
        for peer in self._posting:
            if peer.say_goodbye(goodbye()):
                self._waker.wake()
        self.flush(timeout)
        with self._lock:
            self._closing = True
            self._changed.notify_all()
        self._waker.wake()
        if self._thread is not threading.current_thread() and self._thread.ident is not None:
            self._thread.join()
        if self._listener is not None:
            self._directory.unlist(self._name)
            self._listener.close()
        for peer in self._posting:
            peer.cut()
        with self._lock:
            readers = tuple(self._readers)
        for reader in readers:
            reader.cut()
        for reader in readers:
            reader.join(_ENDING)
        self._waker.close()

    def abandon(self) -> None:
        """In the child of a fork: close the descriptors, and take no lock."""
        self._waker.begin_anew()  # the lock of the pair is a new one then
        self._waker.close()
        if self._listener is not None:
            self._listener.close()
        for peer in self._peers.values():
            peer.abandon()
        for reader in self._readers:
            reader.abandon()

    # Out

    def publish(self, channel: str, frame: bytes) -> bool:
        """Hand a frame to the connection to each other process; False if nobody can find this one."""
        if self._listener is None:
            return False
        for peer in self._posting:
            if peer.post(channel, frame):
                self._waker.wake()
        with self._lock:
            self._published += 1
        return True

    def flush(self, timeout: float) -> bool:
        """Wait until nothing waits, at most timeout seconds; whether that is so."""
        with self._lock:
            return self._changed.wait_for(lambda: self._closing or self._is_flushed(), timeout) and self._is_flushed()

    def _is_flushed(self) -> bool:
        return not any(peer.waiting[0] for peer in self._posting)

    def health(self) -> BusHealth:
        """How it is."""
        waiting = [peer.waiting for peer in self._posting]
        with self._lock:
            return BusHealth(
                up=bool(self._is_up) and self._trouble is None,
                since=self._since,
                error=self._trouble if self._trouble is not None or self._is_up else "not yet connected to all others",
                queued_messages=sum(messages for messages, _ in waiting),
                queued_bytes=sum(size for _, size in waiting),
                published=self._published,
                received=self._received + sum(reader.messages for reader in self._readers),
                dropped_out=self._lost + sum(peer.lost for peer in self._posting),
                reconnects=self._reconnects,
            )

    # In

    def settle(self, timeout: float) -> bool:
        """Wait until what the others publish arrives, at most timeout seconds; whether it does."""
        with self._lock:
            self._changed.wait_for(lambda: self._is_settled or self._trouble is not None or self._closing, timeout)
            return self._is_settled and self._trouble is None

    def greeted(self, reader: Reader) -> None:
        name = reader.name
        if not name:  # it listens nowhere
            return
        with self._lock:
            earlier = self._known.get(name)
            self._known[name] = reader
        if earlier is not None:
            earlier.join()  # what it has read comes first
        with self._lock:
            if name in self._awaited:
                self._awaited.discard(name)
                if self._is_settled:
                    self._note_gap(self._started, f"process {pid_of(name)} answered late")
                self._settle_if_answered()
            if (since := self._broken.pop(name, None)) is not None:
                self._reconnects += 1
                self._note_gap(since, f"the connection of process {pid_of(name)} was made again")
            if name not in self._peers and not self._is_leaving:
                self._new.append(self._add(name))
        self._waker.wake()

    def received(self, channel: str, data: bytes) -> None:
        with lines_later, self._turns[hash(channel) % _TURNS]:
            try:
                self._sink.received(channel, data)
            except Exception:  # a defect of the sink's, which must not end what others have to say
                _logger.exception("internal error with a message of the local bus")

    def ended(self, reader: Reader, *, orderly: bool) -> None:
        name = reader.name
        with self._lock:
            self._readers.pop(reader, None)
            self._received += reader.messages
            if self._known.get(name) is reader:
                del self._known[name]
            is_lost = not orderly and not self._closing
            if is_lost:
                self._broken[name] = time.monotonic()
                if len(self._broken) > _MOST_BROKEN:
                    del self._broken[next(iter(self._broken))]
            if (peer := self._peers.get(name)) is not None:
                self._new.append(peer)  # which may be away by now, and gone
        self._waker.wake()
        if is_lost:
            self._sink.vanished(node_of(name))

    # What the minding thread does

    def _mind(self) -> None:
        while not self._closing:  # without the lock: who sets it wakes this thread
            try:
                self._tell()
                self._wait()
                if time.monotonic() >= self._next_look:
                    self._look()
                self._connect_new()
            except Exception:
                _logger.exception("internal error on the local bus; it goes on")
                time.sleep(_PAUSE)  # or an error that comes at once again would cost a whole core

    def _wait(self) -> None:
        """Wait for something to do with a socket, and do it."""
        # poll where there is one: it needs no descriptor, and takes those above 1,023.
        kind = getattr(selectors, "PollSelector", selectors.DefaultSelector)
        now = time.monotonic()
        with kind() as selector:
            selector.register(self._waker, selectors.EVENT_READ)
            if self._listener is not None and now >= self._next_accept:
                selector.register(self._listener, selectors.EVENT_READ)
            for peer in self._posting:
                if (connection := peer.connection) is not None:
                    events = selectors.EVENT_READ | (selectors.EVENT_WRITE if peer.waiting[0] else 0)
                    selector.register(connection, events, peer)
            ready = selector.select(self._until_due(now))
        for key, events in ready:
            if key.fileobj is self._waker:
                self._waker.wait(0)
            elif isinstance(key.data, Peer):
                self._tend(key.data, events)
            else:
                self._accept()

    def _until_due(self, now: float) -> float:
        due = [self._next_look]
        if not self._is_settled:
            due.append(self._started + _SETTLING)
        if self._next_accept > now:
            due.append(self._next_accept)
        return max(0.0, min(due) - now)

    def _tend(self, peer: Peer, events: int) -> None:
        """Send what waits for a process, tell what was lost, and cut a connection that is over."""
        alive = not (events & selectors.EVENT_READ and peer.is_over())
        if alive and events & selectors.EVENT_WRITE:
            alive = peer.flush()
        if not alive or peer.has_lost_too_much:
            self._cut(peer)
        elif lost := peer.take_lost():
            self._sink.dropped(lost)
        if not peer.waiting[0]:
            with self._lock:
                self._changed.notify_all()

    def _cut(self, peer: Peer) -> None:
        """End a connection, and see at once whether the other process is gone; but not again and again, if it is not:
        one of another version cuts each new connection."""
        peer.cut()
        if peer not in self._tried:
            self._tried.add(peer)
            with self._lock:
                self._new.append(peer)

    def _accept(self) -> None:
        assert self._listener is not None
        while True:
            try:
                accepted, _ = self._listener.accept()
            except (BlockingIOError, InterruptedError, ConnectionError):
                return
            except OSError as error:  # no descriptor: they wait to be accepted
                advisor.warn(_logger, "local bus accept", "", "the local bus accepts nobody for now: %s", error)
                self._next_accept = time.monotonic() + _PAUSE
                return
            # With eventlet accept() of a socket that does not block gives a socket that would stop every greenlet.
            connection = socket.socket(accepted.family, accepted.type, fileno=accepted.detach())
            try:
                check_user(connection)
                self._read(connection)
            except (OSError, RuntimeError) as error:  # another user, too many, or no thread to be had
                advisor.warn(_logger, "local bus refusal", "", "the local bus refuses a connection: %s", error)
                connection.close()

    def _read(self, connection: socket.socket) -> None:
        reader = Reader(connection, self._max_message, self)
        with self._lock:
            if len(self._readers) >= _MOST_READERS:
                self._note_crowd()
                raise RuntimeError(f"{_MOST_READERS} others are connected")
            self._readers[reader] = None
        try:
            reader.start()
        except RuntimeError:
            with self._lock:
                del self._readers[reader]
                self._note_gap(time.monotonic(), "there is no thread to read what another process says")
            raise

    def _note_crowd(self) -> None:
        """A process was refused, and tries again at once, and again: what it says meanwhile is lost here."""
        now = time.monotonic()
        if now >= self._next_crowd:
            self._next_crowd = now + _CROWD
            self._note_gap(now, "too many other processes are connected to hear them all")

    def _look(self) -> None:
        """Look who is there, connect to those that are not connected, and see that this process can be found."""
        self._next_look = time.monotonic() + _LOOK
        self._tried.clear()
        try:
            self._directory.prepare()
            is_lost = not self._directory.is_listed(self._name)
            if is_lost:
                self._listen()
            names = self._directory.names()
        except OSError as error:
            with self._lock:
                self._trouble = f"nobody can find this process: {error}"
                self._note_gap(self._looked, self._trouble)
                self._changed.notify_all()
            return
        with self._lock:
            if is_lost and self._looked > self._started:
                self._note_gap(self._looked, "the socket of this process was removed, and is there again")
            self._trouble = None
            for name in names:
                if name not in self._peers and name != self._name and not self._is_leaving:
                    self._add(name)
        self._looked = time.monotonic()
        for peer in self._posting:
            self._connect(peer)
            self._warn_of(peer)

    def _listen(self) -> None:
        if self._listener is not None:
            self._listener.close()
            self._listener = None
        self._listener = self._directory.listen(self._name)

    def _connect_new(self) -> None:
        with self._lock:
            new, self._new = self._new, []
        for peer in new:
            self._connect(peer)

    def _connect(self, peer: Peer) -> None:
        """Connect to a process that is not connected, or forget it if it is gone."""
        if peer.connection is not None or peer.has_parted:
            return
        try:
            peer.connect(self._directory.connect)
        except OSError as error:
            if not is_for_later(error) and not (isinstance(error, FileNotFoundError) and peer.name in self._known):
                self._remove(peer)

    def _add(self, name: str) -> Peer:
        assert self._lock.locked()
        # Before it is connected, and so before it is greeted: from its greeting on it gets everything.
        peer = self._peers[name] = Peer(name, self._greeting, self._queue, self._queue_bytes)
        self._posting = tuple(self._peers.values())
        return peer

    def _remove(self, peer: Peer) -> None:
        """Forget a process that is gone."""
        peer.cut()
        with self._lock:
            self._peers.pop(peer.name, None)
            self._posting = tuple(self._peers.values())
            self._lost += peer.lost
            self._awaited.discard(peer.name)
            self._settle_if_answered()
            self._changed.notify_all()

    def _warn_of(self, peer: Peer) -> None:
        if peer.is_losing:
            advisor.warn(
                _logger,
                "local bus queue",
                peer.name,
                "process %s does not keep up: messages to it are dropped, and it will know how many; see whether it "
                "is stopped or busy",
                peer.name,
            )

    # What the sink is told of the whole

    def _note_gap(self, since: float, why: str) -> None:
        if self._gap is None or since < self._gap[0]:
            self._gap = since, why

    def _settle_if_answered(self) -> None:
        if not self._awaited:
            self._is_settled = True
            self._changed.notify_all()

    def _tell(self) -> None:
        """Tell `up` and `down`, where that is news."""
        with self._lock:
            if not self._is_settled and time.monotonic() >= self._started + _SETTLING:
                self._is_settled = True  # those that have not answered are heard of when they do
                self._changed.notify_all()
            trouble, gap = self._trouble, self._gap
            if trouble is None and self._is_settled:
                self._gap = None
        if trouble is not None:
            if self._is_up is not False:
                self._tell_down(trouble)
        elif self._is_settled:
            if self._is_up and gap is not None:
                self._tell_down(gap[1])
            if not self._is_up:
                self._is_up, self._since = True, time.time()
                self._sink.up(self._started if gap is None else gap[0])

    def _tell_down(self, why: str) -> None:
        self._is_up, self._since = False, time.time()
        self._sink.down(why)
