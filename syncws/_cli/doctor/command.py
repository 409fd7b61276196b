"""The command line: ``syncws doctor`` says what is wrong with a machine, an application or a deployment.

    syncws doctor                                # this machine
    syncws doctor module:app                     # how the application would be served
    syncws doctor wss://app.example.com/ws       # a deployment, through all that is in front of it
    syncws doctor --stand-in 8080                # take the application's place, so that the line above sees more

Each finding has the lines of nginx, Caddy, HAProxy and others that mend it.
"""

from __future__ import annotations

import argparse
import contextlib
import os
import signal
import sys
from collections.abc import Iterable
from pathlib import Path

from .. import dialing
from ..command import CommandError, Commands, number, seconds, show
from .application import check_application
from .deployment import Deployment, Scope
from .finding import Finding, Severity, worst
from .machine import check_machine
from .mending import FRONTS
from .patience import Progress
from .report import Report, as_json
from .standin import stand_in
from .visitor import Place, visitor_from

#: The exit status where a fault was found, and after Ctrl-C, as shells have it.
_FAULTS, _INTERRUPTED = 1, 130

_EPILOG = """\
examples:
  syncws doctor
  syncws doctor app:app --server gunicorn
  syncws doctor wss://app.example.com/ws -H 'Cookie: session=...' --front nginx
  syncws doctor wss://app.example.com/ws --quick --json

exit status: 0 there is no fault; 1 there is one; 2 wrong arguments
"""


