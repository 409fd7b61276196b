"""answer.py: which 101 is accepted, and what the error says of others (RFC 6455 section 4.1)."""

from __future__ import annotations

import contextlib
import gzip
import http.cookiejar
import os
import pickle
import random
import socket
import struct
import unittest
import zlib
from typing import Any
from unittest import mock

import syncws
from syncws._frames.agreement import offer
from syncws._http.request import Request
from syncws._http.response import Response
from syncws._server.server import Server
from syncws.errors import BadHandshakeError, HandshakeError
from syncws.testing import running
from tests.certificates import serving, trusting
from tests.client.cases import Asked, DialCase, accepting, frame
from tests.handshakes import ACCEPT
from tests.tasks import PATIENCE

_DEFLATE = "permessage-deflate; server_no_context_takeover"


def answering(status: str, *lines: str, body: bytes = b"") -> bytes:
    """An answer with a body of known length."""
    return "\r\n".join([f"HTTP/1.1 {status}", *lines, f"Content-Length: {len(body)}", "", ""]).encode("latin-1") + body


class TestSwitching(DialCase):
    """Status, version, Upgrade, Connection and accept of a 101."""

    def accepted(self, answer: Any, headers: Any = None, **options: Any) -> syncws.Conn:
        return self.dial(self.bad_server(answer).url, headers, **options)

    def test_extra_tokens(self) -> None:
        """Upgrade and Connection may list other tokens too, in any case, and on several lines."""
        for instead in (
            {"upgrade": "Upgrade: foo, websocket"},
            {"upgrade": "UPGRADE: WebSocket, foo/1"},
            {"upgrade": "Upgrade: foo\r\nUpgrade: websocket"},
            {"connection": "Connection: upgrade, keep-alive"},
            {"connection": "Connection: keep-alive,,\tUPGRADE"},
            {"connection": "connection: keep-alive\r\nconnection: upgrade"},
        ):
            with self.subTest(instead):
                self.assertEqual(self.accepted(accepting(**instead)).response.status, 101)

    def test_no_upgrade(self) -> None:
        """An Upgrade header that is missing, or names something else, is refused."""
        for line in (
            None,
            "Upgrade: h2c",
            "Upgrade: websockets",
            "Upgrade: web socket",
            "Upgrade:",
            'Upgrade: "websocket"',
        ):
            with self.subTest(line):
                self.assertEqual(self.refused(accepting(upgrade=line)), "its Upgrade header does not say 'websocket'")

    def test_lists(self) -> None:
        """Upgrade and Connection may list more, in any case, in several lines, with empty elements (RFC 9110)."""
        for upgrade, connection in (
            ("Upgrade: HTTP/2.0, websocket", "Connection: keep-alive, Upgrade"),
            ("Upgrade: , WebSocket,\r\nUpgrade: h2c", "Connection: close\r\nConnection: ,UPGRADE\t"),
        ):
            with self.subTest(upgrade):
                conn = self.accepted(accepting(upgrade=upgrade, connection=connection, behind=frame(b"hello")))
                self.assertEqual(conn.receive(timeout=PATIENCE), "hello")

    def test_no_connection(self) -> None:
        """A Connection header that is missing, or names something else, is refused."""
        for line in (None, "Connection: close", "Connection: upgraded", "Connection: keep-alive"):
            with self.subTest(line):
                self.assertEqual(
                    self.refused(accepting(connection=line)), "its Connection header does not say 'Upgrade'"
                )

    def test_what_real_servers_send(self) -> None:
        """Headers that say nothing, or nothing about a 101, are no reason to fail: the RFC demands none of it."""
        for lines in (
            ("Sec-WebSocket-Extensions:", "Sec-WebSocket-Protocol:"),
            ("Content-Length: 0",),
            ("Transfer-Encoding: chunked",),
            ("Content-Type: text/plain", "Content-Encoding: gzip"),
            ("Sec-WebSocket-Version: 13", "Date: now", "Server:"),
            ("Upgrade: websocket", "Connection: Upgrade"),
            ("Set-Cookie: a=\xe4; Path=/", "X-Empty:", "X-Empty: "),
            ("Sec-WebSocket-Extensions: ,", "Sec-WebSocket-Extensions: \t, ,"),
        ):
            with self.subTest(lines):
                conn = self.accepted(accepting(*lines, behind=frame(b"hello")), enable_compression=True)
                self.assertEqual((conn.receive(timeout=PATIENCE), conn.subprotocol), ("hello", None))
        for line in (b"HTTP/1.1 101\r\n", b"HTTP/1.1 101 \r\n", b"HTTP/1.1 101 Web Socket Protocol Handshake\r\n"):
            with self.subTest(line):
                conn = self.accepted(lambda asked, line=line: line + accepting()(asked).partition(b"\r\n")[2])
                self.assertEqual(conn.response.status, 101)

    def test_wrong_accept(self) -> None:
        """An accept that is missing, empty, a constant, in another case or the key itself is refused."""
        for line in (
            None,
            "Sec-WebSocket-Accept:",
            f"Sec-WebSocket-Accept: {ACCEPT}",  # the one of RFC 6455 section 1.3
        ):
            with self.subTest(line):
                self.assertIn("Sec-WebSocket-Accept does not answer our", self.refused(accepting(accept=line)))

        def key(asked: Asked) -> bytes:
            return accepting(accept=f"Sec-WebSocket-Accept: {asked.headers['Sec-WebSocket-Key']}")(asked)

        def swapped(asked: Asked) -> bytes:
            head, accept, rest = accepting("X: y")(asked).partition(b"Accept: ")
            return head + accept + rest.partition(b"\r\n")[0].swapcase() + b"\r\nX: y\r\n\r\n"

        for answer in (key, swapped):
            self.assertIn("Sec-WebSocket-Accept does not answer our", self.refused(answer))

    def test_blanks_around_the_accept(self) -> None:
        """Blanks around the accept are no part of it."""

        def padded(asked: Asked) -> bytes:
            return accepting()(asked).replace(b"Accept: ", b"Accept: \t ").replace(b"=\r\n", b"=  \t\r\n")

        self.assertEqual(self.accepted(padded).response.status, 101)

    def test_the_accept_of_another_connection(self) -> None:
        """An answer that was recorded does not fit the next request."""
        recorded: list[bytes] = []

        def replay(asked: Asked) -> bytes:
            recorded.append(accepting()(asked))
            return recorded[0]

        server = self.bad_server(replay)
        self.dial(server.url).close_now()
        self.assertIn("Sec-WebSocket-Accept", str(self.refusal(server)))

    def test_other_versions_of_http(self) -> None:
        """A 101 of another version than HTTP/1.1 is refused: only that version has upgrades."""
        for version in ("1.0", "2.0"):
            with self.subTest(version):
                found = self.refused(
                    lambda asked, version=version: accepting()(asked).replace(b"/1.1", f"/{version}".encode(), 1)
                )
                self.assertEqual(found, f"the answer is in HTTP/{version}, and WebSocket needs HTTP/1.1")

    def test_the_101_is_in_the_error(self) -> None:
        """The error holds a 101 that is refused, with its headers and without a body; bytes after it are not kept."""
        error = self.refusal(self.bad_server(accepting("X-A: b", accept=None, behind=b"\x81\x02hi")))
        self.assertEqual((error.status, error.response.status, error.response.body), (101, 101, b""))
        self.assertEqual(error.response.headers["X-A"], "b")


