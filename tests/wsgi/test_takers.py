"""takers.py: where each server keeps a request's socket, and that looking for it changes nothing.

The environs are those of the servers themselves, as they are installed. gevent's and eventlet's are looked at in
processes of their own, since patching one changes all of it.
"""

from __future__ import annotations

import io
import json
import os
import select
import socket
import ssl
import subprocess
import sys
import threading
import types
import unittest
from collections.abc import Callable
from typing import Any
from unittest import mock
from wsgiref.util import setup_testing_defaults
from wsgiref.validate import InputWrapper, validator

import cheroot.makefile
import cheroot.ssl.pyopenssl
import gunicorn
from django.core.handlers.wsgi import LimitedStream
from gunicorn.config import Config
from gunicorn.http import wsgi as gunicorn_wsgi
from gunicorn.http.parser import RequestParser
from gunicorn.workers.base import Worker
from gunicorn.workers.gthread import ThreadWorker
from gunicorn.workers.sync import SyncWorker
from werkzeug.wsgi import LimitedStream as WerkzeugLimitedStream

from syncws._wsgi import takers
from syncws._wsgi.takers import Taken, Untakeable, find, register_taker
from syncws.testing import LeakChecks, await_, socketpair
from tests.interop.nodes import need
from tests.tasks import PATIENCE, Task
from tests.wsgi.servers import HANDSHAKE, SERVERS, TLS_SERVERS, contexts, receive_response, serving

OLD_GUNICORN = os.path.join(os.path.dirname(os.path.dirname(__file__)), "hosts", "gunicorn23")

EARLY = b"\x81\x85\0\0\0\0early"
GET = b"GET /next HTTP/1.1\r\nHost: localhost\r\nContent-Length: 0\r\n\r\n"
POST = b"POST / HTTP/1.1\r\nHost: localhost\r\nContent-Length: 12\r\n\r\nfirst,second"

Environ = dict[str, Any]


def wrapping_input(app: Any) -> Any:
    """A middleware that puts werkzeug's, Django's and the validator's streams around wsgi.input."""

    def wrapping(environ: Environ, start_response: Any) -> Any:
        inner = LimitedStream(WerkzeugLimitedStream(environ["wsgi.input"], 0), 0)
        return app({**environ, "wsgi.input": InputWrapper(inner)}, start_response)

    return wrapping


class ServerCase(LeakChecks):
    """Looks at the environs of real servers."""

    def look(
        self,
        server: str,
        probe: Callable[[Environ], Any],
        data: bytes = HANDSHAKE,
        *,
        tls: bool = False,
        middleware: Callable[[Any], Any] = lambda app: app,
    ) -> Any:
        """What probe(environ) gives in the view that serves a request; the server serves it to its end."""
        found: list[Any] = []

        def app(environ: Environ, start_response: Any) -> list[bytes]:
            try:
                found.append(probe(environ))
            except Exception as exc:
                found.append(exc)
            start_response("200 OK", [("Content-Type", "text/plain"), ("Content-Length", "2")])
            return [b"ok"]

        with serving(server, middleware(app), tls=tls) as served, served.connect() as client:
            client.sendall(data)
            self.assertEqual(receive_response(client)[::2], (200, b"ok"))
        if isinstance(found[0], Exception):
            raise found[0]
        return found[0]

    def each(self, servers: tuple[str, ...], check: Callable[[str], None]) -> None:
        for server in servers:
            with self.subTest(server):
                check(server)


def early_of(environ: Environ) -> bytes:
    """What came behind the request, from the server's buffer and then from its socket."""
    taken = find(environ)
    data = taken.read_early()
    taken.sock.settimeout(PATIENCE)
    while len(data) < len(EARLY):
        data += taken.sock.recv(100)
    return data


