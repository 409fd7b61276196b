"""What comes over a bus: envelopes of every kind, on every channel, by the way in of a relay.

An input is a sequence of messages: a byte for the channel, two for the length, and the envelope.

Oracles: the format as docs/redis-protocol.md has it, read here by itself; what is decoded is encoded and decoded again;
each message is counted once; what is numbered is delivered once, however often it comes, and what is missing is told.
"""

from __future__ import annotations

import json
import struct
from collections.abc import Collection, Hashable, Iterable, Iterator
from itertools import pairwise
from random import Random
from typing import Any, ClassVar, NamedTuple

from syncws import PreparedMessage
from syncws._bus.backplane import BusHealth
from syncws._relay.envelope import MOST_EXTRA, Envelope, Foreign, Kind, decode
from syncws._relay.health import Counts
from syncws._relay.names import name_of, text_of
from syncws._relay.numbers import JUMP
from syncws._relay.relay import Relay
from syncws._relay.stamp import stamp

from .harness import Finding, Harness, must_be_equal, shortened

_BOOTS = (b"theirs!!", b"others!!", bytes(8))
_OWN = b"ourselve"
_CHANNELS = ("*", 'r:"lobby"', 'i:"ann"', f"n:{_OWN.hex()}", "i:7")
_TARGETS = ('"lobby"', '"ann"', "7", "", '["a",1]', '"x"')

#: Kinds that are numbered and bring something to members.
_BROUGHT = (Kind.ROOM, Kind.ALL, Kind.ID)


#: How a message may be counted: what is well formed and makes no sense is counted as bad as well.
_COUNTED = (["received"], ["echoes"], ["duplicates"], ["bad", "received"], ["bad", "echoes"], ["bad"])


def _seed(channel: int, kind: Kind, number: int, target: str, extra: dict[str, Any] | None, body: bytes) -> bytes:
    data = Envelope(kind, _BOOTS[0], number, target, extra, body).encode()
    return bytes((channel,)) + len(data).to_bytes(2) + data


class Read(NamedTuple):
    """An envelope as the page has it."""

    kind: int
    boot: bytes
    number: int
    target: str
    extra: Any
    body: bytes
    binary: bool
    begins: bool


def read_by_the_page(data: bytes) -> Read | str:
    """The fields of an envelope; "foreign" for one of another version, "bad" for none."""
    if len(data) < 26:
        return "bad"
    if data[0] != 1:
        return "foreign"
    kind, flags, zero = data[1], data[2], data[3]
    number = int.from_bytes(data[12:20])
    target_length, extra_length = int.from_bytes(data[20:22]), int.from_bytes(data[22:26])
    target = data[26 : 26 + target_length]
    extra = data[26 + target_length : 26 + target_length + extra_length]
    body = data[26 + target_length + extra_length :]
    if (
        kind > 9
        or flags > 7
        or zero
        or extra_length > MOST_EXTRA
        or len(extra) < extra_length
        or len(target) < target_length
    ):
        return "bad"
    try:
        told = json.loads(extra) if extra else None
        text = target.decode()
        if not flags & 1:
            body.decode()
    except (ValueError, RecursionError):
        return "bad"
    if extra and not isinstance(told, dict):
        return "bad"
    return Read(kind, data[4:12], number, text, told, body, bool(flags & 1), bool(flags & 4))


class Bus:
    """A backplane that takes everything and says nothing."""

    addressed, echoes, max_message, archive = True, True, 1 << 20, None

    def start(self, sink: object, node: str) -> None: ...

    def publish(self, channel: str, data: bytes, *, keep: bool = False) -> bool:
        if isinstance(read_by_the_page(data), str):
            raise Finding("what is published is no envelope", data.hex())
        return True

    def subscribe(self, channels: Iterable[str], timeout: float) -> bool:
        return True

    def flush(self, timeout: float) -> bool:
        return True

    def outlet(self) -> Any:
        raise AssertionError("nobody publishes without listening")

    def unsubscribe(self, channels: Iterable[str]) -> None: ...

    def close(self, timeout: float) -> None: ...

    def health(self) -> BusHealth:
        return BusHealth(True)


