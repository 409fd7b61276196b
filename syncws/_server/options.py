"""What can be set on a `Server`, except where it listens: one record, checked once, when it is made."""

from __future__ import annotations

import inspect
import os
import socket
import ssl
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any, TypedDict

from .._base.callables import check_callable, check_plain
from .._base.options import check_count, check_integer, check_timeout, check_unix_path, check_wait
from .._base.printable import printable_repr
from .._http.hosts import AllowedHosts
from .._http.request import Request
from .._http.response import Response
from .._net.listener import check_listener
from .cores import Pin, check_workers
from .gateway import Application
from .health import check_path

Handler = Callable[[Request], Response | None]


@dataclass(frozen=True, kw_only=True)
class ServerOptions:
    """The options of a Server, which documents them and has their defaults. Immutable.

    Raises TypeError or ValueError, naming the option, for a value that cannot work.
    """

    handler: Handler | None
    unix_path: str | os.PathLike[str] | None
    ssl_context: ssl.SSLContext | None
    listener: socket.socket | None
    max_connections: int | None
    max_connections_per_address: int | None
    client_address: Callable[[Request], str | None] | None
    max_handshakes: int | None
    health_path: str | None
    ready_path: str | None
    handshake_timeout: float | None
    keep_alive_timeout: float | None
    max_head_size: int
    max_headers: int
    allowed_hosts: Sequence[str] | None
    shutdown_timeout: float
    drain_seconds: float | None
    workers: int
    pin: Pin
    wsgi_app: Application | None
    max_body_size: int | None
    body_timeout: float | None
    answer_timeout: float | None

    def __post_init__(self) -> None:
        _check_application(self.handler, self.wsgi_app)
        _check_place(self.unix_path, self.listener)
        _check_ssl_context(self.ssl_context)
        check_count("max_connections", self.max_connections)
        check_count("max_connections_per_address", self.max_connections_per_address)
        _check_client_address(self.client_address, self.max_connections_per_address)
        check_integer("max_handshakes", self.max_handshakes, 1, none="a quarter of max_connections, at least 64")
        check_path("health_path", self.health_path)
        check_path("ready_path", self.ready_path)
        if self.ready_path is not None and self.ready_path == self.health_path:
            raise ValueError(f"health_path and ready_path are two paths, not both {self.health_path!r}")
        check_timeout("handshake_timeout", self.handshake_timeout)
        check_timeout("keep_alive_timeout", self.keep_alive_timeout)
        check_integer("max_head_size", self.max_head_size, 1)
        check_integer("max_headers", self.max_headers, 1)
        object.__setattr__(self, "allowed_hosts", self.hosts.entries)
        check_wait("shutdown_timeout", self.shutdown_timeout)
        if self.drain_seconds is not None:
            check_wait("drain_seconds", self.drain_seconds)
        check_workers(self.workers, self.pin)
        check_integer("max_body_size", self.max_body_size, 0, none="no limit")
        check_timeout("body_timeout", self.body_timeout)
        check_timeout("answer_timeout", self.answer_timeout)

    @cached_property
    def hosts(self) -> AllowedHosts:
        """The allowed hosts, made and checked with these options."""
        return AllowedHosts(self.allowed_hosts)


class ServeKeywords(TypedDict, total=False):
    """The options of `serve` that it hands on to its Server; see `ConnKeywords`."""

    unix_path: str | os.PathLike[str] | None
    ssl_context: ssl.SSLContext | None
    listener: socket.socket | None
    max_connections: int | None
    max_connections_per_address: int | None
    client_address: Callable[[Request], str | None] | None
    max_handshakes: int | None
    health_path: str | None
    ready_path: str | None
    handshake_timeout: float | None
    keep_alive_timeout: float | None
    max_head_size: int
    max_headers: int
    allowed_hosts: Sequence[str] | None
    shutdown_timeout: float
    drain_seconds: float | None
    workers: int
    pin: Pin


def _check_application(handler: object, wsgi_app: object) -> None:
    if wsgi_app is None:
        if not callable(handler):
            raise TypeError(
                f"handler must be a callable that takes a Request, not {handler!r}; for a WSGI application: wsgi_app="
            )
        check_plain("handler", handler)
        check_takes_one("handler", handler, "a Request")
        return
    if handler is not None:
        raise ValueError(
            "handler and wsgi_app exclude each other: leave handler out, the application has its own views"
        )
    check_callable(
        "wsgi_app", wsgi_app, "must be a WSGI application: a callable(environ, start_response)", may_yield=True
    )


def check_takes_one(name: str, handler: Callable[..., object], given: str) -> None:
    """Raise TypeError for a callable that cannot be called with one argument, such as a WSGI application.

    One that does not tell what it takes is taken as it is.
    """
    try:
        signature = inspect.signature(handler)
    except (TypeError, ValueError):
        return
    try:
        signature.bind(None)
    except TypeError:
        taken = ", ".join(signature.parameters)
        raise TypeError(
            f"{name} is called with {given} alone, and {printable_repr(handler, 80)} takes ({taken}); a WSGI "
            "application is Server(wsgi_app=...)"
        ) from None


def _check_client_address(client_address: Any, most: int | None) -> None:
    if client_address is None:
        return
    check_callable("client_address", client_address, "is a callable(request) that returns an address, or None")
    if most is None:
        raise ValueError("client_address counts for max_connections_per_address only: give that, too")


def _check_place(unix_path: Any, listener: Any) -> None:
    if unix_path is not None and listener is not None:
        raise ValueError("listener and unix_path exclude each other: a listener is already bound")
    if unix_path is not None:
        check_unix_path(unix_path)
    if listener is not None:
        check_listener(listener)


def _check_ssl_context(context: Any) -> None:
    if context is None:
        return
    if not isinstance(context, ssl.SSLContext):
        raise TypeError(f"ssl_context must be an ssl.SSLContext or None, not {context!r}")
    try:
        context.wrap_bio(ssl.MemoryBIO(), ssl.MemoryBIO(), server_side=True)
    except (ssl.SSLError, ValueError) as exc:  # else every connection would fail on it; ValueError: from 3.14 on
        raise ValueError(
            f"ssl_context is not for servers ({getattr(exc, 'reason', None) or exc}): make it with "
            "ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)"
        ) from None
