"""A chat with rooms, names and private messages: one `syncws.Manager`, and a page to talk on.

    python examples/chat/server.py
    python examples/chat/server.py --host 0.0.0.0 --port 8000 --workers 4
    CHAT_BUS=/tmp/chat gunicorn --chdir examples/chat -k gthread -w 4 "server:make_app()"
    CHAT_BUS=redis://localhost:6379/0 python examples/chat/server.py

Open the address it prints in two windows. The README beside this file walks through it, and lists the commands.
"""

from __future__ import annotations

import argparse
import json
import logging
import os
import re
import signal
import socket
import sys
import threading
import time
import unicodedata
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Any

import syncws

LOBBY = "lobby"  # where everybody begins

LABEL_LENGTH = 24  # characters of a name, of a room
TEXT_LENGTH = 4000  # characters of what somebody with a name says; the page knows it as well

#: Each room remembers what was said there, for pages that come back. Its name is a str, that of no other room is.
HISTORY = syncws.History(size=100, ttl=300, rooms=lambda room: isinstance(room, str))

#: Seconds to wait for what other processes answer: one that is stopped says nothing.
PATIENCE = 0.5

#: The page runs its own script and no other, and talks to nobody but this server: a text that somebody sends can do
#: nothing, even if the script once took it for HTML. The icon is in the page itself, as a data: URL.
POLICY = (
    "default-src 'none'; script-src 'self'; style-src 'self'; connect-src 'self'; img-src data:; "
    "base-uri 'none'; form-action 'none'; frame-ancestors 'none'"
)

#: The names of this machine. Against DNS rebinding, no other is answered to while only this machine can connect. Behind
#: a proxy, which passes the public name on, list that one.
LOOPBACK = ["localhost", "127.0.0.1", "::1"]


#: In a name or a room, what belongs to every script.
WITHOUT_SCRIPT = frozenset("0123456789 -_.'")

#: Words of Unicode's names for letters that show nothing, and first words of those for marks that belong to no script.
INVISIBLE = {"FILLER", "SELECTOR", "JOINER", "INHERENT", "SEPARATOR"}
LOOSE = {"COMBINING", "MODIFIER", "VARIATION"}

#: Scripts that are written together.
EAST_ASIAN = {"CJK", "HIRAGANA", "KATAKANA", "HANGUL", "BOPOMOFO", "IDEOGRAPHIC"}

#: The Latin letters of languages; beyond them are those of phonetics, with another a and another g.
LATIN = re.compile("[A-Za-z\u00c0-\u017f\u01a0\u01a1\u01af\u01b0\u0218-\u021b\u1e00-\u1eff]")

#: Lower-case letters of Cyrillic and Greek, and the Latin ones that they look like, or whose capitals do.
LOOK_ALIKE = str.maketrans("авекмнорстухіѕјһӏԁԛԝαβεικνορτυχηζı", "abekmhopctyxisjhldqwabeiknoptuxhzi")


class Refused(Exception):
    """A command that is not obeyed; the message tells its sender why."""


