"""Connections are opened: all of them, over the time of a ramp, or until it is stopped."""

from __future__ import annotations

import socket
import threading
import time
import unittest

from syncws._cli.bench.opening import Opening, Result
from syncws.testing import await_
from tests.tasks import PATIENCE, SOON

from .cases import LoadCase, plan


class OpeningTests(LoadCase):
    def results(self, opening: Opening, number: int) -> list[Result]:
        found = [opening.results.get(timeout=PATIENCE) for _ in range(number)]
        for each in found:
            if each.opened is not None:
                self.addCleanup(each.opened.transport.close)
        return found

    def test_all(self) -> None:
        """Every connection comes, also where there are more than threads."""
        with self.serving() as url:
            found = self.results(Opening(plan(url, connections=40)), 40)
            self.assertTrue(all(each.opened is not None and each.nanoseconds > 0 for each in found))
            for each in found:
                assert each.opened is not None
                each.opened.transport.close()

    def test_failures(self) -> None:
        """One that cannot be opened is told in one line."""
        [one] = self.results(Opening(plan("ws://127.0.0.1:1/")), 1)
        self.assertIsNone(one.opened)
        self.assertIn("Connection refused", one.failure)

    def test_ramp(self) -> None:
        """With a ramp the last one comes when it is due, not before."""
        began = time.monotonic()
        self.results(Opening(plan("ws://127.0.0.1:1/", connections=3, ramp=0.3)), 3)
        self.assertGreaterEqual(time.monotonic() - began, 0.2)

    def test_stop(self) -> None:
        """Once it is stopped, no more handshakes begin, and its threads end."""
        opening = Opening(plan("ws://127.0.0.1:1/", connections=2, ramp=1000.0))
        self.results(opening, 1)
        opening.stop()
        for thread in threading.enumerate():
            if thread.name.startswith("syncws-bench"):
                thread.join(PATIENCE)
                self.assertFalse(thread.is_alive())
        self.assertTrue(opening.results.empty())

    def test_stop_with_some_under_way(self) -> None:
        """A connection that nobody took, and one that comes after the stop, are closed; a handshake without an answer
        is given up at once."""
        silent = self.enterContext(socket.create_server(("127.0.0.1", 0)))
        waiting = Opening(plan(f"ws://127.0.0.1:{silent.getsockname()[1]}/", connections=3))
        with self.serving() as url:
            untaken = Opening(plan(url, connections=3))
            self.assertTrue(await_(lambda: untaken.results.qsize() > 0, PATIENCE))
            late = Opening(plan(url, connections=40))
            for opening in (untaken, late, waiting):
                opening.stop()
            for thread in threading.enumerate():
                if thread.name.startswith("syncws-bench"):
                    thread.join(SOON)
                    self.assertFalse(thread.is_alive())
        self.assertEqual([each.results.qsize() for each in (untaken, late, waiting)], [0, 0, 0])


if __name__ == "__main__":
    unittest.main()
