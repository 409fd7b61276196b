"""Proves that detached connections cost their server nothing: no thread, no slower answers, no processor time.

* 2,000 open WebSockets on a gthread worker of gunicorn with four threads, 500 on a sync worker, and a timeout of 5 s:
  all of them echo after 11 s, and plain requests are answered as by a server that has nothing else to do.
* No server spins while its connections are detached.

Without SYNCWS_HEAVY=1 or full there are fewer of them, for a shorter time.
"""

from __future__ import annotations

import os
import resource
import statistics
import sys
import threading
import time
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack

from syncws.errors import PING, TEXT
from syncws.testing import LeakChecks, Peer, await_
from tests import certificates
from tests.partners import heavy
from tests.runner.marks import alone

from . import servers
from .servers import PATIENCE, Host, Setup, cpu_seconds, raise_descriptor_limit

FULL = os.environ.get("SYNCWS_HEAVY") in ("1", "full")

#: Seconds for which plain requests are sent, 20 a second, and then nothing at all; more than the server's timeout.
BUSY, QUIET = (7.0, 4.0) if FULL else (4.0, 2.0)
RATE = 20

#: gunicorn kills a worker that it has not heard of for so many seconds.
TIMEOUT = 5

#: So many servers start at the same time.
AT_A_TIME = 4

#: So many connections end at the same time.
AT_ONCE = 100

#: How many times as long as an idle server a busy one may take, in the median.
SLOWER = 2.0

#: The share of a core that a server may use while nothing happens; one that spins uses all of it.
RESTING = 0.1


def note(figure: str) -> None:
    """Print a measured figure, if full sizes are asked for."""
    if FULL:
        print(f"\n  {figure}", file=sys.stderr, flush=True)


@heavy
@alone("gunicorn kills a worker that it has not heard of for 5 s, and here it has thousands of threads")
class ThousandsTests(LeakChecks):
    """Many connections, few threads."""

    grace = 20.0

    def setUp(self) -> None:
        self.addCleanup(resource.setrlimit, resource.RLIMIT_NOFILE, resource.getrlimit(resource.RLIMIT_NOFILE))
        raise_descriptor_limit()
        super().setUp()

    def test_gthread_and_sync(self) -> None:
        """2,000 connections on four threads, and 500 on a worker that serves one request at a time, live through the
        timeout, and delay no plain request."""
        counts = {servers.GUNICORN_GTHREAD: 2000, servers.GUNICORN_SYNC: 500}
        with ExitStack() as closing:
            # Each beside one that has nothing else to do.
            hosts = [(self.start(setup, closing), self.start(setup, closing)) for setup in counts]
            workers = [host.state()["pid"] for host, _ in hosts]
            peers = [
                [self.open(host, closing) for _ in range(count if FULL else count // 10)]
                for (host, _), count in zip(hosts, counts.values(), strict=True)
            ]
            for (host, _), of_host in zip(hosts, peers, strict=True):
                self.assertEqual(host.state()["open"], len(of_host))
            self.check_answers(hosts)
            self.check_rest([host for host, _ in hosts])
            for (host, _), of_host, worker in zip(hosts, peers, workers, strict=True):
                for number, peer in enumerate(of_host):
                    self.check_echo(peer, f"message {number}")
                self.close_all(host, of_host)
                self.assertEqual(host.state()["pid"], worker)
                self.assertEqual(host.complaints(), [])

    def start(self, setup: Setup, closing: ExitStack) -> Host:
        return closing.enter_context(Host(setup, "--timeout", str(TIMEOUT)))

    def open(self, host: Host, closing: ExitStack) -> Peer:
        peer = host.open("/echo")
        closing.enter_context(peer.socket)
        return peer

    def close_all(self, host: Host, peers: list[Peer]) -> None:
        """Close them, some at a time: if thousands of threads want to end at once, gunicorn's own waits for the GIL."""
        for start in range(0, len(peers), AT_ONCE):
            for peer in peers[start : start + AT_ONCE]:
                peer.socket.close()
            left = len(peers[start + AT_ONCE :])
            self.assertTrue(await_(lambda left=left: host.state()["open"] == left, PATIENCE))

    def check_echo(self, peer: Peer, message: str) -> None:
        peer.send_frame(TEXT, message)
        while (frame := peer.receive_frame()).opcode == PING:
            pass
        self.assertEqual(frame.payload, message.encode())

    def check_answers(self, hosts: list[tuple[Host, Host]]) -> None:
        """Plain requests to all in turn, so that all meet the same noise."""
        taken: dict[Host, list[float]] = {each: [] for both in hosts for each in both}
        pace = threading.Event()
        end = time.monotonic() + BUSY
        while (began := time.monotonic()) < end:
            for each, figures in taken.items():
                start = time.perf_counter()
                self.assertEqual(each.get("/plain")[0], 200)
                figures.append(time.perf_counter() - start)
            pace.wait(max(0.0, began + 1 / RATE - time.monotonic()))
        for host, idle in hosts:
            busy, resting = (statistics.median(taken[each]) * 1000 for each in (host, idle))
            note(f"a plain request takes {busy:.2f} ms, on an idle server {resting:.2f} ms, in the median")
            self.assertLessEqual(busy, SLOWER * resting, "milliseconds")

    def check_rest(self, hosts: list[Host]) -> None:
        for used in rest(hosts):
            note(f"connections at rest use {used:.1%} of a core")
            self.assertLess(used, RESTING)


@heavy
@alone("it measures the processor time of servers at rest")
class RestTests(LeakChecks):
    """Servers that have silent connections, and nothing to do."""

    def test_no_server_spins(self) -> None:
        """No server uses the processor while its connections are open and silent."""
        certificates.authority()  # once, before several want it
        with ExitStack() as closing:
            hosts = {}
            # Its threads stay to the end: a server that dies with its parent dies with the thread that started it.
            starting = closing.enter_context(ThreadPoolExecutor(AT_A_TIME))
            started = {name: starting.submit(Host, setup) for name, setup in servers.SUPPORTED.items()}
            for name, each in started.items():
                with self.subTest(server=name):  # which is skipped if it is not installed
                    hosts[name] = closing.enter_context(each.result())
            for name, host in hosts.items():
                # Where the view serves them: one, as there may be one thread only.
                for _ in range(10 if host.setup.detaches else 1):
                    with self.subTest(server=name):
                        peer = host.open("/echo")
                        closing.enter_context(peer.socket)
                        peer.send_frame(TEXT, "hello")
                        self.assertEqual(peer.receive_frame().payload, b"hello")
            for name, used in zip(hosts, rest(list(hosts.values())), strict=True):
                with self.subTest(server=name):
                    self.assertLess(used, RESTING, "of a core")


def rest(hosts: list[Host]) -> list[float]:
    """The share of a core that the processes of each server use, for a while in which nobody sends anything."""
    before = [cpu_seconds(host.processes()) for host in hosts]
    began = time.monotonic()
    threading.Event().wait(QUIET)
    seconds = time.monotonic() - began
    after = [cpu_seconds(host.processes()) for host in hosts]
    return [(late - early) / seconds for early, late in zip(before, after, strict=True)]
