"""What one connection holds of a message that has not come to its end, or that nobody has read."""

from __future__ import annotations

from .._base.counters import breaches
from .._base.unfinished import unfinished
from .._frames.payloads import format_close_message
from ..errors import CloseCode, ReadLimitError
from .ending import Ending
from .wire import Wire

#: Seconds for the peer to read that its unfinished message was too much, before the connection is cut.
_LAST_WORDS = 1.0


class Holding:
    """The bytes that `unfinished` counts for one connection.

    Concurrency: one thread at a time, the one that holds the read turn; `give_up` is for any.
    """

    __slots__ = ("__weakref__", "_ending", "_wire", "size")

    def __init__(self, wire: Wire, ending: Ending) -> None:
        self._wire = wire
        self._ending = ending
        self.size = 0

    def hold(self, size: int) -> None:
        """Say that so many bytes are held now. Raises ReadLimitError if they have to go."""
        self.size = size
        too_large = unfinished.hold(self, size)
        if too_large is None:
            return
        breaches.add("unfinished_limit")
        if too_large is not self:
            too_large.give_up()
            return
        self.size = 0
        raise _no_room()

    def keep(self, held: int, unread: int) -> None:
        """Say what is held of an unfinished message now, and what nobody has read yet, for which nobody has to go."""
        if held + unread != self.size:
            self.size = held + unread
            unfinished.keep(self, held, unread)

    def give_up(self) -> None:
        """End the connection, since its unfinished message is the largest of all. For any thread; waits for nothing."""
        # The close is queued before the end is stored: after that no close is taken, and the peer would see 1006.
        self._wire.queue_close(format_close_message(CloseCode.MESSAGE_TOO_BIG))
        self._ending.dismiss(_no_room(), _LAST_WORDS, drop=True)


def _no_room() -> ReadLimitError:
    return ReadLimitError("the unfinished messages of this process were too much, and this was the largest")
