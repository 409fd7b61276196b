"""A WSGI application behind HTTP/1.1: environ, wsgi.input, start_response, answers of every shape, and their ends.

Every application that keeps to PEP 3333 runs behind `wsgiref.validate`, which checks both sides of the call.
"""

from __future__ import annotations

import contextlib
import io
import logging
import math
import random
import sys
import unittest
from collections.abc import Callable, Iterable, Iterator
from types import SimpleNamespace
from typing import Any
from unittest import mock
from wsgiref.validate import validator

import h11

from syncws._base.version import __version__
from syncws._http import http11
from syncws._http.headers import Headers
from syncws._http.http11 import HTTPConnection
from syncws._http.request import BadRequest, Request
from syncws._http.response import Response
from syncws._server import gateway as gateway_module
from syncws._server.gateway import ClientGone, Gateway, _break_circles
from syncws.errors import HandshakeError
from tests.http.cases import NOTHING, SEEDS, UPGRADE, Wire, head, mutate

GET = head()
TEXT = [("Content-Type", "text/plain")]
WHO = "the peer"


class Client(Wire):
    """A scripted client that keeps what it is sent, one item for each call of the system; it may leave."""

    def __init__(self, *pieces: Any, takes: float = math.inf, seconds_per_piece: float = 0.0) -> None:
        super().__init__(*pieces, seconds_per_piece=seconds_per_piece)
        self.sends: list[bytes] = []
        self.takes = takes  # bytes, and then it is gone
        self.stall: Any = "nothing was sent"

    def send(self, *buffers: Any, deadline: float | None = None, stall: float | None = None) -> None:
        data = b"".join(buffers)
        if len(self.sent) + len(data) > self.takes:
            raise BrokenPipeError(32, "Broken pipe")
        super().send(data)
        self.sends.append(data)
        self.stall = stall


class Answer:
    """One answer as a client reads it; ``body`` is None if the connection ended before it did."""

    def __init__(self, data: bytes, method: str = "GET", version: str = "1.1") -> None:
        client = h11.Connection(h11.CLIENT)
        client.send(h11.Request(method=method, target="/", headers=[("Host", "a.example")]))
        client.send(h11.EndOfMessage())
        client.receive_data(data)
        event = client.next_event()
        while isinstance(event, h11.InformationalResponse):
            event = client.next_event()
        assert isinstance(event, h11.Response), event
        self.status = event.status_code
        self.reason = event.reason.decode("latin-1")
        self.pairs = [(name.decode(), value.decode("latin-1")) for name, value in event.headers]
        self.headers = dict(self.pairs)
        self.body: bytes | None = b""
        self.rest = b""
        try:
            while not isinstance(event := client.next_event(), h11.EndOfMessage):
                if event is h11.NEED_DATA:
                    client.receive_data(b"")
                elif isinstance(event, h11.Data):
                    self.body += bytes(event.data)
        except h11.RemoteProtocolError:
            self.body = None
        else:
            self.rest = client.trailing_data[0]

    @property
    def closes(self) -> bool:
        return self.headers.get("connection") == "close"


class Hosted:
    """What became of a client whose requests an application answered, until there was none or the client had gone."""

    def __init__(self, client: Client) -> None:
        self.client = client
        self.http = HTTPConnection(client)  # type: ignore[arg-type]
        self.targets: list[str] = []
        self.kept = False  # whether the connection was good for more after the latest answer
        self.request: Request | None = None  # the latest
        self.refused: BadRequest | None = None
        self.gone: OSError | None = None

    @property
    def sent(self) -> bytes:
        return self.client.sent

    def answer(self, method: str = "GET") -> Answer:
        """The only answer."""
        answer = Answer(self.sent, method)
        assert answer.rest == b"", answer.rest
        return answer

    def answers(self) -> list[Answer]:
        found, rest = [], self.sent
        while rest:
            found.append(Answer(rest))
            rest = found[-1].rest
        return found


class Clock(SimpleNamespace):
    """Stands for the module `time`, with the client's clock."""

    def __init__(self, client: Client) -> None:
        super().__init__(monotonic=client.monotonic)


