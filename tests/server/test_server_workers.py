"""`Server(workers=N)` as programs of real processes: serving, dying, replacing, and the end of all of them."""

from __future__ import annotations

import contextlib
import os
import re
import signal
import ssl
import subprocess
import sys
import tempfile
import threading
import time
import unittest
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any

from syncws.testing import LeakChecks, Peer, await_
from tests import certificates, without_news
from tests.server.cases import Client
from tests.tasks import PATIENCE, Task

ROOT = Path(__file__).resolve().parents[2]
LOOPBACK = "127.0.0.1"
TEXT = 1

#: What each of the programs begins with. What they say is one line in one write, whoever says it.
PRELUDE = """
import logging, os, signal, sys, threading, time
import syncws, syncws._conn.conn, syncws._server.server, syncws._server.workers

def say(*words):
    os.write(1, (" ".join(map(str, words)) + "\\n").encode())

def handler(request):
    if request.path == "/":
        return syncws.Response(str(os.getpid()))
    with upgrader.upgrade(request) as conn:
        conn.send(str(os.getpid()))
        for message in conn:
            conn.send(message)

def listen(handler=handler, **options):
    server = syncws.Server(handler, **{"port": 0, "workers": 2, **options})
    say("port", server.address[1])
    return server

upgrader = syncws.Upgrader()
syncws._conn.closing._LINGER = 0.05
pause, syncws._server.workers._PAUSE = syncws._server.workers._PAUSE, 0.05
syncws._server.acceptor._HESITATION = 0.1  # a worker is to have its share also where other programs keep its core busy
logging.basicConfig(level=logging.INFO, format="%(levelname)s %(message)s")
os.register_at_fork(after_in_child=lambda: say("worker", os.getpid()))
"""


class Program:
    """A program in a process group of its own. What it says, and what it logs, are lines of one stream."""

    def __init__(self, text: str, *arguments: str) -> None:
        self.lines: list[str] = []
        self._came = threading.Condition()
        self.process = subprocess.Popen(
            [sys.executable, "-W", "error", "-c", PRELUDE + text, *arguments],
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            env={**os.environ, "PYTHONPATH": str(ROOT)},
            start_new_session=True,
        )
        self._reading = Task(self._read)

    def _read(self) -> None:
        assert self.process.stdout is not None
        for line in self.process.stdout:
            with self._came:
                self.lines.append(line.rstrip("\n"))
                self._came.notify_all()

    def matches(self, pattern: str) -> list[str]:
        """What the group of a pattern is, of each line that it matches."""
        return [found[found.re.groups] for line in list(self.lines) if (found := re.fullmatch(pattern, line))]

    def said(self, pattern: str, times: int = 1) -> list[str]:
        """Wait until that many lines match a pattern; what its group is in each."""
        with self._came:
            found = self._came.wait_for(lambda: len(self.matches(pattern)) >= times, PATIENCE)
        if not found:
            raise AssertionError(f"{times} times {pattern!r} was to come: {self.lines}")
        return self.matches(pattern)

    @property
    def address(self) -> tuple[str, int]:
        return LOOPBACK, int(self.said(r"port (\d+)")[0])

    def workers(self, count: int = 2) -> list[int]:
        """The first processes that were forked, so many of them."""
        return [int(pid) for pid in self.said(r"worker (\d+)", count)][:count]

    def logged(self) -> list[str]:
        """Its log, without that it listens, and without the access log."""
        return [line for line in self.lines if re.match("[A-Z]+ ", line) and without_news(line)]

    def send(self, number: int) -> None:
        """Send a signal to the parent alone."""
        self.process.send_signal(number)

    def press(self, number: int) -> None:
        """Send a signal to all processes, as a terminal does for Ctrl-C."""
        os.killpg(self.process.pid, number)

    def end(self) -> int:
        """Wait for the end of the parent, and of every other process of the program; the parent's exit code."""
        code = self.process.wait(PATIENCE)
        self._reading.result()  # it reads until nobody has the other end
        return code

    def close(self) -> None:
        """End whatever is left."""
        with contextlib.suppress(ProcessLookupError):
            self.press(signal.SIGKILL)
        self.process.wait()
        self._reading.result()
        assert self.process.stdout is not None
        self.process.stdout.close()


