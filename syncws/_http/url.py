"""The URLs that a client is given: of a server (RFC 6455 section 3) and of a proxy. What cannot work is refused here.

A URL may hold a password or a token, so no error here repeats more of it than its scheme and host.
"""

from __future__ import annotations

import base64
import ipaddress
import re
from dataclasses import dataclass, field
from urllib.parse import SplitResult, quote, unquote, unquote_to_bytes, urlsplit

from .._base.printable import printable

#: Ports that a URL may leave out, by scheme. https and socks5: RFC 9110 section 4.2.2, RFC 1928 section 3.
_SERVER_PORTS = {"ws": 80, "wss": 443}
_PROXY_PORTS = {"http": 80, "https": 443, "socks5": 1080, "socks5h": 1080}

#: What the settings of desktops (GNOME, KDE) call SOCKS.
_SOCKS = re.compile("socks(?=://)", re.IGNORECASE)

_CONTROL = re.compile(r"[\x00-\x1f\x7f\ud800-\udfff]|^\s|\s$")  # nor is half a surrogate pair a character
_NAME = re.compile(r"[A-Za-z0-9._\-]+")
#: Letters that IDNA of 2003, which Python knows, turns into others, and browsers do not: there they are another host.
_OTHER_IDNA = re.compile("[\u00df\u03c2\u200c\u200d]")
_NUMERIC_V6 = re.compile(r"[0-9A-Fa-f:.]+(?:%[A-Za-z0-9._\-]+)?")  # with a zone: RFC 6874
_IN_BRACKETS = re.compile(r"\[[^\[\]]*\](?::.*)?")  # with nothing around them except a port

#: What a path or a query may not hold (RFC 3986 sections 3.3 and 3.4): it is percent-encoded, as UTF-8. A percent sign
#: stays only where it begins the encoding of a byte.
_NO_TARGET = re.compile(r"%(?![0-9A-Fa-f]{2})|[^A-Za-z0-9\-._~!$&'()*+,;=:@/?%]")

#: What credentials may not hold as it is (RFC 3986 section 3.2.1): some readers take a backslash for the host's end.
_NO_USERINFO = re.compile(r"[\x00-\x20\"#<>?@\[\\\]^`{|}\x7f]")
_NO_CREDENTIALS = re.compile(rb"[\x00-\x1f\x7f]")  # RFC 7617 section 2


@dataclass(frozen=True)
class ServerURL:
    """Where a WebSocket server is.

    * ``secure``: whether it is wss; ``host``: a name in ASCII or an address without brackets; ``port``: never missing;
    * ``target``: path and query, as the request line has them; ``authority``: what the Host header says;
    * ``credentials``: ``user:password`` in bytes, if the URL has them. They are in no text.
    """

    secure: bool
    host: str
    port: int
    target: str = field(repr=False)  # its query may hold a token
    authority: str
    credentials: bytes | None = field(default=None, repr=False)

    def __str__(self) -> str:
        """The URL without its query, for a log: that is where tokens are."""
        return self.url.partition("?")[0]

    @property
    def url(self) -> str:
        """The URL, without credentials and without the zone of an address."""
        return f"{'wss' if self.secure else 'ws'}://{self.authority}{self.target}"

    @property
    def origin(self) -> tuple[bool, str, int]:
        """What two URLs of the same server have in common: scheme, host and port (RFC 6454 section 4)."""
        return (self.secure, self.host, self.port)

    @property
    def authorization(self) -> str | None:
        """The Authorization header of the credentials (RFC 7617); None without any."""
        return None if self.credentials is None else f"Basic {base64.b64encode(self.credentials).decode()}"

    @property
    def http(self) -> str:
        """The same URL in the scheme of HTTP, by which cookies and proxies are chosen."""
        return f"{'https' if self.secure else 'http'}://{bracketed(self.host)}:{self.port}{self.target}"


@dataclass(frozen=True)
class ProxyURL:
    """Where a proxy is, and as whom to use it; ``username`` is None without credentials."""

    scheme: str
    host: str
    port: int
    username: str | None = None
    password: str = field(default="", repr=False)

    def __str__(self) -> str:
        """The URL without credentials, for a log or an error."""
        return f"{self.scheme}://{bracketed(self.host)}:{self.port}"


def parse_server_url(url: str) -> ServerURL:
    """Take a ws or wss URL apart. A fragment is dropped, as in gorilla.

    Letters outside ASCII become IDNA in the host. In path and query they, and every other character that no URI may
    have, are percent-encoded; what is encoded already stays as it is. Raises TypeError, and ValueError for another
    scheme and for what is no URL.
    """
    parts = _split("the URL", url, _SERVER_PORTS, 'such as "wss://example.com/feed"')
    host, port = _host(parts), _port(parts, _SERVER_PORTS)
    authority = bracketed(host.partition("%")[0])  # a zone means nothing to the other side
    if port != _SERVER_PORTS[parts.scheme]:
        authority += f":{port}"
    target = f"{parts.path or '/'}{'?' if parts.query else ''}{parts.query}"
    target = _NO_TARGET.sub(lambda match: quote(match[0], safe=""), target)
    return ServerURL(parts.scheme == "wss", host, port, target, authority, _credentials(parts))


