"""The dialer and proxies: which one it takes, the tunnel through it, TLS in TLS, and what a proxy's refusal tells."""

from __future__ import annotations

import base64
import contextlib
import http.cookiejar
import os
import random
import socket
import ssl
import sys
import unittest
from typing import Any
from unittest import mock

import syncws
from syncws._base.version import __version__
from syncws._client.dialer import Dialer
from syncws._http.headers import Headers
from syncws._net.attempt import Attempt, Stopped
from syncws.errors import BadHandshakeError, HandshakeError, ProxyError
from syncws.testing import await_
from tests.certificates import serving, trusting
from tests.client.cases import Asked, DialCase, EchoServer, Hook, accepting, drip, frame, noting_names, read_head
from tests.partners import need
from tests.proxies import ConnectProxy
from tests.tasks import PATIENCE, Task

try:
    import python_socks
except ImportError:
    python_socks = None  # type: ignore[assignment]

#: A name that nobody has (RFC 6761 section 6.2), so only a proxy that takes any name for itself can reach it.
BACKEND = "backend.test"

#: Which of the proxy and the server speak TLS.
COMBINATIONS = [(proxy, server) for proxy in (False, True) for server in (False, True)]


class ProxyCase(DialCase):
    def proxy(self, *, tls: bool = False, **options: Any) -> ConnectProxy:
        context = serving("localhost") if tls else None
        return self.enterContext(ConnectProxy(**{"ssl_context": context, **options}))

    def backend(self, *, tls: bool = False, **options: Any) -> tuple[EchoServer, str]:
        """A server, and a URL for it whose name cannot be looked up."""
        server = self.echo_server(ssl_context=serving(BACKEND) if tls else None, **options)
        return server, f"{'wss' if tls else 'ws'}://{BACKEND}:{server.port}/"

    def through(self, proxy: ConnectProxy, url: str, headers: Any = None, /, **options: Any) -> syncws.Conn:
        trusted = {"ssl_context": trusting(), "proxy_ssl_context": trusting()}
        return self.dial(url, headers, **{"proxy": proxy.url, **trusted, **options})

    def proxy_error(self, proxy: ConnectProxy, /, **options: Any) -> ProxyError:
        """The error that a refusal of the proxy raises; the server is never reached."""
        with self.assertRaises(ProxyError) as caught:
            self.through(proxy, f"ws://{BACKEND}:9/?token=secret", **options)
        self.assertNotIn("secret", str(caught.exception))
        return caught.exception