class FoundTests(ServerCase):
    """What is found in an environ."""

    def test_the_socket(self) -> None:
        """Each server's own socket object is found, under its own name and number, with the peer at its other end."""
        names = {
            "wsgiref": "WSGIServer/",
            "runserver": "WSGIServer/",
            "werkzeug": "werkzeug",
            "cheroot": "Cheroot/",
            "waitress": "waitress",
        }

        def check(server: str) -> None:
            def probe(environ: Environ) -> Any:
                taken = find(environ)
                self.assertTrue(taken.server.startswith(names[server]), taken.server)
                self.assertIs(type(taken.sock), socket.socket)
                self.assertEqual(taken.fd, taken.sock.fileno())
                self.assertEqual(taken.sock.getpeername()[0], environ["REMOTE_ADDR"])
                self.assertEqual(
                    taken.sock.getpeername()[1], int(environ.get("REMOTE_PORT") or taken.sock.getpeername()[1])
                )
                self.assertFalse(taken.is_tls)
                self.assertTrue(taken.detachable)
                self.assertIsNone(taken.worker)
                return taken.swallow, taken.pool

            quiet = server == "waitress"  # which would log a response that it cannot write
            pool = 4 if server in ("cheroot", "waitress") else None
            self.assertEqual(self.look(server, probe), (quiet, pool))

        self.each(SERVERS, check)

    def test_whether_it_is_ending(self) -> None:
        """cheroot can be asked whether it is about to stop; others say nothing of that."""
        found: list[Taken] = []

        def probe(environ: Environ) -> bool | None:
            found.append(find(environ))
            return None if found[-1].is_ending is None else found[-1].is_ending()

        self.assertIs(self.look("cheroot", probe), False)
        assert found[0].is_ending is not None
        self.assertTrue(found[0].is_ending())
        for server in ("wsgiref", "runserver", "werkzeug", "waitress"):
            self.assertIsNone(self.look(server, probe))

    def test_tls(self) -> None:
        """Where the server speaks TLS, what is found is its SSLSocket."""

        def probe(environ: Environ) -> Any:
            taken = find(environ)
            return type(taken.sock), taken.is_tls

        self.each(
            TLS_SERVERS, lambda server: self.assertEqual(self.look(server, probe, tls=True), (ssl.SSLSocket, True))
        )

    def test_through_the_validator(self) -> None:
        """wsgiref.validate wraps wsgi.input, and does not stand in the way."""

        def check(server: str) -> None:
            self.assertEqual(self.look(server, early_of, HANDSHAKE + EARLY, middleware=validator), EARLY)

        self.each(("wsgiref", "runserver", "cheroot", "waitress"), check)  # werkzeug's environ does not pass

    def test_through_other_streams(self) -> None:
        """Neither do the streams that frameworks put around it, one inside the other."""
        self.assertEqual(self.look("wsgiref", early_of, HANDSHAKE + EARLY, middleware=wrapping_input), EARLY)

    def test_where_streams_keep_others(self) -> None:
        """Each name that such a stream may have for the one inside is known, and a bound method of that one too."""
        server, client = socketpair()
        with server, client, server.makefile("rb") as reader:
            for name in ("rfile", "input", "_stream", "stream", "_file", "_read", "reader"):
                for inner in (reader, reader.read):
                    self.assertIs(find({"wsgi.input": types.SimpleNamespace(**{name: inner})}).sock, server)

    def test_a_stream_that_goes_in_circles(self) -> None:
        """A wsgi.input that wraps itself, or no end of others, is looked into only so far."""

        class Circle:
            @property
            def stream(self) -> Any:
                return self

        class Endless:
            def __getattr__(self, name: str) -> Any:
                if name == "stream":
                    endless.append(Endless())
                    return endless[-1]
                raise AttributeError(name)

        endless: list[Any] = []

        for stream in (Circle(), Endless(), None, object(), io.BytesIO(b"body")):
            with self.assertRaises(Untakeable):
                find({"wsgi.input": stream, "SERVER_SOFTWARE": "x"})
        self.assertLess(len(endless), 100)

    def test_an_environ_of_no_server(self) -> None:
        """An environ that was made up, as a test client makes one, is no connection's."""
        environ: Environ = {}
        setup_testing_defaults(environ)
        with self.assertRaisesRegex(Untakeable, "does not let its applications take a connection over") as caught:
            find(environ)
        self.assertIn("_io", str(caught.exception))  # there is no SERVER_SOFTWARE
        self.assertIn("syncws.Server(wsgi_app=...)", caught.exception.advice)
        with self.assertRaisesRegex(Untakeable, "^A server/1.0 does not let"):
            find({**environ, "SERVER_SOFTWARE": "A server/1.0"})


