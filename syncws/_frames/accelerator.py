"""Which of two twins is used: the accelerator, in C (`fast.c`), or what it stands for in Python.

The functions here are those to call; each is bound once, so that choosing costs a message nothing. The accelerator is
there where syncws was built by a C compiler, as the wheels are. ``SYNCWS_ACCELERATED=0`` in the environment turns it
off. Where one of its functions is missing (those of sockets, on Windows), its twin is used: for `decode`, `only`,
`receive` and `send`, which are None then, the twin is what their callers do without them.
"""

from __future__ import annotations

import importlib
import os
from collections.abc import Callable
from typing import Any

from ..errors import MessageType
from .frame import encode
from .masking import mask, mask_into, unmask

__all__ = ["accelerated", "decode", "encode", "mask", "mask_into", "only", "receive", "send", "unmask"]

_Event = tuple[MessageType, Any]


def _load() -> Any:
    """The module that `fast.c` makes, or None."""
    if os.environ.get("SYNCWS_ACCELERATED") == "0":
        return None
    try:
        # Not an import statement: the library must type-check where nothing was built.
        return importlib.import_module(f"{__package__}._fast")
    except (ImportError, SystemError):
        return None  # it was not built; or, a SystemError, for a Python of another kind: with or without a GIL


_fast = _load()

#: Whether the accelerator is used.
accelerated: bool = _fast is not None

encode = getattr(_fast, "encode", encode)
mask = getattr(_fast, "mask", mask)
mask_into = getattr(_fast, "mask_into", mask_into)
unmask = getattr(_fast, "unmask", unmask)

#: (buffer, start, mask bit, read limit, raw): (event, where the next frame begins) of a message in one frame that
#: begins at start and is all there; None for everything else.
decode: Callable[[bytes, int, int, int | None, bool], tuple[_Event, int] | None] | None
decode = getattr(_fast, "decode", None)

#: (data, mask bit, read limit): as `Protocol.only`.
only: Callable[[bytes, int, int | None], _Event | None] | None
only = getattr(_fast, "only", None)

#: (fd, size, mask bit, read limit): receive once; the message, if that is one frame of it, whole and nothing else, or
#: the bytes; None where nothing came in time. A read that brings all of size gives its bytes. Raises OSError, and
#: what a signal's handler raises: marked, as by `spare`, as nothing was received then.
receive: Callable[[int, int, int, int | None], _Event | bytes | None] | None
receive = getattr(_fast, "receive", None)

#: (fd, flags, first, payload, client): encode a frame and send it once: its size, if the kernel took all of it; else
#: (bytes taken, head, body), as `encode` makes them. Raises OSError, but not for a socket that has no room.
send: Callable[[int, int, int, bytes, bool], int | tuple[int, bytes, bytes]] | None
send = getattr(_fast, "send", None)
