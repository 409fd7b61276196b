"""What is changed: the mutants of one module, made from its syntax tree.

| change | what is done | what it asks of the tests |
|---|---|---|
| drop | a call, an assignment, or an `if` whose body leaves the block is left out | is it missed |
| swap | two neighbouring statements change places | does a test hold their order, if that matters |
| bare | what stands in a `finally` comes after the block instead | does a test leave the block by an exception |

Only statements inside functions are changed. What cannot matter, or can only be a NameError, is left out: see
`_can_be_dropped` and `_can_be_swapped`.
"""

from __future__ import annotations

import ast
import copy
import hashlib
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from functools import cached_property, partial

#: Calls that do nothing but make a value, as far as the order of statements goes; to make an object is another.
_HARMLESS = {
    "bool", "bytearray", "bytes", "callable", "decode", "deque", "dict", "encode", "endswith", "float",
    "format", "frozenset", "get", "getattr", "hasattr", "int", "isinstance", "issubclass", "items", "keys",
    "len", "list", "lower", "max", "memoryview", "min", "object", "partition", "repr", "rpartition", "set",
    "sorted", "split", "splitlines", "startswith", "str", "strip", "sum", "tuple", "type", "upper", "values",
}  # fmt: skip

#: Methods that fill a list, a set or a dictionary.
_FILLS = {"add", "append", "extend", "update"}

#: Modules whose objects belong to one thread at a time.
_OWNED = (
    *("_frames.deflate", "_frames.keepalive", "_frames.lanes", "_frames.partial", "_frames.window"),
    *("_frames.plain", "_frames.protocol", "_frames.streams"),
)

_LEAVES = (ast.Return, ast.Raise, ast.Continue, ast.Break)
_LOGGERS = ("_log", "_logger", "log", "logger", "logging")
_COMPOUND = (ast.If, ast.For, ast.While, ast.With, ast.Try, ast.Match, ast.FunctionDef, ast.ClassDef)
_LONGEST = 120  # characters of a statement in a mutant's name


@dataclass(frozen=True)
class Mutant:
    """One change of one module."""

    module: str  # "_conn.wire"
    change: str  # "drop", "swap" or "bare"
    function: str  # "Wire.send"
    text: str  # of the statements, on one line
    lines: tuple[int, int]  # where these begin and end
    make: Callable[[], str] = field(repr=False, compare=False)

    @cached_property
    def source(self) -> str:
        """The whole module's, changed."""
        return self.make()

    @property
    def name(self) -> str:
        """What the list of survivors calls it; mutants of one name are the same change to the same words."""
        return f"{self.module}: {self.change} in {self.function}: {self.text}"

    @property
    def key(self) -> str:
        """The same for the same change to the same module, whatever its comments say."""
        return hashlib.sha256(f"{self.name}\n{self.source}".encode()).hexdigest()[:20]


def mutants_of(module: str, source: str) -> list[Mutant]:
    """Every mutant of a module, in the order of its lines."""
    tree = ast.parse(source)
    found = []
    for function, name in _functions(tree):
        scope = _Scope(function, alone=function.name == "__init__" or module in _OWNED)
        for block in _blocks(function):
            for change in _changes_of(block, scope):
                make = partial(_applied, change, tree)
                found.append(Mutant(module, change.kind, name, change.text, change.lines, make))
    return sorted(found, key=lambda mutant: mutant.lines)


# The changes of a list of statements

Block = list[ast.stmt]


@dataclass(frozen=True)
class _Scope:
    """A function, and whether no other thread sees its object's attributes: while it is made, or in one of `_OWNED`."""

    function: ast.FunctionDef | ast.AsyncFunctionDef
    alone: bool


@dataclass(frozen=True)
class _Change:
    """A list of statements as it is, and as it would be."""

    kind: str
    block: Block
    changed: Block
    text: str
    lines: tuple[int, int]


