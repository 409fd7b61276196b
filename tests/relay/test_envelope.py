"""The bytes of one message between processes."""

from __future__ import annotations

import random
import unittest

from syncws._relay.envelope import HEAD, MOST_EXTRA, Envelope, Foreign, Kind, decode

BOOT = bytes.fromhex("0123456789abcdef")

#: What docs/redis-protocol.md shows.
VECTOR = (
    "01" "00" "02" "00" "0123456789abcdef" "0000000000000007" "0007" "00000015"
    + b'"lobby"'.hex()
    + b'{"exclude":["\\"a\\""]}'.hex()
    + "hällo".encode().hex()
)  # fmt: skip


class EnvelopeTests(unittest.TestCase):
    def test_the_test_vector(self) -> None:
        """A broadcast to a room is exactly these bytes, both ways: programs in other languages rely on it."""
        envelope = Envelope(Kind.ROOM, BOOT, 7, '"lobby"', {"exclude": ['"a"']}, "hällo".encode())
        self.assertEqual(envelope.encode().hex(), VECTOR)
        self.assertEqual(decode(bytes.fromhex(VECTOR)), envelope)

    def test_there_and_back(self) -> None:
        """Each kind, with and without each part, comes back as it was."""
        for kind in Kind:
            for target in ("", '"x"'):
                for extra in (None, {"a": [1, "ü"]}):
                    for binary, body in ((False, b""), (False, "ü".encode()), (True, b"\xff\x00")):
                        envelope = Envelope(kind, BOOT, 2**64 - 1, target, extra, body, binary)
                        with self.subTest(envelope):
                            self.assertEqual(decode(envelope.encode()), envelope)

    def test_another_version(self) -> None:
        """An envelope of a newer program is told apart from junk: it is counted and warned of."""
        with self.assertRaises(Foreign):
            decode(b"\x02" + bytes.fromhex(VECTOR)[1:])

    def test_junk(self) -> None:
        """What is no envelope is a ValueError, whatever is wrong with it."""
        good = bytes.fromhex(VECTOR)

        def changed(offset: int, *values: int) -> bytes:
            return good[:offset] + bytes(values) + good[offset + len(values) :]

        for name, data in {
            "empty": b"",
            "cut in its head": good[: HEAD - 1],
            "cut in its target": good[: HEAD + 3],
            "an unknown kind": changed(1, 10),
            "an unknown flag": changed(2, 8),
            "something where 0 is": changed(3, 1),
            "a target longer than all": changed(20, 0xFF, 0xFF),
            "4 GiB of extra": changed(22, 0xFF, 0xFF, 0xFF, 0xFF),
            "a target that is no UTF-8": changed(HEAD, 0xFF),
            "extra that is no JSON": changed(HEAD + 7, 0x21),
            "extra that is no object": Envelope(Kind.ALL, BOOT).encode()[:22] + b"\x00\x00\x00\x02[]",
            "TEXT that is no UTF-8": good + b"\xff",
            "extra that is nested too deep": good[:20] + b"\x00\x00" + (200_000).to_bytes(4) + b"[" * 200_000,
        }.items():
            with self.subTest(name), self.assertRaises(ValueError) as raised:
                decode(data)
            self.assertNotIsInstance(raised.exception, Foreign)

    def test_random_bytes(self) -> None:
        """Whatever comes, it is an envelope or a ValueError."""
        dice = random.Random(1)
        good = bytes.fromhex(VECTOR)
        for _ in range(20_000):
            data = bytearray(good)
            for _ in range(dice.randrange(1, 6)):
                data[dice.randrange(len(data))] = dice.randrange(256)
            try:
                decode(bytes(data[: dice.randrange(len(data) + 1)]))
            except ValueError:
                pass

    def test_extra_that_is_too_long(self) -> None:
        """Nothing is sent that every receiver drops."""
        with self.assertRaisesRegex(ValueError, "exclude is too long"):
            Envelope(Kind.ALL, BOOT, extra={"exclude": ["x" * MOST_EXTRA]}).encode()


if __name__ == "__main__":
    unittest.main()
