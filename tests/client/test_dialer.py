"""The dialer: what it takes, what it asks a server, and what its connections are like.

Answers that are no valid 101: `test_answer`. TLS, hooks, Unix sockets, deadlines, stops: `test_hops`. Redirects:
`test_redirects`. Cookies: `test_cookies`. Proxies: `test_dialer_proxies`.
"""

from __future__ import annotations

import base64
import dataclasses
import http.cookiejar
import random
import ssl
import threading
import unittest
from typing import Any

import syncws
from syncws._base.options import ConnOptions
from syncws._base.version import __version__
from syncws._client.dialer import Dialer, dial
from syncws._frames.agreement import offer
from syncws.errors import CloseError, ReadLimitError
from syncws.testing import Peer
from tests.client.cases import DialCase, accepting, frame
from tests.tasks import PATIENCE, Task

#: Sizes of messages at which the length's encoding or a buffer changes, and 1 MiB, the default read_limit.
SIZES = (0, 1, 125, 126, 65535, 65536, 1 << 20)

HANDSHAKE_HEADERS = ("Upgrade", "Connection", "Sec-WebSocket-Key", "Sec-WebSocket-Version", "Sec-WebSocket-Extensions")


class TestConnection(DialCase):
    """What dial returns: a `Conn` in the client's role."""

    def test_echo(self) -> None:
        """Text and binary, from nothing to 1 MiB, go to the server and come back (gorilla's TestDial)."""
        conn = self.dial(self.echo_server().url)
        for size in SIZES:
            self.assert_echo(conn, "x" * size)
            self.assert_echo(conn, random.Random(size).randbytes(size))
        conn.close()

    def test_compressed_echo(self) -> None:
        """With enable_compression on both sides messages are compressed, both ways (TestDialCompression)."""
        conn = self.dial(self.echo_server(enable_compression=True).url, enable_compression=True)
        self.assertTrue(conn.compression)
        for size in SIZES:
            self.assert_echo(conn, "x" * size)
            self.assert_echo(conn, random.Random(size).randbytes(size))

    def test_compression_needs_both_sides(self) -> None:
        """Where one side does not want compression there is none, and the connection works."""
        for ours, theirs in ((True, False), (False, True), (False, False)):
            with self.subTest(client=ours, server=theirs):
                conn = self.dial(self.echo_server(enable_compression=theirs).url, enable_compression=ours)
                self.assertFalse(conn.compression)
                self.assert_echo(conn)

    def test_compression_options_arrive(self) -> None:
        """compression_threshold says from how many bytes on this client compresses, compression_level how hard."""
        script_sees: list[Any] = []
        answer = accepting(f"Sec-WebSocket-Extensions: {offer().rpartition(';')[0]}")

        def script(sock: Any, asked: Any) -> None:
            sock.sendall(answer(asked))
            peer = Peer(sock, masked=False)
            script_sees.extend([peer.receive_frame(), peer.receive_frame()])

        for level, size in ((-2, range(15, 50)), (9, range(1, 15))):  # Huffman codes alone; everything
            with self.subTest(level=level):
                script_sees.clear()
                server = self.bad_server(script=script)
                conn = self.dial(
                    server.url, enable_compression=True, compression_threshold=100, compression_level=level
                )
                conn.send("x" * 99)
                conn.send("x" * 100)
                conn.close_now()
                self.assertTrue(server.ended.wait(PATIENCE))
                small, large = script_sees
                self.assertEqual((small.rsv1, large.rsv1), (False, True))
                self.assertIn(len(large.payload), size)

    def test_its_answer(self) -> None:
        """conn.response is the 101, with its headers; the client has no request."""
        conn = self.dial(self.bad_server(accepting("X-Served-By: a", "x-served-by: b")).url)
        self.assertEqual((conn.response.status, conn.response.reason), (101, "Switching Protocols"))
        self.assertEqual((conn.response.http_version, conn.response.body), ("1.1", b""))
        self.assertEqual(conn.response.headers.get_all("X-Served-By"), ["a", "b"])
        self.assertEqual(repr(conn.response), "<ReceivedResponse 101 Switching Protocols, 0 bytes>")
        self.assertFalse(hasattr(conn, "request"))

    def test_gorillas_handshake(self) -> None:
        """An Origin of the same host passes, cookies of the 101 show, and one subprotocol is chosen (TestHandshake)."""
        server = self.echo_server(subprotocols=["p0", "p1"], response_headers={"Set-Cookie": "sessionID=1234"})
        origin = {"Origin": server.url.replace("ws:", "http:").rstrip("/")}
        conn = self.dial(server.url, origin, subprotocols=["p1", "p2"])
        self.assertEqual(conn.subprotocol, "p1")
        self.assertEqual(conn.response.headers["Set-Cookie"], "sessionID=1234")
        self.assert_echo(conn)

    def test_a_foreign_origin_is_refused(self) -> None:
        """A server's 403 is a BadHandshakeError with that status (TestDialBadOrigin)."""
        error = self.refusal(self.echo_server(), {"Origin": "http://elsewhere.example"})
        self.assertEqual((error.status, error.response.status), (403, 403))

    def test_closing(self) -> None:
        """Leaving the block performs the closing handshake: the server's loop ends, and the end is 1000."""
        server = self.echo_server()
        with self.dial(server.url) as conn:
            self.assert_echo(conn)
        with self.assertRaises(CloseError) as caught:
            conn.receive()
        self.assertEqual(caught.exception.code, 1000)

    def test_read_limit_arrives(self) -> None:
        """read_limit of the Dialer is the connection's: a byte more is a ReadLimitError."""
        conn = self.dial(self.echo_server().url, read_limit=10)
        self.assert_echo(conn, "x" * 10)
        conn.send("x" * 11)
        with self.assertRaises(ReadLimitError):
            conn.receive(timeout=PATIENCE)

    def test_the_default_read_limit(self) -> None:
        """Unless told otherwise a client takes messages of 1 MiB and no more."""
        half = bytes(1 << 19)

        def script(sock: Any, asked: Any) -> None:
            peer = Peer(sock, masked=False)
            peer.send(accepting()(asked) + peer.frame(2, half + half))
            peer.send(peer.frame(2, half, fin=False) + peer.frame(0, half + b"x"))

        conn = self.dial(self.bad_server(script=script).url)
        self.assertEqual(conn.receive(timeout=PATIENCE), half + half)
        with self.assertRaises(ReadLimitError):
            conn.receive(timeout=PATIENCE)

    def test_keepalive_arrives(self) -> None:
        """ping_interval of the Dialer is the connection's: a silent server is pinged, and masked."""
        pinged = threading.Event()
        seen: list[Any] = []

        def script(sock: Any, asked: Any) -> None:
            sock.sendall(accepting()(asked))
            seen.append(Peer(sock, masked=False).receive_frame())
            pinged.set()

        conn = self.dial(self.bad_server(script=script).url, ping_interval=0.05, ping_timeout=PATIENCE)
        reading = Task(conn.read_message)
        self.assertTrue(pinged.wait(PATIENCE))
        self.assertEqual(seen[0].opcode, 9)
        conn.close_now()
        self.assertIsInstance(reading.error(), CloseError)

    def test_frames_after_the_answer(self) -> None:
        """Messages in the same segment as the 101 are delivered, and then those that come after them."""
        server = self.bad_server(accepting(behind=frame(b"one") + frame(b"two")))
        conn = self.dial(server.url)
        self.assertEqual([conn.receive(timeout=PATIENCE) for _ in range(2)], ["one", "two"])

    def test_a_frame_cut_by_the_answers_end(self) -> None:
        """A frame that begins in the segment of the 101 is put together (TestDataReceivedBeforeHandshake)."""
        data = frame(b"hello")
        for cut in range(1, len(data)):
            with self.subTest(cut=cut):
                begun = threading.Event()

                def script(sock: Any, asked: Any, cut: int = cut, begun: threading.Event = begun) -> None:
                    sock.sendall(accepting(behind=data[:cut])(asked))
                    begun.wait(PATIENCE)
                    sock.sendall(data[cut:])

                conn = self.dial(self.bad_server(script=script).url)
                begun.set()
                self.assertEqual(conn.receive(timeout=PATIENCE), "hello")

    def test_everything_a_byte_at_a_time(self) -> None:
        """An answer and a message that come as single bytes are understood."""

        def script(sock: Any, asked: Any) -> None:
            for byte in accepting(behind=frame(b"hello"))(asked):
                sock.sendall(bytes([byte]))

        conn = self.dial(self.bad_server(script=script).url)
        self.assertEqual(conn.receive(timeout=PATIENCE), "hello")

    def test_interim_answers_are_skipped(self) -> None:
        """Answers such as 103 Early Hints may come before the 101."""
        early = b"HTTP/1.1 103 Early Hints\r\nLink: </style.css>\r\n\r\n"
        server = self.bad_server(lambda asked: early + accepting(behind=frame(b"hello"))(asked))
        conn = self.dial(server.url)
        self.assertEqual((conn.response.status, conn.receive(timeout=PATIENCE)), (101, "hello"))

    def test_one_dialer_for_many_threads(self) -> None:
        """Any number of threads may dial with one Dialer at the same time; each dial has its own connection and key."""
        server = self.echo_server(subprotocols=["v1"])
        dialer = Dialer(handshake_timeout=PATIENCE, subprotocols=["v1"], cookie_jar=http.cookiejar.CookieJar())
        together = threading.Barrier(16)

        def talk(number: int) -> None:
            together.wait(PATIENCE)
            with dialer.dial(server.url, {"X-Number": str(number)}) as conn:
                self.assert_echo(conn, f"from {number}")

        tasks = [Task(talk, number) for number in range(16)]
        for task in tasks:
            task.result()
        self.assertEqual({request.headers["X-Number"] for request in server.requests}, {str(n) for n in range(16)})
        self.assertEqual(len({request.headers["Sec-WebSocket-Key"] for request in server.requests}), 16)


