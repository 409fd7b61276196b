"""How a client reaches a server: TCP with happy eyeballs (RFC 8305), Unix sockets; the counterpart of `listener`.

Every wait belongs to an `Attempt`, so it ends for one of three reasons: what it waits for, the deadline, or `stop`:

* **A lookup** goes on, since the system does not let it be interrupted: it has a thread of its own, which ends with it.
  Only the wait for its answer ends.
* **A connect** over TCP is polled together with a `Waker`. One to a Unix socket can only block, so it blocks in short
  slices.
"""

from __future__ import annotations

import contextlib
import errno
import math
import os
import queue
import selectors
import socket
import struct
import threading
import time
from collections import deque
from itertools import chain, zip_longest
from typing import Any, NamedTuple

from .._base.copies import copy_of
from .._base.printable import printable
from .._base.waker import Waker
from .attempt import Attempt, Stopped
from .waits import LONGEST_WAIT

#: RFC 8305 section 5, "Connection Attempt Delay": seconds until the next address is tried beside the last.
CONNECTION_ATTEMPT_DELAY = 0.25

#: Seconds of a slice: a Unix socket whose backlog is full can be waited for, but not together with anything else.
_UNIX_LOOK = 0.1

#: What connect_ex says of a connection that is under way; Windows says EWOULDBLOCK.
_UNDER_WAY = (errno.EINPROGRESS, errno.EWOULDBLOCK, errno.EINTR)

#: The process or the system is out of descriptors: no other address will do better.
_SHORTAGES = (errno.EMFILE, errno.ENFILE)


def connect_tcp(host: str, port: int, attempt: Attempt) -> socket.socket:
    """A socket, blocking, connected to the first of the host's addresses that answers.

    Raises socket.gaierror, which names it, if there is no such host; else the OSError of the first address that failed,
    which names all of them; TimeoutError; Stopped. No socket is open after that.
    """
    addresses = _interleaved(_look_up(host, port, attempt))
    with contextlib.closing(Waker()) as waker, selectors.DefaultSelector() as selector:
        selector.register(waker, selectors.EVENT_READ)
        with contextlib.closing(_Race(host, port, addresses, attempt, selector)) as race:
            with attempt.interruptible(waker.wake):
                return race.run()


def connect_unix(path: str, attempt: Attempt) -> socket.socket:
    """A socket, blocking, connected to a Unix socket's path. Raises OSError that names it, TimeoutError, Stopped."""
    if not hasattr(socket, "AF_UNIX"):  # pragma: no cover - Windows
        raise OSError(errno.EAFNOSUPPORT, "this Python knows no Unix sockets")
    doing = f"connecting to the Unix socket {path!r}"
    sock = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
    try:
        sock.setblocking(True)  # whatever socket.setdefaulttimeout says
        # A full backlog is waited for by a blocking connect alone: a non-blocking one fails, and nothing tells when to
        # try again (connect(2), EAGAIN).
        while not _is_connected(sock, path, attempt.remaining(doing)):
            pass
        _set_send_timeout(sock, 0)
    except BaseException as error:
        sock.close()
        if isinstance(error, OSError) and not isinstance(error, TimeoutError):
            _name_path(error, path)
        raise
    return sock


def _is_connected(sock: socket.socket, path: str, left: float | None) -> bool:
    """Wait for a place in the backlog, for a moment only; whether there was one."""
    _set_send_timeout(sock, _UNIX_LOOK if left is None else min(_UNIX_LOOK, left))
    try:
        sock.connect(path)
        # After a signal Python takes the socket, which can be written to, for connected.
        sock.getpeername()
    except OSError as error:
        if error.errno in (errno.EAGAIN, errno.ENOTCONN):
            return False
        raise
    return True


def _set_send_timeout(sock: socket.socket, seconds: float) -> None:
    """Set the kernel's own limit for a blocking connect, in seconds, of less than one; 0 is no limit."""
    microseconds = max(1, int(seconds * 1e6)) if seconds else 0
    sock.setsockopt(socket.SOL_SOCKET, socket.SO_SNDTIMEO, struct.pack("ll", 0, microseconds))


