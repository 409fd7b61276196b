"""What tests of the doctor need: programs in front of an application, and what the command finds."""

from __future__ import annotations

import contextlib
import json
import logging
import os
import shutil
import socket
import subprocess
import sys
import tempfile
from http.client import HTTPConnection
from pathlib import Path
from typing import Any

import syncws
from syncws.testing import await_, running
from tests.partners import need
from tests.tasks import PATIENCE

from ..support import CLICase

#: The host that deployments are asked for; clients connect to the loopback address.
NAME = "app.example.com"

#: nginx's lines that a WebSocket needs, by what they are for.
NGINX = {
    "version": "proxy_http_version 1.1;",
    "upgrade": 'proxy_set_header Upgrade $http_upgrade; proxy_set_header Connection "upgrade";',
    "host": "proxy_set_header Host $host;",
    "client": "proxy_set_header X-Forwarded-For $remote_addr; proxy_set_header X-Forwarded-Proto $scheme;",
}

_MAIN = """
{user}
daemon off;
worker_processes 1;
pid {folder}/nginx.pid;
error_log {folder}/error.log notice;
events {{ worker_connections {connections}; }}
http {{
    access_log off;
    client_body_temp_path {folder}/body;
    proxy_temp_path {folder}/proxy;
    fastcgi_temp_path {folder}/fastcgi;
    uwsgi_temp_path {folder}/uwsgi;
    scgi_temp_path {folder}/scgi;
    server {{
        listen 127.0.0.1:{port} {tls};
        {outside}
        location / {{
            {inside}
        }}
    }}
}}
"""


class Program:
    """A program that listens on `port`, in a folder of its own; it is killed at the end."""

    def __init__(self, name: str, folder: str, port: int, *arguments: str, environment: dict[str, str] | None = None):
        program = shutil.which(name, path=f"{os.environ.get('PATH', os.defpath)}:/usr/sbin:/usr/local/sbin")
        need(program is not None, f"{name} is not installed")
        self.port = port
        self._output = Path(folder, "output")
        with self._output.open("wb") as output:
            self._process = subprocess.Popen(
                [str(program), *arguments],
                cwd=folder,
                env={**os.environ, **(environment or {})},
                stdin=subprocess.DEVNULL,
                stdout=output,
                stderr=output,
                start_new_session=True,
            )
        if not await_(lambda: self.listens() or self._process.poll() is not None, PATIENCE) or self._process.poll():
            self.close()
            raise AssertionError(f"{name} does not listen: {self._output.read_text('utf-8', 'replace')}")

    def listens(self) -> bool:
        """Whether its port takes connections."""
        with socket.socket() as sock:
            return sock.connect_ex(("127.0.0.1", self.port)) == 0

    def close(self) -> None:
        """Kill it, and what it has started."""
        with contextlib.suppress(ProcessLookupError, PermissionError):
            os.killpg(self._process.pid, 9)
        self._process.wait(PATIENCE)


def free_port() -> int:
    """A port that nobody listens on."""
    with socket.create_server(("127.0.0.1", 0)) as sock:
        return int(sock.getsockname()[1])