class TestSubprotocols(DialCase):
    """The one subprotocol that a server may choose."""

    def choice(self, *chosen: str, headers: Any = None, **options: Any) -> str | None:
        lines = (f"Sec-WebSocket-Protocol: {name}" for name in chosen)
        return self.dial(self.bad_server(accepting(*lines)).url, headers, **options).subprotocol

    def refused_choice(self, *chosen: str, headers: Any = None, **options: Any) -> str:
        return self.refused(accepting(*(f"Sec-WebSocket-Protocol: {name}" for name in chosen)), headers, **options)

    def test_one_of_the_offered(self) -> None:
        """The server may choose any subprotocol that was offered; conn.subprotocol is that one."""
        self.assertEqual(self.choice("v2", subprotocols=["v1", "v2"]), "v2")
        self.assertEqual(self.choice(" v1 ", subprotocols=["v1", "v2"]), "v1")

    def test_none(self) -> None:
        """The server may choose none, whether or not any was offered."""
        self.assertIsNone(self.choice(subprotocols=["v1"]))
        self.assertIsNone(self.choice())

    def test_an_empty_one(self) -> None:
        """An empty Sec-WebSocket-Protocol in the 101, which the API of Kubernetes sends, is none; so are several."""
        for chosen in (("",), (" ",), ("", "\t")):
            with self.subTest(chosen):
                self.assertIsNone(self.choice(*chosen, subprotocols=["v1"]))
                self.assertIsNone(self.choice(*chosen))
        self.assertEqual(self.choice("", "v1", subprotocols=["v1"]), "v1")

    def test_one_of_those_in_headers(self) -> None:
        """What was offered by headers may be chosen, from each of their lines, and nothing else."""
        headers = [("Sec-WebSocket-Protocol", "a, b"), ("sec-websocket-protocol", "c")]
        for name in "abc":
            self.assertEqual(self.choice(name, headers=headers), name)
        for name in ("d", "a, b"):
            self.assertIn("a, b, c was offered", self.refused_choice(name, headers=headers))

    def test_one_that_was_not_offered(self) -> None:
        """A subprotocol that was not offered is refused, also one in another case; the error names it and the offer."""
        found = self.refused_choice("zzz", subprotocols=["v1", "v2"])
        self.assertEqual(found, "it chose the subprotocol 'zzz', and v1, v2 was offered")
        self.assertIn("'V1'", self.refused_choice("V1", subprotocols=["v1"]))
        self.assertEqual(self.refused_choice("v1"), "it chose the subprotocol 'v1', and none was offered")
        self.assertIn("none was offered", self.refused_choice(","))

    def test_a_token_that_was_offered(self) -> None:
        """A subprotocol that is long, as a token is (Kubernetes takes one so), is in no error as a whole."""
        token = "base64url.bearer.authorization.k8s.io.c2VjcmV0LXRva2Vu"
        found = self.refused_choice("zzz", subprotocols=["v4.channel.k8s.io", token])
        self.assertNotIn("c2Vj", found)

    def test_more_than_one(self) -> None:
        """Two are refused, in a list or on two lines, even if both are the same (RFC 6455 section 11.3.4)."""
        for chosen in (("v1, v2",), ("v1", "v2"), ("v1", "v1"), ("v1,",)):
            with self.subTest(chosen):
                self.assertIn("it chose the subprotocol", self.refused_choice(*chosen, subprotocols=["v1", "v2"]))

    def test_a_long_one_is_cut(self) -> None:
        """The error shows the beginning of a long choice, and none of its control characters."""
        found = self.refused_choice("x" * 5000 + "\x1b", subprotocols=["v1"])
        self.assertLess(len(found), 300)
        self.assertTrue(found.isprintable())


