"""The command line looks at objects of the rest of the package by names that are there."""

from __future__ import annotations

import ast
import unittest
from collections.abc import Iterator
from pathlib import Path

from tests.source import modules

#: Names that begin so are of Python itself.
FOREIGN = {"os._exit", "sys._is_gil_enabled"}

CLI = Path("syncws/_cli")


def private_names(tree: ast.AST) -> Iterator[str]:
    """``owner._name`` of another object's private names, as an attribute or a string that is asked for."""
    for node in ast.walk(tree):
        match node:
            case ast.Attribute(value=ast.Name(id="self" | "cls")):
                continue
            case ast.Attribute(value=owner, attr=name):
                pass
            case ast.Call(func=ast.Name(id="getattr" | "hasattr"), args=[owner, ast.Constant(value=str(name)), *_]):
                pass
            case _:
                continue
        if name.startswith("_") and not name.startswith("__"):
            yield f"{ast.unparse(owner)}.{name}"


def assigned_names(tree: ast.AST) -> Iterator[str]:
    """The names of functions, and of attributes of self."""
    for node in ast.walk(tree):
        match node:
            case ast.FunctionDef(name=name):
                yield name
            case ast.Attribute(value=ast.Name(id="self"), attr=name, ctx=ast.Store()):
                yield name


class PrivateNamesTests(unittest.TestCase):
    def test_they_are_there(self) -> None:
        """The doctor asked a Manager for `_backplane`, which it never had, so that none had a backplane: a private name
        that the command line asks another object for is one that the package defines elsewhere."""
        there = {
            name
            for path, tree in modules()
            if CLI not in path.parents and path.parts[0] == "syncws"
            for name in assigned_names(tree)
        }
        for path, tree in modules():
            if CLI in path.parents:
                for asked in private_names(tree):
                    with self.subTest(f"{path}: {asked}"):
                        self.assertTrue(asked in FOREIGN or asked.rpartition(".")[2] in there)

    def test_how_they_are_found(self) -> None:
        """Both ways to ask are found, and a name that is not there is not taken for one; else the test above would
        prove nothing."""
        tree = ast.parse("self._a; x._b; getattr(x.y, '_c', None); x.__dict__; hasattr(x, 'd')")
        self.assertEqual(sorted(private_names(tree)), ["x._b", "x.y._c"])
        defined = ast.parse("class A:\n  def _b(self): self._c = self._d")
        self.assertEqual(sorted(assigned_names(defined)), ["_b", "_c"])


if __name__ == "__main__":
    unittest.main()
