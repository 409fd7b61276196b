"""What the library relies on in wsproto 1.3 and h11 0.16, public or not, and what to check before a newer version.

A test that fails here after an upgrade names the assumption that no longer holds, and the module that makes it.
"""

from __future__ import annotations

import unittest
import zlib

import h11
import wsproto
from wsproto.connection import Connection, ConnectionState, ConnectionType
from wsproto.events import BytesMessage, CloseConnection, Message, Ping, Pong, TextMessage
from wsproto.extensions import Extension, PerMessageDeflate
from wsproto.frame_protocol import CloseReason, FrameDecoder, Opcode, RsvBits
from wsproto.utilities import LocalProtocolError

NO_BITS = RsvBits(False, False, False)
RSV1 = RsvBits(True, False, False)

SERVER, CLIENT = ConnectionType.SERVER, ConnectionType.CLIENT


def frame(first, payload=b"", *, masked=True):
    """A short frame; the mask key is zero, so the payload can be read as it is."""
    assert len(payload) < 126
    return bytes([first, len(payload) | masked << 7]) + bytes(4 * masked) + payload


def receive(connection, data, step=None):
    """The events that data leads to, fed at once or step bytes at a time."""
    events = []
    for start in range(0, len(data), step or len(data)):
        connection.receive_data(data[start : start + (step or len(data))])
        events += connection.events()
    return events


class Recorder(Extension):
    """An extension that writes down how it is called."""

    name = "recorder"

    def __init__(self, **answers):
        self.calls = []
        self.answers = answers  # what a hook returns, by name

    def offer(self):
        return False

    def enabled(self):
        return True

    def frame_inbound_header(self, proto, opcode, rsv, payload_length):
        assert isinstance(proto, FrameDecoder)
        self.calls.append(("header", opcode, rsv, payload_length))
        return self.answers.get("header", RSV1)

    def frame_inbound_payload_data(self, proto, data):
        assert isinstance(proto, FrameDecoder) and type(data) is bytes
        self.calls.append(("payload", data))
        return self.answers.get("payload", data)

    def frame_inbound_complete(self, proto, fin):
        assert isinstance(proto, FrameDecoder)
        self.calls.append(("complete", fin))
        return self.answers.get("complete")


class WsprotoVersionTests(unittest.TestCase):
    """The version these tests were written against."""

    def test_version(self):
        """setup.cfg allows 1.3 and later, below 2."""
        major, minor = map(int, wsproto.__version__.split(".")[:2])
        self.assertEqual(major, 1)
        self.assertGreaterEqual(minor, 3)


