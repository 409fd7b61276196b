"""fast.c against its twins in Python: the same bytes, events and errors for the same streams, whatever their cut."""

from __future__ import annotations

import errno
import os
import random
import socket
import sys
import threading
import unittest

from syncws._frames import masking
from syncws._frames.frame import FIN, LARGE, MASKED
from syncws._frames.frame import encode as pure_encode
from syncws._frames.protocol import PureProtocol
from tests.frames.twins import (
    BINARY,
    LENGTHS,
    LONG,
    NO_TEXTS,
    PING,
    TEXT,
    TEXTS,
    bad_frames,
    both_outcomes,
    mutated,
    need_both,
    random_frames,
    the_accelerator,
    whole,
)
from tests.tasks import PATIENCE, Task

BOTH = (False, True)
KEY = b"\x37\xfa\x21\x3d"

HEAVY = {"0": 1, "full": 20}.get(os.environ.get("SYNCWS_HEAVY", ""), 3)


class Twins(unittest.TestCase):
    def setUp(self):
        self.fast = the_accelerator()
        self.random = random.Random(6455)


class MaskTests(Twins):
    """mask, unmask, mask_into."""

    def test_every_alignment(self):
        """At each address, offset and size the result is the twin's, and nothing beside the payload changes."""
        whole = self.random.randbytes(400)
        for start in range(9):
            for size in (*range(70), 127, 128, 129, 300):
                for offset in (0, 1, 2, 3, 4, 65537):
                    view = memoryview(whole)[start : start + size]
                    expected = masking.mask(view, KEY, offset)
                    self.assertEqual(self.fast.mask(view, KEY, offset), expected)
                    buffer = bytearray(whole)
                    self.fast.mask_into(buffer, start, start + size, KEY, offset)
                    self.assertEqual(buffer, whole[:start] + expected + whole[start + size :])

    def test_every_kind(self):
        """bytes, bytearray and memoryview; new bytes come out, and the argument is left alone."""
        for size in (*LENGTHS, *LONG):
            data = self.random.randbytes(size)
            expected = masking.mask(data, KEY, 3)
            for kind in (bytes, bytearray, memoryview):
                given = kind(data)
                masked = self.fast.mask(given, KEY, 3)
                self.assertIs(type(masked), bytes)
                self.assertEqual((masked, bytes(given)), (expected, data))
            self.assertEqual(self.fast.mask(data, KEY), self.fast.mask(data, KEY, imports=False))
            with memoryview(bytearray(data)) as view:
                self.fast.mask_into(view, 0, size, KEY, 3)
                self.assertEqual(view, expected)

    def test_unmask(self):
        """The key stands before the payload, wherever that is."""
        for size in (*LENGTHS, *LONG):
            for start in (4, 6, 8, 14, 15):
                frame = self.random.randbytes(start + size + 3)
                expected = masking.unmask(frame, start, start + size)
                self.assertEqual(self.fast.unmask(frame, start, start + size), expected)

    def test_what_they_refuse(self):
        """A part that is none, a key of another length, the wrong kind: an error, and the buffer is as it was."""
        buffer = bytearray(b"12345678")
        for start, end in ((-1, 3), (5, 4), (0, 9), (1 << 70, 3), (0, -1)):
            with self.assertRaises((ValueError, OverflowError)):
                self.fast.mask_into(buffer, start, end, KEY)
            with self.assertRaises((ValueError, OverflowError)):
                self.fast.unmask(bytes(buffer), start, end)
        for wrong in (b"", b"123", b"12345"):
            with self.assertRaises(ValueError):
                self.fast.mask(b"data", wrong)
        for call in (
            lambda: self.fast.mask("data", KEY),
            lambda: self.fast.mask(b"data", bytearray(KEY)),
            lambda: self.fast.mask(b"data", KEY, "1"),
            lambda: self.fast.mask(b"data"),
            lambda: self.fast.mask(memoryview(b"data")[::2], KEY),
            lambda: self.fast.mask_into(b"data", 0, 4, KEY),
            lambda: self.fast.mask_into(buffer, 0, 4),
            lambda: self.fast.unmask(buffer, 4, 5),
            lambda: self.fast.unmask(bytes(buffer), 4),
        ):
            with self.assertRaises((TypeError, BufferError)):
                call()
        with self.assertRaises(ValueError):
            self.fast.unmask(bytes(buffer), 3, 5)
        self.assertEqual(buffer, b"12345678")


