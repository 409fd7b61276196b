"""What comes from Redis, when the way to it breaks: noticed, told, and made anew with everything subscribed."""

from __future__ import annotations

import time
import unittest
from unittest import mock

from syncws._bus import redisreader
from syncws.testing import await_
from tests.bus.rediscases import RedisCase, Stream
from tests.buses import DarkProxy
from tests.partners import heavy
from tests.tasks import PATIENCE


class LossTests(RedisCase):
    def test_a_killed_connection(self) -> None:
        """The sink is told down and up; proven lies before the loss; what is published then arrives."""
        server = self.server()
        node = self.up(server.url)
        node.subscribe("a", "b")
        before = time.monotonic()
        server.kill_clients("pubsub")
        node.wait_up(2)
        self.assertEqual(node.told.story, ["up", "down", "up"])
        self.assertLessEqual(node.told.proofs[1], time.monotonic())
        self.assertLessEqual(node.told.proofs[0], before)
        self.assertLessEqual(node.told.proofs[1] - 1.0, before)
        for channel in ("a", "b"):
            self.assertEqual(server.call("PUBLISH", f"syncws:0:{channel}", channel), 1)
        node.wait(lambda: len(node.told.received_all) == 2)
        self.assertEqual(node.backplane.health().reconnects, 1)

    def test_unsubscribed_behind_its_back(self) -> None:
        """An end of a subscription that was not asked for is a lost bus: noticed at once, not by a timeout."""
        server = self.server(acl=["user default on nopass ~* &* +@all", "user app on >pw ~* &* +@all"])
        node = self.up(server.url.replace("//", "//app:pw@"), beat=60.0, patience=60.0)
        node.subscribe("a")
        reader = node.backplane._running.reader  # type: ignore[union-attr]
        # Through the connection itself, which no other client can do: as after a fault of a proxy that speaks Redis.
        with mock.patch.object(reader._subscriptions, "changes", lambda: ([], ["a"])):
            reader._waker.wake()
            node.wait_down()
        node.wait_up(2)
        node.subscribe("a")
        self.assertIn("ended a subscription", node.told.reasons[0])
        node.publish("a", "again")
        node.wait(lambda: "again" in node.got("a"))

    def test_a_channel_that_is_forbidden(self) -> None:
        """Where the right to a channel is taken away the bus is lost: one ERROR in the log, and back with it."""
        server = self.server(acl=["user default on nopass ~* &* +@all", "user app on >pw ~* &* +@all"])
        node = self.up(server.url.replace("//", "//app:pw@"))
        node.subscribe("a")
        with self.assertLogs("syncws.backplane", "ERROR") as logs:
            server.call("ACL", "SETUSER", "app", "resetchannels", "&syncws:0:w:*")
            node.wait_down()
            node.wait_health(lambda health: "permission" in (health.error or ""))
            time.sleep(0.5)
        self.assertEqual(len(logs.output), 1)
        self.assertIn(f"127.0.0.1:{server.port} refuses", logs.output[0])
        server.call("ACL", "SETUSER", "app", "allchannels")
        node.wait_up(2)
        node.wait_health(lambda health: health.up)
        node.publish("a", 1)
        node.wait_for("a", 1)

    def test_a_password_that_was_changed(self) -> None:
        """The connections that are there go on; a new one is refused until the password is right again."""
        server = self.server(password="one")
        node = self.up(server.url)
        node.subscribe("a")
        # A beat has come around: both connections are there, also the one that publishes.
        node.wait_health(lambda health: health.lag is not None)
        server.call("CONFIG", "SET", "requirepass", "two")
        server.password = "two"
        node.publish("a", 1)
        node.wait_for("a", 1)
        with self.assertLogs("syncws.backplane", "ERROR") as logs:
            server.kill_clients("pubsub")
            node.wait_down()
            node.wait_health(lambda health: "assword" in (health.error or ""))
            self.assertTrue(await_(lambda: bool(logs.output), PATIENCE))  # health tells it before the log does
        self.assertNotIn("one", " ".join(logs.output).replace("once", ""))
        server.call("CONFIG", "SET", "requirepass", "one")
        server.password = "one"
        node.wait_up(2)

    def test_no_place(self) -> None:
        """While the server takes no more clients it is refused, and back when there is a place."""
        server = self.server(maxclients=12)
        node = self.up(server.url)
        node.wait_health(lambda health: health.lag is not None)
        with server.connection() as raw:
            raw.call("CONFIG", "SET", "maxclients", 2)  # first: who is cut is back at once
            raw.call("CLIENT", "KILL", "TYPE", "pubsub")
            node.wait_down()
            node.wait_health(
                lambda health: "max number of clients" in (health.error or "") or "reset" in (health.error or "")
            )
            raw.call("CONFIG", "SET", "maxclients", 12)
        node.wait_up(2)

    def test_a_slow_reader_that_is_cut_off(self) -> None:
        """A sink that holds the thread until the server cuts the connection: lost and found, and all before is in
        order."""
        server = self.server(client_output_buffer_limit="pubsub 200kb 100kb 1")
        node = self.up(server.url)
        other = self.up(server.url)
        node.subscribe("a")
        node.told.gate.clear()
        while server.clients("pubsub").__len__() == 2:
            other.publish("a", "x" * 50_000)
            other.backplane.flush(PATIENCE)
        node.told.gate.set()
        node.wait_up(2)
        self.assertEqual(node.told.story, ["up", "down", "up"])

    def test_a_server_that_is_killed_and_comes_back(self) -> None:
        """With everything subscribed, also what was wanted and let go meanwhile."""
        server = self.server()
        node = self.up(server.url)
        node.subscribe("a", "b")
        server.kill()
        node.wait_down()
        self.assertFalse(node.backplane.subscribe(["c"], PATIENCE))
        node.backplane.unsubscribe(["b"])
        server.start()
        node.wait_up(2)
        with server.connection() as raw:
            self.assertEqual([raw.call("PUBLISH", f"syncws:0:{each}", each) for each in "abc"], [1, 0, 1])
        self.assertEqual(node.told.story, ["up", "down", "up"])
        self.assertEqual(len(node.told.reasons), 1)

    def test_up_is_told_before_what_comes_then(self) -> None:
        """The sink is told that the bus is up before any message that came after the last acknowledgement, however many
        there are."""
        server = self.server()
        node = self.up(server.url)
        node.subscribe("a")
        other = self.up(server.url)
        order: list[str] = []
        with (
            mock.patch.object(node.told, "received", lambda *_: order.append("received")),
            mock.patch.object(node.told, "up", lambda _: order.append("up")),
        ):
            stream = Stream(self, other, "a", 100_000)
            stream.run_for(0.1)
            order.clear()
            server.call("CLIENT", "KILL", "ID", server.clients("pubsub")[0])
            stream.run_for(0.5)
            stream.end()
        after = order.index("up")
        self.assertIn("received", order[after:])

    def test_a_defect_does_not_end_the_thread(self) -> None:
        """A sink that raises, which none may do, costs a connection and a line of the log, not the bus."""
        server = self.server()
        node = self.up(server.url)
        node.subscribe("a")
        with mock.patch.object(node.told, "received", side_effect=RuntimeError("a defect")):
            with self.assertLogs("syncws.backplane", "ERROR") as logs:
                node.publish("a", 1)
                node.wait_down()
        self.assertIn("reading from the bus failed", logs.output[0])
        node.wait_up(2)
        node.publish("a", 2)
        node.wait_for("a", 2)

    def test_the_server_is_asked_in_parts(self) -> None:
        """Two thousand channels are asked for again 500 at a time, and all arrive."""
        server = self.server()
        node = self.up(server.url)
        names = [f"c{i}" for i in range(2000)]
        self.assertTrue(node.backplane.subscribe(names, PATIENCE))
        with mock.patch.object(redisreader, "_AT_ONCE", 500):
            server.kill_clients("pubsub")
            node.wait_up(2)
        self.assertEqual(server.call("PUBSUB", "NUMSUB", *(f"syncws:0:{each}" for each in names))[1::2], [1] * 2000)


