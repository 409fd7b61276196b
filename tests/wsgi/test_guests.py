"""guests.py: how many connections there may be inside a server, and how all of them end."""

from __future__ import annotations

import gc
import logging
import os
import queue
import subprocess
import sys
import threading
import unittest
from collections.abc import Callable
from pathlib import Path
from typing import Any
from unittest import mock

import syncws
from syncws._conn.conn import Conn
from syncws._wsgi import guests as guests_module
from syncws._wsgi.guests import Full, Guests, Seat, _view_limit, guests
from syncws._wsgi.taken import Taken
from syncws.errors import CloseError, WebSocketError
from syncws.testing import LeakChecks, Peer, await_, peer
from tests.tasks import PATIENCE, Task


def taken(*, pool: int | None = None, **options: Any) -> Taken:
    """A connection of a server with so many threads."""
    return Taken(server="a server", sock=None, fd=0, pool=pool, **options)


class View(Task):
    """A thread that takes a seat, and has it until it is told to leave."""

    def __init__(self, registry: Guests, connection: Taken, *, in_view: bool = True, limit: int | None = None) -> None:
        self._registry = registry
        self._connection = connection
        self._in_view = in_view
        self._limit = limit
        self._outcome: queue.SimpleQueue[Seat | Full] = queue.SimpleQueue()
        self._gate = threading.Event()
        self.seat: Seat
        super().__init__(self._stay)
        outcome = self._outcome.get(timeout=PATIENCE)
        if isinstance(outcome, Full):
            self.result()
            raise outcome
        self.seat = outcome

    def _stay(self) -> None:
        try:
            seat = self._registry.admit(self._connection, in_view=self._in_view, limit=self._limit)
        except Full as exc:
            self._outcome.put(exc)
            return
        if not self._in_view:
            seat.thread = threading.get_ident()  # as the thread of a detached connection does
        self._outcome.put(seat)
        self._gate.wait(PATIENCE)
        seat.leave()

    def leave(self) -> None:
        self._gate.set()
        self.result()


class GuestsCase(LeakChecks):
    """A registry of its own for each test."""

    def setUp(self) -> None:
        super().setUp()
        self.registry = Guests()

    def view(self, connection: Taken | None = None, **options: Any) -> View:
        view = View(self.registry, connection or taken(), **options)
        self.addCleanup(view.leave)
        return view

    def peer(self) -> tuple[Conn, Peer]:
        return self.enterContext(peer(close_timeout=PATIENCE))

    def serve(self, handle: Callable[[Conn], object], *, in_view: bool = False) -> Peer:
        """A connection whose handler runs in a thread with a seat; its peer."""
        conn, far = self.peer()
        seated = threading.Event()

        def run() -> None:
            seat = self.registry.admit(taken(), in_view=in_view, limit=None)
            seat.thread = threading.get_ident()
            seat.connected(conn)
            seated.set()
            try:
                handle(conn)
            except WebSocketError:
                pass
            finally:
                conn.close_now()
                seat.leave()

        task = Task(run)
        self.addCleanup(task.result)
        self.addCleanup(conn.close_now)
        self.assertTrue(seated.wait(PATIENCE))
        return far


def read(conn: Conn) -> None:
    """A handler that reads to the end."""
    while True:
        conn.receive()


