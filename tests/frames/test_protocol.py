"""protocol.py: the same bytes give the same events in both roles, however they are cut and asked for."""

from __future__ import annotations

import random
import unittest

from wsproto.connection import Connection, ConnectionState, ConnectionType
from wsproto.events import BytesMessage, CloseConnection, Ping, Pong, TextMessage

from syncws._frames.payloads import format_close_message
from syncws._frames.protocol import Protocol
from syncws._frames.verdicts import KEPT_CONTEXT
from syncws.errors import ProtocolError
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
    masked,
    outcome,
    pieces,
    protocol,
    server,
    some_cuts,
)
from tests.frames.wsproto_alone import InboundDeflate, LateDeflate


class TestOnly(ProtocolTestCase):
    """What a read brings in one piece is mostly one message: `only` takes that and nothing else."""

    def test_messages(self):
        """A whole message in one frame, up to 64 KiB, is what next_event makes of the same bytes."""
        for client in ROLES:
            for size in (0, 1, 125, 126, 127, 4096, 65535):
                for kind, message in ((BINARY, self.random.randbytes(size)), (TEXT, "x" * size)):
                    data = frame(kind, message, to=client)
                    self.assertEqual(protocol(client).only(data), (kind, message))
                    self.assertEqual(protocol(client, read_limit=size).only(data), (kind, message))

    def test_everything_else(self):
        """It gives None for each thing that its conditions exclude, raises nothing and changes nothing."""
        for client in ROLES:
            whole = frame(TEXT, "hello", to=client)
            for name, data in {
                "no byte": b"",
                "one byte": whole[:1],
                "not all of it": whole[:-1],
                "more than it": whole + b"\x00",
                "two of them": whole + whole,
                "the wrong mask": frame(TEXT, "hello", to=not client),
                "a longer form than needed": frame(TEXT, "hello", to=client, form=2),
                "the same of 125": frame(TEXT, "x" * 125, to=client, form=2),
                "eight bytes of length": frame(BINARY, bytes(65536), to=client),
                "a length that is not all there": frame(TEXT, "x" * 300, to=client)[:3],
                # Where one byte of the header were taken for a length, these would be as long as it says.
                "127 bytes of a large one": frame(BINARY, bytes(70_000), to=client)[: (2 if client else 6) + 127],
                "the wrong mask, and more": frame(TEXT, "hello", to=not client).ljust((2 if client else 6) + 133, b"x"),
                "compressed": frame(TEXT, deflated("hello"), to=client, rsv=4),
                "another reserved bit": frame(TEXT, "hello", to=client, rsv=1),
                "a fragment": frame(TEXT, "hello", to=client, fin=False),
                "a continuation": frame(CONTINUATION, "hello", to=client),
                "a ping": frame(PING, "hello", to=client),
                "a close": frame(CLOSE, format_close_message(1000), to=client),
                "an unknown opcode": frame(3, "hello", to=client),
                "no UTF-8": frame(TEXT, b"\xff", to=client),
            }.items():
                with self.subTest(name, role=ROLE_NAMES[client]):
                    idle = protocol(client, compression=True)
                    self.assertIsNone(idle.only(data))
                    self.assertTrue(idle.idle)
                    self.assertEqual(outcome(idle, [whole]), [(TEXT, "hello")])

    def test_over_the_limit(self):
        """A message over the limit is left to next_event, which refuses it."""
        for client in ROLES:
            self.assertIsNone(protocol(client, read_limit=4).only(frame(TEXT, "hello", to=client)))


