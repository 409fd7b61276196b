"""What a side wants of permessage-deflate, and what two sides have agreed on (RFC 7692 section 7.1)."""

from __future__ import annotations

import dataclasses
from typing import Any


@dataclasses.dataclass(frozen=True)
class Terms:
    """The four parameters of permessage-deflate: what a peer is told to insist on, or what an answer says.

    Args:
        server_no_context_takeover: the server forgets each message that it sends.
        client_no_context_takeover: the client forgets each message that it sends.
        server_max_window_bits: of the server's window, as a power of two; None where nothing is said.
        client_max_window_bits: the same of the client's.
    """

    server_no_context_takeover: bool = False
    client_no_context_takeover: bool = False
    server_max_window_bits: int | None = None
    client_max_window_bits: int | None = None

    def given(self) -> dict[str, Any]:
        """Those that say something, by name."""
        return {name: value for name, value in dataclasses.asdict(self).items() if value}

    def in_camel_case(self) -> dict[str, Any]:
        """The same, as JavaScript writes the names."""
        return {_camel(name): value for name, value in self.given().items()}


def _camel(name: str) -> str:
    first, *others = name.split("_")
    return first + "".join(map(str.title, others))


#: A peer's own way, which is to keep the context of both sides wherever the other one agrees.
AS_USUAL = Terms()

#: That nobody keeps a context.
NO_CONTEXT = Terms(True, True)

#: What is tried with a peer that can be told.
EACH = (
    AS_USUAL,
    Terms(server_no_context_takeover=True),
    Terms(client_no_context_takeover=True),
    NO_CONTEXT,
    Terms(server_max_window_bits=10),
    Terms(client_max_window_bits=10),
)


def answered(stream: bytes) -> Terms | None:
    """What the 101 that a stream begins with agrees on; None: no compression. Raises ValueError for anything else."""
    lines = stream.partition(b"\r\n\r\n")[0].decode("latin-1").split("\r\n")
    values = [line.partition(":")[2].strip() for line in lines if line.lower().startswith("sec-websocket-extensions:")]
    if not values:
        return None
    name, *parameters = (part.strip() for part in ", ".join(values).split(";"))
    if name != "permessage-deflate":
        raise ValueError(f"agreed on {values}")
    found: dict[str, Any] = {}
    for parameter in parameters:
        key, _, value = parameter.partition("=")
        found[key] = int(value) if value else True
    return Terms(**found)
