"""The options of commands that are clients: what they send, whom they trust, and what their errors hide."""

from __future__ import annotations

import argparse
import base64
import contextlib
import io
import os
import socket
import tempfile
from pathlib import Path
from unittest import mock

from syncws import Conn
from syncws._cli import dialing
from syncws._cli.command import CommandError
from syncws._client.environment import proxy_from_environment
from tests import certificates
from tests.client.cases import DialCase, EchoServer
from tests.proxies import ConnectProxy


class DialingCase(DialCase):
    def options(self, *arguments: str) -> argparse.Namespace:
        parser = argparse.ArgumentParser(prog="syncws")
        parser.add_argument("url", type=dialing.websocket_url)
        dialing.add_dial_options(parser)
        return parser.parse_args(arguments)

    def connect(self, *arguments: str) -> Conn:
        """What a command with these arguments connects to."""
        options = self.options(*arguments)
        return self.dial(options.url, dialing.headers_from(options), dialer=dialing.dialer_from(options))

    def refused(self, *arguments: str) -> str:  # type: ignore[override]
        """What is said about arguments that cannot work; status 2."""
        err = io.StringIO()
        try:
            with contextlib.redirect_stderr(err):
                options = self.options(*arguments)
            dialing.dialer_from(options)
            dialing.headers_from(options)
        except SystemExit as exit:
            self.assertEqual(exit.code, 2)
            return err.getvalue().splitlines()[-1]
        except CommandError as error:
            return str(error)
        raise AssertionError(f"{arguments} can work")


class RequestTests(DialingCase):
    """What the server is asked."""

    def test_nothing(self) -> None:
        """Without options it is a plain handshake."""
        server = self.echo_server()
        self.assert_echo(self.connect(server.url))
        headers = server.request.headers
        for name in ("Origin", "Authorization", "Sec-WebSocket-Protocol", "Sec-WebSocket-Extensions"):
            self.assertNotIn(name, headers)

    def test_headers(self) -> None:
        """--header, as often as it is given, and a file of them, with blank lines; then --origin, and --user."""
        path = Path(self.enterContext(tempfile.TemporaryDirectory()), "headers")
        path.write_text("X-Two: 2\r\n\nX-Three:3\n")
        server = self.echo_server(allowed_hosts=None)
        extra = ("-H", "X-One: 1:1", "--header", f"@{path}", "--user", "ann:s:t")
        origin = server.url.replace("ws://", "http://").rstrip("/")
        self.connect(server.url, *extra, "--origin", origin)
        headers = server.request.headers
        self.assertEqual([headers.get(f"X-{name}") for name in ("One", "Two", "Three")], ["1:1", "2", "3"])
        self.assertEqual(headers.get("Origin"), origin)
        self.assertEqual(headers.get("Authorization"), f"Basic {base64.b64encode(b'ann:s:t').decode()}")

    def test_the_password(self) -> None:
        """It may stand in the environment; at a terminal it is asked for."""
        server = self.echo_server()
        with mock.patch.dict(os.environ, {dialing.PASSWORD_VARIABLE: "secret"}):
            self.connect(server.url, "--user", "ann")
        with (
            mock.patch.object(dialing.getpass, "getpass", return_value="typed") as asked,
            mock.patch("sys.stdin.isatty", return_value=True),
        ):
            self.connect(server.url, "--user", "ann")
        asked.assert_called_once_with("password of ann: ")
        sent = [request.headers["Authorization"].removeprefix("Basic ") for request in server.requests]
        self.assertEqual([base64.b64decode(each) for each in sent], [b"ann:secret", b"ann:typed"])

    def test_subprotocols_and_compression(self) -> None:
        """--subprotocol offers names in their order; --compression offers permessage-deflate."""
        server = self.echo_server(subprotocols=["b"], enable_compression=True)
        conn = self.connect(server.url, "--subprotocol", "a", "--subprotocol", "b", "--compression")
        self.assert_echo(conn)
        self.assertEqual((conn.subprotocol, conn.compression), ("b", True))
        self.assertEqual(server.request.headers["Sec-WebSocket-Protocol"], "a, b")
        self.assertFalse(self.connect(server.url, "--no-compression").compression)

    def test_context_takeover(self) -> None:
        """--context-takeover offers permessage-deflate so that messages may refer back to those before them."""
        for takes in (False, True):
            server = self.echo_server(enable_compression=True, context_takeover=takes)
            conn = self.connect(server.url, "--context-takeover")
            for _ in range(3):
                self.assert_echo(conn)
            self.assertTrue(conn.compression)
            self.assertEqual(conn.context_takeover, takes)
            self.assertFalse(self.connect(server.url, "--compression").context_takeover)

    def test_what_the_command_sets(self) -> None:
        """A command may set further options of the Dialer; --timeout is for the handshake."""
        options = self.options("ws://a", "--timeout", "3")
        dialer = dialing.dialer_from(options, read_limit=5)
        self.assertEqual((dialer.handshake_timeout, dialer.read_limit), (3.0, 5))
        self.assertEqual(dialing.dialer_from(self.options("ws://a")).handshake_timeout, 10.0)


