"""`Server(pin=...)` for one process: where its threads run, read back from the system, in programs of their own."""

from __future__ import annotations

import dataclasses
import json
import os
import signal
import subprocess
import sys
import threading
import unittest
from typing import Any
from unittest import mock

from benchmarks.job import Job
from syncws._server import cores, pinning
from syncws._server.crowd import Crowd
from syncws._server.judge import Judge
from syncws._server.pinning import ConnectionPinning, JudgedPinning, Pinning, ProcessPinning, choose_pinning
from syncws.testing import LeakChecks, Peer, await_
from tests.partners import heavy
from tests.server.cases import Client
from tests.server.test_server_workers import ROOT, TEXT, Program, WorkersCase
from tests.tasks import PATIENCE, Task

#: A handler that does what a message says, and says where threads and processes may run. One server, in one process.
HANDLER = """
import subprocess

def where(number=0):
    return ",".join(map(str, sorted(os.sched_getaffinity(number))))

def stray():
    thread = threading.Thread(target=over.wait, daemon=True)
    thread.start()
    strays.append(thread.native_id)
    return where(thread.native_id)

def child():
    return subprocess.run(
        [sys.executable, "-c", "import os; print(*sorted(os.sched_getaffinity(0)), sep=',')"], stdout=subprocess.PIPE
    ).stdout.decode().strip()

def load():
    import this_is_loaded_once
    return where()

def main():
    return where(os.getpid())

def last_stray():
    return where(strays[-1])

def handler(request):
    with upgrader.upgrade(request) as conn:
        for message in conn:
            conn.send(globals()[message]())

over, strays = threading.Event(), []
syncws._server.pinning.WINDOW = 0.05
"""


class ChoiceTests(LeakChecks):
    """What is kept, by the option and by what the process is."""

    def setUp(self) -> None:
        super().setUp()
        self.enterContext(mock.patch("os.sched_getaffinity", return_value={0, 1}, create=True))
        self.enterContext(mock.patch("os.sched_setaffinity", create=True))
        self.enterContext(mock.patch("os.cpu_count", return_value=2))
        self.enterContext(mock.patch.object(cores, "has_quota", return_value=False))
        self.enterContext(mock.patch.object(pinning, "has_gil", return_value=True))

    def choose(self, pin: Any, workers: int = 1) -> type[Pinning]:
        return type(choose_pinning(pin, workers, lambda: 0))

    def test_one_process(self) -> None:
        """Each value means one thing; without the option nothing is kept."""
        for pin in (None, False):
            self.assertIs(self.choose(pin), Pinning)
        for asked in (True, "workers", 0, 1):
            self.assertIs(self.choose(asked), ProcessPinning, asked)
        self.assertIs(self.choose("connections"), ConnectionPinning)
        self.assertIs(self.choose("auto"), JudgedPinning)

    def test_a_worker(self) -> None:
        """A whole worker is kept by the one that forked it; connections in it are kept by itself."""
        for pin in (None, False, True, "workers"):
            self.assertIs(self.choose(pin, 2), Pinning)
        self.assertIs(self.choose("connections", 2), ConnectionPinning)
        self.assertIs(self.choose("auto", 3), JudgedPinning)

    def test_auto_is_not_for_everybody(self) -> None:
        """With "auto" nothing is kept, and one line says why, where that could only harm, or where others decide."""
        for says, patch in (
            ("it keeps no thread on a core", mock.patch.object(pinning, "can_pin", return_value=False)),
            ("are greenlets", mock.patch.object(pinning, "is_green", return_value=True)),
            ("there is no GIL", mock.patch.object(pinning, "has_gil", return_value=False)),
            ("there is one core only", mock.patch("os.sched_getaffinity", return_value={1}, create=True)),
            ("somebody has limited the cores", mock.patch("os.cpu_count", return_value=4)),
            ("or their time", mock.patch.object(cores, "has_quota", return_value=True)),
        ):
            with self.subTest(says), patch, self.assertLogs("syncws.server", "INFO") as logs:
                self.assertIs(self.choose("auto"), Pinning)
            self.assertEqual(len(logs.output), 1)
            self.assertRegex(logs.output[0], f'^INFO:syncws.server:pin="auto" leaves all to the system: .*{says}')

    def test_greenlets(self) -> None:
        """Where all threads are greenlets of one, connections are kept nowhere, and a WARNING says so."""
        with (
            mock.patch.object(pinning, "is_green", return_value=True),
            self.assertLogs("syncws.server", "WARNING") as logs,
        ):
            self.assertIs(self.choose("connections"), Pinning)
        self.assertIn('pin="connections" does nothing: the threads of this process are greenlets', logs.output[0])


