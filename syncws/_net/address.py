"""The address of a socket: asked for without an error, and said in a log line."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any


def ask_address(ask: Callable[[], Any]) -> Any:
    """A socket's address, from its getsockname or getpeername: a tuple for TCP, a str for Unix ("" for none)."""
    try:
        return ask()
    except OSError:  # the peer has already left
        return ""


def say_peer(address: Any) -> str:
    """A peer's address for a log line."""
    if isinstance(address, tuple) and len(address) >= 2:
        return f"[{address[0]}]:{address[1]}" if ":" in str(address[0]) else f"{address[0]}:{address[1]}"
    return str(address) or "a peer on a Unix socket"
