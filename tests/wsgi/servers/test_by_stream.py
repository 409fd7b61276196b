"""by_stream.py: servers of which nothing needs to be known but that their wsgi.input reads from the socket."""

from __future__ import annotations

import unittest

from syncws._wsgi.servers import by_stream
from syncws._wsgi.takers import find
from syncws.testing import LeakChecks
from tests.wsgi.servers.cases import (
    EARLY,
    HANDSHAKE,
    GoneRules,
    KeepAliveRules,
    ServerCase,
    ServerRules,
    TLSRules,
    early_of,
    wrapping_input,
)
from tests.wsgi.servers.green import GreenRules


class WsgirefTests(TLSRules, GoneRules, ServerCase):
    """wsgiref, a thread for each request."""

    server = "wsgiref"
    name = "WSGIServer/"

    def test_through_other_streams(self) -> None:
        """The streams that frameworks put around wsgi.input, one inside the other, do not stand in the way."""
        self.assertEqual(self.look(early_of, HANDSHAKE + EARLY, middleware=wrapping_input), EARLY)

    def test_nothing_else_is_known(self) -> None:
        """It says nothing of its end."""
        self.assertIsNone(self.look(lambda environ: find(environ).is_ending))


class RunserverTests(ServerRules, KeepAliveRules, ServerCase):
    """Django's own, whose wsgi.input holds a method of the stream."""

    server = "runserver"
    name = "WSGIServer/"


class GeventTests(GreenRules, LeakChecks):
    """gevent.pywsgi."""

    library = "gevent"
    swallow = False


class UnknownServerTests(LeakChecks):
    """No stream, no socket."""

    def test_no_reader(self) -> None:
        """A wsgi.input that reads from no socket is not of such a server."""
        self.assertIsNone(by_stream.find({"wsgi.input": object()}))


if __name__ == "__main__":
    unittest.main()
