"""Origins: which page may open a connection (RFC 6454, RFC 6455 section 10.2).

Only browsers say their origin, and none lets a page say another's: so this keeps pages of other sites away from the
cookies of this one, and holds back nothing else. A request without an Origin passes: no browser sent it.

Clients that are no browsers send what they like: ``file://``, ``localhost:12345``, ``app://obsidian.md``, a URL with a
path. **Whatever was refused can be listed as the log shows it**, so an entry is any text that a header can hold, and
stands for that text. Three forms stand for more, and `AllowedOrigins` says for what: a URL of scheme and host, a
wildcard below a name, and ``*``.
"""

from __future__ import annotations

import re
from typing import Any

from .._base.options import strings
from .._base.printable import printable
from .hosts import MOST_SHOWN, ascii_lower, ascii_name, plain_host
from .request import Request

#: An origin that is written as a URL: scheme, user information, host and port, and what follows.
_URL = re.compile(
    r"(?P<scheme>[A-Za-z][A-Za-z0-9+.\-]*+)://(?P<user>[^/?#@\\]*@)?(?P<host>[^/?#@\\]*)(?P<rest>[/?#].*)?"
)

_WILDCARD = re.compile(r"(?P<scheme>[a-z][a-z0-9+.\-]*+)://\*(?P<below>(?:\.[a-z0-9_\-]+)+\.?)(?::(?P<port>[0-9]+))?")
_SUBDOMAINS = re.compile(r"[a-z0-9_\-]+(?:\.[a-z0-9_\-]+)*")

#: What no value of a header holds: blanks around it, line ends, NUL, and what is beyond Latin-1.
_NOT_IN_A_HEADER = re.compile(r"^[ \t]|[ \t]$|[\r\n\0]|[^\x00-\xff]")

_DEFAULT_PORTS = {"http": "80", "https": "443", "ws": "80", "wss": "443"}


def is_same_origin(request: Request) -> bool:
    """Whether the page that opens the connection came from the host it connects to; gorilla's default.

    Host and port of the (first) Origin must be those of the request, in whichever way they are written; the default
    port of the Origin's scheme is the same as none (RFC 6454 section 4). The scheme does not count, since TLS may end
    at a proxy. A request without an Origin passes: no browser sent it. "null", and anything else that is not a URL with
    a host, does not.
    """
    origin = request.headers.get("Origin")
    if origin is None:
        return True
    match = _URL.fullmatch(origin)
    if match is None:
        return False
    port = _default_port(match["scheme"])
    host = plain_host(match["host"], port)
    return host[0] != "" and host == plain_host(request.host, port)


class AllowedOrigins:
    """The origins that a server accepts beside its own. An entry is one of

    * ``https://app.example.com``: scheme and host, and a port unless it is the scheme's own. It may be written in
      capitals, with letters of any language, with a slash at its end;
    * ``https://*.example.com``: every name below example.com, at any depth, but not example.com;
    * ``*``: any;
    * any other text: that text alone, such as ``null`` (pages without an origin: files, frames that are sandboxed).

    Immutable, for any thread. Raises TypeError or ValueError, which say what to write, for an entry that nothing can
    match.
    """

    __slots__ = ("_below", "_entries", "_exact")

    def __init__(self, entries: Any) -> None:
        exact, below = set(), []
        self._entries = strings("allowed_origins", entries, '["https://app.example.com"]')
        for entry in self._entries:
            _check(entry)
            if entry != "*" and (wildcard := _WILDCARD.fullmatch(_in_ascii(entry))):
                below.append(_wildcard(wildcard))
            exact.update(_forms(entry))
        self._exact = frozenset(exact)
        self._below = tuple(below)

    @property
    def entries(self) -> tuple[str, ...]:
        """The entries as they were given."""
        return self._entries

    def allow(self, request: Request) -> bool:
        """Whether the request's (first) Origin is among them; a request without one passes."""
        origin = request.headers.get("Origin")
        if origin is None or "*" in self._exact:
            return True
        plain = _plain(origin)
        # A character that the log escapes may be listed as itself, or as the escape that was copied from there.
        if plain in self._exact or _plain(printable(origin, len(origin))) in self._exact:
            return True
        return any(
            plain.startswith(before)
            and plain.endswith(after)
            and _SUBDOMAINS.fullmatch(plain, len(before), len(plain) - len(after))
            for before, after in self._below
        )

    def advice(self, origin: str, setting: str = "allowed_origins of the Upgrader") -> str:
        """What to change so that this origin, which was refused, is accepted; setting is where the list is given."""
        if origin == "" or "*" in origin or len(origin) > MOST_SHOWN:
            return "no browser sends that; to accept it, give the Upgrader a check_origin"
        advice = f"to accept it, add it to {setting}"
        if origin == "null":
            return f"{advice}; but any page can send null, from a frame"
        host = _host(origin)
        similar = next((entry for entry in self._entries if _host(entry) == host), None)
        if similar is None or not host:
            return advice
        return f"{advice}, which has {similar!r}: scheme, host and port must be the same, and nothing may follow them"


