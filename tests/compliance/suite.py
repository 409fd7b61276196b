"""The Autobahn|Testsuite: find it, run it, judge its verdicts."""

from __future__ import annotations

import json
import os
import shlex
import shutil
import socket
import subprocess
import sys
import time
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path

from tests import certificates

from .peers import PEERS

IMAGE = "crossbario/autobahn-testsuite"

MISSING = (
    "no Autobahn|Testsuite: let WSTEST say where wstest is, or put it on the PATH (PyPI: autobahntestsuite, for Python "
    f"2.7 only), or start docker, for the image {IMAGE}"
)

#: What may be said of a case: anything else is a failure, NON-STRICT and UNCLEAN as well.
PASSED = ("OK", "INFORMATIONAL")

#: Every case; and how many there are.
ALL = ["*"]
ALL_COUNT = 517

#: What runs with every change: all but the big and the slow. The suite knows ranges of one level only.
SHORT = [*(f"{group}.*" for group in (1, 2, 3, 4, 5, 6, 7, 10)), "12.1.*"]
SHORT += [f"13.{group}.{number}" for group in range(1, 8) for number in range(1, 5)]
SHORT_COUNT = 293

#: Under TLS the frames are the same; this shows that the stream is, and how it ends.
TLS = ["1.*", "2.*", "5.*", "7.*", "12.1.1", "13.1.1"]
TLS_COUNT = 86

#: With context takeover only what is compressed differs: each size of messages once, and each way to agree.
TAKEOVER = ["12.1.1", "12.1.4", "12.2.3", *(f"13.{group}.{number}" for group in range(1, 8) for number in (1, 4))]
TAKEOVER_COUNT = 17

#: Seconds for all cases of one side; a suite that hangs is a failure too.
PATIENCE = 3000.0


@dataclass
class Verdicts:
    """What the suite says of one side of one library."""

    side: str
    count: int  # of cases that were to run
    behavior: Counter[str] = field(default_factory=Counter)
    behavior_close: Counter[str] = field(default_factory=Counter)
    failures: list[str] = field(default_factory=list)

    @property
    def passed(self) -> bool:
        """Whether every case ran, and every verdict is one of PASSED."""
        return not self.failures

    def __str__(self) -> str:
        lines = [f"{self.side}: {sum(self.behavior.values())} cases"]
        lines += [f"  behavior       {_say(self.behavior)}", f"  behaviorClose  {_say(self.behavior_close)}"]
        return "\n".join(lines + [f"  FAILED {failure}" for failure in self.failures])


def judge(side: str, cases: dict[str, dict[str, object]], count: int, reports: Path | None = None) -> Verdicts:
    """The verdicts in an index.json of the suite, for one agent, of which count cases are expected.

    If the folder of the reports is given, a failure says what its report says.
    """
    verdicts = Verdicts(side, count)
    for case, result in sorted(cases.items(), key=lambda item: [int(part) for part in item[0].split(".")]):
        behavior, behavior_close = str(result["behavior"]), str(result["behaviorClose"])
        verdicts.behavior[behavior] += 1
        verdicts.behavior_close[behavior_close] += 1
        if not (behavior in PASSED and behavior_close in PASSED):
            story = "" if reports is None else _explain(reports / str(result["reportfile"]))
            verdicts.failures.append(f"{case}: {behavior}, closing {behavior_close}{story}")
    if len(cases) != count:
        verdicts.failures.append(f"{len(cases)} cases ran, and not {count}")
    return verdicts


def find() -> list[str] | None:
    """The command that runs the suite in the current directory, None if there is none."""
    if told := os.environ.get("WSTEST"):
        return shlex.split(told)
    if found := shutil.which("wstest"):
        return [found]
    docker = shutil.which("docker")
    if docker and subprocess.run([docker, "info"], capture_output=True).returncode == 0:
        here = ["--rm", "--network=host", "--volume=.:/suite", "--workdir=/suite"]
        return [docker, "run", *here, IMAGE, "wstest"]
    return None


def run(
    folder: Path, peer: str, sides: tuple[str, ...], cases: list[str], count: int, tls: Path | None
) -> list[Verdicts]:
    """Run the cases with both sides of a library at once; reports and logs are left in the folder.

    tls is a certificate and its key, PEM in one file, for 127.0.0.1; None for plain WebSocket.
    """
    command = find()
    if command is None:
        raise FileNotFoundError(MISSING)
    scheme = "ws" if tls is None else "wss"
    running = []
    for side in sides:
        directory = folder / f"{peer}-{side}-{scheme}"
        directory.mkdir(parents=True)
        running.append(_Run(command, directory, peer, side, scheme, cases, count, tls))
    try:  # whatever fails from here on, no process is left
        for each in running:
            each.start()
        return [each.verdicts() for each in running]
    finally:
        for each in running:
            each.end()


