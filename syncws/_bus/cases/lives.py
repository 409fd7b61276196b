"""Start, close, start again, and the child of a fork: what is there when, and what is left."""

from __future__ import annotations

import json
import os
import socket
import threading
import time
import traceback
import unittest
import warnings
from collections.abc import Callable
from typing import Any

from ..backplane import Backplane
from .fixture import Fixture, Node, descriptors, differs, numbered

_GRACE = 0.1


class LifeCases(Fixture):
    """Threads and descriptors are there from start to close, and in the process that started it."""

    def test_nothing_before_the_start(self) -> None:
        """A backplane that was made has no thread and no descriptor, and one that was not started may be closed."""
        threads, fds = set(threading.enumerate()), descriptors()
        backplane = self.make()
        advice = "The constructor only keeps its options: connect and start threads in start()"
        self.assertEqual(set(threading.enumerate()) - threads, set(), f"A thread before the start. {advice}")
        self.assertEqual(_new(fds), {}, f"A descriptor before the start. {advice}")
        health = backplane.health()
        self.assertEqual((health.up, health.since), (False, None), "health() before the start: not up, since None")
        self.in_time(lambda: backplane.close(self.patience), "close() of one that was not started does nothing")

    def test_nothing_after_the_close(self) -> None:
        """After close() there is no thread, no descriptor, and nothing is told; a second close() does nothing."""
        there = self.join(self.channel)
        self.send(there, [b"0"])
        self.assertTrue(there.backplane.flush(self.patience), "flush() while the bus is there")  # all is connected now
        threads, fds = set(threading.enumerate()), descriptors()
        for _ in range(3):
            here = self.join(self.channel)
            self.send(here, [b"1"])
            self.in_time(lambda here=here: here.backplane.close(self.patience), "close() ends")  # type: ignore[misc]
            before = list(here.sink.received_all)
            self.in_time(lambda here=here: here.backplane.close(self.patience), "a second close() does nothing")  # type: ignore[misc]
            advice = "close() joins its threads, and closes what it opened"
            left = self._soon_empty(lambda: set(threading.enumerate()) - threads)
            self.assertEqual(left, set(), f"Threads after close(). {advice}")
            self.assertEqual(self._soon_empty(lambda: _new(fds)), {}, f"Descriptors after close(). {advice}")
            self.send(there, [b"2"])
            time.sleep(_GRACE)
            self.assertEqual(here.sink.received_all, before, "Something was told after close()")
            self.assertEqual(here.sink.story, ["up"], "close() is no loss of the bus: down() is not told")
            self.assertFalse(here.backplane.health().up, "health().up is False after close()")

    def _soon_empty(self, look: Callable[[], Any]) -> Any:
        """What it sees once that is nothing, or when the patience is over: the bus's own ends may take a moment."""
        deadline = time.monotonic() + self.patience
        while (found := look()) and time.monotonic() < deadline:
            time.sleep(0.01)
        return found

    def test_close_flushes(self) -> None:
        """What was published before close() arrives, if its time suffices."""
        there = self.join(self.channel)
        sent: list[bytes] = []
        for number in range(5):
            here = self.join()
            more = numbered(50, f"close{number}:")
            self.send(here, more)
            here.backplane.close(self.patience)
            sent += more
            self.assert_came(
                there, sent, "close() waits until the bus has taken what is queued, at most timeout seconds"
            )

    def test_started_twice(self) -> None:
        """A second start() changes nothing: the first sink is told, and what comes is told once."""
        here, there = self.join(self.channel), self.join(self.channel)
        other = self.start(there.backplane)
        self.send(here, numbered(10))
        self.assert_came(there, numbered(10), "start() of one that is started does nothing")
        self.assertEqual(
            (other.sink.received_all, other.sink.story), ([], []), "A second start() took the place of the first"
        )

    def test_started_by_two_threads(self) -> None:
        """Any thread may start it, two at a time: it is started once."""
        here = self.join()
        backplane = self.make()
        sinks: list[Node] = []
        gate = threading.Barrier(4)

        def start() -> None:
            gate.wait(self.patience)
            sinks.append(self.start(backplane))

        threads = [threading.Thread(target=start, name="kit-start", daemon=True) for _ in range(4)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        self.in_time(lambda: backplane.subscribe([self.channel], self.patience), "subscribe() after start()")
        self.send(here, [b"1"])
        deadline = time.monotonic() + self.patience
        while not any(node.sink.received_all for node in sinks) and time.monotonic() < deadline:
            time.sleep(0.01)
        time.sleep(_GRACE)
        told = sorted(node.sink.count(self.channel) for node in sinks)
        self.assertEqual(told, [0, 0, 0, 1], "start() of several threads: look and set under one lock")

    def test_started_again(self) -> None:
        """After close() it may be started with another sink; it then begins anew, without subscriptions."""
        here, there = self.join(), self.join(self.channel)
        self.send(here, [b"1"])
        self.assert_came(there, [b"1"], "What is published arrives")
        for number in range(3):
            there.backplane.close(self.patience)
            again = self.start(there.backplane)
            self.wait_until_up(again)
            self.assertEqual(again.sink.story, ["up"], "The first thing that is told after a start is up()")
            channel = self.new_channel()
            self.subscribe(again, [channel])
            self.send(here, [b"0"])
            self.send(here, [b"%d" % number], channel)
            self.assert_came(again, [b"%d" % number], "After a new start() it works as after the first", channel)
            if there.backplane.addressed:
                self.assertEqual(again.sink.on(self.channel), [], "Subscriptions end with close()")
            there = again

    def test_closed_by_its_sink(self) -> None:
        """close() may be called by the backplane's own thread, from inside its sink, and ends."""
        here, there = self.join(), self.join(self.channel)
        closed = threading.Event()
        told = there.sink.received

        def close(channel: str, data: bytes, position: str | None = None) -> None:
            told(channel, data, position)
            there.backplane.close(self.patience)
            closed.set()

        there.sink.received = close  # type: ignore[method-assign]
        self.send(here, [b"1"])
        advice = "close() joins its threads except the one that calls it"
        self.assertTrue(closed.wait(self.patience), f"close() from inside received() does not end. {advice}")

    @unittest.skipUnless(hasattr(os, "fork"), "this system has no fork")
    def test_fork(self) -> None:
        """After a fork, parent and child each send all and receive all of their own, each once."""
        before = descriptors()
        here, there = self.join(self.channel), self.join(self.channel)
        self.send(here, numbered(10))
        self.assert_came(there, numbered(10), "What is published arrives")
        self.send(there, [b"0"], self.new_channel())
        self.assertTrue(there.backplane.flush(self.patience), "flush() while the bus is there")  # all is connected now
        second = self.make()
        of_child = self.new_channel()
        child = _Child(lambda line: self._be_child(here.backplane, second, of_child, before, line), self.patience)
        self.addCleanup(child.end)
        child.wait_ready()
        parents = [*numbered(10), *numbered(100, "parent")]
        self.send(here, parents[10:])
        self.subscribe(there, [of_child])
        child.go_on()
        report = child.report()
        self.assert_came(there, parents, "What the parent publishes after a fork arrives, the child used or not")
        self.assertEqual(there.sink.story, ["up"], "The child broke the parent's connection: it must not speak on it")
        if left := report["descriptors"]:
            self.fail(f"The child has descriptors of the parent's: {left}. Close them in begin_anew, without a word")
        advice = "In the child of a fork begin anew: new locks, empty queues, own connections at start()"
        for what in ("own", "parents"):
            self.assertEqual(report[what], "", f"In the child: {report[what]}. {advice}")
        if self.joins_processes:
            self.assert_came(there, numbered(100, "child"), f"What the child publishes arrives. {advice}", of_child)

    def _be_child(
        self, here: Backplane, second: Backplane, own: str, before: dict[str, str], line: socket.socket
    ) -> dict[str, Any]:
        """What the child of a fork does: use what the parent used, and another."""
        left = [name for fd, name in _new(before).items() if int(fd) != line.fileno()]
        nodes = [self.start(here), self.start(second)]
        for node in nodes:
            self.wait_until_up(node)
            self.subscribe(node, [own, self.channel])
        line.sendall(b"r")
        line.recv(1)
        sent = numbered(100, "child")
        self.send(nodes[0], sent, own)
        other = nodes[1].sink
        other.wait(lambda: other.count(own) >= len(sent), self.patience)
        parents = numbered(100, "parent")
        if self.joins_processes:
            other.wait(lambda: other.count(self.channel) >= len(parents), self.patience)
        return {
            "descriptors": left,
            "own": differs(sent, other.on(own)),
            "parents": differs(parents if self.joins_processes else [], other.on(self.channel)),
        }


class _Child:
    """The child of a fork, which does something, says when it is ready, and reports."""

    def __init__(self, work: Callable[[socket.socket], dict[str, Any]], patience: float) -> None:
        self._line, theirs = socket.socketpair()
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", DeprecationWarning)  # there are threads, and it is known what they do
            self._pid = os.fork()
        if not self._pid:
            self._line.close()
            _work(work, theirs)
        theirs.close()
        self._line.settimeout(4 * patience)

    def wait_ready(self) -> None:
        if self._line.recv(1) != b"r":
            rest = b"".join(iter(lambda: self._line.recv(65536), b""))
            raise AssertionError(f"The child of a fork could not use it: {rest.decode()}")

    def go_on(self) -> None:
        self._line.sendall(b"g")

    def report(self) -> dict[str, Any]:
        text = b"".join(iter(lambda: self._line.recv(65536), b""))
        found: dict[str, Any] = json.loads(text)
        if "error" in found:
            raise AssertionError(f"In the child of a fork: {found['error']}")
        return found

    def end(self) -> None:
        self._line.close()
        os.waitpid(self._pid, 0)


def _work(work: Callable[[socket.socket], dict[str, Any]], line: socket.socket) -> None:
    """Do the work of the child, report, and end the process without a word to anybody."""
    try:
        report = work(line)
    except BaseException:
        report = {"error": traceback.format_exc()}
    try:
        line.sendall(json.dumps(report).encode())
        line.close()
    finally:
        os._exit(0)


def _new(before: dict[str, str]) -> dict[str, str]:
    """The descriptors that were not there before."""
    return {fd: name for fd, name in descriptors().items() if before.get(fd) != name}
