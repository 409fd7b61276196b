"""httpclient.py: one request and its answer, however it is cut, and whatever it is instead."""

from __future__ import annotations

import contextlib
import socket
import time
import unittest
from typing import Any
from unittest import mock

from syncws import Headers
from syncws._http import httpclient
from syncws._http.httpclient import BadAnswer, Exchange, ReceivedResponse
from syncws._net.attempt import Attempt, Stopped
from syncws._net.transport import Transport
from syncws.testing import LeakChecks, ScriptedSocket, socketpair
from tests.tasks import PATIENCE, Task

UPGRADE = [("Host", "a"), ("Upgrade", "websocket"), ("Connection", "Upgrade")]
SWITCHED = b"HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n\r\n"

#: Refusals, and what their bodies are.
BODIES = {
    "by its length": (b"HTTP/1.1 403 Forbidden\r\nContent-Length: 4\r\n\r\nno!\n", b"no!\n"),
    "without a body": (b"HTTP/1.1 403 Forbidden\r\nContent-Length: 0\r\n\r\n", b""),
    "in chunks": (
        b"HTTP/1.1 403 Forbidden\r\nTransfer-Encoding: chunked\r\n\r\n2;x=y\r\nno\r\n2\r\n!\n\r\n0\r\nX: y\r\n\r\n",
        b"no!\n",
    ),
    "to the end of the stream": (b"HTTP/1.0 403 Forbidden\r\n\r\nno!\n", b"no!\n"),
    "to the end of the stream, in HTTP/1.1": (b"HTTP/1.1 403 Forbidden\r\n\r\nno!\n", b"no!\n"),
    "of a status that has none": (b"HTTP/1.1 204 No Content\r\n\r\nno!\n", b""),
    "shorter than its length": (b"HTTP/1.1 403 Forbidden\r\nContent-Length: 2000\r\n\r\n0123456789", b"0123456789"),
    "longer than its length": (b"HTTP/1.1 403 Forbidden\r\nContent-Length: 2\r\n\r\nno!\n", b"no"),
    "in chunks, cut short": (b"HTTP/1.1 403 Forbidden\r\nTransfer-Encoding: chunked\r\n\r\n9\r\nno", b"no"),
    "in chunks that are none": (b"HTTP/1.1 403 Forbidden\r\nTransfer-Encoding: chunked\r\n\r\n2\r\nno\r\nx\r\n", b"no"),
    "of as much as is kept": (b"HTTP/1.1 403 Forbidden\r\nContent-Length: 1024\r\n\r\n" + b"x" * 1024, b"x" * 1024),
    "of more than is kept": (b"HTTP/1.1 403 Forbidden\r\nContent-Length: 2000\r\n\r\n" + b"x" * 2000, b"x" * 1024),
    "of far more than is kept": (b"HTTP/1.1 403 Forbidden\r\n\r\n" + b"x" * 200_000, b"x" * 1024),
    "in chunks of more than is kept": (
        b"HTTP/1.1 403 Forbidden\r\nTransfer-Encoding: chunked\r\n\r\n" + b"1\r\nx\r\n" * 2000,
        b"x" * 1024,
    ),
}

