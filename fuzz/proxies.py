"""What proxies answer: to CONNECT, and in SOCKS5, which the library python-socks reads.

The first byte of an input says which of them, the rest is what the proxy sends.

Oracles: h11, and `websockets`' reader of a proxy's answers; the same bytes in other pieces. Whatever comes, it is a
tunnel, or a ProxyError of one line that tells no password.
"""

from __future__ import annotations

import re
from collections.abc import Hashable, Sequence
from random import Random
from typing import ClassVar

import h11
import python_socks  # noqa: F401  # what reads SOCKS here: without it there would be nothing to look at
from websockets.http11 import Response as TheirResponse

from syncws._client.proxy import _schemes, open_http_tunnel, open_socks_tunnel
from syncws._http.headers import Headers
from syncws._http.url import parse_proxy_url
from syncws._net.attempt import Attempt
from syncws.errors import ProxyError

from .harness import Difference, Finding, Harness, must_be_equal, one_by_one, pieces, shortened
from .http import WORDS, Lines, Scripted, fields, head, parsed

CONNECT, SOCKS = 0, 1

_PASSWORD = "s3cr3tpw"
_HTTP_PROXY = parse_proxy_url(f"http://user:{_PASSWORD}@proxy:3128")
_SOCKS_PROXY = parse_proxy_url(f"socks5://user:{_PASSWORD}@proxy")
_DESTINATION = "example.com:443"


def opened(kind: int, chunks: Sequence[bytes]) -> tuple[str, int, bytes]:
    """(why there is no tunnel, the status, what came after the proxy's answer); ("", 0, rest) for a tunnel."""
    transport = Scripted(chunks)
    try:
        if kind == CONNECT:
            rest = open_http_tunnel(transport, _HTTP_PROXY, _DESTINATION, Headers(), Attempt(None))  # type: ignore[arg-type]
        else:
            open_socks_tunnel(transport, _SOCKS_PROXY, "example.com", 443, Attempt(None))  # type: ignore[arg-type]
            rest = b""
    except ProxyError as error:
        told = str(error)
        if not told.isprintable():
            raise Finding("an error that is no line", repr(told)) from None
        if _PASSWORD in told:
            raise Finding("an error tells a password", told) from None
        return told, error.status, b""
    return "", 0, rest + transport.rest


