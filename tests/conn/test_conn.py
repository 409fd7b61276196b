"""`Conn`: what it is, its handlers, its keepalive, close_read. Both roles. Reading, writing and closing have files of
their own beside this one.
"""

from __future__ import annotations

import threading
import time
from unittest import mock

from syncws import (
    CLOSE,
    PING,
    PONG,
    TEXT,
    CloseError,
    CloseSentError,
    ConcurrencyError,
    Conn,
    ConnectionClosed,
    ConnOptions,
    ProtocolError,
    ReadTimeout,
    Request,
    format_close_message,
)
from syncws._conn.wire import Wire
from syncws._net.transport import Transport
from syncws.testing import ScriptedSocket, await_, socketpair
from tests.conn.cases import ConnCase, moved_clock
from tests.tasks import PATIENCE, assert_raised_apart, assert_same_end


class ServerIdentity(ConnCase):
    """The properties of a connection."""

    def test_addresses_and_socket(self) -> None:
        """TestAddrs, TestNetConn: the addresses are the socket's, and outlive it; socket and transport are the ones
        given."""
        ours, theirs = socketpair()
        with theirs:
            transport = Transport(ours)
            conn = Conn(transport, client=self.client)
            self.assertEqual((conn.local_address, conn.remote_address), (ours.getsockname(), theirs.getsockname()))
            self.assertIs(conn.socket, ours)
            self.assertIs(conn.transport, transport)
            conn.close_now()
            self.assertEqual(conn.remote_address, theirs.getsockname())

    def test_what_was_given(self) -> None:
        """subprotocol, request and response are those of the handshake."""
        ours, theirs = socketpair()
        with theirs:
            conn = Conn(Transport(ours), client=self.client, subprotocol="chat", request="q", response="r")
            self.assertEqual((conn.subprotocol, conn.request, conn.response), ("chat", "q", "r"))
            self.assertFalse(conn.compression)
            conn.close_now()

    def test_what_was_not_given(self) -> None:
        """A request or a response that the connection does not have is an AttributeError, which says where to look."""
        conn, _ = self.peer()
        with self.assertRaisesRegex(AttributeError, "a client's has a response instead"):
            _ = conn.request
        with self.assertRaisesRegex(AttributeError, "a server's has a request instead"):
            _ = conn.response
        self.assertFalse(hasattr(conn, "request") or hasattr(conn, "response"))

    def test_request_of_one_side_and_response_of_the_other(self) -> None:
        """A pair's server has the request, its client the response, and neither the other's."""
        conn, other = self.pair(request=Request("GET", "/?user=ann"))
        server, client = (other, conn) if self.client else (conn, other)
        self.assertEqual((server.request.query, client.response.status), ({"user": "ann"}, 101))
        self.assertFalse(hasattr(server, "response") or hasattr(client, "request"))

    def test_end(self) -> None:
        """end is None until the connection is over; then it is what every read raises."""
        conn, _ = self.peer()
        self.assertIsNone(conn.end)
        conn.close_now()
        with self.assertRaises(ConnectionClosed) as caught:
            conn.receive()
        assert_same_end(self, conn.end, caught.exception)

    def test_id(self) -> None:
        """The id is a random one of 32 hex digits, the same for every thread that asks."""
        conn, _ = self.peer()
        tasks = [self.start(lambda: conn.id) for _ in range(8)]
        self.assertEqual({task.result() for task in tasks}, {conn.id})
        self.assertRegex(conn.id, r"\A[0-9a-f]{32}\Z")
        self.assertNotEqual(conn.id, self.peer()[0].id)

    def test_repr(self) -> None:
        """repr tells role, peer and state: open, close sent, over and how, released."""
        conn, peer = self.peer()
        role = "client" if self.client else "server"
        self.assertEqual(repr(conn), f"<syncws.Conn {role} {conn.remote_address} open>")
        conn.close(timeout=0)
        self.assertTrue(repr(conn).endswith(" close sent>"))
        peer.close(4000, "bye")
        self.assert_ends(conn.receive, 4000, CloseError)
        self.assertIn("over: sent 1000 (normal closure); then received 4000: bye", repr(conn))
        peer.socket.shutdown(1)
        conn.close()
        self.assertIn(" released: sent 1000", repr(conn))

    def test_new_connection(self) -> None:
        """A new connection is open, has measured nothing, queued nothing and dropped nothing."""
        conn, _ = self.peer()
        self.assertEqual((conn.closed, conn.latency, conn.queued, conn.dropped), (False, None, (0, 0), 0))

    def test_early_data(self) -> None:
        """Bytes that the peer sent right after its handshake are the first to be read."""
        conn, peer = self.peer()
        data = peer.frame(TEXT, "early") + peer.frame(TEXT, "split")
        ours, theirs = socketpair()
        with theirs:
            conn = Conn(Transport(ours), client=self.client, early_data=data[:-3])
            theirs.sendall(data[-3:])
            self.assertEqual([conn.receive(), conn.receive()], ["early", "split"])
            conn.close_now()

    def test_one_call_of_the_system_for_each_message(self) -> None:
        """In the steady state a read is one recv, a write one send, whatever keepalive and threads there are."""
        _, peer = self.peer()
        count = 50
        sock = ScriptedSocket([peer.frame(TEXT, f"message {number}") for number in range(count)])
        conn = Conn(Transport(sock), client=self.client)
        conn.send(conn.receive())
        sock.calls.clear()
        for _ in range(count - 1):
            conn.send(conn.receive())
        self.assertEqual(sorted(set(sock.calls)), ["recv", "send"])
        self.assertEqual(len(sock.calls), 2 * (count - 1))

    def test_bad_options(self) -> None:
        """Options that cannot work are refused when they are given, by name."""
        for name, value in (("ping_interval", 0), ("read_limit", -1), ("overflow", "explode"), ("send_queue", 0)):
            with self.assertRaisesRegex(ValueError, name):
                ConnOptions(**{name: value})

    def test_wrong_types(self) -> None:
        """A timeout, a handler or a prepared message of a wrong type is a TypeError, and nothing is sent."""
        conn, peer = self.peer()
        for timeout in ("1", [1], float("nan")):
            for call in (
                conn.receive,
                conn.next_reader,
                lambda timeout: conn.send("x", timeout),
                lambda timeout: conn.next_writer(TEXT, timeout),
                lambda timeout: conn.close(1000, "", timeout),
            ):
                self.assertRaisesRegex(TypeError, "timeout is a number of seconds", call, timeout)
        for setter in (conn.set_ping_handler, conn.set_pong_handler, conn.set_close_handler):
            self.assertRaisesRegex(TypeError, "a handler is a callable", setter, 5)
        self.assertRaisesRegex(TypeError, "takes a PreparedMessage", conn.write_prepared, "x")
        conn.send("first")
        self.assertEqual(peer.receive_frame().payload, b"first")


