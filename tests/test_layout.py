"""The layout of the project: who may import whom, which tests must exist, what is written once or never."""

from __future__ import annotations

import ast
import re
import subprocess
import sys
import sysconfig
import unittest
from collections.abc import Iterator
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
PACKAGE = ROOT / "syncws"
TESTS = ROOT / "tests"

# A module imports only modules of lower levels, for type checking too. Some of these are yet to be written.
LEVELS = {
    "errors": 0,
    "masking": 0,
    "version": 0,
    "deflate": 1,
    "drain": 1,
    "headers": 1,
    "keepalive": 1,
    "listener": 1,
    "options": 1,
    "streams": 1,
    "transport": 1,
    "url": 1,
    "connector": 2,
    "foreign": 2,
    "heartbeat": 2,
    "http11": 2,
    "protocol": 2,
    "takers": 2,
    "workers": 2,
    "detach": 3,
    "gateway": 3,
    "handshake": 3,
    "httpclient": 3,
    "prepared": 3,
    "wire": 3,
    "wsgiresponse": 3,
    "ending": 4,
    "proxy": 4,
    "inbound": 5,
    "outbound": 5,
    "conn": 6,
    "dialer": 7,
    "hosted": 7,
    "outcome": 7,
    "manager": 8,
    "reconnector": 8,
    "view": 8,
    "upgrader": 9,
    "server": 10,
    "wsgi": 10,
    "backplane": 11,
    "bottle": 11,
    "django": 11,
    "falcon": 11,
    "flask": 11,
    "pyramid": 11,
    "testing": 11,
    "__init__": 12,
    "__main__": 13,
    "cli": 12,
}

# The only packages from outside, and who may import them.
THIRD_PARTY = {
    "backplane": {"redis"},
    "bottle": {"bottle"},
    "deflate": {"wsproto"},
    "django": {"django"},
    "falcon": {"falcon"},
    "flask": {"flask", "werkzeug"},
    "http11": {"h11"},
    "httpclient": {"h11"},
    "masking": {"numpy"},
    "protocol": {"wsproto"},
    "proxy": {"python_socks"},
    "pyramid": {"pyramid"},
}

# Nothing in these has behaviour of its own.
UNTESTED = {"__init__", "version"}

# What is searched for words: text of ours, by the end of its name.
TEXT = {".py", ".md", ".cfg", ".toml", ".css", ".html", ".js", ".yml", ".txt", ""}


def modules() -> list[Path]:
    """The modules of the package."""
    return sorted(PACKAGE.glob("*.py"))


def our_files() -> Iterator[Path]:
    """Every text file of the project; not what tools and builds leave behind."""
    for path in sorted(ROOT.rglob("*")):
        parts = path.relative_to(ROOT).parts
        generated = any(part.endswith((".egg-info", "__pycache__")) or part in _GENERATED for part in parts)
        hidden = any(part.startswith(".") and part not in (".ci", ".gitignore") for part in parts)
        if path.is_file() and path.suffix in TEXT and not generated and not hidden:
            yield path


_GENERATED = {"build", "dist", "gunicorn23", "node_modules", "package-lock.json"}


def imports(path: Path) -> tuple[set[str], set[str]]:
    """(modules of the package, other top-level packages) that a module imports, at any place in it."""
    own, other = set(), set()
    for node in ast.walk(ast.parse(path.read_text())):
        match node:
            case ast.Import():
                other |= {alias.name.partition(".")[0] for alias in node.names}
            case ast.ImportFrom(level=0):
                other.add(str(node.module).partition(".")[0])
            case ast.ImportFrom(module=None):
                own |= {alias.name for alias in node.names}
            case ast.ImportFrom():
                own.add(str(node.module))
            case ast.Call(func=ast.Attribute(attr="import_module"), args=[ast.Constant(value=str(name)), *_]):
                other.add(name.partition(".")[0])
    return own, other


