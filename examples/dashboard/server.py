"""A dashboard: the machine's load, once a second, to every page that looks. A feed that only pushes.

    python examples/dashboard/server.py
    python examples/dashboard/server.py --host 0.0.0.0 --port 8000 --interval 0.5

Open the address it prints. The README beside this file walks through it.
"""

from __future__ import annotations

import argparse
import logging
import os
import signal
import socket
import sys
import threading
import time
from collections import deque
from collections.abc import Callable
from pathlib import Path
from typing import Any

import syncws

KEPT = 120  # samples that a new page begins with

#: Seconds that a page may take for one sample. One that takes longer is closed, and comes back when it can.
WRITE_TIMEOUT = 10.0

#: Seconds after which a handler that waits for the next sample checks whether its page is still there.
LOOK = 0.5

#: The names of this machine. Against DNS rebinding, no other is answered to while only this machine can connect. Behind
#: a proxy, which passes the public name on, list that one.
LOOPBACK = ["localhost", "127.0.0.1", "::1"]

POLICY = (
    "default-src 'none'; script-src 'self'; style-src 'self'; connect-src 'self'; img-src data:; "
    "base-uri 'none'; form-action 'none'; frame-ancestors 'none'"
)

Sample = dict[str, Any]


class Feed:
    """The latest samples. One thread measures; any number of handlers wait for the next sample.

    Concurrency: `_news` guards the samples, and handlers wait on it for the next one. Nothing is sent while it is held.
    """

    def __init__(self, interval: float) -> None:
        self._interval = interval
        self._news = threading.Condition()
        self._samples: deque[Sample] = deque(maxlen=KEPT)
        self._over = threading.Event()
        self._thread = threading.Thread(target=self._measure, name="feed")

    def __enter__(self) -> Feed:
        self._thread.start()
        return self

    def __exit__(self, *exc_info: object) -> None:
        self._over.set()
        self._thread.join()

    def push_to(self, conn: syncws.Conn) -> None:
        """Send the samples so far, and then each new one, until the connection is over. A slow page misses some."""
        history = self._wait_for(0, conn)
        while history:
            conn.send_json({"samples": history, "interval": self._interval}, timeout=WRITE_TIMEOUT)
            history = self._wait_for(history[-1]["number"], conn)

    def _wait_for(self, number: int, conn: syncws.Conn) -> list[Sample]:
        """The samples after a number: for a new page all, else the latest alone; none once the connection is over."""
        with self._news:
            while not (self._samples and self._samples[-1]["number"] > number):
                self._news.wait(LOOK)
                if conn.closed:
                    return []
            return list(self._samples) if number == 0 else [self._samples[-1]]

    def _measure(self) -> None:
        number, cpu = 0, Processors()
        due = time.monotonic()
        while not self._over.wait(max(0.0, due - time.monotonic())):
            due += self._interval
            number += 1
            sample = {"number": number, "time": time.time(), "load": os.getloadavg()[0], "cpu": cpu.busy()}
            with self._news:
                self._samples.append(sample)
                self._news.notify_all()


class Processors:
    """How busy the processors were since the last reading."""

    def __init__(self) -> None:
        self._before = self._read()

    def busy(self) -> float | None:
        """The load from 0 to 1, of all processors together; None where the system does not tell it."""
        before, self._before = self._before, self._read()
        if before is None or self._before is None or self._before[1] <= before[1]:
            return None
        idle, total = (now - then for now, then in zip(self._before, before, strict=True))
        return round(1 - idle / total, 4)

    @staticmethod
    def _read() -> tuple[int, int] | None:
        """(idle, total) in ticks since the start, as Linux counts them."""
        try:
            ticks = [int(field) for field in Path("/proc/stat").read_text().splitlines()[0].split()[1:9]]
        except (OSError, ValueError, IndexError):
            return None
        return ticks[3] + ticks[4], sum(ticks)


def load_page() -> dict[str, syncws.Response]:
    """The answers to plain HTTP requests, by path. Files are read here, once, and never by a name that came in."""
    headers = {"Content-Security-Policy": POLICY, "X-Content-Type-Options": "nosniff", "Cache-Control": "no-cache"}
    folder = Path(__file__).parent
    return {
        path: syncws.Response((folder / file).read_bytes(), 200, headers, f"text/{kind}; charset=utf-8")
        for path, file, kind in (
            ("/", "index.html", "html"),
            ("/style.css", "style.css", "css"),
            ("/dashboard.js", "dashboard.js", "javascript"),
        )
    }


def make_handler(feed: Feed, page: dict[str, syncws.Response]) -> Callable[[syncws.Request], syncws.Response | None]:
    upgrader = syncws.Upgrader()

    def handler(request: syncws.Request) -> syncws.Response | None:
        """Called for each request, in a thread of the connection's own."""
        if request.path != "/ws":
            return page.get(request.path) or syncws.Response("not found\n", 404)
        with upgrader.upgrade(request) as conn:
            conn.close_read()  # a thread that handles pings, pongs and the close; a message is an error
            feed.push_to(conn)
        return None

    return handler


def main() -> int:
    parser = argparse.ArgumentParser(description="The machine's load as a live plot, pushed to every page.")
    parser.add_argument("--host", default="127.0.0.1", help="address to listen on (default: %(default)s)")
    parser.add_argument("--port", type=port, default=8080, help="0 takes a free one (default: %(default)s)")
    parser.add_argument("--interval", type=seconds, default=1.0, help="seconds between samples (default: %(default)s)")
    options = parser.parse_args()
    try:
        os.getloadavg()
    except (AttributeError, OSError):  # Windows has no such function; a container may hide the file that it reads
        print("This system does not tell its load: there is nothing to show.", file=sys.stderr)
        return 1

    logging.basicConfig(level=logging.INFO, format="%(levelname)s %(message)s")
    feed = Feed(options.interval)
    try:
        hosts = LOOPBACK if options.host in LOOPBACK else None
        server = syncws.Server(make_handler(feed, load_page()), options.host, options.port, allowed_hosts=hosts)
    except OSError as exc:
        reason = exc.strerror if isinstance(exc, socket.gaierror) else os.strerror(exc.errno or 0)
        print(f"Cannot listen on {options.host} port {options.port}: {reason}", file=sys.stderr)
        return 1

    # serve_forever closes every connection on SIGTERM and SIGINT. A signal before it runs, or a second one while
    # it waits for its pages, is a KeyboardInterrupt.
    signal.signal(signal.SIGTERM, signal.default_int_handler)
    try:
        with feed:
            print(f"Dashboard on {url(server, options.host)} (press Ctrl-C to stop)", flush=True)
            server.serve_forever()
    except KeyboardInterrupt:
        server.shutdown(timeout=0)
    return 0


def url(server: syncws.Server, host: str) -> str:
    """The address to open in a browser on this machine."""
    # "0.0.0.0" and "::" stand for every address of the machine, and a browser cannot open them.
    host = "localhost" if host in ("", "0.0.0.0", "::") else host
    return f"http://{f'[{host}]' if ':' in host else host}:{server.port}/"


def port(given: str) -> int:
    try:
        value = int(given)
    except ValueError:
        value = -1
    if not 0 <= value <= 0xFFFF:
        raise argparse.ArgumentTypeError(f"a port is a number from 0 to 65535, not {given!r}")
    return value


def seconds(given: str) -> float:
    try:
        value = float(given)
    except ValueError:
        value = 0.0
    if not 0.05 <= value <= 3600:
        raise argparse.ArgumentTypeError(f"an interval is a number of seconds from 0.05 to 3600, not {given!r}")
    return value


if __name__ == "__main__":
    sys.exit(main())
