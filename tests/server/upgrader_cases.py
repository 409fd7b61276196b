"""What the tests of the handshake on a server share: a request that would be upgraded, and how it is judged."""

from __future__ import annotations

import logging
import unittest
from typing import Any

from syncws._http.request import Request
from syncws._server.upgrader import Accepted, Upgrader
from syncws.errors import HandshakeError
from tests.handshakes import HEADERS

GOOD = {"Host": "example.com", **HEADERS}


def make_request(*more: tuple[str, str], without: str = "", method: str = "GET", **changes: Any) -> Request:
    """A request that would be upgraded, but for the changes; further headers may repeat others."""
    headers = [(name, value) for name, value in GOOD.items() if name != without]
    return Request(method, "/chat", [*headers, *more], remote_address=("192.0.2.1", 4711), **changes)


def head_of(accepted: Accepted) -> list[str]:
    """The lines of the 101."""
    head = accepted.head.decode("latin-1")
    assert head.endswith("\r\n\r\n"), head
    return head[:-4].split("\r\n")


class UpgraderTestCase(unittest.TestCase):
    def negotiate(self, upgrader: Upgrader, request: Request, response_headers: Any = None) -> Accepted:
        """An agreement, which must be there and must not be logged."""
        with self.assertNoLogs("syncws", logging.INFO):
            return upgrader.negotiate(request, response_headers)

    def refuse(
        self, request: Request, upgrader: Upgrader | None = None, response_headers: Any = None
    ) -> tuple[HandshakeError, str]:
        """The refusal of a request, and its one line in the log."""
        with self.assertLogs("syncws.server", logging.INFO) as logs, self.assertRaises(HandshakeError) as caught:
            (upgrader or Upgrader()).negotiate(request, response_headers)
        self.assertEqual(len(logs.records), 1)
        self.assertIs(request.refusal, caught.exception)
        return caught.exception, logs.records[0].getMessage()

    def assert_refused(self, status: int, request: Request, upgrader: Upgrader | None = None) -> str:
        """The request is refused with this status, the response says so, and the body says why; returns the body."""
        error, _ = self.refuse(request, upgrader)
        self.assertEqual(error.status, status)
        self.assertEqual(error.response.status, status)
        self.assertEqual(error.response.headers.get("Sec-WebSocket-Version"), "13")
        self.assertIn(str(error), error.response.body.decode())
        return error.response.body.decode()