def _credentials(parts: SplitResult) -> bytes | None:
    """What stands before the host, decoded: ``user:password``. None if there is nothing, or nothing but the "@"."""
    userinfo = parts.netloc.rpartition("@")[0]
    if not userinfo:
        return None
    user, _, password = (unquote_to_bytes(part) for part in userinfo.partition(":"))
    if _NO_USERINFO.search(userinfo) or b":" in user or _NO_CREDENTIALS.search(user + password):
        raise ValueError(
            "the URL has credentials that are invalid: all but letters, digits and -._~ is percent-encoded in user and "
            "password, and a user has no colon; or send an Authorization header instead"
        )
    return user + b":" + password


def parse_proxy_url(url: str) -> ProxyURL:
    """Take the URL of a proxy apart: http, https, socks5 or socks5h, with credentials if it asks for any.

    "socks:" is socks5. Raises TypeError or ValueError.
    """
    parts = _split(
        "the proxy", with_socks_named(url), _PROXY_PORTS, 'such as "http://user:password@proxy.example.com:3128"'
    )
    username = None if parts.username is None else unquote(parts.username)
    password = unquote(parts.password or "")
    if parts.scheme.startswith("socks") and username is not None:
        _check_socks_credentials(username, password)
    return ProxyURL(parts.scheme, _host(parts), _port(parts, _PROXY_PORTS), username, password)


def with_socks_named(url: str) -> str:
    """The URL of a proxy, with socks5 for the "socks" that desktops write."""
    return _SOCKS.sub("socks5", url, count=1) if isinstance(url, str) and _SOCKS.match(url) else url


def _check_socks_credentials(username: str, password: str) -> None:
    """RFC 1929: a name and a password, of 1 to 255 bytes each."""
    for text in (username, password):
        if not (text.isascii() and 1 <= len(text) <= 255):
            raise ValueError("the proxy: SOCKS takes a user and a password, each of 1 to 255 characters of ASCII")


def _split(what: str, url: str, ports: dict[str, int], example: str) -> SplitResult:
    if not isinstance(url, str):
        raise TypeError(f"{what} must be a str {example}, not {type(url).__name__}")
    if _CONTROL.search(url):  # urlsplit would remove it without a word
        raise ValueError(f"{what} has a control character, or a blank at an end")
    try:
        parts = urlsplit(url)
    except ValueError as error:
        told = "" if "@" in url else f": {printable(error)}"  # the error may repeat credentials
        raise ValueError(f"{what} is not a URL{told}") from None
    if parts.scheme not in ports or "://" not in url:
        found = f", not {printable(parts.scheme, 40)}:" if parts.scheme and "://" in url else ""
        if "ws" in ports and parts.scheme in ("http", "https"):
            found += f" (write {'ws' if parts.scheme == 'http' else 'wss'}: for {parts.scheme}:)"
        raise ValueError(f"{what} must begin with {' or '.join(f'{each}://' for each in ports)}{found}; {example}")
    return parts


def _host(parts: SplitResult) -> str:
    place, host = parts.netloc.rpartition("@")[2], parts.hostname or ""
    if "[" in place:
        host = unquote(host)
        if _IN_BRACKETS.fullmatch(place) and _NUMERIC_V6.fullmatch(host) and _is_v6(host):
            return host
        raise ValueError(f"the URL has no valid address in brackets: '{printable(host, 100)}'")
    if wrong := _OTHER_IDNA.search(host):
        raise ValueError(
            f"the URL has a host with {wrong[0]!r}, which is two hosts, one in IDNA of 2003 and one in "
            "that of 2008: write the name in the xn-- form that a browser shows"
        )
    try:
        name = host.encode("idna").decode()  # also of ASCII names: this checks that no label is empty or too long
        name.encode("idna")  # and again, as some characters become dots
    except UnicodeError:
        name = ""
    if not _NAME.fullmatch(name):
        raise ValueError(f"the URL has no valid host: '{printable(host, 100)}'")
    return name


def _is_v6(host: str) -> bool:
    """Whether it is an address still, now that percent escapes were decoded; with a zone or without."""
    try:
        ipaddress.IPv6Address(host)
    except ValueError:
        return False
    return True


def _port(parts: SplitResult, ports: dict[str, int]) -> int:
    try:
        port = ports[parts.scheme] if parts.port is None else parts.port
    except ValueError:
        port = 0
    if port == 0:
        raise ValueError(f"the URL of {printable(parts.hostname, 100)} has no valid port: a number from 1 to 65535")
    return port


def bracketed(host: str) -> str:
    """A host as URLs and Host headers have it: an IPv6 address in brackets."""
    return f"[{host}]" if ":" in host else host
