"""What both sides of the opening handshake share."""

import base64
import random
import unittest

from syncws._http.handshake import (
    accept_for,
    check_origin_pattern,
    has_token,
    is_allowed_origin,
    is_same_origin,
    is_valid_key,
    is_websocket_upgrade,
    make_key,
    parse_extensions,
    parse_tokens,
    select_subprotocol,
    subprotocols,
)
from syncws._http.headers import Headers
from syncws._http.request import Request
from tests.handshakes import ACCEPT, KEY


def request(*headers, host="example.com", target="/"):
    return Request("GET", target, [("Host", host), *headers])


def from_origin(origin, host="example.com", target="/"):
    return request(("Origin", origin), host=host, target=target)


class TokenTests(unittest.TestCase):
    def test_lists(self):
        """Tokens come in order, of all lines, with the case they had and without blanks."""
        for values, tokens in [
            ([], []),
            ([""], []),
            (["foo"], ["foo"]),
            (["foo,bar"], ["foo", "bar"]),
            ([" foo ,\tBar "], ["foo", "Bar"]),
            (["a, b", "c"], ["a", "b", "c"]),
            (["!#$%&'*+-.^_`|~09azAZ"], ["!#$%&'*+-.^_`|~09azAZ"]),
        ]:
            with self.subTest(values=values):
                self.assertEqual(parse_tokens(values), tokens)

    def test_empty_elements(self):
        """Empty elements are skipped (RFC 9110 section 5.6.1.2)."""
        self.assertEqual(parse_tokens([", a,, b , ,", ",", " "]), ["a", "b"])

    def test_malformed_elements(self):
        """A malformed element ends its line, but neither what is before it nor other lines."""
        for malformed in ("x y", "x;y", '"x"', "x=y", "x\0", "\xe9", "x\n"):
            with self.subTest(malformed=malformed):
                self.assertEqual(parse_tokens([f"a, {malformed}, b", "c"]), ["a", "c"])

    def test_has_token(self):
        """A token is found in any place of any line, whatever its case, and only as a whole (as in gorilla)."""
        for value, found in [
            ("websocket", True),
            ("WebSocket", True),
            ("other, websocket, more", True),
            ("other,websocket", True),
            ("websockets", False),
            ("x websocket", False),
            ("websocket x", False),
            ("x y, websocket", False),
            ("websocket, x y", True),
            ("", False),
        ]:
            with self.subTest(value=value):
                self.assertIs(has_token(Headers({"Upgrade": value}), "upgrade", "websocket"), found)
        lines = Headers([("Upgrade", "h2c"), ("Other", "a"), ("upgrade", "WEBSOCKET")])
        self.assertTrue(has_token(lines, "Upgrade", "WebSocket"))
        self.assertFalse(has_token(lines, "Upgrade", "a"))
        self.assertFalse(has_token(lines, "Connection", "websocket"))

    def test_linear_time(self):
        """Long lines made to be tried again and again are not; quadratic time would take hours."""
        n = 1_000_000
        for line in (
            " " * n + "(",
            "," * n + "(",
            "a" + " " * n + "(",
            "a" * n + "(",
            "a" + ";b=c" * n + "(",
            'a;b="' + "\\x" * n,
            "a;b=" + '"' * n,
            "a;b" + " " * n + "=" + " " * n + "(",
        ):
            with self.subTest(line=line[:10]):
                self.assertEqual((parse_tokens([line]), parse_extensions([line])), ([], []))


