"""The access log: a line for each WebSocket at its end, and for each HTTP request that our own server has answered.

    192.0.2.1:50000 WS /chat 1000 12.345s in=1203 out=88123 messages=17/240 subprotocol=chat id=9f2c0e...
    192.0.2.1:50001 GET /health 200 0.001s out=161 connection=7

Logger ``syncws.access``, at INFO; that a WebSocket has opened is said at DEBUG, with the same id. The fields are in the
record as well, as attributes (``extra``). A path has no query, which may hold a token. The messages, in and out, are
those that `tally` has counted; the bytes are the kernel's own count, with the 101 and what TLS adds; "-" where it has
none.
"""

from __future__ import annotations

import logging
import time
from typing import Any

from .._base.logs import logger
from .._base.printable import printable
from .._http.request import Request
from .._net.address import say_peer
from .._net.transport import Transport
from ..errors import ConnectionClosed
from .tally import Tally, code_of

_log = logger("syncws.access")


def is_on() -> bool:
    """Whether anybody wants the lines."""
    return _log.isEnabledFor(logging.INFO)


class Visit:
    """One WebSocket of a server, from before its 101 to its line.

    Concurrency: `open` and then `tell` are called once each, by any thread.
    """

    __slots__ = ("_began", "_fields")

    def __init__(self, request: Request, subprotocol: str | None) -> None:
        self._began = time.monotonic()
        self._fields: dict[str, Any] = {
            "remote_address": say_peer(request.remote_address),
            "path": printable(request.raw_path),
            "subprotocol": None if subprotocol is None else printable(subprotocol, 40),
        }

    def open(self, connection_id: str) -> None:
        """It is open, and has its id."""
        fields = self._fields
        fields["connection_id"] = connection_id
        message = "%s WS %s opened id=%s"
        _log.debug(message, fields["remote_address"], fields["path"], connection_id, extra=fields)

    def tell(self, end: ConnectionClosed, tally: Tally, transport: Transport) -> None:
        """Log its line: it is over, for this reason. transport is asked for its bytes as long as it is open."""
        seconds = time.monotonic() - self._began
        code = code_of(end)
        received, sent = tally.bytes(transport)
        fields = {**self._fields, "code": code, "seconds": seconds, "bytes_in": received, "bytes_out": sent}
        fields |= {"messages_in": tally.messages_in, "messages_out": tally.messages_out}
        _log.info(
            "%s WS %s %d %.3fs in=%s out=%s messages=%d/%d subprotocol=%s id=%s",
            fields["remote_address"],
            fields["path"],
            code,
            seconds,
            _or_dash(received),
            _or_dash(sent),
            tally.messages_in,
            tally.messages_out,
            _or_dash(fields["subprotocol"]),
            fields["connection_id"],
            extra=fields,
        )


def tell_request(request: Request, status: int, seconds: float, sent: int, number: int) -> None:
    """Log the line of an HTTP request that was answered with this status, in so many bytes."""
    if not is_on():
        return
    remote, method, path = say_peer(request.remote_address), printable(request.method, 20), printable(request.raw_path)
    _log.info(
        "%s %s %s %d %.3fs out=%d connection=%d",
        remote,
        method,
        path,
        status,
        seconds,
        sent,
        number,
        extra={
            "remote_address": remote,
            "method": method,
            "path": path,
            "status": status,
            "seconds": seconds,
            "bytes_out": sent,
            "connection_number": number,
        },
    )


def _or_dash(value: object) -> object:
    return "-" if value is None else value
