"""drain.py: what nobody waits for is done by one thread, which is there only while there is something to do."""

from __future__ import annotations

import contextlib
import errno
import os
import random
import selectors
import socket
import subprocess
import sys
import tempfile
import threading
import time
import unittest
from unittest import mock

from syncws._net import drain as drain_module
from syncws._net.drain import Drain
from syncws.testing import LeakChecks, await_
from tests.tasks import PATIENCE

NAME = "syncws-drain"


def drain_threads():
    return [thread for thread in threading.enumerate() if thread.name == NAME]


class Cases(LeakChecks):
    """A drain of its own for each test."""

    def setUp(self):
        super().setUp()
        self.drain = Drain()

    def make_pair(self, full=False):
        """A socket and its peer; with full, there is no room in it until the peer reads."""
        sock, peer = socket.socketpair()
        for end in (sock, peer):
            self.addCleanup(end.close)
            end.setblocking(False)
        if full:
            self.fill(sock)
        return sock, peer

    def fill(self, sock):
        try:
            while True:
                sock.send(b"f" * 65536)
        except BlockingIOError:
            pass

    def make_room(self, peer):
        try:
            while True:
                peer.recv(1 << 20)
        except BlockingIOError:
            pass


class Calls:
    """A flush that counts its calls, and is done when told so."""

    def __init__(self, done_after=1):
        self.count = 0
        self.called = threading.Event()
        self.done_after = done_after

    def __call__(self):
        self.count += 1
        self.called.set()
        return self.count >= self.done_after


