"""Listeners that whoever started this program has made: systemd's socket activation (sd_listen_fds(3)).

They are descriptors from 3 on. Three variables of the environment tell how many (LISTEN_FDS), what they are called
(LISTEN_FDNAMES), and which process they are for (LISTEN_PID): a program that this one starts must not take them. So the
variables are removed at the first look, and the descriptors are no longer inherited.
"""

from __future__ import annotations

import os
import re
import socket
import threading

from .listener import check_listener

#: The first descriptor that is passed.
_FIRST = 3

#: What LISTEN_FDS may be: no process has more descriptors than that.
_COUNT = re.compile("[0-9]{1,7}", re.ASCII)

_VARIABLES = ("LISTEN_PID", "LISTEN_FDS", "LISTEN_FDNAMES")

_taking = threading.Lock()  # guards the next one
_passed: list[tuple[str, int | None]] | None = None  # name and descriptor of each; None: nobody has looked yet


def inherited_listener(name: str | None = None) -> socket.socket | None:
    """The socket that systemd listens on for this program (socket activation); None if it was started otherwise.

        syncws.Server(handler, "127.0.0.1", 8080, listener=syncws.inherited_listener())

    is then the same program under systemd, where the socket comes from a ``.socket`` unit and outlives the program, and
    in a shell, where it listens by itself. The socket is the caller's, and is inherited by no other program; neither
    are the variables that told of it. For any thread, once for each socket.

    Args:
        name: which of several, as ``FileDescriptorName`` of the unit says (LISTEN_FDNAMES); else its name is that of
            the unit, such as ``app.socket``. None where there is one only.

    Returns:
        A socket that listens; None if none was passed to this process.

    Raises:
        ValueError: there are several and no name says which, or none of that name, or it was taken before; or it does
            not listen (``Accept=yes`` in the unit); or the variables make no sense.
        TypeError: the name is no str.
    """
    global _passed
    if not (name is None or isinstance(name, str)):
        raise TypeError(f"name is a str or None, not {name!r}")
    with _taking:
        if _passed is None:
            _passed = _look()
        if not _passed:
            return None
        number = _choose(_passed, name)
        called, descriptor = _passed[number]
        if descriptor is None:
            raise ValueError(f"the listener {called!r} was taken before: one Server has it")
        listener = _listener_of(called, descriptor)
        _passed[number] = called, None
        return listener


def _listener_of(called: str, descriptor: int) -> socket.socket:
    """The socket of a descriptor. Raises ValueError unless it listens: the descriptor stays open then."""
    listener = None
    try:
        listener = socket.socket(fileno=descriptor)
        check_listener(listener)
    except (ValueError, OSError):  # OSError: it is no socket, as with ListenFIFO=
        if listener is not None:
            listener.detach()
        raise ValueError(
            f"the socket {called!r} that was passed does not listen: a .socket unit needs Accept=no, and ListenStream="
        ) from None
    return listener


def _look() -> list[tuple[str, int | None]]:
    """Take what the environment tells of this process out of it."""
    told = {each: os.environ.get(each, "") for each in _VARIABLES}
    if told["LISTEN_PID"] != str(os.getpid()):  # none, or they are for another process
        return []
    if _COUNT.fullmatch(told["LISTEN_FDS"]) is None:
        raise ValueError(f"LISTEN_FDS is a number of descriptors, not {told['LISTEN_FDS']!r}")
    count = int(told["LISTEN_FDS"])
    names = told["LISTEN_FDNAMES"].split(":") if told["LISTEN_FDNAMES"] else ["unknown"] * count
    if len(names) != count:
        raise ValueError(f"LISTEN_FDNAMES has {len(names)} names, and LISTEN_FDS says {count}")
    descriptors = range(_FIRST, _FIRST + count)
    try:
        for descriptor in descriptors:
            os.set_inheritable(descriptor, False)
    except OSError:
        raise ValueError(f"LISTEN_FDS says {count}, and descriptor {descriptor} is not open") from None
    # Last: what makes no sense is an error at the next look, too, and not a program that listens by itself.
    for each in _VARIABLES:
        os.environ.pop(each, None)
    return list(zip(names, descriptors, strict=True))


def _choose(passed: list[tuple[str, int | None]], name: str | None) -> int:
    """The place of the one that is meant."""
    known = ", ".join(repr(each) for each, _ in passed)
    if name is None:
        if len(passed) > 1:
            raise ValueError(f"{len(passed)} listeners were passed: say which by its name, one of {known}")
        return 0
    found = [number for number, (each, _) in enumerate(passed) if each == name]
    if not found:
        raise ValueError(f"no listener {name!r} was passed; those that were: {known}")
    if len(found) > 1:
        raise ValueError(f"{len(found)} listeners {name!r} were passed: give each unit a FileDescriptorName of its own")
    return found[0]
