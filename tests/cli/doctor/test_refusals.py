"""What an answer that is no 101 means."""

from __future__ import annotations

import unittest

from syncws._cli.doctor.finding import Finding, Severity
from syncws._cli.doctor.refusals import refusal
from syncws._http.headers import Headers
from syncws._http.httpclient import ReceivedResponse


def judged(status: int, body: str = "", *headers: tuple[str, str], error: str = "") -> Finding:
    fields = [*headers, ("Content-Type", "text/plain")]
    return refusal(ReceivedResponse(status, "", Headers(fields), body.encode()), error)


class RefusalTests(unittest.TestCase):
    def test_statuses(self) -> None:
        """Each status that people meet has its meaning, and a program whose line helps."""
        for status, says, program, line in (
            (200, "a page comes", "nginx", "proxy_pass"),
            (400, "finds no handshake", "nginx", "Upgrade $http_upgrade"),
            (401, "login", "app", "--user"),
            (403, "forbidden", "app", "Cookie"),
            (404, "nothing at this path", "traefik", "stripPrefix"),
            (421, "host is not allowed", "app", "allowed_hosts"),
            (426, "lost its Upgrade", "apache", "upgrade=websocket"),
            (500, "failed", "nginx", "worker_connections"),
            (501, "does not let", "gunicorn", "-k gthread"),
            (502, "does not reach", "caddy", "reverse_proxy"),
            (503, "no room", "haproxy", "maxconn"),
            (504, "does not answer", "gunicorn", "--threads"),
        ):
            with self.subTest(status):
                found = judged(status)
                self.assertEqual((found.check, found.severity), ("handshake", Severity.FAULT))
                self.assertIn(says, found.title)
                self.assertIn(line, dict(found.mending)[program])

    def test_any_other(self) -> None:
        """A status without a row is told as it is."""
        self.assertEqual(judged(418).title, "418 I'm a Teapot: no 101")

    def test_redirect(self) -> None:
        """Where it leads to is shown, escaped; without a Location it is like any other status."""
        found = judged(301, "", ("Location", "https://b/\x1b"))
        self.assertIn("Location: https://b/\\x1b", found.seen)
        self.assertEqual(judged(304).mending, ())

    def test_what_syncws_says(self) -> None:
        """The body of a refusal of syncws tells which line is missing."""
        old = judged(400, "a WebSocket handshake needs HTTP/1.1, and this request is HTTP/1.0; nginx in front needs: x")
        self.assertEqual(dict(old.mending)["nginx"], "proxy_http_version 1.1;")
        lost = judged(426, "this is a WebSocket endpoint, and the request's Upgrade header does not say 'websocket'")
        self.assertIn("lost its Upgrade", lost.title)

    def test_the_reason_is_told_once(self) -> None:
        """syncws's own refusals begin with the reason, which the title has already."""
        self.assertIn('It says: "no key"', judged(400, "Bad Request: no key").seen)

    def test_what_others_say(self) -> None:
        """The first line of a text is shown, escaped; a page is not."""
        self.assertIn('It says: "no \\x1b[31m way"', judged(403, "no \x1b[31m way\nmore").seen)
        self.assertNotIn("It says", judged(403, "<html>", ("Content-Type", "text/html")).seen)

    def test_a_101_that_is_none(self) -> None:
        """What is wrong with it is told, without the URL."""
        found = judged(101, error="no WebSocket at ws://a/: its Upgrade header does not say 'websocket'")
        self.assertEqual(found.seen, "its Upgrade header does not say 'websocket'.")


if __name__ == "__main__":
    unittest.main()
