"""Header fields: lookup without regard to case, and what may be written."""

import unittest

from syncws._http.headers import Headers, checked_headers


class HeadersTests(unittest.TestCase):
    headers = Headers([("Host", "a"), ("X-Many", "1"), ("x-many", "2")])

    def test_lookup(self):
        """Names are found whatever their case; get and [] give the first value, get_all all in order."""
        self.assertEqual(self.headers.get("HOST"), "a")
        self.assertEqual(self.headers["X-MANY"], "1")
        self.assertEqual(self.headers.get_all("X-Many"), ["1", "2"])
        self.assertIn("hOsT", self.headers)

    def test_absent(self):
        """An absent name gives the default, no values, KeyError, and is not in the headers."""
        self.assertIsNone(self.headers.get("none"))
        self.assertEqual(self.headers.get("none", "d"), "d")
        self.assertEqual(self.headers.get_all("none"), [])
        self.assertNotIn("none", self.headers)
        self.assertNotIn(1, self.headers)
        with self.assertRaises(KeyError):
            self.headers["none"]

    def test_empty_value_is_present(self):
        """A header with an empty value is there."""
        self.assertIn("x", Headers([("X", "")]))
        self.assertEqual(Headers([("X", "")]).get("x", "d"), "")

    def test_iteration(self):
        """Iteration gives the pairs in order, with the case they had."""
        self.assertEqual(list(self.headers), [("Host", "a"), ("X-Many", "1"), ("x-many", "2")])
        self.assertEqual(len(self.headers), 3)

    def test_sources(self):
        """A mapping, pairs, other headers and nothing make headers; equality looks at names without case, in order."""
        self.assertEqual(Headers({"A": "1", "B": "2"}), Headers([("a", "1"), ("b", "2")]))
        self.assertEqual(Headers(self.headers), self.headers)
        self.assertEqual(len(Headers(None)), 0)
        self.assertNotEqual(Headers([("a", "1"), ("b", "2")]), Headers([("b", "2"), ("a", "1")]))
        self.assertEqual(hash(Headers({"A": "1"})), hash(Headers({"a": "1"})))

    def test_repr(self):
        """repr shows the pairs."""
        self.assertEqual(repr(Headers({"A": "1"})), "Headers([('A', '1')])")

    def test_repr_shows_no_secret(self):
        """A token is shown neither under the names that proxies give it, nor in the URL of any header."""
        for name, value, text in (
            ("Authorization", "Bearer hunter2", "(hidden)"),
            ("Cf-Access-Jwt-Assertion", "hunter2", "(hidden)"),
            ("X-Amzn-Oidc-Data", "hunter2", "(hidden)"),
            ("X-Hub-Hmac", "hunter2", "(hidden)"),
            ("Location", "/login?ticket=hunter2", "/login?(hidden)"),
            ("Referer", "https://example.com/#hunter2", "https://example.com/#(hidden)"),
            ("X-Original-Url", "/chat?token=hunter2", "/chat?(hidden)"),
            ("Link", "https://ann:hunter2@example.com/x", "https://(hidden)@example.com/x"),
            ("Origin", "https://example.com:8443", "https://example.com:8443"),
            ("Sec-WebSocket-Key", "dGhlIHNhbXBsZSBub25jZQ==", "dGhlIHNhbXBsZSBub25jZQ=="),
        ):
            with self.subTest(name):
                self.assertEqual(repr(Headers({name: value})), f"Headers([('{name}', '{text}')])")


class CheckedHeadersTests(unittest.TestCase):
    def test_what_may_be_sent(self):
        """Names are tokens, values are text of one line; spaces around a value go, the order stays."""
        given = [("Set-Cookie", " a=1 "), ("X-Empty", ""), ("x-latin", "caf\xe9"), ("X-Tab", "a\tb")]
        expected = [("Set-Cookie", "a=1"), ("X-Empty", ""), ("x-latin", "caf\xe9"), ("X-Tab", "a\tb")]
        self.assertEqual(list(checked_headers(given)), expected)
        self.assertEqual(len(checked_headers(None)), 0)

    def test_what_may_not_be_sent(self):
        """A line break, a control character or a name that is no token is refused by name: nothing is injected."""
        for name, value in [
            ("X-A", "1\r\nInjected: 1"),
            ("X-A", "1\n"),
            ("X-A", "\0"),
            ("X-A", "\x7f"),
            ("X-A", "snow \u2603"),
            ("X A", "1"),
            ("X-A:", "1"),
            ("", "1"),
            ("X-A\r\n", "1"),
        ]:
            with self.subTest(name=name, value=value), self.assertRaises(ValueError) as caught:
                checked_headers([(name, value)])
            self.assertIn(repr(name), str(caught.exception))

    def test_what_is_no_list_of_pairs(self):
        """A header as one str, or anything else that gives no pairs, is a TypeError that says what to write."""
        for source in ("X: y", ["X: y"], 5, [("X",)], b"X"):
            with self.subTest(source=source), self.assertRaisesRegex(TypeError, "headers are a dict of str or a list"):
                checked_headers(source)

    def test_wrong_types(self):
        """Names and values that are not str are a TypeError."""
        for name, value in [("X-A", 1), ("X-A", b"1"), (b"X-A", "1"), ("X-A", None)]:
            with self.subTest(name=name, value=value), self.assertRaises(TypeError):
                checked_headers([(name, value)])
