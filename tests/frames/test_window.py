"""window.py: what a peer's messages may refer back to, in use, at rest and on trial."""

from __future__ import annotations

import random
import unittest
import zlib

from syncws._frames.window import Window

SIZES = (0, 1, 2, 3, 4, 5, 6, 8, 9, 255, 256, 257, 258, 259, 260, 511, 512, 513, 1000, 1023, 4097, 32767, 32768, 32769)


class Sender:
    """A peer that keeps its context."""

    def __init__(self, bits: int = 15, level: int = 6) -> None:
        self._zlib = zlib.compressobj(level, zlib.DEFLATED, -bits)

    def send(self, data: bytes) -> bytes:
        return self._zlib.compress(data) + self._zlib.flush(zlib.Z_SYNC_FLUSH)


class LetGoTests(unittest.TestCase):
    """A window at rest."""

    def test_every_size(self) -> None:
        """Whatever has come, and however large the window is, the next message finds all that it may refer to."""
        rng = random.Random(7692)
        for bits in range(9, 16):
            for size in SIZES:
                with self.subTest(bits=bits, size=size):
                    data = rng.randbytes(size)
                    sender, window = Sender(bits), Window(bits)
                    for start in range(0, size, 1777):
                        piece = data[start : start + 1777]
                        self.assertEqual(window.stream().decompress(sender.send(piece)), piece)
                    for _ in range(2):
                        window.let_go()
                        self.assertFalse(window.is_live)
                        # As far back as the window reaches, and back to the message before.
                        again = data[-(1 << bits) :][:300] + b"and more"
                        data += again
                        self.assertEqual(window.stream().decompress(sender.send(again)), again)
                        self.assertTrue(window.is_live)

    def test_nothing_has_come(self) -> None:
        """A window that is empty has nothing to let go, before the first message or after the end of a stream."""
        window = Window(15)
        window.let_go()
        self.assertEqual(window.stream().decompress(Sender().send(b"one")), b"one")
        packer = zlib.compressobj(6, zlib.DEFLATED, -15)
        self.assertEqual(window.stream().decompress(packer.compress(b"two") + packer.flush()), b"two")
        window.let_go()
        self.assertEqual(window.stream().decompress(Sender().send(b"three")), b"three")

    def test_a_feed_at_rest(self) -> None:
        """32 KiB of JSON of one shape rest in less than a tenth of that."""
        rng = random.Random(1)
        sender, window = Sender(), Window(15)
        for number in range(400):
            message = b'{"type": "tick", "id": %d, "price": %d, "venue": "XNAS"}' % (number, rng.randrange(100))
            window.stream().decompress(sender.send(message))
        window.let_go()
        self.assertLess(window.held, 3300)


class TrialTests(unittest.TestCase):
    """A window on trial."""

    def test_the_peer_is_believed(self) -> None:
        """After 32 messages of six bytes or more that refer to nothing the trial is over; shorter ones do not count."""
        window = Window(15, on_trial=True)
        for _ in range(31):
            self.assertTrue(window.note(b"123456"))
            self.assertTrue(window.note(b"12345"))
        self.assertTrue(window.on_trial)
        self.assertFalse(window.note(b"123456"))
        self.assertFalse(window.on_trial)

    def test_kept(self) -> None:
        """From `keep` on there is a stream that has what came before it in its window, 32 KiB of it."""
        for size in SIZES:
            data = random.Random(size).randbytes(size)
            sender, window = Sender(), Window(15, on_trial=True)
            for start in range(0, size, 5000):
                sender.send(data[start : start + 5000])
                window.note(data[start : start + 5000])
            window.keep()
            self.assertFalse(window.on_trial)
            self.assertLessEqual(window.held, 50_000)
            again = data[-32768:][:300] + b"and more"
            self.assertEqual(window.stream().decompress(sender.send(again)), again)

    def test_what_it_holds(self) -> None:
        """On trial at most 32 KiB are held, however large the messages are."""
        window = Window(15, on_trial=True)
        for _ in range(3):
            window.note(bytes(1 << 20))
            self.assertLessEqual(window.held, 1 << 15)


if __name__ == "__main__":
    unittest.main()
