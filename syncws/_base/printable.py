"""What a peer wrote, as it may stand in a log line, a repr or an exception: on one line, and nothing but itself."""

from __future__ import annotations


def printable(text: object, most: int = 200) -> str:
    """A text of which no character ends the line, moves the cursor or is invisible, at most so many characters of it.

    For whatever a peer, a page, a proxy or a bus chose: a path, a header, a reason, a name. A character that is not
    printable (`str.isprintable`) stands as its escape, as in a Python literal, and so does a backslash: what is shown
    can be told from what only looks like it. The raw text belongs into attributes, and never into a sentence.
    """
    whole = text if isinstance(text, str) else str(text)
    shown = whole[:most]
    if not shown.isprintable() or "\\" in shown:
        shown = "".join(map(_escaped, shown))
    return shown if len(whole) <= most else f"{shown}..."


def printable_repr(value: object, most: int = 200) -> str:
    """The repr of a value, on one line, at most so many characters of it.

    For what an application has chosen, maybe after a peer: an id, a room, a result. Python's own reprs are one line;
    that of a class may be anything. A backslash stays as it is, since the repr of a str has escaped it already.
    """
    whole = repr(value)
    shown = without_controls(whole[:most])
    return shown if len(whole) <= most else f"{shown}..."


def without_controls(text: str) -> str:
    """A text in which what is not printable stands as its escape, and a backslash as it is."""
    if text.isprintable():
        return text
    return "".join(each if each == "\\" else _escaped(each) for each in text)


def _escaped(character: str) -> str:
    if character.isprintable() and character != "\\":
        return character
    return character.encode("unicode_escape").decode("ascii")
