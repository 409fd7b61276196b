"""Writing to a `Conn`: frames, streams, control frames, compression, the send queue, deadlines, many writers."""

from __future__ import annotations

import csv
import io
import json
import math
import random
import threading
import time
from unittest import mock

from syncws import (
    BINARY,
    CLOSE,
    PING,
    PONG,
    TEXT,
    CloseError,
    CloseSentError,
    ConcurrencyError,
    Conn,
    PreparedMessage,
    WriteTimeout,
    format_close_message,
)
from syncws._conn.conn import post_to_all
from syncws._conn.states import State
from syncws._net.drain import drain
from syncws.testing import await_
from tests.conn.cases import ConnCase, deflate, inflate
from tests.tasks import PATIENCE, SOON, assert_same_end

_SIZES = (0, 1, 2, 124, 125, 126, 127, 128, 129, 65534, 65535, 65536, 200_000)
_BUFFER = 1 << 14  # small enough that a peer which does not read is soon stuck


class ServerFrames(ConnCase):
    """One message, one frame."""

    def test_every_way_to_write_every_size(self) -> None:
        """TestFraming: messages of every length encoding, compressed or not, whole or in pieces, arrive as written."""
        for compression in (False, True):
            conn, other = self.pair(compression=compression, write_buffer_size=1000)
            for size in _SIZES:
                text = "abcdefgh" * (size // 8) + "x" * (size % 8)
                conn.write_message(TEXT, text)
                self.assertEqual(other.read_message(), (TEXT, text))
                with conn.next_writer(BINARY) as writer:
                    for start in range(0, size, 777):
                        writer.write(text[start : start + 777].encode())
                self.assertEqual(other.read_message(), (BINARY, text.encode()))
                conn.write_prepared(PreparedMessage(TEXT, text))
                conn.send_nowait(text)
                self.assertEqual([other.receive(), other.receive()], [text, text])

    def test_one_frame_for_any_size(self) -> None:
        """Unlike gorilla, write_message is one final frame of any size, in both roles, compressed or not."""
        for compression in (False, True):
            conn, peer = self.peer(compression=compression, write_buffer_size=1024)
            for size in (5000, 1024, 1025, 100_000):
                writing = self.start(conn.write_message, BINARY, bytes(size))
                frame = peer.receive_frame()
                writing.result()
                self.assertEqual((frame.opcode, frame.fin, frame.rsv1), (BINARY, True, compression))
                self.assertEqual(inflate(frame.payload) if compression else frame.payload, bytes(size))

    def test_send_picks_the_type(self) -> None:
        """send makes str TEXT and every kind of bytes BINARY."""
        conn, peer = self.peer()
        for message in ("ü", b"b", bytearray(b"c"), memoryview(b"d")):
            conn.send(message)
        frames = [peer.receive_frame()[:2] for _ in range(4)]
        self.assertEqual(frames, [(TEXT, "ü".encode()), (BINARY, b"b"), (BINARY, b"c"), (BINARY, b"d")])

    def test_masks(self) -> None:
        """A client masks each frame with a key of its own, prepared ones too; a server masks none."""
        conn, peer = self.peer()
        prepared = PreparedMessage(TEXT, "same")
        for write in (conn.write_prepared, conn.write_prepared, conn.send_nowait, conn.send_nowait):
            write(prepared)
        size = 10 if self.client else 6
        heads = set()
        for _ in range(4):
            raw = peer._exactly(size)
            self.assertEqual(bool(raw[1] & 0x80), self.client)
            heads.add(raw)
        self.assertEqual(len(heads), 4 if self.client else 1)

    def test_mistakes_raise_before_anything_is_written(self) -> None:
        """A wrong type, data or size is a TypeError or ValueError; nothing leaves, nothing sticks."""
        conn, peer = self.peer()
        long = bytes(126)
        for kind, call in (
            (ValueError, lambda: conn.write_message(0, b"")),
            (ValueError, lambda: conn.write_message(3, b"")),
            (ValueError, lambda: conn.write_message(11, b"")),
            (ValueError, lambda: conn.next_writer(7)),
            (ValueError, lambda: conn.write_control(TEXT, b"")),
            (ValueError, lambda: conn.write_control(BINARY, b"")),
            (ValueError, lambda: conn.write_control(11, b"")),
            (TypeError, lambda: conn.write_message(TEXT, b"bytes")),
            (TypeError, lambda: conn.write_message(BINARY, "str")),
            (TypeError, lambda: conn.write_message(BINARY, None)),
            (TypeError, lambda: conn.send(5)),
            (TypeError, lambda: conn.send_nowait(None)),
            (TypeError, lambda: conn.write_control(PING, "str")),
            (ValueError, lambda: conn.send("\ud800")),
            (ValueError, lambda: conn.write_control(PING, long)),
            (ValueError, lambda: conn.write_message(PONG, long)),
            (ValueError, lambda: conn.ping(long)),
            (ValueError, lambda: conn.write_control(CLOSE, b"\x03")),
            (ValueError, lambda: conn.write_message(CLOSE, b"\x03")),
            (ValueError, lambda: conn.write_control(CLOSE, (1006).to_bytes(2))),
            (ValueError, lambda: conn.write_control(CLOSE, b"\x03\xe8\xff")),
            (ValueError, lambda: conn.send_nowait(PreparedMessage(PING, b""))),
            (ValueError, lambda: conn.set_compression_level(-3)),
            (ValueError, lambda: conn.set_compression_level(10)),
        ):
            with self.assertRaises(kind):
                call()
        with self.assertRaisesRegex(TypeError, "decode it, or send it as BINARY"):
            conn.write_message(TEXT, b"x")
        conn.send("fine")
        self.assertEqual(peer.receive_frame()[:2], (TEXT, b"fine"))

    def test_a_mistake_is_told_before_the_state(self) -> None:
        """A close that may not be sent is a ValueError also where nothing can be sent any more."""
        conn, _ = self.peer()
        conn.close(timeout=0)
        with self.assertRaises(ValueError):
            conn.write_control(CLOSE, b"\x03")

    def test_a_level_that_is_none(self) -> None:
        """A level that zlib does not know is refused when it is given, and changes nothing."""
        conn, peer = self.peer(compression=True)
        with self.assertRaises(ValueError):
            conn.set_compression_level(10)
        conn.send("compressed " * 50)
        self.assertEqual(inflate(peer.receive_frame().payload), b"compressed " * 50)
        with self.assertRaises(ValueError):
            Conn(conn.transport, client=self.client, compression_level=10)

    def test_an_error_advises_what_is_there(self) -> None:
        """A value that is no message is refused, and the error names the method that sends it."""
        conn, _ = self.peer()
        json, prepared = "not dict: send_json sends", "not PreparedMessage: write_prepared sends"
        for call, advice in (
            (lambda: conn.send({}), json),  # type: ignore[arg-type]
            (lambda: conn.send_nowait({}), json),  # type: ignore[arg-type]
            (lambda: conn.write_message(TEXT, {}), json),  # type: ignore[arg-type]
            (lambda: conn.write_message(BINARY, {}), json),  # type: ignore[arg-type]
            (lambda: conn.send(PreparedMessage(TEXT, "x")), prepared),  # type: ignore[arg-type]
            (lambda: conn.write_prepared("x"), "not str: see send"),  # type: ignore[arg-type]
            (lambda: conn.ping({}), "a control frame carries bytes, not dict"),  # type: ignore[arg-type]
        ):
            with self.assertRaisesRegex(TypeError, advice):
                call()

    def test_send_json(self) -> None:
        """Unlike gorilla, send_json sends TEXT without newline or HTML escapes."""
        conn, peer = self.peer()
        conn.send_json({"a": ["<ü>&", 1.5, None]})
        self.assertEqual(peer.receive_frame()[:2], (TEXT, '{"a":["<ü>&",1.5,null]}'.encode()))

    def test_unencodable_json_sends_nothing(self) -> None:
        """Unlike gorilla, a value JSON cannot hold raises, and no message is sent."""
        conn, peer = self.peer()
        deep: list[object] = []
        for _ in range(100_000):
            deep = [deep]
        circular: list[object] = []
        circular.append(circular)
        for value in (object(), {1, 2}, b"x", math.nan, math.inf, "\ud800", circular, deep):
            with self.assertRaises((TypeError, ValueError)):
                conn.send_json(value)
        while deep:  # freeing it in one go would overflow the stack of some interpreters
            deep = deep[0]  # type: ignore[assignment]
        conn.send_json(1)
        self.assertEqual(json.loads(peer.receive_frame().payload), 1)


class ClientFrames(ServerFrames):
    """The same for a client."""

    client = True


class ServerTextOnDemand(ConnCase):
    """text= of the methods that send."""

    def test_bytes_as_text_and_str_as_binary(self) -> None:
        """text=True sends TEXT and text=False BINARY, whatever the message is given as; without, as its type says."""
        conn, peer = self.peer()
        for data in ("grün", "grün".encode(), bytearray("grün".encode()), memoryview("grün".encode())):
            for text, kind in ((True, TEXT), (False, BINARY), (None, TEXT if isinstance(data, str) else BINARY)):
                conn.send(data, text=text)
                conn.send(data, 5, text=text)
                self.assertTrue(conn.send_nowait(data, text=text))
                for _ in range(3):
                    self.assertEqual(peer.receive_frame()[:2], (kind, "grün".encode()))

    def test_what_cannot_be_sent(self) -> None:
        """Bytes that are no UTF-8 are no TEXT, and no other value is a message: nothing is sent then."""
        conn, peer = self.peer()
        for send in (conn.send, conn.send_nowait):
            with self.assertRaisesRegex(ValueError, "a TEXT message is UTF-8, and these bytes are not"):
                send(b"\xff", text=True)
            with self.assertRaises(ValueError):
                send("\ud800", text=False)
            for message, text in (({}, True), (5, False), ("x", "utf-8"), (b"x", 1)):
                with self.assertRaises(TypeError):
                    send(message, text=text)
        with self.assertRaisesRegex(TypeError, "TEXT or BINARY already: leave text out"):
            conn.send_nowait(PreparedMessage(TEXT, "x"), text=True)
        conn.send("last")
        self.assertEqual(peer.receive_frame()[:2], (TEXT, b"last"))

    def test_deadlines(self) -> None:
        """A timeout counts as without text."""
        conn, _ = self.peer()
        with self.busy_wire(conn), self.assertRaises(WriteTimeout):
            conn.send("x", 0, text=False)


class ClientTextOnDemand(ServerTextOnDemand):
    """The same for a client."""

    client = True


class ServerStreams(ConnCase):
    """next_writer."""

    def test_a_cut_message_ends_the_connection_in_time(self) -> None:
        """Leaving a writer's block by an exception closes with 1011, and a timer cuts what the peer does not answer."""
        conn, peer = self.peer(write_buffer_size=4, close_timeout=60)
        with mock.patch.object(drain, "call_at") as call_at, self.assertRaises(ZeroDivisionError):
            with conn.next_writer(TEXT) as writer:
                writer.write("has begun")
                raise ZeroDivisionError
        self.assertEqual(peer.receive_frame().payload, b"has begun")
        self.assertEqual(peer.receive_close()[0], 1011)
        (_, cut) = call_at.call_args.args
        cut()
        self.assertEqual(conn.socket.fileno(), -1)

    def test_flush(self) -> None:
        """flush() sends what was written so far as a fragment, nothing where nothing waits, and the message goes on."""
        for compression in (False, True):
            conn, far = self.pair(compression=compression)
            for rest in ("", "z", "z" * 9000):
                with conn.next_writer(TEXT) as writer:
                    writer.flush()
                    writer.write("first")
                    writer.flush()
                    reader = far.next_reader(timeout=PATIENCE)
                    self.assertEqual(reader.read(100), b"first")
                    writer.write("y" * 9000)  # more than the buffer: a part leaves, of which zlib may keep some
                    writer.flush()
                    writer.flush()
                    came = b""
                    while len(came) < 9000:  # all of it is there, though the message goes on
                        came += reader.read(9000)
                    self.assertEqual(came, b"y" * 9000)
                    writer.write(rest)
                self.assertEqual(reader.readall(), rest.encode())

    def test_flush_sends_no_empty_frame(self) -> None:
        """A flush of nothing is nothing on the wire."""
        conn, peer = self.peer(write_buffer_size=4)
        with conn.next_writer(TEXT) as writer:
            writer.flush()
            writer.write("abcdefgh")
            writer.flush()
            writer.flush()
            writer.write("i")
        self.assertEqual([peer.receive_frame()[1] for _ in range(2)], [b"abcdefgh", b"i"])

    def test_flush_of_what_cannot_be_flushed(self) -> None:
        """A closed message, and a control frame, which has no fragments, are a ValueError."""
        conn, _ = self.peer()
        with conn.next_writer(TEXT) as writer:
            pass
        with self.assertRaisesRegex(ValueError, "flush of a closed message"):
            writer.flush()
        with self.assertRaisesRegex(ValueError, "no fragments"), conn.next_writer(PING) as writer:
            writer.write(b"x")
            writer.flush()

    def test_text_wrapper(self) -> None:
        """io.TextIOWrapper and io.BufferedWriter write to a message, for what wants a file."""
        conn, far = self.pair()
        with conn.next_writer(TEXT) as writer:
            text = io.TextIOWrapper(writer, "utf-8", newline="")  # type: ignore[type-var]
            print("grün", file=text)
            text.flush()
            csv.writer(text).writerow([1, "b"])
            text.detach()
        self.assertEqual(far.receive(), "grün\n1,b\r\n")
        with conn.next_writer(BINARY) as writer, io.BufferedWriter(writer) as buffered:  # type: ignore[type-var]
            buffered.write(b"bytes")
        self.assertEqual(far.receive(), b"bytes")

    def test_nothing_leaves_before_the_buffer_is_full(self) -> None:
        """Pieces are collected; a full buffer leaves when more comes, the rest on close."""
        conn, peer = self.peer(write_buffer_size=10)
        with conn.next_writer(TEXT) as writer:
            self.assertEqual([writer.write("abcde"), writer.write("fghij")], [5, 5])  # all of it, always
            conn.ping(b"1")
            writer.write("k")
        frames = [peer.receive_frame() for _ in range(3)]
        self.assertEqual([frame[:3] for frame in frames], [
            (PING, b"1", True), (TEXT, b"abcdefghij", False), (0, b"k", True),
        ])  # fmt: skip

    def test_short_message_is_one_frame(self) -> None:
        """A message that fits the buffer leaves as one frame; an empty message is one empty final frame."""
        conn, peer = self.peer()
        with conn.next_writer(TEXT) as writer:
            writer.write("a")
            writer.write(b"b")
        with conn.next_writer(BINARY):
            pass
        self.assertEqual(peer.receive_frame()[:3], (TEXT, b"ab", True))
        self.assertEqual(peer.receive_frame()[:3], (BINARY, b"", True))

    def test_large_pieces_leave_at_once(self) -> None:
        """A piece of the buffer's size or more leaves as a fragment of its own, with what was collected."""
        conn, peer = self.peer(write_buffer_size=1024)
        writing = self.start(self._write_pieces, conn, [b"a", bytes(5000)])
        self.assertEqual([peer.receive_frame()[::2] for _ in range(2)], [(BINARY, False), (0, True)])
        writing.result()

    def _write_pieces(self, conn, pieces) -> None:
        with conn.next_writer(BINARY) as writer:
            for piece in pieces:
                writer.write(piece)

    def test_write_after_close(self) -> None:
        """Writing to a closed writer raises; closing it again does nothing (unlike gorilla)."""
        conn, peer = self.peer()
        writer = conn.next_writer(TEXT)
        writer.close()
        writer.close()
        with self.assertRaises(ValueError):
            writer.write("x")
        conn.send("next")
        self.assertEqual([peer.receive_frame().payload for _ in range(2)], [b"", b"next"])

    def test_writing_inside_ones_own_writer(self) -> None:
        """Unlike gorilla, another message inside one's own open writer is a ConcurrencyError, and the open
        message stays whole; control frames pass."""
        conn, peer = self.peer(write_buffer_size=4)
        with conn.next_writer(TEXT) as writer:
            writer.write("begun")
            for write in (
                lambda: conn.write_message(TEXT, "x"),
                lambda: conn.send(b"x"),
                lambda: conn.send_json(1),
                lambda: conn.write_prepared(PreparedMessage(TEXT, "x")),
                lambda: conn.next_writer(BINARY),
            ):
                with self.assertRaises(ConcurrencyError):
                    write()
            with self.assertRaises(ValueError):
                conn.next_writer(7)
            conn.write_message(PING, b"1")
            conn.write_prepared(PreparedMessage(PONG, b"2"))
            conn.write_control(PING, b"3")
            writer.write("ended")
        frames = [peer.receive_frame() for _ in range(6)]
        self.assertEqual([frame.opcode for frame in frames], [TEXT, PING, PONG, PING, 0, 0])
        self.assertEqual(b"".join(frame.payload for frame in frames if frame.opcode < 8), b"begunended")

    def test_control_frames_through_a_writer(self) -> None:
        """TestControl: next_writer takes control types too; over 125 bytes is a ValueError."""
        conn, other = self.pair()
        pongs = []
        other.set_pong_handler(pongs.append)
        with conn.next_writer(PONG) as writer:
            writer.write(b"through a ")
            writer.write(b"writer")
        conn.write_control(PONG, b"directly")
        with self.assertRaises(ValueError), conn.next_writer(PING) as writer:
            writer.write(bytes(126))
        with self.assertRaises(ValueError), conn.next_writer(CLOSE) as writer:
            writer.write(b"\x03")
        conn.send("end")
        self.assertEqual(other.receive(), "end")
        self.assertEqual(pongs, [b"through a writer", b"directly"])

    def test_block_left_by_an_exception_before_anything_left(self) -> None:
        """Leaving the block by an exception: if nothing has left, the message is dropped and the connection is fine."""
        conn, peer = self.peer()
        with self.assertRaises(KeyError), conn.next_writer(TEXT) as writer:
            writer.write("dropped")
            raise KeyError
        conn.send("next")
        self.assertEqual(peer.receive_frame()[:2], (TEXT, b"next"))

    def test_block_left_by_an_exception_in_the_middle(self) -> None:
        """Leaving the block by an exception after a fragment fails the connection with 1011: a cut message must not
        look whole."""
        conn, peer = self.peer(write_buffer_size=4)
        with self.assertRaises(KeyError), conn.next_writer(TEXT) as writer:
            writer.write("begun")
            raise KeyError
        self.assertEqual(peer.receive_frame()[:3], (TEXT, b"begun", False))
        self.assertEqual(peer.receive_close()[0], 1011)
        with self.assertRaises(CloseSentError):
            conn.send("x")
        conn.close_now()

    def test_fragment_that_could_not_leave(self) -> None:
        """A fragment that timed out is not skipped: the message is lost with an error, never sent with a gap."""
        for begun in (False, True):
            conn, peer = self.peer(write_buffer_size=4)
            writer = conn.next_writer(TEXT)
            if begun:
                writer.write("begun")
                self.assertEqual(peer.receive_frame().payload, b"begun")
            with self.busy_wire(conn):
                conn.set_write_deadline(time.monotonic() + 0.01)
                self.assertRaises(WriteTimeout, writer.write, "this is lost")
            conn.set_write_deadline(None)
            self.assertRaises(ValueError, writer.write, "this comes too late")
            writer.close()
            if begun:
                self.assertEqual(peer.receive_close()[0], 1011)
            else:
                conn.send("fine")
                self.assertEqual(peer.receive_frame()[:2], (TEXT, b"fine"))
            conn.close_now()

    def test_last_fragment_that_could_not_leave(self) -> None:
        """A message whose last fragment timed out is failed with 1011: no other message may follow inside it."""
        conn, peer = self.peer(write_buffer_size=4)
        writer = conn.next_writer(TEXT)
        writer.write("begun")
        with self.busy_wire(conn):
            conn.set_write_deadline(time.monotonic() + 0.01)
            self.assertRaises(WriteTimeout, writer.close)
        conn.set_write_deadline(None)
        self.assertRaises(CloseSentError, conn.send, "inside")
        self.assertEqual(peer.receive_frame()[:3], (TEXT, b"begun", False))
        self.assertEqual(peer.receive_close()[0], 1011)
        conn.close_now()

    def test_compressed_stream(self) -> None:
        """Pieces are compressed as one stream, RSV1 on the first fragment only."""
        conn, peer = self.peer(compression=True, write_buffer_size=100)
        data = random.Random(3).randbytes(2000)
        writing = self.start(self._write_pieces, conn, [data[at : at + 90] for at in range(0, 2000, 90)])
        frames = [peer.receive_frame()]
        while not frames[-1].fin:
            frames.append(peer.receive_frame())
        writing.result()
        self.assertGreater(len(frames), 2)
        self.assertEqual([frame.rsv1 for frame in frames], [True] + [False] * (len(frames) - 1))
        self.assertEqual(inflate(b"".join(frame.payload for frame in frames)), data)


class ClientStreams(ServerStreams):
    """The same for a client."""

    client = True


class ServerControl(ConnCase):
    """Control frames between the frames of messages."""

    def test_control_frame_between_fragments(self) -> None:
        """Another thread's ping leaves between the fragments of a message under way."""
        conn, peer = self.peer(write_buffer_size=4)
        with conn.next_writer(BINARY) as writer:
            writer.write(b"begun")
            self.start(conn.write_control, PING, b"p").result()
            self.start(conn.ping, b"q").result()
            writer.write(b"e")
        self.assertEqual([peer.receive_frame()[:3] for _ in range(4)], [
            (BINARY, b"begun", False), (PING, b"p", True), (PING, b"q", True), (0, b"e", True),
        ])  # fmt: skip

    def test_ping_between_fragments_is_answered_at_once(self) -> None:
        """The peer's ping is answered while this thread has a writer open."""
        conn, peer = self.peer(write_buffer_size=4)
        with conn.next_writer(BINARY) as writer:
            writer.write(b"begun")
            peer.send_frame(PING, b"p")
            peer.send_frame(TEXT, "m")
            self.assertEqual(conn.receive(), "m")
            self.assertEqual([peer.receive_frame().opcode for _ in range(2)], [BINARY, PONG])

    def test_deadline_of_control_frames(self) -> None:
        """A deadline that has passed is a WriteTimeout that does not stick; the write deadline has no
        part; None waits for ever (TestWriteControlDeadline)."""
        conn, peer = self.peer()
        self.assertRaises(WriteTimeout, conn.write_control, PING, b"late", time.monotonic() - 1)
        conn.set_write_deadline(time.monotonic() - 1)
        conn.write_control(PING, b"1")
        conn.write_control(PING, b"2", time.monotonic() + 10)
        conn.set_write_deadline(None)
        conn.send("m")
        self.assertEqual([peer.receive_frame().payload for _ in range(3)], [b"1", b"2", b"m"])

    def test_control_frame_waits_for_the_frame_under_way(self) -> None:
        """A control frame that waits for a blocked write gives up at its deadline; nothing sticks, and both later
        writes and the blocked one succeed."""
        conn, peer = self.peer(buffer=_BUFFER)
        size = 4 << 20
        writing = self.start_stuck_write(conn, size)
        self.assertRaises(WriteTimeout, conn.write_control, PING, b"late", time.monotonic() + 0.05)
        waiting = self.start(conn.write_control, PING, b"patient")
        self.assertEqual(len(peer.receive_frame().payload), size)
        self.assertEqual(peer.receive_frame()[:2], (PING, b"patient"))
        writing.result()
        waiting.result()
        conn.send("m")
        self.assertEqual(peer.receive_frame().payload, b"m")

    def test_blocked_control_frame_sticks(self) -> None:
        """A control frame whose own sending times out in the middle ends all writes."""
        conn, _ = self.peer(buffer=_BUFFER)
        conn.socket.setsockopt(1, 7, 1)  # SO_SNDBUF: as small as it goes
        with self.assertRaises(WriteTimeout):
            while True:
                conn.write_control(PING, bytes(125), time.monotonic() + 0.05)
        if conn._transport.torn:
            self.assertRaises(WriteTimeout, conn.send, "x")
        else:  # nothing of the last one had left: it did not stick
            self.assertIs(conn._life.state, State.OPEN)

    def test_many_threads_write_control_frames(self) -> None:
        """TestConcurrencyWriteControl: ten threads with ten pongs each, among messages; all arrive, whole."""
        conn, peer = self.peer()

        def write(name: int) -> None:
            for number in range(10):
                conn.write_control(PONG, f"{name} {number}".encode(), time.monotonic() + 10)
                conn.write_message(TEXT, f"{name} {number}" * 100)

        tasks = [self.start(write, name) for name in range(10)]
        frames = [peer.receive_frame() for _ in range(200)]
        for task in tasks:
            task.result()
        for opcode, times in ((PONG, 1), (TEXT, 100)):
            arrived = sorted(frame.payload for frame in frames if frame.opcode == opcode)
            self.assertEqual(arrived, sorted(f"{a} {b}".encode() * times for a in range(10) for b in range(10)))

    def test_pings_never_wait(self) -> None:
        """Unlike gorilla, with a blocked writer, ping returns at once, pings that arrive do not hold up the read,
        nothing sticks; the latest of each leaves when it can."""
        conn, peer = self.peer(buffer=_BUFFER)
        size = 4 << 20
        writing = self.start_stuck_write(conn, size)
        for number in range(3):
            self.start(conn.ping, b"ours %d" % number).result()
            peer.send_frame(PING, b"theirs %d" % number)
        peer.send_frame(TEXT, "m")
        self.assertEqual(self.start(conn.receive).result(), "m")
        self.assertEqual(len(peer.receive_frame().payload), size)
        self.assertEqual({peer.receive_frame()[:2] for _ in range(2)}, {(PONG, b"theirs 2"), (PING, b"ours 2")})
        writing.result()
        conn.send("m")
        self.assertEqual(peer.receive_frame().payload, b"m")

    def test_pong_to_a_full_socket_does_not_stick(self) -> None:
        """Unlike gorilla, pings that come while the socket is full and nobody writes change nothing."""
        conn, peer = self.peer(buffer=_BUFFER, send_queue_bytes=1 << 30)
        for _ in range(200):
            conn.send_nowait(bytes(100_000))
        for number in range(100):
            peer.send_frame(PING, b"%d" % number)
        peer.send_frame(TEXT, "m")
        self.assertEqual(conn.receive(), "m")
        frames = [peer.receive_frame() for _ in range(201)]
        self.assertIn((PONG, b"99"), [frame[:2] for frame in frames])
        self.assertEqual(sum(frame.opcode == BINARY for frame in frames), 200)


class ClientControl(ServerControl):
    """The same for a client."""

    client = True


class ServerDeadlines(ConnCase):
    """Deadlines and timeouts of writes."""

    def test_timeout_of_a_call_holds_for_each_kind_of_message(self) -> None:
        """timeout= bounds the write of str and of bytes, by send and by write_message."""
        for write in (
            lambda conn: conn.send("x", timeout=0.01),
            lambda conn: conn.send(b"x", timeout=0.01),
            lambda conn: conn.write_message(TEXT, "x", timeout=0.01),
            lambda conn: conn.write_message(BINARY, b"x", timeout=0.01),
            lambda conn: conn.write_message(BINARY, bytearray(b"x"), timeout=0.01),
        ):
            conn, _ = self.peer()
            with self.busy_wire(conn), self.assertRaises(WriteTimeout):
                write(conn)

    def test_data_write_that_times_out_sticks(self) -> None:
        """Once part of a frame is on the wire, its WriteTimeout is what every later write raises; reads go
        on."""
        conn, peer = self.peer(buffer=_BUFFER)
        conn.set_write_deadline(time.monotonic() + 0.1)
        with self.assertRaises(WriteTimeout) as caught:
            conn.write_message(BINARY, bytes(16 << 20))
        self.assertIsInstance(caught.exception, TimeoutError)
        conn.set_write_deadline(None)
        for write in (
            lambda: conn.send("x"),
            lambda: conn.write_control(PING),
            lambda: conn.write_control(CLOSE, format_close_message(1000)),
            lambda: conn.write_prepared(PreparedMessage(TEXT, "x")),
            lambda: conn.next_writer(TEXT),
            lambda: conn.send_nowait("x"),
            conn.ping,
        ):
            with self.assertRaises(WriteTimeout) as again:
                write()
            assert_same_end(self, again.exception, caught.exception)
        peer.send_frame(TEXT, "m")
        self.assertEqual(conn.receive(), "m")

    def test_timeout_of_one_call(self) -> None:
        """A call's timeout counts seconds, for waiting for other messages and for the kernel."""
        conn, _ = self.peer(buffer=_BUFFER)
        writing = self.start_stuck_write(conn)
        for write in (
            lambda: conn.send("x", timeout=0.05),
            lambda: conn.send_json(1, timeout=0.05),
            lambda: conn.write_prepared(PreparedMessage(TEXT, "x"), timeout=0.05),
            lambda: conn.write_message(PING, b"x", timeout=0.05),
            lambda: conn.next_writer(TEXT, timeout=0.05),
        ):
            self.assertRaises(WriteTimeout, write)
        self.assertFalse(writing.done)
        conn.close_now()
        self.assertIsInstance(writing.error(), CloseError)

    def test_timeout_that_was_only_waited_for_does_not_stick(self) -> None:
        """A write that timed out while it waited for another thread's has sent nothing: later writes work."""
        conn, peer = self.peer(buffer=_BUFFER)
        size = 4 << 20
        writing = self.start_stuck_write(conn, size)
        self.assertRaises(WriteTimeout, conn.send, "late", 0.05)
        self.assertEqual(len(peer.receive_frame().payload), size)
        writing.result()
        conn.send("fine", timeout=0)
        self.assertEqual(peer.receive_frame().payload, b"fine")

    def test_write_without_progress_fails(self) -> None:
        """A write that makes no progress for ping_interval + ping_timeout fails for good, without any deadline."""
        conn, _ = self.peer(buffer=_BUFFER, ping_interval=0.5, ping_timeout=0.5)  # in which the write is seen to begin
        writing = self.start(conn.write_message, BINARY, bytes(16 << 20))
        end = self.assert_ends(writing.result, 1006, CloseError)
        self.assertGreater(writing.seconds, 0.25)
        assert_same_end(self, self.assert_ends(conn.receive, 1006, CloseError), end)
        self.assert_released(conn)

    def test_slow_peer_is_not_stalled(self) -> None:
        """A peer that takes a little at a time, for much longer than the stall limit, gets the whole message."""
        conn, peer = self.peer(buffer=_BUFFER, ping_interval=0.2, ping_timeout=0.2)
        size = 1 << 20
        writing = self.start(conn.write_message, BINARY, bytes(size))
        pace, began, taken = threading.Event(), time.monotonic(), 0
        while time.monotonic() - began < 1.2:
            taken += len(peer.socket.recv(4096))
            pace.wait(0.02)
        self.assertFalse(writing.done)
        while taken < size:
            taken += len(peer.socket.recv(1 << 16))
        writing.result()


class ClientDeadlines(ServerDeadlines):
    """The same for a client."""

    client = True


class ServerWriters(ConnCase):
    """Many threads that write."""

    def test_messages_of_many_threads_stay_whole(self) -> None:
        """Unlike gorilla, any number of threads write at the same time, whole and in pieces; no message is mixed up."""
        conn, other = self.pair(write_buffer_size=10)

        def write(name: str) -> None:
            for number in range(20):
                if number % 2:
                    with conn.next_writer(TEXT) as writer:
                        for _ in range(10):
                            writer.write(name * 7)
                else:
                    conn.send(name * 70)

        tasks = [self.start(write, name) for name in "abcdef"]
        messages = [other.receive() for _ in range(120)]
        for task in tasks:
            task.result()
        self.assertEqual(sorted(messages), sorted(name * 70 for name in "abcdef" for _ in range(20)))

    def test_message_of_another_thread_waits_for_an_open_writer(self) -> None:
        """While one thread has a writer open, another's message waits, and leaves after it."""
        conn, peer = self.peer(write_buffer_size=4)
        gate = threading.Event()

        def write_in_pieces() -> None:
            with conn.next_writer(TEXT) as writer:
                writer.write("begun")
                gate.wait(10)
                writer.write("e")

        writing = self.start(write_in_pieces)
        self.assertEqual(peer.receive_frame()[:3], (TEXT, b"begun", False))
        waiting = self.start(conn.send, "after")
        self.assertRaises(WriteTimeout, conn.send, "late", 0.05)
        self.assertRaises(WriteTimeout, conn.next_writer, TEXT, 0.05)
        self.assertFalse(waiting.done)
        gate.set()
        self.assertEqual([peer.receive_frame()[:3] for _ in range(2)], [(0, b"e", True), (TEXT, b"after", True)])
        writing.result()
        waiting.result()

    def test_message_that_sees_an_open_writer_too_late(self) -> None:
        """A writer's first fragment leaves after another message has looked for writers, and before its turn:
        the message still waits, and leaves after the last fragment."""
        conn, peer = self.peer(write_buffer_size=4)
        writer = conn.next_writer(TEXT)
        writer.write("begun")
        sink, conn._outbound._open_sink = conn._outbound._open_sink, None  # what that look has seen
        for write in (
            lambda: conn.send("late", 0.05),
            lambda: conn.write_prepared(PreparedMessage(TEXT, "late"), 0.05),
        ):
            self.assertRaises(WriteTimeout, write)
        waiting = self.start(conn.send, "after")
        conn._outbound._open_sink = sink
        writer.write("e")
        writer.close()
        waiting.result()
        frames = [peer.receive_frame()[:3] for _ in range(3)]
        self.assertEqual(frames, [(TEXT, b"begun", False), (0, b"e", True), (TEXT, b"after", True)])

    def test_message_left_open(self) -> None:
        """After a message that will never end nothing is sent, and nothing waits: an error says so."""
        conn, peer = self.peer()
        conn._wire.send(TEXT, b"begun", None)
        for write in (lambda: conn.send("x"), lambda: conn.next_writer(TEXT).close()):
            self.assertRaisesRegex(ConcurrencyError, "without its end", write)
        self.assertEqual(peer.receive_frame()[:3], (TEXT, b"begun", False))

    def test_writer_waits_for_a_message(self) -> None:
        """next_writer waits until another thread's message has left, and no longer than its timeout."""
        conn, peer = self.peer(buffer=_BUFFER)
        stuck = self.start_stuck_write(conn)
        self.assertRaises(WriteTimeout, conn.next_writer, TEXT, 0.05)
        opening = self.start(conn.next_writer, TEXT)
        self.assertFalse(opening.done)
        peer.receive_frame()
        stuck.result()
        opening.result().close()
        self.assertEqual(peer.receive_frame()[:3], (TEXT, b"", True))

    def test_posts_wait_for_an_open_writer(self) -> None:
        """send_nowait never waits for an open writer, not even its own thread's; the post leaves after that message."""
        conn, peer = self.peer(write_buffer_size=4)
        with conn.next_writer(TEXT) as writer:
            self.assertTrue(conn.send_nowait("before"))
            writer.write("begun")
            self.assertTrue(conn.send_nowait("posted"))
            self.assertEqual(conn.queued[0], 1)
            writer.write("e")
        frames = [peer.receive_frame().payload for _ in range(4)]
        self.assertEqual(frames, [b"before", b"begun", b"e", b"posted"])
        self.assertEqual(conn.queued, (0, 0))

    def test_one_threads_posts_and_writes_keep_their_order(self) -> None:
        """Posts and blocking writes of one thread leave in the order they were made, with the socket full between."""
        conn, peer = self.peer(buffer=_BUFFER, send_queue=1000, send_queue_bytes=1 << 30)

        def write() -> None:
            for number in range(100):
                (conn.send_nowait if number % 3 else conn.send)(f"{number} ".ljust(20_000))

        writing = self.start(write)
        self.assertEqual([int(peer.receive_frame().payload) for _ in range(100)], list(range(100)))
        writing.result()


class ClientWriters(ServerWriters):
    """The same for a client."""

    client = True


class ServerQueue(ConnCase):
    """send_nowait to a peer that never reads."""

    def _fill(self, conn, size: int = 50_000, most: int = 1000) -> int:
        """Post until a post is refused; returns how many were taken."""
        for taken in range(most):
            if not conn.send_nowait(str(taken).ljust(size)):
                return taken
        raise AssertionError("the queue takes everything")

    def test_overflow_that_closes(self) -> None:
        """overflow="close": the end is 1013 for every call, and the socket is cut within close_timeout."""
        conn, _ = self.peer(buffer=_BUFFER, close_timeout=0.2)
        reading = self.start_reading(conn)
        with self.assertLogs("syncws.conn", "INFO"):
            self._fill(conn)
        end = self.assert_ends(lambda: conn.send_nowait("x"), 1013, CloseError)
        self.assertTrue(conn.closed)
        assert_same_end(self, reading.error(SOON), end)
        for call in (lambda: conn.send("x"), conn.receive, conn.ping):
            assert_same_end(self, self.assert_ends(call, 1013, CloseError), end)
        self.assertIn("send queue full", str(end))
        self.assert_released(conn)
        conn.close()

    def test_overflow_and_a_peer_that_wakes_up(self) -> None:
        """The reader gets the end at once; a peer that reads again within close_timeout finds our close, with 1013."""
        conn, peer = self.peer(buffer=_BUFFER, close_timeout=60)
        reading = self.start_reading(conn)
        with self.assertLogs("syncws.conn", "INFO"):
            self._fill(conn)
        assert_same_end(self, reading.error(), conn.end)
        while (frame := peer.receive_frame()).opcode != CLOSE:
            pass
        self.assertEqual(frame.payload, format_close_message(1013, "send queue full"))
        peer.socket.close()
        conn.close()

    def test_what_waits_at_the_end_is_dropped(self) -> None:
        """Messages that waited when the connection ended count as dropped."""
        conn, _ = self.peer(buffer=_BUFFER)
        conn.send_nowait(bytes(8 << 20))
        for _ in range(5):
            self.assertTrue(conn.send_nowait(b"waits"))
        self.assertEqual((conn.queued[0], conn.dropped), (5, 0))
        conn.close_now()
        self.assertEqual((conn.queued[0], conn.dropped), (0, 5))

    def test_what_waits_when_the_peer_closes_is_dropped(self) -> None:
        """What waited as the peer's close arrived does not leave any more: our close answers it at once."""
        conn, peer = self.peer()
        with self.busy_wire(conn):
            conn.send_nowait("waits")
            conn.ping(b"waits")
            peer.close(4000)
            self.assert_ends(conn.receive, 4000, CloseError)
            self.assertEqual((conn.queued[0], conn.dropped), (0, 1))
        self.assertEqual(peer.receive_close()[0], 4000)

    def test_what_waits_after_a_dismissal_is_dropped_by_the_cut(self) -> None:
        """What was kept so that it might still leave counts as dropped once the connection is cut."""
        conn, _ = self.peer()
        with self.busy_wire(conn):
            conn.send_nowait("waits")
            conn._end_without_peer(1000, "")
            self.assertEqual((conn.queued[0], conn.dropped), (1, 0))
            conn.close_now()
        self.assertEqual((conn.queued[0], conn.dropped), (0, 1))

    def test_other_limits(self) -> None:
        """set_send_queue changes the limits that it is given, from the next message on; invalid ones are refused."""
        conn, _ = self.peer(buffer=_BUFFER)
        conn.send_nowait(bytes(8 << 20))
        conn.set_send_queue(send_queue=2, overflow="drop_newest")
        with self.assertLogs("syncws.conn", "INFO"):
            self.assertEqual(self._fill(conn, 10), 2)
        conn.set_send_queue(send_queue=100, send_queue_bytes=50)
        frame = 16 if conn._client else 12  # of ten bytes
        self.assertEqual(self._fill(conn, 10), 50 // frame - 2)
        for limits, said in (
            ({"send_queue": 0}, "send_queue "),
            ({"send_queue_bytes": 0}, "send_queue_bytes "),
            ({"overflow": "x"}, "overflow"),
        ):
            with self.assertRaisesRegex(ValueError, said):
                conn.set_send_queue(**limits)
        conn.set_send_queue(send_queue_bytes=1000)
        self.assertTrue(conn.send_nowait("more"))

    def test_to_many(self) -> None:
        """post_to_all sends what can leave at once, and names the connections where it cannot."""
        free, far = self.pair()
        stuck, _ = self.peer(buffer=_BUFFER)
        stuck.send_nowait(bytes(8 << 20))
        over, _ = self.peer()
        over.close_now()
        compressed, other = self.pair(compression=True)
        closing, _ = self.peer()
        closing.close(timeout=0)
        busy, _ = self.peer()
        prepared = PreparedMessage(TEXT, "to many " * 20)
        with self.busy_wire(busy):
            left = post_to_all([free, stuck, over, compressed, closing, busy], prepared)
        if free._client:  # whose frames each have a mask of their own
            self.assertEqual(set(left), {free, stuck, over, compressed, closing, busy})
            return
        self.assertEqual(set(left), {stuck, over, closing, busy})
        self.assertEqual([each.receive(10) for each in (far, other)], ["to many " * 20] * 2)
        self.assertEqual(stuck.queued, (0, 0))

    def test_overflow_that_drops_the_oldest(self) -> None:
        """overflow="drop_oldest": what is queued makes room, never a frame that is partly sent; all is counted."""
        conn, peer = self.peer(buffer=_BUFFER, send_queue=10, overflow="drop_oldest")
        with self.assertLogs("syncws.conn", "INFO"):
            for number in range(500):
                self.assertTrue(conn.send_nowait(str(number).ljust(10_000)))
        self.assertLessEqual(conn.queued[0], 10)
        arrived = [int(peer.receive_frame().payload) for _ in range(500 - conn.dropped)]
        self.assertEqual((arrived[0], arrived[-1]), (0, 499))
        self.assertEqual(arrived, sorted(arrived))
        self.assertGreater(conn.dropped, 0)

    def test_overflow_that_drops_the_newest(self) -> None:
        """overflow="drop_newest": what was queued stays, the post is refused and counted; the connection lives."""
        conn, peer = self.peer(buffer=_BUFFER, send_queue=10, overflow="drop_newest")
        with self.assertLogs("syncws.conn", "INFO"):
            taken = self._fill(conn, 10_000)
            self.assertFalse(conn.send_nowait("refused"))
        self.assertEqual(conn.dropped, 2)
        self.assertEqual([int(peer.receive_frame().payload) for _ in range(taken)], list(range(taken)))
        conn.send("last")
        self.assertEqual(peer.receive_frame().payload, b"last")

    def test_limit_in_bytes(self) -> None:
        """send_queue_bytes bounds what waits; one message always fits, however large."""
        conn, peer = self.peer(buffer=_BUFFER, send_queue_bytes=30_000, overflow="drop_newest")
        conn.send_nowait(bytes(8 << 20))  # the socket is full, and its rest is no longer in the queue
        with self.assertLogs("syncws.conn", "INFO"):
            self.assertTrue(conn.send_nowait(bytes(100_000)))
            self.assertFalse(conn.send_nowait(b"x"))
        self.assertEqual([len(peer.receive_frame().payload) for _ in range(2)], [8 << 20, 100_000])

    def test_posts_return_at_once(self) -> None:
        """A post to a peer that never reads costs nothing but memory, with a writer stuck as well."""
        conn, _ = self.peer(buffer=_BUFFER)
        writing = self.start_stuck_write(conn)
        self.start(lambda: [conn.send_nowait("x") for _ in range(100)]).result()
        self.assertEqual(conn.queued[0], 100)
        conn.close_now()
        writing.error()

    def test_queue_drains_by_itself(self) -> None:
        """Frames that wait leave as soon as the peer reads, without a further call; the latest pong and ping first."""
        conn, peer = self.peer(buffer=_BUFFER, send_queue_bytes=1 << 30)
        for number in range(100):
            self.assertTrue(conn.send_nowait(f"{number} ".ljust(50_000)))
        self.assertGreater(conn.queued[0], 0)
        self.assertEqual([int(peer.receive_frame().payload) for _ in range(100)], list(range(100)))
        self.assertTrue(await_(lambda: conn.queued == (0, 0)))


class ClientQueue(ServerQueue):
    """The same for a client."""

    client = True


class ServerCompression(ConnCase):
    """Whether and how messages are compressed."""

    def _sent(self, conn, peer, data: str = "x" * 1000) -> bool:
        """Send a message each way; whether they arrived compressed."""
        flags = set()
        for write in (
            conn.send,
            conn.send_nowait,
            lambda text: conn.write_prepared(PreparedMessage(TEXT, text)),
            lambda text: self._stream(conn, text),
        ):
            write(data)
            frame = peer.receive_frame()
            self.assertEqual((inflate(frame.payload) if frame.rsv1 else frame.payload).decode(), data)
            flags.add(frame.rsv1)
        self.assertEqual(len(flags), 1)
        return flags.pop()

    def _stream(self, conn, text: str) -> None:
        with conn.next_writer(TEXT) as writer:
            writer.write(text)

    def test_only_where_it_was_agreed_on(self) -> None:
        """Without an agreement nothing is compressed, whatever is enabled."""
        conn, peer = self.peer()
        conn.enable_write_compression(True)
        conn.set_compression_level(9)
        self.assertFalse(conn.compression)
        self.assertFalse(self._sent(conn, peer))

    def test_enable_and_disable(self) -> None:
        """Compression can be turned off and on for the messages that follow; it is on at first."""
        conn, peer = self.peer(compression=True)
        self.assertTrue(conn.compression)
        for enabled in (True, False, True):
            conn.enable_write_compression(enabled)
            self.assertEqual(self._sent(conn, peer), enabled)

    def test_level(self) -> None:
        """Every level from -2 to 9 works, for the messages that follow."""
        conn, peer = self.peer(compression=True)
        text = "".join(random.Random(4).choices("abcdefgh", weights=(50, 20, 10, 5, 5, 4, 3, 3), k=20_000))
        sizes = {}
        for level in range(-2, 10):
            conn.set_compression_level(level)
            if level == 0:
                self.assertFalse(self._sent_whole(conn, peer, text).rsv1)  # stored blocks are longer: it goes plain
                continue
            frame = self._sent_whole(conn, peer, text)
            self.assertTrue(frame.rsv1)
            sizes[level] = len(frame.payload)
        self.assertLess(sizes[9], sizes[1])

    def _sent_whole(self, conn, peer, text: str):
        conn.send(text)
        return peer.receive_frame()

    def test_growth_goes_plain(self) -> None:
        """Unlike gorilla, a message that would grow is sent as it is; so is an empty one."""
        conn, peer = self.peer(compression=True)
        for data in (b"", b"x", random.Random(5).randbytes(5000)):
            conn.send(data)
            self.assertEqual(peer.receive_frame()[1:], (data, True, False))

    def test_threshold(self) -> None:
        """Messages below the threshold are sent as they are."""
        conn, peer = self.peer(compression=True)
        conn._outbound._threshold = 100
        self.assertFalse(self._sent(conn, peer, "x" * 99))
        self.assertTrue(self._sent(conn, peer, "x" * 100))

    def test_control_frames_are_never_compressed(self) -> None:
        """Control frames go plain, prepared ones too."""
        conn, peer = self.peer(compression=True)
        conn.write_control(PING, b"x" * 100)
        conn.write_prepared(PreparedMessage(PONG, b"x" * 100))
        conn.write_control(CLOSE, format_close_message(1000, "x" * 100))
        self.assertEqual([peer.receive_frame().rsv1 for _ in range(3)], [False] * 3)

    def test_messages_do_not_depend_on_each_other(self) -> None:
        """No context is kept: each message inflates by itself, and equal ones are equal on the wire."""
        conn, peer = self.peer(compression=True)
        payloads = {self._sent_whole(conn, peer, "equal" * 50).payload for _ in range(3)}
        self.assertEqual(len(payloads), 1)
        self.assertEqual(inflate(payloads.pop()), b"equal" * 50)

    def test_peer_that_only_reads_plain(self) -> None:
        """Compression of this side's messages does not affect those that arrive, and vice versa."""
        conn, peer = self.peer(compression=True)
        conn.enable_write_compression(False)
        peer.send_frame(TEXT, deflate(b"squeezed"), rsv1=True)
        self.assertEqual(conn.receive(), "squeezed")


class ClientCompression(ServerCompression):
    """The same for a client."""

    client = True


class ServerPrepared(ConnCase):
    """write_prepared."""

    def test_same_frames_as_write_message(self) -> None:
        """A prepared message is what write_message sends: one frame, the same payload."""
        for compression in (False, True):
            conn, peer = self.peer(compression=compression)
            for level in (1, 9):
                conn.set_compression_level(level)
                for kind, data in ((TEXT, "text" * 50), (BINARY, b"bytes" * 1000), (PING, b"p"), (PONG, b"q")):
                    conn.write_message(kind, data)
                    conn.write_prepared(PreparedMessage(kind, data))
                    self.assertEqual(peer.receive_frame(), peer.receive_frame())

    def test_data_is_copied(self) -> None:
        """The data is copied, so the caller may change its buffer."""
        conn, peer = self.peer()
        data = bytearray(b"before")
        prepared = PreparedMessage(BINARY, data)
        data[:] = b"after!"
        conn.write_prepared(prepared)
        self.assertEqual(peer.receive_frame().payload, b"before")

    def test_bad_messages_are_refused_when_prepared(self) -> None:
        """Unlike gorilla, a message that may not be sent is refused when it is prepared, each time."""
        for kind, data in ((PING, bytes(126)), (7, b""), (CLOSE, b"\x03"), (CLOSE, (1005).to_bytes(2))):
            for _ in range(2):
                with self.assertRaises(ValueError):
                    PreparedMessage(kind, data)
        with self.assertRaises(TypeError):
            PreparedMessage(TEXT, b"bytes")

    def test_one_message_for_many_connections(self) -> None:
        """Unlike gorilla, one object serves all connections and threads; it is compressed once for each level in
        use, and not at all for a plain one."""
        prepared = PreparedMessage(TEXT, "shared" * 100)
        plain, plain_peer = self.peer()
        conns = [self.peer(compression=True) for _ in range(3)]
        conns[2][0].set_compression_level(9)
        tasks = [self.start(conn.write_prepared, prepared) for conn, _ in [*conns, (plain, plain_peer)] * 3]
        for task in tasks:
            task.result()
        for _, peer in conns:
            self.assertEqual([inflate(peer.receive_frame().payload) for _ in range(3)], [b"shared" * 100] * 3)
        self.assertEqual(plain_peer.receive_frame().payload, b"shared" * 100)
        plain.set_compression_level(5)
        plain.write_prepared(prepared)
        self.assertEqual(set(prepared._payloads), {None, (1, 15), (9, 15)})

    def test_prepared_close(self) -> None:
        """A prepared close frame closes like any other: later writes are refused."""
        conn, peer = self.peer()
        conn.write_prepared(PreparedMessage(CLOSE, format_close_message(1001, "bye")))
        self.assertEqual(peer.receive_close(), (1001, "bye"))
        self.assertRaises(CloseSentError, conn.send, "x")


class ClientPrepared(ServerPrepared):
    """The same for a client."""

    client = True
