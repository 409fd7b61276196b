"""When threads are kept on one core: the verdicts on windows that were recorded of servers under load, on two cores.

Each window is half a second: seconds, processor seconds, waits, messages (that came, and that left).
"""

from __future__ import annotations

import unittest
from collections.abc import Iterable
from unittest import mock

from syncws._server import judge
from syncws._server.judge import Judge, State, Window

#: Of each load: free to run anywhere, and kept on one core.
RECORDED = {
    "64 x 32 B": (Window(0.51, 0.649, 62951, 23356), Window(0.50, 0.344, 46726, 91358)),
    "16 x 4 KiB": (Window(0.50, 0.631, 47832, 14732), Window(0.51, 0.379, 36514, 68830)),
    "64 x 32 B, 16 in flight": (Window(0.53, 0.614, 50841, 43186), Window(0.50, 0.497, 11846, 160324)),
    "8 x 64 KiB": (Window(0.50, 0.691, 37216, 12895), Window(0.50, 0.361, 14001, 27136)),
    "some lines of Python": (Window(0.53, 0.584, 55085, 21794), Window(0.53, 0.394, 37405, 68678)),
    "one in eight hashes 1 MiB": (Window(0.53, 0.740, 35176, 16208), Window(0.50, 0.456, 12204, 24281)),
}
HASHING = Window(0.51, 0.814, 4890, 2288)
COMPUTING = Window(0.51, 0.520, 2690, 1204)
ECHO, KEPT_ECHO = RECORDED["64 x 32 B"]
IDLE = Window(0.50, 0.001, 3, 2)


class JudgeTests(unittest.TestCase):
    def setUp(self) -> None:
        super().setUp()
        self.judge = Judge()

    def look(self, *windows: Window) -> list[bool]:
        return [self.judge.look(each) for each in windows]

    def keep(self, free: Window = ECHO, kept: Window = KEPT_ECHO) -> None:
        """Have the threads kept."""
        self.look(*[free] * 3, *[kept] * 4)
        self.assertIs(self.judge.state, State.KEPT)

    def test_fought_over(self) -> None:
        """Threads that hand the GIL around are kept from the third window on, and stay so once that has paid."""
        for load, (free, kept) in RECORDED.items():
            with self.subTest(load):
                self.judge = Judge()
                self.assertEqual(self.look(*[free] * 3), [False, False, True])
                self.assertIs(self.judge.state, State.TRIAL)
                self.assertEqual(self.look(*[kept] * 104), [True] * 104)
                self.assertIs(self.judge.state, State.KEPT)

    def test_used(self) -> None:
        """Threads that compute without the GIL, or for long, are left alone; and so are idle ones."""
        for load in (HASHING, COMPUTING, IDLE):
            self.assertEqual(self.look(*[load] * 20), [False] * 20)
            self.assertIs(self.judge.state, State.FREE)

    def test_a_moment(self) -> None:
        """A fight of less than three windows is none."""
        self.assertEqual(self.look(ECHO, ECHO, IDLE, ECHO, ECHO, HASHING, ECHO, ECHO), [False] * 8)

    def test_no_messages(self) -> None:
        """Where no messages come nothing could tell whether it pays."""
        self.assertEqual(self.look(*[Window(0.51, 0.649, 62951, 0)] * 9), [False] * 9)

    def test_in_vain(self) -> None:
        """Threads are free again where fewer messages come than before, or each costs as much."""
        for kept in (
            Window(0.50, 0.490, 40000, 20000),  # fewer, and the core is full
            Window(0.50, 0.600, 60000, 23000),  # as many, at the same cost
            Window(0.50, 0.400, 60000, 0),  # none
        ):
            self.judge = Judge()
            self.assertEqual(self.look(*[ECHO] * 3, *[kept] * 4), [False, False, True, True, True, True, False])
            self.assertIs(self.judge.state, State.RESTING)

    def test_a_load_that_is_no_larger(self) -> None:
        """Where clients ask for no more, as many messages at less cost have paid; clearly fewer have not, though the
        core has room: who waits for answers got them later."""
        for messages, state in ((22500, State.KEPT), (20000, State.RESTING)):
            self.judge = Judge()
            self.look(*[ECHO] * 3, *[Window(0.50, 0.200, 21000, messages)] * 4)
            self.assertIs(self.judge.state, state)

    def test_the_first_window_does_not_count(self) -> None:
        """In the first window of a trial the threads are on their way."""
        self.look(*[ECHO] * 3, Window(0.50, 0.6, 90000, 100), *[KEPT_ECHO] * 3)
        self.assertIs(self.judge.state, State.KEPT)

    def test_rest(self) -> None:
        """After a trial in vain there is none for a minute; after another for two, and at most for an hour."""
        vain = [ECHO] * 4
        rests = []
        for _ in range(9):
            self.look(*[ECHO] * 3, *vain)
            count = 0
            while self.judge.state is State.RESTING:
                self.judge.look(ECHO)
                count += 1
            rests.append(count * judge.WINDOW)
        self.assertEqual(rests, [60, 120, 240, 480, 960, 1920, 3600, 3600, 3600])
        self.keep()
        self.judge.rest()
        self.look(*[IDLE] * 120)
        self.assertIs(self.judge.state, State.FREE, "what paid makes the next rest short again")

    def test_others_come(self) -> None:
        """Threads that begin to compute without the GIL are free after three windows, and left alone for a while."""
        self.keep()
        self.assertEqual(self.look(HASHING, HASHING, KEPT_ECHO, HASHING, HASHING, HASHING), [True] * 5 + [False])
        self.assertIs(self.judge.state, State.RESTING)

    def test_quiet(self) -> None:
        """With little to do the threads are free, and kept again when there is more."""
        self.keep()
        self.assertEqual(self.look(*[IDLE] * 3), [True, True, False])
        self.assertIs(self.judge.state, State.FREE)
        self.keep()

    def test_anew(self) -> None:
        """Every ten minutes the verdict is made anew: the handlers may be others now."""
        self.keep()
        with mock.patch.object(judge, "_LONGEST_KEPT", 5):
            self.assertEqual(self.look(*[KEPT_ECHO] * 5), [True] * 4 + [False])
        self.assertIs(self.judge.state, State.FREE)

    def test_another_core(self) -> None:
        """A trial on another core begins at its beginning; what is kept stays so."""
        self.look(*[ECHO] * 3, *[Window(0.50, 0.490, 40000, 20000)] * 3)
        self.judge.begin_anew()
        self.assertEqual(self.look(*[KEPT_ECHO] * 4), [True] * 4)
        self.assertIs(self.judge.state, State.KEPT)
        self.judge.begin_anew()
        self.assertIs(self.judge.state, State.KEPT)

    def test_gaps(self) -> None:
        """No recorded window is both, and those of the two kinds are far apart: a machine may be twice as fast."""

        def cost(windows: Iterable[Window]) -> list[float]:
            return [each.cpu / each.waits for each in windows]

        fights = cost(free for free, _kept in RECORDED.values())
        kept = cost(kept for _free, kept in RECORDED.values())
        uses = cost([HASHING, COMPUTING])
        self.assertLess(1.5 * max(fights), judge._FIGHT)
        self.assertLess(2 * max(kept), judge._USE)
        self.assertGreater(min(uses), 1.5 * judge._USE)


if __name__ == "__main__":
    unittest.main()
