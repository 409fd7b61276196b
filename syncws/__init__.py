"""syncws: synchronous WebSocket for Python, a thread per connection. What gorilla/websocket is to Go.

**A server.** A handler upgrades the request and then talks, in a thread of its own:

    import syncws

    upgrader = syncws.Upgrader()

    def echo(request):
        with upgrader.upgrade(request) as conn:
            while True:
                message_type, data = conn.read_message()
                conn.write_message(message_type, data)

    syncws.Server(echo, "127.0.0.1", 8080).serve_forever()

The same, shorter. Iterating ends when the peer closes normally; `send` picks TEXT for str and BINARY for bytes:

    def echo(conn):
        for message in conn:
            conn.send(message)

    syncws.serve(echo, "127.0.0.1", 8080)

A handler that returns a `Response` instead of upgrading answers plain HTTP: a page, a health check, a refusal.

**A client.** The same connection, from the other side:

    with syncws.dial("ws://127.0.0.1:8080/") as conn:
        conn.send("hello")
        print(conn.receive(timeout=5))

`reconnect` gives a loop a fresh connection each time the last one is over; the delays between its attempts grow.

**Messages.** TEXT is `str` and BINARY is `bytes`, both ways. `read_message` and `write_message` mirror gorilla;
`receive`, `send`, `receive_json` and `send_json` are the short forms. `next_reader` and `next_writer` give streams for
messages that should not be held in memory.

**Threads.** One thread at a time reads a connection; any number of threads may write to it, ping it and close it at
the same time. Messages are whole; a ping or a close passes between the fragments of a long one. A peer that does not
read never stops this side from reading it, nor `send_nowait`, `ping`, a close or a shutdown.

**Many connections.** A `Manager` knows who is connected and in which rooms; its `broadcast` waits for nobody:

    manager = syncws.Manager(on_message=lambda member, message: manager.broadcast(message, exclude=[member]))

    def chat(request):
        with upgrader.upgrade(request) as conn:
            manager.run(conn, rooms=["lobby"])

**Inside WSGI.** A view of Flask, Django or any WSGI application serves WebSockets on the server that it runs on:

    from syncws.flask import Sock      # syncws.django, .bottle, .falcon, .pyramid; syncws.wsgi for any other
    sock = Sock(app)

    @sock.route("/echo")
    def echo(conn):
        for message in conn:
            conn.send(message)

**How it ends.** `close` performs the closing handshake, bounded in time; leaving `with conn:` does it for you. The end
is an exception, the same for every later read and write: `CloseError` with the peer's code and reason (1006 if it
vanished), `ProtocolError` if it broke the protocol, `ReadLimitError` if its message was too large. Inside a `Server`, a
handler may let them escape.

**Limits.** These hold by default: messages of at most 1 MiB, inflated ones too; a ping after 20 s of silence, and the
end after 20 s more; 10 s for the handshake of a server, 45 s for that of a client, 10 s for the close of either;
requests of the same origin only; at most 10,000 connections.

**Timeouts.** `timeout=` is a number of seconds. Deadlines are instants of `time.monotonic()`, as gorilla's are instants
of Go's clock. A read that times out leaves the connection usable: the next read goes on where it stopped.

`syncws.testing` has what tests need: a server for one test, a pair of connections, a raw peer, leak checks.
"""

from dataclasses import fields, is_dataclass
from typing import get_type_hints

from ._base.counters import breaches as _breaches
from ._base.options import ConnOptions, Overflow
from ._base.options import check_integer as _check_integer
from ._base.unfinished import unfinished as _unfinished
from ._base.version import __version__
from ._bus.backplane import Backplane
from ._bus.history import History
from ._bus.local import LocalBackplane
from ._bus.redis import RedisBackplane
from ._bus.ring import RingBackplane
from ._client.dialer import Dialer, dial
from ._client.environment import proxy_from_environment
from ._client.reconnector import Reconnector, reconnect
from ._conn.conn import Conn
from ._conn.stats import ConnStats, RoundTrips, Traffic
from ._frames.accelerator import accelerated
from ._frames.payloads import format_close_message
from ._frames.prepared import PreparedMessage
from ._frames.streams import MessageReader, MessageWriter, join_messages
from ._http.handshake import is_websocket_upgrade, subprotocols
from ._http.headers import Headers
from ._http.httpclient import ReceivedResponse
from ._http.request import Request
from ._http.response import Response
from ._net.inherited import inherited_listener
from ._net.tls import TLSTransport
from ._net.transport import Transport
from ._relay.gaps import Gap
from ._relay.health import BackplaneHealth
from ._relay.nodes import Node
from ._relay.publisher import Publisher
from ._relay.surveys import Count
from ._rooms.everywhere import Closed, Everywhere, Ids, MemberRecord, Members, Sent
from ._rooms.heartbeat import Heartbeat
from ._rooms.manager import Manager
from ._rooms.member import Member
from ._rooms.recall import Recovered
from ._rooms.stats import ManagerStats
from ._server.server import Server, serve
from ._server.stats import ServerStats
from ._server.upgrader import Upgrader
from .errors import (
    BINARY,
    CLOSE,
    PING,
    PONG,
    TEXT,
    BackplaneError,
    BackplaneTimeout,
    BadHandshakeError,
    CloseCode,
    CloseError,
    CloseSentError,
    ConcurrencyError,
    ConnectionClosed,
    DuplicateIdError,
    HandshakeError,
    MessageType,
    ProtocolError,
    ProxyError,
    ReadLimitError,
    ReadTimeout,
    WebSocketError,
    WriteTimeout,
    is_close_error,
    is_unexpected_close_error,
)

