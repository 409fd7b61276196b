"""environment.py: which proxy the environment names, and for which hosts none is used."""

from __future__ import annotations

import os
import random
import sys
import unittest
from unittest import mock

import syncws
from syncws import ProxyError, proxy_from_environment

PROXY = "http://p:3128"
OTHER = "http://other:3128"

#: Environments, and for each which proxy URLs have.
ENVIRONMENTS: list[tuple[dict[str, str], dict[str, str | None]]] = [
    ({}, {"ws://a/": None, "wss://a/": None}),
    # which variable
    ({"http_proxy": PROXY}, {"ws://a/": PROXY, "wss://a/": None, "WS://A:8080/?q": PROXY}),
    ({"https_proxy": PROXY}, {"ws://a/": None, "wss://a/": PROXY, "WSS://a": PROXY}),
    ({"HTTP_PROXY": PROXY, "HTTPS_PROXY": OTHER}, {"ws://a/": PROXY, "wss://a/": OTHER}),
    ({"http_proxy": PROXY, "HTTP_PROXY": OTHER}, {"ws://a/": PROXY}),
    ({"http_proxy": "", "HTTP_PROXY": PROXY}, {"ws://a/": None}),
    ({"all_proxy": PROXY}, {"ws://a/": PROXY, "wss://a/": PROXY}),
    ({"ALL_PROXY": PROXY, "http_proxy": OTHER}, {"ws://a/": OTHER, "wss://a/": PROXY}),
    ({"ws_proxy": PROXY, "wss_proxy": PROXY, "socks_proxy": PROXY}, {"ws://a/": None, "wss://a/": None}),
    # what it says
    ({"http_proxy": "p:3128"}, {"ws://a/": "http://p:3128"}),
    ({"https_proxy": "p"}, {"wss://a/": "http://p"}),
    ({"http_proxy": "http://user:secret@p:3128/"}, {"ws://a/": "http://user:secret@p:3128/"}),
    ({"all_proxy": "socks5h://p"}, {"ws://a/": "socks5h://p"}),
    # a CGI program's HTTP_PROXY is a header of the client's (CVE-2016-1000110)
    ({"HTTP_PROXY": PROXY, "REQUEST_METHOD": "GET"}, {"ws://a/": None}),
    ({"HTTPS_PROXY": PROXY, "REQUEST_METHOD": "GET"}, {"wss://a/": PROXY}),
    ({"http_proxy": PROXY, "REQUEST_METHOD": "GET"}, {"ws://a/": PROXY}),
    # this machine
    (
        {"all_proxy": PROXY},
        {
            "ws://localhost/": None,
            "ws://LOCALHOST:8080/": None,
            "ws://127.0.0.1/": None,
            "wss://127.9.9.9:8443/": None,
            "ws://[::1]/": None,
            "wss://[::1]:8443/": None,
            "ws://localhost.example/": PROXY,
            "ws://128.0.0.1/": PROXY,
            "ws://[::2]/": PROXY,
        },
    ),
    # names and domains
    ({"all_proxy": PROXY, "no_proxy": "*"}, {"ws://a/": None, "wss://192.0.2.1:8443/": None}),
    ({"all_proxy": PROXY, "NO_PROXY": "a"}, {"ws://a/": None, "ws://ab/": PROXY}),
    (
        {"all_proxy": PROXY, "no_proxy": "a.example, .b.example,C.example"},
        {
            "ws://a.example/": None,
            "wss://A.Example:8443/": None,
            "ws://x.a.example/": None,
            "ws://x.y.a.example/": None,
            "ws://xa.example/": PROXY,
            "ws://a.example.net/": PROXY,
            "ws://example/": PROXY,
            "ws://x.b.example/": None,
            "ws://b.example/": None,
            "ws://c.example/": None,
            "ws://d.example/": PROXY,
        },
    ),
    (
        {"all_proxy": PROXY, "no_proxy": "a.example:8080"},
        {
            "ws://a.example:8080/": None,
            "ws://a.example:8081/": PROXY,
            "ws://a.example/": PROXY,
        },
    ),
    # patterns, ports, dots and letters
    (
        {"all_proxy": PROXY, "no_proxy": "*.example.com,*.b.test:8443 10.* ,*-dev.test"},
        {
            "wss://a.example.com/": None,
            "wss://x.a.Example.com:8443/": None,
            "wss://a.example.com./": None,
            "wss://example.com/": PROXY,
            "wss://aexample.com/": PROXY,
            "wss://a.example.com.net/": PROXY,
            "ws://a.b.test:8443/": None,
            "ws://a.b.test/": PROXY,
            "ws://10.1.2.3/": None,
            "ws://110.1.2.3/": PROXY,
            "ws://a-dev.test/": None,
        },
    ),
    ({"all_proxy": PROXY, "no_proxy": "a.test,*"}, {"ws://b/": None, "wss://192.0.2.1:8443/": None}),
    (
        {"all_proxy": PROXY, "no_proxy": "a.test:443 b.test:80\tc.test.\nbücher.test,*.STRASSE.test"},
        {
            "wss://a.test/": None,
            "wss://x.a.test:443/": None,
            "ws://a.test/": PROXY,
            "ws://b.test/": None,
            "wss://b.test/": PROXY,
            "ws://c.test/": None,
            "ws://c.test./": None,
            "ws://x.bücher.test/": None,
            "ws://xn--bcher-kva.test/": None,
            "ws://a.straße.test/": None,
        },
    ),
    (
        {"all_proxy": PROXY, "no_proxy": "[2001:db8::1]:8080,[2001:db8::2],192.0.2.1:80,10.0.0.0/8"},
        {
            "ws://[2001:db8::1]:8080/": None,
            "ws://[2001:db8::1]/": PROXY,
            "ws://[2001:db8::2]:9/": None,
            "ws://192.0.2.1/": None,
            "ws://192.0.2.1:81/": PROXY,
            "ws://[::ffff:10.1.2.3]/": None,
            "ws://[::ffff:127.0.0.1]/": None,
        },
    ),
    (
        {"all_proxy": PROXY, "no_proxy": "., .., :80, a:b, [, http://a, 1/2/3, .2.1"},
        {"ws://a/": PROXY, "ws://192.0.2.1/": PROXY},
    ),
    ({"all_proxy": PROXY}, {"ws://localhost./": None, "ws://a.localhost.example/": PROXY}),
    # what desktops write
    ({"all_proxy": "socks://p:1080/"}, {"ws://a/": "socks5://p:1080/", "wss://a/": "socks5://p:1080/"}),
    ({"ALL_PROXY": "SOCKS://user:secret@p"}, {"ws://a/": "socks5://user:secret@p"}),
    ({"http_proxy": " http://p:3128 "}, {"ws://a/": "http://p:3128"}),
    ({"all_proxy": PROXY, "no_proxy": " , ,"}, {"ws://a/": PROXY, "ws://192.0.2.1/": PROXY}),
    # addresses and networks
    (
        {"all_proxy": PROXY, "no_proxy": "192.0.2.1,10.0.0.0/8, 198.51.100.7/24"},
        {
            "ws://192.0.2.1/": None,
            "ws://192.0.2.1:8080/": None,
            "ws://192.0.2.11/": PROXY,
            "wss://10.255.0.1:8443/": None,
            "ws://11.0.0.1/": PROXY,
            "ws://198.51.100.200/": None,
            "ws://10.0.0.1.example/": PROXY,
            "ws://[2001:db8::1]/": PROXY,
        },
    ),
    (
        {"all_proxy": PROXY, "no_proxy": "2001:db8::1,2001:db8:1::/48,fe80::/10"},
        {
            "ws://[2001:db8::1]/": None,
            "ws://[2001:DB8:0::1]:8080/": None,
            "ws://[2001:db8::2]/": PROXY,
            "wss://[2001:db8:1::9]:8443/": None,
            "ws://[2001:db8:2::9]/": PROXY,
            "ws://[fe80::1%25eth0]/": None,
            "ws://192.0.2.1/": PROXY,
        },
    ),
]


