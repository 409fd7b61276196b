"""Processes that find each other in a directory, and what each is told of the others. Here they are in one process."""

from __future__ import annotations

import os
import socket
import threading
import time
import unittest
from unittest import mock

from syncws import LocalBackplane
from syncws._base.advice import advisor
from syncws._bus.localframes import frame, goodbye, greeting
from syncws.testing import await_
from tests.bus.locals import LocalCase
from tests.bus.sinks import Told
from tests.tasks import PATIENCE, Task

NODE = "f" * 16
NAME = f"99999-{NODE}"


class MeetingTests(LocalCase):
    """How they find each other, without a second look into the directory."""

    def test_everybody_gets_what_one_says(self) -> None:
        """Each of four gets what the others publish, in each one's order, and not its own."""
        pairs = self.joined(4)
        for number, (backplane, _told) in enumerate(pairs):
            for turn in range(50):
                self.assertTrue(backplane.publish("r:1", b"%d %d" % (number, turn)))
        for number, (_backplane, told) in enumerate(pairs):
            got = [data for _channel, data in told.wait_for_messages(150)]
            for other in range(4):
                expected = [b"%d %d" % (other, turn) for turn in range(50)] if other != number else []
                self.assertEqual([data for data in got if data.startswith(b"%d " % other)], expected)

    def test_all_at_once(self) -> None:
        """Of those that start in the same instant each is connected with each other."""
        for _ in range(5):
            gate = threading.Barrier(4)
            tasks = [Task(self._start_at, gate, self.backplane(), self.node()) for _ in range(4)]
            pairs = [task.result() for task in tasks]
            for backplane, _told in pairs:
                backplane.publish("*", b"here")
            for _backplane, told in pairs:
                told.wait_for_messages(3)
            for backplane, _told in pairs:
                backplane.close(1)

    def _start_at(self, gate: threading.Barrier, backplane: LocalBackplane, node: str) -> tuple[LocalBackplane, Told]:
        told = Told()
        gate.wait(PATIENCE)
        backplane.start(told, node)
        self.assertTrue(backplane.subscribe([], PATIENCE))
        return backplane, told

    def test_what_is_said_at_once_after_the_start(self) -> None:
        """From its start on a process reaches all that were there before."""
        _first, told = self.started()
        second, _ = self.started()
        second.publish("r:1", b"at once")
        self.assertEqual(told.wait_for_messages(1), [("r:1", b"at once")])

    def test_alone(self) -> None:
        """One that is alone is up at once, and what it says goes nowhere."""
        backplane, told = self.started()
        (proven,) = told.wait_for("up")
        self.assertLessEqual(proven, time.monotonic())
        self.assertTrue(backplane.subscribe(["x"], 0))
        self.assertTrue(backplane.publish("x", b"."))
        self.assertTrue(backplane.flush(0))

    def test_one_that_does_not_answer(self) -> None:
        """One that was there at the start and is stopped is waited for a second, and not again; what is published for
        it waits; and when it answers late, what was missed since the start is told."""
        self.look_often()
        os.mkdir(self.directory, 0o700)
        listener = self.listen(NAME)
        with mock.patch("syncws._bus.localmesh._SETTLING", 0.1):
            backplane, told = self.started()
            self.assertFalse(backplane.subscribe(["x"], 0))
            self.assertTrue(backplane.subscribe(["x"], PATIENCE))
            (first,) = told.wait_for("up")
        self.assertTrue(backplane.publish("r:1", b"."))
        self.connected(NAME)
        (_, proven) = told.wait_for("up", 2)
        self.assertEqual(told.names, ["up", "down", "up"])
        self.assertEqual(proven, first)
        self.assertIn("99999 answered late", str(told.told("down")[0]))
        accepted, _ = listener.accept()
        with accepted:
            self.assertTrue(accepted.recv(1000).endswith(frame("r:1", b".")))

    def test_who_listens_later(self) -> None:
        """One that has greeted and cannot be reached yet is tried again, and what is published waits for it."""
        self.look_often()
        backplane, told = self.started()
        told.wait_for("up")
        with self.connected(NAME) as connection:
            connection.sendall(frame("r:1", b"."))
            told.wait_for_messages(1)
            backplane.publish("r:1", b"early")
            listener = self.listen(NAME)
            accepted, _ = listener.accept()
            with accepted, accepted.makefile("rb") as stream:
                self.assertTrue(stream.readline(0) == b"")
                name = f"{os.getpid()}-{1:016x}"
                expected = greeting(name) + frame("r:1", b"early")
                self.assertEqual(stream.read(len(expected)), expected)
            connection.sendall(goodbye())

    def test_a_socket_that_was_removed(self) -> None:
        """One whose file was removed, as programs that clean up do, makes it anew, and tells that it may have missed
        something since it was last seen."""
        self.look_often()
        _backplane, told = self.started()
        told.wait_for("up")
        (file,) = self.files()
        os.unlink(os.path.join(self.directory, file))
        (first, proven) = told.wait_for("up", 2)
        self.assertGreater(proven, first)
        self.assertIn("was removed", str(told.told("down")[0]))
        self.assertEqual(self.files(), [file])
        newer, _ = self.started()
        self.assertTrue(newer.subscribe([], PATIENCE))
        newer.publish("r:1", b"found")
        told.wait_for_messages(1)

    def test_a_directory_that_was_removed(self) -> None:
        """It is made again."""
        self.look_often()
        _backplane, told = self.started()
        told.wait_for("up")
        os.rename(self.directory, self.directory + ".old")
        told.wait_for("up", 2)
        self.assertEqual(self.files(), os.listdir(self.directory + ".old"))


