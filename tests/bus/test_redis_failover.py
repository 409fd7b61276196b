"""`RedisBackplane` behind sentinels and TLS; in greenlets, with many descriptors, without hiredis."""

from __future__ import annotations

import os
import subprocess
import sys
import time
import unittest
from pathlib import Path

from tests import certificates
from tests.bus.rediscases import Node, RedisCase, Stream
from tests.bus.test_rediswriter import numbers, without_copies
from tests.buses import RedisServer, Sentinel
from tests.partners import heavy, need
from tests.tasks import PATIENCE


@heavy
class SentinelTests(RedisCase):
    """A master, a replica, and a sentinel that decides alone."""

    def setUp(self) -> None:
        super().setUp()
        self.master, self.replica = self.server(), self.server()
        self.replica.replicate(self.master)
        self.sentinel = self.enterContext(Sentinel(self.master))
        self.sentinel.wait_for_replicas(1)

    def pair(self) -> tuple[Node, Node]:
        here, there = self.up(self.sentinel.sentinel_url), self.up(self.sentinel.sentinel_url)
        there.subscribe("a")
        return here, there

    def test_planned_failover(self) -> None:
        """What is published meanwhile arrives, and both are at the new master."""
        here, there = self.pair()
        stream = Stream(self, here, "a")
        stream.run_for(0.5)
        self.sentinel.call("SENTINEL", "FAILOVER", "main")
        until = time.monotonic() + PATIENCE
        while self.sentinel.master_port != self.replica.port and time.monotonic() < until:
            time.sleep(0.05)
        there.wait_up(2)
        here.wait_health(lambda health: health.up)
        stream.run_for(2)
        count = stream.end()
        there.wait(lambda: numbers(there.told)[-1:] == [count])
        missing = count - len(without_copies(numbers(there.told)))
        self.assertEqual(here.told.dropped_all, {})
        self.assertLessEqual(missing, 5)  # what the old master took while it was already cutting off who listens
        self.assertEqual(len(self.replica.clients("pubsub")), 3)  # the third is the sentinel

    def test_killed_master(self) -> None:
        """It is away until the sentinel has decided; what was kept is sent to the new master."""
        here, there = self.pair()
        stream = Stream(self, here, "a")
        stream.run_for(0.5)
        self.master.kill()
        there.wait_down()
        there.wait_up(2)
        here.wait_health(lambda health: health.up)
        stream.run_for(2)
        count = stream.end()
        there.wait(lambda: numbers(there.told)[-1:] == [count])
        missing = count - len(without_copies(numbers(there.told)))
        self.assertEqual(missing, sum(here.told.dropped_all.values()))
        self.assertEqual(self.sentinel.master_port, self.replica.port)

    def test_a_client_of_a_sentinel(self) -> None:
        """The client that sentinel.master_for made is followed in the same way."""
        from tests.buses import SCHEME

        made = __import__(f"{SCHEME}.sentinel", fromlist=["Sentinel"]).Sentinel([("127.0.0.1", self.sentinel.port)])
        node = self.up(made.master_for("main"))
        node.subscribe("a")
        node.publish("a", 1)
        node.wait_for("a", 1)


class TLSTests(RedisCase):
    def secure(self, server: RedisServer, authority: bool = True) -> str:
        if not authority:
            return server.tls_url
        import tempfile

        folder = self.enterContext(tempfile.TemporaryDirectory())
        return f"{server.tls_url}?ssl_ca_certs={certificates.files(folder).authority}"

    def test_tls(self) -> None:
        """Bursts and large messages arrive, what is subscribed meanwhile too, and a killed connection is made anew."""
        server = self.server(tls=True)
        node = self.node(self.secure(server))
        other = self.up(server.url)
        node.subscribe("a")
        for _ in range(3):
            other.publish("a", *range(50))
            other.publish("a", "x" * 300_000)
            node.subscribe(f"b{time.monotonic_ns()}")
            node.publish("a", "own")
        node.wait(lambda: len(node.told.received_all) == 156)
        server.kill_clients("pubsub")
        node.wait_up(2)
        node.publish("a", "again")
        node.wait(lambda: node.got("a")[-1:] == ["again"])

    def test_an_authority_that_is_not_trusted(self) -> None:
        """It is not connected, and health says why."""
        server = self.server(tls=True)
        node = self.node(self.secure(server, authority=False))
        node.wait_down()
        node.wait_health(lambda health: "CERTIFICATE_VERIFY_FAILED" in (health.error or ""))


@unittest.skipUnless(hasattr(os, "fork"), "this system has no fork")
class ElsewhereTests(RedisCase):
    def run_program(self, *arguments: str, environment: dict[str, str] | None = None) -> None:
        program = Path(__file__).with_name("redis_elsewhere.py")
        done = subprocess.run(
            [sys.executable, str(program), self.server().url, *arguments],
            capture_output=True,
            text=True,
            timeout=2 * PATIENCE,
            env={**os.environ, "PYTHONPATH": os.pathsep.join(sys.path), **(environment or {})},
        )
        self.assertEqual((done.returncode, done.stdout.splitlines()[-1:]), (0, ["well"]), done.stdout + done.stderr)

    def test_greenlets(self) -> None:
        """In a process that gevent or eventlet has patched, also where it was made before that."""
        for package in ("gevent", "eventlet"):
            with self.subTest(package):
                try:
                    __import__(package)
                except ImportError:
                    need(False, f"{package} (PyPI) is not installed")
                self.run_program(package)

    def test_many_descriptors(self) -> None:
        """With descriptors over 1,023, for which select() has no room."""
        self.run_program("descriptors")

    def test_without_hiredis(self) -> None:
        """With the client's parser in Python."""
        self.run_program("python")


if __name__ == "__main__":
    unittest.main()
