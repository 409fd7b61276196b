"""`RedisBackplane` on real servers: options, start, publish, subscribe, health, close, fork."""

from __future__ import annotations

import os
import subprocess
import sys
import threading
import time
import unittest
from pathlib import Path
from typing import Any
from unittest import mock

from syncws import History, RedisBackplane
from syncws._bus.cases.fixture import descriptors
from syncws._bus.recorder import Recorder
from tests.bus.rediscases import RedisCase
from tests.buses import kinds, need_client
from tests.tasks import PATIENCE, Task


class OptionTests(unittest.TestCase):
    def setUp(self) -> None:
        need_client()

    def test_nothing_is_connected(self) -> None:
        """Before it is started it has no thread, takes nothing, and says so."""
        before = threading.active_count()
        backplane = RedisBackplane("redis://localhost:1")
        self.assertFalse(backplane.publish("c", b"x"))
        self.assertFalse(backplane.subscribe(["c"], PATIENCE))
        backplane.unsubscribe(["c"])
        self.assertTrue(backplane.flush(0))
        health = backplane.health()
        self.assertEqual((health.up, health.error, health.since), (False, "it was not started", None))
        backplane.close(0)
        self.assertEqual(threading.active_count(), before)

    def test_no_thread(self) -> None:
        """A start for which there is only one thread, or none, raises, and leaves neither a thread nor a descriptor."""
        really = threading.Thread.start
        for lacking in ("syncws-redis-reader", "syncws-redis-writer"):
            with self.subTest(lacking):

                def start(thread: threading.Thread) -> None:
                    if thread.name == lacking:  # noqa: B023
                        raise RuntimeError("can't start new thread")
                    really(thread)

                before = (threading.active_count(), descriptors())
                backplane = RedisBackplane("redis://localhost:1")
                with mock.patch.object(threading.Thread, "start", start), self.assertRaises(RuntimeError):
                    backplane.start(Recorder(), "0" * 16)
                self.assertEqual((threading.active_count(), descriptors()), before)
                self.assertEqual(backplane.health().error, "it was not started")

    def test_what_it_is(self) -> None:
        """Only what is subscribed arrives, and what it publishes arrives at itself too."""
        backplane = RedisBackplane("redis://:secret@localhost/3", prefix="app")
        self.assertEqual((backplane.addressed, backplane.echoes, backplane.max_message), (True, True, 1 << 20))
        self.assertIsNone(backplane.archive)
        self.assertEqual(repr(backplane), "<RedisBackplane app:3:* on localhost:6379>")
        kept = RedisBackplane("redis://localhost", history=History(size=5))
        assert kept.archive is not None
        self.assertEqual(kept.archive.history.size, 5)

    def test_bad_options(self) -> None:
        """Each error names the option and what it takes."""
        cases: list[tuple[type[Exception], str, dict[str, Any]]] = [
            (TypeError, "prefix", {"prefix": 5}),
            (ValueError, "letters, digits", {"prefix": "a b"}),
            (ValueError, "letters, digits", {"prefix": ""}),
            (ValueError, "max_message", {"max_message": 1}),
            (ValueError, "at most 8,388,608", {"max_message": 32 << 20}),
            (TypeError, "max_message", {"max_message": 1e6}),
            (ValueError, "patience", {"patience": 0}),
            (TypeError, "beat", {"beat": "1"}),
            (ValueError, "queue", {"queue": 0}),
            (ValueError, "queue_bytes", {"queue_bytes": 1000}),
            (TypeError, "history", {"history": 100}),
            (TypeError, "did you mean patience", {"patiense": 1}),
        ]
        for error, words, options in cases:
            with self.subTest(options), self.assertRaisesRegex(error, words):
                RedisBackplane("redis://localhost", **options)
        with self.assertRaisesRegex(ValueError, "redis://host:6379/0"):
            RedisBackplane("localhost")


