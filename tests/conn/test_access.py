"""access.py: each WebSocket of a server has one line at its end, and each HTTP request of our own server one."""

from __future__ import annotations

import logging
import sys
import unittest
from typing import Any

import syncws
from syncws import CloseError, Request, Response, Upgrader, dial
from syncws.testing import await_
from tests.server.cases import GET, Client, ServerTestCase
from tests.tasks import PATIENCE
from tests.wsgi.cases import WSGICase, each_way

LINUX = sys.platform == "linux"


def echo(conn: syncws.Conn) -> None:
    for message in conn:
        conn.send(message)


class AccessCase(ServerTestCase):
    """A server whose access log is looked at."""

    def served(
        self, talk: Any, handler: Any = echo, *, level: int = logging.INFO, **options: Any
    ) -> list[logging.LogRecord]:
        """The lines of a server while a client talks to it."""
        upgrader = Upgrader(**options)

        def serve(request: Request) -> Response | None:
            if request.path == "/page":
                return Response("hello")
            handler(upgrader.upgrade(request))
            return None

        with self.assertLogs("syncws.access", level) as logs:
            with self.serving(serve) as server:
                talk(server)
            return logs.records

    def line(self, talk: Any, handler: Any = echo, **options: Any) -> Any:
        """The one line; its record."""
        (record,) = self.served(talk, handler, **options)
        self.assertTrue(record.getMessage().isprintable())
        return record


class WebSocketTests(AccessCase):
    """The line of a WebSocket."""

    def test_what_it_says(self) -> None:
        """Nothing told that a connection was closed: its line has peer, path, code, seconds, bytes and id."""

        heads: list[bytes] = []

        def talk(server: Any) -> None:
            with dial(f"ws://127.0.0.1:{server.port}/a%20b?token=hunter2", subprotocols=["chat"]) as conn:
                answer = conn.response
                lines = [
                    f"HTTP/1.1 101 {answer.reason}",
                    *(f"{name}: {value}" for name, value in answer.headers),
                    "",
                    "",
                ]
                heads.append("\r\n".join(lines).encode())
                for _ in range(10):
                    conn.send("x" * 1000)
                    conn.receive()

        record = self.line(talk, subprotocols=["chat"])
        text = record.getMessage()
        counted = r"in=\S+ out=\S+ messages=10/10"
        self.assertRegex(
            text,
            rf"127\.0\.0\.1:\d+ WS /a%20b 1000 \d+\.\d{{3}}s {counted} subprotocol=chat id=[0-9a-f]{{32}}",
        )
        self.assertNotIn("hunter2", text)
        self.assertEqual((record.path, record.code, record.subprotocol), ("/a%20b", 1000, "chat"))
        self.assertIn(record.connection_id, text)
        self.assertGreater(record.seconds, 0)
        self.assertEqual((record.messages_in, record.messages_out), (10, 10))
        if LINUX:  # ten messages, and a close; each with its header, and the mask of what comes from a client
            self.assertIn(record.bytes_in - (10 * 1008 + 8), (0, 1))  # the kernel counts the end of TCP as one
            head = len(b"".join(heads))
            self.assertEqual(record.bytes_out, head + 10 * 1004 + 4)

    def test_open_and_close_have_one_id(self) -> None:
        """That it opened is said at DEBUG, with the id that the line at its end has."""
        opened, closed = self.served(lambda server: dial(server_url(server)).close(), level=logging.DEBUG)
        self.assertEqual((opened.levelname, closed.levelname), ("DEBUG", "INFO"))
        self.assertIn("opened", opened.getMessage())
        self.assertEqual(opened.connection_id, closed.connection_id)

    def test_every_end(self) -> None:
        """Each end has its code: of the peer, of the handler, none at all, a lost connection, a breach."""

        def failing(conn: syncws.Conn) -> None:
            raise ValueError("x")

        def ended(client: Any) -> None:
            client.receive(timeout=PATIENCE)

        cases: tuple[tuple[int, Any, Any], ...] = (
            (4001, echo, lambda conn: conn.close(4001, "a\nb")),
            (1000, lambda conn: None, ended),
            (1011, failing, ended),
            (4444, lambda conn: conn.close(4444), ended),
            (1006, echo, lambda conn: conn.close_now()),
            (1006, lambda conn: conn.close_now(), ended),
            (1002, echo, lambda conn: (conn.socket.sendall(b"\xff\xff"), ended(conn))),
        )
        logging.getLogger("syncws.server").setLevel(logging.CRITICAL)
        self.addCleanup(logging.getLogger("syncws.server").setLevel, logging.NOTSET)
        for code, handler, leave in cases:
            with self.subTest(code=code):

                def talk(server: Any, leave: Any = leave) -> None:
                    with dial(server_url(server)) as conn:
                        try:
                            leave(conn)
                        except syncws.ConnectionClosed:
                            pass

                self.assertEqual(self.line(talk, handler).code, code)

    def test_a_subprotocol_that_may_be_a_token(self) -> None:
        """What a callable picks of the client's offers may be a token, and is not shown."""
        url, offers = "ws://127.0.0.1:{}/", ["hunter2"]
        record = self.line(
            lambda server: dial(url.format(server.port), subprotocols=offers).close(),
            subprotocols=lambda request: "hunter2",
        )
        self.assertIn("subprotocol=- ", record.getMessage())
        self.assertIsNone(record.subprotocol)

    def test_off(self) -> None:
        """While nobody wants the lines, nothing is kept for them."""
        seen: list[Any] = []
        with self.serving(lambda request: seen.append(Upgrader().upgrade(request))) as server:
            dial(server_url(server)).close()
        self.assertIsNone(seen[0]._visit)

    def test_it_is_said_once(self) -> None:
        """However often and by whomever it is closed, there is one line."""

        def handler(conn: syncws.Conn) -> None:
            for _ in range(3):
                conn.close()
                conn.close_now()

        def talk(server: Any) -> None:
            with dial(server_url(server)) as conn, self.assertRaises(CloseError):
                conn.receive()

        self.line(talk, handler)


