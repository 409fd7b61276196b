"""A room over the processes of a server: gunicorn's with one argument, those of our own server with none.

One message reaches everybody once, whichever process has it; also after a process was killed and replaced.
"""

from __future__ import annotations

import os
import signal
import tempfile
import time
from pathlib import Path
from unittest import mock

from syncws.errors import TEXT
from syncws.testing import LeakChecks, Peer, await_
from tests.partners import heavy
from tests.tasks import Task

from . import servers
from .servers import PATIENCE, Host, Setup

#: Members of the room, at least.
MEMBERS = 40

#: Processes of each server.
PROCESSES = 4

#: Milliseconds within which 99 of 100 broadcasts have reached the last member, and how much more a machine under load
#: may take.
LATEST, LOAD = 100.0, 5.0


@heavy
class RoomTests(LeakChecks):
    def setUp(self) -> None:
        super().setUp()
        self.bus = os.path.join(self.enterContext(tempfile.TemporaryDirectory(prefix="bus", dir="/tmp")), "bus")
        self.members: list[tuple[str, Peer]] = []

    def host(self, setup: Setup, *arguments: str, joined: bool = True) -> Host:
        with mock.patch.dict(os.environ, {"HOSTS_BUS": self.bus} if joined else {}):
            return self.enterContext(Host(setup, *arguments))

    def enter(self, host: Host, processes: int = PROCESSES) -> set[str]:
        """Let members in until there are enough, and some of each process; the processes."""
        found: set[str] = set()
        while len(self.members) < MEMBERS or len(found) < processes:
            self.assertLess(len(self.members), 50 * MEMBERS, f"all are members of processes {found}")
            # Several at once: where they come one after the other the same process may take all of them.
            found |= {task.result() for task in [Task(self.enter_one, host) for _ in range(8)]}
        return found

    def enter_one(self, host: Host) -> str:
        """Let a member in; its process."""
        peer = host.open("/room")
        self.addCleanup(peer.socket.close)
        process = self.hear(peer)
        self.members.append((process, peer))
        return process

    def hear(self, peer: Peer) -> str:
        """The next message; not a ping, which comes after 20 seconds."""
        while (frame := peer.receive_frame()).opcode != TEXT:
            pass
        return frame.payload.decode()

    def say(self, peer: Peer, text: str) -> float:
        """One says something, and everybody gets it; milliseconds until the last one had it."""
        began = time.monotonic()
        peer.send_frame(TEXT, text)
        for process, each in self.members:
            self.assertEqual(self.hear(each), text, f"a member of process {process}")
        return (time.monotonic() - began) * 1000

    def say_in_each(self, name: str) -> None:
        speakers = dict(self.members)
        for process, peer in speakers.items():
            self.say(peer, f"{name} from {process}")

    def check_latest(self) -> None:
        speakers = list(dict(self.members).values())
        taken = sorted(self.say(speakers[turn % len(speakers)], f"turn {turn}") for turn in range(100))
        self.assertLess(taken[98], LATEST * LOAD)

    def check(self, host: Host) -> None:
        self.enter(host)
        self.say_in_each("first")
        self.check_latest()
        self.assertNotIn("WARNING syncws", host.log())

    def test_gunicorn(self) -> None:
        """gthread, as each worker imports the application, and as the first process does it for all."""
        for arguments in ((), ("--preload",)):
            with self.subTest(arguments):
                self.members.clear()
                self.check(self.host(servers.GUNICORN_WORKERS, *arguments))

    def test_gunicorn_gevent(self) -> None:
        """The same with gevent, which patches after the fork."""
        for arguments in ((), ("--preload",)):
            with self.subTest(arguments):
                self.members.clear()
                self.check(self.host(servers.GUNICORN_GEVENT_WORKERS, *arguments))

    def test_a_worker_that_is_killed(self) -> None:
        """The one that takes its place is joined, and nothing of the killed one is left."""
        host = self.host(servers.GUNICORN_WORKERS)
        self._kill_one(host, self.enter(host))
        files = {name.partition("-")[0] for name in os.listdir(self.bus)}
        self.assertEqual(files, {process for process, _ in self.members})
        self.assertIn("node vanished", host.log())

    def _kill_one(self, host: Host, processes: set[str]) -> None:
        """Kill a worker, let others in until its place is taken, and have all hear each other."""
        killed = min(processes)
        os.kill(int(killed), signal.SIGKILL)
        self.members = [(process, peer) for process, peer in self.members if process != killed]
        newer: set[str] = set()
        deadline = time.monotonic() + PATIENCE
        while not newer and time.monotonic() < deadline:
            newer = {self.enter_one(host)} - processes
        self.assertTrue(newer)
        self.say_in_each("afterwards")

    def test_our_own_server(self) -> None:
        """`Server(workers=4)` joins its workers by itself, also one that takes the place of another; at the end the
        directory in which they met is gone."""
        host = self.host(servers.OWN_WORKERS, joined=False)
        processes = self.enter(host)
        self.say_in_each("first")
        self.check_latest()
        self.assertNotIn("WARNING syncws.manager", host.log())
        places = self._meeting_places(processes)
        self.assertEqual(len(places), 1)
        self._kill_one(host, processes)
        host.signal(signal.SIGTERM)
        self.assertEqual(host.wait(PATIENCE), 0)
        self.assertFalse(places.pop().exists())

    def _meeting_places(self, processes: set[str]) -> set[Path]:
        return {
            path.parents[1]
            for process in processes
            for path in Path(tempfile.gettempdir()).glob(f"syncws-*/*/{process}-*.sock")
        }

    def test_without_a_backplane(self) -> None:
        """gunicorn says that it has several processes: the log of each has what to do, once."""
        host = self.host(servers.GUNICORN_WORKERS, joined=False)
        processes = self.enter(host)
        self.assertTrue(await_(lambda: host.log().count("knows the connections of this process") == len(processes)))
        self.assertIn("give it a backplane: Manager(backplane=syncws.LocalBackplane(path))", host.log())

    def test_one_process(self) -> None:
        """A server with one process says nothing of the kind."""
        for setup in (servers.GUNICORN_GTHREAD, servers.WSGIREF, servers.OWN):
            with self.subTest(setup):
                self.members.clear()
                host = self.host(setup, joined=False)
                self.enter_one(host)
                self.say(self.members[0][1], "hello")
                self.assertNotIn("knows the connections of this process", host.log())