@unittest.skipUnless(hasattr(os, "sched_setaffinity"), "this system keeps no thread on a core")
class PinCase(WorkersCase):
    def setUp(self) -> None:
        super().setUp()
        self.all = ",".join(map(str, sorted(os.sched_getaffinity(0))))
        if "," not in self.all:
            self.skipTest("there is one core only")

    def serve(self, pin: Any, *, workers: int = 1, more: str = "") -> Program:
        return self.run_program(f"{HANDLER}\n{more}\nlisten(handler, workers={workers}, pin={pin!r}).serve_forever()")

    def peer(self, program: Program) -> Peer:
        client = self.enterContext(Client(program.address))
        client.socket.settimeout(PATIENCE)
        return client.upgrade()

    def learn(self, peer: Peer, what: str) -> str:
        peer.send_frame(TEXT, what)
        return peer.receive_frame().payload.decode()


class ConnectionTests(PinCase):
    """pin="connections"."""

    def test_connections(self) -> None:
        """The threads of connections share one core; the main thread has all."""
        program = self.serve("connections")
        peers = [self.peer(program) for _ in range(3)]
        cores = {self.learn(each, "where") for each in peers}
        self.assertEqual((len(cores), self.learn(peers[0], "main")), (1, self.all))
        self.assertNotIn(",", cores.pop())
        program.send(signal.SIGTERM)
        self.assertEnds(program)

    def test_what_a_handler_starts(self) -> None:
        """A process that a handler starts has all cores, from its first instruction on; a thread soon; so has who loads
        a module."""
        program = self.serve("connections")
        peer = self.peer(program)
        core = self.learn(peer, "where")
        self.assertEqual(self.learn(peer, "stray"), core, "on this system a thread inherits it no more")
        self.assertTrue(await_(lambda: self.learn(peer, "last_stray") == self.all, PATIENCE))
        self.assertEqual(self.learn(peer, "where"), core)
        self.assertEqual(self.learn(peer, "child"), self.all)
        other = self.peer(program)
        self.assertEqual(self.learn(other, "where"), core)

    def test_a_module_that_is_loaded(self) -> None:
        """A thread that loads a module has all cores while it does: a library may count them, and make its pool."""
        program = self.serve(
            "connections",
            more="import importlib.abc\n"
            "class Finder(importlib.abc.MetaPathFinder):\n"
            "    def find_spec(self, name, path, target=None):\n"
            "        if name == 'this_is_loaded_once':\n"
            "            seen.append(where())\n"
            "seen = []\n"
            "sys.meta_path.insert(0, Finder())\n"
            "def load():\n"
            "    try:\n"
            "        import this_is_loaded_once\n"
            "    except ImportError:\n"
            "        return seen[-1]\n",
        )
        peer = self.peer(program)
        self.assertNotEqual(self.learn(peer, "where"), self.all)
        self.assertEqual(self.learn(peer, "load"), self.all)

    def test_workers(self) -> None:
        """Each worker keeps its connections on a core of its own, and its main thread on none."""
        more = "def where_and_who():\n    return f'{os.getpid()} {where()} {main()}'\n"
        program = self.serve("connections", workers=2, more=more)
        pids = program.workers()
        found: dict[int, str] = {}
        peers = []

        def all_are_met() -> bool:
            peers.append(self.peer(program))
            pid, core, main = self.learn(peers[-1], "where_and_who").split()
            self.assertEqual(main, self.all)
            found[int(pid)] = core
            return found.keys() == set(pids)

        self.assertTrue(await_(all_are_met, PATIENCE))
        self.assertEqual(len(set(found.values())), 2)
        self.assertNotIn(self.all, found.values())


