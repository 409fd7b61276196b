"""`syncws serve --reload`: a server that begins anew when a source file of the application changes.

    serve_reloading        the parent: forks a child that serves, and another one whenever a file has changed
      Child                the process that imports the application and serves; it tells which files it has imported
      Files                how each of them was when it was last looked at

The parent has the listener, and neither imports the application nor accepts anybody: while no child serves, who
connects waits. A child that cannot begin, for a mistake that was just saved, has shown its traceback; the next change
is the next attempt.

Files are looked at four times a second. A library that is told of changes by the system would spare that look at a few
hundred files, a millisecond, and be one more thing to install.
"""

from __future__ import annotations

import contextlib
import functools
import hashlib
import os
import select
import signal
import site
import sys
import sysconfig
import threading
import time
from collections.abc import Callable, Iterable
from pathlib import Path
from types import TracebackType
from typing import NoReturn, Self

from .._base.printable import printable
from .command import CommandError

#: Seconds between two looks at the files.
_INTERVAL = 0.25

#: Seconds that a child has for its end: on Ctrl-C, which it has heard too; after it was told; then it is killed.
_ALONE, _TOLD = 2.0, 4.0

#: Seconds that the server of a child waits for its handlers, once its peers were told 1001.
SHUTDOWN_TIMEOUT = 1.0

#: Where the package is: its own files do not change while an application is written.
_PACKAGE = str(Path(__file__).resolve().parents[1])


def serve_reloading(serve: Callable[[], int]) -> int:
    """Serve until a signal or until the server ends by itself, and begin anew whenever a file has changed.

    serve is called in a process of its own, imports the application and serves; it returns the exit status, or raises
    CommandError. For the main thread. Raises CommandError where the system cannot fork.
    """
    if not hasattr(os, "fork"):
        raise CommandError("--reload forks a process, which this system cannot")
    files = Files()
    previous = {each: signal.signal(each, signal.default_int_handler) for each in (signal.SIGTERM, signal.SIGINT)}
    try:
        while True:
            with Child(serve) as child:
                status = _watch(child, files)
            if status is not None:
                return status
    except KeyboardInterrupt:
        return 0
    finally:
        for number, handler in previous.items():
            signal.signal(number, handler)


def _watch(child: Child, files: Files) -> int | None:
    """Wait until a file has changed: None. The child's exit status, if it has ended in order."""
    down = False
    while True:
        files.add(child.imported(_INTERVAL), child.began)
        if changed := files.changed():
            _say(f"{printable(os.path.relpath(changed))} has changed: beginning anew")
            return None
        if down or (status := child.status()) is None:
            continue
        if status == 0:
            return 0
        down = True
        files.add(child.imported(0), child.began)
        files.add_folders()  # a module that is missing may come
        _say("waiting for a change")


def _say(text: str) -> None:
    print(f"syncws: {text}", file=sys.stderr, flush=True)


class Files:
    """The files that count, and what was known of each at the last look.

    Concurrency: for one thread.
    """

    def __init__(self) -> None:
        self._known: dict[str, tuple[int, int, int] | None] = {}
        self._digests: dict[str, bytes] = {}  # of those that were written while they were imported: of what was in them

    def add(self, paths: Iterable[str], began: float) -> None:
        """Let files count. One that was written since `began`, a time.time(), counts as changed: which of its texts was
        imported, nobody knows."""
        for path in paths:
            if path not in self._known:
                found = _look(path)
                written = found[0] / 1e9 if found else 0.0
                self._known[path] = None if began <= written <= time.time() else found

    def add_folders(self) -> None:
        """Let the folders of all files count, and the current one: what is new there is a change."""
        folders = {os.path.dirname(path) for path in self._known if path.endswith(".py")} | {os.getcwd()}
        self.add(folders, time.time())

    def changed(self) -> str | None:
        """A file that has changed since the last look, if there is one; folders count no longer then."""
        changed = None
        for path, before in self._known.items():
            now = _look(path)
            if now != before:
                self._known[path] = now
                if not self._writes_itself(path, is_first=before is None):
                    changed = changed or path
        if changed is not None:
            self._known = {path: found for path, found in self._known.items() if not os.path.isdir(path)}
        return changed

    def _writes_itself(self, path: str, *, is_first: bool) -> bool:
        """Whether a file has the same content as when it was written while it was imported: an application that writes
        a module of its own at each start would begin anew for ever. is_first: it was written so just now."""
        if not is_first and path not in self._digests:
            return False
        try:
            digest = hashlib.sha256(Path(path).read_bytes()).digest()
        except OSError:  # no file, or a folder
            return False
        before, self._digests[path] = self._digests.get(path), digest
        return digest == before


def _look(path: str) -> tuple[int, int, int] | None:
    """What changes when a file is written, or another takes its place; None for no file."""
    try:
        found = os.stat(path)
    except OSError:
        return None
    return found.st_mtime_ns, found.st_size, found.st_ino