class WatchTests(Cases):
    """watch and forget."""

    def test_calls_when_writable(self):
        """A flush is called when its socket can be written, and not before."""
        sock, peer = self.make_pair(full=True)
        flush = Calls()
        self.drain.watch(sock.fileno(), flush)
        self.assertFalse(flush.called.wait(0.05))
        self.make_room(peer)
        self.assertTrue(flush.called.wait(10))

    def test_calls_until_done(self):
        """It is called again and again until it returns True, and then no more."""
        sock, _ = self.make_pair()
        flush = Calls(done_after=5)
        self.drain.watch(sock.fileno(), flush)
        self.assertTrue(await_(lambda: not drain_threads()))
        self.assertEqual(flush.count, 5)

    def test_broken_socket(self):
        """It is called when its socket breaks, so that it can find out."""
        sock, peer = self.make_pair(full=True)
        flush = Calls()
        self.drain.watch(sock.fileno(), flush)
        peer.close()
        self.assertTrue(flush.called.wait(10))

    def test_shut_down_socket(self):
        """So it is when this side shuts its socket down."""
        sock, _ = self.make_pair(full=True)
        flush = Calls()
        self.drain.watch(sock.fileno(), flush)
        sock.shutdown(socket.SHUT_RDWR)
        self.assertTrue(flush.called.wait(10))

    def test_two_sockets(self):
        """A socket that stays full keeps no other waiting."""
        stuck, peer = self.make_pair(full=True)
        free, _ = self.make_pair()
        never, at_once = Calls(), Calls()
        self.drain.watch(stuck.fileno(), never)
        self.drain.watch(free.fileno(), at_once)
        self.assertTrue(at_once.called.wait(10))
        self.assertEqual(never.count, 0)
        self.make_room(peer)
        self.assertTrue(never.called.wait(10))

    def test_forget(self):
        """A socket that was forgotten is not looked at any more, and does not keep the thread."""
        sock, peer = self.make_pair(full=True)
        flush = Calls()
        self.drain.watch(sock.fileno(), flush)
        self.drain.forget(sock.fileno())
        self.make_room(peer)
        self.assertTrue(await_(lambda: not drain_threads()))
        self.assertEqual(flush.count, 0)
        self.drain.forget(sock.fileno())  # twice, and with no thread, does no harm
        self.assertEqual(drain_threads(), [])

    def test_flush_that_raises(self):
        """An exception in a flush is logged, ends its watch, and disturbs no other."""
        broken, _ = self.make_pair()
        sound, _ = self.make_pair(full=True)
        good = Calls()
        self.drain.watch(sound.fileno(), good)
        with self.assertLogs("syncws.conn", "ERROR") as logged:
            self.drain.watch(broken.fileno(), mock.Mock(side_effect=ZeroDivisionError))
            self.assertTrue(await_(lambda: logged.output))
        self.assertIn("ZeroDivisionError", logged.output[0])
        sound.shutdown(socket.SHUT_RDWR)
        self.assertTrue(good.called.wait(10))

    def test_asked_again_while_done(self):
        """A watch that comes while the flush finds that it is done is kept: no wake-up is lost."""
        sock, _ = self.make_pair()
        inside, go_on, again = threading.Event(), threading.Event(), threading.Event()

        def flush():
            if inside.is_set():
                again.set()
            else:
                inside.set()
                go_on.wait(10)
            return True

        self.drain.watch(sock.fileno(), flush)
        self.assertTrue(inside.wait(10))
        self.drain.watch(sock.fileno(), flush)
        go_on.set()
        self.assertTrue(again.wait(10))

    def test_asked_again_by_the_flush(self):
        """A flush may watch and forget: its own socket, and others'."""
        sock, _ = self.make_pair()
        other, _ = self.make_pair()
        calls = []

        def flush():
            calls.append(1)
            if len(calls) == 1:
                self.drain.watch(sock.fileno(), flush)  # and is done with the first
            elif len(calls) == 2:
                self.drain.forget(sock.fileno())
                self.drain.watch(other.fileno(), last)
            return True

        last = Calls()
        self.drain.watch(sock.fileno(), flush)
        self.assertTrue(last.called.wait(10))
        self.assertEqual(len(calls), 2)

    def test_later_watch_replaces(self):
        """One fd has one flush, the latest."""
        sock, peer = self.make_pair(full=True)
        old, new = Calls(), Calls()
        self.drain.watch(sock.fileno(), old)
        self.drain.watch(sock.fileno(), new)
        self.make_room(peer)
        self.assertTrue(new.called.wait(10))
        self.assertTrue(await_(lambda: not drain_threads()))
        self.assertEqual(old.count, 0)

    def test_closed_fd(self):
        """A descriptor that is not open, or that cannot be waited for, is flushed once, which finds out."""
        sock, peer = self.make_pair()
        fd = sock.fileno()
        sock.close()
        peer.close()
        with tempfile.TemporaryFile() as file:
            for number in (fd, -1, file.fileno()):
                flush = Calls()
                self.drain.watch(number, flush)
                self.assertTrue(flush.called.wait(10), number)
                self.assertTrue(await_(lambda: not drain_threads()))

    def test_reused_fd(self):
        """A socket that gets the number of a forgotten one is watched for its own sake only."""
        old, old_peer = self.make_pair(full=True)
        keeper, _ = self.make_pair(full=True)
        self.drain.watch(keeper.fileno(), Calls())  # the thread is there all the time
        stale = Calls(done_after=10**9)
        fd = old.fileno()
        self.drain.watch(fd, stale)
        self.drain.forget(fd)
        old.close()
        old_peer.close()
        while True:
            new, new_peer = self.make_pair(full=True)
            if fd in (new.fileno(), new_peer.fileno()):
                break
        if fd != new.fileno():
            new, new_peer = new_peer, new
            self.fill(new)
        fresh = Calls()
        self.drain.watch(fd, fresh)
        self.make_room(new)
        self.make_room(new_peer)
        self.assertTrue(fresh.called.wait(10))
        self.assertEqual(stale.count, 0)
        self.drain.forget(keeper.fileno())

    def test_reused_fd_without_forget(self):
        """Even where a socket was closed without being forgotten, its number's next owner is served."""
        old, old_peer = self.make_pair(full=True)
        stale = Calls()
        fd = old.fileno()
        self.drain.watch(fd, stale)
        with socket.socket(fileno=os.dup(self.make_pair()[0].fileno())) as new:
            os.dup2(new.fileno(), fd)
            fresh = Calls()
            self.drain.watch(fd, fresh)
            self.assertTrue(fresh.called.wait(10))
        self.assertTrue(await_(lambda: not drain_threads()))
        self.assertEqual(stale.count, 0)
        old_peer.close()

    def test_forgotten_socket_that_a_fork_keeps(self):
        """A forgotten and closed socket that lives on elsewhere (in a fork) does not make the thread spin."""
        sock, peer = self.make_pair(full=True)
        keeper, keeper_peer = self.make_pair(full=True)
        kept = Calls()
        self.drain.watch(keeper.fileno(), kept)
        with socket.socket(fileno=os.dup(sock.fileno())):  # as a fork would
            self.drain.watch(sock.fileno(), Calls())
            self.drain.forget(sock.fileno())
            sock.close()
            self.make_room(peer)  # so that the selector would report it, for ever
            waits = []
            wait = drain_module._Tools.wait

            def counted(tools, seconds):
                waits.append(seconds)
                return wait(tools, seconds)

            with mock.patch.object(drain_module._Tools, "wait", counted):
                self.assertFalse(kept.called.wait(0.2))
            self.assertLess(len(waits), 0.2 / drain_module.IDLE * 3 + 5)
        self.make_room(keeper_peer)
        self.assertTrue(kept.called.wait(10))


