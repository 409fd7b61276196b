"""Rooms and ids as processes tell them to each other: as JSON text; and the channels that they have on a bus.

    "lobby" -> "lobby"      42 -> 42      ("a", 1) -> ["a",1]

So 42 and "42" differ, as they do in a dict. A channel is a kind and a text: `r:"lobby"`, `i:42`, `*`, `n:<boot>`.
"""

from __future__ import annotations

import json
from collections.abc import Hashable
from functools import lru_cache

from .._base.printable import printable_repr

#: The channel of everybody: broadcasts to all, beats, goodbyes, questions to all.
ALL = "*"

#: Bytes that the text of a name may have: a channel holds it, and the envelope tells its length in two bytes.
MOST = 4096

#: Tuples in tuples: more than anybody names, and far less than what json and the stack can bear.
_DEEPEST = 16


def text_of(name: Hashable, what: str = "a room") -> str:
    """The text of a room or id, the same in every process.

    Raises:
        TypeError: it is neither str, int, nor a tuple of these.
        ValueError: its text is too long, or cannot be encoded.
    """
    # By type too: 1, 1.0 and True are one key of the cache, and one key of a dict; but only an int is a name.
    try:
        return _text_of(type(name), name, what)
    except TypeError:
        if isinstance(name, Hashable):
            raise
    raise TypeError(f"{what} is a str, an int or a tuple of these, not {printable_repr(name, 80)}")


@lru_cache(maxsize=4096)
def _text_of(kind: type, name: Hashable, what: str) -> str:
    _check(name, what, _DEEPEST)
    text = json.dumps(name, ensure_ascii=True, separators=(",", ":"))
    if len(text) > MOST:
        raise ValueError(f"{what} between processes has at most {MOST} bytes as JSON, not {len(text):,}")
    return text


def _check(name: object, what: str, deep: int) -> None:
    if isinstance(name, str) or (isinstance(name, int) and not isinstance(name, bool)):
        return
    if not isinstance(name, tuple) or not deep:
        raise TypeError(
            f"with a backplane {what} is a str, an int or a tuple of these, as it is told to other processes, "
            f"not {printable_repr(name, 80)}"
        )
    for part in name:
        _check(part, what, deep - 1)


@lru_cache(maxsize=4096)
def name_of(text: str) -> Hashable:
    """The room or id of a text. Raises ValueError for what is none, and for one that is not written as `text_of`."""
    try:
        name = _frozen(json.loads(text))
        if text_of(name) == text:
            return name
    except (TypeError, RecursionError):
        pass
    raise ValueError("not the text of a room or an id")


def parse_name(text: str) -> Hashable:
    """The room or id that somebody wrote as JSON, with spaces or without. Raises ValueError for what is none."""
    try:
        name = _frozen(json.loads(text))
        text_of(name)
    except (TypeError, RecursionError):
        raise ValueError("not the text of a room or an id") from None
    return name


def _frozen(value: object) -> Hashable:
    return tuple(_frozen(each) for each in value) if isinstance(value, list) else value


def room_channel(room: str) -> str:
    """The channel of a room, whose text this is."""
    return "r:" + room


def id_channel(id: str) -> str:
    """The channel of an id, whose text this is."""
    return "i:" + id


def node_channel(node: str) -> str:
    """The channel of one process: answers to what it asked."""
    return "n:" + node
