"""Sockets that listen, the file of a Unix socket, and what an error of accept() means.

`Server` runs the accept loop over these. The functions are for any thread.
"""

from __future__ import annotations

import errno
import os
import socket
import stat
from collections.abc import Iterator
from contextlib import suppress
from typing import Any, Literal

#: How many connections the system may complete before they are accepted; it lowers that to its own limit.
BACKLOG = 2048

Verdict = Literal["next", "pause", "closed"]


def _errnos(*names: str) -> Iterator[int]:
    """The numbers of those names that this system has."""
    return (getattr(errno, name) for name in names if hasattr(errno, name))


#: What an error of accept() means (accept(2), "Error handling", and what the systems add to it).
#:
#: "next": it concerns one connection, which has gone before it was accepted. Linux also reports here what the network
#:     has already said about the new socket. EPERM is a firewall rule. The listener is well: accept the next one.
#: "pause": the process or the system is out of descriptors or memory. The connection stays in the queue, so another
#:     accept at once would spin; there may be room when another connection has ended.
#: "closed": the listener is closed: the end, if this server is shutting down, and else a defect.
#:
#: Any other error is a defect. Defects are raised.
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


#: What binding an IPv6 address means where IPv6 is switched off.
_NO_IPV6 = frozenset(_errnos("EAFNOSUPPORT", "EADDRNOTAVAIL", "EPROTONOSUPPORT"))


def listen_tcp(host: str | None, port: int) -> socket.socket:
    """Listen on a name or address and a port; port 0 lets the system choose one.

    None: on every address of this machine, of IPv6 and of IPv4, where the system has both.

    Raises TypeError or ValueError for what is no host or port; OSError, with a note that says what host is to be.
    """
    if host is not None and not isinstance(host, str):
        raise TypeError(f"host must be a str or None, not {host!r}: Server(handler, host, port)")
    if isinstance(port, bool) or not isinstance(port, int):
        raise TypeError(f"port must be an integer, not {port!r}")
    if not 0 <= port <= 65535:
        raise ValueError(f"port must be 0 (the system chooses) to 65535, not {port!r}")
    if host is None:
        return _listen_everywhere(port)
    try:
        found = socket.getaddrinfo(host or None, port, type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE)
    except (socket.gaierror, UnicodeError) as exc:  # UnicodeError: not a possible name
        error = exc if isinstance(exc, socket.gaierror) else socket.gaierror(socket.EAI_NONAME, "Name not known")
        error.add_note(f"host is {host!r}: a name or address alone, without scheme, brackets and port")
        raise error from None
    # A name with addresses of both families ("localhost") is IPv4, as in Go: every client tries that.
    family, _, _, _, address = min(found, key=lambda info: info[0] != socket.AF_INET)
    return socket.create_server(address, family=family, backlog=BACKLOG)


def _listen_everywhere(port: int) -> socket.socket:
    """One socket for both families; for IPv4 alone where the system has no such socket, or no IPv6."""
    if socket.has_dualstack_ipv6():
        try:
            return socket.create_server(("::", port), family=socket.AF_INET6, backlog=BACKLOG, dualstack_ipv6=True)
        except OSError as exc:
            if exc.errno not in _NO_IPV6:
                raise
    return socket.create_server(("0.0.0.0", port), backlog=BACKLOG)


def listen_unix(path: str) -> socket.socket:
    """Listen on a Unix socket. A socket file that nobody listens on is replaced; nothing else is.

    Raises OSError that names the path. (Of two servers that replace the same file in the same instant, the later has
    it: the system has no call that looks and replaces in one step.)
    """
    _remove_stale(path)
    sock = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
    try:
        sock.bind(path)
        sock.listen(BACKLOG)
    except BaseException as exc:
        sock.close()
        if isinstance(exc, OSError):  # bind does not say which path
            exc.add_note(f"unix_path is {path!r}")
            if exc.errno:  # else its text alone says what is wrong, and a file's name would replace that
                exc.filename = path
        raise
    return sock


def _remove_stale(path: str) -> None:
    """Remove a socket file that a dead server left behind."""
    try:
        if not stat.S_ISSOCK(os.stat(path).st_mode):
            return  # another kind of file stays: bind says that the path is taken
    except (OSError, ValueError):  # nothing there, or an abstract name of Linux
        return
    with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as probe:
        probe.setblocking(False)  # where the backlog is full a connect would wait; it proves that somebody listens
        if probe.connect_ex(path) == errno.ECONNREFUSED:
            os.unlink(path)


def check_listener(listener: Any) -> None:
    """Raise TypeError or ValueError unless it is a socket that listens."""
    if not hasattr(listener, "accept"):
        raise TypeError(f"listener must be a socket that listens, not {listener!r}")
    if isinstance(listener, socket.socket) and listener.fileno() < 0:
        raise ValueError("listener is closed: a Server closes the one that it was given, so give each a new one")
    if isinstance(listener, socket.socket) and not listener.getsockopt(socket.SOL_SOCKET, socket.SO_ACCEPTCONN):
        raise ValueError(f"listener does not listen yet: call its listen(), or use socket.create_server: {listener!r}")


class SocketFile:
    """The file of a Unix socket: removed at the end, unless another server has replaced it.

    Concurrency: for one thread at a time.
    """

    def __init__(self, path: str) -> None:
        self._path = path
        self._process = os.getpid()
        self._identity = self._look()

    def _look(self) -> tuple[int, int] | None:
        """Which file stands there now; None for none."""
        try:
            status = os.stat(self._path)
        except (OSError, ValueError):  # ValueError: an abstract name of Linux
            return None
        return status.st_dev, status.st_ino

    def remove(self) -> None:
        """Remove the file if it is still the same one. Idempotent; never raises. Not in the child of a fork."""
        if self._process == os.getpid() and self._identity is not None and self._look() == self._identity:
            with suppress(OSError):
                os.unlink(self._path)
        self._identity = None
