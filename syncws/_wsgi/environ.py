"""From an environ (PEP 3333) to a request, whose connection can be taken over."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any
from urllib.parse import quote

from .._base.worker import note_workers
from .._http.headers import Headers
from .._http.request import Request
from .exchange import HeldConnection
from .guests import guests
from .taken import Environ
from .takers import http_version

#: Where the request of an environ is kept: a view may ask for it more than once, and our own server has made it.
REQUEST_KEY = "syncws.request"

#: Under these keys any server keeps streams, which a detached connection would hold as long as it lives.
_STREAM_KEYS = ("wsgi.input", "wsgi.errors", "wsgi.file_wrapper", REQUEST_KEY)

#: What RFC 3986 allows in a path, beyond letters, digits and "_.-~".
_PATH_SAFE = "/:@!$&'()*+,;="


def request_of(environ: Environ) -> Request:
    """The request of an environ, the same one each time. Raises TypeError; ValueError for what HTTP does not allow."""
    if not isinstance(environ, dict) or "REQUEST_METHOD" not in environ:
        raise TypeError(f"a WSGI environ is a dict with REQUEST_METHOD, not {_kind(environ)}")
    known = environ.get(REQUEST_KEY)
    if isinstance(known, Request):
        known.environ = environ
        return known
    if _notes_workers(environ):
        note_workers()
    # The request refers to a copy, which does not refer back: both are freed without the garbage collector.
    request = _new_request(dict(environ))
    environ[REQUEST_KEY] = request
    return request


def _notes_workers(environ: Environ) -> bool:
    """Whether its server says that it has several processes.

    wsgiref's servers always do, Django's runserver among them, and have one.
    """
    return bool(environ.get("wsgi.multiprocess")) and not environ.get("SERVER_SOFTWARE", "").startswith("WSGIServer/")


def _kind(given: object) -> str:
    """What was given, for an error that must not show it: an environ holds cookies."""
    return "a dict without it" if isinstance(given, dict) else type(given).__name__


def _new_request(environ: Environ) -> Request:
    connection = HeldConnection(environ)
    request = Request(
        environ["REQUEST_METHOD"],
        _target(environ),
        Headers(_headers(environ)),
        http_version=http_version(environ),
        scheme=environ.get("wsgi.url_scheme", "http"),
        remote_address=_remote_address(environ),
        exchange=connection,
        environ=environ,
    )
    request.on_upgrade = connection.note_upgrade
    request.on_refusal = guests().ledger.refused
    return request


def _target(environ: Environ) -> str:
    """The path, which the server has decoded, quoted again; and the query, which it has not."""
    path = environ.get("SCRIPT_NAME", "") + environ.get("PATH_INFO", "")
    query = environ.get("QUERY_STRING", "")
    quoted = quote(path.encode("latin-1", "replace"), safe=_PATH_SAFE) or "/"
    return f"{quoted}?{query}" if query else quoted


def _headers(environ: Environ) -> Iterable[tuple[str, str]]:
    for key, value in environ.items():
        if key.startswith("HTTP_"):
            yield key[5:].replace("_", "-").title(), str(value)
        elif key in ("CONTENT_TYPE", "CONTENT_LENGTH") and value:
            yield key.replace("_", "-").title(), str(value)


def _remote_address(environ: Environ) -> Any:
    address = environ.get("REMOTE_ADDR", "")
    port = str(environ.get("REMOTE_PORT", ""))
    return (address, int(port) if port.isdecimal() else 0) if address else ""


def without_server(environ: Environ | None, server_keys: tuple[str, ...]) -> Environ:
    """The environ without the streams of WSGI, and without the keys that begin so: those that hold a server's objects.

    What is left may be kept after the view.
    """
    left_out = _STREAM_KEYS + server_keys
    return {key: value for key, value in (environ or {}).items() if not key.startswith(left_out)}
