"""The layout of the project: who may import whom, which tests must exist, what is written once or never."""

from __future__ import annotations

import ast
import functools
import re
import subprocess
import sys
import sysconfig
import unittest
from collections.abc import Iterator, Sequence
from pathlib import Path
from unittest.loader import _FailedTest  # what stands for a module whose partner is not installed

ROOT = Path(__file__).resolve().parent.parent
PACKAGE = ROOT / "syncws"
TESTS = ROOT / "tests"

# What users may import. Everything else begins with an underscore.
PUBLIC = {
    "errors",
    "backplane",
    "wsgi",
    "flask",
    "django",
    "bottle",
    "falcon",
    "prometheus",
    "pyramid",
    "opentelemetry",
    "testing",
    "testing.django",
}

# The architecture: the floor of each folder, and of each module that stands in none. A floor imports only lower floors,
# so folders of one floor never import each other. For type checking too.
FLOORS = {
    "_base": 0,
    "errors": 0,
    "_bus": 1,
    "_frames": 1,
    "_net": 1,
    "_http": 2,
    "_relay": 2,
    "_conn": 3,
    "_client": 4,
    "_rooms": 4,
    "_wsgi": 4,
    "_server": 5,
    "_cli": 6,
    "_testing": 6,
    "backplane": 6,
    "opentelemetry": 6,
    "wsgi": 6,
    "bottle": 7,
    "django": 7,
    "falcon": 7,
    "flask": 7,
    "prometheus": 7,
    "pyramid": 7,
    "testing": 7,
    "__init__": 8,
    "__main__": 8,
}

# Floor 0 has an order too: the texts of exceptions are made with what is in _base, which raises none of them.
GROUND = ["_base", "errors"]

# Which of the lower floors each one uses; another is a decision, and one that is used no more is taken out. Rooms know
# nothing of sockets and HTTP, and a WSGI server's guests nothing of frames.
USES = {
    "errors": {"_base"},
    "_bus": {"_base", "errors"},
    "_frames": {"_base", "errors"},
    "_net": {"_base", "errors"},
    "_http": {"_base", "errors", "_frames", "_net"},
    "_conn": {"_base", "errors", "_frames", "_net", "_http"},
    "_client": {"_base", "errors", "_frames", "_net", "_http", "_conn"},
    "_relay": {"_base", "errors", "_bus", "_frames"},
    "_rooms": {"_base", "errors", "_bus", "_frames", "_relay", "_conn"},
    "_wsgi": {"_base", "errors", "_net", "_http", "_conn"},
    "_server": {"_base", "errors", "_frames", "_net", "_http", "_conn", "_wsgi"},
    "_cli": {
        *("_base", "errors", "_bus", "_frames", "_net", "_http", "_relay", "_conn", "_client", "_rooms", "_wsgi"),
        "_server",
    },
    "backplane": {"_bus"},
    "wsgi": {"_base", "errors", "_frames", "_http", "_conn", "_wsgi", "_server"},
    "bottle": {"_base", "_conn", "_wsgi", "_server"},
    "django": {"_base", "_conn", "_wsgi", "_server"},
    "falcon": {"_base", "_http", "_conn", "_wsgi", "_server"},
    "flask": {"_base", "errors", "_conn", "_wsgi", "_server"},
    "prometheus": {"_base", "_net", "_conn", "_relay", "_rooms", "_wsgi", "_server"},
    "pyramid": {"_base", "_conn", "_wsgi", "_server"},
    "opentelemetry": {"_base", "errors", "_net", "_http", "_conn", "_client", "_server", "_wsgi"},
    "_testing": {"_base", "errors", "_frames", "_net", "_http", "_conn", "_client", "_server"},
    "testing": {"_base", "_bus", "_testing", "_client", "_conn", "_http", "_server"},
    "__init__": {
        "_base",
        "errors",
        "_bus",
        "_relay",
        "_frames",
        "_net",
        "_http",
        "_conn",
        "_client",
        "_rooms",
        "_server",
    },
    "__main__": {"_cli"},
}

