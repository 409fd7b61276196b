"""Proves that a room whose members all keep their context compresses a broadcast once, and that everybody reads it.

240 broadcasts to a thousand members, with a message to each of them alone in between, which refers back to what that
member was sent before. Each member inflates all that comes with an inflater of its own, and has each message in order.
"""

from __future__ import annotations

import selectors
import socket
import sys
import zlib
from typing import Any
from unittest import mock

from syncws._frames import prepared
from syncws._frames.agreement import Agreement
from syncws._rooms.manager import Manager

from .support import WAIT, GuaranteeTestCase, size
from .test_fan_out import Readers

BROADCASTS = 240

#: After so many broadcasts there are messages to each member alone; and what has been sent is waited for.
BATCH = 20

#: Both sides keep their context.
AGREEMENT = Agreement(outbound_bits=15, takeover=True, peer="keeps")


def news(number: int) -> str:
    return f'{{"type": "news", "number": {number}, "text": "{"to everybody " * (number % 9)}"}}'


def own(member: int, number: int, which: int) -> str:
    return f'{{"type": "own", "member": {member}, "number": {number}, "which": {which}, "text": "to one alone"}}'


def messages_of(member: int) -> list[bytes]:
    """What a member is sent."""
    found = []
    for number in range(BROADCASTS):
        found.append(news(number).encode())
        if number % BATCH == BATCH - 1:
            found += [own(member, number, which).encode() for which in range(3)]
    return found


class TakeoverRoomTests(GuaranteeTestCase):
    def test_a_broadcast_is_compressed_once(self) -> None:
        """One compression for each broadcast, however many members there are, and every message decodes."""
        members, total = size(40, 1000), len(messages_of(0))
        manager = Manager()
        with Readers(members, total, module=__name__, agreement=AGREEMENT) as readers:
            for number, conn in enumerate(readers.conns):
                manager.register(conn, id=number)
            with mock.patch("syncws._frames.prepared.compress", wraps=prepared.compress) as compress:
                for number in range(BROADCASTS):
                    self.assertEqual(manager.broadcast(news(number)), members)
                    if number % BATCH == BATCH - 1:
                        before = compress.call_count
                        for member in range(members):
                            for which in range(3):
                                self.assertTrue(manager.send(member, own(member, number, which)))
                        alone = compress.call_count - before
                        compress.call_count -= alone  # those that had to wait are made by themselves
                        readers.wait((number + 1) * total // BROADCASTS)
                self.assertEqual(compress.call_count, BROADCASTS)
            for number in range(members):
                manager.unregister(number)


def read_all(port: int, members: int, messages: int) -> None:
    """The process of the readers."""
    links: dict[Any, Link] = {}
    with selectors.DefaultSelector() as selector:
        for member in range(members):
            sock = socket.create_connection(("127.0.0.1", port))
            sock.setblocking(False)
            selector.register(sock, selectors.EVENT_READ)
            links[sock] = Link(member)
        for line in sys.stdin:
            goal = int(line)
            while any(link.count < goal for link in links.values()):
                for key, _ in selector.select(WAIT):
                    sock: Any = key.fileobj
                    data = sock.recv(1 << 18)
                    if not data or not links[sock].take(data):
                        print(f"a wrong message, or the end, after {links[sock].count} messages", flush=True)
                        return
            print("all have it", flush=True)
        for sock in links:
            sock.close()


class Link:
    """What one member has got."""

    def __init__(self, member: int) -> None:
        self.count = 0
        self._expected = messages_of(member)
        self._held = b""
        self._inflater = zlib.decompressobj(-15)

    def take(self, data: bytes) -> bool:
        """Whether what has come is what was expected next."""
        held = self._held + data
        at = 0
        while len(held) - at >= 2:
            short, body = held[at + 1], at + 2
            if short == 126:
                short, body = int.from_bytes(held[at + 2 : at + 4]), at + 4
            if len(held) < body + short:
                break
            payload = held[body : body + short]
            if held[at] & 0x40:
                payload = self._inflater.decompress(payload + b"\x00\x00\xff\xff")
            if held[at] & 0x0F == 1:
                if payload != self._expected[self.count]:
                    return False
                self.count += 1
            at = body + short
        self._held = held[at:]
        return True
