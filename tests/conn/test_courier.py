"""courier.py: what is kept is sent in time, by a thread that is there only while something is."""

from __future__ import annotations

import os
import socket
import subprocess
import sys
import threading
import unittest
from unittest import mock

from syncws._conn import courier as courier_module
from syncws._conn.courier import Courier, courier
from syncws.testing import LeakChecks, await_
from tests.tasks import PATIENCE, Task

NAME = "syncws-courier"


class Keeper:
    """Waits for its delivery."""

    def __init__(self, error: Exception | None = None) -> None:
        self.delivered = threading.Event()
        self._error = error

    def send_kept(self) -> None:
        self.delivered.set()
        if self._error is not None:
            raise self._error


class CourierTests(LeakChecks):
    def setUp(self) -> None:
        super().setUp()
        self.courier = Courier()

    def deliver(self) -> None:
        """Have something delivered."""
        keeper = Keeper()
        self.assertTrue(self.courier.look_after(keeper))
        self.assertTrue(keeper.delivered.wait(PATIENCE))

    def threads(self) -> list[threading.Thread]:
        return [each for each in threading.enumerate() if each.name == NAME]

    def test_delivers(self) -> None:
        """What is left with it is delivered, while it is at work, while it rests, and after its end."""
        self.deliver()
        self.deliver()
        self.assertTrue(await_(lambda: self.courier._state is courier_module._State.RESTING))
        courier_module.IDLE = PATIENCE
        self.deliver()
        courier_module.IDLE = 0.001
        self.assertTrue(await_(lambda: not self.threads()))
        self.deliver()

    def test_one_thread(self) -> None:
        """Keepers of any number of threads have one courier, and each is delivered."""
        keepers = [Keeper() for _ in range(200)]
        tasks = [Task(self.courier.look_after, each) for each in keepers]
        self.assertTrue(all(each.result() for each in tasks))
        self.assertEqual(len(self.threads()), 1)
        self.assertTrue(all(each.delivered.wait(PATIENCE) for each in keepers))

    def test_ends(self) -> None:
        """A program that keeps nothing has no such thread after a while."""
        self.deliver()
        self.assertTrue(await_(lambda: not self.threads()))

    def test_asked_as_it_goes_to_rest(self) -> None:
        """Whoever comes while it goes to rest or ends is served: it looks once more under the lock."""
        with mock.patch.multiple(courier_module, LINGER=1, IDLE=0.0005, PERIOD=0.0001):
            for _ in range(500):
                self.deliver()

    def test_a_defect_does_not_end_it(self) -> None:
        """What one keeper raises is logged, and the others are delivered."""
        with self.assertLogs("syncws.conn", "ERROR"):
            bad, good = Keeper(ValueError("a defect")), Keeper()
            self.courier.look_after(bad)
            self.courier.look_after(good)
            self.assertTrue(good.delivered.wait(PATIENCE))
        self.deliver()

    def test_no_thread_to_be_had(self) -> None:
        """Where no thread can be started it says so, after it has delivered for those who rely on it."""
        keeper = Keeper()
        with mock.patch.object(threading.Thread, "start", side_effect=RuntimeError("can't start new thread")):
            self.assertFalse(self.courier.look_after(keeper))
        self.assertTrue(keeper.delivered.is_set())
        self.deliver()

    def test_an_interrupt_as_the_thread_begins(self) -> None:
        """It is raised, what is kept has been delivered, and the next one has a thread."""
        keeper = Keeper()
        with mock.patch.object(threading.Thread, "start", side_effect=KeyboardInterrupt):
            self.assertRaises(KeyboardInterrupt, self.courier.look_after, keeper)
        self.assertTrue(keeper.delivered.is_set())
        self.deliver()


