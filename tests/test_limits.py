"""Limits: how often they were breached, and that the page which lists them is right."""

from __future__ import annotations

import ast
import inspect
import re
import socket
import ssl
import unittest
from collections import Counter
from collections.abc import Callable
from dataclasses import fields, is_dataclass
from pathlib import Path
from typing import Any, get_type_hints
from unittest import mock

import syncws
from syncws._base import counters
from syncws._base.unfinished import unfinished
from syncws._conn.queue import SendQueue
from syncws._http.handshake import HandshakeOptions
from syncws._wsgi.guests import Full, Guests
from syncws.testing import LeakChecks, await_, pair, peer, running
from tests.tasks import PATIENCE, Task
from tests.wsgi.test_guests import taken

from .source import modules, rows

PAGE = (Path(__file__).resolve().parent.parent / "docs" / "limits.md").read_text()

# What may have options that are limits.
TAKERS: list[type | Callable[..., Any]] = [
    syncws.ConnOptions,
    syncws.Upgrader,
    syncws.Upgrader.serve,
    syncws.Dialer,
    syncws.Server,
    syncws.Manager,
    syncws.Heartbeat,
    syncws.LocalBackplane,
    syncws.RedisBackplane,
    syncws.reconnect,
    syncws.Request.body,
]

# Options that are numbers and no limits, and why.
NO_LIMITS = {
    "ConnOptions.write_buffer_size": "when a streamed message leaves",
    "Upgrader.compression_level": "how much work is done",
    "Upgrader.compression_threshold": "what is worth compressing",
    "Dialer.compression_level": "how much work is done",
    "Dialer.compression_threshold": "what is worth compressing",
    "Server.port": "where it listens",
    "Server.workers": "how many processes there are",
    "Server.drain_seconds": "how long a restart takes",
    "Manager.join_timeout": "after it nothing is refused: a join goes on",
    "Manager.send_queue": "of its members, in place of ConnOptions.send_queue",
    "Manager.send_queue_bytes": "of its members, in place of ConnOptions.send_queue_bytes",
    "RedisBackplane.beat": "how often this side looks",
    "reconnect.min_delay": "how long this side waits",
    "reconnect.max_delay": "how long this side waits",
    "reconnect.reset_after": "what counts as a success",
    "reconnect.attempts": "how often this side tries",
    "reconnect.timeout": "of each attempt, in place of Dialer.handshake_timeout",
}

_UNITS = {"": 1, "bytes": 1, "KiB": 1 << 10, "MiB": 1 << 20, "GiB": 1 << 30, "s": 1}


class BreachesTests(unittest.TestCase):
    def test_breaches_are_told(self) -> None:
        """`syncws.breaches` tells what was counted in this process; the dict is the caller's own."""
        before = syncws.breaches().get("read_limit", 0)
        counters.breaches.add("read_limit")
        told = syncws.breaches()
        self.assertEqual(told["read_limit"], before + 1)
        told.clear()
        self.assertEqual(syncws.breaches()["read_limit"], before + 1)


