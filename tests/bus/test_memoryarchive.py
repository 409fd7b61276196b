"""What processes remember by themselves: against a model, and each reason why a past is not called recovered."""

from __future__ import annotations

import os
import random
import unittest
from collections import deque
from collections.abc import Mapping
from typing import Any, NamedTuple
from unittest import mock

from syncws import History
from syncws._bus import memoryarchive
from syncws._bus.history import Past
from syncws._bus.memoryarchive import MemoryArchive
from tests.partners import need
from tests.tasks import PATIENCE, Task

try:
    import hypothesis
    from hypothesis import strategies as st
except ImportError:
    hypothesis = None  # type: ignore[assignment]

#: Courses of events to try.
COURSES = {"0": 300, "full": 2_500}.get(os.environ.get("SYNCWS_HEAVY", ""), 1_000)

ROOM = 'r:"lobby"'
TTL = 100.0


class Clock:
    """Stands for the time module."""

    def __init__(self) -> None:
        self.now = 1_000.0

    def monotonic(self) -> float:
        self.now += 1e-5  # whatever is done takes a moment
        return self.now

    def monotonic_ns(self) -> int:
        return int(self.monotonic() * 1e9)


Sent = tuple[str, int, int]  # a message: its channel, of which process, its number


class Place(NamedTuple):
    """A position, and what a client that has it saw, what it was told to be lost, and what others knew before."""

    position: str
    channel: str
    seen: frozenset[Sent]
    told: frozenset[Sent]
    before: Mapping[int, frozenset[Sent]]


class Process:
    """One process of the model, with what it heard on each channel, in its order."""

    def __init__(self, index: int, size: int) -> None:
        self.index = index
        self.boot = index.to_bytes(8, "little")
        self.archive = MemoryArchive(History(size=size, ttl=TTL))
        self.archive.begin(self.boot)
        self.numbers: dict[str, int] = {}
        self.heard: dict[str, list[Sent]] = {}
        self.lost: dict[str, set[Sent]] = {}
        self.known: set[int] = set()  # whose beats it has heard
        self.before: dict[int, frozenset[Sent]] = {}  # what each of the others had heard when it began


