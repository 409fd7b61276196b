"""Redirects of a handshake (RFC 9110 section 15.4): where they lead, and what goes there.

A Dialer follows as many as `max_redirects` says, which is none by default. `Route` is where one dial has got to. It
refuses what leads from wss to ws, to a scheme other than HTTP's and WebSocket's, or in a circle. To another scheme,
host or port no credentials go: of the headers that `dial` was given only those of `_HARMLESS`, and not the URL's user
and password. Once they were left out they stay out, also on the way back.
"""

from __future__ import annotations

import logging
from dataclasses import replace
from http import HTTPStatus
from urllib.parse import urljoin, urlsplit, urlunsplit

from .._base.counters import breaches
from .._base.printable import printable
from .._http.headers import Headers
from .._http.httpclient import ReceivedResponse
from .._http.url import ServerURL, parse_server_url
from ..errors import BadHandshakeError

_log = logging.getLogger("syncws.client")

#: The statuses of a redirect. A handshake is a GET, so that all of them mean the same.
_STATUSES = frozenset(
    {
        HTTPStatus.MOVED_PERMANENTLY,
        HTTPStatus.FOUND,
        HTTPStatus.SEE_OTHER,
        HTTPStatus.TEMPORARY_REDIRECT,
        HTTPStatus.PERMANENT_REDIRECT,
    }
)

#: The headers of the caller that another server may see. Any other may hold a credential: X-Api-Key is one by its name.
_HARMLESS = frozenset({"accept", "accept-language", "origin", "sec-websocket-protocol", "user-agent"})

#: Servers redirect in the words of HTTP.
_SCHEMES = {"ws": "ws", "wss": "wss", "http": "ws", "https": "wss"}


class Route:
    """Where a dial is to go, with which headers. For one thread.

    Args:
        server: where it begins.
        headers: those that the caller gave.
        most: how many redirects it may follow.
        circles: whether the same place may come again, since the cookies that came may lead on from there.
        one_server: whether everything is on one server, so that no redirect leads to another.
    """

    def __init__(self, server: ServerURL, headers: Headers, most: int, *, circles: bool, one_server: bool) -> None:
        self.server = server
        self.headers = headers
        self._passed = [server]
        self._most = most
        self._circles = circles
        self._one_server = one_server
        self._withheld: list[str] = []  # names of headers that did not go on

    @property
    def elsewhere(self) -> bool:
        """Whether this is another host than the one that was dialed."""
        return self.server.host != self._passed[0].host

    def redirect_in(self, error: Exception) -> ReceivedResponse | None:
        """The answer that redirects, if a failed attempt is a redirect and redirects are followed."""
        response = error.response if isinstance(error, BadHandshakeError) else None
        if self._most > 0 and isinstance(response, ReceivedResponse) and response.status in _STATUSES:
            return response
        return None

    def follow(self, response: ReceivedResponse) -> None:
        """Go where a redirect leads. Raises BadHandshakeError, with the response, if that is nowhere to go."""
        try:
            server = self._place(response)
        except ValueError as error:
            told = f"no WebSocket at {self.server}: the answer is {response}{say_location(response)}; {error}"
            refusal = BadHandshakeError(told, response)
            self.tell_way(refusal)
            raise refusal from None
        _log.debug("%s: %s: going on to %s", self.server, response, server)
        if server.origin == self.server.origin:
            server = replace(server, credentials=self.server.credentials)
        else:
            self._withhold()
        self.server = server
        self._passed.append(server)

    def tell_way(self, error: Exception) -> None:
        """Note in an error of a dial which way it went, and what was left out on it."""
        if len(self._passed) > 1:
            error.add_note(f"redirected from {' to '.join(map(str, self._passed))}")
        if self._withheld:
            error.add_note(f"not sent on to another scheme, host or port: {', '.join(self._withheld)}")

    def _place(self, response: ReceivedResponse) -> ServerURL:
        """The place that a redirect names. Raises ValueError that says why it is none."""
        if len(self._passed) > self._most:
            breaches.add("max_redirects")
            raise ValueError(f"max_redirects allows {self._most}, and this is one more")
        server = _location(self.server, response)
        if self.server.secure and not server.secure:
            raise ValueError("a redirect from wss to ws is never followed")
        if self._one_server and server.origin != self.server.origin:
            raise ValueError("unix_path leads to one server alone")
        if not self._circles and any(passed.url == server.url for passed in self._passed):
            raise ValueError("that is where it came from: it leads in a circle")
        return server

    def _withhold(self) -> None:
        """Leave out whatever may be a credential."""
        kept = [pair for pair in self.headers if pair[0].lower() in _HARMLESS]
        self._withheld += [name for name, _ in self.headers if name.lower() not in _HARMLESS]
        if self.server.credentials is not None:
            self._withheld.append("the URL's user and password")
        self.headers = Headers(kept)


def say_location(response: ReceivedResponse) -> str:
    """Where a redirect leads, for an error: ", to 'http://a/'", without what may be secret; "" if it leads nowhere."""
    location = _decoded(response.headers.get("Location", ""))
    return f", to '{printable(_without_secrets(location), 150)}'" if location else ""


def says_redirect(response: ReceivedResponse) -> bool:
    """Whether an answer is a redirect that could be followed."""
    return response.status in _STATUSES and "Location" in response.headers


def _location(server: ServerURL, response: ReceivedResponse) -> ServerURL:
    """The place that a Location names, seen from a server. Its credentials, if it has any, are not used."""
    found = {value for value in response.headers.get_all("Location") if value}
    if len(found) != 1:
        raise ValueError("it has several Locations" if found else "it has no Location")
    url = urljoin(server.http, _decoded(found.pop()))
    scheme = urlsplit(url).scheme
    if scheme not in _SCHEMES:
        raise ValueError(f"its Location is in the scheme {printable(scheme, 40)}:, and neither http: nor ws:")
    try:
        place = parse_server_url(f"{_SCHEMES[scheme]}{url[len(scheme) :]}")
    except ValueError as error:
        raise ValueError(f"its Location is invalid: {error}") from None
    return replace(place, credentials=None)


def _decoded(location: str) -> str:
    """A Location as its server means it: headers are read as Latin-1, and URLs outside ASCII are sent as UTF-8."""
    try:
        return location.encode("latin-1").decode()
    except UnicodeError:
        return location


def _without_secrets(location: str) -> str:
    """A URL without the parts that may hold a password or a token."""
    try:
        parts = urlsplit(location)
    except ValueError:
        return "an invalid URL"
    shown = urlunsplit((parts.scheme, parts.netloc, parts.path, "", ""))
    return "/".join(part.rpartition("@")[2] for part in shown.split("/"))  # also in a path that holds a URL
