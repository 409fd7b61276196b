"""Messages from outside: a job, a script, a shell tells the members of all processes something, and waits until the bus
has taken it. No Manager, no server; no thread, except while it asks for a count.

    publisher = syncws.Publisher("redis://cache:6379/0")
    publisher.broadcast("the report is there", room="lobby")
"""

from __future__ import annotations

import os
import threading
import time
from collections.abc import Hashable, Iterable, Iterator
from contextlib import contextmanager
from types import TracebackType
from typing import Any, Self

from .._base.forks import begin_anew_in_child, this_process
from .._base.options import check_seconds
from .._base.owners import explains_options
from .._base.printable import printable_repr
from .._bus.backplane import Backplane, Outlet
from .._frames.payloads import format_close_message
from .._frames.prepared import PreparedMessage, json_text, prepare
from ..errors import BINARY, BackplaneTimeout, CloseCode
from .address import backplane_at
from .envelope import Envelope, Kind
from .headcount import headcount
from .names import ALL, id_channel, room_channel, text_of
from .numbers import Outgoing
from .surveys import Count


class Publisher:
    """Tells the members of the Managers on a bus something, from a process that has none: a job, cron, a shell.

    Each call returns once the bus has taken the message; whether a member got it, nobody says. It connects at the first
    call and keeps the connection; the child of a fork makes one of its own, so a Publisher may be made before a worker
    forks. Where a process has a `Manager` on that bus, its own methods do the same without waiting.

    Any thread may call any method. `_turn` is held by who sends, also while the bus answers: the others wait for it, as
    part of their timeout.

    A call that fails leaves everything as it was, except for this: after a BackplaneTimeout the message may have been
    delivered. The same message is never delivered twice to a member, however often it was sent again inside a call.
    If it was not delivered, the Managers report a `Gap` at the next message, if that comes within ten minutes.

    Args:
        backplane: what the Managers have, with the same prefix and history: a message for a room that remembers is
            kept, if this backplane's history says so. It belongs to this Publisher. Or its address: what begins with
            ``local:`` is the directory of a `LocalBackplane` (``local:/run/app/bus``), what has ``://`` is a URL of
            `RedisBackplane`.
        prefix: of a `RedisBackplane`, with a URL; None: ``syncws``.
        timeout: seconds that a call may take, which each call may set for itself.

    Raises:
        TypeError, ValueError: an argument is wrong; the message names it.
        ModuleNotFoundError, PermissionError, RuntimeError: as `RedisBackplane` and `LocalBackplane`.
    """

    def __init__(self, backplane: Backplane | str, *, prefix: str | None = None, timeout: float = 2.0) -> None:
        if isinstance(backplane, str):
            backplane = backplane_at(backplane, prefix)
        elif isinstance(backplane, type) or not hasattr(backplane, "outlet"):
            raise TypeError(
                "backplane is an address, such as redis://host:6379/0 or local:/run/app/bus, or a RedisBackplane, a "
                f"LocalBackplane or another syncws.Backplane, not {printable_repr(backplane, 80)}"
            )
        elif prefix is not None:
            raise ValueError("prefix is for a URL: a backplane has its own")
        self._backplane: Backplane = backplane
        check_seconds("timeout", timeout)
        self._timeout = timeout
        self._outlet: Outlet | None = None  # guarded by _turn; it sees by itself that it is in the child of a fork
        self.begin_anew()
        begin_anew_in_child(self)

    def __repr__(self) -> str:
        return f"<syncws.Publisher {printable_repr(self._backplane, 200)}>"

    def begin_anew(self) -> None:
        """Nothing was said, as in the child of a fork, which is a sender of its own: see `Outgoing`."""
        self._turn = threading.Lock()
        self._process = this_process()
        # Guarded by _turn:
        self._boot = os.urandom(8)
        self._numbers = Outgoing()

    # Messages

    @explains_options
    def broadcast(
        self,
        message: str | bytes | bytearray | memoryview | PreparedMessage,
        *,
        room: Hashable = None,
        exclude: Iterable[Hashable] = (),
        text: bool | None = None,
        timeout: float | None = None,
    ) -> None:
        """Send to everybody in a room, by default to all.

        Args:
            message: str as TEXT, bytes as BINARY, or a `PreparedMessage` of either kind.
            room: who gets it: str, int or a tuple of these; None: everybody.
            exclude: ids that do not get it.
            text: True to send bytes as TEXT, False to send a str as BINARY: see `Conn.send`.
            timeout: seconds, in place of the Publisher's.

        Raises:
            TypeError, ValueError: it cannot be sent: nobody gets it.
            BackplaneTimeout: the bus did not take it in time; it may be delivered all the same.
            BackplaneError: the bus refuses it, or is not there; the text says what to do.
        """
        prepared = prepare(message, "broadcast_json", text)
        excluded = [text_of(each, "an id") for each in _ids(exclude)]
        extra = {"exclude": excluded} if excluded else None
        if room is None:
            self._publish(Kind.ALL, ALL, "", extra, prepared, timeout=timeout)
            return
        target = text_of(room)
        self._publish(Kind.ROOM, room_channel(target), target, extra, prepared, keep=self._kept(room), timeout=timeout)

    def send(
        self,
        id: Hashable,
        message: str | bytes | bytearray | memoryview | PreparedMessage,
        *,
        text: bool | None = None,
        timeout: float | None = None,
    ) -> None:
        """Send to the members of one id, whichever process they are in; otherwise as `broadcast`."""
        prepared = prepare(message, text=text)
        target = text_of(id, "an id")
        self._publish(Kind.ID, id_channel(target), target, None, prepared, timeout=timeout)

    @explains_options
    def broadcast_json(
        self, value: Any, *, room: Hashable = None, exclude: Iterable[Hashable] = (), timeout: float | None = None
    ) -> None:
        """`broadcast`, of a value as JSON text; room, exclude and timeout as there.

        Raises as `broadcast`, and TypeError or ValueError for what JSON cannot hold.
        """
        self.broadcast(json_text(value), room=room, exclude=exclude, timeout=timeout)

    def send_json(self, id: Hashable, value: Any, *, timeout: float | None = None) -> None:
        """`send`, of a value as JSON text, to an id; timeout as there.

        Raises as `broadcast`, and TypeError or ValueError for what JSON cannot hold.
        """
        self.send(id, json_text(value), timeout=timeout)

    # Members

    def close(
        self,
        id: Hashable,
        code: int = CloseCode.NORMAL_CLOSURE,
        reason: str = "",
        *,
        timeout: float | None = None,
    ) -> None:
        """Have the members of an id taken out and closed, as `Manager.close`. This Publisher is ended by `end`.

        Raises as `broadcast`; ValueError or TypeError too for a code or reason that may not be sent.
        """
        format_close_message(code, reason)
        self._do(id, {"do": "close", "code": int(code), "reason": reason}, timeout)

    def join(self, id: Hashable, room: Hashable, *, timeout: float | None = None) -> None:
        """Have the members of an id let into a room, as `Manager.join`. Raises as `broadcast`."""
        self._do(id, {"do": "join", "room": text_of(room)}, timeout)

    def leave(self, id: Hashable, room: Hashable, *, timeout: float | None = None) -> None:
        """Have the members of an id let out of a room, as `Manager.leave`. Raises as `broadcast`."""
        self._do(id, {"do": "leave", "room": text_of(room)}, timeout)

    def _do(self, id: Hashable, deed: dict[str, Any], timeout: float | None) -> None:
        target = text_of(id, "an id")
        self._publish(Kind.DO, id_channel(target), target, deed, timeout=timeout)

    # Who is there

    def count(self, room: Hashable = None, *, timeout: float | None = None) -> Count:
        """How many connections there are in a room, by default in all, in the processes that answer within timeout
        seconds, by default the Publisher's.

        As answers have to be heard, the backplane is started for the length of the call, with its threads: to the
        others this process is one of them meanwhile. It takes half a second, until all others are known. A
        part is a result: see `Count`.

        Raises TypeError or ValueError for what is no room, BackplaneTimeout or BackplaneError if the bus is not there.
        """
        check_seconds("timeout", timeout, none="that of the Publisher")
        seconds = self._timeout if timeout is None else timeout
        until = time.monotonic() + seconds
        with self._in_turn(seconds):  # one at a time: they start the same backplane
            return headcount(self._backplane, room, max(0.01, until - time.monotonic()))

    # The way out

    def _kept(self, room: Hashable) -> bool:
        archive = self._backplane.archive
        return archive is not None and archive.history.remembers(room)

    def _publish(
        self,
        kind: Kind,
        channel: str,
        target: str,
        extra: dict[str, Any] | None,
        message: PreparedMessage | None = None,
        *,
        keep: bool = False,
        timeout: float | None,
    ) -> None:
        check_seconds("timeout", timeout, none="that of the Publisher")
        seconds = self._timeout if timeout is None else timeout
        until = time.monotonic() + seconds
        binary = message is not None and message.message_type is BINARY
        envelope = Envelope(kind, b"", 0, target, extra, b"" if message is None else message.payload, binary)
        envelope.check_size(self._backplane.max_message)
        with self._in_turn(seconds) as outlet:
            with self._numbers.lock:
                number, begins = self._numbers.next(channel)
            data = envelope._replace(boot=self._boot, number=number, begins=begins).encode()
            outlet.send([(channel, data)], max(0.01, round(until - time.monotonic(), 2)), keep=keep)  # for the errors

    @contextmanager
    def _in_turn(self, seconds: float) -> Iterator[Outlet]:
        """The way out, for this thread alone. Raises BackplaneTimeout if others have it for so long."""
        if self._process != this_process():  # of a fork that Python does not know of, such as one of uWSGI's
            self.begin_anew()
        turn = self._turn  # which a fork replaces
        if not turn.acquire(timeout=min(seconds, threading.TIMEOUT_MAX)):
            raise BackplaneTimeout(
                f"other threads are sending by this Publisher, and it was not this one's turn in {seconds:g} s; "
                "nothing was sent"
            )
        try:
            if self._outlet is None:
                self._outlet = self._backplane.outlet()
            yield self._outlet
        finally:
            turn.release()

    # Its end

    def end(self) -> None:
        """Let go of the connection; the next call makes a new one. Waits for a call that is under way."""
        with self._turn:
            if self._outlet is not None:
                self._outlet.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self.end()


def _ids(exclude: Iterable[Hashable]) -> list[Hashable]:
    if isinstance(exclude, str | bytes) or not isinstance(exclude, Iterable):
        raise TypeError(f"exclude is a list of ids, such as [id], not {printable_repr(exclude, 50)}")
    return list(exclude)
