"""testing.py: the tools for tests of programs, which the tests of this project use as well."""

from __future__ import annotations

import errno
import os
import socket
import sys
import threading
import time
import unittest
from unittest import mock
from wsgiref.validate import validator

import syncws
from syncws import testing
from syncws._http.response import Response
from syncws._net import drain as drain_module
from syncws._net.transport import Transport
from syncws._server.server import Server
from syncws._server.upgrader import Upgrader
from syncws.errors import BadHandshakeError, CloseError, MessageType
from syncws.testing import (
    Frame,
    LeakChecks,
    Peer,
    ScriptedSocket,
    await_,
    connect,
    pair,
    peer,
    running,
    socketpair,
)
from syncws.wsgi import websocket

BINARY = MessageType.BINARY


class PairTests(LeakChecks):
    """pair: two connections that talk to each other."""

    def test_messages_both_ways(self):
        """What one end sends the other receives, in both roles, compressed or not."""
        for compression in (False, True):
            with pair(compression=compression) as (server, client):
                server.send("to the client" * 20)
                client.send(b"to the server" * 20)
                self.assertEqual(client.receive(timeout=10), "to the client" * 20)
                self.assertEqual(server.receive(timeout=10), b"to the server" * 20)
                self.assertEqual((server.compression, client.compression), (compression, compression))

    def test_cut_at_the_end(self):
        """After the block both are over, also after an exception."""
        with self.assertRaises(ZeroDivisionError), pair() as conns:
            raise ZeroDivisionError
        for conn in conns:
            self.assertTrue(conn.closed)
            self.assertTrue(conn.transport.closed)

    def test_options(self):
        """Options are for both sides, except those that are given for one side."""
        with pair(read_limit=5, client={"read_limit": 100}) as (server, client):
            server.send("longer than five")
            self.assertEqual(client.receive(timeout=10), "longer than five")
            client.send("longer than five")
            with self.assertRaises(Exception) as caught:
                server.receive(timeout=10)
            self.assertIn("limit of 5", str(caught.exception))

    def test_wrong_options(self):
        """A wrong option is an error at once, and leaves no socket behind."""
        for options in ({"nonsense": 1}, {"server": {"read_limit": -1}}, {"client": {"nonsense": 1}}):
            with self.assertRaises((TypeError, ValueError)), pair(**options):
                self.fail("made a pair")
        with self.assertRaises(TypeError), peer(nonsense=1):
            self.fail("made a peer")

    def test_small_buffers(self):
        """With a small buffer a peer that does not read is soon stuck."""
        with pair(buffer=4096) as (server, _), self.assertRaises(TimeoutError):
            server.write_message(BINARY, bytes(1 << 22), timeout=0.02)


class SocketpairTests(LeakChecks):
    """socketpair: two ends of one TCP connection."""

    def test_connected(self):
        """The two sockets are connected to each other, over TCP."""
        near, far = socketpair()
        with near, far:
            self.assertEqual(near.family, socket.AF_INET)
            self.assertEqual(near.getsockname(), far.getpeername())
            near.sendall(b"x")
            self.assertEqual(far.recv(9), b"x")

    def test_buffer(self):
        """The buffers of the sockets are about as large as asked for."""
        near, far = socketpair(4096)
        with near, far:
            for sock in (near, far):
                for option in (socket.SO_SNDBUF, socket.SO_RCVBUF):
                    self.assertLess(sock.getsockopt(socket.SOL_SOCKET, option), 4 * 4096)

    def test_nothing_left_of_a_failure(self):
        """If the connection cannot be made, no socket is left behind."""
        with mock.patch.object(socket.socket, "connect", side_effect=OSError), self.assertRaises(OSError):
            socketpair()


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


