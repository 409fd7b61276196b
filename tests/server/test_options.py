"""options.py of the server; and every option that is a number, of whatever takes options."""

from __future__ import annotations

import inspect
import math
import typing
import unittest
from collections.abc import Callable, Iterator
from functools import partial
from typing import Any
from unittest import mock

import syncws
from syncws import Dialer, Server, Upgrader
from syncws._base.options import ConnOptions
from syncws._server.options import ServerOptions
from syncws.testing import LeakChecks


def handler(request: syncws.Request) -> None:
    raise AssertionError("nobody connects here")


#: What takes options, and how it is made of one of them.
MAKERS: dict[type, Callable[..., Any]] = {
    ConnOptions: ConnOptions,
    Upgrader: Upgrader,
    Dialer: Dialer,
    Server: partial(Server, handler, port=0),
}

#: Numbers that may be negative.
SIGNED = {"compression_level"}

STRANGE: tuple[object, ...] = ("1", b"1", [])


def numbers(kind: type) -> Iterator[tuple[str, set[str]]]:
    """The options of a class that are numbers, by name, with the types that they may have."""
    for name, parameter in inspect.signature(kind).parameters.items():
        allowed = types_of(parameter.annotation)
        if allowed & {"int", "float"}:
            yield name, allowed


def types_of(annotation: Any) -> set[str]:
    """The names of the types that an annotation allows. It may still be text."""
    if isinstance(annotation, str):
        return set(annotation.split(" | "))
    each = typing.get_args(annotation) or (annotation,)
    return {"None" if one is type(None) else getattr(one, "__name__", str(one)) for one in each}


class NumberTests(LeakChecks):
    """A number that cannot work is refused when it is given, and by name."""

    def setUp(self) -> None:
        super().setUp()
        self.enterContext(mock.patch("socket.create_server", side_effect=AssertionError("bound before all is checked")))

    def each(self) -> Iterator[tuple[Callable[..., Any], str, set[str]]]:
        for kind, make in MAKERS.items():
            for name, allowed in numbers(kind):
                yield make, name, allowed

    def check_refused(self, make: Callable[..., Any], name: str, value: Any, *errors: type[Exception]) -> None:
        if name in SIGNED:  # zlib's levels are a list of a few, and anything else is a wrong value
            errors = (ValueError,)
        with self.subTest(make, option=name, value=value), self.assertRaises(errors) as caught:
            make(**{name: value})
        self.assertRegex(str(caught.exception), f"^{name} (is|must be) ")
        self.assertIn(repr(value), str(caught.exception))

    def test_they_are_found(self) -> None:
        """The tests below are about all of these; an option that is added is found by its type."""
        found = {kind.__name__: {name for name, _ in numbers(kind)} for kind in MAKERS}
        of_a_connection = {
            "read_limit",
            "fragment_limit",
            "control_limit",
            "control_rate",
            "least_rate",
            "least_rate_grace",
            "ping_interval",
            "ping_timeout",
            "close_timeout",
            "send_queue",
            "send_queue_bytes",
            "read_buffer_size",
            "write_buffer_size",
            "context_idle",
        }
        of_a_handshake = of_a_connection | {
            "handshake_timeout",
            "compression_level",
            "compression_threshold",
            "max_window_bits",
            "mem_level",
        }
        of_a_server = {
            "port",
            "max_connections",
            "handshake_timeout",
            "keep_alive_timeout",
            "max_head_size",
            "max_headers",
            "shutdown_timeout",
            "workers",
            "max_body_size",
            "body_timeout",
            "answer_timeout",
            "max_connections_per_address",
            "max_handshakes",
        }
        self.assertEqual(found["ConnOptions"], of_a_connection)
        self.assertLessEqual(of_a_handshake, found["Upgrader"])
        self.assertLessEqual(of_a_handshake, found["Dialer"])
        self.assertLessEqual(of_a_server, found["Server"])

    def test_other_types(self) -> None:
        """Text, bytes, lists and truth values are no numbers."""
        for make, name, _ in self.each():
            for value in (*STRANGE, True, False):
                self.check_refused(make, name, value, TypeError)

    def test_none(self) -> None:
        """None is refused where it has no meaning."""
        for make, name, allowed in self.each():
            if "None" not in allowed:
                self.check_refused(make, name, None, TypeError)

    def test_negative(self) -> None:
        """No option is negative, except zlib's level, which has an end too."""
        for make, name, _ in self.each():
            self.check_refused(make, name, -3 if name in SIGNED else -1, ValueError)

    def test_not_a_number(self) -> None:
        """Neither not-a-number nor infinity is an option."""
        for make, name, allowed in self.each():
            for value in (math.nan, math.inf, -math.inf):
                self.check_refused(make, name, value, ValueError if "float" in allowed else TypeError)

    def test_fractions(self) -> None:
        """What is counted has no fractions."""
        for make, name, allowed in self.each():
            if "float" not in allowed:
                self.check_refused(make, name, 1.5, TypeError)


class ServerOptionTests(unittest.TestCase):
    """What else a server checks."""

    def test_the_server_has_all(self) -> None:
        """Every option is an argument of Server, which has its default."""
        of_the_server = inspect.signature(Server).parameters.keys()
        self.assertEqual(inspect.signature(ServerOptions).parameters.keys(), of_the_server - {"host", "port"})

    def test_a_handler_that_takes_more(self) -> None:
        """A WSGI application was taken as a handler, and each request was 500: what cannot be called with one argument
        is refused, and wsgi_app= is named. So it is by serve."""

        def application(environ: Any, start_response: Any) -> list[bytes]:
            return []

        class Framework:
            def __call__(self, environ: Any, start_response: Any) -> list[bytes]:
                return []

        told = r"handler is called with a Request alone, .*\(environ, start_response\); .* Server\(wsgi_app=\.\.\.\)"
        for given in (application, Framework()):
            with self.subTest(given), self.assertRaisesRegex(TypeError, told):
                Server(given, port=0)  # type: ignore[arg-type]
        with self.assertRaisesRegex(TypeError, "on_connection is called with a Conn alone"):
            syncws.serve(application, port=0)  # type: ignore[arg-type]
        for good in (lambda request: None, lambda *given: None, lambda request, more=None: None, mock.Mock(), dict):
            Server(good, port=0).shutdown()

    def test_what_excludes_each_other(self) -> None:
        """Two options that contradict each other are refused, both named."""
        rows: list[tuple[dict[str, Any], str]] = [
            ({"wsgi_app": handler}, "handler and wsgi_app exclude each other"),
            ({"listener": mock.Mock(), "unix_path": "/tmp/a"}, "listener and unix_path exclude each other"),
        ]
        for options, message in rows:
            with self.subTest(message), self.assertRaisesRegex(ValueError, f"^{message}: "):
                Server(handler, port=0, **options)


if __name__ == "__main__":
    unittest.main()
