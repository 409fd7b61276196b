"""Proves that no text of the library shows a credential: not an exception, not a repr, not a log line.

Whoever makes a mistake next to a token reads the error in a log that others read too. So an error names the place and
the kind of what was wrong, and shows no value that may be a secret. The same of reprs, which end up in logs.
"""

from __future__ import annotations

import http.cookiejar
import logging
import traceback
import unittest
from collections.abc import Callable
from typing import Any

from syncws import Dialer, Headers, Request, Response, Upgrader
from syncws._http.head import say_malformed
from syncws._http.http11 import HTTPConnection
from syncws._http.request import BadRequest
from syncws._http.url import parse_proxy_url, parse_server_url
from syncws._net.transport import Transport
from syncws._wsgi.environ import request_of
from syncws.errors import HandshakeError, MessageType
from syncws.testing import socketpair
from tests.client.cases import DialCase, accepting

SECRET = "hunter2-eyJhbGciOi"
BEARER = f"Bearer {SECRET}"

#: What somebody does wrong with a secret in hand: (fault, call).
MISTAKES: tuple[tuple[str, Callable[[], Any]], ...] = (
    ("headers is a list of lines", lambda: Dialer().check_headers([f"Authorization: {BEARER}"])),  # type: ignore[list-item]
    ("headers is one line", lambda: Dialer().check_headers(f"Authorization: {BEARER}")),  # type: ignore[arg-type]
    ("headers is bytes", lambda: Dialer().check_headers(f"Authorization: {BEARER}".encode())),  # type: ignore[arg-type]
    ("headers is one pair", lambda: Dialer().check_headers(("Authorization", BEARER))),  # type: ignore[arg-type]
    ("headers is a set of lines", lambda: Dialer().check_headers({f"Authorization: {BEARER}"})),  # type: ignore[arg-type]
    ("the value is in the name", lambda: Dialer().check_headers({f"Authorization: {BEARER}": ""})),
    ("the name is bytes", lambda: Dialer().check_headers({f"Cookie: {SECRET}".encode(): "x"})),  # type: ignore[dict-item]
    ("the value is bytes", lambda: Dialer().check_headers({"Authorization": BEARER.encode()})),  # type: ignore[dict-item]
    ("the value is a list", lambda: Dialer().check_headers({"Cookie": [SECRET]})),  # type: ignore[dict-item]
    ("the value ends in a newline", lambda: Dialer().check_headers({"Authorization": BEARER + "\n"})),
    ("the headers of a Response are lines", lambda: Response("", 200, [f"Set-Cookie: {SECRET}"])),  # type: ignore[list-item]
    ("proxy_headers is a line", lambda: Dialer(proxy_headers=f"Proxy-Authorization: {BEARER}")),  # type: ignore[arg-type]
    ("proxy is bytes", lambda: Dialer(proxy=f"http://me:{SECRET}@proxy".encode())),  # type: ignore[arg-type]
    ("proxy is a dict", lambda: Dialer(proxy={"http": f"http://me:{SECRET}@proxy"})),  # type: ignore[arg-type]
    ("proxy is of an unknown scheme", lambda: Dialer(proxy=f"ftp://me:{SECRET}@proxy")),
    ("proxy has no scheme", lambda: Dialer(proxy=f"me:{SECRET}@proxy:3128")),
    ("proxy has a bad port", lambda: Dialer(proxy=f"http://me:{SECRET}@proxy:no")),
    ("proxy has brackets", lambda: Dialer(proxy=f"http://me:{SECRET}@[proxy")),
    ("the proxy's password is too long", lambda: Dialer(proxy=f"socks5://me:{SECRET * 99}@proxy")),
    ("cookie_jar is a dict", lambda: Dialer(cookie_jar={"session": SECRET})),  # type: ignore[arg-type]
    ("a subprotocol is no token", lambda: Dialer(subprotocols=["chat", BEARER])),
    ("subprotocols is one str", lambda: Dialer(subprotocols=SECRET)),
    ("subprotocols has bytes", lambda: Dialer(subprotocols=["chat", SECRET.encode()])),  # type: ignore[list-item]
    ("subprotocols of an Upgrader is one str", lambda: Upgrader(subprotocols=SECRET)),
    ("the URL has credentials and no port", lambda: parse_server_url(f"wss://me:{SECRET}@example.com:x/")),
    ("the URL has another scheme", lambda: parse_server_url(f"https://example.com/?token={SECRET}")),
    ("the URL has a blank at its end", lambda: parse_server_url(f"wss://example.com/?token={SECRET} ")),
    ("the URL has a bad port", lambda: parse_server_url(f"wss://example.com:x/?token={SECRET}")),
    ("the URL has no host", lambda: parse_server_url(f"wss:///?token={SECRET}")),
    ("the URL has brackets", lambda: parse_server_url(f"wss://[::1/?token={SECRET}")),
    ("the environ lacks the method", lambda: request_of({"HTTP_COOKIE": SECRET})),
    ("the environ is none", lambda: Upgrader().upgrade([("HTTP_COOKIE", SECRET)])),  # type: ignore[arg-type]
    ("the message is in the place of its type", lambda: MessageType(SECRET)),
)


class Mistakes(unittest.TestCase):
    """Errors of the caller."""

    def test_no_error_shows_a_credential(self) -> None:
        """Credentials in texts: the TypeError for headers=["Authorization: ..."] showed the token; no error does."""
        for fault, call in MISTAKES:
            with self.subTest(fault), self.assertRaises((TypeError, ValueError)) as caught:
                call()
            with self.subTest(fault):
                shown = "".join(traceback.format_exception_only(caught.exception)) + repr(caught.exception)
                self.assertNotIn("hunter2", shown)
                self.assertTrue(str(caught.exception).isprintable())


