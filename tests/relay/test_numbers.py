"""The numbers by which every loss is known."""

from __future__ import annotations

import unittest
from unittest import mock

from syncws._relay import numbers
from syncws._relay.numbers import JUMP, Came, Incoming, Outgoing

ANN, BOB = b"a" * 8, b"b" * 8


class OutgoingTests(unittest.TestCase):
    def test_each_channel_counts_for_itself(self) -> None:
        """The first number on a channel says that none was before it."""
        mine = Outgoing()
        with mine.lock:
            self.assertEqual([mine.next("a"), mine.next("b"), mine.next("a")], [(1, True), (1, True), (2, False)])
            self.assertEqual((mine.last("a"), mine.last("c")), (2, 0))

    def test_a_forgotten_channel(self) -> None:
        """It begins anew above every number that was forgotten: listeners who remember take it for no copy."""
        mine, theirs = Outgoing(), Incoming()
        with mock.patch.object(numbers, "MOST_CHANNELS", 2), mine.lock:
            for _ in range(7):
                theirs.came("a", ANN, *mine.next("a"))
            mine.next("b"), mine.next("c")
            number, begins = mine.next("a")
        self.assertEqual(theirs.came("a", ANN, number, begins), Came(True, 0))

    def test_a_channel_whose_loss_is_to_be_told(self) -> None:
        """It is told although its channel is forgotten meanwhile: its number is what tells."""
        mine = Outgoing()
        with mock.patch.object(numbers, "MOST_CHANNELS", 2), mine.lock:
            mine.next("a")
            mine.owe("a")
            for channel in "bcdef":
                mine.next(channel)
            self.assertEqual(mine.owed["a"].last, 1)

    def test_too_many_losses_to_be_told(self) -> None:
        """What is owed on more channels than it remembers is one loss of unknown size, on the channel of everybody."""
        mine, theirs = Outgoing(), Incoming()
        with mock.patch.object(numbers, "MOST_CHANNELS", 2), mine.lock:
            theirs.came("*", ANN, *mine.next("*"))
            for channel in "abcd":
                mine.next(channel)
                mine.owe(channel)
            self.assertEqual(set(mine.owed), {"a", "b", "*"})
        self.assertGreater(theirs.lost("*", ANN, mine.owed["*"].last) or 0, JUMP)

    def test_what_has_no_number_is_not_owed(self) -> None:
        """A bus may give up beats too: nobody misses them."""
        mine = Outgoing()
        with mine.lock:
            mine.owe("*")
            self.assertEqual(mine.owed, {})


