"""Packages that only a part of syncws needs: who imports that part without them is told what to install."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from contextlib import contextmanager


@contextmanager
def needs(package: str, extra: str) -> Iterator[None]:
    """While this package is imported: if it is not installed, the error says which extra of syncws brings it.

    Raises ModuleNotFoundError, as without it; the lack of any other package, and of a part of it, is left as it is.
    """
    try:
        yield
    except ImportError as error:
        if (error.name or package).partition(".")[0] != package or sys.modules.get(package) is not None:
            raise
        told = f'this part of syncws needs {package}, which is not installed: pip install "syncws[{extra}]"'
        raise ModuleNotFoundError(told, name=package) from None
