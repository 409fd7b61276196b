"""docs/tutorial.md, followed as a reader follows it: its files are written, its programs run, and what the page says
that people type and see is typed and seen.

A box of a file is written as it is, and one with `-` and `+` changes the file that the text before it names. Only the
port is another one, as 8080 may be taken.
"""

from __future__ import annotations

import json
import os
import re
import shlex
import signal
import socket
import subprocess
import sys
import tempfile
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, NamedTuple

import syncws
from syncws.testing import LeakChecks, await_
from tests.interop.nodes import NodeProgram, start_browser
from tests.partners import heavy
from tests.tasks import PATIENCE, written

ROOT = Path(__file__).resolve().parents[2]
PAGE = ROOT / "docs" / "tutorial.md"

_BOX = re.compile(r"^```(\w+)[^\n]*\n(.*?)^```$", re.MULTILINE | re.DOTALL)
_FILE = re.compile(r"`(\w+\.(?:py|html))`")
_LINE = re.compile(r"(\w+) (?:([<>]) (.*)|(closes))")


class Box(NamedTuple):
    """A box of the page: its language, its text, and the file that the text before it names last."""

    language: str
    text: str
    file: str | None


class Step(NamedTuple):
    """A step of the page."""

    title: str
    boxes: list[Box]

    def boxes_of(self, language: str) -> list[str]:
        return [box.text for box in self.boxes if box.language == language]


def steps() -> list[Step]:
    """The steps of the page, in order; the last one is the chat in Flask."""
    found = []
    for section in PAGE.read_text().split("\n## ")[1:]:
        boxes, end, file = [], 0, None
        for box in _BOX.finditer(section):
            named = _FILE.findall(section[end : box.start()])
            file = named[-1] if named else file
            boxes.append(Box(box[1], box[2], file))
            end = box.end()
        found.append(Step(section.partition("\n")[0], boxes))
    return found


def changed(before: str, change: str) -> str:
    """A file after the change that a box asks for, which fits in exactly one place."""
    lines = change.splitlines()
    old = "".join(f"{line[1:]}\n" for line in lines if not line.startswith("+"))
    new = "".join(f"{line[1:]}\n" for line in lines if not line.startswith("-"))
    places = len(re.findall(rf"(?<=\n)(?={re.escape(old)})", f"\n{before}"))
    if places != 1:
        raise AssertionError(f"the change fits in {places} places:\n{change}")
    return f"\n{before}".replace(f"\n{old}", f"\n{new}")[1:]


def files_after(number: int) -> dict[str, str]:
    """The files that a reader has at the end of a step."""
    files: dict[str, str] = {}
    for step in steps()[:number]:
        for box in step.boxes:
            if box.language == "diff":
                assert box.file is not None
                files[box.file] = changed(files[box.file], box.text)
            elif box.language in ("python", "html"):
                assert box.file is not None
                files[box.file] = box.text
    return files


class PageTests(LeakChecks):
    """The page by itself."""

    def test_ten_steps(self) -> None:
        """There are ten steps, in order, and each has something to type and something that is seen."""
        titles = [step.title for step in steps()]
        self.assertEqual([title.partition(":")[0] for title in titles[:10]], [f"Step {n}" for n in range(1, 11)])
        self.assertEqual(titles[10:], ["The same chat in Flask"])
        for step in steps()[:8]:
            self.assertTrue(step.boxes_of("text") or "page" in step.title, step.title)

    def test_every_change_fits(self) -> None:
        """Each change fits the file as it is by then, and the programs are Python after each step."""
        for number in range(1, 12):
            for name, text in files_after(number).items():
                if name.endswith(".py"):
                    compile(text, name, "exec")
        self.assertEqual(set(files_after(11)), {"chat.py", "page.html", "test_chat.py", "app.py"})

    def test_a_change_that_does_not_fit(self) -> None:
        """The helper refuses a change that fits nowhere, or in two places; else the test above would prove nothing."""
        self.assertEqual(changed("a\n\nb\n", " a\n\n-b\n+c\n"), "a\n\nc\n")
        for before in ("a\n", "b\nb\n"):
            with self.assertRaisesRegex(AssertionError, "fits in"):
                changed(before, "-b\n+c\n")


