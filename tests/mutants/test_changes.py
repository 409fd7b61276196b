"""changes.py: what is changed in a source, and what is left alone."""

from __future__ import annotations

import ast
import textwrap
import unittest

from .changes import Mutant, mutants_of


def mutants(body: str, before: str = "") -> list[Mutant]:
    """The mutants of a function f(self, a) with this body."""
    source = textwrap.dedent(before) + "def f(self, a):\n" + textwrap.indent(textwrap.dedent(body).strip(), "    ")
    return mutants_of("_net.sample", source)


class ChangeCase(unittest.TestCase):
    def assertChanges(self, body: str, *expected: str) -> None:
        """These changes are made of it, and no others: "drop: text"."""
        found = [f"{mutant.change}: {mutant.text}" for mutant in mutants(body)]
        self.assertEqual(found, list(expected))

    def assertBecomes(self, mutant: Mutant, body: str) -> None:
        """The function's body is this then."""
        expected = "def f(self, a):\n" + textwrap.indent(textwrap.dedent(body).strip(), "    ")
        self.assertEqual(mutant.source.strip(), ast.unparse(ast.parse(expected)))


class Drop(ChangeCase):
    """A statement is left out."""

    def test_calls_and_assignments(self) -> None:
        """Calls, and assignments to what exists besides, are left out."""
        self.assertChanges("self.x()", "drop: self.x()")
        self.assertChanges("self.x = a", "drop: self.x = a")
        self.assertChanges("self.x += a", "drop: self.x += a")
        self.assertChanges("self.x: int = a", "drop: self.x: int = a")
        self.assertChanges("a = a or 1", "drop: a = a or 1")

    def test_guards(self) -> None:
        """An `if` is left out that leaves the block; one that does something else, or has an else, is not."""
        for leaves in ("return", "raise a", "return 1"):
            self.assertChanges(f"if a: {leaves}", f"drop: if a: {leaves}")
        self.assertChanges("if a:\n    yield a")
        self.assertChanges("if a:\n    return 1\nelse:\n    return 2")

    def test_what_cannot_be_missed(self) -> None:
        """Not left out: words, imports, assertions, what is logged, annotations, and the only binding of a name."""
        for body in ('"""Words."""', "pass", "import os", "assert a", "_logger.info(a)", "x: int", "x = a.b", "..."):
            self.assertChanges(body)

    def test_the_only_statement(self) -> None:
        """Of a block of one statement `pass` is left."""
        self.assertBecomes(mutants("self.x()")[0], "pass")

    def test_every_block(self) -> None:
        """Statements are found in every kind of block, and in functions inside."""
        for block in (
            "if a:\n    {}",
            "if a:\n    yield\nelse:\n    {}",
            "for x in a:\n    {}",
            "while a:\n    {}",
            "with a:\n    {}",
            "try:\n    yield\nexcept ValueError:\n    {}",
            "match a:\n    case 1:\n        {}",
            "def g():\n    {}",
        ):
            with self.subTest(block):
                self.assertIn("self.x()", [mutant.text for mutant in mutants(block.format("self.x()"))])

    def test_outside_of_functions(self) -> None:
        """What a module or a class says once, when it is imported, is left alone; methods are not."""
        source = "x = [1]\nx.clear()\nclass A:\n    y = x.clear()\n    def m(self):\n        self.z()\n"
        self.assertEqual([mutant.name for mutant in mutants_of("m", source)], ["m: drop in A.m: self.z()"])


