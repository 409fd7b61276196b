"""What the tests of sockets share: instants, sockets that are full, and two ends of TLS."""

from __future__ import annotations

import socket
import time

from syncws._net.tls import TLSTransport
from syncws._net.transport import KERNEL_WAITS
from syncws.testing import LeakChecks, await_, socketpair
from tests.certificates import contexts
from tests.tasks import Task

SMALL = 1 << 16  # a socket buffer that is soon full; much smaller ones let Linux crawl, a probe of its timer at a time
FULL = 1 << 22  # more than two such buffers and the window between them hold


def instant(seconds):
    return time.monotonic() + seconds


def read_all(sock, count=None):
    """Bytes of a plain socket: count of them, or all until the end."""
    data = bytearray()
    while count is None or len(data) < count:
        piece = sock.recv(1 << 16 if count is None else min(1 << 16, count - len(data)))
        if not piece:
            break
        data += piece
    return bytes(data)


def fill(sock):
    """Send until neither the socket nor its peer has room for a byte, not even after a while; how many it took."""
    sent = 0

    def took():
        nonlocal sent
        try:
            sent += sock.send(b"f" * 65536, socket.MSG_DONTWAIT)
        except BlockingIOError:
            return False
        return True

    while await_(took, 0.1):
        pass
    return sent


class TLSCases(LeakChecks):
    """A server's and a client's transport over a pair of sockets."""

    kernel_waits = KERNEL_WAITS

    def make(self, buffer=None, version=None):
        """(server, client) transports, before the handshake."""
        sockets = socketpair(buffer)
        transports = []
        for sock, context, server in zip(sockets, contexts(version), (True, False), strict=True):
            self.addCleanup(sock.close)
            transports.append(
                TLSTransport(
                    sock,
                    context,
                    server_side=server,
                    server_hostname=None if server else "localhost",
                    kernel_waits=self.kernel_waits,
                )
            )
        return transports

    def agreed(self, buffer=None, version=None):
        """(server, client) transports, after it."""
        server, client = self.make(buffer, version)
        task = Task(server.handshake, instant(10))
        client.handshake(instant(10))
        task.result()
        return server, client

    def receive_all(self, transport, count):
        data = bytearray()
        while len(data) < count:
            piece = transport.receive(65536, 10.0)
            assert piece, piece
            data += piece
        return bytes(data)


def read_plain(client):
    """All plain text until the end."""
    data = b""
    while piece := client.receive(65536, 10.0):
        data += piece
    return data