class AdmitTests(GuestsCase):
    """Who gets a seat."""

    def test_a_connection_that_is_lost_before_its_seat_knows_it(self) -> None:
        """A seat that was given back before its connection was noted leaves none that is ending for ever."""
        seat = self.registry.admit(taken(), in_view=False, limit=None)
        conn, _far = self.peer()
        conn.close_now()
        seat.leave()
        seat.connected(conn)
        stats = self.registry.stats()
        self.assertEqual((stats.opened, stats.ending, stats.closed), (1, 0, {"1006": 1}))

    def test_seats_are_counted(self) -> None:
        """Each seat counts until it is given back, which may be done more than once."""
        seats = [self.registry.admit(taken(), in_view=False, limit=None) for _ in range(3)]
        self.assertEqual(len(self.registry), 3)
        seats[0].leave()
        seats[0].leave()
        self.assertEqual(len(self.registry), 2)
        for seat in seats:
            seat.leave()
        self.assertEqual(len(self.registry), 0)

    def test_the_limit(self) -> None:
        """One more than the limit is refused, detached ones and those in views together, until one leaves."""
        first = self.registry.admit(taken(), in_view=False, limit=2)
        second = self.view(limit=2)
        for in_view in (False, True):
            with self.assertRaisesRegex(Full, "^all 2 WebSocket connections are taken$") as caught:
                self.registry.admit(taken(), in_view=in_view, limit=2)
        self.assertEqual(caught.exception.advice, "max_connections is the limit (of Flask: SYNCWS_MAX_CONNECTIONS)")
        second.leave()
        self.registry.admit(taken(), in_view=False, limit=2).leave()
        first.leave()

    def test_no_limit(self) -> None:
        """Without a limit nobody is refused."""
        seats = [self.registry.admit(taken(), in_view=False, limit=None) for _ in range(500)]
        self.assertEqual(len(self.registry), 500)
        for seat in seats:
            seat.leave()

    def test_the_limit_of_a_pool(self) -> None:
        """An eighth of a pool, and one of its threads at least, is left for plain requests; a single one is not."""
        rows = {None: None, 1: 1, 2: 1, 4: 3, 8: 7, 15: 14, 16: 14, 128: 112}
        self.assertEqual({pool: _view_limit(pool) for pool in rows}, rows)

    def test_a_full_pool(self) -> None:
        """When the other threads are taken a view is refused, and told how many they are; others are not refused."""
        views = [self.view(taken(pool=4)) for _ in range(3)]
        with self.assertRaisesRegex(Full, "^3 of the 4 threads of a server serve WebSocket connections$") as caught:
            self.view(taken(pool=4))
        self.assertIn("give it more threads", caught.exception.advice)
        self.registry.admit(taken(pool=4), in_view=False, limit=None).leave()
        views[0].leave()
        self.view(taken(pool=4)).leave()

    def test_detached_ones_hold_no_thread_of_a_pool(self) -> None:
        """So many connections as one likes are detached from a pool of one."""
        seats = [self.registry.admit(taken(pool=1), in_view=False, limit=None) for _ in range(10)]
        with self.assertLogs("syncws.wsgi"):
            self.view(taken(pool=1))
        for seat in seats:
            seat.leave()

    def test_a_pool_of_one(self) -> None:
        """A view that holds the only thread is worth a warning, once."""
        with self.assertLogs("syncws.wsgi", logging.WARNING) as logs:
            self.view(taken(pool=1)).leave()
        self.assertIn("a server serves one request at a time", logs.output[0])
        with self.assertNoLogs("syncws.wsgi"):
            self.view(taken(pool=1)).leave()
            self.view(taken(pool=2)).leave()

    def test_no_warning(self) -> None:
        """It is worth none for a detached connection, or in a larger pool."""
        with self.assertNoLogs("syncws.wsgi"):
            self.registry.admit(taken(pool=1), in_view=False, limit=None).leave()
            self.view(taken(pool=2)).leave()

    def test_a_view_that_was_left_open(self) -> None:
        """A thread that serves its next view is out of the one before: what that has left open is cut."""
        conn, far = self.peer()
        seat = self.registry.admit(taken(pool=4), in_view=True, limit=None)
        seat.connected(conn)
        other = self.registry.admit(taken(pool=4), in_view=True, limit=None)
        self.assertTrue(conn.closed)
        self.assertTrue(far.at_end())
        self.assertEqual(len(self.registry), 1)
        seat.leave()
        again = self.registry.admit(taken(pool=4), in_view=True, limit=None)  # of the other one nothing was made
        self.assertEqual(len(self.registry), 1)
        other.leave()
        self.assertEqual(len(self.registry), 1)
        again.leave()
        self.assertEqual(len(self.registry), 0)

    def test_a_connection_is_held_weakly(self) -> None:
        """A connection that nobody else has any more is collected."""
        seat = self.registry.admit(taken(), in_view=False, limit=None)
        self.assertIsNone(seat.conn)
        with peer() as (conn, _):
            seat.connected(conn)
            self.assertIs(seat.conn, conn)
        del conn
        gc.collect()
        self.assertIsNone(seat.conn)
        seat.leave()


