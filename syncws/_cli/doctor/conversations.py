"""The checks of a deployment that talk over an open connection: what passes, how fast, and how it ends."""

from __future__ import annotations

import contextlib
import errno
import secrets
import statistics
import time
from collections.abc import Callable

from ..._base.printable import printable
from ..._conn.conn import Conn
from ..._frames.frame import encode
from ..._http.headers import Headers
from ..._http.httpclient import ReceivedResponse
from ..._net.descriptors import raise_limit
from ...errors import (
    BadHandshakeError,
    CloseCode,
    CloseError,
    ConnectionClosed,
    HandshakeError,
    MessageType,
    ReadTimeout,
    WebSocketError,
)
from .. import dialing
from .finding import Finding, Findings, fault, note, ok, warning
from .visitor import Place

#: FIN and TEXT: the first byte of a whole message.
_WHOLE_TEXT = 0x81

#: Sizes, in bytes, that are tried where a large message has not come back, to tell where the limit is.
_SIZES = tuple(1 << power for power in (20, 19, 18, 17, 16, 15, 14, 12, 10))

#: Seconds that a small message may take: more is not the network.
_LATE = 0.5

#: Seconds that a frame may take that was sent with the handshake. It is mostly lost, or there at once.
_EARLY = 2.0

#: A close code of an application (4000 to 4999), which nothing on the way gives by itself.
_CODE = 4000

#: Headers of the command line that a plain request gets, too.
_OF_ANY_REQUEST = {"authorization", "cookie", "host", "user-agent"}

#: Close codes of an endpoint that has said all it has to say, whatever was asked.
_WELL = (CloseCode.NORMAL_CLOSURE, CloseCode.GOING_AWAY, CloseCode.NO_STATUS_RECEIVED)

#: Descriptors that the doctor needs beside those of its connections.
_OTHER_DESCRIPTORS = 64

_LEFT_OUT = (
    "Left out: early, fragments, large, latency. They need an endpoint that echoes: give its URL, or use --stand-in."
)


def heard(conn: Conn, text: str, seconds: float) -> bool:
    """Whether a message with this text in it comes within so many seconds; others are passed over.

    Raises ConnectionClosed.
    """
    until = time.monotonic() + seconds
    while (left := until - time.monotonic()) > 0:
        try:
            message = conn.receive(timeout=left)
        except ReadTimeout:
            return False
        if text in (message if isinstance(message, str) else message.decode("utf-8", "replace")):
            return True
    return False


def token() -> str:
    """A text that no endpoint says by itself."""
    return f"doctor-{secrets.token_hex(8)}"


def check_echo(place: Place) -> Findings:
    """A message comes back: most other checks need that. OK means it does."""
    first, second = token(), token()
    try:
        with place.connection() as conn:
            conn.send(first)
            if heard(conn, first, place.patience):
                yield ok("echo", "a message comes back")
                return
            conn.send(second)
            if heard(conn, first, place.patience):
                yield fault(
                    "echo", "a message comes back only after the next one", "Something holds it back.", "latency"
                )
                return
    except ConnectionClosed as end:
        yield note("echo", "the endpoint closes when it gets a text", f"{end}. {_LEFT_OUT}")
        return
    yield note("echo", "the endpoint does not echo", _LEFT_OUT)


def check_early(place: Place) -> Findings:
    """A frame that comes together with the handshake."""
    text = token()
    conn = place.visitor.dial_early(place.url, place.headers, b"".join(encode(_WHOLE_TEXT, text.encode(), True)))
    try:
        arrived = heard(conn, text, min(place.patience, _EARLY))
    except ConnectionClosed:
        arrived = False
    finally:
        conn.close(timeout=1.0)
    if arrived:
        yield ok("early", "a frame that comes with the handshake is not lost")
    else:
        yield note(
            "early",
            "a frame that comes with the handshake is lost",
            "Browsers wait for the 101. Some other clients do not, and lose their first message.",
            "early",
        )


def check_fragments(place: Place) -> Findings:
    """A message in fragments, with a ping between them."""
    text = token()
    with place.connection(write_buffer_size=1000) as conn:
        try:
            with conn.next_writer(MessageType.TEXT) as writer:
                writer.write("x" * 2000)
                conn.ping(b"between")
                writer.write("y" * 2000 + text)
            came = heard(conn, text, place.patience)
        except ConnectionClosed as end:
            yield fault("fragments", "a message in fragments ends the connection", f"{end}.")
            return
    if came:
        yield ok("fragments", "a message in fragments passes, with a ping between them")
    else:
        yield fault("fragments", "a message in fragments does not come back")


def check_large(place: Place, size: int) -> Findings:
    """A large message; if it does not come back, the largest that does."""
    problem = _large(place, size)
    if problem is None:
        yield ok("large", f"a message of {_say_size(size)} comes back")
        return
    passing = next((each for each in _SIZES if each < size and _large(place, each) is None), None)
    largest = f"One of {_say_size(passing)} does. " if passing else ""
    yield warning("large", f"a message of {_say_size(size)} does not come back", f"{largest}{problem}", "large")


