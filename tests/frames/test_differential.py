"""protocol.py against an independent implementation, the sans-I/O core of `websockets`, on streams Hypothesis makes.

The streams are mostly what a good peer says (messages whole, in fragments, compressed, control frames between), and
often hold something that no peer may say. For each, in both roles and however it is cut, `Protocol` must give what
`websockets` gives: the same events in the same order and as soon, and the same end (the close that was received, or the
code that the connection fails with). Where the two rightly differ stands in `DIFFERENCES`, and nowhere else.

    SYNCWS_HEAVY=0 or full    fewer or many more streams; the same ones each time
    SYNCWS_EXPLORE=1          other streams each time; what fails is shrunk and shown, ready to become a test
"""

from __future__ import annotations

import codecs
import contextlib
import itertools
import logging
import os
import tempfile
import unittest
import zlib
from collections import Counter
from dataclasses import dataclass

from syncws._frames.deflate import Deflater, wire_limit
from syncws._frames.frame import FIN, MASKED, RSV1, encode
from syncws._frames.partial import IN_PLACE
from syncws._frames.payloads import format_close_message
from syncws._frames.prepared import PreparedMessage, encode_payload
from syncws._frames.protocol import Protocol
from syncws.errors import MessageType, ProtocolError
from syncws.testing import LeakChecks
from tests.partners import need

try:
    import hypothesis
    from hypothesis import strategies as st
    from hypothesis.configuration import set_hypothesis_home_dir
except ImportError:
    hypothesis = None
try:
    import websockets
    from websockets.client import ClientProtocol
    from websockets.extensions.permessage_deflate import PerMessageDeflate
    from websockets.protocol import State
    from websockets.server import ServerProtocol
    from websockets.uri import parse_uri
except ImportError:
    websockets = None

CONTINUATION = 0
TEXT, BINARY, CLOSE, PING, PONG = MessageType

#: How an outcome says that a side fails the connection: (FAIL, code).
FAIL = "fail"

#: The code of a compressed message that is over the limit and, within the limit, not text; or is corrupt behind exactly
#: the first byte that is over. Either verdict is right, and which comes first depends on the cut.
EITHER = "1007 or 1009"

#: Streams to try in each property.
HEAVY = os.environ.get("SYNCWS_HEAVY")
STREAMS = {"0": 80, "full": 900}.get(HEAVY, 240)

BOTH = (False, True)
KEY = b"\x37\xfa\x21\x3d"


def setUpModule():
    need(hypothesis is not None, "hypothesis (PyPI) is not installed")
    need(websockets is not None, "websockets (PyPI) is not installed")
    # An assertion of websockets fails at some limits, which ends its connection as it should, and is logged besides.
    silence = logging.NullHandler()
    logging.getLogger("websockets").addHandler(silence)
    unittest.addModuleCleanup(logging.getLogger("websockets").removeHandler, silence)
    scratch = tempfile.TemporaryDirectory(prefix="syncws-")
    unittest.addModuleCleanup(scratch.cleanup)
    set_hypothesis_home_dir(scratch.name)  # else it leaves a folder where the tests are run
    unittest.addModuleCleanup(set_hypothesis_home_dir, None)


def explore(check, draw_example, streams=STREAMS):
    """Call check with that many examples; draw_example(draw) makes one."""
    settings = hypothesis.settings(
        max_examples=streams,
        derandomize=os.environ.get("SYNCWS_EXPLORE") != "1",
        database=None,
        deadline=None,
        phases=[phase for phase in hypothesis.Phase if phase is not hypothesis.Phase.explain],
        suppress_health_check=list(hypothesis.HealthCheck),
    )

    def example(value):
        check(value)

    settings(hypothesis.given(st.composite(draw_example)())(example))()


# Frames and what they are made of


@dataclass(frozen=True)
class Frame:
    """A frame as somebody sends it; length and form (0, 2 or 8 bytes of length) say what is not so."""

    first: int
    payload: bytes = b""
    masked: bool = True
    key: bytes = KEY
    length: int | None = None
    form: int | None = None

    def __bytes__(self):
        length = len(self.payload) if self.length is None else self.length
        form = self.form
        if form is None:
            form = 0 if length < 126 else 2 if length < 1 << 16 else 8
        short = {0: length, 2: 126, 8: 127}[form]
        head = bytes((self.first, (MASKED if self.masked else 0) | short)) + (length.to_bytes(form) if form else b"")
        return head + self.key + unmask(self.payload, self.key) if self.masked else head + self.payload


@dataclass(frozen=True)
class Arrival:
    """A frame as it stands in a stream, by its own account; the payload is unmasked, and maybe not all there."""

    first: int
    masked: bool
    length: int
    form: int
    payload: bytes
    start: int  # its place in the stream, and that of its payload
    body: int
    end: int
    wire: bytes

    @property
    def opcode(self):
        return self.first & 0x0F

    @property
    def complete(self):
        return len(self.payload) == self.length

    @property
    def shortest(self):
        """Whether the length has its shortest form, without a sign bit."""
        return {0: True, 2: self.length > 125, 8: 0xFFFF < self.length < 1 << 63}[self.form]


def arrivals(stream):
    """The frames of a stream, by their lengths alone; none for the rest that is shorter than a header."""
    found, start = [], 0
    while start + 2 <= len(stream):
        first, second = stream[start], stream[start + 1]
        form = {126: 2, 127: 8}.get(second & 0x7F, 0)
        at = start + 2
        length = int.from_bytes(stream[at : at + form]) if form else second & 0x7F
        at += form
        key = stream[at : at + 4] if second & MASKED else bytes(4)
        at += 4 if second & MASKED else 0
        if at > len(stream):
            break
        end = min(at + length, len(stream))
        payload = unmask(stream[at:end], key)
        wire = stream[start:end]
        found.append(Arrival(first, bool(second & MASKED), length, form, payload, start, at, end, wire))
        start = end
    return found


