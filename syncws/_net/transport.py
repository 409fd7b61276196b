"""A connected socket, plain TCP or Unix: reading and writing with deadlines. `tls` builds on it.

Each direction has its own deadline, and no wait of one disturbs the other:

* **Reading** blocks in the kernel: one `recv` a message and nothing else. The kernel's receive timeout is only a
  tick that lets the caller look at its clock; it is set again only when the wait differs from the last one. (A socket
  of a server has it from its listener, and a wait that comes only once is done by poll: see `accepted`.)
* **Writing** first tries without waiting, which nearly always takes everything: one system call. What is left waits
  for the socket with poll, under the deadline, and under a stall limit that any byte of progress renews.

A frame that was cut short lives on as the *rest*, and nothing may pass it: whoever writes sends the rest first. An
exception between a system call and the count of what it took, be it a KeyboardInterrupt, leaves the stream *torn*:
nobody knows how much of the frame the peer has, so nothing may follow. Of a read see `_base.interrupts`: an exception
that ends a wait without a byte is marked here, and only that.

What one write leaves behind, in four states that the fields `rest`, `kept` and `torn` tell apart:

| state | rest | torn | the next write |
|---|---|---|---|
| clear | None | no | leaves at once, if the socket has room |
| cut short | bytes | no | sends the rest first |
| kept | bytes, not tried yet | no | takes them along |
| torn | any | yes | must not come: the caller has stored the connection's end |

Waking: `shutdown` wakes every thread that waits here. `close` wakes nobody and gives the fd's number to the next
socket, so only a caller that knows no other thread is inside a receive or a send may call it.

Where the platform lacks a per-call non-blocking flag or a kernel timeout (Windows), the socket is non-blocking and
reads wait with poll too. The same holds in a process that gevent or eventlet has patched, whose poll is theirs.
"""

from __future__ import annotations

import contextlib
import math
import os
import socket
import struct
import sys
import threading
import time
from collections.abc import Callable
from typing import Any

from .._base.forks import this_process
from .._base.green import is_green
from .._base.interrupts import spare
from ..errors import WriteTimeout
from .address import Address, ask_address
from .tcpinfo import acknowledged, has_peer_ended, tcp_totals, unacknowledged_for
from .waits import LONGEST_WAIT, Pace, Progress, has_hung_up, wait_for

try:  # Linux: bytes in the socket's send queue, which fall while a slow peer reads
    import fcntl
    from termios import TIOCOUTQ
except ImportError:  # pragma: no cover - not there on Windows
    fcntl = None  # type: ignore[assignment]

#: Whether `recv` can block with a timeout of the kernel while `send` does not block at all.
KERNEL_WAITS = sys.platform != "win32" and hasattr(socket, "MSG_DONTWAIT")


#: Seconds that reads wait at a time mostly: while the peer is not pinged more often than by default. See `accepted`.
USUAL_WAIT = 20.0

_SENDMSG = hasattr(socket.socket, "sendmsg")

#: Bytes of frames that are kept for the next one, at most. They are joined for the call that sends them: 16 KiB are
#: copied in the time that a system call takes.
MOST_KEPT = 1 << 14

#: Python's own class: a library that puts its own in its place does it for a reason.
_SOCKET = socket.socket

Buffer = bytes | memoryview


