"""lives.py: backplanes that begin too early, leave something behind or do not survive a fork are caught."""

from __future__ import annotations

import sys
import threading
import time
from unittest import mock

from .saboteurs import Saboteur
from .support import SaboteurChecks


class StartsInItsConstructor(Saboteur):
    """It has a thread before it is started."""

    caught = ("test_nothing_before_the_start", "test_outlet_leaves_nothing")

    def __init__(self, bus):
        super().__init__(bus)
        threading.Thread(target=time.sleep, args=(0.3,), daemon=True).start()


class ConnectsInItsConstructor(Saboteur):
    """It has a descriptor before it is started."""

    caught = ("test_nothing_before_the_start", "test_outlet_leaves_nothing", "test_fork")

    def __init__(self, bus):
        super().__init__(bus)
        self.open_another()

    def close(self, timeout):
        super().close(timeout)
        self.close_all()


class LeavesAThread(Saboteur):
    """A thread goes on after close()."""

    caught = ("test_nothing_after_the_close",)

    def close(self, timeout):
        if self._sink is not None:
            threading.Thread(target=time.sleep, args=(2,), daemon=True).start()
        super().close(timeout)


class LeavesADescriptor(Saboteur):
    """A descriptor stays open after close()."""

    caught = ("test_nothing_after_the_close", "test_fork")

    def start(self, sink, node):
        self.open_another()
        super().start(sink, node)


class SaysGoodbye(Saboteur):
    """It says that the bus is lost when it is closed."""

    caught = ("test_nothing_after_the_close",)

    def close(self, timeout):
        if self._sink is not None:
            self._sink.down("closed")
        super().close(timeout)


class GoesOnTelling(Saboteur):
    """It tells its sink of what comes after close()."""

    caught = ("test_nothing_after_the_close",)

    def close(self, timeout):
        sink = self._sink
        super().close(timeout)
        if sink is not None:
            threading.Timer(0.02, sink.received, ("late", b"late")).start()


class ClosesWithoutFlushing(Saboteur):
    """What was published just before close() is lost."""

    caught = ("test_close_flushes",)
    kept = None

    def publish(self, channel, data, *, keep=False):
        if data == b"close3:49":
            self.kept = (channel, data)
            return True
        return super().publish(channel, data, keep=keep)


class TakesTheSecondSink(Saboteur):
    """A second start() puts its sink in the place of the first."""

    caught = ("test_started_twice",)

    def start(self, sink, node):
        if self._sink is not None:
            self.close(0)
        super().start(sink, node)


class StartsInARace(Saboteur):
    """Two threads that start it at the same time both do."""

    caught = ("test_started_by_two_threads",)
    starting = 0
    doubles = False

    def start(self, sink, node):
        self.starting += 1
        time.sleep(0.05)
        self.doubles = self.doubles or self.starting > 1
        super().start(sink, node)
        self.starting -= 1

    def _arrive(self, message, position):
        super()._arrive(message, position)
        if self.doubles:
            super()._arrive(message, position)


class KeepsItsSubscriptions(Saboteur):
    """Started again, it still has the subscriptions of before."""

    caught = ("test_started_again",)

    def start(self, sink, node):
        super().start(sink, node)
        self.subscribe(getattr(self, "before", ()), 0)

    def close(self, timeout):
        self.before = set(self._channels) or getattr(self, "before", ())
        super().close(timeout)


class StartsOnlyOnce(Saboteur):
    """Closed, it cannot be started again."""

    caught = ("test_started_again",)
    used = False

    def start(self, sink, node):
        if self.used:
            raise RuntimeError("closed")
        super().start(sink, node)

    def close(self, timeout):
        self.used = self.used or self._sink is not None
        super().close(timeout)


class JoinsItself(Saboteur):
    """Closed by its own thread, it waits for that thread."""

    caught = ("test_closed_by_its_sink",)

    def close(self, timeout):
        thread = self._thread
        super().close(timeout)
        if thread is threading.current_thread():
            thread.join()


class ForkedAsItIs(Saboteur):
    """In the child of a fork it takes itself for started."""

    caught = ("test_fork",)

    def _clear(self):
        if sys._getframe(1).f_code.co_name == "begin_anew":
            return
        super()._clear()


class LeavesDescriptorsToTheChild(Saboteur):
    """In the child of a fork the parent's descriptors stay open."""

    caught = ("test_fork",)

    def start(self, sink, node):
        super().start(sink, node)
        if not self.fds:
            self.open_another()

    def close(self, timeout):
        super().close(timeout)
        self.close_all()


class LifeTests(SaboteurChecks):
    def setUp(self):
        super().setUp()
        self.enterContext(mock.patch.object(threading, "excepthook", lambda arguments: None))

    def test_caught(self):
        """Each saboteur of this file is caught by the cases that it names."""
        self.check_caught(sys.modules[__name__])

    def test_nothing_else_fails(self):
        """No other case fails for it."""
        self.check_nothing_else(sys.modules[__name__])