class TestIdle(ProtocolTestCase):
    """Whether there is nothing to ask for before bytes have come."""

    def test_between_two_messages(self):
        """A connection is idle from the start, and again once next_event has found that nothing is there."""
        for client in ROLES:
            for said in (
                frame(TEXT, "hello", to=client),
                frame(PING, b"", to=client),
                frame(PING, b"", to=client) + frame(TEXT, "hello", to=client),
                frame(TEXT, deflated("hello"), to=client, rsv=4),
                frame(TEXT, "a", to=client, fin=False) + frame(CONTINUATION, "b", to=client),
                b"",
            ):
                waiting = protocol(client, compression=True)
                self.assertTrue(waiting.idle)
                waiting.receive(said)
                self.assertFalse(waiting.idle)
                drain(waiting)
                self.assertTrue(waiting.idle)
                self.assertIsNone(waiting.next_event())
                self.assertTrue(waiting.idle)

    def test_while_something_is_there(self):
        """It is not with early data, inside a frame or a fragmented message, after a close, or after a breach."""
        for client in ROLES:
            hello = frame(TEXT, "hello", to=client)
            self.assertFalse(protocol(client, data=hello).idle)
            for said in (
                hello[:1],
                hello[:-1],
                frame(PING, b"ping", to=client)[:-1],
                frame(TEXT, "a", to=client, fin=False),
                frame(TEXT, "a", to=client, fin=False) + frame(PING, b"", to=client),
                frame(CLOSE, b"", to=client),
                frame(TEXT, b"\xff", to=client),
                frame(3, b"", to=client),
            ):
                busy = protocol(client)
                outcome(busy, [said])
                self.assertFalse(busy.idle)


class TestText(ProtocolTestCase):
    """TEXT is valid UTF-8, and text that is not fails as soon as that is certain."""

    INVALID = {
        "a byte that is never there": b"\xff",
        "a continuation byte alone": b"\x80",
        "an overlong slash": b"\xc0\xaf",
        "an overlong zero of three bytes": b"\xe0\x80\x80",
        "a surrogate": b"\xed\xa0\x80",
        "beyond U+10FFFF": b"\xf4\x90\x80\x80",
        "five bytes": b"\xf8\x88\x80\x80\x80",
        "a character cut by a letter": b"\xe2\x82a",
    }
    # How many of those bytes are enough to be certain. (Python is, of a surrogate, only at its third.)
    CERTAIN = {"an overlong slash": 1, "an overlong zero of three bytes": 2, "beyond U+10FFFF": 2, "five bytes": 1}

    REASON = "text that is not UTF-8"

    def test_invalid_text(self):
        """Every kind of invalid text ends in 1007, with each cut, in one frame and in fragments."""
        for name, bad in self.INVALID.items():
            payload = "κόσμε".encode() + bad + b"edited"
            for client in ROLES:
                whole = frame(TEXT, payload, to=client)
                fragments = frame(TEXT, payload[:12], to=client, fin=False) + frame(
                    CONTINUATION, payload[12:], to=client
                )
                for data in (whole, fragments):
                    for chunks in some_cuts(data, self.random):
                        with self.subTest(name, role=ROLE_NAMES[client]):
                            self.assert_fails(chunks, protocol(client), 1007, self.REASON)

    def test_fails_before_the_rest_arrives(self):
        """Autobahn 6.4.1 to 6.4.4: bad text in an unfinished frame fails at its first certain byte, in each lane."""
        for name, bad in self.INVALID.items():
            certain = self.CERTAIN.get(name, len(bad))
            payload = "κόσμε".encode() + bad
            begun = {
                "partial": frame(TEXT, payload, to=False, length=1000),
                "fragment": frame(TEXT, payload, to=False, length=1000, fin=False),
                "continuation": frame(TEXT, b"x", to=False, fin=False)
                + frame(CONTINUATION, payload, to=False, length=1000),
            }
            for lane, data in begun.items():
                with self.subTest(name, lane=lane):
                    data = data[: len(data) - len(bad) + certain]
                    good = server()
                    self.assertEqual(outcome(good, chunked(data[:-1], 1)), [])
                    self.assert_fails([data[-1:]], good, 1007, self.REASON)
                    self.assert_fails([data], server(), 1007, self.REASON)

    def test_fails_while_received_in_place(self):
        """Bad text fails at once where a large frame is received in place, too."""
        large = server()
        large.receive(frame(TEXT, b"a" * 100_000, to=False, length=1 << 20))
        self.assertIsNone(large.next_event())
        with large.destination() as room:
            room[:1] = masked(b"\xff")
        with self.assertRaises(ProtocolError) as caught:
            large.received(1)
        self.assertEqual((caught.exception.code, caught.exception.reason), (1007, self.REASON))
        with self.assertRaises(ProtocolError):
            large.next_event()

    def test_text_that_ends_inside_a_character(self):
        """A message may not end inside a character; a fragment may."""
        cut = "€".encode()[:2]
        for data in (
            frame(TEXT, cut, to=False),
            frame(TEXT, b"", to=False, fin=False) + frame(CONTINUATION, cut, to=False),
            frame(TEXT, cut, to=False, fin=False) + frame(CONTINUATION, b"", to=False),
        ):
            for chunks in some_cuts(data, self.random):
                self.assert_fails(chunks, server(), 1007, self.REASON)

    def test_characters_cut_anywhere(self):
        """Valid characters may be cut anywhere: by segments, by fragments, by both."""
        text = LETTERS + "\x00\x7f\u0080\u07ff\u0800\ud7ff\ue000\uffff\U00010000\U0010ffff"
        encoded = text.encode()
        for place in range(len(encoded) + 1):
            data = frame(TEXT, encoded[:place], to=False, fin=False) + frame(CONTINUATION, encoded[place:], to=False)
            for chunks in ([data], chunked(data, 1), cut_at_random(data, self.random)):
                self.assertEqual(outcome(server(), chunks), [(TEXT, text)])
        whole = frame(TEXT, text, to=False)
        for place in range(len(whole) + 1):
            self.assertEqual(outcome(server(), cut_at(whole, place)), [(TEXT, text)])

    def test_binary_is_not_checked(self):
        """BINARY may hold anything."""
        for bad in self.INVALID.values():
            for chunks in some_cuts(frame(BINARY, bad, to=False), self.random):
                self.assertEqual(outcome(server(), chunks), [(BINARY, bad)])


