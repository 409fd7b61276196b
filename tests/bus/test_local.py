"""`LocalBackplane`: its options, its life, its forks."""

from __future__ import annotations

import gc
import importlib.util
import os
import socket
import subprocess
import sys
import textwrap
import threading
import time
import unittest
import weakref
from pathlib import Path
from unittest import mock

from syncws import Backplane, LocalBackplane
from syncws._bus.localdirectory import LocalDirectory
from syncws._bus.localframes import frame, greeting
from syncws.testing import await_
from tests.bus.locals import LocalCase
from tests.bus.sinks import Told
from tests.partners import need
from tests.tasks import PATIENCE, Task


class OptionTests(LocalCase):
    def test_what_is_wrong_is_named(self) -> None:
        """Each option that is wrong is refused where it is given, by its name."""
        for options, error in (
            ({"max_message": 0}, ValueError),
            ({"max_message": (8 << 20) + 1}, ValueError),
            ({"max_message": 1.5}, TypeError),
            ({"queue": 0}, ValueError),
            ({"queue": True}, TypeError),
            ({"queue_bytes": -1}, ValueError),
            ({"path": 7}, TypeError),
            ({"path": "x" * 200}, ValueError),
        ):
            with self.subTest(options), self.assertRaisesRegex(error, next(iter(options))):
                LocalBackplane(**{"path": self.directory, **options})  # type: ignore[arg-type]

    @unittest.skipIf(os.geteuid() == 0, "a program that is root may become another user before it uses the directory")
    def test_a_directory_that_will_not_do(self) -> None:
        """A directory that others may use is refused where its path is written."""
        os.mkdir(self.directory, 0o755)
        with self.assertRaisesRegex(PermissionError, "make it 0700"):
            LocalBackplane(self.directory)

    def test_as_another_user(self) -> None:
        """So it is for any user except root, who may become another one before it is used."""
        os.mkdir(self.directory, 0o700)
        with mock.patch("os.geteuid", return_value=0):
            LocalBackplane(self.directory)
        with mock.patch("os.geteuid", return_value=os.geteuid() + 1), self.assertRaises(PermissionError):
            LocalBackplane(self.directory)

    def test_nothing_before_the_start(self) -> None:
        """One that was not started has made nothing, and takes nothing."""
        backplane: Backplane = self.backplane()
        self.assertFalse(os.path.exists(self.directory))
        self.assertFalse(backplane.publish("x", b"."))
        self.assertFalse(backplane.subscribe(["x"], PATIENCE))
        self.assertTrue(backplane.flush(PATIENCE))
        self.assertEqual((backplane.health().up, backplane.health().error), (False, "not started"))
        backplane.unsubscribe(["x"])
        backplane.close(PATIENCE)
        self.assertEqual(self._left_threads(), [])

    def test_what_it_is(self) -> None:
        """What a Relay asks of it."""
        backplane = self.backplane(max_message=1000)
        self.assertEqual(
            (backplane.addressed, backplane.echoes, backplane.max_message, backplane.archive, backplane.path),
            (False, False, 1000, None, self.directory),
        )
        self.assertIn("closed", repr(backplane))
        backplane.start(Told(), self.node())
        self.assertIn(f"{self.directory!r} started", repr(backplane))


