"""A load generator in a process of its own, whose interpreter it shares with nothing: `generate` starts it and waits.

The process is `python -m benchmarks.load JOB`, with the job as JSON. It prints what it found as JSON, or why it found
nothing as a line on standard error.
"""

from __future__ import annotations

import dataclasses
import gc
import importlib
import json
import resource
import subprocess
import sys
import time
from collections.abc import Callable

from .cores import on_core
from .job import Finding, Job, LoadError, Processor
from .processes import environment

#: Seconds between looks at a server under the load of another program.
EVERY = 0.05


def generate(job: Job, core: int | None, meanwhile: Callable[[], None] = lambda: None) -> Finding:
    """Do the job in another process, on a core of its own if one is named. Raises LoadError.

    meanwhile is called now and then while it runs.
    """
    command = [sys.executable, "-m", "benchmarks.load", json.dumps(dataclasses.asdict(job))]
    return Finding(**json.loads(_output(command, job, core, meanwhile)))


def generate_by(program: str, job: Job, core: int | None) -> Finding:
    """The same by another program, for echoes that are neither compressed nor come by TLS. Raises LoadError.

    It is called as PROGRAM PORT PATH CONNECTIONS SIZE DEPTH SECONDS TEXT (1 or 0), for a room as PROGRAM PORT PATH
    MEMBERS SIZE SECONDS, and prints a line that begins with the messages per second. When it measures it does not say,
    so it is taken to do so at its end: the server's processor time is that of the last part of the call.
    """
    shape = [job.port, "/", job.connections, job.size]
    shape += [job.seconds] if job.kind == "room" else [job.depth, job.seconds, int(job.text)]
    own_before, began, samples = _processor_seconds(), time.perf_counter(), Samples(job)
    output = _output([program, *map(str, shape)], job, core, samples.take)
    seconds, own = time.perf_counter() - began, _processor_seconds()
    try:
        rate = float(output.split()[0])
    except (ValueError, IndexError):
        raise LoadError(f"{program} printed {output.strip()[:60]!r}, which does not begin with a rate") from None
    share = samples.share()
    return Finding(rate * seconds, seconds, (own - own_before) / seconds, None if share is None else share * seconds)


class Samples:
    """The server's processor time again and again during a call whose measured interval is its last part."""

    def __init__(self, job: Job) -> None:
        self._server, self._interval = Processor(job.pid), 0.8 * job.seconds
        self._taken: list[tuple[float, float]] = []

    def take(self) -> None:
        seconds = self._server.seconds()
        if seconds is not None:
            self._taken.append((time.perf_counter(), seconds))

    def share(self) -> float | None:
        """Processors that the server used in the last part, as 1.0 for one of them all the time; None: not known."""
        if len(self._taken) < 2:
            return None
        end, used = self._taken[-1]
        early = [sample for sample in self._taken if end - sample[0] >= self._interval]
        begin, before = early[-1] if early else self._taken[0]
        return (used - before) / (end - begin)


def _output(command: list[str], job: Job, core: int | None, meanwhile: Callable[[], None] = lambda: None) -> str:
    """What a generator prints. Raises LoadError with the last line of its complaints.

    meanwhile is called now and then while it runs.
    """
    with on_core(core):
        process = subprocess.Popen(
            command, env=environment(), stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
        )
    with process:
        try:
            _wait(process, 2 * job.seconds + 6 * job.patience, meanwhile)
            output, complaints = process.communicate()
        except subprocess.TimeoutExpired:
            raise LoadError("the load generator did not come to an end") from None
        finally:
            process.kill()
    if process.returncode:
        raise LoadError((complaints.strip().splitlines() or ["the load generator ended without a word"])[-1])
    return output


def _wait(process: subprocess.Popen[str], seconds: float, meanwhile: Callable[[], None]) -> None:
    """Wait for the end of a program that prints little. Raises TimeoutExpired."""
    deadline = time.monotonic() + seconds
    while True:
        meanwhile()
        try:
            process.wait(min(EVERY, deadline - time.monotonic()))
        except subprocess.TimeoutExpired:
            if time.monotonic() >= deadline:
                raise
        else:
            return


def _processor_seconds() -> float:
    """Seconds of processor time that the ended children of this process have used."""
    used = resource.getrusage(resource.RUSAGE_CHILDREN)
    return used.ru_utime + used.ru_stime


def main() -> None:
    job = Job(**json.loads(sys.argv[1]))
    gc.disable()
    try:
        finding = importlib.import_module(f"benchmarks.load_{job.kind}").run(job)
    except LoadError as error:
        sys.exit(str(error))
    except OSError as error:
        sys.exit(f"the connection broke: {error}")
    print(json.dumps(dataclasses.asdict(finding)))


if __name__ == "__main__":
    main()
