"""states.py: the table of states: each step goes forward, and says what reads and writes raise from then on."""

from __future__ import annotations

import copy
import itertools
import pickle
import threading
import unittest
from collections.abc import Callable

from syncws import CloseError, CloseSentError, ConnectionClosed, ProtocolError, ReadLimitError, WriteTimeout
from syncws._base.copies import copy_of
from syncws._conn.states import End, Life, State
from tests.tasks import Task, assert_raised_apart, assert_same_end

BYE = CloseError(1000, "bye", [("received", 1000, "bye")])
LOST = CloseError(1006, "the connection is lost")

#: Every step there is, with the state that it leads to from OPEN. Those that need an end store it first.
STEPS: dict[str, Callable[[Life], object]] = {
    "queue_close": lambda life: life.queue_close(),
    "close_left": lambda life: life.close_left(),
    "lose_writes": lambda life: life.lose_writes(LOST),
    "finish": lambda life: life.finish(BYE),
    "dismiss": lambda life: (life.finish(BYE), life.dismiss()),
    "cut": lambda life: (life.finish(BYE), life.cut()),
    "release": lambda life: (life.finish(BYE), life.cut(), life.release()),
}
LEADS_TO = dict(zip(STEPS, list(State)[1:], strict=True))


def after(*steps: str) -> Life:
    """The `Life` of a connection after these steps."""
    life = Life()
    with life.lock:
        for step in steps:
            STEPS[step](life)
    return life


class StateTests(unittest.TestCase):
    def test_each_step(self) -> None:
        """From OPEN each step leads to its line of the table."""
        self.assertIs(Life().state, State.OPEN)
        for step, state in LEADS_TO.items():
            with self.subTest(step):
                self.assertIs(after(step).state, state)

    def test_never_back(self) -> None:
        """Whatever steps come in whatever order, the state is the furthest that they lead to."""
        for steps in itertools.product(STEPS, repeat=3):
            with self.subTest(steps):
                self.assertIs(after(*steps).state, max(LEADS_TO[step] for step in steps))

    def test_what_reads_and_writes_raise(self) -> None:
        """In every state reads raise the end from OVER on, and writes raise from CLOSING on."""
        for steps in itertools.product(STEPS, repeat=3):
            for number in range(len(steps) + 1):
                life = after(*steps[:number])
                with self.subTest(steps[:number]):
                    self.assertIs(life.end is not None, life.state >= State.OVER)
                    self.assertIs(life.refusal is not None, life.state > State.OPEN)
                    if life.end is not None:
                        self.assertIs(life.refusal, life.end)

    def test_what_a_refused_write_says(self) -> None:
        """After our close a write raises CloseSentError; after a lost write the reason; after the end, the end."""
        for steps, kind in (
            (["queue_close"], CloseSentError),
            (["close_left"], CloseSentError),
            (["queue_close", "close_left"], CloseSentError),
            (["lose_writes"], CloseError),
            (["queue_close", "lose_writes"], CloseError),
            (["lose_writes", "queue_close"], CloseError),
            (["close_left", "finish"], CloseError),
        ):
            with self.subTest(steps), self.assertRaises(ConnectionClosed) as caught:
                after(*steps).check_writable()
            self.assertIs(type(caught.exception), kind)

    def test_first_counts(self) -> None:
        """The first end is the end, the first close the close, the first lost write the reason."""
        life = Life()
        with life.lock:
            self.assertTrue(life.queue_close())
            self.assertFalse(life.queue_close())
            life.lose_writes(LOST)
            life.lose_writes(CloseError(1006, "later"))
        with self.assertRaisesRegex(CloseError, "the connection is lost"):
            life.check_writable()
        with life.lock:
            self.assertTrue(life.finish(BYE))
            self.assertFalse(life.finish(LOST))
            self.assertFalse(life.queue_close())
        for check in (life.check_writable, life.check_readable):
            with self.assertRaises(CloseError) as caught:
                check()
            self.assertEqual(caught.exception.code, 1000)

    def test_open(self) -> None:
        """While OPEN neither check raises; until OVER reads go on."""
        life = Life()
        life.check_readable()
        life.check_writable()
        for steps in (["queue_close"], ["close_left"], ["lose_writes"]):
            after(*steps).check_readable()

    def test_steps_want_the_lock(self) -> None:
        """A step without the lock is a mistake of this library, and is found."""
        for step in STEPS.values():
            self.assertRaises(AssertionError, step, Life())

    def test_steps_that_want_an_end(self) -> None:
        """A connection is not dismissed or cut before its end is stored, nor released before it is cut."""
        life = Life()
        with life.lock:
            for step in (life.dismiss, life.cut, life.release):
                self.assertRaises(AssertionError, step)
            life.finish(BYE)
            self.assertRaises(AssertionError, life.release)

    def test_names(self) -> None:
        """The text of a state is plain words."""
        self.assertEqual([str(state) for state in State][:4], ["open", "closing", "close sent", "write lost"])

    def test_vanished(self) -> None:
        """A peer that left without a close is 1006, with the story so far and the cause."""
        life = Life()
        life.closings += (("sent", 1000, ""),)
        cause = OSError(32, "Broken pipe")
        end = life.vanished("gone", cause)
        self.assertEqual(str(end), "sent 1000 (normal closure); then 1006 (abnormal closure): gone")
        self.assertIs(end.__cause__, cause)


class SeenLife(Life):
    """A life that is looked at without its lock in the instant after each step, as another thread might."""

    seen: list[tuple[State, bool, bool]]  # the state, and whether reads and writes raise

    def __setattr__(self, name: str, value: object) -> None:
        super().__setattr__(name, value)
        if name == "state":
            vars(self).setdefault("seen", []).append((value, hasattr(self, "end") and bool(self.end), self._refuses()))

    def _refuses(self) -> bool:
        return hasattr(self, "refusal") and bool(self.refusal)