#: What is no answer, and what is said of it.
GARBAGE = {
    b"": "it closed the connection without an answer",
    b"hello\n": "is not HTTP",
    b"hello\n\n": r"is not HTTP \(illegal status line: b'hello'\)",
    b"<html>HTTP/0.9 had no status line</html>\r\n\r\n": "is not HTTP",
    b"\r\n\r\n": "is not HTTP",
    b"\x15\x03\x01\x00\x02\x02\x46": "it speaks TLS, and was spoken to without",
    b"\x16\x03\x01\x00\x02\x02\x46": "is not HTTP",
    b"SSH-2.0-OpenSSH_9.2\r\n": r"is not HTTP \(it begins with b'SSH-2\.0-OpenSSH_9\.2\\r\\n'\)",
    b"HTTP/1.1 101 Swit": "is not HTTP",
    b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n": "is not HTTP",
    b"HTTP/2 200 OK\r\n\r\n": "is not HTTP",
    b"HTTP/1.1 099 OK\r\n\r\n": "is not HTTP",
    b"HTTP/1.1 2000 OK\r\n\r\n": "is not HTTP",
    b"HTTP/1.1 200 O\0K\r\n\r\n": "is not HTTP",
    b"HTTP/1.1 200 OK\r\nno header\r\n\r\n": "is not HTTP",
    b"HTTP/1.1 200 OK\r\nno header: x\r\n\r\n": "is not HTTP",
    b"HTTP/1.1 200 OK\r\nblank : x\r\n\r\n": "is not HTTP",
    b"HTTP/1.1 200 OK\r\nContent-Length: 1\r\nContent-Length: 2\r\n\r\n": "is not HTTP",
    b"HTTP/1.1 100 Continue\r\n\r\n": "is not HTTP",
    b"HTTP/1.1 200 OK\r\nX: " + b"x" * 70_000 + b"\r\n\r\n": "is not HTTP",
    b"x" * 70_000: "is not HTTP",
}


class Cases(LeakChecks):
    """An exchange with a socket that the test answers from."""

    def open(self, timeout: float | None = PATIENCE, received: bytes = b"", buffer: int | None = None) -> None:
        """Make self.exchange, and self.server, which it talks to."""
        self.server, sock = socketpair(buffer)
        self.server.settimeout(PATIENCE)
        self.addCleanup(self.server.close)
        self.transport = Transport(sock)
        self.addCleanup(self.transport.close)
        self.attempt = Attempt(timeout)
        self.exchange = Exchange(self.transport, self.attempt, received)

    def answer(self, data: bytes) -> None:
        """Send an answer, of any size, and then hang up."""

        server = self.server

        def send() -> None:
            with contextlib.suppress(OSError):  # a client reads only what it needs
                server.sendall(data)
                server.shutdown(socket.SHUT_WR)

        self.addCleanup(Task(send).join)
        self.addCleanup(self.transport.close)  # before it: a client that is gone holds nobody up

    def drip(self, data: bytes) -> Task:
        """Send the same bytes again and again, with pauses, until the client leaves."""
        server = self.server
        server.settimeout(0.01)

        def send() -> None:
            with contextlib.suppress(ConnectionError):
                while True:
                    server.sendall(data)
                    with contextlib.suppress(TimeoutError):
                        if not server.recv(4096):
                            break

        return Task(send)

    def ask(self, data: bytes, *, method: str = "GET", target: str = "/", headers: Any = UPGRADE) -> ReceivedResponse:
        """What becomes of an answer that is followed by the end of the stream."""
        self.open()
        self.answer(data)
        return self.exchange.ask(method, target, headers)

    def scripted(self, data: bytes) -> Exchange:
        """An exchange that is answered a byte at a time."""
        sock = ScriptedSocket(incoming=[bytes([byte]) for byte in data])
        self.addCleanup(sock.close)
        return Exchange(Transport(sock), Attempt(PATIENCE))  # type: ignore[arg-type]


class RequestTests(Cases):
    """What is asked."""

    def test_request(self) -> None:
        """A request is its line and the headers as they were given: order, spelling, repetition, Latin-1."""
        self.open()
        self.server.sendall(SWITCHED)
        self.exchange.ask("GET", "/a?b=%20", [("hOST", "a:1"), *UPGRADE[1:], ("X", "1"), ("A", "ä"), ("X", "2")])
        self.assertEqual(
            self.server.recv(4096),
            b"GET /a?b=%20 HTTP/1.1\r\nhOST: a:1\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n"
            b"X: 1\r\nA: \xe4\r\nX: 2\r\n\r\n",
        )

    def test_nothing_is_asked_of_a_stopped_attempt(self) -> None:
        """An attempt that was stopped, or whose time is over, sends nothing."""
        for timeout, error in ((PATIENCE, Stopped), (0.0, TimeoutError)):
            self.open(timeout)
            if error is Stopped:
                self.attempt.stop()
            with self.assertRaises(error):
                self.exchange.ask("GET", "/", UPGRADE)
            self.transport.close()
            self.assertEqual(self.server.recv(1), b"")

    def test_server_that_does_not_read(self) -> None:
        """A request that does not leave in time is a TimeoutError that says so."""
        self.open(0.1, buffer=4096)
        with self.assertRaisesRegex(TimeoutError, r"^sending the request: not done within 0.1 s"):
            self.exchange.ask("GET", "/", [*UPGRADE, ("X", "x" * (1 << 22))])

    def test_server_that_has_left(self) -> None:
        """A server that resets the connection is an OSError."""
        self.open()
        self.server.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, b"\1\0\0\0\0\0\0\0")
        task = Task(self.exchange.ask, "GET", "/", UPGRADE)
        self.server.recv(4096)
        self.server.close()
        self.assertIsInstance(task.error(), ConnectionResetError)


