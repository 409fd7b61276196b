"""address.py: the addresses of sockets, asked for and said."""

from __future__ import annotations

import socket
import unittest

from syncws._net.address import as_address, ask_address, say_peer


class AskTests(unittest.TestCase):
    """The address of a socket."""

    def test_addresses(self) -> None:
        """A socket's address is asked of it; one that has none, or is closed, has an empty one."""
        with socket.create_server(("127.0.0.1", 0)) as sock:
            self.assertEqual(ask_address(sock.getsockname), sock.getsockname())
            self.assertEqual(ask_address(sock.getpeername), "")
        self.assertEqual(ask_address(sock.getsockname), "")

    def test_ipv4_on_a_socket_for_both(self) -> None:
        """An IPv4 client of a server on both families has its IPv4 address, not one of IPv6 that nobody knows it by."""
        self.assertEqual(as_address(("::ffff:192.0.2.1", 80, 0, 0)), ("192.0.2.1", 80))
        for address in (("::1", 80, 0, 0), ("::ffff:1:2", 80, 0, 0), ("192.0.2.1", 80), "/run/x.sock", ""):
            self.assertEqual(as_address(address), address)


class SayPeerTests(unittest.TestCase):
    """A peer in a log line."""

    def test_addresses(self) -> None:
        """Each kind of address is readable in a log."""
        self.assertEqual(say_peer(("192.0.2.1", 80)), "192.0.2.1:80")
        self.assertEqual(say_peer(("2001:db8::1", 80, 0, 0)), "[2001:db8::1]:80")
        self.assertEqual(say_peer("/run/x.sock"), "/run/x.sock")
        self.assertEqual(say_peer(""), "a peer on a Unix socket")

    def test_a_peer_chooses_its_name(self) -> None:
        """A Unix socket's name, and an address that a proxy passes on, write no log line of their own."""
        for address in ("\0forged\nCRITICAL:root:x", ("1.2.3.4\r\n\x1b[31m", 80)):
            self.assertTrue(say_peer(address).isprintable())


if __name__ == "__main__":
    unittest.main()
