"""uWSGI, which gives a descriptor and nothing else; what it has read after the request stays in C."""

from __future__ import annotations

import sys
from typing import Any

from ..taken import Environ, Taken, Untakeable

_ROUTERS = {"http", "https", b"http", b"https"}


def find(environ: Environ) -> Taken | None:
    """The descriptor is asked of the module `uwsgi`, which exists inside uWSGI only."""
    uwsgi: Any = sys.modules.get("uwsgi")
    if "uwsgi.version" not in environ or uwsgi is None:
        return None
    if _ROUTERS & uwsgi.opt.keys() and b"http-websockets" not in map(_as_bytes, uwsgi.opt):
        raise Untakeable(
            "uWSGI's own HTTP router passes nothing on after the handshake",
            "serve with --http-socket instead of --http, behind nginx, or add --http-websockets",
        )
    return Taken(server="uWSGI", sock=None, fd=uwsgi.connection_fd(), swallow=True)


def _as_bytes(option: str | bytes) -> bytes:
    """Builds differ in which of the two an option is."""
    return option.encode() if isinstance(option, str) else option
