"""A socket that follows a script, for what a real one does too rarely."""

from __future__ import annotations

import errno
import socket
from typing import Any, NoReturn


class ScriptedSocket:
    """A socket for `Transport` that follows a script and counts calls, each of which would be a system call.

    Args:
        incoming: what each recv returns: bytes, or an exception to raise. After the last one recv returns b"".
        room: how many bytes each send takes, or an exception to raise. After the last one send takes everything.

    A BlockingIOError in them stands for "nothing came in time" and "no room". select and poll find the socket ready at
    once. ``sent`` holds all that was sent, ``calls`` the name of every call.

    Concurrency: like a `Transport`: one thread receives and one sends.
    """

    family = socket.AF_INET

    def __init__(self, incoming: list[bytes | BaseException] | None = None, room: list[Any] | None = None) -> None:
        self.incoming = list(incoming or [])
        self.room = list(room or [])
        self.sent = bytearray()
        self.calls: list[str] = []
        self._ready: tuple[socket.socket, ...] = ()  # a real pair, always ready, for select and poll

    def recv(self, size: int, flags: int = 0) -> bytes:
        """The next of ``incoming``, at most size bytes of it. Raises BlockingIOError if flags say not to wait."""
        if flags & getattr(socket, "MSG_DONTWAIT", 0):  # attendance, which is no part of a script
            raise BlockingIOError("nothing has come")
        self.calls.append("recv")
        if not self.incoming:
            return b""
        item = self.incoming.pop(0)
        if isinstance(item, BaseException):
            raise item
        if len(item) > size:
            self.incoming.insert(0, item[size:])
        return item[:size]

    def recv_into(self, view: memoryview) -> int:
        """As `recv`, into a buffer, view: how many bytes."""
        data = self.recv(len(view))
        self.calls[-1] = "recv_into"
        view[: len(data)] = data
        return len(data)

    def send(self, data: bytes | memoryview, flags: int = 0) -> int:
        """Take data as ``room`` says, whatever the flags are; returns how many bytes of it."""
        self.calls.append("send")
        return self._take(bytes(data))

    def sendmsg(self, buffers: Any, ancillary: Any = (), flags: int = 0) -> int:
        """As `send`, of all buffers; ancillary data and flags say nothing here."""
        self.calls.append("sendmsg")
        return self._take(b"".join(buffers))

    def _take(self, data: bytes) -> int:
        room = self.room.pop(0) if self.room else len(data)
        if isinstance(room, BaseException):
            raise room
        taken = data[:room]
        self.sent += taken
        return len(taken)

    def count(self, *names: str) -> int:
        """How many calls had one of these names, such as "recv", "send"."""
        return sum(call in names for call in self.calls)

    def setsockopt(self, *arguments: Any) -> None:
        """Counted, and no more, whatever the arguments."""
        self.calls.append("setsockopt")

    def getsockopt(self, *arguments: Any) -> NoReturn:
        """Raises OSError whatever the arguments, and is not counted: there is no option, and no kernel that counts."""
        raise OSError(errno.ENOPROTOOPT, "a script has no options")

    def setblocking(self, blocking: bool) -> None:
        """Counted, and no more, be it blocking or not."""
        self.calls.append("setblocking")

    def gettimeout(self) -> float | None:
        """0.0 seconds: it does not block."""
        return 0.0

    def getsockname(self) -> tuple[str, int]:
        """An address of IPv4."""
        return "127.0.0.1", 1

    def getpeername(self) -> tuple[str, int]:
        """An address of IPv4."""
        return "127.0.0.1", 2

    def fileno(self) -> int:
        """A descriptor that is ready at once; -1 once closed."""
        if not self._ready and "close" not in self.calls:
            self._ready = socket.socketpair()
            self._ready[1].send(b"\0")
        return self._ready[0].fileno() if self._ready else -1

    def shutdown(self, how: int) -> None:
        """Counted, and no more; how says nothing here."""
        self.calls.append("shutdown")

    def close(self) -> None:
        """Counted, and there is no descriptor any more."""
        self.calls.append("close")
        for sock in self._ready:
            sock.close()
        self._ready = ()
