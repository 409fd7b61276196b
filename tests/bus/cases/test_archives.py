"""archives.py: stores that hide what is missing are caught, each by the case for it."""

from __future__ import annotations

import sys

from syncws._bus.busarchive import BusArchive
from syncws._bus.history import History, Past
from syncws._bus.memory import MemoryBackplane

from .saboteurs import Saboteur
from .support import SaboteurChecks


class Keeper(Saboteur):
    """A backplane with a store that is wrong in one way."""

    store = BusArchive

    def __init__(self, bus):
        super().__init__(bus)
        if not isinstance(bus.archive, self.store):
            bus.archive = self.store(History(size=10))


class NoPositions(Keeper):
    """What it keeps comes without a position."""

    caught = (
        *("test_kept", "test_order_of_positions", "test_not_kept", "test_more_than_it_remembers"),
        *("test_what_was_not_sent", "test_what_is_said_not_to_be_sent"),
    )

    def _arrive(self, message, position):
        super()._arrive(message, None)


class NotAtItsPublisher(Keeper):
    """What is kept does not come to its publisher, as it does not echo."""

    caught = ("test_kept",)
    options = {"echoes": False}

    def _arrive(self, message, position):
        if message not in self._published_here:
            super()._arrive(message, position)

    def publish(self, channel, data, *, keep=False):
        self._published_here = [*getattr(self, "_published_here", ()), (channel, data, keep)]
        return super().publish(channel, data, keep=keep)

    _published_here = ()


class KeepsEverything(Keeper):
    """What is to be forgotten is kept as well."""

    caught = ("test_not_kept", "test_what_is_said_not_to_be_sent")

    def publish(self, channel, data, *, keep=False):
        return super().publish(channel, data, keep=True)


class FromTheBeginning(BusArchive):
    def read(self, channel, since, timeout):
        past = super().read(channel, since, timeout)
        origin = f"{past.position.partition('-')[0]}-0"
        return super().read(channel, origin, timeout) if since and past.entries else past


class ReadsTooMuch(Keeper):
    """What the position covers is read again."""

    caught = ("test_kept", "test_more_than_it_remembers", "test_what_was_not_sent")
    store = FromTheBeginning


class Optimist(BusArchive):
    def read(self, channel, since, timeout):
        past = super().read(channel, since, timeout)
        entries = tuple(self._logs[channel].entries)
        known = bool(since) and since.partition("-")[0] == past.position.partition("-")[0] and since.count("-") == 1
        return past if past.recovered or not known else Past(past.position, entries, True)


class HidesWhatIsGone(Keeper):
    """It calls recovered what it has of the rest."""

    caught = ("test_more_than_it_remembers",)
    store = Optimist


class Numbers(BusArchive):
    def read(self, channel, since, timeout):
        tag = self._log(channel).tag
        _, _, number = (since or "").rpartition("-")
        return super().read(channel, f"{tag}-{number}" if since else since, timeout)


class OnlyNumbers(Keeper):
    """Its positions are nothing more than numbers: those of another channel are good, too."""

    caught = ("test_positions_that_are_not_known", "test_what_was_not_sent")
    store = Numbers


class Trusting(BusArchive):
    def _anew(self, channel):
        return self._log(channel)


class TakesNoNumbers(Keeper):
    """What it has kept is whole for it, whatever was not sent."""

    caught = ("test_what_was_not_sent", "test_what_is_said_not_to_be_sent")
    store = Trusting


class Deaf(BusArchive):
    def told(self, channel, data):
        pass


class TakesNoLosses(Keeper):
    """It looks at numbers alone."""

    caught = ("test_what_is_said_not_to_be_sent",)
    store = Deaf


class Strict(BusArchive):
    def read(self, channel, since, timeout):
        if since is not None and "-" not in since:
            raise ValueError("no position")
        return super().read(channel, since, timeout)


class RaisesForJunk(Keeper):
    """A position that a client has made up is an error."""

    caught = ("test_positions_that_are_not_known",)
    store = Strict


class Text(BusArchive):
    def is_after(self, position, other):
        return position >= other


class ComparesAsText(Keeper):
    """A message is after its own position."""

    caught = ("test_order_of_positions",)
    store = Text


class ArchiveTests(SaboteurChecks):
    def test_caught(self):
        """Each saboteur of this file is caught by the cases that it names."""
        self.check_caught(sys.modules[__name__])

    def test_nothing_else_fails(self):
        """No other case fails for it."""
        self.check_nothing_else(sys.modules[__name__])

    def test_without_an_archive(self):
        """A backplane that keeps no history is not asked for any."""
        self.assertIsNone(MemoryBackplane().archive)
