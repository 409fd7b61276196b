"""guards.py: the table of what guards what."""

from __future__ import annotations

import unittest

from .guards import guards, modules, path_of


class Guards(unittest.TestCase):
    """Which tests guard which module."""

    def test_every_module_is_guarded(self) -> None:
        """Each module of the four folders has tests of its own, which come first, and all that guard it exist."""
        self.assertIn("_conn.wire", modules())
        for module, path in modules().items():
            with self.subTest(module):
                self.assertTrue(path.is_file())
                found = guards(module)
                folder, noun = module.strip("_").split(".")
                self.assertTrue(found[0].startswith(f"tests.{folder}.test_{noun}"), found)
                self.assertEqual(len(found), len(set(found)))
                self.assertTrue(all(path_of(name).is_file() for name in found))

    def test_neighbours_come_after(self) -> None:
        """What a connection's tests find in the sockets below it counts too."""
        self.assertEqual(guards("_net.drain")[0], "tests.net.test_drain")
        self.assertIn("tests.conn.test_wire", guards("_net.drain"))
        self.assertNotIn("tests.net.test_drain", guards("_conn.wire"))
