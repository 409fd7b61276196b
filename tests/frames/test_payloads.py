"""payloads.py: what a caller may put into a message and into a close, and what each mistake raises."""

from __future__ import annotations

import unittest

from syncws._frames.payloads import (
    clipped_reason,
    format_close_message,
    is_sendable,
    message_payload,
    parse_close_payload,
    received_close,
)
from syncws.errors import ProtocolError
from tests.frames.cases import (
    BINARY,
    CLOSE,
    PING,
    PONG,
    TEXT,
    ProtocolTestCase,
)


class TestPayloads(ProtocolTestCase):
    """What a caller may put into a message: mistakes raise before anything is written."""

    GOOD_CODES = (1000, 1001, 1002, 1003, 1007, 1008, 1009, 1010, 1011, 1012, 1013, 1014, 3000, 3999, 4000, 4999)
    BAD_CODES = (-1, 0, 1, 999, 1004, 1006, 1015, 1016, 1999, 2000, 2999, 5000, 65535, 65536)

    def test_close_payload(self):
        """Two bytes of code, then the reason in UTF-8; 1005 gives the empty payload (gorilla's FormatCloseMessage)."""
        for code in self.GOOD_CODES:
            self.assertTrue(is_sendable(code))
            self.assertEqual(format_close_message(code), code.to_bytes(2))
            self.assertEqual(format_close_message(code, "grüß"), code.to_bytes(2) + "grüß".encode())
            self.assertEqual(parse_close_payload(format_close_message(code, "grüß")), (code, "grüß"))
        self.assertEqual(format_close_message(1005), b"")
        self.assertEqual(parse_close_payload(b""), (1005, ""))

    def test_close_payload_of_wrong_types(self):
        """A code that is no integer and a reason that is no str are a TypeError that shows both."""
        for code, reason in (("bye", ""), (None, ""), (1000, None), (1000, b"bye")):
            with self.subTest(code=code, reason=reason), self.assertRaisesRegex(TypeError, "an integer code and a str"):
                format_close_message(code, reason)

    def test_codes_that_may_not_be_sent(self):
        """Codes that are reserved, or only tell this side what happened, are a ValueError that names the good ones."""
        for code in self.BAD_CODES:
            self.assertFalse(is_sendable(code))
            with self.assertRaisesRegex(ValueError, f"close code {code} may not be sent: use 1000 to 1003"):
                format_close_message(code)
        for code in (*(code for code in self.BAD_CODES if 0 <= code < 1 << 16), 1005):
            with self.assertRaisesRegex(ValueError, "may not be sent"):
                parse_close_payload(code.to_bytes(2) + b"why")
            with self.assertRaisesRegex(ValueError, "may not be sent"):
                parse_close_payload(code.to_bytes(2))

    def test_reasons_that_cannot_be_sent(self):
        """A reason has at most 123 bytes, of UTF-8, and needs a code."""
        self.assertEqual(len(format_close_message(1000, "x" * 123)), 125)
        for code, reason in ((1000, "x" * 124), (1000, "€" * 42), (1005, "why"), (1000, "\ud800")):
            with self.assertRaises(ValueError):
                format_close_message(code, reason)
        with self.assertRaisesRegex(ValueError, "is empty or begins with two bytes of code"):
            parse_close_payload(b"\x03")
        for payload in (b"\x03\xe8\xff", b"\x03\xe8" + b"x" * 124):
            with self.assertRaises(ValueError):
                parse_close_payload(payload)

    def test_received(self):
        """What a peer's close frame says, or what its connection fails with."""
        self.assertEqual(received_close(b""), (1005, ""))
        self.assertEqual(received_close(format_close_message(1014, "grüß")), (1014, "grüß"))
        for payload, code, reason in (
            (b"\x03", 1002, "a close frame of one byte, which is no code"),
            (b"\x03\xe8\xff", 1007, "a close reason that is not UTF-8"),
            (b"\x03\xec\r\n", 1002, "a close frame with code 1004, which may not be sent: \r\n"),
        ):
            error = received_close(payload)
            self.assertIsInstance(error, ProtocolError)
            self.assertEqual((error.code, error.reason), (code, reason))
            self.assertTrue(str(error).isprintable())

    def test_clipped_reason(self):
        """Of a reason that is too long, or holds half a surrogate pair, what fits is left, in whole characters."""
        for reason, clipped in (("x" * 200, "x" * 123), ("€" * 60, "€" * 41), ("a\udc80", "a?"), ("why", "why")):
            self.assertEqual(clipped_reason(reason), clipped)
            format_close_message(1002, clipped)

    def test_message_payload(self):
        """TEXT is str and travels as UTF-8; the other types are bytes in any form, copied if they could change."""
        self.assertEqual(message_payload(TEXT, "grüß"), "grüß".encode())
        for kind in (BINARY, PING, PONG, CLOSE, 2):
            for data in (b"data", bytearray(b"data"), memoryview(b"data"), memoryview(b"d_a_t_a_")[::2]):
                payload = message_payload(kind, data)
                self.assertIs(type(payload), bytes)
                self.assertEqual(payload, b"data")
        self.assertEqual(len(message_payload(PING, bytes(125))), 125)

    def test_mistakes(self):
        """The wrong kind of data is a TypeError, the wrong type or size a ValueError, each with the way out."""
        numbers = memoryview(bytes(128)).cast("I")
        for kind, data, error, words in (
            (TEXT, b"data", TypeError, "decode it, or send it as BINARY"),
            (TEXT, None, TypeError, "a message is str or bytes, not NoneType: send_json sends"),
            (BINARY, "data", TypeError, "encode it, or send it as TEXT"),
            (PING, "data", TypeError, "encode it"),
            (PING, 5, TypeError, "a control frame carries bytes, not int"),
            (BINARY, 5, TypeError, "not int"),
            (BINARY, ["data"], TypeError, "not list"),
            (TEXT, "\ud800", ValueError, "surrogates not allowed"),
            (PING, bytes(126), ValueError, "at most 125 bytes, not 126"),
            (PONG, numbers, ValueError, "at most 125 bytes, not 128"),
            (CLOSE, bytes(126), ValueError, "at most 125 bytes"),
            (0, b"data", ValueError, "no message type 0"),
            (3, b"data", ValueError, "no message type 3"),
            (11, b"data", ValueError, "no message type 11"),
        ):
            with self.subTest(kind=kind, data=data), self.assertRaisesRegex(error, words):
                message_payload(kind, data)


if __name__ == "__main__":
    unittest.main()