class SilenceTests(RedisCase):
    def test_a_stopped_server_loses_nothing(self) -> None:
        """It is waited for, as long as patience allows, and nothing is told."""
        server = self.server()
        node = self.up(server.url, beat=0.1)
        node.subscribe("a")
        node.publish("a", 1)
        node.wait_for("a", 1)
        server.stop()
        node.publish("a", 2)
        time.sleep(1)
        server.go_on()
        node.publish("a", 3)
        node.wait_for("a", 1, 2, 3)
        self.assertEqual(node.told.story, ["up"])

    def test_a_dark_network(self) -> None:
        """Longer than patience: it is lost; proven lies before the dark; in the light it is back."""
        server = self.server()
        with DarkProxy(server.port) as proxy:
            node = self.up(proxy.url, beat=0.1, patience=0.5)
            node.subscribe("a")
            node.wait_health(lambda health: health.lag is not None)
            dark = time.monotonic()
            proxy.dark()
            node.wait_down()
            self.assertIn("nothing came for 0.5 s", node.told.reasons[0])
            proxy.light()
            node.wait_up(2)
            self.assertLessEqual(node.told.proofs[1], dark + 0.2)
            node.publish("a", 1)
            node.wait_for("a", 1)
            node.backplane.close(0)

    def test_dark_one_way(self) -> None:
        """Where only what the server says is swallowed, and where only what it is told is, it is noticed too."""
        server = self.server()
        for direction in ("down", "up"):
            with self.subTest(direction), DarkProxy(server.port) as proxy:
                node = self.up(proxy.url, beat=0.1, patience=0.5)
                proxy.dark(direction)  # type: ignore[arg-type]
                node.wait_down()
                proxy.light()
                node.wait_up(2)
                node.backplane.close(0)

    def test_dark_for_the_reader_alone(self) -> None:
        """The writer's beats do not come back: lost after two of them, long before patience ends."""
        server = self.server()
        with DarkProxy(server.port) as proxy:
            node = self.up(proxy.url, beat=0.2, patience=60.0)
            writer = node.backplane._running._writer  # type: ignore[union-attr]
            node.wait_health(lambda health: health.lag is not None)
            # The writer goes to the server by itself, the reader through the proxy.
            writer._wire._connection.port = server.port
            proxy.cut()
            node.wait_up(2)
            node.wait_health(lambda health: health.up)
            node.publish("x", 1)
            self.assertTrue(node.backplane.flush(PATIENCE))
            time.sleep(0.5)
            proxy.dark()
            node.wait_down(2)
            self.assertIn("does not come back", node.told.reasons[1])
            proxy.light()
            node.wait_up(3)
            node.backplane.close(0)

    def test_a_reader_that_is_behind(self) -> None:
        """A process that is behind for many beats has lost nothing: what waits is no silence."""
        server = self.server()
        node = self.up(server.url, beat=0.05, patience=0.3)
        other = self.up(server.url)
        node.subscribe("a")
        node.told.gate.clear()
        other.publish("a", *range(100))
        time.sleep(1)
        node.told.gate.set()
        node.wait_for("a", *range(100))
        time.sleep(0.3)
        self.assertEqual(node.told.story, ["up"])