class EarlyTests(ServerCase):
    """What the server has read behind the request."""

    def test_early_bytes(self) -> None:
        """A frame that came with the handshake is given whole."""

        self.each(SERVERS, lambda server: self.assertEqual(self.look(server, early_of, HANDSHAKE + EARLY), EARLY))

    def test_early_bytes_through_tls(self) -> None:
        """So is one that came in the same record of TLS."""
        self.each(
            TLS_SERVERS,
            lambda server: self.assertEqual(self.look(server, early_of, HANDSHAKE + EARLY, tls=True), EARLY),
        )

    def test_no_early_bytes(self) -> None:
        """With nothing behind the request there is no wait, and the socket's timeout is as it was."""

        def probe(environ: Environ) -> Any:
            taken = find(environ)
            before = taken.sock.gettimeout()
            early = taken.read_early()
            self.assertEqual(taken.sock.gettimeout(), before)
            self.assertEqual(os.get_blocking(taken.fd), before is None)
            return early

        self.each(SERVERS, lambda server: self.assertEqual(self.look(server, probe), b""))
        self.each(TLS_SERVERS, lambda server: self.assertEqual(self.look(server, probe, tls=True), b""))

    def test_a_client_that_has_gone(self) -> None:
        """A client that has left, or has reset the connection, is nothing to fail for: who reads it finds out."""
        for reset in (False, True):
            self.each(
                ("wsgiref", "werkzeug"),  # cheroot fails by itself when it writes to one
                lambda server, reset=reset: self.assertEqual(self.look_at_one_that_has_gone(server, reset), b""),  # type: ignore[misc]
            )

    def look_at_one_that_has_gone(self, server: str, reset: bool) -> Any:
        """What is early of a client that leaves while the view runs; what that raises."""
        found: list[Any] = []
        clients: list[socket.socket] = []
        there = threading.Event()

        def app(environ: Environ, start_response: Any) -> list[bytes]:
            taken = find(environ)
            there.wait(PATIENCE)
            if reset:
                clients[0].setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, b"\1\0\0\0\0\0\0\0")
            clients[0].close()
            poller = select.poll()
            poller.register(taken.fd, select.POLLIN)
            poller.poll(PATIENCE * 1000)
            try:
                found.append(taken.read_early())
            except Exception as exc:
                found.append(exc)
            start_response("200 OK", [("Content-Type", "text/plain")])
            return []

        with serving(server, app) as served:
            clients.append(served.connect())
            clients[0].sendall(HANDSHAKE)
            there.set()
            self.assertTrue(await_(lambda: bool(found), PATIENCE))
        return found[0]


class LookingTests(ServerCase):
    """Looking changes nothing: a handshake that is refused leaves the server as it was."""

    def test_the_environ(self) -> None:
        """The environ has the same objects under the same keys, and the socket the same timeout."""

        def probe(environ: Environ) -> Any:
            before = dict(environ)
            taken = find(environ)
            timeout = taken.sock.gettimeout()
            again = find(environ)
            self.assertIs(again.sock, taken.sock)
            self.assertEqual(taken.sock.gettimeout(), timeout)
            self.assertEqual(environ.keys(), before.keys())
            return [key for key in before if environ[key] is not before[key] and environ[key] != before[key]]

        self.each(SERVERS, lambda server: self.assertEqual(self.look(server, probe), []))

    def test_the_body(self) -> None:
        """A body that is half read can be read to its end."""

        def probe(environ: Environ) -> Any:
            first = environ["wsgi.input"].read(6)
            find(environ)
            return first, environ["wsgi.input"].read(6)

        self.each(SERVERS, lambda server: self.assertEqual(self.look(server, probe, POST), (b"first,", b"second")))

    def test_the_next_request(self) -> None:
        """A request that came behind this one is served after it."""

        def check(server: str) -> None:
            paths: list[str] = []

            def app(environ: Environ, start_response: Any) -> list[bytes]:
                find(environ)
                paths.append(environ["PATH_INFO"])
                start_response("200 OK", [("Content-Type", "text/plain"), ("Content-Length", "2")])
                return [b"ok"]

            with serving(server, app) as served, served.connect() as client:
                client.sendall(GET + GET)
                self.assertEqual(receive_response(client)[0], 200)
                self.assertEqual(receive_response(client)[0], 200)
            self.assertEqual(paths, ["/next", "/next"])

        self.each(("runserver", "cheroot", "waitress"), check)  # the others close after each response