class ExtensionTests(unittest.TestCase):
    def test_grammar(self):
        """Names, parameters with and without value, quoted values (as in gorilla)."""
        for line, extensions in [
            ("", []),
            ("foo", [("foo", [])]),
            ("foo, bar; baz=2", [("foo", []), ("bar", [("baz", "2")])]),
            ("foo , bar ; baz = 2 ", [("foo", []), ("bar", [("baz", "2")])]),
            ("foo;a;b=1;c", [("foo", [("a", None), ("b", "1"), ("c", None)])]),
            ('foo; bar="b,a;z", x', [("foo", [("bar", "b,a;z")]), ("x", [])]),
            ('foo; bar="10"', [("foo", [("bar", "10")])]),
            (r'foo; bar="a\"b\\c\d"', [("foo", [("bar", r'a"b\cd')])]),
            ('foo; bar=""', [("foo", [("bar", "")])]),
            (", foo,, bar,", [("foo", []), ("bar", [])]),
            ("foo; a, foo", [("foo", [("a", None)]), ("foo", [])]),
            (
                "permessage-deflate; client_max_window_bits; server_max_window_bits=10, permessage-deflate",
                [
                    ("permessage-deflate", [("client_max_window_bits", None), ("server_max_window_bits", "10")]),
                    ("permessage-deflate", []),
                ],
            ),
        ]:
            with self.subTest(line=line):
                self.assertEqual(parse_extensions([line]), extensions)

    def test_malformed_elements(self):
        """A malformed element ends its line, but neither what is before it nor other lines."""
        for malformed in (
            "bar; baz=2 junk",
            "bar junk",
            "bar;",
            "bar;;baz",
            "bar; baz=",
            'bar; baz="x',
            'bar; baz="x\\"',
            'bar; baz="x"y',
            "bar=2",
            '"bar"',
            "bar; b z",
            "bar; =2",
        ):
            with self.subTest(malformed=malformed):
                self.assertEqual(parse_extensions([f"foo, {malformed}, x", "y"]), [("foo", []), ("y", [])])


class KeyTests(unittest.TestCase):
    def test_accept(self):
        """The accept of the key in RFC 6455 section 1.3 is the one printed there."""
        self.assertEqual(accept_for(KEY), ACCEPT)

    def test_made_keys(self):
        """Made keys are valid and differ."""
        keys = {make_key() for _ in range(100)}
        self.assertEqual(len(keys), 100)
        self.assertTrue(all(is_valid_key(key) and len(base64.b64decode(key)) == 16 for key in keys))

    def test_valid_keys(self):
        """Sixteen bytes in canonical Base64 are valid, whichever they are."""
        rng = random.Random(1)
        for data in (bytes(16), b"\xff" * 16, *(rng.randbytes(16) for _ in range(200))):
            self.assertTrue(is_valid_key(base64.b64encode(data).decode()))

    def test_invalid_keys(self):
        """Other lengths, other characters and other spellings of sixteen bytes are not."""
        valid = KEY
        for key in (
            "",
            base64.b64encode(bytes(15)).decode(),
            base64.b64encode(bytes(17)).decode(),
            valid[:-1],
            valid[:-2],
            valid + "=",
            valid + "\n",
            " " + valid,
            valid.replace("Q==", "R=="),  # bits set that belong to no byte
            valid.replace("d", "-"),
            valid.replace("d", "\xe9"),
            valid[:10] + "\n" + valid[10:],
            "====" * 6,
        ):
            with self.subTest(key=key):
                self.assertFalse(is_valid_key(key))


class RequestTests(unittest.TestCase):
    def test_is_websocket_upgrade(self):
        """Both headers are needed, each as a token in a list, whatever its case."""
        connection, upgrade = ("connection", "keep-alive, Upgrade"), ("upgrade", "WebSocket")
        self.assertTrue(is_websocket_upgrade(request(connection, upgrade)))
        self.assertFalse(is_websocket_upgrade(request(connection)))
        self.assertFalse(is_websocket_upgrade(request(upgrade)))
        self.assertFalse(is_websocket_upgrade(request(connection, ("Upgrade", "h2c"))))
        self.assertFalse(is_websocket_upgrade(request(("Connection", "close"), upgrade)))

    def test_subprotocols(self):
        """The offers of all lines, in order (gorilla looks at the first line only)."""
        name = "Sec-WebSocket-Protocol"
        self.assertEqual(subprotocols(request()), [])
        self.assertEqual(subprotocols(request((name, " foo, bar "), (name.lower(), "baz"))), ["foo", "bar", "baz"])

    def test_select_subprotocol(self):
        """The client's order decides, case matters, and no match is None (as in gorilla)."""
        self.assertEqual(select_subprotocol(["a", "b"], ["b", "a"]), "a")
        self.assertEqual(select_subprotocol(["x", "b"], ["a", "b"]), "b")
        self.assertIsNone(select_subprotocol(["A"], ["a"]))
        self.assertIsNone(select_subprotocol([], ["a"]))
        self.assertIsNone(select_subprotocol(["a"], []))


