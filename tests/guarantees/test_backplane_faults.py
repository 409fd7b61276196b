"""Proves what holds between the members of processes that Redis or Valkey joins, whatever becomes of the server.

Two processes: one publishes 200 messages a second to a room, the other has ten members in it. What is short loses
nothing; what is long loses what is older than the patience of ten seconds, or what nobody could read, and then
received + missed = published, exactly. No call of `Manager.broadcast` waits for the bus.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import Any

from tests.buses import DarkProxy, RedisServer, kinds, need_client, need_server
from tests.partners import heavy

from .bus import CALL, LOAD, BusCase, Node
from .support import note, size

RATE = 200


class Faults(BusCase):
    """A stream of messages from one process to another, while something happens to the bus."""

    bound = 240.0

    def setUp(self) -> None:
        need_server()
        need_client()
        super().setUp()

    def each(self, *faults: Callable[[str], str]) -> None:
        """Try faults on each server that is installed, all at the same time: they mostly wait."""
        servers = kinds()[: size(1, 2)]
        tasks = {f"{fault.__name__} on {kind}": self.in_thread(fault, kind) for fault in faults for kind in servers}
        errors = {}
        for name, task in tasks.items():
            if (error := task.ended(self.bound)) is None:
                note(f"{name}: {task.result()}")
            else:
                errors[name] = error
        for name, error in errors.items():
            error.add_note(name)
        if errors:
            raise errors.popitem()[1]

    def two(self, sender_url: str, receiver_url: str | None = None, **options: Any) -> tuple[Node, Node]:
        sender = self.node(("redis", sender_url), **options)
        receiver = self.node(("redis", receiver_url or sender_url), members=10, **options)
        self.joined(sender, receiver)
        return sender, receiver

    def stream(self, sender: Node, receiver: Node, seconds: float, fault: Callable[[], None]) -> tuple[Any, int]:
        """Publish for so long, with a fault after a second; the receiver's report when all is accounted for."""
        count = round(seconds * RATE)
        sender.tell("send", count=count, rate=RATE, sender="stream")
        time.sleep(1.0)
        fault()
        worst = sender.hear()["worst"]
        self.assertLess(worst, CALL * LOAD, "a broadcast waited")
        # A message once all is well: what was lost last is known by it, where nobody could tell before.
        sender.ask("send", count=1, sender="last")
        report = self.accounted(receiver, sender, count)
        return {**report, "worst": worst}, count

    def killed(self, kind: Any, away: float, seconds: float) -> tuple[Any, int, float]:
        with RedisServer(kind) as server:
            sender, receiver = self.two(server.url)
            back = []

            def fault() -> None:
                server.kill()
                time.sleep(away)
                server.start()
                back.append(time.monotonic())

            report, count = self.stream(sender, receiver, seconds, fault)
            of_bus = [gap["at"] - back[0] for gap in report["gaps"] if gap["node"] is None]
            self.assertTrue(of_bus, report["gaps"])
            return report, count, of_bus[0]

    def says(self, report: Any, count: int, more: str = "") -> str:
        received, p50 = report["by_sender"]["stream"]["count"], report["by_sender"]["stream"]["p50"]
        return (
            f"{received} + {count - received} = {count}, worst call {report['worst'] * 1e3:.1f} ms, "
            f"p50 {p50 * 1e3:.1f} ms, {len(report['gaps'])} gaps{more}"
        )


class ShortTests(Faults):
    def test_what_loses_nothing(self) -> None:
        """The publisher's connection is cut, the subscriber's is: nothing of the former is lost, all of the latter is
        reported."""
        self.each(self.publisher_killed, self.subscriber_killed)

    def publisher_killed(self, kind: Any) -> str:
        with RedisServer(kind) as server:
            sender, receiver = self.two(server.url)
            report, count = self.stream(sender, receiver, 2, lambda: self.kill_clients(server, "normal"))
            self.assertEqual(report["by_sender"]["stream"]["count"], count)
            return self.says(report, count)

    def subscriber_killed(self, kind: Any) -> str:
        with RedisServer(kind) as server:
            sender, receiver = self.two(server.url)
            killed = []

            def kill() -> None:
                self.kill_clients(server, "pubsub")
                killed.append(time.monotonic())

            report, count = self.stream(sender, receiver, 2, kill)
            first = min(gap["at"] for gap in report["gaps"]) - killed[0]
            self.assertLess(first, 1.0 * LOAD)
            return self.says(report, count, f", the first after {first:.2f} s")

    def kill_clients(self, server: RedisServer, kind: str) -> None:
        self.assertGreaterEqual(server.kill_clients(kind), 2)


