"""The examples, each run as a process, as a reader would run it."""

from __future__ import annotations

import http.client
import re
import signal
import socket
import ssl
import subprocess
import sys
import tempfile
from contextlib import ExitStack
from pathlib import Path
from typing import ClassVar, Self

import syncws
from syncws.testing import LeakChecks, running
from tests import certificates, without_news
from tests.interop.clients import WebsocketsSync
from tests.tasks import PATIENCE, written

EXAMPLES = Path(__file__).resolve().parents[2] / "examples"


class ExampleServer:
    """A server of examples/ in a process of its own, on a free port. Use it as a context manager."""

    script: ClassVar[str]
    title: ClassVar[str]  # what it calls itself in its first line

    def __init__(self, *options: str) -> None:
        self._options = options

    def __enter__(self) -> Self:
        command = [sys.executable, "-W", "error", str(EXAMPLES / self.script), "--port", "0", *self._options]
        with ExitStack() as stack:
            self._log = stack.enter_context(tempfile.TemporaryFile("w+"))
            self._process = stack.enter_context(
                subprocess.Popen(command, stdout=subprocess.PIPE, stderr=self._log, text=True)
            )
            stack.callback(self._process.kill)  # before its wait, and no matter if it has ended
            assert self._process.stdout is not None
            self.first_line = self._process.stdout.readline()
            self._stack = stack.pop_all()
        return self

    def __exit__(self, *exc_info: object) -> None:
        self._stack.close()

    @property
    def url(self) -> str:
        line = rf"{self.title} on (https?://127\.0\.0\.1:\d+/) \(press Ctrl-C to stop\)\n"
        found = re.fullmatch(line, self.first_line)
        if found is None:
            raise AssertionError(f"it printed {self.first_line!r}, and {self.log()}")
        return found[1]

    @property
    def websocket_url(self) -> str:
        return self.url.replace("http", "ws", 1)

    @property
    def port(self) -> int:
        return int(self.url.rstrip("/").rpartition(":")[2])

    def log(self) -> str:
        """What the server wrote to standard error, without the usual."""
        return without_news(written(self._log))

    def end(self, number: signal.Signals = signal.SIGTERM) -> int:
        """Send the server a signal, wait for its end and return its exit code."""
        self._process.send_signal(number)
        return self._process.wait(PATIENCE)

    def signal(self, number: int) -> None:
        self._process.send_signal(number)

    def wait(self) -> int:
        """Wait for the end of the server, without a signal, and return its exit code."""
        return self._process.wait(PATIENCE)


class EchoServer(ExampleServer):
    """`echo_server.py`."""

    script = "echo_server.py"
    title = "Echo server"


