"""What the decorators of WebSocket views check, and how they serve."""

from __future__ import annotations

import inspect
import unittest
from typing import get_type_hints
from unittest import mock

import syncws.wsgi
from syncws import Conn, Upgrader
from syncws._server import views


def handler(conn: Conn) -> None:
    """A handler."""


async def coroutine(conn: Conn) -> None:
    """What is no handler."""


class CheckTests(unittest.TestCase):
    def test_handlers(self) -> None:
        """A handler is anything that can be called, except a coroutine function, whose call would do nothing."""
        views.check_handler(handler, "this takes", "conn")
        for wrong, said in (
            (None, r"^this takes a handler\(conn\), not None$"),
            ("/echo", r"^this takes a handler\(conn\), not '/echo': a path belongs to the framework's own route$"),
            (coroutine, "^this takes plain functions, and <function coroutine .*: write def, not async def$"),
        ):
            with self.subTest(wrong), self.assertRaisesRegex(TypeError, said):
                views.check_handler(wrong, "this takes", "conn")

    def test_before(self) -> None:
        """A hook before the handshake can be called, or is None."""
        views.check_before(None)
        views.check_before(handler)
        with self.assertRaisesRegex(TypeError, "^before must be a callable .*, or None, not 'login'$"):
            views.check_before("login")

    def test_upgraders(self) -> None:
        """An Upgrader is used as it is given, and one with the defaults where none is; nothing else will do."""
        upgrader = Upgrader(read_limit=5)
        self.assertIs(views.chosen_upgrader(upgrader), upgrader)
        self.assertEqual(views.chosen_upgrader(None), Upgrader())
        with self.assertRaisesRegex(TypeError, r"such as Upgrader\(\), or None, not <class"):
            views.chosen_upgrader(Upgrader)  # type: ignore[arg-type]


class ServingTests(unittest.TestCase):
    def test_options_hold_for_every_request(self) -> None:
        """The Upgrader serves each request with the options that were given once."""
        with mock.patch.object(Upgrader, "serve") as serve:
            serving = views.serving(None, detach=False, max_connections=7)
            answer = serving({}, handler, response_headers=[("X", "y")])
        self.assertIs(answer, serve.return_value)
        serve.assert_called_once_with({}, handler, response_headers=[("X", "y")], detach=False, max_connections=7)

    def test_wrong_options(self) -> None:
        """A wrong option is an error before there is any request."""
        for upgrader, detach, limit, kind, said in (
            ("me", None, None, TypeError, "upgrader"),
            (None, 1, None, TypeError, "detach"),
            (None, None, 0, ValueError, "max_connections"),
            (None, None, "7", TypeError, "max_connections"),
        ):
            with self.subTest(said), self.assertRaisesRegex(kind, said):
                views.serving(upgrader, detach=detach, max_connections=limit)  # type: ignore[arg-type]

    def test_keywords(self) -> None:
        """What the overloads of a decorator tell an editor are the options that it takes."""
        parameters = inspect.signature(syncws.wsgi.websocket).parameters
        self.assertEqual(parameters.keys() - {"handler"}, get_type_hints(views.ServingKeywords).keys())
        self.assertEqual(
            get_type_hints(views.ViewKeywords).keys() - {"before"}, get_type_hints(views.ServingKeywords).keys()
        )
