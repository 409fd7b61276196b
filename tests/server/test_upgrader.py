"""The server's half of the opening handshake: what is refused with what, and what the 101 says."""

from __future__ import annotations

import dataclasses
import logging
import socket
import unittest
from typing import Any
from unittest import mock

from syncws._base.advice import Advisor
from syncws._http.http11 import HTTPConnection
from syncws._http.request import Request
from syncws._net.transport import Transport
from syncws._server import upgrader as upgrader_module
from syncws._server.upgrader import Upgrader
from syncws.errors import HandshakeError, WriteTimeout
from syncws.testing import LeakChecks
from tests.server.upgrader_cases import GOOD, UpgraderTestCase, head_of, make_request


class ScriptedTransport(Transport):
    """A transport that records what is sent, or fails to send it."""

    def __init__(self, sock: socket.socket, failure: BaseException | None = None) -> None:
        super().__init__(sock)
        self.sent: list[tuple[bytes, ...]] = []
        self.deadlines: list[float | None] = []
        self.failure = failure

    def send(self, head: Any, body: Any = b"", deadline: float | None = None, stall: float | None = None) -> None:
        self.sent.append((bytes(head),))
        self.deadlines.append(deadline)
        if self.failure is not None:
            raise self.failure
        super().send(head, body, deadline, stall)


class OptionTests(unittest.TestCase):
    BAD = [
        ("handshake_timeout", 0, ValueError),
        ("handshake_timeout", -1, ValueError),
        ("handshake_timeout", float("inf"), ValueError),
        ("handshake_timeout", float("nan"), ValueError),
        ("handshake_timeout", "10", TypeError),
        ("handshake_timeout", True, TypeError),
        ("subprotocols", "chat", TypeError),
        ("subprotocols", [b"chat"], TypeError),
        ("subprotocols", 7, TypeError),
        ("subprotocols", ["a b"], ValueError),
        ("subprotocols", [""], ValueError),
        ("error", "no", TypeError),
        ("check_origin", ["https://a.example"], TypeError),
        ("allowed_origins", "https://a.example", TypeError),
        ("allowed_origins", [None], TypeError),
        ("allowed_origins", ["https://a.*.example"], ValueError),
        ("allowed_origins", [""], ValueError),
        ("allowed_hosts", "localhost", TypeError),
        ("allowed_hosts", [b"localhost"], TypeError),
        ("allowed_hosts", ["http://localhost"], ValueError),
        ("allowed_hosts", [], ValueError),
        ("enable_compression", "yes", TypeError),
        ("compression_level", 10, ValueError),
        ("compression_threshold", -1, ValueError),
        ("context_takeover", 1, TypeError),
        ("max_window_bits", 8, ValueError),
        ("max_window_bits", 16, ValueError),
        ("max_window_bits", 9.5, TypeError),
        ("mem_level", 0, ValueError),
        ("mem_level", 10, ValueError),
        ("mem_level", None, TypeError),
        ("compression_threshold", 1.5, TypeError),
        ("read_limit", -1, ValueError),
        ("ping_interval", "20", TypeError),
        ("overflow", "explode", ValueError),
    ]

    def test_a_bad_option_is_refused_by_name(self) -> None:
        """An option that cannot work is refused when the Upgrader is made, by an error that names it."""
        for name, value, kind in self.BAD:
            with self.subTest(name=name, value=value), self.assertRaises(kind) as caught:
                Upgrader(**{name: value})
            self.assertIn(name.removeprefix("compression_"), str(caught.exception))

    def test_options_are_keywords(self) -> None:
        """No option can be given by position."""
        with self.assertRaises(TypeError):
            Upgrader(10)  # type: ignore[misc]

    def test_check_origin_and_allowed_origins_exclude_each_other(self) -> None:
        """check_origin decides alone, so allowed_origins beside it would be ignored: ValueError."""
        with self.assertRaisesRegex(ValueError, "check_origin and allowed_origins"):
            Upgrader(check_origin=lambda request: True, allowed_origins=["https://a.example"])

    def test_options_of_connections_are_options(self) -> None:
        """Every field of ConnOptions can be given, and is kept."""
        upgrader = Upgrader(read_limit=None, ping_interval=None, close_timeout=3, send_queue=9, overflow="drop_oldest")
        self.assertEqual((upgrader.read_limit, upgrader.close_timeout, upgrader.send_queue), (None, 3, 9))

    def test_immutable(self) -> None:
        """An option cannot be changed afterwards."""
        with self.assertRaises(dataclasses.FrozenInstanceError):
            Upgrader().handshake_timeout = 3  # type: ignore[misc]

    def test_equality(self) -> None:
        """Two Upgraders are equal if all their options are, and can be told apart by any."""
        self.assertEqual(Upgrader(subprotocols=["a"]), Upgrader(subprotocols=("a",)))
        self.assertNotEqual(Upgrader(check_origin=lambda request: True), Upgrader())
        self.assertEqual(len({Upgrader(), Upgrader(), Upgrader(handshake_timeout=1)}), 2)

    def test_lists_are_copied(self) -> None:
        """Changing the list that was given changes nothing."""
        names = ["chat"]
        upgrader = Upgrader(subprotocols=names)
        names.append("late")
        self.assertEqual(upgrader.subprotocols, ("chat",))


