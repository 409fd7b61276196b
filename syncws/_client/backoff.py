"""How long a client that comes back waits before its next attempt."""

from __future__ import annotations

import random
import time
from datetime import UTC
from email.utils import parsedate_to_datetime

from .._http.headers import Headers
from ..errors import BadHandshakeError, ProxyError

#: Seconds. No server makes us wait longer, whatever its Retry-After says.
_LONGEST_RETRY_AFTER = 3600.0


class Backoff:
    """How long to wait before the next attempt. For one thread."""

    def __init__(self, min_delay: float, max_delay: float, reset_after: float) -> None:
        self._min_delay = min_delay
        self._max_delay = max_delay
        self._reset_after = reset_after
        self._connected_at: float | None = None
        self._setbacks = 0  # failures and short connections since the last one that lasted; the delay grows with them
        self.failures = 0  # attempts in a row that gave no connection
        self.delay = 0.0

    def next_delay(self) -> float:
        """The delay before the next attempt, in seconds; it is 0 afterwards, so that it is waited for only once."""
        delay, self.delay = self.delay, 0.0
        return delay

    def connection_made(self) -> None:
        self._connected_at = time.monotonic()
        self.failures = 0

    def connection_over(self) -> None:
        """Set the delay after a connection: the shortest after one that lasted, else as after one more failure."""
        assert self._connected_at is not None
        lasted = time.monotonic() - self._connected_at >= self._reset_after
        self._setbacks = 0 if lasted else self._setbacks + 1
        self._set_delay()

    def attempt_failed(self, retry_after: float) -> None:
        """Set the delay after a failed attempt; retry_after is the seconds that the answer asked for."""
        self.failures += 1
        self._setbacks += 1
        self._set_delay()
        self.delay += retry_after

    def _set_delay(self) -> None:
        doublings = min(max(self._setbacks - 1, 0), 64)  # 2.0 ** 1024 is an OverflowError
        self.delay = min(self._max_delay, self._min_delay * 2.0**doublings) * random.uniform(0.5, 1)


def retry_after(error: Exception) -> float:
    """Seconds that the answer asks us to wait (RFC 9110 section 10.2.3), as a number or a date; 0 without a wish."""
    match error:
        case BadHandshakeError(response=response) if response is not None:
            value = response.headers.get("Retry-After", "")
        case ProxyError(headers=Headers() as headers):
            value = headers.get("Retry-After", "")
        case _:
            return 0.0
    if value.isascii() and value.isdigit():
        seconds = float(value)
    else:
        try:
            date = parsedate_to_datetime(value)
            seconds = date.replace(tzinfo=date.tzinfo or UTC).timestamp() - time.time()
        except (TypeError, ValueError, OverflowError):
            return 0.0
    return min(max(seconds, 0.0), _LONGEST_RETRY_AFTER)
