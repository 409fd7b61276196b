"""What does context takeover give, and what does it cost, for the JSON of a feed?

    python -m benchmarks.takeover                                 everything: some 6 minutes
    python -m benchmarks.takeover --sizes 200 --settings 6/15/8   one size, one setting (level/window bits/memLevel)
    python -m benchmarks.takeover --memory                        KiB for each connection, and nothing else
    python -m benchmarks.takeover --page docs/compression.md      writes the tables there, too

Servers send the messages of a feed (`feed`) on one connection, and receive them: what is told is how much smaller they
were on the wire, and the server's processor time for each, both ways. The client reads and writes bytes, which were
compressed before, so that it hardly matters. What is sent is inflated and compared when the time has been taken. Beside
`websockets` (threads, and asyncio) and Node's `ws`, each with the same settings of zlib, with takeover and without.

Memory is what the server's processes have resident more for each connection: once messages have gone both ways, and
once all have been silent for a while.
"""

from __future__ import annotations

import argparse
import contextlib
import dataclasses
import functools
import itertools
import sys
import time
import zlib
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from . import feed, machine, memory, report, run
from .client import BUFFER, TEXT, frame, frame_end, open_socket
from .job import LoadError, Processor
from .takeover_servers import NAMES, Settings, lacks, running, version_of_ws
from .turns import Comparison, Figures, Reading, Setting

#: With takeover and without it, and for the sake of comparison without compression at all.
TAKEOVER, PLAIN = " takeover", " plain"

SIDES = [f"{name}{way}" for name in NAMES for way in ("", TAKEOVER)]

MEMORY_SIDES = [f"{name}{way}" for name in NAMES for way in (PLAIN, "", TAKEOVER)]

#: zlib's level, bits of the windows, memLevel: those of this library, those of zlib and of Node's `ws`, and those of
#: `websockets`, unless told otherwise.
SETTINGS = ("1/15/8", "6/15/8", "6/12/5")

#: What each table is about; the page has a part for each.
KINDS = {200: "JSON of 200 B", 1024: "JSON of 1 KiB", 16384: "JSON of 16 KiB"}
MEMORY = "Memory"

#: How many messages of each size are sent in a second's measurement.
COUNTS = dict(zip(feed.SIZES, (6000, 3000, 500), strict=True))

#: Connections that are weighed, the messages each sends and receives before, and how long they are silent then.
CONNECTIONS, EXCHANGED, SILENCE = 200, 20, 1.0

#: Seconds until what was let go has left the process: see `syncws/_net/heap.py`; with time for a busy machine.
SETTLE = 6.0


def add_options(parser: argparse.ArgumentParser) -> None:
    sizes = ", ".join(map(str, feed.SIZES))
    parser.add_argument("--sizes", type=_several(_size), default=feed.SIZES, help=f"bytes: {sizes} (default: all)")
    parser.add_argument(
        "--settings", type=_several(parse), default=[parse(each) for each in SETTINGS], help=f"{', '.join(SETTINGS)}"
    )
    parser.add_argument("--memory", action="store_true", help="only what a connection takes")
    parser.add_argument("--cpu", action="store_true", help="only what a message takes")
    parser.add_argument("--connections", type=run.number(int, 1), default=CONNECTIONS, help="that are weighed")
    parser.add_argument("--settle", type=run.number(float, 0), default=SETTLE, help="seconds of silence before that")
    run.add_page(parser)


def _several(parse_one: Any) -> Any:
    def parse_all(given: str) -> list[Any]:
        return [parse_one(word) for word in given.split(",")]

    return parse_all


def _size(given: str) -> int:
    if not given.isdigit() or int(given) not in feed.SIZES:
        raise argparse.ArgumentTypeError(f"a size of {', '.join(map(str, feed.SIZES))}, not {given!r}")
    return int(given)


def parse(given: str) -> Settings:
    """Settings of three numbers: level/bits/memory. Raises argparse.ArgumentTypeError."""
    try:
        level, bits, mem = map(int, given.split("/"))
    except ValueError:
        level, bits, mem = -1, 0, 0
    if not (0 <= level <= 9 and 9 <= bits <= 15 and 1 <= mem <= 9):
        raise argparse.ArgumentTypeError(f"level/window bits/memLevel, such as 6/15/8, not {given!r}")
    return Settings(level=level, bits=bits, memory=mem)


