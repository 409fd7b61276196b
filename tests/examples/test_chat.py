"""The chat example: its server as a process, what members hear, and two browsers that talk to each other."""

from __future__ import annotations

import http.client
import importlib.util
import json
import re
import signal
import socket
import subprocess
import sys
from types import ModuleType
from typing import Any, ClassVar

import syncws
from syncws.testing import LeakChecks, await_, running
from tests.examples.test_examples import EXAMPLES, ExampleServer
from tests.interop import test_page
from tests.interop.nodes import NodeProgram, start_browser
from tests.partners import heavy
from tests.tasks import PATIENCE, Task

CHAT = EXAMPLES / "chat"


class ChatServer(ExampleServer):
    """`chat/server.py`; on a free port unless the options name one."""

    script = "chat/server.py"
    title = "Chat"


def load_server() -> ModuleType:
    """`chat/server.py` as a module, for tests of what clients cannot see."""
    spec = importlib.util.spec_from_file_location("chat_server", CHAT / "server.py")
    assert spec is not None and spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


class Visitor:
    """A connection to the chat, in the lobby; it receives what the server sends, JSON as objects."""

    def __init__(self, url: str) -> None:
        self.conn = syncws.dial(url, proxy=None)
        self.position: str | None = None  # of the last message that somebody said
        try:
            self._wait_until_inside()
        except BaseException:
            self.conn.close_now()
            raise

    def _wait_until_inside(self) -> None:
        """The handshake ends before the server has let us into the lobby, where it may say that it missed something."""
        self.conn.send("ping")
        while (answer := self.hear()) == {"gap": True}:
            pass
        if answer != "pong":
            raise AssertionError(f"expected a pong, got {answer!r}")

    def hear(self) -> Any:
        message = self.conn.receive(timeout=PATIENCE)
        if not (isinstance(message, str) and message.startswith("{")):
            return message
        heard = json.loads(message)
        if "say" in heard:  # what is said is remembered, and has its place
            self.position = heard.pop("position")
        return heard

    def tell(self, **command: Any) -> None:
        self.conn.send_json(command)

    def ask(self, **command: Any) -> Any:
        """Send a command, and return the next that comes."""
        self.tell(**command)
        return self.hear()

    def hear_the_end(self) -> int:
        """The code of the close that comes next; closes this side as well."""
        try:
            message = self.hear()
        except syncws.CloseError as end:
            self.conn.close()
            return end.code
        raise AssertionError(f"expected a close, got {message!r}")


class ChatCase(LeakChecks):
    def serve(self, *options: str) -> ChatServer:
        return self.enterContext(ChatServer(*options))

    def visit(self, server: ChatServer) -> Visitor:
        visitor = Visitor(server.websocket_url + "ws")
        self.addCleanup(visitor.conn.close)
        return visitor

    def named(self, server: ChatServer, name: str, *others: Visitor) -> Visitor:
        """A visitor who has taken a name; all who have names in the lobby have received the news."""
        visitor = self.visit(server)
        self.assertEqual(visitor.ask(name=name), {"you": name, "room": "lobby"})
        for each in (visitor, *others):
            self.assertEqual(each.hear()["online"][-1], name)
        return visitor

    def check_silence(self, *visitors: Visitor, by: Visitor) -> None:
        """Check that nothing from the sender of this message has come before it."""
        by.conn.send("that is all")
        for each in visitors:
            self.assertEqual(each.hear(), "that is all")


class MessageTests(ChatCase):
    """Messages that are no commands."""

    def test_verbatim(self) -> None:
        """A message that is no JSON object goes unchanged to everybody in the room, the sender too."""
        server = self.serve()
        sender, other = self.visit(server), self.named(server, "ann")
        for message in (
            "hello",
            "",
            "[1]",
            '"{}"',
            "{bad",
            '{"name": "ann"',
            "{'name': 'ann'}",
            '{"say": "hi"} and more',
            " {",
            ' {"name": "zoe"}',
            "\ufeff{}",
            "null",
            "pong",
            "🎈" * 1000,
            b"",
            b"\0\xff",
            b'{"name": "zoe"}',
            b"ping",
        ):
            with self.subTest(message=message):
                sender.conn.send(message)
                for each in (sender, other):
                    self.assertEqual(each.conn.receive(timeout=PATIENCE), message)

    def test_heartbeat(self) -> None:
        """A ping is answered to its sender alone, and is no message to others."""
        server = self.serve()
        sender, other = self.visit(server), self.visit(server)
        self.assertEqual([sender.conn.send("ping"), sender.hear()], [None, "pong"])
        self.check_silence(sender, other, by=sender)

    def test_nothing_but_messages(self) -> None:
        """A visitor without a name hears what is said in the lobby, but not who comes, goes or whispers."""
        server = self.serve()
        silent, bob = self.visit(server), self.named(server, "bob")
        ann = self.named(server, "ann", bob)
        self.assertEqual(ann.ask(say="hello"), {"say": "hello", "from": "ann"})
        self.assertEqual(silent.hear(), {"say": "hello", "from": "ann"})
        ann.tell(private="bob", text="psst")
        ann.tell(name="anna")
        ann.tell(name="bob")
        ann.tell(join="garden")
        ann.tell(say="in the garden")
        ann.tell(join="lobby")
        self.check_silence(silent, by=ann)

    def test_forgery(self) -> None:
        """A JSON object that is too much for the server's parser is refused: others might take it for the server's."""
        server = self.serve()
        sender, other = self.visit(server), self.visit(server)
        start = '{"say": "I am ann", "from": "ann", "more": '
        for message in (start + "[" * 50_000 + "]" * 50_000 + "}", start + "1" * 50_000 + "}"):
            sender.conn.send(message)
            self.assertEqual(sender.hear(), {"error": "this JSON is too deep, or a number in it too long"})
        self.check_silence(sender, other, by=sender)


