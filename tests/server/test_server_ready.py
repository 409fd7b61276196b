"""server.py: a server says that it listens, where, and not before it does."""

from __future__ import annotations

import logging
import os
import tempfile
import unittest
from typing import Any

from syncws._server.server import Server
from syncws.testing import running
from tests import is_news
from tests.certificates import contexts
from tests.server.cases import Client, ServerTestCase, hello


class ReadyTests(ServerTestCase):
    """The line "listening on"."""

    def setUp(self) -> None:
        super().setUp()
        log = logging.getLogger("syncws.server")
        log.removeFilter(is_news)
        self.addCleanup(log.addFilter, is_news)

    def said(self, **options: Any) -> tuple[str, Any]:
        """What a server says, and its address. Whoever has read the line is served."""
        with self.assertLogs("syncws.server", logging.INFO) as logs, running(Server(hello, **options)) as server:
            line = logs.records[0].getMessage()
            if "ssl_context" not in options:
                with Client(server.address) as client:
                    self.assertEqual(client.request()[0], 200)
        self.assertEqual((len(logs.records), logs.records[0].levelname), (1, "INFO"))
        return line, server.address

    def test_a_line_for_each_listener(self) -> None:
        """Nothing told that a server listens: one INFO line does, with the address that the system has chosen."""
        line, (host, port) = self.said(host="127.0.0.1", port=0)
        self.assertEqual(line, f"listening on http://{host}:{port}")
        line, (_, port) = self.said(host="", port=0)
        self.assertEqual(line, f"listening on http://0.0.0.0:{port}")
        line, (host, port) = self.said(host="127.0.0.1", port=0, ssl_context=contexts()[0])
        self.assertEqual(line, f"listening on https://{host}:{port}")

    @unittest.skipUnless(os.name == "posix", "Unix sockets")
    def test_a_unix_socket(self) -> None:
        """A Unix socket is told by its path."""
        with tempfile.TemporaryDirectory() as folder:
            path = os.path.join(folder, "x.sock")
            self.assertEqual(self.said(unix_path=path)[0], f"listening on the Unix socket {path}")

    def test_nothing_is_said_of_one_that_never_serves(self) -> None:
        """A server that is only bound, or that was shut down before, says nothing."""
        with self.assertNoLogs("syncws.server", logging.INFO):
            server = Server(hello, "127.0.0.1", 0)
            server.shutdown()
            server.start()
            server.serve_forever()


if __name__ == "__main__":
    unittest.main()
