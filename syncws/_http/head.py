"""Where the head of a request ends, and which heads are refused before h11 sees them.

h11 accepts four shapes that another HTTP speaker on the way may read differently, which is how requests are smuggled:
lines that end in a bare LF, folded headers, a Content-Length that is repeated or a list, and Content-Length beside
Transfer-Encoding. All four are refused here. Since the lines are looked at as they arrive, this is also the place that
limits how long a head is, and how many headers it has.
"""

from __future__ import annotations

import re

from .._base.counters import breaches
from .._base.printable import printable
from .._net.strangers import ENOUGH, PLAIN_HTTP, recognised, say_stranger
from .request import BadRequest

#: What h11 repeats of the bytes that it refuses, as Python writes bytes; and the name of a header at its beginning.
_REPEATED = re.compile(r":? *(?:bytearray\()?b['\"].*", re.DOTALL)
_REPEATED_NAME = re.compile(r"b['\"]([!#$%&*+\-.^_`|~0-9A-Za-z]{1,64})[ \t]*:")


#: What a head has none of, in lower case, that need not be looked at line by line.
_NOT_USUAL = (b"\n ", b"\n\t", b"content-length", b"transfer-encoding")

#: What a method, or an empty line before it, begins with.
_BEGINNING = re.compile(rb"[!#$%&'*+\-.^_`|~0-9A-Za-z \r\n]|\Z")


class HeadScreen:
    """Finds the end of one head in a buffer that grows, and refuses what h11 would let through.

    Every byte is looked at once, however small the pieces are in which it comes. For one thread.
    """

    __slots__ = ("_has_encoding", "_has_length", "_lines", "_max_head", "_max_headers", "_searched", "_start")

    def __init__(self, max_head: int, max_headers: int) -> None:
        self._max_head = max_head
        self._max_headers = max_headers
        self._start = 0  # of the line that is not complete
        self._searched = 0  # there is no LF from _start up to here
        self._lines = 0
        self._has_length = False
        self._has_encoding = False

    def find_end(self, buffer: bytearray) -> int | None:
        """How long the head is, the empty line included; None while it is not all there. Raises BadRequest."""
        if not self._searched and (end := self._find_usual_end(buffer)) is not None:
            return end
        if buffer and not self._lines and self._searched < ENOUGH:
            _check_protocol(bytes(buffer[:ENOUGH]))
        while (newline := buffer.find(b"\n", self._searched)) >= 0:
            line = bytes(buffer[self._start : newline + 1])
            self._start = self._searched = newline + 1
            self._check_size(newline + 1)
            if self._take_line(line):
                return newline + 1
        self._searched = len(buffer)
        self._check_size(len(buffer))
        return None

    def _find_usual_end(self, buffer: bytearray) -> int | None:
        """How long a head is that has come alone and whole, if plainly nothing in it is to be refused.

        None: it is to be looked at line by line.
        """
        end = len(buffer)
        if end > self._max_head or not (buffer.startswith(b"GET ") and buffer.endswith(b"\r\n\r\n")):
            return None
        head = bytes(buffer).lower()
        if head.find(b"\r\n\r\n") + 4 != end:
            return None
        lines = head.count(b"\n")  # the first and the last are no headers
        if lines - 2 > self._max_headers or lines != head.count(b"\r\n"):
            return None
        return None if any(part in head for part in _NOT_USUAL) else end

    def _check_size(self, size: int) -> None:
        if size > self._max_head:
            breaches.add("max_head_size")
            raise BadRequest(431, f"the request's head has more than {self._max_head} bytes")

    def _take_line(self, line: bytes) -> bool:
        """Check one line; True if it ends the head."""
        if not line.endswith(b"\r\n"):
            raise BadRequest(400, "a line of the request's head ends in LF instead of CR LF")
        if line == b"\r\n":
            # The very first line may be empty (RFC 9112 section 2.2); h11 refuses a head of two such.
            return self._start > len(line)
        if self._lines:
            self._check_header(line)
        self._lines += 1
        return False

    def _check_header(self, line: bytes) -> None:
        if self._lines > self._max_headers:
            breaches.add("max_headers")
            raise BadRequest(431, f"the request has more than {self._max_headers} headers")
        if line[:1] in (b" ", b"\t"):
            raise BadRequest(400, "a header is folded over several lines")
        name, _, value = line.partition(b":")
        name = name.lower()
        if name == b"content-length":
            if self._has_length or b"," in value:
                raise BadRequest(400, "more than one Content-Length")
            self._has_length = True
        elif name == b"transfer-encoding":
            self._has_encoding = True
        if self._has_length and self._has_encoding:
            raise BadRequest(400, "Content-Length beside Transfer-Encoding")


def say_malformed(error: Exception) -> str:
    """What h11 says of a head that it refuses, without the bytes that it repeats: a header's value may be a secret."""
    told = str(error)
    name = _REPEATED_NAME.search(told)
    said = printable(_REPEATED.sub("", told))
    return said if name is None else f"{said} ({name[1]})"


def _check_protocol(first: bytes) -> None:
    """Raise BadRequest, as soon as it shows, for whoever speaks something else: no line may ever come of that."""
    stranger = recognised(first, PLAIN_HTTP)
    if stranger is not None:
        status = 505 if stranger.name.startswith("HTTP/") else 400
        raise BadRequest(status, say_stranger(stranger, PLAIN_HTTP), stranger.advice)
    if not _BEGINNING.match(first):
        raise BadRequest(400, "this is no request of HTTP")
