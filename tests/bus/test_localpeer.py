"""The way to one other process: order, what waits, what is lost, and its end."""

from __future__ import annotations

import socket
import unittest
from unittest import mock

from syncws._bus.localframes import goodbye
from syncws._bus.localpeer import Peer
from syncws.testing import LeakChecks

NAME = "4711-00c0ffee00c0ffee"


class PeerCase(LeakChecks):
    def setUp(self) -> None:
        super().setUp()
        self.ours, self.theirs = socket.socketpair()
        self.addCleanup(self.ours.close)
        self.addCleanup(self.theirs.close)
        self.ours.setblocking(False)
        self.theirs.setblocking(False)

    def peer(self, queue: int = 100, queue_bytes: int = 1 << 20) -> Peer:
        return Peer(NAME, b"hello", queue, queue_bytes)

    def connected(self, queue: int = 100, queue_bytes: int = 1 << 20) -> Peer:
        peer = self.peer(queue, queue_bytes)
        peer.connect(lambda _name: self.ours)
        self.assertEqual(self.read(), b"hello")
        return peer

    def read(self) -> bytes:
        """All that has come."""
        pieces = []
        try:
            while piece := self.theirs.recv(1 << 20):
                pieces.append(piece)
        except BlockingIOError:
            pass
        return b"".join(pieces)

    def fill(self, peer: Peer) -> bytes:
        """Post until something waits; what was posted."""
        posted = b""
        while not peer.waiting[0]:
            peer.post("c", b"x" * 10_000)
            posted += b"x" * 10_000
        return posted


class PostTests(PeerCase):
    def test_at_once(self) -> None:
        """What the socket takes is sent by whoever posts it, and nobody has to mind it."""
        peer = self.connected()
        self.assertFalse(peer.post("c", b"one"))
        self.assertFalse(peer.post("c", b"two"))
        self.assertEqual(self.read(), b"onetwo")
        self.assertEqual(peer.waiting, (0, 0))

    def test_before_it_is_connected(self) -> None:
        """What is posted before waits, and follows the greeting."""
        peer = self.peer()
        self.assertIsNone(peer.connection)
        self.assertFalse(peer.post("c", b"one"))
        self.assertEqual(peer.waiting, (1, 3))
        peer.connect(lambda _name: self.ours)
        self.assertIs(peer.connection, self.ours)
        peer.post("c", b"two")
        self.assertEqual(self.read(), b"helloonetwo")

    def test_a_connection_that_cannot_be_had(self) -> None:
        """It is away as before, and what waits goes on waiting."""
        peer = self.peer()
        peer.post("c", b"one")

        def refuse(name: str) -> socket.socket:
            self.assertEqual(name, NAME)
            raise BlockingIOError

        with self.assertRaises(BlockingIOError):
            peer.connect(refuse)
        peer.connect(lambda _name: self.ours)
        self.assertEqual(self.read(), b"helloone")

    def test_what_a_full_socket_leaves(self) -> None:
        """The rest of a frame waits, what is posted then waits behind it, and all arrives in order."""
        peer = self.connected()
        posted = self.fill(peer)
        self.assertFalse(peer.post("c", b"last"))  # it is minded already
        read = b""
        while peer.waiting[0]:
            read += self.read()
            self.assertTrue(peer.flush())
        self.assertEqual(read + self.read(), posted + b"last")
        self.assertEqual(peer.waiting, (0, 0))

    def test_it_says_that_something_waits(self) -> None:
        """Who posts what the socket does not take is told that somebody has to mind it, once."""
        peer = self.connected()
        told = []
        while not peer.waiting[0]:
            told.append(peer.post("c", b"x" * 10_000))
        self.assertEqual((told[-1], any(told[:-1])), (True, False))

    def test_a_lost_connection(self) -> None:
        """Who posts to a connection that is over is told that somebody has to mind it; nothing waits for it."""
        peer = self.connected()
        self.theirs.close()
        self.assertTrue(peer.post("c", b"one"))
        self.assertEqual(peer.waiting, (0, 0))
        self.assertTrue(peer.is_over())

    def test_a_lost_connection_while_something_waits(self) -> None:
        """The flush of a connection that is over says so."""
        peer = self.connected()
        self.fill(peer)
        self.theirs.close()
        self.assertFalse(peer.flush())

    def test_what_the_other_end_says_is_not_asked_for(self) -> None:
        """Bytes that come are thrown away, and are not its end."""
        peer = self.connected()
        self.assertFalse(peer.is_over())
        self.theirs.send(b"x" * 5000)
        self.assertFalse(peer.is_over())

    def test_a_flush_lets_others_in(self) -> None:
        """One flush sends some frames, and not all that wait: who posts waits for the lock meanwhile."""
        peer = self.peer(queue=1000)
        for _ in range(1000):
            peer.post("c", b"x")
        peer.connect(lambda _name: self.ours)
        self.assertEqual(peer.waiting[0], 1000 + 1 - 64)