class ClientIdentity(ServerIdentity):
    """The same for a client."""

    client = True


class ServerHandlers(ConnCase):
    """Ping, pong and close handlers."""

    def test_default_handlers(self) -> None:
        """By default a ping is answered with its payload, and a pong is ignored."""
        conn, peer = self.peer()
        peer.send_frame(PONG, b"unasked")
        for payload in (b"", b"p", bytes(125)):
            peer.send_frame(PING, payload)
            peer.send_frame(TEXT, "m")
            conn.receive()
            self.assertEqual(peer.receive_frame()[:2], (PONG, payload))

    def test_every_ping_is_answered(self) -> None:
        """While the wire is free every ping of a segment is answered, in order (Autobahn 2.10)."""
        conn, peer = self.peer()
        peer.send(b"".join(peer.frame(PING, b"%d" % number) for number in range(10)) + peer.frame(TEXT, "m"))
        conn.receive()
        self.assertEqual([int(peer.receive_frame().payload) for _ in range(10)], list(range(10)))

    def test_handlers_replace_and_restore(self) -> None:
        """A handler gets the payload, and replaces the default; None restores it."""
        conn, peer = self.peer()
        heard: list[tuple[str, bytes]] = []
        conn.set_ping_handler(lambda data: heard.append(("ping", data)))
        conn.set_pong_handler(lambda data: heard.append(("pong", data)))
        peer.send(peer.frame(PING, b"1") + peer.frame(PONG, b"2") + peer.frame(TEXT, "m"))
        conn.receive()
        self.assertEqual(heard, [("ping", b"1"), ("pong", b"2")])
        conn.set_ping_handler(None)
        conn.set_pong_handler(None)
        peer.send(peer.frame(PING, b"3") + peer.frame(PONG, b"4") + peer.frame(TEXT, "m"))
        conn.receive()
        self.assertEqual(peer.receive_frame()[:2], (PONG, b"3"))
        self.assertEqual(len(heard), 2)

    def test_handlers_can_be_wrapped(self) -> None:
        """The getters are never None, so that a handler can wrap the one before it."""
        conn, peer = self.peer()
        heard = []
        default = conn.ping_handler

        def count(data: bytes) -> None:
            heard.append(data)
            default(data)

        conn.set_ping_handler(count)
        self.assertIs(conn.ping_handler, count)
        peer.send(peer.frame(PING, b"p") + peer.frame(TEXT, "m"))
        conn.receive()
        self.assertEqual((heard, peer.receive_frame()[:2]), ([b"p"], (PONG, b"p")))
        conn.pong_handler(b"x")
        conn.close_handler(1000, "x")
        conn.set_ping_handler(None)
        self.assertEqual(conn.ping_handler, default)

    def test_handlers_run_in_the_reading_thread(self) -> None:
        """A handler runs inside the read, in its thread, and may write messages and control frames."""
        conn, peer = self.peer()
        threads = []

        def handler(data: bytes) -> None:
            threads.append(threading.current_thread())
            conn.send("from a handler")
            conn.write_control(PONG, data)
            conn.ping(b"mine")

        conn.set_ping_handler(handler)
        peer.send(peer.frame(PING, b"p") + peer.frame(TEXT, "m"))
        conn.receive()
        self.assertEqual(threads, [threading.current_thread()])
        self.assertEqual([peer.receive_frame()[:2] for _ in range(3)], [
            (TEXT, b"from a handler"), (PONG, b"p"), (PING, b"mine"),
        ])  # fmt: skip

    def test_handler_that_raises(self) -> None:
        """What a handler raises is raised by the read, and by every later read; nothing is written, and writes
        work."""
        for opcode in (PING, PONG):
            conn, peer = self.peer()
            error = ZeroDivisionError()

            def handler(data: bytes, error: Exception = error) -> None:
                raise error

            conn.set_ping_handler(handler)
            conn.set_pong_handler(handler)
            peer.send(peer.frame(opcode) + peer.frame(TEXT, "m"))
            with self.assertRaises(ZeroDivisionError) as caught:
                conn.receive()
            self.assertIs(caught.exception, error)
            for read in (conn.receive, conn.read_message, conn.next_reader, lambda c=conn: next(iter(c))):
                with self.assertRaises(ZeroDivisionError) as caught:
                    read()
                assert_same_end(self, caught.exception, error)
            assert_raised_apart(self, conn.receive)
            self.assertFalse(conn.closed)
            conn.send("still fine")
            self.assertEqual(peer.receive_frame()[:2], (TEXT, b"still fine"))

    def test_handler_that_raises_in_the_middle_of_a_message(self) -> None:
        """Between the fragments of a message a reader gives what came before, and then the handler's exception."""
        conn, peer = self.peer()

        def handler(data: bytes) -> None:
            raise ZeroDivisionError

        conn.set_ping_handler(handler)
        peer.send_frame(TEXT, "a", fin=False)
        reader = conn.next_reader()
        self.assertEqual(reader.read(9), b"a")
        peer.send_frame(PING)
        for read in (reader.read, conn.receive):
            self.assertRaises(ZeroDivisionError, read)

    def test_another_connections_breach_is_not_this_ones(self) -> None:
        """A handler that raises another connection's end does not close this one with it."""
        conn, peer = self.peer()
        error = ProtocolError(1007, "of another connection")

        def handler(data: bytes) -> None:
            raise error

        conn.set_ping_handler(handler)
        peer.send_frame(PING)
        self.assertRaises(ProtocolError, conn.receive)
        self.assertFalse(conn.closed)
        conn.send("fine")
        self.assertEqual(peer.receive_frame().opcode, TEXT)

    def test_interrupt_in_a_handler(self) -> None:
        """A KeyboardInterrupt in a handler is raised by that read alone: the connection can still be read."""
        conn, peer = self.peer()

        def handler(data: bytes) -> None:
            raise KeyboardInterrupt

        conn.set_ping_handler(handler)
        peer.send(peer.frame(PING) + peer.frame(TEXT, "m"))
        self.assertRaises(KeyboardInterrupt, conn.receive)
        self.assertEqual(conn.receive(), "m")

    def test_interrupt_in_a_close_handler(self) -> None:
        """A KeyboardInterrupt in the close handler is raised by the read and by later reads; the close is answered."""
        conn, peer = self.peer()

        def handler(code: int, reason: str) -> None:
            raise KeyboardInterrupt

        conn.set_close_handler(handler)
        peer.close(4000)
        self.assertRaises(KeyboardInterrupt, conn.receive)
        self.assertEqual(peer.receive_close(), (4000, ""))
        self.assert_ends(conn.receive, 4000, CloseError)


