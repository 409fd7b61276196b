"""What a message, and everything else, looks like: pieces of text with the name of a style, for any screen.

No character that a peer chose reaches a terminal as it is: what is not printable stands as its escape, and the further
lines of a message are indented, so that none of them looks like a message of its own.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator

from ..._base.printable import without_controls
from .jsontext import Piece, compact, laid_out, tokens_of

#: What is shown of one message, unless all of it is to be: characters, lines, and lines of a hex dump.
MOST_CHARACTERS = 4_000
MOST_LINES = 50
MOST_DUMPED = 16

#: How many columns a line of a hex dump takes, by the bytes on it: offset, digits, characters, indentation.
_DUMP_COLUMNS = {16: 79, 8: 47, 4: 0}

_INDENT = "  "


class View:
    """How things are shown.

    Args:
        columns: tells how wide the terminal is now.
        timestamps: each line begins with the time of day.
        full: messages are shown to their end, however long they are.
        raw: JSON is shown as it came.

    Nothing is changed after it was made, so it is for any thread.
    """

    def __init__(
        self, columns: Callable[[], int], *, timestamps: bool = False, full: bool = False, raw: bool = False
    ) -> None:
        self._columns = columns
        self._timestamps = timestamps
        self._full = full
        self._raw = raw

    def received(self, message: str | bytes) -> list[Piece]:
        """A message of the peer."""
        return self._message("in", "< ", message)

    def sent(self, message: str | bytes) -> list[Piece]:
        """A message of ours."""
        return self._message("out", "> ", message)

    def bare(self, message: str | bytes) -> list[Piece]:
        """A message on a terminal that shows nothing else: text without colours, bytes as a hex dump."""
        if isinstance(message, str):
            return list(self._lines([[("", line)] for line in message.split("\n")]))
        return list(self._dumped(message, ""))

    def command(self, line: str) -> list[Piece]:
        """A command that was typed."""
        return [*self._clock(), ("note", f"> {without_controls(line)}\n")]

    def note(self, text: str, style: str = "note") -> list[Piece]:
        """What this program says, on one line or, indented, on several."""
        lines = [without_controls(line) for line in text.split("\n")]
        return [*self._clock(), (style, f"* {f'{chr(10)}{_INDENT}'.join(lines)}\n")]

    def _message(self, style: str, mark: str, message: str | bytes) -> list[Piece]:
        head = [*self._clock(), (style, mark)]
        room = self._columns() - sum(len(text) for _, text in head)
        if isinstance(message, str):
            return [*head, *self._text(message, room)]
        return [*head, ("note", f"binary, {say_bytes(len(message))}\n"), *self._dumped(message, _INDENT)]

    def _dumped(self, message: bytes, indent: str) -> Iterator[Piece]:
        """Bytes as a hex dump, with their end where there are too many."""
        shown = message if self._full else message[: MOST_DUMPED * _bytes_on_line(self._columns())]
        for line in hex_lines(shown, self._columns()):
            yield "", f"{indent}{line}\n"
        yield from _more(len(message) - len(shown), "byte")

    def _text(self, text: str, room: int) -> Iterator[Piece]:
        tokens = None if self._raw else tokens_of(text)
        if tokens is None:
            yield from self._lines([[("", line)] for line in text.split("\n")])
            return
        line = [(kind, without_controls(part)) for kind, part in compact(tokens)]
        if sum(len(part) for _, part in line) <= room:
            yield from line
            yield "", "\n"
        else:
            yield from self._lines(list(laid_out(tokens)))

    def _lines(self, lines: list[list[Piece]]) -> Iterator[Piece]:
        """Lines of a text, with their end where there are too many, or too many characters."""
        left = sum(len(part) for line in lines for _, part in line) + len(lines) - 1
        room = left if self._full else MOST_CHARACTERS
        for number, line in enumerate(lines if self._full else lines[:MOST_LINES]):
            if number:
                yield "", _INDENT
                left -= 1
            for style, part in line:
                shown = part[:room]
                room -= len(shown)
                left -= len(shown)
                yield style, without_controls(shown)
            yield "", "\n"
            if room <= 0:
                break
        yield from _more(left, "character")

    def _clock(self) -> list[Piece]:
        if not self._timestamps:
            return []
        now = time.time()
        return [("clock", f"{time.strftime('%H:%M:%S', time.localtime(now))}.{int(now * 1000) % 1000:03} ")]


def hex_lines(data: bytes, columns: int) -> Iterator[str]:
    """A hex dump: the offset, the bytes, and the characters of ASCII that they are; as many on a line as have room."""
    count = _bytes_on_line(columns)
    for offset in range(0, len(data), count):
        part = data[offset : offset + count]
        text = "".join(chr(each) if 32 <= each < 127 else "." for each in part)
        yield f"{offset:08x}  {part.hex(' '):{count * 3 - 1}}  |{text}|"


def _bytes_on_line(columns: int) -> int:
    return next(count for count, least in _DUMP_COLUMNS.items() if columns >= least)


def say_bytes(count: int) -> str:
    """A number of bytes for people: "1 byte", "12,345 bytes"."""
    return f"{count:,} byte{'' if count == 1 else 's'}"


def plain(pieces: list[Piece]) -> str:
    """The text without its styles."""
    return "".join(text for _, text in pieces)


def _more(count: int, unit: str) -> Iterator[Piece]:
    if count > 0:
        yield "note", f"{_INDENT}... {count:,} more {unit}{'' if count == 1 else 's'} (--full shows them)\n"
