"""A member: what it knows, its states, and who calls its on_close."""

from __future__ import annotations

import unittest
from unittest import mock

from syncws import Manager

from .support import ManagerCase


class MemberTests(ManagerCase):
    """What a member knows, and says of itself."""

    def test_what_a_member_knows(self) -> None:
        """When it came, when it was last heard, and whatever the application wants to keep with it."""
        manager = Manager(**self.log.options())
        with mock.patch("time.time", return_value=1000.0):
            task, client = self.start(manager, "ann", ["lobby"])
            self.wait(self.log.opened)
        member = manager.get("ann")
        assert member is not None
        self.assertEqual((member.opened_at, member.last_seen, member.data), (1000.0, 1000.0, {}))
        member.data["color"] = "red"
        with mock.patch("time.time", return_value=1005.0):
            client.send("hello")
            self.wait(self.log.heard)
        self.assertEqual((member.opened_at, member.last_seen), (1000.0, 1005.0))
        self.assertRegex(repr(member), "^<syncws.Member 'ann' open <syncws.Conn server .* open>>$")
        client.close()
        task.result()


if __name__ == "__main__":
    unittest.main()
