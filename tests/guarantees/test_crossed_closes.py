"""Proves that a closing handshake is exactly one close frame each way, however many threads begin it and whenever.

The two sides talk through a relay that keeps what passes. A thousand times both sides close at the same moment, in
four ways that take turns: with nobody reading, with a reader on both sides, with several closers, and with a close
frame written by hand. Then: no hang, one close frame each way, nothing after it, no thread left.
"""

from __future__ import annotations

import contextlib
import random
import selectors
import socket
import sys
import threading
import time
from collections.abc import Callable, Iterator
from typing import Any

from syncws._base.options import ConnOptions
from syncws._conn.conn import Conn
from syncws._frames.masking import mask
from syncws._frames.payloads import format_close_message
from syncws._net.transport import Transport
from syncws.errors import CloseError, ConnectionClosed
from syncws.testing import Frame, peer, socketpair

from .support import BINARY, CLOSE, TEXT, WAIT, GuaranteeTestCase, size, transports

#: What a side closes with, to be told apart: the server's, the client's.
CODES = (3001, 3002)


class Relay:
    """Carries bytes between two sockets and keeps them; its thread ends when both have ended."""

    def __init__(self, near: socket.socket, far: socket.socket) -> None:
        self._sockets = near, far
        self.carried = {near: bytearray(), far: bytearray()}  # by the socket they came from
        self._thread = threading.Thread(target=self._run, name="test-relay", daemon=True)
        self._thread.start()

    def _run(self) -> None:
        near, far = self._sockets
        other = {near: far, far: near}
        with selectors.DefaultSelector() as selector:
            for sock in self._sockets:
                selector.register(sock, selectors.EVENT_READ)
            while selector.get_map():
                for key, _ in selector.select():
                    sock: Any = key.fileobj
                    if not self._carry(sock, other[sock]):
                        selector.unregister(sock)

    def _carry(self, sock: socket.socket, other: socket.socket) -> bool:
        try:
            data = sock.recv(1 << 16)
        except OSError:
            data = b""
        self.carried[sock] += data
        with contextlib.suppress(OSError):
            other.sendall(data) if data else other.shutdown(socket.SHUT_WR)
        return bool(data)

    def frames(self, sock: socket.socket) -> list[Frame]:
        """The frames that came from a socket, once the relay has ended."""
        self._thread.join(WAIT)
        if self._thread.is_alive():
            raise AssertionError("a side has not closed its socket")
        return parse(bytes(self.carried[sock]))


def parse(data: bytes) -> list[Frame]:
    """Frames, all of them whole."""
    frames = []
    while data:
        first, second = data[0], data[1]
        size, start = second & 0x7F, 2
        if size > 125:
            width = 2 if size == 126 else 8
            size, start = int.from_bytes(data[2 : 2 + width]), 2 + width
        key = data[start : start + 4] if second & 0x80 else b""
        start += len(key)
        payload = data[start : start + size]
        if len(payload) < size:
            raise AssertionError(f"a frame cut short: {data!r}")
        frames.append(Frame(first & 0x0F, mask(payload, key) if key else payload, bool(first & 0x80)))
        data = data[start + size :]
    return frames


