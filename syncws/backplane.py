"""For those who write a backplane of their own: what it must do, and what it tells.

`Backplane` is what a Manager asks for, `Sink` what it hands in; `BusHealth`, `Outlet` and, for a bus that keeps
history, `Archive`, `Entry` and `Past` are what goes between them. `syncws.testing.BackplaneCases` are the tests that it
has to pass. docs/write-a-backplane.md tells how to begin.
"""

from ._bus.backplane import Backplane, BusHealth, Outlet, Sink
from ._bus.history import Archive, Entry, Past

__all__ = ["Archive", "Backplane", "BusHealth", "Entry", "Outlet", "Past", "Sink"]
