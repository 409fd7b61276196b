"""Which cores a process may use, which of them are chosen, and what a system tells of them."""

from __future__ import annotations

import os
import sys
import tempfile
import unittest
from pathlib import Path
from unittest import mock

from syncws._server import cores
from syncws._server.cores import cores_of_workers


class CoreTests(unittest.TestCase):
    """Which cores workers are kept on."""

    def setUp(self) -> None:
        super().setUp()
        self.enterContext(mock.patch("os.sched_getaffinity", return_value={5, 0, 2}, create=True))
        self._has_quota = self.enterContext(mock.patch.object(cores, "has_quota", return_value=False))
        self._has_gil = self.enterContext(mock.patch.object(cores, "has_gil", return_value=True))

    def test_one_for_each_core(self) -> None:
        """Each is kept on its own where there is one for each core that this process may use."""
        self.assertEqual(cores_of_workers(3, None), [0, 2, 5])

    def test_another_number(self) -> None:
        """With fewer or more workers than cores the system decides."""
        for count in (1, 2, 4):
            self.assertIsNone(cores_of_workers(count, None))

    def test_a_quota(self) -> None:
        """With a quota the system decides: a worker whose time is used up would leave its core empty."""
        self._has_quota.return_value = True
        self.assertIsNone(cores_of_workers(3, None))

    def test_without_the_gil(self) -> None:
        """Without the GIL the system decides: a worker uses more than one core."""
        self._has_gil.return_value = False
        self.assertIsNone(cores_of_workers(3, None))

    def test_what_is_asked_for(self) -> None:
        """With pin=True they are kept on cores whatever their number, with pin=False never."""
        self._has_quota.return_value = True
        for count in (2, 3, 4):
            self.assertEqual(cores_of_workers(count, True), [0, 2, 5])
            self.assertEqual(cores_of_workers(count, "workers"), [0, 2, 5])
            self.assertIsNone(cores_of_workers(count, False))

    def test_connections_only(self) -> None:
        """Where connections alone are to be kept no whole worker is; "auto" is as nothing said."""
        for count in (2, 3, 4):
            self.assertIsNone(cores_of_workers(count, "connections"))
            self.assertEqual(cores_of_workers(count, "auto"), cores_of_workers(count, None))
        self.assertEqual(cores_of_workers(3, "auto"), [0, 2, 5])

    def test_the_gil(self) -> None:
        """Before Python 3.13 there is no build without the GIL; later the interpreter tells."""
        for found in (True, False):
            with mock.patch.object(sys, "_is_gil_enabled", lambda found=found: found, create=True):
                self.assertIs(_real_has_gil(), found)
        with mock.patch.object(cores, "sys", spec=["version"]):
            self.assertTrue(_real_has_gil())


_real_has_gil = cores.has_gil


class QuotaTests(unittest.TestCase):
    """Whether a control group limits the time that this process may use, by files as Linux has them."""

    def setUp(self) -> None:
        super().setUp()
        self.folder = Path(self.enterContext(tempfile.TemporaryDirectory()))

    def has_quota(self, own: str, **limits: str) -> bool:
        """own is what /proc/self/cgroup says; limits are files below the folder of all groups, by name."""
        root = self.folder / "cgroup"
        root.mkdir(exist_ok=True)
        for name, text in limits.items():
            path = root / name
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_text(text)
        (self.folder / "own").write_text(own)
        return cores.has_quota(root, self.folder / "own")

    def test_version_2(self) -> None:
        """Of version 2 a group has cpu.max: the quota and its period, or max."""
        own = "0::/system.slice/app.service\n"
        self.assertFalse(self.has_quota(own))
        self.assertFalse(self.has_quota(own, **{"system.slice/app.service/cpu.max": "max 100000\n"}))
        self.assertTrue(self.has_quota(own, **{"system.slice/app.service/cpu.max": "150000 100000\n"}))

    def test_a_group_above(self) -> None:
        """The quota of a group above counts as well."""
        own = "0::/system.slice/app.service\n"
        self.assertTrue(
            self.has_quota(
                own,
                **{"system.slice/app.service/cpu.max": "max 100000\n", "system.slice/cpu.max": "200000 100000\n"},
            )
        )

    def test_another_group(self) -> None:
        """That of a group beside or below does not."""
        limited = {"other.slice/cpu.max": "1000 100000\n", "app.slice/below/cpu.max": "1000 100000\n"}
        self.assertFalse(self.has_quota("0::/app.slice\n", **limited))

    def test_in_a_container(self) -> None:
        """A container sees its own group in place of all, whatever the path that it is told."""
        for own in ("0::/\n", "0::/docker/0123abcd\n", "0::/../../pod\n"):
            self.assertTrue(self.has_quota(own, **{"cpu.max": "50000 100000\n"}), own)

    def test_version_1(self) -> None:
        """Of version 1 the group that counts is the one of the controller cpu; -1 is no quota."""
        own = "5:memory:/docker/1\n4:cpu,cpuacct:/docker/2\n1:name=systemd:/docker/3\n"
        for group in ("memory/docker/1", "cpu,cpuacct/docker/1"):
            self.assertFalse(self.has_quota(own, **{f"{group}/cpu.cfs_quota_us": "1000\n"}), group)
        self.assertFalse(self.has_quota(own, **{"cpu,cpuacct/docker/2/cpu.cfs_quota_us": "-1\n"}))
        self.assertTrue(self.has_quota(own, **{"cpu,cpuacct/docker/2/cpu.cfs_quota_us": "50000\n"}))

    def test_version_1_in_a_container(self) -> None:
        """There too a container may see its group in place of all."""
        self.assertTrue(self.has_quota("4:cpu:/docker/2\n", **{"cpu/cpu.cfs_quota_us": "50000\n"}))

    def test_both_versions(self) -> None:
        """A system may have both."""
        own = "3:cpuset:/\n2:cpu:/a\n0::/b\n"
        self.assertFalse(self.has_quota(own, **{"cpu/a/cpu.cfs_quota_us": "-1\n", "b/cpu.max": "max 100000\n"}))
        self.assertTrue(self.has_quota(own, **{"cpu/a/cpu.cfs_quota_us": "5000\n"}))

    def test_what_cannot_be_read(self) -> None:
        """Where there are no control groups, or nothing that makes sense, there is no quota."""
        self.assertFalse(cores.has_quota(self.folder, self.folder / "missing"))
        for own in ("", "\n", "nonsense\n", "0::\n", ":::\n"):
            self.assertFalse(self.has_quota(own), own)
        self.assertFalse(self.has_quota("0::/\n", **{"cpu.max": ""}))


