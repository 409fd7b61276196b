"""Every set-up of a WSGI server that the tests know: how it is started, spoken to, watched and ended.

`Host(setup)` starts one in a process of its own and waits for its first answer. What the server writes goes into a file
(`complaints` gives what should not be there), the library's own log into another (`log`).
"""

from __future__ import annotations

import atexit
import contextlib
import dataclasses
import importlib.util
import itertools
import os
import random
import re
import resource
import signal
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from email.message import Message
from http.client import HTTPException, HTTPResponse
from json import loads
from pathlib import Path
from typing import Any, ClassVar

from syncws.testing import Peer, await_
from tests import certificates
from tests.handshakes import ACCEPT, KEY, receive_head
from tests.partners import need

ROOT = Path(__file__).resolve().parents[2]
OLD_GUNICORN = Path(__file__).with_name("gunicorn23")

#: Seconds for a server to answer, to end, and for a frame to come: for a machine under load.
PATIENCE = 30.0

#: Where ports for servers are looked for: below those that the system gives to clients.
PORTS = range(18_000, 32_000)

#: A server's lines about requests that it has served, WebSockets and plain ones.
ACCESS = re.compile(r'"GET \S+ HTTP/1\.[01]" (101|200)\b')

#: What colours a line.
COLOUR = re.compile(r"\x1b\[[\d;]*m")


@dataclasses.dataclass(frozen=True)
class Setup:
    """A server, and how it is run.

    Args:
        command: what to run, for the place where it is to listen.
        needs: the package that it takes.
        old: whether it is of the older gunicorn.
        tls: whether it speaks TLS itself.
        detaches: whether connections are detached from their views by default.
        single: whether it serves one request at a time.
        keeps_early: whether frames that come with the handshake can be had.
        upgrades: whether its application has /upgrade; the glue of Django has no such way.
        unix: whether it listens on a Unix socket.
        usual: what else its lines may say while all is well.
    """

    command: Callable[[Place], list[str]]
    needs: str
    old: bool = False
    tls: bool = False
    detaches: bool = True
    single: bool = False
    keeps_early: bool = True
    upgrades: bool = True
    unix: bool = False
    usual: str = r"(?!)"


@dataclasses.dataclass(frozen=True)
class Place:
    """Where a server listens, and its PEM files if it speaks TLS."""

    port: int
    path: str
    certificate: tuple[str, ...]

    @property
    def bind(self) -> str:
        """The address in the form that gunicorn takes."""
        return f"unix:{self.path}" if self.path else f"127.0.0.1:{self.port}"


# The set-ups


def launched(name: str) -> Callable[[Place], list[str]]:
    """A server of `launch`."""
    return lambda place: [sys.executable, "-m", "tests.hosts.launch", name, str(place.port), *place.certificate]


def program(*command: str) -> list[str]:
    """Another program, by `launch` too."""
    return [sys.executable, "-m", "tests.hosts.launch", "exec", *command]


def gunicorn(*arguments: str) -> Callable[[Place], list[str]]:
    """gunicorn with one worker, if the arguments do not say how many."""

    def command(place: Place) -> list[str]:
        tls = ["--certfile", place.certificate[0], "--keyfile", place.certificate[1]] if place.certificate else []
        fixed = ["--bind", place.bind, *tls, *arguments]
        return program(sys.executable, "-m", "gunicorn", *fixed, "tests.hosts.app:app")

    return command


def flask_run(place: Place) -> list[str]:
    """Flask's own command."""
    return program(sys.executable, "-m", "flask", "--app", "tests.hosts.flask_app", "run", "--port", str(place.port))


def runserver(place: Place) -> list[str]:
    """Django's own command."""
    return program(sys.executable, "-m", "tests.hosts.django_app", "runserver", "--noreload", f"127.0.0.1:{place.port}")


def uwsgi(*arguments: str, app: str = "tests.hosts.app:app") -> Callable[[Place], list[str]]:
    """uWSGI, from the wheel pyuwsgi."""

    def command(place: Place) -> list[str]:
        code = "import sys, pyuwsgi; pyuwsgi.run(sys.argv[1:])"
        fixed = ["--module", app, "--pythonpath", str(ROOT), "--disable-logging", "--die-on-term"]
        bound = [each.format(port=place.port) for each in arguments]
        return program(sys.executable, "-c", code, "--master", "--no-orphans", *fixed, *bound)

    return command


def granian(place: Place) -> list[str]:
    """granian, which keeps its sockets out of Python."""
    where = ["--host", "127.0.0.1", "--port", str(place.port)]
    return program(sys.executable, "-m", "granian", "--interface", "wsgi", *where, "tests.hosts.app:app")


