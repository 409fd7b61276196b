"""closing.py: the closing handshake, from either side, in time, and crossed. Both roles."""

from __future__ import annotations

import logging
import threading
import time
from unittest import mock

from syncws import (
    CLOSE,
    PING,
    TEXT,
    CloseError,
    CloseSentError,
    Conn,
    ConnectionClosed,
    PreparedMessage,
    ReadTimeout,
    format_close_message,
)
from syncws._conn.inbound import Inbound
from syncws._net.drain import drain
from syncws._net.transport import Transport
from syncws.testing import Peer, ScriptedSocket, await_
from tests.conn.cases import ConnCase
from tests.tasks import SOON, assert_same_end

_BUFFER = 1 << 14


class ServerByThePeer(ConnCase):
    """The peer closes first."""

    def test_answer_is_the_code_without_the_reason(self) -> None:
        """The answer to a close is its code, without the reason; an empty one is answered with an empty one."""
        for code, reason, answer in ((1000, "bye", b"\x03\xe8"), (4321, "", b"\x10\xe1"), (None, "", b"")):
            conn, peer = self.peer()
            peer.close(code, reason)
            self.assert_ends(conn.receive, code or 1005, CloseError)
            self.assertEqual(peer.receive_frame()[:2], (CLOSE, answer))

    def test_read_tells_code_and_reason(self) -> None:
        """The read raises the peer's code and reason, 1005 for none; its text tells who closed, in order."""
        conn, peer = self.peer()
        peer.close(4000, "grün")
        end = self.assert_ends(conn.receive, 4000, CloseError)
        self.assertEqual((end.reason, str(end)), ("grün", "received 4000: grün; then sent 4000"))
        conn, peer = self.peer()
        peer.close(None)
        self.assertEqual(self.assert_ends(conn.receive, 1005, CloseError).reason, "")
        self.assertTrue(conn.closed)

    def test_handler_comes_before_the_error(self) -> None:
        """The close handler is told code and reason before the read raises; then the close is answered, even by a
        handler that writes nothing (unlike gorilla)."""
        conn, peer = self.peer()
        heard = []
        conn.set_close_handler(lambda *close: heard.append((close, conn.closed)))
        peer.close(1001, "bye")
        end = self.assert_ends(conn.receive, 1001, CloseError)
        self.assertEqual(heard, [((1001, "bye"), False)])
        self.assertEqual(peer.receive_close(), (1001, ""))
        assert_same_end(self, self.assert_ends(lambda: conn.send("x"), 1001, CloseError), end)

    def test_handler_may_write_and_answer(self) -> None:
        """A close handler may still send messages, and close with a code of its own: no second close is sent."""
        for answer in (
            lambda conn: conn.close(4001, "mine"),
            lambda conn: conn.write_control(CLOSE, format_close_message(4001, "mine")),
        ):
            conn, peer = self.peer()

            def handler(code: int, reason: str, conn=conn, answer=answer) -> None:
                conn.send("last words")
                answer(conn)

            conn.set_close_handler(handler)
            peer.close(1000)
            self.assert_ends(conn.receive, 1000, CloseError)
            self.assertEqual(peer.receive_frame()[:2], (TEXT, b"last words"))
            self.assertEqual(peer.receive_close(), (4001, "mine"))
            self.assertRaises(CloseError, conn.send, "x")
            peer.socket.shutdown(1)
            conn.close()
            self.assertTrue(peer.at_end())

    def test_handler_that_raises(self) -> None:
        """What the close handler raises replaces the CloseError in reads; the close is still answered, and
        writes raise the end."""
        conn, peer = self.peer()
        error = ZeroDivisionError()

        def handler(code: int, reason: str) -> None:
            raise error

        conn.set_close_handler(handler)
        peer.close(1000)
        with self.assertRaises(ZeroDivisionError) as caught:
            conn.receive()
        self.assertIs(caught.exception, error)
        for _ in range(2):
            with self.assertRaises(ZeroDivisionError) as caught:
                conn.receive()
            assert_same_end(self, caught.exception, error)
        self.assertEqual(peer.receive_close(), (1000, ""))
        self.assert_ends(lambda: conn.send("x"), 1000, CloseError)

    def test_server_ends_tcp_first(self) -> None:
        """RFC 6455 7.1.1: a server half-closes as soon as it has answered; a client waits for its server to do so."""
        conn, peer = self.peer()
        peer.close()
        self.assert_ends(conn.receive, 1000, CloseError)
        self.assertEqual(peer.receive_close()[0], 1000)
        if not self.client:
            self.assertTrue(peer.at_end())
        self.assertNotEqual(conn.socket.fileno(), -1)
        peer.socket.shutdown(1)
        conn.close()
        self.assert_released(conn)

    def test_client_waits_for_the_server_to_end_tcp(self) -> None:
        """After the handshake a client's close waits for the server's end of TCP, a second at most."""
        conn, peer = self.peer()
        peer.close()
        self.assert_ends(conn.receive, 1000, CloseError)
        closing = self.start(conn.close)
        self.assertEqual(peer.receive_close()[0], 1000)
        if self.client:
            self.assertFalse(closing.done)
        peer.socket.shutdown(1)
        closing.result(0.9)

    def test_messages_before_the_close_are_read(self) -> None:
        """What the peer sent before its close is delivered first."""
        conn, peer = self.peer()
        peer.send(peer.frame(TEXT, "a") + peer.frame(TEXT, "b") + peer.frame(8))
        self.assertEqual(list(conn), ["a", "b"])


