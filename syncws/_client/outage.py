"""What the log says of attempts that fail one after the other: little, and never nothing."""

from __future__ import annotations

import logging
import time

from .._base.printable import printable

_log = logging.getLogger("syncws.reconnect")

#: Seconds from one WARNING of an outage to the next.
_PERIOD = 60.0


class Outage:
    """An outage: from the first attempt that fails to the next that does not.

    The first failure is a WARNING, and then one in each minute, which counts; those between are DEBUG. The connection
    that ends it is INFO. For one thread.
    """

    def __init__(self) -> None:
        self._failures = 0
        self._began = 0.0
        self._warned = 0.0

    def failed(self, where: str, error: Exception, delay: float) -> None:
        """An attempt has failed, and the next is made after so many seconds."""
        now = time.monotonic()
        self._failures += 1
        told = _say(error)
        if self._failures == 1:
            self._began = self._warned = now
            _log.warning("%s: %s; the next attempt is in %.1f s", where, told, delay)
        elif now - self._warned >= _PERIOD:
            self._warned = now
            since = (self._failures, now - self._began)
            _log.warning("%s: %s; %d attempts in %.0f s; the next is in %.1f s", where, told, *since, delay)
        else:
            _log.debug("%s: %s; the next attempt is in %.1f s", where, told, delay)

    def renewing(self, where: str, error: Exception) -> None:
        """The server wants other credentials, which are asked for now. No outage yet: tokens expire."""
        _log.info("%s: %s; asking for what is to be sent, and once more at once", where, _say(error))

    def over(self, where: str) -> None:
        """There is a connection."""
        if self._failures:
            took = time.monotonic() - self._began
            _log.info("%s: connected; the attempts before it had failed: %d in %.0f s", where, self._failures, took)
        self._failures = 0


def _say(error: Exception) -> str:
    """An error on one line: that of a callable of the caller's may have several."""
    told = str(error) or type(error).__name__
    return told if told.isprintable() and len(told) <= 500 else printable(told, 500)
