"""Heads of HTTP/1.1 as bytes, mostly good ones; a transport that gives bytes in pieces; readers of `websockets`."""

from __future__ import annotations

from collections.abc import Callable, Generator, Sequence
from random import Random
from typing import Any

from .grammar import blanks, listed, token

KEY = "dGhlIHNhbXBsZSBub25jZQ=="

#: What has a meaning in a head, for the mutator.
WORDS = (
    *(b"\r\n", b"\n", b"\r", b"\r\n\r\n", b" ", b"\t", b": ", b"HTTP/1.1", b"HTTP/1.0", b"HTTP/2.0", b"GET", b"\r\n "),
    *(
        b"Content-Length: 3\r\n",
        b"Content-Length: 3, 3\r\n",
        b"Transfer-Encoding: chunked\r\n",
        b"Connection: close\r\n",
    ),
    *(
        b"Upgrade: websocket\r\n",
        b"Connection: Upgrade\r\n",
        b"Host: a\r\n",
        b"Expect: 100-continue\r\n",
        b"\x00",
        b"\xe9",
    ),
    *(
        b"Transfer-Encoding: identity\r\n",
        b"Content-Length: -1\r\n",
        b"Content-Length: +1\r\n",
        b"3\r\nabc\r\n0\r\n\r\n",
    ),
)

_NAMES = (
    *("Host", "Connection", "Upgrade", "Origin", "Cookie", "Content-Length", "Transfer-Encoding", "X-Any", "Expect"),
    *("Sec-WebSocket-Key", "Sec-WebSocket-Version", "Sec-WebSocket-Protocol", "Sec-WebSocket-Extensions", "Location"),
)


class Scripted:
    """A transport that gives these pieces, and then the end of the stream; and takes all that is sent."""

    is_tls = False
    local_address = ("127.0.0.1", 80)
    remote_address = ("192.0.2.1", 12345)

    def __init__(self, pieces: Sequence[bytes]) -> None:
        self._pieces = list(pieces)
        self.sent = b""

    def receive(self, size: int, _wait: float | None = None) -> bytes:
        if not self._pieces:
            return b""
        piece = self._pieces.pop(0)
        if len(piece) > size:
            self._pieces.insert(0, piece[size:])
        return piece[:size]

    def send(self, *data: bytes, **_keywords: Any) -> None:
        self.sent += b"".join(data)

    @property
    def rest(self) -> bytes:
        """What nobody has received."""
        return b"".join(self._pieces)


def fields(rng: Random, usual: dict[str, str]) -> list[str]:
    """The lines of headers: the usual ones, with some changes."""
    found = [(name, value) for name, value in usual.items() if rng.random() > 0.04]
    for _ in range(rng.choice((0, 0, 1, 1, 2, 4))):
        found.insert(rng.randrange(len(found) + 1), (rng.choice(_NAMES), _value(rng)))
    if rng.random() < 0.1:
        found.insert(rng.randrange(len(found) + 1), (token(rng), _value(rng)))
    lines = [f"{name}:{' ' if rng.random() < 0.9 else blanks(rng)}{value}{blanks(rng)}" for name, value in found]
    if rng.random() < 0.04 and lines:
        lines[rng.randrange(len(lines))] = rng.choice(
            (" folded", "no colon", ": no name", "a b: c", "a : b", "a:\x00b")
        )
    return lines


def _value(rng: Random) -> str:
    chance = rng.random()
    if chance < 0.4:
        return rng.choice(
            ("websocket", "Upgrade", "keep-alive", "close", "chunked", "0", "3", "13", "8", KEY, "identity")
        )
    if chance < 0.7:
        return listed(rng, token)
    if chance < 0.8:
        return rng.choice(("100-continue", "permessage-deflate; client_max_window_bits", "https://a", "a=b; c=d", "/b"))
    return "".join(rng.choices('ab,;= \t\u00e9\u00ff"', k=rng.randrange(12)))


def head(rng: Random, first: str, lines: Sequence[str]) -> bytes:
    """A head, its lines ended as they are to be, nearly always."""
    ends = ["\r\n" if rng.random() < 0.995 else rng.choice(("\n", "\r", "\r\r\n")) for _ in range(len(lines) + 2)]
    return "".join(f"{line}{end}" for line, end in zip([first, *lines, ""], ends, strict=True)).encode("latin-1")


class Lines:
    """A stream for the parsers of `websockets`, which are generators."""

    def __init__(self, data: bytes) -> None:
        self.data = data
        self.at = 0

    def read_line(self, most: int, error: type[Exception]) -> Generator[None, None, bytes]:
        newline = self.data.find(b"\n", self.at)
        if newline < 0:
            raise EOFError
        line = self.data[self.at : newline + 1]
        if len(line) > most:
            raise error("too long")
        self.at = newline + 1
        return line
        yield

    def read_exact(self, count: int) -> Generator[None, None, bytes]:
        if len(self.data) - self.at < count:
            raise EOFError
        self.at += count
        return self.data[self.at - count : self.at]
        yield

    def read_to_eof(self, most: int, error: type[Exception]) -> Generator[None, None, bytes]:
        data, self.at = self.data[self.at :], len(self.data)
        if len(data) > most:
            raise error("too long")
        return data
        yield


def parsed(parse: Callable[..., Generator[None, None, Any]], *arguments: Any) -> Any:
    """What a parser of `websockets` returns; the exception that it raises."""
    generator = parse(*arguments)
    try:
        next(generator)
    except StopIteration as done:
        return done.value
    except Exception as error:
        return error
    raise AssertionError("it waits for more")
