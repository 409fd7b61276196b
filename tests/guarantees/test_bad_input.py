"""Proves that no input raises anything except the library's own exceptions: 30,000 bad ones, at SYNCWS_HEAVY=1.

Random bytes, valid streams and handshakes that were mutated, all cut at random places. Each ends in an exception of the
library or in a clean close; never in another exception, a hung thread or a growing process. What the library sends
meanwhile is checked against RFC 6455 too. The inputs are random but the same each time; a failure names its seed.
"""

from __future__ import annotations

import gc
import json
import logging
import os
import random
import socket
import ssl
import threading
import time
import unittest
import zlib
from collections import Counter
from collections.abc import Callable, Iterator
from typing import Any

from syncws._base.options import ConnOptions
from syncws._conn.conn import Conn
from syncws._frames.agreement import Agreement
from syncws._frames.masking import mask
from syncws._frames.protocol import Protocol
from syncws._http.request import Request
from syncws._http.response import Response
from syncws._net.transport import Transport
from syncws._server.server import Server
from syncws._server.upgrader import Upgrader
from syncws.errors import ConnectionClosed, ProtocolError, WebSocketError
from syncws.testing import Peer, ScriptedSocket, await_, running, socketpair
from tests.certificates import contexts
from tests.handshakes import KEY
from tests.tasks import Task, assert_same_end

from .support import (
    BINARY,
    CLOSE,
    CONTINUATION,
    PING,
    PONG,
    TEXT,
    WAIT,
    GuaranteeTestCase,
    handshake,
    note,
    size,
    weigh,
)

#: Connections whose thread is not through with a bad handshake after this long count as hung.
HANDSHAKE_TIMEOUT = 2.0


