"""prepared.py: encoded once, whatever the number of connections; what is shared, and what must not be."""

from __future__ import annotations

import threading
import unittest
from unittest import mock

from wsproto.connection import Connection, ConnectionType
from wsproto.events import BytesMessage, TextMessage

from syncws._frames import prepared
from syncws._frames.deflate import compress
from syncws._frames.frame import FIN, RSV1, encode
from syncws._frames.prepared import PreparedMessage, encode_payload, json_text, prepare
from syncws.errors import MessageType
from syncws.testing import LeakChecks, peer
from tests.frames.wsproto_alone import InboundDeflate

TEXT, BINARY, CLOSE, PING, PONG = MessageType

LONG = "the same words again and again, " * 40


def counted(function):
    """function, and how often it is called, as a mock."""
    return mock.patch.object(prepared, function.__name__, side_effect=function)


class TestPreparedMessage(unittest.TestCase):
    """gorilla.md section 2.8, with its quirks mended."""

    def read_by_wsproto(self, frame):
        """The one message that a wsproto client makes of a frame."""
        engine = Connection(ConnectionType.CLIENT, [InboundDeflate(None)])
        engine.receive_data(frame)
        [event] = engine.events()
        self.assertTrue(event.message_finished)
        return event

    def test_frames_are_those_of_an_ordinary_write(self):
        """gorilla's TestPreparedMessage: the bytes are what encoding the message each time would give."""
        for kind, data in ((TEXT, "hello"), (TEXT, ""), (BINARY, b"\x00\xff"), (PING, b"p"), (PONG, b""), (CLOSE, b"")):
            payload = data.encode() if isinstance(data, str) else data
            message = PreparedMessage(kind, data)
            self.assertEqual(message.frame(None), b"".join(encode(FIN | kind, payload, client=False)))
            self.assertEqual(message.encoded(None), (FIN | kind, payload))
            self.assertEqual((message.message_type, message.payload), (kind, payload))
            self.assertIs(message.is_control, kind >= CLOSE)

    def test_compressed(self):
        """With each level and window, what wsproto reads from the frame is the message."""
        for kind, data in ((TEXT, LONG), (BINARY, LONG.encode())):
            message = PreparedMessage(kind, data)
            for level in range(-2, 10):
                for bits in (9, 12, 15):
                    frame = message.frame((level, bits))
                    event = self.read_by_wsproto(frame)
                    self.assertIs(type(event), TextMessage if kind is TEXT else BytesMessage)
                    self.assertEqual(event.data, data)
                    self.assertEqual(frame[0], FIN | kind | (RSV1 if level else 0), level)

    def test_what_would_grow_goes_plain(self):
        """A message that compression makes longer, or no shorter, is sent as it is."""
        for data in ("", "a", "abc"):
            message = PreparedMessage(TEXT, data)
            self.assertEqual(message.encoded((9, 15)), (FIN | TEXT, data.encode()))
            self.assertEqual(self.read_by_wsproto(message.frame((9, 15))).data, data)

    def test_control_frames_are_never_compressed(self):
        """A control frame is never compressed, also where a ping would become shorter."""
        for kind in (PING, PONG):
            self.assertEqual(PreparedMessage(kind, bytes(125)).encoded((9, 15)), (FIN | kind, bytes(125)))

    def test_encoded_once(self):
        """Each level and window costs one compression, and each frame is made once, however many connections ask."""
        with counted(compress) as compressing, counted(encode) as encoding:
            message = PreparedMessage(TEXT, LONG)
            for _ in range(5):
                for compression in (None, (1, 15), (1, 9), (9, 15)):
                    message.frame(compression)
                    message.encoded(compression)
        self.assertEqual(sorted(call.args[1:] for call in compressing.call_args_list), [(1, 9), (1, 15), (9, 15)])
        self.assertEqual(encoding.call_count, 4)
        self.assertIs(message.frame((1, 15)), message.frame((1, 15)))

    def test_nothing_is_done_before_it_is_needed(self):
        """Preparing compresses nothing: there may be no connection that wants it."""
        with counted(compress) as compressing:
            PreparedMessage(TEXT, LONG).frame(None)
        compressing.assert_not_called()

    def test_data_is_copied(self):
        """The caller may scribble over its buffer."""
        data = bytearray(b"before")
        message = PreparedMessage(BINARY, data)
        data[:] = b"after!"
        self.assertEqual(message.payload, b"before")
        self.assertTrue(message.frame(None).endswith(b"before"))

    def test_mistakes(self):
        """What no connection could send is refused at once, each time (as in gorilla)."""
        for kind, data, error in (
            (PING, bytes(126), ValueError),
            (CLOSE, b"\x03", ValueError),
            (CLOSE, (1005).to_bytes(2), ValueError),
            (CLOSE, (1006).to_bytes(2), ValueError),
            (0, b"", ValueError),
            (7, b"", ValueError),
            (TEXT, b"bytes", TypeError),
            (BINARY, "text", TypeError),
            (TEXT, "\ud800", ValueError),
        ):
            with self.subTest(kind=kind, data=data), self.assertRaises(error):
                PreparedMessage(kind, data)

    def test_threads_share_the_work(self):
        """Threads that ask for the same frame at the same time compress once and get the same bytes."""
        started, release = threading.Event(), threading.Event()

        def slowly(*arguments):
            started.set()
            self.assertTrue(release.wait(10))
            return compress(*arguments)

        frames = []
        with mock.patch.object(prepared, "compress", side_effect=slowly) as compressing:
            message = PreparedMessage(TEXT, LONG)
            threads = [threading.Thread(target=lambda: frames.append(message.frame((1, 15)))) for _ in range(4)]
            for thread in threads:
                thread.start()
            self.assertTrue(started.wait(10))
            release.set()
            for thread in threads:
                thread.join(10)
        self.assertEqual((compressing.call_count, len(frames), len(set(map(id, frames)))), (1, 4, 1))

    def test_encode_payload(self):
        """(first byte, payload): RSV1 exactly where the payload was compressed."""
        squeezed = compress(LONG.encode(), 6, 15)
        self.assertEqual(encode_payload(TEXT, LONG.encode(), (6, 15)), (FIN | RSV1 | TEXT, squeezed))
        self.assertEqual(encode_payload(BINARY, LONG.encode(), None), (FIN | BINARY, LONG.encode()))


