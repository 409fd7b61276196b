"""The tests of our client with every server: one class, which `test_servers` joins with each adapter."""

from __future__ import annotations

import random
import ssl
import tempfile
from collections.abc import Callable, Iterable, Sequence
from typing import Any, ClassVar
from urllib.parse import quote

import syncws
from syncws.testing import LeakChecks
from tests import certificates
from tests.partners import heavy

from ..tasks import PATIENCE
from .cases import HUGE, REASONS, SIZES
from .clients import Message
from .servers import Server

CODES = (1000, 1001, 1008, 1011, 3000, 4999)


class ServerCases(LeakChecks):
    """A kind of server, with the paths that `servers` lists, and our client."""

    kind: ClassVar[type[Server]]

    @classmethod
    def setUpClass(cls) -> None:
        super().setUpClass()
        cls.kind.start()
        cls.addClassCleanup(cls.kind.stop)

    def serve(self, **options: Any) -> Server:
        server = self.kind(**options)
        self.addCleanup(server.close)
        return server

    def dial(self, server: Server, path: str, **options: Any) -> syncws.Conn:
        conn = syncws.dial(server.url + path, proxy=None, timeout=PATIENCE, **options)
        self.addCleanup(conn.close_now)
        return conn

    def each_way(self, check: Callable[..., None], path: str, *args: Any, **options: Any) -> None:
        """Check a connection without compression, and then one with it, if the server can."""
        for compression in (False, True) if self.kind.compresses else (False,):
            with self.subTest(compression=compression):
                server = self.serve(compression=compression)
                conn = self.dial(server, path, enable_compression=compression, **options)
                self.assertIs(conn.compression, compression)
                check(server, conn, *args)

    def end(self, conn: syncws.Conn) -> syncws.ConnectionClosed:
        """Read until the connection ends; returns the end, and discards what comes before it."""
        try:
            while True:
                conn.receive(timeout=PATIENCE)
        except syncws.ConnectionClosed as end:
            return end

    def assertClosed(self, conn: syncws.Conn, code: int, reason: str | None = None) -> None:
        """The peer closed with this code; and with this reason, unless it is None."""
        end = self.end(conn)
        self.assertIsInstance(end, syncws.CloseError, end)
        self.assertEqual((end.code, end.reason if reason is not None else None), (code, reason))

    def assertSame(self, found: Message, expected: Message) -> None:
        # assertEqual would print mebibytes
        self.assertTrue(found == expected, f"{expected[:20]!r}, {len(expected)} long, did not come back")

    def check_echo(self, server: Server, conn: syncws.Conn, messages: Iterable[Message]) -> None:
        """Each message comes back before the next is sent."""
        for message in messages:
            conn.send(message, timeout=PATIENCE)
            self.assertSame(conn.receive(timeout=PATIENCE), message)

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
        """With the read limit off, 16 MiB come back: text, and bytes easy and hard to compress."""
        contents = ["ü" * (HUGE // 2), bytes(HUGE), random.Random(2).randbytes(HUGE)]
        self.each_way(self.check_echo, "/echo", contents, read_limit=None)

    def test_fragments(self) -> None:
        """A message in fragments, some of them empty, comes back in fragments, and is one message."""
        self.each_way(self.check_fragments, "/stream", write_buffer_size=1000)

    def check_fragments(self, server: Server, conn: syncws.Conn) -> None:
        texts = (["ä", "", "b" * 70000, "🎈"], ["", ""], ["🎈" * 5000])
        for pieces in texts:
            with conn.next_writer(syncws.TEXT) as writer:
                for piece in pieces:
                    writer.write(piece)
            self.assertSame(conn.receive(timeout=PATIENCE), "".join(pieces))
        for data in (b"", b"\0\xff" * 250_000, random.Random(3).randbytes(100_000)):
            with conn.next_writer(syncws.BINARY) as writer:
                for start in range(0, len(data), 777):
                    writer.write(data[start : start + 777])
            with conn.next_reader(timeout=PATIENCE) as reader:
                self.assertEqual(reader.message_type, syncws.BINARY)
                self.assertSame(reader.readall(), data)

    def test_many_in_a_row(self) -> None:
        """Messages sent without waiting for their echo come back in order."""
        self.each_way(self.check_many, "/echo")

    def check_many(self, server: Server, conn: syncws.Conn) -> None:
        messages = [f"message {number}" if number % 2 else number.to_bytes(2) * number for number in range(200)]
        for message in messages:
            conn.send(message, timeout=PATIENCE)
        self.assertEqual([conn.receive(timeout=PATIENCE) for _ in messages], messages)

    def test_compression_needs_both(self) -> None:
        """Compression that only one side wants is not agreed on, and messages pass."""
        for wanted in (False, True):
            with self.subTest(wanted_by_the_client=wanted):
                server = self.serve(compression=not wanted)
                conn = self.dial(server, "/echo", enable_compression=wanted)
                self.assertFalse(conn.compression)
                self.check_echo(server, conn, ["x" * 1000])

    # Control frames

    def test_ping_by_the_client(self) -> None:
        """The server answers our pings with their data, which gives the latency."""
        self.each_way(self.check_pings, "/echo")

    def check_pings(self, server: Server, conn: syncws.Conn) -> None:
        pongs: list[bytes] = []
        conn.set_pong_handler(pongs.append)
        for data in (b"", b"are you there?", b"x" * 125):
            conn.ping(data)
            self.check_echo(server, conn, ["an echo that comes behind the pong"])
            self.assertEqual(pongs.pop(), data)
        self.assertIsNotNone(conn.latency)

    def test_ping_by_the_server(self) -> None:
        """We answer the server's ping, which tells what the pong said."""
        self.each_way(self.check_server_ping, "/ping?data=hello")

    def check_server_ping(self, server: Server, conn: syncws.Conn) -> None:
        self.assertEqual(conn.receive(timeout=PATIENCE), "pong hello")

    # How it ends

    def test_close_by_the_client(self) -> None:
        """Code and reason of our close reach the server, whose answer has the same code."""
        server = self.serve()
        for code in (*CODES, 1005):
            for reason in REASONS if code != 1005 else ("",):
                with self.subTest(code=code, reason=reason):
                    conn = self.dial(server, "/echo")
                    conn.close(code, reason)
                    self.assertEqual(server.ended(), (code, reason))
                    self.assertClosed(conn, code)

    def test_close_by_the_server(self) -> None:
        """Code and reason of the server's close reach us, and our answer has the same code."""
        server = self.serve()
        for code in (*CODES, 1005) if self.kind.closes_without_code else CODES:
            for reason in REASONS if code != 1005 else ("",):
                with self.subTest(code=code, reason=reason):
                    conn = self.dial(server, f"/close?code={code}&reason={quote(reason)}")
                    self.assertClosed(conn, code, reason)
                    conn.close()  # says nothing more, and ends TCP, which some servers wait for
                    self.assertEqual(server.ended()[0], code)

    def test_close_with_messages_under_way(self) -> None:
        """Echoes that we have not read do not hold up our close."""
        self.each_way(self.check_close_under_way, "/echo")

    def check_close_under_way(self, server: Server, conn: syncws.Conn) -> None:
        for _ in range(10):
            conn.send("x" * 1000)
        conn.close(1000, "enough")
        self.assertEqual(server.ended(), (1000, "enough"))

    def test_too_large(self) -> None:
        """A message over our read limit raises ReadLimitError, and the server is told 1009; one of the limit passes."""
        self.each_way(self.check_too_large, "/large?size=100001", read_limit=100_000)
        self.each_way(self.check_large, "/large?size=100000", read_limit=100_000)

    def check_too_large(self, server: Server, conn: syncws.Conn) -> None:
        with self.assertRaises(syncws.ReadLimitError):
            conn.receive(timeout=PATIENCE)
        conn.close()
        self.assertEqual(server.ended()[0], 1009)

    def check_large(self, server: Server, conn: syncws.Conn) -> None:
        self.assertSame(conn.receive(timeout=PATIENCE), bytes(100_000))

    def test_the_server_vanishes(self) -> None:
        """A server that ends TCP without a close is 1006."""
        self.assertClosed(self.dial(self.serve(), "/vanish"), 1006)

    def test_the_client_vanishes(self) -> None:
        """The server sees our close_now as 1006."""
        server = self.serve()
        self.dial(server, "/echo").close_now()
        self.assertEqual(server.ended()[0], 1006)

    # The handshake

    def test_subprotocol(self) -> None:
        """A subprotocol that both speak is agreed on; a server that speaks none chooses none."""
        for offered in (("two",), ("zero", "one")):
            conn = self.dial(self.serve(subprotocols=("one", "two")), "/echo", subprotocols=offered)
            self.assertEqual(conn.subprotocol, offered[-1])
        for offered in ((), ("zero", "one")):
            self.assertIsNone(self.dial(self.serve(), "/echo", subprotocols=offered).subprotocol)

    def test_response(self) -> None:
        """conn.response is the server's 101, with its headers."""
        response = self.dial(self.serve(), "/echo").response
        self.assertEqual((response.status, response.headers["Upgrade"].lower()), (101, "websocket"))

    def test_refused(self) -> None:
        """A refusal is BadHandshakeError, with the server's status, headers and body."""
        server = self.serve()
        for status in (400, 401, 403, 404, 500, 503):
            with self.subTest(status=status), self.assertRaises(syncws.BadHandshakeError) as caught:
                self.dial(server, f"/refuse?status={status}")
            response = caught.exception.response
            body = f"refused: {status}\n".encode()
            self.assertEqual((caught.exception.status, response.status, response.body), (status, status, body))
            self.assertEqual(response.headers["Content-Length"], str(len(body)))
            self.assertTrue(response.headers["Content-Type"].startswith("text/plain"))

    def test_nobody_there(self) -> None:
        """Where nobody listens any more, the connection is refused."""
        server = self.kind()
        server.close()
        with self.assertRaises(ConnectionRefusedError):
            self.dial(server, "/echo")

    def test_tls(self) -> None:
        """The same over TLS, with the authority that the certificate is from."""
        server, trusted = self.serve_tls()
        self.check_tls(server, self.dial(server, "/echo", ssl_context=trusted))

    def test_tls_and_compression(self) -> None:
        """TLS and compression go together."""
        if not self.kind.compresses:
            self.skipTest("this server knows no compression")
        server, trusted = self.serve_tls(compression=True)
        conn = self.dial(server, "/echo", ssl_context=trusted, enable_compression=True)
        self.assertTrue(conn.compression)
        self.check_tls(server, conn)

    def check_tls(self, server: Server, conn: syncws.Conn) -> None:
        contents: Sequence[Message] = ["hello", "", bytes(1 << 20), random.Random(4).randbytes(1 << 20)]
        self.check_echo(server, conn, contents)
        conn.close(1000, "good bye")
        self.assertEqual(server.ended(), (1000, "good bye"))

    def test_tls_of_others(self) -> None:
        """A certificate of an authority that we do not trust, or of another name, is refused."""
        server, trusted = self.serve_tls()
        with self.assertRaises(ssl.SSLCertVerificationError):
            self.dial(server, "/echo", ssl_context=ssl.create_default_context())
        with self.assertRaises(ssl.SSLCertVerificationError):
            self.dial(server, "/echo", ssl_context=trusted, server_hostname="example.com")

    def serve_tls(self, **options: Any) -> tuple[Server, ssl.SSLContext]:
        """A server, and a context that trusts it."""
        files = certificates.files(self.enterContext(tempfile.TemporaryDirectory()))
        return self.serve(certificate=(files.certificate, files.key), **options), certificates.trusting()
