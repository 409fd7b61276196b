"""What can be asked, and what is answered."""

from __future__ import annotations

import json
import unittest
from collections.abc import Hashable
from typing import Any

from syncws import PreparedMessage
from syncws._relay.envelope import Envelope, Kind
from syncws._relay.surveys import Listed, Surveys
from syncws.errors import BINARY
from syncws.testing import await_
from tests.tasks import PATIENCE, Task

from .support import Process, RelayCase

THEIRS = b"theirs!!"


class SurveyCase(RelayCase):
    def setUp(self) -> None:
        super().setUp()
        self.one, self.other = self.two()
        surveys = self.one.relay.asking()
        assert surveys is not None
        self.surveys: Surveys = surveys

    def only(self, replies: Any) -> Any:
        """The answer of the one other process."""
        self.assertEqual((replies.missing, replies.complete), ((), True))
        ((node, answer),) = replies.answers.items()
        self.assertEqual(node, self.other.relay.node)
        return answer


class SurveyTests(SurveyCase):
    def test_count(self) -> None:
        """How many there are in a room: the process is asked for that room, and None is all."""
        rooms: list[Hashable] = []
        self.other.here.count = lambda room: rooms.append(room) or 7  # type: ignore[method-assign, func-returns-value]
        for room in (None, "lobby", ("a", 1)):
            self.assertEqual(self.only(self.surveys.count(room, PATIENCE)), 7)
        asked = [room for room in rooms if room is not None]  # None: of beats too
        self.assertEqual(asked, ["lobby", ("a", 1)])

    def test_ids_and_members(self) -> None:
        """Who is there, as they are known; as many as were asked for, and whether there are more."""
        self.other.here.named = {1, "1", ("a", 2)}
        listed = self.only(self.surveys.ids("lobby", 10, PATIENCE))
        self.assertEqual((set(listed.items), listed.truncated), ({1, "1", ("a", 2)}, False))
        listed = self.only(self.surveys.members("lobby", 10, PATIENCE))
        self.assertEqual(set(listed.items), {(1, 2.0, 1.0), ("1", 2.0, 1.0), (("a", 2), 2.0, 1.0)})
        self.assertEqual(len(self.only(self.surveys.ids(None, 3, PATIENCE)).items), 3)
        for ask in (self.surveys.ids, self.surveys.members):
            listed = self.only(ask(None, 2, PATIENCE))
            self.assertEqual((len(listed.items), listed.truncated), (2, True))

    def test_send(self) -> None:
        """A message arrives as it was sent, and the answer is how many took it."""
        self.assertEqual(self.only(self.surveys.send("ann", PreparedMessage(BINARY, b"\xff"), PATIENCE)), 1)
        self.assertEqual(self.other.here.got, [("to", "ann", b"\xff")])

    def test_close(self) -> None:
        """A close is done by a thread that may wait, and answered when it is over."""
        self.other.here.named = {"ann"}
        self.assertEqual(self.only(self.surveys.close("ann", 4000, "away", PATIENCE)), 1)
        self.assertEqual(self.only(self.surveys.close("bob", 4000, "away", PATIENCE)), 0)
        self.assertEqual(self.other.here.got, [("close", "ann", 4000, "away")])

    def test_a_close_and_one_who_comes_meanwhile(self) -> None:
        """Who registers while a close waits its turn is not closed by it."""
        gate = self._blocked(self.other)
        task = Task(self.surveys.close, "ann", 4000, "", PATIENCE)
        self.assertTrue(await_(lambda: self.other.relay.nodes.alive() and self.other.relay.deeds._waiting))
        self.other.here.named = {"ann"}
        gate()
        self.assertEqual(self.only(task.result()), 0)

    def _blocked(self, process: Process) -> Any:
        import threading

        gate = threading.Event()
        process.relay.deeds.run(lambda: gate.wait(PATIENCE))
        return gate.set


class LocalSurveyTests(SurveyTests):
    """The same on a bus where everything arrives everywhere, and nothing comes back."""

    bus_options = {"addressed": False, "echoes": False, "tells_ends": True}