class CopyingSelector(selectors.SelectSelector):
    """Waits for what was registered when the wait began, as select() does, and says that it waits."""

    waits = threading.Event()

    def select(self, timeout=None):
        with selectors.SelectSelector() as copy:
            for key in list(self.get_map().values()):
                copy.register(key.fileobj, key.events, key.data)
            self.waits.set()
            return copy.select(timeout)


class WakeTests(Cases):
    """New work, while the thread waits for other work and would go on doing so."""

    def setUp(self):
        super().setUp()
        self.enterContext(mock.patch.object(drain_module.selectors, "DefaultSelector", CopyingSelector))
        CopyingSelector.waits.clear()
        idle, drain_module.IDLE = drain_module.IDLE, 60.0
        sock, _ = self.make_pair(full=True)
        self.drain.watch(sock.fileno(), Calls())
        self.assertTrue(CopyingSelector.waits.wait(10))

        def end():
            drain_module.IDLE = idle
            self.drain.forget(sock.fileno())
            self.drain._tools.wake()

        self.addCleanup(end)

    def test_another_socket(self):
        """A socket that is watched later is seen at once, although the wait under way does not include it."""
        sock, _ = self.make_pair()
        flush = Calls()
        self.drain.watch(sock.fileno(), flush)
        self.assertTrue(flush.called.wait(10))

    def test_a_timer(self):
        """A timer that is due before the wait under way would end is called when it is due."""
        fired = threading.Event()
        self.drain.call_at(time.monotonic(), fired.set)
        self.assertTrue(fired.wait(10))


