"""url.py: what a client is given, taken apart; what cannot work refused, and no password repeated."""

from __future__ import annotations

import base64
import random
import unittest

from syncws._http.url import ProxyURL, ServerURL, bracketed, parse_proxy_url, parse_server_url

#: URL: (secure, host, port, target, authority)
SERVERS = {
    "ws://a": (False, "a", 80, "/", "a"),
    "wss://a": (True, "a", 443, "/", "a"),
    "ws://a:80/": (False, "a", 80, "/", "a"),
    "wss://a:443/": (True, "a", 443, "/", "a"),
    "ws://a:443/": (False, "a", 443, "/", "a:443"),
    "wss://a:80/": (True, "a", 80, "/", "a:80"),
    "ws://a:1/": (False, "a", 1, "/", "a:1"),
    "ws://a:65535/": (False, "a", 65535, "/", "a:65535"),
    "ws://a:0080/": (False, "a", 80, "/", "a"),
    "ws://a:/": (False, "a", 80, "/", "a"),
    # letters of either case
    "WSS://Example.COM/Path?Query": (True, "example.com", 443, "/Path?Query", "example.com"),
    # path, query and fragment
    "ws://a/b/c": (False, "a", 80, "/b/c", "a"),
    "ws://a//b/../c": (False, "a", 80, "//b/../c", "a"),
    "ws://a?q": (False, "a", 80, "/?q", "a"),
    "ws://a/?": (False, "a", 80, "/", "a"),
    "ws://a/b?q=1&r=2;s#f?g": (False, "a", 80, "/b?q=1&r=2;s", "a"),
    "ws://a#f": (False, "a", 80, "/", "a"),
    "ws://a/b;p?x='\"<>": (False, "a", 80, "/b;p?x='%22%3C%3E", "a"),
    "ws://a/?next=http://u:p@b": (False, "a", 80, "/?next=http://u:p@b", "a"),
    "ws://a/%41%2f%zz": (False, "a", 80, "/%41%2f%25zz", "a"),
    "ws://a/b c?d e": (False, "a", 80, "/b%20c?d%20e", "a"),
    "ws://a/ü\u2028?🎈": (False, "a", 80, "/%C3%BC%E2%80%A8?%F0%9F%8E%88", "a"),
    # names
    "ws://a_b-c.d.": (False, "a_b-c.d.", 80, "/", "a_b-c.d."),
    "ws://bücher.example/ü?q=ä b": (
        False,
        "xn--bcher-kva.example",
        80,
        "/%C3%BC?q=%C3%A4%20b",
        "xn--bcher-kva.example",
    ),
    "wss://BÜCHER.example:8443/": (True, "xn--bcher-kva.example", 8443, "/", "xn--bcher-kva.example:8443"),
    "ws://xn--bcher-kva.example/": (False, "xn--bcher-kva.example", 80, "/", "xn--bcher-kva.example"),
    # addresses
    "ws://127.0.0.1:8080/": (False, "127.0.0.1", 8080, "/", "127.0.0.1:8080"),
    "ws://[::1]": (False, "::1", 80, "/", "[::1]"),
    "ws://[::1]:/": (False, "::1", 80, "/", "[::1]"),
    "wss://[FE80::A]:8443/x": (True, "fe80::a", 8443, "/x", "[fe80::a]:8443"),
    "ws://[::ffff:127.0.0.1]/": (False, "::ffff:127.0.0.1", 80, "/", "[::ffff:127.0.0.1]"),
    "ws://[fe80::1%25eth0]:8080/x": (False, "fe80::1%eth0", 8080, "/x", "[fe80::1]:8080"),
    "ws://[fe80::1%25lo-0]/": (False, "fe80::1%lo-0", 80, "/", "[fe80::1]"),
    "ws://[fe80::1%eth0]/": (False, "fe80::1%eth0", 80, "/", "[fe80::1]"),
}

