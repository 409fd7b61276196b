"""The loggers of the package: every record says what it is about, in fields for programs."""

from __future__ import annotations

import contextlib
import logging
import threading
from collections.abc import Mapping
from typing import cast

from .tracebacks import tame_tracebacks

#: Attributes of every record, None where they are not known or do not apply. What a peer chose in them is escaped.
#: `code` is that of a close (RFC 6455 section 7.4), or the status of an answer.
FIELDS = ("connection_id", "path", "remote_address", "code")


class Told:
    """Something that lines are about: a connection, a member, a request.

    A class of its own, and not whatever has such a method: an application's objects stand in lines, too.
    """

    __slots__ = ()

    def log_fields(self) -> Mapping[str, object]:
        """Some of `FIELDS`. It raises nothing and takes no lock: a line may be logged anywhere."""
        raise NotImplementedError


def logger(name: str) -> logging.Logger:
    """The logger of this name, whose records have `FIELDS` and whose tracebacks are tame.

    The fields come from what a line names: its arguments, or ``extra={"about": ...}`` where it names them by a text
    only. What a call gives by ``extra`` itself stays as it is.
    """
    log = logging.getLogger(name)
    tame_tracebacks(log)
    log.addFilter(_add_fields)
    return log


def _add_fields(record: logging.LogRecord) -> bool:
    fields = record.__dict__
    about = fields.pop("about", None)
    arguments = record.args if isinstance(record.args, tuple) else ()
    found: dict[str, object] = dict.fromkeys(FIELDS)
    for each in (*arguments, about):
        found |= {name: value for name, value in _fields_of(each).items() if value is not None}
    for name, value in found.items():
        fields.setdefault(name, value)
    if _held_back.depth:
        _held_back.records.append(record)
        return False
    return True


class _HeldBack(threading.local):
    """The lines of a thread that are to be told later."""

    def __init__(self) -> None:
        self.depth = 0  # how many `lines_later` it is in
        self.records: list[logging.LogRecord] = []


_held_back = _HeldBack()


class _LinesLater:
    """See `lines_later`. Each thread has its own lines."""

    def __enter__(self) -> None:
        _held_back.depth += 1

    def __exit__(self, *_: object) -> None:
        held = _held_back
        held.depth -= 1
        if held.records and not held.depth:
            records, held.records = held.records, []
            for record in records:
                logging.getLogger(record.name).handle(record)


#: ``with lines_later, lock:`` What the thread logs inside is told once the lock is let go: a handler of the log is code
#: of the application, which may broadcast what it gets, and would wait for that very lock.
lines_later = _LinesLater()


def _fields_of(about: object) -> Mapping[str, object]:
    # By its type: what an application has may say that it is of another class, or raise when it is asked (a proxy).
    if issubclass(type(about), Told):
        return cast(Told, about).log_fields()
    if issubclass(type(about), Exception):
        return {"code": _code_of(cast(Exception, about))}
    return {}


def _code_of(error: Exception) -> int | None:
    """The code of an exception, or else its status, if that is a number; an application's may have anything there."""
    for name in ("code", "status"):
        with contextlib.suppress(Exception):
            if isinstance(value := getattr(error, name, None), int):
                return int(value)
    return None
