"""What happens at each limit of `docs/limits.md`? A real server, and a peer that goes one step too far.

    python -m benchmarks.resource_limits
    python -m benchmarks.resource_limits --page docs/resources.md

A row has what the peer did, what it got, what `syncws.breaches()` has counted, and by how much the server's process
grew. Waits are made short by the options that set them. Linux only.
"""

from __future__ import annotations

import argparse
import contextlib
import dataclasses
import os
import resource
import socket
import sys
import time
import zlib
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import syncws
from syncws.testing import Peer

from . import page
from .client import request
from .report import line
from .resource_probe import weigh

PART = "limits"

#: Seconds until a peer has got what it was to get.
PATIENCE = 30.0


@dataclasses.dataclass(frozen=True)
class Trial:
    """One limit, and how it is breached.

    Args:
        name: under which it is counted.
        title: what the peer does.
        breach: does it, and returns what the peer got.
        options: of the server's connections.
        server: of the server itself.
    """

    name: str
    title: str
    breach: Callable[[Site], str]
    options: dict[str, Any] = dataclasses.field(default_factory=dict)
    server: dict[str, Any] = dataclasses.field(default_factory=dict)


@dataclasses.dataclass(frozen=True)
class Found:
    """What came of a trial."""

    trial: Trial
    got: str
    counted: int
    grown: int  # bytes


class Site:
    """A server in this process, and its raw clients. Concurrency: for one thread."""

    def __init__(self, server: syncws.Server, stack: contextlib.ExitStack) -> None:
        self._server = server
        self._stack = stack

    def connect(self) -> socket.socket:
        """A client that has said nothing."""
        sock = socket.create_connection(("127.0.0.1", self._server.port), timeout=PATIENCE)
        return self._stack.enter_context(sock)

    def peer(self, *, deflate: bool = False) -> Peer:
        """A client past its handshake."""
        sock = self.connect()
        sock.sendall(request(deflate=deflate))
        head = b""
        while b"\r\n\r\n" not in head:
            if not (data := sock.recv(4096)):
                raise EOFError("no handshake")
            head += data
        return Peer(sock, masked=True, received=head.partition(b"\r\n\r\n")[2])

    def status(self, head: bytes) -> str:
        """The status of the answer to these bytes."""
        sock = self.connect()
        sock.sendall(head)
        return sock.recv(4096).split(b" ")[1].decode()


def code(peer: Peer) -> str:
    """How a connection ends: the code of the server's close."""
    with contextlib.suppress(EOFError, OSError):
        while (frame := peer.receive_frame()).opcode != syncws.CLOSE:
            pass
        return f"close {int.from_bytes(frame.payload[:2])}"
    return "the end of TCP"


def _frames(*frames: tuple[int, bytes, bool], deflate: bool = False, rsv1: bool = False) -> Callable[[Site], str]:
    """A breach by frames: (opcode, payload, fin) each."""

    def breach(site: Site) -> str:
        peer = site.peer(deflate=deflate)
        data = b"".join(peer.frame(opcode, payload, fin=fin, rsv1=rsv1) for opcode, payload, fin in frames)
        with contextlib.suppress(OSError):  # the server may have left before the last of them
            peer.send(data)
        return code(peer)

    return breach


def _head(data: bytes) -> Callable[[Site], str]:
    return lambda site: site.status(data)


def _waits(*data: bytes, past_handshake: bool = False) -> Callable[[Site], str]:
    """A breach by silence, after these bytes."""

    def breach(site: Site) -> str:
        if past_handshake:
            peer = site.peer()
            peer.socket.settimeout(PATIENCE)
            peer.send(b"".join(data))
            return code(peer)
        sock = site.connect()
        sock.sendall(b"".join(data))
        answer = sock.recv(4096)
        return answer.split(b" ")[1].decode() if answer else "the end of TCP"

    return breach


def _never_reads(site: Site) -> str:
    """The handler sends on and on, and the peer takes nothing until it is all over."""
    peer = site.peer()
    peer.send_frame(syncws.TEXT, "flood")
    began = syncws.breaches().get("send_queue", 0) + syncws.breaches().get("send_queue_bytes", 0)
    end = time.monotonic() + PATIENCE
    while syncws.breaches().get("send_queue", 0) + syncws.breaches().get("send_queue_bytes", 0) == began:
        if time.monotonic() > end:
            raise TimeoutError("the queue was never full")
        time.sleep(0.01)
    return code(peer)


def _one_too_many(site: Site) -> str:
    site.peer()
    site.peer()
    return site.status(request())


def _says_nothing_first(site: Site) -> str:
    site.connect()
    site.connect()
    time.sleep(0.2)  # the server has taken both
    return site.status(request())


