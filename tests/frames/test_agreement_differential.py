"""agreement.py against the extension of `websockets`, sans I/O: each combination of what the two sides want.

Each handshake goes through both libraries, in both roles, and then messages go both ways: small ones that resemble each
other, large ones, random ones, some in fragments.
"""

from __future__ import annotations

import itertools
import json
import random
import unittest
from typing import Any

from syncws._frames.agreement import Agreement, Terms, accept_answer, accept_offers, offer
from syncws._frames.frame import FIN, encode
from syncws._frames.prepared import encode_payload
from syncws._frames.protocol import Protocol
from syncws._http.handshake import parse_extensions
from syncws.errors import BINARY
from tests.partners import need

try:
    from websockets.exceptions import NegotiationError
    from websockets.extensions import permessage_deflate as theirs
    from websockets.frames import Frame, Opcode
except ImportError:
    theirs = None  # type: ignore[assignment]

FLAGS = (False, True)
OURS = [Terms(takeover=takeover, bits=bits, memory=memory) for takeover in FLAGS for bits, memory in ((15, 8), (10, 3))]


def setUpModule() -> None:
    need(theirs is not None, "websockets (PyPI) is not installed")


def messages() -> list[bytes]:
    rng = random.Random(7692)
    small = [json.dumps({"type": "tick", "id": number, "price": rng.random()}).encode() for number in range(6)]
    return [*small, b"", rng.randbytes(700), small[0] * 900, *small, rng.randbytes(40_000), small[1] * 40, b"ab", b"ab"]


def told(parameters: list[tuple[str, str | None]]) -> str:
    """Parameters as a header has them."""
    return "; ".join(["permessage-deflate"] + [key if value is None else f"{key}={value}" for key, value in parameters])


class Ours:
    """One side of this library, after the handshake."""

    def __init__(self, agreement: Agreement, *, client: bool) -> None:
        self._client = client
        self._bits = agreement.outbound_bits
        self._kept = agreement.compressor(1)
        self.protocol = Protocol(client=client, read_limit=None, compression=True, window=agreement.window())

    def payload(self, data: bytes) -> tuple[int, bytes]:
        """(first byte, payload) of a message, unmasked."""
        if self._kept is not None and data:
            return self._kept.whole(FIN | BINARY, data)
        return encode_payload(BINARY, data, (1, self._bits) if self._bits else None)

    def read(self, first: int, payload: bytes) -> bytes:
        self.protocol.receive(b"".join(encode(first, payload, not self._client)))
        event = self.protocol.next_event()
        assert event is not None
        data: bytes = event[1]
        return data


class TestAgainstWebsockets(unittest.TestCase):
    """Every combination of the two libraries' settings, in both roles."""

    def test_our_server(self) -> None:
        """Whatever its client offers, it takes our server's answer, and every message of either is read."""
        for no_server, no_client, server_bits, client_bits in itertools.product(
            FLAGS, FLAGS, (None, 9, 12), (None, True, 10, 15)
        ):
            factory = theirs.ClientPerMessageDeflateFactory(no_server, no_client, server_bits, client_bits)
            offered = told(factory.get_request_params())
            for terms in OURS:
                with self.subTest(offered, terms=terms):
                    agreement = accept_offers(parse_extensions([offered]), terms)
                    assert agreement is not None
                    ((_, answer),) = parse_extensions([agreement.header])
                    extension = factory.process_response_params(answer, [])
                    self.converse(Ours(agreement, client=False), extension)

    def test_our_client(self) -> None:
        """Whatever its server is set to, our client takes the answer to its offer, and every message is read."""
        refused = 0
        for no_server, no_client, server_bits, client_bits in itertools.product(
            FLAGS, FLAGS, (None, 9, 12), (None, 10, 15)
        ):
            factory = theirs.ServerPerMessageDeflateFactory(no_server, no_client, server_bits, client_bits)
            for terms in OURS:
                ((_, offered),) = parse_extensions([offer(terms)])
                with self.subTest(factory=vars(factory), terms=terms):
                    try:
                        answer, extension = factory.process_request_params(offered, [])
                    except NegotiationError:
                        refused += 1
                        continue
                    agreement = accept_answer(parse_extensions([told(answer)]), terms)
                    assert agreement is not None
                    self.converse(Ours(agreement, client=True), extension)
        self.assertEqual(refused, 0)

    def converse(self, ours: Ours, extension: Any) -> None:
        """Send all messages both ways, each in one frame, and some of theirs in several."""
        for number, message in enumerate(messages()):
            first, payload = ours.payload(message)
            frame = extension.decode(Frame(Opcode.BINARY, payload, rsv1=bool(first & 0x40)))
            self.assertEqual(bytes(frame.data), message)
            for fragment in self.fragments(message, 1 + number % 3):
                encoded = extension.encode(fragment)
                first = encoded.opcode | (FIN if encoded.fin else 0) | encoded.rsv1 << 6
                if not encoded.fin:
                    ours.protocol.receive(b"".join(encode(first, bytes(encoded.data), not ours._client)))
                    self.assertIsNone(ours.protocol.next_event())
                    continue
                self.assertEqual(ours.read(first, bytes(encoded.data)), message)

    def fragments(self, message: bytes, count: int) -> list[Any]:
        step = len(message) // count + 1
        pieces = [message[start : start + step] for start in range(0, max(1, len(message)), step)]
        return [
            Frame(Opcode.CONT if number else Opcode.BINARY, piece, fin=number == len(pieces) - 1)
            for number, piece in enumerate(pieces)
        ]


if __name__ == "__main__":
    unittest.main()
