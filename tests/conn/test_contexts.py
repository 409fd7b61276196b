"""contexts.py: the memory of context takeover is let go after a silence, whoever notices it."""

from __future__ import annotations

import unittest
from typing import Any
from unittest import mock

from syncws import Conn, ConnOptions
from syncws._conn import contexts as contexts_module
from syncws._conn.contexts import Contexts
from syncws.testing import await_
from tests.conn.cases import Clock, ConnCase
from tests.tasks import PATIENCE

IDLE = 0.2


def is_sending(conn: Conn) -> bool:
    """Whether its compressor holds memory."""
    compressor = conn._wire.compressor
    return compressor is not None and compressor.is_live


def is_receiving(conn: Conn) -> bool:
    """Whether it holds an inflater."""
    window = conn._inbound.protocol.window
    return window is not None and window.is_live


class ServerLooks(ConnCase):
    """Looks, one at a time, by a clock that only the test moves."""

    def setUp(self) -> None:
        super().setUp()
        self.clock = Clock(stands=True)
        self.enterContext(mock.patch.object(contexts_module, "time", self.clock))
        self.conn, self.far = self.pair(context_takeover=True, ping_interval=None, context_idle=None)
        for conn in (self.conn, self.far):
            conn._attendant.stop()
        self.contexts = Contexts(self.conn._wire, self.conn._inbound.protocol, 30.0)

    def say(self, message: str = "a message that comes again") -> None:
        for _ in range(2):  # the second makes the compressor
            self.conn.send(message)
            self.assertEqual(self.far.receive(timeout=PATIENCE), message)

    def hear(self, message: str = "a message that comes again") -> None:
        self.far.send(message)
        self.assertEqual(self.conn.receive(timeout=PATIENCE), message)

    def test_it_is_given_back(self) -> None:
        """What is let go is given back to the system, and a look that lets nothing go asks for nothing."""
        with mock.patch.object(contexts_module.heap, "give_back_soon") as give_back:
            self.say()
            self.look(0)
            self.look(29)
            give_back.assert_not_called()
            self.look(1)
            give_back.assert_called_once_with()

    def look(self, after: float) -> None:
        self.clock.advance(after)
        self.contexts.look()

    def test_each_direction_has_its_own_silence(self) -> None:
        """30 seconds after the look that found the last message of a direction its memory is let go, and not before."""
        self.say()
        self.hear()
        self.look(0)
        self.look(29)
        self.assertTrue(is_sending(self.conn) and is_receiving(self.conn))
        self.say()
        self.look(2)
        self.assertTrue(is_sending(self.conn))
        self.assertFalse(is_receiving(self.conn))
        self.look(28)
        self.assertTrue(is_sending(self.conn))
        self.hear()
        self.look(2)
        self.assertFalse(is_sending(self.conn))
        self.assertTrue(is_receiving(self.conn))
        self.say()
        self.hear()

    def test_when_a_look_is_due(self) -> None:
        """Where memory is held and the last look is half the time ago; without any, never."""
        now = self.clock.monotonic()
        self.assertFalse(self.contexts.is_due(now))
        self.hear()
        self.assertTrue(self.contexts.is_due(now))
        self.look(0)
        self.assertFalse(self.contexts.is_due(now + 14))
        self.assertTrue(self.contexts.is_due(now + 15))
        self.assertEqual(self.contexts.seconds_left(now + 5), 10)
        self.assertEqual(self.contexts.seconds_left(now + 20), 0)
        self.look(30)
        self.assertFalse(self.contexts.is_due(now + 1000))
        self.assertIsNone(self.contexts.seconds_left(now + 1000))

    def test_a_message_in_the_middle(self) -> None:
        """While a message is written in pieces, or has come in part, nothing of its direction is let go."""
        self.say()
        with self.conn.next_writer(1) as writer, self.far.next_writer(1) as other:
            for each in (writer, other):
                each.write("a message that comes ")
                each.flush()
            reader = self.conn.next_reader(timeout=PATIENCE)
            self.look(0)
            self.look(100)
            self.assertTrue(is_sending(self.conn) and is_receiving(self.conn))
            for each in (writer, other):
                each.write("again")
        self.assertEqual(reader.read(), b"a message that comes again")
        self.assertEqual(self.far.receive(timeout=PATIENCE), "a message that comes again")
        self.look(0)
        self.look(30)
        self.assertFalse(is_sending(self.conn) or is_receiving(self.conn))

    def test_a_writer_that_is_at_work(self) -> None:
        """A look does not wait for somebody who writes: the memory stays until the next one."""
        self.say()
        self.look(0)
        with self.busy_wire(self.conn):
            self.look(30)
            self.assertTrue(is_sending(self.conn))
        self.look(1)
        self.assertFalse(is_sending(self.conn))