class ShutdownTests(GuestsCase):
    """The end of all of them."""

    def test_everybody_is_told(self) -> None:
        """Each peer gets the code and the reason; with the handlers done, nobody is left."""
        far = [self.serve(read), self.serve(read, in_view=True), self.serve(read)]
        task = Task(self.registry.shutdown, 1001, "maintenance", PATIENCE)
        for each in far:
            self.assertEqual(each.receive_close(), (1001, "maintenance"))
            each.close(1001)
        self.assertEqual(task.result(), 0)
        self.assertEqual(len(self.registry), 0)

    def test_nobody_is_there(self) -> None:
        """With nobody to tell it is over at once."""
        self.assertEqual(self.registry.shutdown(1001, "", PATIENCE), 0)

    def test_no_connection_yet(self) -> None:
        """One that has a seat and no connection yet is waited for, and its connection is told when it is there."""
        seat = self.registry.admit(taken(), in_view=False, limit=None)
        task = Task(self.registry.shutdown, 1001, "late", PATIENCE)
        self.assertTrue(await_(lambda: self.registry._closing is not None))
        conn, far = self.peer()
        seat.connected(conn)
        self.assertEqual(far.receive_close(), (1001, "late"))
        self.assertFalse(task.done)
        seat.leave()
        self.assertEqual(task.result(), 0)

    def test_the_connection_is_seen_by_who_shuts_the_door(self) -> None:
        """A connection is in its seat before that looks whether everybody was told: one of the two finds the other."""
        seat = self.registry.admit(taken(), in_view=False, limit=None)
        conn, _ = self.peer()
        seen: list[Conn | None] = []
        with mock.patch.object(self.registry, "_tell_latecomer", lambda conn: seen.append(seat.conn)):
            seat.connected(conn)
        self.assertEqual(seen, [conn])
        seat.leave()

    def test_many_are_told_in_portions(self) -> None:
        """Many are told over a second, or over half of the time that there is if that is less."""
        for timeout, spread in ((2.0, 1.0), (10.0, 1.0), (0.5, 0.25), (0.0, 0.0)):
            with self.subTest(timeout=timeout), mock.patch.object(guests_module, "farewell") as farewell:
                self.registry.shutdown(1001, "", timeout)
                self.assertEqual(farewell.call_args.kwargs["spread"], spread)

    def test_a_spread_that_is_given(self) -> None:
        """For a restart the seconds over which they are told are given."""
        with mock.patch.object(guests_module, "farewell") as farewell:
            self.registry.shutdown(1012, "", 40.0, spread=30.0)
        self.assertEqual(farewell.call_args.kwargs["spread"], 30.0)

    def test_a_peer_that_does_not_answer(self) -> None:
        """A peer that does not answer is cut when the time is over, and its handler is done."""
        far = self.serve(read)
        self.assertEqual(self.registry.shutdown(1001, "", 0.1), 0)
        self.assertEqual(far.receive_close(), (1001, ""))
        self.assertTrue(far.at_end())

    def test_a_handler_that_is_stuck_in_a_send(self) -> None:
        """A peer that does not read is cut as well, which wakes a handler that is stuck in a send."""

        def push(conn: Conn) -> None:
            while True:
                conn.send(bytes(1 << 20))

        self.serve(push)
        self.assertEqual(self.registry.shutdown(1001, "", 0.1), 0)

    def test_a_handler_that_does_not_end(self) -> None:
        """A handler that is busy elsewhere is counted; its peer was told, and is cut all the same."""
        gate = threading.Event()
        far = self.serve(lambda conn: gate.wait(PATIENCE))
        self.addCleanup(gate.set)
        self.assertEqual(self.registry.shutdown(1001, "", 0.1), 1)
        self.assertEqual(far.receive_close(), (1001, ""))
        self.assertTrue(far.at_end())
        gate.set()
        self.assertTrue(await_(lambda: len(self.registry) == 0))

    def test_newcomers(self) -> None:
        """While it lasts newcomers are refused; after it they are welcome again."""
        gate = threading.Event()
        far = self.serve(lambda conn: gate.wait(PATIENCE))
        self.addCleanup(gate.set)
        task = Task(self.registry.shutdown, 1001, "", PATIENCE)
        far.receive_close()
        with self.assertRaisesRegex(Full, "^this process is about to end$"):
            self.registry.admit(taken(), in_view=False, limit=None)
        gate.set()
        self.assertEqual(task.result(), 0)
        self.registry.admit(taken(), in_view=False, limit=None).leave()

    def test_two_at_once(self) -> None:
        """While one shutdown is under way newcomers are refused, though another one is over."""
        gate = threading.Event()
        far = self.serve(lambda conn: gate.wait(PATIENCE))
        self.addCleanup(gate.set)
        task = Task(self.registry.shutdown, 1001, "", PATIENCE)
        far.receive_close()
        self.assertEqual(Task(self.registry.shutdown, 1001, "", 0.0).result(), 1)
        with self.assertRaises(Full):
            self.registry.admit(taken(), in_view=False, limit=None)
        gate.set()
        self.assertEqual(task.result(), 0)
        self.registry.admit(taken(), in_view=False, limit=None).leave()

    def test_for_good(self) -> None:
        """At the end of the process they stay refused, also after another shutdown that was under way."""
        gate = threading.Event()
        far = self.serve(lambda conn: gate.wait(PATIENCE))
        self.addCleanup(gate.set)
        task = Task(self.registry.shutdown, 1001, "", PATIENCE)
        far.receive_close()
        self.assertEqual(self.registry.shutdown(1001, "", 0.0, for_good=True), 1)
        gate.set()
        task.result()
        with self.assertRaises(Full):
            self.registry.admit(taken(), in_view=False, limit=None)

    def test_an_error_on_the_way(self) -> None:
        """An interrupt does not leave newcomers refused."""
        with mock.patch.object(guests_module, "farewell", side_effect=KeyboardInterrupt):
            self.assertRaises(KeyboardInterrupt, self.registry.shutdown, 1001, "", 1.0)
        self.registry.admit(taken(), in_view=False, limit=None).leave()

    def test_from_a_handler(self) -> None:
        """A handler that shuts the others down keeps its own connection, and does not wait for itself."""
        left: list[int] = []
        done = threading.Event()
        others = [self.serve(read), self.serve(read)]

        def handle(conn: Conn) -> None:
            left.append(self.registry.shutdown(1001, "", PATIENCE))
            conn.send("done")
            done.set()
            read(conn)

        for in_view in (False, True):
            done.clear()
            far = self.serve(handle, in_view=in_view)
            for other in others:
                self.assertEqual(other.receive_close(), (1001, ""))
                other.close(1001)
            self.assertTrue(done.wait(PATIENCE))
            self.assertEqual(far.receive_frame().payload, b"done")
            far.close()
            self.assertTrue(await_(lambda: len(self.registry) == 0))
            others = []
        self.assertEqual(left, [0, 0])


