"""The only module that touches a connected socket: plain TCP, Unix sockets, and TLS.

Each direction has its own deadline, and no wait of one disturbs the other:

* **Reading** blocks in the kernel: one `recv` a message and nothing else. The kernel's receive timeout is only a
  tick that lets the caller look at its clock; it is set again only when the wait differs from the last one.
* **Writing** first tries without waiting, which nearly always takes everything: one system call. What is left waits
  for the socket with poll, under the deadline, and under a stall limit that any byte of progress renews.

A frame that was cut short lives on as the *rest*, and nothing may pass it: whoever writes sends the rest first. Under
TLS the rest is ciphertext, which must leave once it is encrypted. An exception in the wrong place, be it a
KeyboardInterrupt, leaves the stream *torn*: nobody knows what of it the peer has, and nothing may follow.

TLS is one more codec (`ssl.MemoryBIO`) over the raw socket, behind one short lock that is never held across I/O: two
threads inside one `SSLSocket` is not safe on every Python. TLS through the TLS of a proxy is two codecs, one behind the
other (`_Tunnel`), and still one socket and one lock.

Waking: `shutdown` wakes every thread that waits here. `close` wakes nobody and gives the fd's number to the next
socket, so only a caller that knows no other thread is inside a receive or a send may call it.

Where the platform lacks a per-call non-blocking flag or a kernel timeout (Windows), the socket is non-blocking and
reads wait with poll too. So they do in a process that gevent or eventlet has patched: the waits are then theirs, and
the rest is the same.
"""

from __future__ import annotations

import contextlib
import errno
import math
import os
import select
import socket
import ssl
import struct
import sys
import threading
import time
from collections.abc import Callable, Iterator
from typing import Any

from ..errors import WriteTimeout

try:  # Linux: bytes in the socket's send queue, which fall while a slow peer reads
    import fcntl
    from termios import TIOCOUTQ
except ImportError:  # pragma: no cover - not there on Windows
    fcntl = None  # type: ignore[assignment]

#: Whether `recv` can block with a timeout of the kernel while `send` does not block at all.
KERNEL_WAITS = sys.platform != "win32" and hasattr(socket, "MSG_DONTWAIT")


def is_green() -> bool:
    """Whether gevent or eventlet has patched this process: then a wait in the kernel would hold up every greenlet.

    Asked for each connection, since gunicorn's workers patch after they were forked.
    """
    gevent, eventlet = sys.modules.get("gevent.monkey"), sys.modules.get("eventlet.patcher")
    if gevent is not None and gevent.is_module_patched("socket"):
        return True
    return eventlet is not None and bool(eventlet.is_monkey_patched("socket"))


#: A blocked write looks at its progress so many times within the stall limit.
_LOOKS_PER_STALL = 8

#: Plain text is encrypted in portions, so that a large message never doubles in memory.
_TLS_PORTION = 1 << 18
_TLS_READ = 1 << 16
_TLS_OVERHEAD = 29  # header, tag and padding of a record in TLS 1.2 and 1.3 with the usual ciphers

#: The system's calls take no wait of any length: a longer one ends after a day, as if nothing had come.
_LONGEST_WAIT = 86400.0

_NO_BYTES = memoryview(b"")
_SENDMSG = hasattr(socket.socket, "sendmsg")

Buffer = bytes | memoryview


