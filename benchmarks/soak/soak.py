"""A run: sites, crowds and chaos are started, and round after round the books are closed.

A round is a while of chaos, and then a calm: faults are mended, everybody goes on until the site is whole, then all are
silent until nothing is without an explanation, or `PATIENCE` is over. What is without one then is a finding.
"""

from __future__ import annotations

import argparse
import collections
import contextlib
import dataclasses
import json
import logging
import os
import shutil
import tempfile
import threading
import time
from pathlib import Path
from typing import Any

from . import picture
from .catalogue import Catalogue, strange
from .crowd import SCALES, Crowd
from .faults import Chaos, Diary
from .journal import Listener, Told
from .ledger import PATIENCE, Books, Loss
from .sites import SITES, Place, Site
from .watch import LEVEL, Sample, Series, look, middle, percentile

#: Seconds between two samples.
EVERY = 2.0

#: Descriptors and threads that a process may have beyond those of its connections and what it had at its beginning.
ROOM = 12

#: Messages that each site has had before its books are closed for the first time.
LEAST = 100

#: Seconds of a run from which on memory has to be level.
LONG = 2400.0


@dataclasses.dataclass
class Process:
    """What is known of a server process.

    Attributes:
        base: descriptors and threads that it had without connections, as far as known.
        pulse: what it said of itself last.
    """

    pid: int
    base: tuple[int, int] | None = None
    pulse: dict[str, Any] = dataclasses.field(default_factory=dict)


class Party:
    """A site with its crowd, its chaos and its books."""

    def __init__(self, site: Site, books: Books, crowd: Crowd, chaos: Chaos) -> None:
        self.site = site
        self.books = books
        self.crowd = crowd
        self.chaos = chaos
        self.series = Series()
        self.closed_sums: collections.Counter[str] = collections.Counter()
        self.read_errors: dict[Path, int] = {}
        self.compared = 0  # connections of which the sums were compared last


