"""A visitor: a dialer that sends a frame with its handshake, and asks plainly, over the same way."""

from __future__ import annotations

import syncws
from syncws._cli.doctor.visitor import Place, visitor_from
from syncws._frames.frame import encode
from syncws._http.headers import Headers
from syncws.testing import LeakChecks, running
from tests import certificates
from tests.proxies import ConnectProxy
from tests.tasks import PATIENCE


class VisitorTests(LeakChecks):
    def place(self, *, tls: bool = False, **options: object) -> Place:
        """An echo, and how it is reached."""
        server_context, client_context = certificates.contexts() if tls else (None, None)
        upgrader = syncws.Upgrader()
        self.hosts: list[str] = []

        def echo(request: syncws.Request) -> syncws.Response | None:
            self.hosts.append(request.host)
            if request.path == "/plain":
                return syncws.Response("plain\n")
            with upgrader.upgrade(request) as conn:
                for message in conn:
                    conn.send(message)
            return None

        server = self.enterContext(running(syncws.Server(echo, "127.0.0.1", 0, ssl_context=server_context)))
        given = {"proxy": None, "ssl_context": client_context, "handshake_timeout": PATIENCE, **options}
        url = f"{'wss' if tls else 'ws'}://127.0.0.1:{server.port}/"
        return Place(url, visitor_from(syncws.Dialer(), **given), Headers([]), PATIENCE)

    def check(self, place: Place) -> None:
        frame = b"".join(encode(0x81, b"early", True))
        conn = place.visitor.dial_early(place.url, place.headers, frame)
        with conn:
            self.assertEqual(conn.receive(PATIENCE), "early")
            conn.send("later")
            self.assertEqual(conn.receive(PATIENCE), "later")
        answer = place.visitor.ask(f"{place.url}plain", Headers([("Host", "app.example.com")]))
        self.assertEqual((answer.status, answer.body, self.hosts[-1]), (200, b"plain\n", "app.example.com"))

    def test_plain(self) -> None:
        """Over TCP."""
        self.check(self.place())

    def test_tls(self) -> None:
        """Over TLS."""
        self.check(self.place(tls=True))

    def test_proxy(self) -> None:
        """Through a proxy."""
        proxy = self.enterContext(ConnectProxy())
        self.check(self.place(proxy=proxy.url))

    def test_nothing_is_left(self) -> None:
        """What is refused closes its socket: LeakChecks would find it."""
        place = self.place()
        with self.assertRaises(syncws.BadHandshakeError):
            place.visitor.dial_early(f"{place.url}plain", place.headers, b"")
        with self.assertRaises(OSError):
            place.visitor.ask("ws://127.0.0.1:1/", place.headers)

    def test_headers(self) -> None:
        """A further header takes the place of one that the command line gave, whatever its case."""
        place = Place("ws://a/", visitor_from(syncws.Dialer()), Headers([("origin", "a"), ("X", "1")]), 1)
        self.assertEqual(list(place.headers_with(("Origin", "b"))), [("X", "1"), ("Origin", "b")])

    def test_options(self) -> None:
        """A visitor has the options of the dialer, except those that are given anew."""
        visitor = visitor_from(syncws.Dialer(handshake_timeout=3, subprotocols=["a"]), enable_compression=True)
        self.assertEqual((visitor.handshake_timeout, visitor.enable_compression), (3, True))
        self.assertEqual(tuple(visitor.subprotocols), ("a",))
