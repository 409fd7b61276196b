"""The server of `pin`: python -m benchmarks.pin_server HANDLER PIN, as `syncws serve --pin` has it."""

from __future__ import annotations

import hashlib
import itertools
import sys
from typing import Any

import syncws

from .serving import say

_LARGE = bytes(1 << 20)

_numbers = itertools.count()


def echo(conn: syncws.Conn) -> None:
    while True:
        message_type, data = conn.read_message()
        conn.write_message(message_type, data)


def python(conn: syncws.Conn) -> None:
    for message in conn:
        sum(range(300))
        conn.send(message)


def hash_large(conn: syncws.Conn) -> None:
    for message in conn:
        hashlib.sha256(_LARGE).digest()
        conn.send(message)


def mixed(conn: syncws.Conn) -> None:
    (hash_large if next(_numbers) % 8 == 0 else echo)(conn)


HANDLERS = {"echo": echo, "python": python, "hash": hash_large, "mixed": mixed}


def main() -> None:
    name, said = sys.argv[1:]
    words: dict[str, Any] = {"no": False, "auto": "auto", "connections": "connections", "workers": True}
    pin = words[said] if said in words else int(said)
    with syncws.Server(handler_of(name), port=0, pin=pin) as server:
        say(server.port)
        server.serve_forever()


def handler_of(name: str) -> Any:
    upgrader, handle = syncws.Upgrader(), HANDLERS[name]

    def handler(request: syncws.Request) -> None:
        with upgrader.upgrade(request) as conn:
            handle(conn)

    return handler


if __name__ == "__main__":
    main()