def whole(stream):
    """The stream, its last frame completed; cut behind the header of a frame that nobody could complete."""
    while True:
        frames = arrivals(stream)
        if frames and not frames[-1].complete:
            missing = frames[-1].length - len(frames[-1].payload)
            return stream + bytes(missing) if missing < 1 << 17 else stream[: frames[-1].body]
        if len(stream) == (frames[-1].end if frames else 0):
            return stream
        stream += b"\x00"


def unmask(data, key):
    """RFC 6455 section 5.3, as one large number."""
    keys = key * (len(data) // 4 + 1)
    return (int.from_bytes(data) ^ int.from_bytes(keys[: len(data)])).to_bytes(len(data))


def deflated(data, *, level=6, bits=15, flushes=(), final=False):
    """The payload of a compressed message, by zlib alone: flushed at some places, or ended as a stream."""
    deflater = zlib.compressobj(level, zlib.DEFLATED, -bits)
    edges = [0, *sorted(place for place in flushes if place <= len(data)), len(data)]
    packed = b""
    for start, end in itertools.pairwise(edges[:-1]):
        packed += deflater.compress(data[start:end]) + deflater.flush(zlib.Z_FULL_FLUSH)
    packed += deflater.compress(data[edges[-2] :])
    if final:
        return packed + deflater.flush(zlib.Z_FINISH)
    return (packed + deflater.flush(zlib.Z_SYNC_FLUSH))[:-4]


def shortened(value):
    text = repr(value)
    return text if len(text) < 600 else f"<{len(value)}: {text[:200]} ... {text[-80:]}>"


# What websockets makes of a stream


@dataclass(frozen=True)
class Difference:
    """Something that websockets does otherwise: section of the RFC, both behaviours, and a stream that shows it."""

    section: str
    theirs: str
    ours: str
    example: tuple[Frame, ...]
    compression: bool = False
    limit: int | None = None


# Applied by Reference by their names; TestDifferences proves each by its example.
DIFFERENCES = {
    "length": Difference(
        "RFC 6455 5.2: the minimal number of bytes MUST be used; the most significant bit MUST be 0",
        "takes any form",
        "fails with 1002",
        (Frame(FIN | TEXT, b"long", form=2), Frame(FIN | PING)),
    ),
    "late": Difference(
        "RFC 6455 5.2, 5.5: nothing says when a bad header is to be noticed",
        "judges most of a header when the whole payload is there, which may be never",
        "judges its first two bytes when they are there",
        (Frame(FIN | PING, length=1 << 62),),
    ),
    "close between fragments": Difference(
        "RFC 6455 5.4: control frames MAY be injected in the middle of a fragmented message; 5.5.1: a close is one",
        "fails with 1002",
        "is closed with the code and reason received; the unfinished message is lost",
        (Frame(BINARY, b"half a mess"), Frame(FIN | CLOSE, format_close_message(1001, "off")), Frame(FIN | PING)),
    ),
    "bad code, bad reason": Difference(
        "RFC 6455 7.4, 8.1: both fail the connection; which comes first is nowhere said",
        "decodes the reason first: 1007",
        "looks at the code first: 1002",
        (Frame(FIN | CLOSE, b"\x00\x00\xff"),),
    ),
    "corrupt": Difference(
        "RFC 7692 7.2.2 names no code; RFC 6455 7.4.1: 1007 is for data not consistent with the message's type",
        "fails with 1002",
        "fails with 1007",
        (Frame(FIN | RSV1 | BINARY, b"\x07\x00"),),
        compression=True,
    ),
    "whole": Difference(
        "RFC 7692 says nothing of when a message is inflated; kept as it came, it may take a thousandth of the memory",
        "inflates each fragment as it comes",
        "inflates a message once it is whole, if it is read as a whole: what is wrong in it shows at its end",
        (Frame(RSV1 | BINARY, b"\x07\x00"), Frame(FIN | PING), Frame(FIN | CONTINUATION)),
        compression=True,
    ),
    "BFINAL": Difference(
        "RFC 7692 7.2.3.4: after a block with BFINAL set, another block may follow, as a stream of its own",
        "drops what follows",
        "goes on inflating",
        (Frame(FIN | RSV1 | TEXT, deflated(b"one", final=True) + deflated(b", two")),),
        compression=True,
    ),
    "cut": Difference(
        "RFC 7692 7.2.1: a message ends in an empty block, taken off; zlib does not notice that it is not there",
        "hands out what there is of a message that stops in the middle of a block",
        "fails with 1007",
        (Frame(FIN | RSV1 | BINARY, deflated(b"stored", level=0)[:-3]),),
        compression=True,
    ),
    "two faults": Difference(
        "RFC 6455 7.1.7, 7.4.1: a frame that is too large and breaks a rule as well may fail with either code",
        "looks at the length first: 1009",
        "looks at the first two bytes first: 1002",
        (Frame(FIN | CONTINUATION, b"over the limit"),),
        limit=5,
    ),
    "limit of control frames": Difference(
        "RFC 6455 10.4: limits are the implementation's own affair",
        "holds the limit of messages against control frames too",
        "holds it against messages only: control frames have a limit of 125 bytes",
        (Frame(FIN | PING, b"over the limit"),),
        limit=5,
    ),
    "limit of compressed messages": Difference(
        "RFC 6455 10.4, RFC 7692: limits are the implementation's own affair",
        "holds it against the payload of each frame as well",
        "holds it against what the message inflates to, and `wire_limit` against what arrives",
        (Frame(FIN | RSV1 | BINARY, deflated(bytes(range(40)))),),
        compression=True,
        limit=40,
    ),
}


def theirs(client, compression, limit, bits):
    """A connection of websockets that has just opened."""
    if client:
        protocol = ClientProtocol(parse_uri("ws://localhost/"), state=State.OPEN, max_size=limit)
    else:
        protocol = ServerProtocol(state=State.OPEN, max_size=limit)
    if compression:
        protocol.extensions = [PerMessageDeflate(True, True, bits, bits)]
    return protocol


def take(protocol, frame):
    """Hand a frame to a connection of websockets: (the frame it gives, the code it fails with), or two times None."""
    protocol.receive_data(bytes(frame))
    events = protocol.events_received()
    return (events[0] if events else None), (protocol.close_sent.code if protocol.parser_exc is not None else None)


class Reference:
    """What is wanted of a stream: what websockets makes of it, frame by frame, corrected by DIFFERENCES.

    websockets leaves it to its users to put fragments together and to check that text is UTF-8; so does this. Each
    event comes with the place in the stream by which it must be there. `without` names differences to leave out.
    """

    def __init__(self, client, compression, limit=None, *, bits=15, without=()):
        self.limit = limit
        self.without = without
        self.events = []
        # Three connections of websockets: one for everything but the limit, one for the limit, and one that gets each
        # frame without its payload, and so tells whether the header is wrong.
        self.full = theirs(client, compression, None, bits)
        self.limited = theirs(client, compression, limit, bits)
        self.heads = theirs(client, compression, None, bits)
        self.kind = TEXT
        self.message = b""  # what there is of the message at hand
        self.decoder = None
        self.inflation = None  # of the message at hand, if it is compressed
        self.kept = []  # the frames of the message at hand, if it is compressed: until it is whole

    def outcome(self, stream):
        """[(place, event)]; the last event is (CLOSE, (code, reason)) or (FAIL, code) if the stream ends in one."""
        for arrival in arrivals(stream):
            found = self.of_header(arrival) or (arrival.end, self.of_payload(arrival))
            if found[1] is not None:
                self.events.append(found)
                if found[1][0] in (CLOSE, FAIL):
                    break
        return self.events

    def events_by(self, chunks):
        """The same, each with the end of the chunk that brings it."""
        edges = list(itertools.accumulate(map(len, chunks)))
        return [(next(edge for edge in edges if edge >= end), event) for end, event in self.events]

    def differs(self, name):
        """Whether to apply a difference, at the only place where it is."""
        assert name in DIFFERENCES
        return name not in self.without

    def of_header(self, arrival):
        """(place, event) for a frame that fails by its header; else None."""
        if arrival.opcode in (TEXT, BINARY):
            self.inflation = Inflation(self.limit) if arrival.first & RSV1 else None
            self.kept = []
        is_bad = self.is_bad(arrival)
        if not arrival.shortest and not is_bad and self.differs("length"):
            return arrival.start + 2 + arrival.form, (FAIL, 1002)
        if self.is_too_big(arrival) and not (is_bad and self.differs("two faults")):
            return arrival.body, (FAIL, 1009)
        if is_bad and self.differs("late"):
            return arrival.start + 2, (FAIL, 1002)
        return None

    def of_payload(self, arrival):
        """What else comes of a frame: an event, or None."""
        if arrival.opcode >= CLOSE or self.inflation is None or not self.differs("whole"):
            return self.of_frame(arrival)
        self.kept.append(arrival)
        if not arrival.complete or not arrival.first & FIN:
            return None
        return next((found for kept in self.kept if (found := self.of_frame(kept)) is not None), None)

    def of_frame(self, arrival):
        """As of_payload, of a frame that is looked at as it comes."""
        frame, code = take(self.full, arrival.wire)
        if arrival.opcode == CLOSE:
            return self.close(arrival, code)
        if arrival.opcode < CLOSE and arrival.complete:
            return self.data(arrival, frame, code)
        if code is not None:
            return FAIL, code
        return (MessageType(arrival.opcode), bytes(frame.data)) if frame is not None else None

    def is_bad(self, arrival):
        """Whether websockets refuses such a frame whatever its length and payload."""
        # A close is taken for a ping: it would end this connection.
        first = arrival.first ^ CLOSE ^ PING if arrival.opcode == CLOSE else arrival.first
        payload = bytes(min(arrival.length, 126)) if arrival.opcode >= CLOSE else b""
        _, code = take(self.heads, Frame(first, payload, arrival.masked))
        assert code in (None, 1002), code
        return code is not None

    def is_too_big(self, arrival):
        """Whether the header shows that something is over the limit."""
        if self.limit is None:
            return False
        if arrival.opcode >= CLOSE and self.differs("limit of control frames"):
            return False
        if self.inflation is not None and arrival.opcode < CLOSE and self.differs("limit of compressed messages"):
            self.inflation.arrived += arrival.length
            return self.inflation.arrived > wire_limit(self.limit)
        return take(self.limited, arrival.wire)[1] == 1009

    def close(self, arrival, code):
        if not arrival.complete:
            return None
        received = self.full.close_rcvd
        if received is not None and code is not None and self.differs("close between fragments"):
            code = None
        if code == 1007 and not allowed(int.from_bytes(arrival.payload[:2])) and self.differs("bad code, bad reason"):
            code = 1002
        return (CLOSE, (int(received.code), received.reason)) if code is None else (FAIL, code)

    def data(self, arrival, frame, code):
        """What comes of a complete data frame with a good header."""
        final = bool(arrival.first & FIN)
        if arrival.opcode != CONTINUATION:
            self.kind = MessageType(arrival.opcode)
            self.message = b""
            self.decoder = codecs.getincrementaldecoder("utf-8")()
        data = frame.data if frame is not None else b""
        if self.inflation is not None:
            inflated, fault = self.inflation.add(arrival.payload, final)
            if fault is not None and self.differs(fault):
                return FAIL, self.code_of(fault, inflated)
            if self.inflation.restarted and self.differs("BFINAL"):
                data = inflated
        if code is not None:
            return FAIL, code
        self.message += data
        if not self.is_text(data, final):
            return FAIL, 1007
        if not final:
            return None
        return self.kind, self.message.decode() if self.kind is TEXT else self.message

    def code_of(self, fault, inflated):
        """What a compressed message fails with."""
        if fault != "limit of compressed messages":
            return 1007
        within = inflated[: self.limit - len(self.message)]
        return 1009 if self.is_text(within, False) and not self.inflation.is_corrupt_at_limit else EITHER

    def is_text(self, data, final):
        """Whether the message is still what its type says."""
        try:
            if self.kind is TEXT:
                self.decoder.decode(data, final)
        except UnicodeDecodeError:
            return False
        return True


def allowed(code):
    """RFC 6455 section 7.4: whether a close frame may carry this code."""
    return code in (1000, 1001, 1002, 1003, *range(1007, 1015)) or 3000 <= code < 5000


class Inflation:
    """One compressed message as RFC 7692 has it, by zlib alone: for what websockets does not see."""

    def __init__(self, limit):
        self.limit = limit
        self.arrived = 0
        self.size = 0
        self.zlib = None
        self.restarted = False  # something followed a block with BFINAL set
        self.is_corrupt_at_limit = False  # the first byte over the limit is the last before an error

    def add(self, payload, final):
        """Inflate the payload of a frame: (what it gives, the name of what is wrong or None)."""
        inflated, corrupt = self.inflate(payload)
        self.size += len(inflated)
        if self.limit is not None and self.size > self.limit:
            self.is_corrupt_at_limit = corrupt and self.size == self.limit + 1
            return inflated, "limit of compressed messages"
        if corrupt:
            return inflated, "corrupt"
        return inflated, "cut" if final and self.is_cut() else None

    def inflate(self, payload):
        """(all that comes out, whether an error follows)."""
        inflated = b""
        while payload:
            if self.zlib is None or self.zlib.eof:
                self.restarted = self.restarted or self.zlib is not None
                self.zlib = zlib.decompressobj(-15)
            before = self.zlib.copy()
            try:
                inflated += self.zlib.decompress(payload)
            except zlib.error:
                return inflated + salvaged(before, payload), True
            payload = self.zlib.unused_data
        return inflated, False

    def is_cut(self):
        """Whether the message, its empty block put back, ends elsewhere than between two blocks."""
        if self.zlib is None or self.zlib.eof:
            return False
        try:
            # An empty final block ends the stream here, and only here.
            surplus = self.zlib.decompress(b"\x00\x00\xff\xff\x03\x00")
        except zlib.error:
            return True
        return bool(surplus) or not self.zlib.eof or bool(self.zlib.unused_data)


def salvaged(inflater, payload):
    """What comes out before the error that is there."""
    found = b""
    with contextlib.suppress(zlib.error):
        for byte in payload:
            found += inflater.decompress(bytes([byte]))
    return found


# What our Protocol makes of a stream. Each reader gives [(bytes received by then, event)] and the failure's reason.


def by_events(protocol, chunks):
    """With `receive` and `next_event`."""
    found, received = [], 0
    try:
        for chunk in chunks:
            received += len(chunk)
            protocol.receive(chunk)
            while (event := protocol.next_event()) is not None:
                found.append((received, event))
    except ProtocolError as error:
        return [*found, (received, (FAIL, error.code))], (type(error), error.reason)
    return found, None


def frame_by_frame(protocol, chunks):
    """As a connection does: with `only` while nothing is there, and else with `receive` and `next_event`."""
    found, received = [], 0
    try:
        for chunk in chunks:
            received += len(chunk)
            if chunk and protocol.idle and (event := protocol.only(chunk)) is not None:
                found.append((received, event))
                continue
            protocol.receive(chunk)
            while (event := protocol.next_event()) is not None:
                found.append((received, event))
    except ProtocolError as error:
        return [*found, (received, (FAIL, error.code))], (type(error), error.reason)
    return found, None


def frames_of(stream):
    """The stream, cut where its headers say that frames end; behind a bad one that may be anywhere."""
    while len(stream) > 1:
        size = {126: 2, 127: 8}.get(stream[1] & 0x7F, 0)
        length = int.from_bytes(stream[2 : 2 + size]) if size else stream[1] & 0x7F
        end = 2 + size + (4 if stream[1] & 0x80 else 0) + length
        yield stream[:end]
        stream = stream[end:]
    if stream:
        yield stream


def by_pieces(protocol, chunks):
    """With `next_piece`, put together again; each piece of text must be text by itself."""
    found, received, parts = [], 0, []
    try:
        for chunk in chunks:
            received += len(chunk)
            protocol.receive(chunk)
            while (piece := protocol.next_piece()) is not None:
                kind, data, final = piece
                if kind < CLOSE:
                    parts.append(data.decode() if kind is TEXT else data)
                    if not final:
                        continue
                    data = ("" if kind is TEXT else b"").join(parts)
                    parts.clear()
                found.append((received, (kind, data)))
    except ProtocolError as error:
        return [*found, (received, (FAIL, error.code))], (type(error), error.reason)
    return found, None


def in_place(protocol, chunks):
    """With `next_event`, receiving into `destination` where there is one."""
    found, received = [], 0
    try:
        for chunk in chunks:
            received += len(chunk)
            while chunk:
                chunk = chunk[receive_in_place(protocol, chunk) :]
                while (event := protocol.next_event()) is not None:
                    found.append((received, event))
    except ProtocolError as error:
        return [*found, (received, (FAIL, error.code))], (type(error), error.reason)
    return found, None


def receive_in_place(protocol, chunk):
    """How many bytes of the chunk were received."""
    room = protocol.destination()
    if room is None:
        protocol.receive(chunk)
        return len(chunk)
    with room:
        count = min(len(room), len(chunk))
        room[:count] = chunk[:count]
    protocol.received(count)
    return count


# What Hypothesis draws. A simpler stream stands first everywhere: that is where it goes when it shrinks one that fails.

UNITS = ("a", "ß", "€", "𝄞", "\x00", "ab" * 20)

# Where frames change their form, zlib its ways, and this side its lanes; the large ones are rare.
SIZES = (0, 1, 2, 5, 40, 125, 126, 127, 300, 2043, 2044, 2048)
LARGE_SIZES = (16384, 65535, 65536, 70_000, 200_000)

CODES = (1000, 1001, 1011, 1003, 1007, 1013, 1014, 3000, 4999)
BAD_CODES = (0, 999, 1004, 1005, 1006, 1015, 1016, 2999, 5000, 65535)

# Not UTF-8, alone or at the end: no start, a character cut short, an overlong one, a surrogate, beyond U+10FFFF.
NOT_TEXT = (b"\xff", b"\x80", b"\xe2\x82", b"\xc0\xaf", b"\xed\xa0\x80", b"\xf4\x90\x80\x80", b"\xf0\x9f\x98")


def rarely(draw, one_in):
    """True now and then, and never once a failing stream is shrunk."""
    return draw(st.integers(0, one_in - 1)) == one_in - 1


def draw_text(draw):
    if rarely(draw, 3):
        return draw(st.text(max_size=20))
    sizes = LARGE_SIZES if rarely(draw, 40) else SIZES
    unit = draw(st.sampled_from(UNITS)).encode()
    size = draw(st.sampled_from(sizes))
    text = (unit * (size // len(unit) + 1))[:size].decode(errors="ignore")
    return text + "." * (size - len(text.encode()))


def draw_bytes(draw):
    if rarely(draw, 3):
        return draw(st.binary(max_size=60))
    if rarely(draw, 4):
        # Nothing to compress, but for what comes again farther back than a small window.
        return draw(st.binary(min_size=600, max_size=600)) * draw(st.sampled_from((1, 3, 60)))
    return draw_text(draw).encode()


def draw_compressed(draw, data):
    """The data as some deflater may write it."""
    level = draw(st.sampled_from((6, 1, 0, 9)))
    bits = draw(st.sampled_from((15, 9, 12)))
    flushes = draw(st.lists(st.integers(0, len(data)), max_size=3))
    packed = deflated(data, level=level, bits=bits, flushes=flushes)
    if not rarely(draw, 4):
        return packed
    half = len(data) // 2
    return draw(
        st.sampled_from(
            (
                deflated(data, final=True) + b"\x00",
                deflated(data, final=True),
                deflated(data[:half], final=True) + deflated(data[half:]),
                deflated(data[:half], final=True) + deflated(b"", final=True) + deflated(data[half:], final=True),
                packed + b"\x00\x00\xff\xff" + b"\x00",
                packed + b"\x00\x00\xff\xff",
                b"",
            )
        )
    )


def draw_message(draw, compression):
    """Frames of a whole message: what is right, but for unlucky text at times."""
    kind = draw(st.sampled_from((TEXT, BINARY)))
    payload = draw_text(draw).encode() if kind is TEXT else draw_bytes(draw)
    if kind is TEXT and rarely(draw, 12):
        place = len(payload) - draw(st.integers(0, len(payload)))
        payload = payload[:place] + draw(st.sampled_from(NOT_TEXT)) + payload[place:]
    rsv1 = 0
    if compression and draw(st.booleans()):
        payload, rsv1 = draw_compressed(draw, payload), RSV1
        if rarely(draw, 12):
            payload = payload[: draw(st.integers(0, len(payload)))]
    if not draw(st.booleans()):
        return [Frame(FIN | rsv1 | kind, payload)]
    places = sorted(draw(st.lists(st.integers(0, len(payload)), max_size=4)))
    fragments = [payload[start:end] for start, end in itertools.pairwise([0, *places, len(payload)])]
    frames = []
    for i, fragment in enumerate(fragments):
        first = CONTINUATION if i else kind | rsv1
        frames.append(Frame(first | (FIN if i == len(fragments) - 1 else 0), fragment))
        if i < len(fragments) - 1 and rarely(draw, 2):
            frames.append(draw_control(draw))
    return frames


def draw_control(draw):
    kind = draw(st.sampled_from((PING, PONG)))
    size = draw(st.sampled_from((0, 1, 4, 125)))
    return Frame(FIN | kind, b"\xff" * size)


def draw_close(draw):
    reason = draw(st.text("aß€𝄞", max_size=10)).encode()
    return Frame(FIN | CLOSE, draw(st.sampled_from((b"", draw(st.sampled_from(CODES)).to_bytes(2) + reason))))


def draw_bad_close(draw):
    good = draw(st.sampled_from(CODES)).to_bytes(2)
    bad = draw(st.sampled_from(BAD_CODES)).to_bytes(2)
    not_text = draw(st.sampled_from(NOT_TEXT))
    return Frame(
        FIN | CLOSE, draw(st.sampled_from((bad, bad + b"so", good[:1], good + b"so" + not_text, bad + not_text)))
    )


def draw_messages(draw, compression):
    """Frames of what a good peer says; a close may stand anywhere."""
    frames = []
    for _ in range(draw(st.integers(1, 4))):
        frames += [draw_control(draw)] if rarely(draw, 5) else draw_message(draw, compression)
    if rarely(draw, 5):
        frames.insert(draw(st.integers(0, len(frames))), draw_close(draw))
    return frames


# Frames with one thing wrong, or that become wrong by where they stand.
ODDITIES = (
    Frame(FIN | CONTINUATION, b"of what?"),
    Frame(CONTINUATION, b"of what?"),
    Frame(FIN | TEXT, b"maybe inside"),
    Frame(TEXT, b"never ended"),
    *(Frame(FIN | opcode, b"\x01" * size) for opcode in (3, 7, 11, 15) for size in (0, 5)),
    *(Frame(FIN | rsv | opcode, b"\x01\x00\x00\xff\xff") for rsv in (0x20, 0x10) for opcode in (TEXT, BINARY, PING)),
    *(Frame(FIN | RSV1 | opcode, b"\x03\xe8") for opcode in (BINARY, CONTINUATION, PING, PONG, CLOSE)),
    *(Frame(opcode, size * b"\x03") for opcode in (PING, PONG, CLOSE) for size in (0, 2)),
    *(Frame(FIN | opcode, 126 * b"\x03") for opcode in (PING, PONG, CLOSE)),
    *(Frame(FIN | opcode, length=1 << 62) for opcode in (PING, CLOSE, BINARY, TEXT, CONTINUATION)),
    *(Frame(FIN | opcode, b"so", masked=False) for opcode in (TEXT, BINARY, PING, CLOSE)),
    *(Frame(FIN | BINARY, length=length) for length in (1 << 63, (1 << 64) - 1)),
    *(Frame(FIN | TEXT, b"a" * size, form=2) for size in (0, 5, 125)),
    *(Frame(FIN | TEXT, b"a" * size, form=8) for size in (0, 125, 126, 65535)),
    Frame(BINARY, b"fragment", form=2),
)


def draw_damaged(draw, frame):
    """The frame with something changed."""
    first, payload = frame.first, frame.payload
    kind = draw(st.sampled_from(("opcode", "bit", "mask", "cut", "byte", "bytes", "form")))
    if kind == "opcode":
        return Frame(first & 0xF0 | draw(st.integers(0, 15)), payload)
    if kind == "bit":
        return Frame(first ^ draw(st.sampled_from((FIN, 0x40, 0x20, 0x10))), payload)
    if kind == "mask":
        return Frame(first, payload, masked=False)
    if kind == "form":
        return Frame(first, payload, form=8 if len(payload) > 125 else 2)
    place = draw(st.integers(0, len(payload)))
    put = draw(st.binary(min_size=1, max_size=4)) if kind != "cut" else b""
    rest = {"cut": b"", "byte": payload[place + 1 :], "bytes": payload[place:]}[kind]
    return Frame(first, payload[:place] + put + rest)


def draw_bad_stream(draw, client, compression):
    """What a peer says with one thing wrong; or, at times, not wrong after all."""
    frames = draw_messages(draw, compression)
    key = draw(st.sampled_from((bytes(4), KEY)))
    way = draw(st.sampled_from(("oddity", "damage", "flip", "close", "noise", "oddity", "damage")))
    place = draw(st.integers(0, len(frames) - 1))
    if way == "oddity":
        frames.insert(place, draw(st.sampled_from(ODDITIES)))
    elif way == "close":
        frames.insert(place, draw_bad_close(draw))
    elif way == "damage":
        frames[place] = draw_damaged(draw, frames[place])
    stream = sent(client, frames, key)
    if way == "noise":
        stream += draw(st.binary(max_size=20))
    elif way == "flip":
        place = draw(st.integers(0, len(stream) - 1))
        stream = stream[:place] + bytes([stream[place] ^ 1 << draw(st.integers(0, 7))]) + stream[place + 1 :]
    return whole(stream)


def sent(client, frames, key=KEY):
    """The frames as the peer of that side sends them."""
    return b"".join(bytes(sent_to(client, frame, key)) for frame in frames)


def sent_to(client, frame, key=KEY):
    """The frame as the peer of that side sends it: the other way round where the side is a client."""
    return Frame(frame.first, frame.payload, frame.masked != client, key, frame.length, frame.form)


def draw_edges(draw, stream):
    """Places to cut the stream at."""
    way = draw(st.integers(0, 3))
    if way == 0:
        return sorted(draw(st.lists(st.integers(0, len(stream)), max_size=6)))
    if way == 1:
        return sorted(draw(st.lists(st.integers(0, min(len(stream), 60)), max_size=20)))
    # Byte by byte where that is not for ever.
    size = 1 if way == 2 else draw(st.sampled_from((2, 3, 7, 100, 5000)))
    return range(size, len(stream), max(size, len(stream) // 3000))


@dataclass(frozen=True)
class Case:
    """A stream to one side, and the places where it is cut, in four ways."""

    client: bool
    compression: bool
    limit: int | None
    stream: bytes
    cuts: list[list[int]]

    def _repr_pretty_(self, printer, cycle):
        """What Hypothesis shows of a failure, which may have large frames still."""
        cuts = ", ".join(shortened(list(cut)) for cut in self.cuts)
        printer.text(f"Case({self.client}, {self.compression}, {self.limit}, {shortened(self.stream)}, [{cuts}])")
        for frame in arrivals(self.stream):
            printer.break_()
            printer.text(
                f"    {frame.wire[: len(frame.wire) - len(frame.payload)].hex(' ')}  {shortened(frame.payload)}"
            )

    def chunks(self):
        """The stream in the pieces in which it arrives, in four ways."""
        for cut in self.cuts:
            yield [self.stream[start:end] for start, end in itertools.pairwise([0, *cut, len(self.stream)])]


def case_of(draw, client, compression, limit, stream):
    return Case(client, compression, limit, stream, [[], *(draw_edges(draw, stream) for _ in range(3))])


def draw_good_case(draw):
    client, compression = draw(st.booleans()), draw(st.booleans())
    return case_of(draw, client, compression, None, sent(client, draw_messages(draw, compression)))


def draw_bad_case(draw):
    client, compression = draw(st.booleans()), draw(st.booleans())
    return case_of(draw, client, compression, None, draw_bad_stream(draw, client, compression))


def draw_limited_case(draw):
    client, compression = draw(st.booleans()), draw(st.sampled_from((True, True, False)))
    stream = sent(client, draw_messages(draw, compression))
    if rarely(draw, 4):
        stream = draw_bad_stream(draw, client, compression)
    # Around what some message or frame has, or all of them.
    events = [event for _, event in Reference(client, compression).outcome(stream)]
    sizes = [len(data.encode() if kind is TEXT else data) for kind, data in events if kind in (TEXT, BINARY)]
    lengths = [arrival.length for arrival in arrivals(stream) if arrival.length < 1 << 20]
    limit = draw(st.sampled_from((0, -1, 1))) + draw(st.sampled_from([max(sizes, default=9), *lengths, *sizes]))
    return case_of(draw, client, compression, max(limit, 1), stream)


def draw_large_case(draw):
    """Uncompressed frames of up to three times the size that is received in place, with small ones between."""
    client = draw(st.booleans())
    frames = []
    for _ in range(draw(st.integers(1, 2))):
        size = draw(st.sampled_from((IN_PLACE, 1, -1))) + draw(st.sampled_from((IN_PLACE, 2 * IN_PLACE)))
        text = ("€" * size)[: size // 3].encode() + b"." * (size % 3)
        end = draw(st.sampled_from((b"", b"", b"\xe2\x82")))
        frames += [Frame(FIN | draw(st.sampled_from((TEXT, BINARY))), text + end), draw_control(draw)]
    stream = sent(client, frames)
    cuts = []
    for _ in range(3):
        size = draw(st.sampled_from((IN_PLACE + 7, 50_000, 3 * IN_PLACE, 1500)))
        cuts.append([*range(draw(st.integers(1, 20)), len(stream), size)])
    return Case(client, False, None, stream, [[], *cuts])


# What is said by one of the writers


@dataclass(frozen=True)
class Part:
    """A message, in pieces with a control frame after each but the last, or a control frame."""

    kind: MessageType
    pieces: list[bytes]
    level: int = 1
    prepared: bool = False

    @property
    def payload(self):
        return b"".join(self.pieces)

    def events(self):
        """What is to be read."""
        between = [(PING, b"between")] * (len(self.pieces) - 1)
        if self.kind is CLOSE:
            return [(CLOSE, (int.from_bytes(self.payload[:2]), self.payload[2:].decode()))]
        return [*between, (self.kind, self.payload.decode() if self.kind is TEXT else self.payload)]

    def written(self, client, bits):
        """By this library: as one frame, as a prepared message, or streamed; compressed where that makes sense."""
        compression = None if bits is None or self.kind >= CLOSE else (self.level, bits)
        if self.prepared:
            data = self.payload.decode() if self.kind is TEXT else self.payload
            message = PreparedMessage(self.kind, data)
            return b"".join(encode(*message.encoded(compression), True)) if client else message.frame(compression)
        if len(self.pieces) == 1:
            return b"".join(encode(*encode_payload(self.kind, self.payload, compression), client))
        return b"".join(self.streamed(client, compression))

    def streamed(self, client, compression):
        deflater = Deflater(*compression) if compression is not None else None
        for i, piece in enumerate(self.pieces):
            final = i == len(self.pieces) - 1
            first = CONTINUATION if i else self.kind | (RSV1 if deflater is not None else 0)
            if deflater is not None:
                piece = deflater.compress(piece) + (deflater.finish() if final else b"")
            yield from encode(first | (FIN if final else 0), piece, client)
            if not final:
                yield from encode(FIN | PING, b"between", client)

    def write_with(self, writer):
        """By websockets."""
        if self.kind is CLOSE:
            writer.send_close(int.from_bytes(self.payload[:2]), self.payload[2:].decode())
        elif self.kind >= CLOSE:
            (writer.send_ping if self.kind is PING else writer.send_pong)(self.payload)
        else:
            send = writer.send_text if self.kind is TEXT else writer.send_binary
            for i, piece in enumerate(self.pieces):
                (writer.send_continuation if i else send)(piece, fin=i == len(self.pieces) - 1)
                if i < len(self.pieces) - 1:
                    writer.send_ping(b"between")


@dataclass(frozen=True)
class Conversation:
    """What one side says; client is which."""

    client: bool
    compression: bool
    bits: int
    said: list[Part]


def draw_part(draw):
    if rarely(draw, 6):
        return Part(draw(st.sampled_from((PING, PONG))), [draw(st.binary(max_size=125))], prepared=draw(st.booleans()))
    kind = draw(st.sampled_from((TEXT, BINARY)))
    payload = draw_text(draw).encode() if kind is TEXT else draw_bytes(draw)
    places = sorted(draw(st.lists(st.integers(0, len(payload)), max_size=4))) if rarely(draw, 2) else []
    pieces = [payload[start:end] for start, end in itertools.pairwise([0, *places, len(payload)])]
    level = draw(st.sampled_from((1, 6, 9, 0, -1, -2)))
    return Part(kind, pieces, level, prepared=len(pieces) == 1 and draw(st.booleans()))


def draw_conversation(draw):
    said = [draw_part(draw) for _ in range(draw(st.integers(1, 4)))]
    if rarely(draw, 2):
        code = draw(st.sampled_from((1000, 1011, 3000, 4999)))
        said.append(
            Part(CLOSE, [format_close_message(code, draw(st.text("aß€𝄞", max_size=30)))], prepared=draw(st.booleans()))
        )
    compression = draw(st.booleans())
    return Conversation(draw(st.booleans()), compression, draw(st.sampled_from((15, 9, 12))), said)


# The tests


class DifferentialTestCase(LeakChecks):
    """Assertions in the words of the domain."""

    def protocol(self, case):
        return Protocol(client=case.client, read_limit=case.limit, compression=case.compression)

    def assert_as_wanted(self, wanted, got, chunks):
        """The events that are wanted, each with the chunk that completes its frame; a failure may come earlier."""
        ours, wants = [event for _, event in got], [event for _, event in wanted]
        if wants and wants[-1] == (FAIL, EITHER) and ours and ours[-1] in ((FAIL, 1007), (FAIL, 1009)):
            ours[-1] = wants[-1]
        if ours != wants:
            self.fail(f"ours: {shortened(ours)}, wanted: {shortened(wants)}")
        edges = list(itertools.accumulate(map(len, chunks)))
        for (place, event), (end, _) in zip(got, wanted, strict=True):
            latest = next(edge for edge in edges if edge >= end)
            if event[0] == FAIL:
                self.assertLessEqual(place, latest, shortened(event))
            else:
                self.assertEqual(place, latest, shortened(event))


class TestReading(DifferentialTestCase):
    """What both make of what a peer sends."""

    def test_good_streams(self):
        """What a good peer says comes as the same events as in websockets, in time, however the stream is cut."""
        ends = self.compare(draw_good_case)
        self.assert_all_there(ends, "open", "close", 1007)

    def test_bad_streams(self):
        """With something wrong in it, a stream still ends as in websockets: same code, in time, in the same words."""
        ends = self.compare(draw_bad_case)
        self.assert_all_there(ends, "open", "close", 1002, 1007)

    def test_limits(self):
        """The read limit takes what is just within it and fails with 1009 what is over it, as in websockets."""
        ends = self.compare(draw_limited_case)
        self.assert_all_there(ends, "open", 1009)

    def test_oddities(self):
        """Each frame that is wrong, or is so in its place: alone, and inside a message, compressed or not."""
        places = ((), (Frame(TEXT, b"half"),), (Frame(RSV1 | BINARY, b"\x01"), Frame(FIN | PING)))
        for odd, before, client, compression, limit in itertools.product(ODDITIES, places, BOTH, BOTH, (None, 4)):
            with self.subTest(f"{before} {odd}", client=client, compression=compression, limit=limit):
                stream = whole(sent(client, (*before, odd, Frame(FIN | PING))))
                self.check(Case(client, compression, limit, stream, [[], *[range(1, min(len(stream), 200))] * 3]))

    def compare(self, draw_case):
        """Check many cases; returns how many had which end."""
        ends = Counter()
        explore(lambda case: ends.update([self.check(case)]), draw_case)
        return ends

    def check(self, case):
        """Compare the readers with the reference, on each cut; returns the end that they share."""
        options = case.client, case.compression, case.limit
        wanted = Reference(*options).outcome(case.stream)
        in_pieces = Reference(*options, without={"whole"}).outcome(case.stream)
        kind, what = wanted[-1][1] if wanted else (None, None)
        reasons = set()
        runs = [*zip((by_events, by_events, by_pieces, in_place), case.chunks(), strict=True)]
        runs.append((frame_by_frame, [*frames_of(case.stream)]))
        for read, chunks in runs:
            protocol = self.protocol(case)
            got, reason = read(protocol, chunks)
            of_this = in_pieces if read is by_pieces else wanted
            self.assert_as_wanted(of_this, got, chunks)
            self.assert_fits(reason, got)
            self.assert_stays_over(protocol, of_this, reason)
            if of_this == wanted:
                reasons.add(reason)
        self.assertTrue(len(reasons) == 1 or what == EITHER, reasons)
        return what if kind == FAIL else "close" if kind is CLOSE else "open"

    def assert_all_there(self, ends, *kinds):
        """The streams are worth something only if each kind of end is there; few streams need not have them all."""
        if HEAVY != "0":
            self.assertTrue(all(ends[kind] for kind in kinds), ends)

    def assert_fits(self, reason, got):
        """The words of a failure are about what its code means."""
        if reason is None:
            return
        code, words = got[-1][1][1], reason[1]
        self.assertEqual("limit" in words, code == 1009, words)
        self.assertEqual("UTF-8" in words or "compressed data that" in words, code == 1007, words)

    def assert_stays_over(self, protocol, wanted, reason):
        """After the end nothing more comes: None after a close, the same error after a failure."""
        if reason is not None:
            with self.assertRaises(ProtocolError) as caught:
                protocol.next_event()
            self.assertEqual((type(caught.exception), caught.exception.reason), reason)
        elif wanted and wanted[-1][1][0] is CLOSE:
            protocol.receive(bytes(Frame(FIN | PING)))
            self.assertIsNone(protocol.next_event())

    def test_large_frames(self):
        """Frames so large that they are received in place, and what follows in the same chunk."""

        explore(self.check, draw_large_case, STREAMS // 10)


class TestWriting(DifferentialTestCase):
    """What one side writes is what the other reads."""

    def test_ours(self):
        """Whole, prepared and streamed messages, compressed or not, arrive in websockets and in a Protocol."""

        def check(case):
            stream = b"".join(part.written(case.client, case.bits if case.compression else None) for part in case.said)
            self.assert_is_read(case, stream)

        explore(check, draw_conversation)

    def test_theirs(self):
        """What websockets writes, fragments and compression included, arrives in a Protocol."""

        def check(case):
            writer = theirs(case.client, case.compression, None, case.bits)
            for part in case.said:
                part.write_with(writer)
            self.assert_is_read(case, b"".join(writer.data_to_send()))

        explore(check, draw_conversation)

    def assert_is_read(self, case, stream):
        """Both read what was said, without any allowance for differences."""
        wanted = [event for part in case.said for event in part.events()]
        reference = Reference(not case.client, case.compression, bits=case.bits, without=DIFFERENCES)
        self.assertEqual([event for _, event in reference.outcome(stream)], wanted)
        for read, size in ((by_events, len(stream)), (in_place, 70_000), (by_pieces, max(1, len(stream) // 50))):
            protocol = Protocol(client=not case.client, read_limit=None, compression=case.compression)
            chunks = [stream[start : start + size] for start in range(0, len(stream), size)]
            self.assertEqual(read(protocol, chunks)[0], reference.events_by(chunks))


class TestDifferences(DifferentialTestCase):
    """The table is as short as it can be."""

    def test_each_difference(self):
        """Each row of DIFFERENCES is needed: its example ends as ours does with the row, and otherwise without it."""
        for (name, row), client in itertools.product(DIFFERENCES.items(), BOTH):
            with self.subTest(name, client=client):
                stream = sent(client, row.example)
                protocol = Protocol(client=client, read_limit=row.limit, compression=row.compression)
                got, _ = by_events(protocol, [stream])
                with_it = Reference(client, row.compression, row.limit).outcome(stream)
                without_it = Reference(client, row.compression, row.limit, without={name}).outcome(stream)
                self.assert_as_wanted(with_it, got, [stream])
                self.assertNotEqual(without_it, with_it)


if __name__ == "__main__":
    unittest.main()
