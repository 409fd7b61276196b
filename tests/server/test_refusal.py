"""refusal.py: what is said of a handshake that is refused, to the client, to the operator, to the program."""

from __future__ import annotations

import logging
import unittest
from typing import Any

from syncws._base.advice import advisor
from syncws._http.request import Request
from syncws._http.response import Response
from syncws._server.upgrader import Upgrader
from syncws.errors import HandshakeError
from tests.server.upgrader_cases import UpgraderTestCase, make_request


class AdviceTests(UpgraderTestCase):
    """The level of a refusal says who has to act."""

    def setUp(self) -> None:
        advisor.begin_anew()

    def level(self, request: Request, upgrader: Upgrader | None = None) -> str:
        with self.assertLogs("syncws.server", logging.INFO) as logs, self.assertRaises(HandshakeError):
            (upgrader or Upgrader()).negotiate(request)
        return logs.records[0].levelname

    def test_a_refused_origin(self) -> None:
        """The advice of README was INFO, which nobody saw: a refused origin is a WARNING, once a minute."""
        foreign = ("Origin", "https://elsewhere.example")
        self.assertEqual([self.level(make_request(foreign)) for _ in range(3)], ["WARNING", "INFO", "INFO"])
        self.assertEqual(self.level(make_request(("Origin", "https://another.example"))), "WARNING")
        never = Upgrader(check_origin=lambda request: False)
        self.assertEqual(self.level(make_request(("Origin", "https://third.example")), never), "WARNING")

    def test_a_proxy_that_drops_the_upgrade(self) -> None:
        """A proxy that drops Connection or Upgrade, or speaks HTTP/1.0, is a WARNING once a minute: the key came."""
        for dropped in ("Connection", "Upgrade"):
            with self.subTest(dropped):
                advisor.begin_anew()
                self.assertEqual([self.level(make_request(without=dropped)) for _ in range(2)], ["WARNING", "INFO"])
        advisor.begin_anew()
        self.assertEqual(self.level(make_request(http_version="1.0")), "WARNING")
        self.assertEqual(self.level(Request("GET", "/", {"Host": "a"})), "INFO")  # a browser, a crawler

    def test_what_the_client_did_wrong(self) -> None:
        """A malformed handshake is the client's fault: INFO each time."""
        bad = {"without": "Sec-WebSocket-Key"}
        self.assertEqual([self.level(make_request(**bad)) for _ in range(2)], ["INFO", "INFO"])


class ToldTests(UpgraderTestCase):
    """The words of a refusal."""

    def test_log_line(self) -> None:
        """One line in the log names peer, request, status, and what to change."""
        request = make_request(("Origin", "https://evil.example"))
        _, line = self.refuse(request)
        for part in ("192.0.2.1:4711", "GET", "/chat", "403", "'https://evil.example'", "allowed_origins"):
            self.assertIn(part, line)

    def test_body_of_a_refusal(self) -> None:
        """The body is plain text that begins with the status in words, and is not to be sniffed."""
        error, _ = self.refuse(make_request(without="Upgrade"))
        self.assertTrue(error.response.body.startswith(b"Upgrade Required: "))
        self.assertEqual(error.response.headers.get("Content-Type"), "text/plain; charset=utf-8")
        self.assertEqual(error.response.headers.get("X-Content-Type-Options"), "nosniff")

    def test_custom_error(self) -> None:
        """Error makes the answer, gets status and reason, and no header is added but a 426's Upgrade."""
        seen: list[Any] = []

        def error(request: Request, status: int, reason: HandshakeError) -> Response:
            seen.append((request, status, reason))
            return Response("mine", status)

        upgrader = Upgrader(error=error)
        request = make_request(without="Upgrade")
        refusal, _ = self.refuse(request, upgrader)
        self.assertEqual(seen, [(request, 426, refusal)])
        self.assertEqual(refusal.response.body, b"mine")
        self.assertEqual(refusal.response.headers.get("Upgrade"), "websocket")
        self.assertNotIn("Sec-WebSocket-Version", refusal.response.headers)
        refusal, _ = self.refuse(make_request(without="Connection"), upgrader)
        self.assertNotIn("Upgrade", refusal.response.headers)

    def test_custom_error_of_a_wrong_type(self) -> None:
        """An error that returns no Response is the application's mistake: TypeError."""
        upgrader = Upgrader(error=lambda request, status, reason: "no")  # type: ignore[arg-type,return-value]
        with self.assertLogs("syncws.server"), self.assertRaisesRegex(TypeError, "error must return a Response"):
            upgrader.negotiate(make_request(without="Upgrade"))


if __name__ == "__main__":
    unittest.main()
