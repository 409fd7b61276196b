"""recorder.py: a sink that keeps what it is told."""

from __future__ import annotations

from syncws._bus.recorder import Received, Recorder
from syncws.testing import LeakChecks
from tests.tasks import PATIENCE, Task


class RecorderTests(LeakChecks):
    """What a backplane tells is kept."""

    def test_everything_is_kept(self):
        """Messages, losses and ends are kept in order; what was dropped is added up."""
        sink = Recorder()
        sink.up(1.0)
        sink.received("a", b"1")
        sink.received("b", b"2", "position")
        sink.down("why")
        sink.dropped({"a": 2})
        sink.dropped({"a": 1, "b": 1})
        sink.up(2.0)
        sink.vanished("node")
        self.assertEqual(sink.received_all, [Received("a", b"1"), Received("b", b"2", "position")])
        self.assertEqual((sink.story, sink.reasons, sink.proofs), (["up", "down", "up"], ["why"], [1.0, 2.0]))
        self.assertEqual((sink.dropped_all, sink.vanished_all), ({"a": 3, "b": 1}, ["node"]))
        self.assertEqual((sink.on("a"), sink.on("c")), ([b"1"], []))

    def test_wait(self):
        """A test waits until what it is after was told, or until its time is over."""
        sink = Recorder()
        waiting = Task(sink.wait, lambda: sink.on("a") == [b"1"], PATIENCE)
        waiting.started.wait(PATIENCE)
        sink.received("a", b"1")
        self.assertTrue(waiting.result())
        self.assertFalse(sink.wait(lambda: bool(sink.reasons), 0.01))

    def test_the_gate(self):
        """While the gate is not set, whoever tells it of a message waits; two for one channel at a time are noted."""
        sink = Recorder()
        sink.gate.clear()
        tasks = [Task(sink.received, "a", b"1"), Task(sink.received, "b", b"2"), Task(sink.received, "a", b"3")]
        self.assertTrue(sink.wait(lambda: bool(sink.overlaps), PATIENCE))
        self.assertEqual(sink.received_all, [])
        sink.gate.set()
        for task in tasks:
            task.result()
        self.assertEqual(len(sink.received_all), 3)
        self.assertEqual(sink.overlaps, ["a"])