class ScriptedSocketTests(LeakChecks):
    """ScriptedSocket: a socket that does what a script says."""

    def test_incoming(self):
        """recv gives what the script says, in pieces if asked for less, and then the end of the stream."""
        sock = ScriptedSocket(incoming=[b"abcdef", ConnectionResetError(), b"x"])
        self.assertEqual((sock.recv(4), sock.recv(4)), (b"abcd", b"ef"))
        self.assertRaises(ConnectionResetError, sock.recv, 4)
        room = bytearray(3)
        self.assertEqual(sock.recv_into(memoryview(room)), 1)
        self.assertEqual(room, b"x\0\0")
        self.assertEqual(sock.recv(4), b"")
        self.assertEqual(sock.calls, ["recv", "recv", "recv", "recv_into", "recv"])
        self.assertEqual(sock.count("recv", "recv_into"), 5)

    def test_room(self):
        """send takes what the script says, and then everything."""
        sock = ScriptedSocket(room=[2, BlockingIOError(errno.EAGAIN, ""), 0])
        self.assertEqual(sock.send(b"abc"), 2)
        self.assertRaises(BlockingIOError, sock.send, b"c")
        self.assertEqual(sock.sendmsg([b"c", b"d"], (), 0), 0)
        self.assertEqual(sock.sendmsg([b"c", b"d"], (), 0), 2)
        self.assertEqual(sock.send(memoryview(b"ef")), 2)
        self.assertEqual(sock.sent, b"abcdef")
        self.assertEqual(sock.count("send"), 3)
        self.assertEqual(sock.count("sendmsg"), 2)

    def test_ready_at_once(self):
        """select finds the socket ready, for reading and writing; after close it has no descriptor."""
        sock = ScriptedSocket(room=[1, BlockingIOError(errno.EAGAIN, "")], incoming=[BlockingIOError(), b"x"])
        transport = Transport(sock, kernel_waits=False)
        transport.send(b"waits", deadline=time.monotonic() + 10)
        self.assertEqual(sock.sent, b"waits")
        self.assertEqual(transport.receive(10, 10.0), b"x")
        self.assertGreaterEqual(sock.fileno(), 0)
        transport.shutdown()
        transport.close()
        self.assertEqual(sock.fileno(), -1)
        self.assertEqual(sock.calls[-2:], ["shutdown", "close"])

    def test_costs_no_descriptor(self):
        """Until select needs it, the socket has no descriptor."""
        before = testing._open_fds()
        sock = ScriptedSocket(incoming=[b"x"])
        transport = Transport(sock)
        transport.receive(1, 1.0)
        transport.send(b"x")
        self.assertEqual(testing._open_fds(), before)


class RunningTests(LeakChecks):
    """running: a server for the length of a block."""

    def test_serves_inside_the_block(self):
        """Inside the block the server answers; after it nothing listens any more."""
        server = Server(lambda request: Response("hello"), "127.0.0.1", 0)
        with running(server) as same:
            self.assertIs(same, server)
            with socket.create_connection(server.address) as client:
                client.settimeout(10)
                client.sendall(b"GET / HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n")
                self.assertTrue(client.recv(100).startswith(b"HTTP/1.1 200 "))
        with self.assertRaises(OSError):
            socket.create_connection(server.address).close()

    def test_handler_that_does_not_end(self):
        """A handler that is still running after the block fails it, unless the block has raised an exception."""
        for error in (None, ZeroDivisionError):
            inside, go_on = threading.Event(), threading.Event()
            self.addCleanup(go_on.set)

            def handler(request, inside=inside, go_on=go_on):
                inside.set()
                go_on.wait(10)
                return Response("late")

            with self.assertRaises(error or AssertionError):
                with running(Server(handler, "127.0.0.1", 0), timeout=0.05) as server:
                    client = socket.create_connection(server.address)
                    self.addCleanup(client.close)
                    client.sendall(b"GET / HTTP/1.1\r\nHost: a\r\n\r\n")
                    self.assertTrue(inside.wait(10))
                    if error:
                        raise error


def echo(environ, start_response):
    """An application whose every path is a WebSocket that echoes."""
    return websocket(lambda conn: [conn.send(message) for message in conn] and None)(environ, start_response)


