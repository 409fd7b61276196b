"""Proves that peers which flood delay neither the end of a server nor the goodbye to an honest peer.

Two hundred connections of another process send frames that make no message, or tiny ones, as fast as they are taken;
with the limits that would end these floods switched off. `Server.shutdown(timeout=1)` returns within two seconds, and
an honest peer has its 1001 within one.
"""

from __future__ import annotations

import importlib.util
import os
import signal
import socket
import subprocess
import sys
import time
import unittest
from pathlib import Path
from typing import Any

from syncws.testing import await_
from tests.partners import heavy
from tests.runner.marks import alone

from .floods import FLOODS, child
from .support import CLOSE, WAIT, GuaranteeTestCase, closing_all, connect, note, size

#: Without these limits a flood goes on.
NO_LIMITS: dict[str, Any] = {"fragment_limit": None, "control_limit": None, "read_limit": None}

TIMEOUT = 1.0

#: Seconds of room for a machine under load, on top of the second that each is promised.
ROOM = 1.0


def _listens(port: int) -> bool:
    with socket.socket() as probe:
        return probe.connect_ex(("127.0.0.1", port)) == 0


@heavy
@alone("200 connections flood a server, which has to be in time")
class ShutdownTests(GuaranteeTestCase):
    def check(self, kind: str, options: dict[str, Any]) -> None:
        with child(f"serve({options!r}, {TIMEOUT})") as server:
            assert server.stdin is not None and server.stdout is not None
            port = int(server.stdout.readline())
            with closing_all([connect(("127.0.0.1", port)) for _ in range(3)]) as honest:
                with child(f"flood({kind!r}, {port}, {size(60, 200)})") as flood:
                    assert flood.stdout is not None
                    self.assertEqual(flood.stdout.readline(), "flooding\n")
                    time.sleep(0.5)  # the floods are under way
                    began = time.monotonic()
                    server.stdin.write("\n")
                    told = []
                    for peer in honest:
                        peer.socket.settimeout(WAIT)
                        while (frame := peer.receive_frame()).opcode != CLOSE:
                            pass
                        told.append(time.monotonic() - began)
                        self.assertEqual(frame.payload, b"\x03\xe9")
                        peer.send_frame(CLOSE, frame.payload)
                    seconds, left = server.stdout.readline().split()
        note(f"{kind}: honest peers told after {max(told):.2f} s, shutdown({TIMEOUT:g}) took {seconds} s, {left} left")
        self.assertLess(max(told), 1.0 + ROOM)  # from the order to end, which has to get through the flood as well
        self.assertLess(float(seconds), TIMEOUT + 1.0 + ROOM)

    def test_a_shutdown_under_a_flood_that_no_limit_ends(self) -> None:
        """Under a flood shutdown(timeout=1) took a minute, as its loops looked at no clock. Now it is in time."""
        for kind in FLOODS:
            with self.subTest(kind):
                self.check(kind, NO_LIMITS)

    def test_a_shutdown_under_a_flood(self) -> None:
        """The same with the limits that every server has, while they are about to end the floods."""
        for kind in ("empty continuations", "pings"):
            with self.subTest(kind):
                self.check(kind, {})

    @unittest.skipUnless(importlib.util.find_spec("gunicorn"), "gunicorn is not installed")
    def test_gunicorn_under_a_flood(self) -> None:
        """Under a flood of detached connections gunicorn took 19 s to end. Its worker goes within its graceful timeout
        and a second, and an honest peer is told."""
        with socket.create_server(("127.0.0.1", 0)) as free:
            port = free.getsockname()[1]
        options = [
            "-k",
            "gthread",
            "--graceful-timeout",
            f"{TIMEOUT:g}",
            "-b",
            f"127.0.0.1:{port}",
            "--log-level",
            "error",
        ]
        gunicorn = subprocess.Popen(
            [sys.executable, "-m", "gunicorn", *options, f"{child.__module__}:application"],
            cwd=Path(__file__).parents[2],
            env={**os.environ, "PYTHONPATH": os.pathsep.join(filter(None, sys.path))},
        )
        try:
            self.assertTrue(await_(lambda: _listens(port), WAIT))
            with closing_all([connect(("127.0.0.1", port)) for _ in range(3)]) as honest:
                with child(f"flood('empty continuations', {port}, {size(60, 200)})") as flood:
                    assert flood.stdout is not None
                    self.assertEqual(flood.stdout.readline(), "flooding\n")
                    time.sleep(0.5)
                    began = time.monotonic()
                    gunicorn.send_signal(signal.SIGTERM)
                    for peer in honest:
                        peer.socket.settimeout(WAIT)
                        while (frame := peer.receive_frame()).opcode != CLOSE:
                            pass
                        self.assertEqual(frame.payload, b"\x03\xe9")
                    told = time.monotonic() - began
                    gunicorn.wait(WAIT)
                    seconds = time.monotonic() - began
        finally:
            gunicorn.kill()
            gunicorn.wait()
        note(f"gunicorn under a flood: honest peers told after {told:.2f} s, gone after {seconds:.2f} s")
        self.assertLess(told, 1.0 + ROOM)
        self.assertLess(seconds, TIMEOUT + 1.0 + ROOM)


if __name__ == "__main__":
    unittest.main()
