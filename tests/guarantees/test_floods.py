"""Proves that a flood of frames that make no message holds nobody up, and ends soon.

Two hundred connections of another process send empty continuations, pings, pongs, or one-byte fragments to a handler
that reads pieces, as fast as they are taken. A stranger's GET /health on the same server keeps its time.
"""

from __future__ import annotations

import http.client
import json
import statistics
import time
import unittest

from tests.partners import heavy
from tests.runner.marks import alone

from .floods import child
from .support import GuaranteeTestCase, note, size

#: How many times as long the median of a stranger's request may take.
TIMES = 5.0

#: Seconds that the slowest may take, and that a flood may last.
SLOWEST, LONGEST = 0.1, 2.0

#: A machine under load is given as much again.
ROOM = 2.0


@heavy
@alone("200 connections flood a server, and the times of others are measured")
class FloodTests(GuaranteeTestCase):
    def check(self, kind: str, path: str = "/") -> None:
        with child("serve_health()") as server:
            assert server.stdout is not None
            port = int(server.stdout.readline())
            with child(f"flood_until_refused({kind!r}, {port}, {path!r}, {size(60, 200)})") as flood:
                assert flood.stdin is not None and flood.stdout is not None
                self.assertEqual(flood.stdout.readline(), "ready\n")
                usual = [self.health(port) for _ in range(200)]
                flood.stdin.write("\n")
                began = time.monotonic()
                during = []
                while time.monotonic() < began + LONGEST:
                    during.append(self.health(port))
                refused = json.loads(flood.stdout.readline())
        median = statistics.median(during) / statistics.median(usual)
        told = [seconds for seconds in refused if seconds is not None]
        note(
            f"{kind}: GET /health took {statistics.median(usual) * 1e3:.1f} ms and takes {median:.1f} times as long, "
            f"{max(during) * 1e3:.0f} ms at most; {len(told)} of {len(refused)} refused after "
            f"{statistics.median(told):.2f} s, {max(told):.2f} s at most"
        )
        self.assertEqual(len(told), len(refused), "refused with another code, or not at all")
        self.assertLess(max(told), LONGEST * ROOM)
        self.assertLess(median, TIMES * ROOM)
        self.assertLess(max(during), SLOWEST * ROOM)

    def health(self, port: int) -> float:
        began = time.monotonic()
        connection = http.client.HTTPConnection("127.0.0.1", port, timeout=20)
        connection.request("GET", "/health", headers={"Connection": "close"})
        self.assertEqual(connection.getresponse().read(), b"well")
        connection.close()
        return time.monotonic() - began

    def test_empty_continuations(self) -> None:
        """100 connections with half a megabyte a second held a core, and a stranger's request took a second."""
        self.check("empty continuations")

    def test_pings(self) -> None:
        """Pings cost as much as empty fragments did."""
        self.check("pings")

    def test_pongs(self) -> None:
        """Pongs reach no hook, and are counted as pings are."""
        self.check("pongs")

    def test_one_byte_fragments_in_pieces(self) -> None:
        """One-byte fragments that next_reader hands out are counted as they come."""
        self.check("one-byte fragments", "/pieces")


if __name__ == "__main__":
    unittest.main()
