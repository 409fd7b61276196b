"""What the tests of the load share: servers that echo, or do not, and plans for them."""

from __future__ import annotations

import argparse
import contextlib
import time
from collections.abc import Callable, Iterator
from dataclasses import replace
from typing import Any

import syncws
from syncws import Headers, Request, Response, Server
from syncws._cli import dialing
from syncws._cli.bench.generator import Generator
from syncws._cli.bench.plan import Plan
from syncws._cli.bench.tally import Tally
from syncws.testing import LeakChecks, running
from tests.tasks import PATIENCE

Handler = Callable[[syncws.Conn], object]


def echo(conn: syncws.Conn) -> None:
    for message in conn:
        conn.send(message)


def dial_options(*arguments: str) -> argparse.Namespace:
    parser = argparse.ArgumentParser()
    dialing.add_dial_options(parser)
    return parser.parse_args(["--no-proxy", *arguments])


def plan(url: str = "ws://127.0.0.1:1/", *arguments: str, **changes: Any) -> Plan:
    """A short load of one connection; the arguments are those of dialing."""
    options = dial_options(*arguments)
    short = Plan(
        url=url,
        connections=1,
        rate=None,
        inflight=1,
        sizes=(32,),
        binary=False,
        receive_only=False,
        duration=0.2,
        warmup=0.05,
        ramp=0.0,
        process=0,
        processes=1,
        dialing=options,
        headers=dialing.headers_from(options),
    )
    return replace(short, **changes)


class Alone:
    """The command of a generator that is the only one: it begins when it is ready."""

    def __init__(self, stop_at: str = "") -> None:
        self.start: int | None = None
        self.stopped = False
        self.phases: list[str] = []
        self._stop_at = stop_at

    def look(self) -> None:
        pass

    def tell(self, phase: str, tally: Tally, connections: int) -> None:
        self.phases.append(phase)
        self.stopped = self.stopped or phase == self._stop_at
        if phase == "ready" and self.start is None:
            self.start = time.perf_counter_ns()


class LoadCase(LeakChecks):
    """A server in this process, and loads for it."""

    @contextlib.contextmanager
    def serving(
        self, on_connection: Handler = echo, *, upgrader: syncws.Upgrader | None = None, **options: Any
    ) -> Iterator[str]:
        """The URL of a server."""
        chosen = upgrader or syncws.Upgrader(close_timeout=PATIENCE)

        def handler(request: Request) -> Response | None:
            on_connection(chosen.upgrade(request))
            return None

        with running(Server(handler, port=0, **options), timeout=PATIENCE) as server:
            scheme = "ws" if options.get("ssl_context") is None else "wss"
            yield f"{scheme}://127.0.0.1:{server.port}/"

    def load(self, plan: Plan, control: Alone | None = None) -> Tally:
        """What a load counts."""
        return Generator(plan, control or Alone()).run()


__all__ = ["Alone", "Headers", "LoadCase", "dial_options", "echo", "plan"]
