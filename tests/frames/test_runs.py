"""runs.py: fragments joined, against taking them one by one."""

from __future__ import annotations

import random
import unittest

from syncws._frames.frame import MASKED
from syncws._frames.runs import SMALL, join_fragments
from tests.frames.cases import ROLES, frame

CONTINUATION = 0


class TestJoining(unittest.TestCase):
    """What is taken, and where it ends."""

    def join(self, client: bool, data: bytes, *, start: int = 0, most: int = 1 << 20, room: int = 1 << 30):
        return join_fragments(data, start, 0 if client else MASKED, most, room)

    def test_whatever_lengths_they_have(self) -> None:
        """Random runs of equal and other lengths, with masks of their own, give their payloads in order."""
        for seed in range(300):
            rng = random.Random(seed)
            client = rng.choice(ROLES)
            payloads = []
            for _ in range(rng.randrange(1, 6)):
                length = rng.choice((0, 0, 1, 1, 2, 3, 7, 8, 9, 31, 32, 125, 126, 300))
                payloads += [rng.randbytes(length) for _ in range(rng.choice((1, 2, 15, 16, 17, 100, 1100)))]
            data = b"".join(frame(CONTINUATION, each, to=client, fin=False) for each in payloads)
            before = rng.randbytes(rng.randrange(5))
            after = rng.choice(
                (b"", frame(CONTINUATION, b"end", to=client), frame(9, b"", to=client), b"\x00", b"\x81")
            )
            run = self.join(client, before + data + after, start=len(before))
            self.assertEqual(run.payload, b"".join(payloads), seed)
            self.assertEqual((run.end, run.fragments), (len(before) + len(data), len(payloads)))
            self.assertEqual(run.small, sum(len(each) < SMALL for each in payloads))

    def test_where_it_is_cut(self) -> None:
        """A fragment that is not all there is left, wherever it is cut."""
        for client in ROLES:
            for payload in (b"", b"x", b"12345678", bytes(200)):
                one = frame(CONTINUATION, payload, to=client, fin=False)
                for missing in range(1, len(one)):
                    run = self.join(client, (one * 40)[:-missing])
                    self.assertEqual((run.end, run.fragments), (39 * len(one), 39))
                    self.assertEqual(run.payload, payload * 39)

    def test_limits(self) -> None:
        """No more fragments and no more bytes are taken than may be; what is over is left to be judged."""
        for client in ROLES:
            for payload in (b"", b"x", b"abc", bytes(10)):
                data = frame(CONTINUATION, payload, to=client, fin=False) * 50
                for most in (0, 1, 15, 16, 17, 50):
                    self.assertEqual(self.join(client, data, most=most).fragments, most)
                if payload:
                    for room in (0, 1, 16, 48, 49, 500):
                        self.assertEqual(self.join(client, data, room=room).fragments, min(50, room // len(payload)))

    def test_faults_end_it(self) -> None:
        """A wrong mask, reserved bits and a length that is too long for its value are left to be judged."""
        for client in ROLES:
            good = frame(CONTINUATION, b"x", to=client, fin=False)
            for bad in (
                frame(CONTINUATION, b"x", to=client, fin=False, mask=client),
                frame(CONTINUATION, b"x", to=client, fin=False, rsv=1),
                frame(CONTINUATION, b"x", to=client, fin=False, form=2),
                frame(CONTINUATION, b"x", to=client, fin=False, form=8),
                frame(1, b"x", to=client, fin=False),
            ):
                for count in (0, 1, 15, 16, 40):
                    run = self.join(client, good * count + bad + good * 40)
                    self.assertEqual((run.end, run.fragments), (len(good) * count, count))


if __name__ == "__main__":
    unittest.main()