class CommandTests(ChatCase):
    """JSON objects."""

    def test_readme(self) -> None:
        """The commands in the README's table, one after the other, are answered as it says."""
        rows = re.findall(r"^\| `(\{.*?\})` \|.*\|(.*)\|$", (CHAT / "README.md").read_text(), re.MULTILINE)
        self.assertEqual(len(rows), 5)
        server = self.serve()
        self.named(server, "bob")
        ann = self.visit(server)
        for command, answered in rows:
            with self.subTest(command=command):
                ann.conn.send(command)
                answer = ann.hear()
                if (told := re.search(r"`(\{.*?\})`", answered)) is not None:
                    while "online" in answer:  # of the command before
                        answer = ann.hear()
                    self.assertEqual(answer, json.loads(told[1]))
                else:
                    self.assertEqual(answer, {"online": ["ann"], "room": "garden"})

    def test_presence(self) -> None:
        """Those with a name hear who is online in their room when somebody comes, is renamed, moves or leaves."""
        server = self.serve()
        self.visit(server)
        ann = self.visit(server)
        self.assertEqual(ann.ask(name="ann"), {"you": "ann", "room": "lobby"})
        self.assertEqual(ann.hear(), {"online": ["ann"], "room": "lobby"})
        bob = self.visit(server)
        self.assertEqual(bob.ask(name="bob"), {"you": "bob", "room": "lobby"})
        for each in (ann, bob):
            self.assertEqual(each.hear(), {"online": ["ann", "bob"], "room": "lobby"})
        self.assertEqual(ann.ask(name="anna"), {"you": "anna", "room": "lobby"})
        for each in (ann, bob):
            self.assertEqual(each.hear(), {"online": ["anna", "bob"], "room": "lobby"})
        self.assertEqual(ann.ask(join="garden"), {"you": "anna", "room": "garden"})
        self.assertEqual(ann.hear(), {"online": ["anna"], "room": "garden"})
        self.assertEqual(bob.hear(), {"online": ["bob"], "room": "lobby"})
        self.assertEqual(bob.ask(join="garden"), {"you": "bob", "room": "garden"})
        for each in (ann, bob):
            self.assertEqual(each.hear(), {"online": ["anna", "bob"], "room": "garden"})
        ann.conn.close()
        self.assertEqual(bob.hear(), {"online": ["bob"], "room": "garden"})

    def test_vanished(self) -> None:
        """One who is cut off without a goodbye is no longer online, and the name is free."""
        server = self.serve()
        bob = self.named(server, "bob")
        ann = self.named(server, "ann", bob)
        ann.conn.close_now()
        self.assertEqual(bob.hear(), {"online": ["bob"], "room": "lobby"})
        self.named(server, "ann", bob)

    def test_who(self) -> None:
        """A visitor who asks is told who is online in the same room, with or without a name; nobody else is told."""
        server = self.serve()
        asking, ann = self.visit(server), self.named(server, "ann")
        self.assertEqual(asking.ask(who=True), {"online": ["ann"], "room": "lobby"})
        self.assertEqual(asking.ask(join="garden"), {"you": None, "room": "garden"})
        self.assertEqual(asking.ask(who=True), {"online": [], "room": "garden"})
        self.assertEqual(asking.ask(join="lobby"), {"you": None, "room": "lobby"})
        self.check_silence(asking, ann, by=asking)

    def test_rooms(self) -> None:
        """A message stays in its room; a visitor who moves hears the messages of the new room."""
        server = self.serve()
        ann, bob = self.visit(server), self.visit(server)
        ann.conn.send("one")
        ann.tell(join="garden")
        ann.conn.send("two")
        self.assertEqual([ann.hear() for _ in range(3)], ["one", {"you": None, "room": "garden"}, "two"])
        bob.conn.send("three")
        self.assertEqual([bob.hear(), bob.hear()], ["one", "three"])
        self.assertEqual(bob.ask(join="garden"), {"you": None, "room": "garden"})
        self.assertEqual(bob.ask(join="garden"), {"you": None, "room": "garden"})
        bob.tell(name="bob")
        bob.tell(say="hello")
        self.assertEqual([ann.hear()], [{"say": "hello", "from": "bob"}])

    def test_private(self) -> None:
        """A private message is for one alone, in whatever room, and its sender gets it as a receipt."""
        server = self.serve()
        ann, zoe = self.named(server, "ann"), self.visit(server)
        bob = self.named(server, "Bob", ann)
        self.assertEqual(bob.ask(join="garden"), {"you": "Bob", "room": "garden"})
        self.assertEqual((bob.hear()["online"], ann.hear()["online"]), (["Bob"], ["ann"]))
        told = {"private": "<b>psst</b>\n🎈", "from": "ann", "to": "Bob"}
        self.assertEqual(ann.ask(private="bob", text="<b>psst</b>\n🎈"), told)
        self.assertEqual(bob.hear(), told)
        to_herself = {"private": "hm", "from": "ann", "to": "ann"}
        self.assertEqual(ann.ask(private="ann", text="hm"), to_herself)
        self.check_silence(ann, zoe, by=ann)  # and there was one receipt
        self.assertEqual(ann.ask(private="nobody", text="psst"), {"error": "nobody is not here"})
        self.assertEqual(zoe.ask(private="ann", text="psst"), {"error": "take a name first"})

    def test_taken_names(self) -> None:
        """A name belongs to one member, however it is spelled, until it is given up; only who asks for it is told."""
        server = self.serve()
        ann, bob = self.named(server, "ann"), self.visit(server)
        for name in ("ann", "ANN", "ａｎｎ"):
            self.assertEqual(bob.ask(name=name), {"error": f"the name {name} is taken"})
        self.assertEqual(ann.ask(name="Ann"), {"you": "Ann", "room": "lobby"})
        self.assertEqual(ann.hear()["online"], ["Ann"])
        self.assertEqual(ann.ask(name="anna"), {"you": "anna", "room": "lobby"})
        self.assertEqual(ann.hear()["online"], ["anna"])
        self.assertEqual(bob.ask(name="ann"), {"you": "ann", "room": "lobby"})
        self.assertEqual(bob.hear()["online"], ["anna", "ann"])
        self.assertEqual(bob.ask(name="anna"), {"error": "the name anna is taken"})
        self.assertEqual(bob.ask(say="me still"), {"say": "me still", "from": "ann"})
        self.assertEqual([ann.hear()["online"], ann.hear()["from"]], [["anna", "ann"], "ann"])

    def test_names_that_look_alike(self) -> None:
        """Names that look like "ann" are not given: invisible letters, a Cyrillic or Greek a, one of phonetics, wide
        ones; names of any one script are."""
        server = self.serve()
        ann, bob = self.named(server, "ann"), self.visit(server)
        rule = "a name has letters of one script that can be seen, digits, spaces and any of -_.'"
        invisible = ("\u3164", "\uffa0", "\u115f", "\u1160", "\u034f", "\ufe0f", "\u17b4", "\u180b", "\u2800", "\u02bc")
        for name in (
            *(f"ann{each}" for each in invisible),
            "\u0430nn",
            "\u03b1nn",
            "\u0251nn",
            "a\u0274n",
            "a\u0301nn\u0304",
        ):
            answer = bob.ask(name=name)["error"]
            self.assertIn(answer, (rule, "a name has printable characters, and single spaces between words"), name)
        self.assertEqual(ann.ask(name="cope")["you"], "cope")
        ann.hear()
        for name in ("\u0441\u043e\u0440\u0435", "\u0421\u041e\u0420\u0415", "\uff43\uff4f\uff50\uff45"):
            self.assertEqual(bob.ask(name=name), {"error": f"the name {name} is taken"})
        for name in ("Jürgen-2", "Анна", "Ελένη", "花子さん", "김철수", "أحمد", "अनिता", "O'Neil"):
            self.assertEqual(bob.ask(name=name)["you"], name)
            self.assertEqual(bob.hear()["online"][-1], name)
            ann.hear()

    def test_one_name_for_many(self) -> None:
        """Of many visitors who want one name at the same time, one gets it."""
        server = self.serve()
        visitors = [self.visit(server) for _ in range(8)]
        asked = [Task(each.ask, name="ann") for each in visitors]
        answers = [task.result() for task in asked]
        self.assertEqual(answers.count({"you": "ann", "room": "lobby"}), 1)
        self.assertEqual(answers.count({"error": "the name ann is taken"}), 7)

    def test_bad_commands(self) -> None:
        """A bad command is an error for its sender alone; nothing changes, and the connection works."""
        server = self.serve()
        other, ann = self.visit(server), self.named(server, "ann")
        label = "a {} is 1 to 24 characters"
        odd = "a {} has printable characters, and single spaces between words"
        words = "a text is 1 to 4000 characters, and not only spaces"
        keys = "a command has one of these keys: name, join, say, private, who"
        wrong: tuple[tuple[str, str], ...] = (
            ("{}", keys),
            ('{"nmae": "bob"}', keys),
            ('{"name": "bob", "join": "garden"}', keys),
            *((f'{{"name": {value}}}', label.format("name")) for value in ("null", "1", '""', '["bob"]', "{}")),
            *((f'{{"join": {value}}}', label.format("room")) for value in ("null", "true", '""', '["garden"]')),
            (json.dumps({"name": "x" * 25}), label.format("name")),
            (json.dumps({"join": "x" * 25}), label.format("room")),
            *((json.dumps({"name": name}), odd.format("name")) for name in (" ", " bob", "b  b", "b\nb", "b\u202eb")),
            ('{"name": "\\ud83c"}', odd.format("name")),
            (json.dumps({"join": "garden "}), odd.format("room")),
            *((f'{{"say": {value}}}', words) for value in ("null", "1", '""', '" \\n"', '["hi"]')),
            (json.dumps({"say": "x" * 4001}), words),
            ('{"say": "\\ud83c"}', "a text is whole characters: this one has half a surrogate pair"),
            ('{"private": "ann"}', words),
            ('{"private": "ann", "text": 1}', words),
            ('{"private": ["ann"], "text": "hi"}', label.format("name")),
        )
        for command, error in wrong:
            with self.subTest(command=command):
                ann.conn.send(command)
                self.assertEqual(ann.hear(), {"error": error})
        self.assertEqual(other.ask(say="hi"), {"error": "take a name first"})
        self.assertEqual(ann.ask(who=True), {"online": ["ann"], "room": "lobby"})
        self.check_silence(ann, other, by=ann)
        self.assertEqual(ann.ask(say="x" * 4000), {"say": "x" * 4000, "from": "ann"})
        self.assertEqual(ann.ask(name="x" * 24), {"you": "x" * 24, "room": "lobby"})


