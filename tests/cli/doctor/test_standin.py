"""The stand-in: an echo that tells who asks what has come of his request, and nobody else anything."""

from __future__ import annotations

import signal
import subprocess
import sys
from http.client import HTTPConnection

import syncws
from syncws._cli.doctor.standin import HEADER, SUBPROTOCOL, stand_in
from syncws.testing import LeakChecks, running
from tests.cli.support import CLICase
from tests.tasks import PATIENCE


class StandInTests(LeakChecks):
    def setUp(self) -> None:
        super().setUp()
        self.server = self.enterContext(running(stand_in("127.0.0.1", 0)))
        self.url = f"ws://127.0.0.1:{self.server.port}/a?b"

    def dial(self, headers: dict[str, str], **options: object) -> syncws.Conn:
        conn = syncws.dial(self.url, headers, proxy=None, **options)  # type: ignore[arg-type]
        self.addCleanup(conn.close)
        return conn

    def test_what_has_come(self) -> None:
        """Who asks by the header is told the target and a few headers, and then hears an echo."""
        asked = {HEADER: "1", "Cookie": "a=b", "X-Secret": "of what is in front"}
        conn = self.dial(asked, subprotocols=[SUBPROTOCOL], enable_compression=True)
        self.assertEqual((conn.subprotocol, conn.compression), (SUBPROTOCOL, True))
        self.assertIn(HEADER, conn.response.headers)
        told = conn.receive_json(PATIENCE)
        self.assertEqual((told["target"], told["headers"]["Cookie"]), ("/a?b", "a=b"))
        self.assertNotIn("X-Secret", told["headers"])
        conn.send("x")
        self.assertEqual(conn.receive(PATIENCE), "x")

    def test_anybody_else(self) -> None:
        """Without it, the first message is the echo of the first."""
        conn = self.dial({})
        conn.send("x" * (2 << 20))
        conn.set_read_limit(None)
        self.assertEqual(len(conn.receive(PATIENCE)), 2 << 20)

    def test_plain(self) -> None:
        """A health check of what is in front is answered with 200, whatever its path."""
        client = HTTPConnection("127.0.0.1", self.server.port, timeout=PATIENCE)
        self.addCleanup(client.close)
        client.request("GET", "/readyz")
        self.assertEqual(client.getresponse().status, 200)


class CommandTests(CLICase):
    def test_a_process(self) -> None:
        """It says where it listens, and ends with 0 after a signal."""
        command = [sys.executable, "-W", "error", "-m", "syncws", "doctor", "--stand-in", "0"]
        with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True) as process:
            assert process.stdout is not None
            self.assertRegex(process.stdout.readline(), r"^Standing in for the application on 127.0.0.1:\d+ ")
            process.send_signal(signal.SIGTERM)
            _, err = process.communicate(timeout=PATIENCE)
        self.assertEqual((process.returncode, err), (0, ""))

    def test_refused(self) -> None:
        """A port that is none, and one that is taken, are errors of one line."""
        self.assertLine("a port is a number", "doctor", "--stand-in", "here", status=2)
        with running(stand_in("127.0.0.1", 0)) as taken:
            self.assertLine("cannot listen on 127.0.0.1", "doctor", "--stand-in", f"127.0.0.1:{taken.port}")
