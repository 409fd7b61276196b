"""Looks after one connection while its handler works: the reader's duties except reading messages.

The thread of `_net.attendance` calls `attend` every second or more often. While nobody has the read turn, it takes it
for some microseconds:

* What has come is received, up to `read_buffer_size`, and up to 4 KiB where the memory for unfinished messages of the
  process is nearly used up; the rest stays in the socket, and TCP makes the peer wait. Once the peer has ended its
  stream, or reset it, what lies in the socket is all that will come: it is received, too, to find the end.
* Control frames that are all there are handled where they stand, also those that came after a message that nobody has
  read yet: pings are answered, a pong tells the latency, a close is answered. One for which the application has set a
  handler waits for the next read, since this thread runs no code of the application.
* Where nothing has come the peer's silence is judged as a reader judges it: it is pinged, and given up in the end.
* Where there is no room to receive anything the peer cannot be heard. It is pinged all the same: one whose kernel does
  not acknowledge that has gone.
* The end is stored as soon as it is found: writes raise it, and `Conn.closed` says so. Reads give what had come before
  it first (`Inbound.ended_unread`).

* What is kept from message to message is let go after a silence (`contexts`).

Messages are left as they came: not unmasked, not inflated, not judged.
"""

from __future__ import annotations

from .._base.options import ConnOptions
from .._base.unfinished import unfinished
from .._net.attendance import attendance, interval
from .._net.transport import Transport
from ..errors import CLOSE, PING, PONG
from .contexts import Contexts
from .controls import ANSWERED
from .ending import Ending
from .inbound import Inbound
from .states import Life
from .wire import Wire

#: Bytes asked for first: mostly there is nothing, or a ping. And then, as many small pieces take more than they hold.
_FIRST = 1 << 12
_PORTION = 1 << 16

#: Bytes received in a look once the peer sends no more, so that the thread has time for others.
_REST = 1 << 18


