"""backoff.py: the delays between attempts, and what a server may ask for."""

from __future__ import annotations

import time
import unittest
from email.utils import formatdate
from unittest import mock

import syncws
from syncws._client.backoff import Backoff, retry_after


class BackoffTests(unittest.TestCase):
    """The delays, without waiting for them: random.uniform is replaced, so that they can be foretold."""

    def setUp(self) -> None:
        self.uniform = self.enterContext(mock.patch("random.uniform", return_value=1.0))

    def delays(self, backoff: Backoff, failures: int) -> list[float]:
        found = []
        for _ in range(failures):
            backoff.attempt_failed(0)
            found.append(backoff.next_delay())
        return found

    def test_first_attempt(self) -> None:
        """The first attempt is made at once."""
        self.assertEqual(Backoff(1, 60, 10).next_delay(), 0)

    def test_doubles_up_to_the_largest(self) -> None:
        """After each failure the delay is twice the last, and never more than max_delay."""
        self.assertEqual(self.delays(Backoff(1, 10, 10), 6), [1, 2, 4, 8, 10, 10])

    def test_any_number_of_failures(self) -> None:
        """Thousands of failures overflow nothing."""
        self.assertEqual(self.delays(Backoff(0.5, 60, 10), 3000)[-1], 60)

    def test_jitter(self) -> None:
        """Chance takes away a half at most."""
        self.uniform.return_value = 0.5
        self.assertEqual(self.delays(Backoff(1, 10, 10), 3), [0.5, 1, 2])
        self.assertEqual(self.uniform.call_args.args, (0.5, 1))

    def test_a_delay_counts_once(self) -> None:
        """A delay that was waited for is not waited for again."""
        backoff = Backoff(1, 60, 10)
        backoff.attempt_failed(0)
        self.assertEqual((backoff.next_delay(), backoff.next_delay()), (1, 0))

    def test_retry_after_comes_on_top(self) -> None:
        """Retry-After is added to our own delay, so that clients still come back at different times."""
        backoff = Backoff(1, 60, 10)
        backoff.attempt_failed(120)
        self.assertEqual(backoff.next_delay(), 121)

    def test_a_connection_that_lasted(self) -> None:
        """After a connection that lasted the delays begin again at min_delay."""
        backoff = Backoff(1, 60, 10)
        self.delays(backoff, 5)
        with mock.patch("time.monotonic", side_effect=[100.0, 110.0]):
            backoff.connection_made()
            backoff.connection_over()
        self.assertEqual(backoff.next_delay(), 1)
        self.assertEqual(self.delays(backoff, 2), [1, 2])

    def test_connections_that_do_not_last(self) -> None:
        """After connections that end at once the delays grow as after failures; a connection that lasts resets them."""
        backoff = Backoff(1, 60, 10)
        found = []
        for lasted in (0.0, 9.9, 0.0, 10.0, 0.0):
            with mock.patch("time.monotonic", side_effect=[100.0, 100.0 + lasted]):
                backoff.connection_made()
                backoff.connection_over()
            found.append(backoff.next_delay())
        self.assertEqual(found, [1, 2, 4, 1, 1])

    def test_a_short_connection_among_failures(self) -> None:
        """A connection that does not last counts as one more failure, whatever comes before and after it."""
        backoff = Backoff(1, 60, 10)
        self.delays(backoff, 3)
        with mock.patch("time.monotonic", return_value=100.0):
            backoff.connection_made()
            backoff.connection_over()
        self.assertEqual(backoff.next_delay(), 8)
        self.assertEqual(self.delays(backoff, 2), [16, 32])


class RetryAfterTests(unittest.TestCase):
    def seconds(self, value: str) -> float:
        response = syncws.ReceivedResponse(503, "", syncws.Headers({"Retry-After": value}))
        return retry_after(syncws.BadHandshakeError("no", response))

    def test_seconds(self) -> None:
        """A number is seconds, up to an hour."""
        self.assertEqual([self.seconds(value) for value in ("0", "17", "0" * 20 + "9")], [0, 17, 9])
        self.assertEqual([self.seconds(value) for value in ("3600", "3601", "9" * 5000)], [3600] * 3)

    def test_date(self) -> None:
        """A date is an instant, in whatever time zone this machine is; one that has passed means no wait."""
        self.addCleanup(time.tzset)  # once the environment is as it was
        self.enterContext(mock.patch.dict("os.environ", TZ="JST-9"))
        time.tzset()
        with mock.patch("time.time", return_value=1_000_000_000.0):
            self.assertEqual(self.seconds(formatdate(1_000_000_060, usegmt=True)), 60)
            self.assertEqual(self.seconds("Sun, 09 Sep 2001 01:47:40 -0000"), 60)
            self.assertEqual(self.seconds(formatdate(999_999_000, usegmt=True)), 0)
            self.assertEqual(self.seconds(formatdate(2_000_000_000, usegmt=True)), 3600)

    def test_garbage(self) -> None:
        """Anything else asks for nothing."""
        years = [f"Mon, 01 Jan {year} 00:00:00 GMT" for year in (99999999, 10**30)]
        for value in (
            "",
            "soon",
            "-5",
            "1.5",
            "٣",
            "Sun, 99 Foo 2001",
            "Mon, 01 Jan 2030 00:00:00 +" + "9" * 14,
            *years,
        ):
            with self.subTest(value=value):
                self.assertEqual(self.seconds(value), 0)

    def test_of_a_proxy(self) -> None:
        """A proxy's Retry-After counts as well; other failures have none."""
        error = syncws.ProxyError("no", 503, syncws.Headers({"retry-after": "7"}))
        self.assertEqual(retry_after(error), 7)
        for other in (OSError("no"), syncws.BadHandshakeError("no"), syncws.ProxyError("no", 0)):
            self.assertEqual(retry_after(other), 0)


if __name__ == "__main__":
    unittest.main()
