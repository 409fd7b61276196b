"""uwsgi.py: a descriptor."""

from __future__ import annotations

import sys
import types
import unittest
from typing import Any
from unittest import mock

from syncws._wsgi.taken import Taken, Untakeable
from syncws._wsgi.takers import find


class UWSGITests(unittest.TestCase):
    """uWSGI, which knows nothing but a descriptor; its module is made up here."""

    def find(self, **options: Any) -> Taken:
        uwsgi = types.SimpleNamespace(
            opt={key.replace("_", "-").encode(): value for key, value in options.items()}, connection_fd=lambda: 7
        )
        with mock.patch.dict(sys.modules, {"uwsgi": uwsgi}):
            return find({"uwsgi.version": b"2.0.30", "wsgi.input": object()})

    def test_the_descriptor(self) -> None:
        """The connection's descriptor is all there is; uWSGI logs what it cannot write."""
        taken = self.find(http_socket=b":8080")
        self.assertEqual((taken.server, taken.sock, taken.fd, taken.swallow), ("uWSGI", None, 7, True))
        self.assertEqual(taken.read_early(), b"")

    def test_its_router(self) -> None:
        """Behind its own router nothing passes, unless that was told to let it."""
        for options in ({"http": b":80"}, {"https": b":443,a,b"}):
            with self.subTest(options), self.assertRaisesRegex(Untakeable, "router") as caught:
                self.find(**options)
            self.assertIn("--http-socket", caught.exception.advice)
            self.assertEqual(self.find(**options, http_websockets=True).fd, 7)

    def test_options_as_text(self) -> None:
        """The options may be str, as some builds give them."""
        uwsgi = types.SimpleNamespace(opt={"http": ":80"}, connection_fd=lambda: 7)
        with mock.patch.dict(sys.modules, {"uwsgi": uwsgi}), self.assertRaisesRegex(Untakeable, "router"):
            find({"uwsgi.version": b"2.0.30", "wsgi.input": object()})

    def test_without_its_module(self) -> None:
        """A request that only came through uWSGI's environ, elsewhere than in uWSGI, is not of uWSGI."""
        with self.assertRaisesRegex(Untakeable, "does not let its applications"):
            find({"uwsgi.version": b"2.0.30", "wsgi.input": object()})


if __name__ == "__main__":
    unittest.main()
