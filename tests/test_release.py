"""What a release needs: version, tag and changelog that fit, a registry's page, lower bounds, licences, templates."""

from __future__ import annotations

import contextlib
import datetime
import importlib.metadata as metadata
import importlib.util
import io
import re
import sys
import unittest
from pathlib import Path
from types import ModuleType
from typing import Any
from unittest import mock

from .partners import need

ROOT = Path(__file__).resolve().parent.parent
FORMS = sorted((ROOT / ".github" / "ISSUE_TEMPLATE").glob("*.yml"))

#: Licences of what users install, as their own metadata tells them: those that ask for nothing but to be kept.
PERMISSIVE = re.compile(r"\b(Apache|BSD|MIT|ISC|PSF|Python Software Foundation|Repoze|ZPL|Zope|0BSD)\b", re.IGNORECASE)

#: What tells no licence in its metadata that a program could read.
LICENCES = {"flask-sock": "MIT"}

#: What only the project's own tests, tools and pages use.
NOT_FOR_USERS = {"test", "hosts", "bench", "docs", "dev"}


def load(path: str) -> ModuleType:
    """A program of the project as a module."""
    spec = importlib.util.spec_from_file_location(Path(path).stem, ROOT / path)
    assert spec is not None and spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


class VersionTests(unittest.TestCase):
    """.ci/check_release.py: version, tag and changelog."""

    def setUp(self) -> None:
        self.faults = load(".ci/check_release.py").faults

    def check(self, version: str, headings: list[str], tag: str | None, *told: str) -> None:
        changelog = "# Changes\n\n" + "".join(f"## {heading}\n\n* Something.\n\n" for heading in headings)
        found = self.faults(version, changelog, tag, datetime.date(2026, 6, 1))
        self.assertEqual(len(found), len(told), found)
        for fault, words in zip(found, told, strict=True):
            self.assertIn(words, fault)

    def test_this_checkout(self) -> None:
        """Version and changelog of this checkout fit, and no tag of another version does."""
        for arguments, status, told in ([], 0, r"^\d+\.\d+\.\d+\w*\n$"), (["v999.0.0"], 1, "the tag is v999.0.0, and"):
            with contextlib.redirect_stdout(io.StringIO()) as said:
                self.assertEqual(load(".ci/check_release.py").main(arguments), status, said.getvalue())
            self.assertRegex(said.getvalue(), told)

    def test_what_fits(self) -> None:
        """Between releases the newest section is unreleased; a release has a date; a candidate may have none."""
        old = ["1.2.2 (2026-01-31)", "1.1.0 (2025-12-01)"]
        self.check("1.2.3", ["1.2.3 (unreleased)", *old], None)
        self.check("1.2.3", ["1.2.3 (2026-05-31)", *old], "v1.2.3")
        self.check("1.2.3", ["1.2.3 (2026-05-31)", *old], None)
        self.check("1.2.3rc1", ["1.2.3 (unreleased)", *old], "v1.2.3rc1")

    def test_what_does_not(self) -> None:
        """Each fault is told in a sentence that says what to write."""
        dated, unreleased = ["1.2.3 (2026-05-31)"], ["1.2.3 (unreleased)"]
        self.check("1.2.3", dated, "v1.2.4", "the tag is v1.2.4, and __version__ wants v1.2.3")
        self.check("1.2.3", dated, "1.2.3", "wants v1.2.3")
        self.check("1.2.3", unreleased, "v1.2.3", "write the date of the release there")
        self.check("1.2.4", dated, None, "the newest section of CHANGELOG.md is 1.2.3")
        self.check("1.2", ["1.2.0 (unreleased)"], None, "to be like 1.2.3", "the newest section")
        self.check("1.2.3", [*dated, "1.2.2 (unreleased)"], None, "only the newest section may be")
        self.check("1.2.3", ["1.2.3 (2026-06-02)"], None, "which is no day until today")
        self.check("1.2.3", ["1.2.3 (2026-02-30)"], None, "which is no day until today")
        self.check("1.2.3", ["1.2.3 (2026-01-01)", "1.10.0 (2025-01-01)"], None, "not in order")
        self.check("1.2.3", ["1.2.3"], None, 'has the heading "1.2.3"', "no section")


