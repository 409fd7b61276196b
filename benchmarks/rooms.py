"""The rooms that are compared, each in a process of its own: python rooms.py NAME [CORE] [tls] [compressed].

What one member sends, everybody gets, the sender too. Prints its port and serves until its standard input ends. None of
them pings: the load counts bytes, and answers nothing.
"""

from __future__ import annotations

import contextlib
import os
import shutil
import ssl
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path

from servers import pin, say

HUB = Path(__file__).with_name("hub")

#: A GOPATH that has gorilla/websocket: the one of the environment variable GORILLA, or Debian's.
GOPATH = os.environ.get("GORILLA") or "/usr/share/gocode"


def run_syncws(tls: ssl.SSLContext | None, compressed: bool) -> None:
    """This library: a Manager."""
    from syncws.manager import Manager
    from syncws.server import Server
    from syncws.upgrader import Upgrader

    upgrader = Upgrader(enable_compression=compressed, ping_interval=None)
    manager = Manager(on_message=lambda member, message: manager.broadcast(message))

    def handler(request):
        with upgrader.upgrade(request) as conn:
            manager.run(conn)

    server = Server(handler, port=0, ssl_context=tls)
    say(server.address[1])
    server.serve_forever()


def run_websockets_asyncio(tls: ssl.SSLContext | None, compressed: bool) -> None:
    """websockets' asyncio implementation, and its `broadcast`."""
    import asyncio

    from websockets.asyncio.server import broadcast, serve
    from websockets.exceptions import ConnectionClosed

    members = set()

    async def handler(connection):
        members.add(connection)
        with contextlib.suppress(ConnectionClosed):
            async for message in connection:
                broadcast(members, message)
        members.discard(connection)

    async def main():
        compression = "deflate" if compressed else None
        async with serve(handler, "127.0.0.1", 0, compression=compression, ssl=tls, ping_interval=None) as server:
            say(next(iter(server.sockets)).getsockname()[1])
            await server.serve_forever()

    asyncio.run(main())


def run_websockets_sync(tls: ssl.SSLContext | None, compressed: bool) -> None:
    """websockets' threading implementation, and a loop over the members."""
    from websockets.exceptions import ConnectionClosed
    from websockets.sync.server import serve

    members = set()

    def handler(connection):
        members.add(connection)
        with contextlib.suppress(ConnectionClosed):
            for message in connection:
                for member in list(members):
                    with contextlib.suppress(ConnectionClosed):
                        member.send(message)
        members.discard(connection)

    compression = "deflate" if compressed else None
    with serve(handler, "127.0.0.1", 0, compression=compression, ssl=tls, ping_interval=None) as server:
        say(server.socket.getsockname()[1])
        server.serve_forever()


#: By name; None: the program of `hub`, which `main` becomes.
ROOMS = {
    "syncws": run_syncws,
    "gorilla": None,
    "websockets.asyncio": run_websockets_asyncio,
    "websockets.sync": run_websockets_sync,
}


def can(name: str) -> bool:
    """Whether it can be had here; one line says why not."""
    if name != "gorilla" or (shutil.which("go") and Path(GOPATH, "src/github.com/gorilla/websocket").is_dir()):
        return True
    print("without gorilla: that needs Debian's golang-go and golang-github-gorilla-websocket-dev, or GORILLA=GOPATH")
    return False


@contextlib.contextmanager
def built(names: list[str], *, tls: bool) -> Iterator[str]:
    """A folder that lasts as long as the comparison, with what the rooms need: gorilla's hub, a certificate."""
    with tempfile.TemporaryDirectory(prefix="syncws-") as folder:
        if tls:
            make_certificate(folder)
        if "gorilla" in names:
            build_hub(folder)
        yield folder


def make_certificate(folder: str) -> None:
    """cert.pem and key.pem, for localhost."""
    if shutil.which("openssl") is None:
        sys.exit("--tls needs the program openssl, which is not installed")
    subject = ["-subj", "/CN=localhost", "-addext", "subjectAltName=DNS:localhost"]
    made = ["-keyout", f"{folder}/key.pem", "-out", f"{folder}/cert.pem"]
    new_key = ["-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1", "-nodes"]
    subprocess.run(["openssl", "req", "-x509", *new_key, *subject, *made], check=True, capture_output=True)


def build_hub(folder: str) -> None:
    """The program of `hub/`, from the packages of GOPATH: nothing from a network or from the settings of the user."""
    own = {"GO111MODULE": "off", "GOENV": "off", "GOFLAGS": "", "GOPATH": GOPATH, "GOPROXY": "off"}
    environment = {**os.environ, **own, "GOTOOLCHAIN": "local", "GOCACHE": f"{folder}/go"}
    subprocess.run(["go", "build", "-o", f"{folder}/hub", "."], cwd=HUB, env=environment, check=True)


@contextlib.contextmanager
def running(name: str, core: int | None, folder: str, *, tls: bool, compressed: bool) -> Iterator[int]:
    """The port of a room, on a core of its own if one is named; it ends with the block."""
    flags = [flag for flag, wanted in (("tls", tls), ("compressed", compressed)) if wanted]
    command = [sys.executable, __file__, name, str(-1 if core is None else core), folder, *flags]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE) as process:
        try:
            line = process.stdout.readline()
            if not line:
                sys.exit(f"the room {name} did not start; is its package installed? (pip install 'syncws[bench]')")
            yield int(line)
        finally:
            process.stdin.close()
            process.wait()


def main() -> None:
    name, core, folder, *flags = sys.argv[1:]
    pin(None if core == "-1" else int(core))
    if name == "gorilla":
        os.execv(f"{folder}/hub", [f"{folder}/hub", folder, *flags])
    tls = None
    if "tls" in flags:
        tls = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
        tls.load_cert_chain(f"{folder}/cert.pem", f"{folder}/key.pem")
    ROOMS[name](tls, "compressed" in flags)


if __name__ == "__main__":
    main()