class SameOriginTests(unittest.TestCase):
    def test_no_origin(self):
        """A request without an Origin passes: no browser sent it."""
        self.assertTrue(is_same_origin(request()))

    def test_same(self):
        """Host and port decide; scheme, user information, path and ASCII case do not (as in gorilla)."""
        for origin in (
            "http://example.com",
            "https://EXAMPLE.com",
            "http://user@example.com",
            "http://example.com/path",
            "http://example.com?q",
            "http://example.com#f",
        ):
            with self.subTest(origin=origin):
                self.assertTrue(is_same_origin(from_origin(origin)))
        self.assertTrue(is_same_origin(from_origin("http://example.com", host="Example.COM")))
        self.assertTrue(is_same_origin(from_origin("http://example.com:8080", host="example.com:8080")))
        self.assertTrue(is_same_origin(from_origin("http://[::1]:80", host="[::1]:80")))

    def test_other(self):
        """Another host, a port the Host does not name, and what is no URL with a host do not pass (as in gorilla)."""
        for origin in (
            "http://example.org",
            "http://example.com:80",
            "http://www.example.com",
            "http://example.com.evil.org",
            "http://example.com@evil.org",
            "http://evil.org/example.com",
            "http://evil.org?@example.com",
            "http://evil.org#@example.com",
            "http://evil.org/@example.com",
            "http://evil.org\\@example.com",
            "http://example.com ",
            "null",
            "",
            "example.com",
            "//example.com",
            "file://",
            "file:///example.com",
            "http://",
            "http://[",
            "1://example.com",
        ):
            with self.subTest(origin=origin):
                self.assertFalse(is_same_origin(from_origin(origin)))
        self.assertFalse(is_same_origin(from_origin("http://example.com", host="example.com:80")))

    def test_no_host(self):
        """An empty Host is the same as no origin."""
        self.assertFalse(is_same_origin(from_origin("file://", host="")))
        self.assertFalse(is_same_origin(Request("GET", "/", {"Origin": "http://"}, http_version="1.0")))

    def test_ascii_case_only(self):
        """Only A to Z have two cases: other letters make another host (gorilla's equalASCIIFold)."""
        self.assertFalse(is_same_origin(from_origin("http://\N{KELVIN SIGN}.com", host="k.com")))

    def test_absolute_target(self):
        """The host of an absolute target counts, not the Host header beside it (RFC 9112 section 3.2.2)."""
        self.assertTrue(is_same_origin(from_origin("http://b.org", target="http://b.org/x")))
        self.assertFalse(is_same_origin(from_origin("http://example.com", target="http://b.org/x")))

    def test_first_origin(self):
        """Of several Origin lines the first counts (as in gorilla)."""
        good, bad = ("Origin", "http://example.com"), ("Origin", "http://evil.org")
        self.assertTrue(is_same_origin(request(good, bad)))
        self.assertFalse(is_same_origin(request(bad, good)))


