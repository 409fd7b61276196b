"""`python -m benchmarks`: load generators that check answers, sides measured in turn, and a page with the results."""

from __future__ import annotations

import argparse
import contextlib
import dataclasses
import functools
import importlib.util
import io
import json
import os
import signal
import socket
import ssl
import struct
import subprocess
import sys
import tempfile
import threading
import unittest
import xml.etree.ElementTree as ElementTree
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, ClassVar
from unittest import mock

import syncws
from benchmarks import (
    __main__ as command,
)
from benchmarks import (
    arithmetic,
    client,
    cluster,
    connect,
    cores,
    deflate,
    fan,
    gorilla,
    load,
    load_echo,
    load_room,
    load_visits,
    loads,
    page,
    pin,
    processes,
    report,
    rooms,
    run,
    servers,
    tls,
)
from benchmarks.job import Finding, Job, LoadError, Processor
from benchmarks.turns import Comparison, Figures, Reading, Setting
from syncws.testing import LeakChecks, running
from tests import certificates, handshakes
from tests.partners import heavy, need

ROOT = Path(__file__).resolve().parent.parent

#: What `python -m benchmarks` itself takes.
PACKAGES = ("matplotlib", "psutil", "tqdm")

SHORT = {"seconds": 0.05, "patience": 10.0}

ACCEPT = f"Sec-WebSocket-Accept: {handshakes.ACCEPT}"
UPGRADED = f"HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n{ACCEPT}\r\n"
COMPRESSED = "Sec-WebSocket-Extensions: permessage-deflate; server_no_context_takeover; client_no_context_takeover\r\n"

#: What a server answers to a message: its number, from 1, and the echo of it; None ends the connection.
Answer = Callable[[int, bytes], bytes | None]


def need_packages(*names: str) -> None:
    """Skip the test if a part of the extra `bench` is missing. Only what is `heavy` may need one."""
    missing = [name for name in names if importlib.util.find_spec(name) is None]
    need(not missing, f"{', '.join(missing)} (PyPI) not installed")


class BadServer:
    """A server that gives the answers it is told to, right or wrong. Its connections end with the block."""

    def __init__(self, answer: Answer, head: str = UPGRADED) -> None:
        self._answer, self._head = answer, head
        self._listener = socket.create_server(("127.0.0.1", 0))
        self._sockets: list[socket.socket] = []
        self._threads = [threading.Thread(target=self._accept)]
        self.port = self._listener.getsockname()[1]

    def __enter__(self) -> BadServer:
        self._threads[0].start()
        return self

    def __exit__(self, *exc: object) -> None:
        self._listener.shutdown(socket.SHUT_RDWR)
        self._threads[0].join()
        self._listener.close()
        for sock in self._sockets:
            with contextlib.suppress(OSError):
                sock.shutdown(socket.SHUT_RDWR)
        for thread in self._threads[1:]:
            thread.join()

    def _accept(self) -> None:
        with contextlib.suppress(OSError):
            while True:
                self._sockets.append(self._listener.accept()[0])
                self._threads.append(threading.Thread(target=self._serve, args=(self._sockets[-1],)))
                self._threads[-1].start()

    def _serve(self, sock: socket.socket) -> None:
        with sock, contextlib.suppress(OSError), sock.makefile("rb") as stream:
            while (line := stream.readline()) != b"\r\n":
                if not line:
                    return  # it has gone in the middle of its head
            sock.sendall(self._head.encode() + b"\r\n")
            for number, echoed in enumerate(echoes(stream), 1):
                answer = self._answer(number, echoed)
                if answer is None:
                    # Not with messages unread, which would make it a reset.
                    sock.shutdown(socket.SHUT_WR)
                    stream.read()
                    return
                sock.sendall(answer)


def echoes(stream: Any) -> Iterator[bytes]:
    """For each message that comes, the server's frame that echoes it."""
    while head := stream.read(2):
        length = head[1] & 0x7F
        if length > 125:
            form = "!H" if length == 126 else "!Q"
            (length,) = struct.unpack(form, stream.read(struct.calcsize(form)))
        key = stream.read(4)
        payload = bytes(byte ^ key[at % 4] for at, byte in enumerate(stream.read(length)))
        yield client.frame(payload, head[0] & 0x0F, masked=False, compressed=bool(head[0] & 0x40))


def right(number: int, echoed: bytes) -> bytes:
    """The echo."""
    return echoed


def from_third(wrong: Callable[[bytes], bytes | None]) -> Answer:
    """Right for the first answers, which are all looked at, and wrong after them."""
    return lambda number, echoed: echoed if number < 3 else wrong(echoed)


