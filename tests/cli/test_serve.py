"""`python -m syncws serve`: naming an application, what is said when something is wrong, and a server that ends."""

from __future__ import annotations

import contextlib
import errno
import logging
import os
import re
import signal
import socket
import subprocess
import sys
import tempfile
import urllib.request
from collections.abc import Iterator
from pathlib import Path
from typing import Any
from unittest import mock

import syncws
from syncws._cli import serve as cli
from syncws.testing import await_
from tests import certificates
from tests.handshakes import asking
from tests.server.cases import Client
from tests.tasks import PATIENCE, written

from .support import CLICase

ROOT = Path(__file__).resolve().parents[2]

APPLICATION = """
import syncws
from syncws.wsgi import websocket

@websocket
def echo(conn):
    for message in conn:
        conn.send(message)

def app(environ, start_response):
    if environ["PATH_INFO"] == "/echo":
        return echo(environ, start_response)
    start_response("200 OK", [("Content-Type", "text/plain")])
    return [environ["wsgi.url_scheme"].encode()]

def create_app():
    return app

def create_with(settings):
    return app

def create_badly():
    return 1 / 0

def create_nothing():
    pass

class Holder:
    app = staticmethod(app)

class Callable:
    def __call__(self, environ, start_response):
        return app(environ, start_response)

class Iterable:
    def __init__(self, environ, start_response):
        self.answer = app(environ, start_response)

    def __iter__(self):
        return iter(self.answer)

class Configurable:
    def __init__(self, name, folder=None):
        pass

callable_object = Callable()

async def asgi(scope, receive, send):
    pass

class ASGI:
    async def __call__(self, scope, receive, send):
        pass

asgi_object = ASGI()
number = 5
"""


class CommandCase(CLICase):
    def setUp(self) -> None:
        super().setUp()
        self.folder = Path(self.enterContext(tempfile.TemporaryDirectory())).resolve()
        self.write("cli_app.py", APPLICATION)
        self.enterContext(contextlib.chdir(self.folder))
        self.enterContext(mock.patch.object(sys, "path", list(sys.path)))
        self.enterContext(mock.patch.dict(sys.modules))
        root = logging.getLogger()
        self.enterContext(mock.patch.object(root, "handlers", [logging.NullHandler()]))  # basicConfig leaves it alone

    def write(self, name: str, text: str) -> None:
        path = self.folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)


