"""Every Python block of README and docs runs, in order, in one namespace for each page.

Servers that a page starts are real, but on a port the system chooses, and `serve_forever` returns at once: each of
them must then complete a WebSocket handshake or answer a request, and shut down. A client on a page reaches
the latest of its servers that still serves.
"""

from __future__ import annotations

import logging
import re
import signal
import socket
import sqlite3
import subprocess
import sys
import unittest
from pathlib import Path
from typing import Any
from unittest import mock

import syncws
from syncws._conn import states
from syncws._net import connector
from syncws._net.attempt import Attempt
from syncws.testing import LeakChecks
from tests import log_lines
from tests.handshakes import asking
from tests.tasks import PATIENCE

from .page_buses import own_buses
from .source import Defined, locks, threads
from .test_layout import FLOORS

ROOT = Path(__file__).resolve().parent.parent
PAGES = [ROOT / "README.md", *sorted((ROOT / "docs").glob("*.md"))]
ALL_PAGES = [
    *PAGES,
    ROOT / "CONTRIBUTING.md",
    ROOT / "CHANGELOG.md",
    ROOT / "SECURITY.md",
    ROOT / "CODE_OF_CONDUCT.md",
    *sorted((ROOT / "docs" / "project").glob("*.md")),
    *sorted((ROOT / "examples").rglob("*.md")),
]

# Pages that speak of the code by its names.
ARCHITECTURE = ROOT / "docs" / "architecture.md"
CODE_PAGES = [ARCHITECTURE, ROOT / "docs" / "glossary.md"]

# Locks that are made in a function, and their names in the table: the object that has it, or that makes it.
PASSED_ON = {
    "Conn.__init__": "Inbound.turn",
    "Conn.close_read": "Conn.close_read",
}

# What those pages name that is not of this project: of Python, of the system, of what users write.
FOREIGN = {"accept()", "atexit", "close", "environ", "recv", "repr()", "select", "str", "str()"}

_NAME = re.compile(r"[A-Za-z_]\w*(\.\w+)*(\(\))?")
_PLACE = re.compile(r"`([A-Za-z_][\w.]*)`\s(?:in\s|\()`(syncws/[\w/]+\.py)`")
# What a page's program begins with in the test below: its server takes the socket that the test listens on.
_ON_LISTENER = """
import socket, sys, syncws

bind = syncws.Server.__init__

def bind_there(server, *handler, host="", port=0, **options):
    bind(server, *handler[:1], listener=socket.socket(fileno=int(sys.argv[1])), **options)

syncws.Server.__init__ = bind_there
"""

# What a client says it is, taken for who it is.
_CLAIMED = re.compile(r"\b(id|user|name)\s*=\s*[\w.]*\b(query|args|GET|params|headers)\b")

_FENCE = re.compile(r"^```.*?^```", re.MULTILINE | re.DOTALL)
_BLOCK = re.compile(r"^```python\n(.*?)^```", re.MULTILINE | re.DOTALL)


