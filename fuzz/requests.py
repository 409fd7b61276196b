"""The head of a request, and what follows it: as a server reads them, and whether it is a WebSocket's handshake.

Oracles: h11 alone, and `websockets` for heads and for the handshake; the same bytes in other pieces.
"""

from __future__ import annotations

import re
from collections.abc import Hashable, Sequence
from random import Random
from typing import Any, ClassVar, NamedTuple

import h11
from websockets.datastructures import Headers as TheirHeaders
from websockets.exceptions import InvalidHandshake
from websockets.extensions.permessage_deflate import ServerPerMessageDeflateFactory
from websockets.http11 import Request as TheirRequest
from websockets.server import ServerProtocol
from websockets.typing import Subprotocol

from syncws._http.http11 import HTTPConnection
from syncws._http.request import BadRequest, Request
from syncws._http.response import Response
from syncws._server.upgrader import Upgrader
from syncws.errors import HandshakeError

from .harness import Difference, Finding, Harness, must_be_equal, one_by_one, pieces, shortened
from .http import KEY, WORDS, Lines, Scripted, fields, head, parsed

_MAX_HEAD = 16384
_MAX_HEADERS = 128

#: Any origin: what `websockets` is not asked for is looked at by another harness.
_UPGRADER = Upgrader(subprotocols=["chat", "v2"], enable_compression=True, allowed_origins=["*"])

_USUAL = {
    "Host": "example.com",
    "Connection": "Upgrade",
    "Upgrade": "websocket",
    "Sec-WebSocket-Version": "13",
    "Sec-WebSocket-Key": KEY,
}

_GOOD = b"GET / HTTP/1.1\r\n" + b"".join(f"{name}: {value}\r\n".encode() for name, value in _USUAL.items())


class Answer(NamedTuple):
    """What a server made of a stream: one of these for each request."""

    status: int  # of the refusal; 0: it was served
    said: str = ""
    method: str = ""
    target: str = ""
    version: str = ""
    headers: tuple[tuple[str, str], ...] = ()
    body: bytes = b""
    rest: bytes = b""  # what came after it


def served(chunks: Sequence[bytes], most: int = 3) -> list[Answer]:
    """What comes of a stream, as a server of HTTP has it."""
    transport = Scripted(chunks)
    connection = HTTPConnection(transport, max_head=_MAX_HEAD, max_headers=_MAX_HEADERS)  # type: ignore[arg-type]
    found: list[Answer] = []
    while len(found) < most:
        try:
            request = connection.read_request(None)
            if request is None:
                break
            answer = Answer(
                *(0, "", request.method, request.target, request.http_version),
                headers=tuple(request.headers),
            )
            _look_at(request)
            found.append(answer._replace(body=request.body()))
            connection.send_response(Response(b"ok"), deadline=None)
        except BadRequest as error:
            if not str(error).isprintable():
                raise Finding("an error that is no line", repr(str(error))) from None
            found.append(Answer(error.status, str(error)))
            break
    return found


def _look_at(request: Request) -> None:
    """What an application may ask of a request raises nothing."""
    for told in (str(request), repr(request), request.host, str(request.query), str(request.cookies), request.path):
        assert isinstance(told, str)
    if not (str(request) + repr(request)).isprintable():
        raise Finding("a request that is no line", repr(request))


def taken_over(chunks: Sequence[bytes]) -> bytes | None:
    """What belongs to the WebSocket after the first request; None: there is none."""
    transport = Scripted(chunks)
    connection = HTTPConnection(transport, max_head=_MAX_HEAD, max_headers=_MAX_HEADERS)  # type: ignore[arg-type]
    try:
        if connection.read_request(None) is None:
            return None
    except BadRequest:
        return None
    return connection.take_over()[1] + transport.rest


