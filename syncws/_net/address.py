"""The address of a socket: its type, asked for without an error, and said in a log line."""

from __future__ import annotations

import os
from collections.abc import Callable
from typing import Any

from .._base.printable import printable

#: Of TCP over IPv4, of TCP over IPv6, and of a Unix socket, "" if it has none.
Address = tuple[str, int] | tuple[str, int, int, int] | str


def ask_address(ask: Callable[[], Any]) -> Address:
    """A socket's address, from its getsockname or getpeername; "" for one that has none any more."""
    try:
        return as_address(ask())
    except OSError:  # the peer has already left
        return ""


def as_address(given: Any) -> Address:
    """An address as a socket gives it; but a name in Linux's abstract namespace is a str, as it was written."""
    address: Address = os.fsdecode(given) if isinstance(given, bytes) else given
    return address


def say_peer(address: Address) -> str:
    """A peer's address for a log line: escaped, since a peer chooses the name of its Unix socket."""
    if isinstance(address, tuple) and len(address) >= 2:
        host = printable(address[0], 100)
        return f"[{host}]:{address[1]}" if ":" in host else f"{host}:{address[1]}"
    return printable(address) or "a peer on a Unix socket"