class TestImports(unittest.TestCase):
    """The table of levels is the architecture; this holds the code to it."""

    def test_every_module_has_a_level(self) -> None:
        """A new module is put into the table first."""
        self.assertEqual({path.stem for path in modules()} - LEVELS.keys(), set())

    def test_only_lower_levels_are_imported(self) -> None:
        """Imports go down, never up or sideways, under TYPE_CHECKING and inside functions too."""
        for path in modules():
            own, _ = imports(path)
            for imported in own:
                with self.subTest(f"{path.stem} imports {imported}"):
                    self.assertIn(imported, LEVELS)
                    self.assertLess(LEVELS[imported], LEVELS[path.stem])

    def test_the_package_does_not_import_itself_by_name(self) -> None:
        """Relative imports only: an absolute one would hide from this test."""
        for path in modules():
            self.assertNotIn("syncws", imports(path)[1], path.stem)

    def test_third_parties(self) -> None:
        """Apart from the standard library a module imports only the package that it wraps."""
        for path in modules():
            foreign = imports(path)[1] - sys.stdlib_module_names - {"syncws"}
            with self.subTest(path.stem):
                self.assertLessEqual(foreign, THIRD_PARTY.get(path.stem, set()))

    @unittest.skipUnless(sysconfig.get_config_var("Py_GIL_DISABLED"), "this Python has a GIL")
    def test_no_import_enables_the_gil(self) -> None:
        """On a Python without the GIL it stays without: neither what is required nor numpy brings it back."""
        alone = {"h11", "numpy", "python_socks", "wsproto"}  # not the frameworks, of which each glue imports one
        names = [path.stem for path in modules() if THIRD_PARTY.get(path.stem, set()) <= alone]
        program = f"""
import importlib, sys
for module in {[f"syncws.{name}" for name in names if not name.startswith("__")]!r}:
    importlib.import_module(module)
importlib.import_module("syncws.masking").mask(bytes(4096), b"mask")  # imports numpy where it is installed
assert not sys._is_gil_enabled()
"""
        subprocess.run([sys.executable, "-W", "error", "-c", program], check=True, timeout=60)

    def test_what_is_counted_as_an_import(self) -> None:
        """The helper sees each way of importing; else the tests above would prove nothing."""
        own, other = imports(PACKAGE / "deflate.py")
        self.assertEqual((own, "wsproto" in other, "zlib" in other), (set(), True, True))
        self.assertIn("numpy", imports(PACKAGE / "masking.py")[1])
        self.assertLessEqual({"deflate", "handshake", "conn"}, imports(PACKAGE / "upgrader.py")[0])


class TestTests(unittest.TestCase):
    """Each module has its tests, and each test says what it is about."""

    def test_every_module_is_tested(self) -> None:
        """syncws/x.py is tested by tests/test_x.py, or by several files test_x_<aspect>.py."""
        for path in modules():
            if path.stem not in UNTESTED:
                with self.subTest(path.stem):
                    name = path.stem.strip("_")
                    found = [*TESTS.glob(f"test_{name}.py"), *TESTS.glob(f"test_{name}_*.py")]
                    self.assertNotEqual(found, [])

    def test_every_test_has_a_docstring(self) -> None:
        """The docstring is the specification: a sentence for each test."""
        for path in sorted(TESTS.rglob("test_*.py")):
            for node in ast.walk(ast.parse(path.read_text())):
                if isinstance(node, ast.FunctionDef) and node.name.startswith("test_"):
                    with self.subTest(f"{path.name}: {node.name}"):
                        self.assertTrue(ast.get_docstring(node))

    def test_every_module_and_test_file_says_what_it_is(self) -> None:
        """A file opens with what it is for."""
        for path in (*modules(), *sorted(TESTS.rglob("test_*.py"))):
            with self.subTest(path.name):
                self.assertTrue(ast.get_docstring(ast.parse(path.read_text())))


class TestWords(unittest.TestCase):
    """What is written once, and what nowhere."""

    def test_the_version_is_written_once(self) -> None:
        """In version.py; history, and what was measured with it, are allowed to tell it again."""
        version = re.search(r'__version__ = "([\d.]+\w*)"', (PACKAGE / "version.py").read_text())
        assert version is not None
        spelled = re.compile(rf"(?<![\d.]){re.escape(version[1])}(?![\d.]*\d)")
        found = [path.relative_to(ROOT).as_posix() for path in our_files() if spelled.search(path.read_text())]
        history = {"CHANGELOG.md", "docs/benchmarks.md", "docs/benchmarks.json"}
        self.assertEqual([name for name in found if name not in history], ["syncws/version.py"])

    def test_nothing_is_left_to_do(self) -> None:
        """Unfinished work stands in issues, not in files."""
        word = re.compile(r"\bTO" + r"DO\b")
        found = [str(path.relative_to(ROOT)) for path in our_files() if word.search(path.read_text())]
        self.assertEqual(found, [])

    def test_files_are_found(self) -> None:
        """The search covers code, tests, docs and settings, and nothing that was installed."""
        names = {path.relative_to(ROOT).as_posix() for path in our_files()}
        self.assertLessEqual({"syncws/conn.py", "tests/test_layout.py", "setup.cfg", "README.md", ".ci/run"}, names)
        self.assertFalse({name for name in names if "site-packages" in name or name.startswith(".git/")})


if __name__ == "__main__":
    unittest.main()
