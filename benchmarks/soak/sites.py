"""The sites that are soaked: servers as they are deployed, in processes of their own, which can be ended and replaced.

A `Site` has an address that stays, however often what stands behind it is replaced: the socket is this program's, and
each server process inherits it.
"""

from __future__ import annotations

import contextlib
import dataclasses
import json
import os
import shutil
import signal
import socket
import ssl
import subprocess
import sys
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import psutil

from ..processes import environment
from .ledger import PATIENCE
from .node import Settings
from .store import Store

#: Bytes of the send buffers of servers, so that a client that stops reading is noticed by the queue behind them.
SEND_BUFFER = 32 << 10


class SiteError(Exception):
    """A site does not start, or does not end."""


@dataclasses.dataclass
class Place:
    """Where a run keeps its files, and how its servers are.

    Attributes:
        folder: of files.
        journal: the pipe for what servers say.
        takeover: they compress with a context that is kept.
        planted: a fault to be found.
        ready: the process ids of servers that have said that they accept connections.
        alive: those that have said something.
    """

    folder: Path
    journal: str
    takeover: bool = False
    planted: str = ""
    ready: set[int] = dataclasses.field(default_factory=set)
    alive: set[int] = dataclasses.field(default_factory=set)


class Site:
    """A server behind an address. One thread starts, replaces and ends it.

    hosted: it is inside of a server that is not ours.

    Attributes:
        name: its name.
        rooms: what clients may be in.
        urls: where clients connect.
        context: for TLS, of clients.
    """

    hosted = False

    def __init__(self, kind: str, place: Place) -> None:
        self.name = kind
        self.place = place
        self.rooms: list[str] = ["a"]
        self.context: ssl.SSLContext | None = None
        self.processes: list[subprocess.Popen[bytes]] = []
        self.errors: list[Path] = []
        self.listener = listen()
        self.port: int = self.listener.getsockname()[1]
        self.scheme = "ws"

    @property
    def urls(self) -> list[str]:
        return [f"{self.scheme}://127.0.0.1:{self.port}/"]

    def by_bus(self, room: str) -> bool:
        """Whether a room's messages go by way of the bus, even to members of the same process."""
        return False

    @property
    def steady(self) -> int | None:
        """The process that stays from the beginning to the end, so that its memory can be compared; None: none does."""
        return None

    def settings(self, **more: Any) -> Settings:
        return Settings(
            self.name,
            self.place.journal,
            str(self.place.folder / f"{self.name}.log"),
            self.listener.fileno(),
            takeover=self.place.takeover,
            planted=self.place.planted,
            **more,
        )

    def bus(self) -> str:
        """The directory of a local bus of this site."""
        path = self.place.folder / f"{self.name}.bus"
        path.mkdir(mode=0o700, exist_ok=True)
        return str(path)

    def command(self) -> list[str]:
        return [sys.executable, "-m", "benchmarks.soak.node"]

    def start(self) -> None:
        """Start it; it serves a moment later."""
        self.processes.append(self.launch(self.command(), self.settings(), self.listener))

    def launch(self, command: list[str], settings: Settings, listener: socket.socket) -> subprocess.Popen[bytes]:
        path = self.place.folder / f"{self.name}.{len(self.errors)}.stderr"
        self.errors.append(path)
        variables = {"SOAK_NODE": json.dumps(dataclasses.asdict(settings))}
        with path.open("wb") as errors:
            return subprocess.Popen(
                command,
                stdin=subprocess.DEVNULL,
                stdout=errors,
                stderr=errors,
                env=environment() | variables,
                pass_fds=[listener.fileno()],
                cwd=self.place.folder,
            )

    def serving(self) -> list[psutil.Process]:
        """The processes that have connections."""
        found = []
        for process in self.processes:
            with contextlib.suppress(psutil.Error):
                found += self._serving(psutil.Process(process.pid))
        return found

    def _serving(self, process: psutil.Process) -> list[psutil.Process]:
        return [process]

    def wait_until_answers(self) -> None:
        """Wait until a request is answered. Raises SiteError."""
        until = time.monotonic() + PATIENCE
        while True:
            with contextlib.suppress(OSError):
                if self._asks():
                    return
            if any(process.poll() is not None for process in self.processes):
                raise SiteError(f"{self.name} has ended at its start: {self.last_words()}")
            if time.monotonic() > until:
                raise SiteError(f"{self.name} does not answer: {self.last_words()}")
            time.sleep(0.1)

    def _asks(self) -> bool:
        with socket.create_connection(("127.0.0.1", self.port), 5) as plain:
            sock: socket.socket = plain
            if self.context is not None:
                sock = self.context.wrap_socket(plain, server_hostname="localhost")
            sock.sendall(b"GET /ready HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n")
            return sock.recv(100).startswith(b"HTTP/1.1")

    def last_words(self) -> str:
        """The last line that a process has written to its standard error."""
        words = [path.read_text(errors="replace").strip() for path in self.errors if path.exists()]
        lines = [line for each in words for line in each.splitlines()]
        return lines[-1] if lines else "without a word"

    def deploy(self) -> None:
        """Have new processes take the place of those that serve: no connection is refused. Raises SiteError."""
        old = list(self.processes)
        self.start()
        self.wait_until_ready(self.processes[-1])
        for process in old:
            process.send_signal(signal.SIGTERM)
        for process in old:
            self.reap(process)

    def wait_until_ready(self, process: subprocess.Popen[bytes]) -> None:
        """Wait until a process says that it accepts: a request may be answered by an older one. Raises SiteError."""
        until = time.monotonic() + PATIENCE
        while process.pid not in self.place.ready:
            if process.poll() is not None or time.monotonic() > until:
                raise SiteError(f"{self.name}: process {process.pid} is not ready: {self.last_words()}")
            time.sleep(0.05)
        self.place.ready.discard(process.pid)

    def reap(self, process: subprocess.Popen[bytes]) -> None:
        """Wait for a process that was told to end. Raises SiteError."""
        try:
            status = process.wait(PATIENCE)
        except subprocess.TimeoutExpired:
            process.kill()
            raise SiteError(f"{self.name}: process {process.pid} does not end after SIGTERM") from None
        finally:
            self.processes.remove(process)
        if status not in (0, -signal.SIGTERM):
            raise SiteError(f"{self.name}: process {process.pid} ended with {status}: {self.last_words()}")

    def end(self) -> None:
        """End it, whatever it does."""
        for process in self.processes:
            with contextlib.suppress(psutil.Error, ProcessLookupError):
                for each in [*psutil.Process(process.pid).children(recursive=True), process]:
                    with contextlib.suppress(psutil.Error, ProcessLookupError):
                        each.kill()
            process.wait()
        self.processes.clear()
        self.listener.close()


