"""The WSGI servers that are installed: which take WebSockets, and how they are started."""

from __future__ import annotations

import unittest
from unittest import mock

from syncws._cli.command import CommandError
from syncws._cli.doctor import servers
from syncws._cli.doctor.finding import Severity


class ServerTests(unittest.TestCase):
    def look(self, *installed: str, only: str | None = None) -> dict[str, servers.Finding]:
        """The findings where these distributions are installed, by the first word of the title."""
        versions = {"syncws": "0", **dict.fromkeys(installed, "27.0")}
        with mock.patch.object(servers, "version_of", versions.get):
            return {each.title.partition(" ")[0]: each for each in servers.check_servers("app:app", only)}

    def test_installed(self) -> None:
        """Those that are installed are listed, each with the command that starts it."""
        found = self.look("waitress", "gunicorn")
        self.assertEqual(set(found), {"WebSockets", "syncws.Server", "waitress", "gunicorn"})
        self.assertIn("waitress-serve --listen=127.0.0.1:8080 app:app", dict(found["waitress"].mending)["app"])
        self.assertIn("gunicorn -k gthread", dict(found["gunicorn"].mending)["gunicorn"])

    def test_refused(self) -> None:
        """Those that keep their connections say so, in the words of the library's refusal."""
        found = self.look("granian", "mod_wsgi")
        self.assertEqual(found["granian"].severity, Severity.NOTE)
        self.assertIn("granian keeps its connections", found["granian"].seen)
        self.assertIn("mod_proxy_wstunnel", found["mod_wsgi"].seen)

    def test_one(self) -> None:
        """A named server alone; one that is not installed is a fault, one that is not known an error."""
        self.assertEqual(self.look("waitress", "gunicorn", only="gunicorn").keys(), {"WebSockets", "gunicorn"})
        self.assertEqual(self.look(only="waitress")["waitress"].severity, Severity.FAULT)
        with self.assertRaisesRegex(CommandError, "--server is one of syncws, gunicorn"):
            servers.check_servers("app:app", "nginx")

    def test_kinds(self) -> None:
        """The kinds of gunicorn's workers: eventlet's is gone with 26, gevent's need gevent."""
        with mock.patch.object(servers.importlib.util, "find_spec", return_value=object()):
            with mock.patch.object(servers, "version_of", return_value="25.1"):
                self.assertIn("eventlet", servers.gunicorn_kinds())
            with mock.patch.object(servers, "version_of", return_value="27.0"):
                self.assertEqual(servers.gunicorn_kinds(), ["sync", "gthread", "gevent", "gevent_pywsgi"])
        with mock.patch.object(servers.importlib.util, "find_spec", return_value=None):
            self.assertEqual(servers.gunicorn_kinds(), ["sync", "gthread"])

    def test_where_nothing_can_be_detached(self) -> None:
        """On Windows every connection holds a thread, which each server says."""
        with mock.patch.object(servers, "CAN_EXCHANGE", False):
            found = self.look("waitress")
        self.assertEqual(found["waitress"].title, "waitress 27.0: in the view")
        self.assertIn("an eighth", found["WebSockets"].seen)


if __name__ == "__main__":
    unittest.main()