#: "Hello, Tornado!", sent twice by a client of Tornado 6.6.1 that was told client_no_context_takeover. It drops
#: parameters that have no value, so its second message refers to the first.
TORNADO = bytes.fromhex("f248cdc9c9d75108c92fca4b4cc9570400"), bytes.fromhex("f240e50200")


def violations(client):
    """Everything a header or a close frame can have wrong: {name: (bytes, code, reason)}, compression agreed on."""

    def to(opcode, payload=b"", **options):
        return frame(opcode, payload, to=client, **options)

    def closing(code, reason=b""):
        return to(CLOSE, code.to_bytes(2) + reason)

    opened = to(TEXT, "opened", fin=False)
    squeezed = to(TEXT, deflated("opened"), fin=False, rsv=4)
    nested, orphan = "a message inside a fragmented one", "a continuation of no message"
    long_form = "a length that is not in its shortest form"
    wrong_mask = "a masked frame from a server" if client else "an unmasked frame from a client"
    big_control = "a control frame of over 125 bytes"
    return {
        **{
            f"opcode {code}": (to(code, b"?"), 1002, f"unknown opcode {code}")
            for code in (3, 4, 5, 6, 7, *range(11, 16))
        },
        **{f"RSV {rsv} on text": (to(TEXT, "a", rsv=rsv), 1002, "reserved bits set") for rsv in (1, 2, 3, 5, 6, 7)},
        **{f"RSV1 on {kind.name}": (to(kind, b"", rsv=4), 1002, "reserved bits set") for kind in (CLOSE, PING, PONG)},
        "RSV1 on a continuation": (opened + to(CONTINUATION, "b", rsv=4), 1002, "reserved bits set"),
        "RSV1 on a compressed continuation": (squeezed + to(CONTINUATION, "b", rsv=4), 1002, "reserved bits set"),
        "RSV2 on a continuation": (opened + to(CONTINUATION, "b", rsv=2), 1002, "reserved bits set"),
        "5 in 2 bytes": (to(BINARY, b"12345", form=2), 1002, long_form),
        "125 in 2 bytes": (to(TEXT, "t" * 125, form=2), 1002, long_form),
        "5 in 8 bytes": (to(TEXT, "12345", form=8), 1002, long_form),
        "65535 in 8 bytes": (to(BINARY, bytes(65535), form=8), 1002, long_form),
        "5 in 2 bytes, fragment": (to(BINARY, b"12345", form=2, fin=False), 1002, long_form),
        "200 in 8 bytes, continuation": (opened + to(CONTINUATION, bytes(200), form=8), 1002, long_form),
        "5 in 2 bytes, compressed": (to(BINARY, b"12345", form=2, rsv=4), 1002, long_form),
        "a length of 64 bits": (to(BINARY, b"1", length=1 << 63), 1002, long_form),
        "a length of 64 bits, fragment": (to(TEXT, b"1", length=(1 << 64) - 1, fin=False), 1002, long_form),
        "the wrong mask, text": (to(TEXT, "a", mask=client), 1002, wrong_mask),
        "the wrong mask, empty": (to(TEXT, "", mask=client), 1002, wrong_mask),
        "the wrong mask, long": (to(BINARY, bytes(70_000), mask=client), 1002, wrong_mask),
        "the wrong mask, ping": (to(PING, b"a", mask=client), 1002, wrong_mask),
        "the wrong mask, continuation": (opened + to(CONTINUATION, b"a", mask=client), 1002, wrong_mask),
        **{
            f"a fragmented {kind.name}": (to(kind, b"", fin=False), 1002, "a fragmented control frame")
            for kind in (CLOSE, PING, PONG)
        },
        **{f"a long {kind.name}": (to(kind, bytes(126)), 1002, big_control) for kind in (CLOSE, PING, PONG)},
        "a ping of 64 KiB": (to(PING, bytes(1 << 16)), 1002, big_control),
        "a short ping with a long length": (to(PING, b"12345", form=2), 1002, big_control),
        "a continuation of nothing": (to(CONTINUATION, "b"), 1002, orphan),
        "an empty continuation of nothing": (to(CONTINUATION, ""), 1002, orphan),
        "an open continuation of nothing": (to(CONTINUATION, "b", fin=False), 1002, orphan),
        "a continuation of nothing, too long": (to(CONTINUATION, b"", length=1 << 62), 1002, orphan),
        "text in a fragmented message": (opened + to(TEXT, "b"), 1002, nested),
        "an empty message in a fragmented one": (opened + to(BINARY, b""), 1002, nested),
        "a fragment in a fragmented message": (opened + to(BINARY, b"b", fin=False), 1002, nested),
        "text in a compressed message": (squeezed + to(TEXT, b"\xff\xff"), 1002, nested),
        "compressed text in a fragmented message": (opened + to(TEXT, deflated("b"), rsv=4), 1002, nested),
        "a large message in a fragmented one": (opened + to(BINARY, b"", length=1 << 62), 1002, nested),
        "a close of 1 byte": (to(CLOSE, b"\x03"), 1002, "a close frame of one byte, which is no code"),
        **{
            f"close code {code}": (
                closing(code, b"so"),
                1002,
                f"a close frame with code {code}, which may not be sent: so",
            )
            for code in (0, 1, 999, 1004, 1005, 1006, 1015, 1016, 1100, 2000, 2999, 5000, 65535)
        },
        "a close reason that is not UTF-8": (closing(1000, b"\xff"), 1007, "a close reason that is not UTF-8"),
        "a close reason cut in a character": (closing(4000, b"\xe2\x82"), 1007, "a close reason that is not UTF-8"),
        "compressed binary that is corrupt": (to(BINARY, b"\xff" * 9, rsv=4), 1007, "compressed data that is corrupt"),
        "compressed text that is corrupt": (
            to(TEXT, b"\xff" * 9, rsv=4),
            1007,
            "compressed data that is corrupt, or text that is not UTF-8",
        ),
        "compressed text that is not UTF-8": (
            to(TEXT, deflated(b"\xff\xff"), rsv=4),
            1007,
            "compressed data that is corrupt, or text that is not UTF-8",
        ),
        "a message that refers to none before it": (to(TEXT, TORNADO[1], rsv=4), 1007, KEPT_CONTEXT),
        "compressed binary that was cut": (
            to(BINARY, deflated(bytes(999))[:-3], rsv=4),
            1007,
            "compressed data that is corrupt",
        ),
    }