class WsprotoHookTests(unittest.TestCase):
    """The extension hooks: tests.frames.wsproto_alone, and why Protocol uses none."""

    def build(self, **answers):
        recorder = Recorder(**answers)
        return recorder, Connection(SERVER, [recorder])

    def test_enabled_is_asked_at_construction(self):
        """An extension that is not enabled when the connection is made is never called."""
        recorder = Recorder()
        recorder.enabled = lambda: False
        connection = Connection(SERVER, [recorder])
        recorder.enabled = lambda: True
        receive(connection, frame(0x82, b"x"))
        self.assertEqual(recorder.calls, [])

    def test_order_and_arguments(self):
        """For each frame: its header, its payload in parts (once even if there is none), its end with its FIN."""
        recorder, connection = self.build()
        receive(connection, frame(0x42, b"abc") + frame(0x89, b"ping") + frame(0x80))
        self.assertEqual(
            recorder.calls,
            [
                ("header", Opcode.BINARY, RSV1, 3),
                ("payload", b"abc"),
                ("complete", False),
                ("header", Opcode.PING, NO_BITS, 4),
                ("payload", b"ping"),
                ("complete", True),
                ("header", Opcode.CONTINUATION, NO_BITS, 0),
                ("payload", b""),
                ("complete", True),
            ],
        )

    def test_data_comes_as_it_arrives(self):
        """A data frame's payload is handed on piece by piece; a control frame's only whole."""
        recorder, connection = self.build()
        receive(connection, frame(0x82, b"abc"), step=1)
        receive(connection, frame(0x89, b"abc"), step=1)
        payloads = [call[1] for call in recorder.calls if call[0] == "payload"]
        self.assertEqual(payloads, [b"a", b"b", b"c", b"abc"])

    def test_header_is_repeated_until_the_mask_is_there(self):
        """Fed byte by byte, one header is announced five times: at its length and at each byte of the mask key."""
        recorder, connection = self.build()
        receive(connection, frame(0xC2, b"abc")[:6], step=1)
        self.assertEqual(recorder.calls, [("header", Opcode.BINARY, RSV1, 3)] * 5)

    def test_header_is_announced_before_the_mask_is_checked(self):
        """The header hook sees a frame that is about to fail for its missing mask."""
        recorder, connection = self.build()
        events = receive(connection, frame(0x82, b"abc", masked=False))
        self.assertEqual(recorder.calls, [("header", Opcode.BINARY, NO_BITS, 3)])
        self.assertEqual([event.code for event in events], [1002])

    def test_order_of_fragments_is_checked_after_the_payload(self):
        """A continuation of no message goes through all hooks before it is refused."""
        recorder, connection = self.build()
        events = receive(connection, frame(0x80, b"abc"))
        self.assertEqual([call[0] for call in recorder.calls], ["header", "payload", "complete"])
        self.assertEqual([event.code for event in events], [1002])

    def test_a_close_reason_refuses(self):
        """A CloseReason from any hook ends the connection with that code, and the state stays OPEN."""
        for hook in ("header", "payload", "complete"):
            for reason in (CloseReason.MESSAGE_TOO_BIG, CloseReason.INVALID_FRAME_PAYLOAD_DATA):
                _, connection = self.build(**{hook: reason})
                (event,) = receive(connection, frame(0xC2, b"abc"))
                self.assertIsInstance(event, CloseConnection)
                self.assertEqual(event.code, reason)
                self.assertIs(connection.state, ConnectionState.OPEN)

    def test_what_hooks_return_is_the_data(self):
        """The payload hook's return replaces the payload, and that of the end is added to it."""
        _, connection = self.build(payload=b"inflated", complete=b", rest")
        self.assertEqual(receive(connection, frame(0xC2, b"x"))[0].data, b"inflated, rest")

    def test_unclaimed_reserved_bits_are_refused(self):
        """RSV bits that the header hook does not claim are 1002."""
        _, connection = self.build(header=NO_BITS)
        self.assertEqual(receive(connection, frame(0xC2, b"x"))[0].code, 1002)

    def test_plain_permessage_deflate_forgets_at_a_ping(self):
        """Why no compressed message goes through it: after a ping between its fragments the rest stays compressed.

        If this fails, wsproto has mended it; what remains is that it inflates all that comes.
        """
        extension = PerMessageDeflate(client_no_context_takeover=True, server_no_context_takeover=True)
        extension.finalize("permessage-deflate")
        connection = Connection(SERVER, [extension])
        compressor = zlib.compressobj(6, zlib.DEFLATED, -15)
        body = (compressor.compress(b"Hello, Hello") + compressor.flush(zlib.Z_SYNC_FLUSH))[:-4]
        events = receive(connection, frame(0x42, body[:3]) + frame(0x89) + frame(0x80, body[3:]))
        data = b"".join(event.data for event in events if isinstance(event, BytesMessage))
        self.assertNotEqual(data, b"Hello, Hello")
        self.assertTrue(data.endswith(body[3:]))

    def test_plain_permessage_deflate_is_unbounded(self):
        """The other reason: 1 KiB of wire in one call becomes 1 MiB in one event."""
        extension = PerMessageDeflate()
        extension.finalize("permessage-deflate")
        compressor = zlib.compressobj(9, zlib.DEFLATED, -15)
        body = (compressor.compress(bytes(1 << 20)) + compressor.flush(zlib.Z_SYNC_FLUSH))[:-4]
        self.assertLess(len(body), 1100)
        head = bytes([0xC2, 0xFE]) + len(body).to_bytes(2, "big") + bytes(4)
        self.assertEqual(len(receive(Connection(SERVER, [extension]), head + body)[0].data), 1 << 20)


