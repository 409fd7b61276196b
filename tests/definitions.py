"""Functions and classes by their source: where a name is defined, what its docstring describes, what it raises."""

from __future__ import annotations

import ast
import builtins
import functools
import re
from collections.abc import Iterator
from dataclasses import dataclass

import syncws.errors

from .test_layout import MODULES, parsed

_SECTION = re.compile(r"^(Args|Attributes):\n(.*?)(?=^\S|\Z)", re.MULTILINE | re.DOTALL)
_ENTRY = re.compile(r"^    (\*{0,2}\w[\w, *]*):(.*?)(?=^    \S|\Z)", re.MULTILINE | re.DOTALL)

#: Exceptions that say nothing to a caller.
_QUIET = {"NotImplementedError", "StopIteration", "AssertionError", "KeyboardInterrupt", "SystemExit"}

#: How many checking functions that call each other are followed.
_DEPTH = 3


@dataclass(frozen=True)
class Source:
    """A module, and what its names stand for: its own, and those that it imports from other modules of the package."""

    name: str
    tree: ast.Module

    @staticmethod
    @functools.cache
    def of(module: str) -> Source:
        """That of a module of the package: "_conn.wire", "__init__"."""
        return Source(module, parsed(MODULES[module]))

    @functools.cached_property
    def _own(self) -> dict[str, ast.FunctionDef | ast.ClassDef]:
        return {each.name: each for each in self.tree.body if isinstance(each, ast.FunctionDef | ast.ClassDef)}

    @functools.cached_property
    def _imported(self) -> dict[str, tuple[str, str]]:
        is_package = self.name in MODULES and MODULES[self.name].stem == "__init__"
        folder = [part for part in self.name.split(".") if part != "__init__"]
        folder = folder if is_package else folder[:-1]
        found = {}
        for node in self.tree.body:
            if isinstance(node, ast.ImportFrom) and node.level:
                base = [*folder[: len(folder) + 1 - node.level], *([node.module] if node.module else [])]
                found |= {alias.asname or alias.name: (".".join(base), alias.name) for alias in node.names}
        return found

    def find(self, name: str) -> Item | None:
        """What a name of this module stands for, if it is a function or a class of the package: "Conn", "Conn.send"."""
        owner, _, member = name.rpartition(".")
        if owner:
            cls = self.find(owner)
            return None if cls is None else cls.member(member)
        if name in self._own:
            return Item(self, self._own[name])
        module, original = self._imported.get(name, ("", ""))
        return Source.of(module).find(original) if module in MODULES else None


@dataclass(frozen=True)
class Item:
    """A function, a class, or a method in its class."""

    source: Source
    node: ast.FunctionDef | ast.ClassDef
    owner: Item | None = None

    @property
    def name(self) -> str:
        return f"{self.owner.name}.{self.node.name}" if self.owner else self.node.name

    @functools.cached_property
    def text(self) -> str:
        """The docstring, or ""."""
        return ast.get_docstring(self.node) or ""

    @functools.cached_property
    def head(self) -> str:
        """The docstring above its sections."""
        return re.split(r"^(?:Args|Attributes|Returns|Raises):$", self.text, maxsplit=1, flags=re.MULTILINE)[0]

    @functools.cached_property
    def described(self) -> dict[str, str]:
        """The text of each name in the sections Args and Attributes."""
        return self._entries("Args") | self._entries("Attributes")

    @functools.cached_property
    def arguments(self) -> dict[str, str]:
        """The text of each name in the section Args."""
        return self._entries("Args")

    def _entries(self, section: str) -> dict[str, str]:
        found = {}
        for title, body in _SECTION.findall(self.text):
            if title == section:
                for names, text in _ENTRY.findall(body):
                    found |= {name.strip(" *"): text for name in names.split(",")}
        return found

    def is_(self, decorator: str) -> bool:
        return any(decorator in ast.unparse(each) for each in self.node.decorator_list)

    @property
    def is_special(self) -> bool:
        """Whether it is a method that Python calls."""
        return self.owner is not None and self.node.name.startswith("__") and self.node.name.endswith("__")

    @property
    def is_stub(self) -> bool:
        """Whether it has no body: it says that an attribute is there."""
        return ast.unparse(self.node.body[0]) == "..."

    def member(self, name: str) -> Item | None:
        """A method of this class; the last one, where there are overloads."""
        return next((each for each in reversed(self.methods) if each.node.name == name), None)

    @functools.cached_property
    def methods(self) -> list[Item]:
        """Those of this class itself, in the order of the source."""
        return [Item(self.source, each, self) for each in self.node.body if isinstance(each, ast.FunctionDef)]

    @functools.cached_property
    def bases(self) -> list[tuple[str, Item | None]]:
        """The bases of this class by name, each with its source if it is of the package."""
        assert isinstance(self.node, ast.ClassDef)
        names = [ast.unparse(base).partition("[")[0].rpartition(".")[2] for base in self.node.bases]
        return [(name, self.source.find(name)) for name in names]

    def ancestors(self) -> Iterator[tuple[str, Item | None]]:
        """Its bases, and theirs."""
        for name, base in self.bases:
            yield name, base
            if base is not None:
                yield from base.ancestors()

    @functools.cached_property
    def parameters(self) -> dict[str, ast.expr | None]:
        """The parameters and their annotations; of a class, those that it is made with."""
        if isinstance(self.node, ast.FunctionDef):
            return dict(_parameters(self.node, skip=self.owner is not None and not self.is_("staticmethod")))
        init = self.member("__init__")
        if init is not None:
            assert isinstance(init.node, ast.FunctionDef)
            return dict(_parameters(init.node, skip=True))
        if self.is_("dataclass") or any(name == "NamedTuple" for name, _ in self.bases):
            return dict(_fields(self.node))
        return {}

    def further(self) -> Iterator[str]:
        """What else it takes: the keys of a TypedDict, and the fields that a class has of its bases."""
        for annotation in self.parameters.values():
            match annotation:
                case ast.Subscript(value=ast.Name(id="Unpack"), slice=ast.Name(id=name)):
                    yield from _keys(self.source.find(name))
        if isinstance(self.node, ast.ClassDef):
            for _, base in self.ancestors():
                yield from base.parameters if base is not None else ()

    def raised(self) -> set[str]:
        """The names of the exceptions that its body raises, and those of the functions check_... that it calls.

        What the body catches again is left out, and so is what only other functions raise.
        """
        assert isinstance(self.node, ast.FunctionDef)
        return _raised(self, _DEPTH)


