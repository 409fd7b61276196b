"""How many deliveries per second does a room make, on one core, next to others in the same run?

    python benchmarks/fan.py --members 1000 --size 64

One member sends a text, everybody gets it, the sender too, and the next round begins when all have it. Room and load
generator are kept on a core each; the sides take turns, round after round, each time with a fresh process; the figures
are medians, and only their ratios mean anything on another machine. `busy` is how much of its core the load generator
used: near 100 % it is the bottleneck, and the faster side is faster than it looks.
"""

from __future__ import annotations

import argparse
import operator
import os
import ssl
import statistics
import sys
from collections.abc import Callable

from client import Room
from rooms import ROOMS, built, can, running
from servers import pin

#: The share of its core from which on the load generator is called the bottleneck.
BUSY = 0.9


def main() -> None:
    options = parse_arguments()
    sides = [side for side in options.sides if can(side)]
    if not sides:
        sys.exit(1)  # each has said why
    cores = sorted(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else []
    server_core, load_core = (cores[0], cores[-1]) if len(cores) > 1 else (None, None)
    rates: dict[str, list[float]] = {side: [] for side in sides}
    busy: dict[str, list[float]] = {side: [] for side in sides}
    with built(sides, tls=options.tls) as folder:
        pin(load_core)
        tls = ssl.create_default_context(cafile=f"{folder}/cert.pem") if options.tls else None
        for number in range(options.rounds):
            # Forwards and backwards in turn, so that nobody is always the first.
            for side in sides if number % 2 == 0 else sides[::-1]:
                rate, share = measure(side, server_core, folder, tls, options)
                rates[side].append(rate)
                busy[side].append(share)
    say(rates, busy, options)


def measure(
    side: str, core: int | None, folder: str, tls: ssl.SSLContext | None, options: argparse.Namespace
) -> tuple[float, float]:
    with running(side, core, folder, tls=tls is not None, compressed=options.compressed) as port:
        room = Room(port, options.members, options.size, tls=tls, compressed=options.compressed)
        room.run(options.seconds / 4)  # warm up
        result = room.run(options.seconds)
        room.close()
        return result


def say(rates: dict[str, list[float]], busy: dict[str, list[float]], options: argparse.Namespace) -> None:
    kind = "".join(f", {word}" for word in ("tls", "compressed") if getattr(options, word))
    print(f"{options.members} members x {options.size} B{kind}, median of {options.rounds} x {options.seconds:g} s")
    print(f"{'room':<20}{'deliveries/s':>14}{'lowest':>10}{'highest':>10}{'syncws is':>12}{'busy':>7}")
    for side, figures in rates.items():
        ratio = "-"
        if "syncws" in rates:  # of each round, since the two figures of a round met the same noise
            ratio = f"{statistics.median(map(operator.truediv, rates['syncws'], figures)):.2f} x"
        print(
            f"{side:<20}{statistics.median(figures):>14,.0f}{min(figures):>10,.0f}{max(figures):>10,.0f}"
            f"{ratio:>12}{statistics.median(busy[side]):>7.0%}"
        )
    limited = [side for side in rates if statistics.median(busy[side]) >= BUSY]
    if limited:
        print(f"the load generator was the bottleneck: faster than shown: {', '.join(limited)}")


def parse_arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--members", type=number(int, 1), default=1000)
    parser.add_argument("--size", type=number(int, 1, 1 << 20), default=64, help="bytes per message")
    parser.add_argument("--rounds", type=number(int, 1), default=5)
    parser.add_argument("--seconds", type=number(float, 0.1, 3600), default=2.0, help="per side and round")
    parser.add_argument("--tls", action="store_true", help="members come by TLS")
    parser.add_argument("--compressed", action="store_true", help="members offer permessage-deflate")
    parser.add_argument("sides", nargs="*", default=[*ROOMS], help=f"of {', '.join(ROOMS)}; all by default")
    options = parser.parse_args()
    unknown = set(options.sides) - set(ROOMS)
    if unknown:
        parser.error(f"no such room: {', '.join(unknown)}")
    return options


def number(kind: type[int] | type[float], lowest: float, highest: float = 1_000_000) -> Callable[[str], float]:
    """A type of argparse: a number in a range."""

    def parse(given: str) -> float:
        try:
            value = kind(given)
        except ValueError:
            value = kind(-1)
        if not lowest <= value <= highest:
            raise argparse.ArgumentTypeError(f"a number from {lowest:,g} to {highest:,.0f}, not {given!r}")
        return value

    return parse


if __name__ == "__main__":
    main()
