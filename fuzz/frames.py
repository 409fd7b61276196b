"""Frames of either role, compressed or not: what `Protocol` reads of a stream, however it comes.

The first byte of an input says how the stream is read, the rest is the stream:

    bit 0      this side is the client
    bit 1      permessage-deflate was agreed on
    bit 2      the peer keeps its context
    bits 3, 4  the read limit, of `_LIMITS`
    bit 5      a limit of 20 fragments
    bit 6      the peer was told to forget its context and has not said that it will
    bit 7      a peer that keeps its context has the smallest window, of 512 bytes

Oracles: `websockets` and wsproto on the same frames; the same stream in other pieces and by other methods; the same
stream with a limit.
"""

from __future__ import annotations

from collections.abc import Callable, Hashable, Sequence
from random import Random
from typing import ClassVar, NamedTuple
from zlib import crc32

from syncws._frames.deflate import wire_limit
from syncws._frames.protocol import Protocol
from syncws._frames.runs import SMALL
from syncws._frames.window import LARGEST, Window
from syncws.errors import ProtocolError

from .harness import Difference, Finding, Harness, must_be_equal, one_by_one, pieces, shortened
from .readers import FAIL, Event, Inflation, Reading, Theirs, by_wsproto, completed
from .wire import BINARY, CLOSE, CONTINUATION, FIN, PING, PONG, RSV1, TEXT, WORDS, Arrival, Talk, arrivals, written

_CLIENT, _COMPRESSION, _TAKEOVER, _FRAGMENTS, _UNSURE, _SMALL = 1, 2, 4, 32, 64, 128
_LIMITS = (None, None, 16, 300)
_MOST_FRAGMENTS = 20
_LIMITED = 0b111000

_KEY = b"\0\0\0\0"


class Setting(NamedTuple):
    """How a stream is read."""

    client: bool
    compression: bool
    takeover: bool  # whether messages may refer back to those before them
    on_trial: bool
    bits: int  # the window that the peer has, as a power of two
    limit: int | None
    fragment_limit: int | None

    @classmethod
    def of(cls, flags: int) -> Setting:
        compression = bool(flags & _COMPRESSION)
        return cls(
            bool(flags & _CLIENT),
            compression,
            compression and bool(flags & (_TAKEOVER | _UNSURE)),
            bool(flags & _UNSURE),
            9 if compression and flags & (_TAKEOVER | _UNSURE | _SMALL) == _TAKEOVER | _SMALL else LARGEST,
            _LIMITS[flags >> 3 & 3],
            _MOST_FRAGMENTS if flags & _FRAGMENTS else None,
        )

    def protocol(self) -> Protocol:
        return Protocol(
            client=self.client,
            read_limit=self.limit,
            compression=self.compression,
            window=Window(self.bits, on_trial=self.on_trial) if self.takeover else None,
            fragment_limit=self.fragment_limit,
        )

    @property
    def unlimited(self) -> Setting:
        return self._replace(limit=None, fragment_limit=None)


class Ours(NamedTuple):
    """What `Protocol` made of a stream: the reading, and the words of its failure."""

    reading: Reading
    reason: str

    @property
    def events(self) -> list[Event]:
        return [event for _, event in self.reading]


# The ways to read. Each takes chunks; the number in the reading is that of the chunk.


def _drain(protocol: Protocol, add: Callable[[Event], None]) -> None:
    while (event := protocol.next_event()) is not None:
        add((int(event[0]), event[1]))


def by_events(protocol: Protocol, chunk: bytes, add: Callable[[Event], None]) -> None:
    """With `receive` and `next_event`."""
    protocol.receive(chunk)
    _drain(protocol, add)


def by_only(protocol: Protocol, chunk: bytes, add: Callable[[Event], None]) -> None:
    """As a connection does: with `only` while nothing is there."""
    if protocol.idle and (event := protocol.only(chunk)) is not None:
        add((int(event[0]), event[1]))
    else:
        by_events(protocol, chunk, add)


def at_rest(protocol: Protocol, chunk: bytes, add: Callable[[Event], None]) -> None:
    """With a window that holds as little as can be whenever the stream stands between two messages."""
    by_events(protocol, chunk, add)
    if protocol.window is not None and protocol.idle:
        protocol.window.let_go()


