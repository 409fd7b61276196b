"""Why there is no connection: what `cannot_dial` says of it, and what to change, where a person would look first."""

from __future__ import annotations

from http import HTTPStatus

from ..._base.printable import printable
from ..._http.headers import Headers
from ...errors import BadHandshakeError, HandshakeError, ProxyError
from ..dialing import cannot_dial

#: Characters of a refusal's body that are shown.
_MOST_SHOWN = 200

#: Bodies whose first line a person can read; that of text/plain is in the error already.
_READABLE = ("application/json", "application/problem+json", "text/")


def say_refusal(error: Exception, sent: Headers) -> str:
    """One line: what failed, the first line of what the server says of it, and what to change. sent: our headers."""
    told = cannot_dial(error).replace("max_redirects is 0", "--max-redirects NUMBER follows them")
    if isinstance(error, BadHandshakeError):
        told += _first_line(error)
    advice = _advice(error, sent, told)
    return f"{told}; {advice}" if advice else told


def _first_line(error: BadHandshakeError) -> str:
    """What a body says that is no plain text. Of a page in HTML the first line says nothing."""
    answer = error.response
    if answer is None or not answer.body or 300 <= answer.status <= 399:
        return ""
    kind = answer.headers.get("Content-Type", "").lower()
    if not kind.startswith(_READABLE) or kind.startswith(("text/plain", "text/html")):
        return ""
    first = answer.body.decode("utf-8", "replace").strip().partition("\n")[0].strip()
    return f": {printable(first, _MOST_SHOWN)}" if first else ""


def _advice(error: Exception, sent: Headers, told: str) -> str:
    if isinstance(error, ProxyError):
        return ""
    if isinstance(error, ConnectionRefusedError):
        if "(this is the proxy " in told:
            return "nothing listens there: is this the address of the proxy?"
        return "nothing listens there: is the server running, on this host and port?"
    if not isinstance(error, HandshakeError):
        return ""
    match error.status:
        case HTTPStatus.UNAUTHORIZED:
            if "Authorization" in sent or "Cookie" in sent:
                return "it does not accept the credentials"
            return "--user NAME, --header 'Authorization: ...', or --header 'Cookie: session=...' of a browser's login"
        case HTTPStatus.FORBIDDEN if "origin" in told.lower():
            return "--origin URL says which page a browser would come from"
        case HTTPStatus.NOT_FOUND:
            return "is the path of the URL right?"
        case HTTPStatus.OK:
            return "this is a page, and no WebSocket: is the path of the URL right?"
    return ""
