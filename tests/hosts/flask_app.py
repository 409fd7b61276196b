"""The application of `app` as views of Flask."""

from __future__ import annotations

from typing import Any

import flask

from . import app as plain

app = flask.Flask(__name__)


def serve() -> Any:
    """A WebSocket view: what `Upgrader.serve` returns is a WSGI application, which Flask takes for a response."""
    query = flask.request.args.to_dict()
    handler = plain.HANDLERS[flask.request.path]
    return plain.upgrader.serve(flask.request.environ, handler, query, detach=plain.DETACH[query.get("detach")])


def upgrade() -> Any:
    return plain.upgrade(flask.request.environ)


def page() -> Any:
    status, body = plain.PAGES[flask.request.path]()
    return body, status, {"X-Token": plain.TOKEN, "Content-Type": "text/plain"}


for path in plain.HANDLERS:
    app.add_url_rule(path, path, serve, websocket=True)
app.add_url_rule("/upgrade", "/upgrade", upgrade, websocket=True)
for path in plain.PAGES:
    app.add_url_rule(path, path, page)
