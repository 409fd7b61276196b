"""HTTP header fields: `Headers` for those that were received and those to be sent, and the rule for the latter.

Received fields come out of h11, which has checked them. Fields that an application hands over go through
`checked_headers`: a CR or LF in one of them would start another header, or another response (RFC 9110 section 5.5).
A refusal says where the mistake is. (gorilla replaces the bytes by spaces, and does not look at names.)
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Mapping
from typing import overload

#: A token of RFC 9110 section 5.6.2, as a regular expression; the possessive `+` never goes back.
TOKEN = r"[!#$%&'*+\-.^_`|~0-9A-Za-z]++"

_NAME = re.compile(TOKEN)
_VALUE = re.compile(r"[\t\x20-\x7e\x80-\xff]*")

#: What can be given where headers are asked for. `Headers` is one of them.
HeaderSource = Mapping[str, str] | Iterable[tuple[str, str]]

#: Headers whose values are shown nowhere: their names have one of these in them. A subprotocol may be a token, since
#: browsers cannot send one otherwise.
_SECRET = re.compile(
    r"assertion|auth|bearer|cookie|credential|csrf|hmac|jwt|key|oidc|password|protocol|secret|session|signature|ticket|"
    r"token",
    re.IGNORECASE,
)

#: What may be a secret in the value of any header: of a URL, or a path, what follows its path, and who is logged in.
_QUERY = re.compile(r"(?<=[?#]).+")
_USERINFO = re.compile(r"(?<=//)[^/\s]*(?=@)")

#: What stands in place of a value that may be a secret.
HIDDEN = "(hidden)"


class Headers:
    """Header fields in the order they came: pairs of name and value, found by name without regard to case.

    A name may occur several times. ``get`` and ``[]`` give its first value, ``get_all`` every one; iteration gives the
    pairs, so ``dict(headers)`` and ``list(headers)`` do what they say. Immutable, so any thread may use it.

    Args:
        source: a dict, a list of (name, value), or other Headers; None: no fields.

    Raises TypeError for what is neither.
    """

    __slots__ = ("_pairs",)

    def __init__(self, source: HeaderSource | None = None) -> None:
        pairs = source.items() if isinstance(source, Mapping) else source or ()
        try:
            self._pairs = tuple((name, value) for name, value in pairs)
        except (TypeError, ValueError):  # the loop's own error names neither headers nor pairs
            # Not shown: a line "Authorization: ..." is the usual mistake.
            raise TypeError(f"headers are a dict of str or a list of (name, value), not {_kind(source)}") from None

    @overload
    def get(self, name: str) -> str | None: ...

    @overload
    def get(self, name: str, default: str) -> str: ...

    def get(self, name: str, default: str | None = None) -> str | None:
        """The first value of a name, or the default."""
        # The length first: it tells most names apart, and costs less than the lower case of each.
        size, wanted = len(name), name.lower()
        for own, value in self._pairs:
            if len(own) == size and own.lower() == wanted:
                return value
        return default

    def get_all(self, name: str) -> list[str]:
        """Every value of a name, one for each line it had."""
        size, wanted = len(name), name.lower()
        return [value for own, value in self._pairs if len(own) == size and own.lower() == wanted]

    def __getitem__(self, name: str) -> str:
        value = self.get(name)
        if value is None:
            raise KeyError(name)
        return value

    def __contains__(self, name: object) -> bool:
        return isinstance(name, str) and self.get(name) is not None

    def __iter__(self) -> Iterator[tuple[str, str]]:
        return iter(self._pairs)

    def __len__(self) -> int:
        return len(self._pairs)

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Headers) and self._folded() == other._folded()

    def __hash__(self) -> int:
        return hash(self._folded())

    def __repr__(self) -> str:
        return f"Headers({[(name, shown(name, value)) for name, value in self._pairs]!r})"

    def _folded(self) -> tuple[tuple[str, str], ...]:
        return tuple((name.lower(), value) for name, value in self._pairs)


_NO_HEADERS = Headers()


def checked_headers(source: HeaderSource | None) -> Headers:
    """Headers fit to be sent: each name a token, each value free of control characters, blanks around it removed.

    Raises ValueError that names the header, and TypeError if a name or a value is not a str.
    """
    if source is None:
        return _NO_HEADERS
    return Headers([_checked_field(name, value) for name, value in Headers(source)])


def _checked_field(name: object, value: object) -> tuple[str, str]:
    if not isinstance(name, str) or not isinstance(value, str):
        kinds = f"{type(name).__name__} and {type(value).__name__}"
        raise TypeError(f"header {_name_in(name)}: name and value must be str, and they are {kinds}")
    if not _NAME.fullmatch(name):
        raise ValueError(f"header {_name_in(name)}: a name may hold only letters, digits and !#$%&'*+-.^_`|~")
    if not _VALUE.fullmatch(value):
        # The value may be a secret, so it is not shown. The place of the mistake helps as much: mostly a line break at
        # the end.
        wrong = next(index for index, character in enumerate(value) if not _VALUE.fullmatch(character))
        raise ValueError(
            f"header {_name_in(name)}: its value may not hold {value[wrong]!r} "
            f"(character {wrong + 1} of {len(value)}): no line break, no control character, nothing beyond Latin-1"
        )
    return name, value.strip(" \t")


def is_secret(name: str) -> bool:
    """Whether the value of a header may be a secret, as those of Authorization and Cookie are: it is not shown then."""
    return _SECRET.search(name) is not None and name.lower() != "sec-websocket-key"


def shown(name: str, value: str) -> str:
    """The value of a header as it may be shown: without what may be a secret.

    Location, Referer and X-Original-URL have a query, and so may a header of any other name.
    """
    if is_secret(name):
        return HIDDEN
    return _USERINFO.sub(HIDDEN, _QUERY.sub(HIDDEN, value))


def _kind(source: object) -> str:
    """What was given, for an error that must not show it."""
    first = next(iter(source), None) if isinstance(source, (list, tuple)) else None
    return type(source).__name__ if first is None else f"a {type(source).__name__} of {type(first).__name__}"


def _name_in(name: object) -> str:
    """What stands for the name of a header in an error, quoted and cut: without what follows a colon, which is a value
    that went astray."""
    if isinstance(name, bytes):
        return f"b{_name_in(name.decode('latin-1'))}"
    before, colon, _ = name.partition(":") if isinstance(name, str) else ("", "", "")
    return repr(before[:64] + colon)
