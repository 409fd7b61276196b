"""What `import syncws` gives: the public names and nothing else, each of which says where to import it from."""

from __future__ import annotations

import pickle
import pydoc
import subprocess
import sys
import traceback
import types
import typing
import unittest

import syncws


class PublicTests(unittest.TestCase):
    def test_dir(self) -> None:
        """A fresh dir(syncws) shows what is exported, the exceptions' module, and Python's own names."""
        program = "import syncws; print(*dir(syncws))"
        done = subprocess.run([sys.executable, "-c", program], check=True, capture_output=True, text=True, timeout=60)
        names = {name for name in done.stdout.split() if not name.startswith("__")}
        self.assertEqual(names, {name for name in syncws.__all__ if not name.startswith("__")} | {"errors"})

    def test_dir_shows_what_was_imported(self) -> None:
        """A public module is shown once it has been imported."""
        import syncws.testing

        self.assertIn("testing", dir(syncws))

    def test_modules(self) -> None:
        """Each exported class and function says that it is of syncws, and is found there under its own name."""
        for name in syncws.__all__:
            exported = getattr(syncws, name)
            if isinstance(exported, type | types.FunctionType):
                with self.subTest(name):
                    self.assertEqual((exported.__module__, exported.__qualname__), ("syncws", name))

    def test_traceback(self) -> None:
        """A traceback names an exception as a program can catch it."""
        text = "".join(traceback.format_exception_only(syncws.CloseError(1000, "bye")))
        self.assertEqual(text, "syncws.CloseError: 1000 (normal closure): bye\n")

    def test_help(self) -> None:
        """help() says where a class comes from."""
        self.assertIn("class Dialer in module syncws", pydoc.plain(pydoc.render_doc(syncws.Dialer)))

    def test_pickles(self) -> None:
        """A pickle of what is exported names syncws, so that it outlives a move inside."""
        for value in (syncws.TEXT, syncws.CloseError(4000, "no"), syncws.ConnOptions(read_limit=5), syncws.dial):
            with self.subTest(value):
                pickled = pickle.dumps(value)
                self.assertNotIn(b"syncws.", pickled)
                self.assertNotIn(b"_conn", pickled)
                self.assertEqual(repr(pickle.loads(pickled)), repr(value))

    def test_annotations(self) -> None:
        """The annotations of each exported class can be resolved, which looks for names in the class's module."""
        for name in syncws.__all__:
            exported = getattr(syncws, name)
            if isinstance(exported, type):
                with self.subTest(name):
                    typing.get_type_hints(exported)


if __name__ == "__main__":
    unittest.main()
