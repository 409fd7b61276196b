"""Reading from a `Conn`: messages, streams, limits, timeouts, bad input, and how a read ends. Both roles."""

from __future__ import annotations

import ast
import contextlib
import gc
import io
import json
import random
import socket
import threading
import time
import unittest
import zlib
from collections.abc import Callable
from typing import Any
from unittest import mock

from syncws import (
    BINARY,
    PING,
    PONG,
    TEXT,
    CloseError,
    ConcurrencyError,
    Conn,
    ProtocolError,
    ReadLimitError,
    ReadTimeout,
    join_messages,
)
from syncws._base.options import ConnOptions
from syncws._conn.controls import ANSWERED
from syncws._conn.inbound import Inbound
from syncws._frames.masking import mask
from syncws._frames.streams import MessageReader
from syncws._net.transport import Transport
from syncws.testing import Peer, ScriptedSocket, await_
from tests.conn.cases import ConnCase, ScriptedCase, deflate, elapsed, moved_clock
from tests.source import modules
from tests.tasks import PATIENCE, assert_same_end

_SIZES = (0, 1, 2, 124, 125, 126, 127, 128, 129, 65534, 65535, 65536, 200_000)


class ServerMessages(ConnCase):
    """Messages that arrive, and their types."""

    def test_message_of_every_size_arrives_whole_or_byte_by_byte(self) -> None:
        """TestFraming: messages of every length encoding arrive, in one piece or cut anywhere, TEXT as str."""
        conn, peer = self.peer()
        for size in _SIZES:
            for cut in (None, 1) if size < 1000 else (None, 1017):
                data = "x" * size
                peer.send_frame(TEXT, data, cut=cut)
                self.assertEqual(conn.read_message(), (TEXT, data))
                peer.send_frame(BINARY, data, cut=cut)
                self.assertEqual(conn.read_message(), (BINARY, data.encode()))

    def test_message_type_decides_str_or_bytes(self) -> None:
        """receive and iteration give str for TEXT and bytes for BINARY."""
        conn, peer = self.peer()
        peer.send_frame(TEXT, "grün")
        peer.send_frame(BINARY, b"\xff")
        self.assertEqual([conn.receive(), conn.receive()], ["grün", b"\xff"])

    def test_text_or_bytes_on_demand(self) -> None:
        """receive(text=True) gives str, and text=False bytes, whichever the peer sent; without, as it was sent."""
        conn, peer = self.peer()
        for kind in (TEXT, BINARY):
            for _ in range(3):
                peer.send_frame(kind, "grün")
        told = [conn.receive(text=True), conn.receive(text=False), conn.receive(text=None)]
        told += [conn.receive(text=True), conn.receive(text=False, timeout=5), conn.receive(5)]
        self.assertEqual(told, ["grün", "grün".encode(), "grün", "grün", "grün".encode(), "grün".encode()])

    def test_binary_that_is_no_text(self) -> None:
        """It is a UnicodeDecodeError that holds the message, and the connection stays usable."""
        conn, peer = self.peer()
        peer.send_frame(BINARY, b"\xffx")
        peer.send_frame(TEXT, "next")
        with self.assertRaises(UnicodeDecodeError) as caught:
            conn.receive(text=True)
        self.assertEqual(caught.exception.object, b"\xffx")
        self.assertEqual(conn.receive(text=True), "next")

    def test_iteration_on_demand(self) -> None:
        """messages() is the iteration over a connection, with the messages as str or bytes, and ends as that does."""
        for text, expected in ((True, ["a", "b"]), (False, [b"a", b"b"]), (None, ["a", b"b"])):
            conn, peer = self.peer()
            peer.send_frame(TEXT, "a")
            peer.send_frame(BINARY, b"b")
            peer.close(1001)
            self.assertEqual(list(conn.messages(text=text)), expected)
        conn, peer = self.peer()
        peer.close(4000)
        self.assert_ends(lambda: list(conn.messages(text=True)), 4000, CloseError)

    def test_a_text_that_says_nothing(self) -> None:
        """Anything but True, False and None is a TypeError, and no message is lost by it."""
        conn, peer = self.peer()
        peer.send_frame(TEXT, "kept")
        for wrong in ("utf-8", 1, 0, []):
            for call in (lambda text: conn.receive(text=text), lambda text: conn.messages(text=text)):
                with self.assertRaisesRegex(TypeError, "text is True for TEXT and str, False for BINARY"):
                    call(wrong)
        self.assertEqual(conn.receive(), "kept")

    def test_control_frames_do_not_surface(self) -> None:
        """A read handles pings and pongs itself, and returns the message after them."""
        conn, peer = self.peer()
        peer.send_frame(9, b"p")
        peer.send_frame(10, b"q")
        peer.send_frame(TEXT, "m")
        self.assertEqual(conn.receive(), "m")
        self.assertEqual(peer.receive_frame()[:2], (10, b"p"))

    def test_nothing_is_handled_while_nobody_reads(self) -> None:
        """Without a read no ping is answered and no handler runs."""
        conn, peer = self.peer()
        called = []
        conn.set_ping_handler(called.append)
        peer.send_frame(9, b"p")
        conn.send("first")
        self.assertEqual(peer.receive_frame().opcode, TEXT)
        self.assertEqual(called, [])
        with self.assertRaises(ReadTimeout):
            conn.read_message(timeout=0)
        self.assertEqual(called, [b"p"])

    def test_empty_messages_are_legal(self) -> None:
        """Empty messages arrive, fragmented or not."""
        conn, peer = self.peer()
        peer.send_frame(TEXT)
        peer.send_frame(BINARY, fin=False)
        peer.send_frame(0)
        self.assertEqual(conn.read_message(), (TEXT, ""))
        self.assertEqual(conn.read_message(), (BINARY, b""))

    def test_fragments_make_one_message(self) -> None:
        """Fragments are joined, with control frames between them handled on the way."""
        conn, peer = self.peer()
        pongs = []
        conn.set_pong_handler(pongs.append)
        peer.send_frame(TEXT, "gr\u00fc".encode()[:3], fin=False)
        peer.send_frame(10, b"between")
        peer.send_frame(0, "gr\u00fc".encode()[3:], fin=False)
        peer.send_frame(0, "n")
        self.assertEqual(conn.read_message(), (TEXT, "grün"))
        self.assertEqual(pongs, [b"between"])

    def test_one_segment_can_hold_many_messages(self) -> None:
        """Messages that arrive together are read one by one, in order."""
        conn, peer = self.peer()
        peer.send(b"".join(peer.frame(TEXT, str(number)) for number in range(500)))
        self.assertEqual([conn.receive() for _ in range(500)], [str(number) for number in range(500)])


class ClientMessages(ServerMessages):
    """The same for a client."""

    client = True


class ServerIteration(ConnCase):
    """for message in conn."""

    def test_iteration_ends_on_a_normal_close(self) -> None:
        """Iteration ends by itself when the peer closes with 1000, 1001 or no code."""
        for code in (1000, 1001, None):
            with self.subTest(code=code):
                conn, peer = self.peer()
                peer.send_frame(TEXT, "a")
                peer.send_frame(BINARY, b"b")
                peer.close(code)
                self.assertEqual(list(conn), ["a", b"b"])

    def test_iteration_raises_every_other_end(self) -> None:
        """Iteration raises a close with another code, a vanished peer and a breach of the protocol."""
        conn, peer = self.peer()
        peer.close(1011, "oh")
        self.assert_ends(lambda: list(conn), 1011, CloseError)
        conn, peer = self.peer()
        peer.socket.close()
        self.assert_ends(lambda: list(conn), 1006, CloseError)
        conn, peer = self.peer()
        peer.send_frame(3)
        self.assert_ends(lambda: list(conn), 1002, ProtocolError)


