"""`syncws doctor`: a machine with one limit too low after the other, and one that tells nothing."""

from __future__ import annotations

import contextlib
import unittest
from typing import Any
from unittest import mock

from syncws._cli.doctor import facts, machine
from syncws._cli.doctor.finding import Finding, Severity
from tests.cli.support import CLICase

#: A machine on which all is well.
WELL: dict[str, Any] = {
    "descriptors": (20_000, 100_000),
    "processes": 100_000,
    "stack": 8 << 20,
    "memory": 16 << 30,
    "cpu_quota": None,
    "clock_source": "tsc",
}
KERNEL = {
    "kernel.threads-max": [200_000],
    "kernel.pid_max": [4_194_304],
    "vm.max_map_count": [262_144],
    "net.core.somaxconn": [4096],
    "net.ipv4.tcp_max_syn_backlog": [4096],
    "net.ipv4.ip_local_port_range": [1024, 65535],
    "net.ipv4.tcp_rmem": [4096, 131_072, 6_291_456],
    "net.ipv4.tcp_mem": [1000, 2000, 3000],
}


class MachineTests(unittest.TestCase):
    def look(self, kernel: dict[str, Any] | None = None, groups: dict[str, int] | None = None, **more: Any) -> Any:
        """The findings, by check, of a machine that differs in these facts."""
        with contextlib.ExitStack() as stack:
            for name, value in {**WELL, **more}.items():
                stack.enter_context(mock.patch.object(facts, name, return_value=value))
            stack.enter_context(mock.patch.object(facts, "kernel", {**KERNEL, **(kernel or {})}.get))
            stack.enter_context(mock.patch.object(facts, "cgroup", lambda name, _old="": (groups or {}).get(name)))
            stack.enter_context(mock.patch.object(machine, "_is_root", return_value=False))
            found: dict[str, Finding] = {each.check: each for each in machine.check_machine()}
        return found

    def test_well(self) -> None:
        """Nothing is wrong with a machine that has enough of everything."""
        self.assertLessEqual({each.severity for each in self.look().values()}, {Severity.OK, Severity.NOTE})

    def test_what_is_too_low(self) -> None:
        """Each limit has its warning, which says what it is and how to raise it."""
        for check, says, line, found in (
            ("descriptors", "room for 4,096 connec", "LimitNOFILE", self.look(descriptors=(1024, 4352))),
            ("threads", "4,915, by pids.max", "TasksMax", self.look(groups={"pids.max": 4915})),
            ("threads", "700, by ulimit -u", "ulimit -u", self.look(processes=700)),
            ("threads", "5,000, by vm.max_map", "vm.max_map_count", self.look({"vm.max_map_count": [10_000]})),
            ("memory", "256 MiB of the control", "MemoryMax", self.look(groups={"memory.max": 256 << 20})),
            ("memory", "128 MiB of this machine", "--memory", self.look(memory=128 << 20)),
            ("backlog", "somaxconn is 128", "net.core.somaxconn", self.look({"net.core.somaxconn": [128]})),
            ("ports", "1,000 ports", "ip_local", self.look({"net.ipv4.ip_local_port_range": [1000, 1999]})),
            ("buffers", "16 KiB", "tcp_rmem", self.look({"net.ipv4.tcp_rmem": [4096, 16_384, 65_536]})),
        ):
            with self.subTest(says):
                finding = found[check]
                self.assertIs(finding.severity, Severity.WARNING)
                self.assertIn(says, finding.title)
                self.assertIn(line, dict(finding.mending)["system"])

    def test_worth_knowing(self) -> None:
        """A quota, and a clock that is slow to read."""
        self.assertEqual(self.look(cpu_quota=0.5)["cpu"].severity, Severity.NOTE)
        self.assertIn("system call", self.look(clock_source="hpet")["clock"].seen)
        installed = mock.patch.object(machine, "_is_installed", lambda name: name == "redis")
        with installed, mock.patch.object(machine, "accelerated", False):
            found = self.look()
        self.assertIn("syncws[fast]", dict(found["masking"].mending)["app"])
        self.assertIn("syncws[redis]", dict(found["redis"].mending)["app"])

    def test_cores(self) -> None:
        """How many workers, and whether to pin, by the cores and the GIL."""
        for cores, is_free, says in (
            (4, False, "serve --workers 4 uses all of them"),
            (4, True, "it needs neither more workers nor pin"),
            (1, False, "one worker, and no pin"),
            (1, True, "one worker, and no pin"),
        ):
            with self.subTest(says), mock.patch("os.sched_getaffinity", return_value={*range(cores)}, create=True):
                self.assertIn(says, self.look(is_free_threaded=is_free)["cpu"].seen)

    def test_who_unmasks(self) -> None:
        """The accelerator where it is there, else numpy."""
        for accelerated, says in ((True, "the accelerator"), (False, "numpy")):
            with (
                mock.patch.object(machine, "accelerated", accelerated),
                mock.patch.object(machine, "_is_installed", lambda name: True),
            ):
                self.assertIn(says, self.look()["masking"].title)

    def test_a_system_that_tells_nothing(self) -> None:
        """As on Windows: no traceback, and nothing is claimed."""
        with contextlib.ExitStack() as stack:
            for name in (*WELL, "kernel", "cgroup"):
                stack.enter_context(mock.patch.object(facts, name, return_value=None))
            found = list(machine.check_machine())
        self.assertLessEqual({"python", "tls-library", "descriptors", "threads"}, {each.check for each in found})
        self.assertEqual([each for each in found if each.severity > Severity.NOTE], [])


class CommandTests(CLICase):
    def test_this_machine(self) -> None:
        """The command without arguments looks at the machine that it runs on; nothing here is a fault."""
        status, out, err = self.run_main("doctor")
        self.assertEqual((status, err), (0, ""))
        self.assertTrue(out.startswith("syncws doctor: this machine\n\n"))
        for check in ("python", "descriptors", "threads", "cpu"):
            self.assertRegex(out, rf"(?m)^\w+ +{check} ")


if __name__ == "__main__":
    unittest.main()
