"""Context takeover against an independent implementation, the sans-I/O core of `websockets`, on what Hypothesis draws.

As `test_differential`, for a side that keeps its context: messages that refer back to those before them, whole and in
fragments, some plain and some compressed by themselves between, with control frames anywhere. What websockets reads of
them, a Protocol with a `Window` reads as well, however the stream is cut and whenever the window is let go; and what a
`Compressor` makes, websockets reads. What is broken ends both, and nothing is delivered that the other has not.
"""

from __future__ import annotations

import itertools
import random
import zlib
from dataclasses import dataclass

from syncws._frames.compressor import Compressor
from syncws._frames.frame import FIN, RSV1, encode
from syncws._frames.prepared import encode_payload
from syncws._frames.protocol import Protocol
from syncws._frames.window import Window
from syncws.errors import MessageType

from . import test_differential as differential
from .test_differential import (
    CONTINUATION,
    FAIL,
    HEAVY,
    Frame,
    by_events,
    by_pieces,
    draw_bytes,
    draw_control,
    draw_edges,
    draw_text,
    explore,
    frame_by_frame,
    frames_of,
    in_place,
    rarely,
    sent,
    shortened,
    st,
)

TEXT, BINARY, CLOSE, PING, PONG = MessageType

setUpModule = differential.setUpModule

#: Streams to try in each property.
STREAMS = {"0": 40, "full": 200}.get(HEAVY, 120)


def theirs(client, bits):
    """A connection of websockets that has just opened, whose peer keeps its context."""
    protocol = differential.theirs(client, False, None, bits)
    # remote_no_context_takeover, local_no_context_takeover, remote_max_window_bits, local_max_window_bits
    protocol.extensions = [differential.PerMessageDeflate(False, False, bits, bits)]
    return protocol


def read_by_websockets(client, bits, stream, protocol=None):
    """The events as a Protocol gives them; the last is (FAIL, code) if the stream ends so."""
    protocol = protocol or theirs(client, bits)
    protocol.receive_data(stream)
    found, kind, parts = [], None, []
    for frame in protocol.events_received():
        if frame.opcode >= CLOSE:
            found.append((MessageType(frame.opcode), bytes(frame.data)))
            continue
        if frame.opcode != CONTINUATION:
            kind, parts = MessageType(frame.opcode), []
        parts.append(bytes(frame.data))
        if frame.fin:
            data = b"".join(parts)
            try:
                found.append((kind, data.decode() if kind is TEXT else data))
            except UnicodeDecodeError:
                return [*found, (FAIL, 1007)]
    if protocol.parser_exc is not None:
        found.append((FAIL, protocol.close_sent.code))
    return found


def cut(data, edges):
    """The data in pieces."""
    places = [0, *sorted(min(edge, len(data)) for edge in edges), len(data)]
    return [data[start:end] for start, end in itertools.pairwise(places)]


# What is drawn

# How a message is compressed: by the compressor that is kept; by another, after which that begins anew; not at all.
KEPT, ALONE, PLAIN = "kept", "alone", "plain"

#: Nothing in them repeats, so what refers to another place than was meant shows.
APERIODIC = [random.Random(number).randbytes(80).hex().encode() for number in range(4)]


@dataclass(frozen=True)
class Said:
    """A message of a peer that keeps its context, in fragments, or a control frame between messages."""

    kind: MessageType
    payload: bytes
    how: str
    edges: tuple[int, ...] = ()  # where it is cut into fragments, of what is on the wire
    control: Frame | None = None  # what stands after each of them


