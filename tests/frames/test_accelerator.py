"""accelerator.py: which of two twins is used, and that nothing else depends on it."""

from __future__ import annotations

import os
import subprocess
import sys
import unittest
from pathlib import Path

from tests.frames.twins import the_accelerator

SOURCE = Path(__file__).parents[2] / "syncws" / "_frames" / "fast.c"

#: What a program begins with that finds no module in C.
HIDDEN = """
import sys
sys.modules["syncws._frames._fast"] = None
"""

#: One that finds a module with nothing but `mask`, as an older or another build may be.
PARTLY = """
import sys, types
sys.modules["syncws._frames._fast"] = fast = types.ModuleType("_fast")
fast.mask = lambda data, key, offset=0, *, imports=True: b"fast"
"""

#: One that finds a module which was built for a Python of another kind.
FOREIGN = """
import importlib
found = importlib.import_module
def import_module(name, package=None):
    if name.endswith("._fast"):
        raise SystemError("init function of _fast returned uninitialized object")
    return found(name, package)
importlib.import_module = import_module
"""

TOLD = """
import syncws
from syncws._frames import accelerator, frame, masking
from syncws._frames.protocol import Protocol, PureProtocol
pairs = [(accelerator.encode, frame.encode), *((getattr(accelerator, name), getattr(masking, name)) for name in
         ("mask", "mask_into", "unmask"))]
print(accelerator.accelerated, *(one is other for one, other in pairs))
print(*(getattr(accelerator, name) is None for name in ("decode", "only", "receive", "send")))
print(Protocol.next_event is PureProtocol.next_event, Protocol.only is PureProtocol.only)
"""


class ChoiceTests(unittest.TestCase):
    """A process decides when it imports syncws."""

    def told(self, program, **environment):
        """What a process says of its choice."""
        variables = {name: value for name, value in os.environ.items() if name != "SYNCWS_ACCELERATED"} | environment
        run = subprocess.run(
            [sys.executable, "-W", "error", "-c", program + TOLD],
            env=variables,
            text=True,
            capture_output=True,
            timeout=60,
        )
        self.assertEqual((run.returncode, run.stderr), (0, ""))
        return run.stdout.split()

    def test_there(self):
        """Where it was built it is used, for everything."""
        sockets = str(not hasattr(the_accelerator(), "receive"))
        self.assertEqual(self.told(""), ["True", *["False"] * 4, "False", "False", sockets, sockets, "False", "False"])

    def test_turned_off(self):
        """SYNCWS_ACCELERATED=0 turns all of it off; any other value turns off nothing."""
        the_accelerator()
        self.assertEqual(self.told("", SYNCWS_ACCELERATED="0"), ["False", *["True"] * 10])
        self.assertEqual(self.told("", SYNCWS_ACCELERATED="1")[0], "True")

    def test_missing(self):
        """Where it was not built, syncws says nothing and works."""
        self.assertEqual(self.told(HIDDEN), ["False", *["True"] * 10])

    def test_foreign(self):
        """Nor where it was built for a Python without the GIL, and this one has it, or the other way round."""
        self.assertEqual(self.told(FOREIGN), ["False", *["True"] * 10])

    def test_none_is_given_with_a_reference(self):
        """What headers of 3.12 and later build runs on 3.11 too, where None is not immortal: no macro takes it so."""
        self.assertNotRegex(SOURCE.read_text(), r"Py_RETURN_(NONE|TRUE|FALSE)\s*;")

    def test_partly_there(self):
        """What it lacks is done by the twin."""
        self.assertEqual(self.told(PARTLY), ["True", "True", "False", *["True"] * 8])


if __name__ == "__main__":
    unittest.main()
