"""outbound.py and wire.py with context takeover: what was compressed leaves, in its order, or is forgotten."""

from __future__ import annotations

import json
import random
import threading
import unittest
from collections.abc import Callable, Iterator
from typing import Any
from unittest import mock

import syncws
from syncws import BINARY, TEXT, Conn, PreparedMessage, WriteTimeout
from syncws._conn import wire as wire_module
from syncws._conn.conn import post_to_all
from syncws._frames import prepared as prepared_module
from syncws._net.transport import Transport
from syncws.testing import LeakChecks, await_, pair
from tests.conn.cases import ConnCase, held_by
from tests.partners import heavy
from tests.tasks import PATIENCE, Task

#: What is the same in each message.
FIXED = {
    "venue": "XNAS",
    "currency": "USD",
    "open": True,
    "tags": ["equity", "regular", "delayed"],
    "source": "main",
    "note": "prices are in cents",
}

RAW: dict[str, Any] = {"context_takeover": True, "ping_interval": None}


def feed(count: int, seed: int = 0) -> Iterator[str]:
    rng = random.Random(seed)
    for number in range(count):
        yield json.dumps({"type": "tick", "id": number, "price": rng.random(), "venue": "XNAS"})


class TakeoverCase(ConnCase):
    """Two connections that keep their contexts; the first has the role under test."""

    def setUp(self) -> None:
        super().setUp()
        self.conn, self.far = self.pair(**RAW)
        for _ in range(2):
            self.say("the first message, to which others may refer")

    def say(self, *messages: str) -> None:
        """Send each, and see it arrive."""
        for message in messages:
            self.conn.send(message)
            self.hear(message)

    def hear(self, *messages: str) -> None:
        for message in messages:
            self.assertEqual(self.far.receive(timeout=PATIENCE), message)

    @property
    def is_kept(self) -> bool:
        compressor = self.conn._wire.compressor
        assert compressor is not None
        return compressor.is_live


