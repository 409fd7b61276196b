"""The history of channels on Redis or Valkey: what one script keeps and publishes in one step, another reads.

A channel has two keys, with one hash tag, so that a cluster keeps them together; `<prefix>` is that of its backplane:

    <prefix>{<channel>}:head   hash: epoch, offset, tag, server, and of each sender the last number that was kept
    <prefix>{<channel>}:log    stream: the id is the offset; d is the message, t its tag

A position is ``<epoch>-<offset>-<tag>``. The offset counts messages; the tag is random for each. The epoch is new
whenever something may be missing, so that it is known whether a position is of this past of this channel:

* the hash is new: the old one has expired, or was evicted;
* the server is another one than the hash names. A server has a new replication ID whenever it has started, and when it
  has become the master: it may have come back from a snapshot, or have lacked the newest entries;
* messages of a sender are missing: its number is not the next one, or it says itself that they were not sent.
"""

from __future__ import annotations

import contextlib
import hashlib
import os
import re
import threading
import time
from collections.abc import Callable
from typing import Any, NamedTuple

from .._base.forks import begin_anew_in_child
from .._base.printable import printable
from ..errors import BackplaneError, BackplaneTimeout
from .history import Entry, History, Numbered, Past, tells_of_loss

#: Keeps a message and publishes it with its position, in one step; the position, or nil for one that was kept before.
#: What a lost connection may have swallowed is sent again: a number that is not above its sender's last is a copy; one
#: that is not the next, without the flag that says that there is none before it, comes after a loss. Of more than a
#: thousand senders, the half that was silent for longest is forgotten.
#:
#: KEYS: hash, stream. ARGV: channel, message, size, milliseconds, epoch and tag if they are needed, sender, number.
KEEP = """\
local id = string.match(redis.call('INFO', 'replication'), 'master_replid:(%x+)')
if not id then return redis.error_reply('ERR the server has no master_replid in INFO') end
local had = redis.call('HMGET', KEYS[1], 'epoch', 'server', ARGV[7])
local epoch, number, last = had[1], tonumber(ARGV[8]), had[3] and tonumber(string.match(had[3], '^%d+'))
if last and number <= last then return false end
local whole = not last or number == last + 1 or string.byte(ARGV[2], 3) % 8 > 3
if not (epoch and had[2] == id and whole) then
  epoch = ARGV[5]
  redis.call('HSET', KEYS[1], 'epoch', epoch, 'server', id)
  redis.call('DEL', KEYS[2])
end
local offset = string.format('%.0f', redis.call('HINCRBY', KEYS[1], 'offset', 1))
redis.call('HSET', KEYS[1], 'tag', ARGV[6])
if ARGV[7] ~= '' then
  redis.call('HSET', KEYS[1], ARGV[7], ARGV[8] .. ':' .. offset)
  if redis.call('HLEN', KEYS[1]) > 1004 then
    local all, senders = redis.call('HGETALL', KEYS[1]), {}
    for i = 1, #all, 2 do
      local at = string.match(all[i + 1], '^%d+:(%d+)$')
      if at then senders[#senders + 1] = {all[i], tonumber(at)} end
    end
    table.sort(senders, function(a, b) return a[2] < b[2] end)
    for i = 1, #senders / 2 do redis.call('HDEL', KEYS[1], senders[i][1]) end
  end
end
redis.call('XADD', KEYS[2], 'MAXLEN', '=', ARGV[3], offset, 'd', ARGV[2], 't', ARGV[6])
redis.call('PEXPIRE', KEYS[1], 2 * ARGV[4])
redis.call('PEXPIRE', KEYS[2], ARGV[4])
local position = epoch .. '-' .. offset .. '-' .. ARGV[6]
redis.call('PUBLISH', ARGV[1], string.char(0, #position) .. position .. ARGV[2])
return position
"""

#: Publishes that messages of a sender up to a number were not sent: what was kept is not whole without them. It works
#: on a server whose memory is full, too, and whatever becomes of what was kept, it is published.
#:
#: KEYS: hash, stream. ARGV: channel, message, sender, number.
LOSE = """\
local had = redis.call('HMGET', KEYS[1], 'epoch', ARGV[3], 'offset')
local last = had[2] and tonumber(string.match(had[2], '^%d+'))
if had[1] then
  redis.pcall('HDEL', KEYS[1], 'epoch')
  redis.pcall('DEL', KEYS[2])
  if not last or last < tonumber(ARGV[4]) then
    redis.pcall('HSET', KEYS[1], ARGV[3], ARGV[4] .. ':' .. (had[3] or '0'))
  end
end
return redis.call('PUBLISH', ARGV[1], ARGV[2])
"""

