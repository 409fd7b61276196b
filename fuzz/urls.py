"""URLs of servers and of proxies, as a client is given them.

The first byte of an input says whose it is, the rest is the URL in UTF-8.

Oracles: `websockets`' own parser, urllib; the URL of what was parsed is parsed again; no error tells a password.
"""

from __future__ import annotations

import re
from collections.abc import Hashable
from random import Random
from typing import ClassVar
from urllib.parse import quote, unquote, unquote_to_bytes, urlsplit

from websockets.exceptions import InvalidURI
from websockets.uri import parse_uri

from syncws._http.url import ServerURL, bracketed, parse_proxy_url, parse_server_url

from .harness import Difference, Finding, Harness, must_be_equal, shortened

SERVER, PROXY = 0, 1

_PASSWORD = "s3cr3tpw"

#: What a target may hold (RFC 3986 sections 3.3, 3.4).
_TARGET = re.compile(r"/(?:%[0-9A-Fa-f]{2}|[A-Za-z0-9\-._~!$&'()*+,;=:@/?])*")


class URLs(Harness):
    """URLs."""

    name = "urls"
    most_seconds = 0.2
    most_bytes = 3000
    seeds = (
        *(
            b"\x00wss://example.com/feed?a=b",
            b"\x00ws://user:s3cr3tpw@[::1]:8080/%41%zz",
            b"\x00ws://b\xc3\xbccher.example/\xc3\xa9",
        ),
        *(b"\x01http://user:s3cr3tpw@proxy:3128", b"\x01socks5h://[fe80::1%25eth0]:1080", b"\x01socks://a"),
    )
    words = (
        *(b"ws://", b"wss://", b"http://", b"socks5://", b"user:s3cr3tpw@", b"[::1]", b":80", b":0", b":65536", b"%2F"),
        *(
            b"%",
            b"%00",
            b"@",
            b"/",
            b"?",
            b"#",
            b"\\",
            b"..",
            b"\xc3\x9f",
            b"\xe2\x80\x8d",
            b"xn--",
            b"\t",
            b" ",
            b"\x7f",
        ),
        *("\uff0f".encode(), "\u2024".encode(), "\u3002".encode(), b"[v1.x]", b"%25eth0", b"0x7f.1"),
    )
    differences: ClassVar = {
        "a user alone": Difference(
            "websockets refuses a user without a password",
            "takes it, with an empty password",
            "RFC 7617 2: the password may be empty",
            b"\x00ws://user@example.com/",
        ),
        "a fragment": Difference(
            "websockets refuses it",
            "drops it",
            "as gorilla; it means nothing to the server",
            b"\x00ws://example.com/#x",
        ),
        "bad hosts": Difference(
            "websockets takes any text for a host, and finds out when it connects",
            "refuses what is no name and no address",
            "RFC 3986 3.2.2; an error at once names the mistake",
            b"\x00ws://exa$mple.com/",
        ),
        "IDNA of 2003": Difference(
            "websockets turns a sharp s into ss, as Python's IDNA does",
            "refuses it",
            "browsers have IDNA of 2008, where it is another host",
            "\x00ws://stra\u00dfe.example/".encode(),
        ),
        "a port of 0": Difference(
            "websockets takes it for none", "refuses it", "RFC 6335: it is reserved", b"\x00ws://example.com:0/"
        ),
        "bad credentials": Difference(
            "websockets takes any character in them",
            "refuses what has to be percent-encoded",
            "RFC 3986 3.2.1: some readers take a backslash or a second @ for the host's end",
            b"\x00ws://us\\er:pw@example.com/",
        ),
        "credentials that are no text": Difference(
            "websockets raises UnicodeDecodeError",
            "sends the bytes as they are",
            "RFC 7617 2.1: the encoding is the server's affair",
            b"\x00ws://user:%aa@example.com/",
        ),
        "an address in IDNA": Difference(
            "websockets puts the host through IDNA if any part of the URL is not ASCII",
            "leaves an address and its zone as they are",
            "RFC 6874: a zone is no name of the DNS",
            "\x00ws://[::%25..]/\u00e9".encode(),
        ),
        "control characters": Difference(
            "websockets, as urllib, removes tabs, line ends and blanks without a word",
            "refuses them",
            "they are a mistake, or an attempt to make another URL of it",
            b"\x00ws://exam\tple.com/",
        ),
        "encoding": Difference(
            "websockets leaves a target as it is if the URL is ASCII, and encodes a percent sign again if it is not",
            "encodes what no target may hold, and leaves what is encoded already",
            "RFC 3986 2.1, 3.3",
            b"\x00ws://example.com/a|b",
        ),
    }

    def make(self, rng: Random) -> bytes:
        kind = rng.randrange(2)
        if kind == SERVER:
            scheme = rng.choice(("ws", "wss", "WSS", "ws", "http", "wss+x"))
        else:
            scheme = rng.choice(("http", "https", "socks5", "socks5h", "socks", "SOCKS", "ftp"))
        user = rng.choice(
            ("", "", "", "user@", f"user:{_PASSWORD}@", f"us%3Aer:{_PASSWORD}%40@", f"a b:{_PASSWORD}@", ":@")
        )
        path = "".join(rng.choices(("/", "a", "%41", "%", "?", "=", "&", "\u00e9", "|", "#", ".."), k=rng.randrange(8)))
        url = f"{scheme}://{user}{_host(rng)}{_port(rng)}{'/' if rng.random() < 0.8 else ''}{path}"
        return bytes((kind,)) + url.encode()

    def check(self, data: bytes) -> Hashable:
        kind, url = (data[0] if data else 0) % 2, data[1:].decode("utf-8", "replace")
        return self._check_server(url) if kind == SERVER else self._check_proxy(url)

    def _check_server(self, url: str) -> Hashable:
        try:
            ours = parse_server_url(url)
        except ValueError as error:
            self._check_error(url, error)
            self._compare_refusal(url, error)
            return str(error)[:25]
        self._check_parsed(ours)
        self._compare(url, ours)
        return (ours.secure, ours.port in (80, 443), ours.credentials is None, "%" in ours.target, ":" in ours.host)

    def _check_parsed(self, ours: ServerURL) -> None:
        """The URL of it is the same place, and what goes over the wire has no character that may not be there."""
        must_be_equal("parsed again", _place(parse_server_url(ours.url)), _place(ours))
        if not _TARGET.fullmatch(ours.target):
            raise Finding("a target that may not be", shortened(ours.target))
        if not re.fullmatch(r"[A-Za-z0-9._\-]+(?::[0-9]+)?|\[[0-9A-Fa-f:.]+\](?::[0-9]+)?", ours.authority):
            raise Finding("an authority that may not be", shortened(ours.authority))
        secret = ours.credentials is not None and _PASSWORD in ours.credentials.decode("latin-1")
        if secret and _PASSWORD not in ours.host + ours.target:
            for told in (str(ours), repr(ours), ours.url):
                if _PASSWORD in told:
                    raise Finding("a password is told", shortened(told))

    def _compare(self, url: str, ours: ServerURL) -> None:
        try:
            theirs = parse_uri(url)
        except InvalidURI as error:
            told = str(error)
            if "fragment" in told and self.differs("a fragment"):
                return
            if "password" in told and self.differs("a user alone"):
                return
            raise Finding("taken, and refused by websockets", f"{url!r}: {told}") from None
        except (ValueError, UnicodeError) as error:
            if isinstance(error, UnicodeDecodeError) and self.differs("credentials that are no text"):
                return
            if "[" in url and not url.isascii() and self.differs("an address in IDNA"):
                return
            raise Finding("taken, and websockets raises", f"{url!r}: {error!r}") from None
        host = unquote(theirs.host) if "[" in url else theirs.host
        must_be_equal("other than websockets", (ours.secure, ours.host, ours.port), (theirs.secure, host, theirs.port))
        self._compare_target(url, ours, theirs.resource_name)
        if ours.credentials is not None and theirs.username is not None:
            parts = urlsplit(url)
            both = b"%b:%b" % (unquote_to_bytes(parts.username or ""), unquote_to_bytes(parts.password or ""))
            must_be_equal("other credentials", ours.credentials, both)

    def _compare_target(self, url: str, ours: ServerURL, theirs: str) -> None:
        if ours.target == theirs:
            return
        if not self.differs("encoding"):
            raise Finding("another target", f"{ours.target!r} and not {theirs!r}")
        parts = urlsplit(url)
        raw = f"{parts.path or '/'}{'?' if parts.query else ''}{parts.query}"
        encoded = re.sub(r"%(?![0-9A-Fa-f]{2})|[^%]", lambda match: quote(match[0], safe="-._~!$&'()*+,;=:@/?"), raw)
        must_be_equal("another target", ours.target, encoded)

    def _compare_refusal(self, url: str, error: ValueError) -> None:
        """What is refused is refused by websockets as well, or for a reason that has a name."""
        try:
            theirs = parse_uri(url)
        except (ValueError, UnicodeError, InvalidURI):
            return
        told = str(error)
        if re.search(r"[\x00-\x20\x7f]|^\s|\s$|[\ud800-\udfff]", url) and self.differs("control characters"):
            return
        if "no valid port" in told and theirs.port in (80, 443) and self.differs("a port of 0"):
            return
        if "IDNA" in told and self.differs("IDNA of 2003"):
            return
        bad_host = re.search(r"valid host|address", told) and not re.fullmatch(
            r"[a-z0-9\-]+(\.[a-z0-9\-]+)*", theirs.host
        )
        if (bad_host or len(theirs.host) > 63 or "[" in url) and self.differs("bad hosts"):
            return
        if "credentials" in told and self.differs("bad credentials"):
            return
        raise Finding("refused, and taken by websockets", f"{url!r}: {told}")

    def _check_proxy(self, url: str) -> Hashable:
        try:
            ours = parse_proxy_url(url)
        except ValueError as error:
            self._check_error(url, error)
            return str(error)[:25]
        parts = urlsplit(re.sub("^socks(?=:)", "socks5", url, flags=re.I))
        must_be_equal("another scheme", ours.scheme, parts.scheme)
        wanted = (
            {"http": 80, "https": 443, "socks5": 1080, "socks5h": 1080}[ours.scheme]
            if parts.port is None
            else parts.port
        )
        must_be_equal("another port", ours.port, wanted)
        must_be_equal("another user", ours.username, None if parts.username is None else unquote(parts.username))
        if bracketed(ours.host).isascii() is False:
            raise Finding("a host outside ASCII", shortened(ours.host))
        if (
            _PASSWORD in f"{ours} {ours!r}"
            and _PASSWORD in ours.password
            and _PASSWORD not in ours.host + str(ours.username)
        ):
            raise Finding("a password is told", f"{ours} {ours!r}")
        again = parse_proxy_url(str(ours).replace("%", "%25") if ":" in ours.host else str(ours))
        must_be_equal("parsed again", (again.scheme, again.host, again.port), (ours.scheme, ours.host, ours.port))
        return (ours.scheme, ours.username is None, ":" in ours.host)

    def _check_error(self, url: str, error: ValueError) -> None:
        """A refusal is one line, and tells no password that stands where one belongs."""
        told = str(error)
        if not told.isprintable():
            raise Finding("an error that is no line", repr(told))
        if f":{_PASSWORD}@" in url and url.count(_PASSWORD) == 1 and _PASSWORD in told:
            raise Finding("an error tells a password", told)


def _place(url: ServerURL) -> tuple[object, ...]:
    return url.secure, url.host.partition("%")[0], url.port, url.target, url.authority


def _host(rng: Random) -> str:
    if rng.random() < 0.5:
        return rng.choice(
            ("example.com", "Example.COM", "localhost", "127.0.0.1", "[::1]", "[fe80::1%25eth0]", "a.b-c_d")
        )
    letters = "ab.-_0A%$\u00e9\u00df\u0130\uff21\u3002"
    return "".join(rng.choices(letters, k=rng.randrange(0, 10))) * (30 if rng.random() < 0.02 else 1)


def _port(rng: Random) -> str:
    return rng.choice(("", "", "", ":80", ":443", ":8080", ":", ":0", ":65536", ":a", ":\u0664"))
