"""The tests of a table of saboteurs: each is caught by the cases that it names, and by no other."""

from __future__ import annotations

import inspect

from syncws.testing import LeakChecks
from tests.partners import heavy
from tests.tasks import PATIENCE

from .saboteurs import Saboteur, all_cases, failing

#: Seconds that a case waits which is to fail.
_SHORT = 0.3


def saboteurs_of(module: object) -> list[type[Saboteur]]:
    """The saboteurs that a module of tests has."""
    found = [each for _, each in inspect.getmembers(module, inspect.isclass) if issubclass(each, Saboteur)]
    return [each for each in found if each.caught and each.__module__ == getattr(module, "__name__", "")]


class SaboteurChecks(LeakChecks):
    """Inherit it in a module that has saboteurs."""

    def check_caught(self, module: object) -> None:
        """Each saboteur is caught by the cases that it names."""
        for saboteur in saboteurs_of(module):
            with self.subTest(saboteur.__name__):
                self.assertEqual(failing(saboteur, saboteur.caught, _SHORT), set(saboteur.caught))

    @heavy
    def check_nothing_else(self, module: object) -> None:
        """No other case fails for a saboteur: a failure says what is wrong, and not only that something is."""
        for saboteur in saboteurs_of(module):
            with self.subTest(saboteur.__name__):
                self.assertEqual(failing(saboteur, sorted(set(all_cases()) - set(saboteur.caught)), PATIENCE), set())
