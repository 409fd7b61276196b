"""The fields of log records: what a line is about, for programs that read logs."""

from __future__ import annotations

import logging
import threading
import unittest
from unittest import mock

from syncws import CloseError
from syncws._base.logs import FIELDS, Told, lines_later, logger


class Thing(Told):
    """What a line may be about."""

    def __init__(self, **fields: object) -> None:
        self._fields = fields

    def log_fields(self) -> dict[str, object]:
        return self._fields


class LaterTests(unittest.TestCase):
    def test_lines_later(self) -> None:
        """What a thread logs under a lock is told once it has let go, in order; what others log is not held."""
        log = logger("tests.later")
        with self.assertLogs(log, logging.INFO) as logs:
            with self.assertRaises(KeyError), lines_later:
                log.info("%s", 1, extra={"about": Thing(connection_id="7")})
                with lines_later:
                    log.warning("2")
                self.assertEqual(logs.records, [])
                other = threading.Thread(target=log.info, args=("other",))
                other.start()
                other.join()
                self.assertEqual(len(logs.records), 1)
                raise KeyError
            log.info("3")
        self.assertEqual([record.getMessage() for record in logs.records], ["other", "1", "2", "3"])
        self.assertEqual(getattr(logs.records[1], "connection_id", None), "7")


class FieldsTests(unittest.TestCase):
    def setUp(self) -> None:
        self.log = logger("tests.fields")
        self.log.propagate = False

    def fields(self, message: str, *arguments: object, **keywords: object) -> tuple[object, ...]:
        with self.assertLogs(self.log, logging.INFO) as logs:
            self.log.info(message, *arguments, **keywords)  # type: ignore[arg-type]
        return tuple(getattr(logs.records[0], name) for name in FIELDS)

    def test_none(self) -> None:
        """A record that is about nothing known has each field, as None: a format that names them works."""
        for arguments in ((), ("text",), ({"code": 1},), (None,)):
            with self.subTest(arguments=arguments):
                self.assertEqual(self.fields("hello" if not arguments else "%s", *arguments), (None,) * 4)

    def test_of_the_arguments(self) -> None:
        """The fields are those of whatever the line names; what is not known does not hide what is."""
        one = Thing(connection_id="7", path=None, remote_address="::1")
        self.assertEqual(
            self.fields("%s %s %s", one, Thing(path="/chat", remote_address=None), 5), ("7", "/chat", "::1", None)
        )

    def test_code_of_an_error(self) -> None:
        """An exception gives its code, or else its status; one whose code is no number gives none."""
        status, text = Exception(), Exception()
        status.status, text.code = 403, "E1"  # type: ignore[attr-defined]
        for error, code in ((CloseError(1001), 1001), (status, 403), (text, None), (OSError(5, "x"), None)):
            with self.subTest(error=error):
                found = self.fields("%s", error)[3]
                self.assertEqual((found, type(found)), (code, type(code)))

    def test_what_an_application_has(self) -> None:
        """An application's object, and its exception, may have attributes of these names, and do anything there."""

        class Odd(Exception):
            @property
            def code(self) -> int:
                raise ValueError

        class Proxy:
            @property
            def __class__(self) -> type:  # type: ignore[override]
                raise RuntimeError("outside of a request")

        for odd in (mock.Mock(), mock.Mock(log_fields=5), Odd("x"), Proxy(), mock.Mock(spec=Thing)):
            with self.subTest(type(odd)):
                self.assertEqual(self.fields("%s %s", odd, 1), (None,) * 4)

    def test_about(self) -> None:
        """A line that names it by a text only says what it is about; the record does not keep the object."""
        with self.assertLogs(self.log) as logs:
            self.log.info("full", extra={"about": Thing(connection_id="7")})
        self.assertEqual(logs.records[0].connection_id, "7")  # type: ignore[attr-defined]
        self.assertNotIn("about", vars(logs.records[0]))

    def test_what_a_call_gives_stays(self) -> None:
        """A field that a call gives by itself is not overwritten."""
        found = self.fields("%s", Thing(path="/a", code=1), extra={"path": "/b", "code": 1006})
        self.assertEqual(found, (None, "/b", None, 1006))

    def test_one_filter(self) -> None:
        """However many modules ask for a logger, each record passes one filter of a kind."""
        before = list(self.log.filters)
        self.assertIs(logger("tests.fields"), self.log)
        self.assertEqual(self.log.filters, before)


if __name__ == "__main__":
    unittest.main()
