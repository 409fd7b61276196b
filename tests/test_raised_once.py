"""No exception object is raised by two threads: what every `raise` of the package raises was made for it.

Without the GIL two threads that raise one object crash Python, as each writes its traceback into it; with the GIL they
mix them. So an exception that is kept is raised as a copy (`syncws._base.copies.copy_of`), or made anew of a record
(`syncws._conn.states.End`).
"""

from __future__ import annotations

import ast
import unittest
from collections.abc import Iterator

from tests.source import modules

#: Functions that make an exception of what they are given, or of what they know.
MAKERS = {"copy_of", "exception"}

#: Classes of exceptions with a name in lower case.
CLASSES = {"gaierror"}

#: What is raised, where, and why no other thread raises it.
ALLOWED = {
    (
        "manager",
        "_settle_all",
        "first",
    ): "what this thread has just caught, of one member, once the others were settled",
    ("reconnector", "_goes_on_after", "error"): "what its caller has just caught, as a cause",
    ("scripted", "recv", "item"): "whoever writes a script gives an object for each time; it is raised once",
    ("scripted", "_take", "room"): "whoever writes a script gives an object for each time; it is raised once",
    ("flask", "run", "result.end"): "a local variable in two functions of one thread, so that Flask does not see it",
    ("upgrader", "_refuse", "refused.__cause__"): "of what its caller has just caught",
    ("tls", "handshake", "finished"): "the codec's error, handed over within one call of this thread",
    ("workbench", "__exit__", "self.failures[0]"): "a copy, which no other thread has raised",
    ("wire", "_raise_failure", "error"): "what its caller has just caught",
    ("wire", "_raise_failure", "failure"): "what its caller has just caught, or made of it",
    ("wire", "_raise_failure", "failure.__cause__"): "of what its caller has just caught, or made of it",
    ("wsgi_answer", "start_response", "exc_info[1].with_traceback(exc_info[2])"): "the application's own (PEP 3333)",
}


class Function:
    """A function, in which names are bound; outer is the one around it."""

    def __init__(self, node: ast.AST, outer: Function | None) -> None:
        self.name = getattr(node, "name", "")
        self._outer = outer
        self._is_called = not isinstance(node, (ast.Module, ast.ClassDef))
        self._caught: set[str] = set()
        self._bound: dict[str, list[ast.expr]] = {}
        self.raises: list[ast.Raise] = []
        self.returns: list[ast.expr] = []
        self.inner: list[Function] = []
        for child in ast.iter_child_nodes(node):
            self._look(child)

    def _look(self, node: ast.AST) -> None:
        match node:
            case ast.FunctionDef() | ast.Lambda() | ast.ClassDef():
                self.inner.append(Function(node, self))
                return
            case ast.ExceptHandler(name=str(name)):
                self._caught.add(name)
            case (
                ast.Assign(targets=[ast.Name(id=name)], value=value)
                | ast.AnnAssign(target=ast.Name(id=name), value=ast.expr() as value)
            ):
                self._bound.setdefault(name, []).append(value)
            case ast.Raise():
                self.raises.append(node)
            case ast.Return(value=ast.expr() as value):
                self.returns.append(value)
        for child in ast.iter_child_nodes(node):
            self._look(child)

    def all(self) -> Iterator[Function]:
        yield self
        for each in self.inner:
            yield from each.all()

    def makes(self, name: str, makers: set[str]) -> bool:
        """Whether what a name stands for was caught here, or made here."""
        if name in self._caught:
            return True
        if name in self._bound:  # a global, or an attribute of a class, is for every thread
            return self._is_called and all(is_fresh(value, self, makers) for value in self._bound[name])
        return self._outer is not None and self._outer.makes(name, makers)


