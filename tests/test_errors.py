"""errors.py: the tree of exceptions, the text of each, and the two vocabularies."""

from __future__ import annotations

import copy
import logging
import pickle
import re
import unittest
from pathlib import Path
from types import SimpleNamespace

from syncws import errors
from syncws.errors import (
    BackplaneError,
    BackplaneTimeout,
    BadHandshakeError,
    CloseCode,
    CloseError,
    CloseSentError,
    ConcurrencyError,
    ConnectionClosed,
    DuplicateIdError,
    HandshakeError,
    MessageType,
    ProtocolError,
    ProxyError,
    ReadLimitError,
    ReadTimeout,
    WebSocketError,
    WriteTimeout,
    is_close_error,
    is_unexpected_close_error,
)

# (exception, its parent in the tree, what it is besides)
TREE = (
    (HandshakeError, WebSocketError, Exception),
    (BadHandshakeError, HandshakeError, Exception),
    (ProxyError, HandshakeError, Exception),
    (ConnectionClosed, WebSocketError, Exception),
    (CloseError, ConnectionClosed, Exception),
    (ProtocolError, ConnectionClosed, Exception),
    (ReadLimitError, ProtocolError, Exception),
    (CloseSentError, ConnectionClosed, Exception),
    (ConcurrencyError, WebSocketError, RuntimeError),
    (DuplicateIdError, WebSocketError, ValueError),
    (BackplaneError, WebSocketError, Exception),
    (BackplaneTimeout, BackplaneError, TimeoutError),
    (ReadTimeout, WebSocketError, TimeoutError),
    (WriteTimeout, WebSocketError, TimeoutError),
)

# gorilla.md section 1.1: (code, name); there is no 1004 and no 1014.
CODES = {
    1000: "NORMAL_CLOSURE",
    1001: "GOING_AWAY",
    1002: "PROTOCOL_ERROR",
    1003: "UNSUPPORTED_DATA",
    1005: "NO_STATUS_RECEIVED",
    1006: "ABNORMAL_CLOSURE",
    1007: "INVALID_FRAME_PAYLOAD_DATA",
    1008: "POLICY_VIOLATION",
    1009: "MESSAGE_TOO_BIG",
    1010: "MANDATORY_EXTENSION",
    1011: "INTERNAL_SERVER_ERROR",
    1012: "SERVICE_RESTART",
    1013: "TRY_AGAIN_LATER",
    1015: "TLS_HANDSHAKE",
}

# One of each, as the library makes them.
EXAMPLES = (
    HandshakeError("no key", 400, "a response"),
    BadHandshakeError("not 101", SimpleNamespace(status=302)),
    BadHandshakeError("not HTTP"),
    ProxyError("no tunnel", 407, (("Via", "proxy"),)),
    CloseError(1001, "bye", [("sent", 1000, ""), ("received", 1001, "bye")]),
    ProtocolError(1002, "reserved bits set"),
    ReadLimitError("101 bytes are over the limit of 100"),
    CloseSentError(),
    ConcurrencyError("two readers"),
    DuplicateIdError("'ann' is there"),
    BackplaneError("NOPERM"),
    BackplaneTimeout("the bus did not answer"),
    ReadTimeout("too late"),
    WriteTimeout("too late"),
)


class TestTree(unittest.TestCase):
    """Which exceptions an except clause catches."""

    def test_parents(self):
        """Each exception stands where the drawing in the module's docstring puts it."""
        for exception, parent, besides in TREE:
            with self.subTest(exception.__name__):
                self.assertIs(exception.__bases__[0], parent)
                self.assertTrue(issubclass(exception, besides))
                self.assertTrue(issubclass(exception, WebSocketError))

    def test_the_drawing_is_complete(self):
        """The drawing names every exception of the module, and no other."""
        defined = {name for name, it in vars(errors).items() if isinstance(it, type) and issubclass(it, WebSocketError)}
        drawn = set(re.findall(r"^    (?:[│├└─ ]*)(\w+)", errors.__doc__, re.MULTILINE))
        self.assertEqual(drawn, defined)
        self.assertEqual({exception.__name__ for exception, _, _ in TREE} | {"WebSocketError"}, defined)

    def test_log_level(self):
        """The end of a peer that broke the protocol is logged at INFO, any other at DEBUG."""
        levels = [errors.log_level(end) for end in (ReadLimitError("x"), ProtocolError(1002), CloseError(1006))]
        self.assertEqual(levels, [logging.INFO, logging.INFO, logging.DEBUG])

    def test_timeouts_are_no_end(self):
        """A timeout is not ConnectionClosed: the connection may be used on."""
        for timeout in (ReadTimeout, WriteTimeout):
            self.assertFalse(issubclass(timeout, ConnectionClosed))

    def test_copy_and_pickle(self):
        """Every exception survives being copied and sent to another process, with its attributes and its text."""
        for error in EXAMPLES:
            for again in (copy.copy(error), pickle.loads(pickle.dumps(error))):
                with self.subTest(type(error).__name__):
                    self.assertIs(type(again), type(error))
                    self.assertEqual(vars(again), vars(error))
                    self.assertEqual(str(again), str(error))


