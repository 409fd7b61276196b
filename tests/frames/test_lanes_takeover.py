"""lanes.py, compressed.py and deflate.py with a window: compressed messages that refer back to those before them."""

from __future__ import annotations

import itertools
import random
import unittest
import zlib

from syncws._frames.protocol import Protocol
from syncws._frames.verdicts import KEPT_CONTEXT
from syncws._frames.window import Window
from syncws.errors import BINARY, PING, TEXT, MessageType, ProtocolError
from tests.frames.cases import CONTINUATION, ROLES, chunked, drain, frame, outcome

MIB = 1 << 20

#: The first two messages of a Tornado client that was told to forget its context.
TORNADO = bytes.fromhex("f248cdc9c9d75108c92fca4b4cc9570400"), bytes.fromhex("f240e50200")
TORNADO_SAYS = ["Hello, Tornado!", "Hello, Tornado!"]


class Peer:
    """A peer that keeps its context; `client` is the role of who reads it."""

    def __init__(self, *, client: bool = False, bits: int = 15, level: int = 6) -> None:
        self._client = client
        self._zlib = zlib.compressobj(level, zlib.DEFLATED, -bits)

    def payload(self, data: bytes) -> bytes:
        """A message that the next one refers back to."""
        return (self._zlib.compress(data) + self._zlib.flush(zlib.Z_SYNC_FLUSH))[:-4] or b"\0"

    def frame(self, data: bytes) -> bytes:
        """The message in one frame."""
        return self.raw(self.payload(data))

    def raw(self, payload: bytes, kind: MessageType = BINARY) -> bytes:
        sent: bytes = frame(kind, payload, to=self._client, rsv=4)
        return sent

    def fragments(self, payload: bytes, *places: int) -> bytes:
        """A payload in fragments that are cut there, a ping between them."""
        edges = [0, *places, len(payload)]
        frames = []
        for number, (start, end) in enumerate(itertools.pairwise(edges)):
            first, rsv = (CONTINUATION, 0) if number else (BINARY, 4)
            final = number == len(edges) - 2
            frames.append(frame(first, payload[start:end], to=self._client, fin=final, rsv=rsv))
            if not final:
                frames.append(frame(PING, b"", to=self._client))
        return b"".join(frames)


def reader(*, client: bool = False, bits: int = 15, on_trial: bool = False, limit: int | None = MIB) -> Protocol:
    return Protocol(client=client, read_limit=limit, compression=True, window=Window(bits, on_trial=on_trial))


def messages(protocol: Protocol, *chunks: bytes) -> list[bytes]:
    """The messages, without pings."""
    return [event[1] for event in outcome(protocol, chunks) if event[0] is not PING]


def pieces(protocol: Protocol) -> tuple[bytes, bool]:
    """What can be had in pieces now, and whether the message is at its end."""
    data, final = b"", False
    while not final and (piece := protocol.next_piece()) is not None:
        if piece[0] is not PING:
            data, final = data + piece[1], piece[2]
    return data, final


