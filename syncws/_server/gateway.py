"""One call of a WSGI application (PEP 3333) for one HTTP request of our own server.

    Gateway.serve                  one request to its end; a WebSocket's handler runs after the application
    Gateway.answer                 one request, from its environ to the end of its answer
      the application              called in the connection's own thread
        wsgi.input                 Input: the request's body, as it arrives
        start_response             Answer: says what the head is, and sends nothing
        write(), each block        Answer: leaves at once, with the head in front of the first one
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
import math
import sys
import time
from collections.abc import Callable, Iterable
from typing import Any
from urllib.parse import unquote_to_bytes
from wsgiref.util import FileWrapper

from .._base.callables import check_done
from .._base.copies import copy_of, forget_frames
from .._base.counters import breaches
from .._base.logs import logger
from .._base.printable import printable
from .._base.version import __version__
from .._base.worker import in_worker
from .._conn.outcome import end_handled
from .._http.http11 import HTTPConnection
from .._http.request import BadRequest, Request
from .._http.response import Response
from ..errors import HandshakeError
from .wsgi_answer import Answer, WSGIViolation
from .wsgi_input import DROPPABLE, BodyError, Input

_log = logger("syncws.server")

Environ = dict[str, Any]
StartResponse = Callable[..., Callable[[bytes], object]]
Application = Callable[[Environ, StartResponse], Iterable[bytes]]

#: Seconds that an answer of our own may take to leave.
_REFUSAL_TIMEOUT = 60.0

#: Seconds within which what is dropped of a body has to come.
_DROP_TIMEOUT = 1.0

#: What an environ holds of its connection, which would be kept alive by it after the end of the request.
_OF_THE_CONNECTION = ("syncws.request", "wsgi.input")


class Gateway:
    """Calls a WSGI application.

    Concurrency: immutable, for any number of threads.

    Args:
        application: called with the environ and start_response, in the connection's thread.
        max_body_size: bytes that a request's body may have; more is answered with 413. None for no limit.
        body_timeout: seconds that the client may be silent while its body is read, and on the whole be waited for,
            beyond a second for each 500 bytes; then the answer is 408. None for no limit.
        answer_timeout: seconds that a client which takes its answer slowly is waited for, beyond a second for each 500
            bytes; then it is given up. None for no such limit, beside that of a client which takes nothing.
    """

    def __init__(
        self,
        application: Application,
        *,
        max_body_size: int | None,
        body_timeout: float | None,
        answer_timeout: float | None = None,
    ) -> None:
        self._application = application
        self._max_body_size = math.inf if max_body_size is None else max_body_size
        self._body_timeout = math.inf if body_timeout is None else body_timeout
        self._answer_timeout = answer_timeout

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
            elif raised is not None and raised is not request.refusal:  # the Upgrader has logged a failed 101
                _log.error("%s: the application raised", who, exc_info=raised)
        finally:
            if raised is not None:
                forget_frames(raised)  # this frame has it in a variable, too
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
        body = Input(http, self._max_body_size, self._body_timeout)
        answer = Answer(http, request, body, self._answer_timeout)
        try:
            self._call(_environ(request, body), answer, who)
        except Exception as exc:
            if answer.gone is not None:
                raise copy_of(answer.gone) from None
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
            http.drop_body(DROPPABLE, time.monotonic() + _DROP_TIMEOUT)
        return None

    def _refusal(self, request: Request) -> Response | None:
        """The answer to a request that is not given to the application; None for any other."""
        length = int(request.headers.get("Content-Length", "0"))
        if length > self._max_body_size:
            breaches.add("max_body_size")
            return Response(f"the body has {length} bytes, and {self._max_body_size} are allowed\n", 413)
        # OPTIONS * asks about the server as a whole (RFC 9110 section 9.3.7). No PATH_INFO can say that.
        return Response() if request.path == "*" else None

    def _call(self, environ: Environ, answer: Answer, who: object) -> None:
        result = self._application(environ, answer.start_response)
        check_done("the application", result, may_yield=True)
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


def _environ(request: Request, body: Input) -> Environ:
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


class _ErrorLog(io.TextIOBase):
    """wsgi.errors of a process that has no stderr."""

    def write(self, text: str) -> int:
        for line in filter(str.strip, text.splitlines()):
            _log.error("%s", printable(line.rstrip(), 1000))
        return len(text)


# How it ends


def _close(result: Any, answer: Answer, who: object) -> None:
    """Call the close() of what the application returned. An error is logged: the answer is settled."""
    close = getattr(result, "close", None)
    if close is None:
        return
    try:
        close()
    except Exception:
        _log.exception("%s: %s: close() of what the application returned raised", who, answer.request)


def _answer_failure(exc: Exception, answer: Answer, who: object) -> None:
    """Log why the application failed, and answer with an error if nothing has left yet."""
    response = _failure_response(exc, answer, who)
    if answer.has_begun:
        return
    try:
        _send(answer.http, response)
    except OSError as gone:
        _log.debug("%s: %s", who, printable(gone))


def _failure_response(exc: Exception, answer: Answer, who: object) -> Response:
    """Log why the application failed; the response that says so to the client."""
    what = answer.request
    reason = answer.body.failure or exc
    if isinstance(reason, (BodyError, BadRequest)):
        _log.info("%s: %s: %d %s", who, what, reason.status, printable(reason))
        return Response(f"{reason}\n", reason.status)
    if isinstance(exc, HandshakeError) and isinstance(exc.response, Response):  # the Upgrader has logged it
        return exc.response
    if isinstance(exc, WSGIViolation):
        _log.error("%s: %s: %s", who, what, printable(exc, 500))
    else:
        _log.error("%s: %s: the application raised", who, what, exc_info=exc)
    return Response("Internal Server Error\n", 500)


def _refuse(http: HTTPConnection, response: Response, who: object) -> None:
    if response.status >= 400:
        _log.info("%s: %d %s", who, response.status, printable(response.body.decode().rstrip()))
    _send(http, response)


def _send(http: HTTPConnection, response: Response) -> None:
    http.send_response(response, deadline=time.monotonic() + _REFUSAL_TIMEOUT)
