"""hosts.py: one form for each host, and the hosts that a server answers to."""

from __future__ import annotations

import random
import unittest

from syncws._http.hosts import AllowedHosts, ascii_name, plain_host


class PlainHostTests(unittest.TestCase):
    def test_one_form(self) -> None:
        """Capitals, the dot that ends a full name, long IPv6 addresses and zeros before a port make no other host."""
        for authority, plain in (
            ("Example.COM", ("example.com", "")),
            ("example.com.", ("example.com", "")),
            ("example.com.:8080", ("example.com", "8080")),
            ("example.com:", ("example.com", "")),
            ("example.com:08080", ("example.com", "8080")),
            ("[0:0:0:0:0:0:0:1]:80", ("[::1]", "80")),
            ("[2001:DB8::00a1]", ("[2001:db8::a1]", "")),
            ("192.0.2.7:1", ("192.0.2.7", "1")),
            ("a:0", ("a", "0")),
            ("a:00", ("a", "0")),
            ("", ("", "")),
        ):
            with self.subTest(authority):
                self.assertEqual(plain_host(authority), plain)

    def test_default_port(self) -> None:
        """The default port is the same as none; another one is not."""
        self.assertEqual(plain_host("a:443", "443"), plain_host("a", "443"))
        self.assertNotEqual(plain_host("a:80", "443"), plain_host("a", "443"))
        self.assertNotEqual(plain_host("a:443"), plain_host("a"))
        self.assertNotEqual(plain_host("a:0", "443"), plain_host("a", "443"))

    def test_what_is_no_host(self) -> None:
        """Two texts that are no hosts are the same only if they are equal, ASCII capitals aside."""
        texts = [
            "a:b:c",
            "a:80:443",
            "[::1",
            "::1",
            "[::1]x",
            "[zz]",
            "a:x",
            ".",
            "..",
            "a..",
            "[]",
            "a b",
            "\xe9",
            "\xc9",
        ]
        for text in texts:
            self.assertEqual([other for other in texts if plain_host(other) == plain_host(text)], [text])

    def test_names_in_other_letters(self) -> None:
        """A name is turned into its xn-- form where that is certain, and browsers turn it into the same."""
        for name, encoded in (
            ("m\xfcnchen.example", "xn--mnchen-3ya.example"),
            ("M\xdcNCHEN.example", "xn--mnchen-3ya.example"),
            ("\u65e5\u672c.example", "xn--wgv71a.example"),
            ("Example.com", "example.com"),
            ("stra\xdfe.example", None),  # IDNA of 2003 says strasse.example, which is somebody else's
            ("\u03c3\u03b1\u03c2.example", None),
            ("a\u200db.example", None),
            ("\xfc..example", None),
        ):
            with self.subTest(name):
                self.assertEqual(ascii_name(name), encoded)


