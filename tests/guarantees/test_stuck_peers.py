"""Proves that a peer which does not read costs its own connection only, and that one which reads slowly costs nothing.

* An echo thread that is stuck in a send is set free after ping_interval + ping_timeout; a slow reader is not cut.
* While one thread is stuck in a send, another still reads that peer at once, and a third closes within its timeout.
* A server with a hundred such peers shuts down on time.
"""

from __future__ import annotations

import contextlib
import socket
import statistics
import struct
import threading
import time
import unittest
from collections.abc import Iterator
from typing import Any

from syncws._base.options import ConnOptions
from syncws._conn.conn import Conn
from syncws._http.request import Request
from syncws._server.server import Server
from syncws._server.upgrader import Upgrader
from syncws.errors import CloseError, ConnectionClosed, is_close_error
from syncws.testing import Peer, await_, peer, running, socketpair
from tests.certificates import contexts
from tests.tasks import SOON

from .support import (
    BINARY,
    CLOSE,
    HEAVY,
    PING,
    PONG,
    TEXT,
    WAIT,
    GuaranteeTestCase,
    connect,
    note,
    size,
    transports,
)

MB = 1_000_000
#: Small enough that a peer which does not read is soon stuck, large enough that a slow one moves.
BUFFER = 1 << 15


class Encounter:
    """What became of one connection that a server's thread echoed."""

    def __init__(self) -> None:
        self.ended = threading.Event()
        self.error: BaseException | None = None
        self.last_message_at = 0.0
        self.seconds = 0.0  # from the last message to the end


def echo_server(encounter: Encounter, *, tls: bool = False, small_buffer: bool = True, **options: Any) -> Server:
    """A server whose handler, one thread, receives and sends; encounter tells how it ended."""
    upgrader = Upgrader(read_limit=None, **options)

    def handler(request: Request) -> None:
        conn = upgrader.upgrade(request)
        if small_buffer:
            conn.socket.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, BUFFER)
        try:
            while True:
                message = conn.receive()
                encounter.last_message_at = time.monotonic()
                conn.send(message)
        except BaseException as error:
            encounter.error = error
            raise
        finally:
            encounter.seconds = time.monotonic() - encounter.last_message_at
            encounter.ended.set()

    return Server(handler, port=0, ssl_context=contexts()[0] if tls else None)


