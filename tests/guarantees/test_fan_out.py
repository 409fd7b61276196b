"""Proves that a broadcast waits for nobody, and that the registry holds whatever many threads do to it at once.

A thousand members, one of which never reads and one reads slowly: two hundred broadcasts take hardly longer than
without those two, everybody else gets each message in its order, and the stuck one is out, once, with 1013. And sixty
four threads that register, join, leave, send and close at random: no deadlock, no exception, each open has its close.
"""

from __future__ import annotations

import random
import resource
import selectors
import socket
import statistics
import subprocess
import sys
import threading
import time
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any, Self

from syncws._base.options import ConnOptions
from syncws._conn.conn import Conn
from syncws._frames.agreement import Agreement
from syncws._frames.prepared import PreparedMessage
from syncws._net.transport import Transport
from syncws._rooms.manager import Manager
from syncws._rooms.member import Member, State
from syncws.errors import CloseError, DuplicateIdError
from syncws.testing import await_, socketpair

from .support import HEAVY, TEXT, WAIT, GuaranteeTestCase, note, size

#: Messages in a round of broadcasts.
ROUND = 200

#: So many times the usual rounds are played where the machine is too loud for fewer.
MOST_TIMES = 3

CHILD = "import sys; sys.path[:] = {path!r}; from {module} import read_all; read_all({port}, {members}, {messages})"


def text(number: int) -> str:
    """The message of that number: 1 KiB."""
    return f"{number:08d}".ljust(1024, ".")


class Readers:
    """Clients in a process of their own, which read all they get and compare it with what they should."""

    def __init__(
        self, members: int, messages: int, *, module: str = __name__, agreement: Agreement | None = None
    ) -> None:
        with socket.create_server(("127.0.0.1", 0), backlog=members) as listener:
            code = CHILD.format(
                path=sys.path, module=module, port=listener.getsockname()[1], members=members, messages=messages
            )
            self._process = subprocess.Popen(
                [sys.executable, "-c", code], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
            )
            listener.settimeout(WAIT)
            self.conns = [
                Conn(Transport(listener.accept()[0]), client=False, agreement=agreement) for _ in range(members)
            ]

    def wait(self, messages: int) -> None:
        """Wait until everybody has got that many messages. Raises AssertionError for one that came out of order."""
        assert self._process.stdin is not None and self._process.stdout is not None
        self._process.stdin.write(f"{messages}\n")
        self._process.stdin.flush()
        answer = self._process.stdout.readline()
        if answer != "all have it\n":
            raise AssertionError(f"the readers say {answer!r}")

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *exc: object) -> None:
        assert self._process.stdin is not None and self._process.stdout is not None
        for conn in self.conns:
            conn.close_now()
        self._process.stdin.close()
        self._process.wait(WAIT)
        self._process.stdout.close()


def read_all(port: int, members: int, messages: int) -> None:
    """The process of `Readers`."""
    expected = b"".join(PreparedMessage(TEXT, text(number)).frame(None) for number in range(messages))
    at = {}  # how far each has come
    with selectors.DefaultSelector() as selector:
        for _ in range(members):
            sock = socket.create_connection(("127.0.0.1", port))
            sock.setblocking(False)
            selector.register(sock, selectors.EVENT_READ)
            at[sock] = 0
        for line in sys.stdin:
            goal = int(line) * len(expected) // messages
            missing = sum(position < goal for position in at.values())
            while missing:
                for key, _ in selector.select(WAIT):
                    sock: Any = key.fileobj
                    data = sock.recv(1 << 18)
                    if not data or not expected.startswith(data, at[sock]):
                        print(f"a wrong byte, or the end, after {at[sock]} bytes", flush=True)
                        return
                    missing -= at[sock] < goal <= at[sock] + len(data)
                    at[sock] += len(data)
            print("all have it", flush=True)
        for sock in at:
            sock.close()


@contextmanager
def never_reads() -> Iterator[Conn]:
    """A connection whose peer takes nothing, and whose sockets are small."""
    ours, theirs = socketpair(4096)
    conn = Conn(Transport(ours), client=False, options=ConnOptions(close_timeout=1))
    with theirs:
        yield conn
        conn.close_now()


@contextmanager
def reads_slowly() -> Iterator[Conn]:
    """A connection whose peer takes a little at a time."""
    ours, theirs = socketpair()
    conn = Conn(Transport(ours), client=False)
    over = threading.Event()

    def read() -> None:
        with suppress(OSError):
            while not over.wait(0.01):
                theirs.recv(2048)

    reader = threading.Thread(target=read)
    reader.start()
    with theirs:
        yield conn
        over.set()
        conn.close_now()
        reader.join()