class ClientByThePeer(ServerByThePeer):
    """The same for a client."""

    client = True


class ServerByThisSide(ConnCase):
    """close(): which threads wait, and how each of them ends."""

    def _answer(self, peer) -> tuple[int | None, str]:
        """Be a good peer: read up to the close frame, answer it, and wait for the end of TCP."""
        while (frame := peer.receive_frame()).opcode != CLOSE:
            pass
        peer.send_frame(CLOSE, frame.payload)
        if self.client:
            peer.socket.shutdown(1)
        self.assertTrue(peer.at_end())
        peer.socket.close()
        return int.from_bytes(frame.payload[:2]), frame.payload[2:].decode()

    def test_closing_handshake(self) -> None:
        """(c) With nobody reading, close sends its frame, waits for the peer's, and gives the descriptor back."""
        conn, peer = self.peer()
        answering = self.start(self._answer, peer)
        conn.close(4000, "bye")
        self.assertEqual(answering.result(), (4000, "bye"))
        self.assertEqual((conn.closed, conn.socket.fileno()), (True, -1))
        end = self.assert_ends(conn.receive, 4000, CloseError)
        self.assertEqual(str(end), "sent 4000: bye; then received 4000: bye")
        assert_same_end(self, self.assert_ends(lambda: conn.send("x"), 4000, CloseError), end)

    def test_close_is_idempotent(self) -> None:
        """Closing again does nothing, from any thread, at any time: one close frame leaves."""
        conn, peer = self.peer()
        closers = [self.start(conn.close, 1000 + number % 2) for number in range(8)]
        code, _ = peer.receive_close()
        peer.close(code)
        if self.client:
            peer.socket.shutdown(1)
        self.assertTrue(peer.at_end())
        peer.socket.close()
        for closer in closers:
            closer.result()
        conn.close()
        conn.close_now()
        conn.close(timeout=0)

    def test_codes_that_may_not_be_sent(self) -> None:
        """A code or reason that may not be sent is a ValueError; the connection is as it was."""
        conn, peer = self.peer()
        for code, reason in ((1006, ""), (1004, ""), (999, ""), (5000, ""), (1000, "x" * 124), (1005, "x"), (0, "")):
            with self.assertRaises(ValueError):
                conn.close(code, reason)
        conn.send("fine")
        self.assertEqual(peer.receive_frame().payload, b"fine")

    def test_close_without_a_code(self) -> None:
        """close(1005) sends an empty close frame."""
        conn, peer = self.peer()
        conn.close(1005, timeout=0)
        self.assertEqual(peer.receive_close(), (None, ""))
        conn.close_now()

    def test_inside_a_handler(self) -> None:
        """(a) Inside a handler of the reading thread close sends and returns; the read under way raises the end."""
        conn, peer = self.peer()
        returned = threading.Event()

        def handler(data: bytes) -> None:
            conn.close(4000, "asked to")
            returned.set()

        conn.set_ping_handler(handler)
        reading = self.start_reading(conn)
        peer.send_frame(PING)
        self.assertEqual(peer.receive_close(), (4000, "asked to"))
        self.assertTrue(returned.wait(SOON))
        self.assertFalse(reading.done)
        peer.close(4000)
        self.assertEqual(reading.error().code, 4000)
        peer.socket.close()
        conn.close()

    def test_inside_a_handler_with_a_peer_that_does_not_answer(self) -> None:
        """(a) A close inside a handler is bounded too: the read ends at its deadline."""
        for timeout in (0.05, None, 0):
            conn, peer = self.peer(close_timeout=0.05)
            conn.set_pong_handler(lambda data, conn=conn, timeout=timeout: conn.close(timeout=timeout))
            peer.send_frame(10)
            self.assert_ends(self.start(conn.receive).result, 1006, CloseError)
            self.assert_released(conn)

    def test_while_another_thread_reads(self) -> None:
        """(b) While another thread reads, close waits until that thread has seen the end; it still gets messages."""
        conn, peer = self.peer()
        messages = []

        def read() -> None:
            messages.extend(conn)

        reading = self.start_reading(conn, read)
        closing = self.start(conn.close)
        self.assertEqual(peer.receive_close()[0], 1000)
        peer.send_frame(TEXT, "late")
        self.assertFalse(closing.done)
        peer.close()
        peer.socket.shutdown(1)
        closing.result()
        reading.result()
        self.assertLessEqual(messages, ["late"])  # or close has had the turn in between, and discarded it
        self.assertTrue(peer.at_end())

    def test_nobody_reads_and_messages_wait(self) -> None:
        """(c) With nobody reading, close discards what the peer still sends, half messages and streams too."""
        conn, peer = self.peer()
        peer.send_frame(TEXT, "unread")
        peer.send_frame(TEXT, "half", fin=False)
        conn.next_reader()
        answering = self.start(self._answer, peer)
        conn.close()
        answering.result()
        self.assert_ends(conn.receive, 1000, CloseError)

    def test_unread_bytes_do_not_reset_the_connection(self) -> None:
        """Bytes that the peer has sent after its close do not turn the end into a reset: our close arrives."""
        conn, peer = self.peer()
        peer.send(peer.frame(8) + b"x" * 100_000)
        closing = self.start(conn.close)
        self.assertEqual(peer.receive_close()[0], 1000)
        peer.socket.shutdown(1)
        self.assertEqual(peer.socket.recv(1), b"")
        closing.result()

    def test_peer_that_does_not_answer(self) -> None:
        """At the deadline the connection is cut, with a reader and without: its end is 1006 and says why."""
        for reads in (False, True):
            conn, peer = self.peer()
            reading = self.start_reading(conn) if reads else None
            closing = self.start(conn.close, timeout=0.1)
            closing.result(SOON)
            self.assertGreater(closing.seconds, 0.08)
            end = reading.error() if reading else self.assert_ends(conn.receive, 1006, CloseError)
            self.assertEqual(end.code, 1006)
            self.assertIn("sent 1000 (normal closure); then 1006", str(end))
            self.assert_released(conn)
            self.assertEqual(peer.receive_close()[0], 1000)
            self.assertTrue(peer.at_end())

    def test_close_timeout_is_the_default(self) -> None:
        """Without a timeout close waits for close_timeout."""
        conn, _ = self.peer(close_timeout=0.1)
        closing = self.start(conn.close)
        closing.result(SOON)
        self.assertGreater(closing.seconds, 0.08)

    def test_timeout_of_zero_starts_the_close(self) -> None:
        """timeout=0 sends the close and returns; a thread that reads sees the end."""
        conn, peer = self.peer()
        self.start(conn.close, timeout=0).result(SOON)
        self.assertEqual(peer.receive_close()[0], 1000)
        peer.send_frame(TEXT, "before the answer")
        peer.close()
        self.assertEqual(conn.receive(), "before the answer")
        self.assert_ends(conn.receive, 1000, CloseError)
        peer.socket.shutdown(1)
        conn.close()
        self.assert_released(conn)

    def test_timeout_of_zero_is_bounded(self) -> None:
        """After timeout=0 the connection is cut at close_timeout, even if no thread reads it."""
        conn, peer = self.peer(close_timeout=0.1)
        conn.close(timeout=0)
        self.assertFalse(conn.closed)
        self.assert_released(conn)
        self.assert_ends(conn.receive, 1006, CloseError)
        self.assertEqual(peer.receive_close()[0], 1000)

    def test_flood_does_not_hold_up_a_close(self) -> None:
        """A peer that answers a close with messages without end is cut at the deadline."""
        conn, peer = self.peer()

        def flood() -> None:
            frames = peer.frame(TEXT, "x") * 1000
            with self.assertRaises(OSError):
                while True:
                    peer.send(frames)

        flooding = self.start(flood)
        self.start(conn.close, timeout=0.2).result()
        flooding.result()

    def test_vanished_peer(self) -> None:
        """A peer that has left ends a close at once; close raises nothing."""
        conn, peer = self.peer()
        peer.socket.close()
        self.start(conn.close, timeout=600).result()
        self.assert_ends(conn.receive, 1006, CloseError)

    def test_read_deadline_plays_no_part(self) -> None:
        """The application's read deadline, in the past or moved by its handlers, does not end a close early."""
        conn, peer = self.peer()
        conn.set_read_deadline(time.monotonic() - 1)
        conn.set_ping_handler(lambda data: conn.set_read_deadline(time.monotonic() - 1))
        closing = self.start(conn.close)
        self.assertEqual(peer.receive_close()[0], 1000)
        peer.send_frame(PING)
        peer.close(4004)
        peer.socket.shutdown(1)
        closing.result()
        self.assert_ends(conn.receive, 4004, CloseError)

    def test_handlers_that_raise_do_not_end_a_close_early(self) -> None:
        """Handlers that raise while close reads, or write although this side has closed, do not keep it from the
        peer's close."""
        conn, peer = self.peer()

        def write(data: bytes) -> None:
            conn.send("x")

        def fail(data: bytes) -> None:
            raise ZeroDivisionError

        conn.set_ping_handler(write)
        conn.set_pong_handler(fail)
        closing = self.start(conn.close)
        self.assertEqual(peer.receive_close()[0], 1000)
        with self.assertLogs("syncws.conn", "ERROR"):
            peer.send_frame(PING)
            peer.send_frame(10)
            peer.close(4005)
            peer.socket.shutdown(1)
            closing.result()
        self.assert_ends(lambda: conn.send("x"), 4005, CloseError)
        self.assertRaises(CloseSentError, conn.receive)  # the first handler's exception: sticky for reads

    def test_close_after_a_handler_raised(self) -> None:
        """After a handler has raised in a read, close still performs the whole handshake."""
        conn, peer = self.peer()

        def fail(data: bytes) -> None:
            raise ZeroDivisionError

        conn.set_ping_handler(fail)
        peer.send_frame(PING)
        self.assertRaises(ZeroDivisionError, conn.receive)
        answering = self.start(self._answer, peer)
        conn.close(1011)
        self.assertEqual(answering.result(), (1011, ""))
        self.assert_ends(lambda: conn.send("x"), 1011, CloseError)

    def test_writes_after_the_close(self) -> None:
        """After this side's close every write is a CloseSentError until the end is known; a writer opened before
        still collects, and fails when it sends."""
        conn, peer = self.peer()
        writer = conn.next_writer(TEXT)
        writer.write("a")
        conn.write_control(CLOSE, format_close_message(1000))
        self.assertEqual(writer.write("b"), 1)
        for write in (
            writer.close,
            lambda: conn.send("x"),
            lambda: conn.send_nowait("x"),
            lambda: conn.write_control(PING),
            lambda: conn.write_control(CLOSE),
            lambda: conn.write_prepared(PreparedMessage(TEXT, "x")),
            lambda: conn.next_writer(TEXT),
            conn.ping,
        ):
            with self.assertRaises(CloseSentError):
                write()
        self.assertEqual(peer.receive_close()[0], 1000)
        peer.close(1001)
        self.assert_ends(conn.receive, 1001, CloseError)
        self.assert_ends(lambda: conn.send("x"), 1001, CloseError)

    def test_gorillas_closing_idiom(self) -> None:
        """After a close frame written with write_control, reads find the peer's messages and its close."""
        conn, peer = self.peer()
        conn.write_control(CLOSE, format_close_message(1000, "done"))
        peer.send_frame(TEXT, "m")
        peer.send_frame(PING)
        peer.close(1000, "done too")
        self.assertEqual(conn.receive(), "m")
        self.assertEqual(self.assert_ends(conn.receive, 1000, CloseError).reason, "done too")
        self.assertEqual(peer.receive_close(), (1000, "done"))
        conn.close_now()
        self.assertTrue(peer.at_end())  # neither a pong nor a second close has followed

    def test_posts_leave_before_the_close(self) -> None:
        """What was posted leaves before the close frame, with the socket full in between."""
        conn, peer = self.peer(buffer=_BUFFER, send_queue_bytes=1 << 30)
        for number in range(50):
            conn.send_nowait(f"{number} ".ljust(50_000))
        self.assertGreater(conn.queued[0], 0)
        closing = self.start(conn.close)
        self.assertEqual([int(peer.receive_frame().payload) for _ in range(50)], list(range(50)))
        self.assertEqual(peer.receive_close()[0], 1000)
        peer.close()
        peer.socket.shutdown(1)
        closing.result()

    def test_message_under_way_leaves_before_the_close(self) -> None:
        """A frame that is half sent is finished before the close leaves."""
        conn, peer = self.peer(buffer=_BUFFER)
        writing = self.start_stuck_write(conn, 4 << 20)
        closing = self.start(conn.close)
        self.assertEqual(len(peer.receive_frame().payload), 4 << 20)
        self.assertEqual(peer.receive_close()[0], 1000)
        peer.close()
        peer.socket.shutdown(1)
        writing.result()
        closing.result()

    def test_open_writer_is_ended(self) -> None:
        """An open next_writer is ended: the close leaves between its fragments, its owner gets CloseSentError, and
        a thread that waited for it is released at once."""
        conn, peer = self.peer(write_buffer_size=4)
        writer = conn.next_writer(TEXT)
        writer.write("begun")
        waiting = [self.start(conn.send, "x"), self.start(conn.next_writer, TEXT)]
        conn.close(timeout=0)
        for task in waiting:
            self.assertIsInstance(task.error(), CloseSentError)
        with self.assertRaises(CloseSentError):
            writer.write("more than four")
        writer.close()
        self.assertEqual(peer.receive_frame()[:3], (TEXT, b"begun", False))
        self.assertEqual(peer.receive_close()[0], 1000)
        conn.close_now()
        self.assertTrue(peer.at_end())

    def test_stuck_writer_and_reader_are_woken(self) -> None:
        """A writer stuck with a peer that never reads does not hold up a close: at its deadline reader and writer are
        woken with the same end."""
        conn, _ = self.peer(buffer=_BUFFER)
        writing, reading = self.start_stuck_write(conn), self.start_reading(conn)
        queueing = self.start(conn.send, "x")
        closing = self.start(conn.close, timeout=0.2)
        closing.result(SOON)
        self.assertGreater(closing.seconds, 0.15)
        end = reading.error()
        self.assertEqual(end.code, 1006)
        assert_same_end(self, writing.error(), end)
        self.assertIsInstance(queueing.error(), ConnectionClosed)
        self.assert_released(conn)

    def test_write_that_failed_in_the_middle(self) -> None:
        """After a write has failed in the middle of a frame no close can be sent, and close waits for no answer."""
        conn, _ = self.peer(buffer=_BUFFER, close_timeout=600)
        with self.assertRaises(TimeoutError):
            conn.write_message(2, bytes(16 << 20), timeout=0.05)
        self.start(conn.close).result()
        self.assert_released(conn)

    def test_read_that_starts_while_close_reads(self) -> None:
        """(c) A read that starts while close reads in its place gets the same end, or its own timeout."""
        conn, peer = self.peer()
        closing = self.start(conn.close)
        self.assertEqual(peer.receive_close()[0], 1000)
        self.assertTrue(await_(conn._inbound.turn.locked))
        self.assertRaises(ReadTimeout, conn.receive, 0.01)
        reads = [self.start(read) for read in (conn.receive, conn.next_reader, conn.receive_json)]
        peer.close(4006)
        peer.socket.shutdown(1)
        closing.result()
        ends = [read.error() for read in reads]
        self.assertEqual([end.code for end in ends], [4006] * 3)
        assert_same_end(self, ends[0], ends[1])
        assert_same_end(self, ends[1], ends[2])

    def test_no_turn_to_linger_in(self) -> None:
        """Where another thread has the turn as close would wait for the end of TCP, the connection is cut at once."""
        conn, peer = self.peer(close_timeout=600)
        take, taken = Inbound.take_turn_to_close, []

        def take_once(inbound: Inbound, deadline: float) -> bool:
            taken.append(len(taken) == 0 and take(inbound, deadline))
            return taken[-1]

        peer.close(4008)
        with mock.patch.object(Inbound, "take_turn_to_close", take_once):
            self.start(conn.close).result()
        self.assertEqual(taken, [True, False])
        self.assert_released(conn)
        self.assert_ends(conn.receive, 4008, CloseError)

    def test_read_while_close_lingers(self) -> None:
        """While close waits for the end of TCP, a read raises the end at once."""
        self.enterContext(mock.patch("syncws._conn.closing._LINGER", 600))
        conn, peer = self.peer(close_timeout=600)
        closing = self.start(conn.close)
        self.assertEqual(peer.receive_close()[0], 1000)
        peer.close(4007)
        self.assertTrue(await_(lambda: conn.closed))
        self.assert_ends(self.start(conn.receive).result, 4007, CloseError)
        self.assertFalse(closing.done)
        peer.socket.shutdown(1)
        closing.result()


