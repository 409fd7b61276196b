"""gunicorn with four workers, whose clients all hear of what a job outside says: over a local bus, and over Redis."""

from __future__ import annotations

import os
import selectors
import statistics
import subprocess
import sys
import tempfile
import time
from collections import Counter
from typing import Any
from unittest import mock

from syncws.testing import LeakChecks, Peer, await_
from tests.buses import RedisServer, need_client, need_server
from tests.guarantees.support import note, size
from tests.partners import heavy
from tests.runner.marks import alone
from tests.tasks import PATIENCE

from .servers import UWSGI_STARTS, Host, Place, Setup, program, uwsgi

WORKERS = 4

#: Seconds from the job's send to the last client, in 99 of 100 broadcasts; a machine under load takes longer.
LAST = 0.1
LOAD = 2.0


def gunicorn(place: Place) -> list[str]:
    arguments = ["--bind", place.bind, "-w", str(WORKERS), "-k", "gthread", "--threads", "4"]
    return program(sys.executable, "-m", "gunicorn", *arguments, "tests.hosts.bus_app:app")


@heavy
@alone("it takes the time until the last of 200 clients has a message")
class WorkersTests(LeakChecks):
    """Four workers, 200 clients, and a job that is no worker."""

    def check(self, bus: str) -> None:
        with mock.patch.dict(os.environ, HOSTS_BUS=bus), Host(Setup(gunicorn, "gunicorn")) as host:
            clients = [host.open("/room") for _ in range(size(40, 200))]
            for client in clients:
                self.addCleanup(client.socket.close)
            served = Counter(client.receive_frame().payload for client in clients)
            self.assertGreaterEqual(len(served), 2, "one worker has all clients")
            job = subprocess.Popen(
                [sys.executable, "-m", "tests.hosts.bus_app"], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
            )
            with job:
                late = [self.broadcast(job, clients) for _ in range(size(10, 100))]
                assert job.stdin is not None
                job.stdin.close()
            p99 = sorted(late)[len(late) * 99 // 100 - 1]
            note(
                f"{bus.split()[0]}: {len(late)} times all {len(clients)} clients of {len(served)} workers; the last "
                f"p50 {statistics.median(late) * 1e3:.1f} ms, p99 {p99 * 1e3:.1f} ms after the send"
            )
            self.assertLess(p99, LAST * LOAD)

    def broadcast(self, job: Any, clients: list[Peer]) -> float:
        """Have the job send one message; seconds until the last client has it, which each must have, and once."""
        job.stdin.write("\n")
        job.stdin.flush()
        with selectors.DefaultSelector() as selector:
            for client in clients:
                selector.register(client.socket, selectors.EVENT_READ, client)
            got = []
            while len(got) < len(clients):
                ready = selector.select(PATIENCE)
                now = time.monotonic()
                self.assertTrue(ready, f"only {len(got)} of {len(clients)} clients have it")
                for key, _ in ready:
                    got.append(key.data.receive_frame().payload)
                    selector.unregister(key.data.socket)
        self.assertEqual(job.stdout.readline(), "sent\n")
        self.assertEqual(len(set(got)), 1, "clients have different messages")
        return now - float(got[0])

    def test_a_local_bus(self) -> None:
        """200 of 200, 100 times, over a directory."""
        folder = self.enterContext(tempfile.TemporaryDirectory(prefix="bus"))
        self.check(f"local {folder}/bus")

    def test_redis(self) -> None:
        """The same over Redis."""
        need_server()
        need_client()
        with RedisServer() as server:
            self.check(f"redis {server.url}")


@heavy
class UwsgiTests(LeakChecks):
    """uWSGI forks its workers without a word to Python: no hook of a fork is called in them."""

    def test_workers(self) -> None:
        """Two of them, of a Manager that was made before the fork, hear each other, each message once."""
        folder = self.enterContext(tempfile.TemporaryDirectory(prefix="bus"))
        command = uwsgi(
            *("--http-socket", "127.0.0.1:{port}", "--processes", "2", "--threads", "4"), app="tests.hosts.bus_app:app"
        )
        setup = Setup(command, "pyuwsgi", usual=UWSGI_STARTS)
        with mock.patch.dict(os.environ, HOSTS_BUS=f"local {folder}/bus"), Host(setup) as host:
            clients: dict[bytes, Peer] = {}
            while len(clients) < 2:
                client = host.open("/room")
                self.addCleanup(client.socket.close)
                clients.setdefault(client.receive_frame().payload, client)
            self.assertTrue(await_(lambda: all(host.get("/nodes")[2] == b"2" for _ in range(6)), PATIENCE))
            for _ in range(6):
                host.get("/say")
            for client in clients.values():
                got = Counter(client.receive_frame().payload for _ in range(6))
                self.assertEqual((got.total(), got.keys() - clients.keys()), (6, set()))