class WorkersCase(LeakChecks):
    def run_program(self, text: str = "listen().serve_forever()", *arguments: str) -> Program:
        program = Program(text, *arguments)
        self.addCleanup(program.close)
        return program

    def connect(self, address: Any, *, tls: ssl.SSLContext | None = None) -> tuple[int, Peer]:
        """A WebSocket connection, and the worker that has it."""
        client = self.enterContext(Client(address, tls=tls))
        client.socket.settimeout(PATIENCE)
        peer = client.upgrade()
        return int(peer.receive_frame().payload), peer

    def meet(self, address: Any, pids: Iterable[int], *, tls: ssl.SSLContext | None = None) -> dict[int, list[Peer]]:
        """Connections until each of these workers has one."""
        met: dict[int, list[Peer]] = {}
        missing = set(pids)
        deadline = time.monotonic() + PATIENCE
        while missing:
            self.assertLess(time.monotonic(), deadline, f"none came to {missing}")
            pid, peer = self.connect(address, tls=tls)
            met.setdefault(pid, []).append(peer)
            missing.discard(pid)
        return met

    def ask(self, address: Any) -> int:
        """The worker that answers a request."""
        with Client(address) as client:
            client.socket.settimeout(PATIENCE)
            return int(client.request(b"GET / HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n")[2])

    def assertEcho(self, peer: Peer) -> None:
        peer.send_frame(TEXT, "hello")
        self.assertEqual(peer.receive_frame().payload, b"hello")

    def assertTold(self, peers: Sequence[Peer]) -> None:
        """They are told 1001, and do not answer."""
        for peer in peers:
            self.assertEqual(peer.receive_close(), (1001, ""))

    def assertGoingAway(self, peers: Sequence[Peer]) -> None:
        """They are told 1001, and their connections end."""
        for peer in peers:
            self.assertTold([peer])
            peer.close(1001)
        for peer in peers:  # one of a handler that waits for the others ends behind them
            self.assertTrue(peer.at_end())

    def assertEnds(self, program: Program, code: int = 0) -> None:
        """Every process of the program ends, the parent with this code."""
        self.assertEqual(program.end(), code, program.lines)

    def assertRefused(self, address: Any) -> None:
        """Soon nobody listens any more."""

        def is_refused() -> bool:
            try:
                Client(address).socket.close()
            except ConnectionRefusedError:
                return True
            return False

        self.assertTrue(await_(is_refused, PATIENCE))


