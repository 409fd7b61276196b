"""What a room remembers on real servers of Redis and Valkey."""

from __future__ import annotations

import os
import random
import struct
import time
import unittest
from typing import Any
from unittest import mock

from syncws import BackplaneError, BackplaneTimeout, History
from syncws._base.forks import BeginsAnew
from syncws._bus import redisarchive
from syncws._bus.history import Past
from syncws._bus.redisarchive import RedisArchive, unpack
from syncws.testing import LeakChecks
from tests.buses import SCHEME, RawRedis, RedisError, RedisServer, need_client, need_server
from tests.tasks import PATIENCE, Task

PREFIX = "syncws:0:app:"
ROOM = 'r:"lobby"'


def envelope(boot: bytes, number: int, body: str = "", kind: int = 0) -> bytes:
    """A message between processes, by docs/redis-protocol.md."""
    return struct.pack(">BBBB8sQHI", 1, kind, 0, 0, boot, number, 0, 0) + body.encode()


def connection(port: int, timeout: float = PATIENCE, **options: Any) -> Any:
    """A connection of the client library, as a backplane makes it."""
    need_client()
    library = __import__(SCHEME)
    retry = __import__(f"{SCHEME}.retry", fromlist=["Retry"]).Retry
    backoff = __import__(f"{SCHEME}.backoff", fromlist=["NoBackoff"]).NoBackoff
    return library.Connection(
        port=port,
        protocol=2,
        socket_timeout=timeout,
        socket_connect_timeout=timeout,
        retry=retry(backoff(), 0),
        **options,
    )


class Sender:
    """A process that keeps messages in a room, each with the next number, by the archive's command."""

    def __init__(self, archive: RedisArchive, server: RedisServer) -> None:
        self.archive = archive
        self.server = server
        self.boot = os.urandom(8)
        self.number = 0

    def send(self, count: int = 1, room: str = ROOM, raw: RawRedis | None = None) -> list[str]:
        """Send so many messages; their positions."""
        return [self.resend(self.next(), room, raw) or "" for _ in range(count)]

    def next(self) -> bytes:
        self.number += 1
        return envelope(self.boot, self.number, f"message {self.number}")

    def resend(self, data: bytes, room: str = ROOM, raw: RawRedis | None = None) -> str | None:
        """Send these bytes; the position, or None for a copy."""
        command = self.archive.command(room, data, first=True)
        position = self.server.call(*command) if raw is None else raw.call(*command)
        return None if position is None else position.decode()


def texts(past: Past) -> list[str]:
    return [entry.data[26:].decode() for entry in past.entries]


class Cases(LeakChecks):
    server: RedisServer

    def archive(self, server: RedisServer | None = None, **options: Any) -> RedisArchive:
        port = (server or self.server).port
        archive = RedisArchive(History(**options), PREFIX, lambda timeout: connection(port, timeout))
        self.addCleanup(archive.close)
        return archive

    def assert_unknown(self, archive: RedisArchive, since: Any, room: str = ROOM) -> Past:
        past = archive.read(room, since, PATIENCE)
        self.assertEqual((past.recovered, past.entries), (False, ()))
        return past