class TestRepr(unittest.TestCase):
    def test_repr(self):
        """The repr tells type and size, not the data."""
        self.assertEqual(repr(PreparedMessage(TEXT, "grüß")), "<syncws.PreparedMessage TEXT 6 bytes>")


class TestOnConnections(LeakChecks):
    """Sent by real connections, in both roles."""

    def test_client_frames_are_masked_afresh(self):
        """unlike gorilla, two sends of one prepared message have two mask keys (RFC 6455 section 5.3)."""
        message = PreparedMessage(BINARY, b"same")
        with peer(client=True) as (conn, raw):
            for _ in range(2):
                conn.write_prepared(message)
            self.assertTrue(conn.send_nowait(message))
            seen = b""
            while len(seen) < 30:
                seen += raw.socket.recv(100)
        frames = [seen[i : i + 10] for i in (0, 10, 20)]
        self.assertEqual({frame[:2] for frame in frames}, {b"\x82\x84"})
        self.assertEqual(len({frame[2:6] for frame in frames}), 3)

    def test_one_message_on_many_connections(self):
        """Server and client, with and without compression, all get it from the same object."""
        for message, data in ((PreparedMessage(TEXT, LONG), LONG.encode()), (PreparedMessage(PING, b"p"), b"p")):
            for client in (False, True):
                for compression in (False, True):
                    with peer(client=client, compression=compression) as (conn, raw):
                        conn.write_prepared(message)
                        frame = raw.receive_frame()
                        self.assertEqual((frame.opcode, frame.fin), (message.message_type, True))
                        self.assertEqual(frame.rsv1, compression and not message.is_control)
                        self.assertEqual(frame.payload == data, not frame.rsv1)


class TestPrepare(unittest.TestCase):
    """What may be queued."""

    def test_messages(self):
        """A str is TEXT, bytes in any form are BINARY; what is prepared already is taken as it is."""
        self.assertEqual(prepare("grüß").frame(None), PreparedMessage(TEXT, "grüß").frame(None))
        for data in (b"data", bytearray(b"data"), memoryview(b"data")):
            self.assertEqual(prepare(data).frame(None), PreparedMessage(BINARY, b"data").frame(None))
        message = PreparedMessage(TEXT, "hello")
        self.assertIs(prepare(message), message)

    def test_what_is_not_queued(self):
        """What is no message is a TypeError that names the caller's method for JSON, a control frame a ValueError."""
        with self.assertRaisesRegex(TypeError, "not dict: broadcast_json sends"):
            prepare({}, "broadcast_json")
        for kind in (PING, PONG, CLOSE):
            with self.assertRaisesRegex(ValueError, "write_control"):
                prepare(PreparedMessage(kind, b""))


class TestJSON(unittest.TestCase):
    """A value as the text of a message."""

    def test_values(self):
        """Short, in one line, with letters of any script as they are."""
        self.assertEqual(json_text({"a": [1, None, "ß</"]}), '{"a":[1,null,"ß</"]}')

    def test_what_json_cannot_hold(self):
        """A value of another kind is a TypeError; not a number, a circle, or a nesting too deep a ValueError."""
        circle = []
        circle.append(circle)
        for value, error in ((object(), TypeError), (float("nan"), ValueError), (circle, ValueError)):
            self.assertRaises(error, json_text, value)
        with mock.patch.object(prepared.json, "dumps", side_effect=RecursionError):
            self.assertRaisesRegex(ValueError, "too deep", json_text, [])


if __name__ == "__main__":
    unittest.main()
