"""The directory of a local bus: a Unix socket of each process, by which the others find it.

    4711-00c0ffee00c0ffee.sock      <pid>-<node>.sock: a process that listens
    .4711-00c0ffee00c0ffee.sock     the same, for the moment until it does

Who may write here may speak to every member, and who may read here may listen to them: so the directory is this user's
alone, and where the system tells whose a connection is, it is asked as well.

**A file that can be seen listens.** It is bound under a hidden name, listens, and is renamed then. So a socket that
refuses a connection was left behind by a process that is gone, and may be removed. Nothing else here is ever removed:
a regular file of such a name refuses connections too.
"""

from __future__ import annotations

import contextlib
import errno
import os
import re
import socket
import stat
import struct
import time

#: Bytes that the path of a socket may have: the systems take 103 to 107.
MOST_PATH = 100

#: The name of a process that listens: its pid, which is for whoever reads the directory, and its node.
_NAME = re.compile(r"[0-9]{1,7}-[0-9a-f]{16}")

_ENDING = ".sock"

#: Bytes of the longest name of a file here: a hidden one.
_LONGEST = len(".") + 7 + len("-") + 16 + len(_ENDING)

#: How many connections the system may complete before they are accepted; it lowers that to its own limit.
_BACKLOG = 1024

#: Seconds after which a hidden socket was left behind: it takes some microseconds until it is renamed.
_UNFINISHED = 60.0

#: What an error of connect() means that has its reason in this process, and passes.
_NO_ROOM = (errno.EMFILE, errno.ENFILE, errno.ENOBUFS, errno.ENOMEM)

#: What SO_PEERCRED gives on Linux: pid, user, group.
_CREDENTIALS = struct.Struct("3i")