class BroadcastTests(GuaranteeTestCase):
    bound = 300.0

    def test_one_that_never_reads_and_a_slow_one(self) -> None:
        """Broadcasts take less than a quarter longer with both, lose nothing for the others, and cost no memory."""
        members, rounds = size(100, 998), size(2, 5)
        without, with_both = [], []
        ends: list[tuple[Member, Exception | None]] = []
        told = threading.Semaphore(0)

        def on_close(member: Member, error: Exception | None) -> None:
            ends.append((member, error))
            told.release()

        everybody, and_two = Manager(send_queue=64), Manager(send_queue=64, on_close=on_close)
        grown = []
        with Readers(members, (2 * MOST_TIMES * rounds + 1) * ROUND) as readers:
            for conn in readers.conns:
                everybody.register(conn)
                and_two.register(conn)
            sent = 0

            def measure(manager: Manager) -> float:
                nonlocal sent
                began = time.perf_counter()
                for number in range(sent, sent + ROUND):
                    manager.broadcast(text(number))
                seconds = time.perf_counter() - began
                sent += ROUND
                readers.wait(sent)
                return seconds

            measure(everybody)  # warm up
            for number in range(MOST_TIMES * rounds):
                if number >= rounds and (HEAVY == "0" or ratio(with_both, without) < 1.25):
                    break
                if number % 2:
                    without.append(measure(everybody))
                with never_reads() as stuck, reads_slowly() as slow:
                    stuck_member, slow_member = and_two.register(stuck), and_two.register(slow)
                    before = resident()
                    with_both.append(measure(and_two))
                    grown.append(resident() - before)
                    self.assertTrue(told.acquire(timeout=WAIT))
                    self.assertNotIn(stuck_member.id, and_two)
                    self.assertIn(slow_member.id, and_two)
                    self.assertTrue(await_(lambda stuck=stuck: stuck.socket.fileno() == -1, WAIT), "it was not cut")
                    and_two.unregister(slow_member)
                    told.acquire(timeout=WAIT)
                if not number % 2:
                    without.append(measure(everybody))
                end = dict(ends)[stuck_member]
                self.assertIsInstance(end, CloseError)
                self.assertEqual(end.code, 1013)
        self.assertEqual(Counter(member for member, _ in ends).most_common(1)[0][1], 1)
        longer = ratio(with_both, without)
        note(
            f"{ROUND} broadcasts to {members}: {statistics.median(without):.2f} s, with a stuck and a slow member "
            f"{longer:.2f} times as long; memory {statistics.median(grown):+} KiB"
        )
        self.assertLess(statistics.median(grown), 1024)
        if HEAVY != "0":
            self.assertLess(longer, 1.25)

    def test_frames_are_shared(self) -> None:
        """For many stuck members one frame waits for each message, not one for each member."""
        members = size(50, 400)
        manager = Manager(send_queue=64, send_queue_bytes=1 << 30)
        pairs = [socketpair(4096) for _ in range(members)]
        try:
            for ours, _ in pairs:
                conn = Conn(Transport(ours), client=False)
                manager.register(conn)
                conn.send_nowait(bytes(1 << 20))
            before = resident()
            for number in range(60):
                self.assertEqual(manager.broadcast(f"{number:08d}" * 2048), members)
            grown = resident() - before
            waiting = manager.stats()
        finally:
            for member in manager.members():
                member.conn.close_now()
            for _, theirs in pairs:
                theirs.close()
        self.assertEqual(waiting.queued_messages, 60 * members)
        note(f"{waiting.queued_bytes >> 20} MiB wait for {members} members, and take {grown} KiB")
        self.assertLess(grown, 60 * 16 + members * 8)  # the frames, and a deque each


def ratio(some: list[float], others: list[float]) -> float:
    """How many times as long some took as the others, each as the one that was measured next to it; the median."""
    return statistics.median(one / other for one, other in zip(some, others, strict=True))


def resident() -> int:
    """KiB of this process in memory."""
    return int(Path("/proc/self/statm").read_text().split()[1]) * resource.getpagesize() // 1024


