"""Ids that may have one connection: which process keeps it, when several have one at the same time.

**"replace"**: who registers an id claims it on the id's channel, once it listens there and the member is in. Whose
claim is lost closes its member; so at the end one is left.

* On a bus that echoes, all processes see the claims of an id in one order, and the last one wins. No clock is asked:

      own claim has not come back yet   a claim of another is before it in that order: nothing happens
      own claim has come back           a claim of another is after it: the member here is closed

* On a bus that does not, the younger claim wins, and that of the greater boot if they are equal. The clock is
  time.monotonic(), which nobody steps, where all processes are on one host, else time.time(). Whose claim is the
  younger one says it again, since the other may not have heard it.

After a gap claims may have been missed. Then each process repeats its own, as `again`, and the younger ones win,
whatever the bus. They go to everybody, 500 in one message: on the channels of the ids ten thousand of them would fill
the queue of the bus. One that hears a claim of another while its own, repeated, is under way goes by time too, as the
other one will. A claim that has not come back is not repeated but made anew: it still has a place in the order.

**"reject"**: who registers an id asks all whether it is taken, and waits. Of two that ask at the same time the earlier
one tells the later one that it is, and the later one tells the earlier one that it is free.
"""

from __future__ import annotations

import contextlib
import itertools
import json
import threading
import time
from collections.abc import Hashable, Iterable, Iterator, Mapping
from typing import Any

from .._base.advice import advisor
from .._base.errands import Errands
from .._base.logs import logger
from .._base.printable import printable_repr
from ..errors import DuplicateIdError
from .envelope import Envelope, Kind
from .here import Here
from .names import ALL, id_channel, name_of, text_of
from .outward import Outward
from .questions import Bus, Questions

_logger = logger("syncws.relay")

#: Claims in one message.
MOST_IN_ONE = 500

#: Bytes that such a message has beside the claims.
_BESIDE = 40

#: Seconds after which a claim that has not come back is made anew; twice as many the next time.
RETRY = 3.0

#: At most so many seconds.
MOST_RETRY = 60.0


class _Claim:
    """That a member here has an id. The lock of `Claims` guards its fields."""

    __slots__ = ("at", "is_back", "number", "owner", "patience", "repeated", "retry_at")

    def __init__(self, owner: Hashable, at: float, is_back: bool) -> None:
        self.owner = owner
        self.at = at  # when it was made, by the clock of the bus
        self.is_back = is_back  # its place in the order is past: the claims of others that come are later ones
        self.number = 0  # by which it is known when it comes back
        self.repeated = 0  # the number by which it was repeated, until that has come back
        self.patience = RETRY
        self.retry_at = 0.0


class _Request:
    """That a thread here wants an id, and asks whether it is taken. The lock of `Claims` guards its fields."""

    __slots__ = ("at", "is_decided", "is_lost")

    def __init__(self, at: float) -> None:
        self.at = at
        self.is_lost = False  # an earlier one is under way elsewhere
        self.is_decided = False  # it is accepted: the id is taken


