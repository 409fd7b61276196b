"""refused.py: who is refused, and what the operator is told to do instead."""

from __future__ import annotations

import unittest

from syncws._wsgi.taken import Environ, Untakeable
from syncws._wsgi.takers import find
from syncws.testing import socketpair


class RefusedTests(unittest.TestCase):
    """Servers and requests whose sockets cannot be had, each with what to do instead."""

    def check(self, environ: Environ, message: str, advice: str) -> None:
        with self.assertRaises(Untakeable) as caught:
            find(environ)
        self.assertIn(message, str(caught.exception))
        self.assertIn(advice, caught.exception.advice)

    def test_http2(self) -> None:
        """A stream of HTTP/2 has no socket of its own, though gunicorn puts that of all of them into the environ."""
        server, client = socketpair()
        with server, client:
            self.check(
                {"SERVER_PROTOCOL": "HTTP/2.0", "gunicorn.socket": server, "SERVER_SOFTWARE": "gunicorn/27.0.1"},
                "gunicorn/27.0.1 gave this request as a stream of HTTP/2",
                "--http-protocols h1",
            )

    def test_mod_wsgi(self) -> None:
        """mod_wsgi keeps Apache's connections to itself."""
        self.check({"mod_wsgi.version": (6, 1, 1), "wsgi.input": object()}, "mod_wsgi keeps", "mod_proxy_wstunnel")

    def test_servers_that_are_not_python(self) -> None:
        """granian and bjoern, whose inputs are no streams over a socket, are named."""
        for module in ("granian._granian", "bjoern"):
            body = type("WSGIBody", (), {"__module__": module})()
            name = module.partition(".")[0]
            self.check({"wsgi.input": body}, f"{name} keeps its connections to itself", "serve with gunicorn (gthread)")


if __name__ == "__main__":
    unittest.main()