class AllowedHostsTests(unittest.TestCase):
    def assert_allows(self, entries: list[str], *hosts: str) -> None:
        for host in hosts:
            with self.subTest(entries=entries, host=host):
                self.assertTrue(AllowedHosts(entries).allow(host))

    def assert_refuses(self, entries: list[str], *hosts: str) -> None:
        for host in hosts:
            with self.subTest(entries=entries, host=host):
                self.assertFalse(AllowedHosts(entries).allow(host))

    def test_any_by_default(self) -> None:
        """None, and a star in the list, allow every host, and a request without one."""
        for hosts in (AllowedHosts(None), AllowedHosts(["*"]), AllowedHosts(["a.example", "*"])):
            for host in ("evil.example", "", "127.0.0.1:8080", "a:b:c"):
                self.assertTrue(hosts.allow(host))

    def test_rebinding(self) -> None:
        """DNS rebinding: a page of another name that points here is refused, although its Origin is the Host."""
        self.assert_refuses(
            ["localhost", "127.0.0.1", "[::1]"],
            *("evil.example", "localhost.evil.example", "127.0.0.1.evil.example", "localhost@evil.example"),
            *(
                "xlocalhost",
                "127.0.0.10",
                "evil.example:127.0.0.1",
                "[::2]",
                "",
                ":80",
                "localhost:8080:80",
                "local host",
            ),
        )

    def test_names(self) -> None:
        """A name is allowed with any port, in capitals, with a dot at its end; an IPv6 address in any form."""
        self.assert_allows(
            ["localhost", "Example.com.", "::1", "192.0.2.7", "m\xfcnchen.example"],
            *("localhost", "LOCALHOST:8080", "localhost.", "localhost.:1", "example.com", "[::1]:8080", "[0::0:1]"),
            *("192.0.2.7:80", "xn--mnchen-3ya.example"),
        )
        self.assert_refuses(["example.com"], "a.example.com", "example.org", "examplexcom")

    def test_ports(self) -> None:
        """A port in an entry is the only one that is allowed; a Host without a port is on 80 or 443."""
        self.assert_allows(["a.example:8080", "[::1]:9"], "a.example:8080", "[::1]:9")
        self.assert_refuses(["a.example:8080", "[::1]:9"], "a.example", "a.example:80", "[::1]")
        self.assert_allows(["a.example:443", "b.example:80"], "a.example", "a.example:443", "b.example", "b.example:80")
        self.assert_refuses(["a.example:443"], "a.example:80")

    def test_wildcards(self) -> None:
        """A wildcard stands for every name below one, at any depth, but not for that one."""
        self.assert_allows(["*.example.com"], "a.example.com", "A.b.Example.com:8080", "a.example.com.")
        self.assert_refuses(
            ["*.example.com"],
            *("example.com", ".example.com", "evilexample.com", "a.example.com.evil.org", "evil@a.example.com"),
            *("evil:a.example.com", "[x.example.com", "\xe9.example.com", "a b.example.com"),
            *("..example.com", "a..example.com", ".a.example.com", "a.example.com.."),  # no name has an empty label
        )
        self.assert_allows(["*.example.com:81"], "a.example.com:81")
        self.assert_refuses(["*.example.com:81"], "a.example.com")

    def test_wrong_entries(self) -> None:
        """An entry that no host can be is a ValueError that shows it, and says what to write."""
        for entry, advice in (
            ("https://app.example.com", "'app.example.com', without scheme and path"),
            ("https://u:p@app.example.com:8443/x?y", "'app.example.com:8443'"),
            ("ws://localhost:8080/", "'localhost:8080'"),
            ("app.example.com/", "'app.example.com'"),
            ("app.example.com/path", "'app.example.com'"),
            ("://", "'example.com'"),
            (".example.com", "'*.example.com'"),
            ("*example.com", "allowed_hosts="),
            ("a.*.com", "allowed_hosts="),
            ("*.", "allowed_hosts="),
            ("**", "allowed_hosts="),
            ("*:80", "allowed_hosts="),
            ("*.[::1]", "allowed_hosts="),
            ("localhost:http", "allowed_hosts="),
            ("localhost:65536", "65535"),
            ("localhost:" + "9" * 5000, "65535"),
            ("localhost:*", "allowed_hosts="),
            ("a b", "allowed_hosts="),
            ("a,b", "allowed_hosts="),
            (" localhost", "allowed_hosts="),
            ("localhost\n", "allowed_hosts="),
            ("", "allowed_hosts="),
            ("10.0.0.0/8", "'10.0.0.0'"),
            ("[::1", "allowed_hosts="),
            ("stra\xdfe.example", "xn--"),
        ):
            with self.subTest(entry), self.assertRaises(ValueError) as caught:
                AllowedHosts([entry])
            self.assertIn(f"allowed_hosts: {entry!r} is not a host", str(caught.exception))
            self.assertIn(advice, str(caught.exception))

    def test_wrong_lists(self) -> None:
        """One str, or something else, is a TypeError; an empty list, which would refuse everybody, a ValueError."""
        for entries in ("localhost", b"localhost", 7, [b"localhost"], [None]):
            with self.subTest(entries), self.assertRaisesRegex(TypeError, "allowed_hosts is a list of str"):
                AllowedHosts(entries)
        with self.assertRaisesRegex(ValueError, "allowed_hosts is empty"):
            AllowedHosts([])

    def test_any_text(self) -> None:
        """Hosts of any characters are judged, nothing is raised, and nothing that is not below the name passes."""
        rng = random.Random(5)
        parts = [*".:[]@/\\%-_* \t\0", "a", "1", "443", "example.com", ".example.com", "::1", "\xe9", "\u212a"]
        hosts = AllowedHosts(["*.example.com", "[::1]"])
        allowed = 0
        for _ in range(20_000):
            host = "".join(rng.choices(parts, k=rng.randrange(6)))
            if hosts.allow(host):
                allowed += 1
                self.assertRegex(host, r"\A([a-z0-9._-]+\.example\.com\.?|\[::1\]|\[0*:.*1\])(:[0-9]*)?\Z")
        self.assertGreater(allowed, 20)


if __name__ == "__main__":
    unittest.main()