class HonestyTests(LeakChecks):
    """A server that answers wrongly is detected, and the error says what it did."""

    def check(self, told: str, answer: Answer = right, head: str = UPGRADED, **shape: Any) -> None:
        with self.subTest(told), BadServer(answer, head) as server:
            job = Job("echo", server.port, os.getpid(), **{"connections": 1, "size": 32, **SHORT, **shape})
            with self.assertRaisesRegex(LoadError, told):
                load_echo.run(job)

    def test_wrong_handshakes(self) -> None:
        """No upgrade: a refusal, a wrong key, compression that nobody offered, and another than was offered."""
        self.check("did not upgrade: HTTP/1.1 403 Forbidden", head="HTTP/1.1 403 Forbidden\r\n")
        self.check("Accept is wrong", head=UPGRADED.replace("s3pP", "S3PP"))
        self.check("agreed to what nobody offered: permessage-deflate", head=UPGRADED + COMPRESSED)
        self.check("did not agree to the same compression: none", deflate=True)
        takeover = COMPRESSED.replace("client_no_context_takeover", "server_max_window_bits=15")
        self.check("did not agree to the same compression: permessage", head=UPGRADED + takeover, deflate=True)
        smaller = COMPRESSED.replace("\r\n", "; server_max_window_bits=12\r\n")
        self.check("wants a smaller window", head=UPGRADED + smaller, deflate=True)

    def test_wrong_first_answers(self) -> None:
        """The first answer is compared byte for byte: type, size and payload."""
        self.check(r"not what was sent: 34 bytes that begin with b'\\x81", lambda number, echoed: b"\x81" + echoed[1:])
        self.check("not what was sent", lambda number, echoed: echoed[:-1] + bytes([echoed[-1] ^ 1]))
        self.check("not what was sent", lambda number, echoed: echoed + b"x")
        close = client.frame(struct.pack("!H", 1009) + b"too big" + bytes(99), 8, masked=False)
        self.check("a close frame with 1009 'too big", lambda number, echoed: close)
        self.check("no answer for 0.2 s$", lambda number, echoed: b"", patience=0.2)
        self.check("no answer for 0.2 s, only 33 bytes", lambda number, echoed: echoed[:-1], patience=0.2)
        self.check("closed the connection", lambda number, echoed: None)

    def test_wrong_answers_under_load(self) -> None:
        """Later answers are only counted, but a wrong one is detected too, at the latest by the check at the end."""
        for depth in (1, 16):
            wrong = functools.partial(self.check, depth=depth, patience=0.2)
            wrong("not what was sent", from_third(lambda echoed: echoed[:-1] + bytes([echoed[-1] ^ 1])))
            wrong("not what was sent", from_third(lambda echoed: b"\x81" + echoed[1:]))
            wrong("more came back|answers came to|not what was sent", from_third(lambda echoed: echoed + b"x"))
            wrong("no answer for 0.2 s|not what was sent", from_third(lambda echoed: echoed[:-1]))
            wrong("closed the connection", from_third(lambda echoed: None))

    def test_wrong_compressed_answers(self) -> None:
        """A compressed answer has to inflate to what was sent, and to be compressed."""
        compressed = functools.partial(self.check, head=UPGRADED + COMPRESSED, deflate=True, text=True, size=500)
        other = client.frame(client.deflated(b"another text"), 1, masked=False, compressed=True)
        plain = client.frame(b"another text", 1, masked=False)
        broken = client.frame(b"\xff" * 9, 1, masked=False, compressed=True)
        compressed("not what was sent, compressed", lambda number, echoed: other)
        compressed("not what was sent, compressed", lambda number, echoed: plain)
        compressed("does not inflate", lambda number, echoed: broken)
        compressed("not a compressed message in one frame", from_third(lambda echoed: plain))
        compressed("not what was sent, compressed", from_third(lambda echoed: other))

    def test_wrong_visits(self) -> None:
        """A visit ends with the server's close frame."""
        for told, answer in (
            ("an echo is not what was sent", lambda number, echoed: bytes(34)),
            ("not a close frame", lambda number, echoed: echoed if number == 1 else bytes(34)),
            ("closed the connection", lambda number, echoed: echoed if number == 1 else None),
        ):
            with self.subTest(told), BadServer(answer) as server, self.assertRaisesRegex(LoadError, told):
                load_visits.run(Job("visits", server.port, os.getpid(), 1, 32, **SHORT))

    def test_wrong_rooms(self) -> None:
        """A room sends every text to all members, and the same to all."""
        shape = {"connections": 2, "size": 32, "seconds": 0.05, "patience": 0.3}
        for told, answer in (
            ("1 of 2 members got nothing for 0.3 s", right),
            ("2 of 2 members got nothing for 0.3 s", lambda number, echoed: b""),
        ):
            with self.subTest(told), BadServer(answer) as server, self.assertRaisesRegex(LoadError, told):
                load_room.run(Job("room", server.port, os.getpid(), **shape))


