"""Tests of a program that uses syncws, with the tools of `syncws.testing`."""

from __future__ import annotations

from typing import Any, assert_type

import syncws
from syncws.backplane import Backplane
from syncws.testing import (
    BackplaneCases,
    Frame,
    LeakChecks,
    LiveServer,
    MemoryBackplane,
    MemoryBus,
    Peer,
    await_,
    connect,
    pair,
    peer,
    serving,
)
from syncws.wsgi import websocket


def echo(conn: syncws.Conn) -> None:
    conn.send(conn.request.path)
    for message in conn:
        conn.send(message)


class BackplaneTests(BackplaneCases, LeakChecks):
    """The tests of a backplane of one's own."""

    joins_processes = False

    def setUp(self) -> None:
        super().setUp()
        self.bus = MemoryBus()

    def make(self) -> Backplane:
        return MemoryBackplane(self.bus)

    def break_bus(self) -> None:
        self.bus.cut()

    def mend_bus(self) -> None:
        self.bus.mend()

    def inject(self, channel: str, data: bytes) -> None:
        self.bus.inject(channel, data)


class EchoTests(LeakChecks):
    def test_a_server(self) -> None:
        """A server for one test makes clients of itself, good and bad ones."""
        with serving(echo, max_connections=5) as server:
            assert_type(server, LiveServer)
            assert_type(server.url, str)
            conn = server.dial("/room", {"Origin": server.http_url}, subprotocols=["a"])
            assert_type(conn, syncws.Conn)
            assert_type(server.raw("/room"), Peer)

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

    def test_two_managers(self) -> None:
        """Two managers are joined in one process, and what was published is waited for."""
        bus = MemoryBus(addressed=False, history=syncws.History(size=10))
        backplanes: list[Backplane] = [MemoryBackplane(bus), MemoryBackplane(bus)]
        managers = [syncws.Manager(backplane=each) for each in backplanes]
        managers[0].broadcast("hello", room="lobby")
        bus.settle(timeout=10)
        for manager in managers:
            manager.end()

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