class OriginTests(UpgraderTestCase):
    def test_same_origin_by_default(self) -> None:
        """No Origin, or one whose host and port are the request's."""
        for origin in ([], [("Origin", "https://EXAMPLE.com")], [("Origin", "http://example.com")]):
            with self.subTest(origin):
                self.negotiate(Upgrader(), make_request(*origin))

    def test_other_origin(self) -> None:
        """Another host, another port in text, null, an empty or broken Origin is 403."""
        for origin in ("https://evil.example", "http://example.com:443", "null", "", "example.com", "file://"):
            with self.subTest(origin):
                self.assert_refused(403, make_request(("Origin", origin)))

    def test_allowed_origins(self) -> None:
        """allowed_origins adds exact origins and wildcards, and the server's own stays allowed."""
        upgrader = Upgrader(allowed_origins=["https://app.example", "https://*.wild.example"])
        for origin in ("https://app.example", "https://a.wild.example", "https://example.com"):
            with self.subTest(origin):
                self.negotiate(upgrader, make_request(("Origin", origin)))
        for origin in ("http://app.example", "https://app.example.evil.example", "https://wild.example"):
            with self.subTest(origin):
                self.assert_refused(403, make_request(("Origin", origin)), upgrader)

    def test_what_the_log_shows_can_be_listed(self) -> None:
        """An origin that is no browser's (file://, localhost:12345) passes once it is listed as the log shows it."""
        origins = (
            "file://",
            "localhost:12345",
            "null",
            "app://obsidian.md",
            "https://other.example/",
            "a\x85b",
            "it's",
        )
        for origin in origins:
            with self.subTest(origin):
                _, line = self.refuse(make_request(("Origin", origin)))
                shown = line.partition("its Origin is '")[2].partition("', the Host '")[0]
                self.assertIn("add it to allowed_origins of the Upgrader", line)
                self.negotiate(Upgrader(allowed_origins=[shown]), make_request(("Origin", origin)))
                self.negotiate(Upgrader(allowed_origins=[origin]), make_request(("Origin", origin)))

    def test_default_port(self) -> None:
        """The default port of the Origin's scheme may stand in Host or Origin (nginx: Host $host:$server_port)."""
        for host, origin in (("a:443", "https://a"), ("a", "https://a:443"), ("a:80", "http://a")):
            with self.subTest(host=host, origin=origin):
                self.negotiate(Upgrader(), make_request(("Host", host), ("Origin", origin), without="Host"))
        self.assert_refused(403, make_request(("Host", "a:80"), ("Origin", "https://a"), without="Host"))

    def test_any_origin(self) -> None:
        """ "*" allows any."""
        self.negotiate(Upgrader(allowed_origins=["*"]), make_request(("Origin", "https://evil.example")))

    def test_check_origin_replaces_the_rule(self) -> None:
        """check_origin is asked with the request, and decides alone, either way."""
        asked: list[Request] = []

        def check(request: Request) -> bool:
            asked.append(request)
            return request.headers.get("Origin") == "https://evil.example"

        request = make_request(("Origin", "https://evil.example"))
        self.negotiate(Upgrader(check_origin=check), request)
        self.assertEqual(asked, [request])
        self.assert_refused(403, make_request(("Origin", "https://example.com")), Upgrader(check_origin=check))

    def test_check_origin_is_named_in_the_log(self) -> None:
        """What check_origin refuses is logged as its doing."""
        _, line = self.refuse(make_request(), Upgrader(check_origin=lambda request: False))
        self.assertIn("it has no Origin, the Host 'example.com'; check_origin returned False", line)

    def test_a_check_origin_that_decides_nothing_is_named_in_the_log(self) -> None:
        """It was said to have returned False, which it had not; and what cannot be asked for its truth was asked."""
        with self.assertLogs("syncws.server") as logs, self.assertRaises(HandshakeError):
            self.negotiate(Upgrader(check_origin=lambda request: NotImplemented), make_request(("Origin", "http://a")))
        text = "\n".join(record.getMessage() for record in logs.records)
        self.assertIn("refused: it returned NotImplemented, where True or False is expected", text)
        self.assertIn("its Origin is 'http://a', the Host 'example.com'; check_origin decides nothing", text)

    def test_an_exception_of_check_origin_escapes(self) -> None:
        """A check_origin that raises is a crash of the application, not a refusal."""
        with self.assertRaises(ZeroDivisionError):
            Upgrader(check_origin=lambda request: 1 / 0 > 0).negotiate(make_request())


