"""What goes to Redis, when the way to it breaks: kept, sent again in order, given up and told when it is too old."""

from __future__ import annotations

import time
import unittest
from unittest import mock

from syncws import History
from syncws._bus.recorder import Recorder
from syncws._bus.rediswire import WireLost
from syncws.testing import await_
from tests.bus.rediscases import Node, RedisCase, Stream
from tests.buses import DarkProxy
from tests.partners import heavy
from tests.tasks import PATIENCE


def numbers(told: Recorder, channel: str = "a") -> list[int]:
    return [int(each) for each in told.on(channel)]


def without_copies(found: list[int]) -> list[int]:
    """As who listens does it: a number that is not above the last one is a copy."""
    kept: list[int] = []
    for each in found:
        if not kept or each > kept[-1]:
            kept.append(each)
    return kept


class ResendCase(RedisCase):
    def wait_numbers(self, node: Node, count: int, more: int = 0) -> None:
        """All from 1 to count have come, in order, and some twice at most."""
        node.wait(lambda: numbers(node.told)[-1:] == [count], count)
        self.assertEqual(without_copies(numbers(node.told)), list(range(1, count + 1)))


class ResendTests(ResendCase):
    def test_a_killed_connection(self) -> None:
        """Where only the writer's connection is killed nothing is lost and nothing told."""
        server = self.server()
        here, there = self.up(server.url), self.up(server.url)
        there.subscribe("a")
        stream = Stream(self, here, "a")
        for _ in range(3):
            stream.run_for(0.2)
            self.assertGreaterEqual(server.kill_clients("normal"), 1)
            stream.run_for(1.2)
        self.wait_numbers(there, stream.end())
        self.assertEqual((here.told.story, there.told.story), (["up"], ["up"]))
        self.assertEqual(here.told.dropped_all, {})
        self.assertGreaterEqual(here.backplane.health().reconnects, 1)

    def test_a_server_that_is_killed_and_comes_back(self) -> None:
        """What was published meanwhile is kept, and sent once those who listen are back: nothing is lost."""
        server = self.server()
        here, there = self.up(server.url), self.up(server.url)
        there.subscribe("a")
        stream = Stream(self, here, "a")
        stream.run_for(0.3)
        server.kill()
        stream.run_for(0.7)
        server.start()
        stream.run_for(0.7)
        self.wait_numbers(there, stream.end())
        self.assertEqual((here.told.dropped_all, there.told.story), ({}, ["up", "down", "up"]))

    def test_it_waits_for_those_who_listen(self) -> None:
        """After a refusal nothing is sent before the own reader is up, and a moment more."""
        server = self.server()
        node = self.up(server.url)
        node.subscribe("a")
        server.kill()
        node.wait_down()
        node.publish("a", 1)
        server.start()
        node.wait_up(2)
        up = time.monotonic()
        node.wait_for("a", 1)
        self.assertGreater(time.monotonic() - up, 0.9)

    def test_what_is_too_old_is_given_up(self) -> None:
        """After patience it is told how many, by channel, and what is younger is sent."""
        server = self.server()
        node = self.up(server.url, patience=0.6)
        node.subscribe("a")
        server.kill()
        node.wait_down()
        node.publish("a", 1, 2)
        node.publish("b", 1)
        node.wait(lambda: node.told.dropped_all == {"a": 2, "b": 1})
        self.assertEqual(node.backplane.health().dropped_out, 3)
        server.start()
        node.wait_up(2)
        node.publish("a", 3)
        node.wait_for("a", 3)

    def test_a_dark_network(self) -> None:
        """A server that does not answer for longer than patience: what it was told is given up, and perhaps arrives."""
        server = self.server()
        with DarkProxy(server.port) as proxy:
            node = self.up(proxy.url, patience=0.6)
            node.wait_health(lambda health: health.lag is not None)
            proxy.dark()
            node.publish("a", 1, 2)
            node.wait(lambda: node.told.dropped_all == {"a": 2})
            proxy.light()
            node.wait_health(lambda health: health.up and not health.queued_messages)
            node.backplane.close(0)

    def test_a_connection_that_breaks_between_answers(self) -> None:
        """The whole batch is sent again, in order, though the server had answered some of it."""
        server = self.server()
        node = self.up(server.url)
        node.subscribe("a")
        writer = node.backplane._running._writer  # type: ignore[union-attr]
        answer = writer._answer
        answers = 0

        def breaking() -> object:
            nonlocal answers
            answers += 1
            if answers == 6:
                raise WireLost("cut by the test")
            return answer()

        server.stop()  # so that all are in one batch
        node.publish("a", 0)
        with mock.patch.object(writer, "_answer", breaking):
            node.publish("a", *range(1, 11))
            server.go_on()
            node.wait(lambda: numbers(node.told)[-1:] == [10])
            self.assertTrue(node.backplane.flush(PATIENCE))
        self.assertGreaterEqual(answers, 16)
        self.assertEqual(without_copies(numbers(node.told)), list(range(11)))


