"""The tests of `server_cases`, with each server."""

from __future__ import annotations

from tests.partners import heavy

from . import servers
from .server_cases import ServerCases


class WebsocketsSyncTests(ServerCases):
    kind = servers.WebsocketsSync


class WebsocketsAsyncioTests(ServerCases):
    kind = servers.WebsocketsAsyncio


@heavy
class NodeWsTests(ServerCases):
    kind = servers.NodeWs


@heavy
class GorillaTests(ServerCases):
    kind = servers.Gorilla


# The module's loader finds tests in every class it sees, and the cases alone have no server.
del ServerCases