class LossTests(PeerCase):
    def test_a_full_queue(self) -> None:
        """What finds so many messages waiting is lost and counted; nothing that waits is."""
        peer = self.peer(queue=3)
        for number in range(5):
            peer.post(f"c{number}", b"x")
        self.assertEqual((peer.waiting[0], peer.lost, peer.is_losing), (3, 2, True))
        self.assertEqual(peer.take_lost(), {})  # there is no room to tell it
        peer.connect(lambda _name: self.ours)
        self.assertEqual(peer.take_lost(), {"c3": 1, "c4": 1})
        self.assertEqual((peer.take_lost(), peer.lost, peer.is_losing), ({}, 2, False))

    def test_a_queue_that_is_full_of_bytes(self) -> None:
        """So is what finds so many bytes waiting; a message that is larger than the queue has it for itself."""
        peer = self.peer(queue_bytes=10)
        peer.post("c", b"x" * 50)
        peer.post("c", b"x")
        self.assertEqual((peer.waiting, peer.lost), ((1, 50), 1))

    def test_it_is_told_once_half_of_it_is_free(self) -> None:
        """A mark that is published then has room."""
        peer = self.connected(queue=10)
        self.fill(peer)
        for _ in range(12):
            peer.post("c", b"x")
        self.assertEqual(peer.lost, 3)
        with mock.patch("syncws._bus.localpeer._AT_ONCE", 1):
            while peer.waiting[0] > 5:
                self.assertEqual(peer.take_lost(), {})
                self.read()
                peer.flush()
        self.assertEqual(peer.take_lost(), {"c": 3})

    def test_too_many_channels(self) -> None:
        """What is counted by channel has an end; past it the connection is to be cut."""
        peer = self.peer(queue=1)
        with mock.patch("syncws._bus.localpeer.MOST_LOST", 5):
            for number in range(7):
                self.assertFalse(peer.has_lost_too_much)
                peer.post(f"c{number}", b"x")
            self.assertTrue(peer.has_lost_too_much)
            peer.post("another", b"x")
            self.assertEqual(len(peer._lost), 6)


class EndTests(PeerCase):
    def test_a_cut(self) -> None:
        """It ends without a goodbye, and is away: what waited is forgotten, and what is posted then waits."""
        peer = self.connected()
        self.fill(peer)
        peer.cut()
        self.assertIsNone(peer.connection)
        self.assertEqual(peer.waiting, (0, 0))
        self.assertNotIn(b"goodbye", self.read())
        peer.post("c", b"next")
        ours, self.theirs = socket.socketpair()
        self.addCleanup(self.theirs.close)
        self.theirs.setblocking(False)
        peer.connect(lambda _name: ours)
        self.assertEqual(self.read(), b"hellonext")
        peer.cut()
        peer.cut()

    def test_a_goodbye(self) -> None:
        """It is said last, once, and what is posted then is ignored."""
        peer = self.connected()
        peer.post("c", b"one")
        self.assertTrue(peer.say_goodbye(goodbye()))
        self.assertFalse(peer.say_goodbye(goodbye()))
        self.assertFalse(peer.post("c", b"two"))
        self.assertEqual((self.read(), peer.waiting), (b"one" + goodbye(), (0, 0)))

    def test_a_goodbye_that_has_to_wait(self) -> None:
        """It follows what waits for a full socket, or for the first connection."""
        peer = self.connected()
        self.fill(peer)
        self.assertFalse(peer.say_goodbye(goodbye()))
        self.read()
        while peer.waiting[0]:
            self.assertTrue(peer.flush())
        self.assertTrue(self.read().endswith(b"x" + goodbye()))
        away = self.peer()
        away.say_goodbye(goodbye())
        away.connect(lambda _name: self.ours)
        self.assertEqual(self.read(), b"hello" + goodbye())

    def test_no_goodbye_after_a_loss(self) -> None:
        """Who has lost something that it was not told of must not take this for an orderly end."""
        peer = self.peer(queue=1)
        peer.post("c", b"one")
        peer.post("c", b"lost")
        self.assertFalse(peer.say_goodbye(goodbye()))
        peer.connect(lambda _name: self.ours)
        self.assertEqual(self.read(), b"helloone")

    def test_in_the_child_of_a_fork(self) -> None:
        """The descriptor is closed without the lock, which a thread of the parent may have held."""
        peer = self.connected()
        with peer._lock:
            peer.abandon()
        self.assertEqual(self.ours.fileno(), -1)
        self.peer().abandon()


if __name__ == "__main__":
    unittest.main()