class HostTests(UpgraderTestCase):
    """DNS rebinding: the page's own name points here, so Host and Origin agree."""

    def test_other_host(self) -> None:
        """With allowed_hosts a request for another host is 421, whatever its Origin; without, any host passes."""
        upgrader = Upgrader(allowed_hosts=["localhost", "*.example.org"])
        for origin in ([], [("Origin", "http://example.com")], [("Origin", "https://evil.example")]):
            self.assert_refused(421, make_request(*origin), upgrader)
        self.assert_refused(421, make_request(without="Host"), upgrader)
        self.negotiate(Upgrader(), make_request(("Origin", "http://example.com")))

    def test_own_hosts(self) -> None:
        """What is listed passes; its origin is looked at as always."""
        upgrader = Upgrader(allowed_hosts=["localhost", "*.example.org"])
        for host in ("localhost:8080", "a.example.org"):
            request = make_request(("Host", host), ("Origin", f"http://{host}"), without="Host")
            self.negotiate(upgrader, request)
            self.assert_refused(403, make_request(("Host", host), ("Origin", "http://evil"), without="Host"), upgrader)

    def test_what_the_log_shows_can_be_listed(self) -> None:
        """The log names host and setting, and does not say that a host with a star can be listed."""
        for host in ("a.example", "A.example:8080", "[::1]:8080", "192.0.2.7"):
            _, line = self.refuse(make_request(("Host", host), without="Host"), Upgrader(allowed_hosts=["b"]))
            self.assertIn(f"its Host is '{host}'; to serve it, add it to allowed_hosts of the Upgrader", line)
            self.negotiate(Upgrader(allowed_hosts=[host]), make_request(("Host", host), without="Host"))
        for host in ("*.example", "*", "", "a:b:c", "a,b"):
            _, line = self.refuse(make_request(("Host", host), without="Host"), Upgrader(allowed_hosts=["b"]))
            self.assertIn(f"its Host is '{host}'; no entry in allowed_hosts of the Upgrader stands for that", line)


