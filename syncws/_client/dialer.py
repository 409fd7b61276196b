"""From a URL to a WebSocket connection: the client's half of the opening handshake (RFC 6455 section 4.1).

    Dialer.dial                 one attempt, one deadline over all of it
      parse_server_url          where to
      Route                     where else to, if redirects are followed (`redirects`); for each place:
        _request                what is asked; every mistake of the caller shows here, before anything is connected
        _connect_hop            a transport to the first hop, the server or its proxy: TCP or a Unix socket
        _reach_server           from there to the server: TLS, and through a proxy a tunnel (`proxy`)
        Exchange.ask            the request and the answer
        check_answer            what the answer must say; else BadHandshakeError, with the answer in it (`answer`)
        _conn_of                the Conn; or, for who calls `_open_within`, what that makes of it (`Opened`)

The transport belongs to `dial` until the `Conn` has it: any failure before that closes it.
"""

from __future__ import annotations

import http.cookiejar
import os
import socket
import ssl
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace
from typing import TypeVar, Unpack

from .._base.callables import check_callable, check_done, check_plain
from .._base.options import check_integer, check_timeout, check_unix_path
from .._base.owners import explains_options, takes_options
from .._conn import wiretrace
from .._conn.conn import Conn
from .._conn.subject import new_id
from .._frames.agreement import Agreement, offer
from .._http import handshake
from .._http.handshake import HandshakeKeywords, HandshakeOptions
from .._http.headers import Headers, HeaderSource, checked_headers
from .._http.httpclient import BadAnswer, Exchange, ReceivedResponse
from .._http.url import ProxyURL, ServerURL, bracketed, parse_proxy_url, parse_server_url
from .._net.attempt import Attempt, Stopped
from .._net.connector import connect_tcp, connect_unix
from .._net.tls import TLSTransport
from .._net.transport import Transport
from ..errors import BadHandshakeError, HandshakeError
from .answer import check_answer
from .cookies import cookies_for, store_cookies
from .environment import proxy_from_environment
from .hops import agree_on_tls, check_hostname, checked_socket, checked_transport, default_context
from .proxy import USER_AGENT, open_http_tunnel, open_socks_tunnel
from .redirects import Route

#: Headers of the handshake itself (as in gorilla), and those that announce a body.
_RESERVED = frozenset(
    {
        "connection",
        "content-length",
        "sec-websocket-extensions",
        "sec-websocket-key",
        "sec-websocket-version",
        "transfer-encoding",
        "upgrade",
    }
)

#: Options that are None or of one type.
_KINDS = {
    "ssl_context": ssl.SSLContext,
    "proxy_ssl_context": ssl.SSLContext,
    "server_hostname": str,
    "cookie_jar": http.cookiejar.CookieJar,
}

T = TypeVar("T")

NetDial = Callable[[str, int, float | None], socket.socket]
NetDialTLS = Callable[[str, int, float | None], TLSTransport]


@dataclass(frozen=True)
class Opened:
    """A connection that both sides have agreed on, and of which nothing is made yet. Immutable."""

    transport: Transport
    server: ServerURL
    request: Headers
    response: ReceivedResponse
    early_data: bytes  # what came after the answer
    agreement: Agreement | None
    subprotocol: str | None


