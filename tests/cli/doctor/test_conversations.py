"""The checks that talk: echoes, limits, pings, closing, and how many connections there can be."""

from __future__ import annotations

import contextlib
import errno
import unittest
from typing import Any
from unittest import mock

import syncws
from syncws._cli.doctor import conversations
from syncws._cli.doctor.finding import Finding, Severity
from syncws.testing import running
from tests.partners import heavy

from .support import DoctorCase


class ApplicationTests(DoctorCase):
    """Faults of the application itself, without anything in front."""

    def look_at(self, *arguments: str, **options: Any) -> list[dict[str, Any]]:
        return self.look(f"ws://127.0.0.1:{self.application(**options)}/", *arguments)

    def test_well(self) -> None:
        """Nothing is wrong with a plain echo."""
        self.assert_well(self.look_at("--idle", "0.2", "--health", "/health"), "request")

    def test_an_end(self) -> None:
        """An endpoint that says what it has to say, and closes, is not said to be at fault for how it treats pings."""
        self.talk = syncws.Conn.close  # type: ignore[method-assign, assignment]
        found = self.look_at("--connections", "1")
        self.assert_well(found, "request", "echo", "ping")
        self.assertIn("Pings were not looked at.", next(each["seen"] for each in found if each["check"] == "ping"))

    def test_descriptors_of_this_side(self) -> None:
        """The doctor takes as many descriptors as it may; too few of them are no fault of the deployment."""
        place = mock.Mock()
        place.connection.side_effect = [contextlib.nullcontext(), OSError(errno.EMFILE, "Too many open files")]
        with mock.patch.object(conversations, "raise_limit") as raise_limit:
            (finding,) = conversations.check_parallel(place, 3, lambda: iter(()))
        self.assertGreater(raise_limit.call_args.args[0], 3)
        self.assertEqual((finding.severity, finding.mending), (Severity.NOTE, ()))
        self.assertEqual(finding.title, "1 connection can be open, and more were not tried")

    def test_read_limit(self) -> None:
        """Its limit is found, and its close code told."""
        found = self.look_at(read_limit=64 << 10)
        self.assert_found(
            found, "large", "64 KiB does. The application closes with 1009", "app", "read_limit", "warning"
        )

    def test_no_pong(self) -> None:
        """A handler that throws pings away."""

        def talk(conn: syncws.Conn) -> None:
            conn.set_ping_handler(lambda _data: None)
            DoctorCase.talk(self, conn)

        self.talk = talk  # type: ignore[method-assign]
        found = self.look_at("--patience", "0.5", "--idle", "0.1")
        self.assertIn("ok", [each["severity"] for each in found if each["check"] == "idle"])
        self.assert_found(found, "ping", "is not answered within 0.5 s", "app", "set_ping_handler(None)")

    def test_no_echo(self) -> None:
        """What needs an echo is left out, and the rest is looked at."""

        def talk(conn: syncws.Conn) -> None:
            for _ in conn:
                pass

        self.talk = talk  # type: ignore[method-assign]
        found = self.look_at("--patience", "0.5")
        self.assert_well(found, "request", "echo")
        checks = {each["check"] for each in found}
        self.assertFalse(checks & {"early", "fragments", "large", "latency"})
        self.assertLessEqual({"ping", "close", "parallel", "plain-http"}, checks)

    def test_closes_at_once(self) -> None:
        """An endpoint that closes when it is spoken to is no echo, and no traceback."""
        self.talk = lambda conn: conn.close(4001, "no\x1b[31m")  # type: ignore[method-assign]
        found = self.look_at("--patience", "0.5")
        (echo,) = [each for each in found if each["check"] == "echo"]
        self.assertEqual((echo["severity"], "\x1b" in str(found)), ("note", False))

    def test_late(self) -> None:
        """An application that answers a message only with the next one holds them back."""

        def talk(conn: syncws.Conn) -> None:
            before = ""
            for message in conn:
                if before:
                    conn.send(before)
                before = str(message)

        self.talk = talk  # type: ignore[method-assign]
        found = self.look_at("--patience", "0.5")
        self.assert_found(found, "echo", "only after the next one", "nginx", "tcp_nodelay")

    def test_full(self) -> None:
        """An application with room for three says so."""
        upgrader = syncws.Upgrader()

        def echo(request: syncws.Request) -> None:
            with upgrader.upgrade(request) as conn:
                self.talk(conn)

        server = self.enterContext(running(syncws.Server(echo, "127.0.0.1", 0, max_connections=3)))
        found = self.look(f"ws://127.0.0.1:{server.port}/")
        self.assert_found(found, "parallel", "can be open, and no more", "gunicorn", "--threads")

    def test_cut_at_the_close(self) -> None:
        """An application that cuts in place of closing is found."""

        def talk(conn: syncws.Conn) -> None:
            conn.set_close_handler(lambda _code, _reason: conn.close_now())
            DoctorCase.talk(self, conn)

        self.talk = talk  # type: ignore[method-assign]
        found = self.look_at("--patience", "1")
        self.assert_found(found, "close", "is not answered", "app", "closing handshake")