class ServingTests(WorkersCase):
    """Several processes, one port."""

    def test_each_serves(self) -> None:
        """Each of N processes gets connections; the parent gets none."""
        program = self.run_program("listen(workers=3).serve_forever()")
        pids = program.workers(3)
        met = self.meet(program.address, pids)
        self.assertEqual(set(met), set(pids))
        self.assertNotIn(program.process.pid, met)
        for peers in met.values():
            for peer in peers:
                self.assertEcho(peer)

    def test_shares(self) -> None:
        """Of connections that come one after the other each worker gets its share, and not the quickest all."""
        program = self.run_program()
        pids = program.workers()
        met = self.meet(program.address, pids)
        for _ in range(60):
            pid, peer = self.connect(program.address)
            met[pid].append(peer)
        for pid in pids:
            self.assertGreater(len(met[pid]), 10)

    def test_each_has_its_own_limit(self) -> None:
        """max_connections is of each worker: one that is full leaves a new connection to one that is not."""
        program = self.run_program("listen(max_connections=1).serve_forever()")
        met: set[int] = set()
        while len(met) < 2:
            client = self.enterContext(Client(program.address))
            client.socket.settimeout(PATIENCE)
            with contextlib.suppress(AssertionError):  # 503, by the one that is full already, if the other is late
                met.add(int(client.upgrade().receive_frame().payload))
        with self.assertRaisesRegex(AssertionError, "503"):
            self.connect(program.address)

    def test_tls(self) -> None:
        """Each worker serves TLS."""
        files = certificates.files(self.enterContext(tempfile.TemporaryDirectory()))
        program = self.run_program(
            """
import ssl
context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
context.load_cert_chain(sys.argv[1])
listen(ssl_context=context).serve_forever()
""",
            files.both,
        )
        pids = program.workers()
        met = self.meet(program.address, pids, tls=certificates.trusting())
        self.assertEqual(set(met), set(pids))

    def test_unix_socket(self) -> None:
        """The file of a Unix socket outlives workers, and is removed once, by the parent."""
        path = os.path.join(self.enterContext(tempfile.TemporaryDirectory()), "socket")
        program = self.run_program("listen(unix_path=sys.argv[1], shutdown_timeout=0).serve_forever()", path)
        first, second = program.workers()
        self.meet(path, (first, second))
        os.kill(first, signal.SIGKILL)
        *_, third = program.workers(3)
        self.meet(path, [third])
        os.kill(second, signal.SIGTERM)
        program.said(rf"INFO worker \d \(process {second}\) ended; another takes its place")
        self.assertTrue(os.path.exists(path))
        program.send(signal.SIGTERM)
        self.assertEnds(program)
        self.assertFalse(os.path.exists(path))

    def test_wsgi(self) -> None:
        """A WSGI application is told that there are other processes, and its WebSocket views work."""
        program = self.run_program("""
from syncws.wsgi import websocket

@websocket
def view(conn):
    conn.send(str(os.getpid()))
    for message in conn:
        conn.send(message)

def app(environ, start_response):
    if environ["PATH_INFO"] == "/chat":
        return view(environ, start_response)
    start_response("200 OK", [])
    return [repr(environ["wsgi.multiprocess"]).encode()]

listen(None, wsgi_app=app).serve_forever()
""")
        with Client(program.address) as client:
            self.assertEqual(client.request()[2], b"True")
        pids = program.workers()
        met = self.meet(program.address, pids)
        program.send(signal.SIGTERM)
        for peers in met.values():
            self.assertGoingAway(peers)
        self.assertEnds(program)

    def test_what_waits_to_be_sent(self) -> None:
        """Messages that wait are sent in a worker, although a thread of the parent did that when it was forked."""
        program = self.run_program("""
from syncws._net.drain import drain
drain.call_at(time.monotonic() + 3600, print)

def push(request):
    with upgrader.upgrade(request) as conn:
        conn.send_nowait(b"x" * 5_000_000)
        conn.receive()

listen(push).serve_forever()
""")
        with Client(program.address) as client:
            client.socket.settimeout(PATIENCE)
            self.assertEqual(len(client.upgrade().receive_frame().payload), 5_000_000)

    def test_locks(self) -> None:
        """What a thread of the parent holds when a worker is forked does not stop the worker."""
        program = self.run_program("""
def hold():
    with server._roster.lock, server._waker._lock:
        held.set()
        forked.wait()

def before():
    held.clear()
    forked.clear()
    threading.Thread(target=hold).start()
    held.wait()

held, forked = threading.Event(), threading.Event()
os.register_at_fork(before=before, after_in_parent=forked.set)
server = listen()
server.serve_forever()
""")
        met = self.meet(program.address, program.workers())
        program.send(signal.SIGTERM)
        for peers in met.values():
            self.assertGoingAway(peers)
        self.assertEnds(program)

    @unittest.skipUnless(os.path.isdir("/proc/self/fd"), "the system does not tell who has which descriptors")
    def test_what_is_inherited(self) -> None:
        """Of the parent's descriptors a worker has those of standard streams, and the listener."""
        program = self.run_program()
        pids = program.workers()
        self.meet(program.address, pids)
        parent, *workers = ({*map(os.readlink, fds(pid))} for pid in (program.process.pid, *pids))
        self.assertEqual(len([each for each in parent if each.startswith("socket:")]), 1 + 2 + 2)
        for worker in workers:
            shared = [each for each in parent & worker if not each.startswith(("/", "pipe:"))]
            self.assertEqual(len(shared), 1, shared)  # what listens
        first, second = workers
        self.assertEqual([each for each in first & second - parent if each != "anon_inode:[eventpoll]"], [])

    def test_a_handler_starts_a_program(self) -> None:
        """A program that a handler starts has the signals that it would have without workers."""
        program = self.run_program("""
import subprocess
def run(request):
    code = "import signal; print(signal.pthread_sigmask(signal.SIG_BLOCK, ()), int(signal.getsignal(signal.SIGTERM)))"
    return syncws.Response(subprocess.run([sys.executable, "-c", code], capture_output=True).stdout)
listen(run).serve_forever()
""")
        with Client(program.address) as client:
            client.socket.settimeout(PATIENCE)
            self.assertEqual(client.request()[2], b"set() 0\n")