class Crossing:
    """Two connections with a relay between, and the threads that close them."""

    def __init__(self, test: GuaranteeTestCase, tls: bool = False) -> None:
        self.test = test
        # server - left ... relay ... right - client. Under TLS the relay would see nothing, so there is none.
        self.sockets = [] if tls else [*socketpair(), *socketpair()]
        if tls:
            ends = transports(socketpair(), True)
            self.relay = None
        else:
            ends = Transport(self.sockets[0]), Transport(self.sockets[3])
            self.relay = Relay(self.sockets[1], self.sockets[2])
        options = ConnOptions(close_timeout=WAIT, ping_interval=None)
        self.conns = [
            Conn(end, client=client, options=options) for end, client in zip(ends, (False, True), strict=True)
        ]
        self.threads: list[threading.Thread] = []
        self.unexpected: list[BaseException] = []
        self.ends: list[Exception] = []

    def run(self, *calls: Callable[[], object]) -> None:
        """Make all calls at the same time, and wait until all have returned."""
        barrier = threading.Barrier(len(calls))
        self.threads = [threading.Thread(target=self._one, args=(barrier, call), name="test-closer") for call in calls]
        for thread in self.threads:
            thread.start()
        deadline = time.monotonic() + WAIT / 2
        for thread in self.threads:
            thread.join(max(0.0, deadline - time.monotonic()))
        stuck = [thread.name for thread in self.threads if thread.is_alive()]
        for conn in self.conns:
            conn.close_now()
        self.test.assertEqual(stuck, [], "threads that hang")
        self.test.assertEqual(self.unexpected, [])

    def _one(self, barrier: threading.Barrier, call: Callable[[], object]) -> None:
        barrier.wait(WAIT)
        try:
            call()
        except ConnectionClosed as error:
            self.ends.append(error)
        except BaseException as error:
            self.unexpected.append(error)

    def __enter__(self) -> Crossing:
        return self

    def __exit__(self, *exc: object) -> None:
        for conn in self.conns:
            conn.close_now()
        for sock in self.sockets:
            sock.close()

    def check(self, codes: tuple[int, int] = CODES) -> None:
        """One close frame each way, the last of all; each side knows that the peer closed, and how."""
        if self.relay is not None:
            for sock in self.sockets[1:3]:
                frames = self.relay.frames(sock)
                closes = [frame for frame in frames if frame.opcode == CLOSE]
                self.test.assertEqual(len(closes), 1, frames)
                self.test.assertIs(frames[-1], closes[0], frames)
                self.test.assertIn(int.from_bytes(closes[0].payload[:2]), codes)
        for conn in self.conns:
            with self.test.assertRaises(CloseError) as caught:
                conn.receive()
            closings = caught.exception.closings
            # The end is told as it was when the peer's close came: ours may have been on its way just then.
            self.test.assertIn(sorted(verb for verb, *_ in closings), (["received", "sent"], ["received"]))
            self.test.assertIn(caught.exception.code, codes)
            self.test.assertEqual(conn.transport.fileno(), -1)


def read_all(conn: Conn) -> None:
    while True:
        conn.receive()


class CrossedClosesTests(GuaranteeTestCase):
    def setUp(self) -> None:
        super().setUp()
        # Threads change places twenty times as often as usual, so that more interleavings are met.
        self.addCleanup(sys.setswitchinterval, sys.getswitchinterval())
        sys.setswitchinterval(0.00025)
        self.random = random.Random(6455)

    def test_a_thousand(self) -> None:
        """Both sides at once, a thousand times: one close frame each way, no hang, and each side knows both closes."""
        ways = (self.with_nobody_reading, self.with_readers, self.with_many_closers, self.with_writers)
        for number in range(size(1000, 2000)):
            with self.subTest(number=number), Crossing(self) as crossing:
                crossing.run(*ways[number % len(ways)](*crossing.conns))
                crossing.check()

    def test_under_tls(self) -> None:
        """The same under TLS, where the relay cannot see the frames: no hang, each side knows both closes."""
        ways = (self.with_nobody_reading, self.with_readers, self.with_many_closers)
        for number in range(size(60, 200)):
            with self.subTest(number=number), Crossing(self, tls=True) as crossing:
                crossing.run(*ways[number % len(ways)](*crossing.conns))
                crossing.check()

    def test_written_by_hand(self) -> None:
        """A close frame that the application writes itself meets the reply to the peer's close: only one leaves."""
        for number in range(size(500, 1000)):
            with self.subTest(number=number), Crossing(self) as crossing:
                crossing.run(*self.with_frames_by_hand(*crossing.conns))
                crossing.check()

    def with_nobody_reading(self, server: Conn, client: Conn) -> Iterator[Callable[[], object]]:
        for conn, code in zip((server, client), CODES, strict=True):
            yield self.soon(lambda conn=conn, code=code: conn.close(code))

    def with_readers(self, server: Conn, client: Conn) -> Iterator[Callable[[], object]]:
        yield from self.with_nobody_reading(server, client)
        for conn in (server, client):
            yield lambda conn=conn: read_all(conn)

    def with_many_closers(self, server: Conn, client: Conn) -> Iterator[Callable[[], object]]:
        yield from self.with_readers(server, client)
        yield from self.with_nobody_reading(server, client)

    def with_writers(self, server: Conn, client: Conn) -> Iterator[Callable[[], object]]:
        yield from self.with_readers(server, client)
        for conn in (server, client):
            yield lambda conn=conn: [conn.send("a message"), conn.send_nowait(b"another"), conn.ping()]

    def with_frames_by_hand(self, server: Conn, client: Conn) -> Iterator[Callable[[], object]]:
        for conn, code in zip((server, client), CODES, strict=True):
            payload = format_close_message(code)
            yield self.soon(lambda conn=conn, payload=payload: conn.write_control(CLOSE, payload))
            yield lambda conn=conn: read_all(conn)

    def soon(self, call: Callable[[], object]) -> Callable[[], object]:
        """The call, a few microseconds later, or not."""
        spins = self.random.choice((0, 0, 10, 100, 1000))

        def later() -> object:
            for _ in range(spins):
                pass
            return call()

        return later


