"""A recorded conversation once more, and what is said of each difference."""

from __future__ import annotations

import json
import signal
import unittest
from typing import Any

from tests.partners import heavy
from tests.tasks import PATIENCE

from .support import ConnectCase


def out(text: str, time: float = 0.0) -> dict[str, Any]:
    return {"time": time, "direction": "out", "type": "text", "text": text}


def came(text: str, time: float = 0.0) -> dict[str, Any]:
    return {"time": time, "direction": "in", "type": "text", "text": text}


def close(direction: str, code: int, reason: str = "", time: float = 0.0) -> dict[str, Any]:
    return {"time": time, "direction": direction, "type": "close", "code": code, "reason": reason}


class ReplayTests(ConnectCase):
    def replay(self, path: str, events: list[dict[str, Any]], *arguments: str) -> tuple[int, bytes, str]:
        record = self.folder / "talk.jsonl"
        record.write_text("".join(f"{json.dumps(event)}\n" for event in events))
        return self.connect(path, "--replay", str(record), *arguments)

    def expect(self, path: str, *events: dict[str, Any], says: str = "", wait: str = "0.2") -> None:
        """Replay and compare: the same, or what the difference is."""
        status, _, err = self.replay(path, list(events), "--expect", "--wait", wait)
        self.assertEqual(status, 4 if says else 0, err)
        self.assertIn(says, err)
        self.assertEqual(err.count("\n"), 1 if says else 0, err)

    def test_what_was_recorded(self) -> None:
        """A recorded conversation, text and bytes, is the same once more; what comes is printed."""
        record = str(self.folder / "x.jsonl")
        self.connect("greet", "--record", record, "--close", "4000:bye", input=b"a\nb\n")
        status, printed, err = self.connect("greet", "--replay", record, "--expect")
        self.assertEqual((status, printed, err), (0, b"welcome\na\nb\n", ""))
        self.assertEqual([str(end) for end in self.peer.ends], ["received 4000: bye; then sent 4000"] * 2)
        self.assertEqual(self.peer.received, ["a", "b"] * 2)
        record = str(self.folder / "y.jsonl")
        self.connect("echo", "--record", record, "--binary", "--whole", input=b"\0\xff")
        self.assertEqual(self.connect("echo", "--replay", record, "--expect"), (0, b"\0\xff\n", ""))

    def test_differences(self) -> None:
        """Another message, none, one more, another close, none: each is said, with 4."""
        self.expect("echo", out("a"), came("b"), says="there came 'a', and recorded is 'b'")
        self.expect("silent", out("a"), came("a"), says="nothing came for 0.2 s, and recorded is 'a'")
        self.expect("greet", out("a", 0), close("out", 1000, time=0.1), says="a message more than was recorded")
        self.expect(
            "greet", out("a", 0), came("welcome"), close("out", 1000, time=0.2), says="more than was recorded: 'a'"
        )
        self.expect("one", out("a"), came("a"), close("in", 1000, "other"), says="and recorded is 1000 other")
        self.expect("one", out("a"), came("a"), out("b"), came("b"), says="closed before the record's end")
        self.expect("echo", out("a"), came("a"), close("in", 1000), says="the server did not close within 0.2 s")

    def test_the_same(self) -> None:
        """The same answers, and the same close, of either side; where no close is recorded this side closes."""
        self.expect("one", out("a"), came("a"), close("in", 1000, "that was it"))
        self.expect("bye", came("last words"), close("in", 4001, "go\x1b[2J"))
        self.expect("echo", out("a"), out("b"), came("a"), came("b"))
        self.expect("silent")

    def test_without_expect(self) -> None:
        """Without --expect nothing is compared: the status tells how it was closed."""
        events = [out("a"), came("never"), close("out", 1000, time=0.2)]
        self.assertEqual(self.replay("echo", events), (0, b"a\n", ""))
        status, _, err = self.replay("cut", [out("a"), out("b", 1.0)])
        self.assertEqual(status, 3)
        self.assertIn("closed before the record's end", err)
        self.assertEqual(self.replay("bye", [close("in", 4001, time=0.1)])[0], 3)
        self.assertEqual(self.replay("silent", [close("in", 1000)], "--wait", "0.05"), (0, b"", ""))

    def test_the_pace(self) -> None:
        """--speed shortens the pauses; max leaves them out."""
        events = [
            out("a", 100),
            came("a", 200),
            out("b", 100_000),
            came("b", 100_001),
            close("out", 1000, time=200_000),
        ]
        for speed in ("1e7", "max"):
            self.assertEqual(self.replay("echo", events, "--expect", "--speed", speed)[0], 0)

    def test_a_record_of_a_replay(self) -> None:
        """--record writes what comes this time."""
        again = self.folder / "again.jsonl"
        self.replay("echo", [out("a"), came("a")], "--expect", "--record", str(again))
        self.assertEqual(
            [json.loads(line)["type"] for line in again.read_text().splitlines()],
            ["handshake", "text", "text", "close", "close"],
        )

    def test_errors(self) -> None:
        """A server that refuses is 1; a file that is none, and options that do not go together, are 2."""
        self.assertEqual(self.replay("404", [out("a")])[0], 1)
        self.assertEqual(self.connect("echo", "--replay", str(self.folder / "none"))[0], 2)
        self.assertEqual(self.connect("echo", "--speed", "2")[0], 2)
        self.assertEqual(self.connect("echo", "--replay", "x", "--reconnect")[0], 2)


@heavy
class ProcessTests(ConnectCase):
    def test_ctrl_c(self) -> None:
        """Ctrl-C in a long pause closes, and ends with 130."""
        record = self.folder / "talk.jsonl"
        record.write_text(f"{json.dumps(out('a'))}\n{json.dumps(out('b', 1000))}\n")
        process = self.start("echo", "--replay", str(record))
        assert process.stdout is not None
        self.assertEqual(process.stdout.readline(), b"a\n")
        process.send_signal(signal.SIGINT)
        self.assertEqual(process.wait(PATIENCE), 130)


if __name__ == "__main__":
    unittest.main()
