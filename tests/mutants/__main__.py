"""Makes mutants, tries them, and says which live."""

from __future__ import annotations

import argparse
import os
import random
import signal
import sys
from collections import Counter
from collections.abc import Sequence
from pathlib import Path

from . import survivors
from .changes import Mutant, mutants_of
from .child import preload
from .guards import ROOT, modules
from .trial import Results, survey, try_all

#: What the tests import of other packages, so that each process need not.
_PRELOADED = (
    "asyncio",
    "h11",
    "http.client",
    "hypothesis",
    "numpy",
    "ssl",
    "unittest.mock",
    "wsproto",
)


def main(arguments: Sequence[str] | None = None) -> int:
    options = _parser().parse_args(arguments)
    names = [name for name in modules() if not options.modules or _is_named(name, options.modules)]
    if not names:
        print(f"no module is called {' or '.join(options.modules)}: see tests/mutants/guards.py", file=sys.stderr)
        return 2
    every = [mutant for name in names for mutant in mutants_of(name, modules()[name].read_text())]
    mutants = _selected(every, options)
    if options.list:
        print("\n".join(mutant.name for mutant in mutants))
        return 0
    listed = survivors.read()
    left = _try(mutants, listed, options)
    outdated = survivors.stale(listed, [mutant.name for mutant in every], names)
    for name in outdated:
        print(f"listed in survivors.toml, and does not exist any more: {name}")
    for mutant in left:
        print(f"LIVES {_place(mutant)}: {mutant.name}")
    return 1 if left or outdated else 0


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="python -m tests.mutants", description=sys.modules["tests.mutants"].__doc__)
    parser.formatter_class = argparse.RawDescriptionHelpFormatter
    parser.add_argument("modules", nargs="*", help="such as _conn.wire, or _conn (default: all)")
    parser.add_argument("--only", type=int, metavar="LINE", help="only mutants of statements on this line")
    parser.add_argument("--list", action="store_true", help="print their names, and run nothing")
    parser.add_argument("--sample", type=int, metavar="N", help="only N of them, drawn by chance")
    parser.add_argument("--seed", type=int, default=0, help="of the chance (default: %(default)s)")
    parser.add_argument("--jobs", type=int, default=1, metavar="N", help="at the same time (default: %(default)s)")
    parser.add_argument("--most", type=int, metavar="N", help="run at most so many tests against each (default: all)")
    parser.add_argument("--listed", action="store_true", help="try those as well that may live")
    parser.add_argument("--again", action="store_true", help="try those as well whose fate is known")
    parser.add_argument("--results", type=Path, default=ROOT / ".mutants", help="what is known (default: .mutants)")
    return parser


def _is_named(module: str, wanted: Sequence[str]) -> bool:
    return module in wanted or module.partition(".")[0] in wanted


def _selected(mutants: list[Mutant], options: argparse.Namespace) -> list[Mutant]:
    if options.only is not None:
        mutants = [mutant for mutant in mutants if mutant.lines[0] <= options.only <= mutant.lines[1]]
    if options.sample is not None and options.sample < len(mutants):
        drawn = random.Random(options.seed).sample(range(len(mutants)), options.sample)
        mutants = [mutants[number] for number in sorted(drawn)]
    return mutants


def _try(mutants: list[Mutant], listed: dict[str, str], options: argparse.Namespace) -> list[Mutant]:
    """Try the mutants, and print what becomes of them; those that live and are not listed."""
    results = Results(options.results / "results.jsonl", options.most)
    outcomes: dict[str, Counter[str]] = {mutant.module: Counter() for mutant in mutants}
    left, to_try = [], []
    for mutant in mutants:
        verdict = None if options.again else results.find(mutant)
        if mutant.name in listed and not options.listed:
            outcomes[mutant.module]["listed"] += 1
        elif verdict is None:
            to_try.append(mutant)
        else:
            outcomes[mutant.module][verdict.outcome] += 1
            if verdict.outcome in ("survived", "no test"):
                left.append(mutant)
    if to_try:
        preload(_PRELOADED)
        mutated = dict.fromkeys(mutant.module for mutant in to_try)
        known = survey(mutated, options.results / "survey", lambda line: print(line, flush=True))
        for number, (mutant, verdict) in enumerate(try_all(to_try, known, results, options.jobs, options.most), 1):
            outcomes[mutant.module][verdict.outcome] += 1
            by = f" by {verdict.test}" if verdict.test else ""
            print(f"{number}/{len(to_try)} {verdict.outcome}{by}, {verdict.seconds:.1f} s: {mutant.name}", flush=True)
            if verdict.outcome in ("survived", "no test"):
                left.append(mutant)
    for module, counted in outcomes.items():
        print(
            f"{module}: {counted.total()} mutants: " + ", ".join(f"{n} {what}" for what, n in sorted(counted.items()))
        )
    left.sort(key=lambda mutant: (mutant.module, mutant.lines))
    return [mutant for mutant in left if mutant.name not in listed]


def _place(mutant: Mutant) -> str:
    path = modules()[mutant.module].relative_to(ROOT)
    return f"{path}:{mutant.lines[0]}"


if __name__ == "__main__":
    if not hasattr(os, "fork"):
        sys.exit("python -m tests.mutants needs a system with fork")
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))  # so that no copy and no process stays behind
    sys.exit(main())