class EchoTestCase(GuaranteeTestCase):
    """The echo server: one thread that receives and sends."""

    def check_slow(self, count: int, rate: int, ping: float, *, tls: bool = False, small_buffer: bool = True) -> None:
        encounter = Encounter()
        options = {"ping_interval": ping, "ping_timeout": ping, "tls": tls, "small_buffer": small_buffer}
        payload = bytes(range(256)) * (count // 256)
        with running(echo_server(encounter, **options)) as server:
            peer = connect(server.address, tls=tls, buffer=BUFFER)
            with peer.socket:
                peer.send_frame(BINARY, payload)
                received = Received(peer)
                began = time.monotonic()
                frame = received.frame_at(rate)
                self.assertGreater(time.monotonic() - began, 3 * ping, "this was not slow enough to prove anything")
                self.assertEqual(len(frame), len(payload))
                self.assertEqual(frame, payload)
                self.assertFalse(encounter.ended.is_set(), repr(encounter.error))
                peer.send_frame(TEXT, "still there?")
                while (answer := peer.receive_frame()).opcode == PING:
                    pass
                self.assertEqual(answer.payload, b"still there?")


class SameThreadTests(EchoTestCase):
    def test_a_peer_that_never_reads_is_cut(self) -> None:
        """The thread that is stuck in its send is free after ping_interval + ping_timeout, with 1006."""
        for tls in (False, True):
            with self.subTest(tls=tls):
                self.check_cut(tls)

    def check_cut(self, tls: bool) -> None:
        encounter = Encounter()
        with running(echo_server(encounter, tls=tls, ping_interval=0.5, ping_timeout=0.5)) as server:
            peer = connect(server.address, tls=tls, buffer=BUFFER)
            with peer.socket:
                peer.send_frame(BINARY, bytes(4 * MB))
                self.wait(encounter.ended)
                note(f"a peer that never reads, at 0.5 + 0.5 s (tls={tls}): cut after {encounter.seconds:.2f} s")
                self.assert_between(0.8, encounter.seconds, 3.0)
                self.assertTrue(is_close_error(encounter.error, 1006), repr(encounter.error))
                # Whichever is first: the writer that is stuck, or whoever attends the connection meanwhile.
                self.assertRegex(str(encounter.error), "takes no data|no answer to a ping")
                self.assertTrue(await_(lambda: threads_named("syncws-") <= {"syncws-accept", "syncws-drain"}, WAIT))

    def test_a_peer_that_pings_but_never_reads_is_cut(self) -> None:
        """Pings of such a peer do not save it: nobody can read them while the only thread is stuck."""
        encounter = Encounter()
        with running(echo_server(encounter, ping_interval=0.5, ping_timeout=0.5)) as server:
            peer = connect(server.address, buffer=BUFFER)
            with peer.socket:
                peer.send_frame(BINARY, bytes(4 * MB))
                with contextlib.suppress(OSError):
                    while not encounter.ended.wait(0.1):
                        peer.send_frame(PING, b"I am here")
                self.wait(encounter.ended)
                self.assert_between(0.8, encounter.seconds, 3.0)

    def test_a_peer_that_stops_in_the_middle_is_cut(self) -> None:
        """Progress counts from the last byte taken, not from the beginning of the message."""
        encounter = Encounter()
        with running(echo_server(encounter, ping_interval=0.5, ping_timeout=0.5)) as server:
            peer = connect(server.address, buffer=BUFFER)
            with peer.socket:
                peer.send_frame(BINARY, bytes(4 * MB))
                took = read_slowly(peer.socket, MB, 600_000)
                self.wait(encounter.ended)
                self.assert_between(0.8, encounter.seconds - took, 3.0)

    def test_a_slow_peer_is_not_cut(self) -> None:
        """A large message that takes several times ping_interval + ping_timeout to read arrives whole."""
        for tls in (False, True):
            with self.subTest(tls=tls):
                self.check_slow(3 * MB, 600_000, 0.5, tls=tls)


class FullSizeTests(EchoTestCase):
    """The same at the size that was promised."""

    bound = 300.0

    @unittest.skipUnless(HEAVY == "full", "takes 107 s: `make test-all` runs it")
    def test_a_slow_peer_is_not_cut(self) -> None:
        """32 MB at 300 kB/s, with the system's own buffer at the server, and ping_interval = ping_timeout = 2 s."""
        self.check_slow(32 * MB, 300_000, 2.0, small_buffer=False)


class OtherThreadTests(GuaranteeTestCase):
    """One thread is stuck in sending 32 MB to a peer that never reads; others go on."""

    payload = bytes(32 * MB)

    @contextlib.contextmanager
    def stuck(self, tls: bool, **options: Any) -> Iterator[tuple[Conn, Conn, Any]]:
        """(conn, its peer's conn, the task that is stuck in conn.send)"""
        sockets = socketpair(1 << 16)
        with sockets[0], sockets[1]:
            server, client = transports(sockets, tls)
            chosen = ConnOptions(**{"read_limit": None, **options})
            conn = Conn(server, client=False, options=chosen)
            other = Conn(client, client=True, options=chosen)
            sending = self.in_thread(conn.send, self.payload)
            # Stuck: it holds the frame lock, and the socket takes no more.
            self.assertTrue(await_(lambda: server.pending and conn._wire.frame_lock.locked(), WAIT))
            try:
                yield conn, other, sending
            finally:
                conn.close_now()
                other.close_now()
                sending.ended()

    def test_reading_goes_on(self) -> None:
        """This side still reads that peer's messages, at once."""
        for tls in (False, True):
            with self.subTest(tls=tls), self.stuck(tls) as (conn, other, sending):
                delays = []
                for number in range(size(21, 101)):
                    began = time.monotonic()
                    other.send(f"message {number}")
                    self.assertEqual(conn.receive(timeout=WAIT), f"message {number}")
                    delays.append(time.monotonic() - began)
                median = statistics.median(delays)
                note(f"read while a send is stuck (tls={tls}): median {median * 1e6:.0f} us of {len(delays)}")
                self.assertLess(median, 0.1)
                self.assertTrue(sending.is_alive(), "the sender was not stuck")

    def test_pings_do_not_stop_the_reader(self) -> None:
        """A ping that cannot be answered now delays no message after it."""
        with self.stuck(False) as (conn, other, sending):
            delays = []
            for number in range(21):
                began = time.monotonic()
                other.ping(b"now")
                other.send(str(number))
                self.assertEqual(conn.receive(timeout=WAIT), str(number))
                delays.append(time.monotonic() - began)
            self.assertLess(statistics.median(delays), 0.1)
            self.assertTrue(sending.is_alive())

    def test_nobody_else_waits(self) -> None:
        """ping() and send_nowait() return at once, and a write with a timeout ends at it."""
        with self.stuck(False) as (conn, _, sending):
            delays = []
            for _ in range(21):
                began = time.monotonic()
                conn.ping()
                self.assertTrue(conn.send_nowait("queued"))
                delays.append(time.monotonic() - began)
            self.assertLess(statistics.median(delays), 0.1)
            began = time.monotonic()
            with self.assertRaises(TimeoutError):
                conn.send("waits", timeout=0.2)
            self.assert_between(0.15, time.monotonic() - began, 1.5)
            self.assertTrue(sending.is_alive())

    def test_close_wakes_everybody(self) -> None:
        """close(timeout=1) returns within 1.5 s; the reader and the writer wake and raise the connection's end."""
        for tls in (False, True):
            with self.subTest(tls=tls), self.stuck(tls, ping_interval=None) as (conn, _, sending):
                reading = self.in_thread(conn.receive)
                self.wait(reading.started)
                self.assertTrue(await_(conn._inbound.turn.locked, WAIT))
                began = time.monotonic()
                conn.close(timeout=1)
                took = time.monotonic() - began
                note(f"close(timeout=1) while a send is stuck (tls={tls}): {took:.2f} s")
                self.assertLess(took, 1.5)
                self.assertIsInstance(reading.ended(), ConnectionClosed)
                self.assertIsInstance(sending.ended(), ConnectionClosed)
                self.assertTrue(conn.closed)

    def test_close_without_a_reader(self) -> None:
        """While nobody reads, the thread that closes reads, and still ends on time."""
        with self.stuck(False, ping_interval=None) as (conn, _, sending):
            began = time.monotonic()
            conn.close(timeout=1)
            self.assertLess(time.monotonic() - began, 1.5)
            self.assertIsInstance(sending.ended(), ConnectionClosed)

    def test_close_now(self) -> None:
        """close_now() wakes the reader and the writer at once."""
        for tls in (False, True):
            with self.subTest(tls=tls), self.stuck(tls, ping_interval=None) as (conn, _, sending):
                reading = self.in_thread(conn.receive)
                self.assertTrue(await_(conn._inbound.turn.locked, WAIT))
                began = time.monotonic()
                conn.close_now()
                self.assertIsInstance(reading.ended(), CloseError)
                self.assertIsInstance(sending.ended(), CloseError)
                self.assertLess(time.monotonic() - began, 0.5)

    def test_the_writer_is_set_free_by_itself(self) -> None:
        """Nobody closes: the stuck write fails after ping_interval + ping_timeout and wakes the reader."""
        with self.stuck(False, ping_interval=0.5, ping_timeout=0.5) as (conn, _, sending):
            reading = self.in_thread(conn.receive)
            self.assertTrue(is_close_error(sending.ended(), 1006))
            self.assertTrue(is_close_error(reading.ended(), 1006))
            self.assert_between(0.8, sending.seconds, 3.0)

    def test_a_slow_peer_is_not_cut_by_the_reader(self) -> None:
        """A pong after a large message comes late; the peer is alive as long as it takes the message."""
        sockets = socketpair(BUFFER)
        with sockets[0], sockets[1]:
            server, _ = transports(sockets, False)
            conn = Conn(server, client=False, options=ConnOptions(ping_interval=0.5, ping_timeout=0.5))
            self.addCleanup(conn.close_now)
            peer = Peer(sockets[1], masked=True)
            reading = self.in_thread(conn.receive)
            sending = self.in_thread(conn.send, bytes(3 * MB))
            self.assertEqual(len(Received(peer).frame_at(600_000)), 3 * MB)
            sending.result()
            peer.send_frame(TEXT, "done")
            self.assertEqual(reading.result(), "done")
            conn.close_now()


class PostsTests(GuaranteeTestCase):
    """Nobody waits for posts to a peer that never reads; the drain thread looks after them."""

    def test_the_peer_resets_in_the_middle_of_a_frame(self) -> None:
        """The drain thread drops the rest of a frame, instead of trying it for ever, and ends."""
        with peer(buffer=BUFFER, ping_interval=None) as (conn, other):
            self.assertTrue(conn.send_nowait(bytes(4 * MB)))
            self.assertTrue(conn.transport.pending)
            self.assertIn("syncws-drain", threads_named("syncws-"))
            # Closing with no time to linger sends a reset.
            other.socket.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
            other.socket.close()
            self.assertTrue(await_(lambda: "syncws-drain" not in threads_named("syncws-"), WAIT), "it is still trying")
            with self.assertRaises(ConnectionClosed):
                conn.send_nowait("another")

    def test_posts_to_others_go_on(self) -> None:
        """With nine of ten members stuck, a post to each does not wait, and the tenth gets everything."""
        with contextlib.ExitStack() as stack:
            pairs = [stack.enter_context(peer(buffer=BUFFER, overflow="drop_newest")) for _ in range(10)]
            payload = bytes(50_000)
            delays = []
            for _ in range(100):
                for conn, other in pairs:
                    began = time.monotonic()
                    conn.send_nowait(payload)
                    delays.append(time.monotonic() - began)
                    if other is pairs[-1][1]:
                        self.assertEqual(len(other.receive_frame().payload), len(payload))
            self.assertLess(statistics.quantiles(delays, n=100)[-1], 0.1)
            self.assertLess(max(delays), SOON)  # a machine under load may stop for a moment, once
            self.assertTrue(all(conn.dropped for conn, _ in pairs[:-1]))
            self.assertEqual(pairs[-1][0].dropped, 0)


class ShutdownTests(GuaranteeTestCase):
    """Many peers that never read, each with a thread stuck in a send of 32 MB and another that reads."""

    def test_shutdown(self) -> None:
        """Server.shutdown(timeout=2) returns within 3 s, with nothing left running."""
        for tls, count in ((False, 100), (True, size(20, 100))):
            with self.subTest(tls=tls, count=count):
                self.check_shutdown(count, tls)

    def check_shutdown(self, count: int, tls: bool) -> None:
        payload = OtherThreadTests.payload
        upgrader = Upgrader()
        conns: list[Conn] = []

        def handler(request: Request) -> None:
            conn = upgrader.upgrade(request)
            conn.socket.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, BUFFER)
            conns.append(conn)
            sender = threading.Thread(target=self.send_until_cut, args=(conn, payload), name="test-sender")
            sender.start()
            try:
                for _ in conn:
                    pass
            finally:
                sender.join(WAIT)

        server = Server(handler, port=0, ssl_context=contexts()[0] if tls else None)
        with running(server), contextlib.ExitStack() as stack:
            for _ in range(count):
                stack.enter_context(connect(server.address, tls=tls, buffer=BUFFER).socket)
            self.assertTrue(await_(lambda: len(conns) == count, WAIT))
            self.assertTrue(await_(lambda: all(conn.transport.pending for conn in conns), WAIT))
            began = time.monotonic()
            self.assertEqual(server.shutdown(timeout=2), 0)
            took = time.monotonic() - began
            note(f"shutdown(timeout=2) with {count} stuck peers (tls={tls}): {took:.2f} s")
            self.assertLess(took, 3.0)

    def send_until_cut(self, conn: Conn, payload: bytes) -> None:
        with contextlib.suppress(ConnectionClosed):
            conn.send(payload)


