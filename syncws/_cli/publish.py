"""The command line: ``syncws publish`` sends to the members of all processes, from a shell or from cron.

    syncws publish --redis redis://cache:6379/0 --room lobby 'the report is there'
    syncws publish --local /run/app/bus --all 'back in five minutes'
    tail -F prices.jsonl | syncws publish --redis redis://cache --room prices --lines -

It ends once the bus has taken the message, with status 0. An error is one line on stderr.
"""

from __future__ import annotations

import argparse
import os
import sys
from collections.abc import Hashable, Iterator

from .._bus.backplane import Backplane
from .._bus.history import History
from .._bus.redis import RedisBackplane
from .._relay.address import backplane_at
from .._relay.names import parse_name
from .._relay.publisher import Publisher
from ..errors import BackplaneError, BackplaneTimeout
from .command import CommandError, Commands, seconds

#: The exit status when the bus did not answer in time: it may have been delivered.
NOT_IN_TIME = 3

#: The exit status after Ctrl-C, as shells have it.
_INTERRUPTED = 130

#: Where the address of the bus may stand, so that no password of it stands in the list of processes.
_VARIABLE = "SYNCWS_BUS"

_EPILOG = f"""\
The address of the bus is that of the application's backplane. It may stand in the environment instead, where no list of
processes shows its password: {_VARIABLE}=redis://:password@cache:6379/0 or {_VARIABLE}=local:/run/app/bus.

examples:
  syncws publish --redis redis://cache:6379/0 --room lobby 'the report is there'
  syncws publish --redis redis://cache --json-names --room '["order", 17]' '{{"state": "paid"}}'
  syncws publish --local /run/app/bus --all 'back in five minutes'
  tail -F prices.jsonl | syncws publish --redis redis://cache --room prices --lines -

exit status: 0 the bus has taken it; 1 it refuses, or is not there; 2 wrong arguments;
3 the bus did not answer in time, and it may have been delivered
"""


def add_publish(commands: Commands) -> None:
    """Add the command and its options."""
    publish = commands.add_parser(
        "publish",
        help="send to the members of all processes, over the bus that joins them",
        description="Send to the members of all processes whose Managers are on a bus, and wait until it has taken it.",
        epilog=_EPILOG,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    publish.add_argument("message", help="the text; - reads it from standard input, without the end of its last line")
    bus = publish.add_mutually_exclusive_group()
    bus.add_argument("--redis", metavar="URL", help="the bus is a RedisBackplane: redis://[:password@]host[:port][/db]")
    bus.add_argument("--local", metavar="PATH", help="the bus is a LocalBackplane in this directory")
    publish.add_argument("--prefix", help="that of the application's RedisBackplane (default: syncws)")
    who = publish.add_mutually_exclusive_group(required=True)
    who.add_argument("--room", help="to the members of a room")
    who.add_argument("--id", help="to the members of an id")
    who.add_argument("--all", action="store_true", help="to everybody")
    publish.add_argument("--exclude", metavar="ID", action="append", default=[], help="not to this id; may be repeated")
    publish.add_argument(
        "--json-names", action="store_true", help='rooms and ids are JSON: "lobby", 42, ["a", 1]; else they are strings'
    )
    publish.add_argument("--binary", action="store_true", help="the bytes go as BINARY, all of them; else TEXT")
    publish.add_argument("--lines", action="store_true", help="with -: each line is a message, sent as it comes")
    publish.add_argument(
        "--history",
        metavar="SIZE:SECONDS",
        type=_history,
        help="the room remembers: as size and ttl of the application's History, such as 100:300",
    )
    publish.add_argument(
        "--timeout", type=seconds, default=2.0, metavar="SECONDS", help="for each message (default: %(default)g)"
    )
    publish.set_defaults(run=_publish)


def _publish(options: argparse.Namespace) -> int:
    """Send. Returns the exit status, or raises CommandError."""
    _check(options)
    backplane = _backplane(options)
    with Publisher(backplane, timeout=options.timeout) as publisher:
        room = None if options.room is None else _name(options, options.room)
        id = None if options.id is None else _name(options, options.id)
        exclude = [_name(options, each) for each in options.exclude]
        where = ""
        try:
            for number, data in enumerate(_messages(options, backplane.max_message), 1):
                where = f"line {number}: " if options.lines else ""
                message = data if options.binary else _text(data, where)
                if options.id is None:
                    publisher.broadcast(message, room=room, exclude=exclude)
                else:
                    publisher.send(id, message)
        except BackplaneTimeout as error:
            raise CommandError(f"{where}{error}", NOT_IN_TIME) from None
        except (BackplaneError, ValueError, TypeError) as error:
            raise CommandError(f"{where}{error}") from None
        except KeyboardInterrupt:
            return _INTERRUPTED
    return 0


def _check(options: argparse.Namespace) -> None:
    if options.lines and options.message != "-":
        raise CommandError("--lines reads standard input: give - in place of the message", 2)
    if options.exclude and options.id is not None:
        raise CommandError("--exclude is for --room and --all", 2)
    if options.history is not None and options.room is None:
        raise CommandError("--history is for --room", 2)
    if options.history is not None and options.local is not None:
        raise CommandError("--history is for Redis: the processes of a local bus remember by themselves", 2)


def _backplane(options: argparse.Namespace) -> Backplane:
    address = options.redis or os.environ.get(_VARIABLE)
    if options.local is not None:
        address = f"local:{options.local}"
    if not address:
        raise CommandError(f"where is the bus? give --redis URL or --local PATH, or set {_VARIABLE}", 2)
    try:
        if options.history is not None and not address.startswith("local:"):
            return RedisBackplane(address, prefix=options.prefix or "syncws", history=options.history)
        return backplane_at(address, options.prefix)
    except (ValueError, TypeError, OSError, ImportError, RuntimeError) as error:
        raise CommandError(str(error)) from None


def _name(options: argparse.Namespace, text: str) -> Hashable:
    if not options.json_names:
        return text
    try:
        return parse_name(text)
    except ValueError:
        raise CommandError(f"""{text!r} is no name as JSON: give '"lobby"', 42 or '["a", 1]'""", 2) from None


def _messages(options: argparse.Namespace, most: int) -> Iterator[bytes]:
    """The messages. One of more than `most` bytes, which will be refused, is not read to its end."""
    if options.message != "-":
        yield os.fsencode(options.message)
    elif options.lines:
        while line := sys.stdin.buffer.readline(most + len(b"..\r\n")):
            yield _without_end(line)
    else:
        data = sys.stdin.buffer.read(most + len(b"..\r\n"))
        yield data if options.binary else _without_end(data)


def _without_end(line: bytes) -> bytes:
    return line.removesuffix(b"\n").removesuffix(b"\r") if line.endswith(b"\n") else line


def _text(data: bytes, where: str) -> str:
    try:
        return data.decode()
    except UnicodeDecodeError as error:
        raise CommandError(f"{where}the message is no UTF-8 ({error.reason}): send it with --binary") from None


def _history(text: str) -> History:
    size, _, ttl = text.partition(":")
    try:
        return History(size=int(size), ttl=float(ttl))
    except ValueError:
        raise argparse.ArgumentTypeError(f"a history is SIZE:SECONDS, such as 100:300, not {text!r}") from None
