"""A WSGI application behind HTTP/1.1: environ, wsgi.input, start_response, answers of every shape, and their ends.

Every application that keeps to PEP 3333 runs behind `wsgiref.validate`, which checks both sides of the call.
"""

from __future__ import annotations

import io
import logging
import math
import random
import unittest
from collections.abc import Iterable, Iterator
from typing import Any
from unittest import mock

from syncws._base.version import __version__
from syncws._http.headers import Headers
from syncws._http.http11 import HTTPConnection
from syncws._http.request import BadRequest, Request
from syncws._http.response import Response
from syncws._server import gateway as gateway_module
from syncws._server import wsgi_answer as answer_module
from syncws._server.gateway import _break_circles
from syncws.errors import HandshakeError
from tests.http.cases import NOTHING, SEEDS, UPGRADE, head, mutate
from tests.server.gateway_cases import (
    GET,
    TEXT,
    Answer,
    Blocks,
    Client,
    GatewayCase,
    Hosted,
    answering,
    post,
    reading,
)


class EnvironTests(GatewayCase):
    def test_all_of_it(self) -> None:
        """The environ of a plain request is complete, and holds nothing else."""
        environ = self.environ(head("User-Agent: x", start="GET /a/b?q=1&r=%20 HTTP/1.1"))
        for name in ("wsgi.input", "wsgi.errors", "wsgi.file_wrapper", "syncws.request"):
            self.assertIsNotNone(environ.pop(name))
        self.assertEqual(
            environ,
            {
                "REQUEST_METHOD": "GET",
                "SCRIPT_NAME": "",
                "PATH_INFO": "/a/b",
                "QUERY_STRING": "q=1&r=%20",
                "REQUEST_URI": "/a/b?q=1&r=%20",
                "SERVER_NAME": "127.0.0.1",
                "SERVER_PORT": "80",
                "SERVER_PROTOCOL": "HTTP/1.1",
                "SERVER_SOFTWARE": f"syncws/{__version__}",
                "REMOTE_ADDR": "127.0.0.1",
                "REMOTE_PORT": "50000",
                "HTTP_HOST": "a.example",
                "HTTP_USER_AGENT": "x",
                "wsgi.version": (1, 0),
                "wsgi.url_scheme": "http",
                "wsgi.input_terminated": True,
                "wsgi.multithread": True,
                "wsgi.multiprocess": False,
                "wsgi.run_once": False,
            },
        )

    def test_several_workers(self) -> None:
        """In one of several worker processes an application is told that there are others."""
        with mock.patch.object(gateway_module, "in_worker", return_value=True):
            self.assertIs(self.environ(head())["wsgi.multiprocess"], True)

    def test_paths(self) -> None:
        """PATH_INFO is the decoded bytes as Latin-1, whatever they are; the query string stays as it came."""
        for target, path, query in [
            ("/", "/", ""),
            ("/%C3%A9", "/\xc3\xa9", ""),
            ("/%ff%00x", "/\xff\0x", ""),
            ("/a%2Fb%3Fc?d%2F", "/a/b?c", "d%2F"),
            ("/%zz?", "/%zz", ""),
            ("//x//y", "//x//y", ""),
            ("/a/../b/./c", "/a/../b/./c", ""),
            ("http://b.example/p?q=/?", "/p", "q=/?"),
            ("http://b.example?q", "/", "q"),
        ]:
            with self.subTest(target=target):
                environ = self.environ(head(start=f"GET {target} HTTP/1.1"))
                self.assertEqual((environ["PATH_INFO"], environ["QUERY_STRING"]), (path, query))
                self.assertEqual(environ["REQUEST_URI"], target)

    def test_methods(self) -> None:
        """Any method reaches the application, also one that HTTP does not know."""
        for method in ("GET", "HEAD", "DELETE", "OPTIONS", "PURGE", "get"):
            with self.subTest(method=method), mock.patch("wsgiref.validate.warnings.warn"):
                self.assertEqual(self.environ(head(start=f"{method} /x HTTP/1.1"))["REQUEST_METHOD"], method)

    def test_headers(self) -> None:
        """Headers become variables; values are Latin-1; Content-Type and Content-Length have no HTTP_ in front."""
        environ = self.environ(
            post("X-One-Two: \xe9", "accept: */*", "Content-Type: a/b", "Content-Length: 3", "X-Empty:") + b"abc"
        )
        self.assertEqual(environ["HTTP_X_ONE_TWO"], "\xe9")
        self.assertEqual(environ["HTTP_ACCEPT"], "*/*")
        self.assertEqual(environ["HTTP_X_EMPTY"], "")
        self.assertEqual((environ["CONTENT_TYPE"], environ["CONTENT_LENGTH"]), ("a/b", "3"))
        self.assertFalse({"HTTP_CONTENT_TYPE", "HTTP_CONTENT_LENGTH"} & environ.keys())

    def test_repeated_headers(self) -> None:
        """Repeated headers are joined, in their order: by a comma, cookies by a semicolon."""
        environ = self.environ(head("X-F: a", "Cookie: a=1", "x-f: b, c", "cookie: b=2", "X-F: d"))
        self.assertEqual(environ["HTTP_X_F"], "a, b, c, d")
        self.assertEqual(environ["HTTP_COOKIE"], "a=1; b=2")

    def test_underscores(self) -> None:
        """A header with an underscore is dropped: it would pass for the one with hyphens, which a proxy checks."""
        environ = self.environ(head("X_Forwarded_For: evil", "X-Forwarded-For: proxy", "X_Y-Z: 1", "Content_Length: 5"))
        self.assertEqual(environ["HTTP_X_FORWARDED_FOR"], "proxy")
        self.assertFalse({"HTTP_X_Y_Z", "CONTENT_LENGTH", "HTTP_CONTENT_LENGTH"} & environ.keys())

    def test_host(self) -> None:
        """The host of an absolute target counts, not the header's; without either there is no HTTP_HOST."""
        self.assertEqual(self.environ(head(start="GET http://b.example:8/ HTTP/1.1"))["HTTP_HOST"], "b.example:8")
        self.assertNotIn("HTTP_HOST", self.environ(head(host=None, start="GET / HTTP/1.0")))
        self.assertEqual(self.environ(head(host=None, start="GET / HTTP/1.0"))["SERVER_PROTOCOL"], "HTTP/1.0")

    def test_tls(self) -> None:
        """Under TLS the scheme is https."""
        client = Client(GET)
        client.is_tls = True
        self.assertEqual(self.environ(client=client)["wsgi.url_scheme"], "https")

    def test_unix_socket(self) -> None:
        """Over a Unix socket the names that must not be empty are not, and there is no port of the peer."""
        for is_tls, port in ((False, "80"), (True, "443")):
            client = Client(GET)
            client.is_tls, client.local_address, client.remote_address = is_tls, "/run/app.sock", ""
            environ = self.environ(client=client)
            self.assertEqual((environ["SERVER_NAME"], environ["SERVER_PORT"]), ("localhost", port))
            self.assertEqual(environ["REMOTE_ADDR"], "")
            self.assertNotIn("REMOTE_PORT", environ)

    def test_ipv6(self) -> None:
        """IPv6 addresses have no brackets; their ports are str."""
        client = Client(GET)
        client.local_address, client.remote_address = ("::1", 80, 0, 0), ("fe80::1", 5, 0, 2)
        environ = self.environ(client=client)
        self.assertEqual([environ[name] for name in ("SERVER_NAME", "SERVER_PORT")], ["::1", "80"])
        self.assertEqual([environ[name] for name in ("REMOTE_ADDR", "REMOTE_PORT")], ["fe80::1", "5"])

    def test_errors(self) -> None:
        """wsgi.errors is stderr; in a process without one, the log."""

        def app(environ: dict[str, Any], start_response: Any) -> list[bytes]:
            environ["wsgi.errors"].write("oh\n")
            environ["wsgi.errors"].writelines(["dear", "\n"])
            environ["wsgi.errors"].flush()
            start_response("204 No Content", [])
            return []

        with mock.patch("sys.stderr", io.StringIO()) as stderr:
            self.host(app)
        self.assertEqual(stderr.getvalue(), "oh\ndear\n")
        with mock.patch("sys.stderr", None), self.assertLogs("syncws.server", logging.ERROR) as logs:
            self.host(app)
        self.assertEqual([record.getMessage() for record in logs.records], ["oh", "dear"])

    def test_what_an_application_writes_to_the_log(self) -> None:
        """In a process without stderr each line that an application writes is a record, and is printable."""

        def app(environ: dict[str, Any], start_response: Any) -> list[bytes]:
            environ["wsgi.errors"].write("Traceback:\n  it \x1b[31mfailed\r\n\u2028CRITICAL:root:forged\n")
            start_response("204 No Content", [])
            return []

        with mock.patch("sys.stderr", None), self.assertLogs("syncws.server", logging.ERROR) as logs:
            self.host(app)
        said = [record.getMessage() for record in logs.records]
        self.assertEqual(said, ["Traceback:", r"  it \x1b[31mfailed", "CRITICAL:root:forged"])

    def test_request(self) -> None:
        """syncws.request is the request, with the connection that an Upgrader takes over."""
        requests = []

        def app(environ: dict[str, Any], start_response: Any) -> list[bytes]:
            requests.append(environ["syncws.request"])
            start_response("204 No Content", [])
            return []

        hosted = self.host(app)
        self.assertEqual(requests, [hosted.request])
        self.assertIs(requests[0].exchange, hosted.http)

    def test_file_wrapper(self) -> None:
        """wsgi.file_wrapper sends a file block by block, and closes it."""
        file = io.BytesIO(b"x" * 5000)
        hosted = self.host(answering(lambda environ: environ["wsgi.file_wrapper"](file, 2000)))
        self.assertEqual(hosted.answer().body, b"x" * 5000)
        self.assertEqual(len(hosted.client.sends), 4)
        self.assertTrue(file.closed)

    def test_the_server_as_a_whole(self) -> None:
        """OPTIONS * is about the server, which answers it; no application has a path for it."""
        hosted = self.host(mock.Mock(side_effect=AssertionError), head(start="OPTIONS * HTTP/1.1"), valid=False)
        self.assertEqual((hosted.answer().status, hosted.answer().body), (200, b""))


