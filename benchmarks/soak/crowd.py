"""The clients of one site: those that chat, come back, flood, stall, vanish, and do nothing. Each is a thread.

All share the rooms of their site, and what becomes of their messages is in its books. `Crowd.pause` has them be silent
while the books are closed: what was sent is acknowledged, marks are answered, nobody stalls.
"""

from __future__ import annotations

import json
import random
import socket
import struct
import subprocess
import sys
import threading
import time
from collections import Counter
from collections.abc import Callable
from typing import Any
from urllib.parse import urlencode

import syncws

from ..processes import environment
from . import hostile
from .ledger import PATIENCE, Books
from .node import KEPT
from .sites import Site

#: Words that messages are made of: they compress as people's do.
WORDS = ("the price of corn", "été", "a room", "nobody", "went to market", "12.50", "Ω", "said she", "and then", "not")

#: Sites where nothing is lost on a bus, so that what a queue has dropped can be counted to the last one.
LOSSLESS = ("plain",)

#: Bytes of the receive buffer of clients that stall.
SMALL_BUFFER = 4096


class Crowd:
    """The clients of a site. Any thread.

    Attributes:
        books: what became of their messages.
        latency: seconds from a message to its acknowledgement, since they were last taken.
        nodes: processes, by their names on the bus.
        counts: how connections ended, and how attacks were answered.
        paused: all are to be silent; over: all are to end.
    """

    def __init__(self, site: Site, books: Books, seed: int, scale: Scale, *, takeover: bool = False) -> None:
        self.site = site
        self.books = books
        self.scale = scale
        self.random = random.Random(f"{seed} {site.name}")
        self.paused = threading.Event()
        self.over = threading.Event()
        self._lock = threading.Lock()
        self._numbers: Counter[str] = Counter()  # of names, by kind; guarded by _lock
        self._latency: list[float] = []  # guarded by _lock
        self.nodes: dict[str, str] = {}
        self.counts: dict[str, int] = {}  # guarded by _lock
        takes: dict[str, Any] = {"context_takeover": True} if takeover else {}
        common: dict[str, Any] = {"ssl_context": site.context, "handshake_timeout": 40, "proxy": None}
        common |= {"ping_interval": 10, "ping_timeout": 20, "close_timeout": 5}
        self.dialers = [
            syncws.Dialer(**common),
            syncws.Dialer(enable_compression=True, compression_threshold=64, **common, **takes),
        ]
        self.clients: list[Client] = []

    def start(self) -> None:
        """Start them all."""
        scale = self.scale
        for room in self.site.rooms:
            self._start(Talker, scale.talkers, room)
            self._start(Flooder, scale.flooders, room)
            if room.startswith(KEPT):
                self._start(Returner, scale.returners, room)
        first = self.site.rooms[0]
        if self.site.name in LOSSLESS:
            self._start(Dropper, scale.droppers, first)
        self._start(Staller, scale.stallers, first)
        self._start(Vanisher, scale.vanishers, first)
        self._start(Idler, scale.idlers, first)
        self._start(Victim, scale.victims, first)
        self._start(Enemy, scale.enemies, first)

    def _start(self, maker: Callable[[Crowd, str], Client], count: int, room: str) -> None:
        for _ in range(count):
            client = maker(self, room)
            self.clients.append(client)
            client.start()

    def stop(self) -> None:
        """End them all."""
        self.over.set()
        for client in self.clients:
            client.stop()
        for client in self.clients:
            client.join(PATIENCE)
            if client.is_alive():
                self.books.find("hung", f"{client.name} does not end")

    def new_name(self, kind: str) -> str:
        """A name that no connection had."""
        with self._lock:
            self._numbers[kind] += 1
            return f"{self.site.name}/{kind}{self._numbers[kind]}"

    def late(self, seconds: float) -> None:
        """A message was acknowledged so many seconds after it was sent."""
        with self._lock:
            self._latency.append(seconds)

    def take_latency(self) -> list[float]:
        """The latencies since this was last asked."""
        with self._lock:
            taken, self._latency = self._latency, []
            return taken

    def count(self, what: str) -> None:
        """Something happened."""
        with self._lock:
            self.counts[what] = self.counts.get(what, 0) + 1

    def pause(self) -> None:
        """Have all be silent."""
        self.paused.set()

    def go_on(self) -> None:
        """Have all go on."""
        self.paused.clear()

    def wait(self, seconds: float) -> bool:
        """Wait; False if it is all over."""
        return not self.over.wait(seconds)

    def live(self) -> list[Talk]:
        """The conversations that are open."""
        return [client.talk for client in self.clients if client.talk is not None and client.talk.is_in]


