"""One connection to a real server, by whichever client is installed: what it sends, reads, and how it ends."""

from __future__ import annotations

import os
import time
import unittest
from typing import Any

from syncws._bus.redisurl import settings_from
from syncws._bus.rediswire import RedisWire, Refusal, WireLost
from tests import certificates
from tests.bus.rediscases import RedisCase
from tests.buses import DarkProxy, RedisServer, Sentinel, kinds
from tests.tasks import PATIENCE, Task


class WireCase(RedisCase):
    def wire(self, source: object, timeout: float = PATIENCE) -> RedisWire:
        wire = RedisWire(settings_from(source), timeout)
        self.addCleanup(wire.close)
        return wire

    def call(self, wire: RedisWire, *command: object) -> Any:
        wire.send([command], PATIENCE)
        return wire.read()

    def lost(self, call: Any, *arguments: Any) -> WireLost:
        with self.assertRaises(WireLost) as caught:
            call(*arguments)
        self.assertTrue(str(caught.exception).isprintable())
        return caught.exception


class WireTests(WireCase):
    def test_answers(self) -> None:
        """Commands and answers are bytes, many in one go, on Redis and on Valkey."""
        for kind in kinds():
            with self.subTest(kind):
                wire = self.wire(self.server(kind).url)
                wire.connect()
                data = os.urandom(100_000)
                wire.send([("SET", "k", data), ("GET", "k"), ("GET", "none"), ("PUBLISH", b"c\xff", b"")], PATIENCE)
                self.assertEqual([wire.read() for _ in range(4)], [b"OK", data, None, 0])
                wire.close()
                wire.connect()
                self.assertEqual(self.call(wire, "PING"), b"PONG")

    def test_messages(self) -> None:
        """What is published comes as lists of bytes, also large ones and many in a burst."""
        server = self.server()
        wire = self.wire(server.url)
        wire.connect()
        self.assertEqual(self.call(wire, "SUBSCRIBE", "c"), [b"subscribe", b"c", 1])
        self.assertFalse(wire.has_data())
        sent = [b"%d" % i for i in range(500)] + [os.urandom(200_000)]
        with server.connection() as raw:
            for each in sent:
                raw.call("PUBLISH", "c", each)
        self.assertEqual([wire.read() for _ in sent], [[b"message", b"c", each] for each in sent])
        self.assertEqual(self.call(wire, "PING"), [b"pong", b""])

    def test_a_timeout_loses_nothing(self) -> None:
        """A read that times out in the middle of a message leaves it to the next one."""
        server = self.server()
        with DarkProxy(server.port) as proxy:
            wire = self.wire(proxy.url)
            wire.connect()
            self.call(wire, "SUBSCRIBE", "c")
            with self.assertRaises(TimeoutError):
                wire.read(0.01)
            proxy.dark("down")
            server.call("PUBLISH", "c", "x" * 1_000_000)
            with self.assertRaises(TimeoutError):
                wire.read(0.05)
            reading = Task(wire.read, PATIENCE)
            proxy.light()
            self.assertEqual(reading.result(), [b"message", b"c", b"x" * 1_000_000])
            proxy.cut()

    def test_errors_of_commands(self) -> None:
        """An error is the answer to one command, with its code; the next answer is that of the next command."""
        server = self.server(acl=["user default on nopass ~* &* +@all -get"])
        master = self.server()
        wire = self.wire(server.url)
        wire.connect()
        server.replicate(master)
        for command, code in (
            (("GET", "k"), "NOPERM"),
            (("SET", "k", 1), "READONLY"),
            (("EVALSHA", "0" * 40, 0), "NOSCRIPT"),
            (("NONSENSE",), "unknown"),
        ):
            with self.subTest(code), self.assertRaises(Refusal) as caught:
                self.call(wire, *command)
            self.assertEqual(caught.exception.code, code, str(caught.exception))
            self.assertEqual(self.call(wire, "PING"), b"PONG")

    def test_no_server(self) -> None:
        """It is refused, and says where."""
        server = self.server()
        server.kill()
        lost = self.lost(self.wire(server.url).connect)
        self.assertEqual(lost.kind, "refused")
        self.assertIn(str(server.port), str(lost))

    def test_a_server_that_ends(self) -> None:
        """Whatever is under way or comes later finds the connection ended; a new one can be made."""
        server = self.server()
        wire = self.wire(server.url)
        wire.connect()
        self.call(wire, "SUBSCRIBE", "c")
        reading = Task(wire.read)
        server.kill()
        self.assertEqual(self.lost(reading.result).kind, "broken")
        self.lost(wire.read)
        self.lost(wire.send, [("PING",)], 1.0)
        server.start()
        wire.connect()
        self.assertEqual(self.call(wire, "PING"), b"PONG")

    def test_a_server_that_says_nothing(self) -> None:
        """Connecting takes no longer than the wire's timeout, and is a timeout."""
        server = self.server()
        server.stop()
        self.addCleanup(server.go_on)
        self.assertEqual(self.lost(self.wire(server.url, 0.2).connect).kind, "timeout")

    def test_interrupt(self) -> None:
        """Another thread ends what is under way, with TLS too."""
        server = self.server(tls=True) if "redis" in kinds() else self.server()
        for url in [server.url, *([self.tls(server)] if server.tls_port else [])]:
            with self.subTest(url):
                wire = self.wire(url)
                wire.connect()
                self.call(wire, "SUBSCRIBE", "c")
                reading = Task(wire.read)
                reading.started.wait(PATIENCE)
                time.sleep(0.05)
                wire.interrupt()
                self.lost(reading.result)
                wire.interrupt()
                wire.close()

    def tls(self, server: RedisServer) -> str:
        path = certificates.files(self.enterContext(_folder())).authority
        return f"{server.tls_url}?ssl_ca_certs={path}"

    def test_a_hundred_and_fifty_connections(self) -> None:
        """It is one object for good: there is no pool that would count."""
        wire = self.wire(self.server().url)
        for _ in range(150):
            wire.connect()
            wire.close()
        wire.connect()
        self.assertEqual(self.call(wire, "PING"), b"PONG")