class ReplayedTests(GuaranteeTestCase):
    """Interleavings that a thousand tries may miss, forced with gates."""

    def test_the_peer_closes_while_our_close_is_written(self) -> None:
        """The reader's reply, which waits while write_control's own close is being sent, is dropped."""
        with peer(ping_interval=None) as (conn, other):
            inside, go_on = threading.Event(), threading.Event()
            self.hold(conn, inside, go_on)
            closing = self.in_thread(conn.write_control, CLOSE, format_close_message(3001))
            self.wait(inside)
            other.close(3002)
            with self.assertRaises(CloseError):
                conn.receive()
            go_on.set()
            closing.result()
            self.assertEqual(other.receive_close(), (3001, ""))
            conn.close(timeout=1)
            self.assertTrue(other.at_end())

    def test_a_ping_comes_while_our_close_is_written(self) -> None:
        """A pong or ping that waits meanwhile does not follow the close."""
        with peer(ping_interval=None) as (conn, other):
            inside, go_on = threading.Event(), threading.Event()
            self.hold(conn, inside, go_on)
            closing = self.in_thread(conn.write_control, CLOSE, format_close_message(3001))
            self.wait(inside)
            other.send_frame(9, b"are you there?")
            other.send_frame(TEXT, b"behind the ping")
            self.assertEqual(conn.receive(), "behind the ping")
            conn.ping(b"and you?")
            conn.send_nowait("a post")
            go_on.set()
            closing.result()
            self.assertEqual(other.receive_close(), (3001, ""))
            other.close(3001)
            with self.assertRaises(CloseError):
                conn.receive()
            conn.close(timeout=1)
            self.assertTrue(other.at_end())

    def test_a_close_in_the_middle_of_a_frame(self) -> None:
        """Both sides close while one is in a long frame: the close waits for the frame, then the handshake is done."""
        with peer(buffer=1 << 14, ping_interval=None) as (conn, other):
            sending = self.in_thread(conn.send, bytes(3_000_000))
            self.wait(sending.started)
            closing = self.in_thread(conn.close, 3001)
            other.close(3002)
            frames = []
            with contextlib.suppress(EOFError, ConnectionResetError):
                while True:
                    frames.append(other.receive_frame())
            other.socket.close()
            closing.result()
            sending.ended()
            opcodes = [frame.opcode for frame in frames]
            self.assertIn(opcodes, ([BINARY, CLOSE], [CLOSE]))  # the close may have been first

    def hold(self, conn: Conn, inside: threading.Event, go_on: threading.Event) -> None:
        """Stop the next frame on its way to the socket, until told to go on."""
        send: Any = conn.transport.send

        def gate(*buffers: Any, **limits: Any) -> None:
            inside.set()
            go_on.wait(WAIT)
            conn.transport.send = send  # type: ignore[method-assign]
            send(*buffers, **limits)

        conn.transport.send = gate  # type: ignore[method-assign]
