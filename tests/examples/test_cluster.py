"""examples/cluster: its commands and its configuration, run without Docker, on ports of this test's own."""

from __future__ import annotations

import contextlib
import os
import re
import shlex
import shutil
import signal
import subprocess
import sys
import tempfile
import unittest
from pathlib import Path
from typing import ClassVar

import syncws
from syncws.testing import LeakChecks, await_
from tests.buses import free_port, need_client, need_server, program
from tests.examples.test_chat import Page
from tests.examples.test_examples import EXAMPLES
from tests.interop.test_nginx import MAIN, replaced
from tests.partners import heavy, need
from tests.tasks import PATIENCE

FOLDER = EXAMPLES / "cluster"
COMPOSE = (FOLDER / "compose.yaml").read_text()


def command_of(service: str) -> list[str]:
    """What a service of compose.yaml runs."""
    found = re.search(rf"^  {service}:.*?^    command: (.*?)$", COMPOSE, re.MULTILINE | re.DOTALL)
    assert found is not None, service
    return shlex.split(found[1])


class Cluster:
    """Redis, two chat servers, and nginx in front of them, while a with block lasts."""

    def __init__(self) -> None:
        nginx = shutil.which("nginx", path=f"{os.environ.get('PATH', os.defpath)}:/usr/sbin:/usr/local/sbin")
        need(nginx is not None, "nginx is not installed")
        need_client()
        need_server("redis")
        self._nginx = str(nginx)
        self.port, self._redis_port = free_port(), free_port()
        self.chat_ports = [free_port(), free_port()]

    def __enter__(self) -> Cluster:
        with contextlib.ExitStack() as stack:
            self._folder = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="syncws-")))
            self._stack = stack
            redis = [str(program("redis")), *command_of("redis")[1:]]
            self._run([*redis, "--port", str(self._redis_port), "--bind", "127.0.0.1"], "redis")
            self.chats = [self._chat(number) for number in range(2)]
            self._write_configuration()
            site = [self._nginx, "-p", str(self._folder), "-c", "nginx.conf", "-e", str(self._folder / "error.log")]
            self._run(site, "nginx")
            self._stack = stack.pop_all()
        return self

    def __exit__(self, *exc_info: object) -> None:
        self._stack.close()

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.port}/"

    def _chat(self, number: int) -> subprocess.Popen[bytes]:
        bus = re.findall(r"^      CHAT_BUS: (.*)$", COMPOSE, re.MULTILINE)[0]
        options = replaced(
            shlex.join(command_of("chat1")[1:]), {"0.0.0.0": "127.0.0.1", "8080": f"{self.chat_ports[number]}"}
        )
        bus = replaced(bus, {"redis:6379": f"127.0.0.1:{self._redis_port}"})
        return self._run([sys.executable, *shlex.split(options)], f"chat{number}", CHAT_BUS=bus)

    def _run(self, command: list[str], name: str, **environment: str) -> subprocess.Popen[bytes]:
        with (self._folder / f"{name}.log").open("wb") as log:
            process = subprocess.Popen(
                command, env={**os.environ, **environment}, cwd=EXAMPLES.parent, stdout=log, stderr=log
            )
        self._stack.callback(process.wait, PATIENCE)
        self._stack.callback(process.kill if name != "nginx" else process.terminate)
        return process

    def _write_configuration(self) -> None:
        site = replaced(
            (FOLDER / "nginx.conf").read_text(),
            {
                "listen 80;": f"listen 127.0.0.1:{self.port};",
                "chat1:8080": f"127.0.0.1:{self.chat_ports[0]}",
                "chat2:8080": f"127.0.0.1:{self.chat_ports[1]}",
            },
        )
        user = "user root;" if os.geteuid() == 0 else ""
        (self._folder / "nginx.conf").write_text(MAIN.format(user=user, folder=self._folder, site=site))

    def wait(self) -> None:
        """Wait until both servers answer, and nginx."""
        for port in (*self.chat_ports, self.port):
            assert await_(lambda port=port: answers(port), PATIENCE), self.log()

    def log(self) -> str:
        return "".join(each.read_text("utf-8", "replace") for each in self._folder.glob("*.log"))


def answers(port: int) -> bool:
    try:
        syncws.dial(f"ws://127.0.0.1:{port}/ws", proxy=None, timeout=PATIENCE).close()
    except OSError:
        return False
    except syncws.BadHandshakeError:
        return False
    return True


def is_away(page: Page) -> bool:
    return bool(page.ask("getAttribute", "#state", "data-state") == "closed")


class FilesTests(unittest.TestCase):
    def test_compose_and_nginx_agree(self) -> None:
        """Each server that nginx knows is a service, on the port on which it listens."""
        servers = re.findall(r"^    server (\w+):(\d+)", (FOLDER / "nginx.conf").read_text(), re.MULTILINE)
        self.assertEqual([name for name, _ in servers], re.findall(r"^  (chat\d):", COMPOSE, re.MULTILINE))
        for _, port in servers:
            self.assertEqual(port, command_of("chat1")[-1])


@heavy
class ClusterTests(LeakChecks):
    first: ClassVar[Page]
    second: ClassVar[Page]

    @classmethod
    def setUpClass(cls) -> None:
        super().setUpClass()
        cls.first, cls.second = Page(), Page()
        for page in (cls.first, cls.second):
            cls.addClassCleanup(page.browser.close)

    def test_one_server_is_killed(self) -> None:
        """A page on one server sees what a page on the other says. When its server is killed it connects to the other
        one, through nginx, and gets what was said meanwhile."""
        cluster = self.enterContext(Cluster())
        cluster.wait()
        ann, bob = self.first, self.second
        for page in (ann, bob):  # one by one: nginx gives each server one
            page.do("goto", cluster.url)
            page.wait_for("#state[data-state=open]")
        ann.take("ann")
        bob.take("bob")
        for page, own, other in ((ann, "ann", "bob"), (bob, "bob", "ann")):
            page.wait_for_online(own, other)
        ann.enter("#text", "one")
        bob.wait_for_line("one")
        cluster.chats[0].send_signal(signal.SIGKILL)
        self.assertTrue(await_(lambda: is_away(ann) != is_away(bob), PATIENCE))
        away, there = (ann, bob) if is_away(ann) else (bob, ann)
        away.ask("evaluate", "clearTimeout(retry), null")  # it does not come back before it is told to
        there.enter("#text", "two")
        there.wait_for_line("two")
        self.assertNotIn("two", away.text("#log"))
        away.do("click", "#retry")
        away.wait_for_line("two")
        there.enter("#text", "three")
        away.wait_for_line("three")
        self.assertNotIn("may be missing", away.text("#log"))


if __name__ == "__main__":
    unittest.main()