@heavy
class OutageTests(Faults):
    def test_what_the_server_survives(self) -> None:
        """Killed and back within three seconds: nothing lost, and one Gap within a second of the return, as nobody can
        know that. Stopped for five seconds: nothing lost, and no Gap. UNSUBSCRIBEd: all reported. Cut off as its
        buffer ran over: all reported."""
        self.each(self.killed_3, self.stopped_5, self.unsubscribed, self.cut_off)

    def killed_3(self, kind: Any) -> str:
        report, count, after = self.killed(kind, 2.5, 8)
        self.assertEqual(report["by_sender"]["stream"]["count"], count)
        self.assertEqual(len(report["gaps"]), 1, report["gaps"])
        self.assertLess(after, 1.0 * LOAD)
        return self.says(report, count, f", the Gap {after:.2f} s after the return")

    def stopped_5(self, kind: Any) -> str:
        with RedisServer(kind) as server:
            sender, receiver = self.two(server.url)

            def fault() -> None:
                server.stop()
                time.sleep(5)
                server.go_on()

            report, count = self.stream(sender, receiver, 8, fault)
            self.assertEqual((report["by_sender"]["stream"]["count"], report["gaps"]), (count, []))
            return self.says(report, count)

    def unsubscribed(self, kind: Any) -> str:
        with RedisServer(kind) as server:
            sender, receiver = self.two(server.url)
            told = []
            report, count = self.stream(sender, receiver, 4, lambda: told.append(receiver.ask("unsubscribe")["at"]))
            after = min(gap["at"] for gap in report["gaps"]) - told[0]
            self.assertLess(after, 4 * 3.0)
            return self.says(report, count, f", the first after {after:.2f} s")

    def cut_off(self, kind: Any) -> str:
        with RedisServer(kind, client_output_buffer_limit='"pubsub 256kb 0 0"') as server:
            sender, receiver = self.two(server.url)
            receiver.stop()
            sent = sender.ask("send", count=3000, rate=2000, size=4000, sender="stream")
            receiver.go_on()
            self.assertLess(sent["worst"], CALL * LOAD)
            time.sleep(1)
            sender.ask("send", count=1, sender="last")
            report = self.accounted(receiver, sender, 3000)
            self.assertGreater(report["missed"], 0)
            return self.says({**report, "worst": sent["worst"]}, 3000)


@heavy
class LongOutageTests(Faults):
    def test_what_is_long(self) -> None:
        """Killed for fifteen seconds, dark for twenty: received + missed = published, and the Gap within 1.5 seconds
        of the return."""
        self.each(self.killed_15, self.dark_20_subscriber, self.dark_20_publisher)

    def killed_15(self, kind: Any) -> str:
        report, count, after = self.killed(kind, 15, 20)
        self.assertLess(after, 1.5 * LOAD)
        self.assertGreater(report["missed"], 0)
        return self.says(report, count, f", the Gap {after:.2f} s after the return")

    def dark_20_subscriber(self, kind: Any) -> str:
        return self.dark_20(kind, of_receiver=True)

    def dark_20_publisher(self, kind: Any) -> str:
        return self.dark_20(kind, of_receiver=False)

    def dark_20(self, kind: Any, *, of_receiver: bool) -> str:
        with RedisServer(kind) as server, DarkProxy(server.port) as proxy:
            urls = (server.url, proxy.url) if of_receiver else (proxy.url, server.url)
            sender, receiver = self.two(*urls)
            light = []

            def fault() -> None:
                proxy.dark()
                time.sleep(20)
                proxy.light()
                light.append(time.monotonic())

            report, count = self.stream(sender, receiver, 25, fault)
            if not of_receiver:
                return self.says(report, count)
            after = max(gap["at"] for gap in report["gaps"]) - light[0]
            self.assertLess(after, 4 * 3.0)
            return self.says(report, count, f", the last {after:.2f} s after the return")
