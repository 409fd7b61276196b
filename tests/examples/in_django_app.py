"""A program that tests examples/django_app.py as a project tests itself, with `WebSocketTestCase`.

`python -m tests.examples.in_django_app` ends with 0 if the tests pass.
"""

from __future__ import annotations

import re
import sys
import unittest
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parent.parent.parent / "examples"))

import django_app  # type: ignore[import-not-found, unused-ignore]
from django.db import connection
from django.test import Client
from django.test.runner import DiscoverRunner

import syncws
from syncws.testing.django import WebSocketTestCase

PATIENCE = 30


class AppTests(WebSocketTestCase):
    @classmethod
    def setUpClass(cls) -> None:
        super().setUpClass()
        with connection.schema_editor() as editor:  # its model is of no installed application, so nothing migrates it
            editor.create_model(django_app.Note)

    def log_in(self, name: str) -> Client:
        """A browser that has filled in the form of the page."""
        browser = Client()
        token = re.search(rb'name="csrfmiddlewaretoken" value="(\w+)"', browser.get("/").content)
        assert token is not None
        self.assertEqual(
            browser.post("/login", {"name": name, "csrfmiddlewaretoken": token[1].decode()}).status_code, 302
        )
        return browser

    def test_echo(self) -> None:
        """/echo answers everybody."""
        conn = self.dial("/echo")
        conn.send("hello")
        self.assertEqual(conn.receive(timeout=PATIENCE), "hello")

    def test_notes(self) -> None:
        """/notes keeps what it is sent, for who has logged in with the form."""
        with self.assertRaises(syncws.BadHandshakeError) as refused:
            self.dial("/notes")
        self.assertEqual(refused.exception.status, 401)
        ann, bob = self.log_in("ann"), self.log_in("bob")
        for browser, name, kept in ((ann, "ann", 1), (bob, "bob", 1), (ann, "ann", 2)):
            conn = self.dial("/notes", browser=browser)
            conn.send("a note")
            self.assertEqual(conn.receive_json(timeout=PATIENCE), {"author": name, "kept": kept})
        self.assertEqual(django_app.Note.objects.count(), 3)
        self.assertIn("3 notes have been kept", ann.get("/").content.decode())

    def test_bytes(self) -> None:
        """Notes are text; for anything else the connection is closed with 1003."""
        conn = self.dial("/notes", browser=self.log_in("ann"))
        conn.send(b"\0")
        with self.assertRaisesRegex(syncws.CloseError, "1003"):
            conn.receive(timeout=PATIENCE)


def main() -> int:
    runner = DiscoverRunner(verbosity=0)
    runner.setup_test_environment()
    made = runner.setup_databases()
    result = unittest.TextTestRunner().run(unittest.defaultTestLoader.loadTestsFromTestCase(AppTests))
    runner.teardown_databases(made)
    return 0 if result.wasSuccessful() and result.testsRun == 3 else 1


if __name__ == "__main__":
    sys.exit(main())
