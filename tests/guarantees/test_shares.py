"""Proves that one address which takes every descriptor locks nobody out.

* With `ulimit -n 256`, all taken by one address, a health check is answered within a second, and a handler's own open()
  works.
"""

from __future__ import annotations

import os
import resource
import socket
import subprocess
import sys
import time
import unittest

from syncws._http.request import Request
from syncws._http.response import Response
from syncws._server.server import Server
from syncws._server.upgrader import Upgrader
from syncws.testing import await_

from .support import PATIENT, TEXT, WAIT, GuaranteeTestCase, connect, handshake, note

FILES = 256

#: Seconds within which a health check has its answer; and as many again for a machine under load.
PROMPT = 2.0


def serve(*arguments: str) -> None:
    """The process under test: a server that may open so many files, and whose handler opens some of its own."""
    resource.setrlimit(resource.RLIMIT_NOFILE, (FILES, FILES))
    upgrader = Upgrader(**PATIENT)

    def handler(request: Request) -> Response | None:
        if request.path == "/health":
            return Response("ok\n")
        with upgrader.upgrade(request) as conn:
            for _ in conn:
                opened = []
                try:
                    opened += [os.open(os.devnull, os.O_RDONLY) for _ in range(8)]
                    conn.send("opened")
                except OSError as error:
                    conn.send(str(error))
                finally:
                    for each in opened:
                        os.close(each)
        return None

    paths = {"health_path": "/healthz", "ready_path": "/readyz"} if "paths" in arguments else {}
    server = Server(handler, port=0, handshake_timeout=600.0, **paths)  # type: ignore[arg-type]
    server.start()
    print(server.port, flush=True)
    sys.stdin.read()
    os._exit(0)


class DescriptorTests(GuaranteeTestCase):
    def check(self, paths: bool) -> None:
        """Take every connection of a server that may open 256 files; then ask for its health, and have it open some."""
        code = (
            f"import sys; sys.path[:] = {sys.path!r}; from {__name__} import serve; serve({'paths' if paths else ''!r})"
        )
        process = subprocess.Popen(
            [sys.executable, "-c", code],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )
        assert process.stdin is not None and process.stdout is not None and process.stderr is not None
        held: list[socket.socket] = []
        try:
            address = ("127.0.0.1", int(process.stdout.readline()))
            peer = connect(address)
            held.append(peer.socket)
            for number in range(2 * FILES):  # idle ones, and such as send nothing
                sock = socket.create_connection(address, WAIT)
                held.append(sock)
                if number % 3:
                    sock.sendall(handshake())
            self.assertTrue(await_(lambda: self.ask(address, "/readyz" if paths else "/health")[0] == 503, WAIT))
            if paths:  # until one of those is gone that are heard beyond the limits, and say nothing; no more will come
                self.assertTrue(await_(lambda: self.ask(address, "/healthz")[0] == 200, WAIT))
            for path, answers in (("/health", (200, 503)), ("/healthz", (200,) if paths else (503,))):
                for _ in range(20):  # however fast they follow one another
                    status, seconds = self.ask(address, path)
                    self.assertIn(status, answers)
                    self.assertLess(seconds, PROMPT)
                note(f"{FILES} descriptors taken, paths={paths}: GET {path} is {status} after {1000 * seconds:.0f} ms")
            peer.send_frame(TEXT, "open")
            self.assertEqual(peer.receive_frame().payload, b"opened")
        finally:
            for each in held:
                each.close()
            process.stdin.close()
            process.wait(WAIT)
            log = process.stderr.read()
            process.stdout.close()
            process.stderr.close()
        self.assertIn("max_connections is 10000, and this process may open 256 files", log)

    def ask(self, address: tuple[str, int], path: str) -> tuple[int, float]:
        """The status that a new connection gets for a path, 0 for none, and after how many seconds."""
        began = time.monotonic()
        with socket.create_connection(address, WAIT) as sock:
            sock.sendall(f"GET {path} HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n".encode())
            head = sock.recv(4096)
        return int(head.split()[1]) if head else 0, time.monotonic() - began

    def test_one_address_takes_every_descriptor(self) -> None:
        """All descriptors taken by one address: the health check hung without a 503, and the application's own open()
        failed. Now it has its answer at once, and open() works."""
        self.check(paths=False)

    def test_a_liveness_probe_of_a_server_without_descriptors(self) -> None:
        """The same with a health_path: it is 200, so nobody restarts the server; readiness is 503."""
        self.check(paths=True)


if __name__ == "__main__":
    unittest.main()
