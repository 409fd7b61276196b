"""What these tests share: bounds on the wall clock, raw clients, and a server in a process of its own to weigh.

SYNCWS_HEAVY: "0" (the default) for small sizes, "1" for full ones, "full" for what takes minutes as well.
"""

from __future__ import annotations

import contextlib
import faulthandler
import gc
import json
import os
import resource
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, Self

from syncws._conn.conn import Conn
from syncws._http.request import Request
from syncws._net.tls import TLSTransport
from syncws._net.transport import Transport
from syncws._server.server import Server
from syncws._server.upgrader import Upgrader
from syncws.errors import ConnectionClosed, MessageType
from syncws.testing import LeakChecks, Peer, await_
from tests.certificates import contexts
from tests.handshakes import ACCEPT, KEY, receive_head
from tests.tasks import PATIENCE, Task

HEAVY = os.environ.get("SYNCWS_HEAVY", "0")

#: Seconds after which something that should happen counts as never happening.
WAIT = PATIENCE

#: And seconds in which thousands of threads have done what they had to do.
RESTING = 120.0


#: Options of connections whose peers are silent for as long as a machine under load takes with thousands of them.
PATIENT: dict[str, Any] = {"ping_interval": 600.0, "least_rate_grace": 600.0}


def size(small: int, full: int) -> int:
    """How many of something to try."""
    return small if HEAVY == "0" else full


def note(figure: str) -> None:
    """Print a measured figure, if full sizes are asked for."""
    if HEAVY != "0":
        print(f"\n  {figure}", file=sys.stderr, flush=True)


class GuaranteeTestCase(LeakChecks):
    """A test that may not hang: after `bound` seconds the process ends, and the stacks of all threads say why.

    No time is proved by that, so it is several times what the longest takes on a machine under load, and less than the
    runner's own limit.
    """

    bound = 240.0

    def setUp(self) -> None:
        super().setUp()
        faulthandler.dump_traceback_later(self.bound, exit=True)
        self.addCleanup(faulthandler.cancel_dump_traceback_later)

    def in_thread(self, target: Callable[..., Any], *arguments: Any) -> Task:
        """Run a call in a thread, which is joined at the end of the test at the latest."""
        task = Task(target, *arguments)
        self.addCleanup(task.join, WAIT)
        return task

    def wait(self, event: threading.Event) -> None:
        self.assertTrue(event.wait(WAIT), "it never happened")

    def assert_between(self, least: float, seconds: float, most: float) -> None:
        self.assertGreaterEqual(seconds, least)
        self.assertLessEqual(seconds, most)


# TLS


def transports(pair: tuple[socket.socket, socket.socket], tls: bool) -> tuple[Transport, Transport]:
    """(server's, client's) transport over two connected sockets, past the TLS handshake."""
    if not tls:
        return Transport(pair[0]), Transport(pair[1])
    of_server, of_client = contexts()
    server = TLSTransport(pair[0], of_server, server_side=True)
    client = TLSTransport(pair[1], of_client, server_side=False, server_hostname="localhost")
    deadline = time.monotonic() + WAIT
    other = Task(server.handshake, deadline)
    client.handshake(deadline)
    other.result()
    return server, client


# Raw clients


def handshake(path: str = "/", *, compression: bool = False) -> bytes:
    """The bytes of a valid opening handshake."""
    extensions = "Sec-WebSocket-Extensions: permessage-deflate\r\n" if compression else ""
    return (
        f"GET {path} HTTP/1.1\r\nHost: localhost\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n"
        f"Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: {KEY}\r\n{extensions}\r\n"
    ).encode()


def connect(
    address: Any, path: str = "/", *, tls: bool = False, buffer: int | None = None, compression: bool = False
) -> Peer:
    """Open a connection to a server, do the opening handshake, and speak raw frames from then on.

    buffer is the bytes that the client's kernel takes while the client does not read.
    """
    sock = socket.socket()
    try:
        sock.settimeout(WAIT)
        if buffer is not None:  # before connecting: the window is agreed on then
            sock.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, buffer)
        sock.connect(address[:2])
        if tls:
            sock = contexts()[1].wrap_socket(sock, server_hostname="localhost")
        sock.sendall(handshake(path, compression=compression))
        head = receive_head(sock)
        if not head.startswith(b"HTTP/1.1 101 ") or ACCEPT.encode() not in head:
            raise AssertionError(f"no upgrade: {head!r}")
    except BaseException:
        sock.close()
        raise
    peer = Peer(sock, masked=True)
    sock.settimeout(WAIT)
    return peer