class RegisterCase(LeakChecks):
    def register(self, taker: Any) -> None:
        self.addCleanup(setattr, takers, "_registered", takers._registered)
        register_taker(taker)


class CheckTests(RegisterCase):
    """What is found must be of use."""

    def test_closed_already(self) -> None:
        """A socket that the server has closed meanwhile is refused."""
        server, client = socketpair()
        client.close()
        server.close()
        with self.assertRaisesRegex(Untakeable, "^werkzeug has closed this connection already$") as caught:
            find({"werkzeug.socket": server})
        self.assertEqual(caught.exception.advice, "the client has gone")

    def test_another_tls(self) -> None:
        """TLS of pyOpenSSL, by itself or as cheroot wraps it, is refused with the way out."""

        class Connection:
            def fileno(self) -> int:
                return 5

            recv_into = fileno

        Connection.__module__ = "OpenSSL.SSL"
        wrapped = object.__new__(cheroot.ssl.pyopenssl.SSLConnection)
        wrapped._ssl_conn, wrapped._lock = Connection(), mock.MagicMock()
        reader = types.SimpleNamespace(raw=types.SimpleNamespace(_sock=wrapped))
        for environ in ({"werkzeug.socket": Connection()}, {"wsgi.input": reader, "SERVER_SOFTWARE": "Cheroot"}):
            with self.assertRaisesRegex(Untakeable, r"holds this connection in a (OpenSSL|cheroot)\.") as caught:
                find(environ)
            self.assertIn("BuiltinSSLAdapter", caught.exception.advice)

    def test_a_descriptor_alone(self) -> None:
        """A taker may know nothing but the descriptor."""
        taken = Taken(server="x", sock=None, fd=5)
        self.assertFalse(taken.is_tls)
        self.register(lambda environ: taken)
        self.assertIs(find({}), taken)
        self.assertEqual(taken.read_early(), b"")
        self.assertIsNone(taken.mark())


class RegisterTests(RegisterCase):
    """Takers of an application's own."""

    def test_order(self) -> None:
        """They are asked before the library's, the latest first, until one gives something."""
        asked: list[str] = []
        taken = Taken(server="mine", sock=None, fd=5)

        def first(environ: Environ) -> Taken | None:
            asked.append("first")
            return taken

        def second(environ: Environ) -> Taken | None:
            asked.append("second")
            return None

        self.register(first)
        self.register(second)
        server, client = socketpair()
        with server, client:
            self.assertIs(find({"werkzeug.socket": server}), taken)
        self.assertEqual(asked, ["second", "first"])

    def test_not_of_its_server(self) -> None:
        """One that gives None leaves the request to the library's."""
        self.register(lambda environ: None)
        server, client = socketpair()
        with server, client:
            self.assertIs(find({"werkzeug.socket": server}).sock, server)

    def test_it_refuses(self) -> None:
        """One may refuse with words of its own."""

        def refuse(environ: Environ) -> Taken | None:
            raise Untakeable("mine keeps its sockets", "serve with another")

        self.register(refuse)
        with self.assertRaisesRegex(Untakeable, "^mine keeps its sockets$") as caught:
            find({})
        self.assertEqual(caught.exception.advice, "serve with another")

    def test_what_it_gives_is_checked(self) -> None:
        """What it gives is checked as everything is."""
        self.register(lambda environ: Taken(server="mine", sock=None, fd=-1))
        with self.assertRaisesRegex(Untakeable, "^mine has closed"):
            find({})

    def test_twice(self) -> None:
        """Registering one twice asks it once, and in its first place."""
        asked: list[int] = []

        def mine(environ: Environ) -> None:
            asked.append(1)

        def later(environ: Environ) -> None:
            asked.append(2)

        self.register(mine)
        self.register(later)
        self.register(mine)
        with self.assertRaises(Untakeable):
            find({})
        self.assertEqual(asked, [2, 1])

    def test_no_taker(self) -> None:
        """What cannot be called is a TypeError, and is not registered."""
        before = takers._registered
        for wrong in (None, "gunicorn", Taken(server="x", sock=None, fd=5)):
            with self.assertRaisesRegex(TypeError, "a taker is a callable that takes an environ"):
                register_taker(wrong)  # type: ignore[arg-type]
        self.assertEqual(takers._registered, before)