#: URL: what its path and query become.
TARGETS = {
    "/{id}?q={a}": "/%7Bid%7D?q=%7Ba%7D",
    '/a b"c<d>e\\f^g`h|i': "/a%20b%22c%3Cd%3Ee%5Cf%5Eg%60h%7Ci",
    "/[a]?b[]=1": "/%5Ba%5D?b%5B%5D=1",
    "?a b&c=\xfc": "/?a%20b&c=%C3%BC",
    "/%7Bid%7D%20%c3%bc?a=%5B": "/%7Bid%7D%20%c3%bc?a=%5B",
    "/100%?a=50%&b=%2": "/100%25?a=50%25&b=%252",
    "/%%41%": "/%25%41%25",
    "/%u00fc": "/%25u00fc",
    "/%\u0662\u0662": "/%25%D9%A2%D9%A2",
    "/-._~!$&'()*+,;=:@/": "/-._~!$&'()*+,;=:@/",
    "?-._~!$&'()*+,;=:@/?": "/?-._~!$&'()*+,;=:@/?",
    "/\x85a": "/%C2%85a",
    "/a?b#{}": "/a?b",
}

#: What stands before the host: user and password that are sent.
CREDENTIALS = {
    "user:secret": b"user:secret",
    "user": b"user:",
    ":secret": b":secret",
    "user:se:cret": b"user:se:cret",
    "us%40er:se%3Acr%2Fet%25": b"us@er:se:cr/et%",
    "%C3%BC:\xf6": "ü:ö".encode(),
    "user:%ff": b"user:\xff",
    "": None,
}

#: What cannot be the URL of a server, by what the error says of it.
NO_SERVERS = {
    "must begin with ws:// or wss://": [
        "",
        "a",
        "a.example",
        "a.example:80",
        "127.0.0.1:80",
        "//a",
        "/a",
        "ws:a",
        "ws:/a",
    ],
    "must begin with ws:// or wss://, not http:": ["http://a", "HTTP://a:80/b"],
    "must begin with ws:// or wss://, not https:": ["https://a"],
    "control character, or a blank at an end": [
        "ws://\ud800/",
        "ws://a/\udfff",
        " ws://a",
        "ws://a ",
        "ws://a\n",
        "\nws://a",
        "ws://a/\r\nb",
        "w\ns://a",
        "ws://a\tb",
        "ws://a/\0",
        "ws://a/\x7f",
        "ws://a/\xa0",
    ],
    "credentials that are invalid": [
        "ws://a\\user:secret@b",
        "ws://user:sec@ret@a",
        "ws://us er:secret@a",
        "ws://us%3Aer:secret@a",
        "ws://user:secret%0d%0a@a",
        "ws://us%00er@a",
    ],
    "no valid port: a number from 1 to 65535": [
        "ws://a:0",
        "ws://a:65536/",
        "ws://a:x",
        "ws://a:-1",
        "ws://a:+1",
        "ws://a: 1",
        "ws://a:1_0",
        "ws://a:\u0661",  # a digit, in Arabic
        "ws://[::1]:x/",
    ],
    "no valid host": [
        "ws://",
        "ws:///a",
        "wss:a?b://c",
        "ws://:80/",
        "ws://?a",
        "ws://#a",
        "ws://::1/",
        "ws://a b/",
        "ws://\xa0a/",
        "ws://a,b/",
        "ws://a;b/",
        "ws://a*/",
        "ws://a\\b/",
        "ws://a%41/",
        "ws://a%2eb/",
        f"ws://{'a' * 64}/",
        f"ws://{'ä' * 64}/",
        "ws://a..b/",
        "ws://.a/",
        "ws://../",
        "ws://ä..b/",
    ],
    "": [  # urlsplit refuses some of these, which of them depends on its version
        "ws://[::1",
        "ws://::1]/",
        "ws://[]/",
        "ws://[a]/",
        "ws://[v1.a]/",
        "ws://[::g]/",
        "ws://[[::1]]/",
        "ws://[::1]]/",
        "ws://[::1]8080/",
        "ws://[::1]x:8080/",
        "ws://a[::1]/",
        "ws://[::1%25]/",
        "ws://[::1%25a/b]/",
        "ws://[::1%25a%20b]/",
        "ws://a\u2100b/",
        "ws://a\uff0fb/",
        "ws://a/\ud800",
    ],
}