class Transport:
    """A connected stream socket. See `TLSTransport` for TLS.

    Concurrency: one thread at a time may receive, one may send (the callers' locks see to that), at the same time;
    `shutdown` is for any thread at any time.
    """

    is_tls = False

    #: Whether a close need not wait in its thread for the peer to close TCP, as the thread may be a server's.
    lingers_behind = False

    #: After a `receive` that gave None: whether bytes came all the same, too few to make anything of (under TLS).
    heard_part = False

    def __init__(
        self,
        sock: socket.socket,
        *,
        kernel_waits: bool | None = None,
        local_address: Any = None,
        remote_address: Any = None,
    ) -> None:
        if kernel_waits is None:
            kernel_waits = KERNEL_WAITS and not is_green()
        self.socket = sock
        # What need not be asked is not: for each of these calls the GIL goes to another thread, if one waits for it.
        self.local_address = _address(sock.getsockname) if local_address is None else local_address
        self.remote_address = _address(sock.getpeername) if remote_address is None else remote_address
        # An application's socket.setdefaulttimeout() reaches accepted sockets, and makes the fd non-blocking.
        if not (kernel_waits and _is_blocking(sock)):
            sock.setblocking(kernel_waits)
        self._kernel_waits = kernel_waits
        # A host that embeds Python may not ignore SIGPIPE, as Python by itself does.
        self._send_flags = getattr(socket, "MSG_NOSIGNAL", 0) | (socket.MSG_DONTWAIT if kernel_waits else 0)
        # The kernel's receive timeout as last set. NaN, which equals nothing: not known, so that it is set.
        self._tick: float | None = math.nan
        # Guarded by the caller's frame lock:
        self.rest: memoryview = _NO_BYTES  # of a frame cut short; empty, so false, where none is
        self._sent = 0  # bytes the kernel took
        #: Part of a frame is on the wire whose sender was told that it failed: nothing may follow it.
        self.torn = False
        self._ending = threading.Lock()
        self._closed = False  # guarded by _ending
        # Not asked of sock.family: making an enum of it is the deepest call of a connection's thread, and costs its
        # stack a page for as long as it lives.
        if isinstance(self.local_address, tuple):
            with contextlib.suppress(OSError):  # another family may know no TCP
                sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)

    def fileno(self) -> int:
        """The socket's file descriptor; -1 once closed."""
        return self.socket.fileno()

    def handshake(self, deadline: float | None, stall: float | None = None) -> None:
        """Agree on TLS where there is any. Raises TimeoutError, OSError (ssl.SSLError is one)."""

    # Reading

    def receive(self, size: int, wait: float | None) -> bytes | None:
        """Up to size bytes; b"" at the end of the stream; None when nothing came within wait seconds.

        A wait of None has no limit. A signal whose handler returns makes a wait start again. Raises OSError.
        """
        if wait != self._tick:
            self._set_tick(wait)
        try:
            return self.socket.recv(size)
        except BlockingIOError:
            if self._kernel_waits or not self._wait_readable(wait):
                return None
            return self._receive_ready(size)

    def receive_into(self, view: memoryview, wait: float | None) -> int | None:
        """As `receive`, into a buffer: the number of bytes, 0 at the end of the stream."""
        if wait != self._tick:
            self._set_tick(wait)
        try:
            return self.socket.recv_into(view)
        except BlockingIOError:
            if self._kernel_waits or not self._wait_readable(wait):
                return None
            with contextlib.suppress(BlockingIOError):
                return self.socket.recv_into(view)
            return None

    def _receive_ready(self, size: int) -> bytes | None:
        with contextlib.suppress(BlockingIOError):  # a spurious wake-up counts as "nothing came"
            return self.socket.recv(size)
        return None

    def _wait_readable(self, wait: float | None) -> bool:
        return _wait_for(self.socket, wait, write=False)

    def _set_tick(self, wait: float | None) -> None:
        if self._kernel_waits:
            self._tick = math.nan  # until it is done: an interrupt in between must not leave us believing either
            # Zero would mean "for ever", so a wait that is over becomes the shortest there is.
            microseconds = 0 if wait is None else max(1, int(min(wait, _LONGEST_WAIT) * 1e6))
            value = struct.pack("ll", *divmod(microseconds, 1_000_000))
            self.socket.setsockopt(socket.SOL_SOCKET, socket.SO_RCVTIMEO, value)
        self._tick = wait

    # Writing: the caller holds its frame lock

    @property
    def pending(self) -> bool:
        """Whether the rest of a frame waits to leave."""
        return len(self.rest) > 0

    def send(self, head: Buffer, body: Buffer = b"", deadline: float | None = None, stall: float | None = None) -> None:
        """Send the rest and then head and body, all of it, waiting as long as it takes.

        deadline is an instant of time.monotonic(); stall is how many seconds may pass without any progress. Raises
        WriteTimeout, and OSError (of errno ETIMEDOUT for a stall). After a failure `torn` tells whether part of
        them is on the wire; where it is not, nothing of them has left and a later call may succeed.
        """
        if self.rest:
            self.flush_until(deadline, stall)
        if body and not _SENDMSG:  # pragma: no cover - Windows
            head, body = b"".join((head, body)), b""
        try:  # as in try_send, of two buffers
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
            self._send_rest(len(head) + len(body), deadline, stall)

    def _send_rest(self, total: int, deadline: float | None, stall: float | None) -> None:
        try:
            self.flush_until(deadline, stall)
        except WriteTimeout:
            if len(self.rest) == total:
                self.rest = _NO_BYTES
            else:
                self.torn = True
            raise
        except BaseException:
            self.torn = True
            raise

    def try_send(self, frame: bytes) -> bool:
        """Send a frame without waiting. False: nothing was taken. True: it was, though its rest may be `pending`."""
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

    def flush(self) -> bool:
        """Try to send the rest without waiting; True when none is left. Raises OSError."""
        while self.rest:
            try:
                taken = self.socket.send(self.rest, self._send_flags)
                self._sent += taken
                self.rest = self.rest[taken:]
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
        return self._sent - _queued_bytes(self.socket)

    def _offer(self, data: bytes) -> None:
        """Give the kernel what it takes at once; the rest waits in `rest`, which is empty before."""
        if not Transport.try_send(self, data):  # not that of a subclass, which comes here with what it encrypted
            self.rest = memoryview(data)

    def _wait_until(self, done: Callable[[], bool], deadline: float | None, stall: float | None) -> None:
        """Wait for the socket to be writable, again and again until done. Raises as `send`."""
        progress = _Progress(self, stall)
        while not done():
            now = time.monotonic()
            if deadline is not None and now >= deadline:
                raise WriteTimeout("the write deadline passed before the peer took the message")
            progress.check(now)
            _wait_for(self.socket, progress.tick(deadline, now), write=True)

    # Ending

    def shutdown_write(self) -> None:
        """Tell the peer that no more bytes will come. Never raises."""
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
        # Under the lock: between looking up the fd and the system's call the fd could be closed and be another's.
        with self._ending, contextlib.suppress(OSError):
            if not self._closed:
                self.socket.shutdown(how)

    def close(self) -> None:
        """Give the file descriptor back. Only when no other thread is receiving or sending. Idempotent."""
        with self._ending, contextlib.suppress(OSError):
            self._closed = True
            self.socket.close()

    @property
    def closed(self) -> bool:
        """Whether the file descriptor was given back."""
        return self._closed


