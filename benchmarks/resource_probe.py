"""Weighs one thing, for `resources`, in a process of its own: `python -m benchmarks.resource_probe NAME COUNT`.

It prints the reading as JSON: bytes of resident memory, or microseconds of processor time, of one of them. What is at
the other end of its connections is in another process (`resource_clients`), and so costs nothing here.
"""

from __future__ import annotations

import contextlib
import functools
import gc
import json
import os
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import syncws

from .processes import environment

#: Connections, members or rooms before the first weighing: by then what is needed only once is there.
EARLY = 20

#: What one probe found: names of figures, and their values.
Reading = dict[str, float]


def weigh() -> int:
    """Bytes of resident memory of this process. Linux only."""
    gc.collect()
    pages = int(Path("/proc/self/statm").read_text().split()[1])
    return pages * os.sysconf("SC_PAGE_SIZE")


class Clients:
    """The process at the other end. Concurrency: for one thread."""

    def __init__(self, process: subprocess.Popen[str]) -> None:
        self._process = process

    def do(self, *words: object) -> str:
        """Have it carry out a command, and return what it says."""
        assert self._process.stdin is not None and self._process.stdout is not None
        self._process.stdin.write(" ".join(map(str, words)) + "\n")
        self._process.stdin.flush()
        said = self._process.stdout.readline()
        if not said:
            sys.exit(f"the clients have ended at {words}")
        return said.strip()


@contextlib.contextmanager
def clients() -> Iterator[Clients]:
    command = [sys.executable, "-m", "benchmarks.resource_clients"]
    with subprocess.Popen(
        command, env=environment(), stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    ) as process:
        try:
            yield Clients(process)
        finally:
            assert process.stdin is not None
            process.stdin.close()


def echo(conn: syncws.Conn) -> None:
    for message in conn:
        conn.send(message)


@contextlib.contextmanager
def served(handler: Callable[[syncws.Conn], Any] = echo, *, tls: bool = False, **options: Any) -> Iterator[str]:
    """The URL of a server in this process."""
    with tempfile.TemporaryDirectory() as folder:
        upgrader = syncws.Upgrader(**options)

        def serve(request: syncws.Request) -> None:
            with upgrader.upgrade(request) as conn:
                handler(conn)

        server = syncws.Server(serve, port=0, ssl_context=_certificate(Path(folder)) if tls else None)
        server.start()
        try:
            yield f"{'wss' if tls else 'ws'}://127.0.0.1:{server.port}/"
        finally:
            server.shutdown(0)


def _certificate(folder: Path) -> Any:
    import ssl

    key, certificate = folder / "key.pem", folder / "certificate.pem"
    command = "openssl req -x509 -newkey ec -pkeyopt ec_paramgen_curve:prime256v1 -nodes -days 2 -subj /CN=localhost"
    subprocess.run(
        [*command.split(), "-keyout", key, "-out", certificate], check=True, stderr=subprocess.DEVNULL, timeout=60
    )
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(certificate, key)
    return context


# Connections


def connection(
    count: int, *, tls: bool = False, how: str = "", messages: int = 0, silence: float = 0.0, **options: Any
) -> Reading:
    """A server's connection: idle, or after messages of telemetry on each, or also after a silence (seconds)."""
    if how:
        options |= {"enable_compression": True, "context_takeover": how == "takeover"}
    with clients() as others, served(tls=tls, **options) as url:

        def more(number: int) -> None:
            others.do("open", url, number, how)
            if messages:
                others.do("echo", 0, messages, "json")

        more(EARLY)
        before, threads = weigh(), threading.active_count()
        others.do("open", url, count, how)
        if messages:
            others.do("echo", 0, messages, "json")
        time.sleep(silence)
        return {"bytes": (weigh() - before) / count, "threads": (threading.active_count() - threads) / count}


def client(count: int) -> Reading:
    """A client's connection, that this process has dialed."""
    with clients() as others, contextlib.ExitStack() as stack:
        url = others.do("serve")
        for _ in range(EARLY):
            stack.enter_context(syncws.dial(url))
        before, threads = weigh(), threading.active_count()
        for _ in range(count):
            stack.enter_context(syncws.dial(url))
        return {"bytes": (weigh() - before) / count, "threads": (threading.active_count() - threads) / count}


def ping(count: int, seconds: float = 8.0) -> Reading:
    """Processor time of a ping that keeps an idle connection alive, and of its answer."""
    interval = 1.0
    with clients() as others, served(ping_interval=interval) as url:
        others.do("open", url, count)
        threading.Event().wait(2 * interval)
        began, used = time.monotonic(), time.process_time()
        threading.Event().wait(seconds)
        pings = count * (time.monotonic() - began) / interval
        return {"microseconds": (time.process_time() - used) / pings * 1e6}


# A manager


