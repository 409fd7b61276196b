"""Our client through proxies that were not written here: tinyproxy (HTTP) and microsocks (SOCKS5)."""

from __future__ import annotations

import contextlib
import os
import random
import shutil
import socket
import subprocess
import tempfile
from pathlib import Path
from typing import Any
from unittest import mock

import syncws
from syncws.testing import LeakChecks, await_, running
from tests import certificates
from tests.partners import heavy, need

from ..proxies import TLSFront
from ..tasks import PATIENCE, Task

try:
    import python_socks
except ImportError:
    python_socks = None  # type: ignore[assignment]

USER, PASSWORD = "someone", "s3cr3t"

#: It keeps the user that starts it, and reads and writes no file of the system.
TINYPROXY = """
Port {port}
Listen 127.0.0.1
Timeout 60
MaxClients 20
LogLevel Info
{more}
"""


class Program:
    """A proxy that runs in a process of its own, on a free port of the loopback address."""

    def __init__(self, name: str, *arguments: str, configuration: str | None = None) -> None:
        """Each argument and the configuration may name {port} and {file}, the latter of the configuration."""
        program = shutil.which(name, path=f"{os.environ.get('PATH', os.defpath)}:/usr/sbin:/usr/local/sbin")
        need(program is not None, f"{name} is not installed")
        with contextlib.ExitStack() as stack:
            folder = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="syncws-")))
            self.port = _free_port()
            if configuration is not None:
                (folder / "conf").write_text(configuration.format(port=self.port))
            self._output = folder / "output"
            with self._output.open("wb") as output:
                self._process = subprocess.Popen(
                    [str(program), *(each.format(port=self.port, file=folder / "conf") for each in arguments)],
                    cwd=folder,
                    stdin=subprocess.DEVNULL,
                    stdout=output,
                    stderr=output,
                )
            stack.callback(self._end)
            if not await_(lambda: self._listens() or self._process.poll() is not None, PATIENCE) or self._ended():
                raise AssertionError(f"{name} does not listen: {self.log()}")
            self.close = stack.pop_all().close

    def _listens(self) -> bool:
        with socket.socket() as sock:
            return sock.connect_ex(("127.0.0.1", self.port)) == 0

    def _ended(self) -> bool:
        return self._process.poll() is not None

    def _end(self) -> None:
        self._process.kill()  # microsocks knows no other end
        self._process.wait(PATIENCE)

    def log(self) -> str:
        """What the program has written."""
        return self._output.read_text("utf-8", "replace")


def _free_port() -> int:
    with socket.create_server(("127.0.0.1", 0)) as sock:
        return int(sock.getsockname()[1])


class Cases(LeakChecks):
    """A server, plain or under TLS, and a proxy to it."""

    def setUp(self) -> None:
        super().setUp()
        self.certificate, self.trusted = certificates.contexts()

    def serve(self, *, tls: bool) -> str:
        """Echo messages; the URL, whose host is a name."""
        upgrader = syncws.Upgrader(enable_compression=True, read_limit=None)
        self.heads: list[syncws.Request] = []

        def echo(request: syncws.Request) -> None:
            self.heads.append(request)
            with upgrader.upgrade(request) as conn:
                for message in conn:
                    conn.send(message)

        # Where the name leads first: a proxy may try no other address of it.
        host = socket.getaddrinfo("localhost", 0, type=socket.SOCK_STREAM)[0][4][0]
        server = syncws.Server(echo, host, 0, ssl_context=self.certificate if tls else None)
        self.enterContext(running(server))
        self.server_port = server.address[1]
        return f"{'wss' if tls else 'ws'}://localhost:{self.server_port}/"

    def start(self, name: str, *arguments: str, configuration: str | None = None) -> Program:
        program = Program(name, *arguments, configuration=configuration)
        self.addCleanup(program.close)
        return program

    def dial(self, url: str, proxy: str, **options: Any) -> syncws.Conn:
        conn = syncws.dial(
            url,
            proxy=proxy,
            ssl_context=self.trusted,
            proxy_ssl_context=self.trusted,
            timeout=PATIENCE,
            read_limit=None,
            **options,
        )
        self.addCleanup(conn.close_now)
        return conn

    def check_echo(self, conn: syncws.Conn) -> None:
        """Messages of all sizes come back, and the closing handshake passes."""
        hard = random.Random(1).randbytes
        for message in ("ünïcödé 🎈", b"", b"\0", hard(125), hard(65536), hard(128 << 10), hard(2 << 20)):
            conn.send(message, timeout=PATIENCE)
            self.assertTrue(conn.receive(timeout=PATIENCE) == message, f"{len(message)} did not come back")
        conn.close(1000, "done")
        with self.assertRaises(syncws.CloseError) as caught:
            conn.receive(timeout=PATIENCE)
        self.assertEqual(caught.exception.code, 1000)

    def refusal(self, url: str, proxy: str) -> syncws.ProxyError:
        with self.assertRaises(syncws.ProxyError) as caught:
            self.dial(url, proxy)
        self.assertNotIn(PASSWORD, f"{caught.exception} {caught.exception!r}")
        return caught.exception


