"""The Cookie header: what browsers send, and what servers in Python had set.

Each line of an input is the value of one header line.

Oracles: `http.cookies` where it says what a line means; what it writes is read again; the lines of a header each alone.
"""

from __future__ import annotations

import http.cookies
import re
from collections.abc import Hashable
from random import Random
from typing import ClassVar

from syncws._http.cookies import parse_cookies

from .grammar import token
from .harness import Difference, Finding, Harness, lines_of, must_be_equal, shortened

#: RFC 6265 section 4.2.1, with any blanks, and what http.cookies quotes.
_TOKEN = r"[!#$%&'*+\-.^_`|~0-9A-Za-z]+"
_VALUE = r'(?:[!#-+\--:<-\[\]-~]*|"(?:[ !#-\[\]-~]|\\[0-3][0-7][0-7]|\\["\\])*")'
_STRICT = re.compile(rf"{_TOKEN}={_VALUE}(?:; *{_TOKEN}={_VALUE})*")

#: What http.cookies takes for an attribute of the cookie before, and not for a cookie.
_ATTRIBUTES = frozenset(http.cookies.Morsel._reserved)  # type: ignore[attr-defined]


class Cookies(Harness):
    """Cookies."""

    name = "cookies"
    most_seconds = 0.2
    most_bytes = 4000
    seeds = (
        b"a=b",
        b'a="b\\054c"; d=e',
        b"a=1; a=2\na=3; b=4",
        b"\xc3\xa9=1; x=\xc3\xa9; y=\xe9",
        b"a; =b; c=; ;d=e=f",
    )
    words = (
        b"; ",
        b"=",
        b'"',
        b"\\054",
        b"\\303\\244",
        b'\\"',
        b"\\\\",
        b"\n",
        b"$Path=/",
        b"path=/",
        b"\x85",
        b"\xa0",
    )
    differences: ClassVar = {
        "attributes": Difference(
            "http.cookies takes path, expires and the like, and what begins with $, for attributes of a cookie",
            "takes all for cookies",
            "RFC 6265 4.2.2: a Cookie header has no attributes",
            b"a=b; path=/",
        ),
        "repeated": Difference(
            "http.cookies takes the last of a name",
            "takes the first",
            "RFC 6265 5.4: cookies with a longer path are listed before, so the first is the more specific one",
            b"a=1; a=2",
        ),
    }

    def make(self, rng: Random) -> bytes:
        lines = []
        for _ in range(rng.choice((1, 1, 1, 2))):
            items = [_item(rng) for _ in range(rng.choice((1, 1, 2, 3, 6)))]
            lines.append(rng.choice(("; ", "; ", ";", " ;\t")).join(items))
        return "\n".join(lines).encode("latin-1", "replace")

    def check(self, data: bytes) -> Hashable:
        lines = list(lines_of(data))
        cookies = parse_cookies(lines)
        strict = 0
        for line in lines:
            if _STRICT.fullmatch(line):
                strict += 1
                self._compare(line)
        self._each_alone(lines, cookies)
        self._write_again(cookies)
        return len(lines), strict, min(len(cookies), 5), sum(map(len, cookies.values())) % 7

    def _compare(self, line: str) -> None:
        """What http.cookies makes of a line, where it makes something of all of it."""
        names = [item.partition("=")[0].strip() for item in re.split(r"; *", line) if "=" in item]
        if self.differs("attributes") and any(name.startswith("$") or name.lower() in _ATTRIBUTES for name in names):
            return
        if ";" in "".join(re.findall(r'"(?:[^\\"]|\\.)*"', line)):
            return  # a semicolon in quotes ends a cookie everywhere except there
        ours = parse_cookies([line])
        wanted = {}
        for name, morsel in http.cookies.SimpleCookie(line).items():
            wanted[name] = _as_utf8(morsel.value)
        if self.differs("repeated"):
            first = {
                name: http.cookies.SimpleCookie(item)
                for item in reversed(re.split("; *", line))
                for name in [item.partition("=")[0].strip()]
            }
            wanted = {name: _as_utf8(first[name][name].value) for name in wanted}
        must_be_equal("other than http.cookies", ours, wanted)

    def _each_alone(self, lines: list[str], together: dict[str, str]) -> None:
        wanted: dict[str, str] = {}
        for line in lines:
            for item in line.split(";"):
                for name, value in parse_cookies([item]).items():
                    wanted.setdefault(name, value)
        must_be_equal("other than each item alone", together, wanted)

    def _write_again(self, cookies: dict[str, str]) -> None:
        """What a server in Python sets comes back as it was."""
        for name, value in list(cookies.items())[:10]:
            if not re.fullmatch(_TOKEN, name) or name.lower() in _ATTRIBUTES:
                continue
            jar = http.cookies.SimpleCookie()
            try:
                jar[name] = value
            except http.cookies.CookieError:  # newer Pythons refuse control characters
                continue
            written = jar[name].OutputString()
            if not written.isascii():
                continue
            again = parse_cookies([written])
            if again != {name: value}:
                if again == {name: _as_utf8(value)}:  # http.cookies writes Latin-1 in octal, as if it were bytes
                    continue
                raise Finding("set and read again", f"{shortened(value)} as {written}: {shortened(again)}")


def _as_utf8(value: str) -> str:
    """The bytes of http.cookies, which are those of Latin-1 for it, as UTF-8 if they are."""
    try:
        return value.encode("latin-1").decode()
    except UnicodeError:
        return value


def _item(rng: Random) -> str:
    chance = rng.random()
    if chance < 0.08:
        return rng.choice(("", "a", "=", "=b", "a=", " a = b ", "a=b=c", 'a="b', "a=\x85", "path=/", "$Version=1"))
    name = token(rng)
    if chance < 0.55:
        value = "".join(rng.choices("abc019!#$%&'()*+-./:<=>?@[]^_`{|}~", k=rng.randrange(10)))
    elif chance < 0.9:
        plain = "".join(rng.choices('ab ,;"\\\u00e9\n\x7f', k=rng.randrange(8)))
        value = "".join(
            f"\\{ord(each):03o}" if each in ",;\u00e9\n\x7f" else f"\\{each}" if each in '"\\' else each
            for each in plain
        )
        value = f'"{value}"'
    else:
        value = "".join(chr(rng.randrange(256)) for _ in range(rng.randrange(6)))
    return f"{name}={value}"
