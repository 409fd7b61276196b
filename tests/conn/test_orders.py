"""Statements whose order carries a race: each test fails when its two statements change places. Both roles.

Each test makes another thread act between the two: with a socket that stops inside a call, or a lock that waits when it
is released until the thread that wanted it is through.
"""

from __future__ import annotations

import errno
import threading
from collections.abc import Callable
from typing import Any
from unittest import mock

from syncws import (
    BINARY,
    CLOSE,
    PING,
    TEXT,
    CloseError,
    CloseSentError,
    Conn,
    Manager,
    PreparedMessage,
    format_close_message,
)
from syncws._base.options import ConnOptions
from syncws._conn.conn import post_to_all
from syncws._conn.states import State
from syncws._net.drain import drain
from syncws._net.transport import Transport
from syncws.testing import Peer, ScriptedSocket, await_
from tests.conn.cases import ConnCase, HookedLock
from tests.tasks import Task

NOTHING_CAME = BlockingIOError(errno.EAGAIN, "nothing came")


class GatedSocket(ScriptedSocket):
    """A scripted socket whose next call of a kind stops: it says `inside`, and goes on when `go_on` is set."""

    def __init__(self, **script: Any) -> None:
        super().__init__(**script)
        self.inside = threading.Event()
        self.go_on = threading.Event()
        self.stops: set[str] = set()  # "send", "recv": each stops once

    def recv(self, size: int) -> bytes:
        self._stop("recv")
        return super().recv(size)

    def _take(self, data: bytes) -> int:
        self._stop("send")
        return super()._take(data)

    def _stop(self, kind: str) -> None:
        if kind in self.stops:
            self.stops.remove(kind)
            self.inside.set()
            assert self.go_on.wait(10)


