"""The checks of a deployment that need a handshake and no more: who answers, over which TLS, and what it agrees to."""

from __future__ import annotations

import ipaddress
import json
import socket
import ssl
import time
from dataclasses import replace
from typing import Any, NamedTuple

from ..._base.printable import printable
from ..._conn.conn import Conn
from ..._http.httpclient import ReceivedResponse
from ..._net.tls import TLSTransport
from ...errors import BadHandshakeError, HandshakeError, WebSocketError
from .. import dialing
from .finding import Finding, Findings, fault, note, ok, warning
from .fronts import hops
from .refusals import refusal
from .standin import HEADER, SUBPROTOCOL
from .visitor import Place

#: A page that no application has among its own. The domain can never be one (RFC 6761).
FOREIGN_ORIGIN = "https://syncws-doctor.invalid"

#: Days before its end from which a certificate is worth a warning: who renews by himself does it a month before.
_SOON = 14

#: What OpenSSL says of an answer that is no TLS.
_NO_TLS = ("WRONG_VERSION_NUMBER", "RECORD_LAYER_FAILURE")

_OLD_TLS = ("SSLv3", "TLSv1", "TLSv1.1")


class Entrance(NamedTuple):
    """How the first handshake went: what was found, and what the further checks go on with."""

    findings: list[Finding]
    place: Place  # which trusts any certificate, if the server's was at fault
    answer: ReceivedResponse | None  # None if there was none
    entered: bool


def enter(place: Place) -> Entrance:
    """The first handshake."""
    findings: list[Finding] = []
    for _ in range(2):
        began = time.monotonic()
        try:
            with place.connection() as conn:
                took = time.monotonic() - began
                findings += _of_tls(place, conn, judged=bool(findings))
                findings.append(ok("handshake", f"101 in {took * 1000:.0f} ms"))
                return Entrance(findings, place, conn.response, True)
        except ssl.SSLCertVerificationError as error:
            findings.append(_of_certificate(error))
            place = replace(place, visitor=place.visitor_with(ssl_context=_trusting_all()))
        except (OSError, HandshakeError, WebSocketError) as error:
            answer = getattr(error, "response", None)
            findings.append(_of_failure(error, place))
            return Entrance(findings, place, answer if isinstance(answer, ReceivedResponse) else None, False)
    return Entrance(findings, place, None, False)  # pragma: no cover - a certificate is not asked for twice


def _trusting_all() -> ssl.SSLContext:
    context = ssl.create_default_context()
    context.check_hostname = False
    context.verify_mode = ssl.CERT_NONE
    return context


def _of_failure(error: Exception, place: Place) -> Finding:
    if isinstance(error, BadHandshakeError) and isinstance(error.response, ReceivedResponse):
        return refusal(error.response, str(error))
    said = dialing.cannot_dial(error)
    if isinstance(error, BadHandshakeError):
        return fault("handshake", "no HTTP answer", said, "upstream")
    if isinstance(error, ssl.SSLError):
        if error.reason in _NO_TLS:
            return fault("tls", "the server does not speak TLS at this port", "Give ws://, or another port.")
        return fault("tls", "no TLS could be agreed on", said, "tls")
    if isinstance(error, TimeoutError):
        seen = "A firewall may be in the way, or every thread of the application is busy."
        return fault("reach", f"no answer within {place.patience:g} s", seen, "upstream", "connections")
    if isinstance(error, socket.gaierror):
        return fault("reach", f"the name {printable(place.server.host, 60)} is not known", said)
    return fault("reach", "the server cannot be reached", said, "upstream")


def _of_certificate(error: ssl.SSLCertVerificationError) -> Finding:
    seen = "Clients refuse it. The checks below go on without looking at it."
    return fault("certificate", error.verify_message or str(error), seen, "certificate")


