"""Every callable that a user gives once, to be called later: `async def` is refused when it is given, wherever that is.

A table says how each is given, and the public names are searched for parameters that take a callable: a new one that is
not in the table fails.
"""

from __future__ import annotations

import collections.abc
import contextlib
import importlib
import inspect
import io
import logging
import re
import types
import typing
import unittest
import warnings
from collections.abc import Callable, Iterator
from typing import Any
from unittest import mock

import bottle
import falcon
import flask
from falcon.testing import create_req

import syncws
import syncws.bottle
import syncws.django
import syncws.falcon
import syncws.flask
import syncws.opentelemetry
import syncws.testing
import syncws.wsgi
from syncws._conn.conn import Conn
from tests.base.test_callables import ASYNC, PLAIN, YIELDING, coroutine
from tests.pyramids import pyramid
from tests.tasks import PATIENCE

Give = Callable[[Any], object]


def _on_a_connection(method: str) -> Give:
    def give(given: Any) -> None:
        with syncws.testing.pair() as (conn, _):
            getattr(conn, method)(given)

    return give


def _as_keyword(call: Callable[..., object], name: str, *arguments: object, **others: object) -> Give:
    return lambda given: call(*arguments, **others, **{name: given})


def _bound(call: Callable[..., object], *arguments: object, **others: object) -> Give:
    return lambda given: call(given, *arguments, **others)


def _server(**options: object) -> None:
    syncws.Server(port=0, **options).shutdown(0)  # type: ignore[arg-type]


def _connect(app: Any) -> None:
    with syncws.testing.connect(app):
        pass


def _serving(*what: Any, **options: Any) -> None:
    with syncws.testing.serving(*what, **options):
        pass


def _dial_as_test(name: str) -> Give:
    def give(given: Any) -> None:
        with syncws.testing.serving(handler) as server, server.dial(**{name: given}):
            pass

    return give


def _route(**options: Any) -> Any:
    return syncws.flask.Sock(flask.Flask("test")).route("/", **options)


def _taken(**options: Any) -> syncws.wsgi.Taken:
    return syncws.wsgi.Taken(server="test", sock=None, fd=0, **options)


def handler(*arguments: object) -> None:
    """A handler."""


#: How each parameter that takes a callable is given one.
GIVEN: dict[str, Give] = {
    **{
        f"Conn.{name}.handler": _on_a_connection(name)
        for name in dir(Conn)
        if name.endswith("_handler") and "set" in name
    },
    "Conn.on_end.callback": _on_a_connection("on_end"),
    **{f"Dialer.{name}": _as_keyword(syncws.Dialer, name) for name in ("proxy", "net_dial", "net_dial_tls")},
    "History.rooms": _as_keyword(syncws.History, "rooms"),
    **{f"Heartbeat.{name}": _as_keyword(syncws.Heartbeat, name) for name in ("is_ping", "pong")},
    **{
        f"Manager.{name}": _as_keyword(syncws.Manager, name)
        for name in ("on_open", "on_message", "on_close", "on_gap", "on_bus")
    },
    "Server.handler": _as_keyword(_server, "handler"),
    "Server.wsgi_app": _as_keyword(_server, "wsgi_app"),
    "Server.client_address": _as_keyword(_server, "client_address", handler=handler, max_connections_per_address=9),
    **{f"Upgrader.{name}": _as_keyword(syncws.Upgrader, name) for name in ("subprotocols", "error", "check_origin")},
    "Upgrader.serve.handler": lambda given: syncws.Upgrader().serve({}, given),
    "reconnect.headers": _as_keyword(syncws.reconnect, "headers", "ws://localhost"),
    "reconnect.give_up": _as_keyword(syncws.reconnect, "give_up", "ws://localhost"),
    "reconnect.url": syncws.reconnect,
    "serve.on_connection": _bound(syncws.serve, port=-1),
    "serve.client_address": _as_keyword(syncws.serve, "client_address", handler, max_connections_per_address=9),
    **{
        f"wsgi.Taken.{name}": _as_keyword(_taken, name)
        for name in ("read_early", "on_taken", "is_ending", "say_alive", "is_replaced")
    },
    "wsgi.register_taker.taker": syncws.wsgi.register_taker,
    "wsgi.websocket.handler": syncws.wsgi.websocket,
    "wsgi.websocket(...)": syncws.wsgi.websocket(),
    "flask.Sock.route(...)": _route(),
    "flask.Sock.route.before": lambda given: _route(before=given),
    "django.websocket_view.handler": syncws.django.websocket_view,
    "django.websocket_view.before": _as_keyword(syncws.django.websocket_view, "before"),
    "bottle.websocket.handler": syncws.bottle.websocket,
    "bottle.websocket.before": _as_keyword(syncws.bottle.websocket, "before"),
    "falcon.serve.handler": lambda given: syncws.falcon.serve(create_req(), falcon.Response(), given),
    "falcon.WebSocketResource.handler": syncws.falcon.WebSocketResource,
    "falcon.WebSocketResource.before": _as_keyword(syncws.falcon.WebSocketResource, "before", handler),
    "pyramid.websocket_view.handler": syncws.pyramid.websocket_view,
    "pyramid.websocket_view.before": _as_keyword(syncws.pyramid.websocket_view, "before"),
    "testing.connect.app": _connect,
    "testing.await_.condition": syncws.testing.await_,
    "testing.serving.what": _serving,
    "testing.serving.wsgi_app": _as_keyword(_serving, "wsgi_app"),
    "testing.serving.client_address": _as_keyword(_serving, "client_address", handler, max_connections_per_address=9),
    **{f"testing.LiveServer.dial.{name}": _dial_as_test(name) for name in ("proxy", "net_dial", "net_dial_tls")},
    "opentelemetry.TracedUpgrader.serve.handler": lambda given: syncws.opentelemetry.TracedUpgrader().serve({}, given),
    "opentelemetry.traced.handler": syncws.opentelemetry.traced,
    **{
        f"opentelemetry.TracedDialer.{name}": _as_keyword(syncws.opentelemetry.TracedDialer, name)
        for name in ("proxy", "net_dial", "net_dial_tls")
    },
    **{
        f"opentelemetry.TracedUpgrader.{name}": _as_keyword(syncws.opentelemetry.TracedUpgrader, name)
        for name in ("subprotocols", "error", "check_origin")
    },
}

