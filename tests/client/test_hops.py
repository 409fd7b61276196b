"""How the dialer reaches a server: TLS, hooks, Unix sockets; one deadline over all of it, and a stop at any time."""

from __future__ import annotations

import contextlib
import errno
import os
import signal
import socket
import ssl
import tempfile
import threading
import time
import unittest
from collections.abc import Callable
from pathlib import Path
from typing import Any
from unittest import mock

from syncws._client.dialer import Dialer
from syncws._client.hops import default_context
from syncws._net.attempt import Attempt, Stopped
from syncws._net.tls import TLSTransport
from syncws.errors import BadHandshakeError
from syncws.testing import await_, socketpair
from tests import certificates
from tests.certificates import serving, trusting
from tests.client.cases import (
    Asked,
    DialCase,
    Hook,
    accepting,
    accepting_one,
    drip,
    frame,
    noting_names,
    read_head,
)
from tests.net.test_connector import swallowing
from tests.tasks import PATIENCE, Task

#: Seconds of a timeout that is to pass.
SHORT = 0.5


def port_of(url: str) -> int:
    return int(url.rpartition(":")[2].strip("/"))


def notes(error: BaseException) -> str:
    return "\n".join(getattr(error, "__notes__", ()))


class TestTLS(DialCase):
    """wss: whom the client trusts, which name it asks for, and that the connection is one like any other."""

    def secure(self, name: str = "127.0.0.1", **options: Any) -> tuple[Any, list[str | None]]:
        """A real server with a certificate for a name, and the names that clients ask it for."""
        context = serving(name)
        return self.echo_server(ssl_context=context, **options), noting_names(context)

    def test_echo(self) -> None:
        """A wss connection works as a ws one does, with messages up to 1 MiB (TestDialTLS)."""
        server, _ = self.secure()
        with self.dial(server.url, ssl_context=trusting()) as conn:
            self.assertIsInstance(conn.transport, TLSTransport)
            for size in (0, 1, 16384, 1 << 20):
                self.assert_echo(conn, bytes(size))

    def test_compressed_echo(self) -> None:
        """Compression and TLS go together."""
        server, _ = self.secure(enable_compression=True)
        conn = self.dial(server.url, ssl_context=trusting(), enable_compression=True)
        self.assertTrue(conn.compression)
        self.assert_echo(conn, "hello" * 10000)

    def test_frames_after_the_answer(self) -> None:
        """Messages in the same record as the 101 are delivered."""
        server = self.bad_server(accepting(behind=frame(b"one") + frame(b"two")), tls=serving())
        conn = self.dial(server.url, ssl_context=trusting())
        self.assertEqual([conn.receive(timeout=PATIENCE) for _ in range(2)], ["one", "two"])

    def test_the_name_is_the_urls(self) -> None:
        """The server is asked for the URL's host, and its certificate must be for that."""
        server, names = self.secure("localhost")
        self.assert_echo(self.dial(f"wss://localhost:{server.port}/", ssl_context=trusting()))
        self.assertEqual(names, ["localhost"])

    def test_a_name_that_ends_with_a_dot(self) -> None:
        """The dot that ends an absolute name is in Host, as browsers and curl have it, and not in SNI and certificate.

        RFC 6066 section 3. Neither is that of a server_hostname, nor that of a hook's own TLSTransport.
        """
        server, names = self.secure("service.test")
        hook = Hook(server.port)
        self.assert_echo(self.dial("wss://service.test./", ssl_context=trusting(), net_dial=hook))
        self.assertEqual((names, server.request.host), (["service.test"], "service.test."))
        self.assertEqual(hook.calls, [("service.test.", 443)])
        self.assert_echo(self.dial(server.url, ssl_context=trusting(), server_hostname="service.test."))
        self.assertEqual(names, ["service.test"] * 2)
        with self.assertRaises(ssl.SSLCertVerificationError):
            self.dial("wss://other.test./", ssl_context=trusting(), net_dial=Hook(server.port))

    def test_the_host_header_is_no_name(self) -> None:
        """A Host header changes neither the name in TLS nor the address (gorilla's TestHost)."""
        server, names = self.secure("localhost")
        self.dial(f"wss://localhost:{server.port}/", {"Host": "elsewhere.example"}, ssl_context=trusting())
        self.assertEqual((names, server.request.host), (["localhost"], "elsewhere.example"))

    def test_host_headers_and_names(self) -> None:
        """The URL decides on address and name, server_hostname on the name, a Host header on itself (TestHost)."""
        for host, hostname, expected in (
            (None, None, ("service.test", "service.test")),
            ("other.test", None, ("other.test", "service.test")),
            (None, "alias.test", ("service.test", "alias.test")),
            ("other.test", "alias.test", ("other.test", "alias.test")),
        ):
            with self.subTest(host=host, server_hostname=hostname):
                server, names = self.secure(expected[1])
                hook = Hook(server.port)
                options = {"ssl_context": trusting(), "server_hostname": hostname, "net_dial": hook}
                self.assert_echo(self.dial("wss://service.test/", host and {"Host": host}, **options))
                self.assertEqual((server.request.host, *names), expected)
                self.assertEqual(hook.calls, [("service.test", 443)])

    def test_a_name_of_ones_own(self) -> None:
        """With server_hostname an address is dialed, and the certificate is for a name."""
        server, names = self.secure("service.test")
        self.assert_echo(self.dial(server.url, ssl_context=trusting(), server_hostname="service.test"))
        self.assertEqual(names, ["service.test"])

    def test_an_authority_that_is_not_trusted(self) -> None:
        """A certificate of an unknown authority fails, and the note names ssl_context; no request is sent."""
        server, _ = self.secure()
        for options in ({}, {"ssl_context": ssl.create_default_context()}):
            with self.subTest(options), self.assertRaises(ssl.SSLCertVerificationError) as caught:
                self.dial(server.url, **options)
            self.assertIn("ssl_context=ssl.create_default_context(cafile=...)", notes(caught.exception))
        self.assertEqual(server.requests, [])

    def test_a_certificate_for_another_name(self) -> None:
        """A trusted certificate for another name or address fails, by the URL's host or server_hostname."""
        server, _ = self.secure("localhost")
        for options in ({}, {"server_hostname": "service.test"}):
            with self.subTest(options), self.assertRaises(ssl.SSLCertVerificationError) as caught:
                self.dial(server.url, ssl_context=trusting(), **options)
            self.assertRegex(str(caught.exception), "mismatch, certificate is not valid for")
            self.assertIn("server_hostname", notes(caught.exception))
            self.assertIn(f"this was on the way to {server.url}", notes(caught.exception))
        self.assertEqual(server.requests, [])

    def test_no_verification(self) -> None:
        """A context that verifies nothing connects to anybody, and says so itself (InsecureSkipVerify)."""
        server, _ = self.secure("elsewhere.test")
        context = ssl.create_default_context()
        context.check_hostname = False
        context.verify_mode = ssl.CERT_NONE
        self.assert_echo(self.dial(server.url, ssl_context=context))

    def test_a_certificate_of_the_clients(self) -> None:
        """To a server that wants a certificate, the client shows the one that its ssl_context has."""
        context = serving()
        context.verify_mode = ssl.CERT_REQUIRED
        certificates.trust(context)
        server = self.echo_server(ssl_context=context)
        ours = trusting()
        certificates.certify(ours, "client@example.com")
        self.assert_echo(self.dial(server.url, ssl_context=ours))
        with self.assertRaises((OSError, BadHandshakeError)):
            self.dial(server.url, ssl_context=trusting())

    def test_a_context_for_servers(self) -> None:
        """A context made for servers raises ssl's own error, and the socket is closed."""
        hook = Hook(self.echo_server().port)
        with self.assertRaisesRegex(ssl.SSLError, "PROTOCOL_TLS_SERVER"):
            self.dial("wss://server.test/", ssl_context=serving(), net_dial=hook)
        self.assertEqual(hook.made.fileno(), -1)

    def test_a_server_without_tls(self) -> None:
        """wss to a server that speaks plain HTTP fails, and a note says so."""
        server = self.echo_server()
        with self.assertRaises(ssl.SSLError) as caught:
            self.dial(server.url.replace("ws:", "wss:"), ssl_context=trusting())
        self.assertIn("the other side does not speak TLS: write ws: instead of wss:", notes(caught.exception))

    def test_a_server_that_leaves(self) -> None:
        """A connection that ends during the TLS handshake is an OSError that says so."""
        with accepting_one() as (url, accept):
            dialing = Task(self.dial, url.replace("ws:", "wss:"), ssl_context=trusting())
            with accept() as sock:
                sock.recv(1)
                sock.shutdown(socket.SHUT_WR)
                error = dialing.error()
            self.assertIsInstance(error, ConnectionResetError)
            self.assertIn("during the TLS handshake", str(error))

    def test_http_2(self) -> None:
        """Where TLS agrees on another protocol than HTTP/1.1 the dial fails, and names the setting (TestNextProtos)."""
        theirs, ours = serving(), trusting()
        theirs.set_alpn_protocols(["h2", "http/1.1"])
        server = self.echo_server(ssl_context=theirs)
        ours.set_alpn_protocols(["h2", "http/1.1"])
        with self.assertRaises(BadHandshakeError) as caught:
            self.dial(server.url, ssl_context=ours)
        self.assertIn("'h2', and WebSocket needs HTTP/1.1: ssl_context must not offer it", str(caught.exception))
        self.assertEqual((caught.exception.status, server.requests), (0, []))

    def test_http_1_1_by_name(self) -> None:
        """Where both sides say http/1.1, or the server says nothing of it, the dial succeeds."""
        ours = trusting()
        ours.set_alpn_protocols(["http/1.1"])
        for protocols in (["http/1.1"], []):
            theirs = serving()
            theirs.set_alpn_protocols(protocols)
            conn = self.dial(self.echo_server(ssl_context=theirs).url, ssl_context=ours)
            self.assert_echo(conn)

    def test_no_protocol_by_default(self) -> None:
        """The default context offers no protocol by ALPN."""
        theirs = serving()
        theirs.set_alpn_protocols(["h2", "http/1.1"])
        conn = self.dial(self.echo_server(ssl_context=theirs).url, ssl_context=trusting())
        self.assertIsNone(conn.transport.ssl_object.selected_alpn_protocol())

    def test_thedefault_context(self) -> None:
        """Without ssl_context the system's authorities are trusted; here those that the environment names."""
        server, _ = self.secure()
        default_context.cache_clear()
        self.addCleanup(default_context.cache_clear)
        path = certificates.files(self.enterContext(tempfile.TemporaryDirectory())).authority
        with mock.patch.dict(os.environ, {"SSL_CERT_FILE": path}):
            self.assert_echo(self.dial(server.url))


