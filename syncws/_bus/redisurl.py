"""Where Redis or Valkey is, and how to connect to it: from a URL, or from a client that an application has already.

    redis://[user:password@]host[:port][/db]       redis-py          rediss:// with TLS
    valkey://[user:password@]host[:port][/db]      valkey-py, else redis-py          valkeys:// with TLS
    unix://[user:password@]/path/to.sock[?db=0]
    redis+sentinel://[user:password@]host[:port],host[:port]/name[/db]     also rediss+, valkey+ and valkeys+sentinel

What stands behind a ``?`` are settings of redis-py's connection, such as ``ssl_ca_certs=/path/ca.pem``; the sentinels'
own are ``sentinel_username`` and ``sentinel_password``.
"""

from __future__ import annotations

import importlib
from dataclasses import dataclass, field
from typing import Any
from urllib.parse import SplitResult, parse_qs, unquote, urlencode, urlsplit

from .._base.extras import needs
from .._base.printable import printable

_FORMS = (
    "redis://host:6379/0, rediss:// (TLS), valkey://, valkeys://, unix:///path/to.sock?db=0, "
    "or redis+sentinel://host:26379,host:26379/name/0"
)

_PORT, _SENTINEL_PORT = 6379, 26379

_SECURE = frozenset({"rediss", "valkeys"})
_SCHEMES = frozenset({"redis", "valkey", "unix"}) | _SECURE

#: What is left out of a client's settings: its timeouts and retries would make a silent bus look like one that works,
#: the rest is about answers, which are read here as bytes of RESP2, or belongs to its pool.
_NOT_TAKEN = (
    *("socket_timeout", "socket_connect_timeout", "timeout", "retry", "retry_on_timeout", "retry_on_error"),
    *("health_check_interval", "protocol", "parser_class", "command_packer", "legacy_responses", "socket_read_size"),
    *("encoding", "encoding_errors", "decode_responses", "client_name", "redis_connect_func", "connection_pool"),
    *("event_dispatcher", "himport_registry", "max_connections", "valkey_connect_func"),
    *("cache", "client_cache", "cache_config", "cache_enabled", "cache_max_size", "cache_ttl", "cache_policy"),
    *("cache_deny_list", "cache_allow_list"),
    *("maint_notifications_config", "maint_notifications_pool_handler", "oss_cluster_maint_notifications_handler"),
    *("maintenance_state", "maintenance_notification_hash"),
    *("orig_host_address", "orig_socket_timeout", "orig_socket_connect_timeout"),
)


@dataclass(frozen=True)
class RedisSettings:
    """Where a server is, and how to connect to it; immutable.

    Attributes:
        package: "redis" or "valkey": whose client connects.
        connection_class: its class of connections.
        options: what that class is made with; of a server that sentinels name, without host and port.
        sentinels: where the sentinels are; (): there are none.
        service: the name that they know the server by.
    """

    package: str
    connection_class: Any
    options: dict[str, Any] = field(repr=False)
    sentinels: tuple[RedisSettings, ...] = ()
    service: str = ""

    @property
    def db(self) -> int:
        """The number of the database."""
        return int(self.options.get("db") or 0)

    @property
    def where(self) -> str:
        """Where the server is, for a sentence: without a password."""
        if self.sentinels:
            return f"{printable(self.service)} of the sentinels {', '.join(each.where for each in self.sentinels)}"
        if "path" in self.options:
            return printable(self.options["path"])
        return f"{printable(self.options.get('host', 'localhost'))}:{self.options.get('port', _PORT)}"

    def connection(self, timeout: float) -> Any:
        """A connection that is not connected yet, of RESP2: what it does fails at once, or after so many seconds."""
        retry = importlib.import_module(f"{self.package}.retry").Retry
        backoff = importlib.import_module(f"{self.package}.backoff").NoBackoff
        return self.connection_class(
            **self.options,
            socket_timeout=timeout,
            socket_connect_timeout=timeout,
            retry=retry(backoff(), 0),
            protocol=2,
        )


def settings_from(source: object) -> RedisSettings:
    """The settings of a URL, or of a client of redis-py or valkey-py, which is not used itself.

    Raises:
        TypeError: it is neither.
        ValueError: it names no server; the text has the fix.
        ModuleNotFoundError: the client for it is not installed; the text names the extra.
    """
    found = _from_url(source) if isinstance(source, str) else _from_client(source)
    try:
        for each in (found, *found.sentinels):
            each.connection(1.0)
    except Exception as error:  # the client's own, of several kinds: RedisError, TypeError, ValueError
        told = printable(str(error).partition("__init__() ")[2] or str(error), 300)
        raise ValueError(f"{_what(source)} has a setting that the client does not take: {told}") from None
    return found