class ClientIteration(ServerIteration):
    """The same for a client."""

    client = True


class ServerFirstNeed(ConnCase):
    """What a connection is made of takes memory once it is needed, and not before."""

    def test_whole_messages_need_nothing_more(self) -> None:
        """Whole messages leave no count of control frames, no pace and nothing held; a ping and a fragment do."""
        conn, peer = self.peer()
        inbound = conn._inbound
        for data in ("first", b"second"):
            peer.send_frame(TEXT if isinstance(data, str) else BINARY, data)
            self.assertEqual(conn.receive(), data)
        self.assertEqual((inbound.controls._allowance, inbound._pace, inbound._holding), (None, None, None))
        peer.send(peer.frame(PING) + peer.frame(TEXT, "third", fin=False))
        self.assertRaises(ReadTimeout, conn.receive, 0.05)
        self.assertNotIn(None, (inbound.controls._allowance, inbound._pace, inbound._holding))


class ClientFirstNeed(ServerFirstNeed):
    """The same for a client."""

    client = True


class ServerStreams(ConnCase):
    """next_reader and join_messages."""

    def test_next_reader_skips_the_rest_of_the_message_before(self) -> None:
        """next_reader discards the rest of the message, all its fragments; the old reader is then at its end."""
        conn, peer = self.peer()
        peer.send_frame(TEXT, "first", fin=False)
        peer.send_frame(0, "more")
        peer.send_frame(BINARY, b"second")
        old = conn.next_reader()
        self.assertEqual((old.message_type, old.read(2)), (TEXT, b"fi"))
        new = conn.next_reader()
        self.assertEqual((old.read(1), old.read()), (b"", b""))
        self.assertEqual((new.message_type, new.read()), (BINARY, b"second"))
        self.assertEqual(old.read(), b"")

    def test_every_kind_of_read_skips_the_rest_of_an_unread_stream(self) -> None:
        """read_message, receive and receive_json pass over an unread message too."""
        conn, peer = self.peer()
        for read in (conn.read_message, conn.receive, conn.receive_json, conn.next_reader):
            peer.send_frame(TEXT, "skipped", fin=False)
            peer.send_frame(0, "skipped")
            peer.send_frame(TEXT, '"m"')
            conn.next_reader()
            read()
        peer.send_frame(TEXT, "last")
        self.assertEqual(conn.receive(), "last")

    def test_a_read_message_stays_at_its_end(self) -> None:
        """A reader whose message has been read gives nothing more, and does not touch the next message."""
        conn, peer = self.peer()
        peer.send_frame(TEXT, "m")
        reader = conn.next_reader()
        self.assertEqual([reader.read(), reader.read(), reader.read(5)], [b"m", b"", b""])
        peer.send_frame(TEXT, "n")
        self.assertEqual(reader.read(), b"")
        self.assertEqual(conn.receive(), "n")

    def test_pieces_are_there_before_the_message_ends(self) -> None:
        """A reader gives what has arrived, of a frame or of fragments, before the rest is sent."""
        conn, peer = self.peer()
        frame = peer.frame(BINARY, b"abcdef")
        peer.send(frame[:-3])
        reader = conn.next_reader()
        self.assertEqual(reader.read(100), b"abc")
        peer.send(frame[-3:])
        self.assertEqual(reader.read(), b"def")
        peer.send_frame(TEXT, "ab", fin=False)
        reader = conn.next_reader()
        self.assertEqual(reader.read(100), b"ab")
        peer.send_frame(0, "c")
        self.assertEqual(reader.read(), b"c")

    def test_lines_of_a_long_message(self) -> None:
        """TestBufioReadBytes: io's own readers read a message in lines, however long and however cut."""
        conn, peer = self.peer(read_buffer_size=64)
        lines = [f"{number} {'ä' * 100}\n" for number in range(200)]
        peer.send_frame(TEXT, "".join(lines), cut=4001)
        self.assertEqual(list(io.TextIOWrapper(conn.next_reader(), "utf-8")), lines)
        peer.send_frame(TEXT, "next")
        self.assertEqual(conn.receive(), "next")

    def test_join_messages_ends_with_the_end(self) -> None:
        """All messages as one stream, the terminator after each, empty ones too; a normal close is raised."""
        for term, joined in ((b"", b"abc"), (b"|", b"a||bc|")):
            conn, peer = self.peer()
            peer.send_frame(TEXT, "a")
            peer.send_frame(BINARY)
            peer.send_frame(BINARY, b"bc", cut=1)
            peer.close()
            got = bytearray()
            with self.assertRaises(CloseError) as caught:
                for piece in join_messages(conn, term):
                    got += piece
            self.assertEqual((bytes(got), caught.exception.code), (joined, 1000))

    def test_the_end_within_a_message_reaches_the_reader_and_the_connection(self) -> None:
        """A close between fragments is raised by the open reader, and again by every later read."""
        conn, peer = self.peer()
        peer.send(peer.frame(TEXT, "a", fin=False) + peer.frame(8, b"\x03\xe9bye"))
        reader = conn.next_reader()
        self.assertEqual(reader.read(10), b"a")
        end = self.assert_ends(lambda: reader.read(10), 1001, CloseError)
        for read in (reader.read, conn.next_reader, conn.read_message, conn.receive):
            assert_same_end(self, self.assert_ends(read, 1001, CloseError), end)

    def test_a_reader_that_is_overtaken(self) -> None:
        """A reader whose message is left behind as it asks for more is at its end; nothing of the next one is its."""
        conn, peer = self.peer()
        peer.send_frame(BINARY, b"ab", fin=False)
        reader = conn.next_reader()
        self.assertEqual(reader.read(2), b"ab")
        ask, newer = reader._next_piece, []

        def overtake(overtaken: MessageReader) -> tuple[bytes, bool]:
            peer.send_frame(0, b"cd")
            peer.send_frame(BINARY, b"next")
            newer.append(conn.next_reader())
            return ask(overtaken)

        reader._next_piece = overtake
        self.assertEqual(reader.readall(), b"")
        self.assertEqual(newer[0].readall(), b"next")


class ClientStreams(ServerStreams):
    """The same for a client."""

    client = True


