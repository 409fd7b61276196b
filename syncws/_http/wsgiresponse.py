"""What a WebSocket view of a WSGI application returns.

By then the client has got its 101 over the connection itself. What the server is given here it writes to a socket that
is dead. It is meant for the server's log, and for the middlewares and frameworks in between.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from http import HTTPStatus
from typing import Any, Protocol

from .response import Response

#: Headers that WSGI servers refuse from an application, since they write them themselves.
_HOP_BY_HOP = ("connection", "upgrade")


class Closable(Protocol):
    """A Conn, which is of a higher floor."""

    def close(self) -> None: ...


class WSGIResponse:
    """What a view returns: a WSGI application, and the parts that a framework's own response is made of.

    It is made by `Upgrader.serve` and by `Conn.wsgi_response`. One thread uses it, that of the view.

    ``status`` (an int), ``reason``, ``headers`` (pairs), ``body`` (bytes). A 101 yields nothing at all: some servers'
    debuggers stumble over an empty string.
    """

    def __init__(
        self, status: int, headers: Iterable[tuple[str, str]], body: bytes, conn: Closable | None = None
    ) -> None:
        self.status = status
        self.headers = list(headers)
        self.body = body
        self._conn = conn

    @property
    def reason(self) -> str:
        """The status in words, "" if it has no name."""
        try:
            return HTTPStatus(self.status).phrase
        except ValueError:
            return ""

    @property
    def is_websocket(self) -> bool:
        """Whether it stands for a connection, and not for a refusal."""
        return self.status == HTTPStatus.SWITCHING_PROTOCOLS

    def __call__(self, environ: dict[str, Any], start_response: Callable[..., object]) -> list[bytes]:
        if self._conn is not None:
            self._conn.close()
        start_response(f"{self.status} {self.reason}".rstrip(), list(self.headers))
        return [self.body] if self.body else []

    def __repr__(self) -> str:
        return f"<WSGIResponse {self.status} {self.reason}, {len(self.body)} bytes>"


def switched(conn: Closable | None = None) -> WSGIResponse:
    """The empty 101 of a connection. A conn that is given is closed when the response is called."""
    return WSGIResponse(HTTPStatus.SWITCHING_PROTOCOLS, [("Content-Type", "text/plain")], b"", conn)


def refused(response: Response) -> WSGIResponse:
    """A refusal. Hop-by-hop headers are left out, since servers answer 500 to them (wsgiref, waitress)."""
    headers = [pair for pair in response.headers if pair[0].lower() not in _HOP_BY_HOP]
    headers.append(("Content-Length", str(len(response.body))))
    return WSGIResponse(response.status, headers, response.body)
