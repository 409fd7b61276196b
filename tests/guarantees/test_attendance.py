"""Proves that a connection lives while its handler works, whoever the peer is, and that a peer that dies is noticed.

* A handler that works for several times the patience of its peer, and of this side, answers in the end; what came
  meanwhile is answered after it. So it is with clients that ping and are pinged, over TLS, in WSGI views, for members
  of a Manager, in greenlets.
* A client that only sends loses nothing.
* Ten thousand connections that wait for their peers cost 5 ms of processor time a second.
* A peer that dies meanwhile is noticed within ping_interval + ping_timeout + 5 s.

In small size the waits are short; with SYNCWS_HEAVY=full they are the defaults, and the handler works for 100 seconds.
"""

from __future__ import annotations

import asyncio
import contextlib
import importlib.util
import os
import signal
import subprocess
import sys
import threading
import time
import unittest
from collections.abc import Callable, Iterator
from typing import Any, ClassVar

import syncws
import syncws.wsgi
from syncws.testing import Peer, await_, running, socketpair
from tests.certificates import contexts
from tests.partners import heavy, need
from tests.runner.marks import alone
from tests.tasks import PATIENCE, Task
from tests.wsgi.cases import WSGICase, each_way

from .support import (
    HEAVY,
    ChildServer,
    GuaranteeTestCase,
    closing_all,
    connect,
    note,
    raise_descriptor_limit,
    size,
)

#: What becomes of the time that a peer is given: room for a machine under load.
ROOM = 10.0


class Pace:
    """How long a handler works, and how patient everybody is."""

    def __init__(self, work: float, interval: float, timeout: float, heartbeat: float) -> None:
        self.work = work
        self.options: dict[str, Any] = {"ping_interval": interval, "ping_timeout": timeout}
        self.heartbeat = heartbeat  # aiohttp's: a ping after so long, and an answer within half of it

    @property
    def patience(self) -> float:
        """Seconds for a client to wait for an answer."""
        return self.work + 2 * ROOM

    @property
    def noticed(self) -> float:
        """Seconds after which a peer that has died is noticed."""
        return float(self.options["ping_interval"] + self.options["ping_timeout"]) + 5.0


SHORT = Pace(3.0, 0.5, 0.5, 2.0)
LONG = Pace(100.0, 20.0, 20.0, 10.0)

MESSAGES = ("work", "next", "last")


def busy(work: float) -> Callable[[syncws.Conn], None]:
    """An echo that takes its time for one message."""

    def handler(conn: syncws.Conn) -> None:
        for message in conn:
            if message == MESSAGES[0]:
                time.sleep(work)
            conn.send(message)

    return handler


def check(got: list[Any]) -> None:
    if got != list(MESSAGES):
        raise AssertionError(f"the answers were {got}")


# Clients: each sends three messages at once, and waits for the three answers


def by_dial(url: str, pace: Pace, **options: Any) -> None:
    with syncws.dial(url, proxy=None, **pace.options, **options) as conn:
        for message in MESSAGES:
            conn.send(message)
        check([conn.receive(pace.patience) for _ in MESSAGES])


def by_websockets_sync(url: str, pace: Pace, **options: Any) -> None:
    from websockets.sync.client import connect

    with connect(url, proxy=None, **pace.options, **options) as conn:
        for message in MESSAGES:
            conn.send(message)
        check([conn.recv(pace.patience) for _ in MESSAGES])


def by_websockets_asyncio(url: str, pace: Pace, **options: Any) -> None:
    from websockets.asyncio.client import connect

    async def talk() -> None:
        async with connect(url, proxy=None, **pace.options, **options) as conn:
            for message in MESSAGES:
                await conn.send(message)
            check([await asyncio.wait_for(conn.recv(), pace.patience) for _ in MESSAGES])

    asyncio.run(talk())


def by_aiohttp(url: str, pace: Pace, **options: Any) -> None:
    from aiohttp import ClientSession

    async def talk() -> None:
        async with ClientSession() as session, session.ws_connect(url, heartbeat=pace.heartbeat, **options) as conn:
            for message in MESSAGES:
                await conn.send_str(message)
            check([await conn.receive_str(timeout=pace.patience) for _ in MESSAGES])
            sock = conn.get_extra_info("socket")
        # aiohttp has begun to close it, and waits for no end of it, which takes a moment more under TLS.
        async with asyncio.timeout(PATIENCE):
            while sock.fileno() != -1:
                await asyncio.sleep(0.01)

    asyncio.run(talk())


CLIENTS = {"websockets": (by_websockets_sync, by_websockets_asyncio), "aiohttp": (by_aiohttp,), "": (by_dial,)}


def clients() -> Iterator[Callable[..., None]]:
    """Those that are installed."""
    for package, those in CLIENTS.items():
        if not package or importlib.util.find_spec(package) is not None:
            yield from those


