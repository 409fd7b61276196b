"""syncws.prometheus: what a scrape tells, and that docs/metrics.md has all of it."""

from __future__ import annotations

import re
import shutil
import subprocess
import sys
import unittest
from pathlib import Path
from typing import Any

from prometheus_client import CollectorRegistry, generate_latest
from prometheus_client.parser import text_string_to_metric_families

import syncws
from syncws import LocalBackplane, Manager, Server, Upgrader, dial
from syncws._conn.stats import CODES, REFUSALS
from syncws.prometheus import Collector
from syncws.testing import await_
from tests.partners import need
from tests.server.cases import ServerTestCase, echo
from tests.tasks import PATIENCE

PAGE = Path(__file__).resolve().parent.parent / "docs" / "metrics.md"

#: A row of the table of metrics: name, type, labels, help.
_ROW = re.compile(r"^\| `(syncws_\w+)` \| (\w+) \| ([^|]*) \| ([^|]*) \|$", re.MULTILINE)


def scraped(*sources: Any, **options: Any) -> bytes:
    """What a scrape gives of a registry that has a collector of these sources."""
    registry = CollectorRegistry()
    registry.register(Collector(*sources, **options))
    return generate_latest(registry)


def samples(text: bytes) -> dict[tuple[str, tuple[tuple[str, str], ...]], float]:
    """The samples of a scrape, by name and labels."""
    return {
        (sample.name, tuple(sorted(sample.labels.items()))): sample.value
        for family in text_string_to_metric_families(text.decode())
        for sample in family.samples
    }


class CollectorTests(ServerTestCase):
    """What is told."""

    def test_a_server(self) -> None:
        """Its numbers are those of its stats, under its address, and what has not happened yet is zero."""
        with self.serving() as server:
            with dial(f"ws://127.0.0.1:{server.port}/") as client:
                client.send("x")
                client.receive()
                self.assertTrue(await_(lambda: server.stats().messages_out == 1, PATIENCE))
                told = samples(scraped(server))
                name = ("server", f"127.0.0.1:{server.port}")
                self.assertEqual(told["syncws_connections_open", (name,)], 1)
                self.assertEqual(told["syncws_messages_sent_total", (name,)], 1)
                self.assertEqual(told["syncws_server_handlers", (name,)], 1)
                self.assertEqual(told["syncws_connections_closed_total", (("code", "4000-4999"), name)], 0)
                self.assertEqual(told["syncws_refusals_total", (("reason", "origin"), name)], 0)
                self.assertEqual(told["syncws_http_requests_total", (name, ("status", "5xx"))], 0)
                self.assertEqual(told["syncws_ping_round_trip_seconds_bucket", (("le", "+Inf"), name)], 0)
                self.assertEqual(
                    ("syncws_received_bytes_total", (name,)) in told, sys.platform == "linux", "None has no sample"
                )
            self.assertTrue(await_(lambda: server.stats().closed == {"1000": 1}, PATIENCE))
            told = samples(scraped({"chat": server}))
            self.assertEqual(told["syncws_connections_closed_total", (("code", "1000"), ("server", "chat"))], 1)
            self.assertEqual(told["syncws_closes_total", (("by", "peer"), ("server", "chat"))], 1)

    def test_managers(self) -> None:
        """A manager has its own name, or its number; one with a backplane tells how its bus is."""
        backplane = LocalBackplane(self.enterContext(_folder()))
        plain, named, joined = Manager(), Manager(name="lobby"), Manager(backplane=backplane)
        self.addCleanup(joined.end)
        joined.broadcast("x")
        told = samples(scraped(plain, named, {"cluster": joined}))
        for name in ("1", "lobby", "cluster"):
            self.assertEqual(told["syncws_manager_members", (("manager", name),)], 0)
        self.assertEqual(told["syncws_manager_broadcasts_total", (("manager", "cluster"),)], 1)
        self.assertEqual(told["syncws_backplane_nodes", (("manager", "cluster"),)], 1)
        self.assertNotIn(("syncws_backplane_nodes", (("manager", "1"),)), told)

    def test_the_process(self) -> None:
        """WSGI hosting is told as a server of its own, unless it is left out; the version is the process's."""
        told = samples(scraped())
        self.assertEqual(told["syncws_build_info", (("version", syncws.__version__),)], 1)
        self.assertIn(("syncws_connections_open", (("server", "wsgi"),)), told)
        told = samples(scraped(wsgi=False))
        self.assertNotIn(("syncws_connections_open", (("server", "wsgi"),)), told)

    def test_round_trips(self) -> None:
        """Pings and their answers are a histogram."""
        with self.serving(lambda request: _pinging(request)) as server:
            with dial(f"ws://127.0.0.1:{server.port}/") as client:
                client.receive(timeout=PATIENCE)
                told = samples(scraped({"a": server}))
        name = ("server", "a")
        self.assertEqual(told["syncws_ping_round_trip_seconds_count", (name,)], 1)
        self.assertEqual(told["syncws_ping_round_trip_seconds_bucket", (("le", "+Inf"), name)], 1)
        self.assertGreater(told["syncws_ping_round_trip_seconds_sum", (name,)], 0)

    def test_registering_asks_nobody(self) -> None:
        """It is registered by the names of its metrics, and one registry takes it once."""
        registry = CollectorRegistry()
        registry.register(Collector())
        with self.assertRaises(ValueError):
            registry.register(Collector())
        described, collected = list(Collector().describe()), list(Collector().collect())
        self.assertEqual([each.name for each in described], [each.name for each in collected])
        self.assertFalse([each for each in described if each.samples])

    def test_wrong_sources(self) -> None:
        """Another source is a TypeError, and a name that two have a ValueError; both say what to write."""
        with Server(echo, port=0) as server:
            for sources, error, says in (
                ((5,), TypeError, "not 5"),
                (({1: server},), TypeError, "named by a str"),
                ((server, server), ValueError, "Collector\\({'one'"),
                (({"wsgi": server},), ValueError, "two sources are named 'wsgi'"),
            ):
                with self.subTest(says), self.assertRaisesRegex(error, says):
                    Collector(*sources)  # type: ignore[arg-type]