def _of_tls(place: Place, conn: Conn, *, judged: bool) -> Findings:
    """How the connection is encrypted. judged: the certificate was found to be at fault."""
    transport = conn.transport
    if not isinstance(transport, TLSTransport):
        if not _is_near(place.server.host) and place.visitor.unix_path is None:
            seen = "Whoever is on the way reads along, and some proxies on the way break what they do not understand."
            yield warning("tls", "the connection is not encrypted", f"{seen} Use wss://.", "unencrypted")
        return
    version = transport.ssl_object.version() or "?"
    if version in _OLD_TLS:
        yield warning("tls", f"{version}, which browsers refuse", "", "tls")
    else:
        yield ok("tls", version)
    certificate = transport.ssl_object.getpeercert()
    if certificate:
        yield _of_days(certificate)
    elif not judged:
        yield note("certificate", "it was not looked at (--insecure)")


def _of_days(certificate: Any) -> Finding:
    """How long a certificate, which was verified, is still valid."""
    end = ssl.cert_time_to_seconds(str(certificate["notAfter"]))
    days = int((end - time.time()) // 86400)
    title = f"valid for {days} more day{'' if days == 1 else 's'}"
    if days < _SOON:
        return warning("certificate", title, "Nothing seems to renew it.", "certificate")
    return ok("certificate", title)


def _is_near(host: str) -> bool:
    """Whether a host is this machine, or of a private network."""
    if host == "localhost" or host.endswith((".localhost", ".local", ".internal")):
        return True
    try:
        return ipaddress.ip_address(host.partition("%")[0]).is_private
    except ValueError:
        return "." not in host  # a name of this network


def check_front(*answers: ReceivedResponse) -> Findings:
    """Who names himself in these answers: of a handshake, and of a plain request, which some programs sign only."""
    named = dict.fromkeys(filter(None, map(hops, answers)))
    yield ok("front", ", ".join(named) or "no server names itself")


# What it agrees to


def check_unencrypted(place: Place) -> Findings:
    """Whether the same name answers on port 80 without TLS; asked for a wss URL on its usual port."""
    server = place.server
    if not server.secure or server.port != 443 or place.visitor.unix_path is not None:
        return
    plain = replace(place, url=f"ws://{server.authority.removesuffix(':443')}{server.target}")
    try:
        with plain.connection():
            yield note("unencrypted", "ws:// works as well", "Nobody needs it where wss:// works.", "unencrypted")
    except (OSError, WebSocketError) as error:
        answer = getattr(error, "response", None)
        yield ok("unencrypted", f"ws:// answers {answer}" if answer is not None else "ws:// is not there")


def own_origin(place: Place) -> str:
    """The Origin that browsers send from a page of the same host."""
    server = place.server
    return f"{'https' if server.secure else 'http'}://{place.headers.get('Host', server.authority)}"


def check_origin(place: Place) -> Findings:
    """Pages of the same host may connect, others may not."""
    if "Origin" not in place.headers:
        own = own_origin(place)
        refused = _refused(place, own)
        if refused is not None:
            yield fault(
                "origin",
                f"a page of {printable(own, 100)} is refused ({refused})",
                "Without an Origin it connects: the Host header that the application gets is another than the one of "
                "the URL. If your pages are at another host, give it with --origin.",
                "host",
            )
    refused = _refused(place, FOREIGN_ORIGIN)
    if refused is not None:
        yield ok("origin", f"foreign pages are refused ({refused})")
    else:
        yield warning(
            "origin",
            "a page of any site may connect",
            "A browser sends its cookies along, so a foreign page acts as the user who is logged in. The application "
            "accepts any Origin, or none reaches it.",
            "origin",
        )


def _refused(place: Place, origin: str) -> str | None:
    """The status with which a page of this origin is refused; None if it is not."""
    try:
        with place.connection(("Origin", origin)):
            return None
    except BadHandshakeError as error:
        return str(error.status or "no answer")


def check_subprotocol(place: Place) -> Findings:
    """The subprotocols of the command line: one of them is chosen."""
    offered = place.visitor.subprotocols
    if not offered:
        return
    with place.connection() as conn:
        if conn.subprotocol is not None:
            yield ok("subprotocol", f"{printable(conn.subprotocol, 60)} was chosen")
            return
    names = printable(", ".join(offered), 60)
    yield fault("subprotocol", f"{names}: none was chosen", "A browser that offers one fails then.", "subprotocol")


def check_compression(place: Place, *, wanted: bool) -> Findings:
    """permessage-deflate is agreed on, if it is offered. wanted: it is a fault where it is not."""
    with place.connection(enable_compression=True) as conn:
        if conn.compression:
            yield ok("compression", "permessage-deflate was agreed on")
        elif wanted:
            yield warning("compression", "permessage-deflate was offered, and not agreed on", "", "compression")
        else:
            yield ok("compression", "none: the application does not compress, which is the default of syncws")


# What has come of the request, which only a stand-in tells


def check_request(place: Place) -> Findings:
    """Compare what was asked with what has come, if a stand-in answers."""
    server = place.server
    target = f"{server.target}{'&' if '?' in server.target else '?'}doctor=a%2Fb"
    scheme = "wss" if server.secure else "ws"
    sent = {
        "Origin": own_origin(place),
        "Cookie": "doctor=here",
        "Authorization": "Bearer doctor",
    }
    asking = replace(place, url=f"{scheme}://{server.authority}{target}")
    told = None
    if _ask_stand_in(place, {}) is not None:
        options: dict[str, Any] = {"enable_compression": True, "subprotocols": [SUBPROTOCOL]}
        told = _ask_stand_in(asking, sent, **options)
        if told is None:
            del sent["Origin"]  # a foreign one, if the Host was changed: then the stand-in has refused it
            told = _ask_stand_in(asking, sent, **options)
    if told is None:
        yield note(
            "request",
            "what the application gets of the request is not seen",
            "To see it, run this in place of the application for a minute:\n"
            "syncws doctor --stand-in HOST:PORT   (where the application listens)",
        )
        return
    yield from _compare(place, target, sent, told)


def _ask_stand_in(place: Place, sent: dict[str, str], **options: Any) -> dict[str, Any] | None:
    """What a stand-in tells; None if it is none that answers."""
    try:
        with place.connection(*sent.items(), (HEADER, "1"), **options) as conn:
            if HEADER not in conn.response.headers:
                return None
            told = json.loads(conn.receive(timeout=place.patience))
    except (WebSocketError, OSError, ValueError):
        return None
    return told if isinstance(told, dict) and isinstance(told.get("headers"), dict) else None


def _compare(place: Place, target: str, sent: dict[str, str], told: dict[str, Any]) -> Findings:
    headers: dict[str, Any] = told["headers"]
    wrong = list(_differences(place, target, sent, told))
    yield from wrong
    if not wrong:
        came = printable(headers.get("X-Forwarded-For", ""), 60)
        yield ok("request", f"all of it has come{f'; the client is {came}' if came else ''}")


def _differences(place: Place, target: str, sent: dict[str, str], told: dict[str, Any]) -> Findings:
    headers: dict[str, Any] = told["headers"]
    if told.get("target") != target:
        came = printable(told.get("target"), 120)
        yield fault("request", "path or query were changed", f"{target} was asked, and {came} came.", "path")
    host = place.headers.get("Host", place.server.authority)
    if _without_port(str(headers.get("Host"))) != _without_port(host):
        came = printable(headers.get("Host"), 100)
        yield fault("request", f"the Host is {came}", f"It was asked for {host}: its pages are refused.", "host")
    for name in ("Origin", "Cookie", "Authorization"):
        if name in sent and headers.get(name) != sent[name]:
            topic = "origin" if name == "Origin" else "credentials"
            yield fault("request", f"the header {name} {_lost_or_changed(headers, name)}", "", topic)
    for name, topic in (("Sec-WebSocket-Protocol", "subprotocol"), ("Sec-WebSocket-Extensions", "compression")):
        if name not in headers:
            yield fault("request", f"the header {name} was lost", "", topic)
    lacking = [name for name in ("X-Forwarded-For", "X-Forwarded-Proto") if name not in headers]
    if lacking:
        yield warning(
            "request",
            f"{' and '.join(lacking)} did not come",
            "The application does not know who the client is, or whether it came over TLS. Without a proxy in front "
            "that is as it should be.",
            "forwarded",
        )


def _lost_or_changed(headers: dict[str, Any], name: str) -> str:
    return "was changed on the way" if name in headers else "was lost"


def _without_port(host: str) -> str:
    return host.rpartition(":")[0] if host.rpartition(":")[2].isdecimal() else host