class WrongServerTests(ResendCase):
    def test_failover_with_connections_kept(self) -> None:
        """A master that becomes a replica keeps its connections, and the own beats come back: the write tells it."""
        master, replica = self.server(), self.server()
        replica.replicate(master)
        with DarkProxy(master.port) as proxy:
            node = self.up(proxy.url, beat=0.2)
            node.subscribe("a")
            node.wait_health(lambda health: health.lag is not None)
            replica.replicate(None)
            master.replicate(replica)
            node.wait_down()
            self.assertIn("replica", node.told.reasons[0])
            node.wait_health(lambda health: "READONLY" in (health.error or ""))
            self.assertFalse(node.backplane.health().up)
            node.publish("a", 1)
            proxy._target = replica.port  # as a name that is looked up anew
            node.wait_health(lambda health: health.up)
            node.wait_for("a", 1)
            node.backplane.close(0)

    def test_a_server_that_stays_a_replica(self) -> None:
        """It is one loss, which lasts until the server has accepted a write again, however often it is connected to."""
        server = self.server()
        node = self.up(server.url, beat=0.1)
        node.subscribe("a")
        server.call("REPLICAOF", "127.0.0.1", "1")
        node.wait_down()
        before = node.backplane.health().reconnects
        until = time.monotonic() + PATIENCE
        while (health := node.backplane.health()).reconnects < before + 5:
            self.assertFalse(health.up)
            self.assertLess(time.monotonic(), until)
            time.sleep(0.01)
        self.assertEqual(node.told.story, ["up", "down"])
        node.publish("a", 1)
        server.call("REPLICAOF", "NO", "ONE")
        node.wait_up(2)
        node.wait_for("a", 1)
        self.assertEqual(node.told.story, ["up", "down", "up"])
        self.assertLess(node.told.proofs[1], until - PATIENCE)
        node.wait_health(lambda health: health.up)

    def test_memory_that_was_full_once(self) -> None:
        """A write that was refused for that is no reason not to look any more whether the server is a replica."""
        server = self.server()
        node = self.up(server.url, beat=0.1)
        server.call("CONFIG", "SET", "maxmemory", 1)
        self.assertTrue(await_(lambda: b"errorstat_OOM" in server.call("INFO", "errorstats")))
        server.call("CONFIG", "SET", "maxmemory", 0)
        self.assertEqual(node.told.story, ["up"])
        server.call("REPLICAOF", "127.0.0.1", "1")
        node.wait_down()

    def test_a_user_who_may_not_write_keys(self) -> None:
        """The few rights that Pub/Sub needs are enough: the write is tried once, and given up without a word."""
        rights = "user app on >pw resetkeys &syncws:* -@all +subscribe +unsubscribe +publish +ping"
        server = self.server(acl=["user default on nopass ~* &* +@all", rights])
        node = self.up(server.url.replace("//", "//app:pw@"), beat=0.1)
        with self.assertNoLogs("syncws.backplane"):
            node.subscribe("a")
            node.publish("a", 1)
            node.wait_for("a", 1)
            node.wait_health(lambda health: health.up and health.lag is not None)
            time.sleep(0.5)
        self.assertEqual(node.told.story, ["up"])
        self.assertFalse(node.backplane._running._writer._may_set)  # type: ignore[union-attr]

    def test_a_channel_that_may_not_be_published_on(self) -> None:
        """It is told as a bus that refuses; once the right is there all is sent."""
        server = self.server(acl=["user default on nopass ~* &* +@all", "user app on >pw ~* &* +@all -publish"])
        with self.assertLogs("syncws.backplane", "ERROR") as log:
            node = self.node(server.url.replace("//", "//app:pw@"))
            node.subscribe("a")
            node.publish("a", 1)
            node.wait_health(lambda health: "permission" in (health.error or ""))
            self.assertTrue(await_(lambda: bool(log.output), PATIENCE))  # health tells it before the log does
        server.call("ACL", "SETUSER", "app", "+publish")
        node.wait_for("a", 1)

    def test_one_channel_that_may_not_be_published_on(self) -> None:
        """Where one channel is forbidden, its message is given up and told; those on others do not wait."""
        server = self.server(acl=["user default on nopass ~* &* +@all", "user app on >pw ~* &* +@all"])
        node = self.node(server.url.replace("//", "//app:pw@"))
        node.subscribe("a")
        node.publish("a", 1)
        node.wait_for("a", 1)
        names = [f"&{node.backplane._prefix}{channel}" for channel in ("a", "w:*")]
        server.call("ACL", "SETUSER", "app", "resetchannels", *names)
        with self.assertLogs("syncws.backplane", "ERROR") as log:
            node.publish("b", 2)
            node.publish("a", 3)
            node.wait_for("a", 1, 3)
            node.wait_health(lambda health: health.dropped_out == 1)
        self.assertIn("a message on the channel b: ", log.output[0])

    def test_a_defect_does_not_end_the_thread(self) -> None:
        """What no test has foreseen costs a connection and a line of the log, not the bus."""
        server = self.server()
        node = self.up(server.url, beat=60.0)
        node.subscribe("a")
        writer = node.backplane._running._writer  # type: ignore[union-attr]
        node.wait_health(lambda health: health.lag is not None)
        with mock.patch.object(writer, "_send", side_effect=RuntimeError("a defect")):
            with self.assertLogs("syncws.backplane", "ERROR") as logs:
                node.publish("a", 1)
                node.wait_health(lambda health: "a defect" in (health.error or ""))
        self.assertIn("writing to the bus failed", logs.output[0])
        node.wait_for("a", 1)


