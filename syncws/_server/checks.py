"""Whether a request is a WebSocket handshake (RFC 6455 section 4.2.1): one function for each rule, in gorilla's order.

gorilla has no check of the HTTP version and of the body.
"""

from __future__ import annotations

from collections.abc import Callable
from http import HTTPStatus

from .._base.printable import printable
from .._http import handshake
from .._http.request import Request
from .refusal import Refused

_PROXY_ADVICE = (
    "a proxy in front must pass the handshake on (nginx: proxy_http_version 1.1; "
    'proxy_set_header Upgrade $http_upgrade; proxy_set_header Connection "upgrade")'
)


def check_handshake(request: Request) -> None:
    """Raise Refused, by the first rule that the request breaks. Its key is judged later: see `checked_key`."""
    for check in _CHECKS:
        check(request)


def checked_key(request: Request) -> str:
    """Exactly one valid key. With two of them, a proxy might take one and this server the other."""
    keys = request.headers.get_all("Sec-WebSocket-Key")
    if len(keys) != 1:
        raise Refused(HTTPStatus.BAD_REQUEST, f"a WebSocket handshake has one Sec-WebSocket-Key, not {len(keys)}")
    if not handshake.is_valid_key(keys[0]):
        raise Refused(HTTPStatus.BAD_REQUEST, "the Sec-WebSocket-Key is not 16 bytes in Base64")
    return keys[0]


def _check_connection(request: Request) -> None:
    if not handshake.has_token(request.headers, "Connection", "upgrade"):
        raise Refused(
            HTTPStatus.BAD_REQUEST,
            "this is a WebSocket endpoint, and the request's Connection header does not say 'Upgrade'",
            advice=_PROXY_ADVICE,
            cause=_lost_by_a_proxy(request),
            reason="no upgrade",
        )


def _check_upgrade(request: Request) -> None:
    if not handshake.switches_to_websocket(request.headers):
        raise Refused(
            HTTPStatus.UPGRADE_REQUIRED,
            "this is a WebSocket endpoint, and the request's Upgrade header does not say 'websocket'",
            advice=_PROXY_ADVICE,
            cause=_lost_by_a_proxy(request),
        )


def _check_method(request: Request) -> None:
    if request.method != "GET":
        raise Refused(
            HTTPStatus.METHOD_NOT_ALLOWED,
            f"a WebSocket handshake is a GET, not a {printable(request.method, 20)}",
            headers=[("Allow", "GET")],
        )


def _check_http_version(request: Request) -> None:
    """RFC 6455 section 4.2.1 item 1. gorilla does not check it."""
    if request.http_version != "1.1":
        raise Refused(
            HTTPStatus.BAD_REQUEST,
            f"a WebSocket handshake needs HTTP/1.1, and this request is HTTP/{printable(request.http_version, 10)}; "
            "nginx in front needs: proxy_http_version 1.1",
            advice=_PROXY_ADVICE,
            cause=_lost_by_a_proxy(request),
            reason="version",
        )


def _check_no_body(request: Request) -> None:
    """A body would stand where the frames begin: whoever reads it as frames can be made to read forged ones."""
    if request.has_body:
        raise Refused(HTTPStatus.BAD_REQUEST, "a WebSocket handshake has no body")


def _check_version(request: Request) -> None:
    if not handshake.has_token(request.headers, "Sec-WebSocket-Version", "13"):
        raise Refused(
            HTTPStatus.BAD_REQUEST,
            "this server speaks version 13 of WebSocket: Sec-WebSocket-Version: 13",
            reason="version",
        )


def _lost_by_a_proxy(request: Request) -> tuple[str, str] | None:
    """The cause of a refusal for want of Connection or Upgrade: a proxy has dropped them, if the key has come."""
    return ("proxy", "") if "Sec-WebSocket-Key" in request.headers else None


_CHECKS: tuple[Callable[[Request], None], ...] = (
    _check_connection,
    _check_upgrade,
    _check_method,
    _check_http_version,
    _check_no_body,
    _check_version,
)