class Model:
    """Processes that tell each other of messages over links which keep the order, lose messages, and end.

    What is still on its way to a process is no hole: it comes there live.
    """

    def __init__(self, size: int) -> None:
        self.size = size
        self.processes: dict[int, Process] = {}
        self.links: dict[tuple[int, int], deque[tuple[str, str, int]]] = {}
        self.published: dict[str, list[Sent]] = {}
        self.cut: dict[int, set[Sent]] = {}
        self.places: list[Place] = []
        self.recovered = 0
        self.count = 0

    def pick(self, number: int) -> Process:
        alive = list(self.processes.values())
        return alive[number % len(alive)]

    def others(self, process: Process) -> list[Process]:
        return [each for each in self.processes.values() if each is not process]

    # What happens

    def start(self) -> None:
        indices = self.processes.keys()
        if any(indices - {each.index} - each.known for each in self.processes.values()):
            return  # a start takes longer than the first beats of those that are there
        new = Process(self.count, self.size)
        self.count += 1
        for channel, messages in self.published.items():
            new.lost[channel] = set(messages)
        for other in self.processes.values():
            new.before[other.index] = frozenset(sent for heard in other.heard.values() for sent in heard)
            self.links[new.index, other.index] = deque([("beat", "", 0)])
            self.links[other.index, new.index] = deque()
        self.processes[new.index] = new

    def publish(self, sender: Process, channel: str, losers: int) -> None:
        number = sender.numbers[channel] = sender.numbers.get(channel, 0) + 1
        sent = (channel, sender.index, number)
        self.published.setdefault(channel, []).append(sent)
        position = sender.archive.append(channel, sender.boot, number, repr(sent).encode())
        self.hear(sender, channel, sent, position)
        for other in self.others(sender):
            kind = "lost" if losers & 1 << other.index % 4 else "message"
            self.links[sender.index, other.index].append((kind, channel, number))

    def publish_outside(self, channel: str, losers: int) -> None:
        """One that does not beat says one thing to all, and nothing more."""
        index, self.count = self.count, self.count + 1
        sent = (channel, index, 1)
        self.published.setdefault(channel, []).append(sent)
        for other in self.processes.values():
            kind = "lost" if losers & 1 << other.index % 4 else "outside"
            self.links[index, other.index] = deque([(kind, channel, 1)])

    def hear(self, process: Process, channel: str, sent: Sent, position: str | None) -> None:
        assert position is not None
        process.heard.setdefault(channel, []).append(sent)
        self.places.append(self.place(process, channel, position))

    def place(self, process: Process, channel: str, position: str) -> Place:
        seen, told = process.heard.get(channel, ()), process.lost.get(channel, ())
        return Place(position, channel, frozenset(seen), frozenset(told), process.before)

    def look(self, process: Process, channel: str) -> None:
        self.places.append(self.place(process, channel, process.archive.read(channel, None, 0).position))

    def beat(self, process: Process) -> None:
        for other in self.others(process):
            self.links[process.index, other.index].append(("beat", "", 0))

    def end(self, process: Process, cuts: int) -> None:
        """cuts: how many of the last messages to each other one are lost; 0: it says goodbye."""
        del self.processes[process.index]
        for other in self.processes.values():
            del self.links[other.index, process.index]
            link = self.links[process.index, other.index]
            for _ in range(cuts):
                if link:
                    link.pop()
            link.append(("goodbye" if cuts == 0 else "end", "", 0))

    def deliver(self, link: tuple[int, int], count: int) -> None:
        events = self.links[link]
        sender, to = link[0], self.processes[link[1]]
        boot = sender.to_bytes(8, "little")
        for _ in range(min(count, len(events))):
            kind, channel, number = events.popleft()
            if kind in ("message", "outside"):
                sent = (channel, sender, number)
                begins = kind == "outside"
                position = to.archive.append(channel, boot, number, repr(sent).encode(), begins=begins)
                self.hear(to, channel, sent, position)
            elif kind == "lost":
                to.archive.lost(channel, boot, number)
                to.lost.setdefault(channel, set()).add((channel, sender, number))
            elif kind == "beat":
                to.archive.present(boot)
                if sender not in to.known:
                    to.known.add(sender)
                    self.beat(to)
            else:
                to.archive.gone(boot, goodbye=kind == "goodbye")
                for each, messages in self.published.items():
                    unheard = {sent for sent in messages if sent[1] == sender} - set(to.heard.get(each, ()))
                    to.lost.setdefault(each, set()).update(unheard)
                del self.links[link]
                return

    def settle(self) -> None:
        while any(self.links[link] for link in list(self.links) if link[1] in self.processes):
            for link in list(self.links):
                if link[1] in self.processes:
                    self.deliver(link, 100)

    # What must be true

    def check(self, reader: Process, place: Place) -> None:
        past = reader.archive.read(place.channel, place.position, 0)
        if not past.recovered:
            assert past.entries == ()
            return
        self.recovered += 1
        entries = [eval(entry.data) for entry in past.entries]
        heard = reader.heard.get(place.channel, [])
        assert entries == [sent for sent in heard if sent in set(entries)], "not in the reader's order, or twice"
        assert not place.seen & set(entries), "a message that the client has"
        assert not place.before.get(reader.index, frozenset()) & set(entries), "a message from before"
        for n, entry in enumerate(past.entries, start=1):
            self.places.append(place._replace(position=entry.position, seen=place.seen | set(entries[:n])))
        self.places.append(place._replace(position=past.position, seen=place.seen | set(entries)))
        on_its_way = {
            (event[1], link[0], event[2])
            for link, events in self.links.items()
            if link[1] == reader.index
            for event in events
        }
        ending = {link[0] for link, events in self.links.items() for event in events if event[0] == "end"}
        for sent in self.published.get(place.channel, ()):
            assert (
                sent in place.seen | place.told
                or sent in entries
                or sent in on_its_way
                or (sent[1] in ending and (sent[1], reader.index) in self.links)
            ), f"a hole: {sent}, in {reader.index} after {place}"


