"""The send queue: whole frames that wait for a slow peer, bounded in messages and bytes, with a policy for when it is
full.
"""

from __future__ import annotations

from collections import deque

from .._base.counters import breaches
from .._base.options import ConnOptions

#: The frames of a queue in which nothing waits: a deque takes 760 bytes before it holds anything.
_NO_FRAMES: deque[bytes] = deque(maxlen=0)


class SendQueue:
    """What `Conn.send_nowait` lets wait, oldest first.

    Concurrency: none of its own; the connection's state lock guards it. Whether it is empty is also read without the
    lock, as a hint.
    """

    __slots__ = ("_frames", "_options", "dropped", "size")

    def __init__(self, options: ConnOptions) -> None:
        self._options = options
        self._frames = _NO_FRAMES
        self.size = 0  # bytes of all frames
        self.dropped = 0  # messages: by the policy, or with the queue at the end

    def __len__(self) -> int:
        return len(self._frames)

    @property
    def overflow(self) -> str:
        """What happens when it is full."""
        return self._options.overflow

    def set_limits(self, options: ConnOptions) -> None:
        """Change how much may wait, and what happens then. What waits already stays."""
        self._options = options

    def put(self, frame: bytes) -> bool:
        """Let a frame wait; False if the policy refuses it, which is counted."""
        if self.overflow == "drop_oldest":
            while self._is_full(frame):
                self._count_drop()
                self.pop()
        elif self._is_full(frame):
            self._count_drop()
            return False
        if not self._frames:
            self._frames = deque()
        self._frames.append(frame)
        self.size += len(frame)
        return True

    def pop(self) -> bytes:
        """Take the oldest frame; there is one."""
        frame = self._frames.popleft()
        self.size -= len(frame)
        if not self._frames:
            self._frames = _NO_FRAMES
        return frame

    def drop(self) -> None:
        """Drop all that waits; it is counted."""
        self.dropped += len(self._frames)
        self._frames = _NO_FRAMES
        self.size = 0

    def _count_drop(self) -> None:
        self.dropped += 1
        breaches.add("send_queue" if len(self._frames) >= self._options.send_queue else "send_queue_bytes")

    def _is_full(self, frame: bytes) -> bool:
        """A message is refused only if something already waits, so that one large message always fits."""
        options = self._options
        return bool(self._frames) and (
            len(self._frames) >= options.send_queue or self.size + len(frame) > options.send_queue_bytes
        )
