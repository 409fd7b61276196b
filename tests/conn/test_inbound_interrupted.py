"""An exception of a signal's handler in the middle of a read: nothing is garbled, and nothing is lost unknown.

Python runs such handlers where a function begins, after a call and at the end of a loop. Here a KeyboardInterrupt is
raised at each of these places in turn, by a trace function. Whatever the place is, the messages that reads give are
those that were sent, in order, from the first one on; and where one is missing it is the last, and reads say so.
"""

from __future__ import annotations

import dis
import functools
import linecache
import os
import signal
import sys
import threading
import unittest
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from types import CodeType, FrameType
from typing import Any
from unittest import mock

import syncws
from syncws import BINARY, CloseError, Conn, MessageReader, ReadTimeout
from syncws._conn import conn as conn_module
from syncws._net.tls import TLSTransport
from syncws._testing.pairs import socketpair
from syncws.testing import Peer
from tests.certificates import contexts
from tests.conn.cases import ConnCase
from tests.tasks import PATIENCE, Task

_PACKAGE = str(Path(syncws.__file__).parent)
_TOOLS = str(Path(syncws.__file__).parent / "_testing")

#: One of so many places is tried, unless there is time.
_STRIDE = 1 if os.environ.get("SYNCWS_HEAVY") else 5


@functools.cache
def _checked(code: CodeType) -> frozenset[int]:
    """Where Python looks for signals in a function, as the offsets of what comes next: after calls, and in loops."""
    found, after = set(), False
    for instruction in dis.get_instructions(code):
        if instruction.opname in ("CACHE", "EXTENDED_ARG"):
            continue
        if after and instruction.opname != "RETURN_VALUE":  # the call itself raises then: a `try` around it is left
            found.add(instruction.offset)
        after = instruction.opname.startswith("CALL") or instruction.opname == "RESUME"
        if instruction.opname.startswith("JUMP_BACKWARD"):
            found.add(instruction.offset)
    return frozenset(found)


class _Interrupter:
    """Raises a KeyboardInterrupt at one of the places that a call passes, while the call is made."""

    def __init__(self, at: int) -> None:
        self._at = at
        self.passed = 0
        self._returned = False  # a function in Python has: Python does not look for signals right after it

    def run(self, call: Callable[[], Any]) -> Any:
        before = sys.gettrace()
        sys.settrace(self._trace)
        try:
            return call()
        finally:
            sys.settrace(before)

    def _trace(self, frame: FrameType, event: str, argument: object) -> Any:
        # What the public method does with the message is the caller's affair, as is what is no part of the read.
        name = frame.f_code.co_filename
        if not name.startswith(_PACKAGE) or name.startswith(_TOOLS) or name == conn_module.__file__:
            return None
        frame.f_trace_opcodes = True
        return self._look

    def _look(self, frame: FrameType, event: str, argument: object) -> Any:
        if event == "opcode":
            if frame.f_lasti in _checked(frame.f_code) and not self._returned:
                if ".acquire(" in linecache.getline(frame.f_code.co_filename, frame.f_lineno or 0):
                    return self._look  # the step between a lock and its `try` is known (docs/decisions.md)
                self.passed += 1
                if self.passed == self._at:
                    raise KeyboardInterrupt
            self._returned = False
        elif event == "return":
            self._returned = True
        return self._look


@unittest.skipIf(sys.version_info >= (3, 12), "instructions are traced otherwise there")
class ServerInterrupted(ConnCase):
    """Reads of what is there already, with an interrupt at each place."""

    options: dict[str, Any] = {"ping_interval": None}

    def _sent(self, peer: Peer) -> list[bytes]:
        """Send some messages; what they are."""
        messages = [bytes([number]) * 200 for number in range(3)]
        peer.send(b"".join(peer.frame(BINARY, each) for each in messages))
        return messages

    def _read(self, conn: Conn) -> bytes:
        """One read."""
        return conn.receive()  # type: ignore[return-value]

    def _send_next(self) -> None:
        """Send what is still to be sent for the next read."""

    def _rest(self, conn: Conn, count: int) -> Iterator[bytes]:
        """Further reads, of what was sent."""
        for _ in range(count):
            yield self._read(conn)

    def _case(self, at: int, before: int) -> int:
        """Interrupt one read at this place, after some reads; how many places it has passed."""
        with ExitStack() as stack:
            conn, peer = stack.enter_context(syncws.testing.peer(client=self.client, **self.options))
            # A read that waits for what is lost ends, and is told from one that was told.
            cut = threading.Timer(PATIENCE, conn.close_now)
            stack.callback(cut.cancel)
            cut.start()
            sent = self._sent(peer)
            got = list(self._rest(conn, before))
            self._send_next()
            interrupter = _Interrupter(at)
            interrupted = False
            try:
                got.append(interrupter.run(functools.partial(self._read, conn)))
            except KeyboardInterrupt:
                interrupted = True
            try:
                got.extend(self._rest(conn, len(sent) - len(got)))
            except CloseError as end:
                self.assertEqual((end.code, end.reason), (1006, "a read was interrupted"))
                self.assertTrue(interrupted and conn.closed)
                self.assertEqual(got, sent[: len(got)])
            else:
                self.assertEqual(got, sent)
            return interrupter.passed if not interrupted else 0

    def _everywhere(self, before: int) -> None:
        places = self._case(0, before)
        self.assertGreater(places, 5)
        for at in range(1 + before % _STRIDE, places + 1, _STRIDE):
            with self.subTest(at=at, before=before):
                self._case(at, before)

    def test_the_first_message(self) -> None:
        """What is received at once, and is not all of what is received."""
        self._everywhere(0)

    def test_a_later_message(self) -> None:
        """What was received before."""
        self._everywhere(1)

    def test_the_last_message(self) -> None:
        """What is the last of what was received."""
        self._everywhere(2)


