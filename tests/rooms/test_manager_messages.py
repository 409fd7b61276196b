"""Messages to one, to many, of any kind; and what becomes of those who cannot take them."""

from __future__ import annotations

import threading
import unittest
from collections.abc import Iterator
from contextlib import suppress
from unittest import mock

import syncws
from syncws import CloseError, Conn, Manager, Member, PreparedMessage
from syncws._base.options import ConnOptions
from syncws._frames import prepared
from syncws.errors import PING, TEXT
from syncws.testing import await_, peer, socketpair
from tests.guarantees.support import transports
from tests.tasks import PATIENCE, Task

from .support import Log, ManagerCase


class MessageTests(ManagerCase):
    """Messages to one, to many, of any kind."""

    def test_send(self) -> None:
        """To one by its id: str as TEXT, bytes as BINARY, a prepared message as it is; nobody else gets it."""
        manager = Manager()
        _, first = self.join(manager, "ann")
        _, second = self.join(manager, "bob")
        for message in ("text", b"bytes", bytearray(b"more"), PreparedMessage(TEXT, "prepared")):
            self.assertTrue(manager.send("ann", message))
        self.assertEqual([first.receive(PATIENCE) for _ in range(4)], ["text", b"bytes", b"more", "prepared"])
        self.assertFalse(manager.send("nobody", "x"))
        self.assertTrue(manager.send("bob", "only this"))
        self.assertEqual(second.receive(PATIENCE), "only this")

    def test_broadcast(self) -> None:
        """To all, but for those who are excluded, by id or as Members."""
        manager = Manager()
        clients = {}
        for id in ("ann", "bob", "cid", 4):
            _, clients[id] = self.join(manager, id)
        cid = manager.get("cid")
        self.assertEqual(manager.broadcast(b"\x00\x01"), 4)
        self.assertEqual(manager.broadcast("some", exclude=["ann", cid, "nobody"]), 2)
        self.assertEqual(manager.broadcast("end"), 4)
        received = {id: [client.receive(PATIENCE)] for id, client in clients.items()}
        for id, client in clients.items():
            while received[id][-1] != "end":
                received[id].append(client.receive(PATIENCE))
        most, few = [b"\x00\x01", "some", "end"], [b"\x00\x01", "end"]
        self.assertEqual(received, {"ann": few, "bob": most, "cid": few, 4: most})

    def test_text_on_demand(self) -> None:
        """Bytes go as TEXT, and a str as BINARY, if text says so: to one, to a room, by the Member."""
        manager = Manager()
        member, client = self.join(manager, "ann")
        for text, expected in ((True, "x"), (False, b"x")):
            for message in ("x", b"x"):
                self.assertTrue(manager.send("ann", message, text=text))
                self.assertEqual(manager.broadcast(message, text=text), 1)
                self.assertTrue(member.send(message, text=text))
                self.assertEqual([client.receive(PATIENCE) for _ in range(3)], [expected] * 3)
        with self.assertRaisesRegex(ValueError, "are not"):
            manager.broadcast(b"\xff", text=True)

    def test_the_advice_for_a_value(self) -> None:
        """A value that is no message: the text names the method of the very object that sends it as JSON."""
        manager = Manager()
        member, _ = self.join(manager, "ann")
        for owner, call, method in (
            (manager, lambda: manager.send("ann", {}), "send_json"),  # type: ignore[arg-type]
            (manager, lambda: manager.send("ann", {}, text=True), "send_json"),  # type: ignore[arg-type]
            (manager, lambda: manager.broadcast({}), "broadcast_json"),  # type: ignore[arg-type]
            (manager, lambda: manager.broadcast({}, text=True), "broadcast_json"),  # type: ignore[arg-type]
            (member, lambda: member.send({}), "send_json"),  # type: ignore[arg-type]
            (member.conn, lambda: member.conn.send({}), "send_json"),  # type: ignore[arg-type]
            (member.conn, lambda: member.conn.send_nowait({}), "send_json"),  # type: ignore[arg-type]
        ):
            with self.assertRaisesRegex(TypeError, rf"not dict: {method} sends any value that JSON can hold"):
                call()
            self.assertTrue(hasattr(owner, method))

    def test_json(self) -> None:
        """A value goes as JSON text, to one or to all."""
        manager = Manager()
        _, client = self.join(manager, "ann", ["lobby"])
        self.assertTrue(manager.send_json("ann", {"a": [1, None, "ä"]}))
        self.assertEqual(manager.broadcast_json([1], room="lobby", exclude=["bob"]), 1)
        self.assertTrue(manager.get("ann").send_json("x"))  # type: ignore[union-attr]
        self.assertEqual([client.receive(PATIENCE) for _ in range(3)], ['{"a":[1,null,"ä"]}', "[1]", '"x"'])

    def test_what_cannot_be_sent(self) -> None:
        """It is refused before anybody gets it, also if nobody is there."""
        manager = Manager()
        _, client = self.join(manager, "ann")
        for call in (manager.broadcast, lambda message: manager.send("nobody", message)):
            for message in (5, None, ["x"]):
                with self.assertRaises(TypeError):
                    call(message)
            with self.assertRaises(ValueError):
                call(PreparedMessage(PING, b""))
        for value in (object(), {1, 2}):
            with self.assertRaises(TypeError):
                manager.broadcast_json(value)
        with self.assertRaises(ValueError):
            manager.send_json("ann", float("nan"))
        manager.send("ann", "first")
        self.assertEqual(client.receive(PATIENCE), "first")

    def test_an_error_advises_what_is_there(self) -> None:
        """A dict is refused with the name of the method that sends it as JSON, in the same place."""
        manager = Manager()
        member, _ = self.join(manager, "ann")
        for where, call, advised in (
            (manager, lambda: manager.send("ann", {}), "send_json"),  # type: ignore[arg-type]
            (manager, lambda: manager.broadcast({}), "broadcast_json"),  # type: ignore[arg-type]
            (member, lambda: member.send({}), "send_json"),  # type: ignore[arg-type]
        ):
            with self.assertRaisesRegex(TypeError, f"not dict: {advised} sends any value that JSON can hold"):
                call()
            self.assertTrue(callable(getattr(where, advised)))

    def test_encoded_once(self) -> None:
        """A broadcast encodes and compresses once for each window size in use, not once for each member."""
        manager = Manager()
        clients = [self.join(manager, number, compression=number % 2 == 0)[1] for number in range(8)]
        text = "compress me " * 100
        with mock.patch("syncws._frames.prepared.compress", wraps=prepared.compress) as compress:
            self.assertEqual(manager.broadcast(text), 8)
        self.assertEqual(compress.call_count, 1)
        self.assertEqual({client.receive(PATIENCE) for client in clients}, {text})

    def test_the_frame_is_shared(self) -> None:
        """What waits for slow members is one frame, whatever their number."""
        manager = Manager()
        conns = [self.stuck()[0] for _ in range(3)]
        for conn in conns:
            manager.register(conn)
        self.assertEqual(manager.broadcast("x" * 1000), 3)
        frames = [conn._wire._queue._frames[-1] for conn in conns]
        self.assertTrue(all(frame is frames[0] for frame in frames))

    def test_members_that_are_clients(self) -> None:
        """A manager may hold client connections too; each of their frames has a mask of its own."""
        manager = Manager()
        near, far = self.connect()
        manager.register(far, "client")
        manager.register(near, "server")
        self.assertEqual(manager.broadcast("both"), 2)
        self.assertEqual((near.receive(PATIENCE), far.receive(PATIENCE)), ("both", "both"))

    def test_order(self) -> None:
        """Messages of many threads to one member, posted and written, arrive whole and in each thread's order."""
        manager = Manager(send_queue=100_000, send_queue_bytes=1 << 30)
        member, client = self.join(manager, "ann", buffer=1 << 16)

        def talk(name: int) -> None:
            for number in range(200):
                text = f"{name} {number} " + "x" * (number * 37 % 3000)
                if number % 3:
                    manager.broadcast(text)
                else:
                    member.conn.send(text)

        tasks = [Task(talk, name) for name in range(6)]
        seen: dict[str, list[int]] = {}
        for _ in range(6 * 200):
            message = client.receive(PATIENCE)
            assert isinstance(message, str)
            name, number, filler = message.split(" ", 2)
            self.assertEqual(filler, "x" * (int(number) * 37 % 3000))
            seen.setdefault(name, []).append(int(number))
        for task in tasks:
            task.result()
        self.assertEqual(seen, {str(name): list(range(200)) for name in range(6)})

    def test_while_a_fragmented_message_is_open(self) -> None:
        """A broadcast waits for the end of a member's open next_writer, and for nobody else."""
        manager = Manager()
        member, client = self.join(manager, "ann")
        _, other = self.join(manager, "bob")
        with member.conn.next_writer(TEXT) as writer:
            writer.write("a" * 5000)
            self.assertEqual(manager.broadcast("later"), 2)
            self.assertEqual(other.receive(PATIENCE), "later")
        self.assertEqual([client.receive(PATIENCE) for _ in range(2)], ["a" * 5000, "later"])