class EncodeTests(Twins):
    """encode."""

    def test_a_server(self):
        """Head and body are the twin's, byte for byte; a large payload is not copied."""
        for first in (FIN | TEXT, BINARY, 0, FIN, FIN | PING, FIN | 0x40 | TEXT, 0xFF):
            for length in (*LENGTHS, LARGE - 1, *LONG):
                payload = self.random.randbytes(length)
                head, body = self.fast.encode(first, payload, False)
                self.assertEqual((head, body), pure_encode(first, payload, False))
                if length >= LARGE:
                    self.assertIs(body, payload)

    def test_a_client(self):
        """They are the twin's, except for the key, which is fresh each time."""
        keys = set()
        for length in (*LENGTHS, LARGE - 1, *LONG):
            payload = self.random.randbytes(length)
            head, body = self.fast.encode(FIN | BINARY, payload, True)
            twin, twin_body = pure_encode(FIN | BINARY, payload, True)
            self.assertEqual((len(head), len(body)), (len(twin), len(twin_body)))
            frame = head + body
            begin = len(frame) - length
            self.assertEqual(frame[: begin - 4], (twin + twin_body)[: begin - 4])
            self.assertEqual(masking.unmask(frame, begin, len(frame)), payload)
            keys.add(frame[begin - 4 : begin])
        self.assertEqual(len(keys), len((*LENGTHS, LARGE - 1, *LONG)))

    def test_what_it_refuses(self):
        """A first byte that is none, and a payload that is not bytes."""
        for arguments in ((256, b"", False), (-1, b"", False), (1, "", False), (1, bytearray(), False), (1, b"")):
            with self.assertRaises((TypeError, ValueError)):
                self.fast.encode(*arguments)


