"""A Flask application with WebSockets beside its pages: log in, talk in rooms, and an echo for everybody.

    python examples/flask_app.py
    python examples/flask_app.py --host 0.0.0.0 --port 8000

serves it with syncws's own server; open the address it prints. It is an application as any other, so gunicorn and
Flask's own server serve it too, pages and WebSockets on one port:

    gunicorn --chdir examples -k gthread --threads 4 flask_app:app
    flask --app examples/flask_app.py run

Its rooms are those of one process. A backplane joins several workers: see docs/scaling.md.
"""

from __future__ import annotations

import argparse
import logging
import os
import secrets
import signal
import socket
import sys
import threading
from collections.abc import Hashable
from typing import Any

from flask import Flask, Response, abort, redirect, render_template, request, session, url_for

import syncws
from syncws.flask import Sock

ROOMS = ("lobby", "garden", "attic")
NAME_LENGTH = 24
TEXT_LENGTH = 4000
LOGGED_OUT = 4401  # our own close code, which the page knows

#: The names of this machine. Against DNS rebinding, no other is answered to while only this machine can connect. Behind
#: a proxy, which passes the public name on, list that one.
LOOPBACK = ["localhost", "127.0.0.1", "::1"]

#: The page runs its own script and no other, and talks to nobody but this server.
POLICY = (
    "default-src 'none'; script-src 'self'; style-src 'self'; connect-src 'self'; img-src data:; "
    "base-uri 'none'; form-action 'self'; frame-ancestors 'none'"
)

app = Flask(
    __name__, static_folder="flask_app_static", static_url_path="/static", template_folder="flask_app_templates"
)
app.config.from_mapping(
    # Signs the cookies of the sessions. One that is made here ends all sessions with the process, and differs
    # between workers.
    SECRET_KEY=os.environ.get("SECRET_KEY") or secrets.token_hex(),
    SESSION_COOKIE_SAMESITE="Lax",  # a form of another site comes without it, and cannot log anybody out
    MAX_CONTENT_LENGTH=1 << 14,
    SYNCWS_OPTIONS={"read_limit": 1 << 16},
)

sock = Sock(app)


# Rooms


def tell_who_is_here(member: syncws.Member) -> None:
    """Called whenever somebody comes or goes; two at the same time would send their lists in any order."""
    with presence:
        for room in member.rooms:
            manager.broadcast_json({"here": names_in(room)}, room=room)


def names_in(room: Hashable) -> list[str]:
    return sorted({str(member.id) for member in manager.members(room)})


def pass_on(member: syncws.Member, message: str | bytes) -> None:
    if isinstance(message, str) and message.strip() and len(message) <= TEXT_LENGTH:
        for room in member.rooms:
            manager.broadcast_json({"from": member.id, "text": message}, room=room)


presence = threading.Lock()
manager = syncws.Manager(
    on_open=tell_who_is_here,
    on_message=pass_on,
    on_close=lambda member, error: tell_who_is_here(member),
    duplicate="many",  # somebody may have several tabs
)


def may_enter(room: str) -> Any:
    """Runs before the handshake is answered: if it returns a response, or aborts, that is the answer."""
    if "name" not in session:
        abort(401, "log in first")
    if room not in ROOMS:
        abort(404, "there is no such room")


@sock.route("/rooms/<room>", before=may_enter)
def talk(conn: syncws.Conn, room: str) -> None:
    """A member's connection, from its handshake to its end; `session` is that of the handshake."""
    manager.run(conn, id=session["name"], rooms=[room])


@sock.route("/echo")
def echo(conn: syncws.Conn) -> None:
    for message in conn:
        conn.send(message)


# Pages


@app.get("/")
def index() -> str:
    return render_template("index.html", name=session.get("name"), rooms=ROOMS, text_length=TEXT_LENGTH)


@app.get("/rooms/<room>")
def who_is_there(room: str) -> dict[str, list[str]]:
    """Who is in a room: the answer to a plain request for the address of its WebSocket."""
    may_enter(room)
    return {"here": names_in(room)}


@app.post("/login")
def login() -> Any:
    """Take a name. Here a real application looks at a password."""
    name = " ".join(request.form.get("name", "").split())
    if not (1 <= len(name) <= NAME_LENGTH and name.isprintable()):
        abort(400, f"a name is 1 to {NAME_LENGTH} printable characters")
    session["name"] = name
    return redirect(url_for("index"))


@app.post("/logout")
def logout() -> Any:
    """Forget the name. Connections do not notice that a session has ended: they are closed here."""
    name = session.pop("name", None)
    if name is not None:
        manager.close(name, LOGGED_OUT, "logged out")
    return redirect(url_for("index"))


@app.before_request
def refuse_forms_of_other_sites() -> None:
    """A form of another site could log a browser in, under a name of that site's choice; it needs no cookie for that.

    Browsers tell the origin of each form that they post. A program tells none, and has nobody's cookies.
    """
    origin = request.headers.get("Origin")
    if request.method == "POST" and origin is not None and origin.partition("://")[2] != request.host:
        abort(403, "this form is of another site")


@app.after_request
def protect(response: Response) -> Response:
    response.headers["Content-Security-Policy"] = POLICY
    response.headers["X-Content-Type-Options"] = "nosniff"
    response.headers["Cache-Control"] = "no-cache"
    return response


# The program


def main() -> int:
    parser = argparse.ArgumentParser(description="A Flask application with WebSockets, on syncws's own server.")
    parser.add_argument("--host", default="127.0.0.1", help="address to listen on (default: %(default)s)")
    parser.add_argument("--port", type=port, default=8080, help="0 takes a free one (default: %(default)s)")
    options = parser.parse_args()

    logging.basicConfig(level=logging.INFO, format="%(levelname)s %(message)s")
    try:
        hosts = LOOPBACK if options.host in LOOPBACK else None
        server = syncws.Server(wsgi_app=app, host=options.host, port=options.port, allowed_hosts=hosts)
    except OSError as exc:
        reason = exc.strerror if isinstance(exc, socket.gaierror) else os.strerror(exc.errno or 0)
        print(f"Cannot listen on {options.host} port {options.port}: {reason}", file=sys.stderr)
        return 1

    # serve_forever closes every connection on SIGTERM and SIGINT. A signal before it runs, or a second one while
    # it waits for its clients, is a KeyboardInterrupt.
    signal.signal(signal.SIGTERM, signal.default_int_handler)
    try:
        print(f"Flask app on {url(server, options.host)} (press Ctrl-C to stop)", flush=True)
        server.serve_forever()
    except KeyboardInterrupt:
        server.shutdown(timeout=0)
    return 0


def url(server: syncws.Server, host: str) -> str:
    """The address to open in a browser on this machine."""
    # "0.0.0.0" and "::" stand for every address of the machine, and a browser cannot open them.
    host = "localhost" if host in ("", "0.0.0.0", "::") else host
    return f"http://{f'[{host}]' if ':' in host else host}:{server.port}/"


def port(given: str) -> int:
    try:
        value = int(given)
    except ValueError:
        value = -1
    if not 0 <= value <= 0xFFFF:
        raise argparse.ArgumentTypeError(f"a port is a number from 0 to 65535, not {given!r}")
    return value


if __name__ == "__main__":
    sys.exit(main())
