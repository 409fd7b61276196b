"""A stand-in for the application: an echo that tells the doctor what has come of its request.

`syncws doctor --stand-in 8080` listens where the application does, so what is in front of it leads here. It is for the
time of a look: to whoever asks with the header below it tells a few headers of his own request, and nothing else.
"""

from __future__ import annotations

from typing import Any

from ..._conn.conn import Conn
from ..._http.request import Request
from ..._http.response import Response
from ..._server.server import Server
from ..._server.upgrader import Upgrader

#: The header of a request that asks for what has come; the 101 has it too, which says that a stand-in has answered.
HEADER = "Syncws-Doctor"

#: The subprotocol that the doctor offers, to see whether the offer arrives.
SUBPROTOCOL = "doctor"

#: What is told of a request's headers.
TOLD = (
    "Host",
    "Origin",
    "Cookie",
    "Authorization",
    "X-Forwarded-For",
    "X-Forwarded-Proto",
    "X-Forwarded-Host",
    "X-Real-IP",
    "Forwarded",
    "Via",
    "Sec-WebSocket-Protocol",
    "Sec-WebSocket-Extensions",
)

#: Bytes of a message that it takes: the doctor may send more than syncws takes by default.
_READ_LIMIT = 64 << 20


def stand_in(host: str, port: int) -> Server:
    """The server, bound. Raises OSError, ValueError."""
    upgrader = Upgrader(enable_compression=True, subprotocols=[SUBPROTOCOL], read_limit=_READ_LIMIT)

    def answer(request: Request) -> Response | None:
        if "Sec-WebSocket-Key" not in request.headers and "Upgrade" not in request.headers:
            return Response("syncws doctor stands in for the application\n")
        with upgrader.upgrade(request, {HEADER: "stand-in"}) as conn:
            _talk(conn, request)
        return None

    return Server(answer, host, port)


def _talk(conn: Conn, request: Request) -> None:
    if HEADER in request.headers:
        conn.send_json(_told(request))
    for message in conn:
        conn.send(message)


def _told(request: Request) -> dict[str, Any]:
    return {
        "target": request.target,
        "headers": {name: value for name in TOLD if (value := request.headers.get(name)) is not None},
    }