class TestExtensions(DialCase):
    """Which compression a server may agree to."""

    def agreed(self, *values: str) -> syncws.Conn:
        lines = (f"Sec-WebSocket-Extensions: {value}" for value in values)
        return self.dial(self.bad_server(accepting(*lines)).url, enable_compression=True)

    def refused_extensions(self, *values: str, enable_compression: bool = True) -> str:
        lines = (f"Sec-WebSocket-Extensions: {value}" for value in values)
        return self.refused(accepting(*lines), enable_compression=enable_compression)

    def test_the_offer(self) -> None:
        """The client offers compression without context takeover, and the server may limit the client's window."""
        conn = self.agreed(_DEFLATE)
        self.assertEqual(conn.response.headers["Sec-WebSocket-Extensions"], _DEFLATE)
        self.assertEqual(
            offer(),
            "permessage-deflate; server_no_context_takeover; client_no_context_takeover; client_max_window_bits",
        )

    def test_agreements(self) -> None:
        """Both parameters, the server's alone, windows, quoted values and empty elements are accepted."""
        for value in (
            _DEFLATE,
            f"{_DEFLATE}; client_no_context_takeover",
            f"{_DEFLATE}; client_max_window_bits=9",
            f'{_DEFLATE}; client_max_window_bits="15"; server_max_window_bits=8',
            f" , {_DEFLATE} ,",
        ):
            with self.subTest(value):
                self.assertTrue(self.agreed(value).compression)

    def test_no_agreement(self) -> None:
        """Without the header, or with an empty one, there is no compression."""
        for values in ((), ("",), (" ",), ("", "")):
            with self.subTest(values):
                self.assertFalse(self.agreed(*values).compression)

    def test_none_was_offered(self) -> None:
        """Any extension is refused if none was offered."""
        for value, name in ((_DEFLATE, "permessage-deflate"), ("x-foo; a=b", "x-foo"), ("a, b", "a")):
            with self.subTest(value):
                found = self.refused_extensions(value, enable_compression=False)
                self.assertEqual(found, f"it agreed to the extension {name!r}, and none was offered")

    def test_another_was_offered(self) -> None:
        """An extension that was not offered is refused, alone and beside the one that was."""
        self.assertIn("'x-foo', which was not offered", self.refused_extensions("x-foo"))
        self.assertIn("2 extensions; one was offered", self.refused_extensions(f"{_DEFLATE}, x-foo"))
        self.assertIn("2 extensions; one was offered", self.refused_extensions(_DEFLATE, "x-foo"))
        self.assertIn("2 extensions; one was offered", self.refused_extensions(_DEFLATE, _DEFLATE))

    def test_bad_parameters(self) -> None:
        """Parameters that are unknown, there twice, or of a wrong value are refused, and named."""
        for parameter in (
            "foo",
            "server_no_context_takeover",  # twice, then
            "client_no_context_takeover=1",
            "server_max_window_bits",
            "client_max_window_bits",
            "client_max_window_bits=16",
            "client_max_window_bits=7",
            "client_max_window_bits=010",
            "server_max_window_bits=99999999999999999999",
        ):
            with self.subTest(parameter):
                self.assertIn(parameter.partition("=")[0], self.refused_extensions(f"{_DEFLATE}; {parameter}"))

    def test_context_takeover(self) -> None:
        """A server that does not promise to forget its context is understood, as Tornado's: a window is kept for it."""
        for value in ("permessage-deflate", "permessage-deflate; client_no_context_takeover"):
            self.assertTrue(self.agreed(value).compression)

    def test_a_window_that_is_too_large(self) -> None:
        """A server that does not keep to the window which was asked for is refused, with the options that help."""
        for value in (_DEFLATE, f"{_DEFLATE}; server_max_window_bits=11"):
            answer = accepting(f"Sec-WebSocket-Extensions: {value}")
            found = self.refused(answer, max_window_bits=10, enable_compression=True)
            self.assertIn("without server_max_window_bits=10, which was asked for", found)
            self.assertIn("max_window_bits=15 asks for nothing", found)
            self.assertIn("enable_compression=False connects without compression", found)

    def test_malformed(self) -> None:
        """A header that is no list of extensions is refused, whether or not any was offered."""
        for enable in (True, False):
            for value in ("=", "permessage-deflate;", "permessage deflate", '"permessage-deflate"', ";"):
                with self.subTest(value, enable=enable):
                    found = self.refused_extensions(value, enable_compression=enable)
                    self.assertEqual(found, "its Sec-WebSocket-Extensions is malformed")


