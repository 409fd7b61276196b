"""compressor.py and window.py together: whatever is sent, in whatever way, the other side reads it.

A property: any sequence of messages, whole and in pieces, compressed with the context, by itself, shared or plain, with
what never left, what was let go on either side, and any agreement, comes out as it went in, however it is cut and read.
"""

from __future__ import annotations

import dataclasses
import os
import tempfile
import unittest
from collections.abc import Callable
from typing import Any

from syncws._frames.agreement import Agreement
from syncws._frames.deflate import Deflater
from syncws._frames.frame import CONTINUATION, FIN, RSV1, encode
from syncws._frames.prepared import encode_payload
from syncws._frames.protocol import Protocol
from syncws.errors import BINARY, PING, TEXT
from tests.partners import need

try:
    import hypothesis
    from hypothesis import strategies as st
    from hypothesis.configuration import set_hypothesis_home_dir
except ImportError:
    hypothesis = None  # type: ignore[assignment]

#: Sequences to try.
SEQUENCES = {"0": 100, "full": 700}.get(os.environ.get("SYNCWS_HEAVY", ""), 300)

WORDS = ("tick", "price", '{"id":', "}", "XNAS", "ß€𝄞", "\0\0", "a", "0123456789" * 20)


def setUpModule() -> None:
    need(hypothesis is not None, "hypothesis (PyPI) is not installed")
    scratch = tempfile.TemporaryDirectory(prefix="syncws-")
    unittest.addModuleCleanup(scratch.cleanup)
    set_hypothesis_home_dir(scratch.name)  # else it leaves a folder where the tests are run
    unittest.addModuleCleanup(set_hypothesis_home_dir, None)


@dataclasses.dataclass(frozen=True)
class Sent:
    """One message, and how it is sent and read."""

    way: str  # "kept", "alone", "plain", "pieces", "pieces alone", "lost"
    payload: bytes
    level: int
    is_text: bool
    flushes: tuple[bool, ...]
    rests: bool  # both sides let go what they can before it
    read: str  # "whole", "pieces", "first piece"


@dataclasses.dataclass(frozen=True)
class Conversation:
    agreement: Agreement
    client: bool
    messages: list[Sent]
    cut: int