class CountTests(LeakChecks):
    """A generator counts as much as the server has served."""

    def setUp(self) -> None:
        super().setUp()
        self.served: list[syncws.MessageType] = []  # appended to by the threads of all connections

    def serve(self, tls: ssl.SSLContext | None = None) -> int:
        """The port of an echo server that counts."""
        upgrader = syncws.Upgrader(enable_compression=True)

        def echo(request: syncws.Request) -> None:
            with upgrader.upgrade(request) as conn:
                while True:
                    message_type, data = conn.read_message()
                    self.served.append(message_type)
                    conn.write_message(message_type, data)

        return self.enterContext(running(syncws.Server(echo, port=0, ssl_context=tls))).address[1]

    def check(self, generate: Callable[[Job], Finding], kind: str = "echo", **shape: Any) -> Finding:
        job = Job(
            kind,
            shape.pop("port", None) or self.serve(),
            os.getpid(),
            **{"connections": 3, "size": 32, **SHORT, **shape},
        )
        self.served.clear()
        finding = generate(job)
        self.assertEqual(finding.total, len(self.served))
        self.assertEqual({syncws.MessageType.TEXT if job.text else syncws.MessageType.BINARY}, set(self.served))
        self.assertLess(0, finding.count)
        self.assertLess(finding.count, finding.total)
        return finding

    def test_every_shape(self) -> None:
        """Small and large messages, one or many under way, binary and text, compressed: every answer counts once."""
        for shape in (
            {},
            {"depth": 16},
            {"depth": 16, "size": 4096, "text": True},
            {"size": 1 << 20},
            {"size": 1 << 16, "depth": 40},
            {"deflate": True, "text": True, "size": 4096},
            {"deflate": True, "text": True, "size": 4096, "depth": 16},
            {"deflate": True, "depth": 16},  # 32 random bytes, which nobody compresses
        ):
            with self.subTest(**shape):
                self.check(load_echo.run, **shape)

    def test_tls(self) -> None:
        """The same over TLS, with messages shorter than a record and of many records; the cipher is reported."""
        files = certificates.files(self.enterContext(tempfile.TemporaryDirectory()))
        port = self.serve(certificates.serving())
        for shape in ({}, {"depth": 16}, {"size": 1 << 20}, {"size": 40_000, "depth": 16}):
            with self.subTest(**shape):
                finding = self.check(load_echo.run, port=port, authority=files.authority, **shape)
                self.assertRegex(finding.note, r"^TLSv1\.\d, \w+$")

    def test_visits(self) -> None:
        """Each visit is one connection with one echo."""
        self.check(load_visits.run, "visits")

    def test_room(self) -> None:
        """Each round is one delivery for each member; the texts that gather the room come on top."""
        manager = syncws.Manager(on_message=lambda member, message: manager.broadcast(message))
        upgrader = syncws.Upgrader(enable_compression=True, ping_interval=None)

        def handler(request: syncws.Request) -> None:
            with upgrader.upgrade(request) as conn:
                manager.run(conn)

        port = self.enterContext(running(syncws.Server(handler, port=0))).address[1]
        for compressed in (False, True):
            with self.subTest(compressed=compressed):
                finding = load_room.run(Job("room", port, os.getpid(), 5, 64, deflate=compressed, **SHORT))
                self.assertEqual((finding.count % 5, finding.total % 5), (0, 0))
                self.assertLess(0, finding.count)
                self.assertLess(finding.count, finding.total)

    def test_in_a_process_of_its_own(self) -> None:
        """`generate` does the same in another process, and knows how busy that was."""
        finding = self.check(lambda job: load.generate(job, None), depth=2)
        self.assertLess(0, finding.busy)
        self.assertLess(finding.busy, 2)

    def test_a_process_that_fails(self) -> None:
        """An error in the other process is reported as it would be here, in one line."""
        with BadServer(lambda number, echoed: None) as server:
            for port, told in ((server.port, "closed the connection"), (1, "connection broke")):
                with self.assertRaisesRegex(LoadError, f"^[^\n]*{told}[^\n]*$"):
                    load.generate(Job("echo", port, os.getpid(), 1, 32, **SHORT), None)

    def test_another_program(self) -> None:
        """--load: the program gets the load, and its rate is the first word that it prints."""
        folder = Path(self.enterContext(tempfile.TemporaryDirectory()))
        program = folder / "load"
        program.write_text(
            f"#!{sys.executable}\nimport pathlib, sys\n"
            "pathlib.Path(sys.argv[0] + '.told').write_text(' '.join(sys.argv[1:]))\nprint('4711 msg/s  0.2 MB/s')\n"
        )
        program.chmod(0o755)
        job = Job("echo", 1234, os.getpid(), 3, 32, depth=16, seconds=7.0, text=True)
        finding = load.generate_by(str(program), job, None)
        self.assertAlmostEqual(finding.reading()["rate"], 4711)
        self.assertEqual((folder / "load.told").read_text(), "1234 / 3 32 16 7.0 1")
        for code, told in (("print('fast')", "'fast', which does not begin with a rate"), ("exit('no')", "^no$")):
            program.write_text(f"#!{sys.executable}\n{code}\n")
            with self.assertRaisesRegex(LoadError, told):
                load.generate_by(str(program), job, None)