class TestTunnels(ProxyCase):
    """A proxy and a server, with TLS or without: the tunnel is asked for once, and carries everything."""

    def test_echo(self) -> None:
        """128 KiB of random bytes come back through each combination, after one CONNECT (gorilla's eight tests)."""
        data = random.Random(128).randbytes(128 << 10)
        for proxy_tls, server_tls in COMBINATIONS:
            with self.subTest(proxy_tls=proxy_tls, server_tls=server_tls):
                proxy, (server, url) = self.proxy(tls=proxy_tls), self.backend(tls=server_tls)
                with self.through(proxy, url) as conn:
                    self.assert_echo(conn, data)
                    self.assertEqual(conn.remote_address, ("127.0.0.1", proxy.port))
                [(method, target, _)] = proxy.requests
                self.assertEqual((method, target), ("CONNECT", f"{BACKEND}:{server.port}"))
                self.assertEqual((proxy.connections, server.request.host), (1, f"{BACKEND}:{server.port}"))

    def test_a_name_that_ends_with_a_dot(self) -> None:
        """Through each combination the dot of an absolute name is in CONNECT and Host, and not in SNI and certificate.

        That of an https proxy's own name is in neither.
        """
        for proxy_tls, server_tls in COMBINATIONS:
            with self.subTest(proxy_tls=proxy_tls, server_tls=server_tls):
                proxy, (server, url) = self.proxy(tls=proxy_tls), self.backend(tls=server_tls)
                address = proxy.url.replace("localhost:", "localhost.:")
                conn = self.through(
                    proxy, url.replace(BACKEND, f"{BACKEND}."), proxy=address, net_dial=Hook(proxy.port)
                )
                self.assert_echo(conn)
                [(_, target, _)] = proxy.requests
                self.assertEqual((target, server.request.host), (f"{BACKEND}.:{server.port}",) * 2)

    def test_large_and_compressed(self) -> None:
        """1 MiB, compressed or not, comes back through TLS in TLS."""
        proxy, (_, url) = self.proxy(tls=True), self.backend(tls=True, enable_compression=True)
        for compression in (False, True):
            conn = self.through(proxy, url, enable_compression=compression)
            self.assertIs(conn.compression, compression)
            self.assert_echo(conn, random.Random(1).randbytes(1 << 20))
            conn.close()

    def test_frames_after_the_answer(self) -> None:
        """Messages right after the 101 are delivered through each combination."""
        for proxy_tls, server_tls in COMBINATIONS:
            with self.subTest(proxy_tls=proxy_tls, server_tls=server_tls):
                tls = serving(BACKEND) if server_tls else None
                server = self.bad_server(accepting(behind=frame(b"one") + frame(b"two")), tls=tls)
                url = f"{'wss' if server_tls else 'ws'}://{BACKEND}:{server.port}"
                conn = self.through(self.proxy(tls=proxy_tls), url)
                self.assertEqual([conn.receive(timeout=PATIENCE) for _ in range(2)], ["one", "two"])

    def test_bytes_after_the_consent(self) -> None:
        """The bytes right after the proxy's 200 are the server's: an answer for ws, TLS for wss."""
        for proxy_tls in (False, True):
            with self.subTest(proxy_tls=proxy_tls):
                answer = b"HTTP/1.1 403 Forbidden\r\nContent-Length: 0\r\n\r\n"
                proxy = self.proxy(tls=proxy_tls, behind=answer)
                with self.assertRaises(BadHandshakeError) as caught:
                    self.through(proxy, self.backend()[1])
                self.assertEqual(caught.exception.status, 403)
                with self.assertRaises(ssl.SSLError) as failed:
                    self.through(proxy, self.backend(tls=True)[1])
                self.assertIn("does not speak TLS", "".join(failed.exception.__notes__))

    def test_what_the_proxy_is_asked(self) -> None:
        """The proxy gets CONNECT, Host and User-Agent, and none of the headers for the server; and vice versa."""
        proxy, (server, url) = self.proxy(auth=("user", "pass")), self.backend()
        with_credentials = proxy.url.replace("//", "//user:pass@")
        headers = {"Authorization": "Bearer 1", "Cookie": "a=b", "User-Agent": "mine", "Host": "other.test"}
        self.through(proxy, url, headers, proxy=with_credentials, proxy_headers={"X-Proxy": "1"})
        [(_, target, asked)] = proxy.requests
        self.assertEqual(
            list(asked),
            [
                ("Host", target),
                ("User-Agent", f"syncws/{__version__}"),
                ("Proxy-Authorization", f"Basic {base64.b64encode(b'user:pass').decode()}"),
                ("X-Proxy", "1"),
            ],
        )
        self.assertEqual(target, f"{BACKEND}:{server.port}")
        self.assertEqual(server.request.host, "other.test")
        for name in ("X-Proxy", "Proxy-Authorization"):
            self.assertNotIn(name, server.request.headers)

    def test_destinations(self) -> None:
        """The destination has a port; an IPv6 address is in brackets, and a name in ASCII."""
        for url, destination in (
            ("ws://example.com/x?y", "example.com:80"),
            ("wss://example.com", "example.com:443"),
            ("ws://[::1]:8080", "[::1]:8080"),
            ("ws://bücher.example", "xn--bcher-kva.example:80"),
        ):
            with self.subTest(url):
                proxy = self.proxy(answer=b"HTTP/1.1 403 Forbidden\r\n\r\n")
                with self.assertRaises(ProxyError):
                    self.through(proxy, url)
                [(_, target, headers)] = proxy.requests
                self.assertEqual((target, headers["Host"]), (destination, destination))

    def test_credentials(self) -> None:
        """Credentials of the proxy's URL are sent as Basic, percent-encoded ones and an empty password too."""
        for user, password, written in (
            ("user", "pass", "user:pass"),
            ("user", "p@ss:w/rd", "user:p%40ss%3Aw%2Frd"),
            ("user", "", "user:"),
            ("user", "", "user"),
            ("jürgen", "grün", "j%C3%BCrgen:gr%C3%BCn"),
        ):
            with self.subTest(written):
                proxy = self.proxy(auth=(user, password))
                url = proxy.url.replace("//", f"//{written}@")
                self.assert_echo(self.through(proxy, self.backend()[1], proxy=url))

    def test_proxy_headers(self) -> None:
        """proxy_headers may replace the User-Agent and the credentials, in any case, and nothing is sent twice."""
        proxy, (_, url) = self.proxy(), self.backend()
        headers = [("user-agent", "mine"), ("proxy-authorization", "Bearer 1"), ("X-A", "1"), ("X-A", "2")]
        self.through(proxy, url, proxy=proxy.url.replace("//", "//user:pass@"), proxy_headers=headers)
        [(_, target, asked)] = proxy.requests
        self.assertEqual(list(asked), [("Host", target), *headers])

    def test_cookies(self) -> None:
        """Cookies are for the server alone: the proxy gets none and can set none."""
        jar = http.cookiejar.CookieJar()
        server, url = self.backend(response_headers={"Set-Cookie": "a=b"})
        consent = b"HTTP/1.1 200 OK\r\nSet-Cookie: c=d\r\n\r\n"
        with mock.patch("tests.proxies.CONSENT", consent):
            for _ in range(2):
                proxy = self.proxy()
                self.through(proxy, url, cookie_jar=jar).close()
                self.assertNotIn("Cookie", proxy.requests[0][2])
        self.assertEqual([each.headers.get("Cookie") for each in server.requests], [None, "a=b"])

    def test_any_2xx_is_consent(self) -> None:
        """Each 2xx opens the tunnel (RFC 9110 section 9.3.6), with whatever reason, or none; gorilla: 200 alone."""
        _, url = self.backend()
        for status in (b"200", b"200 ", b"201 Created", b"299 Why not"):
            with self.subTest(status), mock.patch("tests.proxies.CONSENT", b"HTTP/1.1 %b\r\n\r\n" % status):
                self.assert_echo(self.through(self.proxy(), url))

    def test_a_length_of_the_consent(self) -> None:
        """The Content-Length of a 2xx is ignored (RFC 9110 section 9.3.6), and HTTP/1.0 is accepted."""
        _, url = self.backend()
        for head in (b"HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\n", b"HTTP/1.0 200 OK\r\n\r\n"):
            with self.subTest(head), mock.patch("tests.proxies.CONSENT", head):
                self.assert_echo(self.through(self.proxy(), url))