class TestRefusals(DialCase):
    """Answers with another status: what the error holds, and what it says."""

    def test_statuses(self) -> None:
        """Every status except 101 is refused; the message has its reason, and the error has the answer."""
        for line in (
            "200 OK",
            "204 No Content",
            "400 Bad Request",
            "401 Unauthorized",
            "403 Forbidden",
            "404 Nothing Here",
            "426 Upgrade Required",
            "500 Oh dear",
            "599 ?",
        ):
            with self.subTest(line):
                server = self.bad_server(answering(line, "X-A: b"))
                error = self.refusal(server)
                self.assertEqual(str(error), f"no WebSocket at {server.url}: the answer is {line}")
                self.assertEqual(f"{error.status} {error.response.reason}", line)
                self.assertEqual(error.response.status, error.status)
                self.assertEqual(error.response.headers["x-a"], "b")
                self.assertEqual(error.response.body, b"")

    def test_its_kind(self) -> None:
        """The error is a HandshakeError and a WebSocketError, and no OSError."""
        error = self.refusal(self.bad_server(answering("403 Forbidden")))
        self.assertIsInstance(error, (HandshakeError, syncws.WebSocketError))
        self.assertNotIsInstance(error, OSError)
        self.assertIsNone(error.__cause__)
        self.assertTrue(error.__suppress_context__)

    def test_a_real_page(self) -> None:
        """A page of a real server is refused with status, headers and body (TestRespOnBadHandshake)."""

        def gone(request: Request) -> Response:
            return Response("This is the response body", status=410, headers={"X-A": "b"})

        with running(Server(gone, port=0)) as server, self.assertRaises(BadHandshakeError) as caught:
            self.dial(f"ws://127.0.0.1:{server.address[1]}/a?token=secret")
        answer = caught.exception.response
        self.assertEqual((answer.status, answer.reason, answer.body), (410, "Gone", b"This is the response body"))
        self.assertEqual(answer.headers["X-A"], "b")
        self.assertNotIn("secret", str(caught.exception))

    def test_a_redirect(self) -> None:
        """A redirect is not followed, and the message says where it leads."""
        other = self.bad_server(accepting())
        for status in ("301 Moved Permanently", "302 Found", "303 See Other", "307 Temporary Redirect", "308 P"):
            location = f"Location: {other.url}"
            server = self.bad_server(answering(status, location, body=b"over there"))
            error = self.refusal(server)
            self.assertIn(f"the answer is {status}, to {other.url!r}; redirects are not followed", str(error))
            self.assertEqual((error.response.headers["Location"], error.response.body), (other.url, b"over there"))
        self.assertEqual(other.asked, [])

    def test_a_redirect_names_the_option(self) -> None:
        """The message of a redirect names max_redirects; that of another 3xx, which leads nowhere, does not."""
        for status in (301, 302, 303, 307, 308):
            self.assertIn("max_redirects is 0", self.refused(answering(f"{status} x", "Location: /a")))
        self.assertEqual(self.refused(answering("304 x", "Location: /a")), "the answer is 304 x, to '/a'")
        self.assertEqual(self.refused(answering("300 x")), "the answer is 300 x")

    def test_a_strange_redirect(self) -> None:
        """A Location that is long, or has control characters, is shown in part and quoted; none is not shown."""
        found = self.refused(answering("302 Found", "Location: http://\x9b31m\xfc/" + "x" * 5000))
        self.assertLess(len(found), 300)
        self.assertTrue(found.isprintable())
        self.assertEqual(self.refused(answering("302 Found")), "the answer is 302 Found")

    def test_the_first_line_of_a_text(self) -> None:
        """The message shows the first line of a plain text, nothing of a page, and only printable characters."""
        for kind, body, shown in (
            ("text/plain", b"wrong token\nsecond line", ": wrong token"),
            ("text/plain; charset=utf-8", "falscher Schlüssel\r\n".encode(), ": falscher Schlüssel"),
            ("text/plain", b"a\x1b[31mb\x00\x7f\xffc", ": a[31mb�c"),
            ("text/plain", b"x" * 1000, ": " + "x" * 200),
            ("text/plain", b"\n\nlate", ""),
            ("text/plain", b"", ""),
            ("text/html", b"<h1>wrong token</h1>", ""),
            ("application/json", b'{"error": "token"}', ""),
        ):
            with self.subTest(body, kind=kind):
                found = self.refused(answering("401 Unauthorized", f"Content-Type: {kind}", body=body))
                self.assertEqual(found, f"the answer is 401 Unauthorized{shown}")

    def test_a_compressed_text(self) -> None:
        """A body that is gzip or deflate is shown as what it says, and one that cannot be read by its size and kind."""
        text = b"wrong token\nsecond line"
        for coding, body, shown, kept in (
            ("gzip", gzip.compress(text), "wrong token", text),
            ("deflate", zlib.compress(text), "wrong token", text),
            ("x-gzip, identity", gzip.compress(text), "wrong token", text),
            ("br", b"\x8b\x0a\x80wrong\x03", "(a body of 9 bytes, br)", b"\x8b\x0a\x80wrong\x03"),
            ("gzip", b"\x1f\x8b garbage", "(a body of 10 bytes, gzip)", b"\x1f\x8b garbage"),
            ("zstd", b"", "", b""),
        ):
            with self.subTest(coding, body=body):
                lines = ("Content-Type: text/plain", f"Content-Encoding: {coding}")
                server = self.bad_server(answering("401 Unauthorized", *lines, body=body))
                error = self.refusal(server)
                told = f"no WebSocket at {server.url}: the answer is 401 Unauthorized{': ' if shown else ''}{shown}"
                self.assertEqual((str(error), error.response.body), (told, kept))

    def test_a_text_that_repeats_the_reason(self) -> None:
        """Where a text begins with the reason, as ours do, the message says it once."""
        found = self.refused(answering("403 Forbidden", "Content-Type: text/plain", body=b"Forbidden: no such token"))
        self.assertEqual(found, "the answer is 403 Forbidden: no such token")

    def test_a_reason_with_controls(self) -> None:
        """The message shows the printable characters of a reason, and only the beginning of a long one."""
        self.assertEqual(self.refused(answering("403 \x9b31mForbidden\xad")), "the answer is 403 31mForbidden")
        self.assertEqual(self.refused(answering("403 " + "x" * 5000)), f"the answer is 403 {'x' * 200}")

    def test_no_reason(self) -> None:
        """A status line without a reason is understood, and HTTP's own reason shown (gorilla panics)."""
        for line in (b"HTTP/1.1 404\r\n", b"HTTP/1.1 404 \r\n"):
            found = self.refused(line + b"Content-Length: 0\r\n\r\n")
            self.assertEqual(found, "the answer is 404 Not Found")

    def test_the_beginning_of_a_body(self) -> None:
        """1024 bytes of a body are kept, however it comes."""
        body = bytes(range(256)) * 8
        chunks = b"".join(b"%x\r\n%b\r\n" % (len(part), part) for part in (body[:10], body[10:1500], body[1500:]))
        head = b"HTTP/1.1 403 Forbidden\r\n"
        for name, answer in (
            ("length", answering("403 Forbidden", body=body)),
            ("chunks", head + b"Transfer-Encoding: chunked\r\n\r\n" + chunks + b"0\r\n\r\n"),
            ("endless", head + b"Transfer-Encoding: chunked\r\n\r\n" + chunks),
            ("until the end", head + b"Connection: close\r\n\r\n" + body),
        ):
            with self.subTest(name):
                error = self.refusal(self.bad_server(answer))
                self.assertEqual(error.response.body, body[:1024])

    def test_a_small_body(self) -> None:
        """A body of fewer bytes is kept whole, when the server leaves the connection open, and when it hangs up."""
        for hang_up in (False, True):
            server = self.bad_server(answering("403 Forbidden", body=b"no"), hang_up=hang_up)
            self.assertEqual(self.refusal(server).response.body, b"no")

    def test_a_body_that_does_not_come(self) -> None:
        """A body that stops coming is waited for only a moment, even without any timeout."""
        answer = b"HTTP/1.1 403 Forbidden\r\nContent-Length: 2000\r\n\r\nten bytes."
        with mock.patch("syncws._http.httpclient._BODY_TIMEOUT", 0.1):
            error = self.refusal(self.bad_server(answer), handshake_timeout=None)
        self.assertEqual((error.status, error.response.body), (403, b"ten bytes."))

    def test_a_body_that_is_broken(self) -> None:
        """The part of a body that came before it was cut or broke is kept, and the status counts."""
        for answer in (
            b"HTTP/1.1 403 Forbidden\r\nContent-Length: 2000\r\n\r\npart",
            b"HTTP/1.1 403 Forbidden\r\nTransfer-Encoding: chunked\r\n\r\n4\r\npart\r\nnonsense\r\n",
        ):
            error = self.refusal(self.bad_server(answer, hang_up=True))
            self.assertEqual((error.status, error.response.body), (403, b"part"))

    def test_pickling(self) -> None:
        """The error can be sent to another process, with its answer."""
        error = self.refusal(self.bad_server(answering("403 Forbidden", body=b"no")))
        copy = pickle.loads(pickle.dumps(error))
        self.assertEqual((str(copy), copy.status, copy.response.body), (str(error), 403, b"no"))


