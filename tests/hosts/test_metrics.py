"""docs/metrics.md, where there are several processes: each worker of gunicorn, and of a Server, tells of itself, and
Prometheus adds them up."""

from __future__ import annotations

import contextlib
import json
import re
import shutil
import socket
import subprocess
import sys
import tempfile
import time
import urllib.parse
import urllib.request
from collections.abc import Callable, Iterator
from pathlib import Path

from syncws import Conn, dial
from syncws.testing import LeakChecks, await_
from tests.partners import heavy
from tests.tasks import PATIENCE
from tests.test_prometheus import samples

PAGE = Path(__file__).resolve().parents[2] / "docs" / "metrics.md"

#: What gunicorn serves.
_APPLICATION = """
import syncws

upgrader = syncws.Upgrader()


def echo(conn):
    for message in conn:
        conn.send(message)


def app(environ, start_response):
    return upgrader.serve(environ, echo)(environ, start_response)
"""

#: What a Server with workers is, beside what is on the page.
_SERVER = """
import sys

upgrader = syncws.Upgrader()


def handler(request):
    conn = upgrader.upgrade(request)
    for message in conn:
        conn.send(message)


server = syncws.Server(handler, "127.0.0.1", int(sys.argv[1]), workers=2)
watch(server)
server.serve_forever()
"""

#: How many connections there are, and how many workers tell of them.
CONNECTIONS, WORKERS = 12, 2


def recipe(*parts: str) -> str:
    """The blocks of the page that have these parts, after the imports that the page has before them."""
    blocks = re.findall(r"```python\n(.*?)```", PAGE.read_text(), re.DOTALL)
    return "\n".join(["import syncws", "import syncws.prometheus", *(_one(blocks, part) for part in parts)])


def _one(blocks: list[str], part: str) -> str:
    (block,) = [block for block in blocks if part in block]
    return block


class WorkersTests(LeakChecks):
    """Two workers, each with a port for its metrics."""

    def setUp(self) -> None:
        super().setUp()
        self.folder = Path(self.enterContext(tempfile.TemporaryDirectory()))
        self.port, *self.ports = _free_ports(1 + 2 * WORKERS)
        #: The page's ports may be taken here.
        self.elsewhere = f"\nserve_metrics.__defaults__ = ({self.ports!r},)\n"

    @heavy
    def test_gunicorn(self) -> None:
        """Each worker of gunicorn tells of its own connections, and a real Prometheus, if there is one, of all."""
        (self.folder / "hosted.py").write_text(_APPLICATION)
        conf = self.folder / "gunicorn.conf.py"
        conf.write_text(recipe("def serve_metrics", "def post_worker_init") + self.elsewhere)
        command = ["-m", "gunicorn", "-c", str(conf), "-w", str(WORKERS), "-k", "gthread", "--threads", "4"]
        with self.running(*command, "-b", f"127.0.0.1:{self.port}", "--chdir", str(self.folder), "hosted:app"):
            self.check("wsgi", with_prometheus=shutil.which("prometheus") is not None)

    @heavy
    def test_server(self) -> None:
        """So does each worker of a Server."""
        program = recipe("def serve_metrics", "def watch") + self.elsewhere + _SERVER
        with self.running("-c", program, str(self.port)):
            self.check("chat", with_prometheus=False)

    def check(self, server: str, *, with_prometheus: bool) -> None:
        """The workers together tell what the clients know."""
        self.assertTrue(await_(lambda: len(self.told()) == WORKERS, PATIENCE), "a worker does not tell")
        with contextlib.ExitStack() as conns:
            for number in range(CONNECTIONS):
                conn: Conn = conns.enter_context(dial(f"ws://127.0.0.1:{self.port}/"))
                for _ in range(number):
                    conn.send("x")
                    conn.receive(timeout=PATIENCE)
            messages = sum(range(CONNECTIONS))
            for name, expected in (
                ("syncws_connections_open", CONNECTIONS),
                ("syncws_connections_opened_total", CONNECTIONS),
                ("syncws_messages_received_total", messages),
                ("syncws_messages_sent_total", messages),
            ):
                self.assert_becomes(expected, lambda name=name: sum(self.of(name, server)))
            if with_prometheus:
                self.check_prometheus(server, messages)

    def check_prometheus(self, server: str, messages: int) -> None:
        """A real Prometheus scrapes all workers, and adds them up."""
        (port,) = _free_ports(1)
        config = self.folder / "prometheus.yml"
        targets = [f"127.0.0.1:{each}" for each in self.told()]
        config.write_text(
            "global: {scrape_interval: 1s}\n"
            f"scrape_configs: [{{job_name: chat, static_configs: [{{targets: {json.dumps(targets)}}}]}}]\n"
        )
        command = ["prometheus", f"--config.file={config}", f"--storage.tsdb.path={self.folder / 'data'}"]
        with _process([*command, f"--web.listen-address=127.0.0.1:{port}"], self.folder / "prometheus.log"):
            for name, expected in (
                ("syncws_connections_open", CONNECTIONS),
                ("syncws_messages_received_total", messages),
                ("up", WORKERS),
            ):
                of = f'{{server="{server}"}}' if name != "up" else ""
                query = urllib.parse.quote(f"sum without (instance) ({name}{of})")
                url = f"http://127.0.0.1:{port}/api/v1/query?query={query}"
                self.assert_becomes([expected], lambda url=url: _values(_get(url)))

    def assert_becomes(self, expected: object, ask: Callable[[], object]) -> None:
        """Sooner or later that is the answer."""
        self.assertTrue(await_(lambda: ask() == expected, PATIENCE), (ask(), expected))

    def told(self) -> dict[int, bytes]:
        """What each port tells that is somebody's."""
        found = {port: _get(f"http://127.0.0.1:{port}/metrics") for port in self.ports}
        return {port: text for port, text in found.items() if text}

    def of(self, name: str, server: str) -> list[float]:
        """One number of each worker."""
        return [samples(text)[name, (("server", server),)] for text in self.told().values()]

    @contextlib.contextmanager
    def running(self, *arguments: str) -> Iterator[None]:
        with _process([sys.executable, *arguments], self.folder / "log"):
            yield


def _free_ports(count: int) -> list[int]:
    """Ports that nobody has just now."""
    with contextlib.ExitStack() as held:
        return [held.enter_context(socket.create_server(("127.0.0.1", 0))).getsockname()[1] for _ in range(count)]


def _get(url: str) -> bytes:
    """The body of an answer; nothing where nobody listens yet."""
    try:
        with urllib.request.urlopen(url, timeout=PATIENCE) as answer:
            return bytes(answer.read())
    except OSError:
        time.sleep(0.05)
        return b""


def _values(answer: bytes) -> list[float]:
    """The values of an answer of Prometheus."""
    return [float(each["value"][1]) for each in json.loads(answer)["data"]["result"]] if answer else []


@contextlib.contextmanager
def _process(command: list[str], log: Path) -> Iterator[None]:
    """A process for the length of the block; what it said is shown if the block fails."""
    with log.open("w") as output, subprocess.Popen(command, stdout=output, stderr=subprocess.STDOUT) as process:
        try:
            yield
        except BaseException:
            print(log.read_text()[-3000:], file=sys.stderr)
            raise
        finally:
            process.terminate()
