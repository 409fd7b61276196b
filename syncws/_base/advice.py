"""Advice for an operator: a WARNING once per cause and minute; what repeats is counted, and told with the next."""

from __future__ import annotations

import logging
import time
from collections.abc import Mapping

from .latelock import LateLock

#: Seconds in which the same cause is one WARNING.
PERIOD = 60.0

#: Different details of one cause that are each a WARNING within PERIOD: a scanner invents a new one for each request.
MOST_DETAILS = 10


class Advisor:
    """Warns, and does not repeat itself.

    Concurrency: any thread; `_lock` is a leaf and guards every field. Nothing is logged under it.
    """

    def __init__(self) -> None:
        self._lock = LateLock()
        self._causes: dict[str, _Cause] = {}

    def warn(
        self,
        logger: logging.Logger,
        cause: str,
        detail: str,
        message: str,
        *args: object,
        repeat: int = logging.DEBUG,
        extra: Mapping[str, object] | None = None,
    ) -> None:
        """Log a WARNING that says what to change; within a minute of the same one, the same line at the level repeat.

        cause is one of a few names of ours. detail tells apart what has to be changed for each, such as the origin that
        was refused; a peer may have chosen it. message, args and extra are a log record's; what a peer wrote in them
        has passed `printable`.
        """
        now = time.monotonic()
        with self._lock.made:
            since = self._causes.get(cause)
            unsaid = 0
            if since is None or now - since.began >= PERIOD:
                unsaid = since.unsaid if since is not None else 0
                since = self._causes[cause] = _Cause(now)
            is_news = detail not in since.details and len(since.details) < MOST_DETAILS
            if is_news:
                since.details.add(detail)
            else:
                since.unsaid += 1
        if not is_news:
            logger.log(repeat, message, *args, extra=extra)
        elif unsaid:
            told = f"{message} (and %d more like this before, at {logging.getLevelName(repeat)})"
            logger.warning(told, *args, unsaid, extra=extra)
        else:
            logger.warning(message, *args, extra=extra)

    def begin_anew(self) -> None:
        """Forget what was said: for a test, which hears each advice as if it were the first."""
        with self._lock.made:
            self._causes.clear()


class _Cause:
    """What was said of one cause since its period began."""

    __slots__ = ("began", "details", "unsaid")

    def __init__(self, began: float) -> None:
        self.began = began
        self.details: set[str] = set()
        self.unsaid = 0


advisor = Advisor()