class TestRequest(DialCase):
    """The request as it is on the wire."""

    def ask(self, headers: Any = None, *, path: str = "", **options: Any) -> Any:
        """The request that a server gets."""
        server = self.bad_server(accepting())
        self.dial(server.url.rstrip("/") + path, headers, **options)
        return server.request

    def test_a_bare_request(self) -> None:
        """Nothing but what RFC 6455 demands and a User-Agent is sent, Host first."""
        server = self.bad_server(accepting())
        self.dial(server.url)
        asked = server.request
        self.assertEqual(asked.line, "GET / HTTP/1.1")
        self.assertEqual(
            asked.lines,
            [
                f"Host: 127.0.0.1:{server.port}",
                f"User-Agent: syncws/{__version__}",
                "Upgrade: websocket",
                "Connection: Upgrade",
                f"Sec-WebSocket-Key: {asked.headers['Sec-WebSocket-Key']}",
                "Sec-WebSocket-Version: 13",
            ],
        )

    def test_everything_in_a_request(self) -> None:
        """Offers and cookies follow, then the caller's headers in their order and spelling, without outer blanks."""
        jar = http.cookiejar.CookieJar()
        server = self.bad_server(accepting("Set-Cookie: a=b"))
        self.dial(server.url, cookie_jar=jar).close_now()
        headers = [("x-Second", " 2 "), ("User-Agent", "mine"), ("X-First", "1"), ("x-second", ""), ("Origin", "null")]
        self.dial(server.url, headers, cookie_jar=jar, subprotocols=["v2", "v1"], enable_compression=True)
        self.assertEqual(
            server.asked[1].lines[6:],
            [
                "Sec-WebSocket-Protocol: v2, v1",
                f"Sec-WebSocket-Extensions: {offer()}",
                "Cookie: a=b",
                "x-Second: 2",
                "X-First: 1",
                "x-second: ",
                "Origin: null",
            ],
        )
        self.assertEqual(server.asked[1].headers.get_all("User-Agent"), ["mine"])
        self.assertEqual(server.asked[1].lines[1], "User-Agent: mine")

    def test_the_key(self) -> None:
        """Each request has a key of its own: 16 bytes in Base64."""
        keys = {self.ask().headers["Sec-WebSocket-Key"] for _ in range(3)}
        self.assertEqual([len(base64.b64decode(key, validate=True)) for key in keys], [16] * 3)

    def test_credentials_of_the_url(self) -> None:
        """User and password in the URL are sent as Basic, percent-decoded; an Authorization of headers is sent instead.

        They are shown by no error.
        """
        server = self.bad_server(lambda asked: b"HTTP/1.1 401 Unauthorized\r\nContent-Length: 0\r\n\r\n")
        url = server.url.replace("//", "//ann:top%20secret@")
        with self.assertRaises(syncws.BadHandshakeError) as caught:
            self.dial(url)
        self.assertNotIn("secret", str(caught.exception) + repr(caught.exception))
        self.assertEqual(caught.exception.status, 401)
        [basic] = server.request.headers.get_all("Authorization")
        self.assertEqual(base64.b64decode(basic.removeprefix("Basic ")), b"ann:top secret")
        self.assertEqual(server.request.headers["Host"], f"127.0.0.1:{server.port}")
        with self.assertRaises(syncws.BadHandshakeError):
            self.dial(url, {"authorization": "Bearer 1"})
        self.assertEqual(server.asked[1].headers.get_all("Authorization"), ["Bearer 1"])

    def test_the_target(self) -> None:
        """Path and query go out as they are, the fragment does not, and no path is "/".

        Characters that no URL may have, such as braces, are percent-encoded: Tomcat answers 400 to them.
        """
        for path, target in (
            ("", "/"),
            ("?a=b", "/?a=b"),
            ("/a/b?c=d&e=%20f#frag?x", "/a/b?c=d&e=%20f"),
            ("/#", "/"),
            ("/ü b?q=ä", "/%C3%BC%20b?q=%C3%A4"),
            ('/{a}|"b"?q=[<%41>]%', "/%7Ba%7D%7C%22b%22?q=%5B%3C%41%3E%5D%25"),
            ("//evil.example/", "//evil.example/"),
        ):
            with self.subTest(path):
                self.assertEqual(self.ask(path=path).line, f"GET {target} HTTP/1.1")

    def test_the_host_of_a_name(self) -> None:
        """Host is the URL's, in ASCII, and without the port where that is the scheme's own."""
        for url, host in (
            ("ws://example.com", "example.com"),
            ("ws://example.com:80/", "example.com"),
            ("ws://EXAMPLE.com:443/", "example.com:443"),
            ("ws://bücher.example:8080", "xn--bcher-kva.example:8080"),
            ("ws://[::1]:8080/", "[::1]:8080"),
            ("ws://[fe80::1%25eth0]/", "[fe80::1]"),
        ):
            with self.subTest(url):
                server = self.bad_server(accepting())
                self.dial(url, net_dial=server.net_dial)
                self.assertEqual(server.request.headers.get_all("Host"), [host])

    def test_subprotocols_in_headers(self) -> None:
        """Without subprotocols the header is the caller's: each value is a line of its own."""
        asked = self.ask([("Sec-WebSocket-Protocol", "a, b"), ("sec-websocket-protocol", "c")])
        self.assertEqual(asked.headers.get_all("Sec-WebSocket-Protocol"), ["a, b", "c"])

    def test_headers_in_any_form(self) -> None:
        """Headers may be a dict, pairs, a generator, or `Headers`."""
        for headers in (
            {"X-A": "1", "X-B": "2"},
            [("X-A", "1"), ("X-B", "2")],
            (pair for pair in [("X-A", "1"), ("X-B", "2")]),
            syncws.Headers({"X-A": "1", "X-B": "2"}),
        ):
            with self.subTest(type(headers).__name__):
                self.assertEqual(self.ask(headers).lines[-2:], ["X-A: 1", "X-B: 2"])

    def test_latin_1_in_a_header(self) -> None:
        """A header's value is sent in Latin-1."""
        self.assertEqual(self.ask({"X-Name": "Jürgen"}).headers["X-Name"], "Jürgen")

    def test_a_host_header(self) -> None:
        """The caller's Host header, in any case, replaces that of the URL; nothing else changes."""
        server = self.bad_server(accepting())
        self.dial(server.url, {"hOST": "elsewhere.example"})
        self.assertEqual(server.request.lines[0], "Host: elsewhere.example")
        self.assertEqual(len(server.request.headers.get_all("Host")), 1)

    def test_a_user_agent_in_any_case(self) -> None:
        """The caller's User-Agent replaces that of the library."""
        self.assertEqual(self.ask({"user-agent": "mine/1.0"}).headers.get_all("User-Agent"), ["mine/1.0"])


