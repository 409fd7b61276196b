"""options.py: what may be set on a connection, and what is refused with a word that helps."""

from __future__ import annotations

import dataclasses
import pathlib
import unittest

from syncws._base.options import (
    ConnOptions,
    check_call_timeout,
    check_detach,
    check_unix_path,
    check_wait,
    strings,
)

NAN, INFINITY = float("nan"), float("inf")

DEFAULTS = {
    "read_limit": 1 << 20,
    "fragment_limit": 16384,
    "control_limit": 1000,
    "control_rate": 100,
    "least_rate": 500,
    "least_rate_grace": 10.0,
    "ping_interval": 20.0,
    "ping_timeout": 20.0,
    "close_timeout": 10.0,
    "send_queue": 256,
    "send_queue_bytes": 1 << 20,
    "overflow": "close",
    "read_buffer_size": 1 << 16,
    "write_buffer_size": 1 << 12,
    "context_idle": 30.0,
    "answers_together": True,
}

GOOD = (
    ("read_limit", (None, 0, 1, 1 << 40)),
    ("ping_interval", (None, 0.001, 1, 3600)),
    ("ping_timeout", (None, 0.001, 1, 3600)),
    ("close_timeout", (0.001, 1, 3600)),
    ("send_queue", (1, 10_000)),
    ("send_queue_bytes", (1, 1 << 30)),
    ("overflow", ("close", "drop_oldest", "drop_newest")),
    ("read_buffer_size", (1, 1 << 20)),
    ("write_buffer_size", (1, 1 << 20)),
    ("context_idle", (None, 0.001, 3600)),
)

BAD_VALUES = (
    ("read_limit", (-1,)),
    ("ping_interval", (0, -1, NAN, INFINITY, 10**400)),
    ("ping_timeout", (0, -1, NAN, INFINITY, 10**400)),
    ("close_timeout", (0, -1, NAN, INFINITY, 10**400)),
    ("send_queue", (0, -1)),
    ("send_queue_bytes", (0, -1)),
    ("overflow", ("wait", "", None, [], 1)),
    ("read_buffer_size", (0, -1)),
    ("write_buffer_size", (0, -1)),
    ("context_idle", (0, -1, NAN, INFINITY, 10**400)),
)

BAD_TYPES = (
    ("read_limit", ("1", 1.5, True, b"")),
    ("ping_interval", ("20", True, [])),
    ("ping_timeout", ("20", False)),
    ("close_timeout", (None, "10", True)),
    ("send_queue", (None, 1.5, True)),
    ("send_queue_bytes", (None, 1.5, "1")),
    ("read_buffer_size", (None, 4096.0)),
    ("write_buffer_size", (None, "4096")),
    ("context_idle", ("30", True)),
    ("answers_together", (None, 1, "yes")),
)


