"""coding.py: the body of an error, as it can be read."""

from __future__ import annotations

import gzip
import random
import unittest
import zlib

from syncws._http.coding import DECODED_LIMIT, decode

TEXT = b"no such token\n"
RAW = zlib.compress(TEXT)[2:-4]  # without zlib's header and checksum


class CodingTests(unittest.TestCase):
    def test_what_is_undone(self) -> None:
        """gzip and deflate, the latter with and without zlib's frame, are undone, also one within the other."""
        for body, lines in (
            (TEXT, []),
            (TEXT, ["", "identity", " , "]),
            (gzip.compress(TEXT), ["gzip"]),
            (gzip.compress(TEXT), ["identity, X-GZIP"]),
            (zlib.compress(TEXT), ["deflate"]),
            (RAW, ["deflate"]),
            (gzip.compress(zlib.compress(TEXT)), ["deflate, gzip"]),
            (gzip.compress(zlib.compress(TEXT)), ["deflate", "gzip"]),
        ):
            with self.subTest(lines, body=body):
                self.assertEqual(decode(body, lines), (TEXT, ""))

    def test_the_beginning_of_a_body(self) -> None:
        """What came of a body that was cut is what can be read of it."""
        text = bytes(random.Random(1).choices(b"abcdef", k=3000))
        found, coding = decode(gzip.compress(text)[:1000], ["gzip"])
        self.assertEqual(coding, "")
        self.assertGreater(len(found), 100)
        self.assertTrue(text.startswith(found))

    def test_what_is_named(self) -> None:
        """A coding that is unknown, or that the body does not have, is left and named; so is a long list."""
        for body, lines, left in (
            (b"\x8b\x02\x80hello\x03", ["br"], "br"),
            (b"(\xb5/\xfd", ["zstd"], "zstd"),
            (TEXT, ["gzip"], "gzip"),
            (TEXT, ["deflate"], "deflate"),
            (TEXT, ["gzip, " * 5 + "br"], "gzip, gzip, gzip, gzip, gzip, br"),
        ):
            with self.subTest(lines):
                self.assertEqual(decode(body, lines), (body, left))
        self.assertEqual(decode(gzip.compress(b"\x8b"), ["br, gzip"]), (b"\x8b", "br"))
        self.assertEqual(decode(b"", ["br"]), (b"", "br"))

    def test_a_bomb(self) -> None:
        """A small body that would become a large one is inflated only so far, also one bomb within another."""
        bomb = gzip.compress(bytes(1 << 22))
        self.assertEqual(decode(bomb, ["gzip"]), (bytes(DECODED_LIMIT), ""))
        found, _ = decode(gzip.compress(bomb), ["gzip", "gzip"])
        self.assertLessEqual(len(found), DECODED_LIMIT)

    def test_any_bytes(self) -> None:
        """Whatever the bytes are, nothing is raised and no bound is passed."""
        chance = random.Random(1952)
        for _ in range(500):
            body = bytearray(gzip.compress(TEXT * 100))
            for _ in range(chance.randrange(4)):
                body[chance.randrange(len(body))] = chance.randrange(256)
            found, _ = decode(bytes(body), chance.choices(["gzip", "deflate", "br", "", "x"], k=3))
            self.assertLessEqual(len(found), DECODED_LIMIT)


if __name__ == "__main__":
    unittest.main()
