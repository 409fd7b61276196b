"""In a pipe: what goes in and comes out, when it ends, and how."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import unittest
from unittest import mock

from syncws._cli.connect import pipes
from tests.partners import heavy
from tests.tasks import PATIENCE, Task

from .support import ConnectCase


class MessageTests(ConnectCase):
    def test_an_echo(self) -> None:
        """`echo hi` prints hi, and ends with 0: all of it, and nothing else, a hundred lines too."""
        self.assertEqual(self.connect("echo", input=b"hi\n"), (0, b"hi\n", ""))
        lines = b"".join(b"%d\n" % number for number in range(100))
        self.assertEqual(self.connect("echo", input=lines), (0, lines, ""))
        self.assertEqual(self.peer.received[0], "hi")

    def test_bytes(self) -> None:
        """--binary sends bytes, --text (the default) text; a text that is none is an error that names the option."""
        self.assertEqual(self.connect("echo", "--binary", input=b"\xff\n"), (0, b"\xff\n", ""))
        self.assertEqual(self.connect("echo", "--text", input=b"\xc3\xa4\n"), (0, b"\xc3\xa4\n", ""))
        self.assertEqual(self.peer.received, [b"\xff", "ä"])
        status, _, err = self.connect("silent", input=b"a\n\xff\n")
        self.assertEqual((status, err.count("\n")), (2, 1))
        self.assertIn("message 2 of the input is no UTF-8", err)
        self.assertIn("--binary", err)

    def test_how_it_is_cut(self) -> None:
        """--null cuts at NULs, on both sides; --whole takes all of the input as one message."""
        self.assertEqual(self.connect("echo", "--null", input=b"a\nb\0c"), (0, b"a\nb\0c\0", ""))
        self.assertEqual(self.connect("echo", "--whole", input=b"a\nb\n"), (0, b"a\nb\n\n", ""))
        self.assertEqual(self.peer.received, ["a\nb", "c", "a\nb\n"])

    def test_options_of_the_handshake(self) -> None:
        """Headers, subprotocols, origin, user and compression reach the server."""
        arguments = ("-H", "X-A: 1", "--header", "X-B: 2", "--subprotocol", "chat", "--user", "ann:pw", "--compression")
        origin = "https://example.com"
        self.assertEqual(self.connect("echo", *arguments, "--origin", origin, input=b"x\n")[:2], (0, b"x\n"))
        headers = self.peer.requests[0].headers
        expected = {"X-A": "1", "X-B": "2", "Origin": origin, "Authorization": "Basic YW5uOnB3"}
        self.assertEqual({name: headers[name] for name in expected}, expected)
        self.assertIn("permessage-deflate", headers["Sec-WebSocket-Extensions"])

    def test_redirects(self) -> None:
        """--max-redirects follows them."""
        self.assertEqual(self.connect("moved", "--max-redirects", "1", input=b"x\n")[:2], (0, b"x\n"))

    def test_large_messages(self) -> None:
        """--max-size refuses what is larger; 0 takes any."""
        status, out, err = self.connect("echo", "--max-size", "1K", input=b"x" * 1025)
        self.assertEqual((status, out), (3, b""))
        self.assertIn("--max-size", err)
        self.assertEqual(self.connect("echo", "--max-size", "0", input=b"x" * 1025)[0], 0)

    def test_pings(self) -> None:
        """--ping shows latencies on standard error; --verbose the pings of the peer, escaped."""
        _, _, err = self.connect("silent", "--ping", "0.01", "--wait", "0.3")
        self.assertRegex(err, r"syncws: latency \d+\.\d ms\n")
        _, _, err = self.connect("pinging", "-v", input=b"x\n")
        self.assertIn("syncws: ping b'\\x1bpeer'\n", err)

    def test_insecure(self) -> None:
        """--insecure says on standard error what it means."""
        _, _, err = self.connect("echo", "--insecure")
        self.assertIn("--insecure", err)


class EndTests(ConnectCase):
    def test_a_greeting(self) -> None:
        """A greeting is not taken for the answer."""
        with mock.patch.object(pipes, "_MOMENT", 0.5):
            self.assertEqual(self.connect("greet", input=b"hi\n"), (0, b"welcome\nhi\n", ""))

    def test_a_server_that_takes_its_time(self) -> None:
        """An answer that is yet to come is waited for."""
        self.peer.go.clear()
        task = Task(self.connect, "later", input=b"hi\n")
        self.assertFalse(task.done)
        self.peer.go.set()
        self.assertEqual(task.result(), (0, b"news\nhi\n", ""))

    def test_no_answer(self) -> None:
        """Where no answer comes it ends after some seconds; with --wait 0 at once."""
        with mock.patch.object(pipes, "_PATIENCE", 0.1):
            self.assertEqual(self.connect("silent", input=b"hi\n"), (0, b"", ""))
        self.assertEqual(self.connect("silent", "--wait", "0", input=b"hi\n"), (0, b"", ""))
        self.assertEqual(self.peer.received, ["hi", "hi"])

    def test_a_wait(self) -> None:
        """--wait goes on for so long, and --wait forever until the server closes."""
        self.assertEqual(self.connect("later", "--wait", "0.05", input=b"")[:2], (0, b""))
        self.peer.go.set()
        status, out, _ = self.connect("bye", "--wait", "forever")
        self.assertEqual((status, out), (3, b"last words\n"))

    def test_no_input(self) -> None:
        """Without input it ends at once."""
        self.assertEqual(self.connect("silent"), (0, b"", ""))

    def test_how_this_side_closes(self) -> None:
        """With 1000, or as --close says; either is a normal end."""
        self.connect("silent")
        self.assertEqual(self.connect("silent", "--close", "4000:bye"), (0, b"", ""))
        self.assertEqual([str(end) for end in self.peer.ends][1], "received 4000: bye; then sent 4000")
        self.assertIn("received 1000", str(self.peer.ends[0]))

    def test_how_the_peer_closes(self) -> None:
        """A normal code ends with 0, also while the input goes on; another with 3, and its reason, escaped, is said."""
        ours, theirs = os.pipe()
        with open(ours, "rb") as given, open(self.folder / "out", "w+b") as out, open(theirs, "wb") as write:
            write.write(b"x\n")
            write.flush()
            self.assertEqual(self._connect_with(given, out, self.url("one")), (0, b"x\n", ""))
        status, out_bytes, err = self.connect("bye")
        self.assertEqual((status, out_bytes), (3, b"last words\n"))
        self.assertEqual(err, "syncws: closed: received 4001: go\\x1b[2J; then sent 4001\n")
        status, _, err = self.connect("cut", input=b"x\n")
        self.assertEqual(status, 3)
        self.assertIn("closed: 1006", err)

    def test_reconnecting(self) -> None:
        """--reconnect connects again, and what was yet to be sent is sent then."""
        process = self.start("one", "--reconnect", "-v")
        assert process.stdin is not None and process.stderr is not None
        process.stdin.write(b"a\n")
        process.stdin.flush()
        while (line := process.stderr.readline()) and b"closed" not in line:
            pass
        out, _ = process.communicate(b"b\n", PATIENCE)  # while there is no connection
        self.assertEqual((process.returncode, out), (0, b"a\nb\n"))
        self.assertEqual(len(self.peer.requests), 2)


@heavy
class ProcessTests(ConnectCase):
    """The command as a process of its own."""

    def test_a_real_pipe(self) -> None:
        """`echo hi | syncws connect` as a shell runs it, three times."""
        for _ in range(3):
            done = self.start("echo")
            self.assertEqual(done.communicate(b"hi\n", PATIENCE), (b"hi\n", b""))
            self.assertEqual(done.returncode, 0)

    def test_statuses(self) -> None:
        """The exit status of the process: 0, 1, 2, 3."""
        for path, arguments, status in (
            ("echo", (), 0),
            ("404", (), 1),
            ("echo", ("--close", "1"), 2),
            ("echo", ("--close", "x"), 2),
            ("echo", ("--max-size", "x"), 2),
            ("echo", ("--expect",), 2),
            ("bye", (), 3),
        ):
            process = self.start(path, *arguments)
            process.communicate(b"", PATIENCE)
            self.assertEqual(process.returncode, status, (path, arguments))

    def test_nobody_reads(self) -> None:
        """`| head -1` ends it quietly."""
        process = self.start("flood")
        assert process.stdout is not None and process.stderr is not None
        process.stdout.readline()
        process.stdout.close()
        self.assertEqual((process.wait(PATIENCE), process.stderr.read()), (0, b""))

    @unittest.skipUnless(os.path.exists("/dev/full"), "a disk that is full")
    def test_a_full_disk(self) -> None:
        """An output that cannot be written is an error of one line, and not a success; the connection is closed."""
        with open("/dev/full", "wb") as full:
            process = self.start("greet", stdout=full)
        told = b"syncws: cannot write standard output: No space left on device\n"
        self.assertEqual((process.wait(PATIENCE), process.communicate()[1]), (2, told))
        self.assertIn("received 1000", str(self.peer.ends[0]))

    def test_ctrl_c(self) -> None:
        """Ctrl-C closes with 1000, and ends with 130; the input need not have ended."""
        process = self.start("greet")
        assert process.stdout is not None and process.stderr is not None
        process.stdout.readline()
        process.send_signal(signal.SIGINT)
        self.assertEqual((process.wait(PATIENCE), process.stderr.read()), (130, b""))
        self.assertIn("received 1000", str(self.peer.ends[0]))

    def test_ctrl_c_while_nobody_reads(self) -> None:
        """It also ends where its output waits for room."""
        process = self.start("flood")
        assert process.stdout is not None
        process.stdout.readline()
        process.send_signal(signal.SIGINT)
        self.assertEqual(process.wait(PATIENCE), 130)

    def test_without_the_extra(self) -> None:
        """Pipes need no package of the extra."""
        program = (
            "import sys; sys.modules.update(prompt_toolkit=None, rich=None)\n"
            "from syncws._cli.main import main; sys.exit(main())"
        )
        done = subprocess.run(
            [sys.executable, "-c", program, "connect", self.url()],
            input=b"hi\n",
            capture_output=True,
            env=self.environment(),
            timeout=PATIENCE,
        )
        self.assertEqual((done.returncode, done.stdout, done.stderr), (0, b"hi\n", b""))


if __name__ == "__main__":
    unittest.main()
