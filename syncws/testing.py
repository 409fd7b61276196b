"""Tools for tests of programs that use syncws, and of syncws itself. No network but loopback, no mocks of sockets
where a real one will do.

* `pair()`: two connections, server and client, over a socketpair.
* `peer()`: one connection, and a `Peer` that speaks raw frames to it, good and bad ones, cut anywhere.
* `ScriptedSocket`: a socket that follows a script and counts the system calls it stands for.
* `running()`: a server in a thread, ended with the block.
* `connect()`: a client's connection to a WebSocket view of a WSGI application, without a server or a port.
* `LeakChecks`: a TestCase mixin that fails a test which leaves threads, sockets or warnings behind.
"""

from __future__ import annotations

import contextlib
import gc
import os
import socket
import sys
import threading
import time
import unittest
from collections.abc import Callable, Iterator
from dataclasses import replace
from typing import Any, NamedTuple, Unpack

from ._base.options import ConnKeywords, ConnOptions
from ._client.dialer import Dialer, DialerKeywords
from ._conn.conn import Conn
from ._frames.deflate import Agreement
from ._frames.masking import mask
from ._http.headers import Headers, HeaderSource
from ._http.http11 import HTTPConnection
from ._http.httpclient import ReceivedResponse
from ._http.request import Request
from ._net import drain
from ._net.transport import Transport
from ._server.gateway import Application, Gateway
from ._server.server import Server
from .errors import MessageType

#: An agreement on permessage-deflate for both sides of a pair.
DEFLATE = Agreement(outbound_bits=15, header="")

#: What the client of a pair has for the answer to its handshake.
_SWITCHED = ReceivedResponse(101, "Switching Protocols", Headers())


@contextlib.contextmanager
def pair(
    *,
    compression: bool = False,
    buffer: int | None = None,
    server: ConnKeywords | None = None,
    client: ConnKeywords | None = None,
    request: Request | None = None,
    **options: Unpack[ConnKeywords],
) -> Iterator[tuple[Conn, Conn]]:
    """(server, client): two connections that talk to each other; cut at the end of the block.

    options are those of `ConnOptions`, for both sides; server and client hold those of one side. buffer makes the
    sockets' own buffers that many bytes, so that a peer which does not read is soon stuck. request is what a handler
    finds in ``conn.request``, by default ``Request("GET", "/")``.
    """
    of_server = replace(ConnOptions(**options), **(server or {}))
    of_client = replace(ConnOptions(**options), **(client or {}))
    agreement = DEFLATE if compression else None
    ours, theirs = map(Transport, socketpair(buffer))
    near = Conn(ours, client=False, options=of_server, agreement=agreement, request=request or Request("GET", "/"))
    far = Conn(theirs, client=True, options=of_client, agreement=agreement, response=_SWITCHED)
    try:
        yield near, far
    finally:
        near.close_now()
        far.close_now()


@contextlib.contextmanager
def peer(
    *, client: bool = False, compression: bool = False, buffer: int | None = None, **options: Unpack[ConnKeywords]
) -> Iterator[tuple[Conn, Peer]]:
    """(conn, peer): a connection (a client's, if client is set) and its raw opposite; both closed at the end."""
    own = ConnOptions(**options)
    agreement = DEFLATE if compression else None
    ours, theirs = socketpair(buffer)
    conn = Conn(Transport(ours), client=client, options=own, agreement=agreement)
    with theirs:
        try:
            yield conn, Peer(theirs, masked=not client)
        finally:
            conn.close_now()


def socketpair(buffer: int | None = None) -> tuple[socket.socket, socket.socket]:
    """Two connected TCP sockets of the loopback interface, with buffers of about that many bytes."""
    with socket.create_server(("127.0.0.1", 0)) as listener:
        if buffer is not None:
            listener.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, buffer)
            listener.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, buffer)
        near = socket.socket(listener.family)
        try:
            if buffer is not None:  # before connecting: the window is agreed on then
                near.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, buffer)
                near.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, buffer)
            near.connect(listener.getsockname())
            far, _ = listener.accept()
        except BaseException:
            near.close()
            raise
    return far, near


class Frame(NamedTuple):
    """A frame as it was on the wire, unmasked."""

    opcode: int
    payload: bytes
    fin: bool = True
    rsv1: bool = False


