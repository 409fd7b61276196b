"""What a WSGI application answers to one request: start_response, write() and blocks, on their way to the client.

Nothing leaves before it is checked. The application hears of every rule of WSGI that it breaks, and the client gets no
answer that looks whole and is not.
"""

from __future__ import annotations

import errno
import math
import re
from collections.abc import Callable, Iterable
from types import TracebackType
from typing import Any
from wsgiref.util import is_hop_by_hop

from .._base.copies import copy_of
from .._base.counters import breaches
from .._base.forks import this_process
from .._base.logs import logger
from .._base.printable import printable, printable_repr
from .._http.headers import Headers, checked_headers
from .._http.http11 import HTTPConnection
from .._http.request import Request
from .._net.waits import Pace
from .wsgi_input import DROPPABLE, MIN_RATE, Input

_log = logger("syncws.server")

_ExcInfo = tuple[type[BaseException], BaseException, TracebackType]

#: Seconds in which a client takes nothing of its answer before it is given up (nginx's send_timeout, and its value).
STALL_LIMIT = 60.0

_STATUS = re.compile(r"([1-9]\d\d)(?: ([\t\x20-\x7e\x80-\xff]*))?", re.ASCII)
_LENGTH = re.compile(r"\d{1,18}", re.ASCII)


class ClientGone(OSError):
    """The client did not take its answer; what is left of it is lost."""


class WSGIViolation(ValueError):
    """The application broke a rule of WSGI; the message says which."""


class Answer:
    """What an application answers to one request.

    ``is_complete`` is True once all of it has left. ``gone`` is the error if the client is gone.

    Concurrency: for one thread.
    """

    def __init__(self, http: HTTPConnection, request: Request, body: Input, timeout: float | None = None) -> None:
        self.is_complete = False
        self.gone: ClientGone | None = None
        self._process = this_process()
        self._stall = STALL_LIMIT if timeout is None else Pace(STALL_LIMIT, timeout, MIN_RATE)
        self.has_begun = False  # its head is settled, and may have left
        self.request = request
        self.http = http
        self.body = body
        self._status = 0  # until start_response is called
        self._reason = ""
        self._headers = Headers()
        self._left: int | None = None  # bytes that the Content-Length still promises; None without one
        self._is_over = False  # the application has given everything

    @property
    def is_upgraded(self) -> bool:
        return self.http.taken_over or self.request.then is not None

    @property
    def _has_body(self) -> bool:
        return self.request.method != "HEAD" and self._status not in (204, 304)

    def start_response(
        self, status: str, headers: list[tuple[str, str]], exc_info: _ExcInfo | None = None
    ) -> Callable[[bytes], object]:
        """PEP 3333's start_response. Raises WSGIViolation; or the error in exc_info, if the head has left already."""
        if exc_info:
            try:
                if self.has_begun:
                    raise exc_info[1].with_traceback(exc_info[2])
            finally:
                exc_info = None  # its traceback refers to this frame, which refers to it
        elif self._status:
            raise WSGIViolation("start_response was called twice: the second time it needs exc_info")
        code, self._reason = _checked_status(status)
        self._headers = _checked_answer_headers(headers)
        self._status = code
        return self.write

    def write(self, block: bytes) -> None:
        """PEP 3333's write(). Raises ClientGone, WSGIViolation."""
        if self._is_over:
            raise WSGIViolation("write() was called after the end of the answer")
        if self.is_upgraded:
            raise WSGIViolation("write() was called, and the request has been upgraded")
        _check_block("write()", block)
        if block:
            self._send(block)

    def take(self, result: Iterable[bytes], who: object) -> None:
        """Send what the application returned, block by block.

        Raises ClientGone, WSGIViolation, and what the result raises.
        """
        is_only = _check_result(result) == 1
        for block in result:
            _check_block("the application", block)
            if not block:
                continue
            if self.is_upgraded:
                message = "%s: %s: the application upgraded the request, so its body is ignored"
                _log.error(message, who, self.request)
                break
            if not self._send(block, is_only=is_only):
                break
        self._is_over = True
        if not self.is_upgraded:
            self._end()

    def _send(self, block: bytes, *, is_only: bool = False) -> bool:
        """Send a block, after the head if that has not left. False if no further block is wanted."""
        if not self.has_begun:
            self._begin(len(block) if is_only else None)
        if not self._has_body:
            return False
        if self._left is None:
            self._transmit(self.http.send_data, block)
            return True
        fitting = block[: self._left]
        self._left -= len(fitting)
        if fitting:
            self._transmit(self.http.send_data, fitting)
        if len(fitting) == len(block):
            return True
        # What the client has got is a whole answer, and has to end like one.
        self._end()
        self.is_complete = False
        raise WSGIViolation("the body is longer than the application's Content-Length; the rest is left out")

    def _begin(self, length: int | None) -> None:
        """Settle the head. length is that of the whole body, if it is known."""
        if self._process != this_process():  # the application has forked, and its child came back as well
            raise SystemExit
        if not self._status:
            raise WSGIViolation("the application gave a body, or returned, and has not called start_response")
        if self._status < 200:
            raise WSGIViolation(
                f"the application answered {self._status}, and has not upgraded the request: only what syncws returns "
                "for a WebSocket has such a status"
            )
        if self.body.failure is not None and self._status >= 500:
            raise copy_of(self.body.failure)  # a framework has made a 500 of it; its own status tells the client more
        headers = self._with_length(length)
        self.has_begun = True
        self.http.begin_response(
            self._status, self._reason, headers, droppable=math.inf if length is None else DROPPABLE
        )
        if self._has_body and "Content-Length" in headers:
            self._left = int(headers["Content-Length"])

    def _with_length(self, length: int | None) -> Headers:
        """The application's headers, with a Content-Length where one belongs and can be known."""
        declared = self._headers.get("Content-Length")
        if self._status == 204 and declared is not None:  # RFC 9110 section 8.6
            return Headers([pair for pair in self._headers if pair[0].lower() != "content-length"])
        if length is None or self._status in (204, 304):
            return self._headers
        if declared is None:
            return Headers([*self._headers, ("Content-Length", str(length))])
        if int(declared) != length and self._has_body:
            raise WSGIViolation(f"the body has {length} bytes, and the application's Content-Length says {declared}")
        return self._headers

    def _end(self) -> None:
        """The application has given everything."""
        if not self.has_begun:
            # The answer to a HEAD has the length that a body would have. Nothing here tells what that is.
            self._begin(None if self.request.method == "HEAD" else 0)
        if self._left:
            raise WSGIViolation(f"the body is {self._left} bytes shorter than the application's Content-Length")
        self._transmit(self.http.end_response)
        self.is_complete = True

    def _transmit(self, send: Callable[..., None], *data: bytes) -> None:
        if self.gone is not None:  # the application has caught this error, and goes on
            raise copy_of(self.gone)
        try:
            send(*data, stall=self._stall)
        except OSError as exc:
            if exc.errno == errno.ETIMEDOUT:
                breaches.add("answer_timeout")
            self.gone = ClientGone(f"{self.request}: the client did not take the answer: {printable(exc)}")
            raise copy_of(self.gone) from exc


