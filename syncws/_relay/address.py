"""Where a bus is, as one text: for a Publisher, a setting, a command line."""

from __future__ import annotations

from .._base.printable import printable_repr
from .._bus.backplane import Backplane
from .._bus.local import LocalBackplane
from .._bus.redis import RedisBackplane

_LOCAL = "local:"

_FORMS = (
    "redis://host:6379/0 (or another URL of RedisBackplane: rediss://, valkey://, unix://, redis+sentinel://), "
    "or local:/run/app/bus, the directory of a LocalBackplane"
)


def backplane_at(address: str, prefix: str | None = None) -> Backplane:
    """A backplane for an address: what begins with ``local:`` is the directory of a LocalBackplane, what has ``://`` is
    a URL of RedisBackplane.

    Raises:
        ValueError: it is neither; the text lists the forms. Or prefix is given, and it is not that of a RedisBackplane.
        TypeError, ModuleNotFoundError, PermissionError, RuntimeError: as the backplanes raise them.
    """
    if address.startswith(_LOCAL):
        if prefix is not None:
            raise ValueError("prefix is for a URL of Redis: on one host, what is not to mix has another directory")
        return LocalBackplane(address.removeprefix(_LOCAL))
    if "://" not in address:
        # Without what could be a password.
        raise ValueError(f"{printable_repr(address.rpartition('@')[2], 80)} is no address of a bus: give {_FORMS}")
    return RedisBackplane(address) if prefix is None else RedisBackplane(address, prefix=prefix)
