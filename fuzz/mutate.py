"""An input changed at random: bytes, ranges, words of the format, numbers, and parts of another input."""

from __future__ import annotations

import re
from collections.abc import Callable, Sequence
from random import Random

#: Bytes at the edges of ranges, and those with a meaning in some format.
_BYTES = b"\x00\x01\x09\x0a\x0d\x20\x7d\x7e\x7f\x80\x81\x88\xbf\xc0\xfe\xff\"\\,;=:/?#@[]%*{}'-."

_NUMBER = re.compile(rb"[0-9]+")
_NUMBERS = (b"0", b"1", b"8", b"15", b"16", b"-1", b"00", b"125", b"255", b"65535", b"65536", b"4294967296", b"9" * 30)

_Change = Callable[[Random, bytearray, Sequence[bytes], bytes], None]


def mutated(rng: Random, data: bytes, words: Sequence[bytes], other: bytes, most_bytes: int) -> bytes:
    """The data with one to eight changes. other: an input from which parts are taken."""
    changed = bytearray(data)
    for _ in range(rng.choice((1, 1, 1, 2, 2, 3, 5, 8))):
        rng.choice(_CHANGES)(rng, changed, words, other)
    return bytes(changed[:most_bytes])


def _place(rng: Random, data: bytearray) -> int:
    return rng.randrange(len(data) + 1)


def _range(rng: Random, data: Sequence[int]) -> slice:
    start = rng.randrange(len(data) + 1)
    return slice(start, start + rng.choice((1, 2, 3, 4, 8, rng.randrange(1, 65))))


def _flip_bit(rng: Random, data: bytearray, _words: Sequence[bytes], _other: bytes) -> None:
    if data:
        data[rng.randrange(len(data))] ^= 1 << rng.randrange(8)


def _set_byte(rng: Random, data: bytearray, _words: Sequence[bytes], _other: bytes) -> None:
    if data:
        data[rng.randrange(len(data))] = rng.choice(_BYTES) if rng.random() < 0.7 else rng.randrange(256)


def _insert_byte(rng: Random, data: bytearray, _words: Sequence[bytes], _other: bytes) -> None:
    data.insert(_place(rng, data), rng.choice(_BYTES))


def _delete(rng: Random, data: bytearray, _words: Sequence[bytes], _other: bytes) -> None:
    del data[_range(rng, data)]


def _cut(rng: Random, data: bytearray, _words: Sequence[bytes], _other: bytes) -> None:
    del data[_place(rng, data) :]


def _repeat(rng: Random, data: bytearray, _words: Sequence[bytes], _other: bytes) -> None:
    """A range twice, and now and then very often: what takes a square of the time shows by that."""
    where = _range(rng, data)
    times = rng.choice((1, 1, 1, 2, 5)) if rng.random() < 0.97 else 1000
    data[where.start : where.start] = bytes(data[where]) * times


def _move(rng: Random, data: bytearray, _words: Sequence[bytes], _other: bytes) -> None:
    where = _range(rng, data)
    moved = bytes(data[where])
    del data[where]
    place = _place(rng, data)
    data[place:place] = moved


def _put_word(rng: Random, data: bytearray, words: Sequence[bytes], _other: bytes) -> None:
    if words:
        place = _place(rng, data)
        word = rng.choice(words)
        data[place : place + (len(word) if rng.random() < 0.3 else 0)] = word


def _change_number(rng: Random, data: bytearray, _words: Sequence[bytes], _other: bytes) -> None:
    found = list(_NUMBER.finditer(data))
    if found:
        number = rng.choice(found)
        data[number.start() : number.end()] = rng.choice(_NUMBERS)


def _splice(rng: Random, data: bytearray, _words: Sequence[bytes], other: bytes) -> None:
    """The end of the other one after the beginning of this."""
    del data[_place(rng, data) :]
    data += other[rng.randrange(len(other) + 1) :]


def _graft(rng: Random, data: bytearray, _words: Sequence[bytes], other: bytes) -> None:
    """A part of the other one, put into this."""
    place = _place(rng, data)
    data[place:place] = other[_range(rng, other)]


_CHANGES: tuple[_Change, ...] = (
    *(_flip_bit, _set_byte, _set_byte, _insert_byte, _delete, _delete, _cut, _repeat, _move),
    *(_put_word, _put_word, _change_number, _splice, _graft),
)
