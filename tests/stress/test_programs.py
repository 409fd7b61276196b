"""Each program for a moment, in this process; and, where tests may take long, each broken copy, which must be seen."""

from __future__ import annotations

import logging
import unittest

from syncws.testing import LeakChecks
from tests.partners import heavy
from tests.stress.command import is_seen
from tests.stress.programs import PROGRAMS
from tests.stress.trial import Trial, switching

#: Seconds of each: a round or two.
_MOMENT = 0.05


class ProgramTests(LeakChecks):
    def setUp(self) -> None:
        super().setUp()
        logger = logging.getLogger("syncws")
        self.addCleanup(logger.setLevel, logger.level)
        logger.setLevel(logging.CRITICAL)

    def run_program(self, name: str) -> None:
        trial = Trial(_MOMENT)
        with switching():
            PROGRAMS[name].run(trial)
        self.assertGreater(trial.counts["rounds"], 0)
        self.assertGreater(trial.counts.total(), trial.counts["rounds"], "it has counted nothing")

    def test_ends(self) -> None:
        """Each thread that meets the end of a connection gets an exception of its own."""
        self.run_program("ends")

    def test_writers(self) -> None:
        """Writers of one connection tear nothing and keep their order."""
        self.run_program("writers")

    def test_together(self) -> None:
        """Answers that may leave together are not kept while the handler waits for them."""
        self.run_program("together")

    def test_silence(self) -> None:
        """What waited leaves though nobody does anything more."""
        self.run_program("silence")

    def test_closes(self) -> None:
        """One close leaves, and nothing after it."""
        self.run_program("closes")

    def test_descriptors(self) -> None:
        """A descriptor is closed once, by whoever leaves last."""
        self.run_program("descriptors")

    def test_readers(self) -> None:
        """Each message comes to one of the readers that take turns."""
        self.run_program("readers")

    def test_prepared(self) -> None:
        """Each kind of a prepared message is encoded once."""
        self.run_program("prepared")

    def test_slow(self) -> None:
        """What slow peers get and what is dropped is all there was."""
        self.run_program("slow")

    def test_timers(self) -> None:
        """Timers fire once, or never if they were cancelled."""
        self.run_program("timers")

    def test_attendants(self) -> None:
        """An attendant takes nothing away from a reader."""
        self.run_program("attendants")

    def test_tls(self) -> None:
        """Threads that talk over TLS lose nothing."""
        self.run_program("tls")

    def test_masks(self) -> None:
        """Threads that are the first to mask mask rightly."""
        self.run_program("masks")

    def test_members(self) -> None:
        """Each on_open has one on_close."""
        self.run_program("members")

    def test_rooms(self) -> None:
        """Who is in a room gets what is said there, and nobody else does."""
        self.run_program("rooms")

    def test_fanout(self) -> None:
        """Broadcasts of several threads reach everybody once and in order."""
        self.run_program("fanout")

    def test_histories(self) -> None:
        """Who comes back to a room gets everything once and in order."""
        self.run_program("histories")

    def test_buses(self) -> None:
        """Broadcasts over a bus reach everybody once and in order."""
        self.run_program("buses")

    def test_publishers(self) -> None:
        """What threads say by one Publisher arrives once and in order."""
        self.run_program("publishers")

    def test_shutdowns(self) -> None:
        """Whoever is connected is told that the server ends."""
        self.run_program("shutdowns")

    def test_snapshots(self) -> None:
        """The numbers of a server agree at any moment."""
        self.run_program("snapshots")

    def test_addresses(self) -> None:
        """One address has as many connections as it may."""
        self.run_program("addresses")

    def test_guests(self) -> None:
        """Seats are neither lost nor given twice."""
        self.run_program("guests")

    def test_reconnects(self) -> None:
        """A loop that is stopped ends."""
        self.run_program("reconnects")


@heavy
class BrokenTests(unittest.TestCase):
    def assert_seen(self, name: str) -> None:
        self.assertNotEqual(PROGRAMS[name].BREAKS, {})
        for each in PROGRAMS[name].BREAKS:
            with self.subTest(each):
                self.assertTrue(is_seen(name, each, seed=1))

    def test_ends(self) -> None:
        """`ends` sees what is broken."""
        self.assert_seen("ends")

    def test_writers(self) -> None:
        """`writers` sees what is broken."""
        self.assert_seen("writers")

    def test_together(self) -> None:
        """`together` sees what is broken."""
        self.assert_seen("together")

    def test_silence(self) -> None:
        """`silence` sees what is broken."""
        self.assert_seen("silence")

    def test_closes(self) -> None:
        """`closes` sees what is broken."""
        self.assert_seen("closes")

    def test_descriptors(self) -> None:
        """`descriptors` sees what is broken."""
        self.assert_seen("descriptors")

    def test_readers(self) -> None:
        """`readers` sees what is broken."""
        self.assert_seen("readers")

    def test_prepared(self) -> None:
        """`prepared` sees what is broken."""
        self.assert_seen("prepared")

    def test_slow(self) -> None:
        """`slow` sees what is broken."""
        self.assert_seen("slow")

    def test_timers(self) -> None:
        """`timers` sees what is broken."""
        self.assert_seen("timers")

    def test_attendants(self) -> None:
        """`attendants` sees what is broken."""
        self.assert_seen("attendants")

    def test_tls(self) -> None:
        """`tls` sees what is broken."""
        self.assert_seen("tls")

    def test_masks(self) -> None:
        """`masks` sees what is broken."""
        self.assert_seen("masks")

    def test_members(self) -> None:
        """`members` sees what is broken."""
        self.assert_seen("members")

    def test_rooms(self) -> None:
        """`rooms` sees what is broken."""
        self.assert_seen("rooms")

    def test_fanout(self) -> None:
        """`fanout` sees what is broken."""
        self.assert_seen("fanout")

    def test_histories(self) -> None:
        """`histories` sees what is broken."""
        self.assert_seen("histories")

    def test_buses(self) -> None:
        """`buses` sees what is broken."""
        self.assert_seen("buses")

    def test_publishers(self) -> None:
        """`publishers` sees what is broken."""
        self.assert_seen("publishers")

    def test_shutdowns(self) -> None:
        """`shutdowns` sees what is broken."""
        self.assert_seen("shutdowns")

    def test_snapshots(self) -> None:
        """`snapshots` sees what is broken."""
        self.assert_seen("snapshots")

    def test_addresses(self) -> None:
        """`addresses` sees what is broken."""
        self.assert_seen("addresses")

    def test_guests(self) -> None:
        """`guests` sees what is broken."""
        self.assert_seen("guests")

    def test_reconnects(self) -> None:
        """`reconnects` sees what is broken."""
        self.assert_seen("reconnects")


class ListTests(unittest.TestCase):
    def test_every_program(self) -> None:
        """Each program is run for a moment, and each is shown to see what is broken."""
        for case in (ProgramTests, BrokenTests):
            tested = {name.removeprefix("test_") for name in vars(case) if name.startswith("test_")}
            self.assertEqual(tested, set(PROGRAMS))
