"""Constraints for pip that pin every package to the lowest version that setup.cfg declares for it.

    python .ci/oldest.py >constraints.txt
    python .ci/oldest.py --extras         # the extras that they are of, for pip install '.[...]'

`.ci/run oldest` tests with them: a bound that is too low fails there. Extras of the project's own tools are left out:
those have the newest, or a version of their own.
"""

from __future__ import annotations

import configparser
import re
import sys
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent

#: What the project itself is tested, measured and built with; and numpy, of which no version is asked for.
TOOLS = {"test", "hosts", "bench", "docs", "dev", "fast"}

_REQUIREMENT = re.compile(r"([A-Za-z][\w.-]*)(?:\[[\w,]+\])?>=([\d.]+)(?:,<[\d.]+)?")


def requirements(settings: str) -> dict[str, list[tuple[str, str]]]:
    """(package, lowest version) of each requirement in the text of setup.cfg, by extra; "" is what is always required.

    Raises ValueError for a requirement that has no lower bound.
    """
    parser = configparser.ConfigParser(interpolation=None)
    parser.read_string(settings)
    lists = {"": parser["options"]["install_requires"]}
    lists |= {name: text for name, text in parser["options.extras_require"].items() if name not in TOOLS}
    return {name: [_lowest(line) for line in text.split("\n") if line] for name, text in lists.items()}


def _lowest(line: str) -> tuple[str, str]:
    found = _REQUIREMENT.fullmatch(line)
    if found is None:
        raise ValueError(f"setup.cfg requires {line!r}, which has no lower bound that a test could pin")
    return found[1], found[2]


def main(arguments: list[str]) -> int:
    found = requirements((ROOT / "setup.cfg").read_text(encoding="utf-8"))
    if arguments == ["--extras"]:
        print(",".join(name for name in found if name))
        return 0
    for pinned in found.values():
        for package, version in pinned:
            print(f"{package}=={version}")
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
