"""Whether the wheel is whole and works, beside its two requirements alone.

python .ci/check_wheel.py CHECKOUT     in an environment with the wheel, from a folder that is not the checkout
"""

from __future__ import annotations

import importlib
import importlib.metadata as metadata
import pathlib
import pkgutil
import re
import subprocess
import sys
import sysconfig
import tempfile

import syncws
from syncws.testing import serving

CHECKOUT = pathlib.Path(sys.argv[1])

#: What must be there without any extra: the modules that are, and that lead to all others.
CORE = {"syncws.errors", "syncws.wsgi", "syncws.backplane", "syncws.testing", "syncws._cli.main"}

APP = """
from syncws.wsgi import websocket

@websocket
def app(conn):
    for message in conn:
        conn.send(message)
"""


def check_files() -> None:
    """All modules are in it, with their types, their licence and the plugin for pytest; no tests are."""
    files = {str(file) for file in metadata.files("syncws") or ()}
    assert pathlib.Path(syncws.__file__).is_relative_to(sys.prefix), syncws.__file__
    expected = {str(path.relative_to(CHECKOUT)) for path in CHECKOUT.joinpath("syncws").rglob("*.py")}
    expected |= {"syncws/py.typed", "pytest_syncws.py"}
    assert not expected - files, f"the wheel lacks {sorted(expected - files)}"
    others = [name for name in files if not name.startswith(("syncws/", "syncws-", "pytest_syncws.py", "../", "__pyc"))]
    assert not others, f"the wheel also has {sorted(others)}"
    assert any(name.endswith("LICENSE") for name in files), sorted(files)


def check_accelerator() -> None:
    """The accelerator is in it, for every Python with a GIL, and is used."""
    assert syncws.accelerated
    tag = metadata.distribution("syncws").read_text("WHEEL") or ""
    assert "cp311-abi3" in tag or sysconfig.get_config_var("Py_GIL_DISABLED"), tag


def check_requirements() -> None:
    installed = {dist.metadata["Name"].lower() for dist in metadata.distributions()} - {"pip", "setuptools"}
    assert installed == {"syncws", "wsproto", "h11"}, installed


def check_imports() -> list[str]:
    """Every module imports with the two requirements, or says which extra it needs; returns those that do."""
    extras = set(metadata.metadata("syncws").get_all("Provides-Extra") or ())
    imported = []
    for module in pkgutil.walk_packages(syncws.__path__, "syncws."):
        if module.name == "syncws.__main__":
            continue
        try:
            importlib.import_module(module.name)
        except ModuleNotFoundError as error:
            told = re.search(r'pip install "syncws\[(\w+)\]"', str(error))
            assert told and told[1] in extras, f"{module.name}: {error}"
        else:
            imported.append(module.name)
    assert set(imported) >= CORE, CORE - set(imported)
    return imported


def check_programs() -> None:
    """A server and a client talk, in a program and on the command line."""
    with serving(lambda conn: conn.send(conn.receive())) as live:
        conn = live.dial("/")
        conn.send("hello")
        assert conn.receive(timeout=10) == "hello"

    command = str(pathlib.Path(sys.executable).with_name("syncws"))
    said = subprocess.run([command, "--version"], capture_output=True, text=True, check=True, timeout=60).stdout
    assert metadata.version("syncws") in said, said
    with tempfile.TemporaryDirectory() as folder:
        pathlib.Path(folder, "wheelapp.py").write_text(APP)
        serve = [command, "serve", "--port", "0", "wheelapp:app"]
        with subprocess.Popen(serve, cwd=folder, stderr=subprocess.PIPE, text=True) as process:
            try:
                assert process.stderr is not None
                listening = re.search(r"http://(\S+)", process.stderr.readline())
                assert listening is not None, process.stderr.read()
                url = f"ws://{listening[1].rstrip('/')}/"
                with syncws.dial(url, proxy=None) as conn:
                    conn.send(b"over the command line")
                    assert conn.receive(timeout=10) == b"over the command line"
            finally:
                process.terminate()


if __name__ == "__main__":
    check_files()
    check_accelerator()
    check_requirements()
    modules = check_imports()
    check_programs()
    print(f"syncws {metadata.version('syncws')}: {len(modules)} modules import, and a server and a client talk")
