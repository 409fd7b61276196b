"""The fuzzing can fail: with a fault planted in what a harness looks at, it finds it soon, without a corpus."""

from __future__ import annotations

import contextlib
import itertools
import logging
import re
import unittest
from collections.abc import Callable, Iterator
from typing import Any, NamedTuple
from unittest import mock

from fuzz.engine import Run
from syncws._bus import localframes, memoryarchive
from syncws._client import answer, proxy
from syncws._frames import accelerator, agreement, ahead, compressor, deflate, lanes, partial, protocol, window
from syncws._http import cookies, handshake, head, hosts, http11, httpclient, origins, url
from syncws._relay import inward, numbers
from syncws._server import upgrader
from tests.fuzz.support import HARNESSES, need_harnesses


def _as_it_is(real: Any) -> Any:
    return lambda self, first, payload: (first, payload)


def _with_the_largest(real: Any) -> Any:
    return lambda level, bits, memory: real(level, 15, memory)


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
    Fault("frames", "a window forgets at rest", window, "_bytes_in", lambda real: lambda *_: b""),
    Fault("frames", "a window on trial is not noted", window.Window, "note", lambda real: lambda *_: True),
    Fault("writes", "a shared message is no end of the context", compressor.Compressor, "shared", _as_it_is),
    Fault("writes", "windows are larger than was promised", deflate, "_compressobj", _with_the_largest),
    Fault("writes", "a message has no end", deflate.Deflater, "finish", lambda real: lambda self: real(self)[:-1]),
    Fault("accelerator", "frames are written otherwise", accelerator, "encode", lambda real: _final(real)),
    Fault(
        "accelerator",
        "what is unmasked is turned round",
        accelerator,
        "unmask",
        lambda real: lambda *where: real(*where)[::-1],
    ),
    Fault("buses", "all was missed after a position", memoryarchive, "_is_missed", lambda real: lambda *_: True),
    Fault("buses", "a frame's length is not looked at", localframes.Frames, "__init__", lambda real: _any_length(real)),
    Fault("requests", "headers are not looked at", head.HeadScreen, "_check_header", lambda real: lambda *_: None),
    Fault("requests", "bytes after a head are lost", http11.HTTPConnection, "take_over", lambda real: _no_rest(real)),
    Fault("requests", "a handshake is not looked at", upgrader, "check_handshake", lambda real: lambda request: None),
    Fault("answers", "the status is not looked at", answer, "_check_switched", lambda real: lambda response: None),
    Fault("answers", "bytes after a head are lost", httpclient.Exchange, "trailing", lambda real: b""),
    Fault("proxies", "bytes after a head are lost", httpclient.Exchange, "trailing", lambda real: b""),
    Fault("proxies", "ways of logging in are made up", proxy, "_schemes", lambda real: lambda lines: ["made up"]),
    Fault("envelopes", "copies are delivered", numbers.Incoming, "came", lambda real: lambda *_: numbers._NEW),
    Fault("envelopes", "losses are not told", inward.Inward, "_report", lambda real: lambda *_: None),
    Fault("envelopes", "the channel is not looked at", inward, "_named", lambda real: lambda *_: "lobby"),
    Fault("lists", "backslashes stay", handshake, "_unquote", lambda real: lambda value: value and value.strip('"')),
    Fault("lists", "a list ends at its first element", handshake, "_elements", lambda real: _only_first(real)),
    Fault("lists", "unknown parameters are good", agreement, "_read", lambda real: _known_ones(real)),
    Fault("cookies", "quotes stay", cookies, "_decoded", lambda real: lambda value: value),
    Fault("origins", "ports do not count", origins, "plain_host", lambda real: lambda text, *_: (real(text)[0], "")),
    Fault("origins", "an end of a host is enough", hosts.AllowedHosts, "allow", lambda real: _by_its_end),
    Fault("urls", "targets stay as they are", url, "_NO_TARGET", lambda real: re.compile("(?!)")),
    Fault("urls", "passwords are told", url.ServerURL, "__str__", lambda real: lambda self: repr(self.credentials)),
)


def _by_its_end(_self: Any, authority: str) -> bool:
    return authority.endswith("example.com")


def _final(real: Any) -> Any:
    return lambda first, payload, client: real(first | 0x80, payload, client)


def _any_length(real: Any) -> Any:
    return lambda self, most: real(self, most + 100_000_000)


def _no_rest(real: Any) -> Any:
    return lambda self: (real(self)[0], b"")


def _only_first(real: Any) -> Any:
    return lambda pattern, line: itertools.islice(real(pattern, line), 1)


def _known_ones(real: Any) -> Any:
    return lambda parameters, allowed: real([each for each in parameters if each[0] in allowed], allowed)


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
            if fault.harness == "accelerator" and not accelerator.accelerated:
                continue
            with self.subTest(f"{fault.harness}: {fault.what}"), planted(fault):
                run = Run(HARNESSES[fault.harness](), 1, corpus=None, tries=0, most_failures=1)
                report = run.fuzz(inputs=WITHIN)
                self.assertTrue(report.failures, report)

    def test_each_harness_has_some(self) -> None:
        """There is no harness of which nobody knows that it finds anything."""
        self.assertEqual({fault.harness for fault in FAULTS}, set(HARNESSES))


if __name__ == "__main__":
    unittest.main()