class Peer:
    """The raw other end of a connection: sends bytes and frames as told, and reads frames as they are.

    Concurrency: for one thread.
    """

    def __init__(self, sock: socket.socket, *, masked: bool) -> None:
        self.socket = sock
        self.masked = masked  # whether this end is a client, whose frames are masked
        self._buffer = b""
        sock.settimeout(10)  # a test that waits for what never comes fails instead of hanging

    def send(self, data: bytes, *, cut: int | None = None) -> None:
        """Send bytes; with cut, in pieces of that many."""
        for start in range(0, len(data), cut or len(data) or 1):
            self.socket.sendall(data[start : start + (cut or len(data))])

    def send_frame(
        self,
        opcode: int,
        payload: bytes | str = b"",
        *,
        fin: bool = True,
        rsv1: bool = False,
        masked: bool | None = None,
        cut: int | None = None,
    ) -> None:
        """Send one frame, valid or not."""
        self.send(self.frame(opcode, payload, fin=fin, rsv1=rsv1, masked=masked), cut=cut)

    def frame(
        self,
        opcode: int,
        payload: bytes | str = b"",
        *,
        fin: bool = True,
        rsv1: bool = False,
        masked: bool | None = None,
        length: int | None = None,
    ) -> bytes:
        """The bytes of one frame; length declares another than that of the payload."""
        data = payload.encode() if isinstance(payload, str) else payload
        size = len(data) if length is None else length
        second = 0x80 if (self.masked if masked is None else masked) else 0
        head = bytes([(0x80 if fin else 0) | (0x40 if rsv1 else 0) | opcode])
        if size < 126:
            head += bytes([second | size])
        elif size < 1 << 16:
            head += bytes([second | 126]) + size.to_bytes(2)
        else:
            head += bytes([second | 127]) + size.to_bytes(8)
        if second:
            key = os.urandom(4)
            return head + key + mask(data, key)
        return head + data

    def close(self, code: int | None = 1000, reason: str = "") -> None:
        """Send a close frame."""
        payload = b"" if code is None else code.to_bytes(2) + reason.encode()
        self.send_frame(MessageType.CLOSE, payload)

    def receive_frame(self) -> Frame:
        """The next frame. Raises EOFError at the end of the stream, TimeoutError after ten seconds."""
        first, second = self._exactly(2)
        size = second & 0x7F
        if size > 125:
            size = int.from_bytes(self._exactly(2 if size == 126 else 8))
        key = self._exactly(4) if second & 0x80 else None
        payload = self._exactly(size)
        data = payload if key is None else mask(payload, key)
        return Frame(first & 0x0F, data, bool(first & 0x80), bool(first & 0x40))

    def receive_close(self) -> tuple[int | None, str]:
        """(code, reason) of the next frame, which must be a close; code None for an empty one."""
        frame = self.receive_frame()
        if frame.opcode != MessageType.CLOSE:
            raise AssertionError(f"expected a close frame, got {frame}")
        return int.from_bytes(frame.payload[:2]) if frame.payload else None, frame.payload[2:].decode()

    def at_end(self) -> bool:
        """Whether the connection ends here: waits for the next byte, and there is none."""
        try:
            return not self._buffer and self.socket.recv(1) == b""
        except ConnectionResetError:
            return True

    def _exactly(self, count: int) -> bytes:
        pieces = [self._buffer]
        missing = count - len(self._buffer)
        try:
            while missing > 0:
                data = self.socket.recv(max(1 << 16, missing))
                if not data:
                    raise EOFError("the connection ended")
                pieces.append(data)
                missing -= len(data)
        finally:
            self._buffer = b"".join(pieces)
        taken, self._buffer = self._buffer[:count], self._buffer[count:]
        return taken