@takes_options
@dataclass(frozen=True, kw_only=True)
class Dialer(HandshakeOptions):
    """Connects to WebSocket servers (gorilla's Dialer).

    A Dialer is immutable: make one, use it from any thread, for any number of connections. Every field of
    HandshakeOptions and ConnOptions (``enable_compression``, ``read_limit``, ``ping_interval``, ...; see there) is an
    option too. The others are:

    Args:
        handshake_timeout: seconds that the whole of `dial` may take: name lookup, connecting, proxy, TLS and HTTP;
            None for no limit. 45 by default, as in gorilla.
        subprotocols: the names this client speaks, the one it prefers first.
        ssl_context: for wss; by default ``ssl.create_default_context()``, which trusts the system's authorities,
            with ``ssl.OP_NO_RENEGOTIATION``: one of your own needs that where a server renegotiates TLS 1.2.
        server_hostname: the name that the server's certificate must be for; by default the URL's host.
        proxy: the URL of a proxy (http, https, socks5, socks5h); or a callable that gets the server's URL and returns
            one, or None; or None: connect directly. By default what the environment says: `proxy_from_environment`.
        proxy_headers: further headers for the proxy's CONNECT.
        proxy_ssl_context: for an https proxy; by default as for ssl_context.
        unix_path: connect to the Unix socket of this path; the URL tells the rest ("ws://localhost/feed"), and no
            proxy is used.
        cookie_jar: its cookies for the URL (as http or https) are sent, and those of every answer are stored in it. If
            `dial` is given a Cookie header, that one is sent instead.
        max_redirects: how many redirects `dial` follows (301, 302, 303, 307, 308); 0: none. None is followed from wss
            to ws. To another scheme, host or port no credentials go: not the URL's user and password, and of the
            headers that `dial` was given only User-Agent, Origin, Accept, Accept-Language and Sec-WebSocket-Protocol.
            cookie_jar goes by its own rules; server_hostname is for the host of the URL alone; ssl_context is for every
            server, with a client's certificate if it has one.
        net_dial: connects a TCP socket in place of this library: ``net_dial(host, port, timeout) -> socket``; timeout
            is the seconds that are left, or None. Where a proxy is used, it gets the proxy's host and port.
        net_dial_tls: connects, and performs the TLS handshake, in place of this library, where the first hop speaks TLS
            (the server of a wss URL, or an https proxy): ``net_dial_tls(host, port, timeout) -> TLSTransport``.

    Raises:
        ValueError, TypeError: an option is wrong; the message names it and says what to write instead.
    """

    handshake_timeout: float | None = 45.0
    subprotocols: Sequence[str] = field(default=(), repr=False)  # one may be a token
    ssl_context: ssl.SSLContext | None = None
    server_hostname: str | None = None
    # Not in the repr, as the cookie jar: they may hold credentials.
    proxy: str | Callable[[str], str | None] | None = field(default=proxy_from_environment, repr=False)
    proxy_headers: HeaderSource | None = field(default=None, repr=False)
    proxy_ssl_context: ssl.SSLContext | None = None
    unix_path: str | os.PathLike[str] | None = None
    cookie_jar: http.cookiejar.CookieJar | None = field(default=None, repr=False)
    max_redirects: int = 0
    net_dial: NetDial | None = None
    net_dial_tls: NetDialTLS | None = None

    def __post_init__(self) -> None:
        super().__post_init__()
        for name, kind in _KINDS.items():
            value = getattr(self, name)
            if not (value is None or isinstance(value, kind)):
                raise TypeError(f"{name} must be {kind.__name__} or None, not {type(value).__name__}")
        for name in ("net_dial", "net_dial_tls"):
            if getattr(self, name) is not None:
                check_callable(name, getattr(self, name), "must be a callable (host, port, timeout), or None")
        check_hostname(self.server_hostname)
        check_integer("max_redirects", self.max_redirects, 0)
        if isinstance(self.proxy, str):
            parse_proxy_url(self.proxy)
        elif callable(self.proxy):
            check_plain("proxy", self.proxy)
        elif self.proxy is not None:
            raise TypeError(
                f"proxy must be a URL, a callable that returns one, or None, not {type(self.proxy).__name__}"
            )
        if self.unix_path is not None:
            check_unix_path(self.unix_path)
            self._check_unix_alone()
        # Copies, so that the Dialer stays as it is when the caller changes these lists later.
        object.__setattr__(self, "subprotocols", handshake.checked_subprotocols(self.subprotocols))
        object.__setattr__(self, "proxy_headers", _headers_from("proxy_headers", self.proxy_headers))
        for name in ("Host", "Content-Length", "Transfer-Encoding"):
            if name in self.proxy_headers:  # type: ignore[operator]
                raise ValueError(
                    f"proxy_headers must not have {name}: the library makes that part of the CONNECT request"
                )

    def _check_unix_alone(self) -> None:
        for name in ("net_dial", "net_dial_tls"):
            if getattr(self, name) is not None:
                raise ValueError(f"unix_path and {name} exclude each other: both say where to connect")
        if isinstance(self.proxy, str):
            raise ValueError("unix_path and proxy exclude each other: no proxy leads to a Unix socket")

    @explains_options
    def dial(self, url: str, headers: HeaderSource | None = None, *, timeout: float | None = None) -> Conn:
        """Connect to a server, and return the connection (gorilla's Dial). ``conn.response`` is the server's answer.

        Redirects are followed if ``max_redirects`` says so; handshake_timeout is for all of it together.

        Args:
            url: ``ws://host:port/path?query``, or wss. Characters that no URL may have are percent-encoded in path and
                query. User and password before the host ("wss://user:password@host/", each percent-encoded) become a
                Basic Authorization header, unless headers has that one; no text shows them.
            headers: further headers for the request, such as Authorization, Origin, or Host (which changes that header
                and nothing else). Headers of the handshake itself and of a body are refused; so is
                Sec-WebSocket-Protocol, if the Dialer has subprotocols.
            timeout: seconds that the whole of it may take, in place of handshake_timeout.

        Returns:
            A connection that is open. It is the caller's to close, best in a ``with`` block.

        Raises:
            BadHandshakeError: the server did not agree to a WebSocket (RFC 6455 section 4.1). ``response`` is its
                answer; None if it gave no answer, or one that is not HTTP/1.1.
            ProxyError: the proxy opened no tunnel; it has the ``status`` and ``headers`` of the proxy's answer. Or the
                environment names a proxy that cannot be used: ``status`` is 0 then.
            OSError: the server or the proxy could not be reached (socket.gaierror, ConnectionRefusedError,
                ssl.SSLError, ...), or the connection to it broke. TimeoutError: the time was over.
            ValueError, TypeError: an argument, or the URL of the proxy, is invalid; nothing has been connected then.
                Only a TypeError about what net_dial or net_dial_tls returned comes later. (An
                ssl.SSLCertVerificationError is a ValueError as well as an OSError.)
            ImportError: the proxy speaks SOCKS, and python-socks is not installed.

        What one of the Dialer's callables raises is raised unchanged. After a failure nothing is left open.
        """
        check_timeout("timeout", timeout)
        return self.dial_within(Attempt(self.handshake_timeout if timeout is None else timeout), url, headers)

    def dial_within(self, attempt: Attempt, url: str, headers: HeaderSource | None = None) -> Conn:
        """`dial` of url and headers, as an attempt that another thread may stop. Raises Stopped once it was stopped."""
        return self._open_within(attempt, url, headers, self._conn_of)

    def _open_within(self, attempt: Attempt, url: str, headers: HeaderSource | None, make: Callable[[Opened], T]) -> T:
        """`dial_within`, for a caller that has no use for a Conn: returns what make returns, whose the transport is."""
        server = parse_server_url(url)
        route = Route(
            server,
            self.check_headers(headers),
            self.max_redirects,
            circles=self.cookie_jar is not None,
            one_server=self.unix_path is not None,
        )
        while True:
            # The name that a certificate must be for says nothing of another host.
            dialer = replace(self, server_hostname=None) if route.elsewhere and self.server_hostname else self
            try:
                return dialer._open_once(attempt, route.server, route.headers, url, make)
            except (HandshakeError, OSError) as error:
                redirect = route.redirect_in(error)
                if redirect is None:
                    route.tell_way(error)
                    raise
            route.follow(redirect)
            url = route.server.url

    def _open_once(
        self, attempt: Attempt, server: ServerURL, headers: Headers, url: str, make: Callable[[Opened], T]
    ) -> T:
        """Dial one place. url is how it was written, for a callable that chooses a proxy."""
        request = self._request(server, headers)
        proxy = self._choose_proxy(url)
        hop = self._connect_hop(server, proxy, attempt)
        try:
            with attempt.interruptible(hop.shutdown):
                transport, received = self._reach_server(hop, server, proxy, attempt)
                return make(self._shake_hands(server, request, transport, Exchange(transport, attempt, received)))
        except BaseException as error:
            # Every layer of TLS is over the socket of the hop, which no other thread uses: only `Attempt.stop` knew it.
            hop.shutdown()
            hop.close()
            if attempt.stopped and isinstance(error, Exception):
                raise Stopped from error  # the error is only what the stop looked like to the code that was waiting
            if isinstance(error, OSError):
                error.add_note(f"this was on the way to {server}")  # the system, and OpenSSL, do not say
            raise

    def _shake_hands(self, server: ServerURL, request: Headers, transport: Transport, exchange: Exchange) -> Opened:
        try:
            response = exchange.ask("GET", server.target, request)
        except BadAnswer as error:
            refusal = BadHandshakeError(f"no WebSocket at {server}: {error}")
            if not (exchange.heard or server.secure):
                refusal.add_note("a server that expects TLS may close like this: write wss: instead of ws: then")
            # A connection that ended says so by its cause, an OSError: the next attempt may get an answer.
            raise refusal from (ConnectionResetError(str(error)) if error.cut else None)
        if self.cookie_jar is not None:
            store_cookies(self.cookie_jar, server, response)  # before the check, as in gorilla: a refusal sets some too
        try:
            terms = handshake.compression_terms(self) if self.enable_compression else None
            subprotocol, agreement = check_answer(server, request, response, terms=terms)
        except BadHandshakeError:
            _trace_heads(str(server), server, request, response, "remote_address")
            raise
        return Opened(transport, server, request, response, exchange.trailing, agreement, subprotocol)

    def _conn_of(self, opened: Opened) -> Conn:
        id = new_id()
        if wiretrace.is_on():
            _trace_heads(id, opened.server, opened.request, opened.response)
            wiretrace.trace(opened.transport, id, opened.early_data)  # before the connection is made: see Upgrader.open
        return Conn(
            opened.transport,
            client=True,
            options=self,
            early_data=opened.early_data,
            agreement=opened.agreement,
            compression_level=self.compression_level,
            compression_threshold=self.compression_threshold,
            subprotocol=opened.subprotocol,
            response=opened.response,
            id=id,
        )

    # What is asked

    def _request(self, server: ServerURL, extra: Headers) -> Headers:
        fields = [
            ("Host", extra.get("Host", server.authority)),
            ("User-Agent", extra.get("User-Agent", USER_AGENT)),
            ("Upgrade", "websocket"),
            ("Connection", "Upgrade"),
            ("Sec-WebSocket-Key", handshake.make_key()),
            ("Sec-WebSocket-Version", "13"),
        ]
        if self.subprotocols:
            fields.append(("Sec-WebSocket-Protocol", ", ".join(self.subprotocols)))
        if self.enable_compression:
            fields.append(("Sec-WebSocket-Extensions", offer(handshake.compression_terms(self))))
        if "Authorization" not in extra and (authorization := server.authorization):
            fields.append(("Authorization", authorization))
        if "Cookie" not in extra and self.cookie_jar is not None and (cookies := cookies_for(self.cookie_jar, server)):
            fields += _headers_from("cookie_jar", {"Cookie": cookies})
        fields += [pair for pair in extra if pair[0].lower() not in ("host", "user-agent")]
        return Headers(fields)

    def check_headers(self, source: HeaderSource | None) -> Headers:
        """The headers that `dial` was given as source.

        Raises ValueError or TypeError if one is invalid, or is set by the library. Names are compared without regard
        to case; gorilla notices only its own spelling.
        """
        extra = _headers_from("headers", source)
        for name, _value in extra:
            if name.lower() in _RESERVED:
                raise ValueError(f"headers: {name} is set by the library{_option_for(name)}")
        if self.subprotocols and "Sec-WebSocket-Protocol" in extra:
            raise ValueError(
                "headers: Sec-WebSocket-Protocol is what subprotocols of the Dialer is for: give only one of them"
            )
        for name in ("Host", "User-Agent"):
            if len(extra.get_all(name)) > 1:
                raise ValueError(f"headers: {name} is there twice")
        return extra

    # Where to

    def _choose_proxy(self, url: str) -> ProxyURL | None:
        if self.unix_path is not None or self.proxy is None:
            return None
        chosen = self.proxy(url) if callable(self.proxy) else self.proxy
        check_done("proxy", chosen)
        return None if chosen is None else parse_proxy_url(chosen)

    def _connect_hop(self, server: ServerURL, proxy: ProxyURL | None, attempt: Attempt) -> Transport:
        """A transport to the first hop, the server or the proxy. The TLS handshake, if there is one, comes later."""
        if self.unix_path is not None:
            return self._transport_over(connect_unix(os.fsdecode(self.unix_path), attempt), server, None)
        hop = proxy or server
        doing = f"connecting to {hop.host} port {hop.port}"
        if self.net_dial_tls is not None and _is_secure(server, proxy):
            return checked_transport(self.net_dial_tls(hop.host, hop.port, attempt.remaining(doing)))
        if self.net_dial is not None:
            sock = checked_socket(self.net_dial(hop.host, hop.port, attempt.remaining(doing)))
            return self._transport_over(sock, server, proxy)
        try:
            sock = connect_tcp(hop.host, hop.port, attempt)
        except OSError as error:
            if proxy is not None:
                error.add_note(f"this is the proxy on the way to {server}; proxy=None connects directly")
            raise
        return self._transport_over(sock, server, proxy)

    def _transport_over(self, sock: socket.socket, server: ServerURL, proxy: ProxyURL | None) -> Transport:
        """The transport to the first hop over a connected socket. If it cannot be made, the socket is closed."""
        try:
            if not _is_secure(server, proxy):
                return Transport(sock)
            if proxy is None:
                return self._tls_to(server, sock)
            context = self.proxy_ssl_context or default_context()
            return TLSTransport(sock, context, server_side=False, server_hostname=proxy.host)
        except BaseException:
            sock.close()
            raise

    def _tls_to(
        self, server: ServerURL, sock: socket.socket, early_data: bytes = b"", outer: TLSTransport | None = None
    ) -> TLSTransport:
        return TLSTransport(
            sock,
            self.ssl_context or default_context(),
            server_side=False,
            # Never what the Host header says. The zone of an IPv6 address is this machine's, no part of the name.
            server_hostname=self.server_hostname or server.host.partition("%")[0],
            early_data=early_data,
            outer=outer,
        )

    def _reach_server(
        self, hop: Transport, server: ServerURL, proxy: ProxyURL | None, attempt: Attempt
    ) -> tuple[Transport, bytes]:
        """From the first hop to the server: a transport that is ready for HTTP, and what came on it already."""
        agree_on_tls(hop, "ssl_context" if proxy is None else "proxy_ssl_context", attempt)
        if proxy is None:
            return hop, b""
        received = b""
        if proxy.scheme in ("http", "https"):
            destination = f"{bracketed(server.host)}:{server.port}"
            assert isinstance(self.proxy_headers, Headers)
            received = open_http_tunnel(hop, proxy, destination, self.proxy_headers, attempt)
        else:
            open_socks_tunnel(hop, proxy, server.host, server.port, attempt)
        if not server.secure:
            return hop, received
        outer = hop if isinstance(hop, TLSTransport) else None
        inner = self._tls_to(server, hop.socket, received, outer)
        agree_on_tls(inner, "ssl_context", attempt)
        return inner, b""


