"""How connections end when their server ends, or its worker.

Under gunicorn every peer is told: 1001 on SIGTERM and on SIGHUP, 1012 where the worker is replaced on its own
(--max-requests, --reload). The worker ends within 3 s, and nobody has to kill it. SIGINT ends the other servers in an
orderly way.
"""

from __future__ import annotations

import os
import signal
import tempfile
import time
from typing import ClassVar

from syncws.errors import TEXT
from syncws.testing import LeakChecks, Peer, await_
from tests.partners import heavy

from . import servers
from .servers import PATIENCE, Host, Setup, is_gone, wait_gone

#: Seconds that a worker may take to go.
GONE = 3.0

#: Seconds that a peer waits for what comes within two.
ANSWER = 10.0

#: Seconds more for peers that say nothing.
SILENCE = 1.0

#: Seconds until gunicorn's reloader looks at its files again, and some.
LOOK = 15.0

#: So many requests a worker serves before it retires, connections included.
REQUESTS = 20

GOING_AWAY, SERVICE_RESTART = 1001, 1012


class ShutdownCase(LeakChecks):
    """Opens connections, and waits for how they end."""

    def connect(self, host: Host, option: str, count: int = 3) -> list[Peer]:
        """Connections that have echoed, and one that is pushed to."""
        peers = [host.open(f"/echo{option}") for _ in range(count - 1)]
        for peer in peers:
            peer.send_frame(TEXT, "hello")
            self.assertEqual(peer.receive_frame().payload, b"hello")
        peers.append(host.open(f"/push{option}"))
        peers[-1].receive_frame()
        for peer in peers:
            self.addCleanup(peer.socket.close)
        return peers

    def assertClosed(self, peers: list[Peer], code: int) -> None:
        """Each peer gets this close code, answers, and sees the end of TCP."""
        for peer in peers:
            peer.socket.settimeout(ANSWER)
            while (frame := peer.receive_frame()).opcode == TEXT:
                pass
            self.assertEqual((frame.opcode, int.from_bytes(frame.payload[:2])), (8, code))
            peer.close(code)
        for peer in peers:
            self.assertTrue(peer.at_end())
            peer.socket.close()


class GunicornCases(ShutdownCase):
    """gunicorn with one worker that serves WebSockets."""

    setup: ClassVar[Setup]
    option: ClassVar[str] = ""

    def start(self, *arguments: str) -> Host:
        host = Host(self.setup, *arguments)
        self.addCleanup(host.close)
        return host

    def check_gone(self, host: Host, worker: int, began: float) -> None:
        """The worker has ended by itself and in time; nobody complained; another one serves if the server lives."""
        left = GONE - (time.monotonic() - began)
        self.assertTrue(wait_gone(worker, left), f"the worker is still there after {GONE:g} s")
        output = host.output()
        for word in ("SIGKILL", "SIGABRT", "TIMEOUT", "Traceback", "Exception", "rror"):
            self.assertNotIn(word, output)
        self.assertNotIn("Traceback", host.log())

    def test_sigterm(self) -> None:
        """SIGTERM: every peer is told 1001, and the server ends."""
        host = self.start()
        worker = host.state()["pid"]
        peers = self.connect(host, self.option)
        began = time.monotonic()
        host.signal(signal.SIGTERM)
        self.assertClosed(peers, GOING_AWAY)
        self.check_gone(host, worker, began)
        self.assertEqual(host.wait(PATIENCE), 0)

    def test_sigterm_with_silent_peers(self) -> None:
        """SIGTERM: peers that answer nothing do not hold the server up."""
        host = self.start()
        worker = host.state()["pid"]
        self.connect(host, self.option)
        host.signal(signal.SIGTERM)
        # The peers' own buffers take what is sent.
        self.assertTrue(wait_gone(worker, GONE + SILENCE), "the worker is still there")
        self.check_gone(host, worker, time.monotonic())
        self.assertEqual(host.wait(PATIENCE), 0)

    def test_sighup(self) -> None:
        """SIGHUP: every peer is told 1001, and a new worker serves."""
        host = self.start()
        worker = host.state()["pid"]
        peers = self.connect(host, self.option)
        began = time.monotonic()
        host.signal(signal.SIGHUP)
        self.assertClosed(peers, GOING_AWAY)
        self.check_gone(host, worker, began)
        self.check_serving(host, worker)

    def test_max_requests(self) -> None:
        """--max-requests: every peer is told 1012, and a new worker serves."""
        host = self.start("--max-requests", str(REQUESTS))
        worker = host.state()["pid"]
        peers = self.connect(host, self.option)
        for _ in range(REQUESTS):
            if host.state()["pid"] != worker:
                self.fail("the worker was replaced before its time")
            if "Autorestarting" in host.output():
                break
        began = time.monotonic()
        self.assertClosed(peers, SERVICE_RESTART)
        self.check_gone(host, worker, began)
        self.check_serving(host, worker)

    def test_reload(self) -> None:
        """--reload: every peer is told 1012, and a new worker serves."""
        watched = self.setup_file()
        host = self.start("--reload", "--reload-engine", "poll", "--reload-extra-file", watched)
        worker = host.state()["pid"]
        peers = self.connect(host, self.option)
        os.utime(watched, (time.time(), time.time() + 10))
        self.assertTrue(await_(lambda: "Worker reloading" in host.output(), LOOK))
        began = time.monotonic()
        self.assertClosed(peers, SERVICE_RESTART)
        self.check_gone(host, worker, began)
        self.check_serving(host, worker)

    def setup_file(self) -> str:
        """A file for the reloader to watch."""
        file = self.enterContext(tempfile.NamedTemporaryFile(suffix=".py"))
        return file.name

    def check_serving(self, host: Host, worker: int) -> None:
        """Another worker serves."""
        self.assertTrue(is_gone(worker))
        self.assertNotEqual(host.state()["pid"], worker)
        self.check_new(host)

    def check_new(self, host: Host) -> None:
        peer = host.open(f"/echo{self.option}")
        peer.send_frame(TEXT, "again")
        self.assertEqual(peer.receive_frame().payload, b"again")
        peer.close()
        self.assertEqual(peer.receive_close()[0], 1000)
        peer.socket.close()


