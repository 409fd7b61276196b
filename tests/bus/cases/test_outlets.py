"""outlets.py: ways out that are wrong are caught, each by the case for what is wrong with it."""

from __future__ import annotations

import sys
import threading
import time

from syncws._bus.memory import MemoryOutlet
from syncws.errors import BackplaneTimeout

from .saboteurs import Saboteur
from .support import SaboteurChecks


class BackToFront(Saboteur):
    """It sends in the wrong order."""

    caught = ("test_outlet",)

    def outlet(self):
        class Reversed(MemoryOutlet):
            def send(self, messages, timeout, *, keep=False):
                super().send(list(messages)[::-1], timeout, keep=keep)

        return Reversed(self.bus)


class ClosedForEver(Saboteur):
    """Once closed, it sends no more."""

    caught = ("test_outlet",)

    def outlet(self):
        class Once(MemoryOutlet):
            closed = False

            def send(self, messages, timeout, *, keep=False):
                if self.closed:
                    raise BackplaneTimeout("closed")
                super().send(messages, timeout, keep=keep)

            def close(self):
                self.closed = True

        return Once(self.bus)


class NeedsAStart(Saboteur):
    """It has a way out only if it was started."""

    caught = ("test_outlet", "test_outlet_leaves_nothing", "test_outlet_too_large", "test_outlet_without_a_bus")

    def outlet(self):
        if self._sink is None:
            raise RuntimeError("not started")
        return super().outlet()


class NeedsNoStart(Saboteur):
    """It has no way out once it was started."""

    caught = ("test_outlet_of_one_that_is_started",)

    def outlet(self):
        if self._sink is not None:
            raise RuntimeError("started")
        return super().outlet()


class HasAThread(Saboteur):
    """It sends by a thread, which stays."""

    caught = ("test_outlet_leaves_nothing",)

    def outlet(self):
        threading.Thread(target=time.sleep, args=(0.3,), daemon=True).start()
        return super().outlet()


class StaysConnected(Saboteur):
    """It leaves a descriptor behind."""

    caught = ("test_outlet_leaves_nothing",)

    def outlet(self):
        self.open_another()
        return super().outlet()


class SendsWhatIsTooLarge(Saboteur):
    """It sends what no backplane may publish."""

    caught = ("test_outlet_too_large",)

    def outlet(self):
        class Cut(MemoryOutlet):
            def send(self, messages, timeout, *, keep=False):
                super().send([(channel, data[:10]) for channel, data in messages], timeout, keep=keep)

        return Cut(self.bus)


class NeverGivesUp(Saboteur):
    """It waits for the bus, whatever timeout says."""

    caught = ("test_outlet_without_a_bus",)

    def outlet(self):
        class Patient(MemoryOutlet):
            def send(self, messages, timeout, *, keep=False):
                super().send(messages, max(timeout, 2), keep=keep)

        return Patient(self.bus)


class RaisesSomethingElse(Saboteur):
    """What it raises is not what is written."""

    caught = ("test_outlet_without_a_bus",)

    def outlet(self):
        class Foreign(MemoryOutlet):
            def send(self, messages, timeout, *, keep=False):
                try:
                    super().send(messages, timeout, keep=keep)
                except BackplaneTimeout:
                    raise TimeoutError from None

        return Foreign(self.bus)


class SwallowsInSilence(Saboteur):
    """It returns although the bus has taken nothing."""

    caught = ("test_outlet_without_a_bus",)

    def outlet(self):
        class Silent(MemoryOutlet):
            def send(self, messages, timeout, *, keep=False):
                if self._bus._reason is None:
                    super().send(messages, timeout, keep=keep)

        return Silent(self.bus)


class OutletTests(SaboteurChecks):
    def test_caught(self):
        """Each saboteur of this file is caught by the cases that it names."""
        self.check_caught(sys.modules[__name__])

    def test_nothing_else_fails(self):
        """No other case fails for it."""
        self.check_nothing_else(sys.modules[__name__])
