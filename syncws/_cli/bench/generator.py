"""The load of one process: `Generator`, one thread and one selector over all its connections.

    run
      _open             the connections, as they come (`opening`); all of them, before the load begins
      _load             the warm-up, then what is measured; `_send_due` where there is a rate
      _await_answers    of a rate: what is on its way may still come
      _part             the closing handshake
    each in steps:      wait, read what has come, answer it

A thread for each connection would take several times as long for a message as this loop, and what takes time here is
missing there: a generator can only be compared with a server that it does not hold up.
"""

from __future__ import annotations

import gc
import itertools
import select
import selectors
import time
from collections.abc import Callable
from typing import Protocol

from ..._client.dialer import Opened
from ..._net.descriptors import raise_limit
from ...errors import BINARY, CLOSE, PING, PONG, ProtocolError, WebSocketError
from .opening import Opening
from .peer import Peer
from .plan import Message, Plan, messages
from .tally import Busy, Tally

#: Seconds for which answers are awaited after the end of a rate, and the closes of the server after that.
PATIENCE = 5.0
_PARTING = 1.0

#: Seconds between two looks at what the command says, and the longest wait.
_LOOK = 0.1

#: Messages that are sent, and nothing read meanwhile, where a rate is behind its time.
_MOST_DUE = 64

#: Bytes of one read, at least and at most.
_LEAST_READ, _MOST_READ = 1 << 12, 1 << 18

_SECOND = 1_000_000_000
_READ, _WRITE = selectors.EVENT_READ, selectors.EVENT_WRITE

_now = time.perf_counter_ns  # of the same zero in all processes of a machine, on Linux, macOS and Windows


class Control(Protocol):
    """The command, as a generator sees it."""

    #: When the load is to begin, by `time.perf_counter_ns`; None: not known yet.
    start: int | None
    #: Whether everything is to end now.
    stopped: bool

    def look(self) -> None:
        """Take what the command has said."""

    def tell(self, phase: str, tally: Tally, connections: int) -> None:
        """Tell the command how far it is."""