class DecodeTests(Twins):
    """only and decode, by themselves and as `Protocol` uses them."""

    def assert_same(self, data, client, limit):
        """Both give, or do not take, the same first message."""
        mask_bit = 0 if client else MASKED
        pure = PureProtocol(client=client, read_limit=limit, compression=False)
        only = pure.only(data)
        self.assertEqual(self.fast.only(data, mask_bit, limit), only, data[:20])
        for raw in BOTH:
            decoded = self.fast.decode(b"abc" + data, 3, mask_bit, limit, raw)
            if decoded is None:
                continue
            pure = PureProtocol(client=client, read_limit=limit, compression=False)
            pure.receive(data)
            self.assertEqual(decoded, (pure.next_event(raw), 3 + len(data) - pure.unread))
        if only is not None:
            self.assertEqual(self.fast.decode(data, 0, mask_bit, limit, False), (only, len(data)))

    def test_every_header(self):
        """Of each first byte and each second byte."""
        tail = b"\x00\x7f" + bytes(range(20, 150))
        for client in BOTH:
            for first in range(256):
                for second in (0, 1, 5, 125, 126, 127, 128, 129, 133, 253, 254, 255):
                    self.assert_same(bytes((first, second)) + tail, client, None)
            for second in range(256):
                for first in (FIN | TEXT, FIN | BINARY):
                    head = bytes((first, second))
                    for arrived in (0, 1, (second & 0x7F) + 3, (second & 0x7F) + 4, (second & 0x7F) + 8):
                        self.assert_same(head + bytes(arrived), client, None)

    def test_every_length(self):
        """At each boundary; and where a byte is missing or one too many, or the limit is one lower."""
        for client in BOTH:
            for length in (*LENGTHS, *LONG):
                for kind, payload in ((BINARY, self.random.randbytes(length)), (TEXT, b"x" * length)):
                    data = whole(FIN | kind, payload, client)
                    for cut in (data, data[:-1], data + b"\x82"):
                        for limit in (None, max(length, 1), max(length - 1, 1), 1 << 70):
                            self.assert_same(cut, client, limit)

    def test_text(self):
        """Text is UTF-8, strictly; what is not goes back untouched, with raw too."""
        for client in BOTH:
            for payload in (*TEXTS, *NO_TEXTS):
                self.assert_same(whole(FIN | TEXT, payload, client), client, None)

    def test_where_to_begin(self):
        """Before the buffer, at its end and beyond it nothing is found."""
        frame = whole(FIN | TEXT, b"hello", True)
        for start in (-1, len(frame), len(frame) + 1, 1 << 60):
            self.assertIsNone(self.fast.decode(frame, start, 0, None, False))
        self.assertEqual(self.fast.decode(frame, 0, 0, None, True), ((TEXT, b"hello"), len(frame)))

    def test_what_they_refuse(self):
        """What is not bytes or no number is an error."""
        for arguments in ((bytearray(2), 0, None), (b"\x82\0", "0", None), (b"\x82\0", 0, "1"), (b"\x82\0", 0)):
            with self.assertRaises(TypeError):
                self.fast.only(*arguments)
            with self.assertRaises(TypeError):
                self.fast.decode(arguments[0], 0, *arguments[1:], False)
        with self.assertRaises(TypeError):
            self.fast.decode(b"\x82\0", "0", 0, None, False)

    def test_streams(self):
        """Random streams, whole and broken, cut anywhere, in both roles, with and without a limit: the same events, as
        soon, and the same end."""
        need_both()
        for client in BOTH:
            pool = [*random_frames(self.random, client, 300), *bad_frames(self.random, client)]
            for _ in range(400 * HEAVY):
                stream = b"".join(self.random.choices(pool, k=self.random.randrange(1, 12)))
                if self.random.random() < 0.5:
                    stream = mutated(self.random, stream)
                places = sorted(self.random.randrange(len(stream) + 1) for _ in range(self.random.randrange(5)))
                chunks = [stream[i:j] for i, j in zip((0, *places), (*places, len(stream)), strict=True)]
                options = {"client": client, "limit": self.random.choice((None, 64, 2000))}
                raw, compression = self.random.random() < 0.2, self.random.random() < 0.2
                fast, pure = both_outcomes(chunks, **options, raw=raw, compression=compression)
                self.assertEqual(fast, pure, (stream.hex(), places, options, raw, compression))