def _large(place: Place, size: int) -> str | None:
    """What is wrong with a message of so many bytes; None if it comes back."""
    text = token()
    with place.connection(read_limit=None, enable_compression=False) as conn:
        try:
            conn.send(text + secrets.token_hex(size // 2)[: size - len(text)], timeout=place.patience)
            return None if heard(conn, text, place.patience) else f"Nothing came within {place.patience:g} s."
        except CloseError as end:
            if end.code == 1009:
                return "The application closes with 1009: its limit is lower."
            return f"The connection ends: {end}."
        except (ConnectionClosed, TimeoutError) as end:
            return f"The connection ends: {end}."


def check_latency(place: Place, rounds: int = 5) -> Findings:
    """Small messages, one after the other, each as soon as the one before is back."""
    taken = []
    with place.connection() as conn:
        for _ in range(rounds):
            text, began = token(), time.monotonic()
            conn.send(text)
            if not heard(conn, text, place.patience):
                yield fault("latency", f"a small message is not back within {place.patience:g} s", "", "latency")
                return
            taken.append(time.monotonic() - began)
    median, longest = statistics.median(taken), max(taken)
    title = f"a small message is back in {_say_time(median)} (median), {_say_time(longest)} (longest)"
    if median > _LATE:
        yield warning("latency", title, "Something holds it back: a buffer, or an application that is busy.", "latency")
    else:
        yield ok("latency", title)


def check_ping(place: Place) -> Findings:
    """A ping is answered by the application, as RFC 6455 section 5.5.2 demands."""
    payload = token().encode()
    pongs: dict[bytes, float] = {}
    with place.connection() as conn:
        conn.set_pong_handler(lambda data: pongs.setdefault(data, time.monotonic()))
        began = time.monotonic()
        conn.ping(payload)
        until = began + place.patience
        try:
            while payload not in pongs and (left := until - time.monotonic()) > 0:
                with contextlib.suppress(ReadTimeout):
                    conn.receive(timeout=min(left, 0.05))
        except ConnectionClosed as end:
            if isinstance(end, CloseError) and end.code in _WELL:
                yield note("ping", "the endpoint closes before it answers a ping", f"{end}. Pings were not looked at.")
            else:
                yield fault("ping", "a ping ends the connection", f"{end}.", "ping")
            return
    if payload in pongs:
        yield ok("ping", f"a ping is answered within {_say_time(pongs[payload] - began)}")
    else:
        seen = "Clients that ping take the server for dead, and what is in front cuts what is silent."
        yield fault("ping", f"a ping is not answered within {place.patience:g} s", seen, "ping")


def check_close(place: Place) -> Findings:
    """The closing handshake: our code comes back, or the application's own."""
    with place.connection() as conn:
        conn.close(_CODE, "syncws doctor", timeout=place.patience)
        end = conn.end
    answers = [code for verb, code, _ in getattr(end, "closings", ()) if verb == "received"]
    if answers:
        title = "close code and answer pass" if answers[0] == _CODE else f"closing is answered with {answers[0]}"
        yield ok("close", title)
    else:
        yield fault("close", "closing is not answered", f"{end}. Both sides see 1006.", "close")


def check_parallel(place: Place, count: int, plain: Callable[[], Findings]) -> Findings:
    """So many connections at once, each of which is served while the others are open; then plain HTTP beside them."""
    raise_limit(count + _OTHER_DESCRIPTORS)
    with contextlib.ExitStack() as stack:
        for opened in range(count):
            try:
                stack.enter_context(place.connection())
            except (OSError, HandshakeError) as error:
                yield _no_more(opened, error)
                return
        yield ok("parallel", f"{count} connection{'s are' if count > 1 else ' is'} open at once")
        yield from plain()


def _no_more(opened: int, error: Exception) -> Finding:
    """So many connections are open, and this was the answer to the next one."""
    connections = f"{opened} connection{'' if opened == 1 else 's'}"
    if isinstance(error, OSError) and error.errno in (errno.EMFILE, errno.ENFILE):
        seen = "The machine that the doctor runs on has no descriptor for more: see ulimit -n, or give --connections."
        return note("parallel", f"{connections} can be open, and more were not tried", seen)
    seen = f"The next one: {_why(error)}. Each may hold one of a few threads or workers."
    return fault("parallel", f"{connections} can be open, and no more", seen, "connections")


def _why(error: Exception) -> str:
    if isinstance(error, BadHandshakeError) and error.status:
        return f"HTTP {error.status}"
    if isinstance(error, TimeoutError):
        return "no answer in time"
    return dialing.cannot_dial(error)


def check_plain_http(place: Place, path: str) -> Findings:
    """A plain request is answered while WebSockets are open."""
    try:
        answer = ask(place, path)
    except (OSError, WebSocketError) as error:
        yield fault(
            "plain-http",
            f"GET {printable(path, 60)} is not answered while WebSockets are open",
            f"{_why(error)}. Health checks fail then, and a supervisor restarts the program.",
            "connections",
        )
        return
    if answer.status in (500, 502, 503, 504):
        yield fault("plain-http", f"GET {printable(path, 60)} is answered {answer}", "", "connections")
    else:
        yield ok("plain-http", f"GET {printable(path, 60)} is answered {printable(str(answer), 60)}")


def ask(place: Place, path: str) -> ReceivedResponse:
    """The answer to a plain GET of a path of the same server. Raises OSError, BadHandshakeError."""
    server = place.server
    url = f"{'wss' if server.secure else 'ws'}://{server.authority}{path}"
    headers = Headers([pair for pair in place.headers if pair[0].lower() in _OF_ANY_REQUEST])
    return place.visitor.ask(url, headers)


def _say_size(size: int) -> str:
    if size % (1 << 20) == 0:
        return f"{size >> 20} MiB"
    return f"{size >> 10} KiB" if size % 1024 == 0 else f"{size:,} bytes"


def _say_time(seconds: float) -> str:
    return f"{seconds * 1000:.1f} ms" if seconds < 0.1 else f"{seconds:.2f} s"