class ClientHandlers(ServerHandlers):
    """The same for a client."""

    client = True


class ServerLatency(ConnCase):
    """ping() and latency."""

    def test_latency_is_the_latest_round_trip(self) -> None:
        """latency is None before the first pong; then the seconds of the latest answered ping."""
        conn, peer = self.peer()
        conn.ping(b"1")
        self.assertEqual(peer.receive_frame()[:2], (PING, b"1"))
        self.assertIsNone(conn.latency)
        peer.send(peer.frame(PONG, b"1") + peer.frame(TEXT, "m"))
        conn.receive()
        first = conn.latency
        self.assertTrue(0 < first < 10)
        peer.send(peer.frame(PONG, b"unasked") + peer.frame(PONG, b"1") + peer.frame(TEXT, "m"))
        conn.receive()
        self.assertEqual(conn.latency, first)

    def test_latency_is_there_for_the_pong_handler(self) -> None:
        """A pong handler sees the round trip of the pong it is called for."""
        conn, peer = self.peer()
        seen = []
        conn.set_pong_handler(lambda data: seen.append(conn.latency))
        conn.ping(b"x")
        peer.send(peer.frame(PONG, peer.receive_frame().payload) + peer.frame(TEXT, "m"))
        conn.receive()
        self.assertIsNotNone(seen[0])


