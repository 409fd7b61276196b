"""streams.py: reading and writing one message piece by piece, and what remains when a piece fails."""

from __future__ import annotations

import io
import unittest

from syncws._frames.streams import MessageReader, MessageWriter, join_messages
from syncws.errors import CloseError, MessageType, ReadTimeout, WriteTimeout
from syncws.testing import LeakChecks, pair

TEXT, BINARY = MessageType.TEXT, MessageType.BINARY


class Source:
    """Where a MessageReader gets its pieces: a script of bytes and of exceptions to raise."""

    def __init__(self, *script):
        self.script = list(script)

    def __call__(self, reader):
        item = self.script.pop(0)
        if isinstance(item, Exception):
            raise item
        reader.supply(item, not self.script)

    def reader(self, kind=BINARY):
        return MessageReader(kind, self)


def reader_of(*script, kind=BINARY):
    """A reader of a message that arrives in these pieces."""
    return Source(*script).reader(kind)


class TestMessageReader(unittest.TestCase):
    """A raw stream of io's, over the pieces of one message."""

    def test_reads_what_is_there(self):
        """read(n) returns what has arrived, at most n bytes, and waits only when there is nothing."""
        reader = reader_of(b"hello", b"", b" world")
        self.assertEqual([reader.read(3) for _ in range(5)], [b"hel", b"lo", b" wo", b"rld", b""])

    def test_reads_all(self):
        """read() waits for the end of the message; before it, in the middle of it, and again at its end."""
        self.assertEqual(reader_of(b"hello", b" ", b"world").read(), b"hello world")
        reader = reader_of(b"hello", b" world", b"!")
        self.assertEqual(reader.read(2), b"he")
        self.assertEqual(reader.read(), b"llo world!")
        self.assertEqual([reader.read(), reader.read(1), reader.readall()], [b"", b"", b""])

    def test_empty_message(self):
        """An empty message is at its end at once."""
        self.assertEqual(reader_of(b"").read(1), b"")
        self.assertEqual(reader_of(b"").read(), b"")

    def test_repr(self):
        """The repr tells the type of the message and what is left of it."""
        reader = reader_of(b"one", b"two")
        self.assertRegex(repr(reader), r"^<syncws\.MessageReader [A-Z]+ open>$")
        reader.read()
        self.assertIn("complete", repr(reader))
        reader.close()
        self.assertIn("closed", repr(reader))

    def test_reading_nothing(self):
        """read(0) waits for nothing."""
        self.assertEqual(reader_of(AssertionError("waited")).read(0), b"")

    def test_supplied_by_the_connection(self):
        """The piece that opened the reader comes first; a message of one piece never asks for more."""
        reader = reader_of(AssertionError("asked"))
        reader.supply(b"whole", True)
        self.assertEqual(reader.read(), b"whole")
        reader = reader_of(b" world")
        reader.supply(b"hello", False)
        self.assertEqual(reader.read(), b"hello world")

    def test_readinto(self):
        """readinto fills buffers of any kind of item, without a copy in between."""
        reader = reader_of(b"12345678", b"9")
        buffer = bytearray(4)
        self.assertEqual((reader.readinto(buffer), buffer), (4, b"1234"))
        words = memoryview(bytearray(8)).cast("H")
        self.assertEqual((reader.readinto(words), bytes(words)), (4, b"5678\0\0\0\0"))
        self.assertEqual((reader.readinto(buffer), buffer), (1, b"9234"))
        self.assertEqual(reader.readinto(buffer), 0)

    def test_a_timeout_loses_nothing(self):
        """A read that times out in the middle, read() too, leaves all that came for the next."""
        reader = reader_of(b"one ", b"two ", ReadTimeout(), b"three", ReadTimeout(), b" four")
        for read in (reader.read, reader.readall):
            with self.assertRaises(ReadTimeout):
                read()
        self.assertEqual(reader.read(), b"one two three four")

    def test_a_timeout_of_a_single_read(self):
        """read(n) that times out has taken nothing."""
        reader = reader_of(ReadTimeout(), b"late")
        with self.assertRaises(ReadTimeout):
            reader.read(4)
        self.assertEqual(reader.read(4), b"late")

    def test_the_end_of_the_connection(self):
        """A connection that ends in the middle of the message raises its end; what came before can be read."""
        end = CloseError(1006)
        reader = reader_of(b"half", end)
        self.assertEqual(reader.read(10), b"half")
        with self.assertRaises(CloseError) as caught:
            reader.read()
        self.assertIs(caught.exception, end)

    def test_abandoned(self):
        """Once the next message was asked for, the old reader is at its end and asks the connection for nothing."""
        reader = reader_of(AssertionError("asked"))
        reader.supply(b"the beginning", False)
        reader.abandon()
        self.assertEqual([reader.read(5), reader.read(), reader.readall()], [b"", b"", b""])

    def test_closed(self):
        """Reading a closed reader is io's ValueError; closing it twice is nothing."""
        reader = reader_of(b"data")
        reader.close()
        reader.close()
        for read in (reader.read, lambda: reader.read(1), lambda: reader.readinto(bytearray(1)), reader.readline):
            with self.assertRaises(ValueError):
                read()

    def test_is_a_raw_stream(self):
        """It is what io expects: readable, not writable, not seekable, and its type is known."""
        reader = reader_of(b"", kind=TEXT)
        self.assertIsInstance(reader, io.RawIOBase)
        self.assertEqual((reader.readable(), reader.writable(), reader.seekable()), (True, False, False))
        self.assertIs(reader.message_type, TEXT)

    def test_text_wrapper(self):
        """TextIOWrapper decodes it, characters cut by pieces included, line by line or at once."""
        encoded = "grüße\nαβγ\n𝄞".encode()
        for size in (1, 2, 3, 100):
            chunks = [encoded[i : i + size] for i in range(0, len(encoded), size)]
            self.assertEqual(io.TextIOWrapper(reader_of(*chunks), "utf-8").read(), "grüße\nαβγ\n𝄞")
            lines = list(io.TextIOWrapper(reader_of(*chunks), "utf-8"))
            self.assertEqual(lines, ["grüße\n", "αβγ\n", "𝄞"])

    def test_buffered_reader(self):
        """gorilla's TestBufioReadBytes: a line reader over a message that is longer than its buffer."""
        message = b"".join(b"line %d of the message\n" % i for i in range(1000))
        chunks = [message[i : i + 77] for i in range(0, len(message), 77)]
        buffered = io.BufferedReader(reader_of(*chunks), 128)
        self.assertEqual(list(buffered), message.splitlines(keepends=True))