class RegistryPageTests(unittest.TestCase):
    """setup.py: README as a registry shows it."""

    def setUp(self) -> None:
        builder = ModuleType("setuptools")  # which is not everywhere where tests run
        builder.setup = builder.Extension = None  # type: ignore[attr-defined]
        with mock.patch.dict(sys.modules, {"setuptools": builder}):
            self.setup = load("setup.py")

    def check(self, text: str, source: str, expected: str) -> None:
        self.assertEqual(self.setup.for_a_registry(text, source), expected)

    def test_links(self) -> None:
        """With an address of the repository relative links and pictures lead there; others stay as they are."""
        source = "https://forge.example/owner/syncws"
        self.check("[guide](docs/guide.md#a)", source, f"[guide]({source}/blob/main/docs/guide.md#a)")
        self.check("![look](docs/a.svg)", source, f"![look]({source}/raw/main/docs/a.svg)")
        for text in ("[h11](https://h11.example/)", "[below](#below)", "[mail](mailto:a@b.example)", "a[0](x y)"):
            self.check(text, source, text)
        picture = f"![look]({source}/raw/main/docs/a.svg)"
        self.check("[![look](docs/a.svg)](docs/a.md)", source, f"[{picture}]({source}/blob/main/docs/a.md)")

    def test_without_an_address(self) -> None:
        """Without one, relative links are plain words, and pictures are left out: nothing leads nowhere."""
        self.check("see the [guide](docs/guide.md), [`x`](x.md)", "", "see the guide, `x`")
        self.check("![look](docs/a.svg)[h11](https://h11.example/)", "", "[h11](https://h11.example/)")

    def test_code(self) -> None:
        """A block of code stays as it is."""
        text = "[a](b.md)\n```python\nx = y[0](z)\n```\n[a](b.md)"
        self.check(text, "", "a\n```python\nx = y[0](z)\n```\na")

    def test_readme(self) -> None:
        """No link of the page leads into the project's own folders."""
        page = self.setup.for_a_registry((ROOT / "README.md").read_text(), "")
        self.assertIn("wsproto](https://", page)
        self.assertNotRegex(page, r"\]\((?!https?:|#)")

    def test_address(self) -> None:
        """The address is the project URL "Source" of setup.cfg, as it is for the site."""
        settings = "[metadata]\nproject_urls =\n    Changes = https://x.example/c\n    Source = https://x.example/s/\n"
        self.assertEqual(self.setup.source_address(settings), "https://x.example/s")
        self.assertEqual(self.setup.source_address("[metadata]\nname = a\n"), "")


class LowerBoundTests(unittest.TestCase):
    """.ci/oldest.py: what `.ci/run oldest` pins."""

    def test_every_requirement_has_one(self) -> None:
        """What users install has a lower bound, which a run can pin."""
        found = load(".ci/oldest.py").requirements((ROOT / "setup.cfg").read_text())
        self.assertEqual([name for name, _ in found[""]], ["wsproto", "h11"])
        self.assertLessEqual({"redis", "cli", "prometheus", "opentelemetry", "pytest", "flask", "django"}, found.keys())

    def test_what_a_bound_is(self) -> None:
        """A requirement without a lower bound is an error that shows it."""
        oldest = load(".ci/oldest.py")
        settings = "[options]\ninstall_requires =\n    a-b[c,d]>=1.2,<2\n"
        settings += "[options.extras_require]\ne =\n    f{}\ntest =\n    g\n"
        self.assertEqual(oldest.requirements(settings.format(">=3")), {"": [("a-b", "1.2")], "e": [("f", "3")]})
        with self.assertRaisesRegex(ValueError, "'f<3', which has no lower bound"):
            oldest.requirements(settings.format("<3"))


