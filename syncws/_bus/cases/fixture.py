"""What the cases stand on: how a backplane is made and broken, and how what came is compared with what was sent."""

from __future__ import annotations

import contextlib
import functools
import os
import threading
import time
import unittest
from collections import Counter
from collections.abc import Callable, Iterable, Sequence
from typing import TYPE_CHECKING, Any, NamedTuple

from ..._base.copies import copy_of
from ..backplane import Backplane
from ..recorder import Recorder

if TYPE_CHECKING:
    _TestCase = unittest.TestCase
else:  # a mixin: what is imported into a module of tests would be run there, if it were a TestCase
    _TestCase = object


class Node(NamedTuple):
    """A backplane that was started, and what it tells."""

    backplane: Backplane
    sink: Recorder


class Fixture(_TestCase):
    """What whoever inherits the cases writes (`make`, and what can be done of the rest), and what all cases use.

    Attributes:
        patience: seconds within which must come what has to come: longer than the bus needs to notice that it broke.
        joins_processes: whether the child of a fork is on the same bus as its parent.
    """

    patience = 30.0
    joins_processes = True

    # What others write:

    def make(self) -> Backplane:
        """A new backplane, not started. All those of one test are on one bus, on which nobody else is."""
        raise NotImplementedError("write make(): it returns a new backplane, those of one test on one bus")

    def break_bus(self) -> None:
        """Take the bus away from all backplanes of the test: kill it, cut the wire. They have to notice by themselves.

        What they publish afterwards it must not deliver before `mend_bus`.
        """
        self.skipTest("write break_bus() and mend_bus(): without them it is not known whether losses are told")

    def mend_bus(self) -> None:
        """Give the bus back."""
        raise NotImplementedError("write mend_bus(), as there is a break_bus()")

    def inject(self, channel: str, data: bytes) -> None:
        """Put bytes on the bus as somebody else might who may write there: not by a backplane, and not as one does."""
        self.skipTest("write inject(): without it it is not known whether junk on the bus does harm")

    # What the cases use:

    # No setUp: it would not be called where a TestCase stands before the cases among the bases.

    _names = 0

    @functools.cached_property
    def channel(self) -> str:
        """The channel of this test."""
        return self.new_channel()

    def new_channel(self) -> str:
        """The name of a channel that is used nowhere else."""
        self._names += 1
        return f"kit:{os.urandom(6).hex()}:{self._names}"

    def join(self, *channels: str) -> Node:
        """A backplane that was started, is up, and is on these channels; it is closed at the end of the test."""
        node = self.start(self.make())
        self.wait_until_up(node)
        if channels:
            self.subscribe(node, channels)
        return node

    def start(self, backplane: Backplane) -> Node:
        """Start one; it is closed at the end of the test, when nothing may have been told at the same time."""
        node = Node(backplane, Recorder())
        self.addCleanup(self._close, node)
        backplane.start(node.sink, os.urandom(8).hex())
        return node

    def _close(self, node: Node) -> None:
        node.sink.gate.set()
        node.backplane.close(min(1.0, self.patience))
        advice = "Tell a sink one thing at a time for each channel: have one thread call received(), or a lock"
        self.assertEqual(node.sink.overlaps, [], f"received() was called twice at the same time. {advice}")

    def wait_until_up(self, node: Node) -> None:
        """Wait until the bus is there for a backplane."""
        self.wait(
            node,
            lambda: node.sink.story[-1:] == ["up"],
            "The sink was not told up(). Call it once the bus is there and has acknowledged all subscriptions",
        )

    def subscribe(self, node: Node, channels: Iterable[str]) -> None:
        """Subscribe, and wait until it is so."""
        done = node.backplane.subscribe(channels, self.patience)
        advice = "Return True as soon as the bus has acknowledged them, and wait for that at most timeout seconds"
        self.assertTrue(done, f"subscribe() returned False although the bus is there. {advice}")

    def send(self, node: Node, messages: Iterable[bytes], channel: str | None = None) -> None:
        """Publish all, in order; where the queue is full, once there is room."""
        for message in messages:
            deadline = time.monotonic() + self.patience
            while not node.backplane.publish(channel or self.channel, message):
                if time.monotonic() > deadline:
                    self.fail("publish() returns False although the bus is there: does somebody empty the queue?")
                time.sleep(0.001)

    def publish_while_lost(self, node: Node, messages: Iterable[bytes]) -> list[bytes]:
        """Publish all, or until the queue is full, while the bus takes nothing; which of them the queue took."""
        taken: list[bytes] = []
        advice = "publish() puts a message into a queue and returns: a thread of the backplane's own sends it"

        def publish() -> None:
            deadline = time.monotonic() + self.patience
            for message in messages:
                if not node.backplane.publish(self.channel, message):
                    return
                taken.append(message)
                if time.monotonic() > deadline:
                    self.fail(f"{len(taken)} messages took {self.patience:g} s while the bus was lost. {advice}")

        self.in_time(publish, advice)
        return taken

    def assert_came(self, node: Node, sent: Sequence[bytes], advice: str, channel: str | None = None) -> None:
        """What came on a channel is what was sent, in this order, once."""
        name = channel or self.channel
        node.sink.wait(lambda: node.sink.count(name) >= len(sent), self.patience)
        if difference := differs(sent, node.sink.on(name)):
            self.fail(f"{difference}. {advice}")

    def wait(self, node: Node, condition: Callable[[], bool], advice: str) -> None:
        """Wait until a condition on what was told holds."""
        if not node.sink.wait(condition, self.patience):
            self.fail(f"{advice} (not within {self.patience:g} s)")

    def in_time(self, call: Callable[[], Any], advice: str) -> Any:
        """What a call returns, or raises; the test fails if it is still under way after the patience."""
        outcome: list[tuple[Any, BaseException | None]] = []

        def run() -> None:
            try:
                outcome.append((call(), None))
            except BaseException as error:
                outcome.append((None, error))

        thread = threading.Thread(target=run, name="kit-call", daemon=True)
        thread.start()
        thread.join(self.patience)
        if not outcome:
            self.fail(f"{advice} (still under way after {self.patience:g} s)")
        value, error = outcome[0]
        if error is not None:
            raise copy_of(error).with_traceback(error.__traceback__)
        return value


def numbered(count: int, prefix: str = "") -> list[bytes]:
    """Messages of which no two are the same."""
    return [f"{prefix}{number}".encode() for number in range(count)]


def differs(sent: Sequence[bytes], came: Sequence[bytes]) -> str:
    """How what came is not what was sent, in one sentence; "" if it is. No two that were sent are the same."""
    if list(sent) == list(came):
        return ""
    counts = Counter(came)
    parts = [
        _some("did not come", [each for each in sent if not counts[each]], len(sent)),
        _some("came more than once", [each for each in sent if counts[each] > 1], len(sent)),
        _some("came and was not sent so", sorted(counts.keys() - set(sent)), len(came)),
    ]
    return "; ".join(filter(None, parts)) or "All came, but not in the order in which it was sent"


def _some(what: str, which: Sequence[bytes], of: int) -> str:
    first = ", ".join(repr(each[:20]) for each in which[:3])
    return f"{len(which)} of {of} {what}: {first}{', ...' if len(which) > 3 else ''}" if which else ""


def descriptors() -> dict[str, str]:
    """The descriptors of this process, and what each is open on; empty where the system does not tell."""
    found = {}
    with contextlib.suppress(OSError):
        for name in os.listdir("/proc/self/fd"):
            with contextlib.suppress(OSError):  # that of the listing itself is gone by now
                found[name] = os.readlink(f"/proc/self/fd/{name}")
    return found
