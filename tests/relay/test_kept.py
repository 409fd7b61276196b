"""A broadcast to a room that remembers, as it was kept."""

from __future__ import annotations

import json
import unittest

from syncws._relay.envelope import Envelope, Kind
from syncws._relay.kept import kept_in, kept_of

BOOT = b"12345678"


class KeptTests(unittest.TestCase):
    def test_what_it_says(self) -> None:
        """The message, and who is not to get it: ids, and connections of its sender."""
        extra = {"exclude": ['"ann"', "7"], "conns": ["c1"]}
        kept = kept_in(Envelope(Kind.ROOM, BOOT, 1, '"lobby"', extra, b'{"a":1}').encode())
        assert kept is not None
        self.assertEqual((kept.ids, kept.conns), ({"ann", 7}, {"c1"}))
        self.assertEqual(json.loads(kept.stamped("position", "p").payload), {"position": "p", "a": 1})
        self.assertIs(kept.stamped(None, "p"), kept.message)

    def test_what_takes_no_position(self) -> None:
        """BINARY, and TEXT that is no object, is given on as it came."""
        for body, binary in ((b"\x00\xff", True), (b'{"a":1}', True), (b"hi", False)):
            with self.subTest(body):
                kept = kept_of(Envelope(Kind.ROOM, BOOT, 1, '"lobby"', None, body, binary))
                self.assertIs(kept.stamped("position", "p"), kept.message)
                self.assertEqual(kept.message.payload, body)

    def test_what_cannot_be_read(self) -> None:
        """What another version has kept, or somebody else has put there, is left out."""
        good = Envelope(Kind.ROOM, BOOT, 1, '"lobby"', {"exclude": []}, b"hi").encode()
        self.assertIsNotNone(kept_in(good))
        self.assertIsNone(kept_in(b""))
        self.assertIsNone(kept_in(b"\x02" + good[1:]))
        for extra in ({"exclude": 1}, {"exclude": [1]}, {"exclude": ["no"]}, {"conns": {}}, {"conns": [None]}):
            with self.subTest(extra):
                self.assertIsNone(kept_in(Envelope(Kind.ROOM, BOOT, 1, '"lobby"', extra, b"hi").encode()))


if __name__ == "__main__":
    unittest.main()