class SubprotocolTests(UpgraderTestCase):
    def choose(self, upgrader: Upgrader, *offers: str, response_headers: Any = None) -> str | None:
        """The subprotocol agreed on, which the 101 must name, once, or not at all."""
        request = make_request(*(("Sec-WebSocket-Protocol", offer) for offer in offers))
        with mock.patch.object(Upgrader, "_say_none_chosen") as said:
            accepted = self.negotiate(upgrader, request, response_headers)
        offered = [name for offer in offers for name in offer.split(", ")]
        is_failing = bool(offers) and accepted.subprotocol not in offered and not callable(upgrader.subprotocols)
        self.assertEqual(said.called, is_failing)
        lines = [line for line in head_of(accepted) if line.lower().startswith("sec-websocket-protocol")]
        expected = [] if accepted.subprotocol is None else [f"Sec-WebSocket-Protocol: {accepted.subprotocol}"]
        self.assertEqual(lines, expected)
        return accepted.subprotocol

    def test_client_order(self) -> None:
        """The first of the client's offers that the server speaks; case matters; none is no failure."""
        upgrader = Upgrader(subprotocols=["b", "a"])
        self.assertEqual(self.choose(upgrader, "a, b"), "a")
        self.assertEqual(self.choose(upgrader, "z", "b"), "b")  # several lines: gorilla sees the first only
        self.assertIsNone(self.choose(upgrader, "A"))
        self.assertIsNone(self.choose(upgrader))

    def test_callable(self) -> None:
        """A callable picks from the client's offers, and is asked only if there are any."""

        def pick(request: Request) -> str | None:
            offered = request.headers["Sec-WebSocket-Protocol"].split(", ")
            return next((name for name in offered if name.startswith("token.")), None)

        upgrader = Upgrader(subprotocols=pick)
        self.assertEqual(self.choose(upgrader, "chat, token.abc"), "token.abc")
        self.assertIsNone(self.choose(upgrader, "chat"))
        self.assertIsNone(self.choose(upgrader))

    def test_callable_that_picks_what_was_not_offered(self) -> None:
        """A name the client did not offer would fail in every browser: 500, said in the log, not to the client."""
        upgrader = Upgrader(subprotocols=lambda request: "secret")
        error, line = self.refuse(make_request(("Sec-WebSocket-Protocol", "chat")), upgrader)
        self.assertEqual(error.status, 500)
        self.assertIn("'secret'", line)
        self.assertNotIn(b"secret", error.response.body)

    def test_from_response_headers(self) -> None:
        """Without subprotocols, the application's own header is sent verbatim, whatever was offered."""
        own = {"sec-websocket-protocol": "rh"}
        self.assertEqual(self.choose(Upgrader(), response_headers=own), "rh")

    def test_subprotocols_override_response_headers(self) -> None:
        """With subprotocols, even none at all, the application's own header is dropped."""
        own = {"Sec-WebSocket-Protocol": "rh"}
        self.assertIsNone(self.choose(Upgrader(subprotocols=[]), "rh", response_headers=own))
        self.assertEqual(self.choose(Upgrader(subprotocols=["a"]), "a", response_headers=own), "a")

    def advice(self, upgrader: Upgrader, *offers: str) -> str:
        """The line at WARNING that such a handshake leaves, which is accepted."""
        with mock.patch.object(upgrader_module, "advisor", Advisor()), self.assertLogs("syncws.server") as logs:
            request = make_request(*(("Sec-WebSocket-Protocol", offer) for offer in offers))
            self.assertIsNone(upgrader.negotiate(request).subprotocol)
        (record,) = logs.records
        self.assertEqual(record.levelno, logging.WARNING)
        return record.getMessage()

    def test_none_where_browsers_need_one(self) -> None:
        """A client that offers subprotocols and gets none fails in browsers: the log says what to set, and why."""
        for upgrader, setting in (
            (Upgrader(), "give it the names that this server speaks, subprotocols=[...]"),
            (Upgrader(subprotocols=[]), "give it the names that this server speaks, subprotocols=[...]"),
            (Upgrader(subprotocols=["v2"]), "add the name that this server speaks"),
        ):
            with self.subTest(setting):
                line = self.advice(upgrader, "v1")
                self.assertIn("/chat: the client offers 1 subprotocol, and ", line)
                self.assertIn(setting, line)
                self.assertIn("Sent non-empty 'Sec-WebSocket-Protocol' header but no response was received", line)
        self.assertIn("offers 3 subprotocols", self.advice(Upgrader(), "v1, v2", "v3"))

    def test_own_header_that_was_not_offered(self) -> None:
        """An own Sec-WebSocket-Protocol that is none of the client's offers is sent, and the log says what it does."""
        with mock.patch.object(upgrader_module, "advisor", Advisor()), self.assertLogs("syncws.server") as logs:
            request = make_request(("Sec-WebSocket-Protocol", "v1, v2"))
            accepted = Upgrader().negotiate(request, {"Sec-WebSocket-Protocol": "v3"})
        self.assertEqual(accepted.subprotocol, "v3")
        (record,) = logs.records
        self.assertIn("offers 2 subprotocols, and the Sec-WebSocket-Protocol in response_headers", record.getMessage())

    def test_no_token_in_the_log(self) -> None:
        """What is offered is often a token, which browsers can send in no other header: no part of it is logged."""
        for token in ("secret", "access_token", "eyJhbGciOiJIUzI1NiJ9.e30.c2ln", "base64url.bearer.authorization.abc"):
            for upgrader in (Upgrader(), Upgrader(subprotocols=["v1"])):
                self.assertNotIn(token[:4], self.advice(upgrader, token))
                self.assertNotIn(token[:4], self.advice(upgrader, "Bearer", token))

    def test_no_advice(self) -> None:
        """Nothing is said of a client that offers none, or gets one; a function that returns None has its reasons."""
        for upgrader, offers, headers in (
            (Upgrader(), [], None),
            (Upgrader(subprotocols=["v1"]), [], None),
            (Upgrader(subprotocols=["v1"]), ["v1"], None),
            (Upgrader(), ["v1"], {"Sec-WebSocket-Protocol": "v1"}),
            (Upgrader(subprotocols=lambda request: None), ["v1"], None),
        ):
            self.negotiate(upgrader, make_request(*(("Sec-WebSocket-Protocol", offer) for offer in offers)), headers)


