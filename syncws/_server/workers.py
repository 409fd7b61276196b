"""Worker processes: forked from one parent, put back when they die, ended together. POSIX only.

    Workers.run                the parent: it serves nobody, it watches
      _start                   forks a worker
        _be_worker             the worker: its own core, its own signals, `work`; it never returns into the program
    Workers.stop               tells all to end, waits, kills those that stay

What the processes share is made before the first fork: the socket that listens. A connection waits in its queue until
some worker accepts it, so a worker that dies loses only the connections that it had accepted.

A worker and the parent hold one end each of a *lifeline*, a pair of sockets. The parent writes to it by when the worker
is to have ended; and maybe, before that, by when its peers are to be told to go. The system closes an end when its
process is gone, however it ended. A worker that died is replaced, unless all of them drain. A worker whose parent died
ends in order, so that no server is left that nobody can stop.

They also know a directory in which they meet (`meeting`), so that a Manager of one worker finds its like in the others.

They also share a table of how many connections each worker has. A new connection wakes all of them, and the first to
call accept() takes it. Left alone that would mostly be the same worker: the one whose core is the least busy. So a
worker that has clearly more connections than another hesitates: `Share`.

Two rules keep signals and forks apart:

* **The parent handles signals only where it waits.** A handler of the program may call `stop`: elsewhere it could miss
  a worker that is just forked, or run in one that still takes itself for the parent.
* **A worker lets signals in once its own handlers are in place.** Those that are sent to it before then wait.
"""

from __future__ import annotations

import logging
import mmap
import os
import selectors
import signal
import socket
import struct
import sys
import threading
import time
import warnings
from collections.abc import Callable, Collection, Iterator
from contextlib import AbstractContextManager, contextmanager, suppress
from typing import NoReturn

from .._base.endings import end_all
from .._base.logs import logger
from .._base.waker import Waker
from .._base.worker import become_worker
from .cores import Pin, cores_of_workers, take_place
from .meeting import MeetingPlace

_log = logger("syncws.server")

#: A worker that dies within so many seconds has a fault that the next one will probably have too. Its place then stays
#: empty for as long, so that the fault does not cost a whole core.
_PAUSE = 1.0

#: Seconds between two looks at whether the other process is still there. The lifeline does not always tell: processes
#: that a worker or the parent has forked may hold its other end open.
_LOOK = 1.0

#: Seconds between two looks at a worker that is about to end.
_SOON = 0.01

#: What a worker that accepts no connections has in the table, in place of their number.
_NOBODY = -1

#: What the parent writes to a lifeline: what is to be done, and by which instant of time.monotonic(), which is the same
#: in every process.
_ORDER = struct.Struct("cd")
_DRAIN, _END = b"d", b"e"

#: The signals that end a server.
ENDING = (signal.SIGTERM, signal.SIGINT)