#: Where a channel stands, and what it has from an offset on, if the epoch is that one. A channel that has no past gets
#: an epoch: the position before its first message is one too. It always writes: so a replica refuses it, which may lack
#: what its master has.
#:
#: KEYS: hash, stream. ARGV: milliseconds, epoch if one is needed, epoch and offset that are asked for.
READ = """\
local id = string.match(redis.call('INFO', 'replication'), 'master_replid:(%x+)')
if not id then return redis.error_reply('ERR the server has no master_replid in INFO') end
local head = redis.call('HMGET', KEYS[1], 'epoch', 'offset', 'tag', 'server')
if not (head[1] and head[4] == id) then
  local offset = head[2] or '0'
  redis.call('HSET', KEYS[1], 'epoch', ARGV[2], 'offset', offset, 'tag', '00000000', 'server', id)
  redis.call('PEXPIRE', KEYS[1], 2 * ARGV[1])
  redis.call('DEL', KEYS[2])
  return {ARGV[2], offset, '00000000', {}}
end
redis.call('PEXPIRE', KEYS[1], 2 * ARGV[1])
local entries = {}
if head[1] == ARGV[3] then entries = redis.call('XRANGE', KEYS[2], ARGV[4], '+') end
return {head[1], head[2], head[3], entries}
"""

#: Seconds that each step of a connection has at least: one read makes it, with the time that it has left, for others.
_STEP = 0.5

#: What the tag is before the first message of an epoch.
_NO_TAG = "00000000"

_KEEP_SHA = hashlib.sha1(KEEP.encode(), usedforsecurity=False).hexdigest()

#: An offset has so few digits that Lua, whose numbers are floats, counts with it exactly.
_POSITION = re.compile(r"([0-9a-f]{16})-(0|[1-9][0-9]{0,14})-([0-9a-f]{8})")


class _Position(NamedTuple):
    epoch: str
    offset: int
    tag: str

    def __str__(self) -> str:
        return f"{self.epoch}-{self.offset}-{self.tag}"


def _parse(position: object) -> _Position | None:
    """The parts of a position; None for what is none."""
    match = _POSITION.fullmatch(position) if isinstance(position, str) else None
    return None if match is None else _Position(match[1], int(match[2]), match[3])


def pack(data: bytes) -> bytes:
    """A message that is not kept, as it is published: as it is, unless it begins as one that has a position."""
    return b"\0\0" + data if data[:1] == b"\0" else data


def unpack(data: bytes) -> tuple[str | None, bytes]:
    """(position, message) of what came on a channel; (None, message) for what was published without being kept.

    Raises ValueError for what is neither.
    """
    if data[:1] != b"\x00":
        return None, data
    begin = 2 + (data[1] if len(data) > 1 else 0)
    if len(data) < begin:
        raise ValueError("shorter than its position")
    return data[2:begin].decode("ascii") or None, data[begin:]