class TestMistakes(DialCase):
    """What is invalid is refused before anything is connected, and the error names it."""

    def setUp(self) -> None:
        super().setUp()
        self.server = self.bad_server(accepting())
        self.addCleanup(lambda: self.assertEqual(self.server.asked, []))

    def mistake(self, *args: Any, **options: Any) -> str:
        """The message of the ValueError or TypeError; the network must not be used."""

        def connect(*_: Any) -> Any:
            raise AssertionError("it has connected")

        with self.assertRaises((ValueError, TypeError)) as caught:
            self.dial(*args, **{"net_dial": connect, **options})
        return f"{type(caught.exception).__name__}: {caught.exception}"

    def test_urls(self) -> None:
        """A URL that is not a WebSocket server's is refused (TestDialBadScheme); the error repeats no credentials."""
        for url, message in (
            ("http://x/", "must begin with ws:// or wss://, not http:"),
            ("localhost:8080", "must begin with ws:// or wss://"),
            ("", "must begin with ws:// or wss://"),
            ("ws:///path", "no valid host"),
            ("wss://.example.com/", "no valid host"),
            (f"wss://{'a' * 64}.example/", "no valid host"),
            ("ws://x:99999/", "no valid port"),
            (" ws://x", "a control character, or a blank at an end"),
            ("ws://x/\r\nX: y", "a control character, or a blank at an end"),
            ("http://x/?secret", "write ws: for http:"),
            ("https://user:secret@x/", "write wss: for https:"),
            ("ws://us er:secret@x/", "send an Authorization header instead"),
            ("ws://x\\user:secret@y/", "credentials that are invalid"),
            (b"ws://x/", "TypeError: the URL must be a str"),
            (None, "TypeError: the URL must be a str"),
        ):
            with self.subTest(url=url):
                found = self.mistake(url)
                self.assertIn(message, found)
                self.assertNotIn("secret", found)

    def test_headers_of_the_handshake(self) -> None:
        """Headers of the handshake are refused in any case, and the error names them (gorilla's TestDialBadHeader)."""
        for name in (*HANDSHAKE_HEADERS, "Content-Length", "Transfer-Encoding"):
            for spelling in (name, name.lower(), name.upper(), name.swapcase()):
                with self.subTest(spelling):
                    self.assertIn(f"ValueError: headers: {spelling} ", self.mistake(self.server.url, {spelling: "13"}))

    def test_extensions_in_headers(self) -> None:
        """The error for a Sec-WebSocket-Extensions header names enable_compression."""
        found = self.mistake(self.server.url, {"Sec-WebSocket-Extensions": "permessage-deflate"})
        self.assertIn("enable_compression", found)

    def test_subprotocols_twice(self) -> None:
        """Sec-WebSocket-Protocol is refused, in any case, if the Dialer has subprotocols."""
        for spelling in ("Sec-WebSocket-Protocol", "sec-websocket-protocol"):
            found = self.mistake(self.server.url, {spelling: "v1"}, subprotocols=["v1"])
            self.assertIn("headers: Sec-WebSocket-Protocol is what subprotocols of the Dialer is for", found)

    def test_headers_that_there_is_one_of(self) -> None:
        """Two Hosts, or two User-Agents, are a mistake."""
        for name in ("Host", "User-Agent"):
            found = self.mistake(self.server.url, [(name, "a"), (name.lower(), "b")])
            self.assertIn(f"headers: {name} is there twice", found)

    def test_invalid_headers(self) -> None:
        """A line break cannot smuggle a header in; a name is a token; a value is a str."""
        for headers, message in (
            ({"X-A": "1\r\nX-B: 2"}, "ValueError: headers: header 'X-A': its value may not hold"),
            ({"X-A": "€"}, "ValueError: headers: header 'X-A'"),
            ({"X A": "1"}, "ValueError: headers: header 'X A': a name may hold only"),
            ({"": "1"}, "ValueError: headers: header ''"),
            ({"X-A": 1}, "TypeError: headers: header 'X-A': name and value must be str"),
            ({b"X-A": "1"}, "TypeError: headers: header b'X-A'"),
            ("X-A: 1", "TypeError: headers: headers are a dict of str or a list"),
            (13, "TypeError: headers: headers are a dict of str or a list"),
        ):
            with self.subTest(headers=headers):
                self.assertIn(message, self.mistake(self.server.url, headers))

    def test_invalid_cookies(self) -> None:
        """A cookie that the application put into the jar cannot smuggle a header in either."""
        for value in ("x\r\nX-Evil: 1", "€"):
            jar = http.cookiejar.CookieJar()
            mine = (None, False, "127.0.0.1", False, False, "/", True, False, None, True, None, None, {})
            jar.set_cookie(http.cookiejar.Cookie(0, "a", value, *mine))
            with self.subTest(value):
                found = self.mistake(self.server.url, cookie_jar=jar)
                self.assertIn("ValueError: cookie_jar: header 'Cookie': its value may not hold", found)

    def test_the_timeout_of_a_dial(self) -> None:
        """timeout is a positive number of seconds."""
        for timeout, message in (
            (0, "ValueError"),
            (-1, "ValueError"),
            ("1", "TypeError"),
            (float("nan"), "ValueError"),
        ):
            with self.subTest(timeout=timeout), self.assertRaises((ValueError, TypeError)) as caught:
                Dialer().dial(self.server.url, timeout=timeout)  # type: ignore[arg-type]
            self.assertEqual(type(caught.exception).__name__, message)
            self.assertIn("timeout ", str(caught.exception))

    def test_an_option_that_there_is_not(self) -> None:
        """A misspelt option is a TypeError that names it."""
        self.assertIn("TypeError", self.mistake(self.server.url, compression=True))
        with self.assertRaisesRegex(TypeError, "'compression'"):
            dial(self.server.url, compression=True)

    def test_the_url_comes_first(self) -> None:
        """The URL is checked first, then the headers; then the proxy is chosen."""
        asked: list[str] = []

        def proxy(url: str) -> None:
            asked.append(url)

        self.assertIn("the URL", self.mistake("http://x", {"Upgrade": "x"}, proxy=proxy))
        self.assertIn("Upgrade", self.mistake(self.server.url, {"Upgrade": "x"}, proxy=proxy))
        self.assertEqual(asked, [])