#: How rocket3 writes of a request that it has served.
ROCKET3_ACCESS = r'^INFO:Rocket\.Requests:\S+ - "GET \S+ HTTP/1\.[01]" - (101|200) \d+$'

GTHREAD = ("-k", "gthread", "--threads", "4")

GUNICORN_SYNC = Setup(gunicorn("-k", "sync"), "gunicorn", single=True)
GUNICORN_GTHREAD = Setup(gunicorn(*GTHREAD), "gunicorn")
GUNICORN_GTHREAD_UNIX = Setup(gunicorn(*GTHREAD), "gunicorn", unix=True)
GUNICORN_GTHREAD_TLS = Setup(gunicorn(*GTHREAD), "gunicorn", tls=True)
GUNICORN_GEVENT = Setup(gunicorn("-k", "gevent"), "gunicorn gevent packaging")
GUNICORN_GEVENT_TLS = Setup(gunicorn("-k", "gevent"), "gunicorn gevent packaging", tls=True, detaches=False)
GUNICORN_PYWSGI = Setup(gunicorn("-k", "gevent_pywsgi"), "gunicorn gevent packaging")
OLD_GUNICORN_SYNC = Setup(gunicorn("-k", "sync"), "gunicorn", old=True, single=True)
OLD_GUNICORN_GTHREAD = Setup(gunicorn(*GTHREAD), "gunicorn", old=True)
OLD_GUNICORN_GEVENT = Setup(gunicorn("-k", "gevent"), "gunicorn gevent packaging", old=True)
OLD_GUNICORN_EVENTLET = Setup(gunicorn("-k", "eventlet"), "gunicorn eventlet", old=True)
WERKZEUG = Setup(launched("werkzeug"), "werkzeug")
WERKZEUG_SINGLE = Setup(launched("werkzeug-single"), "werkzeug", single=True)
WERKZEUG_TLS = Setup(launched("werkzeug"), "werkzeug", tls=True)
FLASK_RUN = Setup(flask_run, "flask")
RUNSERVER = Setup(runserver, "django", upgrades=False)
#: What uWSGI may say of its processes after it has answered for the first time.
UWSGI_STARTS = r"^spawned uWSGI (worker|http) "

WSGIREF = Setup(launched("wsgiref"), "")
WSGIREF_SINGLE = Setup(launched("wsgiref-single"), "", single=True)
CHEROOT = Setup(launched("cheroot"), "cheroot")
CHEROOT_TLS = Setup(launched("cheroot"), "cheroot", tls=True)
WAITRESS = Setup(launched("waitress"), "waitress")
PYWSGI = Setup(launched("gevent"), "gevent")
PYWSGI_TLS = Setup(launched("gevent"), "gevent", tls=True, detaches=False)
EVENTLET = Setup(launched("eventlet"), "eventlet", usual=r"^\(\d+\) accepted ")
UWSGI = Setup(
    uwsgi("--http-socket", "127.0.0.1:{port}", "--threads", "4"),
    "pyuwsgi",
    keeps_early=False,
    usual=UWSGI_STARTS,
)
ROCKET3 = Setup(launched("rocket3"), "rocket3", usual=ROCKET3_ACCESS)
ROCKET3_TLS = Setup(launched("rocket3"), "rocket3", tls=True, usual=ROCKET3_ACCESS)
OWN = Setup(launched("own"), "")
OWN_TLS = Setup(launched("own"), "", tls=True)

#: With four processes: the tests of those alone.
GUNICORN_WORKERS = Setup(gunicorn("-w", "4", *GTHREAD), "gunicorn")
GUNICORN_GEVENT_WORKERS = Setup(gunicorn("-w", "4", "-k", "gevent"), "gunicorn gevent packaging")
OWN_WORKERS = Setup(launched("own-workers"), "")
GRANIAN = Setup(granian, "granian")
WAITRESS_AHEAD = Setup(launched("waitress-ahead"), "waitress")
UWSGI_ROUTER = Setup(uwsgi("--http", "127.0.0.1:{port}", "--threads", "4"), "pyuwsgi", usual=UWSGI_STARTS)

SUPPORTED = {name: each for name, each in list(globals().items()) if isinstance(each, Setup)}
for _name in (
    *("GRANIAN", "WAITRESS_AHEAD", "UWSGI_ROUTER"),
    *("GUNICORN_WORKERS", "GUNICORN_GEVENT_WORKERS", "OWN_WORKERS"),
):
    del SUPPORTED[_name]


# A server at work