class InsideTests(ChatCase):
    """What only a server in this process can show."""

    def test_moving(self) -> None:
        """No message of a new room comes before the answer to the move, even if it is sent at the same time."""
        server = load_server()
        chat = server.Chat()
        tell_where = chat._tell_where

        def say_something_first(member: syncws.Member) -> None:
            chat._manager.broadcast("in the garden", room="garden")
            tell_where(member)

        chat._tell_where = say_something_first
        with running(syncws.Server(server.make_handler(chat, {}), port=0)) as serving:
            visitors = [Visitor(f"ws://127.0.0.1:{serving.address[1]}/ws") for _ in range(2)]
            for visitor in visitors:
                self.assertEqual(visitor.ask(join="garden"), {"you": None, "room": "garden"})
                visitor.conn.send("ping")  # the answer comes before the server has let it into the garden
                self.assertEqual(visitor.hear(), "pong")
            self.assertEqual(visitors[0].hear(), "in the garden")  # while the second one moved
            for visitor in visitors:
                visitor.conn.close()

    def test_silence_is_no_matter(self) -> None:
        """Nobody has to send heartbeats."""
        self.assertIsNone(load_server().Chat()._manager._heartbeat.timeout)


class ProgramTests(ChatCase):
    """What surrounds the chat: HTTP, options, signals."""

    def request(self, server: ChatServer, path: str, headers: dict[str, str] | None = None) -> tuple[Any, bytes]:
        connection = http.client.HTTPConnection("127.0.0.1", server.port, timeout=PATIENCE)
        self.addCleanup(connection.close)
        connection.request("GET", path, headers=headers or {})
        response = connection.getresponse()
        return response, response.read()

    def test_page(self) -> None:
        """The three files are served as what they are, with a policy that allows nothing but them."""
        server = self.serve()
        for path, file, kind in (
            ("/", "index.html", "text/html"),
            ("/style.css", "style.css", "text/css"),
            ("/chat.js", "chat.js", "text/javascript"),
            ("/?room=garden", "index.html", "text/html"),
        ):
            with self.subTest(path=path):
                response, body = self.request(server, path)
                self.assertEqual((response.status, body), (200, (CHAT / file).read_bytes()))
                self.assertEqual(response.headers["Content-Type"], f"{kind}; charset=utf-8")
                self.assertEqual(response.headers["X-Content-Type-Options"], "nosniff")
                policy = response.headers["Content-Security-Policy"]
                self.assertIn("default-src 'none'; script-src 'self';", policy)
                self.assertNotIn("unsafe", policy)

    def test_nothing_else(self) -> None:
        """Any other path is a 404; a plain request for /ws is refused, and the answer says that it is a WebSocket."""
        server = self.serve()
        for path in ("/index.html", "/server.py", "/../server.py", "/style.css/", "/ws/", "/favicon.ico"):
            with self.subTest(path=path):
                self.assertEqual(self.request(server, path)[0].status, 404)
        for headers, status in (({}, 400), ({"Connection": "Upgrade"}, 426)):
            response, body = self.request(server, "/ws", headers)
            self.assertEqual(response.status, status)
            self.assertIn(b"this is a WebSocket endpoint", body)

    def test_origin(self) -> None:
        """A page of the server itself may connect, one of another site may not."""
        server = self.serve()
        url = server.websocket_url + "ws"
        with syncws.dial(url, proxy=None, headers={"Origin": server.url.rstrip("/")}) as conn:
            conn.send("hello")
            self.assertEqual(conn.receive(timeout=PATIENCE), "hello")
        with self.assertRaises(syncws.BadHandshakeError) as refused:
            syncws.dial(url, proxy=None, headers={"Origin": "https://elsewhere.example"})
        self.assertEqual(refused.exception.status, 403)

    def test_signals(self) -> None:
        """SIGINT and SIGTERM tell everybody 1001 and end it with exit code 0; nothing else was logged."""
        for number in (signal.SIGINT, signal.SIGTERM):
            with self.subTest(signal=number.name):
                server = self.serve()
                silent, ann = self.visit(server), self.named(server, "ann")
                self.named(server, "bob", ann).conn.close_now()
                self.assertEqual(ann.hear()["online"], ["ann"])
                ends = [Task(each.hear_the_end) for each in (silent, ann)]
                self.assertEqual(server.end(number), 0)
                self.assertEqual([end.result() for end in ends], [1001, 1001])
                self.assertEqual(server.log(), f"INFO {number.name}: shutting down\n")

    def run_wrongly(self, *options: str) -> tuple[int, str]:
        """Run the server with wrong options; its exit code and the last line of standard error."""
        done = subprocess.run(
            [sys.executable, str(CHAT / "server.py"), *options], capture_output=True, text=True, timeout=PATIENCE
        )
        self.assertEqual(done.stdout, "")
        self.assertNotIn("Traceback", done.stderr)
        return done.returncode, done.stderr.splitlines()[-1]

    def test_wrong_options(self) -> None:
        """An invalid port is one line and exit code 2; a port in use, or a host elsewhere, is exit code 1."""
        for value in ("-1", "65536", "http", ""):
            code, line = self.run_wrongly(f"--port={value}")
            self.assertEqual(code, 2)
            self.assertRegex(line, f"error: argument --port: a port is a number from 0 to 65535, not {value!r}$")
        with socket.create_server(("127.0.0.1", 0)) as taken:
            port = str(taken.getsockname()[1])
            told = self.run_wrongly("--port", port)
        self.assertEqual(told, (1, f"Cannot listen on 127.0.0.1 port {port}: Address already in use"))
        code, line = self.run_wrongly("--host", "192.0.2.1", "--port", "0")
        self.assertEqual(code, 1)
        self.assertRegex(line, r"^Cannot listen on 192\.0\.2\.1 port 0: ")


