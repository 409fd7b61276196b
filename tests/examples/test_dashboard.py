"""The dashboard example: its server as a process, what pages get, and a browser that shows the plot."""

from __future__ import annotations

import http.client
import importlib.util
import json
import signal
import socket
import subprocess
import sys
import threading
import time
from types import ModuleType
from typing import Any, ClassVar

import syncws
from syncws.testing import LeakChecks, await_
from tests.examples.test_examples import EXAMPLES, ExampleServer
from tests.interop.nodes import NodeProgram, start_browser
from tests.partners import heavy
from tests.tasks import PATIENCE, Task


class DashboardServer(ExampleServer):
    """`dashboard/server.py`, which measures twenty times a second."""

    script = "dashboard/server.py"
    title = "Dashboard"

    def __init__(self, *options: str) -> None:
        super().__init__("--interval", "0.05", *options)


def load_server() -> ModuleType:
    """`dashboard/server.py` as a module, for tests of what pages cannot see."""
    spec = importlib.util.spec_from_file_location("dashboard_server", EXAMPLES / "dashboard" / "server.py")
    assert spec is not None and spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


class Page:
    """The part of a connection that `Feed.push_to` needs. A write waits until its gate is open."""

    def __init__(self) -> None:
        self.gate = threading.Event()
        self.writing = threading.Event()
        self.numbers: list[list[int]] = []  # of the samples of each message
        self.closed = False

    def send_json(self, value: Any, timeout: float | None = None) -> None:
        self.writing.set()
        if not self.gate.wait(PATIENCE):
            raise AssertionError("nobody opened the gate")
        self.numbers.append([sample["number"] for sample in value["samples"]])

    @property
    def newest(self) -> int:
        """The number of the latest sample that the page has."""
        return self.numbers[-1][-1] if self.numbers else 0


class FeedTests(LeakChecks):
    """`Feed`, with pages that are as slow as a test wants. A real one would first fill megabytes of socket buffers."""

    def open(self, feed: Any) -> tuple[Page, Task]:
        """A page that takes nothing yet, and the handler that pushes to it; both end with the test."""
        page = Page()
        task = Task(feed.push_to, page)

        def end() -> None:
            page.closed = True
            page.gate.set()
            task.result()

        self.addCleanup(end)
        return page, task

    def test_a_slow_page(self) -> None:
        """A page stuck in a write delays no other, and then gets the latest sample, not those it missed."""
        feed = self.enterContext(load_server().Feed(0.05))
        stuck, _ = self.open(feed)
        self.assertTrue(stuck.writing.wait(PATIENCE))
        quick, _ = self.open(feed)
        quick.gate.set()
        self.assertTrue(await_(lambda: len(quick.numbers) >= 5, PATIENCE), "a stuck page delays the others")
        missed = quick.newest
        stuck.gate.set()
        self.assertTrue(await_(lambda: len(stuck.numbers) >= 2, PATIENCE), "it does not go on")
        history, then = stuck.numbers[:2]
        self.assertEqual(len(then), 1)
        self.assertGreaterEqual(then[0], missed)
        self.assertGreater(then[0], history[-1] + 1)

    def test_the_end(self) -> None:
        """A handler that waits for a sample sees that its page is gone, though no sample comes."""
        feed = self.enterContext(load_server().Feed(3600))
        page, task = self.open(feed)
        page.gate.set()
        self.assertTrue(await_(lambda: page.newest == 1, PATIENCE))
        page.closed = True
        task.result()