class WayTests(DialingCase):
    """Over what it goes there."""

    def test_urls(self) -> None:
        """A URL as people have it at hand."""
        for written, meant in [
            ("ws://a/b?c", "ws://a/b?c"),
            ("wss://a", "wss://a"),
            ("http://a/b", "ws://a/b"),
            ("HTTPS://a/b", "wss://a/b"),
            ("localhost:8080/echo", "ws://localhost:8080/echo"),
            (":8080/echo", "ws://localhost:8080/echo"),
            ("/echo", "ws://localhost/echo"),
            ("example.com", "ws://example.com"),
        ]:
            with self.subTest(written):
                self.assertEqual(dialing.websocket_url(written), meant)

    def test_proxies(self) -> None:
        """--proxy names one, else the environment does, and --no-proxy goes by none."""
        server = self.echo_server()
        with ConnectProxy() as proxy:
            self.connect(server.url, "--proxy", proxy.url).close_now()
            self.assertEqual(proxy.connections, 1)
        self.assertIs(dialing.dialer_from(self.options("ws://a")).proxy, proxy_from_environment)
        self.assertIsNone(dialing.dialer_from(self.options("ws://a", "--no-proxy")).proxy)

    def test_unix_sockets(self) -> None:
        """--unix connects to a Unix socket."""
        path = str(Path(self.enterContext(tempfile.TemporaryDirectory()), "socket"))
        self.echo_server(unix_path=path)
        self.assert_echo(self.connect("ws://localhost/", "--unix", path))


class TLSTests(DialingCase):
    """Whom it trusts, and who it is."""

    def setUp(self) -> None:
        super().setUp()
        self.files = certificates.files(self.enterContext(tempfile.TemporaryDirectory()))

    def server(self) -> EchoServer:
        return self.echo_server(ssl_context=certificates.serving())

    def test_trust(self) -> None:
        """Nobody unknown; with --ca that authority; with --insecure everybody."""
        server = self.server()
        with self.assertRaises(OSError) as caught:
            self.connect(server.url)
        said = dialing.cannot_dial(caught.exception)
        self.assertIn("the server's certificate is not accepted: ", said)
        self.assertIn("--ca FILE trusts another authority, --insecure checks nothing", said)
        self.assert_echo(self.connect(server.url, "--ca", self.files.authority))
        self.assert_echo(self.connect(server.url, "--insecure"))

    def test_our_own_certificate(self) -> None:
        """--cert and --key show it to a server that asks for one; the key may be in the same file."""
        context = certificates.serving()
        context.verify_mode = certificates.ssl.CERT_REQUIRED
        certificates.trust(context)
        server = self.echo_server(ssl_context=context)
        trust = ("--ca", self.files.authority)
        self.assert_echo(self.connect(server.url, *trust, "--cert", self.files.certificate, "--key", self.files.key))
        self.assert_echo(self.connect(server.url, *trust, "--cert", self.files.both))

    def test_files_that_are_none(self) -> None:
        """A file that is missing, or is not what it should be, is named."""
        empty = self.enterContext(tempfile.TemporaryDirectory())
        for says, arguments in [
            ("--key needs --cert", ["--key", self.files.key]),
            ("cannot load the authorities of none.pem: No such file", ["--ca", "none.pem"]),
            ("it holds no certificate in PEM", ["--ca", __file__]),
            ("cannot load the certificate none.pem with the key none.pem: No such file", ["--cert", "none.pem"]),
            ("not PEM, or the key is not of this certificate", ["--cert", __file__]),
        ]:
            with self.subTest(says):
                self.assertIn(says, self.refused("wss://a", *arguments))
        self.assertIsNotNone(dialing.dialer_from(self.options("wss://a", "--ca", empty)).ssl_context)