# A server in a process of its own


class ChildServer:
    """A Server in another process, which can be asked what it weighs. Use it as a context manager.

    paths gives the Upgrader options of each path; on every path messages are echoed, and its server is `PATIENT`.
    """

    def __init__(self, paths: dict[str, dict[str, Any]], **options: Any) -> None:
        code = (
            f"import sys; sys.path[:] = {sys.path!r}; from {__name__} import serve_child; "
            f"serve_child({paths!r}, {options!r})"
        )
        self._process = subprocess.Popen(
            [sys.executable, "-c", code], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
        )
        self.address = ("127.0.0.1", self._answer()["port"])

    def ask(self, question: str) -> dict[str, Any]:
        """ "report": what the process weighs in KiB, and its threads; "reset": begin anew with its peak."""
        assert self._process.stdin is not None
        self._process.stdin.write(question + "\n")
        self._process.stdin.flush()
        return self._answer()

    def report(self) -> dict[str, Any]:
        return self.ask("report")

    def reset_peak(self) -> dict[str, Any]:
        return self.ask("reset")

    def processor_time(self) -> float:
        """Seconds that its threads have run so far, by Linux's own account."""
        nanoseconds = 0
        for each in Path(f"/proc/{self._process.pid}/task").iterdir():
            with contextlib.suppress(OSError):  # it has ended
                nanoseconds += int((each / "schedstat").read_text().split()[0])
        return nanoseconds / 1e9

    def wait_for_rest(self) -> None:
        """Wait until its threads wait: looking after idle connections takes a hundredth of this."""
        if not await_(self._rests, RESTING):
            raise AssertionError(f"the server was still busy after {RESTING:g} s")

    def _rests(self) -> bool:
        before = self.processor_time()
        time.sleep(0.5)
        return abs(self.processor_time() - before) < 0.05

    def _answer(self) -> dict[str, Any]:
        assert self._process.stdout is not None
        answer: dict[str, Any] = json.loads(self._process.stdout.readline() or "{}")
        return answer

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *exc: object) -> None:
        assert self._process.stdin is not None and self._process.stdout is not None
        # Not asked to end: thousands of threads whose peers have left at once fight for the GIL, for minutes on a
        # machine under load, and the one that was asked is one of them.
        self._process.kill()
        self._process.wait()
        with contextlib.suppress(OSError):  # a question that it has not heard
            self._process.stdin.close()
        self._process.stdout.close()


def serve_child(paths: dict[str, dict[str, Any]], options: dict[str, Any]) -> None:
    """The process of `ChildServer`: serves until it is killed, or its standard input ends with who asks."""
    raise_descriptor_limit()
    upgraders = {path: Upgrader(**(PATIENT | each)) for path, each in paths.items()}

    def handler(request: Request) -> None:
        conn = upgraders[request.path].upgrade(request)
        echo(conn)

    server = Server(handler, port=0, **options)
    server.start()
    _say({"port": server.address[1]})
    for line in sys.stdin:
        gc.collect()
        if line.strip() == "reset":
            with open("/proc/self/clear_refs", "w") as peak:
                peak.write("5")
        _say(weigh())
    os._exit(0)  # nobody is left to be answered


def echo(conn: Conn) -> None:
    """The echo handler: ends with the connection."""
    with contextlib.suppress(ConnectionClosed):
        for message in conn:
            conn.send(message)


def weigh() -> dict[str, int]:
    """KiB of memory that this process holds ("rss"), the most since the last reset ("peak"), and its threads."""
    with open("/proc/self/status") as status:
        fields = dict(line.split(":", 1) for line in status)
    return {
        "rss": int(fields["VmRSS"].split()[0]),
        "peak": int(fields["VmHWM"].split()[0]),
        "threads": int(fields["Threads"]),
    }


def _say(answer: dict[str, Any]) -> None:
    print(json.dumps(answer), flush=True)


def raise_descriptor_limit() -> int:
    """Allow as many open files as the system lets this process have; how many."""
    _, most = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (most, most))
    return most


@contextlib.contextmanager
def closing_all(peers: list[Peer]) -> Iterator[list[Peer]]:
    """At the end of the block, close the sockets of the peers that were added in it."""
    try:
        yield peers
    finally:
        for each in peers:
            each.socket.close()


PING = MessageType.PING
PONG = MessageType.PONG
TEXT = MessageType.TEXT
BINARY = MessageType.BINARY
CLOSE = MessageType.CLOSE
CONTINUATION = 0
