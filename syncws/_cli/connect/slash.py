"""The commands that can be typed: what they are called, what they take, and what they do to a session."""

from __future__ import annotations

import binascii
import json
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

from ..._frames.payloads import format_close_message
from ...errors import CloseCode
from ..command import CommandError
from .record import Recorder
from .session import Session


class CannotRun(Exception):
    """A command cannot be run as it was typed; the text says why."""


@dataclass(frozen=True)
class Slash:
    """A command. `run` gets what was typed after its name, and returns what is to be said, "" for nothing."""

    name: str
    takes: str
    does: str
    run: Callable[[str], str]


class SlashCommands:
    """The commands of one session. For the thread that takes the lines.

    Args:
        session: what they act on.
        send: sends a message, and shows it; it raises CannotRun.
        code, reason: how /quit closes.
    """

    def __init__(self, session: Session, send: Callable[[str | bytes], None], code: int, reason: str) -> None:
        self._session = session
        self._send = send
        self._closing = (code, reason)
        listed = [
            Slash("/help", "", "this list", lambda _: self.help()),
            Slash("/text", "TEXT or @FILE", "send it as a text message", self._text),
            Slash("/binary", "HEX or @FILE", "send bytes: /binary 00 ff, or a file as it is", self._binary),
            Slash("/json", "VALUE or @FILE", "send JSON, checked before it is sent", self._json),
            Slash("/ping", "[TEXT]", "ask for a pong, and show how long it took", self._ping),
            Slash("/close", "[CODE [REASON]]", "close the connection", self._close),
            Slash("/reconnect", "", "close the connection, and make another one", self._reconnect),
            Slash("/record", "FILE or off", "write the conversation to a file from now on", self._record),
            Slash("/quit", "", "close the connection, as Ctrl-D does", self._quit),
        ]
        self._commands = {each.name: each for each in listed}

    @property
    def names(self) -> list[str]:
        """The names, each with its slash."""
        return list(self._commands)

    def run(self, line: str) -> str:
        """Run what was typed. Returns what is to be said, "" for nothing; raises CannotRun."""
        name, _, rest = line.strip().partition(" ")
        found = self._commands.get(name)
        if found is None:
            raise CannotRun(f"there is no command {name}: see /help; two slashes send a text that begins with one")
        return found.run(rest.strip())

    def help(self) -> str:
        """The list of the commands."""
        return "\n".join(self._help())

    def _help(self) -> Iterator[str]:
        yield "what is typed is sent; a line that begins with a slash is a command, with two it is sent with one"
        for each in self._commands.values():
            yield f"{each.name} {each.takes}".ljust(24) + each.does
        yield "Ctrl-C takes a line back, and ends the program on an empty one"

    def _text(self, rest: str) -> str:
        data = _given(rest, "/text hello, or /text @FILE")
        self._send(rest if data is None else _decoded(data, rest))
        return ""

    def _binary(self, rest: str) -> str:
        data = _given(rest, "/binary 00 ff, or /binary @FILE")
        if data is None:
            try:
                data = binascii.unhexlify("".join(rest.split()))
            except ValueError as error:
                raise CannotRun(f"{error}: two hex digits for each byte, as in /binary 00 ff, or @FILE") from None
        self._send(data)
        return ""

    def _json(self, rest: str) -> str:
        data = _given(rest, '/json {"a": 1}, or /json @FILE')
        text = rest if data is None else _decoded(data, rest)
        try:
            json.loads(text)
        except (ValueError, RecursionError) as error:
            raise CannotRun(f"this is no JSON: {error}") from None
        self._send(text)
        return ""

    def _ping(self, rest: str) -> str:
        return self._session.ping(encoded(rest))

    def _close(self, rest: str) -> str:
        number, _, reason = rest.partition(" ")
        try:
            code = int(number or CloseCode.NORMAL_CLOSURE)
        except ValueError:
            raise CannotRun(f"a close code is a number, as in /close 4000 bye, not {number!r}") from None
        try:
            format_close_message(code, reason.strip())
        except ValueError as error:
            raise CannotRun(str(error)) from None
        self._session.close_soon(code, reason.strip())
        return ""

    def _reconnect(self, rest: str) -> str:
        self._session.reconnect()
        return ""

    def _record(self, rest: str) -> str:
        if not rest:
            raise CannotRun("/record FILE, or /record off")
        try:
            before = self._session.record(None if rest == "off" else Recorder(_path(rest)))
        except (CommandError, OSError) as error:
            raise CannotRun(str(error)) from None
        if before is not None:
            before.close()
        if rest != "off":
            return f"recording into {rest}"
        return f"recorded into {before.path}" if before is not None else "nothing was being recorded"

    def _quit(self, rest: str) -> str:
        self._session.close_soon(*self._closing)
        return ""


def _given(rest: str, usage: str) -> bytes | None:
    """The file that is named as @FILE; None where something else is given. Raises CannotRun for neither."""
    if not rest:
        raise CannotRun(usage)
    if not rest.startswith("@"):
        return None
    path = _path(rest[1:])
    try:
        return Path(path).read_bytes()
    except OSError as error:
        raise CannotRun(f"cannot read {rest[1:]}: {error.strerror}") from None


def _path(name: str) -> str:
    try:
        return str(Path(name).expanduser())
    except RuntimeError:  # ~ann, and there is no ann
        raise CannotRun(f"cannot use {name}: there is no user {name.partition('/')[0][1:]!r}") from None


def encoded(text: str) -> bytes:
    """What was typed, as bytes. Raises CannotRun for keys that are no UTF-8, which the terminal gives as surrogates."""
    try:
        return text.encode()
    except UnicodeEncodeError:
        raise CannotRun("not sent: what was typed is no UTF-8") from None


def _decoded(data: bytes, name: str) -> str:
    try:
        return data.decode()
    except UnicodeDecodeError as error:
        raise CannotRun(f"{name[1:]} is no UTF-8 ({error.reason}): /binary sends it as it is") from None
