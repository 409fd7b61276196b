"""The tests of every client: one class, which `test_clients` joins with each adapter."""

from __future__ import annotations

import queue
import random
import ssl
import threading
from collections.abc import Callable, Sequence
from typing import Any, ClassVar
from urllib.parse import quote

import syncws
from syncws.testing import LeakChecks, running
from tests import certificates
from tests.partners import heavy
from tests.tasks import PATIENCE

from .clients import Client, Message, Refused

READ_LIMIT = 1 << 20
SIZES = (0, 1, 125, 126, 127, 65535, 65536, 65537, 1 << 20)
HUGE = 16 << 20

#: What the cases close with, if the client can: close code and reason, whose length is up to 123 bytes.
REASONS = ("", "good bye", "schönen Gruß 🎈", "x" * 123)


def echo(conn: syncws.Conn) -> None:
    """What is sent comes back."""
    while True:
        conn.write_message(*conn.read_message())


def echo_fragments(conn: syncws.Conn) -> None:
    """Send every message back in fragments."""
    while True:
        with conn.next_reader() as reader, conn.next_writer(reader.message_type) as writer:
            while piece := reader.read(1000):
                writer.write(piece)


def close(conn: syncws.Conn) -> None:
    """The server closes, with the code and the reason of the query."""
    query = conn.request.query
    conn.close(int(query["code"]), query.get("reason", ""))
    conn.read_message()  # raises the end


def ping(conn: syncws.Conn) -> None:
    """The server pings, and tells what the pong said."""
    conn.set_pong_handler(lambda data: conn.send(f"pong {data.decode()}"))
    conn.ping(b"are you there?")
    conn.read_message()


PATHS: dict[str, Callable[[syncws.Conn], None]] = {
    "/echo": echo,
    "/fragments": echo_fragments,
    "/close": close,
    "/ping": ping,
}