class EchoServerTests(LeakChecks):
    @classmethod
    def setUpClass(cls) -> None:
        super().setUpClass()
        WebsocketsSync.start()

    def serve(self, *options: str) -> EchoServer:
        return self.enterContext(EchoServer(*options))

    def connect(self, url: str, *, compression: bool = False, certificate: str | None = None) -> WebsocketsSync:
        client = WebsocketsSync(url, compression=compression, certificate=certificate)
        self.addCleanup(client.drop)
        return client

    def check_echo(self, client: WebsocketsSync) -> None:
        for message in ("hello", b"\0\xff", "", "🎈" * 1000):
            client.send(message)
            self.assertEqual(client.receive(), message)

    def certificate(self) -> tuple[str, str, str]:
        """An authority in PEM, and files with a certificate for 127.0.0.1 and its key."""
        files = certificates.files(self.enterContext(tempfile.TemporaryDirectory()))
        return certificates.authority_pem(), files.certificate, files.key

    def run_wrongly(self, *options: str) -> tuple[int, str]:
        """Run the program with wrong options; its exit code and the last line of standard error."""
        done = subprocess.run(
            [sys.executable, str(EXAMPLES / "echo_server.py"), *options],
            capture_output=True,
            text=True,
            timeout=PATIENCE,
        )
        self.assertEqual(done.stdout, "")
        self.assertNotIn("Traceback", done.stderr)
        return done.returncode, done.stderr.splitlines()[-1]

    def test_echo_on_any_path(self) -> None:
        """A WebSocket connection to any path gets its messages back, until it closes."""
        server = self.serve()
        for path in ("", "ws", "a/b/c?d=e"):
            client = self.connect(server.websocket_url + path)
            self.assertFalse(client.compression)
            self.check_echo(client)
            self.assertEqual(client.close(4001, "good bye")[0], 4001)
        self.assertEqual(server.end(), 0)
        self.assertEqual(server.log(), "INFO SIGTERM: shutting down\n")

    def test_page(self) -> None:
        """`/` is an HTML page; any other request that is no handshake is refused with a reason."""
        server = self.serve()
        connection = http.client.HTTPConnection("127.0.0.1", server.port, timeout=PATIENCE)
        self.addCleanup(connection.close)
        connection.request("GET", "/")
        response = connection.getresponse()
        self.assertEqual(response.status, 200)
        self.assertEqual(response.headers["Content-Type"], "text/html; charset=utf-8")
        self.assertEqual(response.read(), (EXAMPLES / "echo.html").read_bytes())
        connection.request("GET", "/ws")
        response = connection.getresponse()
        self.assertEqual(response.status, 400)
        self.assertIn(b"WebSocket", response.read())

    def test_tls(self) -> None:
        """With --certfile and --keyfile it serves https and wss."""
        authority, certfile, keyfile = self.certificate()
        server = self.serve("--certfile", certfile, "--keyfile", keyfile)
        self.assertTrue(server.url.startswith("https:"))
        self.check_echo(self.connect(server.websocket_url, certificate=authority))
        connection = http.client.HTTPSConnection(
            "127.0.0.1", server.port, timeout=PATIENCE, context=ssl.create_default_context(cadata=authority)
        )
        self.addCleanup(connection.close)
        connection.request("GET", "/")
        self.assertEqual(connection.getresponse().status, 200)

    def test_compression(self) -> None:
        """With --compression, permessage-deflate is agreed on with a client that offers it."""
        server = self.serve("--compression")
        for compression in (False, True):
            client = self.connect(server.websocket_url, compression=compression)
            self.assertEqual(client.compression, compression)
            self.check_echo(client)

    def test_read_limit(self) -> None:
        """A message over --read-limit ends in 1009: 1 MiB by default, anything passes with 0."""
        for options, limit in (((), 1 << 20), (("--read-limit", "10"), 10), (("--read-limit", "0"), None)):
            with self.subTest(options=options):
                client = self.connect(self.serve(*options).websocket_url)
                message = b"x" * ((1 << 22) if limit is None else limit)
                client.send(message)
                self.assertTrue(client.receive() == message)
                if limit is not None:
                    client.send(message + b"x")
                    self.assertEqual(client.wait_closed()[0], 1009)

    def test_rebinding(self) -> None:
        """DNS rebinding: an example that listens on loopback answers to the names of this machine alone."""
        server = self.serve()
        for host, status in ((f"localhost:{server.port}", 200), ("127.0.0.1", 200), ("evil.example", 421)):
            connection = http.client.HTTPConnection("127.0.0.1", server.port, timeout=PATIENCE)
            connection.request("GET", "/", headers={"Host": host})
            self.assertEqual(connection.getresponse().status, status)
            connection.close()
        self.assertIn("its Host is 'evil.example'; to serve it, add it to allowed_hosts of the Server", server.log())
        sources = [path.read_text() for path in EXAMPLES.rglob("*.py")]
        servers = [source for source in sources if "syncws.Server(" in source]
        self.assertEqual(len(servers), 6)
        for source in servers:
            self.assertIn("LOOPBACK if options.host in LOOPBACK else None", source)

    def test_signals(self) -> None:
        """SIGINT and SIGTERM tell the clients 1001, and end it with exit code 0, however early they come."""
        for number in (signal.SIGINT, signal.SIGTERM):
            with self.subTest(signal=number.name):
                server = self.serve()
                client = self.connect(server.websocket_url)
                self.assertEqual(server.end(number), 0)
                self.assertEqual(client.wait_closed()[0], 1001)
                self.assertEqual(server.log(), f"INFO {number.name}: shutting down\n")

                at_once = self.serve()
                self.assertEqual(at_once.end(number), 0)
                self.assertIn(at_once.log(), ("", f"INFO {number.name}: shutting down\n"))

    def test_workers(self) -> None:
        """With --workers several processes serve on the one port, and all are ended by a signal."""
        server = self.serve("--workers", "2")
        clients = [self.connect(server.websocket_url) for _ in range(12)]
        for client in clients:
            self.check_echo(client)
        self.assertEqual(server.end(), 0)
        for client in clients:
            self.assertEqual(client.wait_closed()[0], 1001)
        self.assertEqual(server.log(), "INFO SIGTERM: shutting down\n")

    def test_port_in_use(self) -> None:
        """A port in use, or a host that is not this machine, is one line and exit code 1."""
        with socket.create_server(("127.0.0.1", 0)) as taken:
            port = str(taken.getsockname()[1])
            code, line = self.run_wrongly("--port", port)
            self.assertEqual((code, line), (1, f"Cannot listen on 127.0.0.1 port {port}: Address already in use"))
        code, line = self.run_wrongly("--host", "192.0.2.1", "--port", "0")
        self.assertEqual(code, 1)
        self.assertRegex(line, r"^Cannot listen on 192\.0\.2\.1 port 0: ")
        code, line = self.run_wrongly("--host", "a..b", "--port", "0")
        self.assertEqual((code, line), (1, "Cannot listen on a..b port 0: Name not known"))

    def test_bad_certificate(self) -> None:
        """A certificate that is missing, is invalid, or has no key is one line and exit code 2."""
        page = str(EXAMPLES / "echo.html")
        for options, said in (
            (["--certfile", "/nowhere/cert.pem"], r"/nowhere/cert\.pem.*: No such file or directory"),
            (["--certfile", page], re.escape(page) + ": not PEM"),
            (["--keyfile", page], "--keyfile needs --certfile"),
        ):
            with self.subTest(options=options):
                code, line = self.run_wrongly(*options)
                self.assertEqual(code, 2)
                self.assertRegex(line, f"error: .*{said}")

    def test_bad_options(self) -> None:
        """An invalid port or limit is named in one line, with exit code 2."""
        for option, value in (
            ("--port", "-1"),
            ("--port", "65536"),
            ("--port", "http"),
            ("--read-limit", "-1"),
            ("--read-limit", "1 MiB"),
            ("--read-limit", ""),
            ("--workers", "0"),
            ("--workers", "two"),
        ):
            with self.subTest(option=option, value=value):
                code, line = self.run_wrongly(f"{option}={value}")
                self.assertEqual(code, 2)
                self.assertRegex(line, f"error: argument {option}: .* number .*, not {value!r}")