class LostTests(ManagerCase):
    """Members that a send finds lost, and full send queues."""

    def test_overflow_closes(self) -> None:
        """A stuck member whose queue is full is out at once, with 1013; the others do not notice."""
        manager = Manager(send_queue=5, **self.log.options())
        _, client = self.join(manager, "ann")
        conn, _ = self.stuck(close_timeout=0.2)
        manager.register(conn, "bob")
        with self.assertLogs("syncws", "INFO") as logs:
            taken = [manager.broadcast(f"{number}") for number in range(6)]
            self.assertEqual(manager.ids(), ["ann"])
            taken += [manager.broadcast(f"{number}") for number in range(6, 8)]
            self.assertEqual(taken, [2] * 5 + [1] * 3)
            self.wait(self.log.closed)
            self.assertTrue(await_(lambda: "6 messages were dropped" in logs.output[-1]), logs.output)
        self.assertEqual(self.log.calls[-1], ("close", "bob", 1013))
        self.assertNotIn(threading.get_ident(), self.log.threads[-1:])  # never by the thread that sends
        self.assertEqual([client.receive(PATIENCE) for _ in range(8)], [f"{number}" for number in range(8)])
        self.assertEqual(manager.stats().dropped, 6)  # the one that was refused, and the five that waited
        self.assertTrue(await_(lambda: conn.socket.fileno() == -1), "the socket was not cut")

    def test_overflow_of_a_member_in_run(self) -> None:
        """Its own thread is woken, and calls on_close; the settler has nothing to do."""
        manager = Manager(send_queue=5, **self.log.options())
        conn, _ = self.stuck(close_timeout=0.2)
        task = Task(manager.run, conn, "bob")
        self.wait(self.log.opened)
        with mock.patch.object(manager._settler, "hand_over", side_effect=AssertionError):
            while manager.broadcast("x"):
                pass
        self.assertNotIn("bob", manager)
        task.result()
        self.assertEqual(self.log.calls, [("open", "bob", None), ("close", "bob", 1013)])
        self.assertEqual(set(self.log.threads), {task.ident})

    def test_dropping(self) -> None:
        """The other policies lose messages, and count them."""
        for overflow, last in (("drop_oldest", "7"), ("drop_newest", "4")):
            manager = Manager(send_queue=5, overflow=overflow)
            conn, _ = self.stuck()
            manager.register(conn, "bob")
            taken = [manager.broadcast(f"{number}") for number in range(8)]
            self.assertEqual(taken, [1] * 8 if overflow == "drop_oldest" else [1] * 5 + [0] * 3)
            self.assertEqual((manager.stats().dropped, manager.stats().sent), (3, sum(taken)))
            self.assertEqual((manager.stats().queued_messages, conn._wire._queue._frames[-1][-1:].decode()), (5, last))
            self.assertIn("bob", manager)

    def test_limits(self) -> None:
        """The manager's limits hold for its members, one of register's for that member; else the connection's own."""
        manager = Manager(send_queue=7, send_queue_bytes=5000, overflow="drop_newest")
        conns = [self.connect(send_queue=3)[0] for _ in range(3)]
        manager.register(conns[0])
        manager.register(conns[1], send_queue=9)
        Manager().register(conns[2])
        options = [conn._wire._queue._options for conn in conns]
        limits = [(each.send_queue, each.send_queue_bytes, each.overflow) for each in options]
        self.assertEqual(limits, [(7, 5000, "drop_newest"), (9, 5000, "drop_newest"), (3, 1 << 20, "close")])
        with self.assertRaisesRegex(ValueError, "send_queue"):
            manager.register(self.connect()[0], send_queue=0)
        self.assertEqual([member.conn for member in manager], conns[:2])

    def test_a_connection_that_had_ended(self) -> None:
        """A registered member whose peer is gone is out with the first message that finds it so."""
        manager = Manager(**self.log.options())
        member, client = self.join(manager, "ann")
        client.close_now()
        self.assertIsInstance(Task(member.conn.receive).error(), CloseError)
        self.assertIn("ann", manager)
        self.assertFalse(manager.send("ann", "x"))
        self.assertNotIn("ann", manager)
        self.wait(self.log.closed)
        self.assertEqual(self.log.calls[-1], ("close", "ann", 1006))

    def test_a_write_that_was_cut_short(self) -> None:
        """A member that a write deadline has torn is out, and its connection is cut."""
        manager = Manager(**self.log.options())
        conn, _ = self.enterContext(peer(buffer=1 << 16, close_timeout=0.2))
        manager.register(conn, "ann")
        with self.assertRaises(syncws.WriteTimeout):
            conn.send(bytes(8 << 20), timeout=0.05)
        self.assertEqual(manager.broadcast("x"), 0)
        self.wait(self.log.closed)
        self.assertIsInstance(self.log.calls[-1][2], syncws.WriteTimeout)
        self.assertTrue(await_(lambda: conn.socket.fileno() == -1), "the socket was not cut")


