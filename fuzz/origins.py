"""Origins and hosts: which page may open a connection.

An input is an Origin, a line end, and a Host.

Oracles: urllib for both, and ipaddress: what is allowed comes from a page of that very host; what is plainly of the
same host, in whichever way it is written, is allowed.
"""

from __future__ import annotations

import ipaddress
import re
from collections.abc import Hashable
from random import Random
from typing import ClassVar
from urllib.parse import urlsplit

from syncws._http.hosts import AllowedHosts, plain_host
from syncws._http.origins import AllowedOrigins, is_same_origin
from syncws._http.request import Request

from .harness import Finding, Harness, must_be_equal, shortened

_PORTS = {"http": 80, "https": 443, "ws": 80, "wss": 443}

_ENTRIES = ["https://app.example.com", "https://*.example.com", "http://*.a.test:8080", "null", "http://[::1]:5000"]
_ALLOWED = AllowedOrigins(_ENTRIES)
_HOSTS = AllowedHosts(["app.example.com", "*.example.com", "localhost:8080", "[::1]", "192.0.2.7"])

#: An origin as browsers write it (RFC 6454 section 6.2), in any case.
_SERIALIZED = re.compile(r"(https?|wss?)://([a-z0-9\-_]+(?:\.[a-z0-9\-_]+)*\.?|\[[0-9a-f:.]+\])(:[0-9]{1,5})?", re.I)
_AUTHORITY = re.compile(r"([a-z0-9\-_]+(?:\.[a-z0-9\-_]+)*\.?|\[[0-9a-f:.]+\])(:[0-9]{1,5})?", re.I)


def _place(authority: str, scheme: str) -> tuple[str, int] | None:
    """Host and port as urllib sees them, whatever the number of the port; None: it sees none."""
    number = re.search(r":([0-9]*)\Z", authority)
    try:
        host = urlsplit(f"//{authority[: number.start()] if number else authority}".lower()).hostname
    except ValueError:
        return None
    if not host or (number is None and re.search(r":[^\]]*\Z", authority)):
        return None
    try:
        host = str(ipaddress.IPv6Address(host))
    except ValueError:
        host = host.removesuffix(".")
    return host, int(number[1]) if number and number[1] else _PORTS.get(scheme.lower(), 0)


class Origins(Harness):
    """Origins."""

    name = "origins"
    most_seconds = 0.2
    most_bytes = 2000
    seeds = (
        *(b"https://example.com\nexample.com", b"http://[::1]:80\n[0:0::1]", b"null\nexample.com"),
        *(
            b"https://a.example.com\nb",
            b"https://example.com@evil.test\nexample.com",
            b"http://evil.test/\nlocalhost:8080",
        ),
    )
    words = (
        *(b"https://", b"http://", b"null", b"example.com", b".example.com", b"app.", b"[::1]", b"@", b":80", b":443"),
        *(b"/", b"\\", b"?", b"#", b"\n", b"..", b"%00", b"xn--", b"\xdf", b"*", b"[", b"]", b"::ffff:1.2.3.4"),
    )
    differences: ClassVar = {}

    def make(self, rng: Random) -> bytes:
        host = _host(rng)
        other = host if rng.random() < 0.5 else _host(rng)
        if rng.random() < 0.3:
            other = other.upper()
        origin = f"{rng.choice(('http', 'https', 'HTTPS', 'ws', 'chrome-extension', 'app'))}://{host}{_port(rng)}"
        if rng.random() < 0.1:
            origin += rng.choice(("/", "?", "#", "/path", "@evil.test", "\\@evil.test", " ", "."))
        return f"{origin}\n{other}{_port(rng)}".encode("latin-1", "replace")

    def check(self, data: bytes) -> Hashable:
        origin, _, host = data.decode("latin-1").partition("\n")
        try:
            request = Request("GET", "/", {"Origin": origin, "Host": host})
        except ValueError:
            return "no host"
        same, listed = is_same_origin(request), _ALLOWED.allow(request)
        self._check_same(origin, host, same)
        self._check_listed(origin, listed)
        self._check_host(host)
        match = _SERIALIZED.fullmatch(origin)
        return same, listed, match is not None, origin[:5], host.count(":")

    def _check_same(self, origin: str, host: str, same: bool) -> None:
        scheme, _, rest = origin.partition("://")
        if same:
            authority = re.split(r"[/?#\\]", rest)[0]
            page, here = _place(authority, scheme), _place(host, scheme)
            if authority.lower() != host.lower() and (page is None or page != here):
                raise Finding("another host's page is let in", f"{origin!r} {host!r}: {page} {here}")
            return
        if _SERIALIZED.fullmatch(origin) and _AUTHORITY.fullmatch(host):
            page, here = _place(rest, scheme), _place(host, scheme)
            if page is not None and page == here:
                raise Finding("a page of the same host is kept out", f"{origin!r} {host!r}")

    def _check_listed(self, origin: str, listed: bool) -> None:
        """What an entry lets in is what it says: of a wildcard a name below, at any depth, by scheme and port."""
        if not listed or origin.lower() == "null":
            return
        parts = urlsplit(origin)
        place = _place(parts.netloc, parts.scheme)
        host, port = place if place is not None else ("", 0)
        good = (
            (parts.scheme == "https" and port == 443 and host.endswith(".example.com") and host != ".example.com")
            or (parts.scheme == "http" and port == 8080 and host.endswith(".a.test"))
            or (parts.scheme == "http" and port == 5000 and host == "::1")
        )
        if not good or parts.path or parts.query or parts.fragment or "@" in parts.netloc:
            raise Finding("an origin that is not listed is let in", shortened(origin))

    def _check_host(self, host: str) -> None:
        """The plain form of a plain form is itself, and a host that is served is one that is listed."""
        name, port = plain_host(host)
        again = f"{name}:{port}" if port else name
        must_be_equal("a plain host that is not", plain_host(again), (name, port))
        if not _HOSTS.allow(host):
            return
        without_port = re.sub(r":[0-9]*\Z", "", host)
        place = _place(without_port, "")
        if place is None:
            raise Finding("a host that is none is served", shortened(host))
        found = place[0]
        if found == "localhost" and re.fullmatch(r".*:0*8080", host):
            return
        if found in ("::1", "192.0.2.7") or (found.endswith(".example.com") and found != ".example.com"):
            return
        raise Finding("a host that is not listed is served", shortened(host))


def _host(rng: Random) -> str:
    if rng.random() < 0.2:
        return rng.choice(("[::1]", "[0:0:0:0:0:0:0:1]", "[::ffff:1.2.3.4]", "[fe80::1%25eth0]", "[v1.a]", "192.0.2.7"))
    if rng.random() < 0.5:
        return rng.choice(
            ("example.com", "app.example.com", "a.b.example.com", "localhost", "x.a.test", "example.com.")
        )
    return "".join(rng.choices("ab.-_0%\u00e9E", k=rng.randrange(1, 12)))


def _port(rng: Random) -> str:
    return rng.choice(("", "", "", ":80", ":443", ":8080", ":5000", ":", ":0080", ":99999", ":a"))