class CarryTests(RedisCase):
    def test_order_on_every_server(self) -> None:
        """What one process publishes arrives at each that has subscribed, itself too, in order; elsewhere it does
        not."""
        for kind in kinds():
            with self.subTest(kind):
                server = self.server(kind)
                here, there = self.node(server.url), self.node(server.url)
                here.subscribe("a")
                there.subscribe("a", "b")
                here.publish("a", *range(2000))
                here.publish("b", "only there")
                here.wait_for("a", *range(2000))
                there.wait(lambda there=there: there.got("b") == ["only there"])
                self.assertEqual(there.got("a"), [str(i) for i in range(2000)])
                self.assertEqual(here.got("b"), [])
                self.assertEqual((here.told.story, there.told.story), (["up"], ["up"]))

    def test_any_bytes(self) -> None:
        """Bytes arrive as they are, up to max_message; one more is a ValueError. A position is taken off."""
        server = self.server()
        node = self.up(server.url, max_message=100_000)
        node.subscribe("a")
        sent = [b"", b"\x01", b"\0", bytes(90_000), os.urandom(100_000), b"\r\n$5\r\n", "ü☺".encode()]
        for each in sent:
            self.assertTrue(node.backplane.publish("a", each))
        with self.assertRaisesRegex(ValueError, "at most 100,000 bytes"):
            node.backplane.publish("a", bytes(100_001))
        node.wait(lambda: len(node.told.received_all) == len(sent))
        self.assertEqual([each.data for each in node.told.received_all], sent)
        for raw in (b"\0\x03posrest", b"\0\x09pos", b"\0"):
            server.call("PUBLISH", "syncws:0:a", raw)
        node.wait(lambda: len(node.told.received_all) == len(sent) + 3)
        self.assertEqual(
            [(each.data, each.position) for each in node.told.received_all[-3:]],
            [(b"rest", "pos"), (b"\0\x09pos", None), (b"\0", None)],
        )

    def test_prefix_and_database(self) -> None:
        """Programs with another prefix, or another database, do not hear each other."""
        server = self.server()
        one = self.up(server.url)
        others = [self.up(server.url, prefix="other"), self.up(server.url.replace("/0", "/1"))]
        for each in (one, *others):
            each.subscribe("a")
        for each in (one, *others):
            each.publish("a", each.name)
        for each in (one, *others):
            each.wait_for("a", each.name)

    def test_any_characters_in_channels(self) -> None:
        """A channel is any printable text: JSON, other scripts, a colon."""
        server = self.server()
        node = self.node(server.url)
        names = ['r:"lobby"', 'r:["a",1]', "r:ü☺", "*", "i:42"]
        node.subscribe(*names)
        for each in names:
            node.publish(each, each)
        node.wait(lambda: len(node.told.received_all) == len(names))
        self.assertEqual(
            [(each.channel, each.data.decode()) for each in node.told.received_all], [(n, n) for n in names]
        )

    def test_every_way_in(self) -> None:
        """A Unix socket, a password, a client that an application has."""
        server = self.server(password="pw")
        library = __import__(server.url.partition(":")[0])
        made = library.Redis if hasattr(library, "Redis") else library.Valkey
        first = self.node(server.url)
        first.subscribe("a")
        client = made.from_url(server.url, socket_timeout=0.001, decode_responses=True)
        self.addCleanup(client.close)
        others = [self.up(server.unix_url), self.up(client)]
        for i, each in enumerate(others):
            each.publish("a", i)
            first.wait_for("a", *range(i + 1))

    def test_subscriptions(self) -> None:
        """A channel that was let go brings nothing, and can be had again; what is known is no error."""
        server = self.server()
        node = self.node(server.url)
        node.subscribe("a", "b")
        self.assertTrue(node.backplane.subscribe(["a"], 0))
        node.backplane.unsubscribe(["a", "unknown"])
        with server.connection() as raw:
            while raw.call("PUBLISH", "syncws:0:a", "lost?"):
                pass
        node.subscribe("a")
        node.publish("a", "again")
        node.wait(lambda: node.got("a")[-1:] == ["again"])

    def test_a_message_after_subscribe_returned_arrives(self) -> None:
        """Whoever publishes once subscribe() is True is heard, 200 times."""
        server = self.server()
        here, there = self.node(server.url), self.up(server.url)
        with server.connection() as raw:
            for i in range(200):
                here.subscribe(f"c{i}")
                self.assertEqual(raw.call("PUBLISH", f"syncws:0:c{i}", "x"), 1)
        self.assertEqual(there.told.received_all, [])
        here.wait(lambda: len(here.told.received_all) == 200)

    def test_threads_that_publish(self) -> None:
        """Messages of one thread stay in order, whoever else publishes."""
        server = self.server()
        node = self.node(server.url)
        node.subscribe("a")
        tasks = [
            Task(lambda n=n: node.publish("a", *(f"{n} {i}" for i in range(500))))  # type: ignore[misc]
            for n in range(4)
        ]
        for task in tasks:
            task.result()
        node.wait(lambda: len(node.told.received_all) == 2000)
        for n in range(4):
            mine = [each for each in node.got("a") if each.startswith(f"{n} ")]
            self.assertEqual(mine, [f"{n} {i}" for i in range(500)])

    def test_the_queue_is_bounded(self) -> None:
        """What does not fit is refused, and counted; what was taken arrives."""
        server = self.server()
        node = self.up(server.url, queue=10)
        node.subscribe("a")
        server.stop()
        taken = [i for i in range(1000) if node.backplane.publish("a", b"%d" % i)]
        self.assertLess(len(taken), 520)
        self.assertEqual(node.backplane.health().dropped_out, 1000 - len(taken))
        server.go_on()
        node.wait_for("a", *taken)


