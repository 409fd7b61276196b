"""The tests of every set-up: one class, which `test_supported` joins with each set-up.

Every test uses connections as the set-up has them by default (detached, where that is possible) and connections that
are served in the view. One server is for all tests of a class; each test leaves it as it was before.
"""

from __future__ import annotations

import contextlib
import socket
import struct
import time
from collections.abc import Callable
from typing import ClassVar

from syncws.errors import BINARY, TEXT
from syncws.testing import LeakChecks, Peer, await_
from tests.handshakes import receive_head

from .servers import PATIENCE, Host, Setup, handshake, receive_response, request

#: Seconds from a close frame to the end of TCP: 0.3 is promised, the rest is for a machine under load. Who waits for
#: the peer's end first takes a second or longer.
FIN = 0.3 + 0.5

#: Seconds that a plain request may take while other clients linger.
DELAY = 0.5

#: On a machine under load one measurement may be off, but not each of these.
ATTEMPTS = 3

#: What the query says: nothing, or that the view serves the connection.
OPTIONS = ("", "?detach=0")

LONG = bytes(range(250)) * 60  # 15,000 bytes: more than a server reads at a time, and still one record of TLS


class HostCases(LeakChecks):
    """The tests of one set-up."""

    setup: ClassVar[Setup]
    host: ClassVar[Host]

    #: Closes the connections of the check that is under way.
    opened: contextlib.ExitStack

    @classmethod
    def setUpClass(cls) -> None:
        super().setUpClass()
        cls.host = Host(cls.setup)
        cls.addClassCleanup(cls.host.close)
        cls.addClassCleanup(cls.check_complaints)  # of the last test there may be one that came late

    @classmethod
    def check_complaints(cls) -> None:
        if complaints := cls.host.complaints():
            raise AssertionError("the server has written:\n" + "\n".join(complaints))

    def for_each_option(self, check: Callable[[str], None]) -> None:
        """Run a check with every option; the server must work afterwards."""
        for option in OPTIONS:
            with self.subTest(option=option):
                with contextlib.ExitStack() as self.opened:
                    check(option)
                self.check_well()

    def check_well(self) -> None:
        """The server answers, has no connection left, and has written nothing unusual."""
        self.assertTrue(await_(lambda: self.host.state()["open"] == 0, PATIENCE), "connections are left")
        self.assertTrue(self.host.is_alive)
        self.assertEqual(self.host.complaints(), [])

    def open(self, path: str, *behind: tuple[int, str | bytes]) -> Peer:
        peer = self.host.open(path, *behind)
        self.opened.callback(peer.socket.close)
        return peer

    def check_echo(self, peer: Peer, message: str = "hello") -> None:
        peer.send_frame(TEXT, message)
        self.assertEqual(peer.receive_frame().payload, message.encode())

    def at_best(self, limit: float, measure: Callable[[], float]) -> None:
        """A measurement of seconds is within a limit at least once in several tries."""
        taken: list[float] = []
        while len(taken) < ATTEMPTS and not (taken and taken[-1] <= limit):
            taken.append(measure())
        self.assertLessEqual(taken[-1], limit, f"seconds, each time: {taken}")

    # Messages

    def test_mode(self) -> None:
        """A connection is detached by default where it can be, and never where the view is asked to serve it."""
        self.for_each_option(self.check_mode)

    def check_mode(self, option: str) -> None:
        expected = "detached" if self.setup.detaches and not option else "in view"
        peer = self.open(f"/mode{option}")
        self.assertEqual(peer.receive_frame().payload.decode(), expected)
        self.check_echo(peer)

    def test_early_frames(self) -> None:
        """A frame that comes with the handshake in one piece is echoed, a short and a long one; so is a later one."""
        if self.setup.keeps_early:
            self.for_each_option(self.check_early_frames)
        else:
            self.for_each_option(self.check_lost_frame)

    def check_early_frames(self, option: str) -> None:
        for opcode, payload in ((TEXT, b"early"), (BINARY, LONG)):
            with self.subTest(size=len(payload)):
                peer = self.open(f"/echo{option}", (opcode, payload))
                frame = peer.receive_frame()
                self.assertTrue((frame.opcode, frame.payload) == (opcode, payload), f"{frame!r:.80}")
                self.check_echo(peer, "late")
                peer.close()
                peer.receive_close()
                peer.socket.close()

    def check_lost_frame(self, option: str) -> None:
        """uWSGI reads what comes with the handshake into a buffer that Python cannot reach. The rest is in order."""
        peer = self.open(f"/echo{option}", (TEXT, "early"))
        self.check_echo(peer, "late")
        peer.close()
        peer.receive_close()
        peer.socket.close()

    def test_late_frames(self) -> None:
        """Frames that come later are echoed, short and long ones."""
        self.for_each_option(self.check_late_frames)

    def check_late_frames(self, option: str) -> None:
        peer = self.open(f"/echo{option}")
        for payload in (b"late", LONG, bytes(200_000)):
            peer.send_frame(BINARY, payload)
            self.assertTrue(peer.receive_frame().payload == payload)
        peer.socket.close()

    def test_kept_alive(self) -> None:
        """A connection that has carried a plain request, and is kept alive, can be upgraded."""
        self.for_each_option(self.check_kept_alive)

    def check_kept_alive(self, option: str) -> None:
        with self.host.connect() as sock:
            sock.sendall(request("/plain"))
            _, headers, body = receive_response(sock)
            self.assertEqual(body, b"hello\n")
            if headers.get("Connection", "").lower() == "close" or self.is_at_end(sock):
                return  # it keeps none
            sock.sendall(handshake(f"/echo{option}"))
            self.assertIn(b" 101 ", receive_head(sock))
            peer = Peer(sock, masked=True)
            self.check_echo(peer)
            peer.close()
            self.check_end(peer)

    def is_at_end(self, sock: socket.socket) -> bool:
        """Whether the server ends the connection, which it does at once or not at all."""
        sock.settimeout(0.2)
        try:
            return sock.recv(1) == b""
        except TimeoutError:
            return False
        finally:
            sock.settimeout(PATIENCE)

    def test_upgrading(self) -> None:
        """A view that upgrades by itself has the early frame, and ends as cleanly when it returns."""
        if not self.setup.upgrades:
            return
        with contextlib.ExitStack() as self.opened:
            behind = [(TEXT, "early")] if self.setup.keeps_early else []
            peer = self.open("/upgrade", *behind)
            for _ in behind:
                self.assertEqual(peer.receive_frame().payload, b"early")
            self.check_echo(peer)
            peer.close()
            self.assertEqual(peer.receive_close()[0], 1000)
            self.check_end(peer)
        self.check_well()

    def test_pushing(self) -> None:
        """A handler that never reads sends its messages, sees the peer's close, and closes itself."""
        self.for_each_option(self.check_pushing)

    def check_pushing(self, option: str) -> None:
        count = "&count=2" if option else "?count=2"
        peer = self.open(f"/push{option}{count}")
        self.assertEqual([peer.receive_frame().payload for _ in range(2)], [b"message 0", b"message 1"])
        self.assertEqual(peer.receive_close()[0], 1000)
        peer.close()
        peer.socket.close()
        peer = self.open(f"/push{option}")
        self.assertEqual(peer.receive_frame().payload, b"message 0")
        peer.close(1001)
        while (frame := peer.receive_frame()).opcode == TEXT:
            pass
        self.assertEqual(frame.payload, (1001).to_bytes(2))
        self.check_end(peer)

    # How it ends

    def check_end(self, peer: Peer) -> None:
        """The connection ends next: after the close frame, if that has not come yet, and never by a reset."""
        try:
            while True:
                frame = peer.receive_frame()
                self.assertEqual(frame.opcode, 8, f"{frame!r:.200} where the end should be")
        except EOFError:
            self.assertTrue(peer.at_end(), "there is something behind the close frame")
        peer.socket.close()

    def test_end(self) -> None:
        """Nothing is on the wire after the close frame, and TCP ends within 0.3 s, whoever closes first."""
        self.for_each_option(lambda option: self.at_best(FIN, lambda: self.measure_end_by_client(option)))
        self.for_each_option(lambda option: self.at_best(FIN, lambda: self.measure_end_by_server(option)))

    def measure_end_by_client(self, option: str) -> float:
        peer = self.open(f"/echo{option}")
        self.check_echo(peer)
        began = time.monotonic()
        peer.close()
        self.assertEqual(peer.receive_close()[0], 1000)
        with self.assertRaises(EOFError):
            peer.receive_frame()
        seconds = time.monotonic() - began
        self.check_end(peer)
        return seconds

    def measure_end_by_server(self, option: str) -> float:
        peer = self.open(f"/close-twice{option}")
        peer.send_frame(TEXT, "go")
        self.assertEqual(peer.receive_close(), (1000, "once"))
        began = time.monotonic()
        peer.close()
        with self.assertRaises(EOFError):
            peer.receive_frame()
        seconds = time.monotonic() - began
        self.check_end(peer)
        return seconds

    def test_request_after_close(self) -> None:
        """A request that follows the close on the same connection is not served, nor one in the same piece."""
        self.for_each_option(self.check_request_after_close)

    def check_request_after_close(self, option: str) -> None:
        before = self.host.state()["counted"]
        get = request("/counted", "Connection: close")
        for together in (False, True):
            with self.subTest(together=together):
                peer = self.open(f"/echo{option}")
                close = peer.frame(8, (1000).to_bytes(2))
                peer.send(close + get if together else close)
                self.assertEqual(peer.receive_close()[0], 1000)
                if not together:
                    with contextlib.suppress(BrokenPipeError, ConnectionResetError):
                        peer.send(get)
                self.assertTrue(peer.at_end(), "there is an answer")
                peer.socket.close()
        self.assertEqual(self.host.state()["counted"], before)

    def test_lingering_clients(self) -> None:
        """Clients that answer the close and keep their side of TCP open delay no other request."""
        self.for_each_option(lambda option: self.at_best(DELAY, lambda: self.measure_delay("/echo", option)))
        self.for_each_option(lambda option: self.at_best(DELAY, lambda: self.measure_delay("/close-twice", option)))

    def measure_delay(self, path: str, option: str) -> float:
        with contextlib.ExitStack() as lingering:
            # In the view each of them has a thread of the pool, of which one is left for plain requests.
            for _ in range(1 if self.setup.single and option else 3):
                peer = self.open(f"{path}{option}")
                lingering.enter_context(peer.socket)
                peer.send_frame(TEXT, "go")
                if path == "/echo":
                    peer.receive_frame()
                    peer.close()
                self.assertEqual(peer.receive_close()[0], 1000)
                if path != "/echo":
                    peer.close()
            began = time.monotonic()
            self.host.get("/plain")
            return time.monotonic() - began

    def test_resets(self) -> None:
        """A client that resets the connection leaves nothing: idle, pushed to, or closing."""
        self.for_each_option(self.check_resets)

    def check_resets(self, option: str) -> None:
        peer = self.open(f"/echo{option}")
        self.check_echo(peer)
        reset(peer)
        self.check_well()

        peer = self.open(f"/push{option}")
        peer.receive_frame()
        reset(peer)
        self.check_well()

        peer = self.open(f"/close-twice{option}")
        peer.send_frame(TEXT, "go")
        peer.receive_close()
        reset(peer)

    def test_vanishing(self) -> None:
        """A client that ends TCP without a close frame leaves nothing either."""
        self.for_each_option(self.check_vanishing)

    def check_vanishing(self, option: str) -> None:
        for path in ("/echo", "/push"):
            peer = self.open(f"{path}{option}")
            peer.send_frame(TEXT, "hello")
            peer.receive_frame()
            peer.socket.close()
            self.check_well()

    def test_raising(self) -> None:
        """A handler that raises closes with 1011, and the library logs it once; the server notices nothing."""
        self.for_each_option(self.check_raising)

    def check_raising(self, option: str) -> None:
        line = "RuntimeError: raised on purpose"
        before = self.host.log().count(line)
        peer = self.open(f"/raise{option}")
        peer.send_frame(TEXT, "go")
        self.assertEqual(peer.receive_close()[0], 1011)
        peer.close(1011)
        self.check_end(peer)
        self.assertEqual(self.host.log().count(line), before + 1)
        self.assertIn("ERROR syncws.wsgi: ", self.host.log())

    def test_closing_twice(self) -> None:
        """A handler that closes twice sends one close frame."""
        self.for_each_option(self.check_closing_twice)

    def check_closing_twice(self, option: str) -> None:
        peer = self.open(f"/close-twice{option}")
        peer.send_frame(TEXT, "go")
        self.assertEqual(peer.receive_close(), (1000, "once"))
        peer.close()
        with self.assertRaises(EOFError):
            peer.receive_frame()
        self.check_end(peer)

    def test_rounds(self) -> None:
        """After thirty connections that came and went the server counts as many as before (gunicorn: nr_conns)."""
        self.for_each_option(self.check_rounds)

    def check_rounds(self, option: str) -> None:
        if self.host.state()["nr_conns"] is None:
            self.play_rounds(option, 3)  # nobody counts
            return
        # What asks is a connection too.
        self.assertTrue(await_(lambda: self.host.state()["nr_conns"] == 1, PATIENCE), self.host.state())
        self.play_rounds(option, 30)
        self.assertTrue(await_(lambda: self.host.state()["nr_conns"] == 1, PATIENCE), self.host.state())

    def play_rounds(self, option: str, count: int) -> None:
        for number in range(count):
            peer = self.open(f"/echo{option}")
            self.check_echo(peer)
            if number % 3 == 0:
                reset(peer)
            elif number % 3 == 1:
                peer.close()
                self.check_end(peer)
            peer.socket.close()


def reset(peer: Peer) -> None:
    """Reset the connection."""
    peer.socket.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
    peer.socket.close()
