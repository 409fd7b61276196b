"""The application that the servers run: plain WSGI, without a framework.

Over HTTP: /plain is a page; /counted another, which counts; /state tells about the process, in JSON.

Over WebSocket, where `?detach=0` and `?detach=1` stand for the option and nothing for None:

* /echo: what is sent comes back;
* /mode: the same, after a first message, which is "detached" or "in view";
* /which: the same, after a first message, which is the process id;
* /push: messages all the time, from a handler that never reads; `?count=N`: so many, and then a close;
* /room: the process id, once it is in the room, and then what anybody in the room sends, to everybody; HOSTS_BUS is the
  directory that joins the processes, unless they are joined by themselves;
* /raise: the first message makes the handler raise;
* /close-twice: the first message makes the handler close, and close again;
* /upgrade: an echo whose view gets the connection itself, without the option.

The environment says where the library's own log goes (HOSTS_LOG), and which server this is (HOSTS_TOKEN).
"""

from __future__ import annotations

import json
import logging
import os
import sys
import threading
from collections.abc import Callable, Iterable
from typing import Any
from urllib.parse import parse_qsl

import syncws
import syncws.wsgi

TOKEN = os.environ.get("HOSTS_TOKEN", "")

#: Seconds between two messages of /push.
PACE = 0.05

# Thousands of peers that answer no ping stay, for as long as a machine under load takes with them.
upgrader = syncws.Upgrader(ping_interval=600.0)
manager = syncws.Manager(
    on_open=lambda member: member.send(str(os.getpid())),
    on_message=lambda _member, message: manager.broadcast(message, room="room"),
    backplane=syncws.LocalBackplane(os.environ["HOSTS_BUS"]) if "HOSTS_BUS" in os.environ else None,
)
counted = 0


def set_up_log() -> None:
    """Write the library's log into a file of its own, so that all other lines are the server's."""
    handler = logging.FileHandler(os.environ.get("HOSTS_LOG", os.devnull))
    handler.setFormatter(logging.Formatter("%(levelname)s %(name)s: %(message)s"))
    log = logging.getLogger("syncws")
    log.addHandler(handler)
    log.setLevel(logging.DEBUG)
    logging.getLogger("syncws.wire").setLevel(logging.INFO)  # each frame would be a line
    log.propagate = False


if "HOSTS_LOG" in os.environ:  # not where a test only imports a constant: the log of its process would be changed
    set_up_log()


def app(environ: dict[str, Any], start_response: Any) -> Iterable[bytes]:
    """The application."""
    path = environ["PATH_INFO"]
    if path == "/upgrade":
        return upgrade(environ)(environ, start_response)
    if path in HANDLERS:
        query = dict(parse_qsl(environ.get("QUERY_STRING", "")))
        response = upgrader.serve(environ, HANDLERS[path], query, detach=DETACH[query.get("detach")])
        return response(environ, start_response)
    status, body = PAGES.get(path, not_found)()
    headers = [("Content-Type", "text/plain"), ("Content-Length", str(len(body))), ("X-Token", TOKEN)]
    start_response(status, headers)
    return [body]


def upgrade(environ: dict[str, Any]) -> Any:
    """A view that upgrades by itself, as in gorilla; the response that it returns."""
    with upgrader.upgrade(environ) as conn:
        echo(conn, {})
    return conn.wsgi_response


#: The option `detach` by what a query says.
DETACH = {None: None, "0": False, "1": True}


# Over WebSocket


def echo(conn: syncws.Conn, query: dict[str, str]) -> None:
    """Send every message back."""
    for message in conn:
        conn.send(message)


def tell_mode(conn: syncws.Conn, query: dict[str, str]) -> None:
    """Say how the connection is served, and then echo."""
    conn.send("detached" if conn.detached else "in view")
    echo(conn, query)


def tell_process(conn: syncws.Conn, query: dict[str, str]) -> None:
    """Say which process serves the connection, and then echo."""
    conn.send(str(os.getpid()))
    echo(conn, query)


def enter_room(conn: syncws.Conn, query: dict[str, str]) -> None:
    """Let it into the room, and then say which process serves it."""
    manager.run(conn, rooms=["room"])


def push(conn: syncws.Conn, query: dict[str, str]) -> None:
    """Send messages, as many as the query says or until the connection ends."""
    conn.close_read()
    pause = threading.Event()
    number = 0
    while number != int(query.get("count", -1)):
        conn.send(f"message {number}")
        number += 1
        pause.wait(PACE)


def raise_error(conn: syncws.Conn, query: dict[str, str]) -> None:
    """A handler with a mistake."""
    conn.receive()
    raise RuntimeError("raised on purpose")


def close_twice(conn: syncws.Conn, query: dict[str, str]) -> None:
    """A handler that closes more often than it has to."""
    conn.receive()
    conn.close(1000, "once")
    conn.close(1000, "twice")


HANDLERS: dict[str, Callable[[syncws.Conn, dict[str, str]], None]] = {
    "/echo": echo,
    "/mode": tell_mode,
    "/which": tell_process,
    "/room": enter_room,
    "/push": push,
    "/raise": raise_error,
    "/close-twice": close_twice,
}


# Over HTTP


def plain() -> tuple[str, bytes]:
    return "200 OK", b"hello\n"


def count() -> tuple[str, bytes]:
    global counted
    counted += 1
    return "200 OK", b"%d\n" % counted


def state() -> tuple[str, bytes]:
    """What tests ask about this process: how many connections gunicorn and the library count, and /counted."""
    told = {
        "pid": os.getpid(),
        "open": syncws.wsgi.open_connections(),
        "counted": counted,
        "nr_conns": getattr(gunicorn_worker(), "nr_conns", None),
    }
    return "200 OK", json.dumps(told).encode()


def not_found() -> tuple[str, bytes]:
    return "404 Not Found", b"not found\n"


PAGES = {"/plain": plain, "/counted": count, "/state": state}


def gunicorn_worker() -> Any:
    """gunicorn's worker, one of whose methods has called the application."""
    base = sys.modules.get("gunicorn.workers.base")
    frame = sys._getframe()
    while base is not None and frame is not None:
        if isinstance(found := frame.f_locals.get("self"), base.Worker):
            return found
        frame = frame.f_back  # type: ignore[assignment]
    return None
