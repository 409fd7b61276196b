"""deflate.py: messages inflated within bounds, and deflated."""

from __future__ import annotations

import itertools
import os
import random
import subprocess
import sys
import textwrap
import tracemalloc
import unittest
import zlib
from unittest import mock

from wsproto.connection import Connection, ConnectionState, ConnectionType
from wsproto.events import BytesMessage, CloseConnection, Ping, Pong, TextMessage
from wsproto.frame_protocol import CloseReason, Opcode, RsvBits

from syncws._frames import deflate
from syncws._frames.deflate import Deflater, compress
from syncws._frames.masking import mask
from tests.frames.wsproto_alone import InboundDeflate

TEXT, BINARY, CONTINUATION, PING, PONG, CLOSE = 1, 2, 0, 9, 10, 8
MIB = 1 << 20


def frame(opcode, payload, *, fin=True, rsv1=False, client):
    """A frame for the side that is (client) or is not a client: its peer masks or does not."""
    first = fin << 7 | rsv1 << 6 | opcode
    length = len(payload)
    if length < 126:
        head = bytes([first, length])
    elif length < 1 << 16:
        head = bytes([first, 126]) + length.to_bytes(2, "big")
    else:
        head = bytes([first, 127]) + length.to_bytes(8, "big")
    if client:
        return head + payload
    return head[:1] + bytes([head[1] | 0x80]) + head[2:] + b"mask" + mask(payload, b"mask")


def deflated(payload, bits=15, level=6, memory=8):
    """As a peer does it, with zlib alone."""
    compressor = zlib.compressobj(level, zlib.DEFLATED, -bits, memory)
    return (compressor.compress(payload) + compressor.flush(zlib.Z_SYNC_FLUSH))[:-4]


def inflated(payload, bits=15):
    """As a peer does it, with zlib alone, for a whole message: it must end between two blocks."""
    decompressor = zlib.decompressobj(-bits)
    data = decompressor.decompress(payload + b"\x00\x00\xff\xff\x03\x00")
    assert decompressor.eof
    return data


class Peer:
    """wsproto's inbound connection with our extension: bytes in, whole messages out."""

    def __init__(self, limit=None, client=False):
        self.client = client
        self.extension = InboundDeflate(limit)
        role = ConnectionType.CLIENT if client else ConnectionType.SERVER
        self.connection = Connection(role, [self.extension])
        self._parts = []

    def frame(self, opcode, payload, *, fin=True, rsv1=False):
        return frame(opcode, payload, fin=fin, rsv1=rsv1, client=self.client)

    def feed(self, data, step=None):
        """What came of it: messages whole; ping and pong as bytes tagged by name; ("closed", code, state)."""
        happened = []
        for start in range(0, len(data), step or max(len(data), 1)):
            self.connection.receive_data(data[start : start + (step or len(data))])
            for event in self.connection.events():
                match event:
                    case TextMessage() | BytesMessage():
                        self._parts.append(event.data)
                        if event.message_finished:
                            happened.append(self._parts[0][:0].join(self._parts))
                            self._parts.clear()
                    case Ping():
                        happened.append(("ping", bytes(event.payload)))
                    case Pong():
                        happened.append(("pong", bytes(event.payload)))
                    case CloseConnection():
                        happened.append(("closed", int(event.code), self.connection.state))
        return happened

    def message(self, payload, opcode=BINARY, step=None):
        return self.feed(self.frame(opcode, payload, rsv1=True), step)


def refused(code):
    """The one event of a message we complained about: the connection is still OPEN, for it was us."""
    return [("closed", code, ConnectionState.OPEN)]


