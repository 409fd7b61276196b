"""Servers that keep the socket of a request out of Python, and requests that have no socket of their own."""

from __future__ import annotations

from ..inside import server_name
from ..taken import Environ, Untakeable

#: Why the connections of a server cannot be had, and what to do instead.
WHY = {
    "mod_wsgi": (
        "mod_wsgi keeps the connections of Apache to itself",
        "run a second process for WebSocket (gunicorn, or syncws) and send it there with mod_proxy_wstunnel",
    ),
    "granian": (
        "granian keeps its connections to itself",
        "serve with gunicorn (gthread), or with syncws.Server(wsgi_app=...)",
    ),
    "bjoern": ("bjoern keeps its connections to itself", "serve with gunicorn (gthread)"),
}


def find(environ: Environ) -> None:
    """Raise Untakeable for a request of mod_wsgi, granian or bjoern."""
    if "mod_wsgi.version" in environ:
        raise Untakeable(*WHY["mod_wsgi"])
    module = type(environ.get("wsgi.input")).__module__.partition(".")[0]
    if module in WHY:
        raise Untakeable(*WHY[module])


def check_http2(environ: Environ) -> None:
    """Raise Untakeable for a stream of HTTP/2. It has no handshake, so this is asked before that is looked at.

    All streams share one socket, which the server may show: taking it would break them all.
    """
    if str(environ.get("SERVER_PROTOCOL", "")).startswith("HTTP/2"):
        raise Untakeable(
            f"{server_name(environ)} gave this request as a stream of HTTP/2, which has no connection of its own",
            "let it speak HTTP/1.1 (gunicorn: --http-protocols h1)",
        )