class Chat:
    """Who is here, under which name, in which room: in this process, and in all that are on the same bus.

    Two managers. `_manager` has every connection, in the rooms "garden" and ("raw", "garden"): what is said there is
    remembered, raw messages are not. `_people` has those who have a name, once more. Their id there is (since when, the
    name), so that any process can ask all others for the names in a room, in the order in which they came. They are in
    the rooms "garden" and ("called", key), which is how a name is found.

    A member's messages are handled in that member's own thread, several members' at the same time. `_lock` keeps two of
    this process from taking one name. It is held while the lists of who is online are sent, so that they arrive in the
    order they were made in, and the last one is true. That is no risk: a send waits for nobody, and a question to other
    processes for half a second.

    A member's ``data`` holds its "person", its Member of `_people`, None at first, and its "room". Only its own thread
    changes them.
    """

    def __init__(self) -> None:
        # A member who only listens may be silent for ever, so a heartbeat is answered but not required. A connection
        # that is dead is found without it: by the pings of the protocol.
        self._manager = make_manager(
            "visitors",
            HISTORY,
            on_open=self._on_open,
            on_message=self._on_message,
            on_close=self._on_close,
            on_gap=self._on_gap,
            heartbeat=syncws.Heartbeat(timeout=None),
        )
        self._people = make_manager("people", None, duplicate="many", on_gap=self._on_gap_of_people)
        self._commands: dict[str, Callable[[syncws.Member, dict[str, Any]], None]] = {
            "name": self._name,
            "join": self._join,
            "say": self._say,
            "private": self._private,
            "who": self._who,
        }
        self._lock = threading.Lock()

    def talk(self, conn: syncws.Conn) -> None:
        """Serve one connection until its end."""
        self._manager.run(conn, rooms=[LOBBY, raw(LOBBY)])

    # What the managers call

    def _on_open(self, member: syncws.Member) -> None:
        member.data.update(person=None, room=LOBBY)

    def _on_message(self, member: syncws.Member, message: str | bytes) -> None:
        try:
            command = parse(message)
            if command is None:
                self._manager.broadcast(message, room=raw(member.data["room"]))
            else:
                self._obey(member, command)
        except Refused as refused:
            member.send_json({"error": str(refused)})

    def _on_close(self, member: syncws.Member, error: BaseException | None) -> None:
        if member.data["person"] is not None:
            with self._lock:
                self._call(member, None)
                self._tell_who_is_online(member.data["room"])

    def _on_gap(self, gap: syncws.Gap) -> None:
        """Messages of other processes were lost: the pages here ask for them."""
        self._manager.broadcast_json({"gap": True}, room=gap.room, local=True)

    def _on_gap_of_people(self, gap: syncws.Gap) -> None:
        """Lists of who is online were lost, or the process in which some of them were: make them anew."""
        with self._lock:
            for room in self._people.rooms():
                if isinstance(room, str):
                    self._people.broadcast_json(self._online(room), room=room, local=True)

    # Commands, each from a JSON object

    def _obey(self, member: syncws.Member, command: dict[str, Any]) -> None:
        wanted = command.keys() & self._commands.keys()
        if len(wanted) != 1:
            raise Refused(f"a command has one of these keys: {', '.join(self._commands)}")
        self._commands[wanted.pop()](member, command)

    def _name(self, member: syncws.Member, command: dict[str, Any]) -> None:
        """Take a name, or another one."""
        name, before = label("name", command["name"]), name_of(member)
        with self._lock:
            if (before is None or key(before) != key(name)) and self._count(name):
                raise Refused(f"the name {name} is taken")
            self._call(member, name)
            if self._count(name) > 1:  # in another process somebody took it in the same instant: nobody gets it
                self._call(member, before)
                raise Refused(f"the name {name} is taken")
            self._tell_where(member)
            self._tell_who_is_online(member.data["room"])

    def _join(self, member: syncws.Member, command: dict[str, Any]) -> None:
        """Go to another room; or come back to one, with the position of the last message that one has of it."""
        room, before, person = label("room", command["join"]), member.data["room"], member.data["person"]
        if room == before and "since" not in command:
            self._tell_where(member)
            return
        # The answer comes before any message of the new room.
        for each in (before, raw(before)):
            member.leave(each)
        member.data["room"] = room
        self._tell_where(member)
        member.join(raw(room))
        if "since" in command:
            self._recover(member, room, command["since"])
        else:
            member.join(room)
        if person is not None and room != before:
            with self._lock:
                person.leave(before)
                person.join(room)
                self._tell_who_is_online(before)
                self._tell_who_is_online(room)

    def _recover(self, member: syncws.Member, room: str, since: object) -> None:
        """Let a member into a room, and send it what was said there since then; tell whether that was all."""
        recovered = self._manager.join(member, room, since=since if isinstance(since, str) else None)
        member.send_json({"recovered": recovered.recovered, "position": recovered.position})

    def _say(self, member: syncws.Member, command: dict[str, Any]) -> None:
        """Say something to the room."""
        said = {"say": text(command["say"]), "from": own_name(member)}
        self._manager.broadcast_json(said, room=member.data["room"])

    def _private(self, member: syncws.Member, command: dict[str, Any]) -> None:
        """Say something to one person, in whatever room; the sender gets it as well, as a receipt."""
        words, name = text(command.get("text")), own_name(member)
        to = label("name", command["private"])
        found = self._people.everywhere.ids(called(to), timeout=PATIENCE).ids
        if not found:
            raise Refused(f"{to} is not here")
        message = {"private": words, "from": name, "to": found[0][1]}
        self._people.broadcast_json(message, room=called(to))
        if key(to) != key(name):
            member.send_json(message)

    def _who(self, member: syncws.Member, command: dict[str, Any]) -> None:
        """Ask who is online in the room; visitors without a name can learn it only in this way."""
        with self._lock:
            member.send_json(self._online(member.data["room"]))

    # Names

    def _call(self, member: syncws.Member, name: str | None) -> None:
        """Have a member found by a name, in place of the one before; None: by no name."""
        before = member.data["person"]
        since = before.id[0] if before is not None else time.time_ns() // 1000
        if before is not None:
            self._people.unregister(before)
        member.data["person"] = None
        if name is not None:
            rooms = [member.data["room"], called(name)]
            member.data["person"] = self._people.register(member.conn, id=(since, name), rooms=rooms)

    def _count(self, name: str) -> int:
        """How many have a name, or one that looks like it."""
        return self._people.everywhere.count(called(name), timeout=PATIENCE).connections

    # What members are told

    def _tell_where(self, member: syncws.Member) -> None:
        member.send_json({"you": name_of(member), "room": member.data["room"]})

    def _tell_who_is_online(self, room: str) -> None:
        """Tell those in a room who have a name, and once more if the list has changed meanwhile.

        Two processes may make their lists in one order, and send them in the other. The last one is true: who has sent
        a list looks again.
        """
        told = None
        for _ in range(3):
            online = self._online(room)
            if online == told:
                return
            self._people.broadcast_json(online, room=room)
            told = online

    def _online(self, room: str) -> dict[str, Any]:
        assert self._lock.locked()
        people = self._people.everywhere.ids(room, timeout=PATIENCE).ids
        return {"online": [name for _, name in sorted(people)], "room": room}