class DashboardTests(LeakChecks):
    def serve(self, *options: str) -> DashboardServer:
        return self.enterContext(DashboardServer(*options))

    def look(self, server: DashboardServer, **options: Any) -> syncws.Conn:
        """A page's connection."""
        return self.enterContext(syncws.dial(server.websocket_url + "ws", proxy=None, **options))

    def samples(self, conn: syncws.Conn) -> list[dict[str, Any]]:
        message: dict[str, Any] = conn.receive_json(timeout=PATIENCE)
        self.assertEqual(sorted(message), ["interval", "samples"])
        self.assertEqual(message["interval"], 0.05)
        return list(message["samples"])

    def test_samples(self) -> None:
        """A page gets the samples so far, and then the latest one each time, with growing numbers and times."""
        server = self.serve()
        first = self.look(server)
        seen = self.samples(first)
        while len(seen) < 8:
            [sample] = self.samples(first)
            seen.append(sample)
        numbers, times = [each["number"] for each in seen], [each["time"] for each in seen]
        self.assertEqual(numbers, sorted(set(numbers)))
        self.assertEqual(times, sorted(times))
        self.assertLess(abs(times[-1] - time.time()), PATIENCE)
        for sample in seen:
            self.assertGreaterEqual(sample["load"], 0)
            self.assertTrue(sample["cpu"] is None or 0 <= sample["cpu"] <= 1, sample)
        self.assertIn(seen[-1], self.samples(self.look(server)))  # what a page that comes later begins with

    def test_two_pages(self) -> None:
        """Every page gets the same samples."""
        server = self.serve()
        seen = []
        for conn in (self.look(server), self.look(server)):
            mine = {each["number"]: each for each in self.samples(conn)}
            while max(mine) < 12:
                mine.update({each["number"]: each for each in self.samples(conn)})
            seen.append(mine)
        common = seen[0].keys() & seen[1].keys()
        self.assertGreater(len(common), 0)  # a page may miss some
        self.assertEqual({key: seen[0][key] for key in common}, {key: seen[1][key] for key in common})

    def test_a_page_that_talks(self) -> None:
        """A message from a page closes its connection with 1008, with one line at most in the server's log."""
        server = self.serve()
        conn = self.look(server)
        conn.send("hello?")
        with self.assertRaises(syncws.CloseError) as caught:
            while True:
                conn.receive(PATIENCE)
        self.assertEqual(caught.exception.code, 1008)
        self.assertNotIn("Traceback", server.log())

    def test_a_page_that_does_not_read(self) -> None:
        """Pages that read nothing take nothing from one that does."""
        server = self.serve()
        stuck = [self.look(server) for _ in range(3)]
        conn = self.look(server)
        for _ in range(10):
            self.samples(conn)
        for each in stuck:
            each.close_now()

    def test_a_page_that_leaves(self) -> None:
        """Pages come and go, with a close or without; each leaves at most one line in the log."""
        server = self.serve()
        for number in range(6):
            conn = self.look(server)
            self.samples(conn)
            if number % 2:
                conn.close()
            else:
                conn.close_now()
        conn = self.look(server)
        self.samples(conn)
        conn.close()
        self.assertEqual(server.end(), 0)
        self.assertEqual(server.log(), "INFO SIGTERM: shutting down\n")

    def test_goodbye(self) -> None:
        """SIGTERM and Ctrl-C tell the pages 1001, at once even between two distant samples; exit code 0."""
        for number in (signal.SIGTERM, signal.SIGINT):
            with self.subTest(number), DashboardServer("--interval", "3600") as server:
                conn = self.look(server)
                conn.receive(PATIENCE)
                server.signal(number)
                with self.assertRaises(syncws.CloseError) as caught:
                    conn.receive(PATIENCE)
                self.assertEqual(caught.exception.code, 1001)
                conn.close()
                self.assertEqual(server.wait(), 0)
                self.assertNotIn("Traceback", server.log())

    def test_files(self) -> None:
        """The page, its style and its script are served as such, with a policy; nothing else is."""
        server = self.serve()
        connection = http.client.HTTPConnection("127.0.0.1", server.port, timeout=PATIENCE)
        self.addCleanup(connection.close)
        for path, kind in (("/", "html"), ("/style.css", "css"), ("/dashboard.js", "javascript")):
            connection.request("GET", path)
            response = connection.getresponse()
            file = EXAMPLES / "dashboard" / (path[1:] or "index.html")
            self.assertEqual((response.status, response.read()), (200, file.read_bytes()))
            self.assertEqual(response.headers["Content-Type"], f"text/{kind}; charset=utf-8")
            self.assertIn("default-src 'none'", response.headers["Content-Security-Policy"])
        for path in ("/server.py", "/../server.py", "/nothing"):
            connection.request("GET", path)
            response = connection.getresponse()
            self.assertEqual((response.status, response.read()), (404, b"not found\n"))

    def test_no_load(self) -> None:
        """A system that does not tell its load is one line, and exit code 1."""
        program = (
            "import os, runpy, sys\n"
            "def getloadavg(): raise OSError\n"
            "os.getloadavg = getloadavg\n"
            "sys.argv = [sys.argv[1], '--port', '0']\n"
            "runpy.run_path(sys.argv[0], run_name='__main__')\n"
        )
        script = str(EXAMPLES / "dashboard" / "server.py")
        done = subprocess.run([sys.executable, "-c", program, script], capture_output=True, text=True, timeout=60)
        self.assertEqual((done.returncode, done.stdout), (1, ""))
        self.assertEqual(done.stderr, "This system does not tell its load: there is nothing to show.\n")

    def test_mistakes(self) -> None:
        """A mistake in an option is one line that names it, and exit code 2; a port that is taken is exit code 1."""
        script = str(EXAMPLES / "dashboard" / "server.py")
        for option, value in (("--port", "x"), ("--port", "65536"), ("--interval", "0"), ("--interval", "nan")):
            done = subprocess.run([sys.executable, script, option, value], capture_output=True, text=True, timeout=60)
            self.assertEqual(done.returncode, 2)
            self.assertRegex(done.stderr.splitlines()[-1], f"error: argument {option}: .* number .*, not '{value}'")
        with socket.create_server(("127.0.0.1", 0)) as taken:
            number = str(taken.getsockname()[1])
            done = subprocess.run(
                [sys.executable, script, "--port", number], capture_output=True, text=True, timeout=60
            )
        self.assertEqual((done.returncode, done.stdout), (1, ""))
        self.assertRegex(done.stderr, f"^Cannot listen on 127.0.0.1 port {number}: .*in use\n$")


