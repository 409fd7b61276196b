"""The client's side of one HTTP/1.1 exchange over a transport, with h11 as the parser: a request, and its answer.

A client here sends only two kinds of request: the handshake of a WebSocket, and CONNECT to a proxy. Both ask for the
stream to become something else. So an answer either says yes, and the bytes after it belong to what comes next; or it
is a refusal with a body, whose beginning is worth showing.
"""

from __future__ import annotations

import time
from collections.abc import Iterable
from http import HTTPStatus

import h11

from .._net.attempt import Attempt
from .._net.transport import Transport
from ..errors import WriteTimeout
from .coding import decode
from .head import say_malformed
from .headers import Headers

#: Bytes of a refusal's body that are kept (as many as gorilla keeps), and seconds for which they are waited for.
BODY_LIMIT = 1024
_BODY_TIMEOUT = 1.0

#: Bytes that an answer's head may have. Many clients take more than 64 KiB; no server of WebSocket sends as much.
_HEAD_LIMIT = 1 << 16

#: Interim answers (1xx) that may come first. RFC 9110 section 15.2 allows any number; nobody sends more than two.
_INTERIM_LIMIT = 16

_RECEIVE_SIZE = 4096

#: How an answer begins (RFC 9112 section 4).
_BEGINNING = b"HTTP/"

#: Bytes of what is no answer that the error shows: enough to tell what speaks there, such as SSH or Redis.
_MOST_SHOWN = 40

_REASONS = {status.value: status.phrase for status in HTTPStatus}


class ReceivedResponse:
    """A server's answer to a handshake (RFC 9112 section 4); what gorilla's Dial returns beside the connection.

    * ``status``, ``http_version`` ("1.1"); ``reason``: in the server's words, or HTTP's own if it used none;
    * ``headers``: see `Headers`; values are decoded as Latin-1;
    * ``body``: of a refusal's at most the first 1024 bytes, and less if more did not come within a second; b"" for a
      101. Of one that is gzip or deflate it is what these become, at most 4096 bytes;
    * ``coding``: what the body is still encoded with, such as "br"; "" for a body that can be read.

    Immutable, so any thread may use it.
    """

    __slots__ = ("body", "coding", "headers", "http_version", "reason", "status")

    def __init__(
        self, status: int, reason: str, headers: Headers, body: bytes = b"", http_version: str = "1.1"
    ) -> None:
        self.status = status
        self.reason = reason or _REASONS.get(status, "")
        self.headers = headers
        self.body, self.coding = decode(body, headers.get_all("Content-Encoding"))
        self.http_version = http_version

    def __str__(self) -> str:
        """Status and reason, such as "403 Forbidden". The reason is cut to what is fit for a log."""
        return f"{self.status} {''.join(filter(str.isprintable, self.reason))[:200]}".strip()

    def __repr__(self) -> str:
        return f"<ReceivedResponse {self}, {len(self.body)} bytes>"


class BadAnswer(Exception):
    """What came is no HTTP answer, or nothing came; the text says what did. It never leaves the library.

    ``cut``: the connection ended where an answer could have begun or gone on, so the next attempt may get one.
    """

    def __init__(self, message: str, *, cut: bool = False) -> None:
        super().__init__(message)
        self.cut = cut


