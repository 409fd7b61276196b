"""Four threads broadcast to all members at the same time: each message reaches each of them once, in order."""

from __future__ import annotations

from contextlib import ExitStack
from functools import partial

from syncws import Conn, Manager, PreparedMessage
from syncws._rooms import manager as rooms
from syncws.testing import Peer

from .breaks import Break, replaced
from .messages import Assembler, Orders, message
from .peers import peer
from .trial import Trial

_MEMBERS = 16
_SENDERS = 4
_MESSAGES = 40


def run(trial: Trial) -> None:
    for _ in trial.rounds():
        manager = Manager(send_queue=1 << 16, send_queue_bytes=1 << 30)
        with ExitStack() as stack:
            both = [stack.enter_context(peer(client=who % 5 == 4, compression=who % 5 == 3)) for who in range(_MEMBERS)]
            for who, (conn, raw) in enumerate(both):
                raw.socket.settimeout(trial.patience)
                conn.enable_write_compression(False)
                manager.register(conn, who, ["lobby"])
            sizes = [trial.random.choice((0, 200, 5_000)) for _ in range(_SENDERS)]
            taken = trial.together(
                *(partial(_broadcast, manager, who, size) for who, size in enumerate(sizes)),
                *(partial(_take, raw) for _, raw in both),
            )
            deliveries = _MEMBERS * _SENDERS * _MESSAGES
            counted = manager.stats()
            trial.same("taken", sum(taken[:_SENDERS]), deliveries)
            trial.same("sent", (counted.sent, counted.dropped), (deliveries, 0))
            trial.same("broadcasts", counted.broadcasts, _SENDERS * _MESSAGES)
            for who in range(_MEMBERS):
                manager.unregister(who)
        trial.counts["deliveries"] += deliveries


def _broadcast(manager: Manager, who: int, size: int) -> int:
    return sum(manager.broadcast(message(who, number, size), room="lobby") for number in range(_MESSAGES))


def _take(raw: Peer) -> None:
    orders = Orders()
    for each in Assembler(raw).messages(_SENDERS * _MESSAGES):
        orders.take(each)


_post_to_all = rooms.post_to_all


def _pass_over(conns: list[Conn], prepared: PreparedMessage) -> list[Conn]:
    """Who cannot be sent to at once is passed over."""
    _post_to_all(conns, prepared)
    return []


BREAKS: dict[str, Break] = {"a busy member is passed over": replaced(rooms, "post_to_all", _pass_over)}