def fds(pid: int) -> list[str]:
    folder = f"/proc/{pid}/fd"
    return [f"{folder}/{name}" for name in os.listdir(folder)]


@unittest.skipUnless(hasattr(os, "sched_setaffinity"), "this system keeps no process on a core")
class CoreTests(WorkersCase):
    """Which cores workers are kept on, in fact."""

    def cores(self, *, quota: bool = False, **options: Any) -> list[set[int]]:
        """Where the workers of a program may run that may use two cores itself, in some order."""
        mine = sorted(os.sched_getaffinity(0))[:2]
        if len(mine) < 2:
            self.skipTest("there is one core only")
        program = self.run_program(f"""
syncws._server.cores.has_quota = lambda: {quota}
syncws._server.cores.has_gil = lambda: True
os.sched_setaffinity(0, {set(mine)})
listen(**{options}).serve_forever()
""")
        pids = program.workers(options.get("workers", 2))
        self.meet(program.address, pids)
        found = [os.sched_getaffinity(pid) for pid in pids]
        self.assertEqual(os.sched_getaffinity(program.process.pid), set(mine))
        return sorted(({mine.index(core) for core in each} for each in found), key=sorted)

    def test_one_for_each(self) -> None:
        """Two workers on two cores are kept on one each, and the parent on none."""
        self.assertEqual(self.cores(), [{0}, {1}])

    def test_a_quota(self) -> None:
        """With a quota for this process they are kept nowhere, unless that is asked for."""
        self.assertEqual(self.cores(quota=True), [{0, 1}, {0, 1}])
        self.assertEqual(self.cores(quota=True, pin=True), [{0}, {1}])

    def test_another_number(self) -> None:
        """Three workers on two cores are kept nowhere, unless that is asked for: then two of them share one."""
        self.assertEqual(self.cores(workers=3), [{0, 1}] * 3)
        self.assertEqual(self.cores(workers=3, pin=True), [{0}, {0}, {1}])

    def test_not_wanted(self) -> None:
        """With pin=False they are kept nowhere."""
        self.assertEqual(self.cores(pin=False), [{0, 1}, {0, 1}])

    def test_a_core_is_gone(self) -> None:
        """A worker whose core was taken away from the program serves all the same, and says so."""
        program = self.run_program("""
syncws._server.workers.cores_of_workers = lambda *_: [1 << 14]
listen().serve_forever()
""")
        pids = program.workers()
        self.meet(program.address, pids)
        self.assertEqual(len(program.said(r"WARNING (worker \d cannot be kept on core 16384: .*)", 2)), 2)


