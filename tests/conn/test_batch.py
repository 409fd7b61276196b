"""batch.py: which answers may wait for one another; and what a connection makes of it, at either end."""

from __future__ import annotations

import time
import unittest
from typing import Any
from unittest import mock

from syncws._base.options import ConnOptions
from syncws._conn import batch as batch_module
from syncws._conn import wire as wire_module
from syncws._conn.batch import QUICK, Batch
from syncws._conn.conn import Conn
from syncws._net.transport import Transport
from syncws.errors import PING, CloseError, MessageType
from syncws.testing import LeakChecks, Peer, ScriptedSocket, await_, peer
from tests.conn.cases import ConnCase
from tests.tasks import Task

BINARY = MessageType.BINARY


class Clock:
    """A clock that stands still until it is moved."""

    def __init__(self) -> None:
        self.now = 100.0

    def monotonic(self) -> float:
        return self.now


class BatchTests(unittest.TestCase):
    def setUp(self) -> None:
        self.clock = Clock()
        self.enterContext(mock.patch.object(batch_module, "monotonic", self.clock.monotonic))
        self.batch = Batch()

    def take(self, seconds: float) -> bool:
        self.clock.now += seconds
        return self.batch.take()

    def test_the_first_is_never_kept(self) -> None:
        """Nothing is known of the handler yet."""
        self.take(0)
        self.assertFalse(self.batch.may_keep())

    def test_a_quick_handler(self) -> None:
        """Once it was quick its answers may be kept, also in the next batch."""
        self.take(0)
        self.take(QUICK / 2)
        self.assertTrue(self.batch.may_keep())
        self.batch.end()
        self.take(60)
        self.assertTrue(self.batch.may_keep())

    def test_a_slow_handler(self) -> None:
        """One that was slow has its next answer sent at once, until it was quick again."""
        self.take(0)
        self.take(QUICK * 2)
        self.assertFalse(self.batch.may_keep())
        self.take(QUICK / 2)
        self.assertTrue(self.batch.may_keep())

    def test_the_wait_between_two_batches_is_not_the_handlers(self) -> None:
        """A handler that was slow before the reader waited is still taken for slow, and a quick one for quick."""
        for quick in (QUICK / 2, QUICK * 2):
            batch = Batch()
            batch.take()
            self.clock.now += quick
            batch.take()
            known = batch.may_keep()
            batch.end()
            self.clock.now += 5
            batch.take()
            self.assertEqual(batch.may_keep(), known)

    def test_an_answer_that_comes_late(self) -> None:
        """A frame that is sent long after its message is sent at once, be the handler quick otherwise."""
        self.take(0)
        self.take(QUICK / 2)
        self.clock.now += QUICK * 2
        self.assertFalse(self.batch.may_keep())

    def test_another_thread(self) -> None:
        """Only the thread that took the latest message may keep what it sends."""
        self.take(0)
        self.take(QUICK / 2)
        self.assertFalse(Task(self.batch.may_keep).result())
        self.assertTrue(self.batch.may_keep())

    def test_what_has_waited_long_enough(self) -> None:
        """A stream of quick messages says now and then that what is kept is to leave."""
        told = sum(self.take(QUICK / 2) for _ in range(100))
        self.assertIn(told, range(15, 26))  # every fourth or fifth, as the clock is a floating point number


def from_client(payload: bytes) -> bytes:
    """A frame as a client sends it, under a mask of nothing."""
    return bytes([0x82, 0x80 | len(payload), 0, 0, 0, 0]) + payload


def frames(other: Peer, *payloads: bytes) -> bytes:
    """What the peer sends at once."""
    return b"".join(other.frame(BINARY, payload) for payload in payloads)