class TroubleTests(LocalCase):
    """A directory that cannot be used."""

    def test_until_it_can_be_used(self) -> None:
        """It is told, nothing is taken and nobody waits; once it can be used that is told with the instant of the
        start."""
        self.look_often()
        backplane = self.backplane()
        os.mkdir(self.directory, 0o755)
        told = Told()
        backplane.start(told, self.node())
        (reason,) = told.wait_for("down")
        self.assertIn("make it 0700", str(reason))
        self.assertFalse(backplane.subscribe(["x"], PATIENCE))
        self.assertFalse(backplane.publish("x", b"."))
        health = backplane.health()
        self.assertEqual((health.up, health.error), (False, reason))
        before = time.monotonic()
        os.chmod(self.directory, 0o700)
        (proven,) = told.wait_for("up")
        self.assertLess(proven, before)
        self.assertTrue(backplane.subscribe(["x"], 0))
        self.assertTrue(backplane.publish("x", b"."))
        self.assertEqual((backplane.health().up, backplane.health().error), (True, None))

    def test_later(self) -> None:
        """Where it cannot be used any more, those that are connected go on."""
        self.look_often()
        (first, told), (second, _) = self.joined(2)
        os.chmod(self.directory, 0o777)
        told.wait_for("down")
        second.publish("x", b"still")
        told.wait_for_messages(1)
        os.chmod(self.directory, 0o700)
        told.wait_for("up", 2)
        self.assertTrue(first.health().up)


