"""waitress.py: its channel."""

from __future__ import annotations

import types
import unittest
from unittest import mock

from syncws._wsgi.taken import Untakeable
from syncws._wsgi.takers import find
from tests.wsgi.servers.cases import KeepAliveRules, ServerCase, ServerRules


class WaitressTests(ServerRules, KeepAliveRules, ServerCase):
    """waitress, which would log a response that it cannot write."""

    server = "waitress"
    name = "waitress"
    pool = 4
    swallow = True

    def test_reading_ahead(self) -> None:
        """waitress with a lookahead takes frames for requests, so it is refused."""
        channel = mock.MagicMock()
        channel.adj.channel_request_lookahead = 1
        environ = {"waitress.client_disconnected": types.MethodType(lambda self: False, channel)}
        with self.assertRaisesRegex(Untakeable, "^waitress reads ahead") as caught:
            find(environ)
        self.assertIn("channel_request_lookahead=0", caught.exception.advice)


if __name__ == "__main__":
    unittest.main()