def in_place(protocol: Protocol, chunk: bytes, add: Callable[[Event], None]) -> None:
    """With `destination` wherever it gives something."""
    while chunk:
        view = protocol.destination()
        if view is None:
            return by_events(protocol, chunk, add)
        taken = chunk[: len(view)]
        view[: len(taken)] = taken
        view.release()
        protocol.received(len(taken))
        chunk = chunk[len(taken) :]
        _drain(protocol, add)
    return None


def read(setting: Setting, chunks: Sequence[bytes], way: Callable[..., None]) -> Ours:
    """What comes of the chunks."""
    protocol = setting.protocol()
    reading: Reading = []
    try:
        for number, chunk in enumerate(chunks):
            way(protocol, chunk, lambda event, number=number: reading.append((number, event)))
            if reading and reading[-1][1][0] == CLOSE:
                break
    except ProtocolError as error:
        reading.append((number, (FAIL, int(error.code))))
        return Ours(reading, error.reason)
    return Ours(reading, "")


def in_pieces(setting: Setting, chunks: Sequence[bytes]) -> Ours:
    """With `next_piece`: the pieces of a message joined."""
    message: list[bytes] = []

    def way(protocol: Protocol, chunk: bytes, add: Callable[[Event], None]) -> None:
        protocol.receive(chunk)
        while (piece := protocol.next_piece()) is not None:
            kind, data, final = piece
            if kind not in (TEXT, BINARY):
                add((int(kind), data))
                continue
            message.append(data)
            if kind == TEXT:
                data.decode()  # each piece is in whole characters
            if final:
                whole = b"".join(message)
                message.clear()
                add((int(kind), whole.decode() if kind == TEXT else whole))

    return read(setting, chunks, way)


def attended(setting: Setting, chunks: Sequence[bytes], seed: int) -> tuple[list[Event], list[Event], Ours]:
    """With `look_ahead` for some of the chunks: (messages, control frames, all that the reader got)."""
    rng = Random(seed)
    kept = rng.choice(((), (CLOSE,), (PING, PONG, CLOSE)))
    messages: list[Event] = []
    controls: list[Event] = []
    closed = False

    def way(protocol: Protocol, chunk: bytes, add: Callable[[Event], None]) -> None:
        nonlocal closed
        if rng.random() < 0.5 and not closed:
            for kind, data in protocol.look_ahead(chunk, kept):  # type: ignore[arg-type]
                controls.append((int(kind), data))
                closed = closed or kind == CLOSE
            return
        found: list[Event] = []
        try:
            _drain(protocol, found.append)  # as a reader does: what is there comes before what it receives
            if not closed:  # nobody receives any more after that
                by_events(protocol, chunk, found.append)
        finally:
            for event in found:
                (messages if event[0] in (TEXT, BINARY) else controls).append(event)

    ours = read(setting, chunks, way)
    return messages, controls, ours