class LocalDirectory:
    """Where the processes of one user and one host find each other. Immutable; any thread, any process.

    Args:
        path: an absolute path, or one from the directory that the program is in now.

    Raises:
        TypeError: it is no path.
        ValueError: it is too long for sockets in it.
        RuntimeError: this system has no Unix sockets.
    """

    def __init__(self, path: str | os.PathLike[str]) -> None:
        if not hasattr(socket, "AF_UNIX"):
            raise RuntimeError(
                "LocalBackplane needs Unix sockets, which Python has not on this system: use RedisBackplane"
            )
        if not isinstance(path, str | os.PathLike) or not isinstance(os.fspath(path), str):
            raise TypeError(f"path is a str or a path, of a directory for this program alone, not {path!r}")
        if not os.fspath(path) or "\0" in os.fspath(path):
            raise ValueError(f"path is that of a directory, not {path!r}")
        self.path = os.path.abspath(path)  # the program may change its directory
        most = MOST_PATH - _LONGEST - len("/")
        if len(os.fsencode(self.path)) > most:
            raise ValueError(
                f"the path of a Unix socket has at most {MOST_PATH} bytes, so that of its directory at most {most}: "
                f"{self.path!r} has {len(os.fsencode(self.path))}"
            )

    def check(self) -> None:
        """Raise PermissionError unless the directory is this user's alone; OSError if it is not there, or is another
        kind of file. The text names it, and what to do."""
        status = os.lstat(self.path)  # not through a link: somebody else may have put one where everybody may write
        if not stat.S_ISDIR(status.st_mode):
            raise NotADirectoryError(errno.ENOTDIR, "not a directory", self.path)
        if status.st_uid != os.geteuid():
            raise PermissionError(
                errno.EPERM, f"a directory of user {status.st_uid}, and this process is of {os.geteuid()}", self.path
            )
        if stat.S_IMODE(status.st_mode) & 0o077:
            raise PermissionError(
                errno.EPERM, "others than its owner may use this directory: make it 0700, or name one inside", self.path
            )

    def prepare(self) -> None:
        """Make the directory if it is not there, and check it. Raises OSError; the text says what to do.

        Only the last part of the path is made: what is above it is somebody else's to make, and to give rights to.
        """
        parent = os.path.dirname(self.path)
        try:
            os.mkdir(self.path, 0o700)
        except FileExistsError:
            pass
        except FileNotFoundError:
            if os.path.isdir(parent):
                raise
            raise FileNotFoundError(
                errno.ENOENT,
                f"its parent {parent} is not there: make that first, for this user to write to (systemd: "
                f"RuntimeDirectory={os.path.basename(parent)}), or name another path",
                self.path,
            ) from None
        except PermissionError as error:
            raise PermissionError(
                error.errno,
                f"user {os.geteuid()} may not make a directory in {parent}: have that belong to this user, or name "
                "another path",
                self.path,
            ) from None
        self.check()

    def names(self) -> list[str]:
        """The names of all that listen here; some may be gone. Raises OSError.

        Hidden sockets that were left behind are removed on the way.
        """
        found = []
        for file in os.listdir(self.path):
            name = file.removesuffix(_ENDING)
            if name == file:
                continue
            if is_name(name):
                found.append(name)
            elif is_name(name.removeprefix(".")):
                self._remove_if_unfinished(file)
        return found

    def listen(self, name: str) -> socket.socket:
        """Listen under a name. Raises OSError."""
        hidden = os.path.join(self.path, f".{name}{_ENDING}")
        listener = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        try:
            listener.bind(hidden)
            os.chmod(hidden, 0o600)  # not needed in a directory that is 0700, and no harm
            listener.listen(_BACKLOG)
            listener.setblocking(False)
            os.rename(hidden, self._file(name))  # last: who sees it may connect, or take it for left behind
        except BaseException:
            listener.close()
            with contextlib.suppress(OSError):
                os.unlink(hidden)
            raise
        return listener

    def is_listed(self, name: str) -> bool:
        """Whether others can find it: programs that clean up temporary files may have removed it. Raises OSError."""
        try:
            return stat.S_ISSOCK(os.lstat(self._file(name)).st_mode)
        except FileNotFoundError:
            return False

    def unlist(self, name: str) -> None:
        """At the end of what listens here: nobody finds it any more. Never raises."""
        self._remove_socket(f"{name}{_ENDING}")

    def connect(self, name: str) -> socket.socket:
        """A connection to what listens under a name; it never blocks.

        Raises:
            ConnectionRefusedError: nobody listens; the socket that was left behind is removed.
            FileNotFoundError: it is gone.
            BlockingIOError: too many others wait to be accepted: later.
            PermissionError: it is another user's.
            OSError: it is no stream socket, or there is no descriptor.
        """
        connection = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        try:
            connection.setblocking(False)
            connection.connect(self._file(name))
            check_user(connection)
        except BaseException as error:
            connection.close()
            if isinstance(error, ConnectionRefusedError):
                self._remove_socket(f"{name}{_ENDING}")
            raise
        return connection

    def _file(self, name: str) -> str:
        return os.path.join(self.path, f"{name}{_ENDING}")

    def _remove_if_unfinished(self, file: str) -> None:
        with contextlib.suppress(OSError):
            if time.time() - os.lstat(os.path.join(self.path, file)).st_mtime > _UNFINISHED:
                self._remove_socket(file)

    def _remove_socket(self, file: str) -> None:
        path = os.path.join(self.path, file)
        with contextlib.suppress(OSError):
            if stat.S_ISSOCK(os.lstat(path).st_mode):
                os.unlink(path)


def is_name(text: str) -> bool:
    """Whether it is the name of a process on a local bus."""
    return _NAME.fullmatch(text) is not None


def node_of(name: str) -> str:
    """The node in a name."""
    return name.rpartition("-")[2]


def pid_of(name: str) -> str:
    """The pid in a name."""
    return name.partition("-")[0]


def check_user(connection: socket.socket) -> None:
    """Raise PermissionError if the other end is another user's. Where the system does not tell, only the directory's
    permissions keep others out."""
    option = getattr(socket, "SO_PEERCRED", None)
    if option is None:  # pragma: no cover - not Linux
        return
    _pid, user, _group = _CREDENTIALS.unpack(connection.getsockopt(socket.SOL_SOCKET, option, _CREDENTIALS.size))
    if user != os.geteuid():
        raise PermissionError(errno.EPERM, f"the other end is of user {user}, and this process is of {os.geteuid()}")


def is_for_later(error: OSError) -> bool:
    """Whether a connection that failed so can be had later: many wait to be accepted, or there is no descriptor."""
    return isinstance(error, BlockingIOError | InterruptedError) or error.errno in _NO_ROOM
