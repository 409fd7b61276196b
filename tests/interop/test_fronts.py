"""HAProxy, Caddy and Apache in front of a server, each with its configuration from docs/proxies.md."""

from __future__ import annotations

import os
import random
import tempfile
import unittest
from pathlib import Path
from typing import Any, ClassVar
from urllib.parse import quote

import syncws
from syncws.testing import LeakChecks, await_, running
from tests.page_configs import DOCS, PLACES, blocks, configuration
from tests.partners import heavy, need

from ..tasks import PATIENCE, Task
from .fronts import NAME, Apache, Caddy, Front, HAProxy
from .test_nginx import Application

try:
    import yaml
except ImportError:
    yaml = None  # type: ignore[assignment]

MEBI = 1 << 20


class FrontCases(LeakChecks):
    """A program in front of a server. Its start takes longest, so each has few tests, of many steps."""

    front: ClassVar[type[Front]]
    #: What to replace so that a silent connection is cut after two seconds; None where none is cut.
    impatient: ClassVar[dict[str, str] | None]

    def setUp(self) -> None:
        super().setUp()
        self.application = Application(subprotocols=["v2.chat", "v1.chat"])
        self.server: syncws.Server

    def serve(self, application: Any = None, **options: Any) -> str:
        """Run a server, and return where it listens."""
        self.server = syncws.Server(application or self.application, port=0, ready_path="/readyz", **options)
        self.enterContext(running(self.server))
        return options.get("unix_path") or f"127.0.0.1:{self.server.port}"

    def start(self, upstream: str, changes: dict[str, str] | None = None) -> None:
        self.running = self.front(upstream, changes)
        self.addCleanup(self.running.close)

    def dial(self, url: str, headers: dict[str, str] | None = None, **options: Any) -> syncws.Conn:
        options = {"read_limit": None, "net_dial": self.running.connect, "ssl_context": self.running.trusted, **options}
        conn = syncws.dial(url, headers, timeout=PATIENCE, proxy=None, **options)
        self.addCleanup(conn.close_now)
        return conn

    def check_echo(self, conn: syncws.Conn, message: str | bytes = "here") -> None:
        conn.send(message, timeout=PATIENCE)
        self.assertTrue(conn.receive(timeout=PATIENCE) == message, f"{len(message)} did not come back")

    def check_closed(self, conn: syncws.Conn, code: int, reason: str | None = None) -> None:
        with self.assertRaises(syncws.CloseError) as caught:
            conn.receive(timeout=PATIENCE)
        self.assertEqual(caught.exception.code, code)
        if reason is not None:
            self.assertEqual(caught.exception.reason, reason)

    def test_connections(self) -> None:
        """Plain and under TLS: subprotocol, compression, a megabyte both ways, close codes, the client's address."""
        self.start(self.serve())
        for scheme, http in (("ws", "http"), ("wss", "https")):
            with self.subTest(scheme):
                self._check_messages(scheme)
                self._check_closes(scheme)
                self._check_headers(scheme, http)

    def _check_messages(self, scheme: str) -> None:
        conn = self.dial(f"{scheme}://{NAME}/", subprotocols=["v1.chat"], enable_compression=True)
        self.assertEqual((conn.subprotocol, conn.compression), ("v1.chat", True))
        for message in ("ünïcödé 🎈", bytes(MEBI), random.Random(1).randbytes(MEBI)):
            self.check_echo(conn, message)
        pongs: list[bytes] = []
        conn.set_pong_handler(pongs.append)
        conn.ping(b"here")
        self.check_echo(conn)
        self.assertEqual(pongs, [b"here"])

    def _check_closes(self, scheme: str) -> None:
        while not self.application.ends.empty():
            self.application.ends.get()
        for code, reason in ((1000, ""), (4321, "good bye")):
            conn = self.dial(f"{scheme}://{NAME}/")
            conn.close(code, reason)
            end = self.application.ends.get(timeout=PATIENCE)
            self.assertEqual((end.code, end.reason), (code, reason))
            self.check_closed(self.dial(f"{scheme}://{NAME}/close?code={code}&reason={quote(reason)}"), code, reason)
            self.application.ends.get(timeout=PATIENCE)
        conn = self.dial(f"{scheme}://{NAME}/")
        conn.close_now()
        self.assertEqual(self.application.ends.get(timeout=PATIENCE).code, 1006)

    def _check_headers(self, scheme: str, http: str) -> None:
        while not self.application.requests.empty():
            self.application.requests.get()
        claimed = {"X-Forwarded-For": "192.0.2.1", "X-Forwarded-Proto": "gopher", "Origin": f"https://{NAME}"}
        self.check_echo(self.dial(f"{scheme}://{NAME}/", claimed))
        request = self.application.requests.get(timeout=PATIENCE)
        self.assertEqual(request.headers.get_all("X-Forwarded-For"), ["127.0.0.1"])
        self.assertEqual(request.headers.get_all("X-Forwarded-Proto"), [http])
        self.assertEqual(request.host, NAME)

    def test_silence(self) -> None:
        """A connection that nobody uses is kept by the server's pings beyond the front's patience; without, 1006."""
        pinging, silent = Application(ping_interval=0.25), Application(ping_interval=None)
        upstream = self.serve(lambda request: (pinging if request.path == "/pinging" else silent)(request))
        self.start(upstream, self.impatient)
        kept = self.dial(f"wss://{NAME}/pinging", ping_interval=None)
        reading = Task(kept.receive, PATIENCE)  # it is reads that answer pings
        lost = self.dial(f"wss://{NAME}/silent", ping_interval=None)
        if self.impatient is None:
            with self.assertRaises(syncws.ReadTimeout):
                lost.receive(timeout=3)
            self.check_echo(lost)
        else:
            self.check_closed(lost, 1006)
            self.assertEqual(silent.ends.get(timeout=PATIENCE).code, 1006)
        kept.send("still here")
        self.assertEqual(reading.result(), "still here")

    def test_unix_socket_and_draining(self) -> None:
        """The server may listen on a Unix socket. While it drains the front's clients are told 1012."""
        folder = Path(self.enterContext(tempfile.TemporaryDirectory(prefix="syncws-")))
        folder.chmod(0o755)
        path = str(folder / "app.sock")
        upstream = self.serve(unix_path=path)
        os.chmod(path, 0o777)  # the front's user is another one
        self.start(upstream)
        conn = self.dial(f"wss://{NAME}/")
        self.check_echo(conn)
        draining = Task(self.server.drain, 0.1, PATIENCE)
        self.check_closed(conn, 1012)
        self.assertEqual(draining.result(), 0)

        def is_refused() -> bool:
            try:
                self.dial(f"wss://{NAME}/")
            except syncws.BadHandshakeError as error:
                return error.status in (502, 503)
            return False

        self.assertTrue(await_(is_refused, PATIENCE))


