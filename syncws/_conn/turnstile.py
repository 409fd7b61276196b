"""A turnstile for readers whose peers send frames that make no message: they go on one after the other.

Two hundred threads that are all busy with floods would have any other thread wait for two hundred others before each of
its own steps. Here each pays for its work with as long a rest, and only one at a time rests: so all of them together
take half of the interpreter at most, and mostly one of them is in the way of others.
"""

from __future__ import annotations

import time

from .._base.latelock import LateLock

#: Seconds of one rest at most: others wait for it, and two hundred may be before them.
_MOST = 0.002

#: Seconds of the first rest: what the frames before it have cost, about.
_FIRST = 0.0002

#: Seconds of a rest at least, where a read has brought fewer bytes than this: each read is a turn of the interpreter,
#: and a peer that sends one frame at a time would have a hundred of them where one is enough.
_DRIP, _FEW = 0.001, 1 << 10


class Turnstile:
    """Where readers rest.

    Concurrency: for any thread. `_one` guards nothing: it is the place where one waits, and others for it. Nobody who
    waits here holds anything except the read turn of a connection that is flooded.
    """

    def __init__(self) -> None:
        self._one = LateLock()

    def pass_through(self, rested_at: float, received: int) -> float:
        """Rest as long as this thread has worked since its latest rest: rested_at is what was returned then, or 0.

        received is how many bytes the latest read brought: after few, a longer rest lets more of them come together.
        """
        worked = time.thread_time() - rested_at
        # Less than nothing: that was another thread. And the first time this is all that the thread ever did.
        self.rest(max(_DRIP if received < _FEW else 0.0, worked) if rested_at else _FIRST)
        return time.thread_time()

    def rest(self, seconds: float) -> None:
        """Rest, after those who came before."""
        with self._one.made:
            time.sleep(min(seconds, _MOST))


#: The one of this process.
turnstile = Turnstile()
