"""What processes of one host write to each other, and positions in a history, which clients send back.

The first byte of an input says which, the rest is the bytes or the text.

    0  frames of a local bus          1  a position in a history that a process keeps
    2  what Redis brings              3  a position in a history in Redis

Oracles: the formats as their pages have them, read here by themselves; frames in other pieces; a history that is known.
"""

from __future__ import annotations

import re
from collections.abc import Collection, Hashable, Sequence
from random import Random
from typing import ClassVar

from syncws._bus.history import History
from syncws._bus.localframes import BESIDE, Frames, frame, goodbye, greeting
from syncws._bus.memoryarchive import MemoryArchive
from syncws._bus.redisarchive import _parse, pack, unpack

from .harness import Finding, Harness, must_be_equal, one_by_one, pieces, shortened

LOCAL, POSITION, REDIS, REDIS_POSITION = range(4)

_MOST = 1000
_CHANNEL = 'r:"lobby"'
_BOOT = b"theirs!!"


def _local(chunks: Sequence[bytes]) -> tuple[list[tuple[str, bytes]], bool]:
    """The frames of a local bus, and whether what follows cannot be read."""
    frames = Frames(_MOST)
    found: list[tuple[str, bytes]] = []
    try:
        for chunk in chunks:
            found.extend(frames.add(chunk))
    except ValueError:
        return found, True
    return found, False


def _by_the_page(data: bytes) -> tuple[list[tuple[str, bytes]], bool]:
    """The same, frame by frame."""
    found: list[tuple[str, bytes]] = []
    while len(data) >= 6:
        length, name_length = int.from_bytes(data[:4]), int.from_bytes(data[4:6])
        if length > _MOST + BESIDE or length < 2 + name_length:
            return found, True
        if len(data) < 4 + length:
            break
        try:
            found.append((data[6 : 6 + name_length].decode(), data[6 + name_length : 4 + length]))
        except UnicodeDecodeError:
            return found, True
        data = data[4 + length :]
    return found, False


class Buses(Harness):
    """Buses."""

    name = "buses"
    most_bytes = 3000
    most_seconds = 0.2
    seeds = (
        b"\x00" + greeting("0123456789abcdef") + frame(_CHANNEL, b"hi") + goodbye(),
        b"\x02\x00\x05a-1-bdata",
        b"\x02\x01" + bytes(30),
        b"\x030123456789abcdef-12-01234567",
    )
    words = (
        b"\0\0\0\x02\0\0",
        b"\0\0\0",
        b"\xff\xff\xff\xff",
        b'r:"lobby"',
        b"-",
        b".",
        b"!",
        b"~",
        b"syncws 1 ",
        b"0",
    )
    differences: ClassVar = {}

    def __init__(self, without: Collection[str] = ()) -> None:
        super().__init__(without)
        self._archive = MemoryArchive(History(ttl=1e9))
        self._archive.begin(b"ourselve")
        self._kept = [b"message %d" % number for number in range(6)]
        beginning = self._archive.read(_CHANNEL, None, 0.0).position
        found = [self._archive.append(_CHANNEL, _BOOT, number + 1, data) for number, data in enumerate(self._kept)]
        #: The positions that are known, each with how many messages come before it.
        self._known = {beginning: 0} | {position: number + 1 for number, position in enumerate(found) if position}

    def make(self, rng: Random) -> bytes:
        kind = rng.randrange(4)
        if kind == LOCAL:
            return bytes((kind,)) + b"".join(_frame(rng) for _ in range(rng.choice((1, 2, 4))))
        if kind == POSITION:
            return bytes((kind,)) + rng.choice(list(self._known)).encode()
        if kind == REDIS:
            position = rng.choice((b"", b"0123456789abcdef-1-01234567", b"\xff", b"x" * 255))
            return bytes((kind, 0, len(position))) + position + rng.choice((b"", b"data", b"\0"))
        return bytes((kind,)) + b"%016x-%d-%08x" % (
            rng.getrandbits(64),
            rng.choice((0, 1, 10**14)),
            rng.getrandbits(32),
        )

    def check(self, data: bytes) -> Hashable:
        kind, rest = (data[0] if data else 0) % 4, data[1:]
        if kind == LOCAL:
            return self._check_local(rest)
        if kind == POSITION:
            return self._check_position(rest.decode("latin-1"))
        if kind == REDIS:
            return self._check_redis(rest)
        return self._check_redis_position(rest.decode("latin-1"))

    def _check_local(self, data: bytes) -> Hashable:
        ours = _local([data])
        must_be_equal("other than the page says", ours, _by_the_page(data))
        cuts = [pieces(data), pieces(data, 1), *([one_by_one(data)] if len(data) <= 500 else [])]
        for cut in cuts:
            must_be_equal("other when cut", _local(cut), ours)
        for channel, message in ours[0]:
            if channel and len(message) <= _MOST:
                must_be_equal(
                    "written and read again", _local([frame(channel, message)]), ([(channel, message)], False)
                )
        return LOCAL, len(ours[0]), ours[1]

    def _check_position(self, position: str) -> Hashable:
        """A position that is known is followed by what came after it, any other by nothing that was not kept."""
        past = self._archive.read(_CHANNEL, position, 0.0)
        got = [entry.data for entry in past.entries]
        if position in self._known:
            must_be_equal(
                "what came after a position", (got, past.recovered), (self._kept[self._known[position] :], True)
            )
        elif not past.recovered and got:
            raise Finding("messages of a past that is not recovered", shortened(past))
        elif got != self._kept[len(self._kept) - len(got) :]:
            raise Finding("a past that was not", shortened(past))
        for known in self._known:
            self._archive.is_after(position, known)
            self._archive.is_after(known, position)
        return POSITION, past.recovered, len(got)

    def _check_redis(self, data: bytes) -> Hashable:
        try:
            position, message = unpack(data)
        except ValueError:
            return REDIS, "wrong"
        if position is not None and not position.isascii():
            raise Finding("a position that is no ASCII", position)
        must_be_equal("packed and unpacked", unpack(pack(data)), (None, data))
        return REDIS, position is None, len(message)

    def _check_redis_position(self, position: str) -> Hashable:
        found = _parse(position)
        good = re.fullmatch(r"[0-9a-f]{16}-(?:0|[1-9][0-9]{0,14})-[0-9a-f]{8}", position, re.ASCII) is not None
        must_be_equal("a position or none", found is not None, good)
        if found is not None:
            must_be_equal("a position written again", str(found), position)
        return REDIS_POSITION, good


def _frame(rng: Random) -> bytes:
    chance = rng.random()
    if chance < 0.2:
        return rng.choice((greeting("0123456789abcdef"), goodbye(), greeting("")))
    channel = rng.choice((_CHANNEL, "*", "i:\u00e9", "x" * 300))
    data = frame(channel, rng.randbytes(rng.choice((0, 1, 5, 100, _MOST))))
    if chance > 0.9:
        return rng.choice(
            (data[:-1], data[:3] + b"\xff" + data[4:], data[:4] + b"\xff\xff" + data[6:], data[:7] + b"\xff")
        )
    return data
