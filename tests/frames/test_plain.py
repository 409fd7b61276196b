"""plain.py: a message in fragments that is not compressed, as wsproto makes it."""

from __future__ import annotations

import unittest

from syncws._frames.frame import MASKED
from syncws._frames.plain import PlainMessage
from tests.frames.cases import CONTINUATION, LETTERS, ROLES, TEXT, frame


class TestPlainMessage(unittest.TestCase):
    """What comes of a message is handed out in whole characters, and judged as it comes."""

    def message(self, client):
        """A message of which nothing has come."""
        return PlainMessage(0 if client else MASKED)

    def test_whole_characters(self):
        """Cut at every byte, what is handed out in between is text, and together it is the message."""
        for client in ROLES:
            message, taken = self.message(client), []
            for byte in LETTERS.encode():
                opcode = CONTINUATION if taken else TEXT
                self.assertTrue(message.feed(frame(opcode, bytes([byte]), to=client, fin=False)))
                taken.append(message.take())
                self.assertEqual(message.waiting, 0)
            self.assertEqual([piece.decode() for piece in taken if piece], list(LETTERS))

    def test_fragments_that_were_joined(self):
        """A fragment that is given as a payload counts as one in the middle of the message."""
        for client in ROLES:
            message = self.message(client)
            self.assertTrue(message.feed(frame(TEXT, "one ", to=client, fin=False)))
            self.assertTrue(message.add_fragment(bytearray(b"two ")))
            self.assertEqual(message.waiting, 8)
            self.assertTrue(message.feed(frame(CONTINUATION, "three", to=client)))
            self.assertEqual(message.take(), b"one two three")

    def test_text_that_is_none(self):
        """Bytes that are no UTF-8 are refused as they come, and so is the end inside a character."""
        for client in ROLES:
            self.assertFalse(self.message(client).feed(frame(TEXT, b"\xff", to=client, fin=False)))
            message = self.message(client)
            self.assertTrue(message.feed(frame(TEXT, LETTERS.encode()[:2], to=client, fin=False)))
            self.assertFalse(message.feed(frame(CONTINUATION, to=client)))


if __name__ == "__main__":
    unittest.main()
