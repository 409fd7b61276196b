"""An HTTP request, as a handler sees it (RFC 9112 section 3), and what is said of one that cannot be served."""

from __future__ import annotations

import re
import time
from collections.abc import Callable
from typing import Any, Protocol
from urllib.parse import parse_qsl, unquote

from .._base.logs import Told
from .._base.printable import printable
from .._net.address import Address, say_peer
from .._net.transport import Transport
from ..errors import HandshakeError
from .cookies import parse_cookies
from .headers import Headers, HeaderSource

# RFC 9112 section 3.2: path and query of a target; before them, in the absolute form, scheme and host.
_ABSOLUTE_FORM = re.compile(r"https?://(?P<host>[^/?#@]+)(?P<rest>[/?].*)?", re.IGNORECASE)
_ORIGIN_FORM = re.compile(r"(?P<path>/[^?#]*)(?:\?(?P<query>[^#]*))?")

#: What looks like the name of a parameter, and not like a token that stands without one.
_NAME = re.compile(r"[\w.\-]{1,16}", re.ASCII)

# RFC 3986 section 3.2.2, without asking what stands where; may be empty (RFC 9110 section 7.2).
_HOST = re.compile(r"[-A-Za-z0-9._~!$&'()*+,;=%:\[\]]*")


class BadRequest(Exception):
    """A request that cannot be served: ``status`` is what to answer, ``str()`` says why; ``advice`` is for the log.

    400 malformed, 408 too slow, 413 the body is too large, 431 the head is, 501 not implemented, 505 HTTP version.
    It never leaves the library's server, which answers it.
    """

    def __init__(self, status: int, message: str, advice: str = "") -> None:
        super().__init__(message)
        self.status = status
        self.advice = advice


class Hijacker(Protocol):
    """The connection of a request, which can be taken over (Go's http.Hijacker)."""

    @property
    def taken_over(self) -> bool:
        """Whether another protocol has the connection now."""

    def take_over(self) -> tuple[Transport, bytes]:
        """The transport, which is the caller's from now on, and what the peer sent after the request."""

    def read_body(self, limit: int, deadline: float | None) -> bytes:
        """See `Request.body`."""


