"""What the answer to a handshake must say (RFC 6455 section 4.1, the last list); else what the error says of it.

Strict where the RFC demands that the connection fail. An empty header means what a missing one does: the API of
Kubernetes sends an empty Sec-WebSocket-Protocol.
"""

from __future__ import annotations

from http import HTTPStatus

from .._base.printable import printable
from .._frames.agreement import Agreement, Terms, accept_answer
from .._http import handshake
from .._http.headers import Headers
from .._http.httpclient import ReceivedResponse
from .._http.url import ServerURL
from ..errors import BadHandshakeError
from .redirects import say_location, says_redirect


def check_answer(
    server: ServerURL, request: Headers, response: ReceivedResponse, *, terms: Terms | None
) -> tuple[str | None, Agreement | None]:
    """The subprotocol and the compression of a valid 101. terms are those on which the latter was offered, if it was.

    Raises BadHandshakeError for every other answer.
    """
    try:
        _check_switched(response)
        accept = handshake.accept_for(request["Sec-WebSocket-Key"])
        if response.headers.get("Sec-WebSocket-Accept", "").strip() != accept:
            raise ValueError("its Sec-WebSocket-Accept does not answer our Sec-WebSocket-Key")
        return _agreed_subprotocol(request, response), _agreed_compression(response, terms)
    except ValueError as error:
        raise BadHandshakeError(f"no WebSocket at {server}: {error}", response) from None


def _check_switched(response: ReceivedResponse) -> None:
    """Raise ValueError unless the answer switches protocols to a WebSocket."""
    if response.status != HTTPStatus.SWITCHING_PROTOCOLS:
        raise ValueError(f"the answer is {response}{_say_more(response)}")
    if response.http_version != "1.1":
        raise ValueError(f"the answer is in HTTP/{response.http_version}, and WebSocket needs HTTP/1.1")
    if not handshake.switches_to_websocket(response.headers):
        raise ValueError("its Upgrade header does not say 'websocket'")
    if not handshake.has_token(response.headers, "Connection", "upgrade"):
        raise ValueError("its Connection header does not say 'Upgrade'")


def _say_more(response: ReceivedResponse) -> str:
    """What else the answer says that helps a reader: where a redirect leads, or the first line of a plain text."""
    if 300 <= response.status <= 399:
        follow = "; redirects are not followed: max_redirects is 0" if says_redirect(response) else ""
        return f"{say_location(response)}{follow}"
    if response.coding and response.body:
        return f": (a body of {len(response.body)} bytes, {printable(response.coding, 40)})"
    if not response.headers.get("Content-Type", "").startswith("text/plain"):
        return ""
    first = response.body.decode("utf-8", "replace").partition("\n")[0].strip().removeprefix(f"{response.reason}: ")
    return f": {''.join(filter(str.isprintable, first))[:200]}" if first else ""


def _agreed_subprotocol(request: Headers, response: ReceivedResponse) -> str | None:
    """The subprotocol that the server chose, None if it chose none. Raises ValueError for one that was not offered."""
    chosen = list(filter(None, (value.strip() for value in response.headers.get_all("Sec-WebSocket-Protocol"))))
    if not chosen:
        return None
    offered = handshake.parse_tokens(request.get_all("Sec-WebSocket-Protocol"))
    if len(chosen) > 1 or chosen[0] not in offered:
        found = ", ".join(map(handshake.say_subprotocol, ",".join(chosen).split(",")))
        raise ValueError(f"it chose the subprotocol '{found}', and {_say_offer(offered)} offered")
    return chosen[0]


def _say_offer(offered: list[str]) -> str:
    return f"{', '.join(map(handshake.say_subprotocol, offered))} was" if offered else "none was"


def _agreed_compression(response: ReceivedResponse, terms: Terms | None) -> Agreement | None:
    """The compression that the server agreed to. Raises ValueError for an extension that was not offered."""
    lines = response.headers.get_all("Sec-WebSocket-Extensions")
    answer = handshake.parse_extensions(lines)
    if not answer and any(line.strip(" \t,") for line in lines):
        raise ValueError("its Sec-WebSocket-Extensions is malformed")
    if terms is None:
        if not answer:
            return None
        raise ValueError(f"it agreed to the extension '{printable(answer[0][0], 100)}', and none was offered")
    try:
        return accept_answer(answer, terms)
    except ValueError as error:
        raise ValueError(f"{error}; enable_compression=False connects without compression") from None
