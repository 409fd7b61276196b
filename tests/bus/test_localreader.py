"""Reading what one other process writes: who it is, its messages, its end."""

from __future__ import annotations

import socket
import unittest
from unittest import mock

from syncws._base.advice import advisor
from syncws._bus.localframes import frame, goodbye, greeting
from syncws._bus.localreader import Reader
from syncws.testing import LeakChecks
from tests.tasks import PATIENCE, Task

NAME = "4711-00c0ffee00c0ffee"


class Host:
    """Keeps what it is told."""

    def __init__(self) -> None:
        self.told: list[object] = []

    def greeted(self, reader: Reader) -> None:
        self.told.append(reader.name)

    def received(self, channel: str, data: bytes) -> None:
        self.told.append((channel, data))

    def ended(self, reader: Reader, *, orderly: bool) -> None:
        self.told.append(orderly)


class ReaderTests(LeakChecks):
    def setUp(self) -> None:
        super().setUp()
        self.begin()

    def begin(self) -> None:
        """A reader of a new connection, which is not started."""
        self.host = Host()
        ours, self.theirs = socket.socketpair()
        self.addCleanup(self.theirs.close)
        self.reader = Reader(ours, 1000, self.host)
        self.addCleanup(self.reader.abandon)

    def told_of(self, written: bytes) -> list[object]:
        """What the host is told when the other end has written this, and has ended the connection."""
        self.theirs.sendall(written)
        self.theirs.close()
        self.reader.start()
        self.reader.join(PATIENCE)
        return self.host.told

    def test_a_process(self) -> None:
        """It is told who it is, then its messages in order, then that it has said goodbye."""
        told = self.told_of(greeting(NAME) + frame("r:1", b"one") + frame("r:2", b"") + goodbye())
        self.assertEqual(told, [NAME, ("r:1", b"one"), ("r:2", b""), True])
        self.assertEqual((self.reader.name, self.reader.messages), (NAME, 2))

    def test_no_goodbye(self) -> None:
        """A process that ends without one may have had more to say."""
        self.assertEqual(self.told_of(greeting(NAME) + frame("r:1", b"one")), [NAME, ("r:1", b"one"), False])

    def test_a_frame_that_is_cut_short(self) -> None:
        """It is dropped, and the end is no goodbye."""
        self.assertEqual(self.told_of(greeting(NAME) + frame("r:1", b"one")[:-1]), [NAME, False])

    def test_what_follows_a_goodbye(self) -> None:
        """Nothing is read any more."""
        self.assertEqual(self.told_of(greeting(NAME) + goodbye() + frame("r:1", b"one")), [NAME, True])

    def test_one_that_listens_nowhere(self) -> None:
        """Its messages count, and its end is no loss."""
        self.assertEqual(self.told_of(greeting("") + frame("r:1", b"one")), ["", ("r:1", b"one"), True])

    def test_nothing(self) -> None:
        """Who connects and ends has said nothing that could be missed."""
        self.assertEqual(self.told_of(b""), [True])

    def test_words_that_are_not_known(self) -> None:
        """A later version may have words that this one does not know."""
        self.assertEqual(self.told_of(greeting(NAME) + goodbye().replace(b"goodbye", b"weather")), [NAME, False])

    def test_who_does_not_say_who_it_is(self) -> None:
        """A connection that begins with anything except a greeting is closed, with one WARNING that says what to do."""
        for written in (
            frame("r:1", b"one"),
            goodbye(),
            greeting("").replace(b"syncws 1", b"syncws 2"),
            greeting("4711-c0ffee"),
            greeting("../../4711-00c0ffee00c0ffee"),
            b"GET / HTTP/1.1\r\nHost: x\r\n\r\n",
            b"\xff" * 100,
        ):
            with self.subTest(written):
                self.begin()
                advisor.begin_anew()
                with self.assertLogs("syncws.backplane", "WARNING") as logs:
                    self.assertEqual(self.told_of(written), [True])
                self.assertRegex(logs.output[0], "somebody is cut off from the local bus: .*same version of syncws")

    def test_a_frame_that_is_too_long(self) -> None:
        """It ends the connection, with a WARNING that names the process and the option."""
        with self.assertLogs("syncws.backplane", "WARNING") as logs:
            self.assertEqual(self.told_of(greeting(NAME) + frame("r", b"x" * 70_000) + goodbye()), [NAME, False])
        self.assertRegex(logs.output[0], f"process {NAME} is cut off.*same max_message")

    def test_silence_before_the_greeting(self) -> None:
        """Who has connected has so many seconds to say who it is; after that it may be silent for ever."""
        with mock.patch("syncws._bus.localreader._PATIENCE", 0.05):
            self.reader.start()
            self.reader.join(PATIENCE)
        self.assertEqual(self.host.told, [True])
        self.assertEqual(self.theirs.recv(1), b"")

    def test_a_cut(self) -> None:
        """It ends the wait of its thread, and what has come and was not read is left."""
        self.theirs.sendall(greeting(NAME))
        self.reader.start()
        self.assertFalse(Task(self.reader.join, 0.05).ended())
        self.reader.cut()
        self.reader.join(PATIENCE)
        self.assertEqual(self.host.told, [NAME, False])
        self.reader.cut()

    def test_in_the_child_of_a_fork(self) -> None:
        """The descriptor is closed without the lock, which a thread of the parent may have held."""
        with self.reader._ending:
            self.reader.abandon()
        self.assertEqual(self.theirs.recv(1), b"")


if __name__ == "__main__":
    unittest.main()