class Person:
    """Somebody at a terminal. Each line of a conversation is one that is typed, or that must be seen next."""

    def __init__(self, url: str) -> None:
        self.conn = syncws.dial(url, proxy=None)
        self.position: str | None = None
        self.process = 0

    def type(self, line: str) -> None:
        self.conn.send(line.replace("<position>", self.position or ""))

    def see(self, expected: str) -> None:
        if expected.startswith("closed "):
            self._see_the_end(expected.removeprefix("closed "))
            return
        seen = self.conn.receive(timeout=PATIENCE)
        if expected.startswith("{"):
            self._compare(json.loads(seen), json.loads(expected))
        elif seen != expected:
            raise AssertionError(f"seen {seen!r}, not {expected!r}")

    def _compare(self, seen: dict[str, Any], expected: dict[str, Any]) -> None:
        self.position = seen.get("position", self.position)
        self.process = seen.get("process", self.process)
        for name in ("position", "process"):  # whatever they are
            if name in seen and name in expected:
                expected[name] = seen[name]
        if seen != expected:
            raise AssertionError(f"seen {seen!r}, not {expected!r}")

    def _see_the_end(self, end: str) -> None:
        code, _, reason = end.partition(" ")
        try:
            seen = self.conn.receive(timeout=PATIENCE)
        except syncws.CloseError as closed:
            self.conn.close()
            if closed.code != int(code) or (reason and closed.reason != reason):
                raise AssertionError(f"closed with {closed}, not {end}") from None
            return
        raise AssertionError(f"seen {seen!r}, not the end")


class ReaderCase(LeakChecks):
    """Somebody who follows the page, in a folder of their own."""

    def setUp(self) -> None:
        super().setUp()
        self.folder = Path(self.enterContext(tempfile.TemporaryDirectory()))
        with socket.create_server(("127.0.0.1", 0)) as listener:
            self.port = listener.getsockname()[1]

    def write(self, number: int) -> Step:
        """Write the files that a reader has after a step."""
        for name, text in files_after(number).items():
            (self.folder / name).write_text(text.replace("8080", str(self.port)))
        return steps()[number - 1]

    def command(self, line: str) -> list[str]:
        """A command of the page, as this machine has it."""
        program, *arguments = shlex.split(line)
        ours = {"python": [sys.executable], "syncws": [sys.executable, "-m", "syncws"]}[program]
        return [*ours, *arguments]

    def environment(self) -> dict[str, str]:
        return {**os.environ, "PYTHONPATH": str(ROOT), "PYTHONDONTWRITEBYTECODE": "1"}

    @contextmanager
    def serving(self, line: str = "python chat.py") -> Iterator[subprocess.Popen[bytes]]:
        """The server of the page, which a command starts; in the end it is told to end, and must do so in order."""
        with tempfile.TemporaryFile("w+") as log:
            process = subprocess.Popen(
                self.command(line), cwd=self.folder, env=self.environment(), stdout=log, stderr=log
            )
            try:
                self.assertTrue(await_(self.listens, PATIENCE), "it does not listen")
                yield process
                process.terminate()
                self.assertEqual(process.wait(PATIENCE), 0)
            finally:
                process.kill()
                process.wait()
            self.said = written(log)
            self.assertNotIn("Traceback", self.said)

    def listens(self) -> bool:
        try:
            socket.create_connection(("127.0.0.1", self.port)).close()
        except ConnectionRefusedError:
            return False
        return True

    def meet(self) -> Person:
        person = Person(f"ws://127.0.0.1:{self.port}/ws")
        self.addCleanup(person.conn.close_now)
        return person

    def talk(self, conversation: str) -> dict[str, Person]:
        """Have a conversation of the page; who was in it."""
        people: dict[str, Person] = {}
        for line in conversation.splitlines():
            with self.subTest(line):
                found = _LINE.fullmatch(line)
                assert found is not None, line
                name, direction, text, closes = found.groups()
                if closes:
                    people[name].conn.close()
                    people[name].conn = self.meet().conn
                    continue
                if name not in people:
                    people[name] = self.meet()
                (people[name].type if direction == ">" else people[name].see)(text)
        return people


