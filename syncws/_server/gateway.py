"""One call of a WSGI application (PEP 3333) for one HTTP request of our own server.

    Gateway.serve                  one request to its end; a WebSocket's handler runs after the application
    Gateway.answer                 one request, from its environ to the end of its answer
      the application              called in the connection's own thread
        wsgi.input                 _Body: the request's body, as it arrives
        start_response             _Answer: says what the head is, and sends nothing
        write(), each block        _Answer: leaves at once, with the head in front of the first one
      close() of what it returned  always
      the rest of the body         dropped, or the connection ends

Four rules:

* **The head leaves with the first byte of the body, or at the end.** Until then the application may change its mind,
  and an error is a clean 500. After that an error ends the connection, so that a cut answer never looks whole.
* **Whose fault it is decides the log.** The application's is an ERROR with its traceback (one line, if it broke the
  rules of WSGI), the client's one line at INFO.
* **A request that was upgraded has no answer.** Nothing that the application gives then reaches the connection.
* **Nothing is awaited without a limit.** A client that sends its body too slowly is answered with 408, one that takes
  nothing of its answer is given up.
"""

from __future__ import annotations

import io
import logging
import math
import re
import sys
import time
from collections.abc import Callable, Iterable
from types import TracebackType
from typing import Any
from urllib.parse import unquote_to_bytes
from wsgiref.util import FileWrapper, is_hop_by_hop

from .._base.version import __version__
from .._base.worker import in_worker
from .._conn.outcome import end_handled
from .._http.headers import Headers, checked_headers
from .._http.http11 import HTTPConnection
from .._http.request import BadRequest, Request
from .._http.response import Response
from ..errors import HandshakeError

_log = logging.getLogger("syncws.server")

Environ = dict[str, Any]
StartResponse = Callable[..., Callable[[bytes], object]]
Application = Callable[[Environ, StartResponse], Iterable[bytes]]

_ExcInfo = tuple[type[BaseException], BaseException, TracebackType]

#: Seconds in which a client takes nothing of its answer before it is given up (nginx's send_timeout, and its value).
STALL_LIMIT = 60.0

#: Seconds that an answer of our own may take to leave.
_REFUSAL_TIMEOUT = 60.0

#: A client that sends a body gets a second for so many bytes, and the timeout on top (Apache's mod_reqtimeout).
_MIN_RATE = 500

#: Of a body that nobody has read so many bytes may have yet to come: they are dropped, and the connection is kept, ...
_DROPPABLE = 1 << 16

#: ... if they come within so many seconds.
_DROP_TIMEOUT = 1.0

_STATUS = re.compile(r"([1-9]\d\d)(?: ([\t\x20-\x7e\x80-\xff]*))?", re.ASCII)
_LENGTH = re.compile(r"\d{1,18}", re.ASCII)

#: What an environ holds of its connection, which would be kept alive by it after the end of the request.
_OF_THE_CONNECTION = ("syncws.request", "wsgi.input")


class ClientGone(OSError):
    """The client did not take its answer; what is left of it is lost."""


class BodyError(OSError):
    """Reading wsgi.input failed: ``status`` is what the client is answered, ``str()`` says why.

    413 the body is too large, 408 it comes too slowly, 400 it is malformed or the connection was lost. An application
    may let it escape.
    """

    def __init__(self, status: int, message: str) -> None:
        super().__init__(message)
        self.status = status


class WSGIViolation(ValueError):
    """The application broke a rule of WSGI; the message says which."""