def is_fresh(expr: ast.expr | None, where: Function, makers: set[str]) -> bool:
    """Whether an expression gives an exception that was made for this raise, or that this very call has caught."""
    match expr:
        case None | ast.Constant(value=None):
            return True
        case ast.Call(func=ast.Attribute(value=value, attr="with_traceback")):
            return is_fresh(value, where, makers)
        case ast.Call(func=ast.Attribute(attr="own"), args=[marked]):  # `Life.own` returns what it is given
            return is_fresh(marked, where, makers)
        case ast.Call(func=ast.Name(id=name)) if where.makes(name, makers):  # a class, in a variable
            return True
        case ast.Call(func=func):
            return _is_class(func) or _name(func) in makers
        case ast.IfExp(body=one, orelse=other):
            return is_fresh(one, where, makers) and is_fresh(other, where, makers)
        case ast.Attribute(value=value, attr="__cause__"):
            return is_fresh(value, where, makers)
        case ast.Name(id=name):
            return _is_class(expr) or where.makes(name, makers)
    return _is_class(expr)


def _name(expr: ast.expr) -> str:
    return expr.id if isinstance(expr, ast.Name) else expr.attr if isinstance(expr, ast.Attribute) else ""


def _is_class(expr: ast.expr) -> bool:
    match expr:
        case ast.IfExp(body=one, orelse=other):
            return _is_class(one) and _is_class(other)
        case ast.Call(func=ast.Name(id="type")):
            return True
    name = _name(expr)
    return name in CLASSES or name.lstrip("_")[:1].isupper()


def makers(functions: list[Function], known: set[str]) -> set[str]:
    """The names of functions that return nothing but what they have made, all of those that have the name."""
    while True:
        good = {each.name for each in functions if _makes(each, known)}
        more = good - {each.name for each in functions if not _makes(each, known)} - known
        if not more:
            return known
        known = known | more


def _makes(function: Function, known: set[str]) -> bool:
    return bool(function.returns) and all(is_fresh(value, function, known) for value in function.returns)


def kept(module: str, source: ast.AST, known: set[str]) -> set[tuple[str, str, str]]:
    """What is raised in a module, or chained to what is, and may be kept: (module, function, expression)."""
    functions = list(Function(source, None).all())
    known = makers(functions, known)
    found = set()
    for where in functions:
        for each in where.raises:
            for expr in (each.exc, each.cause):
                if not is_fresh(expr, where, known):
                    assert expr is not None
                    found.add((module, where.name, ast.unparse(expr)))
    return found


class RaisedOnceTests(unittest.TestCase):
    def test_package(self) -> None:
        """Every `raise` makes its exception, or passes on what this thread has caught; else it is listed, and why."""
        sources = [(path, source) for path, source in modules() if path.parts[0] == "syncws"]
        known = makers([each for _, source in sources for each in Function(source, None).all()], MAKERS)
        found = set().union(*(kept(path.stem, source, known) for path, source in sources))
        self.assertEqual(found - set(ALLOWED), set(), "raise copy_of(...), or a new one made of a record")
        self.assertEqual(set(ALLOWED) - found, set(), "these are listed, and are not there any more")

    def test_it_can_see(self) -> None:
        """What is kept is found: an attribute, an argument, a global, a variable bound to one of them, a cause."""
        for line in (
            "raise self._failure",
            "raise self.failures[0]",
            "raise error",
            "raise self._failure.with_traceback(None)",
            "late = self._late; raise late",
            "raise ValueError() from self._failure",
            "raise TypeError() from error.__cause__",
            "raise self.give(error)",
            "raise kept",
            "raise kept.__cause__",
            "raise self._life.own(error)",
        ):
            with self.subTest(line):
                source = ast.parse(f"kept = ValueError()\ndef act(self, error):\n    {line}")
                self.assertEqual(len(kept("x", source, MAKERS)), 1)

    def test_what_is_made(self) -> None:
        """What a call makes or has caught is not: classes, calls of them, copies, and functions that make one."""
        for line in (
            "raise ValueError",
            "raise errors._Late('x') from None",
            "late = ValueError(); raise late from OSError()",
            "raise copy_of(self._failure).with_traceback(None)",
            "raise self.end.exception()",
            "raise make(1)",
            "raise (OSError if error else ValueError)('x')",
            "raise type(error)('x')",
        ):
            with self.subTest(line):
                source = ast.parse(f"def make(x):\n    return ValueError(x)\ndef act(self, error):\n    {line}")
                self.assertEqual(kept("x", source, MAKERS), set())
        caught = ast.parse("def act():\n    try: pass\n    except OSError as error: raise error from error.__cause__")
        self.assertEqual(kept("x", caught, set()), set())
