"""Ids that may have one connection, over several processes."""

from __future__ import annotations

import json
import threading
import time
import unittest
from typing import Any
from unittest import mock

from syncws import DuplicateIdError
from syncws._base.advice import advisor
from syncws._relay import claims as claims_module
from syncws._relay.claims import MOST_IN_ONE
from syncws._relay.envelope import Envelope, Kind
from syncws.testing import MemoryBus, await_
from tests.tasks import PATIENCE, Task

from .support import Process, RelayCase

THEIRS = b"theirs!!"
FIRST = bytes(8)  # a boot that is smaller than every other
LAST = b"\xff" * 8


class ClaimCase(RelayCase):
    def register(self, process: Process, id: Any = "ann") -> None:
        with process.relay.joining((), id), process.relay.claiming(id, rejects=False) as claim:
            process.here.named.add(id)
            claim(id)

    def come(self, extra: Any, boot: bytes = THEIRS, *, channel: str = 'i:"ann"', body: bytes = b"") -> None:
        target = '"ann"' if channel != "*" else ""
        self.bus.inject(channel, Envelope(Kind.CLAIM, boot, target=target, extra=extra, body=body).encode())

    def owners(self, *processes: Process, id: Any = "ann") -> list[Process]:
        self.settle(*processes)
        return [each for each in processes if id in each.here.named]


class OrderTests(ClaimCase):
    """On a bus that echoes the last claim in its order wins, whatever the clocks say."""

    def test_the_newer_one(self) -> None:
        """Who registers an id takes it from the process that had it."""
        one, other = self.two()
        for newer in (one, other, one):
            self.register(newer)
            self.assertEqual(self.owners(one, other), [newer])
        self.assertEqual(one.here.got, [("replaced", "ann")])

    def test_the_newer_one_by_a_clock_that_is_behind(self) -> None:
        """The order of the bus counts: a clock that is behind takes nothing away."""
        one, other = self.two()
        self.register(one)
        self.settle(one, other)
        with mock.patch("time.time", lambda: 5.0):
            self.register(other)
        self.assertEqual(self.owners(one, other), [other])

    def test_claims_that_cross(self) -> None:
        """One whose own claim has not come back survives a claim of another; one whose claim has come back does not."""
        one, _ = self.two()
        one.backplane.hold()
        self.come({"at": 2**40, "n": 1})
        self.register(one)
        one.backplane.release()
        self.assertEqual(self.owners(one), [one])
        self.come({"at": 0, "n": 2})
        self.assertEqual(self.owners(one), [])

    def test_a_claim_that_was_replaced_here(self) -> None:
        """While the claim of a newer member here is under way, the one of the older member decides nothing."""
        one, _ = self.two()
        self.register(one)
        one.backplane.hold()
        self.come({"at": 2**40, "n": 1})
        self.register(one)
        one.backplane.release()
        self.assertEqual(self.owners(one), [one])

    def test_a_member_that_is_out(self) -> None:
        """A thread whose member was replaced before it claims does not claim: the newer one has done so."""
        one, other = self.two()
        self.register(other)
        self.settle(one, other)
        one.relay.claims.claim("ann", "ann")
        self.assertEqual(self.owners(one, other), [other])
        self.assertEqual(one.relay.claims._claims, {})

    def test_release(self) -> None:
        """A member that is out claims nothing any more; one that came after it goes on."""
        one, other = self.two()
        self.register(one)
        one.relay.claims.release("ann", "another member")
        self.assertIn("ann", one.relay.claims._claims)
        one.relay.claims.release("ann", "ann")
        self.assertNotIn("ann", one.relay.claims._claims)
        self.register(other)
        self.assertEqual(one.here.got, [])

    def test_one_that_does_not_come_back(self) -> None:
        """A claim that the bus has swallowed is made anew after a while, and then takes its place in the order."""
        one, other = self.two()
        self.register(other)
        self.settle(one, other)
        for each in (one, other):
            each.backplane.lose(1)
        with mock.patch.object(claims_module, "RETRY", 0.0):
            self.register(one)
            self.settle(one, other)
            self.assertFalse(one.relay.claims._claims["ann"].is_back)
            one.relay._pulse.wake()
            self.assertTrue(await_(lambda: one.relay.claims._claims["ann"].is_back))
        self.assertEqual(self.owners(one, other), [one])

    def test_too_many_deeds(self) -> None:
        """Where nobody is free to close the older one, it is told again, and closed then."""
        one, other = self.two()
        self.register(one)
        self.settle(one, other)
        with mock.patch.object(one.relay.deeds, "run", lambda deed: False):
            self.register(other)
            self.bus.settle()
            self.assertTrue(one.relay.claims._claims["ann"].is_back)
        one.relay._pulse.wake()
        self.assertTrue(await_(lambda: self.owners(one, other) == [other]))


