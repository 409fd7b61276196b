"""http11.py: requests one after another over a transport: bodies, deadlines, keep-alive, and leaving HTTP."""

import math
import random
import socket
import time
import unittest
import weakref
from types import SimpleNamespace
from unittest import mock

from syncws._http import http11
from syncws._http import request as request_module
from syncws._http.headers import Headers
from syncws._http.http11 import HTTPConnection
from syncws._http.request import BadRequest
from syncws._http.response import Response
from syncws._net.transport import Transport
from tests.http.cases import (
    GET,
    NOTHING,
    SEEDS,
    UPGRADE,
    HTTPCase,
    Wire,
    head,
    mutate,
    open_wire,
    parse_answer,
    read,
)


class RefusalTests(HTTPCase):
    """A stream that ends, or is refused, before there is a request."""

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
        for module in (http11, request_module):
            self.enterContext(mock.patch.object(module, "time", SimpleNamespace(monotonic=wire.monotonic)))
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

    def test_each_byte_is_read_once(self):
        """What was read in pieces is no longer part of the whole, and the other way round."""
        _, exchange = open_wire(head("Content-Length: 4"), b"ab", b"cd")
        request = exchange.read_request(None)
        self.assertEqual(exchange.read_body_piece(None), b"ab")
        self.assertEqual(request.body(), b"cd")
        self.assertEqual(exchange.read_body_piece(None), b"")
        self.assertEqual(request.body(), b"cd")

    def test_expect_continue(self):
        """A client that waits for it gets 100 Continue once, when the body is read and not before."""
        wire, exchange = open_wire(head("Content-Length: 5", "Expect: 100-continue"), b"hel", b"lo")
        request = exchange.read_request(None)
        self.assertEqual(wire.sent, b"")
        self.assertEqual(request.body(), b"hello")
        self.assertEqual(wire.sent, b"HTTP/1.1 100 Continue\r\n\r\n")

    def test_consent_comes_first(self):
        """A client that sends nothing before it got its 100 Continue gets it."""

        class Waiting(Wire):
            def receive(self, size, wait):
                return b"hello" if b"100 Continue" in self.sent else super().receive(size, wait)

        exchange = HTTPConnection(Waiting(head("Content-Length: 5", "Expect: 100-continue")))
        self.assertEqual(exchange.read_request(None).body(), b"hello")

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

    def begin(self, *lines, here, droppable):
        """Answer in pieces a request whose body is here in part; the answer's headers, and whether another may come."""
        wire, exchange = open_wire(head(*lines, start="POST / HTTP/1.1") + here, GET)
        exchange.read_request(None)
        exchange.begin_response(200, "OK", Headers({"Content-Length": "0"}), droppable=droppable)
        exchange.end_response(stall=None)
        headers = parse_answer(wire.sent)[1]
        exchange.drop_body(0, None)
        return headers.get("connection"), exchange.keep_alive

    def test_only_what_has_yet_to_come_counts(self):
        """Whichever way it is answered, bytes of a body that are here already may be dropped, however many they are."""
        self.assertEqual(self.begin("Content-Length: 900", here=b"x" * 900, droppable=0), (None, True))
        self.assertEqual(self.begin("Content-Length: 900", here=b"x" * 895, droppable=5), (None, False))
        self.assertEqual(self.begin("Content-Length: 900", here=b"x" * 894, droppable=5), ("close", False))

    def test_each_request_counts_for_itself(self):
        """What was read of one body says nothing of the next request's."""
        wire, exchange = open_wire(head("Content-Length: 3") + b"abc" + head("Content-Length: 3"), b"def")
        self.assertEqual(exchange.read_request(None).body(), b"abc")
        exchange.send_response(Response(), deadline=None)
        wire.sent = b""
        exchange.read_request(None)
        exchange.send_response(Response(), deadline=None)
        self.assertEqual(parse_answer(wire.sent)[1]["connection"], "close")

    def test_what_was_read_counts(self):
        """Of a body that was read in part, only the rest has yet to come."""
        wire, exchange = open_wire(head("Content-Length: 9") + b"abcd", b"efgh", b"i")
        exchange.read_request(None)
        self.assertEqual([exchange.read_body_piece(None) for _ in range(2)], [b"abcd", b"efgh"])
        exchange.begin_response(200, "OK", Headers({"Content-Length": "0"}), droppable=1)
        exchange.end_response(stall=None)
        exchange.drop_body(1, None)
        self.assertNotIn(b"close", wire.sent)
        self.assertTrue(exchange.keep_alive)

    def test_a_broken_body_is_the_end(self):
        """After a body that broke off the answer says close, however much might be dropped."""
        wire, exchange = open_wire(head("Content-Length: 9"), b"ab")
        exchange.read_request(None)
        self.assertEqual(exchange.read_body_piece(None), b"ab")
        with self.assertRaises(BadRequest):
            exchange.read_body_piece(None)
        exchange.begin_response(400, "no", Headers({"Content-Length": "0"}), droppable=math.inf)
        exchange.end_response(stall=None)
        self.assertEqual(parse_answer(wire.sent)[1]["connection"], "close")

    def test_consent_that_is_no_longer_waited_for(self):
        """A client that waited for consent, and sent its whole body without it, is read on."""
        expect = "Expect: 100-continue"
        self.assertEqual(self.begin("Content-Length: 3", expect, here=b"abc", droppable=0), (None, True))
        self.assertEqual(self.begin("Content-Length: 3", expect, here=b"", droppable=9), ("close", False))

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


class TakeOverTests(HTTPCase):
    def test_later_bytes_stay_with_the_transport(self):
        """Taking over gives the bytes that were read, and leaves on the transport what was not."""
        wire, exchange = open_wire(UPGRADE + b"early", b"late")
        request = exchange.read_request(None)
        self.assertEqual(exchange.take_over(), (wire, b"early"))
        self.assertEqual(wire.pieces, [b"late"])
        self.assertTrue(exchange.taken_over)
        self.assertEqual(request.body(), b"")

    def test_a_body_over_the_limit_is_nobodys_any_more(self):
        """Once taken over there is no body, and so none that is too large."""
        _, exchange = open_wire(head("Content-Length: 9", "Upgrade: websocket"))
        request = exchange.read_request(None)
        exchange.take_over()
        self.assertEqual(request.body(3), b"")

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