class TestVocabulary(unittest.TestCase):
    """Message types and close codes are integers with names."""

    def test_message_types(self):
        """The five opcodes that a program meets (RFC 6455 section 11.8)."""
        self.assertEqual(
            {kind.name: int(kind) for kind in MessageType},
            {"TEXT": 1, "BINARY": 2, "CLOSE": 8, "PING": 9, "PONG": 10},
        )

    def test_unknown_message_type(self):
        """An unknown message type is a ValueError that names the types."""
        with self.assertRaisesRegex(ValueError, "no message type 3: use TEXT, BINARY"):
            MessageType(3)

    def test_close_codes(self):
        """gorilla's names, in Python's spelling, and nothing that gorilla has not."""
        self.assertEqual({int(code): code.name for code in CloseCode}, CODES)
        self.assertEqual(CloseCode.NORMAL_CLOSURE, 1000)


class TestMessages(unittest.TestCase):
    """What str() says, for logs and for people."""

    STORIES = (
        (CloseError(1000, "bye"), "1000 (normal closure): bye"),
        (CloseError(1000), "1000 (normal closure)"),
        (CloseError(4001, "replaced"), "4001: replaced"),
        (CloseError(CloseCode.GOING_AWAY), "1001 (going away)"),
        (CloseError(1005, "", [("received", 1005, "")]), "received 1005 (no status received)"),
        (
            CloseError(1000, "", [("sent", 1000, "done"), ("received", 1000, "")]),
            "sent 1000 (normal closure): done; then received 1000 (normal closure)",
        ),
        (
            CloseError(1001, "deploy", [("received", 1001, "deploy"), ("sent", 1001, "")]),
            "received 1001 (going away): deploy; then sent 1001 (going away)",
        ),
        (
            CloseError(1006, "the peer left without a close frame", [("sent", 1000, "")]),
            "sent 1000 (normal closure); then 1006 (abnormal closure): the peer left without a close frame",
        ),
        (
            ProtocolError(1002, "reserved bits set"),
            "the peer broke the protocol: 1002 (protocol error): reserved bits set",
        ),
        (
            ReadLimitError("101 bytes are over the limit of 100"),
            "read limit exceeded: 101 bytes are over the limit of 100",
        ),
        (CloseSentError(), "this side has closed the connection; nothing can be written any more"),
        (HandshakeError("no key"), "no key"),
        (ProxyError("no tunnel", 407), "no tunnel"),
    )

    def test_stories(self):
        """CloseError tells who closed with which code, in order; the other errors tell what went wrong."""
        for error, story in self.STORIES:
            with self.subTest(story):
                self.assertEqual(str(error), story)

    def test_a_peers_reason_writes_no_log_line(self):
        """Log forging: str() and repr() hold a peer's reason on one line, escaped; the attribute has it raw."""
        reason = "bye\r\nCRITICAL:root:forged \x1b[31m\u202e\u2028"
        for error in (
            CloseError(4000, reason, [("received", 4000, reason), ("sent", 1000, "a\nb")]),
            CloseError(4000, reason),
            ProtocolError(1002, reason),
            ReadLimitError(reason),
        ):
            with self.subTest(error=type(error)):
                for text in (str(error), repr(error)):
                    self.assertTrue(text.isprintable(), text)
                    self.assertIn(r"bye\r\nCRITICAL:root:forged \x1b[31m\u202e\u2028", text)
                self.assertEqual(error.reason, reason)

    def test_closings_are_a_snapshot(self):
        """The story does not change when the connection's own record goes on."""
        record = [("sent", 1000, "")]
        error = CloseError(1006, "", record)
        record.append(("received", 1000, ""))
        self.assertEqual(error.closings, (("sent", 1000, ""),))

    def test_attributes(self):
        """Codes, reasons, statuses and responses are attributes."""
        self.assertEqual((CloseError(1001, "x").code, CloseError(1001, "x").reason), (1001, "x"))
        self.assertEqual((ProtocolError(1002, "x").code, ProtocolError(1002, "x").reason), (1002, "x"))
        self.assertEqual((ReadLimitError("x").code, ReadLimitError("x").reason), (1009, "x"))
        self.assertEqual((HandshakeError("x").status, HandshakeError("x", 403, "r").response), (400, "r"))
        self.assertEqual((ProxyError("x").status, ProxyError("x", 407, [1]).headers), (502, [1]))


