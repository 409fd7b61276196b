"""capacity.py: how many connections there may be, and of whom."""

from __future__ import annotations

import unittest

from syncws._net.address import network_of, network_of_host
from syncws._server.capacity import MOST_BEYOND, MOST_BEYOND_OF_ONE, Capacity


class CapacityTests(unittest.TestCase):
    def test_one_address_does_not_take_every_connection(self) -> None:
        """One address may not take every connection: one more than its share has no room, another address has."""
        capacity = Capacity(100, of_one=2)
        for each in "ab":
            self.assertIsNone(capacity.obstacle("ann"))
            capacity.add(each, "ann")
        self.assertEqual(capacity.obstacle("ann"), "address")
        self.assertIsNone(capacity.obstacle("bob"))
        self.assertIsNone(capacity.obstacle(None))  # a Unix socket has no address
        capacity.remove("a")
        self.assertIsNone(capacity.obstacle("ann"))
        self.assertEqual(capacity._of_one, {"ann": 1})
        capacity.remove("b")
        self.assertEqual((capacity._of_one, capacity._networks), ({}, {}))  # nothing is kept of who is gone

    def test_those_before_their_handshake(self) -> None:
        """Connections that send no request fill a part of the server only; a request makes room for another."""
        capacity = Capacity(100, handshakes=2)
        capacity.add("a", None)
        capacity.add("b", None)
        self.assertEqual(capacity.obstacle(None), "handshakes")
        capacity.has_asked("a")
        capacity.has_asked("a")
        self.assertIsNone(capacity.obstacle(None))
        capacity.add("c", None)
        self.assertEqual(capacity.obstacle(None), "handshakes")
        capacity.remove("b")
        self.assertIsNone(capacity.obstacle(None))

    def test_how_many_handshakes_by_default(self) -> None:
        """A quarter of all, at least 64; no limit where all have none."""
        found = [Capacity(most).handshakes for most in (10_000, 100, None)]
        self.assertEqual(found, [2500, 64, None])

    def test_what_fits(self) -> None:
        """A smaller room counts, a larger one does not; and all of it can be taken."""
        capacity = Capacity(3)
        capacity.fit(5)
        self.assertEqual(capacity.most, 3)
        capacity.fit(1)
        capacity.add("a", None)
        self.assertTrue(capacity.is_full)
        self.assertEqual(capacity.obstacle(None), "full")
        unlimited = Capacity(None)
        unlimited.fit(7)
        self.assertEqual(unlimited.most, 7)

    def test_a_request_tells_the_address(self) -> None:
        """A connection counts for the client of its latest request, and for none while it is refused."""
        capacity = Capacity(None, of_one=1)
        capacity.add("a", None)
        capacity.add("b", None)
        self.assertTrue(capacity.move("a", "ann"))
        self.assertTrue(capacity.move("a", "ann"))  # its next request
        self.assertFalse(capacity.move("b", "ann"))
        self.assertTrue(capacity.move("a", "bob"))
        self.assertTrue(capacity.move("b", "ann"))
        self.assertTrue(capacity.move("b", None))
        self.assertEqual(capacity._of_one, {"bob": 1})

    def test_beyond_the_limits(self) -> None:
        """A few are heard beyond the limits, of one address fewer; they take nobody's room."""
        capacity = Capacity(1)
        for number in range(MOST_BEYOND_OF_ONE):
            self.assertTrue(capacity.add_beyond(number, "ann"))
        self.assertFalse(capacity.add_beyond("one more", "ann"))
        self.assertIsNone(capacity.obstacle("ann"))
        for number in range(MOST_BEYOND_OF_ONE, MOST_BEYOND):
            self.assertTrue(capacity.add_beyond(number, number))
        self.assertFalse(capacity.add_beyond("one more", "bob"))
        capacity.remove(0)
        self.assertTrue(capacity.add_beyond("one more", "ann"))
        self.assertFalse(capacity.is_full)

    def test_who_has_been_heard_beyond_the_limits(self) -> None:
        """Whose request is there has given its place to the next one, and nothing is kept of it when it is gone."""
        capacity = Capacity(1)
        capacity.add("a", "ann")
        for number in range(3 * MOST_BEYOND):
            self.assertTrue(capacity.add_beyond(number, "ann"))
            capacity.has_asked(number)
            capacity.has_asked(number)
        for number in range(3 * MOST_BEYOND):
            capacity.remove(number)
        self.assertEqual((capacity._beyond, capacity._heard), ({}, set()))
        self.assertTrue(capacity.is_full)
        capacity.remove("a")
        self.assertFalse(capacity.is_full)

    def test_whose_an_address_is(self) -> None:
        """IPv6 is counted by the /64 that one client has; IPv4 in IPv6's clothes is IPv4; another name is itself."""
        self.assertEqual(network_of(("192.0.2.1", 4711)), "192.0.2.1")
        self.assertEqual(network_of(("::ffff:192.0.2.1", 4711, 0, 0)), "192.0.2.1")
        self.assertEqual(network_of(("2001:db8::1", 1, 0, 0)), network_of(("2001:db8:0:0:ffff::2", 2, 0, 0)))
        self.assertNotEqual(network_of(("2001:db8::1", 1, 0, 0)), network_of(("2001:db8:0:1::1", 1, 0, 0)))
        self.assertEqual(network_of(("fe80::1%eth0", 1, 0, 2)), network_of(("fe80::2", 1, 0, 2)))
        self.assertIsNone(network_of("/run/app.sock"))
        self.assertIsNone(network_of(""))
        for name in ("ann", "", "a\0b", "1.2.3.4, 5.6.7.8"):
            self.assertEqual(network_of_host(name), name)


if __name__ == "__main__":
    unittest.main()