class ClientCases(LeakChecks):
    """A server with the paths above, and a kind of client."""

    kind: ClassVar[type[Client]]

    @classmethod
    def setUpClass(cls) -> None:
        super().setUpClass()
        cls.kind.start()
        cls.addClassCleanup(cls.kind.stop)

    def setUp(self) -> None:
        super().setUp()
        self.ends: queue.Queue[syncws.ConnectionClosed] = queue.Queue()  # how each connection ended for the server
        self.server = self.serve()

    def serve(self, ssl_context: ssl.SSLContext | None = None) -> syncws.Server:
        server = syncws.Server(self.handle, "127.0.0.1", 0, ssl_context=ssl_context)
        return self.enterContext(running(server))

    def handle(self, request: syncws.Request) -> syncws.Response | None:
        if not syncws.is_websocket_upgrade(request):
            return syncws.Response("<!doctype html><link rel=icon href=data:,>", content_type="text/html")
        upgrader = syncws.Upgrader(
            subprotocols=["one", "two"],
            enable_compression="compression" in request.query,
            read_limit=None if "unlimited" in request.query else READ_LIMIT,
            write_buffer_size=1000,
        )
        with upgrader.upgrade(request) as conn:
            try:
                PATHS[request.path](conn)
            except syncws.ConnectionClosed as exc:
                self.ends.put(exc)
        return None

    def url(self, path: str) -> str:
        return f"ws://127.0.0.1:{self.server.address[1]}{path}"

    def connect(self, path: str, *, compression: bool = False, **options: Any) -> Client:
        if compression:
            path += "&compression=" if "?" in path else "?compression="
        client = self.kind(self.url(path), compression=compression, **options)
        self.addCleanup(client.drop)
        self.assertEqual(client.compression, compression)
        return client

    def assertEnd(self, code: int, reason: str) -> None:
        """The server saw this close code and reason at the end of the connection that ended last."""
        end = self.ends.get(timeout=PATIENCE)
        self.assertIsInstance(end, syncws.CloseError, end)
        self.assertEqual((end.code, end.reason), (code, reason))

    def each_way(self, check: Callable[..., None], path: str, *args: Any) -> None:
        """Check a connection without compression, and then one with it if the client can."""
        for compression in (False, True) if self.kind.compresses else (False,):
            with self.subTest(compression=compression):
                check(self.connect(path, compression=compression), *args)

    def check_echo(self, client: Client, messages: Sequence[Message]) -> None:
        """Each message comes back before the next is sent."""
        for message in messages:
            client.send(message)
            # assertEqual would print a mebibyte
            self.assertTrue(client.receive() == message, f"{message[:20]!r}, {len(message)} long, did not come back")

    # Messages

    def test_text(self) -> None:
        """Text comes back unchanged: empty, ASCII and not, with NUL, of 1 byte to 1 MiB."""
        texts = ["a", "ünïcödé 🎈 ﷽", "\0", "line\nline", *("x" * size for size in SIZES), "🎈" * (1 << 18)]
        self.each_way(self.check_echo, "/echo", texts)

    def test_binary(self) -> None:
        """Bytes come back unchanged: none, every value, of 1 byte to 1 MiB, easy and hard to compress."""
        contents = [bytes(range(256)), *map(bytes, SIZES), *map(random.Random(1).randbytes, SIZES)]
        self.each_way(self.check_echo, "/echo", contents)

    @heavy
    def test_huge(self) -> None:
        """With the read limit off, 16 MiB come back: text and bytes; compressed too, both easy and hard to compress."""
        self.each_way(self.check_huge, "/echo?unlimited=")

    def check_huge(self, client: Client) -> None:
        # Without compression zeros are bytes like any other.
        for content in ("zeros" if client.compression else "text", "random"):
            self.assertTrue(client.echoes(content, HUGE), f"{content} did not come back")

    def test_fragments_to_the_client(self) -> None:
        """The server's fragments are one message for the client."""
        self.each_way(self.check_echo, "/fragments", ["", "🎈" * 5000, b"", b"\0\xff" * 250_000])

    def test_fragments_to_the_server(self) -> None:
        """A message in fragments, empty ones among them, comes back whole."""
        self.each_way(self.check_fragments, "/echo")

    def check_fragments(self, client: Client) -> None:
        for pieces in (["ä", "", "b" * 70000, "🎈"], ["", "", ""], [b"\0", b"\xff" * 300, b""], [b"x" * 999] * 999):
            client.send_fragments(pieces)
            self.assertTrue(client.receive() == pieces[0][:0].join(pieces), f"{len(pieces)} pieces did not come back")

    def test_many_in_a_row(self) -> None:
        """Messages sent without waiting for their echo come back in order."""
        self.each_way(self.check_many, "/echo")

    def check_many(self, client: Client) -> None:
        messages = [f"message {number}" if number % 2 else number.to_bytes(2) * number for number in range(200)]
        for message in messages:
            client.send(message)
        self.assertEqual([client.receive() for _ in messages], messages)

    # Control frames

    def test_ping_by_the_client(self) -> None:
        """The server answers pings, with their data."""
        self.each_way(self.check_pings, "/echo")

    def check_pings(self, client: Client) -> None:
        for data in ("", "are you there?", "x" * 125):
            client.ping(data)

    def test_ping_by_the_server(self) -> None:
        """The client answers the server's ping, and the server's handler is told."""
        self.each_way(lambda client: self.assertEqual(client.receive(), "pong are you there?"), "/ping")

    # How it ends

    def test_close_by_the_client(self) -> None:
        """Code and reason of the client's close reach the server, and its answer has the same code."""
        for code in self.kind.codes:
            for reason in REASONS if code else ("",):
                with self.subTest(code=code, reason=reason):
                    answer, _ = self.connect("/echo").close(code, reason)
                    expected = 1005 if code is None else code
                    self.assertEqual(answer, expected)
                    self.assertEnd(expected, reason)

    def test_close_by_the_server(self) -> None:
        """Code and reason of the server's close reach the client, and its answer reaches the server."""
        for code in (1000, 1001, 1008, 1011, 1013, 3000, 4999):
            for reason in REASONS:
                with self.subTest(code=code, reason=reason):
                    client = self.connect(f"/close?code={code}&reason={quote(reason)}")
                    self.assertEqual(client.wait_closed(), (code, reason))
                    end = self.ends.get(timeout=PATIENCE)
                    self.assertEqual(end.code, code if self.kind.echoes_code else 1000)

    def test_close_without_a_code(self) -> None:
        """A close frame without a code is 1005 at the client."""
        client = self.connect("/close?code=1005")
        self.assertEqual(client.wait_closed(), (1005, ""))

    def test_close_with_messages_under_way(self) -> None:
        """Echoes that the client has not read do not hold up its close."""
        self.each_way(self.check_close_under_way, "/echo")

    def check_close_under_way(self, client: Client) -> None:
        for _ in range(10):
            client.send("x" * 1000)
        client.close(1000, "enough")
        self.assertEnd(1000, "enough")

    def test_too_large(self) -> None:
        """A message over the read limit ends in 1009, however it is sent. (One of exactly the limit passed above.)"""
        self.each_way(self.check_too_large, "/echo")

    def check_too_large(self, client: Client) -> None:
        client.send(b"\0" * (READ_LIMIT + 1))
        self.assertEqual(client.wait_closed()[0], 1009)
        self.assertIsInstance(self.ends.get(timeout=PATIENCE), syncws.ReadLimitError)

    def test_shutdown(self) -> None:
        """When the server shuts down the client is told 1001."""
        client = self.connect("/echo")
        client.send("hello")
        self.assertEqual(client.receive(), "hello")
        thread = threading.Thread(target=self.server.shutdown)
        thread.start()
        self.addCleanup(thread.join)
        code, _ = client.wait_closed()
        self.assertEqual(code, 1001)

    # The handshake

    def test_subprotocol(self) -> None:
        """The first of the client's subprotocols that the server speaks is agreed on; without any, none is."""
        for offered, agreed in ((("two", "one"), "two"), (("zero", "one"), "one"), ((), None)):
            with self.subTest(offered=offered):
                self.assertEqual(self.connect("/echo", subprotocols=offered).subprotocol, agreed)

    def test_origin(self) -> None:
        """A page of the server's own origin may connect; one of another origin is refused with 403."""
        port = self.server.address[1]
        client = self.connect("/echo", origin=f"http://127.0.0.1:{port}")
        client.send("hello")
        self.assertEqual(client.receive(), "hello")
        with self.assertLogs("syncws.server", "INFO"), self.assertRaises(Refused) as caught:
            self.connect("/echo", origin=f"http://localhost:{port}")
        self.assertEqual(caught.exception.status, 403 if self.kind.sees_status else None)

    def test_tls(self) -> None:
        """The same over TLS."""
        server = self.serve(certificates.serving())
        url = f"wss://127.0.0.1:{server.address[1]}/echo"
        client = self.kind(url, certificate=certificates.authority_pem())
        self.addCleanup(client.drop)
        self.check_echo(client, ["hello", "", b"\0" * (1 << 20), "x" * (1 << 20)])
        self.assertEqual(client.close(1000, "good bye")[0], 1000)
        self.assertEnd(1000, "good bye")
