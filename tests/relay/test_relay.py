"""The relay: what one Manager tells its like in other processes, over a bus in memory."""

from __future__ import annotations

import ctypes
import errno
import logging
import os
import sys
import tempfile
import threading
import time
import unittest
from typing import Any
from unittest import mock

from syncws import LocalBackplane, Publisher
from syncws._relay import numbers
from syncws._relay.envelope import Kind
from syncws._relay.relay import Relay
from syncws.errors import BINARY
from syncws.testing import LeakChecks, MemoryBackplane, await_
from tests.tasks import PATIENCE, Task

from .support import Members, PreparedMessage, Process, RelayCase, text


class MessageTests(RelayCase):
    """What is sent here arrives there."""

    def test_a_broadcast_to_a_room(self) -> None:
        """It reaches the members of the room elsewhere, once, and comes back to nobody."""
        one, other = self.two()
        self.assertTrue(one.relay.broadcast("lobby", text("hällo")))
        self.assertTrue(one.relay.broadcast("elsewhere", text("nobody")))
        self.settle(one, other)
        self.assertEqual((one.here.got, other.here.got), ([], [("lobby", "hällo".encode())]))

    def test_a_broadcast_to_all(self) -> None:
        """It reaches every process, also one that has no member in any room."""
        one, other = self.two()
        third = self.process()
        third.join()
        one.relay.broadcast(None, PreparedMessage(BINARY, b"\xff"), ["ann", ("a", 1)])
        self.settle(one, other)
        for each in (other, third):
            self.assertEqual(each.here.got, [(None, b"\xff", "ann", ("a", 1))])

    def test_a_message_to_an_id(self) -> None:
        """It reaches the process that has the id, and 42 is not "42"."""
        one, other = self.two()
        other.join(id=42)
        for id in (42, "42"):
            one.relay.send(id, text("hi"))
        self.settle(one, other)
        self.assertEqual(other.here.got, [("to", 42, b"hi")])

    def test_deeds(self) -> None:
        """close, join and leave are done where the id is, in their order, by a thread that is not the bus's."""
        one, other = self.two()
        other.join(id="ann")
        one.relay.do("join", "ann", room='["a",1]')
        one.relay.do("leave", "ann", room='"lobby"')
        one.relay.do("close", "ann", code=1000, reason="bye")
        self.settle(one, other)
        self.assertEqual(
            other.here.got, [("join", "ann", ("a", 1)), ("leave", "ann", "lobby"), ("close", "ann", 1000, "bye")]
        )

    def test_order_of_eight_threads(self) -> None:
        """Eight threads that send to one room: all of it arrives, that of each thread in its order, no copy, no gap."""
        one, other = self.two()
        gate = threading.Barrier(8)

        def send(thread: int) -> None:
            gate.wait()
            for number in range(200):
                one.relay.broadcast("lobby", text(f"{thread} {number}"))

        interval = sys.getswitchinterval()
        sys.setswitchinterval(1e-5)
        self.addCleanup(sys.setswitchinterval, interval)
        for task in [Task(send, thread) for thread in range(8)]:
            task.result()
        self.settle(one, other)
        for thread in range(8):
            mine = [int(each.split()[1]) for each in other.texts if each.startswith(f"{thread} ")]
            self.assertEqual(mine, list(range(200)))
        self.assertEqual((other.gaps, other.relay.health().duplicates), ([], 0))

    def test_too_large(self) -> None:
        """A message that is too large for the bus is the caller's error, and takes no number."""
        self.bus_options = {"max_message": 1000}
        self.setUp()
        one, other = self.two()
        with self.assertRaisesRegex(ValueError, "max_message is 1,000"):
            one.relay.broadcast("lobby", text("x" * 1000))
        one.relay.broadcast("lobby", text("short"))
        self.settle(one, other)
        self.assertEqual((other.texts, other.gaps), (["short"], []))

    def test_names_that_cannot_travel(self) -> None:
        """A room or id of another type is refused before anything is sent."""
        one, _ = self.two()
        for call in (
            lambda: one.relay.broadcast(1.5, text("x")),
            lambda: one.relay.broadcast(None, text("x"), [b"ann"]),
            lambda: one.relay.send(None, text("x")),
            lambda: one.relay.joining([object()]).__enter__(),
        ):
            with self.assertRaisesRegex(TypeError, "is a str, an int or a tuple"):
                call()


