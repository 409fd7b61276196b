"""Messages from outside: what members get, what callers are told, threads and forks."""

from __future__ import annotations

import os
import threading
import unittest
from collections.abc import Callable, Sequence
from typing import Any

from syncws import TEXT, BackplaneError, BackplaneTimeout, History, PreparedMessage, Publisher
from syncws._relay.envelope import Envelope, decode
from syncws.testing import MemoryBackplane, MemoryBus, await_
from tests.base.test_forks import in_child
from tests.tasks import PATIENCE, Task

from .support import RelayCase


class Outlet:
    """An `Outlet` that writes down what it is given, and does with it what the test says."""

    def __init__(self) -> None:
        self.sent: list[tuple[str, Envelope, bool]] = []
        self.timeouts: list[float] = []
        self.closed = 0
        self.then: Callable[[], object] = lambda: None

    def send(self, messages: Sequence[tuple[str, bytes]], timeout: float, *, keep: bool = False) -> None:
        self.sent += [(channel, decode(data), keep) for channel, data in messages]
        self.timeouts.append(timeout)
        self.then()

    def close(self) -> None:
        self.closed += 1


class Bus(MemoryBackplane):
    """A backplane with an outlet of the test's."""

    def __init__(self, history: History | None = None) -> None:
        super().__init__(MemoryBus(history=history))
        self.way_out = Outlet()
        self.outlets = 0

    def outlet(self) -> Outlet:  # type: ignore[override]
        self.outlets += 1
        return self.way_out


class ToMembersTests(RelayCase):
    """What the members of other processes get."""

    def setUp(self) -> None:
        super().setUp()
        self.publisher = self.enterContext(Publisher(MemoryBackplane(self.bus)))
        self.one, self.other = self.two()

    def got(self) -> list[Any]:
        """What both have got, which is the same."""
        self.settle(self.one, self.other)
        self.assertEqual(self.one.here.got, self.other.here.got)
        got, self.one.here.got, self.other.here.got = self.one.here.got, [], []
        return got

    def test_broadcasts(self) -> None:
        """A broadcast reaches the members of a room, or all, in every process; each kind of message does."""
        self.publisher.broadcast("all")
        self.publisher.broadcast(b"\xff", room="lobby")
        self.publisher.broadcast(PreparedMessage(TEXT, "ready"), room="lobby", exclude=["ann", 5])
        self.publisher.broadcast(b"as text", room="lobby", text=True)
        self.publisher.broadcast_json({"a": [1, "ü"]}, room="lobby", exclude=[("a", 1)])
        self.assertEqual(
            self.got(),
            [
                (None, b"all"),
                ("lobby", b"\xff"),
                ("lobby", b"ready", "ann", 5),
                ("lobby", b"as text"),
                ("lobby", '{"a":[1,"ü"]}'.encode(), ("a", 1)),
            ],
        )

    def test_by_id(self) -> None:
        """send, close, join and leave reach the members of an id, wherever they are."""
        self.other.join(id=42)
        self.publisher.send(42, "hi")
        self.publisher.send_json(42, ["hi"])
        self.publisher.send("42", "for another")
        self.publisher.join(42, ("a", 1))
        self.publisher.leave(42, "lobby")
        self.publisher.close(42, 4000, "away")
        self.settle(self.other)
        self.assertEqual(
            self.other.here.got,
            [
                ("to", 42, b"hi"),
                ("to", 42, b'["hi"]'),
                ("join", 42, ("a", 1)),
                ("leave", 42, "lobby"),
                ("close", 42, 4000, "away"),
            ],
        )
        self.assertEqual(self.one.here.got, [])

    def test_nothing_is_missed_and_nothing_is_doubled(self) -> None:
        """A copy is dropped by its number; a message that was lost on the bus is a gap of one."""
        self.publisher.broadcast("1", room="lobby")
        self.bus.settle()
        self.one.backplane.lose(1)
        self.publisher.broadcast("2", room="lobby")
        self.publisher.broadcast("3", room="lobby")
        self.settle(self.one, self.other)
        self.assertEqual((self.one.texts, self.other.texts), (["1", "3"], ["1", "2", "3"]))
        self.assertEqual((self.one.missed, self.other.missed), (1, 0))

    def test_another_publisher_is_another_sender(self) -> None:
        """The first message of each Publisher is the beginning of its numbers: it is neither a copy nor after a gap."""
        for number in range(5):
            with Publisher(MemoryBackplane(self.bus)) as publisher:
                publisher.broadcast(str(number), room="lobby")
        self.settle(self.one)
        self.assertEqual((self.one.texts, self.one.gaps), (list("01234"), []))

    def test_threads(self) -> None:
        """What eight threads send by one Publisher at the same time all arrives, each thread's in its order."""

        def send(name: int) -> None:
            for number in range(100):
                self.publisher.broadcast(f"{name} {number}", room="lobby", timeout=PATIENCE)

        tasks = [Task(send, name) for name in range(8)]
        for task in tasks:
            task.result()
        self.settle(self.one, self.other)
        self.assertEqual(self.one.gaps + self.other.gaps, [])
        for name in range(8):
            theirs = [text for text in self.one.texts if text.startswith(f"{name} ")]
            self.assertEqual(theirs, [f"{name} {number}" for number in range(100)])