class RefusedTests(unittest.TestCase):
    """Servers and requests whose sockets cannot be had, each with what to do instead."""

    def check(self, environ: Environ, message: str, advice: str) -> None:
        with self.assertRaises(Untakeable) as caught:
            find(environ)
        self.assertIn(message, str(caught.exception))
        self.assertIn(advice, caught.exception.advice)

    def test_http2(self) -> None:
        """A stream of HTTP/2 has no socket of its own, though gunicorn puts that of all of them into the environ."""
        server, client = socketpair()
        with server, client:
            self.check(
                {"SERVER_PROTOCOL": "HTTP/2.0", "gunicorn.socket": server, "SERVER_SOFTWARE": "gunicorn/27.0.1"},
                "gunicorn/27.0.1 gave this request as a stream of HTTP/2",
                "--http-protocols h1",
            )

    def test_mod_wsgi(self) -> None:
        """mod_wsgi keeps Apache's connections to itself."""
        self.check({"mod_wsgi.version": (6, 1, 1), "wsgi.input": object()}, "mod_wsgi keeps", "mod_proxy_wstunnel")

    def test_servers_that_are_not_python(self) -> None:
        """granian and bjoern, whose inputs are no streams over a socket, are named."""
        for module in ("granian._granian", "bjoern"):
            body = type("WSGIBody", (), {"__module__": module})()
            name = module.partition(".")[0]
            self.check({"wsgi.input": body}, f"{name} keeps its connections to itself", "serve with gunicorn (gthread)")

    def test_waitress_that_reads_ahead(self) -> None:
        """waitress with a lookahead takes frames for requests."""
        channel = mock.MagicMock()
        channel.adj.channel_request_lookahead = 1
        self.check(
            {"waitress.client_disconnected": types.MethodType(lambda self: False, channel)},
            "waitress reads ahead",
            "channel_request_lookahead=0",
        )


class UWSGITests(unittest.TestCase):
    """uWSGI, which knows nothing but a descriptor; its module is made up here."""

    def find(self, **options: Any) -> Taken:
        uwsgi = types.SimpleNamespace(
            opt={key.replace("_", "-").encode(): value for key, value in options.items()}, connection_fd=lambda: 7
        )
        with mock.patch.dict(sys.modules, {"uwsgi": uwsgi}):
            return find({"uwsgi.version": b"2.0.30", "wsgi.input": object()})

    def test_the_descriptor(self) -> None:
        """The connection's descriptor is all there is; uWSGI logs what it cannot write."""
        taken = self.find(http_socket=b":8080")
        self.assertEqual((taken.server, taken.sock, taken.fd, taken.swallow), ("uWSGI", None, 7, True))
        self.assertEqual(taken.read_early(), b"")

    def test_its_router(self) -> None:
        """Behind its own router nothing passes, unless that was told to let it."""
        for options in ({"http": b":80"}, {"https": b":443,a,b"}):
            with self.subTest(options), self.assertRaisesRegex(Untakeable, "router") as caught:
                self.find(**options)
            self.assertIn("--http-socket", caught.exception.advice)
            self.assertEqual(self.find(**options, http_websockets=True).fd, 7)

    def test_options_as_text(self) -> None:
        """The options may be str, as some builds give them."""
        uwsgi = types.SimpleNamespace(opt={"http": ":80"}, connection_fd=lambda: 7)
        with mock.patch.dict(sys.modules, {"uwsgi": uwsgi}), self.assertRaisesRegex(Untakeable, "router"):
            find({"uwsgi.version": b"2.0.30", "wsgi.input": object()})

    def test_without_its_module(self) -> None:
        """A request that only came through uWSGI's environ, elsewhere than in uWSGI, is not of its."""
        with self.assertRaisesRegex(Untakeable, "does not let its applications"):
            find({"uwsgi.version": b"2.0.30", "wsgi.input": object()})


