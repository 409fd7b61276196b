"""What waits for the bus: order, bounds, what is given up, who is woken."""

from __future__ import annotations

import time
import unittest

from syncws._bus.outbox import Outbox
from tests.tasks import PATIENCE, Task


def outbox(most: int = 10, most_bytes: int = 1000) -> Outbox:
    return Outbox(most, most_bytes)


class OutboxTests(unittest.TestCase):
    def test_order_and_confirmation(self) -> None:
        """What was put in stays, in order, until it is confirmed, and a batch shows the same until then."""
        box = outbox()
        for data in (b"1", b"2", b"3"):
            self.assertTrue(box.put("c", data, False))
        self.assertEqual([each.data for each in box.batch()], [b"1", b"2", b"3"])
        self.assertEqual([each.data for each in box.batch()], [b"1", b"2", b"3"])
        box.confirm(2)
        self.assertEqual([each.data for each in box.batch()], [b"3"])
        self.assertEqual(box.size, (1, 1))

    def test_is_bounded_by_messages(self) -> None:
        """One message more than it takes is refused and counted, and there is room again after a confirmation."""
        box = outbox(most=2)
        self.assertEqual([box.put("c", b"x", False) for _ in range(3)], [True, True, False])
        self.assertEqual(box.refused, 1)
        box.confirm(1)
        self.assertTrue(box.put("c", b"x", False))

    def test_is_bounded_by_bytes(self) -> None:
        """The same for bytes."""
        box = outbox(most_bytes=10)
        self.assertEqual([box.put("c", bytes(6), False), box.put("c", bytes(5), False)], [True, False])
        self.assertTrue(box.put("c", bytes(4), False))
        self.assertEqual(box.size, (2, 10))

    def test_batches_are_bounded(self) -> None:
        """A batch has 500 messages or a mebibyte, and at least one message."""
        box = Outbox(10_000, 64 << 20)
        for _ in range(1200):
            box.put("c", b"x", False)
        self.assertEqual(len(box.batch()), 500)
        box.confirm(1200)
        for _ in range(3):
            box.put("c", bytes(700 << 10), False)
        self.assertEqual(len(box.batch()), 1)
        box.confirm(3)
        box.put("c", bytes(5 << 20), False)
        box.put("c", b"x", False)
        self.assertEqual([len(each.data) for each in box.batch()], [5 << 20])

    def test_what_is_old_is_given_up(self) -> None:
        """What was put in before an instant is counted by channel and gone; what is younger stays."""
        box = outbox()
        for channel in ("a", "b", "a"):
            box.put(channel, b"x", False)
        between = time.monotonic() + 0.001
        while time.monotonic() <= between:
            pass
        box.put("a", b"young", False)
        self.assertEqual(box.expire(between), {"a": 2, "b": 1})
        self.assertEqual([each.data for each in box.batch()], [b"young"])
        self.assertEqual(box.expire(between), {})
        self.assertEqual(box.expire(float("inf")), {"a": 1})

    def test_who_waits_for_a_message_is_woken(self) -> None:
        """`wait` ends with the first message, and at once while there is one."""
        box = outbox()
        waiting = Task(box.wait, PATIENCE)
        waiting.started.wait(PATIENCE)
        box.put("c", b"x", False)
        waiting.result(PATIENCE / 2)
        Task(box.wait, PATIENCE).result(PATIENCE / 2)

    def test_flush(self) -> None:
        """It is over when the last message was confirmed or given up; False if that takes too long."""
        box = outbox()
        self.assertTrue(box.flush(0))
        box.put("c", b"x", False)
        self.assertFalse(box.flush(0.01))
        flushing = Task(box.flush, PATIENCE)
        flushing.started.wait(PATIENCE)
        box.confirm(1)
        self.assertIs(flushing.result(PATIENCE / 2), True)

    def test_close(self) -> None:
        """Once it is closed it takes nothing, and nobody waits."""
        box = outbox()
        box.put("c", b"x", False)
        tasks = [Task(box.flush, PATIENCE), Task(box.pause, PATIENCE)]
        for task in tasks:
            task.started.wait(PATIENCE)
        box.close()
        self.assertIs(tasks[0].result(PATIENCE / 2), False)
        tasks[1].result(PATIENCE / 2)
        self.assertFalse(box.put("c", b"x", False))
        box.confirm(1)
        Task(box.wait, PATIENCE).result(PATIENCE / 2)

    def test_a_pause_is_not_ended_by_messages(self) -> None:
        """Between two attempts to connect messages do not hurry anybody."""
        box = outbox()
        pausing = Task(box.pause, 0.2)
        pausing.started.wait(PATIENCE)
        box.put("c", b"x", False)
        box.confirm(1)
        pausing.result()
        self.assertGreaterEqual(pausing.seconds, 0.15)


if __name__ == "__main__":
    unittest.main()