class TestViolations(ProtocolTestCase):
    """What RFC 6455 and RFC 7692 forbid: code and reason, independent of the cut."""

    def test_a_promise_is_broken(self):
        """A peer that promised to forget its context, and refers to an earlier message, is told which option helps."""
        first, second = (frame(TEXT, payload, to=False, rsv=4) for payload in TORNADO)
        for data in ([first + second], [first[:9], first[9:] + second[:8], second[8:]]):
            self.assert_fails(data, server(compression=True), 1007, KEPT_CONTEXT, after=[(TEXT, "Hello, Tornado!")])
        self.assertIn("context_takeover", KEPT_CONTEXT)
        self.assertLessEqual(len(KEPT_CONTEXT), 123)
        fragments = (
            frame(TEXT, TORNADO[1][:3], to=False, rsv=4, fin=False),
            frame(CONTINUATION, TORNADO[1][3:], to=False),
        )
        self.assert_fails(list(fragments), server(compression=True), 1007, KEPT_CONTEXT)

    def test_each_violation(self):
        """Every violation has its code and reason text, however the stream is cut, after a good message too."""
        for client in ROLES:
            before = frame(TEXT, "before", to=client) + frame(PING, "b", to=client)
            events = [(TEXT, "before"), (PING, b"b")]
            for name, (data, code, reason) in violations(client).items():
                with self.subTest(name, role=ROLE_NAMES[client]):
                    self.assert_fails([data], protocol(client, compression=True), code, reason)
                    stream = before + data
                    cuts = some_cuts(stream, self.random) if len(stream) < 1000 else [[stream], chunked(stream, 33)]
                    for chunks in cuts:
                        self.assert_fails(chunks, protocol(client, compression=True), code, reason, after=events)

    def test_two_bytes_are_enough(self):
        """What is wrong with the first two bytes of a header fails when they are there, not later."""
        for client in ROLES:
            for name, (data, code, reason) in violations(client).items():
                opening = next((o for o in self.openings(client) if data.startswith(o)), b"")
                two_bytes = data[: len(opening) + 2]
                if reason.startswith(("a length", "a close", "compressed")):
                    continue
                with self.subTest(name, role=ROLE_NAMES[client]):
                    self.assert_fails(chunked(two_bytes, 1), protocol(client, compression=True), code, reason)

    def openings(self, client):
        return (
            frame(TEXT, "opened", to=client, fin=False),
            frame(TEXT, deflated("opened"), to=client, fin=False, rsv=4),
        )

    def test_a_length_is_judged_when_it_is_there(self):
        """A length in a longer form than needed fails before the mask key and the payload arrive."""
        for fin in (True, False):
            data = frame(BINARY, b"", to=False, length=5, form=8, fin=fin)[:10]
            self.assert_fails(chunked(data, 1), server(), 1002, "a length that is not in its shortest form")
            self.assertEqual(outcome(server(), chunked(data[:-1], 1)), [])

    def test_rsv1_without_compression(self):
        """RSV1 is a reserved bit like the others where compression was not agreed on."""
        for client in ROLES:
            for kind in (TEXT, BINARY):
                data = frame(kind, deflated("a"), to=client, rsv=4)
                self.assert_fails([data], protocol(client), 1002, "reserved bits set")

    def test_the_same_error_for_ever(self):
        """After a failure every call raises an equal error, also when the peer goes on well; each is an exception of
        its own, since one that two threads raise is corrupted where Python has no GIL."""
        for data in (
            frame(TEXT, b"\xff", to=False),
            frame(PING, b"", to=False, fin=False),
            frame(CLOSE, b"1", to=False),
        ):
            broken = server()
            broken.receive(data)
            with self.assertRaises(ProtocolError) as first:
                broken.next_event()
            broken.receive(frame(TEXT, "fine", to=False))
            for again in (broken.next_event, broken.next_piece, broken.next_event):
                with self.assertRaises(ProtocolError) as caught:
                    again()
                self.assertIs(type(caught.exception), type(first.exception))
                self.assertEqual(caught.exception.args, first.exception.args)
                self.assertIsNot(caught.exception, first.exception)

    def test_the_error_holds_on_to_nothing(self):
        """The error outlives the connection's buffers: it does not keep the payload alive through its context."""
        for chunks in ([frame(TEXT, b"\xff" * 100, to=False)], chunked(frame(TEXT, b"\xff" * 100, to=False), 50)):
            broken = server()
            with self.assertRaises(ProtocolError) as caught:
                for chunk in chunks:
                    broken.receive(chunk)
                    broken.next_event()
            self.assertIsNone(caught.exception.__context__)

    def test_reasons_fit_into_a_close_frame(self):
        """Every reason is ASCII and short enough to be sent to the peer."""
        for client in ROLES:
            for _, code, reason in violations(client).values():
                self.assertLessEqual(len(reason.encode("ascii")), 123)
                format_close_message(code, reason)


