"""extras.py: who imports a part of syncws without its package is told what to install."""

from __future__ import annotations

import configparser
import subprocess
import sys
import unittest
from pathlib import Path

from syncws._base.extras import needs

EXTRAS = ("flask", "django", "bottle", "falcon", "pyramid")


class ExtrasTests(unittest.TestCase):
    def test_glue_without_its_framework(self) -> None:
        """`import syncws.flask` without Flask names the extra that brings it; so does the glue of any other."""
        for name in EXTRAS:
            program = f"""
import sys
sys.modules[{name!r}] = None  # as if it were not installed
try:
    import syncws.{name}
except ModuleNotFoundError as error:
    print(error.name, error)
"""
            done = subprocess.run(
                [sys.executable, "-c", program], capture_output=True, text=True, timeout=60, check=True
            )
            with self.subTest(name):
                self.assertIn(f"{name} this part of syncws needs {name}, ", done.stdout)
                self.assertIn(f'pip install "syncws[{name}]"', done.stdout)

    def test_the_extras_exist(self) -> None:
        """Each extra that a text names can be installed."""
        config = configparser.ConfigParser()
        config.read(Path(__file__).parent.parent.parent / "setup.cfg")
        for name in EXTRAS:
            self.assertIn(name, config["options.extras_require"])

    def test_another_package(self) -> None:
        """The lack of another package, such as one that the framework needs, is told as it is."""
        with self.assertRaisesRegex(ModuleNotFoundError, "^No module named 'gone'$"), needs("flask", "flask"):
            raise ModuleNotFoundError("No module named 'gone'", name="gone")

    def test_what_is_there(self) -> None:
        """Nothing is said of a package that is there."""
        with needs("json", "json"):
            import json
        self.assertEqual(json.loads("1"), 1)


if __name__ == "__main__":
    unittest.main()