def _name_path(error: OSError, path: str) -> None:
    """Put the path into an error of the system's, which does not say it."""
    if error.errno:
        error.filename = path
    else:  # its text alone tells, which a file's name would replace
        error.add_note(f"unix_path is {path!r}")


# Names


class _Address(NamedTuple):
    """What getaddrinfo says of one address."""

    family: socket.AddressFamily
    kind: socket.SocketKind
    protocol: int
    canonical: str
    sockaddr: Any

    def __str__(self) -> str:
        return str(self.sockaddr[0])


def _look_up(host: str, port: int, attempt: Attempt) -> list[_Address]:
    """The addresses of a host, in the system's order of preference (RFC 6724)."""
    try:
        found = _look_up_address(host, port) or _look_up_name(host, port, attempt)
        if not found:
            raise socket.gaierror(socket.EAI_NONAME, "Name has no address")
        return found
    except (socket.gaierror, UnicodeError) as error:  # UnicodeError: not a possible name, such as "a..b"
        raise _lookup_failed(host, error) from None


def _lookup_failed(host: str, error: socket.gaierror | UnicodeError) -> socket.gaierror:
    """The error of a lookup, with the host in its text: the system's does not say it."""
    number, told = socket.EAI_NONAME, "Name not known"
    if isinstance(error, socket.gaierror) and error.errno is not None:
        number, told = error.errno, error.strerror or told
    found = socket.gaierror(number, f"{told} (looking up {printable(host)})")
    found.add_note(f"host is {host!r}: a name that this machine can look up, or an address")
    return found


def _look_up_address(host: str, port: int) -> list[_Address]:
    """The address that host spells out; empty if it is a name. Nobody is asked, so it takes no time."""
    try:
        return _addresses(host, port, socket.AI_NUMERICHOST)
    except socket.gaierror:
        return []


def _look_up_name(host: str, port: int, attempt: Attempt) -> list[_Address]:
    """The addresses of a name, asked for in a thread that is left alone when the attempt ends first."""
    answers: queue.SimpleQueue[list[_Address] | Exception] = queue.SimpleQueue()

    def look_up() -> None:
        try:
            answers.put(_addresses(host, port, 0))
        except Exception as error:
            answers.put(error)

    doing = f"looking up {host}"
    with attempt.interruptible(lambda: answers.put(Stopped())):
        attempt.remaining(doing)  # raises if the time is over already: then there is nothing to begin
        try:
            threading.Thread(target=look_up, name="syncws-lookup", daemon=True).start()
        except RuntimeError:  # no thread is to be had: then this one waits as long as the lookup takes
            look_up()
        answer = None
        while answer is None:
            left = attempt.remaining(doing)
            with contextlib.suppress(queue.Empty):
                answer = answers.get(timeout=None if left is None else min(left, LONGEST_WAIT))
    if isinstance(answer, Exception):
        raise copy_of(answer)  # another thread has raised it
    return answer


def _addresses(host: str, port: int, flags: int) -> list[_Address]:
    return [_Address(*found) for found in socket.getaddrinfo(host, port, type=socket.SOCK_STREAM, flags=flags)]


def _interleaved(addresses: list[_Address]) -> list[_Address]:
    """Families take turns, the preferred one first (RFC 8305 section 4); nothing twice."""
    first = [address for address in addresses if address.family == addresses[0].family]
    others = [address for address in addresses if address.family != addresses[0].family]
    turns = chain.from_iterable(zip_longest(first, others))
    return list(dict.fromkeys(address for address in turns if address is not None))


# Connecting


