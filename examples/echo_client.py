"""An echo client, the gorilla way: one thread reads, the main thread writes at every tick, and Ctrl-C closes politely.

    python examples/echo_client.py
    python examples/echo_client.py --url wss://127.0.0.1:8443/ws --cafile cert.pem --interval 0.5

It talks to `echo_server.py`, or to anything else that echoes.
"""

from __future__ import annotations

import argparse
import queue
import signal
import ssl
import sys
import threading
import time

import syncws


def main() -> int:
    parser = argparse.ArgumentParser(description="A WebSocket client that sends the time and prints what comes back.")
    parser.add_argument("--url", default="ws://127.0.0.1:8080/ws", help="where to connect (default: %(default)s)")
    parser.add_argument("--interval", type=seconds, default=1.0, help="seconds between messages (default: %(default)s)")
    parser.add_argument("--count", type=count, help="end after so many answers (default: at Ctrl-C)")
    parser.add_argument("--compression", action="store_true", help="permessage-deflate, if the server agrees")
    parser.add_argument("--cafile", help="trust the certificates of this authority (PEM), for wss")
    options = parser.parse_args()
    try:
        trusted = ssl.create_default_context(cafile=options.cafile) if options.cafile else None
    except OSError as exc:
        reason = "no certificate in PEM" if isinstance(exc, ssl.SSLError) else exc.strerror
        parser.error(f"cannot load the authority {options.cafile}: {reason}")

    try:
        conn = syncws.dial(options.url, enable_compression=options.compression, ssl_context=trusted)
    except (syncws.HandshakeError, OSError) as exc:  # first: a certificate that is not trusted is a ValueError as well
        print(f"Cannot connect: {exc}", file=sys.stderr)
        return 1
    except ValueError as exc:
        parser.error(str(exc))
    except KeyboardInterrupt:  # nothing is open yet
        return 1

    # A signal handler may run at any moment, so it only puts an event into the queue; SimpleQueue allows that.
    events: queue.SimpleQueue[str] = queue.SimpleQueue()

    def interrupt(*_: object) -> None:
        events.put("interrupted")

    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, interrupt)
    print(f"Connected to {options.url} (press Ctrl-C to stop)", flush=True)
    return talk(conn, events, options.interval, options.count)


def talk(conn: syncws.Conn, events: queue.SimpleQueue[str], interval: float, count: int | None) -> int:
    """Send the time at every tick, until something happens: an interrupt, the last answer, the end."""
    reader = threading.Thread(target=read, args=(conn, events, count))
    reader.start()
    try:
        while (event := wait(events, interval)) is None:
            conn.send(time.ctime())
    except syncws.ConnectionClosed:
        event = "ended"
    # The closing handshake: our close is sent, and the reader finds the server's answer. If the connection is over,
    # this only closes the socket.
    conn.close()
    reader.join()
    return 1 if event == "ended" else 0


def read(conn: syncws.Conn, events: queue.SimpleQueue[str], count: int | None) -> None:
    """Print what comes, in a thread of its own, until the connection is over."""
    received = 0
    try:
        while True:
            message = conn.receive()
            print("received:", message if isinstance(message, str) else f"{len(message)} bytes", flush=True)
            received += 1
            if received == count:
                events.put("done")
    except syncws.ConnectionClosed as end:
        print(f"closed: {end}", file=sys.stderr)
    finally:  # for whatever reason, nobody reads any more
        events.put("ended")


def wait(events: queue.SimpleQueue[str], seconds: float) -> str | None:
    """The next event, or None if none comes in time: then it is time for a tick."""
    try:
        return events.get(timeout=seconds)
    except queue.Empty:
        return None


def seconds(text: str) -> float:
    try:
        value = float(text)
    except ValueError:
        value = 0.0
    if not 0 < value <= 86400:
        raise argparse.ArgumentTypeError(f"an interval is a number of seconds over 0, up to a day, not {text!r}")
    return value


def count(text: str) -> int:
    try:
        value = int(text)
    except ValueError:
        value = 0
    if value < 1:
        raise argparse.ArgumentTypeError(f"a count is a number of at least 1, not {text!r}")
    return value


if __name__ == "__main__":
    sys.exit(main())