class Members:
    """The members of this process: ann and 7, in the lobby."""

    def __init__(self) -> None:
        self.got: list[Any] = []

    def find(self, id: Hashable) -> list[Hashable]:
        return [id] if id in ("ann", 7) else []

    def has(self, member: Hashable) -> bool:
        return member in ("ann", 7)

    def replace(self, member: Hashable) -> None:
        self.got.append(("replaced", member))

    def broadcast(self, room: Hashable, message: PreparedMessage, exclude: Collection[Hashable]) -> int:
        self.got.append(("room", room, message.payload, *exclude))
        return 1

    def remembers(self, room: Hashable) -> bool:
        return False

    def take(self, *_arguments: Any, **_keywords: Any) -> None:
        raise AssertionError("no room remembers")

    def send(self, id: Hashable, message: PreparedMessage) -> int:
        self.got.append(("id", id, message.payload))
        return 1

    def close(self, id: Hashable, code: int, reason: str) -> int:
        self.got.append(("close", id, code, reason))
        return 1

    def join(self, id: Hashable, room: Hashable) -> bool:
        self.got.append(("join", id, room))
        return True

    def leave(self, id: Hashable, room: Hashable) -> bool:
        self.got.append(("leave", id, room))
        return True

    def count(self, room: Hashable) -> int:
        return 2

    def ids(self, room: Hashable) -> list[Hashable]:
        return ["ann", 7]

    def members(self, room: Hashable) -> Iterator[tuple[Hashable, float, float]]:
        return iter([("ann", 2.0, 1.0), (7, 2.0, 1.0)])

    def rooms(self) -> set[Hashable]:
        return {"lobby"}

    def names(self) -> set[Hashable]:
        return {"ann", 7}


class Node:
    """The relay of one process, without a thread: what it would hand to one is done at once."""

    def __init__(self, relay: Relay) -> None:
        self.here = Members()
        self.missed: list[int | None] = []
        relay._here = self.here
        relay.begin_anew()
        relay.boot = _OWN
        relay.gaps.report = self._report  # type: ignore[method-assign]
        relay.deeds.run = _at_once  # type: ignore[method-assign, assignment]
        relay.interests.keep(_CHANNELS)
        self.sink = relay._inward
        self.sink._boot = _OWN
        self.sink._was_up = True
        self.relay = relay

    def _report(self, reason: str, *, missed: int | None, **_keywords: Any) -> None:
        self.missed.append(missed)

    def received(self, channel: str, data: bytes) -> dict[str, int]:
        """What was counted."""
        before = Counts(**vars(self.sink.counts))
        self.sink.received(channel, data)
        now = self.sink.counts
        return {
            name: value - getattr(before, name) for name, value in vars(now).items() if value != getattr(before, name)
        }


def _at_once(call: Any) -> bool:
    call()
    return True


