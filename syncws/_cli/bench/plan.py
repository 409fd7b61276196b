"""What a load is to be: `Plan`, and the messages that are sent."""

from __future__ import annotations

import argparse
import random
import re
import string
from dataclasses import dataclass, field, replace
from typing import NamedTuple

from ..._frames.agreement import Agreement
from ..._frames.frame import encode
from ..._frames.prepared import encode_payload
from ..._http.headers import Headers
from ...errors import BINARY, TEXT

#: How many frames are made before the load, unless there are more sizes; and how many bytes of them at most.
_FRAMES = 64
_MOST_BYTES = 1 << 25

_UNITS = {"": 1, "k": 1 << 10, "m": 1 << 20}
_SIZE = re.compile(r"(\d{1,10})([km]?)", re.IGNORECASE)
_MOST = 1 << 30


@dataclass(frozen=True)
class Plan:
    """What a load is to be, for one process of it. Immutable; it goes to the other processes as it is."""

    url: str
    connections: int
    #: Messages a second of all processes together, each due at its time; None: closed loop.
    rate: float | None
    inflight: int
    sizes: tuple[int, ...]
    binary: bool
    receive_only: bool
    duration: float
    warmup: float
    ramp: float
    #: Which process this is, of how many.
    process: int
    processes: int
    #: The options of `dialing`, and the headers that they make.
    dialing: argparse.Namespace = field(repr=False)
    headers: Headers = field(repr=False)

    def shares(self) -> list[Plan]:
        """A plan for each of the processes."""
        fewest, more = divmod(self.connections, self.processes)
        return [replace(self, process=each, connections=fewest + (each < more)) for each in range(self.processes)]


class Message(NamedTuple):
    """A message: its frame as it is sent, and what an echo of it is."""

    frame: bytes
    payload: str | bytes


def parse_sizes(text: str) -> tuple[int, ...]:
    """The sizes of messages: "32", "64k", "100-2000" for all between, "64,64,4k" for each as often as it is there.

    Raises ArgumentTypeError.
    """
    sizes: list[int] = []
    for part in text.split(","):
        least, between, most = part.partition("-")
        if not between:
            sizes.append(_bytes(least))
            continue
        first, last = _bytes(least), _bytes(most)
        if first > last:
            raise _no_size(text)
        # Evenly over the range, with both ends: the mean is that of the range.
        sizes += [first + (last - first) * step // (_FRAMES - 1) for step in range(_FRAMES)]
    return tuple(sizes)


def _bytes(text: str) -> int:
    match = _SIZE.fullmatch(text.strip())
    size = int(match[1]) * _UNITS[match[2].lower()] if match else -1
    if not 0 <= size <= _MOST:
        raise _no_size(text)
    return size


def _no_size(text: str) -> argparse.ArgumentTypeError:
    return argparse.ArgumentTypeError(
        f"a size is a number of bytes up to 1024m, such as 32, 64k, 100-2000 or 64,64,4k, not {text!r}"
    )


def messages(plan: Plan, agreement: Agreement | None) -> list[Message]:
    """The messages of a load, in the order they are sent, again and again.

    Each frame is masked with a random key of its own, once: masking anew each time it is sent would cost more than
    sending it. (RFC 6455 section 5.3 wants a new key for each frame, so that a page's script cannot choose the bytes on
    the wire; here nobody chooses them.)
    """
    chance = random.Random(plan.process)  # the same ones at each run
    number = max(len(plan.sizes), min(_FRAMES, _MOST_BYTES * len(plan.sizes) // (sum(plan.sizes) + 1)))
    sizes = [plan.sizes[each % len(plan.sizes)] for each in range(number)]
    chance.shuffle(sizes)
    compression = (1, agreement.outbound_bits) if agreement is not None and agreement.outbound_bits else None
    return [_message(plan, size, chance, compression) for size in sizes]


def _message(plan: Plan, size: int, chance: random.Random, compression: tuple[int, int] | None) -> Message:
    if plan.binary:
        data = chance.randbytes(size)
        frame = encode(*encode_payload(BINARY, data, compression), client=True)
        return Message(b"".join(frame), data)
    # A piece of text that is repeated: compression makes something of it, though not everything.
    piece = "".join(chance.choices(string.ascii_letters + " ", k=min(size, 997)))
    text = (piece * (size // 997 + 1))[:size]
    frame = encode(*encode_payload(TEXT, text.encode(), compression), client=True)
    return Message(b"".join(frame), text)