class Transport:
    """A connected stream socket. See `TLSTransport` for TLS.

    Args:
        sock: a connected socket, this object's from now on.
        kernel_waits: whether reads may wait in the kernel; None: where the system can, in a process that neither gevent
            nor eventlet has patched.
        local_address, remote_address: the socket's addresses, where the caller knows them; None: asked for.
        prepared: whether the socket has from its listener what is set here otherwise: see `accepted`.

    Concurrency: one thread may receive while another sends, one of each at a time (the callers' locks see to that);
    `shutdown` and `shutdown_read` are for any thread at any time.
    """

    is_tls = False

    #: Whether a close leaves the wait for the peer's end of TCP to a timer, since its own thread may be a server's.
    lingers_behind = False

    #: Bytes of frames that nobody has tried to send yet; 0: none. The rest stands for them. Guarded by the frame lock,
    #: and read without it as the rest is: by who has kept them, and by those who send them then.
    kept = 0
    _frames: list[bytes]  # those that are kept; guarded by the frame lock

    #: After a `receive` that gave None: whether bytes came all the same, too few to decrypt (under TLS).
    heard_part = False

    def __init__(
        self,
        sock: socket.socket,
        *,
        kernel_waits: bool | None = None,
        local_address: Address | None = None,
        remote_address: Address | None = None,
        prepared: bool = False,
    ) -> None:
        self._process = this_process()
        if kernel_waits is None:
            kernel_waits = KERNEL_WAITS and not is_green()
        self.socket = sock
        # An address that the caller knows is not asked for: each of these calls hands the GIL to another thread, if one
        # waits for it.
        self.local_address = ask_address(sock.getsockname) if local_address is None else local_address
        self.remote_address = ask_address(sock.getpeername) if remote_address is None else remote_address
        # An application's socket.setdefaulttimeout() reaches accepted sockets, and makes the fd non-blocking.
        if not (kernel_waits and _is_blocking(sock, prepared)):
            sock.setblocking(kernel_waits)
        self._kernel_waits = kernel_waits
        # A host that embeds Python may not ignore SIGPIPE, as Python by itself does.
        self._send_flags = getattr(socket, "MSG_NOSIGNAL", 0) | (socket.MSG_DONTWAIT if kernel_waits else 0)
        # The kernel's receive timeout as last set. NaN, which equals nothing, where it is not known.
        self._tick: float | None = USUAL_WAIT if prepared and kernel_waits else math.nan
        self._latest_wait: float | None = math.nan  # of the latest read that waited for something else
        self._is_prepared = prepared
        #: What is left of a frame cut short; None, and never empty, where there is nothing. Guarded by the caller's
        #: frame lock. Its truth is also read without: it is one reference, and whoever stores one holds the frame lock,
        #: and looks again after letting it go.
        self.rest: memoryview | None = None
        self._sent = 0  # bytes that the kernel took; guarded by the frame lock. Others read one int, which only grows
        #: Part of a frame is on the wire whose sender was told that it failed: nothing may follow it. Guarded by the
        #: frame lock; it never goes back, so one that finds it set without the lock may rely on that.
        self.torn = False
        self._ending = threading.Lock()  # a leaf; never held across a wait
        self._closed = False  # guarded by _ending; never goes back
        self._is_half_closed = False  # the peer was told that no more bytes come; guarded by the frame lock
        # Not asked of sock.family: making an enum of it is the deepest call of a connection's thread, and costs its
        # stack a page for as long as it lives.
        if isinstance(self.local_address, tuple) and not prepared:
            with contextlib.suppress(OSError):  # another family may know no TCP
                sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)

    @property
    def waits_in_kernel(self) -> bool:
        """Whether a thread that reads waits in the kernel: neither on Windows nor where threads are greenlets."""
        return self._kernel_waits

    @property
    def is_direct(self) -> bool:
        """Whether `receive_by` and `send_by` may be used: a read, and a write, are one call of the system and no more.

        Not so under TLS, in a process that gevent or eventlet has patched, and for what is no socket of Python's own.
        """
        kind = type(self)
        plain = kind.receive is Transport.receive and kind.send is Transport.send
        return plain and self._kernel_waits and type(self.socket) is _SOCKET

    def fileno(self) -> int:
        """The socket's file descriptor; -1 once closed."""
        return self.socket.fileno()

    def handshake(self, deadline: float | None, stall: float | None = None) -> None:
        """Agree on TLS where there is any, before deadline, an instant of time.monotonic().

        stall is how many seconds may pass without any progress; None: any. Raises TimeoutError, and OSError, which
        ssl.SSLError is.
        """

    # Reading

    def receive(self, size: int, wait: float | None) -> bytes | None:
        """Up to size bytes; b"" at the end of the stream; None when nothing came within wait seconds.

        A wait of None has no limit. A signal whose handler returns makes a wait start again. Raises OSError.
        """
        if wait != self._tick:
            if self._is_prepared and wait != self._latest_wait:
                return self._receive_once(size, wait)
            self._set_tick(wait)
        came: list[bytes] = []
        try:
            # In one step of C, without a gap for a signal's handler: what was received is in the list.
            came.extend(map(self.socket.recv, (size,)))
        except BlockingIOError:
            if self._kernel_waits or not self._wait_readable(wait):
                return None
            return self._receive_ready(size)
        except BaseException as error:
            if not came:
                spare(error)
            raise
        return came[0]

    def _receive_once(self, size: int, wait: float | None) -> bytes | None:
        """As `receive`, for a wait that may not come again, such as the time left until a deadline.

        What is there is taken without setting anything; else it is waited for by poll.
        """
        self._latest_wait = wait
        data = Transport.receive_now(self, size)
        return Transport.receive_now(self, size) if data is None and self._wait_readable(wait) else data

    def receive_by(
        self,
        call: Callable[[int, int, int, int | None], Any],
        size: int,
        wait: float | None,
        mask_bit: int,
        limit: int | None,
    ) -> Any:
        """As `receive`, by one call that also decodes what comes.

        It gets the descriptor, size, mask_bit (which the frames that come must have) and limit (the read limit, in
        bytes); what it returns is returned. What it raises in place of waiting on is marked (`spare`). The descriptor
        is asked for each time: -1, once closed, is never the number of another socket.
        """
        if wait != self._tick:
            self._set_tick(wait)
        return call(self.socket.fileno(), size, mask_bit, limit)

    def receive_now(self, size: int) -> bytes | None:
        """As `receive`, of what is there already; the kernel's timeout stays as the next read wants it."""
        try:
            return self.socket.recv(size, socket.MSG_DONTWAIT) if self._kernel_waits else self.socket.recv(size)
        except BlockingIOError:
            return None

    def is_at_end(self) -> bool:
        """Whether the peer is known to send no more: what lies in the socket is all that will come. Never waits."""
        ended = has_peer_ended(self.socket)
        return has_hung_up(self.socket) if ended is None else ended

    def receive_into(self, view: memoryview, wait: float | None) -> int | None:
        """As `receive`, into a view of a buffer: the number of bytes, 0 at the end of the stream."""
        if wait != self._tick:
            self._set_tick(wait)
        came: list[int] = []
        try:
            came.extend(map(self.socket.recv_into, (view,)))  # as in receive
        except BlockingIOError:
            if self._kernel_waits or not self._wait_readable(wait):
                return None
            with contextlib.suppress(BlockingIOError):
                return self.socket.recv_into(view)
            return None
        except BaseException as error:
            if not came:
                spare(error)
            raise
        return came[0]

    def _receive_ready(self, size: int) -> bytes | None:
        with contextlib.suppress(BlockingIOError):  # a spurious wake-up counts as "nothing came"
            return self.socket.recv(size)
        return None

    def _wait_readable(self, wait: float | None) -> bool:
        try:
            return wait_for(self.socket, wait, write=False)
        except BaseException as error:  # nothing is received by this
            spare(error)
            raise

    def _set_tick(self, wait: float | None) -> None:
        if self._kernel_waits:
            self._tick = math.nan  # first: an interrupt before the end of this must leave no false belief
            self.socket.setsockopt(socket.SOL_SOCKET, socket.SO_RCVTIMEO, kernel_timeout(wait))
        self._tick = wait

    # Writing: the caller holds its frame lock

    @property
    def bytes_sent(self) -> int:
        """Bytes that the kernel took so far, those of TLS included."""
        return self._sent

    @property
    def pending(self) -> bool:
        """Whether the rest of a frame waits to leave."""
        return self.rest is not None

    def send(self, head: Buffer, body: Buffer = b"", deadline: float | None = None, stall: float | None = None) -> None:
        """Send the rest and then head and body, all of it, waiting as long as it takes.

        Args:
            head: bytes of a frame.
            body: those after it.
            deadline: an instant of time.monotonic(); None: none.
            stall: seconds that may pass without any progress; None: any.

        Raises WriteTimeout, and OSError (of errno ETIMEDOUT for a stall). After a failure `torn` tells whether part of
        them is on the wire; where it is not, nothing of them has left and a later call may succeed.
        """
        total = len(head) + len(body)
        if self.rest and not self.kept:
            self.flush_until(deadline, stall)
        if body and not _SENDMSG:  # Windows
            head, body = b"".join((head, body)), b""
        try:  # as in try_send, of two buffers
            if self.kept:
                head = b"".join((self._join_kept(), head))
            if body:
                taken = self.socket.sendmsg((head, body), (), self._send_flags)
            else:
                taken = self.socket.send(head, self._send_flags)
            self._sent += taken
            if taken == len(head) + len(body):
                return
            self.rest = _left_over(head, body, taken)
        except BlockingIOError:
            self.rest = _left_over(head, body, 0)
        except BaseException:
            self.torn = True
            raise
        if self.rest:
            self._send_rest(total, deadline, stall)

    def send_by(
        self,
        call: Callable[[int, int, int, bytes, bool], int | tuple[int, bytes, bytes]],
        first: int,
        payload: bytes,
        client: bool,
        deadline: float | None,
        stall: float | None,
    ) -> None:
        """As `send`, of a frame that is made and sent by one call.

        Args:
            call: gets the descriptor, the flags, and the next three arguments. It returns the frame's size, if the
                kernel took all of it; else how many bytes it took, and the frame as head and body.
            first: the frame's first byte.
            payload: what it carries, without a mask.
            client: whether it is a client's, which is masked.
            deadline, stall: as for `send`, as is what it raises.
        """
        if self.rest:
            self.flush_until(deadline, stall)
        try:  # as in try_send
            taken = call(self.socket.fileno(), self._send_flags, first, payload, client)
            if isinstance(taken, int):
                self._sent += taken
                return
            count, head, body = taken
            self._sent += count
            self.rest = _left_over(head, body, count)
        except BaseException:
            self.torn = True
            raise
        self._send_rest(len(head) + len(body), deadline, stall)

    def _send_rest(self, total: int, deadline: float | None, stall: float | None) -> None:
        """Wait until the rest has left, whose end is of a frame of total bytes.

        A failure decides whether the stream is torn.
        """
        try:
            self.flush_until(deadline, stall)
        except WriteTimeout:
            if self.rest is not None and len(self.rest) >= total:
                self.rest = self.rest[: -total or None] or None  # nothing of it has left: it never was
            else:
                self.torn = True
            raise
        except BaseException:
            self.torn = True
            raise

    def try_send(self, frame: bytes) -> bool:
        """Send a frame without waiting; whether it was taken, though its rest may be `pending`."""
        if self.rest and not self.flush():
            return False
        try:
            taken = self.socket.send(frame, self._send_flags)
            self._sent += taken
            if taken != len(frame):
                self.rest = memoryview(frame)[taken:]
        except BlockingIOError:
            return not frame
        except BaseException:
            self.torn = True  # a KeyboardInterrupt may come after the kernel took bytes: nobody knows how many
            raise
        return True

    def take(self, frame: bytes) -> None:
        """Take a frame without waiting, in any case: what does not leave at once is `pending`. Raises OSError.

        Only while nothing else is pending.
        """
        assert not self.rest
        self._offer(frame)

    def keep(self, frame: bytes, most: int = MOST_KEPT) -> bool:
        """Let a frame wait for the next one, as the rest, if nothing else waits; whether there is room for it.

        most is how many bytes may be kept, this frame's included. Whoever keeps one sees to it that it leaves: nobody
        is told that it waits.
        """
        size = self.kept + len(frame)
        if size > most:
            return False
        if self.kept:
            self._frames.append(frame)
        elif self.rest is None:
            self._frames = [frame]
            self.rest = memoryview(frame)  # it stands for those that come after it
        else:
            return False
        self.kept = size
        return True

    def _join_kept(self) -> bytes:
        """What was kept: nothing is any more, and there is no rest."""
        frames, self._frames, self.rest, self.kept = self._frames, [], None, 0
        return b"".join(frames)

    def flush(self) -> bool:
        """Try to send the rest without waiting; whether none is left. Raises OSError."""
        if self.kept:  # from now on it is the rest of frames cut short
            try:
                self.rest = memoryview(self._join_kept())
            except BaseException:
                self.torn = True  # they are neither here nor there
                raise
        while self.rest:
            try:
                taken = self.socket.send(self.rest, self._send_flags)
                self._sent += taken
                self.rest = self.rest[taken:] or None
            except BlockingIOError:
                return False
            except BaseException:
                self.torn = True  # as in try_send; and after an error the rest will never leave
                raise
        return True

    def flush_until(self, deadline: float | None, stall: float | None) -> None:
        """Wait for the socket until nothing is pending. Raises as `send`; nothing is lost by a WriteTimeout."""
        self._wait_until(self.flush, deadline, stall)

    def taken_by_peer(self) -> int:
        """A number that grows while the peer takes bytes: those that have left this machine's send queue.

        Where the system cannot say what its queue holds, the bytes that the kernel took. It may be negative, as the
        queue of a Unix socket counts more than the bytes in it.
        """
        # Of TCP it is asked first: ioctl() has a page of its own on the stack, which an idle thread would keep.
        taken = acknowledged(self.socket)
        return self._sent - _queued_bytes(self.socket) if taken is None else taken

    def unacknowledged_for(self) -> float | None:
        """Seconds for which the peer's kernel has acknowledged nothing of what is on its way to it; see `tcpinfo`."""
        return unacknowledged_for(self.socket)

    def _offer(self, data: bytes) -> None:
        """Give the kernel what it takes at once; what is left waits in `rest`, which is None before."""
        if not Transport.try_send(self, data):  # not that of a subclass, which comes here with what it encrypted
            self.rest = memoryview(data)

    def _wait_until(self, done: Callable[[], bool], deadline: float | None, stall: float | None) -> None:
        """Wait for the socket to be writable, again and again until done. Raises as `send`."""
        progress = stall.progress(self) if isinstance(stall, Pace) else Progress(self, stall)
        while not done():
            now = time.monotonic()
            # Before the stall: a deadline that passes costs the caller a message, and a stall the connection.
            if deadline is not None and now >= deadline:
                raise WriteTimeout("the write deadline passed before the peer took the message")
            progress.check(now)
            wait_for(self.socket, progress.tick(deadline, now), write=True)
        progress.end()

    # Ending

    @property
    def is_inherited(self) -> bool:
        """Whether this is the child of a fork, and the connection the parent's, which may be in the middle of it."""
        return self._process != os.getpid()

    def let_go(self) -> None:
        """In the child of a fork: close its copy of the descriptor, which the peer does not notice. Takes no lock."""
        self._closed = True
        with contextlib.suppress(OSError):
            self.socket.close()

    def shutdown_write(self) -> None:
        """Tell the peer that no more bytes will come, once. Never raises; for the thread that may send."""
        if not self._is_half_closed:
            self._is_half_closed = True
            with contextlib.suppress(OSError):
                self.socket.shutdown(socket.SHUT_WR)

    def shutdown_read(self) -> None:
        """Wake the thread that receives: it finds the end of the stream. Never raises; for any thread.

        From then on `receive` does not wait, and gives b"" where nothing has come. (On Linux what has come is given;
        elsewhere it may be lost.)
        """
        self._shut(socket.SHUT_RD)

    def shutdown(self) -> None:
        """Cut the connection both ways and wake every thread that waits in it. Never raises; for any thread."""
        self._shut(socket.SHUT_RDWR)

    def _shut(self, how: int) -> None:
        # Under the lock: else the fd could be closed, and given to another socket, just before the system's call.
        with self._ending, contextlib.suppress(OSError):
            if not self._closed:
                self.socket.shutdown(how)

    def close(self) -> None:
        """Give the file descriptor back. Only when no other thread is receiving or sending. Idempotent."""
        if self.is_inherited:
            self.let_go()
            return
        with self._ending, contextlib.suppress(OSError):
            # Before the close: no shutdown may follow one that an interrupt ends in the middle.
            self._closed = True
            self.socket.close()

    def totals(self) -> tuple[int, int] | None:
        """Bytes (in, out) that the kernel has counted, those of TLS and of HTTP too; None where it does not tell.

        For any thread; None once closed: `Tally` keeps the last.
        """
        with self._ending:
            return None if self._closed else tcp_totals(self.socket)

    @property
    def closed(self) -> bool:
        """Whether the file descriptor was given back. For any thread: once true, it stays so."""
        return self._closed