class AnswerTests(Cases):
    """What is answered, and how the answer came."""

    def test_switched(self) -> None:
        """A 101 has status, reason and headers; what stands behind it is not part of it, and not lost."""
        response = self.ask(SWITCHED + b"frames")
        self.assertEqual((response.status, response.reason, response.http_version), (101, "Switching Protocols", "1.1"))
        self.assertEqual(response.headers, Headers([("Upgrade", "websocket"), ("Connection", "Upgrade")]))
        self.assertEqual(response.body, b"")
        self.assertEqual(self.exchange.trailing, b"frames")

    def test_nothing_behind_it(self) -> None:
        """Without anything behind a 101 there is nothing; the stream goes on where the head ends."""
        self.open()
        self.server.sendall(SWITCHED)
        self.exchange.ask("GET", "/", UPGRADE)
        self.assertEqual(self.exchange.trailing, b"")
        self.server.sendall(b"frames")
        self.assertEqual(self.transport.receive(100, PATIENCE), b"frames")

    def test_much_behind_it(self) -> None:
        """However much comes at once, each byte is either behind the answer or still in the stream."""
        behind = bytes(range(256)) * 1000
        self.ask(SWITCHED + behind)
        found = self.exchange.trailing
        while data := self.transport.receive(65536, PATIENCE):
            found += data
        self.assertTrue(found == behind)

    def test_received_before(self) -> None:
        """What had come before the exchange began is read first, also if it is the whole answer."""
        for length in (1, 20, len(SWITCHED), len(SWITCHED) + 3):
            whole = SWITCHED + b"frames"
            self.open(received=whole[:length])
            self.answer(whole[length:])
            self.assertEqual(self.exchange.ask("GET", "/", UPGRADE).status, 101)
            found = self.exchange.trailing
            while data := self.transport.receive(100, PATIENCE):
                found += data
            self.assertEqual(found, b"frames")

    def test_a_byte_at_a_time(self) -> None:
        """An answer that comes a byte at a time is the same; of what is behind it nothing is read."""
        self.enterContext(mock.patch.object(httpclient, "_BODY_TIMEOUT", 600.0))
        exchange = self.scripted(SWITCHED + b"frames")
        self.assertEqual(exchange.ask("GET", "/", UPGRADE).headers["upgrade"], "websocket")
        self.assertEqual(exchange.trailing, b"")
        for told, (data, body) in BODIES.items():
            with self.subTest(told):
                response = self.scripted(data).ask("GET", "/", UPGRADE)
                self.assertEqual(response.body, body)

    def test_interim_answers(self) -> None:
        """Interim answers before the answer are skipped, up to fifteen of them."""
        interim = b"HTTP/1.1 100 Continue\r\n\r\nHTTP/1.1 103 Early Hints\r\nLink: </a>\r\n\r\n"
        for before in (b"HTTP/1.1 100 Continue\r\n\r\n", interim, interim * 7 + b"HTTP/1.1 102 Processing\r\n\r\n"):
            response = self.ask(before + SWITCHED + b"frames")
            self.assertEqual((response.status, self.exchange.trailing), (101, b"frames"))
            self.assertNotIn("Link", response.headers)
            self.assertEqual(self.ask(before + b"HTTP/1.1 404 Not Found\r\n\r\nno").body, b"no")

    def test_endless_interim_answers(self) -> None:
        """Who sends sixteen interim answers is not waited for any longer."""
        with self.assertRaisesRegex(BadAnswer, "16 interim answers came"):
            self.ask(b"HTTP/1.1 100 Continue\r\n\r\n" * 16 + SWITCHED)

    def test_bodies(self) -> None:
        """A refusal has the first 1024 bytes of its body, however that ends, and whatever is wrong with it."""
        for told, (data, body) in BODIES.items():
            with self.subTest(told):
                response = self.ask(data)
                self.assertIn(response.status, (403, 204))
                self.assertTrue(response.body == body, f"{len(response.body)} bytes")
                self.assertEqual(self.exchange.trailing, b"")

    def test_body_that_stalls(self) -> None:
        """A body that stops coming is waited for a while, and then what has come is the body (gorilla waits on)."""
        for data in (
            b"HTTP/1.1 403 Forbidden\r\nContent-Length: 2000\r\n\r\n0123456789",
            b"HTTP/1.1 403 Forbidden\r\nTransfer-Encoding: chunked\r\n\r\na\r\n0123456789\r\n",
            b"HTTP/1.1 403 Forbidden\r\n\r\n0123456789",
        ):
            self.open(None)
            with mock.patch.object(httpclient, "_BODY_TIMEOUT", 0.05):
                self.server.sendall(data)
                self.assertEqual(self.exchange.ask("GET", "/", UPGRADE).body, b"0123456789")

    def test_body_that_drips(self) -> None:
        """The wait for a body is one for all of it: a server that drips does not renew it."""
        self.open(None)
        self.server.sendall(b"HTTP/1.1 403 Forbidden\r\n\r\n")
        task = self.drip(b"x")
        with mock.patch.object(httpclient, "_BODY_TIMEOUT", 0.2):
            body = self.exchange.ask("GET", "/", UPGRADE).body
        self.assertLess(len(body), 1024)
        self.transport.close()
        task.result()

    def test_body_within_the_deadline(self) -> None:
        """A body is not waited for beyond the attempt's deadline; the refusal is told all the same."""
        self.open()
        receive = self.transport.receive

        def receive_late(size: int, wait: float | None) -> bytes | None:
            data = receive(size, wait)
            self.attempt.deadline = time.monotonic() + 0.05
            return data

        self.server.sendall(b"HTTP/1.1 403 Forbidden\r\nContent-Length: 2000\r\n\r\n0123456789")
        with (
            mock.patch.object(self.transport, "receive", receive_late),
            mock.patch.object(httpclient, "_BODY_TIMEOUT", 1e6),
        ):
            self.assertEqual(self.exchange.ask("GET", "/", UPGRADE).body, b"0123456789")

    def test_body_cut_off(self) -> None:
        """A reset in the middle of a body hides neither the refusal nor what came of the body."""
        sock = ScriptedSocket(
            incoming=[b"HTTP/1.1 403 Forbidden\r\nContent-Length: 9\r\n\r\n", b"012", ConnectionResetError()]
        )
        self.addCleanup(sock.close)
        exchange = Exchange(Transport(sock), Attempt(PATIENCE))  # type: ignore[arg-type]
        response = exchange.ask("GET", "/", UPGRADE)
        self.assertEqual((response.status, response.body), (403, b"012"))

    def test_status_line(self) -> None:
        """A reason that is missing is HTTP's own, if that knows one; a status may be any number of three digits."""
        for line, found in {
            b"HTTP/1.1 404": "404 Not Found",
            b"HTTP/1.1 404 ": "404 Not Found",
            b"HTTP/1.1 404 Gone Fishing": "404 Gone Fishing",
            b"HTTP/1.1 404 N\xf6": "404 Nö",
            b"HTTP/1.1 799": "799",
            b"HTTP/1.1 999 ?": "999 ?",
            b"HTTP/1.1 200 OK": "200 OK",
        }.items():
            response = self.ask(line + b"\r\nContent-Length: 0\r\n\r\n")
            self.assertEqual(str(response), found)
            self.assertEqual(response.status, int(found[:3]))
        self.assertEqual(self.ask(b"HTTP/1.1 101\r\n\r\n").reason, "Switching Protocols")

    def test_versions(self) -> None:
        """The version is the server's; who judges the answer needs it."""
        self.assertEqual(self.ask(b"HTTP/1.0 200 OK\r\n\r\n").http_version, "1.0")
        self.assertEqual(self.ask(SWITCHED.replace(b"1.1", b"1.0", 1)).http_version, "1.0")

    def test_headers(self) -> None:
        """Headers keep order, spelling and repetition; values are Latin-1, and a folded one is one."""
        response = self.ask(
            b"HTTP/1.1 404 Not Found\r\nSet-Cookie: a=1\r\nX-Text:  \xe4 \r\n"
            b"X-Long: one\r\n two\r\n\tthree\r\nX-Empty:\r\nset-cookie: b=2\r\n\r\n"
        )
        self.assertEqual(
            list(response.headers),
            [
                ("Set-Cookie", "a=1"),
                ("X-Text", "ä"),
                ("X-Long", "one two three"),
                ("X-Empty", ""),
                ("set-cookie", "b=2"),
            ],
        )
        self.assertEqual(response.headers.get_all("Set-Cookie"), ["a=1", "b=2"])

    def test_large_head(self) -> None:
        """A head of nearly 64 KiB is taken."""
        response = self.ask(SWITCHED[:-2] + b"X: " + b"x" * 65_000 + b"\r\n\r\nframes")
        self.assertEqual(len(response.headers["X"]), 65_000)

    def test_line_ends(self) -> None:
        """Lines may end without a CR."""
        self.assertEqual(self.ask(SWITCHED.replace(b"\r", b"") + b"frames").status, 101)
        self.assertEqual(self.exchange.trailing, b"frames")

    def test_no_answer(self) -> None:
        """What is no answer in HTTP is a BadAnswer that says what it is: garbage, TLS, nothing at all, too much."""
        for data, told in GARBAGE.items():
            with self.subTest(data[:50]), self.assertRaisesRegex(BadAnswer, told):
                self.ask(data)

    def test_no_answer_in_pieces(self) -> None:
        """The same when it comes a byte at a time; that it was TLS is not seen then."""
        for data in GARBAGE:
            if len(data) < 1000:
                with self.subTest(data[:50]), self.assertRaises(BadAnswer):
                    self.scripted(data).ask("GET", "/", UPGRADE)