class TestChoice(ProxyCase):
    """Which proxy is taken, if any."""

    def test_a_callable(self) -> None:
        """A callable gets the URL as it was given, once, and says which proxy, or that there is none."""
        proxy, (server, url) = self.proxy(), self.backend()
        asked: list[str] = []

        def choose(given: str) -> str | None:
            asked.append(given)
            return proxy.url if BACKEND in given else None

        self.assert_echo(self.through(proxy, f"{url}feed?a=b#c", proxy=choose))
        self.assert_echo(self.through(proxy, server.url, proxy=choose))
        self.assertEqual(asked, [f"{url}feed?a=b#c", server.url])
        self.assertEqual(proxy.connections, 1)

    def test_a_callable_that_raises(self) -> None:
        """What a callable raises leaves the dial unchanged, and nothing is dialed (TestProxyFnErrorIsPropagated)."""
        hook = mock.Mock(side_effect=AssertionError("dialed"))
        for error in (RuntimeError("no"), OSError("no"), KeyboardInterrupt()):
            with self.assertRaises(type(error)) as caught:
                self.dial("ws://server.test/", proxy=mock.Mock(side_effect=error), net_dial=hook)
            self.assertIs(caught.exception, error)

    def test_a_callable_that_returns_no_proxy(self) -> None:
        """What a callable returns is checked as the option is, before anything is dialed."""
        hook = mock.Mock(side_effect=AssertionError("dialed"))
        for found, error in (("ftp://x", ValueError), ("", ValueError), (5, TypeError), (b"http://x", TypeError)):
            with self.subTest(found), self.assertRaisesRegex(error, "^the proxy must "):
                self.dial("ws://server.test/", proxy=lambda url, found=found: found, net_dial=hook)

    def test_none(self) -> None:
        """None, and a callable that returns None, connect directly (TestProxyFnNilMeansNoProxy)."""
        server = self.echo_server()
        with self.environment(http_proxy="http://proxy.invalid:1"):
            for proxy in (None, lambda url: None):
                self.assert_echo(self.dial(server.url, proxy=proxy))
            hook = Hook(server.port)
            self.assert_echo(self.dial("ws://server.test/", proxy=None, net_dial=hook))
        self.assertEqual(hook.calls, [("server.test", 80)])

    def environment(self, **variables: str) -> Any:
        return mock.patch.dict(os.environ, variables)

    def test_the_environment(self) -> None:
        """By default http_proxy is for ws and https_proxy for wss, in either case of letters."""
        for name, tls in (("http_proxy", False), ("https_proxy", True), ("HTTPS_PROXY", True), ("all_proxy", False)):
            proxy, (_, url) = self.proxy(), self.backend(tls=tls)
            with self.subTest(name), self.environment(**{name: proxy.url}):
                self.assert_echo(self.dial(url, ssl_context=trusting()))
                self.assertEqual(proxy.connections, 1)

    def test_the_environment_is_asked_each_time(self) -> None:
        """A Dialer asks the environment at each dial, not when it is made."""
        dialer = Dialer(handshake_timeout=PATIENCE)
        proxy, (server, url) = self.proxy(), self.backend()
        self.assert_echo(self.dial(server.url, dialer=dialer))
        with self.environment(http_proxy=proxy.url):
            self.assert_echo(self.dial(url, dialer=dialer))
        self.assertEqual(proxy.connections, 1)

    def test_the_other_schemes_variable(self) -> None:
        """http_proxy is not for wss, nor https_proxy for ws."""
        for name, tls in (("https_proxy", False), ("http_proxy", True)):
            server, url = self.backend(tls=tls)
            with self.environment(**{name: "http://proxy.invalid:1"}):
                self.assert_echo(self.dial(url, net_dial=Hook(server.port), ssl_context=trusting()))

    def test_no_proxy(self) -> None:
        """Hosts of no_proxy, and this machine, are connected to directly."""
        server, url = self.backend()
        with self.environment(http_proxy="http://proxy.invalid:1", no_proxy="elsewhere.example, .test"):
            hook = Hook(server.port)
            self.assert_echo(self.dial(url, net_dial=hook))
            self.assertEqual(hook.calls, [(BACKEND, server.port)])
            for host in ("127.0.0.1", "localhost"):
                self.assert_echo(self.dial(f"ws://{host}:{server.port}/"))

    def test_the_environments_credentials(self) -> None:
        """Credentials in the environment's proxy are used, and shown in no error."""
        proxy, (_, url) = self.proxy(auth=("user", "secret")), self.backend()
        with self.environment(http_proxy=proxy.url.replace("//", "//user:secret@")):
            self.assert_echo(self.dial(url))
        with self.environment(http_proxy=proxy.url.replace("//", "//user:topsecret@")):
            with self.assertRaises(ProxyError) as caught:
                self.dial(url)
        self.assertNotIn("secret", str(caught.exception))


