"""Proves that peers which flood delay neither the end of a server nor the goodbye to an honest peer.

Two hundred connections of another process send frames that make no message, or tiny ones, as fast as they are taken;
with the limits that would end these floods switched off. `Server.shutdown(timeout=2)` returns within three seconds, and
an honest peer has its 1001 within one.
"""

from __future__ import annotations

import time
import unittest
from typing import Any

from tests.runner.marks import alone

from .floods import FLOODS, child
from .support import CLOSE, WAIT, GuaranteeTestCase, closing_all, connect, note, size

#: Without these limits a flood goes on.
NO_LIMITS: dict[str, Any] = {"fragment_limit": None, "control_limit": None, "read_limit": None}

TIMEOUT = 2.0

#: Seconds of room for a machine under load, on top of the second that each is promised.
ROOM = 1.0


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
        """Under a flood shutdown(timeout=2) took a minute, as its loops looked at no clock. Now it is in time."""
        for kind in FLOODS:
            with self.subTest(kind):
                self.check(kind, NO_LIMITS)

    def test_a_shutdown_under_a_flood(self) -> None:
        """The same with the limits that every server has, while they are about to end the floods."""
        for kind in ("empty continuations", "pings"):
            with self.subTest(kind):
                self.check(kind, {})


if __name__ == "__main__":
    unittest.main()
