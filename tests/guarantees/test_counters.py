"""Counters agree exactly with what the clients saw, whatever comes and goes: in a soak of connections that open, close,
flood, vanish, read slowly, and are refused.

Raw clients keep their own books, in threads of their own; at the end the two are compared, number by number. Each kind
of client does only what leaves no doubt: who vanishes or closes has had every answer before, since what nobody has read
when a connection ends is not counted; and who is closed does not close at the same time.

It takes twelve seconds; SYNCWS_SOAK says how many instead.
"""

from __future__ import annotations

import contextlib
import os
import random
import socket
import struct
import time
import unittest
from collections import Counter
from collections.abc import Callable, Iterator
from http import HTTPStatus
from typing import Any
from unittest import mock
from urllib.parse import parse_qs

from syncws import CLOSE, PONG, Manager, Member, Request, Response, Server, Upgrader
from syncws._conn.stats import counted_as
from syncws.testing import Peer, await_, running
from tests.handshakes import asking
from tests.partners import heavy
from tests.tasks import Task

from .support import PATIENT, WAIT, GuaranteeTestCase, note

#: Seconds of the soak.
SOAK = float(os.environ.get("SYNCWS_SOAK", "12"))

#: How many connections the server takes, and how many clients want one: so it is often full.
PLACES, CLIENTS = 8, 12

_TEXT, _BINARY = 1, 2

#: What a member is told once what it said was read.
_ANSWER = b"read"


class Counted(socket.socket):
    """A socket that counts what passes."""

    came = 0
    left = 0

    def recv(self, *args: Any) -> bytes:
        data = super().recv(*args)
        self.came += len(data)
        return data

    def sendall(self, data: Any, *args: Any) -> None:
        super().sendall(data, *args)
        self.left += len(data)


class Refused(Exception):
    """The handshake was answered with this status; 503 also for a server that has closed without a word."""


class Client:
    """One raw connection, and what its client knows of it."""

    def __init__(self, port: int, path: str, *, buffer: int | None = None, extra: bytes = b"") -> None:
        self.socket = Counted()
        self.socket.settimeout(WAIT)
        if buffer is not None:
            self.socket.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, buffer)
        self.messages = 0
        self.answers = 0  # those of them that say that what this client said was read
        try:
            self.peer = self._open(port, path, extra)
        except BaseException:
            self.socket.close()
            raise

    def _open(self, port: int, path: str, extra: bytes) -> Peer:
        head = b""
        try:
            self.socket.connect(("127.0.0.1", port))
            self.socket.sendall(asking(path).replace(b"\r\n\r\n", b"\r\n" + extra + b"\r\n"))
            while b"\r\n\r\n" not in head:
                if not (data := self.socket.recv(4096)):
                    raise Refused(503)
                head += data
        except (ConnectionResetError, BrokenPipeError):  # it was closed before its request was read
            raise Refused(503) from None
        if not head.startswith(b"HTTP/1.1 101 "):
            raise Refused(int(head.split()[1]))
        head, _, rest = head.partition(b"\r\n\r\n")
        self.before = self.socket.left, len(head) + 4
        return Peer(self.socket, masked=True, received=rest)

    def send(self, number: int) -> None:
        self.peer.send_frame(_TEXT if number % 2 else _BINARY, b"%d" % number * (number % 50 + 1))

    def receive(self) -> None:
        """The next message."""
        frame = self.peer.receive_frame()
        while frame.opcode not in (_TEXT, _BINARY):
            assert frame.opcode != CLOSE, frame
            frame = self.peer.receive_frame()
        self._count(frame.opcode, frame.payload)

    def say(self, count: int) -> None:
        """Say so much in the room, and wait until it was read there: a close that comes before may end that.

        Who has said something has had its on_open; a member that is lost before has none.
        """
        for number in range(count):
            self.send(number)
        while self.answers < count:
            self.receive()

    def _count(self, opcode: int, payload: bytes) -> None:
        self.messages += opcode in (_TEXT, _BINARY)
        self.answers += payload == _ANSWER

    @property
    def delivered(self) -> int:
        """What was said in the room, as far as it came here."""
        return self.messages - self.answers

    def close(self, code: int) -> int:
        """Close, and take what still comes; the code that came."""
        self.peer.send_frame(CLOSE, code.to_bytes(2))
        return self.until_closed()

    def until_closed(self, pause: float = 0.0) -> int:
        """Take what comes until the other side's close and the end of TCP, answering the close; its code."""
        code = None
        with self.socket:
            while True:
                try:
                    frame = self.peer.receive_frame()
                except EOFError:
                    assert code is not None
                    return code
                if frame.opcode == CLOSE:
                    code = int.from_bytes(frame.payload[:2])
                    with contextlib.suppress(OSError):
                        self.peer.send_frame(CLOSE, frame.payload)
                self._count(frame.opcode, frame.payload)
                time.sleep(pause)

    def vanish(self) -> None:
        """Reset the connection."""
        self.socket.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        self.socket.close()