class LoadTests(CommandCase):
    """Which applications can be named, and how."""

    def test_what_can_be_named(self) -> None:
        """An attribute, one of an object, a factory's result, a callable object and a callable class can be named."""
        for spec in ("app", "create_app()", "Holder.app", "callable_object", "Iterable"):
            with self.subTest(spec=spec):
                self.assertTrue(callable(cli.load_application(f"cli_app:{spec}")))

    def test_packages(self) -> None:
        """A module of a package is named by dots; the current directory is searched first, and once."""
        self.write("cli_package/inner.py", APPLICATION)
        for _ in range(2):
            app = cli.load_application("cli_package.inner:app")
        self.assertEqual(app.__module__, "cli_package.inner")
        self.assertEqual([path for path in sys.path if path == str(self.folder)], [str(self.folder)])

    def test_a_callable_that_does_not_say(self) -> None:
        """A callable that has no signature is accepted."""
        self.write("cli_other.py", "import collections\napp = type.__call__.__get__(dict)\n")
        with mock.patch("inspect.signature", side_effect=ValueError):
            self.assertTrue(callable(cli.load_application("cli_other:app")))

    def test_what_names_nothing(self) -> None:
        """Anything except module:attribute is an error that says how to write it."""
        for spec, says in [
            ("cli_app", "write module:app, or 'module:factory()'"),
            ("", "write module:app"),
            (":app", "write module:app"),
            ("cli_app:", "write module:app"),
            ("cli-app:app", "write module:app"),
            ("cli_app:app:app", "write module:app"),
            ("cli_app.py:app", "write cli_app:app"),
            ("./examples/cli_app.py:app", "write examples.cli_app:app"),
            ("examples/cli_app", "write examples.cli_app:app"),
            ("../cli_app.py:app", "write module:app"),
            ("cli_app:create_app('x')", "a factory is called without arguments, as in 'cli_app:create_app()'"),
        ]:
            with self.subTest(spec=spec):
                self.assertLine(says, "serve", spec)

    def test_missing_modules(self) -> None:
        """A missing module is an error of one line, also if its package is missing or is not a package."""
        for spec, name in [
            ("no_such_module:app", "no_such_module"),
            ("no_such.module:app", "no_such"),
            ("cli_app.module:app", "cli_app.module"),
        ]:
            with self.subTest(spec=spec):
                self.assertLine(f"there is no module {name!r}, neither in {self.folder} nor installed", "serve", spec)

    def test_modules_that_fail(self) -> None:
        """An exception of a module is shown with the traceback of the module alone, and then in one line."""
        for text, says in [
            ("import no_such_module", "ModuleNotFoundError: No module named 'no_such_module'"),
            ("def f():\n    1 / 0\nf()", "ZeroDivisionError: division by zero"),
            ("x = (", "SyntaxError: '(' was never closed (cli_bad.py, line 1)"),
        ]:
            with self.subTest(text=text):
                sys.modules.pop("cli_bad", None)
                self.write("cli_bad.py", text)
                err = self.assertRefused(f"syncws: importing cli_bad failed: {says}", "serve", "cli_bad:app")
                self.assertIn("cli_bad.py", err)
                self.assertNotIn("importlib", err)
                self.assertNotIn("cli.py", err.replace("cli_bad.py", ""))
                (self.folder / "cli_bad.py").unlink()

    def test_missing_attributes(self) -> None:
        """A missing attribute is an error of one line, which names a similar one."""
        self.assertLine("cli_app has no attribute 'ap'; did you mean 'app'?", "serve", "cli_app:ap")
        self.assertLine("cli_app has no attribute 'zzzzzz'", "serve", "cli_app:zzzzzz")
        self.assertLine("cli_app:Holder.ap has no attribute 'ap'; did you mean 'app'?", "serve", "cli_app:Holder.ap")

    def test_what_is_no_application(self) -> None:
        """Anything that is no WSGI application is an error of one line that says what it is."""
        for spec, says in [
            ("number", "is no WSGI application but an int"),
            ("create_app", "does not take (environ, start_response); if it makes one, write 'cli_app:create_app()'"),
            ("create_with", "does not take (environ, start_response)"),
            ("create_nothing()", "is no WSGI application but None"),
            ("number()", "is no factory but an int: leave out the ()"),
            ("asgi", "is an ASGI application"),
            ("asgi_object", "is an ASGI application"),
            ("Configurable", "is no WSGI application but a class: name an object of it"),
        ]:
            with self.subTest(spec=spec):
                self.assertLine(says, "serve", f"cli_app:{spec}")

    def test_a_factory_that_fails(self) -> None:
        """An exception of a factory is shown with its traceback, and then in one line."""
        err = self.assertRefused("cli_app:create_badly() failed: ZeroDivisionError", "serve", "cli_app:create_badly()")
        self.assertIn("in create_badly", err)


