"""Tracebacks in the log: what an exception says there may be a peer's text, and begins no line of its own."""

from __future__ import annotations

import logging
import traceback
from collections.abc import Iterator

from .printable import without_controls


def tame_tracebacks(logger: logging.Logger) -> None:
    """From now on what exceptions say in tracebacks of this logger is indented, and has no control characters.

    An application's exception often repeats what a peer sent: ``ValueError("no such room: " + name)``. The traceback is
    left as it is unless one of its exceptions says more than one printable line. ``exc_info`` stays what it is.
    """
    logger.addFilter(_tame)


def _tame(record: logging.LogRecord) -> bool:
    if record.exc_info and record.exc_info[1] is not None and record.exc_text is None:
        wild = [text for text in _texts(record.exc_info[1]) if not text.isprintable()]
        if wild:
            record.exc_text = _tamed("".join(traceback.format_exception(*record.exc_info)), wild)
    return True


def _tamed(told: str, wild: list[str]) -> str:
    """A traceback in which these texts of exceptions are indented."""
    for text in sorted(wild, key=len, reverse=True):
        told = told.replace(text, "\n    ".join(text.splitlines()))
    return "\n".join(map(without_controls, told.rstrip("\n").split("\n")))


def _texts(error: BaseException) -> Iterator[str]:
    """What an exception says, and those that are chained to it or grouped in it, with their notes."""
    waiting, seen = [error], set[int]()
    while waiting:
        each = waiting.pop()
        if id(each) in seen:
            continue
        seen.add(id(each))
        try:
            yield str(each)
        except Exception:  # the traceback says so, too
            pass
        yield from (note for note in getattr(each, "__notes__", ()) if isinstance(note, str))
        waiting += [chained for chained in (each.__cause__, each.__context__) if chained is not None]
        waiting += getattr(each, "exceptions", ()) if isinstance(each, BaseExceptionGroup) else ()