class TestHooks(DialCase):
    """net_dial and net_dial_tls: which is called, with what, and what they may return."""

    def test_precedence(self) -> None:
        """net_dial_tls connects for wss, else net_dial does, else the library (TestNetDialConnect)."""
        for secure in (False, True):
            server = self.echo_server(ssl_context=serving() if secure else None)
            for plain, tls in ((False, False), (True, False), (False, True), (True, True)):
                with self.subTest(secure=secure, net_dial=plain, net_dial_tls=tls):
                    of_plain, of_tls = Hook(server.port), Hook(server.port, tls=trusting())
                    hooks = {"net_dial": of_plain if plain else None, "net_dial_tls": of_tls if tls else None}
                    self.assert_echo(self.dial(server.url, ssl_context=trusting(), **hooks))
                    by_tls = secure and tls
                    self.assertEqual(len(of_tls.calls), by_tls)
                    self.assertEqual(len(of_plain.calls), plain and not by_tls)

    def test_arguments(self) -> None:
        """net_dial gets the URL's host without brackets, its port or the scheme's, and the seconds that are left."""
        for url, address in (
            ("ws://example.com/x", ("example.com", 80)),
            ("ws://example.com:81/x", ("example.com", 81)),
            ("ws://[::1]:81/x", ("::1", 81)),
            ("ws://bücher.example/x", ("xn--bcher-kva.example", 80)),
        ):
            with self.subTest(url):
                hook = Hook(self.bad_server(accepting()).port)
                self.dial(url, net_dial=hook, handshake_timeout=1000).close_now()
                self.assertEqual(hook.calls, [address])
                self.assertTrue(900 < hook.timeouts[0] <= 1000)
                self.dial(url, net_dial=hook, handshake_timeout=None)
                self.assertIsNone(hook.timeouts[1])

    def test_arguments_for_tls(self) -> None:
        """net_dial_tls gets the same: the host, the port, and the seconds that are left."""
        hook = Hook(self.echo_server(ssl_context=serving()).port, tls=trusting())
        self.assert_echo(self.dial("wss://example.com", net_dial_tls=hook, handshake_timeout=1000))
        self.assertEqual(hook.calls, [("example.com", 443)])
        self.assertTrue(900 < hook.timeouts[0] <= 1000)

    def test_a_transport_that_is_not_done(self) -> None:
        """If a TLSTransport has not done its handshake yet, the dialer does it, under the deadline."""
        server = self.echo_server(ssl_context=serving())

        def net_dial_tls(host: str, port: int, timeout: float | None) -> TLSTransport:
            sock = socket.create_connection(("127.0.0.1", server.port), timeout)
            return TLSTransport(sock, trusting(), server_side=False, server_hostname="127.0.0.1")

        self.assert_echo(self.dial(server.url, net_dial_tls=net_dial_tls))

    def test_any_kind_of_socket(self) -> None:
        """net_dial may return a socket that is not TCP, in any mode."""
        for timeout in (None, 0, 5):
            ours, theirs = socket.socketpair()
            ours.settimeout(timeout)
            serving = Task(lambda sock: sock.sendall(accepting()(Asked(read_head(sock)))), theirs)
            with theirs:
                conn = self.dial("ws://example.com/", net_dial=lambda *_, ours=ours: ours)
                serving.result()
                theirs.sendall(frame(b"hello"))
                self.assertEqual(conn.receive(timeout=PATIENCE), "hello")
                conn.close_now()

    def test_what_net_dial_may_not_return(self) -> None:
        """Anything except a socket is a TypeError that shows it."""
        for found in (None, 5, ("127.0.0.1", 80)):
            with self.subTest(found), self.assertRaises(TypeError) as caught:
                self.dial("ws://example.com/", net_dial=lambda *_, found=found: found)
            self.assertEqual(str(caught.exception), f"net_dial must return a connected socket, not {found!r}")

    def test_tls_sockets(self) -> None:
        """An SSLSocket is refused by both hooks, which say what to return, and it is closed."""
        server = self.echo_server(ssl_context=serving())
        for hook, words in (("net_dial", "give ssl_context"), ("net_dial_tls", "syncws.TLSTransport")):
            plain = socket.create_connection(("127.0.0.1", server.port))
            tls = trusting().wrap_socket(plain, server_hostname="127.0.0.1")
            with self.subTest(hook), self.assertRaisesRegex(TypeError, f"^{hook} .*{words}"):
                self.dial("wss://example.com/", **{hook: lambda *_, tls=tls: tls})
            self.assertEqual(tls.fileno(), -1)

    def test_what_net_dial_tls_may_not_return(self) -> None:
        """A plain socket is refused and closed; anything else that is no TLSTransport is refused."""
        ours, theirs = socketpair()
        with theirs, self.assertRaisesRegex(TypeError, "^net_dial_tls must return"):
            self.dial("wss://example.com/", net_dial_tls=lambda *_: ours)
        self.assertEqual(ours.fileno(), -1)
        with self.assertRaisesRegex(TypeError, "^net_dial_tls must return"):
            self.dial("wss://example.com/", net_dial_tls=lambda *_: None)

    def test_their_errors(self) -> None:
        """What a hook raises is raised unchanged."""
        for hook, url in (("net_dial", "ws://example.com/"), ("net_dial_tls", "wss://example.com/")):
            for error in (OSError("no way"), KeyError("x"), KeyboardInterrupt()):
                with self.subTest(hook, error=error), self.assertRaises(type(error)) as caught:
                    self.dial(url, **{hook: mock.Mock(side_effect=error)})
                self.assertIs(caught.exception, error)
                self.assertIsNone(caught.exception.__cause__)

    def test_a_failure_after_a_hook(self) -> None:
        """The socket of a hook is closed when the dial fails."""
        server = self.bad_server(b"HTTP/1.1 403 Forbidden\r\nContent-Length: 0\r\n\r\n")
        hook = Hook(server.port)
        with self.assertRaises(BadHandshakeError):
            self.dial("ws://example.com/", net_dial=hook)
        self.assertEqual(hook.made.fileno(), -1)
        hook = Hook(self.echo_server(ssl_context=serving()).port)
        with self.assertRaises(ssl.SSLCertVerificationError):
            self.dial("wss://example.com/", net_dial=hook)
        self.assertEqual(hook.made.fileno(), -1)