class ServerEnds(ConnCase):
    """Ends of the stream, and what reads raise from then on."""

    def test_stream_cut_at_every_byte(self) -> None:
        """An end of the stream without a close frame is CloseError 1006, between frames or at any byte of one."""
        conn, peer = self.peer()
        stream = peer.frame(TEXT, "ab", fin=False) + peer.frame(9, b"p") + peer.frame(0, b"x" * 130)
        whole = peer.frame(BINARY, b"y" * 200)
        for data in (stream, whole):
            for cut in range(len(data)):
                for streamed in (False, True):
                    conn, peer = self.peer()
                    peer.send(data[:cut])
                    peer.socket.close()
                    read = (lambda c=conn: c.next_reader().read()) if streamed else conn.read_message
                    end = self.assert_ends(read, 1006, CloseError)
                    assert_same_end(self, self.assert_ends(conn.next_reader, 1006, CloseError), end)
                    conn.close()

    def test_end_while_skipping(self) -> None:
        """Unlike gorilla, the end of the stream while a message is skipped is 1006 too: nothing looks complete."""
        for end in ("frame", "fragment"):
            conn, peer = self.peer()
            frame = peer.frame(TEXT, "long text", fin=end == "frame")
            peer.send(frame[:-4] if end == "frame" else frame)
            conn.next_reader()
            peer.socket.close()
            self.assert_ends(conn.next_reader, 1006, CloseError)

    def test_reset_is_the_same_end_with_its_cause(self) -> None:
        """A connection reset is CloseError 1006; the OSError is its cause."""
        conn, peer = self.peer()
        conn.send("unread")
        reading = self.start_reading(conn)
        peer.socket.setsockopt(1, 13, b"\1\0\0\0\0\0\0\0")  # SO_LINGER of zero seconds: close resets
        peer.socket.close()
        end = reading.error()
        self.assertIsInstance(end, CloseError)
        self.assertEqual(end.code, 1006)
        self.assertIsInstance(end.__cause__, ConnectionResetError)

    def test_every_later_call_raises_the_same_object(self) -> None:
        """Once over, every read and write raises the one stored end; a deadline changes nothing."""
        conn, peer = self.peer()
        peer.send_frame(TEXT, b"\xff")
        end = self.assert_ends(conn.read_message, 1007, ProtocolError)
        conn.set_read_deadline(None)
        calls = (
            conn.read_message,
            conn.next_reader,
            conn.receive_json,
            lambda: next(iter(conn)),
            lambda: conn.receive(timeout=0),
            lambda: conn.send("x"),
            lambda: conn.send_nowait("x"),
            lambda: conn.write_control(9),
            conn.ping,
            lambda: conn.next_writer(TEXT),
        )
        for call in calls * 2:
            assert_same_end(self, self.assert_ends(call, 1007, ProtocolError), end)

    def test_reading_on_after_the_end_never_hangs(self) -> None:
        """A loop that ignores the end gets it again at once, thousands of times."""
        conn, peer = self.peer()
        peer.close()
        for _ in range(5000):
            self.assert_ends(conn.read_message, 1000, CloseError)

    def test_a_vanished_peer_frees_the_descriptor(self) -> None:
        """Once the peer has vanished the descriptor goes back, even if nobody calls close."""
        conn, peer = self.peer()
        peer.socket.close()
        self.assert_ends(conn.read_message, 1006, CloseError)
        self.assert_released(conn)


class ClientEnds(ServerEnds):
    """The same for a client."""

    client = True


class ServerBadInput(ConnCase):
    """A breach of the protocol ends the connection: a close frame with the code, and a ProtocolError for good."""

    def _breaks(self, data: bytes, code: int = 1002, compression: bool = False) -> str:
        for cut in (None, 1):
            conn, peer = self.peer(compression=compression)
            peer.send(data, cut=cut)
            end = self.assert_ends(conn.read_message, code, ProtocolError)
            assert_same_end(self, self.assert_ends(conn.read_message, code, ProtocolError), end)
            assert_same_end(self, self.assert_ends(lambda c=conn: c.send("x"), code, ProtocolError), end)
            self.assertEqual(peer.receive_close(), (code, end.reason))
            self.assertNotEqual(conn.socket.fileno(), -1)  # TCP stays until the application closes
            peer.socket.close()
            conn.close()
        return str(end)

    def test_header_violations(self) -> None:
        """Reserved bits, unknown opcodes, long or fragmented control frames are 1002, each with its reason."""
        _, peer = self.peer()
        for data in (
            peer.frame(TEXT, "x", rsv1=True),
            bytes([0x20 | peer.frame(TEXT)[0]]) + peer.frame(TEXT)[1:],
            bytes([0x10 | peer.frame(TEXT)[0]]) + peer.frame(TEXT)[1:],
            peer.frame(3),
            peer.frame(7),
            peer.frame(11),
            peer.frame(15),
            peer.frame(9, b"x" * 126),
            peer.frame(9, fin=False),
            peer.frame(8, fin=False),
        ):
            with self.subTest(data=data[:4]):
                self.assertIn("1002", self._breaks(data))

    def test_mask(self) -> None:
        """A server wants its client's frames masked, a client its server's unmasked."""
        _, peer = self.peer()
        for opcode in (TEXT, BINARY, 9):
            self._breaks(peer.frame(opcode, b"x", masked=self.client))

    def test_fragments_out_of_order(self) -> None:
        """A message inside a fragmented one, or a continuation of none, is 1002."""
        _, peer = self.peer()
        self._breaks(peer.frame(TEXT, "a", fin=False) + peer.frame(TEXT, "b"))
        self._breaks(peer.frame(0, "a"))
        self._breaks(peer.frame(0, "a", fin=False))

    def test_pieces_before_a_breach_were_delivered(self) -> None:
        """A reader gives what came before the breach, and then raises it."""
        conn, peer = self.peer()
        peer.send_frame(TEXT, "a", fin=False)
        reader = conn.next_reader()
        self.assertEqual(reader.read(9), b"a")
        peer.send_frame(TEXT, "b")
        self.assert_ends(lambda: reader.read(9), 1002, ProtocolError)

    def test_text_is_validated(self) -> None:
        """Unlike gorilla, text that is not UTF-8 is 1007, at once; so are halves of a character at the end."""
        _, peer = self.peer()
        self._breaks(peer.frame(TEXT, b"\xff\xfe"), 1007)
        self._breaks(peer.frame(TEXT, "ü".encode()[:1]), 1007)
        self._breaks(peer.frame(TEXT, b"a", fin=False) + peer.frame(0, b"\xff", fin=False), 1007)
        conn, peer = self.peer()
        peer.send(peer.frame(TEXT, b"\xff" + b"x" * 100)[:-50])
        self.assert_ends(conn.read_message, 1007, ProtocolError)

    def test_lengths_in_their_shortest_form(self) -> None:
        """Unlike gorilla, a length that is not in its shortest form is 1002."""
        mask = b"" if self.client else b"\0\0\0\0"
        bit = 0 if self.client else 0x80
        self._breaks(bytes([0x82, bit | 126, 0, 1]) + mask + b"x")
        self._breaks(bytes([0x82, bit | 127, 0, 0, 0, 0, 0, 0, 0, 1]) + mask + b"x")

    def test_length_with_the_top_bit(self) -> None:
        """Unlike gorilla, an eight-byte length with its top bit set is 1002, and a close frame says so."""
        bit = 0 if self.client else 0x80
        self._breaks(bytes([0x82, bit | 127]) + b"\x80" + bytes(7) + b"\0\0\0\0")

    def test_close_frames_of_one_byte(self) -> None:
        """Unlike gorilla, a close frame with a payload of one byte is 1002."""
        _, peer = self.peer()
        self._breaks(peer.frame(8, b"\x03"))

    def test_close_codes(self) -> None:
        """Codes that may not be sent are 1002, and no close handler is called for them; all others are received."""
        heard = []
        bad = (0, 1, 999, 1004, 1005, 1006, 1015, 1016, 1100, 2000, 2999, 5000, 65535)
        good = (1000, 1001, 1002, 1003, 1007, 1008, 1009, 1010, 1011, 1012, 1013, 1014, 3000, 3999, 4000, 4999)
        for code in bad:
            conn, peer = self.peer()
            conn.set_close_handler(lambda *args: heard.append(args))
            peer.close(code)
            self.assert_ends(conn.read_message, 1002, ProtocolError)
            self.assertEqual(peer.receive_close()[0], 1002)
        self.assertEqual(heard, [])
        for code in good:
            conn, peer = self.peer()
            peer.close(code)
            self.assert_ends(conn.read_message, code, CloseError)
            self.assertEqual(peer.receive_close(), (code, ""))

    def test_refused_close_codes_are_told(self) -> None:
        """The end by a code that may not be sent tells code and reason, also one that fills a frame."""
        for reason in ("upstream is gone", "\u20ac" * 41, "\r\n\x1b[31m"):
            conn, peer = self.peer()
            peer.send_frame(8, (1006).to_bytes(2) + reason.encode())
            end = self.assert_ends(conn.read_message, 1002, ProtocolError)
            self.assertEqual(end.reason, f"a close frame with code 1006, which may not be sent: {reason}")
            self.assertTrue(str(end).isprintable())
            code, said = peer.receive_close()
            self.assertEqual(code, 1002)
            self.assertTrue(end.reason.startswith(said))

    def test_close_reasons_are_text(self) -> None:
        """Unlike gorilla, a close reason that is not UTF-8 is 1007."""
        _, peer = self.peer()
        self._breaks(peer.frame(8, b"\x03\xe8\xff"), 1007)

    def test_reserved_bit_where_it_has_no_place(self) -> None:
        """Unlike gorilla, with compression agreed on, RSV1 on a control frame or a continuation is 1002."""
        _, peer = self.peer()
        self._breaks(peer.frame(9, b"x", rsv1=True), compression=True)
        self._breaks(peer.frame(TEXT, "a", fin=False) + peer.frame(0, b"b", rsv1=True), compression=True)

    def test_corrupt_compression(self) -> None:
        """Unlike gorilla, compressed data that is corrupt is 1007, for good."""
        _, peer = self.peer()
        self._breaks(peer.frame(TEXT, b"\xff\xff\xff\xff", rsv1=True), 1007, compression=True)
        self._breaks(peer.frame(TEXT, deflate(b"x" * 1000)[:-4], rsv1=True), 1007, compression=True)

    def test_random_bytes_end_in_an_end(self) -> None:
        """Whatever bytes arrive, a read delivers, or raises an end of the library, and never hangs."""
        chance = random.Random(1)
        for _ in range(100):
            conn, peer = self.peer(compression=bool(chance.getrandbits(1)))
            peer.send(chance.randbytes(chance.randrange(1, 300)))
            peer.socket.shutdown(1)
            with self.assertRaises((CloseError, ProtocolError)):
                while True:
                    conn.read_message()
            peer.socket.close()
            conn.close()


