"""What the tests of HTTP/1.1 share: a scripted transport, requests, answers as others read them, spoilt streams."""

import unittest

import h11

from syncws._http.http11 import HTTPConnection
from syncws._http.request import BadRequest
from tests.handshakes import asking

GET = b"GET / HTTP/1.1\r\nHost: a.example\r\n\r\n"
UPGRADE = asking("/chat", "a.example")
NOTHING = None  # in a script: nothing comes for as long as the reader waits


def head(*lines: str, start: str = "GET / HTTP/1.1", host: str | None = "Host: a.example") -> bytes:
    """A request head of these header lines."""
    return "\r\n".join([start, *([host] if host else []), *lines, "", ""]).encode("latin-1")


class Wire:
    """A scripted transport: gives its pieces one by one, then the end of the stream; its clock moves as it waits."""

    is_tls = False
    local_address = ("127.0.0.1", 80)
    remote_address = ("127.0.0.1", 50000)

    def __init__(self, *pieces, seconds_per_piece=0.0):
        self.pieces = list(pieces)
        self.seconds_per_piece = seconds_per_piece
        self.now = 1000.0
        self.receives = 0
        self.sent = b""

    def monotonic(self):
        return self.now

    def receive(self, size, wait):
        self.receives += 1
        if not self.pieces:
            return b""
        if (wait is not None and wait < self.seconds_per_piece) or self.pieces[0] is NOTHING:
            self.now += wait
            return None
        self.now += self.seconds_per_piece
        piece = self.pieces.pop(0)
        if len(piece) > size:
            self.pieces.insert(0, piece[size:])
        return piece[:size]

    def send(self, *buffers, deadline=None, stall=None):
        self.sent += b"".join(buffers)


def open_wire(*pieces, max_head=16384, max_headers=128):
    wire = Wire(*pieces)
    return wire, HTTPConnection(wire, max_head=max_head, max_headers=max_headers)


def read(*pieces, **limits):
    return open_wire(*pieces, **limits)[1].read_request(None)


def parse_answer(data, method="GET"):
    """The answer (an h11 event), its headers as a dict, its body, and what follows it, as another party reads them."""
    client = h11.Connection(h11.CLIENT)
    client.send(h11.Request(method=method, target="/", headers=[("Host", "a.example")]))
    client.send(h11.EndOfMessage())
    client.receive_data(data)
    response = client.next_event()
    body = b""
    while isinstance(event := client.next_event(), h11.Data):
        body += event.data
    assert isinstance(event, h11.EndOfMessage), event
    headers = {name.decode(): value.decode("latin-1") for name, value in response.headers}
    return response, headers, body, client.trailing_data[0]


class HTTPCase(unittest.TestCase):
    def assertRefused(self, status, *pieces, says="", **limits):
        with self.assertRaises(BadRequest) as caught:
            read(*pieces, **limits)
        self.assertEqual(caught.exception.status, status)
        self.assertIn(says, str(caught.exception))


SEEDS = (
    GET,
    UPGRADE + b"\x81\x85abcdefghi",
    head("Content-Length: 5", "Connection: keep-alive", start="POST /a?b=c%20d HTTP/1.1") + b"hello" + GET,
    head("Transfer-Encoding: chunked", start="PUT /x HTTP/1.1") + b"5;a=b\r\nhello\r\n0\r\nT: x\r\n\r\n" + GET,
    head("Expect: 100-continue", "Content-Length: 3", "Cookie: a=b; c", start="POST / HTTP/1.1") + b"abc",
    head("Accept: */*", start="GET http://b.example:80/x?y HTTP/1.0", host=None),
    head(start="OPTIONS * HTTP/1.1") + head(start="HEAD /h HTTP/1.1") + head(start="CONNECT a:1 HTTP/1.1"),
)
JUNK = (
    *(b"\r\n", b"\n", b"\r", b"\0", b" ", b"\t", b":", b",", b";", b"%", b"?", b"#", b"*", b"\xff", b"\x80", b"\x16"),
    *(
        b"\r\n\r\n",
        b"\r\n X",
        b"0\r\n\r\n",
        b"HTTP/1.1",
        b"http://[",
        b"GET ",
        b"CONNECT ",
        b"Host: b\r\n",
        b"99999999",
    ),
    *(b"Content-Length: 3\r\n", b"Transfer-Encoding: chunked\r\n", b"Upgrade: x\r\n", b"Connection: close\r\n"),
)


def mutate(rng, data):
    """A request stream with a few places spoilt."""
    data = bytearray(data)
    for _ in range(rng.randrange(4)):
        place = rng.randrange(len(data) + 1)
        match rng.randrange(5):
            case 0:
                data[place:place] = rng.choice(JUNK)
            case 1:
                del data[place : place + rng.randrange(1, 20)]
            case 2:
                data[place : place + 1] = bytes([rng.randrange(256)])
            case 3:
                data[place:place] = data[place : place + rng.randrange(40)] * rng.randrange(1, 3)
            case 4:
                data[place:] = rng.choice(SEEDS)[place:]
    return bytes(data)