@heavy
class StepTests(ReaderCase):
    """The programs of the page as processes, and what people do with them at a terminal."""

    def test_the_server_is_started_as_the_page_says(self) -> None:
        """The page starts the server with one command."""
        self.assertEqual(steps()[0].boxes_of("console"), ["$ python chat.py\n"])

    def test_first_client(self) -> None:
        """Step 1: who types a line into `syncws connect` sees it come back."""
        step = self.write(1)
        (conversation,) = step.boxes_of("text")
        typed, seen = (re.findall(rf"^ann {mark} (.*)$", conversation, re.MULTILINE) for mark in "><")
        url = f"ws://127.0.0.1:{self.port}/"
        self.assertIn(
            "with `syncws connect ws://127.0.0.1:8080/`, and type a line:", " ".join(PAGE.read_text().split())
        )
        with self.serving():
            done = subprocess.run(
                self.command(f"syncws connect --no-proxy {url}"),
                cwd=self.folder,
                env=self.environment(),
                input="".join(f"{line}\n" for line in typed),
                capture_output=True,
                text=True,
                timeout=PATIENCE,
            )
        self.assertEqual((done.returncode, done.stdout.splitlines(), done.stderr), (0, seen, ""))

    def test_conversations(self) -> None:
        """What people type is answered with what the page says, at each step that has no browser in it."""
        for number in (1, 2, 4, 5, 6, 7):
            step = self.write(number)
            with self.subTest(step.title), self.serving():
                self.assertTrue(step.boxes_of("text"))
                for conversation in step.boxes_of("text"):
                    self.talk(conversation)

    def test_several_processes(self) -> None:
        """Step 8: people in two processes talk; when one of them is killed, who was there is cut off, the others are
        told to come again, and another process serves them."""
        (conversation,) = self.write(8).boxes_of("text")
        with self.serving():
            while True:
                people = self.talk(conversation)
                ann, bob = people["ann"], people["bob"]
                if ann.process != bob.process:
                    break
                for each in (ann, bob):
                    each.conn.close()
            os.kill(bob.process, signal.SIGKILL)
            bob.see("closed 1006")
            ann.see("closed 1012 please connect again")
            for each in (ann, bob):
                each.conn = self.meet().conn
            ann.type('{"name": "ann", "room": "lobby", "since": "<position>"}')
            await_(lambda: "process" in ann.conn.receive(timeout=PATIENCE), PATIENCE)
            bob.type('{"name": "bob"}')
            await_(lambda: '"here":["ann","bob"]' in bob.conn.receive(timeout=PATIENCE), PATIENCE)

    def test_tests(self) -> None:
        """Step 9: the tests of the page pass, as many as it says."""
        (command,) = self.write(9).boxes_of("console")
        done = subprocess.run(
            self.command(command.removeprefix("$ ")),
            cwd=self.folder,
            env=self.environment(),
            capture_output=True,
            text=True,
            timeout=2 * PATIENCE,
        )
        self.assertRegex(done.stderr, r"(?s)Ran 3 tests.*\nOK\n")
        self.assertIn("It says `Ran 3 tests` and `OK`.", PAGE.read_text())

    def test_deployment(self) -> None:
        """Step 10: the health check is answered, the log says that it listens and what ended, and SIGTERM closes with
        1001 and ends the program with 0, as the end of each of these tests sees."""
        self.write(10)
        with self.serving() as process:
            with urllib.request.urlopen(f"http://127.0.0.1:{self.port}/healthz", timeout=PATIENCE) as answer:
                self.assertEqual(answer.status, 200)
            ann = self.meet()
            ann.type('{"name": "ann"}')
            ann.conn.receive(timeout=PATIENCE)
            ann.conn.receive(timeout=PATIENCE)
            process.terminate()
            ann.see("closed 1001")
            self.assertEqual(process.wait(PATIENCE), 0)
        self.assertIn("INFO syncws.server: ", self.said)
        self.assertIn("INFO syncws.access: ", self.said)

    def test_in_flask(self) -> None:
        """The last section: the same conversation, served by Flask's application."""
        step = self.write(11)
        commands = [line.removeprefix("$ ") for line in step.boxes_of("console")[0].splitlines()]
        self.assertEqual(commands[0], "pip install flask")
        with self.serving(f"{commands[1]} --port {self.port}"):
            (conversation,) = steps()[7].boxes_of("text")
            self.talk(conversation)
            with urllib.request.urlopen(f"http://127.0.0.1:{self.port}/", timeout=PATIENCE) as answer:
                self.assertIn(b"<title>Chat</title>", answer.read())