class EchoClientTests(LeakChecks):
    """`echo_client.py`, with the real `echo_server.py` or with no server."""

    def start(self, *options: str) -> subprocess.Popen[str]:
        """The client in a process of its own."""
        command = [sys.executable, "-W", "error", str(EXAMPLES / "echo_client.py"), *options]
        process = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
        self.enterContext(process)
        self.addCleanup(process.kill)
        return process

    def end(self, process: subprocess.Popen[str]) -> tuple[int, list[str], str]:
        """Exit code, lines of standard output, the last line of standard error; there is no traceback."""
        out, err = process.communicate(timeout=PATIENCE)
        self.assertNotIn("Traceback", err)
        return process.returncode, out.splitlines(), (err.splitlines() or [""])[-1]

    def talk(self, *options: str) -> tuple[EchoServer, subprocess.Popen[str]]:
        """A server, and a client that has got an answer."""
        server = self.enterContext(EchoServer())
        client = self.start("--url", server.websocket_url + "ws", "--interval", "0.01", *options)
        assert client.stdout is not None
        self.assertRegex(client.stdout.readline(), "^Connected to ws://")
        self.assertRegex(client.stdout.readline(), "^received: .+")
        return server, client

    def test_interrupt(self) -> None:
        """Ctrl-C and SIGTERM perform the closing handshake, whose story is told; the exit code is 0."""
        for number in (signal.SIGINT, signal.SIGTERM):
            with self.subTest(number):
                _, client = self.talk()
                client.send_signal(number)
                code, _, told = self.end(client)
                story = "closed: sent 1000 (normal closure); then received 1000 (normal closure)"
                self.assertEqual((code, told), (0, story))

    def test_count(self) -> None:
        """With --count it ends by itself, compressed with --compression; each answer is printed."""
        compressed = []

        def handler(request: syncws.Request) -> None:
            with syncws.Upgrader(enable_compression=True).upgrade(request) as conn:
                compressed.append(conn.compression)
                for message in conn:
                    conn.send(message)

        with running(syncws.Server(handler, port=0)) as server:
            for options in ((), ("--compression",)):
                url = f"ws://127.0.0.1:{server.address[1]}/"
                code, lines, _ = self.end(self.start("--url", url, "--interval", "0.01", "--count", "3", *options))
                self.assertEqual(code, 0)
                self.assertGreaterEqual(sum(line.startswith("received: ") for line in lines), 3)
        self.assertEqual(compressed, [False, True])

    def test_the_server_ends(self) -> None:
        """If the server shuts down, one line says its code, and the exit code is 1."""
        server, client = self.talk()
        self.assertEqual(server.end(), 0)
        code, _, told = self.end(client)
        self.assertEqual(code, 1)
        self.assertRegex(told, r"^closed: received 1001 \(going away\)")

    def test_tls(self) -> None:
        """With --cafile it trusts the server's authority, and without it does not."""
        files = certificates.files(self.enterContext(tempfile.TemporaryDirectory()))
        server = self.enterContext(EchoServer("--certfile", files.both))
        options = ("--url", server.websocket_url, "--interval", "0.01", "--count", "1")
        self.assertEqual(self.end(self.start(*options, "--cafile", files.authority))[0], 0)
        code, _, told = self.end(self.start(*options))
        self.assertEqual(code, 1)
        self.assertRegex(told, "^Cannot connect: .*certificate verify failed")

    def test_nobody_there(self) -> None:
        """If the server cannot be reached, one line says so, and the exit code is 1."""
        with socket.create_server(("127.0.0.1", 0)) as nobody:
            url = f"ws://127.0.0.1:{nobody.getsockname()[1]}/"
        code, _, told = self.end(self.start("--url", url))
        self.assertEqual(code, 1)
        self.assertRegex(told, "^Cannot connect: .*refused")

    def test_refused(self) -> None:
        """If the server refuses the handshake, one line has its answer, and the exit code is 1."""
        with running(syncws.Server(lambda request: syncws.Response("members only\n", 403), port=0)) as server:
            code, lines, told = self.end(self.start("--url", f"ws://127.0.0.1:{server.address[1]}/"))
        self.assertEqual((code, lines), (1, []))
        self.assertRegex(told, "^Cannot connect: .* 403 Forbidden: members only$")

    def test_nobody_listens_to_it(self) -> None:
        """When nobody reads its output any more, the client closes the connection and ends with an error."""
        server, client = self.talk()
        assert client.stdout is not None
        client.stdout.close()
        self.assertGreater(client.wait(PATIENCE), 0)
        self.assertEqual((server.end(), server.log()), (0, "INFO SIGTERM: shutting down\n"))

    def test_wrong_options(self) -> None:
        """A mistake in an option is one line that names it, and exit code 2."""
        wrong = (
            ("--url", "http://127.0.0.1/"),
            ("--url", "127.0.0.1:8080"),
            ("--interval", "0"),
            ("--interval", "soon"),
            ("--count", "0"),
            ("--cafile", "/no/such/file"),
            ("--cafile", __file__),
        )
        for options in wrong:
            with self.subTest(options):
                code, lines, told = self.end(self.start(*options))
                self.assertEqual((code, lines), (2, []))
                self.assertIn("error: ", told)
