"""Hosts: whether two names mean the same one, and which of them a server answers to (against DNS rebinding).

A host is written in several ways: in capitals, with the dot that ends a full name, an IPv6 address long or short, the
scheme's own port or none. `plain_host` is the one form in which hosts are compared, those of the Host header as those
of an Origin (RFC 6454 section 4, RFC 3986 section 6.2.2).

**DNS rebinding.** The name of a page's host may be made to point at any address while the page is open, also at
127.0.0.1 and at a server of the intranet. What the page then asks for goes there, and its Origin and the Host agree:
both are the page's. So a server that only its place in the network protects has to know its own names: `AllowedHosts`.
"""

from __future__ import annotations

import ipaddress
import re
import string
import unicodedata
from typing import Any

from .._base.options import strings
from .._base.printable import printable

_AUTHORITY = re.compile(r"(?P<name>\[[^\[\]]*\]|[^:\[\]]*)(?::(?P<port>[0-9]*))?")
_NAME = re.compile(r"[a-z0-9_\-]+(?:\.[a-z0-9_\-]+)*")
_FULL_NAME = re.compile(r".*[^.]\.")
_DEFAULT_PORTS = ("80", "443")

_ASCII_LOWER = str.maketrans(string.ascii_uppercase, string.ascii_lowercase)

_EXAMPLE = 'allowed_hosts=["app.example.com", "*.example.com", "localhost"]'

#: Characters of a host, or an origin, that the log shows. A name of 253 characters fits, with scheme and port.
MOST_SHOWN = 300


def ascii_lower(text: str) -> str:
    """Lower case for the letters A to Z alone: str.lower would make one letter of two different hosts' letters."""
    return text.lower() if text.isascii() else text.translate(_ASCII_LOWER)  # the first is ten times as fast


def plain_host(authority: str, default_port: str = "") -> tuple[str, str]:
    """Name and port of "name:port", in the one form in which they are compared; "" for no port, or the default one.

    What is no host comes back in lower case, so that it is equal to itself alone.
    """
    match = _AUTHORITY.fullmatch(authority)
    if match is None:
        return ascii_lower(authority), ""
    name, port = ascii_lower(match["name"]), match["port"] or ""
    port = port.lstrip("0") or port[:1]  # 0 is no default port
    if name.startswith("["):
        name = _plain_address(name)
    elif _FULL_NAME.fullmatch(name):
        name = name[:-1]
    return name, "" if port == default_port else port


def _plain_address(bracketed: str) -> str:
    """An IPv6 address in its shortest form (RFC 5952), in brackets; what is none stays as it is."""
    try:
        return f"[{ipaddress.IPv6Address(bracketed[1:-1])}]"
    except ValueError:
        return bracketed


def ascii_name(name: str) -> str | None:
    """A name as browsers send it: in its xn-- form where it has other letters. None: it has none that is certain.

    Python knows IDNA of 2003, which turns some letters into others (the German sharp s into ss). Browsers do not, so
    for them that is another host: such a name has to be written in its xn-- form.
    """
    if name.isascii():
        return ascii_lower(name)
    try:
        encoded = name.encode("idna")
        same = encoded.decode("idna") == unicodedata.normalize("NFC", name).lower()
    except UnicodeError:
        return None
    return encoded.decode("ascii") if same else None


class AllowedHosts:
    """The hosts that a server answers to; none listed: any.

    ``localhost``, ``app.example.com``, ``192.0.2.7``, ``[::1]``: with any port, or with one (``localhost:8080``).
    ``*.example.com``: every name below example.com, at any depth, but not example.com itself. ``*``: any host.

    Immutable, for any thread. Raises TypeError or ValueError, which say what to write, for an entry that is no host.
    """

    __slots__ = ("_any", "_below", "_names", "entries")

    def __init__(self, entries: Any) -> None:
        names, below = set(), []
        hosts = () if entries is None else strings("allowed_hosts", entries, _EXAMPLE)
        if not hosts and entries is not None:
            raise ValueError(
                f"allowed_hosts is empty, so no request could be served: write {_EXAMPLE}, or None for any"
            )
        for entry in hosts:
            name, port = _parsed(entry)
            if name.startswith("*."):
                below.append((name[1:], port))
            else:
                names.add((name, port))
        #: As they were given; None: any host.
        self.entries = hosts or None
        self._any = not hosts or ("*", "") in names
        self._names = frozenset(names)
        self._below = tuple(below)

    def allow(self, authority: str) -> bool:
        """Whether a request for this host, and port if it names one, is to be served."""
        if self._any:
            return True
        name, port = plain_host(authority)
        # No port is the default one of a scheme that a proxy may have changed.
        ports = ("", port) if port else ("", *_DEFAULT_PORTS)
        if any((name, each) in self._names for each in ports):
            return True
        return any(
            name.endswith(suffix) and name != suffix and _NAME.fullmatch(name) and own_port in ports
            for suffix, own_port in self._below
        )

    def advice(self, authority: str, setting: str) -> str:
        """What to change so that this host, which was refused, is served; setting is where the list is given."""
        try:
            _parsed(authority.replace("*", "/"))  # listed, a star would allow more than was asked for
        except ValueError:
            return f"no entry in {setting} stands for that"
        return f"to serve it, add it to {setting}"


def _parsed(entry: str) -> tuple[str, str]:
    """Name and port of an entry. Raises ValueError, which names the mistake and what to write."""
    host = f"[{entry}]" if _is_ipv6(entry) else entry
    name, port = plain_host(host)
    wildcard, name = name.startswith("*."), name.removeprefix("*.")
    ascii_form = ascii_name(name)
    if len(port) > 5 or int(port or 0) > 65535:
        raise ValueError(f"allowed_hosts: {entry!r} is not a host: ports end at 65535")
    if host == "*" or (not wildcard and name.endswith("]") and _is_ipv6(name[1:-1])):
        return name, port
    if ascii_form is not None and _NAME.fullmatch(ascii_form):
        return f"*.{ascii_form}" if wildcard else ascii_form, port
    raise ValueError(f"allowed_hosts: {entry!r} is not a host: {_advice(entry, ascii_form)}")


def _is_ipv6(text: str) -> bool:
    try:
        ipaddress.IPv6Address(text)
    except ValueError:
        return False
    return True


def _advice(entry: str, ascii_form: str | None) -> str:
    """What to write instead of an entry that is no host."""
    _, is_url, rest = entry.rpartition("://")
    bare = re.split(r"[/?#]", rest)[0].rpartition("@")[2].strip()
    if is_url or "/" in entry:
        return f"write the host alone, {printable(bare) or 'example.com'!r}, without scheme and path"
    if entry.startswith("."):
        return f"for every name below it, write {'*' + printable(entry)!r}"
    if ascii_form is None:
        return "write a name with other letters in its xn-- form"
    return f"write a name or an address, with a port if only that one is meant: {_EXAMPLE}"