class SocketTests(Twins):
    """receive and send."""

    def setUp(self):
        super().setUp()
        if not hasattr(self.fast, "receive"):
            self.skipTest("sockets are Python's on this system")
        self.here, self.there = socket.socketpair()
        self.addCleanup(self.here.close)
        self.addCleanup(self.there.close)
        self.now = socket.MSG_DONTWAIT

    def receive(self, size=1000, mask_bit=MASKED, limit=None):
        return self.fast.receive(self.here.fileno(), size, mask_bit, limit)

    def test_one_frame(self):
        """One frame, whole and nothing else, is a message; by a small buffer and by a large one."""
        for client in BOTH:
            for length in (*LENGTHS, 5000):
                for kind, payload in ((BINARY, self.random.randbytes(length)), (TEXT, b"x" * length)):
                    for size in (448, 512, 513, 9000):
                        frame = whole(FIN | kind, payload, client)
                        if len(frame) >= size:
                            continue
                        self.there.sendall(frame)
                        message = payload.decode() if kind is TEXT else payload
                        self.assertEqual(self.receive(size, 0 if client else MASKED), (kind, message))

    def test_all_else(self):
        """What is not exactly that comes as it is on the wire: a read that is full too, and text that is not UTF-8."""
        frame = whole(FIN | TEXT, b"hello", False)
        for data in (frame[:-1], frame * 2, b"\0", whole(FIN | PING, b"", False), frame + b"\x81"):
            for size in (400, 4000):
                self.there.sendall(data)
                self.assertEqual(self.receive(size), data)
        for payload in NO_TEXTS:
            for client in BOTH:
                data = whole(FIN | TEXT, payload, client)
                self.there.sendall(data)
                self.assertEqual(self.receive(2000, 0 if client else MASKED), data)
        for size in (len(frame), 3):
            self.there.sendall(frame)
            self.assertEqual(self.receive(size) + (self.receive(100) if size == 3 else b""), frame)
        big = whole(FIN | BINARY, bytes(3000), False)
        self.there.sendall(big)
        self.assertEqual(self.receive(len(big)), big)
        self.there.sendall(frame)
        self.assertEqual(self.receive(limit=4), frame)

    def test_nothing_and_the_end(self):
        """None where nothing came in the kernel's time, b"" at the end of the stream."""
        self.here.setsockopt(socket.SOL_SOCKET, socket.SO_RCVTIMEO, b"\0" * 8 + (10_000).to_bytes(8, sys.byteorder))
        self.assertIsNone(self.receive())
        self.assertIsNone(self.receive(5000))
        self.there.close()
        self.assertEqual((self.receive(), self.receive(5000)), (b"", b""))

    def test_errors(self):
        """An error of the system is the OSError that a socket of Python raises."""
        number = self.here.fileno()
        self.here.close()
        for fd in (-1, number):
            for call in (
                lambda fd=fd: self.fast.receive(fd, 100, 0, None),
                lambda fd=fd: self.fast.send(fd, self.now, 0x81, b"hello", False),
            ):
                with self.assertRaises(OSError) as caught:
                    call()
                self.assertEqual(caught.exception.errno, errno.EBADF)
        self.here, self.there = socket.socketpair()
        self.there.close()
        with self.assertRaises(BrokenPipeError):
            self.fast.send(self.here.fileno(), self.now | getattr(socket, "MSG_NOSIGNAL", 0), 0x81, b"hello", True)
        self.here.close()
        for arguments in ((0, 10, 0), (0, "1", 0, None), ("0", 1, 0, None), (0, 1, 0, "1"), (0, 1, "0", None)):
            with self.assertRaises(TypeError):
                self.fast.receive(*arguments)
        for arguments in ((0, 0, 1, b""), (0, "0", 1, b"", False), (0, 0, 1, "", False), ("0", 0, 1, b"", False)):
            with self.assertRaises(TypeError):
                self.fast.send(*arguments)
        with self.assertRaises(ValueError):
            self.fast.receive(0, -1, 0, None)

    def test_send(self):
        """A frame that the kernel takes: its size is returned, and its bytes are the twin's, but for a client's key."""
        for client in BOTH:
            for length in (*LENGTHS, 5000, LARGE, 60_000):
                payload = self.random.randbytes(length)
                task = Task(self.read_frame, not client)
                size = self.fast.send(self.here.fileno(), 0, FIN | BINARY, payload, client)
                frame, message = task.result(PATIENCE)
                self.assertEqual((size, message), (len(frame), (BINARY, payload)))
                if not client:
                    self.assertEqual(frame, whole(FIN | BINARY, payload, True))

    def read_frame(self, client):
        """The bytes of the next frame, and the message in it."""
        protocol = PureProtocol(client=client, read_limit=None, compression=False)
        data = b""
        while (message := protocol.next_event()) is None:
            piece = self.there.recv(100_000)
            data += piece
            protocol.receive(piece)
        return data, message

    def test_a_full_socket(self):
        """Where the kernel takes a part, or nothing, head and body are given back as they are to be sent."""
        payload = self.random.randbytes(1 << 20)
        for client in BOTH:
            seen = set()
            taken, head, body = self.fast.send(self.here.fileno(), self.now, FIN | BINARY, payload, client)
            self.assertLess(0, taken)
            self.assertLess(taken, len(head) + len(body))
            if not client:
                self.assertIs(body, payload)
                self.assertEqual(head, whole(FIN | BINARY, payload, True)[:10])
            frame = head + body
            sent = self.there.recv(1 << 20, socket.MSG_WAITALL | self.now)
            self.assertEqual(frame[: len(sent)], sent)
            self.assertEqual(masking.mask(frame[-1 << 20 :], frame[10:14]) if client else body, payload)
            while isinstance(left := self.fast.send(self.here.fileno(), self.now, FIN | TEXT, b"x" * 300, client), int):
                seen.add(left)
            self.assertEqual(left[0], 0)
            self.assertEqual(len(left[1] + left[2]), 304 + 4 * client)
            self.there.setblocking(False)
            with self.assertRaises(BlockingIOError):
                while self.there.recv(1 << 20):
                    pass
            self.there.setblocking(True)

    def test_references(self):
        """No call keeps or loses a reference, whatever way it takes."""
        small, large = b"x" * 32, b"y" * 70_000
        frame, text = whole(FIN | BINARY, large, False), whole(FIN | TEXT, b"\xff", False)
        empty, key, fd = b"", KEY, self.here.fileno()
        # None too: on 3.11 it is not immortal, and a call that gives it away without a reference ends the process.
        counted = (small, large, frame, text, key, TEXT, BINARY, MASKED, None)
        before = [sys.getrefcount(each) for each in counted]
        for _ in range(200):
            for payload in (small, large, empty):
                for client in BOTH:
                    self.fast.encode(0x82, payload, client)
                self.fast.mask(payload, key, 1)
            for raw in BOTH:
                self.fast.decode(frame, 0, MASKED, None, raw)
                self.fast.decode(text, 0, MASKED, None, raw)
            self.fast.only(frame, MASKED, None)
            self.fast.only(text, MASKED, None)
            self.fast.mask_into(bytearray(small), 0, 32, key)
            self.fast.unmask(frame, 14, len(frame))
            for data in (text, frame[:-1], whole(FIN | TEXT, small, False)):
                self.there.sendall(data[:5000])
                self.receive(8000)
            for client in BOTH:
                self.fast.send(fd, self.now, 0x82, small, client)
                self.fast.send(fd, self.now, 0x82, large, client)
            self.there.recv(1 << 20)
        after = [sys.getrefcount(each) for each in counted]
        for each, old, new in zip(counted, before, after, strict=True):
            self.assertLess(abs(new - old), 20, repr(each)[:20])  # other threads of the tests may refer to TEXT


class ThreadTests(Twins):
    def test_threads(self):
        """Eight threads use all functions at the same time, each on its own socket, and each gets its own bytes."""
        gate = threading.Barrier(8)

        def work(seed):
            rng = random.Random(seed)
            here, there = socket.socketpair()
            with here, there:
                gate.wait(PATIENCE)
                for number in range(60 * HEAVY):
                    payload = rng.randbytes(rng.choice((5, 200, 700, 5000, 20_000)))
                    frame = b"".join(self.fast.encode(0x82, payload, True))
                    self.assertEqual(self.fast.only(frame, MASKED, None), (BINARY, payload))
                    if number % 20 == 0:
                        large = rng.randbytes((1 << 18) + 3)
                        self.assertEqual(self.fast.mask(self.fast.mask(large, KEY), KEY), large)
                    if hasattr(self.fast, "send"):
                        self.assertEqual(self.fast.send(here.fileno(), 0, 0x82, payload, True), len(frame))
                        got = self.fast.receive(there.fileno(), 30_000, MASKED, None)
                        self.assertEqual(got, (BINARY, payload))

        tasks = [Task(work, seed) for seed in range(8)]
        for task in tasks:
            task.result(PATIENCE)


if __name__ == "__main__":
    unittest.main()