class TestPage(unittest.TestCase):
    """docs/errors.md, the catalogue."""

    PAGE = (Path(__file__).resolve().parents[1] / "docs" / "errors.md").read_text()

    def test_every_exception_is_there(self):
        """Each exception of the library has a row, and each row is one."""
        ours = {
            name for name, kind in vars(errors).items() if isinstance(kind, type) and issubclass(kind, WebSocketError)
        }
        self.assertEqual(set(re.findall(r"^\| `(\w+)` \|", self.PAGE, re.MULTILINE)), ours - {"WebSocketError"})

    def test_every_close_code_is_there(self):
        """Each close code of the registry has a row, with the name that str() gives it."""
        rows = re.findall(r"^\| (1\d\d\d) \| ([\w ]+) \|", self.PAGE, re.MULTILINE)
        self.assertEqual({int(code) for code, _ in rows}, {*map(int, CloseCode), 1014})
        for code, name in rows:
            self.assertEqual(str(CloseError(int(code))), f"{code} ({name.lower()})")


class TestPredicates(unittest.TestCase):
    """gorilla's TestCloseError and TestUnexpectedCloseErrors, as tables."""

    def wrapped(self):
        error = RuntimeError("wrapped")
        error.__cause__ = CloseError(1000)
        return error

    def test_is_close_error(self):
        """True for a CloseError with one of the codes, and for nothing else."""
        for error, codes, expected in (
            (CloseError(1000), (1000,), True),
            (CloseError(1000), (1001, 1000), True),
            (CloseError(1000), (CloseCode.NORMAL_CLOSURE,), True),
            (CloseError(1000), (), False),
            (CloseError(1000), (1001,), False),
            (ProtocolError(1002), (1002,), False),
            (ReadLimitError(), (1009,), False),
            (RuntimeError(), (1000,), False),
            (self.wrapped(), (1000,), False),
            (None, (1000,), False),
        ):
            with self.subTest(error=error, codes=codes):
                self.assertIs(is_close_error(error, *codes), expected)

    def test_is_unexpected_close_error(self):
        """True for a CloseError with none of the codes; False for what is no CloseError, such as a timeout."""
        for error, codes, expected in (
            (CloseError(1000), (1000,), False),
            (CloseError(1000), (1001, 1000), False),
            (CloseError(1000), (), True),
            (CloseError(1000), (1001,), True),
            (CloseError(1006), (CloseCode.GOING_AWAY,), True),
            (ProtocolError(1002), (1000,), False),
            (ReadTimeout(), (1000,), False),
            (RuntimeError(), (1000,), False),
            (self.wrapped(), (1001,), False),
            (None, (1000,), False),
        ):
            with self.subTest(error=error, codes=codes):
                self.assertIs(is_unexpected_close_error(error, *codes), expected)

    def test_codes_in_a_list(self):
        """A list of codes, which would never match, is a TypeError that says how codes are given."""
        for predicate in (is_close_error, is_unexpected_close_error):
            with self.assertRaisesRegex(TypeError, "an argument of its own"):
                predicate(CloseError(1000), [1000])


if __name__ == "__main__":
    unittest.main()