class Cases(GuaranteeTestCase):
    """A pace for all tests of a class."""

    pace: ClassVar[Pace]

    def serve(self, handler: Callable[[syncws.Conn], None], ssl_context: Any = None) -> str:
        """Where a server of ours listens."""
        upgrader = syncws.Upgrader(**self.pace.options)

        def handle(request: syncws.Request) -> None:
            with upgrader.upgrade(request) as conn:
                handler(conn)

        server = syncws.Server(handle, "127.0.0.1", 0, ssl_context=ssl_context)
        self.enterContext(running(server))
        return f"{'ws' if ssl_context is None else 'wss'}://localhost:{server.address[1]}/"

    def all_answered(self, url: str, tls: Any = None) -> list[Task]:
        """The tasks of all clients, under way at once."""
        tasks = []
        for client in clients():
            options = {} if tls is None else {"ssl" if client is not by_dial else "ssl_context": tls}
            tasks.append(Task(client, url, self.pace, **options))
        return tasks

    def only_sending(self) -> Task:
        """A client that sends to a server of others for as long as the work takes, and reads nothing."""
        need(importlib.util.find_spec("websockets") is not None, "websockets (PyPI) is not installed")
        from websockets.sync.server import serve

        count, received = 30, []
        done = threading.Event()

        def note_all(conn: Any) -> None:
            with contextlib.suppress(Exception):
                received.extend(conn)
            done.set()

        server = serve(note_all, "127.0.0.1", 0, **self.pace.options)
        serving = Task(server.serve_forever)
        self.addCleanup(serving.result)  # after it was shut down: its selector is closed when it returns
        self.addCleanup(server.shutdown)

        def send_all() -> None:
            with syncws.dial(
                f"ws://127.0.0.1:{server.socket.getsockname()[1]}", proxy=None, **self.pace.options
            ) as conn:
                for number in range(count):
                    conn.send(str(number))
                    time.sleep(self.pace.work / count)
            if not done.wait(ROOM) or received != [str(number) for number in range(count)]:
                raise AssertionError(f"{len(received)} of {count} messages arrived")

        return Task(send_all)

    def death(self) -> Task:
        """A peer's process stops while its handler works: how long it takes until that is known."""
        program = (
            "import syncws, sys, time\n"
            "conn = syncws.dial(sys.argv[1], proxy=None)\n"
            "for message in ('work', 'unread'): conn.send(message)\n"
            "print(conn.receive(), flush=True)\n"
            "time.sleep(600)\n"
        )
        seconds: list[float] = []
        ended = threading.Event()

        def handler(conn: syncws.Conn) -> None:
            conn.receive()
            conn.on_end(lambda end: ended.set())
            conn.send("stop now")
            began = time.monotonic()
            while not conn.closed and time.monotonic() < began + self.pace.noticed + ROOM:
                time.sleep(0.01)  # it works, and looks now and then
            seconds.append(time.monotonic() - began)
            assert conn.wait_closed(0)
            with contextlib.suppress(syncws.ConnectionClosed):
                conn.send("x")
                seconds.append(-1)
            assert conn.receive() == "unread"

        url = self.serve(handler)

        def die() -> float:
            peer = subprocess.Popen([sys.executable, "-c", program, url], stdout=subprocess.PIPE)
            with peer:
                try:
                    assert peer.stdout is not None
                    peer.stdout.readline()
                    peer.send_signal(signal.SIGSTOP)
                    assert ended.wait(self.pace.noticed + ROOM), "it was not noticed"
                    assert await_(lambda: bool(seconds))
                finally:
                    peer.kill()
            return seconds[-1]

        return Task(die)

    def assert_noticed(self, task: Task) -> None:
        seconds: float = task.result(self.pace.noticed + 3 * ROOM)
        note(f"a dead peer is noticed after {seconds:.2f} s")
        self.assertGreater(seconds, 0)
        self.assertLess(seconds, self.pace.noticed)


