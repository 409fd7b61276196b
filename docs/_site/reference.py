"""The reference: pages in docs/api/, made from the docstrings by Sphinx's autodoc. This is what autodoc lacks here.

* A class shows its public members in the order of the source: a page says `.. autoclass:: syncws.Conn` and no more.
* A class whose docstring has no arguments is not made by those who read this: it is shown without a signature.
* What the docstring of a module shows indented is code, and its tables are tables.
* A name in single backticks is a link if it is a name of syncws, and else plain code; so is code on other pages that is
  nothing but such a name.
* What is of the standard library leads to Python's documentation, without asking the network for an inventory.
* `.. options:: Upgrader` is a table of the options that a class takes, made from its docstring.
"""

from __future__ import annotations

import ast
import builtins
import dataclasses
import functools
import importlib.util
import inspect
import re
import sys
from collections.abc import Iterable
from pathlib import Path
from types import FunctionType
from typing import Any

#: Members without an underscore that only other parts of syncws call.
INTERNAL = {
    "BackplaneHealth.of",
    "ConnOptions.names",
    "Dialer.check_headers",
    "Dialer.dial_within",
    "LocalBackplane.begin_anew",
    "Manager.meet_workers",
    "MemoryBus.begin_anew",
    "MessageReader.abandon",
    "MessageReader.supply",
    "PreparedMessage.encoded",
    "PreparedMessage.frame",
    "Publisher.begin_anew",
    "Reconnector.begin_anew",
    "RedisBackplane.begin_anew",
    "RingBackplane.begin_anew",
}

#: What a class shows of what Python calls, where it has a docstring.
_SPECIAL = {"__iter__", "__next__", "__len__", "__contains__", "__getitem__", "__bool__", "__exit__", "__call__"}

_DIRECTIVE = re.compile(r"^\.\. (?:auto(?:class|exception|function|data)|py:data):: (syncws[\w.]*)$", re.MULTILINE)
_CLASS = re.compile(r"^\.\. auto(?:class|exception):: (syncws[\w.]*)$(?!\n   :members:)", re.MULTILINE)
_NAME = re.compile(r"(?P<prefix>syncws\.)?(?P<name>[A-Za-z][\w.]*)(?P<call>\(.*\))?")
_PYTHON = "https://docs.python.org/3/library/"


def names(page: str) -> list[str]:
    """The names that a page of the reference documents."""
    return _DIRECTIVE.findall(page)


def find(name: str) -> Any:
    """What a full name stands for: "syncws.flask.Sock"."""
    parts = name.split(".")
    for end in range(len(parts), 0, -1):
        try:
            found = importlib.import_module(".".join(parts[:end]))
        except ModuleNotFoundError:
            continue
        return functools.reduce(getattr, parts[end:], found)
    raise LookupError(name)


def members(cls: type) -> list[str]:
    """The members of a class that are documented, in the order of the source; those of private bases, too."""
    bases = [base for base in cls.__mro__ if _is_own(base)]
    found: dict[str, None] = {}
    for base in bases:
        for name, value in vars(base).items():
            if f"{base.__name__}.{name}" not in INTERNAL and _is_documented(name, value):
                found[name] = None
    return list(found)


def shown_bases(cls: type) -> list[type]:
    """The bases of a class that a reader may know. In the place of one that is private stand the bases of that one."""
    found: dict[type, None] = {}
    for base in cls.__bases__:
        if _is_own(base) and base not in _documented():
            found.update(dict.fromkeys(shown_bases(base)))
        elif base is not object:
            found[base] = None
    return list(found)


@functools.cache
def _documented() -> frozenset[type]:
    pages = Path(__file__).resolve().parent.parent.glob("api/*.rst")
    values = (find(name) for page in pages for name in names(page.read_text(encoding="utf-8")))
    return frozenset(value for value in values if isinstance(value, type))


def _is_own(base: type) -> bool:
    return base.__module__.split(".")[0] == "syncws"


