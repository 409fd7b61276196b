"""Which tests guard which module: its own first, then its neighbours'."""

from __future__ import annotations

from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent.parent

#: The folders whose modules are changed.
FOLDERS = ("_frames", "_net", "_conn", "_rooms")

#: The folders of tests that use what a folder holds, nearest first.
_NEIGHBOURS = {
    "_frames": ("frames", "conn"),
    "_net": ("net", "conn"),
    "_conn": ("conn",),
    "_rooms": ("rooms",),
}

#: Further tests, of single modules.
_FURTHER = {
    "_net.connector": ("tests.client.test_hops",),
    "_net.listener": ("tests.server.test_server",),
}

#: Tests that take long, and come last.
_LAST = "tests.frames.test_differential"


def modules(root: Path = ROOT) -> dict[str, Path]:
    """The modules that are changed, by name: "_conn.wire"."""
    found = {}
    for folder in FOLDERS:
        for path in sorted((root / "syncws" / folder).glob("*.py")):
            if path.stem != "__init__":
                found[f"{folder}.{path.stem}"] = path
    return found


def guards(module: str, root: Path = ROOT) -> list[str]:
    """The names of the test modules that guard a module, its own first."""
    folder, _, noun = module.partition(".")
    neighbours = [
        f"tests.{place}.{path.stem}"
        for place in _NEIGHBOURS[folder]
        for path in sorted((root / "tests" / place).glob("test_*.py"))
    ]
    own = f"tests.{folder.strip('_')}.test_{noun}"
    found = [*neighbours, *_FURTHER.get(module, ())]
    found.sort(key=lambda name: (name == _LAST, name != own and not name.startswith(f"{own}_")))
    return found


def path_of(test_module: str, root: Path = ROOT) -> Path:
    """The file of a test module."""
    return root.joinpath(*test_module.split(".")).with_suffix(".py")