class TLSTransport(Transport):
    """TLS over a raw socket: an SSLObject between two memory buffers.

    early_data is what was received of the stream before TLS began. outer is the TLS to a proxy that this one goes
    through, both over the same socket: its handshake is done, and it is this object's from now on.

    Concurrency: as Transport. `_codec` guards the SSLObject and its buffers, for the time of a computation only.
    """

    is_tls = True

    def __init__(
        self,
        sock: socket.socket,
        context: ssl.SSLContext,
        *,
        server_side: bool,
        server_hostname: str | None = None,
        early_data: bytes = b"",
        outer: TLSTransport | None = None,
        kernel_waits: bool | None = None,
        local_address: Any = None,
        remote_address: Any = None,
    ) -> None:
        super().__init__(sock, kernel_waits=kernel_waits, local_address=local_address, remote_address=remote_address)
        self._codec = threading.Lock()
        self._deaf = False  # never goes back; an end of the stream is our own doing now
        incoming, outgoing = ssl.MemoryBIO(), ssl.MemoryBIO()
        self._tls = context.wrap_bio(  # guarded by _codec
            incoming, outgoing, server_side=server_side, server_hostname=server_hostname
        )
        incoming.write(early_data)
        self._arrived = incoming  # guarded by _codec; ciphertext that was not looked at
        self._ended = False  # guarded by _codec; the peer has said that no more comes
        tunnel = None if outer is None else _Tunnel(outer, incoming, outgoing)
        self._incoming: ssl.MemoryBIO | _Tunnel = tunnel or incoming  # guarded by _codec; where ciphertext goes
        self._outgoing: ssl.MemoryBIO | _Tunnel = tunnel or outgoing  # guarded by _codec; where it comes from

    @property
    def ssl_object(self) -> ssl.SSLObject:
        """For what can be asked of it: version(), cipher(), getpeercert(), selected_alpn_protocol()."""
        return self._tls

    def handshake(self, deadline: float | None, stall: float | None = None) -> None:
        while True:
            with self._codec:
                finished = self._step_handshake()
                ciphertext = self._outgoing.read()
            if ciphertext:
                super().send(ciphertext, deadline=deadline, stall=stall)
            if isinstance(finished, ssl.SSLError):
                raise finished  # its alert has just been sent
            if finished:
                return
            self._feed(deadline)

    def _step_handshake(self) -> bool | ssl.SSLError:
        try:
            self._tls.do_handshake()
        except ssl.SSLWantReadError:
            return False
        except ssl.SSLError as error:
            return error
        return True

    def _feed(self, deadline: float | None) -> None:
        wait = None if deadline is None else deadline - time.monotonic()
        if wait is not None and wait <= 0:
            raise TimeoutError("the TLS handshake took too long")
        data = super().receive(_TLS_READ, wait)
        if data == b"":
            raise ConnectionResetError(errno.ECONNRESET, "the peer left during the TLS handshake")
        if data:
            with self._codec:
                self._incoming.write(data)

    # Reading

    def receive(self, size: int, wait: float | None) -> bytes | None:
        plain: bytes | None = self._read(size, None, wait)
        return plain

    def receive_into(self, view: memoryview, wait: float | None) -> int | None:
        count: int | None = self._read(len(view), view, wait)
        return count

    def _read(self, size: int, view: memoryview | None, wait: float | None) -> Any:
        """Plain text, or None when none came in time, as a whole: a peer that drips bytes gets no more time."""
        until = None if wait is None else time.monotonic() + wait
        self.heard_part = False
        plain = None
        with self._codec:
            # Asking in vain is an exception, and those are dear for each message.
            if self._arrived.pending or self._tls.pending() or self._ended or self._arrived.eof:
                plain = self._decrypt(size, view)
        while plain is None:
            # What was asked for and a record's own bytes: an idle connection blocks here with a buffer of that size.
            ciphertext = super().receive(min(size, _TLS_READ) + _TLS_OVERHEAD, wait)
            if ciphertext is None:
                return None
            if not ciphertext and self._deaf:
                # Not for the codec: it would take it for a fault of the peer's, and encrypt nothing but an alert.
                return b"" if view is None else 0
            with self._codec:
                self._take_ciphertext(ciphertext)
                plain = self._decrypt(size, view)
            if plain is None and until is not None:
                self.heard_part = True
                wait = until - time.monotonic()
                if wait <= 0:
                    return None
        return plain

    def _take_ciphertext(self, ciphertext: bytes) -> None:
        assert self._codec.locked()
        if ciphertext:
            self._incoming.write(ciphertext)
        else:
            self._incoming.write_eof()

    def _decrypt(self, size: int, view: memoryview | None) -> Any:
        """Plain text that is there already: None for none, empty at the end of the stream."""
        assert self._codec.locked()
        plain: Any
        try:
            plain = self._tls.read(size) if view is None else self._tls.read(size, view)
        except ssl.SSLWantReadError:
            return None
        except (ssl.SSLZeroReturnError, ssl.SSLEOFError):
            # With or without close_notify: WebSocket has a closing handshake of its own to tell a cut from an end.
            plain = b"" if view is None else 0
        if not plain:
            self._ended = True
        return plain

    def shutdown_read(self) -> None:
        self._deaf = True
        super().shutdown_read()

    # Writing

    @property
    def pending(self) -> bool:
        # The reader may have left ciphertext of its own (an answer to a key update): that must leave as well.
        if self.rest:
            return True
        with self._codec:
            return self._outgoing.pending > 0

    def send(self, head: Buffer, body: Buffer = b"", deadline: float | None = None, stall: float | None = None) -> None:
        if self.pending:
            self.flush_until(deadline, stall)
        if deadline is not None:
            # Once encrypted it must leave; so a deadline that passes before there is room finds nothing encrypted.
            self._wait_until(self._has_room, deadline, stall)
        try:
            for portion in _portions(head, body):
                super().send(self._encrypt(portion), deadline=deadline, stall=stall)
        except BaseException:
            self.torn = True  # what is encrypted and did not leave makes a hole in the stream
            raise

    def try_send(self, frame: bytes) -> bool:
        if not self.flush():
            return False
        self.take(frame)  # counts as taken even if the socket takes none of it yet
        return True

    def take(self, frame: bytes) -> None:
        assert not self.rest
        try:
            self._offer(self._encrypt(frame))
        except BaseException:
            self.torn = True
            raise

    def flush(self) -> bool:
        if not super().flush():
            return False
        try:
            with self._codec:
                ciphertext = self._outgoing.read()
            if ciphertext:
                self._offer(ciphertext)
        except BaseException:
            self.torn = True
            raise
        return not self.rest

    def _has_room(self) -> bool:
        return _wait_for(self.socket, 0, write=True)

    def _encrypt(self, data: Buffer) -> bytes:
        """Ciphertext to send: the reader's, if it left any, comes first."""
        with self._codec:
            view = memoryview(data)
            while view:
                view = view[self._tls.write(view) :]
            return self._outgoing.read()

    def shutdown_write(self) -> None:
        with contextlib.suppress(OSError, ValueError):
            with self._codec:
                with contextlib.suppress(ssl.SSLError):
                    self._tls.unwrap()  # queues close_notify; the peer's is not waited for
                farewell = self._outgoing.read()
            if farewell and Transport.flush(self):
                self._offer(farewell)
        super().shutdown_write()