class PeerTests(LeakChecks):
    """Every side works, and ends with its block."""

    folder: ClassVar[Path]

    @classmethod
    def setUpClass(cls) -> None:
        super().setUpClass()
        cls.folder = Path(cls.enterClassContext(tempfile.TemporaryDirectory()))  # where gorilla is built once

    def check(self, names: list[str], *, tls: bool = False, deflate: bool = False) -> None:
        lacking = {name: servers.lacks(name, self.folder) for name in names}
        for name in names:
            if lacking[name]:
                continue
            with self.subTest(name), servers.running(name, None, self.folder, tls=tls, deflate=deflate) as (port, pid):
                job = Job(
                    "echo", port, pid, 2, 4096, depth=2, bare=name == "bare", deflate=deflate, text=deflate, **SHORT
                )
                job = dataclasses.replace(job, authority=str(self.folder / "authority.pem") if tls else "")
                self.assertLess(0, load_echo.run(job).count)
                if not (tls or deflate) and name not in connect.UNFIT:
                    self.assertLess(0, load_visits.run(dataclasses.replace(job, kind="visits", size=32)).count)
            with self.assertRaises(ProcessLookupError):
                os.killpg(pid, 0)
        need(not any(lacking.values()), "; ".join(f"without {name}: {why}" for name, why in lacking.items() if why))

    def test_ours(self) -> None:
        """The bare server and the echo server of examples/ need nothing that is not there."""
        self.check(["bare", "syncws"])

    @heavy
    def test_peers(self) -> None:
        """Every peer that is installed echoes, and serves new connections."""
        self.check([name for name in servers.SERVERS if name not in ("bare", "syncws")])

    @heavy
    def test_tls(self) -> None:
        """Every peer that is compared over TLS does the same over TLS."""
        need_packages("trustme")
        self.check(list(tls.SIDES), tls=True)

    @heavy
    def test_deflate(self) -> None:
        """Every peer that can be set to the same compression does the same with it."""
        self.check(list(deflate.SIDES), deflate=True)

    @heavy
    def test_rooms(self) -> None:
        """Every room that is installed sends texts to its members."""
        for name in fan.SIDES:
            need(not (why := rooms.lacks(name, self.folder)), f"without {name}: {why}")
            with self.subTest(name), rooms.running(name, None, self.folder, tls=False, deflate=True) as (port, pid):
                self.assertLess(0, load_room.run(Job("room", port, pid, 3, 64, deflate=True, **SHORT)).count)

    def test_not_installed(self) -> None:
        """One line names a peer that is not installed, and says how to get it."""
        with mock.patch.dict(servers.SERVERS, {"other": servers.Server(("no_such", "syncws", "nor_this"))}):
            told = "no_such and nor_this not installed (pip install 'syncws[bench]')"
            self.assertEqual(servers.lacks("other", self.folder), told)

    def test_gorilla_that_does_not_build(self) -> None:
        """Go's error for a program that does not build is reported in one line; so is a missing Go."""
        empty = Path(self.enterContext(tempfile.TemporaryDirectory()))
        with mock.patch.object(gorilla, "SOURCE", empty):
            self.assertRegex(gorilla.build(empty), r"^it (does not build: .*|takes Debian's .*)$")
        with mock.patch("shutil.which", return_value=None):
            self.assertRegex(gorilla.build(empty / "other"), "^it takes Debian's .*$")

    def test_a_server_that_does_not_start(self) -> None:
        """The last line of a server that ends, at its start or under load, is reported."""
        dies = [sys.executable, "-c", "import sys; sys.exit('no such thing')"]
        with self.assertRaisesRegex(LoadError, "^it did not start: no such thing$"), processes.started(dies, None):
            self.fail("it has no port")
        speaks = [sys.executable, "-c", "import sys; print('port 123 (of many)', flush=True); sys.exit('enough')"]
        with self.assertRaisesRegex(LoadError, "^hm; its last words: enough$"):
            with processes.started(speaks, None) as (port, pid):
                self.assertEqual(port, 123)
                os.waitid(os.P_PID, pid, os.WEXITED | os.WNOWAIT)
                raise LoadError("hm")

    def test_another_checkout(self) -> None:
        """A process that is started for another checkout imports that one's library, and still finds the benchmarks."""
        checkout = Path(self.enterContext(tempfile.TemporaryDirectory()))
        (checkout / "syncws").mkdir()
        (checkout / "syncws" / "__init__.py").write_text("port = 321")
        code = "import syncws, benchmarks.serving; print(syncws.port, flush=True); input()"
        with processes.started([sys.executable, "-c", code], None, checkout) as (port, _):
            self.assertEqual(port, 321)

    def test_naming_another_checkout(self) -> None:
        """The side is measured if the variable names a checkout; if it names none, one line says so."""
        code = "from benchmarks import rooms, servers; print('before' in servers.SERVERS, 'before' in rooms.ROOMS)"
        for value, told, complaint in (
            (None, "False False\n", ""),
            (str(ROOT), "True True\n", ""),
            ("/nowhere", "", "SYNCWS_BEFORE is the folder of a checkout of syncws, not '/nowhere'\n"),
        ):
            environment = {key: text for key, text in os.environ.items() if key != "SYNCWS_BEFORE"}
            environment |= {"SYNCWS_BEFORE": value} if value else {}
            done = subprocess.run(
                [sys.executable, "-c", code], cwd=ROOT, env=environment, capture_output=True, text=True, timeout=60
            )
            self.assertEqual((done.stdout, done.stderr), (told, complaint))

    @heavy
    def test_processor_time_of_children(self) -> None:
        """The processor time of a server is that of its children as well."""
        need_packages("psutil")
        burn = "import time\nwhile time.process_time() < 0.1: pass\nprint('done', flush=True); input()"
        code = f"import subprocess, sys; subprocess.run([sys.executable, '-c', {burn!r}])"
        with processes.ended([sys.executable, "-c", code], None) as (process, _):
            assert process.stdout is not None
            self.assertEqual(process.stdout.readline(), b"done\n")
            self.assertLess(0.09, Processor(process.pid).seconds() or 0)
        with self.assertRaisesRegex(LoadError, "^the server has ended$"):
            Processor(process.pid)

    @heavy
    def test_pin(self) -> None:
        """Each handler answers under each value of pin; one line says where there is no core to choose."""
        need(None not in (found := cores.choose_cores()), "there is one core, or this system keeps no process on one")
        setting = Setting(1, 0.05, None, found, self.folder)
        for work, side in (("echo", "unpinned"), ("hash", "process"), ("mixed", "connections"), ("python", "auto")):
            with self.subTest(work):
                small = dataclasses.replace(pin.WORKS[work], load=loads.Load(2, 32))
                self.assertLess(0, pin.measure(small, setting, side, warm_up=0.05)[0]["rate"])
        alone = dataclasses.replace(setting, cores=(None, None))
        (asked, *_) = pin.compare(argparse.Namespace(work=["echo"], sides=["auto"]))
        self.assertIn("there is one core", asked.lacks(alone, "auto"))

    def test_cores(self) -> None:
        """Processes that are started in the block stay on its core; this process may use the same cores as before."""
        need(hasattr(os, "sched_setaffinity"), "this system does not pin processes")
        before = os.sched_getaffinity(0)
        core = max(before)
        with cores.on_core(core):
            said = subprocess.check_output(
                [sys.executable, "-c", "import os; print(os.sched_getaffinity(0))"], text=True
            )
        self.assertEqual((said, os.sched_getaffinity(0)), (f"{{{core}}}\n", before))


