"""A conversation: its connections, one after the other, and how it ends."""

from __future__ import annotations

import threading
import unittest

import syncws
from syncws._cli.command import CommandError
from syncws._cli.connect.record import Recorder
from syncws._cli.connect.session import Plan, Session
from syncws._client.dialer import Dialer
from syncws._http.headers import Headers
from syncws.testing import await_
from tests.tasks import PATIENCE, Task, assert_raised_apart

from .support import ConnectCase


class Heard:
    """A listener that keeps what it is told."""

    def __init__(self) -> None:
        self.told: list[str] = []
        self.come = threading.Semaphore(0)
        self.ended = threading.Event()

    def _tell(self, text: str) -> None:
        self.told.append(text)
        self.come.release()

    def opened(self, conn: syncws.Conn) -> None:
        self._tell("opened")

    def received(self, message: str | bytes) -> None:
        self._tell(f"received {message!r}")

    def pinged(self, data: bytes) -> None:
        self._tell(f"pinged {data!r}")

    def ponged(self, data: bytes, latency: float | None) -> None:
        self._tell(f"ponged {data!r} {latency is not None}")

    def closed(self, end: syncws.ConnectionClosed) -> None:
        self._tell(f"closed {end}")

    def noted(self, text: str) -> None:
        self._tell(text)

    def over(self) -> None:
        self._tell("over")
        self.ended.set()

    def wait(self, count: int) -> list[str]:
        """What was told, once that is so much."""
        for _ in range(count):
            assert self.come.acquire(timeout=PATIENCE), self.told
        told, self.told = self.told[:count], self.told[count:]
        return told


class SessionTests(ConnectCase):
    def session(self, path: str, *, reconnects: bool = False, ping: float | None = None) -> tuple[Session, Heard]:
        heard = Heard()
        plan = Plan(self.url(path), Headers(()), Dialer(proxy=None, overflow="drop_newest"), reconnects, ping)
        session = Session(plan, heard)
        session.connect()
        session.start()
        self.addCleanup(session.close, 1000, "", 1)
        self.assertEqual(heard.wait(1), ["opened"])
        return session, heard

    def test_messages(self) -> None:
        """What is sent comes back, in order; the end is told once, and then that it is over."""
        session, heard = self.session("echo")
        self.assertTrue(session.send("a"))
        self.assertEqual(session.send_soon(b"b"), "")
        self.assertEqual(heard.wait(2), ["received 'a'", "received b'b'"])
        session.close(4000, "bye")
        self.assertEqual(heard.wait(2), ["closed sent 4000: bye; then received 4000", "over"])
        self.assertEqual((session.status, session.is_over, session.conn), (0, True, None))

    def test_after_the_end(self) -> None:
        """Then nothing is sent, and what was tried says so."""
        session, heard = self.session("one")
        session.send("a")
        heard.wait(3)
        self.assertFalse(session.send("b"))
        self.assertIn("no connection", session.send_soon("b"))
        self.assertIn("no connection", session.ping())
        session.close(1000, "")
        session.close(1000, "")

    def test_pings(self) -> None:
        """The latency of a ping that was asked for is told; a peer's ping is answered, and told."""
        session, heard = self.session("pinging")
        self.assertEqual(heard.wait(1), ["pinged b'\\x1bpeer'"])
        self.assertEqual(session.ping(b"mine"), "")
        self.assertEqual(heard.wait(1), ["ponged b'mine' True"])
        session.ping()
        self.assertEqual(heard.wait(1), ["ponged b'2' True"])
        self.assertIn("125", session.ping(b"x" * 126))

    def test_pings_by_the_clock(self) -> None:
        """With a number of seconds pings are sent, until it is over."""
        _, heard = self.session("silent", ping=0.01)
        self.assertEqual(heard.wait(2), ["ponged b'1' True", "ponged b'2' True"])

    def test_another_connection(self) -> None:
        """It can be asked for; without that the end of the connection is the end."""
        session, heard = self.session("echo")
        session.reconnect()
        told = heard.wait(2)
        self.assertEqual(told, ["closed sent 1000 (normal closure); then received 1000 (normal closure)", "opened"])
        session.send("a")
        self.assertEqual(heard.wait(1), ["received 'a'"])
        self.assertEqual(len(self.peer.requests), 2)

    def test_reconnecting(self) -> None:
        """With reconnects another connection follows each end; a message waits for it."""
        session, heard = self.session("cut", reconnects=True)
        session.send("a")
        self.assertTrue(heard.wait(1)[0].startswith("closed 1006"))
        task = Task(session.send, "b")
        self.assertEqual(heard.wait(1), ["opened"])
        self.assertTrue(task.result())
        session.close(1000, "", 1)
        self.assertTrue(heard.ended.wait(PATIENCE))

    def test_closing_while_it_reconnects(self) -> None:
        """A close ends the wait for the next attempt at once, and whoever waits to send."""
        session, heard = self.session("cut", reconnects=True)
        session.send("a")
        heard.wait(1)
        self.server.shutdown(0)
        task = Task(session.send, "b")
        session.close(1000, "")
        self.assertFalse(task.result())
        self.assertTrue(session.is_over)

    def test_a_refusal_later(self) -> None:
        """A reconnect that is refused for good is the end, and its error."""
        session, heard = self.session("one", reconnects=True)
        self.server.shutdown(0)
        session._conns._url = self.url("404").replace(str(self.server.port), "1")
        session._conns._give_up = lambda error: True
        self.assertTrue(heard.ended.wait(PATIENCE))
        with self.assertRaises(CommandError) as caught:
            _ = session.status
        self.assertIn("nothing listens there", str(caught.exception))
        assert_raised_apart(self, lambda: session.status)

    def test_a_full_queue(self) -> None:
        """A peer that takes nothing holds nobody up: what does not fit is refused."""
        session, _ = self.session("later")
        big = "x" * (8 << 20)
        answers: list[str] = []
        self.assertTrue(await_(lambda: answers.append(session.send_soon(big)) or answers[-1] != "", PATIENCE))
        self.assertIn("the peer takes nothing", answers[-1])
        self.peer.go.set()

    def test_recording(self) -> None:
        """It can begin and end in the middle."""
        session, heard = self.session("echo")
        recorder = Recorder(str(self.folder / "x"))
        self.assertIsNone(session.record(recorder))
        session.send("a")
        heard.wait(1)
        self.assertIs(session.record(None), recorder)
        recorder.close()
        session.send("b")
        heard.wait(1)
        self.assertEqual((self.folder / "x").read_text().count('"type"'), 3)


if __name__ == "__main__":
    unittest.main()
