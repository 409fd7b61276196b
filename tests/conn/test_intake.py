"""intake.py: how much a read asks for, and what silence and the end of the stream mean to it."""

from __future__ import annotations

import socket
import time
from typing import Any

from syncws import BINARY, PING, PONG, TEXT, CloseError, ProtocolError, ReadLimitError, ReadTimeout
from tests.conn.cases import ConnCase, ScriptedCase
from tests.tasks import Task


class ServerBuffers(ConnCase):
    """How much a read asks the kernel for."""

    def test_reads_grow_with_what_comes_and_shrink_in_silence(self) -> None:
        """An idle connection asks for few bytes; a read that was filled makes the next ask for more, silence for fewer.

        It asks for at most read_buffer_size and a header.
        """
        conn, peer = self.peer(read_buffer_size=10_000)
        sizes: list[int] = []
        receive = conn.transport.receive

        def noting(size: int, wait: float | None) -> bytes | None:
            sizes.append(size)
            return receive(size, wait)

        conn.transport.receive = noting  # type: ignore[method-assign]
        for _ in range(3):
            peer.send_frame(BINARY, bytes(20_000))
            self.assertEqual(len(conn.receive(timeout=5)), 20_000)
        self.assertEqual(sizes[:4], [448, 1792, 7168, 10_014])
        self.assertEqual(set(sizes[4:]), {10_014})
        self.assertRaises(ReadTimeout, conn.receive, 0)
        sizes.clear()
        peer.send_frame(TEXT, "x")
        conn.receive(timeout=5)
        self.assertEqual(sizes, [448])


class ClientBuffers(ServerBuffers):
    """The same for a client."""

    client = True


class ServerWholeMessages(ConnCase):
    """Reads without a deadline, which receive and decode in one step where the accelerator is there."""

    def either(self, accelerated: bool, **options: Any) -> tuple[Any, Any]:
        """(conn, peer); a conn that does so, or one that receives first."""
        conn, peer = self.peer(**options)
        if not accelerated:
            conn._inbound.intake.decoder = None
        return conn, peer

    def test_what_a_read_asks_for(self) -> None:
        """A message that fills the buffer to its last byte makes the next read ask for more; a smaller one does not."""
        for accelerated in (True, False):
            conn, peer = self.either(accelerated, read_buffer_size=10_000)
            head = 4 if self.client else 8
            sizes = []
            for length in (10, 447 - head, 448 - head, 10, 1792 - head, 7167 - head, 10):
                peer.send_frame(BINARY, bytes(length))
                self.assertEqual(conn.read_message(), (BINARY, bytes(length)))
                sizes.append(conn._inbound.intake._read_size)
            self.assertEqual(sizes, [448, 448, 1792, 1792, 7168, 7168, 7168])
            self.assertEqual(conn._wire.tally.messages_in, 7)

    def test_what_is_no_whole_message(self) -> None:
        """Control frames, several frames at once, parts, and limits: as with a deadline."""
        for accelerated in (True, False):
            conn, peer = self.either(accelerated, read_limit=1000)
            peer.send_frame(PING, b"?")
            peer.send_frame(TEXT, "one")
            peer.send_frame(TEXT, "two")
            peer.send_frame(BINARY, bytes(900))
            self.assertEqual([conn.receive() for _ in range(3)], ["one", "two", bytes(900)])
            self.assertEqual(peer.receive_frame().opcode, PONG)
            peer.send_frame(TEXT, "x" * 1001)
            with self.assertRaises(ReadLimitError):
                conn.receive()
        for accelerated in (True, False):
            conn, peer = self.either(accelerated)
            peer.send_frame(TEXT, b"\xff")
            with self.assertRaises(ProtocolError) as caught:
                conn.receive()
            self.assertEqual(caught.exception.code, 1007)

    def test_a_broken_socket(self) -> None:
        """An error of the system is the end, with its cause; and so is the end of the stream."""
        for accelerated in (True, False):
            conn, peer = self.either(accelerated)
            peer.vanish()
            with self.assertRaises(CloseError) as caught:
                conn.receive()
            self.assertEqual(caught.exception.code, 1006)
            self.assertIsInstance(caught.exception.__cause__, ConnectionResetError)
        for accelerated in (True, False):
            conn, peer = self.either(accelerated)
            peer.socket.shutdown(socket.SHUT_WR)
            with self.assertRaises(CloseError) as caught:
                conn.receive()
            self.assertEqual(caught.exception.code, 1006)

    def test_silence(self) -> None:
        """A silent peer is pinged, and given up."""
        for accelerated in (True, False):
            conn, peer = self.either(accelerated, ping_interval=0.05, ping_timeout=0.1)
            task = Task(conn.receive)
            self.assertEqual(peer.receive_frame().opcode, PING)
            error = task.error()
            self.assertIsInstance(error, CloseError)


