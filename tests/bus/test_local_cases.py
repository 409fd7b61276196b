"""`LocalBackplane` passes the tests that any backplane has to pass."""

from __future__ import annotations

import os
import tempfile
import unittest

from syncws import LocalBackplane
from syncws._bus.localdirectory import LocalDirectory
from syncws._bus.localframes import frame, greeting
from syncws.testing import BackplaneCases, LeakChecks
from tests.bus.locals import skip_without_unix_sockets


class LocalTests(BackplaneCases, LeakChecks):
    """There is nothing between the processes that could be taken away: `break_bus` is not written."""

    def setUp(self) -> None:
        skip_without_unix_sockets()
        self.directory = os.path.join(self.enterContext(tempfile.TemporaryDirectory(prefix="bus")), "bus")
        LocalDirectory(self.directory).prepare()  # where it is not there an outlet says so: see test_localoutlet
        super().setUp()

    def make(self) -> LocalBackplane:
        return LocalBackplane(self.directory)

    def inject(self, channel: str, data: bytes) -> None:
        directory = LocalDirectory(self.directory)
        for name in directory.names():
            with directory.connect(name) as connection:
                connection.setblocking(True)
                connection.sendall(greeting("") + frame(channel, data))


if __name__ == "__main__":
    unittest.main()
