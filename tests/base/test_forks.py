"""forks.py, and the kind it is for: what has threads or connections, in the child of a fork."""

from __future__ import annotations

import contextlib
import functools
import gc
import os
import select
import signal
import socket
import sys
import threading
import time
import unittest
import warnings
from collections.abc import Callable, Iterator
from typing import Any

import syncws
from syncws._base import forks
from syncws._http.request import Request
from syncws._server.server import Server
from syncws.testing import LeakChecks, await_, pair, peer, running
from tests.handshakes import asking
from tests.server.cases import Client
from tests.tasks import PATIENCE, Task


def in_child(call: Callable[[], object], *, stay: bool = False) -> int:
    """Fork, make a call in the child, and have it end: 0, or 1 if the call raised, 2 if it hung. Gives its number."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", DeprecationWarning)  # of a fork beside threads, which is what this is about
        pid = os.fork()
    if pid == 0:
        status = 1
        try:
            signal.signal(signal.SIGALRM, lambda *_: os._exit(2))
            signal.alarm(10)
            call()
            status = 0
            if stay:
                signal.alarm(0)
                time.sleep(PATIENCE)
        except BaseException as error:
            print("in the child:", repr(error), file=sys.stderr)
        finally:
            os._exit(status)
    return pid


class Child(contextlib.AbstractContextManager["Child"]):
    """A child that makes a call, and then stays until the end of the block."""

    def __init__(self, call: Callable[[], object]) -> None:
        self._reader, writer = os.pipe()
        self.pid = in_child(lambda: (call(), os.write(writer, b"\0")), stay=True)
        os.close(writer)
        if not select.select([self._reader], [], [], PATIENCE)[0]:
            raise AssertionError("the call hangs in the child")
        if os.read(self._reader, 1) != b"\0":
            raise AssertionError(f"the call failed in the child: {os.waitpid(self.pid, 0)}")

    def __exit__(self, *exc: object) -> None:
        os.kill(self.pid, signal.SIGKILL)
        os.waitpid(self.pid, 0)
        os.close(self._reader)


@unittest.skipUnless(hasattr(os, "fork"), "this system has no fork")
class ForkCase(LeakChecks):
    def check(self, call: Callable[[], object]) -> None:
        """A call neither raises nor hangs in a child."""
        pid = in_child(call)
        self.assertEqual(os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]), 0)


class ForkTests(ForkCase):
    def test_this_process(self) -> None:
        """A child is another process; one process has one object that says so."""
        here = forks.this_process()
        self.assertIs(forks.this_process(), here)
        self.assertEqual(here, os.getpid())
        self.check(lambda: self.assertEqual(forks.this_process(), os.getpid()))
        self.assertIs(forks.this_process(), here)

    def test_what_begins_anew(self) -> None:
        """Whatever asked for it begins anew in a child, and not in the parent; it is not kept for that."""

        class Member:
            begun = 0

            def begin_anew(self) -> None:
                self.begun += 1

        member = Member()
        forks.begin_anew_in_child(member)
        self.check(functools.partial(lambda one: self.assertEqual(one.begun, 1), member))
        self.assertEqual(member.begun, 0)
        before = len(forks._members)
        del member
        gc.collect()
        self.assertEqual(len(forks._members), before - 1)


def echo(request: Request) -> None:
    with syncws.Upgrader().upgrade(request) as conn:
        for message in conn:
            conn.send(message)


class ServerForkTests(ForkCase):
    """A server, and the child of the process that serves."""

    def check_serves(self, client: Client) -> None:
        """The parent's connection is as it was."""
        client.peer.send_frame(1, "hello")
        self.assertEqual(client.peer.receive_frame().payload, b"hello")

    def test_leaving_the_block_in_a_child(self) -> None:
        """Server.start(), os.fork(), and leaving `with Server` in the child hung the child. Now it leaves, tells no
        peer of the parent's, and the parent goes on serving."""
        server = Server(echo, port=0)
        with running(server), Client(server.address) as client:
            client.socket.sendall(asking("/"))
            client.upgraded()

            def leave() -> None:
                with server:
                    pass
                self.assertEqual(server.shutdown(), 0)

            with Child(leave):
                self.check_serves(client)
                with Client(server.address) as other:
                    other.socket.sendall(asking("/"))
                    other.upgraded()

    def test_a_lock_that_was_held(self) -> None:
        """The child leaves although a thread of the parent held the server's lock when it forked."""
        server = Server(echo, port=0)
        with running(server):
            held, done = threading.Event(), threading.Event()

            def hold() -> None:
                with server._roster.changed:
                    held.set()
                    done.wait(PATIENCE)

            task = Task(hold)
            self.assertTrue(held.wait(PATIENCE))
            try:
                with Child(server.shutdown):
                    pass
            finally:
                done.set()
                task.result()

    def test_a_child_that_outlives_the_server(self) -> None:
        """A child that outlived shutdown() kept the port: clients connected to a server that was gone. Now they are
        refused, and another server can have the port."""
        for path in (None, self.enterContext(short_path())):
            where: dict[str, Any] = {"port": 0} if path is None else {"unix_path": path}
            server = Server(echo, **where)
            with contextlib.ExitStack() as stack:
                with running(server):
                    stack.enter_context(Child(lambda: None))
                with socket.socket(socket.AF_INET if path is None else socket.AF_UNIX) as late:
                    with self.assertRaises(OSError):
                        late.connect(server.address[:2] if path is None else path)
                if path is None:
                    where = {"port": server.port}
                with running(Server(echo, **where)) as another, Client(another.address) as client:
                    client.socket.sendall(asking("/"))
                    client.upgraded()

    def test_a_listener_that_is_shared(self) -> None:
        """A listener that was given to the server is closed and not shut down: another process may accept on it."""
        listener = socket.create_server(("127.0.0.1", 0))
        address = listener.getsockname()
        again = listener.dup()
        with again:
            with running(Server(echo, listener=listener)):
                pass
            with socket.create_connection(address, PATIENCE):
                again.accept()[0].close()

    def test_serving_in_a_child(self) -> None:
        """A server that serves cannot serve in a child as well, and says so; one that was only bound can."""
        server = Server(echo, port=0)
        with running(server):
            for serve in (server.start, server.serve_forever):

                def refused(serve: Callable[[], None] = serve) -> None:
                    with self.assertRaisesRegex(syncws.ConcurrencyError, f"serves in process {os.getppid()}"):
                        serve()

                self.check(refused)
        with Server(echo, port=0) as bound:
            with Child(bound.start), Client(bound.address) as client:
                client.socket.sendall(asking("/"))
                client.upgraded()

    def test_the_file_of_a_unix_socket(self) -> None:
        """A child that leaves does not remove the parent's socket file."""
        path = self.enterContext(short_path())
        server = Server(echo, unix_path=path)
        self.check(server.shutdown)
        with running(server), Client(path) as client:
            client.socket.sendall(asking("/"))
            client.upgraded()

    def test_a_handler_that_forks(self) -> None:
        """A child that a handler has forked leaves the handler in any way: no close frame, no second answer."""
        ways = {"return": lambda: None, "raise": lambda: 1 / 0, "exit": lambda: sys.exit(3)}
        pids: list[int] = []

        def handler(request: Request) -> Any:
            if request.path == "/plain":
                if (pid := fork()) == 0:
                    return syncws.Response("child\n")
                pids.append(pid)
                return syncws.Response("parent\n")
            with syncws.Upgrader().upgrade(request) as conn:
                for message in conn:
                    if (pid := fork()) == 0:
                        ways[str(message)]()
                        return None
                    pids.append(pid)
                    conn.send(message)
            return None

        server = Server(handler, port=0)
        with running(server), Client(server.address) as client:
            client.socket.sendall(asking("/"))
            client.upgraded()
            for way in ways:
                client.peer.send_frame(1, way)
                self.assertEqual(client.peer.receive_frame().payload, way.encode())
            self.assertTrue(await_(lambda: len(pids) == len(ways)))
            for pid in pids:
                os.waitpid(pid, 0)
            client.peer.send_frame(9, b"still there?")
            self.assertEqual(client.peer.receive_frame().payload, b"still there?")  # and no close before it
            with Client(server.address) as plain:
                self.assertEqual(plain.request(b"GET /plain HTTP/1.1\r\nHost: a\r\n\r\n")[2], b"parent\n")
                os.waitpid(pids[-1], 0)
                self.assertEqual(plain.request(b"GET /plain HTTP/1.1\r\nHost: a\r\n\r\n")[2], b"parent\n")
                os.waitpid(pids[-1], 0)

    def test_an_application_that_forks(self) -> None:
        """A child that a hosted WSGI application has forked answers nothing when it returns: the parent does."""
        pids: list[int] = []

        def app(environ: Any, start_response: Any) -> Any:
            pid = fork()
            start_response("200 OK", [])
            if pid:
                pids.append(pid)
                return [b"parent\n"]
            return [b"child\n"]

        server = Server(port=0, wsgi_app=app)
        with running(server), Client(server.address) as client:
            for _ in range(2):
                self.assertEqual(client.request(b"GET / HTTP/1.1\r\nHost: a\r\n\r\n")[2], b"parent\n")
                self.assertEqual(os.waitstatus_to_exitcode(os.waitpid(pids.pop(), 0)[1]), 0)


