"""The load of one process: what it sends, what it counts, and how connections end."""

from __future__ import annotations

import itertools
import tempfile
import threading
import time
import unittest
from unittest import mock

import syncws
from syncws._cli.bench import generator
from syncws._cli.bench.generator import Schedule
from syncws.errors import TEXT
from tests import certificates
from tests.tasks import PATIENCE

from .cases import Alone, LoadCase, plan


class ClosedLoopTests(LoadCase):
    """Each answer is followed by a message."""

    def test_counts_agree(self) -> None:
        """The server got what was sent, in the warm-up too; every answer is counted once, and is what was sent."""
        got = itertools.count()

        def count(conn: syncws.Conn) -> None:
            for message in conn:
                next(got)
                conn.send(message)

        for connections, inflight in ((1, 1), (1, 8), (20, 1), (7, 5)):
            with self.subTest(connections=connections, inflight=inflight), self.serving(count) as url:
                before = next(got)
                tally = self.load(plan(url, connections=connections, inflight=inflight, duration=0.1))
                most = next(got) - before - 1
                self.assertEqual((tally.opened, len(tally.opening), tally.flaws), (connections, connections, False))
                self.assertEqual(len(tally.latency), tally.received)
                self.assertLessEqual(tally.received, most)
                self.assertGreater(tally.received, 0)
                self.assertGreaterEqual(tally.seconds, 0.05)
                # At the end so many wait for an answer as at the beginning of what is measured.
                self.assertAlmostEqual(tally.sent, tally.received, delta=connections * inflight)
                self.assertEqual(tally.unasked, 0)

    def test_kinds(self) -> None:
        """TEXT and BINARY of all sizes, over TLS, and compressed: every echo is what was sent."""
        compressing = syncws.Upgrader(enable_compression=True, context_takeover=True)
        files = certificates.files(self.enterContext(tempfile.TemporaryDirectory()))
        small = (0, 1, 32, 200, 70_000)
        for sizes, binary, duration in ((small, False, 0.1), (small, True, 0.1), ((300_000,), True, 0.5)):
            with self.subTest(sizes=sizes, binary=binary):
                shape = {"sizes": sizes, "binary": binary, "connections": 2, "inflight": 3, "duration": duration}
                with self.serving() as url:
                    plain = self.load(plan(url, **shape))
                with self.serving(ssl_context=certificates.serving()) as url:
                    tls = self.load(plan(url, "--ca", files.authority, **shape))
                with self.serving(upgrader=compressing) as url:
                    deflated = self.load(plan(url, "--compression", **shape))
                    kept = self.load(plan(url, "--context-takeover", **shape))
                for tally in (plain, tls, deflated, kept):
                    self.assertFalse(tally.flaws, tally)
                    self.assertGreater(tally.received, 0)

    def test_bytes(self) -> None:
        """Bytes are those of the frames: 6 more than a short message there, 2 more back."""
        with self.serving() as url:
            tally = self.load(plan(url))
        self.assertEqual(tally.bytes_sent, 38 * tally.sent)
        self.assertAlmostEqual(tally.bytes_received, 34 * tally.received, delta=34)  # of a message that was under way

    def test_fragments_and_pings(self) -> None:
        """An answer in fragments is one, and a ping between is answered."""
        pongs = threading.Event()

        def fragmented(conn: syncws.Conn) -> None:
            conn.set_pong_handler(lambda data: pongs.set())
            for number, message in enumerate(conn):
                if number < 3:
                    conn.ping(b"there?")
                with conn.next_writer(TEXT) as writer:
                    writer.write(message[:10])
                    writer.flush()
                    writer.write(message[10:])

        with self.serving(fragmented) as url:
            tally = self.load(plan(url))
        self.assertFalse(tally.flaws, tally)
        self.assertGreater(tally.received, 0)
        self.assertTrue(pongs.wait(PATIENCE))


class OpenLoopTests(LoadCase):
    """Messages are due at their times."""

    def test_the_rate(self) -> None:
        """As many are sent as are due in the time that is measured, and all are answered."""
        with self.serving() as url:
            tally = self.load(plan(url, rate=500.0, connections=3, duration=0.5))
        self.assertFalse(tally.flaws, tally)
        self.assertEqual((tally.sent, tally.received), (250, 250))
        self.assertEqual((len(tally.latency), len(tally.late)), (250, 250))

    def test_a_server_that_stops_for_a_while(self) -> None:
        """Messages that were due meanwhile count with the time from then on: coordinated omission hides nothing."""
        seen = itertools.count(1)

        def halting(conn: syncws.Conn) -> None:
            for message in conn:
                if next(seen) == 50:
                    time.sleep(0.3)
                conn.send(message)

        with self.serving(halting) as url:
            tally = self.load(plan(url, rate=200.0, duration=0.5, warmup=0.0))
        self.assertEqual((tally.received, tally.unanswered), (100, 0))
        # Those of 0.3 s, 60 of 100, waited, half of them for 0.15 s and more; in a closed loop it would be one.
        self.assertGreater(tally.latency.percentile(0.75), 0.1)

    def test_no_answers(self) -> None:
        """What is never answered is counted, with the time that it was waited for."""
        with (
            self.serving(lambda conn: [None for _ in conn]) as url,
            mock.patch.object(generator, "PATIENCE", 0.2),
        ):
            tally = self.load(plan(url, rate=100.0, warmup=0.0))
        self.assertEqual((tally.received, tally.unanswered, len(tally.latency)), (0, 20, 20))
        self.assertGreaterEqual(tally.latency.percentile(0.01), 0.2)

    def test_schedule(self) -> None:
        """The processes take turns, and no time is lost by rounding."""
        one = Schedule(plan(process=0, processes=2), 3.0, 1000)
        other = Schedule(plan(process=1, processes=2), 3.0, 1000)
        times = []
        for _ in range(3):
            times += [one.due, other.due]
            one.advance()
            other.advance()
        self.assertEqual(times, [1000 + round(number * 1e9 / 3) for number in range(6)])