class TestNoAnswer(DialCase):
    """No HTTP, or no answer at all: an error without a response, or the error of the network."""

    def test_a_hang_up(self) -> None:
        """The error says that the server closed the connection without an answer; there is no response."""
        server = self.bad_server(b"", hang_up=True)
        error = self.refusal(server)
        self.assertEqual(str(error), f"no WebSocket at {server.url}: it closed the connection without an answer")
        self.assertEqual((error.status, error.response), (0, None))
        self.assertIn("wss: instead of ws:", error.__notes__[0])

    def test_a_hang_up_within_the_head(self) -> None:
        """A head that is cut is no answer."""
        for head in (b"H", b"HTTP/1.1 101 Switching Protocols\r\n", b"HTTP/1.1 403 Forbidden\r\nX-A: b\r\n"):
            error = self.refusal(self.bad_server(head, hang_up=True))
            self.assertEqual((error.status, error.response), (0, None))
            self.assertIn("its answer is not HTTP", str(error))

    def test_a_reset(self) -> None:
        """A connection that is reset raises the network's own error."""

        def reset(sock: socket.socket, asked: Asked) -> None:
            sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
            sock.close()
            raise ConnectionResetError  # as it is for both sides

        with self.assertRaises(ConnectionResetError):
            self.dial(self.bad_server(script=reset).url)

    def test_what_is_not_http(self) -> None:
        """The error says that the answer is not HTTP; what it shows of the bytes is printable."""
        for answer in (
            b"SSH-2.0-OpenSSH_9.2\r\n",
            b"220 mail.example ESMTP\r\n",
            b"\x00\x01\x02\x03\x1b[31m\r\n\r\n",
            b"\xff" * 100 + b"\r\n\r\n",
            b"HTTP/1.1 abc OK\r\n\r\n",
            b"HTTP/1.1 1001 OK\r\n\r\n",
            b"HTTP/1.1 101 Switching Protocols\r\nno colon\r\n\r\n",
            b"HTTP/1.1 101 Switching Protocols\r\nX: \x00\r\n\r\n",
            b"HTTP/1.1 200 OK\r\nContent-Length: x\r\n\r\n",
            b"HTTP/1.1 200 OK\r\nContent-Length: 1\r\nContent-Length: 2\r\n\r\n",
        ):
            with self.subTest(answer):
                server = self.bad_server(answer, hang_up=True)
                error = self.refusal(server)
                self.assertEqual((error.status, error.response), (0, None))
                self.assertIn(f"no WebSocket at {server.url}: its answer is not HTTP", str(error))
                self.assertTrue(str(error).isprintable(), str(error))

    def test_a_head_without_end(self) -> None:
        """A head of more than 64 KiB is refused, and no more of it is kept."""
        error = self.refusal(self.bad_server(b"HTTP/1.1 101 Switching Protocols\r\nX: " + b"x" * (1 << 17)))
        self.assertEqual((error.status, error.response), (0, None))

    def test_interim_answers_without_end(self) -> None:
        """A server that sends only interim answers is refused."""
        error = self.refusal(self.bad_server(b"HTTP/1.1 100 Continue\r\n\r\n" * 100))
        self.assertIn("16 interim answers came (status 1xx), and no other", str(error))

    def test_whether_it_was_cut(self) -> None:
        """The cause of the error is an OSError where the connection ended too early, and none for what is not HTTP."""
        for answer, cut in (
            (b"", True),
            (b"HT", True),
            (b"HTTP/1.1 503 Serv", True),
            (b"220 mail.example ESMTP\r\n", False),
            (b"HTTP/1.1 abc OK\r\n\r\n", False),
            (b"\x15\x03\x01\x00\x02\x02\x0a", False),
        ):
            with self.subTest(answer):
                error = self.refusal(self.bad_server(answer, hang_up=True))
                self.assertIs(isinstance(error.__cause__, OSError), cut)

    def test_a_server_that_speaks_tls(self) -> None:
        """An alert in answer to ws says that the server speaks TLS."""
        server = self.bad_server(b"\x15\x03\x01\x00\x02\x02\x0a", hang_up=True)  # fatal, unexpected_message
        error = self.refusal(server)
        self.assertEqual(str(error), f"no WebSocket at {server.url}: it speaks TLS, and was spoken to without")

    def test_a_real_server_that_speaks_tls(self) -> None:
        """ws to a server that speaks TLS is a BadHandshakeError, and the server goes on."""
        server = self.echo_server(ssl_context=serving())
        with self.assertRaises(BadHandshakeError) as caught:
            self.dial(server.url.replace("wss:", "ws:"))
        self.assertIsNone(caught.exception.response)
        self.assert_echo(self.dial(server.url, ssl_context=trusting()))

    def test_any_bytes(self) -> None:
        """Whatever bytes answer, nothing but BadHandshakeError and OSError leaves the dial, and nothing stays open."""
        chance = random.Random(6455)
        jar = http.cookiejar.CookieJar()

        def mutated(asked: Asked) -> bytes:
            lines = ["Set-Cookie: a=b", f"Sec-WebSocket-Extensions: {_DEFLATE}", "Sec-WebSocket-Protocol: v1"]
            answer = bytearray(accepting(*lines)(asked))
            for _ in range(chance.randrange(1, 4)):
                at = chance.randrange(len(answer))
                match chance.randrange(4):
                    case 0:
                        answer[at] = chance.randrange(256)
                    case 1:
                        del answer[at : at + chance.randrange(20)]
                    case 2:
                        answer[at:at] = os.urandom(chance.randrange(4))
                    case 3:
                        answer[at:at] = answer[chance.randrange(len(answer)) :][:40]
            return bytes(answer)

        server = self.bad_server(mutated, hang_up=True)
        for _ in range(300):
            with contextlib.suppress(BadHandshakeError, OSError):
                self.dial(server.url, subprotocols=["v1"], enable_compression=True, cookie_jar=jar).close_now()
        self.assertEqual(len(server.asked), 300)


if __name__ == "__main__":
    unittest.main()
