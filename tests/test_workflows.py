"""The workflow runs the code that was looked at: actions by their commit, no right to write, no token left behind."""

from __future__ import annotations

import re
import unittest
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
WORKFLOWS = sorted((ROOT / ".github" / "workflows").glob("*.y*ml"))

_PINNED = re.compile(r"[\w.-]+/[\w./-]+@[0-9a-f]{40} # v\d+\.\d+\.\d+")


class WorkflowTests(unittest.TestCase):
    def test_actions_are_pinned(self) -> None:
        """An action is named by a commit of 40 hexadecimal digits, its version in a comment: a tag can be moved."""
        for workflow in WORKFLOWS:
            used = re.findall(r"^\s*-?\s*uses:\s*(.*)$", workflow.read_text(), re.MULTILINE)
            self.assertTrue(used)
            for action in used:
                with self.subTest(f"{workflow.name}: {action}"):
                    self.assertRegex(action, _PINNED)

    def test_one_version_of_each_action(self) -> None:
        """An action has the same commit wherever it is used, so that none is forgotten when it is renewed."""
        commits: dict[str, set[str]] = {}
        for workflow in WORKFLOWS:
            for action, commit in re.findall(r"uses:\s*([\w./-]+)@(.*)$", workflow.read_text(), re.MULTILINE):
                commits.setdefault(action, set()).add(commit)
        for action, found in commits.items():
            with self.subTest(action):
                self.assertEqual(len(found), 1, found)

    def test_a_job_may_only_read(self) -> None:
        """A workflow has the right to read the repository, no job asks for more except the one that publishes, and none
        is run for a stranger with the rights of the repository."""
        for workflow in WORKFLOWS:
            with self.subTest(workflow.name):
                text = workflow.read_text()
                granted = re.findall(r"^( *)permissions:(.*)\n((?:\1 +.*\n)*)", text, re.MULTILINE)
                expected = [("", "", "  contents: read\n")]
                if workflow.name == "release.yml":
                    rights = ("contents: read", "id-token: write", "attestations: write")
                    expected.append((" " * 4, "", "".join(f"{' ' * 6}{right}\n" for right in rights)))
                self.assertEqual(granted, expected)
                self.assertNotIn("pull_request_target", text)
                self.assertNotIn("secrets.", text)

    def test_no_token_stays(self) -> None:
        """A checkout leaves no token in .git/config, where what a job runs would find it."""
        for workflow in WORKFLOWS:
            text = workflow.read_text()
            for checkout in re.finditer(r"^( *)- uses: actions/checkout@.*\n((?:\1  .*\n)*)", text, re.MULTILINE):
                with self.subTest(f"{workflow.name}, line {text.count(chr(10), 0, checkout.start()) + 1}"):
                    self.assertIn("persist-credentials: false", checkout[2])
            self.assertEqual(text.count("actions/checkout@"), text.count("persist-credentials: false"))

    def test_who_publishes(self) -> None:
        """A release is published by one job, for a tag only, in an environment that a maintainer can guard; it runs
        nothing but actions, on what the job before it has built and tried."""
        text = (ROOT / ".github" / "workflows" / "release.yml").read_text()
        self.assertIn('on:\n  push:\n    tags: ["v*"]\n', text)
        build, wheels, publish = re.findall(
            r"^  \w+:\n((?:    .*\n|\n)+)", text.partition("\njobs:\n")[2], re.MULTILINE
        )
        self.assertIn("run: .ci/run package", build)
        self.assertIn("RELEASE_TAG: ${{ github.ref_name }}", build)
        self.assertNotIn("write", build + wheels)
        self.assertRegex(wheels, r"run: python -m pip install cibuildwheel==[\d.]+\n")
        self.assertIn("    needs: [build, wheels]\n", publish)
        self.assertIn("    environment: pypi\n", publish)
        self.assertNotIn("run:", publish)
        self.assertNotIn("checkout", publish)
        steps = ["actions/download-artifact", "actions/attest-build-provenance", "pypa/gh-action-pypi-publish"]
        self.assertEqual(re.findall(r"uses: ([\w./-]+)@", publish), steps)

    def test_there_is_a_workflow(self) -> None:
        """The workflows are where these tests look for them."""
        self.assertTrue(WORKFLOWS)


if __name__ == "__main__":
    unittest.main()
