"""trial.py, messages.py, leaks.py: what is right passes, and what is wrong is told."""

from __future__ import annotations

import threading
import unittest
from unittest import mock

from syncws.testing import LeakChecks, Peer, socketpair
from tests.stress.leaks import Leaks
from tests.stress.messages import Assembler, Orders, message, read
from tests.stress.trial import Trial, Wrong


class TogetherTests(LeakChecks):
    def test_values(self) -> None:
        """What the threads return comes in the order of the calls, and each has begun before one ends."""
        gate = threading.Barrier(3)
        self.assertEqual(len(set(Trial(0).together(gate.wait, gate.wait, gate.wait))), 3)

    def test_an_error(self) -> None:
        """What one raises is told at once, with where it came from, also while the others wait."""
        over = threading.Event()
        self.addCleanup(over.set)
        with self.assertRaisesRegex(Wrong, "test_trial._raise raised KeyError") as caught:
            Trial(0).together(over.wait, _raise)
        self.assertIsInstance(caught.exception.__cause__, KeyError)

    def test_stuck(self) -> None:
        """A thread that does not end is told, with where it is."""
        over = threading.Event()
        self.addCleanup(over.set)
        with self.assertRaisesRegex(Wrong, "(?s)still under way: .*in wait"):
            Trial(0, patience=0.05).together(over.wait)


class RoundTests(unittest.TestCase):
    def test_the_first_round(self) -> None:
        """There is one round at least."""
        trial = Trial(0)
        self.assertEqual(list(trial.rounds()), [0])
        self.assertEqual(trial.counts["rounds"], 1)

    def test_comparing(self) -> None:
        """What differs is told with both sides, and what never comes is not waited for beyond the patience."""
        trial = Trial(0, patience=0.01)
        trial.same("sum", 3, 3)
        with self.assertRaisesRegex(Wrong, "sum: 3, not 4"):
            trial.same("sum", 3, 4)
        trial.comes("true", bool, 1)
        with self.assertRaisesRegex(Wrong, "never came to this: true"):
            trial.comes("true", bool, 0)


class MessageTests(LeakChecks):
    def test_changed(self) -> None:
        """Any byte that is another is seen, and a message that is cut."""
        text = message(2, 7, 300)
        self.assertEqual(read(text), (2, 7))
        self.assertEqual(read(text.encode()), (2, 7))
        for wrong in (text[:-1], text + "x", text.replace("7 300", "8 300"), text[:50] + "~" + text[51:], "hello"):
            with self.assertRaises(Wrong):
                read(wrong)

    def test_order(self) -> None:
        """One that is missing, comes twice or too early is seen; senders count apart."""
        orders = Orders()
        for who, number in ((1, 0), (2, 0), (1, 1)):
            orders.take(message(who, number))
        for number in (0, 1, 3):
            with self.assertRaises(Wrong):
                orders.take(message(1, number))
        self.assertTrue(orders.whole({1: 2, 2: 1}))
        self.assertFalse(orders.whole({1: 2}))

    def test_frames(self) -> None:
        """Fragments become messages; one inside of another, and what follows a close, is seen."""
        for frames, wrong in (
            (((1, b"a", False), (9, b"p", True), (0, b"b", True), (2, b"c", True)), False),
            (((1, b"a", False), (1, b"b", True)), True),
            (((0, b"a", True),), True),
            (((8, b"", True), (1, b"a", True), (1, b"b", True)), True),
        ):
            near, far = socketpair()
            with near, far:
                raw, assembler = Peer(near, masked=True), Assembler(Peer(far, masked=False))
                for opcode, payload, fin in frames:
                    raw.send_frame(opcode, payload, fin=fin)
                if wrong:
                    with self.assertRaises(Wrong):
                        list(assembler.messages(2))
                else:
                    self.assertEqual(list(assembler.messages(2)), [b"ab", b"c"])
                    self.assertEqual(assembler.controls, [(9, b"p")])


class LeakTests(LeakChecks):
    def test_what_is_left(self) -> None:
        """A thread, a descriptor and an exception that nobody saw are told, and nothing else."""
        self.enterContext(mock.patch("sys.unraisablehook"))
        self.enterContext(mock.patch("threading.excepthook"))
        self.enterContext(mock.patch("tests.stress.leaks._GRACE", 0.05))
        leaks, over = Leaks(), threading.Event()
        self.assertEqual(leaks.found(), [])
        thread = threading.Thread(target=over.wait, name="left")
        thread.start()
        near, far = socketpair()
        try:
            left = leaks.found()
        finally:
            over.set()
            thread.join()
            near.close()
            far.close()
        self.assertEqual([each.partition(":")[0] for each in left], ["a thread", "a descriptor", "a descriptor"])
        failing = threading.Thread(target=_raise)
        failing.start()
        failing.join()
        self.assertEqual([each.partition(":")[0] for each in leaks.found()], ["an exception that nobody saw"])


def _raise() -> None:
    raise KeyError("on purpose")
