"""The rooms that are compared: `python -m benchmarks.rooms NAME ...`.

What one member sends, everybody gets, the sender too. None of them pings: the load counts bytes, and answers nothing.
"""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from pathlib import Path

from . import gorilla, ours, serving
from .processes import started
from .serving import Ways, say, websockets_compression


def run_syncws(ways: Ways) -> None:
    """This library: a Manager."""
    import syncws

    upgrader = syncws.Upgrader(enable_compression=ways.deflate, ping_interval=None)
    manager = syncws.Manager(on_message=lambda member, message: manager.broadcast(message))

    def handler(request: syncws.Request) -> None:
        with upgrader.upgrade(request) as conn:
            manager.run(conn)

    server = syncws.Server(handler, port=0, ssl_context=ways.tls)
    address = server.address  # server.port is missing in older checkouts of the library
    say(int(address[1]))
    server.serve_forever()


def run_websockets_asyncio(ways: Ways) -> None:
    """websockets' asyncio implementation, and its `broadcast`."""
    import asyncio

    from websockets.asyncio.server import ServerConnection, broadcast, serve
    from websockets.exceptions import ConnectionClosed

    members = set()

    async def handler(connection: ServerConnection) -> None:
        members.add(connection)
        with contextlib.suppress(ConnectionClosed):
            async for message in connection:
                broadcast(members, message)
        members.discard(connection)

    async def main() -> None:
        options = websockets_compression(ways)
        async with serve(handler, "127.0.0.1", 0, ssl=ways.tls, ping_interval=None, **options) as server:
            say(next(iter(server.sockets)).getsockname()[1])
            await server.serve_forever()

    asyncio.run(main())


def run_websockets_sync(ways: Ways) -> None:
    """websockets' threading implementation, and a loop over the members."""
    from websockets.exceptions import ConnectionClosed
    from websockets.sync.server import ServerConnection, serve

    members = set()

    def handler(connection: ServerConnection) -> None:
        members.add(connection)
        with contextlib.suppress(ConnectionClosed):
            for message in connection:
                for member in list(members):
                    with contextlib.suppress(ConnectionClosed):
                        member.send(message)
        members.discard(connection)

    with serve(handler, "127.0.0.1", 0, ssl=ways.tls, ping_interval=None, **websockets_compression(ways)) as server:
        say(server.socket.getsockname()[1])
        server.serve_forever()


RUN = {
    "syncws": run_syncws,
    "websockets.asyncio": run_websockets_asyncio,
    "websockets.sync": run_websockets_sync,
}

#: By name, the modules that each needs.
ROOMS = {
    "syncws": (),
    "gorilla": ("gorilla",),
    "websockets.asyncio": ("websockets",),
    "websockets.sync": ("websockets",),
}
ROOMS |= dict.fromkeys(ours.OURS, ())


def lacks(name: str, folder: Path) -> str:
    """A line that says why it is not available here; "" if it is."""
    return ours.ALL[name].missing() if name in ours.ALL else serving.lacks(ROOMS[name], folder)


@contextlib.contextmanager
def running(name: str, core: int | None, folder: Path, *, tls: bool, deflate: bool) -> Iterator[tuple[int, int]]:
    """(port, process id) of a room, on a core of its own if one is named; it ends with the block."""
    words = serving.words(tls=tls, deflate=deflate)
    if tls:
        serving.make_certificate(folder)
    way = ours.ALL.get(name, ours.Ours())
    room_of = "syncws" if name in ours.ALL else name
    command = [way.python, "-m", "benchmarks.rooms", room_of, str(folder), *words]
    if name == "gorilla":
        command = gorilla.command("hub", folder, words)
    with started(command, core, way.library, way.extra) as room:
        yield room


if __name__ == "__main__":
    serving.run_named(RUN)