class AllowedOriginTests(unittest.TestCase):
    def assertAllowed(self, pattern, *origins):
        check_origin_pattern(pattern)
        for origin in origins:
            with self.subTest(pattern=pattern, origin=origin):
                self.assertTrue(is_allowed_origin(from_origin(origin), [pattern]))

    def assertNotAllowed(self, pattern, *origins):
        check_origin_pattern(pattern)
        for origin in origins:
            with self.subTest(pattern=pattern, origin=origin):
                self.assertFalse(is_allowed_origin(from_origin(origin), [pattern]))

    def test_no_origin(self):
        """A request without an Origin passes."""
        self.assertTrue(is_allowed_origin(request(), []))

    def test_none_allowed(self):
        """With no patterns, none passes, not even the server's own."""
        self.assertFalse(is_allowed_origin(from_origin("http://example.com"), []))

    def test_exact(self):
        """An exact origin is scheme, host and port, whatever its ASCII case."""
        self.assertAllowed("https://app.example.com", "https://app.example.com", "https://APP.example.com")
        self.assertAllowed("HTTPS://App.Example.com", "https://app.example.com")
        self.assertNotAllowed(
            "https://app.example.com",
            "http://app.example.com",
            "https://app.example.com:8443",
            "https://example.com",
            "https://x.app.example.com",
            "https://app.example.com.evil.org",
            "https://app.example.com/",
            "https://appxexample.com",
            "null",
            "",
        )
        self.assertAllowed("http://[::1]:8080", "http://[::1]:8080")
        self.assertAllowed("chrome-extension://abc", "chrome-extension://abc")

    def test_default_port(self):
        """The scheme's own port may be written or not, as browsers leave it out."""
        self.assertAllowed("https://a.example:443", "https://a.example", "https://a.example:443")
        self.assertAllowed("http://a.example", "http://a.example:80")
        self.assertNotAllowed("http://a.example:443", "http://a.example", "https://a.example")
        self.assertNotAllowed("http://a.example:8080", "http://a.example:80")

    def test_subdomains(self):
        """A wildcard stands for one or more labels, and for nothing else."""
        self.assertAllowed(
            "https://*.example.com", "https://a.example.com", "https://a.b-1.example.com", "https://A.example.com:443"
        )
        self.assertNotAllowed(
            "https://*.example.com",
            "https://example.com",
            "https://.example.com",
            "https://evilexample.com",
            "http://a.example.com",
            "https://a.example.com:8443",
            "https://a.example.com.evil.org",
            "https://evil.org/.example.com",
            "https://evil.org?.example.com",
            "https://evil.org#.example.com",
            "https://evil.org:1.example.com",
            "https://u@a.example.com",
            "https://\xe9.example.com",
            "null",
        )
        self.assertAllowed("http://*.example.com:81", "http://a.example.com:81")

    def test_any(self):
        """The star allows every origin."""
        self.assertAllowed("*", "https://evil.org", "null", "", "junk")

    def test_null(self):
        """The origin null passes only where it is listed."""
        self.assertAllowed("null", "null")
        self.assertNotAllowed("null", "https://a.example")

    def test_several(self):
        """One matching pattern is enough."""
        patterns = ["https://a.example", "https://*.b.example"]
        self.assertTrue(is_allowed_origin(from_origin("https://x.b.example"), patterns))
        self.assertFalse(is_allowed_origin(from_origin("https://x.c.example"), patterns))

    def test_bad_patterns(self):
        """What no origin can match is ValueError that shows it, and how to write it."""
        for pattern in (
            "",
            "example.com",
            "https://",
            "https://example.com/",
            "https://example.com/path",
            "https://u@example.com",
            "https://*",
            "https://*example.com",
            "https://a.*.com",
            "*.example.com",
            "*://example.com",
            "http://localhost:*",
            "http://localhost:",
            "https://m\xfcnchen.example",
            " https://example.com",
            "https://example.com\n",
            "**",
        ):
            with self.subTest(pattern=pattern), self.assertRaises(ValueError) as caught:
                check_origin_pattern(pattern)
            self.assertIn(repr(pattern), str(caught.exception))
            self.assertIn("https://app.example.com", str(caught.exception))


class FuzzTests(unittest.TestCase):
    def test_any_header(self):
        """Headers of any characters are judged, and nothing is raised."""
        rng = random.Random(3)
        parts = [*', ;="\\\t*:/@[]?#()\n\0', "foo", "bar", "13", "upgrade", "http://", "example.com", "\xe9", "\udc80"]
        names = ["Connection", "Upgrade", "Origin", "Sec-WebSocket-Protocol", "Sec-WebSocket-Extensions"]
        found = 0
        for _ in range(5000):
            values = [(name, "".join(rng.choices(parts, k=rng.randrange(8)))) for name in names * 2]
            asked = request(*values)
            is_websocket_upgrade(asked)
            is_same_origin(asked)
            is_allowed_origin(asked, ["https://*.example.com", "http://example.com", "null"])
            is_valid_key(values[0][1])
            accept_for(values[0][1])
            found += len(subprotocols(asked))
            found += len(parse_extensions(asked.headers.get_all("Sec-WebSocket-Extensions")))
        self.assertGreater(found, 1000)  # or there was nothing but junk


if __name__ == "__main__":
    unittest.main()
