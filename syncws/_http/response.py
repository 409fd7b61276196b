"""An HTTP response, as a handler makes it; and the head of a 101, with which HTTP ends."""

from __future__ import annotations

import json
from http import HTTPStatus
from typing import Any

from .headers import Headers, HeaderSource, checked_headers

#: Headers that only the library writes: they say where a message ends, and whether the connection does.
_LIBRARY_HEADERS = ("connection", "content-length", "date", "keep-alive", "transfer-encoding")

_REASONS = {status.value: status.phrase for status in HTTPStatus}


class Response:
    """An HTTP response with its whole body.

    The library writes Content-Length, Transfer-Encoding, Connection, Keep-Alive and Date itself. ``status``,
    ``headers``, ``body`` (bytes) and ``reason`` can be read. Nothing changes it, so any thread may use it.

    Args:
        body: str, which is sent as UTF-8, or bytes.
        status: from 200 to 999.
        headers: further headers.
        content_type: the type of the body; None: as the headers say, or text/plain for str, and
            application/octet-stream for bytes.

    Raises ValueError that names the header for a name or value that may not be sent, for a header that the library
    writes, for a second Content-Type, and for a status outside 200 to 999; TypeError for a wrong type.
    """

    __slots__ = ("body", "headers", "status")

    def __init__(
        self,
        body: str | bytes = b"",
        status: int = 200,
        headers: HeaderSource | None = None,
        content_type: str | None = None,
    ) -> None:
        if not isinstance(body, str | bytes | bytearray | memoryview):
            raise TypeError(f"the body must be str or bytes, not {type(body).__name__}; see Response.json")
        if not isinstance(status, int):
            raise TypeError(f"the status must be an int, not {type(status).__name__}")
        if not 200 <= status <= 999:
            raise ValueError(f"the status must be from 200 to 999, not {status}")
        given = checked_headers(headers)
        for name in _LIBRARY_HEADERS:
            if name in given:
                raise ValueError(f"header {name!r}: the library writes it; leave it out")
        self.body = body.encode() if isinstance(body, str) else bytes(body)
        self.status = int(status)
        self.headers = _with_content_type(given, content_type, body)

    @classmethod
    def json(cls, value: Any, status: int = 200, headers: HeaderSource | None = None) -> Response:
        """A response with the value as JSON; status and headers are those of `Response`.

        Raises what json.dumps and the constructor raise.
        """
        return cls(json.dumps(value), status, headers, "application/json")

    @property
    def reason(self) -> str:
        """The status in words, "" if it has no name."""
        return _REASONS.get(self.status, "")

    def __repr__(self) -> str:
        return f"<Response {self.status} {self.reason}, {len(self.body)} bytes>"


#: The interim answer to "Expect: 100-continue" (RFC 9110 section 15.2.1).
CONTINUE = b"HTTP/1.1 100 Continue\r\n\r\n"


def switching_protocols(headers: HeaderSource) -> bytes:
    """The head of a 101 answer with these headers in this order (RFC 6455 section 4.2.2), ready to be sent.

    Raises ValueError that names the header for a name or value that may not be sent, TypeError for a wrong type.
    """
    lines = [f"{name}: {value}\r\n" for name, value in checked_headers(headers)]
    return "".join(["HTTP/1.1 101 Switching Protocols\r\n", *lines, "\r\n"]).encode("latin-1")


def _with_content_type(headers: Headers, content_type: str | None, body: object) -> Headers:
    """The headers with the content type in front, unless they have one or there is no body."""
    if "Content-Type" in headers:
        if content_type is not None:
            raise ValueError("header 'Content-Type': given in headers and as content_type")
        return headers
    if content_type is None:
        if not body:
            return headers
        content_type = "text/plain; charset=utf-8" if isinstance(body, str) else "application/octet-stream"
    return Headers([*checked_headers({"Content-Type": content_type}), *headers])
