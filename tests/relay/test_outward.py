"""The way out: numbers, places in the queue, and losses that are told."""

from __future__ import annotations

import unittest
from unittest import mock

from syncws._relay.envelope import Envelope, Kind, decode
from syncws._relay.outward import Outward
from syncws.backplane import Archive, BusHealth, Outlet, Sink

BOOT = b"bootboot"


class Queue:
    """A backplane that is a list with some room."""

    addressed = echoes = True
    archive: Archive | None = None
    max_message = 200

    def __init__(self) -> None:
        self.queued: list[tuple[str, Envelope]] = []
        self.room = 100

    def publish(self, channel: str, data: bytes, *, keep: bool = False) -> bool:
        if len(self.queued) >= self.room:
            return False
        self.queued.append((channel, decode(data)))
        return True

    def start(self, sink: Sink, node: str) -> None:
        raise NotImplementedError

    subscribe = unsubscribe = flush = close = start  # type: ignore[assignment]

    def health(self) -> BusHealth:
        raise NotImplementedError

    def outlet(self) -> Outlet:
        raise NotImplementedError


class OutwardTests(unittest.TestCase):
    def setUp(self) -> None:
        self.bus = Queue()
        self.outward = Outward(self.bus, BOOT)  # type: ignore[arg-type]

    def numbers(self) -> list[tuple[Kind, int]]:
        return [(each.kind, each.number) for _, each in self.bus.queued]

    def test_what_the_queue_refuses(self) -> None:
        """Its number is used up; listeners are told of it before anything that comes later on any channel."""
        self.bus.room = 2
        took = [self.outward.publish(Kind.ROOM, "a") for _ in range(5)]
        self.assertEqual((took, self.outward.dropped), ([True, True, False, False, False], 3))
        self.assertTrue(self.outward.tell_of_losses())
        self.bus.room = 100
        self.outward._retry_at = 0.0
        self.outward.publish(Kind.ALL, "*")
        self.assertFalse(self.outward.tell_of_losses())
        self.assertEqual(self.numbers(), [(Kind.ROOM, 1), (Kind.ROOM, 2), (Kind.LOST, 5), (Kind.ALL, 1)])
        self.assertEqual(self.bus.queued[2][1].extra, {"first": 1, "age": mock.ANY, "lost": mock.ANY})

    def test_the_mark_of_a_channel_comes_before_its_next_message(self) -> None:
        """Whoever has heard nothing on a channel hears of its loss first, also in a pause between two tries to tell."""
        self.bus.room = 1
        self.outward.publish(Kind.ID, "other")
        self.outward.publish(Kind.ID, "bob")  # refused, and so is its mark
        self.outward.publish(Kind.ID, "other")
        self.bus.room = 100
        self.assertTrue(self.outward.publish(Kind.ID, "bob"))
        of_bob = [each for channel, each in self.bus.queued if channel == "bob"]
        self.assertEqual([(each.kind, each.number) for each in of_bob], [(Kind.LOST, 1), (Kind.ID, 2)])

    def test_at_the_end(self) -> None:
        """What is owed is told once more, whenever it was tried last; whether all is told is known."""
        self.bus.room = 0
        self.outward.publish(Kind.ROOM, "a")
        self.assertFalse(self.outward.tell_at_the_end())
        self.bus.room = 100
        self.assertTrue(self.outward.tell_at_the_end())
        self.assertEqual(self.numbers(), [(Kind.LOST, 1)])

    def test_under_another_name(self) -> None:
        """What was not sent under an old name is told under the next one, also of a thread that still has the old."""
        self.bus.room = 1
        for channel in "aab":
            self.outward.publish(Kind.ROOM, channel)
        after = Outward(self.bus, b"next one")  # type: ignore[arg-type]
        after.take_over(self.outward)
        self.outward.publish(Kind.ROOM, "c")
        self.bus.room = 100
        self.assertFalse(after.tell_of_losses())
        told = [(channel, each.kind, each.boot) for channel, each in self.bus.queued[1:]]
        self.assertEqual(told, [(channel, Kind.LOST, b"next one") for channel in "abc"])

    def test_what_has_no_number(self) -> None:
        """A beat tells the last number that was used on its channel, and uses none."""
        for marks in (True, False):
            self.outward.say(Kind.BEAT, "*", marks=marks)
        self.outward.publish(Kind.ALL, "*")
        self.outward.say(Kind.BEAT, "*", marks=True)
        self.assertEqual(self.numbers(), [(Kind.BEAT, 0), (Kind.BEAT, 0), (Kind.ALL, 1), (Kind.BEAT, 1)])

    def test_what_the_bus_gives_up(self) -> None:
        """What the bus had taken and drops is told at once, one mark for each channel; a beat among it is nothing."""
        self.outward.publish(Kind.ROOM, "a")
        self.outward.publish(Kind.ROOM, "b")
        self.outward.lost({"a": 1, "b": 1, "*": 7})
        self.assertEqual(self.numbers()[2:], [(Kind.LOST, 1), (Kind.LOST, 1)])
        self.assertEqual(self.outward.dropped, 9)

    def test_too_large(self) -> None:
        """With its envelope a message may have max_message bytes, and one more takes no number."""
        self.outward.publish(Kind.ALL, "*", body=b"x" * (200 - 26))
        for extra, body in ((None, b"x" * (201 - 26)), ({"exclude": ["x" * 160]}, b"")):
            with self.assertRaisesRegex(ValueError, "max_message is 200"):
                self.outward.publish(Kind.ALL, "*", "", extra, body)
        self.assertTrue(self.outward.publish(Kind.ALL, "*"))
        self.assertEqual(self.numbers(), [(Kind.ALL, 1), (Kind.ALL, 2)])


if __name__ == "__main__":
    unittest.main()