class Plain(Site):
    """One process, which stays."""

    @property
    def steady(self) -> int | None:
        return self.processes[0].pid


class TLS(Site):
    """One process with TLS, which another takes the place of at each deploy; a local bus joins the two meanwhile."""

    def __init__(self, kind: str, place: Place) -> None:
        super().__init__(kind, place)
        import trustme

        authority = trustme.CA()
        certificate = authority.issue_cert("localhost", "127.0.0.1")
        self._key, self._certificate = place.folder / "key.pem", place.folder / "certificate.pem"
        certificate.private_key_pem.write_to_path(str(self._key))
        self._certificate.write_bytes(b"".join(each.bytes() for each in certificate.cert_chain_pems))
        self.context = ssl.create_default_context()
        authority.configure_trust(self.context)
        self.scheme = "wss"

    def settings(self, **more: Any) -> Settings:
        # While one process takes the place of another both have members.
        more = {"url": self.bus(), "certificate": str(self._certificate), "key": str(self._key), **more}
        return super().settings(**more)


class Workers(Site):
    """A parent with two workers, which are joined by themselves."""

    def _serving(self, process: psutil.Process) -> list[psutil.Process]:
        return list(process.children())

    def deploy(self) -> None:
        """The new parent starts when the old one is gone, as their workers are not joined; who comes then waits."""
        for process in list(self.processes):
            process.send_signal(signal.SIGTERM)
            self.reap(process)
        self.start()
        self.wait_until_ready(self.processes[-1])


class Gunicorn(Workers):
    """Inside gunicorn, two workers, joined by a local bus."""

    hosted = True

    def settings(self, **more: Any) -> Settings:
        return super().settings(url=self.bus(), **more)

    def command(self) -> list[str]:
        own = ["--threads", "4"] if self.name == "gthread" else []
        return [
            *(sys.executable, "-m", "gunicorn", "--bind", f"fd://{self.listener.fileno()}", "--workers", "2"),
            *("-k", self.name, *own, "--timeout", "60", "--graceful-timeout", "5", "--chdir", str(self.place.folder)),
            *("--worker-tmp-dir", "/dev/shm" if os.path.isdir("/dev/shm") else str(self.place.folder)),
            "benchmarks.soak.hosted:application",
        ]

    def deploy(self) -> None:
        for process in self.processes:
            process.send_signal(signal.SIGHUP)