class Page:
    """A browser on the chat's page."""

    def __init__(self) -> None:
        self.browser: NodeProgram = start_browser()

    def do(self, method: str, *args: Any) -> None:
        self.browser.call("page", method, *args)

    def ask(self, method: str, *args: Any) -> Any:
        return self.browser.call("ask", method, *args)

    def text(self, selector: str) -> str:
        return " ".join(self.ask("innerText", selector).split())

    def wait_for(self, selector: str) -> None:
        self.do("waitForSelector", selector)

    def enter(self, field: str, text: str) -> None:
        """Type a text, as a person does, and press Enter."""
        self.do("fill", field, text)
        self.do("press", field, "Enter")

    def open(self, server: ChatServer) -> None:
        self.do("goto", "about:blank")  # the page of a test before may complain until it is left
        self.browser.call("complaints")
        self.do("goto", server.url)
        self.wait_for("#state[data-state=open]")

    def take(self, name: str) -> None:
        self.enter("#name", name)
        self.wait_for_online(name)

    def wait_for_online(self, own: str, *others: str) -> None:
        self.wait_for(f'#online button[aria-current]:text-is("{own} (you)")')
        for name in others:
            self.wait_for(f'#online button:text-is("{name}")')

    def wait_for_line(self, text: str, kind: str = "") -> None:
        """Wait until somebody's text is among the messages."""
        self.wait_for(f'#log li{kind} span:text-is("{text}")')

    def lines(self) -> list[str]:
        """The messages, with their senders, without the page's own notes."""
        script = "[...document.querySelectorAll('#log li:not(.note)')].map((line) => line.innerText)"
        return [": ".join(line.split("\n")) for line in self.ask("evaluate", script)]

    def complaints(self) -> list[str]:
        found: list[str] = self.browser.call("complaints")
        return found