class Soak:
    """A run. `go` is for one thread; `heard` is called by that of the journal."""

    def __init__(self, options: argparse.Namespace, say: Any = print) -> None:
        self.options = options
        self.seconds: float = options.seconds
        self.say = say
        self.folder = Path(tempfile.mkdtemp(prefix="soak"))
        self.diary = Diary()
        self.catalogue = Catalogue()
        self.processes: dict[int, Process] = {}
        self.sites_of: dict[int, str] = {}
        self.parties: dict[str, Party] = {}
        self.own: list[float] = []  # MiB of this process, after each round
        self.most: collections.Counter[str] = collections.Counter()
        self.lines: collections.Counter[str] = collections.Counter()
        self.findings: list[str] = []
        self.began = time.monotonic()
        self.rounds = 0
        self._watching = threading.Event()
        self.client_log = Told(self.heard)
        self.place = Place(self.folder, str(self.folder / "journal"), options.takeover, options.planted)
        self.listener = Listener(self.place.journal, self.heard)

    # What servers say

    def heard(self, said: dict[str, Any]) -> None:
        """A server process has said something."""
        event = said["event"]
        if event == "log":
            self._hear_line(said)
            return
        if event == "ready":
            self.place.ready.add(said["pid"])
            return
        process = self.processes.setdefault(said["pid"], Process(said["pid"]))
        party = self._party_of(said["pid"])
        if event == "pulse":
            process.pulse = said
            self.place.alive.add(said["pid"])
            if process.base is None and (needs := look(process.pid)) is not None:
                taken = said["open"] + said["ending"]
                process.base = needs.descriptors - taken, needs.threads - taken
            if said["node"] and party is not None:
                party.crowd.nodes[said["node"]] = f"{party.site.name}:{said['pid']}"
        elif party is None:
            return
        elif event == "gap":
            origin = party.crowd.nodes.get(said["node"], said["node"])
            at = said["at"]
            seconds = min(max(said["seconds"], 0.0), PATIENCE)
            party.books.gap(
                Loss(
                    f"{party.site.name}:{said['pid']}",
                    said["room"],
                    origin,
                    said["missed"],
                    at - seconds,
                    at,
                    said["reason"],
                )
            )
        elif event == "end":
            party.books.dropped(said["name"], said["dropped"])
            party.closed_sums[f"code {said['code']}"] += 1

    def _hear_line(self, said: dict[str, Any]) -> None:
        if "cut" in said:
            self._find(f"a line of the log is too long: {said['cut'][:200]}")
            return
        self.lines[f"{said['level']} {said['logger']} {said['template']}"] += 1
        wrong = self.catalogue.judge(said["logger"], said["level"], said["template"])
        if wrong:
            self._find(f"{said['logger']} logs {said['level']} {said['line']!r}: {wrong} {said['raised']}")

    def _party_of(self, pid: int) -> Party | None:
        name = self.sites_of.get(pid)
        if name is None:
            for each, party in list(self.parties.items()):
                if any(process.pid == pid for process in party.site.serving()):
                    name = self.sites_of[pid] = each
                    break
        return None if name is None else self.parties[name]

    def _find(self, what: str) -> None:
        if len(self.findings) < 5:
            self.say(f"found: {what}")
        if len(self.findings) < 100:
            self.findings.append(what)

    # The run

    def go(self) -> int:
        """Run until the time is over, or something is found; 0, or 1 if something was."""
        try:
            self._start()
            try:
                self._rounds()
            except KeyboardInterrupt:
                self._find("it was interrupted before its books were closed")
            self._end()
        finally:
            logging.getLogger("syncws").removeHandler(self.client_log)
            for party in self.parties.values():
                party.site.end()
            self.listener.close()
            if not self.options.keep:
                shutil.rmtree(self.folder, ignore_errors=True)
        return self._report()

    def _start(self) -> None:
        logger = logging.getLogger("syncws")  # of the clients, which are in this process
        logger.setLevel(logging.DEBUG)
        logger.propagate = False
        logger.addHandler(self.client_log)
        logging.getLogger("syncws.wire").setLevel(logging.INFO)
        place = self.place
        scale = SCALES[self.options.scale]
        for name in self.options.sites:
            site = SITES[name](name, place)
            books = Books(name, lambda began, ended, name=name: self.diary.between(began, ended, name), site.by_bus)  # type: ignore[misc]
            crowd = Crowd(site, books, self.options.seed, scale, takeover=self.options.takeover)
            chaos = Chaos(
                site,
                self.diary,
                self.options.seed,
                only=self.options.only,
                killed=self._killed,
                pause=self.options.pause,
            )
            self.parties[name] = Party(site, books, crowd, chaos)
            site.start()
        for party in self.parties.values():
            party.site.wait_until_answers()
        where = ", ".join(f"{name} at {party.site.urls[0]}" for name, party in self.parties.items())
        self.say(f"{len(self.parties)} sites serve after {time.monotonic() - self.began:.1f} s: {where}")
        for party in self.parties.values():
            party.crowd.start()
            party.chaos.thread.start()
        threading.Thread(target=self._watch, name="soak-watch", daemon=True).start()

    def _killed(self, site: Site, pids: list[int]) -> None:
        for pid in pids:
            self.parties[site.name].books.kill(f"{site.name}:{pid}")

    def _rounds(self) -> None:
        until = self.began + self.seconds
        while True:
            left = until - time.monotonic()
            length = min(self.options.round, max(4.0, left - 15))
            self._chaos(length)
            self._calm()
            if self._found() or time.monotonic() > until - 10:
                return

    def _chaos(self, seconds: float) -> None:
        """Let it go on for so long, and until something was said at each site: a busy machine takes its time."""
        now = time.monotonic()
        until, latest = now + seconds, now + PATIENCE
        while not self.findings or self.options.planted:
            least = min(party.books.totals["acknowledged"] for party in self.parties.values())
            now = time.monotonic()
            if now > latest or (now > until and least >= LEAST):
                return
            time.sleep(0.2)

    def _found(self) -> int:
        return len(self.findings) + sum(party.books.unexplained for party in self.parties.values())

    def _calm(self) -> None:
        """Mend all, be silent, and close the books."""
        self.rounds += 1
        parties = list(self.parties.values())
        for party in parties:
            party.chaos.calm.set()
        for party in parties:
            if not party.chaos.idle.wait(2 * PATIENCE):
                self._find(f"{party.site.name}: a fault does not end: {self.diary.between(0, 1e18, party.site.name)}")
        self._await("whole", self._broken)
        time.sleep(1.5)  # everybody says something over the bus that is whole again
        for party in parties:
            party.crowd.pause()
        self._await("settled", self._unsettled)
        self._await("agreed on", self._disagreements)
        for party in parties:
            party.books.totals["compared"] += party.compared
            party.books.settle()
            self._read_errors(party)
            for failure in party.chaos.failed:
                self._find(f"a fault failed: {failure}")
        self._compare_processes()
        self._forget()
        self._progress()
        for party in parties:
            party.crowd.go_on()
            party.chaos.calm.clear()

    def _forget(self) -> None:
        """Forget processes that are gone: their ids come again."""
        for pid in [pid for pid in list(self.processes) if look(pid) is None]:
            self.processes.pop(pid, None)
            self.sites_of.pop(pid, None)
            self.place.ready.discard(pid)
            self.place.alive.discard(pid)

    def _await(self, what: str, ask: Any) -> None:
        """Wait until nothing is left of what is asked for, twice in a row; what is left in the end is a finding."""
        until = time.monotonic() + self.options.patience
        clear = 0
        while clear < 2:
            left = ask()
            clear = 0 if left else clear + 1
            if time.monotonic() > until:
                for each in left[:10]:
                    self._find(f"not {what} after {self.options.patience:g} s: {each}")
                return
            time.sleep(0.3)

    def _broken(self) -> list[str]:
        """What is not whole yet."""
        lines = []
        now = time.monotonic()
        for name, party in self.parties.items():
            serving = party.site.serving()
            lines += [
                f"{name}: process {process.pid} has ended with {process.poll()}: {party.site.last_words()}"
                for process in party.site.processes
                if process.poll() is not None
            ]
            if not serving:
                lines.append(f"{name} has no process")
            for each in serving:
                pulse = self.processes.setdefault(each.pid, Process(each.pid)).pulse
                self.sites_of.setdefault(each.pid, name)
                if not pulse or pulse["at"] < now - 5:
                    lines.append(f"{name}: process {each.pid} says nothing")
                elif pulse["up"] is False:
                    lines.append(f"{name}: process {each.pid} has no bus")
                elif pulse["nodes"] is not None and pulse["nodes"] < len(serving):
                    lines.append(f"{name}: process {each.pid} knows {pulse['nodes']} of {len(serving)} processes")
            lines += [
                f"{name}: {client.name} is not connected"
                for client in party.crowd.clients
                if client.stays and (client.talk is None or not client.talk.is_in)
            ]
        return lines

    def _unsettled(self) -> list[str]:
        lines = []
        for name, party in self.parties.items():
            lines += [f"{name}: {talk.name} waits for an answer" for talk in party.crowd.live() if not talk.quiet]
            lines += party.books.unsettled()
        return lines

    def _disagreements(self) -> list[str]:
        """What servers have counted of each open connection, where it is not what was counted here."""
        lines = []
        for party in self.parties.values():
            compared = 0
            for talk in party.crowd.live():
                there, here = talk.sums
                compared += 1
                if there[0] != here[0]:
                    lines.append(f"{talk.name} sent {here[0]:,} messages, and its server has counted {there[0]:,}")
                if there[1] != here[1]:
                    lines.append(f"{talk.name} received {here[1]:,} messages, and its server has counted {there[1]:,}")
            party.compared = compared
        return lines

    def _compare_processes(self) -> None:
        """Descriptors and threads of each process, beside its connections."""
        self._await("explained", self._unexplained_needs)

    def _unexplained_needs(self) -> list[str]:
        lines = []
        for name, party in self.parties.items():
            for each in party.site.serving():
                process = self.processes.get(each.pid)
                if process is None or not process.pulse:
                    continue
                pulse = process.pulse
                if pulse["opened"] != pulse["open"] + pulse["ending"] + pulse["closed"]:
                    lines.append(f"{name}: process {each.pid} has opened {pulse['opened']}, and has {pulse}")
                needs = look(each.pid)
                if needs is None:
                    continue
                connections = max(pulse["connections"], pulse["open"] + pulse["ending"])
                assert process.base is not None
                counts = (needs.descriptors, needs.threads)
                for what, count, base in zip(("descriptors", "threads"), counts, process.base, strict=True):
                    self.most[f"{name} {what}"] = max(self.most[f"{name} {what}"], count - base - connections)
                    if count > base + connections + ROOM:
                        lines.append(
                            f"{name}: process {each.pid} has {count} {what}, {connections} connections, and needs "
                            f"{base} without any"
                        )
        return lines

    def _read_errors(self, party: Party) -> None:
        for path in party.site.errors:
            for line in strange(self._new_errors(party, path), hosted=party.site.hosted)[:20]:
                self._find(f"{party.site.name}: a process wrote to its standard error: {line}")

    def _new_errors(self, party: Party, path: Path) -> str:
        """What a process has written to its standard error since this was last asked."""
        with contextlib.suppress(OSError), path.open("rb") as file:
            file.seek(party.read_errors.get(path, 0))
            data = file.read()
            party.read_errors[path] = file.tell()
            return data.decode(errors="replace")
        return ""

    def _progress(self) -> None:
        totals: collections.Counter[str] = collections.Counter()
        for party in self.parties.values():
            totals.update(party.books.totals)
        faults = sum(sum(party.chaos.done.values()) for party in self.parties.values())
        minutes = (time.monotonic() - self.began) / 60
        own = look(os.getpid())
        self.own.append(0.0 if own is None else round(own.rss, 1))
        told = ", ".join(
            f"{name} {totals[name]:,}" for name in ("sent", "due", "got", "ended", "gap", "dropped", "refused", "cut")
        )
        self.say(f"{minutes:6.1f} min, round {self.rounds}: {told}; {faults:,} faults; {self._found()} without reason")

    # What is watched

    def _watch(self) -> None:
        while not self._watching.wait(EVERY):
            for party in self.parties.values():
                steady = party.site.steady
                pids = [process.pid for process in party.site.serving()] if steady is None else [steady]
                found = [each for each in map(look, pids) if each is not None]
                latency = party.crowd.take_latency()
                party.series.add(
                    Sample(
                        round(time.monotonic() - self.began, 1),
                        round(middle([each.rss for each in found]), 2),
                        int(middle([each.descriptors for each in found])),
                        int(middle([each.threads for each in found])),
                        len(party.crowd.live()),
                        round(percentile(latency, 0.5) * 1000, 2),
                        round(percentile(latency, 0.99) * 1000, 2),
                    )
                )

    # The end

    def _end(self) -> None:
        self._watching.set()
        for party in self.parties.values():
            party.chaos.over.set()
        for party in self.parties.values():
            party.crowd.over.set()
        for party in self.parties.values():
            party.crowd.stop()
        for party in self.parties.values():
            self._read_errors(party)
        if time.monotonic() - self.began >= LONG:
            for name, party in self.parties.items():
                level = party.series.level()
                if party.site.steady is not None and level is not None and level > LEVEL:
                    self._find(f"{name}: memory is not level: the last quarter has {level:+.1%} of the second")

    def summary(self) -> dict[str, Any]:
        """All figures of the run."""
        sites = {}
        for name, party in self.parties.items():
            level = party.series.level()
            sites[name] = {
                "totals": dict(sorted(party.books.totals.items())),
                "faults": dict(sorted(party.chaos.done.items())),
                "clients": dict(sorted(party.crowd.counts.items())),
                "ends": dict(sorted(party.closed_sums.items())),
                "memory": None if level is None else round(level, 4),
                "samples": [dataclasses.asdict(each) for each in party.series.samples],
            }
        return {
            "seed": self.options.seed,
            "scale": self.options.scale,
            "takeover": self.options.takeover,
            "seconds": round(time.monotonic() - self.began),
            "rounds": self.rounds,
            "findings": self._stories(),
            "own memory": [*self.own[:1], *self.own[-1:]],
            "beyond connections": dict(sorted(self.most.items())),
            "lines": dict(self.lines.most_common()),
            "sites": sites,
        }

    def _stories(self) -> list[str]:
        found = [f"{each.kind}: {each.story}" for party in self.parties.values() for each in party.books.findings]
        return [*self.findings, *found]

    def _report(self) -> int:
        stories = self._stories()
        for story in stories[:40]:
            self.say(f"FOUND (seed {self.options.seed}): {story}")
        summary = self.summary()
        if self.options.json is not None:
            self.options.json.write_text(json.dumps(summary, indent=1) + "\n")
        if self.options.picture is not None:
            minutes = summary["seconds"] / 60
            title = f"{minutes:,.0f} minutes of chaos, seed {self.options.seed}"
            picture.draw(
                {name: each["samples"] for name, each in summary["sites"].items()}, title, self.options.picture
            )
        self.say(
            f"{'FAILED' if stories else 'OK'}: {summary['seconds']} s, {self.rounds} rounds, seed {self.options.seed}"
        )
        return 1 if stories else 0