class Maker:
    """Makes bad input, from a seed."""

    def __init__(self, seed: int) -> None:
        self.random = random.Random(seed)
        self.masked = self.random.random() < 0.7  # what a client sends, or a server
        self.compression = self.random.random() < 0.5

    def frames(self) -> bytes:
        """A stream of frames, bad in one way or several; now and then a good one."""
        kind = self.random.random()
        if kind < 0.15:
            return self.random.randbytes(self.random.randrange(1, 300))
        stream = b"".join(self.message() for _ in range(self.random.randrange(1, 6)))
        return self.mutated(stream) if kind < 0.9 else stream

    def message(self) -> bytes:
        """One message or control frame, valid for the most part."""
        choice = self.random.choice
        kind = choice(("whole", "whole", "fragments", "compressed", "control", "close", "anything"))
        if kind == "whole":
            return self.frame(choice((TEXT, BINARY)), self.payload())
        if kind == "fragments":
            pieces = [self.payload() for _ in range(self.random.randrange(1, 4))]
            frames = [self.frame(CONTINUATION if i else TEXT, piece, fin=False) for i, piece in enumerate(pieces)]
            frames.insert(self.random.randrange(len(frames) + 1), self.frame(PING, b"in between"))
            return b"".join(frames) + self.frame(CONTINUATION, b"")
        if kind == "compressed":
            deflater = zlib.compressobj(wbits=-15)
            wire = deflater.compress(self.payload()) + deflater.flush(zlib.Z_SYNC_FLUSH)
            wire = self.mutated(wire[:-4]) if self.random.random() < 0.3 else wire[:-4]
            cut = self.random.randrange(len(wire) + 1)
            return self.frame(TEXT, wire[:cut], fin=False, rsv=4) + self.frame(CONTINUATION, wire[cut:])
        if kind == "control":
            return self.frame(choice((PING, PONG)), self.payload()[:125])
        if kind == "close":
            code = choice((1000, 1001, 1005, 1006, 1014, 1015, 999, 2999, 3000, 4999, 5000, 65535, 0))
            return self.frame(CLOSE, choice((b"", b"\x03", code.to_bytes(2) + self.payload()[:123])))
        return self.frame(
            self.random.randrange(16),
            self.payload(),
            fin=self.random.random() < 0.5,
            rsv=choice((0, 0, 0, 1, 2, 4, 7)),
            length=choice((None, 0, 125, 126, 127, 1 << 16, 1 << 20, 1 << 62, (1 << 63) + 5, (1 << 64) - 1)),
            width=choice((None, 0, 2, 8)),
        )

    def payload(self) -> bytes:
        kind = self.random.random()
        length = self.random.choice((0, 1, 5, 30, 125, 126, 127, 300, 5000))
        if kind < 0.4:
            return self.random.randbytes(length)
        text = "".join(self.random.choices("abc \u00e9\u20ac\U0001f600", k=length))
        return text.encode()[:length]  # often cut in a character

    def frame(
        self,
        opcode: int,
        payload: bytes,
        *,
        fin: bool = True,
        rsv: int = 0,
        length: int | None = None,
        width: int | None = None,
    ) -> bytes:
        """A frame that may declare any length, in any of the three ways."""
        size = len(payload) if length is None else length
        if width is None or (width == 0 and size > 125) or (width == 2 and size > 0xFFFF):
            width = 0 if size < 126 else 2 if size < 1 << 16 else 8
        mask_bit = 0x80 if self.masked != (self.random.random() < 0.02) else 0
        head = bytes([(0x80 if fin else 0) | rsv << 4 | opcode])
        head += bytes([mask_bit | {0: size, 2: 126, 8: 127}[width]]) + (size.to_bytes(width) if width else b"")
        if not mask_bit:
            return head + payload
        key = self.random.randbytes(4)
        return head + key + mask(payload, key)

    def mutated(self, data: bytes) -> bytes:
        """The bytes with a few changed, removed, repeated or added, or with the end missing."""
        result = bytearray(data)
        for _ in range(self.random.choice((0, 1, 1, 2, 5))):
            if not result:
                break
            at = self.random.randrange(len(result))
            match self.random.randrange(6):
                case 0:
                    result[at] ^= 1 << self.random.randrange(8)
                case 1:
                    result[at] = self.random.randrange(256)
                case 2:
                    del result[at : at + self.random.choice((1, 2, 50))]
                case 3:
                    result[at:at] = self.random.randbytes(self.random.choice((1, 2, 50)))
                case 4:
                    result[at:at] = result[max(0, at - 20) : at]
                case 5:
                    del result[at:]
        return bytes(result)

    def cut(self, data: bytes) -> list[bytes]:
        """The bytes in pieces: cut at random places, into single bytes, or not at all."""
        kind = self.random.random()
        if kind < 0.2 or len(data) < 2:
            return [data] if data else []
        if kind < 0.3:
            return [data[at : at + 1] for at in range(len(data))]
        places = sorted(self.random.sample(range(1, len(data)), min(len(data) - 1, self.random.randrange(1, 8))))
        return [data[start:end] for start, end in zip([0, *places], [*places, len(data)], strict=True)]

    def agreement(self) -> Agreement | None:
        return Agreement(self.random.choice((9, 15, 0))) if self.compression else None

    HEADERS = (
        b"Host: localhost",
        b"Connection: Upgrade",
        b"Upgrade: websocket",
        b"Sec-WebSocket-Version: 13",
        f"Sec-WebSocket-Key: {KEY}".encode(),
    )
    STRANGE = (
        b"Sec-WebSocket-Extensions: permessage-deflate; client_max_window_bits=99",
        b'Sec-WebSocket-Extensions: permessage-deflate; x="\\"; y, ,,;;',
        b"Sec-WebSocket-Protocol: a, b,, c;",
        b"Sec-WebSocket-Key: c2hvcnQ=",
        b"Origin: http://[::1",
        b"Origin: null",
        b"Host: a b\\c",
        b"Content-Length: 5",
        b"Content-Length: -1",
        b"Content-Length: 5, 5",
        b"Transfer-Encoding: chunked",
        b"Transfer-Encoding: gzip, chunked",
        b"Expect: 100-continue",
        b"Cookie: a=b; =; ;;\xff",
        b" folded: value",
        b"no colon",
        b": no name",
        b"N\x00ul: x",
        b"X: " + b"x" * 20000,
        b"Upgrade: h2c",
    )

    def request(self) -> bytes:
        """A handshake, mutated on the level of headers, of bytes, or of both."""
        choice = self.random.choice
        line = choice((b"GET / HTTP/1.1",) * 6 + (b"POST / HTTP/1.1", b"GET / HTTP/1.0", b"GET /", b"GET * HTTP/1.1"))
        line = choice((line,) * 8 + (b"GET /%zz?%ff HTTP/1.1", b"GET http://[ HTTP/1.1", b"CONNECT a:1 HTTP/1.1", b""))
        headers = list(self.HEADERS)
        for _ in range(self.random.choice((0, 0, 1, 2))):
            match self.random.randrange(4):
                case 0:
                    del headers[self.random.randrange(len(headers))]
                case 1:
                    headers.append(choice(headers))
                case _:
                    headers.insert(self.random.randrange(len(headers) + 1), choice(self.STRANGE))
            headers = headers or [b"Host: a"]
        end = choice((b"\r\n",) * 8 + (b"\n",))
        data = end.join([line, *headers, b"", b""])
        if self.random.random() < 0.5:
            data = self.mutated(data)
        if self.random.random() < 0.3:
            data += self.frames()
        if self.random.random() < 0.1:
            data = self.random.randbytes(self.random.randrange(1, 300))
        return data


