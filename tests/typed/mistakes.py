"""What users get wrong: both type checkers say so while it is written, and the library when it runs."""

from __future__ import annotations

from collections.abc import Callable

import syncws
from syncws.testing import pair
from syncws.wsgi import Environ, websocket

#: Calls that raise a TypeError, and what it says.
MISTAKES: list[tuple[Callable[[], object], str]] = []


def mistake(said: str) -> Callable[[Callable[[], object]], None]:
    return lambda call: MISTAKES.append((call, said))


def talk(conn: syncws.Conn) -> None:
    """A handler."""


@mistake("unexpected keyword argument 'subprotocol'")
def a_wrong_option_of_dial() -> object:
    return syncws.dial("ws://localhost", subprotocol="chat")  # type: ignore[call-arg]  # pyright: ignore


@mistake("enable_compression is True or False, not 'yes'")
def a_wrong_value_for_dial() -> object:
    return syncws.dial("ws://localhost", enable_compression="yes")  # type: ignore[arg-type]  # pyright: ignore


@mistake("unexpected keyword argument 'max_delays'")
def a_wrong_option_of_reconnect() -> object:
    return syncws.reconnect("ws://localhost", max_delays=5)  # type: ignore[call-arg]  # pyright: ignore


@mistake("ping_interval is an Upgrader's: serve")
def an_upgraders_option_for_serve() -> None:
    syncws.serve(talk, port=0, ping_interval=5)  # type: ignore[call-arg]  # pyright: ignore


@mistake("unexpected keyword argument 'max_conns'")
def a_wrong_option_of_serve() -> None:
    syncws.serve(talk, port=0, max_conns=5)  # type: ignore[call-arg]  # pyright: ignore


@mistake("unexpected keyword argument 'read_limits'")
def a_wrong_option_of_an_upgrader() -> object:
    return syncws.Upgrader(read_limits=5)  # type: ignore[call-arg]  # pyright: ignore


@mistake("send_json sends any value that JSON can hold")
def a_dict_to_send() -> None:
    with pair() as (conn, _):
        conn.send({})  # type: ignore[arg-type]  # pyright: ignore


@mistake("broadcast_json sends any value that JSON can hold")
def a_dict_to_broadcast() -> None:
    syncws.Manager().broadcast({})  # type: ignore[arg-type]  # pyright: ignore


@mistake(r"a handler\(conn\), not '/echo': a path belongs to the framework's own route")
def a_path_for_a_decorator() -> object:
    return websocket("/echo")  # type: ignore[call-overload]  # pyright: ignore


@mistake("upgrader must be an Upgrader")
def a_class_for_an_upgrader() -> object:
    return websocket(talk, upgrader=syncws.Upgrader)  # type: ignore[call-overload]  # pyright: ignore


@mistake("unexpected keyword argument 'origins'")
def a_wrong_option_of_a_decorator() -> object:
    return websocket(origins=["*"])  # type: ignore[call-overload]  # pyright: ignore


@mistake("takes 0 positional arguments but 1 was given")
def a_handler_without_a_connection() -> None:
    def handler() -> None: ...

    websocket(handler)  # type: ignore[arg-type]  # pyright: ignore
    with pair() as (conn, _):
        handler(conn)  # type: ignore[call-arg]  # pyright: ignore


@mistake("missing 1 required positional argument: 'name'")
def an_argument_less_for_the_handler() -> None:
    def chat(conn: syncws.Conn, name: str) -> None: ...

    def view(environ: Environ) -> object:
        return syncws.Upgrader().serve(environ, chat)  # type: ignore[arg-type]  # pyright: ignore

    with pair() as (conn, _):
        chat(conn)  # type: ignore[call-arg]  # pyright: ignore
    view({})
