"""How many messages per second does a Flask application echo with flask-sock, and how many with syncws.flask?

    python benchmarks/flask_sock.py
    python benchmarks/flask_sock.py --load PROGRAM

The application is the same but for one import (`APP`). gunicorn runs it, one gthread worker with 128 threads. Server
and load generator are kept on a core each. The sides take turns, round after round, each time with a fresh process; the
figures are medians, and only their ratio means anything on another machine. `busy` is how much of its core the load
generator used: near 100 % it is the bottleneck, and the faster side is faster than it looks.

That happens easily: `--load` names a faster generator, a program that is called as PROGRAM PORT PATH CONNECTIONS SIZE
DEPTH SECONDS, keeps DEPTH messages under way on each connection, and prints a line that begins with the messages per
second.
"""

from __future__ import annotations

import argparse
import contextlib
import os
import resource
import signal
import socket
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path

from client import Load, connect
from servers import pin

APP = """
from flask import Flask
from {module} import Sock

app = Flask(__name__)
app.config.update({config})
sock = Sock(app)


@sock.route("/")
def echo(ws):
    while True:
        ws.send(ws.receive())
"""

#: Module and configuration by the name of the side. This file has the name of one of the modules, so the application
#: runs in a folder of its own.
SIDES = {
    "flask-sock": ("flask_sock", {}),
    "syncws": ("syncws.flask", {}),
    "syncws-in-view": ("syncws.flask", {"SYNCWS_DETACH": False}),
}

#: What the process of a server does: it keeps to its core, if there is one, and becomes gunicorn.
SERVER = """
import os, sys
if sys.argv[1] != "-":
    os.sched_setaffinity(0, {int(sys.argv[1])})
del sys.argv[1]
from gunicorn.app.wsgiapp import run
run()
"""


def main() -> None:
    options = parse_arguments()
    cores = sorted(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else []
    server_core, load_core = (cores[0], cores[-1]) if len(cores) > 1 else (None, None)
    pin(load_core)
    rates: dict[str, list[float]] = {side: [] for side in options.sides}
    busy: dict[str, list[float]] = {side: [] for side in options.sides}
    for number in range(options.rounds):
        # Forwards and backwards in turn, so that nobody is always the first.
        for side in options.sides if number % 2 == 0 else options.sides[::-1]:
            with running(side, server_core, options.threads) as port:
                rate, share = measure_by(options.load, port, options) if options.load else measure(port, options)
            rates[side].append(rate)
            busy[side].append(share)
    say(rates, busy, options)


@contextlib.contextmanager
def running(side: str, core: int | None, threads: int) -> Iterator[int]:
    """The port of gunicorn with the application of a side; it ends with the block."""
    module, config = SIDES[side]
    with (
        tempfile.TemporaryDirectory(prefix="syncws-") as folder,
        socket.create_server(("127.0.0.1", 0), backlog=4096) as listener,
    ):
        Path(folder, "app.py").write_text(APP.format(module=module, config=config))
        port = listener.getsockname()[1]
        worker = ["-k", "gthread", "--threads", str(threads)]
        gunicorn = ["--bind", f"fd://{listener.fileno()}", *worker, "--log-level", "error", "app:app"]
        process = subprocess.Popen(
            [sys.executable, "-c", SERVER, str("-" if core is None else core), *gunicorn],
            cwd=folder,
            env={**os.environ, "HOME": folder},  # where gunicorn keeps a socket
            pass_fds=[listener.fileno()],
            start_new_session=True,
        )
        listener.close()  # it has its own; if it ends, nobody listens
        try:
            # The kernel takes the connection at once, and the answer comes when the application is there.
            connect(port).close()
            yield port
        finally:
            os.killpg(process.pid, signal.SIGKILL)
            process.wait()


def measure(port: int, options: argparse.Namespace) -> tuple[float, float]:
    """(messages per second, how busy the generator was) by Python."""
    load = Load(port, options.connections, options.size)
    load.run(options.seconds / 4)  # warm up
    result = load.run(options.seconds)
    load.close()
    return result


def measure_by(program: str, port: int, options: argparse.Namespace) -> tuple[float, float]:
    """The same by another program."""
    shape = [str(options.connections), str(options.size), "1", str(options.seconds)]
    before, began = processor_seconds(), time.monotonic()
    result = subprocess.run([program, str(port), "/", *shape], stdout=subprocess.PIPE, text=True, check=True)
    share = (processor_seconds() - before) / (time.monotonic() - began)
    return float(result.stdout.split()[0]), share


def processor_seconds() -> float:
    """What processes of ours that have ended have used."""
    used = resource.getrusage(resource.RUSAGE_CHILDREN)
    return used.ru_utime + used.ru_stime


def say(rates: dict[str, list[float]], busy: dict[str, list[float]], options: argparse.Namespace) -> None:
    base = options.sides[0]
    print(f"{options.connections} connections x {options.size} B, median of {options.rounds} x {options.seconds:g} s")
    print(f"{'side':<16}{'messages/s':>12}{'lowest':>10}{'highest':>10}{'ratio':>8}{'busy':>7}   to {base}")
    for side, figures in rates.items():
        median = statistics.median(figures)
        # Of each round, since the figures of a round met the same noise.
        ratio = statistics.median(mine / theirs for mine, theirs in zip(figures, rates[base], strict=True))
        share = statistics.median(busy[side])
        print(f"{side:<16}{median:>12,.0f}{min(figures):>10,.0f}{max(figures):>10,.0f}{ratio:>8.2f}{share:>7.0%}")


def parse_arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--connections", type=int, default=64)
    parser.add_argument("--size", type=int, default=32, help="bytes per message")
    parser.add_argument("--threads", type=int, default=128, help="of gunicorn")
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--seconds", type=float, default=3.0, help="per side and round")
    parser.add_argument("--load", metavar="PROGRAM", help="generates the load; see above. Without it Python does")
    default = ["flask-sock", "syncws"]
    parser.add_argument("sides", nargs="*", default=default, help=f"of {', '.join(SIDES)}; the first two by default")
    options = parser.parse_args()
    unknown = set(options.sides) - set(SIDES)
    if unknown:
        parser.error(f"no such side: {', '.join(unknown)}")
    return options


if __name__ == "__main__":
    main()