class TimerTests(Cases):
    """call_at and cancel."""

    def test_calls_at_the_instant(self):
        """A call comes at its instant, not before."""
        at = time.monotonic() + 0.1
        times = []
        timer = self.drain.call_at(at, lambda: times.append(time.monotonic()))
        self.assertFalse(timer.cancelled)
        self.assertTrue(await_(lambda: times))
        self.assertGreaterEqual(times[0], at)
        self.assertTrue(timer.cancelled)
        self.assertTrue(await_(lambda: not drain_threads()))
        self.assertEqual(len(times), 1)

    def test_order(self):
        """Calls come in the order of their instants, and those of one instant in the order they were asked for."""
        held, go = threading.Event(), threading.Event()
        self.drain.call_at(time.monotonic(), lambda: (held.set(), go.wait(PATIENCE)))
        self.assertTrue(held.wait(PATIENCE))  # nothing is called before all have been asked for
        soon = time.monotonic()
        instants = [soon + 0.001 * k for k in range(20) for _ in range(3)]
        expected = list(range(len(instants)))
        calls = []
        shuffled = expected.copy()
        random.Random(7).shuffle(shuffled)
        shuffled.sort(key=lambda number: number % 3)  # within one instant the order of asking is that of the numbers
        for number in shuffled:
            self.drain.call_at(instants[number], lambda number=number: calls.append(number))
        go.set()
        self.assertTrue(await_(lambda: len(calls) == len(expected)))
        self.assertEqual(calls, expected)

    def test_earlier_one_comes_first(self):
        """A call asked for while the thread waits for a later one is not late."""
        later = self.drain.call_at(time.monotonic() + 3600, lambda: self.fail("an hour too early"))
        sooner = threading.Event()
        self.drain.call_at(time.monotonic() + 0.01, sooner.set)
        self.assertTrue(sooner.wait(5))
        later.cancel()

    def test_past(self):
        """An instant that has passed is now."""
        called = threading.Event()
        self.drain.call_at(time.monotonic() - 5, called.set)
        self.assertTrue(called.wait(10))

    def test_cancelled(self):
        """A cancelled call does not come, and holds on to nothing."""
        held = mock.Mock()
        timer = self.drain.call_at(time.monotonic() + 0.02, held)
        timer.cancel()
        timer.cancel()
        self.assertTrue(timer.cancelled)
        after = threading.Event()
        self.drain.call_at(time.monotonic() + 0.05, after.set)
        self.assertTrue(after.wait(10))
        held.assert_not_called()

    def test_cancelled_when_due(self):
        """A call that is cancelled after the thread has taken it off its list, and before it is made, does not come."""
        held = mock.Mock()
        timer = drain_module.Timer(0.0, held)
        timer.cancel()
        timer.fire()
        held.assert_not_called()

    def test_cancelled_ones_do_not_keep_the_thread(self):
        """A timer of the next hour that was cancelled does not keep the thread; one that was not does."""
        timers = [self.drain.call_at(time.monotonic() + 3600, lambda: None) for _ in range(100)]
        self.assertFalse(await_(lambda: not drain_threads(), 0.1))
        for timer in timers[1:]:
            timer.cancel()
        self.assertFalse(await_(lambda: not drain_threads(), 0.1))
        timers[0].cancel()
        self.assertTrue(await_(lambda: not drain_threads()))
        self.assertEqual(self.drain._timers, [])

    def test_call_that_raises(self):
        """An exception in a call is logged; the next one comes."""
        called = threading.Event()
        with self.assertLogs("syncws.conn", "ERROR"):
            self.drain.call_at(time.monotonic(), mock.Mock(side_effect=ZeroDivisionError))
            self.drain.call_at(time.monotonic() + 0.01, called.set)
            self.assertTrue(called.wait(10))

    def test_calls_while_sockets_are_busy(self):
        """A socket that is always ready does not keep timers from being called."""
        sock, _ = self.make_pair()
        busy = Calls(done_after=10**9)
        self.drain.watch(sock.fileno(), busy)
        called = threading.Event()
        self.drain.call_at(time.monotonic() + 0.05, called.set)
        self.assertTrue(called.wait(10))
        self.drain.forget(sock.fileno())

    def test_a_call_may_ask_for_another(self):
        """A call may use the drain itself."""
        last = threading.Event()
        self.drain.call_at(time.monotonic(), lambda: self.drain.call_at(time.monotonic(), last.set))
        self.assertTrue(last.wait(10))


