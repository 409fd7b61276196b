"""Tests of a program that uses syncws, with the tools of `syncws.testing`."""

from __future__ import annotations

from typing import Any, assert_type

import syncws
from syncws.testing import Frame, LeakChecks, Peer, await_, connect, pair, peer
from syncws.wsgi import websocket


def echo(conn: syncws.Conn) -> None:
    conn.send(conn.request.path)
    for message in conn:
        conn.send(message)


class EchoTests(LeakChecks):
    def test_a_pair(self) -> None:
        """A handler is given the server's end of a pair, and finds the request that the test makes up."""
        request = syncws.Request("GET", "/room")
        with pair(request=request, server={"read_limit": 5}, ping_interval=None) as (ours, theirs):
            assert_type(ours, syncws.Conn)
            ours.send(ours.request.path)
            self.assertEqual(theirs.receive(timeout=10), "/room")

    def test_a_peer(self) -> None:
        """What leaves is looked at frame by frame."""
        with peer(client=True, compression=True) as (conn, raw):
            assert_type(raw, Peer)
            conn.send("hello")
            assert_type(raw.receive_frame(), Frame)
            self.assertTrue(await_(lambda: conn.queued == (0, 0)))

    def test_limits(self) -> None:
        """What was breached can be asked for, and the one limit of the process set."""
        assert_type(syncws.breaches(), dict[str, int])
        syncws.set_unfinished_limit(256 << 20)

    def test_an_application(self) -> None:
        """A view of a WSGI application is tested without a server."""

        def app(environ: dict[str, Any], start_response: Any) -> list[bytes]:
            return websocket(echo)(environ, start_response)

        with connect(app, "/echo", headers={"X-User": "ann"}, subprotocols=["chat"], enable_compression=True) as conn:
            self.assertEqual(conn.receive(timeout=10), "/echo")
