"""How many messages per second does a Flask application echo with flask-sock, and how many with syncws.flask?

    python -m benchmarks.flask_sock
    python -m benchmarks.flask_sock --load PROGRAM flask-sock syncws

The application is the same except for one import (`APP`). gunicorn runs it, one gthread worker with 128 threads.
`syncws-in-view` is syncws without detaching: each connection keeps one of these threads, as with flask-sock.
"""

from __future__ import annotations

import argparse
import contextlib
import socket
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from . import load, ours, run, serving
from .client import connect
from .job import Job, LoadError
from .loads import Load
from .processes import ROOT, ended
from .turns import Comparison, Figures, Reading, Setting

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

#: Module and configuration by the name of the side.
APPS: dict[str, tuple[str, dict[str, Any]]] = {
    "flask-sock": ("flask_sock", {}),
    "syncws": ("syncws.flask", {}),
    "syncws-in-view": ("syncws.flask", {"SYNCWS_DETACH": False}),
}

APPS |= dict.fromkeys(ours.OURS, APPS["syncws"])

SIDES = [*APPS]

#: Packages whose versions matter as well.
PACKAGES = ("gunicorn", "flask", "flask-sock")


def add_options(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--connections", type=run.number(int, 1), default=64, help="(default: %(default)s)")
    parser.add_argument("--size", type=run.number(int, 1, 1 << 20), default=32, help="bytes (default: %(default)s)")
    parser.add_argument("--threads", type=run.number(int, 1), default=128, help="of gunicorn (default: %(default)s)")
    run.add_load(parser)


def compare(options: argparse.Namespace) -> list[Comparison]:
    def measure(setting: Setting, side: str) -> tuple[Reading, str]:
        server_core, load_core = setting.cores
        with running(side, server_core, options.threads) as (port, pid):
            job = Job("echo", port, pid, options.connections, options.size, seconds=setting.seconds)
            finding = load.generate_by(setting.load, job, load_core) if setting.load else load.generate(job, load_core)
        if finding.count == 0:
            raise LoadError(f"not one answer came within {setting.seconds:g} s")
        return finding.reading(), finding.note

    title = f"{Load(options.connections, options.size).title}, in Flask on gunicorn"
    return [Comparison(Figures("flask_sock", title, "messages", options.size), list(options.sides), _lacks, measure)]


def _lacks(setting: Setting, side: str) -> str:
    return serving.lacks(("flask", "gunicorn") + (("flask_sock",) if side == "flask-sock" else ()), setting.folder)


@contextlib.contextmanager
def running(side: str, core: int | None, threads: int) -> Iterator[tuple[int, int]]:
    """(port, process id) of gunicorn with the application of a side; it ends with the block."""
    module, config = APPS[side]
    library = ours.OURS[side].library if side in ours.OURS else ROOT
    with (
        tempfile.TemporaryDirectory(prefix="syncws-") as folder,
        socket.create_server(("127.0.0.1", 0), backlog=4096) as listener,
    ):
        Path(folder, "app.py").write_text(APP.format(module=module, config=config))
        port = listener.getsockname()[1]
        worker = ["-k", "gthread", "--threads", str(threads), "--log-level", "error"]
        gunicorn = [sys.executable, "-m", "gunicorn", "--bind", f"fd://{listener.fileno()}", *worker, "app:app"]
        # The folder is the home of gunicorn too, which keeps a socket there.
        with ended(gunicorn, core, folder=folder, inherited=[listener.fileno()], library=library) as (process, _):
            listener.close()  # gunicorn has inherited it; if that ends, nobody listens
            # The kernel accepts the connection at once, and the answer comes when the application runs.
            connect(Job("echo", port, process.pid, 1, 1)).close()
            yield port, process.pid


if __name__ == "__main__":
    sys.exit(run.one(__name__))
