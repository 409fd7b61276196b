"""What is asked of the other processes, and how long anybody waits for it: at most a timeout, and a part is a result.

    Questions.ask --ASK, to everybody--> the others         the others --ANSWER, to this process's channel--> answer

A process that does not answer in time is missing. One that ends while it is asked is not waited for any longer.
"""

from __future__ import annotations

import itertools
import threading
import time
from collections.abc import Callable, Iterable, Mapping
from typing import Any, Generic, NamedTuple, Protocol, TypeVar

from .envelope import Envelope, Kind
from .names import ALL
from .nodes import MOST, Nodes
from .outward import Outward

T = TypeVar("T")

#: Seconds after the bus was first there in which the others are told of this process, and tell it of themselves.
#: Who asks before that would ask nobody, and take nobody for all.
GREETING = 0.5

#: Questions that may be open: each is one of a thread that waits.
MOST_OPEN = 1_000


class Bus(Protocol):
    """What is asked of the way in, which imports this module."""

    @property
    def is_lost(self) -> bool: ...
    @property
    def is_in_its_thread(self) -> bool: ...


class Replies(NamedTuple, Generic[T]):
    """What the others answered."""

    answers: dict[str, T]  # by the name of the process
    missing: tuple[str, ...] = ()  # the names of those that did not answer in time
    complete: bool = True  # whether nobody is missing, and the bus was there to ask


class _Question:
    """One question that is open; the lock of `Questions` guards its fields."""

    def __init__(
        self, read: Callable[[Envelope], Any], is_enough: Callable[[Any], bool], asked: Iterable[bytes]
    ) -> None:
        self.read = read
        self.is_enough = is_enough
        self.at = time.monotonic()
        self.waiting = set(asked)
        self.answers: dict[bytes, Any] = {}
        self.over = threading.Event()  # nobody is waited for any longer


class Questions:
    """The questions of this process that are open.

    Any thread may ask, and waits without a lock; the threads of the bus bring the answers. `_lock` guards the fields
    that say so and is a leaf.
    """

    def __init__(self, outward: Outward, nodes: Nodes, bus: Bus) -> None:
        self._outward = outward
        self._nodes = nodes
        self._bus = bus
        self._numbers = itertools.count(1)
        self._met = threading.Event()  # the bus was there
        self._met_at = 0.0  # when; written before the event is set
        self._lock = threading.Lock()
        # Guarded by _lock:
        self._open: dict[int, _Question] = {}

    def met(self) -> None:
        """The bus is there."""
        if not self._met.is_set():
            self._met_at = time.monotonic()
            self._met.set()

    def ask(
        self,
        what: Mapping[str, Any],
        read: Callable[[Envelope], T],
        timeout: float,
        *,
        body: bytes = b"",
        binary: bool = False,
        is_enough: Callable[[T], bool] = lambda answer: False,
    ) -> Replies[T]:
        """Ask all processes that are alive, and wait for their answers, at most timeout seconds.

        A thread of the bus asks nobody, as it would wait for itself; nor is anybody asked while the bus is lost. Then
        all are missing.

        Args:
            what: the question, as JSON.
            read: makes the answer of an envelope; raises ValueError or TypeError for what is none, which is dropped.
            timeout: seconds.
            body, binary: a message that goes with the question.
            is_enough: whether this answer makes those of the others needless.

        Raises ValueError for a question that is too large for the bus.
        """
        until = time.monotonic() + timeout
        if not self._may_ask(until):
            return self._nobody()
        number = next(self._numbers)
        question = _Question(read, is_enough, self._nodes.alive())
        with self._lock:
            if len(self._open) >= MOST_OPEN:
                return self._nobody()
            self._open[number] = question
        try:
            # Numbered, as what the bus delivers twice must not be done twice: a question may bring a message.
            if not self._outward.publish(Kind.ASK, ALL, "", {**what, "q": number}, body, binary=binary):
                return self._nobody()
            # After it is open: those that have ended since then are waited for no more.
            self._forget_the_gone(question)
            question.over.wait(max(0.0, until - time.monotonic()))
        finally:
            with self._lock:
                del self._open[number]
        with self._lock:  # a thread of the bus that has found it before may be bringing an answer
            missing = tuple(sorted(boot.hex() for boot in question.waiting))
            answers = {boot.hex(): answer for boot, answer in question.answers.items()}
        return Replies(answers, missing, not missing)

    def _may_ask(self, until: float) -> bool:
        if self._bus.is_lost or self._bus.is_in_its_thread:
            return False
        if not self._met.wait(max(0.0, until - time.monotonic())):
            return False
        pause = min(self._met_at + GREETING, until) - time.monotonic()
        if pause > 0:
            time.sleep(pause)
        return True

    def _nobody(self) -> Replies[Any]:
        return Replies({}, tuple(sorted(boot.hex() for boot in self._nodes.alive())), False)

    def _forget_the_gone(self, question: _Question) -> None:
        alive = self._nodes.alive().keys()
        with self._lock:
            question.waiting &= alive
            if not question.waiting:
                question.over.set()

    # By the threads of the bus

    def answered(self, envelope: Envelope) -> None:
        """An answer came. Of an unknown question, or a second one, it is dropped. Raises ValueError for what is none.

        One of a process that was not known when the question was asked counts too: it has come since.
        """
        number = (envelope.extra or {}).get("q")
        boot = envelope.boot
        with self._lock:
            question = self._open.get(number) if isinstance(number, int) else None
        if question is None:
            return
        answer = question.read(envelope)
        with self._lock:
            if boot in question.answers or len(question.answers) >= MOST:
                return
            question.answers[boot] = answer
            question.waiting.discard(boot)
            if question.is_enough(answer):
                question.waiting.clear()
            if not question.waiting:
                question.over.set()
        self._nodes.answered(boot, time.monotonic() - question.at)

    def gone(self, boot: bytes) -> None:
        """A process has ended: its answers will not come."""
        with self._lock:
            for question in self._open.values():
                question.waiting.discard(boot)
                if not question.waiting:
                    question.over.set()