class Books:
    """What the clients know, added up. One for each client's thread, and one of all of them."""

    def __init__(self) -> None:
        self.numbers: Counter[str] = Counter()
        self.closed: Counter[str] = Counter()
        self.closed_by: Counter[str] = Counter()
        self.refused: Counter[str] = Counter()
        self.requests: Counter[str] = Counter()

    def add(self, other: Books) -> None:
        for name, counter in vars(self).items():
            counter.update(getattr(other, name))

    def end(self, client: Client, sent: int, code: int, by: str) -> None:
        """A connection is over: with so many messages sent, and this code, which this side has given."""
        self.numbers.update(opened=1, messages_in=sent, messages_out=client.messages)
        self.numbers["bytes_out"] += client.socket.came
        self.numbers["bytes_in"] += client.socket.left - client.before[0]
        self.closed[counted_as(code)] += 1
        self.closed_by[by] += 1


class Soak:
    """The servers, the manager, and the kinds of clients: each talks once, and enters it in its books."""

    def __init__(self) -> None:
        self.manager = Manager(on_message=self._say, overflow="drop_oldest", send_queue=4)
        # Whatever the machine is busy with, nobody is given up for being slow.
        self.upgrader = Upgrader(control_limit=100, control_rate=1, close_timeout=WAIT, **PATIENT)
        patient: dict[str, Any] = {"port": 0, "handshake_timeout": None, "keep_alive_timeout": WAIT}
        self.server = Server(self._handle, max_connections=PLACES, **patient)
        self.flooded = Server(self._handle, **patient)
        self.kinds: list[Callable[[random.Random, Books], None]] = [
            *(self.echoes, self.floods, self.vanishes, self.is_pushed, self.chats, self.lurks, self.is_replaced),
            *(self.has_another_origin, self.is_sent_away, self.asks_for_a_page, self.pings_without_end),
        ]

    # The servers' side

    def _handle(self, request: Request) -> Response | None:
        asked = {name: int(values[0]) for name, values in parse_qs(request.query_string).items()}
        if request.path == "/page":
            return Response("a page")
        if request.path == "/private":
            return Response("who are you?", HTTPStatus.UNAUTHORIZED)
        conn = self.upgrader.upgrade(request)
        # Little room in the socket, so that what a slow client is sent has to wait.
        conn.socket.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, 8192)
        if request.path == "/push":
            conn.set_send_queue(send_queue=4, overflow="drop_newest" if asked["newest"] else "drop_oldest")
            for number in range(asked["count"]):
                conn.send_nowait(bytes(asked["size"]) + b"%d" % number)
        elif request.path == "/room":
            self.manager.run(conn, asked["id"], ["room"])
        else:
            for message in conn:
                conn.send(message)
        return None

    def _say(self, member: Member, message: str | bytes) -> None:
        self.manager.broadcast(bytes(2000), room="room")
        member.conn.send(_ANSWER)

    # The clients' side

    def _connect(self, books: Books, path: str, **options: Any) -> Client | None:
        """A connection, or None, where there is no place."""
        try:
            return Client(self.server.port, path, **options)
        except Refused as refused:
            assert refused.args == (503,), refused
            books.refused["full"] += 1
            return None

    def echoes(self, chance: random.Random, books: Books) -> None:
        """Sends, and has each answered; closes with some code."""
        if (client := self._connect(books, "/echo")) is None:
            return
        count = chance.randrange(20)
        for number in range(count):
            client.send(number)
            client.receive()
        code = chance.choice((1000, 1001, 1011, 3001, 4000, 4999))
        assert client.close(code) == code
        books.end(client, count, code, "peer")

    def floods(self, chance: random.Random, books: Books) -> None:
        """Sends a lot at once, then takes the answers."""
        if (client := self._connect(books, "/echo")) is None:
            return
        for number in range(300):
            client.send(number % 5)
        for _ in range(300):
            client.receive()
        client.close(1000)
        books.end(client, 300, 1000, "peer")

    def vanishes(self, chance: random.Random, books: Books) -> None:
        """Is gone without a word, once it has had its answers."""
        if (client := self._connect(books, "/echo")) is None:
            return
        count = chance.randrange(1, 5)
        for number in range(count):
            client.send(number)
            client.receive()
        client.vanish()
        books.end(client, count, 1006, "nobody")

    def is_pushed(self, chance: random.Random, books: Books) -> None:
        """Takes slowly what is pushed to it: some of it is dropped."""
        count, size, newest = chance.randrange(20, 60), chance.randrange(1_000, 20_000), chance.randrange(2)
        client = self._connect(books, f"/push?count={count}&size={size}&newest={newest}", buffer=4096)
        if client is not None:
            assert client.until_closed(pause=0.002) == 1000
            books.numbers["dropped"] += count - client.messages
            books.end(client, 0, 1000, "here")

    def chats(self, chance: random.Random, books: Books) -> None:
        """Joins the room, says something, and leaves."""
        if (client := self._connect(books, f"/room?id={chance.randrange(1 << 60)}", buffer=4096)) is None:
            return
        count = chance.randrange(1, 10)
        client.say(count)
        client.close(1000)
        books.numbers.update(members=1, broadcasts=count, delivered=client.delivered)
        books.end(client, count, 1000, "peer")

    def lurks(self, chance: random.Random, books: Books) -> None:
        """Joins the room, takes what is said there too late, and leaves."""
        if (client := self._connect(books, f"/room?id={chance.randrange(1 << 60)}", buffer=4096)) is None:
            return
        client.say(1)
        time.sleep(0.1)
        client.close(1000)
        books.numbers.update(members=1, broadcasts=1, delivered=client.delivered)
        books.end(client, 1, 1000, "peer")

    def is_replaced(self, chance: random.Random, books: Books) -> None:
        """Joins the room, and a newer connection takes its id."""
        path = f"/room?id={chance.randrange(1 << 60)}"
        if (older := self._connect(books, path)) is None:
            return
        older.say(1)  # so it is a member
        if (newer := self._connect(books, path)) is not None:
            code = older.until_closed()
            assert code == 4001, code
            newer.say(1)
            newer.close(1000)
            books.numbers.update(members=1, broadcasts=1, delivered=newer.delivered)
            books.end(newer, 1, 1000, "peer")
        else:
            older.close(1000)
        books.numbers.update(members=1, broadcasts=1, delivered=older.delivered, kicked=newer is not None)
        books.end(older, 1, 1000 if newer is None else 4001, "peer" if newer is None else "here")

    def has_another_origin(self, chance: random.Random, books: Books) -> None:
        """A page of another origin."""
        self._is_refused(books, "/echo", b"Origin: http://elsewhere.example\r\n", "origin", 403)

    def is_sent_away(self, chance: random.Random, books: Books) -> None:
        """Is refused by the handler itself."""
        self._is_refused(books, "/private", b"", "handler", 401)

    def _is_refused(self, books: Books, path: str, extra: bytes, reason: str, status: int) -> None:
        try:
            Client(self.server.port, path, extra=extra + b"Accept: */*\r\n")
        except Refused as refused:
            if refused.args == (503,):
                books.refused["full"] += 1
                return
            assert refused.args == (status,), refused
            books.refused[reason] += 1
            books.requests["4xx"] += 1

    def asks_for_a_page(self, chance: random.Random, books: Books) -> None:
        """Is no WebSocket."""
        answer = b""
        with contextlib.suppress(ConnectionResetError, BrokenPipeError), socket.socket() as sock:
            sock.settimeout(WAIT)
            sock.connect(("127.0.0.1", self.server.port))
            sock.sendall(b"GET /page HTTP/1.1\r\nHost: localhost\r\n\r\n")
            answer = sock.recv(4096)
        if answer.startswith(b"HTTP/1.1 200"):
            books.requests["2xx"] += 1
        else:
            books.refused["full"] += 1

    def pings_without_end(self, chance: random.Random, books: Books) -> None:
        """Is closed for a flood of control frames; by another server, as it does not see all bytes of its end."""
        client = Client(self.flooded.port, "/echo")
        with client.socket:
            client.peer.send(client.peer.frame(PONG, b"x") * 1200)
            while client.peer.receive_frame().opcode != CLOSE:
                pass
        books.numbers["floods"] += 1

    # The soak

    def talk(self, seed: int, until: float, books: Books) -> None:
        """One client's thread."""
        chance = random.Random(seed)
        while time.monotonic() < until:
            chance.choice(self.kinds)(chance, books)