class ResponseHeaderTests(UpgraderTestCase):
    def test_extra_headers(self) -> None:
        """They follow the handshake's own, in order, and may repeat."""
        extra = [("Set-Cookie", "a=1"), ("Set-Cookie", "b=2"), ("X-Served-By", "me")]
        lines = head_of(self.negotiate(Upgrader(), make_request(), extra))
        self.assertEqual(lines[4:], ["Set-Cookie: a=1", "Set-Cookie: b=2", "X-Served-By: me"])

    def test_headers_of_the_handshake(self) -> None:
        """In every spelling: what the handshake or HTTP writes itself is 500, and the log names it."""
        for name in (
            "Sec-WebSocket-Extensions",
            "sec-websocket-accept",
            "UPGRADE",
            "Connection",
            "Content-Length",
            "Transfer-Encoding",
        ):
            with self.subTest(name):
                error, line = self.refuse(make_request(), None, {name: "1"})
                self.assertEqual((error.status, error.response.status), (500, 500))
                self.assertIn(name, line)

    def test_injection(self) -> None:
        """Unlike gorilla, a line break in a value, or a name that is no token, is 500 and nothing leaves."""
        for name, value in (("X-A", "v1\r\nInjected: 1"), ("X-A", "v\n"), ("X-A\r\nB", "v"), ("X A", "v"), ("X", 1)):
            with self.subTest(name=name, value=value):
                error, _ = self.refuse(make_request(), None, [(name, value)])
                self.assertEqual(error.status, 500)
                self.assertIsInstance(error.__cause__, (ValueError, TypeError))

    def test_an_application_error_is_an_error_in_the_log(self) -> None:
        """What only the application can mend is logged as ERROR, not as a peer's fault."""
        with self.assertLogs("syncws.server", logging.ERROR), self.assertRaises(HandshakeError):
            Upgrader().negotiate(make_request(), {"Upgrade": "x"})


