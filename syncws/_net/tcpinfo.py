"""What the kernel knows of a TCP connection: how many bytes it has counted, so that no message pays for counting them,
and whether the peer's kernel is still there."""

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

#: And tcpi_state, tcpi_unacked (segments) and tcpi_last_ack_recv (milliseconds).
_STATE_UNACKED_LAST_ACK = struct.Struct("=B23xI28xI")

#: TIME_WAIT, CLOSE, CLOSE_WAIT, LAST_ACK and CLOSING (include/net/tcp_states.h): after the peer's FIN, or a reset.
_ENDED = frozenset((6, 7, 8, 9, 11))


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


def acknowledged(sock: Any) -> int | None:
    """Bytes, about, that the peer's kernel has acknowledged; None where the system does not tell. Never raises."""
    if _TCP_INFO is None:
        return None
    try:
        info = sock.getsockopt(socket.IPPROTO_TCP, _TCP_INFO, _ACKED_RECEIVED.size)
    except (OSError, ValueError):  # as above
        return None
    return None if len(info) < _ACKED_RECEIVED.size else int(_ACKED_RECEIVED.unpack(info)[0])


def has_peer_ended(sock: Any) -> bool | None:
    """Whether the peer's end of the stream, or a reset, has come; None where the system does not tell. Never raises."""
    info = _state_unacked_last_ack(sock)
    return None if info is None else info[0] in _ENDED


def unacknowledged_for(sock: Any) -> float | None:
    """Seconds for which the peer's kernel has acknowledged nothing, where it should: something is on its way to it.

    None where nothing is, as the peer has taken everything or has no room for more, and where the system does not
    tell. Never raises.
    """
    info = _state_unacked_last_ack(sock)
    return None if info is None or not info[1] else info[2] / 1000


def _state_unacked_last_ack(sock: Any) -> tuple[int, int, int] | None:
    if _TCP_INFO is None:
        return None
    try:
        info = sock.getsockopt(socket.IPPROTO_TCP, _TCP_INFO, _STATE_UNACKED_LAST_ACK.size)
    except (OSError, ValueError):  # as above
        return None
    if len(info) < _STATE_UNACKED_LAST_ACK.size:
        return None
    state, unacked, last_ack = _STATE_UNACKED_LAST_ACK.unpack_from(info)
    return state, unacked, last_ack
