"""proxy.py: tunnels through proxies of both kinds, willing or not."""

from __future__ import annotations

import base64
import contextlib
import socket
import ssl
import sys
import unittest
from unittest import mock

from syncws import Headers, ProxyError
from syncws._client.proxy import USER_AGENT, open_http_tunnel, open_socks_tunnel
from syncws._http.url import ProxyURL, parse_proxy_url
from syncws._net.attempt import Attempt, Stopped
from syncws._net.tls import TLSTransport
from syncws._net.transport import Transport
from syncws.testing import LeakChecks, socketpair
from tests import certificates
from tests.partners import need
from tests.proxies import ConnectProxy
from tests.tasks import PATIENCE, Task

try:
    import python_socks
except ImportError:
    python_socks = None  # type: ignore[assignment]

PROXY = "http://p:3128"


def credentials(text: str) -> str:
    return f"Basic {base64.b64encode(text.encode()).decode()}"


class Cases(LeakChecks):
    """A tunnel over one end of a socket pair; the test plays the proxy at the other end, self.proxy."""

    def open(self, url: str, timeout: float | None = PATIENCE, buffer: int | None = None) -> None:
        self.url = parse_proxy_url(url)
        self.proxy, sock = socketpair(buffer)
        self.proxy.settimeout(PATIENCE)
        self.addCleanup(self.proxy.close)
        self.transport = Transport(sock)
        self.addCleanup(self.transport.close)
        self.attempt = Attempt(timeout)

    def asked(self) -> bytes:
        """All that the proxy has been sent; the client sends nothing more."""
        self.transport.shutdown()
        data = b""
        while piece := self.proxy.recv(4096):
            data += piece
        return data

    def reset(self) -> None:
        """Reset the connection."""
        self.proxy.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, b"\1\0\0\0\0\0\0\0")
        self.proxy.close()