def _trace_heads(
    who: str, server: ServerURL, request: Headers, response: ReceivedResponse, field: str = "connection_id"
) -> None:
    """Tell the wire trace of a handshake, if there is one. `who` is the id of the connection, or what `field` says."""
    if wiretrace.is_on():
        wiretrace.tell_head(who, ">", f"GET {server.target.partition('?')[0]} HTTP/1.1", request, field)
        wiretrace.tell_head(who, "<", f"HTTP/{response.http_version} {response}", response.headers, field)


class DialerKeywords(HandshakeKeywords, total=False):
    """The options of a Dialer as keyword arguments; see `ConnKeywords`."""

    subprotocols: Sequence[str]
    ssl_context: ssl.SSLContext | None
    server_hostname: str | None
    proxy: str | Callable[[str], str | None] | None
    proxy_headers: HeaderSource | None
    proxy_ssl_context: ssl.SSLContext | None
    unix_path: str | os.PathLike[str] | None
    cookie_jar: http.cookiejar.CookieJar | None
    max_redirects: int
    net_dial: NetDial | None
    net_dial_tls: NetDialTLS | None


@takes_options
def dial(
    url: str, headers: HeaderSource | None = None, *, timeout: float | None = None, **options: Unpack[DialerKeywords]
) -> Conn:
    """Connect to a WebSocket server, and return the connection: `Dialer.dial`, of a Dialer with these options.

    ``syncws.dial("wss://example.com/feed", subprotocols=["v1"])``. For several connections with the same options make
    one Dialer.

    Args:
        url: as of `Dialer.dial`.
        headers: as of `Dialer.dial`.
        timeout: seconds, as of `Dialer.dial`.
        options: those of `Dialer`.

    Raises what `Dialer.dial` raises, and ValueError or TypeError for an option that is wrong.
    """
    return Dialer(**options).dial(url, headers, timeout=timeout)


def _is_secure(server: ServerURL, proxy: ProxyURL | None) -> bool:
    """Whether the first hop speaks TLS."""
    return server.secure if proxy is None else proxy.scheme == "https"


def _headers_from(name: str, source: HeaderSource | None) -> Headers:
    """The caller's headers. Raises TypeError or ValueError, which begins with name, for a header that is invalid."""
    try:
        return checked_headers(source)
    except (TypeError, ValueError) as error:
        raise type(error)(f"{name}: {error}") from None


def _option_for(name: str) -> str:
    """The end of an error about a reserved header: which option of the Dialer sets it, if there is one."""
    return {"sec-websocket-extensions": "; see enable_compression"}.get(name.lower(), "")