class TestUnixSockets(DialCase):
    """unix_path: where to connect, while the URL tells the rest."""

    def setUp(self) -> None:
        super().setUp()
        self.path = str(Path(self.enterContext(tempfile.TemporaryDirectory(prefix="syncws-"))) / "sock")

    def test_echo(self) -> None:
        """The URL gives Host and target, its host is not looked up, and unix_path may be a path object."""
        server = self.echo_server(unix_path=self.path)
        for path in (self.path, Path(self.path)):
            with self.dial("ws://nowhere.invalid/feed?a=b", unix_path=path) as conn:
                self.assert_echo(conn, bytes(1 << 20))
        self.assertEqual({(each.target, each.host) for each in server.requests}, {("/feed?a=b", "nowhere.invalid")})

    def test_tls(self) -> None:
        """wss is TLS over the Unix socket, for the URL's host."""
        self.echo_server(unix_path=self.path, ssl_context=serving("service.test"))
        self.assert_echo(self.dial("wss://service.test/", unix_path=self.path, ssl_context=trusting()))
        with self.assertRaises(ssl.SSLCertVerificationError):
            self.dial("wss://other.test/", unix_path=self.path, ssl_context=trusting())

    def test_no_proxy(self) -> None:
        """Neither a callable nor the environment is asked for a proxy."""
        self.echo_server(unix_path=self.path)
        with mock.patch.dict(os.environ, {"http_proxy": "http://proxy.invalid:1"}):
            self.assert_echo(self.dial("ws://service.test/", unix_path=self.path))
            self.dial("ws://service.test/", unix_path=self.path, proxy=mock.Mock(side_effect=AssertionError))

    def test_nobody_there(self) -> None:
        """The error says which path."""
        with self.assertRaisesRegex(FileNotFoundError, self.path):
            self.dial("ws://localhost/", unix_path=self.path)
        with socket.socket(socket.AF_UNIX) as sock:
            sock.bind(self.path)
            with self.assertRaisesRegex(ConnectionRefusedError, self.path):
                self.dial("ws://localhost/", unix_path=self.path)


