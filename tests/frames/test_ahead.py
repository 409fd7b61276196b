"""ahead.py: control frames are found between messages that nobody has read, and the messages stay as they came."""

from __future__ import annotations

import random
import unittest
import zlib
from unittest import mock

from syncws._frames.protocol import Protocol
from syncws.errors import BINARY, CLOSE, PING, PONG, TEXT, CloseCode, ProtocolError, ReadLimitError
from syncws.testing import Peer

KINDS = (CLOSE, PING, PONG)


class Case(unittest.TestCase):
    """The protocol of one role; `client` says which. Frames are those of its peer."""

    client = False

    def protocol(self, data=b"", limit=None, compression=False):
        return Protocol(client=self.client, read_limit=limit, compression=compression, data=data)

    def frame(self, opcode, payload=b"", **options):
        return Peer(mock.Mock(), masked=not self.client).frame(opcode, payload, **options)

    def close_frame(self, code=1000, reason="bye"):
        return self.frame(CLOSE, code.to_bytes(2) + reason.encode())

    def read(self, protocol):
        """What a reader gets of what has come."""
        events = []
        while (event := protocol.next_event()) is not None:
            events.append(event)
        return events


class ServerFound(Case):
    """Which control frames are given."""

    def test_before_and_after_messages(self):
        """A ping is found wherever it stands; each message stays, whole and in order."""
        protocol = self.protocol()
        data = b"".join(
            self.frame(*each)
            for each in (
                *((PING, b"1"), (TEXT, "a"), (PING, b"2"), (PONG, b"3"), (BINARY, b"x" * 70_000), (PING, b"4")),
                *((TEXT, "b" * 200), (PING, b"5")),
            )
        )
        found = protocol.look_ahead(data, ())
        self.assertEqual(found, [(PING, b"1"), (PING, b"2"), (PONG, b"3"), (PING, b"4"), (PING, b"5")])
        self.assertEqual(self.read(protocol), [(TEXT, "a"), (BINARY, b"x" * 70_000), (TEXT, "b" * 200)])
        self.assertTrue(protocol.idle)
        self.assertEqual(protocol.unread, 0)

    def test_each_is_found_once(self):
        """Looking again finds only what is new."""
        protocol = self.protocol()
        self.assertEqual(protocol.look_ahead(self.frame(TEXT, "a") + self.frame(PING, b"1"), ()), [(PING, b"1")])
        self.assertEqual(protocol.look_ahead(b"", ()), [])
        self.assertEqual(protocol.look_ahead(self.frame(PING, b"2"), ()), [(PING, b"2")])
        self.assertEqual(self.read(protocol), [(TEXT, "a")])

    def test_parts(self):
        """A frame that comes byte by byte is found when it is there; a message in parts hides nothing after it."""
        protocol = self.protocol()
        data = self.frame(TEXT, "a" * 300) + self.frame(PING, b"hello") + self.frame(TEXT, "b")
        found = [event for byte in data for event in protocol.look_ahead(bytes([byte]), ())]
        self.assertEqual(found, [(PING, b"hello")])
        self.assertEqual(self.read(protocol), [(TEXT, "a" * 300), (TEXT, "b")])

    def test_where_a_reader_stopped(self):
        """A reader may stop anywhere: in a large frame, in a compressed one, between fragments, in a ping."""
        compressor = zlib.compressobj(1, zlib.DEFLATED, -15)
        deflated = (compressor.compress(b"c" * 500) + compressor.flush(zlib.Z_SYNC_FLUSH))[:-4]
        fragments = self.frame(TEXT, "do", fin=False) + self.frame(0, "ne")
        for name, data, message in (
            ("large", self.frame(BINARY, b"x" * 100_000), b"x" * 100_000),
            ("compressed", self.frame(TEXT, deflated, rsv1=True), "c" * 500),
            ("fragmented", fragments, "done"),
            ("after a ping", self.frame(PING, b"0") + self.frame(TEXT, "m"), "m"),
        ):
            cuts = range(len(data)) if len(data) < 1000 else (0, 1, 2, 6, 100, 70_000, len(data) - 1)
            for cut in cuts:
                with self.subTest(name, cut=cut):
                    protocol = self.protocol(compression=True)
                    protocol.receive(data[:cut])
                    read = self.read(protocol)
                    found = protocol.look_ahead(data[cut:] + self.frame(PING, b"1"), ())
                    pings = [event for event in read + found if event[0] is PING]
                    self.assertEqual(pings, [(PING, b"0"), (PING, b"1")] if "ping" in name else [(PING, b"1")])
                    self.assertEqual([event[1] for event in self.read(protocol)], [message])

    def test_left_by_a_reader(self):
        """A ping that came with a message that a reader has taken is found."""
        protocol = self.protocol()
        protocol.receive(self.frame(TEXT, "a") + self.frame(PING, b"1") + self.frame(TEXT, "b"))
        self.assertEqual(protocol.next_event(), (TEXT, "a"))
        self.assertEqual(protocol.look_ahead(b"", ()), [(PING, b"1")])
        self.assertEqual(self.read(protocol), [(TEXT, "b")])

    def test_streams(self):
        """Pieces of a message that is read as a stream come in order, whatever was found between them."""
        protocol = self.protocol()
        protocol.receive(self.frame(BINARY, b"one", fin=False))
        self.assertEqual(protocol.next_piece(), (BINARY, b"one", False))
        found = protocol.look_ahead(self.frame(PING, b"1") + self.frame(0, b"two", fin=False) + self.frame(0, b"3"), ())
        self.assertEqual(found, [(PING, b"1")])
        pieces = [protocol.next_piece()]
        while not pieces[-1][2]:
            pieces.append(protocol.next_piece())
        self.assertEqual(b"".join(piece[1] for piece in pieces), b"two3")

    def test_new_bytes_never_pass_old_ones(self):
        """What is unread comes first, also where the reader is given the next bytes directly: it is not idle."""
        protocol = self.protocol()
        protocol.look_ahead(self.frame(TEXT, "a"), ())
        self.assertFalse(protocol.idle)
        self.assertEqual(protocol.next_event(), (TEXT, "a"))
        self.assertIsNone(protocol.next_event())
        self.assertTrue(protocol.idle)
        self.assertEqual(protocol.only(self.frame(TEXT, "b")), (TEXT, "b"))

    def test_nothing_is_inflated(self):
        """A compressed message is not inflated ahead of its reader: not even a bomb."""
        compressor = zlib.compressobj(9, zlib.DEFLATED, -15)
        bomb = (compressor.compress(bytes(1 << 24)) + compressor.flush(zlib.Z_SYNC_FLUSH))[:-4]
        protocol = self.protocol(limit=1 << 16, compression=True)
        with (
            mock.patch("syncws._frames.deflate.Inflater.whole", side_effect=AssertionError),
            mock.patch("syncws._frames.compressed.Inflater", side_effect=AssertionError),
        ):
            found = protocol.look_ahead(self.frame(BINARY, bomb, rsv1=True) + self.frame(PING, b"1"), ())
        self.assertEqual(found, [(PING, b"1")])
        self.assertRaises(ReadLimitError, protocol.next_event)

    def test_any_stream_cut_anywhere(self):
        """Random streams, looked at and read in random parts: the same messages and control frames as a reader gets."""
        for seed in range(300):
            draw = random.Random(seed)
            frames, is_open = [], False
            for _ in range(draw.randrange(1, 12)):
                payload = draw.randbytes(draw.choice((0, 1, 5, 125)))
                if draw.random() < 0.5:
                    frames.append(self.frame(draw.choice((PING, PONG)), payload))
                else:
                    fin = draw.random() < 0.6
                    payload = draw.randbytes(draw.choice((0, 3, 126, 300, 70_000)))
                    frames.append(self.frame(0 if is_open else BINARY, payload, fin=fin))
                    is_open = not fin
            data = b"".join(frames)
            usual = self.protocol()
            usual.receive(data)
            expected = self.read(usual)
            protocol, got = self.protocol(), []
            while data:
                size = draw.choice((1, 3, 50, 1000, 1 << 17))
                piece, data = data[:size], data[size:]
                if draw.random() < 0.5:
                    got += protocol.look_ahead(piece, ())
                else:
                    got += self.read(protocol)
                    protocol.receive(piece)
            got += self.read(protocol)
            for kinds in ((PING, PONG), (BINARY,)):
                with self.subTest(seed=seed, kinds=kinds):
                    self.assertEqual(
                        [each for each in got if each[0] in kinds], [each for each in expected if each[0] in kinds]
                    )


