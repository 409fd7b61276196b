"""wsgi.input: the body of a request, as it arrives, within its limits."""

from __future__ import annotations

import io
import math
import time
from http import HTTPStatus
from typing import Any

from .._base.copies import copy_of
from .._base.counters import breaches
from .._http.http11 import HTTPConnection
from .._http.request import BadRequest

#: A client that sends a body, or takes an answer, gets a second for so many bytes, and the timeout on top (Apache's
#: mod_reqtimeout).
MIN_RATE = 500

#: Of a body that nobody has read so many bytes may have yet to come: they are dropped, and the connection is kept.
DROPPABLE = 1 << 16


class BodyError(OSError):
    """Reading wsgi.input failed: ``status`` is what the client is answered, ``str()`` says why.

    413 the body is too large, 408 it comes too slowly, 400 it is malformed or the connection was lost. An application
    may let it escape.
    """

    def __init__(self, status: int, message: str) -> None:
        super().__init__(message)
        self.status = status


class Input(io.RawIOBase):
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
            raise copy_of(self.failure)  # the application may read in a thread of its own
        if self._http is None:
            return b""
        try:
            piece = self._receive(self._http)
        except BadRequest as exc:
            if exc.status == HTTPStatus.REQUEST_TIMEOUT:
                breaches.add("body_timeout")
            self.failure = BodyError(exc.status, str(exc))
            raise copy_of(self.failure) from exc.__cause__
        return piece

    def _receive(self, http: HTTPConnection) -> bytes:
        began = time.monotonic()
        # Two limits: of one silence, and of the rate on the whole, since a client that sends a byte now and then would
        # hold this thread for days.
        patience = min(self._timeout, self._timeout + self._size / MIN_RATE - self._waited)
        piece = http.read_body_piece(None if patience == math.inf else began + patience)
        self._waited += time.monotonic() - began
        self._size += len(piece)
        if self._size > self._limit:
            breaches.add("max_body_size")
            raise BadRequest(413, f"the body has more than {self._limit} bytes")
        return piece
