"""WebSocket in a Django project, in one file: a page, an echo, and notes of those who have logged in.

    python examples/django_app.py
    gunicorn --chdir examples --worker-class gthread --threads 4 django_app:app

Open the address it prints. `/` is a page that talks to the two WebSockets: `/echo` answers everybody; `/notes` keeps
what it is sent in a database, for those who have told their name, and refuses others before the 101.
"""

# ruff: noqa: E402 - models can be imported, and made, only where Django is set up

from __future__ import annotations

import argparse
import atexit
import logging
import os
import secrets
import shutil
import signal
import sys
import tempfile

import django
from django.conf import settings

# Each process makes a database and a secret. Several workers need the same ones: name them in the environment.
FOLDER = tempfile.mkdtemp(prefix="syncws-django-")
OWNER = os.getpid()

#: The names of this machine. Against DNS rebinding, no other is answered to while only this machine can connect. Behind
#: a proxy, which passes the public name on, list that one.
LOOPBACK = ["localhost", "127.0.0.1", "::1"]


@atexit.register
def remove_folder() -> None:
    if os.getpid() == OWNER:  # a forked worker leaves the file to its parent
        shutil.rmtree(FOLDER, ignore_errors=True)


settings.configure(
    ALLOWED_HOSTS=["*"],  # a project of yours names its hosts
    DATABASES={
        "default": {
            "ENGINE": "django.db.backends.sqlite3",
            "NAME": os.environ.get("DATABASE") or os.path.join(FOLDER, "db.sqlite3"),
            "ATOMIC_REQUESTS": True,  # websocket_view turns it off for its own views
        }
    },
    INSTALLED_APPS=["django.contrib.sessions"],
    MIDDLEWARE=[
        "django.contrib.sessions.middleware.SessionMiddleware",
        "django.middleware.common.CommonMiddleware",
        "django.middleware.csrf.CsrfViewMiddleware",
    ],
    ROOT_URLCONF=__name__,
    SECRET_KEY=os.environ.get("SECRET_KEY") or secrets.token_hex(),
    USE_TZ=True,
)
django.setup()

from django.core.management import call_command
from django.core.wsgi import get_wsgi_application
from django.db import connection, models
from django.http import HttpRequest, HttpResponse
from django.middleware.csrf import get_token
from django.shortcuts import redirect
from django.urls import path
from django.utils.html import format_html
from django.views.decorators.http import require_POST

import syncws
from syncws.django import websocket_view

PAGE = """<!doctype html>
<title>WebSocket in Django</title>
<p>{greeting} {count} notes have been kept.</p>
<form method="post" action="/login">
  <input type="hidden" name="csrfmiddlewaretoken" value="{token}">
  <input name="name" placeholder="your name" required> <button>Log in</button>
</form>
<p>
  <button onclick="talk('/echo')">Talk to /echo</button>
  <button onclick="talk('/notes')">Talk to /notes</button>
</p>
<pre id="log"></pre>
<script>
  function talk(path) {{
    const log = (text) => document.getElementById("log").append(`${{path}}: ${{text}}\\n`);
    const socket = new WebSocket(location.href.replace("http", "ws").replace(/\\/$/, path));
    socket.onopen = () => socket.send("hello");
    socket.onmessage = (event) => log(event.data);
    socket.onclose = (event) => log(`closed, ${{event.code}}`);  // 1006: refused, as by a login that is missing
  }}
</script>
"""


class Note(models.Model):
    author = models.CharField(max_length=100)
    text = models.TextField()

    class Meta:
        app_label = "django_app"


def page(request: HttpRequest) -> HttpResponse:
    name = request.session.get("name")
    greeting = f"You are {name}." if name else "Nobody knows you."
    return HttpResponse(format_html(PAGE, greeting=greeting, count=Note.objects.count(), token=get_token(request)))


@require_POST
def login(request: HttpRequest) -> HttpResponse:
    name = request.POST.get("name", "").strip()[:100]
    if not name:
        return HttpResponse("What is your name?\n", status=400, content_type="text/plain")
    request.session.cycle_key()
    request.session["name"] = name
    return redirect("/")


@websocket_view
def echo(request: HttpRequest, conn: syncws.Conn) -> None:
    for message in conn:
        conn.send(message)


def logged_in(request: HttpRequest) -> HttpResponse | None:
    """Called before the 101: a response that it returns refuses the handshake."""
    if "name" in request.session:
        return None
    return HttpResponse("Log in first.\n", status=401, content_type="text/plain")


@websocket_view(before=logged_in)
def notes(request: HttpRequest, conn: syncws.Conn) -> None:
    """Keep each note. While `conn` waits for the next, this thread holds no connection to the database."""
    author = request.session["name"]
    for text in conn:
        if isinstance(text, bytes):
            conn.close(1003, "notes are text")
            return
        Note.objects.create(author=author, text=text)
        conn.send_json({"author": author, "kept": Note.objects.filter(author=author).count()})


urlpatterns = [path("", page), path("login", login), path("echo", echo), path("notes", notes)]

call_command("migrate", verbosity=0)  # the tables of the sessions
if Note._meta.db_table not in connection.introspection.table_names():
    with connection.schema_editor() as editor:
        editor.create_model(Note)
connection.close()

app = get_wsgi_application()


def main() -> int:
    parser = argparse.ArgumentParser(description="WebSocket in a Django project, on our own server.")
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
        print(f"Django example on http://{options.host}:{server.port}/ (press Ctrl-C to stop)", flush=True)
        server.serve_forever()
    except KeyboardInterrupt:
        server.shutdown(timeout=0)
    return 0


if __name__ == "__main__":
    sys.exit(main())
