"""A new process takes over from an old one that drains, as docs/restart.md says; what the pages have for that."""

from __future__ import annotations

import configparser
import inspect
import os
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import threading
import unittest
from collections import Counter
from pathlib import Path

import syncws
from syncws.testing import LeakChecks, await_
from tests.page_configs import configuration
from tests.partners import heavy, need
from tests.tasks import PATIENCE, Task

try:
    import yaml
except ImportError:
    yaml = None  # type: ignore[assignment]

ROOT = Path(__file__).resolve().parents[2]

#: How many WebSockets are open, and how many clients connect all the time.
OPEN, CALLERS = 40, 4

APPLICATION = """
import os
from syncws.wsgi import websocket

@websocket
def echo(conn):
    conn.send(str(os.getpid()))
    for message in conn:
        conn.send(message)

def app(environ, start_response):
    return echo(environ, start_response)
"""


class Started:
    """A process of `syncws serve` on a listener that is passed, which says when it serves."""

    def __init__(self, listener: socket.socket, *options: str) -> None:
        number = listener.fileno()
        self.process = subprocess.Popen(
            [sys.executable, "-m", "syncws", "serve", "app:app", "--fd", str(number), "--no-access-log", *options],
            cwd=os.environ["SYNCWS_TEST_FOLDER"],
            env={**os.environ, "PYTHONPATH": str(ROOT)},
            pass_fds=[number],
            stdout=subprocess.DEVNULL,
            stderr=subprocess.PIPE,
            text=True,
        )
        assert self.process.stderr is not None
        self.log: list[str] = []
        for line in self.process.stderr:
            self.log.append(line)
            if "listening on" in line:
                break
        else:
            raise AssertionError("".join(self.log))
        self._reading = Task(self.log.extend, self.process.stderr)

    def drain(self) -> None:
        self.process.send_signal(signal.SIGTERM)

    def end(self) -> int:
        code = self.process.wait(PATIENCE)
        self._reading.result()
        assert self.process.stderr is not None
        self.process.stderr.close()
        return code


class Comer:
    """A WebSocket that is open and comes back; how each of its connections ended, and who served it."""

    def __init__(self, url: str) -> None:
        self.ends: list[int] = []
        self.served: list[str] = []
        self._connections = syncws.reconnect(url, min_delay=0.01, max_delay=0.05, proxy=None)
        self.task = Task(self._run)

    def _run(self) -> None:
        for conn in self._connections:
            try:
                self.served.append(conn.receive(text=True))
                while True:
                    conn.receive()
            except syncws.CloseError as end:
                self.ends.append(end.code)

    def stop(self) -> None:
        self._connections.stop()
        self.task.result()


class Caller:
    """Connects, says something, and closes, again and again; what came of each."""

    def __init__(self, url: str, stopped: threading.Event) -> None:
        self.outcomes: Counter[str] = Counter()
        self.task = Task(self._run, url, stopped)

    def _run(self, url: str, stopped: threading.Event) -> None:
        while not stopped.is_set():
            try:
                with syncws.dial(url, timeout=PATIENCE, proxy=None) as conn:
                    conn.receive()
                    conn.send("here")
                    self.outcomes["served" if conn.receive() == "here" else "wrong"] += 1
            except syncws.CloseError as end:  # it was told to go while it spoke, which is no loss
                self.outcomes[f"told {int(end.code)}"] += 1
            except Exception as error:
                self.outcomes[repr(error)] += 1


