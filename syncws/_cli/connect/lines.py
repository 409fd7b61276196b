"""Standard input, cut into messages: lines, what stands between NULs, or all of it."""

from __future__ import annotations

import os
from collections.abc import Iterator

_SIZE = 1 << 16


def messages_in(fd: int, separator: bytes | None) -> Iterator[bytes]:
    """The messages that come over a descriptor, each as soon as it is whole; the last one may lack its separator.

    separator: b"\\n", and a carriage return before it belongs to it; b"\\0"; None for all of it as one message.

    It reads the descriptor itself: a thread that waits in a buffered file cannot be left behind when the program ends.
    """
    pieces: list[bytes] = []
    while data := os.read(fd, _SIZE):
        if separator is None or separator not in data:
            pieces.append(data)
            continue
        first, *others = data.split(separator)
        yield _without_return(b"".join([*pieces, first]), separator)
        for each in others[:-1]:
            yield _without_return(each, separator)
        pieces = [others[-1]]
    rest = b"".join(pieces)
    if rest:
        yield rest


def _without_return(line: bytes, separator: bytes) -> bytes:
    return line.removesuffix(b"\r") if separator == b"\n" else line