class SwitchIntervalTests(LeakChecks):
    def setUp(self) -> None:
        super().setUp()
        self.enterContext(mock.patch.object(courier_module, "_HAS_GIL", True))
        self.addCleanup(sys.setswitchinterval, sys.getswitchinterval())
        self.courier = Courier()

    def interval_at_work(self) -> float:
        keeper = Keeper()
        self.courier.look_after(keeper)
        self.assertTrue(keeper.delivered.wait(PATIENCE))
        return round(sys.getswitchinterval(), 6)

    def at_rest(self) -> bool:
        return await_(lambda: self.courier._state is not courier_module._State.AT_WORK)

    def test_shorter_while_at_work(self) -> None:
        """A thread that computes lets the courier in after half a millisecond; afterwards all is as it was."""
        sys.setswitchinterval(0.005)
        self.assertEqual(self.interval_at_work(), 0.0005)
        self.assertTrue(self.at_rest())
        self.assertEqual(round(sys.getswitchinterval(), 6), 0.005)

    def test_of_the_application(self) -> None:
        """One that is shorter already, or that is set meanwhile, is the application's, and stays."""
        sys.setswitchinterval(0.0002)
        self.assertEqual(self.interval_at_work(), 0.0002)
        self.assertTrue(self.at_rest())
        sys.setswitchinterval(0.005)
        self.interval_at_work()
        sys.setswitchinterval(0.02)
        self.assertTrue(self.at_rest())
        self.assertEqual(round(sys.getswitchinterval(), 6), 0.02)

    @unittest.skipUnless(hasattr(os, "fork"), "no fork here")
    def test_the_child_of_a_fork(self) -> None:
        """A child that is forked while the courier is at work has the application's interval."""
        sys.setswitchinterval(0.005)
        self.assertEqual(self.interval_at_work(), 0.0005)
        with self.courier._lock:  # it stays at work
            child = os.fork()
            if child == 0:
                os._exit(int(round(sys.getswitchinterval(), 6) != 0.005))
        self.assertEqual(os.waitpid(child, 0)[1], 0)

    def test_of_many_threads(self) -> None:
        """In a process of many threads it is left alone: each that waits for the GIL would look so often."""
        sys.setswitchinterval(0.005)
        with mock.patch.object(courier_module, "_FEW", 0):
            self.assertEqual(self.interval_at_work(), 0.005)


EXIT = """
import socket, sys
from syncws._conn.conn import Conn
from syncws._conn import batch, courier
from syncws._net.transport import Transport

courier.PERIOD = 60.0
ours = socket.socket(fileno=int(sys.argv[1]))
conn = Conn(Transport(ours), client=False)
for _ in range(4):
    conn.send(conn.receive())
print(bool(conn._transport.kept))
"""


class ExitTests(unittest.TestCase):
    def test_the_exit_of_a_program(self) -> None:
        """What was sent just before the exit leaves, though the courier comes no more."""
        ours, theirs = socket.socketpair()
        with theirs:
            theirs.sendall(b"\x82\x81\0\0\0\0a" * 5)
            with ours:
                done = subprocess.run(
                    [sys.executable, "-c", EXIT, str(ours.fileno())],
                    pass_fds=[ours.fileno()],
                    stdout=subprocess.PIPE,
                    timeout=PATIENCE,
                    check=True,
                    text=True,
                )
            theirs.settimeout(PATIENCE)
            got = b"".join(iter(lambda: theirs.recv(100), b""))
        self.assertEqual(got, b"\x82\x01a" * 4)
        self.assertIn(done.stdout, {"True\n", "False\n"})  # on a slow machine the handler may not have been quick

    @unittest.skipUnless(hasattr(os, "fork"), "there is no fork here")
    def test_the_child_of_a_fork(self) -> None:
        """The child keeps nothing of what its parent kept, and has a courier of its own."""
        keeper = Keeper()
        with courier._lock:
            courier._keepers.append(keeper)
        pid = os.fork()
        if not pid:
            os._exit(courier.deliver() or courier._state is not courier_module._State.ABSENT)
        self.assertEqual(os.waitpid(pid, 0)[1], 0)
        courier.deliver()
        self.assertTrue(keeper.delivered.is_set())


if __name__ == "__main__":
    unittest.main()