class ClientWholeMessages(ServerWholeMessages):
    """The same for a client."""

    client = True


class ServerSlowRecords(ConnCase):
    """A TLS record that arrives in pieces."""

    def test_part_of_a_record_is_no_silence(self) -> None:
        """Part of a TLS record is a sign of life: a wait in which it came leads to no ping and no end."""
        conn, peer = self.peer(ping_interval=0.05, ping_timeout=0.05)
        receive, waits = conn.transport.receive, iter(range(10))

        def dripping(size: int, wait: float | None) -> bytes | None:
            conn.transport.heard_part = next(waits, None) is not None
            if conn.transport.heard_part:
                time.sleep(0.03)
                return None
            peer.send_frame(TEXT, "whole")
            return receive(size, wait)

        conn.transport.receive = dripping  # type: ignore[method-assign]
        self.assertEqual(conn.receive(timeout=10), "whole")
        conn.close_now()
        self.assertTrue(peer.at_end())  # and no ping before it


class ClientSlowRecords(ServerSlowRecords):
    """The same for a client."""

    client = True


class ServerScripted(ScriptedCase):
    """What a read does with bytes and errors that come together too seldom by themselves."""

    def test_what_tls_wants_to_say_leaves_at_once(self) -> None:
        """A receive that leaves bytes of TLS in the transport, as an answer to the peer's, lets them leave."""
        frame = self._frame(bytes(400_000))
        for pieces in ([frame[:200_000], frame[200_000:]], [self._frame(b"small")]):
            conn, sock = self._scripted(*pieces)
            transport = conn.transport
            conn._inbound.intake._is_tls = True
            answers = iter([b"1", b"2", b"3", b"4", b"5", b"6", b"7", b"8", b"9"])

            def answering(receive: Any, transport: Any = transport, answers: Any = answers) -> Any:
                def call(*arguments: Any) -> Any:
                    came = receive(*arguments)
                    self.assertFalse(transport.pending)  # what the receive before this one left is gone
                    transport.rest = memoryview(next(answers))
                    return came

                return call

            transport.receive = answering(transport.receive)  # type: ignore[method-assign]
            transport.receive_into = answering(transport.receive_into)  # type: ignore[method-assign]
            conn.receive()
            self.assertFalse(transport.pending)
            self.assertEqual(sock.sent, b"123456789"[: len(sock.sent)])

    def test_a_reset_inside_a_large_message(self) -> None:
        """A socket that breaks while a large message is received in place is the end, with its cause."""
        reset = ConnectionResetError(104, "Connection reset by peer")
        conn, sock = self._scripted(self._frame(bytes(400_000))[:200_000], reset)
        end = self.assert_ends(conn.receive, 1006, CloseError)
        self.assertEqual(repr(end.__cause__), repr(reset))
        self.assertIn("recv_into", sock.calls)
        self.assertEqual(sock.count("close"), 1)

    def test_the_end_of_tcp_inside_a_large_message(self) -> None:
        """A peer that leaves while a large message is received in place has vanished."""
        conn, sock = self._scripted(self._frame(bytes(400_000))[:200_000])
        self.assert_ends(conn.receive, 1006, CloseError)
        self.assertIn("recv_into", sock.calls)

    def test_what_comes_in_place_ends_a_silence(self) -> None:
        """So does part of a TLS record: both are life, and silence is counted anew."""
        frame = self._frame(bytes(400_000))
        conn, _ = self._scripted(frame[:200_000], BlockingIOError(), frame[200_000:])
        conn.receive()
        self.assertIsNone(conn._inbound.intake.keepalive.silent_since)
        conn, _ = self._scripted(self._frame(b"x"))
        receive, waits, silences = conn.transport.receive, iter((False, True)), []

        def dripping(size: int, wait: float | None) -> bytes | None:
            silences.append(conn._inbound.intake.keepalive.silent_since is not None)
            conn.transport.heard_part = part = next(waits, None)  # type: ignore[assignment]
            return receive(size, wait) if part is None else None

        conn.transport.receive = dripping  # type: ignore[method-assign]
        conn.receive()
        self.assertEqual(silences, [False, True, False])


class ClientScripted(ServerScripted):
    """The same for a client."""

    client = True