def compare(options: argparse.Namespace) -> list[Comparison]:
    """A comparison for each size and setting, and one of memory."""
    found = []
    if not options.memory:
        for settings, size in itertools.product(options.settings, options.sizes):
            title = f"{KINDS[size]}: {settings.title}"
            sides = [side for side in options.sides if not side.endswith(PLAIN)]
            measured = functools.partial(measure, settings, size)
            found.append(Comparison(Figures("takeover", title, "messages", size), sides, _lacks, measured))
    if not options.cpu:
        for settings in options.settings:
            title = f"{MEMORY}: {options.connections} connections, {settings.title}"
            sides = [
                side for side in MEMORY_SIDES if side in options.sides or side.removesuffix(PLAIN) in options.sides
            ]
            weighed = functools.partial(weigh, settings, options.connections, options.settle)
            found.append(Comparison(Figures("takeover", title, ""), sides, _lacks, weighed))
    return found


def _lacks(setting: Setting, side: str) -> str:
    return lacks(_split(side)[0], setting.folder)


def _split(side: str) -> tuple[str, Settings]:
    """The server of a side, and which way it compresses."""
    if side.endswith(PLAIN):
        return side.removesuffix(PLAIN), Settings(compression=False, takeover=False)
    return side.removesuffix(TAKEOVER), Settings(takeover=side.endswith(TAKEOVER))


def _served(settings: Settings, side: str) -> tuple[str, Settings]:
    name, way = _split(side)
    return name, dataclasses.replace(settings, compression=way.compression, takeover=way.takeover)


# What a message takes


