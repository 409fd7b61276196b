"""What the tests of the rooms share: managers over real connections, and callbacks that write down what they hear."""

from __future__ import annotations

import threading
from typing import Any

from syncws import Conn, Manager, Member
from syncws._rooms.member import State
from syncws.testing import LeakChecks, Peer, await_, pair, peer
from tests.tasks import PATIENCE, Task, linger_briefly


class Log:
    """The callbacks of a manager, which write down what was called, for whom, and by which thread."""

    def __init__(self) -> None:
        self.calls: list[tuple[str, Any, Any]] = []
        self.threads: list[int] = []
        self.opened = threading.Semaphore(0)
        self.closed = threading.Semaphore(0)
        self.heard = threading.Semaphore(0)

    def options(self) -> dict[str, Any]:
        return {"on_open": self.on_open, "on_message": self.on_message, "on_close": self.on_close}

    def on_open(self, member: Member) -> None:
        self._note("open", member.id, None)
        self.opened.release()

    def on_message(self, member: Member, message: str | bytes) -> None:
        self._note("message", member.id, message)
        self.heard.release()

    def on_close(self, member: Member, error: Exception | None) -> None:
        self._note("close", member.id, getattr(error, "code", error))
        self.closed.release()

    def _note(self, *call: Any) -> None:
        self.calls.append(call)
        self.threads.append(threading.get_ident())


class ManagerCase(LeakChecks):
    """Managers over real connections."""

    def setUp(self) -> None:
        super().setUp()
        self.log = Log()
        linger_briefly(self)

    def connect(self, **options: Any) -> tuple[Conn, Conn]:
        """(ours, theirs): two connections that talk to each other, for the length of the test."""
        return self.enterContext(pair(**options))

    def join(self, manager: Manager, id: Any = None, rooms: Any = (), **options: Any) -> tuple[Member, Conn]:
        """A registered member, and its peer."""
        conn, client = self.connect(**options)
        return manager.register(conn, id, rooms), client

    def start(
        self, manager: Manager, id: Any, rooms: Any = (), *, opened: bool = True, **options: Any
    ) -> tuple[Task, Conn]:
        """A member in run(), under way, and its peer: its on_open has begun, or, if not opened, is to come."""
        conn, client = self.connect(**options)
        task = Task(manager.run, conn, id, rooms)
        states = {State.OPEN} if opened else {State.ADMITTED, State.OPEN}
        self.assertTrue(await_(lambda: any(m.conn is conn and m._state in states for m in manager.members())))
        return task, client

    def stuck(self, **options: Any) -> tuple[Conn, Peer]:
        """A connection whose peer reads nothing, and whose socket is full."""
        conn, raw = self.enterContext(peer(buffer=1 << 16, **options))
        self.assertTrue(conn.send_nowait(bytes(4 << 20)))
        self.assertTrue(conn._transport.pending)
        return conn, raw

    def half(self) -> dict[str, Any]:
        """on_open and on_close that are written down."""
        return {"on_open": self.log.on_open, "on_close": self.log.on_close}

    def wait(self, semaphore: threading.Semaphore) -> None:
        self.assertTrue(semaphore.acquire(timeout=PATIENCE), "it was never called")
