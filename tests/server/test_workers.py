"""Worker processes, one part at a time: which cores, what became of a child, who has more connections, what waits."""

from __future__ import annotations

import errno
import os
import signal
import socket
import sys
import threading
import time
import unittest
from typing import Any
from unittest import mock

from syncws._base.waker import Waker
from syncws._server import cores, workers
from syncws._server.cores import check_workers, cores_of_workers
from syncws._server.server import Server
from syncws._server.workers import Parent, Share, Workers, _Worker
from syncws.testing import LeakChecks
from tests.tasks import PATIENCE, Task


def no_work(parent: Parent, share: Share) -> None:
    raise AssertionError("nothing is forked here")


def shares(*connections: int | None) -> list[Share]:
    """Of workers that have so many connections; None for one that is not there."""
    memory = memoryview(bytearray(8 * len(connections))).cast("q")
    made = [Share(memory, number) for number in range(len(connections))]
    for share, count in zip(made, connections, strict=True):
        if count is not None:
            share.note(count)
    return made


class OptionTests(LeakChecks):
    """What may be asked for."""

    def test_numbers(self) -> None:
        """The number of workers is an integer of at least one."""
        for count in (1, 2, 100):
            check_workers(count, None)
        for wrong in (0, -1):
            with self.assertRaisesRegex(ValueError, f"workers must be at least 1, not {wrong}"):
                check_workers(wrong, None)
        for strange in (2.0, "2", None, True):
            with self.assertRaisesRegex(TypeError, "workers is an integer, not"):
                check_workers(strange, None)  # type: ignore[arg-type]

    def test_pin(self) -> None:
        """To pin is one of three words, the number of a core that there is, True, False or None."""
        mine = min(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else 0
        for pin in (True, False, None, "workers", "connections", "auto"):
            check_workers(2, pin)
        check_workers(1, mine)
        for wrong in ("yes", "cores", ""):
            with self.assertRaisesRegex(ValueError, 'pin must be "workers", "connections", "auto", the number of'):
                check_workers(2, wrong)  # type: ignore[arg-type]
        for strange in (1.0, {0}, b"auto"):
            with self.assertRaisesRegex(TypeError, "True, False or None, not "):
                check_workers(1, strange)  # type: ignore[arg-type]

    def test_the_number_of_a_core(self) -> None:
        """A core by its number is for one process, and one that it may use."""
        with mock.patch("os.sched_getaffinity", return_value={0, 3}, create=True):
            for core in (0, 3):
                check_workers(1, core)
            with self.assertRaisesRegex(ValueError, "pin=3 is a core for one process: with 2 workers use pin=True"):
                check_workers(2, 3)
            for core in (1, -1):
                with self.assertRaisesRegex(ValueError, f"this process may not use core {core}: its cores are 0, 3"):
                    check_workers(1, core)

    def test_other_systems(self) -> None:
        """Where a system cannot fork, or keep a process on a core, what needs it is refused, and nothing else."""
        with mock.patch.object(cores, "os", spec=["getpid"]):
            check_workers(1, None)
            check_workers(1, False)
            check_workers(1, "auto")
            with self.assertRaisesRegex(ValueError, "this system has no fork: use workers=1"):
                check_workers(2, None)
            with self.assertRaisesRegex(ValueError, "cannot keep a process on a core: leave pin out"):
                check_workers(1, True)
            with self.assertRaisesRegex(ValueError, "cannot keep a process on a core: leave pin out"):
                check_workers(1, "connections")
            self.assertIsNone(cores_of_workers(2, None))

    def test_the_server_checks(self) -> None:
        """A server refuses what cannot be."""
        for options in ({"workers": 0}, {"workers": 2, "pin": "yes"}):
            with self.assertRaises((ValueError, TypeError)):
                Server(print, port=0, **options)  # type: ignore[arg-type]

    def test_no_thread_may_fork(self) -> None:
        """A server with workers does not start in a thread; it ends without having served."""
        with Server(print, port=0, workers=2) as server:
            with self.assertRaisesRegex(RuntimeError, "call serve_forever, not start"):
                server.start()
            self.assertEqual(server.shutdown(), 0)
            server.serve_forever()  # it is over


class EndTests(LeakChecks):
    """What has become of a worker."""

    def worker(self, command: str) -> _Worker:
        """A worker's place that a shell has, which runs a command."""
        worker = _Worker(3, shares(None)[0])
        worker.pid = os.posix_spawn("/bin/sh", ["sh", "-c", command], os.environ)
        self.addCleanup(worker.kill)
        return worker

    def end(self, worker: _Worker) -> str | None:
        """How it ended, once it has."""
        assert worker.pid is not None
        os.waitid(os.P_PID, worker.pid, os.WEXITED | os.WNOWAIT)
        return worker.reap()

    def test_how_it_ended(self) -> None:
        """It ended in order, or with a status, or by a signal, and that is told once."""
        number = signal.SIGRTMIN + 6 if hasattr(signal, "SIGRTMIN") else None
        for command, expected in [
            ("exit 0", "ended"),
            ("exit 3", "ended with status 3"),
            ("kill -KILL $$", "was killed by SIGKILL"),
            *([(f"kill -{int(number)} $$", f"was killed by signal {int(number)}")] if number is not None else []),
        ]:
            with self.subTest(command=command):
                worker = self.worker(command)
                self.assertEqual(self.end(worker), expected)
                self.assertIsNone(worker.pid)
                self.assertIsNone(worker.reap())

    def test_it_runs(self) -> None:
        """While it runs there is nothing to tell; killed, it is gone at once."""
        worker = self.worker("read never < /dev/zero")
        self.assertIsNone(worker.reap())
        self.assertIsNotNone(worker.pid)
        worker.kill()
        self.assertIsNone(worker.pid)

    def test_somebody_else_was_told(self) -> None:
        """If the program has reaped it, it ended, nobody knows how; and no other process is taken for it."""
        worker = self.worker("exit 3")
        assert worker.pid is not None
        os.waitpid(worker.pid, 0)
        self.assertEqual(worker.reap(), "ended")
        with mock.patch("os.kill") as killed:
            worker.kill()
        killed.assert_not_called()

    def test_it_is_gone_unnoticed(self) -> None:
        """To end or kill one that has just ended is no error, and neither is one whose lifeline is cut."""
        worker = self.worker("exit 0")
        worker.lifeline, theirs = socket.socketpair()
        theirs.close()
        worker.end(0.0)
        worker.kill()
        self.assertIsNone(worker.lifeline)
        worker.end(0.0)

    def test_a_fault(self) -> None:
        """One that dies within a second of its start leaves its place empty for a second; a later one is replaced."""
        for lived, pause in ((0.5, True), (5.0, False)):
            worker = self.worker("exit 3")
            pid, worker.due = worker.pid, time.monotonic() - lived
            assert pid is not None
            os.waitid(os.P_PID, pid, os.WEXITED | os.WNOWAIT)
            with self.assertLogs("syncws.server", "WARNING") as logged:
                worker.look()
            said = f"worker 3 (process {pid}) ended with status 3; another takes its place"
            self.assertEqual([record.getMessage() for record in logged.records], [said])
            self.assertEqual(worker.due > time.monotonic(), pause)


class KeeperTests(LeakChecks):
    """The parent, where nothing can be forked."""

    def test_it_cannot_be_forked(self) -> None:
        """A worker that cannot be forked is tried again later, and each time there is one line of log."""
        keeper = Workers(2, no_work, pin=False)
        waker = Waker()
        self.addCleanup(waker.close)
        forks = 0

        def fork() -> int:
            nonlocal forks
            forks += 1
            raise BlockingIOError(errno.EAGAIN, "no processes")

        with (
            mock.patch.object(workers, "_PAUSE", 0.01),
            mock.patch("os.fork", fork),
            self.assertLogs("syncws.server", "ERROR") as logged,
        ):
            keeper.run(waker, lambda: forks >= 5)
        self.assertEqual(len(logged.records), forks)
        self.assertEqual(logged.records[0].getMessage(), "worker 0 cannot be started: [Errno 11] no processes")
        self.assertEqual(keeper.stop(0.0, 0.0), 0)

    def test_it_waits(self) -> None:
        """Between two attempts, and while all is well, it waits."""
        keeper = Workers(2, no_work, pin=False)
        now = time.monotonic()
        for worker, due in zip(keeper._workers, (now + 0.5, now + 0.7), strict=True):
            worker.due = due
        self.assertTrue(0.0 < keeper._until_due() <= 0.5)
        for worker in keeper._workers:
            worker.pid = 1
        self.assertEqual(keeper._until_due(), workers._LOOK)
        keeper._workers[1].leaving = True
        self.assertEqual(keeper._until_due(), workers._SOON)

    def test_streams_that_cannot_be_flushed(self) -> None:
        """What is printed is flushed before a fork, if it can be."""
        for stream in (None, mock.Mock(flush=mock.Mock(side_effect=ValueError("closed")))):
            with mock.patch.object(sys, "stdout", stream), mock.patch.object(sys, "stderr", mock.Mock()) as stderr:
                workers._flush()
            stderr.flush.assert_called_once()


class ShareTests(unittest.TestCase):
    """Who has more connections than others."""

    def test_clearly_more(self) -> None:
        """A worker's share is large when another has clearly fewer: by some, and by a part of it."""
        for own, other, large in [
            (0, 0, False),
            (4, 0, False),
            (5, 0, True),
            (0, 100, False),
            (116, 100, False),
            (117, 100, True),
        ]:
            with self.subTest(own=own, other=other):
                self.assertIs(shares(own, other)[0].is_large(), large)

    def test_the_least_counts(self) -> None:
        """It is the one with fewest that counts, wherever it stands."""
        self.assertEqual([share.is_large() for share in shares(50, 0, 50, 3)], [True, False, True, False])

    def test_nobody(self) -> None:
        """A worker that is not there, or accepts no more, is no reason to wait."""
        first, second, _ = shares(50, 0, None)
        self.assertTrue(first.is_large())
        second.give_up()
        self.assertFalse(first.is_large())

    def test_all_processes_see_it(self) -> None:
        """The memory is shared by the processes that are forked from one."""
        keeper = Workers(2, no_work, pin=False)
        child = workers._fork()
        if child == 0:
            keeper._workers[0].share.note(50)
            os._exit(0)
        os.waitpid(child, 0)
        keeper._workers[1].share.note(1)
        self.assertEqual([worker.share.is_large() for worker in keeper._workers], [True, False])


class ParentTests(LeakChecks):
    """What a worker hears from its parent."""

    def setUp(self) -> None:
        super().setUp()
        self.lifeline, theirs = map(self.enterContext, socket.socketpair())
        self.parent = Parent(theirs, ())
        self.getppid = self.enterContext(mock.patch("os.getppid", return_value=os.getpid()))
        self.killed = threading.Event()
        self.enterContext(mock.patch("os.kill", side_effect=lambda *_: self.killed.set()))

    def test_an_order(self) -> None:
        """The parent says by when the worker is to have ended; the worker then sends itself SIGTERM."""
        self.parent.listen()
        self.assertFalse(self.killed.is_set())
        self.lifeline.send(workers._ORDER.pack(workers._END, 12.5))
        self.assertTrue(self.killed.wait(PATIENCE))
        self.assertEqual(self.parent.deadline, 12.5)
        os.kill.assert_called_once_with(os.getpid(), signal.SIGTERM)  # type: ignore[attr-defined]

    def test_its_end(self) -> None:
        """The parent's end is seen by the end of the lifeline, and means the same, but for the instant."""
        with self.assertLogs("syncws.server", "WARNING") as logged:
            self.parent.listen()
            self.lifeline.close()
            self.assertTrue(self.killed.wait(PATIENCE))
        self.assertIsNone(self.parent.deadline)
        self.assertEqual(logged.records[0].getMessage(), "the parent process is gone: this worker ends")

    def test_somebody_else_holds_the_lifeline(self) -> None:
        """It is seen as well when another process holds the other end of the lifeline."""
        with mock.patch.object(workers, "_LOOK", 0.01), self.assertLogs("syncws.server", "WARNING"):
            self.parent.listen()
            self.getppid.return_value = 1
            self.assertTrue(self.killed.wait(PATIENCE))

    def test_the_lifeline_was_closed(self) -> None:
        """A program that closes descriptors which it does not know ends its worker."""
        self.parent._lifeline.close()
        with self.assertLogs("syncws.server", "WARNING"):
            self.assertEqual(Task(self.parent._listen).result(), None)
        self.assertTrue(self.killed.is_set())


class SignalTests(LeakChecks):
    """Signals wait where they are in the way, and come back."""

    def setUp(self) -> None:
        super().setUp()
        self.mask = signal.pthread_sigmask(signal.SIG_BLOCK, ())
        self.came: list[int] = []
        self.error: Exception | None = None
        previous = signal.signal(signal.SIGUSR1, self.note)
        self.addCleanup(signal.signal, signal.SIGUSR1, previous)

    def note(self, number: int, _frame: Any) -> None:
        self.came.append(number)
        if self.error is not None:
            raise self.error

    def test_they_wait(self) -> None:
        """A signal waits for the place where signals are handled."""
        with workers._blocking(workers._handled_signals()) as mask:
            os.kill(os.getpid(), signal.SIGUSR1)
            self.assertEqual(self.came, [])
            with workers._only_blocking(mask):
                self.assertEqual(self.came, [signal.SIGUSR1])
            os.kill(os.getpid(), signal.SIGUSR1)
            self.assertEqual(len(self.came), 1)
        self.assertEqual(len(self.came), 2)

    def test_a_handler_raises(self) -> None:
        """What is blocked is as before, also when a handler raises."""
        self.error = ZeroDivisionError()
        with self.assertRaises(ZeroDivisionError), workers._blocking(workers._handled_signals()) as mask:
            os.kill(os.getpid(), signal.SIGUSR1)
            with workers._only_blocking(mask):
                self.fail("it was to be raised")
        self.assertEqual(signal.pthread_sigmask(signal.SIG_BLOCK, ()), self.mask)

    @unittest.skipUnless(hasattr(os, "fork"), "no fork here")
    def test_ignored_by_a_worker_alone(self) -> None:
        """What a worker ignores when it does not serve ends the processes that it forks."""
        self.addCleanup(signal.signal, signal.SIGTERM, signal.signal(signal.SIGTERM, workers._ignoring()))
        signal.raise_signal(signal.SIGTERM)
        child = os.fork()
        if child == 0:
            try:
                signal.raise_signal(signal.SIGTERM)
            finally:
                os._exit(123)
        self.assertEqual(os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]), -signal.SIGTERM)

    def test_which(self) -> None:
        """Those with a handler in Python wait, and those that end a server; what the system does by itself goes on."""
        handled = workers._handled_signals()
        self.assertLessEqual({signal.SIGUSR1, signal.SIGTERM, signal.SIGINT}, handled)
        self.assertNotIn(signal.SIGSEGV, handled)

    def test_a_worker_lets_them_in(self) -> None:
        """A worker unblocks the signals that end a server, also those that the program had blocked; no others."""
        self.addCleanup(signal.pthread_sigmask, signal.SIG_SETMASK, self.mask)
        ours, theirs = map(self.enterContext, socket.socketpair())
        del ours
        signal.pthread_sigmask(signal.SIG_BLOCK, workers._handled_signals())
        Parent(theirs, {signal.SIGTERM, signal.SIGUSR2}).let_signals_come()
        self.assertEqual(signal.pthread_sigmask(signal.SIG_BLOCK, ()), {signal.SIGUSR2})


if __name__ == "__main__":
    unittest.main()
