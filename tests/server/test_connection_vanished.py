"""Connections that end before they ask for anything: the health checks of balancers, and the spare ones of browsers.

There are tens of thousands of them a day and balancer, so that none is worth a line at INFO.
"""

from __future__ import annotations

import logging
import socket
import struct
import unittest
from collections.abc import Callable

from syncws.testing import await_
from tests.certificates import contexts
from tests.server.cases import GET, Client, ServerTestCase, hello

#: The beginning of a ClientHello.
HELLO = b"\x16\x03\x01\x00\xc8\x01\x00\x00\xc4\x03\x03"


def close(client: Client) -> None:
    """FIN."""
    client.socket.close()


def reset(client: Client) -> None:
    """RST."""
    client.socket.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
    client.socket.close()


class VanishedTests(ServerTestCase):
    """What is logged of them."""

    def levels(
        self, leave: Callable[[Client], None], sent: bytes = b"", *, tls: bool = False, ask: bool = False
    ) -> set[str]:
        """The levels of what the server says of a client that sends this, maybe after a request, and leaves."""
        options = {"ssl_context": contexts()[0]} if tls else {}
        with self.serving(hello, **options) as server, self.assertLogs("syncws.server", logging.DEBUG) as logs:
            client = Client(server.address)
            if ask:
                client.request(GET)
            client.socket.sendall(sent)
            leave(client)
            self.assertTrue(await_(lambda: bool(logs.records) and len(server._roster) == 0))
        return {record.levelname for record in logs.records}

    def test_health_checks(self) -> None:
        """A TCP connect and FIN, or a reset, before a request or a TLS handshake is DEBUG on a plain and a TLS port."""
        for tls in (False, True):
            for leave in (close, reset):
                with self.subTest(tls=tls, leave=leave.__name__):
                    self.assertEqual(self.levels(leave, tls=tls), {"DEBUG"})

    def test_in_the_middle_of_a_tls_handshake(self) -> None:
        """A TLS handshake that ends in the middle is DEBUG: nothing was asked for."""
        for leave in (close, reset):
            with self.subTest(leave=leave.__name__):
                self.assertEqual(self.levels(leave, HELLO, tls=True), {"DEBUG"})

    def test_between_two_requests(self) -> None:
        """A connection that was kept and ends before its next request is DEBUG, however it ends."""
        for leave in (close, reset):
            with self.subTest(leave=leave.__name__):
                self.assertEqual(self.levels(leave, ask=True), {"DEBUG"})

    def test_in_the_middle_of_a_request(self) -> None:
        """A request that ends in the middle of its head is INFO, however it ends: somebody was served badly."""
        for leave in (close, reset):
            with self.subTest(leave=leave.__name__):
                self.assertEqual(self.levels(leave, GET[:-2]), {"DEBUG", "INFO"})


if __name__ == "__main__":
    unittest.main()