class Sender:
    """The sending side, without threads: what `Outbound` and `Wire` do."""

    def __init__(self, agreement: Agreement, client: bool) -> None:
        self._client = client
        self._bits = agreement.outbound_bits
        self._kept = agreement.compressor(1)

    def send(self, sent: Sent) -> bytes:
        kind = TEXT if sent.is_text else BINARY
        first = FIN | kind
        if sent.rests and self._kept is not None:
            self._kept.begin_anew()
        if sent.way == "plain":
            return self._frame(first, sent.payload)
        if sent.way.startswith("pieces"):
            return self._pieces(sent, kind)
        if sent.way == "alone" or self._kept is None:
            encoded = encode_payload(kind, sent.payload, (sent.level, self._bits))
            return self._frame(*(encoded if self._kept is None else self._kept.shared(*encoded)))
        self._kept.level = sent.level
        made = self._kept.whole(first, sent.payload)
        if sent.way == "lost":
            self._kept.begin_anew()
            return b""
        return self._frame(*made)

    def _pieces(self, sent: Sent, kind: int) -> bytes:
        """As a writer does it; a ping between the fragments."""
        deflater = Deflater(sent.level, self._bits)
        if self._kept is not None:
            self._kept.level = sent.level
            if sent.way == "pieces":
                deflater = self._kept.stream()
            else:
                self._kept.begin_anew()
        frames, first = [], kind | RSV1
        step = max(1, len(sent.payload) // (len(sent.flushes) + 1))
        for number, flush in enumerate(sent.flushes):
            piece = deflater.compress(sent.payload[number * step : (number + 1) * step])
            frames += [self._frame(first, piece + (deflater.flush() if flush else b"")), self._frame(FIN | PING, b"")]
            first = CONTINUATION
        last = deflater.compress(sent.payload[len(sent.flushes) * step :]) + deflater.finish()
        return b"".join([*frames, self._frame(FIN | first, last)])

    def _frame(self, first: int, payload: bytes) -> bytes:
        return b"".join(encode(first, payload, self._client))


class Receiver:
    """The other side."""

    def __init__(self, agreement: Agreement, client: bool) -> None:
        self.protocol = Protocol(client=not client, read_limit=1 << 20, compression=True, window=agreement.window())

    def read(self, data: bytes, cut: int, how: str, *, rests: bool) -> bytes | None:
        """The message that these bytes are; None if only its first piece was asked for, and the rest skipped."""
        protocol = self.protocol
        if rests:
            protocol.let_go()
        pieces: list[bytes] = []
        for start in range(0, len(data), cut):
            protocol.receive(data[start : start + cut])
            if rests:
                protocol.let_go()  # never in the middle of a message
            while (event := self._next(how)) is not None:
                if event[0] is PING:
                    continue
                pieces.append(event[1].encode() if isinstance(event[1], str) else event[1])
                if how == "whole" or event[2]:
                    assert protocol.unread == 0
                    return None if how == "first piece" and len(pieces) > 1 else b"".join(pieces)
        raise AssertionError("the message has not come to its end")

    def _next(self, how: str) -> Any:
        return self.protocol.next_event() if how == "whole" else self.protocol.next_piece()


def draw_message(draw: Callable[[Any], Any]) -> Sent:
    text = "".join(draw(st.lists(st.sampled_from(WORDS), max_size=30)))
    size = draw(st.sampled_from((1, 1, 1, 1, 30, 300)))
    is_text = draw(st.booleans())
    noise = b"" if is_text else draw(st.binary(max_size=40))
    return Sent(
        draw(st.sampled_from(("kept", "kept", "kept", "alone", "plain", "pieces", "pieces alone", "lost"))),
        text.encode() * size + noise,
        draw(st.sampled_from((1, 1, 1, 6, 9, 0, -2))),
        is_text,
        tuple(draw(st.lists(st.booleans(), max_size=3))),
        draw(st.integers(0, 5)) == 0,
        draw(st.sampled_from(("whole", "whole", "pieces", "first piece"))),
    )


def draw_conversation(draw: Callable[[Any], Any]) -> Conversation:
    bits = draw(st.sampled_from((15, 15, 9, 11)))
    takeover = draw(st.sampled_from((True, True, True, False)))
    peer = draw(st.sampled_from(("keeps", "unsure") if takeover else ("keeps", "unsure", "forgets")))
    agreement = Agreement(
        bits, takeover=takeover, peer=peer, inbound_bits=bits, memory=draw(st.sampled_from((8, 8, 1, 9)))
    )
    messages = [draw_message(draw) for _ in range(draw(st.integers(1, 12)))]
    return Conversation(agreement, draw(st.booleans()), messages, draw(st.sampled_from((1, 7, 100, 1 << 20))))


class StreamsTests(unittest.TestCase):
    """Any sequence, any agreement."""

    def test_every_message_is_read(self) -> None:
        """Whatever the messages are and however they are sent, kept, lost, let go, cut and read: each comes out."""

        @hypothesis.settings(
            max_examples=SEQUENCES,
            derandomize=os.environ.get("SYNCWS_EXPLORE") != "1",
            database=None,
            deadline=None,
            suppress_health_check=list(hypothesis.HealthCheck),
        )
        @hypothesis.given(st.composite(draw_conversation)())
        def check(conversation: Conversation) -> None:
            sender = Sender(conversation.agreement, conversation.client)
            receiver = Receiver(conversation.agreement, conversation.client)
            for message in conversation.messages:
                data = sender.send(message)
                if data:
                    cut = conversation.cut if len(message.payload) < 2000 else 4000
                    got = receiver.read(data, cut, message.read, rests=message.rests)
                    self.assertIn(got, (message.payload, None))

        check()


if __name__ == "__main__":
    unittest.main()
