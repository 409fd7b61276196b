"""The WSGI servers that are installed, and how each would serve the WebSockets of an application.

What is known of each, whether its connections can be taken and why not, is asked of `syncws._wsgi.servers`. Here stands
how it is found, and how it is started.
"""

from __future__ import annotations

import importlib.util
from typing import NamedTuple

from ..._wsgi.detach import CAN_EXCHANGE
from ..._wsgi.guests import MAX_CONNECTIONS
from ..._wsgi.servers.gunicorn import KINDS
from ..._wsgi.servers.refused import WHY
from ..command import CommandError
from .finding import Finding, Severity
from .frameworks import version_of


class _Server(NamedTuple):
    """A WSGI server: the distribution that brings it ("": Python itself), and its command line."""

    distribution: str
    command: str


_SERVERS = {
    "syncws": _Server("syncws", "syncws serve {app}"),
    "gunicorn": _Server("gunicorn", "gunicorn -k gthread --workers 2 --threads 8 {app}"),
    "waitress": _Server("waitress", "waitress-serve --listen=127.0.0.1:8080 {app}"),
    "cheroot": _Server("cheroot", "cheroot --bind 127.0.0.1:8080 {app}"),
    "werkzeug": _Server("Werkzeug", "flask --app {app} run   (for development)"),
    "gevent": _Server("gevent", "gunicorn -k gevent {app}"),
    "uwsgi": _Server("uwsgi", "uwsgi --http-socket 127.0.0.1:8080 --enable-threads --module {app}"),
    "pyuwsgi": _Server("pyuwsgi", "pyuwsgi --http-socket 127.0.0.1:8080 --enable-threads --module {app}"),
    "rocket3": _Server("rocket3", "Rocket3(('127.0.0.1', 8080), {'wsgi_app': app})"),
    "eventlet": _Server("eventlet", "eventlet.wsgi.server(eventlet.listen(('127.0.0.1', 8080)), app)"),
    "granian": _Server("granian", ""),
    "bjoern": _Server("bjoern", ""),
    "mod_wsgi": _Server("mod_wsgi", ""),
}

#: What a kind of gunicorn's workers needs.
_KIND_NEEDS = {"gevent": "gevent", "gevent_pywsgi": "gevent", "eventlet": "eventlet"}

#: The first version of gunicorn that has no eventlet worker.
_NO_EVENTLET = 26


def check_servers(spec: str, only: str | None) -> list[Finding]:
    """A finding for each server that is installed, or for the one that was named. Raises CommandError."""
    if only is not None and only not in _SERVERS:
        raise CommandError(f"--server is one of {', '.join(_SERVERS)}, not {only!r}", 2)
    found = [_how()]
    for name in _SERVERS if only is None else [only]:
        version = version_of(_SERVERS[name].distribution)
        if version is not None:
            found.append(_of(name, version, spec))
        elif only is not None:
            found.append(Finding("server", Severity.FAULT, f"{name} is not installed"))
    return found


def _how() -> Finding:
    """What the words in the titles of the others mean."""
    most = f"Up to {MAX_CONNECTIONS:,} connections for each process, each with a thread of its own."
    if CAN_EXCHANGE:
        seen = "A connection leaves the server, whose threads and workers are for plain requests."
        return Finding("serving", Severity.OK, "WebSockets are served detached", f"{seen} {most}")
    seen = "Here each WebSocket holds a thread of the server's pool, of which an eighth is kept free. syncws.Server:"
    return Finding("serving", Severity.NOTE, "WebSockets are served in the view", f"{seen} {most}")


def gunicorn_kinds() -> list[str]:
    """The kinds of workers that can be had here, by the names of --worker-class."""
    version = version_of("gunicorn") or "0"
    kinds = []
    for kind in KINDS.values():
        needs = _KIND_NEEDS.get(kind)
        gone = kind == "eventlet" and int(version.partition(".")[0]) >= _NO_EVENTLET
        if not gone and (needs is None or importlib.util.find_spec(needs) is not None):
            kinds.append(kind)
    return kinds


def _of(name: str, version: str, spec: str) -> Finding:
    command = _SERVERS[name].command.replace("{app}", spec)
    mending = (("gunicorn" if name == "gunicorn" else "app", command),)
    if name in WHY:
        told, advice = WHY[name]
        return Finding("server", Severity.NOTE, f"{name} {version}: no WebSockets", f"{told}: {advice}.")
    if name == "syncws":
        return Finding("server", Severity.OK, f"syncws.Server {version}: a thread for each connection", "", mending)
    if not CAN_EXCHANGE:
        return Finding("server", Severity.WARNING, f"{name} {version}: in the view", "", mending)
    kinds = f" ({', '.join(gunicorn_kinds())})" if name == "gunicorn" else ""
    return Finding("server", Severity.OK, f"{name} {version}: detached{kinds}", "", mending)