# URLs


def _from_url(url: str) -> RedisSettings:
    scheme, separator, rest = url.partition("://")
    if not separator:
        raise ValueError(f"{_shown(url)} is no URL of Redis: give {_FORMS}")
    kind, plus, sentinel = scheme.partition("+")
    if kind not in _SCHEMES or (plus and (sentinel != "sentinel" or kind == "unix")):
        raise ValueError(f"the scheme {printable(scheme, 40)!r} is not known: give {_FORMS}")
    package = _package(valkey=kind.startswith("valkey"))
    if plus:
        return _from_sentinel_url(url, package, secure=kind in _SECURE)
    if kind == "unix":
        _check_unix(url)
        return _parsed(url, package, f"unix://{rest}")
    _check_host(url)
    return _parsed(url, package, f"{_scheme(package, kind in _SECURE)}://{rest}")


def _scheme(package: str, secure: bool) -> str:
    """As the client has it: redis-py knows none of valkey, and valkey-py others of redis."""
    return package + "s" * secure


def _package(*, valkey: bool) -> str:
    """Whose client is used: valkey-py for URLs of valkey, if it is there; either in place of the other."""
    wanted, other = ("valkey", "redis") if valkey else ("redis", "valkey")
    for name in (wanted, other):
        if _is_there(name):
            return name
    with needs(wanted, wanted):
        importlib.import_module(wanted)
    raise AssertionError("it was not there")  # pragma: no cover


def _is_there(name: str) -> bool:
    try:
        importlib.import_module(f"{name}.connection")
    except ModuleNotFoundError as error:
        if (error.name or "").partition(".")[0] != name:
            raise
        return False
    return True


def _parsed(url: str, package: str, plain: str) -> RedisSettings:
    """By the client's own parser, which knows what each setting is. plain: the URL as that parser takes it."""
    connections = importlib.import_module(f"{package}.connection")
    try:
        options = connections.parse_url(plain)
    except ValueError as error:
        raise ValueError(f"{_shown(url)}: {printable(str(error), 300)}") from None
    connection_class = options.pop("connection_class", connections.Connection)
    if "path" not in options:
        options.setdefault("host", "localhost")
        options.setdefault("port", _PORT)
    return RedisSettings(package, connection_class, _taken(options))


def _split(url: str) -> SplitResult:
    try:
        return urlsplit(url)
    except ValueError:  # its text may show the password
        scheme = printable(url.partition(":")[0], 80)
        raise ValueError(
            f"this {scheme} URL cannot be read: write other characters of user and password than letters and digits as "
            f"%XX (urllib.parse.quote), and an IPv6 address in brackets; give {_FORMS}"
        ) from None


def _check_unix(url: str) -> None:
    parts = _split(url)
    if (parts.netloc and not parts.netloc.endswith("@")) or len(parts.path) < 2:
        raise ValueError(f"{_shown(url)} has no path of a socket: give unix:///path/to.sock, with three slashes")
    _check_db(url, parse_qs(parts.query).get("db", ["0"])[0])


def _check_host(url: str) -> None:
    parts = _split(url)
    try:
        port = parts.port
    except ValueError:
        port = 0
    if port == 0:
        raise ValueError(f"{_shown(url)} has a port that is no number from 1 to 65535: leave it out for {_PORT}")
    if not parts.hostname:
        raise ValueError(f"{_shown(url)} names no host: give {parts.scheme}://host:{_PORT}/0")
    if "," in parts.netloc.rpartition("@")[2]:
        form = _FORMS.rpartition(" ")[2]
        raise ValueError(f"{_shown(url)} names several hosts: those of sentinels are given as {form}")
    _check_db(url, parse_qs(parts.query).get("db", [parts.path.strip("/") or "0"])[0])


def _check_db(url: str, text: str) -> int:
    if not (text.isascii() and text.isdigit()):
        raise ValueError(f"{_shown(url)} has the database {printable(text, 40)!r}: give its number, such as 0")
    return int(text)


