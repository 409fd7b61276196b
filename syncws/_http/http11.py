"""One HTTP/1.1 connection of a server: a request and its response at a time, over a transport, with h11 as the parser.

    bytes up to the empty line   ->  HeadScreen  ->  h11  ->  Request
    what comes after it          ->  is kept here, until somebody reads the body or takes the connection over

Three rules:

* **h11 sees a head only when it is complete and harmless**: see `head`.
* **One h11 object for each request.** Nothing of one request can leak into the next, and no object is left once a
  WebSocket has taken over. Bytes after a request are kept here in between.
* **In doubt, the connection ends.** A further request is read only if the last one was well formed, read to its end,
  and neither asked for an upgrade nor had a chunked body (h11 takes bare LFs in its trailers, too). `_may_follow` is
  the one place that decides this.

Whatever the peer sends, `HTTPConnection.read_request` and `Request.body` raise nothing but `BadRequest` and OSError.
"""

from __future__ import annotations

import time
from email.utils import formatdate
from typing import Any

import h11

from .._base.printable import printable
from .._net.transport import Transport
from .head import HeadScreen, say_malformed
from .headers import Headers
from .request import BadRequest, Request
from .response import Response

_RECEIVE_SIZE = 16384

#: Bytes of its body with which an answer in pieces leaves at a time.
_SEND_SIZE = 1 << 16

#: Statuses whose answers have no body (RFC 9110 sections 15.3.5 and 15.4.5).
_BODILESS = (204, 304)

#: What may have come although no request has begun: an empty line does not count (RFC 9112 section 2.2).
_NOTHING = (bytearray(), bytearray(b"\r\n"))