class AtExitTests(GuestsCase):
    """The end of the process."""

    def setUp(self) -> None:
        super().setUp()
        self.addCleanup(setattr, guests_module, "EXIT_TIMEOUT", guests_module.EXIT_TIMEOUT)
        guests_module.EXIT_TIMEOUT = 0.1

    def test_peers_are_told(self) -> None:
        """Every peer gets 1001; handlers that do not end are worth a warning."""
        gate = threading.Event()
        far = self.serve(lambda conn: gate.wait(PATIENCE))
        self.addCleanup(gate.set)
        with self.assertLogs("syncws.wsgi", logging.WARNING) as logs:
            self.registry.at_exit()
        self.assertEqual(far.receive_close(), (1001, ""))
        self.assertIn("while 1 WebSocket handlers are still running", logs.output[0])
        with self.assertRaises(Full):
            self.registry.admit(taken(), in_view=False, limit=None)

    def test_it_is_said_twice(self) -> None:
        """The interpreter says so by two ways: peers are told, and waited for, once."""
        gate = threading.Event()
        far = self.serve(lambda conn: gate.wait(PATIENCE))
        self.addCleanup(gate.set)
        with self.assertLogs("syncws.wsgi") as logs:
            self.registry.at_exit()
            self.registry.at_exit()
        self.assertEqual(len(logs.output), 1)
        self.assertEqual(far.receive_close(), (1001, ""))
        self.assertTrue(far.at_end())

    def test_nobody_is_there(self) -> None:
        """With nobody to tell, nothing is done: a connection that comes later is told the next time."""
        with self.assertNoLogs("syncws.wsgi"):
            self.registry.at_exit()
        far = self.serve(read)
        Task(self.registry.at_exit).result()
        self.assertEqual(far.receive_close(), (1001, ""))

    def test_a_process_that_is_replaced(self) -> None:
        """Where another process takes this one's place the peers get 1012, service restart."""
        seat = self.registry.admit(taken(is_replaced=lambda: True), in_view=False, limit=None)
        seat.leave()
        far = self.serve(read)  # whose own Taken does not say so
        self.registry.at_exit()
        self.assertEqual(far.receive_close(), (1012, ""))