class TestUnreachable(DialCase):
    """Servers that cannot be connected to: one clear OSError."""

    def test_nobody_listens(self) -> None:
        """A port where nobody listens is a ConnectionRefusedError that names host and port."""
        with socket.socket() as taken:
            taken.bind(("127.0.0.1", 0))
            port = taken.getsockname()[1]
            with self.assertRaises(ConnectionRefusedError) as caught:
                self.dial(f"ws://127.0.0.1:{port}/x?token=secret")
        self.assertEqual(caught.exception.errno, errno.ECONNREFUSED)
        self.assertIn(f"connecting to 127.0.0.1 port {port}", str(caught.exception))
        self.assertNotIn("secret", str(caught.exception))

    def test_no_such_name(self) -> None:
        """A name that does not exist is a gaierror whose text says which, and so does its note."""
        with (
            mock.patch("socket.getaddrinfo", side_effect=socket.gaierror(socket.EAI_NONAME, "Name not known")),
            self.assertRaises(socket.gaierror) as caught,
        ):
            self.dial("ws://server.test/?token=secret")
        self.assertEqual(caught.exception.errno, socket.EAI_NONAME)
        self.assertIn("Name not known (looking up server.test)", str(caught.exception))
        self.assertIn("'server.test'", notes(caught.exception))

    def test_a_name_with_a_dead_address(self) -> None:
        """The second address of a name is reached when nobody listens on the first (RFC 8305)."""
        server = self.echo_server()
        real = socket.getaddrinfo
        with socket.socket() as taken:
            taken.bind(("127.0.0.1", 0))

            def getaddrinfo(host: str, port: int, *, flags: int = 0, **keywords: Any) -> Any:
                if host != "server.test" or flags & socket.AI_NUMERICHOST:
                    return real(host, port, flags=flags, **keywords)
                return [
                    (socket.AF_INET, socket.SOCK_STREAM, 6, "", ("127.0.0.1", each))
                    for each in (taken.getsockname()[1], server.port)
                ]

            with mock.patch("socket.getaddrinfo", getaddrinfo):
                self.assert_echo(self.dial("ws://server.test/"))