class ServerTakeover(TakeoverCase):
    """Every way of sending, one after the other and at once."""

    def test_it_is_of_use(self) -> None:
        """Messages of 200 bytes that resemble each other leave in a fifth of their bytes, by send and send_nowait."""
        for send in (self.conn.send, self.conn.send_nowait):
            before, plain = self.conn.stats().bytes_out, 0
            for number in range(100):
                message = json.dumps({"type": "price", "last": number, "at": 1_700_000_000 + number, **FIXED})
                plain += len(message)
                send(message)
                self.hear(message)
            self.assertGreater(plain, 18_000)
            self.assertLess((self.conn.stats().bytes_out - before) * 5, plain)

    def test_every_way(self) -> None:
        """send, send_nowait, prepared and shared ones, streams, plain messages, levels: in any order all arrive."""
        rng = random.Random(5)
        conn = self.conn
        for message in feed(300):
            match rng.randrange(8):
                case 0:
                    conn.send(message)
                case 1:
                    self.assertTrue(conn.send_nowait(message))
                case 2:
                    conn.write_prepared(PreparedMessage(TEXT, message))
                case 3:
                    self.assertTrue(conn.send_nowait(PreparedMessage(TEXT, message)))
                case 4:
                    with conn.next_writer(TEXT) as writer:
                        for start in range(0, len(message), 30):
                            writer.write(message[start : start + 30])
                            if rng.random() < 0.3:
                                writer.flush()
                case 5:
                    conn.enable_write_compression(False)
                    conn.send(message)
                    conn.enable_write_compression(True)
                case 6:
                    for each in post_to_all([conn], PreparedMessage(TEXT, message)):
                        self.assertTrue(each.send_nowait(message))
                case 7:
                    conn.set_compression_level(rng.randrange(-2, 10))
                    conn.send("")
                    conn.write_message(BINARY, message.encode())
                    self.hear("")
                    self.assertEqual(self.far.receive(timeout=PATIENCE), message.encode())
                    continue
            self.hear(message)

    def test_from_many_threads(self) -> None:
        """Threads that send in different ways at the same time: every message arrives, each thread's in its order."""
        ways: list[Callable[[str], object]] = [
            self.conn.send,
            self.conn.send_nowait,
            lambda message: self.conn.write_prepared(PreparedMessage(TEXT, message)),
            self._stream,
        ]
        start = threading.Barrier(len(ways))

        def send(number: int) -> None:
            start.wait()
            for count, message in enumerate(feed(100, number)):
                ways[number](json.dumps([number, count, message]))

        tasks = [Task(send, number) for number in range(len(ways))]
        heard: dict[int, list[int]] = {number: [] for number in range(len(ways))}
        for _ in range(100 * len(ways)):
            number, count, _ = json.loads(self.far.receive(timeout=PATIENCE))
            heard[number].append(count)
        for task in tasks:
            task.result()
        for counts in heard.values():
            self.assertEqual(counts, [*range(100)])

    def _stream(self, message: str) -> None:
        with self.conn.next_writer(TEXT) as writer:
            writer.write(message[:50])
            writer.flush()
            writer.write(message[50:])

    def test_after_a_shared_frame(self) -> None:
        """A frame that was compressed by itself passes; the compressor begins anew, and not before there is need."""
        shared = PreparedMessage(TEXT, "a message for many " * 20)
        ways: list[Callable[[], object]] = [
            lambda: self.conn.write_prepared(shared),
            lambda: self.conn.send_nowait(shared),
            lambda: [conn.send_nowait(shared) for conn in post_to_all([self.conn], shared)],
        ]
        for send in ways:
            self.say("a message of its own", "a message of its own")
            self.assertTrue(self.is_kept)
            send()
            self.assertFalse(self.is_kept)
            self.hear("a message for many " * 20)

    def test_a_shared_frame_passes_one_that_waits(self) -> None:
        """A message that waits for the wire is compressed when it is its turn: what leaves before it may be shared."""
        with self.busy_wire(self.conn):
            own = self.start(self.conn.send, "the first message again, to which others may refer")
            self.assertTrue(await_(lambda: self.conn._wire.frame_lock.locked()))
            self.assertTrue(self.conn.send_nowait(PreparedMessage(TEXT, "shared " * 30)))
        own.result()
        self.assertEqual(
            {self.far.receive(timeout=PATIENCE) for _ in range(2)},
            {"shared " * 30, "the first message again, to which others may refer"},
        )
        self.say("the first message, again")

    def test_what_waits_is_compressed_by_itself(self) -> None:
        """A message in the send queue refers to nothing, as it may be dropped, and nothing refers to it."""
        with self.busy_wire(self.conn):
            for message in ("the first message, once", "the first message, twice"):
                self.assertTrue(self.conn.send_nowait(message))
            self.assertEqual(self.conn.queued[0], 2)
        self.hear("the first message, once", "the first message, twice")
        self.say("the first message, three times")

    def test_while_a_stream_is_open(self) -> None:
        """What is posted while a message is written in pieces leaves after it, and all are read, and what follows."""
        with self.conn.next_writer(TEXT) as writer:
            writer.write("the first message, ")
            writer.flush()
            self.assertTrue(self.conn.send_nowait("the first message, posted"))
            self.assertTrue(self.conn.send_nowait(PreparedMessage(TEXT, "shared " * 30)))
            self.conn._wire.let_go()
            self.assertTrue(self.is_kept)
            self.conn.set_compression_level(9)
            writer.write("in pieces")
        self.hear("the first message, in pieces", "the first message, posted", "shared " * 30)
        self.say("the first message, at last")

    def test_a_stream_that_is_dropped(self) -> None:
        """A message of which nothing has left when it is given up leaves no trace."""
        with self.assertRaises(ZeroDivisionError), self.conn.next_writer(TEXT) as writer:
            writer.write("something that is never sent")
            raise ZeroDivisionError
        self.say("something that is sent")

    def test_a_stream_in_one_piece(self) -> None:
        """A writer that is closed before anything has left sends one frame, which may refer back."""
        for _ in range(2):
            with self.conn.next_writer(TEXT) as writer:
                writer.write("the first message, in one piece")
            self.hear("the first message, in one piece")
        self.say("the first message, in one piece")

    def test_plain_messages(self) -> None:
        """What is sent plain, by choice, below the threshold or since it is empty, is in no window, and costs none."""
        self.conn.enable_write_compression(False)
        self.say("the first message, plain")
        self.conn.enable_write_compression(True)
        self.assertTrue(self.is_kept)
        self.say("", "the first message, compressed")