class Attendant:
    """The reader's stand-in.

    Concurrency: `attend` is for the thread of `attendance`, everything else for any thread. It takes the read turn by
    try, and waits for nothing.
    """

    __slots__ = (
        *("__weakref__", "_contexts", "_due", "_ending", "_every", "_inbound", "_life", "_most", "_transport", "_wire"),
        "turn",
    )

    def __init__(
        self,
        transport: Transport,
        life: Life,
        wire: Wire,
        ending: Ending,
        inbound: Inbound,
        options: ConnOptions,
        contexts: Contexts | None = None,
    ) -> None:
        self._contexts = contexts  # None where nothing is kept from message to message
        self._transport = transport
        self._life = life
        self._wire = wire
        self._ending = ending
        self._inbound = inbound
        self._most = options.read_buffer_size
        self._every = interval(options.ping_interval, options.ping_timeout)
        self._due = 0.0  # when there is something to do if nothing comes: the next verdict on the peer's silence
        self.turn = inbound.turn

    def begin(self) -> None:
        """Be called from now on."""
        attendance.add(self, self._every)

    def stop(self) -> None:
        """Be called no more."""
        attendance.forget(self, self._every)

    def fileno(self) -> int:
        """The socket's descriptor; -1 once closed."""
        return self._transport.fileno()

    def is_due(self, now: float) -> bool:
        """Whether there may be something to do though nothing has come. Asked without the turn.

        Under TLS always: what has come may have been taken from the socket already.
        """
        return (
            now >= self._due
            or self._inbound.is_unattended
            or self._transport.is_tls
            or (self._contexts is not None and self._contexts.is_due(now))
        )

    def attend(self) -> bool:
        """Look after the connection if nobody reads it; False once it is over."""
        inbound = self._inbound
        inbound.visits += 1  # before the try: a reader that finds the turn taken must know by whom
        try:
            if self.turn.acquire(blocking=False):
                try:
                    self._look()
                finally:
                    inbound.leave_turn()
        finally:
            inbound.visits += 1  # after it was let go: a reader that finds it taken now is not to wait for us
        return self._life.end is None

    def _look(self) -> None:
        """By the turn's holder."""
        if self._life.end is not None:
            return
        inbound = self._inbound
        intake = inbound.intake
        room = self._room()
        received, last, trouble = self._receive(room)
        if received or inbound.protocol.unread:
            self._handle_controls(received)
            inbound.hold_unread()
        if last == b"":
            self._give_up("the peer left without a close frame" if trouble is None else str(trouble), trouble)
        elif received:
            intake.keepalive.heard()
        elif room <= 0:
            self._judge_unheard()
        elif self._transport.heard_part:
            intake.keepalive.heard()
        elif self._life.end is None and intake.judge_silence(0.0):
            self._give_up(intake.silence)
        self._due = intake.judged_at()
        if self._contexts is not None:
            self._contexts.look()
        if self._transport.is_tls and self._transport.pending:
            self._wire.nudge()

    def _room(self) -> int:
        """How many bytes may be received now. None, or less: what comes waits in the socket."""
        room = self._most - self._inbound.protocol.unread
        if room <= 0 and self._transport.is_at_end():
            room = _REST
        # A little of each in any case: others' messages do not keep a peer's pings from being answered.
        return min(room, max(unfinished.room, _FIRST - self._inbound.protocol.unread))

    def _receive(self, room: int) -> tuple[bytes, bytes | None, OSError | None]:
        """What has come; what the last call gave, None for nothing more, empty at the end; why a broken socket is."""
        received: list[bytes] = []
        size = _FIRST
        while room > 0:
            try:
                piece = self._transport.receive_now(min(room, size))
            except OSError as error:
                return b"".join(received), b"", error
            if not piece:
                return b"".join(received), piece, None
            received.append(piece)
            room -= len(piece)
            size = _PORTION
        return b"".join(received), None, None

    def _judge_unheard(self) -> None:
        """Nothing is received for want of room: give the peer up if its kernel has gone."""
        if self._life.end is not None or self._transport.is_at_end():  # the end is found once there is room
            return
        if self._inbound.intake.judge_unheard():
            self._give_up(self._inbound.intake.silence)

    def _handle_controls(self, received: bytes) -> None:
        inbound = self._inbound
        inbound.controls.recount()
        handlers = ((PING, inbound.ping_handler), (PONG, inbound.pong_handler), (CLOSE, inbound.close_handler))
        kept = [kind for kind, handler in handlers if handler is not None]
        events = inbound.protocol.look_ahead(received, kept)
        if not events:
            return
        breach = inbound.controls.count(sum(kind is not CLOSE for kind, _ in events))
        if breach is not None:  # before any is answered
            inbound.ended_unread = True  # before the end is stored: see there
            inbound.controls.refuse_peer(breach)
            return
        pings = sum(kind is PING for kind, _ in events)
        for kind, payload in events:
            if kind is CLOSE:
                self._end_by(*payload)
            elif kind is PONG:
                inbound.controls.note_pong(payload)
            elif pings <= ANSWERED:
                inbound.controls.answer_ping(payload)
            else:
                pings -= 1

    def _end_by(self, code: int, reason: str) -> None:
        """The peer has closed."""
        inbound = self._inbound
        inbound.ended_unread = True  # before the end is stored: see there
        inbound.controls.note_close(code, reason)
        inbound.controls.answer_close(code, reason)

    def _give_up(self, reason: str, cause: OSError | None = None) -> None:
        """The peer has gone, unless this side has ended the connection, and so its stream, by itself."""
        if self._life.end is not None:
            return
        if (close := self._inbound.protocol.close_ahead) is not None:
            self._end_by(*close)  # its handler is yet to be called, by the next read
        self._inbound.ended_unread = True  # before the end is stored: see there
        self._ending.finish_and_cut(self._life.vanished(reason, cause))
