"""Two connections that talk to each other, and one connection with a raw other end; no server and no handshake."""

from __future__ import annotations

import contextlib
import socket
from collections.abc import Iterator
from dataclasses import replace
from typing import Unpack

from .._base.options import ConnKeywords, ConnOptions
from .._conn.conn import Conn
from .._frames.agreement import Agreement
from .._http.headers import Headers
from .._http.httpclient import ReceivedResponse
from .._http.request import Request
from .._net.transport import Transport
from .frames import Peer

#: An agreement on permessage-deflate for both sides of a pair.
DEFLATE = Agreement(outbound_bits=15, header="")

#: The same with context takeover, both ways.
_TAKEOVER = Agreement(outbound_bits=15, takeover=True, peer="keeps")

#: The answer that the client of a pair has in conn.response: there was no handshake.
_SWITCHED = ReceivedResponse(101, "Switching Protocols", Headers())


class PairKeywords(ConnKeywords, total=False):
    """What `pair` takes, as keyword arguments."""

    compression: bool
    context_takeover: bool
    buffer: int | None
    server: ConnKeywords | None
    client: ConnKeywords | None
    request: Request | None


@contextlib.contextmanager
def pair(
    *,
    compression: bool = False,
    context_takeover: bool = False,
    buffer: int | None = None,
    server: ConnKeywords | None = None,
    client: ConnKeywords | None = None,
    request: Request | None = None,
    **options: Unpack[ConnKeywords],
) -> Iterator[tuple[Conn, Conn]]:
    """(server, client): two connections that talk to each other; both are cut at the end of the block.

    Args:
        compression: whether both agreed on permessage-deflate (RFC 7692).
        context_takeover: whether they did, and both keep their context from message to message.
        buffer: bytes of the sockets' own buffers, about; a small number makes a peer that does not read stuck soon.
            None: as the system has them.
        server, client: options of `ConnOptions` for one side.
        request: ``conn.request`` of the server's side, by default ``Request("GET", "/")``.
        options: those of `ConnOptions`, for both sides.

    Raises:
        ValueError, TypeError: an option is invalid.
    """
    of_server = replace(ConnOptions(**options), **(server or {}))
    of_client = replace(ConnOptions(**options), **(client or {}))
    agreement = _agreed(compression, context_takeover)
    ours, theirs = map(Transport, socketpair(buffer))
    near = Conn(ours, client=False, options=of_server, agreement=agreement, request=request or Request("GET", "/"))
    far = Conn(theirs, client=True, options=of_client, agreement=agreement, response=_SWITCHED)
    try:
        yield near, far
    finally:
        near.close_now()
        far.close_now()


@contextlib.contextmanager
def peer(
    *,
    client: bool = False,
    compression: bool = False,
    context_takeover: bool = False,
    buffer: int | None = None,
    **options: Unpack[ConnKeywords],
) -> Iterator[tuple[Conn, Peer]]:
    """(conn, peer): a connection and its raw other end; both are closed at the end of the block.

    client says whether conn is the client's; everything else is as for `pair`.
    """
    own = ConnOptions(**options)
    agreement = _agreed(compression, context_takeover)
    ours, theirs = socketpair(buffer)
    conn = Conn(Transport(ours), client=client, options=own, agreement=agreement)
    with theirs:
        try:
            yield conn, Peer(theirs, masked=not client)
        finally:
            conn.close_now()


def _agreed(compression: bool, context_takeover: bool) -> Agreement | None:
    if context_takeover:
        return _TAKEOVER
    return DEFLATE if compression else None


def socketpair(buffer: int | None = None) -> tuple[socket.socket, socket.socket]:
    """A pair of connected TCP sockets of the loopback interface. Raises OSError.

    buffer is about how many bytes their own buffers have; None: as the system has them.
    """
    with socket.create_server(("127.0.0.1", 0)) as listener:
        if buffer is not None:
            listener.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, buffer)
            listener.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, buffer)
        near = socket.socket(listener.family)
        try:
            if buffer is not None:  # before connecting: the window is agreed on then
                near.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, buffer)
                near.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, buffer)
            near.connect(listener.getsockname())
            far, _ = listener.accept()
        except BaseException:
            near.close()
            raise
    return far, near
