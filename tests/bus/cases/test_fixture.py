"""fixture.py: what whoever inherits the cases has to write, and what a failure says."""

from __future__ import annotations

import unittest

from syncws._bus.cases.fixture import Fixture, descriptors, differs, numbered
from syncws.testing import BackplaneCases, LeakChecks

from . import test_archives, test_breaks, test_delivery, test_lives, test_outlets
from .saboteurs import Saboteur, all_cases, failing
from .support import saboteurs_of


class DiffersTests(unittest.TestCase):
    """differs: how what came is not what was sent."""

    def test_what_a_failure_says(self):
        """What is missing, came twice, was changed or changed places is said, in numbers and with examples."""
        sent = numbered(5)
        for came, said in (
            (sent, ""),
            (sent[1:], "1 of 5 did not come: b'0'"),
            ([], "5 of 5 did not come: b'0', b'1', b'2', ..."),
            ([*sent, b"3"], "1 of 5 came more than once: b'3'"),
            ([*sent, b"x" * 30], f"1 of 6 came and was not sent so: b'{'x' * 20}'"),
            ([*sent[:3], b"3!", b"4"], "1 of 5 did not come: b'3'; 1 of 5 came and was not sent so: b'3!'"),
            (sent[::-1], "All came, but not in the order in which it was sent"),
        ):
            self.assertEqual(differs(sent, came), said)

    def test_descriptors(self):
        """The descriptors of this process are found, where the system tells."""
        with open(__file__) as file:
            found = descriptors()
            self.assertEqual(found.get(str(file.fileno())), __file__ if found else None)


class TableTests(unittest.TestCase):
    def test_each_case_catches_somebody(self):
        """Each case is failed by a saboteur: none of them lets everybody pass."""
        modules = (test_delivery, test_breaks, test_lives, test_outlets, test_archives)
        caught = {name for module in modules for each in saboteurs_of(module) for name in each.caught}
        self.assertEqual(caught, set(all_cases()))


class Hooks(LeakChecks):
    """What others write."""

    def test_what_is_not_written(self):
        """make must be written, and mend_bus beside break_bus; without the rest, the cases for it are skipped."""

        class Cases(Fixture, unittest.TestCase):
            def nothing(self):
                pass

        cases = Cases("nothing")
        with self.assertRaisesRegex(NotImplementedError, r"write make\(\)"):
            cases.make()
        with self.assertRaisesRegex(NotImplementedError, r"write mend_bus\(\)"):
            cases.mend_bus()
        for hook, arguments in ((cases.break_bus, ()), (cases.inject, ("a", b"1"))):
            with self.assertRaisesRegex(unittest.SkipTest, f"write {hook.__name__}"):
                hook(*arguments)

    def test_it_is_a_mixin(self):
        """Imported into a module of tests, the cases are not taken for tests themselves."""
        self.assertFalse(issubclass(BackplaneCases, unittest.TestCase))

    def test_what_never_ends(self):
        """A call that never returns fails its case when the patience is over, and is named."""

        class NeverUp(Saboteur):
            def _tell_up(self):
                pass

        self.assertEqual(failing(NeverUp, ["test_its_own"], 0.05), {"test_its_own"})