class ClientBadInput(ServerBadInput):
    """The same for a client."""

    client = True


class ServerLimits(ConnCase):
    """The read limit."""

    def test_limit_counts_payload_of_one_message(self) -> None:
        """A message of exactly the limit passes, control frames between its fragments not counted; one more byte
        does not."""
        conn, peer = self.peer(read_limit=100)
        for _ in range(3):
            peer.send_frame(TEXT, "x" * 100)
            self.assertEqual(len(conn.receive()), 100)
            peer.send_frame(TEXT, "x" * 60, fin=False)
            peer.send_frame(10, b"y" * 125)
            peer.send_frame(0, "x" * 40)
            self.assertEqual(len(conn.receive()), 100)
        peer.send_frame(TEXT, "x" * 101)
        self.assert_ends(conn.receive, 1009, ReadLimitError)

    def test_limit_is_judged_by_the_header(self) -> None:
        """A frame that is too large is refused by its header, before its payload has arrived."""
        for size in (101, 70_000, 1 << 40, (1 << 62)):
            conn, peer = self.peer(read_limit=100)
            peer.send(peer.frame(BINARY, length=size))
            self.assert_ends(conn.receive, 1009, ReadLimitError)

    def test_limit_of_later_fragments(self) -> None:
        """A reader gives the first fragment of a message whose second one is too large."""
        conn, peer = self.peer(read_limit=100)
        peer.send_frame(TEXT, "x" * 60, fin=False)
        reader = conn.next_reader()
        self.assertEqual(len(reader.read(100)), 60)
        peer.send(peer.frame(0, length=41))
        end = self.assert_ends(lambda: reader.read(100), 1009, ReadLimitError)
        assert_same_end(self, self.assert_ends(conn.next_reader, 1009, ReadLimitError), end)

    def test_over_the_limit(self) -> None:
        """Over the limit the peer gets 1009 without a reason, and TCP stays until the application closes."""
        conn, peer = self.peer(read_limit=10)
        peer.send_frame(TEXT, "x" * 11)
        self.assert_ends(conn.receive, 1009, ReadLimitError)
        self.assertEqual(peer.receive_frame()[:2], (8, b"\x03\xf1"))
        self.assertNotEqual(conn.socket.fileno(), -1)

    def test_limit_holds_for_the_inflated_message(self) -> None:
        """Unlike gorilla, the limit holds for what a message inflates to, however small it is on the wire."""
        conn, peer = self.peer(compression=True, read_limit=1000)
        peer.send_frame(TEXT, deflate(b"x" * 1000), rsv1=True)
        self.assertEqual(len(conn.receive()), 1000)
        bomb = deflate(b"x" * 100_000)
        self.assertLess(len(bomb), 1000)
        peer.send_frame(TEXT, bomb, rsv1=True)
        self.assert_ends(conn.receive, 1009, ReadLimitError)
        self.assertEqual(peer.receive_close()[0], 1009)

    def test_random_data_passes_a_limit_of_its_size(self) -> None:
        """Random bytes, which deflate to more than they are, pass a limit of their size."""
        data = random.Random(2).randbytes(100_000)
        conn, peer = self.peer(compression=True, read_limit=len(data))
        payload = deflate(data)
        self.assertGreater(len(payload), len(data))
        peer.send_frame(BINARY, payload, rsv1=True)
        self.assertEqual(conn.receive(), data)

    def test_skipped_fragments_do_not_count_for_the_next_message(self) -> None:
        """Unlike gorilla, what was skipped of one message is not counted for the next."""
        conn, peer = self.peer(read_limit=512)
        peer.send_frame(TEXT, "x" * 200, fin=False)
        peer.send_frame(0, "x" * 200)
        peer.send_frame(TEXT, "y" * 500)
        conn.next_reader()
        self.assertEqual(conn.next_reader().read(), b"y" * 500)

    def test_no_limit(self) -> None:
        """None, 0 and less mean no limit; anything except an integer is refused."""
        conn, peer = self.peer(read_limit=10)
        for limit in (None, 0, -1):
            conn.set_read_limit(10)
            conn.set_read_limit(limit)
            peer.send_frame(BINARY, bytes(50_000))
            self.assertEqual(len(conn.receive()), 50_000)
        for limit in (1.5, True, "10"):
            with self.assertRaises(TypeError):
                conn.set_read_limit(limit)
        peer.send_frame(BINARY, bytes(50_000))
        self.assertEqual(len(conn.receive()), 50_000)  # the limit is as it was

    def test_limit_set_between_messages(self) -> None:
        """set_read_limit holds from the next frame on, for compressed messages too."""
        conn, peer = self.peer(compression=True, read_limit=10)
        peer.send_frame(TEXT, deflate(b"x" * 10), rsv1=True)
        self.assertEqual(conn.receive(), "x" * 10)
        conn.set_read_limit(5000)
        peer.send_frame(TEXT, deflate(b"x" * 5000), rsv1=True)
        self.assertEqual(len(conn.receive()), 5000)
        conn.set_read_limit(20)
        peer.send_frame(TEXT, deflate(b"x" * 21), rsv1=True)
        self.assert_ends(conn.receive, 1009, ReadLimitError)

    def test_limit_set_inside_a_message(self) -> None:
        """set_read_limit in the middle of a message holds for its next fragment."""
        conn, peer = self.peer(read_limit=None)
        peer.send_frame(TEXT, "x" * 50, fin=False)
        reader = conn.next_reader()
        reader.read(50)
        conn.set_read_limit(60)
        peer.send_frame(0, "x" * 11)
        self.assert_ends(reader.read, 1009, ReadLimitError)


