"""An echo server, the gorilla way: a handler upgrades its request, then reads and writes until the peer is gone.

    python examples/echo_server.py
    python examples/echo_server.py --host 0.0.0.0 --port 8443 --certfile cert.pem --keyfile key.pem
    python examples/echo_server.py --workers 4      # processes, one for each core

Open the address it prints: `/` is a page that talks to it. Everything else is a WebSocket endpoint, on any path.
"""

from __future__ import annotations

import argparse
import logging
import os
import signal
import socket
import ssl
import sys
from collections.abc import Callable
from pathlib import Path

import syncws

PAGE = Path(__file__).with_name("echo.html").read_bytes()

#: The names of this machine. Against DNS rebinding, no other is answered to while only this machine can connect. Behind
#: a proxy, which passes the public name on, list that one.
LOOPBACK = ["localhost", "127.0.0.1", "::1"]


def make_handler(upgrader: syncws.Upgrader) -> Callable[[syncws.Request], syncws.Response | None]:
    def handler(request: syncws.Request) -> syncws.Response | None:
        """Called for each request, in a thread of the connection's own."""
        if request.path == "/" and not syncws.is_websocket_upgrade(request):
            return syncws.Response(PAGE, content_type="text/html; charset=utf-8")
        with upgrader.upgrade(request) as conn:
            while True:  # until the peer closes: read_message raises a CloseError, which the server expects
                message_type, data = conn.read_message()
                conn.write_message(message_type, data)

    return handler


def main() -> int:
    parser = argparse.ArgumentParser(description="A WebSocket echo server, with a page to try it.")
    parser.add_argument("--host", default="127.0.0.1", help="address to listen on (default: %(default)s)")
    parser.add_argument("--port", type=port, default=8080, help="0 takes a free one (default: %(default)s)")
    parser.add_argument("--compression", action="store_true", help="compress messages for clients that offer it")
    parser.add_argument(
        "--read-limit",
        type=size,
        default=1 << 20,
        metavar="BYTES",
        help="largest message accepted, 0 for no limit (default: %(default)s)",
    )
    parser.add_argument("--workers", type=workers, default=1, help="processes that serve (default: %(default)s)")
    parser.add_argument("--certfile", help="serve TLS with this certificate (PEM)")
    parser.add_argument("--keyfile", help="its private key, if it is not in the same file")
    options = parser.parse_args()
    if options.keyfile and not options.certfile:
        parser.error("--keyfile needs --certfile")
    try:
        ssl_context = load_certificate(options.certfile, options.keyfile) if options.certfile else None
    except OSError as exc:
        key = options.keyfile or options.certfile
        reason = "not PEM, or not of one another" if isinstance(exc, ssl.SSLError) else exc.strerror
        parser.error(f"cannot load the certificate {options.certfile} with the key {key}: {reason}")

    logging.basicConfig(level=logging.INFO, format="%(levelname)s %(message)s")
    upgrader = syncws.Upgrader(enable_compression=options.compression, read_limit=options.read_limit)
    try:
        server = syncws.Server(
            make_handler(upgrader),
            options.host,
            options.port,
            ssl_context=ssl_context,
            allowed_hosts=LOOPBACK if options.host in LOOPBACK else None,
            workers=options.workers,
        )
    except OSError as exc:
        reason = exc.strerror if isinstance(exc, socket.gaierror) else os.strerror(exc.errno or 0)
        print(f"Cannot listen on {options.host} port {options.port}: {reason}", file=sys.stderr)
        return 1

    # serve_forever closes every connection on SIGTERM and SIGINT. A signal before it runs, or a second one while
    # it waits for its clients, is a KeyboardInterrupt.
    signal.signal(signal.SIGTERM, signal.default_int_handler)
    try:
        print(f"Echo server on {url(server, options)} (press Ctrl-C to stop)", flush=True)
        server.serve_forever()
    except KeyboardInterrupt:
        server.shutdown(timeout=0)
    return 0


def load_certificate(certfile: str, keyfile: str | None) -> ssl.SSLContext:
    context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
    context.load_cert_chain(certfile, keyfile)
    return context


def url(server: syncws.Server, options: argparse.Namespace) -> str:
    """The address to open in a browser on this machine."""
    scheme = "https" if options.certfile else "http"
    # "0.0.0.0" and "::" stand for every address of the machine, and a browser cannot open them.
    host = "localhost" if options.host in ("", "0.0.0.0", "::") else options.host
    return f"{scheme}://{f'[{host}]' if ':' in host else host}:{server.port}/"


def port(text: str) -> int:
    return number(text, "a port is a number from 0 to 65535", 0, 0xFFFF)


def size(text: str) -> int:
    return number(text, "a size is a number of bytes, 0 or more", 0, sys.maxsize)


def workers(text: str) -> int:
    return number(text, "the number of workers is 1 or more", 1, sys.maxsize)


def number(text: str, rule: str, least: int, most: int) -> int:
    try:
        value = int(text)
    except ValueError:
        value = least - 1
    if not least <= value <= most:
        raise argparse.ArgumentTypeError(f"{rule}, not {text!r}")
    return value


if __name__ == "__main__":
    sys.exit(main())
