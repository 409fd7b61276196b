"""farewell.py: the end of many connections at once."""

from __future__ import annotations

import select
import threading
import time
import types
import unittest
from collections.abc import Callable
from unittest import mock

from syncws._conn import farewell as farewell_module
from syncws._conn.conn import Conn
from syncws._conn.farewell import Rest, farewell
from syncws._conn.states import State
from syncws.errors import PING, PONG, TEXT, CloseError, CloseSentError
from syncws.testing import await_
from tests.conn.cases import ConnCase
from tests.tasks import PATIENCE, Task


class Crowd:
    """Connections in a set, with its lock; it notes in order what is done to each."""

    def __init__(self) -> None:
        self.lock = threading.RLock()
        self.changed = threading.Condition(self.lock)
        self.here: set[Connection] = set()
        self.did: list[str] = []

    def farewell(self, seconds: float = PATIENCE, **options: object) -> int:
        """With a deadline so many seconds from now."""
        deadline = time.monotonic() + seconds
        return farewell(self.here, self.lock, self.changed, 1001, "bye", deadline=deadline, **options)  # type: ignore[arg-type]


class Connection:
    """One connection of a crowd. Its handler ends when it is told, or when it is cut, or when the test says so."""

    conn: Conn | None = None

    def __init__(self, crowd: Crowd, name: str, *, ends: str = "when told", thread: int | None = None) -> None:
        self._crowd = crowd
        self.name = name
        self._ends = ends
        self.thread = thread
        with crowd.changed:
            crowd.here.add(self)

    def start_close(self, code: int, reason: str) -> None:
        self._crowd.did.append(f"told {self.name} {code} {reason}")
        if self._ends == "when told":
            self.leave()

    def cut(self) -> None:
        self._crowd.did.append(f"cut {self.name}")
        if self._ends == "when cut":
            self.leave()

    def leave(self) -> None:
        with self._crowd.changed:
            self._crowd.here.discard(self)
            self._crowd.changed.notify_all()


