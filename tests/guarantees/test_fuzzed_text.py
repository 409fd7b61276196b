"""Proves that no text of a peer raises anything else, or writes a log line: a million texts, at SYNCWS_EXPLORE=1.

Heads, URLs, cookies, close reasons, origins, hosts, header lines and answers, made of what is dangerous in a log: line
ends of every kind, escape codes, invisible and reversing characters, halves of surrogate pairs, percent escapes. They
go through the functions that a server and a client hand them to, and some through a real server. Whatever happens:

* nothing is raised except what is ours, and its str() and repr() are one printable line;
* each log record, of every logger and level, is one printable line once it is formatted, and has no traceback.

The texts are random but the same each time, at SYNCWS_HEAVY=1 a fifth of the million; a failure names its seed.
"""

from __future__ import annotations

import contextlib
import logging
import os
import random
import socket
import time
import unittest
from collections import Counter
from collections.abc import Callable
from typing import Any, ClassVar

from syncws._base.printable import printable
from syncws._client.answer import check_answer
from syncws._client.redirects import _location, say_location
from syncws._conn import wiretrace
from syncws._frames import agreement
from syncws._frames.agreement import Terms
from syncws._http import handshake
from syncws._http.http11 import HTTPConnection
from syncws._http.httpclient import BadAnswer, Exchange
from syncws._http.request import BadRequest, Request
from syncws._http.url import parse_proxy_url, parse_server_url
from syncws._net.attempt import Attempt
from syncws._rooms.manager import Manager
from syncws._server.server import Server
from syncws._server.upgrader import Upgrader
from syncws._wsgi.environ import request_of
from syncws.errors import CloseError, DuplicateIdError, HandshakeError, ProtocolError, WebSocketError
from syncws.testing import Peer, await_, pair, running
from tests.handshakes import HEADERS, KEY

from .support import WAIT, GuaranteeTestCase, note, size

#: Texts, and connections to a real server.
COUNT = 1_000_000 if os.environ.get("SYNCWS_EXPLORE") == "1" else size(20_000, 200_000)
CONNECTIONS = size(150, 1_500)

#: The texts of one test: a million takes 90 s on an idle machine, and a test has five minutes on any.
PART = COUNT // 5

#: Seconds after which a test tries no further text. And for the whole test.
ENOUGH = 200.0
BOUND = 290.0

#: What makes a second line, moves the cursor, hides or reverses; and what parsers look for.
NASTY = (
    *("\n", "\r", "\r\n", "\x1b[31m", "\x1b]0;x\x07", "\0", "\x7f", "\x85", "\x9b", "\t", "\v", "\f", "\b", "\xa0"),
    *("\xad", "\u2028", "\u2029", "\u202e", "\u200b", "\ufeff", "\ud800", "\udcff", "\U000e0041", "%0a", "%0d%0A"),
    *(
        "%1b",
        "%",
        "%00",
        "\\",
        "\\n",
        '"',
        "'",
        ":",
        "://",
        "@",
        "/",
        "?",
        "#",
        "[",
        "]",
        ",",
        ";",
        "=",
        " ",
        "..",
        "*",
    ),
    *(
        "%s",
        "%(x)s",
        "{0}",
        "\xff",
        "CRITICAL:root:forged",
        "null",
        "https",
        "localhost",
        "xn--",
        "\xe9",
        "\u65e5\u672c",
    ),
    *("\U0001f600", "a", "0", "65536", "permessage-deflate"),
)

ANSWERED = ("Location", "Sec-WebSocket-Protocol", "Sec-WebSocket-Extensions", "Set-Cookie", "Content-Type")

#: Texts that are made from one seed, one after the other.
BATCH = 200


