"""The local bus over real processes: stopped, killed, started together; and what that costs the others."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import tempfile
import threading
import time
from pathlib import Path
from typing import Any

from syncws import LocalBackplane
from syncws.testing import await_
from tests.bus.local_node import Node as Sink
from tests.bus.local_node import publish
from tests.bus.locals import skip_without_unix_sockets
from tests.guarantees.support import GuaranteeTestCase, note, size
from tests.tasks import PATIENCE, Task, stop_process

ROOT = Path(__file__).parents[2]

#: How much longer than promised something may take on a machine under load.
LOAD = 4.0


class Node:
    """A process on the bus: see tests/bus/local_node.py."""

    def __init__(self, directory: str, *instant: float) -> None:
        command = [sys.executable, "-m", "tests.bus.local_node", directory, *map(str, instant)]
        self.process = subprocess.Popen(
            command, cwd=ROOT, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True, bufsize=1
        )
        self.began: float | None = None
        self.settled = 0.0  # seconds from its start until it heard the others

    def wait(self) -> Node:
        """Wait until it has started."""
        said = self.hear()
        self.began, self.settled = said["began"], said["settled"]
        return self

    def hear(self) -> dict[str, Any]:
        assert self.process.stdout is not None
        line = Task(self.process.stdout.readline).result()
        return dict(json.loads(line))

    def tell(self, order: str) -> None:
        assert self.process.stdin is not None
        self.process.stdin.write(order + "\n")

    def ask(self, order: str) -> dict[str, Any]:
        self.tell(order)
        return self.hear()

    def end(self) -> None:
        self.process.send_signal(signal.SIGCONT)
        with self.process:
            assert self.process.stdin is not None
            self.process.stdin.close()
            try:
                self.process.wait(PATIENCE)
            finally:
                self.process.kill()


class LocalBusTests(GuaranteeTestCase):
    bound = 240.0

    def setUp(self) -> None:
        skip_without_unix_sockets()
        super().setUp()
        self.directory = os.path.join(self.enterContext(tempfile.TemporaryDirectory(prefix="bus")), "bus")

    def node(self, *instant: float) -> Node:
        made = Node(self.directory, *instant)
        self.addCleanup(made.end)
        return made

    def started(self) -> tuple[LocalBackplane, Sink]:
        backplane, sink = LocalBackplane(self.directory), Sink()
        self.addCleanup(backplane.close, 1)
        backplane.start(sink, "0" * 16)
        self.assertTrue(backplane.subscribe([], PATIENCE))
        return backplane, sink

    def test_a_process_that_is_stopped(self) -> None:
        """Who publishes does not wait for it, the others get everything as quickly as before, and it gets all of it
        once it goes on."""
        nodes = [self.node().wait() for _ in range(3)]
        backplane, _ = self.started()
        count = size(200, 1000)
        publish(backplane, count, 200, "before")
        before = [node.ask(f"report {count} before")["p50"] for node in nodes]
        stop_process(nodes[2].process.pid)
        worst = publish(backplane, count, 200, "stopped")["worst"]
        during = [node.ask(f"report {count} stopped") for node in nodes[:2]]
        os.kill(nodes[2].process.pid, signal.SIGCONT)
        self.assertTrue(backplane.flush(PATIENCE))
        self.assertLess(worst, 0.2 * LOAD)
        for report, usual in zip(during, before[:2], strict=True):
            self.assertEqual((report["received"], report["in order"]), ({"stopped": count}, True))
            self.assertLess(report["p50"], max(2 * usual, 0.005) * LOAD)
        afterwards = nodes[2].ask(f"report {count} stopped")
        self.assertEqual((afterwards["received"], afterwards["in order"]), ({"stopped": count}, True))
        self.assertEqual(afterwards["story"], ["up"])
        note(f"p50 before {before[0] * 1e3:.2f} ms, stopped {during[0]['p50'] * 1e3:.2f} ms, call {worst * 1e3:.1f} ms")

    def test_a_process_that_is_killed(self) -> None:
        """Its socket is gone soon, without anybody's publishing, and the one that takes its place receives soon after
        it has started."""
        backplane, sink = self.started()
        node = self.node().wait()
        os.kill(node.process.pid, signal.SIGKILL)
        killed = time.monotonic()
        self.assertTrue(await_(lambda: len(os.listdir(self.directory)) == 1, PATIENCE))
        gone = time.monotonic() - killed
        self.assertLess(gone, 2.0 * LOAD)
        self.assertTrue(await_(lambda: sink.story == ["up", "vanished"], PATIENCE))
        newer = self.node()
        over = threading.Event()
        task = Task(self._publish_until, over, backplane)
        try:
            newer.wait()
            assert newer.began is not None
            self.assertTrue(await_(lambda: newer.ask("report")["first"] is not None, PATIENCE))
            first = newer.ask("report")["first"] - newer.began
        finally:
            over.set()
            task.result()
        self.assertLess(first, 0.5 * LOAD)
        note(f"its file was gone after {gone * 1e3:.0f} ms, the next one received {first * 1e3:.0f} ms after its start")

    def _publish_until(self, over: threading.Event, backplane: LocalBackplane) -> None:
        while not over.wait(0.01):
            publish(backplane, 1, 0, "go")

    def test_four_at_once(self) -> None:
        """Four processes that start in the same instant know each other soon, without a second look."""
        slowest = 0.0
        for _ in range(size(3, 6)):
            instant = time.monotonic() + size(2, 2)
            nodes = [self.node(instant) for _ in range(4)]
            for node in nodes:
                node.wait()
            slowest = max(slowest, *(node.settled for node in nodes))
            for node in nodes:
                node.tell("see 3")
            for node in nodes:
                self.assertEqual(node.hear()["seen"], 3)
            for node in nodes:
                node.end()
        self.assertLess(slowest, 0.5 * LOAD)
        note(f"the slowest of {size(3, 6)} x 4 was connected with all after {slowest * 1e3:.0f} ms")
