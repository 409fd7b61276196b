"""`python -m benchmarks.takeover`: the feed, its options, its table, and what it finds wrong."""

from __future__ import annotations

import argparse
import contextlib
import io
import subprocess
import sys
import tempfile
import unittest
import zlib
from pathlib import Path
from unittest import mock

import syncws
from benchmarks import feed, report, run, takeover
from benchmarks.job import LoadError
from benchmarks.takeover_servers import RUN, Settings
from benchmarks.turns import Figures
from syncws.testing import LeakChecks, running
from tests.partners import heavy
from tests.test_benchmarks import PACKAGES, need_packages

ROOT = Path(__file__).resolve().parent.parent.parent


class FeedTests(unittest.TestCase):
    """The messages of the feed."""

    def test_the_same_each_time(self) -> None:
        """They are of about the size that is asked for, differ from each other, and are the same in each run."""
        for size in feed.SIZES:
            messages = [*feed.messages(size, 20)]
            self.assertEqual(messages, [*feed.messages(size, 20)])
            self.assertEqual(len(set(messages)), 20)
            for message in messages:
                self.assertLess(abs(len(message) - size), size / 10)

    def test_what_takeover_gives(self) -> None:
        """Small ones shrink at least five times where each may refer to those before, and hardly alone."""
        messages = [message.encode() for message in feed.messages(200, 300)]
        kept = zlib.compressobj(6, zlib.DEFLATED, -15)
        together = sum(len(kept.compress(each) + kept.flush(zlib.Z_SYNC_FLUSH)) - 4 for each in messages)
        alone = sum(len(zlib.compress(each, 6, -15)) for each in messages)
        plain = sum(map(len, messages))
        self.assertGreater(plain, 5 * together)
        self.assertLess(plain, 2 * alone)


class OptionsTests(unittest.TestCase):
    """The command line, and what it asks for."""

    def options(self, *words: str) -> argparse.Namespace:
        return run.make_parser(takeover).parse_args(words)  # type: ignore[arg-type]

    def test_settings(self) -> None:
        """Three numbers; anything else ends the command with one line."""
        self.assertEqual(takeover.parse("6/12/5"), Settings(level=6, bits=12, memory=5))
        for given in ("6/12", "6/8/8", "6/15/0", "11/15/8", "a/b/c", ""):
            with self.assertRaises(argparse.ArgumentTypeError, msg=given):
                takeover.parse(given)
        with contextlib.redirect_stderr(io.StringIO()) as complained, self.assertRaises(SystemExit):
            self.options("--sizes", "200,7")
        self.assertIn("a size of 200, 1024, 16384, not '7'", complained.getvalue())

    def test_what_is_compared(self) -> None:
        """Each size with each setting, and what a connection takes; either alone."""
        chosen = ("--sizes", "200,1024", "--settings", "6/15/8,1/9/1")
        titles = [each.figures.title for each in takeover.compare(self.options("--cpu", *chosen))]
        self.assertEqual(len(titles), 4)
        self.assertEqual(titles[0], "JSON of 200 B: level 6, windows of 15 bits, memLevel 8")
        memory, _ = takeover.compare(self.options("--memory", *chosen, "ws", "ws takeover"))
        self.assertEqual(memory.sides, ["ws plain", "ws", "ws takeover"])
        self.assertEqual(len(takeover.compare(self.options(*chosen))), 6)

    def test_the_table(self) -> None:
        """It has the columns of what was measured, and no others."""
        figures = Figures("takeover", "a feed", "messages", 200)
        figures.readings = {"syncws takeover": [{"send": 10.0, "receive": 5.0, "smaller": 6.54}] * 3}
        lines = report.markdown(figures).splitlines()
        self.assertEqual(lines[2], "| server | times smaller | to send, µs/message | to receive, µs/message |")
        self.assertEqual(lines[4], "| syncws takeover | 6.5 | 10.0 | 5.0 |")

    def test_the_page_of_the_project(self) -> None:
        """docs/compression.md has a place for each table."""
        text = (ROOT / "docs" / "compression.md").read_text()
        for kind in (*takeover.KINDS.values(), takeover.MEMORY):
            self.assertEqual(text.count(f"<!-- {kind}: a program writes what follows -->"), 1, kind)