def _conns(others: Clients, stack: contextlib.ExitStack, count: int) -> list[syncws.Conn]:
    """So many connections of a server in this process, held by threads of its own."""
    arrived: list[syncws.Conn] = []
    over = threading.Event()
    stack.callback(over.set)

    def hold(conn: syncws.Conn) -> None:
        arrived.append(conn)
        over.wait()

    url = stack.enter_context(served(hold, send_queue=100_000, send_queue_bytes=1 << 30))
    stack.callback(over.set)
    others.do("open", url, count)
    while len(arrived) < count:
        time.sleep(0.01)
    return arrived


def member(count: int) -> Reading:
    """A member of a manager, in no room; its connection is not counted."""
    with clients() as others, contextlib.ExitStack() as stack:
        conns = _conns(others, stack, count + EARLY)
        manager = syncws.Manager()
        members = [manager.register(conn, id=number) for number, conn in enumerate(conns[:EARLY])]
        before = weigh()
        members += [manager.register(conn, id=EARLY + number) for number, conn in enumerate(conns[EARLY:])]
        return {"bytes": (weigh() - before) / count}


def room(count: int) -> Reading:
    """A room with its first member."""
    with clients() as others, contextlib.ExitStack() as stack:
        (conn,) = _conns(others, stack, 1)
        manager = syncws.Manager()
        manager.register(conn, id="one")
        for number in range(EARLY):
            manager.join("one", f"early-{number}")
        before = weigh()
        for number in range(count):
            manager.join("one", f"room-{number}")
        return {"bytes": (weigh() - before) / count}


def membership(count: int) -> Reading:
    """One member more in a room that is there."""
    with clients() as others, contextlib.ExitStack() as stack:
        conns = _conns(others, stack, 20)
        manager = syncws.Manager()
        for number, conn in enumerate(conns):
            manager.register(conn, id=number)
        for number in range(count):
            manager.join(0, f"room-{number}")
        before = weigh()
        for id in range(1, 20):
            for number in range(count):
                manager.join(id, f"room-{number}")
        return {"bytes": (weigh() - before) / (count * 19)}


def queued(count: int, *, shared: bool = False) -> Reading:
    """A message of 100 bytes that waits for a peer that takes nothing: one of its own, or a broadcast's."""
    with clients() as others, contextlib.ExitStack() as stack:
        conns = _conns(others, stack, 20)
        manager = syncws.Manager(send_queue=100_000, send_queue_bytes=1 << 30)
        for number, conn in enumerate(conns):
            manager.register(conn, id=number)
            while conn.send_nowait(b"x" * 65536) and not conn.queued[0]:
                pass
        before = weigh()
        for number in range(count):
            message = b"%100d" % number
            if shared:
                manager.broadcast(message)
            else:
                for conn in conns:
                    conn.send_nowait(b"%100d" % number)
        return {"bytes": (weigh() - before) / (count * len(conns))}


# Messages


def message(count: int, *, how: str = "", size: int = 32) -> Reading:
    """Processor time of a message that is received and answered, one at a time; JSON of 200 B where compressed."""
    options: dict[str, Any] = {"enable_compression": True, "context_takeover": how == "takeover"} if how else {}
    with clients() as others, served(**options) as url:
        others.do("open", url, 1, how)
        kind = ["json"] if how else []
        others.do("echo", size, 100, *kind)
        used = time.process_time()
        others.do("echo", size, count, *kind)
        return {"microseconds": (time.process_time() - used) / count * 1e6}


def delivery(count: int) -> Reading:
    """Processor time of a broadcast for each of its 200 members."""
    with clients() as others, contextlib.ExitStack() as stack:
        conns = _conns(others, stack, 200)
        manager = syncws.Manager()
        for number, conn in enumerate(conns):
            manager.register(conn, id=number)
        used = 0.0
        for _ in range(count):
            began = time.process_time()
            manager.broadcast(b"x" * 100)
            used += time.process_time() - began
            others.do("drain", 1)
        return {"microseconds": used / (count * len(conns)) * 1e6}


PROBES: dict[str, Callable[[int], Reading]] = {
    "idle": connection,
    "used": functools.partial(connection, messages=10),
    "tls": functools.partial(connection, tls=True, messages=10),
    "compressed": functools.partial(connection, how="compressed", messages=10),
    "takeover": functools.partial(connection, how="takeover", messages=10),
    "let-go": functools.partial(connection, how="takeover", messages=10, silence=8.0, context_idle=1.0),
    "client": client,
    "member": member,
    "room": room,
    "membership": membership,
    "queued": queued,
    "queued-shared": functools.partial(queued, shared=True),
    "ping": ping,
    "message": message,
    "message-4k": functools.partial(message, size=4096),
    "message-compressed": functools.partial(message, how="compressed"),
    "message-takeover": functools.partial(message, how="takeover"),
    "delivery": delivery,
}


def main() -> None:
    name, count = sys.argv[1:]
    print(json.dumps(PROBES[name](int(count))))


if __name__ == "__main__":
    main()
