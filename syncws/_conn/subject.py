"""What lines of the log say a connection is, in fields for programs."""

from __future__ import annotations

import os

from .._base.logs import Told
from .._base.printable import printable
from .._http.request import Request
from .._net.address import Address, say_peer


def new_id() -> str:
    """A random id: 32 hex digits."""
    return os.urandom(16).hex()


class Subject(Told):
    """The id of a connection, the path it was asked for at (None on a client's side), and its peer.

    Concurrency: it never changes.
    """

    __slots__ = ("_remote_address", "_request", "id")

    def __init__(self, request: Request | None, remote_address: Address, id: str | None = None) -> None:
        self.id = id or new_id()
        self._request = request
        self._remote_address = remote_address

    def log_fields(self) -> dict[str, object]:
        """Its fields: see `logs.FIELDS`."""
        path = None if self._request is None else printable(self._request.raw_path)
        return {"connection_id": self.id, "path": path, "remote_address": say_peer(self._remote_address)}