# The order inside each folder: a module imports only those that stand before it. A folder inside has its place too,
# which is that of all its modules.
ORDER = {
    "_base": [
        *(
            "callables",
            "extras",
            "copies",
            "forks",
            "owners",
            "options",
            "version",
            "green",
            "waker",
            "worker",
            "printable",
            "tracebacks",
            "logs",
            "interrupts",
            "latelock",
            "counters",
            "advice",
            "unfinished",
            "errands",
            "endings",
            "threads",
        ),
    ],
    "_bus": [
        *("history", "redisarchive", "memoryarchive", "backplane"),
        *("localdirectory", "localframes", "localpeer", "localreader", "localmesh", "localoutlet", "local"),
        "ring",
        *("busarchive", "memory", "recorder", "cases"),
        *("outbox", "subscriptions", "watchdog", "trouble", "backoff"),
        *("redisurl", "rediswire", "redislink", "redisreader", "rediswriter", "redisoutlet", "redis"),
    ],
    "_bus.cases": ["fixture", "delivery", "breaks", "lives", "outlets", "archives"],
    "_frames": [
        *(
            "masking",
            "frame",
            "window",
            "deflate",
            "compressor",
            "agreement",
            "accelerator",
            "payloads",
            "partial",
            "ahead",
            "compressed",
            "plain",
            "runs",
            "verdicts",
            "lanes",
            "protocol",
            "prepared",
            "streams",
        ),
        *("keepalive", "allowance"),
    ],
    "_net": [
        *("drain", "heap", "address", "waits", "attendance", "tcpinfo", "transport", "accepted", "strangers", "tls"),
        *("descriptors", "listener", "inherited", "notice"),
        *("attempt", "connector"),
    ],
    "_http": [
        "headers",
        "cookies",
        "request",
        "response",
        "head",
        "http11",
        "hosts",
        "origins",
        "handshake",
        "url",
        "coding",
        "httpclient",
        "wsgiresponse",
    ],
    "_relay": [
        *("names", "envelope", "stamp", "kept", "numbers", "interests", "gaps", "here", "nodes", "health"),
        *("outward", "questions", "claims", "surveys", "inward", "pulse", "relay", "address", "headcount", "publisher"),
    ],
    "_conn": [
        *(
            "subject",
            "states",
            "queue",
            "batch",
            "courier",
            *("stats", "tally"),
            "wire",
            "contexts",
            "callbacks",
            "ending",
            *("turnstile", "controls", "intake", "pace", "holding", "inbound"),
            "attendant",
            "closing",
            "outbound",
            "access",
            "wiretrace",
        ),
        *("conn", "ledger", "outcome", "farewell"),
    ],
    "_client": [
        *("environment", "proxy", "cookies", "hops", "redirects", "answer", "dialer"),
        *("backoff", "healing", "outage", "reconnector"),
    ],
    "_rooms": [
        "heartbeat",
        "member",
        "arguments",
        "stats",
        "registry",
        "settler",
        "recall",
        "here",
        "everywhere",
        "manager",
    ],
    "_wsgi": [
        *("taken", "inside", "servers", "takers", "foreign", "borrow", "detach", "detach_tls", "stats", "guests"),
        *("exchange", "environ", "conversation", "view"),
    ],
    "_wsgi.servers": [
        *("by_stream", "werkzeug", "waitress", "eventlet", "cheroot", "rocket3", "uwsgi", "gunicorn", "refused"),
    ],
    "_server": [
        "refusal",
        "checks",
        "upgrader",
        "views",
        "meeting",
        "cores",
        "workers",
        "signals",
        "wsgi_input",
        "wsgi_answer",
        "gateway",
        "capacity",
        "retreat",
        "stats",
        "roster",
        "health",
        "options",
        *("kept", "crowd", "judge", "pinning"),
        "connection",
        "acceptor",
        "server",
    ],
    "_cli": ["command", "dialing", "connect", "publish", "reloading", "serve", "bench", "doctor", "main"],
    "_cli.bench": [
        *("recorder", "plan", "tally", "opening", "peer", "generator", "crew", "progress", "report", "options"),
    ],
    "_cli.doctor": [
        *("mending", "finding", "report"),
        *("facts", "machine"),
        *("frameworks", "servers", "gunicornconf", "application"),
        *("standin", "visitor", "fronts", "refusals", "handshakes", "conversations", "patience", "deployment"),
        "command",
    ],
    "_cli.connect": [
        *("endings", "refusals", "jsontext", "view", "paint", "output", "record", "session", "replay"),
        *("lines", "pipes", "history", "plainscreen", "screen", "slash", "talk", "options"),
    ],
    "_testing": [
        *("waiting", "frames", "pairs", "scripted", "leaks", "browsers", "views", "serving", "workbench"),
    ],
    "testing": ["django"],
}