class InflateTests(unittest.TestCase):
    """Messages that arrive compressed."""

    def both_roles(self, **kwargs):
        for client in (False, True):
            with self.subTest(client=client):
                yield Peer(client=client, **kwargs)

    def assert_idle(self, peer):
        """Between two messages no memory of zlib's is held."""
        self.assertIsNone(peer.extension._inflater)

    def test_enabled(self):
        """wsproto keeps only extensions that say they are enabled."""
        self.assertTrue(InboundDeflate(None).enabled())

    def test_examples_of_the_rfc(self):
        """RFC 7692 section 7.2.3: one block, no compression, BFINAL set, two blocks."""
        for payload in (
            "f248cdc9c90700",
            "000500faff48656c6c6f00",
            "f348cdc9c9070000",
            "f248050000 00ffff cac9c90700",
        ):
            for step in (None, 1):
                for peer in self.both_roles():
                    self.assertEqual(peer.message(bytes.fromhex(payload), TEXT, step), ["Hello"])
                    self.assert_idle(peer)

    def test_fragmented_example_of_the_rfc(self):
        """RFC 7692 section 7.2.3.1: the same message in two frames, RSV1 on the first only."""
        stream = bytes.fromhex("4103f248cd 8004c9c90700")
        for step in (None, 1, 2):
            self.assertEqual(Peer(client=True).feed(stream, step), ["Hello"])

    def test_empty_message(self):
        """The empty message is one byte (section 7.2.3.6); no byte at all is taken for it too."""
        for payload in (b"\x00", b"\x02\x00", b"", b"\x03\x00", b"\x03\x00\x00"):
            for peer in self.both_roles():
                self.assertEqual(peer.message(payload), [b""])
                self.assertEqual(peer.message(payload, TEXT), [""])
                self.assert_idle(peer)

    def test_messages_after_one_another(self):
        """Each message is inflated by itself; plain ones between them pass."""
        for peer in self.both_roles():
            stream = b""
            expected = []
            for number in range(20):
                payload = b"message %d " % number * number
                compressed = number % 3 != 0
                body = deflated(payload) if compressed else payload
                stream += peer.frame(BINARY, body, rsv1=compressed)
                expected.append(payload)
            self.assertEqual(peer.feed(stream), expected)
            self.assert_idle(peer)

    def test_context_is_not_kept(self):
        """A message that refers to the one before it (section 7.2.3.2) was not agreed on, and is 1007."""
        peer = Peer()
        self.assertEqual(peer.message(bytes.fromhex("f248cdc9c90700"), TEXT), ["Hello"])
        self.assertEqual(peer.message(bytes.fromhex("f200110000"), TEXT), refused(1007))

    def test_every_window_and_level(self):
        """Whatever window and level the peer compresses with, one inflater reads it."""
        payload = random.Random(1).randbytes(3000) * 5 + b"abc" * 5000
        for bits, level, memory in itertools.product(range(9, 16), (0, 1, 6, 9), (1, 5, 9)):
            body = deflated(payload, bits, level, memory)
            self.assertEqual(Peer().message(body), [payload])

    def test_fragments_cut_anywhere(self):
        """Fragment borders, empty fragments among them, mean nothing to the compressed data."""
        rng = random.Random(7692)
        payload = bytes(rng.choices(b"abcdef ", k=5000))
        body = deflated(payload)
        for peer in self.both_roles(limit=5000):
            cuts = sorted(rng.choices(range(len(body) + 1), k=9))
            parts = [body[a:b] for a, b in itertools.pairwise([0, *cuts, len(body)])]
            stream = b"".join(
                peer.frame(CONTINUATION if i else BINARY, part, fin=i == len(parts) - 1, rsv1=not i)
                for i, part in enumerate(parts)
            )
            for step in (None, 1, 7):
                self.assertEqual(peer.feed(stream, step), [payload])
                self.assert_idle(peer)

    def test_control_frames_between_fragments(self):
        """A ping or pong between the fragments of a compressed message leaves it whole; plain wsproto loses it."""
        text = "compressed, in fragments " * 40
        body = deflated(text.encode())
        ping, pong = ("ping", b"are you there"), ("pong", b"")
        for peer in self.both_roles(limit=len(text)):
            stream = (
                peer.frame(PING, b"are you there")
                + peer.frame(TEXT, body[:10], fin=False, rsv1=True)
                + peer.frame(PING, b"are you there")
                + peer.frame(PONG, b"")
                + peer.frame(CONTINUATION, body[10:20], fin=False)
                + peer.frame(PING, b"are you there")
                + peer.frame(CONTINUATION, body[20:])
                + peer.frame(TEXT, b"plain", fin=False)
                + peer.frame(PONG, b"")
                + peer.frame(CONTINUATION, b" text")
            )
            for step in (None, 1, 3):
                expected = [ping, ping, pong, ping, text, pong, "plain text"]
                self.assertEqual(peer.feed(stream, step), expected)

    def test_close_between_fragments(self):
        """A peer's close inside a compressed message is its close."""
        peer = Peer()
        stream = peer.frame(TEXT, b"\xf2\x48", fin=False, rsv1=True) + peer.frame(CLOSE, b"\x03\xe8")
        self.assertEqual(peer.feed(stream), [("closed", 1000, ConnectionState.REMOTE_CLOSING)])

    def test_blocks_with_bfinal_set(self):
        """After a final block (sections 7.2.3.4 and 7.2.3.5) the message goes on, within its frame or in the next."""

        def final(data):
            compressor = zlib.compressobj(6, zlib.DEFLATED, -15)
            return compressor.compress(data) + compressor.flush()

        body = final(b"one ") + final(b"two ") + deflated(b"three ") + b"\x00\x00\xff\xff" + final(b"four")
        for tail in (b"\x00", b""):  # the empty block that should follow the last may be missing
            message = body + tail
            for cut in range(len(message) + 1):
                peer = Peer(limit=18)
                stream = peer.frame(BINARY, message[:cut], fin=False, rsv1=True)
                stream += peer.frame(CONTINUATION, message[cut:])
                self.assertEqual(peer.feed(stream), [b"one two three four"])
                self.assert_idle(peer)

    def test_a_final_block_in_pieces(self):
        """However much is asked for at a time, what follows a final block is read once, and the message ends well."""
        compressor = zlib.compressobj(6, zlib.DEFLATED, -15)
        stream = compressor.compress(bytes(1000)) + compressor.flush()
        for rest, plain in ((b"\x00", b""), (deflated(b"more"), b"more"), (stream, bytes(1000))):
            for most in (1, 7, 999, 1000, 1001):
                inflater = deflate.Inflater()
                inflater.feed(stream + rest)
                pieces = []
                while inflater.more:
                    pieces.append(inflater.take(most, None))
                self.assertEqual(b"".join(pieces), bytes(1000) + plain)
                self.assertTrue(inflater.ends_well())

    def test_final_blocks_count_together(self):
        """The limit is on the message, however many streams it is made of."""
        compressor = zlib.compressobj(6, zlib.DEFLATED, -15)
        one = compressor.compress(bytes(100)) + compressor.flush()
        self.assertEqual(Peer(limit=300).message(one * 3), [bytes(300)])
        self.assertEqual(Peer(limit=299).message(one * 3), refused(1009))

    def test_many_final_blocks_are_not_quadratic(self):
        """zlib copies its rest of input at each final block: it never has more than a piece of it to copy."""
        blocks = b"\x03\x00" * 100_000
        fed = []

        class Counting:
            def __init__(self):
                self.real = REAL(-15)

            def decompress(self, data, most=0):
                fed.append(len(data))
                return self.real.decompress(data, most)

            def __getattr__(self, name):
                return getattr(self.real, name)

        REAL = zlib.decompressobj
        with mock.patch.object(deflate.zlib, "decompressobj", lambda bits: Counting()):
            self.assertEqual(Peer(limit=10).message(blocks), [b""])
        self.assertLess(sum(fed), len(blocks) * 4096)
        self.assertLessEqual(max(fed), 4096)

    def test_corrupt_data(self):
        """What is not DEFLATE is 1007, at once, and the connection is left OPEN: the complaint is this side's."""
        for body in (b"\x07", b"\xff\xff\xff\xff", b"\x00\x05\x00\x00\x00hello\x00", b"\xf2\x48\xcd\xff\xff\xff\xff"):
            for peer in self.both_roles():
                self.assertEqual(peer.message(body), refused(1007))
                self.assert_idle(peer)

    def test_corrupt_data_does_not_wait_for_the_end(self):
        """Bad data in a first fragment fails then and there."""
        peer = Peer()
        self.assertEqual(peer.feed(peer.frame(BINARY, b"\x07", fin=False, rsv1=True)), refused(1007))

    def test_truncated_messages(self):
        """Cut anywhere, a message is 1007 and never shorter than it was: fixed codes, dynamic codes, stored blocks."""
        rng = random.Random(5)
        bodies = [
            bytes.fromhex("f248cdc9c90700"),
            deflated(bytes(rng.choices(b"abcdefgh", k=700))),
            deflated(rng.randbytes(300)),
            deflated(rng.randbytes(300), level=0),
            deflated(bytes(1000)),
            bytes.fromhex("f348cdc9c907"),
            b"\x01\x08\x00\xf7\xff12345678",  # a final stored block: four missing bytes are not the tail's four
            b"\x00\x08\x00\xf7\xff12345678\x00",
        ]
        for body in bodies:
            for cut in range(1, len(body)):
                if body[:cut] == b"\x00":
                    continue  # a stored block cut here is the empty message
                with self.subTest(body=body[:8].hex(), cut=cut):
                    self.assertEqual(Peer().message(body[:cut]), refused(1007))

    def test_whatever_comes(self):
        """Mutated messages, cut anywhere, inflate within the limit or end in 1007 or 1009, and never raise."""
        rng = random.Random(11)
        ends = set()
        for _ in range(3000):
            payload = rng.choice((bytes(rng.choices(b"abc", k=rng.randint(0, 300))), rng.randbytes(rng.randint(0, 50))))
            body = bytearray(deflated(payload, level=rng.choice((0, 1, 6, 9))))
            for _ in range(rng.randint(0, 4)):
                body[rng.randrange(len(body))] ^= 1 << rng.randrange(8)
            body += rng.randbytes(rng.randint(0, 4)) * rng.randint(0, 1)
            (end,) = Peer(limit=250).message(bytes(body), step=rng.choice((None, 1, 5)))
            if isinstance(end, bytes | bytearray):  # wsproto 1.3.0 gives the latter
                self.assertLessEqual(len(end), 250)
            else:
                self.assertIn([end], (refused(1007), refused(1009)))
            ends.add(end[1] if isinstance(end, tuple) else "a message")
        self.assertEqual(ends, {1007, 1009, "a message"})

    def test_tail_left_on_is_refused(self):
        """A sender that does not take 00 00 ff ff off leaves a block begun and not ended."""
        self.assertEqual(Peer().message(deflated(b"hello") + b"\x00\x00\xff\xff"), refused(1007))

    def test_data_after_a_truncated_message_is_not_read(self):
        """The message that failed leaves no state behind."""
        peer = Peer()
        peer.message(deflated(b"hello" * 100)[:-1])
        self.assert_idle(peer)
        self.assertIsNone(peer.extension._inflater)

    def test_reserved_bit_where_it_may_not_be(self):
        """RSV1 on control frames and continuations is 1002 (RFC 7692 section 6.1), as are RSV2 and RSV3 anywhere."""
        for peer in self.both_roles():
            self.assertEqual(peer.feed(peer.frame(PING, b"", rsv1=True)), refused(1002))
        for peer in self.both_roles():
            stream = peer.frame(TEXT, b"\xf2", fin=False, rsv1=True) + peer.frame(CONTINUATION, b"\x48", rsv1=True)
            self.assertEqual(peer.feed(stream), refused(1002))
        for bit in (0x20, 0x10):
            self.assertEqual(Peer(client=True).feed(bytes([0x81 | bit, 0])), refused(1002))

    def test_frames_out_of_order(self):
        """A message inside a message, or a continuation of none, is 1002 and is not inflated first."""
        bad = b"\xff\xff\xff\xff"  # not DEFLATE: if it were inflated, the code would be 1007
        for peer in self.both_roles():
            stream = peer.frame(TEXT, b"\xf2", fin=False, rsv1=True) + peer.frame(BINARY, bad, rsv1=True)
            self.assertEqual(peer.feed(stream), refused(1002))
        for peer in self.both_roles():
            stream = peer.frame(TEXT, b"\xf2", fin=False, rsv1=True) + peer.frame(BINARY, bad)
            self.assertEqual(peer.feed(stream), refused(1002))
        for peer in self.both_roles():
            self.assertEqual(peer.message(deflated(b"x")), [b"x"])
            self.assertEqual(peer.feed(peer.frame(CONTINUATION, bad)), refused(1002))

    def test_header_is_asked_for_again(self):
        """wsproto asks again for a header whose mask has not arrived; the answer and the state stay the same."""
        extension = InboundDeflate(10)
        for _ in range(5):
            answer = extension.frame_inbound_header(None, Opcode.TEXT, RsvBits(True, False, False), 7)
            self.assertEqual(answer, RsvBits(True, False, False))
        self.assertEqual(extension.frame_inbound_payload_data(None, bytes.fromhex("f248cdc9c90700")), b"Hello")
        self.assertIsNone(extension.frame_inbound_complete(None, True))

    def test_text_is_still_checked(self):
        """Inflated text that is not UTF-8 is 1007, also when a character is cut by a fragment."""
        self.assertEqual(Peer().message(deflated(b"\xff"), TEXT), refused(1007))
        body = deflated("äöü€".encode())
        for cut in range(len(body)):
            peer = Peer()
            stream = peer.frame(TEXT, body[:cut], fin=False, rsv1=True) + peer.frame(CONTINUATION, body[cut:])
            self.assertEqual(peer.feed(stream), ["äöü€"])

    def test_outbound_frames_are_left_alone(self):
        """This extension is for the direction that receives: a connection that sends compresses nothing with it."""
        connection = Connection(ConnectionType.SERVER, [InboundDeflate(None)])
        self.assertEqual(connection.send(TextMessage("Hello")), b"\x81\x05Hello")


