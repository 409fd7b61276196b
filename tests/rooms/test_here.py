"""The members of this process, as the relay asks for them."""

from __future__ import annotations

import unittest

from syncws import Manager
from syncws._rooms.here import MembersHere

from .support import ManagerCase


class HereTests(ManagerCase):
    def test_the_members_here(self) -> None:
        """What the relay asks for: ids that the application gave, each once, and not those of connections."""
        manager = Manager(duplicate="many")
        for id in ("ann", "ann", None):
            self.join(manager, id, ["lobby"])
        here = MembersHere(manager._registry, manager._post, manager._close, manager._join_here)
        self.assertEqual((here.names(), here.count("lobby"), here.count(None)), (["ann"], 3, 3))
        self.assertEqual((len(here.ids("lobby")), here.rooms()), (2, {"lobby"}))


if __name__ == "__main__":
    unittest.main()