class HTTPTests(Cases):
    """open_http_tunnel, with a proxy that says what the test wants."""

    def tunnel(self, headers: Headers | None = None, destination: str = "a.example:80") -> bytes:
        return open_http_tunnel(self.transport, self.url, destination, headers or Headers(), self.attempt)

    def answered(self, answer: bytes, url: str = PROXY, headers: Headers | None = None) -> bytes:
        """What opening a tunnel returns when the proxy sends this answer and ends the stream."""
        self.open(url)
        self.proxy.sendall(answer)
        self.proxy.shutdown(socket.SHUT_WR)
        return self.tunnel(headers)

    def refused(self, answer: bytes, url: str = PROXY) -> ProxyError:
        with self.assertRaises(ProxyError) as caught:
            self.answered(answer, url)
        return caught.exception

    def test_request(self) -> None:
        """The request has host and port twice, and a User-Agent; credentials are sent if the URL has a user name."""
        plain = f"CONNECT a.example:80 HTTP/1.1\r\nHost: a.example:80\r\nUser-Agent: {USER_AGENT}\r\n"
        for url, more in {
            "http://p": "",
            "https://p": "",
            "http://user:secret@p": f"Proxy-Authorization: {credentials('user:secret')}\r\n",
            "http://user@p": f"Proxy-Authorization: {credentials('user:')}\r\n",
            "http://us%3Aer:se%40cret@p": f"Proxy-Authorization: {credentials('us:er:se@cret')}\r\n",
            "http://ü:ö@p": f"Proxy-Authorization: {credentials('ü:ö')}\r\n",
            f"http://{'u' * 200}:secret@p": f"Proxy-Authorization: {credentials('u' * 200 + ':secret')}\r\n",
        }.items():
            with self.subTest(url):
                self.answered(b"HTTP/1.1 200 OK\r\n\r\n", url)
                self.assertEqual(self.asked().decode(), f"{plain}{more}\r\n")

    def test_headers(self) -> None:
        """The caller's headers are sent too, and replace those of the library, in any case."""
        headers = Headers([("X-One", "1"), ("user-agent", "me"), ("PROXY-AUTHORIZATION", "Bearer x"), ("X-One", "2")])
        self.answered(b"HTTP/1.1 200 OK\r\n\r\n", "http://user:secret@p", headers)
        self.assertEqual(
            self.asked(),
            b"CONNECT a.example:80 HTTP/1.1\r\nHost: a.example:80\r\nX-One: 1\r\nuser-agent: me\r\n"
            b"PROXY-AUTHORIZATION: Bearer x\r\nX-One: 2\r\n\r\n",
        )

    def test_ipv6(self) -> None:
        """A destination may be an address in brackets."""
        self.open(PROXY)
        self.proxy.sendall(b"HTTP/1.1 200 OK\r\n\r\n")
        self.tunnel(destination="[::1]:80")
        self.assertTrue(self.asked().startswith(b"CONNECT [::1]:80 HTTP/1.1\r\nHost: [::1]:80\r\n"))

    def test_consent(self) -> None:
        """Any 2xx opens the tunnel, in HTTP/1.0 too, with or without a reason; the bytes after it are kept."""
        for head in (
            b"HTTP/1.1 200 Connection established\r\n",
            b"HTTP/1.0 200 Connection established\r\nProxy-Agent: a\r\n",
            b"HTTP/1.1 200\r\n",
            b"HTTP/1.1 200 OK\r\nContent-Length: 7\r\n",
            b"HTTP/1.1 201 Created\r\n",
            b"HTTP/1.1 299 Well\r\n",
            b"HTTP/1.1 100 Continue\r\n\r\nHTTP/1.1 200 OK\r\n",
        ):
            for behind in (b"", b"\0server", bytes(2000)):
                with self.subTest(head, behind=len(behind)):
                    self.assertEqual(self.answered(head + b"\r\n" + behind), behind)

    def test_the_stream_goes_on(self) -> None:
        """After the 2xx the transport is the tunnel."""
        self.open(PROXY)
        self.proxy.sendall(b"HTTP/1.1 200 OK\r\n\r\n")
        self.assertEqual(self.tunnel(), b"")
        self.proxy.sendall(b"there")
        self.assertEqual(self.transport.receive(100, PATIENCE), b"there")

    def test_refusal(self) -> None:
        """Any other status is a ProxyError with status and headers; its text names proxy, destination and reason."""
        for line, status, shown in (
            (b"HTTP/1.1 403 Filtered", 403, "403 Filtered"),
            (b"HTTP/1.1 403", 403, "403 Forbidden"),  # where gorilla panics
            (b"HTTP/1.1 403 ", 403, "403 Forbidden"),
            (b"HTTP/1.0 502 Bad Gateway", 502, "502 Bad Gateway"),
            (b"HTTP/1.1 302 Found", 302, "302 Found"),
            (b"HTTP/1.1 799", 799, "799"),
        ):
            with self.subTest(line):
                error = self.refused(line + b"\r\nX-Why: a\r\nX-Why: b\r\nContent-Length: 2\r\n\r\nno")
                self.assertEqual(error.status, status)
                self.assertEqual(error.headers.get_all("x-why"), ["a", "b"])
                self.assertEqual(str(error), f"the proxy http://p:3128 opens no tunnel to a.example:80: {shown}")

    def test_credentials_wanted(self) -> None:
        """A 407 says how to give credentials, or that the given ones are wrong; it never shows them."""
        answer = b'HTTP/1.1 407 Proxy Authentication Required\r\nProxy-Authenticate: Basic realm="a"\r\n\r\n'
        error = self.refused(answer)
        self.assertEqual((error.status, error.headers["Proxy-Authenticate"]), (407, 'Basic realm="a"'))
        self.assertIn('it wants credentials: proxy="http://user:password@host:port"', str(error))
        error = self.refused(answer, "http://someone:secret@p:3128")
        self.assertIn("it does not accept the credentials in the proxy's URL", str(error))
        self.assertIn("the proxy http://p:3128 opens no tunnel", str(error))
        self.assertNotIn("someone", str(error))

    def test_ways_of_logging_in_that_are_not_spoken(self) -> None:
        """A proxy that takes Negotiate, NTLM or Digest alone is told as that, and not as one that wants a password."""
        for lines, told in (
            (("Negotiate",), "it asks for Negotiate, which syncws does not speak"),
            (("Negotiate", "NTLM"), "it asks for Negotiate or NTLM, which"),
            (("negotiate YIIZzw==, NTLM TlRMTVNTUAAC",), "it asks for negotiate or NTLM, which"),
            (('Digest realm="a, Basic b", nonce="x\\"y", qop="auth,auth-int"',), "it asks for Digest, which"),
            (("Negotiate\x9b31m",), "it asks for Negotiate, which"),
            (("Negotiate", 'Basic realm="a"'), "the credentials in the proxy's URL"),
            (('NTLM, BASIC realm="a", Bearer',), "the credentials in the proxy's URL"),
            ((), "the credentials in the proxy's URL"),
            (("",), "the credentials in the proxy's URL"),
        ):
            with self.subTest(lines):
                head = "".join(f"Proxy-Authenticate: {line}\r\n" for line in lines)
                answer = f"HTTP/1.1 407 No\r\n{head}Content-Length: 0\r\n\r\n".encode("latin-1")
                error = self.refused(answer, "http://someone:secret@p:3128")
                self.assertIn(told, str(error))
                self.assertNotIn("secret", str(error))
                self.assertTrue(str(error).isprintable())

    def test_credentials_in_headers(self) -> None:
        """A 407 after a Proxy-Authorization of proxy_headers says that it was this one, and shows nothing of it."""
        answer = b"HTTP/1.1 407 No\r\nProxy-Authenticate: Negotiate\r\nContent-Length: 0\r\n\r\n"
        with self.assertRaisesRegex(ProxyError, "the Proxy-Authorization of proxy_headers$") as caught:
            self.answered(answer, headers=Headers({"proxy-authorization": "Negotiate secret"}))
        self.assertNotIn("secret", str(caught.exception))

    def test_whether_it_was_cut(self) -> None:
        """The cause of the error is an OSError if the connection ended before an answer: then the next may get one."""
        for answer, cut in ((b"", True), (b"HTTP/1.1 200 O", True), (b"\5\0", False), (b"hello\r\n\r\n", False)):
            self.assertIs(isinstance(self.refused(answer).__cause__, OSError), cut)

    def test_no_answer(self) -> None:
        """An answer that is not HTTP is a ProxyError of status 0, without headers, which says what came."""
        for answer, told in {
            b"": "it closed the connection without an answer",
            b"\x15\x03\x01\x00\x02\x02\x46": "it speaks TLS, and was spoken to without",
            b"\5\0": "its answer is not HTTP",
            b"HTTP/1.1 200 OK\r\n": "its answer is not HTTP",
            b"HTTP/1.1 100 Continue\r\n\r\n" * 16: "16 interim answers",
        }.items():
            with self.subTest(answer[:30]):
                error = self.refused(answer, "http://user:secret@p:3128")
                self.assertEqual((error.status, list(error.headers)), (0, []))
                self.assertIn(f"no tunnel through the proxy http://p:3128: {told}", str(error))

    def test_errors_keep_secrets(self) -> None:
        """No error shows the password or its encoded form, nor does the cause of an error."""
        sent = credentials("user:secret").removeprefix("Basic ")
        for answer in (b"", b"hello\n\n", b"HTTP/1.1 407\r\n\r\n", b"HTTP/1.1 500\r\n\r\n"):
            error: BaseException | None = self.refused(answer, "http://user:secret@p:3128")
            while error is not None:
                for text in (str(error), repr(error), *getattr(error, "__notes__", ())):
                    self.assertNotIn("secret", text)
                    self.assertNotIn(sent, text)
                error = error.__context__
        self.open("http://user:secret@p:3128", 0.05)
        with self.assertRaises(TimeoutError) as caught:
            self.tunnel()
        self.assertNotIn("secret", str(caught.exception))

    def test_reset(self) -> None:
        """A proxy that resets the connection is an OSError."""
        self.open(PROXY)
        task = Task(self.tunnel)
        self.proxy.recv(4096)
        self.reset()
        self.assertIsInstance(task.error(), ConnectionResetError)

    def test_deadline(self) -> None:
        """A proxy that says nothing, or stops in the middle, is a TimeoutError."""
        for said in (b"", b"HTTP/1.1 200 OK\r\n"):
            self.open(PROXY, 0.05)
            self.proxy.sendall(said)
            with self.assertRaises(TimeoutError):
                self.tunnel()

    def test_stop(self) -> None:
        """Another thread's stop ends the wait."""
        self.open(PROXY, None)

        def tunnel() -> None:
            with self.attempt.interruptible(self.transport.shutdown):
                self.tunnel()

        task = Task(tunnel)
        self.proxy.recv(4096)
        self.attempt.stop()
        self.assertIsInstance(task.error(), (ProxyError, Stopped))
        self.assertTrue(self.attempt.stopped)


