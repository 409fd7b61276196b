"""head.py: where a head ends, and which heads are refused."""

import random
import unittest
from unittest import mock

from syncws._http.head import HeadScreen
from syncws._http.http11 import HTTPConnection
from syncws._http.request import BadRequest
from syncws._http.response import Response
from tests.http.cases import GET, NOTHING, UPGRADE, HTTPCase, Wire, head, open_wire, read


class HeadTests(HTTPCase):
    def test_any_cut(self):
        """A head is the same request wherever the wire cuts it, and what is behind it waits."""
        for cut in range(1, len(UPGRADE)):
            wire, exchange = open_wire(UPGRADE[:cut], UPGRADE[cut:] + b"\x81\x00")
            request = exchange.read_request(None)
            self.assertEqual((request.path, len(request.headers)), ("/chat", 5))
            self.assertEqual(exchange.take_over(), (wire, b"\x81\x00"))

    def test_byte_by_byte(self):
        """A head may come one byte at a time."""
        self.assertEqual(read(*(bytes([byte]) for byte in UPGRADE)).path, "/chat")

    def test_at_once_or_line_by_line(self):
        """A head that has come whole is judged at once, as it is line by line: the same end, or the same refusal."""
        heads = [UPGRADE, GET, UPGRADE + b"\x81\x00", GET + GET, b"", b"\r\n" + GET, GET[:-2], GET[:-1]]
        pieces = [
            b"GET",
            b" / HTTP/1.1",
            b"\r\n",
            b"\n",
            b"\r",
            b" ",
            b"\t",
            b"Host: a",
            b"X: 1",
            b":",
            b"POST / HTTP/1.1",
        ]
        pieces += [b"Content-Length: 1", b"transfer-ENCODING: chunked", b"X: content-length", b"\r\n\r\n", b"x" * 40]
        dice = random.Random(1)
        heads += [
            b"GET / HTTP/1.1\r\n" + b"".join(dice.choices(pieces, k=dice.randrange(9))) + b"\r\n\r\n"
            for _ in range(4000)
        ]
        heads += [b"".join(dice.choices(pieces, k=dice.randrange(9))) + b"\r\n\r\n" for _ in range(4000)]

        def judged(data: bytes) -> object:
            try:
                return HeadScreen(120, 3).find_end(bytearray(data))
            except BadRequest as refusal:
                return refusal.status, str(refusal)

        at_once = [judged(data) for data in heads]
        with mock.patch.object(HeadScreen, "_find_usual_end", lambda *_: None):
            line_by_line = [judged(data) for data in heads]
        self.assertEqual(at_once, line_by_line)
        self.assertGreater(len({str(each) for each in at_once}), 20)
        usual = [HeadScreen(120, 3)._find_usual_end(bytearray(data)) for data in heads]
        self.assertGreater(sum(end is not None for end in usual), 100)

    def test_bare_line_feed(self):
        """A line that ends in a bare LF is 400 as soon as it is there."""
        for data in (
            b"GET / HTTP/1.1\nHost: a\r\n\r\n",
            b"GET / HTTP/1.1\r\nHost: a\n\r\n",
            b"GET / HTTP/1.1\r\nHost: a\r\n\n",
            b"GET / HTTP/1.1\r\nHost: a\r\nX: 1\nY: 2\r\n\r\n",
            b"GET / HTTP/1.1\n",
            b"\n",
        ):
            with self.subTest(data=data):
                self.assertRefused(400, data, NOTHING, says="LF")

    def test_bare_carriage_return(self):
        """A CR inside a line is 400."""
        self.assertRefused(400, head("X: a\rY: b"))
        self.assertRefused(400, head("X: a\r"))
        self.assertRefused(400, head(start="GET / HTTP/1.1\r"))

    def test_folded_header(self):
        """A header folded over two lines is 400."""
        self.assertRefused(400, head("X: a", " b"), says="folded")
        self.assertRefused(400, head("X: a", "\tb"), says="folded")
        self.assertRefused(400, head(host=" Host: a"), says="folded")

    def test_repeated_content_length(self):
        """A second Content-Length, or a list in one, is 400, even if the lengths agree."""
        self.assertRefused(400, head("Content-Length: 1", "content-length: 1"), b"x", says="Content-Length")
        self.assertRefused(400, head("Content-Length: 1, 1"), b"x", says="Content-Length")
        self.assertRefused(400, head("Content-Length: 1,"), b"x", says="Content-Length")

    def test_content_length_and_transfer_encoding(self):
        """Content-Length beside Transfer-Encoding is 400, in either order."""
        length, encoding = "Content-Length: 3", "TRANSFER-ENCODING: chunked"
        self.assertRefused(400, head(length, encoding), b"0\r\n\r\n", says="beside")
        self.assertRefused(400, head(encoding, length), b"0\r\n\r\n", says="beside")

    def test_bad_lengths(self):
        """A Content-Length that is no number of digits is 400."""
        for value in ("-1", "+1", "1.0", "0x1", "1 1", "", "9" * 21, "\xb2"):
            with self.subTest(value=value):
                self.assertRefused(400, head(f"Content-Length: {value}"))

    def test_transfer_encodings(self):
        """A Transfer-Encoding other than chunked is 501, one in HTTP/1.0 is 400."""
        self.assertRefused(501, head("Transfer-Encoding: gzip, chunked"))
        self.assertRefused(501, head("Transfer-Encoding: chunked", "Transfer-Encoding: chunked"))
        self.assertRefused(400, head("Transfer-Encoding: chunked", start="POST / HTTP/1.0"))

    def test_malformed(self):
        """What is no HTTP head is 400."""
        for data in (
            b"GET /\r\n\r\n",
            b"GET  / HTTP/1.1\r\n\r\n",
            b" GET / HTTP/1.1\r\n\r\n",
            b"G(T / HTTP/1.1\r\n\r\n",
            b"GET /\xe9 HTTP/1.1\r\n\r\n",
            head("no colon"),
            head("X : 1"),
            head(": 1"),
            head("X: \0"),
            b"\0\r\n\r\n",
        ):
            with self.subTest(data=data):
                self.assertRefused(400, data)

    def test_tls_client_on_a_plain_port(self):
        """The first byte of TLS is refused at once, and the message says so."""
        self.assertRefused(400, b"\x16\x03\x01\x02", NOTHING, says="TLS")

    def test_other_protocols(self):
        """A proxy that sends the PROXY protocol, HTTP/2, or SSH, is named, whole or byte by byte, with advice."""
        for data, status, name, advice in (
            (
                b"PROXY TCP4 203.0.113.7 10.0.0.1 51234 443\r\n" + GET,
                400,
                "the PROXY protocol, version 1",
                "send-proxy",
            ),
            (b"PROXY UNKNOWN\r\n" + GET, 400, "the PROXY protocol, version 1", "send-proxy"),
            (
                b"\r\n\r\n\0\r\nQUIT\n\x21\x11\0\x0c" + bytes(12) + GET,
                400,
                "the PROXY protocol, version 2",
                "send-proxy",
            ),
            (b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n", 505, "HTTP/2", "HTTP/1.1"),
            (b"SSH-2.0-OpenSSH_9.6\r\n", 400, "SSH", ""),
            (b"*1\r\n$4\r\nPING\r\n", 400, "Redis", ""),
        ):
            for pieces in ([data], [data[i : i + 1] for i in range(len(data))]):
                if len(pieces) > 1 and data[:1] == b"\r":
                    continue  # two empty lines are refused before the signature is complete
                with self.subTest(name, pieces=len(pieces)), self.assertRaises(BadRequest) as caught:
                    read(*pieces)
                self.assertEqual(caught.exception.status, status)
                self.assertIn(f"the client speaks {name}, and this server plain HTTP", str(caught.exception))
                self.assertIn(advice, caught.exception.advice)
                self.assertEqual(bool(caught.exception.advice), bool(advice))

    def test_binary_protocols(self):
        """What begins as no request can is refused at once, although none of its lines may ever end."""
        for data in (
            b"\x00",
            b"\x03\x00\x00\x13",
            b"\x05\x01\x00",
            b"\x80",
            b"\xff",
            b"{",
            b'"',
            b"(",
            b"\x10\x13\x00\x04MQTT",
        ):
            with self.subTest(data):
                self.assertRefused(400, data, NOTHING, says="HTTP")

    def test_leading_empty_line(self):
        """One empty line before a request is skipped, whichever request it is."""
        _, exchange = open_wire(b"\r\n" + GET, b"\r", b"\n" + GET)
        for _ in range(2):
            self.assertEqual(exchange.read_request(None).path, "/")
            exchange.send_response(Response(), deadline=None)

    def test_largest_head(self):
        """A head of max_head bytes passes, one more byte is 431, with or without its end."""
        data = head("X: " + "x" * 500)
        self.assertEqual(read(data, max_head=len(data)).path, "/")
        self.assertRefused(431, data, max_head=len(data) - 1)
        self.assertRefused(431, b"GET /" + b"x" * 100, NOTHING, max_head=100)
        self.assertRefused(431, b"GET / HTTP/1.1\r\nHost: a\r\nX: " + b"x" * 100, NOTHING, max_head=100)

    def test_limit_counts_the_head_alone(self):
        """What comes behind a head, in the same segment, does not count towards max_head."""
        _, exchange = open_wire(GET + b"x" * 9000, max_head=len(GET))
        exchange.read_request(None)
        self.assertEqual(len(exchange.take_over()[1]), 9000)

    def test_number_of_headers(self):
        """max_headers headers pass, one more is 431 as soon as its line is there."""
        lines = [f"X-{number}: 1" for number in range(9)]
        self.assertEqual(len(read(head(*lines), max_headers=10).headers), 10)
        self.assertRefused(431, head(*lines, "Y: 1"), max_headers=10)

    def test_linear_time(self):
        """No byte of a head that comes in small pieces is searched twice."""

        class Counting(bytearray):
            searched = 0

            def find(self, sub, start=0):
                self.searched += len(self) - start
                return super().find(sub, start)

        buffer = Counting()
        screen = HeadScreen(1 << 20, 128)
        for _ in range(2000):
            buffer += b"xxxx"
            self.assertIsNone(screen.find_end(buffer))
        self.assertEqual(buffer.searched, len(buffer))

    def test_two_empty_lines(self):
        """Two empty lines are no beginning of a request: 400 at once."""
        self.assertRefused(400, b"\r\n\r\n", NOTHING)

    def test_default_limits(self):
        """A connection that is told nothing takes heads up to 16 KiB and 128 headers."""
        for data, passes in [
            (head("X: " + "x" * 16000), True),
            (head("X: " + "x" * 17000), False),
            (head(*["X: 1"] * 127), True),
            (head(*["X: 1"] * 128), False),
        ]:
            exchange = HTTPConnection(Wire(data))
            if passes:
                self.assertIsNotNone(exchange.read_request(None))
                continue
            with self.assertRaises(BadRequest) as caught:
                exchange.read_request(None)
            self.assertEqual(caught.exception.status, 431)

    def test_message(self):
        """The error says what is wrong, and never repeats more than a little of what the peer sent."""
        with self.assertRaises(BadRequest) as caught:
            read(head(host=None))
        self.assertEqual(str(caught.exception), "Missing mandatory Host: header")
        with self.assertRaises(BadRequest) as caught:
            read(head("x" * 5000))
        self.assertLess(len(str(caught.exception)), 300)


if __name__ == "__main__":
    unittest.main()
