"""One connection of a load: what the socket has no room for waits, and leaves in order."""

from __future__ import annotations

import itertools
import unittest
from typing import Any

from syncws._cli.bench.peer import Peer
from syncws._cli.bench.plan import Message
from syncws._client.dialer import Opened
from syncws._net.transport import Transport
from syncws.errors import CLOSE, PING, CloseCode
from syncws.testing import LeakChecks, socketpair
from syncws.testing import Peer as Wire


class PeerTests(LeakChecks):
    def setUp(self) -> None:
        super().setUp()
        ours, theirs = socketpair(4096)
        self.addCleanup(theirs.close)
        nothing: Any = None
        opened = Opened(Transport(ours), nothing, nothing, nothing, b"", None, None)
        self.peer = Peer(opened, itertools.cycle([Message(b"", "")]))
        self.addCleanup(self.peer.close)
        self.wire = Wire(theirs, masked=True)

    def test_no_room(self) -> None:
        """More than the socket takes waits, and leaves in order once there is room."""
        sent = b"".join(bytes([number]) * 50_000 for number in range(20))
        for start in range(0, len(sent), 50_000):
            self.peer.send(sent[start : start + 50_000])
        self.assertTrue(self.peer.behind)
        received = b""
        while len(received) < len(sent):
            self.peer.flush()
            received += self.wire._exactly(min(2048, len(sent) - len(received)))
        self.assertEqual(received, sent)
        self.peer.flush()
        self.assertFalse(self.peer.behind)

    def test_controls(self) -> None:
        """Control frames are masked as all frames of a client; a close says its code, if it has one that is sent."""
        self.peer.send_control(PING, b"x")
        frame = self.wire.receive_frame()
        self.assertEqual((frame.opcode, frame.payload), (PING, b"x"))
        self.peer.send_close(CloseCode.NO_STATUS_RECEIVED)
        self.assertEqual(self.wire.receive_frame().opcode, CLOSE)
        self.peer.send_close(1001)
        self.assertEqual(self.wire.receive_close(), (1001, ""))


if __name__ == "__main__":
    unittest.main()