class TestOptions(DialCase):
    """The Dialer itself: its defaults, its checks, and that it is immutable."""

    def test_defaults(self) -> None:
        """The defaults are those of ConnOptions, gorilla's 45 seconds, and nothing that was not asked for."""
        dialer = Dialer()
        for name in ConnOptions.names():
            self.assertEqual(getattr(dialer, name), getattr(ConnOptions(), name), name)
        self.assertEqual((dialer.handshake_timeout, dialer.subprotocols, dialer.enable_compression), (45.0, (), False))
        self.assertIs(dialer.proxy, syncws.proxy_from_environment)
        for name in ("ssl_context", "server_hostname", "proxy_ssl_context", "unix_path", "cookie_jar"):
            self.assertIsNone(getattr(dialer, name), name)
        self.assertEqual((dialer.net_dial, dialer.net_dial_tls), (None, None))

    def test_wrong_options(self) -> None:
        """An option that cannot work is refused when the Dialer is made, and the message begins with its name."""
        for name, value, error in (
            ("handshake_timeout", 0, ValueError),
            ("handshake_timeout", -1, ValueError),  # an instant timeout for gorilla (TestDialTimeout)
            ("handshake_timeout", float("inf"), ValueError),
            ("handshake_timeout", 10**400, ValueError),
            ("handshake_timeout", "45", TypeError),
            ("handshake_timeout", True, TypeError),
            ("subprotocols", "v1", TypeError),
            ("subprotocols", b"v1", TypeError),
            ("subprotocols", [1], TypeError),
            ("subprotocols", None, TypeError),
            ("subprotocols", ["v 1"], ValueError),
            ("subprotocols", ["a,b"], ValueError),
            ("subprotocols", [""], ValueError),
            ("subprotocols", ["v1\r\nX: y"], ValueError),
            ("enable_compression", 1, TypeError),
            ("enable_compression", None, TypeError),
            ("compression_level", 10, ValueError),
            ("compression_level", -3, ValueError),
            ("compression_threshold", -1, ValueError),
            ("context_takeover", 1, TypeError),
            ("max_window_bits", 8, ValueError),
            ("max_window_bits", 16, ValueError),
            ("max_window_bits", 9.5, TypeError),
            ("mem_level", 0, ValueError),
            ("mem_level", 10, ValueError),
            ("mem_level", None, TypeError),
            ("compression_threshold", "1", TypeError),
            ("ssl_context", True, TypeError),
            ("ssl_context", ssl.create_default_context, TypeError),
            ("proxy_ssl_context", "cafile", TypeError),
            ("server_hostname", "", ValueError),
            ("server_hostname", b"x", TypeError),
            ("server_hostname", ".example.com", ValueError),
            ("server_hostname", "a..b", ValueError),
            ("server_hostname", "a" * 64, ValueError),
            ("server_hostname", "a\0b", ValueError),
            ("cookie_jar", {}, TypeError),
            ("proxy", 1, TypeError),
            ("proxy", b"http://x", TypeError),
            ("proxy_headers", {"X": 1}, TypeError),
            ("proxy_headers", {"X": "\n"}, ValueError),
            ("proxy_headers", 5, TypeError),
            ("proxy_headers", {"host": "x"}, ValueError),
            ("proxy_headers", {"Content-Length": "5"}, ValueError),
            ("proxy_headers", {"transfer-encoding": "chunked"}, ValueError),
            ("unix_path", 1, TypeError),
            ("unix_path", "", ValueError),
            ("net_dial", 1, TypeError),
            ("net_dial_tls", "x", TypeError),
            ("read_limit", -1, ValueError),
            ("read_limit", "1", TypeError),
            ("ping_interval", 0, ValueError),
            ("close_timeout", None, TypeError),
            ("overflow", "drop", ValueError),
            ("max_redirects", -1, ValueError),
            ("max_redirects", None, TypeError),
            ("max_redirects", True, TypeError),
        ):
            with self.subTest(name, value=value):
                with self.assertRaises(error) as caught:
                    Dialer(**{name: value})
                self.assertRegex(str(caught.exception), rf"^{name}\b")

    def test_wrong_proxies(self) -> None:
        """A proxy's URL is checked when the Dialer is made, and the message repeats no password."""
        for url, message in (
            ("ftp://x", "the proxy must begin with http:// or https:// or socks5:// or socks5h://, not ftp:"),
            ("proxy.example:3128", "the proxy must begin with"),
            ("", "the proxy must begin with"),
            ("http://user:secret@:3128", "no valid host"),
            ("http://user:secret@x:0", "no valid port"),
        ):
            with self.subTest(url):
                with self.assertRaises(ValueError) as caught:
                    Dialer(proxy=url)
                self.assertIn(message, str(caught.exception))
                self.assertNotIn("secret", str(caught.exception))

    def test_what_excludes_each_other(self) -> None:
        """A Unix socket, a proxy and a hook each say where to connect: two of them together are refused."""
        for option in ({"net_dial": print}, {"net_dial_tls": print}, {"proxy": "http://proxy.example"}):
            with self.subTest(option=option):
                with self.assertRaisesRegex(ValueError, f"^unix_path and {next(iter(option))} exclude each other"):
                    Dialer(unix_path="/run/app.sock", **option)  # type: ignore[arg-type]
        Dialer(unix_path="/run/app.sock", proxy=None)
        Dialer(unix_path="/run/app.sock", proxy=lambda url: None)

    def test_immutable(self) -> None:
        """No option can be set or deleted once the Dialer is made."""
        dialer = Dialer()
        for field in dataclasses.fields(Dialer):
            with self.assertRaises(dataclasses.FrozenInstanceError):
                setattr(dialer, field.name, None)
            with self.assertRaises(dataclasses.FrozenInstanceError):
                delattr(dialer, field.name)

    def test_lists_are_copied(self) -> None:
        """Changing the caller's list or dict afterwards changes nothing in the Dialer."""
        names, headers = ["v1"], {"X-A": "1"}
        dialer = Dialer(subprotocols=names, proxy_headers=headers)
        names.append("v2")
        headers["X-B"] = "2"
        self.assertEqual(dialer.subprotocols, ("v1",))
        self.assertEqual(dialer.proxy_headers, syncws.Headers({"X-A": "1"}))

    def test_equality(self) -> None:
        """Two Dialers with the same options are equal, have one hash, and a copy can differ in an option."""
        one = Dialer(subprotocols=["v1"], proxy_headers={"X-A": "1"}, read_limit=5)
        other = Dialer(subprotocols=("v1",), proxy_headers=[("x-a", "1")], read_limit=5)
        self.assertEqual((one, hash(one)), (other, hash(other)))
        self.assertNotEqual(one, dataclasses.replace(one, read_limit=6))
        self.assertEqual(dataclasses.replace(one, read_limit=6).proxy_headers, one.proxy_headers)

    def test_options_have_names(self) -> None:
        """Options are given by name only."""
        with self.assertRaises(TypeError):
            Dialer(45.0)  # type: ignore[misc]

    def test_dial_is_a_dialer(self) -> None:
        """syncws.dial takes what Dialer and its dial take, in one call."""
        server = self.echo_server(subprotocols=["v1"])
        with syncws.dial(server.url, {"X-A": "1"}, timeout=PATIENCE, subprotocols=["v1"], read_limit=5) as conn:
            self.assertEqual((conn.subprotocol, server.request.headers["X-A"]), ("v1", "1"))
            conn.send("123456")
            with self.assertRaises(ReadLimitError):
                conn.receive(timeout=PATIENCE)


if __name__ == "__main__":
    unittest.main()