class TestHooks(ProxyCase):
    """Hooks connect to the first hop: the proxy, where there is one (gorilla's TestNetDialConnect)."""

    def test_net_dial(self) -> None:
        """net_dial gets the proxy's host and port, once; TLS comes after it, for both hops."""
        for proxy_tls, server_tls in COMBINATIONS:
            with self.subTest(proxy_tls=proxy_tls, server_tls=server_tls):
                proxy, (_, url) = self.proxy(tls=proxy_tls), self.backend(tls=server_tls)
                hook = Hook(proxy.port)
                self.assert_echo(self.through(proxy, url, net_dial=hook))
                self.assertEqual(hook.calls, [("localhost" if proxy_tls else "127.0.0.1", proxy.port)])
                self.assertEqual(len(proxy.requests), 1)

    def test_default_ports_of_proxies(self) -> None:
        """A proxy's port is 80, 443 or 1080 unless its URL says another."""
        for url, address in (
            ("http://proxy.test", ("proxy.test", 80)),
            ("https://proxy.test/", ("proxy.test", 443)),
            ("socks5://proxy.test", ("proxy.test", 1080)),
            ("socks5h://proxy.test", ("proxy.test", 1080)),
            ("http://[::1]", ("::1", 80)),
        ):
            hook = mock.Mock(side_effect=OSError("dialed"))
            with self.subTest(url), self.assertRaisesRegex(OSError, "dialed"):
                self.dial("ws://server.test/", proxy=url, net_dial=hook)
            self.assertEqual(hook.call_args.args[:2], address)

    def test_net_dial_tls_and_an_https_proxy(self) -> None:
        """net_dial_tls makes the TLS to an https proxy, without proxy_ssl_context; ssl_context is for the server."""
        for server_tls in (False, True):
            with self.subTest(server_tls=server_tls):
                # The certificate that the hook expects, which proxy_ssl_context would not.
                proxy, (_, url) = self.proxy(ssl_context=serving()), self.backend(tls=server_tls)
                tls, plain = Hook(proxy.port, tls=trusting()), Hook(proxy.port)
                unused = {"proxy_ssl_context": ssl.create_default_context(), "net_dial": plain}
                conn = self.through(proxy, url, net_dial_tls=tls, **unused)
                self.assert_echo(conn, bytes(1 << 17))
                self.assertEqual((tls.calls, plain.calls), ([("localhost", proxy.port)], []))

    def test_net_dial_tls_and_an_http_proxy(self) -> None:
        """net_dial_tls is not for a plain hop, and so not for an http proxy, whatever the server speaks."""
        for server_tls in (False, True):
            proxy, (_, url) = self.proxy(), self.backend(tls=server_tls)
            hook = mock.Mock(side_effect=AssertionError)
            self.assert_echo(self.through(proxy, url, net_dial_tls=hook))
            hook.assert_not_called()