def kernel_timeout(wait: float | None) -> bytes:
    """What SO_RCVTIMEO is set to for a wait of so many seconds; None for one without limit."""
    # Zero would mean "for ever", so a wait that is over becomes the shortest there is.
    microseconds = 0 if wait is None else max(1, int(min(wait, LONGEST_WAIT) * 1e6))
    return struct.pack("ll", *divmod(microseconds, 1_000_000))


def _is_blocking(sock: socket.socket, prepared: bool) -> bool:
    """Whether the socket waits, for Python and, if it is not prepared, for the system; False where that is not told."""
    if sock.gettimeout() is not None:
        return False
    return prepared or (hasattr(os, "get_blocking") and os.get_blocking(sock.fileno()))


def _queued_bytes(sock: socket.socket) -> int:
    """Bytes that the system holds for the peer; 0 where it cannot say."""
    if fcntl is None:  # Windows
        return 0
    try:
        return int(struct.unpack("i", fcntl.ioctl(sock, TIOCOUTQ, b"\0\0\0\0"))[0])
    except (OSError, ValueError):  # not every kind of socket can say, and a closed one not at all
        return 0


def _left_over(head: Buffer, body: Buffer, taken: int) -> memoryview | None:
    """What remains of both after taken bytes, or None. A large payload is not copied once the header is gone."""
    if not body:
        return memoryview(head)[taken:] or None
    if taken >= len(head):
        return memoryview(body)[taken - len(head) :] or None
    return memoryview(b"".join((head, body)))[taken:]