class Window:
    """A browser on the page of the chat."""

    def __init__(self, url: str) -> None:
        self.browser: NodeProgram = start_browser()
        self.browser.call("page", "goto", url)

    def type(self, line: str) -> None:
        self.browser.call("page", "fill", "#text", line)
        self.browser.call("page", "press", "#text", "Enter")

    def wait_for(self, line: str) -> None:
        self.browser.call("page", "waitForSelector", f'#log li:text-is("{line}")')

    def lines(self) -> list[str]:
        found: list[str] = self.browser.call(
            "ask", "evaluate", "[...document.querySelectorAll('#log li')].map((line) => line.textContent)"
        )
        return found


@heavy
class BrowserTests(ReaderCase):
    """The pages of steps 3 and 7, in a browser."""

    def open(self) -> Window:
        window = Window(f"http://127.0.0.1:{self.port}/")
        self.addCleanup(window.browser.close)
        return window

    def test_first_page(self) -> None:
        """Step 3: two windows show what one of them says, and then that the server goes."""
        self.write(3)
        with self.serving():
            windows = [self.open(), self.open()]
            for window in windows:  # a message of one's own comes back once one is in
                window.type("I am here")
                window.wait_for("I am here")
            windows[0].type("hello <b>")
            for window in windows:
                window.wait_for("hello <b>")
        for window in windows:
            window.wait_for("closed: 1001 ")

    def test_coming_back(self) -> None:
        """Step 7: a page goes to a room by a line; after a restart it comes back there by itself, and says that some
        messages may be missing; two windows talk in that room."""
        self.write(7)
        with self.serving():
            ann, bob = self.open(), self.open()
            for window, name in ((ann, "ann"), (bob, "bob")):
                window.type(name)
                window.wait_for("You are in lobby. Go elsewhere with: /join garden")
                window.type("/join garden")
                window.wait_for("You are in garden. Go elsewhere with: /join garden")
            ann.type("hello")
            bob.wait_for("ann: hello")
        ann.wait_for("closed: 1001 ")
        with self.serving():
            for window in (ann, bob):
                window.wait_for("Some messages may be missing.")
            for _ in (ann, bob):
                ann.type("welcome back")
            bob.wait_for("ann: welcome back")
            self.assertIn("ann: hello", bob.lines())

    def test_a_dead_connection(self) -> None:
        """Step 7: a page whose connection has died without a word notices it by its own ping, and comes back."""
        self.write(7)
        page = self.folder / "page.html"
        page.write_text(page.read_text().replace("setInterval(watch, 10000)", "setInterval(watch, 1000)"))
        with self.serving() as process:
            ann = self.open()
            ann.type("ann")
            ann.wait_for("You are in lobby. Go elsewhere with: /join garden")
            process.send_signal(signal.SIGSTOP)
            try:
                ann.wait_for("closed: 1006 the server does not answer")
            finally:
                process.send_signal(signal.SIGCONT)
            entered = "You are in lobby. Go elsewhere with: /join garden"
            self.assertTrue(await_(lambda: ann.lines().count(entered) == 2, PATIENCE))