class AnswersTests(ConnCase):
    """A connection whose peer sends several messages at once, and a handler that answers each."""

    def batch(self, messages: int, **options: Any) -> tuple[Conn, ScriptedSocket]:
        """A connection to which so many messages come in one receive."""
        sock = ScriptedSocket(incoming=[b"".join(from_client(b"%d" % number) for number in range(messages))])
        conn = Conn(Transport(sock), client=False, options=ConnOptions(**options))  # type: ignore[arg-type]
        self.addCleanup(conn.close_now)
        sock.calls.clear()
        return conn, sock

    def calls(self, sock: ScriptedSocket) -> list[str]:
        """What was sent and received."""
        return [each for each in sock.calls if each in ("recv", "send", "sendmsg")]

    def quick(self, conn: Conn) -> None:
        """Let it know the handler for a quick one."""
        # No courier: what leaves here leaves by the connection's own doing.
        self.enterContext(mock.patch.object(wire_module.courier, "look_after", return_value=True))
        self.enterContext(mock.patch.object(batch_module, "QUICK", 60.0))
        self.enterContext(mock.patch.object(batch_module, "LONGEST", 60.0))
        conn._inbound._batch = Batch()
        conn._inbound._batch._is_quick = True

    def test_one_system_call(self) -> None:
        """Ten answers leave with the last of them, in order."""
        conn, sock = self.batch(10)
        self.quick(conn)
        for _ in range(10):
            conn.send(conn.receive())
        self.assertEqual(self.calls(sock), ["recv", "send"])
        self.assertEqual(bytes(sock.sent), b"".join(bytes([0x82, 1]) + b"%d" % number for number in range(10)))

    def test_counted_as_they_are_kept(self) -> None:
        """A message that is kept counts as sent."""
        conn, _ = self.batch(3)
        self.quick(conn)
        conn.send(conn.receive())
        self.assertEqual(conn.stats().messages_out, 1)

    def test_off_by_an_option(self) -> None:
        """With answers_together=False each answer is a call of its own."""
        conn, sock = self.batch(10, answers_together=False)
        self.quick(conn)
        for _ in range(10):
            conn.send(conn.receive())
        self.assertEqual(self.calls(sock), ["recv", *["send"] * 10])

    def test_before_the_reader_waits(self) -> None:
        """An answer that is kept leaves before the next receive, though the last message gets none."""
        conn, sock = self.batch(3)
        self.quick(conn)
        conn.send(conn.receive())
        conn.send(conn.receive())
        conn.receive()
        self.assertEqual(self.calls(sock), ["recv"])
        with self.assertRaises(CloseError):
            conn.receive()
        self.assertEqual(self.calls(sock), ["recv", "send", "recv"])

    def test_before_a_timed_read_waits(self) -> None:
        """The same of a read with a timeout, and of one that reads a stream."""
        for read in (lambda conn: conn.receive(timeout=5), lambda conn: conn.next_reader()):
            conn, sock = self.batch(2)
            self.quick(conn)
            conn.send(conn.receive())
            conn.receive()
            with self.assertRaises(CloseError):
                read(conn)
            self.assertEqual(self.calls(sock), ["recv", "send", "recv"])

    def test_a_ping_takes_it_along(self) -> None:
        """Our ping, and the answer to the peer's, leave after what is kept."""
        for ping in (lambda conn: conn.ping(b"x"), lambda conn: conn.write_control(PING, b"x")):
            conn, sock = self.batch(3)
            self.quick(conn)
            conn.send(conn.receive())
            ping(conn)
            self.assertEqual(bytes(sock.sent), b"\x82\x010\x89\x01x")

    def test_a_close_takes_it_along(self) -> None:
        """Before our close what was sent leaves; and before a cut."""
        for close in (lambda conn: conn.close(timeout=0.01), lambda conn: conn.close_now()):
            conn, sock = self.batch(3)
            self.quick(conn)
            conn.send(conn.receive())
            close(conn)
            self.assertEqual(bytes(sock.sent[:3]), b"\x82\x010")

    def test_the_courier_comes_too_early(self) -> None:
        """A courier that comes before the frame lock is free leaves it to who has kept it: it does not come again."""

        def comes_at_once(wire: Any) -> bool:
            Task(wire.send_kept).result()
            return True

        conn, sock = self.batch(3)
        self.quick(conn)
        with mock.patch("syncws._conn.wire.courier.look_after", comes_at_once):
            conn.send(conn.receive())
        self.assertEqual(bytes(sock.sent), b"\x82\x010")

    def test_another_writer_takes_it_along(self) -> None:
        """What another thread sends or posts comes after what was kept before."""
        for send in (lambda conn: conn.send(b"b"), lambda conn: conn.send_nowait(b"b")):
            conn, sock = self.batch(3)
            self.quick(conn)
            conn.send(conn.receive())
            Task(send, conn).result()
            self.assertEqual(bytes(sock.sent), b"\x82\x010\x82\x01b")

    def test_fragments_are_not_kept(self) -> None:
        """A message that is written piece by piece leaves as it is written, after what was kept."""
        conn, sock = self.batch(3)
        self.quick(conn)
        conn.send(conn.receive())
        conn.receive()
        with conn.next_writer(BINARY) as writer:
            writer.write(b"a")
            writer.flush()
            self.assertEqual(bytes(sock.sent), b"\x82\x010\x02\x01a")

    def test_a_large_answer_is_not_kept(self) -> None:
        """What is large leaves at once, with what was kept before it."""
        conn, sock = self.batch(3)
        self.quick(conn)
        conn.send(conn.receive())
        conn.receive()
        conn.send(bytes(20_000))
        self.assertEqual(len(sock.sent), 3 + 4 + 20_000)
        self.assertEqual(sock.sent[:3], b"\x82\x010")

    def test_a_socket_that_takes_nothing(self) -> None:
        """What a full socket leaves is a rest like any other: the drain sends it, in order."""
        conn, sock = self.batch(4)
        self.quick(conn)
        sock.room = [BlockingIOError(), BlockingIOError(), 1]
        conn.send(conn.receive())
        conn.receive()
        Task(conn.send_nowait, b"b").result()
        self.assertFalse(conn._transport.kept)
        self.assertTrue(await_(lambda: bytes(sock.sent) == b"\x82\x010\x82\x01b"))


