"""The answer to a client's handshake: as h11 alone has it, and whether it opens a WebSocket.

Oracles: h11, `websockets` for heads and for the handshake; the same bytes in other pieces.
"""

from __future__ import annotations

from collections.abc import Hashable, Sequence
from random import Random
from typing import Any, ClassVar, NamedTuple

import h11
from websockets.client import ClientProtocol
from websockets.exceptions import InvalidHandshake
from websockets.extensions.permessage_deflate import ClientPerMessageDeflateFactory
from websockets.http11 import Response as TheirResponse
from websockets.uri import WebSocketURI

from syncws._client.answer import check_answer
from syncws._client.redirects import _location, say_location
from syncws._frames.agreement import Terms
from syncws._http.handshake import accept_for
from syncws._http.headers import Headers
from syncws._http.httpclient import BadAnswer, Exchange, ReceivedResponse
from syncws._http.url import parse_server_url
from syncws._net.attempt import Attempt
from syncws.errors import HandshakeError

from .harness import Difference, Finding, Harness, must_be_equal, one_by_one, pieces, shortened
from .http import KEY, WORDS, Lines, Scripted, fields, head, parsed

_SERVER = parse_server_url("ws://example.com/")
_URI = WebSocketURI(False, "example.com", 80, "/", "")
_ASKED = Headers(
    [
        *(("Host", "example.com"), ("Connection", "Upgrade"), ("Upgrade", "websocket"), ("Sec-WebSocket-Key", KEY)),
        *(("Sec-WebSocket-Version", "13"), ("Sec-WebSocket-Protocol", "chat, v2")),
    ]
)

_USUAL = {"Upgrade": "websocket", "Connection": "Upgrade", "Sec-WebSocket-Accept": accept_for(KEY)}

_GOOD = b"HTTP/1.1 101 Switching Protocols\r\n" + b"".join(
    f"{name}: {value}\r\n".encode() for name, value in _USUAL.items()
)


class Came(NamedTuple):
    """What a client makes of a stream."""

    refused: str  # what is wrong with it as HTTP; "" for an answer
    status: int = 0
    reason: str = ""
    headers: tuple[tuple[str, str], ...] = ()
    body: bytes = b""
    version: str = ""
    trailing: bytes = b""


def asked(chunks: Sequence[bytes], method: str = "GET", target: str = "/") -> tuple[Came, ReceivedResponse | None]:
    """The answer to a request, and all that comes after it."""
    transport = Scripted(chunks)
    exchange = Exchange(transport, Attempt(None))  # type: ignore[arg-type]
    try:
        response = exchange.ask(method, target, _ASKED)
    except BadAnswer as error:
        if not str(error).isprintable():
            raise Finding("an error that is no line", repr(str(error))) from None
        return Came(str(error)), None
    if not (str(response) + repr(response)).isprintable():
        raise Finding("an answer that is no line", repr(response))
    rest = exchange.trailing + transport.rest if exchange.trailing or response.status == 101 else b""
    headers = tuple(response.headers)
    told = Came("", response.status, response.reason, headers, response.body, response.http_version, rest)
    return told, response


