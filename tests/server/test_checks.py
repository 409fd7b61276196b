"""checks.py: which requests are no handshake, by which rule first, and what is legal all the same."""

from __future__ import annotations

import unittest
from typing import Any

from syncws._http.handshake import accept_for
from syncws._http.request import Request
from syncws._server.upgrader import Upgrader
from tests.handshakes import ACCEPT, KEY
from tests.server.upgrader_cases import UpgraderTestCase, head_of, make_request


class CheckTests(UpgraderTestCase):
    """The checks of gorilla.md 2.1, in their order."""

    def test_accepts(self) -> None:
        """A request of RFC 6455 section 1.3 is answered as the RFC does, in gorilla's order."""
        self.assertEqual(
            head_of(self.negotiate(Upgrader(), make_request())),
            [
                "HTTP/1.1 101 Switching Protocols",
                "Upgrade: websocket",
                "Connection: Upgrade",
                f"Sec-WebSocket-Accept: {ACCEPT}",
            ],
        )

    def test_no_upgrade_token_in_connection(self) -> None:
        """400, before everything else."""
        request = make_request(("Connection", "keep-alive"), without="Connection", method="POST")
        self.assertIn("Connection", self.assert_refused(400, request))

    def test_no_websocket_token_in_upgrade(self) -> None:
        """426, which names the protocol in an Upgrade header."""
        error, _ = self.refuse(make_request(without="Upgrade"))
        self.assertEqual((error.status, error.response.headers.get("Upgrade")), (426, "websocket"))
        self.assert_refused(426, make_request(without="Upgrade", method="POST"))

    def test_method(self) -> None:
        """Anything but GET is 405, and HEAD is no GET."""
        for method in ("POST", "HEAD", "PUT", "get"):
            with self.subTest(method):
                self.assert_refused(405, make_request(method=method, without="Sec-WebSocket-Version"))
        error, _ = self.refuse(make_request(method="POST"))
        self.assertEqual(error.response.headers.get("Allow"), "GET")

    def test_http_1_0(self) -> None:
        """Unlike gorilla, hTTP/1.0 cannot upgrade, and the refusal names what nginx lacks."""
        body = self.assert_refused(400, make_request(http_version="1.0"))
        self.assertIn("proxy_http_version 1.1", body)

    def test_a_proxy_that_drops_the_headers_is_named_in_the_log(self) -> None:
        """A request whose handshake a proxy took out is refused with a log line that says what the proxy needs."""
        _, line = self.refuse(make_request(without="Connection", http_version="1.0"))
        self.assertIn("proxy_http_version 1.1", line)

    def test_body(self) -> None:
        """An upgrade request with a body is 400; a declared length of nothing is none."""
        self.assert_refused(400, make_request(("Content-Length", "5")))
        self.assert_refused(400, make_request(("Transfer-Encoding", "chunked")))
        self.negotiate(Upgrader(), make_request(("Content-Length", "0")))

    def test_version(self) -> None:
        """A version other than 13, or none, is 400 (not 426), and 13 is named."""
        for version in ([], [("Sec-WebSocket-Version", "8")], [("Sec-WebSocket-Version", "130")]):
            with self.subTest(version):
                self.assert_refused(400, make_request(*version, without="Sec-WebSocket-Version"))

    def test_version_list(self) -> None:
        """13 may stand in a list, or in a line of its own."""
        for more in ([("Sec-WebSocket-Version", "8, 13")], [("Sec-WebSocket-Version", v) for v in ("8", "13")]):
            self.negotiate(Upgrader(), make_request(*more, without="Sec-WebSocket-Version"))

    def test_key(self) -> None:
        """A key that is not Base64 of 16 bytes is 400."""
        for key in ("", "c2hvcnQ=", "not base64!", KEY + KEY, KEY[:-2]):
            with self.subTest(key):
                request = make_request(("Sec-WebSocket-Key", key), without="Sec-WebSocket-Key")
                self.assert_refused(400, request)

    def test_number_of_keys(self) -> None:
        """No key, or two, even if they are the same, is 400."""
        self.assert_refused(400, make_request(without="Sec-WebSocket-Key"))
        self.assert_refused(400, make_request(("Sec-WebSocket-Key", KEY)))

    def test_order(self) -> None:
        """Each request breaks one rule more, from the last to the first: the first one broken decides (section 2.1)."""
        bad_key = ("Sec-WebSocket-Key", "short")
        bad_origin = ("Origin", "https://evil.example")
        extensions = {"Sec-WebSocket-Extensions": "x"}
        rows: list[tuple[int, Request, Any]] = [
            (400, make_request(bad_key, without="Sec-WebSocket-Key"), None),
            (403, make_request(bad_key, bad_origin, without="Sec-WebSocket-Key"), None),
            (500, make_request(bad_origin), extensions),
            (400, make_request(bad_origin, without="Sec-WebSocket-Version"), extensions),
            (405, make_request(bad_origin, without="Sec-WebSocket-Version", method="POST"), extensions),
            (426, make_request(bad_origin, without="Upgrade", method="POST"), extensions),
            (400, Request("POST", "/", {"Host": "a"}), extensions),
        ]
        for status, request, response_headers in rows:
            with self.subTest(status=status):
                self.assertEqual(self.refuse(request, None, response_headers)[0].status, status)


class LegalFormTests(UpgraderTestCase):
    """What HTTP allows is not refused (RFC 9110 sections 5.3, 5.6 and 7.8)."""

    def test_upgrade(self) -> None:
        """Upgrade may list other protocols, with a version, in several lines, in any case."""
        for lines in (
            ["HTTP/2.0, websocket"],
            ["websocket, HTTP/3"],
            ["HTTP/2.0,SHTTP/1.3, IRC/6.9, RTA/x11", " ,, WebSocket ,"],
            ["h2c", "WEBSOCKET"],
        ):
            with self.subTest(lines):
                self.negotiate(Upgrader(), make_request(*(("Upgrade", line) for line in lines), without="Upgrade"))
        for line in ("HTTP/2.0", "websocket/13", "HTTP/websocket", "web socket", "h2c/, websocket", "/websocket", ""):
            with self.subTest(line):
                self.assert_refused(426, make_request(("Upgrade", line), without="Upgrade"))

    def test_connection(self) -> None:
        """Connection may list other options, in several lines, in any case, with empty elements."""
        for lines in (["keep-alive, Upgrade"], [",UPGRADE\t,"], ["TE, close", "upgrade"], ["", "Upgrade"]):
            with self.subTest(lines):
                self.negotiate(
                    Upgrader(), make_request(*(("Connection", line) for line in lines), without="Connection")
                )

    def test_keys(self) -> None:
        """A key whose last bits are not zero is 16 bytes all the same, and is answered as it was written."""
        for end in ("Q", "R", "f", "/", "+"):
            key = KEY.replace("Q==", f"{end}==")
            request = make_request(("Sec-WebSocket-Key", key), without="Sec-WebSocket-Key")
            head = head_of(self.negotiate(Upgrader(), request))
            self.assertIn(f"Sec-WebSocket-Accept: {accept_for(key)}", head)


if __name__ == "__main__":
    unittest.main()
