"""A client of the soak: what it makes of what its server says, and what it tells the books."""

from __future__ import annotations

import json
import time
import unittest
from types import SimpleNamespace
from typing import Any
from unittest import mock

from benchmarks.soak.crowd import SCALES, Crowd, Talk
from benchmarks.soak.ledger import Books


class TalkTests(unittest.TestCase):
    """A conversation with a server that says what a test wants."""

    def setUp(self) -> None:
        site = SimpleNamespace(name="site", context=None, rooms=["a"], urls=["ws://localhost/"])
        self.books = Books("site")
        self.crowd = Crowd(site, self.books, 1, SCALES["small"])  # type: ignore[arg-type]
        self.conn = mock.Mock()
        self.numbers: dict[str, int] = {}

    def talk(self, name: str = "r", room: str = "a", *, drops: bool = False) -> Talk:
        return Talk(self.crowd, name, room, drops=drops)

    def hear(self, talk: Talk, kind: str, **more: Any) -> None:
        """The server says that; what is for one connection alone has its next number."""
        if kind != "m":
            more["d"] = self.numbers[talk.name] = self.numbers.get(talk.name, 0) + 1
        talk.take(json.dumps({"t": kind, **more}))

    def welcome(self, talk: Talk, **more: Any) -> None:
        told = {"at": time.monotonic() - 1, "pid": 7, "node": "n", "recovered": None, "position": ""}
        self.hear(talk, "w", **told | more)

    def found(self) -> list[str]:
        self.books.settle()
        return [each.kind for each in self.books.findings]

    def test_all_is_well(self) -> None:
        """What is sent is acknowledged, and comes back as a message of the room."""
        talk = self.talk()
        self.welcome(talk)
        talk.say(self.conn, 10)
        began = time.monotonic()
        self.hear(talk, "m", s="r", n=1, b=began)
        self.hear(talk, "a", n=1, b=began, r=1)
        self.assertEqual(self.found(), [])
        self.assertEqual((self.books.totals["got"], talk.process), (1, "site:7"))
        self.assertEqual(len(self.crowd.take_latency()), 1)

    def test_before_the_welcome(self) -> None:
        """A message may come before the welcome, and counts."""
        sender, receiver = self.talk("s"), self.talk("r")
        self.welcome(sender)
        sender.say(self.conn, 10)
        self.hear(receiver, "m", s="s", n=1, b=time.monotonic())
        self.welcome(receiver)
        self.assertEqual(self.books.totals["received"], 1)
        self.hear(receiver, "m", s="s", n=1, b=time.monotonic())
        self.assertIn("copy", self.found())

    def test_it_waits_for_answers(self) -> None:
        """A conversation is quiet once all is acknowledged and the server was asked twice since all are silent."""
        talk = self.talk()
        self.welcome(talk)
        talk.say(self.conn, 10)
        self.crowd.pause()
        for number in (1, 2):
            talk.ask(self.conn)
            self.hear(talk, "k", i=number, sent=0.0, **{"in": 1 + number, "out": 1 + number, "dropped": 0})
            self.assertFalse(talk.quiet)
        self.hear(talk, "a", n=1, b=time.monotonic(), r=1)
        for number in (3, 4):
            self.assertFalse(talk.quiet)
            talk.ask(self.conn)
            self.hear(talk, "k", i=number, sent=0.0, **{"in": 1 + number, "out": 2 + number, "dropped": 0})
        self.assertTrue(talk.quiet)
        self.assertEqual(talk.sums, ((5, 6), (5, 5)))

    def test_who_comes_back(self) -> None:
        """One that was sent all it missed takes the place of the one before; else it begins anew."""
        for recovered, counted in ((True, "recovered"), (False, "not recovered")):
            with self.subTest(recovered=recovered):
                before, after = self.talk(f"before{recovered}"), self.talk(f"after{recovered}")
                self.welcome(before, position="3")
                before.end()
                after.continues = before.name
                self.welcome(after, recovered=recovered)
                self.assertEqual(before.name in self.books.receivers, not recovered)
                self.assertEqual(self.crowd.counts[counted], 1)

    def test_position(self) -> None:
        """The position of the last message is what it will come back with."""
        talk = self.talk()
        self.welcome(talk, position="3")
        self.assertEqual(talk.position, "3")
        self.hear(talk, "m", s="x", n=1, b=0.0, position="4")
        self.hear(talk, "m", s="x", n=2, b=0.0)
        self.assertEqual(talk.position, "4")

    def test_a_queue_that_drops(self) -> None:
        """Acknowledgements may be dropped, too: the answer to a mark stands for those before it."""
        talk = self.talk(drops=True)
        self.welcome(talk)
        talk.say(self.conn, 10)
        talk.say(self.conn, 10)
        self.numbers["r"] += 2
        self.crowd.pause()
        for number in (1, 2):
            talk.ask(self.conn)
            self.hear(talk, "k", i=number, sent=time.monotonic(), **{"in": 3, "out": 2, "dropped": 2})
        self.assertTrue(talk.quiet)
        self.assertEqual(self.found(), [])
        self.assertEqual((self.books.totals["dropped direct"], self.books.totals["acknowledged"]), (2, 2))
