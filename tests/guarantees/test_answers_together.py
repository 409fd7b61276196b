"""Proves that answers which leave together are not late: each is on the wire two milliseconds after its write.

A handler in a process of its own gets pipelined messages and answers each with the instant of its write. It works
before its answers or after them, by sleeping or by computing, always or now and then. What a bare socket needs on this
machine, with the same work, is not the library's lateness: it is measured beside it and added to what is allowed.
"""

from __future__ import annotations

import os
import socket
import subprocess
import sys
import time

from syncws.testing import Peer, socketpair
from tests.partners import heavy
from tests.runner.marks import alone
from tests.tasks import PATIENCE

from .support import GuaranteeTestCase, note

#: Seconds from a write to the peer, at most; and tries, as a machine under load may be late once, but not each time.
MOST, TRIES = 0.002, 10

#: (works before the answer, works after it), for each message of a round.
PLANS = {
    "quick": [(False, False)] * 50,
    "works after each": [(False, True)] * 10,
    "works before each": [(True, False)] * 10,
    "works after the tenth": ([(False, False)] * 9 + [(False, True)]) * 3,
    "works before the tenth": ([(False, False)] * 9 + [(True, False)]) * 3,
}

HANDLER = """
import socket, sys, time
from syncws import Conn
from syncws._net.transport import Transport

def compute(seconds):
    until = time.perf_counter() + seconds
    while time.perf_counter() < until:
        pass

class Bare:
    def __init__(self, sock):
        self.sock = sock
        self.file = sock.makefile("rb")
    def receive(self):
        self.file.read(4 + self.file.read(2)[1] - 0x80)
    def send(self, payload):
        self.sock.sendall(bytes([0x82, len(payload)]) + payload)
    def close_now(self):
        self.file.close()
        self.sock.close()

_, fd, role, kind, seconds, plan = sys.argv
work, seconds = compute if kind == "computes" else time.sleep, float(seconds)
sock = socket.socket(fileno=int(fd))
conn = Bare(sock) if role == "bare" else Conn(Transport(sock), client=role == "client")
for step in plan.split():
    conn.receive()
    if step == "before":
        work(seconds)
    conn.send(time.monotonic_ns().to_bytes(8))
    if step == "after":
        work(seconds)
conn.close_now()
"""

_STEPS = {(False, False): "at-once", (True, False): "before", (False, True): "after"}


@heavy
@alone("it measures milliseconds")
class InTimeTests(GuaranteeTestCase):
    bound = 280.0

    def latest(self, role: str, kind: str, plan: list[tuple[bool, bool]], seconds: float = 0.02) -> float:
        """Seconds from a write to the peer, of the answer that took longest."""
        ours, theirs = socketpair()
        with theirs:
            peer = Peer(theirs, masked=role != "client")
            peer.send(b"".join(peer.frame(2, b"%d" % number) for number in range(len(plan))))
            words = [
                str(ours.fileno()),
                role,
                kind,
                str(seconds),
                " ".join(_STEPS[each] for each in plan),
            ]
            with ours:
                child = subprocess.Popen([sys.executable, "-c", HANDLER, *words], pass_fds=[ours.fileno()])
            try:
                theirs.settimeout(PATIENCE)
                late = [-int.from_bytes(peer.receive_frame().payload) + time.monotonic_ns() for _ in plan]
            finally:
                self.assertEqual(child.wait(PATIENCE), 0)
        return max(late) / 1e9

    def check(self, role: str, kind: str) -> None:
        for name, plan in PLANS.items():
            with self.subTest(name):
                self.judge(f"a {role}'s handler that {kind}, {name}", role, kind, plan)

    def judge(self, what: str, role: str, kind: str, plan: list[tuple[bool, bool]], seconds: float = 0.02) -> None:
        found, bare = [], []
        while len(found) < TRIES and min(found, default=1.0) > MOST + min(bare, default=0.0):
            found.append(self.latest(role, kind, plan, seconds))
            if found[-1] > MOST:
                bare.append(self.latest("bare", kind, plan, seconds))
        note(f"{what}: {min(found) * 1000:.2f} ms at most; a bare socket {min(bare, default=0.0) * 1000:.2f}")
        self.assertLessEqual(min(found), MOST + min(bare, default=0.0))

    def test_a_second_of_work(self) -> None:
        """The same where the work takes a second each."""
        for kind in ("sleeps", "computes"):
            self.judge(f"a second each of a handler that {kind}", "server", kind, [(False, True)] * 3, 1.0)

    def test_a_server_whose_handler_sleeps(self) -> None:
        """Work that gives the GIL away delays no answer."""
        self.check("server", "sleeps")

    def test_a_server_whose_handler_computes(self) -> None:
        """Nor does work that holds it."""
        self.check("server", "computes")

    def test_a_client_whose_handler_sleeps(self) -> None:
        """The same of a client's."""
        self.check("client", "sleeps")

    def test_a_client_whose_handler_computes(self) -> None:
        """The same of a client's."""
        self.check("client", "computes")


@heavy
class OffTests(GuaranteeTestCase):
    def test_one_packet_for_many(self) -> None:
        """A round of quick answers makes fewer packets together than apart, in what the kernel has counted."""
        together, apart = (self.segments(each) for each in (True, False))
        note(f"100 rounds of 16 answers leave in {together} segments together, in {apart} apart")
        self.assertLess(together * 4, apart)

    def segments(self, together: bool) -> int:
        from syncws import Conn
        from syncws._base.options import ConnOptions
        from syncws._net.transport import Transport

        ours, theirs = socketpair()
        conn = Conn(Transport(ours), client=False, options=ConnOptions(answers_together=together))
        peer = Peer(theirs, masked=True)
        with theirs:
            for _ in range(100):
                peer.send(b"".join(peer.frame(2, b"hello") for _ in range(16)))
                for _ in range(16):
                    conn.send(conn.receive())
                for _ in range(16):
                    peer.receive_frame()
            sent = segments_out(ours)
        conn.close_now()
        return sent


def segments_out(sock: socket.socket) -> int:
    """Segments with data that Linux has sent over a socket: `tcpi_data_segs_out` of TCP_INFO."""
    info = sock.getsockopt(socket.IPPROTO_TCP, socket.TCP_INFO, 256)
    return int.from_bytes(info[156:160], sys.byteorder) if os.name == "posix" else 0
