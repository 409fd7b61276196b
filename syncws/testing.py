"""Tools for tests of programs that use syncws, and of syncws itself. They use the loopback interface only, and a mock
of a socket only where a real one will not do.

* `pair()`: two connections, server and client, over a socketpair.
* `peer()`: one connection, and a `Peer` that speaks raw frames to it, good and bad ones, cut anywhere.
* `ScriptedSocket`: a socket that follows a script and counts the system calls that it stands for.
* `running()`: a server in a thread, which is shut down at the end of the block.
* `connect()`: a client's connection to a WebSocket view of a WSGI application, without a server or a port.
* `MemoryBackplane` on a `MemoryBus`: managers joined in one process, with levers for what goes wrong on a bus.
* `BackplaneCases`: the tests that a backplane of your own has to pass.
* `LeakChecks`: a TestCase to inherit from, which fails a test which leaves threads, descriptors or unseen exceptions.
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

from ._base.advice import advisor
from ._base.callables import check_callable, check_done
from ._base.options import ConnKeywords, ConnOptions
from ._base.printable import printable
from ._bus.cases.archives import ArchiveCases
from ._bus.cases.breaks import BreakCases
from ._bus.cases.delivery import DeliveryCases
from ._bus.cases.lives import LifeCases
from ._bus.cases.outlets import OutletCases
from ._bus.memory import MemoryBackplane, MemoryBus
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

__all__ = [
    "DEFLATE",
    "BackplaneCases",
    "Frame",
    "LeakChecks",
    "MemoryBackplane",
    "MemoryBus",
    "Peer",
    "ScriptedSocket",
    "await_",
    "connect",
    "pair",
    "peer",
    "running",
    "socketpair",
]

#: An agreement on permessage-deflate for both sides of a pair.
DEFLATE = Agreement(outbound_bits=15, header="")

#: The answer that the client of a pair has in conn.response: there was no handshake.
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
    """(server, client): two connections that talk to each other; both are cut at the end of the block.

    Args:
        compression: whether both agreed on permessage-deflate (RFC 7692).
        buffer: bytes of the sockets' own buffers, about; a small number makes a peer that does not read stuck soon.
            None: as the system has them.
        server, client: options of `ConnOptions` for one side.
        request: ``conn.request`` of the server's side, by default ``Request("GET", "/")``.
        options: those of `ConnOptions`, for both sides.

    Raises:
        ValueError, TypeError: an option is invalid.
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
    """(conn, peer): a connection and its raw other end; both are closed at the end of the block.

    client says whether conn is the client's; everything else is as for `pair`.
    """
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
    """Two connected TCP sockets of the loopback interface, with buffers of about that many bytes. Raises OSError."""
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
    """A frame as it was on the wire, with its payload unmasked (RFC 6455 section 5.2)."""

    opcode: int
    payload: bytes
    fin: bool = True
    rsv1: bool = False


