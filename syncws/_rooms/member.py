r"""One connection in a `Manager`: what it is, how far its life has come, and who calls its on_close.

**Its state.** The registry moves it, under the registry's lock:

    ADMITTED --on_open begins--> OPEN --it is taken out--> OUT --on_close is over--> SETTLED
        \--it is taken out before its on_open--> WITHDRAWN --its thread leaves it--> SETTLED

| state     | in the registry | on_open            | on_close              |
|-----------|-----------------|--------------------|-----------------------|
| ADMITTED  | yes             | to come            | to come               |
| OPEN      | yes             | under way, or over | to come               |
| OUT       | no              | under way, or over | to come, or under way |
| WITHDRAWN | no              | never              | never                 |
| SETTLED   | no              | over, or never     | over, or never        |

**Who calls on_close**, once the member is out:

| closer  | who calls on_close                                                                         |
|---------|--------------------------------------------------------------------------------------------|
| OWN     | its own thread, as it leaves `run` or `register`; there it becomes TAKER                   |
| TAKER   | the thread that takes it out; if it is out already, its own thread                         |
| SETTLER | the settler's thread, or a newer connection of its id, whichever is first                  |
| CALLED  | nobody else: the thread that claimed it has begun, and may be done                         |

    OWN --its own thread leaves--> TAKER --the thread that took it out claims it--> CALLED
                                   TAKER --a send takes it out--> SETTLER --the first thread claims it--> CALLED
"""

from __future__ import annotations

import enum
import threading
import time
from collections.abc import Hashable
from typing import Any, Protocol

from .._base.logs import Told
from .._base.printable import printable_repr
from .._conn.conn import Conn
from .._frames.prepared import PreparedMessage
from ..errors import CloseCode

Message = str | bytes | bytearray | memoryview | PreparedMessage


class State(enum.Enum):
    """How far a member's life has come: see the table at the top of this module."""

    ADMITTED = "admitted"
    OPEN = "open"
    OUT = "out"
    WITHDRAWN = "withdrawn"
    SETTLED = "settled"


class Closer(enum.Enum):
    """Who calls on_close: see the table at the top of this module."""

    OWN = "its own thread"
    TAKER = "the thread that takes it out"
    SETTLER = "the settler"
    CALLED = "it has begun"


class ManagerLike(Protocol):
    """What a Member asks of its Manager, whose module imports this one."""

    def send(self, id: Hashable, message: Message, *, text: bool | None = None) -> bool: ...
    def send_json(self, id: Hashable, value: Any) -> bool: ...
    def join(self, id: Hashable, room: Hashable) -> bool: ...
    def leave(self, id: Hashable, room: Hashable) -> bool: ...
    def close(self, id: Hashable, code: int, reason: str) -> int: ...