class Workers:
    """Keeps a number of worker processes running, each of which calls work(parent, share).

    A worker ends when work returns, with status 0; with 1 if it raises.

    Concurrency: `run` is for one thread, which should have no others beside it. `drain` is for any thread. `stop` is
    for any thread when `run` is over, and for a signal's handler in the thread of `run`. `_lock` is for several of them
    at once; it is reentrant, as a handler may find its own thread in `stop`.
    """

    def __init__(self, count: int, work: Callable[[Parent, Share], None], *, pin: Pin = None) -> None:
        self._work = work
        self._cores = cores_of_workers(count, pin)
        self._lock = threading.RLock()
        shares = memoryview(mmap.mmap(-1, count * 8)).cast("q")
        self._workers = [_Worker(number, Share(shares, number)) for number in range(count)]
        self._meeting = MeetingPlace()
        self._warned = False  # that threads are running
        # By when the peers are to be told to go; None while nobody asked for that. Without a lock: one reference, which
        # `run` looks at each time that it is woken.
        self._drain_end: float | None = None

    def run(self, waker: Waker, over: Callable[[], bool], on_drain: Callable[[], object] | None = None) -> None:
        """Keep all workers running until it is over: whoever ends it wakes the waker. `stop` ends the workers.

        After `drain` it is also over once all workers have ended. on_drain is called when they have been told.
        """
        self._meeting.make()  # before the first fork: all workers are to know it
        told = None
        with _blocking(_handled_signals()) as mask:
            while not over():
                if (end := self._drain_end) is not None and end != told:
                    for worker in self._workers:
                        worker.order(_DRAIN, end)
                    if told is None and on_drain is not None:
                        on_drain()
                    told = end
                if told is None:
                    self._fill(mask)
                elif all(worker.pid is None for worker in self._workers):
                    return
                self._wait(waker, mask)
                for worker in self._workers:
                    if not over():
                        worker.look(is_last=self._drain_end is not None)

    def _fill(self, mask: Collection[int]) -> None:
        """Start a worker for each place that is due."""
        for worker in self._workers:
            if worker.pid is None and worker.due <= time.monotonic():
                self._start(worker, mask)

    def drain(self, end: float, waker: Waker) -> None:
        """Have every worker tell its peers to go, by an instant of time.monotonic(), and end; none is replaced.

        Again: the sooner end counts.
        """
        # Two threads that ask at once may leave the later end: both ask for the end of all, and one of them gets it.
        self._drain_end = end if self._drain_end is None else min(end, self._drain_end)
        waker.wake()

    def stop(self, deadline: float, grace: float) -> int:
        """End all workers: in order until an instant of time.monotonic(), by force so many seconds later.

        Idempotent. Returns how many had to be forced.
        """
        with self._lock:
            for worker in self._workers:
                worker.end(deadline)
        try:
            while self._count() and (left := deadline + grace - time.monotonic()) > 0:
                time.sleep(min(_SOON, left))
        finally:  # a second Ctrl-C interrupts the wait
            with self._lock:
                killed = self._count()
                for worker in self._workers:
                    worker.kill()
            self._meeting.remove()
        return killed

    def _count(self) -> int:
        """How many workers run."""
        with self._lock:
            for worker in self._workers:
                worker.reap()
            return sum(worker.pid is not None for worker in self._workers)

    def _wait(self, waker: Waker, mask: Collection[int]) -> None:
        """Wait for something to do. Signals are handled here, and nowhere else."""
        # poll needs no descriptor of its own: none that a worker would inherit, none that could not be had. So the
        # selector is made anew each time.
        with selectors.PollSelector() as selector:
            selector.register(waker, selectors.EVENT_READ)
            for worker in self._workers:
                if worker.lifeline is not None and not worker.leaving:
                    selector.register(worker.lifeline, selectors.EVENT_READ, worker)
            seconds = self._until_due()
            with _only_blocking(mask):
                ready = selector.select(seconds)
        for key, _events in ready:
            if key.data is None:
                waker.wait(0)
            else:
                key.data.leaving = True

    def _until_due(self) -> float:
        """Seconds until there is something to look at."""
        now = time.monotonic()
        waits = [_SOON if worker.leaving else _LOOK for worker in self._workers]
        if self._drain_end is None:
            waits += [max(0.0, worker.due - now) for worker in self._workers if worker.pid is None]
        return min(waits)

    def _start(self, worker: _Worker, mask: Collection[int]) -> None:
        """Fork a worker. In the child this does not return."""
        self._warn_of_threads()
        _flush()  # or the worker would write once more what waits in the buffers
        worker.due = time.monotonic()
        worker.share.note(0)
        try:
            worker.lifeline, theirs = socket.socketpair()
            with theirs:
                parent = Parent(theirs, mask)
                worker.pid = _fork()
                if worker.pid == 0:
                    self._be_worker(worker, parent)
        except OSError as exc:  # the system has no descriptor, no process or no memory left
            _log.error("worker %d cannot be started: %s", worker.number, exc)
            worker.pid = None
            worker.let_go(_PAUSE)

    def _warn_of_threads(self) -> None:
        others = [thread.name for thread in threading.enumerate() if thread is not threading.current_thread()]
        if others and not self._warned:
            self._warned = True
            _log.warning(
                "threads are running while workers are forked (%s): a lock that one of them holds stays locked in the "
                "worker; start them afterwards, in os.register_at_fork(after_in_child=...) or in a handler",
                ", ".join(others),
            )

    def _be_worker(self, worker: _Worker, parent: Parent) -> NoReturn:
        """Be the child, to its end. It must never go on with what the parent was doing."""
        status = 1
        try:
            self._begin_worker(worker, parent)
            self._work(parent, worker.share)
            status = 0
        except BaseException:
            _log.exception("worker %d failed", worker.number)
        finally:
            try:
                end_all()
                if parent.is_gone:
                    self._meeting.leave()
                logging.shutdown()
                _flush()
            finally:
                # Not sys.exit: what the program registered with atexit runs once, in the parent.
                os._exit(status)

    def _begin_worker(self, worker: _Worker, parent: Parent) -> None:
        become_worker(self._meeting.path)
        take_place(worker.number)
        for each in self._workers:  # or a sibling would not see that the parent has ended, while this process lives
            if each.lifeline is not None:
                each.lifeline.close()
        if self._cores is not None:
            core = self._cores[worker.number % len(self._cores)]
            try:
                os.sched_setaffinity(0, {core})
            except OSError as exc:  # this program may no longer use that core
                _log.warning("worker %d cannot be kept on core %d: %s", worker.number, core, exc)
        signal.set_wakeup_fd(-1)  # the descriptor wakes the parent
        for number in ENDING:
            # The worker's own handlers take their place while it serves. When it ends these are back, and ignore a
            # second Ctrl-C: a terminal sends it to every process, and the parent is the one to act on it. Not SIG_IGN,
            # which the programs that a handler starts would inherit.
            signal.signal(number, _ignoring())
        parent.listen()


