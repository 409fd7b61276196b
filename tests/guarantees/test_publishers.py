"""A Publisher while the bus is stopped: one copy once it goes on, or BackplaneTimeout in time; never two copies.

Over Redis and Valkey, and over a local bus whose one process is stopped.
"""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import tempfile
import time
import unittest
from pathlib import Path
from typing import Any, ClassVar

from syncws import BackplaneTimeout, Manager, Publisher, RedisBackplane
from syncws.testing import pair
from tests.bus.locals import skip_without_unix_sockets
from tests.buses import Kind, RedisServer, need_client
from tests.guarantees.support import GuaranteeTestCase, note, size
from tests.tasks import PATIENCE, Task, stop_process

#: Seconds for which the bus is stopped; a little more than the default of clients that give up.
STOPPED = size(1.5, 4.0)

#: A process with a Manager on a local bus, which prints what its one member gets.
_NODE = """
import sys
from syncws import LocalBackplane, Manager
from syncws.testing import pair

manager = Manager(backplane=LocalBackplane(sys.argv[1]))
with pair() as (conn, peer):
    manager.register(conn, "ann", ["lobby"])
    print("there", flush=True)
    for message in peer:
        print(message if len(message) < 20 else len(message), flush=True)
"""


class RedisCases:
    """A server that is stopped."""

    kind: ClassVar[Kind]

    class Base(GuaranteeTestCase):
        kind: ClassVar[Kind]

        def setUp(self) -> None:
            need_client()
            super().setUp()
            self.server = self.enterContext(RedisServer(self.kind))
            self.manager = Manager(backplane=RedisBackplane(self.server.url))
            self.addCleanup(self.manager.end)
            conn, self.ann = self.enterContext(pair())
            self.manager.register(conn, "ann", ["lobby"])
            self.addCleanup(self.server.go_on)

        def publisher(self, *, used: bool) -> Publisher:
            publisher = self.enterContext(Publisher(self.server.url, timeout=PATIENCE))
            if used:
                publisher.broadcast("before")
                self.assertEqual(self.ann.receive(PATIENCE), "before")
            return publisher

        def test_one_copy(self) -> None:
            """Stopped for four seconds, with a timeout of ten: it returns once the server goes on, and there is one
            copy; also where the connection is yet to be made."""
            for used in (True, False):
                with self.subTest(used=used):
                    publisher = self.publisher(used=used)
                    self.server.stop()
                    sending = Task(publisher.broadcast, f"once {used}", room="lobby", timeout=10)
                    time.sleep(STOPPED)
                    self.assertFalse(sending.done)
                    self.server.go_on()
                    sending.result()
                    publisher.broadcast("after", room="lobby")
                    self.assertEqual([self.ann.receive(PATIENCE) for _ in range(2)], [f"once {used}", "after"])
            self.assertEqual(_health(self.manager).gaps, 0)

        def test_timeout(self) -> None:
            """With a timeout of one second it is BackplaneTimeout within 1.2, which says that it may have been
            delivered; it comes once at most, and the next message after it."""
            publisher = self.publisher(used=True)
            self.server.stop()
            began = time.monotonic()
            with self.assertRaisesRegex(BackplaneTimeout, "it may have been delivered"):
                publisher.broadcast("perhaps", room="lobby", timeout=1)
            took = time.monotonic() - began
            self.server.go_on()
            publisher.broadcast("after", room="lobby")
            got = [self.ann.receive(PATIENCE)]
            while got[-1] != "after":
                got.append(self.ann.receive(PATIENCE))
            self.assertIn(got, (["perhaps", "after"], ["after"]))
            note(f"{self.kind}: BackplaneTimeout after {took:.2f} s of 1")
            self.assertLess(took, 1.2)


class RedisTests(RedisCases.Base):
    kind = "redis"


class ValkeyTests(RedisCases.Base):
    kind = "valkey"


class LocalTests(GuaranteeTestCase):
    """A process of a local bus that is stopped."""

    def setUp(self) -> None:
        skip_without_unix_sockets()
        super().setUp()
        folder = self.enterContext(tempfile.TemporaryDirectory(prefix="bus"))
        self.bus = os.path.join(folder, "bus")
        self.node = self.enterContext(
            subprocess.Popen(
                [sys.executable, "-c", _NODE, self.bus],
                cwd=Path(__file__).parents[2],
                stdout=subprocess.PIPE,
                text=True,
            )
        )
        self.addCleanup(self.node.kill)
        self.assertEqual(self.hear(), "there")
        self.publisher = self.enterContext(Publisher(f"local:{self.bus}", timeout=PATIENCE))

    def hear(self) -> str:
        assert self.node.stdout is not None
        line: str = Task(self.node.stdout.readline).result()
        return line.strip()

    def test_delivered_later(self) -> None:
        """What its socket has room for is taken at once, and delivered when it goes on: once."""
        stop_process(self.node.pid)
        for number in range(3):
            self.publisher.broadcast(str(number), room="lobby", timeout=1)
        self.node.send_signal(signal.SIGCONT)
        self.publisher.broadcast("after", room="lobby")
        self.assertEqual([self.hear() for _ in range(4)], ["0", "1", "2", "after"])

    def test_timeout(self) -> None:
        """What its socket has no room for is BackplaneTimeout in time, and is not delivered twice."""
        stop_process(self.node.pid)
        began = time.monotonic()
        with self.assertRaisesRegex(BackplaneTimeout, "it may be delivered yet"):
            self.publisher.broadcast("x" * 1_000_000, room="lobby", timeout=1)
        took = time.monotonic() - began
        self.node.send_signal(signal.SIGCONT)
        self.publisher.broadcast("after", room="lobby")
        got = [self.hear()]
        while got[-1] != "after":
            got.append(self.hear())
        self.assertIn(got, (["1000000", "after"], ["after"]))
        self.assertLess(took, 1.2)


def _health(manager: Manager) -> Any:
    health = manager.backplane_health()
    assert health is not None
    return health


if __name__ == "__main__":
    unittest.main()