#: Parameters that take one and are not for users.
INTERNAL = {
    *("MessageReader.next_piece", "Reconnector.headers", "Reconnector.url", "Reconnector.give_up"),
    *(f"testing.BackplaneCases.{name}" for name in ("in_time.call", "wait.condition")),
    *(f"{kind}.{name}.call" for kind in ("Transport", "TLSTransport") for name in ("receive_by", "send_by")),
}

#: Those whose result is iterated over, so that a generator function does its work.
ITERATED = {"Server.wsgi_app", "testing.serving.wsgi_app", "testing.connect.app", "reconnect.headers"}

#: Flask runs a coroutine function by itself, and knows it in these forms only.
BY_FLASK = {"flask.Sock.route.before"}

#: What the options of a class are made of that is derived from one of another module.
OPTION_TYPES = {
    name: value
    for module in (syncws._base.options, syncws._http.handshake, syncws._client.dialer, syncws._server.upgrader)
    for name, value in vars(module).items()
}

MODULES = ("wsgi", "flask", "django", "bottle", "falcon", "pyramid", "testing", "opentelemetry")


def _public() -> Iterator[tuple[str, Any]]:
    for name in syncws.__all__:
        yield name, getattr(syncws, name)
    for module in MODULES:
        for name in importlib.import_module(f"syncws.{module}").__dict__:
            value = getattr(importlib.import_module(f"syncws.{module}"), name)
            if not name.startswith("_") and getattr(value, "__module__", None) in (
                f"syncws.{module}",
                "syncws._wsgi.taken",
            ):
                yield f"{module}.{name}", value


def _functions() -> Iterator[tuple[str, Any]]:
    """(name, function) of whatever a user calls: "serve", "Upgrader" for its __init__, "Conn.set_ping_handler"."""
    for name, value in _public():
        if isinstance(value, types.FunctionType):
            yield name, value
        elif isinstance(value, type) and not issubclass(value, BaseException):
            yield name, value.__init__
            for attribute in dir(value):
                method = getattr(getattr(value, attribute), "__func__", getattr(value, attribute))
                if not attribute.startswith("_") and isinstance(method, types.FunctionType):
                    yield f"{name}.{attribute}", method


def _takes_callable(hint: Any) -> bool:
    if hint is collections.abc.Callable or typing.get_origin(hint) is collections.abc.Callable:
        return True
    return any(_takes_callable(each) for each in typing.get_args(hint))


def _is_keywords(hint: Any) -> bool:
    return typing.get_origin(hint) is typing.Unpack and typing.is_typeddict(hint.__args__[0])


