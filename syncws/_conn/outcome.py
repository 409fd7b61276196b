"""What it means how a handler leaves its WebSocket connection: one rule for every server that runs handlers."""

from __future__ import annotations

import logging

from ..errors import CloseCode, ConnectionClosed, ReadTimeout, WebSocketError, WriteTimeout, log_level
from .conn import Conn


def end_handled(conn: Conn, raised: Exception | None, who: object, log: logging.Logger) -> None:
    """Close the connection of a handler that has returned (1000) or raised (1011), and log what it raised.

    Where the connection is over already, nothing is sent. `who` names the connection in the log. Never raises an error
    of the connection.
    """
    code = CloseCode.NORMAL_CLOSURE if raised is None else _close_code(raised, who, log)
    try:
        conn.close(code)
    except WebSocketError as exc:
        log.debug("closing failed: %s", exc)


def _close_code(raised: Exception, who: object, log: logging.Logger) -> CloseCode:
    """Log the exception by which a handler left its connection; the code to close with."""
    if isinstance(raised, ConnectionClosed):
        log.log(log_level(raised), "%s: %s", who, raised)
        return CloseCode.NORMAL_CLOSURE
    if isinstance(raised, (ReadTimeout, WriteTimeout)):  # the peer was too slow for the handler
        log.info("%s: closing with 1011, as the handler let a timeout escape: %s", who, raised)
    else:
        log.error("%s: the handler raised", who, exc_info=raised)
    return CloseCode.INTERNAL_SERVER_ERROR
