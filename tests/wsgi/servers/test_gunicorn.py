"""gunicorn.py: its key, its workers, its parser."""

from __future__ import annotations

import os
import subprocess
import sys
import types
import unittest
from collections.abc import Callable
from typing import Any
from unittest import mock
from wsgiref.validate import InputWrapper

import gunicorn
from gunicorn.config import Config
from gunicorn.http import wsgi as gunicorn_wsgi
from gunicorn.http.parser import RequestParser
from gunicorn.workers.base import Worker
from gunicorn.workers.gthread import ThreadWorker
from gunicorn.workers.sync import SyncWorker

from syncws._wsgi.taken import Environ, Taken
from syncws._wsgi.takers import find
from syncws.testing import LeakChecks, socketpair
from tests.hosts.servers import OLD_GUNICORN
from tests.interop.nodes import need
from tests.tasks import Task
from tests.wsgi.servers.cases import EARLY, GET, POST
from tests.wsgi.serving import HANDSHAKE, contexts


class GunicornTests(LeakChecks):
    """gunicorn, whose own parser makes the request here."""

    def request(self, data: bytes, *, tls: bool = False) -> tuple[Environ, Any, Any]:
        """(environ, the server's socket, the client's) of a request that consists of these bytes."""
        server, client = socketpair()
        self.addCleanup(lambda: server.close())
        self.addCleanup(lambda: client.close())
        if tls:
            raw = server
            server = contexts()[0].wrap_socket(raw, server_side=True, do_handshake_on_connect=False)
            task = Task(contexts()[1].wrap_socket, client, server_hostname="localhost")
            server.do_handshake()
            client = task.result()
        client.sendall(data)
        config = Config()
        request = next(RequestParser(config, server, ("127.0.0.1", 5)))
        _, environ = gunicorn_wsgi.create(request, server, ("127.0.0.1", 5), ("127.0.0.1", 80), config)
        return environ, server, client

    def test_the_socket(self) -> None:
        """The socket is found under gunicorn's name, and its TLS too; without a worker nothing is known of its pool."""
        environ, server, _ = self.request(HANDSHAKE)
        taken = find(environ)
        self.assertIs(taken.sock, server)
        self.assertEqual((taken.server, taken.fd, taken.pool, taken.worker), ("gunicorn", server.fileno(), None, None))
        self.assertEqual((taken.is_tls, taken.swallow), (False, False))
        environ, server, _ = self.request(HANDSHAKE, tls=True)
        self.assertIs(find(environ).sock, server)
        self.assertTrue(find(environ).is_tls)

    def test_early_bytes(self) -> None:
        """What its parser has read behind the request is given once; looking leaves it where it is."""
        for tls in (False, True):
            environ, *_ = self.request(HANDSHAKE + EARLY, tls=tls)
            self.assertEqual(find(environ).read_early(), EARLY)
            self.assertEqual(find(environ).read_early(), b"")
            environ, *_ = self.request(HANDSHAKE, tls=tls)
            self.assertEqual(find(environ).read_early(), b"")

    def test_early_bytes_through_wrappers(self) -> None:
        """So it is behind middlewares that wrap wsgi.input."""
        environ, *_ = self.request(HANDSHAKE + EARLY)
        self.assertEqual(find({**environ, "wsgi.input": InputWrapper(environ["wsgi.input"])}).read_early(), EARLY)

    def test_the_body_and_the_next_request(self) -> None:
        """A body stays to be read, and a request behind it stays to be parsed."""
        environ, *_ = self.request(POST + GET)
        find(environ)
        self.assertEqual(environ["wsgi.input"].read(), b"first,second")
        self.assertEqual(environ["wsgi.input"].reader.unreader.take_buffered(), GET)

    def test_the_worker(self) -> None:
        """The worker is whoever has called the view; it tells the kind, and how many requests are served at a time."""
        environ, *_ = self.request(HANDSHAKE)
        rows: list[tuple[type[Worker], str, int | None]] = [
            (SyncWorker, "gunicorn sync", 1),
            (ThreadWorker, "gunicorn gthread", 7),
            (type("GeventWorker", (Worker,), {}), "gunicorn gevent", None),
            (type("GeventPyWSGIWorker", (Worker,), {}), "gunicorn gevent_pywsgi", None),
            (type("MyOwnWorker", (Worker,), {}), "gunicorn MyOwnWorker", None),
        ]
        for kind, name, pool in rows:
            with self.subTest(name):
                worker = self.worker(kind)
                taken = calling(worker, lambda: find(environ))
                self.assertIs(taken.worker, worker)
                self.assertEqual((taken.server, taken.pool, taken.swallow), (name, pool, False))

    def test_the_worker_of_gevent_pywsgi(self) -> None:
        """There the caller is gevent's server, which knows the worker; and the key is written without "et"."""
        environ, server, _ = self.request(HANDSHAKE)
        environ["gunicorn.sock"] = environ.pop("gunicorn.socket")
        worker = self.worker(type("GeventPyWSGIWorker", (Worker,), {}))
        taken = calling(types.SimpleNamespace(worker=worker), lambda: find(environ))
        self.assertIs(taken.sock, server)
        self.assertIs(taken.worker, worker)

    def test_early_bytes_of_gevent_pywsgi(self) -> None:
        """What is early is in that server's own buffer."""
        server, client = socketpair()
        with server, client, server.makefile("rb") as reader:
            client.sendall(b"head\n" + EARLY)
            reader.readline()
            self.assertEqual(find({"gunicorn.sock": server, "wsgi.input": reader}).read_early(), EARLY)

    def test_the_eventlet_worker(self) -> None:
        """It is told that the response is no concern of its, and writes into nothing."""
        environ, *_ = self.request(HANDSHAKE)
        local = types.SimpleNamespace(already_handled=False)
        with mock.patch.dict(sys.modules, {"eventlet.wsgi": types.SimpleNamespace(WSGI_LOCAL=local)}):  # type: ignore[dict-item]
            taken = calling(self.worker(type("EventletWorker", (Worker,), {})), lambda: find(environ))
            self.assertTrue(taken.swallow)
            self.assertFalse(local.already_handled)
            taken.mark()
        self.assertTrue(local.already_handled)

    def test_another_caller(self) -> None:
        """A caller that is no worker, or too far away, is not taken for one."""
        environ, *_ = self.request(HANDSHAKE)
        self.assertIsNone(calling(types.SimpleNamespace(worker="no worker"), lambda: find(environ)).worker)

        def deep(levels: int) -> Taken:
            return find(environ) if levels == 0 else deep(levels - 1)

        self.assertIsNone(calling(self.worker(SyncWorker), lambda: deep(250)).worker)
        self.assertIsNotNone(calling(self.worker(SyncWorker), lambda: deep(50)).worker)

    def worker(self, kind: type[Worker]) -> Worker:
        worker = object.__new__(kind)
        worker.cfg = types.SimpleNamespace(threads=7)
        return worker

    def test_the_older_one(self) -> None:
        """In gunicorn 23 the bytes are had from its buffer, as it has no call for that."""
        need(OLD_GUNICORN.is_dir(), "the older gunicorn is not installed: run `make old-gunicorn`")
        self.assertNotEqual(gunicorn.__version__, "23.0.0")
        script = """
import socket, gunicorn
from gunicorn.config import Config
from gunicorn.http import wsgi
from gunicorn.http.parser import RequestParser
from syncws._wsgi.takers import find
from tests.wsgi.servers.cases import EARLY
from tests.wsgi.serving import HANDSHAKE
server, client = socket.socketpair()
client.sendall(HANDSHAKE + EARLY)
config = Config()
request = next(RequestParser(config, server, ("127.0.0.1", 5)))
_, environ = wsgi.create(request, server, ("127.0.0.1", 5), ("127.0.0.1", 80), config)
taken = find(environ)
unreader = environ["wsgi.input"].reader.unreader
print(gunicorn.__version__, taken.sock is server, hasattr(unreader, "take_buffered"))
print(taken.read_early() == EARLY, find(environ).read_early(), unreader.buf.getvalue())
client.sendall(b"next")
print(unreader.read())
"""
        path = os.pathsep.join([str(OLD_GUNICORN), *sys.path])
        done = subprocess.run(
            [sys.executable, "-c", script],
            env={**os.environ, "PYTHONPATH": path},
            capture_output=True,
            text=True,
            timeout=120,
        )
        self.assertEqual(done.stdout.splitlines(), ["23.0.0 True False", "True b'' b''", "b'next'"], done.stderr)


def calling(caller: Any, call: Callable[[], Any]) -> Any:
    """As if a method of that object had called it."""

    def method(self: Any) -> Any:
        return call()

    return method(caller)


if __name__ == "__main__":
    unittest.main()
