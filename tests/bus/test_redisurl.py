"""Where a server is: every form of a URL, clients of applications, and what is wrong with a bad one."""

from __future__ import annotations

import sys
import unittest
from typing import Any
from unittest import mock

from syncws._bus.redisurl import RedisSettings, settings_from
from tests.buses import need_client


def options(source: object) -> dict[str, Any]:
    """What a source says of the connection, without what a client adds."""
    found = settings_from(source)
    return {key: value for key, value in found.options.items() if key not in ("driver_info", "lib_name", "lib_version")}


def kind(found: RedisSettings) -> tuple[str, str]:
    return found.package, found.connection_class.__name__


class URLTests(unittest.TestCase):
    def setUp(self) -> None:
        need_client("redis")
        need_client("valkey")

    def test_forms(self) -> None:
        """Each scheme has its client and its kind of connection."""
        for url, expected, where in (
            ("redis://h", ("redis", "Connection"), "h:6379"),
            ("rediss://h:1", ("redis", "SSLConnection"), "h:1"),
            ("valkey://h/2", ("valkey", "Connection"), "h:6379"),
            ("valkeys://h", ("valkey", "SSLConnection"), "h:6379"),
            ("unix:///tmp/x.sock?db=2", ("redis", "UnixDomainSocketConnection"), "/tmp/x.sock"),
            ("redis://[::1]:7000/1", ("redis", "Connection"), "::1:7000"),
        ):
            with self.subTest(url):
                found = settings_from(url)
                self.assertEqual(kind(found), expected)
                self.assertEqual(found.where, where)

    def test_parts(self) -> None:
        """User, password, database and settings arrive decoded, and TCP's probes are on."""
        expected = {"host": "h", "port": 1, "db": 3, "username": "u", "password": "p@/", "socket_keepalive": True}
        self.assertEqual(options("redis://u:p%40%2F@h:1/3"), expected)
        self.assertEqual(options("redis://h:1/?db=3")["db"], 3)
        self.assertEqual(options("rediss://h?ssl_ca_certs=/ca.pem")["ssl_ca_certs"], "/ca.pem")
        self.assertEqual(options("unix://:pw@/s?db=4"), {"path": "/s", "db": 4, "password": "pw"})
        self.assertFalse(options("redis://h?socket_keepalive=no")["socket_keepalive"])

    def test_timeouts_and_retries_are_not_taken(self) -> None:
        """The backplane has its own, whatever the URL says."""
        found = options("redis://h?socket_timeout=1&retry_on_timeout=yes&health_check_interval=3&max_connections=1")
        self.assertEqual(found, {"host": "h", "port": 6379, "socket_keepalive": True})
        made = settings_from("redis://h?socket_timeout=99&protocol=3").connection(2.5)
        self.assertEqual((made.socket_timeout, made.socket_connect_timeout, made.protocol), (2.5, 2.5, 2))
        self.assertEqual((made.retry._retries, made.health_check_interval), (0, 0))

    def test_sentinels(self) -> None:
        """The hosts are those of the sentinels; user and password are the server's, theirs have names of their own."""
        found = settings_from("redis+sentinel://u:pw@a:1,b/main/2?sentinel_password=x&socket_keepalive=no")
        self.assertEqual((kind(found), found.service, found.db), (("redis", "Connection"), "main", 2))
        self.assertEqual((found.options["username"], found.options["password"]), ("u", "pw"))
        self.assertNotIn("host", found.options)
        told = [(each.options["host"], each.options["port"], each.options["password"]) for each in found.sentinels]
        self.assertEqual(told, [("a", 1, "x"), ("b", 26379, "x")])
        self.assertEqual(found.where, "main of the sentinels a:1, b:26379")
        secure = settings_from("rediss+sentinel://a/main?ssl_ca_certs=/ca.pem")
        self.assertEqual(kind(secure), ("redis", "SSLConnection"))
        self.assertEqual(kind(secure.sentinels[0]), ("redis", "SSLConnection"))
        self.assertEqual(secure.sentinels[0].options["ssl_ca_certs"], "/ca.pem")
        self.assertEqual(kind(settings_from("valkey+sentinel://a/main")), ("valkey", "Connection"))
        self.assertEqual(kind(settings_from("valkeys+sentinel://a/main")), ("valkey", "SSLConnection"))

    def test_bad_ones(self) -> None:
        """Each is a ValueError that says what to give instead, and shows no password."""
        for url, fix in (
            ("redis:/h", "redis://host:6379/0"),
            ("localhost:6379", "redis://host:6379/0"),
            ("http://h", "redis://host:6379/0"),
            ("unix+sentinel://h/main", "redis+sentinel://"),
            ("redis+foo://h", "redis+sentinel://"),
            ("redis://", "give redis://host:6379/0"),
            ("redis://:secret@", "give redis://host:6379/0"),
            ("redis://h:99999", "from 1 to 65535"),
            ("redis://:secret\u2100@h", "URL cannot be read"),
            ("redis+sentinel://:secret\u2100@h/main", "URL cannot be read"),
            ("unix://:secret\u2100@/s", "URL cannot be read"),
            ("redis://:secret@[::1/0", "an IPv6 address in brackets"),
            ("redis://:secret@h:x", "from 1 to 65535"),
            ("redis://:secret@h/abc", "give its number"),
            ("redis://h?db=abc", "give its number"),
            ("redis://h/-1", "give its number"),
            ("unix://x/y", "three slashes"),
            ("unix://", "three slashes"),
            ("unix:///s?db=x", "give its number"),
            ("redis://a,b/0", "redis+sentinel://host:26379"),
            ("redis+sentinel://:secret@a/", "name the master"),
            ("redis+sentinel://a:x/main", "no host of a sentinel"),
            ("redis+sentinel://a,,b/main", "no host of a sentinel"),
            ("redis+sentinel://a/main/x", "give its number"),
            ("redis://h?nonsense=1", "'nonsense'"),
            ("redis://h?socket_keepalive=1&max_connections=x", "max_connections"),
            ("rediss://h?ssl_cert_reqs=maybe", "maybe"),
            ("redis://h\n/x", "\\n"),
        ):
            with self.subTest(url), self.assertRaises(ValueError) as caught:
                settings_from(url)
            self.assertIn(fix, str(caught.exception))
            self.assertNotIn("secret", str(caught.exception))
            self.assertTrue(str(caught.exception).isprintable())

    def test_passwords_are_not_shown(self) -> None:
        """Neither the repr nor the words for where it is have them."""
        for url in ("redis://u:secret@h", "redis+sentinel://:secret@a/main?sentinel_password=secret"):
            found = settings_from(url)
            self.assertNotIn("secret", repr(found) + found.where)