def _changes_of(block: Block, scope: _Scope) -> Iterator[_Change]:
    for at, statement in enumerate(block):
        before, after = block[:at], block[at + 1 :]
        if _can_be_dropped(statement, scope):
            yield _Change("drop", block, [*before, *after] or [ast.Pass()], _text(statement), _lines(statement))
        if after and _can_be_swapped(statement, after[0], scope):
            swapped = [*before, after[0], statement, *after[1:]]
            text = f"{_text(statement)} | {_text(after[0])}"
            yield _Change("swap", block, swapped, text, (statement.lineno, _lines(after[0])[1]))
        if isinstance(statement, ast.Try) and statement.finalbody:
            text = "; ".join(map(_text, statement.finalbody))
            lines = statement.finalbody[0].lineno, _lines(statement)[1]
            yield _Change("bare", block, [*before, *_without_finally(statement), *after], text, lines)


def _without_finally(statement: ast.Try) -> Block:
    """What a try statement does, and then what stood in its `finally`: never while an exception passes."""
    if not statement.handlers:
        return [*statement.body, *statement.finalbody]
    handled = copy.copy(statement)
    handled.finalbody = []
    return [handled, *statement.finalbody]


def _can_be_dropped(statement: ast.stmt, scope: _Scope) -> bool:
    match statement:
        case ast.Expr(value=ast.Call() as call):
            return not _logs(call)
        case ast.If(orelse=[]):
            return isinstance(statement.body[-1], _LEAVES)
        case ast.AugAssign():
            return True
        case ast.Assign() | ast.AnnAssign(value=ast.expr()):
            # Without the only binding of a name every use of it is a NameError. That asks whether a test comes by, and
            # not whether it looks.
            return any(not isinstance(target, ast.Name) or _is_bound_before(target.id, statement, scope)
                       for target in _targets(statement))  # fmt: skip
    return False


def _can_be_swapped(first: ast.stmt, second: ast.stmt, scope: _Scope) -> bool:
    if not (_does_something(first) and _does_something(second)):
        return False
    if isinstance(first, _LEAVES) or isinstance(second, _LEAVES):
        return False  # as if the first were dropped
    needed = _names(second, ast.Load)
    if any(name in needed and not _is_bound_before(name, first, scope) for name in _names(first, ast.Store)):
        return False  # a NameError: nobody could get that order wrong
    if not (_is_private(first, scope) and _is_private(second, scope)):
        return True
    written, used = zip(*map(_places, (first, second)), strict=True)
    return bool(written[0] & used[1] or written[1] & used[0])


def _does_something(statement: ast.stmt) -> bool:
    match statement:
        case ast.Expr(value=ast.Constant()) | ast.Pass() | ast.Assert() | ast.Global() | ast.Nonlocal():
            return False
        case ast.Import() | ast.ImportFrom() | ast.FunctionDef() | ast.ClassDef() | ast.AnnAssign(value=None):
            return False
        case ast.Expr(value=ast.Call() as call):
            return not _logs(call)
    return True


def _logs(call: ast.Call) -> bool:
    match call.func:
        case ast.Attribute(value=ast.Name(id=name)):
            return name in _LOGGERS
    return False


def _is_private(statement: ast.stmt, scope: _Scope) -> bool:
    """Whether nobody but this call of the function can see when it is done: it binds local names, or complains."""
    match statement:
        case ast.Assign() | ast.AugAssign() | ast.AnnAssign(value=ast.expr()):
            private = (ast.Name, ast.Attribute) if scope.alone else ast.Name
            return all(isinstance(target, private) for target in _targets(statement)) and _is_harmless(statement)
        case ast.Expr(value=ast.Call(func=ast.Attribute(value=ast.Name(id=name), attr=verb), args=arguments)):
            own = _is_bound_before(name, statement, scope, arguments=False)
            return own and verb in _FILLS and all(map(_is_harmless, arguments))
        case ast.If(orelse=[]):
            # Except where a handler, or a `finally`, may look at what was bound before.
            if _is_tried(statement, scope):
                return False
            return _is_harmless(statement.test) and all(_is_private(each, scope) for each in statement.body)
        case ast.Raise() | ast.Continue() | ast.Break():
            return True
        case ast.Return():
            return statement.value is None or _is_harmless(statement.value)
    return False


def _is_tried(statement: ast.stmt, scope: _Scope) -> bool:
    """Whether it stands inside a `try` of the function."""
    tries = [node for node in ast.walk(scope.function) if isinstance(node, ast.Try)]
    return any(statement in ast.walk(node) for node in tries)