class ClientLimits(ServerLimits):
    """The same for a client."""

    client = True


class ServerBudgets(ConnCase):
    """Fragments have a limit, since an empty one costs this side more than the peer."""

    def fragments(self, peer: Peer, count: int, data: bytes = b"", rsv1: bool = False) -> bytes:
        """A message in so many fragments: the first has the data, the others are empty."""
        more = [peer.frame(0, fin=number == count) for number in range(2, count + 1)]
        return peer.frame(BINARY, data, fin=count == 1, rsv1=rsv1) + b"".join(more)

    def test_fragments_have_a_limit(self) -> None:
        """A message of more fragments than fragment_limit, empty ones too, ends with 1008; pings between
        them do not count, and each message begins anew. However it is read, compressed or not."""
        reads: dict[str, Callable[[Conn], Any]] = {
            "read_message": lambda conn: conn.read_message()[1],
            "next_reader": lambda conn: conn.next_reader().read(),
        }
        for name, read in reads.items():
            for rsv1 in (False, True):
                with self.subTest(name, compressed=rsv1):
                    conn, peer = self.peer(fragment_limit=5, compression=True)
                    data = deflate(b"data") if rsv1 else b"data"
                    for _ in range(2):
                        peer.send(self.fragments(peer, 5, data, rsv1))
                        self.assertEqual(read(conn), b"data")
                    peer.send(peer.frame(BINARY, data, fin=False, rsv1=rsv1))
                    peer.send(4 * (peer.frame(PING) + peer.frame(0, fin=False)) + peer.frame(0))
                    end = self.assert_breach("fragment_limit", peer, lambda c=conn, r=read: r(c))
                    self.assertEqual(end.reason, "a message of more than 5 fragments of less than 32 bytes")

    def test_a_flood_of_empty_fragments_ends(self) -> None:
        """A message of empty fragments without end is 1008 after 16,384, by default."""
        for reading in (Conn.receive, lambda conn: conn.next_reader().read()):
            conn, peer = self.peer()
            peer.send(peer.frame(TEXT, fin=False) + peer.frame(0, fin=False) * (1 << 14))
            self.assert_breach("fragment_limit", peer, lambda c=conn, r=reading: r(c))

    def test_a_flood_of_tiny_fragments_ends(self) -> None:
        """Fragments of one byte each are 1008 after 16,384, also while next_reader hands them out."""
        for reading in (Conn.receive, lambda conn: conn.next_reader().read()):
            conn, peer = self.peer()
            peer.send(peer.frame(TEXT, "a", fin=False) + peer.frame(0, "b", fin=False) * (1 << 14))
            self.assert_breach("fragment_limit", peer, lambda c=conn, r=reading: r(c))

    def test_an_honest_message_in_fragments_passes(self) -> None:
        """16 MiB in fragments of 4 KiB, with a ping before each hundredth, pass where the read limit allows them."""
        conn, peer = self.peer(read_limit=16 << 20)
        piece = bytes(1 << 12)
        middle = (peer.frame(PING) + peer.frame(0, piece, fin=False) * 100) * 40 + peer.frame(0, piece, fin=False) * 94
        sending = self.start(peer.send, peer.frame(BINARY, piece, fin=False) + middle + peer.frame(0, piece))
        self.assertEqual(conn.receive(), bytes(16 << 20))
        sending.result()

    def test_honest_fragments_are_not_counted(self) -> None:
        """Any number of fragments of 32 bytes passes, and beside them as many smaller ones as may be."""
        conn, peer = self.peer(fragment_limit=5)
        piece = bytes(32)
        many = (peer.frame(0, piece, fin=False) * 100 + peer.frame(0, b"x", fin=False)) * 4
        for _ in range(2):
            peer.send(peer.frame(BINARY, piece, fin=False) + many + peer.frame(0, b"x"))
            self.assertEqual(conn.receive(), piece + (piece * 100 + b"x") * 4 + b"x")
        peer.send(peer.frame(BINARY, piece, fin=False) + many + peer.frame(0, b"x", fin=False) + peer.frame(0, b"x"))
        self.assert_breach("fragment_limit", peer, conn.receive)

    def test_no_fragment_limit(self) -> None:
        """None turns it off."""
        conn, peer = self.peer(fragment_limit=None)
        peer.send(peer.frame(TEXT, "m", fin=False) + peer.frame(0, fin=False) * 17_000)
        peer.send_frame(0)
        self.assertEqual(conn.receive(), "m")


class ClientBudgets(ServerBudgets):
    """The same for a client."""

    client = True


