"""frame.py: frames as they are written, held against wsproto's; which forms a length may have."""

from __future__ import annotations

import unittest
from unittest import mock

from wsproto.connection import Connection, ConnectionType
from wsproto.events import BytesMessage, CloseConnection, Ping, Pong, TextMessage

from syncws._frames.frame import FIN, LARGE, RSV1, encode, is_minimal
from syncws._frames.payloads import format_close_message
from tests.frames.cases import (
    BINARY,
    CLOSE,
    PING,
    PONG,
    ROLES,
    TEXT,
    ProtocolTestCase,
    masked,
    outcome,
    protocol,
)


class TestEncode(ProtocolTestCase):
    """encode makes every outgoing frame; wsproto's own encoder is the reference."""

    SIZES = (0, 1, 2, 124, 125, 126, 127, 128, LARGE - 1, LARGE, 65534, 65535, 65536, 65537, 1 << 17)

    def frames(self):
        """(first byte, payload, the wsproto event that stands for the same frame)."""
        for size in self.SIZES:
            data = self.random.randbytes(size)
            text = "x" * size
            yield FIN | BINARY, data, BytesMessage(data)
            yield FIN | TEXT, text.encode(), TextMessage(text)
            yield BINARY, data, BytesMessage(data, message_finished=False)
            if size <= 125:
                yield FIN | PING, data, Ping(data)
                yield FIN | PONG, data, Pong(data)
        yield FIN | CLOSE, b"", CloseConnection(None)
        yield FIN | CLOSE, format_close_message(1000), CloseConnection(1000)
        yield FIN | CLOSE, format_close_message(4999, "grüß dich"), CloseConnection(4999, "grüß dich")

    def test_server_frames_byte_for_byte(self):
        """A server's frames are wsproto's, byte for byte."""
        for first, payload, event in self.frames():
            with self.subTest(first=first, size=len(payload)):
                wanted = Connection(ConnectionType.SERVER).send(event)
                self.assertEqual(b"".join(encode(first, payload, client=False)), wanted)

    def test_client_frames(self):
        """A client's frames are a server's with the mask bit set, a key, and the payload masked with it."""
        for first, payload, event in self.frames():
            with self.subTest(first=first, size=len(payload)):
                plain = Connection(ConnectionType.SERVER).send(event)
                head = len(plain) - len(payload)
                data = b"".join(encode(first, payload, client=True))
                key = data[head : head + 4]
                self.assertEqual(data[:head], bytes([plain[0], plain[1] | 0x80]) + plain[2:head])
                self.assertEqual(masked(data[head + 4 :], key), payload)

    def test_wsproto_reads_them(self):
        """What a client encodes, a wsproto server reads, and the other way round."""
        for client in ROLES:
            for first, payload, event in self.frames():
                if not first & FIN:
                    continue
                reader = Connection(ConnectionType.SERVER if client else ConnectionType.CLIENT)
                reader.receive_data(b"".join(encode(first, payload, client=client)))
                [got] = reader.events()
                self.assertIs(type(got), type(event))

    def test_fragments_and_compression(self):
        """The first byte is sent as it is given: continuation, RSV1."""
        for first in (0, FIN, RSV1 | TEXT, FIN | RSV1 | BINARY):
            self.assertEqual(b"".join(encode(first, b"data", client=False)), bytes([first, 4]) + b"data")

    def test_mask_keys_are_fresh(self):
        """RFC 6455 section 5.3: each frame has a new key, straight from the system's random source."""
        keys = {b"".join(encode(FIN | TEXT, b"same", client=True))[2:6] for _ in range(1000)}
        self.assertGreaterEqual(len(keys), 999)
        with mock.patch("syncws._frames.frame.os.urandom", side_effect=[b"1234", b"abcd"]) as urandom:
            for key in (b"1234", b"abcd"):
                self.assertEqual(b"".join(encode(FIN | PING, b"", client=True)), b"\x89\x80" + key)
        urandom.assert_called_with(4)

    def test_large_payloads_are_not_copied(self):
        """A server's large payload is a buffer of its own; small frames are one buffer."""
        small, large = bytes(LARGE - 1), bytes(LARGE)
        self.assertEqual(encode(FIN | BINARY, small, client=False)[1], b"")
        self.assertEqual(encode(FIN | BINARY, small, client=True)[1], b"")
        head, payload = encode(FIN | BINARY, large, client=False)
        self.assertIs(payload, large)
        self.assertLess(len(head), 15)

    def test_round_trip(self):
        """What one side encodes the other side's Protocol reads."""
        for client in ROLES:
            for first, payload, _ in self.frames():
                if first & FIN:
                    [(kind, data)] = outcome(protocol(not client), encode(first, payload, client=client))
                    if kind is CLOSE:
                        data = format_close_message(*data)
                    self.assertEqual((kind, data.encode() if kind is TEXT else data), (first & 0x0F, payload))


class MinimalTests(unittest.TestCase):
    """RFC 6455 section 5.2: a length has the shortest of its forms."""

    def test_each_edge(self):
        """Two bytes are for 126 to 65,535, eight for what is longer, and the highest bit of the eight is 0."""
        for length, size, minimal in (
            (0, 2, False),
            (125, 2, False),
            (126, 2, True),
            (65535, 2, True),
            (0, 8, False),
            (65535, 8, False),
            (65536, 8, True),
            ((1 << 63) - 1, 8, True),
            (1 << 63, 8, False),
        ):
            with self.subTest(length=length, size=size):
                self.assertIs(is_minimal(length, size), minimal)


if __name__ == "__main__":
    unittest.main()
