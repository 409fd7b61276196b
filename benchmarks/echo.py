"""How many messages per second does an echo server return, on one core, next to others in the same run?

    python benchmarks/echo.py --connections 64 --size 32

Server and load generator are kept on a core each. The sides take turns, round after round, each time with a fresh
process; the figures are medians, and only their ratios mean anything on another machine. `busy` is how much of its core
the load generator used: near 100 % it is the bottleneck, and the faster side is faster than it looks.
"""

from __future__ import annotations

import argparse
import os
import statistics

from client import Load
from servers import SERVERS, pin, running


def main() -> None:
    options = parse_arguments()
    cores = sorted(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else []
    server_core, load_core = (cores[0], cores[-1]) if len(cores) > 1 else (None, None)
    pin(load_core)
    rates: dict[str, list[float]] = {side: [] for side in options.sides}
    busy: dict[str, list[float]] = {side: [] for side in options.sides}
    for number in range(options.rounds):
        # Forwards and backwards in turn, so that nobody is always the first.
        for side in options.sides if number % 2 == 0 else options.sides[::-1]:
            rate, share = measure(side, server_core, options)
            rates[side].append(rate)
            busy[side].append(share)
    say(rates, busy, options)


def measure(side: str, core: int | None, options: argparse.Namespace) -> tuple[float, float]:
    with running(side, core) as (port, _):
        load = Load(port, options.connections, options.size, bare=side == "bare")
        load.run(options.seconds / 4)  # warm up
        result = load.run(options.seconds)
        load.close()
        return result


def say(rates: dict[str, list[float]], busy: dict[str, list[float]], options: argparse.Namespace) -> None:
    base = "websockets.sync" if "websockets.sync" in rates else options.sides[0]
    print(f"{options.connections} connections x {options.size} B, median of {options.rounds} x {options.seconds:g} s")
    print(f"{'server':<20}{'messages/s':>12}{'lowest':>10}{'highest':>10}{'ratio':>8}{'busy':>7}   to {base}")
    for side, figures in rates.items():
        median = statistics.median(figures)
        # Of each round, since the two figures of a round met the same noise.
        ratio = statistics.median(mine / theirs for mine, theirs in zip(figures, rates[base], strict=True))
        share = statistics.median(busy[side])
        print(f"{side:<20}{median:>12,.0f}{min(figures):>10,.0f}{max(figures):>10,.0f}{ratio:>8.2f}{share:>7.0%}")


def parse_arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--connections", type=int, default=64)
    parser.add_argument("--size", type=int, default=32, help="bytes per message")
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--seconds", type=float, default=2.0, help="per side and round")
    parser.add_argument("sides", nargs="*", default=[*SERVERS], help=f"of {', '.join(SERVERS)}; all by default")
    options = parser.parse_args()
    unknown = set(options.sides) - set(SERVERS)
    if unknown:
        parser.error(f"no such server: {', '.join(unknown)}")
    return options


if __name__ == "__main__":
    main()
