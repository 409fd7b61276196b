"""The address of a socket: its type, asked for without an error, said in a log line, and whose it is."""

from __future__ import annotations

import os
import socket
from collections.abc import Callable, Hashable
from typing import Any

from .._base.printable import printable

#: Of TCP over IPv4, of TCP over IPv6, and of a Unix socket, "" if it has none.
Address = tuple[str, int] | tuple[str, int, int, int] | str

#: How a socket for both families writes an address of IPv4 (RFC 4291 section 2.5.5.2).
_MAPPED = "::ffff:"


def ask_address(ask: Callable[[], Any]) -> Address:
    """A socket's address, from its getsockname or getpeername; "" for one that has none any more."""
    try:
        return as_address(ask())
    except OSError:  # the peer has already left
        return ""


def as_address(given: Any) -> Address:
    """An address as a socket gives it; but a name in Linux's abstract namespace is a str, as it was written.

    And one of IPv4 is one of IPv4, also where a socket for both families writes it as one of IPv6.
    """
    if isinstance(given, tuple) and given[0].startswith(_MAPPED) and "." in given[0]:
        return given[0].removeprefix(_MAPPED), given[1]
    address: Address = os.fsdecode(given) if isinstance(given, bytes) else given
    return address


def say_peer(address: Address) -> str:
    """A peer's address for a log line: escaped, since a peer chooses the name of its Unix socket."""
    if isinstance(address, tuple) and len(address) >= 2:
        host = printable(address[0], 100)
        return f"[{host}]:{address[1]}" if ":" in host else f"{host}:{address[1]}"
    return printable(address) or "a peer on a Unix socket"


def network_of(address: Address) -> Hashable:
    """Whose connection it is, to count those of one client: its IPv4 address, its /64 of IPv6; None on a Unix socket.

    One client has all addresses of a /64 (RFC 6177). An IPv6 address that stands for one of IPv4 is that one.
    """
    return None if isinstance(address, str) else network_of_host(address[0])


def network_of_host(host: str) -> Hashable:
    """As `network_of`, of a text. What is no address, such as an application's name for a client, is that name."""
    try:
        packed = socket.inet_pton(socket.AF_INET6, host.partition("%")[0])
    except (OSError, ValueError):
        return host
    if packed.startswith(bytes(10) + b"\xff\xff"):
        return socket.inet_ntop(socket.AF_INET, packed[12:])
    return packed[:8]