class PageTests(unittest.TestCase):
    """docs/metrics.md."""

    def test_every_metric_is_on_the_page(self) -> None:
        """The table has each metric, with its type, its labels and what it tells, and no other."""
        rows = {name: (kind, labels, told) for name, kind, labels, told in _ROW.findall(PAGE.read_text())}
        expected = {}
        for family in Collector().describe():
            name = family.name + ("_total" if family.type == "counter" else "")
            labels = ", ".join(f"`{each}`" for each in family._labelnames) or "-"
            expected[name] = (family.type, labels, family.documentation)
        self.assertEqual(rows, expected)

    def test_every_reason_and_code_is_on_the_page(self) -> None:
        """So are the reasons for which handshakes are refused; and the codes are those of the docstring."""
        table = PAGE.read_text().partition("## Why a handshake was refused")[2]
        self.assertEqual(sorted(re.findall(r"^\| `([a-z ]+)` \|", table, re.MULTILINE)), sorted(REFUSALS))
        for code in CODES[-3:]:
            self.assertIn(f'"{code}"', syncws.Traffic.__doc__ or "")

    def test_promtool(self) -> None:
        """promtool finds nothing to say about names, types and helps."""
        need(shutil.which("promtool") is not None, "promtool is missing: .ci/run system")
        with Server(echo, port=0) as server:
            text = scraped(server, Manager())
        done = subprocess.run(["promtool", "check", "metrics"], input=text, capture_output=True, timeout=PATIENCE)
        self.assertEqual((done.returncode, done.stdout + done.stderr), (0, b""))


def _folder() -> Any:
    import tempfile

    return tempfile.TemporaryDirectory()


def _pinging(request: Any) -> None:
    conn = Upgrader().upgrade(request)
    conn.ping()
    conn.close_read()
    await_(lambda: conn.stats().round_trips.count == 1, PATIENCE)
    conn.send("done")
    conn.wait_closed(PATIENCE)


if __name__ == "__main__":
    unittest.main()