@heavy
class DashboardPageTests(LeakChecks):
    browser: ClassVar[NodeProgram]

    @classmethod
    def setUpClass(cls) -> None:
        super().setUpClass()
        cls.browser = start_browser()
        cls.addClassCleanup(cls.browser.close)

    def ask(self, script: str) -> Any:
        return self.browser.call("ask", "evaluate", script)

    def wait_for(self, selector: str) -> None:
        self.browser.call("page", "waitForSelector", selector)

    def test_the_plot(self) -> None:
        """The page connects, draws both curves, shows the numbers as text, and comes back to a restarted server."""
        self.browser.call("complaints")  # those of a test before
        with DashboardServer() as server:
            port = str(server.port)
            self.browser.call("page", "goto", server.url)
            self.wait_for("#state[data-state=open]")
            count = "+document.querySelector('#count').textContent"
            self.assertTrue(await_(lambda: self.ask(count) > 9, PATIENCE), "no samples came")
            self.assertRegex(self.ask("document.querySelector('#load').textContent"), r"^\d+\.\d\d$")
            self.assertRegex(self.ask("document.querySelector('#cpu').textContent"), r"^(\d+ %|not known)$")
            self.assertGreater(self.ask(_DRAWN % "--load"), 20)
            self.assertEqual(json.loads(self.ask(_OVERFLOW)), [0, 0])
        self.wait_for("#state[data-state=closed]")
        with DashboardServer("--port", port):
            self.wait_for("#state[data-state=open]")
        self.assertEqual([each for each in self.browser.call("complaints") if "WebSocket" not in str(each)], [])


#: How many pixels of the plot have the colour of a curve.
_DRAWN = """(() => {
  const canvas = document.querySelector("#plot");
  const probe = document.createElement("canvas").getContext("2d");
  probe.fillStyle = getComputedStyle(canvas).getPropertyValue("%s");
  probe.fillRect(0, 0, 1, 1);
  const wanted = probe.getImageData(0, 0, 1, 1).data;
  const pixels = canvas.getContext("2d").getImageData(0, 0, canvas.width, canvas.height).data;
  let count = 0;
  for (let at = 0; at < pixels.length; at += 4)
    count += [0, 1, 2].every((part) => Math.abs(pixels[at + part] - wanted[part]) < 24) && pixels[at + 3] > 128;
  return count;
})()"""

#: How far the page is wider than its window, and the plot wider than the page.
_OVERFLOW = """JSON.stringify([
  document.documentElement.scrollWidth - document.documentElement.clientWidth,
  Math.max(0, document.querySelector("#plot").getBoundingClientRect().right - innerWidth),
])"""