class ModelTests(unittest.TestCase):
    def setUp(self) -> None:
        self.clock = Clock()
        self.enterContext(mock.patch.object(memoryarchive, "time", self.clock))

    def run_model(self, size: int, events: list[tuple[int, int, int]], *, outside: bool = False) -> Model:
        model = Model(size)
        for _ in range(3):
            model.start()
            model.settle()
        for kind, one, two in events:
            process = model.pick(one)
            channel = ROOM if two % 5 else "r:2"
            match kind:
                case 0 | 1 | 2 if outside and one % 3 == 0:
                    model.publish_outside(channel, two if kind == 2 else 0)
                case 0 | 1 | 2:
                    model.publish(process, channel, two if kind == 2 else 0)
                case 3 | 4 | 5 | 6:
                    links = [link for link in model.links if link[1] in model.processes]
                    if links:
                        model.deliver(links[one % len(links)], 1 + two % 3)
                case 7:
                    model.settle()
                case 8:
                    model.look(process, channel)
                case 9:
                    model.start()
                case 10:
                    if len(model.processes) > 1:
                        model.end(process, two % 3)
                case 11:
                    model.beat(process)
                case 12:
                    model.settle()
                    self.clock.now += (1.0, TTL * 0.6, TTL * 1.1, TTL * 1.6, TTL * 7)[two % 5]
                case _:
                    if model.places:
                        model.check(process, model.places[-1 - two % min(len(model.places), 40)])
        for place in model.places[-100:]:
            for process in model.processes.values():
                model.check(process, place)
        return model

    def test_what_is_recovered(self) -> None:
        """Whatever happens: what is called recovered is all that was published since, each once, in order."""
        need(hypothesis is not None, "hypothesis (PyPI) is not installed")
        event = st.tuples(st.integers(0, 17), st.integers(0, 40), st.integers(0, 200))
        courses = hypothesis.settings(
            max_examples=COURSES,
            derandomize=os.environ.get("SYNCWS_EXPLORE") != "1",
            database=None,
            deadline=None,
            suppress_health_check=list(hypothesis.HealthCheck),
        )

        def check(size: int, events: list[tuple[int, int, int]], outside: bool) -> None:
            with mock.patch.object(memoryarchive, "_MOST_OUTSIDE", size % 3):
                self.run_model(size, events, outside=outside)

        courses(hypothesis.given(st.integers(1, 8), st.lists(event, max_size=80), st.booleans())(check))()

    def test_it_does_recover(self) -> None:
        """The model is not true for want of recoveries: most positions are good in every process while all is well."""
        rng = random.Random(13)
        events = [(rng.choice((0, 1, 3, 4, 5, 8, 17)), rng.randrange(40), rng.randrange(200)) for _ in range(2_000)]
        model = self.run_model(50, [*events, (7, 0, 0)])
        self.assertGreater(model.recovered, 300)
        with mock.patch.object(memoryarchive, "_MOST_OUTSIDE", 2):
            model = self.run_model(50, [*events[:500], (7, 0, 0)], outside=True)
        self.assertGreater(model.recovered, 20)


def sent(archive: MemoryArchive, boot: bytes, *numbers: int, channel: str = ROOM) -> list[str]:
    """Messages of a process come; their positions."""
    return [archive.append(channel, boot, number, b"message %d" % number) or "" for number in numbers]


def numbers(past: Past) -> list[int]:
    return [int(entry.data.split()[1]) for entry in past.entries]


