"""What the tests of the local bus share: a directory, backplanes in it, and raw connections to them."""

from __future__ import annotations

import os
import socket
import tempfile
import unittest
from unittest import mock

from syncws import LocalBackplane
from syncws._bus.localdirectory import LocalDirectory
from syncws._bus.localframes import greeting
from syncws.testing import LeakChecks
from tests.bus.sinks import Told


def skip_without_unix_sockets() -> None:
    if not hasattr(socket, "AF_UNIX"):
        raise unittest.SkipTest("this system has no Unix sockets")


class LocalCase(LeakChecks):
    """Tests with a directory of their own, in which nothing is found by looking again: see `look_often`."""

    def setUp(self) -> None:
        skip_without_unix_sockets()
        super().setUp()
        self.directory = os.path.join(self.enterContext(tempfile.TemporaryDirectory(prefix="bus")), "bus")
        self._look = mock.patch("syncws._bus.localmesh._LOOK", 3600.0)
        self._look.start()
        self.addCleanup(mock.patch.stopall)
        self._count = 0

    def look_often(self) -> None:
        """Look into the directory many times a second, for what is found by that."""
        self.enterContext(mock.patch("syncws._bus.localmesh._LOOK", 0.02))

    def backplane(self, **options: int) -> LocalBackplane:
        """One that is not started, and closed in the end."""
        made = LocalBackplane(self.directory, **options)
        self.addCleanup(made.close, 1)
        return made

    def started(self, **options: int) -> tuple[LocalBackplane, Told]:
        """One that is started, with what it tells."""
        made, told = self.backplane(**options), Told()
        made.start(told, self.node())
        return made, told

    def joined(self, count: int, **options: int) -> list[tuple[LocalBackplane, Told]]:
        """Several that are connected with each other."""
        pairs = [self.started(**options) for _ in range(count)]
        for backplane, told in pairs:
            self.assertTrue(backplane.subscribe(["any"], 30))
            told.wait_for("up")
        return pairs

    def node(self) -> str:
        """A name that no other has."""
        self._count += 1
        return f"{self._count:016x}"

    def files(self) -> list[str]:
        return sorted(os.listdir(self.directory))

    def connected(self, name: str | None = None) -> socket.socket:
        """A raw connection to the one backplane that there is; with a greeting, if it is to have a name."""
        directory = LocalDirectory(self.directory)
        (found,) = [each for each in directory.names() if not each.endswith("f" * 8)]
        connection = directory.connect(found)
        self.addCleanup(connection.close)
        connection.settimeout(30)
        if name is not None:
            connection.sendall(greeting(name))
        return connection

    def listen(self, name: str) -> socket.socket:
        """A raw process of that name, which listens and says nothing."""
        listener = LocalDirectory(self.directory).listen(name)
        self.addCleanup(listener.close)
        self.addCleanup(LocalDirectory(self.directory).unlist, name)
        listener.settimeout(30)
        return listener