@dataclass(frozen=True)
class Talk:
    """What one side says: client is the side that reads."""

    client: bool
    bits: int
    level: int
    memory: int
    said: tuple[Said, ...]
    cuts: tuple[tuple[int, ...], ...] = ()
    let_go: int = 1000  # after each so many events the window is let go

    def stream(self):
        """As zlib alone compresses it."""
        kept, frames = self.fresh(), []
        for each in self.said:
            if each.kind >= CLOSE:
                frames.append(Frame(FIN | each.kind, each.payload))
                continue
            payload, rsv1 = each.payload, 0
            if each.how != PLAIN:
                if each.how == ALONE:
                    kept = self.fresh()
                    packed = kept.compress(payload) + kept.flush(zlib.Z_SYNC_FLUSH)
                    kept = self.fresh()
                else:
                    packed = kept.compress(payload) + kept.flush(zlib.Z_SYNC_FLUSH)
                payload, rsv1 = packed.removesuffix(b"\x00\x00\xff\xff") or b"\x00", RSV1
            pieces = cut(payload, each.edges)
            for number, piece in enumerate(pieces):
                first = CONTINUATION if number else each.kind | rsv1
                final = number == len(pieces) - 1
                frames.append(Frame(first | (FIN if final else 0), piece))
                if not final and each.control is not None:
                    frames.append(each.control)
        return sent(self.client, frames)

    def fresh(self):
        return zlib.compressobj(self.level, zlib.DEFLATED, -self.bits, self.memory)