class ShortTests(Cases):
    """Everybody has little patience."""

    pace = SHORT

    def test_the_connection_of_a_busy_handler_dies(self) -> None:
        """Its clients get all their answers, plain and over TLS, whichever client it is."""
        of_server, of_client = contexts()
        tasks = self.all_answered(self.serve(busy(self.pace.work)))
        tasks += self.all_answered(self.serve(busy(self.pace.work), of_server), of_client)
        for task in tasks:
            task.result(self.pace.patience)

    def test_a_client_that_only_sends_loses_messages(self) -> None:
        """It answers the server's pings all the same: all messages arrive."""
        self.only_sending().result(self.pace.patience)

    @unittest.skipUnless(hasattr(signal, "SIGSTOP"), "no process can be stopped here")
    def test_a_peer_that_dies_is_not_noticed(self) -> None:
        """It is noticed in time: closed is true, sends raise the end, on_end is called; what it had sent is read."""
        self.assert_noticed(self.death())

    def test_members_of_a_manager(self) -> None:
        """on_message of one member takes its time: its connection lives, and so do those of others."""
        work, opened = self.pace.work, threading.Barrier(2)

        def on_message(member: syncws.Member, message: str | bytes) -> None:
            if message == MESSAGES[0]:
                time.sleep(work)
            member.send(message)

        manager = syncws.Manager(on_message=on_message, on_open=lambda member: opened.wait(ROOM) and None)
        url = self.serve(manager.run)
        for task in [Task(by_dial, url, self.pace) for _ in range(2)]:
            task.result(self.pace.patience)

    def test_a_peer_that_asks_by_itself(self) -> None:
        """With ping_interval=None on this side the peer's pings are answered, and its close, while nobody reads."""
        ours, theirs = socketpair()
        conn = syncws.Conn(syncws.Transport(ours), client=False, options=syncws.ConnOptions(ping_interval=None))
        peer = Peer(theirs, masked=True)
        self.addCleanup(theirs.close)
        self.addCleanup(conn.close_now)
        for number in range(3):
            peer.send_frame(syncws.PING, str(number))
            self.assertEqual(peer.receive_frame().payload, str(number).encode())
        peer.close(1001, "bye")
        self.assertEqual(peer.receive_close()[0], 1001)
        self.assertTrue(conn.wait_closed(ROOM))

    def test_gevent(self) -> None:
        """The same in greenlets of gevent."""
        self.check_green("gevent")

    def test_eventlet(self) -> None:
        """The same in greenlets of eventlet."""
        self.check_green("eventlet")

    def check_green(self, kind: str) -> None:
        if importlib.util.find_spec(kind) is None:
            self.skipTest(f"{kind} is not installed")
        command = [sys.executable, "-W", "ignore", "-m", "tests.green", kind, "busy"]
        done = subprocess.run(command, capture_output=True, text=True, timeout=60, check=False)
        self.assertEqual(done.stdout, "ws answered\nwss answered\nnoticed\n", done.stderr)


@unittest.skipUnless(os.path.exists("/proc/self/schedstat"), "needs Linux's account of a thread")
@alone("measures what connections cost that do nothing")
class IdleTests(GuaranteeTestCase):
    """A server in a process of its own, and connections that wait for their peers."""

    def test_what_idle_connections_cost(self) -> None:
        """Looking whether somebody reads them takes 5 ms of a second's processor time at most, for 10,000 of them."""
        count = min(size(500, 10_000), raise_descriptor_limit() - 200)
        seconds = 3.0
        with (
            ChildServer({"/": {"ping_interval": None}}, max_connections=count + 100) as server,
            closing_all([]) as peers,
        ):
            for _ in range(count):
                peers.append(connect(server.address))
            server.wait_for_rest()  # the last one waits, too
            before, began = server.processor_time(), time.monotonic()
            time.sleep(seconds)
            each_second = (server.processor_time() - before) / (time.monotonic() - began)
        note(f"{count} idle connections take {each_second * 1000:.2f} ms a second")
        self.assertLess(each_second, 0.005)


class ViewTests(WSGICase):
    """WSGI views, detached from their servers and not."""

    @each_way
    def test_a_view_that_works(self, server: str, detach: bool | None) -> None:
        """Its client gets all answers."""
        upgrader = syncws.Upgrader(ping_interval=0.2, ping_timeout=0.2)

        def app(environ: dict[str, Any], start_response: Any) -> Any:
            return upgrader.serve(environ, busy(1.0), detach=detach)(environ, start_response)

        by_dial(self.serve(app, server).replace("http", "ws"), Pace(1.0, 0.2, 0.2, 1.0))


@heavy
@unittest.skipUnless(HEAVY == "full", "takes two minutes on purpose: SYNCWS_HEAVY=full")
class DefaultsTests(Cases):
    """All defaults, and a handler that works for 100 seconds."""

    pace = LONG

    def test_everything(self) -> None:
        """Everything that is tried with little patience, at the same time, and Chromium behind nginx."""
        of_server, of_client = contexts()
        tasks = self.all_answered(self.serve(busy(self.pace.work)))
        tasks += self.all_answered(self.serve(busy(self.pace.work), of_server), of_client)
        tasks += [self.only_sending(), self.browser()]
        death = self.death()
        for task in tasks:
            task.result(self.pace.patience)
        self.assert_noticed(death)

    def browser(self) -> Task:
        """A page in Chromium, behind an nginx that cuts what is silent for 30 seconds."""
        from tests.interop.clients import Browser
        from tests.interop.test_nginx import Nginx

        Browser.start()
        self.addCleanup(Browser.stop)
        port = self.serve(busy(self.pace.work)).rpartition(":")[2].rstrip("/")
        changes = {"proxy_read_timeout 60s;": "proxy_read_timeout 30s;", "Host $host;": "Host $host:$server_port;"}
        nginx = Nginx(f"127.0.0.1:{port}", changes)
        self.addCleanup(nginx.close)
        page = Browser(f"ws://127.0.0.1:{nginx.ports[80]}/")

        def talk() -> None:
            for message in MESSAGES:
                page.send(message)
            # The page collects them: a call to it may not take as long.
            page._evaluate("globalThis.got = []; (async () => { for (;;) got.push(await peer.receive()); })(); null")
            self.assertTrue(await_(lambda: page._evaluate("got.length") == len(MESSAGES), self.pace.patience))
            check(page._evaluate("got"))

        return Task(talk)
