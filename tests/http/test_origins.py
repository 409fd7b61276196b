"""origins.py: which page may open a connection, and that whatever was refused can be listed as the log shows it."""

import random
import unittest

from syncws._base.printable import printable
from syncws._http.hosts import MOST_SHOWN
from syncws._http.origins import AllowedOrigins, is_same_origin
from syncws._http.request import Request


def request(*headers, host="example.com", target="/"):
    return Request("GET", target, [("Host", host), *headers])


def from_origin(origin, host="example.com", target="/"):
    return request(("Origin", origin), host=host, target=target)


def allows(entries, origin):
    return AllowedOrigins(entries).allow(from_origin(origin))


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
            "http://example.com:443",
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
        self.assertFalse(is_same_origin(from_origin("http://example.com", host="example.com:443")))

    def test_default_ports(self):
        """The default port of the Origin's scheme is the same as none, on either side (RFC 6454 section 4)."""
        for origin, host in (
            ("https://a", "a:443"),  # nginx: proxy_set_header Host $host:$server_port
            ("https://a:443", "a"),
            ("https://a:443", "a:443"),
            ("https://a", "a"),
            ("HTTPS://A:443", "a"),
            ("http://a", "a:80"),
            ("http://a:80", "a"),
            ("http://a:", "a:80"),
            ("wss://a", "a:443"),
            ("ws://a:80", "a"),
            ("https://[::1]", "[::1]:443"),
            ("http://[::1]:80", "[::1]"),
            ("https://a:8443", "a:8443"),
            ("app://a:443", "a:443"),
        ):
            with self.subTest(origin=origin, host=host):
                self.assertTrue(is_same_origin(from_origin(origin, host=host)))
        for origin, host in (
            ("https://a", "a:80"),
            ("http://a", "a:443"),
            ("https://a:80", "a"),
            ("https://a:80", "a:443"),
            ("http://a:443", "a"),
            ("https://a", "a:8443"),
            ("https://a:8443", "a"),
            ("app://a:443", "a"),
            ("app://a", "a:80"),
            ("https://a", "[::1]:443"),
        ):
            with self.subTest(origin=origin, host=host):
                self.assertFalse(is_same_origin(from_origin(origin, host=host)))

    def test_behind_a_proxy_that_ends_tls(self):
        """The scheme of the request does not count: a proxy that ends TLS passes the request on over plain HTTP."""
        for scheme in ("http", "https"):
            for host in ("a", "a:443"):
                asked = Request("GET", "/", [("Host", host), ("Origin", "https://a")], scheme=scheme)
                self.assertTrue(is_same_origin(asked))

    def test_one_host_in_several_forms(self):
        """Capitals, the dot that ends a full name (nginx's $host is without) and long IPv6 addresses do not count."""
        for origin, host in (
            ("https://example.com.", "example.com"),
            ("https://example.com", "EXAMPLE.COM."),
            ("https://example.com.:443", "example.com"),
            ("http://[0:0:0:0:0:0:0:1]", "[::1]:80"),
            ("http://[2001:db8::A]", "[2001:DB8::a]"),
        ):
            with self.subTest(origin=origin, host=host):
                self.assertTrue(is_same_origin(from_origin(origin, host=host)))
        for origin, host in (("https://example.com..", "example.com"), ("https://.", ""), ("https://:443", "")):
            self.assertFalse(is_same_origin(from_origin(origin, host=host)))

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
        for origin in origins:
            with self.subTest(pattern=pattern, origin=origin):
                self.assertTrue(allows([pattern], origin))

    def assertNotAllowed(self, pattern, *origins):
        for origin in origins:
            with self.subTest(pattern=pattern, origin=origin):
                self.assertFalse(allows([pattern], origin))

    def test_no_origin(self):
        """A request without an Origin passes."""
        self.assertTrue(AllowedOrigins([]).allow(request()))

    def test_none_allowed(self):
        """With no patterns, none passes, not even the server's own."""
        self.assertFalse(allows([], "http://example.com"))

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
            "https://..example.com",
            "https://a..example.com",
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
        self.assertTrue(allows(patterns, "https://x.b.example"))
        self.assertFalse(allows(patterns, "https://x.c.example"))

    def test_bad_patterns(self):
        """What no header holds, and a star that would stand for more than it says, is ValueError with the fix."""
        for pattern in (
            "",
            "https://*",
            "https://*example.com",
            "https://a.*.com",
            "https://*.*.com",
            "https://*.",
            "*.example.com",
            "*://example.com",
            "http://localhost:*",
            "chrome-extension://*",
            "localhost:*",
            "https://*.stra\xdfe.example",
            " https://example.com",
            "https://example.com\n",
            "https://example.com\r\nX: y",
            "\0",
            "\u65e5\u672c",
            "https://a.\u2028.example",
            "**",
        ):
            with self.subTest(pattern=pattern):
                with self.assertRaises(ValueError) as caught:
                    AllowedOrigins([pattern])
                self.assertIn(repr(pattern), str(caught.exception))
                self.assertIn("https://app.example.com", str(caught.exception))

    def test_what_clients_send(self):
        """Whatever origin the log shows can be listed as it came, also where no browser would send it."""
        for origin in (
            *(
                "file://",
                "file:///",
                "null",
                "localhost:12345",
                "localhost",
                "192.168.4.1",
                "example.com:80",
                "a.example",
            ),
            *("chrome-extension://abcdef", "moz-extension://6ba7b810-9dad-11d1-80b4-00c04fd430c8", "app://obsidian.md"),
            *(
                "capacitor://localhost",
                "ionic://localhost",
                "tauri://localhost",
                "vscode-webview://1a2b",
                "app://-",
                "app://.",
            ),
            *("HTTPS://EXAMPLE.COM", "https://example.com:443", "https://example.com.", "https://example.com/"),
            *("https://example.com/path?query#fragment", "https://user@example.com", "http://[::1]:8080", "[::1]:8080"),
            *(
                "http://[FE80::1%25eth0]",
                "http://10.0.2.2",
                "https://xn--mnchen-3ya.example",
                "https://m\xfcnchen.example",
            ),
            *(
                "http://",
                "https://:443",
                "http://localhost:",
                "about:blank",
                "data:",
                "blob:https://a.example/1",
                "undefined",
            ),
            *(
                "https://a.example, https://a.example",
                "https://a.example https://b.example",
                "'quoted'",
                'a"b',
                "a\\b",
                "/",
            ),
            *("a\tb", "a\x85b\xadc", "\x1b[31mred", "//a.example", "?", "#", "@", "\xa0"),
        ):
            with self.subTest(origin):
                shown = printable(origin, MOST_SHOWN)
                self.assertTrue(allows([origin], origin))
                self.assertTrue(allows([shown], origin))
                self.assertIn("add it to allowed_origins", AllowedOrigins(["https://other.example"]).advice(origin))

    def test_any_origin_can_be_listed(self):
        """Any text that a header can hold passes if it is listed, raw or as the log shows it, and opens little else."""
        rng = random.Random(4)
        parts = ["http://", "https://", "app://", "a.example", "b.example", ":443", ":80", "[::1]", "localhost", "%41"]
        parts += [
            *"./:@?#\\[]'\"-_,; aZ9",
            "\t",
            "\x01",
            "\x1b",
            "\x7f",
            "\x85",
            "\xa0",
            "\xad",
            "\xdf",
            "\xfc",
            "\xff",
        ]
        origins = list(
            dict.fromkeys("".join(rng.choices(parts, k=rng.randrange(1, 8))).strip(" \t") for _ in range(1500))
        )
        origins.remove("")
        lists = [AllowedOrigins([origin]) for origin in origins]
        for origin, listed in zip(origins, lists, strict=True):
            self.assertTrue(listed.allow(from_origin(origin)), origin)
            self.assertTrue(allows([printable(origin, len(origin))], origin), origin)
        for origin, listed in zip(origins[:100], lists, strict=False):
            for other in origins:
                if listed.allow(from_origin(other)):
                    self.assertEqual(self.squeezed(other), self.squeezed(origin))

    @staticmethod
    def squeezed(origin):
        """A text without everything in which two texts that are the same origin may differ."""
        for left_out in (":80", ":443", ".", ":", "/", "xn--4ca", "\xfc"):
            origin = origin.lower().replace(left_out, "")
        return origin

    def test_stars_in_origins(self):
        """A star that a client sends opens nothing: listed it stands for itself, as documented, or is refused."""
        for origin in ("*", "https://*.example.com", "https://*", "http://localhost:*", "a*b"):
            self.assertNotIn("add it", AllowedOrigins([]).advice(origin))
            self.assertIn("check_origin", AllowedOrigins([]).advice(origin))
        self.assertTrue(allows(["https://*.example.com"], "https://*.example.com"))
        self.assertFalse(allows(["https://a.example.com"], "https://*.example.com"))

    def test_what_cannot_be_listed(self):
        """The advice for an empty origin, or one too long to be shown whole, does not say that it can be listed."""
        self.assertIn("check_origin", AllowedOrigins([]).advice(""))
        self.assertIn("check_origin", AllowedOrigins([]).advice("x" * (MOST_SHOWN + 1)))
        longest = f"https://{'a' * 61}.{'b' * 63}.{'c' * 63}.{'d' * 63}:65535"
        self.assertIn("add it", AllowedOrigins([]).advice(longest))

    def test_names_in_other_letters(self):
        """A name in other letters stands for its xn-- form, which is what browsers send; in wildcards, too."""
        self.assertAllowed("https://m\xfcnchen.example:8443", "https://xn--mnchen-3ya.example:8443")
        self.assertAllowed("https://*.M\xdcNCHEN.example", "https://a.xn--mnchen-3ya.example")
        self.assertAllowed("https://\u65e5\u672c.example/", "https://xn--wgv71a.example")
        self.assertNotAllowed("https://stra\xdfe.example", "https://strasse.example")
        self.assertNotAllowed("https://m\xfcnchen.example", "http://xn--mnchen-3ya.example", "https://munchen.example")

    def test_slash_at_the_end(self):
        """A slash that was pasted with a URL does not count; a path is no part of an origin, and stays a text."""
        self.assertAllowed("https://example.com/", "https://example.com", "https://example.com/")
        self.assertAllowed("HTTPS://Example.com:443/", "https://example.com")
        self.assertNotAllowed("https://example.com/path", "https://example.com", "https://example.com/")
        self.assertNotAllowed("https://example.com", "https://example.com/")

    def test_hint(self):
        """Where an entry has the host that was refused, the advice shows that entry, and what makes it another."""
        for entry in ("example.com", "http://example.com", "https://example.com:8443", "https://example.com/path"):
            advice = AllowedOrigins(["https://a.example", entry]).advice("https://example.com")
            self.assertIn(f"allowed_origins of the Upgrader, which has {entry!r}: scheme, host and port", advice)
        self.assertNotIn("which has", AllowedOrigins(["https://a.example"]).advice("https://example.com"))
        self.assertNotIn("which has", AllowedOrigins(["app://"]).advice("file://"))

    def test_null_is_no_page(self):
        """The advice for null says that any page can send it."""
        self.assertIn("any page can send null", AllowedOrigins([]).advice("null"))


if __name__ == "__main__":
    unittest.main()