class Request(Told):
    """An HTTP request (RFC 9112 section 3).

    * ``method``, ``target``: as they came; ``path``: that of the target, percent-decoded as UTF-8, ``*`` for
      ``OPTIONS *``; ``query_string``: as it came, without the question mark; ``http_version``: "1.1" or "1.0";
    * ``headers``: see `Headers`; values are decoded as Latin-1;
    * ``scheme``: "http" or "https"; ``remote_address``, ``local_address``: as the socket gives them;
    * ``exchange``: what an Upgrader takes over, None for a request whose connection cannot be;
    * ``environ``: of a request that a WSGI server gave to an application, PEP 3333's; else None;
    * ``conn``, ``refusal``: until the handler returns, the Conn it was upgraded to, or the HandshakeError; else None;
    * ``on_upgrade``, ``on_refusal``: the server's; called with the Conn, or with why its handshake was refused;
    * ``on_over``: called once its handler is done, or None; it must not raise;
    * ``then``: what the connection's own thread calls once the WSGI application has returned, or None.

    Raises ValueError for a target or a Host that HTTP does not allow. For one thread at a time.
    """

    __slots__ = (
        "_authority",
        "_data",
        "conn",
        "environ",
        "exchange",
        "headers",
        "http_version",
        "local_address",
        "method",
        "on_over",
        "on_refusal",
        "on_upgrade",
        "path",
        "query_string",
        "refusal",
        "remote_address",
        "scheme",
        "target",
        "then",
    )

    def __init__(
        self,
        method: str,
        target: str,
        headers: HeaderSource | None = None,
        *,
        http_version: str = "1.1",
        scheme: str = "http",
        remote_address: Address = "",
        local_address: Address = "",
        exchange: Hijacker | None = None,
        environ: dict[str, Any] | None = None,
    ) -> None:
        self.method = method
        self.target = target
        self._authority, raw_path, self.query_string = _split_target(method, target)
        self.path = unquote(raw_path)
        self.headers = headers if isinstance(headers, Headers) else Headers(headers)
        self.http_version = http_version
        self.scheme = scheme
        self.remote_address = remote_address
        self.local_address = local_address
        self.exchange = exchange
        self.environ = environ
        self.then: Callable[[], None] | None = None
        self.conn: Any = None  # a Conn, which is of a higher floor
        self.refusal: HandshakeError | None = None
        self.on_upgrade: Callable[[Any], object] | None = None
        self.on_refusal: Callable[[str], object] | None = None
        self.on_over: Callable[[], object] | None = None
        self._data: dict[str, Any] | None = None
        if not _HOST.fullmatch(self.host):
            raise ValueError("the Host header is not a host")

    def log_fields(self) -> dict[str, object]:
        """What records of the log say of it: `path` and `remote_address`, escaped."""
        return {"path": printable(self.raw_path), "remote_address": say_peer(self.remote_address)}

    @property
    def host(self) -> str:
        """Host and port that the client asked for: of an absolute target, else the Host header, which may be empty."""
        return self.headers.get("Host", "") if self._authority is None else self._authority

    @property
    def raw_path(self) -> str:
        """The target's path as it came, percent-encoded."""
        return _split_target(self.method, self.target)[1]

    @property
    def query(self) -> dict[str, str]:
        """The parameters of the query string, decoded. Of one that is repeated, the first value."""
        query: dict[str, str] = {}
        for name, value in parse_qsl(self.query_string, keep_blank_values=True):
            query.setdefault(name, value)
        return query

    @property
    def cookies(self) -> dict[str, str]:
        """The cookies of every Cookie line, decoded. Of one that is repeated, the first, which is more specific."""
        return parse_cookies(self.headers.get_all("Cookie"))

    @property
    def data(self) -> dict[str, Any]:
        """A place for the application's own data: who logged in, what a hook found out."""
        if self._data is None:
            self._data = {}
        return self._data

    @property
    def has_body(self) -> bool:
        """Whether the head announces a body, read or not."""
        return "Transfer-Encoding" in self.headers or self.headers.get("Content-Length", "0").strip("0") != ""

    def body(self, limit: int = 1 << 20, timeout: float | None = 30.0) -> bytes:
        """The whole body, b"" if there is none; the first call reads it, later ones give it again.

        It may have at most limit bytes (else 413), and has to arrive within timeout seconds in all (else 408; None: no
        limit). Raises BadRequest, also when the connection is lost meanwhile; the server answers it if it leaves the
        handler. After a 413 or 408 what has come is kept, so a later call with a larger limit or more time goes on.
        """
        if self.exchange is None:
            return b""
        return self.exchange.read_body(limit, None if timeout is None else time.monotonic() + timeout)

    def _break_circles(self) -> None:
        """Its handler is done: drop what refers back to it, which only the garbage collector could free otherwise."""
        over = self.on_over
        self.conn = self.refusal = self.on_upgrade = self.on_refusal = self.on_over = self.then = None
        if over is not None:
            over()

    def __str__(self) -> str:
        """Method and path, for a log line. Without the query, which may hold a token."""
        return f"{printable(self.method, 20)} {printable(self.raw_path)}"

    def __repr__(self) -> str:
        return f"<Request {self}{'?' if self.query_string else ''}{_names_in(self.query_string)}>"


def _split_target(method: str, target: str) -> tuple[str | None, str, str]:
    """Host (of an absolute target only), path and query string of a request target. Raises ValueError."""
    if target == "*" and method == "OPTIONS":
        return None, target, ""
    host = None
    if absolute := _ABSOLUTE_FORM.fullmatch(target):
        host = absolute["host"]
        target = absolute["rest"] or "/"
        target = target if target.startswith("/") else f"/{target}"
    parts = _ORIGIN_FORM.fullmatch(target)
    if parts is None:
        raise ValueError("the request's target is neither a path nor a URL of this server")
    return host, parts["path"], parts["query"] or ""


def _names_in(query: str) -> str:
    """The names of a query's parameters, without their values; and without what is too long to be a name."""
    names = [item.partition("=") for item in query[:1000].split("&")[:10] if item]
    return "&".join(
        f"{name if _NAME.fullmatch(name) else '...'}{'=...' if equals else ''}" for name, equals, _ in names
    )
