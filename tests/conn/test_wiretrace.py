"""wiretrace.py: frames and heads in the log, for who asks for them, and nothing for who does not."""

from __future__ import annotations

import logging
import random
import ssl
import unittest
from typing import Any
from unittest import mock

import syncws
from syncws import BadHandshakeError, Request, Upgrader, dial
from syncws._conn import wiretrace
from syncws._frames.frame import encode
from syncws._net.tls import TLSTransport
from syncws._net.transport import Transport
from syncws.testing import ScriptedSocket, await_
from tests.certificates import contexts
from tests.server.cases import ServerTestCase
from tests.tasks import PATIENCE
from tests.wsgi.cases import WSGICase, each_way


def echo(conn: syncws.Conn) -> None:
    for message in conn:
        conn.send(message)


class FramesTests(unittest.TestCase):
    """The frames of one direction."""

    def told(self, *pieces: bytes) -> list[str]:
        with self.assertLogs("syncws.wire", logging.DEBUG) as logs:
            frames = wiretrace._Frames("id", "<")
            for piece in pieces:
                frames.take(piece)
            logging.getLogger("syncws.wire").debug("end")
        lines = [record.getMessage() for record in logs.records[:-1]]
        for line in lines:
            self.assertTrue(line.isprintable(), line)
        return lines

    def test_each_kind(self) -> None:
        """A frame has kind, length and first bytes, whoever sent it, and in whatever pieces it comes."""
        for first, payload, said in (
            (0x81, b"hello", "TEXT 5 bytes: hello"),
            (0x81, "gr\u00fc\u00df\n\x1b".encode(), r"TEXT 8 bytes: grüß\n\x1b"),
            (0x82, b"\0\1", r"BINARY 2 bytes: b'\x00\x01'"),
            (0x01, b"hel", "TEXT (not final) 3 bytes: hel"),
            (0x80, b"lo", "CONTINUATION 2 bytes: b'lo'"),
            (0xC1, b"\xca\0", r"TEXT (compressed) 2 bytes: b'\xca\x00'"),
            (0x88, b"\x03\xe8bye\n", r"CLOSE 6 bytes: 1000 bye\n"),
            (0x88, b"", "CLOSE 0 bytes: b''"),
            (0x89, b"p", "PING 1 bytes: b'p'"),
            (0x8A, b"", "PONG 0 bytes: b''"),
            (0xB3, b"x", "opcode 3 (reserved bits) 1 bytes: b'x'"),
            (0x81, b"x" * 300, f"TEXT 300 bytes: {'x' * 64}..."),
            (0x81, b"x" * 70000, f"TEXT 70000 bytes: {'x' * 64}..."),
        ):
            for client in (False, True):
                frame = b"".join(encode(first, payload, client))
                with self.subTest(said=said, client=client):
                    self.assertEqual(self.told(frame), [f"id < {said}"])
                    self.assertEqual(self.told(frame * 2), [f"id < {said}"] * 2)
                    self.assertEqual(self.told(*(frame[i : i + 1] for i in range(len(frame)))), [f"id < {said}"])

    def test_a_long_frame_is_told_at_its_beginning(self) -> None:
        """A frame is told once enough of it is there, so that one that never ends is seen."""
        frame = b"".join(encode(0x82, b"y" * 1000, False))
        self.assertEqual(len(self.told(frame[:68])), 1)

    def test_anything(self) -> None:
        """Whatever bytes come, it raises nothing, and each line is printable."""
        rng = random.Random(7)
        for _ in range(300):
            self.told(rng.randbytes(rng.randrange(200)), rng.randbytes(rng.randrange(200)))


