"""What is counted of connections, as it is handed out: frozen records, each of one moment."""

from __future__ import annotations

from dataclasses import dataclass, field

from .._net.address import Address
from ..errors import CloseCode

#: Upper bounds of the buckets that round trips are counted in, in seconds: from one machine to another continent, and
#: above that what keeps a ping waiting is a queue.
BUCKETS = (0.001, 0.005, 0.025, 0.1, 0.25, 1.0, 5.0)

#: The codes that ends are counted by: those of RFC 6455 and its registry, and few names for all others. A peer chooses
#: its code, and must not make names of its own.
_KNOWN_CODES = frozenset(map(int, CloseCode))
_OF_LIBRARIES, _OF_APPLICATIONS, _OTHER = "3000-3999", "4000-4999", "other"
CODES = (*map(str, sorted(_KNOWN_CODES)), _OF_LIBRARIES, _OF_APPLICATIONS, _OTHER)

#: Who closed first.
CLOSERS = ("here", "peer", "nobody")

#: Why a handshake, or a connection, is refused.
REFUSALS = (
    *("origin", "host", "version", "no upgrade", "method", "bad request", "application", "unsupported", "handler"),
    *("full", "handshakes", "address", "descriptors", "draining"),
)


def counted_as(code: int) -> str:
    """The one of CODES that a close code counts as."""
    if code in _KNOWN_CODES:
        return str(code)
    return _OF_LIBRARIES if 3000 <= code <= 3999 else _OF_APPLICATIONS if 4000 <= code <= 4999 else _OTHER


@dataclass(frozen=True)
class RoundTrips:
    """From pings of this side to their pongs, those of keepalive included; immutable. All times are seconds.

    Attributes:
        count: how many pings were answered. One that was replaced before its answer came does not count.
        total: their sum.
        least, most: the shortest and the longest; None before the first.
        buckets: how many took at most 1 ms, 5 ms, 25 ms, 100 ms, 250 ms, 1 s and 5 s, each those before it included;
            empty before the first.
    """

    count: int = 0
    total: float = 0.0
    least: float | None = None
    most: float | None = None
    buckets: tuple[int, ...] = ()


@dataclass(frozen=True, kw_only=True)
class ConnStats:
    """What one connection has seen, at one moment: what `Conn.stats` gives; immutable.

    Attributes:
        id: `Conn.id`.
        path: the request's, as it came, percent-encoded; None for a client's.
        address: the peer's address, as the socket gives it.
        subprotocol: the one agreed on, or None.
        age: seconds since it was opened, until its end if it is over.
        is_over: whether it is over (`Conn.closed`).
        messages_in: messages that were read whole, also in place of the application, which a close passes over. What
            has come and is never read, as the handler has left by then, is none.
        messages_out: messages that the socket has taken.
        bytes_in, bytes_out: bytes that the kernel has counted since the handshake was answered, with the headers of
            frames and what TLS adds; a server's bytes_out with its 101, a client's both with the whole handshake.
            bytes_in may be one more when the peer has ended TCP, as that has a number of its own. None where the kernel
            does not count: on other systems than Linux, and of Unix sockets.
        queued_messages, queued_bytes: what waits in the send queue now.
        dropped: messages dropped from it, by the overflow policy or by the end.
        pings: pings that this side has sent, those of keepalive included.
        pongs: pongs that have come, asked for or not.
        latency: seconds of the last round trip; None before the first.
        round_trips: all of them.
    """

    id: str
    path: str | None
    address: Address
    subprotocol: str | None
    age: float
    is_over: bool
    messages_in: int
    messages_out: int
    bytes_in: int | None
    bytes_out: int | None
    queued_messages: int
    queued_bytes: int
    dropped: int
    pings: int
    pongs: int
    latency: float | None
    round_trips: RoundTrips


@dataclass(frozen=True, kw_only=True)
class Traffic:
    """What the WebSockets of one host have seen, at one moment: the part that `ServerStats` and `WsgiStats` share.

    Every connection that was opened is in one of three places: ``opened == open + ending + sum(closed.values())``. The
    numbers of messages are those of all three together, and only grow; so do bytes, pings, pongs and drops.

    Attributes:
        open: WebSockets that are open.
        ending: those that are over, while a handler has yet to notice, a thread is still inside, or the peer has yet to
            close TCP, for a second at most.
        opened: those that were ever opened.
        closed: those that are done with, by the code they ended with: ``"1000"``, ``"1006"`` and the other codes of
            RFC 6455; ``"3000-3999"`` and ``"4000-4999"``, since a peer may choose among those; ``"other"``. 1006: it
            was lost, or cut.
        closed_by: the same connections, by who closed first: ``"here"``, ``"peer"``, or ``"nobody"`` where no close has
            come and none has left.
        refused: handshakes and connections that were refused, by reason: see docs/metrics.md for the reasons.
        messages_in, messages_out: see `ConnStats`.
        bytes_in, bytes_out: see `ConnStats`; of the connections whose bytes the kernel counts, None if it is none.
        queued_messages, queued_bytes: what waits in send queues now.
        dropped, pings, pongs: see `ConnStats`.
        round_trips: of all pings.
    """

    open: int
    ending: int
    opened: int
    closed: dict[str, int] = field(hash=False)
    closed_by: dict[str, int] = field(hash=False)
    refused: dict[str, int] = field(hash=False)
    messages_in: int
    messages_out: int
    bytes_in: int | None
    bytes_out: int | None
    queued_messages: int
    queued_bytes: int
    dropped: int
    pings: int
    pongs: int
    round_trips: RoundTrips
