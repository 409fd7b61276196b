"""Clients that break the protocol, on sockets of their own: what they send, and how they are answered."""

from __future__ import annotations

import contextlib
import dataclasses
import functools
import random
import socket
import struct
import time
import zlib
from collections.abc import Callable
from urllib.parse import urlsplit

from .ledger import PATIENCE
from .sites import Site

TEXT, BINARY, CLOSE, PING, CONTINUATION = 1, 2, 8, 9, 0


@dataclasses.dataclass(frozen=True)
class Attack:
    """What is sent after the handshake, or in its place; compressed: compression is asked for.

    answers: how a server that serves may answer: with these codes of a close, or these statuses.
    """

    name: str
    answers: str
    make: Callable[[random.Random], bytes]
    handshake: bool = True
    compressed: bool = False


def frame(opcode: int, payload: bytes, *, first: int = 0x80, masked: bool = True, length: int | None = None) -> bytes:
    """A frame, whatever its bits are; length: that it declares."""
    size = len(payload) if length is None else length
    bit = 0x80 if masked else 0
    if size < 126:
        head = struct.pack("!BB", first | opcode, bit | size)
    elif size < 1 << 16:
        head = struct.pack("!BBH", first | opcode, bit | 126, size)
    else:
        head = struct.pack("!BBQ", first | opcode, bit | 127, size)
    return head + (bytes(4) if masked else b"") + payload


@functools.cache
def _bomb() -> bytes:
    """Twenty thousand bytes that become twenty million."""
    squeezer = zlib.compressobj(9, zlib.DEFLATED, -15)
    data = b"".join(squeezer.compress(bytes(1 << 20)) for _ in range(20)) + squeezer.flush(zlib.Z_SYNC_FLUSH)
    return frame(BINARY, data[:-4], first=0xC0)


#: What is tried, in turn.
ATTACKS = (
    Attack("reserved bits", "1002", lambda picker: frame(TEXT, b"x", first=0xF0)),
    Attack("no mask", "1002", lambda picker: frame(TEXT, b"hello", masked=False)),
    Attack("unknown opcode", "1002", lambda picker: frame(picker.choice((3, 7, 11, 15)), b"x")),
    Attack("huge length", "1009", lambda picker: frame(BINARY, b"begins", length=1 << 62)),
    Attack("negative length", "1002", lambda picker: frame(BINARY, b"begins", length=(1 << 64) - 1)),
    Attack("bad UTF-8", "1007", lambda picker: frame(TEXT, b"ok \xff\xfe" + picker.randbytes(20))),
    Attack("half of UTF-8", "1007", lambda picker: frame(TEXT, "é".encode()[:1])),
    Attack("long control frame", "1002", lambda picker: frame(PING, bytes(126))),
    Attack("fragmented ping", "1002", lambda picker: frame(PING, b"x", first=0)),
    Attack("continuation of nothing", "1002", lambda picker: frame(CONTINUATION, b"x")),
    Attack("close of one byte", "1002", lambda picker: frame(CLOSE, b"\x03")),
    Attack("close code 1005", "1002", lambda picker: frame(CLOSE, struct.pack("!H", 1005))),
    Attack(
        "many fragments",
        "1008",
        lambda picker: frame(BINARY, b"", first=0) + frame(CONTINUATION, b"", first=0) * 20_000,
    ),
    Attack("many pings", "1008", lambda picker: frame(PING, b"x") * 3_000),
    Attack("no JSON", "1003", lambda picker: frame(TEXT, b"this is no JSON {" + b"x" * picker.randrange(100))),
    Attack("bomb", "1009", lambda picker: _bomb(), compressed=True),
    Attack("no deflate", "1007", lambda picker: frame(BINARY, b"\xff" * 50, first=0xC0), compressed=True),
    Attack("noise", "1002 1007 1008 1009 1003", lambda picker: picker.randbytes(picker.randrange(1, 500)) + bytes(300)),
    Attack("no HTTP", "HTTP 400", lambda picker: picker.randbytes(200) + b"\r\n\r\n", handshake=False),
    Attack("slow head", "HTTP 408", lambda picker: b"GET / HTTP/1.1\r\nHost: loc", handshake=False),
    Attack(
        "long head", "HTTP 431", lambda picker: b"GET / HTTP/1.1\r\nX: " + b"y" * 40_000 + b"\r\n\r\n", handshake=False
    ),
    Attack(
        "many headers", "HTTP 431", lambda picker: b"GET / HTTP/1.1\r\n" + b"A: b\r\n" * 500 + b"\r\n", handshake=False
    ),
    Attack("gone in the head", "gone", lambda picker: b"GET / HT", handshake=False),
)


