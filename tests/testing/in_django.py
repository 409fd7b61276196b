"""A program that runs tests of a Django project with `WebSocketTestCase`: its settings are global.

`python -m tests.testing.in_django FOLDER [DATABASE]` ends with 0 if all of them pass. The database is in memory, or in
that file; static files are found in the folder.
"""

from __future__ import annotations

import sys
import threading
import types
import unittest
import urllib.error
import urllib.request
from pathlib import Path
from typing import Any

import django
from django.conf import settings

import syncws

FOLDER = Path(sys.argv[1])
DATABASE = str(FOLDER / sys.argv[2]) if len(sys.argv) > 2 else ":memory:"
URLS = types.ModuleType("urls")
(FOLDER / "static").mkdir(exist_ok=True)
(FOLDER / "static" / "page.css").write_text("body {}")

settings.configure(
    DATABASES={
        "default": {
            "ENGINE": "django.db.backends.sqlite3",
            "NAME": DATABASE,
            "TEST": {"NAME": DATABASE},
            "ATOMIC_REQUESTS": True,
        }
    },
    INSTALLED_APPS=[
        "django.contrib.auth",
        "django.contrib.contenttypes",
        "django.contrib.sessions",
        "django.contrib.staticfiles",
    ],
    MIDDLEWARE=[
        "django.contrib.sessions.middleware.SessionMiddleware",
        "django.contrib.auth.middleware.AuthenticationMiddleware",
    ],
    ROOT_URLCONF=URLS,
    PASSWORD_HASHERS=["django.contrib.auth.hashers.MD5PasswordHasher"],
    SECRET_KEY="secret",
    STATIC_URL="static/",
    STATICFILES_DIRS=[FOLDER / "static"],
)
django.setup()

# Once it is set up:
from django.contrib.auth.models import User  # noqa: E402
from django.http import HttpRequest, HttpResponse  # noqa: E402
from django.test import Client  # noqa: E402
from django.test.runner import DiscoverRunner  # noqa: E402
from django.urls import path  # noqa: E402

from syncws.django import websocket_view  # noqa: E402
from syncws.testing.django import WebSocketTestCase  # noqa: E402


def known(request: HttpRequest) -> HttpResponse | None:
    return None if request.user.is_authenticated else HttpResponse("Log in first.", status=401)


@websocket_view(before=known)
def greet(request: HttpRequest, conn: syncws.Conn) -> None:
    """Make a user of each name, and tell how many there are."""
    conn.send(f"hello {request.user.username}")  # type: ignore[union-attr]
    for name in conn.messages(text=True):
        User.objects.create_user(name)
        conn.send_json(User.objects.count())


@websocket_view
def stuck(request: HttpRequest, conn: syncws.Conn) -> None:
    GO_ON.wait(30)


GO_ON = threading.Event()
URLS.urlpatterns = [  # type: ignore[attr-defined]
    path("greet", greet),
    path("stuck", stuck),
    path("page", lambda request: HttpResponse(f"{User.objects.count()} users")),
]


def fetched(url: str) -> str:
    with urllib.request.urlopen(url, timeout=30) as answer:
        text: str = answer.read().decode()
        return text


class GreetTests(WebSocketTestCase):
    server_options = {"max_headers": 50}

    def test_login(self) -> None:
        """The WebSocket is of the browser that self.client is; the server sees what the test has made, and the test
        what the handler has made."""
        self.client.force_login(User.objects.create_user("ann"))
        conn = self.dial("/greet")
        self.assertEqual(conn.receive(timeout=30), "hello ann")
        conn.send("bob")
        self.assertEqual(conn.receive_json(timeout=30), 2)
        self.assertEqual(list(User.objects.order_by("id").values_list("username", flat=True)), ["ann", "bob"])
        self.assertEqual(fetched(f"{self.live_server_url}/page"), "2 users")

    def test_strangers(self) -> None:
        """Nothing is there of the test before; a stranger is refused, also where self.client has logged in."""
        self.assertEqual(User.objects.count(), 0)
        for who in (None, Client()):
            with self.assertRaises(syncws.BadHandshakeError) as refused:
                self.dial("/greet", browser=who)
            self.assertEqual((refused.exception.status, refused.exception.response.body), (401, b"Log in first."))  # type: ignore[union-attr]
            self.client.force_login(User.objects.get_or_create(username="ann")[0])

    def test_two_browsers(self) -> None:
        """Each browser has its own login; many handlers at once share the database."""
        conns = []
        for number in range(5):
            browser = Client()
            browser.force_login(User.objects.create_user(f"user{number}"))
            conns.append(self.dial("/greet", {"Origin": self.live_server_url}, browser=browser))
        for number, conn in enumerate(conns):
            self.assertEqual(conn.receive(timeout=30), f"hello user{number}")

    def test_raw(self) -> None:
        """A raw client reaches the project, and what it sends does not hurt it."""
        raw = self.raw("/stuck")
        raw.send_frame(3)
        GO_ON.set()
        self.assertEqual(raw.receive_frame().opcode, syncws.CLOSE)

    def test_static_files(self) -> None:
        """Static files are found as on the development server; other pages are Django's."""
        self.assertEqual(fetched(f"{self.live_server_url}/static/page.css"), "body {}")
        with self.assertRaises(urllib.error.HTTPError) as missing:
            fetched(f"{self.live_server_url}/nowhere")
        self.assertEqual(missing.exception.code, 404)
        missing.exception.close()

    def test_one_server(self) -> None:
        """A test has one server, with the options of its class, and only if it asks for it."""
        self.assertNotIn("live_server", vars(self))
        self.assertIs(self.live_server, self.live_server)
        self.assertEqual(self.live_server.server._options.max_headers, 50)


class StuckTests(WebSocketTestCase):
    """Run by hand below: it fails."""

    shutdown_timeout = 0.05

    def test_stuck(self) -> None:
        """A handler that does not end fails the test."""
        GO_ON.clear()
        self.dial("/stuck", close_timeout=0.05)


class OfStuckTests(unittest.TestCase):
    def test_stuck(self) -> None:
        """A handler that does not end fails its test, in one sentence."""
        result = unittest.TestResult()
        unittest.TestSuite([StuckTests("test_stuck")]).run(result)
        GO_ON.set()
        self.assertEqual((len(result.failures), result.errors), (1, []))
        self.assertIn("a handler is still running, 0.05 s after", result.failures[0][1])


def main() -> int:
    runner = DiscoverRunner(verbosity=0)
    runner.setup_test_environment()
    made = runner.setup_databases()
    load = unittest.defaultTestLoader.loadTestsFromTestCase
    result: Any = unittest.TextTestRunner().run(unittest.TestSuite(map(load, (GreetTests, OfStuckTests))))
    runner.teardown_databases(made)
    return 0 if result.wasSuccessful() and result.testsRun == 7 else 1


if __name__ == "__main__":
    sys.exit(main())
