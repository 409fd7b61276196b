"""What both sides of the opening handshake share."""

import base64
import random
import unittest

from syncws._http.handshake import (
    accept_for,
    has_token,
    is_valid_key,
    is_websocket_upgrade,
    make_key,
    parse_extensions,
    parse_tokens,
    select_subprotocol,
    subprotocols,
)
from syncws._http.headers import Headers
from syncws._http.hosts import AllowedHosts
from syncws._http.origins import AllowedOrigins, is_same_origin
from syncws._http.request import Request
from tests.handshakes import ACCEPT, KEY

ALLOWED = AllowedOrigins(["https://*.example.com", "http://example.com", "null"])
HOSTS = AllowedHosts(["*.example.com", "example.com", "[::1]"])


def request(*headers, host="example.com", target="/"):
    return Request("GET", target, [("Host", host), *headers])


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
        """Sixteen bytes in Base64 are valid, whichever they are, and whatever the bits after them are."""
        rng = random.Random(1)
        for data in (bytes(16), b"\xff" * 16, *(rng.randbytes(16) for _ in range(200))):
            self.assertTrue(is_valid_key(base64.b64encode(data).decode()))
        for last in "ABQRgw/+z9":
            self.assertTrue(is_valid_key(f"{KEY[:21]}{last}=="))
            self.assertEqual(len(base64.b64decode(f"{KEY[:21]}{last}==")), 16)

    def test_invalid_keys(self):
        """Other lengths and other characters are not, nor is a padding that is missing or too long."""
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

    def test_other_protocols(self):
        """Upgrade may name other protocols with their version; one that is malformed ends its line only."""
        for lines, found in (
            (["HTTP/2.0, websocket"], True),
            (["h2c", "a/1 , WebSocket"], True),
            (["a/1/2, websocket"], False),
            (["a/, websocket"], False),
            (["a/, websocket", "websocket"], True),
            (["websocket/13"], False),
            (["x/websocket"], False),
        ):
            with self.subTest(lines):
                asked = request(("Connection", "Upgrade"), *(("Upgrade", line) for line in lines))
                self.assertIs(is_websocket_upgrade(asked), found)

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
            ALLOWED.allow(asked)
            HOSTS.allow(values[2][1])
            is_valid_key(values[0][1])
            accept_for(values[0][1])
            found += len(subprotocols(asked))
            found += len(parse_extensions(asked.headers.get_all("Sec-WebSocket-Extensions")))
        self.assertGreater(found, 1000)  # or there was nothing but junk


if __name__ == "__main__":
    unittest.main()
