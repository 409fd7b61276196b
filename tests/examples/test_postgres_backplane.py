"""The backplane on PostgreSQL passes what every backplane has to pass, on a real server."""

from __future__ import annotations

import contextlib
import os

import syncws
from syncws._bus.cases.fixture import Fixture
from syncws.errors import BackplaneTimeout
from syncws.testing import BackplaneCases, LeakChecks, pair
from tests.partners import heavy
from tests.postgres import PostgresServer, need_postgres
from tests.tasks import PATIENCE


class OnPostgres(LeakChecks):
    """A server for all tests of a class."""

    @classmethod
    def setUpClass(cls):
        super().setUpClass()
        need_postgres()
        cls.server = cls.enterClassContext(PostgresServer())

    def setUp(self):
        super().setUp()
        self.server.start()  # without effect while it runs
        self.prefix = os.urandom(4).hex()

    def make(self, **options):
        from examples.postgres_backplane import PostgresBackplane

        return PostgresBackplane(self.server.conninfo, prefix=self.prefix, **options)

    def query(self, command, *values):
        import psycopg

        with contextlib.closing(psycopg.connect(self.server.conninfo, autocommit=True)) as connection:
            return connection.execute(command, values).fetchall()


@heavy
class PostgresCases(OnPostgres, BackplaneCases):
    """What every backplane has to pass."""

    def break_bus(self):
        self.server.kill()

    def mend_bus(self):
        self.server.start()

    def inject(self, channel, data):
        self.query("SELECT pg_notify(%s, %s)", self.make().name(channel), data.decode("latin-1").replace("\0", "0"))


class PostgresTests(OnPostgres, Fixture):
    """What is special about it."""

    def test_large_messages(self):
        """A message that no notification takes is put into a table, from which it is deleted a minute later."""
        here, there = self.join(), self.join(self.channel)
        sent = [os.urandom(6_000), os.urandom(100_000)]
        self.send(here, sent)
        self.assert_came(there, sent, "")
        self.assertEqual(self.query("SELECT count(*) FROM syncws_bodies WHERE length(body) >= 6000")[0][0], 2)
        self.query("UPDATE syncws_bodies SET at = at - interval '2 minutes' RETURNING 1")
        self.send(here, [os.urandom(6_000)])
        self.wait(there, lambda: there.sink.count(self.channel) == 3, "the third")
        self.assertEqual(self.query("SELECT count(*) FROM syncws_bodies")[0][0], 1)

    def test_a_body_that_is_gone(self):
        """A large message that was deleted before it was read is a loss, which is told."""
        there = self.join(self.channel)
        self.query("SELECT pg_notify(%s, %s)", self.make().name(self.channel), f"{'0' * 16}-1:@")
        self.wait(there, lambda: there.sink.story == ["up", "down", "up"], "a loss")
        self.assertRegex(there.sink.reasons[0], "deleted before it was read|syncws_bodies")

    def test_connections_that_are_ended(self):
        """When the database ends all connections, each is told, and what is published then arrives."""
        here, there = self.join(), self.join(self.channel)
        self.query(
            "SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE pid <> pg_backend_pid() AND usename = 'app'"
        )
        for node in (here, there):
            self.wait(node, lambda node=node: node.sink.story == ["up", "down", "up"], "a loss")
        self.send(here, [b"1"])
        self.assert_came(there, [b"1"], "")

    def test_a_server_that_hangs(self):
        """A server that answers nothing is lost after the patience; when it goes on, so does the backplane."""
        node = self.start(self.make(patience=0.5, beat=0.1))
        self.wait_until_up(node)
        outlet = self.make(patience=0.5).outlet()
        self.addCleanup(outlet.close)
        outlet.send([("a", b"1")], PATIENCE)
        self.server.stop()
        self.addCleanup(self.server.go_on)
        self.wait(node, lambda: node.sink.story == ["up", "down"], "a loss")
        with self.assertRaises(BackplaneTimeout):
            outlet.send([("a", b"1")], 0.1)
        self.server.go_on()
        self.wait_until_up(node)

    def test_managers(self):
        """Two Managers reach each other's members over it."""
        managers = [syncws.Manager(backplane=self.make()) for _ in range(2)]
        for manager in managers:
            self.addCleanup(manager.end)
        clients = []
        for number, manager in enumerate(managers):
            server, client = self.enterContext(pair())
            manager.register(server, id=f"user {number}", rooms=["lobby"])
            clients.append(client)
        managers[0].broadcast("hello", room="lobby")
        managers[0].send("user 1", "you")
        self.assertEqual([client.receive(timeout=PATIENCE) for client in clients], ["hello", "hello"])
        self.assertEqual(clients[1].receive(timeout=PATIENCE), "you")