class _Run:
    """One side under way: the suite and the peer, a process each."""

    def __init__(
        self,
        command: list[str],
        folder: Path,
        peer: str,
        side: str,
        scheme: str,
        cases: list[str],
        count: int,
        tls: Path | None,
    ) -> None:
        self._folder = folder
        self._peer = peer
        self._count = count
        self._name = f"{peer}, {side}, {scheme}"
        self._processes: list[subprocess.Popen[bytes]] = []
        url = f"{scheme}://127.0.0.1:{_free_port()}"
        specification: dict[str, object] = {"outdir": "reports", "cases": cases, "exclude-cases": []}
        specification |= {"exclude-agent-cases": {}}
        mode = "fuzzingclient" if side == "server" else "fuzzingserver"
        suite = [*command, "--mode", mode, "--spec", "suite.json", "--webport", "0"]
        ours = [sys.executable, "-m", "tests.compliance.peers", side, peer, url, *([] if tls is None else [str(tls)])]
        if side == "server":
            specification["servers"] = [{"agent": peer, "url": url}]
        else:
            specification["url"] = url
            if tls is not None:
                shutil.copy(tls, folder / "both.pem")
                specification |= {"key": "both.pem", "cert": "both.pem"}
        (folder / "suite.json").write_text(json.dumps(specification))
        # The one that listens, and the one that goes through the cases and ends.
        self._programs: list[tuple[str, list[str], Path | None]] = [("suite", suite, folder), ("peer", ours, None)]
        if side == "server":
            self._programs.reverse()
        self._port = int(url.rpartition(":")[2])

    def start(self) -> None:
        """Start both processes. Raises RuntimeError if the one that should listen does not."""
        listener, driver = self._programs
        self._start(*listener)
        self._wait_until_listening()
        self._start(*driver)

    def verdicts(self) -> Verdicts:
        """Wait for the side that runs the cases, and judge them."""
        try:
            status = f"exit code {self._processes[-1].wait(PATIENCE)}"
        except subprocess.TimeoutExpired:
            status = f"still under way after {PATIENCE:g} s"
        reports = self._folder / "reports"
        if status != "exit code 0" or not (reports / "index.json").exists():
            return Verdicts(self._name, self._count, failures=[f"{status}\n{self._logs()}"])
        cases = json.loads((reports / "index.json").read_text())
        return judge(self._name, cases.get(self._peer, {}), self._count, reports)

    def end(self) -> None:
        for process in self._processes:
            process.terminate()
        for process in self._processes:
            try:
                process.wait(10)
            except subprocess.TimeoutExpired:
                process.kill()
                process.wait()

    def _wait_until_listening(self) -> None:
        """Wait until the suite listens: it takes seconds to start, and writes nothing when it has."""
        deadline = time.monotonic() + 60
        while True:
            try:
                socket.create_connection(("127.0.0.1", self._port), 1).close()
                return
            except OSError:
                if self._processes[0].poll() is not None or time.monotonic() > deadline:
                    raise RuntimeError(f"{self._name}: nothing listens\n{self._logs()}") from None
                time.sleep(0.1)

    def _logs(self) -> str:
        return "\n".join(path.read_text(errors="replace")[-2000:] for path in sorted(self._folder.glob("*.log")))

    def _start(self, name: str, command: list[str], cwd: Path | None) -> subprocess.Popen[bytes]:
        with (self._folder / f"{name}.log").open("wb") as log:
            process = subprocess.Popen(command, cwd=cwd, stdout=log, stderr=subprocess.STDOUT, stdin=subprocess.DEVNULL)
        self._processes.append(process)
        return process


def make_certificate(folder: Path) -> Path:
    """A certificate for 127.0.0.1 and its key in one file; it signs itself, as the suite checks no authority."""
    return Path(certificates.files(folder).both)


def run_all(folder: Path, peer: str, *, full: bool) -> Iterator[Verdicts]:
    """Run everything for one library: plain, both sides at once, then with context takeover, and then under TLS."""
    programs = PEERS[peer]
    yield from run(folder, peer, programs.sides, *((ALL, ALL_COUNT) if full else (SHORT, SHORT_COUNT)), None)
    if programs.takeover:
        selection = (ALL, ALL_COUNT) if full else (TAKEOVER, TAKEOVER_COUNT)
        yield from run(folder, programs.takeover, PEERS[programs.takeover].sides, *selection, None)
    if programs.tls:
        yield from run(folder, peer, programs.sides, TLS, TLS_COUNT, make_certificate(folder))


def _explain(report: Path) -> str:
    """What a case was about, what was expected and what happened, a line each."""
    told = json.loads(report.read_text())
    lines = [f"{name}: {told[name]}" for name in ("description", "expectation", "result", "resultClose")]
    return "".join(f"\n    {line}" for line in [*lines, f"frames: {report.with_suffix('.html')}"])


def _free_port() -> int:
    with socket.create_server(("127.0.0.1", 0)) as listener:
        return int(listener.getsockname()[1])


def _say(counts: Counter[str]) -> str:
    return ", ".join(f"{count} {verdict}" for verdict, count in sorted(counts.items())) or "none"
