"""The command line: ``syncws serve module:app`` runs a WSGI application, with its WebSocket views.

SIGTERM and SIGINT end it in order: every WebSocket peer is told 1001, and requests under way are finished. With --drain
SIGTERM has it run empty first: see `Server.drain`.

An error is one line on stderr. If the application's own code raises it, such as its module when it is imported, the
traceback is shown before that line.
"""

from __future__ import annotations

import argparse
import contextlib
import difflib
import importlib
import inspect
import logging
import os
import re
import signal
import socket
import ssl
import sys
import traceback
from collections.abc import Callable, Iterator
from types import ModuleType
from typing import Any

from .._base.callables import is_async
from .._base.options import check_wait
from .._http.hosts import AllowedHosts
from .._net.address import Address, as_address, say_peer
from .._net.inherited import inherited_listener
from .._net.listener import SocketFile, listen_tcp, listen_unix
from .._server.cores import Pin, check_workers
from .._server.server import Server
from .command import CommandError, Commands, cores, load_certificate, number, show
from .reloading import SHUTDOWN_TIMEOUT, serve_reloading

_LEVELS = ("debug", "info", "warning", "error", "critical")

#: module:attribute, module:object.attribute, module:factory()
_EPILOG = """\
examples:
  syncws serve app:app                                   the object `app` of app.py in this folder
  syncws serve app:app --reload                          while you write it: a change of a file begins anew
  syncws serve 'mysite.web:create_app()'                 what a factory returns
  syncws serve app:app --workers auto                    a process for each core
  syncws serve app:app --host '*' --port 8443 --certfile cert.pem --keyfile key.pem
  syncws serve app:app --unix /run/app.sock              behind nginx on the same machine

SIGTERM and Ctrl-C end it in order: WebSocket peers are told 1001, and requests under way are finished; a second Ctrl-C
ends it at once.

exit status: 0 it was ended; 1 it could not begin; 2 wrong arguments
"""

_SPEC = re.compile(r"(?P<module>\w+(?:\.\w+)*):(?P<path>[^\W\d]\w*(?:\.\w+)*)(?P<call>\(\))?")


