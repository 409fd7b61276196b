"""What an answer that is no 101 means: one row for each status that people meet."""

from __future__ import annotations

from ..._base.printable import printable
from ..._http.httpclient import ReceivedResponse
from .finding import Finding, fault

_CHECK = "handshake"

#: What syncws says in the body of a refusal: which header did not come, or which version did.
_LOST = ("Connection header does not say", "Upgrade header does not say")
_OLD = "this request is HTTP/1.0"

#: (title, what it means, topics), by status.
_MEANINGS: dict[int, tuple[str, str, tuple[str, ...]]] = {
    200: (
        "a page comes in place of the 101",
        "What answers takes the request for a plain one: the path is no WebSocket, or the Upgrade header was lost.",
        ("path", "upgrade"),
    ),
    400: (
        "the application finds no handshake",
        "Mostly the Upgrade header, or HTTP/1.1, was lost on the way.",
        ("upgrade", "http-version"),
    ),
    401: ("a login is wanted before the handshake", "", ("login",)),
    403: ("it is forbidden", "A login, a rule of what is in front, or the Origin.", ("login",)),
    404: ("there is nothing at this path", "The path is not the application's, or was changed on the way.", ("path",)),
    405: ("GET is not allowed at this path", "A handshake is a GET: this is another endpoint.", ("path",)),
    407: ("the proxy on this side wants a login", "", ()),
    421: (
        "the host is not allowed",
        "allowed_hosts of the server does not have the name in the URL.",
        ("host-allowed",),
    ),
    426: ("the request lost its Upgrade on the way", "", ("upgrade", "http-version")),
    429: ("too many requests from here", "", ()),
    500: (
        "the application, or what is in front of it, failed",
        "Its log says why. nginx answers 500 where worker_connections are used up, too.",
        ("connections",),
    ),
    501: (
        "the server of the application does not let WebSockets through",
        "Its log says what to do.",
        ("wsgi-server",),
    ),
    502: ("what is in front does not reach the application", "It does not run, or listens elsewhere.", ("upstream",)),
    503: (
        "there is no room, or no application",
        "The application is full or ends just now, or what is in front has none to send this to.",
        ("upstream", "connections"),
    ),
    504: (
        "the application does not answer what is in front of it",
        "Each of its threads may be busy with a WebSocket.",
        ("upstream", "connections"),
    ),
}


def refusal(answer: ReceivedResponse, error: str) -> Finding:
    """The finding for an answer to the handshake that is no valid 101. error is what the Dialer says of it."""
    status = f"{answer.status} {printable(answer.reason, 60)}".strip()
    if answer.status == 101:
        return fault(_CHECK, "the 101 is not valid", f"{_after_url(error)}.", "upgrade")
    if 300 <= answer.status < 400 and "Location" in answer.headers:
        location = printable(answer.headers["Location"], 200)
        return fault(_CHECK, f"{status}: it leads to another place", f"Location: {location}", "redirect")
    said = _first_line(answer)
    meaning: tuple[str, str, tuple[str, ...]]
    if any(lost in said for lost in _LOST):
        meaning = "the request lost its Upgrade on the way", "", ("upgrade",)
    elif _OLD in said:
        meaning = "the application is asked in HTTP/1.0, which has no upgrade", "", ("http-version",)
    else:
        meaning = _MEANINGS.get(answer.status, ("no 101", "", ()))
    title, seen, topics = meaning
    told = f'It says: "{printable(said, 160)}"' if said else ""
    return fault(_CHECK, f"{status}: {title}", "\n".join(filter(None, (seen, told))), *topics)


def _first_line(answer: ReceivedResponse) -> str:
    """The first line of a plain text; "" for a page, of which no line says anything."""
    if answer.coding or not answer.headers.get("Content-Type", "").startswith("text/plain"):
        return ""
    return answer.body.decode("utf-8", "replace").strip().partition("\n")[0].removeprefix(f"{answer.reason}: ")


def _after_url(error: str) -> str:
    """The text of an error without its beginning, which repeats the URL."""
    return error.partition(": ")[2] if error.startswith("no WebSocket at ") else error
