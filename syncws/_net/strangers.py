"""What else may speak on a port, told by its first bytes: a proxy that is set up otherwise, a client of something else.

Whoever looks for a mistake in a deployment is helped by its name: "the method is malformed" tells nobody that a load
balancer in front sends the PROXY protocol.
"""

from __future__ import annotations

import re
from dataclasses import dataclass

#: Bytes by which each of them is told.
ENOUGH = 64


@dataclass(frozen=True)
class Stranger:
    """Something that speaks neither HTTP nor TLS here, or one where the other is expected.

    ``advice`` is what to change, for those that an operator has set up; it is empty for clients that are just wrong.
    """

    name: str
    begins: re.Pattern[bytes]
    advice: str = ""


def _stranger(name: str, begins: bytes, advice: str = "") -> Stranger:
    return Stranger(name, re.compile(begins, re.DOTALL), advice)


_NO_PROXY_PROTOCOL = (
    "a proxy in front sends it: turn it off there (HAProxy: send-proxy; nginx: proxy_protocol on; AWS: proxy protocol "
    "v2 of the target group), and have it pass X-Forwarded-For instead"
)
_WSGI_PROTOCOL = "nginx in front needs proxy_pass http://... in place of {}"

PLAIN_HTTP = "plain HTTP"
TLS = "TLS"
_SCHEMES = {PLAIN_HTTP: "http:, ws:", TLS: "https:, wss:"}

#: No two of them match the same bytes. Those that come every day stand first.
STRANGERS = (
    _stranger(PLAIN_HTTP, rb"(?:GET|HEAD|POST|PUT|DELETE|OPTIONS|PATCH|CONNECT|TRACE) "),
    # A record of a handshake; an alert is of somebody to whom this side has spoken before.
    _stranger(TLS, rb"\x16"),
    _stranger("the PROXY protocol, version 1", rb"PROXY (?:TCP4|TCP6|UNKNOWN)[ \r]", _NO_PROXY_PROTOCOL),
    _stranger("the PROXY protocol, version 2", rb"\r\n\r\n\x00\r\nQUIT\n", _NO_PROXY_PROTOCOL),
    _stranger(
        "HTTP/2",
        rb"PRI \* HTTP/2",
        "WebSocket needs HTTP/1.1: let the proxy in front speak that to this server (Envoy: http_protocol_options; "
        "Caddy: h2c; Cloud Run: no end-to-end HTTP/2)",
    ),
    _stranger("FastCGI", rb"\x01\x01..\x00\x08\x00", _WSGI_PROTOCOL.format("fastcgi_pass")),
    _stranger("SCGI", rb"[0-9]+:CONTENT_LENGTH\x00", _WSGI_PROTOCOL.format("scgi_pass")),
    _stranger("uWSGI's protocol", rb"\x00..\x00.\x00[A-Z_]{3}", _WSGI_PROTOCOL.format("uwsgi_pass")),
    _stranger("AJP", rb"\x12\x34", "Apache in front needs proxy_http and http://... in place of ajp://..."),
    _stranger("WebSocket without a handshake", rb"[\x01\x02\x81\x82\x88-\x8a][\x80-\xff]"),
    _stranger("HTTP as a server does", rb"HTTP/1\.[01] [0-9]"),
    _stranger("SSH", rb"SSH-[0-9]"),
    _stranger("Redis", rb"\*[0-9]+\r\n"),
    _stranger("SMTP", rb"(?i:EHLO|HELO) [^ ]*\r\n"),
    _stranger("MQTT", rb"\x10.{1,4}\x00(?:\x04MQTT|\x06MQIsdp)"),
    _stranger("AMQP", rb"AMQP"),
    _stranger("SOCKS", rb"\x05[\x01-\x08]|\x04[\x01\x02]"),
    _stranger("Remote Desktop", rb"\x03\x00\x00"),
    _stranger("SMB", rb"\x00...[\xfd-\xff]SMB"),
    _stranger("PostgreSQL", rb"\x00\x00..(?:\x00\x03\x00\x00|\x04\xd2\x16[\x2e-\x30])"),
)


def recognised(first: bytes, expected: str) -> Stranger | None:
    """Who begins with these bytes where PLAIN_HTTP, or TLS, is expected; None: that one, or nobody that is known."""
    found = next((each for each in STRANGERS if each.begins.match(first)), None)
    return None if found is None or found.name == expected else found


def say_stranger(stranger: Stranger, expected: str) -> str:
    """What is said of it, to either side."""
    return f"the client speaks {stranger.name}, and this server {expected} ({_SCHEMES[expected]})"