#: URL: (scheme, host, port, username, password)
PROXIES = {
    "http://a": ("http", "a", 80, None, ""),
    "https://a": ("https", "a", 443, None, ""),
    "socks5://a": ("socks5", "a", 1080, None, ""),
    "socks://a": ("socks5", "a", 1080, None, ""),  # GNOME's
    "SOCKS://user:secret@a:1/": ("socks5", "a", 1, "user", "secret"),
    "socks5h://a": ("socks5h", "a", 1080, None, ""),
    "http://a:3128/x?y#z": ("http", "a", 3128, None, ""),
    "HTTP://[::1]:3128": ("http", "::1", 3128, None, ""),
    "socks5://bücher.example": ("socks5", "xn--bcher-kva.example", 1080, None, ""),
    "http://user:secret@a": ("http", "a", 80, "user", "secret"),
    "http://user@a": ("http", "a", 80, "user", ""),
    "http://:secret@a": ("http", "a", 80, "", "secret"),
    "http://us%40er:se%3Acr%2Fet%25@[::1]:1": ("http", "::1", 1, "us@er", "se:cr/et%"),
    "http://user:se:cr@et@a": ("http", "a", 80, "user", "se:cr@et"),
    "http://ü:se cret@a": ("http", "a", 80, "ü", "se cret"),
}

NO_PROXIES = [
    "socks5://user@p",
    "socks5h://:secret@p",
    "socks5://user:s%C3%A4cret@p",
    f"socks5://user:{'secret' * 50}@p",
    "http://user:\ud800secret@p",
    "",
    "a:3128",
    "user:secret@a:3128",
    "ws://a",
    "socks4://user:secret@a",
    "http://",
    "http://user:secret@",
    "http://user:secret@a:0",
    "http://user:secret@a:x",
    "http://user:secret@[a]",
    "http://user:secret@[::1",
    "http://user:secret@a b",
    "http://user:secret\n@a",
    "http://user:secret\uff0f@a",  # no slash, but becomes one by NFKC: an error of urlsplit that repeats all of it
    "http://user:secret@a\u2100b",
    "http://user:0/secret@a",
]


