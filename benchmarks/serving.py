"""What all servers and rooms that are compared do: they print their port, and end with their parent.

Called as NAME FOLDER [tls] [deflate], where the folder has a certificate; gorilla's program takes the same words.
"""

from __future__ import annotations

import dataclasses
import importlib.util
import os
import ssl
import sys
import threading
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

from . import gorilla
from .client import LEVEL


@dataclasses.dataclass(frozen=True)
class Ways:
    """How clients come to a server: by TLS, with permessage-deflate, or neither."""

    tls: ssl.SSLContext | None
    deflate: bool


def say(port: int) -> None:
    """Tell the parent that this process listens; from now on it ends with its standard input."""
    print(port, flush=True)
    threading.Thread(target=_end_with_standard_input, daemon=True).start()


def _end_with_standard_input() -> None:
    sys.stdin.buffer.read()
    os._exit(0)


def run_named(kinds: Mapping[str, Callable[[Ways], None]]) -> None:
    """Run the server that the command line names."""
    name, folder, *words = sys.argv[1:]
    tls = None
    if "tls" in words:
        tls = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
        tls.load_cert_chain(f"{folder}/cert.pem", f"{folder}/key.pem")
    kinds[name](Ways(tls, "deflate" in words))


def websockets_compression(ways: Ways) -> dict[str, Any]:
    """None, or what `client` offers and syncws does: nothing is kept between messages, and windows are the largest."""
    if not ways.deflate:
        return {"compression": None}
    from websockets.extensions.permessage_deflate import ServerPerMessageDeflateFactory

    factory = ServerPerMessageDeflateFactory(
        server_no_context_takeover=True,
        client_no_context_takeover=True,
        server_max_window_bits=15,
        client_max_window_bits=15,
        compress_settings={"level": LEVEL, "memLevel": 8},
    )
    return {"compression": None, "extensions": [factory]}


def words(*, tls: bool, deflate: bool) -> list[str]:
    """The last words of the command line."""
    return ["tls"] * tls + ["deflate"] * deflate


def lacks(needs: tuple[str, ...], folder: Path) -> str:
    """A line that says which of these modules is missing; "" if none is. "gorilla" is gorilla/websocket."""
    if "gorilla" in needs:
        return gorilla.build(folder)
    missing = [module for module in needs if importlib.util.find_spec(module) is None]
    return f"{' and '.join(missing)} not installed (pip install 'syncws[bench]')" if missing else ""


def make_certificate(folder: Path) -> None:
    """cert.pem and key.pem for localhost, and authority.pem that vouches for them, if they are not there yet."""
    import trustme

    if (folder / "authority.pem").exists():
        return
    authority = trustme.CA()
    issued = authority.issue_cert("localhost")
    issued.cert_chain_pems[0].write_to_path(folder / "cert.pem")
    issued.private_key_pem.write_to_path(folder / "key.pem")
    authority.cert_pem.write_to_path(folder / "authority.pem")