class ServerNothingLost(TakeoverCase):
    """What was compressed and never left: the compressor begins anew."""

    def test_a_write_that_is_late(self) -> None:
        """A write that gives up before a byte has left: the next message refers to nothing that the peer has not."""
        with mock.patch.object(Transport, "send", side_effect=WriteTimeout("late")):
            self.assertRaises(WriteTimeout, self.conn.send, "the first message, which is lost")
        self.assertFalse(self.is_kept)
        self.say("the first message, which is lost and said again")

    def test_a_first_fragment_that_is_late(self) -> None:
        """The same of the first fragment of a message: the writer is closed, and others go on."""
        writer = self.conn.next_writer(TEXT)
        writer.write("the first message, which is lost")
        with mock.patch.object(Transport, "send", side_effect=WriteTimeout("late")):
            self.assertRaises(WriteTimeout, writer.flush)
        self.say("the first message, which is lost and said again")

    def test_a_post_that_finds_no_room(self) -> None:
        """A post that the socket does not take waits, compressed by itself; what follows does not refer to the try."""
        real, tries = Transport.try_send, []

        def full_twice(transport: Transport, frame: bytes) -> bool:
            tries.append(frame)
            return len(tries) > 2 and real(transport, frame)

        with mock.patch.object(Transport, "try_send", full_twice):
            self.assertTrue(self.conn.send_nowait("the first message, which has to wait"))
        self.hear("the first message, which has to wait")
        self.say("the first message, which has to wait no more")

    def test_a_post_that_fails(self) -> None:
        """A post that an error ends leaves no trace in the compressor."""
        with mock.patch.object(Transport, "try_send", side_effect=MemoryError):
            self.assertRaises(MemoryError, self.conn.send_nowait, "the first message, which is lost")
        self.assertFalse(self.is_kept)
        self.say("the first message, which is lost and said again")

    def test_compressing_fails(self) -> None:
        """An error while it is compressed is the caller's, and the connection goes on."""
        with (
            mock.patch.object(wire_module, "encode", side_effect=MemoryError),
            self.assertRaises(MemoryError),
        ):
            self.conn.send("the first message, which is lost")
        self.say("the first message, which is lost and said again")

    def test_what_is_dropped(self) -> None:
        """With drop_oldest, whatever is dropped, all that arrives is read, and so is what comes after it."""
        conn, far = self.pair(buffer=4096, send_queue=3, overflow="drop_oldest", **RAW)
        rng = random.Random(1)
        noise = [json.dumps([number, rng.randbytes(2000).hex()]) for number in range(5000)]
        sent = 0
        while conn.dropped < 5:
            self.assertTrue(conn.send_nowait(noise[sent]))
            sent += 1
        heard = [json.loads(far.receive(timeout=PATIENCE))[0] for _ in range(sent - conn.dropped)]
        self.assertEqual(heard, sorted(heard))
        self.assertEqual(heard[-1], sent - 1)
        self.assertTrue(await_(lambda: not conn._transport.pending))
        for message in noise[:5]:
            conn.send_nowait(message)
            self.assertEqual(far.receive(timeout=PATIENCE), message)

    def test_answers_that_leave_together(self) -> None:
        """Answers that are kept for the next one are compressed in the order in which they leave."""
        messages = [*feed(40)]
        frames = []
        compressor = self.far._wire.compressor
        assert compressor is not None
        for message in messages:
            first, payload = compressor.whole(0x81, message.encode())
            frames.append(b"".join(wire_module.encode(first, payload, self.far._client)))
        self.far._transport.send(b"".join(frames), b"", None, None)
        for number, message in enumerate(messages):
            self.assertEqual(self.conn.receive(timeout=PATIENCE), message)
            if number % 10 == 3:
                self.conn.send_nowait(PreparedMessage(TEXT, message))
            else:
                self.conn.send(message)
        self.hear(*messages)

    def test_the_end_frees_it(self) -> None:
        """A connection that is over holds no memory of zlib's, however long it is kept."""
        self.far.send("and back")
        self.assertEqual(self.conn.receive(timeout=PATIENCE), "and back")
        self.conn.close_now()
        self.assert_released(self.conn)
        self.assertFalse(self.is_kept)
        self.assertIsNone(self.conn._inbound.protocol.window)
        self.assertEqual(held_by(self.conn), 0)