__all__ = [
    "BINARY",
    "CLOSE",
    "PING",
    "PONG",
    "TEXT",
    "Backplane",
    "BackplaneError",
    "BackplaneHealth",
    "BackplaneTimeout",
    "BadHandshakeError",
    "CloseCode",
    "CloseError",
    "CloseSentError",
    "Closed",
    "ConcurrencyError",
    "Conn",
    "ConnOptions",
    "ConnStats",
    "ConnectionClosed",
    "Count",
    "Dialer",
    "DuplicateIdError",
    "Everywhere",
    "Gap",
    "HandshakeError",
    "Headers",
    "Heartbeat",
    "History",
    "Ids",
    "LocalBackplane",
    "Manager",
    "ManagerStats",
    "Member",
    "MemberRecord",
    "Members",
    "MessageReader",
    "MessageType",
    "MessageWriter",
    "Node",
    "Overflow",
    "PreparedMessage",
    "ProtocolError",
    "ProxyError",
    "Publisher",
    "ReadLimitError",
    "ReadTimeout",
    "ReceivedResponse",
    "Reconnector",
    "Recovered",
    "RedisBackplane",
    "Request",
    "Response",
    "RingBackplane",
    "RoundTrips",
    "Sent",
    "Server",
    "ServerStats",
    "TLSTransport",
    "Traffic",
    "Transport",
    "Upgrader",
    "WebSocketError",
    "WriteTimeout",
    "__version__",
    "accelerated",
    "breaches",
    "dial",
    "format_close_message",
    "inherited_listener",
    "is_close_error",
    "is_unexpected_close_error",
    "is_websocket_upgrade",
    "join_messages",
    "proxy_from_environment",
    "reconnect",
    "serve",
    "set_unfinished_limit",
    "subprotocols",
]

#: The modules beside this one that users may import.
_PUBLIC_MODULES = ("bottle", "django", "errors", "falcon", "flask", "prometheus", "pyramid", "testing", "wsgi")


def breaches() -> dict[str, int]:
    """How often each limit was breached in this process since it began, by the name of the option that sets it.

    A peer that is refused, closed or dropped for a limit counts once for it. A limit that was never breached is absent.
    docs/limits.md has every limit, its option, what happens at a breach, and its name here; a limit that has no option
    has a name there. Each of a server's workers counts for itself.

    Any thread may call it; the dict is the caller's own.
    """
    return _breaches.snapshot()


def set_unfinished_limit(limit: int | None) -> None:
    """Limit how many bytes the unfinished messages of all connections of this process may take together.

    A limit of None is any number.

    256 MiB by default. Over it the connection with the largest is closed with 1009, and its reads raise ReadLimitError;
    the others go on. A message that has begun to come is unfinished, and whole or handed out in pieces it is no more:
    its bytes are bounded by ``read_limit``. What has come while nobody reads counts, too, and closes nobody: once three
    quarters are taken no more of that is received, and the peers wait. Each of a server's workers counts for itself.

    Any thread may call it, at any time; it holds from the next bytes on. Raises TypeError or ValueError for what is no
    number of bytes.
    """
    _check_integer("limit", limit, 1, none="no limit")
    _unfinished.limit = limit


def __dir__() -> list[str]:
    """The public names: those exported here, and the public modules that have been imported."""
    loaded = [name for name in _PUBLIC_MODULES if name in globals()]
    return sorted({*__all__, *loaded, *(name for name in globals() if name.startswith("__"))})


def _say_where_to_import_from() -> None:
    """Make syncws the module of every exported name: tracebacks, help() and pickles then say it, not the file."""
    for name in __all__:
        exported = globals()[name]
        if not getattr(exported, "__module__", "").startswith("syncws."):
            continue
        if isinstance(exported, type) and vars(exported).get("__annotations__"):
            # Resolved now: typing.get_type_hints looks names up in __module__, and syncws does not have all of them.
            hints = get_type_hints(exported)
            exported.__annotations__ = {key: hints[key] for key in vars(exported)["__annotations__"]}
            if is_dataclass(exported):  # its __init__ is annotated with the fields of its bases too
                exported.__init__.__annotations__ |= {each.name: hints[each.name] for each in fields(exported)}
        exported.__module__ = "syncws"


_say_where_to_import_from()