class ClientLatency(ServerLatency):
    """The same for a client."""

    client = True


class ServerKeepingAlive(ConnCase):
    """Pings after silence, and the end of a dead peer."""

    def test_silence_is_broken_by_a_ping(self) -> None:
        """After ping_interval of silence a ping is sent, once; a peer that answers lives on and is pinged again."""
        conn, peer = self.peer(ping_interval=0.05, ping_timeout=10)
        reading = self.start_reading(conn)
        for _ in range(3):
            self.assertEqual(peer.receive_frame()[:2], (PING, b""))
            peer.send_frame(PONG)
        self.assertTrue(await_(lambda: conn.latency is not None))
        peer.send_frame(TEXT, "m")
        self.assertEqual(reading.result(), (TEXT, "m"))

    def test_anything_from_the_peer_counts(self) -> None:
        """Any byte is a sign of life, even half a message."""
        conn, peer = self.peer(ping_interval=0.1, ping_timeout=0.2)
        reading = self.start_reading(conn)
        frame = peer.frame(TEXT, "slowly does it")
        pace = threading.Event()
        for byte in frame:
            peer.send(bytes([byte]))
            pace.wait(0.02)
        self.assertEqual(reading.result(), (TEXT, "slowly does it"))

    def test_closed_as_the_ping_is_due(self) -> None:
        """A close that comes between the look at the state and the ping of silence is what the read tells."""
        conn, peer = self.peer(ping_interval=0.05)

        def ping(wire: Wire, payload: bytes) -> None:
            peer.close(4000)
            conn.write_control(CLOSE, format_close_message(4000))
            raise CloseSentError("closed meanwhile")

        with mock.patch.object(Wire, "ping", ping):
            self.assert_ends(conn.receive, 4000, CloseError)

    def test_dead_peer(self) -> None:
        """A peer that does not answer for ping_timeout is given up: every call raises CloseError 1006 and says why."""
        conn, peer = self.peer(ping_interval=0.1, ping_timeout=0.1)
        reading = self.start(conn.receive)
        end = self.assert_ends(reading.result, 1006, CloseError)
        self.assertGreater(reading.seconds, 0.15)
        self.assertIn("no answer to a ping for 0.1 s", str(end))
        assert_same_end(self, self.assert_ends(lambda: conn.send("x"), 1006, CloseError), end)
        self.assertEqual(peer.receive_frame().opcode, PING)
        self.assertTrue(peer.at_end())
        self.assert_released(conn)

    def test_dead_peer_is_found_by_short_reads(self) -> None:
        """Reads with a timeout below the interval find a dead peer as well; so do reads up to a deadline."""
        conn, _ = self.peer(ping_interval=0.1, ping_timeout=0.1)
        with self.assertRaises(CloseError) as caught:
            while True:
                try:
                    conn.receive(timeout=0.02)
                except ReadTimeout:
                    conn.set_read_deadline(time.monotonic() + 0.02)
        self.assertEqual(caught.exception.code, 1006)

    def test_busy_handler_kills_nobody(self) -> None:
        """A handler that is busy for long does not make its peer look dead: silence is judged only after a wait."""
        conn, peer = self.peer(ping_interval=20, ping_timeout=20)
        with moved_clock() as clock:
            self.assertRaises(ReadTimeout, conn.receive, 0.01)
            clock.advance(60)
            peer.send_frame(TEXT, "sent meanwhile")
            self.assertEqual(conn.receive(timeout=5), "sent meanwhile")
            self.assertRaises(ReadTimeout, conn.receive, 0.01)
            clock.advance(60)
            self.assertRaises(ReadTimeout, conn.receive, 0.01)  # silence: a ping, not an end
            self.assertEqual(peer.receive_frame().opcode, PING)
            clock.advance(60)
            peer.send_frame(PONG)
            self.assertRaises(ReadTimeout, conn.receive, 0.05)
            peer.send_frame(TEXT, "alive")
            self.assertEqual(conn.receive(timeout=5), "alive")

    def test_silent_peer_after_a_busy_handler(self) -> None:
        """A peer that was pinged, and is still silent when the busy handler reads again, is dead."""
        conn, _ = self.peer(ping_interval=20, ping_timeout=20)
        with moved_clock() as clock:
            self.assertRaises(ReadTimeout, conn.receive, 0.01)
            clock.advance(21)
            self.assertRaises(ReadTimeout, conn.receive, 0.01)
            clock.advance(21)
            self.assert_ends(lambda: conn.receive(timeout=5), 1006, CloseError)

    def test_slow_reader_is_alive(self) -> None:
        """A peer that takes a large message slowly, and answers no ping before it has all of it, lives."""
        conn, peer = self.peer(buffer=1 << 14, ping_interval=0.2, ping_timeout=0.2)
        size = 1 << 20
        writing = self.start(conn.write_message, 2, bytes(size))
        reading = self.start_reading(conn)
        pace, began, taken = threading.Event(), time.monotonic(), 0
        while time.monotonic() - began < 1.2:
            taken += len(peer.socket.recv(4096))
            pace.wait(0.02)
        self.assertEqual((reading.done, writing.done), (False, False))
        while taken < size:
            taken += len(peer.socket.recv(1 << 16))
        peer.send_frame(TEXT, "got it")
        writing.result()
        self.assertEqual(reading.result(), (TEXT, "got it"))

    def test_off(self) -> None:
        """With ping_interval=None there is no ping and no end, and a read waits without looking at the clock."""
        conn, peer = self.peer(ping_interval=None, ping_timeout=None)
        with moved_clock() as clock:
            self.assertRaises(ReadTimeout, conn.receive, 0.01)
            clock.advance(1e5)
            self.assertRaises(ReadTimeout, conn.receive, 0.01)
        conn.send("first frame")
        self.assertEqual(peer.receive_frame().opcode, TEXT)

    def test_no_ping_after_the_close(self) -> None:
        """Once this side has closed no keepalive ping follows, and silence is still judged."""
        conn, peer = self.peer(ping_interval=0.05, ping_timeout=0.05)
        conn.write_control(CLOSE)
        self.assert_ends(conn.receive, 1006, CloseError)
        self.assertEqual(peer.receive_frame().opcode, CLOSE)
        self.assertTrue(peer.at_end())

    def test_ping_does_not_wait_for_a_stuck_writer(self) -> None:
        """With a writer stuck, the reader's ping waits its turn, and a peer that takes nothing is given up in time."""
        conn, _ = self.peer(buffer=1 << 14, ping_interval=0.5, ping_timeout=0.5)  # in which the write is seen to begin
        writing = self.start_stuck_write(conn)
        end = self.assert_ends(conn.receive, 1006, CloseError)
        assert_same_end(self, writing.error(), end)


