"""The command line: ``syncws bench URL`` loads a WebSocket server, and says how fast it answers."""

from __future__ import annotations

import argparse
import json
import sys

from ..command import CommandError, Commands, cores, number, seconds, show
from ..dialing import add_dial_options, dialer_from, headers_from, websocket_url
from .crew import run_load
from .plan import Plan, parse_sizes
from .progress import showing
from .report import as_json, as_text
from .tally import Tally

#: Exit statuses: nothing was measured; something went wrong with connections or answers; Ctrl-C.
_NOTHING, _FLAWS, _INTERRUPTED = 1, 3, 130

_EPILOG = """\
Without --rate each connection sends the next message when an answer comes (a closed loop): what the server can do.
With --rate messages are due at fixed times, whatever the server does (an open loop): how long answers take then.
Latency counts from when a message was due, so a server that falls behind cannot hide it.

The server is to answer each message with one, best with the same: an echo. Frames are masked once, before the load.

examples:
  syncws bench ws://127.0.0.1:8080/echo                                 one connection, 32 bytes
  syncws bench :8080/echo --connections 1000 --inflight 4               what the server can do
  syncws bench wss://example.com/echo --connections 1000 --rate 5000    how long answers take at that rate
  syncws bench :8080/echo --size 100-2000 --binary --duration 60 --json result.json
  syncws bench :8080/feed --connections 100 --receive-only              what a feed sends

exit status: 0 all went well; 1 nothing could be measured; 2 wrong arguments; 3 measured, and connections failed or
broke, or answers were missing or not what was sent; 130 ended by Ctrl-C, with what was measured so far
"""


def add_bench(commands: Commands) -> None:
    """Add the command and its options."""
    bench = commands.add_parser(
        "bench",
        help="load a server: messages a second, and how long answers take",
        description="Load a WebSocket server that answers each message: messages a second, and how long answers take.",
        epilog=_EPILOG,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    bench.add_argument("url", metavar="URL", type=websocket_url, help="of an echo, such as ws://127.0.0.1:8080/echo")
    load = bench.add_argument_group("the load")
    load.add_argument(
        "-c", "--connections", type=_count, default=1, metavar="NUMBER", help="open at once (default: %(default)s)"
    )
    shape = load.add_mutually_exclusive_group()
    shape.add_argument(
        "-i",
        "--inflight",
        type=_count,
        default=1,
        metavar="NUMBER",
        help="messages of each connection that wait for an answer (default: %(default)s)",
    )
    shape.add_argument(
        "-r", "--rate", type=_rate, metavar="NUMBER", help="messages a second, of all connections together"
    )
    shape.add_argument("--receive-only", action="store_true", help="send nothing; count what comes")
    load.add_argument(
        "-s",
        "--size",
        dest="sizes",
        type=parse_sizes,
        default=(32,),
        metavar="BYTES",
        help="of a message: 32, 64k, 100-2000 for all between, or 64,64,4k (default: 32)",
    )
    kind = load.add_mutually_exclusive_group()
    kind.add_argument("--text", action="store_true", help="messages are TEXT (default)")
    kind.add_argument("--binary", action="store_true", help="messages are BINARY")
    load.add_argument(
        "-d", "--duration", type=seconds, default=10.0, metavar="SECONDS", help="measured (default: %(default)g)"
    )
    load.add_argument(
        "--warmup", type=_seconds_or_none, default=1.0, metavar="SECONDS", help="not measured (default: %(default)g)"
    )
    load.add_argument(
        "--ramp",
        type=_seconds_or_none,
        default=0.0,
        metavar="SECONDS",
        help="over which connections are opened; the load begins with all of them (default: at once)",
    )
    load.add_argument(
        "--processes",
        type=_processes,
        default=1,
        metavar="NUMBER",
        help="that make the load, or auto: one for each core (default: %(default)s)",
    )
    bench.add_argument(
        "--json",
        nargs="?",
        const="-",
        metavar="FILE",
        help="the result as JSON into this file too; without a file on standard output instead",
    )
    add_dial_options(bench)
    bench.set_defaults(run=_bench)


def _bench(options: argparse.Namespace) -> int:
    """Load the server. Returns the exit status, or raises CommandError."""
    dialer_from(options)  # a mistake shows here, before there are processes
    whole = _plan(options)
    try:
        with showing() as tell:
            tally, interrupted = run_load(whole.shares(), tell)
    except KeyboardInterrupt:
        return _INTERRUPTED
    _report(options.json, whole, tally, interrupted)
    if interrupted:
        return _INTERRUPTED
    if not tally.opened or not tally.seconds:
        return _NOTHING
    return _FLAWS if tally.flaws else 0


def _plan(options: argparse.Namespace) -> Plan:
    """The whole load."""
    return Plan(
        url=options.url,
        connections=options.connections,
        rate=options.rate,
        inflight=options.inflight,
        sizes=options.sizes,
        binary=options.binary,
        receive_only=options.receive_only,
        duration=options.duration,
        warmup=options.warmup,
        ramp=options.ramp,
        process=0,
        processes=min(options.processes, options.connections),
        dialing=options,
        headers=headers_from(options),
    )


def _report(path: str | None, plan: Plan, tally: Tally, interrupted: bool) -> None:
    if path != "-":
        show(as_text(plan, tally, interrupted))
    if path is None:
        return
    text = json.dumps(as_json(plan, tally, interrupted), indent=2)
    if path == "-":
        show(text)
        return
    try:
        with open(path, "w", encoding="utf-8") as file:
            file.write(f"{text}\n")
    except OSError as error:
        raise CommandError(f"cannot write {path}: {error.strerror}") from None


def _count(text: str) -> int:
    return number(text, "a number of 1 or more", 1, sys.maxsize)


def _rate(text: str) -> float:
    try:
        return seconds(text)
    except argparse.ArgumentTypeError:
        raise argparse.ArgumentTypeError(f"messages a second are a number above 0, not {text!r}") from None


def _seconds_or_none(text: str) -> float:
    return 0.0 if text == "0" else seconds(text)


def _processes(text: str) -> int:
    return cores() if text == "auto" else number(text, "auto, or a number of 1 or more", 1, 1024)