@heavy
class RestartTests(LeakChecks):
    def test_nothing_is_lost(self) -> None:
        """Twice a new process takes the listener over under constant new connections: none is refused, no handshake is
        lost, each open WebSocket is told 1012 once and comes back to the new process."""
        folder = Path(self.enterContext(tempfile.TemporaryDirectory(prefix="syncws-")))
        (folder / "app.py").write_text(APPLICATION)
        os.environ["SYNCWS_TEST_FOLDER"] = str(folder)
        self.addCleanup(os.environ.pop, "SYNCWS_TEST_FOLDER")
        listener = self.enterContext(socket.create_server(("127.0.0.1", 0), backlog=2048))
        url = f"ws://127.0.0.1:{listener.getsockname()[1]}/"
        serving = self.start(listener)
        served = [str(serving.process.pid)]
        comers = [Comer(url) for _ in range(OPEN)]
        stopped = threading.Event()
        callers = [Caller(url, stopped) for _ in range(CALLERS)]
        for restarts in (1, 2):
            self.check_served(comers, restarts)
            after = self.start(listener)
            serving.drain()
            self.assertEqual(serving.end(), 0, serving.log)
            serving = after
            served.append(str(serving.process.pid))
        self.check_served(comers, 3)
        stopped.set()
        for caller in callers:
            caller.task.result()
        outcomes = sum((caller.outcomes for caller in callers), Counter())
        self.assertGreater(outcomes["served"], 0)
        self.assertLessEqual(set(outcomes), {"served", "told 1012"}, outcomes)
        for comer in comers:
            self.assertEqual(comer.ends, [1012, 1012])
            self.assertEqual(comer.served, served)
            comer.stop()
        serving.drain()
        self.assertEqual(serving.end(), 0, serving.log)

    def check_served(self, comers: list[Comer], times: int) -> None:
        """Each has been served so many times."""
        self.assertTrue(await_(lambda: all(len(each.served) == times for each in comers), PATIENCE))

    def start(self, listener: socket.socket) -> Started:
        started = Started(listener, "--drain", "1")
        self.addCleanup(started.process.kill)
        return started


class PagesTests(unittest.TestCase):
    def test_units(self) -> None:
        """systemd finds nothing wrong with the units, in which only the program's path is replaced."""
        program = shutil.which("systemd-analyze")
        need(program is not None, "systemd-analyze is not installed")
        folder = Path(self.enterContext(tempfile.TemporaryDirectory(prefix="syncws-")))
        for name, text in (
            ("app.socket", configuration("systemd-socket")),
            ("app@.service", configuration("systemd-service", {"/srv/app-%i/.venv/bin/syncws": sys.executable})),
            ("alone.service", configuration("systemd", {"/srv/app/.venv/bin/python": sys.executable})),
        ):
            (folder / name).write_text(text)
        for unit in ("app.socket", "app@blue.service", "alone.service"):
            with self.subTest(unit):
                done = subprocess.run(
                    [str(program), "verify", "--man=no", str(folder / unit)],
                    env={**os.environ, "SYSTEMD_UNIT_PATH": f"{folder}:"},
                    capture_output=True,
                    text=True,
                    timeout=PATIENCE,
                )
                ours = [line for line in done.stderr.splitlines() if "app" in line or "alone" in line]
                self.assertEqual((done.returncode, ours), (0, []), done.stderr)

    def test_figures(self) -> None:
        """The times of units and pods have room for draining and shutting down."""
        defaults = {name: each.default for name, each in inspect.signature(syncws.Server).parameters.items()}
        unit = configparser.ConfigParser(interpolation=None)
        unit.read_string(configuration("systemd-service"))
        service = unit["Service"]
        words = service["ExecStart"].split()
        drain = float(words[words.index("--drain") + 1])
        self.assertGreater(service.getint("TimeoutStopSec"), drain + defaults["shutdown_timeout"])
        need(yaml is not None, "PyYAML (PyPI) is not installed")
        deployment, budget = yaml.safe_load_all(configuration("kubernetes"))
        self.assertEqual((deployment["kind"], budget["kind"]), ("Deployment", "PodDisruptionBudget"))
        pod = deployment["spec"]["template"]["spec"]
        (container,) = pod["containers"]
        arguments = container["args"]
        seconds = float(arguments[arguments.index("--drain") + 1])
        seconds += float(container["lifecycle"]["preStop"]["exec"]["command"][1])
        self.assertGreater(pod["terminationGracePeriodSeconds"], seconds + defaults["shutdown_timeout"])
        for probe, option in (("livenessProbe", "--health-path"), ("readinessProbe", "--ready-path")):
            self.assertEqual(container[probe]["httpGet"]["path"], arguments[arguments.index(option) + 1])
        (metric,) = yaml.safe_load(configuration("kubernetes-autoscaler"))["spec"]["metrics"]
        self.assertEqual(metric["pods"]["metric"]["name"], "syncws_connections_open")

    def test_dockerfile(self) -> None:
        """Its command is a list, so that SIGTERM reaches the program, and has options that there are."""
        text = configuration("docker")
        self.assertRegex(text, r'(?m)^ENTRYPOINT \["/venv/bin/syncws", "serve"')
        self.assertIn("USER 10001", text)


if __name__ == "__main__":
    unittest.main()