class RequestTests(AccessCase):
    """The line of an HTTP request."""

    def test_what_it_says(self) -> None:
        """Each answered request has a line with status and bytes, also a refused handshake; and no query."""

        def talk(server: Any) -> None:
            with Client(server.address) as client:
                client.request(GET.replace(b"GET /", b"GET /page?token=hunter2"))
                client.request(GET.replace(b"GET /", b"GET /chat?token=hunter2"))

        with self.assertLogs("syncws.server"):  # that it was refused
            first, second = self.served(talk)
        pattern = r"127\.0\.0\.1:\d+ GET /%s %d \d+\.\d{3}s out=\d+ connection=1"
        self.assertRegex(first.getMessage(), pattern % ("page", 200))
        self.assertRegex(second.getMessage(), pattern % ("chat", 400))
        self.assertNotIn("hunter2", first.getMessage() + second.getMessage())
        self.assertEqual((first.method, first.path, first.status), ("GET", "/page", 200))  # type: ignore[attr-defined]


class HostedTests(WSGICase):
    """WebSockets inside WSGI servers, detached and in the view, and on our own."""

    @each_way
    def test_a_line_at_the_end(self, server: str, detach: bool | None) -> None:
        """A WebSocket of a hosted application has its line too, wherever its handler runs."""
        upgrader = Upgrader()

        def app(environ: Any, start_response: Any) -> Any:
            return upgrader.serve(environ, echo, detach=detach)(environ, start_response)

        with self.assertLogs("syncws.access", logging.INFO) as logs:
            url = self.serve(app, server).replace("http", "ws")
            dial(f"{url}/chat?x=1").close(4001)
            self.assertTrue(await_(lambda: bool(logs.records), PATIENCE))
        self.assertRegex(logs.records[0].getMessage(), r"127\.0\.0\.1:\d+ WS /chat 4001 ")

    def test_upgraded_by_the_view_itself(self) -> None:
        """A view that upgrades by itself, and leaves the rest to the response, has its line as well."""
        upgrader = Upgrader()

        def app(environ: Any, start_response: Any) -> Any:
            conn = upgrader.upgrade(environ)
            echo(conn)
            return conn.wsgi_response(environ, start_response)

        with self.assertLogs("syncws.access", logging.INFO) as logs:
            dial(self.serve(app).replace("http", "ws")).close(1000)
            self.assertTrue(await_(lambda: bool(logs.records), PATIENCE))
        self.assertEqual(logs.records[0].code, 1000)  # type: ignore[attr-defined]


def server_url(server: Any) -> str:
    return f"ws://127.0.0.1:{server.port}/chat"


if __name__ == "__main__":
    unittest.main()