def _from_sentinel_url(url: str, package: str, *, secure: bool) -> RedisSettings:
    parts = _split(url)
    credentials, _, hosts = parts.netloc.rpartition("@")
    name, _, database = parts.path.strip("/").partition("/")
    form = f"{parts.scheme}://host:{_SENTINEL_PORT},host:{_SENTINEL_PORT}/name/0"
    if not name:
        raise ValueError(f"{_shown(url)} does not name the master: give {form}")
    query = parse_qs(parts.query)
    own = {key: query.pop(f"sentinel_{key}")[0] for key in ("username", "password") if f"sentinel_{key}" in query}
    database = query.pop("db", [database or "0"])[0]
    # The server is as a URL of its own would have it: with the settings, and without a host, which the sentinels tell.
    plain = f"{_scheme(package, secure)}://{credentials}{'@' if credentials else ''}h/{_check_db(url, database)}"
    server = _parsed(url, package, f"{plain}?{urlencode(query, doseq=True)}")
    shared = {key: value for key, value in server.options.items() if key.startswith(("ssl_", "socket_"))}
    sentinels = tuple(
        RedisSettings(package, server.connection_class, {**shared, **own, "host": host, "port": port})
        for host, port in _hosts(url, hosts, form)
    )
    return RedisSettings(package, server.connection_class, _without_host(server.options), sentinels, unquote(name))


def _hosts(url: str, text: str, form: str) -> list[tuple[str, int]]:
    found = []
    for each in text.split(","):
        try:
            parts = urlsplit(f"//{each}")
            host, port = parts.hostname, parts.port or _SENTINEL_PORT
        except ValueError:
            host, port = None, 0
        if not host:
            raise ValueError(f"{_shown(url)}: {printable(each, 80)!r} is no host of a sentinel: give {form}")
        found.append((host, port))
    return found


# Clients


def _from_client(client: object) -> RedisSettings:
    pool = getattr(client, "connection_pool", None)
    package = type(client).__module__.partition(".")[0]
    if pool is None and hasattr(client, "master_for"):
        raise ValueError('a Sentinel knows several masters: give sentinel.master_for("name"), which is a client of one')
    if pool is None and hasattr(client, "nodes_manager"):
        raise ValueError("a client of a cluster has no one server: give the URL of any node, redis://host:port")
    if pool is None or not hasattr(pool, "connection_kwargs"):
        raise TypeError(
            f"a RedisBackplane takes a URL ({_FORMS}), or a Redis or Valkey client, not {printable(repr(client), 80)}"
        )
    if ".asyncio" in type(client).__module__:
        raise TypeError("the client is one of asyncio: give one that is not, or a URL")
    package = _package_of(pool.connection_class)
    options = _taken(pool.connection_kwargs)
    manager = getattr(pool, "sentinel_manager", None)
    if manager is None:
        return RedisSettings(package, pool.connection_class, options)
    if not getattr(pool, "is_master", True):
        raise ValueError("the client is one of replicas, which may not be told anything: give sentinel.master_for(...)")
    secure = any(each.__name__ == "SSLConnection" for each in pool.connection_class.__mro__)
    connections = importlib.import_module(f"{package}.connection")
    sentinels = tuple(
        RedisSettings(package, each.connection_pool.connection_class, _taken(each.connection_pool.connection_kwargs))
        for each in manager.sentinels
    )
    plain = connections.SSLConnection if secure else connections.Connection  # not one that asks the sentinels itself
    return RedisSettings(package, plain, _without_host(options), sentinels, pool.service_name)


def _package_of(connection_class: type) -> str:
    """redis or valkey: whose connections these are, also those of a class derived from one of theirs."""
    for each in connection_class.__mro__:
        package = each.__module__.partition(".")[0]
        if package in ("redis", "valkey"):
            return package
    raise TypeError(f"connections of {connection_class.__module__} are neither redis-py's nor valkey-py's: give a URL")


def _taken(options: dict[str, Any]) -> dict[str, Any]:
    """Settings without those that are set here, and with TCP's own probes, which find a peer that is gone."""
    taken = {key: value for key, value in options.items() if key not in _NOT_TAKEN}
    if "path" not in taken and taken.get("socket_keepalive") is None:
        taken["socket_keepalive"] = True
    return taken


def _without_host(options: dict[str, Any]) -> dict[str, Any]:
    return {key: value for key, value in options.items() if key not in ("host", "port")}


# Words


def _what(source: object) -> str:
    return _shown(source) if isinstance(source, str) else "the client"


def _shown(url: str) -> str:
    """A URL for a sentence, without its password."""
    scheme, separator, rest = url.partition("://")
    hidden = rest.rpartition("@")[2].partition("?")[0]
    return repr(printable(f"{scheme}{separator}{hidden}", 120))