class Maker:
    """Makes texts, from a seed."""

    def __init__(self, seed: int) -> None:
        self.random = random.Random(seed)

    def text(self, most: int = 8) -> str:
        """Anything."""
        rng = self.random
        text = "".join(rng.choices(NASTY, k=rng.randrange(1, most + 1)))
        chance = rng.random()
        if chance < 0.3:
            text += chr(rng.randrange(0x110000))
        return text * 300 if chance > 0.995 else text

    def latin(self, most: int = 8) -> str:
        """Anything that a header may carry over the wire, and more."""
        return self.text(most).encode("latin-1", "replace").decode("latin-1")

    def mutated(self, text: str) -> str:
        """A text with something put into it somewhere."""
        place = self.random.randrange(len(text) + 1)
        return text[:place] + self.text(3) + text[place + self.random.randrange(3) :]

    def head(self) -> bytes:
        """A request head, in which something is wrong or strange."""
        names = dict(HEADERS, Host="example.com", Origin="https://example.com", Cookie="a=b")
        for _ in range(self.random.randrange(1, 4)):
            name = self.random.choice((*names, "X-Any", "Sec-WebSocket-Protocol", "Sec-WebSocket-Extensions"))
            names[name] = self.latin()
        if self.random.random() < 0.3:
            names[self.latin(3)] = self.latin()
        target = self.mutated("/chat?token=x") if self.random.random() < 0.5 else "/chat"
        method = self.latin(2) if self.random.random() < 0.1 else "GET"
        version = self.latin(2) if self.random.random() < 0.1 else "HTTP/1.1"
        lines = [f"{method} {target} {version}", *(f"{name}: {value}" for name, value in names.items()), "", ""]
        return "\r\n".join(lines).encode("utf-8", "surrogatepass")

    def answer(self) -> bytes:
        """The head of an answer to a client, in which something is strange."""
        headers = {"Upgrade": "websocket", "Connection": "Upgrade", "Sec-WebSocket-Accept": handshake.accept_for(KEY)}
        for _ in range(self.random.randrange(1, 3)):
            name = (
                "Location",
                "Sec-WebSocket-Protocol",
                "Sec-WebSocket-Extensions",
                "Set-Cookie",
                "Content-Type",
                *headers,
            )
            headers[self.random.choice(name)] = self.latin()
        status = self.random.choice((101, 101, 200, 302, 403, 407, 999))
        lines = [f"HTTP/1.1 {status} {self.latin()}", *(f"{name}: {value}" for name, value in headers.items()), "", ""]
        return "\r\n".join(lines).encode("latin-1", "replace") + self.text().encode("utf-8", "replace")


class Watch(logging.Handler):
    """Formats every record, and keeps what is wrong with one."""

    def __init__(self) -> None:
        super().__init__(logging.DEBUG)
        self.setFormatter(logging.Formatter("%(levelname)s:%(name)s:%(message)s"))
        self.seen = 0
        self.wrong: list[str] = []

    def emit(self, record: logging.LogRecord) -> None:
        self.seen += 1
        line = self.format(record)
        if not line.isprintable() or record.exc_info:
            self.wrong.append(repr(line))


class Said(AssertionError):
    """An exception whose text is no line."""


def check(error: BaseException) -> None:
    """An exception of ours is told on one printable line."""
    for text in (str(error), repr(error)):
        if not text.isprintable():
            raise Said(f"{type(error).__name__}: {text!r}")


class Scripted:
    """A transport that gives these bytes, and then the end."""

    is_tls = False
    local_address = ("127.0.0.1", 1)

    def __init__(self, data: bytes, remote_address: Any = ("192.0.2.1", 2)) -> None:
        self._data = data
        self.remote_address = remote_address

    def receive(self, _size: int, _wait: float | None) -> bytes:
        data, self._data = self._data, b""
        return data

    def send(self, *_arguments: Any, **_keywords: Any) -> None:
        pass


def upgrade(request: Request) -> None:
    """Everything that a server and its application do with a request."""
    for told in (str(request), repr(request)):
        if not told.isprintable():
            raise Said(told)
    assert request.query is not None
    assert request.cookies is not None
    try:
        UPGRADER.negotiate(request)
    except HandshakeError as error:
        check(error)


UPGRADER = Upgrader(subprotocols=["chat"], enable_compression=True, allowed_origins=["https://*.example.com"])
ATTEMPT = Attempt(None)


def heads(maker: Maker) -> None:
    """A request, to a server."""
    try:
        request = HTTPConnection(Scripted(maker.head(), maker.text(3))).read_request(None)  # type: ignore[arg-type]
    except BadRequest as error:
        return check(error)
    if request is not None:
        upgrade(request)
    return None


def environs(maker: Maker) -> None:
    """A request, from a WSGI server, which may let pass what ours does not."""
    environ = {
        "REQUEST_METHOD": maker.latin(2) if maker.random.random() < 0.2 else "GET",
        "PATH_INFO": "/" + maker.latin(),
        "QUERY_STRING": maker.latin(3),
        "SERVER_PROTOCOL": maker.latin(1) if maker.random.random() < 0.2 else "HTTP/1.1",
        "REMOTE_ADDR": maker.latin(2),
        "REMOTE_PORT": maker.latin(1),
        "HTTP_HOST": maker.random.choice(("example.com", maker.latin(2))),
        "HTTP_ORIGIN": maker.latin(),
        "HTTP_UPGRADE": "websocket",
        "HTTP_CONNECTION": "Upgrade",
        "HTTP_SEC_WEBSOCKET_VERSION": "13",
        "HTTP_SEC_WEBSOCKET_KEY": maker.random.choice((KEY, maker.latin())),
        "HTTP_SEC_WEBSOCKET_PROTOCOL": maker.latin(),
        "HTTP_COOKIE": maker.latin(),
    }
    try:
        upgrade(request_of(environ))
    except ValueError as error:  # the Upgrader makes a refusal of it
        check(error)


