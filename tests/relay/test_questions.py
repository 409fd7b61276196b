"""What is asked of the other processes."""

from __future__ import annotations

import threading
import time
import unittest
from typing import Any
from unittest import mock

from syncws._relay import questions
from syncws._relay.envelope import Envelope, Kind
from syncws._relay.questions import Replies
from syncws.testing import await_
from tests.tasks import PATIENCE, Task

from .support import Process, RelayCase, text


class QuestionCase(RelayCase):
    def count(self, process: Process, timeout: float = PATIENCE) -> Replies[int]:
        surveys = process.relay.asking()
        assert surveys is not None
        return surveys.count(None, timeout)

    def asked(self, process: Process, other: Process) -> Task:
        """A process that waits for the answer of another one, whose bus tells it nothing."""
        other.backplane.hold()
        task = Task(self.count, process)
        self.assertTrue(await_(lambda: bool(process.relay.questions._open)))
        self.assertTrue(await_(lambda: bool(other.backplane._inbox)))
        return task


class AskTests(QuestionCase):
    def test_all_answer(self) -> None:
        """Each process that is alive answers, by its name, and nobody is missing."""
        one, other = self.two()
        third = self.process()
        third.join()
        self.assertTrue(await_(lambda: len(one.relay.nodes.alive()) == 2))
        other.here.connections, third.here.connections = 3, 4
        replies = self.count(one)
        self.assertEqual(replies, Replies({other.relay.node: 3, third.relay.node: 4}, (), True))

    def test_nobody_to_ask(self) -> None:
        """Who is alone waits for nobody."""
        one = self.process()
        one.join()
        self.assertEqual(self.count(one), Replies({}, (), True))

    def test_one_that_does_not_answer(self) -> None:
        """A part is a result: who does not answer in time is missing, and its answer does no harm when it comes."""
        one, other = self.two()
        third = self.process()
        third.join()
        self.assertTrue(await_(lambda: len(one.relay.nodes.alive()) == 2))
        other.backplane.hold()
        began = time.monotonic()
        replies = self.count(one, 1.0)
        self.assertGreaterEqual(time.monotonic() - began, 1.0)
        self.assertEqual(replies, Replies({third.relay.node: 0}, (other.relay.node,), False))
        other.backplane.release()
        self.settle(one, other)
        self.assertEqual((one.relay.questions._open, one.relay.health().bad), ({}, 0))

    def test_an_answer_that_comes_at_the_end(self) -> None:
        """An answer that a thread of the bus is just bringing does not change what the asker is just reading."""
        one, _ = self.two()
        questions_ = one.relay.questions
        held: list[bool] = []

        class Answers(dict[bytes, Any]):
            def items(self) -> Any:
                held.append(questions_._lock.locked())
                return super().items()

        with mock.patch.object(questions._Question, "__init__", autospec=True) as init:
            init.side_effect = lambda self, read, is_enough, asked: self.__dict__.update(
                read=read, is_enough=is_enough, at=0.0, waiting=set(asked), answers=Answers(), over=threading.Event()
            )
            self.count(one)
        self.assertEqual(held, [True])

    def test_one_that_says_goodbye_while_it_is_asked(self) -> None:
        """It is not waited for any longer, and it is not missing: it is not there."""
        one, other = self.two()
        task = self.asked(one, other)
        other.relay.end(5.0)
        self.assertEqual(task.result(), Replies({}, (), True))

    def test_one_that_vanishes_while_it_is_asked(self) -> None:
        """One whose beats stop is not waited for any longer either."""
        one, other = self.two()
        task = self.asked(one, other)
        other.relay._pulse.end(5.0)
        other.backplane.vanish()
        with one.relay.nodes._lock:
            one.relay.nodes._deadlines[other.relay.boot] = 0.0
        one.relay._pulse.wake()
        self.assertEqual(task.result(), Replies({}, (), True))

    def test_one_that_is_gone_before_it_was_asked(self) -> None:
        """One that says goodbye between the look at who is alive and the question is not waited for."""
        one, other = self.two()
        alive = one.relay.nodes.alive()
        other.relay.end(5.0)
        self.settle(one)
        looks = [alive]
        with mock.patch.object(one.relay.nodes, "alive", lambda: looks.pop() if looks else {}):
            self.assertEqual(self.count(one), Replies({}, (), True))

    def test_a_thread_of_the_bus(self) -> None:
        """A thread of the bus asks nobody: it would wait for what only it can bring."""
        one, other = self.two()
        got: list[Any] = []
        one.here.broadcast = lambda *args: got.append(self.count(one)) or 0  # type: ignore[method-assign, func-returns-value]
        other.relay.broadcast("lobby", text("x"))
        self.assertTrue(await_(lambda: bool(got)))
        self.assertEqual(got, [Replies({}, (other.relay.node,), False)])

    def test_a_bus_that_is_lost(self) -> None:
        """While the bus is lost nobody is asked, and all are missing at once: a message is not sent later either."""
        one, other = self.two()
        with self.assertLogs("syncws.relay", "ERROR"):
            one.backplane.cut()
            self.settle(one)
        self.assertEqual(self.count(one), Replies({}, (other.relay.node,), False))
        one.backplane.mend()
        self.settle(one, other)
        self.assertEqual(self.count(one).missing, ())

    def test_a_bus_that_was_never_there(self) -> None:
        """Who has never heard of the others does not say that there are none."""
        with self.assertLogs("syncws.relay", "ERROR"):
            self.bus.cut()
            one = self.process()
            one.join()
            self.settle(one)
        self.assertEqual(self.count(one), Replies({}, (), False))
        with mock.patch.object(type(one.relay._inward), "is_lost", False):  # as before it is noticed
            self.assertEqual(self.count(one, 0.05), Replies({}, (), False))
        self.bus.mend()

    def test_the_first_question_of_a_process(self) -> None:
        """A process that asks at its very start has been told of the others before."""
        other = self.process()
        other.join()
        other.here.connections = 3
        one = self.process()
        with mock.patch.object(questions, "GREETING", 1.5):  # on a machine that has much else to do
            self.assertEqual(self.count(one), Replies({other.relay.node: 3}, (), True))

    def test_a_full_queue(self) -> None:
        """A question for which there is no room is not waited for."""
        self.bus_options = {**self.bus_options, "queue": 2}
        self.setUp()
        one, other = self.two()
        self.bus.freeze()
        for _ in range(3):
            one.relay.broadcast("lobby", text("x"))
        self.assertEqual(self.count(one), Replies({}, (other.relay.node,), False))
        self.bus.thaw()

    def test_too_many_questions(self) -> None:
        """So many may be open; another is not asked."""
        one, other = self.two()
        with mock.patch.object(questions, "MOST_OPEN", 0):
            self.assertEqual(self.count(one).missing, (other.relay.node,))
        self.assertEqual(self.count(one).missing, ())

    def test_a_question_that_comes_twice(self) -> None:
        """What the bus delivers twice is done once: a question may bring a message."""
        one, other = self.two()
        surveys = one.relay.asking()
        assert surveys is not None
        surveys.send("ann", text("hi"), PATIENCE)
        self.settle(one, other)
        one.backplane.twice()
        self.settle(one, other)
        self.assertEqual(other.here.got, [("to", "ann", b"hi")])

    def test_lag(self) -> None:
        """How long an answer took is told with its process, and stays so with its next beat."""
        one, other = self.two()
        self.assertEqual([each.lag for each in one.relay.known_nodes()], [None, None])
        self.count(one)
        other.relay.beat()
        self.settle(one)
        here, there = one.relay.known_nodes()
        self.assertIsNone(here.lag)
        assert there.lag is not None
        self.assertGreater(there.lag, 0)