class Host:
    """A server of a set-up that has answered once. Use it as a context manager, or `close` it.

    arguments are added to those of the set-up's command. For one thread.
    """

    def __init__(self, setup: Setup, *arguments: str) -> None:
        for package in setup.needs.split():
            need(importlib.util.find_spec(package) is not None, f"{package} (PyPI) is not installed")
        need(not setup.old or OLD_GUNICORN.is_dir(), "the older gunicorn is not installed: run `make old-gunicorn`")
        if setup.tls:
            certificates.authority()
        self.setup = setup
        self._arguments = arguments
        self._token = f"{random.getrandbits(64):016x}"
        with contextlib.ExitStack() as stack:
            # The system's own place for temporary files may have too long a name for a Unix socket.
            folder = stack.enter_context(tempfile.TemporaryDirectory(prefix="syncws-", dir="/tmp"))
            self.folder = Path(folder)
            (self.folder / "log").touch()
            self._tls = certificates.trusting() if setup.tls else None
            self._start()
            stack.callback(self._end)
            self._closing = stack.pop_all()

    def __enter__(self) -> Host:
        return self

    def __exit__(self, *exc: object) -> None:
        self.close()

    def close(self) -> None:
        """End the server if it is still there, and remove its files. Idempotent."""
        self._closing.close()

    # Starting and ending it

    def _start(self) -> None:
        for attempt in itertools.count(1):
            self.place = Place(
                0 if self.setup.unix else free_port(),
                str(self.folder / "socket") if self.setup.unix else "",
                Certificate.files() if self.setup.tls else (),
            )
            self._process = self._run()
            try:
                if self._has_answered():
                    break
            except BaseException:
                self._end()
                raise
            self._end()
            # Somebody else may have taken the port meanwhile.
            if attempt == 3 or "in use" not in self.output():
                raise AssertionError(f"the server did not start:\n{self.output()}")
        self._seen = len(self._lines())

    def _run(self) -> subprocess.Popen[bytes]:
        paths = [str(OLD_GUNICORN)] if self.setup.old else []
        own = {
            "PYTHONPATH": os.pathsep.join([*paths, *filter(None, [os.environ.get("PYTHONPATH")])]),
            "PYTHONUNBUFFERED": "1",
            "HOME": str(self.folder),  # gunicorn keeps a socket there
            "HOSTS_LOG": str(self.folder / "log"),
            "HOSTS_TOKEN": self._token,
        }
        # What the tests themselves run with is not the server's affair.
        inherited = {key: value for key, value in os.environ.items() if key not in ("PYTHONWARNINGS", "PYTHONDEVMODE")}
        with (self.folder / "output").open("ab") as output:
            return subprocess.Popen(
                [*self.setup.command(self.place), *self._arguments],
                cwd=ROOT,
                env={**inherited, **own},
                stdin=subprocess.DEVNULL,
                stdout=output,
                stderr=output,
                start_new_session=True,
            )

    def _has_answered(self) -> bool:
        deadline = time.monotonic() + PATIENCE
        while self._process.poll() is None and time.monotonic() < deadline:
            try:
                status, headers, _ = self.get("/plain")
            except (OSError, HTTPException):
                time.sleep(0.02)
                continue
            return status == 200 and headers.get("X-Token") == self._token
        return False

    def _end(self) -> None:
        """Ask the server to end, and kill it if it does not."""
        if self._process.poll() is None:
            self._process.terminate()
            with contextlib.suppress(subprocess.TimeoutExpired):
                self._process.wait(5)
        with contextlib.suppress(ProcessLookupError):
            os.killpg(self._process.pid, signal.SIGKILL)
        self._process.wait()

    def signal(self, number: int) -> None:
        """Send a signal to the server's first process."""
        self._process.send_signal(number)

    def wait(self, seconds: float) -> int | None:
        """Wait for its first process to end; the exit code, None if it is still there."""
        try:
            return self._process.wait(seconds)
        except subprocess.TimeoutExpired:
            return None

    @property
    def is_alive(self) -> bool:
        return self._process.poll() is None

    def processes(self) -> list[int]:
        """The processes of the server: the first one, and those that it has started."""
        return [self._process.pid, *_descendants(self._process.pid)]

    # What it writes

    def output(self) -> str:
        """What the server has written, on standard output and on standard error."""
        return (self.folder / "output").read_text("utf-8", "replace")

    def _lines(self) -> list[str]:
        return COLOUR.sub("", self.output()).splitlines()

    def complaints(self) -> list[str]:
        """The server's lines since its start, or since the last call, except those about requests that were served."""
        usual = re.compile(self.setup.usual)
        lines = self._lines()[self._seen :]
        self._seen += len(lines)
        return [line for line in lines if line.strip() and not ACCESS.search(line) and not usual.search(line)]

    def log(self) -> str:
        """What the library has logged inside the server, from DEBUG on."""
        return (self.folder / "log").read_text("utf-8", "replace")

    # Speaking to it

    def connect(self) -> socket.socket:
        """A connection, past the handshake of TLS if it speaks that."""
        sock = socket.socket(socket.AF_UNIX if self.place.path else socket.AF_INET)
        try:
            sock.settimeout(PATIENCE)
            sock.connect(self.place.path or ("127.0.0.1", self.place.port))
            return self._tls.wrap_socket(sock, server_hostname="localhost") if self._tls else sock
        except BaseException:
            sock.close()
            raise

    def get(self, path: str, *headers: str) -> tuple[int, Message, bytes]:
        """(status, headers, body) of a GET on a connection of its own."""
        with self.connect() as sock:
            sock.sendall(request(path, "Connection: close", *headers))
            return receive_response(sock)

    def state(self) -> dict[str, Any]:
        """What /state tells."""
        return dict(loads(self.get("/state")[2]))

    def open(self, path: str, *behind: tuple[int, str | bytes]) -> Peer:
        """A WebSocket; the given frames leave with the handshake, in the same send."""
        peer = Peer(self.connect(), masked=True)
        try:
            peer.socket.settimeout(PATIENCE)
            data = handshake(path) + b"".join(peer.frame(*frame) for frame in behind)
            if peer.socket.send(data) != len(data):
                raise AssertionError("the handshake and its frames did not leave in one piece")
            head = receive_head(peer.socket)
            if not head.startswith(b"HTTP/1.1 101 ") or ACCEPT.encode() not in head:
                raise AssertionError(f"no upgrade: {head!r}")
        except BaseException:
            peer.socket.close()
            raise
        return peer


