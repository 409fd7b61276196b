"""What the docstring of a public name must say, read from the source: `faults` finds what is missing.

The rules, for each public function and class, and for each method and property of a class without an underscore:

* It is there, except of methods with two underscores, and of those that a described base has.
* Each parameter is named: in a section `Args:`, which then has all of them and no other, or, of three at most, in the
  text. Those of a class are what it is made with, unless its docstring says "made by".
* A `float` is a time: the text of the parameter, the field or the property says that it is seconds, or an instant. An
  integer that is a size, by its name, says of what: bytes, messages, connections.
* What is returned is said: by a first sentence that begins with it ("The next message", "Whether ..."), or by
  "returns", "gives", "gets", "yields", "whether".
* Each exception that the body raises is named, or a base of it; so is what a function check_... raises that it calls.
* A class says which threads may use it, or that it is immutable. Exceptions, tuples, enumerations, TestCases, and
  dataclasses that are frozen need not.

"as `name`", "as of `name`", "see `name`" and "those of `name`" stand for what the docstring of that name says.
"""

from __future__ import annotations

import ast
import builtins
import re
from collections.abc import Iterator

from .definitions import Item, Source, bases_of
from .test_layout import MODULES

_SIZE = re.compile(r"(^|_)(size|bytes|limit|buffer|queue|max_\w+)$")
_UNIT = re.compile(
    r"\b(bytes?|messages?|connections?|characters?|lines?|fragments?|pings?|redirects?|headers?|members?|fields?|"
    r"entries|how many|number)\b"
)
_TIME = re.compile(r"\b(seconds?|instants?|monotonic|time\.time)\b", re.IGNORECASE)
_ELSEWHERE = re.compile(
    r"(?:\A|\b(?:as|see|what|than|as of|as in|as for|those of|the options? of|the arguments of)\s+)"
    r"`+(?:syncws\.)?([\w.]+)`+",
    re.IGNORECASE,
)
_SAID = re.compile(r"\b(returns?|yields?|gives?|gets|whether)\b", re.IGNORECASE)
_NOUN = re.compile(
    r"(The|A|An|What|Whether|How|Where|When|Who|Which|Seconds|Bytes|True|False|None|One|Each|Every|All|Those|Its)\b"
    r"|[^A-Za-z]"
)
_THREADS = re.compile(r"\b(threads?|concurrency|immutable)\b", re.IGNORECASE)
_MADE = re.compile(r"\bmade by\b", re.IGNORECASE)

#: Classes whose objects do not change, or are one thread's.
_VALUES = {"NamedTuple", "TypedDict", "IntEnum", "Enum", "TestCase"}

#: Parameters that may be described in the text.
_MOST_IN_TEXT = 3


def faults(source: Source, name: str) -> Iterator[str]:
    """What is missing in the docstrings of a name of a module, and of what belongs to it; a sentence each."""
    item = source.find(name)
    if item is None:
        return  # a constant
    if isinstance(item.node, ast.ClassDef):
        yield from _of_class(item)
    else:
        yield from _of_function(item)


def _of_class(cls: Item) -> Iterator[str]:
    if not cls.text:
        yield f"{cls.name} has no docstring"
        return
    if not (_is_value(cls) or _THREADS.search(cls.text)):
        yield f"{cls.name}: which threads may use it?"
    if not (_is_exception(cls) or _MADE.search(cls.text)):
        yield from _about_parameters(cls)
        yield from _about_units(cls)
    for method in cls.methods:
        if method.node.name in ("__init__", "__post_init__"):
            yield from _about_exceptions(cls, method)
        elif _is_public(method) and not (method.is_stub and method.node.name in cls.described):
            yield from _of_function(method)


def _is_public(method: Item) -> bool:
    if method.is_("overload") or method.is_("setter"):
        return False
    return bool(method.text) if method.is_special else not method.node.name.startswith("_")


def _of_function(item: Item) -> Iterator[str]:
    if not item.text:
        if not _is_inherited(item):
            yield f"{item.name} has no docstring"
        return
    if not item.is_special:
        yield from _about_parameters(item)
        yield from _about_units(item)
        yield from _about_result(item)
    yield from _about_exceptions(item, item)