class Member(Told):
    """One connection in a `Manager`, made by `Manager.register` and `Manager.run`.

    Any thread may use it, also once it is out: then it takes no messages and is in no room. The manager's lock guards
    what changes, except for ``data``, which is the application's, and ``last_seen``, which one thread writes.

    Attributes:
        id: what it is known by.
        conn: its connection.
        data: a dict for whatever the application wants to keep with it; what `Manager.run` was given is in it.
        opened_at: when it was registered: an instant of time.time(), seconds since the epoch, to be shown or stored.
            For a limit of time see ``age``: the deadlines of a connection are instants of time.monotonic().
        last_seen: when its last message came, an instant of time.time() too, if it is in `Manager.run`; until its first
            message, and for a member that is merely registered, the same as ``opened_at``.
    """

    __slots__ = (
        "__weakref__",
        "_closer",
        "_dropped_before",
        "_error",
        "_in_run",
        "_lock",
        "_manager",
        "_opened",
        "_rooms",
        "_settled",
        "_state",
        "_thread",
        "conn",
        "data",
        "id",
        "last_seen",
        "opened_at",
    )

    def __init__(
        self,
        manager: ManagerLike,
        lock: threading.Lock,
        id: Hashable,
        conn: Conn,
        *,
        in_run: bool,
        data: dict[Any, Any] | None = None,
    ) -> None:
        """To be made by the thread that is in run() or register() for it; lock is the registry's."""
        self.id = id
        self.conn = conn
        self.data: dict[Any, Any] = {} if data is None else data
        self.opened_at = self.last_seen = time.time()
        self._opened = time.monotonic()
        self._manager = manager
        self._lock = lock
        self._in_run = in_run  # so the manager reads its connection, and ends it; else the application does
        self._dropped_before = conn.dropped  # by its send queue, before it was a member
        # Guarded by _lock:
        self._rooms: set[Hashable] = set()  # once it is out: those it was in
        self._state = State.ADMITTED
        self._closer = Closer.OWN
        # The thread that is to call on_close, or is doing it; it must not wait for that. None: any may come to do it.
        self._thread: int | None = threading.get_ident()
        self._error: BaseException | None = None  # why it is out, for on_close
        self._settled: threading.Event | None = None  # made for those who wait until on_close is over

    @property
    def rooms(self) -> frozenset[Hashable]:
        """The rooms it is in; once it is out, those it was in then, so that on_close can tell who is left there."""
        with self._lock:
            return frozenset(self._rooms)

    @property
    def age(self) -> float:
        """Seconds since it was registered, by a clock that nobody sets: for limits of time."""
        return time.monotonic() - self._opened

    def send(self, message: Message, *, text: bool | None = None) -> bool:
        """`Manager.send`, to this connection alone: of message, and text, as there; whether it took it."""
        return self._manager.send(self, message, text=text)

    def send_json(self, value: Any) -> bool:
        """`Manager.send_json`, of a value, to this connection alone; whether it took it."""
        return self._manager.send_json(self, value)

    def join(self, room: Hashable) -> bool:
        """`Manager.join`, of a room, by this connection alone; whether it was a member."""
        return self._manager.join(self, room)

    def leave(self, room: Hashable) -> bool:
        """`Manager.leave`, of a room, by this connection alone; whether it was in it."""
        return self._manager.leave(self, room)

    def close(self, code: int = CloseCode.NORMAL_CLOSURE, reason: str = "") -> bool:
        """`Manager.close`, of this connection alone, with code and reason; whether it was a member until then."""
        return self._manager.close(self, code, reason) > 0

    def log_fields(self) -> dict[str, object]:
        """What records of the log say of it: those of its connection. Any thread."""
        return self.conn.log_fields()

    def __repr__(self) -> str:
        return f"<syncws.Member {printable_repr(self.id)} {self._state.value} {self.conn!r}>"

    # Its life: steps that the registry takes, which holds the lock

    @property
    def _is_in(self) -> bool:
        """Whether it is in the registry."""
        return self._state is State.ADMITTED or self._state is State.OPEN

    def _open(self) -> bool:
        """on_open is next; False if it was taken out before, and never has one."""
        assert self._lock.locked()
        if self._state is not State.ADMITTED:
            return False
        self._state = State.OPEN
        return True

    def _leave_registry(self, error: BaseException | None, *, lost: bool) -> None:
        """It is out, for a reason that on_close gets. lost: by a send, whose thread calls no on_close."""
        assert self._lock.locked() and self._is_in
        self._state = State.OUT if self._state is State.OPEN else State.WITHDRAWN
        self._error = error
        if self._closer is Closer.TAKER and lost:
            self._closer = Closer.SETTLER
        elif self._closer is Closer.TAKER:
            self._thread = threading.get_ident()

    def _leave_thread(self) -> None:
        """Its own thread is done with it: on_close is for that thread if it is out, else for whoever takes it out."""
        assert self._lock.locked() and self._closer is Closer.OWN
        self._closer = Closer.TAKER
        if self._is_in:
            self._thread = None

    def _claim(self) -> bool:
        """Whether on_close is for this thread to call, now: of all that ask one gets True, once."""
        assert self._lock.locked()
        thread = threading.get_ident()
        if not (self._closer is Closer.SETTLER or (self._closer is Closer.TAKER and self._thread == thread)):
            return False
        self._closer = Closer.CALLED
        self._thread = thread
        return True

    def _expect_settled(self) -> threading.Event | None:
        """What is set once on_close is over; None if it never comes, is over, or waits for this very thread."""
        assert self._lock.locked()
        if self._state is not State.OUT or self._thread == threading.get_ident():
            return None
        self._settled = self._settled or threading.Event()
        return self._settled

    def _settle(self) -> None:
        """on_close is over, or there was none to call. Whoever holds the lock sets `_settled` once it has let go."""
        assert self._lock.locked() and self._closer is Closer.CALLED
        self._state = State.SETTLED
        self._error = None  # whose traceback may know the member
