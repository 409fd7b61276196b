"""Proves that a flood between processes is accounted for to the last message, and costs no memory without bound.

One process publishes 60,000 messages of 1,000 bytes as fast as it can to a room of which another has 100 members, more
than that one can take: received + missed = 60,000, though nothing is sent afterwards; every process grows by at most
64 MiB.
"""

from __future__ import annotations

import time
from typing import Any

from tests.buses import RedisServer, kinds, need_client, need_server
from tests.partners import heavy
from tests.runner.marks import exact

from .bus import CALL, LOAD, BusCase, Node
from .support import note, size

MIB = 1024  # KiB


class FloodTests(BusCase):
    bound = 240.0

    def flood(self, bus: tuple[str, str], name: str, **options: Any) -> None:
        count = size(6_000, 60_000)
        sender, receiver = self.node(bus, **options), self.node(bus, members=size(20, 100), **options)
        self.joined(sender, receiver)
        before = [node.ask("weigh")["rss"] for node in (sender, receiver)]
        sent = sender.ask("send", count=count, size=1000, sender="stream")
        self.await_silence(receiver)
        cut = [gap for gap in receiver.report()["gaps"] if gap["node"] is None]
        if (
            cut
        ):  # Redis ended its connection, as too much waited there: that is told, and how much with the next message
            sender.ask("send", count=1, sender="last")
        report = self.accounted(receiver, sender, count, 60)
        received = report["by_sender"]["stream"]["count"]
        grown = [node.ask("weigh")["peak"] - was for node, was in zip((sender, receiver), before, strict=True)]
        told = max([gap["at"] for gap in cut or report["gaps"]], default=0)
        late = told - max(report["by_sender"]["stream"]["at"], sent["ended"])
        note(
            f"{name}: {received} + {count - received} = {count} "
            f"in {report['by_sender']['stream']['at'] - sent['began']:.1f} s, "
            f"{len(report['gaps'])} gaps{', cut off' * bool(cut)}, the last {late:.2f} s after the last message; "
            f"memory {grown[0] / MIB:+.0f} and {grown[1] / MIB:+.0f} MiB; worst call {sent['worst'] * 1e3:.0f} ms"
        )
        self.assertLess(late, 2.0 * LOAD)
        self.assertLess(max(grown), 64 * MIB)
        self.assertLess(sent["worst"], CALL * LOAD)

    def await_silence(self, node: Node) -> None:
        """Wait until nothing has come for a second."""
        before, until = -1, time.monotonic() + 200
        while (now := node.report()["received"]) != before and time.monotonic() < until:
            before = now
            time.sleep(1.0)

    @exact
    def test_a_local_bus(self) -> None:
        """What the receiver's sockets do not take is lost with a Gap, for the tail too."""
        self.flood(self.local(), "local")

    @heavy
    @exact
    def test_a_local_bus_with_a_short_queue(self) -> None:
        """The same where most is lost."""
        self.flood(self.local(), "local, 100 may wait", queue=100)

    @heavy
    @exact
    def test_redis_and_valkey(self) -> None:
        """What the publisher's queue does not take is lost with a Gap, for the tail too."""
        need_server()
        need_client()
        for kind, options in zip(kinds(), ({}, {"queue": 1000}), strict=False):
            with self.subTest(kind), RedisServer(kind) as server:
                self.flood(("redis", server.url), f"{kind}, {options or 'as by default'}", **options)