class Frames(Harness):
    """Streams of frames."""

    name = "frames"
    seeds = (
        b"\x00" + written(FIN | TEXT, b"hello", _KEY) + written(FIN | PING, b"", _KEY),
        b"\x01" + written(TEXT, b"hel", None) + written(FIN | PONG, b"p", None) + written(FIN, b"lo", None),
        b"\x02" + written(FIN | RSV1 | TEXT, b"\xcaH\xcd\xc9\xc9\x07\x00", _KEY),
        b"\x00" + written(FIN | CLOSE, b"\x03\xe8bye", _KEY),
        b"\x11" + written(FIN | BINARY, bytes(17), None),
    )
    words = WORDS
    differences: ClassVar = {
        "length": Difference(
            "take any form",
            "fails with 1002",
            "RFC 6455 5.2: the minimal number of bytes MUST be used; the most significant bit MUST be 0",
            b"\x00" + written(FIN | TEXT, b"long", _KEY, form=2),
        ),
        "late": Difference(
            "judge most of a frame when all of it is there, which may be never",
            "judges its first two bytes, and the text that has come, when they are there",
            "RFC 6455 5.2, 8.1: nothing says when a fault is to be noticed",
            b"\x00" + written(FIN | PING, b"", _KEY, length=1 << 62, form=8)[:2],
        ),
        "close between fragments": Difference(
            "websockets fails with 1002",
            "is closed with the code and reason that came; the unfinished message is lost",
            "RFC 6455 5.4: control frames MAY be injected in the middle of a fragmented message; 5.5.1: a close is one",
            b"\x00" + written(BINARY, b"half", _KEY) + written(FIN | CLOSE, b"\x03\xe9off", _KEY),
        ),
        "bad code, bad reason": Difference(
            "websockets decodes the reason first: 1007",
            "looks at the code first: 1002",
            "RFC 6455 7.4, 8.1: both fail the connection; which comes first is nowhere said",
            b"\x00" + written(FIN | CLOSE, b"\x00\x00\xff", _KEY),
        ),
        "corrupt": Difference(
            "websockets fails with 1002",
            "fails with 1007",
            "RFC 7692 7.2.2 names no code; RFC 6455 7.4.1: 1007 is for data not consistent with the message's type",
            b"\x02" + written(FIN | RSV1 | BINARY, b"\x07\x00", _KEY),
        ),
        "BFINAL": Difference(
            "websockets drops what follows",
            "goes on inflating",
            "RFC 7692 7.2.3.4: after a block with BFINAL set, another block may follow, as a stream of its own",
            b"\x02" + written(FIN | RSV1 | TEXT, b"\xcb\xcfK\x05\x00\xd3Q(\x29\xcf\x07\x00", _KEY),
        ),
        "no payload": Difference(
            "websockets puts the four bytes back that end a message, and takes them for the beginning of the next one",
            "takes it for an empty message, and the next one for what it is",
            "RFC 7692 7.2.3.6: an empty message is one byte; a writer that flushes twice sends none",
            b"\x06"
            + written(FIN | RSV1 | TEXT, b"", _KEY)
            + written(FIN | RSV1 | TEXT, b"\xcaH\xcd\xc9\xc9\x07\x00", _KEY),
        ),
        "cut": Difference(
            "websockets hands out what there is of a message that stops in the middle of a block",
            "fails with 1007",
            "RFC 7692 7.2.1: a message ends in an empty block, taken off; zlib does not notice that it is not there",
            b"\x02" + written(FIN | RSV1 | BINARY, b"\x00\x06\x00\xf9\xffsto", _KEY),
        ),
        "whole": Difference(
            "by pieces, a message fails at the fragment with the fault",
            "as a whole, it fails when its last byte is there",
            "RFC 7692 says nothing of when a message is inflated; kept as it came, it may take a thousandth",
            b"\x02" + written(RSV1 | BINARY, b"\x07\x00", _KEY) + written(FIN | PING, b"", _KEY),
        ),
        "close codes of wsproto": Difference(
            "wsproto refuses 1012 to 1014 in part, and takes a code for good that is for 1004 or over 4999",
            "takes what the registry of IANA has",
            "RFC 6455 7.4.2: the registry is where further codes come from",
            b"\x00" + written(FIN | CLOSE, b"\x03\xf6", _KEY),
        ),
    }

    def make(self, rng: Random) -> bytes:
        flags = rng.randrange(256)
        if rng.random() < 0.5:
            flags &= ~_LIMITED
        setting = Setting.of(flags)
        talk = Talk(
            rng,
            masked=not setting.client,
            compression=setting.compression,
            takeover=bool(flags & _TAKEOVER),
            bits=setting.bits,
        )
        return bytes((flags,)) + talk.stream()

    def check(self, data: bytes) -> Hashable:
        setting, stream = Setting.of(data[0] if data else 0), data[1:]
        frames = arrivals(stream)
        chunks = [frame.data for frame in frames]
        free = setting.unlimited
        ours = read(free, chunks, by_events)
        self._compare_with_websockets(free, frames, in_pieces(free, chunks))
        self._compare_pieces(free, frames, chunks, ours)
        if not setting.compression:
            self._compare_with_wsproto(free, frames, ours)
        limited = ours
        if setting != free:
            limited = read(setting, chunks, by_events)
            self._compare_limited(setting, frames, ours, limited)
        self._cut(setting, stream, chunks, limited)
        return (data[0] if data else 0, limited.reason[:40], *(event[0] for event in limited.events[:6]))

    # Other implementations

    def _compare_with_websockets(self, setting: Setting, frames: list[Arrival], ours: Ours) -> None:
        theirs = Theirs(
            client=setting.client, compression=setting.compression, takeover=setting.takeover, bits=setting.bits
        )
        wanted = theirs.read(frames)
        found = _first_difference(ours.reading, wanted)
        if found is None:
            return
        at, got, other = found
        if not self._is_explained(setting, frames, at, got, other, theirs):
            raise Finding("other than websockets", f"frame {at}: {shortened(got)}, {ours.reason}; {shortened(other)}")

    def _is_explained(
        self, setting: Setting, frames: list[Arrival], at: int, got: Event | None, other: Event | None, theirs: Theirs
    ) -> bool:
        """Whether a difference stands for what happens at a frame: here (got), and in websockets (other)."""
        frame = frames[at]
        inflation = Inflation(setting.takeover, setting.bits)
        for each in frames[: at + frame.complete]:
            inflation.add(each)
        if got == (FAIL, 1002) and not frame.shortest and self.differs("length"):
            return True
        if not frame.complete and self.differs("late"):
            return self._is_late(setting, frames[:at], frame, got)
        if frame.opcode == CLOSE:
            return self._is_other_close(got, other, theirs)
        if frame.opcode > BINARY or not setting.compression:
            return False
        if got == (FAIL, 1007) and other == (FAIL, 1002) and inflation.is_corrupt and self.differs("corrupt"):
            return True
        if got == (FAIL, 1007) and inflation.is_cut and self.differs("cut"):
            return True
        restarted = inflation.restarted and self.differs("BFINAL")
        if restarted or (inflation.was_empty and self.differs("no payload")):
            return self._is_restarted(frames[: at + 1], got, inflation)
        return False

    def _is_late(self, setting: Setting, before: list[Arrival], frame: Arrival, got: Event | None) -> bool:
        """Whether what fails before the frame is all there fails in the same way once it is, here as in websockets."""
        if got is None or got[0] != FAIL:
            return False
        whole = [*before, *arrivals(completed(frame))]
        ours = in_pieces(setting, [each.data for each in whole])
        self._compare_with_websockets(setting, whole, ours)
        return (len(before), got) in ours.reading

    def _is_other_close(self, got: Event | None, other: Event | None, theirs: Theirs) -> bool:
        received = theirs.protocol.close_rcvd
        if other == (FAIL, 1002) and received is not None and self.differs("close between fragments"):
            return got == (CLOSE, (int(received.code), received.reason))
        return got == (FAIL, 1002) and other == (FAIL, 1007) and self.differs("bad code, bad reason")

    def _is_restarted(self, frames: list[Arrival], got: Event | None, inflation: Inflation) -> bool:
        """Whether ours is what the streams of the message make, one after the other."""
        last = frames[-1]
        if not last.final:
            return got is None or got == (FAIL, 1007)
        if inflation.is_corrupt:
            return got == (FAIL, 1007)
        kind = next(frame.opcode for frame in reversed(frames) if frame.opcode in (TEXT, BINARY))
        if kind == BINARY:
            return got == (BINARY, inflation.inflated)
        try:
            return got == (TEXT, inflation.inflated.decode())
        except UnicodeDecodeError:
            return got == (FAIL, 1007)

    def _compare_with_wsproto(self, setting: Setting, frames: list[Arrival], ours: Ours) -> None:
        wanted = by_wsproto(frames, client=setting.client)
        found = _first_difference(ours.reading, wanted)
        if found is None:
            return
        at, got, other = found
        frame = frames[at]
        if frame.opcode == CLOSE and frame.complete and self.differs("close codes of wsproto"):
            code = int.from_bytes(frame.payload[:2])
            if other == (FAIL, 1002) and code in (1012, 1013, 1014):
                return
        if not frame.complete and got is not None and got[0] == FAIL and self.differs("late"):
            return
        raise Finding("other than wsproto", f"frame {at}: {shortened(got)}, {ours.reason}; {shortened(other)}")

    # The same stream otherwise

    def _compare_pieces(self, setting: Setting, frames: list[Arrival], chunks: list[bytes], ours: Ours) -> None:
        """Read by `next_piece`, the messages are the same."""
        by_pieces = in_pieces(setting, chunks)
        found = _first_difference(ours.reading, by_pieces.reading)
        if found is None:
            return
        at, got, other = found
        inside = frames[at].opcode in (CONTINUATION, TEXT, BINARY)
        if inside and setting.compression and other is not None and other[0] == FAIL and self.differs("whole"):
            inflation = Inflation(setting.takeover, setting.bits)
            for frame in frames[: at + 1]:
                inflation.add(frame)
            if inflation.wire and other[1] == 1007:
                return
        raise Finding("other in pieces", f"frame {at}: {shortened(got)}, {ours.reason}; {shortened(other)}")

    def _compare_limited(self, setting: Setting, frames: list[Arrival], free: Ours, limited: Ours) -> None:
        """A limit changes nothing except that what is over it fails with 1009, or 1008 for fragments."""
        over = _first_over(setting, frames)
        found = _first_difference(limited.reading, free.reading)
        if found is None:
            if over is not None and not (free.reading and free.reading[-1][1][0] in (FAIL, CLOSE)):
                raise Finding("over the limit and taken", f"frame {over[0]}")
            return
        at, got, _ = found
        if over is None or got not in over[1] or at < over[0]:
            raise Finding("fails within the limit", f"frame {at}: {shortened(got)}, {limited.reason}; {over}")

    def _cut(self, setting: Setting, stream: bytes, chunks: list[bytes], wanted: Ours) -> None:
        """However the stream is cut, and with whatever methods it is read, the same events come, in the same words."""
        cuts: list[tuple[str, Sequence[bytes], Callable[..., None]]] = [
            ("at once", [stream], by_events),
            ("frame by frame", chunks, by_only),
            ("in random pieces", pieces(stream), by_only),
            ("in random pieces, in place", pieces(stream, crc32(stream) ^ 1), in_place),
        ]
        if setting.takeover:
            cuts.append(("frame by frame, at rest in between", chunks, at_rest))
        if len(stream) <= 300:
            cuts.append(("one by one", one_by_one(stream), by_only))
        for name, cut, way in cuts:
            got = read(setting, cut, way)
            must_be_equal(f"other when cut {name}", (got.events, got.reason), (wanted.events, wanted.reason))
        messages, controls, got = attended(setting, pieces(stream, crc32(stream) ^ 2), crc32(stream))
        self._compare_attended(wanted, messages, controls, got)

    def _compare_attended(self, wanted: Ours, messages: list[Event], controls: list[Event], got: Ours) -> None:
        """With somebody who looks ahead for control frames, messages stay the same, and control frames come sooner."""
        data = [event for event in wanted.events if event[0] in (TEXT, BINARY)]
        told = [event for event in wanted.events if event[0] >= CLOSE]
        if messages != data[: len(messages)]:
            raise Finding("other messages when attended", f"{shortened(messages)} and not {shortened(data)}")
        if told[: len(controls)] != controls[: len(told)]:
            raise Finding("other controls when attended", f"{shortened(controls)} and not {shortened(told)}")
        if got.reason and got.reason != wanted.reason:
            raise Finding("another failure when attended", f"{got.reason} and not {wanted.reason}")


