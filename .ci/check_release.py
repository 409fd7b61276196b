"""Whether version, tag and changelog say the same. docs/releasing.md has the rules.

    python .ci/check_release.py            of a checkout: what a change must keep
    python .ci/check_release.py v1.2.3     of a release: the workflow runs it with the tag that was pushed

Prints what is wrong, a line each, and ends with 1; else the version, and 0.
"""

from __future__ import annotations

import datetime
import re
import sys
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent

#: A release, or a candidate for one (PEP 440, the part of it that is used here).
_VERSION = re.compile(r"\d+\.\d+\.\d+(?:rc\d+)?")
_HEADING = re.compile(r"^## (.*)$", re.MULTILINE)
_SECTION = re.compile(r"(\d+\.\d+\.\d+) \((unreleased|\d{4}-\d{2}-\d{2})\)")


def faults(version: str, changelog: str, tag: str | None, today: datetime.date) -> list[str]:
    """What is wrong, in sentences; empty if nothing is. tag: of a release, else None."""
    found = []
    if not _VERSION.fullmatch(version):
        found.append(f"__version__ is {version!r}, and is to be like 1.2.3 or 1.2.3rc1")
    sections = []
    for heading in _HEADING.findall(changelog):
        section = _SECTION.fullmatch(heading)
        if section is None:
            found.append(f'CHANGELOG.md has the heading "{heading}", and it is to be like "1.2.3 (2026-01-31)"')
        else:
            sections.append((section[1], section[2]))
    if not sections:
        return [*found, "CHANGELOG.md has no section of a version"]
    found += _faults_of_sections(sections, today)
    newest, date = sections[0]
    if newest != version.partition("rc")[0]:
        found.append(f"__version__ is {version}, and the newest section of CHANGELOG.md is {newest}")
    if tag is not None:
        if tag != f"v{version}":
            found.append(f"the tag is {tag}, and __version__ wants v{version}")
        if date == "unreleased" and "rc" not in version:
            found.append(f"CHANGELOG.md says that {newest} is unreleased: write the date of the release there")
    return found


def _faults_of_sections(sections: list[tuple[str, str]], today: datetime.date) -> list[str]:
    found = []
    for version, date in sections[1:]:
        if date == "unreleased":
            found.append(f"CHANGELOG.md says that {version} is unreleased, and only the newest section may be")
    for version, date in sections:
        if date != "unreleased" and not _is_past(date, today):
            found.append(f"CHANGELOG.md dates {version} {date}, which is no day until today")
    numbers = [tuple(map(int, version.split("."))) for version, _ in sections]
    if numbers != sorted(set(numbers), reverse=True):
        found.append("the versions of CHANGELOG.md are not in order, newest first, each once")
    return found


def _is_past(date: str, today: datetime.date) -> bool:
    try:
        return datetime.date.fromisoformat(date) <= today
    except ValueError:
        return False


def main(arguments: list[str]) -> int:
    text = (ROOT / "syncws" / "_base" / "version.py").read_text(encoding="utf-8")
    found = re.search(r'__version__ = "(.*)"', text)
    assert found is not None
    changelog = (ROOT / "CHANGELOG.md").read_text(encoding="utf-8")
    tag = arguments[0] if arguments else None
    # Where the writer lives it may be tomorrow already.
    today = datetime.datetime.now(datetime.UTC).date() + datetime.timedelta(days=1)
    wrong = faults(found[1], changelog, tag, today)
    print("\n".join(wrong) or f"{found[1]}{': to be released' if tag else ''}")
    return 1 if wrong else 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