# Tests that may bound a time from above: what must hold, and what other people's servers do.
BOUND_TIMES = {"guarantees", "hosts"}

# The only packages from outside, and the modules that may import them.
THIRD_PARTY = {
    "bottle": {"bottle"},
    "django": {"django"},
    "falcon": {"falcon"},
    "flask": {"flask", "werkzeug"},
    "opentelemetry": {"opentelemetry"},
    "prometheus": {"prometheus_client"},
    "pyramid": {"pyramid"},
    "testing.django": {"django"},
    "_bus.redisurl": {"redis", "valkey"},
    "_cli.bench.progress": {"rich"},
    "_cli.connect.paint": {"rich"},
    "_cli.connect.screen": {"prompt_toolkit"},
    "_client.proxy": {"python_socks"},
    "_frames.masking": {"numpy"},
    "_frames.plain": {"wsproto"},
    "_http.http11": {"h11"},
    "_http.httpclient": {"h11"},
}

# Nothing in these has behaviour of its own.
UNTESTED = {"__init__", "backplane", "_base.version", "_bus.backplane", "_bus.redislink", "_relay.here"}

# The files that are searched for words: the project's own text, by the end of its name.
TEXT = {".py", ".md", ".cfg", ".toml", ".css", ".html", ".js", ".yml", ".txt", ""}


def modules() -> dict[str, Path]:
    """The modules of the package by name: "_conn.wire", "errors". A folder's page has the name of its folder."""
    found = {}
    for path in sorted(PACKAGE.rglob("*.py")):
        name = ".".join(path.relative_to(PACKAGE).with_suffix("").parts)
        found[name.removesuffix(".__init__")] = path
    return found


def our_files() -> Iterator[Path]:
    """Every text file of the project; not what tools and builds leave behind."""
    for path in sorted(ROOT.rglob("*")):
        parts = path.relative_to(ROOT).parts
        generated = any(part.endswith((".egg-info", "__pycache__")) or part in _GENERATED for part in parts)
        hidden = any(part.startswith(".") and part not in (".ci", ".gitignore") for part in parts)
        if path.is_file() and path.suffix in TEXT and not generated and not hidden:
            yield path


_GENERATED = {"build", "dist", "gunicorn23", "node_modules", "package-lock.json"}


@functools.cache
def parsed(path: Path) -> ast.Module:
    """The tree of a file."""
    return ast.parse(path.read_text())


def imports(path: Path) -> tuple[set[str], set[str]]:
    """(modules of the package, other packages) that a module of it imports."""
    return imports_of(path.read_text(), path.parent.relative_to(PACKAGE).parts)


def imports_of(source: str, folder: Sequence[str]) -> tuple[set[str], set[str]]:
    """The imports of a source text in a folder of the package, of any kind and at any place in it.

    `from .._net.drain import drain` and `from syncws._net import drain` are both "_net.drain".
    """
    own: set[str] = set()
    other: set[str] = set()

    def add(name: str) -> None:
        package, _, module = name.partition(".")
        if package != "syncws":
            other.add(package)
        elif module in MODULES:
            own.add(module)
        else:  # a name inside a module, or nothing but the package
            own.add(module.rpartition(".")[0] or "__init__")

    for node in ast.walk(ast.parse(source)):
        match node:
            case ast.Import():
                for alias in node.names:
                    add(alias.name)
            case ast.ImportFrom():
                base = [node.module] if node.module else []
                if node.level:
                    base = ["syncws", *folder[: len(folder) + 1 - node.level], *base]
                for alias in node.names:
                    add(".".join([*map(str, base), alias.name]))
            case ast.Call(func=ast.Attribute(attr="import_module"), args=[ast.Constant(value=str(name)), *_]):
                add(name)
    return own, other


MODULES = modules()


def floor(module: str) -> int:
    """The floor that a module is on."""
    return FLOORS[module.partition(".")[0]]


