"""The tests of context takeover: two classes, which `test_takeover` joins with each client and each server.

Each tries this side with takeover off, on, and on with little memory, and the peer with all that it can be told. The
same messages pass each time, and come back. A `Tap` between the two notes every byte. These tell what was agreed, and
that a side which keeps its context does so: a message that was there before takes hardly anything the second time.
"""

from __future__ import annotations

import contextlib
import dataclasses
import itertools
import json
import queue
import random
import threading
from collections.abc import Callable, Iterator
from typing import Any, ClassVar

import syncws
from syncws.testing import LeakChecks, running
from tests.proxies import Tap
from tests.tasks import PATIENCE

from .clients import Client, Message
from .servers import Server
from .terms import Terms, answered

#: What this side is told: the options of Upgrader and Dialer.
OFF: dict[str, Any] = {}
ON: dict[str, Any] = {"context_takeover": True}
SMALL: dict[str, Any] = {"context_takeover": True, "max_window_bits": 10, "mem_level": 3}

#: How many times smaller the quotes are at least where a context is kept, and at most where none is: levels differ, and
#: so do windows.
SHRINKS, HARDLY = 3, 2


def quotes(count: int) -> list[str]:
    """JSON of one shape, 200 bytes each, as a feed sends it."""
    dice = random.Random(16)
    return [
        json.dumps(
            {
                "type": "quote",
                "symbol": dice.choice(("BTC-EUR", "ETH-EUR", "SOL-EUR", "ADA-EUR")),
                "sequence": 700_000 + number,
                "bid": f"{dice.uniform(1000, 1010):.2f}",
                "ask": f"{dice.uniform(1010, 1020):.2f}",
                "bid_size": f"{dice.uniform(0, 9):.4f}",
                "ask_size": f"{dice.uniform(0, 9):.4f}",
                "time": f"2026-01-01T12:00:{number % 60:02}.{dice.randrange(1000):03}Z",
            }
        ).ljust(200)
        for number in range(count)
    ]


DICE = random.Random(7)

#: Incompressible among itself, except that it comes twice.
TWIN = DICE.randbytes(150).hex()
QUOTES = quotes(40)


def send(conn: syncws.Conn, message: Message) -> None:
    conn.send(message, timeout=PATIENCE)


def stream(conn: syncws.Conn, message: Message) -> None:
    """In pieces, of which some are empty."""
    with conn.next_writer(syncws.TEXT if isinstance(message, str) else syncws.BINARY, timeout=PATIENCE) as writer:
        for start in range(0, len(message), 700):
            writer.write(message[start : start + 700])
            writer.write(message[:0])


def prepared(conn: syncws.Conn, message: Message) -> None:
    kind = syncws.TEXT if isinstance(message, str) else syncws.BINARY
    conn.write_prepared(syncws.PreparedMessage(kind, message), timeout=PATIENCE)


def broadcast(conn: syncws.Conn, message: Message) -> None:
    """To a room in which this is the only member."""
    manager = syncws.Manager()
    member = manager.register(conn)
    try:
        assert manager.broadcast(message) == 1
    finally:
        manager.unregister(member)


#: How each message is sent by this side, and what it is. It begins with those that the bytes on the wire are judged by.
TRAFFIC: list[tuple[Callable[[syncws.Conn, Message], None], Message]] = [
    (send, TWIN),
    (send, TWIN),
    *((send, quote) for quote in QUOTES),
    *((send, DICE.randbytes(size)) for size in (1, 50, 126, 300, 5000, 40_000)),
    *((way, empty) for empty in ("", b"") for way in (send, stream, prepared, send)),
    *((stream, message) for message in ("".join(QUOTES), DICE.randbytes(5000), QUOTES[0])),
    *((way, quote) for way, quote in zip(itertools.cycle((send, send, broadcast)), QUOTES[:12], strict=False)),
    *((way, quote) for way, quote in zip(itertools.cycle((prepared, send, stream)), QUOTES[:12], strict=False)),
    (send, "".join(QUOTES) * 10),
    (send, DICE.randbytes(100_000)),
    (broadcast, "ünïcödé 🎈" * 9000),
    *((send, quote) for quote in QUOTES[:5]),
]

#: Sent without waiting for what comes back.
IN_A_ROW = [*QUOTES, *(DICE.randbytes(size) for size in range(0, 400, 20)), *QUOTES]