class DeathTests(WorkersCase):
    """Workers that die."""

    def test_killed_under_load(self) -> None:
        """One of two is killed under load: the peers of the other notice nothing, no new connection is refused, those
        that it had go on at their next attempt, and another takes its place."""
        program = self.run_program("listen(shutdown_timeout=0).serve_forever()")
        address, (victim, survivor) = program.address, program.workers()
        peers = self.meet(address, (victim, survivor))
        for _ in range(40 - sum(map(len, peers.values()))):
            pid, peer = self.connect(address)
            peers[pid].append(peer)
        loads = {pid: [Load(peer) for peer in peers[pid]] for pid in peers}
        streams = [Stream(address) for _ in range(3)]
        self.addCleanup(lambda: [each.stop() for each in streams])
        self.addCleanup(lambda: [each.stop() for pid in peers for each in loads[pid]])
        for each in (*loads[victim], *loads[survivor], *streams):
            each.goes_on()

        os.kill(victim, signal.SIGKILL)
        program.said(rf"WARNING worker \d \(process {victim}\) was killed by SIGKILL; another takes its place")
        for load in loads[victim]:
            self.assertIsInstance(load.task.error(), EOFError | ConnectionResetError)
        for each in (*loads[survivor], *streams):
            each.goes_on()
        *_, successor = program.workers(3)
        self.assertTrue(await_(lambda: any(successor in stream.served for stream in streams), PATIENCE))
        self.meet(address, [successor])

        for stream in streams:
            stream.stop()
            self.assertEqual(stream.task.result(), None)
            self.assertLessEqual(stream.lost, 1)  # what the victim had; and so not twice in a row
        for load in loads[survivor]:
            load.stop()
            load.task.result()

        program.send(signal.SIGTERM)
        self.assertEnds(program)

    def test_replaced(self) -> None:
        """A worker that ends in whatever way is replaced, with one line of log."""
        program = self.run_program("listen(shutdown_timeout=0).serve_forever()")
        pids = program.workers()
        self.meet(program.address, pids)
        for number, how in ((signal.SIGKILL, "was killed by SIGKILL"), (signal.SIGTERM, "ended")):
            *_, newest = pids
            os.kill(newest, number)
            pids = program.workers(len(pids) + 1)
            self.meet(program.address, [pids[-1]])
            level = "INFO" if how == "ended" else "WARNING"
            said = rf"{level} worker \d \(process {newest}\) {how}; another takes its place"
            self.assertEqual(len(program.said(said)), 1, program.lines)
        self.assertEqual(len(program.logged()), 2)

    def test_told_to_end(self) -> None:
        """A worker that gets a SIGTERM of its own tells its peers, and not those of the other, nor the parent."""
        program = self.run_program()
        first, second = program.workers()
        met = self.meet(program.address, (first, second))
        os.kill(first, signal.SIGTERM)
        self.assertGoingAway(met[first])
        self.meet(program.address, program.workers(3)[2:])
        for peer in met[second]:
            self.assertEcho(peer)

    def test_a_handler_ends_its_worker(self) -> None:
        """`shutdown` called by a handler ends its worker, and another takes the place; the others go on."""
        program = self.run_program("""
def ending(request):
    with upgrader.upgrade(request) as conn:
        conn.send(str(os.getpid()))
        for message in conn:
            if message == "end":
                say("left", server.shutdown())
            conn.send(message)

server = listen(ending)
server.serve_forever()
""")
        first, second = program.workers()
        met = self.meet(program.address, (first, second))
        met[first][0].send_frame(TEXT, "end")
        self.assertGoingAway(met[first])
        program.said("left 0")
        program.said(rf"INFO worker \d \(process {first}\) ended; another takes its place")
        for peer in met[second]:
            self.assertEcho(peer)
        self.meet(program.address, program.workers(3)[2:])

    def test_dies_at_once(self) -> None:
        """A worker that dies at once, each time, is tried again once a second, with one line of log."""
        program = self.run_program("""
syncws._server.workers._PAUSE = pause
os.register_at_fork(after_in_child=lambda: os._exit(3))
listen().serve_forever()
""")
        program.said(r"WARNING worker 0 \(process \d+\) ended with status 3; another takes its place", 2)
        program.send(signal.SIGTERM)
        self.assertEnds(program)
        started, ended = program.matches(r"worker (\d+)"), program.matches(r"WARNING worker \d \(process (\d+)\) .*")
        self.assertLessEqual(set(ended), set(started))
        self.assertEqual(len(set(ended)), len(ended))
        self.assertLessEqual(len(started), 6)

    def test_it_fails(self) -> None:
        """A worker that fails logs why."""
        program = self.run_program("""
def accept(acceptor, over):
    raise OSError("nothing listens")

syncws._server.acceptor.Acceptor.run = accept
listen().serve_forever()
""")
        program.said("ERROR worker [01] failed", 2)
        program.said("OSError: nothing listens", 2)
        program.said(r"WARNING worker [01] \(process \d+\) ended with status 1; another takes its place", 2)
        program.send(signal.SIGTERM)
        self.assertEnds(program)

    def test_its_child_lives_on(self) -> None:
        """A worker is replaced although a process that it forked lives on, and holds what it had."""
        program = self.run_program("""
import warnings
warnings.simplefilter("ignore")  # of a fork beside threads
def forking(request):
    if request.path == "/fork":
        os.fork() or signal.pause()
        return syncws.Response(str(os.getpid()))
    return handler(request)

listen(forking).serve_forever()
""")
        program.workers()
        with Client(program.address) as client:
            client.socket.settimeout(PATIENCE)
            pid = int(client.request(b"GET /fork HTTP/1.1\r\nHost: x\r\n\r\n")[2])
        program.workers(3)
        os.kill(pid, signal.SIGKILL)
        program.said(rf"WARNING worker \d \(process {pid}\) was killed by SIGKILL; another takes its place")
        self.meet(program.address, program.workers(4)[3:])

    def test_children_are_nobodys(self) -> None:
        """Where the program lets the system reap its children, a worker that dies is replaced, and all end."""
        program = self.run_program("""
signal.signal(signal.SIGCHLD, signal.SIG_IGN)
listen(shutdown_timeout=0).serve_forever()
""")
        pids = program.workers()
        self.meet(program.address, pids)
        os.kill(pids[0], signal.SIGKILL)
        program.said(rf"INFO worker \d \(process {pids[0]}\) ended; another takes its place")
        self.meet(program.address, program.workers(3)[2:])
        program.send(signal.SIGTERM)
        self.assertEnds(program)


