"""What `import syncws` gives: the public names and nothing else, each of which says where to import it from."""

from __future__ import annotations

import importlib
import pickle
import pydoc
import subprocess
import sys
import traceback
import types
import typing
import unittest
import warnings
from collections.abc import Iterator
from dataclasses import fields
from inspect import signature
from typing import Any

import syncws
from syncws._base.options import ConnKeywords
from syncws._client.dialer import DialerKeywords
from syncws._http.handshake import HandshakeKeywords, HandshakeOptions
from syncws._server.options import ServeKeywords, ServerOptions


def _with_annotations(name: str, exported: Any) -> Iterator[tuple[str, Any]]:
    """A class or function, and every member of it that may have annotations of its own."""
    if isinstance(exported, type | types.FunctionType):
        yield name, exported
    if not isinstance(exported, type):
        return
    for attribute, value in vars(exported).items():
        plain = value.fget if isinstance(value, property) else getattr(value, "__func__", value)
        if isinstance(plain, types.FunctionType):
            yield f"{name}.{attribute}", plain


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
        """What is exported can be asked for its types, which looks for their names in the module of each: a class, its
        methods and properties, the __init__ that a dataclass is given, a function."""
        for name in syncws.__all__:
            for where, asked in _with_annotations(name, getattr(syncws, name)):
                with self.subTest(where):
                    typing.get_type_hints(asked)

    def test_annotations_of_public_modules(self) -> None:
        """The same for the classes and functions of the public modules; those of a framework where it is installed."""
        for name in syncws._PUBLIC_MODULES:
            with self.subTest(name):
                try:
                    with warnings.catch_warnings():
                        warnings.simplefilter("ignore")  # of what frameworks import
                        module = importlib.import_module(f"syncws.{name}")
                except ModuleNotFoundError as missing:
                    self.skipTest(f"{missing.name} is not installed")
                for public, value in vars(module).items():
                    if public.startswith("_") or getattr(value, "__module__", "") != module.__name__:
                        continue
                    for where, asked in _with_annotations(public, value):
                        with self.subTest(where):
                            typing.get_type_hints(asked)

    def test_keywords(self) -> None:
        """What `dial`, `reconnect` and `serve` tell an editor are the options that they have, with their types."""
        for keywords, options in (
            (ConnKeywords, syncws.ConnOptions),
            (HandshakeKeywords, HandshakeOptions),
            (DialerKeywords, syncws.Dialer),
        ):
            with self.subTest(keywords.__name__):
                told, hints = typing.get_type_hints(keywords), typing.get_type_hints(options)
                self.assertEqual(told, {field.name: hints[field.name] for field in fields(options)})

    def test_keywords_of_serve(self) -> None:
        """`serve` has the keywords of Server, except address, handler, and what only a WSGI application needs."""
        others = {"self", "handler", "host", "port", "wsgi_app", "max_body_size", "body_timeout", "answer_timeout"}
        told, hints = typing.get_type_hints(ServeKeywords), typing.get_type_hints(syncws.Server.__init__)
        self.assertEqual(told, {name: hints[name] for name in hints if name not in {*others, "return"}})
        self.assertLess(told.items(), typing.get_type_hints(ServerOptions).items())
        self.assertEqual(set(signature(syncws.Server.__init__).parameters), told.keys() | others)


if __name__ == "__main__":
    unittest.main()
