"""frames.py: a raw peer."""

from __future__ import annotations

import unittest
from unittest import mock

from syncws.errors import CloseError, MessageType
from syncws.testing import Frame, LeakChecks, Peer, peer, socketpair

BINARY = MessageType.BINARY


class PeerTests(LeakChecks):
    """peer and Peer: raw frames against a connection."""

    def test_frames_to_a_connection(self):
        """What a peer sends as a frame the connection reads as a message, in both roles."""
        for client in (False, True):
            with peer(client=client) as (conn, raw):
                self.assertEqual(raw.masked, not client)
                for payload in ("", "short", "x" * 200, "y" * 70_000):
                    raw.send_frame(MessageType.TEXT, payload)
                    self.assertEqual(conn.receive(timeout=10), payload)

    def test_frames_of_a_connection(self):
        """What a connection sends the peer sees as it is, unmasked."""
        for client in (False, True):
            with peer(client=client) as (conn, raw):
                for size in (0, 5, 200, 70_000):
                    conn.send(bytes(size))
                    self.assertEqual(raw.receive_frame(), Frame(BINARY, bytes(size)))
                with conn.next_writer(BINARY) as writer:
                    writer.write(b"a" * 5000)
                self.assertEqual(raw.receive_frame(), Frame(BINARY, b"a" * 5000, fin=False))
                self.assertEqual(raw.receive_frame(), Frame(0, b""))

    def test_frame(self):
        """frame makes any frame, valid or not: flags, mask, and a length that is not that of the payload."""
        near, far = socketpair()
        with near, far:
            raw = Peer(near, masked=False)
            self.assertEqual(raw.frame(1, "hi"), b"\x81\x02hi")
            self.assertEqual(raw.frame(2, b"hi", fin=False, rsv1=True), b"\x42\x02hi")
            self.assertEqual(raw.frame(15, b"", length=5), b"\x8f\x05")
            self.assertEqual(raw.frame(2, b"", length=126), b"\x82\x7e\x00\x7e")
            self.assertEqual(raw.frame(2, b"", length=1 << 62), b"\x82\x7f\x40" + bytes(7))
            masked = raw.frame(2, b"hi", masked=True)
            self.assertEqual(masked[:2], b"\x82\x82")
            self.assertEqual(len(masked), 2 + 4 + 2)

    def test_cut(self):
        """With cut the bytes are sent in pieces of that size; the other end sees the same."""
        with peer() as (conn, raw):
            raw.send_frame(MessageType.TEXT, "in pieces", cut=1)
            self.assertEqual(conn.receive(timeout=10), "in pieces")
        sent = []
        with peer() as (_, raw), mock.patch.object(Peer, "socket", mock.Mock(sendall=sent.append), create=True):
            del raw.socket  # so that the mock is seen
            raw.send(b"abcdefg", cut=3)
            raw.send(b"whole")
            raw.send(b"")
        self.assertEqual(sent, [b"abc", b"def", b"g", b"whole"])

    def test_closes(self):
        """close and receive_close speak the closing handshake, with a code and without."""
        for code, told in ((1000, 1000), (None, 1005)):
            with peer() as (conn, raw):
                raw.close(code, "bye" if code else "")
                with self.assertRaises(CloseError) as caught:
                    conn.receive(timeout=10)
                self.assertEqual(caught.exception.code, told)
                self.assertEqual(raw.receive_close(), (code, ""))
                self.assertTrue(raw.at_end())

    def test_receive_close_expects_one(self):
        """receive_close fails for any other frame, and says which came."""
        with peer() as (conn, raw):
            conn.send("not a close")
            with self.assertRaisesRegex(AssertionError, "not a close"):
                raw.receive_close()

    def test_end(self):
        """At the end of the stream receive_frame raises EOFError; at_end is false while there are bytes."""
        with peer() as (conn, raw):
            conn.send("1")
            conn.send("2")
            raw.receive_frame()
            self.assertFalse(raw.at_end())
        with peer() as (conn, raw):
            conn.close_now()
            self.assertRaises(EOFError, raw.receive_frame)
            self.assertTrue(raw.at_end())

    def test_nothing_comes(self):
        """A frame that never comes whole is a TimeoutError, and the part that came is kept."""
        near, far = socketpair()
        with near, far:
            raw = Peer(near, masked=False)
            raw.socket.settimeout(0.02)
            far.sendall(b"\x82\x05ab")
            self.assertRaises(TimeoutError, raw._exactly, 100)
            far.sendall(b"cde")
            self.assertEqual(raw.receive_frame(), Frame(BINARY, b"abcde"))


if __name__ == "__main__":
    unittest.main()
