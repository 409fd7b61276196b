"""A Manager in three processes keeps its promises, in every course that the machine of `cluster` thinks of."""

from __future__ import annotations

from syncws import Manager
from syncws._relay.gaps import Gaps
from syncws._relay.nodes import Nodes
from syncws._relay.numbers import Came, Incoming
from syncws._rooms.here import MembersHere
from syncws._rooms.registry import Registry
from syncws.testing import LeakChecks
from tests.partners import heavy

from .cluster import Cluster
from .course import Fault, count, finds, go, instead, leave_no_folder, never


def setUpModule() -> None:
    leave_no_folder()


class ClusterTests(LeakChecks):
    """Three managers, and a bus with every fault that one may have."""

    def test_every_message_is_accounted_for(self) -> None:
        """At most once, in order, and what does not come is in a gap; the processes agree on who is there."""
        go(Cluster, count(3, 10))


@heavy
class BrokenTests(LeakChecks):
    """Each of these breakages of the library is found within two hundred courses, most in the first few."""

    def assert_found(self, fault: Fault) -> None:
        self.assertTrue(finds(Cluster, fault, 200))

    def test_copies(self) -> None:
        """It is found if copies are taken."""
        self.assert_found(
            instead(Incoming, "came", lambda came, *said: came(*said) if came(*said).missed else Came(True, 0))
        )

    def test_losses(self) -> None:
        """It is found if a loss is not told."""
        self.assert_found(instead(Gaps, "report", never))

    def test_late_gaps(self) -> None:
        """It is found if a gap begins too late."""
        self.assert_found(instead(Incoming, "since", lambda since, *of: None))

    def test_processes_that_are_gone(self) -> None:
        """It is found if a process that is gone stays."""
        self.assert_found(instead(Nodes, "leave", lambda leave, *of: None))

    def test_rooms(self) -> None:
        """It is found if who left a room gets its messages."""
        self.assert_found(instead(Registry, "leave", lambda leave, self, id, room: room in self.rooms(id)))

    def test_broadcasts(self) -> None:
        """It is found if a broadcast reaches somebody twice."""
        self.assert_found(instead(Manager, "_post", lambda post, self, to, what: post(self, to + to, what)))

    def test_closes(self) -> None:
        """It is found if a member elsewhere is not closed."""
        self.assert_found(instead(MembersHere, "close", lambda close, *of: 0))
