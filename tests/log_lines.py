"""Every line that the code may log, found by reading it: for the page that lists them."""

from __future__ import annotations

import ast
import re
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]

_LOGGERS = ("_log", "_logger", "log")

#: Those of what is given its logger, `end_handled`: the servers that run handlers.
_SERVERS = ("syncws.server", "syncws.wsgi")

_LEVELS = {"debug": "DEBUG", "info": "INFO", "warning": "WARNING", "error": "ERROR", "exception": "ERROR"}

#: Methods of ours that log a WARNING, and which argument is the line.
_WARNERS = {"warn": 3, "_say_crowded": 0}

#: What stands for something else in a line: of the code, and of the page.
_IN_CODE = re.compile(r"%[-.\d]*[a-z]")
_IN_PAGE = re.compile(r"<[^<>]*>")


@dataclass(frozen=True, order=True)
class Line:
    """One line: the logger's name, its level ("" where the code decides), and the text with * for what varies."""

    logger: str
    level: str
    text: str


def in_code() -> Iterator[tuple[str, Line]]:
    """Each line in the code, and where it is."""
    trees = {path: ast.parse(path.read_text()) for path in sorted((ROOT / "syncws").rglob("*.py"))}
    constants = {name: text for tree in trees.values() for name, text in _texts(tree.body)}
    for path, tree in trees.items():
        if path.name == "advice.py":  # it is given its lines
            continue
        logger = _logger(tree)
        texts = {**constants, **dict(_texts(ast.walk(tree)))}
        for node in ast.walk(tree):
            if isinstance(node, ast.Call) and (found := _call(node)) is not None:
                level, given = found
                text = given.value if isinstance(given, ast.Constant) else texts.get(ast.unparse(given))
                if not isinstance(text, str):
                    if ast.unparse(given) in ("message", "line"):
                        continue  # a function that is given its line, by calls that are found as well
                    raise AssertionError(
                        f"{path.name}:{node.lineno}: the line is not to be found: {ast.unparse(given)}"
                    )
                for name in (logger,) if logger else _SERVERS:
                    yield f"{path.relative_to(ROOT)}:{node.lineno}", Line(name, level, _IN_CODE.sub("*", text))


def in_page(page: str) -> Iterator[Line]:
    """Each line on the page: a row of a table under the heading with the logger's name."""
    logger = ""
    for row in page.splitlines():
        if heading := re.match(r"#+ `(syncws\.\w+)`", row):
            logger = heading[1]
        elif found := re.match(r"\| ([A-Z, ]+) \| `(.*?)` \|", row):
            yield Line(logger, found[1], _IN_PAGE.sub("*", found[2]))


def _call(node: ast.Call) -> tuple[str, ast.expr] | None:
    """Level and line of a call that logs."""
    if not isinstance(node.func, ast.Attribute):
        return None
    method, owner = node.func.attr, ast.unparse(node.func.value)
    if owner in _LOGGERS and method in _LEVELS:
        return _LEVELS[method], node.args[0]
    if owner in _LOGGERS and method == "log":
        return "", node.args[1]
    if method in _WARNERS and (method != "warn" or "advisor" in owner):
        arguments = [each for each in node.args if not isinstance(each, ast.Starred)]
        place = _WARNERS[method] if len(arguments) == len(node.args) or len(arguments) > 3 else 1
        return "WARNING", arguments[place]
    return None


def _logger(tree: ast.Module) -> str:
    """The name of the module's logger, "" if it has none."""
    for node in tree.body:
        match node:
            case ast.Assign(targets=[ast.Name(id=name)], value=ast.Call(args=[ast.Constant(value=str(logger))])):
                if name in _LOGGERS:
                    return logger
    return ""


def _texts(nodes: object) -> Iterator[tuple[str, str]]:
    """The names to which a module gives a text."""
    for node in nodes:  # type: ignore[attr-defined]
        if isinstance(node, ast.Assign) and isinstance(node.value, ast.Constant) and isinstance(node.value.value, str):
            yield ast.unparse(node.targets[0]), node.value.value
