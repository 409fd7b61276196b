"""What can be set on a connection: one list for servers and clients, checked once, when it is made."""

from __future__ import annotations

import os
import sys
from collections.abc import Iterable
from dataclasses import dataclass, fields
from typing import Any, Literal, TypedDict

from .owners import explains_options

#: What `Conn.send_nowait` does when the send queue is full.
Overflow = Literal["close", "drop_oldest", "drop_newest"]

OVERFLOW_POLICIES = ("close", "drop_oldest", "drop_newest")


@explains_options
@dataclass(frozen=True, kw_only=True)
class ConnOptions:
    """The options of a connection. Immutable; one object serves any number of connections and threads.

    Args:
        read_limit: largest message accepted, in bytes, after inflating; None or 0: no limit (gorilla's default).
        fragment_limit: most fragments of a message that have less than 32 bytes, empty ones too; None: no limit. Over
            it the peer gets 1008. Larger ones are not counted: they bring what they cost.
        control_limit: pings and pongs that the peer may send at once, before it gets 1008; None: no limit.
        control_rate: how many more of them it may send each second.
        least_rate: bytes a second that a message must come with, while a read waits for all of it; None: any. Slower
            ones end with 1008. What `next_reader` hands out in pieces may take its time.
        least_rate_grace: seconds that a read waits for a message before that is judged.
        ping_interval: seconds of silence after which a ping is sent; None: no keepalive.
        ping_timeout: seconds of silence after that ping before the peer is given up; None: never.
        close_timeout: seconds a closing handshake may take before the connection is cut.
        send_queue: messages that `send_nowait` lets wait for a slow peer.
        send_queue_bytes: bytes that it lets wait.
        overflow: what happens when that is full: "close" the connection (1013), or "drop_oldest" or "drop_newest",
            a message that is dropped and counted.
        read_buffer_size: one read takes at most so many bytes, and the header of a frame with them. A connection that
            was idle begins with a small buffer, which grows up to this size while more comes.
        write_buffer_size: bytes of a message that `next_writer` collects before it sends a fragment.
        context_idle: seconds without a message, in one direction, after which the memory that context takeover takes
            for it is let go; None: never. It is noticed up to as long again later.
        answers_together: whether answers to messages that came together may leave together: a frame that the reading
            thread sends while it has more messages at hand waits for the next one, a millisecond at most. False: each
            leaves before `send` returns.

    Raises TypeError or ValueError, naming the option, for a value that cannot work.
    """

    read_limit: int | None = 1 << 20
    fragment_limit: int | None = 1 << 14
    control_limit: int | None = 1_000
    control_rate: int = 100
    least_rate: int | None = 500
    least_rate_grace: float = 10.0
    ping_interval: float | None = 20.0
    ping_timeout: float | None = 20.0
    close_timeout: float = 10.0
    send_queue: int = 256
    send_queue_bytes: int = 1 << 20
    overflow: Overflow = "close"
    read_buffer_size: int = 1 << 16
    write_buffer_size: int = 1 << 12
    context_idle: float | None = 30.0
    answers_together: bool = True

    def __post_init__(self) -> None:
        check_integer("read_limit", self.read_limit, 0, none="no limit")
        check_count("fragment_limit", self.fragment_limit)
        check_count("control_limit", self.control_limit)
        check_integer("control_rate", self.control_rate, 1)
        check_count("least_rate", self.least_rate)
        check_seconds("least_rate_grace", self.least_rate_grace)
        check_seconds("ping_interval", self.ping_interval, none="no keepalive")
        check_seconds("ping_timeout", self.ping_timeout, none="no limit")
        check_seconds("close_timeout", self.close_timeout)
        check_integer("send_queue", self.send_queue, 1)
        check_integer("send_queue_bytes", self.send_queue_bytes, 1)
        check_integer("read_buffer_size", self.read_buffer_size, 1)
        check_integer("write_buffer_size", self.write_buffer_size, 1)
        check_seconds("context_idle", self.context_idle, none="never")
        if not isinstance(self.answers_together, bool):
            raise TypeError(f"answers_together is True or False, not {self.answers_together!r}")
        if self.overflow not in OVERFLOW_POLICIES:
            raise ValueError(f"overflow is one of {', '.join(OVERFLOW_POLICIES)}, not {self.overflow!r}")

    @property
    def stall_limit(self) -> float | None:
        """Seconds a write may go without progress: as long as a silent peer is waited for."""
        if self.ping_interval is None or self.ping_timeout is None:
            return None
        return self.ping_interval + self.ping_timeout

    @classmethod
    def names(cls) -> frozenset[str]:
        """The names of the options."""
        return frozenset(field.name for field in fields(cls))


