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

from .cores import on_core
from .job import Finding, Job, LoadError, Processor
from .processes import environment


def generate(job: Job, core: int | None) -> Finding:
    """Do the job in another process, on a core of its own if one is named. Raises LoadError."""
    command = [sys.executable, "-m", "benchmarks.load", json.dumps(dataclasses.asdict(job))]
    return Finding(**json.loads(_output(command, job, core)))


def generate_by(program: str, job: Job, core: int | None) -> Finding:
    """The same by another program, for echoes that are neither compressed nor come by TLS. Raises LoadError.

    It is called as PROGRAM PORT PATH CONNECTIONS SIZE DEPTH SECONDS TEXT (1 or 0), and prints a line that begins with
    the messages per second. How many those were in all it does not say, so the server's processor time is that of the
    whole call.
    """
    shape = [job.port, "/", job.connections, job.size, job.depth, job.seconds, int(job.text)]
    server = Processor(job.pid)
    server_before, own_before, began = server.seconds(), _processor_seconds(), time.perf_counter()
    output = _output([program, *map(str, shape)], job, core)
    seconds, own, server_now = time.perf_counter() - began, _processor_seconds(), server.seconds()
    try:
        rate = float(output.split()[0])
    except (ValueError, IndexError):
        raise LoadError(f"{program} printed {output.strip()[:60]!r}, which does not begin with a rate") from None
    used = None if server_now is None or server_before is None else server_now - server_before
    return Finding(rate * seconds, seconds, (own - own_before) / seconds, used)


def _output(command: list[str], job: Job, core: int | None) -> str:
    """What a generator prints. Raises LoadError with the last line of its complaints."""
    with on_core(core):
        process = subprocess.Popen(
            command, env=environment(), stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
        )
    with process:
        try:
            output, complaints = process.communicate(timeout=2 * job.seconds + 6 * job.patience)
        except subprocess.TimeoutExpired:
            raise LoadError("the load generator did not come to an end") from None
        finally:
            process.kill()
    if process.returncode:
        raise LoadError((complaints.strip().splitlines() or ["the load generator ended without a word"])[-1])
    return output


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
