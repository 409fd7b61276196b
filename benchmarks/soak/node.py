"""A server process of the soak: rooms in which each message is told to all, and acknowledged to its sender.

    python -m benchmarks.soak.node      what it is, and where it serves, is in SOAK_NODE: see `Settings`

A client says where it goes by the query: ``room``, ``name`` (each connection has one of its own), ``queue`` and
``overflow`` of its send queue, and ``since`` if it comes back. Its id comes again later, as those of users do: see
`id_of`. What it sends and gets is JSON, by the key ``t``:

    to the server     m  a message: n is its number
                      k  a mark: i is its number
    to the client     w  it is in the room: at says since when, pid, node and recovered are as they are
                      m  a message: s is the stream, n the number, b when its broadcast began
                      a  the broadcast of n is over
                      k  the mark i: what the server has counted of this connection before
    the last three and w have d, the number of what is said to this connection alone.

Signals: SIGUSR1 steps the clock (time.time) an hour ahead or back, in turn.
"""

from __future__ import annotations

import dataclasses
import itertools
import json
import logging
import logging.handlers
import os
import signal
import socket
import ssl
import threading
import time
from typing import Any

import syncws
import syncws.wsgi

from .journal import Journal, Told

#: What a client chooses, and no more.
OVERFLOWS = ("close", "drop_oldest")

#: Seconds between two pulses of a process.
PULSE = 1.0

#: Descriptors, or threads, that a connection leaves if that is planted: a few connections show it.
LEFT = 4

#: Seconds that a step of the clock is wide.
STEP = 3600.0

#: Rooms whose name begins so remember, where there is a history.
KEPT = "kept"

#: So many ids the connections of one kind have, at a site.
IDS = 500

_stepped = 0.0


@dataclasses.dataclass
class Settings:
    """How a process serves: as JSON in the variable SOAK_NODE.

    Attributes:
        kind: plain, tls, workers, redis, gthread, gevent.
        journal: the pipe.
        log: the file of its log.
        listener: the descriptor of the socket that it accepts on; -1: it is given by the server.
        url: of the bus.
        certificate, key: of TLS.
        takeover: compress with a context that is kept.
        planted: a fault to be found: see `Planted`.
    """

    kind: str
    journal: str
    log: str
    listener: int = -1
    url: str = ""
    certificate: str = ""
    key: str = ""
    takeover: bool = False
    planted: str = ""

    @classmethod
    def given(cls) -> Settings:
        return cls(**json.loads(os.environ["SOAK_NODE"]))


class Planted:
    """Faults that are there on purpose, to see that each is found; several have commas between them.

    drop: a message now and then is told to nobody, and acknowledged. copy: one is told twice. descriptor, thread: each
    connection leaves some. line: each connection logs what no page has.
    """

    def __init__(self, names: str) -> None:
        self._names = names.split(",")
        self._count = itertools.count(1)

    def opened(self) -> None:
        for _ in range(LEFT if "descriptor" in self._names else 0):
            os.dup(2)
        if "line" in self._names:
            logging.getLogger("syncws.server").info("a line that no page has")
        for _ in range(LEFT if "thread" in self._names else 0):
            threading.Thread(target=time.sleep, args=(1e6,), daemon=True).start()

    def times(self) -> int:
        """How often a message is told to its room."""
        number = next(self._count) % 40
        if number == 10 and "drop" in self._names:
            return 0
        return 2 if number == 30 and "copy" in self._names else 1


def id_of(name: str) -> str | None:
    """The id of a connection of this name, which ends with a number; None: it has no name, and an id of its own."""
    if not name:
        return None
    kind = name.rstrip("0123456789")
    return f"{kind}{int(name[len(kind) :] or 0) % IDS}"


