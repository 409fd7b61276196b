"""What a WebSocket view returns to its WSGI server."""

from __future__ import annotations

import types
import unittest
from typing import Any
from wsgiref.util import setup_testing_defaults
from wsgiref.validate import validator

from syncws._http.response import Response
from syncws._http.wsgiresponse import WSGIResponse, refused, switched
from syncws.errors import CloseError
from syncws.testing import LeakChecks, pair
from tests.tasks import Task


def call(application: Any) -> tuple[str, list[tuple[str, str]], list[bytes]]:
    """(status line, headers, blocks) that a WSGI application gives, which a validator watches."""
    environ: dict[str, Any] = {}
    setup_testing_defaults(environ)
    environ["QUERY_STRING"] = ""
    started: list[Any] = []

    def start_response(status: str, headers: list[tuple[str, str]], exc_info: Any = None) -> Any:
        started.extend((status, headers))
        return lambda data: None

    result = validator(application)(environ, start_response)
    try:
        return started[0], started[1], list(result)
    finally:
        result.close()


class SwitchedTests(LeakChecks):
    def test_it_is_empty(self) -> None:
        """A 101 yields no block at all, not even an empty one, and is what WSGI allows."""
        status, headers, blocks = call(switched())
        self.assertEqual((status, blocks), ("101 Switching Protocols", []))
        self.assertEqual(headers, [("Content-Type", "text/plain")])
        self.assertTrue(switched().is_websocket)

    def test_it_closes_the_connection(self) -> None:
        """The 101 of a connection closes it, with 1000, before the server gets anything; a closed one stays closed."""
        with pair() as (server, client):
            reading = Task(client.receive)
            response = server.wsgi_response
            self.assertFalse(server.closed)
            closing = Task(call, response)
            self.assertIsInstance(reading.error(), CloseError)
            client.close_now()
            closing.result()
            self.assertTrue(server.closed)
            self.assertEqual(str(server.end), "sent 1000 (normal closure); then received 1000 (normal closure)")
            call(response)

    def test_it_closes_first(self) -> None:
        """The connection is closed before the server is told anything."""
        order: list[str] = []
        conn = types.SimpleNamespace(close=lambda: order.append("close"))
        switched(conn)({}, lambda status, headers: order.append("start_response"))
        self.assertEqual(order, ["close", "start_response"])

    def test_its_headers_are_a_copy(self) -> None:
        """A middleware that changes the headers changes those of one answer only."""
        response = switched()
        given: list[list[tuple[str, str]]] = []
        for _ in range(2):
            response({}, lambda status, headers: given.append(headers))
            given[-1].append(("X-Mine", "1"))
        self.assertEqual(len(given[1]), 2)
        self.assertEqual(response.headers, [("Content-Type", "text/plain")])

    def test_its_parts(self) -> None:
        """A framework's own response can be made of the parts."""
        response = switched()
        self.assertEqual((response.status, response.reason, response.body), (101, "Switching Protocols", b""))
        self.assertEqual(repr(response), "<WSGIResponse 101 Switching Protocols, 0 bytes>")


class RefusedTests(unittest.TestCase):
    def test_a_refusal(self) -> None:
        """A refusal keeps its status, headers and body, and says how long it is."""
        status, headers, blocks = call(refused(Response("no\n", 403, {"X-Why": "origin"})))
        self.assertEqual((status, blocks), ("403 Forbidden", [b"no\n"]))
        self.assertIn(("X-Why", "origin"), headers)
        self.assertIn(("Content-Length", "3"), headers)

    def test_no_header_of_the_hop(self) -> None:
        """A 426 goes without Upgrade, which wsgiref and waitress take for a mistake of the application."""
        response = refused(Response("no\n", 426, {"Upgrade": "websocket", "Sec-WebSocket-Version": "13"}))
        self.assertEqual(
            [name for name, _ in response.headers], ["Content-Type", "Sec-WebSocket-Version", "Content-Length"]
        )
        self.assertFalse(response.is_websocket)

    def test_no_body(self) -> None:
        """A refusal without a body says so, and yields nothing."""
        status, headers, blocks = call(refused(Response(b"", 503, {"Content-Type": "text/plain"})))
        self.assertEqual((status, headers[-1], blocks), ("503 Service Unavailable", ("Content-Length", "0"), []))

    def test_a_status_without_a_name(self) -> None:
        """A status that HTTP has no name for is sent as a number alone."""
        response = WSGIResponse(499, [], b"")
        self.assertEqual(response.reason, "")
        lines: list[str] = []
        self.assertEqual(response({}, lambda status, headers: lines.append(status)), [])
        self.assertEqual(lines, ["499"])


if __name__ == "__main__":
    unittest.main()