class _Tunnel:
    """The TLS of a proxy, between the two buffers of the TLS that goes through it and the socket.

    It stands in the place of both buffers: what is written to it has come from the socket, what is read goes there.

    Concurrency: guarded by the inner transport's codec lock.
    """

    def __init__(self, outer: TLSTransport, incoming: ssl.MemoryBIO, outgoing: ssl.MemoryBIO) -> None:
        self._outer = outer
        self._incoming = incoming
        self._outgoing = outgoing
        self._move_in()  # what the proxy sent right behind its consent

    @property
    def pending(self) -> int:
        return self._outgoing.pending + self._outer._outgoing.pending

    def write(self, ciphertext: bytes) -> None:
        self._outer._incoming.write(ciphertext)
        self._move_in()

    def write_eof(self) -> None:
        self._outer._incoming.write_eof()
        self._move_in()

    def read(self) -> bytes:
        data = memoryview(self._outgoing.read())
        while data:
            data = data[self._outer._tls.write(data) :]
        return self._outer._outgoing.read()

    def _move_in(self) -> None:
        with self._outer._codec:
            while (data := self._outer._decrypt(_TLS_READ, None)) is not None:
                if not data:
                    self._incoming.write_eof()
                    return
                self._incoming.write(data)


def _portions(*buffers: Buffer) -> Iterator[Buffer]:
    """The buffers in pieces to encrypt: small ones joined, large ones cut."""
    if sum(map(len, buffers)) <= _TLS_PORTION:
        yield b"".join(buffers)
        return
    for buffer in buffers:
        view = memoryview(buffer)
        for start in range(0, len(view), _TLS_PORTION):
            yield view[start : start + _TLS_PORTION]