class TestTLS(ProxyCase):
    """Two hops, two certificates, two contexts."""

    def test_a_proxy_that_is_not_trusted(self) -> None:
        """A proxy of an unknown authority gets no CONNECT; a note names the option (TestTLSValidationErrors)."""
        proxy, (server, url) = self.proxy(tls=True), self.backend()
        for context in (None, ssl.create_default_context()):
            with self.assertRaises(ssl.SSLCertVerificationError) as caught:
                self.through(proxy, url, proxy_ssl_context=context)
            self.assertIn("give proxy_ssl_context=", "".join(caught.exception.__notes__))
        self.assertEqual((proxy.requests, server.requests), ([], []))

    def test_a_server_that_is_not_trusted(self) -> None:
        """A server of an unknown authority is refused through the proxy too; the note names ssl_context."""
        for proxy_tls in (False, True):
            proxy, (server, url) = self.proxy(tls=proxy_tls), self.backend(tls=True)
            with self.assertRaises(ssl.SSLCertVerificationError) as caught:
                self.through(proxy, url, ssl_context=None)
            self.assertIn("give ssl_context=", "".join(caught.exception.__notes__))
            self.assertEqual((len(proxy.requests), server.requests), (1, []))

    def test_names(self) -> None:
        """Each hop is asked for by the host of its own URL; server_hostname is the server's alone."""
        for hostname in (None, "alias.test"):
            of_proxy, of_server = serving("localhost"), serving(hostname or BACKEND)
            names = noting_names(of_proxy), noting_names(of_server)
            server = self.echo_server(ssl_context=of_server)
            url = f"wss://{BACKEND}:{server.port}/"
            proxy = self.proxy(ssl_context=of_proxy)
            self.assert_echo(self.through(proxy, url, {"Host": "other.test"}, server_hostname=hostname))
            self.assertEqual(names, (["localhost"], [hostname or BACKEND]))

    def test_a_proxy_with_another_name(self) -> None:
        """A proxy's certificate must be for the host of its URL, whatever server_hostname is."""
        proxy, (_, url) = self.proxy(ssl_context=serving(BACKEND)), self.backend()
        with self.assertRaises(ssl.SSLCertVerificationError):
            self.through(proxy, url, server_hostname=BACKEND)
        self.assertEqual(proxy.requests, [])

    def test_a_proxy_without_tls(self) -> None:
        """https to a proxy that speaks plain HTTP fails, and a note says so."""
        proxy = self.echo_server()  # it answers what is no HTTP, as proxies do
        with self.assertRaises(ssl.SSLError) as caught:
            self.dial(f"ws://{BACKEND}:9/", proxy=f"https://127.0.0.1:{proxy.port}")
        self.assertIn("http: for a proxy", "".join(caught.exception.__notes__))

    def test_a_proxy_that_speaks_http_2(self) -> None:
        """A proxy that agrees on h2 is refused, and the error names proxy_ssl_context."""
        theirs, ours = serving("localhost"), trusting()
        theirs.set_alpn_protocols(["h2"])
        ours.set_alpn_protocols(["h2"])
        with self.assertRaisesRegex(HandshakeError, "'h2', and .*: proxy_ssl_context must not offer it"):
            self.through(self.proxy(ssl_context=theirs), f"ws://{BACKEND}:9/", proxy_ssl_context=ours)