class _Worker:
    """The place of one worker, and the process that has it now. Concurrency: see Workers."""

    def __init__(self, number: int, share: Share) -> None:
        self.number = number
        self.share = share
        self.pid: int | None = None  # of its process, until that is reaped
        self.lifeline: socket.socket | None = None
        self.leaving = False  # the worker's end of the lifeline is closed
        self.due = 0.0  # when the process was started, or is to be started

    def look(self, *, is_last: bool = False) -> None:
        """See whether the process has ended. If so, the place is due again, unless it is the last that has it."""
        pid = self.pid
        how = self.reap()
        if how is None:
            return
        lived = time.monotonic() - self.due
        level = logging.INFO if how == "ended" else logging.WARNING
        if not is_last:
            _log.log(level, "worker %d (process %s) %s; another takes its place", self.number, pid, how)
        elif how != "ended":
            _log.warning("worker %d (process %s) %s while it drained", self.number, pid, how)
        self.let_go(0.0 if lived >= _PAUSE else _PAUSE)

    def reap(self) -> str | None:
        """How the process has ended; None while it runs, and once that was said."""
        return self._reap(os.WNOHANG)

    def _reap(self, flags: int) -> str | None:
        if self.pid is None:
            return None
        try:
            pid, status = os.waitpid(self.pid, flags)
        except ChildProcessError:  # the program reaps all its children itself, or lets the system do it
            pid, status = self.pid, 0
        if pid == 0:
            return None
        self.pid = None
        code = os.waitstatus_to_exitcode(status)
        if code == 0:
            return "ended"
        return f"was killed by {_name(-code)}" if code < 0 else f"ended with status {code}"

    def end(self, deadline: float) -> None:
        """Tell the process to end by an instant of time.monotonic()."""
        self.order(_END, deadline)

    def order(self, what: bytes, instant: float) -> None:
        """Tell the process to do something by an instant of time.monotonic()."""
        if self.pid is None or self.lifeline is None:
            return
        try:
            self.lifeline.send(_ORDER.pack(what, instant), getattr(socket, "MSG_NOSIGNAL", 0))
        except OSError:  # it has ended, or a handler has closed a descriptor that it did not know
            self._signal(signal.SIGTERM)

    def kill(self) -> None:
        """End the process now, if it still runs, and give back what it had."""
        self._signal(signal.SIGKILL)
        self._reap(0)
        self.let_go()

    def _signal(self, number: signal.Signals) -> None:
        if self.pid is not None:  # it is not reaped yet, so no other process has its number
            with suppress(ProcessLookupError):
                os.kill(self.pid, number)

    def let_go(self, seconds: float = 0.0) -> None:
        """Give back the lifeline. The place is due again in so many seconds."""
        self.due = time.monotonic() + seconds
        self.share.give_up()
        self.leaving = False
        if self.lifeline is not None:
            self.lifeline.close()
            self.lifeline = None