@heavy
class TinyproxyTests(Cases):
    """tinyproxy, by CONNECT."""

    def proxy(self, *more: str) -> Program:
        """Run the proxy, with further lines of configuration; its URL has credentials if it wants some."""
        configuration = TINYPROXY.format(port="{port}", more="\n".join(more))
        return self.start("tinyproxy", "-d", "-c", "{file}", configuration=configuration)

    def test_echo(self) -> None:
        """ws and wss pass through it; it hears the name of the server and looks it up."""
        program = self.proxy()
        for tls in (False, True):
            with self.subTest(tls=tls):
                self.check_echo(self.dial(self.serve(tls=tls), f"http://127.0.0.1:{program.port}"))
                self.assertIn(f"CONNECT localhost:{self.server_port} HTTP/1.1", program.log())

    def test_under_tls(self) -> None:
        """The same with TLS to the proxy itself; then wss is TLS in TLS."""
        program = self.proxy(f"BasicAuth {USER} {PASSWORD}")
        with TLSFront(self.certificate, program.port) as front:
            proxy = front.url.replace("//", f"//{USER}:{PASSWORD}@")
            for tls in (False, True):
                with self.subTest(tls=tls):
                    self.check_echo(self.dial(self.serve(tls=tls), proxy))
                    self.assertIn(f"CONNECT localhost:{self.server_port} HTTP/1.1", program.log())
            self.assertEqual(front.connections, 2)

    def test_compression(self) -> None:
        """Compression is agreed on through a tunnel, as without one."""
        conn = self.dial(self.serve(tls=False), f"http://127.0.0.1:{self.proxy().port}", enable_compression=True)
        self.assertTrue(conn.compression)
        self.check_echo(conn)

    def test_credentials(self) -> None:
        """The right name and password are accepted; without them, or with others, the error says what is wrong."""
        program = self.proxy(f"BasicAuth {USER} {PASSWORD}")
        url = self.serve(tls=True)
        self.check_echo(self.dial(url, f"http://{USER}:{PASSWORD}@127.0.0.1:{program.port}"))
        error = self.refusal(url, f"http://127.0.0.1:{program.port}")
        self.assertEqual(error.status, 407)
        self.assertIn("Basic", error.headers["Proxy-Authenticate"])
        self.assertIn("it wants credentials", str(error))
        error = self.refusal(url, f"http://{USER}:{PASSWORD}x@127.0.0.1:{program.port}")
        self.assertIn(error.status, (401, 407))  # the latter is RFC 9110's, the former tinyproxy's idea
        self.assertEqual(len(self.heads), 1)

    def test_port_not_allowed(self) -> None:
        """Where the proxy's rules refuse the server's port, the error has its status, 403, and its headers."""
        program = self.proxy("ConnectPort 443")
        error = self.refusal(self.serve(tls=False), f"http://127.0.0.1:{program.port}")
        self.assertEqual((error.status, self.heads), (403, []))
        self.assertIn("tinyproxy", error.headers["Server"])
        self.assertIn(f"opens no tunnel to localhost:{self.server_port}: 403", str(error))

    def test_server_not_reached(self) -> None:
        """Where the proxy does not reach the server, the error has its status, a 5xx."""
        program = self.proxy()
        error = self.refusal(f"ws://localhost:{_free_port()}/", f"http://127.0.0.1:{program.port}")
        self.assertEqual(error.status // 100, 5)

    def test_environment(self) -> None:
        """The environment's proxy is used by default, but not for this machine."""
        program = self.proxy("ConnectPort 443")  # so it refuses before it looks a name up
        address = f"http://127.0.0.1:{program.port}"
        environment = {"http_proxy": address, "https_proxy": address}
        with mock.patch.dict(os.environ, environment):
            with syncws.dial(self.serve(tls=False), timeout=PATIENCE) as conn:
                conn.send("direct")
                self.assertEqual(conn.receive(timeout=PATIENCE), "direct")
            with self.assertRaises(syncws.ProxyError) as caught:
                syncws.dial("ws://nowhere.invalid/", timeout=PATIENCE)  # RFC 6761 section 6.4: nobody has it
        self.assertEqual(caught.exception.status, 403)
        self.assertNotIn("localhost", program.log())
        self.assertIn("CONNECT nowhere.invalid:80", program.log())


@heavy
class MicrosocksTests(Cases):
    """microsocks, by SOCKS5."""

    def setUp(self) -> None:
        super().setUp()
        need(python_socks is not None, "python-socks (PyPI) is not installed")

    def proxy(self, *more: str) -> Program:
        return self.start("microsocks", "-i", "127.0.0.1", "-p", "{port}", *more)

    def test_echo(self) -> None:
        """ws and wss pass through it, in both schemes; it hears the name of the server and looks it up."""
        program = self.proxy()
        for tls in (False, True):
            for scheme in ("socks5", "socks5h"):
                with self.subTest(tls=tls, scheme=scheme):
                    self.check_echo(self.dial(self.serve(tls=tls), f"{scheme}://127.0.0.1:{program.port}"))
                    self.assertIn(f"localhost:{self.server_port}", program.log())

    def test_addresses(self) -> None:
        """An address is not looked up."""
        program = self.proxy()
        with socket.create_server(("127.0.0.1", 0)) as listener:
            listener.settimeout(PATIENCE)
            port = listener.getsockname()[1]
            task = Task(self.dial, f"ws://127.0.0.1:{port}/", f"socks5://127.0.0.1:{program.port}")
            accepted, _ = listener.accept()
            with accepted:
                self.assertTrue(accepted.recv(4096).startswith(b"GET / HTTP/1.1\r\n"))
            self.assertIsInstance(task.error(), syncws.BadHandshakeError)
        self.assertIn(f"127.0.0.1:{port}", program.log())

    def test_credentials(self) -> None:
        """The right name and password are accepted; without them, or with others, it is a ProxyError."""
        program = self.proxy("-u", USER, "-P", PASSWORD)
        url = self.serve(tls=True)
        self.check_echo(self.dial(url, f"socks5://{USER}:{PASSWORD}@127.0.0.1:{program.port}"))
        for credentials in ("", f"{USER}:{PASSWORD}x@"):
            with self.subTest(credentials):
                error = self.refusal(url, f"socks5://{credentials}127.0.0.1:{program.port}")
                self.assertEqual(error.status, 0)
                self.assertIn("opens no tunnel to localhost", str(error))
        self.assertEqual(len(self.heads), 1)

    def test_server_not_reached(self) -> None:
        """Where the proxy does not reach the server, the error says why."""
        program = self.proxy()
        error = self.refusal(f"ws://localhost:{_free_port()}/", f"socks5://127.0.0.1:{program.port}")
        self.assertIn("refused", str(error))
