"""What callers of a `Manager` hand in, checked before anything has changed."""

from __future__ import annotations

import hashlib
from collections.abc import Hashable, Iterable, Mapping
from typing import Any

from .._base.printable import printable_repr
from .._bus.history import Archive, History
from .._bus.memoryarchive import MemoryArchive
from .._conn.conn import Conn
from .._frames.payloads import format_close_message
from .member import Member


def given(**options: Any) -> dict[str, Any]:
    """The options that are to be changed: None leaves one as the connection has it."""
    return {name: value for name, value in options.items() if value is not None}


def check_member(conn: Conn, id: Hashable, rooms: Iterable[Hashable]) -> list[Hashable]:
    """The rooms, as a list. Raises TypeError for what cannot be registered."""
    if not isinstance(conn, Conn):
        raise TypeError(f"conn is a syncws.Conn, not {printable_repr(conn)}")
    if isinstance(id, Member):
        raise TypeError("id is what a member is known by, not a Member")
    if isinstance(rooms, str | bytes) or not isinstance(rooms, Iterable):
        raise TypeError(
            f"rooms is a list of rooms, such as [{printable_repr(rooms, 50)}], not {printable_repr(rooms, 50)}"
        )
    checked = list(rooms)
    for room in checked:
        check_room(room)
    return checked


def check_data(data: Mapping[Any, Any] | None) -> dict[Any, Any]:
    """What a member is to begin with, in a dict of its own. Raises TypeError for what is no mapping."""
    if data is None:
        return {}
    if not isinstance(data, Mapping):
        raise TypeError(f"data is a dict of what is to be kept with the member, not {printable_repr(data)}")
    return dict(data)


def check_backplane(backplane: Any) -> None:
    """Raises TypeError for what joins no processes."""
    missing = [name for name in _OF_A_BACKPLANE if not hasattr(backplane, name)]
    if isinstance(backplane, type) or missing:
        raise TypeError(
            "backplane is a LocalBackplane, a RedisBackplane, or another syncws.Backplane, or None, "
            f"not {_say_backplane(backplane)}"
        )


def _say_backplane(given: Any) -> str:
    """What was given, and what to write if it is an address. A password in it is not shown."""
    if not isinstance(given, str):
        return printable_repr(given, 80)
    kind = "RedisBackplane" if "://" in given else "LocalBackplane"
    shown = "..." if "@" in given else printable_repr(given.removeprefix("local:"), 80)
    return f"an address: write {kind}({shown})"


def check_join_timeout(join_timeout: float) -> None:
    """Raises TypeError or ValueError for what is no time to wait."""
    if isinstance(join_timeout, bool) or not isinstance(join_timeout, int | float):
        raise TypeError(f"join_timeout is a number of seconds, not {printable_repr(join_timeout, 50)}")
    if not 0 <= join_timeout < float("inf"):
        raise ValueError(f"join_timeout is a number of seconds from 0 on, not {join_timeout!r}")


def check_history(history: History | None, backplane: Any) -> Archive | None:
    """Where what rooms remember is kept; None: they do not. Raises TypeError or ValueError for what does not fit."""
    archive: Archive | None = getattr(backplane, "archive", None)
    if history is None:
        return archive
    if not isinstance(history, History):
        such = f"size={history}, ttl=300" if type(history) is int else "size=100, ttl=300"
        raise TypeError(f"history is a History, such as History({such}), or None, not {printable_repr(history, 80)}")
    if archive is not None:
        raise ValueError("the backplane has a history already: give the Manager none")
    if backplane is not None and backplane.addressed:
        # A process would not hear of rooms that nobody there is in, and so could not tell what was missed.
        raise ValueError("history goes to the backplane on this bus: RedisBackplane(..., history=History(...))")
    return MemoryArchive(history)


_OF_A_BACKPLANE = ("start", "publish", "subscribe", "unsubscribe", "flush", "health", "close")


def check_name(name: str | None) -> str | None:
    """The name of a Manager. Raises TypeError or ValueError for what is none."""
    if not (name is None or isinstance(name, str)):
        raise TypeError(f"name is a str, or None, not {printable_repr(name, 80)}")
    if name == "":
        raise ValueError("name is a str that is not empty, or None")
    return name


def place_of(name: str | None, number: int) -> str:
    """Where a Manager meets its like: a directory of its own, for its name or else its number.

    Short, as the paths of Unix sockets are, and nobody's choice: a name may be any text.
    """
    if name is None:
        return str(number)
    return f"n{hashlib.blake2b(name.encode(errors='surrogatepass'), digest_size=6).hexdigest()}"


def check_room(room: Hashable) -> None:
    """Raises TypeError for what is not the name of a room."""
    if room is None:
        raise TypeError("a room is any hashable except None, which stands for everybody")
    check_one_room(room)


def check_one_room(room: Hashable) -> None:
    """Raises TypeError for what is no hashable, such as a list of rooms. None stands for everybody."""
    try:
        hash(room)
    except TypeError:
        one = room[0] if isinstance(room, list) and room else "lobby"
        raise TypeError(
            f"a room is one name, such as room={printable_repr(one, 50)}, not {printable_repr(room, 50)}"
        ) from None


def check_close(code: int, reason: str, call: str = "close(id, ") -> None:
    """Raises TypeError or ValueError for a code or a reason that may not be sent. call: how the caller's begins."""
    if isinstance(code, str):
        raise TypeError(f"the code comes before the reason, such as {call}4000, {printable_repr(code, 50)})")
    format_close_message(code, reason)


def check_exclude(exclude: Iterable[Hashable]) -> frozenset[Hashable]:
    """The ids and Members that get no message. Raises TypeError for one that stands alone."""
    if isinstance(exclude, str | bytes) or not isinstance(exclude, Iterable):
        raise TypeError(f"exclude is a list of ids or Members, such as [member], not {printable_repr(exclude, 50)}")
    return frozenset(exclude)
