"""nginx in front of our server, with the configuration of docs/deployment.md, plain and under TLS.

Only addresses and paths in it are replaced. Clients reach it by the names and ports that it has there, 80 and 443 of
app.example.com: they connect to the ports that nginx really has (`Nginx.connect`).
"""

from __future__ import annotations

import configparser
import contextlib
import inspect
import os
import queue
import random
import re
import shutil
import signal
import socket
import ssl
import subprocess
import sys
import tempfile
import unittest
from collections.abc import Callable
from http.client import HTTPConnection, HTTPSConnection
from pathlib import Path
from typing import Any, ClassVar
from urllib.parse import quote

import syncws
from syncws.testing import LeakChecks, await_, running
from tests import certificates
from tests.page_configs import DOCS, blocks, replaced
from tests.partners import heavy, need

from ..tasks import PATIENCE, Task
from .cases import HUGE, REASONS, SIZES
from .clients import Browser

try:
    from websockets.sync.client import connect as websockets_connect
except ImportError:
    websockets_connect = None  # type: ignore[assignment]

PAGE = DOCS / "deployment.md"
NAME = "app.example.com"

#: What stands around a site's file: as little as can be, with nothing of the system's.
MAIN = """
{user}
daemon off;
worker_processes 1;
pid {folder}/nginx.pid;
error_log {folder}/error.log notice;
events {{ worker_connections 64; }}
http {{
    access_log off;
    client_body_temp_path {folder}/body;
    proxy_temp_path {folder}/proxy;
    fastcgi_temp_path {folder}/fastcgi;
    uwsgi_temp_path {folder}/uwsgi;
    scgi_temp_path {folder}/scgi;
    {site}
}}
"""


def block(language: str) -> str:
    """The page's first block in a language: the program, the configuration, the unit."""
    return blocks(PAGE.name, language)[0]


class Nginx:
    """nginx with the page's configuration, in a folder of its own, in front of a server.

    upstream: where that listens, as nginx writes it. changes: what else to replace in the configuration.
    """

    def __init__(self, upstream: str, changes: dict[str, str] | None = None) -> None:
        program = shutil.which("nginx", path=f"{os.environ.get('PATH', os.defpath)}:/usr/sbin:/usr/local/sbin")
        need(program is not None, "nginx is not installed")
        with contextlib.ExitStack() as stack:
            self.folder = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="syncws-")))
            self.trusted = certificates.trusting()
            self._files = certificates.files(self.folder, NAME, "127.0.0.1")
            # Bound here and inherited, as nginx's next self would inherit them: nobody else can take the ports, and
            # a client that connects before nginx accepts only waits.
            listeners = [stack.enter_context(socket.create_server(("127.0.0.1", 0))) for _ in range(2)]
            self.ports = {port: sock.getsockname()[1] for port, sock in zip((80, 443), listeners, strict=True)}
            self._write_configuration(upstream, changes or {})
            self._process = self._start(str(program), listeners)
            for sock in listeners:
                sock.close()  # nginx has its own now; if it ends, nobody listens
            self._closing = stack.pop_all()

    def _write_configuration(self, upstream: str, changes: dict[str, str]) -> None:
        site = replaced(block("nginx"), changes)
        site = replaced(
            site,
            {
                "server 127.0.0.1:8080;": f"server {upstream};",
                "listen 80;": f"listen 127.0.0.1:{self.ports[80]};",
                "listen 443 ssl;": f"listen 127.0.0.1:{self.ports[443]} ssl;",
                "/etc/ssl/certs/app.example.com.pem": self._files.certificate,
                "/etc/ssl/private/app.example.com.key": self._files.key,
            },
        )
        # Started as root, its workers would run as another user, which may not enter the folder.
        user = "user root;" if os.geteuid() == 0 else ""
        (self.folder / "nginx.conf").write_text(MAIN.format(user=user, folder=self.folder, site=site))

    def _start(self, program: str, listeners: list[socket.socket]) -> subprocess.Popen[bytes]:
        numbers = [sock.fileno() for sock in listeners]
        with (self.folder / "output").open("wb") as output:
            return subprocess.Popen(
                [program, "-p", str(self.folder), "-c", "nginx.conf", "-e", str(self.folder / "error.log")],
                env={**os.environ, "NGINX": "".join(f"{number};" for number in numbers)},
                pass_fds=numbers,
                stdin=subprocess.DEVNULL,
                stdout=output,
                stderr=output,
            )

    def log(self) -> str:
        """nginx's log of errors."""
        return "".join((self.folder / name).read_text("utf-8", "replace") for name in ("error.log", "output"))

    def connect(self, _host: str, port: int, timeout: float | None) -> socket.socket:
        """Reach what the page calls app.example.com:80 or 443; the net_dial of a Dialer."""
        return socket.create_connection(("127.0.0.1", self.ports[port]), timeout)

    def reload(self) -> None:
        """Let another worker take over; returns once the one before has stopped accepting."""
        self._process.send_signal(signal.SIGHUP)
        if not await_(lambda: "gracefully shutting down" in self.log(), PATIENCE):
            raise AssertionError(f"nginx did not reload: {self.log()}")

    def close(self) -> None:
        with self._closing:
            self._process.terminate()  # connections are cut
            status = self._process.wait(PATIENCE)
            log = self.log()
        # [error] is what the tests provoke: a server that is down, a connection that goes silent.
        if status != 0 or re.search(r"\[(warn|crit|alert|emerg)\]", log):
            raise AssertionError(f"nginx ended with exit code {status}, and said:\n{log}")