class AfterTheLook(threading.Condition):
    """Calls something, in the thread that watches, whenever that lets go of the lock."""

    then: Callable[[], None] | None = None

    def __exit__(self, *exc: Any) -> None:
        super().__exit__(*exc)
        if self.then is not None and threading.current_thread().name == "syncws-wsgi-watch":
            self.then()


class WatchTests(GuestsCase):
    """Views under way, whose server waits for them when it ends."""

    def setUp(self) -> None:
        super().setUp()
        self.addCleanup(setattr, guests_module, "_LOOK", guests_module._LOOK)
        guests_module._LOOK = 0.01
        self.ending = threading.Event()

    def watchers(self) -> int:
        return sum(thread.name == "syncws-wsgi-watch" for thread in threading.enumerate())

    def test_while_there_are_views(self) -> None:
        """One thread watches as long as there are views, and another one when they come back."""
        for _ in range(2):
            first = self.view(taken(is_ending=self.ending.is_set))
            second = self.view(taken(is_ending=self.ending.is_set))
            self.assertEqual(self.watchers(), 1)
            first.leave()
            self.assertEqual(self.watchers(), 1)
            second.leave()
            self.assertTrue(await_(lambda: self.watchers() == 0))

    def test_a_view_that_comes_as_the_watch_ends(self) -> None:
        """A view that comes right after the thread has seen that there is none any more has a thread that watches."""
        changed = self.registry._changed = self.registry._lock = AfterTheLook()  # type: ignore[assignment]
        view = self.view(taken(is_ending=self.ending.is_set))
        came: list[Seat] = []

        def come() -> None:
            if not self.registry._views:
                changed.then = None
                came.append(self.registry.admit(taken(is_ending=self.ending.is_set), in_view=True, limit=None))

        changed.then = come
        view.leave()
        self.assertTrue(await_(lambda: bool(came)))
        self.assertTrue(await_(lambda: self.watchers() == 1))  # the first has ended, and another is there
        self.assertTrue(self.registry._is_watched)
        came[0].leave()
        self.assertTrue(await_(lambda: self.watchers() == 0))

    def test_a_question_that_raises(self) -> None:
        """A server that cannot be asked is in the log, and with the next view it is asked again."""
        broken = mock.Mock(side_effect=ValueError("broken"))
        with self.assertLogs("syncws", "ERROR") as log:
            view = self.view(taken(is_ending=broken))
            self.assertTrue(await_(lambda: self.watchers() == 0 and not self.registry._is_watched))
        self.assertIn("asking it raised", log.output[0])
        other = self.view(taken(is_ending=self.ending.is_set))
        self.assertTrue(await_(lambda: self.watchers() == 1))
        for each in (view, other):
            each.leave()
        self.assertTrue(await_(lambda: self.watchers() == 0))

    def test_nothing_to_watch(self) -> None:
        """None does for detached connections, or for a server that cannot be asked or told anything."""
        self.registry.admit(taken(is_ending=self.ending.is_set), in_view=False, limit=None).leave()
        self.view(taken())
        self.assertEqual(self.watchers(), 0)

    def test_the_server_ends(self) -> None:
        """Once the server wants to go, the peers of all connections are told, and newcomers refused."""
        detached = self.serve(read)
        view = self.view(taken(is_ending=self.ending.is_set))
        conn, far = self.peer()
        view.seat.connected(conn)
        self.ending.set()
        self.assertEqual(detached.receive_close(), (1001, ""))
        self.assertEqual(far.receive_close(), (1001, ""))
        with self.assertRaises(Full):
            self.registry.admit(taken(), in_view=False, limit=None)
        detached.close(1001)
        view.leave()
        self.assertTrue(await_(lambda: self.watchers() == 0))

    def test_a_server_that_is_replaced(self) -> None:
        """The peers of a process that is replaced get 1012; whether it is, is asked when it ends."""
        view = self.view(taken(is_replaced=self.ending.is_set, is_ending=self.ending.is_set))
        conn, far = self.peer()
        view.seat.connected(conn)
        self.ending.set()
        self.assertEqual(far.receive_close(), (1012, ""))
        view.leave()

    def test_the_server_is_told(self) -> None:
        """A server that takes a view that lasts for one that hangs is told that it does not, until the view is over,
        whether or not the server can be asked anything."""
        for more in ({}, {"is_ending": lambda: False}):
            told = threading.Semaphore(0)
            view = self.view(taken(say_alive=told.release, **more))
            for _ in range(3):
                self.assertTrue(told.acquire(timeout=PATIENCE))
            view.leave()
            self.assertTrue(await_(lambda: self.watchers() == 0))

    def test_no_thread(self) -> None:
        """Without a thread to watch the connection is served all the same; the log says what that means, and the next
        view tries again."""
        refusing = mock.patch.object(threading.Thread, "start", side_effect=RuntimeError("can't start new thread"))
        with self.assertLogs("syncws.wsgi", logging.ERROR) as logs, refusing:
            seat = self.registry.admit(taken(is_ending=self.ending.is_set), in_view=True, limit=None)
        self.assertIn("peers will not be told when it ends", logs.output[0])
        self.assertEqual(len(self.registry), 1)
        self.view(taken(is_ending=self.ending.is_set))
        self.assertEqual(self.watchers(), 1)
        seat.leave()


