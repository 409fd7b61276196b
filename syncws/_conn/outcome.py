"""What it means how a handler leaves its WebSocket connection: one rule for every server that runs handlers.

| the handler                                       | is closed with | in the log                |
|---------------------------------------------------|----------------|---------------------------|
| returns None                                      | 1000           | nothing                   |
| lets the end of its connection escape             | 1000           | DEBUG; a breach: INFO     |
| lets a timeout of its connection escape           | 1011           | INFO                      |
| raises anything else                              | 1011           | ERROR, with the traceback |
| returns work that nobody does, such as a coroutine| 1011           | ERROR                     |
| returns anything else: an answer that comes late  | 1008           | ERROR                     |

Whose an exception is decides, not its class: the end or the timeout of another connection, and what is raised from an
end, are failures of this handler. Its own peer has left nothing unsaid; that of another connection is not to blame.
"""

from __future__ import annotations

import logging

from .._base.callables import unfinished
from .._base.printable import printable_repr
from ..errors import CloseCode, ConnectionClosed, WebSocketError, log_level
from .conn import Conn


def end_handled(conn: Conn, raised: Exception | None, who: object, log: logging.Logger, result: object = None) -> None:
    """Close the connection of a handler that has raised, or else has returned a result; and log what is wrong.

    Where the connection is over already, nothing is sent. `who` names the connection in the log. Never raises an error
    of the connection.
    """
    if raised is not None:
        code = _code_after_error(conn, raised, who, log)
    elif result is not None:
        code = _code_after_result(conn, result, who, log)
    else:
        code = CloseCode.NORMAL_CLOSURE
    try:
        conn.close(code)
    except WebSocketError as exc:
        log.debug("closing failed: %s", exc, extra={"about": conn})


def _code_after_error(conn: Conn, raised: Exception, who: object, log: logging.Logger) -> CloseCode:
    """Log the exception by which a handler left its connection; the code to close with."""
    if not conn._is_own(raised):
        log.error("%s: the handler raised", who, exc_info=raised, extra={"about": conn})
    elif isinstance(raised, ConnectionClosed):
        log.log(log_level(raised), "%s: %s", who, raised, extra={"about": conn})
        return CloseCode.NORMAL_CLOSURE
    else:  # a timeout: the peer was too slow for the handler
        log.info("%s: closing with 1011, as the handler let a timeout escape: %s", who, raised, extra={"about": conn})
    return CloseCode.INTERNAL_SERVER_ERROR


def _code_after_result(conn: Conn, result: object, who: object, log: logging.Logger) -> CloseCode:
    """Log what a handler returned that nobody gets; the code to close with."""
    if (kind := unfinished(result)) is not None:
        log.error(
            "%s: the WebSocket handler returned %s, which nothing runs: it has to be a plain function, written with "
            "def, that does the work",
            who,
            kind,
            extra={"about": conn},
        )
        return CloseCode.INTERNAL_SERVER_ERROR
    log.error(
        "%s: the WebSocket handler returned %s, which nobody gets: the handshake is over by then. What refuses a "
        "request, such as a check of who is logged in, has to run before the handler",
        who,
        printable_repr(result),
        extra={"about": conn},
    )
    return CloseCode.POLICY_VIOLATION