class ServerTests(unittest.TestCase):
    """parse_server_url."""

    def test_parts(self) -> None:
        """A URL is where to connect, what to ask for there, and what the Host header says."""
        for url, parts in SERVERS.items():
            with self.subTest(ascii(url)):
                self.assertEqual(parse_server_url(url), ServerURL(*parts))

    def test_characters_that_no_uri_may_have(self) -> None:
        """Braces, blanks, quotes, brackets and letters of the world are percent-encoded in path and query, once.

        Tomcat answers 400 to each of them as it is. What is encoded already is not encoded again.
        """
        for given, target in TARGETS.items():
            with self.subTest(ascii(given)):
                found = parse_server_url(f"ws://a{given}")
                self.assertEqual(found.target, target)
                self.assertEqual(parse_server_url(found.url).target, target)

    def test_credentials(self) -> None:
        """User and password in the URL are percent-decoded into a Basic Authorization, and stand in no text."""
        for given, sent in CREDENTIALS.items():
            with self.subTest(ascii(given)):
                found = parse_server_url(f"ws://{given}@a:1/b?c")
                self.assertEqual(found, ServerURL(False, "a", 1, "/b?c", "a:1", sent))
                told = None if sent is None else f"Basic {base64.b64encode(sent).decode()}"
                self.assertEqual(found.authorization, told)
                self.assertEqual((str(found), found.url), ("ws://a:1/b", "ws://a:1/b?c"))
                self.assertNotIn("secret", repr(found))

    def test_any_text(self) -> None:
        """Whatever text is dialed, the answer is a place whose target is ASCII, or a ValueError of one short line."""
        chance = random.Random(3986)
        pieces = [*'ws:/?#[]@%{}\\ "<>^`|.:-_~0aÿ☃\r\n\t\0\x7f\x85\xa0\ud800\uff0f\u3002', "ws://", "wss://", "a.b"]
        pieces += [
            "%41",
            "%zz",
            "user:secret@",
            "[::1]",
            "[fe80::1%25eth0]",
            ":80",
            ":99999",
            "xn--",
            "ü",
            "/../",
            "://",
        ]
        for _ in range(5000):
            url = chance.choice(["ws://", "wss://", "ws://a", ""]) + "".join(
                chance.choices(pieces, k=chance.randrange(9))
            )
            try:
                found = parse_server_url(url)
            except ValueError as error:
                self.assertLess(len(str(error)), 300, ascii(url))
                self.assertTrue(str(error).isprintable(), ascii(url))
                self.assertNotIn("secret", str(error), ascii(url))
            else:
                self.assertRegex(found.target, r"\A/(?:%[0-9A-Fa-f]{2}|[\x21-\x24\x26-\x7e])*\Z")

    def test_refused(self) -> None:
        """What cannot work is a ValueError that says why."""
        for told, urls in NO_SERVERS.items():
            for url in urls:
                with self.subTest(ascii(url)):
                    with self.assertRaises(ValueError) as caught:
                        parse_server_url(url)
                    self.assertIn(told, str(caught.exception))

    def test_how_to_write_it(self) -> None:
        """Who leaves the scheme out, or takes HTTP's, is shown what a URL looks like, and which scheme to write."""
        for url in ("a.example", "http://a"):
            with self.assertRaisesRegex(ValueError, 'such as "wss://example.com/feed"'):
                parse_server_url(url)
        for scheme, instead in {"http": "ws", "https": "wss", "HTTPS": "wss"}.items():
            with self.assertRaisesRegex(ValueError, rf"\(write {instead}: for {scheme.lower()}:\)"):
                parse_server_url(f"{scheme}://a")

    def test_a_host_that_browsers_read_otherwise(self) -> None:
        """strasse.example was dialed for a name with a sharp s, which belongs to somebody else where browsers look."""
        for name in ("stra\xdfe.example", "STRA\xdfE.example", "\u03b1\u03c2.example", "a\u200db.example"):
            with self.subTest(ascii(name)), self.assertRaisesRegex(ValueError, "xn-- form"):
                parse_server_url(f"wss://{name}/")
        self.assertEqual(parse_server_url("wss://xn--strae-oqa.example/").host, "xn--strae-oqa.example")

    def test_a_character_that_becomes_a_dot(self) -> None:
        """One of those with which IDNA makes an empty label is as wrong as two dots."""
        for host in ("\u2024", "a\u2024\u2024b", "a\u2025b"):
            with self.subTest(ascii(host)), self.assertRaisesRegex(ValueError, "no valid host"):
                parse_server_url(f"ws://{host}/")
        self.assertEqual(parse_server_url("ws://a\u2024b/").host, "a.b")

    def test_no_str(self) -> None:
        """What is no str is a TypeError that says what it is."""
        for url in (None, b"ws://a", 5):
            with self.assertRaisesRegex(TypeError, f"the URL must be a str .*, not {type(url).__name__}"):
                parse_server_url(url)  # type: ignore[arg-type]

    def test_errors_keep_secrets(self) -> None:
        """No error shows a password, nor a query, which may be a token."""
        for url in (
            "ws://us er:secret@a",
            "ws://user:secret@a:99999",
            "ws://user:secret@[::1",
            "ws://user:secret@[a]/",
            "ws://user:secret@a b/",
            "ws://user:secret\uff0f@a/",
            "http://user:secret@a/",
            "ws://a:x/?secret",
            "ws://a b/?secret",
            "ws://a/?secret\n",
            "http://a/?secret",
            "a/?secret",
        ):
            with self.subTest(ascii(url)):
                with self.assertRaises(ValueError) as caught:
                    parse_server_url(url)
                self.assertNotIn("secret", str(caught.exception))

    def test_shown_for_a_log(self) -> None:
        """As text it is a URL without the query; a port that goes without saying is left out."""
        for url, shown in {
            "WSS://A.example:443?secret": "wss://a.example/",
            "ws://a:8080/b?secret#secret": "ws://a:8080/b",
            "ws://[::1]/ü?secret": "ws://[::1]/%C3%BC",
            "ws://user:secret@a/": "ws://a/",
        }.items():
            self.assertEqual(str(parse_server_url(url)), shown)

    def test_http(self) -> None:
        """The same place as HTTP has it, for cookies: ws is http, and wss is https."""
        for url, http in {
            "ws://a/b?c#d": "http://a:80/b?c",
            "wss://a": "https://a:443/",
            "wss://[::1]:8443/": "https://[::1]:8443/",
        }.items():
            self.assertEqual(parse_server_url(url).http, http)

    def test_what_is_parsed_stays_parsed(self) -> None:
        """The text of a URL, taken apart again, is the same place."""
        for url in SERVERS:
            found = parse_server_url(url)
            if "%" not in found.host:  # a zone is not shown
                again = parse_server_url(str(found))
                self.assertEqual((again.host, again.port, again.secure), (found.host, found.port, found.secure))


