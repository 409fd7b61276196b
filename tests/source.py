"""What pages and source say of themselves, for tests that hold one to the other: names, locks, threads, tables."""

from __future__ import annotations

import ast
import functools
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent


@functools.cache
def modules() -> list[tuple[Path, ast.Module]]:
    """The path and contents of each module of the package, and of the layout test, which has the tables of floors."""
    paths = [*sorted((ROOT / "syncws").rglob("*.py")), ROOT / "tests" / "test_layout.py"]
    return [(path.relative_to(ROOT), ast.parse(path.read_text())) for path in paths]


class Defined:
    """The names of folders, modules, classes and functions, and of what is in them; of one file, or of all."""

    def __init__(self, *files: str) -> None:
        self._members: dict[str, set[str]] = {}
        self._bases: dict[str, set[str]] = {}
        for path, module in modules():
            if files and path.as_posix() not in files:
                continue
            self._members.setdefault(path.parent.name, set()).add(path.stem)
            self._members.setdefault(path.parent.parent.name, set()).add(path.parent.name)
            self._add_body(path.parent.name if path.stem == "__init__" else path.stem, module)
            for node in ast.walk(module):
                if isinstance(node, ast.ClassDef):
                    self._add_class(node)

    def has(self, name: str) -> bool:
        """Whether a name is one of them: "Wire", "Wire.post", "post_to_all", "syncws.wsgi", "inbound"."""
        *owners, member = name.removesuffix("()").split(".")
        if owners:
            return any(member in self._members.get(each, ()) for each in self._ancestors(owners[-1]))
        return member in self._members or any(member in members for members in self._members.values())

    def _ancestors(self, name: str) -> set[str]:
        found = {name}
        for base in self._bases.get(name, ()):
            found |= self._ancestors(base)
        return found

    def _add_body(self, owner: str, node: ast.Module | ast.ClassDef) -> None:
        names = self._members.setdefault(owner, set())
        for each in node.body:
            match each:
                case ast.ClassDef(name=name) | ast.FunctionDef(name=name) | ast.AnnAssign(target=ast.Name(id=name)):
                    names.add(name)
                case ast.Assign(targets=targets):
                    names |= {target.id for target in targets if isinstance(target, ast.Name)}
                case ast.ImportFrom(names=imported):
                    names |= {alias.asname or alias.name for alias in imported}

    def _add_class(self, node: ast.ClassDef) -> None:
        self._bases[node.name] = {base.id for base in node.bases if isinstance(base, ast.Name)}
        self._add_body(node.name, node)
        for each in ast.walk(node):
            match each:
                case ast.Attribute(value=ast.Name(id="self"), attr=name, ctx=ast.Store()) | ast.arg(arg=name):
                    self._members[node.name].add(name)


class Tests:
    """The names of test modules, of their classes, and of the methods that stand in these: "tests.conn.test_wire"."""

    def __init__(self) -> None:
        self._names: set[str] = set()
        for path in sorted((ROOT / "tests").rglob("test_*.py")):
            module = ".".join(path.relative_to(ROOT).with_suffix("").parts)
            self._names.add(module)
            for node in ast.parse(path.read_text()).body:
                if isinstance(node, ast.ClassDef):
                    methods = [each.name for each in node.body if isinstance(each, ast.FunctionDef)]
                    self._names |= {f"{module}.{node.name}", *(f"{module}.{node.name}.{name}" for name in methods)}

    def has(self, name: str) -> bool:
        """Whether there is a test, a class of tests or a module of that name."""
        return name in self._names


def rows(text: str) -> list[dict[str, str]]:
    """The rows of all tables of a page, each by its headings."""
    found: list[dict[str, str]] = []
    headings: list[str] = []
    for line in text.splitlines():
        cells = [cell.strip() for cell in line.split("|")[1:-1]]
        if not cells:
            headings = []
        elif not headings:
            headings = cells
        elif not set("".join(cells)) <= {"-"}:
            found.append(dict(zip(headings, cells, strict=True)))
    return found


def locks() -> set[str]:
    """The locks that the package makes: "Wire.frame_lock"; of a module "hosted._making"; else "Class.function"."""
    found = set()

    def look(node: ast.AST, owner: str, function: str) -> None:
        for child in ast.iter_child_nodes(node):
            match child:
                case ast.ClassDef(name=name):
                    look(child, name, "")
                case ast.FunctionDef(name=name):
                    look(child, owner, name)
                case ast.Assign(targets=[ast.Attribute(value=ast.Name(id="self"), attr=name)]) if _makes_lock(child):
                    found.add(f"{owner}.{name}")
                case ast.Assign(targets=[ast.Name(id=name)]) if _makes_lock(child) and name.startswith("_"):
                    found.add(f"{owner}.{name}")  # a global
                case ast.stmt() if _makes_lock(child) and not hasattr(child, "body"):
                    found.add(f"{owner}.{function}")
                case _:
                    look(child, owner, function)

    for path, module in modules():
        look(module, path.stem, "")
    return found


def _makes_lock(node: ast.AST) -> bool:
    calls = (each.func for each in ast.walk(node) if isinstance(each, ast.Call))
    return any(isinstance(call, ast.Attribute) and call.attr in ("Lock", "RLock", "Condition") for call in calls)


def threads() -> set[str]:
    """The beginnings of the names of the threads that the package starts: "syncws-accept"."""
    found = set()
    for _, module in modules():
        for node in ast.walk(module):
            if isinstance(node, ast.Constant) and isinstance(node.value, str) and node.value.startswith("syncws-"):
                found.add(node.value)
    return found
