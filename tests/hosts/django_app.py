"""The application of `app` as views of Django: settings, views and the command line in one file.

python -m tests.hosts.django_app runserver --noreload 127.0.0.1:PORT
"""

from __future__ import annotations

import sys
from typing import Any

from django.conf import settings
from django.core.management import execute_from_command_line
from django.http import HttpRequest, HttpResponse
from django.urls import path

from syncws.django import websocket_view

from . import app as plain

settings.configure(
    ALLOWED_HOSTS=["*"],
    DEBUG=True,
    ROOT_URLCONF=__name__,
    SECRET_KEY="for tests",
    MIDDLEWARE=["django.middleware.common.CommonMiddleware"],
)


def talk(request: HttpRequest, conn: Any) -> None:
    plain.HANDLERS[request.path](conn, request.GET.dict())


#: A view for each value of the option.
VIEWS = {value: websocket_view(talk, upgrader=plain.upgrader, detach=option) for value, option in plain.DETACH.items()}


def serve(request: HttpRequest) -> HttpResponse:
    return VIEWS[request.GET.get("detach")](request)


def page(request: HttpRequest) -> HttpResponse:
    status, body = plain.PAGES[request.path]()
    return HttpResponse(body, status=int(status[:3]), content_type="text/plain", headers={"X-Token": plain.TOKEN})


urlpatterns = [
    *(path(each.removeprefix("/"), serve) for each in plain.HANDLERS),
    *(path(each.removeprefix("/"), page) for each in plain.PAGES),
]

if __name__ == "__main__":
    execute_from_command_line(sys.argv)