class HTTPConnection:
    """The server's side of HTTP on one transport, a request and its response at a time.

    The head of a request is at most max_head bytes long and has at most max_headers headers.

    Concurrency: for one thread at a time.
    """

    __slots__ = (
        "_body",
        "_buffer",
        "_declared",
        "_head",
        "_http",
        "_is_bodiless",
        "_is_head",
        "_last",
        "_max_head",
        "_max_headers",
        "_taken",
        "keep_alive",
        "status",
        "taken_over",
        "transport",
    )

    def __init__(self, transport: Transport, *, max_head: int = 16384, max_headers: int = 128) -> None:
        self.transport = transport
        #: Whether a request may be read. True at first, and after an answer that did not say "close".
        self.keep_alive = True
        #: Of the answer to the last request, once it has begun; 0 before.
        self.status = 0
        #: Whether another protocol has the transport now.
        self.taken_over = False
        self._max_head = max_head
        self._max_headers = max_headers
        self._buffer = bytearray()  # received, not yet given to h11
        self._http: h11.Connection | None = None  # of the request that was read last
        self._last = True  # no further request, even if h11 sees no reason
        self._is_head = False  # that request is a HEAD
        self._declared = 0  # its Content-Length
        self._body = bytearray()  # what read_body has read
        self._taken = 0  # how many bytes of its body were read, by either way
        self._head = b""  # of an answer in pieces, as long as it has not left
        self._is_bodiless = False  # the answer has a head only

    def read_request(self, deadline: float | None) -> Request | None:
        """The next request, once its head is complete.

        None: there is nobody to answer. The peer closed before it began a request, or began none until the deadline
        (an instant of time.monotonic(), for the whole head), or `keep_alive` does not allow another one. Raises
        BadRequest, 408 when the deadline cuts a head short, and OSError; then nothing but an answer may follow.
        """
        self._check_not_taken_over()
        if not self.keep_alive:
            return None
        self.keep_alive = False
        self._last = True
        self.status = 0
        self._is_head = False
        self._body = bytearray()
        self._taken = 0
        self._http = h11.Connection(h11.SERVER, max_incomplete_event_size=self._max_head)
        head = self._receive_head(deadline)
        if head is None:
            return None
        self._http.receive_data(head)
        event = self._next_event()
        assert isinstance(event, h11.Request)  # a whole head is nothing else, or an error
        self._is_head = event.method == b"HEAD"
        return self._make_request(event)

    def make_last(self) -> None:
        """No request follows the one that was read last: its answer says so."""
        self._last = True

    @property
    def has_begun(self) -> bool:
        """Whether a part of a head has come that is not complete yet."""
        return self._buffer not in _NOTHING

    # The body of a request: what is read of it, by either way, is read once

    def read_body(self, limit: int, deadline: float | None) -> bytes:
        """The whole body of the last request; see `Request.body`. b"" once the connection is taken over.

        What has been read is kept, and given again.
        """
        if self._http is None:
            return b""
        if self._declared > limit:
            raise BadRequest(413, f"the body has {self._declared} bytes, and {limit} are allowed")
        while len(self._body) <= limit and (piece := self.read_body_piece(deadline)):
            self._body += piece
        if len(self._body) > limit:
            raise BadRequest(413, f"the body has more than {limit} bytes")
        return bytes(self._body)

    def read_body_piece(self, deadline: float | None) -> bytes:
        """What comes next of the last request's body; b"" at its end, and once the connection is taken over.

        Nothing of it is kept. Raises BadRequest as `Request.body` does.
        """
        while self._http is not None and self._http.their_state is h11.SEND_BODY:
            event = self._next_event()
            if isinstance(event, h11.Data):
                return bytes(event.data)
            if event is h11.NEED_DATA:
                self._feed_body(deadline)
        if self._http is not None and self._http.their_state is h11.ERROR:
            raise BadRequest(400, "the body is malformed")
        return b""

    # The answer: whole, or in pieces

    def send_response(self, response: Response, *, deadline: float | None) -> None:
        """Send the one answer to the last request, or to what `read_request` refused; then `keep_alive` is decided.

        The answer to a HEAD, a 204 and a 304 go without body. A body of the request that has not come whole is not
        waited for: no further request is read then. Raises WriteTimeout and OSError, after which the connection is good
        for nothing, and RuntimeError if there is nothing to answer (any more).
        """
        headers = list(response.headers)
        if response.status not in _BODILESS:
            headers.append(("Content-Length", str(len(response.body))))
        head = self._begin_answer(response.status, response.reason, headers, 0)
        # h11 has the length from the head, and need not count the body.
        self.transport.send(head, b"" if self._is_bodiless else response.body, deadline=deadline)
        self.drop_body(0, None)

    def begin_response(self, status: int, reason: str, headers: Headers, *, droppable: float) -> None:
        """Begin the one answer to the last request, in pieces. For a HEAD, a 204 and a 304 it is all.

        `send_data`, `end_response` and `drop_body` go on with it. The head leaves with the first bytes of the body, or
        at the end. Without a Content-Length the body is chunked, or to HTTP/1.0 ends with the connection. droppable is
        how many bytes of the request's body may be awaited and dropped at the end, math.inf if somebody still reads
        it: with more to come the answer says that the connection will end. Raises RuntimeError if there is nothing to
        answer (any more).
        """
        self._head = self._begin_answer(status, reason, list(headers), droppable)

    def send_data(self, data: bytes, *, stall: float | None) -> None:
        """Send a piece of the answer's body at once; nothing if it has none.

        Raises OSError, also when the peer takes nothing for stall seconds; the connection is good for nothing then.
        """
        assert self._http is not None
        view = memoryview(b"" if self._is_bodiless else data)
        for start in range(0, len(view), _SEND_SIZE):  # so that no large block is copied as a whole
            parts = self._http.send_with_data_passthrough(h11.Data(data=view[start : start + _SEND_SIZE]))  # type: ignore[arg-type]
            head, self._head = self._head, b""
            self.transport.send(b"".join([head, *(parts or ())]), stall=stall)

    def end_response(self, *, stall: float | None) -> None:
        """Send what ends the answer, and the head if that is still here. Raises OSError.

        Only for one that has all the bytes its Content-Length says. `keep_alive` is decided by `drop_body`.
        """
        assert self._http is not None
        end = b"" if self._is_bodiless else self._http.send(h11.EndOfMessage())
        head, self._head = self._head, b""
        if head or end:
            self.transport.send(head + end, stall=stall)

    def drop_body(self, droppable: int, deadline: float | None) -> None:
        """Once the answer has left, drop what nobody has read of the request's body, and decide `keep_alive`.

        A further request may be read if at most droppable bytes had yet to come, and came until the deadline.
        """
        if not self._may_follow(droppable):
            return
        try:
            while self.read_body_piece(deadline):
                pass
        except BadRequest:
            return
        # "Connection: close" leaves the request in MUST_CLOSE. h11 says so only at the end of the body.
        self.keep_alive = self._http is not None and self._http.their_state is h11.DONE

    def _may_follow(self, droppable: float) -> bool:
        """Whether a further request may follow the last one, if what has yet to come of its body comes.

        It is asked before the head of the answer leaves, which says "close" if not, and again when the answer has left:
        by then more of the body may have come.
        """
        assert self._http is not None
        if self._last:
            return False
        if self._http.their_state is not h11.SEND_BODY:
            # An upgrade that was asked for leaves it in MIGHT_SWITCH_PROTOCOL, "Connection: close" in MUST_CLOSE.
            return self._http.their_state is h11.DONE
        here = len(self._http.trailing_data[0]) + len(self._buffer)
        to_come = self._declared - self._taken - here
        if to_come <= 0:
            return True
        # Whoever waits for consent and gets an answer instead may send the body, or not.
        return to_come <= droppable and not self._http.they_are_waiting_for_100_continue

    def take_over(self) -> tuple[Transport, bytes]:
        """Leave HTTP: the transport, and whatever the peer sent after the request (gorilla's Hijack).

        From now on the transport is the caller's, nothing here touches it. Raises RuntimeError the second time.
        """
        self._check_not_taken_over()
        leftover = bytes(self._buffer)
        if self._http is not None and self._http.their_state is h11.SEND_BODY:
            leftover = self._http.trailing_data[0] + leftover  # of a body that was read in part
        self.taken_over = True
        self.keep_alive = False
        self._http = None
        self._buffer = self._body = bytearray()
        return self.transport, leftover

    def _check_not_taken_over(self) -> None:
        if self.taken_over:
            raise RuntimeError("the connection was taken over by another protocol")

    # Reading

    def _receive_head(self, deadline: float | None) -> bytes | None:
        """The bytes of a complete head that may be given to h11; None if the stream ends before a head begins."""
        screen = HeadScreen(self._max_head, self._max_headers)
        while (end := screen.find_end(self._buffer)) is None:
            data = self._receive(deadline)
            if data:
                self._buffer += data
            elif self._buffer in _NOTHING:
                return None
            elif data is None:
                raise _too_slow()
            else:
                raise BadRequest(400, "the connection ended in the middle of a request")
        head = bytes(self._buffer[:end])
        del self._buffer[:end]
        return head.removeprefix(b"\r\n")

    def _receive(self, deadline: float | None) -> bytes | None:
        """What the peer sends next; b"" at the end of the stream; None when the deadline has passed. Raises OSError."""
        while True:
            wait = None if deadline is None else deadline - time.monotonic()
            if wait is not None and wait <= 0:
                return None
            data = self.transport.receive(_RECEIVE_SIZE, wait)
            if data is not None:
                return data

    def _make_request(self, event: h11.Request) -> Request:
        """Make our Request of h11's. Raises BadRequest for one that is not served."""
        version = event.http_version.decode()
        if version not in ("1.0", "1.1"):
            raise BadRequest(505, "only HTTP/1.1 and HTTP/1.0 are spoken here")
        if event.method == b"CONNECT":
            raise BadRequest(501, "this is not a proxy")
        headers = Headers([(_name(name), _value(value)) for name, value in event.headers.raw_items()])
        chunked = "Transfer-Encoding" in headers
        if chunked and version == "1.0":
            raise BadRequest(400, "Transfer-Encoding in HTTP/1.0")  # RFC 9112 section 6.1
        try:
            request = Request(
                event.method.decode(),
                event.target.decode(),
                headers,
                http_version=version,
                scheme="https" if self.transport.is_tls else "http",
                remote_address=self.transport.remote_address,
                local_address=self.transport.local_address,
                exchange=self,
            )
        except ValueError as error:
            raise BadRequest(400, str(error)) from None
        self._declared = int(headers.get("Content-Length", "0"))
        self._last = chunked or "Upgrade" in headers
        return request

    def _next_event(self) -> Any:
        """h11's next event. At the end of a request, what h11 has received after it goes back into the buffer."""
        assert self._http is not None
        try:
            event = self._http.next_event()
        except h11.RemoteProtocolError as error:
            raise BadRequest(error.error_status_hint, say_malformed(error)) from None
        if isinstance(event, h11.Data):
            self._taken += len(event.data)
        elif isinstance(event, h11.EndOfMessage):
            self._buffer[:0] = self._http.trailing_data[0]
        return event

    def _feed_body(self, deadline: float | None) -> None:
        """Give h11 the bytes that are here, or else those that the peer sends next. It may wait for our 100 first."""
        assert self._http is not None
        try:
            if not self._buffer and self._http.they_are_waiting_for_100_continue:
                consent = h11.InformationalResponse(status_code=100, headers=[], reason="Continue")
                self.transport.send(self._http.send(consent), deadline=deadline)
            data = bytes(self._buffer) or self._receive(deadline)
        except OSError as error:  # the peer's doing: an OSError that leaves a handler would look like its own
            raise BadRequest(400, f"the connection was lost in the middle of a body: {printable(error)}") from error
        if data is None:
            raise _too_slow()
        self._buffer.clear()
        self._http.receive_data(data)

    # Writing

    def _begin_answer(self, status: int, reason: str, headers: list[tuple[str, str]], droppable: float) -> bytes:
        """The head of an answer. From here on it is settled whether the connection ends after it."""
        if self._http is None or self._http.our_state not in (h11.IDLE, h11.SEND_RESPONSE):
            raise RuntimeError("there is no request to answer")
        self._last = not self._may_follow(droppable)
        self.status = status
        self._is_bodiless = self._is_head or status in _BODILESS
        names = {name.lower() for name, _ in headers}
        if "date" not in names:
            headers.insert(0, ("Date", formatdate(usegmt=True)))
        options = ["Upgrade"] if "upgrade" in names else []
        if self._last:
            options.append("close")
        if options:
            headers.append(("Connection", ", ".join(options)))
        return self._http.send(_h11_response(status, reason, headers))


#: What every handshake has in its head: one str each for all requests that are kept.
_USUAL = {
    each.encode(): each
    for each in (
        *("Host", "Connection", "Upgrade", "Origin", "User-Agent", "Accept-Encoding", "Accept-Language", "Cookie"),
        *("Pragma", "Cache-Control", "Sec-WebSocket-Key", "Sec-WebSocket-Version", "Sec-WebSocket-Extensions"),
        *("Sec-WebSocket-Protocol", "websocket", "13", "no-cache", "gzip, deflate, br", "gzip, deflate, br, zstd"),
        *("permessage-deflate; client_max_window_bits", "keep-alive, Upgrade"),
    )
}


def _name(name: bytes) -> str:
    return _USUAL.get(name) or name.decode()


def _value(value: bytes) -> str:
    return _USUAL.get(value) or value.decode("latin-1")


def _h11_response(status: int, reason: str, headers: list[tuple[str, str]]) -> h11.Response:
    return h11.Response(
        status_code=status,
        headers=[(name.encode("latin-1"), value.encode("latin-1")) for name, value in headers],
        reason=reason.encode("latin-1"),
    )


def _too_slow() -> BadRequest:
    return BadRequest(408, "the request took too long")
