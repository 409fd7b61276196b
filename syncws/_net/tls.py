"""TLS over a raw socket: `TLSTransport`, with the same methods and rules as `Transport`.

TLS is one more codec (`ssl.MemoryBIO`) between the caller and the raw socket, guarded by one short lock that is never
held across I/O: two threads inside one `SSLSocket` is not safe on every Python. TLS through the TLS of a proxy is two
codecs, one after the other (`_Tunnel`), and still one socket and one lock.

The *rest* of `Transport` is ciphertext here. Once a frame is encrypted it must leave: the records are numbered, so the
peer takes nothing that comes after a gap. Hence three differences from plain TCP:

* `send` with a deadline waits for room in the socket *before* it encrypts: a deadline that passes then costs nothing.
* `try_send` takes a frame as soon as nothing else is pending, even if the socket takes none of it.
* The reader may leave ciphertext of its own (an answer to a key update), which is `pending` too.
"""

from __future__ import annotations

import contextlib
import errno
import socket
import ssl
import sys
import threading
import time
from collections.abc import Iterator
from typing import Any

from .address import Address
from .strangers import ENOUGH
from .transport import MOST_KEPT, Buffer, Transport
from .waits import wait_for

#: Plain text is encrypted in portions, so that a large message never doubles in memory.
_PORTION = 1 << 18
_READ = 1 << 16
_OVERHEAD = 29  # header, tag and padding of a record in TLS 1.2 and 1.3 with the usual ciphers

#: How often `receive_now` asks the socket for the rest of a record: it must not be held up by a peer that drips bytes.
_TRIES = 8