class ScriptedSocket:
    """A socket for `Transport` that follows a script and counts calls, each of which would be a system call.

    incoming is a list of what each recv gives: bytes, or an exception to raise; at its end recv gives b"". room is how
    many bytes each send takes: a list of numbers and exceptions; at its end send takes everything. A BlockingIOError
    stands for "nothing came in time" and "no room"; whoever waits for the socket finds it ready at once.

    Concurrency: as of `Transport`: for one thread that receives and one that sends.
    """

    family = socket.AF_INET

    def __init__(self, incoming: list[bytes | BaseException] | None = None, room: list[Any] | None = None) -> None:
        self.incoming = list(incoming or [])
        self.room = list(room or [])
        self.sent = bytearray()
        self.calls: list[str] = []
        self._ready: tuple[socket.socket, ...] = ()  # a real pair that is always ready, for who waits

    def recv(self, size: int) -> bytes:
        self.calls.append("recv")
        if not self.incoming:
            return b""
        item = self.incoming.pop(0)
        if isinstance(item, BaseException):
            raise item
        if len(item) > size:
            self.incoming.insert(0, item[size:])
        return item[:size]

    def recv_into(self, view: memoryview) -> int:
        data = self.recv(len(view))
        self.calls[-1] = "recv_into"
        view[: len(data)] = data
        return len(data)

    def send(self, data: bytes | memoryview, flags: int = 0) -> int:
        self.calls.append("send")
        return self._take(bytes(data))

    def sendmsg(self, buffers: Any, ancillary: Any = (), flags: int = 0) -> int:
        self.calls.append("sendmsg")
        return self._take(b"".join(buffers))

    def _take(self, data: bytes) -> int:
        room = self.room.pop(0) if self.room else len(data)
        if isinstance(room, BaseException):
            raise room
        taken = data[:room]
        self.sent += taken
        return len(taken)

    def count(self, *names: str) -> int:
        """How many calls there were of these names."""
        return sum(call in names for call in self.calls)

    def setsockopt(self, *arguments: Any) -> None:
        self.calls.append("setsockopt")

    def setblocking(self, blocking: bool) -> None:
        self.calls.append("setblocking")

    def gettimeout(self) -> float | None:
        return 0.0

    def getsockname(self) -> tuple[str, int]:
        return "127.0.0.1", 1

    def getpeername(self) -> tuple[str, int]:
        return "127.0.0.1", 2

    def fileno(self) -> int:
        if not self._ready and "close" not in self.calls:
            self._ready = socket.socketpair()
            self._ready[1].send(b"\0")
        return self._ready[0].fileno() if self._ready else -1

    def shutdown(self, how: int) -> None:
        self.calls.append("shutdown")

    def close(self) -> None:
        self.calls.append("close")
        for sock in self._ready:
            sock.close()
        self._ready = ()


@contextlib.contextmanager
def running(server: Server, *, timeout: float = 10) -> Iterator[Server]:
    """Serve from a thread for the length of the block, then shut down; fails if a handler is still running then."""
    server.start()
    try:
        yield server
    finally:
        left = server.shutdown(timeout)
        if left and sys.exc_info()[0] is None:
            raise AssertionError(f"{left} connections were still served after {timeout:g} s")


@contextlib.contextmanager
def connect(
    app: Application,
    path: str = "/",
    *,
    headers: HeaderSource | None = None,
    **dialer_options: Unpack[DialerKeywords],
) -> Iterator[Conn]:
    """A client's connection to a WebSocket view of a WSGI application; closed at the end of the block.

    The application is hosted as ``Server(wsgi_app=app)`` hosts it, in a thread, for this one request, over a
    socketpair: no port is used. The client is at 127.0.0.1 and asks for ``http://localhost``.

    Args:
        path: with its query string, if there is one.
        headers: further ones for the request, such as Cookie, or Origin.
        dialer_options: see Dialer. Its handshake_timeout is 10 seconds; it has no proxy.

    Raises:
        BadHandshakeError: the application refused; ``response`` is its answer.
        AssertionError: the handler is still running ten seconds after the connection was closed.
        ValueError, TypeError: an argument is wrong.
    """
    if not path.startswith("/"):
        raise ValueError(f'a path begins with a slash, such as "/echo", and {path!r} does not')
    options: DialerKeywords = {"handshake_timeout": 10.0, **dialer_options}
    dialer = Dialer(net_dial=lambda *_: theirs, proxy=None, **options)  # type: ignore[misc]  # else it is a TypeError
    gateway = Gateway(app, max_body_size=None, body_timeout=10)
    theirs, ours = socket.socketpair()
    thread = threading.Thread(target=_host_one, args=(gateway, ours), name="syncws-testing", daemon=True)
    with theirs:
        try:
            thread.start()
        except BaseException:
            ours.close()
            raise
        try:
            with dialer.dial(f"ws://localhost{path}", headers) as conn:
                yield conn
        finally:
            theirs.close()  # if it was not dialed
            thread.join(10)
            if thread.is_alive() and sys.exc_info()[0] is None:
                raise AssertionError(f"the handler of {path} is still running 10 s after its connection was closed")