def _checked_status(status: Any) -> tuple[int, str]:
    parts = _STATUS.fullmatch(status) if isinstance(status, str) else None
    if parts is None:
        raise WSGIViolation(f'start_response: the status is a str such as "200 OK", not {printable_repr(status, 100)}')
    return int(parts[1]), parts[2] or ""


def _checked_answer_headers(headers: Any) -> Headers:
    if not isinstance(headers, (list, tuple)):
        raise WSGIViolation(f"start_response: the headers are a list of (name, value), not {type(headers).__name__}")
    try:
        checked = checked_headers(headers)
    except (TypeError, ValueError) as exc:
        raise WSGIViolation(f"start_response: {exc}") from None
    for name, _value in checked:
        if is_hop_by_hop(name):
            raise WSGIViolation(f"start_response: header {name!r} is the server's own to send (PEP 3333); leave it out")
    lengths = checked.get_all("Content-Length")
    if lengths and not (len(lengths) == 1 and _LENGTH.fullmatch(lengths[0])):
        raise WSGIViolation(
            f"start_response: header 'Content-Length' is one number of bytes, not {', '.join(lengths)!r:.100}"
        )
    return checked


def _check_block(giver: str, block: Any) -> None:
    if not isinstance(block, bytes):
        advice = "; encode it" if isinstance(block, str) else ""
        raise WSGIViolation(f"{giver} has to give bytes, not {type(block).__name__}{advice}")


def _check_result(result: Any) -> int | None:
    """How many blocks there are; None where that is not known beforehand. Raises WSGIViolation."""
    if isinstance(result, (str, bytes, bytearray)) or not hasattr(type(result), "__iter__"):
        raise WSGIViolation(
            f"the application has to return a list of bytes, or another iterable, not {printable_repr(result, 100)}"
        )
    try:
        return len(result)
    except TypeError:
        return None