class SmallTests(SurveyCase):
    bus_options = {"max_message": 1000}

    def test_an_answer_that_is_too_large(self) -> None:
        """What one message cannot hold is truncated, and says so."""
        self.other.here.named = {f"user {number:06}" for number in range(500)}
        for ask in (self.surveys.ids, self.surveys.members):
            listed = self.only(ask(None, 1000, PATIENCE))
            self.assertTrue(listed.truncated)
            self.assertGreater(len(listed.items), 10)

    def test_a_question_that_is_too_large(self) -> None:
        """It is the caller's error, and nobody waits for an answer."""
        with self.assertRaisesRegex(ValueError, "max_message is 1,000"):
            self.surveys.send("ann", PreparedMessage(BINARY, bytes(1000)), PATIENCE)
        self.assertEqual(self.one.relay.questions._open, {})


class JunkTests(SurveyCase):
    def test_what_is_no_question(self) -> None:
        """It is counted, answered by nobody, and does nothing."""
        self.other.here.named = {"ann"}
        cases: list[Any] = [
            None,
            {},
            {"q": 1},
            {"q": 1, "ask": "eval"},
            {"q": "1", "ask": "count", "room": None},
            {"q": True, "ask": "count", "room": None},
            {"q": 1, "ask": "count"},
            {"q": 1, "ask": "count", "room": 1},
            {"q": 1, "ask": "count", "room": "not JSON"},
            {"q": 1, "ask": "ids", "room": None},
            {"q": 1, "ask": "ids", "room": None, "limit": "1"},
            {"q": 1, "ask": "send", "id": 1},
            {"q": 1, "ask": "close", "id": '"ann"', "code": "1000", "reason": ""},
            {"q": 1, "ask": "claim", "id": '"ann"', "at": "now"},
            {"q": 1, "ask": "claim", "id": '"ann"', "at": -1},
            {"q": 1, "ask": "claim", "id": '"ann"', "at": float("nan")},
        ]
        for extra in cases:
            before = self.other.relay.health().bad
            with self.subTest(extra):
                self.bus.inject("*", Envelope(Kind.ASK, THEIRS, extra=extra).encode())
                self.settle(self.one, self.other)
                self.assertEqual(self.other.relay.health().bad, before + 1)
        self.assertEqual(self.other.here.got, [])

    def test_lists_that_are_none(self) -> None:
        """An answer whose list is none, or has something in it that is none, is dropped."""
        self.other.backplane.hold()
        for ask, bodies in (
            (self.surveys.ids, (b"", b"{}", b"[1]", b'["x"]', b"[null]", b"[" * 100_000)),
            (self.surveys.members, (b"[[]]", b'[["\\"a\\"", 1]]', b'[["\\"a\\"", 1, -1]]', b'[["\\"a\\"", true, 1]]')),
        ):
            for body in bodies:
                before = self.one.relay.health().bad
                task = Task(ask, None, 10, 1.0)
                self.assertTrue(await_(lambda: bool(self.one.relay.questions._open)))
                (number,) = self.one.relay.questions._open
                data = Envelope(Kind.ANSWER, self.other.relay.boot, extra={"q": number, "more": False}, body=body)
                self.bus.inject(f"n:{self.one.relay.node}", data.encode())
                self.assertEqual(task.result().answers, {})
                with self.subTest(body[:20]):
                    self.assertEqual(self.one.relay.health().bad, before + 1)

    def test_a_limit_that_is_none(self) -> None:
        """A limit below 0 is answered with nothing, and one that nobody could hold with what there is."""
        self.other.here.named = {"ann"}
        for limit, items in ((-5, []), (2**60, ["ann"])):
            self.assertEqual(self._told(limit), Listed(items, not items))

    def _told(self, limit: int) -> Listed:
        said: list[Any] = []
        self.other.relay.outward.say = lambda *args, **kw: said.append((args, kw)) or True  # type: ignore[method-assign, func-returns-value]
        question = Envelope(Kind.ASK, THEIRS, extra={"q": 1, "ask": "ids", "room": None, "limit": limit})
        self.other.relay.surveys.answer(question)
        ((_, _, extra), rest) = said[-1]
        return Listed([json.loads(each) for each in json.loads(rest["body"])], extra["more"])


if __name__ == "__main__":
    unittest.main()