class Load:
    """A connection that sends and receives one message after the other, in a thread."""

    def __init__(self, peer: Peer) -> None:
        self._peer = peer
        self._rounds = 0
        self._stopped = False
        self.task = Task(self._run)

    def _run(self) -> None:
        while not self._stopped:
            message = str(self._rounds).encode()
            self._peer.send_frame(TEXT, message)
            if (received := self._peer.receive_frame().payload) != message:
                raise AssertionError(f"{received!r} came in place of {message!r}")
            self._rounds += 1

    def goes_on(self) -> None:
        """Wait until it has made some rounds from now on."""
        goal = self._rounds + 3
        if not await_(lambda: self._rounds >= goal or self.task.done, PATIENCE) or self.task.done:
            raise AssertionError(f"it stopped: {self.task.error()!r}" if self.task.done else "it stands still")

    def stop(self) -> None:
        """Let it end."""
        self._stopped = True
        self.task.join(PATIENCE)


class Stream(Load):
    """Connections one after the other, in a thread: each must be accepted, and may be lost with its worker once."""

    def __init__(self, address: Any) -> None:
        self._address = address
        self.served: set[int] = set()
        self.lost = 0
        super().__init__(None)  # type: ignore[arg-type]

    def _run(self) -> None:
        while not self._stopped:
            with Client(self._address) as client:  # refused: an error
                client.socket.settimeout(PATIENCE)
                try:
                    peer = client.upgrade()
                    pid = int(peer.receive_frame().payload)
                    peer.send_frame(TEXT, "hello")
                    peer.receive_frame()
                except (EOFError, ConnectionResetError, BrokenPipeError):
                    self.lost += 1
                    continue
            self.served.add(pid)
            self._rounds += 1