class TimeTests(ClaimCase):
    """On a bus that does not echo the younger claim wins, and ties go by boot."""

    bus_options = {"addressed": False, "echoes": False, "tells_ends": True}

    def test_the_newer_one(self) -> None:
        """Who registers an id takes it from the process that had it."""
        one, other = self.two()
        for newer in (one, other, one):
            self.register(newer)
            self.assertEqual(self.owners(one, other), [newer])

    def test_the_same_instant(self) -> None:
        """Of two claims of the same instant that of the greater boot wins."""
        one, _ = self.two()
        with mock.patch("time.time", lambda: 5.0):
            self.register(one)
        self.come({"at": 5.0, "n": 1}, FIRST)
        self.assertEqual(self.owners(one), [one])
        self.come({"at": 5.0, "n": 1}, LAST)
        self.assertEqual(self.owners(one), [])

    def test_one_who_has_not_heard_the_younger_claim(self) -> None:
        """Whose claim is the younger one says it again: with a clock that was set back one is left, not two."""
        one, other = self.two()
        self.register(one)
        self.settle(one, other)
        with mock.patch("time.time", lambda: 5.0):
            self.register(other)
        self.assertEqual(self.owners(one, other), [one])


class GapTests(ClaimCase):
    """After a gap claims are repeated, and the younger ones win."""

    def test_after_a_gap(self) -> None:
        """One id that was registered twice while a process did not hear it is left once, with the younger member."""
        for cut_is_older in (True, False):
            with self.subTest(cut_is_older=cut_is_older):
                self.bus = MemoryBus()
                one, other = self.two()
                older, newer = (one, other) if cut_is_older else (other, one)
                with self.assertLogs("syncws.relay", "ERROR"):
                    one.backplane.cut()
                    self.settle(one)
                self.register(older)
                self.register(newer)
                self.bus.settle()
                one.backplane.mend()
                self.assertTrue(await_(lambda: self.owners(one, other) == [newer]))  # noqa: B023

    def test_all_were_cut(self) -> None:
        """Two that registered an id while the bus was away for both: one is left."""
        one, other = self.two()
        with self.assertLogs("syncws.relay", "ERROR"):
            self.bus.cut()
            self.settle(one, other)
        for each in (one, other):
            self.register(each)
        for resend in (True, False):
            self.bus.mend(resend=resend)
            self.assertTrue(await_(lambda: len(self.owners(one, other)) == 1))

    def test_all_were_cut_and_nothing_is_sent_again(self) -> None:
        """The same where what was published meanwhile is given up."""
        one, other = self.two()
        with self.assertLogs("syncws.relay", "WARNING"):
            self.bus.cut()
            self.settle(one, other)
            for each in (one, other):
                self.register(each)
            self.bus.mend(resend=False)
            self.assertTrue(await_(lambda: len(self.owners(one, other)) == 1))

    def test_a_claim_that_was_lost(self) -> None:
        """A loss on the channel of an id is a gap too."""
        one, other = self.two()
        self.register(one)
        self.register(other)
        self.register(one)
        self.settle(one, other)
        one.backplane.lose(1)
        self.register(other)
        self.settle(one, other)
        self.assertEqual(len(self.owners(one, other)), 2)
        other.relay.do("join", "ann", room='"x"')  # which has the next number on that channel
        self.assertTrue(await_(lambda: self.owners(one, other) == [other]))

    def test_a_repeated_claim_that_crosses_a_new_one(self) -> None:
        """Who hears a claim while its own, repeated, is under way goes by time, as the other one will: one is left."""
        for younger_is_repeated in (True, False):
            with self.subTest(younger_is_repeated=younger_is_repeated):
                self.bus = MemoryBus()
                one, _ = self.two()
                self.register(one)
                self.settle(one)
                one.backplane.hold()
                self.come({"at": 5.0 if younger_is_repeated else 2**40, "n": 1})
                one.relay.claims.repeat()
                one.relay.claims.look()
                one.backplane.release()
                self.assertEqual(self.owners(one), [one] if younger_is_repeated else [])

    def test_a_new_claim_after_a_repeated_one(self) -> None:
        """One that comes after the repeated one wins: whoever made it had yet to hear its own then."""
        one, _ = self.two()
        self.register(one)
        self.settle(one)
        one.relay.claims.repeat()
        one.relay.claims.look()
        self.settle(one)
        self.come({"at": 5.0, "n": 1})
        self.assertEqual(self.owners(one), [])

    def test_many_in_one_message(self) -> None:
        """Five hundred ids are repeated in one message, and those of long ids in as many as the bus asks for."""
        one, other = self.two()
        said: list[Any] = []
        one.relay.outward.say = lambda kind, channel, extra=None, **rest: said.append((kind, channel, rest)) or True  # type: ignore[method-assign, func-returns-value, assignment]
        for number in range(2 * MOST_IN_ONE + 1):
            one.here.named.add(number)
            one.relay.claims._claims[number] = claims_module._Claim(number, float(number), True)
        one.relay.claims.repeat()
        one.relay.claims.look()
        bodies = [json.loads(rest["body"]) for kind, channel, rest in said if (kind, channel) == (Kind.CLAIM, "*")]
        self.assertEqual([len(each) for each in bodies], [MOST_IN_ONE, MOST_IN_ONE, 1])
        self.assertEqual(bodies[0][3], ["3", 3.0])
        long = [("x" * 400, 1.0)] * 10
        bodies = list(claims_module._batches(long, 1000))
        self.assertEqual(sum(len(json.loads(each)) for each in bodies), 10)
        self.assertLessEqual(max(map(len, bodies)), 1000)
        self.assertEqual(list(claims_module._batches([], 1000)), [])
        del one.relay.outward.say  # type: ignore[method-assign]
        other.here.named.clear()

    def test_a_full_queue(self) -> None:
        """What cannot be repeated now is repeated at the next look."""
        one, _ = self.two()
        self.register(one)
        self.settle(one)
        with mock.patch.object(one.relay.outward, "say", lambda *args, **kw: False):
            one.relay.claims.repeat()
            one.relay.claims.look()
            self.assertTrue(one.relay.claims._is_due)
            self.come({"at": 0, "again": True})
            self.bus.settle()
        self.assertTrue(one.relay.claims._is_due)
        one.relay.claims.look()
        self.assertFalse(one.relay.claims._is_due)

    def test_nothing_to_repeat(self) -> None:
        """A look at claims of which none is to be repeated writes none of them down: there may be many."""
        process = self.process()
        process.join(id="ann")
        process.relay.claims._claims["ann"] = claims_module._Claim("ann", 1.0, True)
        with mock.patch.object(claims_module, "text_of", side_effect=AssertionError):
            process.relay.claims.look()

    def test_under_another_name(self) -> None:
        """A process that ends its bus and begins again still claims what is here."""
        one, other = self.two()
        self.register(one)
        self.settle(one, other)
        one.relay.end(5.0)
        self.register(other)
        one.join("lobby")
        self.assertTrue(await_(lambda: self.owners(one, other) == [other]))