def parameters() -> Iterator[str]:
    """ "Upgrader.check_origin", of each parameter of a public function that takes a callable."""
    for name, function in _functions():
        if isinstance(function, types.FunctionType):
            for parameter, hint in typing.get_type_hints(inspect.unwrap(function), localns=OPTION_TYPES).items():
                keywords = typing.get_type_hints(hint.__args__[0]) if _is_keywords(hint) else {}
                hints = keywords or {parameter: hint}
                yield from (f"{name}.{each}" for each in hints if each != "return" and _takes_callable(hints[each]))


class GivenTests(unittest.TestCase):
    def setUp(self) -> None:
        self.enterContext(warnings.catch_warnings())
        warnings.simplefilter("error", RuntimeWarning)  # of a coroutine that nobody awaits

    def test_none_is_forgotten(self) -> None:
        """Every parameter of a public function that takes a callable is in the table above."""
        inherited = {"dial": "Dialer", "reconnect": "Dialer", "testing.connect": "Dialer"}  # whose options they hand on
        missing = []
        for found in parameters():
            owner, _, option = found.rpartition(".")
            if found not in GIVEN and found not in INTERNAL and f"{inherited.get(owner)}.{option}" not in GIVEN:
                missing.append(found)
        self.assertEqual(missing, [])
        self.assertLess(30, len(list(parameters())))

    def test_asynchronous(self) -> None:
        """`check_origin=async` let a foreign origin in, `before=async` let everybody in, `serve(async)` closed every
        client, `on_message=async` swallowed messages: each is a TypeError at once that names the plain form."""
        for name, give in GIVEN.items():
            for form, given in ASYNC.items():
                if name in BY_FLASK and inspect.iscoroutinefunction(given):
                    continue
                with self.subTest(name, form=form), self.assertRaisesRegex(TypeError, "write def, not async def"):
                    give(given)

    def test_generators(self) -> None:
        """A generator function does nothing when it is called, and a generator is true, too."""
        for name, give in GIVEN.items():
            for form, given in YIELDING.items():
                if name not in ITERATED:
                    with self.subTest(name, form=form), self.assertRaisesRegex(TypeError, "write it without yield"):
                        give(given)

    def test_no_callable(self) -> None:
        """What cannot be called is a TypeError when it is given as well."""
        for name, give in GIVEN.items():
            with self.subTest(name), self.assertRaises(TypeError):
                give(5)

    def test_plain(self) -> None:
        """What does its work when it is called is taken."""
        for name in ("Upgrader.check_origin", "Manager.on_message", "Conn.set_ping_handler.handler", "Heartbeat.pong"):
            for form, given in PLAIN.items():
                with self.subTest(name, form=form):
                    GIVEN[name](given)


def passing(*arguments: object, **others: object) -> Any:
    """A plain function that hands on a coroutine, as many decorators do: nobody can see it before it is called."""
    return coroutine(*arguments)