class WatchedLock:
    """A lock that knows whether a thread waits for it, and whose first release returns once `passed` is set."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._released = False
        self.locked = self._lock.locked
        self.awaited = threading.Event()
        self.passed = threading.Event()

    def acquire(self, blocking: bool = True, timeout: float = -1) -> bool:
        if blocking:
            self.awaited.set()
        return self._lock.acquire(blocking, timeout)

    def release(self) -> None:
        first, self._released = not self._released, True
        self._lock.release()
        if first:
            assert self.passed.wait(10)


class OrderCase(ConnCase):
    """Connections over scripted sockets."""

    def scripted(self, incoming: Any = (), **options: Any) -> tuple[Conn, GatedSocket]:
        """A connection and its socket, which gives what is incoming and then the end of the stream."""
        sock = GatedSocket(incoming=list(incoming))
        conn = Conn(Transport(sock), client=self.client, options=ConnOptions(**options))  # type: ignore[arg-type]
        self.addCleanup(conn.close_now)
        return conn, sock

    def from_peer(self, opcode: int, payload: bytes | str = b"") -> bytes:
        """A frame as the peer sends it."""
        return Peer(mock.Mock(), masked=not self.client).frame(opcode, payload)


_WRITES: tuple[Callable[[Conn], object], ...] = (
    lambda conn: conn.send("x"),
    lambda conn: conn.send(b"x"),
    lambda conn: conn.send_nowait("x"),
    lambda conn: conn.write_prepared(PreparedMessage(TEXT, "x")),
    lambda conn: conn.write_control(PING),
    lambda conn: conn.write_control(CLOSE, format_close_message(1000)),
    lambda conn: conn.ping(),
    lambda conn: conn.close(timeout=0),
    lambda conn: conn.next_writer(BINARY).close(),
    lambda conn: post_to_all([conn], PreparedMessage(TEXT, "x")) and conn.send_nowait("x"),
)


class ServerReleased(OrderCase):
    """The descriptor is given back by the last thread that leaves, whichever that is."""

    def test_a_write_that_succeeds_although_the_connection_was_cut(self) -> None:
        """A thread is inside the socket when close_now comes, and its send succeeds: it gives the descriptor back."""
        for write in _WRITES:
            conn, sock = self.scripted()
            sock.stops = {"send"}
            writing = Task(write, conn)
            self.assertTrue(sock.inside.wait(10))
            conn.close_now()
            self.assertFalse(sock.count("close"))  # its number would be the next socket's, with a thread inside
            sock.go_on.set()
            writing.result()
            self.assertEqual(sock.count("close"), 1)

    def test_a_read_that_succeeds_although_the_connection_was_cut(self) -> None:
        """A thread is inside the socket when close_now comes, and receives a message: it gives the descriptor back."""
        for read in (Conn.receive, Conn.next_reader, lambda conn: conn.receive(timeout=30), Conn.close_read):
            conn, sock = self.scripted([self.from_peer(TEXT, "x")])
            sock.stops = {"recv"}
            reading = Task(read, conn)
            self.assertTrue(sock.inside.wait(10))
            conn.close_now()
            self.assertFalse(sock.count("close"))
            sock.go_on.set()
            reading.result()
            self.assertTrue(await_(lambda sock=sock: sock.count("close") == 1))  # maybe by the thread of close_read

    def test_reader_and_writer_leave_a_connection_that_was_cut(self) -> None:
        """Both are inside when close_now comes: the second one to leave gives the descriptor back."""
        for first in ("send", "recv"):
            conn, sock = self.scripted([self.from_peer(TEXT, "x")])
            writes, reads = GatedSocket(), GatedSocket()
            writes.stops, reads.stops = {"send"}, {"recv"}
            sock._stop = lambda kind, writes=writes, reads=reads: (writes if kind == "send" else reads)._stop(kind)
            tasks = {"send": Task(conn.send, "x"), "recv": Task(conn.receive)}
            self.assertTrue(writes.inside.wait(10) and reads.inside.wait(10))
            conn.close_now()
            gates = {"send": writes, "recv": reads}
            gates.pop(first).go_on.set()
            tasks.pop(first).result()
            self.assertFalse(sock.count("close"))
            gates.popitem()[1].go_on.set()
            tasks.popitem()[1].result()
            self.assertEqual(sock.count("close"), 1)

    def test_a_cut_as_a_writer_lets_go(self) -> None:
        """A writer releases the wire, then looks: another thread cuts just before, and cannot close the fd."""
        for write in (*_WRITES, Conn.close):
            conn, sock = self.scripted([self.from_peer(CLOSE)])
            conn._wire.frame_lock = HookedLock(conn.close_now)  # type: ignore[assignment]
            write(conn)
            self.assertEqual(sock.count("close"), 1)

    def test_a_cut_as_a_reader_lets_go(self) -> None:
        """A reader releases its turn, then looks: another thread cuts just before, and cannot close the fd."""
        for read in (Conn.receive, Conn.next_reader, lambda conn: conn.receive(timeout=30)):
            conn, sock = self.scripted([self.from_peer(TEXT, "x")])
            conn._inbound.turn = conn._ending._read_turn = HookedLock(conn.close_now)  # type: ignore[assignment]
            read(conn)
            self.assertEqual(sock.count("close"), 1)
        conn, sock = self.scripted([self.from_peer(TEXT, "x")])
        conn._inbound.turn = conn._ending._read_turn = HookedLock(conn.close_now)  # type: ignore[assignment]
        conn.close_read()
        self.assertTrue(await_(lambda: sock.count("close") == 1))


class ClientReleased(ServerReleased):
    """The same for a client."""

    client = True


class ServerCut(OrderCase):
    """close_now, step by step."""

    def test_the_watch_ends_before_the_descriptor_is_closed(self) -> None:
        """The drain thread forgets the fd while its number is still in use here; the state changes afterwards."""
        conn, sock = self.scripted()
        number = sock.fileno()
        close, seen = conn.transport.close, []

        def note(step: str) -> None:
            seen.append((step, sock.fileno(), conn._life.state))

        def closing() -> None:
            note("close")
            close()

        with mock.patch.object(drain, "forget", lambda fd: note(f"forget {fd}")):
            with mock.patch.object(conn.transport, "close", closing):
                conn.close_now()
        self.assertEqual(seen, [(f"forget {number}", number, State.CUT), ("close", number, State.CUT)])
        self.assertEqual((sock.fileno(), conn._life.state), (-1, State.RELEASED))

    def test_no_timer_is_left(self) -> None:
        """A timer that another thread sets just before the cut is cancelled; after the cut none is kept."""
        for moment in ("finish", "shutdown"):
            conn, _ = self.scripted()
            timer = mock.Mock()
            with mock.patch.object(drain, "call_at", return_value=timer):
                if moment == "finish":
                    conn._ending._on_end = lambda conn=conn: conn._ending.cut_after(60)  # as if by another thread
                    conn.close_now()
                else:
                    with mock.patch.object(conn.transport, "shutdown", lambda conn=conn: conn._ending.cut_after(60)):
                        conn.close_now()
            timer.cancel.assert_called_once_with()

    def test_an_interrupt_while_the_descriptor_is_closed(self) -> None:
        """Ctrl-C while the descriptor is closed leaves neither lock held, so the next thread that comes closes it."""
        conn, sock = self.scripted()
        with mock.patch.object(conn.transport, "close", side_effect=KeyboardInterrupt):
            self.assertRaises(KeyboardInterrupt, conn.close_now)
        self.assertEqual(sock.count("close"), 0)
        conn.close_now()
        self.assertEqual(sock.count("close"), 1)


class ClientCut(ServerCut):
    """The same for a client."""

    client = True


class ServerRefused(OrderCase):
    """A thread that waits for another's message when the connection closes gets that end, and no other error."""

    def _refusal_of_one_who_waits(self, end: Callable[[Conn], object]) -> BaseException:
        """What a thread that waits for the end of a next_writer raises, when this call ends the connection."""
        conn, _ = self.scripted(write_buffer_size=4)
        conn._outbound._message_lock = lock = WatchedLock()  # type: ignore[assignment]
        conn.next_writer(TEXT).write("has begun")
        waiting = Task(conn.send, "x")
        self.assertTrue(lock.awaited.wait(10))
        ending = Task(end, conn)
        error = waiting.error()
        lock.passed.set()
        ending.result()
        return error

    def test_closing(self) -> None:
        """The close is on record before the writer's lock is released: a thread that waits gets CloseSentError."""
        for close in (
            lambda conn: conn.close(timeout=0),
            lambda conn: conn.write_control(CLOSE, format_close_message(1000)),
        ):
            self.assertIsInstance(self._refusal_of_one_who_waits(close), CloseSentError)

    def test_ending(self) -> None:
        """The end is stored before the writer's lock is released: a thread that waits gets the end."""
        error = self._refusal_of_one_who_waits(Conn.close_now)
        self.assertIsInstance(error, CloseError)
        self.assertEqual(error.code, 1006)