class ThreadTests(Cases):
    """When there is a thread, and when not."""

    def test_interrupted_start(self):
        """An interrupt while the thread is started, before or after it has begun, loses neither work nor thread."""
        start = threading.Thread.start

        def begun(thread):
            start(thread)
            raise KeyboardInterrupt

        def not_begun(thread):
            raise KeyboardInterrupt

        for interrupted in (begun, not_begun):
            calls = [Calls(), Calls()]
            with mock.patch.object(threading.Thread, "start", interrupted), self.assertRaises(KeyboardInterrupt):
                self.drain.call_at(time.monotonic(), calls[0])
            self.drain.call_at(time.monotonic(), calls[1])
            for call in calls:
                self.assertTrue(call.called.wait(10))
            self.assertTrue(await_(lambda: not drain_threads()))

    def test_interrupted_before_the_tools(self):
        """An interrupt while its tools are made leaves the work, and the next request does it."""
        first, second = Calls(), Calls()
        with mock.patch.object(drain_module, "_Tools", side_effect=KeyboardInterrupt):
            self.assertRaises(KeyboardInterrupt, self.drain.call_at, time.monotonic(), first)
        self.drain.call_at(time.monotonic(), second)
        self.assertTrue(first.called.wait(10))
        self.assertTrue(second.called.wait(10))

    def test_begin_anew(self):
        """In the child of a fork the parent's work and tools are gone, and new work is done."""
        for tools in (None, drain_module._Tools()):
            sock, _ = self.make_pair()
            parents, childs = Calls(), Calls()
            self.drain._watched[sock.fileno()] = (parents,)
            self.drain._tools = tools  # whose thread the fork has left behind
            self.drain.begin_anew()
            self.drain.call_at(time.monotonic(), childs)
            self.assertTrue(childs.called.wait(10))
            self.assertTrue(await_(lambda: not drain_threads()))
            self.assertEqual(parents.count, 0)

    def test_none_at_rest(self):
        """There is no thread before there is work, one while there is, and none after; a daemon."""
        self.assertEqual(drain_threads(), [])
        sock, peer = self.make_pair(full=True)
        flush = Calls()
        self.drain.watch(sock.fileno(), flush)
        (thread,) = drain_threads()
        self.assertTrue(thread.daemon)
        self.assertFalse(await_(lambda: not drain_threads(), 0.2))  # many times the idle time
        self.make_room(peer)
        self.assertTrue(await_(lambda: not drain_threads()))

    def test_starts_again(self):
        """After it has ended the next request starts it again, however often."""
        sock, _ = self.make_pair()
        for _ in range(5):
            flush = Calls()
            self.drain.watch(sock.fileno(), flush)
            self.assertTrue(flush.called.wait(10))
            self.assertTrue(await_(lambda: not drain_threads()))

    def test_request_while_it_ends(self):
        """No request is lost in the instant in which the thread ends."""
        sock, _ = self.make_pair()
        drain_module.IDLE = 0.0005  # LeakChecks puts it back
        pause = threading.Event()
        for round in range(400):
            flush = Calls()
            self.drain.watch(sock.fileno(), flush)
            self.assertTrue(flush.called.wait(10), f"lost in round {round}")
            pause.wait(0.0005 * (round % 5))

    def test_many_requesters(self):
        """Requests of many threads at the same time are all carried out, by one thread."""
        rounds, per_thread = 50, 4
        seen = set()

        def request(number):
            socks = [self.make_pair()[0] for _ in range(per_thread)]
            for _ in range(rounds):
                flushes = [Calls(done_after=2) for _ in socks]
                timer = Calls()
                for sock, flush in zip(socks, flushes, strict=True):
                    self.drain.watch(sock.fileno(), flush)
                self.drain.call_at(time.monotonic(), timer)
                self.drain.call_at(time.monotonic() + 60, timer).cancel()
                seen.update(drain_threads())
                for flush in (*flushes, timer):
                    if not await_(lambda flush=flush: flush.count >= flush.done_after):
                        return
                for sock in socks:
                    self.drain.forget(sock.fileno())
            finished.append(number)

        finished = []
        threads = [threading.Thread(target=request, args=(number,)) for number in range(8)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join(60)
        self.assertEqual(sorted(finished), list(range(8)))

    def test_no_thread_to_be_had(self):
        """Where no thread can be started nothing is raised or lost: it is logged once, and tried again."""
        sock, _ = self.make_pair()
        flush, timer = Calls(), Calls()
        with (
            mock.patch.object(threading.Thread, "start", side_effect=RuntimeError("can't start new thread")),
            self.assertLogs("syncws.conn", "ERROR") as logged,
        ):
            self.drain.watch(sock.fileno(), flush)
            self.drain.watch(sock.fileno(), flush)
            self.drain.call_at(time.monotonic(), timer)
        self.assertEqual(len(logged.output), 1)
        self.drain.call_at(time.monotonic() + 3600, timer).cancel()
        self.assertTrue(flush.called.wait(10))
        self.assertTrue(timer.called.wait(10))

    def test_no_descriptor_to_be_had(self):
        """Where no descriptor is free the same holds, wherever the shortage strikes, and none is leaked."""
        sock, _ = self.make_pair()
        shortage = OSError(errno.EMFILE, "Too many open files")
        for place in ("syncws._net.drain.selectors.DefaultSelector", "syncws._net.drain.socket.socketpair"):
            flush = Calls()
            with mock.patch(place, side_effect=shortage), self.assertLogs("syncws.conn", "ERROR"):
                self.drain.watch(sock.fileno(), flush)
                self.drain.tell()
            self.assertEqual(drain_threads(), [])
            self.drain.watch(sock.fileno(), flush)
            self.assertTrue(flush.called.wait(10))
            self.assertTrue(await_(lambda: not drain_threads()))

    def test_a_log_handler_may_come_back(self):
        """A handler of the log that uses a connection, and so the drain, does not wait for itself."""
        sock, _ = self.make_pair()
        handled = []
        with (
            mock.patch.object(threading.Thread, "start", side_effect=RuntimeError),
            mock.patch.object(
                drain_module._logger, "error", side_effect=lambda *_: handled.append(self.drain.forget(sock.fileno()))
            ),
        ):
            with self.assertNoLogs("syncws.conn"):
                self.drain.watch(sock.fileno(), Calls())  # whose caller holds a lock
            self.assertEqual(handled, [])
            self.drain.tell()
            self.drain.tell()
        self.assertEqual(handled, [None])

    def test_thread_that_dies(self):
        """A thread that dies of a defect is seen to, and the next request starts another one with all work."""
        sock, _ = self.make_pair(full=True)
        other, _ = self.make_pair()
        seen = []
        first, second = Calls(), Calls()
        with mock.patch.object(threading, "excepthook", lambda arguments: seen.append(arguments.exc_type)):
            with mock.patch.object(drain_module._Tools, "wait", side_effect=ZeroDivisionError):
                self.drain.watch(sock.fileno(), first)
                self.assertTrue(await_(lambda: seen and not drain_threads()))
        self.assertEqual(seen, [ZeroDivisionError])
        self.drain.watch(other.fileno(), second)
        self.assertTrue(second.called.wait(10))
        sock.shutdown(socket.SHUT_RDWR)
        self.assertTrue(first.called.wait(10))

    @unittest.skipUnless(hasattr(os, "fork"), "needs fork")
    def test_fork(self):
        """A fork in the middle of work: the child has nothing to do, has no descriptor of the drain, and can work."""
        script = """
import os, socket, sys, threading, time
from syncws._net.drain import drain

sys.modules["syncws._net.drain"].IDLE = 0.05

def fds():
    listed = os.listdir("/proc/self/fd") if os.path.isdir("/proc/self/fd") else []
    return {int(fd) for fd in listed if os.path.exists("/proc/self/fd/" + fd)}  # but for the listing's own

before = fds()
full, peer = socket.socketpair()
full.setblocking(False)
try:
    while True:
        full.send(bytes(65536))
except BlockingIOError:
    pass
drain.watch(full.fileno(), lambda: os.write(1, b"flushed in %d;" % os.getpid()) and True)
timer = drain.call_at(time.monotonic() + 1.5, lambda: os.write(1, b"timer in %d;" % os.getpid()))
for lock_held in (False, True):
    if lock_held:
        drain._lock.acquire()  # another thread of the parent is inside
    child = os.fork()
    if child == 0:
        assert threading.active_count() == 1
        assert fds() == before | {full.fileno(), peer.fileno()}, fds()
        called = threading.Event()
        free, other = socket.socketpair()
        with free, other:
            drain.watch(free.fileno(), lambda: called.set() or True)
            assert called.wait(10)
            while threading.active_count() > 1:
                time.sleep(0.01)
        full.close(); peer.close()
        time.sleep(max(0, timer.instant + 0.1 - time.monotonic()) if lock_held else 0)
        os._exit(0)
    if lock_held:
        drain._lock.release()
    assert os.waitpid(child, 0)[1] == 0
peer.setblocking(False)
try:
    while True:
        peer.recv(1 << 20)
except BlockingIOError:
    pass
while threading.active_count() > 1:
    time.sleep(0.01)
full.close(); peer.close()
print("parent", os.getpid())
"""
        done = subprocess.run(
            [sys.executable, "-X", "dev", "-W", "error", "-W", "ignore::DeprecationWarning", "-c", script],
            capture_output=True,
            text=True,
            timeout=60,
        )
        self.assertEqual((done.returncode, done.stderr), (0, ""))
        *events, parent = done.stdout.replace(";", "\n").split("\n")[:-1]
        pid = parent.split()[1]
        self.assertEqual(sorted(events), [f"flushed in {pid}", f"timer in {pid}"])

    def test_exit_in_the_middle(self):
        """A program that ends while there is work ends at once, without a warning."""
        script = """
import socket, time
from syncws._net.drain import drain
full, peer = socket.socketpair()
full.setblocking(False)
try:
    while True:
        full.send(bytes(65536))
except BlockingIOError:
    pass
drain.watch(full.fileno(), lambda: False)
drain.call_at(time.monotonic() + 3600, lambda: None)
full.detach(), peer.detach()
"""
        done = subprocess.run(
            [sys.executable, "-X", "dev", "-W", "error", "-c", script], capture_output=True, text=True, timeout=60
        )
        self.assertEqual((done.returncode, done.stderr), (0, ""))


class DecisionTests(Cases):
    """What the drain decides under its lock, looked at from the outside."""

    def test_a_request_in_the_instant_of_the_end(self):
        """What comes between the thread's decision to end and its end starts another thread."""
        sock, _ = self.make_pair()
        flush = Calls()

        class Ending(Drain):
            def _may_end(self, tools):
                ends = super()._may_end(tools)
                if ends and not flush.count:
                    self.watch(sock.fileno(), flush)  # as another thread might
                return ends

        Ending().call_at(time.monotonic(), lambda: None)
        self.assertTrue(flush.called.wait(10))

    def test_cancelled_timers_leave_the_others_in_order(self):
        """A thread that looks whether it may end drops cancelled timers; the earliest of the others stays first."""
        later = time.monotonic() + 60
        with mock.patch.object(self.drain, "_start", return_value=None):  # no thread
            timers = [self.drain.call_at(later + seconds, lambda: None) for seconds in (1, 5, 2, 6, 7, 3, 4)]
        timers[0].cancel()
        self.assertFalse(self.drain._may_end(mock.Mock()))
        self.assertEqual(self.drain._timers[0][0], later + 2)
        self.assertEqual(len(self.drain._timers), 6)

    def test_a_fork_under_the_lock(self):
        """The child of a fork has a lock of its own, whoever held the parent's in that instant."""
        self.drain._lock.acquire()
        self.drain.begin_anew()
        self.assertFalse(self.drain._lock.locked())

    def test_a_wake_never_waits(self):
        """Nobody has to read the bytes that wake the thread: however many there are, to send one takes no time."""
        with contextlib.closing(drain_module._Tools()) as tools:
            waking = threading.Thread(target=lambda: [tools.wake() for _ in range(10_000)], daemon=True)
            waking.start()
            waking.join(10)
            self.assertFalse(waking.is_alive())


if __name__ == "__main__":
    unittest.main()