class TurnsTests(unittest.TestCase):
    """The order of the sides, and the figures that are made of their readings."""

    def take_turns(
        self, rounds: int, measure: Callable[[Setting, str], tuple[Reading, str]], stolen: Callable[[], float] = float
    ) -> Figures:
        setting = Setting(rounds, 1.0, None, (None, None), Path())
        comparison = Comparison(
            Figures("echo", "a load", "messages"), ["a", "b", "c"], lambda setting, side: "", measure
        )
        with mock.patch("benchmarks.turns.stolen", stolen):
            comparison.take_turns(setting, mock.Mock())
        return comparison.figures

    def test_order(self) -> None:
        """The sides run forwards and backwards in alternate rounds, each of them once in each round."""
        turns = []

        def measure(setting: Setting, side: str) -> tuple[Reading, str]:
            turns.append(side)
            return {"rate": len(turns)}, f"note of {side}"

        figures = self.take_turns(3, measure)
        self.assertEqual("".join(turns), "abccbaabc")
        self.assertEqual(figures.readings["b"], [{"rate": 2}, {"rate": 5}, {"rate": 8}])
        self.assertEqual(figures.notes["c"], "note of c")
        self.assertFalse(figures.failed)

    def test_a_turn_that_is_disturbed(self) -> None:
        """A turn in which a hypervisor took processor time is taken again; the calmest counts, and the report says
        how many were not calm at last."""
        took = {1: 5.0, 2: 5e6, 3: 5e6, 4: 5.0}  # seconds, by the number of the turn: a is never calm, b at last
        turns: list[str] = []

        def measure(setting: Setting, side: str) -> tuple[Reading, str]:
            turns.append(side)
            return {"rate": len(turns)}, ""

        def stolen() -> float:
            return sum(took.get(number, 0.0) for number in range(1, len(turns) + 1))

        figures = self.take_turns(1, measure, stolen)
        self.assertEqual("".join(turns), "aaabbc")
        self.assertEqual(figures.readings, {"a": [{"rate": 1}], "b": [{"rate": 5}], "c": [{"rate": 6}]})
        self.assertEqual(figures.disturbed, 1)
        self.assertIn("In 1 of 3 turns", report.text(figures))

    def test_a_side_that_fails(self) -> None:
        """A side that fails is left out, with the reason, and the others are still measured."""
        turns = []

        def measure(setting: Setting, side: str) -> tuple[Reading, str]:
            turns.append(side)
            if side == "b" and turns.count(side) == 2:
                raise LoadError("it fell over")
            return {"rate": 1.0}, ""

        figures = self.take_turns(3, measure)
        self.assertEqual("".join(turns), "abccbaac")
        self.assertEqual([*figures.readings], ["a", "c"])
        self.assertEqual(figures.left_out, {"b": "it fell over"})
        self.assertEqual(run.status([figures]), 1)


