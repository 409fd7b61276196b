"""lanes.py: the same bytes give the same events in all lanes, within the limits, and nothing is kept."""

from __future__ import annotations

import tracemalloc
import unittest

from syncws._frames.deflate import wire_limit
from syncws._frames.partial import IN_PLACE
from syncws.errors import ProtocolError, ReadLimitError
from tests.frames.cases import (
    BINARY,
    CLOSE,
    CONTINUATION,
    LETTERS,
    PING,
    PONG,
    ROLE_NAMES,
    ROLES,
    TEXT,
    ProtocolTestCase,
    chunked,
    cut_at,
    cut_at_random,
    deflated,
    drain,
    frame,
    outcome,
    outcome_in_place,
    pieces,
    protocol,
    server,
    some_cuts,
)
from tests.runner.marks import exact


class TestLanes(ProtocolTestCase):
    """Everything a good peer can say: the same events in each role and with each cut."""

    def conversation(self, client):
        """(bytes, events): each kind of frame, in an order in which every lane follows every other."""
        story = [
            ((TEXT, "whole"), (TEXT, "whole")),
            ((BINARY, b"\x00\xff\x80"), (BINARY, b"\x00\xff\x80")),
            ((PING, b"are you there"), (PING, b"are you there")),
            ((TEXT, LETTERS), (TEXT, LETTERS)),
            ((TEXT, ""), (TEXT, "")),
            ((BINARY, b""), (BINARY, b"")),
            ((PONG, b""), (PONG, b"")),
            ((TEXT, LETTERS.encode()[:2], {"fin": False}), None),  # in the middle of a character
            ((PING, b"between"), (PING, b"between")),
            ((CONTINUATION, LETTERS.encode()[2:5], {"fin": False}), None),
            ((CONTINUATION, b"", {"fin": False}), None),
            ((PONG, b"between, too"), (PONG, b"between, too")),
            ((CONTINUATION, LETTERS.encode()[5:]), (TEXT, LETTERS)),
            ((BINARY, b"x" * 130), (BINARY, b"x" * 130)),
            ((TEXT, deflated("squeezed " * 9), {"rsv": 4}), (TEXT, "squeezed " * 9)),
            ((BINARY, b"plain though compression is agreed on"), (BINARY, b"plain though compression is agreed on")),
            ((BINARY, deflated(b"z" * 400)[:5], {"rsv": 4, "fin": False}), None),
            ((PING, b"between the fragments of a compressed message"),) * 2,
            ((CONTINUATION, deflated(b"z" * 400)[5:], {"fin": False}), None),
            ((CONTINUATION, b""), (BINARY, b"z" * 400)),
            ((BINARY, b"", {"fin": False}), None),
            ((CONTINUATION, b""), (BINARY, b"")),
            ((TEXT, deflated(""), {"rsv": 4}), (TEXT, "")),
            ((TEXT, "the last word"), (TEXT, "the last word")),
            ((CLOSE, (1000).to_bytes(2) + b"bye"), (CLOSE, (1000, "bye"))),
        ]
        data = b"".join(frame(said[0], said[1], to=client, **(said[2] if len(said) > 2 else {})) for said, _ in story)
        return data, [event for _, event in story if event is not None]

    def test_cut_at_every_offset(self):
        """All lanes, both roles: the events do not depend on the one place where the stream is cut."""
        for client in ROLES:
            data, events = self.conversation(client)
            for place in range(len(data) + 1):
                got = outcome(protocol(client, compression=True), cut_at(data, place))
                self.assertEqual(got, events, f"{ROLE_NAMES[client]}, cut at {place}")

    def test_cut_everywhere_and_anywhere(self):
        """All at once, one byte at a time, and 200 random cuts give the same events."""
        for client in ROLES:
            data, events = self.conversation(client)
            for chunks in some_cuts(data, self.random, 200):
                got = outcome(protocol(client, compression=True), chunks)
                self.assertEqual(got, events, f"{ROLE_NAMES[client]}, {list(map(len, chunks))}")

    def test_early_data(self):
        """What came behind the handshake is given to the constructor, and is read first."""
        for client in ROLES:
            data, events = self.conversation(client)
            for place in range(0, len(data), 7):
                early = protocol(client, compression=True, data=data[:place])
                got = drain(early) + outcome(early, [data[place:]])
                self.assertEqual(got, events)

    def test_reading_without_bytes(self):
        """None means that bytes are needed, as often as one asks; empty chunks change nothing."""
        for client in ROLES:
            data, events = self.conversation(client)
            lazy = protocol(client, compression=True)
            got = []
            for byte in chunked(data, 1):
                self.assertIsNone(lazy.next_event())
                lazy.receive(b"")
                lazy.receive(byte)
                got += drain(lazy)
            self.assertEqual(got, events)

    def test_framing(self):
        """Each size around where the header changes, text and binary, both roles: whole, in pieces, byte by byte."""
        for size in (0, 1, 2, 124, 125, 126, 127, 128, 129, 65534, 65535, 65536, 65537, 1 << 17):
            binary = self.random.randbytes(size)
            text = "".join(self.random.choices("abcdefghij", k=size))
            for client in ROLES:
                for kind, message in ((BINARY, binary), (TEXT, text)):
                    data = frame(kind, message, to=client)
                    # Byte by byte where it may matter: the header, and the first and last bytes of a large payload.
                    by_byte = chunked(data, 1) if size < 200 else cut_at(data, *range(40), *range(size - 9, len(data)))
                    for chunks in ([data], by_byte, chunked(data, 1000), cut_at_random(data, self.random)):
                        with self.subTest(size=size, role=ROLE_NAMES[client], kind=kind.name, chunks=len(chunks)):
                            self.assertEqual(outcome(protocol(client), chunks), [(kind, message)])

    def test_received_in_place(self):
        """A large frame is received straight into its place, both kinds, both roles, whatever arrives at a time."""
        binary = self.random.randbytes((1 << 19) + 5)
        text = "".join(self.random.choices(LETTERS, k=1 << 17))
        for client in ROLES:
            for kind, message in ((BINARY, binary), (TEXT, text)):
                data = frame(kind, message, to=client) + frame(PING, b"next", to=client)
                for size in (IN_PLACE, IN_PLACE + 14, 100_001, len(data) // 2, len(data)):
                    with self.subTest(role=ROLE_NAMES[client], kind=kind.name, size=size):
                        events, in_place = outcome_in_place(protocol(client), data, size)
                        self.assertEqual(events, [(kind, message), (PING, b"next")])
                        self.assertEqual(in_place > 0, size < len(data))

    def test_no_place_for_small_frames(self):
        """Below 64 KiB there is no destination: a copy costs less than a second way of receiving."""
        small = server()
        self.assertIsNone(small.destination())
        small.receive(frame(BINARY, bytes(1000), to=False)[:900])
        self.assertIsNone(small.next_event())
        self.assertIsNone(small.destination())

    def test_receive_after_a_destination_was_offered(self):
        """A destination that was not used does no harm."""
        data = frame(BINARY, self.random.randbytes(600_000), to=False)
        either = server()
        either.receive(data[:100_000])
        self.assertIsNone(either.next_event())
        with either.destination() as room:
            self.assertGreater(len(room), 1000)
        either.receive(data[100_000:100_010])
        self.assertIsNone(either.next_event())
        with either.destination() as room:
            count = len(room)
            room[:] = data[100_010 : 100_010 + count]
        either.received(count)
        self.assertIsNone(either.next_event())
        [(kind, message)] = outcome(either, [data[100_010 + count :]])
        self.assertEqual((kind, len(message)), (BINARY, 600_000))
        self.assertEqual(frame(BINARY, message, to=False), data)

    def test_raw(self):
        """With raw, TEXT comes as UTF-8 bytes, from every lane."""
        whole, fragments = "ß" * 50, ["ß".encode()[:1], "ß".encode()[1:]]
        data = frame(TEXT, whole, to=False)
        data += frame(TEXT, fragments[0], to=False, fin=False) + frame(CONTINUATION, fragments[1], to=False)
        for chunks in ([data], chunked(data, 60), chunked(data, 1)):
            raw = server()
            events = []
            for chunk in chunks:
                raw.receive(chunk)
                while (event := raw.next_event(raw=True)) is not None:
                    events.append(event)
            self.assertEqual(events, [(TEXT, whole.encode()), (TEXT, "ß".encode())])

    def test_types(self):
        """TEXT is str, BINARY and the payloads of pings are bytes: not bytearray, which callers could not hash."""
        for client in ROLES:
            data, events = self.conversation(client)
            for chunks in ([data], chunked(data, 1)):
                got = outcome(protocol(client, compression=True), chunks)
                self.assertEqual([type(data) for _, data in got], [type(data) for _, data in events])

    def test_nothing_counts_after_a_close(self):
        """RFC 6455 section 5.5.1: what a peer sends after its close is not looked at, be it good, bad or plenty."""
        close = frame(CLOSE, (1001).to_bytes(2), to=False)
        rests = {
            "a message": frame(TEXT, "too late", to=False),
            "bad bytes": b"\xff" * 100,
            "20,000 pings": frame(PING, b"", to=False) * 20_000,
            "a second close": close,
        }
        for name, rest in rests.items():
            for chunks in ([close + rest], [close, rest], chunked(close + rest, 999)):
                with self.subTest(name):
                    closed = server()
                    self.assertEqual(outcome(closed, chunks), [(CLOSE, (1001, ""))])
                    self.assertIsNone(closed.next_event())
                    self.assertIsNone(closed.next_piece())

    def test_close_inside_a_message(self):
        """A close between two fragments is the end; of the cut message only the pieces before it are handed out."""
        data = frame(TEXT, "half a mess", to=False, fin=False) + frame(CLOSE, to=False)
        for chunks in some_cuts(data, self.random):
            self.assertEqual(outcome(server(), chunks), [(CLOSE, (1005, ""))])
        ended = server()
        ended.receive(data)
        self.assertEqual(ended.next_piece(), (TEXT, b"half a mess", False))
        self.assertEqual(ended.next_piece(), (CLOSE, (1005, ""), True))
        self.assertIsNone(ended.next_piece())

    def test_close_inside_a_message_that_was_awaited_whole(self):
        """Nor are pieces handed out of a message that was awaited whole when the close came."""
        ended = server()
        ended.receive(frame(TEXT, "half a mess", to=False, fin=False))
        self.assertIsNone(ended.next_event())
        ended.receive(frame(CLOSE, to=False))
        self.assertEqual(ended.next_event(), (CLOSE, (1005, "")))
        self.assertIsNone(ended.next_piece())

    def test_close_codes_that_may_be_received(self):
        """RFC 6455 section 7.4, as in gorilla: 1000 to 1003, and IANA's 1012 to 1014; none is 1005."""
        for code in (*range(1000, 1004), *range(1007, 1015), 3000, 3999, 4000, 4999):
            payload = code.to_bytes(2) + "€".encode()
            self.assertEqual(outcome(server(), [frame(CLOSE, payload, to=False)]), [(CLOSE, (code, "€"))])
        self.assertEqual(outcome(server(), [frame(CLOSE, b"", to=False)]), [(CLOSE, (1005, ""))])

    def test_every_code(self):
        """Code 1014 (bad gateway), unknown to wsproto, and 3000 to 4999 are received with their reason."""
        for client in ROLES:
            for code in (1012, 1013, 1014, *range(3000, 5000)):
                stream = frame(CLOSE, code.to_bytes(2) + b"why", to=client)
                self.assertEqual(outcome(protocol(client), [stream]), [(CLOSE, (code, "why"))])
                self.assertEqual(
                    outcome(protocol(client), [stream[i : i + 1] for i in range(len(stream))]), [(CLOSE, (code, "why"))]
                )

    def test_refused_codes_are_told(self):
        """The error for a code that may not be sent tells that code, and the reason beside it is not lost."""
        for client in ROLES:
            for reason, told in (
                (b"", ""),
                (b"upstream is gone", ": upstream is gone"),
                (b"\xff", ": \N{REPLACEMENT CHARACTER}"),
            ):
                ((kind, code, said),) = outcome(
                    protocol(client), [frame(CLOSE, (1005).to_bytes(2) + reason, to=client)]
                )
                self.assertEqual((kind, code), (ProtocolError, 1002))
                self.assertEqual(said, f"a close frame with code 1005, which may not be sent{told}")


class TestReadLimit(ProtocolTestCase):
    """The read limit: one message, by what it declares, what it sends, and what it inflates to."""

    def over(self, size, limit):
        return f"{size} bytes are over the limit of {limit}"

    def test_exact_limit_passes_and_one_more_fails(self):
        """In every lane and both roles: at the limit is fine, one byte over it is 1009."""
        for client in ROLES:
            for limit in (1, 100, 125, 126, 1000, 70_000):
                at = frame(BINARY, bytes(limit), to=client)
                over = frame(BINARY, bytes(limit + 1), to=client)
                for chunks, bad in (([at], [over]), (chunked(at, 50), chunked(over, 50))):
                    self.assertEqual(outcome(protocol(client, read_limit=limit), chunks), [(BINARY, bytes(limit))])
                    self.assert_fails(bad, protocol(client, read_limit=limit), 1009, self.over(limit + 1, limit))

    def test_fragments_count_together(self):
        """The limit holds for a message, not for a frame; control frames between do not count."""
        ping = frame(PING, bytes(125), to=False)
        start = frame(BINARY, bytes(60), to=False, fin=False) + ping
        at, over = (frame(CONTINUATION, bytes(size), to=False) for size in (40, 41))
        for data, events in (
            (start + at, [(BINARY, bytes(100))]),
            (start + over, [(ReadLimitError, 1009, self.over(101, 100))]),
        ):
            for chunks in some_cuts(data, self.random):
                self.assertEqual(outcome(server(read_limit=100), chunks), [(PING, bytes(125)), *events])

    def test_each_message_counts_anew(self):
        """unlike gorilla, what was skipped of one message is not counted for the next."""
        one = frame(BINARY, bytes(60), to=False, fin=False) + frame(CONTINUATION, bytes(40), to=False)
        data = (one + frame(BINARY, bytes(100), to=False)) * 3
        for chunks in some_cuts(data, self.random):
            self.assertEqual(outcome(server(read_limit=100), chunks), [(BINARY, bytes(100))] * 6)
            self.assertEqual(
                sum(len(piece) for _, piece, _ in pieces(server(read_limit=100), chunks)), 600, "skipped in pieces"
            )

    def test_refused_by_the_header(self):
        """A frame is refused when its header is there, before a byte of its payload (as in gorilla)."""
        begun = frame(BINARY, b"12", to=False, fin=False)
        for header in (
            frame(BINARY, b"", to=False, length=1 << 62),
            frame(TEXT, b"", to=False, length=101),
            begun + frame(CONTINUATION, b"", to=False, length=99),
            frame(BINARY, b"", to=False, length=101, fin=False),
            frame(BINARY, b"", to=False, length=wire_limit(100) + 1, rsv=4),
            begun[:2] + begun[2:] + frame(CONTINUATION, b"", to=False, length=1 << 62, fin=False),
        ):
            for chunks in ([header], chunked(header, 1)):
                with self.assertRaises(ReadLimitError):
                    limited = server(read_limit=100, compression=True)
                    for chunk in chunks:
                        limited.receive(chunk)
                        limited.next_event()

    def test_earlier_pieces_are_delivered(self):
        """Pieces of a message that came before the fragment that is too much have been handed out."""
        limited = server(read_limit=100)
        first = frame(BINARY, bytes(90), to=False, fin=False)
        self.assertEqual(pieces(limited, [first]), [(BINARY, bytes(90), False)])
        with self.assertRaises(ReadLimitError):
            pieces(limited, [frame(CONTINUATION, bytes(20), to=False)])

    def test_no_limit(self):
        """None and 0 are no limit (gorilla's default)."""
        for limit in (None, 0):
            free = server(read_limit=limit)
            self.assertIsNone(free.read_limit)
            self.assertEqual(outcome(free, [frame(BINARY, bytes(3 << 20), to=False)]), [(BINARY, bytes(3 << 20))])

    def test_limit_changed_in_between(self):
        """A new limit holds from the next frame on, in both directions, compressed or not."""
        plain = frame(BINARY, bytes(50), to=False)
        squeezed = frame(BINARY, deflated(bytes(50)), to=False, rsv=4)
        for data in (plain, squeezed):
            limited = server(read_limit=50, compression=True)
            for limit, passes in ((50, True), (49, False), (50, True), (1, False), (0, True), (None, True), (51, True)):
                with self.subTest(limit=limit, compressed=data is squeezed):
                    limited.read_limit = limit
                    self.assertEqual(limited.read_limit, limit or None)
                    if passes:
                        self.assertEqual(outcome(limited, [data]), [(BINARY, bytes(50))])
                    else:
                        [(kind, code, _)] = outcome(limited, [data])
                        self.assertEqual((kind, code), (ReadLimitError, 1009))
                        limited = server(read_limit=50, compression=True)

    def test_limit_changed_inside_a_message(self):
        """A new limit holds for what is still to come of a compressed message whose first fragments were inflated."""
        payload = deflated(self.random.randbytes(1000))
        limited = server(read_limit=2000, compression=True)
        self.assertEqual(len(pieces(limited, [frame(BINARY, payload[:500], to=False, rsv=4, fin=False)])), 1)
        limited.read_limit = 700
        self.assertEqual(len(pieces(limited, [frame(CONTINUATION, payload[500:600], to=False, fin=False)])), 1)
        limited.receive(frame(CONTINUATION, payload[600:720], to=False, fin=False))
        with self.assertRaisesRegex(ReadLimitError, "the inflated message is over the limit of 700"):
            limited.next_piece()

    def test_limit_changed_inside_a_message_that_is_awaited_whole(self):
        """A new limit holds for the whole of a compressed message of which nothing was inflated yet."""
        payload = deflated(bytes(1000))
        limited = server(read_limit=2000, compression=True)
        self.assertEqual(outcome(limited, [frame(BINARY, payload[:5], to=False, rsv=4, fin=False)]), [])
        limited.read_limit = 700
        limited.receive(frame(CONTINUATION, payload[5:], to=False))
        with self.assertRaisesRegex(ReadLimitError, "the inflated message is over the limit of 700"):
            limited.next_event()

    def test_inflated_limit(self):
        """Compressed messages are held against the limit by what they inflate to, over all their fragments."""
        for size, passes in ((1 << 16, True), ((1 << 16) + 1, False), (1 << 20, False)):
            payload = deflated(bytes(size))
            half = len(payload) // 2
            whole = frame(BINARY, payload, to=False, rsv=4)
            fragments = frame(BINARY, payload[:half], to=False, rsv=4, fin=False)
            fragments += frame(PING, b"", to=False) + frame(CONTINUATION, payload[half:], to=False)
            for data in (whole, fragments):
                for chunks in some_cuts(data, self.random):
                    events = outcome(server(read_limit=1 << 16, compression=True), chunks)
                    events = [event for event in events if event[0] is not PING]
                    if passes:
                        self.assertEqual(events, [(BINARY, bytes(size))])
                    else:
                        reason = "the inflated message is over the limit of 65536"
                        self.assertEqual(events, [(ReadLimitError, 1009, reason)])

    def test_data_that_cannot_be_compressed(self):
        """1 MiB of random bytes, compressed, passes a limit of 1 MiB though it is longer on the wire."""
        payload = self.random.randbytes(1 << 20)
        data = frame(BINARY, deflated(payload), to=False, rsv=4)
        self.assertGreater(len(data), 1 << 20)
        got = outcome(server(read_limit=1 << 20, compression=True), chunked(data, 1 << 16))
        self.assertEqual(got, [(BINARY, payload)])

    def test_blocks_that_inflate_to_nothing(self):
        """Empty blocks inflate to nothing for ever: their bytes on the wire end them."""
        empty_block = b"\x00\x00\x00\xff\xff"
        limited = server(read_limit=100, compression=True)
        limited.receive(frame(BINARY, empty_block, to=False, rsv=4, fin=False))
        self.assertIsNone(limited.next_event())
        most = wire_limit(100) // len(empty_block)
        more = frame(CONTINUATION, empty_block, to=False, fin=False)
        self.assertEqual(outcome(limited, [more * (most - 1)]), [])
        self.assert_fails([more], limited, 1009, self.over((most + 1) * len(empty_block), 100))


class TestMemory(ProtocolTestCase):
    """Memory follows what has arrived, not what is declared, and stays within small factors of it."""

    def peak(self, work):
        """Bytes of memory at the highest, beyond what there was before."""
        tracemalloc.start()
        try:
            tracemalloc.reset_peak()
            before = tracemalloc.get_traced_memory()[0]
            work()
            return tracemalloc.get_traced_memory()[1] - before
        finally:
            tracemalloc.stop()

    def kept(self, protocol):
        """What a Protocol holds on to of what it was given, and of what it made for it."""
        names = ("_buffer", "_plain", "_compressed", "partial")
        return {name: getattr(protocol, name) for name in names if getattr(protocol, name)}

    def test_nothing_is_kept_between_messages(self):
        """Once the stream stands between two messages again neither bytes nor wsproto's and zlib's state are held."""
        for client in ROLES:
            for data in (
                frame(PING, b"p", to=client),
                frame(TEXT, "a", to=client, fin=False) + frame(CONTINUATION, "b", to=client),
                frame(TEXT, deflated("compressed"), to=client, rsv=4),
            ):
                for chunks in ([data], chunked(data, 1)):
                    idle = protocol(client, compression=True)
                    self.assertEqual(len(outcome(idle, chunks)), 1)
                    self.assertTrue(idle.idle)
                    self.assertEqual(self.kept(idle), {})

    def test_nothing_is_kept_after_the_end(self):
        """After a close or a failure nothing is held either, whatever was under way, and whatever still comes."""
        for client in ROLES:
            begun = frame(TEXT, "half a mess", to=client, fin=False)
            large = frame(BINARY, bytes(100), to=client, length=1000)
            for chunks in (
                [begun + frame(CLOSE, to=client)],
                [begun, frame(CLOSE, to=client)],
                [begun, frame(TEXT, "another", to=client)],
                [frame(TEXT, b"\xff" * 100, to=client, length=1000)],
                [large[:50], b"\xff" * 2000],
            ):
                ended = protocol(client, compression=True, read_limit=1000)
                *_, last = outcome(ended, chunks)
                self.assertEqual(self.kept(ended), {})
                if last[0] is CLOSE:  # after a failure nobody reads any more
                    ended.receive(bytes(5000))
                    self.assertIsNone(ended.next_event())
                    self.assertEqual(self.kept(ended), {})

    @exact
    def test_a_header_costs_nothing(self):
        """A header that declares 2**62 bytes costs a few kilobytes, limited or not, in each lane and role."""
        for client in ROLES:
            for options in ({"fin": True}, {"fin": False}, {"rsv": 4}):
                header = frame(BINARY, b"abc", to=client, length=1 << 62, **options)
                for limit in (None, 1 << 20):
                    quiet = protocol(client, read_limit=limit, compression=True)
                    used = self.peak(lambda quiet=quiet, header=header: outcome(quiet, chunked(header, 1)))
                    self.assertLess(used, 200_000 if options.get("rsv") and not limit else 20_000)

    def test_a_header_of_the_limit_costs_nothing(self):
        """1,000 peers that declare 1 MiB and send 100 bytes of it cost a megabyte or two, not a thousand."""
        data = frame(TEXT, bytes(100), to=True, length=1 << 20)
        kept = []

        def thousand():
            for _ in range(1000):
                idle = protocol(True, read_limit=1 << 20)
                outcome(idle, [data])
                kept.append(idle)

        self.assertLess(self.peak(thousand), 3 << 20)

    def test_a_large_frame(self):
        """A message of 4 MiB, as it arrives: at most four times its size, and little while little has arrived."""
        size = 4 << 20
        data = frame(BINARY, bytes(size), to=True)
        chunks = chunked(data, 1 << 16)
        for limit in (None, size):
            arriving = protocol(True, read_limit=limit)
            self.assertLess(self.peak(lambda arriving=arriving: outcome(arriving, chunks[:4])), 2 << 20)
            self.assertLess(
                self.peak(lambda limit=limit: outcome_in_place(protocol(True, read_limit=limit), data, 1 << 16)),
                4 * size,
            )

    def test_tiny_fragments(self):
        """128 KiB in fragments of 2 bytes cost no more than their bytes: nothing is kept for each fragment."""
        tiny, per_chunk, chunks = frame(CONTINUATION, b"ab", to=True, fin=False), 1 << 11, 32
        receiving = protocol(True, read_limit=1 << 20)
        receiving.receive(frame(BINARY, b"ab", to=True, fin=False))

        def receive(count):
            for _ in range(count):
                receiving.receive(tiny * per_chunk)
                self.assertIsNone(receiving.next_event())

        # Only the last four are traced, as that is slow: they hold an eighth of the message, so at most its buffer is
        # made anew. An object kept for each of their fragments would be more than the limit.
        receive(chunks - 5)
        self.assertLess(self.peak(lambda: receive(4)), 2 * 2 * per_chunk * chunks)
        receiving.receive(tiny * (per_chunk - 2) + frame(CONTINUATION, b"ab", to=True))
        self.assertEqual(receiving.next_event(), (BINARY, b"ab" * per_chunk * chunks))

    def test_many_small_messages_in_one_segment(self):
        """10,000 messages that came at once are handed out without copying those that are still to come."""
        copied = 0

        class Counted(bytes):
            def __getitem__(self, key):
                nonlocal copied
                if not isinstance(key, slice):
                    return super().__getitem__(key)
                piece = Counted(super().__getitem__(key))
                copied += len(piece)
                return piece

        data = frame(TEXT, "hello", to=False) * 10_000 + frame(PING, b"", to=False) * 10_000
        self.assertEqual(len(outcome(server(), [Counted(data)])), 20_000)
        self.assertLessEqual(copied, 2 * len(data))


if __name__ == "__main__":
    unittest.main()