class CountTests(LeakChecks):
    """A breach is counted once, under the name on the page; traffic within the limits is not counted."""

    def setUp(self) -> None:
        super().setUp()
        self._before = syncws.breaches()

    def check(self, **expected: int) -> None:
        """What was counted since the last look, and nothing else."""
        for name in expected:
            await_(lambda name=name: name in self._since())  # type: ignore[misc]
        self.assertEqual(self._since(), expected)
        self._before = syncws.breaches()

    def _since(self) -> dict[str, int]:
        now = Counter(syncws.breaches())
        now.subtract(self._before)
        return {name: count for name, count in now.items() if count}

    def ask(self, server: syncws.Server, request: str) -> bytes:
        """The status of the server's answer to these bytes."""
        with socket.create_connection(("127.0.0.1", server.port), timeout=PATIENCE) as client:
            client.sendall(request.encode())
            return client.recv(100).split(b" ")[1]

    def test_heads(self) -> None:
        """A head that is too long, and one of too many lines."""
        server = syncws.Server(lambda _: syncws.Response(), "127.0.0.1", 0, max_head_size=100, max_headers=2)
        with running(server):
            self.assertEqual(self.ask(server, "GET / HTTP/1.1\r\nHost: a\r\n\r\n"), b"200")
            self.check()
            self.assertEqual(self.ask(server, f"GET /{'a' * 100} HTTP/1.1\r\n\r\n"), b"431")
            self.check(max_head_size=1)
            self.assertEqual(self.ask(server, "GET / HTTP/1.1\r\nHost: a\r\nA: a\r\nB: b\r\n\r\n"), b"431")
            self.check(max_headers=1)

    def test_late_heads(self) -> None:
        """A client that says nothing, over TLS too, one that stops in its head, the first or a later one; but not one
        that leaves, and not a kept connection on which nothing more comes."""
        head = b"GET / HTTP/1.1\r\nHost: a\r\n\r\n"
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        for first, then, tls, expected in (
            (b"", b"", None, {"handshake_timeout": 1}),
            (b"", b"", context, {"handshake_timeout": 1}),
            (head[:9], b"", None, {"handshake_timeout": 1}),
            (head, head[:9], None, {"keep_alive_timeout": 1}),
            (head, b"", None, {}),
        ):
            options = {"handshake_timeout": 5 if first == head else 0.1, "keep_alive_timeout": 0.1}
            server = syncws.Server(lambda _: syncws.Response(), "127.0.0.1", 0, ssl_context=tls, **options)
            with self.subTest(first=first, then=then, tls=tls), running(server):
                with socket.create_connection(("127.0.0.1", server.port), timeout=PATIENCE) as client:
                    client.sendall(first + then)
                    while client.recv(1000):
                        pass
                self.check(**expected)
        with running(syncws.Server(lambda _: syncws.Response(), "127.0.0.1", 0)) as server:
            socket.create_connection(("127.0.0.1", server.port), timeout=PATIENCE).close()
        self.check()

    def test_bodies(self) -> None:
        """A body that is too large, by its length and in chunks, and one that does not come."""

        def app(environ: Any, start_response: Any) -> list[bytes]:
            environ["wsgi.input"].read()
            start_response("200 OK", [])
            return []

        server = syncws.Server(wsgi_app=app, host="127.0.0.1", port=0, max_body_size=5, body_timeout=0.2)
        head = "POST / HTTP/1.1\r\nHost: a\r\n"
        with running(server), self.assertLogs("syncws.server"):
            self.assertEqual(self.ask(server, f"{head}Content-Length: 5\r\n\r\n12345"), b"200")
            self.check()
            self.assertEqual(self.ask(server, f"{head}Content-Length: 6\r\n\r\n123456"), b"413")
            self.check(max_body_size=1)
            self.assertEqual(self.ask(server, f"{head}Transfer-Encoding: chunked\r\n\r\n6\r\n123456\r\n"), b"413")
            self.check(max_body_size=1)
            self.assertEqual(self.ask(server, f"{head}Content-Length: 5\r\n\r\n123"), b"408")
            self.check(body_timeout=1)

    def test_queues(self) -> None:
        """A message for which a slow peer's queue has no room, by their number and by their bytes."""
        for limits, name in (({"send_queue": 1}, "send_queue"), ({"send_queue_bytes": 9}, "send_queue_bytes")):
            for overflow in ("drop_oldest", "drop_newest"):
                waiting = SendQueue(syncws.ConnOptions(overflow=overflow, **limits))
                waiting.put(b"1234")
                self.check()
                waiting.put(b"123456")
                self.check(**{name: 1})

    def test_handshakes(self) -> None:
        """A server that does not answer a dial in time, and a client that does not take its 101."""
        with socket.create_server(("127.0.0.1", 0)) as silent, self.assertRaises(TimeoutError):
            syncws.dial(f"ws://127.0.0.1:{silent.getsockname()[1]}/", handshake_timeout=0.05)
        self.check(handshake_timeout=1)
        stuck = mock.Mock(**{"send.side_effect": syncws.WriteTimeout("it takes nothing")})
        request = syncws.Request("GET", "/", {"Host": "a"})
        with self.assertLogs("syncws.server"), self.assertRaises(syncws.HandshakeError):
            syncws.Upgrader()._send_head(request, b"HTTP/1.1 101 \r\n\r\n", stuck)
        self.check(handshake_timeout=1)

    def test_silence(self) -> None:
        """A peer that answers no ping, whether this side reads or its handler works; and one that takes no message."""
        for is_read in (True, False):
            with self.subTest(is_read=is_read), peer(ping_interval=0.05, ping_timeout=0.05) as (conn, _):
                if is_read:
                    with self.assertRaises(syncws.CloseError):
                        conn.receive(timeout=PATIENCE)
                else:
                    self.assertTrue(conn.wait_closed(PATIENCE))
            self.check(ping_timeout=1)
        with peer(ping_interval=0.2, ping_timeout=0.1) as (conn, _), self.assertRaises(syncws.CloseError):
            conn.send(bytes(1 << 24))
        self.check(ping_timeout=1)

    def test_closes(self) -> None:
        """A peer that does not answer a close in time; but not one that does."""
        with peer() as (conn, _):
            conn.close(timeout=0.05)
        self.check(close_timeout=1)
        with peer(close_timeout=0.05) as (conn, _):
            conn.close(timeout=0)
            self.assertTrue(conn.wait_closed(PATIENCE))
        self.check(close_timeout=1)
        with pair() as (conn, other):
            closing = Task(conn.close)
            other.close()
            closing.result()
        self.check()

    def test_heartbeats(self) -> None:
        """A member of which no message comes in time."""
        manager = syncws.Manager(heartbeat=syncws.Heartbeat(timeout=0.05))
        with pair() as (conn, page):
            run = Task(manager.run, conn)
            with self.assertRaises(syncws.CloseError):
                page.receive(timeout=PATIENCE)
            run.result()
        self.check(heartbeat=1)

    def test_guests(self) -> None:
        """A WebSocket too many inside another server, and one that would hold a thread that is kept for pages."""

        registry = Guests()
        seats = [registry.admit(taken(), in_view=False, limit=1)]
        self.check()
        with self.assertRaises(Full):
            registry.admit(taken(), in_view=False, limit=1)
        self.check(max_connections=1)
        seats.append(registry.admit(taken(pool=2), in_view=True, limit=None))
        with self.assertRaises(Full):
            Task(registry.admit, taken(pool=2), in_view=True, limit=None).result()
        self.check(views=1)
        for seat in seats:
            seat.leave()