class ServerSilence(ConnCase):
    """Who looks: the reader that waits, and the attendant of a connection that nobody reads."""

    def connected(self, **options: Any) -> tuple[Conn, Conn]:
        conn, far = self.pair(context_takeover=True, context_idle=IDLE, **options)
        for number in range(3):
            for sender, receiver in ((conn, far), (far, conn)):
                sender.send(f"a message that comes again {number}")
                self.assertEqual(receiver.receive(timeout=PATIENCE), f"a message that comes again {number}")
        return conn, far

    def assert_let_go(self, conn: Conn) -> None:
        self.assertTrue(await_(lambda: not is_sending(conn) and not is_receiving(conn)), "it is held")

    def test_while_somebody_reads(self) -> None:
        """A reader that waits lets both go, with and without pings; then it reads a message that refers back."""
        for interval in (None, 20.0):
            conn, far = self.connected(ping_interval=interval)
            reading = self.start_reading(conn)
            self.assert_let_go(conn)
            far.send("a message that comes again")
            self.assertEqual(reading.result()[1], "a message that comes again")
            conn.send("a message that comes again")
            self.assertEqual(far.receive(timeout=PATIENCE), "a message that comes again")

    def test_while_nobody_reads(self) -> None:
        """The attendant lets both go; what is sent and read then is whole."""
        conn, far = self.connected(ping_interval=None)
        self.assert_let_go(conn)
        self.assert_let_go(far)
        for sender, receiver in ((conn, far), (far, conn)):
            sender.send("a message that comes again")
            self.assertEqual(receiver.receive(timeout=PATIENCE), "a message that comes again")

    def test_never(self) -> None:
        """With context_idle=None nobody looks."""
        conn, _ = self.pair(context_takeover=True, context_idle=None)
        self.assertIsNone(conn._inbound.intake._contexts)
        self.assertIsNone(conn._attendant._contexts)

    def test_nothing_to_let_go(self) -> None:
        """A connection that keeps nothing from message to message has nobody look, and waits as it did."""
        for options in ({}, {"compression": True}):
            conn, _ = self.pair(ping_interval=None, **options)
            self.assertIsNone(conn._inbound.intake._contexts)
            self.assertIsNone(conn._attendant._contexts)
            self.assertIsNone(conn._inbound.intake.tick)

    def test_how_long_a_wait_is(self) -> None:
        """A reader waits until the next ping, or until there may be something to let go, whichever comes first."""
        for interval, idle, tick in ((20, 30, 20), (20, 5, 5), (None, 5, 5), (20, None, 20)):
            conn, _ = self.pair(context_takeover=True, ping_interval=interval, context_idle=idle)
            self.assertEqual(conn._inbound.intake.tick, tick)

    def test_the_default(self) -> None:
        """Half a minute."""
        self.assertEqual(ConnOptions().context_idle, 30.0)


class ClientLooks(ServerLooks):
    """The same for a client."""

    client = True


class ClientSilence(ServerSilence):
    """The same for a client."""

    client = True


if __name__ == "__main__":
    unittest.main()
