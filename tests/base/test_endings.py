"""What is said before a process ends."""

from __future__ import annotations

import gc
import subprocess
import sys
import unittest

from syncws._base import endings


class EndingTests(unittest.TestCase):
    def test_at_the_end_of_a_program(self) -> None:
        """Who is known is called at the end of the program; who is gone by then is not kept for it."""
        code = """
from syncws._base.endings import end_with_process
class Member:
    def __init__(self, name): self.name = name; end_with_process(self)
    def end_with_process(self): print(self.name)
kept, gone = Member("kept"), Member("gone")
del gone
"""
        ran = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
        self.assertEqual((ran.stdout, ran.stderr), ("kept\n", ""))

    def test_by_hand(self) -> None:
        """A process that ends by os._exit calls them itself."""
        told: list[str] = []

        class Member:
            def end_with_process(self) -> None:
                told.append("told")

        member = Member()
        endings.end_with_process(member)
        endings.end_all()
        del member
        gc.collect()
        endings.end_all()
        self.assertEqual(told, ["told"])


if __name__ == "__main__":
    unittest.main()
