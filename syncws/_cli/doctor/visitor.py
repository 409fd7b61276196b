"""How a deployment is visited: as a client that connects, as one that does not wait, and as a plain HTTP client."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from dataclasses import dataclass, fields
from typing import Any

from ..._client.dialer import Dialer
from ..._conn.conn import Conn
from ..._http.headers import Headers
from ..._http.httpclient import BadAnswer, Exchange, ReceivedResponse
from ..._http.url import ServerURL, parse_server_url
from ..._net.attempt import Attempt
from ..._net.transport import Transport
from ...errors import BadHandshakeError


class Visitor(Dialer):
    """A Dialer that can do two things more, over the same way: through a proxy, TLS, or a Unix socket."""

    def dial_early(self, url: str, headers: Headers, frame: bytes) -> Conn:
        """Connect, and send a frame together with the handshake, which RFC 6455 section 4.1 tells clients not to do.

        Raises as `Dialer.dial`.
        """
        server = parse_server_url(url)
        request = self._request(server, self.check_headers(headers))
        attempt = Attempt(self.handshake_timeout)
        hop = self._connect_hop(server, self._choose_proxy(url), attempt)
        try:
            transport, received = self._reach_server(hop, server, self._choose_proxy(url), attempt)
            exchange = Exchange(_Eager(transport, frame), attempt, received)  # type: ignore[arg-type]
            return self._conn_of(self._shake_hands(server, request, transport, exchange))
        except BaseException:
            hop.shutdown()
            hop.close()
            raise

    def ask(self, url: str, headers: Headers) -> ReceivedResponse:
        """The answer to a plain GET. Raises OSError; BadHandshakeError if what comes is no HTTP."""
        server = parse_server_url(url)
        attempt = Attempt(self.handshake_timeout)
        hop = self._connect_hop(server, self._choose_proxy(url), attempt)
        try:
            transport, received = self._reach_server(hop, server, self._choose_proxy(url), attempt)
            given = [pair for pair in headers if pair[0].lower() != "host"]
            request = [("Host", headers.get("Host", server.authority)), ("Connection", "close"), *given]
            return Exchange(transport, attempt, received).ask("GET", server.target, request)
        except BadAnswer as error:
            raise BadHandshakeError(f"no HTTP at {server}: {error}") from None
        finally:
            hop.shutdown()
            hop.close()


class _Eager:
    """A transport that sends a frame in one piece with the first bytes that it is given."""

    def __init__(self, transport: Transport, frame: bytes) -> None:
        self._transport = transport
        self._frame = frame

    def send(self, head: bytes, deadline: float | None = None) -> None:
        self._transport.send(head + self._frame, deadline=deadline)
        self._frame = b""

    def __getattr__(self, name: str) -> Any:
        return getattr(self._transport, name)


@dataclass(frozen=True)
class Place:
    """The deployment that is looked at, and how it is reached.

    * ``url``; ``visitor``: whose options are those of the command line; ``headers``: those that it gives;
    * ``patience``: seconds that an answer is waited for.

    Immutable, so any thread may use it.
    """

    url: str
    visitor: Visitor
    headers: Headers
    patience: float

    @property
    def server(self) -> ServerURL:
        """The URL, taken apart."""
        return parse_server_url(self.url)

    @contextlib.contextmanager
    def connection(self, *headers: tuple[str, str], **options: Any) -> Iterator[Conn]:
        """A connection with further headers and options, which is cut at the end if nobody has closed it.

        Raises as `Dialer.dial`.
        """
        conn = self.visitor_with(**options).dial(self.url, self.headers_with(*headers))
        try:
            yield conn
        finally:
            conn.close(timeout=min(self.patience, 1.0))

    def headers_with(self, *more: tuple[str, str]) -> Headers:
        """The headers, of which each one in `more` takes the place of those of its name."""
        names = {name.lower() for name, _ in more}
        return Headers([*(pair for pair in self.headers if pair[0].lower() not in names), *more])

    def visitor_with(self, **options: Any) -> Visitor:
        """The visitor, with other options."""
        return visitor_from(self.visitor, **options)


def visitor_from(dialer: Dialer, **options: Any) -> Visitor:
    """A Visitor with the options of a Dialer, and others in their place."""
    given = {each.name: getattr(dialer, each.name) for each in fields(dialer) if each.init}
    return Visitor(**{**given, **options})
