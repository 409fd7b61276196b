"""`python -m syncws publish`: what members get, what is said when something is wrong, and exit statuses."""

from __future__ import annotations

import io
import os
import subprocess
import sys
import tempfile
import unittest
from typing import Any
from unittest import mock

from syncws import Conn, History, LocalBackplane, Manager, RedisBackplane
from syncws.testing import pair
from tests.bus.locals import skip_without_unix_sockets
from tests.buses import RedisServer, need_client
from tests.tasks import PATIENCE

from .support import CLICase


class PublishCase(CLICase):
    """A Manager on a local bus; its members are at the other end of the commands."""

    def setUp(self) -> None:
        skip_without_unix_sockets()
        super().setUp()
        self.folder = self.enterContext(tempfile.TemporaryDirectory())
        self.bus = os.path.join(self.folder, "bus")
        self.manager = Manager(backplane=LocalBackplane(self.bus))
        self.addCleanup(self.manager.end)
        self.enterContext(mock.patch.dict(os.environ))
        os.environ.pop("SYNCWS_BUS", None)

    def member(self, id: Any, *rooms: Any) -> Conn:
        """Its peer."""
        conn, peer = self.enterContext(pair())
        self.manager.register(conn, id, rooms)
        return peer

    def publish(self, *arguments: str, stdin: bytes = b"") -> None:
        """The command succeeds, and says nothing."""
        with mock.patch.object(sys, "stdin", io.TextIOWrapper(io.BytesIO(stdin))):
            self.assertEqual(self.run_main("publish", "--local", self.bus, *arguments), (0, "", ""))

    def assert_hears(self, peer: Conn, *expected: Any) -> None:
        """These messages come, of several commands: each is a process of its own, so their order is not promised."""
        self.assertCountEqual([peer.receive(PATIENCE) for _ in expected], expected)

    def refused(self, says: str, *arguments: str, status: int = 1, stdin: bytes = b"") -> None:
        with mock.patch.object(sys, "stdin", io.TextIOWrapper(io.BytesIO(stdin))):
            self.assertLine(says, "publish", *arguments, status=status)


class MessageTests(PublishCase):
    def test_who_gets_it(self) -> None:
        """Everybody, a room, an id; with --json-names a room may be a number or a tuple, as the application has it."""
        ann, bob = self.member("ann", "lobby", 42), self.member(7, ("a", 1), "42")
        self.publish("--all", "all")
        self.publish("--room", "lobby", "to the lobby")
        self.publish("--room", "42", "to the string")
        self.publish("--json-names", "--room", "42", "to the number")
        self.publish("--json-names", "--room", '["a", 1]', "to the tuple")
        self.publish("--id", "ann", "to ann")
        self.publish("--id", "7", "to nobody")
        self.publish("--json-names", "--id", "7", "to bob")
        self.publish("--all", "--exclude", "ann", "not to ann")
        self.publish("--all", "--json-names", "--exclude", "7", "--exclude", '"eve"', "not to bob")
        self.assert_hears(ann, "all", "to the lobby", "to the number", "to ann", "not to bob")
        self.assert_hears(bob, "all", "to the string", "to the tuple", "to bob", "not to ann")

    def test_standard_input(self) -> None:
        """- is what comes on standard input: as TEXT without the end of its last line, as BINARY all of it."""
        ann = self.member("ann")
        self.publish("--all", "-", stdin="one\ntwo ü\n".encode())
        self.publish("--all", "--binary", "-", stdin=b"\xff\n")
        self.publish("--all", "-", stdin=b"")
        self.publish("--all", "--binary", "ü")
        self.assert_hears(ann, "one\ntwo ü", b"\xff\n", "", "ü".encode())

    def test_lines(self) -> None:
        """With --lines each line is a message, an empty one too, however it ends."""
        ann = self.member("ann", "lobby")
        self.publish("--room", "lobby", "--lines", "-", stdin=b"1\n\n2\r\n3")
        self.assertEqual([ann.receive(PATIENCE) for _ in range(4)], ["1", "", "2", "3"])
        self.publish("--id", "ann", "--lines", "--binary", "-", stdin=b"\xff\n\xfe\n")
        self.assertEqual([ann.receive(PATIENCE) for _ in range(2)], [b"\xff", b"\xfe"])

    def test_the_address_of_the_environment(self) -> None:
        """Without an address, SYNCWS_BUS is the bus; with one, it counts for nothing."""
        ann = self.member("ann")
        os.environ["SYNCWS_BUS"] = f"local:{self.bus}"
        self.assertEqual(self.run_main("publish", "--all", "1"), (0, "", ""))
        os.environ["SYNCWS_BUS"] = "nonsense"
        self.publish("--all", "2")
        self.refused("'nonsense' is no address of a bus", "--all", "x")
        self.assert_hears(ann, "1", "2")

    def test_a_process_of_its_own(self) -> None:
        """As cron runs it: it writes nothing, and ends with 0."""
        ann = self.member("ann")
        command = [sys.executable, "-W", "error", "-m", "syncws", "publish", "--local", self.bus, "--all", "from cron"]
        done = subprocess.run(command, capture_output=True, text=True, timeout=PATIENCE)
        self.assertEqual((done.returncode, done.stdout, done.stderr), (0, "", ""))
        self.assertEqual(ann.receive(PATIENCE), "from cron")


