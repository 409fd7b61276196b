"""The tests of `takeover`, with each client and each server."""

from __future__ import annotations

import syncws
from tests.partners import heavy

from . import aiohttps, clients, javas, servers, tornados
from .takeover import DiallingCases, ServingCases


class ServingWebsocketsSync(ServingCases):
    kind = clients.WebsocketsSync


class ServingWebsocketsAsyncio(ServingCases):
    kind = clients.WebsocketsAsyncio


class ServingAiohttp(ServingCases):
    kind = aiohttps.AiohttpClient


class ServingTornado(ServingCases):
    kind = tornados.TornadoClient


@heavy
class ServingNodeWs(ServingCases):
    kind = clients.NodeWs


@heavy
class ServingGorilla(ServingCases):
    kind = clients.Gorilla


@heavy
class ServingBrowser(ServingCases):
    kind = clients.Browser


@heavy
class ServingJava(ServingCases):
    kind = javas.JavaClient
    # It starts slowly, and has no options to be told.
    test_off = None
    test_on_with_little_memory = None

    def check_end(self, conn, client) -> None:
        """Our close code reaches it, and it ends."""
        conn.close(3000)
        self.assertEqual(client.close_code(), 3000)


class DiallingWebsocketsSync(DiallingCases):
    kind = servers.WebsocketsSync


class DiallingWebsocketsAsyncio(DiallingCases):
    kind = servers.WebsocketsAsyncio


class DiallingAiohttp(DiallingCases):
    kind = aiohttps.AiohttpServer


class DiallingTornado(DiallingCases):
    kind = tornados.TornadoServer


@heavy
class DiallingNodeWs(DiallingCases):
    kind = servers.NodeWs


@heavy
class DiallingGorilla(DiallingCases):
    kind = servers.Gorilla

    def test_on_with_little_memory(self) -> None:
        """It does not see how large a window may be, and so is refused: with words that name the option."""
        with self.assertRaisesRegex(syncws.BadHandshakeError, "max_window_bits=15 asks for nothing"):
            super().test_on_with_little_memory()


# The module's loader finds tests in every class it sees, and the cases alone have no peer.
del ServingCases, DiallingCases
