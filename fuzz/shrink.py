"""A failing input made as short and as plain as it goes while it still fails in the same way."""

from __future__ import annotations

from collections.abc import Callable

#: How often the harness is asked at most.
MOST_TRIES = 4000


def shrunk(data: bytes, fails: Callable[[bytes], bool], most_tries: int = MOST_TRIES) -> bytes:
    """The shortest input found that fails too: ranges are left out, then single bytes made plain.

    fails: whether an input fails in the same way.
    """
    tries = most_tries

    def still(candidate: bytes) -> bool:
        nonlocal tries
        tries -= 1
        return tries >= 0 and fails(candidate)

    before = b""
    while data != before and tries > 0:
        before = data
        data = _without_ranges(data, still)
        data = _plain(data, still)
    return data


def _without_ranges(data: bytes, still: Callable[[bytes], bool]) -> bytes:
    size = max(1, len(data) // 2)
    while True:
        at = 0
        while at < len(data):
            candidate = data[:at] + data[at + size :]
            if still(candidate):
                data = candidate
            else:
                at += size
        if size == 1:
            return data
        size //= 2


def _plain(data: bytes, still: Callable[[bytes], bool]) -> bytes:
    for at in range(len(data)):
        for plain in (0, 0x61):
            if data[at] == plain:
                break
            candidate = data[:at] + bytes((plain,)) + data[at + 1 :]
            if still(candidate):
                data = candidate
                break
    return data
