"""The result: what people read, what programs read, and what is said about the generator itself."""

from __future__ import annotations

import json
import re
import unittest
from collections import Counter
from pathlib import Path
from typing import Any

from syncws._cli.bench.report import _time, as_json, as_text
from syncws._cli.bench.tally import Busy, Tally

from .cases import plan

URL = "ws://ann:secret@example.com/echo?secret"


def measured(**more: Any) -> Tally:
    tally = Tally(opened=1, opening_seconds=0.5, seconds=2.0, sent=21, received=20, bytes_sent=2_000_000, **more)
    tally.busy = tally.busy or [Busy(0.5, 0.5)]
    for milliseconds in range(1, 21):
        tally.latency.add(milliseconds * 1_000_000)
    return tally


class TextTests(unittest.TestCase):
    def test_figures(self) -> None:
        """What was loaded, how, and what came of it; no secret of the URL."""
        text = as_text(plan(URL), measured(), False)
        for line in (
            "1 connection, 1 in flight on each, 32 bytes, TEXT, at ws://example.com/echo",
            "messages     10 /s: 20 received in 2.0 s",
            "bytes        1.0 MB/s sent, 0.0 MB/s received",
            "latency      p50 10.0 ms   p90 18.0 ms   p99 20.0 ms   p99.9 20.0 ms   max 20.0 ms",
            "generator    busy 50% of a core",
        ):
            self.assertIn(line, text)
        self.assertNotIn("secret", text)

    def test_shapes(self) -> None:
        """Each kind of load is named."""
        for says, changes in [
            ("5 connections, 3 in flight on each, 1 to 2,000 bytes, BINARY", {"connections": 5, "inflight": 3}),
            ("5 connections, 1,000 messages/s of 1 to 2,000 bytes, BINARY", {"connections": 5, "rate": 1000.0}),
            ("1 connection, receiving only", {"receive_only": True}),
            ("5 connections, 1 in flight on each, 1 to 2,000 bytes, BINARY, 2 p", {"connections": 5, "processes": 2}),
        ]:
            self.assertIn(says, as_text(plan(sizes=(1, 2000), binary=True, **changes), measured(), False))

    def test_its_own_limit(self) -> None:
        """A generator that is busy says so, and one that had no core of its own; else neither."""
        for says, busy in [
            ("This generator was busy 97% of a core: the server may be able to do more.", Busy(0.97, 0.02)),
            ("This generator got 30% of a core and was kept waiting", Busy(0.3, 0.1)),
        ]:
            text = as_text(plan(), measured(busy=[Busy(0.1, 0.9), busy]), False)
            self.assertIn(says, text)
        self.assertNotIn("This generator", as_text(plan(), measured(), False))

    def test_flaws(self) -> None:
        """What went wrong, by kind; what a server wrote is one line."""
        tally = measured(
            failures=Counter({"Connection refused": 2}),
            closes=Counter({1001: 1200}),
            errors=Counter({"a\nb": 1}),
            unlike=3,
            unasked=4,
            unanswered=5,
        )
        text = as_text(plan(), tally, True)
        for says in (
            "interrupted after 2.0 s",
            "not opened   2: Connection refused",
            "closed       1,200 with 1001",
            "broken       1: a\\nb",
            "3 answers were not what was sent: is this an echo?",
            "4 messages came unasked; they are not counted.",
            "5 messages were never answered.",
        ):
            self.assertIn(says, text)

    def test_late(self) -> None:
        """A rate that was not kept is said."""
        tally = measured()
        for _ in range(100):
            tally.late.add(20_000_000)
        self.assertIn("was sent more than 20.0 ms late", as_text(plan(rate=5.0), tally, False))

    def test_times(self) -> None:
        """Three digits, in the unit that fits."""
        for seconds, said in [
            (0.0, "0.00 µs"),
            (1.234e-6, "1.23 µs"),
            (45.6e-6, "45.6 µs"),
            (0.000999, "999 µs"),
            (0.0123, "12.3 ms"),
            (0.5, "500 ms"),
            (2.5, "2.50 s"),
            (120.0, "120 s"),
        ]:
            self.assertEqual(_time(seconds), said)


class JSONTests(unittest.TestCase):
    def test_fields(self) -> None:
        """The fields that the page describes, in units of seconds and bytes; no secret of the URL."""
        found = as_json(plan(URL), measured(closes=Counter({1001: 2})), False)
        self.assertEqual(json.loads(json.dumps(found)), found)
        self.assertNotIn("secret", json.dumps(found))
        self.assertEqual((found["format"], found["url"], found["loop"]), (1, "ws://example.com/echo", "closed"))
        self.assertEqual(found["connections"]["closes"], {"1001": 2})
        self.assertEqual(found["messages"]["per_second"], 10.0)
        self.assertEqual(found["latency"]["count"], 20)
        self.assertAlmostEqual(found["latency"]["p50"], 0.01, delta=0.00001)
        self.assertEqual(found["latency"]["max"], 0.02)
        self.assertEqual(found["generator"], {"processes": [{"cpu": 0.5, "waiting": 0.5}], "limit": None})

    def test_the_page(self) -> None:
        """The page describes every field."""
        page = (Path(__file__).resolve().parents[3] / "docs" / "bench.md").read_text()
        described = set(re.findall(r"`([\w.]+)`", page))
        for name, value in as_json(plan(), measured(), False).items():
            if not (isinstance(value, dict) and name not in described):
                self.assertIn(name, described)
                continue
            for each in value:
                self.assertIn(f"{name}.{each}", described)
        self.assertLessEqual(as_json(plan(), measured(), False)["latency"].keys(), described)

    def test_loops(self) -> None:
        """A loop has what belongs to it."""
        for changes, expected in [
            ({}, ("closed", None, 1)),
            ({"rate": 5.0}, ("open", 5.0, None)),
            ({"receive_only": True}, ("none", None, None)),
        ]:
            found = as_json(plan(**changes), Tally(), False)  # type: ignore[arg-type]
            self.assertEqual((found["loop"], found["rate"], found["inflight"]), expected)


if __name__ == "__main__":
    unittest.main()