class RefusalTests(PublishCase):
    """Each error is one line, names what to do, and has its status."""

    def test_arguments(self) -> None:
        """What the command line lacks, or has too much of."""
        for arguments in (
            ["x"],
            ["--all"],
            ["--all", "--room", "a", "x"],
            ["--room", "a", "--id", "a", "x"],
            ["--redis", "redis://a", "--local", "b", "--all", "x"],
            ["--all", "--timeout", "0", "x"],
            ["--all", "--timeout", "soon", "x"],
            ["--room", "a", "--history", "100", "x"],
            ["--room", "a", "--history", "0:5", "x"],
        ):
            with self.subTest(arguments):
                self.assertRefused("error: ", "publish", *arguments, status=2)

    def test_values(self) -> None:
        """What fits together on the command line and is wrong all the same."""
        here = ("--local", self.bus)
        for says, status, arguments in (
            ("give --redis URL or --local PATH, or set SYNCWS_BUS", 2, ["--all", "x"]),
            ("give - in place of the message", 2, [*here, "--all", "--lines", "x"]),
            ("--exclude is for --room and --all", 2, [*here, "--id", "a", "--exclude", "b", "x"]),
            ("--history is for --room", 2, ["--redis", "redis://a", "--all", "--history", "5:5", "x"]),
            ("remember by themselves", 2, [*here, "--room", "a", "--history", "5:5", "x"]),
            ("'lobby' is no name as JSON", 2, [*here, "--json-names", "--room", "lobby", "x"]),
            ("'1.5' is no name as JSON", 2, [*here, "--json-names", "--id", "1.5", "x"]),
            ("'{}' is no name as JSON", 2, [*here, "--json-names", "--all", "--exclude", "{}", "x"]),
            ("prefix is for a URL of Redis", 1, [*here, "--prefix", "a", "--all", "x"]),
            ("give redis://host:6379/0", 1, ["--redis", "cache:6379", "--all", "x"]),
            ("the scheme 'http' is not known", 1, ["--redis", "http://cache", "--all", "x"]),
            ("prefix is of letters", 1, ["--redis", "redis://cache", "--prefix", "a b", "--all", "x"]),
            (
                "prefix is of letters",
                1,
                ["--redis", "redis://c", "--prefix", "?", "--room", "a", "--history", "5:5", ""],
            ),
            ("no UTF-8", 1, [*here, "--all", os.fsdecode(b"\xff")]),
            ("is too large", 1, [*here, "--all", "x" * (1 << 20)]),
            ("a room between processes has at most 4096", 1, [*here, "--room", "x" * 5000, "x"]),
        ):
            with self.subTest(says):
                self.refused(says, *arguments, status=status)

    def test_standard_input(self) -> None:
        """A line that cannot be sent is named; those before it were sent. What is too large is not read to its end."""
        ann = self.member("ann")
        here = ("--local", self.bus, "--all", "-")
        self.refused("line 2: the message is no UTF-8", *here, "--lines", stdin=b"1\n\xff\n3\n")
        self.refused("line 3: a message of ", *here, "--lines", stdin=b"2\n3\n" + b"x" * (1 << 20) + b"\n5\n")
        self.refused("is too large", *here, stdin=b"x" * (2 << 20))
        self.publish("--all", "last")
        self.assert_hears(ann, "1", "2", "3", "last")

    def test_no_local_bus(self) -> None:
        """A directory that is not there, and one that others may use."""
        self.refused("name the directory of a LocalBackplane that runs", "--local", f"{self.folder}/none", "--all", "x")
        os.mkdir(open_to_all := f"{self.folder}/open")
        os.chmod(open_to_all, 0o755)
        self.refused("make it 0700", "--local", open_to_all, "--all", "x")

    def test_passwords(self) -> None:
        """No error shows the password of an address, whatever is wrong with it."""
        for url in ("user:secret@cache", "redis://user:secret@cache:x", "http://user:secret@cache", "redis://:secret@"):
            with self.subTest(url):
                _, _, err = self.run_main("publish", "--redis", url, "--all", "x")
                self.assertTrue(err)
                self.assertNotIn("secret", err)

    def test_interrupted(self) -> None:
        """Ctrl-C ends it without a traceback, and with the status that shells know."""
        stdin = mock.Mock()
        stdin.buffer.readline.side_effect = KeyboardInterrupt
        with mock.patch.object(sys, "stdin", stdin):
            got = self.run_main("publish", "--local", self.bus, "--all", "--lines", "-")
        self.assertEqual(got, (130, "", ""))


