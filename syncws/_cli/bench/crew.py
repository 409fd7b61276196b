"""The processes of a load: `run_load` starts them, has them begin together, and adds up what they have counted.

A generator always has a process of its own, also where there is only one: what the command shows on the way takes
nothing from it.

| from | message | when |
|---|---|---|
| a process | `Progress` | ten times a second |
| a process | `Tally` | at its end |
| a process | str | it has failed: the error, in one line |
| the command | int | the load begins then, by `time.perf_counter_ns` |
| the command | None | everything is to end now |
"""

from __future__ import annotations

import contextlib
import multiprocessing
import multiprocessing.connection
import signal
import time
from collections.abc import Callable, Iterator
from multiprocessing.connection import Connection
from types import FrameType
from typing import Any, NamedTuple

from ..command import CommandError
from .generator import Generator
from .plan import Plan
from .tally import Tally

#: Nanoseconds from the word to begin until the load does: the word is with all processes by then.
_NOTICE = 50_000_000

#: Seconds between two looks of the command.
_LOOK = 0.1


class Progress(NamedTuple):
    """How far a process is, or all of them."""

    phase: str = "opening"
    connections: int = 0
    failed: int = 0
    received: int = 0

    def __add__(self, other: object) -> Progress:
        """Of two processes; the phase is the first one's."""
        assert isinstance(other, Progress)
        return Progress(self.phase, *(one + another for one, another in zip(self[1:], other[1:], strict=True)))


class Line:
    """The generator's end of the pipe to the command; see `generator.Control`.

    Concurrency: for one thread.
    """

    def __init__(self, pipe: Connection) -> None:
        self.start: int | None = None
        self.stopped = False
        self._pipe = pipe

    def look(self) -> None:
        """Take what the command has said. It is gone: stop."""
        try:
            while self._pipe.poll():
                self.start = self._pipe.recv()
                self.stopped = self.stopped or self.start is None
        except (EOFError, OSError):
            self.stopped = True

    def tell(self, phase: str, tally: Tally, connections: int) -> None:
        """Tell the command how far it is."""
        with contextlib.suppress(OSError):
            self._pipe.send(Progress(phase, connections, sum(tally.failures.values()) + tally.lost, tally.received))


def generate(plan: Plan, pipe: Connection) -> None:
    """A process of the load, from its beginning to its end."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C reaches all; the command says what follows from it
    said: Tally | str
    try:
        said = Generator(plan, Line(pipe)).run()
    except (CommandError, OSError, MemoryError) as error:
        said = str(error) or type(error).__name__
    with contextlib.suppress(OSError):  # the command was killed, and nobody wants to know
        pipe.send(said)


class Interrupt:
    """Whether Ctrl-C was pressed while this lasts; a second one is a KeyboardInterrupt."""

    def __init__(self) -> None:
        self.pressed = False

    @contextlib.contextmanager
    def noted(self) -> Iterator[Interrupt]:
        previous = signal.signal(signal.SIGINT, self._note)
        try:
            yield self
        finally:
            signal.signal(signal.SIGINT, previous)

    def _note(self, number: int, frame: FrameType | None) -> None:
        if self.pressed:
            raise KeyboardInterrupt
        self.pressed = True


def run_load(plans: list[Plan], show: Callable[[Progress], None]) -> tuple[Tally, bool]:
    """What the processes of these plans have counted together, and whether Ctrl-C ended it early.

    show is called ten times a second with how far they are. Raises CommandError for a process that fails;
    KeyboardInterrupt at a second Ctrl-C. Nothing is left running.
    """
    context = multiprocessing.get_context("spawn")  # the same on every system, and nothing is inherited
    processes, pipes = [], []
    try:
        with Interrupt().noted() as interrupt:
            for plan in plans:
                ours, theirs = context.Pipe()
                pipes.append(ours)
                process = context.Process(target=generate, args=(plan, theirs), daemon=True)
                process.start()
                processes.append(process)
                theirs.close()  # so that its death is the end of our pipe
            return _follow(pipes, interrupt, show), interrupt.pressed
    finally:
        for process in processes:
            process.terminate()
            process.join()
            process.close()
        for pipe in pipes:
            pipe.close()


def _follow(pipes: list[Connection], interrupt: Interrupt, show: Callable[[Progress], None]) -> Tally:
    """Lead the processes to their end."""
    far = dict.fromkeys(pipes, Progress())
    total = Tally()
    running = list(pipes)
    begun = stopped = False
    while running:
        for pipe in multiprocessing.connection.wait(running, _LOOK):
            assert isinstance(pipe, Connection)
            said = _received(pipe)
            if isinstance(said, Progress):
                far[pipe] = said
            else:
                total.merge(said)
                running.remove(pipe)
        if interrupt.pressed and not stopped:
            stopped = True
            _say(running, None)
        if not begun and all(far[pipe].phase == "ready" for pipe in running):
            begun = True
            _say(running, time.perf_counter_ns() + _NOTICE)
        show(sum(list(far.values())[1:], far[pipes[0]]))
    return total


def _received(pipe: Connection) -> Progress | Tally:
    try:
        said: Any = pipe.recv()
    except (EOFError, OSError):
        said = "a process of the generator has died"
    if isinstance(said, str):
        raise CommandError(said)
    assert isinstance(said, Progress | Tally)
    return said


def _say(pipes: list[Connection], word: int | None) -> None:
    for pipe in pipes:
        with contextlib.suppress(OSError):  # it has ended, which is read next
            pipe.send(word)
