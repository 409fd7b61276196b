"""A handshake that is refused: what is said to whom.

Three audiences read a refusal, and each gets its own words: the client gets a body that says what is wrong, the
operator gets one line in the log that says what to change, the program gets HandshakeError.
"""

from __future__ import annotations

import logging
from collections.abc import Sequence
from http import HTTPStatus

from .._base.advice import advisor
from .._base.logs import logger
from .._http.request import Request
from .._http.response import Response
from .._net.address import say_peer

_log = logger("syncws.server")

#: What a refusal is counted as, by its status; some have a name of their own.
REASONS = {
    HTTPStatus.BAD_REQUEST: "bad request",
    HTTPStatus.FORBIDDEN: "origin",
    HTTPStatus.METHOD_NOT_ALLOWED: "method",
    HTTPStatus.MISDIRECTED_REQUEST: "host",
    HTTPStatus.UPGRADE_REQUIRED: "no upgrade",
    HTTPStatus.INTERNAL_SERVER_ERROR: "application",
    HTTPStatus.NOT_IMPLEMENTED: "unsupported",
    HTTPStatus.SERVICE_UNAVAILABLE: "full",
}


class Refused(Exception):
    """A check failed.

    ``message`` is for the program; ``body`` for the client, by default the message; ``advice`` for the log. ``cause``
    and its detail are those of `Advisor.warn`, if the operator has to act. ``reason`` is what it is counted as, by
    default what its status stands for.
    """

    def __init__(
        self,
        status: int,
        message: str,
        *,
        advice: str = "",
        body: str | None = None,
        headers: Sequence[tuple[str, str]] = (),
        cause: tuple[str, str] | None = None,
        reason: str | None = None,
    ) -> None:
        super().__init__(message)
        self.status = status
        self.message = message
        self.advice = advice
        self.body = message if body is None else body
        self.headers = headers
        self.cause = cause
        self.reason = reason or REASONS[HTTPStatus(status)]


def application_error(message: str) -> Refused:
    """A mistake of the application, which the log tells, and not the client."""
    return Refused(
        HTTPStatus.INTERNAL_SERVER_ERROR, message, body="the server made a mistake in its answer; its log says which"
    )


def log_refusal(request: Request, refused: Refused) -> None:
    """One line, which says what to change. Its level says who has to act.

    INFO: the client. WARNING: the operator, once per cause and minute, and what repeats is INFO; and where the system
    has run out of something. ERROR: whoever wrote or deploys the application.
    """
    advice = f"; {refused.advice}" if refused.advice else ""
    line = "%s: %s is refused with %d: %s%s"
    told = (say_peer(request.remote_address), request, int(refused.status), refused.message, advice)
    fields = {"code": int(refused.status)}
    if refused.cause is not None:
        advisor.warn(_log, *refused.cause, line, *told, repeat=logging.INFO, extra=fields)
        return
    short = refused.status == HTTPStatus.SERVICE_UNAVAILABLE
    level = logging.WARNING if short else logging.ERROR if refused.status >= 500 else logging.INFO
    _log.log(level, line, *told, extra=fields)


def default_response(refused: Refused) -> Response:
    """The answer to the client, unless the application makes its own."""
    headers = [*refused.headers, ("Sec-WebSocket-Version", "13"), ("X-Content-Type-Options", "nosniff")]
    body = f"{HTTPStatus(refused.status).phrase}: {refused.body}\n"
    return with_upgrade_header(Response(body, int(refused.status), headers))


def with_upgrade_header(response: Response) -> Response:
    """A 426 names the protocol to upgrade to (RFC 9110 section 15.5.22), also if the application has made it."""
    if response.status != HTTPStatus.UPGRADE_REQUIRED or "Upgrade" in response.headers:
        return response
    return Response(response.body, response.status, [*response.headers, ("Upgrade", "websocket")])