class Swap(ChangeCase):
    """Two neighbours change places."""

    def assertSwaps(self, body: str, expected: bool) -> None:
        found = [mutant for mutant in mutants(body) if mutant.change == "swap"]
        self.assertEqual(bool(found), expected, body)

    def test_neighbours(self) -> None:
        """Each two neighbours that do something change places."""
        found = [mutant for mutant in mutants("self.x()\nself.y = a\nself.z()") if mutant.change == "swap"]
        self.assertEqual([mutant.text for mutant in found], ["self.x() | self.y = a", "self.y = a | self.z()"])
        self.assertBecomes(found[0], "self.y = a\nself.x()\nself.z()")
        self.assertBecomes(found[1], "self.x()\nself.z()\nself.y = a")

    def test_flags_that_others_look_at(self) -> None:
        """Two attributes change places, since another thread may look in between; not while an object is made."""
        self.assertSwaps("self.x = 1\nself.y = 2", True)
        made = "class A:\n    def __init__(self):\n        self.x = 1\n        self.y = Lock()\n"
        self.assertNotIn("swap", [mutant.change for mutant in mutants_of("m", made)])

    def test_objects_of_one_thread(self) -> None:
        """Where objects belong to one thread nobody looks in between."""
        source = "def f(self):\n    self.x = 1\n    self.y = 2\n"
        for module, expected in (("_conn.wire", True), ("_frames.protocol", False)):
            self.assertEqual("swap" in [mutant.change for mutant in mutants_of(module, source)], expected)

    def test_what_cannot_matter(self) -> None:
        """Not swapped: names that do not touch each other, words, assertions, what is logged, what leaves."""
        for body in (
            "x = 1\ny = len(a)",
            "'words'\nself.x()",
            "assert a\nself.x()",
            "_log.info(a)\nself.x()",
            "self.x()\nreturn a",
            "x: int\nself.x()",
            "x = []\ny = []\nx.append(a)\ny.append(1)",
            "x += 1\ny = self.z",
            "if isinstance(a, str):\n    raise ValueError(a)\nif not a:\n    return None",
            "if a:\n    raise ValueError(a)\ny = 1",
        ):
            self.assertSwaps(body, False)
        self.assertSwaps("a = 1\nx = a", True)
        self.assertSwaps("x = self.read()\ny = self.read()", True)
        self.assertSwaps("x = []\nx.append(1)\nx.append(a)", True)
        self.assertSwaps("x = []\na.append(1)\nx.append(2)", True)  # whose list a is, others may know
        self.assertSwaps("if self.read():\n    return\nif a:\n    return", True)
        self.assertSwaps("try:\n    if a:\n        return\n    x = 1\nfinally:\n    self.z(x)", True)

    def test_what_could_only_be_a_name_error(self) -> None:
        """Not swapped: the first binding of a name, and what uses it."""
        self.assertSwaps("x = self.read()\nself.write(x)", False)
        self.assertSwaps("x = 1\nx = self.read()\nself.write(x)", True)
        self.assertSwaps("with self.lock:\n    x = self.y\nif x:\n    return", False)


class Bare(ChangeCase):
    """What a `finally` protects."""

    def test_finally(self) -> None:
        """It comes after the block, which an exception then passes by."""
        body = "try:\n    return self.x(a)\nfinally:\n    self.y(1)"
        self.assertChanges(body, "bare: self.y(1)", "drop: self.y(1)")
        self.assertBecomes(mutants(body)[0], "return self.x(a)\nself.y(1)")

    def test_finally_and_except(self) -> None:
        """Handlers stay."""
        (bare,) = (
            mutant
            for mutant in mutants("try:\n    a()\nexcept ValueError:\n    pass\nfinally:\n    self.y()")
            if mutant.change == "bare"
        )
        self.assertBecomes(bare, "try:\n    a()\nexcept ValueError:\n    pass\nself.y()")


class Names(unittest.TestCase):
    """What a mutant is called."""

    def test_name_and_key(self) -> None:
        """Name and key stay when comments and other lines move; the key changes with the module's code."""
        (first,) = mutants("self.x()")
        (moved,) = mutants("# Why.\n\nself.x()", "\n\n")
        (changed,) = (mutant for mutant in mutants("self.x()", "y = 1\n"))
        self.assertEqual((first.name, first.key), (moved.name, moved.key))
        self.assertEqual(first.name, "_net.sample: drop in f: self.x()")
        self.assertEqual(changed.name, first.name)
        self.assertNotEqual(changed.key, first.key)
        self.assertEqual((first.lines, moved.lines), ((2, 2), (6, 6)))

    def test_long_statements(self) -> None:
        """A block is named by its head, a long statement by its beginning."""
        (guard, *_) = mutants("if a:\n    self.x()\n    return")
        self.assertEqual(guard.text, "if a: ...")
        (call,) = mutants(f"self.x({'a, ' * 100})")
        self.assertEqual((len(call.text), call.text[-3:]), (120, "..."))
