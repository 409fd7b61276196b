"""Real WSGI servers in threads of this process, and a raw client for them. Each leaves nothing behind.

`serving(name, app)` runs an application under wsgiref, runserver, werkzeug, cheroot, waitress or rocket3; with
`tls=True` under those of them that speak TLS, which runserver and waitress do not.
"""

from __future__ import annotations

import contextlib
import logging
import socket
import socketserver
import tempfile
import threading
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager
from io import StringIO
from typing import Any
from unittest import mock
from wsgiref import simple_server

import cheroot.wsgi
import waitress.server
import werkzeug.serving
from cheroot.ssl.builtin import BuiltinSSLAdapter
from django.core.servers import basehttp

from syncws.testing import Peer
from tests import certificates
from tests.certificates import contexts
from tests.handshakes import asking
from tests.tasks import PATIENCE

App = Callable[[dict[str, Any], Any], Any]

HANDSHAKE = asking("/chat?room=1")


class Served:
    """A server at work: its port, and what it has complained about."""

    def __init__(self, errors: StringIO, *, tls: bool) -> None:
        self.port = 0
        self.errors = errors
        self.tls = tls

    def connect(self) -> socket.socket:
        """A connection, past the handshake of TLS."""
        sock = socket.create_connection(("127.0.0.1", self.port), PATIENCE)
        if not self.tls:
            return sock
        try:
            return contexts()[1].wrap_socket(sock, server_hostname="localhost")
        except BaseException:
            sock.close()
            raise


@contextlib.contextmanager
def serving(name: str, app: App, *, tls: bool = False, threads: int = 4) -> Iterator[Served]:
    """Run an application under a server for the length of the block. threads: of those that have a pool."""
    contexts()  # before there are threads: all of them share one
    served = Served(StringIO(), tls=tls)
    start: Callable[..., AbstractContextManager[int]] = globals()[f"_{name}"]
    with start(app, served, threads) as served.port:
        yield served


def receive_response(sock: socket.socket) -> tuple[int, dict[str, str], bytes]:
    """Status, headers in lower case, and body of a response, and not a byte of what comes after it."""
    head = b""
    while not head.endswith(b"\r\n\r\n"):
        head += _receive(sock, 1)
    status, *lines = head[:-4].decode("latin-1").split("\r\n")
    headers = {name.lower(): value.strip() for name, _, value in (line.partition(":") for line in lines)}
    body = b""
    while len(body) < int(headers.get("content-length", "0")):
        body += _receive(sock, int(headers["content-length"]) - len(body))
    return int(status.split()[1]), headers, body


def upgrade(served: Served, early: bytes = b"", handshake: bytes = HANDSHAKE) -> Peer:
    """A WebSocket; bytes that are given leave after the handshake, in the same send."""
    sock = served.connect()
    try:
        sock.sendall(handshake + early)
        status, _, body = receive_response(sock)
        if status != 101:
            raise AssertionError(f"no upgrade: {status} {body!r}")
    except BaseException:
        sock.close()
        raise
    return Peer(sock, masked=True)


def _receive(sock: socket.socket, size: int) -> bytes:
    data = sock.recv(size)
    if not data:
        raise EOFError("the connection ended before the response did")
    return data


# TLS


@contextlib.contextmanager
def _certificate_files() -> Iterator[tuple[str, str]]:
    """Paths of the server's certificate and of its key."""
    with tempfile.TemporaryDirectory() as folder:
        files = certificates.files(folder)
        yield files.certificate, files.key


@contextlib.contextmanager
def _logging_to(served: Served, name: str, level: int = logging.NOTSET, but: str = "") -> Iterator[None]:
    """What a logger is given, from this level on, are the server's complaints; except for those of another below it."""
    log, handler = logging.getLogger(name), logging.StreamHandler(served.errors)
    handler.setLevel(level)
    handler.addFilter(lambda record: record.name != but)
    log.addHandler(handler)
    log.propagate, before = False, log.propagate
    try:
        yield
    finally:
        log.removeHandler(handler)
        log.propagate = before


# The servers


class _ThreadingServer(socketserver.ThreadingMixIn, simple_server.WSGIServer):
    daemon_threads = False  # joined by server_close

    def get_request(self) -> Any:
        sock, address = super().get_request()
        if getattr(self, "tls", False):
            sock = contexts()[0].wrap_socket(sock, server_side=True, do_handshake_on_connect=False)
        return sock, address


