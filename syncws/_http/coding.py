"""The content codings of a body: gzip and deflate are undone, others are named (RFC 9110 section 8.4).

For the beginning of an error's body, which somebody is to read. What a body may become is bounded, so no bomb costs
more than that.
"""

from __future__ import annotations

import zlib
from collections.abc import Iterable

#: Bytes that a body may become.
DECODED_LIMIT = 4096

#: Codings of one body. One is usual; a server that says more than these wants to keep us busy.
_MOST = 4

#: zlib's window argument for each coding: what is tried, one after the other. Some servers say deflate and send it raw.
_WINDOWS = {"gzip": (31,), "x-gzip": (31,), "deflate": (15, -15)}


def decode(body: bytes, lines: Iterable[str]) -> tuple[bytes, str]:
    """The body of a response without its codings, and those that it still has: "br", or "" for none.

    body may be only the beginning of it. lines are those of its Content-Encoding. A coding that is unknown, or that the
    body does not have, ends the work: then the body is as it was before that one.
    """
    named = (coding.strip().lower() for line in lines for coding in line.split(","))
    codings = [coding for coding in named if coding not in ("", "identity")]
    while body and codings and len(codings) <= _MOST:
        plain = _undo(body, codings[-1])
        if plain is None:
            break
        body = plain
        codings.pop()
    return body, ", ".join(codings)


def _undo(body: bytes, coding: str) -> bytes | None:
    """The beginning of what was encoded; None if this is no such coding."""
    for windows in _WINDOWS.get(coding, ()):
        try:
            return zlib.decompressobj(windows).decompress(body, DECODED_LIMIT)
        except zlib.error:
            continue
    return None