class ClientByThisSide(ServerByThisSide):
    """The same for a client."""

    client = True


class ServerStarted(ConnCase):
    """A close that somebody else sees to: at the end of a process."""

    def test_it_is_sent_and_nothing_else(self) -> None:
        """The peer is told; nobody waits, and no timer is set."""
        conn, peer = self.peer()
        with mock.patch.object(drain, "call_at") as call_at:
            conn._start_close(1001, "going")
        self.assertEqual(peer.receive_close(), (1001, "going"))
        call_at.assert_not_called()
        self.assertFalse(conn.closed)


class ClientStarted(ServerStarted):
    """The same for a client."""

    client = True


class ServerNoThread(ConnCase):
    """No thread can be started that would cut the connection later."""

    def test_log_that_asks_the_connection(self) -> None:
        """The complaint is logged without a lock: a handler of the log may use the connection."""
        conn, _ = self.peer()
        asked = []

        class Asking(logging.Handler):
            def emit(self, record: logging.LogRecord) -> None:
                asked.append(conn.queued)

        conn._attendant.stop()
        self.assertTrue(await_(lambda: drain._tools is None))  # what looked after it has ended
        logger, handler = logging.getLogger("syncws.conn"), Asking(logging.ERROR)
        logger.addHandler(handler)
        self.addCleanup(logger.removeHandler, handler)
        with mock.patch("syncws._net.drain._Tools", side_effect=OSError("no descriptor")):
            self.start(conn.close, timeout=0).result()
        self.assertEqual(asked, [(0, 0)])


