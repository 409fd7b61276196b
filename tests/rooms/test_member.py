"""A member: what it knows, its states, and who calls its on_close."""

from __future__ import annotations

import gc
import logging
import threading
import unittest
import weakref
from types import MappingProxyType
from unittest import mock

from syncws import Manager, Member
from syncws._rooms.member import Closer, State
from syncws.testing import await_
from tests.tasks import PATIENCE, Task

from .support import ManagerCase


class MemberTests(ManagerCase):
    """What a member knows, and says of itself."""

    def test_what_a_member_knows(self) -> None:
        """When it came, when it was last heard, and whatever the application wants to keep with it."""
        heard = []

        def on_message(member: Member, message: str | bytes) -> None:
            heard.append(member.last_seen)
            self.log.on_message(member, message)

        manager = Manager(**{**self.log.options(), "on_message": on_message})
        with mock.patch("time.time", return_value=1000.0):
            task, client = self.start(manager, "ann", ["lobby"])
            self.wait(self.log.opened)
        member = manager.get("ann")
        assert member is not None
        self.assertEqual((member.opened_at, member.last_seen, member.data), (1000.0, 1000.0, {}))
        member.data["color"] = "red"
        with mock.patch("time.time", return_value=1005.0):
            client.send("hello")
            self.wait(self.log.heard)
        self.assertEqual((member.opened_at, member.last_seen, heard), (1000.0, 1005.0, [1005.0]))
        self.assertRegex(repr(member), "^<syncws.Member 'ann' open <syncws.Conn server .* open>>$")
        client.close()
        task.result()

    def test_data_to_begin_with(self) -> None:
        """run and register take data, which is there before on_open, in a dict of the member's own."""
        given, seen = {"name": "Ann"}, []
        manager = Manager(on_open=lambda member: seen.append(member.data))
        conn, client = self.connect()
        task = Task(manager.run, conn, "ann", data=given)
        self.assertTrue(await_(lambda: len(seen) == 1))
        registered = manager.register(self.connect()[0], "bob", data=MappingProxyType(given))
        registered.data["name"] = "Bob"
        self.assertEqual((seen, given), ([{"name": "Ann"}, {"name": "Bob"}], {"name": "Ann"}))
        for wrong in (5, "name", [("name", "Ann")]):
            with self.assertRaisesRegex(TypeError, "data is a dict"):
                manager.register(self.connect()[0], "cid", data=wrong)  # type: ignore[arg-type]
        self.assertNotIn("cid", manager)
        client.close()
        task.result()

    def test_age(self) -> None:
        """Seconds since it was registered, by the clock of deadlines, which nobody sets."""
        manager = Manager()
        with mock.patch("time.monotonic", return_value=1000.0):
            member = manager.register(self.connect()[0], "ann")
        with mock.patch("time.monotonic", return_value=1005.5), mock.patch("time.time", return_value=0.0):
            self.assertEqual(member.age, 5.5)

    def test_what_it_says_of_itself(self) -> None:
        """Its repr names its id, its state and its connection, in that order."""
        manager = Manager()
        member, _ = self.join(manager, "ann")
        self.assertRegex(repr(member), "^<syncws.Member 'ann' open <syncws.Conn server .* open>>$")
        manager.unregister(member)
        self.assertRegex(repr(member), "^<syncws.Member 'ann' settled <syncws.Conn server .* open>>$")

    def test_nothing_keeps_one_that_is_settled(self) -> None:
        """Once run() is over nothing keeps its member, nor what on_close got, until the garbage is collected."""
        told: list[weakref.ref[object]] = []

        class Bug(Exception):
            """What a callback raises; unlike those built in it may be referred to weakly."""

        def fail(member: Member, message: str | bytes) -> None:
            raise Bug

        def on_close(member: Member, error: BaseException | None) -> None:
            told.extend((weakref.ref(member), weakref.ref(error)))

        manager = Manager(on_message=fail, on_close=on_close)
        conn, client = self.connect()
        client.send("x")
        self.addCleanup(logging.disable, logging.root.manager.disable)
        logging.disable()  # what is logged may be kept
        gc.disable()
        self.addCleanup(gc.enable)
        Task(client.read_message)
        Task(manager.run, conn, "ann").result()
        self.assertEqual([each() for each in told], [None, None])