def origins(maker: Maker) -> None:
    """An Origin and a Host that h11 has let pass."""
    headers = {**HEADERS, "Host": "example.com", "Origin": maker.mutated("https://example.com")}
    with contextlib.suppress(ValueError):
        upgrade(Request("GET", "/", {**headers, "Host": maker.mutated("example.com:80")}))
    upgrade(Request("GET", "/", headers))


def urls(maker: Maker) -> None:
    """A URL, of a server and of a proxy: what cannot be is a ValueError."""
    for parse, url in ((parse_server_url, "wss://example.com:80/a?b"), (parse_proxy_url, "http://u:p@proxy:80")):
        try:
            parsed: Any = parse(maker.mutated(url))
        except ValueError as error:
            check(error)
        else:
            assert str(parsed).isprintable()
            assert repr(parsed).isprintable()


def cookies(maker: Maker) -> None:
    """Cookies are what they are, and nothing is raised."""
    request = Request("GET", "/", {"Host": "a", "Cookie": maker.mutated('a="b\\054c"; d=e')})
    assert isinstance(request.cookies, dict)
    assert repr(request.headers).isprintable()


def reasons(maker: Maker) -> None:
    """The reason of a close, in every exception that has one."""
    reason = maker.text()
    check(CloseError(maker.random.randrange(5000), reason, [("received", 1000, reason), ("sent", 1000, "a")]))
    check(ProtocolError(1002, reason))


def lines(maker: Maker) -> None:
    """Lists in headers, and offers of compression: what is malformed is left out."""
    line = maker.mutated("permessage-deflate; client_max_window_bits=12, chat")
    handshake.parse_tokens([line])
    extensions = handshake.parse_extensions([line])
    agreement.accept_offers(extensions)
    try:
        agreement.accept_answer(extensions)
    except ValueError as error:
        check(error)
    assert handshake.say_subprotocol(line).isprintable()
    assert printable(line, 5000).isprintable()


def answers(maker: Maker) -> None:
    """An answer, to a client."""
    asked = {"Host": "example.com", **HEADERS, "Sec-WebSocket-Protocol": "chat"}
    request = Request("GET", "/", asked).headers
    try:
        response = Exchange(Scripted(maker.answer()), ATTEMPT).ask("GET", "/", request)  # type: ignore[arg-type]
        if not (str(response).isprintable() and repr(response).isprintable()):
            raise Said(repr(response))
        server = parse_server_url("ws://example.com/")
        with contextlib.suppress(ValueError):
            assert str(_location(server, response)).isprintable()
        assert say_location(response).isprintable()
        check_answer(server, request, response, terms=Terms(takeover=True, bits=15, memory=8))
    except (BadAnswer, HandshakeError) as error:
        check(error)


def frames(maker: Maker) -> None:
    """The wire trace of anything."""
    payload = maker.text().encode("utf-8", "replace")
    wiretrace._Frames("id", "<").take(bytes([0x81 + maker.random.randrange(16), 5]) + payload)


KINDS: tuple[tuple[Callable[[Maker], None], int], ...] = (
    (heads, 4),
    (environs, 4),
    (answers, 3),
    (origins, 9),
    (urls, 20),
    (cookies, 20),
    (reasons, 20),
    (lines, 15),
    (frames, 5),
)


