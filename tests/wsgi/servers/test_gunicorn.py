"""gunicorn.py: its key, its workers, its parser."""

from __future__ import annotations

import contextlib
import inspect
import os
import subprocess
import sys
import tempfile
import threading
import types
import unittest
from collections.abc import Callable
from typing import Any
from unittest import mock
from wsgiref.validate import InputWrapper

import gunicorn
import gunicorn.reloader
from gunicorn.config import Config
from gunicorn.http import wsgi as gunicorn_wsgi
from gunicorn.http.parser import RequestParser
from gunicorn.workers.base import Worker
from gunicorn.workers.gthread import ThreadWorker
from gunicorn.workers.sync import SyncWorker

from syncws._wsgi.servers import gunicorn as gunicorn_server
from syncws._wsgi.servers.gunicorn import _note_reloads, is_replaced
from syncws._wsgi.taken import Environ, Taken
from syncws._wsgi.takers import find
from syncws.testing import LeakChecks, socketpair
from tests.hosts.servers import OLD_GUNICORN
from tests.partners import need
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
        self.assertEqual((taken.server, taken.fd, taken.pool), ("gunicorn", server.fileno(), None))
        self.assertEqual((taken.is_ending, taken.is_replaced, taken.say_alive), (None, None, None))
        self.assertEqual((taken.is_tls, taken.swallow), (False, False))
        environ, server, _ = self.request(HANDSHAKE, tls=True)
        self.assertIs(find(environ).sock, server)
        self.assertTrue(find(environ).is_tls)

    def test_early_bytes(self) -> None:
        """What its parser has read after the request is given once; looking leaves it where it is."""
        for tls in (False, True):
            environ, *_ = self.request(HANDSHAKE + EARLY, tls=tls)
            self.assertEqual(find(environ).read_early(), EARLY)
            self.assertEqual(find(environ).read_early(), b"")
            environ, *_ = self.request(HANDSHAKE, tls=tls)
            self.assertEqual(find(environ).read_early(), b"")

    def test_early_bytes_through_wrappers(self) -> None:
        """It is given behind middlewares that wrap wsgi.input, too."""
        environ, *_ = self.request(HANDSHAKE + EARLY)
        self.assertEqual(find({**environ, "wsgi.input": InputWrapper(environ["wsgi.input"])}).read_early(), EARLY)

    def test_the_body_and_the_next_request(self) -> None:
        """A body stays to be read, and a request after it stays to be parsed."""
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
                self.assertEqual((taken.server, taken.pool, taken.swallow), (name, pool, False))
                assert taken.is_ending is not None and taken.is_replaced is not None
                for alive, served, told in ((True, 4, (False, False)), (False, 5, (True, True))):
                    worker.alive, worker.nr = alive, served
                    self.assertEqual((taken.is_ending(), taken.is_replaced()), told)

    def test_the_worker_of_gevent_pywsgi(self) -> None:
        """There the caller is gevent's server, which knows the worker; and the key is written without "et"."""
        environ, server, _ = self.request(HANDSHAKE)
        environ["gunicorn.sock"] = environ.pop("gunicorn.socket")
        worker = self.worker(type("GeventPyWSGIWorker", (Worker,), {}))
        taken = calling(types.SimpleNamespace(worker=worker), lambda: find(environ))
        self.assertIs(taken.sock, server)
        self.assertEqual(taken.server, "gunicorn gevent_pywsgi")

    def test_a_sync_worker_is_kept_alive(self) -> None:
        """A sync worker can be told that it lives, while its only thread is in the view; others do that themselves."""
        environ, *_ = self.request(HANDSHAKE)
        beats: list[str] = []
        for kind in (SyncWorker, ThreadWorker):
            worker = self.worker(kind, notify=lambda: beats.append("lives"))
            taken = calling(worker, lambda: find(environ))
            if taken.say_alive is not None:
                taken.say_alive()
            self.assertEqual(taken.say_alive is not None, kind is SyncWorker)
        self.assertEqual(beats, ["lives"])

    def test_early_bytes_of_gevent_pywsgi(self) -> None:
        """What is early is in that server's own buffer."""
        server, client = socketpair()
        with server, client, server.makefile("rb") as reader:
            client.sendall(b"head\n" + EARLY)
            reader.readline()
            self.assertEqual(find({"gunicorn.sock": server, "wsgi.input": reader}).read_early(), EARLY)

    def test_the_eventlet_worker(self) -> None:
        """It is told that the response is none of its concern, and writes into nothing."""
        environ, *_ = self.request(HANDSHAKE)
        local = types.SimpleNamespace(already_handled=False)
        with mock.patch.dict(sys.modules, {"eventlet.wsgi": types.SimpleNamespace(WSGI_LOCAL=local)}):  # type: ignore[dict-item]
            taken = calling(self.worker(type("EventletWorker", (Worker,), {})), lambda: find(environ))
            self.assertTrue(taken.swallow)
            self.assertFalse(local.already_handled)
            taken.on_taken()
        self.assertTrue(local.already_handled)

    def test_another_caller(self) -> None:
        """A caller that is no worker, or too far away, is not taken for one."""
        environ, *_ = self.request(HANDSHAKE)
        stranger = types.SimpleNamespace(worker="no worker")
        self.assertEqual(calling(stranger, lambda: find(environ)).server, "gunicorn")

        def deep(levels: int) -> Taken:
            return find(environ) if levels == 0 else deep(levels - 1)

        self.assertEqual(calling(self.worker(SyncWorker), lambda: deep(250)).server, "gunicorn")
        self.assertEqual(calling(self.worker(SyncWorker), lambda: deep(50)).server, "gunicorn sync")

    def worker(self, kind: type[Worker], **attributes: Any) -> Any:
        return make_worker(kind, cfg=types.SimpleNamespace(threads=7), max_requests=5, **attributes)

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


