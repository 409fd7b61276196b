"""The same in each worker of gunicorn: `gunicorn benchmarks.soak.hosted:application`. It is made before any request."""

from __future__ import annotations

from typing import Any

from .node import Node, Settings

_node = Node(Settings.given())
_node.begin_pulse()


def application(environ: Any, start_response: Any) -> Any:
    """A WSGI application: WebSockets, and a page that says that it is ready."""
    if "HTTP_UPGRADE" not in environ:
        start_response("200 OK", [("Content-Type", "text/plain")])
        return [b"ready\n"]
    return _node.upgrader.serve(environ, _node.converse)(environ, start_response)