@dataclasses.dataclass(frozen=True)
class OnTheWire:
    """A message as it was on the wire: whether it was compressed, and how many bytes its frames had without heads."""

    compressed: bool
    size: int


def on_the_wire(stream: bytes) -> Iterator[OnTheWire]:
    """The messages of one direction, which follow the head."""
    at = stream.index(b"\r\n\r\n") + 4
    compressed, size = False, 0
    while at + 2 <= len(stream):
        first, second = stream[at], stream[at + 1]
        extended = {126: 2, 127: 8}.get(second & 0x7F, 0)
        length = int.from_bytes(stream[at + 2 : at + 2 + extended]) if extended else second & 0x7F
        at += 2 + extended + (4 if second & 0x80 else 0) + length
        if first & 0x08:
            continue
        if first & 0x0F:
            compressed, size = bool(first & 0x40), 0
        size += length
        if first & 0x80:
            yield OnTheWire(compressed, size)


class TakeoverCases(LeakChecks):
    """What both roles share."""

    kind: ClassVar[type[Client] | type[Server]]

    @classmethod
    def setUpClass(cls) -> None:
        super().setUpClass()
        cls.kind.start()
        cls.addClassCleanup(cls.kind.stop)

    def test_off(self) -> None:
        """With takeover off nobody keeps a context, except one that does not understand."""
        self.check(OFF, self.kind.terms[0])

    def test_on(self) -> None:
        """With takeover on each side keeps its context unless the peer wants it otherwise."""
        for terms in self.kind.terms:
            with self.subTest(**terms.given()):
                self.check(ON, terms)

    def test_on_with_little_memory(self) -> None:
        """The same with small windows."""
        self.check(SMALL, self.kind.terms[0])

    def check(self, ours: dict[str, Any], terms: Terms) -> None:
        """A conversation, when we and the peer are told these."""
        raise NotImplementedError

    def converse(self, conn: syncws.Conn, echo: Callable[[int], None]) -> None:
        """Everything passes, and comes back as it was; echo(count) has a peer that must be told send so many back."""
        for way, message in TRAFFIC:
            way(conn, message)
            echo(1)
            self.assertSame(conn.receive(timeout=PATIENCE), message)
        for message in IN_A_ROW:
            conn.send(message, timeout=PATIENCE)
        echo(len(IN_A_ROW))
        for message in IN_A_ROW:
            self.assertSame(conn.receive(timeout=PATIENCE), message)

    def assertSame(self, found: Message, expected: Message) -> None:
        # assertEqual would print 100 kB
        self.assertTrue(found == expected, f"{expected[:20]!r}, {len(expected)} long, did not come back")

    def assertOnTheWire(self, stream: bytes, keeps: bool) -> None:
        """The side that has said this keeps its context, or forgets it."""
        first, second, *others = on_the_wire(stream)
        found = others[: len(QUOTES)]
        self.assertEqual(len(found), len(QUOTES))
        plain, packed = sum(map(len, QUOTES)), sum(each.size for each in found)
        if keeps:
            self.assertTrue(all(each.compressed for each in (first, second, *found)))
            self.assertLess(second.size, 20, "what was there before should take nothing")
            self.assertGreater(plain / packed, SHRINKS)
        else:
            self.assertGreater(second.size, first.size * 0.9, "nothing should be left of the first")
            self.assertLess(plain / packed, HARDLY)

    def assertWindows(self, agreed: Terms, ours: dict[str, Any], terms: Terms, *, asked: bool) -> None:
        """No window is larger than either side wants it; asked: the client's may be limited."""
        least = ours.get("max_window_bits", 15)
        self.assertLessEqual(agreed.server_max_window_bits or 15, min(least, terms.server_max_window_bits or 15))
        if asked:
            self.assertLessEqual(agreed.client_max_window_bits or 15, min(least, terms.client_max_window_bits or 15))

    def assertPlain(self, stream: bytes) -> None:
        """Nothing of it is compressed."""
        self.assertFalse(any(each.compressed for each in on_the_wire(stream)))

    def heard(self, tap: Tap) -> tuple[bytes, bytes]:
        """What the client said on the WebSocket, of which there was one, and the server."""
        ((said, replied),) = (each for each in tap.heard if b"websocket" in each[0].lower())
        return bytes(said), bytes(replied)