class PagesTests(unittest.TestCase):
    """The pages are right about the project."""

    def test_every_page_has_been_found(self) -> None:
        """The pages are where this test looks for them, and README has code."""
        self.assertIn(ROOT / "docs" / "guide.md", PAGES)
        self.assertTrue(_BLOCK.findall((ROOT / "README.md").read_text()))

    def test_first_server_has_twelve_lines(self) -> None:
        """The first server of README has at most 12 lines of code."""
        first = _BLOCK.findall((ROOT / "README.md").read_text())[0]
        self.assertLessEqual(sum(1 for line in first.splitlines() if line.strip()), 12)

    def test_links_lead_somewhere(self) -> None:
        """A link inside the project leads to a file that is there, and to a heading that it has."""
        for page in ALL_PAGES:
            for target, anchor in _links(page):
                with self.subTest(f"{page.relative_to(ROOT)}: {target}#{anchor}"):
                    there = (page.parent / target).resolve() if target else page
                    self.assertTrue(there.exists(), "no such file")
                    if anchor:
                        self.assertIn(anchor, _anchors(there.read_text()), "no such heading")

    def test_what_a_link_is(self) -> None:
        """The helpers see files and headings as a reader's browser does; else the test above would prove nothing."""
        self.assertLess(20, sum(1 for page in ALL_PAGES for _ in _links(page)))
        self.assertTrue(any(anchor for page in ALL_PAGES for _, anchor in _links(page)))
        text = "# A `b` (c), d\n## Same\n## Same\n```\n# no heading\n```\n"
        self.assertEqual(_anchors(text), {"a-b-c-d", "same", "same-1"})

    def test_a_stranger_finds_the_answer(self) -> None:
        """What a stranger asks first is one step from README or CONTRIBUTING: a link, or a file that is named there."""
        for start, step, answer in (
            ("CONTRIBUTING.md", "syncws/_conn/controls.py", "def answer_ping"),
            ("README.md", "docs/deployment.md", "`systemctl stop` sends SIGTERM."),
            ("CONTRIBUTING.md", "docs/architecture.md#a-signal-and-the-end-of-a-server", "**On SIGTERM or SIGINT**"),
            ("README.md", "docs/limits.md", "where it is enforced"),
            ("CONTRIBUTING.md", "docs/limits.md", "where it is enforced"),
            ("README.md", "docs/architecture.md", "**What users may import**"),
            ("CONTRIBUTING.md", "tests/test_layout.py", "PUBLIC = {"),
            ("README.md", "docs/add-a-server.md", "# Add a WSGI server"),
            ("CONTRIBUTING.md", "docs/add-a-server.md", "# Add a WSGI server"),
            ("README.md", "CONTRIBUTING.md", "    .venv/bin/python -m tests tests.conn.test_wire "),
        ):
            with self.subTest(f"{start}: {step}"):
                steps = re.findall(r"(?<=\]\()[^)]+|(?<=`)[\w/.]+(?=`)", (ROOT / start).read_text())
                self.assertIn(step, steps)
                self.assertIn(answer, (ROOT / step.partition("#")[0]).read_text())

    def test_no_sample_asks_the_client_who_it_is(self) -> None:
        """The first sample of Manager took the id from the query, so `?user=ann` threw Ann out and read her messages:
        no sample of a page, an example or a docstring takes an id, a user or a name from what a client says it is."""
        for sample in [*PAGES, *ROOT.glob("examples/**/*.py"), *ROOT.glob("syncws/**/*.py")]:
            with self.subTest(sample.name):
                self.assertNotRegex(sample.read_text(), _CLAIMED)

    def test_named_files_are_there(self) -> None:
        """A file of the project that a page names is there."""
        for page in ALL_PAGES:
            for name in re.findall(r"`((?:syncws|tests|benchmarks|examples|docs)/[\w./-]*)`", page.read_text()):
                self.assertTrue((ROOT / name).exists(), f"{page.name}: {name}")

    def test_named_code_is_there(self) -> None:
        """Every name of code in the glossary and on the page on the architecture is in the code."""
        defined = Defined()
        for page in CODE_PAGES:
            for name in re.findall(r"`([^`\n]+)`", _FENCE.sub("", page.read_text())):
                with self.subTest(f"{page.name}: {name}"):
                    self.assertTrue(defined.has(name) or name in FOREIGN or not _NAME.fullmatch(name))

    def test_named_code_is_where_a_page_says(self) -> None:
        """A name that is given with its file, as "`Wire.post` in `syncws/_conn/wire.py`", is in that file."""
        places = [place for page in ALL_PAGES for place in _PLACE.findall(page.read_text())]
        self.assertLess(20, len(places))
        for name, file in places:
            with self.subTest(f"{name}: {file}"):
                self.assertTrue(Defined(file).has(name))

    def test_words_are_where_the_glossary_says(self) -> None:
        """Every name of code in a row of the glossary is in one of the files of that row."""
        for row in re.findall(r"^\|.*`syncws/.*$", (ROOT / "docs" / "glossary.md").read_text(), re.MULTILINE):
            *_, meaning, files, _ = row.split("|")
            here = Defined(*re.findall(r"`(.*?)`", files))
            for name in re.findall(r": `(\w[\w.]*)`|, `(\w[\w.]*)` *$", meaning):
                with self.subTest(row):
                    self.assertTrue(here.has("".join(name)))

    def test_what_is_taken_for_code(self) -> None:
        """The helper knows what is defined and what is not; else the test above would prove nothing."""
        defined = Defined()
        for name in ("Conn", "Conn.read_message", "Wire.frame_lock", "post_to_all", "_conn", "wire", "syncws.wsgi"):
            self.assertTrue(defined.has(name), name)
        for name in ("Conn.frame_lock", "Wire.no_such_thing", "no_such_thing", "NoSuchThing.close", "syncws.nothing"):
            self.assertFalse(defined.has(name), name)

    def test_the_drawing_has_every_floor(self) -> None:
        """The drawing of the floors has every folder, and every module that stands in none, on its floor."""
        drawn = {
            name: int(number)
            for number, names in re.findall(r"^ (\d)   (.*)$", ARCHITECTURE.read_text(), re.MULTILINE)
            for name in re.findall(r"\w+", names)
            if name in FLOORS
        }
        self.assertEqual(drawn, {name: floor for name, floor in FLOORS.items() if not name.startswith("__")})

    def test_every_lock_is_in_the_table(self) -> None:
        """The table of locks has every lock that the package makes, and no other."""
        section = ARCHITECTURE.read_text().partition("\n## The locks\n")[2].partition("\n## ")[0]
        listed = {name for row in _first_cells(section) for name in re.findall(r"`([\w.]+)`", row)}
        self.assertEqual({PASSED_ON.get(name, name) for name in locks()}, listed)
        for name in PASSED_ON:
            self.assertIn(name, locks())

    def test_the_states_are_those_of_the_code(self) -> None:
        """The table of a connection's states is that of the module which has them, and has every state."""
        section = ARCHITECTURE.read_text().partition("\n## The end of a connection\n")[2].partition("\n## ")[0]
        rows = _rows(section)
        self.assertEqual(rows, _rows(states.__doc__ or ""))
        self.assertEqual([row[0] for row in rows[1:]], [state.name for state in states.State])

    def test_every_thread_is_in_the_table(self) -> None:
        """The table of threads has every thread that the package starts, and no other."""
        section = ARCHITECTURE.read_text().partition("\n## The threads of a process\n")[2].partition("\n## ")[0]
        listed = {name for row in _first_cells(section) for name in re.findall(r"`(syncws-[^`]*)`", row)}
        self.assertEqual({re.sub(r"<.*>", "", name) for name in listed}, threads())


