"""How many connections there may be: in all, of one address, and before their first request is there.

What has no room may still be heard: a few connections *beyond* the limits, so that a health check gets its answer on a
server that is full, and everybody else a 503 also over TLS. They are few in all, and of one address fewer.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Hashable
from typing import Literal

#: What is in the way of one more connection: all, those before their first request, or those of its address.
Obstacle = Literal["full", "handshakes", "address"]

#: So many may be heard beyond the limits at a time: in all, and of one address. Who has been heard is none of them: a
#: prober finds the place free that its last probe had.
MOST_BEYOND, MOST_BEYOND_OF_ONE = 16, 4

#: Where it is not said, a part of max_connections may be before its first request, and so many always.
_HANDSHAKES_SHARE, _LEAST_HANDSHAKES = 4, 64


class Capacity:
    """Counts connections, by whatever stands for each.

    Concurrency: for one thread at a time: the roster's lock sees to that.
    """

    def __init__(self, most: int | None, of_one: int | None = None, handshakes: int | None = None) -> None:
        if handshakes is None and most is not None:
            handshakes = max(most // _HANDSHAKES_SHARE, _LEAST_HANDSHAKES)
        self.most = most
        self.of_one = of_one
        self.handshakes = handshakes
        self.begin_anew()

    def begin_anew(self) -> None:
        """There is nobody, as in the child of a fork."""
        self._size = 0
        self._newcomers: set[object] = set()
        self._networks: dict[object, Hashable] = {}  # of those that have one, while it is counted
        self._of_one: Counter[Hashable] = Counter()
        self._beyond: dict[object, Hashable] = {}  # those that are being heard
        self._heard: set[object] = set()  # those beyond the limits whose request is there: they are being sent away

    def fit(self, most: int) -> None:
        """There is room for so many at most, whatever was asked for."""
        self.most = most if self.most is None else min(self.most, most)

    @property
    def is_full(self) -> bool:
        """Whether there is no room for anybody."""
        return self.most is not None and self._size >= self.most

    def obstacle(self, network: Hashable) -> Obstacle | None:
        """What is in the way of one more connection, of this network; None if there is room."""
        if self.is_full:
            return "full"
        if self.handshakes is not None and len(self._newcomers) >= self.handshakes:
            return "handshakes"
        return "address" if self._has_all(network) else None

    def add(self, connection: object, network: Hashable) -> None:
        """One more, which has sent no request yet."""
        self._size += 1
        self._newcomers.add(connection)
        self._count(connection, network)

    def add_beyond(self, connection: object, network: Hashable) -> bool:
        """One more for which there is no room; False if it is not even heard."""
        of_its_own = sum(each == network for each in self._beyond.values()) if network is not None else 0
        if len(self._beyond) >= MOST_BEYOND or of_its_own >= MOST_BEYOND_OF_ONE:
            return False
        self._beyond[connection] = network
        return True

    def has_asked(self, connection: object) -> None:
        """Its first request is there. Idempotent."""
        self._newcomers.discard(connection)
        if connection in self._beyond:
            del self._beyond[connection]
            self._heard.add(connection)

    def move(self, connection: object, network: Hashable) -> bool:
        """Count it as one of this network from now on; False, and it is one of none, if that has all it may have."""
        self._uncount(connection)
        if self._has_all(network):
            return False
        self._count(connection, network)
        return True

    def remove(self, connection: object) -> None:
        """It is gone; one that was added."""
        if connection in self._heard:
            self._heard.remove(connection)
            return
        if connection in self._beyond:
            del self._beyond[connection]
            return
        self._size -= 1
        self._newcomers.discard(connection)
        self._uncount(connection)

    def _has_all(self, network: Hashable) -> bool:
        return self.of_one is not None and network is not None and self._of_one[network] >= self.of_one

    def _count(self, connection: object, network: Hashable) -> None:
        if self.of_one is not None and network is not None:
            self._networks[connection] = network
            self._of_one[network] += 1

    def _uncount(self, connection: object) -> None:
        network = self._networks.pop(connection, None)
        if network is not None:
            self._of_one[network] -= 1
            if not self._of_one[network]:
                del self._of_one[network]
