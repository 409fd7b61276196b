"""request.py: what a request says, and which requests are refused."""

import unittest

from syncws._http.request import Request
from tests.http.cases import GET, HTTPCase, Wire, head, open_wire, read


class RequestTests(HTTPCase):
    def test_fields(self):
        """Method, target, path, query, version, headers and addresses of a request arrive."""
        request = read(head("X-Name: \xe9", start="POST /a%20b/%C3%A9?q=1&r=a+b&q=2&e= HTTP/1.1"))
        self.assertEqual((request.method, request.target), ("POST", "/a%20b/%C3%A9?q=1&r=a+b&q=2&e="))
        self.assertEqual(request.path, "/a b/é")
        self.assertEqual(request.query_string, "q=1&r=a+b&q=2&e=")
        self.assertEqual(request.query, {"q": "1", "r": "a b", "e": ""})
        self.assertEqual(list(request.headers), [("Host", "a.example"), ("X-Name", "é")])
        self.assertEqual((request.http_version, request.scheme), ("1.1", "http"))
        self.assertEqual((request.remote_address, request.local_address), (Wire.remote_address, Wire.local_address))
        self.assertEqual((request.host, request.has_body, request.body()), ("a.example", False, b""))

    def test_scheme_under_tls(self):
        """The scheme is https when the transport is TLS."""
        wire, exchange = open_wire(GET)
        wire.is_tls = True
        self.assertEqual(exchange.read_request(None).scheme, "https")

    def test_broken_percent_encoding(self):
        """Percent signs that encode nothing, or no UTF-8, do no harm."""
        request = read(head(start="GET /%zz%ff?%zz=%ff HTTP/1.1"))
        self.assertEqual(request.path, "/%zz\N{REPLACEMENT CHARACTER}")
        self.assertEqual(request.query, {"%zz": "\N{REPLACEMENT CHARACTER}"})

    def test_target_forms(self):
        """Origin form, absolute form and OPTIONS * are the targets HTTP knows."""
        for method, target, path, query, host in [
            ("GET", "/", "/", "", "a.example"),
            ("GET", "/?", "/", "", "a.example"),
            ("GET", "//x/y?z", "//x/y", "z", "a.example"),
            ("GET", "http://b.example:8/p?q=/?", "/p", "q=/?", "b.example:8"),
            ("GET", "HTTPS://b.example", "/", "", "b.example"),
            ("GET", "http://b.example?q", "/", "q", "b.example"),
            ("OPTIONS", "*", "*", "", "a.example"),
        ]:
            with self.subTest(target=target):
                request = read(head(start=f"{method} {target} HTTP/1.1"))
                self.assertEqual((request.path, request.query_string, request.host), (path, query, host))

    def test_bad_targets(self):
        """Every other target is 400."""
        for target in ("*", "a.example:80", "path", "?q", "/a#b", "http://", "http:///p", "http://u@h/", "ftp://h/"):
            with self.subTest(target=target):
                self.assertRefused(400, head(start=f"GET {target} HTTP/1.1"), says="target")

    def test_connect(self):
        """CONNECT is 501, whatever its target."""
        self.assertRefused(501, head(start="CONNECT a.example:80 HTTP/1.1"))
        self.assertRefused(501, head(start="CONNECT / HTTP/1.1"))

    def test_host(self):
        """HTTP/1.1 needs exactly one Host, and one that can be a host; HTTP/1.0 may do without; it may be empty."""
        self.assertRefused(400, head(host=None))
        self.assertRefused(400, head("Host: b.example"))
        for bad in ("a b", "a/b", "u@h", "a\\b", "h\xe9", 'a"'):
            with self.subTest(host=bad):
                self.assertRefused(400, head(host=f"Host: {bad}"), says="Host")
        self.assertEqual(read(head(host="Host:")).host, "")
        self.assertEqual(read(head(host="Host: [::1]:80")).host, "[::1]:80")
        self.assertEqual(read(head(host=None, start="GET / HTTP/1.0")).host, "")

    def test_versions(self):
        """HTTP versions other than 1.0 and 1.1 are 505, also HTTP/2's preface."""
        for version in ("0.9", "1.2", "2.0", "9.9"):
            with self.subTest(version=version):
                self.assertRefused(505, head(start=f"GET / HTTP/{version}"))
        self.assertRefused(505, b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n")

    def test_cookies(self):
        """Cookies of all lines are read; the first of a name counts, quotes go, junk is skipped."""
        request = Request("GET", "/", [("Cookie", 'a=1; b="x y"; a=2; junk; =3; c='), ("cookie", 'd=a=b;e="; f=""')])
        self.assertEqual(request.cookies, {"a": "1", "b": "x y", "c": "", "d": "a=b", "e": '"', "f": ""})

    def test_application_data(self):
        """data is one dict for the life of the request; conn, refusal and on_upgrade begin as None."""
        request = Request("GET", "/")
        request.data["user"] = "ann"
        self.assertEqual(request.data, {"user": "ann"})
        self.assertEqual((request.conn, request.refusal, request.on_upgrade, request.exchange), (None,) * 4)

    def test_made_by_hand(self):
        """A request that came over no connection has no body, and a bad one is ValueError."""
        self.assertEqual(Request("GET", "/x", {"Host": "h"}).body(), b"")
        with self.assertRaises(ValueError):
            Request("GET", "x")
        with self.assertRaises(ValueError):
            Request("GET", "/", {"Host": "a b"})
        self.assertEqual(repr(Request("GET", "/x?y")), "<Request GET /x?y>")


if __name__ == "__main__":
    unittest.main()