def _is_harmless(node: ast.AST) -> bool:
    """Whether it does nothing but make a value."""
    for each in ast.walk(node):
        if isinstance(each, ast.Call) and _called(each) not in _HARMLESS and not _called(each)[:1].isupper():
            return False
        if isinstance(each, ast.Await | ast.Yield | ast.YieldFrom):
            return False
    return True


def _called(call: ast.Call) -> str:
    name: str = getattr(call.func, "id", "") or getattr(call.func, "attr", "")
    return name.lstrip("_")


def _places(statement: ast.stmt) -> tuple[set[str], set[str]]:
    """The names, and names with attributes, that a private statement writes to; and all that it uses."""
    used = {ast.unparse(node): node.ctx for node in ast.walk(statement) if isinstance(node, ast.Name | ast.Attribute)}
    written = {place for place, context in used.items() if isinstance(context, ast.Store)}
    match statement:
        case ast.Expr(value=ast.Call(func=ast.Attribute(value=ast.Name(id=name)))):
            written.add(name)
    return written, set(used)


def _names(statement: ast.stmt, context: type[ast.expr_context]) -> set[str]:
    return {node.id for node in ast.walk(statement) if isinstance(node, ast.Name) and isinstance(node.ctx, context)}


def _is_bound_before(name: str, statement: ast.stmt, scope: _Scope, *, arguments: bool = True) -> bool:
    """Whether the function has bound the name by then: above this statement, or as an argument."""
    for node in ast.walk(scope.function):
        if isinstance(node, ast.arg) and node.arg == name:
            return arguments
        if isinstance(node, ast.Global | ast.Nonlocal) and name in node.names:
            return True
        stored = isinstance(node, ast.Name) and node.id == name and isinstance(node.ctx, ast.Store)
        if stored and node.lineno < statement.lineno:
            return True
    return False


def _targets(statement: ast.stmt) -> list[ast.expr]:
    """What an assignment binds, one by one."""
    match statement:
        case ast.Assign():
            targets = statement.targets
        case ast.AnnAssign() | ast.AugAssign():
            targets = [statement.target]
        case _:
            return []
    return [each for target in targets for each in (target.elts if isinstance(target, ast.Tuple) else [target])]


# The tree


def _functions(tree: ast.AST, prefix: str = "") -> Iterator[tuple[ast.FunctionDef | ast.AsyncFunctionDef, str]]:
    """The functions and methods of a module, and their names; one inside another counts as part of that."""
    for node in ast.iter_child_nodes(tree):
        match node:
            case ast.ClassDef():
                yield from _functions(node, f"{prefix}{node.name}.")
            case ast.FunctionDef() | ast.AsyncFunctionDef():
                yield node, prefix + node.name
            case ast.If() | ast.Try():  # a function made in two ways
                yield from _functions(node, prefix)


def _blocks(function: ast.AST) -> Iterator[Block]:
    """Every list of statements in a function."""
    for node in ast.walk(function):
        for name in ("body", "orelse", "finalbody"):
            block = getattr(node, name, None)
            if isinstance(block, list) and block:
                yield block


def _applied(change: _Change, tree: ast.Module) -> str:
    """The source of a module with a change."""
    original = list(change.block)
    change.block[:] = change.changed
    try:
        return ast.unparse(tree) + "\n"
    finally:
        change.block[:] = original


def _text(statement: ast.stmt) -> str:
    """A statement on one line; of one that holds several others only its head. With one kind of quotes, as Pythons
    differ in which they write around strings.
    """
    head, *inner = [line.strip() for line in ast.unparse(statement).replace('"', "'").splitlines()]
    if not isinstance(statement, _COMPOUND):
        return _cut(" ".join([head, *inner]))
    return _cut(f"{head} {inner[0]}" if len(inner) == 1 else f"{head} ...")


def _cut(text: str) -> str:
    return text if len(text) <= _LONGEST else text[: _LONGEST - 3] + "..."


def _lines(statement: ast.stmt) -> tuple[int, int]:
    return statement.lineno, statement.end_lineno or statement.lineno