class LocalMessageTests(MessageTests):
    """The same on a bus where everything arrives everywhere, and nothing comes back."""

    bus_options = {"addressed": False, "echoes": False, "tells_ends": True}


class LossTests(RelayCase):
    """Each loss is in a gap."""

    def test_lost_on_the_way(self) -> None:
        """What the bus swallows is known with the next message: received and missed are what was sent."""
        one, other = self.two()
        one.relay.broadcast("lobby", text("1"))
        self.bus.settle()
        other.backplane.lose(3)
        for number in range(2, 8):
            one.relay.broadcast("lobby", text(str(number)))
        self.settle(one, other)
        (gap,) = other.gaps
        self.assertEqual(
            (other.texts, gap.missed, gap.room, gap.node), (["1", "5", "6", "7"], 3, "lobby", one.relay.node)
        )
        self.assertEqual(other.relay.health().missed, 3)

    def test_a_loss_before_a_beat(self) -> None:
        """A gap begins before what is missing was sent, although the sender was heard of since then."""
        one, other = self.two()
        one.relay.broadcast("lobby", text("there"))
        self.bus.settle()
        other.backplane.lose()
        before = time.time()
        one.relay.broadcast("lobby", text("missed"))
        one.relay.beat()
        self.bus.settle()
        one.relay.broadcast("lobby", text("later"))
        self.settle(one, other)
        (gap,) = other.gaps
        self.assertEqual(gap.missed, 1)
        self.assertLessEqual(gap.since, before)
        self.assertGreaterEqual(gap.until, before)

    def test_sent_twice(self) -> None:
        """What the bus delivers twice, as it might have lost it, reaches the members once."""
        one, other = self.two()
        for number in range(5):
            one.relay.broadcast("lobby", text(str(number)))
        self.bus.settle()
        one.backplane.twice()
        self.settle(one, other)
        self.assertEqual((other.texts, other.gaps), (["0", "1", "2", "3", "4"], []))
        self.assertGreaterEqual(other.relay.health().duplicates, 5)

    def test_a_full_queue(self) -> None:
        """What does not fit into the queue is told, with nothing sent afterwards: the tail of a flood is no secret."""
        self.bus_options = {"queue": 10}
        self.setUp()
        one, other = self.two()
        self.bus.freeze()
        took = [one.relay.broadcast("lobby", text(str(number))) for number in range(100)]
        self.bus.thaw()
        self.assertTrue(await_(lambda: other.missed > 0))
        self.settle(one, other)
        self.assertEqual(took.count(True), len(other.texts))
        self.assertEqual(len(other.texts) + other.missed, 100)
        self.assertEqual(one.relay.health().dropped_out, other.missed)

    def test_dropped_on_the_way_out(self) -> None:
        """What the bus had taken and gives up is told as well, to those who have never heard of the channel too."""
        one, other = self.two()
        one.backplane.drop_out(4)
        with self.assertLogs("syncws.relay", "WARNING"):
            for number in range(4):
                one.relay.broadcast("lobby", text(str(number)))
            self.assertTrue(await_(lambda: len(other.texts) + other.missed == 4))
        one.relay.broadcast("lobby", text("5"))
        self.settle(one, other)
        self.assertEqual((other.texts[-1], len(other.texts) + other.missed), ("5", 5))
        self.assertGreater(other.missed, 0)

    def test_what_is_owed_at_the_end(self) -> None:
        """What the queue had refused is told before the goodbye."""
        self.bus_options = {"queue": 10}
        self.setUp()
        one, other = self.two()
        self.bus.freeze()
        while one.relay.broadcast("lobby", text("more")):
            pass
        with mock.patch.object(one.relay.outward, "tell_of_losses", return_value=True):  # the pulse might be in time
            self.bus.thaw()
            self.bus.settle()
            one.relay.end(5.0)
        self.assertTrue(await_(lambda: other.missed == 1))

    def test_an_end_that_owes(self) -> None:
        """Where there is no room to tell of a loss nobody says goodbye: by that the others know."""
        self.bus_options = {"queue": 10}
        self.setUp()
        one, _ = self.two()
        said: list[Kind] = []
        with (
            mock.patch.object(one.relay.outward, "tell_at_the_end", return_value=False),
            mock.patch.object(one.relay.outward, "say", lambda kind, channel, *args, **words: said.append(kind)),
        ):
            one.relay.end(5.0)
        self.assertNotIn(Kind.LEAVE, said)

    def test_a_process_that_left_and_lost(self) -> None:
        """An end without a goodbye is a gap, although the process has said that it leaves: it lost something after."""
        one, other = self.two()
        boot = one.relay.boot
        one.relay.end(5.0)
        self.assertTrue(await_(lambda: not other.relay.nodes.alive()))
        for _ in range(2):
            other.relay._inward.vanished(boot.hex())
        self.settle(other)
        self.assertEqual([(gap.missed, gap.node) for gap in other.gaps], [(None, boot.hex())])

    def test_a_process_that_is_silent(self) -> None:
        """One whose beats are missing is a gap, except on a bus that tells of ends itself: there it is only busy."""
        for tells_ends in (False, True):
            with self.subTest(tells_ends=tells_ends):
                self.bus_options = {"tells_ends": tells_ends}
                self.setUp()
                one, other = self.two()
                other.relay._inward.silent(one.relay.boot)
                self.settle(other)
                self.assertEqual(
                    ([gap.reason for gap in other.gaps], other.relay.nodes.alive()),
                    ([] if tells_ends else ["node vanished"], {}),
                )

    def test_the_bus_was_lost(self) -> None:
        """A bus that is back is told once, with since when something may be missing."""
        one, other = self.two()
        one.relay.broadcast("lobby", text("before"))
        self.settle(other)
        with self.assertLogs("syncws.relay", "ERROR"):
            other.backplane.cut("pulled")
            self.settle(other)
        before = time.time()
        one.relay.broadcast("lobby", text("missed"))
        self.bus.settle()
        other.backplane.mend()
        one.relay.broadcast("lobby", text("there"))
        self.assertTrue(await_(lambda: other.missed == 1))
        self.settle(one, other)
        self.assertEqual([each[0] for each in other.told], [False, True])
        self.assertEqual(other.told[0][1], "pulled")
        self.assertEqual(other.texts, ["before", "there"])
        unknown = other.gaps[0]
        self.assertEqual((unknown.room, unknown.node), (None, None))
        self.assertIn("pulled", unknown.reason)
        self.assertLess(unknown.since, before)

    def test_the_first_connection(self) -> None:
        """A bus that is there from the beginning is no gap; one that comes after somebody has joined is."""
        one, _ = self.two()
        self.settle(one)
        self.assertEqual((one.gaps, one.told), ([], []))
        with self.assertLogs("syncws.relay", "ERROR"):
            self.bus.cut()
            late = self.process()
            late.join("lobby")
            self.settle(late)
        self.bus.mend()
        self.assertTrue(await_(lambda: bool(late.gaps)))
        self.assertIsNone(late.gaps[0].missed)

    def test_an_acknowledgement_that_is_late(self) -> None:
        """Who joins goes on after join_timeout; a gap of that room says when the bus let it listen at last."""
        one, other = self.two()
        one.relay._join_timeout = 0.0
        one.backplane.defer()
        one.join("late")
        other.relay.broadcast("late", text("missed"))
        self.bus.settle()
        one.backplane.acknowledge()
        self.assertTrue(await_(lambda: bool(one.gaps)))
        self.assertEqual((one.gaps[0].room, one.gaps[0].missed), ("late", None))

    def test_a_sender_that_forgot_its_numbers(self) -> None:
        """A process remembers the numbers of so many channels; one that it forgot begins anew, and is no gap."""
        one, other = self.two()
        with mock.patch.object(numbers, "MOST_CHANNELS", 3):
            for round in range(3):
                one.relay.broadcast("lobby", text(str(round)))
                for room in range(5):
                    one.relay.broadcast(room, text("x"))
        self.settle(one, other)
        self.assertEqual((other.texts, other.gaps, other.relay.health().duplicates), (["0", "1", "2"], [], 0))

    def test_a_callback_that_takes_its_time(self) -> None:
        """While on_gap blocks, the gaps of a room become one: nothing piles up, and nothing is left out."""
        one, other = self.two()
        go_on, began = threading.Event(), threading.Event()

        def on_gap(gap: Any) -> None:
            began.set()
            go_on.wait(PATIENCE)
            other.gaps.append(gap)

        other.relay.gaps._on_gap = on_gap
        for number in range(20):
            one.relay.broadcast("lobby", text(str(number)))
            self.bus.settle()
            other.backplane.lose(1)
            one.relay.broadcast("lobby", text("lost"))
            self.bus.settle()
        self.assertTrue(began.wait(PATIENCE))
        go_on.set()
        self.settle(one, other)
        self.assertEqual(other.missed, 19)
        self.assertLessEqual(len(other.gaps), 2)


