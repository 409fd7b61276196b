"""Which failures of a dial may heal by themselves, so that another attempt is worth making.

What may heal is a list: what the network does, and the statuses by which a server or a proxy says "later". Everything
else is a mistake that somebody has to mend, such as a certificate, a path, or a redirect that is not followed.
"""

from __future__ import annotations

import ssl

from ..errors import HandshakeError

#: The refusals below 500 that the next attempt may not meet: too slow, too early, too many (RFC 9110, 8470 and 6585).
_TEMPORARY = frozenset({408, 425, 429})

#: Of the others those that say what a server never does: Not Implemented, HTTP Version Not Supported.
_SETTLED = frozenset({501, 505})

#: What TLS fails with, in OpenSSL's words, where the settings of the two sides do not fit each other: no TLS there, no
#: version, cipher or protocol in common, a certificate that either of them does not take.
_MISFITS = frozenset(
    {
        "BAD_ECC_CERT",
        "CA_MD_TOO_WEAK",
        "CERTIFICATE_VERIFY_FAILED",
        "DH_KEY_TOO_SMALL",
        "EE_KEY_TOO_SMALL",
        "HTTPS_PROXY_REQUEST",
        "HTTP_REQUEST",
        "NO_APPLICATION_PROTOCOL",
        "NO_CIPHERS_AVAILABLE",
        "NO_PROTOCOLS_AVAILABLE",
        "NO_SHARED_CIPHER",
        "RECORD_LAYER_FAILURE",
        "SSLV3_ALERT_BAD_CERTIFICATE",
        "SSLV3_ALERT_CERTIFICATE_EXPIRED",
        "SSLV3_ALERT_CERTIFICATE_REVOKED",
        "SSLV3_ALERT_CERTIFICATE_UNKNOWN",
        "SSLV3_ALERT_HANDSHAKE_FAILURE",
        "SSLV3_ALERT_UNSUPPORTED_CERTIFICATE",
        "TLSV13_ALERT_CERTIFICATE_REQUIRED",
        "TLSV1_ALERT_ACCESS_DENIED",
        "TLSV1_ALERT_INSUFFICIENT_SECURITY",
        "TLSV1_ALERT_NO_APPLICATION_PROTOCOL",
        "TLSV1_ALERT_PROTOCOL_VERSION",
        "TLSV1_ALERT_UNKNOWN_CA",
        "TLSV1_UNRECOGNIZED_NAME",
        "UNSAFE_LEGACY_RENEGOTIATION_DISABLED",
        "UNSUPPORTED_PROTOCOL",
        "WRONG_SSL_VERSION",
        "WRONG_VERSION_NUMBER",
    }
)


def heals(error: Exception) -> bool:
    """Whether an attempt that failed like this may succeed the next time."""
    if isinstance(error, HandshakeError):
        # Without a status there was no answer: only a connection that broke before it, which is the cause then, heals.
        return status_heals(error.status) if error.status else isinstance(error.__cause__, OSError)
    if isinstance(error, ssl.SSLError):
        reason = getattr(error, "reason", None)  # OpenSSL alone gives one
        return not isinstance(error, ssl.SSLCertVerificationError) and reason not in _MISFITS
    return isinstance(error, OSError) and _client_heals(error)


def _client_heals(error: OSError) -> bool:
    """As `heals`, of an OSError that may be one of an HTTP client, with which a callable has asked for a token.

    Those of urllib and requests are, and have a status, or the error of TLS that they stand for.
    """
    if isinstance(reason := getattr(error, "reason", None), OSError):  # urllib.error.URLError
        return heals(reason)
    status = getattr(error, "code", None)  # urllib.error.HTTPError
    if status is None:
        status = getattr(getattr(error, "response", None), "status_code", None)  # requests.HTTPError
    return not isinstance(status, int) or status_heals(status)


def status_heals(status: int) -> bool:
    """Whether a server, or a proxy, that answers with this status may answer otherwise the next time."""
    return status in _TEMPORARY or (500 <= status <= 599 and status not in _SETTLED)