class BlocksOfAKindTests(unittest.TestCase):
    def test_they_run_elsewhere(self) -> None:
        """A block that needs a framework, files or a process of its own says so behind its fence, and is on a page that
        tests/databases, test_redis_protocol, testing/test_page, examples/test_tutorial or test_coming_from runs."""
        kinds = {kind for page in ALL_PAGES for kind in re.findall(r"^```python (.*)$", page.read_text(), re.MULTILINE)}
        run_elsewhere = {"flask", "flask-tests", "django", "django-tests", "redis", "tutorial", "pytest", "program"}
        self.assertEqual(kinds, run_elsewhere)
        elsewhere = {"databases.md", "redis-protocol.md", "testing.md", "tutorial.md"}
        for page in ALL_PAGES:
            if page.name not in elsewhere and not page.name.startswith("from-"):
                self.assertNotIn("\n```python ", page.read_text(), page.name)


class ProgramsTests(LeakChecks):
    """What a page shows as a program is one."""

    def test_first_programs_serve(self) -> None:
        """The guide's first program ended at once, as nothing kept its main thread: the first server of each page goes
        on serving, and ends in order at Ctrl-C."""
        for page, blocks in (("README.md", 1), ("docs/guide.md", 2), ("docs/deployment.md", 1), ("docs/wsgi.md", 2)):
            with self.subTest(page), socket.create_server(("127.0.0.1", 0)) as listener:
                listener.listen()
                program = "\n".join([_ON_LISTENER, *_BLOCK.findall((ROOT / page).read_text())[:blocks]])
                command = [sys.executable, "-c", program, str(listener.fileno())]
                with subprocess.Popen(command, pass_fds=[listener.fileno()], cwd=ROOT, stderr=subprocess.PIPE) as run:
                    try:
                        _ask(listener.getsockname())
                    except BaseException:
                        run.kill()  # here: the end of the block waits for it
                        raise
                    run.send_signal(signal.SIGINT)
                    _, said = run.communicate(timeout=PATIENCE)
                self.assertEqual((run.returncode, b"Traceback" in said), (0, False), said.decode())


class BlocksTests(LeakChecks):
    def test_blocks_run(self) -> None:
        """Each page's blocks run in order, and each server they start serves."""
        for page in PAGES:
            with self.subTest(page=page.name):
                self._run_page(page)

    def _run_page(self, page: Path) -> None:
        self.addCleanup(setattr, logging.root, "handlers", logging.root.handlers[:])  # as does its first log line
        self.addCleanup(signal.signal, signal.SIGTERM, signal.getsignal(signal.SIGTERM))  # a page sets a handler
        servers: list[syncws.Server] = []
        bind = syncws.Server.__init__

        def bind_anywhere(server: syncws.Server, *args: Any, **options: Any) -> None:
            if "unix_path" not in options:
                args, options = args[:1], {**options, "host": "127.0.0.1", "port": 0}
            bind(server, *args, **options)
            servers.append(server)

        until_ctrl_c: list[syncws.Server] = []
        leave = syncws.Server.__exit__

        def serve_elsewhere(server: syncws.Server) -> None:
            server.start()
            until_ctrl_c.append(server)
            _ask(server.address)

        def leave_unless_it_serves(server: syncws.Server, *exc_info: Any) -> None:
            if server not in until_ctrl_c:  # `syncws.serve` has a block around it, which ends at Ctrl-C only
                leave(server, *exc_info)

        def connect_there(host: str, port: int, attempt: Attempt) -> socket.socket:
            serving = [server for server in servers if " serving" in repr(server)]
            if port in [server.address[1] for server in serving]:  # the page has asked its server where it is
                return connector.connect_tcp(host, port, attempt)
            self.assertEqual((host, port), ("127.0.0.1", 8080), "a page's clients talk to its own server")
            return connector.connect_tcp(*serving[-1].address[:2], attempt)

        with (
            mock.patch("syncws._client.dialer.connect_tcp", connect_there),
            mock.patch.object(syncws.Server, "__init__", bind_anywhere),
            mock.patch.object(syncws.Server, "serve_forever", serve_elsewhere),
            mock.patch.object(syncws.Server, "__exit__", leave_unless_it_serves),
            own_buses(text := page.read_text()),
        ):
            namespace: dict[str, Any] = {"__name__": "a_page"}  # what no file or folder is called: Flask looks for it
            try:
                for block in _BLOCK.finditer(text):
                    line = text.count("\n", 0, block.start()) + 1
                    exec(compile("\n" * line + block.group(1), str(page), "exec"), namespace)
            finally:
                for server in servers:
                    self.assertEqual(server.shutdown(5), 0)
                for each in namespace.values():
                    if isinstance(each, sqlite3.Connection):
                        each.close()
        for thread in self._left_threads():
            if thread.name != "syncws-drain":
                thread.join(5)


