"""owners.py: an option that is given to the wrong one, or misspelt, is told where it belongs."""

from __future__ import annotations

import copy
import dataclasses
import inspect
import pickle
import unittest
from collections.abc import Callable
from typing import Any
from unittest import mock

import flask

import syncws
import syncws.bottle
import syncws.django
import syncws.falcon
import syncws.flask
import syncws.wsgi
from syncws._base.owners import _ELSEWHERE, takes_options
from tests.pyramids import pyramid  # noqa: F401 - syncws.pyramid is there now

TAKERS: list[Callable[..., Any]] = [
    syncws.Dialer,
    syncws.Manager,
    syncws.Server,
    syncws.Upgrader,
    syncws.dial,
    syncws.reconnect,
    syncws.serve,
]


class OwnerTests(unittest.TestCase):
    def told(self, call: Callable[[], object]) -> str:
        with self.assertRaises(TypeError) as caught:
            call()
        return str(caught.exception)

    def test_an_option_of_another(self) -> None:
        """An option of another class or function is refused with the name of the one that takes it."""
        none: Any = lambda request: None  # noqa: E731
        url = "ws://127.0.0.1:9/"
        for call, told in (
            (
                lambda: syncws.Server(none, port=0, read_limit=5),
                "'read_limit': it is one of Dialer, Upgrader",
            ),
            (lambda: syncws.dial(url, allowed_origins=["*"]), "'allowed_origins': it is one of Upgrader"),  # type: ignore[call-arg]
            (
                lambda: syncws.dial(url, min_delay=1),
                "Dialer() got an unexpected keyword argument 'min_delay': it is one of reconnect",
            ),  # type: ignore[call-arg]
            (lambda: syncws.reconnect(url, max_connections=1), "'max_connections': it is one of Server"),  # type: ignore[call-arg]
            (lambda: syncws.Dialer(headers=["Authorization: secret"]), "'headers': it is one of dial, reconnect"),  # type: ignore[call-arg]
            (lambda: syncws.Upgrader(net_dial=print), "'net_dial': it is one of Dialer"),  # type: ignore[call-arg]
            (
                lambda: syncws.Manager(ping_interval=5),
                "Manager() got an unexpected keyword argument 'ping_interval': it is one of",
            ),  # type: ignore[call-arg]
        ):
            with self.subTest(told):
                found = self.told(call)
                self.assertIn(told, found)
                self.assertNotIn("secret", found)

    def test_an_option_of_another_at_a_call(self) -> None:
        """The same where a call has options of its own: a decorator, a method, a class that is no owner of others."""
        none: Any = lambda *_: None  # noqa: E731
        environ: Any = {}
        app = flask.Flask("test")
        for name, call in (
            ("Upgrader.upgrade", lambda: syncws.Upgrader().upgrade(environ, read_limit=1)),  # type: ignore[call-arg]
            ("Upgrader.serve", lambda: syncws.Upgrader().serve(environ, none, read_limit=1)),  # type: ignore[call-arg]
            ("Dialer.dial", lambda: syncws.Dialer().dial("ws://a", read_limit=1)),  # type: ignore[call-arg]
            ("Manager.run", lambda: syncws.Manager().run(none, read_limit=1)),  # type: ignore[call-arg]
            ("Manager.register", lambda: syncws.Manager().register(none, read_limit=1)),  # type: ignore[call-arg]
            ("Heartbeat", lambda: syncws.Heartbeat(read_limit=1)),  # type: ignore[call-arg]
            ("websocket", lambda: syncws.wsgi.websocket(read_limit=1)),  # type: ignore[call-overload]
            ("websocket", lambda: syncws.bottle.websocket(read_limit=1)),  # type: ignore[call-overload]
            ("websocket_view", lambda: syncws.django.websocket_view(read_limit=1)),  # type: ignore[call-overload]
            ("websocket_view", lambda: syncws.pyramid.websocket_view(read_limit=1)),  # type: ignore[call-overload]
            ("serve", lambda: syncws.falcon.serve(none, none, none, read_limit=1)),  # type: ignore[call-arg]
            ("WebSocketResource", lambda: syncws.falcon.WebSocketResource(none, read_limit=1)),  # type: ignore[call-arg]
            ("Sock", lambda: syncws.flask.Sock(app, read_limit=1)),  # type: ignore[call-arg]
        ):
            with self.subTest(name):
                told = f"{name}() got an unexpected keyword argument 'read_limit': it is one of Dialer, Upgrader"
                self.assertEqual(self.told(call), told)
        found = self.told(lambda: syncws.flask.Sock(app).route("/", read_limit=1))
        self.assertEqual(found, "read_limit is an Upgrader's: @sock.route(rule, upgrader=Upgrader(read_limit=...))")
        self.assertIn("of Server", self.told(lambda: syncws.ConnOptions(workers=2)))  # type: ignore[call-arg]

    def test_an_option_of_views(self) -> None:
        """A check of who is logged in that is given to the whole Sock, or to a Server, is told where it belongs."""
        none: Any = lambda *_: None  # noqa: E731
        calls: dict[str, Callable[[], object]] = {
            "Sock": lambda: syncws.flask.Sock(before=none),  # type: ignore[call-arg]
            "Server": lambda: syncws.Server(none, before=none),  # type: ignore[call-arg]
            "websocket": lambda: syncws.wsgi.websocket(before=none),  # type: ignore[call-overload]
        }
        for name, call in calls.items():
            told = f"{name}() got an unexpected keyword argument 'before': it is one of a framework's WebSocket view"
            self.assertTrue(self.told(call).startswith(told))
        told = self.told(lambda: syncws.Server(none, detach=True))  # type: ignore[call-arg]
        self.assertIn("'detach': it is one of Upgrader.serve", told)

    def test_an_option_that_is_misspelt(self) -> None:
        """One that nobody takes is refused with the one that was meant: of the same class first, then of another."""
        for call, told in (
            (lambda: syncws.Dialer(subprotocol=["v1"]), "did you mean subprotocols?"),  # type: ignore[call-arg]
            (lambda: syncws.reconnect("ws://a", max_delays=5), "did you mean max_delay, of reconnect?"),  # type: ignore[call-arg]
            (lambda: syncws.Dialer(xyz=1), "Dialer() got an unexpected keyword argument 'xyz'"),  # type: ignore[call-arg]
        ):
            found = self.told(call)
            self.assertTrue(found.endswith(told), found)

    def test_an_option_of_another_library(self) -> None:
        """What other libraries call an option is told by its name here, and not by one that only looks like it."""
        none: Any = lambda request: None  # noqa: E731
        url = "ws://127.0.0.1:9/"
        for call, told in (
            (lambda: syncws.Upgrader(max_message_size=5), "did you mean read_limit?"),  # type: ignore[call-arg]
            (lambda: syncws.Server(none, max_size=5), "did you mean read_limit, of Dialer, Upgrader?"),  # type: ignore[call-arg]
            (lambda: syncws.dial(url, open_timeout=5), "did you mean handshake_timeout?"),  # type: ignore[call-arg]
            (lambda: syncws.dial(url, extra_headers={}), "did you mean headers, of dial, reconnect?"),  # type: ignore[call-arg]
            (lambda: syncws.Server(none, certfile="a.pem"), "did you mean ssl_context?"),  # type: ignore[call-arg]
        ):
            found = self.told(call)
            self.assertTrue(found.endswith(told), found)
        for name, here in _ELSEWHERE.items():
            self.assertTrue(any(here in inspect.signature(taker).parameters for taker in TAKERS), here)
            self.assertFalse(any(name in inspect.signature(taker).parameters for taker in TAKERS), name)

    def test_an_argument_that_has_a_name(self) -> None:
        """What is given by its place, and may only be given by its name, is told with it; what the call itself raises
        is told as it is."""
        manager = syncws.Manager()
        said = self.told(lambda: manager.broadcast("hello", "lobby"))  # type: ignore[misc]
        self.assertEqual(said, "Manager.broadcast() takes room by name: write room='lobby'")
        publisher = syncws.Publisher("redis://a")
        said = self.told(lambda: publisher.broadcast("hello", "lobby"))  # type: ignore[misc]
        self.assertEqual(said, "Publisher.broadcast() takes room by name: write room='lobby'")
        self.assertIn("missing 1 required", self.told(lambda: manager.broadcast()))  # type: ignore[call-arg]

    def test_nothing_else_changes(self) -> None:
        """The classes have the same signature, and can be copied, pickled and subclassed as before."""
        self.assertIn("max_redirects", inspect.signature(syncws.Dialer).parameters)
        self.assertIn("max_connections", inspect.signature(syncws.Server).parameters)
        dialer = syncws.Dialer(read_limit=5)
        for again in (copy.copy(dialer), pickle.loads(pickle.dumps(dialer)), dataclasses.replace(dialer)):
            self.assertEqual(again, dialer)

        class Mine(syncws.Dialer):
            pass

        self.assertIn("Mine() got an unexpected keyword argument 'xyz'", self.told(lambda: Mine(xyz=1)))  # type: ignore[call-arg]
        self.assertIn("positional", self.told(lambda: syncws.Dialer(1)))  # type: ignore[misc]

    def test_who_is_known(self) -> None:
        """Whoever takes options says so: else its options are nobody's."""
        self.enterContext(mock.patch.dict("syncws._base.owners._TAKERS"))  # Taking is forgotten afterwards
        for taker in TAKERS:
            with self.subTest(taker.__name__):
                name = next(reversed([each for each in inspect.signature(taker).parameters if each != "options"]))
                Taking = takes_options(type("Taking", (), {"__init__": lambda self: None}))
                self.assertIn(taker.__name__, self.told(lambda name=name, Taking=Taking: Taking(**{name: 1})))


if __name__ == "__main__":
    unittest.main()
