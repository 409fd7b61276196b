"""Handlers that use a database: the blocks of docs/databases.md, in Flask with SQLAlchemy and in Django."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

PAGE = Path(__file__).resolve().parent.parent.parent / "docs" / "databases.md"


def run_blocks(kind: str, namespace: dict[str, Any]) -> None:
    """Run the page's blocks of one kind in a namespace, in order: "flask", "flask-tests", "django", "django-tests"."""
    text = PAGE.read_text()
    blocks = list(re.finditer(rf"^```python {kind}\n(.*?)^```", text, re.MULTILINE | re.DOTALL))
    assert blocks, f"the page has no block for {kind}"
    for block in blocks:
        line = text.count("\n", 0, block.start()) + 1
        exec(compile("\n" * line + block[1], str(PAGE), "exec"), namespace)
