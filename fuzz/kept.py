"""The inputs that are kept, in files of hexadecimal digits: seeds, and every input that ever failed.

A file has the name of its hash. Lines that begin with # say what it is for.
"""

from __future__ import annotations

import hashlib
from pathlib import Path

#: Where they are kept, in a folder for each harness.
CORPUS = Path(__file__).resolve().parent / "corpus"

_WIDTH = 32


def read_input(path: Path) -> bytes:
    """The input in a file. Raises ValueError for what is no hexadecimal number."""
    return bytes.fromhex("".join(line for line in path.read_text().splitlines() if not line.startswith("#")))


def write_input(folder: Path, data: bytes, why: str) -> Path:
    """Keep an input, and why; the path of its file."""
    folder.mkdir(parents=True, exist_ok=True)
    path = folder / f"{hashlib.sha256(data).hexdigest()[:16]}.hex"
    lines = [f"# {line}" for line in why.splitlines()]
    lines += [data[at : at + _WIDTH].hex() for at in range(0, len(data), _WIDTH)]
    path.write_text("\n".join(lines) + "\n")
    return path


def kept_inputs(name: str, corpus: Path = CORPUS) -> dict[Path, bytes]:
    """The inputs of a harness, by file."""
    return {path: read_input(path) for path in sorted((corpus / name).glob("*.hex"))}