class Cluster(Site):
    """Two nodes on Redis, which a sentinel watches, with nginx in front."""

    def __init__(self, kind: str, place: Place) -> None:
        super().__init__(kind, place)
        self.rooms = ["a", "kept"]
        self.store = Store(place.folder)
        self.second = listen()
        self._nginx: subprocess.Popen[bytes] | None = None
        self._front = free_port()

    @property
    def urls(self) -> list[str]:
        return [f"ws://127.0.0.1:{self._front}/"]

    def by_bus(self, room: str) -> bool:
        return room.startswith("kept")

    @property
    def steady(self) -> int | None:
        return self.processes[0].pid

    def settings(self, **more: Any) -> Settings:
        return super().settings(url=self.store.url, **more)

    def start(self) -> None:
        self.store.start()
        self._start_nginx()
        super().start()
        self.start_second()

    def start_second(self) -> None:
        """The node that is replaced by deploys."""
        settings = dataclasses.replace(self.settings(), listener=self.second.fileno())
        self.processes.append(self.launch(self.command(), settings, self.second))

    def deploy(self) -> None:
        old = self.processes[1:]
        self.start_second()
        self.wait_until_ready(self.processes[-1])
        for process in old:
            process.send_signal(signal.SIGTERM)
        for process in old:
            self.reap(process)

    def _start_nginx(self) -> None:
        program = shutil.which("nginx") or "/usr/sbin/nginx"
        if not os.path.exists(program):
            raise SiteError("nginx is not installed, which stands in front of the two nodes")
        path = self.place.folder / "nginx.conf"
        ports = (self.port, self.second.getsockname()[1])
        path.write_text(NGINX.format(folder=self.place.folder, port=self._front, first=ports[0], second=ports[1]))
        with (self.place.folder / "nginx.stderr").open("wb") as errors:
            self._nginx = subprocess.Popen(
                [program, "-p", str(self.place.folder), "-c", str(path), "-e", str(self.place.folder / "nginx.error")],
                stdin=subprocess.DEVNULL,
                stdout=errors,
                stderr=errors,
            )

    def _asks(self) -> bool:
        for port in (self.port, self.second.getsockname()[1], self._front):
            with socket.create_connection(("127.0.0.1", port), 5) as sock:
                sock.sendall(b"GET /ready HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n")
                if not sock.recv(100).startswith(b"HTTP/1.1"):
                    return False
        return True

    def end(self) -> None:
        super().end()
        self.second.close()
        if self._nginx is not None:
            self._nginx.terminate()
            self._nginx.wait()
        self.store.end()


#: nginx as docs/deployment.md has it, in one process that stays in the foreground.
NGINX = """
daemon off;
pid {folder}/nginx.pid;
worker_processes 1;
events {{ worker_connections 1000; }}
http {{
    access_log off;
    client_body_temp_path {folder}/nginx.body;
    proxy_temp_path {folder}/nginx.proxy;
    fastcgi_temp_path {folder}/nginx.fastcgi;
    uwsgi_temp_path {folder}/nginx.uwsgi;
    scgi_temp_path {folder}/nginx.scgi;
    map $http_upgrade $connection_upgrade {{ default upgrade; "" close; }}
    upstream nodes {{
        server 127.0.0.1:{first} max_fails=1 fail_timeout=2s;
        server 127.0.0.1:{second} max_fails=1 fail_timeout=2s;
    }}
    server {{
        listen 127.0.0.1:{port};
        location / {{
            proxy_pass http://nodes;
            proxy_http_version 1.1;
            proxy_set_header Upgrade $http_upgrade;
            proxy_set_header Connection $connection_upgrade;
            proxy_set_header Host $host;
            proxy_connect_timeout 2s;
            proxy_read_timeout 60s;
        }}
    }}
}}
"""

#: The sites, by name.
SITES: dict[str, type[Site]] = {
    "plain": Plain,
    "tls": TLS,
    "workers": Workers,
    "gthread": Gunicorn,
    "gevent": Gunicorn,
    "redis": Cluster,
}


def listen() -> socket.socket:
    """A socket of the loopback interface that listens, on a port of its own."""
    listener = socket.socket()
    listener.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, SEND_BUFFER)
    listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    listener.bind(("127.0.0.1", 0))
    listener.listen(512)
    return listener


def free_port() -> int:
    """A port that is free now."""
    with socket.create_server(("127.0.0.1", 0)) as sock:
        return int(sock.getsockname()[1])


def lacks(names: Sequence[str]) -> str:
    """What is missing here for these sites, in one line; "" if nothing is."""
    for name, package in (("tls", "trustme"), ("gthread", "gunicorn"), ("gevent", "gevent"), ("redis", "redis")):
        if name in names:
            try:
                __import__(package)
            except ImportError:
                return f"{package} (PyPI) is not installed, which {name} needs: pip install -e '.[bench,test]'"
    if "redis" in names and shutil.which("redis-server") is None:
        return "redis-server is not installed, which redis needs"
    return ""
