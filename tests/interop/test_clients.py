"""The tests of `cases`, with each client."""

from __future__ import annotations

from tests.partners import heavy

from . import clients
from .cases import ClientCases


class WebsocketsSyncTests(ClientCases):
    kind = clients.WebsocketsSync


class WebsocketsAsyncioTests(ClientCases):
    kind = clients.WebsocketsAsyncio


class WebsocketClientTests(ClientCases):
    kind = clients.WebsocketClient


@heavy
class NodeWsTests(ClientCases):
    kind = clients.NodeWs


@heavy
class GorillaTests(ClientCases):
    kind = clients.Gorilla

    def test_small_fragments_to_the_server(self) -> None:
        """With a small write buffer gorilla sends small fragments; the messages come back whole."""
        for compression in (False, True):
            with self.subTest(compression=compression):
                client = self.connect("/echo", compression=compression, write_buffer_size=37)
                self.check_fragments(client)
                # 37 bytes had cut the balloon in two, and divide 999 times 999, where an empty one is the last.
                self.assertGreaterEqual(client.frames, 10 if compression else 999 * 999 // 37 + 1)


@heavy
class BrowserTests(ClientCases):
    kind = clients.Browser
    # The API of browsers has neither.
    test_fragments_to_the_server = None
    test_ping_by_the_client = None


# The module's loader finds tests in every class it sees, and the cases alone have no client.
del ClientCases