class ConnKeywords(TypedDict, total=False):
    """The options of ConnOptions as keyword arguments, for type checkers and editors; a test compares the two."""

    read_limit: int | None
    fragment_limit: int | None
    control_limit: int | None
    control_rate: int
    least_rate: int | None
    least_rate_grace: float
    ping_interval: float | None
    ping_timeout: float | None
    close_timeout: float
    send_queue: int
    send_queue_bytes: int
    overflow: Overflow
    read_buffer_size: int
    write_buffer_size: int
    context_idle: float | None
    answers_together: bool


def check_integer(name: str, value: int | None, least: int, *, most: int | None = None, none: str = "") -> None:
    """Raise TypeError or ValueError, which name the option, unless value is an integer of at least so much.

    ``most`` is the largest that it may be.

    ``none`` says what None means, where None is allowed. True and False are no numbers.
    """
    if value is None and none:
        return
    or_none = f", or None for {none}" if none else ""
    if isinstance(value, bool) or not isinstance(value, int):
        raise TypeError(f"{name} is an integer{or_none}, not {value!r}")
    if most is not None and not least <= value <= most:
        raise ValueError(f"{name} must be from {least} to {most}{or_none}, not {value!r}")
    if value < least:
        raise ValueError(f"{name} must be at least {least}{or_none}, not {value!r}")


def check_seconds(name: str, value: float | None, *, or_0: bool = False, none: str = "") -> None:
    """Raise TypeError or ValueError, which name the option, unless value is a positive number of seconds.

    ``or_0`` allows 0. ``none`` says what None means, where None is allowed. True and False are no numbers.
    """
    if value is None and none:
        return
    or_none = f", or None for {none}" if none else ""
    if isinstance(value, bool) or not isinstance(value, int | float):
        raise TypeError(f"{name} is a number of seconds{or_none}, not {value!r}")
    # NaN compares false with everything. Infinity is what None is for; an integer may be larger than any float.
    if not 0 <= value <= sys.float_info.max or (value == 0 and not or_0):
        raise ValueError(f"{name} must be {'at least' if or_0 else 'more than'} 0 seconds{or_none}, not {value!r}")


def check_timeout(name: str, value: float | None) -> None:
    """Raise TypeError or ValueError unless value is a positive number of seconds, or None for no limit."""
    check_seconds(name, value, none="no limit")


def check_wait(name: str, value: float) -> None:
    """Raise TypeError or ValueError unless value is a number of seconds, 0 or more."""
    check_seconds(name, value, or_0=True)


def check_count(name: str, value: int | None) -> None:
    """Raise TypeError or ValueError unless value is an integer of at least 1, or None for no limit."""
    check_integer(name, value, 1, none="no limit")


def check_detach(value: bool | None) -> None:
    """Raise TypeError unless it is True, False or None."""
    if not (value is None or isinstance(value, bool)):
        raise TypeError(f"detach must be True, False or None, not {value!r}")


def check_unix_path(path: Any) -> None:
    """Raise TypeError or ValueError unless it can be the path of a Unix socket."""
    if not isinstance(path, str | bytes | os.PathLike):
        raise TypeError(f"unix_path must be a path, or None, not {path!r}")
    name = os.fsencode(path)
    if not name or b"\0" in name[1:]:
        raise ValueError(f"unix_path must be a path, or None, not {path!r}")


def check_call_timeout(timeout: float | None) -> None:
    """Raise TypeError unless a call's timeout is a number of seconds, or None; ValueError if no float is as large."""
    if timeout is not None and (not isinstance(timeout, int | float) or timeout != timeout):  # nan: a wait without end
        raise TypeError(f"timeout is a number of seconds, or None, not {timeout!r}")
    if timeout is not None and isinstance(timeout, int) and abs(timeout) > sys.float_info.max:
        raise ValueError(f"timeout is a number of seconds that a clock can count, or None, not {timeout!r}")


def strings(name: str, value: Any, example: str, *, hidden: bool = False) -> tuple[str, ...]:
    """A sequence of str as a tuple, or TypeError. One str is a sequence of str too, and never what was meant.

    hidden: the error does not show what was given, since one of them may be a secret.
    """
    is_list = isinstance(value, Iterable) and not isinstance(value, (str, bytes))
    values = tuple(value) if is_list else ()
    if is_list and all(isinstance(each, str) for each in values):
        return values
    found = f"{type(value).__name__} of something else" if is_list else type(value).__name__
    raise TypeError(f"{name} is a list of str, such as {example}, not {found if hidden else repr(value)}")