class Peer:
    """The raw other end of a connection: sends bytes and frames as told, and reads frames as they are.

    Every call raises TimeoutError if it has to wait for ten seconds, and OSError if the connection broke.

    * ``socket``: its end of the connection, for what the methods do not do;
    * ``masked``: whether it is a client, whose frames are masked.

    Concurrency: for one thread.
    """

    def __init__(self, sock: socket.socket, *, masked: bool) -> None:
        self.socket = sock
        self.masked = masked
        self._buffer = b""
        sock.settimeout(10)  # a test that waits for what never comes fails instead of hanging

    def send(self, data: bytes, *, cut: int | None = None) -> None:
        """Send bytes; with cut, in pieces of that many bytes."""
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
        """Send one frame, valid or not: see `frame`. With cut it is sent in pieces of that many bytes."""
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
        """The bytes of one frame, valid or not.

        A str is encoded as UTF-8. masked overrides this peer's own ``masked``. length is what the header declares, by
        default the payload's length in bytes.
        """
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
        """Send a close frame, whatever the code is; None makes an empty one."""
        payload = b"" if code is None else code.to_bytes(2) + reason.encode()
        self.send_frame(MessageType.CLOSE, payload)

    def receive_frame(self) -> Frame:
        """The next frame. Raises EOFError if the connection ends before the frame does."""
        first, second = self._exactly(2)
        size = second & 0x7F
        if size > 125:
            size = int.from_bytes(self._exactly(2 if size == 126 else 8))
        key = self._exactly(4) if second & 0x80 else None
        payload = self._exactly(size)
        data = payload if key is None else mask(payload, key)
        return Frame(first & 0x0F, data, bool(first & 0x80), bool(first & 0x40))

    def receive_close(self) -> tuple[int | None, str]:
        """(code, reason) of the next frame; (None, "") if it is empty. Raises AssertionError if it is no close."""
        frame = self.receive_frame()
        if frame.opcode != MessageType.CLOSE:
            raise AssertionError(f"expected a close frame, got {frame}")
        return int.from_bytes(frame.payload[:2]) if frame.payload else None, frame.payload[2:].decode()

    def at_end(self) -> bool:
        """Whether the connection ends here: waits until a byte comes, or the end of the stream, or a reset."""
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

    Args:
        incoming: what each recv returns: bytes, or an exception to raise. After the last one recv returns b"".
        room: how many bytes each send takes, or an exception to raise. After the last one send takes everything.

    A BlockingIOError in them stands for "nothing came in time" and "no room". select and poll find the socket ready at
    once. ``sent`` holds all that was sent, ``calls`` the name of every call.

    Concurrency: like a `Transport`: one thread receives and one sends.
    """

    family = socket.AF_INET

    def __init__(self, incoming: list[bytes | BaseException] | None = None, room: list[Any] | None = None) -> None:
        self.incoming = list(incoming or [])
        self.room = list(room or [])
        self.sent = bytearray()
        self.calls: list[str] = []
        self._ready: tuple[socket.socket, ...] = ()  # a real pair, always ready, for select and poll

    def recv(self, size: int, flags: int = 0) -> bytes:
        if flags & getattr(socket, "MSG_DONTWAIT", 0):  # attendance, which is no part of a script
            raise BlockingIOError("nothing has come")
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
        """How many calls had one of these names, such as "recv", "send"."""
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
    """Serve from a thread for the length of the block, then shut the server down.

    Args:
        timeout: seconds that handlers have to end, before their connections are cut.

    Raises:
        AssertionError: a handler is still running after that, although its connection was cut. An exception of the
            block is raised instead, if there is one.
        RuntimeError: `Server.start` could not start a thread, or the server has workers or serves already.
    """
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
    """A client's connection to a WebSocket view of a WSGI application; it is closed at the end of the block.

    The application is hosted as ``Server(wsgi_app=app)`` hosts it, in a thread, for this one request, over a
    socketpair: no port is used. The client is at 127.0.0.1 and asks for ``http://localhost``.

    Args:
        path: begins with a slash; a query string may follow.
        headers: further headers of the request, such as Cookie or Origin.
        dialer_options: those of `Dialer`, except proxy and net_dial. handshake_timeout is 10 seconds by default.

    Raises:
        BadHandshakeError: the application refused; ``response`` is its answer.
        TimeoutError: the application gave no answer within handshake_timeout.
        AssertionError: the handler is still running ten seconds after the connection was closed.
        ValueError, TypeError: an argument is invalid.
    """
    if not path.startswith("/"):
        raise ValueError(f'a path begins with a slash, such as "/echo", and {path!r} does not')
    check_callable("app", app, "must be a WSGI application: a callable(environ, start_response)", may_yield=True)
    options: DialerKeywords = {"handshake_timeout": 10.0, **dialer_options}
    dialer = Dialer(net_dial=lambda *_: theirs, proxy=None, **options)  # type: ignore[misc]  # TypeError for those two
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
            theirs.close()  # the dialer has not closed it if it never got it
            thread.join(10)
            if thread.is_alive() and sys.exc_info()[0] is None:
                raise AssertionError(f"the handler of {path} is still running 10 s after its connection was closed")


def _host_one(gateway: Gateway, sock: socket.socket) -> None:
    """Serve one request of the application, and the WebSocket that it may become; then close the connection."""
    transport = Transport(sock)
    # Addresses like those of TCP: applications look at them, and may not expect "".
    transport.local_address, transport.remote_address = ("127.0.0.1", 80), ("127.0.0.1", 49152)
    http = HTTPConnection(transport)
    conns: list[Conn] = []
    try:
        request = http.read_request(time.monotonic() + 10)
        if request is not None:
            request.on_upgrade = conns.append
            gateway.serve(http, request, f"connect {printable(request.path)}")
    except OSError:  # the client has gone, and raises its own error
        pass
    finally:
        for conn in conns:
            conn.close_now()
        transport.close()


class LeakChecks(unittest.TestCase):
    """Fails a test that leaves a thread, a socket or another descriptor, or an exception that nobody saw.

    Whatever a test starts must be gone when its cleanups have run; it has ``grace`` seconds to end by itself.
    Descriptors are checked where /proc tells them (Linux). Inherit from it; a setUp of your own calls super().setUp().
    """

    grace = 5.0
    _has_frozen = False

    def setUp(self) -> None:
        super().setUp()
        # The drain thread ends by itself after a second of rest. Shorter, so that no test waits for it.
        self.addCleanup(setattr, drain, "IDLE", drain.IDLE)
        drain.IDLE = 0.02
        advisor.begin_anew()  # else what one test has heard within the last minute is not a WARNING in the next
        self._threads_before = set(threading.enumerate())
        gc.collect()
        if not LeakChecks._has_frozen:
            LeakChecks._has_frozen = True
            gc.freeze()  # collections leave out what is there before the first test, and so are faster
        self._fds_before = _open_fds()
        self._unraised: list[str] = []
        previous, sys.unraisablehook = sys.unraisablehook, self._note_unraisable
        thread_hook, threading.excepthook = threading.excepthook, self._note_thread
        self.addCleanup(setattr, threading, "excepthook", thread_hook)
        self.addCleanup(setattr, sys, "unraisablehook", previous)
        # Registered here, before every cleanup of the test itself, and so run after them; the hooks are removed later.
        self.addCleanup(self._check_nothing_left)

    def _note_unraisable(self, unraisable: Any) -> None:
        self._unraised.append(f"{unraisable.exc_value!r} in {unraisable.object!r}")

    def _note_thread(self, arguments: Any) -> None:
        if arguments.exc_type is SystemExit:  # it ends a thread without an error; the standard hook ignores it too
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


class BackplaneCases(DeliveryCases, BreakCases, LifeCases, OutletCases, ArchiveCases):
    """The tests that a backplane has to pass; inherit it together with `unittest.TestCase`, or with `LeakChecks`.

        class MyBackplaneTests(BackplaneCases, LeakChecks):
            def make(self):
                return MyBackplane("bus://localhost", prefix=self.id())

    Each test says in its docstring what a backplane promises, and in its failure what is to be done. ``make`` is all
    that must be written. ``break_bus`` and ``mend_bus`` take the bus away and give it back; ``inject`` puts junk on it;
    without them the tests that need them are skipped. ``patience`` is how long a test waits for what has to come, 30
    seconds: make it longer than your bus takes to notice that it is lost.
    """


def await_(condition: Callable[[], bool], seconds: float = 10.0) -> bool:
    """Wait until a condition holds, for at most so many seconds; returns whether it does. Where no event tells it.

    Raises TypeError for a condition that is a coroutine function, or that returns a coroutine.
    """
    check_callable("condition", condition, "is a callable without arguments")
    deadline = time.monotonic() + seconds
    while not (answer := condition()):
        if time.monotonic() > deadline:
            return False
        time.sleep(0.005)
    check_done("condition", answer)
    return True


def _open_fds() -> set[tuple[str, str]]:
    """The descriptors of this process, and what each is open on; empty where the system does not tell."""
    found: set[tuple[str, str]] = set()
    try:
        names = os.listdir("/proc/self/fd")
    except OSError:
        return found
    for name in names:
        with contextlib.suppress(OSError):  # the listing's own descriptor is gone by now
            found.add((name, os.readlink(f"/proc/self/fd/{name}")))
    return found