class DeniedTests(WireCase):
    def test_password(self) -> None:
        """A wrong one, and none, are denied and show nothing of it."""
        server = self.server(password="right")
        wire = self.wire(server.url)
        wire.connect()
        self.assertEqual(self.call(wire, "PING"), b"PONG")
        lost = self.lost(self.wire(server.url.replace("right", "wrong")).connect)
        self.assertEqual(lost.kind, "denied")
        self.assertNotIn("wrong", str(lost))
        wire = self.wire(server.url.replace(":right@", ""))
        with self.assertRaises(WireLost) as caught:
            wire.connect()  # some versions ask for something there that needs a password
            self.call(wire, "PUBLISH", "c", "x")
        self.assertEqual(caught.exception.kind, "denied")

    def test_another_database(self) -> None:
        """A user without +select may not choose it: denied, and told."""
        server = self.server(acl=["user default on nopass ~* &* +@all -select"])
        lost = self.lost(self.wire(server.url.replace("/0", "/3")).connect)
        self.assertEqual(lost.kind, "denied")
        self.assertIn("permission", str(lost))

    def test_the_last_place_is_taken(self) -> None:
        """With maxclients reached it is refused, and told."""
        server = self.server(maxclients=10)
        held = [server.connection() for _ in range(10)]
        try:
            lost = self.lost(self.wire(server.url, 2).connect)
            self.assertEqual(lost.kind, "refused")
        finally:
            for each in held:
                each.close()


class PlacesTests(WireCase):
    def test_unix_socket(self) -> None:
        """By a Unix socket, with a database."""
        server = self.server()
        wire = self.wire(f"{server.unix_url}?db=2")
        wire.connect()
        self.assertIn(b" db=2 ", self.call(wire, "CLIENT", "LIST"))

    def test_tls(self) -> None:
        """With the right authority it connects; with the system's it does not, and says CERTIFICATE_VERIFY_FAILED."""
        server = self.server(tls=True)
        path = certificates.files(self.enterContext(_folder())).authority
        wire = self.wire(f"{server.tls_url}?ssl_ca_certs={path}")
        wire.connect()
        self.call(wire, "SUBSCRIBE", "c")
        data = os.urandom(300_000)
        server.call("PUBLISH", "c", data)
        self.assertEqual(wire.read(), [b"message", b"c", data])
        lost = self.lost(self.wire(server.tls_url).connect)
        self.assertIn("CERTIFICATE_VERIFY_FAILED", str(lost))
        plain = server.url.replace(str(server.port), str(server.tls_port))
        self.lost(self.wire(plain, 2).connect)

    def test_sentinels(self) -> None:
        """It connects to what the first sentinel that answers names, and again to what it names then."""
        master = self.server()
        gone = self.server()
        gone.kill()
        with Sentinel(master) as sentinel:
            url = sentinel.sentinel_url.replace("127.0.0.1:", f"127.0.0.1:{gone.port},127.0.0.1:")
            wire = self.wire(url)
            wire.connect()
            self.assertIn(f"tcp_port:{master.port}".encode(), self.call(wire, "INFO", "server"))
            unknown = self.lost(self.wire(url.replace("/main/", "/other/")).connect)
            self.assertIn("knows no master 'other'", str(unknown))
        self.assertIn("no sentinel tells", str(self.lost(self.wire(url).connect)))


def _folder() -> Any:
    import tempfile

    return tempfile.TemporaryDirectory()


if __name__ == "__main__":
    unittest.main()
