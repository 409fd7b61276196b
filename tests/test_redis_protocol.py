"""docs/redis-protocol.md is right: its tables are those of the code, and its programs reach members without syncws."""

from __future__ import annotations

import re
import shutil
import struct
import subprocess
import sys
import unittest
from pathlib import Path

from syncws import Conn, History, Manager, RedisBackplane
from syncws._bus.redisarchive import KEEP
from syncws._relay import names
from syncws._relay.envelope import HEAD, MOST_EXTRA, Kind, decode
from syncws.testing import LeakChecks, pair
from tests.buses import RawRedis, RedisServer, need_client
from tests.partners import need
from tests.relay.test_envelope import VECTOR
from tests.tasks import PATIENCE

PAGE = (Path(__file__).resolve().parent.parent / "docs" / "redis-protocol.md").read_text()


def section(title: str) -> str:
    return PAGE.partition(f"\n## {title}\n")[2].partition("\n## ")[0]


def block(kind: str) -> str:
    (found,) = re.findall(rf"^```{kind}\n(.*?)^```", PAGE, re.MULTILINE | re.DOTALL)
    assert isinstance(found, str)
    return found


def rows(title: str) -> list[list[str]]:
    """The cells of the first table of a section, without its head."""
    found = re.findall(r"^\|(.*)\|$", section(title), re.MULTILINE)
    return [[cell.strip() for cell in row.split("|")] for row in found[2:]]


class TablesTests(unittest.TestCase):
    def test_vector(self) -> None:
        """The test vector is that of the tests, byte for byte."""
        shown = re.findall(r"^    ((?:[0-9a-f]{2} {1,2})+[0-9a-f]{2})(?=\s)", section("A test vector"), re.MULTILINE)
        self.assertEqual("".join(shown).replace(" ", ""), VECTOR)

    def test_offsets(self) -> None:
        """The offsets and sizes of the envelope are those that it is read with."""
        told = [(int(row[0]), int(row[1])) for row in rows("The envelope") if row[1]]
        offset, expected = 0, []
        for size in (struct.calcsize(f">{each}") for each in ("B", "B", "B", "B", "8s", "Q", "H", "I")):
            expected.append((offset, size))
            offset += size
        self.assertEqual(told, expected)
        self.assertEqual(rows("The envelope")[-1][0], str(HEAD))
        self.assertEqual(offset, HEAD)

    def test_kinds(self) -> None:
        """Every kind of message is in the table, with its number and its name."""
        told = [(int(row[0]), row[1].partition(":")[0]) for row in rows("Kinds")]
        self.assertEqual(told, [(kind.value, kind.name) for kind in Kind])

    def test_limits(self) -> None:
        """The limits are those of the code."""
        self.assertIn(f"extra is at most {MOST_EXTRA >> 10} KiB", section("The envelope"))
        self.assertIn(f"at most {names.MOST:,} bytes", section("Names"))

    def test_channels(self) -> None:
        """The channels are those that the code makes."""
        prefix = "syncws:0:"
        boot = "0123456789abcdef"
        expected = [names.room_channel('"lobby"'), names.id_channel('"ann"'), names.ALL, names.node_channel(boot)]
        told = [row[0].strip("`") for row in rows("Channels")]
        self.assertEqual(told, [prefix + each for each in [*expected, f"w:{boot}"]])

    def test_script(self) -> None:
        """The script that keeps a message is the one that is run."""
        self.assertEqual(block("lua"), KEEP)

    def test_names(self) -> None:
        """A name with other characters is written as the page says."""
        self.assertIn(f"`{names.text_of('grün')}`", section("Names"))


