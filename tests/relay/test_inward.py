"""The way in: what comes is checked against the channel that it came on."""

from __future__ import annotations

import time
import unittest
from typing import Any
from unittest import mock

from syncws._base.advice import advisor
from syncws._relay.envelope import Envelope, Kind
from syncws._relay.pulse import SOON
from syncws.testing import await_

from .support import RelayCase

THEIRS = b"theirs!!"


class InwardTests(RelayCase):
    def setUp(self) -> None:
        super().setUp()
        self.process_ = self.process()
        self.process_.join("lobby", id="ann")
        self.bus.settle()

    def come(self, channel: str, **envelope: Any) -> None:
        kind = envelope.pop("kind")
        self.bus.inject(channel, Envelope(kind, THEIRS, **envelope).encode())
        self.settle(self.process_)

    def bad(self) -> int:
        return self.process_.relay.health().bad

    def test_a_program_that_counts_nothing(self) -> None:
        """A message without a number is delivered: a shell script has none, and nothing can be said of its losses."""
        for _ in range(2):
            self.come('r:"lobby"', kind=Kind.ROOM, target='"lobby"', body=b"hi")
        self.assertEqual(self.process_.texts, ["hi", "hi"])

    def test_extra_that_is_wrong(self) -> None:
        """What is well formed and makes no sense is counted, and does nothing."""
        cases: list[tuple[str, dict[str, Any]]] = [
            ('r:"lobby"', {"kind": Kind.ROOM, "target": '"other"'}),
            ("*", {"kind": Kind.ALL, "extra": {"exclude": "ann"}}),
            ("*", {"kind": Kind.ALL, "extra": {"exclude": [1]}}),
            ("*", {"kind": Kind.ALL, "extra": {"exclude": ["nonsense"]}}),
            ("*", {"kind": Kind.BEAT, "extra": None}),
            ("*", {"kind": Kind.BEAT, "extra": {"host": 1}}),
            ('i:"ann"', {"kind": Kind.DO, "target": '"ann"', "extra": {"do": "eval"}}),
            ('i:"ann"', {"kind": Kind.DO, "target": '"ann"', "extra": {"do": "join", "room": 1}}),
            ('i:"ann"', {"kind": Kind.DO, "target": '"ann"', "extra": {"do": "close", "code": "1000", "reason": ""}}),
            ("*", {"kind": Kind.LOST, "number": 3, "extra": {"first": 9, "age": 1}}),
            ('r:"lobby"', {"kind": Kind.LOST, "number": 4, "extra": None}),
        ]
        for channel, envelope in cases:
            before = self.bad()
            with self.subTest(envelope):
                self.come(channel, **envelope)
                self.assertEqual(self.bad(), before + 1)
        self.assertEqual(self.process_.here.got, [])

    def test_members_that_raise(self) -> None:
        """A defect where members get a message is logged once, counted, and ends no thread of the bus."""
        with mock.patch.object(self.process_.here, "broadcast", side_effect=RuntimeError("defect")):
            with self.assertLogs("syncws.relay", "ERROR") as log:
                self.come("*", kind=Kind.ALL, body=b"hi")
        self.assertIn("taking it raised", log.output[0])
        self.assertEqual(self.bad(), 1)
        self.come("*", kind=Kind.ALL, body=b"hi")
        self.assertEqual(self.process_.texts, ["hi"])

    def test_more_than_can_be_done(self) -> None:
        """Closes and moves that find no place any more are dropped, and an operator is told."""
        advisor.begin_anew()
        self.process_.here.find = lambda id: [id]  # type: ignore[method-assign, assignment]
        with mock.patch.object(self.process_.relay.deeds, "run", return_value=False):
            with self.assertLogs("syncws.relay", "WARNING") as log:
                extra = {"do": "close", "code": 1000, "reason": ""}
                self.come('i:"ann"', kind=Kind.DO, target='"ann"', extra=extra)
        self.assertIn("than on_close lets end", log.output[0])

    def test_a_close_that_may_not_be_sent(self) -> None:
        """A code that RFC 6455 reserves ends in a line of the log where it was to be done, and in nothing else."""
        with self.assertLogs("syncws.relay", "ERROR"):
            self.process_.here.close = self.refuse  # type: ignore[method-assign]
            self.come('i:"ann"', kind=Kind.DO, target='"ann"', extra={"do": "close", "code": 1006, "reason": ""})

    def refuse(self, id: Any, code: int, reason: str) -> int:
        raise ValueError(code)

    def test_all_was_lost(self) -> None:
        """Who has listened for longer than the sender sends has missed all of it; for others nobody knows."""
        self.come("*", kind=Kind.LOST, number=5, extra={"first": 2, "age": 0})
        self.assertTrue(await_(lambda: self.process_.missed == 4))
        self.come('r:"lobby"', kind=Kind.LOST, number=5, extra={"first": 2, "age": 1e9})
        self.assertEqual([gap.missed for gap in self.process_.gaps], [4, None])

    def test_lost_before_the_first_that_came(self) -> None:
        """What was lost before the first message that is heard of a sender is told when its mark comes, once."""
        self.come('r:"lobby"', kind=Kind.ROOM, number=3, target='"lobby"', body=b"third")
        for _ in range(2):
            self.come('r:"lobby"', kind=Kind.LOST, number=2, extra={"first": 1, "age": 0, "lost": 0})
        self.assertEqual(([gap.missed for gap in self.process_.gaps], self.process_.texts), ([2], ["third"]))

    def test_lost_before_anybody_listened(self) -> None:
        """That is no loss to whoever listens since then; where the sender is older than that, nobody knows."""
        self.come('r:"lobby"', kind=Kind.ROOM, number=3, target='"lobby"', body=b"third")
        self.come('r:"lobby"', kind=Kind.LOST, number=2, extra={"first": 1, "age": 1e9, "lost": 1e8})
        self.come("*", kind=Kind.LOST, number=2, extra={"first": 1, "age": 1e9, "lost": 1e8})
        self.assertEqual(self.process_.gaps, [])
        self.come('i:"ann"', kind=Kind.ID, number=3, target='"ann"', body=b"third")
        self.come('i:"ann"', kind=Kind.LOST, number=2, extra={"first": 1, "age": 1e9, "lost": 0})
        self.assertEqual([gap.missed for gap in self.process_.gaps], [None])

    def test_a_mark_that_is_far_too_high(self) -> None:
        """A forged one is a gap of unknown size, and what its process sends from then on comes as before."""
        self.come("*", kind=Kind.ALL, number=1, body=b"one")
        self.come("*", kind=Kind.BEAT, number=2**64 - 1, extra={"host": "h", "pid": 1, "connections": 0, "rooms": 0})
        self.come("*", kind=Kind.ALL, number=2, body=b"two")
        self.come("*", kind=Kind.ALL, number=3, body=b"three")
        self.assertEqual(self.process_.texts, ["one", "two", "three"])
        self.assertEqual([gap.missed for gap in self.process_.gaps], [None, None])

    def test_history_that_raises(self) -> None:
        """What `History.rooms` raises while what was not sent is told does not end the thread of the bus."""
        with (
            mock.patch.object(self.process_.here, "remembers", side_effect=ZeroDivisionError),
            self.assertLogs("syncws.relay", "ERROR"),
        ):
            self.process_.relay._inward.dropped({'r:"lobby"': 1})

    def test_many_that_are_new(self) -> None:
        """The first is told of this process at once, all that come in the same moment by one beat."""
        relay = self.process_.relay
        said = {"host": "h", "pid": 1, "connections": 0, "rooms": 0, "new": True}
        self.assertTrue(await_(lambda: time.monotonic() > relay._greeted_at + SOON))
        with mock.patch.object(relay, "beat") as beat:
            for number in range(100):
                boot = b"theirs%02d" % number
                self.bus.inject("*", Envelope(Kind.BEAT, boot, extra=said).encode())
            self.bus.settle()
            self.assertGreaterEqual(beat.call_count, 1)
            self.assertTrue(await_(lambda: beat.call_count > 1 and not relay._owes_greeting))
            self.assertLess(beat.call_count, 50)

    def test_vanished_by_a_name_that_is_none(self) -> None:
        """A backplane that invents names does no harm."""
        sink = self.process_.relay._inward
        sink.vanished("nobody")
        sink.vanished("00" * 8)
        self.assertEqual(self.process_.gaps, [])


if __name__ == "__main__":
    unittest.main()