class LifeTests(RelayCase):
    """Nodes, threads, forks."""

    def test_nothing_before_the_first_use(self) -> None:
        """A relay that nobody used has no thread, and did not touch the bus; after its end it has none either."""
        threads = set(threading.enumerate())
        process = self.process()
        self.assertEqual(set(threading.enumerate()), threads)
        process.join("lobby")
        self.assertNotEqual(set(threading.enumerate()), threads)
        process.relay.end(5.0)
        self.assertEqual(set(threading.enumerate()), threads)

    def test_it_begins_again_after_its_end(self) -> None:
        """The next use after the end begins anew, under another name."""
        one, other = self.two()
        name = one.relay.node
        one.relay.end(5.0)
        one.relay.broadcast("lobby", text("again"))
        self.assertTrue(await_(lambda: other.texts == ["again"]))
        self.assertNotEqual(one.relay.node, name)
        self.settle(one, other)
        self.assertEqual(other.gaps, [])

    def test_members_who_stay_over_an_end(self) -> None:
        """Members who are here while a relay ends and begins again hear what is for their rooms and ids."""
        one, other = self.two()
        one.join(id="ann")
        one.relay.end(5.0)
        one.relay.broadcast(None, text("again"))
        self.bus.settle()
        other.relay.broadcast("lobby", text("room"))
        other.relay.send("ann", text("id"))
        self.settle(one, other)
        self.assertEqual(one.here.got, [("lobby", b"room"), ("to", "ann", b"id")])

    def test_a_goodbye(self) -> None:
        """Who ends is out of the list of nodes at once, and that is no gap."""
        one, other = self.two()
        self.assertEqual({each.name for each in one.relay.known_nodes()}, {one.relay.node, other.relay.node})
        other.relay.end(5.0)
        self.settle(one)
        self.assertEqual([each.here for each in one.relay.known_nodes()], [True])
        self.assertEqual(one.gaps, [])

    def test_a_process_that_vanishes(self) -> None:
        """A process whose beats are missing is out after three, and what it had not sent is a gap."""
        one, other = self.two()
        other.relay._pulse.end(5.0)
        other.backplane.vanish()
        with one.relay.nodes._lock:
            one.relay.nodes._deadlines[other.relay.boot] = 0.0
        one.relay._pulse.wake()
        self.assertTrue(await_(lambda: bool(one.gaps)))
        self.assertEqual((one.gaps[0].reason, one.gaps[0].node), ("node vanished", other.relay.node))
        self.assertEqual(len(one.relay.known_nodes()), 1)

    def test_a_process_that_is_stopped_while_it_looks(self) -> None:
        """It takes nobody for dead either."""
        one, other = self.two()
        one.relay._pulse.end(5.0)
        began = time.monotonic()
        later = iter([began])
        with (
            mock.patch("syncws._relay.relay.time.monotonic", lambda: next(later, began + 30.0)),
            mock.patch.object(one.relay.nodes, "late", wraps=one.relay.nodes.late) as late,
        ):
            one.relay._look(0.0)
        late.assert_called_once()
        self.assertEqual(list(one.relay.nodes.alive()), [other.relay.boot])

    def test_a_stopped_process_takes_nobody_for_dead(self) -> None:
        """After it was stopped itself, the beats of the others are still to be read."""
        one, other = self.two()
        one.backplane.hold()
        with one.relay.nodes._lock:
            one.relay.nodes._deadlines[other.relay.boot] = time.monotonic() - 5.0
        one.relay._look(20.0)
        one.backplane.release()
        self.settle(one)
        self.assertEqual((one.gaps, len(one.relay.known_nodes())), ([], 2))

    def test_rooms_that_nobody_is_in_any_more(self) -> None:
        """A channel is let go some time after its last member, with what was remembered of it."""
        one, other = self.two()
        other.relay.broadcast("lobby", text("x"))
        self.settle(one)
        one.here.in_rooms.clear()
        self.assertIn('r:"lobby"', one.backplane._channels)
        with mock.patch("syncws._relay.interests.LINGER", -1.0):
            one.relay._sweep()
        self.assertNotIn('r:"lobby"', one.backplane._channels)
        self.assertNotIn('r:"lobby"', one.relay.incoming._last)
        self.assertIn("*", one.backplane._channels)

    def test_a_sweep_while_somebody_joins(self) -> None:
        """A channel that somebody is about to join is not let go, however long that takes."""
        one, other = self.two()
        with mock.patch("syncws._relay.interests.LINGER", -1.0), one.relay.joining(["new"]):
            one.relay._sweep()
            one.here.in_rooms.add("new")
        with mock.patch("syncws._relay.interests.LINGER", -1.0):
            one.relay._sweep()
        other.relay.broadcast("new", text("there"))
        self.settle(one)
        self.assertEqual(one.texts, ["there"])

    @unittest.skipUnless(hasattr(os, "fork"), "needs fork")
    def test_the_child_of_a_fork(self) -> None:
        """The child is a process of its own: another name, no thread, nothing of what the parent heard."""
        one, other = self.two()
        one.relay.broadcast("lobby", text("before"))
        self.settle(other)
        name = one.relay.node
        child = os.fork()
        if child == 0:
            fine = one.relay.node != name and not one.relay._began and not one.relay.nodes.alive()
            fine = fine and not other.relay.incoming._last and len(one.relay.interests) == 0
            os._exit(0 if fine else 1)
        self.assertEqual(os.waitpid(child, 0)[1], 0)
        one.relay.broadcast("lobby", text("after"))
        self.settle(one, other)
        self.assertEqual((other.texts, other.gaps), (["before", "after"], []))

    def test_no_thread_to_be_had(self) -> None:
        """Where no thread can be started a message is not sent, this is said, and the next one tries again."""
        process = self.process()
        with mock.patch("threading.Thread.start", side_effect=RuntimeError("no thread")):
            with self.assertLogs("syncws.relay", "ERROR"):
                self.assertFalse(process.relay.broadcast("lobby", text("x")))
            with self.assertLogs("syncws.relay", "ERROR"), process.relay.joining(["lobby"]):
                pass
        self.assertTrue(process.relay.broadcast("lobby", text("x")))

    def test_an_end_while_others_publish(self) -> None:
        """What a thread publishes while the bus is ended is not sent, and the others are told once there is a bus."""
        one, other = self.two()
        close = one.backplane.close

        def close_and_publish(timeout: float) -> None:
            close(timeout)
            self.assertFalse(one.relay.broadcast("lobby", text("too late")))

        with mock.patch.object(one.backplane, "close", close_and_publish):
            one.relay.end(5.0)
        one.relay.broadcast("lobby", text("after"))
        self.settle(one, other)
        self.assertEqual(other.texts, ["after"])
        self.assertEqual([(gap.room, gap.missed, gap.node) for gap in other.gaps], [("lobby", None, one.relay.node)])

    def test_no_descriptor_to_be_had(self) -> None:
        """Neither is one that the bus needs and does not get; a handler of the log that broadcasts does not hang."""
        process = self.process()

        class Tells(logging.Handler):
            def emit(self, record: logging.LogRecord) -> None:
                if not said:
                    said.append(record.getMessage())
                    process.relay.broadcast("lobby", text(record.getMessage()))

        said: list[str] = []
        logger, handler = logging.getLogger("syncws.relay"), Tells()
        logger.addHandler(handler)
        self.addCleanup(logger.removeHandler, handler)
        with mock.patch.object(process.backplane, "start", side_effect=OSError(errno.EMFILE, "too many")):
            self.assertFalse(Task(process.relay.broadcast, "lobby", text("x")).result())
        self.assertIn("too many", said[0])
        self.assertTrue(process.relay.broadcast("lobby", text("x")))