class OptionTests(CommandCase):
    def test_help(self) -> None:
        """--help prints what it does, and its options."""
        status, out, _ = self.run_main("serve", "--help")
        self.assertEqual(status, 0)
        self.assertIn("WSGI", out)
        self.assertIn("--workers", out)
        self.assertIn("examples:", out)

    def test_bad_options(self) -> None:
        """An invalid option is refused, and the error names it."""
        for arguments in (
            ["serve"],
            ["serve", "cli_app:app", "--port", "x"],
            ["serve", "cli_app:app", "--port", "65536"],
            ["serve", "cli_app:app", "--max-connections", "0"],
            ["serve", "cli_app:app", "--workers", "0"],
            ["serve", "cli_app:app", "--workers", "many"],
            ["serve", "cli_app:app", "--pin", "sometimes"],
            ["serve", "cli_app:app", "--pin", "-1"],
            ["serve", "cli_app:app", "--log-level", "loud"],
            ["serve", "cli_app:app", "--allowed-host", "http://localhost"],
        ):
            with self.subTest(arguments=arguments):
                self.assertRefused("error: ", *arguments, status=2)

    def test_a_core_that_is_not_there(self) -> None:
        """A core that this process may not use is an error of one line."""
        says = "--pin: this " + ("process may not use core 9999: its" if hasattr(os, "sched_getaffinity") else "system")
        self.assertLine(says, "serve", "cli_app:app", "--port", "0", "--pin", "9999")

    def test_where(self) -> None:
        """A Unix socket and an address exclude each other."""
        for more in (["--port", "0"], ["--host", "localhost"]):
            self.assertLine("--unix excludes --host and --port", "serve", "cli_app:app", "--unix", "s", *more)

    def test_an_address_in_use(self) -> None:
        """A port that is in use is an error of one line."""
        with socket.create_server(("127.0.0.1", 0)) as taken:
            port = str(taken.getsockname()[1])
            says = f"cannot listen on host '127.0.0.1' port {port}: {os.strerror(errno.EADDRINUSE)}"
            self.assertLine(says, "serve", "cli_app:app", "--port", port)

    def test_invalid_addresses(self) -> None:
        """An unknown host is an error of one line, and so is a path where no socket can be made."""
        for says, options in [
            ("cannot listen on host 'no such host' port 0: ", ["--host", "no such host", "--port", "0"]),
            ("cannot listen on the Unix socket no/such/folder: ", ["--unix", "no/such/folder"]),
            ("cannot listen on the Unix socket ", ["--unix", "x" * 200]),
            ("cannot listen on the Unix socket : ", ["--unix", ""]),
        ]:
            with self.subTest(options=options):
                self.assertLine(says, "serve", "cli_app:app", *options)

    def test_invalid_certificates(self) -> None:
        """A certificate that is missing, is no certificate, or is for another key is an error of one line."""
        Path("cert.pem").write_bytes(certificates.certificate("localhost").certificate)
        Path("key.pem").write_bytes(certificates.certificate("127.0.0.1").key)  # another one's
        for says, options in [
            ("--keyfile needs --certfile", ["--keyfile", "key.pem"]),
            ("the certificate none.pem with the key none.pem: No such file", ["--certfile", "none.pem"]),
            ("the certificate cli_app.py with the key cli_app.py: not PEM", ["--certfile", "cli_app.py"]),
            (
                "the certificate cert.pem with the key key.pem: not PEM, or the key is not of this certificate",
                ["--certfile", "cert.pem", "--keyfile", "key.pem"],
            ),
        ]:
            with self.subTest(options=options):
                self.assertLine(says, "serve", "cli_app:app", *options)

    def test_what_the_server_is_told(self) -> None:
        """Each option reaches the server."""
        with (
            mock.patch.object(cli, "Server", side_effect=OSError(1, "stop here")) as made,
            mock.patch.object(logging, "basicConfig") as configured,
        ):
            self.run_main("serve", "cli_app:app", "--max-connections", "7", "--log-level", "warning")
            arguments, options = made.call_args
            self.assertEqual(arguments, (None, "127.0.0.1", 8080))
            self.assertEqual(
                (options["max_connections"], options["unix_path"], options["ssl_context"]), (7, None, None)
            )
            self.assertEqual(options["workers"], 1)
            self.assertEqual(options["wsgi_app"].__name__, "app")
            self.assertEqual(configured.call_args.kwargs["level"], "WARNING")
            self.run_main("serve", "cli_app:app", "--host", "::", "--port", "9")
            self.assertEqual(made.call_args.args, (None, "::", 9))
            self.run_main("serve", "cli_app:app", "--workers", "3")
            self.assertEqual(made.call_args.kwargs["workers"], 3)
            with mock.patch.object(cli, "cores", return_value=5):
                self.run_main("serve", "cli_app:app", "--workers", "auto")
            self.assertEqual(made.call_args.kwargs["workers"], 5)
            self.assertIsNone(made.call_args.kwargs["pin"])
            with mock.patch.object(cli, "check_workers"):
                for said, pin in (("auto", "auto"), ("connections", "connections"), ("no", False), ("2", 2)):
                    self.run_main("serve", "cli_app:app", "--pin", said)
                    self.assertEqual(made.call_args.kwargs["pin"], pin)
            self.assertIsNone(made.call_args.kwargs["allowed_hosts"])
            self.run_main("serve", "cli_app:app", "--allowed-host", "localhost", "--allowed-host", "*.example.com")
            self.assertEqual(made.call_args.kwargs["allowed_hosts"], ["localhost", "*.example.com"])
            self.run_main("serve", "cli_app:app", "--unix", "app.sock")
            self.assertEqual(made.call_args.kwargs["unix_path"], "app.sock")

    def test_sockets_that_are_passed(self) -> None:
        """--fd has a descriptor served, --systemd the socket of a .socket unit; both exclude the other places."""
        listener = socket.create_server(("127.0.0.1", 0))
        with mock.patch.object(cli.Server, "serve_forever", cli.Server.shutdown):
            status, out, _ = self.run_main("serve", "cli_app:app", "--fd", str(listener.detach()))
        self.assertEqual(status, 0)
        self.assertIn("on the socket that was passed, 127.0.0.1:", out)
        self.assertLine("cannot listen on descriptor 9999: Bad file descriptor", "serve", "cli_app:app", "--fd", "9999")
        self.assertLine("systemd has passed no socket", "serve", "cli_app:app", "--systemd")
        with mock.patch.object(cli, "inherited_listener", side_effect=ValueError("2 listeners")):
            self.assertLine("the socket of systemd: 2 listeners", "serve", "cli_app:app", "--systemd")
        for options in (["--fd", "3", "--systemd"], ["--systemd", "--port", "80"], ["--unix", "x", "--fd", "3"]):
            with self.subTest(options):
                self.assertLine("excludes", "serve", "cli_app:app", *options)

    def test_a_socket_that_does_not_listen(self) -> None:
        """What was passed and does not listen is one line, and closed."""
        number = socket.socket().detach()
        self.assertLine(
            f"cannot listen on descriptor {number}: listener does not listen",
            "serve",
            "cli_app:app",
            "--fd",
            str(number),
        )

    def test_drain_and_health_checks(self) -> None:
        """--drain, --health-path and --ready-path are the server's options."""
        with mock.patch.object(cli, "Server") as made:
            self.run_main("serve", "cli_app:app", "--drain", "1.5", "--health-path", "/h", "--ready-path", "/r")
        given = made.call_args.kwargs
        self.assertEqual((given["drain_seconds"], given["health_path"], given["ready_path"]), (1.5, "/h", "/r"))
        for bad in ("-1", "soon", "nan"):
            self.assertRefused("seconds are a number, 0 or more", "serve", "cli_app:app", "--drain", bad, status=2)

    def test_addresses_to_go_to(self) -> None:
        """The printed address is one that a browser can open."""
        for host, scheme, expected in [
            (None, "http", "http://127.0.0.1:5/"),
            ("", "http", "http://localhost:5/"),
            ("0.0.0.0", "http", "http://localhost:5/"),
            ("::", "https", "https://localhost:5/"),
            ("::1", "http", "http://[::1]:5/"),
            ("example.com", "https", "https://example.com:5/"),
        ]:
            options: Any = mock.Mock(systemd=False, fd=None, host=host, certfile="c" if scheme == "https" else None)
            self.assertEqual(cli._say_address(("x", 5), options), expected)


