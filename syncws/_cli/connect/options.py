"""The command line of `syncws connect URL`: what it may say, and which kind of run that is.

    syncws connect ws://localhost:8080/echo             # at a terminal: type, and see what comes
    echo hi | syncws connect ws://localhost:8080/echo   # in a pipe: each line is a message
    syncws connect URL --replay conversation.jsonl --expect

Standard input and output that both are a terminal are a talk; else it is a pipe. A replay reads no input.
"""

from __future__ import annotations

import argparse
import sys

from ..._frames.payloads import format_close_message
from ..command import CommandError, Commands, number, seconds
from ..dialing import add_dial_options, dialer_from, headers_from, websocket_url
from .endings import INTERRUPTED, WRONG
from .output import Output, say
from .pipes import Manner, Pipes
from .record import Recorder, read_record
from .replay import Pace, replay_record
from .session import CLOSE_TIMEOUT, Plan
from .talk import Talk, columns
from .view import View

_EPILOG = """\
examples:
  syncws connect ws://localhost:8080/echo
  echo hi | syncws connect ws://localhost:8080/echo
  echo '{"subscribe": "trades"}' | syncws connect wss://example.com/feed --wait forever
  syncws connect wss://example.com/feed --record talk.jsonl
  syncws connect ws://localhost:8080/feed --replay talk.jsonl --expect

exit status: 0 closed normally; 1 cannot connect, or refused; 2 wrong arguments or input; 3 closed abnormally;
4 a replay got something else than was recorded; 130 Ctrl-C
"""

#: Bytes of a message that is taken, if nothing else is said.
_MAX_SIZE = 16 << 20

_UNITS = {"K": 1 << 10, "M": 1 << 20, "G": 1 << 30}

#: Seconds that a replay waits for a message, or a close, that was recorded.
_PATIENCE = 10.0