class DoctorCase(CLICase):
    """Runs the command on deployments, and looks at its findings."""

    def setUp(self) -> None:
        super().setUp()
        quiet = logging.NullHandler()  # what is refused is meant to be
        logging.getLogger("syncws").addHandler(quiet)
        self.addCleanup(logging.getLogger("syncws").removeHandler, quiet)
        self.folder = self.enterContext(tempfile.TemporaryDirectory(prefix="syncws-"))

    # What is looked at

    def application(self, **options: Any) -> int:
        """An echo with these options of its Upgrader, and a health check; its port."""
        upgrader = syncws.Upgrader(**options)

        def echo(request: syncws.Request) -> syncws.Response | None:
            if request.path == "/health":
                return syncws.Response("ok\n")
            with upgrader.upgrade(request) as conn:
                self.talk(conn)
            return None

        return self.serving(echo)

    def serving(self, handler: Any) -> int:
        """A server with this handler; its port."""
        return self.enterContext(running(syncws.Server(handler, "127.0.0.1", 0))).port

    def talk(self, conn: syncws.Conn) -> None:
        """What the application does with a connection."""
        for message in conn:
            conn.send(message)

    def nginx(
        self,
        app: int,
        *,
        without: tuple[str, ...] = (),
        lines: str = "",
        target: str = "",
        outside: str = "",
        tls: str = "",
        connections: int = 64,
    ) -> str:
        """nginx in front of a port, without some of `NGINX`, and with other lines; where it listens."""
        inside = [line for name, line in NGINX.items() if name not in without]
        port = free_port()
        Path(self.folder, "nginx.conf").write_text(
            _MAIN.format(
                user="user root;" if os.geteuid() == 0 else "",
                folder=self.folder,
                port=port,
                connections=connections,
                outside=outside,
                tls=tls,
                inside="\n".join([f"proxy_pass http://127.0.0.1:{app}{target};", *inside, lines]),
            )
        )
        arguments = ("-p", self.folder, "-c", f"{self.folder}/nginx.conf", "-e", f"{self.folder}/error.log")
        return self.program("nginx", port, *arguments)

    def haproxy(self, configuration: str, port: int) -> str:
        """HAProxy with a configuration that listens on that port; where it listens."""
        Path(self.folder, "haproxy.cfg").write_text(configuration)
        return self.program("haproxy", port, "-f", f"{self.folder}/haproxy.cfg")

    def caddy(self, configuration: str, port: int) -> str:
        """Caddy likewise. It writes into its folder only."""
        options = "{\n\tadmin off\n\tauto_https off\n}\n"
        Path(self.folder, "Caddyfile").write_text(f"{options}{configuration}")
        arguments = ("run", "--config", f"{self.folder}/Caddyfile", "--adapter", "caddyfile")
        home = {"HOME": self.folder, "XDG_DATA_HOME": self.folder, "XDG_CONFIG_HOME": self.folder}
        return self.program("caddy", port, *arguments, environment=home)

    def apache(self, configuration: str, port: int) -> str:
        """Apache likewise, with as little as can be around the configuration."""
        modules = "/usr/lib/apache2/modules"
        names = ("mpm_event", "authz_core", "proxy", "proxy_http", "proxy_wstunnel", "headers")
        loaded = "\n".join(f"LoadModule {name}_module {modules}/mod_{name}.so" for name in names)
        Path(self.folder, "apache.conf").write_text(
            f"{loaded}\nServerRoot {self.folder}\nServerName localhost\nPidFile {self.folder}/apache.pid\n"
            f"ErrorLog {self.folder}/error.log\nListen 127.0.0.1:{port}\n{configuration}\n"
        )
        return self.program("apache2", port, "-X", "-f", f"{self.folder}/apache.conf")

    def gunicorn(self, app: str, *arguments: str) -> str:
        """gunicorn with an application, a text that becomes app.py; where it listens."""
        port = free_port()
        Path(self.folder, "app.py").write_text(app)
        path = {"PYTHONPATH": os.pathsep.join([os.getcwd(), os.environ.get("PYTHONPATH", "")])}
        start = ("-m", "gunicorn", "--bind", f"127.0.0.1:{port}", *arguments, "app:app")
        place = self.program(sys.executable, port, *start, environment=path)
        client = HTTPConnection(place, timeout=PATIENCE)  # it listens before its workers are there
        client.request("GET", "/")
        client.getresponse().read()
        client.close()
        return place

    def program(self, name: str, port: int, *arguments: str, environment: dict[str, str] | None = None) -> str:
        """A program that is closed after the test; where it listens."""
        program = Program(name, self.folder, port, *arguments, environment=environment)
        self.addCleanup(program.close)
        return f"127.0.0.1:{port}"

    # What is found

    def look(self, subject: str, *arguments: str) -> list[dict[str, Any]]:
        """The findings of the command about a deployment, which nobody waits long for."""
        given = ("--patience", "10", "--timeout", "10", "--connections", "4", "--no-proxy", *arguments)
        if "--idle" not in arguments and "--quick" not in arguments:
            given = ("--quick", *given)
        status, out, err = self.run_main("doctor", subject, "--json", "-H", f"Host: {NAME}", *given)
        self.assertEqual(err, "")
        told = json.loads(out)
        self.assertEqual(status, 1 if told["faults"] else 0)
        self.front = told["front"]
        findings: list[dict[str, Any]] = told["findings"]
        return findings

    def assert_found(
        self, findings: list[dict[str, Any]], check: str, says: str, program: str, line: str, severity: str = "fault"
    ) -> None:
        """One finding of the check says so, and has the line that mends it, of that program."""
        found = [each for each in findings if each["check"] == check and each["severity"] == severity]
        self.assertTrue(found, f"no {severity} of {check} in {findings}")
        for each in found:
            if says in f"{each['title']} {each['seen']}" and line in each["mending"].get(program, ""):
                return
        self.fail(f"{says!r} with {line!r} is not in {found}")

    def assert_well(self, findings: list[dict[str, Any]], *notes: str) -> None:
        """Nothing worse than a note was found, and no note except these."""
        bad = [each for each in findings if each["severity"] in ("warning", "fault")]
        self.assertEqual(bad, [])
        self.assertEqual({each["check"] for each in findings if each["severity"] == "note"} - set(notes), set())