def make_manager(name: str, history: syncws.History | None, **options: Any) -> syncws.Manager:
    """A manager that is joined with that of the same name in other processes, on the bus that CHAT_BUS names.

    Without one the workers of this server are joined by themselves.
    """
    bus = os.environ.get("CHAT_BUS", "")
    if "://" in bus:
        redis = syncws.RedisBackplane(bus, prefix=f"chat-{name}", history=history)
        return syncws.Manager(backplane=redis, **options)
    local = syncws.LocalBackplane(f"{bus}-{name}") if bus else None
    return syncws.Manager(backplane=local, history=history, **options)


def raw(room: str) -> tuple[str, str]:
    """The manager's room for messages that are no commands. It is a tuple, which is no label."""
    return ("raw", room)


def called(name: str) -> tuple[str, str]:
    """The room of the one who has a name."""
    return ("called", key(name))


def parse(message: str | bytes) -> dict[str, Any] | None:
    """The JSON object of a message; None for any other message, which goes to the room unchanged.

    Nothing but an object begins with a brace, so most messages are not parsed at all.
    """
    if not (isinstance(message, str) and message.startswith("{")):
        return None
    try:
        command: dict[str, Any] = json.loads(message)
    except json.JSONDecodeError:
        return None
    except (ValueError, RecursionError):
        # A number of thousands of digits, brackets a thousand deep: too much for this parser, but not for a browser's.
        # Passed on unchanged it would look as if the server had sent it, and anybody could speak as anybody.
        raise Refused("this JSON is too deep, or a number in it too long") from None
    return command


def label(what: str, value: object) -> str:
    """A name of a member or of a room. Raises Refused if it is too long, or cannot be read."""
    # isprintable: no line ends, no controls, nothing that turns the direction of the text after it
    if not isinstance(value, str) or not 1 <= len(value) <= LABEL_LENGTH:
        raise Refused(f"a {what} is 1 to {LABEL_LENGTH} characters")
    if not value.isprintable() or value != " ".join(value.split()):
        raise Refused(f"a {what} has printable characters, and single spaces between words")
    if not is_of_one_script(unicodedata.normalize("NFKC", value)):
        raise Refused(f"a {what} has letters of one script that can be seen, digits, spaces and any of -_.'")
    return value


def is_of_one_script(name: str) -> bool:
    """Whether its letters are of one script, and all can be seen: "ann" with a Cyrillic a is another name that looks
    the same, and so is "ann" with a letter that shows nothing (U+3164).

    Python knows no scripts, but the name of each letter in Unicode begins with its script.
    """
    scripts = set()
    for character in name:
        if character in WITHOUT_SCRIPT:
            continue
        script, *words = re.split("[ -]", unicodedata.name(character, ""))
        is_letter = unicodedata.category(character)[0] in "LMN"  # letters, their marks, numbers
        if not is_letter or script in LOOSE or INVISIBLE & {script, *words}:
            return False
        if script == "LATIN" and not LATIN.fullmatch(character):
            return False
        scripts.add("CJK" if script in EAST_ASIAN else script)
    return len(scripts) <= 1


def key(name: str) -> str:
    """The same key for names that look alike: Ann and ann are one name, and so is one of Cyrillic or Greek letters that
    look Latin. It is not the whole of Unicode's list (UTS #39): l and I, 0 and O stay two.
    """
    return unicodedata.normalize("NFKC", name).casefold().translate(LOOK_ALIKE)


