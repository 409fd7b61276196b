"""A process on a local bus, for tests: python -m tests.bus.local_node DIRECTORY [INSTANT]

It starts at an instant of time.monotonic(), or at once, says so once it hears the others, and then does what each line
of its input says:

    publish COUNT RATE CHANNEL    publish numbered messages, so many a second (0: as fast as it can)
    report                        what has come since the last report, by channel, and how late; CPU seconds in all
    report COUNT CHANNEL          the same, once so many have come of that channel
    see COUNT                     publish one message, and wait for one of each of so many others
    end                           close and end

It answers each with a line of JSON. It never looks into the directory a second time, if it is given an instant.
"""

from __future__ import annotations

import json
import statistics
import struct
import sys
import threading
import time
from collections.abc import Mapping
from typing import Any

from syncws import LocalBackplane
from syncws._bus import localmesh
from tests.tasks import own_time

MESSAGE = struct.Struct(">dQ")


class Node:
    """What has come, as a Sink."""

    def __init__(self) -> None:
        self.changed = threading.Condition()
        self.numbers: dict[str, list[int]] = {}
        self.late: list[float] = []
        self.first: float | None = None
        self.story: list[str] = []

    def received(self, channel: str, data: bytes, position: str | None = None) -> None:
        now = time.monotonic()
        sent, number = MESSAGE.unpack_from(data)
        with self.changed:
            self.first = self.first or now
            self.numbers.setdefault(channel, []).append(number)
            self.late.append(now - sent)
            self.changed.notify_all()

    def down(self, reason: str) -> None:
        self.story.append(f"down: {reason}")

    def up(self, proven: float) -> None:
        self.story.append("up")

    def dropped(self, counts: Mapping[str, int]) -> None:
        self.story.append(f"dropped {sum(counts.values())}")

    def vanished(self, node: str) -> None:
        self.story.append("vanished")

    def report(self, count: int = 0, channel: str = "") -> dict[str, Any]:
        with self.changed:
            self.changed.wait_for(lambda: len(self.numbers.get(channel, ())) >= count, 30)
            late, self.late = self.late, []
            numbers, self.numbers = self.numbers, {}
            return {
                "received": {channel: len(each) for channel, each in numbers.items()},
                "in order": all(each == sorted(set(each)) for each in numbers.values()),
                "p50": statistics.median(late) if late else None,
                "worst": max(late, default=None),
                "first": self.first,
                "story": self.story,
                "cpu": time.process_time(),
            }


def publish(backplane: LocalBackplane, count: int, rate: float, channel: str, size: int = 200) -> dict[str, float]:
    """Publish numbered messages; the CPU seconds of it, and the longest call."""
    rest = bytes(size - MESSAGE.size)
    began, cpu, worst = time.monotonic(), time.process_time(), 0.0
    for number in range(count):
        if rate and (wait := began + number / rate - time.monotonic()) > 0:
            time.sleep(wait)
        before = own_time()
        backplane.publish(channel, MESSAGE.pack(time.monotonic(), number) + rest)
        worst = max(worst, own_time() - before)
    return {"cpu": time.process_time() - cpu, "worst": worst}


def see(backplane: LocalBackplane, node: Node, others: int) -> dict[str, float]:
    """Say that it is there, and wait for as many others to do so."""
    backplane.publish("seen", MESSAGE.pack(time.monotonic(), 0))
    with node.changed:
        node.changed.wait_for(lambda: len(node.numbers.get("seen", ())) >= others, 30)
    return {
        "seen": len(node.numbers.get("seen", ())),
    }


def main() -> None:
    directory, *instant = sys.argv[1:]
    backplane, node = LocalBackplane(directory), Node()
    if instant:
        localmesh._LOOK = 3600.0
        time.sleep(max(0.0, float(instant[0]) - time.monotonic()))
    began = time.monotonic()
    backplane.start(node, f"{time.time_ns() & 0xFFFFFFFFFFFF:012x}{id(node) & 0xFFFF:04x}")
    backplane.subscribe([], 30)
    say({"began": began, "settled": time.monotonic() - began})
    for line in sys.stdin:
        match line.split():
            case ["publish", count, rate, channel]:
                say(publish(backplane, int(count), float(rate), channel))
            case ["report"]:
                say(node.report())
            case ["report", count, channel]:
                say(node.report(int(count), channel))
            case ["see", others]:
                say(see(backplane, node, int(others)))
            case _:
                break
    backplane.close(10)


def say(what: object) -> None:
    print(json.dumps(what), flush=True)


if __name__ == "__main__":
    main()