class KeptTests(ResendCase):
    def test_messages_that_are_kept(self) -> None:
        """They go through the archive's script, in order with the others, and arrive with positions."""
        server = self.server()
        node = self.up(server.url, history=History(size=10))
        node.subscribe("a")
        for i in range(20):
            self.assertTrue(node.backplane.publish("a", b"\x01%d" % i, keep=i % 2 == 0))
        node.wait(lambda: len(node.told.received_all) == 20)
        self.assertEqual([each.data for each in node.told.received_all], [b"\x01%d" % i for i in range(20)])
        self.assertEqual([each.position is not None for each in node.told.received_all], [True, False] * 10)
        assert node.backplane.archive is not None
        past = node.backplane.archive.read("a", node.told.received_all[14].position, PATIENCE)
        self.assertEqual([each.data for each in past.entries], [b"\x0116", b"\x0118"])
        self.assertTrue(past.recovered)

    def test_a_server_that_forgot_the_script(self) -> None:
        """After SCRIPT FLUSH it is brought again: nothing is lost."""
        server = self.server()
        node = self.up(server.url, history=History())
        node.subscribe("a")
        self.assertTrue(node.backplane.publish("a", b"1", keep=True))
        node.wait(lambda: len(node.told.received_all) == 1)
        server.call("SCRIPT", "FLUSH")
        self.assertTrue(node.backplane.publish("a", b"2", keep=True))
        self.assertTrue(node.backplane.flush(PATIENCE))
        self.assertTrue(node.backplane.publish("a", b"3"))
        node.wait(lambda: [each.data for each in node.told.received_all] == [b"1", b"2", b"3"])
        self.assertEqual(node.told.story, ["up"])

    def test_what_the_store_refuses(self) -> None:
        """A message that may not be kept is given up and told; the others are sent, and the log has it once."""
        server = self.server(acl=["user default on nopass ~* &* +@all", "user app on >pw ~* &* +@all -xadd"])
        node = self.up(server.url.replace("//", "//app:pw@"), history=History())
        node.subscribe("a", "b")
        with self.assertLogs("syncws.backplane", "ERROR") as logs:
            for i in range(3):
                self.assertTrue(node.backplane.publish("a", b"%d" % i, keep=True))
                self.assertTrue(node.backplane.publish("b", b"%d" % i))
            node.wait(lambda: node.told.dropped_all == {"a": 3} and len(node.told.on("b")) == 3)
        self.assertEqual(len(logs.output), 1)
        self.assertIn("is to be kept", logs.output[0])
        self.assertEqual((node.told.story, node.told.on("a")), (["up"], []))


@heavy
class HeavyTests(ResendCase):
    def test_every_kind_of_loss_at_200_a_second(self) -> None:
        """Killed for three seconds, stopped for five, the writer's connection killed: nothing is lost in the end."""
        server = self.server()
        here, there = self.up(server.url), self.up(server.url)
        there.subscribe("a")
        stream = Stream(self, here, "a")
        for _ in range(2):
            stream.run_for(0.3)
            server.kill()
            stream.run_for(3)
            server.start()
            stream.run_for(1)
            server.stop()
            stream.run_for(5)
            server.go_on()
            stream.run_for(0.3)
            server.kill_clients("normal")
        stream.run_for(1)
        self.wait_numbers(there, stream.end())
        self.assertEqual((here.told.dropped_all, stream.refused), ({}, []))
        self.assertEqual(there.told.story, ["up", "down", "up", "down", "up"])

    def test_received_and_given_up_are_all(self) -> None:
        """Killed for longer than patience: what did not arrive was told, to the last message."""
        server = self.server()
        here, there = self.up(server.url, patience=1.0), self.up(server.url)
        there.subscribe("a")
        stream = Stream(self, here, "a")
        stream.run_for(0.5)
        server.kill()
        stream.run_for(3)
        server.start()
        stream.run_for(1)
        count = stream.end()
        there.wait(lambda: numbers(there.told)[-1:] == [count])
        got = without_copies(numbers(there.told))
        self.assertEqual(len(got) + here.told.dropped_all["a"], count)
        self.assertGreater(here.told.dropped_all["a"], 100)


if __name__ == "__main__":
    unittest.main()
