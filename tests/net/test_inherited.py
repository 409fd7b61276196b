"""inherited.py: sockets that whoever started this program has made, as systemd tells of them."""

from __future__ import annotations

import os
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import unittest
from pathlib import Path
from unittest import mock

import syncws
from syncws._net import inherited
from syncws._net.inherited import inherited_listener
from syncws.testing import LeakChecks, await_
from tests.partners import need
from tests.tasks import PATIENCE

ROOT = Path(__file__).resolve().parents[2]


@unittest.skipUnless(os.name == "posix", "descriptors that are passed")
class InheritedTests(LeakChecks):
    """Descriptors are passed from `_FIRST` on: here from where the test has put them."""

    def passed(self, *socks: socket.socket, **told: str) -> list[int]:
        """Have the environment tell of copies of these sockets, beginning with the first one's descriptor."""
        first = 700
        numbers = [os.dup2(sock.fileno(), first + place) for place, sock in enumerate(socks)]
        for number in numbers:
            self.addCleanup(self._close, number)
        environment = {"LISTEN_PID": str(os.getpid()), "LISTEN_FDS": str(len(socks)), **told}
        self.enterContext(mock.patch.dict(os.environ, environment))
        self.enterContext(mock.patch.multiple(inherited, _FIRST=first, _passed=None))
        return numbers

    def _close(self, number: int) -> None:
        with self.subTest(number):
            try:
                os.close(number)
            except OSError:
                pass

    def listener(self) -> socket.socket:
        return self.enterContext(socket.create_server(("127.0.0.1", 0)))

    def test_one(self) -> None:
        """The only one is given, listening, and no program inherits it or what told of it."""
        (number,) = self.passed(given := self.listener())
        listener = inherited_listener()
        assert listener is not None
        with listener:
            self.assertEqual((listener.fileno(), listener.getsockname()), (number, given.getsockname()))
            self.assertFalse(os.get_inheritable(number))
            self.assertFalse([each for each in os.environ if each.startswith("LISTEN_")])
            with self.assertRaisesRegex(ValueError, "was taken before"):
                inherited_listener()

    def test_several(self) -> None:
        """Of several the name says which; each is given once."""
        one, other = self.listener(), self.listener()
        self.passed(one, other, LISTEN_FDNAMES="web:admin")
        for name, says in ((None, "one of 'web', 'admin'"), ("api", "no listener 'api' was passed; .* 'web', 'admin'")):
            with self.assertRaisesRegex(ValueError, says):
                inherited_listener(name)
        for name, given in (("admin", other), ("web", one)):
            listener = inherited_listener(name)
            assert listener is not None
            with listener:
                self.assertEqual(listener.getsockname(), given.getsockname())

    def test_none(self) -> None:
        """Without the variables, and with those of another process, there is none, and these stay."""
        for told in ({}, {"LISTEN_PID": "1", "LISTEN_FDS": "1"}, {"LISTEN_FDS": "1"}):
            with (
                self.subTest(told),
                mock.patch.dict(os.environ, told),
                mock.patch.object(inherited, "_passed", None),
            ):
                self.assertIsNone(inherited_listener())
                self.assertIsNone(inherited_listener("web"))
                self.assertEqual(os.environ.get("LISTEN_FDS"), told.get("LISTEN_FDS"))

    def test_what_makes_no_sense(self) -> None:
        """Variables that contradict each other, and equal names, are an error that says what is wrong."""
        for told, says in (
            ({"LISTEN_FDS": "many"}, "LISTEN_FDS is a number of descriptors, not 'many'"),
            ({"LISTEN_FDS": "-1"}, "LISTEN_FDS is a number"),
            ({"LISTEN_FDS": "1_0"}, "LISTEN_FDS is a number"),
            ({"LISTEN_FDS": "9" * 12}, "LISTEN_FDS is a number"),
            ({"LISTEN_FDS": "3"}, "LISTEN_FDS says 3, and descriptor 702 is not open"),
            ({"LISTEN_FDNAMES": "a:b:c"}, "LISTEN_FDNAMES has 3 names, and LISTEN_FDS says 2"),
            ({"LISTEN_FDNAMES": "a:a"}, "2 listeners 'a' were passed: give each"),
        ):
            with self.subTest(says):
                self.passed(self.listener(), self.listener(), **told)
                for _ in range(2):  # it is so at each look
                    with self.assertRaisesRegex(ValueError, says):
                        inherited_listener("a")

    def test_one_that_does_not_listen(self) -> None:
        """A socket that does not listen, as Accept=yes passes, is refused, and stays open."""
        idle = self.enterContext(socket.socket())
        (number,) = self.passed(idle)
        with self.assertRaisesRegex(ValueError, "does not listen: a .socket unit needs Accept=no"):
            inherited_listener()
        os.fstat(number)

    def test_one_that_is_no_socket(self) -> None:
        """Neither does what is no socket, as ListenFIFO= passes."""
        with open(os.devnull) as file:
            (number,) = self.passed(file)  # type: ignore[arg-type]
            for _ in range(2):
                with self.assertRaisesRegex(ValueError, "does not listen: a .socket unit needs Accept=no"):
                    inherited_listener()
            os.fstat(number)


