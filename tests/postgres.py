"""A real server of PostgreSQL for tests, in a temporary directory, which can be killed and started again.

    with PostgresServer() as server:
        psycopg.connect(server.conninfo)
        server.kill()
        server.start()                      # on the same port

PostgreSQL does not run as root: where this is root, it runs as `postgres`, or as `nobody`.
"""

from __future__ import annotations

import contextlib
import os
import pwd
import shutil
import signal
import socket
import stat
import subprocess
import tempfile
import time
from pathlib import Path
from types import TracebackType
from typing import Self

from tests.partners import need
from tests.tasks import PATIENCE


def program(name: str) -> str | None:
    """The path of one of PostgreSQL's programs; None where it is not installed."""
    if found := shutil.which(name):
        return found
    return next(map(str, sorted(Path("/usr/lib/postgresql").glob(f"*/bin/{name}"), reverse=True)), None)


def need_postgres() -> None:
    """Skip the test where the server or its client is not installed."""
    need(program("postgres") is not None and program("initdb") is not None, "no PostgreSQL: postgres is not installed")
    try:
        import psycopg  # noqa: F401
    except ImportError:
        need(False, "psycopg (PyPI) is not installed")


def _user() -> pwd.struct_passwd | None:
    """Who runs the server; None: who runs the tests."""
    if os.geteuid():
        return None
    try:
        return pwd.getpwnam("postgres")
    except KeyError:
        return pwd.getpwnam("nobody")


def _place(user: pwd.struct_passwd | None) -> str | None:
    """Where its directory may be: another user must come through to it. None: where temporary files are."""
    folder = Path(tempfile.gettempdir()).resolve()
    if user is None or all(each.stat().st_mode & stat.S_IXOTH for each in (folder, *folder.parents)):
        return None
    return "/tmp"


class PostgresServer:
    """A server on a free port of the loopback interface, without durability. Use it as a context manager."""

    _process: subprocess.Popen[bytes] | None = None

    def __enter__(self) -> Self:
        need_postgres()
        self._user = _user()
        self.directory = tempfile.mkdtemp(prefix="syncws-postgres-", dir=_place(self._user))
        try:
            if self._user is not None:
                os.chown(self.directory, self._user.pw_uid, self._user.pw_gid)
            self._run("initdb", "-D", f"{self.directory}/data", "-U", "app", "--auth=trust", "--no-sync", "-E", "UTF8")
            with socket.create_server(("127.0.0.1", 0)) as free:
                self.port = free.getsockname()[1]
            self.conninfo = f"host=127.0.0.1 port={self.port} user=app dbname=postgres"
            self.start()
        except BaseException:
            shutil.rmtree(self.directory, ignore_errors=True)
            raise
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.go_on()
        self.kill()
        shutil.rmtree(self.directory, ignore_errors=True)

    def _identity(self) -> dict[str, object]:
        return {} if self._user is None else {"user": self._user.pw_uid, "group": self._user.pw_gid, "extra_groups": []}

    def _run(self, name: str, *arguments: str) -> None:
        command = [str(program(name)), *arguments]
        done = subprocess.run(
            command, capture_output=True, text=True, timeout=4 * PATIENCE, cwd=self.directory, **self._identity()
        )
        assert done.returncode == 0, done.stderr

    def start(self) -> None:
        """Start it, if it does not run, and wait until it answers."""
        import psycopg

        if self._process is not None and self._process.poll() is None:
            return

        options = ["fsync=off", "listen_addresses=127.0.0.1", "unix_socket_directories=", "max_connections=60"]
        command = [str(program("postgres")), "-D", f"{self.directory}/data", "-p", str(self.port)]
        with open(f"{self.directory}/log", "ab") as log:
            self._process = subprocess.Popen(
                [*command, *(part for option in options for part in ("-c", option))],
                stdout=log,
                stderr=log,
                cwd=self.directory,
                start_new_session=True,
                **self._identity(),
            )
        deadline = time.monotonic() + 2 * PATIENCE
        while True:
            try:
                psycopg.connect(self.conninfo, connect_timeout=2).close()
                return
            except psycopg.OperationalError:
                if self._process.poll() is not None or time.monotonic() > deadline:
                    raise AssertionError(Path(f"{self.directory}/log").read_text()) from None
                time.sleep(0.02)

    def kill(self) -> None:
        """End it at once, as a crash does."""
        if self._process is not None and self._process.poll() is None:
            self._process.send_signal(signal.SIGQUIT)  # its children with it, which a SIGKILL would leave behind
            self._process.wait(PATIENCE)

    def stop(self) -> None:
        """Stop it and the processes of all its connections: it goes on to take connections, and never answers."""
        self._to_all(signal.SIGSTOP)

    def go_on(self) -> None:
        """Go on after `stop`."""
        self._to_all(signal.SIGCONT)

    def _to_all(self, number: signal.Signals) -> None:
        if self._process is not None and self._process.poll() is None:
            listed = subprocess.run(
                ["ps", "-o", "pid=", "--ppid", str(self._process.pid)], capture_output=True, text=True, timeout=PATIENCE
            )
            for pid in [self._process.pid, *map(int, listed.stdout.split())]:
                with contextlib.suppress(ProcessLookupError):
                    os.kill(pid, number)
