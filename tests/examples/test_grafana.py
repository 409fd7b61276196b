"""examples/grafana: the dashboard and the rules ask for metrics that there are, and a real Prometheus answers them."""

from __future__ import annotations

import itertools
import json
import re
import shutil
import subprocess
import tempfile
import threading
import unittest
import urllib.parse
import urllib.request
from functools import partial
from pathlib import Path
from typing import Any

import syncws
from syncws.testing import LeakChecks, await_, running
from tests.buses import free_port
from tests.examples.test_examples import EXAMPLES
from tests.partners import heavy, need
from tests.tasks import PATIENCE, Task, written
from tests.test_prometheus import _ROW as METRIC
from tests.test_prometheus import PAGE

FOLDER = EXAMPLES / "grafana"
BOARD: dict[str, Any] = json.loads((FOLDER / "dashboard.json").read_text())

#: What Grafana puts in for its own names.
FILLED_IN = {"$__rate_interval": "5s", "$__range": "1m", "$server": ".*", "$manager": ".*"}

#: Panels that show nothing while no limit is breached, and of a bus in memory.
QUIET = {"Limits breached", "Lag"}


def panels() -> list[dict[str, Any]]:
    """The panels, without the headings of rows."""
    return [panel for panel in BOARD["panels"] if panel["type"] != "row"]


def questions() -> list[tuple[str, str]]:
    """The title of each panel and each question that it asks."""
    return [(panel["title"], target["expr"]) for panel in panels() for target in panel["targets"]]


class FilesTests(unittest.TestCase):
    """What stands in the files."""

    def test_metrics(self) -> None:
        """Each metric that a panel or a rule asks for is one of the page, or a histogram's buckets."""
        told = {name for name, *_ in METRIC.findall(PAGE.read_text())}
        rules = (FOLDER / "rules.yml").read_text()
        asked = [*questions(), *(("rules.yml", line) for line in rules.splitlines() if "summary" not in line)]
        found = [(title, name) for title, text in asked for name in re.findall(r"\bsyncws_\w+", text)]
        self.assertGreater(len(found), 40)
        for title, name in found:
            with self.subTest(title):
                self.assertIn(name.removesuffix("_bucket"), told)

    def test_nothing_lies_on_another(self) -> None:
        """Panels have numbers of their own, and places of their own within Grafana's 24 columns."""
        everything = BOARD["panels"]
        self.assertEqual(len({panel["id"] for panel in everything}), len(everything))
        for panel in everything:
            self.assertLessEqual(panel["gridPos"]["x"] + panel["gridPos"]["w"], 24, panel["title"])
        for one, other in itertools.combinations(everything, 2):
            with self.subTest((one["title"], other["title"])):
                self.assertFalse(_overlap(one["gridPos"], other["gridPos"]))

    def test_each_question_has_a_legend(self) -> None:
        """Of several lines in one panel each says what it is; the datasource is the one that the reader chooses."""
        for panel in panels():
            legends = [target["legendFormat"] for target in panel["targets"]]
            self.assertEqual(len(set(legends)), len(legends), panel["title"])
            for target in panel["targets"]:
                self.assertEqual(target["datasource"]["uid"], "${datasource}")

    def test_rules(self) -> None:
        """promtool takes the rules."""
        need(shutil.which("promtool") is not None, "promtool is missing: .ci/run system")
        done = subprocess.run(
            ["promtool", "check", "rules", FOLDER / "rules.yml"], capture_output=True, text=True, timeout=PATIENCE
        )
        self.assertEqual((done.returncode, done.stderr), (0, ""))
        self.assertIn("SUCCESS: 7 rules found", done.stdout)


def _overlap(one: dict[str, int], other: dict[str, int]) -> bool:
    return (
        one["x"] < other["x"] + other["w"]
        and other["x"] < one["x"] + one["w"]
        and one["y"] < other["y"] + other["h"]
        and other["y"] < one["y"] + one["h"]
    )


