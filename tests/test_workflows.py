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
        """A workflow has the right to read the repository, no job asks for more, and none is run for a stranger with
        the rights of the repository."""
        for workflow in WORKFLOWS:
            with self.subTest(workflow.name):
                text = workflow.read_text()
                granted = re.findall(r"^( *)permissions:(.*)\n((?:\1 +.*\n)*)", text, re.MULTILINE)
                self.assertEqual(granted, [("", "", "  contents: read\n")])
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

    def test_there_is_a_workflow(self) -> None:
        """The workflows are where these tests look for them."""
        self.assertTrue(WORKFLOWS)


if __name__ == "__main__":
    unittest.main()