class WsprotoConnectionTests(unittest.TestCase):
    """The inbound connection, which never sends: protocol.Protocol."""

    def both(self):
        for role in (SERVER, CLIENT):
            with self.subTest(role=role):
                yield Connection(role), role is SERVER

    def test_starts_open(self):
        """A Connection knows no handshake: it is OPEN at once."""
        for connection, _ in self.both():
            self.assertIs(connection.state, ConnectionState.OPEN)

    def test_own_complaint_leaves_it_open(self):
        """A mistake of the peer is a CloseConnection with our code, and the state stays OPEN."""
        bad = {
            "reserved opcode": (0x83, b"", 1002),
            "reserved bit": (0xC2, b"", 1002),
            "fragmented ping": (0x09, b"", 1002),
            "continuation of nothing": (0x80, b"", 1002),
            "bad text": (0x81, b"\xff", 1007),
            "close of one byte": (0x88, b"\x03", 1002),
            "close code 1005": (0x88, b"\x03\xed", 1002),
            "close code 1006": (0x88, b"\x03\xee", 1002),
            "close code 999": (0x88, b"\x03\xe7", 1002),
            "close code 2999": (0x88, b"\x0b\xb7", 1002),
            "close code 5000": (0x88, b"\x13\x88", 1002),
            "bad text in a close reason": (0x88, b"\x03\xe8\xff", 1007),
        }
        for name, (first, payload, code) in bad.items():
            for connection, masked in self.both():
                (event,) = receive(connection, frame(first, payload, masked=masked))
                self.assertIsInstance(event, CloseConnection, name)
                self.assertEqual(event.code, code, name)
                self.assertIs(connection.state, ConnectionState.OPEN, name)

    def test_wrong_mask(self):
        """An unmasked frame from a client is an error, and so is a masked one from a server."""
        for connection, masked in self.both():
            (event,) = receive(connection, frame(0x82, b"x", masked=not masked))
            self.assertEqual(event.code, 1002)
            self.assertIs(connection.state, ConnectionState.OPEN)

    def test_peers_close(self):
        """A peer's close frame makes it REMOTE_CLOSING; without a code the event has 1005."""
        for payload, code, reason in (
            (b"", 1005, ""),
            (b"\x03\xe8", 1000, ""),
            (b"\x0f\xa0bye", 4000, "bye"),
            (b"\x03\xf6", 1014, None),
        ):
            for connection, masked in self.both():
                (event,) = receive(connection, frame(0x88, payload, masked=masked))
                if reason is None:
                    # 1014 is in IANA's registry and not in wsproto, to which it is a complaint.
                    self.assertEqual(event.code, 1002)
                    self.assertIs(connection.state, ConnectionState.OPEN)
                    continue
                self.assertEqual((event.code, event.reason or ""), (code, reason))
                self.assertIs(connection.state, ConnectionState.REMOTE_CLOSING)

    def test_nothing_comes_after_a_complaint(self):
        """After a failure the parser is dead: it drops all further bytes silently, so the error must be kept."""
        for connection, masked in self.both():
            receive(connection, frame(0x83, masked=masked))
            self.assertEqual(receive(connection, frame(0x82, b"lost", masked=masked)), [])

    def test_bytes_after_a_close_are_dropped(self):
        """After a peer's close further bytes lead to no event and no exception."""
        for connection, masked in self.both():
            receive(connection, frame(0x88, masked=masked))
            self.assertEqual(receive(connection, frame(0x82, b"late", masked=masked)), [])

    def test_two_bytes_are_enough_to_fail(self):
        """A reserved opcode, a fragmented or oversized control frame: refused at the second byte."""
        for first, second in ((0x83, 0x80), (0x8B, 0x80), (0x09, 0x80), (0x89, 0xFE), (0x88, 0xFF)):
            (event,) = receive(Connection(SERVER), bytes([first, second]))
            self.assertEqual(event.code, 1002)

    def test_lengths_must_be_minimal(self):
        """A longer form of the length than needed is 1002, and so is one with the sign bit."""
        for head in (b"\x82\xfe\x00\x7d", b"\x82\xff" + (65535).to_bytes(8, "big"), b"\x82\xff" + b"\xff" * 8):
            (event,) = receive(Connection(SERVER), head)
            self.assertEqual(event.code, 1002)

    def test_a_declared_length_costs_nothing(self):
        """2**62 bytes may be declared: wsproto waits and reserves nothing."""
        self.assertEqual(receive(Connection(SERVER), b"\x82\xff" + (1 << 62).to_bytes(8, "big") + bytes(4)), [])

    def test_messages_come_in_parts(self):
        """A message is handed out as it arrives; frame_finished and message_finished say what ended."""
        connection = Connection(SERVER)
        stream = frame(0x02, b"ab") + frame(0x89, b"p") + frame(0x80, b"cd")
        seen = [
            (event.data, event.frame_finished, event.message_finished) if isinstance(event, Message) else type(event)
            for event in receive(connection, stream, step=1)
        ]
        self.assertEqual(
            seen,
            [(b"a", False, False), (b"b", True, False), Ping, (b"c", False, False), (b"d", True, True)],
        )

    def test_text_is_str_whole_characters_at_a_time(self):
        """TEXT comes as str; a character cut by a fragment comes with the fragment that ends it."""
        stream = frame(0x01, b"a\xc3") + frame(0x80, b"\xa4")
        events = receive(Connection(SERVER), stream)
        self.assertEqual([event.data for event in events], ["a", "ä"])
        self.assertTrue(all(isinstance(event, TextMessage) for event in events))

    def test_bad_text_fails_at_once(self):
        """Bytes that cannot begin or continue a character are 1007 before the message has ended (Autobahn 6.4.3)."""
        (event,) = receive(Connection(SERVER), frame(0x01, b"\xf4\x90"))
        self.assertEqual(event.code, 1007)
        *_, event = receive(Connection(SERVER), frame(0x01, b"ok") + frame(0x80, b"\xc3"))
        self.assertEqual(event.code, 1007)

    def test_types_of_payloads(self):
        """BINARY, ping and pong payloads are bytes or bytearray."""
        stream = frame(0x82, b"b") + frame(0x89, b"i") + frame(0x8A, b"o")
        binary, ping, pong = receive(Connection(SERVER), stream)
        self.assertEqual((bytes(binary.data), bytes(ping.payload), bytes(pong.payload)), (b"b", b"i", b"o"))
        self.assertIsInstance(ping, Ping)
        self.assertIsInstance(pong, Pong)