class _Race:
    """Connects to several addresses. Each begins a moment after the one before, or once that failed; the first wins.

    Concurrency: for one thread; the attempt's `stop` wakes it.
    """

    def __init__(
        self, host: str, port: int, addresses: list[_Address], attempt: Attempt, selector: selectors.BaseSelector
    ) -> None:
        self._doing = f"connecting to {host} port {port}"
        self._attempt = attempt
        self._waiting = deque(addresses)
        self._next_at = -math.inf  # when the next of them may start
        self._failures: list[tuple[_Address, OSError]] = []
        self._selector = selector  # it has the waker already

    def run(self) -> socket.socket:
        """The winner's socket. Raises what `connect_tcp` does."""
        while self._waiting or self._under_way():
            left = self._attempt.remaining(self._doing)
            winner = self._start_next() if self._may_start() else self._wait(left)
            if winner is not None:
                return self._taken(winner)
        raise self._all_failed()

    def close(self) -> None:
        """Close all that did not win."""
        for key in list(self._selector.get_map().values()):
            if isinstance(key.fileobj, socket.socket):
                key.fileobj.close()

    def _under_way(self) -> bool:
        return len(self._selector.get_map()) > 1  # the waker is always there

    def _may_start(self) -> bool:
        return bool(self._waiting) and (not self._under_way() or time.monotonic() >= self._next_at)

    def _start_next(self) -> socket.socket | None:
        """Begin to connect to the next address; its socket, if it is connected at once."""
        address = self._waiting.popleft()
        self._next_at = time.monotonic() + CONNECTION_ATTEMPT_DELAY
        try:
            sock = socket.socket(address.family, address.kind, address.protocol)
        except OSError as error:  # the machine may not speak this family
            if error.errno in _SHORTAGES:
                raise
            self._failed(address, error)
            return None
        try:
            sock.setblocking(False)
            self._selector.register(sock, selectors.EVENT_WRITE, address)  # before it connects: `close` finds it there
        except BaseException:
            sock.close()
            raise
        number = sock.connect_ex(address.sockaddr)
        return None if number in _UNDER_WAY else self._judge(sock, address, number)

    def _wait(self, left: float | None) -> socket.socket | None:
        """Wait until something is decided, or the next address may start; the winner, if there is one."""
        wait = LONGEST_WAIT if left is None else min(left, LONGEST_WAIT)
        if self._waiting:
            wait = min(wait, max(0.0, self._next_at - time.monotonic()))
        for key, _events in self._selector.select(wait):
            sock = key.fileobj
            if not isinstance(sock, socket.socket):
                continue  # the waker: the next look at the clock raises Stopped
            winner = self._judge(sock, key.data, sock.getsockopt(socket.SOL_SOCKET, socket.SO_ERROR))
            if winner is not None:
                return winner
        return None

    def _judge(self, sock: socket.socket, address: _Address, number: int) -> socket.socket | None:
        """The socket, if it is connected; else it is one more failure."""
        number = number or _find_fault(sock)
        if number == 0:
            return sock
        self._selector.unregister(sock)
        sock.close()
        self._failed(address, OSError(number, os.strerror(number)))
        return None

    def _failed(self, address: _Address, error: OSError) -> None:
        """Keep what became of an address; the next one may start at once."""
        self._failures.append((address, error))
        self._next_at = -math.inf

    def _taken(self, winner: socket.socket) -> socket.socket:
        """The winner, blocking, and out of the selector, so that `close` leaves it open."""
        winner.setblocking(True)
        self._selector.unregister(winner)
        return winner

    def _all_failed(self) -> OSError:
        """The first failure, and what became of the others; a subclass of OSError by its number."""
        first = self._failures[0][1]
        told = first.strerror
        if len(self._failures) > 1:
            told = "; ".join(f"{address}: {error.strerror}" for address, error in self._failures)
        return OSError(first.errno, f"{told} ({self._doing})")


def _find_fault(sock: socket.socket) -> int:
    """The error number of a connection of which the system reports no error; 0 for a good one."""
    try:
        # Where nobody listens, and the system happens to choose the port that we connect to for our end, TCP connects
        # the socket to itself (RFC 9293 section 3.5, simultaneous open).
        return errno.ECONNREFUSED if sock.getpeername() == sock.getsockname() else 0
    except OSError as error:  # over already; or it never began: Linux says EAGAIN when it is out of ports
        return error.errno or errno.ENOTCONN
