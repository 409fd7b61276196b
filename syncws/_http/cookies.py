"""The cookies of a request: what browsers send, and what servers in Python had set (RFC 6265 sections 4.1, 5.4)."""

from __future__ import annotations

import re
from collections.abc import Iterable

#: Inside quotes http.cookies, and those who do as it does, write a byte in octal, or a backslash before a character.
_ESCAPE = re.compile(rb"\\(?:([0-3][0-7][0-7])|(.))", re.DOTALL)

_BLANKS = " \t"  # and no others: among the bytes of UTF-8 is one that Latin-1 has for a blank


def parse_cookies(lines: Iterable[str]) -> dict[str, str]:
    """The cookies of every Cookie line, by name. Of one that is repeated, the first, which is more specific.

    Quotes around a value go, and what is escaped between them is decoded. The bytes are UTF-8, or else Latin-1. What
    is no cookie is passed over; nothing is raised.
    """
    cookies: dict[str, str] = {}
    for line in lines:
        for item in line.split(";"):
            name, equals, value = item.partition("=")
            name = name.strip(_BLANKS)
            if equals and name:
                cookies.setdefault(name, _decoded(value.strip(_BLANKS)))
    return cookies


def _decoded(value: str) -> str:
    quoted = len(value) > 1 and value[0] == value[-1] == '"'
    inside = value[1:-1] if quoted else value
    try:
        data = inside.encode("latin-1")  # a header's bytes, which have been taken for Latin-1
    except UnicodeEncodeError:  # of a request that was made by hand
        data = inside.encode("utf-8", "replace")
    if quoted:
        data = _ESCAPE.sub(lambda match: bytes([int(match[1], 8)]) if match[1] else match[2], data)
    try:
        return data.decode()
    except UnicodeDecodeError:
        return data.decode("latin-1")
