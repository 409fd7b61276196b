"""partial.py: a frame that arrives in parts, with room that grows as it comes."""

from __future__ import annotations

import unittest
from unittest import mock

from syncws._frames.partial import IN_PLACE, PartialFrame
from tests.frames.cases import (
    BINARY,
    KEY,
    TEXT,
    masked,
)


def filled(kind, payload, sizes, key=None):
    """(A frame of which pieces of these sizes have come, masked if there is a key; whether all was valid.)"""
    partial = PartialFrame(kind, len(payload), key)
    data = masked(payload, key) if key else payload
    start, valid = 0, True
    for size in sizes:
        valid = partial.add(data[start : start + size]) and valid
        start += size
    return partial, valid


class TestPartialFrame(unittest.TestCase):
    """What `Protocol` asks of a frame that is not all there."""

    def test_what_is_missing(self):
        """missing counts down to 0, whatever the pieces, and what is taken is the payload without its mask."""
        payload = bytes(range(256)) * 4
        for key in (None, KEY):
            partial, _ = filled(BINARY, payload, (1, 2, 3, 500), key)
            self.assertEqual(partial.missing, len(payload) - 506)
            self.assertEqual(partial.take(), payload[:506])
            partial, _ = filled(BINARY, payload, (1, 1022, 1), key)
            self.assertEqual((partial.missing, partial.take()), (0, payload))

    def test_the_mask_goes_on_after_a_piece_was_taken(self):
        """The position in the mask counts all bytes that came, also those that were handed out."""
        payload = bytes(range(100))
        data = masked(payload, KEY)
        partial = PartialFrame(BINARY, 100, KEY)
        partial.add(data[:7])
        self.assertEqual(partial.take(), payload[:7])
        partial.add(data[7:])
        self.assertEqual(partial.take(), payload[7:])

    def test_whole_characters(self):
        """Of TEXT whole characters are handed out; bytes of the last one wait for the rest of it."""
        partial, valid = filled(TEXT, "a€b".encode(), (2,))
        self.assertTrue(valid)
        self.assertEqual(partial.take(), b"a")
        self.assertEqual(partial.take(), b"")
        partial.add("a€b".encode()[2:])
        self.assertEqual(partial.take(), "€b".encode())

    def test_invalid_text(self):
        """Bytes that begin no character are invalid at once; those that merely end too early are, with the last one."""
        for sizes, payload in (((1,), b"\xffmore"), ((3,), "a€".encode()[:3])):
            self.assertFalse(filled(TEXT, payload, sizes)[1])
            self.assertTrue(filled(BINARY, payload, sizes)[1])

    def test_room(self):
        """There is room once it is 64 KiB, three times what is there, and never more than the frame has."""
        length = 10 * IN_PLACE
        partial = PartialFrame(BINARY, length, None)
        self.assertIsNone(partial.room())
        partial.add(bytes(IN_PLACE // 3))
        self.assertIsNone(partial.room())
        partial.add(bytes(IN_PLACE // 3 + 1))
        sizes = []
        while partial.missing:
            room = partial.room()
            if room is None:  # the last of it is little
                self.assertLess(partial.missing, IN_PLACE)
                partial.add(bytes(partial.missing))
                continue
            with room:
                sizes.append(len(room))
                count = len(room)
                room[:] = bytes(count)
            self.assertTrue(partial.absorb(count))
        self.assertEqual(sizes[0], 3 * (2 * (IN_PLACE // 3) + 1))
        self.assertEqual(len(partial.take()), length)

    def test_no_memory(self):
        """Where there is no memory for more room it is as before: the next one who asks gets room, and no end."""
        partial = PartialFrame(BINARY, 10 * IN_PLACE, None)
        partial.add(bytes(IN_PLACE))
        data, partial._data = partial._data, mock.Mock(seek=mock.Mock(), write=mock.Mock(side_effect=MemoryError))
        self.assertRaises(MemoryError, partial.room)
        partial._data = data
        self.assertEqual(partial.held, IN_PLACE)
        with partial.room() as view:
            self.assertEqual(len(view), 3 * IN_PLACE)


if __name__ == "__main__":
    unittest.main()