class ProxyTests(unittest.TestCase):
    """parse_proxy_url."""

    def test_parts(self) -> None:
        """A URL is where the proxy is and who we are to it, percent-encoded; path and query mean nothing."""
        for url, parts in PROXIES.items():
            with self.subTest(ascii(url)):
                self.assertEqual(parse_proxy_url(url), ProxyURL(*parts))

    def test_refused(self) -> None:
        """What cannot be a proxy is a ValueError, which never shows a password."""
        for url in NO_PROXIES:
            with self.subTest(ascii(url)):
                with self.assertRaises(ValueError) as caught:
                    parse_proxy_url(url)
                self.assertNotIn("secret", str(caught.exception))

    def test_how_to_write_it(self) -> None:
        """The error for a wrong scheme names the right ones, and shows where credentials stand."""
        for url, found in {"a:3128": "socks5h://; such", "ws://a": "socks5h://, not ws:; such"}.items():
            with self.assertRaises(ValueError) as caught:
                parse_proxy_url(url)
            self.assertIn(
                f"the proxy must begin with http:// or https:// or socks5:// or {found}", str(caught.exception)
            )
            self.assertIn('"http://user:password@proxy.example.com:3128"', str(caught.exception))

    def test_no_str(self) -> None:
        """What is no str is a TypeError that says what it is."""
        with self.assertRaisesRegex(TypeError, "the proxy must be a str .*, not bytes"):
            parse_proxy_url(b"http://a")  # type: ignore[arg-type]

    def test_shown_for_a_log(self) -> None:
        """As text it has no credentials, and its repr no password."""
        proxy = parse_proxy_url("https://user:secret@[::1]/secret")
        self.assertEqual(str(proxy), "https://[::1]:443")
        self.assertNotIn("secret", repr(proxy))


class BracketTests(unittest.TestCase):
    """bracketed, and what is in brackets."""

    def test_an_escape_that_spoils_an_address(self) -> None:
        """What is in brackets is an address also once it is decoded; one with a zone stays one."""
        for parse, scheme in ((parse_server_url, "ws"), (parse_proxy_url, "http")):
            with self.subTest(scheme), self.assertRaisesRegex(ValueError, "no valid address in brackets: '::aeaaa'"):
                parse(f"{scheme}://[::a%65aaa]")
            self.assertEqual(parse(f"{scheme}://[fe80::1%25eth0]").host, "fe80::1%eth0")

    def test_bracketed(self) -> None:
        """Only an IPv6 address gets brackets."""
        for host, found in {"a": "a", "127.0.0.1": "127.0.0.1", "::1": "[::1]"}.items():
            self.assertEqual(bracketed(host), found)


if __name__ == "__main__":
    unittest.main()