class EndTests(LocalCase):
    """Others that end, in order or not, and come back."""

    def test_a_goodbye(self) -> None:
        """Of a process that closes nothing is told, and its file is gone."""
        (first, told), (second, _) = self.joined(2)
        second.publish("x", b"last")
        second.close(1)
        told.wait_for_messages(1)
        self.assertEqual(len(self.files()), 1)
        first.publish("x", b".")
        self.assertTrue(first.flush(PATIENCE))
        self.assertEqual(told.names, ["up"])

    def test_no_goodbye(self) -> None:
        """Of one that was killed its node is told, after all that it had said; its file is removed, and what waits for
        it is forgotten."""
        self.look_often()
        backplane, told = self.started()
        connection = self.connected(NAME)
        listener = self.listen(NAME)
        connection.sendall(frame("x", b"last"))
        told.wait_for_messages(1)
        self.assertEqual(len(self.files()), 2)
        listener.close()
        connection.close()
        self.assertEqual(told.wait_for("vanished"), [NODE])
        self.assertEqual(told.messages, [("x", b"last")])
        self.assertTrue(await_(lambda: len(self.files()) == 1, PATIENCE))
        self.assertTrue(backplane.flush(PATIENCE))

    def test_one_that_is_back(self) -> None:
        """A process whose connection broke, and that greets again, may have said something meanwhile: it is told as
        vanished, and then that something may be missing since."""
        _backplane, told = self.started()
        told.wait_for("up")
        before = time.monotonic()
        self.connected(NAME).close()
        told.wait_for("vanished")
        between = time.monotonic()
        with self.connected(NAME) as connection:
            (_, proven) = told.wait_for("up", 2)
            self.assertEqual(told.names, ["up", "vanished", "down", "up"])
            self.assertTrue(before <= proven <= between)
            connection.sendall(goodbye())

    def test_the_older_connection_comes_first(self) -> None:
        """What a process has said on a connection is read to its end before what it says on the next one."""
        _backplane, told = self.started()
        told.hold = threading.Event()
        older, newer = self.connected(NAME), self.connected()
        older.sendall(frame("x", b"1") + frame("y", b"2"))
        told.wait_for_messages(1)
        older.close()
        newer.sendall(greeting(NAME) + frame("z", b"3") + goodbye())
        self.assertEqual(told.messages, [("x", b"1")])
        told.hold.set()
        told.wait_for_messages(3)
        self.assertEqual([data for _, data in told.messages], [b"1", b"2", b"3"])

    def test_a_connection_that_breaks(self) -> None:
        """Where another cuts the connection to it, it is made anew, and what is published then arrives."""
        self.look_often()
        backplane, told = self.started()
        connection = self.connected(NAME)
        listener = self.listen(NAME)
        for text in (b"one", b"two"):
            accepted, _ = listener.accept()
            with accepted, accepted.makefile("rb") as stream:
                backplane.publish("x", text)
                name = f"{os.getpid()}-{1:016x}"
                expected = greeting(name) + frame("x", text)
                self.assertEqual(stream.read(len(expected)), expected)
        connection.sendall(goodbye())
        self.assertEqual(told.told("vanished"), [])


class SlowTests(LocalCase):
    """Others that do not keep up."""

    def test_what_does_not_arrive_is_told(self) -> None:
        """What a full queue did not take is counted and told by channel, once there is room; whoever keeps up has got
        everything, in order, and the log says which process it was."""
        self.look_often()
        backplane, told = self.started(queue=20)
        slow, _ = self.started()
        quick, heard = self.started()
        for each in (backplane, slow, quick):
            self.assertTrue(each.subscribe([], PATIENCE))
        hold = self._told_of(slow).hold = threading.Event()
        with self.assertLogs("syncws.backplane", "WARNING") as logs:
            for number in range(200):
                self.assertTrue(backplane.publish(f"c{number % 2}", b"%d" % number + b"x" * 20_000))
                heard.wait_for_messages(number + 1)
            self.assertTrue(await_(lambda: len(logs.output) > 0, PATIENCE))
        self.assertRegex(logs.output[0], "process .* does not keep up: messages to it are dropped")
        self.assertFalse(backplane.flush(0))
        health = backplane.health()
        self.assertGreater(health.dropped_out, 100)
        self.assertGreaterEqual(health.queued_messages, 20)
        self.assertEqual(told.told("dropped"), [])
        hold.set()
        (counts,) = told.wait_for("dropped")
        assert isinstance(counts, dict)
        self.assertEqual(counts.keys(), {"c0", "c1"})
        self.assertEqual(sum(counts.values()), health.dropped_out)
        self.assertTrue(backplane.flush(PATIENCE))
        got = self._told_of(slow).wait_for_messages(200 - health.dropped_out)
        self.assertEqual([int(data.partition(b"x")[0]) for _, data in got], list(range(len(got))))

    def _told_of(self, backplane: LocalBackplane) -> Told:
        assert backplane._mesh is not None and isinstance(backplane._mesh._sink, Told)
        return backplane._mesh._sink

    def test_too_many_channels(self) -> None:
        """Where more is lost than can be counted by channel, the connection is cut: so the other process knows."""
        self.look_often()
        os.mkdir(self.directory, 0o700)
        listener = self.listen(NAME)
        with mock.patch("syncws._bus.localpeer.MOST_LOST", 10), mock.patch("syncws._bus.localmesh._SETTLING", 0.1):
            backplane, _told = self.started(queue=1)
            accepted, _ = listener.accept()
            with accepted:
                for number in range(100):
                    backplane.publish(f"c{number}", b"x" * 100_000)
                while accepted.recv(1 << 16):
                    pass
            again, _ = listener.accept()
            again.close()


