"""Whether gevent or eventlet has patched this process, so that its threads are greenlets."""

from __future__ import annotations

import sys


def is_green() -> bool:
    """Whether gevent or eventlet has patched this process: then a wait in the kernel would hold up every greenlet.

    Asked for each connection, since gunicorn's workers patch after they were forked. For any thread. Neither package
    is imported: a process that is patched has imported it.
    """
    gevent, eventlet = sys.modules.get("gevent.monkey"), sys.modules.get("eventlet.patcher")
    if gevent is not None and gevent.is_module_patched("socket"):
        return True
    return eventlet is not None and bool(eventlet.is_monkey_patched("socket"))