class TestRefusals(ProxyCase):
    """What a proxy's refusal tells; nothing is left of it."""

    def test_no_credentials(self) -> None:
        """A 407 says how credentials are given, or that these are not accepted, and repeats none."""
        proxy = self.proxy(auth=("user", "right"))
        error = self.proxy_error(proxy)
        self.assertEqual(error.status, 407)
        self.assertEqual(error.headers["Proxy-Authenticate"], 'Basic realm="here"')
        self.assertIn('it wants credentials: proxy="http://user:password@host:port"', str(error))
        error = self.proxy_error(proxy, proxy=proxy.url.replace("//", "//user:wrong@"))
        self.assertIn("it does not accept the credentials in the proxy's URL", str(error))
        self.assertNotIn("wrong", str(error))

    def test_refusals(self) -> None:
        """Each status except 2xx is a ProxyError with status and headers, which names the proxy and the destination."""
        for line in ("403 Forbidden", "404 Not Found", "502 Bad Gateway", "503 Service Unavailable", "302 Found"):
            with self.subTest(line):
                proxy = self.proxy(answer=f"HTTP/1.1 {line}\r\nX-A: b\r\n\r\nbody".encode())
                error = self.proxy_error(proxy)
                self.assertEqual(
                    str(error), f"the proxy {proxy.url} opens no tunnel to {BACKEND}:9: {line}".rstrip("/")
                )
                self.assertEqual((error.status, error.headers["x-a"]), (int(line[:3]), "b"))

    def test_its_kind(self) -> None:
        """The error is a HandshakeError, and not a BadHandshakeError: the server was not asked."""
        error = self.proxy_error(self.proxy(answer=b"HTTP/1.1 403 No\r\n\r\n"))
        self.assertIsInstance(error, HandshakeError)
        self.assertNotIsInstance(error, BadHandshakeError)
        self.assertIsInstance(error.headers, Headers)

    def test_a_server_that_the_proxy_cannot_reach(self) -> None:
        """The proxy's 502 is a ProxyError."""
        self.assertEqual(self.proxy_error(self.proxy()).status, 502)

    def test_no_reason(self) -> None:
        """A status line without a reason is an error like any other; gorilla panics."""
        error = self.proxy_error(self.proxy(answer=b"HTTP/1.1 403\r\n\r\n"))
        self.assertTrue(str(error).endswith(": 403 Forbidden"))

    def test_no_answer(self) -> None:
        """A proxy that hangs up, or speaks no HTTP, is a ProxyError of status 0 that says which proxy."""
        for answer, said in ((b"", "without an answer"), (b"SSH-2.0-x\r\n", "not HTTP"), (b"HTTP/1.1 2", "not HTTP")):
            for tls in (False, True):
                with self.subTest(answer, tls=tls):
                    proxy = self.proxy(answer=answer, tls=tls)
                    error = self.proxy_error(proxy)
                    self.assertEqual(error.status, 0)
                    self.assertIn(f"no tunnel through the proxy {proxy.url}: ", str(error))
                    self.assertIn(said, str(error))

    def test_a_refusal_of_the_server(self) -> None:
        """A server's own refusal, through a proxy, is a BadHandshakeError that does not name the proxy."""
        proxy = self.proxy()
        server = self.bad_server(b"HTTP/1.1 403 Forbidden\r\nContent-Length: 0\r\n\r\n")
        with self.assertRaises(BadHandshakeError) as caught:
            self.through(proxy, f"ws://{BACKEND}:{server.port}/")
        self.assertEqual(
            str(caught.exception), f"no WebSocket at ws://{BACKEND}:{server.port}/: the answer is 403 Forbidden"
        )
        self.assertTrue(server.ended.wait(PATIENCE))

    def test_nobody_there(self) -> None:
        """A proxy that cannot be reached is the system's error; a note says that it is about the proxy."""
        with socket.socket() as taken:
            taken.bind(("127.0.0.1", 0))
            url = f"http://user:secret@127.0.0.1:{taken.getsockname()[1]}"
            with self.assertRaises(ConnectionRefusedError) as caught:
                self.dial("ws://server.test/?token=secret", proxy=url)
        told = "".join([str(caught.exception), *caught.exception.__notes__])
        self.assertIn("this is the proxy on the way to ws://server.test/; proxy=None connects directly", told)
        self.assertNotIn("secret", told)

    def test_no_password_in_a_repr(self) -> None:
        """A Dialer's text shows no password: neither that of the proxy's URL nor one of proxy_headers."""
        credentials = {"Proxy-Authorization": "secret"}
        self.assertNotIn("secret", repr(Dialer(proxy="http://user:secret@proxy.test", proxy_headers=credentials)))