def _host_one(gateway: Gateway, sock: socket.socket) -> None:
    """Host one request, and what becomes of it, and close the connection."""
    transport = Transport(sock)
    # As of a connection over TCP: applications look at it, and may not expect "".
    transport.local_address, transport.remote_address = ("127.0.0.1", 80), ("127.0.0.1", 49152)
    http = HTTPConnection(transport)
    conns: list[Conn] = []
    try:
        request = http.read_request(time.monotonic() + 10)
        if request is not None:
            request.on_upgrade = conns.append
            gateway.serve(http, request, f"connect {request.path}")
    except OSError:  # the client is gone; it says why
        pass
    finally:
        for conn in conns:
            conn.close_now()
        transport.close()


class LeakChecks(unittest.TestCase):
    """Fails a test that leaves a thread, a socket or another descriptor, or an unraisable exception behind.

    Everything a test starts must be gone when its cleanups have run, but for threads that end by themselves within
    grace seconds.
    """

    grace = 5.0
    _has_frozen = False

    def setUp(self) -> None:
        super().setUp()
        # The drain thread ends by itself, but no test is to wait a second for it.
        self.addCleanup(setattr, drain, "IDLE", drain.IDLE)
        drain.IDLE = 0.02
        self._threads_before = set(threading.enumerate())
        gc.collect()
        if not LeakChecks._has_frozen:
            LeakChecks._has_frozen = True
            gc.freeze()  # what is there before the first test, which each later collection would look at again
        self._fds_before = _open_fds()
        self._unraised: list[str] = []
        previous, sys.unraisablehook = sys.unraisablehook, self._note_unraisable
        thread_hook, threading.excepthook = threading.excepthook, self._note_thread
        self.addCleanup(setattr, threading, "excepthook", thread_hook)
        self.addCleanup(setattr, sys, "unraisablehook", previous)
        # Registered before and so run after every cleanup of the test itself, while the hooks are still in place.
        self.addCleanup(self._check_nothing_left)

    def _note_unraisable(self, unraisable: Any) -> None:
        self._unraised.append(f"{unraisable.exc_value!r} in {unraisable.object!r}")

    def _note_thread(self, arguments: Any) -> None:
        if arguments.exc_type is SystemExit:  # which ends a thread without a word, as it does without this hook
            return
        self._unraised.append(f"{arguments.exc_value!r} in {arguments.thread!r}")

    def _check_nothing_left(self) -> None:
        gc.collect()
        self.assertEqual(self._unraised, [], "exceptions nobody saw")
        await_(lambda: not self._left_threads(), self.grace)
        self.assertEqual(self._left_threads(), [], "threads left behind")
        await_(lambda: not (_open_fds() - self._fds_before), self.grace)
        self.assertEqual(_open_fds() - self._fds_before, set(), "descriptors left behind")

    def _left_threads(self) -> list[threading.Thread]:
        return [thread for thread in threading.enumerate() if thread not in self._threads_before]


def await_(condition: Callable[[], bool], seconds: float = 10.0) -> bool:
    """Wait until a condition holds, at most that long; whether it does. For what has no event to wait on."""
    deadline = time.monotonic() + seconds
    while not condition():
        if time.monotonic() > deadline:
            return False
        time.sleep(0.005)
    return True


def _open_fds() -> set[tuple[str, str]]:
    """Descriptors of this process and what they are open on; empty where the system does not tell."""
    found: set[tuple[str, str]] = set()
    try:
        names = os.listdir("/proc/self/fd")
    except OSError:
        return found
    for name in names:
        with contextlib.suppress(OSError):  # the listing's own descriptor is gone by now
            found.add((name, os.readlink(f"/proc/self/fd/{name}")))
    return found