#: How an attack may end before it is judged: the connection is lost, nobody is there, the server ends, or says that it
#: is full, or a proxy says so of it.
_UNJUDGED = ("cut", "refused", "1001", "1012", "HTTP 500", "HTTP 502", "HTTP 503", "HTTP 504", "HTTP ")


def is_right(what: Attack, answer: str) -> bool:
    """Whether a server may answer so. "silence" is never right."""
    return answer in _UNJUDGED or any(answer == each for each in _answers(what))


def _answers(what: Attack) -> list[str]:
    return [what.answers] if what.answers.startswith("HTTP") else what.answers.split()


def connect(site: Site, url: str) -> socket.socket:
    """A socket to where a URL leads."""
    parts = urlsplit(url)
    assert parts.hostname is not None and parts.port is not None
    sock: socket.socket = socket.create_connection((parts.hostname, parts.port), PATIENCE)
    if site.context is not None:
        try:
            sock = site.context.wrap_socket(sock, server_hostname="localhost")
        except BaseException:
            sock.close()
            raise
    return sock


def handshake(url: str, *, compressed: bool = False) -> bytes:
    """A request to upgrade."""
    parts = urlsplit(url)
    more = b"Sec-WebSocket-Extensions: permessage-deflate\r\n" if compressed else b""
    return (
        (
            f"GET {parts.path}?{parts.query} HTTP/1.1\r\nHost: {parts.netloc}\r\nUpgrade: websocket\r\n"
            "Connection: Upgrade\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\nSec-WebSocket-Version: 13\r\n"
        ).encode()
        + more
        + b"\r\n"
    )


def attack(site: Site, url: str, what: Attack, picker: random.Random) -> str:
    """Attack; how it was answered: the code of a close, "cut", a status of HTTP, "silence", or "refused"."""
    try:
        sock = connect(site, url)
    except OSError:
        return "refused"
    with sock:
        try:
            if what.handshake:
                sock.sendall(handshake(url, compressed=what.compressed))
                status = _head(sock)
                if not status.startswith("101"):
                    return f"HTTP {status[:3]}"
            sock.sendall(what.make(picker))
            if what.name == "gone in the head":
                return "gone"
            return _answer(sock, is_http=not what.handshake)
        except TimeoutError:
            return "silence"
        except OSError:
            return "cut"


def _head(sock: socket.socket) -> str:
    """The status line of an answer, without its protocol; "" if there is none. Byte by byte: frames come after it."""
    data = b""
    while not data.endswith(b"\r\n\r\n"):
        byte = sock.recv(1)
        if not byte:
            return ""
        data += byte
    return data.split(b"\r\n")[0].decode(errors="replace").partition(" ")[2]


def _answer(sock: socket.socket, *, is_http: bool) -> str:
    until = time.monotonic() + PATIENCE
    data = b""
    while True:
        sock.settimeout(max(0.1, until - time.monotonic()))
        more = sock.recv(1 << 16)
        if not more:
            break
        data = (data + more)[-(1 << 20) :]
        if time.monotonic() > until:
            raise TimeoutError
        code = _close_code(data)
        if not is_http and code:
            return code
    return f"HTTP {data[9:12].decode(errors='replace')}" if is_http and data else (_close_code(data) or "cut")


def _close_code(data: bytes) -> str:
    """The code of a close frame among whole frames of a server; "" if there is none."""
    place = 0
    while place + 2 <= len(data):
        opcode, size = data[place] & 0x0F, data[place + 1] & 0x7F
        place += 2
        if size == 126:
            size, place = int.from_bytes(data[place : place + 2], "big"), place + 2
        elif size == 127:
            size, place = int.from_bytes(data[place : place + 8], "big"), place + 8
        if opcode == CLOSE and place + 2 <= len(data):
            return str(int.from_bytes(data[place : place + 2], "big"))
        place += size
    return ""


def idle(site: Site, url: str, picker: random.Random, wait: Callable[[float], bool]) -> None:
    """Connect, mostly upgrade, and do nothing for a while; then go, with a reset or without."""
    with contextlib.suppress(OSError):
        sock = connect(site, url)
        with sock:
            if picker.random() < 0.8:
                sock.sendall(handshake(url))
            wait(picker.uniform(0, 25) if picker.random() < 0.3 else picker.uniform(0, 1))
            if picker.random() < 0.5:
                sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
