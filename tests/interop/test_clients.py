"""Each client, put through `cases`."""

from __future__ import annotations

from . import clients
from .cases import ClientCases
from .nodes import heavy


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
class BrowserTests(ClientCases):
    kind = clients.Browser
    # The API of browsers has neither.
    test_fragments_to_the_server = None
    test_ping_by_the_client = None


# The module's loader finds tests in every class it sees, and the cases alone have no client.
del ClientCases