class Claims:
    """The ids that this process claims.

    Any thread. `_lock` guards the fields that say so. It is held while a claim is queued, which never waits: in two
    steps two claims of one id could be queued in the other order, and the others would go by the older one.
    """

    def __init__(
        self,
        bus: Bus,
        here: Here,
        boot: bytes,
        outward: Outward,
        questions: Questions,
        deeds: Errands,
        *,
        in_one_order: bool,
        one_host: bool,
    ) -> None:
        self._bus = bus
        self._here = here
        self._boot = boot
        self._outward = outward
        self._questions = questions
        self._deeds = deeds
        self._in_one_order = in_one_order  # the bus echoes
        self._one_host = one_host
        self._numbers = itertools.count(1)
        self._lock = threading.Lock()
        # Guarded by _lock:
        self._claims: dict[Hashable, _Claim] = {}
        self._requests: dict[Hashable, _Request] = {}
        self._is_due = False  # all are to be repeated

    def _now(self) -> float:
        """By the clock that all processes on the bus have, best one that nobody steps."""
        return time.monotonic() if self._one_host else time.time()

    # "replace"

    def claim(self, id: Hashable, owner: Hashable) -> None:
        """A member is in, and others of its id elsewhere are to go. owner: the member, until `release`."""
        with self._lock:
            # Under the lock: of two that come at the same time the later one is in, and so claims last.
            if not self._here.has(owner):
                return
            claim = self._claims[id] = _Claim(owner, self._now(), not self._in_one_order)
            if self._bus.is_lost:
                # It would be made when the bus is back, and come after younger ones that others have made meanwhile.
                claim.is_back = self._is_due = True
            else:
                self._make(id, claim)

    def release(self, id: Hashable, owner: Hashable) -> None:
        """A member is out."""
        with self._lock:
            claim = self._claims.get(id)
            if claim is not None and claim.owner is owner:
                del self._claims[id]

    def _make(self, id: Hashable, claim: _Claim) -> None:
        """Publish a claim, with a place of its own in the order."""
        assert self._lock.locked()
        claim.number = next(self._numbers)
        claim.retry_at = time.monotonic() + claim.patience
        claim.patience = min(2 * claim.patience, MOST_RETRY)
        text = text_of(id, "an id")
        extra = {"at": claim.at, "n": claim.number}
        if not self._outward.publish(Kind.CLAIM, id_channel(text), text, extra) and claim.is_back:
            self._is_due = True  # else it is made anew by itself

    def came_back(self, id: Hashable, said: Mapping[str, Any]) -> None:
        """A claim of this process came back: from now on claims of others are later than it."""
        with self._lock:
            claim = self._claims.get(id)
            if claim is not None and said.get("again"):
                claim.repeated = 0 if claim.repeated == said.get("n") else claim.repeated
                return
            # An older one of this id was replaced here, or was made anew since: its place in the order is not this one.
            if claim is not None and claim.number == said.get("n"):
                claim.is_back = True

    def many_came_back(self, envelope: Envelope) -> None:
        """Claims that this process repeated came back: who claims an id after them has heard of them before."""
        number = (envelope.extra or {}).get("n")
        with self._lock:
            for id, _ in _claims_of(envelope.body):
                claim = self._claims.get(id)
                if claim is not None and claim.repeated == number:
                    claim.repeated = 0

    def heard(self, id: Hashable, boot: bytes, said: Mapping[str, Any]) -> None:
        """A process claims an id. Raises ValueError for what is no claim."""
        self._judge(id, boot, instant(said.get("at")), again=said.get("again") is True)

    def heard_many(self, envelope: Envelope) -> None:
        """A process repeats claims. Raises ValueError for what is none."""
        for id, at in _claims_of(envelope.body):
            self._judge(id, envelope.boot, at, again=True)

    def _judge(self, id: Hashable, boot: bytes, at: float, *, again: bool) -> None:
        with self._lock:
            claim = self._claims.get(id)
            # One that is still to come back wins: the other process has yet to hear it, and gives way then.
            if claim is None or not claim.is_back:
                return
            # While a repeated claim is under way the other one has its own back when it hears that, and goes by time.
            by_time = again or claim.repeated or not self._in_one_order
            if by_time and (claim.at, self._boot) > (at, boot):
                self._say_again(id, claim)
                return
            del self._claims[id]
        # This very member, not one of its id that comes later.
        if not self._deeds.run(lambda: self._here.replace(claim.owner)):
            with self._lock:
                self._claims.setdefault(id, claim)
                self._is_due = True  # the other one says its claim again then, and there may be room

    def _say_again(self, id: Hashable, claim: _Claim) -> None:
        assert self._lock.locked()
        text = text_of(id, "an id")
        claim.repeated = next(self._numbers)
        extra = {"at": claim.at, "again": True, "n": claim.repeated}
        if not self._outward.say(Kind.CLAIM, id_channel(text), extra, target=text):
            self._is_due = True

    def take_over(self, before: Claims) -> None:
        """This process has left the bus, and comes back under another name: its members are still here."""
        with before._lock:
            claims = dict(before._claims)
        with self._lock:
            for id, claim in claims.items():
                claim.is_back = True
                self._claims[id] = claim
            self._is_due = True

    # After a gap

    def repeat(self) -> None:
        """Claims may have been missed, here or elsewhere: `look` repeats all."""
        with self._lock:
            self._is_due = True

    def look(self) -> None:
        """Repeat what is to be repeated, and make claims anew that have not come back."""
        now = time.monotonic()
        with self._lock:
            due, self._is_due = self._is_due, False
            back = []
            for id, claim in self._claims.items():
                if claim.is_back:
                    if due:  # else it is not asked for: there may be a hundred thousand, each second
                        back.append((text_of(id, "an id"), claim))
                elif due or claim.retry_at < now:
                    self._make(id, claim)
            if due and not self._repeat(back):
                self._is_due = True

    def _repeat(self, claims: list[tuple[str, _Claim]]) -> bool:
        number = next(self._numbers)
        for _, claim in claims:
            claim.repeated = number
        bodies = _batches(((text, claim.at) for text, claim in claims), self._outward.most - _BESIDE)
        return all(self._outward.say(Kind.CLAIM, ALL, {"n": number}, body=body) for body in bodies)

    # "reject"

    @contextlib.contextmanager
    def requested(self, id: Hashable, timeout: float) -> Iterator[None]:
        """Register a member inside the block: the id is free everywhere, as far as the others say.

        Waits at most timeout seconds for their answers. Without them it goes on, and the log says so.
        Raises DuplicateIdError: it is taken elsewhere, or another thread here is at this point with it.
        """
        request = _Request(self._now())
        with self._lock:
            is_first = self._requests.setdefault(id, request) is request
        if not is_first:
            raise _taken(id)
        try:
            # Asked before whether it is here: the registry says so itself, and no other need be asked.
            if not self._here.find(id):
                self._ask(id, request, timeout)
            yield
        finally:
            with self._lock:
                del self._requests[id]

    def _ask(self, id: Hashable, request: _Request, timeout: float) -> None:
        what = {"ask": "claim", "id": text_of(id, "an id"), "at": request.at}
        replies = self._questions.ask(what, _is_taken, timeout, is_enough=bool)
        with self._lock:
            if request.is_lost or any(replies.answers.values()):
                raise _taken(id)
            request.is_decided = True
        if not replies.complete:
            advisor.warn(
                _logger,
                "ids not asked for",
                "",
                "ids were accepted though not every process said that it does not have them: the bus is lost, or too "
                "slow for join_timeout (%d are missing)",
                len(replies.missing),
            )

    def is_taken(self, id: Hashable, boot: bytes, at: float) -> bool:
        """What a process is told that wants an id, and asked at this instant."""
        with self._lock:
            request = self._requests.get(id)
            if request is not None:
                if request.is_decided or (request.at, self._boot) < (at, boot):
                    return True
                request.is_lost = True
            return bool(self._here.find(id))


