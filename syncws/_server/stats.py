"""What a `Server` counts, as it is handed out."""

from __future__ import annotations

from dataclasses import dataclass, field

from .._conn.stats import Traffic


@dataclass(frozen=True, kw_only=True)
class ServerStats(Traffic):
    """What a `Server` has seen in this process, at one moment: what `Server.stats` gives; immutable.

    Beside what is in `Traffic`, which is about its WebSockets:

    Attributes:
        connections: connections of any kind that it has now, plain HTTP and handshakes included.
        handlers: requests that are being handled now, those of WebSockets included.
        requests: HTTP requests that were answered and did not become a WebSocket, by the class of their status:
            ``"2xx"``, ``"4xx"``; refused handshakes are among them, and requests that could not be understood.
    """

    connections: int
    handlers: int
    requests: dict[str, int] = field(hash=False)
