"""The text of JSON, laid out and in pieces, each of which has a colour.

What is shown is what came: the text is checked by `json`, and then cut into its tokens. Decoded and encoded again,
numbers would be spelled anew, and the first of two equal keys would be lost.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterator

#: (style, text).
Piece = tuple[str, str]

#: A text of more characters is not laid out: it takes a second, and nobody reads it.
MOST = 1 << 20

_TOKEN = re.compile(r'"(?:[^"\\]|\\.)*"|[{}\[\],:]|[^\s{}\[\],:"]+', re.DOTALL)
_OPENING, _CLOSING = "{[", "}]"
_INDENT = "  "


def tokens_of(text: str) -> list[str] | None:
    """The tokens of an object or an array in JSON; None for every other text."""
    if len(text) > MOST or text.lstrip(" \t\r\n")[:1] not in ("{", "["):
        return None
    try:
        json.loads(text, parse_int=len, parse_float=len)  # the digits of a number are not of interest
    except (ValueError, RecursionError):
        return None
    return _TOKEN.findall(text)


def compact(tokens: list[str]) -> Iterator[Piece]:
    """On one line: a space after each comma and colon."""
    for number, token in enumerate(tokens):
        yield _piece(tokens, number)
        if token in (",", ":"):
            yield "", " "


def laid_out(tokens: list[str]) -> Iterator[list[Piece]]:
    """The lines, indented by two spaces for each level."""
    line: list[Piece] = []
    depth = 0
    for number, token in enumerate(tokens):
        following = tokens[number + 1 : number + 2]
        before = tokens[number - 1] if number else ""
        if token in _CLOSING and before not in _OPENING:
            yield line
            line = [("", _INDENT * (depth - 1))]
        depth += (token in _OPENING) - (token in _CLOSING)
        line.append(_piece(tokens, number))
        if token == ":":
            line.append(("", " "))
        elif token == "," or (token in _OPENING and following and following[0] not in _CLOSING):
            yield line
            line = [("", _INDENT * depth)]
    yield line


def _piece(tokens: list[str], number: int) -> Piece:
    token = tokens[number]
    if token.startswith('"'):
        is_key = tokens[number + 1 : number + 2] == [":"]
        return ("key" if is_key else "string"), token
    if token in "{}[],:":
        return "", token
    return ("literal" if token[0] in "tfnNI" else "number"), token
