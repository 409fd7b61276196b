"""How much resident memory, and how many threads, does an idle connection cost a server?

    python -m benchmarks.memory --connections 4000
    python -m benchmarks.memory --messages 20
    python -m benchmarks.memory --connections 500 --where

The server's processes are weighed before and after the connections are there. With --where, a syncws server is traced
instead, and the lines are printed whose objects a connection holds.
"""

from __future__ import annotations

import argparse
import contextlib
import gc
import resource
import subprocess
import sys
import threading
import tracemalloc
from collections.abc import Callable

from . import run, servers, serving
from .client import connect
from .job import Job, family
from .load_echo import Message
from .processes import environment
from .turns import Comparison, Figures, Reading, Setting

SIDES = [*servers.SERVERS]

#: Connections before the first weighing: by then a server has allocated what it needs only once.
EARLY = 20


def add_options(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--connections", type=run.number(int, 1), default=1000, help="(default: %(default)s)")
    parser.add_argument(
        "--messages", type=run.number(int, 0), default=0, help="of 100 B, echoed on each before it is idle"
    )
    parser.add_argument("--where", action="store_true", help="which lines of syncws hold it")


def compare(options: argparse.Namespace) -> list[Comparison]:
    _, most = resource.getrlimit(resource.RLIMIT_NOFILE)
    if most != resource.RLIM_INFINITY and options.connections > most - 100:
        sys.exit(f"at most {most - 100} connections are possible here (ulimit -n)")
    if options.where:
        with run.many_files():
            trace(options.connections, options.messages)
        sys.exit()

    def measure(setting: Setting, side: str) -> tuple[Reading, str]:
        with (
            servers.running(side, setting.cores[0], setting.folder) as (port, pid),
            contextlib.ExitStack() as connections,
        ):
            job = Job("echo", port, pid, 1, 100, bare=side == "bare")
            add_connections(connections, job, EARLY, 2)
            before = weigh(pid)
            add_connections(connections, job, options.connections, options.messages)
            after = weigh(pid)
        return {name: (after[name] - before[name]) / options.connections for name in after}, ""

    used = f", after {options.messages} messages of 100 B on each" if options.messages else ""
    title = f"{options.connections:,} idle connections{used}"
    return [Comparison(Figures("memory", title, ""), list(options.sides), _lacks, measure)]


def _lacks(setting: Setting, side: str) -> str:
    return serving.lacks(("psutil",), setting.folder) or servers.lacks(side, setting.folder)


def add_connections(stack: contextlib.ExitStack, job: Job, count: int, messages: int) -> None:
    """Make that many connections, and have so many messages echoed on each."""
    message = Message(job)
    for _ in range(count):
        sock = stack.enter_context(connect(job))
        for _ in range(messages):
            message.check(sock)


def weigh(pid: int) -> Reading:
    """KiB of resident memory, and threads, of a process and its children."""
    processes = family(pid)
    return {
        "KiB": sum(process.memory_info().rss for process in processes) / 1024,
        "threads": float(sum(process.num_threads() for process in processes)),
    }


# Where it goes

CLIENT = """
import contextlib, sys
from benchmarks.job import Job
from benchmarks.memory import add_connections
with contextlib.ExitStack() as stack:
    for line in sys.stdin:
        add_connections(stack, Job("echo", {port}, 0, 1, 100), int(line), {messages})
        print(flush=True)
"""


def trace(connections: int, messages: int) -> None:
    """Print the lines of code that made the objects of connections; their clients are in another process."""
    import syncws

    upgrader = syncws.Upgrader()

    def echo(request: syncws.Request) -> None:
        with upgrader.upgrade(request) as conn:
            while True:
                conn.write_message(*conn.read_message())

    server = syncws.Server(echo, port=0)
    server.start()
    code = CLIENT.format(port=server.port, messages=messages)
    with subprocess.Popen(
        [sys.executable, "-c", code], env=environment(), stdin=subprocess.PIPE, stdout=subprocess.PIPE
    ) as client:
        assert client.stdin is not None and client.stdout is not None
        sent, said = client.stdin, client.stdout

        def more(count: int) -> None:
            sent.write(b"%d\n" % count)
            sent.flush()
            said.readline()
            gc.collect()

        say_where(more, connections)
        sent.close()
    server.shutdown(1)


def say_where(more: Callable[[int], None], connections: int) -> None:
    more(EARLY)
    tracemalloc.start(1)
    before = tracemalloc.take_snapshot()
    more(connections)
    after = tracemalloc.take_snapshot()
    tracemalloc.stop()
    found = [each for each in after.compare_to(before, "lineno") if "tracemalloc" not in str(each.traceback)]
    total = sum(each.size_diff for each in found) / connections
    print(f"{total:,.0f} bytes of Python objects per connection ({threading.active_count()} threads); the largest:")
    print(f"{'bytes':>8}{'objects':>9}   line")
    for each in found[:25]:
        print(f"{each.size_diff / connections:>8.0f}{each.count_diff / connections:>9.2f}   {each.traceback}")


if __name__ == "__main__":
    sys.exit(run.one(__name__))
