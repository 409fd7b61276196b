"""acceptor.py: what becomes of a connection before it has a thread, and what ends the accept loop."""

from __future__ import annotations

import errno
import logging
import os
import select
import socket
import threading
import unittest
from typing import Any
from unittest import mock

from syncws._http.request import Request
from syncws._http.response import Response
from syncws._net.listener import ACCEPT_ERRORS
from syncws._server import acceptor as acceptor_module
from syncws._server.server import Server
from syncws.testing import await_
from tests.server.cases import UPGRADE, WAIT, ServerTestCase, echo, hello


class ScriptedListener:
    """A listening socket whose accept() first raises what the script says, in order; then it is a real one."""

    def __init__(self, *errors: BaseException) -> None:
        self.real = socket.create_server(("127.0.0.1", 0))
        self.errors = list(errors)
        self.scripted = threading.Event()  # the script is through

    def accept(self) -> tuple[socket.socket, Any]:
        if self.errors:
            error = self.errors.pop(0)
            if not self.errors:
                self.scripted.set()
            raise error
        return self.real.accept()

    def __getattr__(self, name: str) -> Any:
        return getattr(self.real, name)


class AcceptTests(ServerTestCase):
    def test_the_table(self) -> None:
        """Every errno of the accept table is met as it says, and the next connection is served."""
        errnos = [number for number, verdict in ACCEPT_ERRORS.items() if verdict != "closed"]
        listener: Any = ScriptedListener(*(OSError(number, os.strerror(number)) for number in errnos))
        with (
            mock.patch.object(acceptor_module, "_ACCEPT_PAUSE", 0.001),
            self.assertLogs("syncws.server", logging.WARNING) as logs,
            self.serving(hello, listener=listener) as server,
            self.client(server) as client,
        ):
            self.assertEqual(client.request()[2], b"hello /")
        self.assertEqual(len(logs.records), 1)  # a shortage is said once, not ten times a second

    def test_what_is_out_of_resources(self) -> None:
        """What accept(2) lists as a shortage pauses the loop; a connection that is gone does not."""
        for number in (errno.EMFILE, errno.ENFILE, errno.ENOBUFS, errno.ENOMEM):
            self.assertEqual(ACCEPT_ERRORS[number], "pause")
        for number in (errno.ECONNABORTED, errno.EPROTO, errno.EAGAIN, errno.EINTR):
            self.assertEqual(ACCEPT_ERRORS[number], "next")

    def test_shutdown_during_a_pause(self) -> None:
        """Out of descriptors, the loop waits in a way that shutdown cuts short."""
        listener: Any = ScriptedListener(OSError(errno.EMFILE, "too many"))
        with (
            mock.patch.object(acceptor_module, "_ACCEPT_PAUSE", 1000 * WAIT),
            self.assertLogs("syncws.server", logging.WARNING),
            self.serving(hello, listener=listener) as server,
            self.client(server) as client,
        ):
            self.wait(listener.scripted)
            self.assertEqual(self.in_thread(server.shutdown)(), 0)
            self.assertTrue(client.at_end())  # it was in the listener's queue all the while

    def test_a_wake_up_is_taken(self) -> None:
        """What wakes the loop is taken, or the loop would not wait any more."""
        with self.serving(hello) as server:
            waker = server._waker
            waker.wake()
            self.assertTrue(await_(lambda: select.select([waker], [], [], 0)[0] == []))

    def test_another_error_ends_the_loop(self) -> None:
        """An errno that is not in the table is a defect: serve_forever raises it, and no longer listens."""
        listener: Any = ScriptedListener(OSError(errno.EIO, "broken"))
        with Server(hello, listener=listener) as server, self.client(server):
            with self.assertRaises(OSError) as caught:
                server.serve_forever()
            self.assertEqual(caught.exception.errno, errno.EIO)
            self.assertEqual(listener.fileno(), -1)

    def test_a_listener_that_somebody_closed(self) -> None:
        """EBADF and EINVAL mean the end only while shutting down; else they are raised, or logged by start's thread."""
        listener: Any = ScriptedListener(OSError(errno.EINVAL, "not listening"))
        with (
            self.assertLogs("syncws.server", logging.ERROR) as logs,
            Server(hello, listener=listener) as server,
            self.client(server),
        ):
            server.start()
            self.wait(listener.scripted)
        self.assertIsNotNone(logs.records[0].exc_info)

    def test_closed_while_shutting_down(self) -> None:
        """A listener that is gone when the server shuts down ends the loop without a word."""
        server: Server

        class Listener(ScriptedListener):
            def accept(self) -> Any:
                server._roster.close()
                return super().accept()

        listener: Any = Listener(OSError(errno.EBADF, "closed"))
        with (
            self.assertNoLogs("syncws", logging.INFO),
            Server(hello, listener=listener) as server,
            self.client(server),
        ):
            server.serve_forever()

    def test_a_connection_that_comes_too_late(self) -> None:
        """A connection that is accepted while the server closes is closed at once, without an answer."""
        server: Server

        class Listener(ScriptedListener):
            def accept(self) -> Any:
                server._roster.close()
                return super().accept()

        listener: Any = Listener()
        with Server(hello, listener=listener) as server, self.client(server) as client:
            server.serve_forever()
            self.assertTrue(client.at_end())
            self.assertEqual(len(server._roster), 0)

    def test_a_listener_that_cannot_be_used(self) -> None:
        """What fails once the socket is there closes it, and everything else that the server has made."""
        listener: Any = ScriptedListener()
        listener.setblocking = mock.Mock(side_effect=OSError("not possible"))
        with self.assertRaisesRegex(OSError, "not possible"):
            Server(hello, listener=listener)
        self.assertEqual(listener.real.fileno(), -1)

    def test_thread_names(self) -> None:
        """Each connection has a daemon thread of its own, numbered."""
        threads: list[threading.Thread] = []

        def handler(request: Request) -> Response:
            threads.append(threading.current_thread())
            return Response()

        with self.serving(handler) as server:
            for _ in range(2):
                with self.client(server) as client:
                    client.request()
        self.assertEqual([(each.name, each.daemon) for each in threads], [("syncws-1", True), ("syncws-2", True)])

    def test_a_thread_that_cannot_be_started(self) -> None:
        """It costs that connection, which gets a 503 and is counted as refused, and no other."""
        start = threading.Thread.start
        failures = [RuntimeError("can't start new thread")]

        def flaky(thread: threading.Thread) -> None:
            if thread.name.startswith("syncws-") and failures:
                raise failures.pop()
            start(thread)

        with self.serving(hello) as server, mock.patch.object(threading.Thread, "start", flaky):
            with self.assertLogs("syncws.server", logging.WARNING), self.client(server) as client:
                self.assertEqual(client.response()[0], 503)
                self.assertTrue(client.at_end())
            with self.client(server) as client:
                self.assertEqual(client.request()[0], 200)
            self.assertEqual(server.stats().refused, {"full": 1})

    def test_a_start_that_fails(self) -> None:
        """start() that gets no thread raises, and leaves a server that no longer listens."""
        with Server(hello, port=0) as server:
            no_thread = mock.patch.object(threading.Thread, "start", side_effect=RuntimeError("none"))
            with no_thread, self.assertRaises(RuntimeError):
                server.start()
            self.assertEqual(server.shutdown(), 0)

    def test_max_connections(self) -> None:
        """One connection too many is answered with 503; when another has ended, there is room again."""
        with (
            self.serving(echo, max_connections=2) as server,
            self.client(server) as first,
            self.client(server) as second,
        ):
            first.upgrade()
            second.upgrade()
            with self.assertLogs("syncws.server", logging.WARNING) as logs:
                for _ in range(3):
                    with self.client(server) as third:
                        status, headers, _ = third.request(UPGRADE)
                        self.assertEqual((status, headers["connection"]), (503, "close"))
                        self.assertTrue(third.at_end())
            self.assertEqual(len(logs.records), 1)
            first.peer.close()
            self.assertEqual(first.peer.receive_close(), (1000, ""))
            first.socket.close()
            with server._roster.lock:
                self.assertTrue(server._roster.changed.wait_for(lambda: len(server._roster._connections) == 1, WAIT))
            with self.client(server) as third:
                third.upgrade()
                with self.assertLogs("syncws.server", logging.WARNING), self.client(server) as fourth:
                    self.assertEqual(fourth.request()[0], 503)  # another shortage, and another line


if __name__ == "__main__":
    unittest.main()