class ProcessTests(PinCase):
    """pin=True, and a core by its number."""

    def test_process(self) -> None:
        """Every thread of the process runs on one core; what a handler starts, too."""
        peer = self.peer(self.serve(True))
        where = [self.learn(peer, each) for each in ("where", "main", "stray", "child")]
        self.assertEqual(where, where[:1] * 4)
        self.assertNotIn(",", where[0])

    def test_number(self) -> None:
        """The same on the core that was named, each of them."""
        for core in self.all.split(",")[:2]:
            peer = self.peer(self.serve(int(core)))
            self.assertEqual([self.learn(peer, "where"), self.learn(peer, "main")], [core, core])

    def test_nothing(self) -> None:
        """Without the option, and with False, everything has all cores."""
        for pin in (None, False):
            peer = self.peer(self.serve(pin))
            self.assertEqual([self.learn(peer, "where"), self.learn(peer, "main")], [self.all] * 2)

    def test_after_it(self) -> None:
        """The program has its cores back once the server is over, in each thread that it has not put elsewhere."""
        core, other = map(int, self.all.split(",")[:2])
        program = self.run_program(f"""{HANDLER}
other = {other}
server = listen(handler, workers=1, pin={core})
helper = threading.Thread(target=over.wait, daemon=True)
helper.start()
server.start()
while where(helper.native_id) == {self.all!r}:
    time.sleep(0.01)
placed = threading.Thread(target=over.wait, daemon=True)
placed.start()
os.sched_setaffinity(placed.native_id, [other])
say("during", where(helper.native_id))
server.shutdown()
say("after", where(helper.native_id), where(), where(placed.native_id))
""")
        self.assertNotIn(",", program.said(r"during (.*)")[0])
        self.assertEqual(program.said(r"after (.*)")[0], f"{self.all} {self.all} {other}")

    def test_a_core_that_is_gone(self) -> None:
        """Where the core was taken away since the server was made, one WARNING says so, and it serves."""
        core = self.all.split(",")[0]
        gone = "syncws._server.pinning._keep_process = refuse\n"
        refuse = "def refuse(core):\n    raise OSError(22, 'Invalid argument')\n"
        program = self.serve(int(core), more=refuse + gone)
        self.assertEqual(self.learn(self.peer(program), "where"), self.all)
        self.assertEqual(len(program.said(r"WARNING (this process cannot be kept on core \d+: .*)")), 1)


@unittest.skipUnless(hasattr(os, "sched_setaffinity"), "this system keeps no thread on a core")
class BlockTests(LeakChecks):
    """In this process."""

    def test_the_process(self) -> None:
        """Every thread is on the core, and has its cores back at the end, unless it was put elsewhere meanwhile."""
        before = os.sched_getaffinity(0)
        self.addCleanup(os.sched_setaffinity, 0, before)
        core = min(before)
        with ProcessPinning(core):
            self.assertEqual(os.sched_getaffinity(0), {core})
            self.assertEqual(Task(os.sched_getaffinity, 0).result(), {core})
        self.assertEqual(os.sched_getaffinity(0), before)
        with ProcessPinning(None):
            self.assertEqual(len(os.sched_getaffinity(0)), 1)
            os.sched_setaffinity(0, before)
        self.assertEqual(os.sched_getaffinity(0), before)

    def test_a_core_that_is_not_to_be_had(self) -> None:
        """One WARNING, and the process stays as it was."""
        before = os.sched_getaffinity(0)
        with self.assertLogs("syncws.server", "WARNING") as logs, ProcessPinning(4000):
            self.assertEqual(os.sched_getaffinity(0), before)
        self.assertEqual(len(logs.output), 1)
        self.assertEqual(os.sched_getaffinity(0), before)

    def test_connections(self) -> None:
        """A thread of a connection is on one core until the block ends; others keep theirs."""
        before = os.sched_getaffinity(0)
        found: list[set[int]] = []
        with mock.patch.object(pinning, "WINDOW", 0.01), ConnectionPinning() as pin:
            Task(pin.target(lambda: found.append(os.sched_getaffinity(0)))).result()
            self.assertEqual(os.sched_getaffinity(0), before)
        self.assertEqual(len(found[0]), 1)


