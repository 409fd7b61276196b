"""wsgi_input.py: every way to read a body, and what ends it."""

from __future__ import annotations

import logging
import random
import unittest
from collections.abc import Callable, Iterator
from typing import Any
from unittest import mock

from syncws._server.wsgi_answer import ClientGone
from syncws._server.wsgi_input import BodyError
from tests.http.cases import NOTHING, head
from tests.server.gateway_cases import (
    GET,
    TEXT,
    Client,
    GatewayCase,
    Hosted,
    answering,
    post,
    reading,
)
from tests.tasks import assert_raised_apart


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

    def test_failures_in_several_threads(self) -> None:
        """Threads of the application that read after a failure have an exception each."""

        def app(environ: dict[str, Any], start_response: Any) -> list[bytes]:
            raw = environ["wsgi.input"].raw
            self.assertRaises(BodyError, raw.read, 9)
            assert_raised_apart(self, lambda: raw.read(9))
            start_response("204 No Content", [])
            return []

        pieces = post("Transfer-Encoding: chunked") + b"5\r\nxxxxx\r\n0\r\n\r\n"
        hosted = self.host(app, pieces, max_body_size=4, valid=False)
        self.assertEqual(hosted.answer().status, 204)

    def test_writing_in_several_threads(self) -> None:
        """The same where the client is gone, and the application goes on writing."""

        def app(environ: dict[str, Any], start_response: Any) -> list[bytes]:
            write = start_response("200 OK", TEXT)
            self.assertRaises(ClientGone, write, b"nobody takes this")
            assert_raised_apart(self, lambda: write(b"nor this"))
            return []

        hosted = self.host(app, client=Client(GET, takes=0), valid=False)
        self.assertIsInstance(hosted.gone, ClientGone)

    def test_a_large_body(self) -> None:
        """A body that is larger than any buffer arrives whole."""
        data = random.Random(1).randbytes(300_000)
        pieces = [data[start : start + 7000] for start in range(0, len(data), 7000)]
        got = []
        self.read(lambda stream: got.append(stream.read(300_000)), post("Content-Length: 300000"), *pieces)
        self.assertEqual(got, [data])


if __name__ == "__main__":
    unittest.main()