class ReasonTests(unittest.TestCase):
    """One process, alone or with two that it hears."""

    def setUp(self) -> None:
        self.clock = Clock()
        self.enterContext(mock.patch.object(memoryarchive, "time", self.clock))
        self.boot, self.other = os.urandom(8), os.urandom(8)

    def archive(self, boot: bytes | None = None, **options: Any) -> MemoryArchive:
        archive = MemoryArchive(History(**options))
        archive.begin(boot or self.boot)
        return archive

    def assert_unknown(self, archive: MemoryArchive, since: Any, channel: str = ROOM) -> None:
        past = archive.read(channel, since, 0)
        self.assertEqual((past.recovered, past.entries), (False, ()))

    def test_one_process(self) -> None:
        """What came after a position comes back, from before the first message on."""
        archive = self.archive()
        origin = archive.read(ROOM, None, 0).position
        self.assertTrue(archive.read(ROOM, origin, 0).recovered)
        positions = sent(archive, self.boot, 1, 2, 3)
        self.assertEqual(numbers(archive.read(ROOM, origin, 0)), [1, 2, 3])
        past = archive.read(ROOM, positions[0], 0)
        self.assertEqual((past.recovered, numbers(past)), (True, [2, 3]))
        for entry, rest in zip(past.entries, ([3], []), strict=True):
            self.assertEqual(numbers(archive.read(ROOM, entry.position, 0)), rest)
        self.assertEqual(numbers(archive.read(ROOM, past.position, 0)), [])
        self.assertTrue(archive.read(ROOM, past.position, 0).recovered)

    def test_a_restart(self) -> None:
        """Another process, and the child of a fork, know no position of the one before."""
        positions = sent(self.archive(), self.boot, 1, 2)
        again = self.archive(os.urandom(8))
        self.assert_unknown(again, positions[0])
        sent(again, os.urandom(8), 1, 2, 3)
        self.assert_unknown(again, positions[0])
        again.begin(os.urandom(8))
        self.assert_unknown(again, positions[0])

    def test_trimmed(self) -> None:
        """The first message after a position was forgotten for newer ones."""
        archive = self.archive(size=3)
        positions = sent(archive, self.boot, *range(1, 7))
        self.assertEqual(numbers(archive.read(ROOM, positions[2], 0)), [4, 5, 6])
        self.assert_unknown(archive, positions[1])

    def test_expired(self) -> None:
        """A room forgets once nothing came for the ttl; that nothing came after its last message it knows as long."""
        archive = self.archive(ttl=10)
        positions = sent(archive, self.boot, 1, 2)
        self.clock.now += 9
        positions += sent(archive, self.boot, 3)
        self.clock.now += 9
        self.assertEqual(numbers(archive.read(ROOM, positions[0], 0)), [2, 3])
        self.clock.now += 2
        self.assert_unknown(archive, positions[1])
        self.assertTrue(archive.read(ROOM, positions[2], 0).recovered)
        self.clock.now += 10
        self.assert_unknown(archive, positions[2])

    def test_memory(self) -> None:
        """Beyond its memory the rooms that were silent for longest forget first, and a message that is too large."""
        archive = self.archive(memory=10_000)
        rooms = [f"r:{n}" for n in range(20)]
        origins = [archive.read(room, None, 0).position for room in rooms]
        for room in rooms:
            archive.append(room, self.boot, 1, b"x" * 1_000)
        known = [archive.read(room, origin, 0).recovered for room, origin in zip(rooms, origins, strict=True)]
        self.assertEqual(known, sorted(known))
        self.assertTrue(6 <= sum(known) < 10, known)
        position = archive.append(ROOM, self.boot, 1, b"x" * 10_000)
        archive.append(ROOM, self.boot, 2, b"x" * 10_000)
        self.assert_unknown(archive, position)
        self.assertLess(archive._bytes, 10_001)

    def test_nothing_is_left_of_what_is_forgotten(self) -> None:
        """Rooms and processes that have long been silent take no memory."""
        archive = self.archive(ttl=1)
        for n in range(100):
            sent(archive, os.urandom(8), 1, channel=f"r:{n}")
            archive.read(f"r:{n} of nobody", None, 0)
            archive.gone(os.urandom(8), goodbye=n % 2 == 0)
        self.clock.now += 1_000
        sent(archive, self.boot, 1)
        self.assertEqual((list(archive._logs), list(archive._filled), archive._gone), ([ROOM], [ROOM], {}))
        for _ in range(100):
            self.clock.now += 1_000
            sent(archive, os.urandom(8), 1)
        self.assertLess(len(archive._logs[ROOM].senders), 5)

    def test_a_loss(self) -> None:
        """A hole in the numbers of a sender, and one that it tells of, are known."""
        for tell in (False, True):
            with self.subTest(tell=tell):
                archive = self.archive()
                positions = sent(archive, self.other, 1, 2)
                if tell:
                    archive.lost(ROOM, self.other, 4)
                    self.assert_unknown(archive, positions[1])
                positions += sent(archive, self.other, 5, 6)
                self.assert_unknown(archive, positions[0])
                self.assert_unknown(archive, positions[1])
                self.assertEqual(numbers(archive.read(ROOM, positions[2], 0)), [6])

    def test_the_bus_was_lost(self) -> None:
        """What was published while the bus was away is not known: no position from before is good."""
        archive = self.archive()
        positions = sent(archive, self.other, 1, 2)
        archive.lost_all()
        self.assert_unknown(archive, positions[1])
        positions = sent(archive, self.other, 3, 4)
        self.assertEqual(numbers(archive.read(ROOM, positions[0], 0)), [4])

    def test_another_room(self) -> None:
        """A position of another room is not known, although the same processes are named in it."""
        archive = self.archive()
        here = sent(archive, self.boot, 1, 2, 3)
        there = sent(archive, self.boot, 1, 2, 3, channel="r:2")
        self.assert_unknown(archive, there[1])
        self.assert_unknown(archive, here[1], "r:2")

    def test_altered(self) -> None:
        """Whatever a client makes of a position is no error, and what is no position is not known."""
        archive = self.archive()
        position = sent(archive, self.boot, 1, 2)[0]
        for altered in (
            *("", "-", ".", "x" * 100_000, "\0", "é", None, 7, b"x", [], {}),
            *(position + end for end in ("\n", ".", "!!", " ", ".x", "." + position, "f" * 20)),
            position.rpartition("-")[0],
            position + "." + position.rpartition("-")[2],
        ):
            with self.subTest(altered):
                self.assert_unknown(archive, altered)
        rng = random.Random(13)
        for _ in range(2_000):
            text = list(position)
            text[rng.randrange(len(text))] = chr(rng.choice([*range(33, 127), 955]))
            archive.read(ROOM, "".join(text), 0)

    def test_a_copy(self) -> None:
        """What comes twice is kept once."""
        archive = self.archive()
        origin = archive.read(ROOM, None, 0).position
        self.assertTrue(all(sent(archive, self.other, 1, 2, 3)))
        self.assertEqual(sent(archive, self.other, 2, 3), ["", ""])
        self.assertEqual(numbers(archive.read(ROOM, origin, 0)), [1, 2, 3])

    def test_a_number_that_is_far_too_high(self) -> None:
        """A forged one makes no copies of what its sender sends next: that is kept, and no past is called recovered."""
        archive = self.archive()
        origin = archive.read(ROOM, None, 0).position
        self.assertTrue(all(sent(archive, self.other, 1, 2**64 - 1, 2, 3)))
        self.assert_unknown(archive, origin)
        after = archive.read(ROOM, None, 0).position
        sent(archive, self.other, 4)
        self.assertEqual(numbers(archive.read(ROOM, after, 0)), [4])

    def test_a_sender_that_begins_late(self) -> None:
        """A sender whose numbers on a channel begin above 1 may say that there is none before: nothing is missing."""
        for begins in (True, False):
            with self.subTest(begins=begins):
                archive = self.archive()
                origin = archive.read(ROOM, None, 0).position
                archive.append(ROOM, self.other, 1_000, b"message 1000", begins=begins)
                self.assertIs(archive.read(ROOM, origin, 0).recovered, begins)

    def test_is_after(self) -> None:
        """By the order in which this process made them, also in one microsecond."""
        self.clock.monotonic_ns = lambda: 5_000_000_000  # type: ignore[method-assign]
        archive = self.archive()
        positions = [archive.read(ROOM, None, 0).position, *sent(archive, self.boot, *range(1, 30))]
        for n, position in enumerate(positions):
            self.assertEqual([archive.is_after(each, position) for each in positions], [m > n for m in range(30)])
        self.assertTrue(archive.is_after("", positions[0]))
        self.assertTrue(archive.is_after(positions[0], ""))