class WatchTests(LeakChecks):
    """What the thread does that looks after cores, step by step."""

    def setUp(self) -> None:
        super().setUp()
        self.enterContext(mock.patch("os.sched_getaffinity", return_value={0, 1}, create=True))
        self.enterContext(mock.patch("os.cpu_count", return_value=2))
        self.enterContext(mock.patch.object(cores, "has_quota", return_value=False))
        self.enterContext(mock.patch("syncws._server.kept._begin_listening"))
        self._better: int | None = None
        self.enterContext(mock.patch.object(Crowd, "look", side_effect=lambda *_: self._better))
        self._wanted = False
        self.judge = mock.create_autospec(Judge, instance=True)
        self.judge.look.side_effect = lambda window: self._wanted
        self.pinning = JudgedPinning(lambda: 0)
        self.pinning._judge = self.judge

    def test_the_judge_decides(self) -> None:
        """Threads are kept while the judge wants it."""
        for wanted in (False, True, True, False):
            self._wanted = wanted
            self.pinning._look()
            self.assertEqual(self.pinning._kept.core is not None, wanted)
        self.judge.rest.assert_not_called()

    def test_a_crowd(self) -> None:
        """A core that others use is left for another one, which begins the trial anew and is logged."""
        self._wanted = True
        self.pinning._look()
        self._better = 7
        with self.assertLogs("syncws.server", "INFO") as logs:
            self.pinning._look()
        self.assertEqual(self.pinning._kept.core, 7)
        self.judge.begin_anew.assert_called_once_with()
        self.assertIn("is used by others: connections are kept on core 7", logs.output[0])

    def test_somebody_else_decides_now(self) -> None:
        """A process that was restricted meanwhile keeps nothing, and lets the judge rest."""
        self._wanted = True
        with mock.patch("os.cpu_count", return_value=4):
            self.pinning._look()
        self.assertIsNone(self.pinning._kept.core)
        self.judge.rest.assert_called_once_with()

    def test_what_is_measured(self) -> None:
        """A window has what was done since the one before."""
        messages = iter((5, 25, 26))
        watching = JudgedPinning(lambda: next(messages))
        watching._judge = self.judge
        watching._begin()
        watching._look()
        watching._look()
        windows = [call.args[0] for call in self.judge.look.call_args_list]
        self.assertEqual([each.messages for each in windows], [20, 1])
        self.assertTrue(all(each.seconds > 0 and each.cpu > 0 and each.waits >= 0 for each in windows))

    def test_the_end(self) -> None:
        """After the block the thread ends, and nothing is kept."""
        watching = ConnectionPinning()
        with mock.patch.object(pinning, "WINDOW", 0.01), watching:
            self.assertIsNotNone(watching._kept.core)
        self.assertTrue(await_(lambda: watching._kept.core is None, PATIENCE))

    def test_no_thread(self) -> None:
        """Where the system gives no thread that is logged, and nothing is kept."""
        watching = ConnectionPinning()
        with (
            mock.patch.object(threading.Thread, "start", side_effect=RuntimeError("can't start new thread")),
            self.assertLogs("syncws.server", "ERROR") as logs,
            watching,
        ):
            self.assertIsNone(watching._kept.core)
        self.assertIn("no thread to look after cores (can't start new thread)", logs.output[0])


class LoadTests(PinCase):
    """pin="auto" under a real load."""

    @heavy
    def test_auto(self) -> None:
        """Connections that fight over the GIL are kept on a core, and are free once they hash, which gives it away."""
        program = self.run_program(f"""{HANDLER}
import hashlib
from syncws._server import cores, judge
cores.has_quota, os.cpu_count = (lambda: False), (lambda: len(cores.own_cores()))  # as on a machine of its own
syncws._server.pinning.has_gil = lambda: True
syncws._server.pinning.WINDOW = 0.25
# Other tests have the machine, too: neither how busy it is nor what a trial brings can be told of it.
judge._BUSY, judge._RATE, judge._COST, judge._REST = 0.05, 0.0, 3.0, 2

def handler(request):
    with upgrader.upgrade(request) as conn:
        for message in conn:
            if is_hashing.is_set():
                hashlib.sha256(large).digest()
            conn.send(message)

def tell():
    said = None
    while True:
        time.sleep(0.02)
        kept = server._acceptor._pinning._kept
        if (kept.core is not None, server.pin_state()) != said:
            said = kept.core is not None, server.pin_state()
            say("now", *said)

large, is_hashing = bytes(1 << 20), threading.Event()
signal.signal(signal.SIGUSR1, lambda number, frame: is_hashing.set())
syncws.Server.pin_state = lambda self: self._acceptor._pinning._judge.state.value
server = listen(handler, workers=1, pin="auto")
server.start()
while not hasattr(server._acceptor._pinning, "_kept"):
    time.sleep(0.01)
tell()
""")
        job = Job("echo", program.address[1], program.process.pid, connections=64, size=32, seconds=2 * PATIENCE)
        load = subprocess.Popen(
            [sys.executable, "-m", "benchmarks.load", json.dumps(dataclasses.asdict(job))],
            cwd=ROOT,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
        )
        self.addCleanup(load.wait)
        self.addCleanup(load.kill)
        program.said(r"now True kept")
        program.send(signal.SIGUSR1)
        free = len(program.lines)
        self.assertTrue(await_(lambda: any(line.startswith("now False") for line in program.lines[free:]), PATIENCE))


if __name__ == "__main__":
    unittest.main()
