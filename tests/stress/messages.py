"""Messages that say who has sent them and which one it is, and whose every byte can be checked."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable

from syncws.testing import Peer

from .trial import Wrong

_FILLER = "".join(chr(33 + number % 90) for number in range(9_973))


def message(who: int, number: int, size: int = 0) -> str:
    """The message of a sender with this number, with so many characters after its head."""
    return f"{who} {number} {size} {_filler(who + number, size)}"


def _filler(start: int, size: int) -> str:
    start %= len(_FILLER)
    return (_FILLER[start:] + _FILLER * (size // len(_FILLER) + 1))[:size]


class Orders:
    """What has come, by sender. For one thread.

    Raises Wrong for a byte that is another, and for a message that is not its sender's next one.
    """

    def __init__(self) -> None:
        self.taken: Counter[int] = Counter()

    def take(self, text: str | bytes) -> tuple[int, int]:
        """Count a message; (who, number)."""
        who, number = read(text)
        if number != self.taken[who]:
            raise Wrong(f"message {number} of sender {who} came where {self.taken[who]} was next")
        self.taken[who] += 1
        return who, number

    def whole(self, expected: dict[int, int]) -> bool:
        """Whether everything has come."""
        return self.taken == Counter(expected)


def read(text: str | bytes) -> tuple[int, int]:
    """(who, number) of a message, each byte of which is checked."""
    if isinstance(text, bytes):
        text = text.decode()
    try:
        who, number, size = map(int, text.split(" ", 3)[:3])
    except ValueError:
        raise Wrong(f"this is no message: {text[:80]!r}") from None
    if text != message(who, number, size):
        raise Wrong(f"message {number} of sender {who} has come changed: {text[:80]!r}")
    return who, number


class Assembler:
    """Makes messages of the frames that a raw peer reads, and counts its control frames. For one thread.

    Raises Wrong where a message begins inside of another one, or anything follows a close.
    """

    def __init__(self, raw: Peer) -> None:
        self._raw = raw
        self._pieces: list[bytes] | None = None
        self.controls: list[tuple[int, bytes]] = []
        self.closed = False

    def next(self) -> bytes | None:
        """The next whole message; None for a control frame. Raises EOFError at the end."""
        frame = self._raw.receive_frame()
        if self.closed:
            raise Wrong(f"this came after a close: {frame!r}")
        if frame.opcode >= 8:
            self.controls.append((frame.opcode, frame.payload))
            self.closed = frame.opcode == 8
            return None
        if (frame.opcode == 0) is not (self._pieces is not None):
            raise Wrong(f"this came {'inside' if self._pieces is not None else 'outside'} of a message: {frame!r}")
        pieces = self._pieces or []
        pieces.append(frame.payload)
        self._pieces = None if frame.fin else pieces
        return b"".join(pieces) if frame.fin else None

    def messages(self, count: int) -> Iterable[bytes]:
        """So many whole messages."""
        while count:
            found = self.next()
            if found is not None:
                count -= 1
                yield found