class WsprotoOutboundTests(unittest.TestCase):
    """Why frame.encode and payloads.format_close_message check first, and what they are compared with."""

    def test_frames(self):
        """A server's frames, of each form of length, unmasked; one frame for each event."""
        connection = Connection(SERVER)
        self.assertEqual(connection.send(TextMessage("Hello")), b"\x81\x05Hello")
        self.assertEqual(connection.send(BytesMessage(bytes(126))), b"\x82\x7e\x00\x7e" + bytes(126))
        self.assertEqual(connection.send(BytesMessage(bytes(65536)))[:10], b"\x82\x7f" + (65536).to_bytes(8, "big"))
        self.assertEqual(connection.send(Ping(b"p")), b"\x89\x01p")

    def test_client_frames_are_masked(self):
        """A client's key is fresh for each frame."""
        connection = Connection(CLIENT)
        keys = {connection.send(Ping())[2:6] for _ in range(4)}
        self.assertGreater(len(keys), 1)

    def test_state_after_closing(self):
        """A close sent makes it LOCAL_CLOSING, and no message may follow: a second close, or anything, raises."""
        connection = Connection(SERVER)
        self.assertEqual(connection.send(CloseConnection(1000, "bye")), b"\x88\x05\x03\xe8bye")
        self.assertIs(connection.state, ConnectionState.LOCAL_CLOSING)
        for event in (TextMessage("x"), Ping(), CloseConnection(1000)):
            with self.assertRaises(LocalProtocolError):
                connection.send(event)

    def test_local_codes_become_1000(self):
        """1005, 1006 and 1015 are silently sent as 1000: format_close_message refuses them instead."""
        for code in (1006, 1015):
            self.assertEqual(Connection(SERVER).send(CloseConnection(code)), b"\x88\x02\x03\xe8")

    def test_long_reasons_are_cut(self):
        """A reason over 123 bytes is silently cut: format_close_message refuses it instead."""
        self.assertEqual(len(Connection(SERVER).send(CloseConnection(1000, "x" * 200))), 2 + 125)

    def test_interleaved_messages(self):
        """Another message of the same type inside an open one becomes its last fragment, silently (locks.md F5)."""
        connection = Connection(SERVER)
        connection.send(TextMessage("one", message_finished=False))
        self.assertEqual(connection.send(TextMessage("two")), b"\x80\x03two")