def read_slowly(sock: socket.socket, count: int, rate: int) -> float:
    """Take count bytes at that many per second; the seconds that it took. Only slowness itself needs a sleep."""
    began = time.monotonic()
    taken = 0
    while taken < count:
        taken += len(sock.recv(8192))
        ahead = taken / rate - (time.monotonic() - began)
        if ahead > 0:
            time.sleep(ahead)
    return time.monotonic() - began


class Received:
    """Takes one message from a peer's socket at a limited rate; answers pings on the way, as any client would."""

    def __init__(self, peer: Peer) -> None:
        self._peer = peer
        self._buffer = bytearray()
        self._taken = 0
        self._began = time.monotonic()

    def frame_at(self, rate: int) -> bytes:
        """The payload of the next data frame, taken at that many bytes per second."""
        while True:
            first, second = self._exactly(2, rate)
            length = second & 0x7F
            if length > 125:
                length = int.from_bytes(self._exactly(2 if length == 126 else 8, rate))
            payload = self._exactly(length, rate)
            if first & 0x0F == PING:
                self._peer.send_frame(PONG, payload)
            elif first & 0x0F == CLOSE:
                raise AssertionError(f"the connection was closed: {payload!r}")
            else:
                return payload

    def _exactly(self, count: int, rate: int) -> bytes:
        while len(self._buffer) < count:
            data = self._peer.socket.recv(min(8192, count - len(self._buffer)))
            if not data:
                raise AssertionError(f"the connection ended after {self._taken} bytes")
            self._buffer += data
            self._taken += len(data)
            ahead = self._taken / rate - (time.monotonic() - self._began)
            if ahead > 0:
                time.sleep(ahead)
        taken = bytes(self._buffer[:count])
        del self._buffer[:count]
        return taken


def threads_named(prefix: str) -> set[str]:
    return {thread.name for thread in threading.enumerate() if thread.name.startswith(prefix)}