class Envelopes(Harness):
    """Envelopes."""

    name = "envelopes"
    seeds = (
        _seed(1, Kind.ROOM, 1, '"lobby"', None, b"hi") + _seed(1, Kind.ROOM, 4, '"lobby"', None, b"there"),
        _seed(0, Kind.ALL, 7, "", {"exclude": ['"ann"']}, b'{"a":1}'),
        _seed(2, Kind.ID, 1, '"ann"', None, b"to you"),
        _seed(0, Kind.ASK, 1, "", {"ask": "members", "room": None, "limit": 5, "q": 1}, b""),
    )
    most_bytes = 6000
    words = (
        *(
            b"theirs!!",
            b'"lobby"',
            b'"ann"',
            b'{"ask":"ids","room":null,"limit":9,"q":1}',
            b'{"do":"close","code":1000,"reason":""}',
        ),
        *(b'{"exclude":["\\"ann\\""]}', b"null", b"true", b"[]", b"{}", b"1e400", b"NaN", b'"\\ud800"', b"[" * 2000),
        *(b"\x01\x00", b"\x01\x04", b"\x01\x09", b"\xff" * 8, b'{"q":1,', b'"at":1.5', b'"new":true'),
    )
    differences: ClassVar = {}

    def __init__(self, without: Collection[str] = ()) -> None:
        super().__init__(without)
        self._relay = Relay(Bus(), Members())  # one for all inputs: it begins anew with each

    def make(self, rng: Random) -> bytes:
        said = []
        numbers = {boot: rng.choice((0, 1, 1, 7, JUMP, 2**64 - 3)) for boot in _BOOTS}
        for _ in range(rng.choice((1, 1, 2, 3, 6, 12))):
            boot = rng.choice(_BOOTS) if rng.random() < 0.95 else _OWN
            number = numbers.get(boot, 0)
            if rng.random() < 0.75:
                numbers[boot] = number = min(2**64 - 1, number + rng.choice((1, 1, 1, 1, 0, 2, 5, JUMP + 5)))
            said.append(_message(rng, boot, number if rng.random() < 0.9 else 0))
        return b"".join(said)

    def check(self, data: bytes) -> Hashable:
        messages = list(_messages(data))
        node = Node(self._relay)
        told = []
        for channel, envelope in messages:
            told.append(self._take(node, channel, envelope))
        self._check_losses(node, messages)
        self._again(node, messages)
        return tuple(told[:6]), len(node.missed), len(node.here.got) % 5

    def _take(self, node: Node, channel: str, data: bytes) -> Hashable:
        """One message: it is read as the page says, counted once, and what it brings is what is in it."""
        wanted = read_by_the_page(data)
        try:
            ours: Envelope | str = decode(data)
        except Foreign:
            ours = "foreign"
        except ValueError:
            ours = "bad"
        if isinstance(wanted, str) or isinstance(ours, str):
            must_be_equal("read otherwise than the page says", ours, wanted)
        else:
            fields = Read(int(ours.kind), *ours[1:4], ours.extra, *ours[5:])
            must_be_equal("read otherwise than the page says", repr(fields), repr(wanted))
            self._encode_again(ours)
        if self._relay.backplane.max_message < len(data):
            return "large"
        got = len(node.here.got)
        counted = node.received(channel, data)
        if isinstance(wanted, str):
            must_be_equal("counted otherwise", counted, {wanted: 1})
            must_be_equal("what is none has done something", len(node.here.got), got)
            return wanted
        kinds = sorted(counted)
        if kinds not in _COUNTED or set(counted.values()) != {1}:
            raise Finding("not counted once", f"{counted} {shortened(wanted)}")
        if wanted.boot == _OWN and "echoes" not in kinds:
            raise Finding("an echo is taken", f"{counted} {shortened(wanted)}")
        if kinds == ["received"] and wanted.kind in _BROUGHT:
            self._compare_brought(wanted, node.here.got[got:])
        return (wanted.kind, *kinds)

    def _compare_brought(self, wanted: Read, got: list[Any]) -> None:
        excluded = [name_of(each) for each in (wanted.extra or {}).get("exclude", [])]
        if wanted.kind == Kind.ID:
            must_be_equal("another message", got, [("id", name_of(wanted.target), wanted.body)])
        else:
            room = name_of(wanted.target) if wanted.kind == Kind.ROOM else None
            must_be_equal("another message", got, [("room", room, wanted.body, *excluded)])

    def _encode_again(self, ours: Envelope) -> None:
        try:
            again = ours.encode()
        except (ValueError, UnicodeEncodeError):
            return  # an extra that is longer as ASCII, a target that is too long, half of a pair in it
        must_be_equal("encoded and decoded again", repr(decode(again)), repr(ours))
        self._check_name(ours.target)
        if not ours.binary and ours.kind in _BROUGHT:
            self._check_stamp(ours.body)

    def _check_name(self, target: str) -> None:
        try:
            name = name_of(target)
        except ValueError:
            return
        must_be_equal("the text of a name", text_of(name), target)

    def _check_stamp(self, body: bytes) -> None:
        """A position is put into a JSON object, and into nothing else."""
        try:
            before = json.loads(body)
        except (ValueError, RecursionError):
            return
        stamped = stamp(body, "position", "1-2")
        if not isinstance(before, dict):
            must_be_equal("what is no object is stamped", stamped, body)
            return
        after = json.loads(stamped, object_pairs_hook=list)
        must_be_equal("the first key", tuple(after[0]), ("position", "1-2"))
        must_be_equal("the other keys", repr(after[1:]), repr(json.loads(body, object_pairs_hook=list)))

    def _check_losses(self, node: Node, messages: list[tuple[str, bytes]]) -> None:
        """Of broadcasts that one process sent in order on one channel, what did not come is told, to the last one."""
        numbered = [each for each in (_numbered(*message) for message in messages) if each is not None]
        if len(numbered) != len(messages) or len({(channel, read.boot) for channel, read in numbered}) != 1:
            return
        numbers = [read.number for _, read in numbered]
        if any(read.begins for _, read in numbered) or not all(0 < b - a <= JUMP for a, b in pairwise(numbers)):
            return
        missed = numbers[-1] - numbers[0] + 1 - len(numbers)
        must_be_equal("what is missing", sum(each or 0 for each in node.missed), missed)

    def _again(self, node: Node, messages: list[tuple[str, bytes]]) -> None:
        """Everything that is numbered and comes twice in a row does what it does once."""
        once = [each for each in messages if _numbered(*each) is not None]
        if not once:
            return
        alone = Node(self._relay)
        for channel, data in once:
            alone.received(channel, data)
        twice = Node(self._relay)
        for channel, data in once:
            twice.received(channel, data)
            counted = twice.received(channel, data)
            if counted.get("received"):
                raise Finding("a copy is taken", data.hex())
        must_be_equal("twice and once", twice.here.got, alone.here.got)