class RealHTTPTests(LeakChecks):
    """open_http_tunnel, through a proxy to a server."""

    def setUp(self) -> None:
        super().setUp()
        self.listener = self.enterContext(socket.create_server(("127.0.0.1", 0)))
        self.listener.settimeout(PATIENCE)

    def tunnel(self, proxy: ConnectProxy, url: ProxyURL, context: ssl.SSLContext | None = None) -> Transport:
        """A transport through a proxy to self.listener, by a name that only the proxy knows."""
        sock = socket.create_connection(("127.0.0.1", proxy.port), PATIENCE)
        self.addCleanup(sock.close)
        attempt = Attempt(PATIENCE)
        transport = Transport(sock)
        if context is not None:
            transport = TLSTransport(sock, context, server_side=False, server_hostname="localhost")
            transport.handshake(attempt.deadline)
        self.behind = open_http_tunnel(
            transport, url, f"server.test:{self.listener.getsockname()[1]}", Headers(), attempt
        )
        return transport

    def check(self, transport: Transport) -> None:
        """Bytes pass both ways."""
        server, _ = self.listener.accept()
        with server:
            server.settimeout(PATIENCE)
            transport.send(b"ping")
            self.assertEqual(server.recv(100), b"ping")
            server.sendall(b"pong")
            self.assertEqual(transport.receive(100, PATIENCE), b"pong")
            transport.shutdown_write()
            self.assertEqual(server.recv(100), b"")
        self.assertEqual(transport.receive(100, PATIENCE), b"")

    def test_plain(self) -> None:
        """Through a proxy without TLS; what the server says first is not lost."""
        with ConnectProxy(behind=b"at once") as proxy:
            transport = self.tunnel(proxy, parse_proxy_url(proxy.url))
            self.assertEqual(self.behind, b"at once")
            self.check(transport)
            ((method, target, headers),) = proxy.requests
            self.assertEqual((method, target), ("CONNECT", f"server.test:{self.listener.getsockname()[1]}"))
            self.assertEqual(headers["Host"], target)

    def test_tls(self) -> None:
        """Through a proxy under TLS."""
        theirs, ours = certificates.contexts()
        with ConnectProxy(ssl_context=theirs, behind=b"at once") as proxy:
            transport = self.tunnel(proxy, parse_proxy_url(proxy.url), ours)
            self.assertEqual(self.behind, b"at once")
            self.check(transport)

    def test_authorization(self) -> None:
        """A proxy that wants credentials accepts the right ones, and refuses everything else."""
        with ConnectProxy(auth=("user", "secret")) as proxy:
            self.check(self.tunnel(proxy, ProxyURL("http", "127.0.0.1", proxy.port, "user", "secret")))
            for username, password in ((None, ""), ("user", ""), ("user", "other")):
                with self.assertRaises(ProxyError) as caught:
                    self.tunnel(proxy, ProxyURL("http", "127.0.0.1", proxy.port, username, password))
                self.assertEqual(caught.exception.status, 407)
                self.assertIn("Proxy-Authenticate", caught.exception.headers)

    def test_server_not_reached(self) -> None:
        """A proxy that does not reach the server answers 502, and the error has that status."""
        with ConnectProxy() as proxy, socket.socket() as taken:
            taken.bind(("127.0.0.1", 0))  # and nobody listens
            self.listener.close()
            self.listener = taken
            with self.assertRaises(ProxyError) as caught:
                self.tunnel(proxy, parse_proxy_url(proxy.url))
            self.assertEqual(caught.exception.status, 502)


