"""What each hop of a dial must be: the socket or the TLS that a hook of the caller made, and TLS that both agree on."""

from __future__ import annotations

import functools
import socket
import ssl
from typing import Any

from .._base.callables import check_done
from .._net.attempt import Attempt
from .._net.tls import TLSTransport
from .._net.transport import Transport
from ..errors import BadHandshakeError

#: OpenSSL's X509_V_ERR_HOSTNAME_MISMATCH and X509_V_ERR_IP_ADDRESS_MISMATCH.
_NAME_MISMATCH = (62, 64)


@functools.cache
def default_context() -> ssl.SSLContext:
    """The context of a Dialer that was given none. It is made once: loading the authorities outlasts a handshake."""
    context = ssl.create_default_context()
    # A server may ask for it in TLS 1.2. Whoever writes meanwhile is told to read first, which is another thread's.
    context.options |= ssl.OP_NO_RENEGOTIATION
    return context


def agree_on_tls(transport: Transport, setting: str, attempt: Attempt) -> None:
    """Perform the TLS handshake, if the transport has one. Its errors name the setting that they are about."""
    try:
        transport.handshake(attempt.deadline)
    except TimeoutError:
        attempt.remaining("the TLS handshake")
        raise
    except ssl.SSLCertVerificationError as error:
        if error.verify_code in _NAME_MISMATCH:
            error.add_note("to expect another name than the URL's, give server_hostname (a proxy has only its URL's)")
        else:
            error.add_note(f"to trust another authority, give {setting}=ssl.create_default_context(cafile=...)")
        raise
    except ssl.SSLError as error:
        if getattr(error, "reason", None) in ("WRONG_VERSION_NUMBER", "RECORD_LAYER_FAILURE"):
            error.add_note("the other side does not speak TLS: write ws: instead of wss:, or http: for a proxy")
        raise
    if isinstance(transport, TLSTransport):
        protocol = transport.ssl_object.selected_alpn_protocol()
        if protocol not in (None, "http/1.1"):
            raise BadHandshakeError(
                f"TLS agreed on {protocol!r}, and WebSocket needs HTTP/1.1: {setting} must not offer it "
                "(set_alpn_protocols)"
            )


def check_hostname(name: str | None) -> None:
    """Raise ValueError for a name that the ssl module would refuse, but only after a connection has been made."""
    try:
        possible = name is None or (name.encode("idna") and "\0" not in name)
    except UnicodeError:
        possible = False
    if not possible:
        raise ValueError(f"server_hostname is a name or an address, or None for the URL's host, not {name!r}")


def checked_socket(sock: Any) -> socket.socket:
    """What net_dial returned. Raises TypeError if it cannot be used; it is closed then."""
    check_done("net_dial", sock)
    if isinstance(sock, ssl.SSLSocket):
        sock.close()
        raise TypeError(
            "net_dial returned an SSLSocket, and the Dialer begins TLS by itself: return the plain socket, and give "
            "ssl_context"
        )
    if not hasattr(sock, "recv_into"):
        raise TypeError(f"net_dial must return a connected socket, not {sock!r}")
    return sock  # type: ignore[no-any-return]


def checked_transport(transport: Any) -> TLSTransport:
    """What net_dial_tls returned. Raises TypeError if it cannot be used; it is closed then, if it is a socket."""
    check_done("net_dial_tls", transport)
    if isinstance(transport, TLSTransport):
        return transport
    if isinstance(transport, socket.socket):
        transport.close()
    raise TypeError(
        "net_dial_tls must return a syncws.TLSTransport (two threads in one SSLSocket are not safe on every "
        f"Python), not {transport!r}"
    )