class TestConnOptions(unittest.TestCase):
    """One immutable record, checked once."""

    def test_defaults(self):
        """The defaults are those of the manual: limits and keepalive are on."""
        self.assertEqual(dataclasses.asdict(ConnOptions()), DEFAULTS)

    def test_names(self):
        """names() is the set of options, for whoever passes them on."""
        self.assertEqual(ConnOptions.names(), frozenset(DEFAULTS))

    def test_values_that_work(self):
        """Everything sensible is accepted, and kept as it is."""
        for name, values in GOOD:
            for value in values:
                with self.subTest(name, value=value):
                    self.assertEqual(getattr(ConnOptions(**{name: value}), name), value)

    def test_values_that_cannot_work(self):
        """A value out of range is a ValueError that names the option and the value."""
        for name, values in BAD_VALUES:
            for value in values:
                with self.subTest(name, value=value), self.assertRaises(ValueError) as caught:
                    ConnOptions(**{name: value})
                self.assertRegex(str(caught.exception), f"^{name} (must be|is one of) ")
                self.assertIn(repr(value), str(caught.exception))

    def test_types_that_cannot_work(self):
        """A value of the wrong type is a TypeError that names the option; True is no number."""
        for name, values in BAD_TYPES:
            for value in values:
                with self.subTest(name, value=value), self.assertRaises(TypeError) as caught:
                    ConnOptions(**{name: value})
                self.assertRegex(str(caught.exception), f"^{name} is ")

    def test_messages_name_the_fix(self):
        """What can be switched off says how."""
        for options, message in (
            ({"ping_interval": 0}, "ping_interval must be more than 0 seconds, or None for no keepalive, not 0"),
            ({"ping_timeout": INFINITY}, "ping_timeout must be more than 0 seconds, or None for no limit, not inf"),
            ({"read_limit": -5}, "read_limit must be at least 0, or None for no limit, not -5"),
            ({"close_timeout": NAN}, "close_timeout must be more than 0 seconds, not nan"),
            ({"overflow": "drop"}, "overflow is one of close, drop_oldest, drop_newest, not 'drop'"),
        ):
            with self.assertRaises(ValueError) as caught:
                ConnOptions(**options)
            self.assertEqual(str(caught.exception), message)

    def test_immutable_and_by_keyword(self):
        """One object may serve any number of connections: nobody can change it, nor mix up its fields."""
        with self.assertRaises(dataclasses.FrozenInstanceError):
            ConnOptions().read_limit = 5
        with self.assertRaises(TypeError):
            ConnOptions(1 << 20)
        with self.assertRaises(TypeError):
            ConnOptions(unknown=1)

    def test_stall_limit(self):
        """A write may stand still as long as a silent peer is waited for; without keepalive, for ever."""
        self.assertEqual(ConnOptions(ping_interval=3, ping_timeout=4).stall_limit, 7)
        self.assertIsNone(ConnOptions(ping_interval=None).stall_limit)
        self.assertIsNone(ConnOptions(ping_timeout=None).stall_limit)


class CheckTests(unittest.TestCase):
    """The checks of options that several classes share."""

    def assert_checks(self, check, good, bad):
        """Each value of good passes, each of bad raises the error beside it, which shows the value."""
        for value in good:
            check(value)
        for value, error in bad:
            with self.subTest(value), self.assertRaises(error) as caught:
                check(value)
            self.assertIn(repr(value), str(caught.exception))

    def test_waits(self):
        """Seconds, 0 too; no limit is no wait."""
        bad = ((None, TypeError), ("1", TypeError), (True, TypeError), (-1, ValueError), (INFINITY, ValueError))
        self.assert_checks(lambda value: check_wait("grace", value), (0, 0.5, 10), bad)

    def test_detach(self):
        """Yes, no, or whatever is possible."""
        self.assert_checks(check_detach, (True, False, None), ((1, TypeError), ("yes", TypeError)))

    def test_unix_paths(self):
        """A path in any form, or an abstract name of Linux; an empty one, or one with a null in it, is none."""
        bad = ((5, TypeError), (None, TypeError), ("", ValueError), ("a\0b", ValueError))
        self.assert_checks(check_unix_path, ("/run/a", b"/run/a", pathlib.Path("/run/a"), "\0abstract"), bad)

    def test_timeouts_of_calls(self):
        """Seconds, of which none may be left, or None; not a number would be a wait without end."""
        self.assert_checks(
            check_call_timeout,
            (None, 0, -1, 2.5, INFINITY, 10**300),
            ((NAN, TypeError), ("1", TypeError), (10**400, ValueError)),
        )

    def test_lists_of_str(self):
        """Any iterable of str becomes a tuple; one str alone is never what was meant."""
        for given in (["a", "b"], ("a", "b"), iter("ab")):
            self.assertEqual(strings("origins", given, "['a']"), ("a", "b"))
        bad = (("ab", TypeError), (b"ab", TypeError), (5, TypeError), (["a", 1], TypeError))
        self.assert_checks(lambda value: strings("origins", value, "['a']"), ((), []), bad)


if __name__ == "__main__":
    unittest.main()