ANONYMOUS = b"\5\0"
PASSWORD = b"\5\2"
GRANTED = b"\5\0\0\1\x7f\0\0\1\x1f\x90"

#: What a SOCKS proxy says in place of its consent, and what is said of it.
SOCKS_REFUSALS = {
    b"\5\xff": "authentication method",
    b"\5\7": "authentication method",
    b"\4\0": "version",
    b"HTTP/1.1 400 Bad Request\r\n\r\n": "version",
    b"\0\0": "version",
    b"": "closed",
    b"\5": "closed",
    ANONYMOUS: "closed",
    ANONYMOUS + GRANTED[:-1]: "closed",
    ANONYMOUS + b"\5\1\0\1\0\0\0\0\0\0": "General SOCKS server failure",
    ANONYMOUS + b"\5\2\0\1\0\0\0\0\0\0": "not allowed",
    ANONYMOUS + b"\5\3\0\1\0\0\0\0\0\0": "Network unreachable",
    ANONYMOUS + b"\5\4\0\1\0\0\0\0\0\0": "Host unreachable",
    ANONYMOUS + b"\5\5\0\1\0\0\0\0\0\0": "refused",
    ANONYMOUS + b"\5\6\0\1\0\0\0\0\0\0": "TTL expired",
    ANONYMOUS + b"\5\7\0\1\0\0\0\0\0\0": "Command not supported",
    ANONYMOUS + b"\5\x08\0\1\0\0\0\0\0\0": "Address type not supported",
    ANONYMOUS + b"\5\x55\0\1\0\0\0\0\0\0": "reply code",
    ANONYMOUS + b"\4\0\0\1\0\0\0\0\0\0": "version",
    ANONYMOUS + b"\5\0\1\1\0\0\0\0\0\0": "reserved",
    ANONYMOUS + b"\5\0\0\x09\0\0\0\0\0\0": "address type",
    ANONYMOUS + b"\5\0\0\3\2\xff\xff\0\0": "",
}


