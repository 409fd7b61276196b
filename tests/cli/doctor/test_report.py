"""The report: as text for people, and as JSON for programs."""

from __future__ import annotations

import json
import unittest

from syncws._cli.doctor.finding import Finding, Severity, fault, note, ok, warning
from syncws._cli.doctor.mending import topics
from syncws._cli.doctor.report import Report, as_json

IDLE = Finding(
    "idle",
    Severity.FAULT,
    "cut after 60 s",
    "Nobody has said a word.",
    (("nginx", "proxy_read_timeout 3600s;\nproxy_send_timeout 3600s;"), ("haproxy", "timeout tunnel 1h"), ("app", "x")),
)


def text(finding: Finding, **options: object) -> str:
    return "\n".join(Report(**options).lines(finding))  # type: ignore[arg-type]


class TextTests(unittest.TestCase):
    def test_a_finding(self) -> None:
        """Label, check, title; what was seen; the lines of each program."""
        self.assertEqual(
            text(IDLE),
            "FAULT    idle          cut after 60 s\n"
            "         Nobody has said a word.\n"
            "           nginx      proxy_read_timeout 3600s;\n"
            "                      proxy_send_timeout 3600s;\n"
            "           HAProxy    timeout tunnel 1h\n"
            "           app        x",
        )

    def test_one_front(self) -> None:
        """With --front its lines alone, and those that are no front's."""
        shown = text(IDLE, front="haproxy")
        self.assertNotIn("nginx", shown)
        self.assertIn("app        x", shown)

    def test_a_guess(self) -> None:
        """The front that was guessed comes first."""
        shown = text(IDLE, guessed="haproxy")
        self.assertLess(shown.index("HAProxy"), shown.index("nginx"))

    def test_80_columns(self) -> None:
        """Prose is wrapped; a remark beside a line goes under it. What remains long is a line to be copied."""
        for topic in topics():
            shown = text(warning("proxy-headers", "word " * 30, "word " * 60, topic))
            for line in shown.splitlines():
                with self.subTest(line):
                    self.assertLessEqual(len(line), 96)
        prose = text(note("proxy-headers", "word " * 30, "word " * 60))
        self.assertLessEqual(max(map(len, prose.splitlines())), 80)

    def test_colours(self) -> None:
        """For a terminal the label is coloured, and nothing else is."""
        self.assertEqual(text(ok("echo", "fine"), colour=True), "\x1b[32mok       \x1b[0mecho          fine")
        self.assertNotIn("\x1b", text(note("echo", "fine"), colour=True))

    def test_the_end(self) -> None:
        """How many faults and warnings there are."""
        report = Report()
        self.assertEqual(report.end([ok("a", "")]), "Nothing wrong was found.")
        self.assertTrue(report.end([fault("a", ""), warning("b", ""), warning("c", "")]).startswith("1 fault and 2 wa"))
        self.assertTrue(report.end([warning("b", "")]).startswith("1 warning."))


class JSONTests(unittest.TestCase):
    def test_all(self) -> None:
        """Everything that the text has, by name."""
        told = json.loads(as_json("ws://a/", [IDLE, ok("echo", "fine")], None, "haproxy"))
        self.assertEqual(
            (told["subject"], told["front"], told["faults"], told["warnings"]), ("ws://a/", "haproxy", 1, 0)
        )
        idle, echo = told["findings"]
        self.assertEqual((idle["check"], idle["severity"], idle["title"]), ("idle", "fault", "cut after 60 s"))
        self.assertEqual(list(idle["mending"]), ["haproxy", "nginx", "app"])
        self.assertEqual(echo["mending"], {})


if __name__ == "__main__":
    unittest.main()
