"""What the tests of a bus share: processes with a Manager on it (`bus_node`), and what they say of each other."""

from __future__ import annotations

import functools
import json
import os
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

from tests.tasks import PATIENCE, Task, stop_process

from .support import GuaranteeTestCase

ROOT = Path(__file__).parents[2]

#: How many times as long as promised something may take on a machine under load.
LOAD = 2.0

#: Seconds that no call of a Manager may exceed, whatever the bus does.
CALL = 0.2


class Node:
    """A process with a Manager on a bus. Any thread, one at a time."""

    def __init__(
        self, bus: tuple[str, str], *, members: int = 1, room: str = "lobby", duplicate: str = "replace", **options: Any
    ) -> None:
        spec = {"bus": bus, "members": members, "room": room, "duplicate": duplicate, "options": options}
        self.process = subprocess.Popen(
            [sys.executable, "-m", "tests.guarantees.bus_node", json.dumps(spec)],
            cwd=ROOT,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
            bufsize=1,
        )

    @functools.cached_property
    def _said(self) -> Any:
        """What it said when it was there: later than its start, so that several start at the same time."""
        return self.hear()

    @property
    def name(self) -> str:
        """What it is called on the bus."""
        return str(self._said["node"])

    @property
    def began(self) -> float:
        """When it was there, by time.monotonic()."""
        return float(self._said["began"])

    def tell(self, order: str, **keywords: Any) -> None:
        """Give an order, and go on; `hear` has its answer."""
        assert self._said
        assert self.process.stdin is not None
        self.process.stdin.write(json.dumps([order, keywords]) + "\n")

    def hear(self, seconds: float = 240.0) -> Any:
        """The next answer."""
        assert self.process.stdout is not None
        line = Task(self.process.stdout.readline).result(seconds)
        assert line, "the process has ended"
        return json.loads(line)

    def ask(self, order: str, **keywords: Any) -> Any:
        """Give an order; its answer."""
        self.tell(order, **keywords)
        return self.hear()

    def report(self) -> Any:
        """What has come so far."""
        return self.ask("report")

    def await_(self, condition: Callable[[Any], bool], seconds: float = PATIENCE) -> Any:
        """Ask for a report until it is as it should be; the last one, whether it is or not."""
        until = time.monotonic() + seconds
        while not condition(report := self.report()) and time.monotonic() < until:
            time.sleep(0.05)
        return report

    def stop(self) -> None:
        """Stop the process (SIGSTOP)."""
        stop_process(self.process.pid)

    def go_on(self) -> None:
        self.process.send_signal(signal.SIGCONT)

    def kill(self) -> None:
        self.process.kill()
        self.process.wait()

    def end(self) -> None:
        """Let it end; kill it if it does not."""
        with self.process:
            if self.process.poll() is None:
                self.go_on()
            assert self.process.stdin is not None
            try:
                self.process.stdin.close()
                self.process.wait(PATIENCE)
            except OSError:  # it has ended, with an order that it did not read
                pass
            finally:
                self.process.kill()


class BusCase(GuaranteeTestCase):
    """Each test makes its processes; all are gone after it."""

    def node(self, bus: tuple[str, str], **options: Any) -> Node:
        made = Node(bus, **options)
        self.addCleanup(made.end)
        return made

    def local(self) -> tuple[str, str]:
        """A new local bus."""
        folder = self.enterContext(tempfile.TemporaryDirectory(prefix="bus"))
        return "local", os.path.join(folder, "bus")

    def joined(self, *nodes: Node) -> None:
        """Wait until all know each other, and have heard of each other's numbers in the room."""
        for node in nodes:
            report = node.await_(lambda report: bool(report["nodes"] >= len(nodes)))
            self.assertGreaterEqual(report["nodes"], len(nodes), report["health"])
        for node in nodes:
            node.ask("send", count=1, sender=node.name)
        for node in nodes:
            report = node.await_(lambda report: bool(report["received"] >= len(nodes)))
            self.assertEqual(report["received"], len(nodes))

    def accounted(self, node: Node, sender: Node, published: int, seconds: float = PATIENCE) -> Any:
        """Its last report, once what it got of a stream and what it says was missed is what was published."""

        def told(report: Any) -> int:
            missed = sum(gap["missed"] or 0 for gap in report["gaps"] if gap["node"] == sender.name)
            return int(report["by_sender"].get("stream", {"count": 0})["count"] + missed)

        report = node.await_(lambda report: told(report) >= published and report["same"], seconds)
        self.assertEqual(told(report), published, (report["by_sender"], report["gaps"], report["health"]))
        self.assertEqual((report["wrong"], report["closed"]), (0, False), report["by_sender"])
        self.assertTrue(report["same"], "members got different amounts")
        return report