class RedisTests(Cases):
    kind: Any = "redis"

    @classmethod
    def setUpClass(cls) -> None:
        need_client()
        cls.server = cls.enterClassContext(RedisServer(need_server(cls.kind)))

    def setUp(self) -> None:
        super().setUp()
        self.server.call("FLUSHALL")

    def test_what_was_missed(self) -> None:
        """What was kept after a position comes back whole and in order; of the last position, nothing does."""
        archive = self.archive()
        positions = Sender(archive, self.server).send(5)
        past = archive.read(ROOM, positions[1], PATIENCE)
        self.assertTrue(past.recovered)
        self.assertEqual(texts(past), ["message 3", "message 4", "message 5"])
        self.assertEqual([entry.position for entry in past.entries], positions[2:])
        self.assertEqual(past.position, positions[-1])
        self.assertEqual(archive.read(ROOM, positions[-1], PATIENCE), Past(positions[-1], (), True))
        self.assertLessEqual(max(map(len, positions)), 60)
        self.assertTrue(all(position.isprintable() for position in positions))

    def test_before_the_first_message(self) -> None:
        """A room that nobody has spoken in has a position too, and what comes after it is found."""
        archive = self.archive(size=3)
        origin = archive.read(ROOM, None, PATIENCE).position
        self.assertEqual(archive.read(ROOM, origin, PATIENCE), Past(origin, (), True))
        sender = Sender(archive, self.server)
        sender.send(3)
        self.assertEqual(texts(archive.read(ROOM, origin, PATIENCE)), ["message 1", "message 2", "message 3"])
        sender.send()
        self.assert_unknown(archive, origin)

    def test_trimmed(self) -> None:
        """A position whose next message was forgotten for newer ones is not known."""
        archive = self.archive(size=4)
        positions = Sender(archive, self.server).send(10)
        self.assertEqual(len(archive.read(ROOM, positions[6], PATIENCE).entries), 3)
        self.assert_unknown(archive, positions[5])

    def test_expired(self) -> None:
        """What was forgotten by time is not known; that nothing came after the last message still is."""
        archive = self.archive(ttl=1)
        positions = Sender(archive, self.server).send(2)
        log = f"{PREFIX}{{{ROOM}}}:log"
        self.assertGreater(self.server.call("PTTL", log), 0)
        while self.server.call("EXISTS", log):
            time.sleep(0.05)
        self.assert_unknown(archive, positions[0])
        self.assertEqual(archive.read(ROOM, positions[1], PATIENCE), Past(positions[1], (), True))
        while self.server.call("EXISTS", f"{PREFIX}{{{ROOM}}}:head"):
            time.sleep(0.05)
        self.assert_unknown(archive, positions[1])

    def test_flushed(self) -> None:
        """After FLUSHALL no position is known, also once as many messages have been kept again."""
        archive = self.archive()
        sender = Sender(archive, self.server)
        origin = archive.read(ROOM, None, PATIENCE).position
        positions = sender.send(3)
        self.server.call("FLUSHALL")
        for _ in range(2):
            for position in (origin, *positions):
                self.assert_unknown(archive, position)
            sender.send(3)

    def test_one_key_was_evicted(self) -> None:
        """A server that is full lets go of one key alone: then nothing is taken for whole that is not."""
        archive = self.archive()
        sender = Sender(archive, self.server)
        for key, _known in (("head", False), ("log", True)):
            with self.subTest(key):
                positions = sender.send(3)
                self.server.call("DEL", f"{PREFIX}{{{ROOM}}}:{key}")
                self.assert_unknown(archive, positions[1])
                sender.send()
                for position in positions:
                    self.assert_unknown(archive, position)

    def test_another_room(self) -> None:
        """A position of another room is not known, at whatever place that room is."""
        archive = self.archive()
        sender = Sender(archive, self.server)
        origins = [archive.read(room, None, PATIENCE).position for room in (ROOM, "r:2")]
        ours = sender.send(5)
        theirs = sender.send(8, "r:2")
        for position in (origins[1], *theirs):
            self.assert_unknown(archive, position)
        for position in (origins[0], *ours):
            self.assert_unknown(archive, position, "r:2")

    def test_altered(self) -> None:
        """Whatever a client makes of a position is no error, and never a past that is not this one."""
        archive = self.archive()
        positions = Sender(archive, self.server).send(5)
        epoch, offset, tag = positions[2].split("-")
        altered: list[Any] = [
            *("", "-", "--", "0", "x" * 10_000, "\0", "\n", "é", "1-2-3", None, 7, [], {}, b"1-2-3", 1.5),
            *(f"{epoch}-{offset}", f"{epoch}-{offset}-{tag}-", f"{epoch}-{offset}-{tag}\n", f" {epoch}-{offset}-{tag}"),
            *(
                f"{epoch}-{other}-{tag}"
                for other in ("0", "1", "4", "5", "6", "99999999999999999999", "-3", "+3", "03")
            ),
            *(f"{epoch}-{other}-{tag}" for other in ("3.0", "3e0", "٣", "", "$", "-", "+", "(3", "999999999999999")),
            f"{epoch}-{offset}-{tag[::-1]}" if tag != tag[::-1] else "x",
            f"{epoch.upper()}-{offset}-{tag}" if epoch != epoch.upper() else "x",
        ]
        rng = random.Random(13)
        for _ in range(300):
            text = list(positions[2])
            for _ in range(rng.randint(1, 3)):
                text[rng.randrange(len(text))] = chr(rng.choice([*range(33, 127), 0, 955]))
            altered.append("".join(text))
        altered = [each for each in altered if each not in positions]
        for each in altered:
            with self.subTest(each):
                self.assert_unknown(archive, each)

    def test_sent_again(self) -> None:
        """What a sender sends again is neither kept nor published a second time."""
        archive = self.archive()
        sender, other = Sender(archive, self.server), Sender(archive, self.server)
        with self.server.connection() as listener:
            listener.call("SUBSCRIBE", PREFIX + ROOM)
            batch = [sender.next() for _ in range(3)]
            origin = archive.read(ROOM, None, PATIENCE).position
            positions = [sender.resend(batch[0]), other.send()[0], sender.resend(batch[1])]
            again = [sender.resend(data) for data in batch]
            self.assertEqual(again[:2], [None, None])
            positions.append(again[2])
            past = archive.read(ROOM, origin, PATIENCE)
            self.assertEqual([entry.position for entry in past.entries], positions)
            told = [unpack(listener.read()[2]) for _ in range(4)]
        self.assertEqual([position for position, _ in told], positions)
        self.assertEqual([data for _, data in told], [entry.data for entry in past.entries])

    def test_many_senders(self) -> None:
        """A room remembers a thousand senders and not more, those that spoke last among them."""
        archive = self.archive(size=1)
        with self.server.connection() as raw:
            sent = [(Sender(archive, self.server), b"") for _ in range(1_200)]
            sent = [(sender, sender.next()) for sender, _ in sent]
            for sender, data in sent:
                self.assertIsNotNone(sender.resend(data, raw=raw))
            self.assertLessEqual(raw.call("HLEN", f"{PREFIX}{{{ROOM}}}:head"), 1_004)
            for sender, data in sent[-400:]:
                self.assertIsNone(sender.resend(data, raw=raw))

    def test_what_has_no_number(self) -> None:
        """Bytes that are no message between processes are kept each time: nobody could know a copy."""
        archive = self.archive()
        sender = Sender(archive, self.server)
        for data in (b"", b"text", b"\x01", b"\x01" * 25, b"text" * 20, envelope(sender.boot, 0)):
            with self.subTest(data):
                self.assertNotEqual(sender.resend(data), sender.resend(data))
        self.assertEqual(self.server.call("HLEN", f"{PREFIX}{{{ROOM}}}:head"), 4)

    def test_the_script_is_named(self) -> None:
        """Within a batch the first command brings the script, and the others name it."""
        archive = self.archive()
        sender = Sender(archive, self.server)
        with self.server.connection() as raw:
            for first in (True, False, False):
                command = archive.command(ROOM, sender.next(), first=first)
                self.assertEqual(command[0], "EVAL" if first else "EVALSHA")
                raw.send(*command)
            self.assertEqual([raw.read()[17:19] for _ in range(3)], [b"1-", b"2-", b"3-"])

    def test_an_idle_connection_was_cut(self) -> None:
        """A read goes on over a new connection if the server has let go of the old one."""
        archive = self.archive()
        positions = Sender(archive, self.server).send(2)
        for _ in range(3):
            self.assertEqual(texts(archive.read(ROOM, positions[0], PATIENCE)), ["message 2"])
            self.server.kill_clients("normal")

    def test_a_stopped_server(self) -> None:
        """A server that does not answer is BackplaneTimeout in time; once it goes on, the next read is right."""
        archive = self.archive()
        positions = Sender(archive, self.server).send(2)
        archive.read(ROOM, None, PATIENCE)
        self.server.stop()
        try:
            waiting = [Task(archive.read, ROOM, positions[0], 0.2) for _ in range(3)]
            for task in waiting:
                self.assertIsInstance(task.error(), BackplaneTimeout)
        finally:
            self.server.go_on()
        self.assertEqual(texts(archive.read(ROOM, positions[0], PATIENCE)), ["message 2"])

    def test_not_there(self) -> None:
        """A server that is not there is BackplaneError, and so is one whose answer is a refusal; both heal."""
        archive = self.archive()
        self.server.kill()
        try:
            self.assertRaises(BackplaneError, archive.read, ROOM, None, PATIENCE)
        finally:
            self.server.start()
        for key in ("head", "log"):
            position = archive.read(ROOM, None, PATIENCE).position
            self.server.call("DEL", f"{PREFIX}{{{ROOM}}}:{key}")
            self.server.call("SET", f"{PREFIX}{{{ROOM}}}:{key}", "of somebody else")
            with self.assertRaisesRegex(BackplaneError, "WRONGTYPE|wrong kind"):
                archive.read(ROOM, position, PATIENCE)
            self.server.call("DEL", f"{PREFIX}{{{ROOM}}}:{key}")
        self.server.call("HSET", f"{PREFIX}{{{ROOM}}}:head", "epoch", "x")
        with self.assertRaisesRegex(BackplaneError, "another program"):
            archive.read(ROOM, None, PATIENCE)

    def test_many_readers(self) -> None:
        """Threads that read at the same time each get their own answer."""
        archive = self.archive()
        sender = Sender(archive, self.server)
        rooms = {f"r:{n}": sender.send(n + 1, f"r:{n}") for n in range(8)}

        def read(room: str) -> list[int]:
            return [len(archive.read(room, rooms[room][0], PATIENCE).entries) for _ in range(50)]

        for n, task in enumerate([Task(read, room) for room in rooms]):
            self.assertEqual(task.result(), [n] * 50)

    def test_a_failover_that_lost(self) -> None:
        """A replica that lacked the newest messages goes on with their offsets; their positions are not known there."""
        with RedisServer(self.kind) as replica:
            replica.replicate(self.server)
            here, there = self.archive(), self.archive(replica)
            sender = Sender(here, self.server)
            known = sender.send(10)
            while replica.call("HGET", f"{PREFIX}{{{ROOM}}}:head", "offset") != b"10":
                time.sleep(0.01)
            replica.replicate(None)
            lost = sender.send(5)
            sender.server = replica
            for count in (0, 2, 3, 3):
                sender.send(count)
                for position in lost:
                    self.assert_unknown(there, position)
            self.assertTrue(here.read(ROOM, lost[2], PATIENCE).recovered)
            past = self.assert_unknown(there, known[-1])  # what was lost came after it
            sender.send(2)
            self.assertEqual(len(there.read(ROOM, past.position, PATIENCE).entries), 2)

    def test_a_snapshot_that_lacks_the_newest(self) -> None:
        """A server that comes back from a snapshot knows no position of before, also before anything new is kept."""
        with RedisServer(self.kind) as server:
            archive = self.archive(server)
            sender = Sender(archive, server)
            known = sender.send(4)
            server.call("SAVE")
            sender.send(4)
            server.kill()
            server.start()
            for count in (0, 1, 1):
                sender.send(count)
                for position in known:
                    self.assert_unknown(archive, position)

    def test_a_replica_is_not_read(self) -> None:
        """A server that has become a replica refuses to be read, and the next read looks for the server anew."""
        with RedisServer(self.kind) as other:
            archive = self.archive(other)
            positions = Sender(archive, other).send(2)
            self.assertTrue(archive.read(ROOM, positions[0], PATIENCE).recovered)
            other.call("REPLICAOF", "127.0.0.1", "1")
            with self.assertRaisesRegex(BackplaneError, "read only replica|READONLY"):
                archive.read(ROOM, positions[0], PATIENCE)
            self.assertIsNone(archive._connection)

    def test_the_server_was_lost(self) -> None:
        """After `lose` the next read makes a new connection: the old one may lead to another server."""
        archive = self.archive()
        positions = Sender(archive, self.server).send(2)
        archive.read(ROOM, None, PATIENCE)
        before = archive._connection
        archive.read(ROOM, None, PATIENCE)
        self.assertIs(archive._connection, before)
        archive.lose()
        self.assertTrue(archive.read(ROOM, positions[0], PATIENCE).recovered)
        self.assertIsNot(archive._connection, before)

    def test_a_loss_while_memory_is_full(self) -> None:
        """What was refused is a hole in what is kept, once it is told, also while nothing can be kept."""
        archive = self.archive()
        sender = Sender(archive, self.server)
        positions = sender.send(2)
        lost = envelope(sender.boot, 3, kind=3)
        self.server.call("CONFIG", "SET", "maxmemory", 1)
        try:
            with self.assertRaisesRegex(RedisError, "OOM"):
                sender.send()
            with self.server.connection() as listener:
                listener.call("SUBSCRIBE", PREFIX + ROOM)
                self.server.call(*archive.told_as(ROOM, lost) or ())
                self.assertEqual(listener.read()[2], lost)
        finally:
            self.server.call("CONFIG", "SET", "maxmemory", 0)
        for count in (0, 1):
            sender.send(count)
            for position in positions:
                self.assert_unknown(archive, position)
        self.assertIsNone(archive.told_as(ROOM, envelope(sender.boot, 1)))
        self.assertIsNone(archive.told_as("*", lost))

    def test_an_unknown_sender(self) -> None:
        """Who speaks again in a room that has forgotten it makes no hole: its losses it tells by itself."""
        archive = self.archive()
        origin = archive.read(ROOM, None, PATIENCE).position
        sender = Sender(archive, self.server)
        sender.number = 7
        sender.send(2)
        self.assertEqual(texts(archive.read(ROOM, origin, PATIENCE)), ["message 8", "message 9"])