@unittest.skipUnless(hasattr(os, "fork"), "there are no forks here")
class UnknownForkTests(LeakChecks):
    """A fork of which Python is not told, as uWSGI's are."""

    def test_a_process_of_its_own(self) -> None:
        """Its relay and its Publisher have a name of their own from their first use on, and so has the parent's."""
        folder = self.enterContext(tempfile.TemporaryDirectory(prefix="bus"))
        relay = Relay(LocalBackplane(f"{folder}/bus"), Members())
        publisher = Publisher(LocalBackplane(f"{folder}/bus"))
        reader, writer = os.pipe()
        names = {(relay.node, publisher._boot)}
        for _ in range(2):
            pid = ctypes.PyDLL(None).fork()
            if pid == 0:
                status = 1
                try:
                    relay.begin()
                    publisher.send("nobody", "hello")
                    os.write(writer, relay.boot + publisher._boot)
                    status = 0
                finally:
                    os._exit(status)
            self.assertEqual(os.waitpid(pid, 0)[1], 0)
            told = os.read(reader, 16)
            names.add((told[:8].hex(), told[8:]))
        os.close(reader)
        os.close(writer)
        self.assertEqual(len(names), 3)
        self.assertEqual(len({boot for _, boot in names}), 3)


class JunkTests(RelayCase):
    """Who can write to the bus can do no more than speak to members."""

    def test_junk_on_every_channel(self) -> None:
        """What is no envelope, or is that of another version or another channel, is counted, and nothing happens."""
        one, other = self.two()
        one.join(id="ann")
        good = self._captured(other)
        with self.assertLogs("syncws.relay", "WARNING"):
            for channel in ("*", 'r:"lobby"', 'i:"ann"', f"n:{one.relay.node}", "r:lobby", "nonsense"):
                for data in (b"", b"x", b"\x02" + good[1:], good[:-3] + b"\xff\xff\xff", good[:1] + b"\x09" + good[2:]):
                    self.bus.inject(channel, data)
            self.bus.inject('i:"ann"', good)  # that of the room
            self.settle(one, other)
        health = one.relay.health()
        self.assertEqual(one.here.got, [])
        self.assertGreater(health.bad, 10)
        self.assertGreater(health.foreign, 2)

    def _captured(self, process: Process) -> bytes:
        sent: list[bytes] = []
        with mock.patch.object(
            MemoryBackplane, "publish", lambda self, channel, data, keep=False: not sent.append(data)
        ):
            process.relay.broadcast("lobby", text("hello"))
        return sent[0]

    def test_a_relay_is_given_up_with_its_manager(self) -> None:
        """Nothing keeps a relay that was never used."""
        import gc
        import weakref

        relay = weakref.ref(Process(self.bus).relay)
        gc.collect()
        self.assertIsNone(relay())


if __name__ == "__main__":
    unittest.main()
