"""response.py: what a response says, and how it leaves."""

import json
import unittest

from syncws._http.response import Response, switching_protocols
from tests.http.cases import UPGRADE, HTTPCase, head, open_wire, parse_answer


class ResponseTests(HTTPCase):
    def send(self, response, method="GET"):
        wire, exchange = open_wire(head(start=f"{method} / HTTP/1.1"))
        exchange.read_request(None)
        exchange.send_response(response, deadline=None)
        self.assertTrue(exchange.keep_alive)
        return wire.sent

    def test_text(self):
        """A str is UTF-8 plain text; status line, Date and Content-Length are written."""
        data = self.send(Response("é"))
        self.assertTrue(data.startswith(b"HTTP/1.1 200 OK\r\n"))
        _, headers, body, _ = parse_answer(data)
        self.assertEqual(body, "é".encode())
        self.assertRegex(headers.pop("date"), r"\A\w{3}, \d\d \w{3} \d{4} \d\d:\d\d:\d\d GMT\Z")
        self.assertEqual(headers, {"content-type": "text/plain; charset=utf-8", "content-length": "2"})

    def test_content_type(self):
        """The content type is the argument, else the header's, else what the body suggests; both are an error."""
        html = "text/html; charset=utf-8"
        self.assertEqual(Response("x", content_type=html).headers.get_all("Content-Type"), [html])
        self.assertEqual(Response("x", headers={"content-type": html}).headers.get_all("Content-Type"), [html])
        self.assertEqual(Response(b"x").headers["Content-Type"], "application/octet-stream")
        self.assertNotIn("Content-Type", Response(status=404).headers)
        with self.assertRaisesRegex(ValueError, "Content-Type"):
            Response("x", headers={"content-type": html}, content_type=html)
        with self.assertRaisesRegex(ValueError, "Content-Type"):
            Response("x", content_type="text/html\r\nX: y")

    def test_json(self):
        """Response.json makes a JSON body with its content type."""
        _, headers, body, _ = parse_answer(self.send(Response.json({"a": [1]}, status=201)))
        self.assertEqual((json.loads(body), headers["content-type"]), ({"a": [1]}, "application/json"))

    def test_headers_in_order(self):
        """Headers leave as given, repeated ones on their own lines, blanks around values removed."""
        pairs = [("Set-Cookie", "a=1"), ("X-Y", " v "), ("Set-Cookie", "b=\xe9")]
        self.assertIn(b"Set-Cookie: a=1\r\nX-Y: v\r\nSet-Cookie: b=\xe9\r\n", self.send(Response(headers=pairs)))

    def test_injection(self):
        """A name or value that would break the head is ValueError that names the header, before anything is sent."""
        for name, value in [
            ("X-Evil", "a\r\nY: b"),
            ("X-Evil", "a\n"),
            ("X-Evil", "a\r"),
            ("X-Evil", "a\0"),
            ("X-Evil", "a\x0b"),
            ("X-Evil", "\N{SNOWMAN}"),
            ("X-Evil\r\nY", "b"),
            ("X-Evil ", "b"),
            ("X-Evil:", "b"),
            ("", "b"),
        ]:
            for make in (lambda pairs: Response(headers=pairs), switching_protocols):
                with self.subTest(name=name, value=value), self.assertRaises(ValueError) as caught:
                    make([("Ok", "1"), (name, value)])
                self.assertIn(repr(name), str(caught.exception))

    def test_headers_of_the_library(self):
        """What the library writes itself is refused by name."""
        for name in ("content-length", "DATE", "Connection", "Transfer-Encoding", "Keep-Alive"):
            with self.subTest(name=name), self.assertRaisesRegex(ValueError, name.lower()):
                Response(headers={name: "1"})

    def test_wrong_types(self):
        """Types that cannot be meant are TypeError, statuses that are no final answer ValueError."""
        for says, make in [
            ("body must be str or bytes", lambda: Response({"a": 1})),
            ("status must be an int", lambda: Response(status="200")),
            ("header 'X'", lambda: Response(headers={"X": 1})),
            ("header b'X'", lambda: Response(headers={b"X": "1"})),
        ]:
            with self.subTest(says=says), self.assertRaisesRegex(TypeError, says):
                make()
        for status in (0, 100, 101, 199, 1000):
            with self.assertRaises(ValueError):
                Response(status=status)

    def test_head(self):
        """The answer to HEAD has the length the body would have, and no body."""
        data = self.send(Response("hello"), method="HEAD")
        self.assertTrue(data.endswith(b"\r\n\r\n"))
        self.assertEqual(parse_answer(data, "HEAD")[1]["content-length"], "5")

    def test_statuses_without_body(self):
        """204 and 304 leave without body and length."""
        for status in (204, 304):
            data = self.send(Response("hello", status))
            self.assertTrue(data.endswith(b"\r\n\r\n"))
            self.assertNotIn(b"ontent-Length", data)

    def test_upgrade_header(self):
        """An answer that names an upgrade says so in Connection too, beside close (RFC 9110 section 7.8)."""
        wire, exchange = open_wire(UPGRADE)
        exchange.read_request(None)
        exchange.send_response(Response(status=426, headers={"Upgrade": "websocket"}), deadline=None)
        _, headers, _, _ = parse_answer(wire.sent)
        self.assertEqual(headers["connection"], "Upgrade, close")

    def test_unknown_status(self):
        """A status without a name leaves with an empty reason."""
        self.assertTrue(self.send(Response(status=599)).startswith(b"HTTP/1.1 599 \r\n"))
        self.assertEqual(repr(Response("abc", 404)), "<Response 404 Not Found, 3 bytes>")

    def test_switching_protocols(self):
        """The head of a 101 has exactly the headers given, in order."""
        self.assertEqual(
            switching_protocols([("Upgrade", "websocket"), ("Connection", "Upgrade"), ("X", "1"), ("X", "2")]),
            b"HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: Upgrade\r\nX: 1\r\nX: 2\r\n\r\n",
        )


if __name__ == "__main__":
    unittest.main()
