"""gunicorn.conf.py beside an application: what its settings mean for WebSockets."""

from __future__ import annotations

import tempfile
import unittest
from pathlib import Path
from unittest import mock

from syncws._cli.doctor import gunicornconf
from syncws._cli.doctor.finding import Finding, Severity


class GunicornConfTests(unittest.TestCase):
    def setUp(self) -> None:
        self.folder = Path(self.enterContext(tempfile.TemporaryDirectory()))
        self.enterContext(mock.patch.object(gunicornconf, "version_of", return_value="27.0"))
        self.enterContext(mock.patch.object(gunicornconf, "gunicorn_kinds", return_value=["sync", "gthread"]))

    def look(self, text: str, holding: list[str] | None = None, threads: list[str] | None = None) -> list[Finding]:
        (self.folder / "gunicorn.conf.py").write_text(text)
        return list(gunicornconf.check_gunicorn_conf(self.folder, holding or [], threads or []))

    def test_nothing(self) -> None:
        """Without the file, or without gunicorn, there is nothing to say."""
        self.assertEqual(list(gunicornconf.check_gunicorn_conf(self.folder, [], [])), [])
        with mock.patch.object(gunicornconf, "version_of", return_value=None):
            self.assertEqual(self.look("workers = 2"), [])

    def test_well(self) -> None:
        """What is fine is told in one line; several threads make gthread of sync, as in gunicorn."""
        (found,) = self.look("workers = 2\nthreads = 4\n")
        self.assertEqual(found.title, "gunicorn.conf.py: gthread, 2 workers of 4 threads")
        self.assertEqual(found.severity, Severity.OK)
        self.assertEqual(gunicornconf.workers_of(self.folder), 2)

    def test_workers_of_the_environment(self) -> None:
        """WEB_CONCURRENCY is gunicorn's number of workers where its file says none, or is not there."""
        with mock.patch.dict("os.environ", WEB_CONCURRENCY="2"):
            self.assertEqual(gunicornconf.workers_of(self.folder), 2)
            (found,) = self.look("threads = 4")
            self.assertEqual(found.title, "gunicorn.conf.py: gthread, 2 workers of 4 threads")
            self.assertEqual(gunicornconf.workers_of(self.folder), 2)
            self.look("workers = 3")
            self.assertEqual(gunicornconf.workers_of(self.folder), 3)
            self.look("import no_such_module_at_all")
            self.assertEqual(gunicornconf.workers_of(self.folder), 2)
            with mock.patch.object(gunicornconf, "version_of", return_value=None):
                self.assertEqual(gunicornconf.workers_of(self.folder), 1)
        with mock.patch.dict("os.environ", WEB_CONCURRENCY="many"):
            (self.folder / "gunicorn.conf.py").unlink()
            self.assertEqual(gunicornconf.workers_of(self.folder), 1)

    def test_faults(self) -> None:
        """Each setting that does harm, and what to write in its place."""
        flask_sock, ticking = ["flask-sock"], ["ticker"]
        for text, holding, threads, severity, says, line in (
            ("", flask_sock, [], Severity.FAULT, "serves one WebSocket of flask-sock", 'worker_class = "gthread"'),
            ("timeout = 5", flask_sock, [], Severity.FAULT, "killed after 5 s", "threads = 8"),
            ("threads = 3", flask_sock, [], Severity.WARNING, "3 WebSockets of flask-sock", "threads = 8"),
            ("worker_class = 'uvicorn.workers.UvicornWorker'", [], [], Severity.FAULT, "ASGI", "gthread"),
            ("worker_class = 'eventlet'", [], [], Severity.FAULT, "26 and later", "gthread"),
            ("worker_class = 'gevent'", [], [], Severity.FAULT, "pip install gevent", "gthread"),
            ("preload_app = True", [], ticking, Severity.WARNING, "ticker will not run", "preload_app = False"),
            ("http_protocols = 'h2,h1'", [], [], Severity.WARNING, "h2", 'http_protocols = "h1"'),
        ):
            with self.subTest(text, says=says):
                (found,) = self.look(text, holding, threads)
                self.assertIs(found.severity, severity)
                self.assertIn(says, f"{found.title} {found.seen}")
                self.assertIn(line, dict(found.mending)["gunicorn"])

    def test_restarts(self) -> None:
        """max_requests is worth knowing."""
        (found,) = self.look("max_requests = 1000")
        self.assertEqual((found.severity, "1012" in found.seen), (Severity.NOTE, True))

    def test_a_file_that_fails(self) -> None:
        """Its error is one line, and no traceback; then it counts as one worker."""
        (found,) = self.look("import no_such_module_at_all")
        self.assertIn("ModuleNotFoundError: No module named", found.seen)
        self.assertEqual(gunicornconf.workers_of(self.folder), 1)


if __name__ == "__main__":
    unittest.main()
