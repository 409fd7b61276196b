"""Small parts of the formats of HTTP, of which several harnesses make their inputs: tokens, blanks, lists."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from random import Random

TOKENS = ("a", "chat", "websocket", "WebSocket", "upgrade", "Upgrade", "keep-alive", "13", "!#$%&'*+-.^_`|~", "x" * 40)

_BLANKS = ("", "", "", " ", "  ", "\t", " \t ")


def token(rng: Random) -> str:
    """A token of RFC 9110 section 5.6.2."""
    if rng.random() < 0.6:
        return rng.choice(TOKENS)
    return "".join(rng.choices("abcXYZ019!#$%&'*+-.^_`|~", k=rng.randrange(1, 8)))


def blanks(rng: Random) -> str:
    """Optional white space."""
    return rng.choice(_BLANKS)


def quoted(rng: Random, text: str) -> str:
    """A text in quotes, with a backslash before some characters, and before all that need it."""
    inside = "".join(f"\\{character}" if character in '"\\' or rng.random() < 0.1 else character for character in text)
    return f'"{inside}"'


def listed(rng: Random, element: Callable[[Random], str], most: int = 4) -> str:
    """A list with commas, some of its elements empty."""
    elements = [element(rng) if rng.random() < 0.93 else "" for _ in range(rng.randrange(1, most + 1))]
    return ",".join(f"{blanks(rng)}{each}{blanks(rng)}" for each in elements).strip(" \t")


def one_of(rng: Random, makers: Sequence[tuple[float, Callable[[Random], str]]]) -> str:
    """By one of these, each with its weight."""
    weights = [weight for weight, _ in makers]
    return rng.choices([make for _, make in makers], weights)[0](rng)