class ConnForkTests(ForkCase):
    """A connection of the parent, in a child."""

    def test_closing_in_a_child(self) -> None:
        """However a child closes a connection of the parent's, the peer hears nothing, and the connection goes on."""
        for client in (False, True):
            with peer(client=client) as (conn, other):
                ways: list[Callable[[], object]] = [
                    conn.close,
                    conn.close_now,
                    lambda: conn.close(1001, "bye", timeout=0),
                    lambda: conn.__exit__(None, None, None),
                    lambda: conn.__exit__(ValueError, ValueError(), None),
                    lambda: conn._end_without_peer(1000, ""),
                    lambda: conn._start_close(1000, ""),
                    lambda: conn._announce_close(1000, ""),
                    conn._doom,
                ]
                for way in ways:
                    self.check(way)
                conn.send("hello")
                self.assertEqual(other.receive_frame().payload, b"hello")  # and nothing before it
                other.send_frame(1, "hello")
                self.assertEqual(conn.receive(PATIENCE), "hello")

    def test_while_the_parent_reads_and_writes(self) -> None:
        """The child hangs on no lock that a thread of the parent held in a read, a write or a close."""
        with peer(close_timeout=0.05) as (conn, other):
            task = Task(conn.receive)
            with contextlib.ExitStack() as stack:
                for lock in (conn._life.lock, conn._wire.frame_lock, conn._transport._ending):
                    stack.enter_context(lock)
                self.check(conn.close)
                self.check(conn.close_now)
            conn.close_now()
            task.ended()
            other.socket.close()

    def test_a_reader_thread(self) -> None:
        """The thread of close_read does not exist in the child, which closes all the same."""
        with peer() as (conn, other):
            conn.close_read()
            self.check(conn.close)
            other.send_frame(9, b"x")
            self.assertEqual(other.receive_frame().payload, b"x")

    def test_a_manager(self) -> None:
        """In a child a Manager is empty: its members are the parent's, and hear nothing of what the child does."""
        manager = syncws.Manager()
        with pair() as (server, client):
            manager.register(server, "ann")
            with manager._registry.lock:
                self.check(
                    lambda: self.assertEqual((len(manager), manager.close_all(), manager.broadcast("x")), (0, 0, 0))
                )
            self.assertEqual(manager.send("ann", "hello"), True)
            self.assertEqual(client.receive(PATIENCE), "hello")
            manager.unregister("ann")

    def test_a_member_in_run(self) -> None:
        """A child that on_message has forked leaves Manager.run: no on_close, no close frame."""
        closed: list[object] = []

        def on_message(member: syncws.Member, message: str | bytes) -> None:
            pid = fork()
            if pid == 0:
                try:
                    os.write(writer, b"c" if closed else b"-")
                finally:
                    raise SystemExit
            os.waitpid(pid, 0)
            member.send("parent")

        reader, writer = os.pipe()
        self.addCleanup(os.close, reader)
        self.addCleanup(os.close, writer)
        manager = syncws.Manager(on_message=on_message, on_close=lambda member, error: os.write(writer, b"C"))
        with pair() as (server, client):
            task = Task(manager.run, server, "ann")
            client.send("fork")
            self.assertEqual(client.receive(PATIENCE), "parent")
            self.assertEqual(os.read(reader, 10), b"-")
            client.close()
            task.result()
            self.assertEqual(os.read(reader, 10), b"C")

    def test_a_reconnector(self) -> None:
        """In a child stop() neither hangs nor closes the parent's connection."""
        server = Server(echo, port=0)
        with running(server):
            loop = syncws.reconnect(f"ws://127.0.0.1:{server.port}/")
            conn = next(iter(loop))
            with loop._lock:
                self.check(loop.stop)
            conn.send("hello")
            self.assertEqual(conn.receive(PATIENCE), "hello")
            conn.close()


def fork() -> int:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", DeprecationWarning)
        return os.fork()


@contextlib.contextmanager
def short_path() -> Iterator[str]:
    """A path for a Unix socket: a temporary folder's may be too long."""
    import tempfile

    with tempfile.TemporaryDirectory(dir="/tmp") as folder:
        yield os.path.join(folder, "socket")


if __name__ == "__main__":
    unittest.main()
