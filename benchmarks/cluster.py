"""What does a message between processes cost its sender, its receivers and Redis, and what is full first in a cluster?

    python -m benchmarks.cluster
    python -m benchmarks.cluster --page docs/cluster.md

Managers in processes of their own, joined by a bus. One broadcasts so many messages a second; the members are
connections to the process that measures. Then it computes, and says so, at how many nodes, rooms and messages a second
each part is full: see `arithmetic`.
"""

from __future__ import annotations

import argparse
import contextlib
import dataclasses
import shutil
import socket
import subprocess
import sys
import time
from collections.abc import Iterator, Sequence
from pathlib import Path
from statistics import median
from typing import Any

from . import arithmetic, machine, page, report, run, serving
from .cores import choose_cores, on_core
from .job import LoadError
from .processes import ended
from .sink import Sink
from .turns import Comparison, Figures, Reading, Setting

#: The buses that are compared: how they are made, see `cluster_node.backplane`.
SIDES = ["none", "local", "redis", "redis pure", "redis history"]

Process = subprocess.Popen[bytes]

BUSES = ["local", "redis"]

PAIR = "one member on each of two nodes"

#: Bytes of a broadcast.
SIZES = (64, 1024, 16384)

#: Messages a second.
RATE = 1000


@dataclasses.dataclass(frozen=True)
class Shape:
    """What is measured.

    Args:
        members: of each node; the first one broadcasts.
        rooms: that each member is in.
        size: bytes of a message.
        rate: messages a second.
        to_all: they go to everybody, not to rooms.
    """

    members: tuple[int, ...]
    rooms: int = 1
    size: int = 64
    rate: int = RATE
    to_all: bool = False

    def bytes_of(self, count: int) -> int:
        """Bytes that members get of so many messages."""
        head = 2 if self.size < 126 else 4
        return count * sum(self.members) * (self.size + head)


#: Each question: its title, its shape, its sides.
QUESTIONS: list[tuple[str, Shape, list[str]]] = [
    *(
        (f"a broadcast of {size:,} B, one member on each of two nodes", Shape((1, 1), size=size), SIDES)
        for size in SIZES
    ),
    *(
        (
            f"{rooms:,} rooms in turn, 64 B, one member in all on each of two nodes",
            Shape((1, 1), rooms=rooms),
            ["local", "redis"],
        )
        for rooms in (10, 1000)
    ),
    ("64 B to a room of which the other node has nobody", Shape((1, 0), rooms=1), BUSES),
    ("64 B to everybody, and the other node has nobody", Shape((1, 0), to_all=True), BUSES),
    ("64 B, one member on each of four nodes", Shape((1, 1, 1, 1)), BUSES),
    ("64 B, 500 members on one node", Shape((500,), rate=50), ["none"]),
    ("64 B, 250 members on each of two nodes", Shape((250, 250), rate=50), BUSES),
    ("64 B, 1,000 members on one node", Shape((1000,), rate=25), ["none"]),
    ("64 B, 250 members on each of four nodes", Shape((250, 250, 250, 250), rate=25), BUSES),
    ("64 B, two members on each of two nodes, 50 a second", Shape((2, 2), rate=50), BUSES),
]

#: What is asked of Redis alone: the command, and how many listen.
RAW = [(command, listeners) for command in ("PUBLISH", "SPUBLISH") for listeners in (0, 1, 10)]