class ClientRefused(ServerRefused):
    """The same for a client."""

    client = True


class DismissedSocket(GatedSocket):
    """A scripted socket in which nothing comes until its reader is woken. It notes what was sent before each recv."""

    def __init__(self, **script: Any) -> None:
        super().__init__(**script)
        self.woken = threading.Event()
        self.sent_before: list[bytes] = []

    def recv(self, size: int) -> bytes:
        assert self.woken.wait(10)
        self.sent_before.append(bytes(self.sent))
        return super().recv(size)


class ServerDismissed(OrderCase):
    """The peer is not asked any more, and the reader is woken."""

    def _reading(self, sock: DismissedSocket) -> tuple[Conn, Manager, Task]:
        """A member of a manager, its connection over this socket, and the thread that reads it and then closes it."""
        conn = Conn(Transport(sock), client=self.client)  # type: ignore[arg-type]
        self.addCleanup(conn.close_now)
        manager = Manager()

        def read() -> None:
            with conn:
                manager.run(conn, "a")

        return conn, manager, self.start_reading(conn, read)

    def test_the_woken_reader_knows_why(self) -> None:
        """A reader that is woken waits for the peer's close before it ends TCP: later bytes would cause a reset."""
        # Once woken, receiving does not wait: nothing has come yet, and then it has.
        sock = DismissedSocket(incoming=[b"", b"", self.from_peer(CLOSE, format_close_message(4000))])
        conn, manager, reading = self._reading(sock)
        wake = conn.transport.shutdown_read

        def wake_and_wait() -> None:
            wake()
            sock.woken.set()
            reading.join(10)  # the reader is through before whatever comes next here

        with mock.patch.object(conn.transport, "shutdown_read", wake_and_wait):
            manager.close("a", 4000, "out")
        reading.result()
        self.assert_ends(conn.receive, 4000, CloseError)
        self.assertEqual(sock.incoming, [])
        waits = [call for call in sock.calls if call in ("recv", "shutdown", "close")]
        ends_tcp = [] if self.client else ["shutdown"]
        woken, read, cut = ["shutdown", "recv"], ["recv", "recv"], ["recv", "shutdown", "close"]
        self.assertEqual(waits, [*woken, *read, *ends_tcp, *cut])

    def test_our_close_leaves_before_the_peers_is_awaited(self) -> None:
        """Another thread is inside the socket as the reader is woken: the reader waits until our close has left."""
        sock = DismissedSocket(incoming=[b"", self.from_peer(CLOSE, format_close_message(4000))])
        conn, manager, reading = self._reading(sock)
        conn._wire.frame_lock = lock = WatchedLock()  # type: ignore[assignment]
        lock.passed.set()
        sock.stops = {"send"}
        writing = Task(conn.send, "x")
        self.assertTrue(sock.inside.wait(10))
        wake = conn.transport.shutdown_read

        def wake_reader() -> None:
            wake()
            sock.woken.set()  # not before: the reader would find the end of the stream of a connection that is open

        with mock.patch.object(conn.transport, "shutdown_read", wake_reader):
            manager.close("a", 4000, "out")
        self.assertTrue(await_(lambda: lock.awaited.is_set() or len(sock.sent_before) > 1))
        sock.go_on.set()
        writing.result()
        reading.result()
        self.assertEqual(sock.sent_before[1], sock.sent)


