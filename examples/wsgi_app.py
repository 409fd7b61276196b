"""WebSocket in a plain WSGI application, without a framework: a page, an echo, and a login before the 101.

    python examples/wsgi_app.py
    gunicorn --chdir examples --worker-class gthread --threads 4 wsgi_app:app

Open the address it prints. `/` is a page that talks to the two WebSockets: `/echo` answers everybody, `/private` only
those who have told their name, and greets them by it.
"""

from __future__ import annotations

import argparse
import hashlib
import hmac
import logging
import os
import secrets
import signal
import sys
from collections.abc import Callable, Iterable
from http.cookies import CookieError, SimpleCookie
from typing import Any
from urllib.parse import parse_qs, quote, unquote

import syncws
import syncws.wsgi

Environ = dict[str, Any]
StartResponse = Callable[..., Any]

#: Signs the cookies. Several workers need the same one, and so do cookies that outlive a restart.
SECRET = os.environ.get("SECRET", "") or secrets.token_hex()

#: The names of this machine. Against DNS rebinding, no other is answered to while only this machine can connect. Behind
#: a proxy, which passes the public name on, list that one.
LOOPBACK = ["localhost", "127.0.0.1", "::1"]

PAGE = """<!doctype html>
<title>WebSocket in WSGI</title>
<form method="post" action="/login">
  <input name="name" placeholder="your name" required> <button>Log in</button>
</form>
<p>
  <button onclick="talk('/echo')">Talk to /echo</button>
  <button onclick="talk('/private')">Talk to /private</button>
</p>
<pre id="log"></pre>
<script>
  function talk(path) {
    const log = (text) => document.getElementById("log").append(`${path}: ${text}\\n`);
    const socket = new WebSocket(location.href.replace("http", "ws").replace(/\\/$/, path));
    socket.onopen = () => socket.send("hello");
    socket.onmessage = (event) => log(event.data);
    socket.onclose = (event) => log(`closed, ${event.code}`);  // 1006: refused, as by a login that is missing
  }
</script>
"""

upgrader = syncws.Upgrader()


@syncws.wsgi.websocket(upgrader=upgrader)
def echo(conn: syncws.Conn) -> None:
    """A WSGI application: `websocket` makes it of a function that takes the connection."""
    for message in conn:
        conn.send(message)


def private(environ: Environ, start_response: StartResponse) -> Iterable[bytes]:
    """The same by hand: first the login is checked, then comes the 101; `serve` returns the response, either way."""
    name = who(environ)
    if name is None:
        return respond(start_response, "401 Unauthorized", "Log in first.\n")
    return upgrader.serve(environ, greet, name)(environ, start_response)


def greet(conn: syncws.Conn, name: str) -> None:
    conn.send(f"hello {name}")
    for message in conn:
        conn.send(message)


def page(environ: Environ, start_response: StartResponse) -> Iterable[bytes]:
    return respond(start_response, "200 OK", PAGE, ("Content-Type", "text/html; charset=utf-8"))


def login(environ: Environ, start_response: StartResponse) -> Iterable[bytes]:
    """Take the name from the form, and remember it in a cookie that nobody else can write."""
    if environ["REQUEST_METHOD"] != "POST":
        return respond(start_response, "405 Method Not Allowed", "This is for POST.\n", ("Allow", "POST"))
    # A form of another site could log a browser in, under a name of its choice. Browsers tell the origin of each POST.
    origin = environ.get("HTTP_ORIGIN")
    if origin is not None and origin.partition("://")[2] != environ.get("HTTP_HOST"):
        return respond(start_response, "403 Forbidden", "This form is of another site.\n")
    size = min(int(environ.get("CONTENT_LENGTH") or 0), 1000)
    form = parse_qs(environ["wsgi.input"].read(size).decode("utf-8", "replace"))
    name = form.get("name", [""])[0].strip()
    if not name:
        return respond(start_response, "400 Bad Request", "What is your name?\n")
    cookie = f"name={signed(quote(name, safe=''))}; Path=/; HttpOnly; SameSite=Lax"
    return respond(start_response, "303 See Other", "", ("Location", "/"), ("Set-Cookie", cookie))


def who(environ: Environ) -> str | None:
    """The name in the request's cookie; None if it has none, or one that this server has not signed."""
    try:
        cookie = SimpleCookie(environ.get("HTTP_COOKIE", "")).get("name")
    except CookieError:
        return None
    value = "" if cookie is None else cookie.value
    name = value.rpartition(".")[0]
    return unquote(name) if hmac.compare_digest(value.encode(), signed(name).encode()) else None


def signed(text: str) -> str:
    return f"{text}.{hmac.new(SECRET.encode(), text.encode(), hashlib.sha256).hexdigest()}"


def respond(start_response: StartResponse, status: str, body: str, *headers: tuple[str, str]) -> Iterable[bytes]:
    data = body.encode()
    plain = () if any(name == "Content-Type" for name, _ in headers) else (("Content-Type", "text/plain"),)
    start_response(status, [*plain, ("Content-Length", str(len(data))), *headers])
    return [data]


ROUTES = {"/": page, "/echo": echo, "/private": private, "/login": login}


def app(environ: Environ, start_response: StartResponse) -> Iterable[bytes]:
    """What the server calls for each request."""
    route = ROUTES.get(environ.get("PATH_INFO") or "/")
    if route is None:
        return respond(start_response, "404 Not Found", "There is no such page.\n")
    return route(environ, start_response)


def main() -> int:
    parser = argparse.ArgumentParser(description="WebSocket in a plain WSGI application, on our own server.")
    parser.add_argument("--host", default="127.0.0.1", help="address to listen on (default: %(default)s)")
    parser.add_argument("--port", type=int, default=8080, help="0 takes a free one (default: %(default)s)")
    options = parser.parse_args()
    logging.basicConfig(level=logging.INFO, format="%(levelname)s %(message)s")
    try:
        hosts = LOOPBACK if options.host in LOOPBACK else None
        server = syncws.Server(wsgi_app=app, host=options.host, port=options.port, allowed_hosts=hosts)
    except (OSError, OverflowError) as exc:
        print(f"Cannot listen on {options.host} port {options.port}: {exc}", file=sys.stderr)
        return 1
    signal.signal(signal.SIGTERM, signal.default_int_handler)  # until serve_forever runs, which handles SIGTERM itself
    try:
        print(f"WSGI example on http://{options.host}:{server.port}/ (press Ctrl-C to stop)", flush=True)
        server.serve_forever()
    except KeyboardInterrupt:
        server.shutdown(timeout=0)
    return 0


if __name__ == "__main__":
    sys.exit(main())