class FarewellTests(unittest.TestCase):
    """What farewell does to each connection, and what it returns."""

    def setUp(self) -> None:
        self.crowd = Crowd()

    def take_and_release(self) -> bool:
        """Take the lock if it is free, and release it; returns whether it was free."""
        free = self.crowd.changed.acquire(blocking=False)
        if free:
            self.crowd.changed.release()
        return free

    def in_time(self, connection: Connection) -> Callable[..., bool]:
        """A wait_for that lets a connection leave before it looks."""
        wait_for = self.crowd.changed.wait_for

        def waiting(over: Callable[[], bool], timeout: float) -> bool:
            connection.leave()
            return wait_for(over, timeout)

        return waiting

    def test_nobody_is_here(self) -> None:
        """Without connections farewell returns at once."""
        self.assertEqual(self.crowd.farewell(), 0)
        self.assertEqual(self.crowd.did, [])

    def test_everybody_is_told(self) -> None:
        """Each connection is told the code and the reason, once; one that leaves then is not cut."""
        for name in "abc":
            Connection(self.crowd, name)
        self.assertEqual(self.crowd.farewell(), 0)
        self.assertEqual(sorted(self.crowd.did), ["told a 1001 bye", "told b 1001 bye", "told c 1001 bye"])

    def test_it_waits(self) -> None:
        """A handler that needs a while is waited for, and its connection is not cut."""
        slow = Connection(self.crowd, "slow", ends="later")
        waited = threading.Event()
        wait_for = self.crowd.changed.wait_for

        def waiting(over: Callable[[], bool], timeout: float) -> bool:
            waited.set()
            return wait_for(over, timeout)

        with mock.patch.object(self.crowd.changed, "wait_for", waiting):
            task = Task(self.crowd.farewell)
            self.assertTrue(waited.wait(PATIENCE))
            self.assertFalse(task.done)
            slow.leave()
            self.assertEqual(task.result(), 0)
        self.assertEqual(self.crowd.did, ["told slow 1001 bye"])

    def test_the_deadline(self) -> None:
        """A connection that is here at the deadline is cut; one that leaves then is not counted."""
        Connection(self.crowd, "a")
        Connection(self.crowd, "b", ends="when cut")
        self.assertEqual(self.crowd.farewell(0.01), 0)
        self.assertEqual(self.crowd.did[2:], ["cut b"])

    def test_a_deadline_that_has_passed(self) -> None:
        """Every connection is told before any is cut, even if there is no time."""
        Connection(self.crowd, "a", ends="when cut")
        self.assertEqual(self.crowd.farewell(-1), 0)
        self.assertEqual(self.crowd.did, ["told a 1001 bye", "cut a"])

    def test_a_handler_that_does_not_end(self) -> None:
        """A handler that runs on although its connection was cut is counted, after a moment of grace."""
        Connection(self.crowd, "a", ends="when cut")
        Connection(self.crowd, "stuck", ends="never")
        Connection(self.crowd, "stuck, too", ends="never")
        with mock.patch.object(farewell_module, "CUT_GRACE", 0.01):
            self.assertEqual(self.crowd.farewell(0.01), 2)

    def test_the_grace(self) -> None:
        """The grace begins when everybody was cut: a handler that notices within it is not counted."""
        late = Connection(self.crowd, "late", ends="later")
        late.cut = lambda: setattr(self.crowd.changed, "wait_for", self.in_time(late))  # type: ignore[method-assign]
        with mock.patch.object(farewell_module, "CUT_GRACE", PATIENCE):
            self.assertEqual(self.crowd.farewell(0.01), 0)

    def test_from_a_handler(self) -> None:
        """A handler's own connection is not told, not waited for, not cut and not counted."""
        own = Connection(self.crowd, "own", thread=threading.get_ident())
        Connection(self.crowd, "other", ends="when cut", thread=-1)
        self.assertEqual(self.crowd.farewell(0.01), 0)
        self.assertEqual(self.crowd.did, ["told other 1001 bye", "cut other"])
        self.assertEqual(self.crowd.here, {own})

    def test_its_own_peer_is_told(self) -> None:
        """If asked to, farewell tells the peer of the handler's own connection; it does not wait for it or cut it."""
        own = Connection(self.crowd, "own", ends="never", thread=threading.get_ident())
        self.assertEqual(self.crowd.farewell(tell_own=True), 0)
        self.assertEqual(self.crowd.did, ["told own 1001 bye"])
        self.assertEqual(self.crowd.here, {own})

    def test_telling_ends_in_time(self) -> None:
        """A loop over connections that looked at no clock took a minute under a flood: telling stops at the deadline,
        but never before half a second, and who was not told is cut."""
        for name in range(20):
            connection = Connection(self.crowd, str(name), ends="when cut")
            connection.start_close = self.slowly(connection.start_close, 10.0)  # type: ignore[method-assign]
        self.now = time.monotonic()
        clock = types.SimpleNamespace(monotonic=lambda: self.now, sleep=None)
        with mock.patch.object(farewell_module, "time", clock):
            self.assertEqual(self.crowd.farewell(-1.0), 0)
            self.assertEqual(len([each for each in self.crowd.did if each.startswith("told")]), 1)
            self.assertEqual(len([each for each in self.crowd.did if each.startswith("cut")]), 20)

    def test_cutting_ends_in_time(self) -> None:
        """So does cutting: who is left then is cut by a thread, and is not waited for."""
        main, gate = threading.get_ident(), threading.Event()
        for name in range(20):
            connection = Connection(self.crowd, str(name), ends="when cut")
            cut = self.slowly(connection.cut, 10.0)

            def cut_late(cut: Callable[..., None] = cut) -> None:
                if threading.get_ident() != main:
                    gate.wait(PATIENCE)
                cut()

            connection.cut = cut_late  # type: ignore[method-assign]
        self.now = time.monotonic()
        clock = types.SimpleNamespace(monotonic=lambda: self.now, sleep=None)
        with mock.patch.object(farewell_module, "time", clock), mock.patch.object(farewell_module, "CUT_GRACE", 0.0):
            self.assertEqual(self.crowd.farewell(0.0), 19)
            gate.set()
            for thread in threading.enumerate():
                if thread.name == "syncws-cut":
                    thread.join(PATIENCE)
        self.assertEqual(self.crowd.here, set())

    def test_no_thread_to_cut(self) -> None:
        """At the end of the interpreter no thread can be started: those that are left are closed with it."""
        left = [Connection(self.crowd, str(name), ends="when cut") for name in range(3)]
        with mock.patch("threading.Thread.start", side_effect=RuntimeError("can't start new thread")):
            farewell_module._cut(left, 0.0)  # type: ignore[arg-type]
        self.assertEqual(len(self.crowd.did), 1)

    now = 0.0

    def slowly(self, call: Callable[..., None], seconds: float) -> Callable[..., None]:
        """A call that takes so long by the clock of the test."""

        def slow(*arguments: object) -> None:
            self.now += seconds
            call(*arguments)

        return slow

    def test_under_the_lock(self) -> None:
        """A signal handler may call it in a thread that has the lock; other threads get the lock while it waits."""
        slow = Connection(self.crowd, "slow", ends="never")
        with self.crowd.changed:
            task = Task(slow.leave)
            self.assertEqual(self.crowd.farewell(), 0)
        task.result()

    def test_nobody_is_called_under_the_lock(self) -> None:
        """The lock is free while connections are told, and while they are cut."""
        connection = Connection(self.crowd, "a", ends="never")
        held: list[bool] = []

        def note(*_: object) -> None:
            held.append(not Task(self.take_and_release).result())

        connection.start_close = connection.cut = note  # type: ignore[method-assign, assignment]
        with mock.patch.object(farewell_module, "CUT_GRACE", 0.0):
            self.crowd.farewell(0.0)
        self.assertEqual(held, [False, False])


