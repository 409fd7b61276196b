"""strangers.py: what speaks something else is told by its first bytes, and what speaks the right thing is none."""

from __future__ import annotations

import random
import struct
import unittest

from syncws._net.strangers import PLAIN_HTTP, STRANGERS, TLS, recognised, say_stranger

#: What each of them sends first, as recorded or as its specification has it.
BEGINNINGS = {
    PLAIN_HTTP: [b"GET / HTTP/1.1\r\n", b"OPTIONS * HTTP/1.1\r\n", b"CONNECT a:443 HTTP/1.1\r\n"],
    TLS: [b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03", b"\x16"],
    "the PROXY protocol, version 1": [
        b"PROXY TCP4 203.0.113.7 10.0.0.1 51234 443\r\nGET / HTTP/1.1\r\n",
        b"PROXY TCP6 2001:db8::1 2001:db8::2 51234 443\r\n",
        b"PROXY UNKNOWN\r\n",
        b"PROXY UNKNOWN ffff::1 ffff::2 65535 65535\r\n",
    ],
    "the PROXY protocol, version 2": [
        b"\r\n\r\n\x00\r\nQUIT\n\x21\x11\x00\x0c\xcb\x00\x71\x07\x0a\x00\x00\x01\xc8\x22\x01\xbbGET / HTTP/1.1\r\n",
        b"\r\n\r\n\x00\r\nQUIT\n\x20\x00\x00\x00",  # LOCAL: a health check of the proxy
    ],
    "HTTP/2": [b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n\x00\x00\x12\x04\x00\x00\x00\x00\x00"],
    "FastCGI": [b"\x01\x01\x00\x01\x00\x08\x00\x00\x00\x01\x00\x00\x00\x00\x00\x00\x01\x04\x00\x01"],
    "SCGI": [b"70:CONTENT_LENGTH\x000\x00SCGI\x001\x00"],
    "uWSGI's protocol": [b"\x00\x5f\x01\x00" + struct.pack("<H", 12) + b"QUERY_STRING\x00\x00"],
    "AJP": [b"\x12\x34\x00\xa4\x02\x02\x00\x08HTTP/1.1"],
    "WebSocket without a handshake": [b"\x81\x85\x37\xfa\x21\x3d\x7f\x9f\x4d\x51\x58", b"\x89\x80abcd"],
    "HTTP as a server does": [b"HTTP/1.1 200 OK\r\n"],
    "SSH": [b"SSH-2.0-OpenSSH_9.6\r\n", b"SSH-1.99-x\n"],
    "Redis": [b"*1\r\n$4\r\nPING\r\n", b"*2\r\n$5\r\nHELLO\r\n$1\r\n3\r\n"],
    "SMTP": [b"EHLO mail.example.com\r\n", b"HELO [192.0.2.1]\r\n"],
    "MQTT": [b"\x10\x13\x00\x04MQTT\x04\x02\x00<\x00\x07python", b"\x10\x80\x02\x00\x06MQIsdp\x03"],
    "AMQP": [b"AMQP\x00\x00\x09\x01"],
    "SOCKS": [b"\x05\x01\x00", b"\x05\x02\x00\x02", b"\x04\x01\x01\xbb\xcb\x00\x71\x07\x00"],
    "Remote Desktop": [b"\x03\x00\x00\x13\x0e\xe0\x00\x00\x00\x00\x00\x01\x00\x08\x00\x03\x00\x00\x00"],
    "SMB": [b"\x00\x00\x00\x85\xffSMBr\x00", b"\x00\x00\x00\xb2\xfeSMB@\x00"],
    "PostgreSQL": [b"\x00\x00\x00\x08\x04\xd2\x16\x2f", b"\x00\x00\x00\x52\x00\x03\x00\x00user\x00"],
}


class StrangersTests(unittest.TestCase):
    def test_each_is_told_from_the_others(self) -> None:
        """Each protocol is told by what it sends, on a port for TLS and on one for plain HTTP, and as no other."""
        self.assertEqual({each.name for each in STRANGERS}, BEGINNINGS.keys())
        for name, beginnings in BEGINNINGS.items():
            for first in beginnings:
                for expected in (PLAIN_HTTP, TLS):
                    with self.subTest(name, first=first, expected=expected):
                        found = recognised(first, expected)
                        self.assertEqual(None if found is None else found.name, None if name == expected else name)
                        matching = [each.name for each in STRANGERS if each.begins.match(first)]
                        self.assertEqual(matching, [name])

    def test_who_is_expected_is_no_stranger(self) -> None:
        """Requests of every method, and a first empty line, are no strangers to HTTP; nor is what has just begun."""
        for first in (
            *(b"", b"G", b"\r", b"\r\n", b"\r\nGET / HTTP/1.1\r\n", b"P", b"PR", b"PROXY", b"PROXY /x HTTP/1.1\r\n"),
            *(
                b"PRI / HTTP/1.1\r\n",
                b"PROPFIND / HTTP/1.1\r\n",
                b"* / HTTP/1.1\r\n",
                b"\r\n\r\n",
                b"\xff",
                b"EHLO / HTTP/1.1\r\n",
            ),
        ):
            self.assertIsNone(recognised(first, PLAIN_HTTP), first)

    def test_words(self) -> None:
        """Both protocols are named; what an operator has set up has advice that names the setting."""
        for name, setting in (
            ("the PROXY protocol, version 1", "send-proxy"),
            ("the PROXY protocol, version 2", "proxy_protocol on"),
            ("HTTP/2", "HTTP/1.1"),
            ("FastCGI", "proxy_pass http://... in place of fastcgi_pass"),
            ("uWSGI's protocol", "proxy_pass http://... in place of uwsgi_pass"),
        ):
            stranger = recognised(BEGINNINGS[name][0], PLAIN_HTTP)
            assert stranger is not None
            self.assertIn(setting, stranger.advice)
            self.assertEqual(
                say_stranger(stranger, PLAIN_HTTP), f"the client speaks {name}, and this server plain HTTP (http:, ws:)"
            )

    def test_any_bytes(self) -> None:
        """Bytes of any kind are looked at, and nothing is raised."""
        rng = random.Random(6)
        known = [first for beginnings in BEGINNINGS.values() for first in beginnings]
        for _ in range(5000):
            first = rng.choice(known)[: rng.randrange(20)] + rng.randbytes(rng.randrange(50))
            recognised(first, PLAIN_HTTP)
            recognised(first, TLS)


if __name__ == "__main__":
    unittest.main()
