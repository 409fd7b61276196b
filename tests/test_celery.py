"""A worker of Celery that forks: the Publisher that its module makes works in each of its children."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import tempfile
import unittest
from pathlib import Path

from syncws import Manager, RedisBackplane
from syncws.testing import LeakChecks, pair
from tests.buses import RedisServer, need_client
from tests.partners import heavy, need
from tests.tasks import PATIENCE

ROOT = Path(__file__).resolve().parent.parent

#: As the guide has it: the Publisher is made with the module, before the worker forks. The first task of a child waits
#: for that of the other, so that both have one.
TASKS = """
import os, sys, time
from celery import Celery
import syncws

app = Celery("tasks", broker=os.environ["BROKER"])
publisher = syncws.Publisher(os.environ["BUS"])
if os.environ.get("USED"):
    publisher.broadcast("before the fork", room="lobby")

@app.task
def report(number):
    open(f"{os.environ['FOLDER']}/{os.getpid()}", "w").close()
    until = time.monotonic() + 20
    while len(os.listdir(os.environ["FOLDER"])) < 2 and time.monotonic() < until:
        time.sleep(0.01)
    publisher.send_json("ann", {"number": number, "pid": os.getpid()})

if __name__ == "__main__":
    for number in range(int(sys.argv[1])):
        report.delay(number)
"""


@heavy
@unittest.skipUnless(hasattr(os, "fork"), "needs fork")
class CeleryTests(LeakChecks):
    def setUp(self) -> None:
        need_client("redis")
        try:
            import celery  # noqa: F401
        except ImportError:
            need(False, "celery (PyPI) is not installed")
        super().setUp()

    def test_a_worker_that_forks(self) -> None:
        """Each child sends what its tasks say, nothing is doubled and nothing is missing; also where the parent had
        sent before it forked."""
        for used in ("", "1"):
            with self.subTest(used=used):
                self.check(used)

    def check(self, used: str) -> None:
        count = 20
        with (
            tempfile.TemporaryDirectory() as folder,
            RedisServer() as server,
            pair() as (conn, ann),
        ):
            manager = Manager(backplane=RedisBackplane(server.url))
            self.addCleanup(manager.end)
            manager.register(conn, "ann", ["lobby"])
            Path(folder, "tasks.py").write_text(TASKS)
            os.mkdir(pids := f"{folder}/pids")
            environment = {
                **os.environ,
                "PYTHONPATH": f"{ROOT}:{folder}",
                "BUS": server.url,
                "BROKER": f"redis://127.0.0.1:{server.port}/1",
                "FOLDER": pids,
            }
            command = [
                sys.executable,
                "-m",
                "celery",
                "-A",
                "tasks",
                "worker",
                "-P",
                "prefork",
                "-c",
                "2",
                "-l",
                "ERROR",
            ]
            worker = subprocess.Popen(
                [*command, "--without-gossip", "--without-mingle", "-Ofair"],
                cwd=folder,
                env={**environment, "USED": used},
                stdout=subprocess.DEVNULL,
                stderr=subprocess.DEVNULL,
                start_new_session=True,
            )
            try:
                subprocess.run(
                    [sys.executable, "tasks.py", str(count)], cwd=folder, env=environment, check=True, timeout=PATIENCE
                )
                if used:
                    self.assertEqual(ann.receive(PATIENCE), "before the fork")
                got = [ann.receive_json(PATIENCE) for _ in range(count)]
                manager.send("ann", "last")
                self.assertEqual(ann.receive(PATIENCE), "last")
            finally:
                os.killpg(worker.pid, signal.SIGKILL)
                worker.wait()
            self.assertEqual(sorted(each["number"] for each in got), list(range(count)))
            self.assertEqual(len({each["pid"] for each in got}), 2)
            self.assertNotIn(worker.pid, {each["pid"] for each in got})
            health = manager.backplane_health()
            assert health is not None
            self.assertEqual((health.gaps, health.duplicates, health.bad), (0, 0, 0))
            manager.end()


if __name__ == "__main__":
    unittest.main()
