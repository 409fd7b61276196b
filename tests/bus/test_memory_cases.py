"""memory.py passes what every backplane has to pass, in each of its settings."""

from __future__ import annotations

from syncws._bus.history import History
from syncws._bus.memory import MemoryBackplane, MemoryBus
from syncws.testing import BackplaneCases, LeakChecks


class AddressedWithEchoes(BackplaneCases, LeakChecks):
    """As Redis is."""

    joins_processes = False
    addressed = True
    echoes = True
    history = History(size=10)

    def setUp(self):
        super().setUp()
        self.bus = MemoryBus(addressed=self.addressed, echoes=self.echoes, max_message=1 << 16, history=self.history)

    def make(self):
        return MemoryBackplane(self.bus)

    def break_bus(self):
        self.bus.cut()

    def mend_bus(self):
        self.bus.mend()

    def inject(self, channel, data):
        self.bus.inject(channel, data)


class WithoutHistory(AddressedWithEchoes):
    """As Redis is without a history."""

    history = None


class AddressedWithoutEchoes(AddressedWithEchoes):
    """Only what others publish on subscribed channels."""

    echoes = False


class EverythingWithEchoes(AddressedWithEchoes):
    """Everything arrives everywhere."""

    addressed = False


class EverythingWithoutEchoes(AddressedWithEchoes):
    """As the local bus is."""

    addressed = False
    echoes = False