class TestTime(ProxyCase):
    """One deadline over the proxy and the server, and a stop at any time."""

    def test_a_proxy_that_says_nothing(self) -> None:
        """A silent proxy is given up, TLS or not."""
        for tls in (False, True):
            with self.assertRaisesRegex(TimeoutError, "not done within 0.5 s"):
                self.through(self.proxy(silent=True, tls=tls), f"ws://{BACKEND}:9/", handshake_timeout=0.5)

    def test_a_proxy_that_drips(self) -> None:
        """A 2xx that never ends gets no more time."""
        proxy = self.bad_server(script=lambda sock, asked: drip(sock, b"HTTP/1.1 200 OK\r\nX: x"))
        url = proxy.url.replace("ws:", "http:")
        with self.assertRaisesRegex(TimeoutError, "not done within 0.5 s"):
            self.dial(f"ws://{BACKEND}:9/", proxy=url, handshake_timeout=0.5)
        self.assertTrue(proxy.ended.wait(PATIENCE))

    def test_a_server_that_says_nothing(self) -> None:
        """The deadline holds behind each proxy as well, for TLS and for the answer."""
        for proxy_tls, server_tls in COMBINATIONS:
            with self.subTest(proxy_tls=proxy_tls, server_tls=server_tls):
                proxy = self.proxy(tls=proxy_tls)
                with socket.create_server(("127.0.0.1", 0)) as silent:
                    url = f"{'wss' if server_tls else 'ws'}://{BACKEND}:{silent.getsockname()[1]}/"
                    with self.assertRaisesRegex(TimeoutError, "not done within 0.5 s"):
                        self.through(proxy, url, handshake_timeout=0.5)

    def stopped(self, url: str, reached: Any, **options: Any) -> None:
        attempt = Attempt(None)
        dialer = Dialer(handshake_timeout=None, ssl_context=trusting(), proxy_ssl_context=trusting(), **options)
        dialing = Task(dialer.dial_within, attempt, url)
        self.assertTrue(await_(reached))
        self.assertFalse(dialing.done)
        attempt.stop()
        self.assertIsInstance(dialing.error(), Stopped)

    def test_a_stop_while_the_proxy_is_waited_for(self) -> None:
        """A stop ends the wait for the proxy's answer, TLS or not."""
        for tls in (False, True):
            proxy = self.proxy(silent=True, tls=tls)
            self.stopped(f"ws://{BACKEND}:9/", lambda proxy=proxy: bool(proxy.requests), proxy=proxy.url)

    def test_a_stop_while_the_server_is_waited_for(self) -> None:
        """A stop ends the wait for the server's answer through each proxy, and the tunnel with it."""
        for proxy_tls, server_tls in COMBINATIONS:
            with self.subTest(proxy_tls=proxy_tls, server_tls=server_tls):
                proxy = self.proxy(tls=proxy_tls)
                server = self.bad_server(b"", tls=serving(BACKEND) if server_tls else None)
                url = f"{'wss' if server_tls else 'ws'}://{BACKEND}:{server.port}/"
                self.stopped(url, lambda server=server: bool(server.asked), proxy=proxy.url)
                self.assertTrue(server.ended.wait(PATIENCE))


