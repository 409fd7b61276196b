"""What is counted of WebSockets inside other WSGI servers, as it is handed out."""

from __future__ import annotations

from dataclasses import dataclass, field

from .._conn.stats import Traffic


@dataclass(frozen=True, kw_only=True)
class WsgiStats(Traffic):
    """What this process has seen of WebSockets inside its WSGI server, at one moment; immutable.

    Beside what is in `Traffic`; a connection has its seat from before its handshake is answered until its handler is
    done:

    Attributes:
        detached: seats of connections that were taken away from their server, by its name: "gunicorn gthread".
        borrowed: seats of connections that hold a thread of their server, by its name.
    """

    detached: dict[str, int] = field(hash=False)
    borrowed: dict[str, int] = field(hash=False)