def made_up() -> Figures:
    """Figures of three rounds: syncws is in the middle, the generator was the limit for one, and one is left out."""
    rates = {"syncws": [100, 200, 300], "fast": [200, 500, 600], "bare": [400, 800, 1200], "slow": [10, 25, 30]}
    figures = Figures("echo", "8 connections x 64 KiB", "messages", size=64 << 10)
    for side, values in rates.items():
        busy = 0.95 if side == "bare" else 0.5
        figures.readings[side] = [{"rate": rate, "cpu": 1e6 / rate, "busy": busy} for rate in values]
        figures.notes[side] = "a cipher" if side == "fast" else "another cipher"
    figures.left_out["other"] = "it is not there"
    return figures


class ReportTests(unittest.TestCase):
    """Tables and the picture."""

    def test_table(self) -> None:
        """The fastest first; medians, ratios of each round, the share of the ceiling; the limit is marked."""
        self.assertEqual(
            report.text(made_up()).splitlines(),
            [
                "echo: 8 connections x 64 KiB",
                "server              messages/s  lowest to highest  of the ceiling  syncws is  server CPU, µs/message  "
                "MB/s  load busy",
                "bare (the ceiling)         800       400 to 1,200            100%     0.25 x                 1,250.0  "
                "  52      95% *",
                "fast                       500         200 to 600             50%     0.50 x                 2,000.0  "
                "  33        50%",
                "syncws                     200         100 to 300             25%     1.00 x                 5,000.0  "
                "  13        50%",
                "slow                        25           10 to 30              2%    10.00 x                40,000.0  "
                "   2        50%",
                "* The load generator was the limit: these are faster than shown.",
                "syncws, bare, slow: another cipher.",
                "fast: a cipher.",
                "Without other: it is not there.",
            ],
        )

    def test_columns_that_say_nothing(self) -> None:
        """Columns that would be empty are left out: without bare, without us, for one round, for small messages."""
        figures = Figures("echo", "small", "messages", 32, readings={"a": [{"rate": 5.0, "busy": 0.1}]})
        self.assertEqual(report.table(figures), [["server", "messages/s", "load busy"], ["a", "5", "10%"]])
        memory = Figures("memory", "idle", "", readings={"b": [{"KiB": 2.0, "threads": 1}], "bare": [{"KiB": 1.0}]})
        self.assertEqual(
            report.table(memory), [["server", "KiB each", "threads each"], ["bare", "1.0", ""], ["b", "2.0", "1.00"]]
        )
        self.assertEqual(report.table(Figures("echo", "nobody", "messages")), [[]])

    def test_markdown(self) -> None:
        """The same table in Markdown, with our row in bold."""
        lines = report.markdown(made_up()).splitlines()
        self.assertEqual(lines[:2], ["### 8 connections x 64 KiB", ""])
        self.assertEqual({line.count("|") for line in lines[2:8]}, {9})
        self.assertEqual(
            [line.split(" | ")[0] for line in lines[4:8]], ["| bare (the ceiling)", "| fast", "| **syncws**", "| slow"]
        )

    @heavy
    def test_picture(self) -> None:
        """A small SVG with its text as text; a ceiling that is far away is cut."""
        need_packages(*PACKAGES)
        folder = Path(self.enterContext(tempfile.TemporaryDirectory()))
        far = made_up()
        far.readings["bare"] = [{"rate": 1e6}] * 3
        known = page.Run(
            "2026-01-01", ["a machine"], "a machine", "Medians.", {"echo": "How many?"}, [far, *[made_up()] * 12]
        )
        (folder / "benchmarks.json").write_text(json.dumps(dataclasses.asdict(known)))
        render(folder)
        drawn = (folder / "benchmarks.svg").read_bytes()
        self.assertLess(len(drawn), 150_000)
        found = ElementTree.fromstring(drawn).iter("{http://www.w3.org/2000/svg}text")
        texts = {"".join(text.itertext()).strip() for text in found}
        self.assertLessEqual({"a machine", "8 connections x 64 KiB", "syncws", "1.00  (200/s)", "2.00  (500/s)"}, texts)
        self.assertTrue(any(text.startswith("» 5000.00") for text in texts), texts)


def render(folder: Path) -> None:
    """`--render`, in a process of its own: matplotlib keeps the files of fonts open."""
    subprocess.run([sys.executable, "-m", "benchmarks", "--render", "--output", str(folder)], cwd=ROOT, check=True)


