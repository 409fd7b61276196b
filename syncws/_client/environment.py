"""Which proxy the environment, or the system's settings, name for a URL; as curl and Go read the same variables."""

from __future__ import annotations

import ipaddress
import os
import re
import urllib.request
from fnmatch import fnmatchcase
from urllib.parse import urlsplit

from .._http.headers import Headers
from .._http.url import parse_proxy_url, with_socks_named
from ..errors import ProxyError

_DEFAULT_PORTS = {"ws": 80, "http": 80, "wss": 443, "https": 443}

#: What stands between two hosts of no_proxy.
_BETWEEN = re.compile(r"[,\s]+")

#: A host of no_proxy, and its port if it has one; an IPv6 address without brackets has none.
_ITEM = re.compile(
    r"\[(?P<v6>[^\]]*)\](?::(?P<v6_port>\d{1,9}))?|(?P<host>[^:]*)(?::(?P<port>\d{1,9}))?|(?P<bare>.*:.*:.*)"
)


def proxy_from_environment(url: str) -> str | None:
    """The URL of the proxy for url, a ws or wss URL, or None: connect directly (gorilla's http.ProxyFromEnvironment).

    ``http_proxy`` is for ws, ``https_proxy`` for wss, and ``all_proxy`` for what has none of its own; the names may be
    in upper case, and "socks:" means socks5. Where no such variable is set, macOS and Windows are asked for their
    settings. ``no_proxy`` lists what is connected to directly, with commas or blanks between: names ("example.com" and
    ".example.com" are that name and all below it), patterns ("*.example.com", "10.*", and "*" for everything),
    addresses and networks ("10.0.0.0/8"), each with a port if it is meant for that port alone. This machine (localhost
    and loopback addresses) never needs a proxy. It is the default ``proxy`` of `Dialer`.

    Any thread may call it. Raises ValueError if the URL is malformed, and ProxyError, which names the variable, if that
    names what is no proxy, or one of a kind that syncws does not know.
    """
    parts = urlsplit(url)
    host = _plain(parts.hostname or "")
    proxies = urllib.request.getproxies()
    kind = "https" if parts.scheme in ("wss", "https") else "http"
    if not proxies.get(kind):
        kind = "all"
    proxy = proxies.get(kind, "").strip()
    if not proxy or _is_loopback(host) or _is_exempt(host, parts.port or _DEFAULT_PORTS.get(parts.scheme), proxies):
        return None
    return _checked(proxy if "://" in proxy else f"http://{proxy}", kind)


def _checked(proxy: str, kind: str) -> str:
    proxy = with_socks_named(proxy)
    try:
        parse_proxy_url(proxy)
    except ValueError as error:
        raise ProxyError(
            f"{_variable(kind)} cannot be used: {error}; set another, or give proxy=None to connect directly",
            0,
            Headers(),
        ) from None
    return proxy


def _variable(kind: str) -> str:
    """The name of the variable that was read, as it is written there; the one in lower case comes first."""
    names = [name for name in os.environ if name.lower() == f"{kind}_proxy" and os.environ[name]]
    found = sorted(names, key=str.islower)
    return f"the proxy of the environment variable {found[-1]}" if found else "the proxy of the system's settings"


def _is_loopback(host: str) -> bool:
    address = _address(host)
    return host == "localhost" if address is None else address.is_loopback


def _is_exempt(host: str, port: int | None, proxies: dict[str, str]) -> bool:
    if not urllib.request.getproxies_environment():  # the proxies are those of macOS or Windows, and so is the list
        return bool(urllib.request.proxy_bypass(host if port is None else f"{host}:{port}"))
    return any(_matches(host, port, item) for item in _BETWEEN.split(proxies.get("no", "")) if item)


def _matches(host: str, port: int | None, item: str) -> bool:
    """Whether a host of no_proxy is this one."""
    match = _ITEM.fullmatch(item)
    if match is None:
        return False
    wanted_port = match["port"] or match["v6_port"]
    if wanted_port and int(wanted_port) != port:
        return False
    wanted = _plain(match["v6"] or match["host"] or match["bare"] or "")
    address = _address(host)
    try:
        network = ipaddress.ip_network(wanted, strict=False)
    except ValueError:  # a name
        if "*" in wanted:
            return fnmatchcase(host, wanted)
        wanted = wanted.removeprefix(".")
        return bool(wanted) and address is None and (host == wanted or host.endswith(f".{wanted}"))
    return address is not None and address in network


def _plain(host: str) -> str:
    """A name as it can be compared: in lower case, in ASCII, and without the dot that ends an absolute name."""
    host = host.lower().removesuffix(".")
    try:
        return host if host.isascii() else host.encode("idna").decode()
    except UnicodeError:
        return host


def _address(host: str) -> ipaddress.IPv4Address | ipaddress.IPv6Address | None:
    try:
        address = ipaddress.ip_address(host)
    except ValueError:
        return None
    return getattr(address, "ipv4_mapped", None) or address