class Requests(Harness):
    """Heads of requests."""

    name = "requests"
    seeds = (
        _GOOD + b"\r\n",
        _GOOD + b"\r\n\x81\x80\0\0\0\0",
        b"POST /a?b HTTP/1.1\r\nHost: a\r\nContent-Length: 3\r\n\r\nabcGET / HTTP/1.1\r\nHost: a\r\n\r\n",
        b"POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n3\r\nabc\r\n0\r\n\r\n",
        b"PROXY TCP4 192.0.2.1 192.0.2.2 1 2\r\n" + _GOOD + b"\r\n",
        b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n",
        b"OPTIONS * HTTP/1.1\r\nHost:\r\n\r\n",
        b"GET http://b/c HTTP/1.0\r\nHost: a\r\n\r\n",
        b"\r\nGET / HTTP/1.1\r\nHost: a\r\nExpect: 100-continue\r\nContent-Length: 1\r\n\r\nx",
    )
    words = WORDS
    differences: ClassVar = {
        "smuggling": Difference(
            "h11 takes lines that end in a bare LF, folded headers, and a Content-Length twice or as a list",
            "refuses them with 400",
            "another HTTP speaker on the way may read them otherwise: RFC 9112 2.2, 5.2, 6.3",
            b"GET / HTTP/1.1\nHost: a\r\n\r\n",
        ),
        "limits": Difference(
            "h11 has a limit on bytes alone",
            "refuses more than 128 headers with 431",
            "each header costs memory and time",
            b"GET / HTTP/1.1\r\nHost: a\r\n" + b"a:\r\n" * 128 + b"\r\n",
        ),
        "targets": Difference(
            "h11 takes any text without blanks for a target, and for a Host",
            "refuses what is neither a path nor a URL of this server, and a Host that is none",
            "RFC 9112 3.2",
            b"GET a HTTP/1.1\r\nHost: a\r\n\r\n",
        ),
        "not spoken": Difference(
            "h11 takes CONNECT, any version, and Transfer-Encoding in HTTP/1.0",
            "refuses them with 501, 505 and 400",
            "this is no proxy; RFC 9112 6.1",
            b"CONNECT a:1 HTTP/1.1\r\nHost: a\r\n\r\n",
        ),
        "strangers in parts": Difference(
            "the same bytes at once say who speaks there",
            "says only that it is no HTTP, where the first byte alone tells that",
            "nobody waits for more of what is refused anyway; the status is the same",
            b"\x02\xab",
        ),
        "an empty line": Difference(
            "h11 refuses a head that begins with one",
            "passes over one",
            "RFC 9112 2.2: a server SHOULD ignore at least one",
            b"\r\n" + _GOOD + b"\r\n",
        ),
        "several protocols": Difference(
            "websockets refuses Upgrade with more than one protocol",
            "takes websocket among others",
            "RFC 9110 7.8: a list",
            _GOOD.replace(b"websocket", b"h2c, websocket") + b"\r\n",
        ),
        "malformed lists": Difference(
            "websockets refuses a handshake for any malformed list in it",
            "takes the elements before what is malformed",
            "as gorilla: see the harness of lists",
            _GOOD + b"Sec-WebSocket-Extensions: a b\r\n\r\n",
        ),
        "zeros": Difference(
            "websockets refuses a Content-Length of several zeros",
            "takes it for 0",
            "RFC 9110 8.6: any number of digits",
            _GOOD + b"Content-Length: 00\r\n\r\n",
        ),
        "control characters": Difference(
            "websockets refuses them in any value",
            "leaves it to h11, which refuses CR, LF and NUL",
            "RFC 9110 5.5: others may be kept; they are escaped wherever they are told",
            _GOOD + b"a: \x01\r\n\r\n",
        ),
        "longer lines": Difference(
            "websockets refuses a line of more than 8 KiB",
            "has one limit for the head, of 16 KiB",
            "RFC 9112 3: lines of 8,000 bytes at least; a cookie may be longer",
            _GOOD + b"a: " + b"b" * 9000 + b"\r\n\r\n",
        ),
        "a list of versions": Difference(
            "websockets refuses Sec-WebSocket-Version with anything beside 13",
            "takes 13 in a list",
            "as gorilla; some proxies join header lines",
            _GOOD.replace(b"Version: 13", b"Version: 8, 13") + b"\r\n",
        ),
        "two origins": Difference(
            "websockets refuses two lines of Origin",
            "looks at the first",
            "no browser sends two, and others send what they like",
            _GOOD + b"Origin: a\r\nOrigin: b\r\n\r\n",
        ),
        "no subprotocol": Difference(
            "websockets refuses a client that offers none of the server's subprotocols, and takes the server's order",
            "goes on without one, and takes the first of the client's that it knows",
            "RFC 6455 4.2.2: it is for the client to give up; the order is that of gorilla",
            _GOOD + b"\r\n",
        ),
    }

    def make(self, rng: Random) -> bytes:
        stream = b""
        for _ in range(rng.choice((1, 1, 1, 2, 3))):
            stream += self._request(rng)
        if rng.random() < 0.1:
            stream = stream[: rng.randrange(len(stream) + 1)]
        return stream

    def _request(self, rng: Random) -> bytes:
        method = rng.choice(("GET", "GET", "GET", "GET", "POST", "HEAD", "OPTIONS", "CONNECT", "get", "G T"))
        target = rng.choice(
            ("/", "/chat?token=a", "/%41/\u00e9", "*", "http://b/c?d", "a", "//x", "/a#b", "/" + "a" * 200)
        )
        version = rng.choice(("HTTP/1.1",) * 9 + ("HTTP/1.0", "HTTP/1.2", "HTTP/2.0", "http/1.1", "HTTP/1.1 "))
        usual = dict(_USUAL) if rng.random() < 0.7 else {"Host": "a"}
        body = b""
        if rng.random() < 0.25:
            if rng.random() < 0.5:
                body = b"abc"
                usual["Content-Length"] = rng.choice(("3", "3", "2", "03", "3, 3", "+3", "3 ", "-1", "\u00b2"))
            else:
                usual["Transfer-Encoding"] = rng.choice(
                    ("chunked", "Chunked", "gzip, chunked", "identity", "chunked, a")
                )
                body = rng.choice(
                    (
                        b"3\r\nabc\r\n0\r\n\r\n",
                        b"0\r\n\r\n",
                        b"3\nabc\n0\n\n",
                        b"3;x\r\nabc\r\n0\r\na: b\r\n\r\n",
                        b"zz",
                    )
                )
        lines = fields(rng, usual)
        if rng.random() < 0.01:
            lines += ["a: b"] * 130
        return (b"\r\n" if rng.random() < 0.05 else b"") + head(rng, f"{method} {target} {version}", lines) + body

    def check(self, data: bytes) -> Hashable:
        ours = served([data])
        cuts: list[tuple[str, list[bytes]]] = [("in random pieces", pieces(data)), ("otherwise", pieces(data, 1))]
        if len(data) <= 250:
            cuts.append(("one by one", one_by_one(data)))
        for name, cut in cuts:
            must_be_equal(f"other when cut {name}", self._comparable(served(cut)), self._comparable(ours))
            must_be_equal(f"other rest when cut {name}", taken_over(cut), taken_over([data]))
        if ours:
            if ours[0].status == 0 and _may_be_smuggled(data):
                raise Finding("served, although others may read it otherwise", shortened(ours[0]))
            self._compare_with_h11(data, ours[0])
            if ours[0].status == 0:
                self._compare_with_websockets(data, ours[0])
        return tuple((each.status, each.said[:12], each.method[:4], len(each.headers), len(each.body)) for each in ours)

    def _comparable(self, answers: list[Answer]) -> list[Answer]:
        if answers and ("no request of HTTP" in answers[0].said or "speaks" in answers[0].said):
            return [answers[0]._replace(said="")] if self.differs("strangers in parts") else answers
        return answers

    # h11

    def _compare_with_h11(self, data: bytes, ours: Answer) -> None:
        connection = h11.Connection(h11.SERVER, max_incomplete_event_size=_MAX_HEAD)
        connection.receive_data(data.removeprefix(b"\r\n") if self.differs("an empty line") else data)
        try:
            event = connection.next_event()
        except h11.RemoteProtocolError as error:
            if ours.status == 0:
                raise Finding("served, and refused by h11", f"{ours}: {error}") from None
            return
        if not isinstance(event, h11.Request):
            if ours.status == 0:
                raise Finding("served, and h11 waits", shortened(ours))
            return
        if ours.status == 0:
            headers = tuple((name.decode(), value.decode("latin-1")) for name, value in event.headers.raw_items())
            must_be_equal("another method", ours.method, event.method.decode())
            must_be_equal("another target", ours.target, event.target.decode())
            must_be_equal("other headers", ours.headers, headers)
            self._compare_body(connection, ours)
        elif not self._is_refused_on_purpose(connection, data, ours, event):
            raise Finding("refused, and served by h11", f"{ours.status} {ours.said}: {event}")

    def _compare_body(self, connection: h11.Connection, ours: Answer) -> None:
        connection.receive_data(b"")
        body = b""
        try:
            while isinstance(event := connection.next_event(), h11.Data):
                body += event.data
        except h11.RemoteProtocolError:
            return
        if isinstance(event, h11.EndOfMessage):
            must_be_equal("another body", ours.body, body)

    def _is_refused_on_purpose(self, connection: h11.Connection, data: bytes, ours: Answer, event: h11.Request) -> bool:
        encoded = any(name == b"transfer-encoding" for name, _ in event.headers)
        if self.differs("smuggling") and ours.status == 400 and _may_be_smuggled(data):
            return True
        if self.differs("limits") and ours.status == 431:
            return len(event.headers) > _MAX_HEADERS
        version = event.http_version.decode()
        if self.differs("not spoken") and (
            (ours.status == 501 and event.method == b"CONNECT")
            or (ours.status == 505 and version not in ("1.0", "1.1"))
            or (ours.status == 400 and version == "1.0" and encoded)
        ):
            return True
        if self.differs("targets") and ours.status == 400 and ("target is" in ours.said or "Host header" in ours.said):
            return not re.fullmatch(rb"/[^?#]*(\?[^#]*)?", event.target) or not re.fullmatch(
                rb"[\-A-Za-z0-9._~!$&'()*+,;=%:\[\]]*", dict(event.headers).get(b"host", b"")
            )
        return self._ends_badly(connection)

    def _ends_badly(self, connection: h11.Connection) -> bool:
        """Whether h11 refuses the body."""
        connection.receive_data(b"")
        try:
            while isinstance(connection.next_event(), h11.Data):
                pass
        except h11.RemoteProtocolError:
            return True
        return False

    # websockets

    def _compare_with_websockets(self, data: bytes, ours: Answer) -> None:
        """The same head, and whether it opens a WebSocket, and with what."""
        refusal, agreed = _negotiated(Request(ours.method, ours.target, ours.headers, http_version=ours.version))
        theirs = parsed(TheirRequest.parse, Lines(data.removeprefix(b"\r\n")).read_line)
        if not isinstance(theirs, TheirRequest):
            if refusal is None and not self._is_read_on_purpose(ours, theirs):
                raise Finding("opened, and not read by websockets", f"{shortened(ours)}: {theirs!r}")
            return
        must_be_equal("another path than websockets", ours.target, theirs.path)
        must_be_equal("other headers than websockets", ours.headers, tuple(theirs.headers.raw_items()))
        protocol = ServerProtocol(
            subprotocols=["chat", "v2"],  # type: ignore[list-item]
            extensions=[ServerPerMessageDeflateFactory(True, True)],
            select_subprotocol=_first_known if self.differs("no subprotocol") else None,
        )
        try:
            _, extensions, subprotocol = protocol.process_request(theirs)
        except InvalidHandshake as error:
            if refusal is None and not self._is_taken_on_purpose(theirs.headers, error):
                raise Finding("opened, and refused by websockets", f"{shortened(ours)}: {error}") from None
            return
        if refusal is not None:
            raise Finding("refused, and opened by websockets", f"{shortened(ours)}: {refusal}")
        must_be_equal("another subprotocol", agreed.subprotocol, subprotocol)
        must_be_equal("compression or none", agreed.agreement is not None, extensions is not None)

    def _is_read_on_purpose(self, ours: Answer, error: Exception) -> bool:
        if "invalid HTTP header value" in str(error) and self.differs("control characters"):
            return True
        if "unsupported request body" in str(error) and self.differs("zeros"):
            return {
                each.strip("0") for each in (value for name, value in ours.headers if name.lower() == "content-length")
            } == {""}
        return "TooLong" in type(error).__name__ and self.differs("longer lines")

    def _is_taken_on_purpose(self, headers: TheirHeaders, error: InvalidHandshake) -> bool:
        told = f"{type(error).__name__}: {error}"
        if "InvalidHeaderFormat" in told and self.differs("malformed lists"):
            return True
        if "Upgrade" in told and "," in ",".join(headers.get_all("Upgrade")) and self.differs("several protocols"):
            return True
        if "Sec-WebSocket-Version" in told and self.differs("a list of versions"):
            return "13" in ",".join(headers.get_all("Sec-WebSocket-Version"))
        return "Origin" in told and self.differs("two origins")


def _may_be_smuggled(data: bytes) -> bool:
    """Whether the head at the beginning has one of the four shapes that another HTTP speaker may read otherwise."""
    head = (re.match(rb"(?:\r?\n)?(?:.*\n)*?\r?\n", data) or re.match(b"", data))[0]  # type: ignore[index]
    lengths = re.findall(rb"(?im)^content-length[ \t]*:[^\n]*", head)
    encoded = re.search(rb"(?im)^transfer-encoding:", head) is not None
    return bool(
        re.search(rb"(?<!\r)\n|\n[ \t]", head) or len(lengths) > 1 or b"," in b"".join(lengths) or (lengths and encoded)
    )


def _first_known(_protocol: ServerProtocol, offered: Sequence[Subprotocol]) -> Subprotocol | None:
    return next((each for each in offered if each in ("chat", "v2")), None)


def _negotiated(request: Request) -> tuple[HandshakeError | None, Any]:
    try:
        return None, _UPGRADER.negotiate(request)
    except HandshakeError as error:
        if not str(error).isprintable():
            raise Finding("a refusal that is no line", repr(str(error))) from None
        return error, None