def add_serve(commands: Commands) -> None:
    """Add the command and its options."""
    serve = commands.add_parser(
        "serve",
        help="run a WSGI application, and its WebSocket views, on syncws.Server",
        description="Run a WSGI application, and its WebSocket views, on syncws.Server.",
        epilog=_EPILOG,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    serve.add_argument(
        "application", metavar="module:app", help="the application; module:factory() for what a factory returns"
    )
    place = serve.add_argument_group("where")
    place.add_argument("--host", help="address to listen on; * for all, of IPv4 and IPv6 (default: 127.0.0.1)")
    place.add_argument("--port", type=_port, help="0 takes a free one (default: 8080)")
    place.add_argument("--unix", metavar="PATH", help="listen on a Unix socket instead")
    place.add_argument(
        "--systemd", action="store_true", help="listen on the socket that systemd passes (a .socket unit) instead"
    )
    place.add_argument(
        "--fd", type=_descriptor, metavar="NUMBER", help="listen on this descriptor instead, a socket that listens"
    )
    place.add_argument(
        "--allowed-host",
        type=_allowed_host,
        action="append",
        metavar="NAME",
        help="a host that requests may be for, such as localhost or *.example.com; may be repeated (default: any)",
    )
    place.add_argument("--certfile", help="serve TLS with this certificate (PEM)")
    place.add_argument("--keyfile", help="its private key, if it is not in the same file")
    work = serve.add_argument_group("how")
    work.add_argument(
        "--reload", action="store_true", help="begin anew when a file of the application changes; for development"
    )
    work.add_argument(
        "--workers",
        type=_workers,
        default=1,
        metavar="NUMBER",
        help="processes that serve, or auto: one for each core (default: %(default)s)",
    )
    work.add_argument(
        "--pin",
        type=_pin,
        metavar="WHAT",
        help="keep on one core: auto, the connections while that pays; connections; workers; a core's number; no "
        "(default: workers, where there is one for each core)",
    )
    work.add_argument(
        "--max-connections",
        type=_count,
        default=10_000,
        metavar="NUMBER",
        help="connections of a worker at once, plain HTTP included; one more: 503 (default: %(default)s)",
    )
    operation = serve.add_argument_group("operation")
    operation.add_argument(
        "--drain",
        type=_seconds,
        metavar="SECONDS",
        help="on SIGTERM tell WebSockets to go one after another, over so long (default: all at once)",
    )
    operation.add_argument("--health-path", metavar="PATH", help="answer 200 here while the process lives")
    operation.add_argument("--ready-path", metavar="PATH", help="the same, but 503 while it is full or drains")
    log = serve.add_argument_group("the log, on stderr")
    log.add_argument("--log-level", choices=_LEVELS, help="(default: info)")
    log.add_argument(
        "-v",
        "--verbose",
        action="count",
        default=0,
        help="as --log-level debug; -vv: frames and heads too",
    )
    log.add_argument(
        "--access-log",
        action=argparse.BooleanOptionalAction,
        default=True,
        help="a line for each request, and for each WebSocket at its end (default: yes)",
    )
    serve.set_defaults(run=_serve)


def _serve(options: argparse.Namespace) -> int:
    """Serve until a signal. Returns the exit status, or raises CommandError."""
    _check_place(options)
    if options.reload and options.workers > 1:
        raise CommandError("--reload is for one process: leave --workers out while you write the application")
    try:
        check_workers(options.workers, options.pin)
    except ValueError as exc:
        raise CommandError(f"--pin: {exc}") from None
    ssl_context = _ssl_context(options.certfile, options.keyfile)
    _configure_logging(options)
    if options.reload:
        return _serve_reloading(options, ssl_context)
    application = load_application(options.application)
    listener = _listener(options)
    with _told(options, listener):
        server = _server(application, options, ssl_context, listener=listener)
    return _run(server, lambda: _announce(server.address, options))


def _serve_reloading(options: argparse.Namespace, ssl_context: ssl.SSLContext | None) -> int:
    """The same, with a process of its own for each state of the application. The listener is the same for all."""
    with _told(options):
        listener = _listener(options) or (
            listen_unix(options.unix) if options.unix is not None else listen_tcp(*_place(options))
        )
    file = None if options.unix is None else SocketFile(options.unix)

    def serve() -> int:
        application = load_application(options.application)
        server = _server(application, options, ssl_context, listener=listener, shutdown_timeout=SHUTDOWN_TIMEOUT)
        return _run(server, lambda: None)

    try:
        _announce(as_address(listener.getsockname()), options)
        return serve_reloading(serve)
    finally:
        listener.close()
        if file is not None:
            file.remove()


def _run(server: Server, announce: Callable[[], None]) -> int:
    # serve_forever closes every connection on SIGTERM and SIGINT. A signal that comes before it runs, or a second one
    # while it waits for its clients, is a KeyboardInterrupt.
    previous = signal.signal(signal.SIGTERM, signal.default_int_handler)
    try:
        announce()
        server.serve_forever()
    except KeyboardInterrupt:
        server.shutdown(timeout=0)
    finally:
        signal.signal(signal.SIGTERM, previous)
    return 0


def _check_place(options: argparse.Namespace) -> None:
    """Raise CommandError for two places to listen."""
    places = {
        "--unix": options.unix is not None,
        "--systemd": options.systemd,
        "--fd": options.fd is not None,
    }
    given = [name for name, is_given in places.items() if is_given]
    if given and (options.host is not None or options.port is not None):
        raise CommandError(f"{given[0]} excludes --host and --port")
    if len(given) > 1:
        raise CommandError(f"{given[0]} excludes {given[1]}")


def _announce(address: Address, options: argparse.Namespace) -> None:
    """What a newcomer needs to know: where it is, and how it ends."""
    how = f" with {options.workers} workers" if options.workers > 1 else ""
    stop = "press Ctrl-C to stop" + ("; a change of its files begins anew" if options.reload else "")
    with contextlib.suppress(CommandError):  # it serves also where nobody reads that
        show(f"Serving {options.application} on {_say_address(address, options)}{how} ({stop})")


def _configure_logging(options: argparse.Namespace) -> None:
    """The log goes to stderr. Frames and heads, which hold what people write, only for who asks for them."""
    level = options.log_level or ("debug" if options.verbose else "info")
    logging.basicConfig(level=level.upper(), format="%(levelname)s %(name)s: %(message)s")
    logging.getLogger("syncws.wire").setLevel(logging.DEBUG if options.verbose > 1 else logging.INFO)
    if not options.access_log:
        logging.getLogger("syncws.access").setLevel(logging.WARNING)


# The application


def load_application(spec: str) -> Any:
    """The WSGI application that "module:app" or "module:factory()" names. Raises CommandError.

    The module is looked for in the current directory first, which stays on sys.path.
    """
    parts = _SPEC.fullmatch(spec)
    if parts is None or parts["module"].endswith(".py"):
        raise CommandError(f"{spec!r} does not name an application: {_how_to_name(spec)}")
    if os.getcwd() not in sys.path:
        sys.path.insert(0, os.getcwd())
    found = _find(_import(parts["module"]), parts["path"])
    if parts["call"]:
        found = _call(found, spec)
    _check_application(found, spec)
    return found


def _how_to_name(spec: str) -> str:
    """Advice for a name that is not module:app: what to write instead."""
    module, _, attribute = spec.partition(":")
    if module.endswith(".py") or "/" in module:
        path = os.path.normpath(module.removesuffix(".py"))
        if not path.startswith(("/", "..")):
            return f"write {path.replace('/', '.')}:{attribute or 'app'}, a module as import has it"
    if "(" in attribute:
        return f"a factory is called without arguments, as in '{module}:create_app()'"
    return "write module:app, or 'module:factory()'"


def _import(name: str) -> ModuleType:
    try:
        return importlib.import_module(name)
    except ModuleNotFoundError as exc:
        if exc.name is not None and f"{name}.".startswith(f"{exc.name}."):
            raise CommandError(f"there is no module {exc.name!r}, neither in {os.getcwd()} nor installed") from None
        raise _show_traceback(exc, f"importing {name} failed") from None
    except Exception as exc:
        raise _show_traceback(exc, f"importing {name} failed") from None


def _find(module: ModuleType, path: str) -> Any:
    found: Any = module
    for name in path.split("."):
        try:
            found = getattr(found, name)
        except AttributeError:
            where = module.__name__ if found is module else f"{module.__name__}:{path}"
            similar = difflib.get_close_matches(name, dir(found), n=1)
            hint = f"; did you mean {similar[0]!r}?" if similar else ""
            raise CommandError(f"{where} has no attribute {name!r}{hint}") from None
    return found


def _call(factory: Any, spec: str) -> Any:
    if not callable(factory):
        raise CommandError(f"{spec} is no factory but {_say_kind(factory)}: leave out the ()")
    try:
        return factory()
    except Exception as exc:
        raise _show_traceback(exc, f"{spec} failed") from None


def _check_application(found: Any, spec: str) -> None:
    """Raise CommandError unless it looks like a WSGI application."""
    if not callable(found):
        raise CommandError(f"{spec} is no WSGI application but {_say_kind(found)}")
    if is_async(found):
        raise CommandError(f"{spec} is an ASGI application, and syncws hosts WSGI ones")
    try:
        inspect.signature(found).bind("environ", "start_response")
    except TypeError:
        factory = "" if spec.endswith(")") else f"; if it makes one, write '{spec}()'"
        raise CommandError(
            f"{spec} is no WSGI application: it does not take (environ, start_response){factory}"
        ) from None
    except ValueError:  # it has no signature, as some built-in callables
        pass
    if isinstance(found, type) and not hasattr(found, "__iter__"):
        raise CommandError(f"{spec} is no WSGI application but a class: name an object of it")


def _say_kind(found: Any) -> str:
    """What an object is, for an error: "a str", "None"."""
    return "None" if found is None else f"{'an' if type(found).__name__[0] in 'aeiou' else 'a'} {type(found).__name__}"


def _show_traceback(exc: Exception, what: str) -> CommandError:
    """Print the traceback of an exception of the application's own code; returns the error to raise for it."""
    frames = exc.__traceback__
    while frames is not None and _is_before_application(frames.tb_frame.f_code.co_filename):
        frames = frames.tb_next
    traceback.print_exception(exc.with_traceback(frames))
    return CommandError(f"{what}: {type(exc).__name__}: {exc}")


def _is_before_application(filename: str) -> bool:
    """Whether a frame of a traceback is this file's or importlib's; the application's own come after them."""
    return filename == __file__ or "importlib" in filename


# Where it is served


def _ssl_context(certfile: str | None, keyfile: str | None) -> ssl.SSLContext | None:
    if certfile is None:
        if keyfile is not None:
            raise CommandError("--keyfile needs --certfile")
        return None
    context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
    load_certificate(context, certfile, keyfile)
    return context


def _place(options: argparse.Namespace) -> tuple[str | None, int]:
    """Host and port, as `Server` takes them."""
    host = {None: "127.0.0.1", "*": None}.get(options.host, options.host)
    return host, 8080 if options.port is None else options.port


def _server(
    application: Any,
    options: argparse.Namespace,
    ssl_context: ssl.SSLContext | None,
    listener: socket.socket | None = None,
    shutdown_timeout: float = 10.0,
) -> Server:
    """The server, which listens, or takes a listener that does. Raises OSError and ValueError."""
    return Server(
        None,
        *_place(options),
        unix_path=options.unix if listener is None else None,
        ssl_context=ssl_context,
        listener=listener,
        max_connections=options.max_connections,
        allowed_hosts=options.allowed_host,
        shutdown_timeout=shutdown_timeout,
        drain_seconds=options.drain,
        health_path=options.health_path,
        ready_path=options.ready_path,
        workers=options.workers,
        pin=options.pin,
        wsgi_app=application,
    )


@contextlib.contextmanager
def _told(options: argparse.Namespace, listener: socket.socket | None = None) -> Iterator[None]:
    """While it begins to listen: what goes wrong is a CommandError that names the place; a listener is closed then."""
    try:
        yield
    except (OSError, ValueError) as exc:
        host, port = _place(options)
        where = f"host {host!r} port {port}" if options.unix is None else f"the Unix socket {options.unix}"
        if listener is not None:
            listener.close()
            where = "the socket that was passed" if options.fd is None else f"descriptor {options.fd}"
        raise CommandError(f"cannot listen on {where}: {_say_error(exc)}") from None


def _listener(options: argparse.Namespace) -> socket.socket | None:
    """The socket that was passed, if it is to be one."""
    if options.fd is not None:
        try:
            return socket.socket(fileno=options.fd)
        except OSError as exc:
            raise CommandError(f"cannot listen on descriptor {options.fd}: {_say_error(exc)}") from None
    if not options.systemd:
        return None
    try:
        listener = inherited_listener()
    except ValueError as exc:
        raise CommandError(f"cannot listen on the socket of systemd: {exc}") from None
    if listener is None:
        raise CommandError("systemd has passed no socket: --systemd is for a service that a .socket unit activates")
    return listener


def _say_error(exc: Exception) -> str:
    """The reason in an error of `Server`, without the address, which the line names by itself."""
    if isinstance(exc, OSError) and exc.errno and not isinstance(exc, socket.gaierror):
        return os.strerror(exc.errno)
    return (exc.strerror or str(exc)) if isinstance(exc, OSError) else str(exc)


def _say_address(address: Address, options: argparse.Namespace) -> str:
    """The address that a browser on this machine can open, or the Unix socket."""
    if isinstance(address, str):
        return f"the Unix socket {address}"
    if options.systemd or options.fd is not None:
        return f"the socket that was passed, {say_peer(address)}"
    scheme = "https" if options.certfile else "http"
    # "0.0.0.0" and "::" stand for every address of the machine, and a browser cannot open them.
    host = "localhost" if options.host in ("", "*", "0.0.0.0", "::") else options.host or "127.0.0.1"
    return f"{scheme}://{f'[{host}]' if ':' in host else host}:{address[1]}/"


def _port(text: str) -> int:
    return number(text, "a port is a number from 0 to 65535", 0, 0xFFFF)


def _descriptor(text: str) -> int:
    return number(text, "a descriptor is a number, 0 or more", 0, 0x7FFFFFFF)


def _seconds(text: str) -> float:
    try:
        seconds = float(text)
        check_wait("seconds", seconds)
    except ValueError:
        raise argparse.ArgumentTypeError("seconds are a number, 0 or more") from None
    return seconds


def _allowed_host(text: str) -> str:
    try:
        AllowedHosts([text])
    except ValueError as exc:
        raise argparse.ArgumentTypeError(str(exc).removeprefix("allowed_hosts: ")) from None
    return text


def _count(text: str) -> int:
    return number(text, "the number of connections is 1 or more", 1, sys.maxsize)


def _pin(text: str) -> Pin:
    words: dict[str, Pin] = {"auto": "auto", "connections": "connections", "workers": "workers", "no": False}
    if text in words:
        return words[text]
    return number(text, "auto, connections, workers, no, or the number of a core", 0, 1 << 16)


def _workers(text: str) -> int:
    return cores() if text == "auto" else number(text, "auto, or a number of 1 or more", 1, sys.maxsize)