class CountersTests(GuaranteeTestCase):
    """A server, a manager, and clients that know what they did."""

    bound = SOAK + 240.0

    @heavy
    def test_a_soak(self) -> None:
        """Every number that the clients can know is exactly theirs, and each snapshot on the way is whole."""
        soak = Soak()
        books = [Books() for _ in range(CLIENTS)]
        until = time.monotonic() + SOAK
        with self._quiet(), running(soak.server, timeout=WAIT) as server, running(soak.flooded, timeout=WAIT):
            snapshots = Task(self._look, server, until)
            tasks = [Task(soak.talk, seed, until, each) for seed, each in enumerate(books)]
            for task in tasks:
                task.join(SOAK + WAIT)
                task.result()
            self.assertTrue(await_(lambda: not server.stats().connections, WAIT))
            idle = [Client(server.port, "/echo") for _ in range(3)]
            ending = [Task(client.until_closed) for client in idle]
            self.assertTrue(await_(lambda: server.stats().open == 3, WAIT))
            server.shutdown()
            for client, end in zip(idle, ending, strict=True):
                self.assertEqual(end.result(), 1001)
                books[0].end(client, 0, 1001, "here")
            looks = snapshots.result()
        known = Books()
        for each in books:
            known.add(each)
        self._compare(soak, known)
        numbers = {**known.numbers, "closed": dict(known.closed), "refused": dict(known.refused)}
        numbers |= {"dropped_in_rooms": soak.manager.stats().dropped, "snapshots": looks}
        note(f"{SOAK:.0f} s: {numbers}")

    def _compare(self, soak: Soak, known: Books) -> None:
        stats, numbers = soak.server.stats(), known.numbers
        self.assertEqual((stats.open, stats.ending, stats.connections, stats.handlers), (0, 0, 0, 0))
        self.assertEqual((stats.queued_messages, stats.queued_bytes), (0, 0))
        self.assertEqual(stats.opened, numbers["opened"])
        self.assertEqual(stats.closed, dict(known.closed))
        self.assertEqual(stats.closed_by, dict(known.closed_by))
        self.assertEqual(stats.refused, dict(known.refused))
        self.assertEqual(stats.requests, dict(known.requests))
        self.assertEqual(stats.messages_in, numbers["messages_in"])
        self.assertEqual(stats.messages_out, numbers["messages_out"])
        rooms = soak.manager.stats()
        self.assertEqual(stats.dropped, numbers["dropped"] + rooms.dropped)
        self.assertEqual((rooms.members, rooms.rooms, rooms.queued_messages), (0, 0, 0))
        self.assertEqual((rooms.opened, rooms.closed, rooms.joins), (numbers["members"],) * 3)
        self.assertEqual((rooms.broadcasts, rooms.kicked), (numbers["broadcasts"], numbers["kicked"]))
        self.assertEqual(rooms.sent, numbers["delivered"] + rooms.dropped)
        flooded = soak.flooded.stats()
        self.assertEqual(
            (flooded.closed, flooded.closed_by), ({"1008": numbers["floods"]}, {"here": numbers["floods"]})
        )
        if stats.bytes_out is not None and stats.bytes_in is not None:
            self.assertEqual(stats.bytes_out, numbers["bytes_out"])
            # The kernel counts the end of TCP as one.
            self.assertTrue(0 <= stats.bytes_in - numbers["bytes_in"] <= stats.opened, (stats.bytes_in, numbers))

    def _look(self, server: Server, until: float) -> int:
        """Look again and again; how often. Each look is whole, and no number falls."""
        looks, before = 0, server.stats()
        while time.monotonic() < until:
            stats = server.stats()
            assert stats.opened == stats.open + stats.ending + sum(stats.closed.values()), stats
            assert sum(stats.closed.values()) == sum(stats.closed_by.values()), stats
            for name in ("opened", "messages_in", "messages_out", "dropped"):
                assert getattr(stats, name) >= getattr(before, name), (name, before, stats)
            looks, before = looks + 1, stats
            time.sleep(0.01)
        return looks

    @contextlib.contextmanager
    def _quiet(self) -> Iterator[None]:
        """Thousands of refusals and ends are not logged."""
        with mock.patch("logging.Logger.isEnabledFor", return_value=False):
            yield


if __name__ == "__main__":
    unittest.main()
