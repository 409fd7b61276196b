"""ending.py: connections cut at once, and by leaving a `with` block; stuck threads wake, descriptors are given back."""

from __future__ import annotations

import queue
import threading
from typing import Any

from syncws import (
    PING,
    TEXT,
    CloseError,
    Conn,
    ConnectionClosed,
    ProtocolError,
    ReadTimeout,
)
from tests.conn.cases import ConnCase
from tests.tasks import PATIENCE, assert_same_end

_BUFFER = 1 << 14


class ServerNow(ConnCase):
    """close_now()."""

    def test_no_handshake(self) -> None:
        """close_now is gorilla's Close: the peer sees the end of TCP and no close frame; again is no
        error."""
        conn, peer = self.peer()
        conn.close_now()
        conn.close_now()
        conn.close()
        self.assertTrue(peer.at_end())
        self.assertEqual(conn.socket.fileno(), -1)
        end = self.assert_ends(conn.receive, 1006, CloseError)
        assert_same_end(self, self.assert_ends(lambda: conn.send("x"), 1006, CloseError), end)

    def test_everybody_is_woken(self) -> None:
        """A thread inside a read, a write, or waiting for either, is woken and gets the one end."""
        conn, _ = self.peer(buffer=_BUFFER)
        tasks = [self.start_reading(conn), self.start_stuck_write(conn)]
        tasks += [self.start(conn.send, "x"), self.start(conn.write_control, PING), self.start(conn.next_writer, TEXT)]
        conn.close_now()
        end = self.assert_ends(conn.receive, 1006, CloseError)
        for task in tasks:
            assert_same_end(self, task.error(), end)
        self.assert_released(conn)

    def test_closer_is_woken(self) -> None:
        """close_now ends a close that is waiting for the peer."""
        conn, peer = self.peer()
        closing = self.start(conn.close)
        peer.receive_close()
        conn.close_now()
        closing.result(5)

    def test_descriptor_stays_while_a_thread_is_inside(self) -> None:
        """The descriptor is closed only when no thread can be inside: else its number could be reused under one."""
        for lock in ("turn", "_wire.frame_lock"):
            conn, _ = self.peer()
            held = conn._inbound.turn if lock == "turn" else conn._wire.frame_lock
            held.acquire()
            conn.close_now()
            self.assertNotEqual(conn.socket.fileno(), -1)
            if lock == "turn":
                conn._inbound.leave_turn()
            else:
                held.release()
                conn._wire.flush_soon()
            self.assertEqual(conn.socket.fileno(), -1)

    def test_descriptors_are_given_back_whatever_the_race(self) -> None:
        """Closed while others read, write, post and ping, a connection always gives its descriptor back."""
        for _ in range(60):
            conn, peer = self.peer()
            gate = threading.Barrier(4)

            def use(call, conn=conn, gate=gate) -> None:
                gate.wait()
                try:
                    for _ in range(20):
                        call()
                except ConnectionClosed:
                    pass

            tasks = [
                self.start(use, call)
                for call in (conn.receive, lambda c=conn: c.send("x"), lambda c=conn: (c.send_nowait("y"), c.ping()))
            ]
            gate.wait()
            conn.close_now()
            for task in tasks:
                task.result()
            self.assert_released(conn)
            peer.socket.close()

    def test_half_closed_peer_ends_a_stuck_writer(self) -> None:
        """The end of the stream, seen by the reader, wakes a writer that the peer will never read from."""
        conn, peer = self.peer(buffer=_BUFFER)
        writing = self.start_stuck_write(conn)
        peer.socket.shutdown(1)
        end = self.assert_ends(conn.receive, 1006, CloseError)
        assert_same_end(self, writing.error(), end)
        self.assert_released(conn)

    def test_no_timer_is_left(self) -> None:
        """A connection that is cut by its reader is freed at once: the close that was begun has no timer any more."""
        conn, peer = self.peer()
        conn.close(timeout=0)
        timer = conn._ending._timer
        assert timer is not None
        peer.socket.shutdown(1)
        self.assert_ends(conn.receive, 1006, CloseError)
        self.assert_released(conn)
        self.assertTrue(timer.cancelled)


class ClientNow(ServerNow):
    """The same for a client."""

    client = True