class Due(Attempt):
    """An attempt whose time begins to run when a step does, so that on a slow machine it ends in that one too."""

    def __init__(self, step: str) -> None:
        super().__init__(SHORT)
        self.deadline = None
        self._step = step

    def remaining(self, doing: str) -> float | None:
        if self.deadline is None and doing == self._step:
            self.deadline = time.monotonic() + SHORT
        return super().remaining(doing)


class TestDeadline(DialCase):
    """One deadline over the whole dial, and none over what comes after."""

    def assert_times_out(self, url: str, step: str, begins: str = "", **options: Any) -> None:
        """A dial takes too long in a step; time runs from that one on, or from an earlier one."""
        with self.assertRaises(TimeoutError) as caught:
            Dialer(**options).dial_within(Due(begins or step), url)
        self.assertEqual(str(caught.exception), f"{step}: not done within {SHORT:g} s (handshake_timeout)")

    def test_no_answer(self) -> None:
        """A server that takes the request and says nothing is given up, and the connection is closed."""
        server = self.bad_server(b"")
        with self.assertRaisesRegex(TimeoutError, r"not done within 0.5 s \(handshake_timeout\)"):
            self.dial(server.url, handshake_timeout=SHORT)
        self.assert_times_out(server.url, "waiting for the answer")
        self.assertTrue(server.ended.wait(PATIENCE))

    def test_timeout_of_the_dial(self) -> None:
        """timeout of dial replaces handshake_timeout, whether that is longer or shorter."""
        server = self.bad_server(b"")
        with self.assertRaisesRegex(TimeoutError, "within 0.2 s"):
            Dialer(handshake_timeout=1000).dial(server.url, timeout=0.2)
        server = self.bad_server(accepting())
        Dialer(handshake_timeout=1e-9).dial(server.url, timeout=PATIENCE).close_now()
        with self.assertRaises(TimeoutError):
            Dialer(handshake_timeout=1e-9).dial(server.url)

    def test_an_answer_that_drips(self) -> None:
        """A server that sends a byte now and then, of a head or of interim answers, gets no more time."""
        for name, data in (
            ("head", b"HTTP/1.1 101 Switching Protocols\r\nX: x"),
            ("interim", b"HTTP/1.1 100 Continue\r\n\r\n" * 3 + b"HTTP/1.1 100 " + b"x"),
        ):
            with self.subTest(name):
                server = self.bad_server(script=lambda sock, asked, data=data: drip(sock, data))
                self.assert_times_out(server.url, "waiting for the answer")

    def test_tls_that_drips(self) -> None:
        """A TLS handshake that comes one byte at a time is under the same deadline."""
        with accepting_one() as (url, accept):
            secure = url.replace("ws:", "wss:")
            connecting = f"connecting to 127.0.0.1 port {port_of(url)}"
            dialing = Task(self.assert_times_out, secure, "the TLS handshake", connecting, ssl_context=trusting())
            with accept() as sock, contextlib.suppress(ConnectionError):
                sock.recv(1 << 16)
                drip(sock, b"\x16\x03\x03\x40\x00\x02")  # the beginning of a long record
            dialing.result()

    def test_tls_that_says_nothing(self) -> None:
        """A server that does not answer a TLS handshake is given up."""
        with accepting_one() as (url, _accept):
            secure = url.replace("ws:", "wss:")
            connecting = f"connecting to 127.0.0.1 port {port_of(url)}"
            self.assert_times_out(secure, "the TLS handshake", connecting, ssl_context=trusting())

    def test_a_dead_address(self) -> None:
        """A connect that nobody answers is given up."""
        with swallowing() as listener:
            port = listener.getsockname()[1]
            self.assert_times_out(f"ws://127.0.0.1:{port}/", f"connecting to 127.0.0.1 port {port}")

    def test_a_lookup(self) -> None:
        """A lookup that does not end is given up; its thread ends with it."""
        gate = threading.Event()
        real = socket.getaddrinfo

        def getaddrinfo(*args: Any, flags: int = 0, **keywords: Any) -> Any:
            if flags & socket.AI_NUMERICHOST:
                return real(*args, flags=flags, **keywords)
            gate.wait(PATIENCE)
            raise socket.gaierror(socket.EAI_NONAME, "Name not known")

        self.addCleanup(gate.set)
        with mock.patch("socket.getaddrinfo", getaddrinfo):
            self.assert_times_out("ws://server.test/", "looking up server.test")

    def test_a_hook_that_takes_too_long(self) -> None:
        """The deadline holds for a hook too: a socket that it returns too late is closed."""
        server = self.bad_server(accepting())

        def net_dial(host: str, port: int, timeout: float | None) -> socket.socket:
            assert timeout is not None
            ended = time.monotonic() + timeout
            await_(lambda: time.monotonic() > ended, PATIENCE)
            return server.net_dial(host, port, PATIENCE)

        connecting = "connecting to server.test port 80"
        self.assert_times_out("ws://server.test/", "sending the request", connecting, net_dial=net_dial)

    def test_a_request_that_is_not_taken(self) -> None:
        """A request that a server does not read, and that does not fit the buffers, is under the deadline as well."""
        ours, theirs = socketpair(4096)
        headers = [("X", "x" * 60000)] * 100
        dialer = Dialer(net_dial=lambda *_: ours)
        with theirs, self.assertRaisesRegex(TimeoutError, "sending the request: not done within"):
            dialer.dial_within(Due("sending the request"), "ws://server.test/", headers)
        self.assertEqual(ours.fileno(), -1)

    def test_a_body_that_drips(self) -> None:
        """The body of a refusal is under the deadline too; once it passes, the refusal is raised, not a timeout."""

        def script(sock: socket.socket, asked: Asked) -> None:
            sock.sendall(b"HTTP/1.1 403 Forbidden\r\nContent-Length: 2000\r\n\r\n")
            drip(sock, b"x")

        server = self.bad_server(script=script)
        with mock.patch("syncws._http.httpclient._BODY_TIMEOUT", 1e9), self.assertRaises(BadHandshakeError) as caught:
            Dialer().dial_within(Due("waiting for the answer"), server.url)
        self.assertEqual(caught.exception.status, 403)
        self.assertEqual(set(caught.exception.response.body), {ord("x")})

    def test_none_afterwards(self) -> None:
        """The deadline of the dial ends with it: the connection has none."""
        for secure in (False, True):
            server = self.echo_server(ssl_context=serving() if secure else None)
            attempt = Attempt(PATIENCE)
            conn = Dialer(ssl_context=trusting(), proxy=None).dial_within(attempt, server.url)
            self.addCleanup(conn.close_now)
            attempt.deadline = time.monotonic() - 1
            reading = Task(conn.receive)
            self.assertTrue(await_(conn._inbound.turn.locked))
            conn.send("hello")
            self.assertEqual(reading.result(), "hello")
            conn.close()

    def test_no_kernel_timeout_afterwards(self) -> None:
        """The kernel's timeout for connecting to a Unix socket is off once it is connected."""
        with tempfile.TemporaryDirectory() as folder:
            server = self.echo_server(unix_path=f"{folder}/sock")
            conn = self.dial("ws://localhost/", unix_path=f"{folder}/sock")
            self.assertEqual(conn.socket.getsockopt(socket.SOL_SOCKET, socket.SO_SNDTIMEO, 16), bytes(16))
            conn.close()
            server.shutdown()

    def test_no_timeout(self) -> None:
        """With handshake_timeout None, and no timeout, a server may take as long as it likes."""
        gate = threading.Event()

        def script(sock: socket.socket, asked: Asked) -> None:
            gate.wait(PATIENCE)
            sock.sendall(accepting()(asked))

        server = self.bad_server(script=script)
        dialing = Task(self.dial, server.url, handshake_timeout=None)
        self.assertTrue(await_(lambda: bool(server.asked)))
        self.assertFalse(dialing.done)
        gate.set()
        self.assertEqual(dialing.result().response.status, 101)