class FuzzedText(GuaranteeTestCase):
    """Every text that a peer chooses."""

    bound = BOUND
    levels: ClassVar[tuple[str, ...]] = ("syncws", "syncws.access", "syncws.wire")

    def setUp(self) -> None:
        super().setUp()
        self.watch = Watch()
        root = logging.getLogger("syncws")
        for name in self.levels:
            logger = logging.getLogger(name)
            self.addCleanup(logger.setLevel, logger.level)
            logger.setLevel(logging.DEBUG)
        root.addHandler(self.watch)
        self.addCleanup(root.removeHandler, self.watch)
        self.addCleanup(setattr, root, "propagate", root.propagate)
        root.propagate = False

    def test_no_text_raises_or_writes_a_line(self) -> None:
        """Log forging, and exceptions of parsers: of no fuzzed text anything is left, or anything else raised."""
        self.check_texts(0)

    def test_the_second_part(self) -> None:
        """The same with other texts."""
        self.check_texts(1)

    def test_the_third_part(self) -> None:
        """The same with other texts."""
        self.check_texts(2)

    def test_the_fourth_part(self) -> None:
        """The same with other texts."""
        self.check_texts(3)

    def test_the_fifth_part(self) -> None:
        """The same with other texts."""
        self.check_texts(4)

    def check_texts(self, part: int) -> None:
        kinds = [kind for kind, weight in KINDS for _ in range(weight)]
        first = 12_000_000 + part * (PART // BATCH)
        seed, count, done = first, Counter[str](), 0
        until = time.monotonic() + ENOUGH
        while done < PART and time.monotonic() < until:
            seed += 1
            maker = Maker(seed)
            for number, kind in enumerate(maker.random.choices(kinds, k=BATCH)):
                try:
                    kind(maker)
                except Exception as error:
                    self.fail(f"seed {seed}, number {number}, {kind.__name__}: {error!r}")
                if self.watch.wrong:
                    self.fail(f"seed {seed}, number {number}, {kind.__name__}: {self.watch.wrong}")
                count[kind.__name__] += 1
            done += BATCH
        note(f"{done:,} texts from seed {first + 1:,} on, {self.watch.seen:,} log records: {dict(count)}")
        self.assertGreater(self.watch.seen, done // 20)
        self.assertGreater(done, PART // 2)

    def test_names_that_a_peer_chose(self) -> None:
        """Ids of members, the names of sockets, and what a callback raised: each is told on one line."""

        class Rude:
            def __repr__(self) -> str:
                return "<Rude\n\x1b[31m>"

        for id in ("ann\nCRITICAL:root:forged", "\x1b[31m\u202e", "x" * 10_000, Rude()):
            with pair() as (server, client):
                server.transport.remote_address = "\0socket\nforged"
                manager = Manager(duplicate="reject")
                member = manager.register(server, id=id)
                for told in (repr(server), repr(member)):
                    self.assertTrue(told.isprintable(), told)
                    self.assertLess(len(told), 1000)
                with self.assertRaises(DuplicateIdError) as caught, pair() as (other, _):
                    manager.register(other, id=id)
                check(caught.exception)
                task = self.in_thread(client.close, 4000, "bye\nforged")
                with self.assertRaises(CloseError) as end:
                    server.receive(timeout=WAIT)
                check(end.exception)
                task.result()
        self.assertEqual(self.watch.wrong, [])

    def test_through_a_real_server(self) -> None:
        """The same with a server's own socket, its access log and its wire trace: heads, and reasons of closes."""
        server = Server(handler, "127.0.0.1", 0, handshake_timeout=WAIT)
        with running(server, timeout=WAIT):
            for seed in range(13_000_000, 13_000_000 + CONNECTIONS):
                with self.subTest(seed=seed), socket.create_connection(server.address, WAIT) as sock:
                    self.talk(sock, Maker(seed))
                self.assertEqual(self.watch.wrong, [], f"seed {seed}")
            self.assertTrue(await_(lambda: len(server._roster) == 0, WAIT))
        self.assertEqual(self.watch.wrong, [])
        note(f"{CONNECTIONS:,} connections from seed 13,000,000 on, {self.watch.seen:,} log records")
        self.assertGreater(self.watch.seen, CONNECTIONS)

    def talk(self, sock: socket.socket, maker: Maker) -> None:
        if maker.random.random() < 0.5:
            sock.sendall(maker.head())
            sock.shutdown(socket.SHUT_WR)
            while sock.recv(65536):
                pass
            return
        fields = {"Host": f"localhost:{sock.getpeername()[1]}", **HEADERS}
        head = "\r\n".join(
            [f"GET /%0aforged?{maker.random.random()} HTTP/1.1", *map(": ".join, fields.items()), "", ""]
        )
        sock.sendall(head.encode())
        received = b""
        while not received.endswith(b"\r\n\r\n"):
            received += sock.recv(1)
        peer = Peer(sock, masked=True)
        reason = maker.text().encode("utf-8", "replace")[:120].decode("utf-8", "ignore")
        peer.close(maker.random.choice((1000, 1002, 3000, 4999)), reason)
        while sock.recv(65536):
            pass


def handler(request: Request) -> None:
    """What a handler of an application does that lets each end escape."""
    with UPGRADER.upgrade(request) as conn:
        with contextlib.suppress(WebSocketError):
            conn.receive(timeout=WAIT)
        conn.receive(timeout=WAIT)  # the end again, which escapes


if __name__ == "__main__":
    unittest.main()