class Served:
    """`python -m syncws serve` in a process of its own."""

    def __init__(self, process: subprocess.Popen[str], log: Any) -> None:
        self.process = process
        self._log = log
        assert process.stdout is not None
        self.first_line = process.stdout.readline()

    @property
    def port(self) -> int:
        found = re.fullmatch(
            r"Serving cli_app:\S+ on https?://127\.0\.0\.1:(\d+)/(?: with 2 workers)? "
            r"\(press Ctrl-C to stop(?:; a change of its files begins anew)?\)\n",
            self.first_line,
        )
        if found is None:
            raise AssertionError(f"it printed {self.first_line!r}, and {self.log()}")
        return int(found[1])

    def log(self) -> str:
        return written(self._log)

    def lines(self) -> list[str]:
        return self.log().splitlines()

    def end(self, number: signal.Signals) -> int:
        self.process.send_signal(number)
        return self.process.wait(PATIENCE)


@contextlib.contextmanager
def serving(*arguments: str) -> Iterator[Served]:
    """The command in a process of its own, which is killed at the end."""
    command = [sys.executable, "-W", "error", "-m", "syncws", "serve", *arguments]
    # Found without being installed; the current directory is the command's own affair.
    environment = {**os.environ, "PYTHONPATH": str(ROOT), "PYTHONSAFEPATH": "1"}
    with (
        tempfile.TemporaryFile("w+") as log,
        subprocess.Popen(command, stdout=subprocess.PIPE, stderr=log, text=True, env=environment) as process,
    ):
        try:
            yield Served(process, log)
        finally:
            process.kill()