def add_connect(commands: Commands) -> None:
    """Add the command and its options."""
    parser = commands.add_parser(
        "connect",
        help="talk to a server, from a terminal or in a pipe",
        description="Talk to a WebSocket server, from a terminal or in a pipe.",
        epilog=_EPILOG,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("url", metavar="URL", type=websocket_url, help="ws://host:port/path or wss://...")
    _add_messages(parser)
    _add_screen(parser)
    _add_record(parser)
    add_dial_options(parser)
    parser.add_argument(
        "--max-redirects", metavar="NUMBER", type=_count, default=0, help="redirects to follow (default: %(default)s)"
    )
    parser.set_defaults(run=_connect)


def _add_messages(parser: argparse.ArgumentParser) -> None:
    group = parser.add_argument_group("messages")
    kind = group.add_mutually_exclusive_group()
    kind.add_argument(
        "--text", dest="binary", action="store_false", default=False, help="what is sent is text (the default)"
    )
    kind.add_argument("--binary", action="store_true", help="what is sent is bytes")
    cut = group.add_mutually_exclusive_group()
    cut.add_argument("--null", action="store_true", help="in a pipe: messages end with a NUL, not with their line")
    cut.add_argument("--whole", action="store_true", help="in a pipe: all of the input is one message")
    group.add_argument(
        "--wait",
        metavar="SECONDS",
        type=_wait,
        help="in a pipe: receive for so long after the end of the input; forever: until the server closes (default: "
        "until as many messages have come as were sent, or none for 5 s)",
    )
    group.add_argument(
        "--close", metavar="CODE[:REASON]", type=_closing, default=(1000, ""), help="how to close (default: 1000)"
    )
    group.add_argument(
        "--max-size",
        metavar="BYTES",
        type=_size,
        default=_MAX_SIZE,
        help="of a message; 0: any (default: 16M)",
    )
    group.add_argument("--ping", metavar="SECONDS", type=seconds, help="ping so often, and show how long the pong took")
    group.add_argument("--reconnect", action="store_true", help="connect again when the connection is lost")


def _add_screen(parser: argparse.ArgumentParser) -> None:
    group = parser.add_argument_group("what is shown")
    group.add_argument("-t", "--timestamps", action="store_true", help="at a terminal: the time of day of each message")
    group.add_argument("--full", action="store_true", help="at a terminal: long messages to their end")
    group.add_argument("--raw", action="store_true", help="at a terminal: JSON as it came")
    group.add_argument(
        "--history", action=argparse.BooleanOptionalAction, default=True, help="remember what is typed (default: yes)"
    )
    group.add_argument("-v", "--verbose", action="store_true", help="the handshake, pings and pongs, and each close")


def _add_record(parser: argparse.ArgumentParser) -> None:
    group = parser.add_argument_group("recording")
    group.add_argument("--record", metavar="FILE", help="write the conversation to a new file, as lines of JSON")
    group.add_argument("--replay", metavar="FILE", help="send what was sent in a recorded conversation")
    group.add_argument(
        "--speed", metavar="FACTOR", type=_speed, help="with --replay: 2 halves the pauses; max: none (default: 1)"
    )
    group.add_argument("--expect", action="store_true", help="with --replay: compare what comes with what was recorded")


def _connect(options: argparse.Namespace) -> int:
    """Talk, pipe or replay. Returns the exit status, or raises CommandError."""
    _check(options)
    plan = Plan(
        options.url,
        headers_from(options),
        dialer_from(
            options,
            read_limit=options.max_size,
            max_redirects=options.max_redirects,
            close_timeout=CLOSE_TIMEOUT,
            overflow="drop_newest",
        ),
        options.reconnect,
        options.ping,
    )
    if options.insecure:
        say("--insecure: nobody knows who the server is, and whoever is between can read and change everything")
    view = View(columns, timestamps=options.timestamps, full=options.full, raw=options.raw)
    recorder = None
    try:
        recorder = Recorder(options.record) if options.record is not None else None
        if options.replay is not None:
            return _replay(plan, options, view, recorder)
        if sys.stdin.isatty() and sys.stdout.isatty():
            return _talk(plan, options, view, recorder)
        return Pipes(plan, _manner(options), view, recorder).run()
    except KeyboardInterrupt:  # a second one, or while a replay was connecting
        return INTERRUPTED
    finally:
        if recorder is not None:
            recorder.close()


def _check(options: argparse.Namespace) -> None:
    if options.replay is None and (options.expect or options.speed is not None):
        raise CommandError("--expect and --speed are for --replay FILE", WRONG)
    if options.replay is not None and options.reconnect:
        raise CommandError("--replay and --reconnect exclude each other: a conversation has one connection", WRONG)


def _manner(options: argparse.Namespace) -> Manner:
    separator = None if options.whole else b"\0" if options.null else b"\n"
    code, reason = options.close
    return Manner(options.binary, separator, options.wait, code, reason, options.verbose)


def _talk(plan: Plan, options: argparse.Namespace, view: View, recorder: Recorder | None) -> int:
    code, reason = options.close
    talk = Talk(
        plan,
        view,
        recorder,
        binary=options.binary,
        code=code,
        reason=reason,
        verbose=options.verbose,
        history=options.history,
    )
    return talk.run()


def _replay(plan: Plan, options: argparse.Namespace, view: View, recorder: Recorder | None) -> int:
    pace = Pace(
        speed=options.speed or 1.0,
        expect=options.expect,
        patience=_PATIENCE if options.wait is None else options.wait,
        code=options.close[0],
        reason=options.close[1],
    )
    output = Output(sys.stdout.fileno(), b"\0" if options.null else b"\n", view)
    return replay_record(plan, read_record(options.replay), pace, output, recorder)


# The types of arguments


def _count(text: str) -> int:
    return number(text, "a number from 0 to 20", 0, 20)


def _wait(text: str) -> float:
    if text == "forever":
        return float("inf")
    return 0.0 if text == "0" else seconds(text)


def _closing(text: str) -> tuple[int, str]:
    code, _, reason = text.partition(":")
    try:
        format_close_message(int(code), reason)
    except ValueError as error:
        told = str(error) if code.isdigit() else "a close code is a number, with a reason after a colon: 4000:bye"
        raise argparse.ArgumentTypeError(told) from None
    return int(code), reason


def _size(text: str) -> int | None:
    unit = _UNITS.get(text[-1:].upper(), 0)
    size = number(text[:-1] if unit else text, "a number of bytes, such as 64K or 16M; 0 for any", 0, 1 << 40)
    return size * (unit or 1) or None


def _speed(text: str) -> float:
    return float("inf") if text == "max" else seconds(text)