class RedisArchive:
    """The `Archive` of a backplane on Redis or Valkey.

    Any thread. Reads share one connection, which is made at the first and in the child of a fork: `_turn` is held by
    who uses it, also while the server answers. `_losses` is written by the one thread that calls `lose`, and read
    without a lock: a read that has begun by then may be answered by the old server.

    Args:
        history: what is kept.
        prefix: what the names of channels and keys begin with.
        connect: ``connect(timeout)``, returns a new connection of redis-py or valkey-py, of RESP2 and without retries,
            that has not connected yet, and each of whose steps takes timeout seconds at most.
    """

    def __init__(self, history: History, prefix: str, connect: Callable[[float], Any]) -> None:
        self._history = history
        self._prefix = prefix
        self._connect = connect
        self._ttl = max(1, round(history.ttl * 1000))
        self.begin_anew()
        begin_anew_in_child(self)

    def begin_anew(self) -> None:
        """There is no connection, as in the child of a fork, where it is the parent's."""
        self._turn = threading.Lock()
        self._connection: Any = None  # guarded by _turn
        self._losses = 0  # how often `lose` was called
        self._made_after = 0  # how often, when the connection was made; guarded by _turn

    @property
    def history(self) -> History:
        return self._history

    # What is kept

    def command(self, channel: str, data: bytes, *, first: bool) -> tuple[str | bytes | int, ...]:
        """The command that keeps a message and publishes it: its reply is the position, or nil for a copy.

        first: the first one that is sent since the connection was made, or since an error was answered; it brings the
        script, which the others only name.
        """
        sender, number, _ = Numbered.of(data)
        fresh = os.urandom(12).hex()
        return (
            *(("EVAL", KEEP) if first else ("EVALSHA", _KEEP_SHA)),
            2,
            *self._keys(channel),
            self._prefix + channel,
            data,
            self._history.size,
            self._ttl,
            fresh[:16],
            fresh[16:],
            sender,
            number,
        )

    def told_as(self, channel: str, data: bytes) -> tuple[str | bytes | int, ...] | None:
        """The command for what is published and not kept; None: it is published as any other.

        That messages to a room were not sent makes a hole in what is kept.
        """
        if not tells_of_loss(channel, data):
            return None
        sender, number, _ = Numbered.of(data)
        return ("EVAL", LOSE, 2, *self._keys(channel), self._prefix + channel, data, sender, number)

    def _keys(self, channel: str) -> tuple[str, str]:
        name = f"{self._prefix}{{{channel}}}"
        return name + ":head", name + ":log"

    # What was kept

    def read(self, channel: str, since: str | None, timeout: float) -> Past:
        """As `Archive.read`. recovered: the entry of the position is there, or nothing was kept since."""
        asked = _parse(since)
        epoch, offset = ("", 0) if asked is None else (asked.epoch, asked.offset)
        # From the entry of the position on; from the first one if it is the position before that.
        command = ("EVAL", READ, 2, *self._keys(channel), self._ttl, os.urandom(8).hex(), epoch, max(1, offset))
        try:
            head, rows = _answer(self._ask(command, time.monotonic() + timeout))
        except (TypeError, ValueError, IndexError, KeyError, AttributeError):
            raise BackplaneError("what is kept under the names of a channel's history is of another program") from None
        entries = tuple(Entry(str(place), data) for place, data in rows)
        if asked is None or asked.epoch != head.epoch:
            return Past(str(head), (), False)
        if asked == head:
            return Past(str(head), (), True)  # also when it was forgotten itself: nothing came after it
        first = None if not rows else rows[0][0]
        if first == asked:
            return Past(str(head), entries[1:], True)
        if asked.tag == _NO_TAG and first is not None and first.offset == asked.offset + 1:
            return Past(str(head), entries, True)
        return Past(str(head), (), False)

    def is_after(self, position: str, other: str) -> bool:
        """As `Archive.is_after`. What is of another epoch was published after the history had begun anew."""
        one, two = _parse(position), _parse(other)
        return one is None or two is None or one.epoch != two.epoch or one.offset > two.offset

    def lose(self) -> None:
        """The server may be another one by now: the next read makes a new connection. Never waits."""
        self._losses += 1

    def close(self) -> None:
        """Let go of the connection; the next read makes a new one."""
        with self._turn:
            self._drop()

    def _ask(self, command: tuple[str | int, ...], until: float) -> Any:
        """The reply to a command. Raises as `read`; the connection is whole afterwards, or is let go."""
        turn = self._turn
        if not turn.acquire(timeout=max(0.0, until - time.monotonic())):
            raise BackplaneTimeout("the history was not read in time: others are reading")
        try:
            was_idle = self._connection is not None
            try:
                return self._ask_once(command, until)
            except BackplaneTimeout:
                raise
            except BackplaneError:
                # The server may have let go of a connection that was idle, or be a replica; a new one tells what it is.
                if not was_idle:
                    raise
                return self._ask_once(command, until)
        finally:
            turn.release()

    def _ask_once(self, command: tuple[str | int, ...], until: float) -> Any:
        # A server that refuses may have become a replica: also after that a new connection is made.
        whole = False
        try:
            if self._made_after != self._losses:
                self._drop()
            if self._connection is None:
                self._made_after = self._losses  # first: one that is lost meanwhile is not kept
                self._connection = self._connect(max(_STEP, until - time.monotonic()))
                self._connection.connect()
            connection = self._connection
            connection.send_packed_command(connection.pack_command(*command), check_health=False)
            if not connection.can_read(timeout=max(0.0, until - time.monotonic())):
                raise BackplaneTimeout("the history was not read in time: the server does not answer")
            reply = connection.read_response(disable_decoding=True, disconnect_on_error=False)
            whole = True
            return reply
        except BackplaneError:
            raise
        except Exception as error:  # of redis-py or valkey-py, whose classes are not the same
            kind = BackplaneTimeout if not _is_reply(error) and time.monotonic() >= until else BackplaneError
            raise kind(f"the history was not read: {printable(str(error), 300)}") from None
        finally:
            if not whole:
                self._drop()

    def _drop(self) -> None:
        connection, self._connection = self._connection, None
        if connection is not None:
            with contextlib.suppress(Exception):
                connection.disconnect()


def _answer(reply: Any) -> tuple[_Position, list[tuple[_Position, bytes]]]:
    """Where the channel stands, and its entries with their positions."""
    epoch, offset, tag, rows = reply
    head = _parse(b"-".join((epoch, offset, tag)).decode())
    if head is None:
        raise ValueError("no position")
    entries = []
    for id, fields in rows:
        named = dict(zip(fields[::2], fields[1::2], strict=True))
        entries.append((_Position(head.epoch, int(id.partition(b"-")[0]), named[b"t"].decode()), named[b"d"]))
    return head, entries


def _is_reply(error: Exception) -> bool:
    """Whether an exception of redis-py or valkey-py is what the server answered."""
    return any(each.__name__ == "ResponseError" for each in type(error).__mro__)
