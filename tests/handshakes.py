"""The opening handshake of RFC 6455 section 1.3, for tests that send or answer it by hand."""

from __future__ import annotations

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