class GatewayCase(unittest.TestCase):
    def setUp(self) -> None:
        super().setUp()
        # What validate says in a destructor goes to stderr; it may be right, so it is a failure.
        self.stderr = self.enterContext(contextlib.redirect_stderr(io.StringIO()))
        self.addCleanup(lambda: self.assertEqual(self.stderr.getvalue(), ""))

    def host(
        self,
        app: Any,
        *pieces: Any,
        client: Client | None = None,
        valid: bool = True,
        max_body_size: int | None = 1 << 20,
        body_timeout: float | None = 30.0,
    ) -> Hosted:
        """Let an application answer all requests of a client; behind the validator if it keeps to the rules."""
        hosted = Hosted(client or Client(*(pieces or (GET,))))
        gateway = Gateway(validator(app) if valid else app, max_body_size=max_body_size, body_timeout=body_timeout)
        clock = Clock(hosted.client)
        with mock.patch.object(http11, "time", clock), mock.patch.object(gateway_module, "time", clock):
            try:
                while (request := hosted.http.read_request(hosted.client.now + 60)) is not None:
                    hosted.request = request
                    hosted.targets.append(request.target)
                    gateway.answer(hosted.http, request, WHO)
                    hosted.kept = hosted.http.keep_alive
                    if hosted.http.taken_over or request.then:
                        break
            except BadRequest as exc:
                hosted.refused = exc
            except ClientGone as exc:
                hosted.gone = exc
        return hosted

    def environ(self, *pieces: Any, client: Client | None = None) -> dict[str, Any]:
        """The environ of a request."""
        environs = []

        def app(environ: dict[str, Any], start_response: Any) -> list[bytes]:
            environs.append(dict(environ))
            start_response("204 No Content", [])
            return []

        self.host(app, *pieces, client=client)
        self.assertEqual(len(environs), 1)
        return environs[0]

    @contextlib.contextmanager
    def logs(self, level: int, says: str = "", *, traceback: bool = False) -> Iterator[None]:
        """Inside, exactly one line is logged at INFO or above: of this level, with or without a traceback."""
        with self.assertLogs("syncws.server", logging.INFO) as logs:
            yield
        self.assertEqual(len(logs.records), 1, logs.output)
        record = logs.records[0]
        self.assertEqual(record.levelno, level, logs.output)
        self.assertIn(says, record.getMessage())
        self.assertIn(WHO, record.getMessage())
        self.assertEqual(bool(record.exc_info), traceback)

    @contextlib.contextmanager
    def silence(self) -> Iterator[None]:
        """Inside, nothing is logged at INFO or above."""
        with self.assertNoLogs("syncws.server", logging.INFO):
            yield


def answering(
    body: Iterable[bytes] | Callable[[dict[str, Any]], Iterable[bytes]],
    status: str = "200 OK",
    headers: list[tuple[str, str]] | None = None,
) -> Any:
    """An application that answers this."""

    def app(environ: dict[str, Any], start_response: Any) -> Iterable[bytes]:
        start_response(status, list(TEXT if headers is None else headers))
        return body(environ) if callable(body) else body

    return app


def reading(read: Callable[[Any], Any]) -> Any:
    """An application that answers what read(wsgi.input) gives, as text."""

    def app(environ: dict[str, Any], start_response: Any) -> list[bytes]:
        result = read(environ["wsgi.input"])
        start_response("200 OK", TEXT)
        return [result if isinstance(result, bytes) else repr(result).encode()]

    return app


def post(*lines: str, target: str = "/", version: str = "1.1") -> bytes:
    return head(*lines, start=f"POST {target} HTTP/{version}")


class Blocks:
    """An iterable of blocks, exceptions among them, that knows whether it was closed."""

    def __init__(self, *blocks: Any) -> None:
        self.blocks = list(blocks)
        self.closed = 0

    def __iter__(self) -> Iterator[Any]:
        while self.blocks:
            block = self.blocks.pop(0)
            if isinstance(block, BaseException):
                raise block
            yield block() if callable(block) else block

    def close(self) -> None:
        self.closed += 1


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