class LogLines(unittest.TestCase):
    """docs/logs.md, which lists every line."""

    PAGE = ROOT / "docs" / "logs.md"

    def test_every_line_is_on_the_page(self) -> None:
        """A line that the code may log has a row in docs/logs.md, under its logger, with its level."""
        levels: dict[tuple[str, str], str] = {}
        for row in log_lines.in_page(self.PAGE.read_text()):
            levels[row.logger, row.text] = levels.get((row.logger, row.text), "") + row.level
        for where, line in log_lines.in_code():
            with self.subTest(where):
                known = (line.logger, line.text) in levels
                self.assertTrue(known, f"add a row to docs/logs.md, under {line.logger}, for: {line.text}")
                self.assertIn(line.level, levels[line.logger, line.text])

    def test_no_other_line_is_on_the_page(self) -> None:
        """A row of docs/logs.md is a line that the code may log."""
        lines = {(line.logger, line.text) for _, line in log_lines.in_code()}
        for row in log_lines.in_page(self.PAGE.read_text()):
            with self.subTest(row.text):
                self.assertTrue((row.logger, row.text) in lines, f"no line of {row.logger} is: {row.text}")

    def test_how_lines_are_found(self) -> None:
        """The search finds lines of every kind, on both sides."""
        self.assertGreater(len(list(log_lines.in_code())), 60)
        (row,) = log_lines.in_page("## `syncws.x`\n\n| DEBUG, INFO | `<a>: b <c d>` | e | f |\n")
        self.assertEqual(row, log_lines.Line("syncws.x", "DEBUG, INFO", "*: b *"))


def _ask(address: Any) -> None:
    """A server answers a WebSocket handshake with a 101, on one of the paths that pages use."""
    for path in ("/ws", "/echo"):
        with socket.create_connection(address, timeout=PATIENCE) as client:
            client.sendall(asking(path, "docs"))
            head = client.recv(4096)
        if head.startswith(b"HTTP/1.1 101 "):
            return
    raise AssertionError(f"the server answered {head!r}")


def _links(page: Path) -> list[tuple[str, str]]:
    """(file, heading) of each link of a page to the project itself; either may be empty."""
    return re.findall(r"\]\(([^)#:\s]*)(?:#([^)\s]+))?\)", page.read_text())


def _anchors(text: str) -> set[str]:
    """The names of a page's headings in links."""
    anchors: list[str] = []
    for heading in re.findall(r"^#+ (.*)$", _FENCE.sub("", text), re.MULTILINE):
        plain = re.sub(r"\[([^\]]*)\]\([^)]*\)", r"\1", heading)
        anchor = re.sub(r"[^\w\- ]", "", plain.lower()).strip().replace(" ", "-")
        before = sum(each == anchor or re.fullmatch(re.escape(anchor) + r"-\d+", each) is not None for each in anchors)
        anchors.append(f"{anchor}-{before}" if before else anchor)
    return set(anchors)


def _rows(text: str) -> list[list[str]]:
    """The cells of each row of a table, its heading among them."""
    rows = [[cell.strip() for cell in row.split("|")[1:-1]] for row in text.splitlines() if row.startswith("|")]
    return [row for row in rows if not set("".join(row)) <= {"-"}]


def _first_cells(text: str) -> list[str]:
    """The first cell of each row of a table, except its heading."""
    return [row[0] for row in _rows(text)[1:]]
