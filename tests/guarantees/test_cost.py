"""Proves what a connection costs: system calls per message, threads, and memory while it is idle.

* A small message that is echoed costs one blocking recv and one send, and nothing else.
* A connection costs one thread.
* 4,000 idle connections cost at most 27 KiB of resident memory each, and by default 24.5 (of which a bare thread in
  recv takes 17).
"""

from __future__ import annotations

import os
import sys
import sysconfig
import unittest
from collections.abc import Callable
from typing import Any

from syncws._base.options import ConnOptions
from syncws._conn.conn import Conn
from syncws._frames.frame import encode
from syncws._net.transport import Transport
from syncws.errors import CloseError
from syncws.testing import ScriptedSocket
from tests.runner.marks import exact

from .support import (
    BINARY,
    PING,
    PONG,
    TEXT,
    ChildServer,
    GuaranteeTestCase,
    closing_all,
    connect,
    note,
    raise_descriptor_limit,
    size,
)

KIB_PER_IDLE_CONNECTION = 27.0  # where the wait of reads had to be set by the connection's thread
KIB_BY_DEFAULT = 24.5
FREE_THREADED = bool(sysconfig.get_config_var("Py_GIL_DISABLED"))


class SystemCallTests(GuaranteeTestCase):
    """System calls, counted on a scripted socket, each of whose calls stands for one."""

    def test_an_echo(self) -> None:
        """In the steady state an echo is recv, send, recv, send: nothing in between."""
        ways: dict[str, Callable[[Conn], object]] = {
            "receive and send": lambda conn: conn.send(conn.receive()),
            "read_message and write_message": lambda conn: conn.write_message(*conn.read_message()),
            "JSON": lambda conn: conn.send_json(conn.receive_json()),
            "posts": lambda conn: conn.send_nowait(conn.receive()),
            "streams": self.echo_stream,
        }
        for name, way in ways.items():
            for client in (False, True):
                for keepalive in (20.0, None):
                    with self.subTest(name, client=client, keepalive=keepalive):
                        self.check(way, client, ConnOptions(ping_interval=keepalive))

    def echo_stream(self, conn: Conn) -> None:
        reader = conn.next_reader()
        with conn.next_writer(reader.message_type) as writer:
            writer.write(reader.read())

    def check(self, way: Callable[[Conn], object], client: bool, options: ConnOptions) -> None:
        count = 50
        messages = [b"".join(encode(0x80 | TEXT, b'"%d"' % number, not client)) for number in range(count)]
        sock = ScriptedSocket([*messages])
        conn = Conn(Transport(sock), client=client, options=options)  # type: ignore[arg-type]
        way(conn)  # the first may set up whatever there is to set up
        sock.calls.clear()
        for _ in range(count - 1):
            way(conn)
        self.assertEqual(sock.calls, ["recv", "send"] * (count - 1))
        conn.close_now()

    def test_large_messages(self) -> None:
        """A large message leaves in one call too, header and payload together."""
        sock = ScriptedSocket()
        conn = Conn(Transport(sock), client=False)  # type: ignore[arg-type]
        sock.calls.clear()
        for count in (100, 10_000, 1_000_000):
            conn.send(bytes(count))
        self.assertEqual(len(sock.calls), 3)
        self.assertEqual(sock.count("send", "sendmsg"), 3)
        conn.close_now()

    def test_what_comes_together(self) -> None:
        """Messages that arrive together cost one recv together."""
        sock = ScriptedSocket([b"".join(encode(0x80 | BINARY, b"x", True)) * 20])
        conn = Conn(Transport(sock), client=False)  # type: ignore[arg-type]
        sock.calls.clear()
        for _ in range(20):
            self.assertEqual(conn.receive(), b"x")
        self.assertEqual(sock.count("recv"), 1)
        with self.assertRaises(CloseError):
            conn.receive()
        conn.close_now()


@unittest.skipUnless(os.path.exists("/proc/self/status"), "needs Linux's account of a process")
class IdleTests(GuaranteeTestCase):
    """A server in a process of its own, with many connections that have nothing to say."""

    @exact
    def test_idle_connections(self) -> None:
        """At most 27 KiB of resident memory each, by default 24.5; and one thread."""
        for name, options, use, most in (
            ("by default", {"ping_interval": 20.0, "ping_timeout": 600.0}, None, KIB_BY_DEFAULT),
            ("idle after a message each way", {}, self.exchange_message, KIB_PER_IDLE_CONNECTION),
            ("idle after a ping", {}, self.exchange_ping, KIB_PER_IDLE_CONNECTION),
            ("idle, with compression", {"enable_compression": True}, None, KIB_PER_IDLE_CONNECTION),
        ):
            with self.subTest(name):
                self.check(name, options, use, most)

    def check(self, name: str, options: dict[str, Any], use: Callable[[Any], None] | None, most: float) -> None:
        count = min(size(1000, 4000), raise_descriptor_limit() - 100)
        with ChildServer({"/": options}) as server, closing_all([]) as clients:
            self.warm_up(server)
            before = server.report()
            for _ in range(count):
                clients.append(connect(server.address, compression=True))
            for client in clients if use is not None else ():
                use(client)
            after = server.report()
            each = (after["rss"] - before["rss"]) / count
            threads = after["threads"] - before["threads"]
            note(f"{count} connections {name}: {each:.1f} KiB and {threads / count:.3f} threads each")
            self.assertLessEqual(threads, count + 1)  # the drain thread, if it runs just now
            if not FREE_THREADED:  # there a bare thread takes 85
                self.assertLessEqual(each, most, "KiB per connection")

    def warm_up(self, server: ChildServer) -> None:
        """Let the process allocate what it allocates only once."""
        with closing_all([]) as clients:
            for _ in range(20):
                clients.append(connect(server.address, compression=True))
                self.exchange_message(clients[-1])

    def exchange_message(self, client: Any) -> None:
        client.send_frame(TEXT, "hello")
        while client.receive_frame().opcode != TEXT:
            pass

    def exchange_ping(self, client: Any) -> None:
        client.send_frame(PING, "hello")
        while client.receive_frame().opcode != PONG:
            pass


if sys.platform == "win32":  # pragma: no cover
    raise unittest.SkipTest("counts system calls as they are made on Unix")