class ConnectionTests(ServerTestCase):
    """The trace of both sides of a connection."""

    def traced(self, talk: Any, scheme: str = "ws", dialing: Any = None, **options: Any) -> list[str]:
        upgrader = Upgrader(subprotocols=["chat"], enable_compression=True)

        def serve(request: Request) -> None:
            echo(upgrader.upgrade(request))

        with self.assertLogs("syncws.wire", logging.DEBUG) as logs:
            with self.serving(serve, **options) as server:
                url = f"{scheme}://localhost:{server.port}/chat?token=hunter2"
                with dial(url, {"Cookie": "s=hunter2"}, subprotocols=["chat", "hunter2-x"], **dialing or {}) as conn:
                    talk(conn)
            return [record.getMessage() for record in logs.records]

    def check(self, lines: list[str], frames: list[str]) -> None:
        """Each side tells its heads and then these frames, with its own id, and no secret."""
        ids = list(dict.fromkeys(line.split()[0] for line in lines))
        self.assertEqual(len(ids), 2)
        for id in ids:
            mine = [line.removeprefix(f"{id} ") for line in lines if line.startswith(id)]
            client = mine[0].startswith(">")
            self.assertRegex(
                mine[0], r"^[<>] GET /chat HTTP/1\.1; Host: .*; Sec-WebSocket-Protocol: chat, hunt\.\.\.;?"
            )
            self.assertIn("Cookie: (hidden)", mine[0])
            self.assertRegex(mine[1], r"^[<>] HTTP/1\.1 101 Switching Protocols; Upgrade: websocket; ")
            arrows = {"C": ">" if client else "<", "S": "<" if client else ">"}
            self.assertEqual(mine[2:], [f"{arrows[frame[0]]}{frame[1:]}" for frame in frames])
        self.assertNotIn("hunter2", "".join(lines))

    FRAMES = ("C TEXT 2 bytes: hi", "S TEXT 2 bytes: hi", "C PING 1 bytes: b'x'", "S PONG 1 bytes: b'x'")
    END = ("C CLOSE 5 bytes: 1000 bye", "S CLOSE 2 bytes: 1000")

    def talk(self, conn: syncws.Conn) -> None:
        conn.send("hi")
        conn.receive()
        conn.ping(b"x")
        self.assertTrue(conn.latency is not None or await_(lambda: self._pong(conn), PATIENCE))
        conn.close(1000, "bye")

    def _pong(self, conn: syncws.Conn) -> bool:
        try:
            conn.receive(timeout=0.01)
        except syncws.ReadTimeout:
            pass
        return conn.latency is not None

    def test_plain(self) -> None:
        """No level showed frames: at DEBUG each head and frame of both directions is a line, with the id."""
        self.check(self.traced(self.talk), [*self.FRAMES, *self.END])

    def test_before_it_is_attended(self) -> None:
        """The transport is traced before the connection is made: whoever looks after that at once finds it complete."""
        seen: list[bool] = []
        real = syncws.Conn.__init__

        def init(conn: syncws.Conn, transport: Any, **options: Any) -> None:
            seen.append(isinstance(transport, wiretrace._Traced) and hasattr(transport, "went"))
            real(conn, transport, **options)

        with mock.patch.object(syncws.Conn, "__init__", init):
            self.check(self.traced(self.talk), [*self.FRAMES, *self.END])
        self.assertEqual(seen, [True, True])

    def test_tls(self) -> None:
        """Under TLS it is the plain text."""
        server, client = contexts()
        lines = self.traced(self.talk, "wss", {"ssl_context": client}, ssl_context=server)
        self.check(lines, [*self.FRAMES, *self.END])

    def test_posted_and_streamed(self) -> None:
        """What send_nowait and next_writer send is told once, like everything else."""

        def talk(conn: syncws.Conn) -> None:
            conn.send_nowait("posted")
            conn.receive()
            with conn.next_writer(syncws.TEXT) as writer:
                writer.write("a" * 100000)
            conn.receive()

        for scheme, dialing, options in (
            ("ws", {}, {}),
            ("wss", {"ssl_context": contexts()[1]}, {"ssl_context": contexts()[0]}),
        ):
            lines = self.traced(talk, scheme, dialing, **options)
            sent = [line for line in lines if " < TEXT 6 bytes: posted" in line]
            self.assertEqual(len(sent), 2, lines)
            self.assertEqual(sum(" TEXT 100000 bytes: " in line for line in lines if " > " in line), 1)
            self.assertFalse([line for line in lines if "opcode" in line or "reserved" in line])

    def test_a_refusal(self) -> None:
        """A handshake that fails is told too: under the address on a server, under the URL on a client."""
        upgrader = Upgrader(subprotocols=["chat"])
        with (
            self.assertLogs("syncws.server"),
            self.assertLogs("syncws.wire", logging.DEBUG) as logs,
            self.serving(lambda request: upgrader.upgrade(request) and None) as server,
            self.assertRaises(BadHandshakeError),
        ):
            dial(
                f"ws://127.0.0.1:{server.port}/?t=hunter2",
                {
                    "Origin": "https://x.example",
                    "Authorization": "hunter2",
                    "Referer": "https://x.example/?t=hunter2",
                    "Cf-Access-Jwt-Assertion": "hunter2",
                },
            )
        text = "\n".join(record.getMessage() for record in logs.records)
        self.assertRegex(
            text, r"127\.0\.0\.1:\d+ < GET / HTTP/1\.1; .*Origin: https://x\.example; Authorization: \(hidden\)"
        )
        self.assertRegex(text, r"ws://127\.0\.0\.1:\d+/ < HTTP/1\.1 403 Forbidden")
        self.assertNotIn("hunter2", text)

    def test_off(self) -> None:
        """While nobody wants it, the transport is an ordinary one: a message pays nothing."""
        seen: list[Any] = []
        with self.serving(lambda request: seen.append(Upgrader().upgrade(request))) as server:
            with dial(f"ws://127.0.0.1:{server.port}/") as conn:
                self.assertIs(type(conn.transport), Transport)
            self.assertIs(type(seen[0].transport), Transport)

    def test_kept(self) -> None:
        """A frame that is kept for the next one is told once, in its turn."""
        transport = Transport(ScriptedSocket())  # type: ignore[arg-type]
        with self.assertLogs("syncws.wire", logging.DEBUG) as logs:
            wiretrace.trace(transport, "id", b"")
            transport.keep(b"\x81\x01a")
            transport.send(b"\x81\x01b")
        transport.close()
        self.assertEqual(
            [record.getMessage() for record in logs.records], ["id > TEXT 1 bytes: a", "id > TEXT 1 bytes: b"]
        )

    def test_it_is_still_a_transport(self) -> None:
        """A traced transport is still of its class, so that its certificate can be asked for."""

        def talk(conn: syncws.Conn) -> None:
            self.assertIsInstance(conn.transport, TLSTransport)
            self.assertIsInstance(conn.transport.ssl_object, ssl.SSLObject)  # type: ignore[attr-defined]

        self.traced(talk, "wss", {"ssl_context": contexts()[1]}, ssl_context=contexts()[0])


class HostedTests(WSGICase):
    """Inside WSGI servers, detached and in the view, and on our own."""

    @each_way
    def test_frames(self, server: str, detach: bool | None) -> None:
        """The frames of a hosted WebSocket are told too."""
        upgrader = Upgrader()

        def app(environ: Any, start_response: Any) -> Any:
            return upgrader.serve(environ, echo, detach=detach)(environ, start_response)

        with self.assertLogs("syncws.wire", logging.DEBUG) as logs:
            with dial(f"{self.serve(app, server).replace('http', 'ws')}/chat") as conn:
                conn.send("hi")
                conn.receive()
        frames = [record.getMessage()[33:] for record in logs.records if " TEXT " in record.getMessage()]
        self.assertEqual(sorted(frames), ["< TEXT 2 bytes: hi"] * 2 + ["> TEXT 2 bytes: hi"] * 2)


if __name__ == "__main__":
    unittest.main()