class FrameTests(GuaranteeTestCase):
    """Frames against the parser and the connection, in process."""

    def test_protocol(self) -> None:
        """The parser alone: events or ProtocolError, and after that the same error for ever."""
        self.check_each(size(3000, 16000), self.check_protocol)

    def test_scripted_socket(self) -> None:
        """A whole connection: it reads in every way, until the end; what it sends is valid."""
        self.check_each(size(2000, 8000), self.check_scripted_socket)

    def test_sockets(self) -> None:
        """The same over real sockets, with a thread that reads and a peer that breaks off."""
        self.check_each(size(300, 3000), self.check_sockets)

    def check_each(self, count: int, check: Callable[[Maker], str]) -> None:
        """Check with inputs from so many seeds; the process must not grow meanwhile."""
        weights = []
        outcomes: Counter[str] = Counter()
        for seed in range(count):
            with self.subTest(seed=seed):
                outcomes[check(Maker(seed))] += 1
            if (seed + 1) % (count // 4) == 0:
                gc.collect()
                weights.append(weigh()["rss"])
        note(f"{count} inputs, memory after each quarter: {weights} KiB; outcomes: {dict(outcomes.most_common())}")
        # The first quarter warms up; what leaked a few hundred bytes an input would show.
        self.assertLess(weights[-1] - weights[0], max(2048, count // 5), f"KiB of growth: {weights}")

    def check_protocol(self, make: Maker) -> str:
        protocol = Protocol(
            client=not make.masked,
            read_limit=make.random.choice((None, 0, 1000, 1 << 20)),
            compression=make.compression,
        )
        take = make.random.choice((protocol.next_event, protocol.next_piece))
        try:
            for piece in make.cut(make.frames()):
                protocol.receive(piece)
                while take() is not None:
                    pass
        except ProtocolError as error:
            with self.assertRaises(ProtocolError) as again:
                take()
            assert_same_end(self, again.exception, error)
            return str(error.code)
        return "no end"

    def check_scripted_socket(self, make: Maker) -> str:
        incoming: list[Any] = make.cut(make.frames())
        if make.random.random() < 0.1:
            incoming.append(make.random.choice((ConnectionResetError(), TimeoutError(), BlockingIOError())))
        sock = ScriptedSocket(incoming)
        conn = self.conn(make, Transport(sock))  # type: ignore[arg-type]
        outcome = self.read_to_the_end(conn, make)
        conn.close(timeout=1)
        with self.assertRaises(ConnectionClosed):
            conn.receive()
        with self.assertRaises(ConnectionClosed):
            conn.send("after the end")
        self.check_sent(bytes(sock.sent), by_client=not make.masked)
        conn.close_now()
        self.assertEqual(sock.calls.count("close"), 1)
        return outcome

    def check_sockets(self, make: Maker) -> str:
        ours, theirs = socketpair()
        conn = self.conn(make, Transport(ours))
        with theirs:
            reading = Task(self.read_to_the_end, conn, make)
            theirs.settimeout(WAIT)
            try:
                for piece in make.cut(make.frames()):
                    theirs.sendall(piece)
                theirs.shutdown(socket.SHUT_WR)
            except OSError:
                pass  # refused already
            outcome: str = reading.result()
            conn.close(timeout=1)
            sent = receive_all(theirs)
        self.check_sent(sent, by_client=not make.masked)
        self.assertEqual(conn.transport.fileno(), -1)
        return outcome

    def conn(self, make: Maker, transport: Transport) -> Conn:
        options = ConnOptions(
            read_limit=make.random.choice((None, 1000, 1 << 20)),
            read_buffer_size=make.random.choice((1, 7, 4096, 65536)),
            close_timeout=1,
        )
        return Conn(transport, client=not make.masked, options=options, agreement=make.agreement())

    def read_to_the_end(self, conn: Conn, make: Maker) -> str:
        """Read in ways chosen at random until the connection is over; returns the class and the code of its end."""
        ways: tuple[Callable[[], object], ...] = (
            conn.receive,
            conn.read_message,
            conn.receive_json,
            lambda: conn.next_reader().read(),
            lambda: conn.next_reader().read(3),
            lambda: conn.send(conn.receive()),
            lambda: list(conn),
        )
        for _ in range(10_000):
            try:
                make.random.choice(ways)()
            except ConnectionClosed as end:
                if conn.closed:
                    return f"{type(end).__name__} {getattr(end, 'code', '')}"
            except (WebSocketError, json.JSONDecodeError):
                pass
        raise AssertionError("it never ended")

    def check_sent(self, data: bytes, *, by_client: bool) -> None:
        """The bytes that left are whole, valid frames, with at most one close, which is the last."""
        closed = False
        while data:
            self.assertFalse(closed, "frames after a close")
            first, second = data[0], data[1]
            self.assertEqual(bool(second & 0x80), by_client)
            self.assertIn(first & 0x0F, (0, 1, 2, 8, 9, 10))
            length, start = second & 0x7F, 2
            if length > 125:
                self.assertLess(first & 0x0F, 8)
                width = 2 if length == 126 else 8
                length, start = int.from_bytes(data[2 : 2 + width]), 2 + width
            key = data[start : start + 4] if by_client else bytes(4)
            start += 4 * by_client
            payload = mask(data[start : start + length], key)
            self.assertEqual(len(payload), length)
            if first & 0x0F == CLOSE:
                closed = True
                if payload:
                    code = int.from_bytes(payload[:2])
                    self.assertTrue(1000 <= code <= 1003 or 1007 <= code <= 1014 or 3000 <= code <= 4999, code)
                    payload[2:].decode()
            data = data[start + length :]


class HandshakeTests(GuaranteeTestCase):
    """Handshakes against a real server, whose log is watched."""

    def setUp(self) -> None:
        super().setUp()
        self.upgrader = Upgrader(enable_compression=True, subprotocols=["a"], close_timeout=1)
        self.log = Tracebacks()
        logger = logging.getLogger("syncws")
        logger.addHandler(self.log)
        self.addCleanup(logger.removeHandler, self.log)
        previous = logger.level, logger.propagate
        logger.setLevel(logging.INFO)
        logger.propagate = False
        self.addCleanup(setattr, logger, "propagate", previous[1])
        self.addCleanup(logger.setLevel, previous[0])

    def handler(self, request: Request) -> Response | None:
        # What an application looks at.
        _ = request.query, request.cookies, request.path, request.headers.get("host"), request.data
        if request.headers.get("upgrade") is None:
            return Response(request.body())
        conn = self.upgrader.upgrade(request)
        for message in conn:
            conn.send(message)
        return None

    def server(self, **options: Any) -> Server:
        return Server(
            self.handler,
            port=0,
            handshake_timeout=HANDSHAKE_TIMEOUT,
            keep_alive_timeout=HANDSHAKE_TIMEOUT,
            **options,
        )

    def test_handshakes(self) -> None:
        """Each is answered, or cut; nothing is logged with a traceback, and no thread or memory stays."""
        count = size(500, 3000)
        weights = []
        statuses: Counter[bytes] = Counter()
        with running(self.server()) as server:
            for seed in range(count):
                with self.subTest(seed=seed):
                    make = Maker(seed)
                    answer = self.exchange(server, make.cut(make.request()))
                    self.assertTrue(answer == b"" or answer.startswith(b"HTTP/1.1 "), answer[:100])
                    statuses[answer[9:12]] += 1
                    self.assertEqual(self.log.records, [])
                if (seed + 1) % (count // 4) == 0:
                    gc.collect()
                    weights.append(weigh()["rss"])
            self.check_alive(server)
        note(f"{count} handshakes, memory after each quarter: {weights} KiB; {dict(statuses.most_common())}")
        self.assertLess(weights[-1] - weights[0], 4096, f"KiB of growth: {weights}")
        # The mutations reach what they should: the good, the bad and the refused.
        self.assertLessEqual({b"101", b"400"}, set(statuses), statuses)

    def test_a_tls_port(self) -> None:
        """Whatever a TLS port gets that is not TLS, the connection ends, and the log has one line about it."""
        with running(self.server(ssl_context=contexts()[0])) as server:
            for seed in range(size(100, 1000)):
                with self.subTest(seed=seed):
                    make = Maker(seed)
                    data = make.random.choice((make.request, make.frames, self.client_hello))()
                    self.exchange(server, make.cut(make.mutated(data)))
                    self.assertEqual(self.log.records, [])
            self.assertTrue(self.is_idle(server))

    def test_smuggling(self) -> None:
        """The four shapes that two parsers may read differently are 400, once, and nothing after them is served."""
        smuggled = b"GET /smuggled HTTP/1.1\r\nHost: localhost\r\n\r\n"
        served: list[str] = []

        def handler(request: Request) -> Response:
            served.append(request.path)
            return Response("served")

        plain = b"POST / HTTP/1.1\r\nHost: localhost\r\n"
        upgrade = handshake()[:-2]
        with running(Server(handler, port=0)) as server:
            for head in (plain, upgrade):
                for name, data in self.shapes(head):
                    with self.subTest(name, upgrade=head is upgrade):
                        answer = self.exchange(server, [data + smuggled])
                        self.assertTrue(answer.startswith(b"HTTP/1.1 400 "), answer)
                        self.assertEqual(answer.count(b"HTTP/1.1 "), 1, answer)
            self.assertEqual(served, [])
            self.assertEqual(self.log.records, [])

    def shapes(self, head: bytes) -> Iterator[tuple[str, bytes]]:
        yield "bare line feeds", (head + b"\r\n").replace(b"\r\n", b"\n")
        yield "a bare line feed", head + b"X: y\nZ: z\r\n\r\n"
        yield "a bare line feed at the end", head + b"X: y\r\n\n"
        yield "a folded header", head + b"X: y\r\n Content-Length: 5\r\n\r\n"
        yield "a folded header, by a tab", head + b"Transfer-Encoding:\r\n\tchunked\r\n\r\n0\r\n\r\n"
        yield "two lengths", head + b"Content-Length: 0\r\nContent-Length: 44\r\n\r\n"
        yield "two lengths that agree", head + b"Content-Length: 0\r\nContent-Length: 0\r\n\r\n"
        yield "a list of lengths", head + b"Content-Length: 0, 0\r\n\r\n"
        yield "a length and an encoding", head + b"Content-Length: 44\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n"
        yield "an encoding and a length", head + b"Transfer-Encoding: chunked\r\nContent-Length: 5\r\n\r\n0\r\n\r\n"

    def exchange(self, server: Server, pieces: list[bytes]) -> bytes:
        """Send pieces, end, and receive until the server ends: within the time it has for a handshake."""
        began = time.monotonic()
        with socket.create_connection(server.address, WAIT) as sock:
            sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            try:
                for piece in pieces:
                    sock.sendall(piece)
                sock.shutdown(socket.SHUT_WR)
            except OSError:
                pass  # refused already
            answer = receive_all(sock)
        self.assertLess(time.monotonic() - began, HANDSHAKE_TIMEOUT + 5, "a connection that hangs")
        return answer

    def check_alive(self, server: Server) -> None:
        """No bad connection is left, and a good client is served."""
        self.assertTrue(self.is_idle(server))
        with socket.create_connection(server.address, WAIT) as sock:
            sock.sendall(handshake())
            peer = Peer(sock, masked=True)
            head = b""
            while not head.endswith(b"\r\n\r\n"):
                head += sock.recv(1)
            peer.send_frame(TEXT, "hello")
            self.assertEqual(peer.receive_frame().payload, b"hello")

    def is_idle(self, server: Server) -> bool:
        """Whether no connection is left, soon."""
        return await_(lambda: "0 connections" in repr(server), WAIT) and await_(
            lambda: not [each for each in threading.enumerate() if each.name[:8] == "syncws-1"], WAIT
        )

    def client_hello(self) -> bytes:
        outgoing = ssl.MemoryBIO()
        tls = contexts()[1].wrap_bio(ssl.MemoryBIO(), outgoing, server_hostname="localhost")
        try:
            tls.do_handshake()
        except ssl.SSLWantReadError:
            pass
        return outgoing.read()


class Tracebacks(logging.Handler):
    """Keeps what a server logs that it should not: errors, and anything with a traceback or several lines.

    A WARNING is advice for an operator: that a proxy may have dropped the upgrade, that an origin is not allowed.
    """

    def __init__(self) -> None:
        super().__init__()
        self.records: list[str] = []

    def emit(self, record: logging.LogRecord) -> None:
        text = self.format(record)
        if record.levelno > logging.WARNING or record.exc_info or "\n" in text:
            self.records.append(text)


def receive_all(sock: socket.socket) -> bytes:
    """Everything until the end."""
    received = b""
    try:
        while data := sock.recv(65536):
            received += data
    except ConnectionError:
        pass
    return received


# Not every system tells what a process weighs.
if not os.path.exists("/proc/self/status"):  # pragma: no cover
    raise unittest.SkipTest("needs Linux's account of a process")
