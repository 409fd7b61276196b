"""The opening handshake of RFC 6455 section 1.3, for tests that send or answer it by hand."""

from __future__ import annotations

import socket
import ssl

KEY = "dGhlIHNhbXBsZSBub25jZQ=="

#: What a server answers to it.
ACCEPT = "s3pPLMBiTxaQ9kYGzzhZRbK+xOo="

#: What a client sends beside the headers that every request has.
HEADERS = {
    "Connection": "Upgrade",
    "Upgrade": "websocket",
    "Sec-WebSocket-Version": "13",
    "Sec-WebSocket-Key": KEY,
}


def asking(target: str, host: str = "localhost") -> bytes:
    """The bytes that ask for a WebSocket."""
    lines = [f"GET {target} HTTP/1.1", f"Host: {host}", *map(": ".join, HEADERS.items()), "", ""]
    return "\r\n".join(lines).encode()


def receive_head(sock: socket.socket) -> bytes:
    """A response's head, and no byte more: what follows belongs to the connection."""
    head = b""
    while not head.endswith(b"\r\n\r\n"):
        data = sock.recv(_size_of_head(sock, head[-3:]))
        if not data:
            raise AssertionError(f"the connection ended after {head!r}")
        head += data
    return head


def _size_of_head(sock: socket.socket, before: bytes) -> int:
    """How many bytes may be received that are the head's for sure; the last three of it may be there already."""
    if isinstance(sock, ssl.SSLSocket):  # which cannot look ahead
        return 1
    ahead = sock.recv(4096, socket.MSG_PEEK)
    end = (before + ahead).find(b"\r\n\r\n")
    return end + 4 - len(before) if end >= 0 else max(1, len(ahead))