class JunkTests(LocalCase):
    """Whatever stands in the directory, and whoever connects."""

    def test_files(self) -> None:
        """Files, links, directories and datagram sockets with such names stay, and nobody minds them."""
        os.mkdir(self.directory, 0o700)
        names = [f"{number}-{number:016x}.sock" for number in range(2, 6)]
        paths = [os.path.join(self.directory, name) for name in names]
        with open(paths[0], "w"):
            pass
        os.mkdir(paths[1])
        os.symlink("/nowhere", paths[2])
        with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as foreign, self.assertNoLogs("syncws", "WARNING"):
            foreign.bind(paths[3])
            (first, told), (second, _) = self.joined(2)
            second.publish("x", b".")
            told.wait_for_messages(1)
            self.assertTrue(second.flush(PATIENCE))
            first.close(1)
            second.close(1)
        self.assertEqual(self.files(), names)

    def test_a_socket_that_was_left_behind(self) -> None:
        """It is removed at the start, and not waited for."""
        os.mkdir(self.directory, 0o700)
        self.listen(NAME).close()
        backplane, _ = self.started()
        self.assertTrue(backplane.subscribe([], 0))
        self.assertEqual(len(self.files()), 1)

    def test_bytes(self) -> None:
        """Whoever writes what is no frame is cut off; the others go on, and nothing is told."""
        (_first, told), (second, _) = self.joined(2)
        with self.assertLogs("syncws.backplane", "WARNING"):
            for junk in (b"\xff\xff\xff\xff\0\0", b"GET / HTTP/1.1\r\n\r\n", os.urandom(4096), goodbye(), b"\0" * 100):
                with self.subTest(junk), socket.socket(socket.AF_UNIX) as connection:
                    connection.settimeout(PATIENCE)
                    connection.connect(os.path.join(self.directory, f"{os.getpid()}-{1:016x}.sock"))
                    connection.sendall(junk)
                    try:
                        self.assertEqual(connection.recv(1), b"")
                    except ConnectionResetError:  # it has not read all of it
                        pass
        second.publish("x", b".")
        told.wait_for_messages(1)
        self.assertEqual(told.names, ["up"])

    def test_too_many(self) -> None:
        """There is an end to how many may be connected."""
        with mock.patch("syncws._bus.localmesh._MOST_READERS", 2):
            _backplane, told = self.started()
            ones = [self.connected(""), self.connected("")]
            for one in ones:
                one.sendall(frame("x", b"."))
            told.wait_for_messages(2)
            with self.assertLogs("syncws.backplane", "WARNING") as logs:
                self.assertEqual(self.connected().recv(1), b"")
            self.assertIn("2 others are connected", logs.output[0])
            self.assertTrue(await_(lambda: told.names[-2:] == ["down", "up"]), told.names)  # what it says is lost here
            with self.assertLogs("syncws.backplane", "WARNING"):
                advisor.begin_anew()
                self.assertEqual(self.connected().recv(1), b"")
            names = told.names
            ones[1].sendall(frame("x", b"."))
            told.wait_for_messages(3)
            self.assertEqual(told.names, names)  # once for all that are refused in the same seconds
            ones[0].sendall(frame("x", b"."))
            told.wait_for_messages(4)

    def test_another_user(self) -> None:
        """Whoever is another user is refused, although the directory let him in."""
        _backplane, _told = self.started()
        with (
            mock.patch("syncws._bus.localmesh.check_user", side_effect=PermissionError("another user")),
            self.assertLogs("syncws.backplane", "WARNING") as logs,
        ):
            self.assertEqual(self.connected().recv(1), b"")
        self.assertIn("refuses a connection: another user", logs.output[0])

    def test_no_thread_to_be_had(self) -> None:
        """Whoever cannot be read is refused, and that something may be missing is told."""
        _backplane, told = self.started()
        told.wait_for("up")
        with (
            mock.patch("syncws._bus.localreader.Reader.start", side_effect=RuntimeError("can't start new thread")),
            self.assertLogs("syncws.backplane", "WARNING"),
        ):
            self.assertEqual(self.connected().recv(1), b"")
            told.wait_for("up", 2)

    def test_no_descriptor_to_be_had(self) -> None:
        """Whoever connects waits until there is one."""
        backplane, told = self.started()
        told.wait_for("up")
        assert backplane._mesh is not None
        listener = backplane._mesh._listener
        failing = mock.Mock(wraps=listener)
        failing.fileno = listener.fileno  # type: ignore[union-attr]
        failing.accept.side_effect = [OSError(24, "Too many open files"), mock.DEFAULT, BlockingIOError]
        with self.assertLogs("syncws.backplane", "WARNING") as logs:
            backplane._mesh._listener = failing
            connection = self.connected("")
            connection.sendall(frame("x", b"."))
            told.wait_for_messages(1)
        self.assertIn("accepts nobody for now", logs.output[0])

    def test_a_defect_of_the_sink(self) -> None:
        """What a sink raises against its contract is logged, and the bus goes on."""
        (_first, told), (second, _) = self.joined(2)
        with (
            mock.patch.object(told, "received", side_effect=[ZeroDivisionError, mock.DEFAULT], wraps=told.received),
            self.assertLogs("syncws.backplane", "ERROR"),
        ):
            second.publish("x", b"one")
            second.publish("x", b"two")
            told.wait_for_messages(1)
        self.assertEqual(told.messages, [("x", b"two")])