def _no_descriptors(site: Site) -> str:
    """The application opens files until few more may be opened."""
    most, _ = resource.getrlimit(resource.RLIMIT_NOFILE)
    files = [os.dup(2)]
    try:
        while files[-1] < most - 100:
            files.append(os.dup(2))
        return site.status(request())
    finally:
        for file in files:
            os.close(file)


_GET = b"GET / HTTP/1.1\r\nHost: a\r\n"
_BOMB = zlib.compressobj(9, zlib.DEFLATED, -15)
_BOMB_FRAME = (_BOMB.compress(bytes(64 << 20)) + _BOMB.flush(zlib.Z_SYNC_FLUSH))[:-4]

TRIALS = (
    Trial("read_limit", "a message of 1 MiB and one byte", _frames((2, bytes((1 << 20) + 1), True))),
    Trial(
        "read_limit",
        f"a bomb: {len(_BOMB_FRAME) >> 10} KiB that inflate to 64 MiB",
        _frames((2, _BOMB_FRAME, True), deflate=True, rsv1=True),
        {"enable_compression": True},
    ),
    Trial(
        "fragment_limit",
        "20,000 empty fragments",
        _frames((1, b"", False), *[(0, b"", False)] * 20_000),
    ),
    Trial("control_limit", "2,000 pings at once", _frames(*[(9, b"", True)] * 2_000)),
    Trial(
        "least_rate",
        "a message of which no more comes",
        _waits(b"\x82\xfe", (1000).to_bytes(2), bytes(4), b"begun", past_handshake=True),
        {"least_rate_grace": 0.3},
    ),
    Trial(
        "ping_timeout",
        "a peer that answers no ping",
        _waits(past_handshake=True),
        {"ping_interval": 0.2, "ping_timeout": 0.2},
    ),
    Trial(
        "send_queue",
        "a peer that takes nothing of 100,000 messages",
        _never_reads,
        {"close_timeout": 0.3},
    ),
    Trial("max_connections", "a third connection, of two", _one_too_many, server={"max_connections": 2}),
    Trial(
        "max_connections_per_address",
        "a third connection of one address, of two",
        _one_too_many,
        server={"max_connections_per_address": 2},
    ),
    Trial(
        "max_handshakes",
        "a third connection while two have said nothing",
        _says_nothing_first,
        server={"max_handshakes": 2},
    ),
    Trial("descriptors", "a connection when the application has opened all files but 100", _no_descriptors),
    Trial(
        "handshake_timeout",
        "half a request head, and silence",
        _waits(_GET),
        server={"handshake_timeout": 0.3},
    ),
    Trial("max_head_size", "a request head of 17 KiB", _head(_GET + b"A: " + b"a" * (17 << 10) + b"\r\n\r\n")),
    Trial("max_headers", "200 header lines", _head(_GET + b"A: a\r\n" * 200 + b"\r\n")),
)


def attempt(trial: Trial) -> Found:
    """Breach one limit."""
    upgrader = syncws.Upgrader(**trial.options)

    def handle(request: syncws.Request) -> None:
        with upgrader.upgrade(request) as conn:
            for message in conn:
                number = 0
                while message == "flood" and number < 100_000 and conn.send_nowait(b"x" * 1000):
                    number += 1

    before = syncws.breaches().get(trial.name, 0)
    with contextlib.ExitStack() as stack:
        server = syncws.Server(handle, "127.0.0.1", 0, **trial.server)
        server.start()
        stack.callback(server.shutdown, 2)
        weight = weigh()
        got = trial.breach(Site(server, stack))
        grown = weigh() - weight
    return Found(trial, got, syncws.breaches().get(trial.name, 0) - before, grown)


def markdown(found: Iterator[Found] | list[Found]) -> str:
    """The table."""
    rows = [["limit", "what the peer does", "what it gets", "counted", "the process grows by"]]
    for each in found:
        size = f"{max(each.grown, 0) / 1024:,.0f} KiB"
        rows.append([f"`{each.trial.name}`", each.trial.title, each.got, f"{each.counted}", size])
    head, *others = rows
    return "\n".join([line(head), line(["---", "---", "---", "---:", "---:"]), *map(line, others)])


def main() -> int:
    parser = argparse.ArgumentParser(
        prog="python -m benchmarks.resource_limits",
        description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("--page", type=Path, metavar="FILE", help="write it there too, between the marks of that page")
    options = parser.parse_args()
    if not Path("/proc/self/statm").exists():
        parser.error("it takes Linux's account of memory")
    found = [attempt(trial) for trial in TRIALS]
    text = markdown(found)
    print(text)
    try:
        if options.page is not None:
            page.fill_part(options.page, PART, text)
    except (page.PageError, OSError) as error:
        print(f"{parser.prog}: {error}", file=sys.stderr)
        return 1
    return 0 if all(each.counted for each in found) else 1


if __name__ == "__main__":
    sys.exit(main())
