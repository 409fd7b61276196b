"""The machine of a Manager in three processes: members come and go, messages are sent, and the bus between them drops,
repeats, delays, dies and comes back. Whatever happens, no message comes twice or out of order, and what does not come
is in a gap that was told.

The processes are managers in this one, each with a backplane on one `MemoryBus`, which writes down what becomes of each
message: so it is known what each process was told. A message carries a number, its *token*.
"""

from __future__ import annotations

import contextlib
import logging
import re
import time
from collections import Counter
from dataclasses import dataclass, field
from typing import Any
from unittest import mock

from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, rule

from syncws import CloseError, Conn, Gap, Manager, Member, ReadTimeout
from syncws._base.options import ConnOptions
from syncws._net.transport import Transport
from syncws._rooms.everywhere import Everywhere
from syncws.testing import MemoryBackplane, MemoryBus, await_, socketpair
from tests.tasks import PATIENCE

NODES = st.sampled_from((0, 1, 2))
ROOMS = ("red", "blue")
PLACES = st.sampled_from((*ROOMS, None))
USERS = st.sampled_from(("ann", "bob", "cy"))

#: Seconds by which an instant in a gap may be wrong: one is measured by another clock.
_NEARLY = 0.001

_TOKEN = re.compile(rb"<(\d+)>")


class NotedBackplane(MemoryBackplane):
    """Writes down which messages its process was told, each copy."""

    def __init__(self, bus: MemoryBus) -> None:
        super().__init__(bus)
        self.told: Counter[int] = Counter()

    def heal(self) -> None:
        """Everything is well from now on."""
        with self.bus._changed:
            self._to_lose = self._to_drop = 0
        self.release()
        self.acknowledge()
        self.mend()

    def _arrive(self, message: Any, position: str | None) -> None:
        before = self._received
        super()._arrive(message, position)
        token = _TOKEN.search(message.data)
        if token is not None and self._received > before:
            self.told[int(token[1])] += 1


@dataclass(eq=False)
class Guest:
    """A member, and the other end of its connection."""

    node: Node
    user: str
    member: Member
    client: Conn
    rooms: set[str]
    got: list[int] = field(default_factory=list)
    closes: list[Any] = field(default_factory=list)  # what its on_close got
    is_here: bool = True

    def read(self) -> None:
        """All that has come."""
        ours = self.member.conn.stats()
        await_(lambda: self.client.stats().bytes_in in (None, ours.bytes_out), PATIENCE)
        while True:
            try:
                message = self.client.receive(timeout=0, text=False)
            except (ReadTimeout, CloseError):
                return
            token = _TOKEN.search(message)
            assert token is not None, message
            self.got.append(int(token[1]))


@dataclass(eq=False)
class Said:
    """A message, or a kick: who is to get it for sure, and who may."""

    token: int
    node: Node
    name: str  # of its process
    room: str | None
    user: str | None
    is_kick: bool
    began: float
    ended: float = 0.0
    certain: set[Guest] = field(default_factory=set)
    allowed: set[Guest] = field(default_factory=set)


class Node:
    """A process: a manager, and what its application was told."""

    def __init__(self, bus: MemoryBus) -> None:
        self.guests: dict[Member, Guest] = {}
        self.gaps: list[Gap] = []
        self.bus_told: list[bool] = []
        self.backplane = NotedBackplane(bus)
        self.manager = Manager(
            duplicate="many",
            backplane=self.backplane,
            on_close=self._on_close,
            on_gap=self.gaps.append,
            on_bus=lambda up, reason: self.bus_told.append(up),
            join_timeout=0.05,
        )
        self.missed_before = 0  # in gaps that were told under an earlier name

    def _on_close(self, member: Member, error: Any) -> None:
        self.guests[member].closes.append(error)

    @property
    def name(self) -> str:
        """On the bus."""
        relay = self.manager._relay
        assert relay is not None
        return relay.node

    @property
    def rests(self) -> bool:
        """Whether no callback is under way."""
        relay = self.manager._relay
        assert relay is not None
        return (
            not relay.gaps._errands._running
            and not relay.deeds._running
            and not self.manager._settler._errands._running
        )