class GoodbyeTests(ManagerCase):
    """What the peer of a member finds that was taken out without being asked."""

    def pairs(self) -> Iterator[tuple[Conn, Conn]]:
        """Connections over TCP and over TLS, whose sockets hold little."""
        for tls in (False, True):
            with self.subTest(tls=tls):
                ours, theirs = transports(socketpair(1 << 16), tls)
                near = Conn(ours, client=False, options=ConnOptions(send_queue=5))
                far = Conn(theirs, client=True, options=ConnOptions(read_limit=None))
                yield near, far
                near.close_now()
                far.close_now()

    def rest(self, conn: Conn) -> tuple[int, int]:
        """How many messages a connection still gets, and the code that ends it."""
        count = 0
        try:
            while True:
                conn.receive(PATIENCE)
                count += 1
        except CloseError as end:
            return count, end.code

    def test_overflow(self) -> None:
        """A peer that wakes up in time gets what was on its way, and 1013; also one that talks all the while."""
        for conn, client in self.pairs():
            log = Log()
            manager = Manager(**log.options())
            task = Task(manager.run, conn, "ann")
            self.wait(log.opened)
            manager.send("ann", bytes(4 << 20))
            while "ann" in manager:
                manager.send("ann", "x")
            self.wait(log.closed)
            client.send("still talking")
            receiving = Task(self.rest, client)
            self.assertEqual(receiving.result(), (1, 1013))
            task.result()
            self.assertEqual(log.calls[-1], ("close", "ann", 1013))

    def test_replaced(self) -> None:
        """The peer of a connection that was replaced gets 4001, though it was just sending."""
        for conn, client in self.pairs():
            manager = Manager()
            task = Task(manager.run, conn, "ann")
            self.assertTrue(await_(lambda manager=manager: "ann" in manager))
            other, _ = self.connect()
            manager.register(other, "ann")
            with suppress(syncws.ConnectionClosed):
                client.send("hello?")
            self.assertEqual(self.rest(client), (0, 4001))
            task.result()

    def test_what_waits_leaves_before_a_close(self) -> None:
        """Messages that wait for a slow member when it is closed still reach it, and the close behind them."""
        for conn, client in self.pairs():
            manager = Manager()
            task = Task(manager.run, conn, "ann")
            self.assertTrue(await_(lambda manager=manager: "ann" in manager))
            manager.send("ann", bytes(4 << 20))
            manager.send("ann", "waits")
            self.assertEqual(manager.stats().queued_messages, 1)
            manager.close("ann", 4000)
            self.assertEqual(self.rest(client), (2, 4000))
            task.result()
            self.assertEqual((manager.stats().dropped, manager._registry.drops._left), (0, {}))

    def test_last_words(self) -> None:
        """What a peer said before it left is delivered, and its code is told, also if a broadcast found it gone."""
        entered, go_on = threading.Event(), threading.Event()

        def on_message(member: Member, message: str | bytes) -> None:
            self.log.on_message(member, message)
            entered.set()
            go_on.wait(PATIENCE)

        manager = Manager(on_message=on_message, on_close=self.log.on_close)
        with peer() as (conn, raw):
            task = Task(manager.run, conn, "ann")
            raw.send_frame(1, "first")
            self.assertTrue(entered.wait(PATIENCE))
            raw.send_frame(1, "last words")
            raw.close(1000)
            raw.socket.close()
            with mock.patch.object(Conn, "close") as close:
                for _ in range(20):
                    manager.broadcast("x" * 1000)
                close.assert_not_called()  # which would cut it before long, while its last words are still to be read
            go_on.set()
            task.result()
        self.assertEqual([call[2] for call in self.log.calls], ["first", "last words", 1000])


if __name__ == "__main__":
    unittest.main()
