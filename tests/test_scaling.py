"""docs/scaling.md: its recipes do what it says of them, and the rights that it lists for Redis are enough."""

from __future__ import annotations

import json
import re
import unittest
from pathlib import Path
from typing import Any

import syncws
from syncws.testing import LeakChecks, MemoryBackplane, MemoryBus, await_, pair

from .buses import SCHEME, RedisServer, need_client
from .tasks import PATIENCE

PAGE = (Path(__file__).resolve().parent.parent / "docs" / "scaling.md").read_text()


def block(name: str) -> str:
    """The block of the page that defines a function of this name."""
    blocks = re.findall(r"^```python\n(.*?)^```", PAGE, re.MULTILINE | re.DOTALL)
    (found,) = [each for each in blocks if f"def {name}(" in each]
    return str(found)


class RecipeCase(LeakChecks):
    """A recipe, in two processes that are one."""

    name: str
    history: syncws.History | None = None

    def setUp(self) -> None:
        super().setUp()
        self.bus = MemoryBus(history=self.history)

    def run_recipe(self) -> tuple[dict[str, Any], syncws.Manager]:
        """Run the recipe on the bus of this test; what it has defined, and its Manager."""
        text = re.sub(r"syncws\.\w+Backplane\(.*?\)", "backplane", block(self.name))
        if "manager = " not in text:
            text = f"manager = syncws.Manager(backplane=backplane)\n{text}"
        space: dict[str, Any] = {"syncws": syncws, "backplane": MemoryBackplane(self.bus)}
        exec(text, space)
        manager: syncws.Manager = space["manager"]
        self.addCleanup(manager.end)
        return space, manager

    def member(
        self, manager: syncws.Manager, name: str, rooms: tuple[str, ...] = ("lobby",), **data: Any
    ) -> syncws.Conn:
        """The peer's end of a new member."""
        near, far = self.enterContext(pair())
        manager.register(near, id=name, rooms=rooms, data=data)
        return far

    def hear(self, conn: syncws.Conn) -> Any:
        return json.loads(conn.receive(PATIENCE))

    def lose_something(self) -> None:
        self.bus.cut()
        self.bus.mend()


class ReloadTests(RecipeCase):
    name = "on_gap"

    def test_pages_are_told(self) -> None:
        """After a loss on the bus the members of each process are told to reload, once for each process."""
        conns = [self.member(self.run_recipe()[1], name) for name in ("ann", "bob")]
        self.lose_something()
        for conn in conns:
            self.assertEqual(self.hear(conn), {"reload": True})


class CloseTests(RecipeCase):
    name = "close_who_missed_something"

    def test_members_are_closed(self) -> None:
        """After a loss on the bus the members of each process are closed with 1012."""
        conns = [self.member(self.run_recipe()[1], name) for name in ("ann", "bob")]
        self.lose_something()
        for conn in conns:
            with self.assertRaises(syncws.CloseError) as caught:
                conn.receive(PATIENCE)
            self.assertEqual(caught.exception.code, 1012)


class PresenceTests(RecipeCase):
    name = "tell_who_is_online"

    def test_who_comes_and_goes(self) -> None:
        """Everybody in every process is told who is online when one comes, leaves, or something was lost."""
        (_, one), (_, other) = self.run_recipe(), self.run_recipe()
        ann = self.member(one, "ann")
        self.assertEqual(self.hear(ann), {"online": ["ann"], "complete": True})
        bob = self.member(other, "bob")
        for each in (ann, bob):
            self.assertEqual(self.hear(each)["online"], ["ann", "bob"])
        one.unregister("ann")
        self.assertEqual(self.hear(bob), {"online": ["bob"], "complete": True})
        self.lose_something()
        self.assertEqual(self.hear(bob)["online"], ["bob"])


class HistoryTests(RecipeCase):
    name = "come_back"
    history = syncws.History()

    def test_what_was_missed(self) -> None:
        """Who comes back, to another process, gets what was said since the position that it has, and is told so."""
        (_, one), (_, other) = self.run_recipe(), self.run_recipe()
        first = self.hear(self.member(one, "ann", (), since=None))
        one.broadcast_json({"text": "hi"}, room="lobby")
        back = self.member(other, "bob", (), since=first["position"])
        self.assertEqual(self.hear(back)["text"], "hi")
        self.assertTrue(self.hear(back)["recovered"])


class UnreadTests(RecipeCase):
    name = "catch_up"

    def test_what_was_said_meanwhile(self) -> None:
        """Who comes back gets what was said after the number that it has, and then what is said in any process."""
        there, manager = self.run_recipe()
        elsewhere = self.run_recipe()[0]
        for each in (there, elsewhere):
            self.addCleanup(each["database"].close)
        for words in ("one", "two", "three"):
            there["say"]("lobby", words)
        ann = self.member(manager, "ann", ())
        there["catch_up"](manager.get("ann"), "lobby", 1)
        elsewhere["say"]("lobby", "four")
        self.assertEqual([self.hear(ann)["words"] for _ in range(3)], ["two", "three", "four"])


class RightsTests(LeakChecks):
    """The lines of an ACL, on a server that allows nothing else."""

    def setUp(self) -> None:
        super().setUp()
        need_client()
        self.plain, self.with_history = re.findall(r"^```acl\n(.*)\n```", PAGE, re.MULTILINE)

    def serve(self, rights: str) -> str:
        server = self.enterContext(RedisServer(acl=["user default on nopass ~* &* +@all", rights]))
        return f"{SCHEME}://shop:secret@127.0.0.1:{server.port}/0"

    def manager(self, url: str, **options: Any) -> syncws.Manager:
        manager = syncws.Manager(backplane=syncws.RedisBackplane(url, prefix="shop", **options))
        self.addCleanup(manager.end)
        return manager

    def check(self, url: str, **options: Any) -> None:
        """A message goes from one process to another, and nothing is refused."""
        one, other = (self.manager(url, **options) for _ in range(2))
        near, far = self.enterContext(pair())
        with self.assertNoLogs("syncws.backplane", "WARNING"):
            other.register(near, id="ann", rooms=["lobby"])
            one.broadcast("hello", room="lobby")
            self.assertEqual(far.receive(PATIENCE), "hello")
            for each in (one, other):
                self.assertTrue(await_(lambda each=each: each.backplane_health().error is None))

    def test_without_a_history(self) -> None:
        """The rights for Pub/Sub are enough."""
        self.check(self.serve(self.plain))

    def test_with_a_history(self) -> None:
        """The rights for rooms that remember are enough to keep a message, and to read what was kept."""
        url = self.serve(self.with_history)
        history = syncws.History()
        self.check(url, history=history)
        backplane = syncws.RedisBackplane(url, prefix="shop", history=history)
        archive = backplane.archive
        assert archive is not None
        self.addCleanup(archive.close)
        self.assertTrue(archive.read('r:"lobby"', None, PATIENCE).position)


if __name__ == "__main__":
    unittest.main()
