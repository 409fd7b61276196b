"""A message in fragments that is not compressed: wsproto checks and decodes them as they arrive."""

from __future__ import annotations

from wsproto.connection import Connection, ConnectionType
from wsproto.events import BytesMessage, CloseConnection, TextMessage

from .frame import fragment_for_engine


class PlainMessage:
    """What has arrived of a plain message in fragments and was not handed out.

    Concurrency: none; as its Protocol.
    """

    __slots__ = ("_data", "_engine", "_mask_bit")

    def __init__(self, mask_bit: int) -> None:
        self._mask_bit = mask_bit
        # wsproto's reader for the peer's frames: it takes part in no handshake, and sends nothing.
        self._engine = Connection(ConnectionType.SERVER if mask_bit else ConnectionType.CLIENT)
        self._data = bytearray()  # TEXT as UTF-8, in whole characters

    @property
    def waiting(self) -> int:
        """How much of it is there, in bytes."""
        return len(self._data)

    def add_fragment(self, payload: bytearray) -> bool:
        """Add the payload of one of its fragments, not the last. As `feed`."""
        return self.feed(fragment_for_engine(payload, self._mask_bit))

    def feed(self, data: bytes) -> bool:
        """Add what has come of a frame, with its header; False for text that is not UTF-8."""
        self._engine.receive_data(data)
        for event in self._engine.events():
            if isinstance(event, CloseConnection):  # a complaint, and of text: there is nothing else that it judges
                return False
            assert isinstance(event, TextMessage | BytesMessage)
            self._data += event.data.encode() if isinstance(event.data, str) else event.data
        return True

    def take(self) -> bytes:
        """Hand out what is there."""
        piece = bytes(self._data)
        self._data.clear()
        return piece