class Parent:
    """What a worker knows of its parent, and hears from it. Made before the fork, and used by the worker."""

    def __init__(self, lifeline: socket.socket, mask: Collection[int]) -> None:
        self._pid = os.getpid()
        self._lifeline = lifeline
        self._mask = mask
        #: The instant of time.monotonic() by which this worker is to have ended, if the parent has said so.
        self.deadline: float | None = None
        #: The one by which its peers are to be told to go, if the parent has said so.
        self.drain_end: float | None = None
        #: Called by the thread that listens, when the parent has said so: by then `drain_end` is set.
        self.wake: Callable[[], object] = _nothing

    @property
    def is_gone(self) -> bool:
        """Whether the parent has ended."""
        return os.getppid() != self._pid

    def listen(self) -> None:
        """From now on this process gets SIGTERM when the parent wants it to end, and when the parent is gone."""
        self._lifeline.settimeout(_LOOK)
        threading.Thread(target=self._listen, name="syncws-lifeline", daemon=True).start()

    def let_signals_come(self) -> None:
        """Unblock what was blocked for the fork, and the signals that end a server."""
        signal.pthread_sigmask(signal.SIG_SETMASK, set(self._mask) - set(ENDING))

    def _listen(self) -> None:
        while len(order := self._hear()) == _ORDER.size:
            what, instant = _ORDER.unpack(order)
            if what == _END:
                self.deadline = instant
                break
            self.drain_end = instant
            self.wake()
        else:
            _log.warning("the parent process is gone: this worker ends")
        os.kill(os.getpid(), signal.SIGTERM)

    def _hear(self) -> bytes:
        """What the parent wrote; b"" if it is gone."""
        while not self.is_gone:  # another process may hold the other end open
            try:
                return self._lifeline.recv(_ORDER.size)
            except TimeoutError:
                pass
            except OSError:  # a handler has closed a descriptor that it did not know
                break
        return b""


class Share:
    """How many connections a worker has, in memory that all workers share.

    Concurrency: each worker writes its own number, from one thread at a time, and reads all of them at any time,
    without a lock: each number is one aligned machine word. At worst a worker reads an old one, and then hesitates
    without need, or does not hesitate.
    """

    def __init__(self, shares: memoryview, number: int) -> None:
        self._shares = shares
        self._number = number
        self.give_up()

    def note(self, connections: int) -> None:
        """This worker has so many."""
        self._shares[self._number] = connections

    def give_up(self) -> None:
        """This worker is not there, or accepts no more."""
        self._shares[self._number] = _NOBODY

    def is_large(self) -> bool:
        """Whether another worker that accepts has clearly fewer."""
        least = min((each for each in self._shares if each != _NOBODY), default=0)
        # A smaller difference would make equally fast workers rest in turn when many connections come at once.
        return bool(self._shares[self._number] > least + least // 8 + 4)


def _fork() -> int:
    with warnings.catch_warnings():
        # Python 3.12 and later warn when there are threads. `_warn_of_threads` has said it already; and where warnings
        # are errors, this one would be raised after the fork, and the child's number lost.
        warnings.simplefilter("ignore", DeprecationWarning)
        return os.fork()


def _flush() -> None:
    for stream in (sys.stdout, sys.stderr):
        with suppress(Exception):  # there is no such stream, or it is closed, or nobody reads it any more
            stream.flush()


def _ignoring() -> Callable[[int, object], None]:
    """A handler that ignores a signal in this process; one that is forked by it meets its default."""
    process = os.getpid()

    def ignore(number: int, _frame: object) -> None:
        if os.getpid() != process:
            signal.signal(number, signal.SIG_DFL)
            signal.raise_signal(number)

    return ignore


def _nothing() -> None:
    pass


def _name(number: int) -> str:
    """What a signal is called. Real-time signals have numbers only."""
    try:
        return signal.Signals(number).name
    except ValueError:
        return f"signal {number}"


def _handled_signals() -> set[int]:
    """The signals for which there is a handler in Python, and those that end a server."""
    return {number for number in signal.valid_signals() if callable(signal.getsignal(number))} | set(ENDING)


def _blocking(signals: Collection[int]) -> AbstractContextManager[Collection[int]]:
    """Until the end of the block, let these signals wait too."""
    return _mask(signal.SIG_BLOCK, signals)


def _only_blocking(signals: Collection[int]) -> AbstractContextManager[Collection[int]]:
    """Until the end of the block, let these signals wait, and no others."""
    return _mask(signal.SIG_SETMASK, signals)


@contextmanager
def _mask(how: int, signals: Collection[int]) -> Iterator[Collection[int]]:
    """Until the end of the block, change which signals wait. Gives those that waited before."""
    before = signal.pthread_sigmask(signal.SIG_BLOCK, ())  # apart: the other call may raise what a handler raises
    try:
        signal.pthread_sigmask(how, signals)
        yield before
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, before)
