"""The reference on the site: every name that users may import is in docs/api/, once."""

from __future__ import annotations

import ast
import unittest
from collections import Counter
from dataclasses import dataclass
from pathlib import Path

import syncws
import syncws.testing

from . import pyramids  # noqa: F401 - the reference imports it as well, and it does not come without a word
from .test_layout import MODULES, PUBLIC
from .test_site import DOCS, load

reference = load("reference")


def _sources(module: str) -> dict[str, tuple[str, str]]:
    """The names in __all__ of a module, each with the module that defines it, and its name there."""
    tree = ast.parse(MODULES[module].read_text())
    exported: list[str] = []
    sources = {}
    for node in tree.body:
        match node:
            case ast.Assign(targets=[ast.Name(id="__all__")], value=value):
                exported = ast.literal_eval(value)
            case ast.ImportFrom(module=str(source), level=1):
                sources |= {alias.asname or alias.name: (source, alias.name) for alias in node.names}
    return {name: sources.get(name, (module, name)) for name in exported}


def public_names() -> dict[str, tuple[str, str]]:
    """The full name of everything that users may import, and where it is defined."""
    names = {f"syncws.{name}": source for name, source in _sources("__init__").items()}
    for module in sorted(PUBLIC):
        own = {f"syncws.{module}.{name}": source for name, source in _sources(module).items()}
        names |= {name: source for name, source in own.items() if source not in names.values()}
    return names


class ReferenceTests(unittest.TestCase):
    def test_every_public_name_is_there_once(self) -> None:
        """A name that users may import is on one page of docs/api, and nothing else is."""
        found = Counter(name for page in DOCS.glob("api/*.rst") for name in reference.names(page.read_text()))
        public = public_names()
        self.assertEqual(sorted(public.keys() - found.keys()), [], "add them to the page of their subject in docs/api")
        self.assertEqual(sorted(found.keys() - public.keys()), [], "these are not public")
        self.assertEqual([name for name, times in found.items() if times > 1], [])

    def test_what_is_public(self) -> None:
        """What a public module hands on from syncws counts once; what only has the same name, twice."""
        public = public_names()
        self.assertIn("syncws.Backplane", public)
        self.assertIn("syncws.backplane.Sink", public)
        self.assertNotIn("syncws.backplane.Backplane", public)
        self.assertLessEqual({"syncws.serve", "syncws.falcon.serve"}, public.keys())
        self.assertLessEqual({f"syncws.{name}" for name in syncws.__all__}, public.keys())

    def test_names_of_a_page(self) -> None:
        """The names of a page are those of its directives."""
        page = (
            ".. autoclass:: syncws.Conn\n\n.. autofunction:: syncws.wsgi.shutdown\n\n.. py:data:: syncws.wsgi.Taker\n"
        )
        self.assertEqual(reference.names(page), ["syncws.Conn", "syncws.wsgi.shutdown", "syncws.wsgi.Taker"])

    def test_internal_members(self) -> None:
        """What is left out of the reference is there to be left out."""
        classes = {name.rpartition(".")[2]: name for name in public_names()}
        for name in reference.INTERNAL:
            cls, _, member = name.partition(".")
            self.assertTrue(hasattr(reference.find(classes[cls]), member), name)


class MembersTests(unittest.TestCase):
    def test_order(self) -> None:
        """The members of a class come in the order of the source, those of a private base after its own."""
        members = reference.members(syncws.Conn)
        self.assertLess(members.index("read_message"), members.index("close_read"))
        self.assertNotIn("__init__", members)
        self.assertIn("__iter__", members)
        self.assertNotIn("_messages", members)

    def test_what_is_left_out(self) -> None:
        """What only other parts call, what Python makes of a tuple, and the tests of a TestCase are no members here."""
        self.assertNotIn("dial_within", reference.members(syncws.Dialer))
        self.assertEqual(reference.members(syncws.testing.Frame), [])
        cases = reference.members(syncws.testing.BackplaneCases)
        self.assertIn("make", cases)
        self.assertEqual([name for name in cases if name.startswith("test_")], [])

    def test_bases(self) -> None:
        """A base that no page documents is not shown; what it is made from may be."""
        self.assertEqual(reference.shown_bases(syncws.Conn), [])
        self.assertEqual(reference.shown_bases(syncws.CloseError), [syncws.ConnectionClosed])
        for page in DOCS.glob("api/*.rst"):
            for name in reference.names(page.read_text()):
                value = reference.find(name)
                for base in reference.shown_bases(value) if isinstance(value, type) else ():
                    with self.subTest(name, base=base):
                        self.assertFalse(base.__module__.startswith("syncws") and base.__name__.startswith("_"))

    def test_page(self) -> None:
        """A class on a page gets its members, and its bases where they say something."""
        text = reference.with_members(".. autoclass:: syncws.Headers\n\n.. autoexception:: syncws.CloseError\n")
        self.assertIn(".. autoclass:: syncws.Headers\n   :members: get, get_all", text)
        self.assertIn(".. autoexception:: syncws.CloseError\n   :show-inheritance:\n", text)
        self.assertEqual(text.count(":show-inheritance:"), 1)
        chosen = ".. autoclass:: syncws.Headers\n   :members: get\n"
        self.assertEqual(reference.with_members(chosen), chosen)