class SocksTests(Cases):
    """open_socks_tunnel, with a proxy that says what the test wants."""

    def setUp(self) -> None:
        super().setUp()
        need(python_socks is not None, "python-socks (PyPI) is not installed")

    def tunnel(self, host: str = "a.example", port: int = 80) -> None:
        open_socks_tunnel(self.transport, self.url, host, port, self.attempt)

    def answered(self, answer: bytes, url: str = "socks5://p", host: str = "a.example", port: int = 80) -> bytes:
        """What the client sends to a proxy that sends all of this at once."""
        self.open(url)
        self.proxy.sendall(answer)
        self.tunnel(host, port)
        return self.asked()

    def refused(self, answer: bytes, url: str = "socks5://p") -> ProxyError:
        """The error for an answer that is followed by the end of the stream."""
        self.open(url)
        self.proxy.sendall(answer)
        self.proxy.shutdown(socket.SHUT_WR)
        with self.assertRaises(ProxyError) as caught:
            self.tunnel()
        return caught.exception

    def test_names_are_left_to_the_proxy(self) -> None:
        """A name is sent as it is, in both schemes: the proxy looks it up."""
        with mock.patch("socket.getaddrinfo", side_effect=AssertionError("looked up here")):
            for scheme in ("socks5", "socks5h"):
                asked = self.answered(ANONYMOUS + GRANTED, f"{scheme}://p")
                self.assertEqual(asked, b"\5\1\0" + b"\5\1\0\3\x09a.example\0\x50")

    def test_addresses(self) -> None:
        """Addresses are sent as such, and every port."""
        for host, port, sent in (
            ("127.0.0.1", 1, b"\1\x7f\0\0\1\0\1"),
            ("::1", 65535, b"\4" + bytes(15) + b"\1\xff\xff"),
        ):
            self.assertEqual(self.answered(ANONYMOUS + GRANTED, "socks5://p", host, port)[3:], b"\5\1\0" + sent)

    def test_credentials(self) -> None:
        """A proxy that asks for name and password (RFC 1929) gets those of the URL; no other proxy gets them."""
        url = "socks5://us%40er:se%3Acret@p"
        asked = self.answered(PASSWORD + b"\1\0" + GRANTED, url)
        self.assertEqual(asked, b"\5\2\0\2" + b"\1\5us@er\x07se:cret" + b"\5\1\0\3\x09a.example\0\x50")
        asked = self.answered(ANONYMOUS + GRANTED, url)
        self.assertEqual(asked, b"\5\2\0\2" + b"\5\1\0\3\x09a.example\0\x50")

    def test_credentials_refused(self) -> None:
        """Wrong credentials, or none where some are wanted, are a ProxyError that does not show them."""
        for answer, url in (
            (PASSWORD + b"\1\1", "socks5://user:secret@p"),
            (PASSWORD + b"\5\0", "socks5://user:secret@p"),
            (b"\5\xff", "socks5://user:secret@p"),
            (PASSWORD, "socks5://p"),
        ):
            error = self.refused(answer, url)
            self.assertIn("authentication", str(error))
            self.assertNotIn("secret", f"{error} {error!r} {error.__context__!r}")

    def test_bound_addresses(self) -> None:
        """The address that the proxy says it connects from is read to its end, of each type, and not one byte more."""
        for bound in (b"\1" + bytes(4), b"\4" + bytes(16), b"\3\x00", b"\3\x09a.example", b"\3\xff" + b"a" * 255):
            self.open("socks5://p")
            self.proxy.sendall(ANONYMOUS + b"\5\0\0" + bound + b"\0\x50" + b"server speaks first")
            self.tunnel()
            self.assertEqual(self.transport.receive(100, PATIENCE), b"server speaks first")

    def test_refusals(self) -> None:
        """Any other reply is a ProxyError of status 0, without headers, which says what is wrong."""
        for answer, told in SOCKS_REFUSALS.items():
            with self.subTest(answer):
                error = self.refused(answer)
                self.assertEqual((error.status, list(error.headers)), (0, []))
                self.assertTrue(str(error).startswith("the proxy socks5://p:1080 opens no tunnel to a.example:80: "))
                self.assertIn(told.lower(), str(error).lower())

    def test_which_refusals_may_heal(self) -> None:
        """The cause is an OSError if the server could not be reached, or the proxy left; not if the proxy refused."""
        for answer, heals in (
            (ANONYMOUS + b"\5\1\0\1\0\0\0\0\0\0", True),
            (ANONYMOUS + b"\5\4\0\1\0\0\0\0\0\0", True),
            (ANONYMOUS + b"\5\5\0\1\0\0\0\0\0\0", True),
            (ANONYMOUS, True),
            (b"", True),
            (ANONYMOUS + b"\5\2\0\1\0\0\0\0\0\0", False),
            (ANONYMOUS + b"\5\7\0\1\0\0\0\0\0\0", False),
            (b"\5\xff", False),
        ):
            with self.subTest(answer):
                self.assertIs(isinstance(self.refused(answer).__cause__, OSError), heals)

    def test_reset(self) -> None:
        """A proxy that resets the connection is an OSError."""
        self.open("socks5://p")
        task = Task(self.tunnel)
        self.proxy.recv(100)
        self.reset()
        self.assertIsInstance(task.error(), ConnectionResetError)

    def test_deadline(self) -> None:
        """A proxy that says nothing, or stops in the middle, is a TimeoutError that says how long was waited."""
        for said in (b"", ANONYMOUS, ANONYMOUS + GRANTED[:-1]):
            self.open("socks5://p", 0.05)
            self.proxy.sendall(said)
            with self.assertRaisesRegex(TimeoutError, "^connecting through the proxy: not done within 0.05 s"):
                self.tunnel()

    def test_deadline_is_over_all(self) -> None:
        """A proxy that sends one byte at a time gets no more time than a silent one."""
        self.open("socks5://p", 0.3)
        self.proxy.settimeout(0.01)

        def drip() -> None:
            with contextlib.suppress(ConnectionError):
                self.proxy.sendall(ANONYMOUS + b"\5\0\0\3\xff")
                for _ in range(257):
                    self.proxy.sendall(b"a")
                    with contextlib.suppress(TimeoutError):  # the pause
                        while self.proxy.recv(100):
                            pass

        task = Task(drip)
        with self.assertRaises(TimeoutError):
            self.tunnel()
        self.transport.close()
        task.result()

    def test_proxy_that_does_not_read(self) -> None:
        """A request that the proxy does not read in time is a TimeoutError as well."""
        self.open("socks5://p", 0.2, buffer=4096)
        with contextlib.suppress(BlockingIOError):
            while True:
                self.transport.socket.send(bytes(65536), socket.MSG_DONTWAIT)
        with self.assertRaisesRegex(TimeoutError, "^connecting through the proxy: "):
            self.tunnel()

    def test_stop(self) -> None:
        """Another thread's stop ends the wait; a stop before it asks nothing."""
        for said in (b"", ANONYMOUS):
            self.open("socks5://p", None)

            def tunnel() -> None:
                with self.attempt.interruptible(self.transport.shutdown):
                    self.tunnel()

            task = Task(tunnel)
            self.proxy.recv(100)
            self.proxy.sendall(said)
            if said:
                self.proxy.recv(100)
            self.attempt.stop()
            self.assertIsInstance(task.error(), Stopped)
        self.open("socks5://p")
        self.attempt.stop()
        with self.assertRaises(Stopped):
            self.tunnel()
        self.assertEqual(self.asked(), b"")

    def test_transport_stays_open(self) -> None:
        """A refusal leaves the transport open: the caller closes it."""
        self.refused(b"\5\xff")
        self.assertFalse(self.transport.closed)


class WithoutSocksTests(Cases):
    """Without python-socks."""

    def test_not_installed(self) -> None:
        """The error says what to install; nothing has been said to the proxy."""
        self.open("socks5://p")
        with mock.patch.dict(sys.modules, {"python_socks": None, "python_socks.sync": None}):
            with self.assertRaisesRegex(ImportError, r"pip install 'syncws\[socks\]'"):
                open_socks_tunnel(self.transport, self.url, "a.example", 80, self.attempt)
        self.assertEqual(self.asked(), b"")


if __name__ == "__main__":
    unittest.main()