class InputTests(GatewayCase):
    """wsgi.input, and the limits of a request's body."""

    def read(self, read: Callable[[Any], Any], *pieces: Any, **options: Any) -> bytes | None:
        answer = self.host(reading(read), *pieces, **options).answers()[0]
        self.assertEqual(answer.status, 200)
        return answer.body

    def bodies(self) -> Iterator[tuple[bytes, ...]]:
        """The body "one\\ntwo\\nthree", with a length or chunked, whole or byte by byte, and a request after it."""
        body = b"one\ntwo\nthree"
        for whole in (
            post("Content-Length: 13") + body + GET,
            post("Transfer-Encoding: chunked") + b"1\r\no\r\nc;x=y\r\nne\ntwo\nthree\r\n0\r\nT: x\r\n\r\n" + GET,
        ):
            with self.subTest(whole=whole):
                yield (whole,)
                yield tuple(bytes([byte]) for byte in whole)

    def test_reading(self) -> None:
        """Every way to read gives the body and then its end, however it comes, and nothing of what comes after it."""
        for read, expected in [
            (lambda stream: stream.read(100), b"one\ntwo\nthree"),
            (lambda stream: stream.read(3) + stream.read(4) + stream.read(100) + stream.read(1), b"one\ntwo\nthree"),
            (lambda stream: [stream.readline() for _ in range(4)], [b"one\n", b"two\n", b"three", b""]),
            (lambda stream: [stream.readline(2), stream.readline(9), stream.read(0)], [b"on", b"e\n", b""]),
            (lambda stream: stream.readlines(), [b"one\n", b"two\n", b"three"]),
            (lambda stream: stream.readlines(5), [b"one\n", b"two\n"]),
            (list, [b"one\n", b"two\n", b"three"]),
        ]:
            for pieces in self.bodies():
                got = self.read(read, *pieces)
                self.assertEqual(got, expected if isinstance(expected, bytes) else repr(expected).encode())

    def test_reading_without_a_size(self) -> None:
        """read() without a size gives the rest, as frameworks ask for that know wsgi.input_terminated."""
        for pieces in self.bodies():
            self.assertEqual(self.read(lambda stream: stream.read(), *pieces, valid=False), b"one\ntwo\nthree")

    def test_no_body(self) -> None:
        """Without a body reading gives the end at once, and waits for nothing."""
        for data in (GET, post("Content-Length: 0"), head(start="POST / HTTP/1.0"), head(start="DELETE / HTTP/1.1")):
            with self.subTest(data=data):
                self.assertEqual(self.read(lambda stream: stream.read(10), data, NOTHING), b"")

    def test_nothing_is_read_unasked(self) -> None:
        """A body comes as it is asked for: an application can begin before all of it is here."""
        client = Client(post("Content-Length: 6"), b"abc", b"def")

        def read(stream: Any) -> bytes:
            self.assertEqual(client.pieces, [b"abc", b"def"])
            self.assertEqual(stream.readline(2), b"ab")
            self.assertEqual(client.pieces, [b"def"])
            return bytes(stream.read(10))

        self.assertEqual(self.host(reading(read), client=client).answer().body, b"cdef")

    def test_consent(self) -> None:
        """A client that waits for 100 Continue gets it at the first read, once."""
        client = Client(post("Content-Length: 6", "Expect: 100-continue"), b"abc", b"def")

        def read(stream: Any) -> bytes:
            self.assertEqual(client.sent, b"")
            first = stream.readline(1)
            self.assertEqual(client.sent, b"HTTP/1.1 100 Continue\r\n\r\n")
            return bytes(first + stream.read(10))

        hosted = self.host(reading(read), client=client)
        self.assertEqual(hosted.sent.count(b"100 Continue"), 1)
        self.assertEqual(hosted.answer().body, b"abcdef")

    def test_no_consent(self) -> None:
        """Nobody is asked for a body that the application does not read, or that is here already."""
        for app, pieces in [
            (answering([b"no"]), (post("Content-Length: 6", "Expect: 100-continue"), b"abcdef")),
            (reading(lambda stream: stream.read(9)), (post("Content-Length: 6", "Expect: 100-continue") + b"abcdef",)),
            (
                reading(lambda stream: stream.read(9)),
                (post("Content-Length: 6", "Expect: 100-continue", version="1.0"), b"abcdef"),
            ),
        ]:
            with self.subTest(pieces=pieces):
                self.assertNotIn(b"100 Continue", self.host(app, *pieces).sent)

    def test_declared_too_large(self) -> None:
        """A body whose length says that it is too large is 413, and no application is called."""
        app = mock.Mock(side_effect=AssertionError)
        with self.logs(logging.INFO, "413"):
            hosted = self.host(
                app, post("Content-Length: 11", "Expect: 100-continue"), b"x" * 11, GET, valid=False, max_body_size=10
            )
        self.assertEqual((hosted.answer().status, hosted.answer().closes), (413, True))
        self.assertIn(b"11 bytes, and 10 are allowed", hosted.answer().body)
        self.assertEqual(hosted.targets, ["/"])

    def test_as_large_as_allowed(self) -> None:
        """A body of the largest size is read, in either framing; None is no limit."""
        for limit in (10, None):
            for data in (
                post("Content-Length: 10") + b"x" * 10,
                post("Transfer-Encoding: chunked") + b"5\r\nxxxxx\r\n" * 2 + b"0\r\n\r\n",
            ):
                got = self.read(lambda stream: len(stream.read(50)), data, max_body_size=limit)
                self.assertEqual(got, b"10")

    def test_grows_too_large(self) -> None:
        """A chunked body is cut at the limit: reading fails, and where the application lets it, the answer is 413."""
        chunks = [b"5\r\nxxxxx\r\n"] * 9
        with self.logs(logging.INFO, "413 the body has more than 10 bytes"):
            hosted = self.host(
                reading(lambda stream: stream.read(50)),
                post("Transfer-Encoding: chunked"),
                *chunks,
                b"0\r\n\r\n" + GET,
                max_body_size=10,
            )
        self.assertEqual((hosted.answer().status, hosted.answer().closes), (413, True))
        self.assertEqual(len(hosted.client.pieces), 7)  # read on no further than to know

    def failing_body(self, handle: Callable[[Any, Any], list[bytes]], **options: Any) -> Hosted:
        """An application that catches what reading too large a body raises, and answers by `handle`."""

        def app(environ: dict[str, Any], start_response: Any) -> list[bytes]:
            try:
                environ["wsgi.input"].read(100)
            except OSError as exc:
                self.assertEqual(getattr(exc, "status", None), 413)
                with self.assertRaises(OSError):  # and so does every later read
                    environ["wsgi.input"].readline()
                return handle(start_response, exc)
            raise AssertionError("it was read")

        return self.host(
            app, post("Transfer-Encoding: chunked") + b"5\r\nxxxxx\r\n0\r\n\r\n", max_body_size=4, **options
        )

    def test_framework_makes_it_500(self) -> None:
        """Frameworks answer 500 to any exception; of one that reading raised, the client is told the reason instead."""

        def handle(start_response: Any, exc: Exception) -> list[bytes]:
            start_response("500 Internal Server Error", TEXT)
            return [b"oops"]

        with self.logs(logging.INFO, "413"):
            self.assertEqual(self.failing_body(handle).answer().status, 413)

    def test_application_makes_another_exception_of_it(self) -> None:
        """So it is if the application raises something else then."""

        def handle(start_response: Any, exc: Exception) -> list[bytes]:
            raise RuntimeError("cannot parse") from exc

        with self.logs(logging.INFO, "413"):
            self.assertEqual(self.failing_body(handle).answer().status, 413)

    def test_application_has_an_answer(self) -> None:
        """An answer below 500 is the application's to give."""

        def handle(start_response: Any, exc: Exception) -> list[bytes]:
            start_response("400 Bad Request", TEXT)
            return [b"too much"]

        with self.silence():
            answer = self.failing_body(handle).answer()
        self.assertEqual((answer.status, answer.body), (400, b"too much"))

    def test_silence(self) -> None:
        """A client that goes silent in its body is answered with 408 once the timeout has passed."""
        client = Client(post("Content-Length: 6"), b"abc", NOTHING)
        with self.logs(logging.INFO, "408"):
            hosted = self.host(reading(lambda stream: stream.read(9)), client=client, body_timeout=7.0)
        self.assertEqual((hosted.answer().status, client.now), (408, 1007.0))

    def test_dripping(self) -> None:
        """A byte now and then is no progress: the client is waited for only so long on the whole."""
        client = Client(post("Content-Length: 99"), *[b"x"] * 99, seconds_per_piece=1.0)
        with self.logs(logging.INFO, "408"):
            self.host(reading(lambda stream: stream.read(99)), client=client, body_timeout=7.0)
        self.assertLess(client.now, 1001 + 7.1)

    def test_slow_and_steady(self) -> None:
        """A slow client that keeps sending has all the time it needs: a second more for each 500 bytes."""
        client = Client(post("Content-Length: 60000"), *[b"x" * 600] * 100, seconds_per_piece=1.0)
        with self.silence():
            hosted = self.host(reading(lambda stream: len(stream.read(60000))), client=client, body_timeout=7.0)
        self.assertEqual((hosted.answer().body, client.now), (b"60000", 1101.0))

    def test_slow_application(self) -> None:
        """The time that the application takes between two reads is not the client's."""
        client = Client(post("Content-Length: 6"), b"abc", b"def")

        def read(stream: Any) -> bytes:
            first = stream.read(3)
            client.now += 3600
            return bytes(first + stream.read(3))

        self.assertEqual(self.host(reading(read), client=client, body_timeout=7.0).answer().body, b"abcdef")

    def test_no_timeout(self) -> None:
        """None waits for ever: no deadline reaches the transport."""
        client = Client(post("Content-Length: 3"), b"abc")
        waits: list[float | None] = []
        receive = client.receive
        client.receive = lambda size, wait: (waits.append(wait), receive(size, wait))[1]  # type: ignore[method-assign]
        self.host(reading(lambda stream: stream.read(3)), client=client, body_timeout=None)
        self.assertIn(None, waits)

    def test_lost_in_the_middle(self) -> None:
        """A client that leaves in its body is one line at INFO; reading raises OSError."""
        for piece in (b"", ConnectionResetError(104, "reset")):
            client = Client(post("Content-Length: 6"), b"abc")
            receive, last = client.receive, piece

            def receive_and_break(
                size: int, wait: float | None, receive: Any = receive, client: Client = client, last: Any = last
            ) -> Any:
                if not client.pieces and isinstance(last, Exception):
                    raise last
                return receive(size, wait)

            client.receive = receive_and_break  # type: ignore[method-assign]
            client.takes = 0  # nor does it take an answer
            with self.subTest(piece=piece), self.logs(logging.INFO, "400"):
                self.host(reading(lambda stream: stream.read(9)), client=client)

    def test_malformed_chunks(self) -> None:
        """A body that is not chunked as announced is 400."""
        for data in (b"x\r\n", b"5\nhello", b"2\r\nhello\r\n", b"-1\r\n", b"5\r\nhello0\r\n", b"1\r\na\r\n\r\n"):
            with self.subTest(data=data), self.logs(logging.INFO, "400"):
                hosted = self.host(
                    reading(lambda stream: stream.read(99)), post("Transfer-Encoding: chunked") + data + GET
                )
            self.assertEqual((hosted.answer().status, hosted.targets), (400, ["/"]))

    def test_reading_afterwards(self) -> None:
        """Who reads when the request is over finds the end, and nothing of the next request."""
        streams = []

        def app(environ: dict[str, Any], start_response: Any) -> list[bytes]:
            for stream in streams:
                self.assertEqual(stream.read(100), b"")
            streams.append(environ["wsgi.input"])
            start_response("204 No Content", [])
            return []

        hosted = self.host(
            app, post("Content-Length: 3") + b"abc" + post("Content-Length: 3", target="/2") + b"def", valid=False
        )
        self.assertEqual(hosted.targets, ["/", "/2"])
        self.assertEqual([stream.read(9) for stream in streams], [b"", b""])

    def test_reading_after_a_failure(self) -> None:
        """The same where the client has left during its answer: the call ends by an exception then."""
        streams: list[Any] = []

        def app(environ: dict[str, Any], start_response: Any) -> list[bytes]:
            streams.append(environ["wsgi.input"])
            start_response("200 OK", TEXT)(b"nobody takes this")
            return []

        hosted = self.host(app, client=Client(post("Content-Length: 3") + b"abc", takes=0), valid=False)
        self.assertIsInstance(hosted.gone, ClientGone)
        self.assertEqual(streams[0].read(9), b"")

    def test_a_large_body(self) -> None:
        """A body that is larger than any buffer arrives whole."""
        data = random.Random(1).randbytes(300_000)
        pieces = [data[start : start + 7000] for start in range(0, len(data), 7000)]
        got = []
        self.read(lambda stream: got.append(stream.read(300_000)), post("Content-Length: 300000"), *pieces)
        self.assertEqual(got, [data])


