"""Proves that messages which never end take what has come of them, and all together no more than their budget.

Ten thousand connections hold back the last byte of a compressed message of 1 MiB, 1.1 KB on the wire. And some hundred
hold back the end of a plain one, until there is no more room for all of them.
"""

from __future__ import annotations

import contextlib
import os
import unittest
import zlib
from typing import Any

from tests.partners import heavy
from tests.runner.marks import alone

from .support import (
    BINARY,
    CLOSE,
    PING,
    PONG,
    ChildServer,
    GuaranteeTestCase,
    closing_all,
    connect,
    note,
    raise_descriptor_limit,
    size,
)

MIB = 1 << 20

#: KiB that a held-back message may take: its 1.1 KB, the objects around it, and the buffer of malloc.
EACH = 6

#: So many begin at the same time. Ten thousand threads that inflate a MiB each take minutes on a machine under load.
AT_ONCE = 50

#: The budget of a process, in KiB.
BUDGET = 256 << 10

PATHS: dict[str, dict[str, Any]] = {
    # Without the least rate, which ends such a connection after ten seconds.
    "/": {"enable_compression": True, "least_rate": None, "ping_interval": None},
}


@unittest.skipUnless(os.path.exists("/proc/self/schedstat"), "needs Linux's account of a process and of a thread")
@heavy
@alone("thousands of connections, whose memory is weighed")
class HeldBackTests(GuaranteeTestCase):
    bound = 300.0

    def test_compressed_messages_that_are_held_back(self) -> None:
        """1.2 KB on the wire held 1.1 MiB: 10,000 that hold back the last byte of 1 MiB stay under the budget."""
        raise_descriptor_limit()
        count = size(300, 10_000)
        deflater = zlib.compressobj(9, zlib.DEFLATED, -15)
        wire = (deflater.compress(bytes(MIB)) + deflater.flush(zlib.Z_SYNC_FLUSH))[:-4]
        with ChildServer(PATHS, max_connections=11_000) as server, closing_all([]) as peers:
            for _ in range(count):
                peers.append(connect(server.address, compression=True))
            frame = peers[0].frame(BINARY, wire, rsv1=True)
            self.honest(server)  # what is imported once is no part of it
            before = server.report()["rss"]
            for start in range(0, count, AT_ONCE):
                wave = peers[start : start + AT_ONCE]
                for peer in wave:
                    peer.send(peer.frame(PING, b"a message comes next") + frame[:-1])
                for peer in wave:
                    self.assertEqual(peer.receive_frame().opcode, PONG)
            self.honest(server)
            server.wait_for_rest()  # all have been read
            grown = server.report()["rss"] - before
            note(f"{count} compressed messages held back: {grown} KiB, {grown * 1024 // count} bytes each")
            self.assertLess(grown, min(count * EACH, BUDGET) + 4096)
            for peer in peers[:3]:
                peer.send(frame[-1:])
                self.assertEqual(peer.receive_frame().opcode, BINARY)

    def test_plain_messages_that_are_held_back(self) -> None:
        """Plain ones of nearly 1 MiB: when they are too much together the largest are closed, and honest ones pass."""
        count = size(300, 400)
        with ChildServer(PATHS) as server, closing_all([]) as peers:
            self.honest(server)
            before = server.report()["rss"]
            for number in range(count):
                peer = connect(server.address)
                peers.append(peer)
                with contextlib.suppress(OSError):
                    peer.send(peer.frame(BINARY, bytes(MIB - number * 64))[:-1])
            self.honest(server)
            server.wait_for_rest()  # all have been read, or closed
            grown = server.report()["rss"] - before
            closed = sum(self.is_closed(peer) for peer in peers)
            note(f"{count} messages of 1 MiB held back: {grown} KiB, {closed} closed")
            self.assertLess(grown, BUDGET + BUDGET // 4)
            self.assertGreaterEqual(closed, count - 260)  # each is a little less than 1 MiB
            self.assertLess(closed, count - 128)

    def honest(self, server: ChildServer) -> None:
        peer = connect(server.address)
        with peer.socket:
            for length in (1, 1000, 100_000):
                peer.send_frame(BINARY, bytes(length))
                self.assertEqual(peer.receive_frame().payload, bytes(length))

    def is_closed(self, peer: Any) -> bool:
        """Whether the server has closed it, which is with 1009."""
        peer.socket.settimeout(0.01)
        try:
            frame = peer.receive_frame()
        except TimeoutError:
            return False
        except OSError:
            return True
        self.assertEqual((frame.opcode, frame.payload[:2]), (CLOSE, (1009).to_bytes(2)))
        return True


if __name__ == "__main__":
    unittest.main()