def _is_documented(name: str, value: Any) -> bool:
    if isinstance(value, property | functools.cached_property | classmethod | staticmethod | FunctionType):
        return bool(value.__doc__) and (name in _SPECIAL or not name.startswith(("_", "test_")))
    return False


def with_members(text: str) -> str:
    """The text of a page, with the members of each class for which it names none."""

    def add(found: re.Match[str]) -> str:
        cls = find(found[1])
        named = members(cls)
        plain = [each for each in named if not each.startswith("__")]
        special = [each for each in named if each.startswith("__")]
        lines = [found[0]]
        if shown_bases(cls):
            lines += ["   :show-inheritance:"]
        if issubclass(cls, int):  # an enumeration, whose members speak for themselves
            lines += ["   :members:", "   :undoc-members:"]
        elif named:
            lines += [f"   :members: {', '.join(plain + special)}"]
            lines += [f"   :special-members: {', '.join(special)}"] if special else []
        return "\n".join(lines)

    return _CLASS.sub(add, text)


def named(code: str) -> list[str]:
    """The full names that a piece of code on a page may stand for, the likeliest first: `Conn.send()`, `syncws.dial`.

    One word in lower case, without brackets, is more often an option, or a word of a shell.
    """
    found = _NAME.fullmatch(code)
    if found is None or not (found["prefix"] or found["call"] or "." in found["name"] or found["name"][0].isupper()):
        return []
    owner = found["name"].rpartition(".")[0]
    return [f"syncws.{each}" for each in (found["name"], owner) if each]


def only_member(name: str, objects: Iterable[str]) -> str:
    """The full name of the one member that is called so, of all classes: `next_reader`; "" where there are several."""
    found = [each for each in objects if each.endswith(f".{name}") and each.rpartition(".")[0] in objects]
    return found[0] if len(found) == 1 else ""


def python_page(name: str) -> str:
    """The address of Python's documentation of a name of the standard library, or "" if it is none."""
    if "." not in name and hasattr(builtins, name):
        value = getattr(builtins, name)
        if isinstance(value, type) and issubclass(value, BaseException):
            return f"{_PYTHON}exceptions.html#{name}"
        page = "stdtypes" if name in _STANDARD_TYPES else "constants" if value is None else "functions"
        return f"{_PYTHON}{page}.html#{name}"
    module = name.rpartition(".")[0]
    while module and module not in sys.modules:
        module = module.rpartition(".")[0]
    if module.split(".")[0] in sys.stdlib_module_names and module not in ("", "builtins"):
        return f"{_PYTHON}{module}.html#{name}"
    return ""


_STANDARD_TYPES = {"bytes", "bytearray", "memoryview", "str", "dict", "list", "tuple", "set", "frozenset"}


def options(cls: type) -> list[tuple[str, str, str, str]]:
    """(name, type, default, what it is) of each option that a class takes, from its docstring and its signature."""
    described = described_arguments(inspect.getdoc(cls) or "")
    signature = inspect.signature(cls)
    hints = {field.name: str(field.type) for field in dataclasses.fields(cls)} if dataclasses.is_dataclass(cls) else {}
    rows = []
    for name, text in described.items():
        parameter = signature.parameters[name]
        hint = hints.get(name) or inspect.formatannotation(parameter.annotation)
        default = "" if parameter.default is parameter.empty else said(parameter.default)
        rows.append((name, hint.replace("'", ""), default, text))
    return rows


def described_arguments(docstring: str) -> dict[str, str]:
    """The text of each argument in the section Args of a docstring."""
    section = re.search(r"^Args:\n(.*?)(?=^\S|\Z)", docstring, re.MULTILINE | re.DOTALL)
    found: dict[str, str] = {}
    for each in re.finditer(
        r"^    (\*{0,2}\w[\w, *]*): (.*?)(?=^    \S|\Z)", section[1] if section else "", re.M | re.S
    ):
        for name in each[1].split(","):
            found[name.strip(" *")] = re.sub(r"\s+", " ", each[2]).strip()
    return found


