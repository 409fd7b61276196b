"""What can be asked of the other processes: each question, what is answered to it, and how the answer is read.

    count    how many members there are in a room
    ids      their ids
    members  their ids and ages
    send     a message to the members of an id; how many took it
    close    the members of an id are closed; how many there were
    claim    whether an id is taken (see `claims`)

What comes from the bus is checked here, and whatever is wrong with it is a ValueError or a TypeError.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Hashable, Iterable
from dataclasses import dataclass
from itertools import islice
from typing import Any, NamedTuple

from .._base.errands import Errands
from .._frames.prepared import PreparedMessage
from ..errors import BINARY
from .claims import Claims, instant
from .envelope import Envelope, Kind, message_of
from .here import Here
from .names import name_of, node_channel, text_of
from .outward import Outward
from .questions import Questions, Replies

#: Ids that one process answers with, at most.
MOST_IDS = 100_000

#: Counts, and numbers of questions, are whole in every reader of JSON.
_MOST_COUNT = 2**53 - 1

#: Bytes that an answer has beside its list.
_BESIDE = 200


@dataclass(frozen=True)
class Count:
    """How many connections there are; immutable.

    Attributes:
        connections: those of the processes that answered.
        nodes: how many processes that are; of a Manager, its own included.
        missing: the names of the processes that did not answer in time: see `Manager.everywhere`.
        complete: whether none is missing, and the bus was there to ask.
    """

    connections: int
    nodes: int = 1
    missing: tuple[str, ...] = ()
    complete: bool = True


class Listed(NamedTuple):
    """A list that a process answers with."""

    items: list[Any]
    truncated: bool  # there are more


class Surveys:
    """Asks the other processes, and answers what they ask. Any thread; it has no state."""

    def __init__(self, here: Here, outward: Outward, questions: Questions, claims: Claims, deeds: Errands) -> None:
        self._here = here
        self._outward = outward
        self._questions = questions
        self._claims = claims
        self._deeds = deeds

    # To ask. Each waits at most timeout seconds; room None: all.

    def count(self, room: Hashable, timeout: float) -> Replies[int]:
        """How many members there are in a room elsewhere."""
        return self._questions.ask({"ask": "count", "room": _text(room)}, _number, timeout)

    def ids(self, room: Hashable, limit: int, timeout: float) -> Replies[Listed]:
        """Their ids, at most limit of each process."""
        what = {"ask": "ids", "room": _text(room), "limit": min(limit, MOST_IDS)}
        return self._questions.ask(what, _list_of(_id), timeout)

    def members(self, room: Hashable, limit: int, timeout: float) -> Replies[Listed]:
        """(id, seconds since it was registered, seconds since its last message) of each, at most limit of a process."""
        what = {"ask": "members", "room": _text(room), "limit": min(limit, MOST_IDS)}
        return self._questions.ask(what, _list_of(_member), timeout)

    def send(self, id: Hashable, message: PreparedMessage, timeout: float) -> Replies[int]:
        """Send to the members of an id elsewhere; how many took it."""
        what = _to_send(id)
        binary = message.message_type is BINARY
        return self._questions.ask(what, _number, timeout, body=message.payload, binary=binary)

    def check_send(self, id: Hashable, message: PreparedMessage) -> None:
        """Raise ValueError for a message that `send` could not publish, as it is too large for the bus."""
        self._outward.check_size(Kind.ASK, {**_to_send(id), "q": _MOST_COUNT}, message.payload)

    def close(self, id: Hashable, code: int, reason: str, timeout: float) -> Replies[int]:
        """Close the members of an id elsewhere; how many there were."""
        what = {"ask": "close", "id": text_of(id, "an id"), "code": code, "reason": reason}
        return self._questions.ask(what, _number, timeout)

    # To answer, by the threads of the bus

    def answer(self, question: Envelope) -> bool:
        """Answer, or have it answered by a thread that may run code of the application; False if too much waits there.

        Raises ValueError or TypeError for what is no question.
        """
        here = self._here
        _count((question.extra or {}).get("q"))
        match question.extra:
            case {"ask": "count", "room": room}:
                self._say(question, n=here.count(_named(room)))
            case {"ask": "ids", "room": room, "limit": int(limit)}:
                self._list(question, (text_of(id, "an id") for id in here.ids(_named(room))), limit)
            case {"ask": "members", "room": room, "limit": int(limit)}:
                there = here.members(_named(room))
                told = ([text_of(id, "an id"), round(age, 3), round(idle, 3)] for id, age, idle in there)
                self._list(question, told, limit)
            case {"ask": "send", "id": str(id)}:
                self._say(question, n=here.send(name_of(id), message_of(question)))
            case {"ask": "close", "id": str(id), "code": int(code), "reason": str(reason)}:
                # Those who are here now: not one that comes while this waits its turn.
                members = here.find(name_of(id))
                return self._deeds.run(
                    lambda: self._say(question, n=sum(here.close(each, code, reason) for each in members))
                )
            case {"ask": "claim", "id": str(id), "at": at}:
                self._say(question, taken=self._claims.is_taken(name_of(id), question.boot, instant(at)))
            case _:
                raise ValueError("an unknown question")
        return True

    def _say(self, question: Envelope, body: bytes = b"", **answer: Any) -> None:
        number = (question.extra or {}).get("q")
        channel = node_channel(question.boot.hex())
        self._outward.say(Kind.ANSWER, channel, {"q": number, **answer}, body=body)

    def _list(self, question: Envelope, items: Iterable[Any], limit: int) -> None:
        """Answer with a list, as far as the limit and the largest message allow."""
        there_are = iter(items)
        told: list[bytes] = []
        size = _BESIDE
        for item in islice(there_are, max(0, min(limit, MOST_IDS))):
            one = json.dumps(item, separators=(",", ":")).encode()
            size += len(one) + 1
            if size > self._outward.most:
                self._say(question, b"[" + b",".join(told) + b"]", more=True)
                return
            told.append(one)
        self._say(question, b"[" + b",".join(told) + b"]", more=next(there_are, None) is not None)


def _text(room: Hashable) -> str | None:
    return None if room is None else text_of(room)


def _named(room: object) -> Hashable:
    if room is None:
        return None
    if not isinstance(room, str):
        raise ValueError("not the text of a room")
    return name_of(room)


def _to_send(id: Hashable) -> dict[str, Any]:
    return {"ask": "send", "id": text_of(id, "an id")}


# To read answers


def _number(answer: Envelope) -> int:
    return _count((answer.extra or {}).get("n"))


def _count(number: object) -> int:
    if isinstance(number, bool) or not isinstance(number, int) or not 0 <= number <= _MOST_COUNT:
        raise ValueError("not a count")
    return number


def _list_of(read: Callable[[Any], Any]) -> Callable[[Envelope], Listed]:
    def read_all(answer: Envelope) -> Listed:
        more = (answer.extra or {}).get("more")
        try:
            items = json.loads(answer.body)
        except RecursionError:
            raise ValueError("an answer is nested too deep") from None
        if not isinstance(items, list) or not isinstance(more, bool) or len(items) > MOST_IDS:
            raise ValueError("not an answer with a list")
        return Listed([read(each) for each in items], more)

    return read_all


def _id(told: object) -> Hashable:
    if not isinstance(told, str):
        raise ValueError("not the text of an id")
    return name_of(told)


def _member(told: object) -> tuple[Hashable, float, float]:
    match told:
        case [str(id), age, idle]:
            return name_of(id), _seconds(age), _seconds(idle)
    raise ValueError("not a member")


def _seconds(value: object) -> float:
    if isinstance(value, bool) or not isinstance(value, int | float) or not 0 <= value < 2**53:
        raise ValueError("not a number of seconds")
    return float(value)
