"""What a supervisor is told of this process: systemd's Type=notify (sd_notify(3)), one datagram for each notice."""

from __future__ import annotations

import os
import socket
from contextlib import suppress


def notify(notice: str) -> bool:
    """Tell the supervisor something, such as ``READY=1``; whether there is one that was told. Never waits or raises.

    For any thread.
    """
    path = os.environ.get("NOTIFY_SOCKET", "")
    if not path.startswith(("/", "@")) or not hasattr(socket, "AF_UNIX"):
        return False
    address = "\0" + path[1:] if path.startswith("@") else path  # @: a name that is no file
    with suppress(OSError, ValueError), socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as sock:
        sock.setblocking(False)
        sock.sendto(notice.encode(), address)
        return True
    return False
