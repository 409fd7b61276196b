"""The cookies of a framework's own test client, so that a WebSocket comes from the browser which that one plays."""

from __future__ import annotations

import sys
from http.cookies import SimpleCookie
from typing import Any
from unittest import mock

from .._http.headers import Headers, HeaderSource


def with_cookies(headers: HeaderSource | None, browser: object, path: str) -> HeaderSource | None:
    """The headers, and the cookies that this test client would send with a request for a path. None: no client.

    Raises ValueError if the headers have cookies of their own, and TypeError if browser is no test client.
    """
    if browser is None:
        return headers
    given = Headers(headers)
    if "Cookie" in given:
        raise ValueError("give either browser= or a Cookie header: both tell which cookies are sent")
    cookies = _cookies_of(browser, path)
    return [*given, ("Cookie", cookies)] if cookies else headers


def _cookies_of(browser: Any, path: str) -> str:
    # Looked up, not imported: whoever has such a client has imported its module.
    werkzeug = sys.modules.get("werkzeug.test")
    if werkzeug is not None and isinstance(browser, werkzeug.Client):
        return _cookies_of_werkzeug(werkzeug, browser, path)
    cookies = getattr(browser, "cookies", None)
    if isinstance(cookies, SimpleCookie):  # Django's, which sends all of them everywhere
        return "; ".join(f"{name}={morsel.coded_value}" for name, morsel in cookies.items())
    raise TypeError(
        f"browser is a test client, such as Flask's app.test_client() or Django's django.test.Client(), not {browser!r}"
    )


def _cookies_of_werkzeug(werkzeug: Any, browser: Any, path: str) -> str:
    """What a client of werkzeug sends with a request: it asks an application that only looks."""
    seen: list[str] = []

    def look(environ: dict[str, Any], start_response: Any) -> list[bytes]:
        seen.append(environ.get("HTTP_COOKIE", ""))
        start_response("204 No Content", [])
        return []

    with mock.patch.object(browser, "application", look):
        werkzeug.Client.open(browser, path=path, base_url="http://localhost/")  # not Flask's, which asks its own app
    return seen[0]