class TestImports(unittest.TestCase):
    """The table of floors is the architecture; these tests compare the code with it."""

    def test_every_module_has_a_place(self) -> None:
        """A new module is put into the tables first: its folder on a floor, itself into the folder's order."""
        named = {f"{folder}.{module}" for folder, order in ORDER.items() for module in order}
        self.assertEqual(MODULES.keys(), named | FLOORS.keys())

    def test_the_public_line(self) -> None:
        """What users may import is listed; the name of everything else begins with an underscore."""
        public = {name for name in MODULES if not any(part.startswith("_") for part in name.split("."))}
        self.assertEqual(public, PUBLIC)

    def test_only_lower_floors_are_imported(self) -> None:
        """Imports go down, never up or sideways; inside a folder they go to modules before it in the folder's order."""
        for name, path in MODULES.items():
            for imported in imports(path)[0]:
                with self.subTest(f"{name} imports {imported}"):
                    self.assertTrue(_may_import(name, imported))

    def test_what_is_used(self) -> None:
        """The table of who uses which floor names what is used, and nothing else."""
        found: dict[str, set[str]] = {}
        for name, path in MODULES.items():
            ours = name.partition(".")[0]
            theirs = {imported.partition(".")[0] for imported in imports(path)[0]} - {ours}
            found[ours] = found.get(ours, set()) | theirs
        self.assertEqual({name: used for name, used in found.items() if used}, USES)

    def test_the_rule_of_floors(self) -> None:
        """The rule that the test above applies refuses what it must: up, sideways, and back in a folder's order."""
        for name, imported, allowed in (
            ("_conn.conn", "_net.drain", True),
            ("_conn.conn", "_conn.wire", True),
            ("_conn.wire", "_conn.conn", False),
            ("_conn.wire", "_conn.wire", False),
            ("_net.drain", "_frames.protocol", False),
            ("_rooms.manager", "_wsgi.view", False),
            ("_rooms.manager", "_server.server", False),
            ("_wsgi.view", "wsgi", False),
            ("_rooms.manager", "_net.drain", False),
            ("_conn", "_conn.wire", False),
            ("errors", "_base.printable", True),
            ("_base.printable", "errors", False),
            ("_wsgi.servers.gunicorn", "_wsgi.servers.eventlet", True),
            ("_wsgi.servers.eventlet", "_wsgi.servers.gunicorn", False),
            ("_wsgi.servers.gunicorn", "_wsgi.taken", True),
            ("_wsgi.servers.gunicorn", "_wsgi.takers", False),
            ("_wsgi.servers.gunicorn", "_net.drain", True),
            ("_wsgi.takers", "_wsgi.servers.gunicorn", True),
            ("_wsgi.taken", "_wsgi.servers.gunicorn", False),
            ("_wsgi.servers", "_wsgi.servers.gunicorn", False),
        ):
            with self.subTest(f"{name} imports {imported}"):
                self.assertIs(_may_import(name, imported), allowed)

    def test_the_package_does_not_import_itself_by_name(self) -> None:
        """Relative imports only, in the code; a page's example is not code."""
        for name, path in MODULES.items():
            for node in ast.walk(parsed(path)):
                absolute = (isinstance(node, ast.ImportFrom) and not node.level and node.module) or ""
                names = [alias.name for alias in node.names] if isinstance(node, ast.Import) else [absolute]
                with self.subTest(name):
                    self.assertNotIn("syncws", [each.partition(".")[0] for each in names])

    def test_third_parties(self) -> None:
        """Apart from the standard library a module imports only the package that it wraps."""
        for name, path in MODULES.items():
            foreign = imports(path)[1] - sys.stdlib_module_names
            with self.subTest(name):
                self.assertLessEqual(foreign, THIRD_PARTY.get(name, set()))

    @unittest.skipUnless(sysconfig.get_config_var("Py_GIL_DISABLED"), "this Python has a GIL")
    def test_no_import_enables_the_gil(self) -> None:
        """On a Python without the GIL it stays without: neither what is required nor numpy brings it back."""
        alone = {"h11", "numpy", "python_socks", "wsproto"}  # not the frameworks, of which each glue imports one
        names = [name for name in MODULES if THIRD_PARTY.get(name, set()) <= alone and not name.startswith("__")]
        program = f"""
import importlib, sys
for module in {[f"syncws.{name}" for name in names]!r}:
    importlib.import_module(module)
importlib.import_module("syncws._frames.masking").mask(bytes(4096), b"mask")  # imports numpy where it is installed
assert not sys._is_gil_enabled()
"""
        subprocess.run([sys.executable, "-W", "error", "-c", program], check=True, timeout=60)

    def test_what_is_counted_as_an_import(self) -> None:
        """The helper sees each way of importing; else the tests above would prove nothing."""
        own, other = imports(MODULES["_frames.deflate"])
        self.assertLessEqual({"zlib", "__future__"}, other)
        self.assertIn("wsproto", imports(MODULES["_frames.plain"])[1])
        self.assertIn("numpy", imports(MODULES["_frames.masking"])[1])
        self.assertLessEqual(
            {"_frames.agreement", "_http.handshake", "_conn.conn"}, imports(MODULES["_server.upgrader"])[0]
        )
        lines = [
            "from .wire import Wire",
            "from .._net import drain",
            "from ..errors import CloseCode",
            "from syncws._http import url",
            "import syncws._server.server",
            "if TYPE_CHECKING: from .._rooms.manager import Manager",
            "def f(): import importlib; importlib.import_module('syncws.flask')",
            "from .. import testing, Conn",
        ]
        own, other = imports_of("\n".join(lines), ["_conn"])
        expected = {"_conn.wire", "_net.drain", "errors", "_http.url", "_server.server", "_rooms.manager", "flask"}
        self.assertEqual((own, other), (expected | {"testing", "__init__"}, {"importlib"}))