def parse(data, **options):
    """(connection, events) of an h11 server that received data; an exception is the last event."""
    connection = h11.Connection(h11.SERVER, **options)
    connection.receive_data(data)
    events = []
    while True:
        try:
            event = connection.next_event()
        except h11.RemoteProtocolError as error:
            return connection, [*events, error]
        if event in (h11.NEED_DATA, h11.PAUSED):
            return connection, [*events, event]
        events.append(event)


class H11Tests(unittest.TestCase):
    """The HTTP/1.1 parser: http11.HTTPConnection."""

    UPGRADE = b"GET /chat HTTP/1.1\r\nHost: a\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n\r\n"

    def test_version(self):
        """setup.cfg allows 0.16 and later, below 1."""
        major, minor = map(int, h11.__version__.split(".")[:2])
        self.assertEqual(major, 0)
        self.assertGreaterEqual(minor, 16)

    def test_bare_lf_is_accepted(self):
        """h11 accepts lines that end in LF alone: head refuses them before."""
        _, events = parse(b"GET / HTTP/1.1\nHost: a\n\n")
        self.assertIsInstance(events[0], h11.Request)

    def test_folded_headers_are_accepted(self):
        """h11 joins a header that goes on in the next line (obs-fold): head refuses it before."""
        _, events = parse(b"GET / HTTP/1.1\r\nHost: a\r\nX: one\r\n two\r\n\r\n")
        self.assertIn((b"x", b"one two"), list(events[0].headers))

    def test_repeated_content_length_is_accepted(self):
        """h11 accepts the same Content-Length twice, or in a list: head refuses it before. Different ones fail."""
        for lengths in (b"Content-Length: 3\r\nContent-Length: 3", b"Content-Length: 3, 3"):
            _, events = parse(b"POST / HTTP/1.1\r\nHost: a\r\n" + lengths + b"\r\n\r\nabc")
            self.assertEqual([value for name, value in events[0].headers if name == b"content-length"], [b"3"])
        _, events = parse(b"POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 3\r\nContent-Length: 4\r\n\r\nabc")
        self.assertIsInstance(events[0], h11.RemoteProtocolError)

    def test_content_length_with_transfer_encoding_is_accepted(self):
        """With both, h11 goes by the chunks: head refuses it before."""
        head = b"POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 1\r\nTransfer-Encoding: chunked\r\n\r\n"
        _, events = parse(head + b"3\r\nabc\r\n0\r\n\r\n")
        self.assertEqual([bytes(e.data) for e in events if isinstance(e, h11.Data)], [b"abc"])

    def test_bare_lf_in_trailers_is_accepted(self):
        """h11 accepts bare LF after a chunked body too: so no further request is read after one."""
        head = b"POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n"
        _, events = parse(head + b"0\r\nX: y\n\n")
        self.assertIsInstance(events[1], h11.EndOfMessage)

    def test_what_h11_refuses(self):
        """h11 refuses by itself: no Host or two, a space before the colon, another transfer coding."""
        for head in (
            b"GET / HTTP/1.1\r\n\r\n",
            b"GET / HTTP/1.1\r\nHost: a\r\nHost: b\r\n\r\n",
            b"GET / HTTP/1.1\r\nHost : a\r\n\r\n",
            b"GET / HTTP/1.1\r\nHost: a\r\nX: \x00\r\n\r\n",
            b"POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: gzip\r\n\r\n",
            b"POST / HTTP/1.1\r\nHost: a\r\nContent-Length: -1\r\n\r\n",
            b"\x16\x03\x01\x02\x00\r\n\r\n",
        ):
            with self.subTest(head=head):
                connection, events = parse(head)
                self.assertIsInstance(events[0], h11.RemoteProtocolError)
                self.assertIn(events[0].error_status_hint, range(400, 600))
                self.assertIs(connection.their_state, h11.ERROR)

    def test_size_of_a_head_is_limited(self):
        """A head that grows over max_incomplete_event_size is refused as 431."""
        _, events = parse(b"GET / HTTP/1.1\r\nHost: a\r\nX: " + b"x" * 1000, max_incomplete_event_size=500)
        self.assertEqual(events[0].error_status_hint, 431)

    def test_upgrade_pauses(self):
        """After a request with Upgrade h11 reads no further: MIGHT_SWITCH_PROTOCOL, the rest in trailing_data."""
        connection, events = parse(self.UPGRADE + b"early bytes")
        self.assertEqual([type(event) for event in events[:2]], [h11.Request, h11.EndOfMessage])
        self.assertIs(events[2], h11.PAUSED)
        self.assertIs(connection.their_state, h11.MIGHT_SWITCH_PROTOCOL)
        self.assertEqual(connection.trailing_data, (b"early bytes", False))

    def test_any_upgrade_header_pauses(self):
        """Upgrade without "Connection: Upgrade", and in HTTP/1.0, pauses too: the library decides what it means."""
        for head in (
            b"GET / HTTP/1.1\r\nHost: a\r\nUpgrade: h2c\r\n\r\n",
            b"GET / HTTP/1.0\r\nUpgrade: websocket\r\n\r\n",
        ):
            connection, _ = parse(head + b"rest")
            self.assertIs(connection.their_state, h11.MIGHT_SWITCH_PROTOCOL)
            self.assertEqual(connection.trailing_data[0], b"rest")

    def test_trailing_data_of_a_plain_request(self):
        """After a request without a body, and inside one that was read in part, the rest is in trailing_data."""
        connection, _ = parse(b"GET / HTTP/1.1\r\nHost: a\r\n\r\nGET /next")
        self.assertIs(connection.their_state, h11.DONE)
        self.assertEqual(connection.trailing_data[0], b"GET /next")
        connection = h11.Connection(h11.SERVER)
        connection.receive_data(b"POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 5\r\n\r\nabc")
        self.assertIsInstance(connection.next_event(), h11.Request)
        self.assertIs(connection.their_state, h11.SEND_BODY)
        self.assertEqual(connection.trailing_data[0], b"abc")

    def test_refusing_an_upgrade(self):
        """An ordinary response to an upgrade request leaves MIGHT_SWITCH_PROTOCOL: the next request may be read."""
        connection, _ = parse(self.UPGRADE)
        connection.send(h11.Response(status_code=403, headers=[(b"Content-Length", b"0")]))
        connection.send(h11.EndOfMessage())
        self.assertIs(connection.their_state, h11.DONE)

    def test_headers_keep_order_repeats_and_spelling(self):
        """Iteration gives lower-case names in order, repeats included; raw_items() gives them as they were written."""
        _, events = parse(b"GET / HTTP/1.1\r\nHost: a\r\nX-One: 1\r\nx-ONE: 2\r\n\r\n")
        self.assertEqual(list(events[0].headers), [(b"host", b"a"), (b"x-one", b"1"), (b"x-one", b"2")])
        self.assertEqual(events[0].headers.raw_items(), [(b"Host", b"a"), (b"X-One", b"1"), (b"x-ONE", b"2")])
        self.assertEqual((events[0].method, events[0].target, events[0].http_version), (b"GET", b"/", b"1.1"))

    def test_expect_100_continue(self):
        """h11 says that a client waits for a 100, until it was sent."""
        head = b"POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 3\r\nExpect: 100-continue\r\n\r\n"
        connection, _ = parse(head)
        self.assertTrue(connection.they_are_waiting_for_100_continue)
        consent = connection.send(h11.InformationalResponse(status_code=100, headers=[], reason="Continue"))
        self.assertEqual(consent, b"HTTP/1.1 100 Continue\r\n\r\n")
        self.assertFalse(connection.they_are_waiting_for_100_continue)

    def test_a_response_head_alone(self):
        """send(Response) gives the bytes of its head, names as written, in order; the body need not follow."""
        connection, _ = parse(b"GET / HTTP/1.1\r\nHost: a\r\n\r\n")
        self.assertIs(connection.our_state, h11.SEND_RESPONSE)
        head = connection.send(
            h11.Response(status_code=200, headers=[(b"X-One", b"1"), (b"Content-Length", b"2")], reason="OK")
        )
        self.assertEqual(head, b"HTTP/1.1 200 OK\r\nX-One: 1\r\nContent-Length: 2\r\n\r\n")

    def test_a_request_that_failed_can_be_answered(self):
        """After bad input our side may still send its error."""
        connection, events = parse(b"GET / HTTP/1.1\r\n\r\n")
        self.assertIsInstance(events[0], h11.RemoteProtocolError)
        self.assertIs(connection.our_state, h11.IDLE)
        self.assertTrue(connection.send(h11.Response(status_code=400, headers=[(b"Content-Length", b"0")])))


if __name__ == "__main__":
    unittest.main()
