"""What the tests of WSGI frameworks share: real servers in threads, with wsgiref.validate in front, and clients."""

from __future__ import annotations

import functools
import http.client
import threading
from collections.abc import Callable, Iterator
from io import StringIO
from socketserver import ThreadingMixIn
from typing import Any
from urllib.parse import urlsplit
from wsgiref import simple_server
from wsgiref.validate import validator

import werkzeug.serving

import syncws
import syncws.wsgi
from syncws.testing import LeakChecks, await_, running
from tests.tasks import PATIENCE, linger_briefly

#: (server, detach): where a handler runs detached, in the view, and after the view in the connection's own thread.
WAYS = (("wsgiref", None), ("wsgiref", False), ("werkzeug", None), ("werkzeug", False), ("ours", None), ("ours", False))


def each_way(test: Callable[..., None]) -> Callable[[WSGICase], None]:
    """A test with the arguments (server, detach), run for each of WAYS."""

    @functools.wraps(test)
    def run(case: WSGICase) -> None:
        for server, detach in WAYS:
            with case.subTest(server=server, detach=detach):
                test(case, server, detach)

    return run


class Answer:
    """The answer to a plain request."""

    def __init__(self, response: http.client.HTTPResponse) -> None:
        self.status = response.status
        self.headers = response.headers
        self.body = response.read()

    def cookies(self) -> str:
        """Its cookies, as a client sends them back."""
        return "; ".join(line.partition(";")[0] for line in self.headers.get_all("Set-Cookie") or ())


class WSGICase(LeakChecks):
    """Serves applications and talks to them. At the end of a test no server has logged an error."""

    def setUp(self) -> None:
        super().setUp()
        linger_briefly(self)
        self.server_errors = StringIO()
        self.addCleanup(self._check_servers)

    def _check_servers(self) -> None:
        self.assertEqual(self.server_errors.getvalue(), "", "what the server logged")
        self.assertTrue(await_(lambda: syncws.wsgi.open_connections() == 0), "a handler is still running")

    def serve(self, app: Any, server: str = "wsgiref") -> str:
        """Serve an application until the end of the test; the address, without a slash at its end."""
        start: Callable[[Any], int] = getattr(self, f"_serve_with_{server}")
        return f"http://127.0.0.1:{start(self._watched(app))}"

    def _watched(self, app: Any) -> Any:
        """The application, whose 101 is an error of the server's if it yields anything."""

        def watched(environ: dict[str, Any], start_response: Callable[..., Any]) -> Any:
            said: list[str] = []

            def note(status: str, *arguments: Any) -> Any:
                said.append(status)
                return start_response(status, *arguments)

            return _Watched(app(environ, note), said, self.server_errors)

        return watched

    def _serve_with_wsgiref(self, app: Any) -> int:
        server = simple_server.make_server(
            "127.0.0.1", 0, validator(app), _ThreadingServer, _handler_class(self.server_errors)
        )
        self._run(server)
        return server.server_port

    def _serve_with_werkzeug(self, app: Any) -> int:
        # Not behind the validator: the REMOTE_PORT of this server is an int.
        errors = self.server_errors

        class Handler(werkzeug.serving.WSGIRequestHandler):
            def log(self, type: str, message: str, *args: Any) -> None:
                if type == "error":
                    errors.write(message % args)

        server = werkzeug.serving.make_server("127.0.0.1", 0, app, threaded=True, request_handler=Handler)
        self._run(server)
        return server.port

    def _serve_with_ours(self, app: Any) -> int:
        server = self.enterContext(running(syncws.Server(wsgi_app=validator(app), host="127.0.0.1", port=0)))
        return int(server.address[1])

    def _run(self, server: Any) -> None:
        self.addCleanup(server.server_close)
        thread = threading.Thread(target=server.serve_forever, args=(0.01,), name="test-server")
        thread.start()
        self.addCleanup(thread.join)
        self.addCleanup(server.shutdown)

    def ask(self, url: str, method: str = "GET", headers: dict[str, str] | None = None, body: str = "") -> Answer:
        """A plain request of its own connection."""
        parts = urlsplit(url)
        connection = http.client.HTTPConnection(parts.hostname or "", parts.port, timeout=PATIENCE)
        try:
            connection.request(
                method, parts.path + (f"?{parts.query}" if parts.query else ""), body or None, headers or {}
            )
            return Answer(connection.getresponse())
        finally:
            connection.close()

    def dial(self, url: str, **headers: str) -> syncws.Conn:
        """A WebSocket connection, closed at the end of the test. Keywords are headers: ``Cookie="a=b"``."""
        conn = syncws.dial(url.replace("http", "ws", 1), headers, proxy=None, timeout=PATIENCE)
        conn.set_read_deadline(None)
        self.addCleanup(conn.close)
        return conn

    def refused(self, url: str, **headers: str) -> syncws.ReceivedResponse:
        """The answer to a handshake that must be refused."""
        with self.assertRaises(syncws.BadHandshakeError) as caught:
            self.dial(url, **headers)
        assert caught.exception.response is not None
        return caught.exception.response

    def cookies_of(self, conn: syncws.Conn) -> str:
        """The cookies that came with the 101, as a client sends them back."""
        return "; ".join(line.partition(";")[0] for line in conn.response.headers.get_all("Set-Cookie"))

    def check_echo(self, conn: syncws.Conn) -> None:
        for message in ("hello", b"\0\xff", "", "\N{BALLOON}" * 10_000):
            conn.send(message)
            self.assertEqual(conn.receive(timeout=PATIENCE), message)

    def check_end(self, conn: syncws.Conn, code: int) -> None:
        """The server closes with this code."""
        with self.assertRaises(syncws.CloseError) as caught:
            conn.receive(timeout=PATIENCE)
        self.assertEqual(caught.exception.code, code)
        conn.close()  # else the server waits a moment for our end

    def all_done(self) -> None:
        """Wait until every handler has returned."""
        self.assertTrue(await_(lambda: syncws.wsgi.open_connections() == 0))


class _Watched:
    def __init__(self, result: Any, said: list[str], errors: StringIO) -> None:
        self._result = result
        self._said = said
        self._errors = errors

    def __iter__(self) -> Iterator[bytes]:
        for chunk in self._result:
            if self._said[-1].startswith("101"):
                self._errors.write(f"the 101 has yielded {chunk!r}")
            yield chunk

    def close(self) -> None:
        if hasattr(self._result, "close"):
            self._result.close()


class _ThreadingServer(ThreadingMixIn, simple_server.WSGIServer):
    daemon_threads = False  # joined by server_close


def _handler_class(errors: StringIO) -> type[simple_server.WSGIRequestHandler]:
    class Handler(simple_server.WSGIRequestHandler):
        def log_message(self, format: str, *args: Any) -> None:
            pass

        def get_stderr(self) -> Any:
            return errors

    return Handler
