"""The cases that every backplane has to pass, on real servers of Redis and Valkey."""

from __future__ import annotations

import unittest

from syncws import History, RedisBackplane
from syncws.testing import BackplaneCases, LeakChecks
from tests.buses import Kind, RedisServer, need_client, need_server


class RedisCases(BackplaneCases, LeakChecks):
    """On Redis."""

    kind: Kind = "redis"

    def setUp(self) -> None:
        need_client()
        need_server(self.kind)
        super().setUp()
        self.server = self.enterContext(RedisServer(self.kind))

    def make(self) -> RedisBackplane:
        return RedisBackplane(self.server.url, beat=0.2, patience=3.0, history=History())

    def break_bus(self) -> None:
        self.server.kill()

    def mend_bus(self) -> None:
        self.server.start()

    def inject(self, channel: str, data: bytes) -> None:
        self.server.call("PUBLISH", f"syncws:0:{channel}", data)


class ValkeyCases(RedisCases):
    """On Valkey."""

    kind = "valkey"


if __name__ == "__main__":
    unittest.main()
