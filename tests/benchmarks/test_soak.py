"""`python -m benchmarks.soak`: what it watches and how, and that it finds what was planted; its books have a test of
their own.
"""

from __future__ import annotations

import contextlib
import io
import json
import os
import re
import tempfile
import time
import unittest
from pathlib import Path
from typing import Any
from unittest import mock

from benchmarks.soak import __main__ as command
from benchmarks.soak import hostile, node, picture, sites, watch
from benchmarks.soak.catalogue import Catalogue, strange
from benchmarks.soak.faults import EVERY, FAULTS, Diary
from benchmarks.soak.journal import Journal, Listener
from benchmarks.soak.sites import SITES
from tests.partners import heavy
from tests.test_benchmarks import need_packages

PAGE = """
## `syncws.server`

| level | line | what it means | what to do |
|---|---|---|---|
| INFO | `listening on <address>` | it is ready | - |
| WARNING | `all <n> are taken` | full | more |
| ERROR | `<connection>: a defect` | what it says | report it |
| DEBUG | `<connection>: <end>` | over | - |
"""


class CatalogueTests(unittest.TestCase):
    def setUp(self) -> None:
        self.catalogue = Catalogue(PAGE)

    def judge(self, level: str, template: str, logger: str = "syncws.server") -> str:
        return self.catalogue.judge(logger, level, template)

    def test_known(self) -> None:
        """A line of the page may be logged, by its logger and at its level, also when it is repeated."""
        self.assertEqual(self.judge("INFO", "listening on %s"), "")
        self.assertEqual(self.judge("WARNING", "all %d are taken (and %d more like this before, at DEBUG)"), "")
        self.assertEqual(self.judge("DEBUG", "all %d are taken"), "")

    def test_unknown(self) -> None:
        """Another line may not, nor a known one at another level or of another logger."""
        self.assertIn("no page", self.judge("INFO", "listening at %s"))
        self.assertIn("no page", self.judge("INFO", "listening on %s", "syncws.conn"))
        self.assertIn("as INFO", self.judge("ERROR", "listening on %s"))

    def test_what_varies_is_no_wildcard(self) -> None:
        """`<connection>: <end>` is two arguments and a colon, not any text with a colon in it."""
        self.assertIn("no page", self.judge("DEBUG", "%s: something else"))
        self.assertEqual(self.judge("DEBUG", "%s: %s"), "")

    def test_defect(self) -> None:
        """A known line that asks the reader to report it is found."""
        self.assertIn("defect", self.judge("ERROR", "%s: a defect"))

    def test_the_page(self) -> None:
        """docs/logs.md can be read."""
        self.assertGreater(len(Catalogue().lines), 90)

    def test_standard_error(self) -> None:
        """A server process of syncws writes nothing; of gunicorn's, tracebacks are strange that come by syncws."""
        told = "[2026-11-29 01:00:00 +0000] [7] [ERROR] Worker (pid:8) was sent SIGKILL! Perhaps out of memory?\n"
        told += 'Traceback (most recent call last):\n  File "/{}/x.py", line 1\n    accept()\nOSError: no more\n'
        self.assertEqual(strange(told.format("gunicorn"), hosted=True), [])
        self.assertEqual(len(strange(told.format("site-packages/syncws/_net"), hosted=True)), 4)
        self.assertEqual(len(strange(told.format("gunicorn"))), 5)
        self.assertEqual(strange(""), [])


class WatchTests(unittest.TestCase):
    def sample(self, at: float, rss: float) -> watch.Sample:
        return watch.Sample(at, rss, 1, 1, 1, 1.0, 1.0)

    def test_level(self) -> None:
        """The last quarter is compared with the second; the first, in which all is set up, does not count."""
        series = watch.Series()
        self.assertIsNone(series.level())
        for number in range(40):
            series.add(self.sample(number, 10 if number < 10 else 40))
        self.assertEqual(series.level(), 0)
        for number in range(40, 80):
            series.add(self.sample(number, 50 if number >= 60 else 40))
        self.assertAlmostEqual(series.level() or 0, 0.25)

    def test_bounded(self) -> None:
        """However long a run is, so many samples are kept, evenly spread."""
        series = watch.Series()
        for number in range(20 * watch.MOST):
            series.add(self.sample(number, 1))
        self.assertLessEqual(len(series.samples), watch.MOST)
        steps = {later.at - each.at for each, later in zip(series.samples[:-1], series.samples[1:], strict=True)}
        self.assertLessEqual(len(steps), 2)

    def test_look(self) -> None:
        """A process is looked at; None of one that is gone."""
        before = watch.look(os.getpid())
        assert before is not None
        with tempfile.TemporaryFile():
            after = watch.look(os.getpid())
        assert after is not None
        self.assertEqual(after.descriptors, before.descriptors + 1)
        self.assertGreater(after.rss, 1)
        self.assertIsNone(watch.look(1 << 30))

    def test_percentile(self) -> None:
        """The value below which that part lies."""
        self.assertEqual([watch.percentile([5, 1, 3, 2, 4], part) for part in (0, 0.5, 0.99)], [1, 3, 5])
        self.assertEqual((watch.percentile([], 0.5), watch.middle([])), (0, 0))

    def test_picture(self) -> None:
        """Samples are drawn, a row for each site."""
        need_packages("matplotlib")
        samples = [{**vars(self.sample(number, 40)), "p99": number + 1.0} for number in range(5)]
        with tempfile.TemporaryDirectory() as folder:
            path = Path(folder, "soak.svg")
            picture.draw({"plain": samples, "redis": samples}, "a minute", path)
            drawn = path.read_text()
        for part in ("plain: memory", "redis: connections", "a minute"):
            self.assertIn(part, drawn)


