"""What a harness is: how inputs of one format are made, and what must be true of each.

A harness compares: with another implementation, with the same input in pieces, with what it becomes when it is written
and read again. Where syncws differs from the other one on purpose, that is a `Difference`, with a name, a reason and an
example. A test shows that each is needed: without it the example is a finding.
"""

from __future__ import annotations

from collections.abc import Collection, Hashable, Iterator, Mapping
from dataclasses import dataclass
from random import Random
from typing import ClassVar
from zlib import crc32


class Finding(AssertionError):
    """Something that must not be. Two findings of one kind are taken for the same fault."""

    def __init__(self, kind: str, detail: object = "") -> None:
        super().__init__(f"{kind}: {detail}" if detail != "" else kind)
        self.kind = kind


@dataclass(frozen=True)
class Difference:
    """Something that another implementation does otherwise, and why; an input that shows it."""

    theirs: str
    ours: str
    why: str
    example: bytes


class Harness:
    """One format. An input is bytes, so that all are kept, changed and made shorter in the same way.

    Args:
        without: differences that are not applied, so that a test can show what each is for.
    """

    #: As the command line names it.
    name: ClassVar[str]

    #: Inputs that it begins with, beside those of the corpus.
    seeds: ClassVar[tuple[bytes, ...]] = ()

    #: What has a meaning in this format: it is put into inputs at random places.
    words: ClassVar[tuple[bytes, ...]] = ()

    differences: ClassVar[Mapping[str, Difference]] = {}

    #: Seconds of CPU that an input may take.
    most_seconds: ClassVar[float] = 0.5

    #: Bytes of an input that was changed at random.
    most_bytes: ClassVar[int] = 16384

    def __init__(self, without: Collection[str] = ()) -> None:
        self._without = frozenset(without)

    def make(self, rng: Random) -> bytes:
        """An input by the grammar of the format, mostly a good one."""
        raise NotImplementedError

    def check(self, data: bytes) -> Hashable:
        """Raise Finding, or whatever escapes from the code, unless all is as it should be.

        Returns what came of the input, in short: an input of which something new came is worth changing further.
        """
        raise NotImplementedError

    def differs(self, name: str) -> bool:
        """Whether to apply a difference."""
        assert name in self.differences, name
        return name not in self._without


def must_be_equal(kind: str, got: object, wanted: object) -> None:
    """Raise Finding if these differ."""
    if got != wanted:
        raise Finding(kind, f"{shortened(got)} and not {shortened(wanted)}")


def shortened(value: object) -> str:
    """A value for a line."""
    text = repr(value)
    return text if len(text) < 500 else f"{text[:300]} ... {text[-100:]} ({len(text)})"


def pieces(data: bytes, seed: int | None = None) -> list[bytes]:
    """The data cut at random places; the same ones for the same data (and seed)."""
    rng = Random(crc32(data) if seed is None else seed)
    places = sorted(rng.randrange(len(data) + 1) for _ in range(rng.choice((1, 1, 2, 5, 20))))
    return [data[start:end] for start, end in zip([0, *places], [*places, len(data)], strict=True) if start < end]


def one_by_one(data: bytes) -> list[bytes]:
    """The data in single bytes."""
    return [data[at : at + 1] for at in range(len(data))]


def lines_of(data: bytes) -> Iterator[str]:
    """The lines of an input that stands for the values of a header, as a parser of HTTP would give them."""
    for line in data.split(b"\n"):
        yield line.decode("latin-1").strip(" \t\r")