class HealthTests(RedisCase):
    def test_health(self) -> None:
        """Up, since when, how fast, how many."""
        server = self.server()
        began = time.time()
        node = self.node(server.url, beat=0.05)
        node.subscribe("a")
        node.publish("a", 1, 2, 3)
        node.wait_for("a", 1, 2, 3)
        node.wait_health(lambda health: health.lag is not None and health.published == 3)
        health = node.backplane.health()
        self.assertTrue(health.up)
        self.assertIsNone(health.error)
        assert health.since is not None and health.last_proof is not None
        self.assertGreaterEqual(health.since, began)
        self.assertGreaterEqual(health.last_proof, began)
        self.assertEqual((health.received, health.queued_messages, health.queued_bytes), (3, 0, 0))
        self.assertEqual((health.dropped_out, health.reconnects), (0, 0))

    def test_a_server_that_is_not_there(self) -> None:
        """Starting is no error; the sink is told once that it is down, health says why, and nobody waits for it."""
        server = self.server()
        server.kill()
        node = self.node(server.url)
        node.wait_down()
        Task(node.backplane.subscribe, ["a"], PATIENCE).result(PATIENCE / 2)
        node.wait_health(lambda health: "refused" in (health.error or ""))
        health = node.backplane.health()
        self.assertEqual((health.up, health.last_proof, len(node.told.reasons)), (False, None, 1))
        self.assertTrue(node.backplane.publish("a", b"1"))
        server.start()
        node.wait_up()
        node.wait_for("a", 1)

    def test_the_process_is_known_to_the_server(self) -> None:
        """A key tells that it is alive, for five beats."""
        server = self.server()
        node = self.up(server.url, beat=1.0)
        node.wait_health(lambda health: health.lag is not None)
        left = server.call("PTTL", f"syncws:0:node:{node.name}")
        self.assertTrue(3000 < left <= 5000, left)


class EndTests(RedisCase):
    def test_close_sends_what_waits(self) -> None:
        """It flushes first; then there is no thread and no connection, and nothing is taken."""
        server = self.server()
        here, there = self.up(server.url), self.node(server.url)
        there.subscribe("a")
        here.publish("a", *range(1000))
        here.backplane.close(PATIENCE)
        there.wait_for("a", *range(1000))
        self.assertFalse(here.backplane.publish("a", b"x"))
        self.assertEqual(
            [each.name for each in threading.enumerate() if "redis" in each.name].count("syncws-redis-reader"), 1
        )
        here.backplane.close(PATIENCE)

    def test_close_of_a_stopped_server(self) -> None:
        """It takes the timeout and no more, and tells what was not sent."""
        server = self.server()
        node = self.up(server.url)
        server.stop()
        node.publish("a", 1, 2)
        Task(node.backplane.close, 0.1).result(PATIENCE / 2)
        server.go_on()
        self.assertEqual(node.told.dropped_all, {"a": 2})

    def test_close_while_it_connects(self) -> None:
        """An attempt that is under way does not hold it up, with a server that says nothing."""
        server = self.server()
        server.stop()
        node = self.node(server.url, patience=60)
        time.sleep(0.05)
        Task(node.backplane.close, 0).result(PATIENCE / 2)
        server.go_on()

    def test_close_from_the_sink(self) -> None:
        """A thread of its own may close it: it does not wait for itself."""
        server = self.server()
        backplane = RedisBackplane(server.url)
        closed = threading.Event()

        class Closes(Recorder):
            def up(self, proven: float) -> None:
                backplane.close(0)
                closed.set()

        backplane.start(Closes(), "0" * 16)
        self.assertTrue(closed.wait(PATIENCE))

    def test_start_again(self) -> None:
        """After close it begins anew; a second start is nothing."""
        server = self.server()
        node = self.up(server.url)
        node.backplane.start(node.told, node.name)
        node.backplane.close(1)
        node.backplane.start(node.told, node.name)
        node.subscribe("a")
        node.publish("a", 1)
        node.wait_for("a", 1)
        self.assertEqual(len(server.clients("pubsub")), 1)

    def test_flush(self) -> None:
        """It tells whether the server has taken all."""
        server = self.server()
        node = self.up(server.url)
        server.stop()
        node.publish("a", 1)
        self.assertFalse(node.backplane.flush(0.05))
        server.go_on()
        self.assertTrue(node.backplane.flush(PATIENCE))


@unittest.skipUnless(hasattr(os, "fork"), "this system has no fork")
class ForkTests(RedisCase):
    def test_fork_after_use(self) -> None:
        """The child of a fork is not started, holds no connection, starts anew, and both get all of their own."""
        server = self.server()
        here = self.node(server.url)
        here.subscribe("a")
        program = Path(__file__).with_name("redis_fork.py")
        done = subprocess.run(
            [sys.executable, "-W", "ignore::DeprecationWarning", str(program), server.url],
            capture_output=True,
            text=True,
            timeout=PATIENCE,
            env={**os.environ, "PYTHONPATH": os.pathsep.join(sys.path)},
        )
        self.assertEqual((done.returncode, done.stdout), (0, "well\n"), done.stderr)
        here.wait(lambda: len(here.got("a")) == 400)
        for who in ("parent", "child"):
            self.assertEqual([each for each in here.got("a") if who in each], [f"{who} {i}" for i in range(200)])


if __name__ == "__main__":
    unittest.main()
