"""HTTP/1.1 over a transport: heads, bodies, responses, keep-alive, and leaving HTTP."""

import json
import random
import socket
import time
import unittest
import weakref
from types import SimpleNamespace
from unittest import mock

import h11

from syncws._http import http11
from syncws._http.http11 import BadRequest, HTTPConnection, Request, Response, switching_protocols
from syncws._net.transport import Transport

GET = b"GET / HTTP/1.1\r\nHost: a.example\r\n\r\n"
UPGRADE = (
    b"GET /chat HTTP/1.1\r\nHost: a.example\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n"
    b"Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n\r\n"
)
NOTHING = None  # in a script: nothing comes for as long as the reader waits


def head(*lines: str, start: str = "GET / HTTP/1.1", host: str | None = "Host: a.example") -> bytes:
    """A request head of these header lines."""
    return "\r\n".join([start, *([host] if host else []), *lines, "", ""]).encode("latin-1")


class Wire:
    """A scripted transport: gives its pieces one by one, then the end of the stream; its clock moves as it waits."""

    is_tls = False
    local_address = ("127.0.0.1", 80)
    remote_address = ("127.0.0.1", 50000)

    def __init__(self, *pieces, seconds_per_piece=0.0):
        self.pieces = list(pieces)
        self.seconds_per_piece = seconds_per_piece
        self.now = 1000.0
        self.receives = 0
        self.sent = b""

    def monotonic(self):
        return self.now

    def receive(self, size, wait):
        self.receives += 1
        if not self.pieces:
            return b""
        if (wait is not None and wait < self.seconds_per_piece) or self.pieces[0] is NOTHING:
            self.now += wait
            return None
        self.now += self.seconds_per_piece
        piece = self.pieces.pop(0)
        if len(piece) > size:
            self.pieces.insert(0, piece[size:])
        return piece[:size]

    def send(self, *buffers, deadline=None, stall=None):
        self.sent += b"".join(buffers)


def open_wire(*pieces, max_head=16384, max_headers=128):
    wire = Wire(*pieces)
    return wire, HTTPConnection(wire, max_head=max_head, max_headers=max_headers)


def read(*pieces, **limits):
    return open_wire(*pieces, **limits)[1].read_request(None)


def parse_answer(data, method="GET"):
    """The answer (an h11 event), its headers as a dict, its body, and what follows it, as another party reads them."""
    client = h11.Connection(h11.CLIENT)
    client.send(h11.Request(method=method, target="/", headers=[("Host", "a.example")]))
    client.send(h11.EndOfMessage())
    client.receive_data(data)
    response = client.next_event()
    body = b""
    while isinstance(event := client.next_event(), h11.Data):
        body += event.data
    assert isinstance(event, h11.EndOfMessage), event
    headers = {name.decode(): value.decode("latin-1") for name, value in response.headers}
    return response, headers, body, client.trailing_data[0]


class HTTPCase(unittest.TestCase):
    def assertRefused(self, status, *pieces, says="", **limits):
        with self.assertRaises(BadRequest) as caught:
            read(*pieces, **limits)
        self.assertEqual(caught.exception.status, status)
        self.assertIn(says, str(caught.exception))


