"""A program that runs the blocks of docs/databases.md for Django, in a project of its own: its settings are global.

`python -m tests.databases.in_django FOLDER` keeps its database in that folder, and ends with 0 if all tests pass.
"""

from __future__ import annotations

import os
import sys
import types
import unittest
from pathlib import Path
from typing import Any

import django
from django.conf import settings

from syncws.testing import await_, connect

from . import run_blocks

DATABASE = Path(sys.argv[1]) / "shop"
URLS = types.ModuleType("urls")

settings.configure(
    ALLOWED_HOSTS=["testserver"],
    DATABASES={
        "default": {
            "ENGINE": "django.db.backends.sqlite3",
            "NAME": str(DATABASE),
            "TEST": {"NAME": str(DATABASE)},
            "OPTIONS": {"timeout": 0.5},
        }
    },
    INSTALLED_APPS=["django.contrib.auth", "django.contrib.contenttypes"],
    ROOT_URLCONF=URLS,
    PASSWORD_HASHERS=["django.contrib.auth.hashers.MD5PasswordHasher"],
    SECRET_KEY="secret",
)
django.setup()

# Once it is set up:
from django.contrib.auth.models import User  # noqa: E402
from django.core.wsgi import get_wsgi_application  # noqa: E402
from django.db import connections  # noqa: E402
from django.test import TestCase, TransactionTestCase  # noqa: E402
from django.test.runner import DiscoverRunner  # noqa: E402
from django.urls import path  # noqa: E402

PAGE: dict[str, Any] = {"__name__": "shop.views"}
run_blocks("django", PAGE)
TESTS: dict[str, Any] = {"__name__": "shop.tests"}
run_blocks("django-tests", TESTS)
URLS.urlpatterns = [path("search", PAGE["search"]), path("watch", PAGE["watch"])]  # type: ignore[attr-defined]


def asked(client: Any) -> Any:
    client.send("an")
    return client.receive_json(timeout=5)


class HeldTests(TransactionTestCase):
    def check(self, where: str, *, reads: bool) -> None:
        User.objects.create_user("ann")
        connections.close_all()
        with connect(get_wsgi_application(), where, headers={"Host": "testserver"}) as client:
            answer = asked(client) if reads else client.receive_json(timeout=5)
            self.assertEqual(answer, ["ann"] if reads else 1)
            self.assertTrue(await_(lambda: not held()), "the handler holds a connection while it waits")

    def test_reads(self) -> None:
        """A handler that waits for a message holds no connection."""
        self.check("/search", reads=True)

    def test_pushes(self) -> None:
        """A handler that only pushes holds none after release_connections."""
        self.check("/watch", reads=False)


class InTransactionTests(TestCase):
    def test_nothing_is_seen(self) -> None:
        """In a TestCase a handler does not see what the test has made: the reason for TransactionTestCase."""
        User.objects.create_user("ann")
        with connect(get_wsgi_application(), "/search", headers={"Host": "testserver"}) as client:
            self.assertEqual(asked(client), [])


def held() -> list[str]:
    """The descriptors of this process that are open on the database."""
    names = [f"/proc/self/fd/{name}" for name in os.listdir("/proc/self/fd")]
    return [name for name in names if os.path.lexists(name) and os.path.realpath(name) == os.path.realpath(DATABASE)]


def main() -> int:
    runner = DiscoverRunner(verbosity=0)
    runner.setup_test_environment()
    made = runner.setup_databases()
    load = unittest.defaultTestLoader.loadTestsFromTestCase
    suite = unittest.TestSuite(load(each) for each in (TESTS["SearchTests"], InTransactionTests, HeldTests))
    result = unittest.TextTestRunner().run(suite)
    runner.teardown_databases(made)
    return 0 if result.wasSuccessful() and result.testsRun == 4 else 1


if __name__ == "__main__":
    sys.exit(main())