class ServingCases(TakeoverCases):
    """Their client, our server."""

    kind: ClassVar[type[Client]]

    def check(self, ours: dict[str, Any], terms: Terms) -> None:
        with self.conversation(ours, terms) as (conn, client, tap):
            self.converse(conn, client.echo)
            if client.fragments:
                self.check_fragments(conn, client)
            self.check_end(conn, client)
            said, replied = self.heard(tap)
            agreed = answered(replied)
            if not self.kind.compresses:
                self.assertIsNone(agreed)
                self.assertPlain(said)
                self.assertPlain(replied)
                return
            assert agreed is not None
            self.check_agreement(agreed, ours, terms)
            self.assertOnTheWire(replied, not agreed.server_no_context_takeover)
            self.assertOnTheWire(said, not (agreed.client_no_context_takeover and client.sees_flags))

    def check_agreement(self, agreed: Terms, ours: dict[str, Any], terms: Terms) -> None:
        off = not ours.get("context_takeover")
        self.assertEqual(agreed.server_no_context_takeover, off or terms.server_no_context_takeover)
        self.assertEqual(agreed.client_no_context_takeover, off or terms.client_no_context_takeover)
        self.assertWindows(agreed, ours, terms, asked=self.kind.limits_its_window)

    def check_fragments(self, conn: syncws.Conn, client: Client) -> None:
        """The client's fragments, empty ones among them, are one message."""
        for pieces in ([QUOTES[0], "", "b" * 70_000, "🎈"], ["", ""], [b"\0", b"\xff" * 300, b""], QUOTES):
            client.send_fragments(pieces)
            self.assertSame(conn.receive(timeout=PATIENCE), pieces[0][:0].join(pieces))

    def check_end(self, conn: syncws.Conn, client: Client) -> None:
        """What is still to be seen of the two."""

    @contextlib.contextmanager
    def conversation(self, ours: dict[str, Any], terms: Terms) -> Iterator[tuple[syncws.Conn, Client, Tap]]:
        """Our end of a connection, their client at the other, and what notes the bytes between."""
        upgrader = syncws.Upgrader(enable_compression=True, read_limit=None, write_buffer_size=1000, **ours)
        conns: queue.Queue[syncws.Conn] = queue.Queue()
        over = threading.Event()

        def handle(request: syncws.Request) -> syncws.Response | None:
            if not syncws.is_websocket_upgrade(request):  # a browser wants a page before
                return syncws.Response("<!doctype html><link rel=icon href=data:,>", content_type="text/html")
            with upgrader.upgrade(request) as conn:
                conns.put(conn)
                over.wait()
            return None

        with running(syncws.Server(handle, "127.0.0.1", 0)) as server, contextlib.ExitStack() as stack:
            stack.callback(over.set)
            tap = stack.enter_context(Tap(server.port))
            client = self.kind(f"ws://127.0.0.1:{tap.port}/", compression=self.kind.compresses, terms=terms)
            stack.callback(client.drop)
            stack.callback(over.set)  # then our end closes, and the client has not to wait for that
            yield conns.get(timeout=PATIENCE), client, tap


class DiallingCases(TakeoverCases):
    """Our client, their server."""

    kind: ClassVar[type[Server]]

    def check(self, ours: dict[str, Any], terms: Terms) -> None:
        server = self.kind(compression=True, terms=terms)
        self.addCleanup(server.close)
        port = int(server.url.rpartition(":")[2])
        dialer = syncws.Dialer(enable_compression=True, read_limit=None, write_buffer_size=1000, proxy=None, **ours)
        for path in self.kind.echoes:
            with Tap(port) as tap, dialer.dial(f"ws://127.0.0.1:{tap.port}{path}", timeout=PATIENCE) as conn:
                self.converse(conn, lambda number: None)
                said, replied = self.heard(tap)
                agreed = answered(replied)
                assert agreed is not None
                self.check_agreement(agreed, ours, terms)
                self.assertOnTheWire(replied, not agreed.server_no_context_takeover)
                off = not ours.get("context_takeover")
                self.assertOnTheWire(said, not (off or agreed.client_no_context_takeover))

    def check_agreement(self, agreed: Terms, ours: dict[str, Any], terms: Terms) -> None:
        off = not ours.get("context_takeover") and self.kind.sees_flags
        self.assertEqual(agreed.server_no_context_takeover, off or terms.server_no_context_takeover)
        repeated = off and self.kind.says_client_flag
        self.assertEqual(agreed.client_no_context_takeover, repeated or terms.client_no_context_takeover)
        self.assertWindows(agreed, ours, terms, asked=self.kind.limits_windows)