class ReturnedTests(syncws.testing.LeakChecks):
    """What comes back as a coroutine was never decided, nor done: it is refused, and told, and it is closed."""

    def setUp(self) -> None:
        super().setUp()
        self.enterContext(warnings.catch_warnings())
        warnings.simplefilter("error", RuntimeWarning)  # of a coroutine that nobody awaits

    def refused(self, app: Any, **headers: str) -> int:
        with self.assertRaises(syncws.BadHandshakeError) as caught, syncws.testing.connect(app, headers=headers):
            pass
        return caught.exception.status

    def closed_with(self, app: Any, *messages: str) -> int:
        with self.assertRaises(syncws.CloseError) as caught, syncws.testing.connect(app) as conn:
            for message in messages:
                conn.send(message)
            conn.receive(timeout=PATIENCE)
        return caught.exception.code

    def test_check_origin(self) -> None:
        """A check of the origin that returns a coroutine refuses a foreign origin, and its own too, with an error in
        the log; so does one that returns what is always true and is no yes."""
        for answer in (
            passing,
            lambda request: (False, "no"),
            lambda request: syncws.Response("no", 403),
            lambda _: None,
        ):
            for origin in ("https://evil.example", "http://localhost"):
                app = syncws.wsgi.websocket(handler, upgrader=syncws.Upgrader(check_origin=answer))
                with self.assertLogs("syncws.server") as logs:
                    self.assertEqual(self.refused(app, Origin=origin), 403)
                told = [record for record in logs.records if record.levelname == "ERROR"]
                self.assertEqual(len(told), answer(None) is not None if answer is not passing else 1)

    def test_a_yes_that_is_no_bool(self) -> None:
        """What Python takes for a yes is one, such as a match."""
        upgrader = syncws.Upgrader(check_origin=lambda request: re.match("https://good", request.headers["Origin"]))  # type: ignore[arg-type, return-value]
        app = syncws.wsgi.websocket(handler, upgrader=upgrader)
        with syncws.testing.connect(app, headers={"Origin": "https://good.example"}):
            pass
        with self.assertLogs("syncws.server"):
            self.assertEqual(self.refused(app, Origin="https://evil.example"), 403)

    def test_a_check_that_is_refused_itself(self) -> None:
        """A check that asks another server, and is refused there, is an error here: 500, whatever that one said."""

        def check(request: syncws.Request) -> bool:
            raise syncws.BadHandshakeError("no WebSocket there", syncws.ReceivedResponse(101, "", syncws.Headers()))

        app = syncws.wsgi.websocket(handler, upgrader=syncws.Upgrader(check_origin=check))
        with self.assertLogs("syncws.server", "ERROR"):
            self.assertEqual(self.refused(app, Origin="https://evil.example"), 500)

    def test_subprotocols_and_error(self) -> None:
        """The choice of a subprotocol and the answer to a refusal fail with 500."""
        offer = {"Sec-WebSocket-Protocol": "chat", "Origin": "http://localhost"}
        for options in ({"subprotocols": passing}, {"check_origin": lambda _: False, "error": passing}):
            app = syncws.wsgi.websocket(handler, upgrader=syncws.Upgrader(**options))
            with self.assertLogs("syncws.server", "ERROR") as logs:
                self.assertEqual(self.refused(app, **offer), 500)
            self.assertIn("returned a coroutine", "".join(logs.output))

    def test_before(self) -> None:
        """A check before the handshake lets nobody in, in any framework, and the handler is not called."""
        for name, app in self.apps(passing).items():
            with self.subTest(name), self.silenced(name):
                self.assertEqual(self.refused(app), 500)

    def test_before_of_falcon_returns_something(self) -> None:
        """Elsewhere it would be the response; Falcon's hooks raise, so that a False there let everybody in."""
        for answer in (False, ("no", 401), "no"):
            with self.silenced("falcon"):
                self.assertEqual(self.refused(self.apps(lambda *_, **__: answer)["falcon"]), 500)  # noqa: B023

    def apps(self, before: Callable[..., Any]) -> dict[str, Any]:
        flask_app = flask.Flask("test")
        syncws.flask.Sock(flask_app).route("/", before=before)(handler)
        bottle_app = bottle.Bottle(catchall=True)
        bottle_app.get("/", callback=syncws.bottle.websocket(handler, before=before))
        falcon_app = falcon.App()
        falcon_app.add_route("/", syncws.falcon.WebSocketResource(handler, before=before))
        with pyramid.config.Configurator() as config:
            config.add_route("here", "/")
            config.add_view(syncws.pyramid.websocket_view(handler, before=before), route_name="here")
        return {"flask": flask_app, "bottle": bottle_app, "falcon": falcon_app, "pyramid": config.make_wsgi_app()}

    @contextlib.contextmanager
    def silenced(self, framework: str) -> Iterator[None]:
        """The error is in the framework's own log."""
        with contextlib.redirect_stderr(io.StringIO()) as errors, self.assertLogs(level="ERROR") as logs:
            logging.getLogger().error("so that there is one")
            yield
        self.assertIn("before returned ", errors.getvalue() + "".join(logs.output))

    def test_handlers(self) -> None:
        """A handler that returns a coroutine has not run: 1011, and an error in the log."""
        with self.assertLogs("syncws", "ERROR") as logs:
            self.assertEqual(self.closed_with(syncws.wsgi.websocket(passing)), 1011)
        self.assertIn("returned a coroutine, which nothing runs", logs.output[0])

    def test_server(self) -> None:
        """The same of a Server's handler: 500 before the upgrade; and of the function of `serve`: 1011."""
        with self.assertLogs("syncws.server", "ERROR") as logs, self.served(passing) as url:
            with self.assertRaises(syncws.BadHandshakeError) as refused:
                syncws.dial(url)
            self.assertEqual(refused.exception.status, 500)
        self.assertIn("a coroutine", logs.output[0])
        for result, code in ((passing, 1011), (lambda conn: syncws.Response("no", 401), 1008), (lambda conn: 5, 1000)):
            with mock.patch.object(syncws.Server, "serve_forever", new=mock.Mock(side_effect=OSError)):
                with mock.patch("syncws._server.server.Server", side_effect=StopIteration) as made:
                    with self.assertRaises(StopIteration):
                        syncws.serve(result)
            level = logging.DEBUG if code == 1000 else logging.ERROR
            with (
                self.assertLogs("syncws.server", level),
                self.served(made.call_args.args[0]) as url,
                syncws.dial(url) as conn,
            ):
                with self.assertRaises(syncws.CloseError) as caught:
                    conn.receive(timeout=PATIENCE)
                self.assertEqual(caught.exception.code, code)

    @contextlib.contextmanager
    def served(self, handler: Any) -> Iterator[str]:
        with syncws.testing.running(syncws.Server(handler, port=0)) as server:
            yield f"ws://127.0.0.1:{server.port}/"

    def test_manager(self) -> None:
        """A Manager whose on_message or on_open returns a coroutine swallowed messages: it closes with 1011 instead."""
        for name in ("on_open", "on_message"):
            manager = syncws.Manager(**{name: passing})  # type: ignore[arg-type]
            with self.subTest(name), self.assertLogs("syncws.manager", "ERROR") as logs:
                self.assertEqual(self.closed_with(syncws.wsgi.websocket(manager.run), "hello"), 1011)
            self.assertIn(f"{name} returned a coroutine", logs.output[0])
        manager = syncws.Manager(on_close=passing)
        with self.assertLogs("syncws.manager", "ERROR") as logs:
            with syncws.testing.connect(syncws.wsgi.websocket(manager.run)):
                pass
        self.assertIn("on_close returned a coroutine", logs.output[0])

    def test_heartbeats(self) -> None:
        """A message is no heartbeat because a coroutine is true; nor is a coroutine an answer: 1011."""
        for heartbeat in (syncws.Heartbeat(is_ping=passing), syncws.Heartbeat(is_ping="hello", pong=passing)):
            manager = syncws.Manager(heartbeat=heartbeat)
            with self.assertLogs("syncws.manager", "ERROR") as logs:
                self.assertEqual(self.closed_with(syncws.wsgi.websocket(manager.run), "hello"), 1011)
            self.assertIn("returned a coroutine", logs.output[0])

    def test_handlers_of_control_frames(self) -> None:
        """What they return as a coroutine leaves the read as an error."""
        with syncws.testing.pair() as (conn, far):
            conn.set_ping_handler(passing)
            far.ping()
            with self.assertRaisesRegex(TypeError, "a handler returned a coroutine"):
                conn.receive(timeout=PATIENCE)

    def test_on_end(self) -> None:
        """A callback of the end that returns a coroutine has told nobody: an error in the log, or at once."""
        with syncws.testing.pair() as (conn, _):
            with self.assertLogs("syncws.conn", "ERROR") as logs:
                conn.on_end(passing)
                conn.close_now()
                self.assertTrue(syncws.testing.await_(lambda: bool(logs.output)))
            self.assertIn("a callback returned a coroutine", logs.output[0])
            with self.assertRaisesRegex(TypeError, "a callback returned a coroutine"):
                conn.on_end(passing)

    def test_clients(self) -> None:
        """A Dialer whose proxy or net_dial gives a coroutine raises TypeError, and so does a loop for its headers."""
        for options, name in (({"proxy": passing}, "proxy"), ({"net_dial": passing, "proxy": None}, "net_dial")):
            with self.assertRaisesRegex(TypeError, f"{name} returned a coroutine"):
                syncws.dial("ws://localhost:1/", **options)  # type: ignore[arg-type]
        with self.assertRaisesRegex(TypeError, "headers returned a coroutine"):
            next(syncws.reconnect("ws://localhost:1/", passing))
        with self.assertRaisesRegex(TypeError, "url returned a coroutine"):
            next(syncws.reconnect(passing))
        with self.assertRaisesRegex(TypeError, "give_up decides nothing: it returned a coroutine"):
            next(syncws.reconnect("ws://127.0.0.1:1/", give_up=passing, proxy=None))

    def test_conditions(self) -> None:
        """await_ of a condition that returns a coroutine does not pass at once."""
        with self.assertRaisesRegex(TypeError, "a coroutine"):
            syncws.testing.await_(passing)


if __name__ == "__main__":
    unittest.main()