def text(value: object) -> str:
    """The text of a member's message. Raises Refused if it may not be sent."""
    if not isinstance(value, str) or not value.strip() or len(value) > TEXT_LENGTH:
        raise Refused(f"a text is 1 to {TEXT_LENGTH} characters, and not only spaces")
    try:
        value.encode()
    except UnicodeEncodeError:  # JSON can spell half a character, "\ud83c", and UTF-8 cannot
        raise Refused("a text is whole characters: this one has half a surrogate pair") from None
    return value


def name_of(member: syncws.Member) -> str | None:
    """The name that a member has taken."""
    person = member.data["person"]
    return None if person is None else person.id[1]


def own_name(member: syncws.Member) -> str:
    name = name_of(member)
    if name is None:
        raise Refused("take a name first")
    return name


def load_page() -> dict[str, syncws.Response]:
    """The answers to plain HTTP requests, by path. Files are read here, once, and never by a name that came in."""
    headers = {"Content-Security-Policy": POLICY, "X-Content-Type-Options": "nosniff", "Cache-Control": "no-cache"}
    folder = Path(__file__).parent
    return {
        path: syncws.Response((folder / file).read_bytes(), 200, headers, f"text/{kind}; charset=utf-8")
        for path, file, kind in (
            ("/", "index.html", "html"),
            ("/style.css", "style.css", "css"),
            ("/chat.js", "chat.js", "javascript"),
        )
    }


def make_handler(chat: Chat, page: dict[str, syncws.Response]) -> Callable[[syncws.Request], syncws.Response | None]:
    upgrader = syncws.Upgrader()

    def handler(request: syncws.Request) -> syncws.Response | None:
        """Called for each request, in a thread of the connection's own."""
        if request.path == "/ws":
            chat.talk(upgrader.upgrade(request))
            return None
        return page.get(request.path) or syncws.Response("not found\n", 404)

    return handler


def make_app() -> Callable[..., Iterable[bytes]]:
    """The same as a WSGI application, for gunicorn; CHAT_BUS joins its workers."""
    chat, page, upgrader = Chat(), load_page(), syncws.Upgrader()

    def app(environ: dict[str, Any], start_response: Callable[..., object]) -> Iterable[bytes]:
        if environ["PATH_INFO"] == "/ws":
            return upgrader.serve(environ, chat.talk)(environ, start_response)
        response = page.get(environ["PATH_INFO"]) or syncws.Response("not found\n", 404)
        start_response(
            f"{response.status} {response.reason}", [*response.headers, ("Content-Length", str(len(response.body)))]
        )
        return [response.body]

    return app


def main() -> int:
    parser = argparse.ArgumentParser(description="A chat with rooms, names and private messages, and its page.")
    parser.add_argument("--host", default="127.0.0.1", help="address to listen on (default: %(default)s)")
    parser.add_argument("--port", type=port, default=8080, help="0 takes a free one (default: %(default)s)")
    parser.add_argument("--workers", type=workers, default=1, help="how many processes serve (default: %(default)s)")
    options = parser.parse_args()

    logging.basicConfig(level=logging.INFO, format="%(levelname)s %(message)s")
    try:
        hosts = LOOPBACK if options.host in LOOPBACK else None
        handler = make_handler(Chat(), load_page())
        server = syncws.Server(handler, options.host, options.port, allowed_hosts=hosts, workers=options.workers)
    except OSError as exc:
        reason = exc.strerror if isinstance(exc, socket.gaierror) else os.strerror(exc.errno or 0)
        print(f"Cannot listen on {options.host} port {options.port}: {reason}", file=sys.stderr)
        return 1

    # serve_forever closes every connection on SIGTERM and SIGINT. A signal before it runs, or a second one while
    # it waits for its clients, is a KeyboardInterrupt.
    signal.signal(signal.SIGTERM, signal.default_int_handler)
    try:
        print(f"Chat on {url(server, options.host)} (press Ctrl-C to stop)", flush=True)
        server.serve_forever()
    except KeyboardInterrupt:
        server.shutdown(timeout=0)
    return 0


def url(server: syncws.Server, host: str) -> str:
    """The address to open in a browser on this machine."""
    # "0.0.0.0" and "::" stand for every address of the machine, and a browser cannot open them.
    host = "localhost" if host in ("", "0.0.0.0", "::") else host
    return f"http://{f'[{host}]' if ':' in host else host}:{server.port}/"


def port(given: str) -> int:
    try:
        value = int(given)
    except ValueError:
        value = -1
    if not 0 <= value <= 0xFFFF:
        raise argparse.ArgumentTypeError(f"a port is a number from 0 to 65535, not {given!r}")
    return value


def workers(given: str) -> int:
    if not given.isdecimal() or int(given) < 1:
        raise argparse.ArgumentTypeError(f"the number of workers is 1 or more, not {given!r}")
    return int(given)


if __name__ == "__main__":
    sys.exit(main())