class Gateway:
    """Calls a WSGI application.

    Concurrency: immutable, for any number of threads.

    Args:
        application: called with the environ and start_response, in the connection's thread.
        max_body_size: bytes that a request's body may have; more is answered with 413. None for no limit.
        body_timeout: seconds that the client may be silent while its body is read, and on the whole be waited for,
            beyond a second for each 500 bytes; then the answer is 408. None for no limit.
    """

    def __init__(self, application: Application, *, max_body_size: int | None, body_timeout: float | None) -> None:
        self._application = application
        self._max_body_size = math.inf if max_body_size is None else max_body_size
        self._body_timeout = math.inf if body_timeout is None else body_timeout

    def serve(self, http: HTTPConnection, request: Request, who: object) -> None:
        """Serve a request to its end: call the application, and then the handler of the WebSocket view that it led to.

        ``who`` sent it, for the log. Raises OSError: the client is gone.
        """
        raised = None
        try:
            try:
                self.answer(http, request, who)
            except Exception as exc:
                if not http.taken_over:
                    raise
                raised = exc
            if raised is None and request.then is not None:
                request.then()
            if request.conn is not None:
                end_handled(request.conn, raised, who, _log)
            elif raised is not None and not isinstance(raised, HandshakeError):  # the Upgrader has logged a failed 101
                _log.error("%s: the application raised", who, exc_info=raised)
        finally:
            raised = None  # else it and this frame, which is in its traceback, would be a cycle
            _break_circles(request)

    def answer(self, http: HTTPConnection, request: Request, who: object) -> None:
        """Answer a request, which `who` sent (for the log); then ``http.keep_alive`` says whether another may follow.

        If the application had the request upgraded, nothing has been written: ``http.taken_over`` is True, or
        ``request.then`` is to be called.

        Raises:
            ClientGone, OSError: the client is gone.
            Exception: what the application raised after the connection had been taken over.
        """
        if (refusal := self._refusal(request)) is not None:
            return _refuse(http, refusal, who)
        body = _Body(http, self._max_body_size, self._body_timeout)
        answer = _Answer(http, request, body)
        try:
            self._call(_environ(request, body), answer, who)
        except Exception as exc:
            if answer.gone is not None:
                raise answer.gone from None
            if http.taken_over:
                raise
            request.then = None
            _answer_failure(exc, answer, who)
        finally:
            # In a finally: a failed call is answered with 500, and another request may follow on this connection. And
            # before drop_body: whoever has kept wsgi.input (a thread, the traceback of an error) would read at the same
            # time as it does, and after it the body of the next request.
            body.forget()
        if answer.is_complete:
            http.drop_body(_DROPPABLE, time.monotonic() + _DROP_TIMEOUT)
        return None

    def _refusal(self, request: Request) -> Response | None:
        """The answer to a request that is not given to the application; None for any other."""
        length = int(request.headers.get("Content-Length", "0"))
        if length > self._max_body_size:
            return Response(f"the body has {length} bytes, and {self._max_body_size} are allowed\n", 413)
        # OPTIONS * asks about the server as a whole (RFC 9110 section 9.3.7). No PATH_INFO can say that.
        return Response() if request.path == "*" else None

    def _call(self, environ: Environ, answer: _Answer, who: object) -> None:
        result = self._application(environ, answer.start_response)
        try:
            answer.take(result, who)
        finally:
            _close(result, answer, who)


def _break_circles(request: Request) -> None:
    """At the end of a request, drop what refers back to it, also from its environ, which the application may keep."""
    request._break_circles()
    for key in _OF_THE_CONNECTION:
        if request.environ is not None:
            request.environ.pop(key, None)


# What the application is given


