"""Where a bus is, as one text."""

from __future__ import annotations

import tempfile
import unittest

from syncws import LocalBackplane, RedisBackplane
from syncws._relay.address import backplane_at
from syncws.testing import LeakChecks
from tests.bus.locals import skip_without_unix_sockets
from tests.buses import need_client


class AddressTests(LeakChecks):
    def test_redis(self) -> None:
        """A URL is Redis, with the prefix that is asked for."""
        need_client("redis")
        for address in (
            "redis://cache:6379/3",
            "rediss://cache",
            "unix:///run/redis.sock",
            "redis+sentinel://a,b/main",
        ):
            with self.subTest(address):
                self.assertIsInstance(backplane_at(address), RedisBackplane)
        self.assertIn("shop:3:*", repr(backplane_at("redis://cache/3", "shop")))
        self.assertIn("syncws:3:*", repr(backplane_at("redis://cache/3")))

    def test_local(self) -> None:
        """local: and a path are the directory of a local bus; as a URL is written, too."""
        skip_without_unix_sockets()
        folder = self.enterContext(tempfile.TemporaryDirectory())
        for address in (f"local:{folder}/bus", f"local://{folder}/bus"):
            with self.subTest(address):
                backplane = backplane_at(address)
                assert isinstance(backplane, LocalBackplane)
                self.assertEqual(backplane.path.replace("//", "/"), f"{folder}/bus")
        with self.assertRaisesRegex(ValueError, "another directory"):
            backplane_at(f"local:{folder}", "shop")

    def test_what_is_none(self) -> None:
        """What is neither is a ValueError that lists the forms, and shows no password."""
        for address in ("", "cache", "cache:6379", "/run/app/bus", "user:secret@cache:6379", "redis:cache", "Local:/a"):
            with self.subTest(address), self.assertRaisesRegex(ValueError, "redis://.*local:/run/app/bus") as caught:
                backplane_at(address)
            self.assertNotIn("secret", str(caught.exception))


if __name__ == "__main__":
    unittest.main()