class CompressionTests(UpgraderTestCase):
    def extensions(self, upgrader: Upgrader, *offers: str) -> list[str]:
        """The extension lines of the 101."""
        request = make_request(*(("Sec-WebSocket-Extensions", offer) for offer in offers))
        accepted = self.negotiate(upgrader, request)
        lines = [line for line in head_of(accepted) if line.startswith("Sec-WebSocket-Extensions")]
        self.assertEqual(bool(lines), accepted.agreement is not None)
        return lines

    def test_off_by_default(self) -> None:
        """An offer is not taken unless compression is enabled."""
        self.assertEqual(self.extensions(Upgrader(), "permessage-deflate"), [])

    def test_on(self) -> None:
        """An offer is taken, without context takeover either way."""
        (line,) = self.extensions(Upgrader(enable_compression=True), "x-other", "permessage-deflate")
        for part in ("permessage-deflate", "server_no_context_takeover", "client_no_context_takeover"):
            self.assertIn(part, line)

    def test_unknown_parameters_decline(self) -> None:
        """Unlike gorilla, an offer with parameters nobody knows is declined, and the next one is looked at."""
        upgrader = Upgrader(enable_compression=True)
        self.assertEqual(self.extensions(upgrader, "permessage-deflate; unknown=3"), [])
        self.assertEqual(len(self.extensions(upgrader, "permessage-deflate; unknown=3, permessage-deflate")), 1)

    def test_extensions(self) -> None:
        """An extension's parameters may be quoted, with blanks, in a line of their own, among unknown extensions."""
        upgrader = Upgrader(enable_compression=True)
        for lines in (
            ['permessage-deflate; server_max_window_bits="10"'],
            [",, permessage-deflate\t;\tserver_max_window_bits = 10 ,"],
            ['x-other; a="b,c;d\\"e"', "permessage-deflate;server_max_window_bits=10"],
        ):
            with self.subTest(lines):
                request = make_request(*(("Sec-WebSocket-Extensions", line) for line in lines))
                accepted = self.negotiate(upgrader, request)
                self.assertIn("server_max_window_bits=10", accepted.head.decode())