class TestPieces(ProtocolTestCase):
    """next_piece, alone and together with next_event: a message is delivered once, whole, whoever asks."""

    MESSAGES = ((TEXT, LETTERS * 20), (BINARY, bytes(range(256))))

    def streams(self, kind, message, client=False):
        """{lane: bytes} of one message."""
        payload = message.encode() if kind is TEXT else message
        third = len(payload) // 3
        squeezed = deflated(payload)
        return {
            "one frame": frame(kind, payload, to=client),
            "fragments": frame(kind, payload[:third], to=client, fin=False)
            + frame(PING, b"", to=client)
            + frame(CONTINUATION, payload[third:-third], to=client, fin=False)
            + frame(CONTINUATION, payload[-third:], to=client),
            "compressed": frame(kind, squeezed[:9], to=client, fin=False, rsv=4)
            + frame(PING, b"", to=client)
            + frame(CONTINUATION, squeezed[9:], to=client),
            "an empty end": frame(kind, payload, to=client, fin=False) + frame(CONTINUATION, b"", to=client),
        }

    def test_pieces_make_the_message(self):
        """Pieces put together are the message; only the last is final, only the last may be empty, text is whole."""
        for client in ROLES:
            for kind, message in self.MESSAGES:
                for lane, data in self.streams(kind, message, client).items():
                    for chunks in some_cuts(data, self.random, 30):
                        with self.subTest(lane, role=ROLE_NAMES[client], kind=kind.name):
                            found = pieces(protocol(client, compression=True), chunks)
                            found = [piece for piece in found if piece[0] is not PING]
                            self.assertEqual({type for type, _, _ in found}, {kind})
                            self.assertEqual([final for _, _, final in found], [False] * (len(found) - 1) + [True])
                            self.assertTrue(all(type(data) is bytes for _, data, _ in found))
                            self.assertTrue(all(data for _, data, final in found if not final))
                            if kind is TEXT:
                                self.assertEqual("".join(data.decode() for _, data, _ in found), message)
                            else:
                                self.assertEqual(b"".join(data for _, data, _ in found), message)

    def test_pieces_then_the_rest(self):
        """next_event gives what next_piece has left of a message, from each byte on, TEXT as str."""
        for kind, message in self.MESSAGES:
            for lane, data in self.streams(kind, message).items():
                for place in range(1, len(data)):
                    mixed = server(compression=True)
                    begun = [data for type, data, _ in pieces(mixed, [data[:place]]) if type is kind]
                    events = outcome(mixed, [data[place:]])
                    [(_, rest)] = [event for event in events if event[0] is kind]
                    with self.subTest(lane, kind=kind.name, place=place):
                        taken = b"".join(begun)
                        self.assertEqual(taken.decode() + rest if kind is TEXT else taken + rest, message)

    def test_waiting_for_all_then_taking_pieces(self):
        """What next_event had gathered while it waited, next_piece hands out."""
        for kind, message in self.MESSAGES:
            for lane, data in self.streams(kind, message).items():
                for place in range(1, len(data)):
                    mixed = server(compression=True)
                    self.assertLessEqual({event[0] for event in outcome(mixed, [data[:place]])}, {PING})
                    found = [data for type, data, _ in pieces(mixed, [b"", data[place:]]) if type is kind]
                    with self.subTest(lane, kind=kind.name, place=place):
                        whole = b"".join(found)
                        self.assertEqual(whole.decode() if kind is TEXT else whole, message)

    def test_any_mixture(self):
        """Any order of next_event and next_piece over several messages loses and doubles nothing."""
        for _ in range(300):
            client = self.random.choice(ROLES)
            mixed = protocol(client, compression=True)
            sent, got = [], b""
            stream = b""
            for _ in range(4):
                kind, message = self.random.choice(self.MESSAGES)
                sent.append(message.encode() if kind is TEXT else message)
                stream += self.random.choice(list(self.streams(kind, message, client).values()))
            for chunk in cut_at_random(stream, self.random):
                mixed.receive(chunk)
                while (event := self.random.choice((mixed.next_event, mixed.next_piece))()) is not None:
                    if event[0] is not PING:
                        got += event[1].encode() if isinstance(event[1], str) else event[1]
                while (piece := mixed.next_piece()) is not None:
                    if piece[0] is not PING:
                        got += piece[1]
            self.assertEqual(got, b"".join(sent))

    def test_nothing_to_hand_out(self):
        """No piece while there is only a header, or only the beginning of a character."""
        begun = server()
        data = frame(TEXT, "€uro", to=False)
        self.assertEqual(pieces(begun, chunked(data[:8], 1)), [])
        self.assertEqual(pieces(begun, [data[8:9]]), [(TEXT, "€".encode(), False)])
        self.assertEqual(pieces(begun, [data[9:]]), [(TEXT, b"uro", True)])

    def test_pieces_come_before_a_control_frame_that_follows(self):
        """A fragment and a close in one segment: the piece first, then the close, though both are there."""
        for client in ROLES:
            protocol = Protocol(client=client, read_limit=None, compression=False)
            protocol.receive(frame(BINARY, b"ab", to=client, fin=False) + frame(CLOSE, b"\x03\xe8", to=client))
            with self.subTest(client=client):
                self.assertEqual(protocol.next_piece(), (BINARY, b"ab", False))
                self.assertEqual(protocol.next_piece(), (CLOSE, (1000, ""), True))

    def test_pieces_come_before_a_fault_that_follows(self):
        """A fragment and a bad frame in one segment: the piece first, then the error."""
        for client in ROLES:
            protocol = Protocol(client=client, read_limit=None, compression=False)
            protocol.receive(frame(BINARY, b"ab", to=client, fin=False) + frame(3, b"", to=client))
            with self.subTest(client=client):
                self.assertEqual(protocol.next_piece(), (BINARY, b"ab", False))
                self.assertRaises(ProtocolError, protocol.next_piece)

    def test_pieces_received_in_place(self):
        """Taking pieces while a large frame is received in place gives every byte once."""
        message = self.random.randbytes(1 << 20)
        data = frame(BINARY, message, to=False)
        taking = server()
        got, start, in_place = b"", 0, 0
        while start < len(data):
            room = taking.destination()
            if room is None:
                taking.receive(data[start : start + 100_000])
                start += 100_000
            else:
                in_place += 1
                with room:
                    room[:] = data[start : start + len(room)]
                    count = len(room)
                taking.received(count)
                start += count
            # Now and then the application is slow: two chunks arrive before it takes what is there.
            if start % 3 and (piece := taking.next_piece()) is not None:
                got += piece[1]
            elif (event := taking.next_event()) is not None:  # the last part of it
                got += event[1]
        while (piece := taking.next_piece()) is not None:
            got += piece[1]
        self.assertEqual(got, message)
        self.assertGreater(in_place, 0)