class OutsideTests(unittest.TestCase):
    """Senders that do not beat, as Publishers are: a new one for each message."""

    def setUp(self) -> None:
        self.clock = Clock()
        self.enterContext(mock.patch.object(memoryarchive, "time", self.clock))
        self.boots = [os.urandom(8), os.urandom(8)]
        self.here, self.there = (MemoryArchive(History(ttl=TTL)) for _ in range(2))
        for archive, boot in zip((self.here, self.there), self.boots, strict=True):
            archive.begin(boot)
        self.here.present(self.boots[1])
        self.there.present(self.boots[0])

    def publish(self, count: int) -> list[str]:
        """So many Publishers send a message each, to both; the positions of one process."""
        found = []
        for _ in range(count):
            boot, number = os.urandom(8), 1
            for archive in (self.there, self.here):
                position = archive.append(ROOM, boot, number, b"message 1", begins=True) or ""
            found.append(position)
        return found

    def test_positions_stay_short(self) -> None:
        """However many there were, a position has some hundred characters, and its process recovers from it."""
        positions = self.publish(1_000)
        self.assertLess(max(map(len, positions)), 600)
        self.assertLess(len(positions[-1]), 100)
        for missed in (0, 1, 50):
            past = self.here.read(ROOM, positions[-1 - missed], 0)
            self.assertEqual((past.recovered, len(past.entries)), (True, missed))
            for n, entry in enumerate(past.entries, start=1):
                again = self.here.read(ROOM, entry.position, 0)
                self.assertEqual((again.recovered, len(again.entries)), (True, missed - n))
        self.assertFalse(self.here.read(ROOM, positions[0], 0).recovered)  # it was forgotten
        lost = os.urandom(8)
        self.here.lost(ROOM, lost, 1)
        self.assertFalse(self.here.read(ROOM, positions[-1], 0).recovered)

    def test_elsewhere(self) -> None:
        """Of few, another process recovers too; of many it does not until they are silent, as nobody knows then."""
        few = self.publish(10)
        self.assertEqual(len(self.there.read(ROOM, few[4], 0).entries), 5)
        many = self.publish(40)
        self.assertFalse(self.there.read(ROOM, many[-1], 0).recovered)
        self.clock.now += 400
        now = self.here.read(ROOM, None, 0).position
        sent(self.there, self.boots[1], 1)
        sent(self.here, self.boots[1], 1)
        self.assertEqual(numbers(self.there.read(ROOM, now, 0)), [1])
        self.assertFalse(self.there.read(ROOM, many[-1], 0).recovered)

    def test_too_many_processes(self) -> None:
        """A position that would be too long to be read again is none."""
        for n in range(1_000):
            self.here.present(n.to_bytes(8, "little"))
        self.assertEqual(self.here.append(ROOM, self.boots[0], 1, b"message 1"), "")
        past = self.here.read(ROOM, "", 0)
        self.assertEqual((past.position, past.recovered), ("", False))