class EnvironmentTests(unittest.TestCase):
    """proxy_from_environment."""

    @unittest.skipIf(sys.platform in ("win32", "darwin"), "where nothing is set the system's settings are asked")
    def test_environments(self) -> None:
        """http_proxy is for ws, https_proxy for wss, all_proxy for both; no_proxy and this machine are excepted."""
        for environment, expected in ENVIRONMENTS:
            for url, proxy in expected.items():
                with self.subTest(url, **environment), mock.patch.dict(os.environ, environment, clear=True):
                    self.assertEqual(proxy_from_environment(url), proxy)

    @unittest.skipIf(sys.platform in ("win32", "darwin"), "where nothing is set the system's settings are asked")
    def test_what_cannot_be_used(self) -> None:
        """A proxy of a kind that syncws does not know, or one that is none, is a ProxyError that names the variable.

        It is the environment's fault and not the caller's, so no ValueError; a password in it is not shown.
        """
        for variables, url, told in (
            ({"all_proxy": "socks4://user:secret@p"}, "ws://a/", "variable all_proxy cannot be used: .* not socks4:"),
            ({"ALL_PROXY": "quic://p"}, "wss://a/", "variable ALL_PROXY cannot be used: .* not quic:"),
            (
                {"HTTPS_PROXY": "http://user:secret@p:x"},
                "wss://a/",
                "variable HTTPS_PROXY cannot be used: .* no valid port",
            ),
            ({"http_proxy": "http://user:secret@"}, "ws://a/", "variable http_proxy cannot be used: .* no valid host"),
            (
                {"http_proxy": "socks5://user@p"},
                "ws://a/",
                "variable http_proxy cannot be used: the proxy: SOCKS takes",
            ),
            ({"http_proxy": "ftp://p", "HTTP_PROXY": "http://p"}, "ws://a/", "variable http_proxy cannot be used"),
        ):
            with self.subTest(**variables), mock.patch.dict(os.environ, variables, clear=True):
                for call in (proxy_from_environment, syncws.dial):
                    with self.assertRaisesRegex(ProxyError, told) as caught:
                        call(url)  # type: ignore[operator]
                    self.assertIn("proxy=None to connect directly", str(caught.exception))
                    self.assertNotIn("secret", str(caught.exception) + repr(caught.exception.__context__))
                    self.assertEqual(caught.exception.status, 0)
                with self.assertRaises(ProxyError):
                    next(syncws.reconnect(url))
                self.assertIsNone(proxy_from_environment("ws://127.0.0.1/"))

    def test_systems_settings(self) -> None:
        """Where no variable is set the system's proxies, and its list of exceptions, are asked (macOS, Windows)."""
        with (
            mock.patch.dict(os.environ, {}, clear=True),
            mock.patch("urllib.request.getproxies", return_value={"https": "socks4://p", "http": PROXY}),
            mock.patch("urllib.request.proxy_bypass", lambda host: host == "a:80"),
        ):
            self.assertIsNone(proxy_from_environment("ws://a/"))
            self.assertEqual(proxy_from_environment("ws://b/"), PROXY)
            with self.assertRaisesRegex(ProxyError, "the proxy of the system's settings cannot be used"):
                proxy_from_environment("wss://b/")

    def test_any_list(self) -> None:
        """Whatever no_proxy holds, nothing but a proxy, or None, comes of it."""
        chance = random.Random(80)
        for _ in range(2000):
            no_proxy = "".join(chance.choices("a.b*:/[]0123456789, \t-%?!ü\u3002", k=chance.randrange(20)))
            with mock.patch.dict(os.environ, {"all_proxy": PROXY, "no_proxy": no_proxy}, clear=True):
                for url in ("ws://a.b/", "wss://10.1.2.3:8443/", "ws://[2001:db8::1]/", "ws://ü.test/"):
                    self.assertIn(proxy_from_environment(url), (PROXY, None), ascii(no_proxy))

    def test_an_endless_port(self) -> None:
        """A port of thousands of digits, which Python refuses to read as a number, is none of any host."""
        endless = "9" * 5000
        with mock.patch.dict(
            os.environ, {"all_proxy": PROXY, "no_proxy": f"a:{endless},b,[::2]:{endless}"}, clear=True
        ):
            found = [proxy_from_environment(url) for url in ("ws://a/", "ws://b/", "ws://[::2]/")]
        self.assertEqual(found, [PROXY, None, PROXY])

    def test_default_of_a_dialer(self) -> None:
        """A Dialer asks the environment unless it is told otherwise."""
        self.assertIs(syncws.Dialer().proxy, proxy_from_environment)


if __name__ == "__main__":
    unittest.main()