class Noted(Attempt):
    """Tells when something can be woken: from then on only a stop ends the wait."""

    def __init__(self) -> None:
        super().__init__(None)
        self.steps: list[str] = []

    def remaining(self, doing: str) -> float | None:
        self.steps.append(doing)
        return super().remaining(doing)


class TestStop(DialCase):
    """Attempt.stop from another thread, in each phase: Stopped, and nothing is left."""

    def assert_stops(self, url: str, ready: Callable[[Noted], object], **options: Any) -> None:
        """Stop a dial once it has come to a certain step; it raises Stopped."""
        attempt = Noted()
        dialer = Dialer(handshake_timeout=None, **options)
        dialing = Task(dialer.dial_within, attempt, url)
        ready(attempt)
        self.assertFalse(dialing.done)
        attempt.stop()
        self.assertIsInstance(dialing.error(), Stopped)
        self.assertTrue(attempt.stopped)

    def waits(self, attempt: Noted, step: str) -> None:
        self.assertTrue(await_(lambda: step in attempt.steps and attempt._wake is not None), attempt.steps)

    def test_before(self) -> None:
        """An attempt that was stopped connects to nobody."""
        server = self.bad_server(accepting())
        attempt = Attempt(None)
        attempt.stop()
        for options in ({}, {"net_dial": server.net_dial}):
            with self.assertRaises(Stopped):
                Dialer(**options).dial_within(attempt, server.url)
        self.assertEqual(server.asked, [])

    def test_while_looking_up(self) -> None:
        """A lookup is left to its thread."""
        gate = threading.Event()
        real = socket.getaddrinfo

        def getaddrinfo(*args: Any, flags: int = 0, **keywords: Any) -> Any:
            if flags & socket.AI_NUMERICHOST:
                return real(*args, flags=flags, **keywords)
            gate.wait(PATIENCE)
            raise socket.gaierror(socket.EAI_NONAME, "Name not known")

        self.addCleanup(gate.set)
        with mock.patch("socket.getaddrinfo", getaddrinfo):
            self.assert_stops("ws://server.test/", lambda attempt: self.waits(attempt, "looking up server.test"))

    def test_while_connecting(self) -> None:
        """A connect that nobody answers ends."""
        with swallowing() as listener:
            port = listener.getsockname()[1]
            step = f"connecting to 127.0.0.1 port {port}"
            self.assert_stops(f"ws://127.0.0.1:{port}/", lambda attempt: self.waits(attempt, step))

    def test_within_a_hook(self) -> None:
        """A hook is not interrupted; what it returns after a stop is closed."""
        server = self.bad_server(accepting())
        inside, gate = threading.Event(), threading.Event()

        def net_dial(host: str, port: int, timeout: float | None) -> socket.socket:
            inside.set()
            gate.wait(PATIENCE)
            return server.net_dial(host, port, PATIENCE)

        attempt = Attempt(None)
        dialing = Task(Dialer(net_dial=net_dial).dial_within, attempt, "ws://server.test/")
        self.assertTrue(inside.wait(PATIENCE))
        attempt.stop()
        gate.set()
        self.assertIsInstance(dialing.error(), Stopped)
        self.assertTrue(server.ended.wait(PATIENCE))
        self.assertEqual(server.asked, [])

    def test_within_tls(self) -> None:
        """A TLS handshake that the server does not continue ends."""
        with accepting_one() as (url, accept):
            socks: list[socket.socket] = []

            def ready(_attempt: Noted) -> None:
                socks.append(accept())
                self.assertTrue(socks[0].recv(1 << 16))  # the ClientHello

            self.assert_stops(url.replace("ws:", "wss:"), ready, ssl_context=trusting())
            self.assertEqual(socks[0].recv(1 << 16), b"")

    def test_while_sending(self) -> None:
        """A request that the server does not take ends."""
        ours, theirs = socketpair(4096)

        def ready(attempt: Noted) -> None:
            self.assertTrue(theirs.recv(1))
            self.waits(attempt, "sending the request")

        with theirs:
            attempt = Noted()
            dialer = Dialer(handshake_timeout=None, net_dial=lambda *_: ours)
            dialing = Task(dialer.dial_within, attempt, "ws://server.test/", [("X", "x" * 60000)] * 100)
            ready(attempt)
            attempt.stop()
            self.assertIsInstance(dialing.error(), Stopped)

    def test_while_waiting_for_the_answer(self) -> None:
        """The wait for an answer ends, whether or not it has begun to come, over TLS too."""
        for secure in (False, True):
            for beginning in (b"", b"HTTP/1.1 101 Swi", b"HTTP/1.1 103 Early Hints\r\n\r\n"):
                with self.subTest(beginning, secure=secure):
                    server = self.bad_server(beginning, tls=serving() if secure else None)
                    self.assert_stops(
                        server.url,
                        lambda attempt: self.waits(attempt, "waiting for the answer"),
                        ssl_context=trusting(),
                    )
                    self.assertTrue(server.ended.wait(PATIENCE))

    def test_within_a_body(self) -> None:
        """A body that does not come does not delay a stop, and Stopped is raised."""
        sent = threading.Event()

        def script(sock: socket.socket, asked: Asked) -> None:
            sock.sendall(b"HTTP/1.1 403 Forbidden\r\nContent-Length: 9\r\n\r\n")
            sent.set()

        server = self.bad_server(script=script)
        with mock.patch("syncws._http.httpclient._BODY_TIMEOUT", 1e9):
            self.assert_stops(server.url, lambda _: self.assertTrue(sent.wait(PATIENCE)))
        self.assertTrue(server.ended.wait(PATIENCE))

    def test_afterwards(self) -> None:
        """A stop after the dial does nothing to the connection."""
        server = self.echo_server()
        attempt = Attempt(None)
        conn = Dialer().dial_within(attempt, server.url)
        attempt.stop()
        self.assert_echo(conn)
        conn.close()

    @unittest.skipUnless(hasattr(signal, "pthread_kill"), "needs signals to threads")
    def test_an_interrupt(self) -> None:
        """Ctrl-C during a dial raises KeyboardInterrupt, and nothing stays open."""
        server = self.bad_server(b"")
        self.addCleanup(signal.signal, signal.SIGUSR1, signal.signal(signal.SIGUSR1, signal.default_int_handler))
        main = threading.get_ident()

        def interrupt() -> None:
            await_(lambda: bool(server.asked))
            while not server.ended.wait(0.05):  # one that comes while Python runs is raised there
                signal.pthread_kill(main, signal.SIGUSR1)
                if server.ended.wait(PATIENCE):
                    return

        interrupting = Task(interrupt)
        with self.assertRaises(KeyboardInterrupt):
            self.dial(server.url)
        interrupting.result()
        self.assertTrue(server.ended.is_set())


if __name__ == "__main__":
    unittest.main()
