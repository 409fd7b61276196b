"""The tests of syncws.

What a server says of itself while all is well is left out, so that a test counts what it is about: that it listens, and
the lines of the access log. The tests of these ask for them: `assertLogs("syncws.access")` sets the level by itself.
"""

import logging
import re

#: Such a line of a program that logs at INFO.
_NEWS = re.compile(r"INFO (?:syncws\.\w+: )?(?:listening on |\S+ (?:WS|[A-Z]{3,7}) \S+ \d+ \d+\.\d{3}s ).*\n?")


def is_news(record: logging.LogRecord) -> bool:
    """Whether a record is to be seen by tests."""
    return not record.getMessage().startswith("listening on ")


logging.getLogger("syncws.server").addFilter(is_news)
logging.getLogger("syncws.access").setLevel(logging.WARNING)


def without_news(log: str) -> str:
    """What a program has logged, without that it listens and without the access log."""
    return "".join(line for line in log.splitlines(keepends=True) if not _NEWS.fullmatch(line))