class ConnectTests(Cases):
    """CONNECT: a proxy's consent is any 2xx."""

    def connect(self, data: bytes) -> ReceivedResponse:
        return self.ask(data, method="CONNECT", target="a:80", headers=[("Host", "a:80")])

    def test_request(self) -> None:
        """The target of a CONNECT is host and port."""
        self.connect(b"HTTP/1.1 200 OK\r\n\r\n")
        self.assertEqual(self.server.recv(4096), b"CONNECT a:80 HTTP/1.1\r\nHost: a:80\r\n\r\n")

    def test_consent(self) -> None:
        """A 2xx has no body, whatever its headers say (RFC 9110 section 9.3.6): what follows is the tunnel's."""
        for head in (
            b"HTTP/1.1 200 Connection established\r\n",
            b"HTTP/1.0 200 Connection established\r\n",
            b"HTTP/1.1 200\r\n",
            b"HTTP/1.1 200 OK\r\nContent-Length: 3\r\n",
            b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n",
            b"HTTP/1.1 201 Created\r\n",
            b"HTTP/1.1 204 No Content\r\n",
            b"HTTP/1.1 100 Continue\r\n\r\nHTTP/1.1 200 OK\r\n",
        ):
            with self.subTest(head):
                response = self.connect(head + b"\r\nSSH-2.0")
                self.assertEqual(response.status // 100, 2)
                self.assertEqual((response.body, self.exchange.trailing), (b"", b"SSH-2.0"))

    def test_refusal(self) -> None:
        """Anything else is a refusal, with its headers and its body."""
        response = self.connect(
            b'HTTP/1.1 407 No\r\nProxy-Authenticate: Basic realm="a"\r\nContent-Length: 2\r\n\r\nno'
        )
        self.assertEqual((response.status, response.body), (407, b"no"))
        self.assertEqual(response.headers["proxy-authenticate"], 'Basic realm="a"')
        self.assertEqual(self.exchange.trailing, b"")
        self.assertEqual(self.connect(b"HTTP/1.0 302 Found\r\nLocation: /\r\n\r\n").status, 302)


class WaitTests(Cases):
    """One deadline over all of it, and another thread's stop."""

    def test_silence(self) -> None:
        """A server that says nothing is a TimeoutError that names the step, and the setting."""
        self.open(0.5)
        told = r"^waiting for the answer: not done within 0.5 s \(handshake_timeout\)$"
        with self.assertRaisesRegex(TimeoutError, told):
            self.exchange.ask("GET", "/", UPGRADE)

    def test_half_a_head(self) -> None:
        """So is one that stops in the middle of the head."""
        self.open(0.05)
        self.server.sendall(SWITCHED[:-1])
        with self.assertRaises(TimeoutError):
            self.exchange.ask("GET", "/", UPGRADE)

    def test_head_that_drips(self) -> None:
        """A server that drips its head gets no more time than one that is silent."""
        self.open(0.2)
        self.server.sendall(b"HTTP/1.1 101 Switching Protocols\r\nX: ")
        task = self.drip(b"x")
        with self.assertRaises(TimeoutError):
            self.exchange.ask("GET", "/", UPGRADE)
        self.transport.close()
        task.result()

    def test_interim_answers_are_no_excuse(self) -> None:
        """Nor does one that sends interim answers, and then nothing."""
        self.open(0.1)
        self.server.sendall(b"HTTP/1.1 100 Continue\r\n\r\n")
        with self.assertRaises(TimeoutError):
            self.exchange.ask("GET", "/", UPGRADE)

    def test_no_deadline(self) -> None:
        """Without a deadline an answer is waited for."""
        self.open(None)
        task = Task(self.exchange.ask, "GET", "/", UPGRADE)
        self.server.recv(4096)
        self.assertFalse(task.done)
        self.server.sendall(SWITCHED)
        self.assertEqual(task.result().status, 101)

    def test_stop(self) -> None:
        """Cut by another thread's stop, the wait ends at once, and the attempt knows that it was stopped."""
        for sent in (b"", SWITCHED[:-1]):
            self.open(None)

            def ask() -> None:
                with self.attempt.interruptible(self.transport.shutdown):
                    self.exchange.ask("GET", "/", UPGRADE)

            task = Task(ask)
            self.server.recv(4096)
            self.server.sendall(sent)
            self.attempt.stop()
            self.assertIsInstance(task.error(), (BadAnswer, Stopped))
            self.assertTrue(self.attempt.stopped)

    def test_stop_while_it_drips(self) -> None:
        """A stop that cuts nothing is seen as soon as another byte has come."""
        self.open(None)
        task = Task(self.exchange.ask, "GET", "/", UPGRADE)
        self.server.recv(4096)
        self.attempt.stop()
        self.server.sendall(b"H")
        self.assertIsInstance(task.error(), Stopped)


class ResponseTests(unittest.TestCase):
    """ReceivedResponse."""

    def test_shown(self) -> None:
        """As text it is status and reason; its repr says how long the body is, and does not show it."""
        response = ReceivedResponse(403, "", Headers(), b"secret")
        self.assertEqual((str(response), response.reason), ("403 Forbidden", "Forbidden"))
        self.assertEqual(repr(response), "<ReceivedResponse 403 Forbidden, 6 bytes>")
        self.assertEqual(str(ReceivedResponse(599, "", Headers())), "599")


if __name__ == "__main__":
    unittest.main()