class Application:
    """A handler with several paths, which notes what it sees."""

    def __init__(self, **options: Any) -> None:
        self.requests: queue.Queue[syncws.Request] = queue.Queue()
        self.conns: queue.Queue[syncws.Conn] = queue.Queue()
        self.ends: queue.Queue[syncws.ConnectionClosed] = queue.Queue()  # how each connection ended for the server
        self._upgrader = syncws.Upgrader(enable_compression=True, read_limit=None, **options)

    def __call__(self, request: syncws.Request) -> syncws.Response | None:
        self.requests.put(request)
        if request.path == "/health":
            return syncws.Response("ok\n")
        with self._upgrader.upgrade(request) as conn:
            self.conns.put(conn)
            try:
                if request.path == "/close":
                    conn.close(int(request.query["code"]), request.query["reason"])
                if request.path == "/ping":
                    conn.set_pong_handler(lambda data: conn.send(f"pong {data.decode()}"))
                    conn.ping(b"hello")
                while True:
                    conn.write_message(*conn.read_message())
            except syncws.ConnectionClosed as end:
                self.ends.put(end)
        return None


def is_listening(address: Path) -> bool:
    with socket.socket(socket.AF_UNIX) as sock:
        return sock.connect_ex(str(address)) == 0


class NginxCases(LeakChecks):
    """nginx in front of a server; `scheme` says how clients come to it."""

    scheme: ClassVar[str]

    def setUp(self) -> None:
        super().setUp()
        self.application = Application()

    def serve(self, application: Callable[[syncws.Request], syncws.Response | None] | None = None) -> str:
        """Run a server, and return where it listens."""
        server = syncws.Server(application or self.application, "127.0.0.1", 0)
        self.server = self.enterContext(running(server))
        return f"127.0.0.1:{server.address[1]}"

    def proxy(self, changes: dict[str, str] | None = None, upstream: str | None = None) -> None:
        """Run nginx in front of a server, which is started unless one is given."""
        self.nginx = Nginx(upstream or self.serve(), changes)
        self.addCleanup(self.nginx.close)

    def dial(self, url: str, headers: dict[str, str] | None = None, **options: Any) -> syncws.Conn:
        options = {"read_limit": None, "net_dial": self.nginx.connect, "ssl_context": self.nginx.trusted, **options}
        conn = syncws.dial(url, headers, timeout=PATIENCE, proxy=None, **options)
        self.addCleanup(conn.close_now)
        return conn

    def url(self, path: str = "/") -> str:
        return f"{self.scheme}://{NAME}{path}"

    def address(self) -> str:
        """Host and port where nginx really listens."""
        return f"127.0.0.1:{self.nginx.ports[80 if self.scheme == 'ws' else 443]}"

    def refusal(self, url: str, headers: dict[str, str] | None = None, **options: Any) -> tuple[int, str]:
        """Status and body of the refusal that comes instead of a connection."""
        with self.assertRaises(syncws.BadHandshakeError) as caught:
            self.dial(url, headers, **options)
        return caught.exception.status, caught.exception.response.body.decode()

    def assertEcho(self, conn: syncws.Conn, message: str | bytes = "hello") -> None:
        conn.send(message, timeout=PATIENCE)
        self.assertTrue(conn.receive(timeout=PATIENCE) == message, f"{len(message)} of {message[:20]!r} did not come")

    def assertClosed(self, conn: syncws.Conn, code: int, reason: str | None = None) -> None:
        with self.assertRaises(syncws.CloseError) as caught:
            conn.receive(timeout=PATIENCE)
        self.assertEqual(caught.exception.code, code)
        if reason is not None:
            self.assertEqual(caught.exception.reason, reason)

    # What passes

    def test_messages(self) -> None:
        """Text and bytes of every size up to 16 MiB come back, compressed from end to end or not."""
        self.proxy()
        hard = random.Random(1).randbytes
        for compression in (False, True):
            conn = self.dial(self.url(), enable_compression=compression)
            self.assertIs(conn.compression, compression)
            self.assertIs(self.application.conns.get(timeout=PATIENCE).compression, compression)
            self.assertEcho(conn, "ünïcödé 🎈")
            for size in (*SIZES, HUGE):
                self.assertEcho(conn, bytes(size))
                self.assertEcho(conn, hard(size))

    def test_fragments(self) -> None:
        """A message in fragments, which wait for each other, comes back whole."""
        self.proxy()
        conn = self.dial(self.url(), write_buffer_size=1000)
        with conn.next_writer(syncws.TEXT) as writer:
            for _ in range(100):
                writer.write("ä" * 1000)
        self.assertEqual(conn.receive(timeout=PATIENCE), "ä" * 100_000)

    def test_pings(self) -> None:
        """Pings of either side reach the other, and so do their pongs."""
        self.proxy()
        conn = self.dial(self.url("/ping"))
        self.assertEqual(conn.receive(timeout=PATIENCE), "pong hello")
        pongs: list[bytes] = []
        conn.set_pong_handler(pongs.append)
        conn.ping(b"here")
        self.assertEcho(conn)
        self.assertEqual(pongs, [b"here"])

    def test_another_client(self) -> None:
        """`websockets` connects through nginx as well, with its own compression."""
        need(websockets_connect is not None, "websockets (PyPI) is not installed")
        self.proxy()
        trusted = self.nginx.trusted if self.scheme == "wss" else None
        self.nginx.trusted.maximum_version = ssl.TLSVersion.TLSv1_2  # see clients.WebsocketsSync
        with websockets_connect(f"{self.scheme}://{self.address()}/", proxy=None, ssl=trusted) as conn:
            self.assertTrue(conn.protocol.extensions)
            conn.send("hello " * 1000)
            self.assertEqual(conn.recv(PATIENCE), "hello " * 1000)
        self.assertEqual(self.application.ends.get(timeout=PATIENCE).code, 1000)

    def test_browser(self) -> None:
        """A browser connects through nginx, from a page of the same site."""
        Browser.start()
        self.addCleanup(Browser.stop)
        self.proxy({"Host $host;": "Host $host:$server_port;"})
        with self.assertLogs("syncws.server", "INFO"):  # the page is a refusal, which is as good as any
            browser = Browser(f"{self.scheme}://{self.address()}/", compression=True)
        self.assertTrue(browser.compression)
        for message in ("ünïcödé 🎈", "x" * 100_000, bytes(range(256))):
            browser.send(message)
            self.assertEqual(browser.receive(), message)
        self.assertEqual(browser.close(4999, "good bye"), (4999, ""))
        end = self.application.ends.get(timeout=PATIENCE)
        self.assertEqual((end.code, end.reason), (4999, "good bye"))

    def test_plain_http(self) -> None:
        """Beside WebSocket, an ordinary request is answered."""
        self.proxy()
        client = HTTPConnection(self.address(), timeout=PATIENCE)
        if self.scheme == "wss":
            client = HTTPSConnection(self.address(), timeout=PATIENCE, context=self.nginx.trusted)
        self.addCleanup(client.close)
        for _ in range(2):  # on one connection to nginx
            client.request("GET", "/health", headers={"Host": NAME})
            response = client.getresponse()
            self.assertEqual((response.status, response.read()), (200, b"ok\n"))
            headers = self.application.requests.get(timeout=PATIENCE).headers
            self.assertEqual((headers["Connection"], headers.get("Upgrade")), ("close", None))

    def test_unix_socket(self) -> None:
        """The server may listen on a Unix socket, as the page says."""
        folder = self.enterContext(tempfile.TemporaryDirectory())
        self.enterContext(running(syncws.Server(self.application, unix_path=f"{folder}/app.sock")))
        self.proxy(upstream=f"unix:{folder}/app.sock")
        self.assertEcho(self.dial(self.url()))
        self.assertFalse(self.application.requests.get(timeout=PATIENCE).remote_address)

    # Who asks, and for what

    def test_headers(self) -> None:
        """The server gets host, client and scheme from nginx, whatever the client claims."""
        self.proxy()
        self.dial(self.url(), {"X-Forwarded-For": "192.0.2.1", "X-Forwarded-Proto": "gopher"})
        request = self.application.requests.get(timeout=PATIENCE)
        self.assertEqual(request.host, NAME)
        self.assertEqual(request.headers.get_all("X-Forwarded-For"), ["127.0.0.1"])
        scheme = {"ws": "http", "wss": "https"}[self.scheme]
        self.assertEqual(request.headers.get_all("X-Forwarded-Proto"), [scheme])
        self.assertEqual((request.scheme, request.remote_address[0]), ("http", "127.0.0.1"))

    def test_origin(self) -> None:
        """Pages of the site may connect, whichever of its schemes they came by; others are refused with 403."""
        self.proxy()
        for scheme in ("http", "https"):
            self.assertEcho(self.dial(self.url(), {"Origin": f"{scheme}://{NAME}"}))
        for origin in ("https://example.com", f"https://{NAME}:8443"):
            with self.assertLogs("syncws.server", "INFO"):
                status, body = self.refusal(self.url(), {"Origin": origin})
            self.assertEqual((status, body), (403, "Forbidden: a page of this origin may not connect here\n"))

    def test_without_host(self) -> None:
        """Without the line about Host the site's own pages are refused, and the log shows a name nobody typed."""
        self.proxy({"proxy_set_header Host $host;": ""})
        with self.assertLogs("syncws.server", "INFO") as logs:
            self.assertEqual(self.refusal(self.url(), {"Origin": f"https://{NAME}"})[0], 403)
        advice = f"its Origin is 'https://{NAME}', the Host 'app'; to accept it, add it to allowed_origins"
        self.assertIn(advice, logs.output[0])
        self.assertIn(advice, " ".join(PAGE.read_text().split()))

    def test_other_ports(self) -> None:
        """On another port than 80 and 443 the line about Host needs the port, as the page says."""
        for host, welcome in (("$host", False), ("$host:$server_port", True)):
            self.assertIn(f"proxy_set_header Host {host}", PAGE.read_text())
            with self.subTest(host=host):
                self.proxy({"Host $host;": f"Host {host};"})
                # Not by the page's name and port, but where nginx really is.
                url = f"{self.scheme}://{self.address()}/"
                origin = {"Origin": f"https://{self.address()}"}
                if welcome:
                    self.assertEcho(self.dial(url, origin, net_dial=None))
                    continue
                with self.assertLogs("syncws.server", "INFO"):
                    self.assertEqual(self.refusal(url, origin, net_dial=None)[0], 403)

    # What is wrong if a line is missing

    def test_without_http_1_1(self) -> None:
        """With HTTP/1.0 to the server the client gets a 400, and the log names the line that is missing."""
        self.proxy({"proxy_http_version 1.1;": "proxy_http_version 1.0;"})  # nginx's default, up to some version
        with self.assertLogs("syncws.server", "INFO") as logs:
            status, body = self.refusal(self.url())
        self.assertEqual(status, 400)
        self.assertIn("proxy_http_version 1.1", body)
        self.assertIn("nginx: proxy_http_version 1.1; proxy_set_header Upgrade $http_upgrade", logs.output[0])

    def test_without_upgrade(self) -> None:
        """Without the lines about Upgrade and Connection the client gets a 400, and the log names them."""
        lines = ("proxy_set_header Upgrade $http_upgrade;", "proxy_set_header Connection $connection_upgrade;")
        self.proxy(dict.fromkeys(lines, ""))
        with self.assertLogs("syncws.server", "INFO") as logs:
            status, body = self.refusal(self.url())
        self.assertEqual(status, 400)
        self.assertIn("Connection header does not say 'Upgrade'", body)
        self.assertIn('proxy_set_header Upgrade $http_upgrade; proxy_set_header Connection "upgrade"', logs.output[0])

    # How it ends

    def test_close_by_the_client(self) -> None:
        """Code and reason of the client's close reach the server, and its answer comes back."""
        self.proxy()
        for code in (1000, 1001, 1008, 1011, 3000, 4999, 1005):
            for reason in REASONS if code != 1005 else ("",):
                conn = self.dial(self.url())
                conn.close(code, reason)
                self.assertClosed(conn, code)
                end = self.application.ends.get(timeout=PATIENCE)
                self.assertEqual((end.code, end.reason), (code, reason))

    def test_close_by_the_server(self) -> None:
        """Code and reason of the server's close reach the client, and its answer comes back."""
        self.proxy()
        for code in (1000, 1001, 1008, 1011, 3000, 4999):
            for reason in REASONS:
                self.assertClosed(self.dial(self.url(f"/close?code={code}&reason={quote(reason)}")), code, reason)
                self.assertEqual(self.application.ends.get(timeout=PATIENCE).code, code)

    def test_vanishing(self) -> None:
        """If either side vanishes, the other one gets 1006."""
        self.proxy()
        conn = self.dial(self.url())
        self.application.conns.get(timeout=PATIENCE)
        conn.close_now()
        self.assertEqual(self.application.ends.get(timeout=PATIENCE).code, 1006)

        conn = self.dial(self.url())
        self.application.conns.get(timeout=PATIENCE).close_now()
        self.application.ends.get(timeout=PATIENCE)
        self.assertClosed(conn, 1006)

    def test_idle(self) -> None:
        """A silent connection is cut after proxy_read_timeout, and both sides get 1006; the server's pings keep one."""
        silent, pinging = Application(ping_interval=None), Application(ping_interval=0.25)
        upstream = self.serve(lambda request: (pinging if request.path == "/pinging" else silent)(request))
        self.proxy({"proxy_read_timeout 60s;": "proxy_read_timeout 3s;"}, upstream)
        kept = self.dial(self.url("/pinging"), ping_interval=None)
        reading = Task(kept.receive, PATIENCE)  # it is reads that answer pings
        self.assertClosed(self.dial(self.url(), ping_interval=None), 1006)
        self.assertEqual(silent.ends.get(timeout=PATIENCE).code, 1006)
        kept.send("hello")
        self.assertEqual(reading.result(), "hello")

    # Restarts

    def test_shutdown(self) -> None:
        """A server that shuts down says 1001 to clients of nginx."""
        self.proxy()
        conns = [self.dial(self.url()) for _ in range(3)]
        for conn in conns:
            self.assertEcho(conn)
        shutdown = Task(self.server.shutdown, PATIENCE)
        for conn in conns:
            self.assertClosed(conn, 1001)
        self.assertEqual(shutdown.result(), 0)

    def test_server_down(self) -> None:
        """While nobody listens, nginx answers 502; once somebody does again, the next handshake goes through."""
        listener = socket.socket()
        self.addCleanup(listener.close)
        listener.bind(("127.0.0.1", 0))  # nobody else can have the port now, and nobody listens on it
        self.proxy(upstream=f"127.0.0.1:{listener.getsockname()[1]}")
        status, body = self.refusal(self.url())
        self.assertEqual(status, 502)
        self.assertIn("Bad Gateway", body)
        listener.listen()
        self.enterContext(running(syncws.Server(self.application, listener=listener)))
        self.assertEcho(self.dial(self.url()))

    def test_reload(self) -> None:
        """A reload of nginx leaves open connections alone, and new ones go to the new worker."""
        self.proxy()
        conn = self.dial(self.url())
        self.assertEcho(conn)
        self.nginx.reload()
        self.assertEcho(conn)
        self.assertEcho(self.dial(self.url()))

    # The rest of the page

    def test_program(self) -> None:
        """The page's program logs who comes, and on SIGTERM tells them 1001 and ends with exit code 0."""
        folder = Path(self.enterContext(tempfile.TemporaryDirectory()))
        address = folder / "app.sock"
        program, log = folder / "app.py", folder / "log"
        program.write_text(replaced(block("python"), {'"127.0.0.1", 8080': f"unix_path={str(address)!r}"}))
        with log.open("w") as output:
            process = subprocess.Popen([sys.executable, str(program)], stderr=output)
        self.addCleanup(process.wait)
        self.addCleanup(process.kill)
        self.assertTrue(await_(lambda: is_listening(address), PATIENCE), log.read_text())

        self.proxy(upstream=f"unix:{address}")
        conn = self.dial(self.url("/chat"))
        self.assertEcho(conn)
        process.terminate()
        self.assertClosed(conn, 1001)
        self.assertEqual(process.wait(PATIENCE), 0)
        lines = log.read_text().splitlines()
        said = [line for line in lines if not line.startswith("INFO syncws.access: ")]
        self.assertEqual(
            said,
            [
                f"INFO syncws.server: listening on the Unix socket {address}",
                "INFO root: /chat comes from 127.0.0.1",
                "INFO syncws.server: SIGTERM: shutting down",
            ],
        )
        (access,) = set(lines) - set(said)
        self.assertIn(" WS /chat 1001 ", access)


