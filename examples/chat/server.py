"""A chat with rooms, names and private messages: one `syncws.Manager`, and a page to talk on.

    python examples/chat/server.py
    python examples/chat/server.py --host 0.0.0.0 --port 8000

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
import unicodedata
from collections.abc import Callable
from pathlib import Path
from typing import Any

import syncws

LOBBY = "lobby"  # where everybody begins

LABEL_LENGTH = 24  # characters of a name, of a room
TEXT_LENGTH = 4000  # characters of what somebody with a name says; the page knows it as well

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
    """Who is here, under which name, in which room.

    A member's messages are handled in that member's own thread, several members' at the same time. `_lock` keeps two of
    them from taking one name. It is held while the lists of who is online are sent, so that they arrive in the order
    they were made in, and the last one is true. That is no risk: the manager waits for nobody when it sends, and calls
    no callback then.

    A member's ``data`` holds its "name", None at first, and its "room". Only its own thread changes them.
    """

    def __init__(self) -> None:
        # A member who only listens may be silent for ever, so a heartbeat is answered but not required. A connection
        # that is dead is found without it: by the pings of the protocol.
        self._manager = syncws.Manager(
            on_open=self._on_open,
            on_message=self._on_message,
            on_close=self._on_close,
            heartbeat=syncws.Heartbeat(timeout=None),
        )
        self._commands: dict[str, Callable[[syncws.Member, dict[str, Any]], None]] = {
            "name": self._name,
            "join": self._join,
            "say": self._say,
            "private": self._private,
            "who": self._who,
        }
        self._lock = threading.Lock()
        self._named: dict[str, syncws.Member] = {}  # by the key of their names; guarded by _lock

    def talk(self, conn: syncws.Conn) -> None:
        """Serve one connection until its end."""
        self._manager.run(conn, rooms=[LOBBY])

    # What the manager calls

    def _on_open(self, member: syncws.Member) -> None:
        member.data.update(name=None, room=LOBBY)

    def _on_message(self, member: syncws.Member, message: str | bytes) -> None:
        try:
            command = parse(message)
            if command is None:
                self._manager.broadcast(message, room=member.data["room"])
            else:
                self._obey(member, command)
        except Refused as refused:
            member.send_json({"error": str(refused)})

    def _on_close(self, member: syncws.Member, error: BaseException | None) -> None:
        if member.data["name"] is not None:
            with self._lock:
                del self._named[key(member.data["name"])]
                self._tell_who_is_online(member.data["room"])

    # Commands, each from a JSON object

    def _obey(self, member: syncws.Member, command: dict[str, Any]) -> None:
        wanted = command.keys() & self._commands.keys()
        if len(wanted) != 1:
            raise Refused(f"a command has one of these keys: {', '.join(self._commands)}")
        self._commands[wanted.pop()](member, command)

    def _name(self, member: syncws.Member, command: dict[str, Any]) -> None:
        """Take a name, or another one."""
        name, before = label("name", command["name"]), member.data["name"]
        with self._lock:
            if self._named.setdefault(key(name), member) is not member:
                raise Refused(f"the name {name} is taken")
            if before is not None and key(before) != key(name):
                del self._named[key(before)]
            member.data["name"] = name
            self._tell_where(member)
            member.join(audience(member.data["room"]))
            self._tell_who_is_online(member.data["room"])

    def _join(self, member: syncws.Member, command: dict[str, Any]) -> None:
        """Go to another room."""
        room, before = label("room", command["join"]), member.data["room"]
        with self._lock:
            if room == before:
                self._tell_where(member)
                return
            # The answer comes before any message of the new room.
            member.leave(before)
            member.leave(audience(before))
            member.data["room"] = room
            self._tell_where(member)
            member.join(room)
            if member.data["name"] is not None:
                member.join(audience(room))
                self._tell_who_is_online(before)
                self._tell_who_is_online(room)

    def _say(self, member: syncws.Member, command: dict[str, Any]) -> None:
        """Say something to the room."""
        said = {"say": text(command["say"]), "from": own_name(member)}
        self._manager.broadcast_json(said, room=member.data["room"])

    def _private(self, member: syncws.Member, command: dict[str, Any]) -> None:
        """Say something to one member, in whatever room; the sender gets it as well, as a receipt."""
        words, name = text(command.get("text")), own_name(member)
        to = label("name", command["private"])
        with self._lock:
            receiver = self._named.get(key(to))
        message = {"private": words, "from": name, "to": to if receiver is None else receiver.data["name"]}
        if receiver is None or not receiver.send_json(message):
            raise Refused(f"{to} is not here")
        if receiver is not member:
            member.send_json(message)

    def _who(self, member: syncws.Member, command: dict[str, Any]) -> None:
        """Ask who is online in the room; visitors without a name can learn it only in this way."""
        with self._lock:
            member.send_json(self._online(member.data["room"]))

    # What members are told

    def _tell_where(self, member: syncws.Member) -> None:
        member.send_json({"you": member.data["name"], "room": member.data["room"]})

    def _tell_who_is_online(self, room: str) -> None:
        self._manager.broadcast_json(self._online(room), room=audience(room))

    def _online(self, room: str) -> dict[str, Any]:
        assert self._lock.locked()
        return {"online": [member.data["name"] for member in self._manager.members(audience(room))], "room": room}


def audience(room: str) -> tuple[str, str]:
    """The manager's room for the members of a room who have a name. It is a tuple, which is no label."""
    return ("named", room)


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


def own_name(member: syncws.Member) -> str:
    name: str | None = member.data["name"]
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


def main() -> int:
    parser = argparse.ArgumentParser(description="A chat with rooms, names and private messages, and its page.")
    parser.add_argument("--host", default="127.0.0.1", help="address to listen on (default: %(default)s)")
    parser.add_argument("--port", type=port, default=8080, help="0 takes a free one (default: %(default)s)")
    options = parser.parse_args()

    logging.basicConfig(level=logging.INFO, format="%(levelname)s %(message)s")
    try:
        hosts = LOOPBACK if options.host in LOOPBACK else None
        server = syncws.Server(make_handler(Chat(), load_page()), options.host, options.port, allowed_hosts=hosts)
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


if __name__ == "__main__":
    sys.exit(main())