@contextlib.contextmanager
def _wsgiref(app: App, served: Served, threads: int) -> Iterator[int]:
    class Handler(simple_server.WSGIRequestHandler):
        def log_message(self, format: str, *args: Any) -> None:
            pass

        def get_stderr(self) -> Any:
            return served.errors

    server = simple_server.make_server("127.0.0.1", 0, app, _ThreadingServer, Handler)
    server.tls = served.tls  # type: ignore[attr-defined]
    with _running(server):
        yield server.server_port


@contextlib.contextmanager
def _runserver(app: App, served: Served, threads: int) -> Iterator[int]:
    """What Django's own command runs, without the command."""

    class Server(basehttp.ThreadedWSGIServer):
        daemon_threads = False

        def _close_connections(self) -> None:  # of databases; there are no settings here
            pass

    class Handler(basehttp.WSGIRequestHandler):
        def log_message(self, format: str, *args: Any) -> None:
            pass

        def get_stderr(self) -> Any:
            return served.errors

    server = Server(("127.0.0.1", 0), Handler)
    server.set_app(app)
    with _running(server):
        yield server.server_port


@contextlib.contextmanager
def _werkzeug(app: App, served: Served, threads: int) -> Iterator[int]:
    class Handler(werkzeug.serving.WSGIRequestHandler):
        def log(self, type: str, message: str, *args: Any) -> None:
            if type == "error":
                served.errors.write(message % args)

    server = werkzeug.serving.make_server(
        "127.0.0.1",
        0,
        app,
        threaded=True,
        request_handler=Handler,
        ssl_context=contexts()[0] if served.tls else None,
    )
    with _running(server):
        yield server.port


@contextlib.contextmanager
def _running(server: Any) -> Iterator[None]:
    """One of those that are made of the standard library's."""
    thread = threading.Thread(target=server.serve_forever, args=(0.01,), name="test-server")
    thread.start()
    try:
        yield
    finally:
        server.shutdown()
        thread.join()
        server.server_close()


@contextlib.contextmanager
def _cheroot(app: App, served: Served, threads: int) -> Iterator[int]:
    server = cheroot.wsgi.Server(("127.0.0.1", 0), app, numthreads=threads, shutdown_timeout=PATIENCE)
    server.error_log = lambda message="", level=0, traceback=False: served.errors.write(f"{message}\n")
    with _certificate_files() as files:
        if served.tls:
            server.ssl_adapter = BuiltinSSLAdapter(*files)
        server.prepare()
    thread = threading.Thread(target=server.serve, name="test-server")
    thread.start()
    try:
        yield server.bind_addr[1]
    finally:
        server.stop()
        thread.join()


@contextlib.contextmanager
def _waitress(app: App, served: Served, threads: int) -> Iterator[int]:
    sockets: dict[int, Any] = {}
    server = waitress.server.create_server(app, sockets, host="127.0.0.1", port=0, threads=threads)
    stop = threading.Event()

    def run() -> None:  # as its own `run`, which ends with the process only
        while not stop.is_set():
            server.asyncore.loop(timeout=1, map=sockets, count=1)

    # On a busy machine its queue has something to say.
    with _logging_to(served, "waitress", but="waitress.queue"):
        thread = threading.Thread(target=run, name="test-server")
        thread.start()
        try:
            yield server.effective_port
        finally:
            stop.set()
            server.trigger.pull_trigger()
            thread.join()
            server.task_dispatcher.shutdown(timeout=PATIENCE)
            for channel in list(sockets.values()):
                channel.close()


@contextlib.contextmanager
def _rocket3(app: App, served: Served, threads: int) -> Iterator[int]:
    import rocket3

    with (
        _certificate_files() as (certificate, key),
        mock.patch.object(rocket3, "THREAD_STOP_CHECK_INTERVAL", 0.01),
        _logging_to(served, "Rocket", logging.WARNING),
    ):
        interface = ("127.0.0.1", 0, key, certificate) if served.tls else ("127.0.0.1", 0)
        server = rocket3.Rocket3(
            interface, "wsgi", {"wsgi_app": app}, min_threads=threads, max_threads=threads, handle_signals=False
        )
        listener = server.listeners[0].listener
        server.start(background=True)
        try:
            yield listener.getsockname()[1]
        finally:
            server.stop()
            listener.close()
