"""The chat over several processes: workers of our server and of gunicorn, and two servers that Redis joins."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import Any, ClassVar
from unittest import mock

from syncws.testing import await_
from tests.buses import RedisServer, free_port, need_client
from tests.examples.test_chat import CHAT, ChatCase, ChatServer, Page, Visitor
from tests.partners import heavy, need
from tests.tasks import PATIENCE

#: Connections that the workers share.
MANY = 6


def workers_of(pid: int) -> list[int]:
    """The processes that a server has forked."""
    return [int(each) for each in Path(f"/proc/{pid}/task/{pid}/children").read_text().split()]


def connections_of(pid: int, port: int) -> int:
    """How many connections a process has on a port on which its server listens."""
    there = set()
    for line in Path("/proc/net/tcp").read_text().splitlines()[1:]:
        _, near, _, state, *_, inode = line.split()[:10]
        if near.endswith(f":{port:04X}") and state == "01":
            there.add(f"socket:[{inode}]")
    return sum(link(each) in there for each in Path(f"/proc/{pid}/fd").iterdir())


def link(path: Path) -> str:
    try:
        return os.readlink(path)
    except OSError:  # closed meanwhile
        return ""


class ProcessesCase(ChatCase):
    """Visitors of a chat in several processes."""

    def setUp(self) -> None:
        super().setUp()
        need(Path("/proc/net/tcp").exists(), "only Linux tells which process has a connection")

    def busy_workers(self, pid: int, port: int) -> list[int]:
        return [each for each in workers_of(pid) if connections_of(each, port)]

    def serve_on(self, bus: str, *options: str) -> ChatServer:
        with mock.patch.dict(os.environ, CHAT_BUS=bus):
            return self.serve(*options)

    def visit_all(self, url: str, pid: int) -> list[Visitor]:
        """Some visitors, who are on two workers at least: one worker does not run when the last of them come."""
        port = int(url.rpartition(":")[2].partition("/")[0])
        visitors = [self.visit_at(url) for _ in range(MANY)]
        busy = self.busy_workers(pid, port)
        if len(busy) == 1:
            os.kill(busy[0], signal.SIGSTOP)
            try:
                visitors += [self.visit_at(url) for _ in range(2)]
            finally:
                os.kill(busy[0], signal.SIGCONT)
        self.assertGreater(len(self.busy_workers(pid, port)), 1)
        return visitors

    def visit_at(self, url: str) -> Visitor:
        visitor = Visitor(url)
        self.addCleanup(visitor.conn.close)
        return visitor

    def hear_next(self, visitor: Visitor, wanted: str) -> Any:
        """The next object with this key: lists of who is online may come in between, as often as they like."""
        while wanted not in (heard := visitor.hear()):
            pass
        return heard

    def wait_for_online(self, visitor: Visitor, *names: str) -> None:
        """Wait for the list with these names, in whatever order the clocks of processes put them."""
        while sorted(self.hear_next(visitor, "online")["online"]) != sorted(names):
            pass

    def check_talk(self, visitors: list[Visitor]) -> None:
        """All hear what one says, see each other, and no name is given twice."""
        for number, each in enumerate(visitors):
            each.tell(name=f"v{number}")
        for each in visitors:
            self.wait_for_online(each, *(f"v{number}" for number in range(len(visitors))))
        first, *_, last = visitors
        first.tell(say="hello")
        for each in visitors:
            self.assertEqual(self.hear_next(each, "say"), {"say": "hello", "from": "v0"})
        first.tell(private=f"V{len(visitors) - 1}", text="psst")
        for each in (first, last):
            self.assertEqual(self.hear_next(each, "private")["private"], "psst")
        for number, each in enumerate(visitors[1:]):
            each.tell(name=f"v{number}")
            self.assertEqual(self.hear_next(each, "error"), {"error": f"the name v{number} is taken"})


class WorkersTests(ProcessesCase):
    def test_our_server(self) -> None:
        """Visitors of four workers of a Server hear each other, without a word about it."""
        server = self.serve("--workers", "4")
        self.check_talk(self.visit_all(server.websocket_url + "ws", server._process.pid))

    def test_gunicorn(self) -> None:
        """Visitors of four workers of gunicorn hear each other, over the local bus that CHAT_BUS names."""
        folder = self.enterContext(tempfile.TemporaryDirectory(prefix="chat"))
        with mock.patch.dict(os.environ, CHAT_BUS=f"{folder}/bus"):
            url, pid = self.gunicorn(Path(folder))
        self.check_talk(self.visit_all(url, pid))

    def gunicorn(self, folder: Path) -> tuple[str, int]:
        port = free_port()
        command = [sys.executable, "-m", "gunicorn", "--chdir", str(CHAT), "-k", "gthread", "-w", "4"]
        with (folder / "log").open("wb") as log:
            process = subprocess.Popen(
                [*command, "--bind", f"127.0.0.1:{port}", "server:make_app()"], stdout=log, stderr=log
            )
        self.addCleanup(process.wait, PATIENCE)
        self.addCleanup(process.terminate)
        self.assertTrue(await_(lambda: (folder / "log").read_text().count("Booting worker") == 4, PATIENCE))
        return f"ws://127.0.0.1:{port}/ws", process.pid


class ServersTests(ProcessesCase):
    def test_one_is_killed(self) -> None:
        """Who was on a server that is killed is no longer online for the others, and the name can be taken."""
        folder = self.enterContext(tempfile.TemporaryDirectory(prefix="chat"))
        first, second = (self.serve_on(f"{folder}/bus") for _ in range(2))
        ann, bob = self.visit(first), self.visit(second)
        ann.tell(name="ann")
        self.wait_for_online(ann, "ann")
        bob.tell(name="bob")
        for each in (ann, bob):
            self.wait_for_online(each, "ann", "bob")
        first._process.kill()
        self.wait_for_online(bob, "bob")
        zoe = self.visit(second)
        zoe.tell(name="ann")
        self.assertEqual(self.hear_next(zoe, "you")["you"], "ann")

    def test_redis(self) -> None:
        """Two servers that Redis joins are one chat: who comes back to the other one gets what was said meanwhile, and
        is told that this is all; after a restart of Redis that it may not be."""
        need_client()
        redis = self.enterContext(RedisServer())
        first, second = (self.serve_on(redis.url) for _ in range(2))
        ann, bob = self.visit(first), self.visit(second)
        self.check_talk([ann, bob])
        ann.conn.close()
        bob.tell(say="you are away")
        bob.tell(say="and we talk")
        self.assertEqual([self.hear_next(bob, "say")["say"] for _ in range(2)], ["you are away", "and we talk"])
        back = self.visit(second)
        back.tell(join="lobby", since=ann.position)
        self.assertEqual([self.hear_next(back, "say")["say"] for _ in range(2)], ["you are away", "and we talk"])
        answer = self.hear_next(back, "recovered")
        self.assertEqual(answer, {"recovered": True, "position": back.position})
        redis.call("FLUSHALL")
        back.tell(join="lobby", since=back.position)
        self.assertFalse(self.hear_next(back, "recovered")["recovered"])


@heavy
class PagesTests(ProcessesCase):
    """Two browsers on one chat."""

    first: ClassVar[Page]
    second: ClassVar[Page]

    @classmethod
    def setUpClass(cls) -> None:
        super().setUpClass()
        cls.first, cls.second = Page(), Page()
        for page in (cls.first, cls.second):
            cls.addClassCleanup(page.browser.close)

    def check_meeting(self) -> None:
        ann, bob = self.first, self.second
        ann.take("ann")
        bob.take("bob")
        for page, own, other in ((ann, "ann", "bob"), (bob, "bob", "ann")):
            page.wait_for_online(own, other)
        ann.enter("#text", "hello from elsewhere")
        bob.wait_for_line("hello from elsewhere")

    def test_two_workers(self) -> None:
        """Pages on two workers of a Server see each other and what is said."""
        server = self.serve("--workers", "4")
        pid, port = server._process.pid, server.port

        def is_only_two() -> bool:
            return sum(connections_of(each, port) for each in workers_of(pid)) == 2

        self.first.open(server)
        for _ in range(20):
            self.second.open(server)
            self.assertTrue(await_(is_only_two, PATIENCE))  # what the pages were loaded over is closed soon
            if len(self.busy_workers(pid, port)) == 2:
                break
        else:
            self.fail("both pages are always on one worker")
        self.check_meeting()

    def test_two_servers(self) -> None:
        """Pages on two servers that Redis joins see each other and what is said."""
        need_client()
        redis = self.enterContext(RedisServer())
        for page in (self.first, self.second):
            page.open(self.serve_on(redis.url))
        self.check_meeting()