class EndTests(WorkersCase):
    """One end for all."""

    def test_sigterm(self) -> None:
        """After SIGTERM each peer of each worker is told 1001, no process is left, and the exit code is 0."""
        program = self.run_program()
        pids = program.workers()
        met = self.meet(program.address, pids)
        self.assertEqual(set(met), set(pids))
        program.send(signal.SIGTERM)
        for peers in met.values():
            self.assertGoingAway(peers)
        self.assertEnds(program)
        self.assertEqual(program.logged(), ["INFO SIGTERM: shutting down"])

    def test_ctrl_c(self) -> None:
        """So it is after Ctrl-C, which every process gets, and after a SIGTERM that systemd sends to all."""
        for number in (signal.SIGINT, signal.SIGTERM):
            with self.subTest(number=number):
                program = self.run_program()
                met = self.meet(program.address, program.workers())
                program.press(number)
                for peers in met.values():
                    self.assertGoingAway(peers)
                self.assertEnds(program)
                self.assertEqual(program.logged(), [f"INFO {number.name}: shutting down"])

    def test_a_second_ctrl_c(self) -> None:
        """A second Ctrl-C does not wait for peers that do not answer: it is a KeyboardInterrupt, and workers die."""
        program = self.run_program("""
try:
    listen().serve_forever()
except KeyboardInterrupt:
    say("interrupted")
""")
        met = self.meet(program.address, program.workers())
        program.press(signal.SIGINT)
        for peers in met.values():
            self.assertTold(peers)
        program.said("INFO SIGINT: shutting down")
        program.press(signal.SIGINT)
        program.said("interrupted")
        self.assertEnds(program)

    def test_a_second_sigterm(self) -> None:
        """A second SIGTERM ends the parent as it would any program; the workers end within their time."""
        program = self.run_program("listen(shutdown_timeout=0.5).serve_forever()")
        met = self.meet(program.address, program.workers())
        program.send(signal.SIGTERM)
        for peers in met.values():
            self.assertTold(peers)
        program.said("INFO SIGTERM: shutting down")
        while program.process.poll() is None:  # one that comes early is the same as the first
            program.send(signal.SIGTERM)
        self.assertIn(program.end(), (0, -signal.SIGTERM))

    def test_a_signal_at_a_fork(self) -> None:
        """A signal is not lost that comes just before a fork, or just after it."""
        for when in ("before", "after_in_parent"):
            with self.subTest(when=when):
                program = self.run_program(f"""
os.register_at_fork({when}=lambda: os.kill(os.getpid(), signal.SIGTERM))
listen().serve_forever()
""")
                self.assertEnds(program)
                self.assertEqual(program.logged(), ["INFO SIGTERM: shutting down"])

    def test_a_signal_at_birth(self) -> None:
        """A worker that gets a signal as soon as it is there ends in order, and is replaced."""
        program = self.run_program("""
def once():
    try:
        os.read(theirs, 1)
    except BlockingIOError:
        return
    os.kill(os.getpid(), signal.SIGINT)

theirs, ours = os.pipe()
os.set_blocking(theirs, False)
os.write(ours, b"x")
os.register_at_fork(after_in_child=once)
listen().serve_forever()
""")
        (ended,) = program.said(r"INFO worker \d \(process (\d+)\) ended; another takes its place")
        started = program.workers(3)
        self.assertIn(int(ended), started[:2])
        self.meet(program.address, set(started) - {int(ended)})

    def test_shutdown_by_a_thread(self) -> None:
        """`shutdown` by another thread of the parent ends all; workers wait as long as it says, not as their server."""
        program = self.run_program(f"""
def slow(request):
    say("reading")
    return syncws.Response(request.body())

signal.signal(signal.SIGUSR1, lambda *_: ending.start())
server = listen(slow, shutdown_timeout=0)
ending = threading.Thread(target=lambda: say("killed", server.shutdown({PATIENCE})))
server.serve_forever()
ending.join()
say("over")
""")
        with Client(program.address) as client:
            client.socket.settimeout(PATIENCE)
            client.socket.sendall(b"POST / HTTP/1.1\r\nHost: x\r\nContent-Length: 1\r\n\r\n")
            program.said("reading")
            program.send(signal.SIGUSR1)
            self.assertRefused(program.address)
            client.socket.sendall(b"x")
            self.assertEqual(client.response()[2], b"x")
        program.said("killed 0")
        program.said("over")
        self.assertEnds(program)

    def test_shutdown_by_a_handler_of_a_signal(self) -> None:
        """`shutdown` by the program's own handler of a signal ends all, also if every process gets that signal."""
        for whole_group in (False, True):
            with self.subTest(whole_group=whole_group):
                program = self.run_program("""
signal.signal(signal.SIGHUP, lambda *_: say("killed", server.shutdown(), os.getpid()))
server = listen()
server.serve_forever()
""")
                met = self.meet(program.address, program.workers())
                (program.press if whole_group else program.send)(signal.SIGHUP)
                for peers in met.values():
                    self.assertGoingAway(peers)
                self.assertEnds(program)
                self.assertIn(f"killed 0 {program.process.pid}", program.lines)
                self.assertFalse([line for line in program.logged() if "takes its place" in line])

    def test_a_handler_of_a_signal_raises(self) -> None:
        """What the program's own handler of a signal raises comes out of serve_forever, and no worker is left."""
        program = self.run_program("""
def note(*_):
    raise ZeroDivisionError

signal.signal(signal.SIGUSR1, note)
server = listen()
try:
    server.serve_forever()
except ZeroDivisionError:
    say("raised", signal.pthread_sigmask(signal.SIG_BLOCK, ()))
    time.sleep(3600)
""")
        self.meet(program.address, program.workers())
        program.send(signal.SIGUSR1)
        program.said(r"raised set\(\)")
        self.assertRefused(program.address)

    def test_not_the_main_thread(self) -> None:
        """serve_forever in another thread works too, with a warning of the threads there are."""
        program = self.run_program(
            """
server = listen()
serving = threading.Thread(target=server.serve_forever, name="serving")
serving.start()
signal.sigwait({signal.SIGUSR1})
say("killed", server.shutdown())
serving.join()
""".replace("server = listen()", "signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGUSR1})\nserver = listen()")
        )
        met = self.meet(program.address, program.workers())
        program.send(signal.SIGUSR1)
        for peers in met.values():
            self.assertGoingAway(peers)
        program.said("killed 0")
        self.assertEnds(program)
        (warned,) = program.logged()
        self.assertTrue(warned.startswith("WARNING threads are running while workers are forked (MainThread)"), warned)

    def test_killed_at_the_end(self) -> None:
        """A worker that does not end in time is killed, and counted."""
        program = self.run_program("""
syncws._server.server._WORKER_GRACE = 0
signal.signal(signal.SIGUSR1, lambda *_: say("killed", server.shutdown(0)))
server = listen()
server.serve_forever()
""")
        stuck, _ = program.workers()
        self.meet(program.address, program.workers())
        os.kill(stuck, signal.SIGSTOP)
        program.send(signal.SIGUSR1)
        program.said("killed 1")
        self.assertEnds(program)

    def test_stuck_handlers(self) -> None:
        """Handlers that do not end do not keep their workers, which nobody has to kill."""
        program = self.run_program("""
def stuck(request):
    say("stuck")
    time.sleep(3600)

signal.signal(signal.SIGUSR1, lambda *_: say("killed", server.shutdown(0)))
server = listen(stuck)
server.serve_forever()
""")
        with Client(program.address) as client:
            client.socket.sendall(b"GET / HTTP/1.1\r\nHost: x\r\n\r\n")
            program.said("stuck")
            program.send(signal.SIGUSR1)
            program.said("killed 0")
        self.assertEnds(program)

    def test_while_one_is_due(self) -> None:
        """The end does not wait for a worker that is about to be replaced, nor start it."""
        program = self.run_program("""
syncws._server.workers._PAUSE = 3600
listen(shutdown_timeout=0).serve_forever()
""")
        pids = program.workers()
        self.meet(program.address, pids)
        os.kill(pids[0], signal.SIGKILL)
        program.said(rf"WARNING worker \d \(process {pids[0]}\) was killed by SIGKILL; another takes its place")
        program.send(signal.SIGTERM)
        self.assertEnds(program)
        self.assertEqual(len(program.matches(r"worker (\d+)")), 2)

    def test_what_is_done_once(self) -> None:
        """Workers write what they have printed, and not what the parent had; only the parent runs atexit functions."""
        program = self.run_program("""
import atexit
def printing(request):
    print("by a worker")
    return syncws.Response("ok")

atexit.register(say, "at exit")
server = listen(printing)
print("by the parent")
server.serve_forever()
print("at the end")
""")
        with Client(program.address) as client:
            client.socket.settimeout(PATIENCE)
            self.assertEqual(client.request()[2], b"ok")
        program.send(signal.SIGTERM)
        self.assertEnds(program)
        for line in ("by a worker", "by the parent", "at the end", "at exit"):
            self.assertEqual(program.lines.count(line), 1, program.lines)