class ChoiceTests(unittest.TestCase):
    """The one core for the work of one process."""

    def setUp(self) -> None:
        super().setUp()
        self._own = self.enterContext(mock.patch("os.sched_getaffinity", return_value={5, 0, 2}, create=True))

    def test_alone(self) -> None:
        """A process that is no worker gets one by its number, and each time the same."""
        with mock.patch("os.getpid", return_value=304):
            self.assertEqual([cores.choose_core(), cores.choose_core()], [2, 2])

    def test_workers(self) -> None:
        """Each worker has another one, as far as there are any."""
        chosen = []
        for number in range(4):
            with mock.patch.object(cores, "_place", None):
                cores.take_place(number)
                chosen.append(cores.choose_core())
        self.assertEqual(chosen, [0, 2, 5, 0])

    def test_no_choice(self) -> None:
        """With one core there is nothing to choose."""
        self._own.return_value = {2}
        self.assertIsNone(cores.choose_core())

    def test_restricted(self) -> None:
        """Who may not use each core of the machine, or not all of their time, is restricted."""
        with mock.patch.object(cores, "has_quota", return_value=False) as has_quota:
            with mock.patch("os.cpu_count", return_value=3):
                self.assertTrue(cores.is_unrestricted())
                has_quota.return_value = True
                self.assertFalse(cores.is_unrestricted())
                has_quota.return_value = False
            with mock.patch("os.cpu_count", return_value=4):
                self.assertFalse(cores.is_unrestricted())


class BusyTests(unittest.TestCase):
    """What the cores of a machine have done."""

    def busy(self, text: str) -> dict[int, float]:
        with tempfile.TemporaryDirectory() as folder, mock.patch("os.sysconf", return_value=100, create=True):
            Path(folder, "stat").write_text(text)
            return cores.busy_seconds(Path(folder))

    def test_each_core(self) -> None:
        """All that a core does counts, except for idling and waiting for disks; guests are counted in user already."""
        text = "cpu  9 9 9 9\ncpu0 100 20 30 4000 500 6 7 37 80 9\ncpu11 1 0 0 0\nintr 1 2\n"
        self.assertEqual(self.busy(text), {0: 2.0, 11: 0.01})

    def test_what_cannot_be_read(self) -> None:
        """Where that is not told, or makes no sense, nothing is known."""
        self.assertEqual(cores.busy_seconds(Path("/nowhere")), {})
        for text in ("", "nonsense", "cpu0 x\n", "cpux 1 2 3 4\n"):
            self.assertEqual(self.busy(text), {}, text)

    @unittest.skipUnless(sys.platform == "linux", "this system has no /proc/stat")
    def test_this_machine(self) -> None:
        """This machine tells it for each core that this process may use."""
        self.assertLessEqual(os.sched_getaffinity(0), cores.busy_seconds().keys())
