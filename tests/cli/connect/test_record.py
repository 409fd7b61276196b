"""A conversation as lines of JSON: what is written can be read, and nobody else reads it."""

from __future__ import annotations

import json
import os
import stat
import tempfile
import unittest
from pathlib import Path

from syncws._cli.command import CommandError
from syncws._cli.connect.record import Close, Message, Recorder, read_record

from .support import ConnectCase


class RecordTests(ConnectCase):
    def setUp(self) -> None:
        super().setUp()
        self.path = self.folder / "talk.jsonl"

    def recorded(self, path: str, *arguments: str, input: bytes) -> list[dict[str, object]]:
        status, _, err = self.connect(path, "--record", str(self.path), *arguments, input=input)
        self.assertIn(status, (0, 3), err)
        return [json.loads(line) for line in self.path.read_text().splitlines()]

    def test_a_conversation(self) -> None:
        """The handshake, each message with its direction and type, and who closed; in order, with times."""
        lines = self.recorded("echo", "--subprotocol", "chat", "--close", "4000:bye", input=b"hi\n")
        self.assertEqual([line["type"] for line in lines], ["handshake", "text", "text", "close", "close"])
        self.assertEqual((lines[0]["url"], lines[0]["status"], lines[0]["subprotocol"]), (self.url(), 101, "chat"))
        self.assertEqual([line.get("direction") for line in lines], [None, "out", "in", "out", "in"])
        self.assertEqual([lines[1]["text"], lines[2]["text"]], ["hi", "hi"])
        self.assertEqual((lines[3]["code"], lines[3]["reason"]), (4000, "bye"))
        times = [line["time"] for line in lines]
        self.assertEqual(times, sorted(times, key=float))  # type: ignore[arg-type]
        events = read_record(str(self.path))
        self.assertEqual([type(event) for event in events], [Message, Message, Close, Close])

    def test_bytes(self) -> None:
        """Bytes are base64, and read as what they were."""
        lines = self.recorded("echo", "--binary", "--whole", input=b"\x00\xff")
        self.assertEqual((lines[1]["type"], lines[1]["base64"]), ("binary", "AP8="))
        first = read_record(str(self.path))[0]
        assert isinstance(first, Message)
        self.assertEqual(first.data, b"\x00\xff")

    def test_a_peer_that_closes(self) -> None:
        """Its close comes first; one that vanishes is recorded as 1006."""
        lines = self.recorded("bye", input=b"")
        self.assertEqual([(line["direction"], line["code"]) for line in lines[2:]], [("in", 4001), ("out", 4001)])
        self.path.unlink()
        lines = self.recorded("cut", input=b"x\n")
        self.assertEqual((lines[-1]["direction"], lines[-1]["code"]), ("in", 1006))

    def test_no_secrets(self) -> None:
        """What authenticates is not in the file, and nobody else may read it."""
        url = self.url().replace("ws://", "ws://ann:secret@")
        self.connect_to(url, "--record", str(self.path), "-H", "X-Token: secret", input=b"x\n")
        self.assertNotIn("secret", self.path.read_text())
        self.assertEqual(stat.S_IMODE(self.path.stat().st_mode), 0o600)

    def test_a_file_that_is_there(self) -> None:
        """A file that is there is not lost, and a folder that is not there is named; no connection is made."""
        self.path.write_text("dear")
        for path, says in ((self.path, "it is there already"), (self.folder / "no" / "x", "No such file")):
            status, _, err = self.connect("echo", "--record", str(path))
            self.assertEqual((status, self.peer.requests), (2, []))
            self.assertIn(says, err)
        self.assertEqual(self.path.read_text(), "dear")

    def test_a_pipe(self) -> None:
        """What is no file, such as a device, is written to as it is."""
        recorder = Recorder(os.devnull)
        recorder.message("in", "x")
        recorder.close()
        recorder.close()
        recorder.message("in", "x")

    def test_a_full_disk(self) -> None:
        """Where nothing can be written any more the conversation goes on, and a line says so."""
        if not os.path.exists("/dev/full"):
            self.skipTest("this system has no /dev/full")
        status, out, err = self.connect("echo", "--record", "/dev/full", input=b"a\nb\n")
        self.assertEqual((status, out), (0, b"a\nb\n"))
        self.assertEqual(err, "syncws: /dev/full is not written any more: No space left on device\n")


class ReadTests(unittest.TestCase):
    def read(self, text: str) -> list[object]:
        with tempfile.TemporaryDirectory() as folder:
            path = Path(folder, "x.jsonl")
            path.write_bytes(text.encode("latin-1"))
            return list(read_record(str(path)))

    def test_what_is_no_record(self) -> None:
        """Each mistake is an error that names the line."""
        for text, says in (
            ("x", "line 1: Expecting value"),
            ("[]", "line 1: list indices"),
            ("{}", "line 1: 'type' is missing"),
            ('{"type": "text", "time": 1, "direction": "in"}', "line 1: 'text' is missing"),
            ('{"type": "text", "time": "x", "direction": "in"}', "could not convert"),
            ('\n{"type": "text", "time": 1, "direction": "up", "text": ""}', "line 2: direction is in or out"),
            ('{"type": "binary", "time": 1, "direction": "in", "base64": "x"}', "line 1: "),
            ('{"type": "video", "time": 1, "direction": "in"}', "no type 'video'"),
            ('{"type": "text", "time": 1e999, "direction": "in", "text": ""}', "time is a number of seconds, not inf"),
            ('{"type": "text", "time": 1, "direction": "out", "text": "\\ud800"}', "surrogates not allowed"),
            ('{"type": "close", "time": 1, "direction": "out", "code": 9, "reason": ""}', "close code 9 may not be"),
            ("\xff", "no UTF-8"),
        ):
            with self.assertRaises(CommandError) as caught:
                self.read(text)
            self.assertIn(says, str(caught.exception))
            self.assertEqual(caught.exception.status, 2)
        with self.assertRaisesRegex(CommandError, "cannot read /no/such: No such file"):
            read_record("/no/such")

    def test_several_connections(self) -> None:
        """Of several connections the first is read."""
        one = '{"type": "handshake"}\n{"type": "text", "time": 1, "direction": "in", "text": "a"}\n'
        self.assertEqual(len(self.read(one + one)), 1)
        self.assertEqual(self.read(""), [])


if __name__ == "__main__":
    unittest.main()