class ServerTold(ConnCase):
    """wait_closed and on_end: for who does not read."""

    def test_waiting(self) -> None:
        """wait_closed returns False when its time is over, and True once the connection is over, to everybody."""
        conn, _ = self.peer()
        for timeout in (0, 0.01, -1):
            self.assertIs(conn.wait_closed(timeout), False)
        waiting = [self.start(conn.wait_closed), self.start(conn.wait_closed, PATIENCE), self.start(conn.wait_closed)]
        conn.close_now()
        self.assertEqual([task.result() for task in waiting], [True] * 3)
        self.assertIs(conn.wait_closed(), True)
        self.assertIs(conn.wait_closed(0), True)

    def test_what_is_no_timeout(self) -> None:
        """A timeout that is no number is a TypeError; a very large one is none."""
        conn, _ = self.peer()
        for timeout in ("1", float("nan")):
            self.assertRaises(TypeError, conn.wait_closed, timeout)
        waiting = self.start(conn.wait_closed, 1e300)
        conn.close_now()
        self.assertIs(waiting.result(), True)

    def test_whoever_finds_the_end(self) -> None:
        """Waiting and being called, where a reader finds the end, a close does, or nobody reads."""

        def read(conn: Conn) -> None:
            with self.assertRaises(CloseError):
                conn.receive()

        for find in (read, Conn.close, Conn.close_read, lambda conn: None):
            conn, peer = self.peer(close_timeout=PATIENCE)
            told: queue.Queue[tuple[ConnectionClosed, str]] = queue.Queue()
            conn.on_end(lambda end, told=told: told.put((end, threading.current_thread().name)))
            finding = self.start(find, conn)
            peer.close(1001, "bye")
            peer.socket.shutdown(1)
            self.assertTrue(conn.wait_closed(PATIENCE))
            end, thread = told.get(timeout=PATIENCE)
            self.assertEqual((end.code, thread), (1001, "syncws-on-end"))  # type: ignore[attr-defined]
            finding.result()
            conn.close()
            self.assertTrue(told.empty())  # each callback is called once

    def test_called_at_once(self) -> None:
        """If it is over already, the callback is called before on_end returns, and what it raises is the caller's."""
        conn, _ = self.peer()
        conn.close_now()
        ends: list[Exception] = []
        conn.on_end(ends.append)
        self.assertEqual(len(ends), 1)
        assert_same_end(self, ends[0], conn.end)
        self.assertRaises(ZeroDivisionError, conn.on_end, lambda end: 1 / 0)

    def test_several(self) -> None:
        """All callbacks are called, in their order, in one thread; one may use the connection, and raise."""
        conn, _ = self.peer()
        told: queue.Queue[Any] = queue.Queue()
        conn.on_end(told.put)
        conn.on_end(lambda end: told.put(conn.closed))
        conn.on_end(lambda end: 1 / 0)
        conn.on_end(lambda end: told.put(threading.current_thread()))
        with self.assertLogs("syncws.conn", "ERROR"):
            conn.close_now()
            first, closed, thread = (told.get(timeout=PATIENCE) for _ in range(3))
        self.assertIsInstance(first, CloseError)
        self.assertIs(closed, True)
        thread.join(PATIENCE)
        self.assertFalse(thread.is_alive())

    def test_what_is_no_callback(self) -> None:
        """What cannot be called is a TypeError at once."""
        conn, _ = self.peer()
        self.assertRaises(TypeError, conn.on_end, None)

    def test_whatever_the_race(self) -> None:
        """An end that comes as threads begin to wait, or ask to be called, is missed by none of them."""
        for _ in range(100):
            conn, _ = self.peer()
            gate, told = threading.Barrier(3), threading.Event()

            def wait(conn: Conn = conn, gate: threading.Barrier = gate) -> bool:
                gate.wait()
                return conn.wait_closed(PATIENCE)

            def ask(conn: Conn = conn, gate: threading.Barrier = gate, told: threading.Event = told) -> bool:
                gate.wait()
                conn.on_end(lambda end: told.set())
                return told.wait(PATIENCE)

            tasks = [self.start(wait), self.start(ask)]
            gate.wait()
            conn.close_now()
            self.assertEqual([task.result() for task in tasks], [True, True])


class ClientTold(ServerTold):
    """The same for a client."""

    client = True


class ServerContext(ConnCase):
    """with conn:"""

    def test_normal_exit(self) -> None:
        """Leaving the block closes with 1000."""
        conn, peer = self.peer(close_timeout=0.1)
        with conn as same:
            self.assertIs(same, conn)
        self.assertEqual(peer.receive_close()[0], 1000)

    def test_exit_by_an_exception(self) -> None:
        """Leaving the block by an exception closes with 1011, and the exception goes on."""
        for error in (ZeroDivisionError, KeyboardInterrupt, ReadTimeout):
            conn, peer = self.peer(close_timeout=0.1)
            with self.assertRaises(error), conn:
                raise error
            self.assertEqual(peer.receive_close()[0], 1011)

    def test_exit_by_the_end(self) -> None:
        """Leaving the block by the connection's end sends nothing more than the answer, and ends TCP."""
        conn, peer = self.peer()
        peer.close(1001)
        peer.socket.shutdown(1)
        with self.assertRaises(CloseError), conn:
            conn.receive()
        self.assertEqual(peer.receive_close()[0], 1001)
        self.assertTrue(peer.at_end())
        self.assertEqual(conn.socket.fileno(), -1)

    def test_exit_after_a_breach(self) -> None:
        """After a breach of the protocol the peer gets its code, not 1000 or 1011."""
        conn, peer = self.peer()
        peer.send_frame(3)
        peer.socket.shutdown(1)
        with self.assertRaises(ProtocolError), conn:
            conn.receive()
        self.assertEqual(peer.receive_close()[0], 1002)
        self.assertTrue(peer.at_end())


class ClientContext(ServerContext):
    """The same for a client."""

    client = True
