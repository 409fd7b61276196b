"""HAProxy, Caddy and Apache in front of a server of ours, with the configurations of docs/proxies.md.

Only addresses and paths are replaced, and what a test asks for. Clients reach them by the name and the ports that the
page has, 80 and 443 of app.example.com: they connect to the ports that the program really has (`Front.connect`).
"""

from __future__ import annotations

import contextlib
import os
import re
import shutil
import socket
import subprocess
import tempfile
from pathlib import Path
from typing import ClassVar

from syncws.testing import await_
from tests import certificates
from tests.page_configs import configuration, replaced
from tests.partners import need

from ..tasks import PATIENCE

NAME = "app.example.com"

_PATH = f"{os.environ.get('PATH', os.defpath)}:/usr/sbin:/usr/local/sbin"


class Front:
    """A program in front of a server, in a folder of its own, until it is closed.

    upstream: where the server listens, ``127.0.0.1:<port>`` or the path of a Unix socket. changes: what else to
    replace in the page's configuration.
    """

    name: ClassVar[str]  # of the configuration
    program: ClassVar[str]

    def __init__(self, upstream: str, changes: dict[str, str] | None = None) -> None:
        program = shutil.which(self.program, path=_PATH)
        need(program is not None, f"{self.program} is not installed")
        self._program = str(program)
        with contextlib.ExitStack() as stack:
            self.folder = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="syncws-")))
            self.folder.chmod(0o755)  # a program that root starts works as another user
            self.trusted = certificates.trusting()
            self.files = certificates.files(self.folder, NAME, "127.0.0.1")
            self.ports = dict(zip((80, 443), _free_ports(2), strict=True))
            (self.folder / "conf").write_text(self.complete(configuration(self.name, changes), upstream))
            self._output = self.folder / "output"
            with self._output.open("wb") as output:
                self._process = subprocess.Popen(
                    self.command(),
                    cwd=self.folder,
                    env={**os.environ, "HOME": str(self.folder), "XDG_DATA_HOME": str(self.folder)},
                    stdin=subprocess.DEVNULL,
                    stdout=output,
                    stderr=output,
                )
            stack.callback(self._end)
            if not await_(lambda: self._listens() or self._process.poll() is not None, PATIENCE) or self._ended():
                raise AssertionError(f"{self.program} does not listen:\n{self.log()}")
            self.close = stack.pop_all().close

    def complete(self, text: str, upstream: str) -> str:
        """The whole configuration: the page's, on the ports of this one, in front of this server."""
        raise NotImplementedError

    def command(self) -> list[str]:
        """How the program is started, so that it stays in the foreground."""
        raise NotImplementedError

    def _listens(self) -> bool:
        for port in self.ports.values():
            with socket.socket() as sock:
                if sock.connect_ex(("127.0.0.1", port)) != 0:
                    return False
        return True

    def _ended(self) -> bool:
        return self._process.poll() is not None

    def _end(self) -> None:
        self._process.terminate()
        try:
            self._process.wait(PATIENCE)
        except subprocess.TimeoutExpired:
            self._process.kill()
            self._process.wait()
            raise

    def log(self) -> str:
        """What the program has written."""
        return "".join(
            file.read_text("utf-8", "replace") for file in (self._output, self.folder / "error.log") if file.exists()
        )

    def connect(self, _host: str, port: int, timeout: float | None) -> socket.socket:
        """Reach what the page calls app.example.com:80 or 443; the net_dial of a Dialer."""
        return socket.create_connection(("127.0.0.1", self.ports[port]), timeout)


class HAProxy(Front):
    name = program = "haproxy"

    def complete(self, text: str, upstream: str) -> str:
        return replaced(
            text,
            {
                "bind :80\n": f"bind 127.0.0.1:{self.ports[80]}\n",
                "bind :443 ": f"bind 127.0.0.1:{self.ports[443]} ",
                "/etc/ssl/private/app.example.com.pem": self.files.both,
                "127.0.0.1:8080": upstream,
            },
        )

    def command(self) -> list[str]:
        return [self._program, "-db", "-f", "conf"]


class Caddy(Front):
    name = program = "caddy"

    def complete(self, text: str, upstream: str) -> str:
        server = f"unix/{upstream}" if upstream.startswith("/") else upstream
        text = replaced(text, {"127.0.0.1:8080": server})
        plain = replaced(text, {f"{NAME} {{": f"http://{NAME}:{self.ports[80]} {{"})
        certificate = f"tls {self.files.certificate} {self.files.key}"
        tls = replaced(text, {f"{NAME} {{": f"https://{NAME}:{self.ports[443]} {{\n\t{certificate}"})
        return f"{{\n\tadmin off\n\tauto_https disable_redirects\n}}\n{plain}{tls}"

    def command(self) -> list[str]:
        return [self._program, "run", "--config", "conf", "--adapter", "caddyfile"]


class Apache(Front):
    name, program = "apache", "apache2"

    #: What stands around the page's part: as little as can be, with nothing of the system's configuration.
    MAIN = """
ServerRoot {folder}
ServerName {name}
PidFile {folder}/pid
ErrorLog {folder}/error.log
Mutex file:{folder} default
{user}
{modules}
Listen 127.0.0.1:{port80}
Listen 127.0.0.1:{port443}
"""

    def complete(self, text: str, upstream: str) -> str:
        if upstream.startswith("/"):
            text = replaced(text, {"http://127.0.0.1:8080/": f"unix:{upstream}|http://{NAME}/"})
        else:
            text = replaced(text, {"127.0.0.1:8080": upstream})
        plain = replaced(text, {"*:80>": f"*:{self.ports[80]}>"})
        tls = replaced(
            text,
            {
                "*:80>": f"*:{self.ports[443]}>",
                "</VirtualHost>": "SSLEngine on\n"
                f"SSLCertificateFile {self.files.certificate}\nSSLCertificateKeyFile {self.files.key}\n</VirtualHost>",
            },
        )
        main = self.MAIN.format(
            folder=self.folder,
            name=NAME,
            port80=self.ports[80],
            port443=self.ports[443],
            user="User www-data\nGroup www-data" if os.geteuid() == 0 else "",
            modules="\n".join(
                f"LoadModule {each}_module /usr/lib/apache2/modules/mod_{each}.so"
                for each in ("mpm_event", "authz_core", "proxy", "proxy_http", "headers", "ssl", "socache_shmcb")
            ),
        )
        return main + plain + tls

    def command(self) -> list[str]:
        return [self._program, "-DFOREGROUND", "-f", str(self.folder / "conf")]


def _free_ports(count: int) -> list[int]:
    with contextlib.ExitStack() as stack:
        socks = [stack.enter_context(socket.create_server(("127.0.0.1", 0))) for _ in range(count)]
        return [sock.getsockname()[1] for sock in socks]


def is_error(line: str) -> bool:
    """Whether a line of a log tells that the configuration is wrong."""
    return re.search(r"\[(emerg|alert|crit)|ALERT|level.:.(error|fatal)", line) is not None