class Sink:
    """Where a MessageWriter's message goes: a record of what it was told, and failures on demand."""

    def __init__(self, **failures):
        self.told = []
        self.failures = failures  # name: exception to raise the first time

    def whole(self, payload):
        self.note("whole", payload)

    def fragment(self, payload, final):
        self.note("last" if final else "fragment", payload)

    def flush(self, payload):
        self.note("flushed", payload)

    def release(self):
        self.note("release")

    def cut(self):
        self.note("cut")

    def note(self, *what):
        if what[0] in self.failures:
            raise self.failures.pop(what[0])
        self.told.append(what if len(what) > 1 else what[0])


class TestMessageWriter(unittest.TestCase):
    """Pieces become a whole message or fragments; the message ends once, well or not at all."""

    def open(self, kind=BINARY, size=8, **failures):
        self.sink = Sink(**failures)
        return MessageWriter(kind, size, self.sink)

    def assert_told(self, *told):
        self.assertEqual(self.sink.told, list(told))

    def test_a_small_message_is_one_frame(self):
        """What fits into the buffer leaves as one whole message when the block ends (as in gorilla)."""
        with self.open() as writer:
            self.assertEqual([writer.write(b"12"), writer.write(b""), writer.write(b"345678")], [2, 0, 6])
            self.assert_told()
        self.assert_told(("whole", b"12345678"), "release")
        self.assertTrue(writer.closed)

    def test_flush(self):
        """What was written leaves; a flush that fails ends the message as a fragment does that fails."""
        with self.open() as writer:
            writer.flush()
            writer.write(b"12")
            writer.flush()
            writer.write(b"3")
        self.assert_told(("flushed", b"12"), ("last", b"3"), "release")
        writer = self.open(flushed=KeyError("lost"))
        writer.write(b"12")
        with self.assertRaises(KeyError):
            writer.flush()
        self.assert_told("release")
        self.assertTrue(writer.closed)

    def test_what_io_asks(self):
        """It is written only, from its beginning to its end."""
        with self.open() as writer:
            self.assertEqual((writer.writable(), writer.readable(), writer.seekable()), (True, False, False))

    def test_repr(self):
        """The repr tells the type of the message and whether it is over."""
        with self.open() as writer:
            self.assertEqual(repr(writer), "<syncws.MessageWriter BINARY open>")
        self.assertEqual(repr(writer), "<syncws.MessageWriter BINARY closed>")

    def test_an_empty_message(self):
        """A block without a write sends an empty message (as in gorilla)."""
        with self.open() as writer:
            self.assertFalse(writer.closed)
        self.assert_told(("whole", b""), "release")

    def test_fragments(self):
        """A full buffer leaves when more arrives; a large piece leaves with what was before it; the end is final."""
        for pieces, told in (
            ((b"12345678", b"9"), [("fragment", b"12345678"), ("last", b"9")]),
            ((b"12345", b"67890"), [("fragment", b"12345678"), ("last", b"90")]),
            ((b"12345678", b"12345678"), [("fragment", b"12345678" * 2), ("last", b"")]),
            ((b"x" * 20,), [("fragment", b"x" * 20), ("last", b"")]),
            ((b"123", b"x" * 20, b"45"), [("fragment", b"123" + b"x" * 20), ("last", b"45")]),
            ((b"1",) * 17, [("fragment", b"1" * 8)] * 2 + [("last", b"1")]),
        ):
            with self.subTest(pieces=pieces):
                with self.open() as writer:
                    for piece in pieces:
                        self.assertEqual(writer.write(piece), len(piece))
                self.assert_told(*told, "release")

    def test_nothing_is_lost_at_any_size(self):
        """Whatever the sizes of buffer and pieces, the frames put together are the message."""
        message = bytes(range(256)) * 2
        for size in (1, 2, 7, 64, 511, 512, 513):
            for piece in (1, 3, 63, 64, 65, 512):
                with self.open(size=size) as writer:
                    for start in range(0, len(message), piece):
                        writer.write(message[start : start + piece])
                payloads = [what[1] for what in self.sink.told if what != "release"]
                self.assertEqual(b"".join(payloads), message)
                self.assertEqual(self.sink.told[-2][0], "whole" if len(payloads) == 1 else "last")

    def test_kinds_of_bytes(self):
        """bytes, bytearray and memoryview are written, and copied: the caller may change them at once."""
        data = bytearray(b"ab")
        with self.open() as writer:
            writer.write(data)
            data[:] = b"??"
            self.assertEqual(writer.write(memoryview(b"c_d_")[::2]), 2)
        self.assert_told(("whole", b"abcd"), "release")

    def test_text(self):
        """TEXT takes str, and bytes that are UTF-8, which may be cut inside a character between two writes."""
        with self.open(TEXT, 100) as writer:
            self.assertEqual(writer.write("grüß"), 6)
            self.assertEqual([writer.write(b"\xe2\x82"), writer.write(b"\xac")], [2, 1])
        self.assert_told(("whole", "grüß€".encode()), "release")

    def test_wrong_data(self):
        """Data of the wrong kind raises and adds nothing; the writer can be used on."""
        for kind, data, error in (
            (BINARY, "text", TypeError),
            (BINARY, 5, TypeError),
            (BINARY, None, TypeError),
            (TEXT, ["text"], TypeError),
            (TEXT, b"\xff", ValueError),
            (TEXT, b"ok \xff", ValueError),
            (TEXT, "\ud800", ValueError),
        ):
            with self.subTest(data=data), self.open(kind) as writer:
                with self.assertRaises(error):
                    writer.write(data)
                writer.write(b"good")
            self.assert_told(("whole", b"good"), "release")

    def test_a_cut_character_is_remembered_over_an_error(self):
        """After bytes that end inside a character only its rest is valid, a str too is not."""
        with self.open(TEXT) as writer:
            writer.write(b"\xe2\x82")
            with self.assertRaises(ValueError):
                writer.write("a")
            writer.write(b"\xac")
        self.assert_told(("whole", "€".encode()), "release")

    def test_text_that_ends_inside_a_character(self):
        """Such a message does not leave: dropped if nothing had, cut if fragments had."""
        writer = self.open(TEXT)
        writer.write(b"\xe2\x82")
        with self.assertRaisesRegex(ValueError, "in the middle of a UTF-8 character"):
            writer.close()
        writer.close()  # it is over all the same
        self.assert_told("release")
        writer = self.open(TEXT)
        writer.write(b"12345678\xe2\x82")
        with self.assertRaises(ValueError):
            writer.close()
        self.assert_told(("fragment", b"12345678\xe2\x82"), "cut", "release")

    def test_close_is_idempotent_and_write_is_not(self):
        """A second close does nothing, a write after it raises (unlike gorilla)."""
        writer = self.open()
        for _ in range(3):
            writer.close()
            writer.discard()
        self.assert_told(("whole", b""), "release")
        with self.assertRaisesRegex(ValueError, "closed message"):
            writer.write(b"more")

    def test_an_exception_in_the_block_before_anything_left(self):
        """The message is dropped: the peer sees nothing of it (gorilla sends it)."""
        with self.assertRaises(ZeroDivisionError), self.open() as writer:
            writer.write(b"half")
            raise ZeroDivisionError
        self.assert_told("release")
        self.assertTrue(writer.closed)

    def test_an_exception_in_the_block_after_a_fragment(self):
        """The connection is failed, since a cut message must not look whole."""
        for exception in (ZeroDivisionError, KeyboardInterrupt):
            with self.assertRaises(exception), self.open() as writer:
                writer.write(b"123456789")
                raise exception
            self.assert_told(("fragment", b"123456789"), "cut", "release")

    def test_the_first_fragment_cannot_be_sent(self):
        """Nothing has left, so the message is dropped; the rest must not go out as a continuation of nothing."""
        writer = self.open(fragment=WriteTimeout())
        with self.assertRaises(WriteTimeout):
            writer.write(b"123456789")
        self.assert_told("release")
        with self.assertRaisesRegex(ValueError, "closed message"):
            writer.write(b"and on")
        writer.close()
        self.assert_told("release")

    def test_a_later_fragment_cannot_be_sent(self):
        """The message has a hole then: the connection is failed, whether the error was caught or not."""
        for rest in (b"89", b"9" * 20):
            writer = self.open()
            writer.write(b"12345678" * 2)
            writer.write(b"1234567")
            self.sink.failures["fragment"] = WriteTimeout()
            with self.assertRaises(WriteTimeout):
                writer.write(rest)
            self.assertTrue(writer.closed)
            self.assert_told(("fragment", b"12345678" * 2), "cut", "release")

    def test_the_end_cannot_be_sent(self):
        """A message without its last fragment would swallow the next: the connection is failed."""
        writer = self.open(last=WriteTimeout())
        writer.write(b"123456789")
        with self.assertRaises(WriteTimeout):
            writer.close()
        self.assert_told(("fragment", b"123456789"), "cut", "release")
        writer = self.open(whole=WriteTimeout())
        writer.write(b"1")
        with self.assertRaises(WriteTimeout):
            writer.close()
        self.assert_told("release")

    def test_released_even_if_the_cut_fails(self):
        """The next message never waits for this one for ever."""
        writer = self.open(cut=OSError())
        writer.write(b"123456789")
        with self.assertRaises(OSError):
            writer.discard()
        self.assert_told(("fragment", b"123456789"), "release")
        self.assertTrue(writer.closed)