@heavy
class HAProxyTests(FrontCases):
    front = HAProxy
    impatient: ClassVar[dict[str, str] | None] = {"timeout tunnel 60s": "timeout tunnel 2s"}


@heavy
class CaddyTests(FrontCases):
    front = Caddy
    impatient = None


@heavy
class ApacheTests(FrontCases):
    front = Apache
    impatient: ClassVar[dict[str, str] | None] = {"Timeout 60": "Timeout 2"}


# The module's loader finds tests in every class it sees, and the cases alone have no front.
del FrontCases


class PageTests(unittest.TestCase):
    def test_every_configuration_is_there(self) -> None:
        """Each name leads to a block."""
        for name in PLACES:
            with self.subTest(name):
                self.assertTrue(configuration(name).strip())

    def test_yaml(self) -> None:
        """Every block of YAML can be read; Traefik's says where the server is, and whom to ask."""
        need(yaml is not None, "PyYAML (PyPI) is not installed")
        for page in sorted(DOCS.glob("*.md")):
            for block in blocks(page.name, "yaml"):
                with self.subTest(page.name):
                    self.assertTrue(list(yaml.safe_load_all(block)))
        dynamic = yaml.safe_load(configuration("traefik"))["http"]
        (router,) = dynamic["routers"].values()
        service = dynamic["services"][router["service"]]["loadBalancer"]
        self.assertEqual(service["healthCheck"]["path"], "/readyz")
        self.assertEqual(router["rule"], f"Host(`{NAME}`)")
        static = yaml.safe_load(configuration("traefik-static"))
        self.assertLessEqual(set(router["entryPoints"]), set(static["entryPoints"]))
