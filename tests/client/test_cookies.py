"""cookies.py: the jar of a Dialer, what it keeps of answers and what it sends."""

from __future__ import annotations

import http.cookiejar
import unittest
from typing import Any

from syncws._client.dialer import Dialer
from tests.certificates import serving, trusting
from tests.client.cases import DialCase, accepting, frame
from tests.tasks import PATIENCE


class TestCookies(DialCase):
    """Cookies, which a jar of the standard library keeps."""

    def setUp(self) -> None:
        super().setUp()
        self.jar = http.cookiejar.CookieJar()

    def in_jar(self) -> dict[str, str | None]:
        return {cookie.name: cookie.value for cookie in self.jar}

    def visit(self, server: Any, headers: Any = None, **options: Any) -> str | None:
        """The Cookie header that a server gets."""
        self.dial(server.url, headers, cookie_jar=self.jar, **options).close_now()
        cookie: str | None = server.asked[-1].headers.get("Cookie")
        return cookie

    def test_kept_and_sent(self) -> None:
        """Cookies of a 101 are stored, several too, and sent the next time (TestDialCookieJar)."""
        server = self.bad_server(accepting("Set-Cookie: a=1; Path=/", "set-cookie: b=2", "Set-Cookie2: c=3"))
        self.assertIsNone(self.visit(server))
        self.assertEqual(self.in_jar(), {"a": "1", "b": "2"})
        self.assertEqual(set(str(self.visit(server)).split("; ")), {"a=1", "b=2"})

    def test_of_a_real_server(self) -> None:
        """A session cookie of syncws.Server comes back to it."""
        server = self.echo_server(response_headers={"Set-Cookie": "id=1234"})
        for _ in range(2):
            self.dial(server.url, cookie_jar=self.jar).close()
        self.assertEqual([request.headers.get("Cookie") for request in server.requests], [None, "id=1234"])

    def test_of_a_refusal(self) -> None:
        """Set-Cookie of a refusal is stored as well, whether the status is wrong or a header of the 101."""
        self.refused(b"HTTP/1.1 401 Unauthorized\r\nContent-Length: 0\r\nSet-Cookie: a=1\r\n\r\n", cookie_jar=self.jar)
        self.refused(accepting("Set-Cookie: b=2", accept=None), cookie_jar=self.jar)
        self.assertEqual(self.in_jar(), {"a": "1", "b": "2"})

    def test_the_callers_cookie_replaces(self) -> None:
        """The caller's Cookie header, in any case, is sent in place of the jar's."""
        server = self.bad_server(accepting("Set-Cookie: a=1"))
        self.visit(server)
        self.visit(server, {"cookie": "b=2"})
        self.assertEqual(server.asked[-1].headers.get_all("Cookie"), ["b=2"])

    def test_without_a_jar(self) -> None:
        """Without a jar no cookie is stored; the caller's Cookie header is sent."""
        server = self.bad_server(accepting("Set-Cookie: a=1"))
        self.dial(server.url).close_now()
        self.dial(server.url, {"Cookie": "b=2"}).close_now()
        self.assertEqual([asked.headers.get_all("Cookie") for asked in server.asked], [[], ["b=2"]])

    def test_secure_cookies(self) -> None:
        """A cookie marked Secure goes over wss and not over ws, to the same host."""
        secure = self.bad_server(accepting("Set-Cookie: a=1; Secure; Path=/"), tls=serving())
        plain = self.bad_server(accepting())
        self.visit(secure, ssl_context=trusting())
        self.assertEqual(self.visit(secure, ssl_context=trusting()), "a=1")
        self.assertIsNone(self.visit(plain))

    def test_of_a_path(self) -> None:
        """The URL's path decides which cookies go out."""
        server = self.bad_server(accepting("Set-Cookie: a=1; Path=/feed"))
        self.dial(f"{server.url}feed/x", cookie_jar=self.jar).close_now()
        self.dial(f"{server.url}other", cookie_jar=self.jar).close_now()
        self.dial(f"{server.url}feed?q=1#f", cookie_jar=self.jar).close_now()
        self.assertEqual([asked.headers.get("Cookie") for asked in server.asked], [None, None, "a=1"])

    def test_of_the_urls_host(self) -> None:
        """The URL's host decides which cookies go out, and never a Host header."""
        server = self.bad_server(accepting("Set-Cookie: a=1"))
        dialer = Dialer(cookie_jar=self.jar, net_dial=server.net_dial)
        for url, host in (
            ("ws://one.example", None),
            ("ws://two.example", "one.example"),
            ("ws://one.example", "two.example"),
        ):
            self.dial(url, host and {"Host": host}, dialer=dialer).close_now()
        self.assertEqual([asked.headers.get("Cookie") for asked in server.asked], [None, None, "a=1"])

    def test_strange_set_cookies(self) -> None:
        """A malformed Set-Cookie is ignored, whatever it looks like, and the connection works."""
        strange = [
            "",
            ";",
            "=",
            "\xff=\xfe",
            "a=1; Max-Age=x; Expires=never",
            "b=2; Domain=.elsewhere.example",
            "=;" * 99,
        ]
        server = self.bad_server(accepting(*(f"Set-Cookie: {value}" for value in strange), behind=frame(b"hello")))
        conn = self.dial(server.url, cookie_jar=self.jar)
        self.assertEqual(conn.receive(timeout=PATIENCE), "hello")
        conn.close_now()
        self.assertNotIn("b", self.in_jar())
        self.dial(server.url, cookie_jar=self.jar)

    def test_a_cookie_with_control_characters(self) -> None:
        """A server cannot store a cookie with which no request can be sent (RFC 6265bis section 5.6 step 1)."""
        server = self.bad_server(accepting("Set-Cookie: a=\x01", "Set-Cookie: b=\x7f", "Set-Cookie: c=\xe4"))
        self.visit(server)
        self.assertEqual(self.visit(server), "c=\xe4")


if __name__ == "__main__":
    unittest.main()