class JunkTests(ClaimCase):
    def test_what_is_no_claim(self) -> None:
        """It is counted, and closes nobody."""
        one, _ = self.two()
        self.register(one)
        self.settle(one)
        for extra in (None, {}, {"at": "1"}, {"at": -1}, {"at": True}, {"at": float("nan")}, {"at": 2**60}):
            with self.subTest(extra):
                self._is_bad(one, extra=extra)
        for body in (b"", b"{}", b"[1]", b'[["x", 1]]', b'[["\\"ann\\"", null]]', b"[" * 100_000):
            with self.subTest(body[:20]):
                self._is_bad(one, channel="*", body=body)
        self._is_bad(one, channel="*", body=json.dumps([['"x"', 1]] * (MOST_IN_ONE + 1)).encode())
        self.assertEqual(self.owners(one), [one])

    def _is_bad(self, process: Process, extra: Any = None, **rest: Any) -> None:
        before = process.relay.health().bad
        self.come(extra, **rest)
        self.settle(process)
        self.assertEqual(process.relay.health().bad, before + 1)


class RejectTests(ClaimCase):
    """With "reject" who registers asks first."""

    def setUp(self) -> None:
        super().setUp()
        advisor.begin_anew()

    def request(self, process: Process, id: Any = "ann") -> bool:
        """Whether a process gets an id."""
        try:
            with process.relay.joining((), id), process.relay.claiming(id, rejects=True) as claim:
                process.here.named.add(id)
                claim(id)
                return True
        except DuplicateIdError:
            return False

    def test_taken(self) -> None:
        """An id that is there in another process is refused, until it is gone."""
        one, other = self.two()
        self.assertTrue(self.request(one))
        self.assertFalse(self.request(other))
        self.assertTrue(self.request(other, "bob"))
        one.here.named.clear()
        self.assertTrue(self.request(other))

    def test_two_at_the_same_time(self) -> None:
        """The earlier request wins; one that hears of an earlier one gives way, although nobody refused it."""
        one, other = self.two()
        for round in range(20):
            gate = threading.Barrier(2)

            def ask(process: Process, id: Any, gate: threading.Barrier = gate) -> bool:
                gate.wait()
                return self.request(process, id)

            tasks = [Task(ask, each, f"user {round}") for each in (one, other)]
            self.assertEqual(sorted(task.result() for task in tasks), [False, True])

    def test_an_earlier_request_is_under_way(self) -> None:
        """Who asks is refused if it hears meanwhile that an earlier request is under way elsewhere."""
        one, other = self.two()
        other.backplane.hold()
        one.relay._join_timeout = PATIENCE
        task = Task(self.request, one)
        self.assertTrue(await_(lambda: bool(one.relay.claims._requests)))
        self.assertTrue(one.relay.claims.is_taken("ann", LAST, time.time() + 60))  # one is earlier
        self.assertFalse(one.relay.claims.is_taken("ann", FIRST, 1.0))
        other.backplane.release()
        self.assertFalse(task.result())

    def test_an_accepted_request(self) -> None:
        """Once it is accepted an earlier one comes too late."""
        one, other = self.two()
        with one.relay.joining((), "ann"), one.relay.claiming("ann", rejects=True):
            self.assertTrue(one.relay.claims.is_taken("ann", FIRST, 1.0))
            self.assertFalse(self.request(one))  # another thread here
        self.assertFalse(one.relay.claims.is_taken("ann", FIRST, 1.0))
        self.assertTrue(self.request(other))

    def test_nobody_answers(self) -> None:
        """Without an answer the id is accepted, and the log says so, once a minute."""
        one, other = self.two()
        one.relay._join_timeout = 0.05
        other.backplane.hold()
        with self.assertLogs("syncws.relay", "WARNING") as log:
            self.assertTrue(self.request(one))
            self.assertTrue(self.request(one, "bob"))
        self.assertIn("1 are missing", log.output[0])
        self.assertEqual(len(log.output), 1)
        other.backplane.release()

    def test_no_bus(self) -> None:
        """So it is while the bus is lost, at once."""
        one, _ = self.two()
        one.relay._join_timeout = PATIENCE
        with self.assertLogs("syncws.relay", "WARNING"):
            self.bus.cut()
            self.settle(one)
            self.assertTrue(self.request(one))
        self.bus.mend()

    def test_what_is_no_answer(self) -> None:
        """An answer that is neither yes nor no is none."""
        for extra in (None, {}, {"taken": 1}):
            with self.assertRaises(ValueError):
                claims_module._is_taken(Envelope(Kind.ANSWER, THEIRS, extra=extra))


class LocalRejectTests(RejectTests):
    """The same on a bus where everything arrives everywhere, and nothing comes back."""

    bus_options = {"addressed": False, "echoes": False, "tells_ends": True}


if __name__ == "__main__":
    unittest.main()
