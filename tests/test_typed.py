"""The programs of `tests/typed`, which type checkers read in `make lint`: each can be imported, and some are run."""

from __future__ import annotations

import importlib.util
import pkgutil
import subprocess
import sys
import unittest

import syncws
from syncws.testing import running
from tests import typed
from tests.interop.nodes import need
from tests.typed import client, mistakes, server
from tests.typed.tools import BackplaneTests as BackplaneTests
from tests.typed.tools import EchoTests as EchoTests  # the runner of tests finds it here

#: Import those that are named. Django's settings are a process's, so this one is not the tests' own.
_IMPORT = """
import importlib, sys
for name in sys.argv[1:]:
    if name == "django_views":
        from django.conf import settings
        settings.configure()
    importlib.import_module(f"tests.typed.{name}")
"""

#: The programs that need a framework.
_FRAMEWORKS = {f"{framework}_views": framework for framework in ("bottle", "django", "falcon", "flask", "pyramid")}


class TypedTests(unittest.TestCase):
    def test_programs(self) -> None:
        """Each program can be imported, so the names that a checker was told of exist."""
        names = [module.name for module in pkgutil.iter_modules(typed.__path__)]
        there = [name for name in names if name not in _FRAMEWORKS or importlib.util.find_spec(_FRAMEWORKS[name])]
        done = subprocess.run([sys.executable, "-c", _IMPORT, *there], capture_output=True, text=True, timeout=60)
        self.assertEqual(done.returncode, 0, done.stderr)
        missing = sorted(_FRAMEWORKS[name] for name in {*names} - {*there})
        need(not missing, f"not installed: {', '.join(missing)}")

    def test_a_server_and_its_client(self) -> None:
        """The server echoes what the client sends as JSON."""
        self.assertEqual(server.main(), ["hello"])

    def test_a_client(self) -> None:
        """The client gets its message back, or says how it was refused."""
        with running(syncws.Server(server.either, port=0)) as serving:
            url = f"ws://127.0.0.1:{serving.port}"
            self.assertEqual(client.talk(url), "hello")
            self.assertEqual(client.talk(f"{url}/health"), "refused: 200 OK")

    def test_mistakes(self) -> None:
        """What a type checker refuses raises a TypeError, which says what is wrong."""
        for call, said in mistakes.MISTAKES:
            with self.subTest(call.__name__), self.assertRaisesRegex(TypeError, said):
                call()