class ProcessTests(LeakChecks):
    """One registry for each process."""

    def test_one_for_all_threads(self) -> None:
        """Every thread gets the same one, and it is registered to be told of the end of the process once."""
        self.addCleanup(setattr, guests_module, "_current", guests_module._current)
        guests_module._current = None
        barrier = threading.Barrier(8)

        def ask() -> Guests:
            barrier.wait(PATIENCE)
            return guests()

        slow = mock.Mock(side_effect=lambda: await_(lambda: False, 0.05))  # the others come meanwhile
        with mock.patch.object(guests_module, "_prepare_process", slow) as prepare:
            tasks = [Task(ask) for _ in range(8)]
            found = {id(task.result()) for task in tasks}
        self.assertEqual(len(found), 1)
        prepare.assert_called_once_with()
        self.assertIs(guests(), guests())

    def test_while_the_interpreter_stops(self) -> None:
        """Where the interpreter takes no such registrations any more, there is a registry all the same."""
        self.addCleanup(setattr, guests_module, "_current", guests_module._current)
        guests_module._current = None
        refusing = mock.patch.object(threading, "_register_atexit", side_effect=RuntimeError("can't register atexit"))
        with refusing, mock.patch("atexit.register") as register:
            self.assertEqual(len(guests()), 0)
        register.assert_called_once_with(guests_module._at_exit, os.getpid())

    def test_another_process_ends(self) -> None:
        """What a parent has registered does nothing in a child that was forked."""
        registry = mock.Mock()
        self.addCleanup(setattr, guests_module, "_current", guests_module._current)
        guests_module._current = (os.getpid(), registry)
        guests_module._at_exit(os.getpid() + 1)
        registry.at_exit.assert_not_called()
        guests_module._current = (os.getpid() + 1, registry)
        guests_module._at_exit(os.getpid() + 1)
        registry.at_exit.assert_not_called()
        guests_module._current = (os.getpid(), registry)
        guests_module._at_exit(os.getpid())
        registry.at_exit.assert_called_once_with()

    def run_script(self, script: str) -> str:
        done = subprocess.run(
            [sys.executable, "-W", "ignore::DeprecationWarning", "-c", script],
            capture_output=True,
            text=True,
            timeout=120,
            cwd=Path(__file__).parents[2],
        )
        self.assertEqual((done.returncode, done.stderr), (0, ""))
        return done.stdout.strip()

    @unittest.skipUnless(hasattr(os, "fork"), "needs fork")
    def test_fork(self) -> None:
        """A child that is forked has a registry of its own, empty, even if another thread was just making one."""
        script = """
import os, threading
from syncws._wsgi import guests as module
from syncws._wsgi.taken import Taken
parent = module.guests()
parent.admit(Taken(server="x", sock=None, fd=0), in_view=False, limit=None)
held, gate = threading.Event(), threading.Event()
def hold():
    with module._making:
        held.set()
        gate.wait(60)
threading.Thread(target=hold, daemon=True).start()
held.wait(60)
pid = os.fork()
if pid == 0:
    child = module.guests()
    os._exit(10 + len(child) if child is not parent and child is module.guests() else 1)
gate.set()
print(os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]), len(parent), module.guests() is parent)
for each in list(parent._seats):
    each.leave()
"""
        self.assertEqual(self.run_script(script), "10 1 True")

    def test_importing_starts_nothing(self) -> None:
        """Importing makes no thread and no registry, so that a process may be forked after it."""
        script = (
            "import threading, syncws, syncws.wsgi; from syncws._wsgi import guests\n"
            "print(threading.active_count(), guests._current)\n"
        )
        self.assertEqual(self.run_script(script), "1 None")


