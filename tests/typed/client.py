"""Clients: `dial`, a Dialer of one's own, `reconnect`."""

from __future__ import annotations

import http.cookiejar
import socket
import ssl
from typing import assert_type

import syncws


def net_dial(host: str, port: int, timeout: float | None) -> socket.socket:
    return socket.create_connection((host, port), timeout)


def net_dial_tls(host: str, port: int, timeout: float | None) -> syncws.TLSTransport:
    context = ssl.create_default_context()
    transport = syncws.TLSTransport(net_dial(host, port, timeout), context, server_side=False, server_hostname=host)
    transport.handshake(None)
    return transport


dialer = syncws.Dialer(cookie_jar=http.cookiejar.CookieJar(), net_dial=net_dial, net_dial_tls=net_dial_tls, proxy=None)


def talk(url: str) -> str:
    try:
        conn = syncws.dial(url, headers=[("Authorization", "Bearer 1")], timeout=5, read_limit=1 << 20)
    except syncws.BadHandshakeError as refusal:
        if refusal.response is None:
            return str(refusal)
        assert_type(refusal.response.headers.get("Retry-After"), str | None)
        assert_type(refusal.response.body, bytes)
        return f"refused: {refusal.response.status} {refusal.response.reason}"
    except syncws.ProxyError as refusal:
        assert_type(refusal.headers.get_all("Via"), list[str])
        raise
    assert_type(conn, syncws.Conn)
    with conn:
        assert_type(conn.response, syncws.ReceivedResponse)
        assert_type(conn.response.status, int)
        assert_type(conn.response.headers.get_all("Set-Cookie"), list[str])
        if isinstance(conn.transport, syncws.TLSTransport):
            assert_type(conn.transport.ssl_object, ssl.SSLObject)
        conn.send("hello", timeout=1)
        try:
            message = conn.receive(timeout=30)
        except syncws.ReadTimeout:
            return "late"
        except syncws.CloseError as end:
            assert_type(end.code, int)
            assert_type(end.reason, str)
            return str(end)
        assert_type(message, str | bytes)
        return message if isinstance(message, str) else message.decode()


def as_text(conn: syncws.Conn) -> None:
    """Not run: nobody answers so often."""
    assert_type(conn.receive(30, text=True), str)
    assert_type(conn.receive(text=False), bytes)
    for text in conn.messages(text=True):
        assert_type(text, str)
    conn.send(b"{}", text=True)


def token() -> dict[str, str]:
    return {"Authorization": "Bearer 1"}


def follow(url: str) -> None:
    """Not run: it would not come back."""
    conns = syncws.reconnect(url, token, min_delay=0.5, attempts=3, server_hostname="example.com", overflow="close")
    assert_type(conns, syncws.Reconnector)
    for conn in conns:
        assert_type(conn, syncws.Conn)
        for message in conn:
            print(message)
        conns.stop()
    syncws.reconnect(lambda: url, give_up=lambda error: isinstance(error, OSError) or None, max_redirects=2)
    for conn in syncws.reconnect(url, dialer=dialer):
        conn.ping(b"are you there?")
