"""Draining as programs do it: on SIGTERM, and with workers."""

from __future__ import annotations

import signal
import time
import unittest

from syncws.testing import Peer
from tests.server.cases import Client
from tests.server.test_server_workers import Program, WorkersCase

#: A program of one process, which drains on SIGTERM; its arguments are options of Server.
ONE = 'listen(workers=1, drain_seconds={}, ready_path="/ready").serve_forever()'
TWO = "listen(workers=2, drain_seconds={}, {}).serve_forever()"


def told(peer: Peer) -> int | None:
    """The code that a peer is told, which answers it."""
    code, _ = peer.receive_close()
    peer.close(code)
    return code


def ready(program: Program) -> int:
    with Client(program.address) as client:
        return client.request(b"GET /ready HTTP/1.1\r\nHost: a\r\n\r\n")[0]


class SignalTests(WorkersCase):
    def test_sigterm_drains(self) -> None:
        """With drain_seconds SIGTERM drains: peers are told 1012 over the seconds, and the exit code is 0."""
        program = self.run_program(ONE.format(0.5))
        peers = [self.connect(program.address)[1] for _ in range(5)]
        began = time.monotonic()
        program.send(signal.SIGTERM)
        self.assertEqual([told(peer) for peer in peers], [1012] * 5)
        self.assertGreaterEqual(time.monotonic() - began, 0.4)
        self.assertEqual(program.end(), 0)
        self.assertEqual(program.logged()[0], "INFO SIGTERM: draining for 0.5 s")
        self.assertNotIn("shutting down", "".join(program.lines))

    def test_a_second_sigterm_ends_it(self) -> None:
        """Meanwhile it is not ready, and serves what is open; a second SIGTERM is the quick end, with 1001."""
        program = self.run_program(ONE.format(1e6))
        _, peer = self.connect(program.address)
        self.assertEqual(ready(program), 200)
        program.send(signal.SIGTERM)
        program.said("INFO SIGTERM: draining .*")
        self.assertEqual(ready(program), 503)
        peer.send_frame(1, "still here")
        self.assertEqual(peer.receive_frame().payload, b"still here")
        program.send(signal.SIGTERM)
        self.assertEqual(told(peer), 1001)
        self.assertEqual(program.end(), 0)
        self.assertIn("INFO SIGTERM: shutting down", program.lines)

    def test_sigint_is_quick(self) -> None:
        """SIGINT is the quick end, at once or while it drains."""
        for first in ([], [signal.SIGTERM]):
            with self.subTest(first):
                program = self.run_program(ONE.format(1e6))
                _, peer = self.connect(program.address)
                for number in first:
                    program.send(number)
                    program.said("INFO SIGTERM: draining .*")
                program.send(signal.SIGINT)
                self.assertEqual(told(peer), 1001)
                self.assertEqual(program.end(), 0)


class WorkersTests(WorkersCase):
    def test_sigterm_to_the_parent(self) -> None:
        """The parent passes it on: peers of all workers are told 1012, and no worker is replaced."""
        program = self.run_program(TWO.format(0.3, ""))
        workers = program.workers()
        peers = [self.connect(program.address)[1] for _ in range(8)]
        program.send(signal.SIGTERM)
        self.assertEqual([told(peer) for peer in peers], [1012] * 8)
        self.assertEqual(program.end(), 0)
        self.assertEqual(len(program.matches(r"worker (\d+)")), len(workers))
        self.assertEqual(len(program.matches("INFO (draining: .*)")), 2)

    def test_drain_by_the_parent(self) -> None:
        """`Server.drain` in the parent, in a thread of its own, is for all workers, and returns when all have ended."""
        program = self.run_program(
            "server = listen(workers=2)\n"
            "signal.signal(signal.SIGUSR1, lambda *_: threading.Thread(target=drain).start())\n"
            "def drain(): say('drained', server.drain(0.3))\n"
            "server.serve_forever()\n"
        )
        program.workers()
        peers = [self.connect(program.address)[1] for _ in range(4)]
        program.send(signal.SIGUSR1)
        self.assertEqual([told(peer) for peer in peers], [1012] * 4)
        self.assertEqual(program.said(r"drained (\d+)"), ["0"])
        self.assertEqual(program.end(), 0)

    def test_health_checks(self) -> None:
        """While workers drain, ready_path is answered 503; a second SIGTERM to the parent ends all at once."""
        program = self.run_program(TWO.format(1e6, 'ready_path="/ready"'))
        program.workers()
        peers = [self.connect(program.address)[1] for _ in range(4)]
        self.assertEqual(ready(program), 200)
        program.send(signal.SIGTERM)
        program.said("INFO draining: .*", 2)
        self.assertEqual(ready(program), 503)
        program.send(signal.SIGTERM)
        self.assertEqual([told(peer) for peer in peers], [1001] * 4)
        self.assertEqual(program.end(), 0)

    def test_sigterm_to_all(self) -> None:
        """A supervisor that sends SIGTERM to every process gets the same: 1012, and nobody is killed."""
        program = self.run_program(TWO.format(0.3, ""))
        program.workers()
        peers = [self.connect(program.address)[1] for _ in range(4)]
        program.press(signal.SIGTERM)
        self.assertEqual([told(peer) for peer in peers], [1012] * 4)
        self.assertEqual(program.end(), 0)

    def test_the_port_is_free(self) -> None:
        """Without health checks nobody keeps the listener, the parent neither: another server can have the port."""
        program = self.run_program(TWO.format(1e6, ""))
        program.workers()
        _, peer = self.connect(program.address)
        address = program.address
        program.send(signal.SIGTERM)
        program.said("INFO draining: .*", 2)
        after = self.run_program(
            "import errno\n"
            "while True:\n"
            "    try: server = listen(workers=1, port=int(sys.argv[1])); break\n"
            "    except OSError as exc: assert exc.errno == errno.EADDRINUSE; time.sleep(0.01)\n"
            "server.serve_forever()\n",
            str(address[1]),
        )
        pid, _ = self.connect(after.address)
        self.assertEqual(pid, after.process.pid)
        program.send(signal.SIGINT)
        self.assertEqual(told(peer), 1001)
        self.assertEqual(program.end(), 0)


if __name__ == "__main__":
    unittest.main()
