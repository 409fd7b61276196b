"""An end is judged by whose it is, and so is a timeout: each place that judges how application code ended, by a table.

The chat of every tutorial, ``for client in clients: client.send(message)``, raises the end of a client that has left in
the handler of the one that spoke. That is a failure of that handler, and nobody's normal end.
"""

from __future__ import annotations

import contextlib
import logging
import time
import unittest
from collections.abc import Callable, Iterator
from typing import Any

import bottle
import falcon
import flask

import syncws
import syncws.bottle
import syncws.falcon
import syncws.flask
import syncws.testing
import syncws.wsgi
from syncws import Conn
from syncws.testing import LeakChecks, pair, running
from tests.pyramids import pyramid
from tests.tasks import PATIENCE, linger_briefly

#: What raises in a handler, given a connection that is its own or another one.
Act = Callable[[Conn], object]


def end(conn: Conn) -> None:
    conn.close(timeout=0)
    conn.send("after the close")


def vanish(conn: Conn) -> None:
    conn.close_now()
    conn.receive()


def time_out(conn: Conn) -> None:
    conn.write_control(syncws.PING, deadline=time.monotonic())


def in_a_with_block(act: Act) -> Act:
    def handler(conn: Conn) -> None:
        with conn:
            act(conn)

    return handler


def in_a_handler_of_pings(act: Act) -> Act:
    """The handler of a ping raises inside the loop over the messages, which ends for its own connection's end only."""

    def handler(conn: Conn) -> None:
        conn.set_ping_handler(lambda data: act(conn))
        for _ in conn:
            pass

    return handler


def once_more(act: Act) -> Act:
    """What a handler of pings has raised is raised by later reads too, and is no more the reader's then."""

    def handler(conn: Conn) -> None:
        conn.set_ping_handler(lambda data: act(conn))
        with contextlib.suppress(Exception):
            conn.receive()
        for _ in conn:
            pass

    return handler


def by_manager(act: Act) -> Act:
    return syncws.Manager(on_open=lambda member: act(member.conn)).run


def by_a_message_of_a_manager(act: Act) -> Act:
    return syncws.Manager(on_message=lambda member, message: act(member.conn)).run


def by_a_ping_of_a_manager(act: Act) -> Act:
    """A heartbeat's timeout is the member's own: not what a handler of pings raises of another connection."""
    manager = syncws.Manager(heartbeat=syncws.Heartbeat(timeout=PATIENCE))

    def handler(conn: Conn) -> None:
        conn.set_ping_handler(lambda data: act(conn))
        manager.run(conn)

    return handler


def plainly(act: Act) -> Act:
    return act


#: Where in a handler it happens.
PLACES = (
    plainly,
    in_a_with_block,
    in_a_handler_of_pings,
    once_more,
    by_manager,
    by_a_message_of_a_manager,
    by_a_ping_of_a_manager,
)


def wsgi_app(handler: Act) -> Any:
    return syncws.wsgi.websocket(handler)


def wsgi_app_in_the_view(handler: Act) -> Any:
    return syncws.wsgi.websocket(handler, detach=False)


def wsgi_app_by_upgrade(handler: Act) -> Any:
    """A view that upgrades by itself, and lets the exception escape to the server."""

    def app(environ: dict[str, Any], start_response: Callable[..., Any]) -> Any:
        conn = syncws.Upgrader().upgrade(environ)
        handler(conn)
        return conn.wsgi_response(environ, start_response)

    return app


def flask_app(handler: Act) -> Any:
    app = flask.Flask("test")
    syncws.flask.Sock(app).route("/")(lambda conn: handler(conn))
    return app


def bottle_app(handler: Act) -> Any:
    app = bottle.Bottle()
    app.get("/", callback=syncws.bottle.websocket(lambda conn: handler(conn)))
    return app


def falcon_app(handler: Act) -> Any:
    app = falcon.App()
    app.add_route("/", syncws.falcon.WebSocketResource(lambda req, conn: handler(conn)))
    return app


def pyramid_app(handler: Act) -> Any:
    with pyramid.config.Configurator() as config:
        config.add_route("here", "/")
        config.add_view(syncws.pyramid.websocket_view(lambda request, conn: handler(conn)), route_name="here")
    return config.make_wsgi_app()


APPS = (wsgi_app, wsgi_app_in_the_view, wsgi_app_by_upgrade, flask_app, bottle_app, falcon_app, pyramid_app)

#: (what happens, whether to the handler's own connection, the code it is closed with, whether that is a failure).
CASES = (
    (end, True, 1000, False),
    (time_out, True, 1011, False),
    (end, False, 1011, True),
    (vanish, False, 1011, True),
    (time_out, False, 1011, True),
)