def _may_import(name: str, imported: str, folder: str = "") -> bool:
    """Whether one module may import another: in the innermost folder that holds both, its order decides.

    Both are named as they are in that folder, which is the package itself at first: there the floors decide, and which
    of them are used.
    """
    ours, _, inside_ours = name.partition(".")
    theirs, _, inside_theirs = imported.partition(".")
    if ours == theirs and inside_ours and inside_theirs:
        return _may_import(inside_ours, inside_theirs, f"{folder}.{ours}".lstrip("."))
    if not folder:
        on_the_ground = (theirs, ours) == tuple(GROUND)
        return (FLOORS[theirs] < FLOORS[ours] or on_the_ground) and theirs in USES.get(ours, set())
    order = ORDER.get(folder, [])
    return ours in order and theirs in order and order.index(theirs) < order.index(ours)


class TestTests(unittest.TestCase):
    """Each module has its tests, and each test says what it is about."""

    def test_every_module_is_tested(self) -> None:
        """syncws/_conn/x.py is tested by tests/conn/test_x.py, or by several files test_x_<aspect>.py."""
        for name in MODULES.keys() - UNTESTED - ORDER.keys():  # a folder's page holds words only
            with self.subTest(name):
                *folder, module = (part.strip("_") for part in name.split("."))
                place = TESTS.joinpath(*folder)
                found = [*place.glob(f"test_{module}.py"), *place.glob(f"test_{module}_*.py")]
                self.assertNotEqual(found, [])

    def test_a_page_holds_words_only(self) -> None:
        """The __init__ of a folder is its page: a docstring that names each of its files, and no code."""
        for folder, order in ORDER.items():
            if folder in PUBLIC:  # a face, which exports names
                continue
            with self.subTest(folder):
                tree = ast.parse(MODULES[folder].read_text())
                self.assertEqual(len(tree.body), 1)
                page = ast.get_docstring(tree) or ""
                self.assertEqual([name for name in order if f"* `{name}`: " not in page], [])
                self.assertIn(f"Floor {floor(folder)}: ", page)

    def test_every_test_has_a_docstring(self) -> None:
        """The docstring is the specification: a sentence for each test."""
        for path in sorted(TESTS.rglob("test_*.py")):
            for node in ast.walk(parsed(path)):
                if isinstance(node, ast.FunctionDef) and node.name.startswith("test_"):
                    with self.subTest(f"{path.name}: {node.name}"):
                        self.assertTrue(ast.get_docstring(node))

    def test_every_test_can_be_named(self) -> None:
        """The command line takes the name of each test that is collected; no class of a test module holds tests that
        run under other names only."""
        collected = []
        for test in _collected():
            if not isinstance(test, _FailedTest):
                collected.append(test)
            elif "ModuleNotFoundError" not in str(test._exception):  # where it is another package that is missing
                self.fail(str(test._exception))
        for test in collected:
            found = list(_tests_of(unittest.defaultTestLoader.loadTestsFromName(test.id())))
            if [each.id() for each in found] != [test.id()]:
                self.fail(f"{test.id()} finds {found}")
        classes = {type(test) for test in collected}
        for module in {each.__module__ for each in classes}:
            for name, member in vars(sys.modules[module]).items():
                own = isinstance(member, type) and member.__module__ == module
                if own and any(each.startswith("test_") for each in vars(member)) and member not in classes:
                    self.fail(f"{module}.{name} is not collected")

    def test_no_test_bounds_a_time(self) -> None:
        """No test fails because a machine is slow: a time has an upper bound only where it is the promise."""
        for path in sorted(TESTS.rglob("*.py")):
            if path.relative_to(TESTS).parts[0] not in BOUND_TIMES:
                lines = [node.lineno for node in ast.walk(parsed(path)) if _bounds_a_time(node)]
                self.assertEqual(lines, [], path)
        for source, bounds in (
            ("self.assertLess(time.monotonic() - began, 2)", True),
            ("self.assertTrue(0.1 < elapsed(call) < 5)", True),
            ("self.assertLessEqual(task.seconds, BOUND)", True),
            ("self.assertGreater(task.seconds, 0.1)", False),
            ("self.assertLess(len(found), 2)", False),
        ):
            self.assertEqual(any(map(_bounds_a_time, ast.walk(ast.parse(source)))), bounds, source)

    def test_every_module_and_test_file_says_what_it_is(self) -> None:
        """A file begins with a docstring that says what it is for."""
        for path in (*MODULES.values(), *sorted(TESTS.rglob("test_*.py"))):
            with self.subTest(path.name):
                self.assertTrue(ast.get_docstring(parsed(path)))


