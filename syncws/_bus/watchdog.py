"""Whether a bus carries what this process sends to what it reads: told by beats, which go out and must come back.

A connection that is dead may look alive for hours, and one that is alive may be one to the wrong server. So time is
counted against the bus only while there was nothing to read: a process that was stopped, or that is behind in a flood,
finds its beats among what waits for it.
"""

from __future__ import annotations

import time


class Watchdog:
    """What is known of the way through the bus.

    Two threads use it, each its own methods: the one that writes to the bus, and the one that reads from it. Each field
    is written by one of them; the other reads it without a lock, as one that is a moment old will do. `proven` and
    `lag` are for any thread to read.

    Args:
        beat: seconds between two beats.
        patience: seconds for which a question on the reading connection may go unanswered.
    """

    def __init__(self, beat: float, patience: float) -> None:
        self.tick = beat / 4
        self._allowed = 2 * beat
        self._patience = patience
        # Written by the writer.
        self._begun = 0  # number of the last beat that was sent
        self._taken = 0  # number of the last one that the bus has taken
        # Written by the reader.
        self._first = 1  # number of the first one that this connection must bring
        self._heard = 0  # number of the last one that came back
        self._watching = False  # whether there is a connection that brings everything
        self._quiet = 0.0  # seconds without anything to read, for which a beat was missing
        self._asked: float | None = None  # when a question was asked that is not answered yet
        self._silent = 0.0  # seconds without anything to read, since then
        self.proven = time.monotonic()  # the bus carried everything that was published before this instant
        self.lag: float | None = None
        self.wanted = False  # the reader wants a beat at once; the writer takes it back
        self.astray = 0  # how often what was taken did not come back: the writer may be connected to the wrong server

    # The writer

    def begin(self) -> bytes:
        """The next beat, to be published."""
        self.wanted = False
        self._begun += 1
        return b"%d %.6f" % (self._begun, time.monotonic())

    def taken(self) -> None:
        """The bus has taken the beat that was sent last."""
        self._taken = self._begun

    # The reader

    @property
    def carries(self) -> bool:
        """Whether a beat has gone through this connection whose write the server has accepted."""
        return self._first <= min(self._heard, self._taken)

    def connected(self) -> None:
        """There is a new connection, which does not bring everything yet."""
        self._watching = False
        self._asked = None

    def subscribed(self) -> None:
        """The connection brings everything that is published from now on."""
        self._first = self._begun + 1
        self._quiet = 0.0
        self._watching = True
        self.wanted = True
        self.proven = time.monotonic()

    def heard(self, data: bytes) -> None:
        """A beat came back. What is none is ignored: others can publish on its channel."""
        try:
            number, began = data.split()
            n, instant = int(number), float(began)
        except ValueError:
            return
        now = time.monotonic()
        if not (self._heard < n <= self._begun and instant <= now):
            return
        self._heard = n
        self._quiet = 0.0
        self.lag = now - instant
        self._prove(instant)

    def asked(self) -> bool:
        """Note that a question is asked now on the reading connection; False: one is not answered yet."""
        if self._asked is not None:
            return False
        self._asked, self._silent = time.monotonic(), 0.0
        return True

    def answered(self) -> None:
        """The question was answered: what was published before it has come."""
        if self._asked is not None:
            self._prove(self._asked)
            self._asked = None

    def _prove(self, instant: float) -> None:
        if self._watching:
            self.proven = max(self.proven, instant)

    def idle(self, seconds: float) -> str | None:
        """There was nothing to read for so long; why the bus is lost, if it is.

        A look counts for two ticks at most: what is longer, this process was stopped for.
        """
        seconds = min(seconds, 2 * self.tick)
        if self._watching and self._heard < self._taken and self._first <= self._taken:
            self._quiet += seconds
            if self._quiet >= self._allowed:
                self.astray += 1
                return "what this process publishes does not come back"
        if self._asked is not None:
            self._silent += seconds
            if self._silent >= self._patience:
                return f"nothing came for {self._patience:g} s"
        return None