class LicenceTests(unittest.TestCase):
    """What users install with syncws asks for nothing but to keep its licence."""

    def test_licences(self) -> None:
        """The licence of each dependency of each extra, and of what those need, is known and permissive."""
        need(importlib.util.find_spec("django") is not None, "the extras are not installed")
        named = {_normal(each) for line in _requirements() for each in re.findall(r"^[\w.-]+", line)}
        self.assertLessEqual({"wsproto", "h11", "django", "rich"}, named)
        for name in sorted(_with_needs(named)):
            with self.subTest(name):
                self.assertRegex(_licence(name), PERMISSIVE)

    def test_ours(self) -> None:
        """The licence of syncws is named in its settings and in CITATION as LICENSE has it, and so are its authors."""
        text = (ROOT / "LICENSE").read_text()
        self.assertTrue(text.startswith("BSD 3-Clause License"))
        self.assertIn("license_expression = BSD-3-Clause\n", (ROOT / "setup.cfg").read_text())
        citation = (ROOT / "CITATION.cff").read_text()
        self.assertIn("\nlicense: BSD-3-Clause\n", citation)
        authors = re.search(r"Copyright \(c\) \d+, (.*)", text)
        assert authors is not None
        self.assertIn(f"\n  - name: {authors[1]}\n", citation)


def _requirements() -> list[str]:
    """The requirements of syncws and of those of its extras that are for users."""
    found = metadata.requires("syncws") or []
    return [line for line in found if not any(f'extra == "{name}"' in line for name in NOT_FOR_USERS)]


def _normal(name: str) -> str:
    return re.sub(r"[-_.]+", "-", name).lower()


def _with_needs(names: set[str]) -> set[str]:
    """The packages of these names that are installed, and what they need without extras of their own."""
    found: set[str] = set()
    waiting = set(names)
    while waiting:
        name = waiting.pop()
        try:
            lines = metadata.requires(name) or []
        except metadata.PackageNotFoundError:
            continue  # for another system, or another version of Python
        found.add(name)
        needed = {_normal(re.match(r"[\w.-]+", line)[0]) for line in lines if "extra ==" not in line}  # type: ignore[index]
        waiting |= needed - found
    return found


def _licence(name: str) -> str:
    """What the metadata of a package says of its licence: an expression, classifiers, the first line of a text."""
    about: Any = metadata.metadata(name)
    classifiers = [each for each in about.get_all("Classifier") or () if each.startswith("License ::")]
    text = (about.get("License") or "").strip().partition("\n")[0]
    return "; ".join(filter(None, [about.get("License-Expression"), *classifiers, text, LICENCES.get(name)]))


class CommunityTests(unittest.TestCase):
    """The files that a platform shows to whoever wants to report or to change something."""

    def yaml(self, path: Path) -> Any:
        """A file of YAML."""
        need(importlib.util.find_spec("yaml") is not None, "PyYAML is not installed")
        import yaml

        return yaml.safe_load(path.read_text())

    def test_citation(self) -> None:
        """CITATION.cff has what its format demands, and no version: that is written once."""
        citation = self.yaml(ROOT / "CITATION.cff")
        self.assertLessEqual({"cff-version", "message", "title", "authors", "license"}, citation.keys())
        self.assertEqual((citation["cff-version"], citation["type"]), ("1.2.0", "software"))
        self.assertNotIn("version", citation)

    def test_forms(self) -> None:
        """Each form for an issue has a name, a description, and fields with an id and a label of their own."""
        self.assertIn(ROOT / ".github" / "ISSUE_TEMPLATE" / "bug.yml", FORMS)
        for path in FORMS:
            if path.name == "config.yml":
                continue
            with self.subTest(path.name):
                form = self.yaml(path)
                self.assertLessEqual({"name", "description", "body"}, form.keys())
                fields = [field for field in form["body"] if field["type"] != "markdown"]
                ids = [field["id"] for field in fields]
                self.assertEqual(len(ids), len(set(ids)))
                for field in fields:
                    self.assertIn(field["type"], ("input", "textarea", "dropdown", "checkboxes"))
                    self.assertTrue(field["attributes"]["label"])

    def test_named_files_are_there(self) -> None:
        """A file that a form or a template names is there."""
        for path in [*FORMS, ROOT / ".github" / "PULL_REQUEST_TEMPLATE.md", ROOT / "CODE_OF_CONDUCT.md"]:
            for name in re.findall(r"\b(?:docs/)?[\w-]+\.md\b", path.read_text()):
                self.assertTrue((ROOT / name).exists(), f"{path.name}: {name}")

    def test_workflows_are_yaml(self) -> None:
        """The workflows, and what keeps their actions new, can be read."""
        for path in [*(ROOT / ".github" / "workflows").glob("*.yml"), ROOT / ".github" / "dependabot.yml"]:
            self.assertTrue(self.yaml(path))


if __name__ == "__main__":
    unittest.main()
