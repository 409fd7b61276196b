"""Redis as it is deployed: a master, its replica, and a sentinel that makes this the master when the other is gone.

Servers keep nothing on disk. What was killed comes back on its port, and what it becomes says the sentinel.
"""

from __future__ import annotations

import contextlib
import signal
import socket
import subprocess
import time
from pathlib import Path

from .ledger import PATIENCE

#: Milliseconds of silence after which the sentinel gives the master up.
DOWN_AFTER = 2000


class StoreError(Exception):
    """Redis does not start, or fails over in vain."""


class Store:
    """A master, a replica, a sentinel. One thread."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._ports = [_free_port() for _ in range(3)]
        self._processes: dict[int, subprocess.Popen[bytes]] = {}

    @property
    def url(self) -> str:
        return f"redis+sentinel://127.0.0.1:{self._ports[2]}/main/0"

    def start(self) -> None:
        """Start all three, and wait until the sentinel knows the replica. Raises StoreError."""
        master, replica, sentinel = self._ports
        self._start_server(master)
        self._start_server(replica)
        _ask(replica, "REPLICAOF", "127.0.0.1", str(master))
        path = self._folder / "sentinel.conf"
        path.write_text(
            f"port {sentinel}\nbind 127.0.0.1\ndir {self._folder}\n"
            f"sentinel monitor main 127.0.0.1 {master} 1\n"
            f"sentinel down-after-milliseconds main {DOWN_AFTER}\nsentinel failover-timeout main 4000\n"
        )
        self._launch(sentinel, ["redis-server", str(path), "--sentinel"])
        self.wait_until_whole()

    def _start_server(self, port: int) -> None:
        folder = self._folder / f"redis{port}"
        folder.mkdir(exist_ok=True)
        options = {"port": port, "bind": "127.0.0.1", "dir": folder, "save": "", "appendonly": "no"}
        options |= {"repl-diskless-sync-delay": 0}
        self._launch(
            port, ["redis-server", *(str(part) for name, value in options.items() for part in (f"--{name}", value))]
        )

    def _launch(self, port: int, command: list[str]) -> None:
        with (self._folder / f"redis{port}.log").open("ab") as log:
            self._processes[port] = subprocess.Popen(command, stdin=subprocess.DEVNULL, stdout=log, stderr=log)
        until = time.monotonic() + PATIENCE
        while True:
            with contextlib.suppress(OSError):
                if "PONG" in _ask(port, "PING"):
                    return
            if self._processes[port].poll() is not None or time.monotonic() > until:
                raise StoreError(f"redis-server does not start on port {port}")
            time.sleep(0.05)

    @property
    def master(self) -> int:
        """The port of the master, as the sentinel says."""
        answer = _ask(self._ports[2], "SENTINEL", "GET-MASTER-ADDR-BY-NAME", "main").split("\r\n")
        return int(answer[4])

    def kill_master(self) -> int:
        """Kill the master (SIGKILL); its port."""
        port = self.master
        self._processes[port].kill()
        self._processes[port].wait()
        return port

    def restart(self, port: int) -> None:
        """Start a server that was killed, with nothing in it."""
        self._start_server(port)

    def signal_master(self, number: signal.Signals) -> int:
        """Send the master a signal; its port."""
        port = self.master
        self._processes[port].send_signal(number)
        return port

    def go_on(self, port: int) -> None:
        """Have a stopped server go on."""
        self._processes[port].send_signal(signal.SIGCONT)

    def cut_listeners(self) -> None:
        """End the connections of all that listen to the master."""
        with contextlib.suppress(OSError):
            _ask(self.master, "CLIENT", "KILL", "TYPE", "pubsub")

    def wait_until_whole(self) -> None:
        """Wait until there is a master with a replica that follows it. Raises StoreError."""
        until = time.monotonic() + PATIENCE
        while True:
            with contextlib.suppress(OSError, ValueError, IndexError):
                told = _ask(self.master, "INFO", "replication")
                if "role:master" in told and "state=online" in told:
                    found = _ask(self._ports[2], "SENTINEL", "REPLICAS", "main")
                    if "slave" in found and "s_down" not in found and "disconnected" not in found:
                        return
            if time.monotonic() > until:
                raise StoreError("the sentinel does not make Redis whole again")
            time.sleep(0.1)

    def end(self) -> None:
        """End all."""
        for process in self._processes.values():
            process.kill()
            process.wait()


def _ask(port: int, *words: str) -> str:
    """What a server answers to one command, as it is on the wire."""
    told = f"*{len(words)}\r\n" + "".join(f"${len(each)}\r\n{each}\r\n" for each in words)
    with socket.create_connection(("127.0.0.1", port), 2) as sock:
        sock.settimeout(2)
        sock.sendall(told.encode())
        time.sleep(0.01)
        return sock.recv(1 << 16).decode(errors="replace")


def _free_port() -> int:
    with socket.create_server(("127.0.0.1", 0)) as sock:
        return int(sock.getsockname()[1])
