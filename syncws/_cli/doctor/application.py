"""`syncws doctor module:app`: which server would serve an application and how, and what to change in it.

The module is imported, as a server would import it; nothing is served.
"""

from __future__ import annotations

import sys
import threading
from pathlib import Path
from typing import Any

from ..._base.printable import printable
from ..serve import load_application
from . import frameworks
from .finding import Findings, note, ok, warning
from .gunicornconf import check_gunicorn_conf, workers_of
from .servers import check_servers

_GLUE = ("flask", "django", "bottle", "falcon", "pyramid", "wsgi")


def check_application(spec: str, server: str | None = None) -> Findings:
    """Every check. server: of the servers, this one only. Raises CommandError."""
    before = set(threading.enumerate())
    application = load_application(spec)
    threads = [each.name for each in threading.enumerate() if each not in before]
    holding = frameworks.holding_libraries()
    yield from _what_it_is(application)
    yield from _holding(holding)
    yield from _origins()
    yield from _detach(application)
    yield from _proxy_headers(application)
    folder = Path.cwd()
    yield from _managers(workers_of(folder))
    yield from check_servers(spec, server)
    if server in (None, "gunicorn"):
        yield from check_gunicorn_conf(folder, holding, threads)


def _what_it_is(application: Any) -> Findings:
    found = frameworks.find_framework(application)
    name = "plain WSGI" if found is None else f"{found[0]} {frameworks.version_of(found[0]) or ''}".strip()
    rules = [] if found is None else frameworks.websocket_rules(found[1])
    if rules:
        count = f"{len(rules)} WebSocket route{'' if len(rules) == 1 else 's'}"
        yield ok("application", f"{name}, {count}", printable(", ".join(sorted(rules))))
        return
    glue = [each for each in _GLUE if f"syncws.{each}" in sys.modules]
    if glue or frameworks.upgraders():
        yield ok("application", f"{name}, with {', '.join(f'syncws.{each}' for each in glue) or 'syncws.Upgrader'}")
        return
    yield note(
        "application",
        f"{name}, without a WebSocket view of syncws",
        "Its module was imported, and syncws is not in it. Views that are imported later are not seen.",
    )


def _holding(libraries: list[str]) -> Findings:
    if libraries:
        yield warning(
            "other-library",
            f"{', '.join(libraries)} is imported",
            "A view of it holds a thread of the server for as long as its connection lasts. With syncws it holds none: "
            "see docs/flask-sock.md.",
        )


def _origins() -> Findings:
    found = frameworks.upgraders()
    if any("*" in each.allowed_origins for each in found):
        yield warning(
            "origin",
            'an Upgrader has allowed_origins=["*"]',
            "A page of any site may connect with the cookies of whoever looks at it.",
            "allowed-origins",
        )
    elif any(each.check_origin is not None for each in found):
        yield note("origin", "an Upgrader has a check_origin of its own", "See that it refuses foreign pages.")
    elif found:
        allowed = sorted({each for upgrader in found for each in upgrader.allowed_origins})
        more = f", and {printable(', '.join(allowed), 100)}" if allowed else ""
        yield ok("origin", f"pages of the same host may connect{more}")


def _detach(application: Any) -> Findings:
    """Flask's setting; that of other frameworks is an argument of each view, which nobody can see from outside."""
    found = frameworks.find_framework(application)
    config = getattr(found[1], "config", None) if found is not None and found[0] == "Flask" else None
    if config is not None and config.get("SYNCWS_DETACH") is False:
        yield warning(
            "detach",
            "SYNCWS_DETACH is False",
            "Each WebSocket holds a thread of the server: with one sync worker of gunicorn there is one at a time.",
            "connections",
        )


def _proxy_headers(application: Any) -> Findings:
    found = frameworks.find_framework(application)
    if found is None or found[0] != "Flask":
        return
    if frameworks.is_behind_proxy_fix(application):
        yield ok("proxy-headers", "ProxyFix takes the client's address from the proxy")
    else:
        yield note(
            "proxy-headers",
            "no ProxyFix",
            "Behind a proxy request.remote_addr is the proxy's, and url_for makes http: URLs. Without a proxy leave it "
            "out: anybody could then forge his address.",
            "proxy-fix",
        )


def _managers(workers: int) -> Findings:
    alone = [each for each in frameworks.managers() if each.backplane_health() is None]
    if not alone:
        return
    if workers > 1:
        yield warning(
            "manager",
            f"a Manager without a backplane, and {workers} workers",
            "A broadcast reaches the members of one process, and nobody in the others.",
            "backplane",
        )
    else:
        yield note(
            "manager",
            "a Manager without a backplane reaches the members of its own process",
            "That is all of them with one worker. The workers of syncws serve --workers are joined by themselves.",
        )
