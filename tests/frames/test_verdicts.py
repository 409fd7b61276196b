"""verdicts.py: what is wrong with a header; `test_protocol` holds each on a stream."""

from __future__ import annotations

import unittest

from syncws._frames.frame import FIN, MASKED, RSV1
from syncws._frames.verdicts import KEPT_CONTEXT, compressed_fault, header_fault, too_large
from tests.frames.cases import BINARY, CONTINUATION, PING, TEXT


class TestVerdicts(unittest.TestCase):
    """The words for each fault."""

    def fault(self, first, second=MASKED, *, inside=False, compression=False):
        """The verdict of a server."""
        return header_fault(first, second, MASKED, inside=inside, compression=compression)

    def test_headers(self):
        """Where a frame stands and what was agreed on decides what its first byte may be."""
        for first, inside, compression, expected in (
            (FIN | TEXT, False, False, None),
            (FIN | TEXT, True, False, "a message inside a fragmented one"),
            (FIN | CONTINUATION, True, False, None),
            (FIN | CONTINUATION, False, False, "a continuation of no message"),
            (FIN | RSV1 | BINARY, False, True, None),
            (FIN | RSV1 | BINARY, False, False, "reserved bits set"),
            (FIN | RSV1 | CONTINUATION, True, True, "reserved bits set"),
            (FIN | PING, True, True, None),
            (PING, True, True, "a fragmented control frame"),
            (FIN | 3, False, False, "unknown opcode 3"),
            (FIN | 11, False, False, "unknown opcode 11"),
        ):
            with self.subTest(first=first, inside=inside, compression=compression):
                self.assertEqual(self.fault(first, inside=inside, compression=compression), expected)

    def test_masks(self):
        """Each role refuses the mask of the other."""
        self.assertEqual(self.fault(FIN | TEXT, 0), "an unmasked frame from a client")
        client = header_fault(FIN | TEXT, MASKED, 0, inside=False, compression=False)
        self.assertEqual(client, "a masked frame from a server")

    def test_messages(self):
        """Corrupt ones, those that refer to an earlier one, and those that are too large."""
        self.assertEqual(compressed_fault(is_text=True, refers_back=True), KEPT_CONTEXT)
        self.assertIn("UTF-8", compressed_fault(is_text=True, refers_back=False))
        self.assertNotIn("UTF-8", compressed_fault(is_text=False, refers_back=False))
        self.assertEqual(too_large(11, 10), "11 bytes are over the limit of 10")
        self.assertEqual(too_large(None, 10), "the inflated message is over the limit of 10")


if __name__ == "__main__":
    unittest.main()
