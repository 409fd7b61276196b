"""The servers that `takeover` measures, each as its own documentation writes one.

`python -m benchmarks.takeover_servers NAME FOLDER SETTINGS`, where SETTINGS is the JSON of `Settings`. Each prints its
port. A client tells it what to do by a text, once or again and again:

* "send N": it sends so many messages of the file `feed` of the folder, a line each, one after the other;
* "receive N": it takes so many messages, and answers with "done".
"""

from __future__ import annotations

import contextlib
import dataclasses
import itertools
import json
import shutil
import sys
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from .processes import ROOT, started
from .serving import lacks as lacks_modules
from .serving import say


@dataclasses.dataclass(frozen=True)
class Settings:
    """How a server compresses.

    Args:
        compression: whether it does.
        takeover: whether both sides keep their contexts.
        level: zlib's.
        bits: of both windows.
        memory: zlib's memLevel.
        silence: seconds after which this library lets go of its memory; None: its own default. Peers do not.
    """

    compression: bool = True
    takeover: bool = True
    level: int = 6
    bits: int = 15
    memory: int = 8
    silence: float | None = None

    @property
    def title(self) -> str:
        return f"level {self.level}, windows of {self.bits} bits, memLevel {self.memory}"


def read_feed(folder: str) -> list[str]:
    return Path(folder, "feed").read_text().splitlines()


# Each server: it says its port, and serves for ever.


def run_syncws(feed: list[str], settings: Settings) -> None:
    import syncws

    options: dict[str, Any] = {"context_takeover": True} if settings.takeover else {}
    if settings.takeover:
        options |= {"max_window_bits": settings.bits, "mem_level": settings.memory}
        if settings.silence is not None:
            options |= {"context_idle": settings.silence}
    upgrader = syncws.Upgrader(
        enable_compression=settings.compression, compression_level=settings.level, ping_interval=None, **options
    )

    def handler(request: syncws.Request) -> None:
        with upgrader.upgrade(request) as conn:
            endless = itertools.cycle(feed)
            for command in conn:
                assert isinstance(command, str)
                word, count = command.split()
                if word == "send":
                    for message in itertools.islice(endless, int(count)):
                        conn.send(message)
                else:
                    for _ in range(int(count)):
                        conn.receive()
                    conn.send("done")

    server = syncws.Server(handler, port=0, handshake_timeout=None)
    say(server.port)
    server.serve_forever()


def websockets_compression(settings: Settings) -> dict[str, Any]:
    if not settings.compression:
        return {"compression": None}
    from websockets.extensions.permessage_deflate import ServerPerMessageDeflateFactory

    factory = ServerPerMessageDeflateFactory(
        server_no_context_takeover=not settings.takeover,
        client_no_context_takeover=not settings.takeover,
        server_max_window_bits=settings.bits,
        client_max_window_bits=settings.bits,
        compress_settings={"level": settings.level, "memLevel": settings.memory},
    )
    return {"compression": None, "extensions": [factory]}


def run_websockets_sync(feed: list[str], settings: Settings) -> None:
    from websockets.sync.server import ServerConnection, serve

    def talk(conn: ServerConnection) -> None:
        endless = itertools.cycle(feed)
        for command in conn:
            word, count = str(command).split()
            if word == "send":
                for message in itertools.islice(endless, int(count)):
                    conn.send(message)
            else:
                for _ in range(int(count)):
                    conn.recv()
                conn.send("done")

    with serve(talk, "127.0.0.1", 0, ping_interval=None, **websockets_compression(settings)) as server:
        say(server.socket.getsockname()[1])
        server.serve_forever()


def run_websockets_asyncio(feed: list[str], settings: Settings) -> None:
    import asyncio

    from websockets.asyncio.server import ServerConnection, serve

    async def talk(conn: ServerConnection) -> None:
        endless = itertools.cycle(feed)
        async for command in conn:
            word, count = str(command).split()
            if word == "send":
                for message in itertools.islice(endless, int(count)):
                    await conn.send(message)
            else:
                for _ in range(int(count)):
                    await conn.recv()
                await conn.send("done")

    async def main() -> None:
        async with serve(talk, "127.0.0.1", 0, ping_interval=None, **websockets_compression(settings)) as server:
            say(next(iter(server.sockets)).getsockname()[1])
            await server.serve_forever()

    asyncio.run(main())


RUN = {
    "syncws": run_syncws,
    "websockets.sync": run_websockets_sync,
    "websockets.asyncio": run_websockets_asyncio,
}

#: Node's `ws`, which the tests have as well.
WS = "ws"
MODULES = ROOT / "tests" / "interop" / "node" / "node_modules"

NAMES = [*RUN, WS]


def lacks(name: str, folder: Path) -> str:
    """A line that says why it is not available here; "" if it is."""
    if name != WS:
        return lacks_modules(("websockets",) if name.startswith("websockets") else (), folder)
    if shutil.which("node") is None or not (MODULES / "ws").is_dir():
        return "it takes Node, and `make node`"
    return ""


@contextlib.contextmanager
def running(name: str, core: int | None, folder: Path, settings: Settings) -> Iterator[tuple[int, int]]:
    """(port, process id) of a server, on a core of its own if one is named; it ends with the block."""
    words = [str(folder), json.dumps(dataclasses.asdict(settings))]
    command, extra = [sys.executable, "-m", "benchmarks.takeover_servers", name, *words], dict[str, str]()
    if name == WS:
        command = ["node", str(Path(__file__).with_name("node") / "takeover.js"), *words]
        extra = {"NODE_PATH": str(MODULES)}
    with started(command, core, extra=extra) as server:
        yield server


def version_of_ws() -> str:
    """That of Node's `ws`, if it is there."""
    try:
        return f"ws {json.loads((MODULES / WS / 'package.json').read_text())['version']}"
    except OSError:
        return "no ws"


def main(name: str, folder: str, settings: str) -> None:
    chosen: Mapping[str, Any] = json.loads(settings)
    RUN[name](read_feed(folder), Settings(**chosen))


if __name__ == "__main__":
    main(*sys.argv[1:])