@dataclass(frozen=True, kw_only=True)
class Brewing:
    """How tea is made.

    Args:
        minutes, seconds: how long it draws; one of
            both may be 0.
        size: bytes of the pot.

    Raises TypeError for no number.
    """

    minutes: int | None = None
    seconds: float = 3.0
    size: int = 1 << 20


@dataclass(frozen=True, kw_only=True)
class Serving(Brewing):
    """How tea is served.

    Args:
        cup: of what.
    """

    cup: str = "clay"


class OptionsTests(unittest.TestCase):
    def test_table(self) -> None:
        """An option has its type, its default, and what its docstring says, also where two share a line."""
        both = "how long it draws; one of both may be 0."
        self.assertEqual(
            reference.options(Brewing),
            [
                ("minutes", "int | None", "None", both),
                ("seconds", "float", "3.0", both),
                ("size", "int", "1 << 20", "bytes of the pot."),
            ],
        )

    def test_what_a_class_is_made_with(self) -> None:
        """A signature has what the docstring of the class describes; what a base describes is among the options."""
        self.assertEqual(str(reference.made_with(Brewing)), "(*, minutes=None, seconds=3.0, size=1 << 20)")
        self.assertEqual(str(reference.made_with(Serving)), "(*, cup='clay', **options)")

    def test_every_option_has_a_row(self) -> None:
        """The tables have every option of those that take any."""
        for cls in (syncws.ConnOptions, syncws.Server, syncws.Manager):
            rows = [name for name, *_ in reference.options(cls)]
            self.assertEqual(rows, list(reference.inspect.signature(cls).parameters))

    def test_defaults(self) -> None:
        """A default is said as it is written by hand."""
        for value, text in ((1 << 20, "1 << 20"), (1000, "1000"), (True, "True"), (syncws.dial, "dial"), ("a", "'a'")):
            self.assertEqual(reference.said(value), text)


class PythonTests(unittest.TestCase):
    def test_where_names_lead(self) -> None:
        """A name of the standard library leads to its place in Python's documentation; another one nowhere."""
        for name, place in (
            ("ValueError", "exceptions.html#ValueError"),
            ("bytes", "stdtypes.html#bytes"),
            ("int", "functions.html#int"),
            ("socket.socket", "socket.html#socket.socket"),
            ("collections.abc.Callable", "collections.abc.html#collections.abc.Callable"),
        ):
            self.assertEqual(reference.python_page(name), f"https://docs.python.org/3/library/{place}")
        for name in ("syncws.Conn", "Conn", "flask.Flask", "read_message"):
            self.assertEqual(reference.python_page(name), "")


class CodeTests(unittest.TestCase):
    def test_what_code_names(self) -> None:
        """Code on a page is a link if it plainly names something: a class, a call, or a member of a class."""
        for code, names in (
            ("Conn", ["syncws.Conn"]),
            ("Conn.send(message, text=True)", ["syncws.Conn.send", "syncws.Conn"]),
            ("ConnOptions.read_limit", ["syncws.ConnOptions.read_limit", "syncws.ConnOptions"]),
            ("syncws.dial", ["syncws.dial"]),
            ("dial()", ["syncws.dial"]),
            ("serve", []),
            ("subprotocols", []),
            ("syncws serve app:main", []),
            ("1 << 20", []),
        ):
            self.assertEqual(reference.named(code), names)

    def test_the_only_member(self) -> None:
        """A member is found by its own name where one class alone has it."""
        objects = {"syncws.Conn": 1, "syncws.Conn.send": 1, "syncws.Conn.ping": 1, "syncws.Member": 1}
        objects |= {"syncws.Member.send": 1, "syncws.falcon.serve": 1}
        self.assertEqual(reference.only_member("ping", objects), "syncws.Conn.ping")
        self.assertEqual(reference.only_member("send", objects), "")
        self.assertEqual(reference.only_member("serve", objects), "")


class ModuleTextTests(unittest.TestCase):
    def test_code_is_marked(self) -> None:
        """What stands indented after a paragraph is code; what belongs to a list is not."""
        lines = ["It does:", "", "    a()", "", "    b()", "", "More.", "", "* one", "    and more"]
        marked = reference.shown(lines)
        self.assertEqual(marked.count(".. code-block:: python"), 1)
        self.assertEqual(marked[:4], ["It does:", "", ".. code-block:: python", ""])

    def test_tables(self) -> None:
        """A table as Markdown has it is one on the site."""
        lines = ["These:", "", "| a | b |", "|---|---|", "| 1 | 2 |", "", "More."]
        table = [".. list-table::", "   :header-rows: 1", "", "   * - a", "     - b", "   * - 1", "     - 2"]
        self.assertEqual(reference.shown(lines), ["These:", "", *table, "", "More."])

    def test_where_names_come_from(self) -> None:
        """What syncws exports is looked up where it is written."""
        sources = reference.source_of(syncws)
        self.assertIn("Conn", sources["syncws._conn.conn"])
        self.assertIn("CloseError", sources["syncws.errors"])
        self.assertIn("Peer", reference.source_of(syncws.testing)["syncws._testing.frames"])

    def test_pages_are_there(self) -> None:
        """The pages are where these tests look for them."""
        self.assertGreater(len(list(Path(DOCS, "api").glob("*.rst"))), 5)


if __name__ == "__main__":
    unittest.main()