class TestKept(unittest.TestCase):
    """A window that is kept from the first message on."""

    def test_whole_and_in_parts(self) -> None:
        """Each message finds those before it, however it is cut, in one frame or in fragments with pings between."""
        rng = random.Random(7692)
        for client in ROLES:
            for size in (1, 3, 50, 1 << 20):
                peer, protocol = Peer(client=client), reader(client=client)
                for number in range(30):
                    data = b"message %d of a shape " % number * rng.randrange(5)
                    payload = peer.payload(data)
                    if number % 3 and len(payload) > 2:
                        sent = peer.fragments(payload, 0, 1, len(payload) // 2)
                    else:
                        sent = peer.raw(payload)
                    self.assertEqual(messages(protocol, *chunked(sent, size)), [data])
                    self.assertEqual(protocol.held, 0)

    def test_pieces(self) -> None:
        """A message that is read in pieces is in the window, and so is one of which only a piece was asked for."""
        peer, protocol = Peer(), reader()
        large = random.Random(3).randbytes(150_000)
        for number in range(4):
            sent = peer.frame(large[number:])
            got = b""
            for chunk in chunked(sent, 20_000):
                protocol.receive(chunk)
                data, final = pieces(protocol)
                got += data
            self.assertTrue(final)
            self.assertEqual(got, large[number:])
            self.assertEqual(messages(protocol, peer.frame(large[-1000:])), [large[-1000:]])

    def test_the_rest_of_a_piece(self) -> None:
        """`next_event` gives the rest of a message of which pieces were handed out; the next one finds all of it."""
        peer, protocol = Peer(), reader()
        data = random.Random(4).randbytes(200_000)
        protocol.receive(peer.frame(data))
        first = protocol.next_piece()
        assert first is not None
        self.assertLess(len(first[1]), len(data))
        self.assertEqual(drain(protocol), [(BINARY, data[len(first[1]) :])])
        self.assertEqual(messages(protocol, peer.frame(data[-9000:])), [data[-9000:]])

    def test_plain_messages_are_in_no_window(self) -> None:
        """A message that was sent plain between two compressed ones changes nothing."""
        peer, protocol = Peer(), reader()
        for data in (b"one of these", b"another of these"):
            self.assertEqual(messages(protocol, peer.frame(data)), [data])
            self.assertEqual(messages(protocol, frame(BINARY, b"plain", to=False)), [b"plain"])

    def test_empty_messages(self) -> None:
        """One byte of payload, as RFC 7692 section 7.2.3.6 wants it, or none at all: the window is as it was."""
        peer, protocol = Peer(), reader()
        for data in (b"some words", b"some words again"):
            self.assertEqual(messages(protocol, peer.raw(b"")), [b""])
            self.assertEqual(messages(protocol, peer.raw(b"\0")), [b""])
            self.assertEqual(messages(protocol, peer.frame(data)), [data])
            self.assertEqual(messages(protocol, peer.raw(b"")), [b""])

    def test_final_blocks(self) -> None:
        """A block with BFINAL set ends the stream, inside a message or with it: what follows refers to nothing before.

        With and without the byte that should follow (RFC 7692 section 7.2.3.4).
        """
        protocol = reader()
        for tail in (b"", b"\0"):
            for _ in range(3):
                packer = zlib.compressobj(6, zlib.DEFLATED, -15)
                final = packer.compress(b"a message of words") + packer.flush()
                self.assertEqual(messages(protocol, Peer().raw(final + tail)), [b"a message of words"])
            peer = Peer()
            both = final + peer.payload(b"and more")
            self.assertEqual(messages(protocol, peer.raw(both)), [b"a message of wordsand more"])
            self.assertEqual(messages(protocol, peer.frame(b"and more")), [b"and more"])

    def test_cut_messages(self) -> None:
        """Cut anywhere, a message is 1007, the first one and one that refers back; and one with its tail left on."""
        rng = random.Random(5)
        words = bytes(rng.choices(b"abcdefgh", k=700))
        for before, data in itertools.product((b"", words), (b"Hello", words, rng.randbytes(300), bytes(1000))):
            for level in (6, 0, 1):
                peer = Peer(level=level)
                first, second = peer.payload(before), peer.payload(data)
                for cut in [*range(1, len(second)), None]:
                    broken = second[:cut] if cut is not None else second + b"\x00\x00\xff\xff"
                    if broken == b"\0":
                        continue  # the empty message
                    for sent in (peer.raw(broken), peer.fragments(broken, 1)):
                        protocol = reader()
                        self.assertEqual(messages(protocol, peer.raw(first)), [before])
                        self.assertEqual(outcome(protocol, [sent])[-1][1], 1007, (before[:4], data[:4], level, cut))

    def test_corrupt_messages(self) -> None:
        """Whatever comes is a message within the limit, or 1007, or 1009; and what failed holds nothing."""
        rng = random.Random(11)
        ends = set()
        for _ in range(1500):
            peer, protocol = Peer(level=rng.choice((0, 1, 6))), reader(limit=250)
            self.assertEqual(len(messages(protocol, peer.frame(bytes(rng.choices(b"abc", k=200))))), 1)
            body = bytearray(peer.payload(bytes(rng.choices(b"abc", k=rng.randint(0, 300)))))
            for _ in range(rng.randint(0, 4)):
                body[rng.randrange(len(body))] ^= 1 << rng.randrange(8)
            end = outcome(protocol, [peer.raw(bytes(body))])[-1]
            if len(end) == 3:
                self.assertIsNone(protocol.window)
                self.assertIn(end[1], (1007, 1009))
            else:
                self.assertLessEqual(len(end[1]), 250)
            ends.add(end[1] if len(end) == 3 else "a message")
        self.assertEqual(ends, {1007, 1009, "a message"})

    def test_the_limit(self) -> None:
        """The limit is that of each message, not of what they have been together; a bomb is 1009."""
        for data, expected in ((bytes(1000), [bytes(1000)]), (bytes(1001), None)):
            for step in (1, 1 << 20):
                peer, protocol = Peer(), reader(limit=1000)
                for _ in range(5):
                    self.assertEqual(messages(protocol, *chunked(peer.frame(bytes(1000)), step)), [bytes(1000)])
                got = outcome(protocol, chunked(peer.frame(data), step))
                if expected:
                    self.assertEqual([event[1] for event in got], expected)
                else:
                    self.assertEqual(got[-1][1], 1009)

    def test_a_smaller_window(self) -> None:
        """A window of the size that was agreed on reads what fits into it; what refers further back is told so."""
        data = random.Random(1).randbytes(3000)
        for bits in range(9, 12):
            peer, protocol = Peer(bits=bits), reader(bits=bits)
            for part in (data, data[-200:], data):
                self.assertEqual(messages(protocol, peer.frame(part)), [part])
        peer, protocol = Peer(bits=15), reader(bits=9)
        messages(protocol, peer.frame(data))
        error = outcome(protocol, [peer.frame(data)])[-1]
        self.assertEqual(error, (ProtocolError, 1007, KEPT_CONTEXT))
        self.assertIn("max_window_bits", KEPT_CONTEXT)

    def test_let_go(self) -> None:
        """What is let go between two messages is there again for the next; in the middle of one nothing is let go."""
        peer, protocol = Peer(), reader()
        words = b"words that come again and again"
        window = protocol.window
        assert window is not None
        for _ in range(3):
            self.assertEqual(messages(protocol, peer.frame(words)), [words])
            protocol.let_go()
            self.assertFalse(window.is_live)
        sent = peer.frame(words * 3)
        protocol.receive(sent[:-1])
        begun, final = pieces(protocol)
        self.assertTrue(begun)
        self.assertFalse(final)
        protocol.let_go()
        self.assertTrue(window.is_live)
        self.assertEqual(begun + messages(protocol, sent[-1:])[0], words * 3)

    def test_the_end(self) -> None:
        """A connection that is over holds no window: after a close, a failure, and when nobody reads any more."""
        for client in ROLES:
            for end in ("close", "failure", "abandoned"):
                peer, protocol = Peer(client=client), reader(client=client)
                messages(protocol, peer.frame(b"words"))
                if end == "abandoned":
                    protocol.abandon()
                else:
                    outcome(protocol, [frame(8, b"\x03\xe8", to=client) if end == "close" else b"\xff\xff"])
                self.assertIsNone(protocol.window)


class TestTrial(unittest.TestCase):
    """A client that was told to forget its context, and may not have understood."""

    def test_tornado(self) -> None:
        """A Tornado client, which does not listen, is understood: in one frame, cut anywhere, in pieces."""
        first, second = (frame(TEXT, payload, to=False, rsv=4) for payload in TORNADO)
        for size in (1, 2, 9, 100):
            protocol = reader(on_trial=True)
            self.assertEqual(messages(protocol, *chunked(first + second, size)), TORNADO_SAYS)
            self.assertEqual(messages(protocol, Peer().raw(b"\xf2\0", TEXT))[-1:], [1007])  # another stream's
        for how in itertools.product((False, True), repeat=2):
            protocol = reader(on_trial=True)
            got = []
            for sent, in_pieces in zip((first, second), how, strict=True):
                protocol.receive(sent)
                if in_pieces:
                    got.append(pieces(protocol)[0].decode())
                else:
                    got += [event[1] for event in drain(protocol)]
            self.assertEqual(got, TORNADO_SAYS)

    def test_a_peer_that_listens(self) -> None:
        """After 32 messages that refer to nothing nothing is held; a message that refers back is 1007 from then on."""
        protocol = reader(on_trial=True)
        for _ in range(32):
            self.assertIsNotNone(protocol.window)
            self.assertEqual(messages(protocol, Peer().frame(b"the same words")), [b"the same words"])
        self.assertIsNone(protocol.window)
        peer = Peer()
        messages(protocol, peer.frame(b"the same words"))
        self.assertEqual(outcome(protocol, [peer.frame(b"the same words")])[-1], (ProtocolError, 1007, KEPT_CONTEXT))

    def test_a_peer_that_says_little_at_first(self) -> None:
        """Messages too short to refer to anything are no proof: one that does so after a thousand of them is read."""
        peer, protocol = Peer(), reader(on_trial=True)
        for number in range(1000):
            short = b"%d" % number
            self.assertEqual(messages(protocol, peer.frame(short)), [short])
        for _ in range(40):
            self.assertEqual(messages(protocol, peer.frame(b"a longer one")), [b"a longer one"])

    def test_what_it_refers_to(self) -> None:
        """The first message that refers back finds 32 KiB of what was before: of many messages, or of a large one."""
        rng = random.Random(6)
        for sizes in ((100_000,), (5000,) * 20, (40_000, 10, 10), (10, 31_000, 2)):
            peer, protocol = Peer(), reader(on_trial=True)
            past = b""
            for size in sizes:
                data = rng.randbytes(size)
                past += data
                self.assertEqual(messages(protocol, peer.frame(data)), [data])
            for start in (-(1 << 15), -20_000, -500):
                back = past[start:][:400]
                past += back
                self.assertEqual(messages(protocol, peer.frame(back)), [back])

    def test_let_go_and_wake(self) -> None:
        """On trial as well what is let go is there again, and whoever refers back after that is understood."""
        peer, protocol = Peer(), reader(on_trial=True)
        words = b"words of some length, that are said again"
        for number in range(3):
            data = words + b"%d" % number if number else words
            protocol.let_go()
            self.assertEqual(messages(protocol, peer.frame(data)), [data])

    def test_its_faults(self) -> None:
        """On trial too a message that is corrupt, too large or cut is refused, after its second try as well."""
        for broken, code in ((b"\x07", 1007), (TORNADO[1][:-1], 1007)):
            protocol = reader(on_trial=True)
            messages(protocol, frame(TEXT, TORNADO[0], to=False, rsv=4))
            self.assertEqual(outcome(protocol, [frame(TEXT, broken, to=False, rsv=4)])[-1][1], code)
        peer, protocol = Peer(), reader(on_trial=True, limit=100)
        messages(protocol, peer.frame(b"a" * 100))
        self.assertEqual(outcome(protocol, [peer.frame(b"a" * 101)])[-1][1], 1009)


if __name__ == "__main__":
    unittest.main()
