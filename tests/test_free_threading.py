"""On a Python without the GIL it stays off, whatever of syncws and of what it requires is imported."""

from __future__ import annotations

import subprocess
import sys
import sysconfig
import unittest
from pathlib import Path

from tests.source import modules

ROOT = Path(__file__).resolve().parent.parent

#: Imports each module that is given, if what it needs is installed, and says whether the GIL is on.
_PROGRAM = """
import importlib, sys
for name in sys.argv[1:]:
    try:
        importlib.import_module(name)
    except ImportError:
        pass
print(sys._is_gil_enabled())
"""


@unittest.skipUnless(sysconfig.get_config_var("Py_GIL_DISABLED"), "this Python has the GIL")
class FreeThreadingTests(unittest.TestCase):
    def test_the_gil_stays_off(self) -> None:
        """An extension module that is not made for it would turn it on, for the whole process, with a warning."""
        names = [".".join(path.with_suffix("").parts) for path, _ in modules() if path.parts[0] == "syncws"]
        names = [name.removesuffix(".__init__") for name in names if not name.endswith("__main__")]
        told = subprocess.run(
            [sys.executable, "-W", "error", "-c", _PROGRAM, "wsproto", "h11", *names],
            cwd=ROOT,
            capture_output=True,
            text=True,
        )
        self.assertEqual((told.stdout, told.stderr), ("False\n", ""))


if __name__ == "__main__":
    unittest.main()