@heavy
class HeavyTests(RedisCase):
    def test_ten_thousand_channels(self) -> None:
        """All are back after a killed connection."""
        server = self.server()
        node = self.up(server.url)
        names = [f'r:"room {i}"' for i in range(10_000)]
        self.assertTrue(node.backplane.subscribe(names, PATIENCE))
        server.kill_clients("pubsub")
        node.wait_up(2)
        told = server.call("PUBSUB", "NUMSUB", *(f"syncws:0:{each}" for each in names))
        self.assertEqual(sum(told[1::2]), 10_000)

    def test_subscribe_races_reconnects(self) -> None:
        """A message published after subscribe() returned True arrives, 1,000 of 1,000, with a reconnect racing 100 of
        them, most of which are subscribed over it."""
        server = self.server()
        node = self.up(server.url, beat=60.0)
        at_once = 0
        with server.connection() as raw:
            for i in range(1000):
                if i % 10 == 0:
                    raw.call("CLIENT", "KILL", "TYPE", "pubsub")
                first = node.backplane.subscribe([f"c{i}"], PATIENCE)
                at_once += first
                while not first and not node.backplane.subscribe([f"c{i}"], PATIENCE):
                    time.sleep(0.001)
                self.assertEqual(raw.call("PUBLISH", f"syncws:0:c{i}", i), 1)
        node.wait(lambda: len(node.told.received_all) == 1000)
        self.assertGreaterEqual(node.told.story.count("down"), 100)
        self.assertGreaterEqual(at_once, 900)

    def test_two_hundred_failed_attempts(self) -> None:
        """A server that comes after 200 attempts in a row is found again: no count of connections ends."""
        server = self.server()
        with mock.patch.multiple("syncws._bus.backoff", _FIRST=0.002, _LONGEST=0.004):
            node = self.up(server.url)
            attempts = []
            reader = node.backplane._running.reader  # type: ignore[union-attr]
            connect = reader._wire.connect

            def counting() -> None:
                attempts.append(1)
                connect()

            with mock.patch.object(reader._wire, "connect", counting):
                server.kill()
                until = time.monotonic() + PATIENCE
                while len(attempts) < 200 and time.monotonic() < until:
                    time.sleep(0.01)
                self.assertGreaterEqual(len(attempts), 200)
                server.start()
                node.wait_up(2)

    def test_a_long_stream_over_a_dark_network(self) -> None:
        """At 200 messages a second, dark for a second in either direction: nothing is lost, nothing told."""
        server = self.server()
        for direction in ("up", "down"):
            with self.subTest(direction), DarkProxy(server.port) as proxy:
                there = self.up(proxy.url)
                there.subscribe("a")
                here = self.up(server.url)
                stream = Stream(self, here, "a")
                stream.run_for(0.3)
                proxy.dark(direction)  # type: ignore[arg-type]
                stream.run_for(1.0)
                proxy.light()
                stream.run_for(0.3)
                count = stream.end()
                there.wait_for("a", *range(1, count + 1))
                self.assertEqual(there.told.story, ["up"])
                there.backplane.close(0)
                here.backplane.close(0)


if __name__ == "__main__":
    unittest.main()