class OrphanTests(WorkersCase):
    """Workers whose parent is killed."""

    def test_parent_killed(self) -> None:
        """They end in order: each of their peers is told 1001, and nobody is left."""
        program = self.run_program()
        met = self.meet(program.address, program.workers())
        program.send(signal.SIGKILL)
        for peers in met.values():
            self.assertGoingAway(peers)
        self.assertEnds(program, -signal.SIGKILL)
        self.assertEqual(program.logged(), ["WARNING the parent process is gone: this worker ends"] * 2)

    def test_another_child_of_the_parent(self) -> None:
        """So they do while another process that the parent forked lives on, and holds what it had."""
        program = self.run_program("""
signal.signal(signal.SIGUSR1, lambda *_: os.fork() or time.sleep(3600))
listen().serve_forever()
""")
        met = self.meet(program.address, program.workers())
        program.send(signal.SIGUSR1)
        program.workers(3)
        program.send(signal.SIGKILL)
        for peers in met.values():
            self.assertGoingAway(peers)
        program.said("WARNING the parent process is gone: this worker ends", 2)

    def test_parent_killed_at_once(self) -> None:
        """A worker whose parent is killed as soon as it is forked ends as well."""
        program = self.run_program("""
os.register_at_fork(after_in_child=lambda: os.kill(os.getppid(), signal.SIGKILL))
listen().serve_forever()
""")
        self.assertEnds(program, -signal.SIGKILL)


if __name__ == "__main__":
    unittest.main()