class BothSidesTests(LeakChecks):
    """Over real sockets, of either role."""

    def test_a_thousand_at_once(self) -> None:
        """All answers come, in order, whatever is kept."""
        for client in (False, True):
            with peer(client=client) as (conn, other):
                sent = [b"%d" % number for number in range(1000)]
                writer = Task(other.send, frames(other, *sent))
                echo = Task(self.echo, conn, 1000)
                self.assertEqual([other.receive_frame().payload for _ in range(1000)], sent)
                writer.result()
                echo.result()

    def echo(self, conn: Conn, messages: int) -> None:
        for _ in range(messages):
            conn.send(conn.receive())

    def test_a_handler_that_stops_reading(self) -> None:
        """An answer that is kept leaves though the handler neither reads nor writes again."""
        for client in (False, True):
            with peer(client=client) as (conn, other):
                other.send(frames(other, b"0", b"1", b"2", b"3", b"4"))
                handler = Task(self.echo, conn, 4)
                self.assertEqual([other.receive_frame().payload for _ in range(4)], [b"0", b"1", b"2", b"3"])
                handler.result()

    def test_the_courier_asks_again(self) -> None:
        """A courier that comes while an answer is being kept finds it, or is asked again: none is left behind."""
        with peer() as (conn, other):
            handler = Task(self.many, conn, 300)
            for number in range(300):
                other.send(frames(other, *(b"%d.%d" % (number, each) for each in range(3))))
                for each in range(2):
                    self.assertEqual(other.receive_frame().payload, b"%d.%d" % (number, each))
            handler.result()

    def many(self, conn: Conn, batches: int) -> None:
        for _ in range(batches):
            conn.send(conn.receive())
            conn.send(conn.receive())
            time.sleep(0.0005)  # some are kept for as long as the courier takes to come
            conn.receive()  # not answered, so that nothing takes along what is kept


if __name__ == "__main__":
    unittest.main()