def add_options(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--page", type=Path, metavar="FILE", help="write it there too, between the marks of that page")


def compare(options: argparse.Namespace) -> list[Comparison]:
    comparisons = []
    for title, shape, sides in QUESTIONS:
        chosen = [side for side in sides if side in options.sides]
        if chosen:
            comparisons.append(_comparison(title, shape, chosen))
    if "redis" in options.sides:
        figures = Figures("cluster", f"Redis alone, {RAW_SIZE} B, by raw commands", "messages")
        comparisons.append(Comparison(figures, [f"{name}, {count} listen" for name, count in RAW], _lacks, measure_raw))
    return comparisons


def _comparison(title: str, shape: Shape, sides: list[str]) -> Comparison:
    def measure(setting: Setting, side: str) -> tuple[Reading, str]:
        return measure_nodes(setting, side, shape), ""

    return Comparison(Figures("cluster", title, "messages"), sides, _lacks, measure)


def _lacks(setting: Setting, side: str) -> str:
    if not Path("/proc/self/task").is_dir():
        return "it takes Linux's account of processor time"
    if side.split()[0] not in ("redis", "PUBLISH", "SPUBLISH"):
        return ""
    if shutil.which("redis-server") is None:
        return "redis-server is not installed"
    return serving.lacks(("redis",), setting.folder)


# Nodes


@dataclasses.dataclass(frozen=True)
class Cluster:
    """Nodes that run, whose members read."""

    shape: Shape
    sink: Sink
    nodes: Sequence[Process]
    redis: int | None  # the process of its server

    def measure(self, count: int) -> Reading:
        """Send so many messages: microseconds of processor time for each, and how late it was."""
        before = [cpu(each.pid) for each in self.nodes], self.redis and cpu(self.redis)
        _send(self.nodes[0], self.sink, count, self.shape)
        each = [(cpu(node.pid) - was) / count * 1e6 for node, was in zip(self.nodes, before[0], strict=True)]
        reading = {"sender": each[0], "all": sum(each)}
        if len(each) > 1:
            reading["receiver"] = sum(each[1:]) / (len(each) - 1)
        if self.redis is not None and before[1] is not None:
            reading["redis"] = (cpu(self.redis) - before[1]) / count * 1e6
        for number, name in enumerate(("here", "there")):
            if number < len(self.nodes) and self.shape.members[number]:
                reading[name] = self.sink.p50(number)
        return reading


def measure_nodes(setting: Setting, side: str, shape: Shape) -> Reading:
    """What `Cluster.measure` finds for as many messages as leave in the time of a round, once a few have warmed up."""
    count = max(50, round(shape.rate * setting.seconds))
    with running_nodes(setting, side, shape) as cluster:
        cluster.measure(max(20, count // 4))
        return cluster.measure(count)


@contextlib.contextmanager
def running_nodes(setting: Setting, side: str, shape: Shape) -> Iterator[Cluster]:
    """Nodes of that shape on that bus, which know each other; "none" is one node with all the members."""
    if side == "none":
        shape = dataclasses.replace(shape, members=(sum(shape.members),))
    node_core, own_core = setting.cores
    with contextlib.ExitStack() as stack:
        stack.enter_context(on_core(own_core))  # Redis as well, and the other ends of the members
        where, server = "-", None
        if side == "local":
            where = str(setting.folder / f"bus{time.monotonic_ns()}")
        elif side.startswith("redis"):
            port, server = stack.enter_context(redis_server())
            where = f"redis://127.0.0.1:{port}/0"
        sink = Sink()
        stack.callback(sink.close)
        nodes = [
            stack.enter_context(node((side, where, sink.port, members, shape.rooms), sink, number, node_core))
            for number, members in enumerate(shape.members)
        ]
        _await_all(nodes)
        yield Cluster(shape, sink, nodes, server)


@contextlib.contextmanager
def node(words: tuple[object, ...], sink: Sink, number: int, core: int | None) -> Iterator[Process]:
    """A process of `cluster_node` that is called with these words, with its members. Raises LoadError."""
    command = [sys.executable, "-m", "benchmarks.cluster_node", *map(str, words)]
    with ended(command, core) as (process, complaints):
        sink.accept(number, int(str(words[3])))
        if _hear(process) != "ready":
            complaints.seek(0)
            raise LoadError(complaints.read().decode(errors="replace").strip().splitlines()[-1])
        yield process


def _hear(process: Process) -> str:
    assert process.stdout is not None
    return process.stdout.readline().decode().strip()


def _tell(process: Process, line: str) -> None:
    assert process.stdin is not None
    process.stdin.write(line.encode() + b"\n")
    process.stdin.flush()


def _await_all(nodes: Sequence[Process]) -> None:
    """Wait until all know each other. Raises LoadError."""
    until = time.monotonic() + 30
    for each in nodes:
        while True:
            _tell(each, "nodes")
            if int(_hear(each) or 0) >= len(nodes):
                break
            if time.monotonic() > until:
                raise LoadError("the nodes do not find each other")
            time.sleep(0.05)


def _send(sender: Process, sink: Sink, count: int, shape: Shape) -> None:
    sink.expect(shape.bytes_of(count))
    _tell(sender, f"{count} {shape.rate} {shape.size} {0 if shape.to_all else shape.rooms}")
    if _hear(sender) != "sent":
        raise LoadError("a node has ended")
    sink.wait(30)


def cpu(pid: int) -> float:
    """Seconds that the threads of a process have run so far, by Linux's own account."""
    nanoseconds = 0
    for each in Path(f"/proc/{pid}/task").iterdir():
        with contextlib.suppress(OSError):  # it has ended
            nanoseconds += int((each / "schedstat").read_text().split()[0])
    return nanoseconds / 1e9


# Redis


@contextlib.contextmanager
def redis_server() -> Iterator[tuple[int, int]]:
    """(port, process id) of a server of Redis that keeps nothing on disk; it ends with the block."""
    with socket.create_server(("127.0.0.1", 0)) as free:
        port = free.getsockname()[1]
    with ended(["redis-server", "--port", str(port), "--save", "", "--appendonly", "no"], None) as (process, _):
        until = time.monotonic() + 10
        while True:
            with contextlib.suppress(OSError), socket.create_connection(("127.0.0.1", port)):
                break
            if time.monotonic() > until:
                raise LoadError("redis-server does not answer")
            time.sleep(0.01)
        yield port, process.pid


#: Bytes of a message by raw commands, and how many are sent at once: what a writer of this library has waiting when
#: there is much to do.
RAW_SIZE, RAW_BATCH = 200, 10


def measure_raw(setting: Setting, side: str) -> tuple[Reading, str]:
    """What the server needs for a message, by a command and so many that listen."""
    command, listeners = side.split(",")[0], int(side.split()[1])
    subscribe = {"PUBLISH": b"SUBSCRIBE", "SPUBLISH": b"SSUBSCRIBE"}[command]
    with redis_server() as (port, server), contextlib.ExitStack() as stack:
        connections = [stack.enter_context(socket.create_connection(("127.0.0.1", port))) for _ in range(listeners + 1)]
        sender, *listening = connections
        for each in listening:
            each.sendall(subscribe + b" room\r\n")
            each.recv(1024)
        message = _command(command.encode(), b"room", bytes(RAW_SIZE)) * RAW_BATCH
        answers = len(b":%d\r\n" % listeners) * RAW_BATCH
        copies = 0
        began = cpu(server)
        batches = max(20, round(RATE * 5 * setting.seconds / RAW_BATCH))
        for _ in range(batches):
            sender.sendall(message)
            _read(sender, answers)
            for each in listening:
                copies += len(each.recv(1 << 16))
        return {"redis": (cpu(server) - began) / (batches * RAW_BATCH) * 1e6}, ""


def _command(*parts: bytes) -> bytes:
    return b"*%d\r\n" % len(parts) + b"".join(b"$%d\r\n%b\r\n" % (len(each), each) for each in parts)


def _read(sock: socket.socket, size: int) -> None:
    while size > 0:
        data = sock.recv(size)
        if not data:
            raise LoadError("redis-server ended the connection")
        size -= len(data)


# What follows


def conclude(found: Sequence[Figures]) -> str:
    """What the figures say of clusters that are larger than this machine, as Markdown; "" if some are missing."""
    by_title = {figures.title: figures.readings for figures in found}

    def of(title: str, side: str, name: str) -> float:
        return median(reading[name] for reading in by_title[title][side])

    small = f"a broadcast of 64 B, {PAIR}"
    try:
        deliver = (of("64 B, 500 members on one node", "none", "all") - of(small, "none", "all")) / 498
        raw = f"Redis alone, {RAW_SIZE} B, by raw commands"
        copy = (of(raw, "PUBLISH, 10 listen", "redis") - of(raw, "PUBLISH, 1 listen", "redis")) / 9
        ignore = of("64 B to everybody, and the other node has nobody", "redis", "receiver")
        costs = arithmetic.Costs(
            send=(of(small, "redis", "sender") - deliver) / 1e6,
            receive=(of(small, "redis", "receiver") - deliver) / 1e6,
            ignore=ignore / 1e6,
            deliver=deliver / 1e6,
            take=max(0.0, of(raw, "PUBLISH, 1 listen", "redis") - copy) / 1e6,
            copy=copy / 1e6,
        )
        two = {side: of("64 B, 250 members on each of two nodes", side, "all") for side in ("local", "redis")}
        four = {side: of("64 B, 250 members on each of four nodes", side, "all") for side in ("local", "redis")}
        one_500 = of("64 B, 500 members on one node", "none", "all")
        one_1000 = of("64 B, 1,000 members on one node", "none", "all")
        late = "64 B, two members on each of two nodes, 50 a second"
        latency = {side: of(late, side, "there") - of(late, side, "here") for side in ("local", "redis")}
    except KeyError:
        return ""
    lines = ["### What spreading the members costs", "", "| | local | Redis |", "|---|---:|---:|"]
    lines.append(f"| CPU of all nodes, 2 x 250 members, one node with 500 is 1 | {_both(two, one_500)} |")
    lines.append(f"| CPU of all nodes, 4 x 250 members, one node with 1,000 is 1 | {_both(four, one_1000)} |")
    lines.append(
        f"| later to a member elsewhere than here, p50 | {latency['local']:.1f} ms | {latency['redis']:.1f} ms |"
    )
    lines += ["", "### What is full first", ""]
    lines.append(
        "This is arithmetic, not a measurement: messages a second, over all rooms, at which a part has used up one "
        "core, from the costs that were measured above. In microseconds: "
        + ", ".join(f"{name} {value * 1e6:.1f}" for name, value in dataclasses.asdict(costs).items())
        + ". Members of a room are spread over the nodes by chance."
    )
    lines.append("")
    head, *rows = arithmetic.table(costs)
    lines += [_row(head), _row(["---:"] * (len(head) - 1) + ["---"]), *map(_row, rows), ""]
    return "\n".join(lines)


def _both(nodes: dict[str, float], one: float) -> str:
    return f"{nodes['local'] / one:.2f} | {nodes['redis'] / one:.2f}"


def _row(cells: Sequence[str]) -> str:
    return f"| {' | '.join(cells)} |"


def main() -> int:
    run.need_packages("psutil", "tqdm")
    module: Any = sys.modules[__name__]
    parser = run.make_parser(module)
    options = parser.parse_args()
    run.settle(options)
    run.check_sides(parser, options.sides, SIDES)

    def answer() -> int:
        if options.page is not None:
            page.split(options.page)  # before an hour is spent
        found = run.measure(compare(options), options)
        print(conclude(found))
        if options.page is not None:
            page.fill(options.page, describe(found, options))
        return run.status(found)

    try:
        return run.guarded(answer)
    except page.PageError as error:
        print(f"{parser.prog}: {error}", file=sys.stderr)
        return 1


def describe(found: Sequence[Figures], options: argparse.Namespace) -> str:
    """The part of the page that is written."""
    where = machine.describe((), ("redis", "hiredis"), choose_cores())
    lines = [
        f"Medians of {options.rounds} rounds of {options.seconds:g} s each.",
        "",
        *(f"* {line}" for line in where),
        "",
    ]
    return "\n".join([*lines, conclude(found), *(report.markdown(figures) for figures in found)])


if __name__ == "__main__":
    sys.exit(main())