class ClientNoThread(ServerNoThread):
    """The same for a client."""

    client = True


class ServerCrossed(ConnCase):
    """Both sides at once."""

    def test_crossed_closes(self) -> None:
        """Both sides close at once, with and without readers: one close frame each way, and nobody hangs."""
        for number in range(20):
            conn, other = self.pair(close_timeout=5)
            reading = [self.start_reading(side) for side in (conn, other)] if number % 2 else []
            gate = threading.Barrier(2)

            def close(side, code: int, gate: threading.Barrier = gate) -> None:
                gate.wait()
                side.close(code)

            closing = [self.start(close, conn, 4001), self.start(close, other, 4002)]
            for task in closing:
                task.result(4)
            for task in reading:
                self.assertIsInstance(task.error(), CloseError)
            for side in (conn, other):
                self.assert_ends(side.receive, self._code(side), CloseError)
                self.assertEqual(sorted(verb for verb, _, _ in side._life.closings), ["received", "sent"])

    def _code(self, side) -> int:
        """The code that a side must end with: the peer's, or its own echoed if the peer had not closed yet."""
        received = next(code for verb, code, _ in side._life.closings if verb == "received")
        self.assertIn(received, (4001, 4002))
        return received

    def test_both_sides_of_a_pair_close_by_context(self) -> None:
        """A client and a server that talk and then leave their blocks both end with 1000."""
        conn, other = self.pair()

        def echo() -> None:
            with other:
                for message in other:
                    other.send(message)

        echoing = self.start(echo)
        with conn:
            conn.send("m")
            self.assertEqual(conn.receive(), "m")
        echoing.result()
        for side in (conn, other):
            self.assert_ends(side.receive, 1000, CloseError)
            self.assert_released(side)