class GunicornTests(LeakChecks):
    """gunicorn, whose own parser makes the request here."""

    def request(self, data: bytes, *, tls: bool = False) -> tuple[Environ, Any, Any]:
        """(environ, the server's socket, the client's) of a request that consists of these bytes."""
        server, client = socketpair()
        self.addCleanup(lambda: server.close())
        self.addCleanup(lambda: client.close())
        if tls:
            raw = server
            server = contexts()[0].wrap_socket(raw, server_side=True, do_handshake_on_connect=False)
            task = Task(contexts()[1].wrap_socket, client, server_hostname="localhost")
            server.do_handshake()
            client = task.result()
        client.sendall(data)
        config = Config()
        request = next(RequestParser(config, server, ("127.0.0.1", 5)))
        _, environ = gunicorn_wsgi.create(request, server, ("127.0.0.1", 5), ("127.0.0.1", 80), config)
        return environ, server, client

    def test_the_socket(self) -> None:
        """The socket is found under gunicorn's name, and its TLS too; without a worker nothing is known of its pool."""
        environ, server, _ = self.request(HANDSHAKE)
        taken = find(environ)
        self.assertIs(taken.sock, server)
        self.assertEqual((taken.server, taken.fd, taken.pool, taken.worker), ("gunicorn", server.fileno(), None, None))
        self.assertEqual((taken.is_tls, taken.swallow), (False, False))
        environ, server, _ = self.request(HANDSHAKE, tls=True)
        self.assertIs(find(environ).sock, server)
        self.assertTrue(find(environ).is_tls)

    def test_early_bytes(self) -> None:
        """What its parser has read behind the request is given once; looking leaves it where it is."""
        for tls in (False, True):
            environ, *_ = self.request(HANDSHAKE + EARLY, tls=tls)
            self.assertEqual(find(environ).read_early(), EARLY)
            self.assertEqual(find(environ).read_early(), b"")
            environ, *_ = self.request(HANDSHAKE, tls=tls)
            self.assertEqual(find(environ).read_early(), b"")

    def test_early_bytes_through_wrappers(self) -> None:
        """So it is behind middlewares that wrap wsgi.input."""
        environ, *_ = self.request(HANDSHAKE + EARLY)
        self.assertEqual(find({**environ, "wsgi.input": InputWrapper(environ["wsgi.input"])}).read_early(), EARLY)

    def test_the_body_and_the_next_request(self) -> None:
        """A body stays to be read, and a request behind it stays to be parsed."""
        environ, *_ = self.request(POST + GET)
        find(environ)
        self.assertEqual(environ["wsgi.input"].read(), b"first,second")
        self.assertEqual(environ["wsgi.input"].reader.unreader.take_buffered(), GET)

    def test_the_worker(self) -> None:
        """The worker is whoever has called the view; it tells the kind, and how many requests are served at a time."""
        environ, *_ = self.request(HANDSHAKE)
        rows: list[tuple[type[Worker], str, int | None]] = [
            (SyncWorker, "gunicorn sync", 1),
            (ThreadWorker, "gunicorn gthread", 7),
            (type("GeventWorker", (Worker,), {}), "gunicorn gevent", None),
            (type("GeventPyWSGIWorker", (Worker,), {}), "gunicorn gevent_pywsgi", None),
            (type("MyOwnWorker", (Worker,), {}), "gunicorn MyOwnWorker", None),
        ]
        for kind, name, pool in rows:
            with self.subTest(name):
                worker = self.worker(kind)
                taken = calling(worker, lambda: find(environ))
                self.assertIs(taken.worker, worker)
                self.assertEqual((taken.server, taken.pool, taken.swallow), (name, pool, False))

    def test_the_worker_of_gevent_pywsgi(self) -> None:
        """There the caller is gevent's server, which knows the worker; and the key is written without "et"."""
        environ, server, _ = self.request(HANDSHAKE)
        environ["gunicorn.sock"] = environ.pop("gunicorn.socket")
        worker = self.worker(type("GeventPyWSGIWorker", (Worker,), {}))
        taken = calling(types.SimpleNamespace(worker=worker), lambda: find(environ))
        self.assertIs(taken.sock, server)
        self.assertIs(taken.worker, worker)

    def test_early_bytes_of_gevent_pywsgi(self) -> None:
        """What is early is in that server's own buffer."""
        server, client = socketpair()
        with server, client, server.makefile("rb") as reader:
            client.sendall(b"head\n" + EARLY)
            reader.readline()
            self.assertEqual(find({"gunicorn.sock": server, "wsgi.input": reader}).read_early(), EARLY)

    def test_the_eventlet_worker(self) -> None:
        """It is told that the response is no concern of its, and writes into nothing."""
        environ, *_ = self.request(HANDSHAKE)
        local = types.SimpleNamespace(already_handled=False)
        with mock.patch.dict(sys.modules, {"eventlet.wsgi": types.SimpleNamespace(WSGI_LOCAL=local)}):  # type: ignore[dict-item]
            taken = calling(self.worker(type("EventletWorker", (Worker,), {})), lambda: find(environ))
            self.assertTrue(taken.swallow)
            self.assertFalse(local.already_handled)
            taken.mark()
        self.assertTrue(local.already_handled)

    def test_another_caller(self) -> None:
        """A caller that is no worker, or too far away, is not taken for one."""
        environ, *_ = self.request(HANDSHAKE)
        self.assertIsNone(calling(types.SimpleNamespace(worker="no worker"), lambda: find(environ)).worker)

        def deep(levels: int) -> Taken:
            return find(environ) if levels == 0 else deep(levels - 1)

        self.assertIsNone(calling(self.worker(SyncWorker), lambda: deep(250)).worker)
        self.assertIsNotNone(calling(self.worker(SyncWorker), lambda: deep(50)).worker)

    def worker(self, kind: type[Worker]) -> Worker:
        worker = object.__new__(kind)
        worker.cfg = types.SimpleNamespace(threads=7)
        return worker

    def test_the_older_one(self) -> None:
        """In gunicorn 23 the bytes are had from its buffer, as it has no call for that."""
        need(os.path.isdir(OLD_GUNICORN), "the older gunicorn is not installed: run `make old-gunicorn`")
        self.assertNotEqual(gunicorn.__version__, "23.0.0")
        script = """
import socket, gunicorn
from gunicorn.config import Config
from gunicorn.http import wsgi
from gunicorn.http.parser import RequestParser
from syncws._wsgi.takers import find
from tests.wsgi.test_takers import EARLY, HANDSHAKE
server, client = socket.socketpair()
client.sendall(HANDSHAKE + EARLY)
config = Config()
request = next(RequestParser(config, server, ("127.0.0.1", 5)))
_, environ = wsgi.create(request, server, ("127.0.0.1", 5), ("127.0.0.1", 80), config)
taken = find(environ)
unreader = environ["wsgi.input"].reader.unreader
print(gunicorn.__version__, taken.sock is server, hasattr(unreader, "take_buffered"))
print(taken.read_early() == EARLY, find(environ).read_early(), unreader.buf.getvalue())
client.sendall(b"next")
print(unreader.read())
"""
        path = os.pathsep.join([OLD_GUNICORN, *sys.path])
        done = subprocess.run(
            [sys.executable, "-c", script],
            env={**os.environ, "PYTHONPATH": path},
            capture_output=True,
            text=True,
            timeout=120,
        )
        self.assertEqual(done.stdout.splitlines(), ["23.0.0 True False", "True b'' b''", "b'next'"], done.stderr)