class ClientTakeover(ServerTakeover):
    """The same for a client."""

    client = True


class ClientNothingLost(ServerNothingLost):
    """The same for a client."""

    client = True


class TestBroadcasts(LeakChecks, unittest.TestCase):
    """One message for many, compressed once."""

    def broadcast(self, members: int, messages: int) -> None:
        """Broadcast to so many servers' connections; some have something to say of their own in between."""
        compressed = 0
        real = prepared_module.compress

        def counting(*arguments: Any) -> bytes:
            nonlocal compressed
            compressed += 1
            return real(*arguments)

        manager = syncws.Manager()
        pairs = []
        for _ in range(members):
            near, far = self.enterContext(pair(**RAW))
            manager.register(near)
            pairs.append((near, far))
        with mock.patch.object(prepared_module, "compress", counting):
            for number, message in enumerate(feed(messages)):
                self.assertEqual(manager.broadcast(message), members)
                own: Conn = pairs[number % members][0]
                own.send(message)
                own.send(message)
                for near, far in pairs:
                    self.assertEqual(far.receive(timeout=PATIENCE), message)
                    if near is own:
                        self.assertEqual(far.receive(timeout=PATIENCE), message)
                        self.assertEqual(far.receive(timeout=PATIENCE), message)
        self.assertEqual(compressed, messages)

    def test_a_message_for_one(self) -> None:
        """`Manager.send` to an id with one connection refers back; not a prepared message, nor one for several."""
        manager = syncws.Manager(duplicate="many")
        members = [self.enterContext(pair(**RAW)) for _ in range(3)]
        for (near, _), id in zip(members, ("ann", "bob", "bob"), strict=True):
            manager.register(near, id=id)
        text = next(feed(1))
        sizes = []
        for message in (text, text, PreparedMessage(TEXT, text)):
            before = members[0][0].stats().bytes_out
            self.assertTrue(manager.send("ann", message))
            self.assertEqual(members[0][1].receive(timeout=PATIENCE), text)
            sizes.append(members[0][0].stats().bytes_out - before)
        self.assertLess(sizes[1] * 3, sizes[0])
        self.assertEqual(sizes[2], sizes[0])
        for _ in range(2):
            self.assertTrue(manager.send("bob", text))
            self.assertEqual([far.receive(timeout=PATIENCE) for _, far in members[1:]], [text, text])
        self.assertEqual(manager.stats().sent, 3 + 2 * 2)

    def test_what_it_says(self) -> None:
        """`Conn.context_takeover` tells whether this side keeps its context."""
        for options, expected in (({}, False), ({"compression": True}, False), (RAW, True)):
            near, far = self.enterContext(pair(**options))
            self.assertEqual((near.context_takeover, far.context_takeover), (expected, expected))

    def test_a_few(self) -> None:
        """A broadcast to connections that keep their contexts compresses once; all messages are read."""
        self.broadcast(5, 40)

    @heavy
    def test_a_thousand(self) -> None:
        """240 broadcasts to 1,000 connections are compressed 240 times, and each of 240,000 messages is read."""
        self.broadcast(1000, 240)


if __name__ == "__main__":
    unittest.main()