def add_doctor(commands: Commands) -> None:
    """Add the command and its options."""
    doctor = commands.add_parser(
        "doctor",
        help="what is wrong with this machine, an application or a deployment, and what to change",
        description="Say what is wrong, and which line mends it. Without an argument: this machine.",
        epilog=_EPILOG,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    doctor.add_argument(
        "subject", nargs="?", metavar="URL | module:app", help="a WebSocket endpoint, best an echo; or an application"
    )
    doctor.add_argument("--json", action="store_true", help="the findings as one JSON object")
    doctor.add_argument(
        "--front",
        metavar="NAME",
        choices=list(FRONTS),
        help=f"show the lines of this program only: {', '.join(FRONTS)} (default: all)",
    )
    doctor.add_argument("--stand-in", metavar="[HOST:]PORT", help="be an echo there that tells what comes of requests")
    doctor.add_argument("--server", metavar="NAME", help="of an application: look at this server only, as gunicorn")
    group = doctor.add_argument_group("how much of a deployment")
    idle = group.add_mutually_exclusive_group()
    idle.add_argument(
        "--idle", metavar="SECONDS", type=seconds, default=65.0, help="leave a connection idle (default: %(default)g)"
    )
    idle.add_argument("--quick", action="store_true", help="leave no connection idle")
    group.add_argument(
        "--patience", metavar="SECONDS", type=seconds, default=5.0, help="for each answer (default: %(default)g)"
    )
    group.add_argument(
        "--connections", metavar="NUMBER", type=_count, default=10, help="at once (default: %(default)s)"
    )
    group.add_argument(
        "--size", metavar="BYTES", type=_size, default=1 << 20, help="of a large message (default: %(default)s)"
    )
    group.add_argument("--health", metavar="PATH", default="/", help="of a plain request (default: %(default)s)")
    group.add_argument(
        "--watch-restart", metavar="SECONDS", type=seconds, help="wait for a restart, and say what clients see of it"
    )
    dialing.add_dial_options(doctor)
    doctor.set_defaults(run=_doctor)


def _doctor(options: argparse.Namespace) -> int:
    """Look, and report. Returns the exit status, or raises CommandError."""
    try:
        if options.stand_in is not None:
            return _stand_in(options)
        if options.subject is None:
            return _report("this machine", check_machine(), options)
        if _is_application(options.subject):
            return _report(options.subject, check_application(options.subject, options.server), options)
        if (module := _module_here(options.subject)) is not None:
            raise CommandError(f"{options.subject} is a module here: for an application write {module}:app", 2)
        return _look_at(options)
    except KeyboardInterrupt:
        return _INTERRUPTED


def _is_application(subject: str) -> bool:
    """Whether it is module:app, and not a host with its port, or a URL."""
    module, colon, attribute = subject.partition(":")
    return bool(colon and module and attribute) and "/" not in subject and not attribute[0].isdigit()


def _module_here(subject: str) -> str | None:
    """The module of the current directory that this names, as app, app.py or shop/app.py do, as import has it."""
    name = subject.removesuffix(".py").strip("/").replace("/", ".")
    path = Path(*name.split("."))
    there = path.with_suffix(".py").is_file() or (path / "__init__.py").is_file()
    return name if there and all(each.isidentifier() for each in name.split(".")) else None


def _look_at(options: argparse.Namespace) -> int:
    try:
        url = dialing.websocket_url(options.subject)
    except argparse.ArgumentTypeError as error:
        raise CommandError(str(error), 2) from None
    if not options.health.startswith("/"):
        raise CommandError("--health is a path, such as /healthz", 2)
    patience = min(options.patience, options.timeout)
    dialer = dialing.dialer_from(options, handshake_timeout=patience, close_timeout=patience, enable_compression=False)
    place = Place(url, visitor_from(dialer), dialing.headers_from(options), patience)
    scope = Scope(
        idle=None if options.quick else options.idle,
        restart=options.watch_restart,
        size=options.size,
        count=options.connections,
        health=options.health,
        compression=options.compression,
    )
    deployment = Deployment(place, scope, _progress())
    return _report(str(place.server), deployment.check(), options, deployment)


def _report(
    subject: str, findings: Iterable[Finding], options: argparse.Namespace, deployment: Deployment | None = None
) -> int:
    """Write findings as they come, or all of them as JSON at the end. Returns the exit status."""
    report = Report(colour=_has_colours(), front=options.front)
    found: list[Finding] = []
    for finding in findings:
        found.append(finding)
        if options.json:
            continue
        if len(found) == 1:  # and not before: what cannot be loaded is an error, and no report
            show(f"syncws doctor: {subject}\n")
        report.guessed = None if deployment is None else deployment.front
        for line in report.lines(finding):
            show(line)
    if options.json:
        show(as_json(subject, found, options.front, None if deployment is None else deployment.front))
    else:
        quick = deployment is not None and options.quick
        show(f"\n{report.end(found, 'No connection was left idle (--quick).' if quick else '')}")
    return _FAULTS if worst(found) is Severity.FAULT else 0


def _has_colours() -> bool:
    return sys.stdout.isatty() and "NO_COLOR" not in os.environ and os.environ.get("TERM") != "dumb"


def _progress() -> Progress:
    """Shows how far a long check is, on one line of a terminal that is written anew; nothing elsewhere."""
    if not sys.stderr.isatty():
        return lambda _text: None
    return lambda text: print(f"\r\x1b[K{text}", end="", file=sys.stderr, flush=True)


def _stand_in(options: argparse.Namespace) -> int:
    host, port = _place(options.stand_in)
    try:
        server = stand_in(host, port)
    except (OSError, ValueError) as error:
        reason = error.strerror if isinstance(error, OSError) and error.strerror else str(error)
        raise CommandError(f"cannot listen on {host} port {port}: {reason}") from None
    # A signal that comes before serve_forever runs is a KeyboardInterrupt.
    previous = signal.signal(signal.SIGTERM, signal.default_int_handler)
    try:
        with contextlib.suppress(CommandError):  # it stands in also where nobody reads that
            show(f"Standing in for the application on {host}:{server.port} (press Ctrl-C to stop)")
        server.serve_forever()
    except KeyboardInterrupt:
        server.shutdown(timeout=0)
    finally:
        signal.signal(signal.SIGTERM, previous)
    return 0


def _place(text: str) -> tuple[str, int]:
    host, _, port = text.rpartition(":")
    try:
        return host.strip("[]") or "127.0.0.1", number(port, "a port is a number from 0 to 65535", 0, 0xFFFF)
    except argparse.ArgumentTypeError as error:
        raise CommandError(f"--stand-in: {error}", 2) from None


def _count(text: str) -> int:
    return number(text, "the number of connections is 1 to 1000", 1, 1000)


def _size(text: str) -> int:
    return number(text, "the size of a message is 64 bytes to 64 MiB", 64, 64 << 20)
