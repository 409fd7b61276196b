"""What the tests of frames share: what a peer says, how it arrives, and what a Protocol makes of it."""

from __future__ import annotations

import itertools
import random
import unittest
import zlib

from syncws._frames.frame import FIN
from syncws._frames.protocol import Protocol
from syncws.errors import MessageType, ProtocolError, ReadLimitError

CONTINUATION = 0
TEXT, BINARY, CLOSE, PING, PONG = MessageType

KEY = b"\x37\xfa\x21\x3d"
ROLES = (False, True)  # values of client
ROLE_NAMES = {False: "server", True: "client"}

# One byte, two, three and four bytes in UTF-8.
LETTERS = "aß€𝄞"


# The peer: frames, and how they arrive


def masked(data, key=KEY):
    """RFC 6455 section 5.3, spelled out for short data and in one go for long."""
    if len(data) < 64:
        return bytes(byte ^ key[i % 4] for i, byte in enumerate(data))
    keys = key * (len(data) // 4 + 1)
    return (int.from_bytes(data) ^ int.from_bytes(keys[: len(data)])).to_bytes(len(data))


def frame(opcode, payload=b"", *, to, fin=True, rsv=0, mask=None, length=None, form=None):
    """One frame to a side: to is its value of client. length and form (0, 2 or 8 bytes) declare what is not so."""
    data = payload.encode() if isinstance(payload, str) else payload
    size = len(data) if length is None else length
    if form is None:
        form = 0 if size < 126 else 2 if size < 1 << 16 else 8
    is_masked = not to if mask is None else mask
    short = size if form == 0 else {2: 126, 8: 127}[form]
    head = bytes([(FIN if fin else 0) | rsv << 4 | opcode, (0x80 if is_masked else 0) | short])
    head += size.to_bytes(form) if form else b""
    return head + KEY + masked(data) if is_masked else head + data


def deflated(data):
    """The payload of a compressed message (RFC 7692 section 7.2.1), by zlib alone."""
    data = data.encode() if isinstance(data, str) else data
    compressor = zlib.compressobj(wbits=-15)
    return (compressor.compress(data) + compressor.flush(zlib.Z_SYNC_FLUSH))[:-4]


def chunked(data, size):
    """The data in chunks of that many bytes."""
    return [data[start : start + size] for start in range(0, len(data), size)]


def cut_at(data, *places):
    """The data cut at these places."""
    edges = [0, *sorted(places), len(data)]
    return [data[start:end] for start, end in itertools.pairwise(edges)]


def cut_at_random(data, rng):
    """The data cut at up to eight random places, near its beginning as often as anywhere."""
    near = min(len(data), 40)
    return cut_at(data, *(rng.randrange(rng.choice((near, len(data))) + 1) for _ in range(rng.randrange(9))))


def some_cuts(data, rng, count=8):
    """All at once, byte by byte, and a number of random cuts."""
    yield [data]
    yield chunked(data, 1)
    for _ in range(count):
        yield cut_at_random(data, rng)


# This side: what a Protocol makes of it


def server(**options):
    """A server's Protocol, without a limit or compression unless told."""
    return Protocol(**{"client": False, "read_limit": None, "compression": False, **options})


def protocol(client, **options):
    """A Protocol of either role."""
    return server(client=client, **options)


def drain(protocol):
    """The events there are now."""
    events = []
    while (event := protocol.next_event()) is not None:
        events.append(event)
    return events


def outcome(protocol, chunks):
    """The events of a stream; the last is (error class, code, reason) where it fails."""
    events = []
    try:
        for chunk in chunks:
            protocol.receive(chunk)
            while (event := protocol.next_event()) is not None:
                events.append(event)
    except ProtocolError as error:
        events.append((type(error), error.code, error.reason))
    return events


def outcome_in_place(protocol, data, size):
    """As outcome, receiving at most size bytes at a time, in place wherever that is possible; and how often it was."""
    events, start, in_place = [], 0, 0
    while start < len(data):
        events += drain(protocol)
        room = protocol.destination()
        if room is None:
            protocol.receive(data[start : start + size])
            start += size
        else:
            in_place += 1
            with room:
                count = min(size, len(room), len(data) - start)
                room[:count] = data[start : start + count]
            protocol.received(count)
            start += count
    return events + drain(protocol), in_place


def pieces(protocol, chunks):
    """What next_piece gives for a stream: (type, data, final) tuples."""
    found = []
    for chunk in chunks:
        protocol.receive(chunk)
        while (piece := protocol.next_piece()) is not None:
            found.append(piece)
    return found


class ProtocolTestCase(unittest.TestCase):
    """Assertions in the words of the domain."""

    def setUp(self):
        self.random = random.Random(6455)

    def assert_fails(self, chunks, protocol, code, reason, *, after=()):
        """The stream gives the events `after`, and then fails with that code and reason."""
        kind = ReadLimitError if code == 1009 else ProtocolError
        self.assertEqual(outcome(protocol, chunks), [*after, (kind, code, reason)])