class ClientCrossed(ServerCrossed):
    """The same for a client."""

    client = True


class ServerEndOfTCP(ConnCase):
    """A connection in a server's own thread, which is not to linger: `Transport.lingers_behind`."""

    def test_a_timer_waits_in_place_of_the_thread(self) -> None:
        """close returns once both close frames have passed; a timer cuts the connection if TCP does not end."""
        frame = Peer(mock.Mock(), masked=not self.client).frame(CLOSE, format_close_message(1000))
        sock = ScriptedSocket(incoming=[frame])
        conn = Conn(Transport(sock), client=self.client)  # type: ignore[arg-type]
        conn.transport.lingers_behind = True  # type: ignore[misc]
        self.addCleanup(conn.close_now)
        with mock.patch.object(drain, "call_at") as call_at:
            conn.close()
        self.assertEqual((sock.count("recv"), sock.count("close")), (1, 0))
        self.assertEqual(sock.count("shutdown"), 0 if self.client else 1)  # a server ends TCP, with its answer
        (_, cut) = call_at.call_args.args
        cut()
        self.assertEqual(sock.count("close"), 1)

    def test_tcp_is_ended_after_the_peers_close(self) -> None:
        """No side of TCP is ended before the peer's close has come."""
        frame = Peer(mock.Mock(), masked=not self.client).frame(CLOSE, format_close_message(1000))
        sock = ScriptedSocket(incoming=[BlockingIOError(), frame])
        conn = Conn(Transport(sock), client=self.client)  # type: ignore[arg-type]
        conn.close()
        steps = [call for call in sock.calls if call in ("recv", "shutdown")]
        self.assertEqual(steps[:3], ["recv", "recv", "recv" if self.client else "shutdown"])


class ClientEndOfTCP(ServerEndOfTCP):
    """The same for a client."""

    client = True