def _bounds_a_time(node: ast.AST) -> bool:
    """Whether this is an assertion that some time is less than some number."""
    match node:
        case ast.Call(
            func=ast.Attribute(attr="assertLess" | "assertLessEqual"), args=[taken, ast.Constant() | ast.Name(), *_]
        ):
            return bool(_TIME.search(ast.unparse(taken)))
        case ast.Call(
            func=ast.Attribute(attr="assertTrue"), args=[ast.Compare(comparators=[taken, ast.Constant()]), *_]
        ):
            return bool(_TIME.search(ast.unparse(taken)))
    return False


_TIME = re.compile(r"monotonic\(\) -|elapsed\(|\.seconds\b|\btook\b|perf_counter")


def _collected() -> Iterator[unittest.TestCase]:
    """Every test of the project."""
    return _tests_of(unittest.TestLoader().discover(str(ROOT / "tests"), top_level_dir=str(ROOT)))


def _tests_of(suite: unittest.TestSuite) -> Iterator[unittest.TestCase]:
    for each in suite:
        if isinstance(each, unittest.TestSuite):
            yield from _tests_of(each)
        else:
            yield each


class TestWords(unittest.TestCase):
    """What is written only once, and what is written nowhere."""

    def test_the_version_is_written_once(self) -> None:
        """In _base/version.py; history, and what was measured with it, are allowed to tell it again."""
        version = re.search(r'__version__ = "([\d.]+\w*)"', MODULES["_base.version"].read_text())
        assert version is not None
        spelled = re.compile(rf"(?<![\d.]){re.escape(version[1])}(?![\d.]*\d)")
        found = [path.relative_to(ROOT).as_posix() for path in our_files() if spelled.search(path.read_text())]
        history = {"CHANGELOG.md", "docs/benchmarks.md", "docs/benchmarks.json"}
        self.assertEqual([name for name in found if name not in history], ["syncws/_base/version.py"])

    def test_nothing_is_left_to_do(self) -> None:
        """Unfinished work stands in issues, not in files."""
        word = re.compile(r"\bTO" + r"DO\b")
        found = [str(path.relative_to(ROOT)) for path in our_files() if word.search(path.read_text())]
        self.assertEqual(found, [])

    def test_files_are_found(self) -> None:
        """The search covers code, tests, docs and settings, and nothing that was installed."""
        names = {path.relative_to(ROOT).as_posix() for path in our_files()}
        self.assertLessEqual(
            {"syncws/_conn/conn.py", "tests/test_layout.py", "setup.cfg", "README.md", ".ci/run"}, names
        )
        self.assertFalse({name for name in names if "site-packages" in name or name.startswith(".git/")})


if __name__ == "__main__":
    unittest.main()