def said(value: Any) -> str:
    """A default as it is written by hand: 1048576 is 1 << 20, a function has its name."""
    if isinstance(value, FunctionType):
        return value.__name__
    if isinstance(value, int) and not isinstance(value, bool) and value >= 1024 and value & (value - 1) == 0:
        return f"1 << {value.bit_length() - 1}"
    return repr(value)


def made_with(cls: type) -> inspect.Signature:
    """What a class is made with. Types stand with its parameters below; what its bases describe is **options."""
    described = described_arguments(inspect.getdoc(cls) or "")
    own, others = [], []
    for each in inspect.signature(cls).parameters.values():
        plain = each.replace(annotation=each.empty, default=_Said(each.default))
        (own if each.name in described or each.kind is not each.KEYWORD_ONLY else others).append(plain)
    if others and not any(each.kind is each.VAR_KEYWORD for each in own):
        own.append(inspect.Parameter("options", inspect.Parameter.VAR_KEYWORD))
    return inspect.Signature(own)


def shown(lines: list[str]) -> list[str]:
    """The docstring of a module, with each indented block marked as code, and each table of Markdown as one."""
    shown: list[str] = []
    for line in lines:
        last = next((each for each in reversed(shown) if each.strip()), "")
        begins = not (shown and shown[-1].strip())
        if line.startswith("|"):
            if begins:
                shown += [".. list-table::", "   :header-rows: 1", ""]
            if not set(line) <= set("|- "):
                first, *others = (cell.strip() for cell in line.strip("|").split("|"))
                shown += [f"   * - {first}", *(f"     - {each}" for each in others)]
            continue
        if line.startswith("    ") and begins and not last.startswith((" ", "* ")):
            shown += [".. code-block:: python", ""]
        shown.append(line)
    return shown


def source_of(package: Any) -> dict[str, list[str]]:
    """The names that a package imports from syncws, by the module that defines them."""
    found: dict[str, list[str]] = {}
    for node in ast.walk(ast.parse(inspect.getsource(package))):
        if isinstance(node, ast.ImportFrom) and node.level:
            module = importlib.util.resolve_name(f"{'.' * node.level}{node.module}", package.__name__)
            found.setdefault(module, []).extend(each.name for each in node.names)
    return found


def _know_sources(package: Any) -> None:
    """Let autodoc find the order, the overloads and the comments of what a package exports, where they are written.

    syncws says of each of its names that it is of syncws, where autodoc would look for them.
    """
    from sphinx.pycode import ModuleAnalyzer

    whole = ModuleAnalyzer.for_module(package.__name__)
    whole.analyze()
    for module, exported in source_of(package).items():
        part = ModuleAnalyzer.for_module(module)
        part.analyze()
        for what in ("tagorder", "overloads"):
            own = {key: each for key, each in getattr(part, what).items() if key.split(".")[0] in exported}
            getattr(whole, what).update(own)
        for what in ("attr_docs", "annotations"):
            own = {key: each for key, each in getattr(part, what).items() if key[0].split(".")[0] in exported}
            getattr(whole, what).update(own)


