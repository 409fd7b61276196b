"""Who is connected to a server, and whether that server is closing.

Every connection is in the roster or closed, at every instant: that is what makes a shutdown complete. So it enters
before its thread starts, since a thread that entered by itself could be late, and a shutdown in between would neither
tell it nor wait for it.

Once the roster is closed nothing enters. Whoever brings something in later (a request, a Conn) looks at `closing`
under the same lock, and tells it himself.

Before it is closed it may be *draining*: the WebSockets are told one after another, and the rest goes on (`Retreat`).
"""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Hashable
from typing import Literal

from .._base.forks import begin_anew_in_child
from .._conn.farewell import Leaving, Rest, farewell, rest_of
from .._conn.ledger import Ledger
from ..errors import CloseCode
from .capacity import Capacity, Obstacle
from .retreat import Retreat
from .workers import Share


class Roster:
    """The connections of one server, in this process; at most so many as its `Capacity` says.

    Args:
        limit, of_one, handshakes: of all, of one address, before their first request; None for no limit (of all, of
            one address), or for a part of all.

    Concurrency: every method is for any thread. `lock`, whose condition is `changed`, guards everything here,
    and what a Server and its Connections say it guards. While it is held nobody is called, and nothing but the Waker's
    lock is taken: snapshot, let go, act.
    """

    def __init__(self, limit: int | None, *, of_one: int | None = None, handshakes: int | None = None) -> None:
        self._capacity = Capacity(limit, of_one, handshakes)
        self._connections: set[Leaving]
        self._closing = False  # never goes back
        self._code: int = CloseCode.GOING_AWAY  # what the peers are told once it is closed; set with `_closing`
        self._retreat: Retreat | None = None  # once it drains; never goes back
        self._accepting: int | None = None  # the thread that lets newcomers in yet, also while it drains
        self._share: Share | None = None  # in one of several workers, while it accepts
        #: What is counted; it has a lock of its own, and begins anew by itself.
        self.ledger = Ledger()
        self.begin_anew()
        begin_anew_in_child(self)

    def begin_anew(self) -> None:
        """Make the lock, anew in the child of a fork: another thread of the parent may have held it.

        The connections are the parent's. Those that are here run in threads that the child has not.
        """
        self._connections = set()
        self._share = None  # its number is the worker's, whose child this is
        self._capacity.begin_anew()
        # Reentrant: an application's own signal handler may call Server.shutdown while its thread is inside.
        self.lock = threading.RLock()
        self.changed = threading.Condition(self.lock)

    def __len__(self) -> int:
        return len(self._connections)

    @property
    def closing(self) -> bool:
        """Whether nothing enters any more. May be read without the lock: it never goes back to False."""
        return self._closing

    @property
    def code(self) -> int:
        """What peers are told, once the roster is closed. Read after `closing`, without the lock: it was set before."""
        return self._code

    @property
    def draining(self) -> bool:
        """Whether nobody new is wanted. May be read without the lock: it never goes back to False."""
        return self._retreat is not None

    def fit(self, most: int) -> None:
        """There is room for so many at most, whatever the limit says."""
        with self.lock:
            self._capacity.fit(most)

    @property
    def most(self) -> int | None:
        """How many connections there may be. For any thread: one reference, set before the first connection."""
        return self._capacity.most

    @property
    def most_handshakes(self) -> int | None:
        """How many may be before their first request. As `most`."""
        return self._capacity.handshakes

    @property
    def is_full(self) -> bool:
        """Whether there is no room for one more."""
        with self.lock:
            return self._capacity.is_full

    def enter(self, connection: Leaving, network: Hashable = None) -> Literal["entered", "closing"] | Obstacle:
        """Let a connection in, if there is room and the roster is open; what happened. network: see `network_of`."""
        with self.lock:
            if self._closing:
                return "closing"
            if (obstacle := self._capacity.obstacle(network)) is not None:
                return obstacle
            self._capacity.add(connection, network)
            self._connections.add(connection)
            self._note_share()
            return "entered"

    def enter_beyond(self, connection: Leaving, network: Hashable) -> bool:
        """Let one in for which there is no room, to be heard and sent away; False if there are too many of these."""
        with self.lock:
            if self._closing or not self._capacity.add_beyond(connection, network):
                return False
            self._connections.add(connection)
            return True

    def has_asked(self, connection: Leaving) -> None:
        """The first request of a connection is there. Idempotent."""
        with self.lock:
            self._capacity.has_asked(connection)

    def move(self, connection: Leaving, network: Hashable) -> bool:
        """Count a connection as one of this network, which its request tells; False if that has all it may have."""
        with self.lock:
            return self._capacity.move(connection, network)

    def leave(self, connection: Leaving) -> None:
        """A connection is closed, and its thread does no more for it. Idempotent."""
        with self.lock:
            if connection in self._connections:
                self._connections.discard(connection)
                self._capacity.remove(connection)
                if self._retreat is not None:
                    self._retreat.discard(connection)
            self._note_share()
            self.changed.notify_all()

    def everybody(self) -> list[Leaving]:
        """Those who are here now."""
        with self.lock:
            return list(self._connections)

    def drain(self, end: float) -> int:
        """From here on nobody new is wanted, and by an instant of time.monotonic() all WebSockets are told to go.

        How many there are to be told. Again: the sooner end counts.
        """
        with self.lock:
            if self._retreat is None:
                self._retreat = Retreat((each for each in self._connections if each.conn is not None), end)
            self._retreat.hasten(end)
            self.changed.notify_all()
            return len(self._retreat)

    def has_upgraded(self, connection: Leaving) -> int | None:
        """A connection has become a WebSocket: under the lock. With which code it is told to go, if it is told now."""
        if self._closing:
            return self._code
        if self._retreat is not None:
            self._retreat.add(connection)
            self.changed.notify_all()
        return None

    def tell_in_turn(self, tell: Callable[[Leaving], object]) -> None:
        """Tell the WebSockets of a roster that drains, each in its turn, until nobody is left, or it is over.

        It is over at the end that `drain` was given, or when the roster is closed. Several threads may be in here: each
        connection is told by one of them, at its time.
        """
        while (each := self._next_to_tell()) is not None:
            tell(each)

    def _next_to_tell(self) -> Leaving | None:
        """Wait until somebody is to be told; None once it is over."""
        own = threading.get_ident()
        with self.lock:
            assert self._retreat is not None
            while not self._closing and (now := time.monotonic()) < self._retreat.end:
                if self._accepting not in (None, own):
                    # Whoever was told now could come back to the old listener, and be told once more.
                    self.changed.wait(min(self._retreat.end - now, threading.TIMEOUT_MAX))
                    continue
                if all(each.thread == own for each in self._connections):  # one at most, if a handler has called
                    return None
                due = self._retreat.next_due(now)
                if not isinstance(due, float):
                    return due
                self.changed.wait(min(due, threading.TIMEOUT_MAX))
        return None

    def set_accepting(self, accepting: bool) -> None:
        """The accept loop, which is this thread, lets newcomers in; or no more: only then a drain tells anybody."""
        with self.lock:
            self._accepting = threading.get_ident() if accepting else None
            self.changed.notify_all()

    def close(self, code: int = CloseCode.GOING_AWAY) -> int:
        """From here on nothing enters, and peers are told this code; which one, if it was closed with another."""
        with self.lock:
            if not self._closing:
                self._code = code  # first: who finds it closed reads the code
                self._closing = True
            self.changed.notify_all()
            return self._code

    def announce(self, code: int, reason: str) -> Rest:
        """Have all connections ready to be told, once the roster is closed: their readers rest until they are."""
        return rest_of(self.everybody(), code, reason)

    def farewell(self, code: int, reason: str, deadline: float, rest: Rest | None = None) -> int:
        """End all connections, once the roster is closed; how many handlers are still running. See `farewell`."""
        return farewell(
            self._connections, self.lock, self.changed, code, reason, deadline=deadline, tell_own=True, rest=rest
        )

    # In one of several workers

    def begin_sharing(self, share: Share) -> None:
        """This worker accepts from now on; how many connections it has is noted for the others."""
        with self.lock:
            self._share = share

    def end_sharing(self) -> None:
        """This worker accepts no more. Idempotent."""
        with self.lock:
            if self._share is not None:
                self._share.give_up()
            self._share = None

    @property
    def should_hesitate(self) -> bool:
        """Whether a new connection had better go to another worker.

        Read without the lock, since it is a hint: with an old number this worker hesitates without need, or does not.
        """
        share = self._share
        return share is not None and (share.is_large() or self._capacity.is_full)

    def _note_share(self) -> None:
        """Under the lock, or an old number could take the place of a new one."""
        if self._share is not None:
            self._share.note(len(self._connections))