class TestAgainstWsproto(ProtocolTestCase):
    """The lanes and wsproto alone: same messages, same class of error, same close code, whatever the peer sends."""

    STREAMS = 600  # tests.frames.test_differential draws more, and stranger ones

    # Both need no more than this to come to their verdict on what went before: wsproto looks at a frame's place in a
    # message only when its header and a byte of its payload are there.
    AFTERMATH = bytes(32)

    def test_differential(self):
        """600 random streams, good and bad, cut at random places, end the same way as in wsproto."""
        ends = {"close": 0, "open": 0, 1002: 0, 1007: 0}
        for seed in range(self.STREAMS):
            rng = random.Random(seed)
            client, compression = rng.choice(ROLES), rng.choice(ROLES)
            stream = self.random_stream(rng, client, compression) + self.AFTERMATH
            wanted = self.according_to_wsproto(stream, client, [LateDeflate()] if compression else [])
            in_pieces = self.according_to_wsproto(stream, client, [InboundDeflate(None)] if compression else [])
            for chunks in ([stream], cut_at_random(stream, rng)):
                got = outcome(protocol(client, compression=compression), chunks)
                got = [event[:2] if event[0] is ProtocolError else event for event in got]
                self.assertEqual(got, wanted, f"seed {seed}, {ROLE_NAMES[client]}, {list(map(len, chunks))}")
                got = self.outcome_in_pieces(protocol(client, compression=compression), chunks)
                self.assertEqual(got, in_pieces, f"seed {seed}, {ROLE_NAMES[client]}, {list(map(len, chunks))}")
            last = wanted[-1] if wanted else ("open",)
            ends[last[1] if last[0] is ProtocolError else "close" if last[0] is CLOSE else "open"] += 1
        # The streams are worth something only if each kind of end is there.
        self.assertGreater(min(ends.values()), self.STREAMS // 50, ends)

    def outcome_in_pieces(self, protocol, chunks):
        """As outcome, by next_piece: its pieces joined."""
        events, message = [], b""
        try:
            for chunk in chunks:
                protocol.receive(chunk)
                while (piece := protocol.next_piece()) is not None:
                    kind, data, final = piece
                    if kind >= CLOSE:
                        events.append((kind, data))
                        continue
                    message += data
                    if final:
                        events.append((kind, message.decode() if kind is TEXT else message))
                        message = b""
        except ProtocolError as error:
            events.append((ProtocolError, error.code))
        return events

    def according_to_wsproto(self, stream, client, extensions):
        """The events of wsproto alone, as ours; an error of the peer's as (ProtocolError, code)."""
        role = ConnectionType.CLIENT if client else ConnectionType.SERVER
        engine = Connection(role, extensions)
        engine.receive_data(stream)
        events, message = [], None
        for event in engine.events():
            match event:
                case TextMessage() | BytesMessage():
                    message = event.data if message is None else message + event.data
                    if event.message_finished:
                        events.append((TEXT if isinstance(message, str) else BINARY, message))
                        message = None
                case Ping():
                    events.append((PING, event.payload))
                case Pong():
                    events.append((PONG, event.payload))
                case CloseConnection() if engine.state is ConnectionState.OPEN:
                    events.append((ProtocolError, event.code))
                case CloseConnection():
                    events.append((CLOSE, (event.code, event.reason or "")))
        return events

    def random_stream(self, rng, client, compression):
        """Up to eight things a peer can say, and in half of the streams something it should not."""
        parts = [self.random_part(rng, client, compression) for _ in range(rng.randrange(1, 9))]
        if rng.random() < 0.15:
            code = rng.choice((0, 999, 1000, 1001, 1004, 1005, 1011, 1013, 2999, 3000, 4999, 5000))
            parts.insert(rng.randrange(len(parts) + 1), frame(CLOSE, code.to_bytes(2) + b"so", to=client))
        if rng.random() < 0.3:
            parts.insert(rng.randrange(len(parts) + 1), self.random_oddity(rng, client))
        stream = b"".join(parts)
        if rng.random() < 0.2:  # a flipped bit
            place = rng.randrange(len(stream))
            stream = stream[:place] + bytes([stream[place] ^ 1 << rng.randrange(8)]) + stream[place + 1 :]
        if rng.random() < 0.2:  # an end in the middle
            stream = stream[: rng.randrange(len(stream) + 1)]
        return stream

    def random_part(self, rng, client, compression):
        """A message, in one frame or in fragments with control frames between; or a control frame."""
        if rng.random() < 0.2:
            return frame(rng.choice((PING, PONG)), rng.randbytes(rng.choice((0, 1, 125))), to=client)
        kind = rng.choice((TEXT, BINARY))
        size = rng.choice(
            (0, 1, 5, 125, 126, 300, 300, 65535, 65536, 70_000) if rng.random() < 0.1 else (0, 1, 5, 125, 126, 300)
        )
        payload = "".join(rng.choices(LETTERS, k=size)).encode() if kind is TEXT else rng.randbytes(size)
        if kind is TEXT and rng.random() < 0.05:
            payload = payload[: rng.randrange(len(payload) + 1)] + rng.randbytes(2)
        rsv = 0
        if compression and rng.random() < 0.5:
            payload, rsv = deflated(payload), 4
        if rng.random() < 0.6:
            return frame(kind, payload, to=client, rsv=rsv)
        places = (rng.randrange(len(payload) + 1) for _ in range(rng.randrange(4)))
        fragments = cut_at(payload, *places)
        said = b""
        for i, fragment in enumerate(fragments):
            said += frame(
                CONTINUATION if i else kind, fragment, to=client, rsv=0 if i else rsv, fin=i == len(fragments) - 1
            )
            if rng.random() < 0.3:
                said += frame(rng.choice((PING, PONG)), b"between", to=client)
        return said

    def random_oddity(self, rng, client):
        """A frame that may have anything wrong with it, or plain noise."""
        if rng.random() < 0.2:
            return rng.randbytes(rng.randrange(1, 20))
        return frame(
            rng.choice((*range(16), CONTINUATION, CONTINUATION, TEXT)),
            rng.randbytes(rng.randrange(5)),
            to=client,
            fin=rng.random() < 0.7,
            rsv=rng.choice((0, 0, 0, 4, rng.randrange(8))),
            mask=rng.choice((None, None, None, client)),
            length=rng.choice((None, None, None, 200, 1 << 62, 1 << 63)),
            form=rng.choice((None, None, 8)),
        )


if __name__ == "__main__":
    unittest.main()