SERVER = """
import sys, threading
from socketserver import ThreadingMixIn
from wsgiref import simple_server
import syncws.wsgi

mode = sys.argv[1]

@syncws.wsgi.websocket(detach=None if mode == "detached" else False)
def app(conn):
    conn.send("detached" if conn.detached else "in view")
    for message in conn:
        conn.send(message)

class Server(ThreadingMixIn, simple_server.WSGIServer):
    daemon_threads = False

if mode == "pool":
    syncws.wsgi.open_connections()
    from concurrent.futures import ThreadPoolExecutor  # which wants to be told of the end too, and is told later
    pool = ThreadPoolExecutor(4)
    Server.process_request = lambda *arguments: pool.submit(Server.process_request_thread, *arguments)

class Handler(simple_server.WSGIRequestHandler):
    def log_message(self, *arguments):
        pass

server = simple_server.make_server("127.0.0.1", 0, app, Server, Handler)
threading.Thread(target=server.serve_forever, args=(0.01,), daemon=True).start()
print(server.server_port, flush=True)
sys.stdin.read()
"""


class ExitTests(LeakChecks):
    """Processes that end."""

    def test_peers_are_told(self) -> None:
        """When a process ends in order its peers get 1001, before the interpreter waits for the threads of views."""
        for mode, name in (("detached", "detached"), ("view", "in view"), ("pool", "in view")):
            with self.subTest(mode):
                process = subprocess.Popen(
                    [sys.executable, "-c", SERVER, mode],
                    stdin=subprocess.PIPE,
                    stdout=subprocess.PIPE,
                    stderr=subprocess.PIPE,
                    text=True,
                    cwd=Path(__file__).parents[2],
                )
                with process:
                    self.addCleanup(process.kill)
                    assert process.stdin is not None and process.stdout is not None
                    port = int(process.stdout.readline())
                    conns = [syncws.dial(f"ws://127.0.0.1:{port}/", proxy=None) for _ in range(3)]
                    for conn in conns:
                        self.assertEqual(conn.receive(PATIENCE), name)
                    process.stdin.close()
                    for conn in conns:
                        with self.assertRaises(CloseError) as caught:
                            conn.receive(PATIENCE)
                        self.assertEqual(caught.exception.code, 1001)
                        conn.close()
                    assert process.stderr is not None
                    self.assertEqual(process.stderr.read(), "")
                    self.assertEqual(process.wait(PATIENCE), 0)


if __name__ == "__main__":
    unittest.main()