class RedisTests(CLICase):
    def setUp(self) -> None:
        need_client()
        super().setUp()

    def manager(self, *arguments: Any, **options: Any) -> Manager:
        manager = Manager(backplane=RedisBackplane(*arguments, **options))
        self.addCleanup(manager.end)
        return manager

    def member(self, manager: Manager, *rooms: str) -> Conn:
        conn, peer = self.enterContext(pair())
        manager.register(conn, "ann", rooms)
        return peer

    def test_a_prefix(self) -> None:
        """It goes to those of this prefix."""
        server = self.enterContext(RedisServer())
        ann, other = (self.member(self.manager(server.url, prefix=prefix)) for prefix in ("syncws", "shop"))
        for prefix in ((), ("--prefix", "shop")):
            got = self.run_main("publish", "--redis", server.url, *prefix, "--all", f"to {prefix}")
            self.assertEqual(got, (0, "", ""))
        self.assertEqual((ann.receive(PATIENCE), other.receive(PATIENCE)), ("to ()", "to ('--prefix', 'shop')"))

    def test_a_room_that_remembers(self) -> None:
        """With --history it is kept; without, it only reaches who is there."""
        server = self.enterContext(RedisServer())
        ann = self.member(self.manager(server.url, history=History(size=5, stamp=None)), "lobby")
        archive = RedisBackplane(server.url, history=History(size=5)).archive
        assert archive is not None
        begin = archive.read('r:"lobby"', None, PATIENCE).position
        publish = ("publish", "--redis", server.url, "--room", "lobby")
        self.assertEqual(self.run_main(*publish, "1"), (0, "", ""))
        self.assertEqual(self.run_main(*publish, "--history", "5:60", "2"), (0, "", ""))
        self.assertEqual([ann.receive(PATIENCE) for _ in range(2)], ["1", "2"])
        entries = archive.read('r:"lobby"', begin, PATIENCE).entries
        self.assertEqual([entry.data[-1:] for entry in entries], [b"2"])
        archive.close()

    def test_a_server_that_refuses(self) -> None:
        """A server that is not there, and a wrong password, end with 1 and say what to look at."""
        server = self.enterContext(RedisServer(password="pw"))
        wrong = server.url.replace("pw", "wrong")
        self.assertLine("see user and password", "publish", "--redis", wrong, "--all", "x")
        server.kill()
        self.assertLine("see whether it runs", "publish", "--redis", wrong, "--timeout", "0.2", "--all", "x")

    def test_a_server_that_says_nothing(self) -> None:
        """It ends with 3: it may have been delivered."""
        server = self.enterContext(RedisServer())
        server.stop()
        self.addCleanup(server.kill)
        publish = ("publish", "--redis", server.url, "--timeout", "0.2", "--all", "x")
        self.assertLine("has not taken it in 0.", *publish, status=3)


if __name__ == "__main__":
    unittest.main()
