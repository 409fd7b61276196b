"""One connection of a load: `Peer`. No clock, no selector, no counts."""

from __future__ import annotations

from collections import deque
from collections.abc import Iterator

from ..._client.dialer import Opened
from ..._frames.frame import FIN, encode
from ..._frames.protocol import Protocol
from ...errors import CLOSE, CloseCode, MessageType
from .plan import Message


class Peer:
    """A connection: what comes in is decoded by `protocol`; what goes out leaves at once or waits here.

    Concurrency: for one thread.
    """

    __slots__ = ("messages", "protocol", "sent", "transport", "waiting", "watched")

    def __init__(self, opened: Opened, messages: Iterator[Message]) -> None:
        self.transport = opened.transport
        self.messages = messages
        agreement = opened.agreement
        self.protocol = Protocol(
            client=True,
            read_limit=None,
            compression=agreement is not None,
            window=None if agreement is None else agreement.window(),
            data=opened.early_data,
        )
        #: What was sent and not answered: when it was due, in nanoseconds, and what it was.
        self.sent: deque[tuple[int, Message]] = deque()
        self.waiting: deque[bytes] = deque()  # what the socket had no room for
        self.watched = False  # whether the selector tells when there is room

    @property
    def behind(self) -> bool:
        """Whether something waits for room in the socket."""
        return bool(self.waiting) or self.transport.pending

    def send(self, data: bytes) -> None:
        """Send frames, or let them wait. Raises OSError."""
        if self.waiting or not self.transport.try_send(data):
            self.waiting.append(data)

    def flush(self) -> None:
        """Send what waits, as far as there is room. Raises OSError."""
        while self.transport.flush() and self.waiting:
            if not self.transport.try_send(self.waiting[0]):
                return
            self.waiting.popleft()

    def send_control(self, kind: MessageType, payload: bytes) -> None:
        """Send a control frame. Raises OSError."""
        self.send(b"".join(encode(FIN | kind, payload, client=True)))

    def send_close(self, code: int = CloseCode.NORMAL_CLOSURE) -> None:
        """Begin the closing handshake, or answer it. Raises OSError."""
        self.send_control(CLOSE, b"" if code == CloseCode.NO_STATUS_RECEIVED else int(code).to_bytes(2))

    def close(self) -> None:
        """Close the socket."""
        self.transport.close()
