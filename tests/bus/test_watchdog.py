"""The watch over the way through the bus: what counts against it, and what does not."""

from __future__ import annotations

import time
import unittest

from syncws._bus.watchdog import Watchdog


def watching(beat: float = 1.0, patience: float = 10.0) -> Watchdog:
    dog = Watchdog(beat, patience)
    dog.connected()
    dog.subscribed()
    return dog


def idle(dog: Watchdog, seconds: float) -> str | None:
    """Let nothing come for so long, a tick at a time."""
    for _ in range(round(seconds / dog.tick)):
        if (reason := dog.idle(dog.tick)) is not None:
            return reason
    return None


class BeatTests(unittest.TestCase):
    def test_a_beat_that_does_not_come_back(self) -> None:
        """The bus is lost two beats after it has taken one that does not come back, and the writer is told."""
        dog = watching()
        dog.begin()
        dog.taken()
        self.assertIsNone(idle(dog, 1.75))
        self.assertEqual(dog.astray, 0)
        self.assertIn("does not come back", idle(dog, 0.5) or "")
        self.assertEqual(dog.astray, 1)

    def test_carries(self) -> None:
        """It is proved by a beat that was sent since the subscriptions, was taken, and came back, in whatever order."""
        for taken_first in (True, False):
            with self.subTest(taken_first=taken_first):
                dog = Watchdog(1.0, 10.0)
                old = dog.begin()
                dog.taken()
                dog.connected()
                dog.subscribed()
                dog.heard(old)
                self.assertFalse(dog.carries)
                beat = dog.begin()
                steps = [dog.taken, lambda beat=beat, dog=dog: dog.heard(beat)]  # type: ignore[misc]
                for step in steps if taken_first else steps[::-1]:
                    self.assertFalse(dog.carries)
                    step()
                self.assertTrue(dog.carries)

    def test_a_beat_that_comes_back(self) -> None:
        """It proves the way up to when it began, and tells how long it took."""
        dog = watching()
        before = time.monotonic()
        beat = dog.begin()
        dog.taken()
        idle(dog, 1.75)
        dog.heard(beat)
        self.assertIsNone(idle(dog, 5))
        self.assertGreaterEqual(dog.proven, before - 0.001)
        self.assertIsNotNone(dog.lag)

    def test_a_beat_that_was_not_taken(self) -> None:
        """While the writer has no answer the bus may be slow: its own patience tells."""
        dog = watching()
        dog.begin()
        self.assertIsNone(idle(dog, 5))

    def test_only_empty_time_counts(self) -> None:
        """A process that is behind in a flood reads all the time: no time counts, however late the beat is."""
        dog = watching()
        dog.begin()
        dog.taken()
        self.assertIsNone(idle(dog, 1.75))  # nothing more is told to it while there is something to read
        dog.heard(dog.begin())
        self.assertIsNone(idle(dog, 1.75))

    def test_a_process_that_was_stopped(self) -> None:
        """A look counts for two ticks at most, whatever the clock says."""
        dog = watching()
        dog.begin()
        dog.taken()
        self.assertIsNone(dog.idle(3600))

    def test_a_beat_is_wanted_at_once(self) -> None:
        """Once all is subscribed the next beat does not wait for its time."""
        dog = watching()
        self.assertTrue(dog.wanted)
        dog.begin()
        self.assertFalse(dog.wanted)

    def test_beats_of_before(self) -> None:
        """A beat that was taken before all was subscribed is not missed."""
        dog = watching()
        dog.begin()
        dog.taken()
        dog.connected()
        self.assertIsNone(idle(dog, 5))
        dog.subscribed()
        self.assertIsNone(idle(dog, 5))

    def test_what_is_no_beat(self) -> None:
        """Whatever others publish on its channel is ignored: words, a beat of the future, one that came before."""
        dog = watching()
        beat = dog.begin()
        dog.taken()
        for junk in (b"", b"1", b"x y", b"9 1.0", b"1 1e99", b"\xff \xff", b"1 nan", b"1 2 3"):
            dog.heard(junk)
            self.assertIsNone(dog.lag, junk)
        dog.heard(beat)
        lag = dog.lag
        dog.heard(beat)
        self.assertEqual(dog.lag, lag)


class QuestionTests(unittest.TestCase):
    def test_a_question_without_an_answer(self) -> None:
        """The bus is lost once a question on the reading connection went unanswered for its patience."""
        dog = watching(patience=3)
        self.assertTrue(dog.asked())
        self.assertFalse(dog.asked())
        self.assertIsNone(idle(dog, 2.75))
        self.assertEqual(idle(dog, 0.25), "nothing came for 3 s")

    def test_an_answer(self) -> None:
        """It proves the way up to when it was asked, and the next question may come."""
        dog = watching(patience=3)
        before = time.monotonic()
        dog.asked()
        idle(dog, 2.5)
        dog.answered()
        dog.answered()
        self.assertIsNone(idle(dog, 10))
        self.assertGreaterEqual(dog.proven, before)
        self.assertTrue(dog.asked())

    def test_a_new_connection_has_no_question(self) -> None:
        """What was asked on the one before is not waited for."""
        dog = watching(patience=3)
        dog.asked()
        idle(dog, 2.5)
        dog.connected()
        self.assertTrue(dog.asked())
        self.assertIsNone(idle(dog, 2.5))


class ProofTests(unittest.TestCase):
    def test_nothing_is_proven_while_not_everything_arrives(self) -> None:
        """An answer or a beat on a connection that is not subscribed to everything yet proves nothing."""
        dog = watching()
        proven = dog.proven
        dog.connected()
        beat = dog.begin()
        dog.asked()
        dog.answered()
        dog.heard(beat)
        self.assertEqual(dog.proven, proven)
        dog.subscribed()
        self.assertGreater(dog.proven, proven)


if __name__ == "__main__":
    unittest.main()