class ClientDismissed(ServerDismissed):
    """The same for a client."""

    client = True


class ServerInterrupted(OrderCase):
    """A KeyboardInterrupt may come in any wait: whatever was taken is given back on its way out."""

    def _close_interrupted(self, *incoming: Any, before: Callable[[Conn], object] = lambda conn: None) -> None:
        """Close a connection, with Ctrl-C after the peer has sent this: it is cut, and its fd is closed."""
        conn, sock = self.scripted([*incoming, KeyboardInterrupt()])
        before(conn)
        self.assertRaises(KeyboardInterrupt, conn.close)
        self.assertEqual(sock.count("close"), 1)
        self.assertTrue(conn.closed)

    def test_while_waiting_for_the_peers_close(self) -> None:
        """Ctrl-C while close() waits for the peer's close frame."""
        self._close_interrupted()
        self._close_interrupted(self.from_peer(TEXT, "late"))

    def test_while_waiting_for_the_end_of_tcp(self) -> None:
        """Ctrl-C while close() waits for the peer to close TCP, after both close frames."""
        self._close_interrupted(self.from_peer(CLOSE, format_close_message(1000)))

    def test_while_waiting_for_an_answer_after_a_dismissal(self) -> None:
        """Ctrl-C while close() waits for the peer's close frame, after this side has dismissed the connection."""

        def overflow(conn: Conn) -> None:
            conn.set_send_queue(send_queue=1)
            with self.busy_wire(conn):
                self.assertTrue(conn.send_nowait("waits"))
                self.assertFalse(conn.send_nowait("too much"))

        self._close_interrupted(b"", before=overflow)

    def test_in_the_thread_of_close_read(self) -> None:
        """A handler that ends its thread by SystemExit leaves the connection to the next reader."""
        conn, _ = self.scripted([self.from_peer(PING), self.from_peer(TEXT, "next")])

        def handler(data: bytes) -> None:
            raise SystemExit

        conn.set_ping_handler(handler)
        conn.close_read()
        self.assertTrue(await_(lambda: not conn._inbound.turn.locked()))
        self.assertEqual(conn.receive(), "next")


class ClientInterrupted(ServerInterrupted):
    """The same for a client."""

    client = True
