"""browsers.py: a WebSocket comes from the browser that a framework's test client plays."""

from __future__ import annotations

import unittest

import flask
import werkzeug.test

import syncws
from syncws.flask import Sock
from syncws.testing import LeakChecks, connect, serving
from tests.tasks import PATIENCE


def application() -> flask.Flask:
    """A page that logs in, and a WebSocket that tells who has, and which cookies came."""
    app = flask.Flask("visits")
    app.secret_key = "secret"

    @app.get("/login")
    def login() -> flask.Response:
        flask.session["user"] = "ann"
        response = flask.Response("welcome")
        response.set_cookie("theme", "dark blue", path="/who")
        response.set_cookie("elsewhere", "1", path="/other")
        return response

    @Sock(app).route("/who")
    def who(conn: syncws.Conn) -> None:
        conn.send_json([flask.session.get("user"), flask.request.cookies.get("theme"), len(flask.request.cookies)])

    return app


class BrowserTests(LeakChecks):
    def test_flask(self) -> None:
        """Who has logged in with Flask's test client is known to the WebSocket, in memory and on a server; each cookie
        goes to its path only."""
        app = application()
        browser = app.test_client()
        browser.get("/login")
        with connect(app, "/who?x=1", browser=browser) as conn:
            self.assertEqual(conn.receive_json(timeout=PATIENCE), ["ann", "dark blue", 2])
        with serving(wsgi_app=app) as live:
            conn = live.dial("/who", browser=browser)
            self.assertEqual(conn.receive_json(timeout=PATIENCE), ["ann", "dark blue", 2])
        self.assertEqual(browser.get("/nowhere").status_code, 404)  # it works as before

    def test_werkzeug(self) -> None:
        """A client of werkzeug is one too; headers that were given go along."""
        app = application()
        browser = werkzeug.test.Client(app)
        browser.set_cookie("theme", "red")
        with connect(app, "/who", headers={"Origin": "http://localhost"}, browser=browser) as conn:
            self.assertEqual(conn.receive_json(timeout=PATIENCE), [None, "red", 1])

    def test_a_stranger(self) -> None:
        """A client that has no cookies sends none."""
        app = application()
        with connect(app, "/who", browser=app.test_client()) as conn:
            self.assertEqual(conn.receive_json(timeout=PATIENCE), [None, None, 0])

    def test_wrong_arguments(self) -> None:
        """What is no test client is refused, and so are cookies from two sides."""
        app = application()
        with self.assertRaisesRegex(TypeError, "browser is a test client, such as Flask's"):
            connect(app, "/who", browser=app).__enter__()
        with self.assertRaisesRegex(ValueError, "give either browser= or a Cookie header"):
            connect(app, "/who", headers={"cookie": "a=1"}, browser=app.test_client()).__enter__()


if __name__ == "__main__":
    unittest.main()