def _taken(id: Hashable) -> DuplicateIdError:
    return DuplicateIdError(f"the id {printable_repr(id)} is connected already, to another process")


def _is_taken(envelope: Envelope) -> bool:
    taken = (envelope.extra or {}).get("taken")
    if not isinstance(taken, bool):
        raise ValueError("not an answer to a request for an id")
    return taken


def instant(at: object) -> float:
    """An instant of the clock that all processes on the bus have. Raises ValueError."""
    if isinstance(at, bool) or not isinstance(at, int | float) or not 0 <= at < 2**53:
        raise ValueError("not the instant of a claim")
    return float(at)


def _batches(claims: Iterable[tuple[str, float]], most: int) -> Iterator[bytes]:
    """The bodies of the messages that say these claims, of at most so many bytes each."""
    batch: list[bytes] = []
    size = 2
    for claim in claims:
        one = json.dumps(claim, separators=(",", ":")).encode()
        if batch and (len(batch) == MOST_IN_ONE or size + len(one) + 1 > most):
            yield b"[" + b",".join(batch) + b"]"
            batch, size = [], 2
        batch.append(one)
        size += len(one) + 1
    if batch:
        yield b"[" + b",".join(batch) + b"]"


def _claims_of(body: bytes) -> list[tuple[Hashable, float]]:
    try:
        claims = json.loads(body)
    except RecursionError:
        raise ValueError("claims are nested too deep") from None
    if not isinstance(claims, list) or len(claims) > MOST_IN_ONE:
        raise ValueError("not a list of claims")
    read = []
    for each in claims:
        match each:
            case [str(text), at]:
                read.append((name_of(text), instant(at)))
            case _:
                raise ValueError("not a claim")
    return read
