"""Which ends are normal, and what is said of them."""

from __future__ import annotations

import unittest

from syncws import CloseError, ProtocolError, ReadLimitError
from syncws._cli.connect.endings import ABNORMAL, NORMAL, is_normal, say_end, status_of


class EndingTests(unittest.TestCase):
    def test_a_peer_that_closes_first(self) -> None:
        """Its code says whether all is well: 1000, 1001 and none."""
        for code, normal in ((1000, True), (1001, True), (1005, True), (1006, False), (1011, False), (4000, False)):
            end = CloseError(code, "", [("received", code, ""), ("sent", code, "")])
            self.assertEqual((is_normal(end), status_of(end)), (normal, NORMAL if normal else ABNORMAL))

    def test_a_close_of_ours(self) -> None:
        """Whatever code it has, it is normal if the peer answers it; not if the peer vanishes."""
        self.assertTrue(is_normal(CloseError(4000, "", [("sent", 4000, ""), ("received", 4000, "")])))
        self.assertFalse(is_normal(CloseError(1006, "", [("sent", 1000, "")])))

    def test_a_breach(self) -> None:
        """A peer that breaks the protocol is no normal end; a message that is too large names the option."""
        self.assertFalse(is_normal(ProtocolError(1002, "no")))
        self.assertEqual(status_of(ReadLimitError("5 bytes")), ABNORMAL)
        self.assertIn("--max-size", say_end(ReadLimitError("5 bytes")))

    def test_one_line(self) -> None:
        """What a peer wrote is escaped."""
        self.assertEqual(say_end(CloseError(4000, "\x1b[2J\n")), "4000: \\x1b[2J\\n")


if __name__ == "__main__":
    unittest.main()