class CommandTests(LeakChecks):
    """`python -m benchmarks`."""

    def setUp(self) -> None:
        super().setUp()
        self.folder = Path(self.enterContext(tempfile.TemporaryDirectory()))

    def run_here(self, *arguments: str) -> tuple[int, str, str]:
        """Run the command here: its exit status, its output and its errors."""
        printed, complained = io.StringIO(), io.StringIO()
        self.addCleanup(signal.signal, signal.SIGTERM, signal.getsignal(signal.SIGTERM))
        with (
            mock.patch.object(sys, "argv", ["benchmarks", *arguments]),
            contextlib.redirect_stdout(printed),
            contextlib.redirect_stderr(complained),
        ):
            try:
                code = command.main()
            except SystemExit as exit:
                code = exit.code if isinstance(exit.code, int) else print(exit.code, file=complained) or 1
        return code, printed.getvalue(), complained.getvalue()

    def test_list(self) -> None:
        """--list names every question; each is the beginning of a docstring."""
        code, printed, _ = self.run_here("--list")
        self.assertEqual((code, [line.split()[0] for line in printed.splitlines()]), (0, [*command.QUESTIONS]))
        self.assertTrue(all(line.endswith("?") for line in printed.splitlines()), printed)

    @heavy
    def test_wrong_options(self) -> None:
        """A wrong option ends the command with one line, before anything is measured."""
        need_packages(*PACKAGES)
        (self.folder / "benchmarks.md").write_text("no marks")
        for arguments, told in (
            (["nonsense"], "no such question: nonsense; there are echo, "),
            (["--sides", "syncws,nobody"], "no such side: nobody; there are bare, "),
            (["--rounds", "0"], "argument --rounds: a number from 1 to 1,000, not '0'"),
            (["--seconds", "99"], "argument --seconds: a number from 0.01 to 15, not '99'"),
            (["--load", "/no/such/program"], "no such program: /no/such/program"),
            (["--output", "/no/such/folder"], "no such folder: /no/such/folder"),
            (["--output", str(self.folder)], "has not the two lines between which the figures go"),
            (["--render", "--output", str(self.folder)], "no figures of a run in "),
        ):
            with self.subTest(arguments):
                code, printed, complained = self.run_here(*arguments)
                self.assertIn(code, (1, 2))
                self.assertEqual((printed, complained.count("\n")), ("", 1), complained)
                self.assertIn(told, complained)

    def test_packages_that_are_missing(self) -> None:
        """Without the extra one line says so."""
        with mock.patch("importlib.util.find_spec", return_value=None):
            code, _, complained = self.run_here("echo")
        self.assertEqual((code, complained), (1, "psutil and tqdm not installed: pip install 'syncws[bench]'\n"))

    def test_the_page_of_the_project(self) -> None:
        """docs/benchmarks.md has the marks, so that a run can be written there."""
        page.check(command.DOCS)

    @heavy
    def test_a_peer_that_is_not_installed(self) -> None:
        """A peer that is not installed is named in one line, once, and the others are measured."""
        need_packages(*PACKAGES)
        options = argparse.Namespace(rounds=1, seconds=0.02)
        with mock.patch.dict(servers.SERVERS, {"other": servers.Server(("no_such",))}):
            comparisons = loads.plan("echo", [loads.Load(1, 32), loads.Load(1, 33)], ["other", "bare"])
            with contextlib.redirect_stdout(io.StringIO()) as printed:
                found = run.measure(comparisons, options)
        self.assertEqual(printed.getvalue().count("without other: no_such not installed"), 1)
        self.assertEqual([[*figures.readings] for figures in found], [["bare"], ["bare"]])
        self.assertEqual(run.status(found), 0)

    @heavy
    def test_a_whole_run(self) -> None:
        """A run of the questions writes its page between the marks, the picture and the figures; --render the same.

        The picture is the same in every byte: it has no date in it, and no random numbers.
        """
        need_packages(*PACKAGES, "trustme", "flask", "gunicorn")
        before, after = "# By hand\n\n", "\n\nBy hand too.\n"
        written = self.folder / "benchmarks.md"
        written.write_text(f"{before}{page.BEGIN}\nold\n{page.END}{after}")
        questions = [name for name in command.QUESTIONS if name != "text"]  # which test_one_question asks
        options = ["--rounds", "1", "--seconds", "0.02", "--sides", "syncws", "--output", str(self.folder), *questions]
        done = subprocess.run([sys.executable, "-m", "benchmarks", *options], cwd=ROOT, capture_output=True, text=True)
        self.assertEqual(done.returncode, 0, done.stderr)
        text = written.read_text()
        self.assertTrue(text.startswith(before + page.BEGIN) and text.endswith(page.END + after), text)
        self.assertNotIn("old", text)
        for told in (
            "Measured on 2",
            "](benchmarks.svg)",
            "GCC" if "GCC" in sys.version else "",
            "4 connections x 1 MiB",
        ):
            self.assertIn(told, text)
        for name in questions:
            self.assertIn(f"`python -m benchmarks.{name}`", text)
        self.assertEqual(text.count("| **syncws** |"), 11, text)
        picture = (self.folder / "benchmarks.svg").read_bytes()
        self.assertEqual(ElementTree.fromstring(picture).tag, "{http://www.w3.org/2000/svg}svg")
        found = json.loads((self.folder / "benchmarks.json").read_text())["found"]
        self.assertEqual([figures["left_out"] for figures in found], [{}] * 11)
        self.assertEqual(sum("cpu" in figures["readings"]["syncws"][0] for figures in found), 10)
        render(self.folder)
        self.assertEqual((written.read_text(), (self.folder / "benchmarks.svg").read_bytes()), (text, picture))

    @heavy
    def test_one_question(self) -> None:
        """A question alone takes its own options and the sides to compare, and prints its table."""
        need_packages(*PACKAGES)
        options = [
            "--connections",
            "2",
            "--size",
            "100",
            "--depth",
            "3",
            "--rounds",
            "1",
            "--seconds",
            "0.02",
            "syncws",
        ]
        done = subprocess.run(
            [sys.executable, "-m", "benchmarks.text", *options], cwd=ROOT, capture_output=True, text=True
        )
        self.assertEqual((done.returncode, done.stderr), (0, ""))
        self.assertRegex(
            done.stdout, "^text: 2 connections x 100 B of text, 3 in flight on each\nserver .*\nsyncws .*\n"
        )