class Crowd:
    """Threads that do everything at once to one manager, and count what they are told."""

    def __init__(self, manager_options: dict[str, Any], members: int) -> None:
        self._lock = threading.Lock()
        self.opened: Counter[Member] = Counter()
        self.closed: Counter[Member] = Counter()
        self.early: list[Member] = []  # closed before they were opened
        self.manager = Manager(
            on_open=self._on_open, on_message=lambda *_: None, on_close=self._on_close, send_queue=16, **manager_options
        )
        self._ids = range(members)
        self._runs: list[threading.Thread] = []
        self._conns: list[Conn] = []
        self.done: Counter[str] = Counter()

    def _on_open(self, member: Member) -> None:
        with self._lock:
            self.opened[member] += 1

    def _on_close(self, member: Member, error: Exception | None) -> None:
        with self._lock:
            self.closed[member] += 1
            if not self.opened[member]:
                self.early.append(member)

    def work(self, seed: int, until: float) -> None:
        """The work of one thread."""
        script = random.Random(seed)
        doings = (
            self.come,
            self.go,
            self.vanish,
            self.join,
            self.leave,
            self.broadcast,
            self.send,
            self.close,
            self.ask,
        )
        weights = (6, 2, 1, 5, 3, 4, 6, 1, 2)
        mine: list[tuple[Member | None, socket.socket]] = []
        while time.monotonic() < until:
            [do] = script.choices(doings, weights)
            do(script, mine)
            self.done[do.__name__] += 1
        for _, theirs in mine:
            theirs.close()

    def come(self, script: random.Random, mine: list[Any]) -> None:
        if len(mine) > 12:
            self.vanish(script, mine)
        ours, theirs = socket.socketpair()
        theirs.setblocking(False)
        options = ConnOptions(close_timeout=0.05)
        conn = Conn(Transport(ours), client=False, options=options)
        with self._lock:
            self._conns.append(conn)
        id, rooms = script.choice(self._ids), script.sample(range(10), 2)
        if script.random() < 0.5:
            run = threading.Thread(target=self.manager.run, args=(conn, id, rooms), daemon=True)
            run.start()
            with self._lock:
                self._runs.append(run)
            mine.append((None, theirs))
            return
        try:
            mine.append((self.manager.register(conn, id, rooms), theirs))
        except DuplicateIdError:
            theirs.close()

    def go(self, script: random.Random, mine: list[Any]) -> None:
        """Unregister a member of this thread, as its reader does at its end; or any id."""
        if not mine or script.random() < 0.2:
            self.manager.unregister(script.choice(self._ids))
            return
        member, theirs = mine.pop(script.randrange(len(mine)))
        if member is not None:
            self.manager.unregister(member)
            member.conn.close_now()
        theirs.close()

    def vanish(self, script: random.Random, mine: list[Any]) -> None:
        if mine:
            mine.pop(script.randrange(len(mine)))[1].close()

    def join(self, script: random.Random, mine: list[Any]) -> None:
        self.manager.join(script.choice(self._ids), script.randrange(10))

    def leave(self, script: random.Random, mine: list[Any]) -> None:
        self.manager.leave(script.choice(self._ids), script.randrange(10))

    def broadcast(self, script: random.Random, mine: list[Any]) -> None:
        self.manager.broadcast("x" * script.randrange(3000), room=script.choice([None, *range(10)]))

    def send(self, script: random.Random, mine: list[Any]) -> None:
        self.manager.send(script.choice(self._ids), b"y" * script.randrange(3000))
        for _, theirs in mine[:3]:  # some are read, some are not
            with suppress(OSError):
                theirs.recv(1 << 16)

    def close(self, script: random.Random, mine: list[Any]) -> None:
        self.manager.close(script.choice(self._ids), 4000, "at random")

    def ask(self, script: random.Random, mine: list[Any]) -> None:
        self.manager.stats()
        for member in self.manager.members(script.randrange(10)):
            assert member.id in self._ids

    def end(self) -> None:
        """Close every member, and wait until all are out."""
        self.manager.close_all()
        for run in self._runs:
            run.join(WAIT)
            if run.is_alive():
                raise AssertionError("a member's thread does not end")
        for member in self.opened:
            self.manager.unregister(member)
        for conn in self._conns:
            conn.close_now()


class CrowdTests(GuaranteeTestCase):
    bound = 300.0

    def check(self, seconds: float, **manager_options: Any) -> None:
        crowd = Crowd(manager_options, 500)
        until = time.monotonic() + seconds
        tasks = [self.in_thread(crowd.work, seed, until) for seed in range(64)]
        for task in tasks:
            task.result(seconds + 2 * WAIT)
        crowd.end()
        self.assertTrue(await_(lambda: crowd.opened == crowd.closed, WAIT), "an on_close is missing, or one too many")
        self.assertEqual(set(crowd.opened.values()), {1})
        self.assertEqual(crowd.early, [])
        manager, stats = crowd.manager, crowd.manager.stats()
        self.assertEqual((len(manager), manager.ids(), manager.rooms()), (0, [], frozenset()))
        self.assertEqual((stats.opened, stats.closed), (len(crowd.opened), len(crowd.opened)))
        self.assertEqual({member._state for member in crowd.opened}, {State.SETTLED})
        self.assertEqual(manager._registry._leaving, {})
        note(f"{len(crowd.opened)} members came and went; {dict(crowd.done)}")

    def test_everything_at_once(self) -> None:
        """64 threads over 500 ids, under each policy for duplicates: each open has its close, and nobody is left."""
        for duplicate in ("replace", "reject", "many"):
            with self.subTest(duplicate):
                self.check(seconds_each(), duplicate=duplicate)

    def test_switching_all_the_time(self) -> None:
        """The same with threads that are switched as often as can be."""
        self.addCleanup(sys.setswitchinterval, sys.getswitchinterval())
        sys.setswitchinterval(1e-6)
        self.check(seconds_each())


def seconds_each() -> float:
    """Seconds for each of the four runs: 60 s in all where everything runs, 10 s elsewhere."""
    return 15.0 if HEAVY == "full" else 2.5