class Generator:
    """Opens connections, sends on them, and counts.

    Concurrency: for one thread.
    """

    def __init__(self, plan: Plan, control: Control) -> None:
        self.tally = Tally()
        self._plan = plan
        self._control = control
        self._selector = selectors.DefaultSelector()
        self._peers: list[Peer] = []  # those that are open
        self._messages: list[Message] | None = None
        self._closed_loop = plan.rate is None and not plan.receive_only
        self._following = False  # whether an answer is followed by a message
        self._read_size = min(max(max(plan.sizes) * plan.inflight + 64, _LEAST_READ), _MOST_READ)
        self._parting = False  # whether an end is no news
        self._measured_from = 0  # when what is measured was due at the earliest, where there is a rate
        self._waited = 0  # nanoseconds
        self._next_look = 0

    def run(self) -> Tally:
        """Do it all. What was counted so far is the result also where the command stops it."""
        raise_limit(self._plan.connections + 256)
        gc.disable()  # nothing here makes cycles, and a collection looks at everything there is
        try:
            self._open()
            self._load()
            self._await_answers()
            counted, self.tally = self.tally, Tally()  # what comes while parting does not count
            self._part()
            return counted
        finally:
            for peer in self._peers:
                peer.close()
            self._selector.close()
            gc.enable()

    # The phases

    def _open(self) -> None:
        began, missing = _now(), self._plan.connections
        opening = Opening(self._plan)
        while missing and not self._control.stopped:
            self._step(0.005)
            self._look("opening")
            while missing and not opening.results.empty():
                opened, failure, took = opening.results.get()
                missing -= 1
                if opened is None:
                    self.tally.failures[failure] += 1
                else:
                    self.tally.opening.add(took)
                    self._admit(opened)
        opening.stop()
        self.tally.opened = len(self._peers)
        self.tally.opening_seconds = (_now() - began) / _SECOND

    def _admit(self, opened: Opened) -> None:
        if self._messages is None:  # all connections agree on the same
            self._messages = messages(self._plan, opened.agreement)
        first = len(self._peers) % len(self._messages)
        peer = Peer(opened, itertools.cycle(self._messages[first:] + self._messages[:first]))
        self._peers.append(peer)
        self._selector.register(peer.transport, _READ, peer)
        if not peer.protocol.idle:
            self._guarded(peer, lambda: self._take(peer, b"", _now()))

    def _load(self) -> None:
        """Wait for the start, which the command gives to all processes together; then load the server."""
        while self._control.start is None and not self._control.stopped:
            self._step(0.005)
            self._look("ready")
        if self._control.start is None or not self._peers:
            return
        begin = self._control.start + round(self._plan.warmup * _SECOND)
        end = begin + round(self._plan.duration * _SECOND)
        self._run_until(self._control.start, "ready")
        self._following = self._closed_loop
        if self._closed_loop:
            for peer in list(self._peers):
                self._send(peer, _now(), self._plan.inflight)
        schedule = None if self._plan.rate is None else Schedule(self._plan, self._plan.rate, self._control.start)
        self._run_until(begin, "warm-up", schedule)
        self.tally.begin()
        if not self._closed_loop:
            self._measured_from = begin
        cpu, began, self._waited = time.thread_time_ns(), _now(), 0
        self._run_until(end, "measuring", schedule)
        took = _now() - began
        self.tally.seconds = took / _SECOND
        self.tally.busy = [Busy((time.thread_time_ns() - cpu) / took, self._waited / took)]
        self._following = False

    def _run_until(self, end: int, phase: str, schedule: Schedule | None = None) -> None:
        """Until then, or until no connection is left, or the command stops it."""
        while (now := _now()) < end and self._peers and not self._control.stopped:
            if now >= self._next_look:
                self._look(phase)
            if schedule is None:
                self._step(_LOOK)
            else:
                self._send_due(schedule, end)
                self._step(min(max(min(end, schedule.due) - _now(), 0) / _SECOND, _LOOK), exact=True)
        if schedule is not None:
            self._send_due(schedule, end)  # what was due while this process had to wait for a processor

    def _await_answers(self) -> None:
        """Of a rate: wait for what is on its way. What has not come counts with the time that it was waited for."""
        if self._plan.rate is not None:
            end = _now() + round(PATIENCE * _SECOND)
            while _now() < end and not self._control.stopped and any(peer.sent for peer in self._peers):
                self._step(_LOOK)
                self._look("waiting for answers")
            for peer in self._peers:
                self._give_up(peer)

    def _part(self) -> None:
        """Close every connection, and wait a moment for the server to agree."""
        self._parting = True
        for peer in list(self._peers):
            self._guarded(peer, peer.send_close)
        end = _now() + round(_PARTING * _SECOND)
        while self._peers and _now() < end:
            self._step(_LOOK)

    # A step

    def _step(self, timeout: float, exact: bool = False) -> None:
        """Wait for what comes, and take it."""
        if self._following and len(self._peers) == 1 and not self._peers[0].watched:
            self._step_alone(self._peers[0], timeout)
            return
        before = _now()
        events = self._select(timeout, exact)
        self._waited += _now() - before
        for key, mask in events:
            peer: Peer = key.data
            try:
                if mask & _WRITE:
                    peer.flush()
                    self._watch(peer)
                if mask & _READ:
                    self._hear(peer)
            except (OSError, WebSocketError) as error:
                self._lose(peer, error)

    def _step_alone(self, peer: Peer, timeout: float) -> None:
        """The same for the only connection there is: it waits in the read, as most clients do, and saves a call."""
        before = _now()
        try:
            data = peer.transport.receive(self._read_size, timeout)
            now = _now()
            self._waited += now - before
            if data:
                self._take(peer, data, now)
            elif data is not None:
                raise _left()
        except (OSError, WebSocketError) as error:
            self._lose(peer, error)

    def _select(self, timeout: float, exact: bool) -> list[tuple[selectors.SelectorKey, int]]:
        fileno: Callable[[], int] | None = getattr(self._selector, "fileno", None)
        if exact and fileno is not None and timeout > 0:
            # epoll waits for whole milliseconds, and select for microseconds.
            select.select([fileno()], (), (), timeout)
            timeout = 0
        return self._selector.select(timeout)

    def _hear(self, peer: Peer) -> None:
        """Take what has come on a connection. Raises OSError and WebSocketError."""
        data = peer.transport.receive_now(self._read_size)
        while data:
            self._take(peer, data, _now())
            if not peer.transport.is_tls:
                return  # the selector tells if there is more
            data = peer.transport.receive_now(self._read_size)  # which TLS may have decrypted already
        if data == b"":
            raise _left()

    def _take(self, peer: Peer, data: bytes, now: int) -> None:
        """Bytes of a connection, which came now. Raises OSError and WebSocketError."""
        event = peer.protocol.only(data) if peer.protocol.idle else None
        if event is None:
            self._take_slowly(peer, data, now)
            return
        # First: the server works on the next message while this one is counted.
        if self._following and peer.sent:
            self._send(peer, now)
        self._count(peer, event[1], now)
        self.tally.bytes_received += len(data)

    def _take_slowly(self, peer: Peer, data: bytes, now: int) -> None:
        """The same for what is not one message, whole and nothing else."""
        protocol = peer.protocol
        protocol.receive(data)
        answers: list[str | bytes] = []
        while (event := protocol.next_event()) is not None:
            kind, payload = event
            if kind <= BINARY:
                answers.append(payload)
            elif kind == PING:
                peer.send_control(PONG, payload)
            elif kind == CLOSE:
                raise _Closed(payload[0])
        asked = min(len(answers), len(peer.sent))
        if asked and self._following:
            self._send(peer, now, asked)
        for answer in answers:
            self._count(peer, answer, now)
        self.tally.bytes_received += len(data)

    def _count(self, peer: Peer, payload: str | bytes, now: int) -> None:
        tally = self.tally
        if not peer.sent:
            tally.unasked += not self._plan.receive_only
            tally.received += self._plan.receive_only
            return
        due, message = peer.sent.popleft()
        if due >= self._measured_from:
            tally.received += 1
            tally.latency.add(now - due)
            if payload != message.payload:
                tally.unlike += 1

    def _send(self, peer: Peer, due: int, number: int = 1) -> None:
        """Send so many messages, which were due then. A connection that breaks is lost, and nothing is raised."""
        if number == 1:
            batch = [next(peer.messages)]
            data = batch[0].frame
        else:
            batch = list(itertools.islice(peer.messages, number))
            data = b"".join([message.frame for message in batch])
        try:
            peer.send(data)
            self._watch(peer)
        except OSError as error:
            self._lose(peer, error)
            return
        for message in batch:
            peer.sent.append((due, message))
        self.tally.sent += number
        self.tally.bytes_sent += len(data)

    def _watch(self, peer: Peer) -> None:
        """Be told when there is room for what waits."""
        if peer.behind != peer.watched:
            peer.watched = not peer.watched
            self._selector.modify(peer.transport, _READ | _WRITE if peer.watched else _READ, peer)

    def _send_due(self, schedule: Schedule, end: int) -> None:
        """Send what is due before the end of this phase, on one connection after another."""
        for _ in range(_MOST_DUE):
            now = _now()
            if schedule.due > now or schedule.due >= end or not self._peers:
                return
            peer = self._peers[schedule.turn % len(self._peers)]
            self.tally.late.add(now - schedule.due)
            self._send(peer, schedule.due)
            schedule.advance()

    # Ends

    def _guarded(self, peer: Peer, call: Callable[[], object]) -> None:
        try:
            call()
            self._watch(peer)
        except (OSError, WebSocketError) as error:
            self._lose(peer, error)

    def _lose(self, peer: Peer, error: Exception) -> None:
        """A connection is over."""
        if peer not in self._peers:
            return  # it broke while its last answers were taken
        if isinstance(error, _Closed) and not self._parting:
            self.tally.closes[error.code] += 1
            self._answer_close(peer, error.code)
        elif isinstance(error, ConnectionResetError) and not self._parting:
            self.tally.closes[1006] += 1
        elif not self._parting:
            self.tally.errors[_kind(error)] += 1
        self._give_up(peer)
        self._peers.remove(peer)
        self._selector.unregister(peer.transport)
        peer.close()

    def _answer_close(self, peer: Peer, code: int) -> None:
        try:
            peer.send_close(code)
        except OSError:
            return  # it was closed all the same

    def _give_up(self, peer: Peer) -> None:
        """Nothing that this connection has sent will be answered any more."""
        now = _now()
        while peer.sent:
            due, _ = peer.sent.popleft()
            if due >= self._measured_from and not self._parting:
                self.tally.unanswered += 1
                self.tally.latency.add(now - due)

    # The command

    def _look(self, phase: str) -> None:
        now = _now()
        if now >= self._next_look:
            self._next_look = now + round(_LOOK * _SECOND)
            self._control.look()
            self._control.tell(phase, self.tally, len(self._peers))


class Schedule:
    """When each message of a rate is due. Never late: what was sent late was due at its time."""

    def __init__(self, plan: Plan, rate: float, start: int) -> None:
        # The processes take turns: the first sends numbers 0, n, 2n, ... of all messages.
        self._plan = plan
        self._rate = rate
        self._start = start
        self.turn = 0
        self.due = 0
        self._calculate()

    def advance(self) -> None:
        """Go on to the next message."""
        self.turn += 1
        self._calculate()

    def _calculate(self) -> None:
        number = self.turn * self._plan.processes + self._plan.process
        self.due = self._start + round(number * _SECOND / self._rate)


class _Closed(WebSocketError):
    """The server has sent a close."""

    def __init__(self, code: int) -> None:
        super().__init__(f"close {code}")
        self.code = code


def _left() -> ConnectionResetError:
    return ConnectionResetError("the server left without a close frame")


def _kind(error: Exception) -> str:
    """What broke a connection, without what differs from one to the next."""
    if isinstance(error, ProtocolError):
        return f"protocol error: {error.reason}"
    return str(getattr(error, "strerror", None) or error)
