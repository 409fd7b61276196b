"""What is said of an application, by what the process has: played, as the process of the tests has everything."""

from __future__ import annotations

import unittest
from types import SimpleNamespace
from typing import Any
from unittest import mock

import syncws
from syncws._cli.doctor import application
from syncws._cli.doctor.finding import Finding
from syncws.testing import MemoryBackplane, MemoryBus


def upgrader(*allowed: str, check_origin: Any = None) -> SimpleNamespace:
    return SimpleNamespace(allowed_origins=allowed, check_origin=check_origin)


class SeenTests(unittest.TestCase):
    def found(self, check: Any, *arguments: Any, **seen: Any) -> list[Finding]:
        """The findings of a check, where `frameworks` sees this."""
        names = ("find_framework", "websocket_rules", "upgraders", "managers", "is_behind_proxy_fix", "version_of")
        played = {name: mock.Mock(return_value=seen.get(name)) for name in names}
        played["version_of"].return_value = "3.1"
        with mock.patch.multiple(application.frameworks, **played):
            return list(check(*arguments))

    def title(self, check: Any, *arguments: Any, **seen: Any) -> str:
        (finding,) = self.found(check, *arguments, **seen)
        return finding.title

    def test_what_it_is(self) -> None:
        """Its framework and its routes, its glue, or nothing of syncws."""
        what = application._what_it_is
        flask = ("Flask", object())
        self.assertEqual(
            self.title(what, 1, find_framework=flask, websocket_rules=["/a"]), "Flask 3.1, 1 WebSocket route"
        )
        rules = ["/a", "/b"]
        self.assertEqual(
            self.title(what, 1, find_framework=flask, websocket_rules=rules), "Flask 3.1, 2 WebSocket routes"
        )
        with mock.patch.object(application, "_GLUE", ()):
            title = self.title(what, 1, upgraders=[upgrader()])
            self.assertEqual(title, "plain WSGI, with syncws.Upgrader")
            self.assertIn("without a WebSocket view", self.title(what, 1))

    def test_libraries_that_hold(self) -> None:
        """A library that holds a thread for each connection is named."""
        self.assertEqual(self.title(application._holding, ["simple-websocket"]), "simple-websocket is imported")
        self.assertEqual(self.found(application._holding, []), [])

    def test_origins(self) -> None:
        """Who may connect, by the Upgraders that there are."""
        for seen, title in (
            ([upgrader("*")], 'an Upgrader has allowed_origins=["*"]'),
            ([upgrader(check_origin=len)], "an Upgrader has a check_origin of its own"),
            (
                [upgrader("https://b"), upgrader("https://a")],
                "pages of the same host may connect, and https://a, https://b",
            ),
            ([upgrader()], "pages of the same host may connect"),
        ):
            with self.subTest(title):
                self.assertEqual(self.title(application._origins, upgraders=seen), title)
        self.assertEqual(self.found(application._origins, upgraders=[]), [])

    def test_detach(self) -> None:
        """Flask's setting."""
        off = ("Flask", SimpleNamespace(config={"SYNCWS_DETACH": False}))
        self.assertEqual(self.title(application._detach, 1, find_framework=off), "SYNCWS_DETACH is False")
        for framework in (None, ("Django", object()), ("Flask", SimpleNamespace(config={}))):
            self.assertEqual(self.found(application._detach, 1, find_framework=framework), [])

    def test_proxy_headers(self) -> None:
        """Flask's ProxyFix, or none."""
        check, flask = application._proxy_headers, ("Flask", object())
        self.assertIn("ProxyFix takes", self.title(check, 1, find_framework=flask, is_behind_proxy_fix=True))
        self.assertEqual(self.title(check, 1, find_framework=flask), "no ProxyFix")
        self.assertEqual(self.found(check, 1), [])

    def test_managers(self) -> None:
        """A Manager without a backplane is a warning where there are workers."""
        alone, joined = syncws.Manager(), syncws.Manager(backplane=MemoryBackplane(MemoryBus()))
        self.addCleanup(joined.end)
        self.assertIn("3 workers", self.title(application._managers, 3, managers=[alone, joined]))
        self.assertIn("its own process", self.title(application._managers, 1, managers=[alone]))
        self.assertEqual(self.found(application._managers, 3, managers=[joined]), [])

    def test_everything(self) -> None:
        """All checks are made, those of gunicorn's file where gunicorn may serve it."""
        with (
            mock.patch.object(application, "load_application", return_value=object()),
            mock.patch.object(application, "check_servers", return_value=[]),
            mock.patch.object(application, "check_gunicorn_conf", return_value=[]) as check_conf,
        ):
            for server, asked in (("syncws", 0), ("gunicorn", 1), (None, 2)):
                self.found(application.check_application, "app:app", server, upgraders=[], managers=[])
                self.assertEqual(check_conf.call_count, asked)