class SpreadTests(unittest.TestCase):
    """Many are told in portions."""

    def pauses(self, count: int, spread: float) -> list[float]:
        """The pauses that are made while so many are told."""
        crowd = Crowd()
        for number in range(count):
            Connection(crowd, str(number))
        slept: list[float] = []
        clock = types.SimpleNamespace(monotonic=time.monotonic, sleep=slept.append)
        with mock.patch.object(farewell_module, "time", clock):
            self.assertEqual(crowd.farewell(spread=spread), 0)
        self.assertEqual(len(crowd.did), count)
        return slept

    def test_at_once(self) -> None:
        """Without a spread, or with few connections, all are told without a pause."""
        for count, spread in ((0, 1.0), (50, 1.0), (51, 0.0), (500, 0.0)):
            with self.subTest(count=count, spread=spread):
                self.assertEqual(self.pauses(count, spread), [])

    def test_in_portions(self) -> None:
        """Fifty are told at a time, with pauses in between that add up to the spread; there is none after the last."""
        for count, spread, portions in ((51, 1.0, 2), (500, 0.25, 10), (1000, 1.0, 20)):
            with self.subTest(count=count, spread=spread):
                slept = self.pauses(count, spread)
                self.assertEqual(len(slept), portions - 1)
                self.assertAlmostEqual(sum(slept), spread * (portions - 1) * 50 / count)
                self.assertLessEqual(sum(slept), spread)

    def test_nobody_waits_for_the_first_pause(self) -> None:
        """The first portion is told before the first pause."""
        crowd = Crowd()
        for number in range(51):
            Connection(crowd, str(number))
        told: list[int] = []
        clock = types.SimpleNamespace(monotonic=time.monotonic, sleep=lambda _: told.append(len(crowd.did)))
        with mock.patch.object(farewell_module, "time", clock):
            crowd.farewell(spread=1.0)
        self.assertEqual(told, [50])

    def test_in_no_order(self) -> None:
        """The order in which connections are told is random."""
        crowd = Crowd()
        for number in range(100):
            Connection(crowd, f"{number:02}")
        with mock.patch("random.shuffle", side_effect=lambda each: each.sort(key=lambda one: one.name)):
            crowd.farewell(spread=0.001)
        self.assertEqual(crowd.did, [f"told {number:02} 1001 bye" for number in range(100)])