class GthreadTests(GunicornCases):
    setup = servers.GUNICORN_GTHREAD


@heavy
class GthreadInViewTests(GunicornCases):
    setup = servers.GUNICORN_GTHREAD
    option = "?detach=0"


@heavy
class GthreadTLSTests(GunicornCases):
    setup = servers.GUNICORN_GTHREAD_TLS


@heavy
class SyncTests(GunicornCases):
    setup = servers.GUNICORN_SYNC


@heavy
class GeventTests(GunicornCases):
    setup = servers.GUNICORN_GEVENT


@heavy
class OldGthreadTests(GunicornCases):
    setup = servers.OLD_GUNICORN_GTHREAD


@heavy
class OldGthreadInViewTests(GunicornCases):
    setup = servers.OLD_GUNICORN_GTHREAD
    option = "?detach=0"


@heavy
class OldSyncTests(GunicornCases):
    setup = servers.OLD_GUNICORN_SYNC


@heavy
class OldGeventTests(GunicornCases):
    setup = servers.OLD_GUNICORN_GEVENT


@heavy
class PreloadTests(ShutdownCase):
    """gunicorn with an application that was loaded before it forked."""

    def test_preload(self) -> None:
        """With --preload and two workers both serve, and both tell their peers."""
        for setup in (servers.GUNICORN_GTHREAD, servers.OLD_GUNICORN_GTHREAD, servers.GUNICORN_GEVENT):
            for option in ("", "?detach=0"):
                with self.subTest(setup=setup, option=option), Host(setup, "--preload", "--workers", "2") as host:
                    self.check(host, option)

    def check(self, host: Host, option: str) -> None:
        serving: dict[int, Peer] = {}

        def both_serve() -> bool:
            peer = host.open(f"/which{option}")
            self.addCleanup(peer.socket.close)
            worker = int(peer.receive_frame().payload)
            if worker in serving:
                peer.socket.close()
            return serving.setdefault(worker, peer) is peer and len(serving) == 2

        self.assertTrue(await_(both_serve, PATIENCE), "only one worker serves")
        peers = list(serving.values())
        for peer in peers:
            peer.send_frame(TEXT, "hello")
            self.assertEqual(peer.receive_frame().payload, b"hello")
        began = time.monotonic()
        host.signal(signal.SIGTERM)
        self.assertClosed(peers, GOING_AWAY)
        for worker in serving:
            self.assertTrue(wait_gone(worker, GONE - (time.monotonic() - began)), "a worker is still there")
        self.assertEqual(host.wait(PATIENCE), 0)
        for word in ("SIGKILL", "Traceback"):
            self.assertNotIn(word, host.output())


class OtherCases(ShutdownCase):
    """Servers that end on SIGINT."""

    setup: ClassVar[Setup]
    #: Seconds until the server is gone, while all views are over, and while some are under way; None: not tried.
    seconds: ClassVar[float] = GONE
    seconds_in_view: ClassVar[float | None] = GONE

    def test_sigint(self) -> None:
        """SIGINT: every peer of a detached connection is told 1001, and the server ends."""
        self.check("", self.seconds)

    def test_sigint_in_the_view(self) -> None:
        """SIGINT: every peer of a connection in the view is told 1001 too, as soon as the server shows that it ends."""
        if self.seconds_in_view is not None:
            self.check("?detach=0", self.seconds_in_view)

    def check(self, option: str, seconds: float, number: signal.Signals = signal.SIGINT) -> None:
        with Host(self.setup) as host:
            peers = self.connect(host, option)
            began = time.monotonic()
            host.signal(number)
            self.assertClosed(peers, GOING_AWAY)
            self.assertIsNotNone(host.wait(seconds - (time.monotonic() - began)), "the server is still there")
            self.assertNotIn("Traceback", host.output())
            self.assertNotIn("Traceback", host.log())


@heavy
class WerkzeugTests(OtherCases):
    setup = servers.WERKZEUG


@heavy
class WsgirefTests(OtherCases):
    setup = servers.WSGIREF


@heavy
class WsgirefSingleTests(OtherCases):
    setup = servers.WSGIREF_SINGLE
    seconds_in_view = None  # SIGINT raises inside of the one view that there can be


@heavy
class WaitressTests(OtherCases):
    setup = servers.WAITRESS
    seconds_in_view = 5 + GONE  # it waits 5 s for its views before the process ends


@heavy
class CherootTests(OtherCases):
    setup = servers.CHEROOT
    seconds_in_view = 5 + GONE  # as waitress does


@heavy
class Rocket3Tests(OtherCases):
    setup = servers.ROCKET3
    seconds = 2 + GONE  # its listener and its monitor look once a second whether they are to stop
    seconds_in_view = 4 + GONE  # and it waits 2 s for its views

    def test_sigterm(self) -> None:
        """SIGTERM: every peer is told 1001, and the server ends."""
        self.check("", self.seconds, signal.SIGTERM)


@heavy
class OwnTests(OtherCases):
    setup = servers.OWN


# The module's loader finds tests in every class it sees, and the cases alone have no set-up.
del ShutdownCase, GunicornCases, OtherCases