def measure(settings: Settings, size: int, setting: Setting, side: str) -> tuple[Reading, str]:
    """How much smaller the messages were, and microseconds of processor time to send one and to receive one."""
    name, chosen = _served(settings, side)
    count = max(20, round(COUNTS[size] * setting.seconds))
    messages = [*feed.messages(size, count)]
    write_feed(setting.folder, messages)
    with running(name, setting.cores[0], setting.folder, chosen) as (port, pid), Link(port, chosen) as link:
        link.fetch(count // 4)
        link.give(messages[: count // 4])
        used = Processor(pid)
        began = used.seconds()
        sent = link.fetch(count)
        between = used.seconds()
        link.give(messages)
        ended = used.seconds()
        link.check(messages)
    if began is None or between is None or ended is None:
        raise LoadError("this system does not tell the processor time of another process")
    return {
        "send": (between - began) / count * 1e6,
        "receive": (ended - between) / count * 1e6,
        "smaller": sum(map(len, messages)) / sent,
    }, ""


def write_feed(folder: Path, messages: Sequence[str]) -> None:
    (folder / "feed").write_text("".join(f"{message}\n" for message in messages))


class Link:
    """A client's end of one connection, which moves bytes. For one thread."""

    def __init__(self, port: int, settings: Settings) -> None:
        self._settings = settings
        self._compressor: Any = None
        self._held = bytearray()  # frames of the server that were not taken
        self._came: list[bytes] = []  # of each message that has come, the first byte and the payload
        self._sock = open_socket(port)
        try:
            self._sock.settimeout(60)
            self._shake_hands()
        except BaseException:
            self._sock.close()
            raise

    def __enter__(self) -> Link:
        return self

    def __exit__(self, *exc: object) -> None:
        self._sock.close()

    def _shake_hands(self) -> None:
        """Agree on just what the settings say. Raises LoadError."""
        chosen, bits = self._settings, self._settings.bits
        flags = "" if chosen.takeover else "; server_no_context_takeover; client_no_context_takeover"
        offer = f"permessage-deflate{flags}; server_max_window_bits={bits}; client_max_window_bits={bits}"
        lines = ["GET / HTTP/1.1", "Host: 127.0.0.1", "Connection: Upgrade", "Upgrade: websocket"]
        lines += ["Sec-WebSocket-Version: 13", "Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ=="]
        lines += [f"Sec-WebSocket-Extensions: {offer}"] if chosen.compression else []
        self._sock.sendall("".join(f"{line}\r\n" for line in [*lines, ""]).encode())
        while b"\r\n\r\n" not in self._held:
            self._receive()
        head, _, rest = bytes(self._held).partition(b"\r\n\r\n")
        self._held[:] = rest
        agreed = b"permessage-deflate" in head
        kept = agreed and b"no_context_takeover" not in head
        if (agreed, kept) != (chosen.compression, chosen.takeover):
            raise LoadError(f"the server agreed to something else: {head.decode(errors='replace')}")

    def fetch(self, count: int) -> int:
        """Have the server send so many messages, and return how many bytes of payload they had on the wire."""
        self._sock.sendall(frame(b"send %d" % count, TEXT, masked=True))
        return sum(len(each) - 1 for each in self._frames(count))

    def give(self, messages: Sequence[str]) -> None:
        """Have the server receive these."""
        data = b"".join(self._encoded(message) for message in messages)
        self._sock.sendall(frame(b"receive %d" % len(messages), TEXT, masked=True) + data)
        self._frames(1)  # "done"

    def _encoded(self, message: str) -> bytes:
        chosen, payload = self._settings, message.encode()
        if not chosen.compression:
            return frame(payload, TEXT, masked=True)
        if self._compressor is None or not chosen.takeover:
            self._compressor = zlib.compressobj(chosen.level, zlib.DEFLATED, -chosen.bits, chosen.memory)
        packed = self._compressor.compress(payload) + self._compressor.flush(zlib.Z_SYNC_FLUSH)
        return frame(packed[:-4], TEXT, masked=True, compressed=True)

    def _frames(self, count: int) -> list[bytes]:
        """The server's next frames, each a message: the first byte and the payload of each."""
        came: list[bytes] = []
        at = 0
        while len(came) < count:
            end = frame_end(self._held, at)
            if end is None:
                del self._held[:at]
                at = 0
                self._receive()
                continue
            head = {126: 4, 127: 10}.get(self._held[at + 1] & 0x7F, 2)
            came.append(bytes((self._held[at],)) + bytes(self._held[at + head : end]))
            at = end
        del self._held[:at]
        self._came += came
        return came

    def _receive(self) -> None:
        data = self._sock.recv(BUFFER)
        if not data:
            raise LoadError("the server closed the connection")
        self._held += data

    def check(self, messages: Sequence[str]) -> None:
        """Raise LoadError unless what has come is the feed, from its beginning, again and again."""
        inflater = zlib.decompressobj(-15)
        expected = itertools.cycle(messages)
        for each in self._came:
            found = each[1:]
            if each[0] & 0x40:
                if not self._settings.takeover:
                    inflater = zlib.decompressobj(-15)
                found = inflater.decompress(found + b"\x00\x00\xff\xff")
            if found != b"done" and found != next(expected).encode():
                raise LoadError(f"a message is not what the feed has: {found[:60]!r}")


# What a connection takes


def weigh(settings: Settings, connections: int, settle: float, setting: Setting, side: str) -> tuple[Reading, str]:
    """KiB of each connection, once messages have gone both ways, and once it was silent."""
    name, chosen = _served(settings, side)
    silent = name == "syncws" and chosen.takeover
    chosen = dataclasses.replace(chosen, silence=SILENCE if silent else None)
    messages = [*feed.messages(200, EXCHANGED)]
    write_feed(setting.folder, messages)
    with (
        running(name, setting.cores[0], setting.folder, chosen) as (port, pid),
        contextlib.ExitStack() as links,
    ):

        def open_links(count: int) -> None:
            for _ in range(count):
                link = links.enter_context(Link(port, chosen))
                link.fetch(EXCHANGED)
                link.give(messages)

        open_links(memory.EARLY)
        if silent:
            time.sleep(settle)
        before = memory.weigh(pid)["KiB"]
        open_links(connections)
        reading = {"in use": (memory.weigh(pid)["KiB"] - before) / connections}
        if silent:
            time.sleep(settle)
            reading["silent"] = (memory.weigh(pid)["KiB"] - before) / connections
    return reading, ""


# The page


def main() -> int:
    run.need_packages("psutil", "tqdm")
    module: Any = sys.modules[__name__]
    parser = run.make_parser(module)
    options = parser.parse_args()
    run.settle(options)
    run.check_sides(parser, options.sides, SIDES)

    def answer() -> int:
        found = run.measure(compare(options), options)
        for kind in (*KINDS.values(), MEMORY):
            told = [figures for figures in found if figures.title.startswith(f"{kind}: ")]
            if told and options.page is not None:
                run.show(describe(told, options), options.page, kind)
        return run.status(found)

    return run.guarded(answer)


def describe(found: Sequence[Figures], options: argparse.Namespace) -> str:
    """The tables of one kind, and how they were made, as Markdown."""
    versions = ", ".join((*machine.versions(["websockets.sync"]), version_of_ws()))
    rounds = f"Medians of {options.rounds} rounds" if options.rounds > 1 else "One round"
    made = f"{rounds}: {machine.dated()}; {versions}."
    return "\n".join([*(report.markdown(figures) for figures in found), made])


if __name__ == "__main__":
    sys.exit(main())