class JournalTests(unittest.TestCase):
    def test_what_was_written_is_heard(self) -> None:
        """What processes write is heard in order; a line that is too long is cut, and no other is mixed up with it."""
        heard: list[dict[str, Any]] = []
        with tempfile.TemporaryDirectory() as folder:
            listener = Listener(f"{folder}/journal", heard.append)
            journal = Journal(listener.path)
            journal.write("first", value=1)
            journal.write("long", text="x" * 10_000)
            journal.write("last")
            listener.close()
            journal.close()
        self.assertEqual([each["event"] for each in heard], ["first", "long", "last"])
        self.assertEqual((heard[0]["value"], heard[0]["pid"]), (1, os.getpid()))
        self.assertIn("cut", heard[1])

    def test_diary(self) -> None:
        """The diary says which faults were on between two instants, those of one site only."""
        diary = Diary()
        with diary.during("plain: stop"):
            now = time.monotonic()
        with diary.during("tls: clock"):
            self.assertIn("clock", diary.between(now, float("inf"), "tls"))
        self.assertIn("plain: stop", diary.between(now - 1, now, "plain"))
        self.assertEqual(diary.between(now + 100, now + 200), "")


class TablesTests(unittest.TestCase):
    def test_faults(self) -> None:
        """Each site has faults, all of which there are; and each fault is of some site."""
        self.assertEqual(FAULTS.keys(), SITES.keys())
        self.assertEqual({name for names in FAULTS.values() for name in names}, set(EVERY))

    def test_attacks(self) -> None:
        """Each attack has a name of its own, and sends something."""
        picker = mock.Mock(**{"choice.side_effect": lambda of: of[0], "randbytes.side_effect": bytes})
        picker.randrange.return_value = 3
        self.assertEqual(len({each.name for each in hostile.ATTACKS}), len(hostile.ATTACKS))
        for each in hostile.ATTACKS:
            with self.subTest(each.name):
                self.assertTrue(each.make(picker))

    def test_answers(self) -> None:
        """An attack is answered as it should be, or not at all where something else ends it; silence is wrong."""
        attack = next(each for each in hostile.ATTACKS if each.name == "bomb")
        for answer, right in (("1009", True), ("cut", True), ("HTTP 503", True), ("1000", False), ("silence", False)):
            with self.subTest(answer):
                self.assertEqual(hostile.is_right(attack, answer), right)

    def test_close_codes(self) -> None:
        """The code of a close is found behind frames of any length."""
        for size in (0, 125, 126, 70_000):
            with self.subTest(size=size):
                data = hostile.frame(2, bytes(size), masked=False) + hostile.frame(8, b"\x03\xea", masked=False)
                self.assertEqual(hostile._close_code(data), "1002")
        self.assertEqual(hostile._close_code(hostile.frame(1, b"x", masked=False)), "")


class IdTests(unittest.TestCase):
    def test_they_come_again(self) -> None:
        """Ids come again after a while, each for connections of one kind at one site; who has no name has its own."""
        self.assertEqual(node.id_of("redis/talker7"), "redis/talker7")
        self.assertEqual(node.id_of(f"redis/talker{7 + node.IDS}"), "redis/talker7")
        self.assertEqual(node.id_of("strange"), "strange0")
        self.assertIsNone(node.id_of(""))


class CommandTests(unittest.TestCase):
    def test_times(self) -> None:
        """Minutes and hours are added; two minutes by default."""
        self.assertEqual(command.parse([]).seconds, 120)
        self.assertEqual(command.parse(["--minutes", "2"]).seconds, 120)
        self.assertEqual(command.parse(["--hours", "24", "--minutes", "1"]).seconds, 24 * 3600 + 60)

    def test_names(self) -> None:
        """Sites and faults are chosen by name; an unknown one is told."""
        options = command.parse(["--sites", "plain,redis", "--only", "stop"])
        self.assertEqual((options.sites, options.only), (["plain", "redis"], ["stop"]))
        with contextlib.redirect_stderr(io.StringIO()) as errors, self.assertRaises(SystemExit):
            command.parse(["--sites", "moon"])
        self.assertIn("no moon; there are plain", errors.getvalue())

    def test_a_part_is_missing(self) -> None:
        """Where a part is not installed, one line says which, and nothing is started."""
        with (
            mock.patch.object(sites.shutil, "which", return_value=None),
            contextlib.redirect_stderr(io.StringIO()) as errors,
        ):
            self.assertEqual(command.main(["--sites", "redis"]), 1)
        self.assertRegex(errors.getvalue(), r"^python -m benchmarks\.soak: redis.* not installed.*\n$")


@heavy
class RunTests(unittest.TestCase):
    """A real run, of some seconds, against one server. `.ci/run soak` has longer ones."""

    def test_what_was_planted_is_found(self) -> None:
        """A message that is dropped, one that is told twice, a descriptor and a thread that are left, and a line."""
        need_packages("psutil")
        planted = ["--planted", "drop,copy,descriptor,thread,line", "--patience", "2"]
        with tempfile.TemporaryDirectory() as folder, contextlib.redirect_stdout(io.StringIO()) as out:
            path = Path(folder, "soak.json")
            given = ["--minutes", "0.05", "--sites", "plain", "--no-faults", "--json", str(path), *planted]
            self.assertEqual(command.main(given), 1)
            found = "\n".join(json.loads(path.read_text())["findings"])
        self.assertRegex(out.getvalue().splitlines()[-1], r"^FAILED: \d+ s")
        for kind in (
            r"^lost: plain: .* lacks ",
            r"^copy: plain: ",
            r"\d+ descriptors, ",
            r"\d+ threads, ",
            "no page has",
        ):
            with self.subTest(kind):
                self.assertTrue(re.search(kind, found, re.MULTILINE), found)
