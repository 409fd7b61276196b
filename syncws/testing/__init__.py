"""Tools for tests of programs that use syncws, and of syncws itself. They use the loopback interface only, and a mock
of a socket only where a real one will not do.

* `serving()`: a server on a free port, a `LiveServer`, and clients for it: good ones, and raw ones that misbehave.
* `connect()`: a client's connection to a WebSocket view of a WSGI application, without a server or a port.
* `pair()`: two connections, server and client, over a socketpair.
* `peer()`: one connection, and a `Peer` that speaks raw frames to it, good and bad ones, cut anywhere.
* `running()`: a `Server` of yours in a thread, which is shut down at the end of the block.
* `LeakChecks`: a TestCase to inherit from, which fails a test which leaves threads, descriptors or unseen exceptions.
* `await_()`: waits for what no event tells.
* `socketpair()`: two connected sockets; `ScriptedSocket`: one that follows a script, and counts system calls.
* `MemoryBackplane` on a `MemoryBus`: managers joined in one process, with levers for what goes wrong on a bus.
* `BackplaneCases`: the tests that a backplane of your own has to pass.

`syncws.testing.django` has a TestCase for Django. With pytest there are fixtures, without an import: ``ws_server``,
``ws_client``, ``ws_app``, ``ws_pair`` and ``ws_peer``. docs/testing.md shows all of it.
"""

from .._bus.cases.archives import ArchiveCases
from .._bus.cases.breaks import BreakCases
from .._bus.cases.delivery import DeliveryCases
from .._bus.cases.lives import LifeCases
from .._bus.cases.outlets import OutletCases
from .._bus.memory import MemoryBackplane, MemoryBus
from .._testing.frames import Frame, Peer
from .._testing.leaks import LeakChecks
from .._testing.pairs import DEFLATE, pair, peer, socketpair
from .._testing.scripted import ScriptedSocket
from .._testing.serving import LiveServer, running, serving
from .._testing.views import connect
from .._testing.waiting import await_

__all__ = [
    "DEFLATE",
    "BackplaneCases",
    "Frame",
    "LeakChecks",
    "LiveServer",
    "MemoryBackplane",
    "MemoryBus",
    "Peer",
    "ScriptedSocket",
    "await_",
    "connect",
    "pair",
    "peer",
    "running",
    "serving",
    "socketpair",
]


class BackplaneCases(DeliveryCases, BreakCases, LifeCases, OutletCases, ArchiveCases):
    """The tests that a backplane has to pass; inherit it together with `unittest.TestCase`, or with `LeakChecks`.

        class MyBackplaneTests(BackplaneCases, LeakChecks):
            def make(self):
                return MyBackplane("bus://localhost", prefix=self.id())

    Each test says in its docstring what a backplane promises, and in its failure what is to be done. ``make`` is all
    that must be written. ``break_bus`` and ``mend_bus`` take the bus away and give it back; ``inject`` puts junk on it;
    without them the tests that need them are skipped. ``patience`` is how long a test waits for what has to come, 30
    seconds: make it longer than your bus takes to notice that it is lost. One thread runs them, as any test.
    """


# Help and tracebacks say where to import them from, and not the file.
for _each in (
    Frame,
    Peer,
    LeakChecks,
    LiveServer,
    ScriptedSocket,
    await_,
    connect,
    pair,
    peer,
    running,
    serving,
    socketpair,
):
    _each.__module__ = __name__
