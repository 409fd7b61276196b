"""taken.py: what follows from what a taker tells."""

from __future__ import annotations

import socket
import unittest

from syncws._wsgi.taken import Taken


class TakenTests(unittest.TestCase):
    """What is told, and what is asked of the socket."""

    def test_a_descriptor_alone(self) -> None:
        """A taker may know nothing but the descriptor: nothing is early, nobody is told, and TLS is not seen."""
        taken = Taken(server="x", sock=None, fd=5)
        self.assertEqual(taken.read_early(), b"")
        self.assertIsNone(taken.on_taken())
        self.assertFalse(taken.is_tls)
        self.assertFalse(taken.is_green)

    def test_greenlets(self) -> None:
        """The class of the socket says whether its view is a greenlet."""
        for module, green in (("gevent._socket3", True), ("eventlet.greenio.base", True), ("socket", False)):
            kind = type("GreenSocket", (), {"__module__": module})
            self.assertEqual(Taken(server="x", sock=kind(), fd=5).is_green, green)
        with socket.socket() as sock:
            self.assertFalse(Taken(server="x", sock=sock, fd=sock.fileno()).is_green)


if __name__ == "__main__":
    unittest.main()