if __name__ == "__main__":
    unittest.main()


class ClusterTests(LeakChecks):
    """What a message between processes costs, and what follows from it."""

    COSTS = arithmetic.Costs(send=50e-6, receive=30e-6, ignore=10e-6, deliver=5e-6, take=4e-6, copy=1e-6)

    def test_nodes_that_a_room_is_on(self) -> None:
        """Two members are on two nodes of many, many members on all of few."""
        self.assertEqual(arithmetic.reached(1, 1000), 1)
        self.assertAlmostEqual(arithmetic.reached(10, 2), 1.9)
        self.assertAlmostEqual(arithmetic.reached(10, 1000), 10)

    def test_what_is_full(self) -> None:
        """One node without others pays its send and its deliveries; a node of many pays its share of all."""
        costs = self.COSTS
        self.assertAlmostEqual(arithmetic.nodes_full(costs, 1, 10, addressed=True), 1 / 100e-6)
        # 10 nodes, each room on all: 50 + 9 x 30 + 1000 x 5 microseconds a message, on ten cores
        full = arithmetic.nodes_full(costs, 10, 1000, addressed=True)
        self.assertAlmostEqual(full, 10 / 5320e-6, places=0)
        for nodes, members in ((10, 2), (100, 10)):
            rooms, one = (arithmetic.nodes_full(costs, nodes, members, addressed=each) for each in (True, False))
            self.assertGreater(rooms, one)
            rooms, one = (arithmetic.server_full(costs, nodes, members, addressed=each) for each in (True, False))
            self.assertGreater(rooms, one)
            shared = arithmetic.server_full(costs, nodes, members, addressed=True, shards=10)
            self.assertAlmostEqual(shared, 10 * rooms, places=3)

    def test_the_table(self) -> None:
        """Each number of nodes with each size of a room is a row, which says what is full first."""
        head, *rows = arithmetic.table(self.COSTS)
        self.assertEqual(len(rows), len(arithmetic.NODES) * len(arithmetic.MEMBERS))
        self.assertEqual({len(row) for row in rows}, {len(head)})
        self.assertLessEqual({row[-1] for row in rows}, {"the nodes", "Redis", "the network"})

    def test_conclusions(self) -> None:
        """The page says what follows from the figures; of a run that asked only some of it, nothing follows."""
        reading = {"sender": 60.0, "receiver": 35.0, "all": 100.0, "redis": 5.0, "here": 0.2, "there": 0.7}
        found = [Figures("cluster", title, "messages") for title, _, _ in cluster.QUESTIONS]
        for figures in found:
            figures.readings = {side: [reading] for side in cluster.SIDES}
        raw = Figures("cluster", f"Redis alone, {cluster.RAW_SIZE} B, by raw commands", "messages")
        raw.readings = {f"PUBLISH, {count} listen": [{"redis": 3.0 + count}] for count in (0, 1, 10)}
        said = cluster.conclude([*found, raw])
        self.assertIn("| later to a member elsewhere than here, p50 | 0.5 ms | 0.5 ms |", said)
        self.assertIn("take 3.0, copy 1.0", said)
        self.assertEqual(cluster.conclude(found), "")
        self.assertIn("| sender, µs/message |", report.markdown(found[0]))

    @heavy
    def test_nodes(self) -> None:
        """Two processes on a local bus are measured, and how late the messages were."""
        with tempfile.TemporaryDirectory() as folder:
            setting = Setting(1, 0.05, None, (None, None), Path(folder))
            need(not (why := cluster._lacks(setting, "local")), why)
            reading = cluster.measure_nodes(setting, "local", cluster.Shape((2, 1)))
        self.assertEqual(set(reading), {"sender", "receiver", "all", "here", "there"})
        self.assertTrue(all(value > 0 for value in reading.values()), reading)