def calling(caller: Any, call: Callable[[], Any]) -> Any:
    """As if a method of that object had called it."""

    def method(self: Any) -> Any:
        return call()

    return method(caller)


GREEN = """
import sys
patched = sys.argv[2] == "patched"
if sys.argv[1] == "gevent":
    from gevent import monkey
    if patched:
        monkey.patch_all()
    import gevent, gevent.pywsgi, gevent.socket
else:
    import warnings
    warnings.simplefilter("ignore")
    import eventlet, eventlet.wsgi
    if patched:
        eventlet.monkey_patch()
import json
from syncws._wsgi.takers import find
EARLY, HANDSHAKE = eval(sys.stdin.read())
told = []

def app(environ, start_response):
    if sys.argv[1] == "eventlet":
        environ = {**environ, "wsgi.input": None}  # as behind a middleware with a stream that is not known
    taken = find(environ)
    if sys.argv[1] == "eventlet":
        before = getattr(eventlet.wsgi.WSGI_LOCAL, "already_handled", None)
    told.append({
        "server": taken.server, "class": type(taken.sock).__module__, "fd": taken.fd == taken.sock.fileno(),
        "early": repr(taken.read_early()), "again": repr(taken.read_early()), "swallow": taken.swallow,
        "detachable": taken.detachable, "pool": taken.pool,
    })
    if sys.argv[1] == "eventlet":
        assert eventlet.wsgi.WSGI_LOCAL.already_handled is before
        taken.mark()
        assert eventlet.wsgi.WSGI_LOCAL.already_handled is True
        eventlet.wsgi.WSGI_LOCAL.already_handled = False
    start_response("200 OK", [("Content-Type", "text/plain"), ("Content-Length", "2")])
    return [b"ok"]

def ask(connect, port, data):
    with connect(("127.0.0.1", port)) as client:
        client.sendall(data)
        assert client.recv(100).startswith(b"HTTP/1.1 200"), "no answer"

if sys.argv[1] == "gevent":
    server = gevent.pywsgi.WSGIServer(("127.0.0.1", 0), app, log=None)
    server.start()
    for early in (EARLY, b""):
        ask(gevent.socket.create_connection, server.server_port, HANDSHAKE + early)
    server.stop()
else:
    from eventlet.green import socket
    listener = eventlet.listen(("127.0.0.1", 0))
    eventlet.spawn(eventlet.wsgi.server, listener, app, log_output=False, debug=False)
    for early in (EARLY, b""):
        ask(socket.create_connection, listener.getsockname()[1], HANDSHAKE + early)
print(json.dumps(told))
"""