PROGRAM = """
import os, subprocess, sys, syncws
def handler(request):
    left = [name for name in os.environ if name.startswith("LISTEN_")]
    child = subprocess.run([sys.executable, "-c", "import os; print(os.path.exists('/proc/self/fd/3'))"],
        capture_output=True, text=True, close_fds=False)
    return syncws.Response(f"{left} {child.stdout}")
server = syncws.Server(handler, listener=syncws.inherited_listener(), shutdown_timeout=5)
server.serve_forever()
"""


class SystemdTests(LeakChecks):
    """systemd's own program for trying socket activation, and its notices."""

    def test_activated(self) -> None:
        """A program that systemd-socket-activate starts serves on its socket, tells that it is ready, and that it
        stops."""
        program = shutil.which("systemd-socket-activate")
        need(program is not None, "systemd-socket-activate is not installed")
        folder = self.enterContext(tempfile.TemporaryDirectory())
        notified = self.enterContext(socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM))
        notified.bind(f"{folder}/notify")
        notified.settimeout(PATIENCE)
        path = f"{folder}/app.sock"
        with subprocess.Popen(
            # It starts the program once somebody connects, in its own process.
            [str(program), "-l", path, "-E", "NOTIFY_SOCKET", "-E", "PYTHONPATH", sys.executable, "-c", PROGRAM],
            env={**os.environ, "PYTHONPATH": str(ROOT), "NOTIFY_SOCKET": f"{folder}/notify"},
            stderr=subprocess.PIPE,
        ) as process:
            self.addCleanup(process.kill)
            with socket.socket(socket.AF_UNIX) as client:
                client.settimeout(PATIENCE)
                # There is a moment in which the file is there, and nobody listens yet.
                self.assertTrue(await_(lambda: client.connect_ex(path) == 0, PATIENCE))
                client.sendall(b"GET / HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n")
                answer = b"".join(iter(lambda: client.recv(4096), b""))
            self.assertIn(b"[] False", answer)
            self.assertEqual(notified.recv(100), b"READY=1")
            process.send_signal(signal.SIGTERM)
            process.communicate(timeout=PATIENCE)
        self.assertEqual(process.returncode, 0)
        stopping, extend = notified.recv(100).split(b"\n")
        self.assertEqual(stopping, b"STOPPING=1")
        self.assertGreaterEqual(int(extend.removeprefix(b"EXTEND_TIMEOUT_USEC=")), 5_000_000)
        self.assertTrue(os.path.exists(path), "the socket's file is systemd's")

    def test_public(self) -> None:
        """The function is exported."""
        self.assertIs(syncws.inherited_listener, inherited_listener)


if __name__ == "__main__":
    unittest.main()