class IncomingTests(unittest.TestCase):
    def setUp(self) -> None:
        self.theirs = Incoming()

    def test_copies_and_losses(self) -> None:
        """A number that is not above the last is a copy; one that is higher by more than one comes after a loss."""
        came = [self.theirs.came("a", ANN, number, False) for number in (7, 8, 8, 3, 12)]
        self.assertEqual(came, [Came(True, 0), Came(True, 0), Came(False, 0), Came(False, 0), Came(True, 3)])
        self.assertEqual(self.theirs.came("a", BOB, 3, False), Came(True, 0))

    def test_a_jump(self) -> None:
        """More than ten million are not lost: somebody has begun anew, and nobody knows what is missing."""
        self.theirs.came("a", ANN, 1, True)
        self.assertEqual(self.theirs.came("a", ANN, 2 + JUMP, False), Came(True, None))

    def test_a_number_that_is_far_too_high(self) -> None:
        """Who has forged one does not make copies of all that its sender sends: the next one is a new start."""
        self.theirs.came("a", ANN, 1, True)
        self.assertEqual(self.theirs.came("a", ANN, 2**64 - 1, True), Came(True, 0))
        self.assertEqual(
            [self.theirs.came("a", ANN, each, False) for each in (2, 3)], [Came(True, None), Came(True, 0)]
        )
        self.theirs.lost("a", ANN, 2**64 - 1)
        self.assertEqual(self.theirs.came("a", ANN, 4, True), Came(True, None))

    def test_too_many_senders(self) -> None:
        """A channel on which more have sent than there are forgets all of them, which is a loss of unknown size."""
        with mock.patch.object(numbers, "MOST_SENDERS", 2):
            for number in range(2):
                self.theirs.came("a", bytes([number]), 1, True)
            self.assertEqual(self.theirs.came("a", ANN, 1, True), Came(True, None))
            self.assertEqual(self.theirs.came("a", BOB, 1, True), Came(True, 0))
            self.assertGreater(self.theirs.lost("a", b"another!", 1) or 0, JUMP)
        self.assertEqual(self.theirs.boots(), {b"another!"})

    def test_marks(self) -> None:
        """A mark says up to which number all was sent; that of a process that was never heard is not known."""
        self.assertIsNone(self.theirs.lost("a", ANN, 3))
        self.assertEqual([self.theirs.lost("a", ANN, number) for number in (3, 5, 4)], [0, 2, 0])
        self.assertEqual(self.theirs.came("a", ANN, 6, False), Came(True, 0))

    def test_the_first_that_is_heard(self) -> None:
        """Where there were others before it, its number is remembered until it is taken; not where the sender began."""
        self.theirs.came("a", ANN, 3, False)
        self.theirs.came("a", ANN, 4, False)
        self.theirs.came("b", ANN, 3, True)
        self.theirs.came("c", ANN, 1, False)
        taken = [self.theirs.take_heard_from(channel, ANN) for channel in "abca"]
        self.assertEqual(taken, [3, None, None, None])

    def test_a_sender_that_jumped(self) -> None:
        """A sender goes on ten million higher where it does not know what is missing: what it sent before is a copy."""
        mine = Outgoing()
        with mine.lock:
            first = mine.next("*")[0]
            mine.owe_anything("*")
            mine.owe_anything("*")
            last = mine.last("*")
        self.theirs.came("*", ANN, first, True)
        self.assertGreater(self.theirs.lost("*", ANN, last) or 0, JUMP)
        self.assertLess(last, 2 * JUMP)
        self.assertEqual(self.theirs.came("*", ANN, first, True), Came(False, 0))
        with mine.lock:
            mine.told("*")
            mine.owe_anything("*")
            self.assertGreater(mine.last("*"), last + JUMP)

    def test_who_spoke(self) -> None:
        """Whoever sent a message since the last look is known, once."""
        self.theirs.came("a", ANN, 1, True)
        self.theirs.lost("a", BOB, 1)
        self.assertEqual((self.theirs.take_spoken(), self.theirs.take_spoken()), ({ANN}, set()))

    def test_since_when_something_is_missing(self) -> None:
        """Since the last number that came before the loss, whatever came on other channels; then since it was told."""
        with mock.patch.object(numbers.time, "time") as clock:
            for second, number in ((100.9, 1), (200.5, 2), (300.5, 5)):
                clock.return_value = second
                self.theirs.came("a", ANN, number, False)
                self.theirs.came("b", ANN, int(second), True)
            self.assertEqual([self.theirs.since("a", ANN), self.theirs.since("a", ANN)], [200.0, 300.0])
            for second, number in ((400.5, 5), (500.5, 9)):  # marks: the first says that nothing is missing
                clock.return_value = second
                self.theirs.lost("a", ANN, number)
            self.assertEqual(self.theirs.since("a", ANN), 400.0)

    def test_since_nobody_knows_when(self) -> None:
        """Of a process that was never heard on a channel, and of one that was forgotten, nothing is known."""
        self.assertIsNone(self.theirs.since("a", ANN))
        self.theirs.lost("a", ANN, 3)
        self.assertIsNone(self.theirs.since("a", ANN))
        with mock.patch.object(numbers, "MOST_SENDERS", 1):
            self.theirs.came("a", BOB, 1, True)
        self.assertIsNone(self.theirs.since("a", BOB))

    def test_what_is_forgotten(self) -> None:
        """A channel and a process are forgotten whole, and leave nothing behind."""
        for channel in "ab":
            self.theirs.came(channel, ANN, 1, True)
        self.theirs.came("b", BOB, 1, True)
        self.theirs.forget_channels(["b", "c"])
        self.assertEqual(self.theirs.boots(), {ANN})
        self.theirs.forget_boot(ANN)
        self.assertEqual((self.theirs.boots(), self.theirs._last), (set(), {}))


if __name__ == "__main__":
    unittest.main()