class EndTests(GatewayCase):
    """close(), errors of the application, clients that leave."""

    def test_close_is_called(self) -> None:
        """What the application returned is closed once, after the last byte of the answer."""
        client = Client(GET)

        class Result(Blocks):
            def close(result) -> None:
                super().close()
                self.assertTrue(client.sent.endswith(b"0\r\n\r\n"))

        blocks = Result(b"one", b"two")
        self.host(answering(blocks), client=client)
        self.assertEqual(blocks.closed, 1)

    def test_close_that_raises(self) -> None:
        """A close() that raises is logged; the answer has left, and the next request is read."""

        class Result(Blocks):
            def close(self) -> None:
                raise ZeroDivisionError

        with self.assertLogs("syncws.server", logging.ERROR) as logs:
            hosted = self.host(answering(lambda environ: Result(b"one", b"two")), GET + GET)
        self.assertEqual([answer.body for answer in hosted.answers()], [b"onetwo", b"onetwo"])
        self.assertEqual(len(logs.records), 2)
        self.assertIn("close()", logs.records[0].getMessage())

    def test_an_error_before_the_head(self) -> None:
        """An application that raises is a 500 with a traceback in the log, and the next request is read."""

        def app(environ: dict[str, Any], start_response: Any) -> list[bytes]:
            if environ["PATH_INFO"] == "/":
                start_response("200 OK", TEXT)
                raise ZeroDivisionError
            start_response("200 OK", TEXT)
            return [b"fine"]

        with self.logs(logging.ERROR, "POST /: the application raised", traceback=True):
            hosted = self.host(app, post("Content-Length: 3") + b"abc" + head(start="GET /2 HTTP/1.1"))
        self.assertEqual([answer.status for answer in hosted.answers()], [500, 200])

    def test_an_error_at_the_first_block(self) -> None:
        """So is one whose iterator raises before its first block; the iterator is closed."""
        blocks = Blocks(b"", ZeroDivisionError())
        with self.logs(logging.ERROR, "raised", traceback=True):
            self.assertEqual(self.host(answering(blocks)).answer().status, 500)
        self.assertEqual(blocks.closed, 1)

    def test_an_error_in_the_middle(self) -> None:
        """Once something has left, an error ends the connection, in a way that the client can tell."""
        for headers in (TEXT, [*TEXT, ("Content-Length", "100")]):
            blocks = Blocks(b"one", ZeroDivisionError())
            with self.logs(logging.ERROR, "raised", traceback=True):
                hosted = self.host(answering(blocks, headers=headers), GET + GET)
            self.assertEqual((hosted.answer().body, hosted.targets, blocks.closed), (None, ["/"], 1))
            self.assertNotIn(b"500", hosted.sent)

    def test_an_error_for_head(self) -> None:
        """A 500 for a HEAD has no body."""
        with self.logs(logging.ERROR, traceback=True):
            hosted = self.host(answering(Blocks(ZeroDivisionError())), head(start="HEAD / HTTP/1.1"))
        self.assertTrue(hosted.sent.endswith(b"\r\n\r\n"))

    def test_exit(self) -> None:
        """SystemExit of an application leaves as it is; what it had returned is closed."""
        blocks = Blocks(b"one", SystemExit())
        with self.assertRaises(SystemExit):
            self.host(answering(blocks))
        self.assertEqual(blocks.closed, 1)

    def test_a_client_that_leaves(self) -> None:
        """A client that leaves ends the answer at the next block, with one error for the server to log, and close()."""
        for takes in (0, 250):
            blocks = Blocks(*[b"x" * 100] * 5)
            with self.silence():
                hosted = self.host(answering(blocks), client=Client(GET, takes=takes))
            self.assertRegex(str(hosted.gone), "GET /: the client did not take the answer: .*Broken pipe")
            self.assertEqual(blocks.closed, 1)
            self.assertGreater(len(blocks.blocks), 0)

    def test_a_client_that_leaves_at_the_end(self) -> None:
        """So it is if the end of the answer is what cannot be sent, or the whole of it."""
        self.assertIsNotNone(self.host(answering([]), client=Client(GET, takes=0)).gone)
        hosted = self.host(answering(iter([b"x"])))
        blocks = Blocks(b"x")
        hosted = self.host(answering(blocks), client=Client(GET, takes=len(hosted.sent) - 1))
        self.assertIsNotNone(hosted.gone)
        self.assertEqual(blocks.closed, 1)

    def test_a_client_that_leaves_during_write(self) -> None:
        """write() raises OSError then, and goes on raising; whatever the application makes of it, nothing is logged."""
        for ending in (lambda: [], lambda: [b"more"], lambda: 1 // 0):

            def app(environ: dict[str, Any], start_response: Any, ending: Any = ending) -> Any:
                write = start_response("200 OK", TEXT)
                for _ in range(2):
                    with self.assertRaises(OSError):
                        write(b"x")
                return ending()

            with self.silence():
                self.assertIsNotNone(self.host(app, client=Client(GET, takes=0)).gone)

    def test_a_generator_that_catches_it(self) -> None:
        """A generator that is closed because the client left may run its cleanup."""
        cleaned = []

        def blocks(environ: dict[str, Any]) -> Iterator[bytes]:
            try:
                while True:
                    yield b"x" * 100
            finally:
                cleaned.append(True)

        hosted = self.host(answering(blocks), client=Client(GET, takes=1000))
        self.assertIsNotNone(hosted.gone)
        self.assertEqual(cleaned, [True])

    def test_a_client_that_is_gone_when_the_error_is_told(self) -> None:
        """An error of the application that nobody is left to be told about is logged as the application's, once."""
        with self.logs(logging.ERROR, "raised", traceback=True):
            self.host(answering(Blocks(ZeroDivisionError())), client=Client(GET, takes=0))

    def test_errors_of_its_own(self) -> None:
        """An OSError that is the application's own is no client that left."""
        with self.logs(logging.ERROR, "raised", traceback=True):
            hosted = self.host(answering(Blocks(FileNotFoundError("data"))))
        self.assertEqual((hosted.answer().status, hosted.gone), (500, None))

    def test_stall(self) -> None:
        """A client that takes nothing is given up: the limit reaches the transport with each block, and the end."""
        client = Client(GET)

        def blocks(environ: dict[str, Any]) -> Iterator[bytes]:
            yield b"one"
            self.assertEqual(client.stall, answer_module.STALL_LIMIT)
            client.stall = None
            yield b"two"
            self.assertEqual(client.stall, answer_module.STALL_LIMIT)
            client.stall = None

        self.host(answering(blocks), client=client)
        self.assertEqual(client.stall, answer_module.STALL_LIMIT)


class KeepAliveTests(GatewayCase):
    """Which requests follow one another."""

    def assertServed(self, targets: list[str], app: Any, *pieces: Any, closes: bool) -> Hosted:
        """Of the requests these are served, and the last answer tells whether it is the last."""
        with self.silence():
            hosted = self.host(app, *pieces)
        self.assertEqual(hosted.targets, targets)
        answers = hosted.answers()
        self.assertEqual(len(answers), len(targets))
        self.assertEqual(answers[-1].closes, closes)
        return hosted

    def test_pipelined(self) -> None:
        """Requests that arrive in one piece, bodies between them, are answered in order."""
        app = reading(lambda stream: stream.read(10))
        requests = (
            head(start="GET /1 HTTP/1.1")
            + post("Content-Length: 3", target="/2")
            + b"abc"
            + post("Content-Length: 4", target="/3")
            + b"defg"
            + head(start="GET /4 HTTP/1.1")
        )
        for pieces in ([requests], [bytes([byte]) for byte in requests]):
            hosted = self.assertServed(["/1", "/2", "/3", "/4"], app, *pieces, closes=False)
            self.assertEqual([answer.body for answer in hosted.answers()], [b"", b"abc", b"defg", b""])

    def test_pipelined_and_chunked(self) -> None:
        """Chunked answers and those with a length follow one another."""

        def app(environ: dict[str, Any], start_response: Any) -> Iterable[bytes]:
            start_response("200 OK", TEXT)
            return iter([b"a", b"b"]) if environ["PATH_INFO"] == "/2" else [b"ab"]

        requests = b"".join(head(start=f"GET /{number} HTTP/1.1") for number in (1, 2, 3))
        hosted = self.assertServed(["/1", "/2", "/3"], app, requests, closes=False)
        self.assertEqual([answer.body for answer in hosted.answers()], [b"ab"] * 3)

    def test_an_unread_body(self) -> None:
        """A short body that nobody read is dropped, here or still to come; the next request is the next."""
        for app in (answering(lambda environ: [b"x"]), answering(lambda environ: iter([b"x"]))):
            for pieces in (
                [post("Content-Length: 9", target="/1") + b"GET /evil" + head(start="GET /2 HTTP/1.1")],
                [post("Content-Length: 9", target="/1"), b"GET ", b"/evil" + head(start="GET /2 HTTP/1.1")],
            ):
                self.assertServed(["/1", "/2"], app, *pieces, closes=False)

    def test_a_body_read_in_part(self) -> None:
        """So it is with what is left of one that was read in part."""
        app = reading(lambda stream: stream.read(2))
        self.assertServed(
            ["/1", "/2"], app, post("Content-Length: 9", target="/1"), b"GET /evil", head(start="GET /2 HTTP/1.1"),
            closes=False,
        )  # fmt: skip

    def test_an_unread_body_that_does_not_come(self) -> None:
        """The answer does not wait for it; if the rest stays away, the connection ends."""
        client = Client(post("Content-Length: 9"), b"GET ", NOTHING)

        class Result(Blocks):
            def close(result) -> None:
                self.assertEqual(client.now, 1000.0)
                self.assertTrue(client.sent.endswith(b"\r\n\r\nx"))

        self.host(answering(Result(b"x"), headers=[*TEXT, ("Content-Length", "1")]), client=client)
        self.assertEqual(client.now, 1001.0)

    def test_a_long_unread_body(self) -> None:
        """A long body that nobody read ends the connection, and is not waited for."""
        client = Client(post("Content-Length: 99999"), b"x" * 1000, NOTHING)
        hosted = self.host(answering(lambda environ: [b"x"]), client=client, valid=False)
        self.assertTrue(hosted.answer().closes)
        self.assertEqual(client.now, 1000.0)

    def test_a_long_body_that_is_read_meanwhile(self) -> None:
        """An application may read on while it answers; what counts is what is left at the end."""

        def echo(environ: dict[str, Any]) -> Iterator[bytes]:
            while block := environ["wsgi.input"].read(10_000):
                yield block

        body = [b"x" * 10_000] * 20
        hosted = self.assertServed(
            ["/", "/"], answering(echo), post("Content-Length: 200000"), *body, GET, closes=False
        )
        self.assertEqual(hosted.answers()[0].body, b"".join(body))
        client = Client(post("Content-Length: 200000"), *body, GET)
        hosted = self.host(answering(lambda environ: iter([b"not ", b"read"])), client=client)
        self.assertEqual(hosted.targets, ["/"])
        self.assertEqual(len(client.pieces), 21)

    def test_a_body_that_waits_for_consent(self) -> None:
        """A client that waits for 100 Continue and gets an answer may send its body or not: the connection ends."""
        for app in (answering([b"no"]), answering(iter([b"no"]))):
            request = post("Content-Length: 9", "Expect: 100-continue", target="/1")
            self.assertServed(["/1"], app, request, b"GET /evil", head(start="GET /2 HTTP/1.1"), closes=True)

    def test_a_chunked_body(self) -> None:
        """A request with a chunked body is the last, read or not: its end is open to interpretation."""
        for app in (answering([b"x"]), reading(lambda stream: stream.read(9))):
            request = post("Transfer-Encoding: chunked") + b"1\r\nx\r\n0\r\n\r\n" + GET
            self.assertServed(["/"], app, request, closes=True)

    def test_upgrades(self) -> None:
        """What follows a request for an upgrade that got a plain answer is never read as a request."""
        self.assertServed(["/chat"], answering([b"x"]), UPGRADE + GET, closes=True)
        body = post("Upgrade: x", "Content-Length: 3", target="/u")
        self.assertServed(["/u"], answering(iter([b"x"])), body, b"abc", GET, closes=True)

    def test_what_the_client_wants(self) -> None:
        """A client that says close gets close; HTTP/1.0 does anyway."""
        self.assertServed(["/"], answering([b"x"]), head("Connection: close") + GET, closes=True)
        self.assertServed(["/"], answering([b"x"]), head("Connection: keep-alive", start="GET / HTTP/1.0"), closes=True)

    def test_smuggling(self) -> None:
        """Requests whose end two parsers may see in different places never reach the application."""
        app = mock.Mock(side_effect=AssertionError)
        for data in (
            post("Content-Length: 4", "Transfer-Encoding: chunked") + b"0\r\n\r\n",
            post("Transfer-Encoding: chunked", "Content-Length: 4") + b"0\r\n\r\n",
            post("Content-Length: 4", "Content-Length: 5") + b"abcde",
            post("Content-Length: 4, 4") + b"abcd",
            post("Content-Length: +4") + b"abcd",
            post("Transfer-Encoding: xchunked") + b"0\r\n\r\n",
            post("Transfer-Encoding: chunked, identity") + b"0\r\n\r\n",
            post("Transfer-Encoding : chunked") + b"0\r\n\r\n",
            post("Transfer-Encoding: chunked", version="1.0") + b"0\r\n\r\n",
            post("X: a\rTransfer-Encoding: chunked"),
            post("X: a", " Content-Length: 4"),
            b"POST / HTTP/1.1\nHost: a\n\n",
        ):
            with self.subTest(data=data):
                hosted = self.host(app, data + GET, valid=False)
                self.assertIsNotNone(hosted.refused)
                self.assertEqual(hosted.targets, [])

    def test_headers_that_split_the_answer(self) -> None:
        """What a client puts into a header of the answer cannot begin another answer."""

        def app(environ: dict[str, Any], start_response: Any) -> list[bytes]:
            start_response("302 Found", [("Location", environ["PATH_INFO"])])
            return []

        with self.logs(logging.ERROR, "'Location'"):
            hosted = self.host(app, head(start="GET /%0d%0aX:%20y HTTP/1.1"), valid=False)
        self.assertEqual(hosted.answer().status, 500)
        self.assertNotIn(b"X: y", hosted.sent)


class UpgradeTests(GatewayCase):
    """Requests that another protocol takes over: nothing of the application's answer may reach it."""

    def upgrading(self, body: Iterable[bytes] = (), *, then: bool = False) -> tuple[Any, list[str]]:
        called: list[str] = []

        def app(environ: dict[str, Any], start_response: Any) -> Iterable[bytes]:
            request = environ["syncws.request"]
            request.environ = environ
            if then:
                request.then = lambda: called.append("then")
            else:
                request.exchange.take_over()
            start_response("101 Switching Protocols", TEXT)
            return body

        return app, called

    def test_nothing_is_written(self) -> None:
        """Whether the connection was taken over or will be: the answer is iterated and closed, and never sent."""
        for then in (False, True):
            blocks = Blocks(b"", b"")
            app, called = self.upgrading(blocks, then=then)
            with self.silence():
                hosted = self.host(app, UPGRADE + b"early")
            self.assertEqual((hosted.sent, blocks.closed, blocks.blocks, called), (b"", 1, [], []))
            assert hosted.request is not None
            self.assertEqual(hosted.request.then is not None, then)

    def test_what_the_client_sent_early(self) -> None:
        """Who takes over later finds the connection as it was."""
        app, _ = self.upgrading(then=True)
        hosted = self.host(app, UPGRADE + b"early", b"late")
        self.assertEqual(hosted.http.take_over(), (hosted.client, b"early"))
        self.assertEqual(hosted.client.pieces, [b"late"])

    def test_a_body_is_ignored(self) -> None:
        """A body beside it is a mistake of the application: one line, and nothing is sent."""
        for then in (False, True):
            blocks = Blocks(b"body", AssertionError("asked for more"))
            app, _ = self.upgrading(blocks, then=then)
            with self.logs(logging.ERROR, "its body is ignored"):
                hosted = self.host(app, UPGRADE)
            self.assertEqual((hosted.sent, blocks.closed), (b"", 1))
            assert hosted.request is not None
            self.assertEqual(hosted.request.then is not None, then)

    def test_in_a_generator(self) -> None:
        """A generator may take the connection over at its first step."""

        def app(environ: dict[str, Any], start_response: Any) -> Iterator[bytes]:
            environ["syncws.request"].exchange.take_over()
            start_response("101 Switching Protocols", TEXT)
            yield from ()

        self.assertEqual(self.host(app, UPGRADE).sent, b"")

    def test_write_is_refused(self) -> None:
        """write() on a request that was upgraded raises, and the error is the server's to handle."""

        def app(environ: dict[str, Any], start_response: Any) -> list[bytes]:
            environ["syncws.request"].exchange.take_over()
            start_response("101 Switching Protocols", TEXT)(b"x")
            return []

        with self.assertRaisesRegex(ValueError, "has been upgraded"):
            self.host(app, UPGRADE)

    def test_an_error_after_it_was_taken_over(self) -> None:
        """What the application raises then leaves answer(), for who closes the WebSocket connection."""
        blocks = Blocks(ZeroDivisionError())
        app, _ = self.upgrading(blocks)
        with self.silence(), self.assertRaises(ZeroDivisionError):
            self.host(app, UPGRADE)
        self.assertEqual(blocks.closed, 1)

    def test_an_error_before_it_is_taken_over(self) -> None:
        """An application that raises after a view has upgraded answers 500, and nothing is taken over."""
        blocks = Blocks(ZeroDivisionError())
        app, _ = self.upgrading(blocks, then=True)
        with self.logs(logging.ERROR, "raised", traceback=True):
            hosted = self.host(app, UPGRADE)
        assert hosted.request is not None
        self.assertEqual((hosted.answer().status, hosted.request.then, blocks.closed), (500, None, 1))

    def test_a_refusal_that_escapes(self) -> None:
        """A HandshakeError that leaves the application is answered with its response, which the Upgrader has logged."""

        def app(environ: dict[str, Any], start_response: Any) -> list[bytes]:
            raise HandshakeError("no", 403, Response("not you\n", 403))

        with self.silence():
            answer = self.host(app, UPGRADE).answer()
        self.assertEqual((answer.status, answer.body), (403, b"not you\n"))

    def test_a_body_read_by_the_request(self) -> None:
        """What request.body() raises, and nobody catches, is answered as a Server's handler is."""

        def app(environ: dict[str, Any], start_response: Any) -> list[bytes]:
            environ["syncws.request"].body(3)
            raise AssertionError("not reached")

        with self.logs(logging.INFO, "413"):
            self.assertEqual(self.host(app, post("Content-Length: 4") + b"abcd").answer().status, 413)

    def test_forgetting(self) -> None:
        """Behind the end nothing of the connection is left in the environ, which the request keeps."""
        app, _ = self.upgrading(then=True)
        request = self.host(app, UPGRADE).request
        assert request is not None and request.environ is not None
        _break_circles(request)
        self.assertIsNone(request.then)
        self.assertEqual(request.environ["PATH_INFO"], "/chat")
        self.assertFalse({"syncws.request", "wsgi.input"} & request.environ.keys())
        _break_circles(Request("GET", "/"))


class PiecesTests(unittest.TestCase):
    """What the gateway asks of HTTPConnection, beyond what its own tests show."""

    def open(self, *pieces: Any) -> tuple[Client, HTTPConnection]:
        client = Client(*pieces)
        return client, HTTPConnection(client)  # type: ignore[arg-type]

    def test_a_malformed_body_stays_malformed(self) -> None:
        """A body that broke off is not at its end: each read raises."""
        _, http = self.open(post("Transfer-Encoding: chunked"), b"x\r\n")
        http.read_request(None)
        for _ in range(2):
            with self.assertRaises(BadRequest):
                http.read_body_piece(None)
        self.assertEqual(HTTPConnection(Client()).read_body_piece(None), b"")  # type: ignore[arg-type]

    def test_one_answer(self) -> None:
        """An answer begins once, and only behind a request; send_response is one too."""
        _, http = self.open(GET, GET)
        with self.assertRaises(RuntimeError):
            http.begin_response(200, "OK", Headers(), droppable=0)
        http.read_request(None)
        http.begin_response(200, "OK", Headers({"Content-Length": "0"}), droppable=0)
        for answer in (
            lambda: http.begin_response(200, "OK", Headers(), droppable=0),
            lambda: http.send_response(Response(), deadline=None),
        ):
            with self.assertRaises(RuntimeError):
                answer()

    def test_an_answer_that_has_no_end(self) -> None:
        """No request is read behind an answer that was not ended."""
        _, http = self.open(GET + GET)
        http.read_request(None)
        http.begin_response(200, "OK", Headers(), droppable=math.inf)
        http.send_data(b"x", stall=None)
        self.assertIsNone(http.read_request(None))


class FuzzTests(GatewayCase):
    def test_any_input(self) -> None:
        """Spoilt streams, cut anywhere, end in an answer or a clean end, and the application sees only valid calls."""
        rng = random.Random(21)
        served = 0
        with self.assertNoLogs("syncws.server", logging.ERROR):
            for _ in range(1500):
                data = mutate(rng, rng.choice(SEEDS))
                cuts = sorted(rng.randrange(len(data) + 1) for _ in range(rng.randrange(6)))
                pieces = [data[a:b] for a, b in zip([0, *cuts], [*cuts, len(data)], strict=True) if a < b]
                with mock.patch("wsgiref.validate.warnings.warn"):  # about methods
                    hosted = self.host(any_answer(rng), *pieces, max_body_size=rng.choice((0, 4, 1000)))
                served += len(hosted.targets)
                self.check(hosted)
        self.assertGreater(served, 200)

    def check(self, hosted: Hosted) -> None:
        """Each request got an answer, which another parser understands."""
        rest = hosted.sent
        for _ in hosted.targets:
            self.assertTrue(rest)
            rest = Answer(rest).rest
        self.assertEqual(rest, b"")


def any_answer(rng: random.Random) -> Any:
    """An application that answers in one of all the ways, having read all, something or nothing of the body."""

    def app(environ: dict[str, Any], start_response: Any) -> Iterable[bytes]:
        if environ["REQUEST_METHOD"] == "HEAD":
            start_response("204 No Content", [])  # whose end does not depend on the method
            return []
        size = rng.choice((0, 2, 1000))
        got = environ["wsgi.input"].read(size) if size else b""
        way = rng.randrange(4)
        headers = [*TEXT, ("Content-Length", str(len(got) + 2))] if way == 1 else TEXT
        write = start_response("200 OK", headers)
        if way == 2:
            write(got)
            return [b"ab"]
        return [got + b"ab"] if way == 0 else iter([got, b"a", b"", b"b"])

    return app


if __name__ == "__main__":
    unittest.main()