class ClientFound(ServerFound):
    """The same for a client."""

    client = True


class ServerLeft(Case):
    """What is left for the reader."""

    def test_kinds_that_are_kept(self):
        """A kind for which there is a handler stays where it is; others pass it."""
        data = self.frame(PING, b"1") + self.frame(TEXT, "a") + self.frame(PONG, b"2") + self.frame(PING, b"3")
        for kept, found in (
            ((PING,), [(PONG, b"2")]),
            ((PONG,), [(PING, b"1"), (PING, b"3")]),
            (KINDS, []),
        ):
            protocol = self.protocol()
            self.assertEqual(protocol.look_ahead(data, kept), found)
            left = [(PING, b"1"), (TEXT, "a"), (PONG, b"2"), (PING, b"3")]
            self.assertEqual(self.read(protocol), [event for event in left if event not in found])

    def test_close(self):
        """A close is found with its code and reason; messages before it stay, and nothing counts that follows it."""
        protocol = self.protocol()
        data = self.frame(TEXT, "a") + self.close_frame() + self.frame(PING, b"1") + self.frame(TEXT, "b")
        self.assertEqual(protocol.look_ahead(data, ()), [(CLOSE, (1000, "bye"))])
        self.assertEqual(protocol.look_ahead(self.frame(PING, b"2"), ()), [])
        self.assertEqual(protocol.next_event(), (TEXT, "a"))

    def test_empty_close(self):
        """A close without a code is 1005."""
        self.assertEqual(
            self.protocol().look_ahead(self.frame(CLOSE), ()), [(CLOSE, (CloseCode.NO_STATUS_RECEIVED, ""))]
        )

    def test_close_that_is_kept(self):
        """It stays for the reader, and can be asked for; nothing counts that follows it."""
        protocol = self.protocol()
        self.assertIsNone(protocol.close_ahead)
        self.assertEqual(protocol.look_ahead(self.close_frame() + self.frame(PING, b"1"), (CLOSE,)), [])
        self.assertEqual(protocol.close_ahead, (1000, "bye"))
        self.assertEqual(self.read(protocol), [(CLOSE, (1000, "bye"))])
        self.assertIsNone(protocol.close_ahead)

    def test_breaches(self):
        """What breaks the rules is found by the reader, as ever; what follows it is not looked at."""
        for name, frame in (
            ("a ping in fragments", self.frame(PING, b"x", fin=False)),
            ("a large ping", self.frame(PING, b"x" * 126)),
            ("reserved bits of a ping", self.frame(PING, b"x", rsv1=True)),
            ("an unknown control frame", self.frame(11, b"x")),
            ("an unknown data frame", self.frame(3, b"x")),
            ("a mask too much or too little", self.frame(PING, b"x", masked=self.client)),
            ("the same of data", self.frame(TEXT, b"x", masked=self.client)),
            ("half a close code", self.frame(CLOSE, b"x")),
            ("a close code that may not be sent", self.close_frame(1005)),
            ("a reason that is no text", self.frame(CLOSE, b"\x03\xe8\xff")),
        ):
            with self.subTest(name):
                protocol = self.protocol()
                self.assertEqual(protocol.look_ahead(frame + self.frame(PING, b"1"), ()), [])
                self.assertEqual(protocol.look_ahead(self.frame(PING, b"2"), ()), [])
                self.assertRaises(ProtocolError, protocol.next_event)
                self.assertEqual(protocol.unread, 0)


class ClientLeft(ServerLeft):
    """The same for a client."""

    client = True