class LifeTests(LocalCase):
    def test_it_starts_once(self) -> None:
        """A second start has no effect."""
        backplane, _ = self.started()
        backplane.start(Told(), self.node())
        self.assertEqual(len(self.files()), 1)

    def test_after_a_close_it_begins_anew(self) -> None:
        """What was closed has no thread and no file, and can be started again, under another name."""
        backplane, _ = self.started()
        backplane.close(1)
        self.assertEqual((self.files(), self._left_threads()), ([], []))
        told = Told()
        backplane.start(told, self.node())
        other, _ = self.started()
        other.publish("x", b".")
        told.wait_for_messages(1)

    def test_a_close_sends_what_waits(self) -> None:
        """What waits for another process is sent before the goodbye, and what does not fit into the time is told by
        its absence."""
        for timeout, end in ((PATIENCE, []), (0.0, ["vanished"])):
            with self.subTest(timeout):
                (first, _), (second, told) = self.joined(2)
                told.hold = threading.Event()
                for number in range(100):
                    first.publish("x", b"%d" % number + b"x" * 20_000)
                task = Task(first.close, timeout)
                if not timeout:
                    task.result()
                told.hold.set()
                task.result()
                told.wait_for_messages(100) if timeout else told.wait_for("vanished")
                second.close(0)
                self.assertEqual(told.names, ["up", *end])

    def test_a_close_from_its_own_thread(self) -> None:
        """What its sink calls may close it."""
        (first, _), (second, told) = self.joined(2)
        with mock.patch.object(told, "received", side_effect=lambda *_: second.close(1)):
            first.publish("x", b".")
            self.assertTrue(await_(lambda: not second.health().up, PATIENCE))

    def test_the_longest_message(self) -> None:
        """A message of max_message passes, one that is longer is refused before anybody gets it."""
        (first, _), (_second, told) = self.joined(2)
        first.publish("x", b"x" * first.max_message)
        with self.assertRaisesRegex(ValueError, "at most 1,048,576 bytes, not 1,048,577"):
            first.publish("x", b"x" * (first.max_message + 1))
        self.assertEqual(told.wait_for_messages(1), [("x", b"x" * first.max_message)])

    def test_health(self) -> None:
        """It tells what was published and what came, and since when it is up."""
        began = time.time()
        (first, _), (second, told), (third, _) = self.joined(3)
        first.publish("x", b"1")
        told.wait_for_messages(1)
        third.close(1)
        first.publish("x", b"2")
        told.wait_for_messages(2)
        health, other = first.health(), second.health()
        self.assertTrue(health.up)
        assert health.since is not None
        self.assertTrue(began <= health.since <= time.time())
        self.assertEqual((health.published, health.received, health.dropped_out), (2, 0, 0))
        self.assertEqual((other.published, other.received, other.reconnects), (0, 2, 0))
        connection = self.connected_to(second, "9-ffffffffffffffff")
        connection.close()
        told.wait_for("vanished")
        self.connected_to(second, "9-ffffffffffffffff").sendall(frame("x", b"3"))
        told.wait_for("up", 2)
        told.wait_for_messages(3)
        self.assertEqual((second.health().received, second.health().reconnects), (3, 1))

    def connected_to(self, backplane: LocalBackplane, name: str) -> socket.socket:
        """A raw connection to one of several."""
        assert backplane._mesh is not None
        connection = LocalDirectory(self.directory).connect(backplane._mesh._name)
        self.addCleanup(connection.close)
        connection.settimeout(PATIENCE)
        connection.sendall(greeting(name))
        return connection

    def test_no_thread_to_be_had(self) -> None:
        """A start that fails leaves nothing, and the next one may succeed."""
        backplane = self.backplane()
        with (
            mock.patch("threading.Thread.start", side_effect=RuntimeError("can't start new thread")),
            self.assertRaises(RuntimeError),
        ):
            backplane.start(Told(), self.node())
        self.assertEqual(self.files(), [])
        backplane.start(Told(), self.node())
        self.assertEqual(len(self.files()), 1)

    def test_many_threads_publish(self) -> None:
        """Whatever many threads publish at once arrives, in the order of each."""
        (first, _), (_, told) = self.joined(2)
        interval = sys.getswitchinterval()
        self.addCleanup(sys.setswitchinterval, interval)
        sys.setswitchinterval(1e-5)

        def publish(thread: int) -> None:
            for number in range(300):
                first.publish("x", b"%d %d" % (thread, number))

        for task in [Task(publish, thread) for thread in range(8)]:
            task.result()
        got = [data.split() for _, data in told.wait_for_messages(2400)]
        for thread in range(8):
            numbers = [int(number) for each, number in got if int(each) == thread]
            self.assertEqual(numbers, list(range(300)))

    def test_nobody_keeps_it(self) -> None:
        """One that was closed is let go of."""
        backplane, _ = self.started()
        backplane.close(1)
        self._cleanups = [each for each in self._cleanups if getattr(each[0], "__self__", None) is not backplane]
        weak = weakref.ref(backplane)
        del backplane
        gc.collect()
        self.assertIsNone(weak())


class ForkTests(LocalCase):
    def test_both_go_on(self) -> None:
        """In the child of a fork after use, the parent's connections are the parent's: each of both sends and receives
        all of its own, and nothing twice; nobody has vanished; and the child's end is its own."""
        observer, told = self.started()
        program = """
            import os, sys
            from syncws import LocalBackplane
            from tests.bus.sinks import Told

            def say(node, backplane, told, name):
                assert backplane.subscribe([], 30)
                for number in range(200):
                    assert backplane.publish(name, b"%d" % number)
                assert backplane.flush(30)

            backplane, told = LocalBackplane(sys.argv[1]), Told()
            backplane.start(told, "a" * 16)
            say("a", backplane, told, "before")
            child = os.fork()
            if child == 0:
                assert backplane.health().error == "not started"
                told = Told()
                backplane.start(told, "b" * 16)
            say("", backplane, told, "parent" if child else "child")
            told.wait(lambda: len([1 for channel, _ in told.messages if channel == "back"]) == 200)
            assert [data for channel, data in told.messages if channel == "back"] == [
                b"%d" % number for number in range(200)]
            backplane.close(30)
            if not child:
                os._exit(0)
            assert os.waitpid(child, 0)[1] == 0
        """
        with subprocess.Popen(
            [sys.executable, "-c", textwrap.dedent(program), self.directory], cwd=Path(__file__).parents[2]
        ) as process:
            told.wait_for_messages(600)
            for name in ("before", "parent", "child"):
                got = [data for channel, data in told.messages if channel == name]
                self.assertEqual(got, [b"%d" % number for number in range(200)])
            for number in range(200):
                self.assertTrue(observer.publish("back", b"%d" % number))
            self.assertEqual(process.wait(PATIENCE), 0)
        self.assertEqual(told.names, ["up"])
        self.assertEqual(len(self.files()), 1)

    def test_a_lock_that_was_held(self) -> None:
        """Begin anew takes no lock: a thread of the parent may have held any."""
        backplane, _ = self.started()
        mesh = backplane._mesh
        assert mesh is not None
        mesh.close(1)  # whose threads a child would not have
        with backplane._turn, mesh._lock:
            backplane.begin_anew()
        self.assertIn("closed", repr(backplane))


class GreenTests(LocalCase):
    """In a process that gevent or eventlet has patched."""

    def check(self, kind: str) -> None:
        need(importlib.util.find_spec(kind) is not None, f"{kind} is not installed")
        command = [sys.executable, "-W", "ignore", "-m", "tests.green", kind, "bus"]
        done = subprocess.run(command, capture_output=True, text=True, timeout=60, check=False)
        self.assertEqual(done.stdout, "True in order True\n" * 2, done.stderr)

    def test_gevent(self) -> None:
        """Patched by gevent, all hear each other, in order, also those that do not keep up; so they do an outlet."""
        self.check("gevent")

    def test_eventlet(self) -> None:
        """Patched by eventlet, the same."""
        self.check("eventlet")


if __name__ == "__main__":
    unittest.main()
