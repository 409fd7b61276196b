"""stats.py: what is counted of WebSockets inside other servers, by server."""

from __future__ import annotations

import gc
import unittest
from typing import Any

import syncws.wsgi
from syncws import Upgrader, dial
from syncws.testing import await_
from tests.tasks import PATIENCE

from .cases import WSGICase


class StatsTests(WSGICase):
    """Counts of this process."""

    def test_detached_and_borrowed(self) -> None:
        """A connection counts under its server's name, as detached or as one that holds a thread, then as closed."""
        for server, name in (("wsgiref", "wsgiserver"), ("werkzeug", "werkzeug")):
            for detach, kind in ((None, "detached"), (False, "borrowed")):
                with self.subTest(server=server, kind=kind):
                    before = syncws.wsgi.stats()
                    upgrader = Upgrader()

                    def app(environ: Any, start_response: Any, detach: Any = detach, upgrader: Any = upgrader) -> Any:
                        return upgrader.serve(environ, _echo, detach=detach)(environ, start_response)

                    client = self.enterContext(dial(self.serve(app, server).replace("http", "ws")))
                    client.send("x")
                    client.receive()
                    self.assertTrue(await_(lambda: syncws.wsgi.stats().open == 1, PATIENCE))
                    stats = syncws.wsgi.stats()
                    held: dict[str, int] = getattr(stats, kind)
                    self.assertEqual(len(held), 1)
                    self.assertIn(name, next(iter(held)).lower())
                    self.assertEqual((stats.open, stats.opened), (1, before.opened + 1))
                    self.assertEqual(len(syncws.wsgi.connections()), 1)
                    client.close(1001)
                    self.assertTrue(await_(lambda: not syncws.wsgi.open_connections(), PATIENCE))
                    self.assertTrue(await_(lambda: not syncws.wsgi.stats().ending, PATIENCE))
                    after = syncws.wsgi.stats()
                    self.assertEqual((after.open, after.detached, after.borrowed), (0, {}, {}))
                    self.assertEqual(after.closed["1001"], before.closed.get("1001", 0) + 1)
                    self.assertEqual(after.messages_in, before.messages_in + 1)

    def test_refusals(self) -> None:
        """What is refused is counted by its reason: an environ that is malformed or no handshake's, and no seat."""
        before = syncws.wsgi.stats().refused
        with self.assertLogs("syncws.server"):
            Upgrader().serve({"REQUEST_METHOD": "GET", "PATH_INFO": "/", "HTTP_HOST": "a b"}, _echo)
            Upgrader().serve(
                {"REQUEST_METHOD": "GET", "HTTP_UPGRADE": "websocket", "HTTP_CONNECTION": "upgrade"}, _echo
            )
        after = syncws.wsgi.stats().refused
        self.assertEqual(after["bad request"], before.get("bad request", 0) + 1)

        def app(environ: Any, start_response: Any) -> Any:
            return Upgrader().serve(environ, _echo, max_connections=1)(environ, start_response)

        address = self.serve(app).replace("http", "ws")
        with self.assertLogs("syncws.server"), dial(address), self.assertRaises(syncws.BadHandshakeError):
            dial(address)
        self.assertEqual(syncws.wsgi.stats().refused["full"], before.get("full", 0) + 1)

    def test_a_connection_that_the_view_has_dropped(self) -> None:
        """Counting it keeps no connection alive: what a view has forgotten is collected, and counted as closed."""
        before = syncws.wsgi.stats()

        def app(environ: Any, start_response: Any) -> Any:
            conn = Upgrader().upgrade(environ)
            conn.receive()
            return conn.wsgi_response(environ, start_response)

        with dial(self.serve(app).replace("http", "ws")) as client:
            client.send("x")
        self.assertTrue(await_(lambda: gc.collect() >= 0 and not syncws.wsgi.open_connections(), PATIENCE))
        self.assertTrue(await_(lambda: not syncws.wsgi.stats().ending, PATIENCE))
        after = syncws.wsgi.stats()
        self.assertEqual((after.opened, after.open), (before.opened + 1, 0))


def _echo(conn: syncws.Conn) -> None:
    for message in conn:
        conn.send(message)


if __name__ == "__main__":
    unittest.main()