class ServerTimeouts(ConnCase):
    """Deadlines and timeouts of reads: the connection stays usable, and no byte is lost."""

    def _stops(self, peer) -> dict[str, tuple[bytes, bytes]]:
        """(what arrives before the timeout, what arrives after) of one message "hello world", by place of the cut."""
        frame = peer.frame(TEXT, "hello world")
        large = peer.frame(TEXT, "hello world" * 20_000)
        first, last = peer.frame(TEXT, "hello", fin=False), peer.frame(0, " world")
        packed = peer.frame(TEXT, deflate(b"hello world"), rsv1=True)
        return {
            "nothing": (b"", frame),
            "half a header": (frame[:1], frame[1:]),
            "a header": (frame[: len(frame) - 11], frame[-11:]),
            "half a payload": (frame[:-5], frame[-5:]),
            "half a large payload": (large[:150_000], large[150_000:]),
            "one fragment": (first, last),
            "one and a half fragments": (first + last[:-2], last[-2:]),
            "a ping between": (first + peer.frame(9), last),
            "half a compressed payload": (packed[:-3], packed[-3:]),
        }

    def test_a_timeout_loses_nothing(self) -> None:
        """Unlike gorilla, after a timeout anywhere in a message, any kind of read delivers all of it."""
        reads = {
            "read_message": lambda conn: conn.read_message()[1],
            "receive": lambda conn: conn.receive(timeout=5),
            "next_reader": lambda conn: conn.next_reader().read().decode(),
            "iteration": lambda conn: next(iter(conn)),
        }
        _, peer = self.peer()
        for place in self._stops(peer):
            for name, read in reads.items():
                with self.subTest(place=place, read=name):
                    conn, peer = self.peer(compression=True)
                    before, after = self._stops(peer)[place]
                    peer.send(before)
                    for _ in range(2):
                        with self.assertRaises(ReadTimeout):
                            conn.read_message(timeout=0.002)
                    peer.send(after)
                    self.assertTrue(read(conn).startswith("hello world"))
                    peer.send_frame(TEXT, "next")
                    self.assertEqual(conn.receive(), "next")

    def test_a_timeout_inside_a_stream_loses_nothing(self) -> None:
        """A reader that runs into the read deadline goes on afterwards where it stopped, read() too."""
        conn, peer = self.peer()
        peer.send_frame(TEXT, "ab", fin=False)
        reader = conn.next_reader()
        conn.set_read_deadline(time.monotonic() + 0.01)
        with self.assertRaises(ReadTimeout):
            reader.read()
        conn.set_read_deadline(None)
        peer.send_frame(0, "c")
        self.assertEqual(reader.read(), b"abc")

    def test_a_timeout_while_skipping(self) -> None:
        """A timeout while a message is skipped: the next read goes on skipping it."""
        conn, peer = self.peer()
        peer.send_frame(TEXT, "old", fin=False)
        conn.next_reader()
        for _ in range(2):
            with self.assertRaises(ReadTimeout):
                conn.receive(timeout=0.002)
        peer.send_frame(0, "old")
        peer.send_frame(TEXT, "new")
        self.assertEqual(conn.receive(), "new")

    def test_read_deadline(self) -> None:
        """The read deadline is an instant; passing it is no CloseError, writes still work, and no close is sent."""
        conn, peer = self.peer()
        conn.set_read_deadline(time.monotonic() + 0.05)
        self.assertGreaterEqual(elapsed(lambda: self.assertRaises(ReadTimeout, conn.read_message)), 0.04)
        self.assertRaises(ReadTimeout, conn.read_message)
        conn.send("still here")
        self.assertEqual(peer.receive_frame()[:2], (TEXT, b"still here"))
        conn.set_read_deadline(None)
        peer.send_frame(TEXT, "m")
        self.assertEqual(conn.receive(), "m")
        self.assertIsInstance(ReadTimeout(), TimeoutError)

    def test_the_earlier_of_deadline_and_timeout_counts(self) -> None:
        """A call's own timeout and the read deadline both hold."""
        conn, _ = self.peer()
        conn.set_read_deadline(time.monotonic() + 600)
        self.assertIsInstance(self.start(conn.read_message, 0.01).error(), ReadTimeout)
        conn.set_read_deadline(time.monotonic() + 0.01)
        self.assertIsInstance(self.start(conn.read_message, 600).error(), ReadTimeout)

    def test_timeout_of_zero_takes_what_is_there(self) -> None:
        """timeout=0 returns a message that has arrived and otherwise raises at once: it can be used to poll."""
        conn, peer = self.peer()
        self.assertIsInstance(self.start(conn.receive, 0).error(), ReadTimeout)
        peer.send(peer.frame(TEXT, "a") + peer.frame(TEXT, "b"))
        self.assertEqual([conn.receive(timeout=0), conn.receive(timeout=0)], ["a", "b"])
        self.assertRaises(ReadTimeout, conn.receive, 0)

    def test_timeout_of_zero_takes_all_of_what_is_there(self) -> None:
        """timeout=0 returns a message that has arrived, also one that takes several looks at the socket; and an end."""
        conn, peer = self.peer()
        for size in (500, 5_000, 60_000):
            peer.send_frame(BINARY, bytes(size))
            self._await_unread(conn, size)
            self.assertEqual(conn.receive(timeout=0), bytes(size))
        peer.send(peer.frame(BINARY, bytes(9))[:5])
        peer.socket.shutdown(1)
        self.assertTrue(await_(conn._transport.is_at_end))
        self.assert_ends(lambda: conn.receive(timeout=0), 1006, CloseError)

    def test_timeout_of_zero_ends(self) -> None:
        """A peer that sends without end does not hold a read with timeout=0: it looks so many times, and no more."""
        conn, sock = self._endless()
        self.assertRaises(ReadTimeout, conn.receive, 0)
        self.assertLessEqual(sock.count("recv", "recv_into"), 70)

    def _await_unread(self, conn: Conn, size: int) -> None:
        """Wait until so many bytes lie in the socket."""
        peek = socket.MSG_PEEK | socket.MSG_DONTWAIT
        self.assertTrue(await_(lambda: len(conn.socket.recv(size, peek)) == size))

    def _endless(self) -> tuple[Conn, ScriptedSocket]:
        fragment = Peer(mock.Mock(), masked=not self.client).frame(0, bytes(1_000), fin=False)
        first = Peer(mock.Mock(), masked=not self.client).frame(BINARY, b"", fin=False)
        sock = ScriptedSocket(incoming=[first, *[fragment] * 1_000])
        conn = Conn(Transport(sock), client=self.client, options=ConnOptions(read_limit=None))  # type: ignore[arg-type]
        self.addCleanup(conn.close_now)
        return conn, sock

    def test_what_was_buffered_comes_before_the_deadline(self) -> None:
        """A message that was received already is delivered, even if the deadline has passed."""
        conn, peer = self.peer()
        peer.send(peer.frame(TEXT, "a") + peer.frame(TEXT, "b"))
        self.assertEqual(conn.receive(), "a")
        conn.set_read_deadline(time.monotonic() - 1)
        self.assertEqual(conn.receive(), "b")
        self.assertRaises(ReadTimeout, conn.receive)

    def test_a_flood_does_not_outrun_the_timeout(self) -> None:
        """A peer that sends without end, but no message, does not hold a read past its timeout or its deadline: in a
        flood of empty or tiny fragments, pings or pongs that no limit ends.
        """
        for kind, payload in ((0, b""), (0, b"x"), (PING, b""), (PONG, b"")):
            conn, peer = self.peer(fragment_limit=None, control_limit=None, read_limit=None)
            stop = threading.Event()

            def flood(peer: Peer = peer, kind: int = kind, payload: bytes = payload, stop: Any = stop) -> None:
                peer.send_frame(BINARY, b"x", fin=False)
                frames = peer.frame(kind, payload, fin=kind != 0) * 1000
                while not stop.is_set():
                    peer.send(frames)

            with self.subTest(kind, payload=payload):
                flooding = self.start(flood)
                drain = self.start(self._take_all, peer)  # pongs would fill the sockets
                for timeout in (0, 0.05):
                    self.assertIsInstance(self.start(conn.receive, timeout).error(), ReadTimeout)
                conn.set_read_deadline(time.monotonic() + 0.05)
                self.assertIsInstance(self.start(conn.receive).error(), ReadTimeout)
                stop.set()
                conn.close_now()
                for task in (flooding, drain):
                    try:
                        task.result()
                    except OSError:
                        pass  # cut in the middle of it

    def _take_all(self, peer: Peer) -> None:
        while peer.socket.recv(1 << 16):
            pass

    def test_the_clock_is_looked_at_between_pings(self) -> None:
        """A read looks at its deadline between control frames, too: in a flood close(timeout=1) took three seconds."""
        looked = 0

        def look(deadline: float | None) -> None:
            nonlocal looked
            looked += 1

        conn, peer = self.peer(control_limit=None)
        peer.send(peer.frame(PONG) * 200 + peer.frame(TEXT, "m"))
        with mock.patch.object(Inbound, "_seconds_to_wait", lambda self, deadline: look(deadline)):
            self.assertEqual(conn.receive(), "m")
        self.assertGreaterEqual(looked, 200 // ANSWERED)

    def test_pong_handler_extends_the_deadline(self) -> None:
        """A pong handler that moves the read deadline takes effect within the read under way (gorilla's idiom)."""
        conn, peer = self.peer()
        moved = threading.Event()

        def move(data: bytes) -> None:
            conn.set_read_deadline(clock.monotonic() + 10)
            moved.set()

        # The clock stands, so however late the read begins, its deadline has not passed.
        with moved_clock(stands=True) as clock:
            conn.set_read_deadline(clock.monotonic() + 0.15)
            conn.set_pong_handler(move)
            peer.send_frame(PONG)
            reading = self.start_reading(conn, conn.receive)
            self.assertTrue(moved.wait(PATIENCE))
            clock.advance(0.2)
            self.assertFalse(await_(lambda: reading.done, 0.3), "the deadline was not moved")
            peer.send_frame(TEXT, "late")
            self.assertEqual(reading.result(), "late")

    def test_implausible_deadlines(self) -> None:
        """A deadline that is a duration or a time of day is a ValueError that names time.monotonic()."""
        conn, _ = self.peer()
        with moved_clock() as clock:
            clock.advance(1e6)
            for deadline in (0, 5, 30.0, time.time(), float("inf"), float("-inf")):
                for setter in (
                    conn.set_read_deadline,
                    conn.set_write_deadline,
                    lambda d: conn.write_control(9, b"", d),
                ):
                    with self.assertRaisesRegex(ValueError, r"time\.monotonic\(\)"):
                        setter(deadline)
            for deadline in ("5", True, float("nan")):
                for setter in (
                    conn.set_read_deadline,
                    conn.set_write_deadline,
                    lambda d: conn.write_control(9, b"", d),
                ):
                    with self.assertRaises(TypeError):
                        setter(deadline)
            conn.set_read_deadline(clock.monotonic() + 5)
            conn.set_write_deadline(int(clock.monotonic()) + 5)

    def test_timeouts_without_bound(self) -> None:
        """An infinite timeout is no limit, with keepalive and without."""
        for interval in (20, None):
            conn, peer = self.peer(ping_interval=interval)
            peer.send_frame(TEXT, "m")
            self.assertEqual(conn.receive(timeout=float("inf")), "m")
            reading = self.start_reading(conn, lambda c=conn: c.receive(timeout=1e12))
            peer.send_frame(TEXT, "n")
            self.assertEqual(reading.result(), "n")


class ClientTimeouts(ServerTimeouts):
    """The same for a client."""

    client = True


class ServerTurns(ConnCase):
    """One reader at a time."""

    def test_second_reader_is_refused_at_once(self) -> None:
        """Unlike gorilla, while one thread reads, any read by another is a ConcurrencyError, and the first goes on."""
        conn, peer = self.peer()
        reading = self.start_reading(conn, conn.receive)
        for read in (conn.read_message, conn.receive, conn.next_reader, conn.receive_json, conn.close_read):
            with self.assertRaises(ConcurrencyError):
                read()
        peer.send_frame(TEXT, "m")
        self.assertEqual(reading.result(), "m")

    def test_threads_may_take_turns(self) -> None:
        """Two threads that read one after the other are fine, of one message too."""
        conn, peer = self.peer()
        for number in range(10):
            peer.send_frame(TEXT, str(number))
        for number in range(5):
            self.assertEqual(self.start(conn.receive).result(), str(2 * number))
            self.assertEqual(conn.receive(), str(2 * number + 1))
        peer.send_frame(TEXT, "ab")
        reader = conn.next_reader()
        self.assertEqual((reader.read(1), self.start(reader.read).result()), (b"a", b"b"))

    def test_reading_inside_a_handler_is_refused(self) -> None:
        """A handler runs inside a read: a read of its own is a ConcurrencyError, after a close as well."""
        for closing in (False, True):
            conn, peer = self.peer()

            def handler(data: bytes, conn=conn, closing=closing) -> None:
                if closing:
                    conn.close()
                conn.read_message()

            conn.set_ping_handler(handler)
            peer.send_frame(9)
            with self.assertRaises(ConcurrencyError):
                conn.read_message(timeout=5)

    def test_a_read_goes_on_while_a_write_is_stuck(self) -> None:
        """A peer that does not read never stops this side from reading it."""
        conn, peer = self.peer(buffer=1 << 14)
        writing = self.start_stuck_write(conn)
        peer.send_frame(TEXT, "m")
        self.assertEqual(self.start(conn.receive).result(), "m")
        conn.close_now()
        self.assertIsInstance(writing.error(), CloseError)


class ClientTurns(ServerTurns):
    """The same for a client."""

    client = True


class ServerIdle(ConnCase):
    """The handler that is called before a wait."""

    def test_idle_handler_is_called_before_a_wait(self) -> None:
        """The idle handler runs in the reading thread before each wait, and not if a message is there already."""
        conn, peer = self.peer()
        threads: list[int] = []
        conn.set_idle_handler(lambda: threads.append(threading.get_ident()))
        peer.send(peer.frame(TEXT, "one") + peer.frame(TEXT, "two"))
        self.assertEqual(conn.receive(), "one")
        self.assertEqual(threads, [threading.get_ident()])
        self.assertEqual(conn.receive(), "two")
        self.assertEqual(len(threads), 1)
        peer.send_frame(TEXT, "three")
        self.assertEqual(conn.receive(), "three")
        self.assertEqual(len(threads), 2)

    def test_no_idle_handler(self) -> None:
        """None removes the idle handler; anything that is not callable is a TypeError, and changes nothing."""
        conn, peer = self.peer()
        called: list[int] = []
        conn.set_idle_handler(lambda: called.append(1))
        with self.assertRaisesRegex(TypeError, "without arguments"):
            conn.set_idle_handler("release")  # type: ignore[arg-type]
        peer.send_frame(TEXT, "one")
        conn.receive()
        conn.set_idle_handler(None)
        peer.send_frame(TEXT, "two")
        conn.receive()
        self.assertEqual(called, [1])

    def test_an_idle_handler_that_raises(self) -> None:
        """What the idle handler raises is raised by the read and by every later one; writes go on."""
        conn, peer = self.peer()

        def handler() -> None:
            raise LookupError("no database")

        conn.set_idle_handler(handler)
        for _ in range(2):
            with self.assertRaisesRegex(LookupError, "no database"):
                conn.receive(timeout=5)
        conn.send("still there")
        self.assertEqual(peer.receive_frame().payload, b"still there")

    def test_an_idle_handler_that_closes(self) -> None:
        """A close inside the idle handler sends and returns; the read ends with the peer's answer."""
        conn, peer = self.peer()
        conn.set_idle_handler(conn.close)
        reading = self.start_reading(conn, conn.receive)
        self.assertEqual(peer.receive_close(), (1000, ""))
        peer.close()
        self.assertIsInstance(reading.error(), CloseError)

    def test_closing_calls_no_idle_handler(self) -> None:
        """A close that reads in place of the application does not call its idle handler."""
        conn, peer = self.peer()
        called: list[int] = []
        conn.set_idle_handler(lambda: called.append(1))
        peer.close()
        conn.close()
        self.assertEqual(called, [])


class ClientIdle(ServerIdle):
    """The same for a client."""

    client = True


class ServerCompressed(ConnCase):
    """Compressed messages, as they arrive."""

    def test_compressed_and_plain_messages_mix(self) -> None:
        """With compression agreed on, plain messages are accepted as well, in any order."""
        conn, peer = self.peer(compression=True)
        peer.send_frame(TEXT, deflate(b"squeezed"), rsv1=True)
        peer.send_frame(TEXT, "plain")
        peer.send_frame(BINARY, deflate(b"again"), rsv1=True)
        self.assertEqual([conn.receive() for _ in range(3)], ["squeezed", "plain", b"again"])

    def test_empty_compressed_message(self) -> None:
        """An empty compressed message, one byte 00, arrives as an empty one."""
        conn, peer = self.peer(compression=True)
        peer.send_frame(TEXT, b"\0", rsv1=True)
        self.assertEqual(conn.read_message(), (TEXT, ""))

    def test_ping_between_compressed_fragments(self) -> None:
        """A ping between the fragments of a compressed message is answered and leaves it whole."""
        conn, peer = self.peer(compression=True)
        data = deflate(b"hello" * 100)
        peer.send_frame(TEXT, data[:5], fin=False, rsv1=True)
        peer.send_frame(9, b"p")
        peer.send_frame(0, data[5:9], fin=False, cut=1)
        peer.send_frame(9, b"q")
        peer.send_frame(0, data[9:])
        self.assertEqual(conn.receive(), "hello" * 100)
        self.assertEqual([peer.receive_frame().payload for _ in range(2)], [b"p", b"q"])

    def test_compressed_stream(self) -> None:
        """A reader gives pieces of a compressed message as they arrive."""
        conn, peer = self.peer(compression=True)
        compressor = zlib.compressobj(9, zlib.DEFLATED, -15)
        first = compressor.compress(b"hello ") + compressor.flush(zlib.Z_SYNC_FLUSH)
        last = (compressor.compress(b"world") + compressor.flush(zlib.Z_SYNC_FLUSH))[:-4]
        peer.send_frame(TEXT, first, fin=False, rsv1=True)
        reader = conn.next_reader()
        self.assertEqual(reader.read(100), b"hello ")
        peer.send_frame(0, last)
        self.assertEqual(reader.read(), b"world")


class ClientCompressed(ServerCompressed):
    """The same for a client."""

    client = True


class ServerJSON(ConnCase):
    """receive_json."""

    def test_json_of_either_type(self) -> None:
        """receive_json takes the next message of either type; one message is one value."""
        conn, peer = self.peer()
        peer.send_frame(TEXT, '{"a": [1, "ü"]}')
        peer.send_frame(BINARY, b"[null]")
        self.assertEqual([conn.receive_json(), conn.receive_json(timeout=5)], [{"a": [1, "ü"]}, [None]])

    def test_bad_json_leaves_the_connection_usable(self) -> None:
        """Empty, truncated, trailing, misencoded or too deep JSON is a JSONDecodeError, and the next read
        reads the next message."""
        conn, peer = self.peer()
        whole = '{"a":1}'
        bad: list[str | bytes] = [whole[:cut] for cut in range(len(whole))]
        bad += [" ", "1 xyz", '{"a":1} {"b":2}', b"\xff\xfe\xff", "[" * 100_000, "1" * 10_000]
        for data in bad:
            peer.send_frame(TEXT if isinstance(data, str) else BINARY, data)
            with self.assertRaises(json.JSONDecodeError):
                conn.receive_json()
        peer.send_frame(TEXT, whole)
        self.assertEqual(conn.receive_json(), {"a": 1})


class ClientJSON(ServerJSON):
    """The same for a client."""

    client = True


class ServerScripted(ScriptedCase):
    """What a read does with bytes, errors and other threads that come together too seldom by themselves."""

    def test_the_rest_of_a_message_is_skipped_by_one_look(self) -> None:
        """timeout=0 looks at the socket once, although the read before it has looked: the next message is there."""
        rest = self._fragment(0, b"two") + self._frame(b"next")
        conn, _ = self._scripted(self._fragment(BINARY, b"one", fin=False), rest)
        conn.next_reader(timeout=30)
        self.assertEqual(conn.receive(timeout=0), b"next")

    def test_a_reader_that_is_passed_over_stays_so(self) -> None:
        """A read that would skip the rest of a message, and times out, has ended its reader all the same."""
        conn, _ = self._scripted(self._fragment(BINARY, b"one", fin=False), BlockingIOError())
        reader = conn.next_reader(timeout=30)
        self.assertRaises(ReadTimeout, conn.receive, 0)
        self.assertEqual(reader.read(), b"")

    def test_another_thread_begins_the_next_message_meanwhile(self) -> None:
        """A reader that waits for the turn as another thread goes on to the next message finds its end, and takes
        nothing of that message."""
        rest = self._fragment(0, b"two") + self._frame(b"next")
        conn, _ = self._scripted(self._fragment(BINARY, b"one", fin=False), rest)
        first = conn.next_reader()
        self.assertEqual(first.read(3), b"one")
        turn, readers = conn._inbound.turn, []

        class Contended:
            release = staticmethod(turn.release)
            locked = staticmethod(turn.locked)

            @staticmethod
            def acquire(*arguments: Any) -> bool:
                conn._inbound.turn = turn
                readers.append(conn.next_reader())  # the other thread was faster
                conn._inbound.turn = contended  # type: ignore[assignment]
                return turn.acquire(*arguments)

        conn._inbound.turn = contended = Contended()  # type: ignore[assignment]
        self.assertEqual(first.read(), b"")
        conn._inbound.turn = turn
        self.assertEqual(readers[0].read(), b"next")

    def test_close_read_of_what_is_over(self) -> None:
        """close_read on a connection that is over raises nothing: its thread ends at once."""
        conn, sock = self._scripted()
        conn.close_now()
        conn.close_read()
        self.assertTrue(await_(lambda: not conn._inbound.turn.locked()))
        self.assertEqual(sock.count("recv"), 0)

    def test_close_read_after_a_handler_raised(self) -> None:
        """A handler's exception is final for close_read as for every other read: it is logged, and the code is 1011."""
        conn, sock = self._scripted(Peer(mock.Mock(), masked=not self.client).frame(PONG, b""))
        conn.set_pong_handler(lambda data: 1 / 0)
        self.assertRaises(ZeroDivisionError, conn.receive)
        sent = len(sock.sent)
        with self.assertLogs("syncws.conn", "ERROR"):
            conn.close_read()
            self.assertTrue(await_(lambda: sock.count("close") == 1))
        close = bytes(sock.sent[sent:])
        self.assertEqual(close[-2:] if not self.client else mask(close[6:8], close[2:6]), (1011).to_bytes(2))

    def test_a_handler_that_ends_the_connection(self) -> None:
        """Nothing is received, and no handler called, once a handler of the read's own has ended the connection."""
        ping = Peer(mock.Mock(), masked=not self.client).frame(9)
        conn, sock = self._scripted(ping, self._frame(b"too late"))
        idle: list[int] = []
        conn.set_idle_handler(lambda: idle.append(sock.count("recv")))
        conn.set_ping_handler(lambda data: conn._end_without_peer(4000, "enough"))
        self.assert_ends(conn.receive, 4000, CloseError)
        self.assertEqual((sock.count("recv"), idle), (1, [0]))

    def test_nothing_waits_for_the_collector(self) -> None:
        """A connection that has ended, in whatever way, is freed as its last reference goes."""

        class Broken(ScriptedSocket):
            def _take(self, data: bytes) -> int:
                raise ConnectionResetError(104, "reset")

        breach = b"\xff\xff"
        for incoming in ([], [breach], [self._frame(b"x")], [Peer(mock.Mock(), masked=not self.client).frame(8)]):
            gc.collect()
            self.addCleanup(gc.set_debug, 0)
            conn = Conn(Transport(Broken(incoming=list(incoming))), client=self.client)  # type: ignore[arg-type]
            with contextlib.suppress(CloseError, ProtocolError):
                conn.receive()
            with contextlib.suppress(CloseError, ProtocolError):
                conn.send("x")
            conn.close_now()
            del conn
            gc.set_debug(gc.DEBUG_SAVEALL)
            gc.collect()
            gc.set_debug(0)
            found = [each for each in gc.garbage if type(each).__module__.partition(".")[0] == "syncws"]
            gc.garbage.clear()
            self.assertEqual(found, [])


class ClientScripted(ServerScripted):
    """The same for a client."""

    client = True


class SettableTests(unittest.TestCase):
    """What any thread may set while another reads."""

    def test_read_once(self) -> None:
        """No function tests such an attribute and then reads it again: another thread may set it in between."""
        settable = {"ping_handler", "pong_handler", "close_handler", "idle_handler", "deadline", "_limit"}
        seen = set()
        for path, module in modules.__wrapped__():  # not kept: each collection would look at all of it
            if path.parent.name not in ("_conn", "_frames"):
                continue
            for function in (node for node in ast.walk(module) if isinstance(node, ast.FunctionDef)):
                names = [
                    node.attr
                    for node in ast.walk(function)
                    if isinstance(node, ast.Attribute) and isinstance(node.ctx, ast.Load) and node.attr in settable
                    if isinstance(node.value, ast.Name) and node.value.id == "self"
                ]
                seen |= set(names)
                twice = {name for name in names if names.count(name) > 1}
                self.assertEqual(twice, set(), f"{path}: {function.name}")
        self.assertEqual(seen, settable)