class PlayedTests(unittest.TestCase):
    """What deployments do that are not there: the place is played."""

    def found(self, check: Any, *arguments: Any, **played: Any) -> Finding:
        """The one finding of a check, where these functions of the module are others."""
        with mock.patch.multiple(conversations, **played):
            (finding,) = check(mock.MagicMock(patience=1.0), *arguments)
        assert isinstance(finding, Finding)
        return finding

    def test_messages_that_do_not_come_back(self) -> None:
        """Nothing comes, or the connection ends in place of an answer."""
        lost = mock.Mock(return_value=False)
        ended = mock.Mock(side_effect=syncws.CloseError(1011, "failed"))
        for check, arguments, heard, says in (
            (conversations.check_early, (), lost, "is lost"),
            (conversations.check_early, (), ended, "is lost"),
            (conversations.check_fragments, (), lost, "does not come back"),
            (conversations.check_fragments, (), ended, "ends the connection"),
            (conversations.check_large, (4096,), lost, "4 KiB does not come back"),
            (conversations.check_large, (4000,), ended, "4,000 bytes does not come back"),
            (conversations.check_latency, (), lost, "is not back within 1 s"),
        ):
            with self.subTest(says):
                self.assertIn(says, self.found(check, *arguments, heard=heard).title)

    def test_late_messages(self) -> None:
        """Small messages that all are late are a warning."""
        found = self.found(conversations.check_latency, heard=mock.Mock(return_value=True), _LATE=-1.0)
        self.assertEqual(found.severity, Severity.WARNING)

    def test_plain_requests(self) -> None:
        """A plain request that fails, is not answered, or is refused for want of room, while WebSockets are open."""
        answer = mock.Mock(status=503, __str__=lambda _self: "503 Service Unavailable")
        for asked, says, why in (
            (mock.Mock(return_value=answer), "is answered 503", ""),
            (mock.Mock(side_effect=TimeoutError()), "is not answered", "no answer in time"),
            (
                mock.Mock(side_effect=ConnectionRefusedError(errno.ECONNREFUSED, "refused")),
                "is not answered",
                "refused",
            ),
        ):
            with self.subTest(says):
                found = self.found(conversations.check_plain_http, "/health", ask=asked)
                self.assertEqual(found.severity, Severity.FAULT)
                self.assertIn(says, found.title)
                self.assertIn(why, found.seen)


#: Plain WSGI: an echo that holds its worker.
_IN_VIEW = """
import syncws

upgrader = syncws.Upgrader(ping_interval=None)

def echo(conn):
    for message in conn:
        conn.send(message)

def app(environ, start_response):
    if "HTTP_UPGRADE" in environ:
        return upgrader.serve(environ, echo, detach=False)(environ, start_response)
    start_response("200 OK", [("Content-Length", "0")])
    return []
"""


@heavy
class GunicornTests(DoctorCase):
    """Workers that serve one connection at a time."""

    def test_one_sync_worker(self) -> None:
        """The view holds the only worker: a second connection is not answered."""
        place = self.gunicorn(_IN_VIEW, "-k", "sync", "--workers", "1")
        found = self.look(f"ws://{place}/", "--patience", "3")
        self.assert_found(found, "parallel", "1 connection can be open", "gunicorn", "-k gthread --threads 8")

    def test_one_thread(self) -> None:
        """So does a gthread worker with one thread."""
        place = self.gunicorn(_IN_VIEW, "-k", "gthread", "--threads", "1")
        found = self.look(f"ws://{place}/", "--patience", "3")
        self.assert_found(found, "parallel", "1 connection can be open", "app", "detach=None")

    def test_detached(self) -> None:
        """Detached, the same single worker serves all of them, and plain requests."""
        place = self.gunicorn(_IN_VIEW.replace(", detach=False", ""), "-k", "sync", "--workers", "1")
        self.assert_well(self.look(f"ws://{place}/", "--idle", "1"), "request")


@heavy
class NginxTests(DoctorCase):
    """nginx with too few connections."""

    def test_worker_connections(self) -> None:
        """nginx has connections for two WebSockets, and not for the third."""
        place = self.nginx(self.application(), connections=7)
        found = self.look(f"ws://{place}/")
        self.assert_found(found, "parallel", "and no more", "nginx", "worker_connections 10240;")