class OwnerTests(LeakChecks):
    def setUp(self) -> None:
        super().setUp()
        linger_briefly(self)

    @contextlib.contextmanager
    def by_server(self, handler: Act) -> Iterator[Conn]:
        upgrader = syncws.Upgrader()
        server = syncws.Server(lambda request: handler(upgrader.upgrade(request)), port=0)  # type: ignore[arg-type, return-value]
        with running(server), syncws.dial(f"ws://127.0.0.1:{server.port}/") as conn:
            yield conn

    def ending(self, connected: contextlib.AbstractContextManager[Conn]) -> tuple[int, list[logging.LogRecord]]:
        """The code that the client gets, and the errors in the log."""
        logger = logging.getLogger("syncws")
        with self.assertLogs(logger, "DEBUG") as logs:
            logger.debug("so that there is something in the log")
            with connected as conn, self.assertRaises(syncws.CloseError) as caught:
                conn.ping()
                conn.send("hello")
                while True:
                    conn.receive(timeout=PATIENCE)
        return caught.exception.code, [record for record in logs.records if record.levelno >= logging.ERROR]

    def check(self, place: Callable[[Act], Act], connect: Callable[[Act], Any]) -> None:
        for act, own, code, failed in CASES:
            with self.subTest(place.__name__, act=act.__name__, own=own), pair() as (other, _):
                handler = place(act if own else lambda conn: act(other))  # noqa: B023
                closed_with, errors = self.ending(connect(handler))
                self.assertEqual(closed_with, code)
                self.assertEqual(len(errors), failed)
                for record in errors:
                    self.assertIsNotNone(record.exc_info)

    def test_server(self) -> None:
        """The handler of a Server, wherever in it the exception comes from."""
        for place in PLACES:
            self.check(place, self.by_server)

    def test_wsgi(self) -> None:
        """The handler of a WebSocket view, of every framework's too."""
        for app in APPS:
            with self.subTest(app=app.__name__):
                self.check(plainly, lambda handler: syncws.testing.connect(app(handler)))  # noqa: B023

    def test_flask_teardown(self) -> None:
        """Flask's teardown functions, and who listens to got_request_exception, hear of failures only."""
        for act, own, _, failed in CASES:
            if act is time_out:
                continue
            with self.subTest(act.__name__, own=own), pair() as (other, _):
                app = flask.Flask("test")
                heard: list[BaseException | None] = []
                app.teardown_request(heard.append)
                handler: Act = act if own else lambda conn: act(other)  # noqa: B023
                syncws.flask.Sock(app).route("/")(lambda conn: handler(conn))  # noqa: B023
                self.ending(syncws.testing.connect(app))
                self.assertEqual([error is not None for error in heard], [False, failed])

    def test_close_read(self) -> None:
        """The thread of close_read tells the end of another connection in a handler of pings, and closes with 1011."""
        for act, own, _, failed in CASES:
            if act is time_out and own:
                continue  # a handler that was too slow by itself
            with self.subTest(act.__name__, own=own), pair() as (other, _), pair() as (conn, far):
                conn.set_ping_handler(lambda data: act(conn if own else other))  # noqa: B023
                with self.assertLogs("syncws.conn", "DEBUG") as logs:
                    conn.close_read()
                    far.ping()
                    with self.assertRaises(syncws.CloseError) as caught:
                        far.receive(timeout=PATIENCE)
                    self.assertEqual(caught.exception.code, 1011 if failed else 1000)
                    self.assertTrue(syncws.testing.await_(lambda: conn.closed))
                errors = [record for record in logs.records if record.levelno >= logging.ERROR]
                self.assertEqual(len(errors), failed)

    def test_the_chat_of_every_tutorial(self) -> None:
        """Ann leaves, Bob speaks: Bob is not closed with 1000 while the log says nothing."""
        clients: list[Conn] = []

        def chat(conn: Conn) -> None:
            clients.append(conn)
            for message in conn:
                for client in clients:
                    client.send(message)

        with self.assertLogs("syncws.server", "ERROR") as logs, self.by_server(chat) as bob:
            self.assertTrue(syncws.testing.await_(lambda: len(clients) == 1))
            url = f"ws://127.0.0.1:{bob.remote_address[1]}/"
            with syncws.dial(url):
                self.assertTrue(syncws.testing.await_(lambda: len(clients) == 2))
            self.assertTrue(syncws.testing.await_(lambda: clients[1].closed))
            clients.reverse()  # Ann is first in the list
            bob.send("hello")
            with self.assertRaises(syncws.CloseError) as caught:
                bob.receive(timeout=PATIENCE)
        self.assertEqual(caught.exception.code, 1011)
        self.assertIs(logs.records[0].exc_info[0], syncws.CloseError)  # type: ignore[index]


if __name__ == "__main__":
    unittest.main()