class ErrorTests(DialingCase):
    """What is said, and what is not."""

    def test_arguments(self) -> None:
        """Each mistake is named in one line, which holds no secret."""
        for says, arguments in [
            ("must begin with ws:// or wss://", ["ftp://ann:secret@a/?secret"]),
            ("has no valid host", ["ws://ann:secret@/?secret"]),
            ("has no valid port", ["ws://ann:secret@a:0/?secret"]),
            ("a header is 'Name: value', with a colon", ["ws://a", "-H", "Bearer secret"]),
            ("a name may hold only letters", ["ws://a", "-H", "X Y: secret"]),
            ("its value may not hold", ["ws://a", "-H", "Authorization: secret\n"]),
            ("cannot read nowhere: No such file", ["ws://a", "-H", "@nowhere"]),
            ("the proxy must begin with http://", ["ws://a", "--proxy", "ftp://ann:secret@a"]),
            ("--origin and --header Origin exclude", ["ws://a", "-H", "origin: a", "--origin", "b"]),
            ("--user and --header Authorization", ["ws://a", "-H", "authorization: secret", "--user", "a:secret"]),
            ("header 'Origin': its value may not hold", ["ws://a", "--origin", "\n"]),
            ("--header: Upgrade is set by the library", ["ws://a", "-H", "Upgrade: secret"]),
            ("see --compression", ["ws://a", "-H", "Sec-WebSocket-Extensions: secret"]),
            ("what --subprotocol is for", ["ws://a", "--subprotocol", "a", "-H", "Sec-WebSocket-Protocol: secret"]),
            ("--header: Host is there twice", ["ws://a", "-H", "Host: secret", "-H", "host: secret"]),
            ("is not a token", ["ws://a", "--subprotocol", "secret two"]),
            ("not allowed with argument", ["ws://a", "--unix", "a", "--proxy", "http://a"]),
            ("not allowed with argument", ["ws://a", "--ca", "a", "--insecure"]),
            ("a number of seconds above 0, not 'soon'", ["ws://a", "--timeout", "soon"]),
        ]:
            with self.subTest(arguments):
                said = self.refused(*arguments)
                self.assertIn(says, said)
                self.assertNotIn("secret", said)

    def test_a_line_of_a_file(self) -> None:
        """Of a file, the line that is wrong is named, and not shown."""
        with tempfile.NamedTemporaryFile("w", suffix=".txt") as file:
            file.write("A: b\n\nsecret")
            file.flush()
            said = self.refused("ws://a", "-H", f"@{file.name}")
        self.assertIn("line 3 of ", said)
        self.assertNotIn("secret", said)

    def test_no_password(self) -> None:
        """Without a terminal nobody can be asked for the password, and the error says where it goes."""
        with mock.patch("sys.stdin.isatty", return_value=False):
            self.assertIn("set SYNCWS_PASSWORD", self.refused("ws://a", "--user", "ann"))

    def test_an_end_in_place_of_a_password(self) -> None:
        """Ctrl-D where the password is asked for is no password."""
        with mock.patch("sys.stdin.isatty", return_value=True), mock.patch("getpass.getpass", side_effect=EOFError):
            self.assertEqual(self.refused("ws://a", "--user", "ann"), "no password was given")

    def test_a_timeout(self) -> None:
        """A server that says nothing is told with the name of the option that gives it longer."""
        with socket.create_server(("127.0.0.1", 0)) as sock, self.assertRaises(TimeoutError) as caught:
            self.connect(f"ws://127.0.0.1:{sock.getsockname()[1]}", "--timeout", "0.01")
        self.assertIn("not done within 0.01 s (--timeout)", dialing.cannot_dial(caught.exception))

    def test_failures(self) -> None:
        """A dial that fails is told in one line: what was refused, by whom, and what to change."""
        for says, arguments in [
            ("Connection refused (connecting to 127.0.0.1 port 1)", ["ws://127.0.0.1:1/?secret"]),
            ("--no-proxy connects directly", ["ws://127.0.0.1:1/?secret", "--proxy", "http://ann:secret@127.0.0.1:1"]),
        ]:
            with self.subTest(says), self.assertRaises(OSError) as caught:
                self.connect(*arguments)
            said = dialing.cannot_dial(caught.exception)
            self.assertIn(says, said)
            self.assertNotIn("secret", said)
            self.assertEqual(said.count("\n"), 0)