def _first_difference(ours: Reading, wanted: Reading) -> tuple[int, Event | None, Event | None] | None:
    """The frame at which two readings differ, and what came there in each; None: they are equal."""
    for index in range(max(len(ours), len(wanted))):
        got = ours[index] if index < len(ours) else None
        other = wanted[index] if index < len(wanted) else None
        if got != other:
            at = min(each[0] for each in (got, other) if each is not None)
            return (
                at,
                got[1] if got is not None and got[0] == at else None,
                other[1] if other is not None and other[0] == at else None,
            )
    return None


def _first_over(setting: Setting, frames: list[Arrival]) -> tuple[int, tuple[Event, ...]] | None:
    """The first frame that is over a limit, and the ways in which it may fail."""
    inflation = Inflation(setting.takeover, setting.bits)
    size = small = 0
    for number, frame in enumerate(frames):
        if frame.opcode > BINARY or not frame.has_head:
            continue
        if frame.opcode != CONTINUATION:
            size = small = 0
        size += frame.length
        small += frame.length < SMALL
        compressed = bool(frame.first & RSV1) if frame.opcode != CONTINUATION else inflation.is_open
        if setting.fragment_limit is not None and small > setting.fragment_limit:
            return number, ((FAIL, 1008), (FAIL, 1009))
        if setting.limit is None:
            continue
        if size > (wire_limit(setting.limit) if compressed else setting.limit):
            return number, ((FAIL, 1009), (FAIL, 1008))
        if frame.complete:
            inflation.add(frame)
            if compressed and len(inflation.inflated) > setting.limit and frame.final:
                return number, ((FAIL, 1009), (FAIL, 1007))
    return None
