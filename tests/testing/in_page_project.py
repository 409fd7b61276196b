"""A program that runs the tests which docs/testing.md shows for Django, in a project: its settings are global."""

from __future__ import annotations

import sys
import types
import unittest
from typing import Any

import django
from django.conf import settings

URLS = types.ModuleType("urls")

settings.configure(
    DATABASES={"default": {"ENGINE": "django.db.backends.sqlite3", "NAME": ":memory:"}},
    INSTALLED_APPS=["django.contrib.auth", "django.contrib.contenttypes", "django.contrib.sessions"],
    MIDDLEWARE=[
        "django.contrib.sessions.middleware.SessionMiddleware",
        "django.contrib.auth.middleware.AuthenticationMiddleware",
    ],
    ROOT_URLCONF=URLS,
    SECRET_KEY="secret",
)
django.setup()

# Once it is set up:
from django.contrib.auth.models import User  # noqa: E402
from django.http import HttpRequest, HttpResponse  # noqa: E402
from django.test.runner import DiscoverRunner  # noqa: E402
from django.urls import path  # noqa: E402

import syncws  # noqa: E402
from syncws.django import websocket_view  # noqa: E402
from tests.testing.test_page import blocks  # noqa: E402


def known(request: HttpRequest) -> HttpResponse | None:
    return None if request.user.is_authenticated else HttpResponse("Log in first.", status=403)


@websocket_view(before=known)
def search(request: HttpRequest, conn: syncws.Conn) -> None:
    for word in conn.messages(text=True):
        conn.send_json(list(User.objects.filter(username__contains=word).values_list("username", flat=True)))


URLS.urlpatterns = [path("search", search)]  # type: ignore[attr-defined]


def main() -> int:
    page: dict[str, Any] = {"__name__": "shop.tests"}
    for block in blocks("django-tests"):
        exec(block, page)
    runner = DiscoverRunner(verbosity=0)
    runner.setup_test_environment()
    made = runner.setup_databases()
    result = unittest.TextTestRunner().run(unittest.defaultTestLoader.loadTestsFromTestCase(page["SearchTests"]))
    runner.teardown_databases(made)
    return 0 if result.wasSuccessful() and result.testsRun == 2 else 1


if __name__ == "__main__":
    sys.exit(main())
