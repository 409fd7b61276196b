"""Buses for the code of pages: it runs as it is written, on a directory and a Redis of the test's own."""

from __future__ import annotations

import tempfile
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Any
from unittest import mock

import syncws

from .buses import RedisServer

#: What stands on pages, and is not there.
REDIS = "redis://cache:6379/0"


@contextmanager
def own_buses(text: str) -> Iterator[None]:
    """Inside, the backplanes of a page are on buses of this test's own, and its Managers are ended after it.

    Skips the test if the page uses Redis and there is none.
    """
    managers: list[syncws.Manager] = []
    manage, on_local, on_redis = (
        kind.__init__ for kind in (syncws.Manager, syncws.LocalBackplane, syncws.RedisBackplane)
    )
    with ExitStack() as stack:
        folder = stack.enter_context(tempfile.TemporaryDirectory(prefix="bus"))
        server = stack.enter_context(RedisServer()) if REDIS in text else None

        def note(manager: syncws.Manager, *args: Any, **options: Any) -> None:
            manage(manager, *args, **options)
            managers.append(manager)

        def own_directory(backplane: syncws.LocalBackplane, path: str, **options: Any) -> None:
            on_local(backplane, str(Path(folder, Path(path).name)), **options)

        def own_redis(backplane: syncws.RedisBackplane, source: str, **options: Any) -> None:
            on_redis(backplane, source if server is None else source.replace(REDIS, server.url), **options)

        @stack.callback
        def end() -> None:
            for manager in managers:
                manager.end()

        for kind, init in (
            (syncws.Manager, note),
            (syncws.LocalBackplane, own_directory),
            (syncws.RedisBackplane, own_redis),
        ):
            stack.enter_context(mock.patch.object(kind, "__init__", init))
        yield