class Proxies(Harness):
    """Answers of proxies."""

    name = "proxies"
    words = (
        *WORDS,
        b"HTTP/1.1 200 ",
        b'Proxy-Authenticate: Basic realm="a"\r\n',
        b"\x05\x00",
        b"\x05\x02",
        b"\x01\x00",
    )
    seeds = (
        b"\x00HTTP/1.1 200 Connection established\r\n\r\n\x16\x03",
        b"\x00HTTP/1.0 200 OK\r\n\r\n",
        b'\x00HTTP/1.1 407 No\r\nProxy-Authenticate: Digest realm="a, b", NTLM\r\nContent-Length: 2\r\n\r\nno',
        b"\x00HTTP/1.1 204 No Content\r\nContent-Length: 9\r\n\r\n",
        b"\x01\x05\x02\x01\x00\x05\x00\x00\x01\0\0\0\0\0\0",
        b"\x01\x05\x00\x05\x00\x00\x03\x03abc\0\0tls",
        b"\x01\x05\xff",
        b"\x01HTTP/1.1 400 Bad\r\n\r\n",
    )
    differences: ClassVar = {
        "interim answers": Difference(
            "websockets takes the first answer, whatever its status",
            "passes over those of 1xx",
            "RFC 9110 15.2: a client MUST be able to read them",
            b"\x00HTTP/1.1 100 Continue\r\n\r\nHTTP/1.1 200 OK\r\n\r\n",
        ),
        "heads": Difference(
            "websockets refuses a bare LF or a folded header, control characters in values and more than 128 headers, "
            "and wants a blank after the status",
            "leaves answers to h11, which takes these",
            "old proxies send such heads",
            b"\x00HTTP/1.1 200\r\n\r\n",
        ),
    }

    def make(self, rng: Random) -> bytes:
        return bytes((CONNECT,)) + self._answer(rng) if rng.random() < 0.7 else bytes((SOCKS,)) + self._socks(rng)

    def _answer(self, rng: Random) -> bytes:
        status = rng.choice((200, 200, 200, 201, 204, 299, 300, 407, 407, 502, 101, 100, 199))
        version = rng.choice(("HTTP/1.1", "HTTP/1.1", "HTTP/1.0", "HTTP/1.2", "HTTP/3"))
        usual = {"Proxy-Agent": "x"}
        if status == 407:
            usual["Proxy-Authenticate"] = rng.choice(_CHALLENGES)
        body = rng.choice((b"", b"\x16\x03\x01", b"no", b"HTTP/1.1 200 OK\r\n\r\n"))
        usual |= rng.choice(({}, {}, {"Content-Length": str(len(body))}, {"Transfer-Encoding": "chunked"}))
        reason = rng.choice((" OK", "", " ", " \u00e9"))
        stream = head(rng, f"{version} {status}{reason}", fields(rng, usual)) + body
        return stream[: rng.randrange(len(stream) + 1)] if rng.random() < 0.1 else stream

    def _socks(self, rng: Random) -> bytes:
        method = rng.choice((b"\x05\x02", b"\x05\x00", b"\x05\xff", b"\x04\x00", rng.randbytes(2)))
        logged_in = rng.choice((b"\x01\x00", b"\x01\x01", b"\x05\x00", b"")) if method == b"\x05\x02" else b""
        reply = b"\x05" + bytes((rng.choice((0, 0, 0, 1, 2, 5, 8, 99)),)) + b"\x00"
        place = rng.choice((b"\x01\0\0\0\0\0\0", b"\x03\x03abc\0\0", b"\x04" + bytes(18), b"\x03\x01\xff\0\0", b"\x09"))
        stream = method + logged_in + reply + place
        return stream[: rng.randrange(len(stream) + 1)] if rng.random() < 0.2 else stream

    def check(self, data: bytes) -> Hashable:
        kind, stream = (data[0] if data else 0) % 2, data[1:]
        ours = opened(kind, [stream])
        cuts = [pieces(stream), pieces(stream, 1), *([one_by_one(stream)] if len(stream) <= 250 else [])]
        for cut in cuts:
            again = opened(kind, cut)
            must_be_equal("other when cut", (bool(again[0]), *again[1:]), (bool(ours[0]), *ours[1:]))
        if kind == SOCKS:
            return "socks", ours[0][-30:]
        self._compare_with_h11(stream, ours)
        self._compare_with_websockets(stream, ours)
        return ours[1], re.sub("[^a-z ]", "", ours[0])[-30:], bool(ours[2])

    def _compare_with_h11(self, stream: bytes, ours: tuple[str, int, bytes]) -> None:
        connection = h11.Connection(h11.CLIENT, max_incomplete_event_size=1 << 16)
        connection.send(h11.Request(method="CONNECT", target=_DESTINATION, headers=[("Host", _DESTINATION)]))
        connection.send(h11.EndOfMessage())
        connection.receive_data(stream)
        try:
            event = connection.next_event()
            for _ in range(15):
                if isinstance(event, h11.InformationalResponse):
                    event = connection.next_event()
        except h11.RemoteProtocolError:
            event = None
        if isinstance(event, h11.Response):
            good = 200 <= event.status_code <= 299
            must_be_equal("a tunnel or none", not ours[0], good)
            if good:
                must_be_equal("another beginning", ours[2], connection.trailing_data[0])
            else:
                must_be_equal("another status", ours[1], event.status_code)
                lines = [value.decode("latin-1") for name, value in event.headers if name == b"proxy-authenticate"]
                self._check_challenges(lines, ours[0])
        elif not ours[0]:
            raise Finding("a tunnel, and h11 has no answer", shortened(ours))

    def _check_challenges(self, lines: list[str], told: str) -> None:
        """Each way of logging in is a token that stands in the header."""
        for scheme in _schemes(lines):
            if not re.fullmatch(r"[A-Za-z][A-Za-z0-9\-]*", scheme) or not any(scheme in line for line in lines):
                raise Finding("a way of logging in that is none", f"{scheme} in {lines}")
        if lines == ['Basic realm="a"'] and "does not speak" in told:
            raise Finding("Basic is not known", told)

    def _compare_with_websockets(self, stream: bytes, ours: tuple[str, int, bytes]) -> None:
        lines = Lines(stream)
        theirs = parsed(TheirResponse.parse, lines.read_line, lines.read_exact, lines.read_to_eof, True)
        if not isinstance(theirs, TheirResponse):
            if not ours[0] and not self.differs("heads"):
                raise Finding("a tunnel, and not read by websockets", f"{stream[:300]!r}: {theirs!r}")
            return
        if 100 <= theirs.status_code <= 199 and self.differs("interim answers"):
            return
        if ours[1] == 0 and ours[0]:
            return  # h11 has refused it, which is looked at above
        must_be_equal("a tunnel or none, in websockets", not ours[0], 200 <= theirs.status_code < 300)
        if not ours[0]:
            must_be_equal("another beginning, in websockets", ours[2], stream[lines.at :])


_CHALLENGES = (
    *('Basic realm="a"', 'Digest realm="a, Basic b", qop="auth"', "NTLM", "Negotiate, NTLM", "Basic", 'basic a="\\""'),
    *("", ",", "=", 'Digest realm="', "Bearer, Basic"),
)