class DescriptorTests(LocalCase):
    def test_numbers_above_those_of_select(self) -> None:
        """It works where descriptors have numbers above 1,023, as in a server with so many connections."""
        import resource

        _soft, most = resource.getrlimit(resource.RLIMIT_NOFILE)
        if most != resource.RLIM_INFINITY and most < 2000:
            self.skipTest(f"this process may have {most} descriptors")
        before = resource.getrlimit(resource.RLIMIT_NOFILE)
        resource.setrlimit(resource.RLIMIT_NOFILE, (2000, most))
        self.addCleanup(resource.setrlimit, resource.RLIMIT_NOFILE, before)
        with socket.socket() as one:
            copies = [os.dup(one.fileno()) for _ in range(1100)]
            try:
                (first, told), (second, _) = self.joined(2)
                told.hold = threading.Event()
                for number in range(50):
                    second.publish("x", b"%d" % number + b"x" * 20_000)
                self.assertFalse(second.flush(0))
                told.hold.set()
                told.wait_for_messages(50)
                self.assertTrue(second.flush(PATIENCE))
                outlet = first.outlet()
                outlet.send([("x", b"last")], PATIENCE)
                outlet.close()
                first.close(1)
                second.close(1)
            finally:
                for each in copies:
                    os.close(each)


class SharedTests(LocalCase):
    """One sink for many senders."""

    def test_one_at_a_time(self) -> None:
        """Messages of a channel are told one after the other, whoever has sent them; those of another one pass."""
        (_first, told), (second, _), (third, _) = self.joined(3)
        told.hold = threading.Event()
        second.publish("same", b"1")
        told.wait_for_messages(1)
        third.publish("same", b"2")
        third.flush(PATIENCE)
        other = next(f"c{number}" for number in range(1000) if hash(f"c{number}") % 16 != hash("same") % 16)
        fourth, _ = self.started()
        self.assertTrue(fourth.subscribe([], PATIENCE))
        fourth.publish(other, b"3")
        told.wait_for_messages(2)
        self.assertEqual(told.messages, [("same", b"1"), (other, b"3")])
        told.hold.set()
        told.wait_for_messages(3)


if __name__ == "__main__":
    unittest.main()
