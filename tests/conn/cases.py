"""What the tests of `Conn` share: a connection in either role, calls in threads, and a clock that can be moved."""

from __future__ import annotations

import threading
import time
import zlib
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from typing import Any
from unittest import mock

from syncws import BINARY, CLOSE, PONG, ProtocolError, breaches
from syncws._conn.conn import Conn
from syncws._net.transport import Transport
from syncws.testing import LeakChecks, Peer, ScriptedSocket, await_, pair, peer
from tests.tasks import Task


class ConnCase(LeakChecks):
    """Tests of a connection in one role; `client` says which. The peer always has the other one.

    A topic is two classes: `ServerX` holds its tests, and `ClientX` is the same for a client.
    """

    client = False

    def peer(self, **options: Any) -> tuple[Conn, Peer]:
        """A connection and its raw other end, for the length of the test."""
        return self.enterContext(peer(client=self.client, **options))

    def pair(self, **options: Any) -> tuple[Conn, Conn]:
        """Two connections that talk to each other; the first has the role under test."""
        server, client = self.enterContext(pair(**options))
        return (client, server) if self.client else (server, client)

    def start(self, call: Callable[..., Any], *args: Any, **kwargs: Any) -> Task:
        """Run a call in a thread."""
        return Task(call, *args, **kwargs)

    def start_reading(self, conn: Conn, call: Callable[..., Any] | None = None) -> Task:
        """Run a read in a thread, and return once it has the turn."""
        task = Task(call or conn.read_message)
        self.assertTrue(await_(conn._inbound.turn.locked), "the read has not begun")
        return task

    def start_stuck_write(self, conn: Conn, size: int = 16 << 20) -> Task:
        """Write more than the sockets take to a peer that does not read, and return once that is stuck."""
        task = Task(conn.write_message, 2, bytes(size))
        self.assertTrue(await_(lambda: conn._transport.pending), "the write has not begun")
        return task

    @contextmanager
    def busy_wire(self, conn: Conn) -> Iterator[None]:
        """Hold the frame lock for the length of the block, as if another thread's frame were under way."""
        conn._wire.frame_lock.acquire()
        try:
            yield
        finally:
            conn._wire.frame_lock.release()
            conn._wire.flush_soon()

    def assert_ends(self, call: Callable[[], Any], code: int, kind: type[Exception]) -> Any:
        """Check that the call raises a stored end of exactly that kind and code; returns the end."""
        with self.assertRaises(kind) as caught:
            call()
        self.assertIs(type(caught.exception), kind)
        self.assertEqual(caught.exception.code, code)  # type: ignore[attr-defined]
        return caught.exception

    def assert_breach(self, option: str, peer: Peer, call: Callable[[], Any]) -> ProtocolError:
        """Check that the call ends with 1008, that the peer is told so and why, and that it is counted once."""
        before = breaches().get(option, 0)
        end: ProtocolError = self.assert_ends(call, 1008, ProtocolError)
        while (frame := peer.receive_frame()).opcode != CLOSE:
            self.assertEqual(frame.opcode, PONG)
        self.assertEqual(frame.payload, (1008).to_bytes(2) + end.reason.encode())
        self.assertEqual(breaches()[option], before + 1)
        return end

    def assert_released(self, conn: Conn) -> None:
        """Check that the descriptor is closed as soon as no thread is inside."""
        self.assertTrue(await_(lambda: conn.socket.fileno() == -1), "the descriptor was not given back")


class ScriptedCase(ConnCase):
    """Tests of a connection over a socket that gives what it is told to, in the pieces that it is told."""

    def _scripted(self, *incoming: bytes | BaseException) -> tuple[Conn, ScriptedSocket]:
        sock = ScriptedSocket(incoming=list(incoming))
        conn = Conn(Transport(sock), client=self.client)  # type: ignore[arg-type]
        self.addCleanup(conn.close_now)
        return conn, sock

    def _frame(self, payload: bytes) -> bytes:
        return self._fragment(BINARY, payload)

    def _fragment(self, opcode: int, payload: bytes, *, fin: bool = True) -> bytes:
        return Peer(mock.Mock(), masked=not self.client).frame(opcode, payload, fin=fin)


class HookedLock:
    """A lock that calls a hook once, just before it is released."""

    def __init__(self, before_release: Callable[[], object]) -> None:
        self._lock = threading.Lock()
        self._before_release: Callable[[], object] | None = before_release
        self.acquire = self._lock.acquire
        self.locked = self._lock.locked

    def release(self) -> None:
        call, self._before_release = self._before_release, None
        if call is not None:
            call()
        self._lock.release()


class Clock:
    """time.monotonic of the module under test, which the test can advance. If it stands, only the test advances it."""

    def __init__(self, *, stands: bool = False) -> None:
        self._ahead = 0.0
        self._stands_at = time.monotonic() if stands else None

    def monotonic(self) -> float:
        return (self._stands_at or time.monotonic()) + self._ahead

    def advance(self, seconds: float) -> None:
        """Advance the clock."""
        self._ahead += seconds


@contextmanager
def moved_clock(*, stands: bool = False) -> Iterator[Clock]:
    """Give the connection a clock that can be moved, for the length of the block; one that stands if told so."""
    clock = Clock(stands=stands)
    with ExitStack() as patches:
        for module in ("conn", "inbound", "intake", "controls", "closing"):
            patches.enter_context(mock.patch(f"syncws._conn.{module}.time", clock))
        yield clock


def held_by(conn: Conn) -> int:
    """How many bytes count for a connection."""
    holding = conn._inbound._holding
    return 0 if holding is None else holding.size


def deflate(data: bytes, level: int = 9) -> bytes:
    """The payload of a compressed message (RFC 7692 section 7.2.1)."""
    compressor = zlib.compressobj(level, zlib.DEFLATED, -15)
    return (compressor.compress(data) + compressor.flush(zlib.Z_SYNC_FLUSH))[:-4]


def inflate(data: bytes) -> bytes:
    """The message of a compressed payload."""
    return zlib.decompressobj(-15).decompress(data + b"\0\0\xff\xff")


def elapsed(call: Callable[[], Any]) -> float:
    """Seconds a call takes."""
    began = time.monotonic()
    call()
    return time.monotonic() - began
