"""Answers that leave together: which may wait for the next one, where one receive has brought several messages.

A handler that answers each of ten messages would make ten system calls; the answers may as well leave in one. So a
frame that is sent while the reader has more messages at hand is *kept* (`Transport.keep`), and leaves

* with the next frame of any thread, or before it; with a ping, a pong, a close; before the connection is cut;
* before the reader waits for more to come;
* by the reader, once the first one kept has waited for a millisecond;
* by the `courier`, after a millisecond, whatever the handler does.

The last of the messages has nothing after it, so its answer takes the others along at once. Only whole messages of up
to 16 KiB together are kept, by the thread that reads, and only where the handler was quick lately: an answer that was
kept would wait for one that works, and the courier for a GIL that it holds. A handler that takes its time, be it before
its answer or after, has each answer sent at once.
"""

from __future__ import annotations

from threading import get_ident
from time import monotonic

#: Seconds that a quick handler takes from one message to the next, at most. One that was slower has its next answer
#: sent at once, and so is one that comes later than this after its message.
QUICK = 0.0005

#: Seconds that an answer is kept, about.
LONGEST = 0.001


class Batch:
    """Messages that have come together, while a handler goes through them; kept from one batch to the next.

    Concurrency: `take` and `end` are for the holder of the read turn, `may_keep` for any thread: another than the one
    that took the latest message is told no, and that one reads what it has written itself.
    """

    __slots__ = ("_is_quick", "_kept_since", "_taken_at", "_thread")

    def __init__(self) -> None:
        self._thread = 0  # who took the latest message
        self._taken_at = 0.0  # when; 0: it was the last of a batch
        self._is_quick = False  # the handler, with the message before
        self._kept_since = 0.0  # when the first answer may have been kept

    def take(self) -> bool:
        """A message is given out, and more has come. Whether what is kept has waited long enough."""
        now = monotonic()
        if self._taken_at:
            self._is_quick = now - self._taken_at < QUICK
        else:
            self._kept_since = now
        self._taken_at = now
        self._thread = get_ident()
        if now - self._kept_since < LONGEST:
            return False
        self._kept_since = now
        return True

    def end(self) -> None:
        """The reader is about to wait: nothing is known of how long the next message is worked on."""
        self._taken_at = 0.0

    def may_keep(self) -> bool:
        """Whether a frame that this thread sends now may wait for the next one."""
        return self._is_quick and self._thread == get_ident() and monotonic() - self._taken_at < QUICK