class GreenTests(unittest.TestCase):
    """gevent.pywsgi and eventlet.wsgi, in processes that are patched and in such as are not."""

    def look(self, kind: str, patched: str) -> list[dict[str, Any]]:
        done = subprocess.run(
            [sys.executable, "-c", GREEN, kind, patched],
            input=repr((EARLY, HANDSHAKE)),
            capture_output=True,
            text=True,
            timeout=120,
        )
        self.assertEqual(done.returncode, 0, done.stderr)
        told: list[dict[str, Any]] = json.loads(done.stdout)
        return told

    def check(self, kind: str, name: str, module: str, swallow: bool) -> None:
        for patched in ("patched", "not patched"):
            with self.subTest(kind, patched=patched):
                with_early, without = self.look(kind, patched)
                self.assertEqual(with_early["early"], repr(EARLY))
                self.assertEqual((with_early["again"], without["early"]), ("b''", "b''"))
                for each in (with_early, without):
                    self.assertIn(name, each["server"])
                    self.assertTrue(each["class"].startswith(module), each["class"])
                    self.assertEqual((each["fd"], each["detachable"], each["pool"]), (True, True, None))
                    self.assertEqual(each["swallow"], swallow)

    def test_gevent(self) -> None:
        """gevent.pywsgi: its socket and its buffer."""
        self.check("gevent", "gevent", "gevent", False)

    def test_eventlet(self) -> None:
        """eventlet.wsgi: the same; it is told that the response is no concern of its, and writes into nothing."""
        self.check("eventlet", "eventlet", "eventlet", True)


if __name__ == "__main__":
    unittest.main()