class ConnectTests(LeakChecks):
    """connect: a connection to a WebSocket view of a WSGI application."""

    def test_messages(self):
        """Messages go both ways, however the view serves its WebSocket; wsgiref's validator finds no fault."""
        upgrader = Upgrader()

        def inside(environ, start_response):
            conn = upgrader.upgrade(environ)
            for message in conn:
                conn.send(message)
            return conn.wsgi_response(environ, start_response)

        in_view = websocket(lambda conn: conn.send(conn.receive()), detach=False)
        for app in (echo, inside, in_view):
            with connect(validator(app), "/echo") as conn:
                conn.send("hello")
                self.assertEqual(conn.receive(timeout=10), "hello")

    def test_what_is_asked(self):
        """Path, query, headers and subprotocols arrive; the client has an address, as over TCP."""
        seen = []

        def app(environ, start_response):
            seen.append(environ)
            view = websocket(lambda conn: None, upgrader=Upgrader(subprotocols=["b"], enable_compression=True))
            return view(environ, start_response)

        headers = {"Cookie": "a=1", "Origin": "http://localhost"}
        with connect(app, "/%C3%A9/x?q=1", headers=headers, subprotocols=["a", "b"], enable_compression=True) as conn:
            self.assertEqual((conn.subprotocol, conn.compression), ("b", True))
        (environ,) = seen
        self.assertEqual((environ["PATH_INFO"], environ["QUERY_STRING"]), ("/\xc3\xa9/x", "q=1"))
        self.assertEqual((environ["HTTP_COOKIE"], environ["HTTP_HOST"]), ("a=1", "localhost"))
        self.assertEqual((environ["REMOTE_ADDR"], environ["SERVER_PORT"]), ("127.0.0.1", "80"))

    def test_a_refusal(self):
        """A request that is refused, by the application or the Upgrader, raises as a dial does."""

        def forbidden(environ, start_response):
            start_response("403 Forbidden", [("Content-Type", "text/plain")])
            return [b"log in"]

        with self.assertRaisesRegex(BadHandshakeError, "403 Forbidden: log in"), connect(forbidden, "/"):
            self.fail("connected")
        with self.assertLogs("syncws.server"), self.assertRaises(BadHandshakeError) as caught:
            with connect(echo, "/", headers={"Origin": "https://evil.example"}):
                self.fail("connected")
        self.assertEqual(caught.exception.response.status, 403)

    def test_a_refusal_without_an_end(self):
        """A client that has read enough of a refusal leaves, which is nothing to log."""

        def app(environ, start_response):
            start_response("403 Forbidden", [("Content-Type", "text/plain")])
            return iter(lambda: b"no" * 5000, b"")

        with self.assertNoLogs("syncws"), self.assertRaises(BadHandshakeError), connect(app):
            self.fail("connected")

    def test_an_application_that_raises(self):
        """An application that raises is a refusal with 500, and its traceback is in the log."""

        def app(environ, start_response):
            raise ZeroDivisionError

        with self.assertLogs("syncws.server") as logs, self.assertRaises(BadHandshakeError) as caught:
            with connect(app, "/x"):
                self.fail("connected")
        self.assertEqual(caught.exception.status, 500)
        self.assertIn("connect /x: GET /x: the application raised", logs.output[0])

    def test_the_end(self):
        """Leaving the block closes with 1000, with 1011 after an exception; after it the handler has ended."""
        ends = []

        def handler(conn):
            try:
                conn.receive()
            except CloseError as exc:
                ends.append(exc.code)

        with connect(websocket(handler), "/"):
            pass
        self.assertEqual(ends, [1000])
        with self.assertRaises(ZeroDivisionError), connect(websocket(handler), "/"):
            raise ZeroDivisionError
        self.assertEqual(ends, [1000, 1011])

    def test_a_handler_that_closes(self):
        """The end that a handler gives is the end that the client sees."""
        with connect(websocket(lambda conn: conn.close(4000, "done")), "/") as conn:
            with self.assertRaises(CloseError) as caught:
                conn.receive(timeout=10)
        self.assertEqual((caught.exception.code, caught.exception.reason), (4000, "done"))

    def test_a_handler_that_does_not_end(self):
        """A handler that outlives its connection fails the test, once its block is over."""
        go_on = threading.Event()

        class Thread(threading.Thread):
            def join(self, timeout=None):
                super().join(0.05 if self.name == "syncws-testing" else timeout)

        with mock.patch.object(testing.threading, "Thread", Thread):
            with self.assertRaisesRegex(AssertionError, "the handler of /stuck is still running"):
                with connect(websocket(lambda conn: go_on.wait(10) and None), "/stuck", close_timeout=0.05):
                    pass
            with self.assertRaises(ZeroDivisionError), connect(
                websocket(lambda conn: go_on.wait(10) and None), "/stuck", close_timeout=0.05
            ):  # fmt: skip
                raise ZeroDivisionError
        go_on.set()

    def test_wrong_arguments(self):
        """An invalid argument is an error at once, and nothing is left."""
        for path, options, kind in [
            ("echo", {}, ValueError),
            ("/echo", {"nonsense": 1}, TypeError),
            ("/echo", {"net_dial": print}, TypeError),
            ("/echo", {"subprotocols": ["a b"]}, ValueError),
            ("/echo", {"headers": {"Upgrade": "x"}}, ValueError),
            ("/echo\r\nX: y", {}, ValueError),
        ]:
            with self.subTest(path=path, options=options), self.assertRaises(kind), connect(echo, path, **options):
                self.fail("connected")
        with mock.patch.object(threading.Thread, "start", side_effect=RuntimeError), self.assertRaises(RuntimeError):
            with connect(echo, "/"):
                self.fail("connected")

    def test_many_at_once(self):
        """Several connections to one application are independent, like those of several clients."""
        manager = syncws.Manager(on_message=lambda member, message: manager.broadcast(message))
        app = websocket(manager.run)
        with connect(app) as first, connect(app) as second:
            self.assertTrue(await_(lambda: len(manager) == 2))
            first.send("to all")
            self.assertEqual([conn.receive(timeout=10) for conn in (first, second)], ["to all"] * 2)