class Node:
    """The rooms of one process, or of the workers that are forked from it."""

    def __init__(self, settings: Settings) -> None:
        self.settings = settings
        self.journal = Journal(settings.journal)
        self.planted = Planted(settings.planted)
        self.server: syncws.Server | None = None
        log_to(settings.log, self.journal)
        options: dict[str, Any] = {"context_takeover": True} if settings.takeover else {}
        self.upgrader = syncws.Upgrader(
            enable_compression=True, ping_interval=10, ping_timeout=10, allowed_origins=["*"], **options
        )
        history = syncws.History(size=2000, ttl=600, rooms=lambda room: str(room).startswith(KEPT), stamp=None)
        self.manager = syncws.Manager(
            on_open=self._open,
            on_message=self._message,
            on_close=self._close,
            on_gap=self._gap,
            on_bus=lambda up, reason: self.journal.write("bus", up=up, reason=reason[:200]),
            **self._joined(history),
        )

    def _joined(self, history: syncws.History) -> dict[str, Any]:
        if self.settings.kind == "redis":
            kept = dataclasses.replace(history, stamp="position")
            return {"backplane": syncws.RedisBackplane(self.settings.url, history=kept)}
        if self.settings.url:
            return {"backplane": syncws.LocalBackplane(self.settings.url)}
        return {}

    # Connections

    def handle(self, request: syncws.Request) -> None:
        """A handler of `Server`."""
        self.converse(self.upgrader.upgrade(request))

    def converse(self, conn: syncws.Conn) -> None:
        """A connection, from its handshake to its end."""
        query = conn.request.query
        if (overflow := query.get("overflow", "close")) in OVERFLOWS:
            conn.set_send_queue(send_queue=int(query.get("queue", 4000)), overflow=overflow)  # type: ignore[arg-type]
        self.planted.opened()
        name = query.get("name", "")
        data = {"name": name, "room": query.get("room", "nowhere"), "since": query.get("since"), "direct": 0}
        self.manager.run(conn, id=id_of(name), data=data)

    def _open(self, member: syncws.Member) -> None:
        data, recovered, position = member.data, None, ""
        if data["since"] is not None:
            found = self.manager.join(member, data["room"], since=data["since"])
            recovered, position = found.recovered, found.position
        else:
            member.join(data["room"])
        at = time.monotonic()
        self._tell(member, "w", at=at, pid=os.getpid(), node=self.node, recovered=recovered, position=position)

    def _message(self, member: syncws.Member, message: str | bytes) -> None:
        try:
            said = json.loads(message)
            kind = said["t"]
        except (ValueError, KeyError, TypeError):
            member.close(1003, "no message of the soak")
            return
        if kind == "k":
            stats = member.conn.stats()
            counted = {"in": stats.messages_in, "out": stats.messages_out, "dropped": stats.dropped}
            self._tell(member, "k", i=said["i"], sent=said["sent"], **counted)
            return
        began = time.monotonic()
        told = {"t": "m", "s": member.data["name"], "n": said["n"], "b": began, "pad": said["pad"]}
        taken = 1
        for _ in range(self.planted.times()):
            taken = self.manager.broadcast_json(told, room=member.data["room"])
        self._tell(member, "a", n=said["n"], b=began, r=taken)

    def _tell(self, member: syncws.Member, kind: str, **more: Any) -> None:
        member.data["direct"] += 1
        member.send_json({"t": kind, "d": member.data["direct"], **more})

    def _close(self, member: syncws.Member, error: BaseException | None) -> None:
        stats = member.conn.stats()
        self.journal.write(
            "end",
            name=member.data["name"],
            code=getattr(error, "code", None),
            error=str(error)[:200],
            messages_in=stats.messages_in,
            messages_out=stats.messages_out,
            dropped=stats.dropped,
            at=time.monotonic(),
        )

    def _gap(self, gap: syncws.Gap) -> None:
        self.journal.write(
            "gap",
            room=gap.room,
            missed=gap.missed,
            seconds=gap.until - gap.since,
            node=gap.node,
            reason=gap.reason[:200],
            at=time.monotonic(),
        )

    # What the process says of itself

    @property
    def node(self) -> str:
        """The name of this process on the bus; "" if there is none."""
        return next((each.name for each in self.manager.everywhere.nodes() if each.here), "")

    def begin_pulse(self) -> None:
        """Have a thread say once a second what this process has counted."""
        threading.Thread(target=self._beat, name="soak-pulse", daemon=True).start()

    def _beat(self) -> None:
        while True:
            manager = self.manager.stats()
            health = self.manager.backplane_health()
            stats: Any = self.server.stats() if self.server is not None else syncws.wsgi.stats()
            self.journal.write(
                "pulse",
                at=time.monotonic(),
                node=self.node,
                members=manager.members,
                queued=manager.queued_messages,
                dropped=manager.dropped,
                up=None if health is None else health.up,
                nodes=None if health is None else health.nodes,
                bus={} if health is None else dataclasses.asdict(health),
                open=stats.open,
                connections=getattr(stats, "connections", 0),
                ending=stats.ending,
                opened=stats.opened,
                closed=sum(stats.closed.values()),
                messages_in=stats.messages_in,
                messages_out=stats.messages_out,
                breaches=syncws.breaches(),
            )
            time.sleep(PULSE)


def log_to(path: str, journal: Journal) -> None:
    """The log of syncws, in a file of its own, and in the journal; a disk that is full harms nobody."""
    logging.raiseExceptions = False
    file = logging.handlers.RotatingFileHandler(path, maxBytes=4 << 20, backupCount=1)
    file.setFormatter(logging.Formatter("%(asctime)s %(process)d %(levelname)s %(name)s: %(message)s"))
    file.setLevel(logging.INFO)
    logger = logging.getLogger("syncws")
    logger.setLevel(logging.DEBUG)
    logger.propagate = False
    logger.addHandler(file)
    logger.addHandler(Told(lambda said: journal.write(**said)))
    logging.getLogger("syncws.wire").setLevel(logging.INFO)


def step_clock(number: int = 0, frame: object = None) -> None:
    """The clock is an hour ahead, or right again."""
    global _stepped
    _stepped = 0.0 if _stepped else STEP


def begin_clock() -> None:
    """Have SIGUSR1 step the clock, as every module here sees it."""
    real = time.time
    time.time = lambda: real() + _stepped
    signal.signal(signal.SIGUSR1, step_clock)


def serve(settings: Settings) -> None:
    """Serve until SIGTERM."""
    begin_clock()
    node = Node(settings)
    context = None
    if settings.kind == "tls":
        context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
        context.load_cert_chain(settings.certificate, settings.key)
    workers = 2 if settings.kind == "workers" else 1
    listener = socket.socket(fileno=settings.listener)
    node.server = syncws.Server(
        node.handle,
        listener=listener,
        ssl_context=context,
        workers=workers,
        drain_seconds=2,
        handshake_timeout=5,
        shutdown_timeout=5,
    )
    if workers > 1:
        os.register_at_fork(after_in_child=node.begin_pulse)
    else:
        node.begin_pulse()
    node.journal.write("ready")
    node.server.serve_forever()
    node.manager.end()
    node.journal.write("gone")


if __name__ == "__main__":
    serve(Settings.given())
