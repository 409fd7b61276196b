"""What listens: sockets that are bound, the file of a Unix socket, and what an error of accept() means.

`Server` runs the accept loop over these. Concurrency stands on each class; the functions are for any thread.
"""

from __future__ import annotations

import errno
import os
import socket
import stat
from collections.abc import Iterator
from contextlib import suppress
from typing import Any, Literal

#: Connections that the system may complete before they are accepted; the system lowers it to its own limit.
_BACKLOG = 2048

Verdict = Literal["next", "pause", "closed"]


def _errnos(*names: str) -> Iterator[int]:
    """The numbers of those names that this system has."""
    return (getattr(errno, name) for name in names if hasattr(errno, name))


#: What an error of accept() means (accept(2), "Error handling", and what the systems add to it).
#:
#: "next":  it concerns one connection, which was gone before it was ours; Linux also hands out here what the network
#:          has already reported for the new socket. EPERM is a firewall rule. The listener is well.
#: "pause": the process or the system is out of descriptors or memory. The connection stays in the queue, so going on
#:          at once would spin; it may get better when another connection ends.
#: "closed": the listener is gone: the end, if this server is shutting down.
#:
#: Anything else is a defect, and is raised, as is a listener that somebody else closed.
ACCEPT_ERRORS: dict[int, Verdict] = {
    **dict.fromkeys(
        _errnos(
            *("EAGAIN", "EWOULDBLOCK", "EINTR", "ECONNABORTED", "ECONNRESET", "EPERM", "EPROTO", "ENOPROTOOPT"),
            *("EOPNOTSUPP", "ETIMEDOUT", "ENETDOWN", "ENETUNREACH", "EHOSTDOWN", "EHOSTUNREACH", "ENONET"),
            *("ESOCKTNOSUPPORT", "EPROTONOSUPPORT"),
        ),
        "next",
    ),
    **dict.fromkeys(_errnos("EMFILE", "ENFILE", "ENOBUFS", "ENOMEM", "ENOSR"), "pause"),
    **dict.fromkeys(_errnos("EBADF", "EINVAL", "ENOTSOCK"), "closed"),
}


def listen_tcp(host: str, port: int) -> socket.socket:
    """Listen on a name or address and a port. Raises TypeError, ValueError; OSError with a note on what is wrong."""
    if host is not None and not isinstance(host, str):
        raise TypeError(f"host must be a str, not {host!r}: Server(handler, host, port)")
    if isinstance(port, bool) or not isinstance(port, int):
        raise TypeError(f"port must be an integer, not {port!r}")
    if not 0 <= port <= 65535:
        raise ValueError(f"port must be 0 (the system chooses) to 65535, not {port!r}")
    try:
        found = socket.getaddrinfo(host or None, port, type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE)
    except (socket.gaierror, UnicodeError) as exc:  # UnicodeError: what cannot be a name
        error = exc if isinstance(exc, socket.gaierror) else socket.gaierror(socket.EAI_NONAME, "Name not known")
        error.add_note(f"host is {host!r}: a name or address alone, without scheme, brackets and port")
        raise error from None
    # As Go does for a name with both ("localhost"): IPv4, which every client of it tries.
    family, _, _, _, address = min(found, key=lambda info: info[0] != socket.AF_INET)
    return socket.create_server(address, family=family, backlog=_BACKLOG)


def listen_unix(path: str) -> socket.socket:
    """Listen on a Unix socket. Only a socket file that nobody listens on is replaced."""
    _remove_stale(path)
    sock = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
    try:
        sock.bind(path)
        sock.listen(_BACKLOG)
    except BaseException as exc:
        sock.close()
        if isinstance(exc, OSError):  # bind does not say which path
            exc.add_note(f"unix_path is {path!r}")
            if exc.errno:  # else its text alone tells, which a file's name would replace
                exc.filename = path
        raise
    return sock


def _remove_stale(path: str) -> None:
    """Remove a socket file that a dead server left behind."""
    try:
        if not stat.S_ISSOCK(os.stat(path).st_mode):
            return  # somebody's file: bind says that the path is taken
    except (OSError, ValueError):  # nothing there, or an abstract name of Linux
        return
    with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as probe:
        probe.setblocking(False)  # a full backlog would make us wait, and proves that somebody listens
        if probe.connect_ex(path) == errno.ECONNREFUSED:
            os.unlink(path)


def check_listener(listener: Any) -> None:
    """Raise TypeError or ValueError unless it is a socket that listens."""
    if not hasattr(listener, "accept"):
        raise TypeError(f"listener must be a socket that listens, not {listener!r}")
    if isinstance(listener, socket.socket) and not listener.getsockopt(socket.SOL_SOCKET, socket.SO_ACCEPTCONN):
        raise ValueError(f"listener does not listen yet: call its listen(), or use socket.create_server: {listener!r}")


class SocketFile:
    """The file of a Unix socket: removed at the end, unless another server has replaced it."""

    def __init__(self, path: str) -> None:
        self._path = path
        self._identity = self._look()

    def _look(self) -> tuple[int, int] | None:
        try:
            status = os.stat(self._path)
        except (OSError, ValueError):  # ValueError: an abstract name of Linux
            return None
        return status.st_dev, status.st_ino

    def remove(self) -> None:
        if self._identity is not None and self._look() == self._identity:
            with suppress(OSError):
                os.unlink(self._path)
        self._identity = None