def _is_inherited(method: Item) -> bool:
    """Whether a base of its class describes a method, which does the same here."""
    bases = [base for _, base in method.owner.ancestors() if base is not None] if method.owner else []
    there = [base.member(method.node.name) for base in bases]
    return any(each is not None and each.text for each in there)


def _about_parameters(item: Item) -> Iterator[str]:
    has_args = bool(item.arguments)
    if len(item.parameters) > _MOST_IN_TEXT and not item.described and not _pointed_to(item, item.text):
        yield f"{item.name} has no section Args"
        return
    for name in item.parameters:
        in_text = not has_args and re.search(rf"\b{re.escape(name)}\b", item.text)
        elsewhere = (name in other.described or name in other.text for other in _pointed_to(item, item.text))
        if not (name in item.described or in_text or any(elsewhere)):
            yield f"{item.name}: {name} is not described"
    for name in item.arguments.keys() - {*item.parameters, *item.further()}:
        yield f"{item.name} has no parameter {name}"


def _about_units(item: Item) -> Iterator[str]:
    for name, annotation in item.parameters.items():
        text = item.described.get(name) or item.text
        yield from _about_unit(item, name, annotation, text)
    if isinstance(item.node, ast.FunctionDef) and item.is_("property"):
        yield from _about_unit(item, "", item.node.returns, item.text)


def _about_unit(item: Item, name: str, annotation: ast.expr | None, text: str) -> Iterator[str]:
    kinds = {each.id for each in ast.walk(annotation) if isinstance(each, ast.Name)} if annotation else set()
    if "Callable" in kinds:
        return
    of_all = item.head if isinstance(item.node, ast.ClassDef) else ""  # "Instants are of time.time()"
    texts = [text, of_all, *(other.described.get(name) or other.text for other in _pointed_to(item, text))]
    shown = f"{item.name}: {name}" if name else item.name
    if "float" in kinds and not any(map(_TIME.search, [name, *texts])):
        yield f"{shown} is a float: are these seconds?"
    if "int" in kinds and _SIZE.search(name) and not any(map(_UNIT.search, texts)):
        yield f"{shown} is a size: of what?"


def _about_result(item: Item) -> Iterator[str]:
    assert isinstance(item.node, ast.FunctionDef)
    returned = ast.unparse(item.node.returns) if item.node.returns else "None"
    if returned in ("None", "NoReturn", "Never") or item.is_("property"):
        return
    if not (_SAID.search(item.text) or _NOUN.match(item.text) or _pointed_to(item, item.text)):
        yield f"{item.name}: what does it return?"


def _about_exceptions(item: Item, function: Item) -> Iterator[str]:
    """What a function raises; item has the docstring, which for a method that makes an object is that of the class."""
    text = "\n".join([item.text, function.text, *(other.text for other in _pointed_to(item, item.text))])
    for name in sorted(function.raised()):
        if not any(re.search(rf"\b{each}\b", text) for each in (name, *bases_of(name))):
            yield f"{item.name} raises {name}, and does not say so"


def _pointed_to(item: Item, text: str) -> list[Item]:
    """What a text refers to: something in the same class or module, or in syncws."""
    cls = item.owner or item
    found = []
    for name in _ELSEWHERE.findall(text):
        inside = cls.member(name) if isinstance(cls.node, ast.ClassDef) else None
        other = inside or item.source.find(name)
        if other is None and item.source.name in MODULES:
            other = Source.of("__init__").find(name) or Source.of("testing").find(name)
        if other is not None and other.node is not item.node:
            found.append(other)
    return found


def _is_exception(cls: Item) -> bool:
    known = (getattr(builtins, name, None) for name, _ in cls.ancestors())
    return any(isinstance(each, type) and issubclass(each, BaseException) for each in known)


def _is_value(cls: Item) -> bool:
    frozen = any("frozen=True" in ast.unparse(each) for each in cls.node.decorator_list)
    return frozen or _is_exception(cls) or any(name in _VALUES for name, _ in cls.ancestors())