class Cluster(RuleBasedStateMachine):
    """Three processes, and a bus."""

    #: Seconds that what has to come may take. Short where something is broken on purpose.
    patience = PATIENCE

    def __init__(self) -> None:
        super().__init__()
        self.stack = contextlib.ExitStack()
        self.nodes: list[Node] = []
        self.dead: list[Node] = []
        self.guests: list[Guest] = []  # all there ever were
        self.said: list[Said] = []  # since the last look
        self.everything: dict[int, Said] = {}
        self.token = 0
        self.is_fragile = False  # a message may be lost without a word: for that numbers must be known

    @initialize(addressed=st.booleans(), echoes=st.booleans())
    def begin(self, addressed: bool, echoes: bool) -> None:
        for name in ("syncws.relay", "syncws.manager"):
            logger = logging.getLogger(name)
            self.stack.callback(setattr, logger, "disabled", logger.disabled)
            logger.disabled = True
        # Nobody waits for beats by the clock here: `_converge` waits until all know each other.
        self.stack.enter_context(mock.patch("syncws._relay.questions.GREETING", 0.0))
        self.bus = MemoryBus(addressed=addressed, echoes=echoes, tells_ends=True)
        for which in range(3):
            self._start()
            self.come(which=which, user=f"{which}", rooms=ROOMS)
        self.look()

    def _start(self) -> Node:
        node = Node(self.bus)
        self.nodes.append(node)
        return node

    # Members

    @rule(which=NODES, user=USERS, rooms=st.sampled_from((("red",), ("blue",), ROOMS, ROOMS, ())))
    def come(self, which: int, user: str, rooms: tuple[str, ...]) -> None:
        node = self.nodes[which]
        if self.is_fragile or len(self._here()) >= 6 or any(each.is_kick and each.user == user for each in self.said):
            return
        near, far = map(Transport, socketpair())
        options = ConnOptions(ping_interval=None)
        conn, client = Conn(near, client=False, options=options), Conn(far, client=True, options=options)
        member = node.manager.register(conn, user, rooms)
        guest = Guest(node, user, member, client, set(rooms))
        node.guests[member] = guest
        self.guests.append(guest)
        for said in self.said:
            if said.node is not node and (said.room in (None, *rooms) if said.user is None else said.user == user):
                said.allowed.add(guest)

    def _here(self) -> list[Guest]:
        return [guest for guest in self.guests if guest.is_here]

    def _pick(self, index: int) -> Guest | None:
        here = self._here()
        return here[index % len(here)] if here else None

    @rule(index=st.integers(0, 5))
    def go(self, index: int) -> None:
        guest = self._pick(index)
        if guest is None:
            return
        guest.node.manager.unregister(guest.member)
        self._gone(guest)

    def _gone(self, guest: Guest) -> None:
        """It gets nothing any more; what is on its way from elsewhere it may have got or not."""
        guest.is_here = False
        guest.read()
        self._uncertain(guest, {*ROOMS, None}, guest.user)
        guest.member.conn.close_now()
        guest.client.close_now()

    def _uncertain(self, guest: Guest, rooms: set[str | None], user: str | None) -> None:
        for said in self.said:
            if said.node is not guest.node and (said.room in rooms if said.user is None else said.user == user):
                said.certain.discard(guest)

    @rule(index=st.integers(0, 5), room=st.sampled_from(ROOMS))
    def join(self, index: int, room: str) -> None:
        guest = self._pick(index)
        if guest is None or self.is_fragile or room in guest.rooms:
            return
        assert guest.node.manager.join(guest.member, room) is True
        guest.rooms.add(room)
        for said in self.said:
            if said.room == room and said.user is None and said.node is not guest.node:
                said.allowed.add(guest)

    @rule(index=st.integers(0, 5), room=st.sampled_from(ROOMS))
    def leave(self, index: int, room: str) -> None:
        guest = self._pick(index)
        if guest is None:
            return
        assert guest.node.manager.leave(guest.member, room) is (room in guest.rooms)
        guest.rooms.discard(room)
        self._uncertain(guest, {room}, None)

    # Messages

    def _say(self, node: Node, room: str | None, user: str | None, *, is_kick: bool = False) -> Said:
        self.token += 1
        said = Said(self.token, node, node.name, room, user, is_kick, time.time())
        for guest in self._here():
            if guest.user == user if user is not None else (room is None or room in guest.rooms):
                said.certain.add(guest)
        said.allowed |= said.certain
        self.said.append(said)
        self.everything[said.token] = said
        return said

    @rule(which=NODES, room=PLACES, count=st.sampled_from((1, 1, 3)))
    def broadcast(self, which: int, room: str | None, count: int) -> None:
        node = self.nodes[which]
        for _ in range(count):
            said = self._say(node, room, None)
            took = node.manager.broadcast(f"<{said.token}>", room=room)
            said.ended = time.time()
            here = [guest for guest in said.certain if guest.node is node]
            assert took == len(here), f"{took} took it of {len(here)}"

    @rule(which=NODES, user=USERS)
    def send(self, which: int, user: str) -> None:
        node = self.nodes[which]
        said = self._say(node, None, user)
        node.manager.send(user, f"<{said.token}>")
        said.ended = time.time()

    @rule(which=NODES, user=USERS)
    def kick(self, which: int, user: str) -> None:
        """Everybody of an id is closed, here at once, elsewhere soon."""
        node = self.nodes[which]
        if self.is_fragile:
            return
        said = self._say(node, None, user, is_kick=True)
        count = node.manager.close(user, 4000, f"<{said.token}>")
        said.ended = time.time()
        here = [guest for guest in said.certain if guest.node is node]
        assert count == len(here), f"{count} closed of {len(here)}"
        for guest in here:
            self._kicked(guest)

    def _kicked(self, guest: Guest) -> None:
        assert await_(lambda: len(guest.closes) == 1, self.patience), "a member that was closed has had no on_close"
        assert isinstance(guest.closes[0], CloseError) and guest.closes[0].code == 4000, guest.closes
        self._gone(guest)

    # The bus

    @rule(which=NODES)
    def beat(self, which: int) -> None:
        relay = self.nodes[which].manager._relay
        assert relay is not None
        relay.beat()

    @rule(which=NODES, count=st.integers(1, 3), room=PLACES, beats=st.booleans())
    def lose(self, which: int, count: int, room: str | None, beats: bool) -> None:
        """The next messages to a process are lost, and nobody says so: the numbers of the senders have to."""
        if self.is_fragile:
            return
        self.look()
        self.is_fragile = True
        self.nodes[which].backplane.lose(count)
        other = (which + 1) % 3
        self.broadcast(which=other, room=room, count=count)
        if beats:
            self.beat(which=other)

    @rule(which=NODES, count=st.integers(1, 3))
    def drop_out(self, which: int, count: int) -> None:
        """The bus gives up what it has taken, and says so."""
        self.nodes[which].backplane.drop_out(count)

    @rule(which=NODES, count=st.integers(1, 20))
    def twice(self, which: int, count: int) -> None:
        self.nodes[which].backplane.twice(count)

    @rule(which=NODES)
    def hold(self, which: int) -> None:
        self.nodes[which].backplane.hold()

    @rule(which=NODES)
    def release(self, which: int) -> None:
        self.nodes[which].backplane.release()

    @rule(which=NODES)
    def cut(self, which: int) -> None:
        self.nodes[which].backplane.cut()

    @rule(which=NODES, resend=st.booleans())
    def mend(self, which: int, resend: bool) -> None:
        self.nodes[which].backplane.mend(resend=resend)

    @rule(frozen=st.booleans())
    def freeze(self, frozen: bool) -> None:
        (self.bus.freeze if frozen else self.bus.thaw)()

    @rule(which=NODES)
    def die(self, which: int) -> None:
        """A process is killed; another one takes its place."""
        if self.is_fragile:
            return
        node = self.nodes.pop(which)
        node.backplane.vanish()
        node.manager.end(0.0)
        self.dead.append(node)
        for guest in self._here():
            if guest.node is node:
                self._gone(guest)
        for said in self.said:
            said.certain = {guest for guest in said.certain if guest.node is not node}
        self._start()

    @rule(which=NODES)
    def restart(self, which: int) -> None:
        """A process says goodbye, and begins anew under another name; its members stay."""
        if self.is_fragile or not self._is_well():
            return
        self.look()
        node = self.nodes[which]
        node.manager.end(self.patience)
        relay = node.manager._relay
        assert relay is not None and relay.begin()  # as with its next message; until then it hears nothing
        for each in self.nodes:  # a copy of what came before would be taken: who begins anew knows no numbers
            each.backplane._sent.clear()
        node.missed_before = sum(gap.missed or 0 for gap in node.gaps)

    def _is_well(self) -> bool:
        return not self.bus._frozen and not any(each.backplane._reason or each.backplane._held for each in self.nodes)

    # What is seen

    @rule()
    def look(self) -> None:
        """Everything is mended, has come and was told; then each message is accounted for."""
        self.bus.thaw()
        for node in self.nodes:
            node.backplane.heal()
        self._settle()
        self.is_fragile = False
        for node in self.nodes:  # what is missing shows at the next message, of each process, everywhere
            for room in (*ROOMS, None):
                self.broadcast(self.nodes.index(node), room, 1)
            for user in ("ann", "bob", "cy"):
                self.send(self.nodes.index(node), user)
        self._settle()
        self._account()
        self._converge()
        self.said.clear()

    def _settle(self) -> None:
        self.bus.settle(self.patience)
        for node in self.nodes:
            assert await_(lambda node=node: node.rests, self.patience), "callbacks do not end"
        self.bus.settle(self.patience)
        for said in [each for each in self.said if each.is_kick]:
            for guest in list(said.certain):
                if guest.is_here and guest.node.backplane.told[said.token]:
                    self._kicked(guest)
        for guest in self._here():
            guest.read()

    def _account(self) -> None:
        for guest in self.guests:
            self._check_guest(guest)
        for said in self.said:
            for guest in said.certain:
                if said.token in guest.got or (said.is_kick and guest.closes):
                    continue
                what = f"<{said.token}> from {said.name} to {said.room or said.user}, at {guest.node.name}"
                assert guest.node is not said.node, f"{what}: it did not reach a member of the same process"
                if any(self._covers(gap, said) for gap in guest.node.gaps):
                    continue  # the bus may bring it later, by a copy: what was told as lost stays so
                came = "it came, and the member has it not" if guest.node.backplane.told[said.token] else "it is lost"
                raise AssertionError(f"{what}: {came}, and no gap says so: {guest.node.gaps}")

    def _check_guest(self, guest: Guest) -> None:
        twice = [token for token, count in Counter(guest.got).items() if count > 1]
        assert not twice, f"{twice} came twice"
        latest: dict[Any, int] = {}
        for token in guest.got:
            said = self.everything[token]
            assert guest in said.allowed, f"<{token}> came to somebody for whom it was not"
            key = said.node, said.room, said.user
            assert latest.get(key, 0) < token, f"<{token}> came after {latest[key]}"
            latest[key] = token
        assert len(guest.closes) == (0 if guest.is_here or guest.node not in self.nodes else 1) or (
            guest.node not in self.nodes and len(guest.closes) <= 1
        ), f"on_close: {guest.closes}"

    def _covers(self, gap: Gap, said: Said) -> bool:
        return (
            (gap.room is None or gap.room == said.room)
            and (gap.node is None or gap.node == said.name)
            and (gap.missed is None or gap.missed > 0)
            and gap.since - _NEARLY <= said.ended
            and said.began <= gap.until + _NEARLY
        )

    def _converge(self) -> None:
        """Each process knows who is there; and its counts are what has happened."""
        here = self._here()
        for node in self.nodes:
            everywhere = node.manager.everywhere
            assert await_(lambda asked=everywhere: self._knows_all(asked), self.patience), everywhere.nodes()
            room = (*ROOMS, None)[self.token % 3]
            inside = [guest for guest in here if room is None or room in guest.rooms]
            count, ids = everywhere.count(room), everywhere.ids(room)
            assert (count.connections, count.complete) == (len(inside), True), f"{room}: {count}, not {len(inside)}"
            assert (set(ids.ids), ids.complete) == ({guest.user for guest in inside}, True), f"{room}: {ids}"
            stats = node.manager.stats()
            own = [guest for guest in self.guests if guest.node is node]
            now = [guest for guest in own if guest.is_here]
            assert (stats.members, stats.opened, stats.closed) == (len(now), len(own), len(own) - len(now)), stats
            assert (stats.sent, stats.dropped) == (sum(len(guest.got) for guest in own), 0), stats
            health = node.manager.backplane_health()
            assert health is not None and health.up
            missed = sum(gap.missed or 0 for gap in node.gaps)
            assert health.missed == missed - node.missed_before, f"{health.missed} missed, {missed} told"
            assert health.bad == health.foreign == 0, health

    def _knows_all(self, everywhere: Everywhere) -> bool:
        return len(everywhere.nodes()) == len(self.nodes)

    def teardown(self) -> None:
        try:
            if self.nodes:
                self.look()
        finally:
            for node in (*self.nodes, *self.dead):
                for guest in node.guests.values():
                    guest.member.conn.close_now()
                    guest.client.close_now()
                node.manager.end(self.patience)
            self.stack.close()
