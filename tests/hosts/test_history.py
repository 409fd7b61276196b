"""A room that remembers, over the four processes of a server: a page that comes back to any gets what it missed.

`Server(workers=4)` joins them by itself; gunicorn's are joined by a directory.
"""

from __future__ import annotations

import json
import os
import signal
import sys
import tempfile
import time
from typing import Any, NamedTuple
from unittest import mock

from syncws.errors import TEXT
from syncws.testing import LeakChecks, Peer
from tests.guarantees.support import size
from tests.partners import heavy

from .history_app import WORKERS
from .servers import PATIENCE, Host, Place, Setup, program

#: How many times pages come back.
ROUNDS = size(40, 200)


def own(place: Place) -> list[str]:
    return program(sys.executable, "-m", "tests.hosts.history_app", str(place.port))


def gunicorn(place: Place) -> list[str]:
    arguments = ["--bind", place.bind, "-w", str(WORKERS), "-k", "gthread", "--threads", "4"]
    return program(sys.executable, "-m", "gunicorn", *arguments, "tests.hosts.history_app:app")


class Visit(NamedTuple):
    """A page in the room."""

    peer: Peer
    process: int
    position: str
    recovered: bool
    missed: list[int]


@heavy
class HistoryTests(LeakChecks):
    def setUp(self) -> None:
        super().setUp()
        self.count = 0  # the last number that was said
        self.positions: dict[int, str] = {}  # of that, as the page in each process was told

    def come(self, host: Host, position: str = "") -> Visit:
        """Come to the room, to whichever process takes the connection."""
        peer = host.open("/room", (TEXT, position))
        self.addCleanup(peer.socket.close)
        missed = []
        while "process" not in (said := self.hear(peer)):
            missed.append(said["n"])
        return Visit(peer, said["process"], said["at"], said["recovered"], missed)

    def hear(self, peer: Peer) -> dict[str, Any]:
        """The next message; not a ping."""
        while (frame := peer.receive_frame()).opcode != TEXT:
            pass
        said = json.loads(frame.payload)
        assert isinstance(said, dict)
        return said

    def in_each(self, host: Host) -> dict[int, Visit]:
        """One page in each process, from each of which the others get what is said."""
        found: dict[int, Visit] = {}
        deadline = time.monotonic() + PATIENCE
        while len(found) < WORKERS:
            self.assertLess(time.monotonic(), deadline, f"only {list(found)} are there")
            visit = self.come(host)
            if visit.process in found:
                visit.peer.socket.close()
            else:
                found[visit.process] = visit
        return found

    def say(self, speaker: Visit, hearers: dict[int, Visit]) -> None:
        """One says the next number, which all get next."""
        self.count += 1
        speaker.peer.send_frame(TEXT, json.dumps({"n": self.count}))
        told = {process: self.hear(each.peer) for process, each in hearers.items()}
        self.assertEqual({each["n"] for each in told.values()}, {self.count})
        self.positions = {process: each["position"] for process, each in told.items()}

    def settle(self, host: Host, staying: dict[int, Visit]) -> None:
        """Until positions of each process are good in all."""
        speaker = next(iter(staying.values()))
        deadline = time.monotonic() + PATIENCE
        open_pairs = {(one, other) for one in staying for other in staying}
        while open_pairs:
            self.assertLess(time.monotonic(), deadline, f"not recovered: {open_pairs}")
            self.say(speaker, staying)
            for process, position in self.positions.items():
                visit = self.come(host, position)
                visit.peer.socket.close()
                if visit.recovered:
                    open_pairs.discard((process, visit.process))

    def check(self, host: Host) -> None:
        staying = self.in_each(host)
        self.settle(host, staying)
        self.check_pages(host, staying)
        self.check_restart(host, staying)

    def check_pages(self, host: Host, staying: dict[int, Visit]) -> None:
        """Each page that comes back has exactly what it missed, in order, whichever process it was in, and is."""
        speakers = list(staying.values())
        ways = set()
        for turn in range(ROUNDS):
            self.say(speakers[turn % WORKERS], staying)
            since, process = self.count, list(staying)[turn % 3]
            position = self.positions[process]
            for n in range(turn % 6):
                self.say(speakers[n % WORKERS], staying)
            visit = self.come(host, position)
            self.assertTrue(visit.recovered)
            self.assertEqual(visit.missed, list(range(since + 1, self.count + 1)))
            self.say(speakers[0], {**staying, -1: visit})
            ways.add((process, visit.process))
            visit.peer.socket.close()
        self.assertTrue([each for each in ways if each[0] != each[1]], "nobody came back to another process")

    def check_restart(self, host: Host, staying: dict[int, Visit]) -> None:
        """The process that takes the place of another one knows nothing from before, and says so."""
        killed = next(iter(staying))
        self.say(staying[killed], staying)
        before = list(self.positions.values())
        for _ in range(3):
            self.say(staying[killed], staying)
        os.kill(killed, signal.SIGKILL)
        del staying[killed]
        newer: list[Visit] = []
        deadline = time.monotonic() + PATIENCE
        while len(newer) < 5:
            self.assertLess(time.monotonic(), deadline, "no new process")
            try:
                visit = self.come(host, before[len(newer) % len(before)])
            except (OSError, AssertionError):  # it came to the one that was killed
                continue
            visit.peer.socket.close()
            # The others do not know what the killed one had said to some of them, and not to all.
            self.assertTrue(not visit.recovered or visit.missed == list(range(self.count - 2, self.count + 1)))
            if visit.process not in staying:
                self.assertEqual((visit.recovered, visit.missed), (False, []))
                newer.append(visit)

    def test_our_own_server(self) -> None:
        """`Server(workers=4)`, with a Manager that has a history and nothing else."""
        self.check(self.enterContext(Host(Setup(own, ""))))

    def test_gunicorn(self) -> None:
        """gunicorn with four workers and a directory."""
        folder = self.enterContext(tempfile.TemporaryDirectory(prefix="bus", dir="/tmp"))
        with mock.patch.dict(os.environ, HOSTS_BUS=os.path.join(folder, "bus")):
            self.check(self.enterContext(Host(Setup(gunicorn, "gunicorn"))))
