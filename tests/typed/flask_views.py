"""WebSocket routes in Flask applications."""

from __future__ import annotations

from typing import assert_type

from flask import Blueprint, Flask, abort, session

import syncws
from syncws.flask import Sock

app = Flask(__name__)
blueprint = Blueprint("api", __name__)
sock = Sock(app, upgrader=syncws.Upgrader(read_limit=1 << 16))
later = Sock()
later.init_app(blueprint)


def logged_in(**_variables: str) -> None:
    if "user" not in session:
        abort(401)


@sock.route("/rooms/<name>", before=logged_in, detach=False, endpoint="room of members")
@sock.route("/lobby", defaults={"name": "lobby"})
def room(conn: syncws.Conn, name: str) -> int:
    conn.send(name)
    return 1


@sock.route("/api", bp=blueprint, upgrader=syncws.Upgrader(allowed_origins=["*"]))
def api(conn: syncws.Conn) -> None:
    conn.send_json({})


def again(conn: syncws.Conn) -> None:
    """What is decorated stays what it was."""
    assert_type(room(conn, name="lobby"), int)
    assert_type(api(conn), None)
