"""`python -m benchmarks.way`: what a process was doing that `perf` saw, and the tables."""

from __future__ import annotations

import argparse
import subprocess
import sys
import threading
import unittest
from pathlib import Path
from unittest import mock

from benchmarks import way, way_steps
from benchmarks.turns import Figures
from tests.partners import heavy
from tests.test_benchmarks import PACKAGES, need_packages

ROOT = Path(__file__).resolve().parent.parent.parent

#: Two samples as `perf script` prints them: a reader that goes to sleep, and Python at work.
SCRIPT = """\
ffffffff81a0b1c2 __schedule ([kernel.kallsyms])
ffffffff81a0b3f4 schedule ([kernel.kallsyms])
ffffffff8190aaaa __x64_sys_recvfrom ([kernel.kallsyms])
    7f00deadbeef recv (/usr/lib/libc.so.6)

    7f00cafe0001 _PyEval_EvalFrameDefault (/usr/lib/libpython3.11.so.1.0)

"""


class PlaceTests(unittest.TestCase):
    """What a process was doing, by the functions that it was in."""

    def check(self, told: str, *functions: str) -> None:
        self.assertEqual(way.place(functions), told)

    def test_stacks(self) -> None:
        """Samples are parted, and the innermost function is the first of each."""
        found = [*way.stacks(SCRIPT)]
        self.assertEqual(found[0][0], "__schedule ([kernel.kallsyms])")
        self.assertEqual([len(stack) for stack in found], [4, 1])
        self.assertEqual(way.place(found[0]), "kernel: a reader goes to sleep, and the next thread runs")
        self.assertEqual(way.place(found[1]), "Python: decoding, handler, encoding")

    def test_in_the_kernel(self) -> None:
        """The system call decides; a send that wakes the peer is a send, and a wait for the GIL is one however deep."""
        kernel = "([kernel.kallsyms])"
        self.check("kernel: receive", f"tcp_recvmsg {kernel}", f"__x64_sys_recvfrom {kernel}", "recv (libc.so.6)")
        self.check("kernel: send", f"schedule_tick {kernel}", f"__x64_sys_sendto {kernel}", "send (libc.so.6)")
        wait = [f"__schedule {kernel}", f"futex_wait {kernel}", f"__x64_sys_futex {kernel}", "sem_wait (libc.so.6)"]
        self.check("kernel: a thread waits for the GIL or a lock, or wakes one", *wait)
        self.check("kernel: the rest", f"asm_exc_page_fault {kernel}", "sendto_like (libpython3.11.so)")

    def test_outside(self) -> None:
        """The file and the function decide."""
        self.check("the accelerator", "decode (/x/syncws/_frames/_fast.abi3.so)")
        self.check("the GIL, given away and taken", "take_gil (libpython3.11.so.1.0)", "PyEval_RestoreThread (y)")
        self.check("the GIL, given away and taken", "pthread_cond_signal@@GLIBC_2.3.2 (libc.so.6)")
        self.check("locks", "__new_sem_post (libc.so.6)")
        self.check("the C library", "__memmove_avx_unaligned_erms (/usr/lib/libc.so.6)")

    def test_switches(self) -> None:
        """Switches are counted while all threads are there: those that have ended took theirs along."""
        seen = [(0.0, 1, 50), (1.0, 5, 100), (2.0, 5, 300), (3.0, 5, 500), (4.0, 2, 40)]
        switches = way.Switches(0)
        self.assertEqual(switches.rate(), 0.0)
        switches._seen = seen
        self.assertEqual(switches.rate(), 200.0)


class TablesTests(unittest.TestCase):
    """The tables that are made of readings."""

    STEPS = {
        "read": 2000.0,
        "write": 3000.0,
        "whole": 7500.0,
        "receive": 600.0,
        "send": 1800.0,
        "whole of sockets": 4800.0,
        "next": 1400.0,
        "locks": 2.0,
        "a lock": 80.0,
        "calls in Python": 14.0,
        "calls in C": 17.0,
    }

    def test_the_whole(self) -> None:
        """What the other end does is in the whole of sockets too, and is taken away."""
        self.assertEqual(way.whole(self.STEPS), 7500 - (4800 - 600 - 1800))

    def test_the_sum(self) -> None:
        """The five steps are the whole."""
        parts = [step.of(self.STEPS) for step in way.ONE_THREAD[:5]]
        self.assertEqual(sum(parts), way.whole(self.STEPS))
        self.assertTrue(all(part > 0 for part in parts), parts)

    def test_markdown(self) -> None:
        """Both tables have a column for each side; a part that was not seen is left out."""
        reading = {f"{way.STEPS}{name}": value for name, value in self.STEPS.items()}
        loaded = {"cpu": 12000.0, "switches": 0.9, "kernel: send": 2500.0}
        reading |= {f"{way.LOADED}{name}": value for name, value in loaded.items()}
        figures = Figures("way", "64 connections x 32 B", "", readings={"pure": [reading]}, notes={"pure": "a note"})
        figures.left_out["fast"] = "it is not built"
        lines = way.markdown(figures, argparse.Namespace(size=32, rounds=1)).splitlines()
        for line in (
            "| kernel: receive | 0.60 |",
            "| **the whole** | 5.10 |",
            "| of it locks that nobody else has | 0.16 |",
            "| kernel: send | 2.50 |",
            "| **processor time** | 12.00 |",
            "| more than in one thread | 6.90 |",
            "* Without fast: it is not built.",
        ):
            self.assertIn(line, lines)
        self.assertFalse([line for line in lines if line.startswith("| the accelerator")])


class StepsTests(unittest.TestCase):
    """The process that times steps."""

    def test_locks(self) -> None:
        """Locks that are made after the counting ones took their place are counted, however they are taken."""
        with mock.patch.object(threading, "Lock", threading.Lock):
            counting = way_steps.CountingLocks(wanted=True)
            lock = threading.Lock()

        def once() -> None:
            with lock:
                self.assertFalse(lock.acquire(blocking=False))
            lock.acquire()
            lock.release()

        once()
        self.assertEqual(counting.count(once), 3)
        once()
        self.assertFalse(lock.locked())

    def test_quiet(self) -> None:
        """The time that a quarter is below."""
        self.assertEqual(way_steps.quiet([9.0, 1.0, 3.0, 2.0]), 2.0)
        self.assertEqual(way_steps.quiet([5.0]), 5.0)

    @heavy
    def test_the_command(self) -> None:
        """One short round prints both tables, whose steps come to the whole."""
        need_packages(*PACKAGES)
        words = ["--quick", "--connections", "4", "--sides", "pure"]
        command = [sys.executable, "-m", "benchmarks.way", *words]
        done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True)
        self.assertEqual(done.returncode, 0, done.stderr)
        self.assertRegex(done.stdout, r"\n\| \*\*the whole\*\* \| \d+\.\d\d \|\n")
        self.assertRegex(done.stdout, r"\n\| \*\*processor time\*\* \| \d+\.\d\d \|\n")
        self.assertRegex(done.stdout, r"\n\| locks taken \| [1-9]\d* \|\n")


if __name__ == "__main__":
    unittest.main()
