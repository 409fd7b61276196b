"""The way out of programs that only publish."""

from __future__ import annotations

import threading

from ...errors import BackplaneError
from .fixture import Fixture, descriptors, numbered


class OutletCases(Fixture):
    """An outlet sends without a start, and waits until the bus has taken what is sent."""

    def test_outlet(self) -> None:
        """What is sent arrives, in order, without a start; a closed outlet connects again."""
        there = self.join(self.channel)
        outlet = self.make().outlet()
        self.addCleanup(outlet.close)
        sent = numbered(60)
        for begin in (0, 20, 40):
            outlet.send([(self.channel, message) for message in sent[begin : begin + 20]], self.patience)
            if begin == 20:
                outlet.close()
        self.assert_came(there, sent, "send() returns once the bus has taken all, in order")

    def test_outlet_of_one_that_is_started(self) -> None:
        """An outlet of a backplane that is started sends as well."""
        here, there = self.join(), self.join(self.channel)
        outlet = here.backplane.outlet()
        self.addCleanup(outlet.close)
        outlet.send([(self.channel, b"1")], self.patience)
        self.assert_came(there, [b"1"], "An outlet has a connection of its own")

    def test_outlet_leaves_nothing(self) -> None:
        """An outlet has no thread, and after its close no descriptor."""
        threads, fds = set(threading.enumerate()), descriptors()
        outlet = self.make().outlet()
        outlet.send([(self.channel, b"1")], self.patience)
        self.assertEqual(set(threading.enumerate()) - threads, set(), "An outlet sends in the thread that calls it")
        outlet.close()
        outlet.close()
        left = {fd: name for fd, name in descriptors().items() if fds.get(fd) != name}
        self.assertEqual(left, {}, "After close() an outlet has let go of its connection")

    def test_outlet_too_large(self) -> None:
        """What is larger than max_message is refused, and nothing of it is sent."""
        there = self.join(self.channel)
        backplane = self.make()
        outlet = backplane.outlet()
        self.addCleanup(outlet.close)
        with self.assertRaises((ValueError, BackplaneError), msg="Compare with max_message before anything is sent"):
            outlet.send([(self.channel, b"0"), (self.channel, bytes(backplane.max_message + 1))], self.patience)
        outlet.send([(self.channel, b"1")], self.patience)
        self.assert_came(there, [b"1"], "A refused send() sends nothing, and the next one works")

    def test_outlet_without_a_bus(self) -> None:
        """While the bus is lost send() raises BackplaneError when its time is over; it sends again when it is back."""
        there = self.join(self.channel)
        outlet = self.make().outlet()
        self.addCleanup(outlet.close)
        outlet.send([(self.channel, b"1")], self.patience)
        self.assert_came(there, [b"1"], "What is sent arrives")
        self.break_bus()
        self.wait(there, lambda: there.sink.story[-1:] == ["down"], "The sink was not told down()")
        with self.assertRaises(BackplaneError, msg="BackplaneTimeout when the time is over, BackplaneError if refused"):
            self.in_time(
                lambda: outlet.send([(self.channel, b"2")], 0.2),
                "send() ends when its timeout is over, whatever it does",
            )
        self.mend_bus()
        self.wait_until_up(there)
        outlet.send([(self.channel, b"3")], self.patience)
        self.wait(there, lambda: b"3" in there.sink.on(self.channel), "After a failure send() connects anew")
