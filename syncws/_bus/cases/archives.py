"""History, where the bus keeps it: what was kept can be read again, and what is missing is never hidden."""

from __future__ import annotations

import json
import struct

from ..history import Archive
from .fixture import Fixture, Node, numbered

#: The kinds of a message to a room, and of one that says that others were not sent: docs/redis-protocol.md.
_MESSAGE, _LOST = 0, 3


class ArchiveCases(Fixture):
    """Positions, what is read after one, and whether that is all. For backplanes with an `archive`."""

    def test_kept(self) -> None:
        """What is published with keep arrives everywhere, at its publisher too, with a position, and is read again."""
        here, there = self._join()
        archive = self._archive(there)
        origin = archive.read(self.channel, None, self.patience)
        self.assertEqual(origin.entries, (), "read() with since=None gives where it stands, and no entries")
        sent = self._keep(here, "kept", min(10, archive.history.size))
        for node in (here, there):
            self.assert_came(node, sent, "What is kept arrives at this process as well, with echoes or without")
        came = there.sink.received_all
        self.assertEqual(
            [each.position for each in here.sink.received_all if each.position is None], [], "A kept one has a position"
        )
        for number, each in enumerate(came):
            past = archive.read(self.channel, each.position, self.patience)
            self.assertEqual(
                [entry.data for entry in past.entries], sent[number + 1 :], "read(): what came later, in order"
            )
            self.assertTrue(past.recovered, "recovered is True where all that came later is there")
        past = archive.read(self.channel, came[0].position, self.patience)
        self.assertEqual(
            [entry.position for entry in past.entries],
            [each.position for each in came[1:]],
            "The position of an entry is the one that received() was told",
        )

    def test_order_of_positions(self) -> None:
        """is_after tells what a position covers: a later message is after it, and neither an earlier one nor itself."""
        here, there = self._join()
        archive = self._archive(there)
        sent = self._keep(here, "kept", min(5, archive.history.size))
        self.assert_came(there, sent, "What is kept arrives")
        positions = [each.position or "" for each in there.sink.received_all]
        for number, one in enumerate(positions):
            after = [archive.is_after(other, one) for other in positions]
            self.assertEqual(after, [each > number for each in range(len(positions))], "is_after(position, other)")
        now = archive.read(self.channel, None, self.patience).position
        self.assertEqual([archive.is_after(each, now) for each in positions], [False] * len(positions))

    def test_not_kept(self) -> None:
        """What is published without keep has no position and is not read again."""
        here, there = self._join()
        archive = self._archive(there)
        since = archive.read(self.channel, None, self.patience).position
        self.send(here, [b"not kept"])
        sent = self._keep(here, "kept", 1)
        self.wait(there, lambda: there.sink.count(self.channel) >= 2, "What is published arrives, kept or not")
        self.assertEqual([each.position is None for each in there.sink.received_all], [True, False])
        past = archive.read(self.channel, since, self.patience)
        self.assertEqual([entry.data for entry in past.entries], sent, "Only what was published with keep is kept")

    def test_more_than_it_remembers(self) -> None:
        """A position that is further back than the history goes is not recovered: that something is missing is said."""
        here, there = self._join()
        archive = self._archive(there)
        first = self._keep(here, "first", 1)
        self.assert_came(there, first, "What is kept arrives")
        more = self._keep(here, "more", archive.history.size + 1)
        self.assert_came(there, [*first, *more], "What is kept arrives")
        past = archive.read(self.channel, there.sink.received_all[0].position, self.patience)
        self.assertFalse(past.recovered, "recovered is True although the first of what came later is gone")
        last = there.sink.received_all[-2].position
        past = archive.read(self.channel, last, self.patience)
        self.assertEqual(([entry.data for entry in past.entries], past.recovered), (more[-1:], True))

    def test_positions_that_are_not_known(self) -> None:
        """A position that was altered, or is of another channel, is not recovered, and is no error."""
        here, there = self._join()
        archive = self._archive(there)
        other = self.new_channel()
        self.subscribe(there, [other])
        self._keep(here, "kept", 3)
        self._keep(here, "other", 3, other)
        self.wait(there, lambda: there.sink.count(other) >= 3, "What is kept arrives")
        elsewhere = next(each.position for each in there.sink.received_all if each.channel == other) or ""
        for since in ("", "0", "x" * 5_000, "-".join("0" * 3), "é\0\n", elsewhere, elsewhere[:-1], f"{elsewhere}0"):
            past = archive.read(self.channel, since, self.patience)
            advice = "Put something of the channel's own, and of its beginning, into each position, and compare it"
            self.assertFalse(past.recovered, f"{since[:40]!r} was taken for a position of this channel. {advice}")
            archive.is_after(since, elsewhere)

    def test_what_was_not_sent(self) -> None:
        """A message whose number is not its sender's next comes after a loss: no position from before is recovered."""
        here, there = self._join()
        archive = self._archive(there)
        here.backplane.publish(self.channel, _numbered(1), keep=True)
        here.backplane.publish(self.channel, _numbered(3), keep=True)
        self.assert_came(there, [_numbered(1), _numbered(3)], "What is kept arrives")
        before, after = (each.position for each in there.sink.received_all)
        advice = "recovered is True although number 2 was never kept: compare the numbers of each sender"
        self.assertFalse(archive.read(self.channel, before, self.patience).recovered, advice)
        here.backplane.publish(self.channel, _numbered(4), keep=True)
        self.assert_came(there, [_numbered(1), _numbered(3), _numbered(4)], "What is kept arrives")
        past = archive.read(self.channel, after, self.patience)
        self.assertEqual(([entry.data for entry in past.entries], past.recovered), ([_numbered(4)], True))

    def test_what_is_said_not_to_be_sent(self) -> None:
        """That messages to a room were not sent, up to a number, is a loss as well: at once, and only once."""
        here, there = self.join(room := f"r:{json.dumps(self.channel)}"), self.join(room)
        archive = self._archive(there)
        here.backplane.publish(room, _numbered(1), keep=True)
        self.assert_came(there, [_numbered(1)], "What is kept arrives", room)
        before = there.sink.received_all[0].position
        self.assertTrue(archive.read(room, before, self.patience).recovered, "Nothing came after the last position")
        lost = _numbered(2, kind=_LOST)
        here.backplane.publish(room, lost)
        self.assert_came(there, [_numbered(1), lost], "What is published arrives, kept or not", room)
        advice = "recovered is True although the sender has said that its message 2 was not sent"
        self.assertFalse(archive.read(room, before, self.patience).recovered, advice)
        after = archive.read(room, None, self.patience).position
        here.backplane.publish(room, _numbered(3), keep=True)
        self.assert_came(there, [_numbered(1), lost, _numbered(3)], "What is kept arrives", room)
        past = archive.read(room, after, self.patience)
        self.assertEqual(([entry.data for entry in past.entries], past.recovered), ([_numbered(3)], True))

    def _join(self) -> tuple[Node, Node]:
        here, there = self.join(self.channel), self.join(self.channel)
        self._archive(here)
        return here, there

    def _archive(self, node: Node) -> Archive:
        if node.backplane.archive is None:
            self.skipTest("archive is None: this bus keeps no history")
        return node.backplane.archive

    def _keep(self, node: Node, prefix: str, count: int, channel: str | None = None) -> list[bytes]:
        """Publish messages that are kept; returns them."""
        sent = numbered(count, prefix)
        for message in sent:
            taken = node.backplane.publish(channel or self.channel, message, keep=True)
            self.assertTrue(taken, "publish(keep=True) returns False although the bus is there")
        return sent


def _numbered(number: int, kind: int = _MESSAGE) -> bytes:
    """A message between processes, with this number of one sender."""
    return struct.pack(">BBBB8sQHI", 1, kind, 0, 0, b"numbered", number, 0, 0) + b"%d" % number
