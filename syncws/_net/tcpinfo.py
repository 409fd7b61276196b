"""How many bytes the kernel has counted on a TCP connection, so that no message pays for counting them."""

from __future__ import annotations

import socket
import struct
import sys
from typing import Any

#: Linux alone: other systems have an option of this name with other contents.
_TCP_INFO = getattr(socket, "TCP_INFO", None) if sys.platform == "linux" else None

#: Where struct tcp_info (linux/tcp.h) has tcpi_bytes_acked and, behind it, tcpi_bytes_received (Linux 4.2); and
#: tcpi_bytes_sent and tcpi_bytes_retrans (Linux 4.19).
_ACKED_RECEIVED = struct.Struct("=120x2Q")
_SENT_AGAIN = struct.Struct("=200x2Q")


def tcp_totals(sock: Any) -> tuple[int, int] | None:
    """Bytes (in, out) of a connection so far, those of TLS included; None where the system does not tell. Never raises.

    What has left counts once, however often it was sent.
    """
    if _TCP_INFO is None:
        return None
    try:
        info = sock.getsockopt(socket.IPPROTO_TCP, _TCP_INFO, _SENT_AGAIN.size)
    except (OSError, ValueError):  # of a Unix socket; of one that is closed
        return None
    if len(info) < _ACKED_RECEIVED.size:
        return None
    acked, received = _ACKED_RECEIVED.unpack_from(info)
    if len(info) < _SENT_AGAIN.size:
        return received, acked
    sent, again = _SENT_AGAIN.unpack_from(info)
    return received, sent - again