class LimitTests(unittest.TestCase):
    """Bounds on what a compressed message may become."""

    def test_exactly_the_limit_passes(self):
        """A message of limit bytes is fine, one byte more is 1009; whole, byte by byte and in fragments."""
        for size in (2, 10, 1000, 40_000, 200_000):
            body = deflated(bytes(size))
            for limit, expected in ((size, [bytes(size)]), (size - 1, refused(1009))):
                for step in (None, 1):
                    # Byte by byte, the bytes after the one that was too much are met by a dead parser.
                    self.assertEqual(Peer(limit).message(body, step=step), expected)
                peer = Peer(limit)
                stream = peer.frame(BINARY, body[:3], fin=False, rsv1=True) + peer.frame(CONTINUATION, body[3:])
                self.assertEqual(peer.feed(stream), expected)

    def test_each_message_counts_for_itself(self):
        """What one message inflated to does not count against the next; in gorilla what was skipped of one does."""
        peer = Peer(limit=1000)
        for _ in range(5):
            self.assertEqual(peer.message(deflated(bytes(1000))), [bytes(1000)])

    def test_no_limit(self):
        """None and 0 are no limit."""
        for limit in (None, 0):
            self.assertEqual(Peer(limit=limit).message(deflated(bytes(3 * MIB))), [bytes(3 * MIB)])

    def test_limit_may_change_at_any_time(self):
        """A new limit holds from the next bytes on, also inside a message."""
        body = deflated(random.Random(3).randbytes(1000), level=0)
        peer = Peer(limit=None)
        self.assertEqual(peer.feed(peer.frame(BINARY, body[:500], fin=False, rsv1=True)), [])
        peer.extension.limit = 600
        self.assertEqual(peer.feed(peer.frame(CONTINUATION, body[500:])), refused(1009))
        peer = Peer(limit=None)
        peer.feed(peer.frame(BINARY, body[:500], fin=False, rsv1=True))
        peer.extension.limit = 10
        self.assertEqual(peer.feed(peer.frame(CONTINUATION, body[500:501], fin=False)), refused(1009))

    def test_plain_messages_are_not_counted(self):
        """Uncompressed frames are judged by their length, elsewhere."""
        peer = Peer(limit=10)
        self.assertEqual(peer.feed(peer.frame(BINARY, bytes(1000))), [bytes(1000)])

    def test_a_bomb_costs_little(self):
        """64 KiB of wire that inflate to 67 MB end in 1009; Python allocates under four times the limit plus 64 KiB."""
        body = bomb()
        self.assertLessEqual(len(body), 65_536)
        for step in (None, 1000):
            peer = Peer(limit=MIB)
            stream = peer.frame(BINARY, body, rsv1=True)
            tracemalloc.start()
            try:
                before = tracemalloc.get_traced_memory()[0]
                happened = peer.feed(stream, step)
                peak = tracemalloc.get_traced_memory()[1] - before
            finally:
                tracemalloc.stop()
            self.assertEqual(happened, refused(1009))
            self.assertLess(peak, 4 * MIB + 65_536)
            self.assertIsNone(peer.extension._inflater)

    @unittest.skipUnless(os.path.exists("/proc/self/status"), "needs /proc to see a process grow")
    def test_a_bomb_does_not_grow_the_process(self):
        """The same, as the system sees it: a fresh process grows by less than 5 MiB at a limit of 1 MiB."""
        script = textwrap.dedent("""
            import sys
            from tests.frames.test_deflate import MIB, Peer, refused

            def peak():
                return next(int(line.split()[1]) for line in open("/proc/self/status") if line.startswith("VmHWM"))

            body = sys.stdin.buffer.read()
            warm = Peer(limit=10)
            warm.message(b"\\x00")
            peer = Peer(limit=MIB)
            stream = peer.frame(2, body, rsv1=True)
            before = peak()
            assert peer.feed(stream) == refused(1009)
            print(peak() - before)
        """)
        root = os.path.dirname(os.path.dirname(os.path.dirname(os.path.abspath(__file__))))
        done = subprocess.run([sys.executable, "-c", script], input=bomb(), cwd=root, capture_output=True, check=True)
        self.assertLess(int(done.stdout), 5 * 1024)

    def test_wire_limit_lets_every_honest_message_pass(self):
        """What cannot be compressed grows, but not beyond wire_limit, whatever window and memLevel the sender has."""
        data = random.Random(2).randbytes(MIB // 8)
        for bits, memory in itertools.product((9, 12, 15), range(1, 10)):
            self.assertLessEqual(len(deflated(data, bits, 1, memory)), deflate.wire_limit(len(data)))
        for size in (0, 1, 5, 63, 64, 65, 127, 128, 129, 500, 1000, 5000):
            for bits, level, memory in itertools.product((9, 15), (0, 1, 6), (1, 5, 8)):
                self.assertLessEqual(len(deflated(data[:size], bits, level, memory)), deflate.wire_limit(size))

    def test_random_bytes_of_the_limit_pass(self):
        """1 MiB of random bytes, compressed, passes a limit of 1 MiB."""
        data = random.Random(4).randbytes(MIB)
        for level in (-2, 0, 1, 9):
            body = compress(data, level, 15)
            self.assertLess(len(body), deflate.wire_limit(len(data)))
            self.assertEqual(Peer(limit=MIB).message(body), [data])


def bomb():
    """67 MB of zeros in under 64 KiB, made without ever having them."""
    compressor = Deflater(9, 15)
    parts = [compressor.compress(bytes(MIB)) for _ in range(63)]
    parts.append(compressor.compress(bytes(900_000)))
    return b"".join(parts) + compressor.finish()


class CompressTests(unittest.TestCase):
    """Messages that leave compressed."""

    SIZES = (
        0,
        1,
        2,
        16,
        125,
        249,
        250,
        251,
        252,
        511,
        512,
        761,
        762,
        763,
        1785,
        1787,
        3834,
        7930,
        16122,
        16123,
        40_000,
    )

    def payloads(self):
        rng = random.Random(9)
        for size in self.SIZES:
            yield bytes(rng.choices(b'{"key": 10, "name"}', k=size))
            yield rng.randbytes(size)
            yield (b"abc" * size)[:size]

    def test_readable_with_the_agreed_window(self):
        """Whatever the size and the level, a peer whose window has just the agreed size can inflate it."""
        for payload in self.payloads():
            for level, bits in itertools.product((-2, -1, 0, 1, 9), range(9, 16)):
                with self.subTest(size=len(payload), level=level, bits=bits):
                    self.assertEqual(inflated(compress(payload, level, bits), bits), payload)

    def test_read_back_by_our_own_side(self):
        """What compress() makes, InboundDeflate reads."""
        for payload in self.payloads():
            self.assertEqual(Peer(limit=len(payload)).message(compress(payload, 1, 15)), [payload])

    def test_the_empty_message(self):
        """RFC 7692 section 7.2.3.6: one byte, at every level."""
        for level in range(-2, 10):
            self.assertEqual(compress(b"", level, 15), b"\x00")
            self.assertEqual(Deflater(level, 15).finish(), b"\x00")

    def test_a_smaller_window_costs_no_size(self):
        """The state made for a small payload is small, and its result no longer than zlib's default would have it."""
        rng = random.Random(8)
        for size in self.SIZES[:-1]:
            words = b" ".join(rng.choices([b"alpha", b"beta", b"message", b"4711", b"user"], k=size))[:size]
            for level in (1, 6, 9):
                self.assertLessEqual(len(compress(words, level, 15)), len(deflated(words, 15, level)))

    def test_buffers_of_every_kind(self):
        """bytes, bytearray and memoryview give the same."""
        payload = b"some payload " * 30
        for kind in (bytes, bytearray, memoryview):
            self.assertEqual(compress(kind(payload), 1, 15), compress(payload, 1, 15))
            deflater = Deflater(1, 15)
            self.assertEqual(inflated(deflater.compress(kind(payload)) + deflater.finish()), payload)

    def test_huffman_only(self):
        """Level -2 uses Huffman codes alone, as in Go: repetition is not found, rare letters still save."""
        self.assertGreater(len(compress(b"abcdefgh" * 100, -2, 15)), 200)
        self.assertLess(len(compress(b"aaaaaaab" * 100, -2, 15)), 400)
        self.assertLess(len(compress(b"abcdefgh" * 100, 1, 15)), 50)

    def test_in_pieces(self):
        """A message compressed in pieces is one message, wherever the pieces are cut."""
        rng = random.Random(10)
        payload = bytes(rng.choices(b"abcdefgh", k=100_000))
        for level, bits in ((1, 15), (6, 9), (-2, 12), (0, 15)):
            deflater = Deflater(level, bits)
            parts = []
            start = 0
            while start < len(payload):
                end = start + rng.randint(0, 9000)
                parts.append(deflater.compress(payload[start:end]))
                start = end
            parts.append(deflater.finish())
            self.assertEqual(inflated(b"".join(parts), bits), payload)

    def test_level(self):
        """-2 to 9 are levels (as in gorilla); anything else is a ValueError that says so."""
        for level in range(-2, 10):
            self.assertEqual(deflate.check_level(level), level)
        for level in (-3, 10, 100, 1.5, "1", None, True):
            with self.subTest(level=level), self.assertRaisesRegex(ValueError, "-2 to 9"):
                deflate.check_level(level)


class HookTests(unittest.TestCase):
    """What the hooks return, apart from wsproto."""

    def test_close_reasons_are_wsprotos(self):
        """wsproto tells a refusal from data by its class."""
        extension = InboundDeflate(3)
        extension.frame_inbound_header(None, Opcode.TEXT, RsvBits(True, False, False), 7)
        refusal = extension.frame_inbound_payload_data(None, bytes.fromhex("f248cdc9c90700"))
        self.assertIs(refusal, CloseReason.MESSAGE_TOO_BIG)


if __name__ == "__main__":
    unittest.main()