class Exchange:
    """One request and its answer over a transport.

    received is what has come already. A second answer is not read: after `ask` the transport is the caller's again, and
    `trailing` is what came after the answer. For one thread.
    """

    def __init__(self, transport: Transport, attempt: Attempt, received: bytes = b"") -> None:
        self._transport = transport
        self._attempt = attempt
        self._http = h11.Connection(h11.CLIENT, max_incomplete_event_size=_HEAD_LIMIT)
        self._received = received
        self._beginning = b""  # of the answer, for an error
        self._ended = False  # the end of the stream has come

    def ask(self, method: str, target: str, headers: Iterable[tuple[str, str]]) -> ReceivedResponse:
        """Send a request, which has no body, and read its answer.

        Raises BadAnswer, TimeoutError, OSError, and the attempt's Stopped.
        """
        request = h11.Request(
            method=method,
            target=target,
            headers=[(name.encode("latin-1"), value.encode("latin-1")) for name, value in headers],
        )
        head = self._http.send(request) + self._http.send(h11.EndOfMessage())
        self._attempt.remaining("sending the request")
        try:
            self._transport.send(head, deadline=self._attempt.deadline)
        except WriteTimeout:
            self._attempt.remaining("sending the request")
            raise
        answer = self._read_head()
        body = b"" if self._switched else self._read_body()
        return ReceivedResponse(
            answer.status_code,
            answer.reason.decode("latin-1"),
            Headers([(name.decode(), value.decode("latin-1")) for name, value in answer.headers.raw_items()]),
            body,
            answer.http_version.decode(),
        )

    @property
    def heard(self) -> bool:
        """Whether any byte of an answer came."""
        return bool(self._beginning)

    @property
    def trailing(self) -> bytes:
        """What came after an answer that said yes."""
        return self._http.trailing_data[0] if self._switched else b""

    @property
    def _switched(self) -> bool:
        return self._http.their_state is h11.SWITCHED_PROTOCOL

    def _read_head(self) -> h11.Response | h11.InformationalResponse:
        for _ in range(_INTERIM_LIMIT):
            event = self._next_event()
            if isinstance(event, h11.Response) or (
                isinstance(event, h11.InformationalResponse) and event.status_code == HTTPStatus.SWITCHING_PROTOCOLS
            ):
                return event
        raise BadAnswer(f"{_INTERIM_LIMIT} interim answers came (status 1xx), and no other")

    def _next_event(self) -> h11.Event:
        try:
            while (event := self._http.next_event()) is h11.NEED_DATA:
                data, self._received = self._received or self._receive(), b""
                self._beginning = (self._beginning + data)[:_MOST_SHOWN]
                self._ended = not data
                self._http.receive_data(data)
        except h11.RemoteProtocolError as error:
            cut = self._ended and self._begins_as_http
            raise BadAnswer(self._say_what_came(error), cut=cut) from None
        assert isinstance(event, h11.Event)
        return event

    @property
    def _begins_as_http(self) -> bool:
        """Whether what has come is the beginning of an answer, as far as it goes."""
        return _BEGINNING.startswith(self._beginning[: len(_BEGINNING)])

    def _say_what_came(self, error: h11.RemoteProtocolError) -> str:
        """What came in place of an answer: the two commonest cases in words of their own, else what h11 says."""
        if not self.heard:
            return "it closed the connection without an answer"
        if self._beginning[:2] == b"\x15\x03":  # an alert (RFC 8446 section 6), in answer to our plain text
            return "it speaks TLS, and was spoken to without"
        # A status line is shown, as it tells what speaks there, and holds no secret. A header's value may be one.
        if "status line" in str(error):
            told = str(error).replace("bytearray(b", "b").removesuffix(")")[:200]
        elif not self._begins_as_http:
            told = f"it begins with {self._beginning!r}"
        else:
            told = say_malformed(error)
        return f"its answer is not HTTP ({told})"

    def _receive(self) -> bytes:
        """What comes next; b"" at the end of the stream. Raises TimeoutError."""
        while True:
            data = self._transport.receive(_RECEIVE_SIZE, self._attempt.remaining("waiting for the answer"))
            if data is not None:
                return data

    def _read_body(self) -> bytes:
        """The beginning of a body; if it fails or takes too long, what has come of it by then."""
        body = b""
        until = time.monotonic() + _BODY_TIMEOUT
        if self._attempt.deadline is not None:
            until = min(until, self._attempt.deadline)
        try:
            while len(body) < BODY_LIMIT:
                event = self._http.next_event()
                if isinstance(event, h11.Data):
                    body += event.data
                elif event is h11.NEED_DATA:
                    wait = until - time.monotonic()
                    data = self._transport.receive(_RECEIVE_SIZE, wait) if wait > 0 else None
                    if data is None:
                        break
                    self._http.receive_data(data)
                else:
                    break
        except (h11.RemoteProtocolError, OSError):  # the head has told what matters
            pass
        return body[:BODY_LIMIT]
