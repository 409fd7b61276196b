"""How much resident memory, and how many threads, does an idle connection cost a server?

    python benchmarks/memory.py --connections 4000
    python benchmarks/memory.py --connections 500 --where

The server runs in a process of its own, which is weighed before and after the connections are there (Linux only). With
--where, a syncws server is traced instead, and the lines are printed whose objects a connection holds.
"""

from __future__ import annotations

import argparse
import gc
import resource
import subprocess
import sys
import threading
import tracemalloc
from collections.abc import Callable

from client import binary_frame, connect
from servers import SERVERS, running


def main() -> None:
    options = parse_arguments()
    _, most = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (most, most))  # which servers inherit
    if options.connections > most - 100:
        sys.exit(f"at most {most - 100} connections are possible here (ulimit -n)")
    if options.where:
        trace(options.connections, options.messages)
        return
    print(f"{options.connections} idle connections, after {options.messages} messages of 100 B on each")
    print(f"{'server':<20}{'KiB each':>10}{'threads each':>14}")
    for side in options.sides:
        size, threads = measure(side, options)
        print(f"{side:<20}{size:>10.1f}{threads:>14.2f}")


def measure(side: str, options: argparse.Namespace) -> tuple[float, float]:
    with running(side) as (port, process):
        sockets = [connect(port) for _ in range(20)]  # whatever is allocated once
        for sock in sockets:
            exchange(sock, 2)
        before = weigh(process)
        for _ in range(options.connections):
            sockets.append(connect(port))
            exchange(sockets[-1], options.messages)
        after = weigh(process)
        for sock in sockets:
            sock.close()
    return tuple((late - early) / options.connections for early, late in zip(before, after, strict=True))


def exchange(sock, count: int) -> None:
    frame = binary_frame(bytes(100), masked=True)
    for _ in range(count):
        sock.sendall(frame)
        received = 0
        while received < 102:
            received += len(sock.recv(65536))
            if received == len(frame):  # a bare server returns the mask too
                break


def weigh(process: int) -> tuple[int, int]:
    """(KiB of resident memory, threads)"""
    with open(f"/proc/{process}/status") as status:
        fields = dict(line.split(":", 1) for line in status)
    return int(fields["VmRSS"].split()[0]), int(fields["Threads"])


# Where it goes

CLIENT = """
import sys
sys.path[:] = {path!r}
from client import connect
from memory import exchange
sockets = []
for line in sys.stdin:
    for _ in range(int(line)):
        sockets.append(connect({port}))
        exchange(sockets[-1], {messages})
    print(flush=True)
"""


def trace(connections: int, messages: int) -> None:
    """Print which lines of code made what connections hold; their clients live in another process."""
    from syncws.server import Server
    from syncws.upgrader import Upgrader

    upgrader = Upgrader()

    def echo(request):
        for message in (conn := upgrader.upgrade(request)):
            conn.send(message)

    server = Server(echo, port=0)
    server.start()
    code = CLIENT.format(path=sys.path, port=server.address[1], messages=messages)
    with subprocess.Popen([sys.executable, "-c", code], stdin=subprocess.PIPE, stdout=subprocess.PIPE) as client:

        def more(count: int) -> None:
            client.stdin.write(b"%d\n" % count)
            client.stdin.flush()
            client.stdout.readline()
            gc.collect()

        say_where(more, connections)
        client.stdin.close()
    server.shutdown(1)


def say_where(more: Callable[[int], None], connections: int) -> None:
    more(20)
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


def parse_arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--connections", type=int, default=1000)
    parser.add_argument("--messages", type=int, default=0, help="echoed on each connection before it is idle")
    parser.add_argument("--where", action="store_true", help="which lines of syncws hold it")
    parser.add_argument("sides", nargs="*", default=[*SERVERS], help=f"of {', '.join(SERVERS)}; all by default")
    options = parser.parse_args()
    unknown = set(options.sides) - set(SERVERS)
    if unknown:
        parser.error(f"no such server: {', '.join(unknown)}")
    return options


if __name__ == "__main__":
    main()