class StartResponseTests(GatewayCase):
    """start_response and write(): what an application may say, and what it is told when it may not."""

    def assertBad(self, app: Any, says: str) -> None:
        """The application's mistake is one line at ERROR, and a clean 500."""
        with self.logs(logging.ERROR, says):
            hosted = self.host(app, valid=False)
        answer = hosted.answer()
        self.assertEqual((answer.status, answer.body), (500, b"Internal Server Error\n"))
        self.assertEqual(hosted.kept, not answer.closes)

    def test_status_and_headers(self) -> None:
        """Status, reason and headers leave as given, repeated ones too; the date is added."""
        headers = [("Content-Type", "text/plain"), ("Set-Cookie", "a=1"), ("X-B", "\xe9 "), ("set-cookie", "b=2")]
        hosted = self.host(answering([b"x"], "418 I'm a teapot \xe9", headers), valid=False)
        self.assertIn(b"HTTP/1.1 418 I'm a teapot \xe9\r\nDate: ", hosted.sent)
        self.assertIn(
            b"Content-Type: text/plain\r\nSet-Cookie: a=1\r\nX-B: \xe9\r\nset-cookie: b=2\r\nContent-Length: 1\r\n\r\n",
            hosted.sent,
        )

    def test_no_reason(self) -> None:
        """A status may come without its name."""
        for status in ("200", "200 "):
            self.assertEqual(self.host(answering([b"x"], status), valid=False).answer().reason, "")

    def test_own_date(self) -> None:
        """The application's Date stays the only one."""
        answer = self.host(answering([b"x"], headers=[*TEXT, ("Date", "Sat, 01 Jan 2000 00:00:00 GMT")])).answer()
        self.assertEqual([value for name, value in answer.pairs if name == "date"], ["Sat, 01 Jan 2000 00:00:00 GMT"])

    def test_write(self) -> None:
        """write() sends at once, the head in front; what is returned comes after it."""
        client = Client(GET)

        def app(environ: dict[str, Any], start_response: Any) -> list[bytes]:
            write = start_response("200 OK", TEXT)
            self.assertEqual(client.sends, [])
            write(b"a")
            self.assertEqual(len(client.sends), 1)
            write(b"")
            write(b"b")
            self.assertEqual(len(client.sends), 2)
            return [b"c"]

        self.assertEqual(self.host(app, client=client).answer().body, b"abc")

    def test_write_alone(self) -> None:
        """write() may be all there is, with or without a length."""
        for headers in (TEXT, [*TEXT, ("Content-Length", "2")]):

            def app(environ: dict[str, Any], start_response: Any, headers: Any = headers) -> list[bytes]:
                write = start_response("200 OK", headers)
                write(b"a")
                write(b"b")
                return []

            hosted = self.host(app, GET + GET)
            self.assertEqual([answer.body for answer in hosted.answers()], [b"ab", b"ab"])

    def test_write_afterwards(self) -> None:
        """write() after the end of the answer raises, and writes nothing."""
        writes = []

        def app(environ: dict[str, Any], start_response: Any) -> list[bytes]:
            writes.append(start_response("200 OK", TEXT))
            return [b"x"]

        hosted = self.host(app, valid=False)
        sent = hosted.sent
        with self.assertRaisesRegex(ValueError, "after the end of the answer"):
            writes[0](b"late")
        self.assertEqual(hosted.sent, sent)

    def test_write_of_what_is_no_bytes(self) -> None:
        """write() takes bytes only."""

        def app(environ: dict[str, Any], start_response: Any) -> list[bytes]:
            start_response("200 OK", TEXT)("text")
            return []

        self.assertBad(app, "bytes, not str; encode it")

    def test_called_twice(self) -> None:
        """A second call without exc_info is an error."""

        def app(environ: dict[str, Any], start_response: Any) -> list[bytes]:
            start_response("200 OK", TEXT)
            start_response("404 Not Found", TEXT)
            return []

        self.assertBad(app, "twice")

    def test_another_head_in_time(self) -> None:
        """With exc_info, a head that has not left is replaced, also if nothing but empty blocks came before."""

        def app(environ: dict[str, Any], start_response: Any) -> Iterator[bytes]:
            start_response("200 OK", [*TEXT, ("Content-Length", "100"), ("X-First", "1")])
            yield b""
            try:
                raise ZeroDivisionError
            except ZeroDivisionError:
                start_response("500 Oh", TEXT, sys.exc_info())
            yield b"sorry"

        answer = self.host(app).answer()
        self.assertEqual((answer.status, answer.reason, answer.body), (500, "Oh", b"sorry"))
        self.assertNotIn("x-first", answer.headers)

    def test_another_head_too_late(self) -> None:
        """With exc_info, once the head has left, start_response raises what is in it, and the connection ends."""

        def app(environ: dict[str, Any], start_response: Any) -> Iterator[bytes]:
            start_response("200 OK", TEXT)
            yield b"begun"
            try:
                raise ZeroDivisionError("the reason")
            except ZeroDivisionError:
                start_response("500 Oh", TEXT, sys.exc_info())
            raise AssertionError("not reached")

        with self.logs(logging.ERROR, "raised", traceback=True):
            hosted = self.host(app, GET + GET)
        self.assertEqual((hosted.answer().status, hosted.answer().body), (200, None))
        self.assertEqual(hosted.targets, ["/"])

    def test_bad_statuses(self) -> None:
        """A status is three digits, and a reason that can be sent."""
        for status in (
            "OK",
            "",
            "20 OK",
            "2000 OK",
            "099 X",
            200,
            b"200 OK",
            None,
            "200 OK\r\nX: y",
            "200 \0",
            "200 ☃",
        ):
            with self.subTest(status=status):
                self.assertBad(answering([b"x"], status), "status")  # type: ignore[arg-type]

    def test_informational_statuses(self) -> None:
        """A status below 200 is no answer; 101 is only what syncws returns for a WebSocket."""
        for status in ("100 Continue", "101 Switching Protocols", "199 X"):
            for body in ([], [b"x"]):
                self.assertBad(answering(body, status), "has not upgraded")

    def test_bad_headers(self) -> None:
        """A header that cannot be sent is refused by its name."""
        for pair, says in [
            (("X-Evil", "a\r\nSet-Cookie: b"), "'X-Evil'"),
            (("X-Evil", "a\n"), "'X-Evil'"),
            (("X-Evil", "\0"), "'X-Evil'"),
            (("X-Evil", "☃"), "'X-Evil'.*nothing beyond Latin-1"),
            (("X Evil", "a"), "'X Evil'"),
            (("X-Evil\r\nY", "a"), "X-Evil"),
            (("", "a"), "''"),
            (("Ünï", "a"), "name"),
            (("X-Evil", 5), "must be str"),
            (("X-Evil", b"a"), "must be str"),
            ((b"X-Evil", "a"), "must be str"),
            (("Content-Length", "x"), "'Content-Length'"),
            (("Content-Length", "-1"), "'Content-Length'"),
            (("Content-Length", "1, 1"), "'Content-Length'"),
            (("Content-Length", "²"), "'Content-Length'"),
            (("Content-Length", ""), "'Content-Length'"),
        ]:
            with self.subTest(pair=pair), self.assertLogs("syncws.server", logging.ERROR) as logs:
                hosted = self.host(answering([b"x"], headers=[*TEXT, pair]), valid=False)  # type: ignore[list-item]
                self.assertEqual(hosted.answer().status, 500)
            self.assertRegex(logs.records[0].getMessage(), says)
            self.assertIsNone(logs.records[0].exc_info)

    def test_two_lengths(self) -> None:
        """Content-Length comes once."""
        self.assertBad(answering([b"x"], headers=[("Content-Length", "1"), ("content-length", "1")]), "Content-Length")

    def test_hop_by_hop(self) -> None:
        """What belongs to the connection is the server's (PEP 3333)."""
        for name in (
            "Connection",
            "Keep-Alive",
            "Transfer-Encoding",
            "upgrade",
            "TE",
            "Trailers",
            "Proxy-Authenticate",
        ):
            with self.subTest(name=name):
                self.assertBad(answering([b"x"], headers=[*TEXT, (name, "x")]), name)

    def test_headers_that_are_no_list(self) -> None:
        """Headers are a list of pairs, not a dict."""
        for headers in ({"A": "b"}, None, "A: b", [("A",)], ["abc"], [("a", "b", "c")]):

            def app(environ: dict[str, Any], start_response: Any, headers: Any = headers) -> list[bytes]:
                start_response("200 OK", headers)
                return [b"x"]

            with self.subTest(headers=headers), self.logs(logging.ERROR, "start_response"):
                self.assertEqual(self.host(app, valid=False).answer().status, 500)

    def test_not_called(self) -> None:
        """A body, or a return, without start_response is an error."""
        for body in ([], [b"x"], [b""], iter([b"x"])):
            self.assertBad(lambda environ, start_response, body=body: body, "has not called start_response")

    def test_called_late(self) -> None:
        """A generator calls start_response when it is asked for its first block, and that is in time."""

        def app(environ: dict[str, Any], start_response: Any) -> Iterator[bytes]:
            start_response("200 OK", TEXT)
            yield b"x"

        self.assertEqual(self.host(app).answer().body, b"x")