def request(path: str, *headers: str) -> bytes:
    """The bytes of a GET."""
    return "\r\n".join([f"GET {path} HTTP/1.1", "Host: localhost", *headers, "", ""]).encode()


def handshake(path: str) -> bytes:
    """The bytes of a valid opening handshake."""
    return request(
        path, "Connection: Upgrade", "Upgrade: websocket", "Sec-WebSocket-Version: 13", f"Sec-WebSocket-Key: {KEY}"
    )


def receive_response(sock: socket.socket) -> tuple[int, Message, bytes]:
    """(status, headers, body)"""
    with HTTPResponse(sock, method="GET") as response:
        response.begin()
        return response.status, response.headers, response.read()


def free_port() -> int:
    """A port on which nobody listens."""
    while True:
        port = random.choice(PORTS)
        with socket.socket() as sock:
            sock.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            with contextlib.suppress(OSError):
                sock.bind(("127.0.0.1", port))
                return port


class Certificate:
    """A certificate for localhost, made on first use; its files go with this process."""

    _folder: ClassVar[tempfile.TemporaryDirectory[str] | None] = None

    @classmethod
    def files(cls) -> tuple[str, str]:
        """Paths of the certificate and of its key."""
        if cls._folder is None:
            cls._folder = tempfile.TemporaryDirectory(prefix="syncws-")
            atexit.register(cls._folder.cleanup)
        files = certificates.files(cls._folder.name)
        return files.certificate, files.key


# Looking at processes


def _descendants(parent: int) -> Iterator[int]:
    for each in _children(parent):
        yield each
        yield from _descendants(each)


def _children(parent: int) -> list[int]:
    found: list[int] = []
    with contextlib.suppress(OSError):  # it has ended
        for task in os.listdir(f"/proc/{parent}/task"):
            found += map(int, Path(f"/proc/{parent}/task/{task}/children").read_text().split())
    return found


def cpu_seconds(processes: list[int]) -> float:
    """Seconds of processor time that these processes have used, in all."""
    ticks = 0
    for process in processes:
        with contextlib.suppress(OSError):
            fields = Path(f"/proc/{process}/stat").read_text().rpartition(")")[2].split()
            ticks += int(fields[11]) + int(fields[12])  # user and system
    return ticks / os.sysconf("SC_CLK_TCK")


def is_gone(process: int) -> bool:
    """Whether a process has ended."""
    try:
        return Path(f"/proc/{process}/stat").read_text().rpartition(")")[2].split()[0] == "Z"
    except OSError:
        return True


def wait_gone(process: int, seconds: float) -> bool:
    """Wait for a process to end; returns whether it did."""
    return await_(lambda: is_gone(process), seconds)


def raise_descriptor_limit() -> int:
    """Allow as many open files as the system lets this process have; how many."""
    _, most = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (most, most))
    return most