class TLSTransport(Transport):
    """TLS over a raw socket: an SSLObject between two memory buffers.

    Args:
        sock: a connected socket, this object's from now on.
        context: whose settings TLS has. Raises ValueError or ssl.SSLError if it is not for this side.
        server_side: whether this side answers the handshake.
        server_hostname: the name that the server's certificate is checked for, and that it is told (SNI); for a client.
            Without the dot that ends an absolute name ("a.example."): neither has it (RFC 6066 section 3).
        early_data: what was received of the stream before TLS began.
        outer: the TLS to a proxy that this one goes through, over the same socket: its handshake is done, and it is
            this object's from now on.
        kernel_waits, local_address, remote_address, prepared: as for `Transport`.

    Nothing is sent before `handshake`.

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
        local_address: Address | None = None,
        remote_address: Address | None = None,
        prepared: bool = False,
    ) -> None:
        super().__init__(
            sock,
            kernel_waits=kernel_waits,
            local_address=local_address,
            remote_address=remote_address,
            prepared=prepared,
        )
        self._codec = threading.Lock()
        # An end of the stream is our own doing from now on. Read without a lock: it is set once, before the socket is
        # shut down, so whoever receives the end that the shutdown makes finds it set.
        self._deaf = False
        incoming, outgoing = ssl.MemoryBIO(), ssl.MemoryBIO()
        self._tls = context.wrap_bio(  # guarded by _codec
            incoming, outgoing, server_side=server_side, server_hostname=_without_final_dot(server_hostname)
        )
        incoming.write(early_data)
        #: The first bytes that came, for whoever wants to tell what they are; kept until the handshake is done.
        self.first_bytes = early_data[:ENOUGH]
        self._arrived = incoming  # guarded by _codec; ciphertext that was not looked at
        self._ended = False  # guarded by _codec; the codec has given the end of the stream
        tunnel = None if outer is None else _Tunnel(outer, incoming, outgoing)
        self._incoming: ssl.MemoryBIO | _Tunnel = tunnel or incoming  # guarded by _codec; where ciphertext goes
        self._outgoing: ssl.MemoryBIO | _Tunnel = tunnel or outgoing  # guarded by _codec; where it comes from

    @property
    def ssl_object(self) -> ssl.SSLObject:
        """For what can be asked of it: version(), cipher(), getpeercert(), selected_alpn_protocol()."""
        return self._tls

    def handshake(self, deadline: float | None, stall: float | None = None) -> None:
        """Agree on TLS by deadline, an instant of time.monotonic(), or None for no limit.

        stall is how many seconds a send may go without progress. Raises TimeoutError; ssl.SSLError, which is an
        OSError, where the two do not agree (the peer has been sent an alert then); ConnectionResetError if the peer
        leaves. After any of them nothing but `close` is of use. For the one thread that has this object so far.
        """
        while True:
            with self._codec:
                finished = self._step_handshake()
                ciphertext = self._outgoing.read()
            if ciphertext:
                super().send(ciphertext, deadline=deadline, stall=stall)
            if isinstance(finished, ssl.SSLError):
                raise finished  # its alert has just been sent
            if finished:
                self.first_bytes = b""
                return
            self._feed(deadline)

    def _step_handshake(self) -> bool | ssl.SSLError:
        """Whether TLS is agreed on, as far as what has come tells; the error that it failed with."""
        assert self._codec.locked()
        try:
            self._tls.do_handshake()
        except ssl.SSLWantReadError:
            return False
        except ssl.SSLError as error:
            return error
        return True

    def _feed(self, deadline: float | None) -> None:
        """Wait for bytes of the handshake, and hand them to the codec."""
        wait = None if deadline is None else deadline - time.monotonic()
        if wait is not None and wait <= 0:
            raise TimeoutError("the TLS handshake took too long")
        data = super().receive(_READ, wait)
        if data == b"":
            raise ConnectionResetError(errno.ECONNRESET, "the peer left during the TLS handshake")
        if data:
            self.first_bytes = self.first_bytes or data[:ENOUGH]
            with self._codec:
                self._incoming.write(data)

    # Reading

    def receive(self, size: int, wait: float | None) -> bytes | None:
        plain: bytes | None = self._read(size, None, wait)
        return plain

    def receive_into(self, view: memoryview, wait: float | None) -> int | None:
        count: int | None = self._read(len(view), view, wait)
        return count

    def receive_now(self, size: int) -> bytes | None:
        plain: bytes | None
        self.heard_part = False
        with self._codec:
            plain = self._decrypt(size, None)
        for _ in range(_TRIES):
            if plain is not None:
                break
            ciphertext = super().receive_now(min(size, _READ) + _OVERHEAD)
            if ciphertext is None:
                break
            if not ciphertext and self._deaf:  # as in _read
                return b""
            with self._codec:
                self._take_ciphertext(ciphertext)
                plain = self._decrypt(size, None)
            self.heard_part = plain is None
        return plain

    def _read(self, size: int, view: memoryview | None, wait: float | None) -> Any:
        """Plain text, or None when none came in time, as a whole: a peer that drips bytes gets no more time."""
        until = None if wait is None else time.monotonic() + wait
        self.heard_part = False
        plain = None
        with self._codec:
            # A read that finds nothing raises an exception, which costs too much for each message: so look first.
            if self._arrived.pending or self._tls.pending() or self._ended or self._arrived.eof:
                plain = self._decrypt(size, view)
        while plain is None:
            # What was asked for and a record's own bytes: an idle connection blocks here with a buffer of that size.
            ciphertext = super().receive(min(size, _READ) + _OVERHEAD, wait)
            if ciphertext is None:
                return None
            if not ciphertext and self._deaf:
                # The codec is not told: it would blame the peer, and from then on encrypt nothing but an alert.
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
        self._deaf = True  # before the socket: the reader that this wakes must find it set
        super().shutdown_read()

    # Writing

    @property
    def pending(self) -> bool:
        # The reader may have left ciphertext (an answer to a key update), which must leave as well.
        if self.rest:
            return True
        with self._codec:
            return self._outgoing.pending > 0

    def send(self, head: Buffer, body: Buffer = b"", deadline: float | None = None, stall: float | None = None) -> None:
        if not self.kept and self.pending:
            self.flush_until(deadline, stall)
        if deadline is not None:
            # Once encrypted it must leave; so a deadline that passes before there is room finds nothing encrypted.
            self._wait_until(self._has_room, deadline, stall)
        try:  # a large message leaves in portions: other threads' frames wait for the caller's frame lock meanwhile
            for portion in _portions(head, body):
                super().send(self._encrypt(portion), deadline=deadline, stall=stall)
        except BaseException:
            self.torn = True  # what is encrypted and did not leave makes a hole in the stream
            raise

    def keep(self, frame: bytes, most: int = MOST_KEPT) -> bool:
        if self.kept + len(frame) + _OVERHEAD > most or (self.rest and not self.kept):
            return False
        try:  # with what the reader may have left, so that it may be more; once encrypted it must be kept
            return super().keep(self._encrypt(frame), most=sys.maxsize)
        except BaseException:
            self.torn = True
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
        if not super().flush():  # first: `_offer` is for when there is no rest, and would put its own in place of it
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
        return wait_for(self.socket, 0, write=True)

    def _encrypt(self, data: Buffer) -> bytes:
        """Ciphertext to send. What the reader left, if anything, comes first."""
        with self._codec:
            view = memoryview(data)
            try:
                while view:
                    view = view[self._tls.write(view) :]
            except ssl.SSLWantReadError as error:
                raise ssl.SSLError(
                    "the peer renegotiates, which TLS 1.3 has no more: give the context ssl.OP_NO_RENEGOTIATION"
                ) from error
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


def _without_final_dot(name: str | None) -> str | None:
    return name.removesuffix(".") or name if isinstance(name, str) else name


class _Tunnel:
    """The TLS of a proxy, between the two buffers of the TLS that goes through it and the socket.

    It stands in the place of both buffers. What is written to it has come from the socket; what is read from it is to
    be sent there.

    Concurrency: guarded by the inner transport's codec lock. The outer one's is taken inside it, never the other way.
    """

    def __init__(self, outer: TLSTransport, incoming: ssl.MemoryBIO, outgoing: ssl.MemoryBIO) -> None:
        self._outer = outer
        self._incoming = incoming
        self._outgoing = outgoing
        self._move_in()  # what the proxy sent after its consent, in the same record

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
            while (data := self._outer._decrypt(_READ, None)) is not None:
                if not data:
                    self._incoming.write_eof()
                    return
                self._incoming.write(data)


def _portions(*buffers: Buffer) -> Iterator[Buffer]:
    """The buffers in pieces to encrypt: small ones joined, large ones cut."""
    if sum(map(len, buffers)) <= _PORTION:
        yield b"".join(buffers)
        return
    for buffer in buffers:
        view = memoryview(buffer)
        for start in range(0, len(view), _PORTION):
            yield view[start : start + _PORTION]
