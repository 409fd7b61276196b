"""What an accepted socket has from its listener, so that it need not be set on each: a system call less, or three.

Linux gives a new connection the options of its listener, other systems some of them. So they are set on the listener,
and the first socket that it accepts tells whether all of them have come with it.

The wait of reads is the one that counts: setting it is the deepest call of a connection's thread, and would cost its
stack a page for as long as it lives.
"""

from __future__ import annotations

import os
import socket
import struct
from contextlib import suppress

from .transport import KERNEL_WAITS, USUAL_WAIT, kernel_timeout


def prepare(listener: socket.socket) -> None:
    """Set what its sockets are to have. Only for a listener that nobody else accepts on. Never raises."""
    with suppress(OSError):  # a Unix socket has no TCP
        listener.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
    if KERNEL_WAITS:
        with suppress(OSError):
            listener.setsockopt(socket.SOL_SOCKET, socket.SO_RCVTIMEO, kernel_timeout(USUAL_WAIT))


def is_prepared(sock: socket.socket) -> bool:
    """Whether a socket that was accepted just now has it all, and waits: what a Transport calls `prepared`."""
    if not KERNEL_WAITS or not hasattr(os, "get_blocking"):
        return False
    try:
        wait = sock.getsockopt(socket.SOL_SOCKET, socket.SO_RCVTIMEO, struct.calcsize("ll"))
        return (
            wait == kernel_timeout(USUAL_WAIT)
            and sock.getsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY) != 0
            and os.get_blocking(sock.fileno())
        )
    except OSError:  # of a Unix socket, which has nothing from its listener
        return False