class PageTests(unittest.TestCase):
    """docs/limits.md has every limit, as it is in the code."""

    def test_every_limit_is_on_the_page(self) -> None:
        """Each option that is a number is a row of the table, or is said here to be no limit; no row is of another."""
        numbers = {name for taker in TAKERS for name, _, hint in _options(taker) if _is_number(hint)}
        self.assertEqual(
            numbers - NO_LIMITS.keys(), {row["option"].strip("`") for row in rows(PAGE) if _is_option(row)}
        )
        self.assertLess(NO_LIMITS.keys(), numbers)

    def test_defaults(self) -> None:
        """The default of a row is that of the code."""
        defaults = {name: default for taker in TAKERS for name, default, _ in _options(taker)}
        for row in filter(_is_option, rows(PAGE)):
            with self.subTest(row["option"]):
                self.assertEqual(_number(row["default"]), defaults[row["option"].strip("`")])

    def test_the_limit_of_the_process(self) -> None:
        """So is that of the one limit that is no option: it is set by a function."""
        (row,) = (row for row in rows(PAGE) if "syncws.set_unfinished_limit" in row["option"])
        self.assertEqual(_number(row["default"]), unfinished.limit)

    def test_every_count_is_on_the_page(self) -> None:
        """What the code counts is what the page says is counted: each name of `breaches.add`, and no other."""
        told = {name for row in rows(PAGE) for name in re.findall(r"`(\w+)`", row["counted as"])}
        self.assertEqual(_counted(), told)

    def test_a_count_is_named_after_its_option(self) -> None:
        """A breach is counted under the name of the option that sets the limit, where an option does."""
        for row in filter(_is_option, rows(PAGE)):
            with self.subTest(row["option"]):
                owner, _, option = row["option"].strip("`").rpartition(".")
                self.assertIn(row["counted as"], ("-", f"`{owner.lower() if option == 'timeout' else option}`"))

    def test_what_is_read_from_the_page(self) -> None:
        """The helpers read the table and the options; else the tests above would prove nothing."""
        self.assertLess(20, len(rows(PAGE)))
        self.assertEqual(_number("16 KiB"), 1 << 14)
        self.assertEqual(_number("10,000"), 10_000)
        self.assertIsNone(_number("none"))
        self.assertIn(("Server.max_headers", 128), [(name, default) for name, default, _ in _options(syncws.Server)])
        self.assertTrue(_is_number(int | None) and _is_number(float) and not _is_number(bool | None))


def _is_option(row: dict[str, str]) -> bool:
    return row["option"].startswith("`")


def _number(text: str) -> float | None:
    """A default as the page writes it: "1 MiB", "20 s", "10,000", "none"."""
    if text == "none":
        return None
    number, _, unit = text.replace(",", "").partition(" ")
    return float(number) * _UNITS[unit.partition(" ")[0]]


def _options(taker: Any) -> list[tuple[str, Any, Any]]:
    """(name, default, type) of each option: the fields of a dataclass that are its own, or what a callable takes."""
    if is_dataclass(taker):
        inherited = {each.name for each in fields(syncws.ConnOptions)} if issubclass(taker, HandshakeOptions) else set()
        hints = get_type_hints(taker)
        named = [(each.name, each.default, hints[each.name]) for each in fields(taker) if each.name not in inherited]
    else:
        function = taker.__init__ if isinstance(taker, type) else taker
        hints = get_type_hints(function)
        named = [
            (name, each.default, hints[name])
            for name, each in inspect.signature(function).parameters.items()
            if each.default is not each.empty
        ]
    owner = taker.__qualname__
    return [(f"{owner}.{name}", default, hint) for name, default, hint in named]


def _is_number(hint: Any) -> bool:
    """Whether a type says that a value is a number, or None."""
    return hint in (int, float, int | None, float | None)


def _counted() -> set[str]:
    """The names that the package counts breaches under."""
    found: set[str] = set()
    for path, module in modules():
        for node in ast.walk(module):
            match node:
                case ast.Call(func=ast.Attribute(value=ast.Name(id="breaches"), attr="add"), args=[name]):
                    names = [each.value for each in ast.walk(name) if isinstance(each, ast.Constant)]
                    assert names and all(isinstance(each, str) for each in names), f"{path}, line {node.lineno}"
                    found |= set(names)
    return found


if __name__ == "__main__":
    unittest.main()