class ClientTests(unittest.TestCase):
    def setUp(self) -> None:
        need_client("redis")
        need_client("valkey")
        import redis
        import redis.sentinel
        import valkey

        self.redis: Any = redis
        self.valkey: Any = valkey

    def test_settings_are_taken(self) -> None:
        """Where it is, who it is and TLS; not its timeouts, retries, decoding and name."""
        client = self.redis.Redis(
            host="x", port=7, db=4, password="p", decode_responses=True, socket_timeout=9, client_name="n"
        )
        found = options(client)
        self.assertEqual((found["host"], found["port"], found["db"], found["password"]), ("x", 7, 4, "p"))
        self.assertLessEqual(
            found.keys(),
            {*("host", "port", "db", "username", "password", "credential_provider")}
            | {*("socket_keepalive", "socket_keepalive_options", "socket_type")},
        )
        self.assertTrue(found["socket_keepalive"])
        self.assertFalse(settings_from(client).connection(1).encoder.decode_responses)

    def test_kinds(self) -> None:
        """Of either package, by TCP, TLS or a Unix socket."""
        for client, expected in (
            (self.redis.Redis(), ("redis", "Connection")),
            (self.redis.Redis(ssl=True), ("redis", "SSLConnection")),
            (self.redis.Redis(unix_socket_path="/s"), ("redis", "UnixDomainSocketConnection")),
            (self.valkey.Valkey(), ("valkey", "Connection")),
            (self.valkey.Valkey.from_url("valkeys://h"), ("valkey", "SSLConnection")),
        ):
            self.assertEqual(kind(settings_from(client)), expected)

    def test_sentinels(self) -> None:
        """A client that a Sentinel made: the same sentinels are asked for the same master."""
        sentinel = self.redis.sentinel.Sentinel([("a", 1), ("b", 2)], sentinel_kwargs={"password": "x"}, password="y")
        found = settings_from(sentinel.master_for("main", db=3))
        self.assertEqual((kind(found), found.service, found.db), (("redis", "Connection"), "main", 3))
        self.assertEqual(found.options["password"], "y")
        self.assertEqual([each.options["password"] for each in found.sentinels], ["x", "x"])
        self.assertEqual(found.where, "main of the sentinels a:1, b:2")
        secure = sentinel.master_for("main", ssl=True)
        self.assertEqual(kind(settings_from(secure)), ("redis", "SSLConnection"))

    def test_what_is_no_server(self) -> None:
        """A Sentinel, a client of replicas or of asyncio, and anything else: the error says what to give."""
        import redis.asyncio

        sentinel = self.redis.sentinel.Sentinel([("a", 1)])
        for source, kind_of_error, fix in (
            (sentinel, ValueError, 'sentinel.master_for("name")'),
            (sentinel.slave_for("main"), ValueError, "sentinel.master_for"),
            (redis.asyncio.Redis(), TypeError, "not"),
            (5, TypeError, "takes a URL"),
            (None, TypeError, "takes a URL"),
            (b"redis://h", TypeError, "takes a URL"),
        ):
            with self.subTest(source), self.assertRaises(kind_of_error) as caught:
                settings_from(source)
            self.assertIn(fix, str(caught.exception))


