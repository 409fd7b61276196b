"""compressor.py: what this side keeps from message to message, and when it begins anew."""

from __future__ import annotations

import json
import random
import unittest
import zlib

from syncws._frames.compressor import Compressor
from syncws._frames.frame import FIN, RSV1
from syncws.errors import TEXT

FIRST = FIN | TEXT


class Receiver:
    """A peer that keeps its window."""

    def __init__(self, bits: int = 15) -> None:
        self._zlib = zlib.decompressobj(-bits)

    def take(self, payload: bytes) -> bytes:
        return self._zlib.decompress(payload + b"\x00\x00\xff\xff")


def feed(count: int) -> list[bytes]:
    rng = random.Random(count)
    return [
        json.dumps({"type": "tick", "id": number, "price": rng.random(), "venue": "XNAS"}).encode()
        for number in range(count)
    ]


class CompressorTests(unittest.TestCase):
    """A compressor that is kept."""

    def test_messages_refer_back(self) -> None:
        """Each message is read by a peer that keeps its window of the agreed size; the second is much shorter."""
        for bits, memory, level in ((15, 8, 1), (9, 1, 6), (12, 5, 9), (15, 9, -2), (11, 2, 0)):
            compressor, receiver = Compressor(level, bits, memory), Receiver(bits)
            sizes = []
            for message in feed(50):
                first, payload = compressor.whole(FIRST, message)
                self.assertEqual(first, FIRST | RSV1)
                self.assertEqual(receiver.take(payload), message)
                sizes.append(len(payload))
            if level > 0:
                self.assertLess(sizes[1], sizes[0] * 0.6)

    def test_begin_anew(self) -> None:
        """After `begin_anew` a message refers to none before it; the memory is gone until then."""
        compressor = Compressor(6, 15, 8)
        messages = feed(3)
        self.assertFalse(compressor.is_live)
        for _ in range(2):
            for count, message in enumerate(messages):
                payload = compressor.whole(FIRST, message)[1]
                if not count:
                    self.assertEqual(Receiver().take(payload), message)
                    receiver = Receiver()
                self.assertEqual(receiver.take(payload), message)
                self.assertEqual(compressor.is_live, count > 0)
            compressor.begin_anew()
            self.assertFalse(compressor.is_live)

    def test_the_first_message(self) -> None:
        """A small one is compressed by itself, and the second refers back to it all the same; after a large one too."""
        rng = random.Random(3)
        for size in (1, 100, 4096, 4097, 100_000):
            compressor, receiver = Compressor(1, 15, 8), Receiver()
            first = rng.randbytes(size)
            for number in range(3):
                payload = compressor.whole(FIRST, first)[1]
                self.assertEqual(compressor.is_live, number > 0 or size > 4096)
                self.assertEqual(receiver.take(payload), first)
                if number and 100 <= size <= 4097:
                    self.assertLess(len(payload), size // 4)

    def test_a_stream_after_the_first_message(self) -> None:
        """A message in pieces is the second in a row as well."""
        compressor, receiver = Compressor(6, 9, 1), Receiver(9)
        message = random.Random(3).randbytes(200)
        receiver.take(compressor.whole(FIRST, message)[1])
        deflater = compressor.stream()
        payload = deflater.compress(message) + deflater.finish()
        self.assertLess(len(payload), 50)
        self.assertEqual(receiver.take(payload), message)

    def test_another_level(self) -> None:
        """zlib makes a compressor with its level: with another one it begins anew."""
        compressor, receiver = Compressor(1, 15, 8), Receiver()
        messages = feed(5)
        for level in (6, 1, 9, 9, 0):
            compressor.level = level
            message = messages.pop()
            payload = compressor.whole(FIRST, message)[1]
            self.assertEqual(receiver.take(payload), message)
        self.assertGreater(len(payload), len(message))

    def test_shared_frames(self) -> None:
        """What was compressed by itself passes as it is, and this begins anew; what is plain changes nothing."""
        compressor = Compressor(1, 15, 8)
        for _ in range(2):
            compressor.whole(FIRST, b"something")
        self.assertEqual(compressor.shared(FIRST, b"plain"), (FIRST, b"plain"))
        self.assertTrue(compressor.is_live)
        self.assertEqual(compressor.shared(FIRST | RSV1, b"shared"), (FIRST | RSV1, b"shared"))
        self.assertFalse(compressor.is_live)

    def test_in_pieces(self) -> None:
        """A message in pieces may refer back, and the next one to it."""
        compressor, receiver = Compressor(1, 15, 8), Receiver()
        message, again = b"".join(feed(30)), b"".join(feed(30)[5:8])
        self.assertEqual(receiver.take(compressor.whole(FIRST, message[:50])[1]), message[:50])
        deflater = compressor.stream()
        pieces = [deflater.compress(message[start : start + 100]) for start in range(0, len(message), 100)]
        self.assertEqual(receiver.take(b"".join(pieces) + deflater.finish()), message)
        payload = compressor.whole(FIRST, again)[1]
        self.assertLess(len(payload), 30)
        self.assertEqual(receiver.take(payload), again)

    def test_what_cannot_be_compressed(self) -> None:
        """It is compressed all the same, which costs five bytes in 16 KiB, so that the context is kept."""
        compressor, receiver = Compressor(1, 15, 8), Receiver()
        for size in (1, 2, 3, 100, 1 << 14, 1 << 17):
            data = random.Random(size).randbytes(size)
            payload = compressor.whole(FIRST, data)[1]
            self.assertLessEqual(len(payload), size + 5 * (size // (1 << 14) + 2))
            self.assertEqual(receiver.take(payload), data)


if __name__ == "__main__":
    unittest.main()