class TwoProcessesTests(unittest.TestCase):
    """Positions of one process, read in another."""

    def setUp(self) -> None:
        self.boots = [os.urandom(8), os.urandom(8)]
        self.here, self.there = (MemoryArchive(History()) for _ in range(2))
        self.here.begin(self.boots[0])
        self.there.begin(self.boots[1])

    def meet(self) -> None:
        self.here.present(self.boots[1])
        self.there.present(self.boots[0])

    def both(self, boot: bytes, *numbers: int) -> list[str]:
        sent(self.here, boot, *numbers)
        return sent(self.there, boot, *numbers)

    def test_a_page_comes_back_to_another_process(self) -> None:
        """What a position of one process covers, another one knows too, although it heard it in another order."""
        self.meet()
        sent(self.there, self.boots[1], 1, 2)
        sent(self.here, self.boots[0], 1)
        sent(self.here, self.boots[1], 1, 2)
        position = sent(self.there, self.boots[0], 1)[0]
        self.both(self.boots[0], 2)
        self.assertEqual(numbers(self.here.read(ROOM, position, 0)), [2])

    def test_one_that_began_later(self) -> None:
        """A process that was not there when a position was made does not know what it has missed."""
        position = sent(self.there, self.boots[1], 1)[0]
        self.meet()
        self.assertFalse(self.here.read(ROOM, position, 0).recovered)
        position = sent(self.there, self.boots[1], 2)[0]
        self.assertFalse(self.here.read(ROOM, position, 0).recovered)  # 1 and 2 have not come, and never will
        sent(self.here, self.boots[1], 2)
        self.assertTrue(self.here.read(ROOM, position, 0).recovered)

    def test_what_is_on_its_way_is_waited_for(self) -> None:
        """A position that covers what has not come here yet: reading waits for it, so that it is not sent twice."""
        self.meet()
        position = sent(self.there, self.boots[1], 1)[0]
        reading = Task(self.here.read, ROOM, position, PATIENCE)
        while not self.here._came._waiters:  # type: ignore[attr-defined]
            self.assertFalse(reading.done)
        sent(self.here, self.boots[1], 1)
        past = reading.result()
        self.assertEqual((past.recovered, past.entries), (True, ()))
        self.assertFalse(self.here.read(ROOM, sent(self.there, self.boots[1], 2)[0], 0.01).recovered)

    def test_a_message_of_this_process_that_is_just_being_kept(self) -> None:
        """Another process may have heard it before it is kept here: who comes back from there waits for that."""
        self.meet()
        position = sent(self.there, self.boots[0], 1)[0]
        reading = Task(self.here.read, ROOM, position, PATIENCE)
        while not self.here._came._waiters:  # type: ignore[attr-defined]
            self.assertFalse(reading.done)
        sent(self.here, self.boots[0], 1)
        self.assertEqual((reading.result().recovered, reading.result().entries), (True, ()))

    def test_an_end(self) -> None:
        """After a goodbye nothing is missing; without, what has reached others may, unless they say that it is all."""
        for goodbye in (True, False):
            with self.subTest(goodbye=goodbye):
                self.setUp()
                self.meet()
                third = os.urandom(8)
                for archive in (self.here, self.there):
                    archive.present(third)
                    archive.present(self.boots[0])
                    archive.present(self.boots[1])
                position = self.both(third, 1)[0]
                self.here.gone(third, goodbye=goodbye)
                self.assertIs(self.here.read(ROOM, position, 0).recovered, goodbye)
                self.there.gone(third, goodbye=goodbye)
                position = self.there.read(ROOM, None, 0).position
                self.assertTrue(self.here.read(ROOM, position, 0).recovered)

    def test_three_that_begin_at_once(self) -> None:
        """One that began before another heard everything may have spoken before it knew of that one: a position of a
        third one is good there once it names it, or where it began later."""
        for way in ("present", "met"):
            with self.subTest(way):
                speaker, boot = os.urandom(8), os.urandom(8)
                reader, third = (MemoryArchive(History()) for _ in range(2))
                reader.begin(boot)
                third.begin(os.urandom(8))
                third.present(boot)
                position = third.read(ROOM, None, 0).position
                getattr(reader, way)(os.urandom(8), reader.began + 3_600_000_000)
                self.assertTrue(reader.read(ROOM, position, 0).recovered)
                getattr(reader, way)(speaker, reader.began)
                third.append(ROOM, speaker, 1, b"first", begins=True)  # which never reaches the reader
                self.assertFalse(reader.read(ROOM, position, 0).recovered)

    def test_who_beats_is_named_at_once(self) -> None:
        """What it said before has come; the mark says that it may not hear everything."""
        speaker, boot = os.urandom(8), os.urandom(8)
        reader, third = (MemoryArchive(History()) for _ in range(2))
        reader.begin(boot)
        third.begin(os.urandom(8))
        third.present(boot)
        third.present(speaker, third.began)  # before the first beat of the reader since
        reader.present(speaker, reader.began)
        self.assertTrue(reader.read(ROOM, third.read(ROOM, None, 0).position, 0).recovered)

    def test_named_once_the_others_have_beaten(self) -> None:
        """A process that is new is named once what others published before it came has come."""
        third = os.urandom(8)
        self.there.present(third)
        self.there.present(self.boots[0])
        self.here.present(self.boots[1])
        self.assertFalse(self.here.read(ROOM, self.there.read(ROOM, None, 0).position, 0).recovered)
        self.there.present(third)
        self.assertTrue(self.here.read(ROOM, self.there.read(ROOM, None, 0).position, 0).recovered)


if __name__ == "__main__":
    unittest.main()
