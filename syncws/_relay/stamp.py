"""The position of a message, put into it: for messages that are JSON objects."""

from __future__ import annotations

import json
import re

#: The beginning of a JSON object: an empty one, or one with a first key.
_OBJECT = re.compile(rb'[ \t\n\r]*\{[ \t\n\r]*(?:(\})[ \t\n\r]*\Z|"[^"\\]*(?:\\.[^"\\]*)*"[ \t\n\r]*:)', re.DOTALL)


def stamp(text: bytes, key: str, position: str) -> bytes:
    """A TEXT message with its position under a key, the first of its object; what is no JSON object, as it is.

    Only its beginning and its last character are looked at. A key of that name that it has comes later, and so is the
    one that most readers of JSON take.
    """
    match = _OBJECT.match(text)
    if match is None or not text.rstrip(b" \t\n\r").endswith(b"}"):
        return text
    after = text.index(b"{") + 1
    item = f"{json.dumps(key)}:{json.dumps(position)}".encode()
    return b"".join((text[:after], item, b"" if match[1] else b",", text[after:]))
