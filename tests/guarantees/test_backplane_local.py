"""Proves what holds between the members of the workers of one host, joined by a bus, whatever becomes of one.

Four processes, one publishes 200 messages a second to a room. One that is stopped costs the others nothing and gets
everything once it goes on; one that is killed is gone, and the one that takes its place receives at once.
"""

from __future__ import annotations

import os
import time
from typing import Any

from tests.buses import RedisServer, need_client, need_server
from tests.partners import heavy

from .bus import CALL, LOAD, BusCase, Node
from .support import note, size

RATE = 200


class LocalTests(BusCase):
    bound = 180.0

    def four(self) -> tuple[tuple[str, str], Node, list[Node]]:
        """(the bus, who publishes, the three others)"""
        bus = self.local()
        sender = self.node(bus)
        others = [self.node(bus, members=size(2, 50)) for _ in range(3)]
        self.joined(sender, *others)
        return bus, sender, others

    def p50(self, node: Node, stream: str, count: int) -> float:
        """How late its messages of a stream were, once all are there."""
        report = node.await_(lambda report: report["by_sender"].get(stream, {"count": 0})["count"] == count)
        self.assertEqual((report["by_sender"][stream]["count"], report["gaps"]), (count, []))
        return float(report["by_sender"][stream]["p50"])

    def test_one_that_is_stopped(self) -> None:
        """While one is stopped for five seconds the others' messages are as quick as before, within two times; no call
        waits; and after it goes on it has all of them, without a Gap."""
        _, sender, (one, other, stopped) = self.four()
        seconds = size(1, 5)
        count = seconds * RATE
        sender.ask("send", count=count, rate=RATE, sender="before")
        before = [self.p50(node, "before", count) for node in (one, other)]
        stopped.stop()
        worst = sender.ask("send", count=count, rate=RATE, sender="stream")["worst"]
        during = [self.p50(node, "stream", count) for node in (one, other)]
        stopped.go_on()
        report = self.accounted(stopped, sender, count)
        self.assertEqual((report["missed"], report["gaps"]), (0, []))
        note(
            f"p50 before {before[0] * 1e3:.2f} and {before[1] * 1e3:.2f} ms, while one of four is stopped "
            f"{during[0] * 1e3:.2f} and {during[1] * 1e3:.2f} ms; worst call {worst * 1e3:.1f} ms"
        )
        self.assertLess(worst, CALL * LOAD)
        for usual, now in zip(before, during, strict=True):
            self.assertLess(now, 2 * max(usual, 0.002) * LOAD)

    @heavy
    def test_one_that_is_killed(self) -> None:
        """Its socket is gone within two seconds, the others know that it vanished, and the one that takes its place
        receives within half a second of its start."""
        bus, sender, (one, _, killed) = self.four()
        count = size(600, 2000)  # more than go by until the new one is there
        sender.tell("send", count=count, rate=RATE, sender="stream")
        killed.kill()
        at = time.monotonic()
        while len(os.listdir(bus[1])) > 3 and time.monotonic() < at + 10:
            time.sleep(0.01)
        gone = time.monotonic() - at
        newer = self.node(bus)
        report = newer.await_(lambda report: report["first"] is not None)
        first = report["first"] - newer.began
        worst = sender.hear()["worst"]
        self.accounted(one, sender, count)
        gaps = one.await_(lambda report: bool(report["gaps"]))["gaps"]
        self.assertEqual([(gap["node"], gap["reason"]) for gap in gaps], [(killed.name, "node vanished")])
        note(
            f"its socket was gone after {gone:.2f} s, the new one received {first:.3f} s after it was there; "
            f"worst call {worst * 1e3:.1f} ms"
        )
        self.assertLess(gone, 2.0 * LOAD)
        self.assertLess(first, 0.5 * LOAD)
        self.assertLess(worst, CALL * LOAD)


class ForkTests(BusCase):
    """A process that has used its bus forks, as gunicorn does with --preload, or any program with os.fork."""

    def check(self, bus: tuple[str, str]) -> None:
        node, third = self.node(bus), self.node(bus)
        self.joined(node, third)
        third.tell("send", count=300, rate=100, sender="third")
        told: Any = node.ask("fork", count=100, rate=200)
        third.hear()
        report = node.await_(lambda report: report["by_sender"].get("third", {"count": 0})["count"] == 300)
        # The parent has everything of the child and the third, the child of the parent, the third of both; once.
        self.assertEqual(told["got"]["parent"], [100, 0])
        self.assertEqual(told["got"]["child"], [100, 0])
        for each in (
            report,
            third.await_(lambda report: report["by_sender"].get("child", {"count": 0})["count"] == 100),
        ):
            for sender, count in (("parent", 100), ("child", 100), ("third", 300)):
                got = each["by_sender"][sender]
                self.assertEqual((got["count"], got["wrong"]), (count, 0), sender)
            self.assertEqual((each["missed"], each["health"]["duplicates"]), (0, 0))
        self.assertEqual((told["duplicates"], [gap["missed"] for gap in told["gaps"] if gap["missed"]]), (0, []))
        self.assertEqual(told["names"], ["MainThread", "members"])

    def test_fork_after_use(self) -> None:
        """Parent and child each send and receive all of their own; nothing is taken for a copy, no thread is left."""
        self.check(self.local())

    @heavy
    def test_fork_after_use_on_redis(self) -> None:
        """The same on Redis, where they would share two connections."""
        need_server()
        need_client()
        with RedisServer() as server:
            self.check(("redis", server.url))
