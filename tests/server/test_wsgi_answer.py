"""wsgi_answer.py: heads and bodies of every shape, and what is no answer."""

from __future__ import annotations

import logging
import random
import sys
import unittest
from collections.abc import Iterator
from typing import Any

from tests.http.cases import head
from tests.server.gateway_cases import (
    GET,
    TEXT,
    Blocks,
    Client,
    GatewayCase,
    answering,
)


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


if __name__ == "__main__":
    unittest.main()