def draw_said(draw, before):
    """A message, often one that repeats some of those before it."""
    if rarely(draw, 8):
        return Said(draw(st.sampled_from((PING, PONG))), draw(st.binary(max_size=20)), PLAIN)
    kind = draw(st.sampled_from((TEXT, BINARY)))
    payload = draw_text(draw).encode() if kind is TEXT else draw_bytes(draw)
    if before and draw(st.booleans()):
        again = draw(st.sampled_from(before))
        payload = again if kind is BINARY else again.decode(errors="ignore").encode()
    elif draw(st.booleans()):
        payload = draw(st.sampled_from(APERIODIC))
    how = draw(st.sampled_from((KEPT, KEPT, ALONE, PLAIN)))
    edges = tuple(draw(st.lists(st.integers(0, len(payload) // 2 + 1), max_size=3))) if draw(st.booleans()) else ()
    return Said(kind, payload, how, edges, draw_control(draw) if draw(st.booleans()) else None)


def draw_talk(draw):
    said = []
    for _ in range(draw(st.integers(1, 9))):
        said.append(draw_said(draw, [each.payload for each in said]))
    # zlib's smallest window is broken by itself at its lowest levels of memory: 9 bits are its smallest that works.
    settings = [draw(st.sampled_from(values)) for values in ((15, 9, 12), (6, 1, 9), (8, 1, 9))]
    talk = Talk(draw(st.booleans()), *settings, tuple(said))
    stream = talk.stream()
    cuts = tuple(tuple(draw_edges(draw, stream)) for _ in range(3))
    return Talk(talk.client, *settings, talk.said, ((), *cuts), draw(st.sampled_from((1, 2, 1000))))


def draw_broken_talk(draw):
    """(a talk, its stream with some bytes changed)."""
    talk = draw_talk(draw)
    stream = bytearray(talk.stream())
    for _ in range(draw(st.integers(1, 3))):
        stream[draw(st.integers(0, len(stream) - 1))] ^= 1 << draw(st.integers(0, 7))
    return talk, bytes(stream)


class Resting(Protocol):
    """One whose window is let go between messages, after each so many of its events."""

    def __init__(self, every, **options):
        super().__init__(**options)
        self.every = every
        self.number = 0

    def next_event(self, **options):
        event = super().next_event(**options)
        if event is not None and self.window is not None and event[0] in (TEXT, BINARY):
            self.number += 1
            if self.number % self.every == 0:
                self.window.let_go()
        return event


def events_of(talk, read, chunks, bits=None):
    """The events of a Protocol that keeps a window, which is let go after each so many messages."""
    window = Window(bits or talk.bits)
    protocol = Resting(talk.let_go, client=talk.client, read_limit=None, compression=True, window=window)
    return [event for _, event in read(protocol, chunks)[0]]


class TestReading(differential.DifferentialTestCase):
    """What both make of what a peer sends that keeps its context."""

    def test_good_streams(self):
        """The same events, however the stream is cut, and however often the window is let go between."""

        def check(talk):
            stream = talk.stream()
            wanted = read_by_websockets(talk.client, talk.bits, stream)
            self.assertFalse(any(event[0] == FAIL for event in wanted), wanted)
            chunked = [cut(stream, edges) for edges in talk.cuts]
            runs = [*zip((by_events, by_events, by_pieces, in_place), chunked, strict=True)]
            for read, chunks in [*runs, (frame_by_frame, [*frames_of(stream)])]:
                found = events_of(talk, read, chunks)
                self.assertTrue(found == wanted, f"ours: {shortened(found)}, wanted: {shortened(wanted)}")

        explore(check, draw_talk, STREAMS)

    def test_windows_larger_than_agreed(self):
        """A window that is larger than what was agreed on for the peer's messages reads them too."""

        def check(talk):
            stream = talk.stream()
            wanted = read_by_websockets(talk.client, 15, stream)
            self.assertTrue(events_of(talk, by_events, [stream], bits=15) == wanted)

        explore(check, draw_talk, STREAMS // 4)

    def test_broken_streams(self):
        """Nothing comes that websockets has not: the same messages, or fewer of them and then an end."""

        def check(case):
            talk, stream = case
            found = events_of(talk, by_events, [stream])
            websockets = theirs(talk.client, talk.bits)
            others = read_by_websockets(talk.client, talk.bits, stream, websockets)
            if websockets.extensions[0].decoder.eof:
                return  # it drops what follows a block with BFINAL set: see DIFFERENCES
            # A control frame may come before what is wrong is found: a message in fragments is inflated at its end.
            ours_, theirs_ = ([event for event in events if event[0] in (TEXT, BINARY)] for events in (found, others))
            if found and found[-1][0] in (FAIL, CLOSE):
                theirs_ = theirs_[: len(ours_)]
            self.assertTrue(ours_ == theirs_, f"ours: {shortened(found)}, theirs: {shortened(others)}")

        explore(check, draw_broken_talk, STREAMS)


class TestWriting(differential.DifferentialTestCase):
    """What a compressor that is kept makes, websockets reads."""

    def test_ours(self):
        """Whole messages, streams, messages compressed by themselves, plain ones, and what begins anew at any time."""

        def check(talk):
            stream = b"".join(self.written(talk))
            wanted = []
            for each in talk.said:
                edges = len(each.edges) if each.how == KEPT else 0
                wanted += [(PING, b"between")] * edges if each.kind < CLOSE else []
                wanted.append((each.kind, each.payload.decode() if each.kind is TEXT else each.payload))
            # talk.client says which side reads.
            self.assertTrue(read_by_websockets(talk.client, talk.bits, stream) == wanted, shortened(wanted))
            self.assertTrue(events_of(talk, by_events, [stream]) == wanted, shortened(wanted))

        explore(check, draw_talk, 2 * STREAMS)

    def written(self, talk):
        compressor = Compressor(talk.level, talk.bits, talk.memory)
        for number, each in enumerate(talk.said):
            if each.kind >= CLOSE or each.how == PLAIN:
                yield from encode(FIN | each.kind, each.payload, not talk.client)
            elif each.how == ALONE:
                frame = encode_payload(each.kind, each.payload, (talk.level, talk.bits))
                yield from encode(*compressor.shared(*frame), not talk.client)
            elif each.edges:
                yield from self.streamed(talk, compressor, each)
            else:
                yield from encode(*compressor.whole(FIN | each.kind, each.payload), not talk.client)
            if (number + 1) % (2 * talk.let_go) == 0:
                compressor.begin_anew()
            compressor.level = talk.level if number < 4 else 1

    def streamed(self, talk, compressor, each):
        """In pieces, with a ping after each but the last."""
        deflater = compressor.stream()
        pieces = cut(each.payload, each.edges)
        for number, piece in enumerate(pieces):
            final = number == len(pieces) - 1
            packed = deflater.compress(piece) + (deflater.finish() if final else b"")
            first = (CONTINUATION if number else each.kind | RSV1) | (FIN if final else 0)
            yield from encode(first, packed, not talk.client)
            if not final:
                yield from encode(FIN | PING, b"between", not talk.client)
