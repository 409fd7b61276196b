"""An application whose workers share a room that remembers: a page says where it was, and gets what it has missed.

The first message of a page is its position, or empty. It gets what it missed, and then one message which says what
`Manager.join` said and which process this is; and from then on what anybody in the room sends.

HOSTS_BUS is the directory that joins the workers, unless a `Server` joins them by itself. As a program,
``python -m tests.hosts.history_app PORT``, it is such a server.
"""

from __future__ import annotations

import os
import sys
from typing import Any

import syncws

from .app import plain, set_up_log, upgrader

if __name__ == "__main__":
    set_up_log()

WORKERS = 4

history = syncws.History(stamp="position")
if "HOSTS_BUS" in os.environ:
    manager = syncws.Manager(backplane=syncws.LocalBackplane(os.environ["HOSTS_BUS"], history=history))
else:
    manager = syncws.Manager(history=history)


def app(environ: dict[str, Any], start_response: Any) -> Any:
    """The application."""
    if environ["PATH_INFO"] == "/room":
        return upgrader.serve(environ, in_room)(environ, start_response)
    status, body = plain()
    start_response(status, [("Content-Length", str(len(body))), ("X-Token", os.environ.get("HOSTS_TOKEN", ""))])
    return [body]


def in_room(conn: syncws.Conn) -> None:
    """Let it into the room, tell it how that went, and tell the room what it says."""
    since = conn.receive()
    assert isinstance(since, str)
    member = manager.register(conn)
    try:
        past = manager.join(member, "room", since=since or None)
        conn.send_json({"process": os.getpid(), "at": past.position, "recovered": past.recovered})
        for message in conn:
            manager.broadcast(message, room="room")
    finally:
        manager.unregister(member)


if __name__ == "__main__":
    syncws.Server(wsgi_app=app, host="127.0.0.1", port=int(sys.argv[1]), workers=WORKERS).serve_forever()
