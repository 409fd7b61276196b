"""werkzeug.py: its key."""

from __future__ import annotations

import unittest

from tests.wsgi.servers.cases import GoneRules, ServerCase, TLSRules


class WerkzeugTests(TLSRules, GoneRules, ServerCase):
    """werkzeug's development server."""

    server = "werkzeug"
    name = "werkzeug"
    test_through_the_validator = None  # type: ignore[assignment]  # its REMOTE_PORT, an int, does not pass


if __name__ == "__main__":
    unittest.main()
