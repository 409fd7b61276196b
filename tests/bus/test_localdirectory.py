"""The directory of a local bus: whose it is, what is found in it, and what is removed."""

from __future__ import annotations

import os
import socket
import stat
import tempfile
import unittest
from pathlib import Path
from unittest import mock

from syncws._bus.localdirectory import LocalDirectory, check_user, is_for_later, is_name, node_of, pid_of
from syncws.testing import LeakChecks
from tests.bus.locals import skip_without_unix_sockets

NAME = "4711-00c0ffee00c0ffee"


class DirectoryCase(LeakChecks):
    def setUp(self) -> None:
        skip_without_unix_sockets()
        super().setUp()
        self.path = Path(self.enterContext(tempfile.TemporaryDirectory(prefix="bus")), "bus")
        self.directory = LocalDirectory(self.path)


class PathTests(DirectoryCase):
    def test_what_is_no_path(self) -> None:
        """What is no path of a directory is refused at once."""
        for path, error in ((b"/tmp/bus", TypeError), (7, TypeError), (None, TypeError), ("", ValueError)):
            with self.subTest(path=path), self.assertRaisesRegex(error, "^path is "):
                LocalDirectory(path)  # type: ignore[arg-type]
        with self.assertRaisesRegex(ValueError, "^path is "):
            LocalDirectory("/tmp/b\0us")

    def test_a_path_that_is_too_long(self) -> None:
        """The longest path is one in which sockets can be made; one byte more is refused, with both numbers."""
        longest = os.path.join(tempfile.gettempdir(), "b")
        longest += "b" * (69 - len(longest))
        self.addCleanup(lambda: os.path.isdir(longest) and os.rmdir(longest))
        directory = LocalDirectory(longest)
        directory.prepare()
        directory.listen("4194304-00c0ffee00c0ffee").close()
        directory.unlist("4194304-00c0ffee00c0ffee")
        with self.assertRaisesRegex(ValueError, "at most 69.*has 70"):
            LocalDirectory(longest + "b")

    def test_a_relative_path(self) -> None:
        """It is that of the directory in which the program was, wherever it goes."""
        self.assertEqual(LocalDirectory("bus").path, os.path.abspath("bus"))

    def test_without_unix_sockets(self) -> None:
        """Where Python has none the error names what does without them."""
        with mock.patch.object(socket, "AF_UNIX", create=True), self.assertRaisesRegex(RuntimeError, "RedisBackplane"):
            del socket.AF_UNIX
            LocalDirectory(self.path)


class OwnerTests(DirectoryCase):
    def test_it_is_made_for_this_user_alone(self) -> None:
        """A directory that is not there is made, 0700; one that is there is used."""
        self.directory.prepare()
        self.directory.prepare()
        self.assertEqual(stat.S_IMODE(self.path.stat().st_mode), 0o700)

    def test_one_that_others_may_use(self) -> None:
        """PermissionError, which names it and says what to do."""
        self.path.mkdir()
        for mode in (0o755, 0o710, 0o701, 0o702):
            self.path.chmod(mode)
            with self.subTest(oct(mode)), self.assertRaisesRegex(PermissionError, "make it 0700.*" + str(self.path)):
                self.directory.prepare()

    def test_one_of_another_user(self) -> None:
        """PermissionError, which names both users."""
        self.directory.prepare()
        user = os.geteuid()
        with (
            mock.patch("os.geteuid", return_value=user + 1),
            self.assertRaisesRegex(PermissionError, f"of user {user}, and this process is of {user + 1}"),
        ):
            self.directory.prepare()

    def test_what_is_no_directory(self) -> None:
        """A file, and a link that leads elsewhere, are refused."""
        self.path.touch()
        with self.assertRaises(NotADirectoryError):
            self.directory.prepare()
        self.path.unlink()
        self.path.symlink_to(self.path.parent)
        with self.assertRaises(NotADirectoryError):
            self.directory.prepare()

    def test_a_parent_that_is_not_there(self) -> None:
        """It is not made; the error names it, and what makes it. "No such file" alone was taken for the bus itself."""
        parent = self.path.parent / "no"
        said = f"its parent {parent} is not there: .*RuntimeDirectory=no.*{parent}/bus"
        with self.assertRaisesRegex(FileNotFoundError, said):
            LocalDirectory(parent / "bus").prepare()
        with (
            mock.patch("os.mkdir", side_effect=FileNotFoundError(2, "No such file or directory", "/proc/bus")),
            self.assertRaisesRegex(FileNotFoundError, "No such file or directory: '/proc/bus'"),
        ):
            self.directory.prepare()

    def test_a_parent_that_this_user_may_not_write_to(self) -> None:
        """The error names the user and the parent."""
        with (
            mock.patch("os.mkdir", side_effect=PermissionError(13, "Permission denied", str(self.path))),
            self.assertRaisesRegex(
                PermissionError, f"user {os.geteuid()} may not make a directory in {self.path.parent}"
            ),
        ):
            self.directory.prepare()

    def test_the_user_at_the_other_end(self) -> None:
        """A connection of another user is refused, where the system tells whose it is."""
        ours, theirs = socket.socketpair()
        with ours, theirs:
            check_user(ours)
            if hasattr(socket, "SO_PEERCRED"):
                with (
                    mock.patch("os.geteuid", return_value=os.geteuid() + 1),
                    self.assertRaisesRegex(PermissionError, "the other end is of user"),
                ):
                    check_user(ours)


