"""One connection to Redis or Valkey, by redis-py's or valkey-py's `Connection`, and what is the same in all versions.
No retry, no reconnect and no timeout is theirs: who uses a wire decides, and knows what it has lost.

    RedisWire(settings).connect()  .send(commands)  .read()  .close(), and again .connect()

It is one Connection object for good: a pool counts those that it has made, and stops at a hundred.
"""

from __future__ import annotations

import contextlib
import socket
import ssl
from collections.abc import Iterable
from typing import Any, Literal

from .._base.printable import printable
from .redisurl import RedisSettings

#: Bytes of commands that are sent in one call.
_CHUNK = 1 << 18


#: Errors of a server that is the wrong one, or not ready: a new connection finds another, or this one once it is.
WRONG_SERVER = frozenset({"READONLY", "LOADING", "MASTERDOWN", "CLUSTERDOWN"})

#: Errors of a write that will be the same each time: this user may not, or another node has the key.
NEVER = frozenset({"NOPERM", "MOVED"})

#: Errors of a write that tell nothing of the server: these, or it is full, or has no place to store.
NO_KEYS = NEVER | {"OOM", "MISCONF"}


Kind = Literal["timeout", "broken", "refused", "denied"]


class WireLost(Exception):
    """The connection is over, or was never made.

    Attributes:
        kind: "timeout": the server did not answer in time; "broken": a connection that was there has ended; "refused":
            the server is not there, has no place for it, or is the wrong one; "denied": it does not accept this user,
            or what this user asks for.
    """

    def __init__(self, reason: str, kind: Kind = "refused") -> None:
        super().__init__(reason)
        self.kind = kind


class Refusal(Exception):
    """The server's answer to one command is an error; the connection is whole.

    Attributes:
        code: its first word, such as READONLY.
    """

    def __init__(self, code: str, reason: str) -> None:
        super().__init__(reason)
        self.code = code


#: The clients cut the first word off the errors that they have classes for.
_CODES = {
    "AuthenticationError": "NOAUTH",
    "BusyLoadingError": "LOADING",
    "MasterDownError": "MASTERDOWN",
    "MovedError": "MOVED",
    "NoPermissionError": "NOPERM",
    "NoScriptError": "NOSCRIPT",
    "OutOfMemoryError": "OOM",
    "ReadOnlyError": "READONLY",
}

#: What a user is told who may not.
_DENIED = frozenset({"NOAUTH", "WRONGPASS", "NOPERM", "WRONGPASSWORD"})