class LeakChecksTests(unittest.TestCase):
    """LeakChecks: a test that leaves something behind fails."""

    def outcome(self, body, **attributes):
        """The result of a test with that body."""
        case = type("Case", (LeakChecks,), {"test": body, "grace": 0.05, **attributes})("test")
        result = unittest.TestResult()
        case.run(result)
        return result

    def check_fails(self, body, told):
        result = self.outcome(body)
        self.assertEqual((len(result.failures), len(result.errors)), (1, 0), result.errors)
        self.assertIn(told, result.failures[0][1])

    def test_nothing_left(self):
        """A test that ends what it started, in its cleanups at the latest, passes."""

        def body(case):
            near, far = socket.socketpair()
            case.addCleanup(near.close)
            far.close()
            thread = threading.Thread(target=lambda: None)
            thread.start()

        self.assertTrue(self.outcome(body).wasSuccessful())

    def test_thread_left(self):
        """A thread that is left fails the test."""
        go_on = threading.Event()
        self.addCleanup(go_on.set)
        self.check_fails(lambda case: threading.Thread(target=go_on.wait, args=(10,)).start(), "threads left behind")

    def test_thread_that_ends_by_itself(self):
        """A thread that ends within the grace does not fail it; nor does the drain thread, whose rest is shortened."""
        go_on = threading.Event()

        def body(case):
            threading.Thread(target=go_on.wait, args=(10,)).start()
            threading.Timer(0.02, go_on.set).start()
            drain_module.drain.call_at(time.monotonic(), lambda: None)

        idle = drain_module.IDLE
        self.assertTrue(self.outcome(body, grace=10.0).wasSuccessful())
        self.assertEqual(drain_module.IDLE, idle)

    @unittest.skipUnless(os.path.isdir("/proc/self/fd"), "the system does not tell")
    def test_descriptor_left(self):
        """A descriptor that is left fails the test."""
        left = []
        self.addCleanup(lambda: [sock.close() for sock in left])
        self.check_fails(lambda case: left.extend(socket.socketpair()), "descriptors left behind")

    def test_exception_in_a_thread(self):
        """An exception that ends a thread fails the test, as nobody else would see it."""

        def body(case):
            thread = threading.Thread(target=lambda: 1 / 0)
            thread.start()
            thread.join()

        self.check_fails(body, "ZeroDivisionError")

    def test_exception_in_a_destructor(self):
        """An exception in a destructor fails the test, and so does a ResourceWarning that is an error."""

        class Careless:
            def __init__(self):
                self.itself = self  # found by the collector only, when the checks are made

            def __del__(self):
                raise ResourceWarning("left open")

        self.check_fails(lambda case: Careless() and None, "left open")

    def test_hooks_are_put_back(self):
        """Whatever the outcome, the hooks from before the test are back."""
        hooks = sys.unraisablehook, threading.excepthook
        for body in (lambda case: None, lambda case: case.fail("on purpose")):
            self.outcome(body)
            self.assertEqual((sys.unraisablehook, threading.excepthook), hooks)

    def test_failure_is_told_once(self):
        """A test that fails and leaves nothing is one failure."""
        result = self.outcome(lambda case: case.fail("on purpose"))
        self.assertEqual(len(result.failures), 1)


class AwaitTests(unittest.TestCase):
    """await_: for what has no event to wait on."""

    def test_waits_for_the_condition(self):
        """await_ returns True as soon as the condition holds."""
        answers = iter([False, False, True])
        self.assertTrue(await_(lambda: next(answers)))

    def test_gives_up(self):
        """await_ returns False after so many seconds, and has asked at least once."""
        asked = []
        before = time.monotonic()
        self.assertFalse(await_(lambda: asked.append(1), 0.02))
        self.assertGreaterEqual(time.monotonic() - before, 0.02)
        self.assertTrue(asked)
        self.assertTrue(await_(lambda: True, 0))


if __name__ == "__main__":
    unittest.main()
