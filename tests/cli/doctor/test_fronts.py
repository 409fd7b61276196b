"""What stands in front, told from its answers."""

from __future__ import annotations

import unittest

from syncws._cli.doctor.fronts import guess, hops
from syncws._cli.doctor.standin import stand_in
from syncws._http.headers import Headers
from syncws._http.httpclient import ReceivedResponse
from syncws.testing import running
from tests.partners import heavy

from .support import DoctorCase, free_port


def answer(*headers: tuple[str, str], body: bytes = b"") -> ReceivedResponse:
    return ReceivedResponse(502, "", Headers(headers), body)


class AnswerTests(unittest.TestCase):
    def test_headers(self) -> None:
        """The names that programs give themselves, and headers that only one of them sends."""
        for name, value, front in (
            ("Server", "nginx/1.22.1", "nginx"),
            ("Server", "openresty", "nginx"),
            ("Server", "Apache/2.4.71 (Debian)", "apache"),
            ("Server", "awselb/2.0", "alb"),
            ("Server", "cloudflare", "cloudflare"),
            ("CF-RAY", "8f", "cloudflare"),
            ("Via", "1.1 Caddy", "caddy"),
            ("Server", "gunicorn", None),
            ("X-Server", "nginx", None),
        ):
            with self.subTest(name=name, value=value):
                self.assertEqual(guess(answer((name, value))), front)

    def test_several_answers(self) -> None:
        """The first that tells something counts; without any nothing is told."""
        self.assertEqual(guess(answer(), answer(("Server", "nginx"))), "nginx")
        self.assertIsNone(guess())

    def test_pages(self) -> None:
        """HAProxy puts its name nowhere; its page of errors is known."""
        self.assertEqual(guess(answer(body=b"No server is available to handle this request.")), "haproxy")

    def test_what_is_shown(self) -> None:
        """A header that a server wrote is escaped, and cut."""
        shown = hops(answer(("Server", "a\x1b[31m" + "x" * 100), ("Date", "today")))
        self.assertTrue(shown.startswith("Server: a\\x1b[31mxx"), shown)
        self.assertLess(len(shown), 100)


@heavy
class GuessTests(DoctorCase):
    """Programs that are named, or known by their pages of errors."""

    def test_haproxy_without_a_server(self) -> None:
        """Its page of 503 is known, though no header names it."""
        port = free_port()
        place = self.haproxy(
            "defaults\n mode http\n timeout connect 1s\n timeout client 5s\n timeout server 5s\n"
            f"listen all\n bind 127.0.0.1:{port}\n server app 127.0.0.1:{free_port()} check inter 100 fall 1\n",
            port,
        )
        found = self.look(f"ws://{place}/")
        self.assert_found(found, "handshake", "503", "haproxy", "server app 127.0.0.1:8080")
        self.assertEqual(self.front, "haproxy")

    def test_apache_without_upgrade(self) -> None:
        """ProxyPass without upgrade=websocket."""
        port, app = free_port(), self.application()
        place = self.apache(f'ProxyPreserveHost On\nProxyPass "/" "http://127.0.0.1:{app}/"', port)
        found = self.look(f"ws://{place}/")
        self.assert_found(found, "handshake", "lost its Upgrade", "apache", "upgrade=websocket")
        self.assertEqual(self.front, "apache")

    def test_caddy_strips_the_path(self) -> None:
        """handle_path takes the path away that the application knows."""
        port = free_port()
        app = self.enterContext(running(stand_in("127.0.0.1", 0))).port
        place = self.caddy(f"http://:{port} {{\n handle_path /ws* {{\n  reverse_proxy 127.0.0.1:{app}\n }}\n}}\n", port)
        found = self.look(f"ws://{place}/ws/x")
        self.assert_found(found, "request", "path or query were changed", "caddy", "not handle_path")
        self.assertEqual(self.front, "caddy")
