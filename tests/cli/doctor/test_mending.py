"""The table of mending lines: its programs are known, and every topic is used."""

from __future__ import annotations

import unittest
from pathlib import Path

import syncws
from syncws._cli.doctor.mending import FRONTS, NAMES, mending, topics

FOLDER = Path(syncws.__file__).parent / "_cli" / "doctor"


class MendingTests(unittest.TestCase):
    def test_programs(self) -> None:
        """Each line is of a program that the report can name."""
        for topic, lines in topics().items():
            with self.subTest(topic):
                self.assertLessEqual(lines.keys(), NAMES.keys())
                self.assertTrue(all(lines.values()))

    def test_every_topic_is_used(self) -> None:
        """A topic that no check names mends nothing."""
        code = "".join(path.read_text() for path in FOLDER.glob("*.py") if path.name != "mending.py")
        self.assertEqual([topic for topic in topics() if f'"{topic}"' not in code], [])

    def test_every_front_is_helped(self) -> None:
        """What is most often wrong has a line for every program in front."""
        for topic in ("upgrade", "idle"):
            self.assertLessEqual(FRONTS.keys(), topics()[topic].keys())

    def test_several_topics(self) -> None:
        """Their lines are put together, a program once; and a line that both have is there once."""
        (first, *_) = mending("upgrade", "http-version")
        self.assertEqual(first[0], "nginx")
        self.assertTrue(first[1].endswith('Connection "upgrade";'))
        self.assertEqual(first[1].count("proxy_http_version 1.1;"), 1)
        (first, *_) = mending("host", "forwarded")
        self.assertGreater(first[1].count("\n"), 1)
        self.assertEqual(mending(), ())


if __name__ == "__main__":
    unittest.main()
