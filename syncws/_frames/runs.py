"""Frames that have come together: fragments are joined to one, the many tiny ones of a flood in a few steps for all of
them; control frames are counted.

A peer needs 6 bytes for a frame. So what is done for each frame of a flood decides what a flood costs: a loop over them
takes 0.3 to 0.8 microseconds for each, slices over all that have the same length some 20 nanoseconds.
"""

from __future__ import annotations

from typing import NamedTuple

from .accelerator import unmask
from .frame import CONTINUATION, MAX_CONTROL_PAYLOAD

#: Bytes of payload from which on a fragment is not counted: it brings what it costs, as a message of that size does.
SMALL = 32

#: Frames of the same length from which on slices are worth their ten calls; and the longest payload that they are for.
_MANY = 16
_SHORT = 8

#: Frames that are looked at in one step, so that a run which ends soon does not cost more than it saves.
_AT_ONCE = 1024


class Run(NamedTuple):
    """What was taken: so many fragments, small ones among them, up to a place in the buffer, with this payload."""

    end: int
    fragments: int
    small: int
    payload: bytearray


def join_fragments(buffer: bytes, start: int, mask_bit: int, most: int, room: int) -> Run:
    """The fragments in the middle of a message that stand in the buffer from start on, whole; at most so many small
    ones and so many bytes of payload.

    The first or last of a message is none of these, nor what is 64 KiB or larger or breaks a rule: it ends the run.
    """
    head = 6 if mask_bit else 2
    arrived = len(buffer)
    payload = bytearray()
    count = small = 0
    looked = False  # for a run of equal ones, and there was none
    while small < most and arrived - start > 1 and buffer[start] == CONTINUATION:
        length = buffer[start + 1] ^ mask_bit  # over 127 where the mask is wrong
        if length <= _SHORT and not looked:
            size = head + length
            equal = _equal(buffer, start, size, min(_AT_ONCE, most - small, (arrived - start) // size))
            if length:
                equal = min(equal, (room - len(payload)) // length)
            looked = equal < _MANY
            if not looked:
                end = start + equal * size
                if length:
                    payload += _payloads(buffer, start, end, length, mask_bit)
                start = end
                count += equal
                small += equal
                continue
        body = start + head
        if length > 125:
            length = int.from_bytes(buffer[start + 2 : start + 4]) if length == 126 else 0
            body += 2
            if length < 126:
                break
        end = body + length
        if end > arrived or len(payload) + length > room:
            break
        if length:
            payload += unmask(buffer, body, end) if mask_bit else buffer[body:end]
        count += 1
        small += length < SMALL
        start = end
    return Run(start, count, small, payload)


def controls_ahead(buffer: bytes, start: int, mask_bit: int, first: int) -> int:
    """How many control frames with that first byte stand in the buffer from start on, whole, one after another."""
    head = 6 if mask_bit else 2
    arrived = len(buffer)
    count = 0
    while arrived - start > 1 and buffer[start] == first:
        length = buffer[start + 1] ^ mask_bit  # over 127 where the mask is wrong
        start += head + length
        if length > MAX_CONTROL_PAYLOAD or start > arrived:
            break
        count += 1
    return count


def _equal(buffer: bytes, start: int, size: int, most: int) -> int:
    """How many frames of that size stand from start on, with the first two bytes of the first; at most so many."""
    end = start + most * size
    firsts, seconds = buffer[start:end:size], buffer[start + 1 : end : size]
    return most - max(len(firsts.lstrip(firsts[:1])), len(seconds.lstrip(seconds[:1])))


def _payloads(buffer: bytes, start: int, end: int, length: int, mask_bit: int) -> bytearray:
    """The payloads of equal frames, joined: byte for byte of all of them at once."""
    size = (6 if mask_bit else 2) + length
    count = (end - start) // size
    joined = bytearray(count * length)
    for i in range(length):
        column = buffer[start + size - length + i : end : size]
        if mask_bit:
            keys = buffer[start + 2 + i % 4 : end : size]
            column = (int.from_bytes(column) ^ int.from_bytes(keys)).to_bytes(count)
        joined[i::length] = column
    return joined