class RequestTests(HTTPCase):
    def test_fields(self):
        """Method, target, path, query, version, headers and addresses of a request arrive."""
        request = read(head("X-Name: \xe9", start="POST /a%20b/%C3%A9?q=1&r=a+b&q=2&e= HTTP/1.1"))
        self.assertEqual((request.method, request.target), ("POST", "/a%20b/%C3%A9?q=1&r=a+b&q=2&e="))
        self.assertEqual(request.path, "/a b/é")
        self.assertEqual(request.query_string, "q=1&r=a+b&q=2&e=")
        self.assertEqual(request.query, {"q": "1", "r": "a b", "e": ""})
        self.assertEqual(list(request.headers), [("Host", "a.example"), ("X-Name", "é")])
        self.assertEqual((request.http_version, request.scheme), ("1.1", "http"))
        self.assertEqual((request.remote_address, request.local_address), (Wire.remote_address, Wire.local_address))
        self.assertEqual((request.host, request.has_body, request.body()), ("a.example", False, b""))

    def test_scheme_under_tls(self):
        """The scheme is https when the transport is TLS."""
        wire, exchange = open_wire(GET)
        wire.is_tls = True
        self.assertEqual(exchange.read_request(None).scheme, "https")

    def test_broken_percent_encoding(self):
        """Percent signs that encode nothing, or no UTF-8, do no harm."""
        request = read(head(start="GET /%zz%ff?%zz=%ff HTTP/1.1"))
        self.assertEqual(request.path, "/%zz\N{REPLACEMENT CHARACTER}")
        self.assertEqual(request.query, {"%zz": "\N{REPLACEMENT CHARACTER}"})

    def test_target_forms(self):
        """Origin form, absolute form and OPTIONS * are the targets HTTP knows."""
        for method, target, path, query, host in [
            ("GET", "/", "/", "", "a.example"),
            ("GET", "/?", "/", "", "a.example"),
            ("GET", "//x/y?z", "//x/y", "z", "a.example"),
            ("GET", "http://b.example:8/p?q=/?", "/p", "q=/?", "b.example:8"),
            ("GET", "HTTPS://b.example", "/", "", "b.example"),
            ("GET", "http://b.example?q", "/", "q", "b.example"),
            ("OPTIONS", "*", "*", "", "a.example"),
        ]:
            with self.subTest(target=target):
                request = read(head(start=f"{method} {target} HTTP/1.1"))
                self.assertEqual((request.path, request.query_string, request.host), (path, query, host))

    def test_bad_targets(self):
        """Every other target is 400."""
        for target in ("*", "a.example:80", "path", "?q", "/a#b", "http://", "http:///p", "http://u@h/", "ftp://h/"):
            with self.subTest(target=target):
                self.assertRefused(400, head(start=f"GET {target} HTTP/1.1"), says="target")

    def test_connect(self):
        """CONNECT is 501, whatever its target."""
        self.assertRefused(501, head(start="CONNECT a.example:80 HTTP/1.1"))
        self.assertRefused(501, head(start="CONNECT / HTTP/1.1"))

    def test_host(self):
        """HTTP/1.1 needs exactly one Host, and one that can be a host; HTTP/1.0 may do without; it may be empty."""
        self.assertRefused(400, head(host=None))
        self.assertRefused(400, head("Host: b.example"))
        for bad in ("a b", "a/b", "u@h", "a\\b", "h\xe9", 'a"'):
            with self.subTest(host=bad):
                self.assertRefused(400, head(host=f"Host: {bad}"), says="Host")
        self.assertEqual(read(head(host="Host:")).host, "")
        self.assertEqual(read(head(host="Host: [::1]:80")).host, "[::1]:80")
        self.assertEqual(read(head(host=None, start="GET / HTTP/1.0")).host, "")

    def test_versions(self):
        """HTTP versions other than 1.0 and 1.1 are 505, also HTTP/2's preface."""
        for version in ("0.9", "1.2", "2.0", "9.9"):
            with self.subTest(version=version):
                self.assertRefused(505, head(start=f"GET / HTTP/{version}"))
        self.assertRefused(505, b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n")

    def test_cookies(self):
        """Cookies of all lines are read; the first of a name counts, quotes go, junk is skipped."""
        request = Request("GET", "/", [("Cookie", 'a=1; b="x y"; a=2; junk; =3; c='), ("cookie", 'd=a=b;e="; f=""')])
        self.assertEqual(request.cookies, {"a": "1", "b": "x y", "c": "", "d": "a=b", "e": '"', "f": ""})

    def test_application_data(self):
        """data is one dict for the life of the request; conn, refusal and on_upgrade begin as None."""
        request = Request("GET", "/")
        request.data["user"] = "ann"
        self.assertEqual(request.data, {"user": "ann"})
        self.assertEqual((request.conn, request.refusal, request.on_upgrade, request.exchange), (None,) * 4)

    def test_made_by_hand(self):
        """A request that came over no connection has no body, and a bad one is ValueError."""
        self.assertEqual(Request("GET", "/x", {"Host": "h"}).body(), b"")
        with self.assertRaises(ValueError):
            Request("GET", "x")
        with self.assertRaises(ValueError):
            Request("GET", "/", {"Host": "a b"})
        self.assertEqual(repr(Request("GET", "/x?y")), "<Request GET /x?y>")


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
        screen = http11._HeadScreen(1 << 20, 128)
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

    def test_early_end(self):
        """The end of the stream before a request is None, in the middle of a head 400."""
        self.assertIsNone(read())
        self.assertIsNone(read(b"\r\n"))
        self.assertRefused(400, GET[:-1], says="ended")

    def test_transport_errors_pass(self):
        """An OSError of the transport leaves as it is."""
        wire, exchange = open_wire()
        wire.receive = mock.Mock(side_effect=ConnectionResetError)
        with self.assertRaises(ConnectionResetError):
            exchange.read_request(None)

    def test_after_a_refusal(self):
        """A refused request can be answered, once, with close; nothing further is read."""
        for data in (b"junk\n", head(host=None), head(start="GET x HTTP/1.1"), head(start="GET / HTTP/2.0")):
            with self.subTest(data=data):
                wire, exchange = open_wire(data, GET)
                with self.assertRaises(BadRequest):
                    exchange.read_request(None)
                exchange.send_response(Response("no", 400), deadline=None)
                response, headers, body, rest = parse_answer(wire.sent)
                self.assertEqual((response.status_code, headers["connection"], body), (400, "close", b"no"))
                self.assertFalse(exchange.keep_alive)
                self.assertIsNone(exchange.read_request(None))
                self.assertEqual(rest, b"")

    def test_refusal_after_a_head_request(self):
        """What is refused after a HEAD request is answered with a body again."""
        wire, exchange = open_wire(head(start="HEAD / HTTP/1.1"), b"junk\n")
        exchange.read_request(None)
        exchange.send_response(Response("unseen"), deadline=None)
        wire.sent = b""
        with self.assertRaises(BadRequest):
            exchange.read_request(None)
        exchange.send_response(Response("no", 400), deadline=None)
        self.assertEqual(parse_answer(wire.sent)[2], b"no")


class DeadlineTests(HTTPCase):
    def on(self, wire):
        self.enterContext(mock.patch.object(http11, "time", SimpleNamespace(monotonic=wire.monotonic)))
        return HTTPConnection(wire)

    def test_one_deadline_over_the_head(self):
        """A peer that sends a byte a second gets no second more than the deadline: 408."""
        wire = Wire(*(bytes([byte]) for byte in GET), seconds_per_piece=1.0)
        with self.assertRaises(BadRequest) as caught:
            self.on(wire).read_request(1010.5)
        self.assertEqual((caught.exception.status, wire.now), (408, 1010.5))
        self.assertEqual(len(wire.pieces), len(GET) - 10)

    def test_idle_connection(self):
        """A deadline that passes before anything came is no request, also between requests."""
        wire = Wire(GET, NOTHING)
        exchange = self.on(wire)
        self.assertIsNotNone(exchange.read_request(1005.0))
        exchange.send_response(Response(), deadline=None)
        self.assertIsNone(exchange.read_request(1005.0))
        self.assertEqual(wire.now, 1005.0)

    def test_empty_line_is_idle(self):
        """A peer that has sent an empty line and no more is idle."""
        self.assertIsNone(self.on(Wire(b"\r\n", NOTHING)).read_request(1005.0))

    def test_one_deadline_over_the_body(self):
        """A body that trickles in is cut at its timeout, 408; a later call goes on where it stopped."""
        wire = Wire(head("Content-Length: 20"), *[b"x"] * 20, seconds_per_piece=1.0)
        request = self.on(wire).read_request(None)
        with self.assertRaises(BadRequest) as caught:
            request.body(timeout=10.5)
        self.assertEqual((caught.exception.status, wire.now), (408, 1011.5))
        self.assertEqual(request.body(timeout=60), b"x" * 20)

    def test_no_wait_for_what_is_here(self):
        """A pipelined request that has arrived is read even if the deadline is over."""
        wire = Wire(GET + GET)
        exchange = self.on(wire)
        exchange.read_request(None)
        exchange.send_response(Response(), deadline=None)
        self.assertIsNotNone(exchange.read_request(1.0))


class BodyTests(HTTPCase):
    def body(self, *pieces, limit=1000):
        return read(*pieces).body(limit)

    def assertBodyRefused(self, status, *pieces, limit=1000):
        request = read(*pieces)
        for _ in range(2):  # the second call must not take the rest for the whole
            with self.assertRaises(BadRequest) as caught:
                request.body(limit)
            self.assertEqual(caught.exception.status, status)

    def test_length(self):
        """A body with a length arrives whole, however it is cut, and can be read again."""
        request = read(head("Content-Length: 5") + b"he", b"l", b"lo")
        self.assertTrue(request.has_body)
        self.assertEqual((request.body(), request.body()), (b"hello", b"hello"))

    def test_chunked(self):
        """A chunked body arrives whole, byte by byte, without its trailers."""
        data = b"3;ext=1\r\nhel\r\n2\r\nlo\r\n0\r\nTrailer: x\r\n\r\n"
        request = read(head("Transfer-Encoding: chunked"), *(bytes([byte]) for byte in data))
        self.assertTrue(request.has_body)
        self.assertEqual(request.body(), b"hello")

    def test_no_body(self):
        """A length of nothing is no body."""
        request = read(head("Content-Length: 00"))
        self.assertEqual((request.has_body, request.body(0)), (False, b""))

    def test_limit(self):
        """A body of limit bytes passes, a larger one is 413; by its length before any of it is read."""
        self.assertEqual(self.body(head("Content-Length: 5"), b"hello", limit=5), b"hello")
        wire, exchange = open_wire(head("Content-Length: 6", "Expect: 100-continue"), b"hello!")
        request = exchange.read_request(None)
        with self.assertRaises(BadRequest) as caught:
            request.body(5)
        self.assertEqual((caught.exception.status, wire.receives, wire.sent), (413, 1, b""))
        self.assertEqual(request.body(6), b"hello!")

    def test_limit_of_a_chunked_body(self):
        """A chunked body is cut at the limit, 413, without being read on; a larger limit goes on."""
        chunks = [b"5\r\nhello\r\n"] * 10
        wire, exchange = open_wire(head("Transfer-Encoding: chunked"), *chunks, b"0\r\n\r\n")
        request = exchange.read_request(None)
        with self.assertRaises(BadRequest) as caught:
            request.body(12)
        self.assertEqual((caught.exception.status, len(wire.pieces)), (413, 8))
        self.assertEqual(request.body(50), b"hello" * 10)
        for limit in (45, 49):
            self.assertBodyRefused(413, head("Transfer-Encoding: chunked"), *chunks, b"0\r\n\r\n", limit=limit)

    def test_default_limit(self):
        """Without a limit, a body may have 1 MiB."""
        self.assertEqual(len(read(head(f"Content-Length: {1 << 20}"), b"x" * (1 << 20)).body()), 1 << 20)
        with self.assertRaises(BadRequest):
            read(head(f"Content-Length: {(1 << 20) + 1}"), b"x" * ((1 << 20) + 1)).body()

    def test_cut_body(self):
        """The end of the stream in a body is 400, each time it is asked for."""
        self.assertBodyRefused(400, head("Content-Length: 5"), b"hell")
        self.assertBodyRefused(400, head("Transfer-Encoding: chunked"), b"5\r\nhello\r\n")

    def test_malformed_chunks(self):
        """A body that is not chunked as announced is 400."""
        for data in (b"x\r\n", b"5\nhello", b"2\r\nhello\r\n", b"-1\r\n", b"5\r\nhello0\r\n"):
            with self.subTest(data=data):
                self.assertBodyRefused(400, head("Transfer-Encoding: chunked"), data)

    def test_expect_continue(self):
        """A client that waits for it gets 100 Continue once, when the body is read and not before."""
        wire, exchange = open_wire(head("Content-Length: 5", "Expect: 100-continue"), b"hel", b"lo")
        request = exchange.read_request(None)
        self.assertEqual(wire.sent, b"")
        self.assertEqual(request.body(), b"hello")
        self.assertEqual(wire.sent, b"HTTP/1.1 100 Continue\r\n\r\n")

    def test_expect_continue_not_waited_for(self):
        """No 100 Continue to a client whose body is here already, nor to HTTP/1.0."""
        wire, exchange = open_wire(head("Content-Length: 5", "Expect: 100-continue") + b"hello")
        self.assertEqual(exchange.read_request(None).body(), b"hello")
        self.assertEqual(wire.sent, b"")
        wire, exchange = open_wire(head("Content-Length: 5", "Expect: 100-continue", start="POST / HTTP/1.0"), b"hello")
        self.assertEqual(exchange.read_request(None).body(), b"hello")
        self.assertEqual(wire.sent, b"")


class KeepAliveTests(HTTPCase):
    def serve(self, *pieces, respond=lambda request: Response(request.path)):
        """Answer requests for as long as the exchange allows; the paths served, and the wire."""
        wire, exchange = open_wire(*pieces)
        paths = []
        while (request := exchange.read_request(None)) is not None:
            paths.append(request.path)
            exchange.send_response(respond(request), deadline=None)
        return paths, wire

    def numbered(self, number, *lines, method="GET", version="1.1"):
        return head(*lines, start=f"{method} /{number} HTTP/{version}")

    def test_one_after_another(self):
        """Requests follow one another on one connection, and no answer says close."""
        paths, wire = self.serve(self.numbered(1), self.numbered(2), self.numbered(3))
        self.assertEqual(paths, ["/1", "/2", "/3"])
        self.assertNotIn(b"onnection:", wire.sent)

    def test_pipelined(self):
        """Requests that arrive in one piece, bodies between them, are each answered in order."""
        post = self.numbered(2, "Content-Length: 3", method="POST") + b"abc"
        paths, wire = self.serve(
            self.numbered(1) + post + self.numbered(3), respond=lambda request: Response(request.body() or b"none")
        )
        self.assertEqual(paths, ["/1", "/2", "/3"])
        rest = wire.sent
        for expected in (b"none", b"abc", b"none"):
            _, _, body, rest = parse_answer(rest)
            self.assertEqual(body, expected)
        self.assertEqual(rest, b"")

    def test_unread_body_that_is_here(self):
        """A body nobody read, but which has come, is skipped and the next request read."""
        post = self.numbered(1, "Content-Length: 3", method="POST") + b"abc"
        self.assertEqual(self.serve(post + self.numbered(2))[0], ["/1", "/2"])

    def test_unread_body_that_is_not_here(self):
        """A body nobody read and which has not come whole ends the connection: it is not waited for."""
        post = self.numbered(1, "Content-Length: 3", method="POST") + b"ab"
        paths, wire = self.serve(post, b"c" + self.numbered(2))
        self.assertEqual((paths, len(wire.pieces)), (["/1"], 1))
        self.assertEqual(parse_answer(wire.sent)[1]["connection"], "close")

    def test_unread_body_with_expect(self):
        """A client that waits for consent and gets an answer instead is not asked for its body, and closed."""
        post = self.numbered(1, "Content-Length: 3", "Expect: 100-continue", method="POST")
        paths, wire = self.serve(post, self.numbered(2))
        self.assertEqual(paths, ["/1"])
        self.assertTrue(wire.sent.startswith(b"HTTP/1.1 200 "))

    def test_refused_body(self):
        """A body that was refused half-way is never taken for a request."""
        _, exchange = open_wire(self.numbered(1, "Transfer-Encoding: chunked"), b"5\r\nhello\r\n", self.numbered(2))
        request = exchange.read_request(None)
        with self.assertRaises(BadRequest):
            request.body(3)
        exchange.send_response(Response(status=413), deadline=None)
        self.assertIsNone(exchange.read_request(None))

    def test_lost_body(self):
        """A connection that is lost in the middle of a body is the peer's fault, not an OSError of the handler."""
        wire, exchange = open_wire(head("Content-Length: 5"), b"ab")
        request = exchange.read_request(None)
        wire.receive = mock.Mock(side_effect=ConnectionResetError("gone"))
        with self.assertRaisesRegex(BadRequest, "lost in the middle of a body: gone") as caught:
            request.body()
        self.assertIsInstance(caught.exception.__cause__, ConnectionResetError)

    def test_malformed_body(self):
        """After a malformed body nothing is read."""
        self.assertEqual(
            self.serve(self.numbered(1, "Transfer-Encoding: chunked") + b"x\r\n" + self.numbered(2))[0], ["/1"]
        )

    def test_chunked_is_the_last(self):
        """A request with a chunked body is the last one, read or not: its end is open to interpretation."""
        post = self.numbered(1, "Transfer-Encoding: chunked") + b"0\r\n\r\n"
        self.assertEqual(self.serve(post + self.numbered(2))[0], ["/1"])
        paths, wire = self.serve(post + self.numbered(2), respond=lambda request: Response(request.body()))
        self.assertEqual((paths, parse_answer(wire.sent)[1]["connection"]), (["/1"], "close"))

    def test_client_says_close(self):
        """A client that says close is told so too, and not read on."""
        paths, wire = self.serve(self.numbered(1, "Connection: close") + self.numbered(2))
        self.assertEqual((paths, parse_answer(wire.sent)[1]["connection"]), (["/1"], "close"))

    def test_http_1_0(self):
        """HTTP/1.0 gets one answer and close, even if it asks for keep-alive."""
        paths, wire = self.serve(self.numbered(1, "Connection: keep-alive", version="1.0") + self.numbered(2))
        self.assertEqual((paths, parse_answer(wire.sent)[1]["connection"]), (["/1"], "close"))

    def test_upgrade_that_is_answered(self):
        """An upgrade request may get an ordinary answer; what follows it is never read as a request."""
        for lines in (("Connection: Upgrade", "Upgrade: websocket"), ("Upgrade: h2c",)):
            with self.subTest(lines=lines):
                paths, wire = self.serve(
                    self.numbered(1, *lines) + self.numbered(2), respond=lambda request: Response("no", 403)
                )
                self.assertEqual(paths, ["/1"])
                response, headers, body, _ = parse_answer(wire.sent)
                self.assertEqual((response.status_code, headers["connection"], body), (403, "close", b"no"))

    def test_not_answered(self):
        """Without an answer there is no further request."""
        _, exchange = open_wire(GET, GET)
        exchange.read_request(None)
        self.assertFalse(exchange.keep_alive)
        self.assertIsNone(exchange.read_request(None))

    def test_answer_that_does_not_leave(self):
        """An answer that could not be sent leaves its error, and ends the connection."""
        wire, exchange = open_wire(GET, GET)
        exchange.read_request(None)
        wire.send = mock.Mock(side_effect=BrokenPipeError)
        with self.assertRaises(BrokenPipeError):
            exchange.send_response(Response(), deadline=None)
        self.assertIsNone(exchange.read_request(None))

    def test_deadline_of_the_answer(self):
        """The deadline of an answer reaches the transport."""
        wire, exchange = open_wire(GET)
        exchange.read_request(None)
        wire.send = mock.Mock()
        exchange.send_response(Response(), deadline=7.0)
        self.assertEqual(wire.send.call_args.kwargs, {"deadline": 7.0})

    def test_two_answers(self):
        """A second answer, or one without a request, is RuntimeError."""
        _, exchange = open_wire(GET)
        with self.assertRaises(RuntimeError):
            exchange.send_response(Response(), deadline=None)
        exchange.read_request(None)
        exchange.send_response(Response(), deadline=None)
        with self.assertRaises(RuntimeError):
            exchange.send_response(Response(), deadline=None)


class ResponseTests(HTTPCase):
    def send(self, response, method="GET"):
        wire, exchange = open_wire(head(start=f"{method} / HTTP/1.1"))
        exchange.read_request(None)
        exchange.send_response(response, deadline=None)
        self.assertTrue(exchange.keep_alive)
        return wire.sent

    def test_text(self):
        """A str is UTF-8 plain text; status line, Date and Content-Length are written."""
        data = self.send(Response("é"))
        self.assertTrue(data.startswith(b"HTTP/1.1 200 OK\r\n"))
        _, headers, body, _ = parse_answer(data)
        self.assertEqual(body, "é".encode())
        self.assertRegex(headers.pop("date"), r"\A\w{3}, \d\d \w{3} \d{4} \d\d:\d\d:\d\d GMT\Z")
        self.assertEqual(headers, {"content-type": "text/plain; charset=utf-8", "content-length": "2"})

    def test_content_type(self):
        """The content type is the argument, else the header's, else what the body suggests; both are an error."""
        html = "text/html; charset=utf-8"
        self.assertEqual(Response("x", content_type=html).headers.get_all("Content-Type"), [html])
        self.assertEqual(Response("x", headers={"content-type": html}).headers.get_all("Content-Type"), [html])
        self.assertEqual(Response(b"x").headers["Content-Type"], "application/octet-stream")
        self.assertNotIn("Content-Type", Response(status=404).headers)
        with self.assertRaisesRegex(ValueError, "Content-Type"):
            Response("x", headers={"content-type": html}, content_type=html)
        with self.assertRaisesRegex(ValueError, "Content-Type"):
            Response("x", content_type="text/html\r\nX: y")

    def test_json(self):
        """Response.json makes a JSON body with its content type."""
        _, headers, body, _ = parse_answer(self.send(Response.json({"a": [1]}, status=201)))
        self.assertEqual((json.loads(body), headers["content-type"]), ({"a": [1]}, "application/json"))

    def test_headers_in_order(self):
        """Headers leave as given, repeated ones on their own lines, blanks around values removed."""
        pairs = [("Set-Cookie", "a=1"), ("X-Y", " v "), ("Set-Cookie", "b=\xe9")]
        self.assertIn(b"Set-Cookie: a=1\r\nX-Y: v\r\nSet-Cookie: b=\xe9\r\n", self.send(Response(headers=pairs)))

    def test_injection(self):
        """A name or value that would break the head is ValueError that names the header, before anything is sent."""
        for name, value in [
            ("X-Evil", "a\r\nY: b"),
            ("X-Evil", "a\n"),
            ("X-Evil", "a\r"),
            ("X-Evil", "a\0"),
            ("X-Evil", "a\x0b"),
            ("X-Evil", "\N{SNOWMAN}"),
            ("X-Evil\r\nY", "b"),
            ("X-Evil ", "b"),
            ("X-Evil:", "b"),
            ("", "b"),
        ]:
            for make in (lambda pairs: Response(headers=pairs), switching_protocols):
                with self.subTest(name=name, value=value), self.assertRaises(ValueError) as caught:
                    make([("Ok", "1"), (name, value)])
                self.assertIn(repr(name), str(caught.exception))

    def test_headers_of_the_library(self):
        """What the library writes itself is refused by name."""
        for name in ("content-length", "DATE", "Connection", "Transfer-Encoding", "Keep-Alive"):
            with self.subTest(name=name), self.assertRaisesRegex(ValueError, name.lower()):
                Response(headers={name: "1"})

    def test_wrong_types(self):
        """Types that cannot be meant are TypeError, statuses that are no final answer ValueError."""
        for says, make in [
            ("body must be str or bytes", lambda: Response({"a": 1})),
            ("status must be an int", lambda: Response(status="200")),
            ("header 'X'", lambda: Response(headers={"X": 1})),
            ("header b'X'", lambda: Response(headers={b"X": "1"})),
        ]:
            with self.subTest(says=says), self.assertRaisesRegex(TypeError, says):
                make()
        for status in (0, 100, 101, 199, 1000):
            with self.assertRaises(ValueError):
                Response(status=status)

    def test_head(self):
        """The answer to HEAD has the length the body would have, and no body."""
        data = self.send(Response("hello"), method="HEAD")
        self.assertTrue(data.endswith(b"\r\n\r\n"))
        self.assertEqual(parse_answer(data, "HEAD")[1]["content-length"], "5")

    def test_statuses_without_body(self):
        """204 and 304 leave without body and length."""
        for status in (204, 304):
            data = self.send(Response("hello", status))
            self.assertTrue(data.endswith(b"\r\n\r\n"))
            self.assertNotIn(b"ontent-Length", data)

    def test_upgrade_header(self):
        """An answer that names an upgrade says so in Connection too, beside close (RFC 9110 section 7.8)."""
        wire, exchange = open_wire(UPGRADE)
        exchange.read_request(None)
        exchange.send_response(Response(status=426, headers={"Upgrade": "websocket"}), deadline=None)
        _, headers, _, _ = parse_answer(wire.sent)
        self.assertEqual(headers["connection"], "Upgrade, close")

    def test_unknown_status(self):
        """A status without a name leaves with an empty reason."""
        self.assertTrue(self.send(Response(status=599)).startswith(b"HTTP/1.1 599 \r\n"))
        self.assertEqual(repr(Response("abc", 404)), "<Response 404 Not Found, 3 bytes>")

    def test_switching_protocols(self):
        """The head of a 101 has exactly the headers given, in order."""
        self.assertEqual(
            switching_protocols([("Upgrade", "websocket"), ("Connection", "Upgrade"), ("X", "1"), ("X", "2")]),
            b"HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: Upgrade\r\nX: 1\r\nX: 2\r\n\r\n",
        )


class TakeOverTests(HTTPCase):
    def test_later_bytes_stay_with_the_transport(self):
        """Taking over gives the bytes that were read, and leaves on the transport what was not."""
        wire, exchange = open_wire(UPGRADE + b"early", b"late")
        request = exchange.read_request(None)
        self.assertEqual(exchange.take_over(), (wire, b"early"))
        self.assertEqual(wire.pieces, [b"late"])
        self.assertTrue(exchange.taken_over)
        self.assertEqual(request.body(), b"")

    def test_after_a_body(self):
        """What follows a body that was read comes first; of a body read in part nothing is lost either."""
        for pieces, body, leftover in [
            ([b"abcd" + b"early"], b"abcd", b"early"),
            ([b"ab", b"cdearly"], b"abcd", b"early"),
            ([b"abcdearly"], None, b"abcdearly"),
        ]:
            wire, exchange = open_wire(head("Content-Length: 4", "Upgrade: websocket"), *pieces)
            request = exchange.read_request(None)
            if body is None:
                exchange._buffer += wire.pieces.pop()
            else:
                self.assertEqual(request.body(), body)
            self.assertEqual(exchange.take_over()[1], leftover)

    def test_unfinished_chunk(self):
        """Bytes of a body that h11 could not use yet are not lost."""
        _, exchange = open_wire(head("Transfer-Encoding: chunked", "Upgrade: x"), b"2\r\nab\r\n5", b"")
        request = exchange.read_request(None)
        with self.assertRaises(BadRequest):
            request.body(1)
        self.assertEqual(exchange.take_over()[1], b"\r\n5")

    def test_nothing_after(self):
        """Once taken over, HTTP neither reads nor writes nor gives the transport away again."""
        _, exchange = open_wire(UPGRADE)
        exchange.read_request(None)
        exchange.take_over()
        for act in (
            exchange.take_over,
            lambda: exchange.read_request(None),
            lambda: exchange.send_response(Response(), deadline=None),
        ):
            with self.assertRaises(RuntimeError):
                act()
        self.assertFalse(exchange.keep_alive)

    def test_at_once(self):
        """A connection may be taken over before any request was read; then it is no longer HTTP's."""
        wire, exchange = open_wire(b"raw")
        self.assertTrue(exchange.keep_alive)
        self.assertEqual(exchange.take_over(), (wire, b""))
        self.assertFalse(exchange.keep_alive)

    def test_nothing_is_kept(self):
        """The parser and what was received are let go: a WebSocket connection lives long."""
        _, exchange = open_wire(UPGRADE + b"early")
        exchange.read_request(None)
        parser = weakref.ref(exchange._http)
        exchange.take_over()
        self.assertIsNone(parser())
        self.assertEqual(exchange._buffer, b"")

    def test_over_a_socket(self):
        """Over real sockets: a request, its answer, an upgrade with early data, then the transport is the caller's."""
        ours, theirs = socket.socketpair()
        self.enterContext(ours)
        self.enterContext(theirs)
        theirs.settimeout(10)
        transport = Transport(ours)
        exchange = HTTPConnection(transport)
        theirs.sendall(head("Content-Length: 5", start="POST /a HTTP/1.1") + b"hello" + UPGRADE + b"\x81\x00")
        deadline = time.monotonic() + 10
        request = exchange.read_request(deadline)
        exchange.send_response(Response(request.body()), deadline=deadline)
        self.assertTrue(theirs.recv(65536).endswith(b"\r\n\r\nhello"))
        self.assertEqual(exchange.read_request(deadline).path, "/chat")
        self.assertEqual(exchange.take_over(), (transport, b"\x81\x00"))
        theirs.sendall(b"more")
        self.assertEqual(transport.receive(100, 10), b"more")

    def test_slow_peer_over_a_socket(self):
        """Over real sockets: nothing is idle, half a head is 408."""
        for data in (b"", GET[:-2]):
            ours, theirs = socket.socketpair()
            with ours, theirs:
                theirs.sendall(data)
                exchange = HTTPConnection(Transport(ours))
                deadline = time.monotonic() + 0.02
                if not data:
                    self.assertIsNone(exchange.read_request(deadline))
                    continue
                with self.assertRaises(BadRequest) as caught:
                    exchange.read_request(deadline)
                self.assertEqual(caught.exception.status, 408)


SEEDS = (
    GET,
    UPGRADE + b"\x81\x85abcdefghi",
    head("Content-Length: 5", "Connection: keep-alive", start="POST /a?b=c%20d HTTP/1.1") + b"hello" + GET,
    head("Transfer-Encoding: chunked", start="PUT /x HTTP/1.1") + b"5;a=b\r\nhello\r\n0\r\nT: x\r\n\r\n" + GET,
    head("Expect: 100-continue", "Content-Length: 3", "Cookie: a=b; c", start="POST / HTTP/1.1") + b"abc",
    head("Accept: */*", start="GET http://b.example:80/x?y HTTP/1.0", host=None),
    head(start="OPTIONS * HTTP/1.1") + head(start="HEAD /h HTTP/1.1") + head(start="CONNECT a:1 HTTP/1.1"),
)
JUNK = (
    *(b"\r\n", b"\n", b"\r", b"\0", b" ", b"\t", b":", b",", b";", b"%", b"?", b"#", b"*", b"\xff", b"\x80", b"\x16"),
    *(
        b"\r\n\r\n",
        b"\r\n X",
        b"0\r\n\r\n",
        b"HTTP/1.1",
        b"http://[",
        b"GET ",
        b"CONNECT ",
        b"Host: b\r\n",
        b"99999999",
    ),
    *(b"Content-Length: 3\r\n", b"Transfer-Encoding: chunked\r\n", b"Upgrade: x\r\n", b"Connection: close\r\n"),
)


def mutate(rng, data):
    """A request stream with a few places spoilt."""
    data = bytearray(data)
    for _ in range(rng.randrange(4)):
        place = rng.randrange(len(data) + 1)
        match rng.randrange(5):
            case 0:
                data[place:place] = rng.choice(JUNK)
            case 1:
                del data[place : place + rng.randrange(1, 20)]
            case 2:
                data[place : place + 1] = bytes([rng.randrange(256)])
            case 3:
                data[place:place] = data[place : place + rng.randrange(40)] * rng.randrange(1, 3)
            case 4:
                data[place:] = rng.choice(SEEDS)[place:]
    return bytes(data)


def fuzz_once(rng):
    """Serve one spoilt stream, cut at random, to its end; the number of requests. Only BadRequest may stop it."""
    data = rng.randbytes(rng.randrange(80)) if rng.random() < 0.05 else mutate(rng, rng.choice(SEEDS))
    cuts = sorted(rng.randrange(len(data) + 1) for _ in range(rng.randrange(6)))
    pieces = [data[start:end] for start, end in zip([0, *cuts], [*cuts, len(data)], strict=True) if start < end]
    _, exchange = open_wire(*pieces, max_head=rng.choice((60, 200, 16384)), max_headers=rng.choice((2, 128)))
    served = 0
    try:
        while (request := exchange.read_request(None)) is not None:
            served += 1
            _ = request.query, request.cookies, request.host, request.data
            if rng.random() < 0.1:
                exchange.take_over()
                return served
            exchange.send_response(echo(rng, request), deadline=None)
    except BadRequest as error:
        exchange.send_response(Response(str(error), error.status), deadline=None)
    assert exchange.read_request(None) is None
    return served


def echo(rng, request):
    """An answer to a request, whose body is read every other time."""
    try:
        return Response(request.body(rng.choice((0, 4, 1000))) if rng.random() < 0.5 else b"unread")
    except BadRequest as error:
        return Response(str(error), error.status)


class FuzzTests(unittest.TestCase):
    def test_any_input(self):
        """Spoilt streams, cut anywhere, end in BadRequest or a clean end, and nothing else."""
        rng = random.Random(20)
        served = sum(fuzz_once(rng) for _ in range(3000))
        self.assertGreater(served, 300)  # or the mutations leave nothing to test


if __name__ == "__main__":
    unittest.main()