def _environ(request: Request, body: _Body) -> Environ:
    host, port = _our_address(request)
    environ: Environ = {
        "REQUEST_METHOD": request.method,
        "SCRIPT_NAME": "",
        # PEP 3333: bytes, in a str of Latin-1.
        "PATH_INFO": unquote_to_bytes(request.raw_path).decode("latin-1"),
        "QUERY_STRING": request.query_string,
        "REQUEST_URI": request.target,  # still percent-encoded, which PATH_INFO no longer is
        "SERVER_NAME": host,
        "SERVER_PORT": port,
        "SERVER_PROTOCOL": f"HTTP/{request.http_version}",
        "SERVER_SOFTWARE": f"syncws/{__version__}",
        "REMOTE_ADDR": "",
        "wsgi.version": (1, 0),
        "wsgi.url_scheme": request.scheme,
        "wsgi.input": io.BufferedReader(body),
        "wsgi.input_terminated": True,  # it ends where the body ends, so a chunked body can be read, too
        "wsgi.errors": sys.stderr if sys.stderr is not None else _ErrorLog(),
        "wsgi.file_wrapper": FileWrapper,
        "wsgi.multithread": True,
        "wsgi.multiprocess": in_worker(),
        "wsgi.run_once": False,
        "syncws.request": request,
    }
    if isinstance(request.remote_address, tuple):
        environ["REMOTE_ADDR"], environ["REMOTE_PORT"] = request.remote_address[0], str(request.remote_address[1])
    for name, value in request.headers:
        if "_" not in name:  # X_Forwarded_For would become the same key as X-Forwarded-For, which a proxy vouches for
            _add_header(environ, name.upper().replace("-", "_"), value)
    if "Host" in request.headers or request.host:
        environ["HTTP_HOST"] = request.host  # that of an absolute target counts (RFC 9112 section 3.2.2)
    return environ


def _our_address(request: Request) -> tuple[str, str]:
    """SERVER_NAME and SERVER_PORT. Neither may be empty."""
    if isinstance(request.local_address, tuple):
        return str(request.local_address[0]), str(request.local_address[1])
    return "localhost", "443" if request.scheme == "https" else "80"


def _add_header(environ: Environ, name: str, value: str) -> None:
    key = name if name in ("CONTENT_TYPE", "CONTENT_LENGTH") else f"HTTP_{name}"
    if key in environ:
        separator = "; " if name == "COOKIE" else ", "  # RFC 6265 section 5.4; RFC 9110 section 5.3
        value = f"{environ[key]}{separator}{value}"
    environ[key] = value


class _Body(io.RawIOBase):
    """The body of a request, as it arrives. With an `io.BufferedReader` around it, it is wsgi.input.

    ``failure`` is the error that ended it. Every later read raises that too.

    Concurrency: for one thread.
    """

    def __init__(self, http: HTTPConnection, limit: float, timeout: float) -> None:
        self.failure: BodyError | None = None
        self._http: HTTPConnection | None = http
        self._limit = limit
        self._timeout = timeout
        self._piece = memoryview(b"")  # received and not read yet
        self._size = 0  # bytes received
        self._waited = 0.0  # seconds

    def readable(self) -> bool:
        return True

    def readinto(self, buffer: Any) -> int:
        if not self._piece:
            self._piece = memoryview(self._next_piece())
        count = min(len(buffer), len(self._piece))
        buffer[:count] = self._piece[:count]
        self._piece = self._piece[count:]
        return count

    def forget(self) -> None:
        """The request is over: whoever still reads finds the end, and nothing of the next request."""
        self._http = None
        self._piece = memoryview(b"")

    def _next_piece(self) -> bytes:
        if self.failure is not None:
            raise self.failure
        if self._http is None:
            return b""
        try:
            piece = self._receive(self._http)
        except BadRequest as exc:
            self.failure = BodyError(exc.status, str(exc))
            raise self.failure from exc.__cause__
        return piece

    def _receive(self, http: HTTPConnection) -> bytes:
        began = time.monotonic()
        # Two limits: of one silence, and of the rate on the whole, since a client that sends a byte now and then would
        # hold this thread for days.
        patience = min(self._timeout, self._timeout + self._size / _MIN_RATE - self._waited)
        piece = http.read_body_piece(None if patience == math.inf else began + patience)
        self._waited += time.monotonic() - began
        self._size += len(piece)
        if self._size > self._limit:
            raise BadRequest(413, f"the body has more than {self._limit} bytes")
        return piece


class _ErrorLog(io.TextIOBase):
    """wsgi.errors of a process that has no stderr."""

    def write(self, text: str) -> int:
        if text.strip():
            _log.error("%s", text.rstrip())
        return len(text)