class ClientInterrupted(ServerInterrupted):
    """The same for a client."""

    client = True


class ServerAlone(ServerInterrupted):
    """One message at a time, as most of them come."""

    def _sent(self, peer: Peer) -> list[bytes]:
        self._peer = peer
        self._next = iter([bytes([number]) * 100 for number in range(3)])
        return [bytes([number]) * 100 for number in range(3)]

    def _send_next(self) -> None:
        self._peer.send(self._peer.frame(BINARY, next(self._next)))

    def _rest(self, conn: Conn, count: int) -> Iterator[bytes]:
        for _ in range(count):
            try:
                yield conn.receive(0)  # type: ignore[misc]
            except ReadTimeout:  # what was sent is read
                self._send_next()
                yield self._read(conn)


class ServerPieces(ServerInterrupted):
    """Messages in fragments, and large ones."""

    def _sent(self, peer: Peer) -> list[bytes]:
        messages = [bytes([number]) * 3000 for number in range(3)]
        peer.send(
            b"".join(
                peer.frame(BINARY, each[:1000], fin=False) + peer.frame(9, b"ping") + peer.frame(0, each[1000:])
                for each in messages
            )
        )
        return messages

    def _case(self, at: int, before: int) -> int:
        self._reader: MessageReader | None = None
        return super()._case(at, before)

    def _read(self, conn: Conn) -> bytes:
        if self._reader is None:
            self._reader = conn.next_reader()
        data = self._reader.read()  # after an interrupt it goes on with the same
        self._reader = None
        return data


class ServerTimed(ServerInterrupted):
    """Reads with a timeout."""

    def _read(self, conn: Conn) -> bytes:
        return conn.receive(PATIENCE)  # type: ignore[return-value]


@contextmanager
def _tls_pair(client: bool) -> Iterator[tuple[Conn, Conn]]:
    """Two connections over TLS; the first has the role that is said."""
    ours, theirs = socketpair()
    server = TLSTransport(ours, contexts()[0], server_side=True)
    far = TLSTransport(theirs, contexts()[1], server_side=False, server_hostname="localhost")
    task = Task(server.handshake, None)
    far.handshake(None)
    task.result()
    near, other = Conn(server, client=False), Conn(far, client=True)
    try:
        yield (other, near) if client else (near, other)
    finally:
        near.close_now()
        other.close_now()


@unittest.skipUnless(hasattr(signal, "setitimer"), "no timers here")
class ServerWaiting(ConnCase):
    """An interrupt of a wait."""

    def _interrupted(self, conn: Conn, timeout: float | None) -> None:
        def interrupt(*_: object) -> None:
            raise KeyboardInterrupt

        before = signal.signal(signal.SIGALRM, interrupt)
        try:
            signal.setitimer(signal.ITIMER_REAL, 0.02)
            self.assertRaises(KeyboardInterrupt, conn.receive, timeout)
        finally:
            signal.signal(signal.SIGALRM, before)

    def test_nothing_has_come(self) -> None:
        """Where nothing has come, or part of a message, nothing is lost: reads go on, again and again."""
        for tls in (False, True):
            for timeout in (None, PATIENCE):
                with self.subTest(tls=tls, timeout=timeout):
                    conn, other = self.enterContext(_tls_pair(self.client)) if tls else self.pair()
                    self._interrupted(conn, timeout)
                    other.send("one")
                    self.assertEqual(conn.receive(PATIENCE), "one")
                    with other.next_writer(BINARY) as writer:
                        writer.write(bytes(1000))
                        writer.flush()
                        self._interrupted(conn, timeout)
                        self._interrupted(conn, timeout)
                    self.assertEqual(conn.receive(PATIENCE), bytes(1000))
                    self.assertRaises(ReadTimeout, conn.receive, 0)
                    self.assertFalse(conn.closed)

    def test_the_mark_is_taken_away(self) -> None:
        """An exception object that is raised again later is judged anew."""
        conn, _ = self.pair()
        with self.assertRaises(KeyboardInterrupt) as caught:
            self._interrupted_by(conn, KeyboardInterrupt())
        self.assertEqual(vars(caught.exception), {})

    def _interrupted_by(self, conn: Conn, error: BaseException) -> None:
        def interrupt(*_: object) -> None:
            raise error

        before = signal.signal(signal.SIGALRM, interrupt)
        try:
            signal.setitimer(signal.ITIMER_REAL, 0.02)
            conn.receive()
        finally:
            signal.signal(signal.SIGALRM, before)


class ClientWaiting(ServerWaiting):
    """The same for a client."""

    client = True


class ServerConverted(ConnCase):
    """An interrupt after the message was read, while it is made what the caller wants."""

    def test_json(self) -> None:
        """The message does not reach the caller, so reads are over; a defect of the message is no such thing."""
        conn, peer = self.peer()
        peer.send(peer.frame(BINARY, b"[") + peer.frame(BINARY, b"[1]") + peer.frame(BINARY, b"[2]"))
        self.assertRaises(ValueError, conn.receive_json)
        with mock.patch("json.loads", side_effect=KeyboardInterrupt):
            self.assertRaises(KeyboardInterrupt, conn.receive_json)
        self.assertEqual(self.assert_ends(conn.receive, 1006, CloseError).reason, "a read was interrupted")


if __name__ == "__main__":
    unittest.main()