class Answers(Harness):
    """Answers to a client's handshake."""

    name = "answers"
    words = (*WORDS, b"HTTP/1.1 101 ", b"HTTP/1.1 100 Continue\r\n\r\n", b"gzip", b"Location: ", b"permessage-deflate")
    seeds = (
        _GOOD + b"\r\n\x81\x02hi",
        _GOOD + b"Sec-WebSocket-Protocol: chat\r\n\r\n",
        _GOOD + b"Sec-WebSocket-Extensions: permessage-deflate; server_no_context_takeover\r\n\r\n",
        b"HTTP/1.1 100 Continue\r\n\r\n" + _GOOD + b"\r\n",
        b"HTTP/1.1 403 No\r\nContent-Length: 3\r\nContent-Type: text/plain\r\n\r\nbad",
        b"HTTP/1.1 302 Found\r\nLocation: //b/c?d\r\nTransfer-Encoding: chunked\r\n\r\n3\r\nabc\r\n0\r\n\r\n",
        b"HTTP/1.0 200 OK\r\n\r\nbody",
        b"\x15\x03\x01\x00\x02\x02\x46",
        b"SSH-2.0-OpenSSH_9.2\r\n",
    )
    differences: ClassVar = {
        "several protocols": Difference(
            "websockets refuses Upgrade with more than one protocol",
            "takes websocket among others",
            "RFC 9110 7.8: a list",
            _GOOD.replace(b"websocket", b"websocket, h2c") + b"\r\n",
        ),
        "malformed lists": Difference(
            "websockets refuses any malformed list",
            "takes the elements before what is malformed, and refuses where none of them is good",
            "as gorilla: see the harness of lists",
            _GOOD.replace(b": Upgrade", b": Upgrade, a b") + b"\r\n",
        ),
        "client window of 8": Difference(
            "websockets refuses it",
            "agrees, and sends what it sends uncompressed",
            "RFC 7692 7.1.2.2: a client need not compress",
            _GOOD
            + b"Sec-WebSocket-Extensions: permessage-deflate; server_no_context_takeover; "
            + b"client_max_window_bits=8\r\n\r\n",
        ),
        "a server that keeps its context": Difference(
            "websockets refuses an answer without server_no_context_takeover, which was asked for",
            "keeps a window for it",
            "Tornado drops parameters that have no value, and keeps its context",
            _GOOD + b"Sec-WebSocket-Extensions: permessage-deflate\r\n\r\n",
        ),
        "accept twice": Difference(
            "websockets refuses two lines of Sec-WebSocket-Accept",
            "looks at the first",
            "the second says nothing more",
            _GOOD + b"Sec-WebSocket-Accept: b\r\n\r\n",
        ),
        "interim answers": Difference(
            "websockets takes the first answer, whatever its status",
            "passes over those of 1xx that are no 101, up to 16",
            "RFC 9110 15.2: a client MUST be able to read them",
            b"HTTP/1.1 100 Continue\r\n\r\n" + _GOOD + b"\r\n",
        ),
        "heads": Difference(
            "websockets refuses a bare LF or a folded header, control characters in values and more than 128 headers",
            "leaves answers to h11, which takes these",
            "nobody smuggles answers to a client that asks for one thing",
            _GOOD + b"a: b\n\r\n",
        ),
    }

    def make(self, rng: Random) -> bytes:
        stream = b"HTTP/1.1 100 Continue\r\n\r\n" * rng.choice((0,) * 12 + (1, 2, 17))
        status = rng.choice((101, 101, 101, 101, 200, 204, 302, 307, 403, 407, 426, 503, 99, 999, 1000, "2\u00b20"))
        version = rng.choice(("HTTP/1.1",) * 12 + ("HTTP/1.0", "HTTP/2", "ICY", "http/1.1"))
        reason = rng.choice((" Switching Protocols", " ", "", " \u00e9", " No", " a\tb"))
        usual = dict(_USUAL) if status == 101 else {"Content-Type": "text/plain"}
        if rng.random() < 0.3:
            usual["Sec-WebSocket-Protocol"] = rng.choice(("chat", "v2", "other", "", "chat, v2", "Chat"))
        if rng.random() < 0.3:
            usual["Sec-WebSocket-Extensions"] = rng.choice(_EXTENSIONS)
        if rng.random() < 0.2:
            usual["Location"] = rng.choice(
                ("/a", "//b", "http://c/d", "wss://e", "ftp://f", "\u00c3\u00a9", "http://[", "")
            )
        body = b""
        if status != 101 or rng.random() < 0.1:
            body = rng.choice((b"", b"abc", b"3\r\nabc\r\n0\r\n\r\n", b"x" * 3000, b"zz\r\n"))
            usual |= rng.choice(({}, {"Content-Length": str(len(body))}, {"Transfer-Encoding": "chunked"}))
        elif rng.random() < 0.3:
            body = b"\x81\x02hi"
        stream += head(rng, f"{version} {status}{reason}", fields(rng, usual)) + body
        return stream[: rng.randrange(len(stream) + 1)] if rng.random() < 0.08 else stream

    def check(self, data: bytes) -> Hashable:
        ours, response = asked([data])
        cuts = [("in random pieces", pieces(data)), ("otherwise", pieces(data, 1))]
        if len(data) <= 250:
            cuts.append(("one by one", one_by_one(data)))
        for name, cut in cuts:
            again = asked(cut)[0]
            if ours.refused and again.refused:  # in which words depends on what has come by then
                continue
            must_be_equal(f"other when cut {name}", again, ours)
        self._compare_with_h11(data, ours)
        opened = "" if response is None else self._compare_with_websockets(data, response)
        if response is not None:
            self._follow(response)
        return ours.refused[:20], ours.status, ours.version, opened[:30], len(ours.body) % 5, len(ours.headers)

    def _compare_with_h11(self, data: bytes, ours: Came) -> None:
        connection = h11.Connection(h11.CLIENT, max_incomplete_event_size=1 << 16)
        connection.send(h11.Request(method="GET", target="/", headers=list(_ASKED)))
        connection.send(h11.EndOfMessage())
        connection.receive_data(data)
        interim = 0
        try:
            event = connection.next_event()
            while isinstance(event, h11.InformationalResponse) and event.status_code != 101 and interim < 16:
                interim += 1
                event = connection.next_event()
            if event is h11.NEED_DATA:
                connection.receive_data(b"")
                event = connection.next_event()
        except h11.RemoteProtocolError as error:
            if not ours.refused:
                raise Finding("taken, and refused by h11", f"{shortened(ours)}: {error}") from None
            return
        if interim >= 16 or not isinstance(event, h11.Response | h11.InformationalResponse):
            if not ours.refused:
                raise Finding("taken, and h11 has none", f"{shortened(ours)}: {event!r}")
            return
        must_be_equal("refused, and taken by h11", ours.refused, "")
        must_be_equal("another status", ours.status, event.status_code)
        headers = tuple((name.decode(), value.decode("latin-1")) for name, value in event.headers.raw_items())
        must_be_equal("other headers", ours.headers, headers)
        if ours.status == 101:
            must_be_equal("another rest", ours.trailing, connection.trailing_data[0])

    def _compare_with_websockets(self, data: bytes, response: ReceivedResponse) -> str:
        """Whether the answer opens a WebSocket, and with what; why not, else ""."""
        refusal = ""
        agreed: tuple[str | None, Any] = (None, None)
        try:
            agreed = check_answer(_SERVER, _ASKED, response, terms=Terms())
        except HandshakeError as error:
            refusal = str(error)
            if not refusal.isprintable():
                raise Finding("a refusal that is no line", repr(refusal)) from None
        lines = Lines(data)
        theirs = parsed(TheirResponse.parse, lines.read_line, lines.read_exact, lines.read_to_eof)
        if not isinstance(theirs, TheirResponse):
            if not refusal and not self._is_read_on_purpose(data, theirs):
                raise Finding("opened, and not read by websockets", f"{response!r}: {theirs!r}")
            return refusal
        protocol = ClientProtocol(
            _URI,
            subprotocols=["chat", "v2"],  # type: ignore[list-item]
            extensions=[ClientPerMessageDeflateFactory(True, True, None, True)],
        )
        protocol.key = KEY
        try:
            protocol.process_response(theirs)
        except InvalidHandshake as error:
            if not refusal and not self._is_taken_on_purpose(response, error):
                raise Finding(
                    "opened, and refused by websockets", f"{response!r}, {tuple(response.headers)}: {error}"
                ) from None
            return refusal
        must_be_equal("refused, and opened by websockets", refusal, "")
        must_be_equal("another subprotocol", agreed[0], protocol.subprotocol)
        must_be_equal("compression or none", agreed[1] is not None, bool(protocol.extensions))
        return refusal

    def _is_read_on_purpose(self, data: bytes, error: Exception) -> bool:
        told = f"{type(error).__name__}: {error}"
        if data.count(b"HTTP/1.") > 1 and self.differs("interim answers"):
            return True
        named = ("without CRLF", "EOFError", "invalid HTTP header", "TooLong", "TooMany", "reason", "status")
        return self.differs("heads") and any(each in told for each in named)

    def _is_taken_on_purpose(self, response: ReceivedResponse, error: InvalidHandshake) -> bool:
        told = f"{type(error).__name__}: {error}"
        headers = response.headers
        if "InvalidStatus" in told and self.differs("interim answers"):
            return True
        if "InvalidHeaderFormat" in told and self.differs("malformed lists"):
            return True
        if "Upgrade" in told and "," in ",".join(headers.get_all("Upgrade")) and self.differs("several protocols"):
            return True
        if "Accept" in told and len(headers.get_all("Sec-WebSocket-Accept")) > 1 and self.differs("accept twice"):
            return True
        extensions = ", ".join(headers.get_all("Sec-WebSocket-Extensions"))
        if "NegotiationError" in told and "server_no_context_takeover" not in extensions:
            return self.differs("a server that keeps its context")
        return "NegotiationError" in told and "'8'" in told and self.differs("client window of 8")

    def _follow(self, response: ReceivedResponse) -> None:
        """Where a redirect leads is a place, or a ValueError."""
        if not say_location(response).isprintable():
            raise Finding("a place that is no line", repr(say_location(response)))
        try:
            place = _location(_SERVER, response)
        except ValueError as error:
            if not str(error).isprintable():
                raise Finding("an error that is no line", repr(str(error))) from None
        else:
            must_be_equal("credentials of a redirect", place.credentials, None)


_EXTENSIONS = (
    *("permessage-deflate; server_no_context_takeover", "permessage-deflate", "", "x-webkit-deflate-frame"),
    *("permessage-deflate; server_no_context_takeover; client_no_context_takeover; client_max_window_bits=12",),
    *("permessage-deflate; server_no_context_takeover; client_max_window_bits=8", "a b", "permessage-deflate; x=y"),
)