# What the application gives


class _Answer:
    """What an application answers to one request.

    ``is_complete`` is True once all of it has left. ``gone`` is the error if the client is gone.

    Concurrency: for one thread.
    """

    def __init__(self, http: HTTPConnection, request: Request, body: _Body) -> None:
        self.is_complete = False
        self.gone: ClientGone | None = None
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
                what = say_request(self.request)
                _log.error("%s: %s: the application upgraded the request, so its body is ignored", who, what)
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
        if not self._status:
            raise WSGIViolation("the application gave a body, or returned, and has not called start_response")
        if self._status < 200:
            raise WSGIViolation(
                f"the application answered {self._status}, and has not upgraded the request: only what syncws returns "
                "for a WebSocket has such a status"
            )
        if self.body.failure is not None and self._status >= 500:
            raise self.body.failure  # a framework has made a 500 of it; its own status tells the client more
        headers = self._with_length(length)
        self.has_begun = True
        self.http.begin_response(
            self._status, self._reason, headers, droppable=math.inf if length is None else _DROPPABLE
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
            raise self.gone
        try:
            send(*data, stall=STALL_LIMIT)
        except OSError as exc:
            self.gone = ClientGone(f"{say_request(self.request)}: the client did not take the answer: {exc}")
            raise self.gone from exc


def _checked_status(status: Any) -> tuple[int, str]:
    parts = _STATUS.fullmatch(status) if isinstance(status, str) else None
    if parts is None:
        raise WSGIViolation(f'start_response: the status is a str such as "200 OK", not {status!r:.100}')
    return int(parts[1]), parts[2] or ""


def _checked_answer_headers(headers: Any) -> Headers:
    if not isinstance(headers, (list, tuple)):
        raise WSGIViolation(f"start_response: the headers are a list of (name, value), not {headers!r:.100}")
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
        raise WSGIViolation(f"the application has to return a list of bytes, or another iterable, not {result!r:.100}")
    try:
        return len(result)
    except TypeError:
        return None


# How it ends


def _close(result: Any, answer: _Answer, who: object) -> None:
    """Call the close() of what the application returned. An error is logged: the answer is settled."""
    close = getattr(result, "close", None)
    if close is None:
        return
    try:
        close()
    except Exception:
        _log.exception("%s: %s: close() of what the application returned raised", who, say_request(answer.request))


def _answer_failure(exc: Exception, answer: _Answer, who: object) -> None:
    """Log why the application failed, and answer with an error if nothing has left yet."""
    response = _failure_response(exc, answer, who)
    if answer.has_begun:
        return
    try:
        _send(answer.http, response)
    except OSError as gone:
        _log.debug("%s: %s", who, gone)


def _failure_response(exc: Exception, answer: _Answer, who: object) -> Response:
    """Log why the application failed; the response that says so to the client."""
    what = say_request(answer.request)
    reason = answer.body.failure or exc
    if isinstance(reason, (BodyError, BadRequest)):
        _log.info("%s: %s: %d %s", who, what, reason.status, reason)
        return Response(f"{reason}\n", reason.status)
    if isinstance(exc, HandshakeError) and isinstance(exc.response, Response):  # the Upgrader has logged it
        return exc.response
    if isinstance(exc, WSGIViolation):
        _log.error("%s: %s: %s", who, what, exc)
    else:
        _log.error("%s: %s: the application raised", who, what, exc_info=exc)
    return Response("Internal Server Error\n", 500)


def _refuse(http: HTTPConnection, response: Response, who: object) -> None:
    if response.status >= 400:
        _log.info("%s: %d %s", who, response.status, response.body.decode().rstrip())
    _send(http, response)


def _send(http: HTTPConnection, response: Response) -> None:
    http.send_response(response, deadline=time.monotonic() + _REFUSAL_TIMEOUT)


def say_request(request: Request) -> str:
    """A request for a log line."""
    return f"{request.method} {request.target[:200]}"
