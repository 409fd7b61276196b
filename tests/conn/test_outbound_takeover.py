"""outbound.py and wire.py with context takeover: what was compressed leaves, in its order, or is forgotten."""

from __future__ import annotations

import json
import random
import unittest
from collections.abc import Iterator
from typing import Any

import syncws
from syncws.errors import BINARY, TEXT
from syncws.testing import LeakChecks, pair

RAW: dict[str, Any] = {"ping_interval": None}


def feed(count: int, seed: int = 0) -> Iterator[str]:
    rng = random.Random(seed)
    for number in range(count):
        yield json.dumps({"type": "tick", "id": number, "price": rng.random(), "venue": "XNAS"})


class TestBothWays(LeakChecks, unittest.TestCase):
    """Every way of sending, to a connection that keeps its window."""

    def test_every_way(self) -> None:
        """send, send_nowait, write_prepared, shared and own, streams and plain messages, in any order, both roles."""
        rng = random.Random(5)
        with pair(context_takeover=True, **RAW) as (near, far):
            for sender, receiver in ((near, far), (far, near)):
                for message in feed(300):
                    kind = rng.randrange(7)
                    if kind == 0:
                        sender.send(message)
                    elif kind == 1:
                        self.assertTrue(sender.send_nowait(message))
                    elif kind == 2:
                        sender.write_prepared(syncws.PreparedMessage(TEXT, message))
                    elif kind == 3:
                        self.assertTrue(sender.send_nowait(syncws.PreparedMessage(TEXT, message)))
                    elif kind == 4:
                        with sender.next_writer(TEXT) as writer:
                            for start in range(0, len(message), 30):
                                writer.write(message[start : start + 30])
                                if rng.random() < 0.3:
                                    writer.flush()
                    elif kind == 5:
                        sender.enable_write_compression(False)
                        sender.send(message)
                        sender.enable_write_compression(True)
                    else:
                        sender.set_compression_level(rng.randrange(-2, 10))
                        sender.write_message(BINARY, message.encode())
                        self.assertEqual(receiver.receive(timeout=5), message.encode())
                        continue
                    self.assertEqual(receiver.receive(timeout=5), message)


if __name__ == "__main__":
    unittest.main()
