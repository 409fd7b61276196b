"""rocket3.py: its pool, and what it logs."""

from __future__ import annotations

import importlib.util
import unittest

from syncws._wsgi.servers import rocket3
from syncws._wsgi.takers import find
from syncws.testing import socketpair
from tests.interop.nodes import need
from tests.wsgi.servers.cases import ServerCase, TLSRules


class Rocket3Tests(TLSRules, ServerCase):
    """rocket3, which would log a response that it cannot write."""

    server = "rocket3"
    name = "Rocket3 "
    pool = 4
    swallow = True

    @classmethod
    def setUpClass(cls) -> None:
        need(importlib.util.find_spec("rocket3") is not None, "rocket3 (PyPI) is not installed")
        super().setUpClass()

    def test_other_callers(self) -> None:
        """Where none of its threads has called, nothing is known of the pool, and a response is swallowed still."""
        server, client = socketpair()
        with server, client, server.makefile("rb") as reader:
            taken = find({"wsgi.input": reader, "SERVER_SOFTWARE": "Rocket3 1"})
            self.assertIs(taken.sock, server)
            self.assertEqual((taken.pool, taken.swallow), (None, True))

    def test_no_socket(self) -> None:
        """Its name without its stream is not enough; nor is the stream under another name."""
        self.assertIsNone(rocket3.find({"SERVER_SOFTWARE": "Rocket3 1"}))
        server, client = socketpair()
        with server, client, server.makefile("rb") as reader:
            self.assertIsNone(rocket3.find({"wsgi.input": reader, "SERVER_SOFTWARE": "Rocketeer 3"}))


if __name__ == "__main__":
    unittest.main()