class SocketTests(DirectoryCase):
    def setUp(self) -> None:
        super().setUp()
        self.directory.prepare()

    def listen(self, name: str = NAME) -> socket.socket:
        listener = self.directory.listen(name)
        self.addCleanup(listener.close)
        return listener

    def test_what_listens_is_found_and_reached(self) -> None:
        """A process that listens is seen by its name, reached, and not seen any more once it is unlisted."""
        listener = self.listen()
        self.assertEqual(self.directory.names(), [NAME])
        self.assertTrue(self.directory.is_listed(NAME))
        self.assertEqual(stat.S_IMODE(os.lstat(self.path / f"{NAME}.sock").st_mode), 0o600)
        with self.directory.connect(NAME) as connection:
            accepted, _ = listener.accept()
            accepted.close()
            self.assertFalse(connection.getblocking())
        self.directory.unlist(NAME)
        self.assertEqual(self.directory.names(), [])
        self.assertFalse(self.directory.is_listed(NAME))
        self.directory.unlist(NAME)

    def test_it_listens_before_it_is_seen(self) -> None:
        """The file is renamed last: what is seen between bind and listen would be taken for left behind."""
        seen: list[list[str]] = []
        listen = socket.socket.listen

        def spying(sock: socket.socket, backlog: int) -> None:
            seen.append(self.directory.names())
            listen(sock, backlog)
            seen.append(self.directory.names())

        with mock.patch.object(socket.socket, "listen", spying):
            self.listen()
        self.assertEqual(seen, [[], []])
        self.assertEqual(self.directory.names(), [NAME])

    def test_what_fails_leaves_nothing(self) -> None:
        """No descriptor and no file is left where listening fails."""
        with mock.patch("os.rename", side_effect=PermissionError), self.assertRaises(PermissionError):
            self.directory.listen(NAME)
        self.assertEqual(os.listdir(self.path), [])

    def test_what_was_left_behind_is_removed(self) -> None:
        """A socket on which nobody listens is removed by who tries it."""
        self.listen().close()
        with self.assertRaises(ConnectionRefusedError):
            self.directory.connect(NAME)
        self.assertEqual(os.listdir(self.path), [])
        with self.assertRaises(FileNotFoundError):
            self.directory.connect(NAME)

    def test_a_file_that_is_no_socket_stays(self) -> None:
        """A regular file of such a name refuses connections too, and is not removed."""
        path = self.path / f"{NAME}.sock"
        path.touch()
        with self.assertRaises(ConnectionRefusedError):
            self.directory.connect(NAME)
        self.directory.unlist(NAME)
        self.assertTrue(path.exists())
        self.assertFalse(self.directory.is_listed(NAME))

    def test_a_datagram_socket_stays(self) -> None:
        """A socket of another kind is an error like any other."""
        with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as foreign:
            foreign.bind(str(self.path / f"{NAME}.sock"))
            with self.assertRaises(OSError) as caught:
                self.directory.connect(NAME)
            self.assertFalse(is_for_later(caught.exception))
        self.assertTrue((self.path / f"{NAME}.sock").exists())

    def test_what_is_called_otherwise_is_not_seen(self) -> None:
        """Files of other names are neither found nor touched."""
        names = ("notes.txt", "1-2.sock", "x-00c0ffee00c0ffee.sock", NAME, f"{NAME}.SOCK", f"{NAME}.sock.old")
        for name in names:
            (self.path / name).touch()
        self.assertEqual(self.directory.names(), [])
        self.assertEqual(sorted(os.listdir(self.path)), sorted(names))

    def test_hidden_sockets_that_were_left_behind(self) -> None:
        """One that is a minute old is removed; a young one is about to be renamed, and a file stays."""
        old, young, regular = (self.path / f".{number}-00c0ffee00c0ffee.sock" for number in (1, 2, 3))
        for path in (old, young):
            with socket.socket(socket.AF_UNIX) as bound:
                bound.bind(str(path))
        regular.touch()
        for path in (old, regular):
            os.utime(path, (1, 1))
        self.assertEqual(self.directory.names(), [])
        self.assertEqual(sorted(os.listdir(self.path)), [young.name, regular.name])

    @unittest.skipUnless(os.uname().sysname == "Linux", "other systems refuse where the queue is full")
    def test_a_queue_that_is_full_is_for_later(self) -> None:
        """Where too many wait to be accepted a connection can be had later."""
        with mock.patch("syncws._bus.localdirectory._BACKLOG", 0):
            self.listen()
        with self.directory.connect(NAME), self.assertRaises(OSError) as caught:
            self.directory.connect(NAME)
        self.assertTrue(is_for_later(caught.exception))


class NameTests(unittest.TestCase):
    def test_names(self) -> None:
        """A name has the pid and the node of its process."""
        self.assertTrue(is_name(NAME))
        self.assertEqual((pid_of(NAME), node_of(NAME)), ("4711", "00c0ffee00c0ffee"))
        for text in ("", "4711", "4711-", f"{NAME}\n", f" {NAME}", f"{NAME}0", "-00c0ffee00c0ffee", "../a-b"):
            self.assertFalse(is_name(text), text)


if __name__ == "__main__":
    unittest.main()
