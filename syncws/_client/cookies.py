"""The cookies of a handshake, which a jar of the standard library keeps: those to send, and those that came."""

from __future__ import annotations

import http.cookiejar
import re
import urllib.request
from email.message import Message
from typing import Any

from .._http.httpclient import ReceivedResponse
from .._http.url import ServerURL

#: A Set-Cookie header with one of these is ignored: RFC 6265bis section 5.6 step 1.
_CONTROL = re.compile(r"[\x00-\x08\x0a-\x1f\x7f]")


def cookies_for(jar: http.cookiejar.CookieJar, server: ServerURL) -> str | None:
    """What the Cookie header says to this server; None if the jar has nothing for it."""
    request = _as_http(server)
    jar.add_cookie_header(request)
    cookies: str | None = request.get_header("Cookie")
    return cookies


def store_cookies(jar: http.cookiejar.CookieJar, server: ServerURL, response: ReceivedResponse) -> None:
    """Store the cookies of an answer."""
    if "Set-Cookie" in response.headers:
        jar.extract_cookies(_HasCookies(response), _as_http(server))  # type: ignore[arg-type]


def _as_http(server: ServerURL) -> Any:
    """The request, in the form that http.cookiejar takes."""
    return urllib.request.Request(server.http)


class _HasCookies:
    """The cookies of an answer, in the form that http.cookiejar takes."""

    def __init__(self, response: ReceivedResponse) -> None:
        self._headers = Message()
        for value in response.headers.get_all("Set-Cookie"):
            if not _CONTROL.search(value):  # else the jar would hold a cookie with which no request can be sent
                self._headers["Set-Cookie"] = value

    def info(self) -> Message:
        return self._headers