class UpgradeTests(LeakChecks, UpgraderTestCase):
    """upgrade(), on a real transport over a socket pair."""

    def setUp(self) -> None:
        super().setUp()
        self.client, self.server = socket.socketpair()
        self.addCleanup(self.client.close)
        self.addCleanup(self.server.close)

    def receive_request(
        self, *more: str, behind: bytes = b"", failure: BaseException | None = None
    ) -> tuple[Request, ScriptedTransport]:
        """A request as it comes out of HTTP, and the transport it came over."""
        lines = ["GET /chat HTTP/1.1", *(f"{name}: {value}" for name, value in GOOD.items()), *more, "", ""]
        self.client.sendall("\r\n".join(lines).encode() + behind)
        transport = ScriptedTransport(self.server, failure)
        request = HTTPConnection(transport).read_request(None)
        assert request is not None
        return request, transport

    def test_what_is_no_request(self) -> None:
        """Anything but a Request, such as the Conn that serve() gives, is a TypeError."""
        for other in (None, "request", object()):
            with self.assertRaisesRegex(TypeError, "a request is what Server gives"):
                Upgrader().upgrade(other)  # type: ignore[arg-type]

    def test_expect(self) -> None:
        """A handshake with "Expect: 100-continue" gets its 100 before the 101, in the same send (RFC 9110 7.8)."""
        request, transport = self.receive_request("Expect: 100-Continue")
        with Upgrader(ping_interval=None).upgrade(request) as conn:
            ((head,),) = transport.sent
            conn.close_now()
        self.assertTrue(head.startswith(b"HTTP/1.1 100 Continue\r\n\r\nHTTP/1.1 101 Switching Protocols\r\n"), head)

    def test_the_101_is_one_send(self) -> None:
        """The whole 101 leaves in one send, under the handshake timeout, before anything else."""
        request, transport = self.receive_request()
        with Upgrader(ping_interval=None).upgrade(request, {"X-A": "b"}) as conn:
            ((head,),) = transport.sent
            self.assertTrue(head.startswith(b"HTTP/1.1 101 ") and head.endswith(b"X-A: b\r\n\r\n"))
            self.assertIsNotNone(transport.deadlines[0])
            self.assertEqual(self.client.recv(4096), head)
            conn.close_now()

    def test_no_handshake_timeout(self) -> None:
        """handshake_timeout=None sends the 101 without a deadline."""
        request, transport = self.receive_request()
        Upgrader(handshake_timeout=None).upgrade(request).close_now()
        self.assertEqual(transport.deadlines[0], None)

    def test_early_data(self) -> None:
        """What the client sent after its request is the first message."""
        request, _ = self.receive_request(behind=b"\x81\x85\0\0\0\0early")
        conn = Upgrader().upgrade(request)
        self.assertEqual(conn.receive(timeout=10), "early")
        conn.close_now()

    def test_what_the_connection_knows(self) -> None:
        """The connection has its request, subprotocol and compression, and the request's observer has it."""
        request, _ = self.receive_request(
            "Sec-WebSocket-Protocol: chat", "Sec-WebSocket-Extensions: permessage-deflate"
        )
        seen: list[Any] = []
        request.on_upgrade = seen.append
        conn = Upgrader(subprotocols=["chat"], enable_compression=True).upgrade(request)
        self.assertIs(conn.request, request)
        self.assertEqual(conn.subprotocol, "chat")
        self.assertTrue(conn.compression)
        self.assertEqual(seen, [conn])
        self.assertIs(request.conn, conn)
        conn.close_now()

    def test_twice(self) -> None:
        """Upgrading a request again is a caller's mistake, and the connection is none the worse for it."""
        request, _ = self.receive_request(behind=b"\x81\x82\0\0\0\0hi")
        upgrader = Upgrader()
        conn = upgrader.upgrade(request)
        with self.assertRaisesRegex(ValueError, "upgraded before"):
            upgrader.upgrade(request)
        self.assertEqual(conn.receive(timeout=10), "hi")
        conn.close_now()

    def test_refused(self) -> None:
        """A refused request is not taken over: its connection can carry the response."""
        request, transport = self.receive_request("Origin: https://evil.example")
        with self.assertLogs("syncws.server"), self.assertRaises(HandshakeError) as caught:
            Upgrader().upgrade(request)
        assert request.exchange is not None
        self.assertFalse(request.exchange.taken_over)
        request.exchange.send_response(caught.exception.response, deadline=None)
        self.assertTrue(self.client.recv(4096).startswith(b"HTTP/1.1 403 "))
        transport.close()

    def test_a_request_without_a_connection(self) -> None:
        """A request that came over nothing we can take over is 500, after every other check."""
        with self.assertLogs("syncws.server"), self.assertRaisesRegex(HandshakeError, "taken over") as caught:
            Upgrader().upgrade(make_request())
        self.assertEqual(caught.exception.status, 500)
        with self.assertLogs("syncws.server"), self.assertRaises(HandshakeError) as caught:
            Upgrader().upgrade(make_request(without="Upgrade"))
        self.assertEqual(caught.exception.status, 426)

    def test_the_101_cannot_be_sent(self) -> None:
        """The connection is closed, nothing is answered, and HandshakeError has the cause; no traceback."""
        for failure in (BrokenPipeError("gone"), WriteTimeout("too slow")):
            with self.subTest(failure):
                self.client, self.server = socket.socketpair()
                self.addCleanup(self.client.close)
                self.addCleanup(self.server.close)
                request, transport = self.receive_request(failure=failure)
                with self.assertLogs("syncws.server") as logs, self.assertRaises(HandshakeError) as caught:
                    Upgrader().upgrade(request)
                self.assertIs(caught.exception.__cause__, failure)
                self.assertIsNone(caught.exception.response)
                self.assertIsNone(logs.records[0].exc_info)
                self.assertEqual(transport.fileno(), -1)
                self.assertEqual(self.client.recv(1), b"")

    def test_interrupted_while_sending(self) -> None:
        """A KeyboardInterrupt while the 101 is sent closes the connection and stays what it is."""
        request, transport = self.receive_request(failure=KeyboardInterrupt())
        with self.assertRaises(KeyboardInterrupt):
            Upgrader().upgrade(request)
        self.assertEqual(transport.fileno(), -1)


if __name__ == "__main__":
    unittest.main()