def _numbered(channel: str, data: bytes) -> tuple[str, Read] | None:
    """A broadcast with a number, on the channel that it is for; None for anything else."""
    read = read_by_the_page(data)
    if isinstance(read, str) or read.boot == _OWN or not read.number or read.kind not in _BROUGHT or read.extra:
        return None
    wanted = {Kind.ALL: "*", Kind.ROOM: f"r:{read.target}", Kind.ID: f"i:{read.target}"}[Kind(read.kind)]
    return (channel, read) if channel == wanted else None


def _messages(data: bytes) -> Iterator[tuple[str, bytes]]:
    at = 0
    while len(data) - at >= 3:
        end = at + 3 + int.from_bytes(data[at + 1 : at + 3])
        yield _CHANNELS[data[at] % len(_CHANNELS)], data[at + 3 : end]
        at = end


_SAID: dict[Kind, tuple[Any, ...]] = {
    Kind.ROOM: (None, None, {"exclude": ['"ann"']}, {"exclude": []}, {"exclude": "ann"}, {"conns": ["a"]}),
    Kind.ALL: (None, None, {"exclude": ["7"]}, {"exclude": [7]}),
    Kind.ID: (None,),
    Kind.LOST: (
        {"first": 1, "age": 0.5},
        {"first": 9, "age": 1e9},
        None,
        {"first": "1", "age": 1},
        {"first": True, "age": 0},
    ),
    Kind.BEAT: (
        {"host": "h", "pid": 1, "connections": 2, "rooms": 0, "hears": True, "new": True},
        {"host": "h\n", "pid": 1, "connections": 2, "rooms": 0},
        {"host": 1},
    ),
    Kind.LEAVE: (None, {"a": 1}),
    Kind.ASK: (
        *({"ask": "count", "room": None, "q": 1}, {"ask": "ids", "room": '"lobby"', "limit": 5, "q": 2}),
        *({"ask": "members", "room": None, "limit": -1, "q": 3}, {"ask": "send", "id": '"ann"', "q": 4}),
        *(
            {"ask": "close", "id": '"ann"', "code": 1000, "reason": "", "q": 5},
            {"ask": "claim", "id": "7", "at": 1.5, "q": 6},
        ),
        *({"ask": "?", "q": 7}, {"ask": "count", "room": None}, {"ask": "count", "room": None, "q": 1e300}),
    ),
    Kind.ANSWER: ({"q": 1, "n": 3}, {"q": None}, {"q": [1]}, {"q": 1, "taken": True}, None),
    Kind.CLAIM: ({"at": 1.5, "n": 1}, {"at": 2**60, "n": 1}, {"at": 1, "again": True, "n": 1}, {"n": 4}, None),
    Kind.DO: (
        *(
            {"do": "close", "code": 1000, "reason": "bye"},
            {"do": "join", "room": '"x"'},
            {"do": "leave", "room": '"lobby"'},
        ),
        *({"do": "join", "room": 1}, {"do": "eval"}, None),
    ),
}

_BODIES = (
    b"",
    b"hi",
    b'{"a":1}',
    b" {} ",
    b"[1]",
    b'{"position":"x","b":{}}',
    b"\xff",
    b'[["\\"ann\\"",1.5]]',
    "\u00e9".encode(),
)


def _message(rng: Random, boot: bytes, number: int) -> bytes:
    kind = rng.choice((*(Kind.ROOM, Kind.ALL, Kind.ID), *Kind))
    target = {Kind.ROOM: '"lobby"', Kind.ID: '"ann"', Kind.DO: '"ann"', Kind.CLAIM: '"ann"'}.get(kind, "")
    if rng.random() < 0.1:
        target = rng.choice(_TARGETS)
    extra = rng.choice(_SAID[kind])
    text = b"" if extra is None else json.dumps(extra, separators=(",", ":")).encode()
    flags = rng.choice((0, 0, 1, 4, 2)) if rng.random() < 0.95 else rng.randrange(256)
    encoded = target.encode()
    head = struct.pack(
        ">BBBB8sQHI", 1 if rng.random() < 0.97 else 2, kind, flags, 0, boot, number, len(encoded), len(text)
    )
    data = head + encoded + text + rng.choice(_BODIES)
    channel = {Kind.ROOM: 1, Kind.ID: 2, Kind.DO: 2, Kind.ANSWER: 3}.get(kind, 0)
    if kind == Kind.CLAIM and target:
        channel = 2
    if rng.random() < 0.06:
        channel = rng.randrange(5)
    return bytes((channel,)) + len(data).to_bytes(2) + data