def setup(app: Any) -> dict[str, Any]:
    """As an extension of Sphinx."""
    from docutils import nodes
    from sphinx.util.docutils import SphinxDirective
    from sphinx.util.nodes import make_refnode

    class Options(SphinxDirective):
        required_arguments = 1

        def run(self) -> list[nodes.Node]:
            lines = [".. list-table::", "   :class: options", "   :widths: 30 15 55", "   :header-rows: 1", ""]
            lines += ["   * - option", "     - default", "     - what it is"]
            for name, hint, default, text in options(find(self.arguments[0])):
                lines += [f"   * - ``{name}``", "", f"       :sub:`{hint}`"]
                lines += [f"     - ``{default}``" if default else "     -", f"     - {text}"]
            return self.parse_text_to_nodes("\n".join(lines))

    def read(app: Any, docname: str, source: list[str]) -> None:
        if docname.startswith("api/"):
            source[0] = with_members(source[0])

    def link(app: Any, env: Any, node: Any, content: Any) -> Any:
        """What a name leads to that is not in the reference: Python's page, the tables of options, or nowhere."""
        if node["refdomain"] != "py":
            return None
        target = node["reftarget"]
        objects = env.domains["py"].objects
        full = f"syncws.{target}"  # on a page of another module
        if full not in objects and node["reftype"] == "obj":
            full = only_member(target, objects)
        if known := objects.get(full):
            return make_refnode(app.builder, node["refdoc"], known.docname, known.node_id, content)
        if target.startswith("syncws._") and target.endswith("Keywords"):
            return make_refnode(app.builder, node["refdoc"], "api/options", "", content)
        parts = [part.strip() for part in target.split(",")]
        if node["reftype"] != "obj" and any(map(_should_be_there, parts)):
            return None  # Sphinx says so
        shown = nodes.inline("", "")
        for number, part in enumerate(parts):
            words = content if len(parts) == 1 else nodes.literal(part, part)
            address = python_page(part)
            shown += [nodes.Text(", ")] if number else []
            shown += nodes.reference("", "", words, internal=False, refuri=address) if address else words
        return shown

    def link_code(app: Any, document: Any, docname: str) -> None:
        """Link the code on a page that names something of the reference."""
        objects = app.env.domains["py"].objects
        for code in list(document.findall(nodes.literal)):
            known = next((objects[name] for name in named(code.astext()) if name in objects), None)
            if known is not None and known.docname != docname and not _is_in_link_or_title(code):
                code.replace_self(make_refnode(app.builder, docname, known.docname, known.node_id, code.deepcopy()))

    def _is_in_link_or_title(node: Any) -> bool:
        while (node := node.parent) is not None:
            if isinstance(node, nodes.reference | nodes.title):
                return True
        return False

    def sign(app: Any, what: str, name: str, value: Any, options: Any, signature: str, returned: str) -> Any:
        if what not in ("class", "exception") or not signature:
            return None
        if not described_arguments(inspect.getdoc(value) or ""):
            return "", ""  # nobody makes one by hand
        return str(made_with(value)), returned

    def leave_out_private_bases(app: Any, name: str, value: Any, options: Any, bases: list[Any]) -> None:
        if any(isinstance(base, type) and _is_own(base) and base not in _documented() for base in bases):
            bases[:] = shown_bases(value)

    def describe(app: Any, what: str, name: str, value: Any, options: Any, lines: list[str]) -> None:
        if what == "module":
            lines[:] = shown(lines)
        elif what in ("property", "attribute", "data"):
            lines[:0] = ["..", ""]  # else napoleon takes what is before a colon for the type

    def leave_out_return_type(app: Any, domain: str, kind: str, content: Any) -> None:
        """The signature has it already."""
        for field in list(content.findall(nodes.field)):
            if field[0].astext() == "rtype":
                field.parent.remove(field)

    for package in ("syncws", "syncws.testing"):
        _know_sources(find(package))
    app.add_directive("options", Options)
    app.connect("source-read", read)
    app.connect("missing-reference", link)
    app.connect("doctree-resolved", link_code)
    app.connect("autodoc-process-signature", sign)
    app.connect("autodoc-process-bases", leave_out_private_bases)
    app.connect("object-description-transform", leave_out_return_type, priority=600)  # after autodoc has added it
    app.connect("autodoc-process-docstring", describe, priority=400)  # before napoleon
    return {"parallel_read_safe": True}


def _should_be_there(name: str) -> bool:
    """Whether this is a class or a function that users may import: then it has a place in the reference."""
    if not name.startswith("syncws.") or name.startswith("syncws._"):
        return False
    try:
        return isinstance(find(name), type | FunctionType)
    except (AttributeError, LookupError):
        return True


class _Said:
    """A default in a signature, as it is written by hand."""

    def __new__(cls, value: Any) -> Any:
        if value is inspect.Parameter.empty:
            return value
        return super().__new__(cls)

    def __init__(self, value: Any) -> None:
        self._value = value

    def __repr__(self) -> str:
        return said(self._value)
