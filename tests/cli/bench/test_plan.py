"""What a load is to be: sizes, messages, and the share of each process."""

from __future__ import annotations

import argparse
import pickle
import unittest

from syncws._cli.bench.plan import messages, parse_sizes
from syncws._frames.agreement import Agreement
from syncws._frames.protocol import Protocol
from syncws.errors import BINARY, TEXT

from .cases import plan


class SizeTests(unittest.TestCase):
    def test_sizes(self) -> None:
        """A number, with a unit, several, and a range, whose mean is that of its ends."""
        self.assertEqual(parse_sizes("32"), (32,))
        self.assertEqual(parse_sizes("0"), (0,))
        self.assertEqual(parse_sizes("64k, 1M"), (1 << 16, 1 << 20))
        self.assertEqual(parse_sizes("64,64,4k"), (64, 64, 4096))
        spread = parse_sizes("100-2000")
        self.assertEqual((min(spread), max(spread)), (100, 2000))
        self.assertAlmostEqual(sum(spread) / len(spread), 1050, delta=1)
        self.assertEqual(set(parse_sizes("5-5")), {5})

    def test_no_sizes(self) -> None:
        """What is none is refused with examples."""
        for text in ("", "-1", "x", "1.5", "2000-100", "1-", "-", "2g", "1025m", "9999999999", "1,,2"):
            with self.subTest(text), self.assertRaisesRegex(argparse.ArgumentTypeError, "such as 32, 64k, 100-2000"):
                parse_sizes(text)


class MessageTests(unittest.TestCase):
    def assert_decoded(self, *, binary: bool, size: str, agreement: Agreement | None = None) -> int:
        """Each frame is what a server reads as its payload. How many bytes all frames have."""
        made = messages(plan(sizes=parse_sizes(size), binary=binary), agreement)
        server = Protocol(client=False, read_limit=None, compression=agreement is not None)
        for message in made:
            server.receive(message.frame)
            self.assertEqual(server.next_event(), (BINARY if binary else TEXT, message.payload))
        self.assertIsNone(server.next_event())
        return sum(len(message.frame) for message in made)

    def test_frames(self) -> None:
        """Frames of either type and of each form of length, also compressed."""
        for binary in (False, True):
            for size in ("0", "32", "200", "70000", "1-300"):
                with self.subTest(binary=binary, size=size):
                    self.assert_decoded(binary=binary, size=size)
        plain = self.assert_decoded(binary=False, size="5000")
        self.assertLess(self.assert_decoded(binary=False, size="5000", agreement=Agreement(15)), plain)
        self.assertEqual(self.assert_decoded(binary=False, size="5000", agreement=Agreement(0)), plain)

    def test_masks(self) -> None:
        """Frames have keys of their own."""
        keys = {message.frame[2:6] for message in messages(plan(), None)}
        self.assertGreater(len(keys), 50)

    def test_every_size_is_sent(self) -> None:
        """Each size as often as the others, and no more memory for large ones than is said."""
        made = messages(plan(sizes=parse_sizes("1,2,3")), None)
        sizes = [len(message.payload) for message in made]
        self.assertLessEqual(max(map(sizes.count, (1, 2, 3))) - min(map(sizes.count, (1, 2, 3))), 1)
        large = messages(plan(sizes=parse_sizes("16m"), binary=True), None)
        self.assertLessEqual(len(large), 2)


class ShareTests(unittest.TestCase):
    def test_shares(self) -> None:
        """Each process has its number, and about as many connections as the others."""
        shares = plan(connections=7, processes=3).shares()
        self.assertEqual([(each.process, each.connections) for each in shares], [(0, 3), (1, 2), (2, 2)])

    def test_it_goes_to_another_process(self) -> None:
        """A plan can be pickled, and no text of it shows a secret."""
        whole = plan("ws://a", "-H", "Authorization: secret")
        self.assertEqual(list(pickle.loads(pickle.dumps(whole)).headers), [("Authorization", "secret")])
        self.assertNotIn("secret", repr(whole))


if __name__ == "__main__":
    unittest.main()