class LinkTests(LeakChecks):
    """The client's end, with a server that does as it is told, or not."""

    MESSAGES = [*feed.messages(200, 20)]

    def serve(self, message: str, **options: bool) -> int:
        """A server that sends one message over and over; its port."""
        upgrader = syncws.Upgrader(**options)

        def handler(request: syncws.Request) -> None:
            with upgrader.upgrade(request) as conn:
                for command in conn:
                    word, count = str(command).split()
                    for _ in range(int(count)):
                        if word == "send":
                            conn.send(message)
                        else:
                            conn.receive()
                    if word == "receive":
                        conn.send("done")

        return self.enterContext(running(syncws.Server(handler, port=0))).port

    def test_both_ways(self) -> None:
        """What the server sends is counted and compared, and what it receives is what it is given."""
        settings = Settings(takeover=False)
        port = self.serve(self.MESSAGES[0], enable_compression=True)
        with takeover.Link(port, settings) as link:
            link.give(self.MESSAGES)
            wire = link.fetch(10)
            link.check(self.MESSAGES[:1])
            self.assertLess(wire, 10 * len(self.MESSAGES[0]))
            with self.assertRaisesRegex(LoadError, "a message is not what the feed has"):
                link.check(self.MESSAGES[1:])

    def test_another_agreement(self) -> None:
        """A server that agrees to something else is not measured."""
        port = self.serve("", enable_compression=False)
        with self.assertRaisesRegex(LoadError, "agreed to something else"):
            takeover.Link(port, Settings())
        with takeover.Link(port, Settings(compression=False, takeover=False)):
            pass

    def test_five_times_smaller(self) -> None:
        """With takeover, and our defaults otherwise, the messages of 200 bytes shrink five times at least."""
        messages = [*feed.messages(200, 500)]
        upgrader = syncws.Upgrader(enable_compression=True, context_takeover=True)

        def handler(request: syncws.Request) -> None:
            with upgrader.upgrade(request) as conn:
                conn.receive()
                for message in messages:
                    conn.send(message)
                conn.receive()

        server = self.enterContext(running(syncws.Server(handler, port=0)))
        with takeover.Link(server.port, Settings()) as link:
            wire = link.fetch(len(messages))
            link.check(messages)
        self.assertGreater(sum(map(len, messages)), 5 * wire)

    @heavy
    def test_a_round(self) -> None:
        """One short round prints the tables and writes them into a page, for each server in Python."""
        need_packages(*PACKAGES, "websockets")
        with tempfile.NamedTemporaryFile("w+", suffix=".md") as written:
            for part in ("JSON of 200 B", "Memory"):
                written.write(f"<!-- {part}: a program writes what follows -->\n<!-- {part}: end -->\n")
            written.flush()
            words = [
                "--rounds",
                "1",
                "--seconds",
                "0.01",
                "--sizes",
                "200",
                "--settings",
                "6/12/5",
                "--connections",
                "3",
            ]
            sides = [f"{name} takeover" for name in RUN]
            command = [sys.executable, "-m", "benchmarks.takeover", *words, "--page", written.name, *sides]
            done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True)
            self.assertEqual(done.returncode, 0, done.stdout + done.stderr)
            text = Path(written.name).read_text()
        for side in sides:
            self.assertRegex(text, rf"\| {side} \| \d\.\d \| [\d.]+ \| [\d.]+ \|")
            self.assertRegex(text, rf"\| {side} \| -?\d+ \|")


class CommandTests(unittest.TestCase):
    def test_a_side_that_there_is_not(self) -> None:
        """It ends the command with one line."""
        with (
            mock.patch.object(sys, "argv", ["takeover", "none"]),
            contextlib.redirect_stderr(io.StringIO()) as complained,
            self.assertRaises(SystemExit) as raised,
        ):
            takeover.main()
        self.assertEqual((raised.exception.code, complained.getvalue().count("\n")), (2, 1))


if __name__ == "__main__":
    unittest.main()
