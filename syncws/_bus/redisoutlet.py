"""A way out to Redis for programs that only publish: each send waits until the server has taken it."""

from __future__ import annotations

import time
from collections.abc import Sequence
from typing import Any, Literal

from .._base.forks import this_process
from ..errors import BackplaneError, BackplaneTimeout
from .backoff import Backoff
from .redisarchive import RedisArchive, pack
from .redisurl import RedisSettings
from .rediswire import NO_KEYS, WRONG_SERVER, RedisWire, Refusal, WireLost

#: What is wrong where a server refuses a user.
_RIGHTS = "see user and password of the URL, and what that user may do"

#: Seconds that connecting may take, in each of its steps; less where less is left.
_CONNECT = 5.0


def check_size(data: bytes, most: int) -> None:
    """Raise ValueError for a message of more bytes than that."""
    if len(data) > most:
        raise ValueError(f"a message between processes has at most {most:,} bytes (max_message), not {len(data):,}")


class RedisOutlet:
    """The `Outlet` of a backplane on Redis. For one thread at a time; the child of a fork connects for itself."""

    def __init__(self, settings: RedisSettings, prefix: str, max_message: int, archive: RedisArchive | None) -> None:
        self._settings = settings
        self._prefix = prefix
        self._max_message = max_message
        self._archive = archive
        self._wire: RedisWire | None = None
        self._process = 0  # that has connected

    def send(self, messages: Sequence[tuple[str, bytes]], timeout: float, *, keep: bool = False) -> None:
        """As `Outlet.send`. Tries to connect for as long as there is time, and sends twice at most.

        Raises ValueError over max_message bytes, before anything is sent.
        """
        for _, data in messages:
            check_size(data, self._max_message)
        until = time.monotonic() + timeout
        backoff = Backoff()
        times_sent = 0
        while True:
            try:
                wire = self._connected(until)
                times_sent += 1
                return self._send(wire, messages, keep, until)
            except WireLost as lost:
                self.close()
                pause = backoff.next()
                if lost.kind == "denied":
                    raise BackplaneError(f"{self._settings.where} refuses: {lost}; {_RIGHTS}") from None
                if times_sent == 2 or time.monotonic() + pause >= until:
                    raise self._failure(lost, timeout, is_sent=times_sent > 0) from None
                time.sleep(pause)

    def _failure(self, lost: WireLost, timeout: float, *, is_sent: bool) -> BackplaneError:
        where = self._settings.where
        if not is_sent and lost.kind == "refused":
            return BackplaneError(f"{where} is not there ({lost}); nothing was sent: see whether it runs, and where")
        perhaps = "it may have been delivered" if is_sent else "nothing was sent"
        return BackplaneTimeout(f"{where} has not taken it in {timeout:g} s ({lost}); {perhaps}")

    def close(self) -> None:
        """As `Outlet.close`."""
        wire, self._wire = self._wire, None
        if wire is not None:
            wire.close()

    def _connected(self, until: float) -> RedisWire:
        if self._wire is not None and self._process == this_process():
            return self._wire
        self.close()  # in the child of a fork: its copy of the parent's
        wire = RedisWire(self._settings, min(_CONNECT, max(0.001, until - time.monotonic())))
        wire.connect()
        self._wire, self._process = wire, this_process()
        return wire

    def _send(self, wire: RedisWire, messages: Sequence[tuple[str, bytes]], keep: bool, until: float) -> None:
        # The write finds out whether the server is a replica, where hardly anybody would hear what is published.
        check = ("SET", f"{self._prefix}publisher", 1, "PX", 15_000)
        wire.send([check, *self._commands(messages, keep)], max(0.001, until - time.monotonic()))
        try:
            self._answer(wire, until)
        except Refusal as refusal:
            if refusal.code not in NO_KEYS:
                kind: Literal["denied", "refused"] = "denied" if refusal.code == "NOAUTH" else "refused"
                raise WireLost(f"{refusal.code}: {refusal}", kind) from None
        refused = None
        for _ in messages:
            try:
                self._answer(wire, until)
            except Refusal as refusal:
                if refusal.code in WRONG_SERVER:
                    raise WireLost(f"{refusal.code}: {refusal}") from None
                refused = refusal
        if refused is not None:
            fix = f"; {_RIGHTS}: it needs +publish and &{self._prefix}*" if refused.code == "NOPERM" else ""
            raise BackplaneError(f"{self._settings.where} refuses: {refused}{fix}")

    def _commands(self, messages: Sequence[tuple[str, bytes]], keep: bool) -> list[tuple[Any, ...]]:
        if keep and self._archive is not None:
            archive = self._archive
            return [archive.command(channel, data, first=not i) for i, (channel, data) in enumerate(messages)]
        return [("PUBLISH", self._prefix + channel, pack(data)) for channel, data in messages]

    def _answer(self, wire: RedisWire, until: float) -> None:
        try:
            wire.read(max(0.001, until - time.monotonic()))
        except TimeoutError:
            raise WireLost("no answer", "timeout") from None