class LocalAskTests(AskTests):
    """The same on a bus where everything arrives everywhere, and nothing comes back."""

    bus_options = {"addressed": False, "echoes": False, "tells_ends": True}


class AnswerTests(QuestionCase):
    """What comes as an answer is checked."""

    def come(self, process: Process, boot: bytes, extra: Any, body: bytes = b"") -> None:
        data = Envelope(Kind.ANSWER, boot, extra=extra, body=body).encode()
        self.bus.inject(f"n:{process.relay.node}", data)
        self.bus.settle()

    def test_answers_that_nobody_waits_for(self) -> None:
        """One of an unknown question is dropped, whatever its number is; one that comes twice counts once."""
        one, other = self.two()
        for number in (99, -1, "1", None, [1], 2**70):
            self.come(one, other.relay.boot, {"q": number, "n": 1})
        task = self.asked(one, other)
        (number,) = one.relay.questions._open
        for n in (5, 6):
            self.come(one, b"stranger", {"q": number, "n": n})
        other.backplane.release()
        self.assertEqual(task.result().answers[b"stranger".hex()], 5)
        self.assertEqual(one.relay.health().bad, 0)

    def test_one_that_came_since(self) -> None:
        """A process that nobody knew when the question was asked is counted too."""
        one, other = self.two()
        task = self.asked(one, other)
        (number,) = one.relay.questions._open
        self.come(one, b"stranger", {"q": number, "n": 7})
        other.backplane.release()
        self.assertEqual(task.result().answers, {other.relay.node: 0, b"stranger".hex(): 7})

    def test_what_is_no_answer(self) -> None:
        """It is counted and dropped, and its process is missing."""
        one, other = self.two()
        task = self.asked(one, other)
        (number,) = one.relay.questions._open
        for n in (-1, "1", None, True, 1.5, 2**60, [1]):
            before = one.relay.health().bad
            self.come(one, other.relay.boot, {"q": number, "n": n})
            self.assertEqual(one.relay.health().bad, before + 1)
        self.assertFalse(task.done)
        other.backplane.release()
        self.assertEqual(task.result().missing, ())


if __name__ == "__main__":
    unittest.main()
