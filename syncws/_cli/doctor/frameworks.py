"""What an application is: its framework, its WebSocket routes, and what of syncws is in its program.

Nothing is called: classes and settings are looked at, and the objects that the program has made.
"""

from __future__ import annotations

import gc
import importlib.metadata
import sys
from collections.abc import Iterator
from typing import Any, TypeVar

from ..._rooms.manager import Manager
from ..._server.upgrader import Upgrader

_T = TypeVar("_T")

#: (package, class, how people write it): what an application is an object of.
_FRAMEWORKS = (
    ("flask", "Flask", "Flask"),
    ("django", "WSGIHandler", "Django"),
    ("bottle", "Bottle", "Bottle"),
    ("falcon", "App", "Falcon"),
    ("pyramid", "Router", "Pyramid"),
)

#: Under which names a middleware keeps what it wraps.
_INNER = ("wsgi_app", "app", "application", "_app", "wrapped", "wsgi")

#: Middlewares in middlewares that are looked through.
_DEPTH = 10

#: Libraries whose views hold a thread of the server for as long as the connection lasts.
HOLDING = {"flask_sock": "flask-sock", "simple_websocket": "simple-websocket", "geventwebsocket": "gevent-websocket"}


def layers(application: Any) -> Iterator[Any]:
    """The application and what is inside it, from the outermost middleware to the framework's own object."""
    seen: set[int] = set()
    left = [application]
    while left and len(seen) < _DEPTH:
        each = left.pop()
        if id(each) in seen or not callable(each):
            continue
        seen.add(id(each))
        yield each
        if framework_of(each) is None or "wsgi_app" in getattr(each, "__dict__", ()):
            inner = [getattr(each, "__dict__", {}).get(name) for name in _INNER]
            left += [found for found in inner if found is not None]


def framework_of(application: Any) -> str | None:
    """The framework that this object is of; None: none that is known."""
    for base in type(application).__mro__:
        for package, name, written in _FRAMEWORKS:
            if base.__name__ == name and base.__module__.partition(".")[0] == package:
                return written
    return None


def find_framework(application: Any) -> tuple[str, Any] | None:
    """(name, object) of the framework inside an application."""
    for each in layers(application):
        name = framework_of(each)
        if name is not None:
            return name, each
    return None


def version_of(distribution: str) -> str | None:
    """The version of an installed distribution; None if it is not installed."""
    try:
        return importlib.metadata.version(distribution)
    except importlib.metadata.PackageNotFoundError:
        return None


def websocket_rules(application: Any) -> list[str]:
    """The rules of the WebSocket routes of a Flask application; of others they cannot be told."""
    url_map = getattr(application, "url_map", None)
    return [str(rule.rule) for rule in url_map.iter_rules() if rule.websocket] if url_map is not None else []


def upgraders() -> list[Upgrader]:
    """Every Upgrader of this program."""
    return _objects(Upgrader)


def managers() -> list[Manager]:
    """Every Manager of this program."""
    return _objects(Manager)


def _objects(kind: type[_T]) -> list[_T]:
    return [each for each in gc.get_objects() if type(each) is kind]


def holding_libraries() -> list[str]:
    """Other libraries for WebSockets that the program has imported."""
    return [written for module, written in HOLDING.items() if module in sys.modules]


def is_behind_proxy_fix(application: Any) -> bool:
    """Whether a middleware takes the client's address from X-Forwarded-For."""
    return any(type(each).__name__ == "ProxyFix" for each in layers(application))