class TestSocks(ProxyCase):
    """SOCKS5, by python-socks."""

    def setUp(self) -> None:
        super().setUp()
        self.received: list[bytes] = []

    def socks_proxy(self, reply: bytes = b"\x05\x00\x00\x01\x00\x00\x00\x00\x00\x00", then: Any = None) -> str:
        """The address of a proxy without authentication, which keeps what it gets and replies as told."""
        listener = self.enterContext(socket.create_server(("127.0.0.1", 0)))

        def serve() -> None:
            sock, _ = listener.accept()
            with sock:
                sock.settimeout(PATIENCE)
                self.received.append(sock.recv(3))
                sock.sendall(b"\x05\x00")
                self.received.append(sock.recv(1 << 10))
                sock.sendall(reply)
                if then:
                    then(sock)
                with contextlib.suppress(ConnectionError):
                    while sock.recv(1 << 10):
                        pass

        self.addCleanup(Task(serve).result)
        return f"127.0.0.1:{listener.getsockname()[1]}"

    def test_dial(self) -> None:
        """Under both schemes the proxy gets the name, not an address; after that the stream is the server's."""
        need(python_socks is not None, "python-socks (PyPI) is not installed")

        def answer(sock: socket.socket) -> None:
            sock.sendall(accepting(behind=frame(b"hello"))(Asked(read_head(sock))))

        for scheme in ("socks5", "socks5h"):
            with self.subTest(scheme):
                self.received.clear()
                conn = self.dial(f"ws://{BACKEND}:8080/", proxy=f"{scheme}://{self.socks_proxy(then=answer)}")
                self.assertEqual(conn.receive(timeout=PATIENCE), "hello")
                conn.close_now()
                name = bytes([len(BACKEND)]) + BACKEND.encode()
                self.assertEqual(self.received[0], b"\x05\x01\x00")
                self.assertEqual(self.received[1], b"\x05\x01\x00\x03" + name + (8080).to_bytes(2))

    def test_a_refusal(self) -> None:
        """A refusal of the proxy is a ProxyError of status 0."""
        need(python_socks is not None, "python-socks (PyPI) is not installed")
        address = self.socks_proxy(reply=b"\x05\x05\x00\x01\x00\x00\x00\x00\x00\x00")
        with self.assertRaises(ProxyError) as caught:
            self.dial(f"ws://{BACKEND}:8080/", proxy=f"socks5://{address}")
        self.assertEqual((caught.exception.status, len(caught.exception.headers)), (0, 0))
        self.assertIn(f"the proxy socks5://{address} opens no tunnel to {BACKEND}:8080", str(caught.exception))

    def test_without_the_library(self) -> None:
        """Without python-socks the error says what to install, and nothing stays open."""
        with socket.create_server(("127.0.0.1", 0)) as listener, mock.patch.dict(sys.modules, {"python_socks": None}):
            with self.assertRaisesRegex(ImportError, r"pip install 'syncws\[socks\]'"):
                self.dial("ws://server.test/", proxy=f"socks5://127.0.0.1:{listener.getsockname()[1]}")


if __name__ == "__main__":
    unittest.main()
