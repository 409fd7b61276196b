"""green.py: whether threads are greenlets, and that the whole library works where they are."""

from __future__ import annotations

import importlib.util
import subprocess
import sys
import unittest
from unittest import mock

from syncws._base.green import is_green


class GreenTests(unittest.TestCase):
    """In a process that gevent or eventlet has patched, whose waits are theirs."""

    def test_not_patched(self) -> None:
        """A process that is not patched is not green, and waits in the kernel where that can be done."""
        self.assertFalse(is_green())

    def test_which_patches_count(self) -> None:
        """What counts is that sockets are patched: to have imported gevent or eventlet makes no process green."""
        for module, asked in (("gevent.monkey", "is_module_patched"), ("eventlet.patcher", "is_monkey_patched")):
            for patched in (True, False):
                stand_in = mock.Mock(**{f"{asked}.side_effect": lambda name, patched=patched: patched})
                with self.subTest(module, patched=patched), mock.patch.dict(sys.modules, {module: stand_in}):
                    self.assertIs(is_green(), patched)
                    getattr(stand_in, asked).assert_called_once_with("socket")

    def test_gevent(self) -> None:
        """Patched by gevent, server and client talk to each other from its greenlets, plain and over TLS."""
        self.check("gevent")

    def test_eventlet(self) -> None:
        """Patched by eventlet, server and client talk to each other from its greenlets, plain and over TLS."""
        self.check("eventlet")

    def check(self, kind: str) -> None:
        if importlib.util.find_spec(kind) is None:
            self.skipTest(f"{kind} is not installed")
        command = [sys.executable, "-W", "ignore", "-m", "tests.green", kind]
        done = subprocess.run(command, capture_output=True, text=True, timeout=60, check=False)
        self.assertEqual(done.stdout, "True ws late\nTrue wss late\n", done.stderr)


if __name__ == "__main__":
    unittest.main()
