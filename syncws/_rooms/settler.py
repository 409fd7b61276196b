"""The thread that calls on_close of members which a send found lost: a send calls no code of the application."""

from __future__ import annotations

from collections.abc import Callable

from .._base.errands import Errands
from .._base.logs import logger
from .member import Member

_logger = logger("syncws.manager")


class Settler:
    """Settles members that are handed to it, one after the other, in a thread that ends when there is none left.

    Any thread may hand one over.
    """

    def __init__(self) -> None:
        self._errands = Errands("syncws-on-close", _say_no_thread, _say_raised)

    def hand_over(self, member: Member, settle: Callable[[Member], None]) -> None:
        """Let a thread call settle(member), soon; where none can be started it is done with the next member."""
        self._errands.run(lambda: settle(member))


def _say_no_thread(error: RuntimeError) -> None:
    _logger.error("no thread to call on_close (%s); trying again with the next one", error)


def _say_raised() -> None:
    _logger.exception("on_close raised, and more than an Exception")
