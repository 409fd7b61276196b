"""controls.py: how many control frames a peer may send."""

from __future__ import annotations

from syncws import PING, PONG, TEXT
from tests.conn.cases import ConnCase, moved_clock


class ServerBudget(ConnCase):
    """Pings and pongs have a limit, since they cost this side more than the peer."""

    def test_control_frames_have_a_limit(self) -> None:
        """Of pings and pongs control_limit may come at once, control_rate more each second."""
        for kind in (PING, PONG):
            with self.subTest(kind), moved_clock(stands=True) as clock:
                conn, peer = self.peer(control_limit=20, control_rate=10)
                for seconds, allowed in ((0.0, 20), (0.5, 5), (3600.0, 20)):
                    clock.advance(seconds)
                    peer.send(peer.frame(kind) * allowed + peer.frame(TEXT, "m"))
                    self.assertEqual(conn.receive(), "m")
                peer.send_frame(kind)
                end = self.assert_breach("control_limit", peer, conn.receive)
                self.assertEqual(end.reason, "more than 20 control frames, and 10 more a second")

    def test_a_flood_of_control_frames_ends(self) -> None:
        """Pings and pongs without end are 1008 after 1,000, by default, also inside a message."""
        for kind in (PING, PONG):
            for begun in (b"", self.peer()[1].frame(TEXT, "begun", fin=False)):
                with self.subTest(kind, begun=bool(begun)), moved_clock(stands=True):
                    conn, peer = self.peer()
                    peer.send(begun + peer.frame(kind) * 1001)
                    self.assert_breach("control_limit", peer, conn.receive)

    def test_messages_have_no_such_limit(self) -> None:
        """100,000 messages of one byte in a second, with a ping and a pong for each hundredth, pass by default."""
        conn, peer = self.peer()
        hundred = peer.frame(PING) + peer.frame(PONG) + peer.frame(TEXT, "x") * 100
        with moved_clock(stands=True) as clock:
            for _ in range(10):
                sending = self.start(peer.send, hundred * 50)
                self.assertEqual([conn.receive() for _ in range(5000)], ["x"] * 5000)
                sending.result()
                clock.advance(1.0)  # 100 control frames at once, in each of these seconds

    def test_no_limit(self) -> None:
        """None turns it off."""
        conn, peer = self.peer(control_limit=None)
        peer.send(peer.frame(PONG) * 1100 + peer.frame(TEXT, "m"))
        self.assertEqual(conn.receive(), "m")


class ClientBudget(ServerBudget):
    """The same for a client."""

    client = True
