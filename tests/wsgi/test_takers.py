"""takers.py: which taker is asked, and what of its answer is checked. `tests/wsgi/servers` has each server."""

from __future__ import annotations

import unittest
from typing import Any
from wsgiref.util import setup_testing_defaults

from syncws._wsgi import takers
from syncws._wsgi.taken import Environ, Taken, Untakeable
from syncws._wsgi.takers import find, http_version, register_taker
from syncws.testing import LeakChecks, socketpair
from tests.tasks import Task


class NoServerTests(unittest.TestCase):
    """A request of no server."""

    def test_an_environ_of_no_server(self) -> None:
        """An environ that was made up, as a test client makes one, is no connection's."""
        environ: Environ = {}
        setup_testing_defaults(environ)
        with self.assertRaisesRegex(Untakeable, "does not let its applications take a connection over") as caught:
            find(environ)
        self.assertIn("_io", str(caught.exception))  # there is no SERVER_SOFTWARE
        self.assertIn("syncws.Server(wsgi_app=...)", caught.exception.advice)
        with self.assertRaisesRegex(Untakeable, "^A server/1.0 does not let"):
            find({**environ, "SERVER_SOFTWARE": "A server/1.0"})


class RegisterCase(LeakChecks):
    def setUp(self) -> None:
        super().setUp()
        self.addCleanup(setattr, takers, "_registered", takers._registered)

    def register(self, taker: Any) -> None:
        register_taker(taker)


class CheckTests(RegisterCase):
    """What is found must be of use."""

    def test_closed_already(self) -> None:
        """A socket that the server has closed meanwhile is refused."""
        server, client = socketpair()
        client.close()
        server.close()
        with self.assertRaisesRegex(Untakeable, "^werkzeug has closed this connection already$") as caught:
            find({"werkzeug.socket": server})
        self.assertEqual(caught.exception.advice, "the client has gone")

    def test_another_tls(self) -> None:
        """TLS of pyOpenSSL is refused with the way out."""

        class Connection:
            def fileno(self) -> int:
                return 5

            recv_into = fileno

        Connection.__module__ = "OpenSSL.SSL"
        with self.assertRaisesRegex(Untakeable, r"holds this connection in a OpenSSL\.") as caught:
            find({"werkzeug.socket": Connection()})
        self.assertIn("BuiltinSSLAdapter", caught.exception.advice)

    def test_a_descriptor_alone(self) -> None:
        """A taker may know nothing but the descriptor."""
        taken = Taken(server="x", sock=None, fd=5)
        self.assertFalse(taken.is_tls)
        self.register(lambda environ: taken)
        self.assertIs(find({}), taken)
        self.assertEqual(taken.read_early(), b"")


class RegisterTests(RegisterCase):
    """Takers of an application's own."""

    def test_order(self) -> None:
        """They are asked before the library's, the latest first, until one gives something."""
        asked: list[str] = []
        taken = Taken(server="mine", sock=None, fd=5)

        def first(environ: Environ) -> Taken | None:
            asked.append("first")
            return taken

        def second(environ: Environ) -> Taken | None:
            asked.append("second")
            return None

        self.register(first)
        self.register(second)
        server, client = socketpair()
        with server, client:
            self.assertIs(find({"werkzeug.socket": server}), taken)
        self.assertEqual(asked, ["second", "first"])

    def test_not_of_its_server(self) -> None:
        """One that gives None leaves the request to the library's."""
        self.register(lambda environ: None)
        server, client = socketpair()
        with server, client:
            self.assertIs(find({"werkzeug.socket": server}).sock, server)

    def test_it_refuses(self) -> None:
        """One may refuse with words of its own."""

        def refuse(environ: Environ) -> Taken | None:
            raise Untakeable("mine keeps its sockets", "serve with another")

        self.register(refuse)
        with self.assertRaisesRegex(Untakeable, "^mine keeps its sockets$") as caught:
            find({})
        self.assertEqual(caught.exception.advice, "serve with another")

    def test_what_it_gives_is_checked(self) -> None:
        """What it gives is checked as everything is."""
        self.register(lambda environ: Taken(server="mine", sock=None, fd=-1))
        with self.assertRaisesRegex(Untakeable, "^mine has closed"):
            find({})

    def test_twice(self) -> None:
        """Registering one twice asks it once, and in its first place."""
        asked: list[int] = []

        def mine(environ: Environ) -> None:
            asked.append(1)

        def later(environ: Environ) -> None:
            asked.append(2)

        self.register(mine)
        self.register(later)
        self.register(mine)
        with self.assertRaises(Untakeable):
            find({})
        self.assertEqual(asked, [2, 1])

    def test_no_taker(self) -> None:
        """What cannot be called is a TypeError, and is not registered."""
        before = takers._registered
        for wrong in (None, "gunicorn", Taken(server="x", sock=None, fd=5)):
            with self.assertRaisesRegex(TypeError, "a taker is a callable that takes an environ"):
                register_taker(wrong)  # type: ignore[arg-type]
        self.assertEqual(takers._registered, before)

    def test_from_two_threads(self) -> None:
        """One thread registers at a time, so that no taker is lost."""

        def mine(environ: Environ) -> None:
            return None

        with takers._registering:
            before = takers._registered
            task = Task(self.register, mine)
            task.join(0.05)
            self.assertFalse(task.done)
            takers._registered = (print, *before)
        task.result()
        self.assertEqual(takers._registered, (mine, print, *before))


class VersionTests(unittest.TestCase):
    """The version of HTTP that the client has spoken."""

    def test_versions(self) -> None:
        """It is what the server says, except for eventlet, which says 1.0 of every request."""
        self.assertEqual(http_version({"SERVER_PROTOCOL": "HTTP/1.0"}), "1.0")
        self.assertEqual(http_version({"SERVER_PROTOCOL": "HTTP/1.0", "eventlet.input": object()}), "1.1")
        self.assertEqual(http_version({}), "1.1")


if __name__ == "__main__":
    unittest.main()
