"""compressed.py: what has come of a compressed message stays as it came until somebody asks for it."""

from __future__ import annotations

import random
import unittest
import zlib

from syncws._frames.compressed import CompressedMessage
from syncws.errors import BINARY, TEXT
from tests.frames.cases import chunked, deflated

MIB = 1 << 20


def message(kind: int, payload: bytes) -> CompressedMessage:
    fed = CompressedMessage(TEXT if kind == TEXT else BINARY)
    for piece in chunked(payload, 100):
        fed.feed(piece)
    return fed


def taken(fed: CompressedMessage, limit: int | None = None) -> list[bytes]:
    """All pieces that there are."""
    pieces = []
    while fed.more:
        piece = fed.take(limit)
        assert isinstance(piece, bytes), piece
        pieces.append(piece)
    return pieces


class TestCompressedMessage(unittest.TestCase):
    """Inflated as it is asked for, and not before."""

    def test_nothing_is_inflated_ahead(self) -> None:
        """A message held back in the middle: 1.2 KB on the wire hold 1.2 KB, and not the 1 MiB they may become."""
        payload = deflated(bytes(MIB))
        fed = message(BINARY, payload[:-1])
        self.assertLess(fed.held, 2000)
        fed.feed(payload[-1:])
        self.assertEqual(fed.finish(MIB), bytes(MIB))

    def test_a_piece_is_no_more_than_is_asked_for(self) -> None:
        """67 MB in 64 KiB of wire are handed out in pieces of 64 KiB, and what is not asked for is not inflated."""
        packer = zlib.compressobj(9, zlib.DEFLATED, -15)
        payload = b"".join(packer.compress(bytes(MIB)) for _ in range(64)) + packer.flush(zlib.Z_SYNC_FLUSH)[:-4]
        fed = message(BINARY, payload)
        for _ in range(3):
            self.assertEqual(fed.take(None), bytes(1 << 16))
        self.assertLess(fed.held, len(payload) + 41_000)
        rest = fed.finish(None)
        self.assertEqual(len(rest), 64 * MIB - 3 * (1 << 16))

    def test_pieces_and_the_rest(self) -> None:
        """Whatever was taken as pieces, what is left follows; text in whole characters."""
        rng = random.Random(7692)
        text = "".join(rng.choices("aß€𝄞", k=100_000))
        for kind in (TEXT, BINARY):
            for count in (0, 1, 2, 1000):
                fed = message(kind, deflated(text))
                pieces = []
                while fed.more and len(pieces) < count:
                    piece = fed.take(MIB)
                    assert isinstance(piece, bytes)
                    if kind == TEXT:
                        piece.decode()
                    pieces.append(piece)
                rest = fed.finish(MIB)
                assert isinstance(rest, bytes)
                self.assertEqual((b"".join(pieces) + rest).decode(), text)

    def test_the_limit_counts_all_pieces(self) -> None:
        """The limit is that of the message, however much of it was handed out."""
        fed = message(BINARY, deflated(bytes(200_000)))
        self.assertEqual(fed.take(199_999), bytes(1 << 16))
        fed = message(BINARY, deflated(bytes(200_000)))
        self.assertEqual(sum(map(len, taken(fed, 200_000))), 200_000)
        fed = message(BINARY, deflated(bytes(200_000)))
        for _ in range(3):
            fed.take(199_999)
        self.assertEqual(fed.take(199_999), 1009)
        self.assertEqual(message(BINARY, deflated(bytes(200_000))).finish(199_999), 1009)

    def test_faults(self) -> None:
        """What is no DEFLATE, is cut or no text is 1007: as a piece at once, and as a whole at the end."""
        self.assertEqual(message(BINARY, b"\x07").take(None), 1007)
        self.assertEqual(message(BINARY, b"\x07").finish(None), 1007)
        self.assertEqual(message(TEXT, deflated(b"\xff")).take(None), 1007)
        cut = message(BINARY, deflated(b"stored" * 50)[:-3])
        taken(cut)
        self.assertEqual(cut.finish(None), 1007)

    def test_final_blocks(self) -> None:
        """A block with BFINAL set ends a stream and not the message, also where a piece ends just there."""
        packer = zlib.compressobj(6, zlib.DEFLATED, -15)
        one = packer.compress(bytes(1 << 16)) + packer.flush()
        fed = message(BINARY, one * 3 + b"\x00")
        self.assertEqual(b"".join(taken(fed)), bytes(3 << 16))
        self.assertEqual(fed.finish(None), b"")

    def test_blocks_of_nothing(self) -> None:
        """What inflates to nothing gives no piece, and is used up."""
        fed = message(BINARY, b"\x00\x00\x00\xff\xff" * 10)
        self.assertEqual(taken(fed), [b""])
        self.assertFalse(fed.more)


if __name__ == "__main__":
    unittest.main()