class Scale:
    """How many clients of each kind a site has."""

    def __init__(self, **counts: int) -> None:
        self.talkers = counts.get("talkers", 3)
        self.returners = counts.get("returners", 2)
        self.flooders = counts.get("flooders", 1)
        self.stallers = counts.get("stallers", 1)
        self.droppers = counts.get("droppers", 1)
        self.vanishers = counts.get("vanishers", 1)
        self.idlers = counts.get("idlers", 1)
        self.victims = counts.get("victims", 1)
        self.enemies = counts.get("enemies", 1)


SCALES = {
    "small": Scale(),
    "full": Scale(talkers=6, returners=3, flooders=2, stallers=2, droppers=2, vanishers=2, idlers=2, enemies=2),
}


class Talk:
    """One connection: what is said on it, both ways. One thread, except that `is_in` and `quiet` are read by others."""

    def __init__(self, crowd: Crowd, name: str, room: str, *, drops: bool = False) -> None:
        self.crowd = crowd
        self.books = crowd.books
        self.name = name
        self.room = room
        self.drops = drops
        self.is_in = False  # it was welcomed, and is not over
        self.process = ""
        self.continues = ""  # the name of the connection before, if this one comes back to its place
        self.position: str | None = None
        self.marks = 0
        #: Answers since all are silent. Another is asked for once a second: what the server says was counted while
        #: others may have had something on the way, and before its queue was empty.
        self.answers = 0
        self.answered = 0
        self.sent = self.received = self._last = 0
        self._early: list[dict[str, Any]] = []  # what came before the welcome
        self._due: dict[int, float] = {}  # messages not acknowledged: when they were sent
        self._marked: dict[int, tuple[int, int]] = {}  # marks: what was sent before, in all and of the stream
        #: What the server said that it has received and sent, and what was sent and received here, by the last answer.
        self.sums = (0, 0), (0, 0)

    @property
    def quiet(self) -> bool:
        """Whether all are silent, and all that it sent was answered."""
        return not self._due and self.answers >= 2

    def say(self, conn: syncws.Conn, size: int) -> None:
        """Send the next message."""
        number = self._last = self.books.sends(self.name)
        self._due[number] = time.monotonic()
        picker = self.crowd.random
        pad = " ".join(picker.choice(WORDS) for _ in range(max(1, size // 10)))
        self.sent += 1
        conn.send_json({"t": "m", "n": number, "pad": pad})

    def ask(self, conn: syncws.Conn) -> None:
        """Send a mark."""
        self.marks += 1
        self.sent += 1
        self._marked[self.marks] = self.sent, self._last
        conn.send_json({"t": "k", "i": self.marks, "sent": time.monotonic()})

    def take(self, text: str | bytes) -> None:
        """Take a message."""
        said = json.loads(text)
        self.received += 1
        kind = said["t"]
        if kind == "w":
            self._welcome(said)
        elif not self.is_in:
            self._early.append(said)
        else:
            self._take(said)

    def _welcome(self, said: dict[str, Any]) -> None:
        self.process = f"{self.crowd.site.name}:{said['pid']}"
        if said["node"]:
            self.crowd.nodes[said["node"]] = self.process
        continued = bool(said["recovered"]) and self.books.continue_receiver(self.name, self.continues, self.process)
        if not continued:
            self.books.open_receiver(self.name, self.room, self.process, said["at"], drops=self.drops)
        if self.continues:
            self.crowd.count("recovered" if continued else "not recovered")
        self.position = said["position"] or self.position
        self.books.open_stream(self.name, self.room, self.process, lossy=self.drops)
        self.is_in = True
        for each in self._early:
            self._take(each)
        self._early.clear()
        self.books.direct(self.name, said["d"])

    def _take(self, said: dict[str, Any]) -> None:
        kind = said["t"]
        if kind == "m":
            self.position = said.get("position", self.position)
            self.books.receive(self.name, said["s"], said["n"], said["b"])
            return
        self.books.direct(self.name, said["d"])
        if kind == "a":
            self.books.acknowledge(self.name, said["n"], said["b"], taken=said["r"] > 0)
            sent = self._due.pop(said["n"], None)
            if sent is not None:
                self.crowd.late(time.monotonic() - sent)
        elif kind == "k":
            self.answered = said["i"]
            sent, last = self._marked[self.answered]
            self._marked = {mark: each for mark, each in self._marked.items() if mark > self.answered}
            self.sums = (said["in"], said["out"]), (sent, self.received - 1)
            self.books.mark(self.name, said["sent"], said["dropped"])
            if self.drops:  # acknowledgements are dropped too
                self.books.acknowledge_all(self.name, last)
                self._due = {number: each for number, each in self._due.items() if number > last}
            self.answers += self.crowd.paused.is_set() and not self._due

    def end(self) -> None:
        """The connection is over."""
        self.is_in = False
        self.books.end_stream(self.name)
        self.books.end_receiver(self.name)


class Client(threading.Thread):
    """One that connects again and again, a thread of its own."""

    kind = "client"
    query: dict[str, object] = {}
    stays = False  # it is connected whenever its site serves

    def __init__(self, crowd: Crowd, room: str) -> None:
        super().__init__(name=crowd.new_name(self.kind), daemon=True)
        self.crowd = crowd
        self.room = room
        self.random = random.Random(f"{self.name} {crowd.random.random()}")
        self.talk: Talk | None = None
        self._name = self.name

    def stop(self) -> None:
        """Have it end."""

    def url(self, **more: object) -> str:
        """Where it goes, by a new name."""
        self._name = self.crowd.new_name(self.kind)
        query = {"room": self.room, "name": self._name, **self.query, **more}
        return f"{self.random.choice(self.crowd.site.urls)}?{urlencode(query)}"

    def run(self) -> None:
        try:
            self.work()
        except Exception as error:
            self.crowd.books.find("client", f"{self.name} failed: {error!r}")
            raise

    def work(self) -> None:
        raise NotImplementedError


class Talker(Client):
    """Chats: sends now and then, reads all the time, and connects again when its connection is over."""

    kind = "talker"
    stays = True
    rate = 3.0
    size = 200

    def __init__(self, crowd: Crowd, room: str) -> None:
        super().__init__(crowd, room)
        dialer = self.random.choice(crowd.dialers)
        self._reconnector = syncws.reconnect(
            self.url, min_delay=0.1, max_delay=3, give_up=lambda error: False, dialer=dialer
        )

    def stop(self) -> None:
        self._reconnector.stop()

    def work(self) -> None:
        for conn in self._reconnector:
            talk = self.talk = Talk(self.crowd, self._name, self.room)
            self.prepare(talk)
            try:
                self.converse(conn, talk)
            except (syncws.ConnectionClosed, syncws.CloseSentError, syncws.WriteTimeout):
                pass
            finally:
                self.finish(conn, talk)

    def prepare(self, talk: Talk) -> None:
        """Before the first message."""

    def finish(self, conn: syncws.Conn, talk: Talk) -> None:
        """The connection is over, or is left."""
        end = conn.end
        self.crowd.count(f"end {getattr(end, 'code', None) if end is not None else 'left'}")
        talk.end()

    def converse(self, conn: syncws.Conn, talk: Talk) -> None:
        """Talk until the end, which is raised, or until this client has enough."""
        next_time = time.monotonic()
        next_mark = next_time + 1
        asked_at = 0.0
        while not self.crowd.over.is_set():
            now = time.monotonic()
            if talk.is_in and not self.crowd.paused.is_set():
                asked_at, talk.answers = 0.0, 0
                if now >= next_time:
                    next_time = now + self.random.expovariate(self.rate)
                    if self.act(conn, talk):
                        return
                if now >= next_mark:
                    next_mark = now + 2
                    talk.ask(conn)
            elif talk.is_in and now > asked_at + (1 if talk.quiet else 0.2 if talk.marks == talk.answered else 2):
                asked_at = now
                talk.ask(conn)
            try:
                talk.take(conn.receive(max(0.01, min(0.2, next_time - time.monotonic()))))
            except syncws.ReadTimeout:
                continue

    def act(self, conn: syncws.Conn, talk: Talk) -> bool:
        """Do what is due; whether it has enough of this connection."""
        talk.say(conn, self.random.choice((10, self.size, self.size, 20 * self.size)))
        return False


class Flooder(Talker):
    """Sends a burst as fast as it can, from time to time."""

    kind = "flooder"
    rate = 0.3
    size = 50

    def act(self, conn: syncws.Conn, talk: Talk) -> bool:
        for _ in range(self.random.choice((20, 60, 120))):
            talk.say(conn, self.size)
        return False


class Returner(Talker):
    """Comes back: leaves or loses its connection, and asks for what it missed."""

    kind = "returner"
    stays = False
    rate = 2.0

    def __init__(self, crowd: Crowd, room: str) -> None:
        super().__init__(crowd, room)
        self._before: Talk | None = None
        self._leaves_at = 0.0

    def url(self, **more: object) -> str:
        position = "" if self._before is None else self._before.position or ""
        return super().url(since=position, **more)

    def prepare(self, talk: Talk) -> None:
        if self._before is not None:
            talk.continues, talk.position = self._before.name, self._before.position
        self._leaves_at = time.monotonic() + self.random.uniform(2, 20)

    def act(self, conn: syncws.Conn, talk: Talk) -> bool:
        super().act(conn, talk)
        if time.monotonic() > self._leaves_at:
            conn.close_now()
            return True
        return False

    def finish(self, conn: syncws.Conn, talk: Talk) -> None:
        super().finish(conn, talk)
        if talk.position is not None:
            self._before = talk


def small_buffer(host: str, port: int, timeout: float | None) -> socket.socket:
    """A connection whose receive buffer is small."""
    sock = socket.socket()
    sock.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, SMALL_BUFFER)
    sock.settimeout(timeout)
    sock.connect((host, port))
    return sock


class Staller(Talker):
    """Stops reading for a while. Its server closes it when its queue is full."""

    kind = "staller"
    stays = False
    rate = 0.5
    query = {"queue": 20}
    drops = False

    def __init__(self, crowd: Crowd, room: str) -> None:
        super().__init__(crowd, room)
        dialer = syncws.Dialer(
            ssl_context=crowd.site.context,
            proxy=None,
            handshake_timeout=40,
            ping_interval=None,
            net_dial=small_buffer,
        )
        self._reconnector = syncws.reconnect(
            self.url, min_delay=0.1, max_delay=3, give_up=lambda error: False, dialer=dialer
        )

    def prepare(self, talk: Talk) -> None:
        talk.drops = self.drops

    def act(self, conn: syncws.Conn, talk: Talk) -> bool:
        if self.random.random() < 0.3:
            until = time.monotonic() + self.random.uniform(2, 8)
            while time.monotonic() < until and not self.crowd.paused.is_set() and self.crowd.wait(0.1):
                pass
        else:
            talk.say(conn, self.size)
        return False


class Dropper(Staller):
    """Stops reading for a while. Its queue drops what is too much."""

    kind = "dropper"
    query = {"queue": 20, "overflow": "drop_oldest"}
    drops = True


class Vanisher(Talker):
    """Sends a little, and resets its connection in the middle of it; then it comes back as somebody else."""

    kind = "vanisher"
    stays = False
    rate = 5.0

    def act(self, conn: syncws.Conn, talk: Talk) -> bool:
        talk.say(conn, self.size)
        if self.random.random() < 0.2:
            conn.socket.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
            conn.close_now()
            return True
        return False


class Idler(Client):
    """Upgrades and does nothing, not even answer pings; or does not even upgrade."""

    kind = "idler"

    def work(self) -> None:
        while self.crowd.wait(0.2):
            if self.crowd.paused.is_set():
                continue
            hostile.idle(self.crowd.site, self.url(), self.random, self.crowd.wait)
            self.crowd.count("idle")


class Enemy(Client):
    """Breaks the protocol in every way there is, one connection each."""

    kind = "enemy"

    def work(self) -> None:
        number = self.random.randrange(len(hostile.ATTACKS))
        while self.crowd.wait(0.3):
            if self.crowd.paused.is_set():
                continue
            attack = hostile.ATTACKS[number % len(hostile.ATTACKS)]
            number += 1
            if not attack.handshake and self.crowd.site.name not in ("plain", "tls", "workers"):
                continue  # the head is read by somebody else
            answer = hostile.attack(self.crowd.site, self.url(), attack, self.random)
            self.crowd.count(f"attack {attack.name}: {answer}")
            if not hostile.is_right(attack, answer):
                told = f"no answer and no end within {PATIENCE:g} s" if answer == "silence" else answer
                self.crowd.books.find("hostile", f"{attack.name} got {told}, not {attack.answers}")


class Victim(Client):
    """A program of its own that chats, and is killed (SIGKILL)."""

    kind = "victim"

    def work(self) -> None:
        while self.crowd.wait(self.random.uniform(2, 6)):
            if self.crowd.paused.is_set() or self.crowd.site.context is not None:
                continue
            url = self.url()
            self.crowd.books.open_stream(self._name, self.room, known=False)
            command = [sys.executable, "-m", "benchmarks.soak.victim", url]
            program = subprocess.Popen(command, stdin=subprocess.DEVNULL, stderr=subprocess.DEVNULL, env=environment())
            until = time.monotonic() + self.random.uniform(2, 6)
            while time.monotonic() < until and not self.crowd.paused.is_set() and self.crowd.wait(0.1):
                pass
            program.kill()
            program.wait()
            self.crowd.count("killed")
            self.crowd.books.end_stream(self._name)
