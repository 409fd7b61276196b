"""How the command ends: its exit statuses, and which end of a connection is a normal one."""

from __future__ import annotations

from ..._base.printable import printable
from ...errors import CloseCode, CloseError, ConnectionClosed, ReadLimitError

#: The connection was closed normally.
NORMAL = 0
#: There is no connection: the server cannot be reached, or refuses.
REFUSED = 1
#: The arguments, or the input, cannot be used.
WRONG = 2
#: The connection was closed with another code than a normal one, or without one.
ABNORMAL = 3
#: What came back is not what was recorded.
DIFFERS = 4
#: Ctrl-C, as shells have it.
INTERRUPTED = 130

#: Codes with which a peer that closes first says that all is well.
_NORMAL_CODES = (CloseCode.NORMAL_CLOSURE, CloseCode.GOING_AWAY, CloseCode.NO_STATUS_RECEIVED)


def is_normal(end: ConnectionClosed) -> bool:
    """Whether a connection was closed normally: by the peer, with such a code, or by this side, and the peer answered.

    Whatever code this side closes with is what was asked for.
    """
    if not isinstance(end, CloseError):
        return False
    first = end.closings[0][0] if end.closings else ""
    answered = first == "sent" and any(verb == "received" for verb, _, _ in end.closings)
    return answered or end.code in _NORMAL_CODES


def status_of(end: ConnectionClosed) -> int:
    """The exit status after this end."""
    return NORMAL if is_normal(end) else ABNORMAL


def say_end(end: ConnectionClosed) -> str:
    """How a connection ended, in one line."""
    said = printable(str(end), 500) if not str(end).isprintable() else str(end)
    if isinstance(end, ReadLimitError):
        said += "; --max-size sets the limit"
    return said