class StateTests(ManagerCase):
    """The states of a member, and who calls its on_close: the tables at the top of the module."""

    def setUp(self) -> None:
        super().setUp()
        self.seen: list[tuple[str, State, Closer]] = []

    def see(self, what: str, member: Member) -> None:
        """Note the state of a member."""
        self.seen.append((what, member._state, member._closer))

    def manager(self) -> Manager:
        """One that notes the states of its members in each of its callbacks."""
        return Manager(
            on_open=lambda member: self.see("open", member),
            on_message=lambda member, _: self.see("message", member),
            on_close=lambda member, _: self.see("close", member),
        )

    def test_in_run(self) -> None:
        """Open from its on_open to its end, which is its own thread's to tell."""
        manager = self.manager()
        conn, client = self.connect()
        client.send("x")
        task = Task(manager.run, conn, "ann")
        client.close()
        task.result()
        self.assertEqual(
            self.seen,
            [
                ("open", State.OPEN, Closer.OWN),
                ("message", State.OPEN, Closer.OWN),
                ("close", State.OUT, Closer.CALLED),
            ],
        )

    def test_registered(self) -> None:
        """While it is registered its on_close is that thread's; from then on it is for whoever takes it out."""
        manager = self.manager()
        member, _ = self.join(manager, "ann")
        self.see("registered", member)
        manager.unregister(member)
        self.see("unregistered", member)
        self.assertEqual(
            self.seen,
            [
                ("open", State.OPEN, Closer.OWN),
                ("registered", State.OPEN, Closer.TAKER),
                ("close", State.OUT, Closer.CALLED),
                ("unregistered", State.SETTLED, Closer.CALLED),
            ],
        )

    def test_lost(self) -> None:
        """One that a send finds lost is for the settler."""
        manager = self.manager()
        member, _ = self.join(manager, "ann")
        member.conn.close_now()
        with mock.patch("threading.Thread.start", side_effect=RuntimeError), self.assertLogs("syncws.manager"):
            manager.broadcast("x")
        self.see("lost", member)
        self.join(manager, "ann")
        self.assertEqual(
            self.seen[1:],
            [
                ("lost", State.OUT, Closer.SETTLER),
                ("close", State.OUT, Closer.CALLED),
                ("open", State.OPEN, Closer.OWN),
            ],
        )
        self.assertIs(member._state, State.SETTLED)

    def test_taken_out_before_its_on_open(self) -> None:
        """One that is taken out while it waits for an older one's callback is withdrawn: it has no callback at all."""
        closing, go_on = threading.Event(), threading.Event()

        def on_close(member: Member, error: BaseException | None) -> None:
            closing.set()
            go_on.wait(PATIENCE)
            self.log.on_close(member, error)

        for run in (False, True):
            with self.subTest(run=run):
                closing.clear(), go_on.clear(), self.log.calls.clear()
                manager = Manager(on_open=self.log.on_open, on_close=on_close)
                older, _ = self.join(manager, "ann")
                unregistering = Task(manager.unregister, older)
                self.assertTrue(closing.wait(PATIENCE))
                newer, _ = self.connect()
                coming = Task(manager.run if run else manager.register, newer, "ann")
                while (member := manager.get("ann")) is None:
                    pass
                self.assertIs(member._state, State.ADMITTED)
                manager.close("ann", 4000)
                self.assertIs(member._state, State.WITHDRAWN)
                go_on.set()
                unregistering.result()
                coming.result()
                self.assertIs(member._state, State.SETTLED)
                self.assertEqual([call[:2] for call in self.log.calls], [("open", "ann"), ("close", "ann")])
                self.assertEqual((manager.stats().opened, manager.stats().closed, len(manager)), (1, 1, 0))


if __name__ == "__main__":
    unittest.main()
