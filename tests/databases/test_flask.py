"""Flask: a pool of fifteen connections to a database serves any number of WebSockets, and the pages beside them."""

from __future__ import annotations

import contextlib
import importlib.util
import logging
import queue
import sqlite3
import tempfile
from pathlib import Path
from typing import Any

import flask

import syncws
from syncws.flask import Sock
from syncws.testing import LeakChecks, await_, connect, running
from tests.partners import need
from tests.tasks import PATIENCE

from . import run_blocks


class DatabaseCase(LeakChecks):
    def setUp(self) -> None:
        super().setUp()
        folder = tempfile.TemporaryDirectory()
        self.addCleanup(folder.cleanup)
        self.database = Path(folder.name) / "shop"

    def sockets(self, app: flask.Flask, path: str, count: int) -> tuple[list[syncws.Conn], str]:
        """So many clients of one path, connected until the end of the test; and where the application is served."""
        server = self.enterContext(running(syncws.Server(wsgi_app=app, host="127.0.0.1", port=0)))
        url = f"ws://127.0.0.1:{server.port}{path}"
        return [self.enterContext(syncws.dial(url)) for _ in range(count)], url


class SQLAlchemyTests(DatabaseCase):
    """The blocks of the page, with Flask-SQLAlchemy and its default pool of 5 and 10 more."""

    def setUp(self) -> None:
        need(importlib.util.find_spec("flask_sqlalchemy") is not None, "flask-sqlalchemy is not installed")
        super().setUp()
        self.page: dict[str, Any] = {"__name__": "shop", "DATABASE": f"sqlite:///{self.database}"}
        run_blocks("flask", self.page)
        self.app, self.db = self.page["app"], self.page["db"]
        with self.app.app_context():
            self.db.create_all()
            self.db.session.add(self.page["Item"](name="green tea"))
            self.db.session.commit()
            self.pool = self.db.engine.pool
        self.addCleanup(self.pool.dispose)

        @self.app.get("/count")
        def count() -> str:
            return str(self.page["stock"]())

    def check_pages_are_served(self) -> None:
        """A page that asks the database gets its answer, though the WebSockets are open."""
        self.assertTrue(await_(lambda: self.pool.checkedout() == 0))
        self.assertEqual(self.app.test_client().get("/count").data, b"1")

    def test_sockets_that_ask(self) -> None:
        """A pool of database connections was eaten by 15 sockets: with the idle handler twenty of them hold none."""
        clients, _ = self.sockets(self.app, "/search", 20)
        for client in clients:
            client.send("tea")
            self.assertEqual(client.receive_json(timeout=PATIENCE), ["green tea"])
        self.check_pages_are_served()

    def test_sockets_that_push(self) -> None:
        """A handler that never reads has a session for each message: twenty of them hold none between two."""
        clients, _ = self.sockets(self.app, "/stock", 20)
        for client in clients:
            self.assertEqual(client.receive_json(timeout=PATIENCE), 1)
        self.check_pages_are_served()

    def test_before(self) -> None:
        """What `before` found out is handed on as an id, and what the handler commits is kept."""
        with self.assertRaises(syncws.BadHandshakeError) as refused, connect(self.app, "/basket"):
            pass
        self.assertEqual(refused.exception.status, 401)
        browser = self.app.test_client()
        with browser.session_transaction() as visit:
            visit["user"] = "ann"
        cookie = browser.get_cookie("session")
        assert cookie is not None
        with connect(self.app, "/basket", headers={"Cookie": f"session={cookie.value}"}) as client:
            client.send("cup")
            self.assertEqual(client.receive(timeout=PATIENCE), "kept")
        with self.app.app_context():
            item = self.page["Item"]
            self.assertEqual(self.db.session.scalar(self.db.select(item.name).filter_by(id=2)), "cup of ann")

    def test_tests(self) -> None:
        """The test that the page shows passes."""
        run_blocks("flask-tests", self.page)

    def test_without_it(self) -> None:
        """Without the idle handler each socket keeps a connection until the pool is empty, as the page says."""
        from flask_sqlalchemy import SQLAlchemy

        app = flask.Flask("hoarder")
        app.config["SQLALCHEMY_DATABASE_URI"] = f"sqlite:///{self.database}"
        app.config["SQLALCHEMY_ENGINE_OPTIONS"] = {"pool_size": 1, "max_overflow": 1, "pool_timeout": 0.1}
        db = SQLAlchemy(app)

        @Sock(app).route("/ask")
        def ask(conn: syncws.Conn) -> None:
            for _ in conn:
                conn.send(str(db.session.scalar(db.text("SELECT 1"))))

        with self.assertLogs("syncws.wsgi", logging.ERROR) as logs:
            clients, _ = self.sockets(app, "/ask", 3)
            for client in clients:
                client.send("ask")
            ends = []
            for client in clients:
                with contextlib.suppress(syncws.CloseError):
                    client.receive(timeout=PATIENCE)
                ends.append(client.end and getattr(client.end, "code", None))
        self.assertEqual(sorted(ends, key=bool), [None, None, 1011])
        self.assertIn("QueuePool limit of size 1 overflow 1 reached", logs.output[0])
        for client in clients:
            client.close()
        with app.app_context():
            pool = db.engine.pool
        self.assertTrue(await_(lambda: pool.checkedout() == 0), "the end of a handler gives everything back")
        pool.dispose()


class OwnPoolTests(DatabaseCase):
    """The same with a pool of one's own, where Flask alone is installed."""

    def test_pool(self) -> None:
        """A pool of two connections, which a teardown gives back, serves five sockets and a page: the idle handler
        gives back what the teardown would give back hours later."""
        free: queue.Queue[sqlite3.Connection] = queue.Queue()
        for _ in range(2):
            connection = sqlite3.connect(self.database, check_same_thread=False)
            self.addCleanup(connection.close)
            free.put(connection)
        app = flask.Flask("pool")

        def ask() -> str:
            if "connection" not in flask.g:
                flask.g.connection = free.get(timeout=PATIENCE)
            return str(flask.g.connection.execute("SELECT 1").fetchone()[0])

        def release(_: object = None) -> None:
            if (connection := flask.g.pop("connection", None)) is not None:
                free.put(connection)

        app.teardown_appcontext(release)
        app.add_url_rule("/page", "page", ask)

        @Sock(app).route("/ask")
        def handler(conn: syncws.Conn) -> None:
            conn.set_idle_handler(release)
            for _ in conn:
                conn.send(ask())

        clients, _ = self.sockets(app, "/ask", 5)
        for client in clients:
            client.send("ask")
            self.assertEqual(client.receive(timeout=PATIENCE), "1")
        self.assertEqual(app.test_client().get("/page").data, b"1")
        self.assertTrue(await_(lambda: free.qsize() == 2))