class _Progress:
    """Judges a blocked write: progress is any byte that the kernel or the peer took since the last look."""

    def __init__(self, transport: Transport, stall: float | None) -> None:
        self._transport = transport
        self._stall = stall
        self._taken: int | None = None  # at the latest look that found progress, which was at _since
        self._since = 0.0

    def check(self, now: float) -> None:
        """Raise OSError (ETIMEDOUT) when nothing has moved for the stall limit."""
        if self._stall is None:
            return
        taken = self._transport.taken_by_peer()
        if self._taken is None or taken > self._taken:
            self._taken, self._since = taken, now
        elif now - self._since >= self._stall:
            raise OSError(errno.ETIMEDOUT, f"the peer took nothing for {self._stall:g} s")

    def tick(self, deadline: float | None, now: float) -> float | None:
        """Seconds until it is worth looking again."""
        ticks = [] if self._stall is None else [self._stall / _LOOKS_PER_STALL]
        if deadline is not None:
            ticks.append(deadline - now)
        return min(ticks, default=None)


def _is_blocking(sock: socket.socket) -> bool:
    """Whether the socket waits, for Python and for the system (False where that cannot be seen)."""
    return sock.gettimeout() is None and hasattr(os, "get_blocking") and os.get_blocking(sock.fileno())


def _queued_bytes(sock: socket.socket) -> int:
    if fcntl is None:  # pragma: no cover - Windows
        return 0
    try:
        return int(struct.unpack("i", fcntl.ioctl(sock, TIOCOUTQ, b"\0\0\0\0"))[0])
    except (OSError, ValueError):  # not every kind of socket can say, and a closed one not at all
        return 0


def _wait_for(sock: socket.socket, wait: float | None, *, write: bool) -> bool:
    """Wait until a socket is ready or broken, at most wait seconds; whether it is."""
    wait = None if wait is None else min(max(0.0, wait), _LONGEST_WAIT)
    if hasattr(select, "poll"):
        poller = select.poll()
        poller.register(sock, select.POLLOUT if write else select.POLLIN)
        return bool(poller.poll(None if wait is None else wait * 1000))
    only = [sock]  # pragma: no cover - Windows
    return any(select.select([] if write else only, only if write else [], only, wait))  # pragma: no cover


def _left_over(head: Buffer, body: Buffer, taken: int) -> memoryview:
    """What remains of both after taken bytes, without copying a large payload once the header is gone."""
    if not body:
        return memoryview(head)[taken:]
    if taken >= len(head):
        return memoryview(body)[taken - len(head) :]
    return memoryview(b"".join((head, body)))[taken:]


def _address(ask: Any) -> Any:
    """A socket's address: a tuple for TCP, a str for Unix sockets ("" when it has none)."""
    try:
        return ask()
    except OSError:  # the peer has already left
        return ""


def say_peer(address: Any) -> str:
    """A peer's address for a log line."""
    if isinstance(address, tuple) and len(address) >= 2:
        return f"[{address[0]}]:{address[1]}" if ":" in str(address[0]) else f"{address[0]}:{address[1]}"
    return str(address) or "a peer on a Unix socket"
