"""The checks that wait: connections that are idle, and restarts."""

from __future__ import annotations

import time
from typing import Any
from unittest import mock

import syncws
from syncws._cli.doctor import patience
from tests.partners import heavy

from .support import DoctorCase, free_port


class IdleTests(DoctorCase):
    """An application that closes what is idle."""

    def test_idle_closes(self) -> None:
        """An application that closes what is idle says so with its code."""

        def talk(conn: syncws.Conn) -> None:
            try:
                while True:
                    conn.send(conn.receive(timeout=0.3))
            except syncws.ReadTimeout:
                conn.close(4008, "too quiet")

        self.talk = talk  # type: ignore[method-assign]
        found = self.look(f"ws://127.0.0.1:{self.application()}/", "--idle", "5")
        self.assert_found(found, "idle", "closed with 4008 after", "app", "ping_interval", "warning")

    def test_cuts(self) -> None:
        """An application that cuts what is idle is found, and whether it has sent a ping meanwhile."""

        def talk(conn: syncws.Conn) -> None:
            try:
                while True:
                    conn.send(conn.receive(timeout=0.3))
            except syncws.ReadTimeout:
                conn.close_now()

        self.talk = talk  # type: ignore[method-assign]
        found = self.look(f"ws://127.0.0.1:{self.application(ping_interval=None)}/", "--idle", "5")
        self.assert_found(found, "idle", "no ping", "app", "ping_interval")

    def test_it_pings(self) -> None:
        """Where the server pings, an idle connection lives, and the first ping is told."""
        found = self.look(f"ws://127.0.0.1:{self.application(ping_interval=0.1)}/", "--idle", "0.3")
        (idle,) = [each for each in found if each["check"] == "idle"]
        self.assertIn("the server pings, first after 0 s", idle["title"])

    def test_it_does_not_work_any_more(self) -> None:
        """A connection that was idle, and on which nothing is answered then, counts as cut."""
        place = mock.MagicMock(patience=0.1)
        conn = place.connection.return_value.__enter__.return_value
        conn.receive.side_effect = lambda timeout: (time.sleep(timeout), self.raise_timeout())
        (found,) = patience.check_idle(place, 0.1, lambda text: None)
        self.assertIn("a ping is not answered any more", found.seen)

    def raise_timeout(self) -> None:
        raise syncws.ReadTimeout("nothing came")


#: Plain WSGI: an echo by simple-websocket, which holds its worker.
_OTHER_LIBRARY = """
import simple_websocket

def app(environ, start_response):
    server = simple_websocket.Server(environ)
    try:
        while True:
            server.send(server.receive())
    except simple_websocket.ConnectionClosed:
        raise StopIteration  # as Flask-Sock ends a view under gunicorn
"""


@heavy
class CutTests(DoctorCase):
    """What is in front, or gunicorn, cuts what is idle."""

    def test_idle(self) -> None:
        """proxy_read_timeout that is shorter than the silence of an application without pings."""
        place = self.nginx(self.application(ping_interval=None), lines="proxy_read_timeout 1s;")
        found = self.look(f"ws://{place}/", "--idle", "4")
        self.assert_found(found, "idle", "is cut after", "nginx", "proxy_read_timeout 3600s;")
        self.assert_found(found, "idle", "no ping", "app", "ping_interval")

    def test_haproxy_tunnel(self) -> None:
        """HAProxy cuts what is silent for `timeout tunnel`."""
        port, app = free_port(), self.application(ping_interval=None)
        place = self.haproxy(
            "defaults\n mode http\n timeout connect 5s\n timeout client 60s\n timeout server 60s\n timeout tunnel 1s\n"
            f"listen all\n bind 127.0.0.1:{port}\n server app 127.0.0.1:{app}\n",
            port,
        )
        found = self.look(f"ws://{place}/", "--idle", "4", "--front", "haproxy")
        self.assert_found(found, "idle", "is cut after", "haproxy", "timeout tunnel 1h")
        (idle,) = [each for each in found if each["check"] == "idle"]
        self.assertNotIn("nginx", idle["mending"])

    def test_timeout(self) -> None:
        """Another library's view lets gunicorn kill its worker, and the connection with it."""
        place = self.gunicorn(_OTHER_LIBRARY, "-k", "sync", "--timeout", "1", "--graceful-timeout", "1")
        found = self.look(f"ws://{place}/", "--connections", "1", "--idle", "5", "--patience", "3")
        self.assert_found(found, "idle", "is cut after", "gunicorn", "--timeout")


class RestartTests(DoctorCase):
    def restart(self, code: int) -> list[dict[str, Any]]:
        """The findings of a look that waits for a restart, which comes at once."""

        def talk(conn: syncws.Conn) -> None:
            for message in conn:
                conn.send(message)

        restarting = syncws.Upgrader()
        seen: list[syncws.Conn] = []

        def echo(request: syncws.Request) -> None:
            with restarting.upgrade(request) as conn:
                seen.append(conn)
                if len(seen) > self.earlier:
                    conn.close_now() if code == 1006 else conn.close(code)
                talk(conn)

        self.earlier = 10_000
        port = self.serving(echo)
        self.look(f"ws://127.0.0.1:{port}/")
        self.earlier = 2 * len(seen)  # as many as the same look takes again
        return self.look(f"ws://127.0.0.1:{port}/", "--watch-restart", "20")

    def test_1001(self) -> None:
        """Clients that are told can come back when they like."""
        (found,) = [each for each in self.restart(1001) if each["check"] == "restart"]
        self.assertEqual((found["severity"], found["title"]), ("ok", "clients are told 1001 when the service restarts"))

    def test_1006(self) -> None:
        """Clients that are cut are a fault."""
        self.assert_found(self.restart(1006), "restart", "1006", "app", "SIGTERM")

    def test_no_restart(self) -> None:
        """Where nothing happens, that is said."""
        found = self.look(f"ws://127.0.0.1:{self.application()}/", "--watch-restart", "0.1")
        (restart,) = [each for each in found if each["check"] == "restart"]
        self.assertEqual(restart["title"], "nothing was restarted within 0.1 s")
