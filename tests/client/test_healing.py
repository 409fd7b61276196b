"""healing.py: which failures may heal by themselves."""

from __future__ import annotations

import errno
import socket
import ssl
import types
import unittest
from email.message import Message
from urllib.error import HTTPError, URLError

import syncws
from syncws._client.healing import heals, status_heals


def misfit(reason: str) -> ssl.SSLError:
    error = ssl.SSLError(1, f"[SSL: {reason}] in words")
    error.reason = reason
    return error


def after(error: Exception, cause: Exception | None) -> Exception:
    error.__cause__ = cause
    return error


class HealingTests(unittest.TestCase):
    def test_statuses(self) -> None:
        """The statuses that may heal are a list: 408, 425, 429 and 5xx, except 501 and 505."""
        healing = {408, 425, 429} | set(range(500, 600)) - {501, 505}
        self.assertEqual({status for status in range(1000) if status_heals(status)}, healing)

    def test_what_the_network_does(self) -> None:
        """Every OSError of the network may heal: a name, a route, a port, a time that is over, an end."""
        for error in (
            socket.gaierror(socket.EAI_NONAME, "no such name"),
            socket.gaierror(socket.EAI_AGAIN, "not now"),
            ConnectionRefusedError(errno.ECONNREFUSED, "no"),
            ConnectionResetError(errno.ECONNRESET, "no"),
            OSError(errno.ENETUNREACH, "no"),
            OSError(errno.EMFILE, "no"),
            FileNotFoundError(errno.ENOENT, "no", "/run/app.sock"),
            TimeoutError("no"),
            ssl.SSLEOFError(8, "EOF occurred in violation of protocol"),
            misfit("TLSV1_ALERT_INTERNAL_ERROR"),
            misfit("DECRYPTION_FAILED_OR_BAD_RECORD_MAC"),
        ):
            with self.subTest(repr(error)):
                self.assertTrue(heals(error))

    def test_tls_that_does_not_fit(self) -> None:
        """A certificate that is not trusted, and settings that do not fit, do not heal."""
        for error in (
            ssl.SSLCertVerificationError(1, "certificate verify failed"),
            misfit("WRONG_VERSION_NUMBER"),
            misfit("SSLV3_ALERT_HANDSHAKE_FAILURE"),
            misfit("TLSV13_ALERT_CERTIFICATE_REQUIRED"),
            misfit("TLSV1_ALERT_UNKNOWN_CA"),
        ):
            with self.subTest(repr(error)):
                self.assertFalse(heals(error))

    def test_what_an_http_client_says(self) -> None:
        """A token that is refused (urllib, requests) was asked for without end: now its status decides."""

        class RequestsError(OSError):
            def __init__(self, status: int | None) -> None:
                super().__init__("no")
                self.response = None if status is None else types.SimpleNamespace(status_code=status)

        for error, expected in (
            (HTTPError("http://tokens/", 403, "no", Message(), None), False),
            (HTTPError("http://tokens/", 401, "no", Message(), None), False),
            (HTTPError("http://tokens/", 503, "no", Message(), None), True),
            (URLError(ConnectionRefusedError(errno.ECONNREFUSED, "no")), True),
            (URLError(ssl.SSLCertVerificationError(1, "certificate verify failed")), False),
            (URLError("no"), True),
            (RequestsError(403), False),
            (RequestsError(429), True),
            (RequestsError(None), True),
        ):
            with self.subTest(repr(error)):
                self.assertIs(heals(error), expected)

    def test_answers(self) -> None:
        """A refusal heals by its status; one without a status only if the connection broke, which is its cause then."""
        answer = syncws.ReceivedResponse
        for error, expected in (
            (syncws.BadHandshakeError("no", answer(503, "", syncws.Headers())), True),
            (syncws.BadHandshakeError("no", answer(200, "", syncws.Headers())), False),
            (syncws.BadHandshakeError("no", answer(101, "", syncws.Headers())), False),
            (syncws.BadHandshakeError("not HTTP"), False),
            (after(syncws.BadHandshakeError("cut"), ConnectionResetError()), True),
            (syncws.ProxyError("no", 407), False),
            (syncws.ProxyError("no", 502), True),
            (syncws.ProxyError("no", 0), False),
            (after(syncws.ProxyError("no", 0), ConnectionError()), True),
            (after(syncws.ProxyError("no", 407), ConnectionError()), False),
            (ValueError("no"), False),
        ):
            with self.subTest(repr(error)):
                self.assertIs(heals(error), expected)


if __name__ == "__main__":
    unittest.main()