class UnlockedTests(unittest.TestCase):
    def test_who_sees_a_state_finds_why(self) -> None:
        """Whoever sees a state without the lock finds what reads and writes raise in it: the reason comes first."""
        for step in STEPS:
            with self.subTest(step):
                life = SeenLife()
                with life.lock:
                    STEPS[step](life)
                for state, ended, refused in life.seen:
                    self.assertEqual((ended, refused), (state >= State.OVER, state > State.OPEN))
        self.assertEqual(life.seen[-1][0], State.RELEASED)


class EndTests(unittest.TestCase):
    def test_exceptions(self) -> None:
        """Each exception of an end is its own object, with the class, arguments, text, attributes and cause."""
        closed = CloseError(1000, "bye", BYE.closings)
        for error in (
            closed,
            ProtocolError(1002, "no"),
            ReadLimitError("5 of 4"),
            CloseSentError(),
            WriteTimeout("slow"),
        ):
            error.__cause__ = OSError(32, "Broken pipe")
            error.add_note("a note")
            end = End(error, object())
            with self.subTest(repr(error)):
                first, second = end.exception(), end.exception()
                assert_same_end(self, first, second)
                assert_same_end(self, first, error)
                self.assertEqual({**vars(first), "_owner": None}, {**vars(error), "_owner": None})
                self.assertIn(repr(error), repr(end))

    def test_raised_by_many_threads(self) -> None:
        """Threads that raise one end at the same moment have a traceback each, which shows their own frames only."""
        life = after("finish")
        start = threading.Barrier(8)

        def deep(levels: int) -> None:
            if levels:
                deep(levels - 1)
            else:
                life.check_readable()

        def depths(levels: int) -> set[int]:
            start.wait()
            found = set()
            for _ in range(200):
                try:
                    deep(levels)
                except CloseError as error:
                    trace, depth = error.__traceback__, 0
                    while trace is not None:
                        trace, depth = trace.tb_next, depth + 1
                    found.add(depth - levels)
            return found

        tasks = [Task(depths, levels) for levels in range(8)]
        self.assertEqual([task.result() for task in tasks], [{3}] * 8)  # depths, deep, check_readable

    def test_no_cause_is_shared(self) -> None:
        """The cause of an end is another object in each exception: who deals with one lets go of its traceback too."""
        for life in (after("finish"), Life()):
            lost = CloseError(1006, "gone")
            lost.__cause__ = OSError(104, "Connection reset by peer")
            with life.lock:
                life.lose_writes(lost)
                life.finish(lost)
            assert_raised_apart(self, life.check_readable)
            assert_raised_apart(self, life.check_writable)

    def test_whose_it_is(self) -> None:
        """An exception that a connection raised, at any time, is its own; an equal one of another connection is not."""
        one, other = after("close_left"), after("close_left")
        for life in (one, other):
            with life.lock:
                life.finish(BYE)
        assert one.end is not None and one.refusal is not None
        sent = after("queue_close")
        with self.assertRaises(CloseSentError) as caught:
            sent.check_writable()
        with sent.lock:
            sent.finish(BYE)
        for error in (one.end.exception(), one.refusal.exception()):
            self.assertEqual((one.is_own(error), other.is_own(error)), (True, False))
        self.assertTrue(sent.is_own(caught.exception))
        for error in (BYE, ValueError(), WriteTimeout("x")):
            self.assertFalse(one.is_own(error))

    def test_pickles_and_copies(self) -> None:
        """A copy of what was raised is the connection's own as well; a pickle is nobody's."""
        life = after("finish")
        assert life.end is not None
        error = life.end.exception()
        for made in (pickle.loads(pickle.dumps(error)), copy.copy(error), copy_of(error)):
            assert_same_end(self, made, error)
        self.assertEqual([life.is_own(copy.copy(error)), life.is_own(copy_of(error))], [True, True])
        unpickled = pickle.loads(pickle.dumps(error))
        self.assertFalse(life.is_own(unpickled))
        self.assertFalse(Life().is_own(unpickled))

    def test_context(self) -> None:
        """What was being handled when an end was raised is shown, unless the end has a cause of its own."""
        for cause in (None, OSError(32, "Broken pipe")):
            life = Life()
            end = CloseError(1006, "gone")
            end.__cause__ = cause
            with life.lock:
                life.finish(end)
            try:
                try:
                    raise KeyError("handled")
                except KeyError:
                    life.check_readable()
            except CloseError as error:
                self.assertIsInstance(error.__context__, KeyError)
                self.assertEqual((error.__suppress_context__, repr(error.__cause__)), (cause is not None, repr(cause)))

    def test_the_cause_holds_no_frames(self) -> None:
        """The cause of an end is kept without its traceback, whose frames would keep the connection."""
        life = Life()
        try:
            raise OSError(104, "Connection reset by peer")
        except OSError as error:
            with life.lock:
                lost = CloseError(1006, str(error))
                lost.__cause__ = error
                life.finish(lost)
        assert life.end is not None
        cause = life.end.exception().__cause__
        assert cause is not None
        self.assertEqual((str(cause), cause.__traceback__), ("[Errno 104] Connection reset by peer", None))

    def test_combined_with_a_class_of_python(self) -> None:
        """An application may derive a class of its own from an end and from one of Python's exceptions."""
        both = type("Gone", (ConnectionClosed, ConnectionError), {})
        self.assertIsInstance(both("x"), OSError)