class Prometheus:
    """A real Prometheus, which scrapes one target each second. Use it as a context manager."""

    def __init__(self, target: str) -> None:
        self._folder = tempfile.TemporaryDirectory(prefix="prometheus")
        folder = Path(self._folder.name)
        (folder / "prometheus.yml").write_text(
            "global: {scrape_interval: 1s, evaluation_interval: 1s}\n"
            f"rule_files: [{FOLDER / 'rules.yml'}]\n"
            f"scrape_configs: [{{job_name: syncws, static_configs: [{{targets: ['{target}']}}]}}]\n"
        )
        self._log = (folder / "log").open("w+")
        self.port = free_port()
        self._process = subprocess.Popen(
            [
                "prometheus",
                f"--config.file={folder}/prometheus.yml",
                f"--storage.tsdb.path={folder}/data",
                f"--web.listen-address=127.0.0.1:{self.port}",
            ],
            stdout=self._log,
            stderr=self._log,
        )

    def __enter__(self) -> Prometheus:
        return self

    def __exit__(self, *exc_info: object) -> None:
        self._process.terminate()
        self._process.wait(PATIENCE)
        self._log.close()
        self._folder.cleanup()

    def said(self) -> str:
        """What it has written, for who wonders."""
        return written(self._log)

    def ask(self, path: str, **query: str) -> Any:
        """What its API answers, the part `data`. Raises OSError: it is not up, or it refuses the question."""
        url = f"http://127.0.0.1:{self.port}/api/v1/{path}?{urllib.parse.urlencode(query)}"
        with urllib.request.urlopen(url, timeout=PATIENCE) as answer:
            return json.load(answer)["data"]

    def is_ready(self) -> bool:
        """Whether it has scraped the target often enough for a rate."""
        try:
            (found,) = self.ask("query", query="max(count_over_time(syncws_connections_open[1m]))")["result"]
        except (OSError, ValueError):
            return False
        return int(found["value"][1]) >= 4


@heavy
class LiveTests(LeakChecks):
    """With a server that is used."""

    def test_every_panel_shows_something(self) -> None:
        """A real Prometheus that scrapes a server under load answers each question of each panel with numbers, and the
        rules are in force."""
        need(shutil.which("prometheus") is not None, "prometheus is missing: .ci/run system")
        from prometheus_client import CONTENT_TYPE_LATEST, CollectorRegistry, generate_latest

        from syncws.prometheus import Collector

        bus = syncws.testing.MemoryBus()
        of_chat: dict[str, Any] = {"on_open": lambda member: member.send("welcome"), "name": "chat"}
        managers = [syncws.Manager(backplane=syncws.testing.MemoryBackplane(bus), **of_chat) for _ in range(2)]
        for manager in managers:
            self.addCleanup(manager.end)
        registry = CollectorRegistry()
        upgrader = syncws.Upgrader(ping_interval=0.05)

        def handler(request: syncws.Request) -> syncws.Response | None:
            if request.path == "/metrics":
                return syncws.Response(generate_latest(registry), headers=[("Content-Type", CONTENT_TYPE_LATEST)])
            with upgrader.upgrade(request) as conn:
                managers[0].run(conn, rooms=["lobby"])
            return None

        server = self.enterContext(running(syncws.Server(handler, port=0)))
        registry.register(Collector({"web": server, "chat": managers[0]}))
        address = f"127.0.0.1:{server.address[1]}"
        prometheus = self.enterContext(Prometheus(address))
        over = threading.Event()
        users = [Task(self._use, address, managers, over) for _ in range(2)]
        try:
            self.assertTrue(await_(prometheus.is_ready, PATIENCE), prometheus.said())
            self._check(prometheus)
        finally:
            over.set()
            for user in users:  # one that has failed is why nothing was shown
                user.result(2 * PATIENCE)

    def _check(self, prometheus: Prometheus) -> None:
        for title, question in questions():
            for name, value in FILLED_IN.items():
                question = question.replace(name, value)
            with self.subTest(title, question=question):
                self.assertTrue(await_(partial(self._is_shown, prometheus, title, question), PATIENCE))
        (group,) = prometheus.ask("rules")["groups"]
        self.assertEqual({rule["health"] for rule in group["rules"]}, {"ok"})

    def _is_shown(self, prometheus: Prometheus, title: str, question: str) -> bool:
        found = prometheus.ask("query", query=question)["result"]
        return title in QUIET or any(value not in ("NaN", "+Inf") for _, value in (each["value"] for each in found))

    def _use(self, address: str, managers: list[syncws.Manager], over: threading.Event) -> None:
        """Come, talk, go, and come once with an origin that is refused; again and again."""
        while not over.is_set():
            with syncws.dial(f"ws://{address}/", proxy=None) as conn:
                conn.receive(PATIENCE)  # it is in the lobby
                for _ in range(5):
                    conn.send("hello")
                    managers[1].broadcast("hello", room="lobby")
                    conn.receive(PATIENCE)
                    over.wait(0.1)  # pings are answered meanwhile
            try:
                syncws.dial(f"ws://{address}/", {"Origin": "https://elsewhere.example"}, proxy=None).close()
            except syncws.BadHandshakeError:
                pass


if __name__ == "__main__":
    unittest.main()