class MissingTests(unittest.TestCase):
    """The packages that connect, where they are not installed."""

    def without(self, *packages: str) -> Any:
        hidden = {name: None for name in sys.modules if name.partition(".")[0] in packages}
        hidden |= {f"{package}{end}": None for package in packages for end in ("", ".connection")}
        return mock.patch.dict(sys.modules, hidden)

    def test_neither(self) -> None:
        """The error says what to install, by the scheme."""
        with self.without("redis", "valkey"):
            with self.assertRaisesRegex(ModuleNotFoundError, r"syncws\[redis\]"):
                settings_from("redis://h")
            with self.assertRaisesRegex(ModuleNotFoundError, r"syncws\[valkey\]"):
                settings_from("valkey://h")

    def test_either_takes_the_place_of_the_other(self) -> None:
        """Both speak the same protocol."""
        need_client("redis")
        need_client("valkey")
        with self.without("valkey"):
            self.assertEqual(kind(settings_from("valkeys://h")), ("redis", "SSLConnection"))
        with self.without("redis"):
            self.assertEqual(kind(settings_from("redis://h")), ("valkey", "Connection"))
            self.assertEqual(kind(settings_from("rediss+sentinel://h/main")), ("valkey", "SSLConnection"))

    def test_a_broken_installation_is_told_as_it_is(self) -> None:
        """What an installed client lacks itself is not taken for the lack of the client."""
        need_client("redis")
        real = __import__

        def fail(name: str, *arguments: Any, **keywords: Any) -> Any:
            if name == "redis.connection":
                raise ModuleNotFoundError("No module named 'async_timeout'", name="async_timeout")
            return real(name, *arguments, **keywords)

        with mock.patch("importlib.import_module", fail), self.assertRaisesRegex(ModuleNotFoundError, "async_timeout"):
            settings_from("redis://h")

    def test_syncws_does_not_import_them(self) -> None:
        """`import syncws` works without a client, and does not bring it."""
        import subprocess

        program = "import sys, syncws; assert not {'redis', 'valkey'} & set(sys.modules)"
        subprocess.run([sys.executable, "-c", program], check=True, timeout=60)


if __name__ == "__main__":
    unittest.main()