class ServerRest(ConnCase):
    """What is done to real connections before the first system call, where many are told to go."""

    def test_nothing_leaves_before_it_is_told(self) -> None:
        """In a rest a close is ready and nobody begins to send; it leaves when the peer is told."""
        conn, peer = self.peer()
        with Rest([conn], 1001, "bye"):
            self.assertIs(conn._life.state, State.CLOSING)
            self.assertEqual(select.select([peer.socket], [], [], 0)[0], [])
            conn._start_close(1001, "bye")
            self.assertEqual(peer.receive_close(), (1001, "bye"))
        conn.close_now()

    def test_a_writer_tells_its_own_peer(self) -> None:
        """In a rest whoever writes finds that this side has closed, and lets the close leave: nobody has to tell."""
        conn, peer = self.peer()
        with Rest([conn], 1001, "bye"), self.assertRaises(CloseSentError):
            conn.send("too late")
        self.assertEqual(peer.receive_close(), (1001, "bye"))
        conn.close_now()

    def test_busy_readers_rest(self) -> None:
        """A reader under a flood rests in the middle of what it has received, until everybody is told."""
        conn, peer = self.peer(control_limit=None)
        seen: list[bytes] = []
        rests: list[Rest] = []

        def begin(data: bytes) -> None:
            if not seen:
                rests.append(Rest([conn], 1001, ""))
            seen.append(data)

        conn.set_pong_handler(begin)
        task = Task(conn.receive)
        peer.send(peer.frame(PONG) * 600 + peer.frame(TEXT, "hello"))
        self.assertTrue(await_(lambda: bool(rests) and bool(rests[0]._told._cond._waiters)))  # type: ignore[attr-defined]
        self.assertLess(len(seen), 100)
        self.assertFalse(task.done)
        rests[0].told()
        self.assertEqual(task.result(), "hello")
        self.assertEqual(len(seen), 600)
        conn.close_now()

    def test_an_answer_does_not_rest(self) -> None:
        """A peer that answers the close is read at once, also while others are told."""
        conn, peer = self.peer()
        task = Task(conn.receive)
        Rest([conn], 1001, "")
        conn._start_close(1001, "")
        peer.receive_close()
        peer.close(1001)
        self.assertIsInstance(task.error(), CloseError)
        conn.close_now()

    def test_a_rest_that_is_over(self) -> None:
        """After the end of a rest nobody rests, and nobody rests longer than a moment if that end never comes."""
        for over in (True, False):
            conn, peer = self.peer(control_limit=None)
            with mock.patch.object(farewell_module, "_MOST_REST", 0.01):
                rest = Rest([conn], 1001, "")
                if over:
                    rest.end()
                task = Task(conn.receive)
                peer.send(peer.frame(PONG) * 200 + peer.frame(TEXT, "hello"))
                self.assertEqual(task.result(), "hello")
                self.assertIs(conn._inbound.protocol.interrupted, not over)
            conn.close_now()

    def test_a_doomed_reader_leaves(self) -> None:
        """At the deadline a reader under a flood leaves in the middle of what it has received: pings, for example."""
        conn, peer = self.peer()
        seen: list[bytes] = []

        def doom(data: bytes) -> None:
            seen.append(data)
            if len(seen) == 3:
                conn._doom()

        conn.set_ping_handler(doom)
        peer.send(peer.frame(PING) * 200)
        self.assertIsInstance(Task(conn.receive).error(), CloseError)
        self.assertLess(len(seen), 100)
        conn.close_now()


class ClientRest(ServerRest):
    client = True


if __name__ == "__main__":
    unittest.main()