class ValkeyTests(RedisTests):
    kind = "valkey"


class AccessTests(Cases):
    def test_the_rights_it_needs(self) -> None:
        """These rights are enough; one that lacks is told."""
        rights = "eval evalsha info hset hmget hincrby hlen hgetall hdel del xadd xrange pexpire publish"
        user = ["app", "on", ">secret", f"~{PREFIX}*", f"&{PREFIX}*", *(f"+{each}" for each in rights.split())]
        with RedisServer(acl=["user default on nopass ~* &* +@all"]) as server:
            server.call("ACL", "SETUSER", *user)
            archive = RedisArchive(
                History(), PREFIX, lambda timeout: connection(server.port, timeout, username="app", password="secret")
            )
            self.addCleanup(archive.close)
            archive.read(ROOM, None, PATIENCE)
            with server.connection() as raw:
                raw.call("AUTH", "app", "secret")
                positions = Sender(archive, server).send(2, raw=raw)
            self.assertEqual(texts(archive.read(ROOM, positions[0], PATIENCE)), ["message 2"])
            server.call("ACL", "SETUSER", "app", "-xrange")
            self.assertRaises(BackplaneError, archive.read, ROOM, positions[0], PATIENCE)


class PositionTests(unittest.TestCase):
    def test_is_after(self) -> None:
        """By offset within an epoch; what is of another epoch, or cannot be read, is after all others."""
        archive = RedisArchive(History(), PREFIX, lambda timeout: None)
        epoch, other = "0123456789abcdef", "f" * 16
        for one, two, after in (
            (f"{epoch}-10-00000000", f"{epoch}-9-11111111", True),
            (f"{epoch}-9-00000000", f"{epoch}-9-00000000", False),
            (f"{epoch}-9-00000000", f"{epoch}-10-00000000", False),
            (f"{epoch}-1-00000000", f"{other}-9-00000000", True),
            ("", f"{other}-9-00000000", True),
            (f"{other}-9-00000000", "", True),
        ):
            with self.subTest(one=one, two=two):
                self.assertIs(archive.is_after(one, two), after)

    def test_unpack(self) -> None:
        """A position that stands before a message is told apart from a message that begins itself."""
        self.assertEqual(unpack(b"\x00\x03abc\x01rest"), ("abc", b"\x01rest"))
        self.assertEqual(unpack(b"\x01\x03abc"), (None, b"\x01\x03abc"))
        self.assertEqual(unpack(b""), (None, b""))
        for wrong in (b"\x00", b"\x00\x04abc", b"\x00\x01\xff"):
            with self.subTest(wrong):
                self.assertRaises(ValueError, unpack, wrong)

    def test_in_the_child_of_a_fork(self) -> None:
        """A fork that came while somebody was reading leaves no lock and no connection of the parent's."""
        archive = RedisArchive(History(), PREFIX, lambda timeout: None)
        archive._turn.acquire()
        archive._connection = mock.Mock()
        child: BeginsAnew = archive
        child.begin_anew()
        self.assertFalse(archive._turn.locked())
        self.assertIsNone(archive._connection)

    def test_the_script_is_small(self) -> None:
        """It is sent with the first message of each batch."""
        self.assertLess(len(redisarchive.KEEP), 1_800)


if __name__ == "__main__":
    unittest.main()
