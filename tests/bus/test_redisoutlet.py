"""The way out that waits: what is sent once, what twice, and what the error says."""

from __future__ import annotations

import os
import time
import unittest
from typing import Any

from syncws import BackplaneError, BackplaneTimeout, History, RedisBackplane
from tests.bus.rediscases import Node, RedisCase
from tests.buses import DarkProxy, RedisServer
from tests.tasks import PATIENCE, Task


class OutletTests(RedisCase):
    def outlet(self, source: object, **options: Any) -> Any:
        outlet = RedisBackplane(source, **options).outlet()
        self.addCleanup(outlet.close)
        return outlet

    def pair(self, server: RedisServer, url: str | None = None, **options: Any) -> tuple[Any, Node]:
        node = self.up(server.url)
        node.subscribe("a")
        return self.outlet(url or server.url, **options), node

    def test_sends_in_order(self) -> None:
        """It returns once the server has taken all; no thread is needed for it."""
        outlet, node = self.pair(self.server())
        outlet.send([("a", b"%d" % i) for i in range(100)], PATIENCE)
        outlet.send([("a", b"last")], PATIENCE)
        node.wait_for("a", *range(100), "last")

    def test_a_connection_that_was_idle_for_too_long(self) -> None:
        """What the server has closed meanwhile is made anew, and all is sent once more."""
        server = self.server()
        outlet, node = self.pair(server)
        outlet.send([("a", b"1")], PATIENCE)
        server.kill_clients("normal")
        outlet.send([("a", b"2")], PATIENCE)
        node.wait(lambda: node.got("a")[-1:] == ["2"])

    def test_a_stopped_server_gets_one_copy(self) -> None:
        """It is waited for on the same connection: nothing is sent twice."""
        server = self.server()
        outlet, node = self.pair(server)
        outlet.send([("a", b"1")], PATIENCE)
        server.stop()
        sending = Task(outlet.send, [("a", b"2")], PATIENCE)
        time.sleep(0.5)
        server.go_on()
        sending.result()
        outlet.send([("a", b"3")], PATIENCE)
        node.wait_for("a", 1, 2, 3)

    def test_timeout(self) -> None:
        """The error says that it may have been delivered, and it is; the next one is sent on a new connection."""
        server = self.server()
        outlet, node = self.pair(server)
        outlet.send([("a", b"1")], PATIENCE)
        server.stop()
        with self.assertRaisesRegex(BackplaneTimeout, r"in 0\.2 s .*may have been delivered"):
            outlet.send([("a", b"2")], 0.2)
        server.go_on()
        outlet.send([("a", b"3")], PATIENCE)
        node.wait_for("a", 1, 2, 3)

    def test_timeout_before_anything_was_sent(self) -> None:
        """A server that says nothing, and one that is not there: the error says that nothing was sent."""
        server = self.server()
        server.stop()
        with self.assertRaisesRegex(BackplaneTimeout, "nothing was sent"):
            self.outlet(server.url).send([("a", b"x")], 0.2)
        server.go_on()
        server.kill()
        with self.assertRaisesRegex(BackplaneError, "is not there .*refused.*nothing was sent") as caught:
            self.outlet(server.url).send([("a", b"x")], 0.2)
        self.assertNotIsInstance(caught.exception, BackplaneTimeout)

    def test_a_server_that_comes_in_time(self) -> None:
        """It is tried for as long as there is time."""
        server = self.server()
        server.kill()
        outlet = self.outlet(server.url)
        sending = Task(outlet.send, [("a", b"x")], PATIENCE)
        time.sleep(0.3)
        server.start()
        sending.result()

    def test_twice_at_most(self) -> None:
        """A network that breaks each time after something was sent: it is not sent a third time."""
        server = self.server()
        with DarkProxy(server.port) as proxy:
            outlet, node = self.pair(server, proxy.url)
            outlet.send([("a", b"1")], PATIENCE)
            proxy.dark("down")
            sending = Task(outlet.send, [("a", b"2")], PATIENCE)
            node.wait(lambda: node.got("a") == ["1", "2"])
            proxy.light()
            sending.result()
            count = len(node.got("a"))
            self.assertLessEqual(count, 3)
            outlet.close()

    def test_refusals(self) -> None:
        """A password that is wrong, and a right that is missing: BackplaneError at once, which says so."""
        server = self.server(password="pw")
        with self.assertRaisesRegex(BackplaneError, "refuses") as caught:
            self.outlet(server.url.replace("pw", "wrong")).send([("a", b"x")], PATIENCE)
        self.assertNotIsInstance(caught.exception, BackplaneTimeout)
        with self.assertRaisesRegex(BackplaneError, "see user and password"):
            self.outlet(server.url.replace(":pw@", "")).send([("a", b"x")], PATIENCE)
        rights = self.server(acl=["user default on nopass ~* &* +@all -publish -set"])
        with self.assertRaisesRegex(BackplaneError, r"permission.* needs \+publish and &syncws:0:\*"):
            self.outlet(rights.url).send([("a", b"x")], PATIENCE)

    def test_a_user_who_may_only_publish(self) -> None:
        """+publish alone is enough."""
        acl = ["user default on nopass ~* &* +@all", "user app on >pw resetkeys &syncws:* -@all +publish"]
        server = self.server(acl=acl)
        outlet, node = self.pair(server, server.url.replace("//", "//app:pw@"))
        outlet.send([("a", b"1")], PATIENCE)
        node.wait_for("a", 1)

    def test_a_replica(self) -> None:
        """Nothing counts as sent at a server where hardly anybody would hear it."""
        master, replica = self.server(), self.server()
        replica.replicate(master)
        with self.assertRaisesRegex(BackplaneTimeout, "READONLY"):
            self.outlet(replica.url).send([("a", b"x")], 0.5)

    def test_messages_that_are_kept(self) -> None:
        """keep=True puts them into the history."""
        server = self.server()
        outlet, node = self.pair(server, history=History())
        for _ in range(2):
            outlet.send([("a", b"1"), ("a", b"2")], PATIENCE, keep=True)
        node.wait(lambda: len(node.told.received_all) == 4)
        self.assertTrue(all(each.position for each in node.told.received_all))

    @unittest.skipUnless(hasattr(os, "fork"), "this system has no fork")
    def test_fork(self) -> None:
        """The child of a fork has a connection of its own, and the parent's goes on."""
        server = self.server()
        outlet, node = self.pair(server)
        outlet.send([("a", b"1")], PATIENCE)
        pid = os.fork()
        if pid == 0:
            try:
                outlet.send([("a", b"2")], PATIENCE)
                outlet.close()
            finally:
                os._exit(0)
        os.waitpid(pid, 0)
        outlet.send([("a", b"3")], PATIENCE)
        node.wait_for("a", 1, 2, 3)


if __name__ == "__main__":
    unittest.main()