class ProgramTests(LeakChecks):
    """Members get what the programs of the page publish."""

    def setUp(self) -> None:
        need_client("redis")
        super().setUp()
        self.server = self.enterContext(RedisServer())
        self.url = f"redis://127.0.0.1:{self.server.port}/0"

    def manager(self, history: History | None = None) -> Manager:
        manager = Manager(backplane=RedisBackplane(self.url, history=history))
        self.addCleanup(manager.end)
        return manager

    def member(self, manager: Manager, id: object, *rooms: str) -> Conn:
        conn, peer = self.enterContext(pair())
        manager.register(conn, id, rooms)
        return peer

    def here(self, program: str) -> str:
        """A program of the page, for the server of the test."""
        return program.replace("localhost", "127.0.0.1").replace("6379", str(self.server.port))

    def test_python(self) -> None:
        """Everybody, a room, an id, and all except for one."""
        manager = self.manager()
        ann, bob = self.member(manager, "ann", "lobby"), self.member(manager, 42)
        program = self.here(block("python redis"))
        subprocess.run([sys.executable, "-c", program], check=True, timeout=PATIENCE)
        manager.broadcast("last")
        self.assertEqual([ann.receive(PATIENCE) for _ in range(3)], ["to all", "to the lobby", "last"])
        self.assertEqual([bob.receive(PATIENCE) for _ in range(4)], ["to all", "to one", "not to ann", "last"])

    def test_shell(self) -> None:
        """redis-cli reaches everybody."""
        need(shutil.which("redis-cli") is not None, "redis-cli is not installed")
        ann = self.member(self.manager(), "ann")
        subprocess.run(["sh", "-c", self.here(block("sh"))], check=True, timeout=PATIENCE, stdout=subprocess.DEVNULL)
        self.assertEqual(ann.receive(PATIENCE), "to all")

    def test_node(self) -> None:
        """What Node makes is an envelope, with the name as Python writes it."""
        need(shutil.which("node") is not None, "node is not installed")
        say = 'process.stdout.write(envelope(0, name(["grün",1,"\\u007f😀"]), "hällo", {exclude: [name("a")]}))'
        done = subprocess.run(["node", "-e", block("js") + say], check=True, capture_output=True, timeout=PATIENCE)
        made = decode(done.stdout)
        self.assertEqual((made.kind, made.number, made.body.decode(), made.binary), (Kind.ROOM, 0, "hällo", False))
        self.assertEqual(made.target, names.text_of(("grün", 1, "\x7f😀")))
        self.assertEqual(made.extra, {"exclude": ['"a"']})

    def test_python_writes_names(self) -> None:
        """The names of the Python program are those of the code."""
        scope: dict[str, object] = {}
        exec(block("python redis").partition("client = ")[0], scope)
        write = scope["name"]
        assert callable(write)
        for name in ("lobby", 42, -1, "grün", ("a", 1), '"\\\b\f\n\r\t/\x7f\x00😀'):
            self.assertEqual(write(name), names.text_of(name))

    def test_the_script(self) -> None:
        """The script keeps what it publishes, with the arguments that the page tells, and does nothing for a copy."""
        manager = self.manager(History(stamp=None))
        ann = self.member(manager, "ann", "lobby")
        told = re.findall(r"^\| ([\w, ]+) \|", section("Rooms that remember"), re.MULTILINE)
        self.assertLess({"head, log", "channel", "size, milliseconds", "epoch, tag", "boot, number"}, {*told, ""})
        keys = ['syncws:0:{r:"lobby"}:head', 'syncws:0:{r:"lobby"}:log']
        data = bytes.fromhex(VECTOR)
        with RawRedis(self.server.port) as raw:
            position = raw.call(
                *("EVAL", block("lua"), 2, *keys, 'syncws:0:r:"lobby"', data, 100, 300_000),
                *("0" * 16, "f" * 8, "0123456789abcdef", 7),
            )
            self.assertRegex(position, rb"[0-9a-f]{16}-1-f{8}")
            again = raw.call(
                *("EVAL", block("lua"), 2, *keys, 'syncws:0:r:"lobby"', data, 100, 300_000),
                *("0" * 16, "e" * 8, "0123456789abcdef", 7),
            )
            self.assertIsNone(again)
        self.assertEqual(ann.receive(PATIENCE), "hällo")
        archive = RedisBackplane(self.url, history=History()).archive
        assert archive is not None
        self.addCleanup(archive.close)
        past = archive.read('r:"lobby"', None, PATIENCE)
        self.assertEqual(past.position, position.decode())


if __name__ == "__main__":
    unittest.main()
