"""The fuzzing can fail: with a fault planted in what a harness looks at, it finds it soon, without a corpus."""

from __future__ import annotations

import contextlib
import logging
import unittest
from collections.abc import Callable, Iterator
from typing import Any, NamedTuple
from unittest import mock

from fuzz.engine import Run
from syncws._frames import ahead, deflate, lanes, partial, protocol
from tests.fuzz.support import HARNESSES, need_harnesses

#: Inputs within which each fault is found. Most of them need a tenth of these.
WITHIN = 4000


def setUpModule() -> None:
    need_harnesses()
    logging.disable()  # what syncws tells of bad input
    unittest.addModuleCleanup(logging.disable, logging.NOTSET)


class Fault(NamedTuple):
    """Something of the product that is broken on purpose."""

    harness: str
    what: str
    owner: Any
    name: str
    broken: Callable[[Any], Any]  # makes the broken one of the real one


def _no_reserved(real: Any) -> Any:
    return lambda first, *rest, **keywords: real(first & 0x8F, *rest, **keywords)


def _swallowed(real: Any) -> Any:
    return lambda self, *arguments: real(self, *arguments)[:-1]


FAULTS = (
    Fault("frames", "reserved bits are not looked at", lanes, "header_fault", _no_reserved),
    Fault("frames", "any form of a length is good", lanes, "is_minimal", lambda real: lambda length, size: True),
    Fault("frames", "a message may be cut", deflate.Inflater, "ends_well", lambda real: lambda self: True),
    Fault("frames", "every close code is good", lanes, "received_close", lambda real: lambda data: (1000, "")),
    Fault("frames", "controls that are taken ahead", ahead.Ahead, "take_controls", _swallowed),
    Fault("frames", "text in parts is not checked", partial.PartialFrame, "add", lambda real: _unchecked(real)),
    Fault("frames", "fragments are not counted", lanes.Lanes, "_count", lambda real: _uncounted(real)),
    Fault("frames", "only takes a fragment", protocol.Protocol, "only", lambda real: _any_first(real)),
)


def _unchecked(real: Any) -> Any:
    def add(self: Any, piece: bytes) -> bool:
        real(self, piece)
        return True

    return add


def _uncounted(real: Any) -> Any:
    return lambda self, first, length: real(self, first, 0)


def _any_first(real: Any) -> Any:
    return lambda self, data: real(self, bytes((data[0] | 0x80,)) + data[1:] if data else data)


@contextlib.contextmanager
def planted(fault: Fault) -> Iterator[None]:
    """The fault is there inside the block."""
    real = getattr(fault.owner, fault.name)
    with mock.patch.object(fault.owner, fault.name, fault.broken(real)):
        yield


class FaultTests(unittest.TestCase):
    def test_planted_faults(self) -> None:
        """Each fault is found within some thousand inputs."""
        for fault in FAULTS:
            with self.subTest(f"{fault.harness}: {fault.what}"), planted(fault):
                run = Run(HARNESSES[fault.harness](), 1, corpus=None, tries=0, most_failures=1)
                report = run.fuzz(inputs=WITHIN)
                self.assertTrue(report.failures, report)

    def test_each_harness_has_some(self) -> None:
        """There is no harness of which nobody knows that it finds anything."""
        self.assertEqual({fault.harness for fault in FAULTS}, set(HARNESSES))


if __name__ == "__main__":
    unittest.main()