class ClientKeepingAlive(ServerKeepingAlive):
    """The same for a client."""

    client = True


class ServerClosingReads(ConnCase):
    """close_read, for handlers that only push."""

    def _started(self, conn) -> threading.Thread:
        conn.close_read()
        return next(t for t in threading.enumerate() if t.name == f"syncws-close-read-{conn.id[:8]}")

    def test_control_frames_are_handled(self) -> None:
        """Pings are answered and handlers called by the thread, while this one writes."""
        conn, peer = self.peer()
        heard = []
        conn.set_pong_handler(heard.append)
        self._started(conn)
        peer.send_frame(PONG, b"q")
        peer.send_frame(PING, b"p")
        self.assertEqual(peer.receive_frame()[:2], (PONG, b"p"))
        self.assertEqual(heard, [b"q"])
        conn.send("pushed")
        self.assertEqual(peer.receive_frame()[:2], (TEXT, b"pushed"))
        self.assertRaises(ConcurrencyError, conn.receive)
        conn.close_now()

    def test_message_closes_with_1008(self) -> None:
        """A message of the peer closes the connection with 1008, and the thread ends."""
        conn, peer = self.peer()
        thread = self._started(conn)
        peer.send_frame(TEXT, "unwanted")
        self.assertEqual(peer.receive_close()[0], 1008)
        peer.close(1008)
        peer.socket.shutdown(1)
        thread.join(10)
        self.assertFalse(thread.is_alive())
        self.assert_ends(lambda: conn.send("x"), 1008, CloseError)
        self.assert_released(conn)

    def test_peer_that_does_not_answer_the_1008(self) -> None:
        """A peer that goes on sending messages is cut at close_timeout."""
        conn, peer = self.peer(close_timeout=0.1)
        self._started(conn)
        peer.send_frame(TEXT, "unwanted")
        self.assert_released(conn)
        self.assert_ends(lambda: conn.send("x"), 1006, CloseError)

    def test_thread_ends_with_the_connection(self) -> None:
        """The thread ends when the peer closes, vanishes, or this side closes."""
        for end in (
            lambda conn, peer: (peer.close(), peer.socket.shutdown(1)),
            lambda conn, peer: peer.socket.close(),
            lambda conn, peer: conn.close(timeout=0.05),
            lambda conn, peer: conn.close_now(),
        ):
            conn, peer = self.peer()
            thread = self._started(conn)
            end(conn, peer)
            thread.join(10)
            self.assertFalse(thread.is_alive())
            self.assertTrue(conn.closed)

    def test_read_deadline_plays_no_part(self) -> None:
        """A read deadline, set before or by a handler, does not end the thread."""
        conn, peer = self.peer()
        conn.set_read_deadline(time.monotonic() - 1)
        conn.set_pong_handler(lambda data: conn.set_read_deadline(time.monotonic() - 1))
        self._started(conn)
        peer.send_frame(PONG)
        peer.send_frame(PING, b"p")
        self.assertEqual(peer.receive_frame()[:2], (PONG, b"p"))
        conn.close_now()

    def test_handler_that_raises(self) -> None:
        """A handler that raises is logged with its traceback, and closes the connection with 1011."""
        conn, peer = self.peer(close_timeout=0.1)

        def handler(data: bytes) -> None:
            raise ZeroDivisionError

        conn.set_pong_handler(handler)
        with self.assertLogs("syncws.conn", "ERROR") as logs:
            thread = self._started(conn)
            peer.send_frame(PONG)
            self.assertEqual(peer.receive_close()[0], 1011)
            thread.join(10)
        self.assertIn("ZeroDivisionError", logs.output[0])

    def test_interrupted_close_read(self) -> None:
        """An interrupt while close_read starts its thread: it has the turn if it has begun, else no thread has."""
        start = threading.Thread.start

        def begun(thread: threading.Thread) -> None:
            start(thread)
            raise KeyboardInterrupt

        for begins, interrupted in ((False, mock.Mock(side_effect=KeyboardInterrupt)), (True, begun)):
            conn, peer = self.peer()
            with mock.patch.object(threading.Thread, "start", interrupted), self.assertRaises(KeyboardInterrupt):
                conn.close_read()
            if begins and conn._inbound.turn.locked():  # else the interrupt was faster, and the thread has ended
                peer.send_frame(PING, b"p")
                self.assertEqual(peer.receive_frame()[:2], (PONG, b"p"))
            else:
                peer.send_frame(TEXT, "m")
                self.assertEqual(conn.receive(), "m")
            conn.close_now()

    def test_an_interrupt_as_the_thread_begins(self) -> None:
        """Where KeyboardInterrupt comes before the thread has the turn it never gets it: this thread reads on."""
        conn, peer = self.peer()
        made: list[threading.Thread] = []

        def start(thread: threading.Thread) -> None:
            made.append(thread)
            raise KeyboardInterrupt

        with mock.patch.object(threading.Thread, "start", start), self.assertRaises(KeyboardInterrupt):
            conn.close_read()
        made[0].start()
        made[0].join(PATIENCE)
        self.assertFalse(made[0].is_alive())
        peer.send_frame(TEXT, "m")
        self.assertEqual(conn.receive(), "m")

    def test_no_thread_to_be_had(self) -> None:
        """Where no thread can be started close_read raises, and the connection can be read as before."""
        conn, peer = self.peer()
        with (
            mock.patch("syncws._conn.conn.threading.Thread.start", side_effect=RuntimeError("no thread")),
            self.assertRaises(RuntimeError),
        ):
            conn.close_read()
        peer.send_frame(TEXT, "m")
        self.assertEqual(self.start(conn.receive).result(), "m")


class ClientClosingReads(ServerClosingReads):
    """The same for a client."""

    client = True
