"""What the system says of itself, from files that are made here."""

from __future__ import annotations

import tempfile
import unittest
from pathlib import Path
from unittest import mock

from syncws._cli.doctor import facts


class FactsTests(unittest.TestCase):
    def setUp(self) -> None:
        self.root = Path(self.enterContext(tempfile.TemporaryDirectory()))
        self.enterContext(mock.patch.object(facts, "ROOT", self.root))

    def write(self, path: str, text: str) -> None:
        target = self.root / path
        target.parent.mkdir(parents=True, exist_ok=True)
        target.write_text(text)

    def test_nothing(self) -> None:
        """On a system without these files nothing is known, and nothing raises."""
        self.assertIsNone(facts.kernel("net.core.somaxconn"))
        self.assertIsNone(facts.cgroup("pids.max", "pids/pids.max"))
        self.assertIsNone(facts.cpu_quota())
        self.assertIsNone(facts.memory())
        self.assertIsNone(facts.clock_source())

    def test_kernel(self) -> None:
        """A sysctl may have several numbers; what is no number is not known."""
        self.write("proc/sys/net/ipv4/tcp_rmem", "4096\t131072\t6291456\n")
        self.write("proc/sys/net/core/somaxconn", "many\n")
        self.assertEqual(facts.kernel("net.ipv4.tcp_rmem"), [4096, 131072, 6291456])
        self.assertIsNone(facts.kernel("net.core.somaxconn"))

    def test_groups(self) -> None:
        """The least limit of all control groups around this process counts; "max" is none."""
        self.write("proc/self/cgroup", "1:name=x:/other\n0::/system.slice/app.service\n")
        self.write("sys/fs/cgroup/system.slice/app.service/pids.max", "max\n")
        self.write("sys/fs/cgroup/system.slice/pids.max", "4915\n")
        self.write("sys/fs/cgroup/pids.max", "9000\n")
        self.assertEqual(facts.cgroup("pids.max"), 4915)

    def test_old_groups(self) -> None:
        """cgroup v1 has other names, and says a huge number for no limit."""
        self.write("sys/fs/cgroup/pids/pids.max", "100\n")
        self.write("sys/fs/cgroup/memory/memory.limit_in_bytes", "9223372036854771712\n")
        self.assertEqual(facts.cgroup("pids.max", "pids/pids.max"), 100)
        self.assertIsNone(facts.cgroup("memory.max", "memory/memory.limit_in_bytes"))

    def test_quota(self) -> None:
        """A quota is a share of cores, in either version."""
        self.write("proc/self/cgroup", "0::/\n")
        self.write("sys/fs/cgroup/cpu.max", "max 100000\n")
        self.assertIsNone(facts.cpu_quota())
        self.write("sys/fs/cgroup/cpu.max", "150000 100000\n")
        self.assertEqual(facts.cpu_quota(), 1.5)
        self.write("sys/fs/cgroup/cpu/cpu.cfs_quota_us", "50000\n")
        self.write("sys/fs/cgroup/cpu/cpu.cfs_period_us", "100000\n")
        self.assertEqual(facts.cpu_quota(), 0.5)

    def test_memory_and_clock(self) -> None:
        """What /proc and /sys say of them."""
        self.write("proc/meminfo", "MemTotal:       1024 kB\nMemFree: 1 kB\n")
        self.write("sys/devices/system/clocksource/clocksource0/current_clocksource", "hpet\n")
        self.assertEqual((facts.memory(), facts.clock_source()), (1 << 20, "hpet"))

    def test_limits(self) -> None:
        """Where there are no limits of processes, as on Windows, none are known; infinite is None."""
        with mock.patch.object(facts, "resource", None):
            self.assertEqual((facts.descriptors(), facts.processes(), facts.stack()), (None, None, None))
        limits = mock.Mock(RLIMIT_NOFILE=1, RLIM_INFINITY=-1)
        limits.getrlimit.return_value = (1024, -1)
        with mock.patch.object(facts, "resource", limits):
            self.assertEqual(facts.descriptors(), (1024, None))


if __name__ == "__main__":
    unittest.main()
