"""What tests of a backplane on Redis share: servers, and nodes with a sink that keeps what it is told."""

from __future__ import annotations

import itertools
import threading
import time
from collections.abc import Callable
from typing import Any

from syncws._bus.recorder import Recorder
from syncws._bus.redis import RedisBackplane
from syncws.testing import LeakChecks
from tests.buses import RedisServer, need_client, need_server
from tests.tasks import PATIENCE

_numbers = itertools.count(1)


class Node:
    """A backplane that is started, and what its sink was told."""

    def __init__(self, source: object, **options: Any) -> None:
        options = {"beat": 0.4, **options}
        self.backplane = RedisBackplane(source, **options)
        self.told = Recorder()
        self.name = f"{next(_numbers):016x}"
        self.backplane.start(self.told, self.name)

    def publish(self, channel: str, *messages: object) -> None:
        for each in messages:
            assert self.backplane.publish(channel, str(each).encode())

    def subscribe(self, *channels: str) -> None:
        assert self.backplane.subscribe(channels, PATIENCE), self.backplane.health()

    def got(self, channel: str) -> list[str]:
        return [each.decode() for each in self.told.on(channel)]

    def wait(self, condition: Callable[[], bool], what: object = "") -> None:
        """Wait until something was told."""
        assert self.told.wait(condition, PATIENCE), (what, self.told.story, self.told.reasons, self.backplane.health())

    def wait_for(self, channel: str, *messages: object) -> None:
        """Wait until these have come on a channel, and nothing else."""
        expected = [str(each) for each in messages]
        self.wait(lambda: len(self.told.received_all) >= len(expected) and self.got(channel) == expected, channel)

    def wait_up(self, times: int = 1) -> None:
        self.wait(lambda: self.told.story.count("up") >= times, "up")

    def wait_down(self, times: int = 1) -> None:
        self.wait(lambda: self.told.story.count("down") >= times, "down")

    def wait_health(self, condition: Callable[[Any], bool]) -> None:
        until = time.monotonic() + PATIENCE
        while not condition(self.backplane.health()):
            assert time.monotonic() < until, self.backplane.health()
            time.sleep(0.005)


class RedisCase(LeakChecks):
    """Each test makes its servers and nodes; all are gone after it."""

    def setUp(self) -> None:
        need_server()
        need_client()
        super().setUp()

    def server(self, *arguments: Any, **options: Any) -> RedisServer:
        return self.enterContext(RedisServer(*arguments, **options))

    def node(self, source: object, **options: Any) -> Node:
        node = Node(source, **options)
        self.addCleanup(node.backplane.close, 0)
        return node

    def up(self, source: object, **options: Any) -> Node:
        """A node that is connected."""
        node = self.node(source, **options)
        node.wait_up()
        return node


class Stream:
    """Publishes numbers from 1 on a channel, so many a second, in a thread, until it is told to end, or the test is."""

    def __init__(self, test: LeakChecks, node: Node, channel: str, rate: float = 200) -> None:
        self._node = node
        self._channel = channel
        self._pause = 1 / rate
        self._ended = threading.Event()
        self.count = 0
        self.refused: list[int] = []
        self._thread = threading.Thread(target=self._run, name="stream", daemon=True)
        self._thread.start()
        test.addCleanup(self.end)

    def _run(self) -> None:
        while not self._ended.wait(self._pause):
            self.count += 1
            if not self._node.backplane.publish(self._channel, b"%d" % self.count):
                self.refused.append(self.count)

    def run_for(self, seconds: float) -> None:
        """Let it publish so long."""
        self._ended.wait(seconds)

    def end(self) -> int:
        """End it; how many it published."""
        self._ended.set()
        self._thread.join(PATIENCE)
        return self.count
