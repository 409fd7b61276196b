"""leaks.py: a test that leaves something behind fails."""

from __future__ import annotations

import os
import socket
import sys
import tempfile
import threading
import time
import unittest

from syncws._net import drain as drain_module
from syncws.testing import LeakChecks


class LeakChecksTests(unittest.TestCase):
    """LeakChecks: a test that leaves something behind fails."""

    def outcome(self, body, **attributes):
        """The result of a test with that body."""
        case = type("Case", (LeakChecks,), {"test": body, "grace": 0.05, **attributes})("test")
        result = unittest.TestResult()
        case.run(result)
        return result

    def check_fails(self, body, told):
        result = self.outcome(body)
        self.assertEqual((len(result.failures), len(result.errors)), (1, 0), result.errors)
        self.assertIn(told, result.failures[0][1])

    def test_nothing_left(self):
        """A test that ends what it started, in its cleanups at the latest, passes."""

        def body(case):
            near, far = socket.socketpair()
            case.addCleanup(near.close)
            far.close()
            thread = threading.Thread(target=lambda: None)
            thread.start()

        self.assertTrue(self.outcome(body).wasSuccessful())

    def test_thread_left(self):
        """A thread that is left fails the test."""
        go_on = threading.Event()
        self.addCleanup(go_on.set)
        self.check_fails(lambda case: threading.Thread(target=go_on.wait, args=(10,)).start(), "threads left behind")

    def test_thread_that_ends_by_itself(self):
        """A thread that ends within the grace does not fail it; nor does the drain thread, whose rest is shortened."""
        go_on = threading.Event()

        def body(case):
            threading.Thread(target=go_on.wait, args=(10,)).start()
            threading.Timer(0.02, go_on.set).start()
            drain_module.drain.call_at(time.monotonic(), lambda: None)

        idle = drain_module.IDLE
        self.assertTrue(self.outcome(body, grace=10.0).wasSuccessful())
        self.assertEqual(drain_module.IDLE, idle)

    @unittest.skipUnless(os.path.isdir("/proc/self/fd"), "the system does not tell")
    def test_descriptor_left(self):
        """A descriptor that is left fails the test."""
        left = []
        self.addCleanup(lambda: [sock.close() for sock in left])
        self.check_fails(lambda case: left.extend(socket.socketpair()), "descriptors left behind")

    def test_library_of_the_system(self):
        """A descriptor on a shared library, as libffi keeps one on itself, is none that a test has left."""
        with tempfile.TemporaryDirectory() as folder:
            library = os.path.join(folder, "lib")
            os.mkdir(library)
            opened = []
            result = self.outcome(lambda case: opened.append(os.open(os.path.join(library, "libx.so.8"), os.O_CREAT)))
            os.close(*opened)
        self.assertTrue(result.wasSuccessful(), result.failures)

    def test_exception_in_a_thread(self):
        """An exception that ends a thread fails the test, as nobody else would see it."""

        def body(case):
            thread = threading.Thread(target=lambda: 1 / 0)
            thread.start()
            thread.join()

        self.check_fails(body, "ZeroDivisionError")

    def test_exception_in_a_destructor(self):
        """An exception in a destructor fails the test, and so does a ResourceWarning that is an error."""

        class Careless:
            def __init__(self):
                self.itself = self  # found by the collector only, when the checks are made

            def __del__(self):
                raise ResourceWarning("left open")

        self.check_fails(lambda case: Careless() and None, "left open")

    def test_hooks_are_put_back(self):
        """Whatever the outcome, the hooks from before the test are back."""
        hooks = sys.unraisablehook, threading.excepthook
        for body in (lambda case: None, lambda case: case.fail("on purpose")):
            self.outcome(body)
            self.assertEqual((sys.unraisablehook, threading.excepthook), hooks)

    def test_failure_is_told_once(self):
        """A test that fails and leaves nothing is one failure."""
        result = self.outcome(lambda case: case.fail("on purpose"))
        self.assertEqual(len(result.failures), 1)


if __name__ == "__main__":
    unittest.main()