class ReplacedTests(LeakChecks):
    """Whether a worker ends to be replaced; the attributes are those of its own class."""

    def test_its_attributes(self) -> None:
        """The attributes that are looked at are those that the installed gunicorn has, and so is a name inside it."""
        source = inspect.getsource(Worker.__init__)
        for line in ("self.nr = 0", "self.max_requests =", "self.reloader = None", "self.alive = True"):
            self.assertIn(line, source)
        inner = [each for each in Worker.init_process.__code__.co_consts if inspect.iscode(each)]
        self.assertIn("changed", [each.co_name for each in inner])
        self.assertTrue(issubclass(gunicorn.reloader.Reloader, threading.Thread))

    def test_max_requests(self) -> None:
        """A worker that has served its --max-requests is replaced; one that has not, or has no such limit, is not."""
        rows = [(0, sys.maxsize, False), (10**6, sys.maxsize, False), (4, 5, False), (5, 5, True), (9, 5, True)]
        for served, most, replaced in rows:
            with self.subTest(served=served, most=most):
                worker = make_worker(ThreadWorker, nr=served, max_requests=most)
                self.assertEqual(is_replaced(worker), replaced)

    def test_a_reload(self) -> None:
        """What gunicorn's reloader calls when a file has changed is noted, once, and passed on."""
        files: list[str] = []
        with tempfile.NamedTemporaryFile() as file:
            reloader = QuietReloader(extra_files=[file.name], interval=0.01, callback=files.append)
            worker = make_worker(ThreadWorker, reloader=reloader)
            self.assertFalse(is_replaced(worker))
            taken = calling(worker, lambda: gunicorn_server.find({"gunicorn.socket": file}))
            for _ in range(2):
                taken.on_taken()
                self.assertFalse(is_replaced(worker))
            reloader._callback(file.name)
        self.assertTrue(is_replaced(worker))
        self.assertEqual(files, [file.name])

    def test_another_reloader(self) -> None:
        """A reloader that looks otherwise is left alone."""
        worker = make_worker(ThreadWorker, reloader=object())
        _note_reloads(worker)
        self.assertFalse(is_replaced(worker))


class QuietReloader(gunicorn.reloader.Reloader):
    """Its SystemExit is no exception that nobody has seen."""

    def run(self) -> None:
        with contextlib.suppress(SystemExit):
            super().run()


def make_worker(kind: type[Worker], **attributes: Any) -> Any:
    """A worker as its constructor leaves it, except for what is given."""
    worker = object.__new__(kind)
    usual = {"nr": 0, "max_requests": sys.maxsize, "reloader": None, "alive": True}
    vars(worker).update({"cfg": types.SimpleNamespace(threads=4), **usual, **attributes})
    return worker


def calling(caller: Any, call: Callable[[], Any]) -> Any:
    """As if a method of that object had called it."""

    def method(self: Any) -> Any:
        return call()

    return method(caller)


if __name__ == "__main__":
    unittest.main()
