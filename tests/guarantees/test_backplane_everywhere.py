"""Proves that an id that several processes register is left in one, and that who asks them all waits for nobody longer.

Processes with a Manager each, on a local bus and on Redis.
"""

from __future__ import annotations

import time
from collections import Counter

from tests.buses import RedisServer, need_client, need_server

from .bus import LOAD, BusCase, Node
from .support import note, size

#: Seconds within which one member of an id is left, after several processes have registered it.
SETTLED = 1.0

#: Seconds between two ids that all processes register.
EVERY = 0.02


class LocalTests(BusCase):
    """Over a local bus."""

    bound = 180.0

    def bus(self) -> tuple[str, str]:
        return self.local()

    def nodes(self, count: int, duplicate: str = "replace") -> list[Node]:
        bus = self.bus()
        nodes = [self.node(bus, duplicate=duplicate) for _ in range(count)]
        self.joined(*nodes)
        return nodes

    def race(self, nodes: list[Node], count: int) -> tuple[int, float]:
        """Have all register the same ids at the same time.

        (how many were accepted, how long it took after the last until each was there once)
        """
        at = time.monotonic() + 0.5
        for node in nodes:
            node.tell("register", count=count, at=at, every=EVERY)
        told = [node.hear() for node in nodes]
        ended = max(each["ended"] for each in told)
        expected = Counter(map(str, range(count)))
        while True:
            here = [node.ask("ids") for node in nodes]
            took = here[0]["at"] - ended
            found = sum((Counter(each["ids"]) for each in here), Counter[str]())
            if found == expected or took > 10.0:
                break
        self.assertEqual(found, expected)
        time.sleep(0.5)
        again = sum((Counter(node.ask("ids")["ids"]) for node in nodes), Counter[str]())
        self.assertEqual(again, expected)
        return sum(each["accepted"] for each in told), took

    def test_one_id_in_several_processes(self) -> None:
        """Two processes register one id at the same time, again and again, and then four: one member of each is left
        within a second."""
        count = size(50, 200)
        for processes in (2, 4):
            with self.subTest(processes=processes):
                _, took = self.race(self.nodes(processes), count)
                note(f"{count} ids registered by {processes} processes at once: one each {max(took, 0):.3f} s later")
                self.assertLess(took, SETTLED * LOAD)

    def test_one_id_is_rejected(self) -> None:
        """With "reject" one of them is accepted, each time."""
        count = size(50, 200)
        accepted, _ = self.race(self.nodes(2, "reject"), count)
        self.assertEqual(accepted, count)

    def test_one_of_four_is_stopped(self) -> None:
        """While one of four is stopped the others' members are counted after the timeout, and it is missing; one that
        is killed is out of the list within four beats."""
        asks, *others = nodes = self.nodes(4)
        self.assertEqual(asks.ask("ask", timeout=10.0)["connections"], 4)
        others[0].stop()
        told = asks.ask("ask", timeout=1.0)
        self.assertEqual((told["connections"], told["missing"]), (3, [others[0].name]))
        note(f"one of four is stopped: a partial answer after {told['took']:.3f} s, with a timeout of 1 s")
        self.assertLess(told["took"], 1.0 + 0.1 * LOAD)
        others[0].go_on()
        self.assertEqual(asks.ask("ask", timeout=10.0)["missing"], [])
        others[1].kill()
        killed = time.monotonic()
        while others[1].name in asks.ask("ask", timeout=0.1)["nodes"]:
            time.sleep(0.05)
        took = time.monotonic() - killed
        note(f"one of four is killed: it is out of the list after {took:.2f} s")
        self.assertLess(took, 4 * 3.0)
        self.assertEqual(asks.ask("ask", timeout=10.0)["connections"], len(nodes) - 1)


class RedisTests(LocalTests):
    """The same over Redis."""

    def bus(self) -> tuple[str, str]:
        return "redis", self.enterContext(RedisServer()).url

    def setUp(self) -> None:
        need_server()
        need_client()
        super().setUp()
