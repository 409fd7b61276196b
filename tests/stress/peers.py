"""Connections with a raw other end, for a machine that may be slow: nobody is given up for its silence; a reader."""

from __future__ import annotations

from contextlib import AbstractContextManager
from typing import Any

import syncws.testing
from syncws import Conn, ConnectionClosed
from syncws.testing import Peer


def peer(**options: Any) -> AbstractContextManager[tuple[Conn, Peer]]:
    """`syncws.testing.peer`, which has the options, except for how long a peer may be silent."""
    return syncws.testing.peer(ping_interval=600.0, least_rate_grace=600.0, **options)


def read_to_the_end(conn: Conn) -> None:
    """Pass over what comes, until the connection is over."""
    try:
        while True:
            conn.receive()
    except ConnectionClosed:
        pass