class AnswerTests(GatewayCase):
    """What leaves for what the application returns."""

    def test_one_block(self) -> None:
        """A list of one block has a Content-Length, and leaves in one call of the system."""
        for body in ([b"hello"], (b"hello",)):
            hosted = self.host(answering(body), valid=False)
            self.assertEqual((hosted.answer().headers["content-length"], hosted.answer().body), ("5", b"hello"))
            self.assertEqual(len(hosted.client.sends), 1)

    def test_nothing(self) -> None:
        """Without a body the length is 0, whether it is a list or an iterator that gives nothing."""
        for body in ([], [b""], iter([]), iter([b"", b""])):
            answer = self.host(answering(body), GET, valid=False).answer()
            self.assertEqual((answer.headers["content-length"], answer.body), ("0", b""))

    def test_several_blocks(self) -> None:
        """Several blocks are chunked, and the connection goes on."""
        for body in ([b"one", b"two", b"three"], iter([b"one", b"", b"two", b"three"])):
            hosted = self.host(answering(body))
            answer = hosted.answer()
            self.assertEqual((answer.headers["transfer-encoding"], answer.body), ("chunked", b"onetwothree"))
            self.assertNotIn("content-length", answer.headers)
            self.assertTrue(hosted.kept)

    def test_http_1_0(self) -> None:
        """To HTTP/1.0 a body of unknown length ends with the connection."""
        hosted = self.host(answering(iter([b"one", b"two"])), head(start="GET / HTTP/1.0") + GET)
        answer = hosted.answer()
        self.assertEqual((answer.body, answer.closes), (b"onetwo", True))
        self.assertNotIn("transfer-encoding", answer.headers)
        self.assertEqual(hosted.targets, ["/"])

    def test_every_block_leaves_at_once(self) -> None:
        """A block has left before the next one is asked for, the first with the head; empty ones send nothing."""
        client = Client(GET)

        def blocks(environ: dict[str, Any]) -> Iterator[bytes]:
            self.assertEqual(client.sends, [])
            yield b""
            self.assertEqual(client.sends, [])
            yield b"one"
            self.assertEqual(len(client.sends), 1)
            self.assertTrue(client.sends[0].endswith(b"\r\n\r\n3\r\none\r\n"))
            yield b""
            yield b"two"
            self.assertEqual(client.sends[1:], [b"3\r\ntwo\r\n"])

        self.assertEqual(self.host(answering(blocks), client=client).answer().body, b"onetwo")
        self.assertEqual(client.sends[-1], b"0\r\n\r\n")

    def test_a_declared_length(self) -> None:
        """With the application's own length nothing is chunked."""
        hosted = self.host(answering(iter([b"one", b"two"]), headers=[*TEXT, ("Content-Length", "6")]))
        self.assertNotIn("transfer-encoding", hosted.answer().headers)
        self.assertEqual(hosted.answer().body, b"onetwo")
        self.assertTrue(hosted.kept)

    def test_large_blocks(self) -> None:
        """A large block arrives whole, in pieces that each fit into memory twice."""
        data = random.Random(2).randbytes(1_000_000)
        for body, valid in (([data], False), (iter([data, b"end"]), True)):
            hosted = self.host(answering(body), valid=valid)
            answered = hosted.answer().body
            assert answered is not None
            self.assertEqual(answered.removesuffix(b"end"), data)
            self.assertLess(max(map(len, hosted.client.sends)), 70_000)

    def test_what_is_no_bytes(self) -> None:
        """Anything but bytes is an error that says what it was."""
        for body, says in [
            (["text"], "bytes, not str; encode it"),
            (iter(["text"]), "bytes, not str"),
            ([5], "bytes, not int"),
            ([bytearray(b"x")], "bytes, not bytearray"),
            ([None], "bytes, not NoneType"),
            ("text", "a list of bytes, or another iterable, not 'text'"),
            (b"bytes", "a list of bytes, or another iterable, not b'bytes'"),
            (None, "a list of bytes, or another iterable, not None"),
            (5, "a list of bytes, or another iterable, not 5"),
        ]:
            with self.subTest(body=body), self.logs(logging.ERROR, says):
                self.assertEqual(self.host(answering(body), valid=False).answer().status, 500)  # type: ignore[arg-type]

    def test_what_is_no_bytes_in_the_middle(self) -> None:
        """Once something has left, such an error cuts the connection, and the client can tell."""
        with self.logs(logging.ERROR, "not str"):
            hosted = self.host(answering([b"one", "two"]), GET + GET, valid=False)  # type: ignore[list-item]
        self.assertIsNone(hosted.answer().body)
        self.assertEqual(hosted.targets, ["/"])

    def test_head(self) -> None:
        """HEAD has the head of the GET and no body; not more of it is made than the first block."""
        head_request = head(start="HEAD / HTTP/1.1")
        for body, headers, length in [
            ([b"hello"], TEXT, "5"),
            ([b"hello"], [*TEXT, ("Content-Length", "5")], "5"),
            ([], [*TEXT, ("Content-Length", "5")], "5"),
            ([b""], [*TEXT, ("Content-Length", "5")], "5"),
            ([], TEXT, None),
            (iter([b"hello"]), TEXT, None),
        ]:
            with self.subTest(body=body, headers=headers):
                hosted = self.host(answering(body, headers=headers), head_request, valid=False)
                answer = hosted.answer("HEAD")
                self.assertEqual((answer.status, answer.headers.get("content-length")), (200, length))
                self.assertTrue(hosted.sent.endswith(b"\r\n\r\n"))
                self.assertEqual(hosted.sent.count(b"\r\n\r\n"), 1)
                self.assertTrue(hosted.kept)
        blocks = Blocks(b"one", AssertionError("a second block was asked for"))
        self.host(answering(blocks), head_request)
        self.assertEqual(blocks.closed, 1)

    def test_write_for_head(self) -> None:
        """write() for a HEAD sends the head alone."""

        def app(environ: dict[str, Any], start_response: Any) -> list[bytes]:
            write = start_response("200 OK", [*TEXT, ("Content-Length", "2")])
            write(b"a")
            write(b"b")
            return []

        hosted = self.host(app, head(start="HEAD / HTTP/1.1"))
        self.assertTrue(hosted.sent.endswith(b"Content-Length: 2\r\n\r\n"))

    def test_statuses_without_a_body(self) -> None:
        """204 and 304 have no body, whatever is given; a 204 has no length either, a 304 may tell one."""
        for status, headers, length in [
            ("204 No Content", [("Content-Length", "5")], None),
            ("204 No Content", [], None),
            ("304 Not Modified", [("Content-Length", "5")], "5"),
            ("304 Not Modified", [], None),
        ]:
            for body in ([], [b"hello"], iter([b"hello", b"more"])):
                with self.subTest(status=status, headers=headers):
                    hosted = self.host(answering(body, status, headers), valid=False)
                    answer = hosted.answer()
                    self.assertEqual((answer.headers.get("content-length"), answer.body), (length, b""))
                    self.assertNotIn("transfer-encoding", answer.headers)
                    self.assertTrue(hosted.sent.endswith(b"\r\n\r\n"))
                    self.assertTrue(hosted.kept)

    def test_shorter_than_declared(self) -> None:
        """A body that is shorter than its length ends the connection, so that the client can tell; one log line."""
        with self.logs(logging.ERROR, "94 bytes shorter"):
            hosted = self.host(answering(iter([b"one", b"two"]), headers=[*TEXT, ("Content-Length", "100")]), GET + GET)
        self.assertIsNone(hosted.answer().body)
        self.assertEqual(hosted.targets, ["/"])

    def test_longer_than_declared(self) -> None:
        """A body that is longer than its length is cut there, and nothing follows; one log line."""
        for given in ([b"one", b"two"], [b"one", b"t", b"wo"]):
            blocks = Blocks(*given, AssertionError("asked for more"))
            with self.subTest(given=given), self.logs(logging.ERROR, "longer"):
                hosted = self.host(answering(blocks, headers=[*TEXT, ("Content-Length", "4")]), GET + GET)
            self.assertEqual((hosted.answer().body, hosted.targets, blocks.closed), (b"onet", ["/"], 1))

    def test_write_more_than_declared(self) -> None:
        """write() beyond the length is an error for the application, and what fits has left."""

        def app(environ: dict[str, Any], start_response: Any) -> list[bytes]:
            write = start_response("200 OK", [*TEXT, ("Content-Length", "4")])
            write(b"one")
            write(b"two")
            raise AssertionError("not reached")

        with self.logs(logging.ERROR, "longer"):
            self.assertEqual(self.host(app, GET + GET).answer().body, b"onet")

    def test_wrong_length_of_one_block(self) -> None:
        """Where the whole body is known before anything has left, a wrong length is a clean 500."""
        for body, length in (([b"hello"], "4"), ([b"hello"], "6"), ([], "6"), ([b""], "1"), (iter([]), "1")):
            with self.subTest(body=body, length=length), self.logs(logging.ERROR, "Content-Length says"):
                hosted = self.host(answering(body, headers=[*TEXT, ("Content-Length", length)]), GET, valid=False)
            self.assertEqual(hosted.answer().status, 500)


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
            self.assertEqual(client.stall, gateway_module.STALL_LIMIT)
            client.stall = None
            yield b"two"
            self.assertEqual(client.stall, gateway_module.STALL_LIMIT)
            client.stall = None

        self.host(answering(blocks), client=client)
        self.assertEqual(client.stall, gateway_module.STALL_LIMIT)


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