@heavy
class ChatPageTests(ChatCase):
    """Two browsers, used as two people would."""

    first: ClassVar[Page]
    second: ClassVar[Page]

    @classmethod
    def setUpClass(cls) -> None:
        super().setUpClass()
        cls.first, cls.second = Page(), Page()
        for page in (cls.first, cls.second):
            cls.addClassCleanup(page.browser.close)

    def meet(self, *options: str) -> tuple[ChatServer, Page, Page]:
        """A server, and the two pages, as ann and bob, who see each other."""
        server = self.serve(*options)
        ann, bob = self.first, self.second
        for page, name in ((ann, "ann"), (bob, "bob")):
            page.open(server)
            page.take(name)
        ann.wait_for_online("ann", "bob")
        bob.wait_for_online("bob", "ann")
        return server, ann, bob

    def test_talk(self) -> None:
        """They see each other online, and what one says the other reads, as text and never as HTML."""
        server, ann, bob = self.meet()
        ann.enter("#text", "hello, bob")
        bob.wait_for_line("hello, bob")
        bob.enter("#text", "<b id=bold>ünïcödé 🎈</b>")
        ann.wait_for_line("<b id=bold>ünïcödé 🎈</b>")
        for page in (ann, bob):
            self.assertEqual(page.lines(), ["ann: hello, bob", "bob: <b id=bold>ünïcödé 🎈</b>"])
            self.assertFalse(page.ask("isVisible", "#bold"))
            self.assertEqual(page.complaints(), [])
        self.assertEqual(server.end(), 0)
        self.assertEqual(server.log(), "INFO SIGTERM: shutting down\n")

    def test_private(self) -> None:
        """After a click on a name only that visitor gets the message; if the visitor has gone, nobody does."""
        server, ann, bob = self.meet()
        zoe = self.visit(server)
        ann.do("click", '#online button:text-is("bob")')
        ann.enter("#text", "psst")
        bob.wait_for_line("psst", ".private")
        self.assertEqual(bob.lines(), ["ann to bob, privately: psst"])
        ann.wait_for_line("psst", ".own.private")

        bob.enter("#name", "robert")
        ann.wait_for_online("ann", "robert")
        ann.enter("#text", "still there?")
        ann.wait_for('#error:text-is("bob is not here")')
        ann.do("selectOption", "#to", "")
        ann.enter("#text", "everybody")
        bob.wait_for_line("everybody")
        self.assertEqual(bob.lines(), ["ann to bob, privately: psst", "ann: everybody"])
        self.assertEqual(zoe.hear(), {"say": "everybody", "from": "ann"})

    def test_rooms(self) -> None:
        """A page that joins another room leaves the first one, and shows what is said in the new one."""
        _, ann, bob = self.meet()
        ann.enter("#join", "garden")
        ann.wait_for('#room:text-is("in garden")')
        bob.wait_for("#online:not(:has(li:nth-child(2)))")
        ann.enter("#text", "green")
        ann.wait_for_line("green")
        bob.enter("#text", "indoors")
        bob.wait_for_line("indoors")
        bob.enter("#join", "garden")
        bob.wait_for_online("bob", "ann")
        ann.enter("#text", "welcome")
        bob.wait_for_line("welcome")
        ann.wait_for_line("welcome")
        self.assertEqual(ann.lines(), ["ann: green", "ann: welcome"])
        self.assertEqual(bob.lines(), ["bob: indoors", "ann: welcome"])

    def test_refused(self) -> None:
        """An error of the server is shown until the next command works."""
        _, ann, bob = self.meet()
        bob.enter("#name", "ANN")
        bob.wait_for('#error[role=alert]:text-is("the name ANN is taken")')
        bob.enter("#name", "bobby")
        ann.wait_for_online("ann", "bobby")
        self.assertEqual(bob.text("#error"), "")

    def test_reload(self) -> None:
        """A page that is loaded again takes back its name and its room by itself."""
        server, ann, bob = self.meet()
        for page in (ann, bob):
            page.enter("#join", "garden")
            page.wait_for('#room:text-is("in garden")')
        ann.open(server)
        ann.wait_for_online("ann", "bob")
        self.assertEqual((ann.text("#room"), ann.lines()), ("in garden", []))

    def test_restart(self) -> None:
        """When the server was away, the pages say so and why, and come back with name and room: by themselves, at once
        when the network is back, and on a click."""
        server, ann, bob = self.meet()
        ann.enter("#join", "garden")
        bob.wait_for("#online:not(:has(li:nth-child(2)))")
        for way in ("by itself", "online", "click"):
            with self.subTest(way):
                self.assertEqual(server.end(), 0)
                for page in (ann, bob):
                    page.wait_for('#log li.note:last-child:has-text("Disconnected: code 1001, no reason")')
                    page.wait_for("#state[data-state=closed]")
                    self.assertTrue(page.ask("isDisabled", "#send"))
                ann.wait_for('#state:has-text("code 1006, no reason")')  # it has tried
                self.assertRegex(ann.text("#state"), r"; trying again in \d+\.\d s$")
                if way != "by itself":
                    for page in (ann, bob):  # its own attempts are no help here
                        page.ask("evaluate", "clearTimeout(retry), null")
                server = self.serve("--port", str(server.port))
                for page in (ann, bob):
                    if way == "online":
                        page.ask("evaluate", "dispatchEvent(new Event('online'))")
                    elif way == "click":
                        page.do("click", "#retry")
                ann.wait_for_online("ann")
                bob.wait_for_online("bob")
                self.assertEqual((ann.text("#room"), bob.text("#room")), ("in garden", "in lobby"))
        bob.enter("#join", "garden")
        ann.wait_for_online("ann", "bob")
        ann.enter("#text", "we are back")
        bob.wait_for_line("we are back")

    def test_what_was_missed(self) -> None:
        """A page that was cut off gets what was said meanwhile; when the server has forgotten it, the page says so."""
        server, ann, bob = self.meet()
        ann.enter("#text", "one")
        bob.wait_for_line("one")
        bob.ask("evaluate", "socket.close(), null")
        bob.wait_for("#state[data-state=closed]")
        bob.ask("evaluate", "clearTimeout(retry), null")
        ann.enter("#text", "two")
        ann.wait_for_line("two")
        bob.do("click", "#retry")
        bob.wait_for_line("two")
        self.assertEqual(bob.lines(), ["ann: one", "ann: two"])
        self.assertNotIn("may be missing", bob.text("#log"))
        self.assertEqual(server.end(), 0)
        self.serve("--port", str(server.port))
        bob.wait_for('#log li.note:has-text("Messages may be missing here")')

    def test_gap(self) -> None:
        """A page that is told of a loss between processes asks for what it missed, and shows nothing twice."""
        _, ann, bob = self.meet()
        ann.enter("#text", "one")
        bob.wait_for_line("one")
        bob.ask("evaluate", """receive('{"gap": true}')""")
        self.assertTrue(await_(lambda: bob.ask("evaluate", "missing") is False, PATIENCE))
        ann.enter("#text", "two")
        bob.wait_for_line("two")
        self.assertEqual(bob.lines(), ["ann: one", "ann: two"])

    def test_backoff(self) -> None:
        """The delay doubles from one second to thirty, and each is shortened at random by up to a half."""
        _, ann, _ = self.meet()
        script = """(() => {
          socket.onclose = null;
          socket.close();
          const delays = [];
          const real = setTimeout;
          globalThis.setTimeout = (call, delay) => { delays.push(delay); return 0; };
          for (let number = 0; number < 8; number++) lost("for a test");
          globalThis.setTimeout = real;
          return delays;
        })()"""
        delays = ann.ask("evaluate", script)
        for delay, longest in zip(delays, (1000, 2000, 4000, 8000, 16000, 30000, 30000, 30000), strict=True):
            self.assertTrue(longest / 2 <= delay <= longest, delays)
        self.assertGreater(len({delay % 1000 for delay in delays}), 1)

    def test_name_held(self) -> None:
        """If somebody else has the name when the page comes back, the page asks for it again until it is free."""
        server, ann, _ = self.meet()
        self.assertEqual(server.end(), 0)
        ann.wait_for("#state[data-state=closed]")
        ann.ask("evaluate", "clearTimeout(retry), null")
        server = self.serve("--port", str(server.port))
        other = self.visit(server)
        self.assertEqual(other.ask(name="ann")["you"], "ann")
        ann.do("click", "#retry")
        ann.wait_for('#error:text-is("the name ann is taken")')
        other.conn.close()
        ann.wait_for_online("ann")
        self.assertEqual(ann.text("#error"), "")

    def test_dead_server(self) -> None:
        """If the server does not answer the heartbeat, the page gives the connection up and connects again."""
        server, ann, _ = self.meet()
        ann.ask("evaluate", "heartbeat()")
        self.assertTrue(await_(lambda: bool(ann.ask("evaluate", "heard"))))
        server.signal(signal.SIGSTOP)
        self.addCleanup(server.signal, signal.SIGCONT)
        ann.ask("evaluate", "heartbeat()")
        ann.ask("evaluate", "heartbeat()")
        ann.wait_for("#state[data-state=closed]")
        ann.wait_for('#log li.note:has-text("the server does not answer")')
        server.signal(signal.SIGCONT)
        ann.wait_for_online("ann", "bob")
        self.assertEqual(ann.lines(), [])  # no ping, no pong

    def test_flood(self) -> None:
        """A hundred messages as fast as the page can: all arrive in order, and the time they took is shown."""
        _, ann, bob = self.meet()
        ann.do("fill", "#count", "100")
        ann.do("click", "#flood")
        ann.wait_for('#flooded:has-text("100 messages there and back in ")')
        self.assertRegex(ann.text("#flooded"), r" \d+ ms$")
        bob.wait_for_line("flood 100 of 100")
        for page in (ann, bob):
            self.assertEqual(page.lines(), [f"ann: flood {number} of 100" for number in range(1, 101)])
            self.assertEqual(page.complaints(), [])

    def test_long_log(self) -> None:
        """The page keeps the last 500 messages, and shows the end of them unless the reader has scrolled up."""
        _, ann, bob = self.meet()
        bob.do("fill", "#count", "600")
        bob.do("click", "#flood")
        ann.wait_for_line("flood 600 of 600")
        self.assertEqual((len(ann.lines()), ann.lines()[-1]), (500, "bob: flood 600 of 600"))
        in_view = """(() => {
          const box = document.querySelector('#scroll').getBoundingClientRect();
          return document.querySelector('#log').lastChild.getBoundingClientRect().bottom <= box.bottom + 1;
        })()"""
        self.assertTrue(ann.ask("evaluate", in_view))
        ann.ask("evaluate", "document.querySelector('#scroll').scrollBy(0, -2000)")
        bob.enter("#text", "the end")
        ann.wait_for_line("the end")
        self.assertFalse(ann.ask("evaluate", in_view))

    def test_raw(self) -> None:
        """A program's message is shown as it is, even if it looks like one of the server's."""
        server, ann, _ = self.meet()
        program = self.visit(server)
        for message in ("plain", "[1]", '{"say": "no"', '  {"say": "I am bob", "from": "bob"}', b"12345", "pong"):
            program.conn.send(message)
        ann.wait_for_line("5 bytes", ".raw")
        self.assertEqual(
            [line.strip() for line in ann.lines()],
            ["plain", "[1]", '{"say": "no"', '{"say": "I am bob", "from": "bob"}', "5 bytes"],
        )
        self.assertEqual(ann.complaints(), [])

    def test_accessible(self) -> None:
        """Every control has a name, what happens is announced, and light and dark both have contrast."""
        server, ann, bob = self.meet()
        bob.enter("#text", "hello")
        bob.do("selectOption", "#to", "ann")
        bob.enter("#text", "psst")
        self.visit(server).conn.send("raw")
        ann.wait_for_line("raw")
        ann.enter("#text", "hello")
        ann.enter("#name", "bob")
        ann.wait_for('#error[role=alert]:text-is("the name bob is taken")')
        nameless = (
            "[...document.querySelectorAll('button, input, select')]"
            ".filter((e) => !(e.innerText || e.labels.length || e.hidden)).length"
        )
        self.assertEqual(ann.ask("evaluate", nameless), 0)
        ann.wait_for("#state[role=status]")
        ann.wait_for("#scroll[role=log]")
        for scheme in ("light", "dark"):
            ann.do("emulateMedia", {"colorScheme": scheme})
            for selector in (
                *("h1", "#room", "label", "h2", "#state b", "#state span", "#flooded", "#send", "#error"),
                *("#online button", ".note span", ".own span", ".own b", ".private span", ".private b", ".raw span"),
            ):
                with self.subTest(scheme=scheme, selector=selector):
                    self.assertGreater(ann.ask("evaluate", test_page.CONTRAST % selector), 4.5)

    def test_small_screen(self) -> None:
        """On a phone nothing is wider than the screen, and the field to write in is on it."""
        _, ann, _ = self.meet()
        self.addCleanup(ann.do, "setViewportSize", {"width": 1280, "height": 720})
        ann.do("setViewportSize", {"width": 320, "height": 568})
        ann.enter("#text", "x" * 500)
        ann.wait_for(".own")
        for selector in ("html", "#scroll"):
            box = f"document.querySelector('{selector}')"
            self.assertEqual(ann.ask("evaluate", f"{box}.scrollWidth - {box}.clientWidth"), 0)
        self.assertLess(ann.ask("evaluate", "document.querySelector('#send').getBoundingClientRect().bottom"), 568)
