"""waitress: its loop leaves a channel alone while a request of it is served, unless it reads ahead."""

from __future__ import annotations

from ..taken import Environ, Taken, Untakeable


def find(environ: Environ) -> Taken | None:
    """The channel is the object of a method that waitress puts into the environ."""
    channel = getattr(environ.get("waitress.client_disconnected"), "__self__", None)
    if channel is None:
        return None
    if channel.adj.channel_request_lookahead > 0:
        raise Untakeable(
            "waitress reads ahead of its application, and would take frames for requests",
            "serve with channel_request_lookahead=0, which is its default",
        )
    return Taken(
        server="waitress",
        sock=channel.socket,
        fd=channel.socket.fileno(),
        read_early=lambda: bytes(getattr(channel.request, "header_plus", b"")),
        pool=channel.adj.threads,
        swallow=True,
        environ_keys=("waitress.",),
    )