class ReceiveOnlyTests(LoadCase):
    def test_a_feed(self) -> None:
        """Nothing is sent; what comes is counted, from a first message on that came with the handshake."""

        def feed(conn: syncws.Conn) -> None:
            try:
                while True:
                    conn.send("tick")
                    time.sleep(0.001)
            except syncws.ConnectionClosed:
                pass

        with self.serving(feed) as url, mock.patch.object(generator, "_PARTING", 0.1):  # it reads no close
            tally = self.load(plan(url, receive_only=True, connections=2))
        self.assertFalse(tally.flaws, tally)
        self.assertEqual((tally.sent, tally.unasked, len(tally.latency)), (0, 0, 0))
        self.assertGreater(tally.received, 1)


class EndTests(LoadCase):
    """Connections that fail, break or are closed; and an end that comes early."""

    def test_a_server_that_closes(self) -> None:
        """A close is counted by its code, an end without one as 1006; the message that was under way is unanswered."""
        for code, end in ((4000, lambda conn: conn.close(4000)), (1006, lambda conn: conn.close_now())):
            with self.subTest(code), self.serving(lambda conn: (conn.receive(), end(conn))) as url:  # noqa: B023
                tally = self.load(plan(url, connections=3, warmup=0.0, duration=1000.0))
                self.assertEqual(dict(tally.closes), {code: 3})
                self.assertEqual((tally.unanswered, tally.lost, dict(tally.errors)), (3, 3, {}))

    def test_a_server_that_breaks_the_rules(self) -> None:
        """A breach is an error of that connection."""
        with self.serving(lambda conn: (conn.receive(), conn._transport.socket.sendall(b"\xff\xff"))) as url:
            tally = self.load(plan(url, warmup=0.0, duration=1000.0))
        [(error, count)] = tally.errors.items()
        self.assertIn("protocol error: ", error)
        self.assertEqual(count, 1)

    def test_no_connection(self) -> None:
        """Where none is opened the load does not begin."""
        tally = self.load(plan("ws://127.0.0.1:1/", connections=3))
        self.assertEqual((tally.opened, sum(tally.failures.values()), tally.seconds), (0, 3, 0.0))

    def test_answers_that_are_others(self) -> None:
        """An answer that is not what was sent is counted; so is a message that answers none."""

        def shout(conn: syncws.Conn) -> None:
            for message in conn:
                conn.send(message.upper())
                conn.send("unasked")

        with self.serving(shout) as url:
            tally = self.load(plan(url, inflight=1, warmup=0.0))
        self.assertGreater(tally.unlike, 0)

    def test_the_peer_hears_a_close(self) -> None:
        """At the end each connection is closed with 1000."""
        codes: list[int] = []

        def note(conn: syncws.Conn) -> None:
            try:
                while True:
                    conn.send(conn.receive())
            except syncws.CloseError as error:
                codes.append(error.code)

        with self.serving(note) as url:
            self.load(plan(url, connections=3))
        self.assertEqual(codes, [1000] * 3)

    def test_stop(self) -> None:
        """The command can end it in each phase; what was counted so far is the result."""
        for phase in ("opening", "ready", "warm-up", "measuring"):
            with self.subTest(phase), self.serving() as url:
                tally = self.load(plan(url, duration=1000.0, warmup=0.3), Alone(stop_at=phase))
                self.assertEqual(tally.received > 0, phase == "measuring")


class LimitTests(LoadCase):
    def test_busy(self) -> None:
        """It says how much of the time it computed, and how much it waited."""

        def slow(conn: syncws.Conn) -> None:
            for message in conn:
                time.sleep(0.05)
                conn.send(message)

        with self.serving(slow) as url:
            [busy] = self.load(plan(url, duration=0.3)).busy
        self.assertLess(busy.cpu, 0.5)
        self.assertGreater(busy.waiting, 0.5)


if __name__ == "__main__":
    unittest.main()