class ServeTests(CommandCase):
    def check_echo(self, url: str, **options: Any) -> None:
        with syncws.dial(url, proxy=None, timeout=PATIENCE, **options) as conn:
            conn.send("hello")
            self.assertEqual(conn.receive(timeout=PATIENCE), "hello")

    def test_pages_and_websockets(self) -> None:
        """The printed address serves pages and WebSockets; a signal ends the server, and peers are told 1001."""
        for number in (signal.SIGTERM, signal.SIGINT):
            with self.subTest(number=number), serving("cli_app:create_app()", "--port", "0") as served:
                address = f"127.0.0.1:{served.port}"
                with urllib.request.urlopen(f"http://{address}/", timeout=PATIENCE) as response:
                    self.assertEqual(response.read(), b"http")
                self.check_echo(f"ws://{address}/echo")
                self.assertTrue(await_(lambda: "WS /echo 1000" in served.log()))
                with contextlib.closing(
                    syncws.dial(f"ws://{address}/echo", proxy=None, timeout=PATIENCE)
                ) as conn, self.assertRaises(syncws.CloseError) as caught:  # fmt: skip
                    served.process.send_signal(number)
                    conn.receive(timeout=PATIENCE)
                self.assertEqual(caught.exception.code, 1001)
                self.assertEqual(served.process.wait(PATIENCE), 0)
                self.assertEqual(
                    [re.sub(r"127\.0\.0\.1:\d+ |\d+\.\d{3}s .*", "", line) for line in served.lines()],
                    [
                        "INFO syncws.server: listening on http://" + address,
                        "INFO syncws.access: GET / 200 ",
                        "INFO syncws.access: WS /echo 1000 ",
                        f"INFO syncws.server: {number.name}: shutting down",
                        "INFO syncws.access: WS /echo 1001 ",
                    ],
                )

    def test_without_the_access_log(self) -> None:
        """--no-access-log leaves out its lines, and a log level of warning those as well that all is well."""
        for option, said in (("--no-access-log", 2), ("--log-level=warning", 0)):
            with self.subTest(option), serving("cli_app:app", "--port", "0", option) as served:
                self.check_echo(f"ws://127.0.0.1:{served.port}/echo")
                self.assertEqual(served.end(signal.SIGTERM), 0)
                self.assertEqual(len(served.lines()), said, served.log())

    def test_verbose(self) -> None:
        """-v shows what is at DEBUG, such as that a WebSocket opens; -vv its frames too."""
        for option, frames in (("-v", False), ("-vv", True)):
            with self.subTest(option), serving("cli_app:app", "--port", "0", option) as served:
                self.check_echo(f"ws://127.0.0.1:{served.port}/echo")
                self.assertEqual(served.end(signal.SIGTERM), 0)
                self.assertIn("opened id=", served.log())
                self.assertEqual("DEBUG syncws.wire:" in served.log(), frames, served.log())

    def test_workers(self) -> None:
        """With --workers several processes serve, and one signal ends them all; --max-connections is the limit of
        each."""
        options = ("--port", "0", "--workers", "2", "--max-connections", "1")
        with serving("cli_app:app", *options) as served, contextlib.ExitStack() as stack:
            conns: list[syncws.Conn] = []
            while len(conns) < 2:
                with contextlib.suppress(syncws.BadHandshakeError):  # 503: by the one that is full, the other was late
                    url = f"ws://127.0.0.1:{served.port}/echo"
                    conns.append(stack.enter_context(syncws.dial(url, proxy=None, timeout=PATIENCE)))
            for conn in conns:
                conn.send("hello")
                self.assertEqual(conn.receive(timeout=PATIENCE), "hello")
            served.process.send_signal(signal.SIGTERM)
            for conn in conns:
                with self.assertRaises(syncws.CloseError) as caught:
                    conn.receive(timeout=PATIENCE)
                self.assertEqual(caught.exception.code, 1001)
                conn.close()
            self.assertEqual(served.process.wait(PATIENCE), 0)
            self.assertIn("INFO syncws.server: SIGTERM: shutting down\n", served.log())

    def test_a_second_signal(self) -> None:
        """A second signal ends the server without waiting for the connections that are left."""
        with serving("cli_app:app", "--port", "0") as served, Client(("127.0.0.1", served.port)) as client:
            client.socket.sendall(asking("/echo"))
            peer = client.upgraded()
            served.process.send_signal(signal.SIGINT)
            self.assertEqual(peer.receive_close(), (1001, ""))  # which this client does not answer
            self.assertEqual(served.end(signal.SIGINT), 0)

    def test_tls(self) -> None:
        """With a certificate the command serves TLS."""
        certificates.files(".")
        with serving("cli_app:app", "--port", "0", "--certfile", "both.pem") as served:
            self.assertIn("https://", served.first_line)
            self.check_echo(f"wss://127.0.0.1:{served.port}/echo", ssl_context=certificates.trusting())
            self.assertEqual(served.end(signal.SIGTERM), 0)

    def test_unix_socket(self) -> None:
        """With --unix the command serves on a Unix socket, and removes its file at the end."""
        with serving("cli_app:app", "--unix", "app.sock") as served:
            self.assertEqual(
                served.first_line, "Serving cli_app:app on the Unix socket app.sock (press Ctrl-C to stop)\n"
            )
            self.check_echo("ws://localhost/echo", unix_path="app.sock")
            self.assertEqual(served.end(signal.SIGTERM), 0)
        self.assertFalse(Path("app.sock").exists())

    def test_an_error(self) -> None:
        """After an error the exit status of the process is not 0."""
        with serving("cli_app:none") as served:
            self.assertEqual((served.first_line, served.process.wait(PATIENCE)), ("", 1))
            self.assertEqual(served.log(), "syncws: cli_app has no attribute 'none'\n")
