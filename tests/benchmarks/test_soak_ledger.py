"""The books of the soak: what is due, and that each reason explains what it is for, and nothing else."""

from __future__ import annotations

import time
import unittest

from benchmarks.soak import ledger
from benchmarks.soak.ledger import Books, Loss


class BooksTests(unittest.TestCase):
    """A sender "s" in process "p", and receivers of its room."""

    def setUp(self) -> None:
        self.now = time.monotonic()
        self.books = Books("site", lambda began, ended: "a fault")
        self.books.open_stream("s", "a", "p")

    def receiver(self, name: str = "r", process: str = "p", *, drops: bool = False) -> None:
        self.books.open_receiver(name, "a", process, self.now - 1, drops=drops)

    def send(self, *taken_by: str, acknowledged: bool = True, taken: bool = True) -> int:
        """Send the next message, which these receive."""
        number = self.books.sends("s")
        for each in taken_by:
            self.books.receive(each, "s", number, self.now)
        if acknowledged:
            self.books.acknowledge("s", number, self.now, taken=taken)
        return number

    def gap(self, process: str = "q", **more: object) -> None:
        given = {"room": None, "origin": None, "missed": None, "began": self.now - 1, "ended": self.now + 1}
        self.books.gap(Loss(process, reason="", **(given | more)))  # type: ignore[arg-type]

    def found(self) -> list[str]:
        self.books.settle()
        return [each.kind for each in self.books.findings]

    def test_received_once(self) -> None:
        """What is due and came is settled, round after round."""
        self.receiver()
        for _ in range(3):
            self.send("r")
            self.send("r")
            self.assertEqual(self.found(), [])
        self.assertEqual((self.books.totals["due"], self.books.totals["got"]), (6, 6))

    def test_hole(self) -> None:
        """A message in the middle that did not come is found, with its story."""
        self.receiver()
        self.send("r")
        self.send()
        self.send("r")
        self.assertEqual(self.found(), ["lost"])
        story = self.books.findings[0].story
        for part in ("site: r (p, open)", "lacks s 2 ", "acknowledged 3", "a fault"):
            self.assertIn(part, story)

    def test_head_and_tail(self) -> None:
        """The first and the last are due like any other, and all of a stream of which nothing came."""
        self.receiver("first")
        self.receiver("last")
        self.receiver("none")
        self.send("last")
        self.send("first")
        self.assertEqual(self.found(), ["lost", "lost", "lost", "lost"])

    def test_before_the_join(self) -> None:
        """What was broadcast before a join was over may come or not."""
        self.books.open_receiver("late", "a", "p", self.now + 1)
        self.receiver()
        self.send("r")
        self.assertEqual(self.found(), [])

    def test_copy(self) -> None:
        """A message that comes twice is found, in the same round and in the next one."""
        self.receiver()
        number = self.send("r")
        self.books.receive("r", "s", number, self.now)
        self.books.settle()
        self.books.receive("r", "s", number, self.now)
        self.assertEqual(self.found(), ["copy", "copy"])

    def test_order(self) -> None:
        """A message that comes after a later one is found."""
        self.receiver()
        first, second, third = (self.books.sends("s") for _ in range(3))
        for number in (first, third, second):
            self.books.receive("r", "s", number, self.now)
        self.assertIn("order", self.found())

    def test_forged(self) -> None:
        """A message that nobody has sent is found, and one of another room."""
        self.receiver()
        self.books.receive("r", "s", 1, self.now)
        self.books.open_receiver("other", "b", "p", self.now - 1)
        number = self.send("r")
        self.books.receive("other", "s", number + 1, self.now)
        self.assertIn("forged", self.found())
        self.assertIn("room", self.found())

    def test_ended(self) -> None:
        """The end of a connection explains what comes after the last that it received, and no hole before."""
        self.receiver()
        self.send("r")
        self.send()
        self.books.end_receiver("r")
        self.assertEqual(self.found(), [])
        self.assertEqual(self.books.totals["ended"], 1)
        self.receiver("again")
        self.send("again")
        self.send()
        self.send("again")
        self.books.end_receiver("again")
        self.assertEqual(self.found(), ["lost"])

    def test_ended_after_a_mark(self) -> None:
        """It does not explain what had to come before the answer to a mark."""
        self.receiver()
        self.send("r")
        self.send()
        self.books.mark("r", time.monotonic() + 1, 0)
        self.books.end_receiver("r")
        self.assertEqual(self.found(), ["lost"])

    def test_ended_long_after(self) -> None:
        """Nor what was broadcast long before the end."""
        self.now -= ledger.PATIENCE + 5
        self.receiver()
        self.send("r")
        self.send()
        self.books.end_receiver("r")
        self.assertEqual(self.found(), ["lost"])

    def test_gap(self) -> None:
        """A gap without a number explains what another process sent at that time."""
        self.receiver(process="q")
        self.send("r")
        self.send()
        self.gap()
        self.assertEqual(self.found(), [])
        self.assertEqual(self.books.totals["gap"], 1)

    def test_gap_of_something_else(self) -> None:
        """Not where it was reported elsewhere, of another room, of another process, or of another time."""
        for other in (
            {"process": "x"},
            {"room": "b"},
            {"origin": "x"},
            {"began": self.now - 100, "ended": self.now - 90},
        ):
            with self.subTest(other=other):
                self.setUp()
                self.receiver(process="q")
                self.send()
                self.gap(**other)  # type: ignore[arg-type]
                self.assertEqual(self.found(), ["lost"])

    def test_gap_in_the_same_process(self) -> None:
        """Not what the receiver's own process sent, which goes by no bus."""
        self.receiver()
        self.send()
        self.gap("p")
        self.assertEqual(self.found(), ["lost"])

    def test_gap_with_a_number(self) -> None:
        """A gap with a number explains so many, and not one more."""
        for missed, found in ((2, []), (1, ["lost"] * 2)):
            with self.subTest(missed=missed):
                self.setUp()
                self.receiver(process="q")
                self.send()
                self.send()
                self.gap(missed=missed, origin="p")
                self.assertEqual(self.found(), found)

    def test_dropped(self) -> None:
        """A queue that drops explains exactly as many as the server says."""
        for dropped, found in ((1, []), (0, ["dropped"]), (2, ["dropped"])):
            with self.subTest(dropped=dropped):
                self.setUp()
                self.receiver(drops=True)
                self.send("r")
                self.send()
                self.send("r")
                self.books.mark("r", self.now, dropped)
                self.assertEqual(self.found(), found)

    def test_dropped_of_its_own(self) -> None:
        """What is sent to a connection alone is missing, too, and counts."""
        self.receiver(drops=True)
        self.books.direct("r", 1)
        self.books.direct("r", 3)
        self.books.mark("r", self.now, 1)
        self.assertEqual(self.found(), [])
        self.receiver("other")
        self.books.direct("other", 1)
        self.books.direct("other", 3)
        self.assertEqual(self.found(), ["dropped"])

    def test_refused(self) -> None:
        """What the bus did not take, and the sender was told so, is explained."""
        self.receiver()
        self.send(taken=False)
        self.assertEqual(self.found(), [])

    def test_cut(self) -> None:
        """A process that is killed in the middle of a broadcast explains that one, and none that was over."""
        for acknowledged, found in ((False, []), (True, ["lost"])):
            with self.subTest(acknowledged=acknowledged):
                self.setUp()
                self.receiver("here", process="q")
                self.receiver("there", process="q")
                self.send("here", acknowledged=acknowledged)
                self.books.end_stream("s")
                self.books.kill("p")
                self.assertEqual(self.found(), found)

    def test_unacknowledged(self) -> None:
        """What a sender was not told of is explained by its end alone."""
        self.send(acknowledged=False)
        self.assertEqual(len(self.books.unsettled()), 1)
        self.assertEqual(self.found(), ["unacknowledged"])
        self.send(acknowledged=False)
        self.books.end_stream("s")
        self.assertEqual(self.found(), ["unacknowledged"])
        self.assertEqual(self.books.totals["unsaid"], 1)

    def test_who_comes_back(self) -> None:
        """One that was sent all that it missed goes on where it ended: nothing may be missing in between."""
        self.receiver()
        self.send("r")
        self.books.end_receiver("r")
        self.send()
        number = self.send()
        self.assertTrue(self.books.continue_receiver("r2", "r", "p"))
        self.books.receive("r2", "s", number, self.now)
        self.assertEqual(self.found(), ["lost"])
        self.assertFalse(self.books.continue_receiver("r3", "unknown", "p"))

    def test_killed_program(self) -> None:
        """Of a sender that was killed nobody knows how much it sent: what anybody received is due to all."""
        self.books.open_stream("v", "a", known=False)
        self.receiver("r")
        self.receiver("other")
        for number in (1, 2):
            self.books.receive("r", "v", number, self.now)
        self.books.receive("other", "v", 1, self.now)
        self.books.end_stream("v")
        self.assertEqual(self.found(), ["lost"])

    def test_memory(self) -> None:
        """What is settled is forgotten."""
        self.receiver()
        for number in range(200):
            name = f"r{number}"
            self.receiver(name)
            self.send("r", name)
            self.books.end_receiver(name)
            self.books.open_stream(name, "a")
            self.books.end_stream(name)
            self.books.settle()
        self.assertEqual(self.found(), [])
        self.assertEqual(list(self.books.receivers), ["r"])
        self.assertLess(len(self.books.streams), 4)
        self.assertEqual(self.books.streams["s"].began, {})
