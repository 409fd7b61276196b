"""Frames of the local bus, in whatever pieces they come, and what is none."""

from __future__ import annotations

import random
import struct
import unittest

from syncws._bus.localframes import BESIDE, GOODBYE, Frames, frame, goodbye, greeting, name_in


class FramesTests(unittest.TestCase):
    def test_the_bytes(self) -> None:
        """The bytes of a message are those that the page of the module tells."""
        self.assertEqual(frame('r:"ä"', b"data"), b"\0\0\0\x0c" + b"\0\6" + 'r:"ä"'.encode() + b"data")

    def test_words(self) -> None:
        """A greeting and a goodbye have no channel, and are told apart."""
        frames = Frames(1000)
        ((channel, word), last) = frames.add(greeting("1-00c0ffee00c0ffee") + goodbye())
        self.assertEqual((channel, name_in(word), last), ("", "1-00c0ffee00c0ffee", ("", GOODBYE)))
        self.assertEqual(name_in(next(frames.add(greeting("")))[1]), "")

    def test_another_version(self) -> None:
        """The greeting of another version is none."""
        for word in (b"", b"syncws 2 1-00c0ffee00c0ffee", b"hello", b"syncws 1 \xff"):
            with self.subTest(word), self.assertRaises(ValueError):
                name_in(word)

    def test_any_pieces(self) -> None:
        """However the bytes are cut, the same frames come out, each once."""
        chance = random.Random(7)
        messages = [(f"r:{number}", chance.randbytes(chance.choice((0, 1, 30, 3000)))) for number in range(60)]
        stream = b"".join(frame(channel, data) for channel, data in messages)
        for longest in (1, 2, 7, 100, 5000, len(stream)):
            with self.subTest(longest):
                frames, found, at = Frames(4000), list[tuple[str, bytes]](), 0
                while at < len(stream):
                    length = chance.randint(1, longest)
                    found += frames.add(stream[at : at + length])
                    at += length
                self.assertEqual(found, messages)

    def test_the_longest(self) -> None:
        """A message of max_message with the longest name of a channel is taken; a frame that is longer is refused as
        soon as its length is there."""
        channel = "c" * 0xFFFF
        self.assertEqual(list(Frames(10).add(frame(channel, b"0123456"))), [(channel, b"0123456")])
        for length in (10 + BESIDE + 1, 0xFFFFFFFF):
            with self.subTest(length), self.assertRaisesRegex(ValueError, "at most 65,546"):
                list(Frames(10).add(struct.pack(">IH", length, 1)))

    def test_what_is_no_frame(self) -> None:
        """A name that is longer than its frame, or is no text, is refused."""
        for bad in (struct.pack(">IH", 1, 0), struct.pack(">IH", 4, 3) + b"xyz", struct.pack(">IH", 3, 1) + b"\xff"):
            with self.subTest(bad), self.assertRaises(ValueError):
                list(Frames(10).add(bad))

    def test_those_before_it(self) -> None:
        """What came before bytes that are no frame is given first."""
        frames = Frames(10).add(frame("c", b"one") + b"\xff" * 6)
        self.assertEqual(next(frames), ("c", b"one"))
        with self.assertRaises(ValueError):
            next(frames)

    def test_channels(self) -> None:
        """A channel has a name, of so many bytes as its length can tell."""
        for channel in ("", "c" * 0x10000):
            with self.assertRaisesRegex(ValueError, "a channel has a name of 1 to 65,535 bytes"):
                frame(channel, b"")

    def test_junk(self) -> None:
        """Random bytes end in frames or a ValueError, and nothing else."""
        chance = random.Random(11)
        for _ in range(3000):
            frames = Frames(1000)
            try:
                for _ in range(4):
                    list(frames.add(chance.randbytes(chance.randint(0, 40))))
            except ValueError:
                pass


if __name__ == "__main__":
    unittest.main()
