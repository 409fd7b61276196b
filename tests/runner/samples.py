"""Tests that behave and tests that do not, for the tests of the runner: nothing else runs them."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import threading
import time
import unittest
from pathlib import Path

from .marks import alone


class Good(unittest.TestCase):
    def test_one(self) -> None:
        print("said by a test that passes")

    def test_two(self) -> None:
        pass


class Bad(unittest.TestCase):
    def test_error(self) -> None:
        """What it is about."""
        print("said by a test that fails")
        raise ZeroDivisionError("an error")

    def test_failure(self) -> None:
        self.assertEqual(1, 2)

    def test_parts(self) -> None:
        for part in range(3):
            with self.subTest(part=part):
                self.assertEqual(part, 1)

    @unittest.expectedFailure
    def test_success(self) -> None:
        pass


class Unsteady(unittest.TestCase):
    def test_first_time(self) -> None:
        """It fails the first time, or those times that the file "fails" has."""
        folder = Path(os.environ["SAMPLES"])
        with (folder / "times").open("a+") as file:
            file.write("x")
            file.seek(0)
            count = len(file.read())
        fails = (folder / "fails").read_text().split() if (folder / "fails").exists() else ["1"]
        if str(count) in fails:
            self.fail("the first time" if count == 1 else "again")


class BadFixture(unittest.TestCase):
    @classmethod
    def setUpClass(cls) -> None:
        raise ZeroDivisionError("in the fixture")

    def test_never(self) -> None:
        pass


class Skipped(unittest.TestCase):
    @unittest.skip("for one reason")
    def test_one(self) -> None:
        pass

    def test_two(self) -> None:
        self.skipTest("for another")

    def test_three(self) -> None:
        self.skipTest("for another")


class Hanging(unittest.TestCase):
    def test_hang(self) -> None:
        self.wait_for_ever()

    def wait_for_ever(self) -> None:
        threading.Event().wait()


class Parent(unittest.TestCase):
    def test_hang_with_a_child(self) -> None:
        """It writes the number of a child that would outlive it, and waits for ever."""
        child = subprocess.Popen([sys.executable, "-c", "import time; time.sleep(600)"])
        Path(os.environ["SAMPLES"], "child").write_text(f"{child.pid}\n")
        threading.Event().wait()


class Dying(unittest.TestCase):
    def test_exit(self) -> None:
        os._exit(3)

    def test_kill(self) -> None:
        os.kill(os.getpid(), signal.SIGKILL)


class Unseen(unittest.TestCase):
    def test_thread(self) -> None:
        thread = threading.Thread(target=lambda: 1 // 0)
        thread.start()
        thread.join()


class Leaking(unittest.TestCase):
    def test_socket(self) -> None:
        """A ResourceWarning is an error, which Python can only print."""
        import socket

        socket.socket()


class First(unittest.TestCase):
    def test_meet(self) -> None:
        """Passes only beside the other one."""
        self.meet("first", "second")

    def meet(self, name: str, other: str) -> None:
        folder = Path(os.environ["SAMPLES"])
        (folder / name).touch()
        while not (folder / other).exists():
            time.sleep(0.01)


class Second(First):
    def test_meet(self) -> None:
        self.meet("second", "first")


@alone("it says whether another one was beside it")
class Alone(unittest.TestCase):
    def test_alone(self) -> None:
        """Nothing else has run after it, or runs beside it."""
        beside = Path(os.environ["SAMPLES"], "beside")
        self.assertFalse(beside.exists())


class Beside(unittest.TestCase):
    def test_beside(self) -> None:
        """It leaves a mark while it runs."""
        beside = Path(os.environ["SAMPLES"], "beside")
        beside.touch()
        threading.Event().wait(0.3)
        beside.unlink()