class CallTests(RelayCase):
    """What the bus is given, and what callers are told."""

    def test_numbers(self) -> None:
        """Numbers count for each channel from 1 on, the first says that it is the first, and one boot has them all."""
        bus = Bus()
        publisher = Publisher(bus)
        for room in ("a", "b", "a"):
            publisher.broadcast("x", room=room)
        self.assertEqual(
            [(channel, each.number, each.begins) for channel, each, _ in bus.way_out.sent],
            [('r:"a"', 1, True), ('r:"b"', 1, True), ('r:"a"', 2, False)],
        )
        self.assertEqual(len({each.boot for _, each, _ in bus.way_out.sent}), 1)
        self.assertEqual(bus.outlets, 1)

    def test_a_number_that_failed_is_used_up(self) -> None:
        """After a failure the next message has the next number: if the one before was not delivered, that is a gap."""
        bus = Bus()
        publisher = Publisher(bus)
        for then in (None, BackplaneTimeout("too late"), BackplaneError("not you"), None):
            bus.way_out.then = lambda then=then: _raise(then)  # type: ignore[misc]
            try:
                publisher.broadcast("x")
            except BackplaneError as error:
                self.assertIs(error, then)
        self.assertEqual([each.number for _, each, _ in bus.way_out.sent], [1, 2, 3, 4])

    def test_rooms_that_remember(self) -> None:
        """What is for a room that remembers is to be kept; what is for all, for an id or for another room is not."""
        bus = Bus(History(rooms=lambda room: room == "lobby"))
        publisher = Publisher(bus)
        publisher.broadcast("kept", room="lobby")
        publisher.broadcast("not", room="hall")
        publisher.broadcast("not")
        publisher.send("lobby", "not")
        publisher.join("ann", "lobby")
        self.assertEqual([keep for *_, keep in bus.way_out.sent], [True, False, False, False, False])
        for history in (None, History()):
            bus = Bus(history)
            Publisher(bus).broadcast("x", room="hall")
            self.assertEqual([keep for *_, keep in bus.way_out.sent], [history is not None])

    def test_timeouts(self) -> None:
        """A call has the Publisher's timeout or its own, and the bus what is left of it."""
        bus = Bus()
        publisher = Publisher(bus, timeout=50)
        publisher.broadcast("x")
        publisher.send("ann", "x", timeout=500)
        self.assertEqual([round(timeout, -1) for timeout in bus.way_out.timeouts], [50, 500])

    def test_a_turn_that_does_not_come(self) -> None:
        """While another thread sends, a call waits for its turn, and says that nothing was sent if it does not come."""
        bus, may_end = Bus(), threading.Event()
        publisher = Publisher(bus)
        bus.way_out.then = lambda: may_end.wait(PATIENCE)
        other = Task(publisher.broadcast, "first", timeout=PATIENCE)
        self.assertTrue(await_(lambda: len(bus.way_out.sent) == 1))
        with self.assertRaisesRegex(BackplaneTimeout, "not this one's turn in 0.01 s; nothing was sent"):
            publisher.broadcast("second", timeout=0.01)
        may_end.set()
        other.result()
        publisher.broadcast("third")
        self.assertEqual([each.body for _, each, _ in bus.way_out.sent], [b"first", b"third"])
        self.assertEqual([each.number for _, each, _ in bus.way_out.sent], [1, 2])

    def test_a_bus_that_takes_nothing(self) -> None:
        """A bus that is stopped is a BackplaneTimeout."""
        self.bus.freeze()
        with Publisher(MemoryBackplane(self.bus), timeout=0.01) as publisher, self.assertRaises(BackplaneTimeout):
            publisher.broadcast("x")

    def test_bad_values(self) -> None:
        """What cannot be sent is a TypeError or a ValueError that names it, and nothing is sent."""
        bus = Bus()
        publisher = Publisher(bus)
        for says, kind, call in (
            ("broadcast_json", TypeError, lambda: publisher.broadcast({"a": 1})),  # type: ignore[arg-type]
            ("a room is a str", TypeError, lambda: publisher.broadcast("x", room=1.5)),
            ("an id is a str", TypeError, lambda: publisher.send(None, "x")),
            ("an id is a str", TypeError, lambda: publisher.broadcast("x", exclude=[b"ann"])),
            ("exclude is a list of ids", TypeError, lambda: publisher.broadcast("x", exclude="ann")),
            ("exclude is a list of ids", TypeError, lambda: publisher.broadcast("x", exclude=5)),  # type: ignore[arg-type]
            ("at most 4096 bytes", ValueError, lambda: publisher.broadcast("x", room="x" * 5000)),
            ("exclude is too long", ValueError, lambda: publisher.broadcast("x", exclude=["x" * 3000] * 100)),
            ("max_message is 1,048,576", ValueError, lambda: publisher.broadcast("x" * (1 << 20))),
            ("1006", ValueError, lambda: publisher.close("ann", 1006)),
            ("123", ValueError, lambda: publisher.close("ann", 4000, "x" * 124)),
            ("a room is a str", TypeError, lambda: publisher.join("ann", None)),
            ("a room is a str", TypeError, lambda: publisher.leave("ann", None)),
            ("timeout must be more than 0 seconds", ValueError, lambda: publisher.send("ann", "x", timeout=0)),
            ("timeout is a number of seconds", TypeError, lambda: publisher.send("a", "x", timeout="1")),  # type: ignore
            ("JSON", ValueError, lambda: publisher.send_json("ann", float("nan"))),
            ("backplane is", TypeError, lambda: Publisher(MemoryBackplane)),  # type: ignore[arg-type]
            ("backplane is an address", TypeError, lambda: Publisher(None)),  # type: ignore[arg-type]
            ("is no address of a bus", ValueError, lambda: Publisher("cache")),
            ("a backplane has its own", ValueError, lambda: Publisher(bus, prefix="shop")),
            ("timeout must be more than 0 seconds", ValueError, lambda: Publisher(bus, timeout=0)),
        ):
            with self.subTest(says), self.assertRaisesRegex(kind, says):
                call()
        self.assertEqual(bus.way_out.sent, [])

    def test_its_end(self) -> None:
        """The end lets go of the connection, also twice, also of none; a later call goes on, with the next number."""
        bus = Bus()
        with Publisher(bus) as publisher:
            publisher.end()
            self.assertEqual(bus.way_out.closed, 0)
            publisher.broadcast("x")
        publisher.end()
        self.assertEqual(bus.way_out.closed, 2)
        publisher.broadcast("x")
        self.assertEqual([each.number for _, each, _ in bus.way_out.sent], [1, 2])

    def test_nothing_before_its_first_use(self) -> None:
        """A Publisher that was merely made has asked the backplane for nothing, and starts no thread when it sends."""
        bus = Bus()
        publisher = Publisher(bus)
        self.assertEqual(bus.outlets, 0)
        threads = threading.active_count()
        publisher.broadcast("x")
        self.assertEqual(threading.active_count(), threads)
        self.assertFalse(bus.health().up)

    @unittest.skipUnless(hasattr(os, "fork"), "needs fork")
    def test_the_child_of_a_fork(self) -> None:
        """The child of a fork is a sender of its own, whose numbers begin anew, also if a thread of the parent was
        sending at that moment."""
        bus, may_end = Bus(), threading.Event()
        publisher = Publisher(bus)
        publisher.broadcast("before")
        bus.way_out.then = lambda: may_end.wait(PATIENCE)
        other = Task(publisher.broadcast, "meanwhile", timeout=PATIENCE)
        self.assertTrue(await_(lambda: len(bus.way_out.sent) == 2))
        mine = bus.way_out.sent[0][1].boot

        def in_the_child() -> None:
            bus.way_out.then = lambda: None
            publisher.broadcast("child")
            _, told, _ = bus.way_out.sent[-1]
            assert (told.body, told.number, told.begins) == (b"child", 1, True), told
            assert told.boot != mine

        child = in_child(in_the_child)
        self.assertEqual(os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]), 0)
        may_end.set()
        other.result()
        publisher.broadcast("after")
        self.assertEqual([each.number for _, each, _ in bus.way_out.sent], [1, 2, 3])

    def test_what_it_says_of_itself(self) -> None:
        """Its repr names the backplane."""
        self.assertIn("MemoryBackplane", repr(Publisher(MemoryBackplane(self.bus))))


def _raise(error: Exception | None) -> None:
    if error is not None:
        raise error


if __name__ == "__main__":
    unittest.main()