class RedisWire:
    """A connection to a server, which is made and ended as often as it takes.

    For one thread; `interrupt` is for any. Every method but `close` and `abandon` raises WireLost, after which the
    wire is closed.

    Args:
        settings: where to.
        timeout: seconds that connecting takes at most, in each of its steps.
    """

    def __init__(self, settings: RedisSettings, timeout: float) -> None:
        self._settings = settings
        self._timeout = timeout
        self._connection = settings.connection(timeout)
        self._first_sentinel = 0  # the one that is asked first: which answered last

    def connect(self) -> None:
        """Connect, with user, database and TLS as the settings have them; for sentinels, to what they name."""
        try:
            self.located().connect()
        except WireLost:
            raise
        except Exception as error:
            raise self._lost(error, "refused") from None

    def located(self) -> Any:
        """The connection inside, not connected, and to where the server is now: sentinels are asked for it."""
        if self._settings.sentinels:
            self._connection.host, self._connection.port = self._ask_sentinels()
        return self._connection

    def send(self, commands: Iterable[tuple[Any, ...]], timeout: float) -> None:
        """Send commands; their answers come by `read`, in order."""
        connection = self._connection
        try:
            self._set_timeout(timeout)
            pieces, size = [], 0
            for command in commands:
                for piece in connection.pack_command(*command):
                    pieces.append(piece)
                    size += len(piece)
                if size >= _CHUNK:
                    connection.send_packed_command([b"".join(pieces)], check_health=False)
                    pieces, size = [], 0
            if pieces:
                connection.send_packed_command([b"".join(pieces)], check_health=False)
        except Exception as error:
            raise self._lost(error, "broken") from None

    def has_data(self) -> bool:
        """Whether there is something to read, or to find broken, without waiting."""
        try:
            return bool(self._connection.can_read(timeout=0))
        except Exception as error:
            raise self._lost(error, "broken") from None

    def read(self, timeout: float | None = None) -> Any:
        """The next answer or message: bytes, int, None or a list of these.

        Raises TimeoutError if it is not there after timeout seconds (None: that of the wire); nothing is lost by it.
        Raises Refusal for the answer that is an error.
        """
        try:
            if timeout is not None:
                self._set_timeout(timeout)
            return self._connection.read_response(disable_decoding=True, disconnect_on_error=False)
        except Exception as error:
            if _is(error, "TimeoutError"):
                raise TimeoutError from None
            if _is(error, "ResponseError") or _is(error, "BusyLoadingError"):
                raise Refusal(_code(error), _words(error)) from None
            raise self._lost(error, "broken") from None

    def _set_timeout(self, timeout: float) -> None:
        sock = self._socket
        if sock.gettimeout() != timeout:  # setting it is a call of the system's
            sock.settimeout(timeout)

    def fileno(self) -> int:
        """The descriptor, for a selector."""
        number: int = self._socket.fileno()
        return number

    @property
    def _socket(self) -> Any:
        """The socket inside: for what `Connection` has no method."""
        sock = self._connection._sock
        if sock is None:
            raise ConnectionError("the connection is over")
        return sock

    def close(self) -> None:
        """End the connection. Idempotent; `connect` makes a new one."""
        with contextlib.suppress(Exception):
            self._connection.disconnect()

    def interrupt(self) -> None:
        """Have a call that is under way, and each later one, find the connection ended. Any thread; idempotent."""
        sock = self._connection._sock
        if sock is not None:
            with contextlib.suppress(OSError):  # it is over by itself
                _shut_down(sock)

    def abandon(self) -> None:
        """In the child of a fork: give this copy of the descriptor back, and say nothing to the server."""
        self.close()  # redis-py shuts a socket down only in the process that has made it

    def _lost(self, error: Exception, kind: Kind) -> WireLost:
        self.close()
        if _code(error) in _DENIED:
            kind = "denied"
        elif _is(error, "TimeoutError"):
            kind = "timeout"
        return WireLost(_words(error), kind)

    def _ask_sentinels(self) -> tuple[str, int]:
        """Where the master is. Raises WireLost if none of the sentinels tells."""
        service, sentinels = self._settings.service, self._settings.sentinels
        failed = []
        for number in ((self._first_sentinel + each) % len(sentinels) for each in range(len(sentinels))):
            wire = RedisWire(sentinels[number], self._timeout)
            try:
                wire.connect()
                wire.send([("SENTINEL", "GET-MASTER-ADDR-BY-NAME", service)], self._timeout)
                found = wire.read(self._timeout)
            except (WireLost, Refusal, TimeoutError) as error:
                failed.append(str(error) or "no answer in time")
                continue
            finally:
                wire.close()
            if found is not None:
                self._first_sentinel = number
                return found[0].decode(), int(found[1])
            failed.append(f"it knows no master {printable(service)!r}")
        raise WireLost(f"no sentinel tells where the master is: {'; '.join(failed)}")


def _shut_down(sock: Any) -> None:
    plain = getattr(socket.socket, "shutdown", None)  # eventlet's class has none
    if plain is not None and isinstance(sock, ssl.SSLSocket):
        plain(sock, socket.SHUT_RDWR)  # that of TLS would take away what another thread is using
    else:
        sock.shutdown(socket.SHUT_RDWR)


def _is(error: BaseException, name: str) -> bool:
    """Whether an error is of a class of this name, in either client; the system's own TimeoutError is one too."""
    return any(each.__name__ == name for each in type(error).__mro__)


def _code(error: Exception) -> str:
    for each in type(error).__mro__:
        if each.__name__ in _CODES:
            return _CODES[each.__name__]
    return str(error).partition(" ")[0]


def _words(error: Exception) -> str:
    """What an error says, on one line."""
    return printable(str(error) or type(error).__name__, 300)
