"""Through a proxy: how it is asked to open a tunnel.

    open_http_tunnel                  CONNECT, over a transport to the proxy (RFC 9110 section 9.3.6)
    open_socks_tunnel                 SOCKS5 (RFC 1928), by the library python-socks

A proxy sees where the connection goes, and under wss nothing of what it carries. A ws URL gets a tunnel too: proxies
that forward requests do not forward upgrades.
"""

from __future__ import annotations

import base64
import re
from collections.abc import Iterable
from http import HTTPStatus
from typing import Any

from .._base.printable import printable
from .._base.version import __version__
from .._http.headers import Headers
from .._http.httpclient import BadAnswer, Exchange, ReceivedResponse
from .._http.url import ProxyURL
from .._net.attempt import Attempt
from .._net.transport import Transport
from ..errors import ProxyError

USER_AGENT = f"syncws/{__version__}"

_STEP = "connecting through the proxy"

#: A way of logging in, in a list of them: what begins an element and is not the name of a parameter.
_SCHEME = re.compile(r"(?:^|,)[ \t]*+([A-Za-z][A-Za-z0-9\-]*+)(?![ \t]*+=)")
_QUOTED = re.compile(r'"(?:[^"\\]|\\.)*+"')

#: Replies of SOCKS after which the next attempt may succeed (RFC 1928 section 6): a general failure, and a network or a
#: host that cannot be reached, or not yet.
_TEMPORARY_REPLIES = (1, 3, 4, 5, 6)


def open_http_tunnel(
    transport: Transport, proxy: ProxyURL, destination: str, headers: Headers, attempt: Attempt
) -> bytes:
    """Ask an HTTP proxy for a tunnel to destination ("host:port"). Returns the bytes that came after its 2xx.

    Credentials go only to the proxy that the URL names. Raises ProxyError for every answer except a 2xx; TimeoutError;
    OSError; Stopped.
    """
    fields = [("Host", destination)]
    if "User-Agent" not in headers:
        fields.append(("User-Agent", USER_AGENT))
    if proxy.username is not None and "Proxy-Authorization" not in headers:
        credentials = f"{proxy.username}:{proxy.password}".encode()
        fields.append(("Proxy-Authorization", f"Basic {base64.b64encode(credentials).decode()}"))
    exchange = Exchange(transport, attempt)
    try:
        answer = exchange.ask("CONNECT", destination, [*fields, *headers])
    except BadAnswer as error:
        refusal = ProxyError(f"no tunnel through the proxy {proxy}: {error}", 0, Headers())
        # A connection that ended says so by its cause, an OSError: the next attempt may get an answer.
        raise refusal from (ConnectionResetError(str(error)) if error.cut else None)
    if not 200 <= answer.status <= 299:
        raise ProxyError(_say_refusal(proxy, destination, headers, answer), answer.status, answer.headers)
    return exchange.trailing


def _say_refusal(proxy: ProxyURL, destination: str, headers: Headers, answer: ReceivedResponse) -> str:
    told = f"the proxy {proxy} opens no tunnel to {destination}: {answer}"
    if answer.status != HTTPStatus.PROXY_AUTHENTICATION_REQUIRED:
        return told
    if "Proxy-Authorization" in headers:
        return f"{told}; it does not accept the Proxy-Authorization of proxy_headers"
    schemes = _schemes(answer.headers.get_all("Proxy-Authenticate"))
    if schemes and "basic" not in map(str.lower, schemes):
        return (
            f"{told}; it asks for {printable(' or '.join(schemes), 80)}, which syncws does not speak: use a proxy that "
            "takes Basic, such as one on this machine that logs in for you, or give proxy_headers a Proxy-Authorization"
        )
    if proxy.username is None:
        return f'{told}; it wants credentials: proxy="http://user:password@host:port"'
    return f"{told}; it does not accept the credentials in the proxy's URL"


def _schemes(lines: Iterable[str]) -> list[str]:
    """The ways of logging in that an answer offers, each once (RFC 9110 section 11.6.1)."""
    found = (match[1] for line in lines for match in _SCHEME.finditer(_QUOTED.sub('""', line)))
    return list(dict.fromkeys(found))


def open_socks_tunnel(transport: Transport, proxy: ProxyURL, host: str, port: int, attempt: Attempt) -> None:
    """Ask a SOCKS5 proxy for a tunnel to the host and port, over a transport to the proxy.

    The proxy looks the host up, under both schemes (socks5 and socks5h), as in Go. Raises ProxyError if it refuses;
    ImportError, which says what to install; TimeoutError; OSError; Stopped.
    """
    socks = _import_socks()
    way = _TransportAsSocket(transport, attempt)
    client = socks.sync.Proxy(
        socks.ProxyType.SOCKS5,
        proxy.host,
        proxy.port,
        proxy.username or "",
        proxy.password,
        rdns=True,
        forward=way,
    )
    try:
        client.connect(host, port)
    except (socks.ProxyError, socks.ProxyTimeoutError, UnicodeDecodeError) as error:  # the last: a bad name in it
        attempt.remaining(_STEP)  # raises TimeoutError or Stopped, if that is what the library has turned into its own
        told = f"the proxy {proxy} opens no tunnel to {host}:{port}: {printable(error)}"
        temporary = way.ended or getattr(error, "error_code", None) in _TEMPORARY_REPLIES
        raise ProxyError(told, 0, Headers()) from (ConnectionError(told) if temporary else None)


class _TransportAsSocket:
    """Our transport, for python-socks: it is taken for one more proxy in front, and for the socket to that proxy.

    python-socks alone has a timeout for each wait, and the attempt has one limit for all of them together. And a thread
    that waits in the transport is woken by `Attempt.stop`.
    """

    def __init__(self, transport: Transport, attempt: Attempt) -> None:
        self._transport = transport
        self._attempt = attempt
        self.ended = False  # the proxy has ended the connection

    def connect(self, dest_host: str, dest_port: int, timeout: float | None) -> _TransportAsSocket:
        return self

    def sendall(self, data: bytes) -> None:
        self._attempt.remaining(_STEP)
        self._transport.send(data, deadline=self._attempt.deadline)

    def recv(self, size: int) -> bytes:
        while True:
            data = self._transport.receive(size, self._attempt.remaining(_STEP))
            if data is not None:
                self.ended = not data
                return data

    def close(self) -> None:
        """Do nothing: the caller of `open_socks_tunnel` closes the transport."""


def _import_socks() -> Any:
    try:
        import python_socks
        import python_socks.sync
    except ImportError as error:
        raise ImportError("a SOCKS proxy needs python-socks: pip install 'syncws[socks]'") from error
    return python_socks