class Reprs(unittest.TestCase):
    """What reprs and str() show."""

    def test_no_repr_shows_a_credential(self) -> None:
        """Credentials in a header, a query, a URL, a cookie or a subprotocol are hidden; the rest is shown."""
        jar = http.cookiejar.CookieJar()
        jar.set_cookie(_cookie("session", SECRET))
        for shown, found in (
            (
                Headers([("Host", "a"), ("Authorization", BEARER)]),
                "('Host', 'a'), ('Authorization', '(hidden)')",
            ),
            (Headers({"cookie": SECRET}), "(hidden)"),
            (Headers({"Set-Cookie": SECRET}), "(hidden)"),
            (Headers({"Proxy-Authorization": SECRET}), "(hidden)"),
            (Headers({"X-Api-Key": SECRET}), "(hidden)"),
            (Headers({"Sec-WebSocket-Protocol": f"chat, {SECRET}"}), "(hidden)"),
            (Request("GET", f"/chat?room=1&token={SECRET}"), "<Request GET /chat?room=...&token=...>"),
            (Request("GET", f"/chat?{SECRET}"), "<Request GET /chat?...>"),
            (parse_server_url(f"wss://example.com/chat?token={SECRET}"), "example.com"),
            (parse_server_url(f"wss://me:{SECRET}@example.com/chat"), "example.com"),
            (parse_proxy_url(f"http://me:{SECRET}@proxy"), "proxy"),
            (Dialer(cookie_jar=jar, subprotocols=["chat", SECRET], proxy=f"http://me:{SECRET}@proxy"), "Dialer("),
        ):
            with self.subTest(found):
                self.assertIn(found, repr(shown))
                self.assertNotIn("hunter2", repr(shown) + str(shown))


class ServersLog(unittest.TestCase):
    """What a server says of a request."""

    def test_refusals_show_no_query_and_no_token(self) -> None:
        """Refusals never show a query's value, nor a subprotocol that is a token; they show path and setting."""
        request = Request(
            "GET",
            f"/chat?token={SECRET}",
            {
                "Host": "example.com",
                "Origin": "https://elsewhere.example",
                "Upgrade": "websocket",
                "Connection": "Upgrade",
                "Sec-WebSocket-Version": "13",
                "Sec-WebSocket-Key": "dGhlIHNhbXBsZSBub25jZQ==",
                "Sec-WebSocket-Protocol": f"chat, {SECRET}",
                "Authorization": BEARER,
            },
        )
        with self.assertLogs("syncws", logging.DEBUG) as logs, self.assertRaises(HandshakeError) as caught:
            Upgrader().upgrade(request)
        self.assertIn("GET /chat is refused", "".join(logs.output))
        self.assertNotIn("hunter2", "".join(logs.output) + str(caught.exception) + repr(caught.exception))

    def test_malformed_header_lines_show_no_value(self) -> None:
        """A malformed header line was logged with its value; it is told by its name, where it has one."""
        for line, named in (
            (f"Authorization : {BEARER}", "(Authorization)"),
            (f"Cookie: {SECRET}\x00", "(Cookie)"),
            (f"{SECRET}", ""),
            (f"X Y: {SECRET}", ""),
        ):
            with self.subTest(line):
                ours, theirs = socketpair()
                with ours, theirs:
                    theirs.sendall(f"GET /?token={SECRET} HTTP/1.1\r\nHost: a\r\n{line}\r\n\r\n".encode("latin-1"))
                    theirs.close()
                    with self.assertRaises(BadRequest) as caught:
                        HTTPConnection(Transport(ours)).read_request(None)
                self.assertNotIn("hunter2", str(caught.exception))
                self.assertIn(named, str(caught.exception))

    def test_what_h11_repeats(self) -> None:
        """Of h11's errors the words are kept, and the bytes are not."""
        for told, said in (
            (f"illegal header line: bytearray(b'Cookie: {SECRET}')", "illegal header line (Cookie)"),
            (f'illegal request line: bytearray(b"GET /{SECRET}\'")', "illegal request line"),
            (f"Illegal header value b'{SECRET}'", "Illegal header value"),
            ("bad Content-Length", "bad Content-Length"),
        ):
            self.assertEqual(say_malformed(ValueError(told)), said)


class ClientsErrors(DialCase):
    """What a client says of an answer."""

    def test_a_token_among_the_subprotocols(self) -> None:
        """A token that was offered as a subprotocol is cut, also where the server repeats it; names are shown."""
        for chosen in ("chat.v9", f"chat.v2, {SECRET}", f"X{SECRET}"):
            found = self.refused(accepting(f"Sec-WebSocket-Protocol: {chosen}"), subprotocols=["chat.v2", SECRET])
            self.assertIn("chat.v2, hunt... was offered", found)
            self.assertNotIn("hunter2", found)

    def test_a_redirect_with_a_token(self) -> None:
        """Where a redirect leads is shown without credentials and query."""
        answer = f"HTTP/1.1 302 Found\r\nLocation: https://me:{SECRET}@a/b?token={SECRET}\r\nContent-Length: 0\r\n\r\n"
        found = self.refused(answer.encode())
        self.assertIn("https://a/b", found)
        self.assertNotIn("hunter2", found)


def _cookie(name: str, value: str) -> http.cookiejar.Cookie:
    return http.cookiejar.Cookie(
        0, name, value, None, False, "example.com", True, False, "/", True, False, None, False, None, None, {}
    )


if __name__ == "__main__":
    unittest.main()