def bases_of(exception: str) -> list[str]:
    """The names of the bases of an exception, except those that every exception has."""
    cls = _exception(exception)
    return [base.__name__ for base in cls.__mro__[1:-1] if base not in (Exception, BaseException)] if cls else []


def _exception(name: str) -> type | None:
    cls = getattr(syncws.errors, name, None) or getattr(builtins, name, None)
    return cls if isinstance(cls, type) and issubclass(cls, BaseException) else None


def _raised(item: Item, depth: int) -> set[str]:
    found: set[str] = set()
    for node, caught in _parts(item.node.body, frozenset()):
        match node:
            case ast.Raise(exc=ast.Call(func=ast.Name(id=name))) | ast.Raise(exc=ast.Name(id=name)):
                raised = {name} if _exception(name) and name not in _QUIET else set()
            case ast.Call(func=ast.Name(id=name)) if _is_check(name) and depth:
                called = item.source.find(name)
                raised = _raised(called, depth - 1) if called is not None else set()
            case ast.Call(func=ast.Attribute(value=ast.Name(id="self"), attr=name)) if _is_check(name) and depth:
                called = item.owner.member(name) if item.owner is not None else None
                raised = _raised(called, depth - 1) if called is not None else set()
            case _:
                continue
        found |= {each for each in raised if not caught & {each, *bases_of(each), "Exception", "BaseException"}}
    return found


def _is_check(name: str) -> bool:
    return name.lstrip("_").startswith("check_")


def _parts(nodes: list[ast.stmt], caught: frozenset[str]) -> Iterator[tuple[ast.AST, frozenset[str]]]:
    """Each part of a body that is its own, with the names of the exceptions that are caught around it."""
    for node in nodes:
        yield from _part(node, caught)


def _part(node: ast.AST, caught: frozenset[str]) -> Iterator[tuple[ast.AST, frozenset[str]]]:
    if isinstance(node, ast.FunctionDef | ast.Lambda | ast.ClassDef):
        return
    yield node, caught
    if isinstance(node, ast.Try):
        types = [each.type for each in node.handlers if each.type is not None]
        names = {each.id for type_ in types for each in ast.walk(type_) if isinstance(each, ast.Name)}
        yield from _parts(node.body, caught | names)
        for each in node.handlers:
            yield from _parts(each.body, caught)
        yield from _parts([*node.orelse, *node.finalbody], caught)
    else:
        for child in ast.iter_child_nodes(node):
            yield from _part(child, caught)


def _parameters(function: ast.FunctionDef, *, skip: bool) -> Iterator[tuple[str, ast.expr | None]]:
    """Those that users may give, without the first where it is the object."""
    given = function.args
    plain = [*given.posonlyargs, *given.args][1 if skip else 0 :]
    for each in [*plain, *([given.vararg] if given.vararg else []), *given.kwonlyargs]:
        if not each.arg.startswith("_"):
            yield each.arg, each.annotation
    if given.kwarg:
        yield given.kwarg.arg, given.kwarg.annotation


def _fields(cls: ast.ClassDef) -> Iterator[tuple[str, ast.expr]]:
    for each in cls.body:
        match each:
            case ast.AnnAssign(target=ast.Name(id=name), annotation=annotation) if not name.startswith("_"):
                if "init=False" not in ast.unparse(each) and "ClassVar" not in ast.unparse(annotation):
                    yield name, annotation


def _keys(typed_dict: Item | None) -> Iterator[str]:
    if typed_dict is not None and isinstance(typed_dict.node, ast.ClassDef):
        yield from (name for name, _ in _fields(typed_dict.node))
        for _, base in typed_dict.bases:
            yield from _keys(base)
