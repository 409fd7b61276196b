"""The wire between two connections, which carries what it is told to, and knows all that was put on it.

Each connection has a socket of TCP, whose other end is a `WireEnd`. Nothing passes by itself: what a connection sends
is collected, and read, at once, unless this end is stopped; it waits in the *line* of the other end, until that gives
it to its connection: all of it, or so many bytes. A line may end, or break, in the middle of a frame, and strange bytes
may be put into it.
"""

from __future__ import annotations

import contextlib
import select
import socket
import struct
import sys
from dataclasses import dataclass

from tests.tasks import PATIENCE

from .sight import Seen, Sight

#: Bytes that are given to a connection which nobody reads, at most: its kernel takes them.
ROOM = 1 << 16

#: Of the buffers of a connection that sends, and of the end that it sends to: little, so that they are soon full.
SMALL = 1 << 14

#: Of the buffer of a connection that receives: room for `ROOM`, with what the system adds.
_LARGE = 1 << 20

#: More than the buffers between a connection and an end that is stopped take.
FILLER = 1 << 19

_RESET = struct.pack("hh" if sys.platform == "win32" else "ii", 1, 0)


@dataclass(frozen=True)
class Lie:
    """Bytes that were put into a line, which the peer never sent: a breach of the protocol, and the code it ends in."""

    begin: int
    end: int
    code: int


class WireEnd:
    """One end: it faces one connection, in whose place the other end puts frames into its line.

    Concurrency: for one thread, that of the machine.
    """

    def __init__(self, sight: Sight) -> None:
        self._sight = sight
        self.socket, self.theirs = _pair()
        self.other: WireEnd
        self.is_stopped = False
        self.collected = 0  # bytes of the connection's
        self.ended = False  # the connection has ended its stream, or was reset
        self.seen: list[tuple[int, bytes]] = []  # whole messages and control frames of the connection's, in order
        # To the connection:
        self.line = bytearray()
        self.entries: list[Seen | Lie] = []
        self.given = 0  # bytes of the line
        self.gave_end = self.gave_reset = False

    @property
    def open_message(self) -> bytes:
        """What has come of a message that the connection is sending in fragments."""
        return self._sight.open

    def collect(self) -> bool:
        """Take what the connection has sent; whether there was anything."""
        came = False
        while not (self.is_stopped or self.ended or self.gave_reset):
            try:
                data = self.socket.recv(1 << 20, socket.MSG_DONTWAIT)
            except BlockingIOError:
                break
            except OSError:
                data = b""
            if not data:
                self.ended = True
                break
            came = True
            self.collected += len(data)
            for seen in self._sight.feed(data):
                if seen.payload is not None:
                    self.seen.append((seen.opcode, seen.payload))
                self.other.put(seen)
        return came

    def put(self, seen: Seen) -> None:
        """A frame of the other side's comes into the line."""
        self.line += seen.raw
        self.entries.append(Seen(len(self.line), seen.raw, seen.opcode, seen.payload))

    def lie(self, data: bytes, code: int) -> None:
        """Strange bytes come into the line."""
        begin = len(self.line)
        self.line += data
        self.entries.append(Lie(begin, len(self.line), code))

    @property
    def waiting(self) -> int:
        """Bytes of the line that were not given yet."""
        return len(self.line) - self.given

    def give(self, count: int, unread: int) -> int:
        """Give the connection so many bytes; how many its kernel takes, which has so many that nobody has read."""
        end = self.given + min(count, ROOM - unread)
        for each in self.entries:  # a lie comes whole: it is found as soon as it can be
            if isinstance(each, Lie) and each.begin < end < each.end:
                end = each.end
        data = bytes(self.line[self.given : end])
        if not data:
            return 0
        try:
            taken = self.socket.send(data, socket.MSG_DONTWAIT)
        except BlockingIOError:
            taken = 0
        except OSError:
            return -1  # the connection is cut
        self.given += taken
        return taken

    def give_end(self) -> None:
        """No more bytes come."""
        self.gave_end = True
        with contextlib.suppress(OSError):
            self.socket.shutdown(socket.SHUT_WR)

    def give_reset(self) -> None:
        """The connection is broken, as by a process that was killed."""
        self.gave_reset = True
        with contextlib.suppress(OSError):
            self.socket.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, _RESET)
        self.socket.close()

    def await_arrival(self, descriptor: int) -> None:
        """Wait until what was given last can be read: bytes, an end, a reset."""
        if descriptor >= 0:
            poll = select.poll()
            poll.register(descriptor, select.POLLIN)
            assert poll.poll(PATIENCE * 1000), "it never arrived"

    def close(self) -> None:
        """Close the socket."""
        self.socket.close()


def connect(client: Sight, server: Sight) -> tuple[WireEnd, WireEnd]:
    """(the server's, the client's) end of a wire; each ``theirs`` is the socket for the connection."""
    ends = WireEnd(server), WireEnd(client)
    ends[0].other, ends[1].other = ends[1], ends[0]
    return ends


def _pair() -> tuple[socket.socket, socket.socket]:
    """Two connected sockets of TCP: (the wire's, the connection's)."""
    with socket.create_server(("127.0.0.1", 0)) as listener:
        listener.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, SMALL)
        near = socket.socket(listener.family)
        near.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, _LARGE)
        near.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, SMALL)
        near.connect(listener.getsockname())
        far, _ = listener.accept()
    far.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, _LARGE)
    return far, near
