"""eventlet.py: its stream, and how it is told that a response is none of its concern."""

from __future__ import annotations

import unittest

from syncws.testing import LeakChecks
from tests.wsgi.servers.green import GreenRules


class EventletTests(GreenRules, LeakChecks):
    """eventlet.wsgi, which writes into nothing."""

    library = "eventlet"
    swallow = True


if __name__ == "__main__":
    unittest.main()