class Child:
    """A process that serves, from its fork to its end, which leaving the `with` block is.

    Concurrency: for one thread.
    """

    def __init__(self, serve: Callable[[], int]) -> None:
        self.began = time.time()
        self._status: int | None = None
        self._pending = b""
        self._reader, writer = os.pipe()
        _flush()  # or the child would write once more what waits in the buffers
        self._pid = os.fork()
        if self._pid == 0:
            os.close(self._reader)
            _be_child(serve, writer)
        os.close(writer)

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        try:
            if isinstance(error, KeyboardInterrupt):
                self._wait(_ALONE)
            self._tell(signal.SIGTERM)
            self._wait(_TOLD)
        finally:  # also after a second Ctrl-C
            self._tell(signal.SIGKILL)
            self._wait(None)
            os.close(self._reader)

    def imported(self, seconds: float) -> list[str]:
        """Files that it has imported since it was last asked, after waiting for at most so many seconds."""
        if not select.select([self._reader], (), (), seconds)[0]:
            return []
        data = os.read(self._reader, 1 << 16)
        if not data:  # it has ended, and nothing will come
            time.sleep(seconds)
        *paths, self._pending = (self._pending + data).split(b"\0")
        return [os.fsdecode(path) for path in paths]

    def status(self) -> int | None:
        """Its exit status, once it has ended; after a signal minus its number."""
        if self._status is None:
            pid, status = os.waitpid(self._pid, os.WNOHANG)
            if pid:
                self._status = os.waitstatus_to_exitcode(status)
        return self._status

    def _tell(self, number: signal.Signals) -> None:
        if self.status() is None:
            os.kill(self._pid, number)  # it is ours until we have waited for it

    def _wait(self, seconds: float | None) -> None:
        end = None if seconds is None else time.monotonic() + seconds
        while self.status() is None and (end is None or time.monotonic() < end):
            time.sleep(0.01)


def _be_child(serve: Callable[[], int], writer: int) -> NoReturn:
    """The child, from its fork to its end."""
    status = 1
    try:
        reporter = Reporter(writer)
        reporter.start()
        try:
            status = serve()
        except CommandError as error:
            _say(str(error))
            status = error.status
            reporter.tell(files_in(error))
        reporter.tell(source_files())
    except KeyboardInterrupt:
        status = 0
    finally:
        _flush()
        os._exit(status)  # the frames of the parent are not this process's to leave


class Reporter:
    """Tells the parent which files the application has imported, now and later.

    Concurrency: `tell` is for any thread; `_lock` guards what was told.
    """

    def __init__(self, writer: int) -> None:
        self._writer = writer
        self._parent = os.getppid()
        self._lock = threading.Lock()
        self._told: set[str] = set()

    def start(self) -> None:
        """Tell, from now on, by a thread of its own; once the parent is gone it ends this process."""
        threading.Thread(target=self._run, name="syncws-reload", daemon=True).start()

    def tell(self, paths: set[str]) -> None:
        """Tell of files."""
        with self._lock:
            new = paths - self._told
            self._told |= new
        for path in sorted(new):
            with contextlib.suppress(OSError):  # nobody reads it any more
                os.write(self._writer, os.fsencode(path) + b"\0")

    def _run(self) -> None:
        while os.getppid() == self._parent:
            self.tell(source_files())
            time.sleep(_INTERVAL)
        os.kill(os.getpid(), signal.SIGTERM)


def source_files() -> set[str]:
    """The files of all modules that are imported, without those of Python, of installed packages and of syncws."""
    files = (getattr(module, "__file__", None) for module in list(sys.modules.values()))
    return {path for path in files if isinstance(path, str) and is_source(path)}


@functools.cache  # of hundreds of modules, twice a second
def is_source(path: str) -> bool:
    """Whether a file is of the application."""
    real = os.path.realpath(path)
    return os.path.isfile(real) and not any(real.startswith(folder + os.sep) for folder in _installed())


@functools.cache
def _installed() -> list[str]:
    """Where files are that nobody edits while an application is written."""
    folders = [*sysconfig.get_paths().values(), *site.getsitepackages(), site.getusersitepackages(), _PACKAGE]
    whole = {sysconfig.get_path("data"), sys.prefix}  # which may hold the application, as /usr or a folder does
    return [os.path.realpath(folder) for folder in folders if folder not in whole]


def files_in(error: BaseException | None) -> set[str]:
    """The files that an error came through: a module whose import failed is not among those that are imported."""
    found = set()
    while error is not None:
        if isinstance(error, SyntaxError) and error.filename:
            found.add(error.filename)
        frames = error.__traceback__
        while frames is not None:
            found.add(frames.tb_frame.f_code.co_filename)
            frames = frames.tb_next
        error = error.__cause__ or error.__context__
    return {path for path in found if is_source(path)}


def _flush() -> None:
    for stream in (sys.stdout, sys.stderr):
        with contextlib.suppress(Exception):  # there is no such stream, or it is closed, or nobody reads it any more
            stream.flush()