class TestThroughAConnection(LeakChecks):
    """Both streams, on a real pair of connections."""

    def test_reader_and_writer(self):
        """What one side writes in pieces the other reads as a stream, text and binary, compressed or not."""
        for compression in (False, True):
            with pair(compression=compression, write_buffer_size=10) as (server, client):
                with client.next_writer(TEXT) as writer:
                    for word in ("αβγ ", "is ", "as simple as ", "one two three"):
                        writer.write(word)
                with client.next_writer(BINARY) as writer:
                    writer.write(bytes(1000))
                reader = server.next_reader()
                self.assertIs(reader.message_type, TEXT)
                self.assertEqual(io.TextIOWrapper(reader, "utf-8").read(), "αβγ is as simple as one two three")
                reader = server.next_reader()
                self.assertEqual((reader.message_type, reader.read()), (BINARY, bytes(1000)))

    def test_join_messages(self):
        """As in gorilla's TestJoinMessages: all messages, the term after each, and then the end itself."""
        for term, joined in ((b"", b"abc\xe2\x82\xac"), (b"|", b"a||bc|\xe2\x82\xac|")):
            with pair(ping_interval=None) as (server, client):
                for message in ("a", "", b"bc", "€"):
                    client.send(message)
                client.close(timeout=0)
                stream = b""
                with self.assertRaises(CloseError) as caught:
                    for piece in join_messages(server, term):
                        stream += piece
                self.assertEqual((stream, caught.exception.code), (joined, 1000))


if __name__ == "__main__":
    unittest.main()