def _check(entry: str) -> None:
    """Raise ValueError unless an Origin can match this entry."""
    possible = entry and not _NOT_IN_A_HEADER.search(_in_ascii(entry))
    if possible and ("*" not in entry or entry == "*" or _WILDCARD.fullmatch(_in_ascii(entry))):
        return
    raise ValueError(
        f"allowed_origins: {entry!r} is not an origin: write scheme and host (and port) alone, such as "
        "'https://app.example.com' or 'https://*.example.com', a name with other letters in its xn-- form; or '*' for "
        "any origin; check_origin can decide otherwise"
    )


def _forms(entry: str) -> set[str]:
    """The plain form of the text as it is; with its name as browsers send it; and, if a slash ends it, without that."""
    forms = {entry, _in_ascii(entry)}
    forms |= {form[:-1] for form in forms if (url := _URL.fullmatch(form)) and url["rest"] == "/"}
    return {_plain(form) for form in forms}


def _wildcard(match: re.Match[str]) -> tuple[str, str]:
    """What an origin begins and ends with that a wildcard matches."""
    name, port = plain_host(f"{match['below']}:{match['port'] or ''}", _default_port(match["scheme"]))
    return f"{match['scheme']}://", f"{name}:{port}" if port else name


def _plain(origin: str) -> str:
    """An origin in the one form in which they are compared, as browsers write it: without the scheme's own port."""
    match = _URL.fullmatch(origin)
    if match is None or match["user"] is not None or match["rest"] is not None:
        return ascii_lower(origin)
    scheme = ascii_lower(match["scheme"])
    name, port = plain_host(match["host"], _default_port(scheme))
    return f"{scheme}://{name}:{port}" if port else f"{scheme}://{name}"


def _in_ascii(entry: str) -> str:
    """An entry in lower case, and its name as browsers send it; a name that has no such form stays as it is."""
    entry = ascii_lower(entry)
    match = None if entry.isascii() else _URL.fullmatch(entry)
    if match is None:
        return entry
    wildcard = "*." if match["host"].startswith("*.") else ""
    name, port, number = match["host"].removeprefix("*.").partition(":")
    encoded = ascii_name(name)
    if encoded is None:
        return entry
    return f"{entry[: match.start('host')]}{wildcard}{encoded}{port}{number}{match['rest'] or ''}"


def _host(origin: str) -> str:
    """The name of the host that a text is about, for a hint: of a URL, or of what begins with a name."""
    match = _URL.fullmatch(origin)
    return plain_host(match["host"] if match else re.split(r"[/?#]", origin)[0])[0]


def _default_port(scheme: str) -> str:
    return _DEFAULT_PORTS.get(ascii_lower(scheme), "")