@heavy
class PlainTests(NginxCases):
    scheme = "ws"


@heavy
class TLSTests(NginxCases):
    scheme = "wss"


# The module's loader finds tests in every class it sees, and the cases alone have no scheme.
del NginxCases


class PageTests(unittest.TestCase):
    def test_figures(self) -> None:
        """The figures of the page fit the library's defaults and each other."""
        text = PAGE.read_text()
        server = {name: each.default for name, each in inspect.signature(syncws.Server).parameters.items()}
        options = syncws.ConnOptions()
        unit = configparser.ConfigParser()
        unit.read_string(block("ini"))
        service = unit["Service"]
        self.assertGreater(service.getint("TimeoutStopSec"), server["shutdown_timeout"])
        self.assertGreater(service.getint("LimitNOFILE"), server["max_connections"])
        self.assertGreater(service.getint("TasksMax"), server["max_connections"])
        self.assertIn(f"`shutdown_timeout` ({server['shutdown_timeout']:g} s)", text)
        self.assertIn(f"`max_connections` of `Server` ({server['max_connections']:,})", text)
        self.assertIn(f"| syncws `ping_interval` | {options.ping_interval:g} |", text)
        self.assertIn(f"| syncws `ping_timeout` | {options.ping_timeout:g} |", text)
        self.assertIn("proxy_read_timeout 60s;", block("nginx"))
        self.assertIn("| nginx `proxy_read_timeout` | 60 |", text)
