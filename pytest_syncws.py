"""The fixtures of syncws for pytest: ws_server, ws_client, ws_app, ws_pair and ws_peer. See docs/testing.md.

pytest imports this module in every run where syncws is installed, also in those that do not use it. So it stands beside
the package, and imports it when a test asks for the first fixture: nothing is slower for others, and nothing is
imported before their conftest, which may patch the standard library (gevent) or measure what is imported (coverage).
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import TYPE_CHECKING, Any

import pytest

if TYPE_CHECKING:
    from syncws import Conn
    from syncws._testing.workbench import Workbench
    from syncws.testing import LiveServer, Peer

_MARKER = (
    "syncws(timeout=10, leaks='own'): for the ws_ fixtures of this test: seconds after which its connections raise "
    "ReadTimeout, and what may not be left behind ('own', 'all', 'off')"
)


def pytest_addoption(parser: pytest.Parser) -> None:
    parser.addini("syncws_timeout", "seconds after which connections of ws_ fixtures raise ReadTimeout", default="10")
    parser.addini("syncws_leaks", "what a test with ws_ fixtures may not leave behind: own, all, off", default="own")


def pytest_configure(config: pytest.Config) -> None:
    config.addinivalue_line("markers", _MARKER)


@pytest.fixture
def _syncws_workbench(request: pytest.FixtureRequest) -> Iterator[Workbench]:
    """What the fixtures below share, for one test."""
    from syncws._testing.workbench import Workbench

    wrong = ""
    try:
        bench = Workbench(**_options(request))
    except (TypeError, ValueError) as error:
        wrong = str(error)
    if wrong:
        pytest.fail(f"syncws: {wrong}", pytrace=False)
    bench.__enter__()
    yield bench
    told = ""
    try:
        bench.__exit__(None, None, None)
    except AssertionError as error:
        if error in bench.failures:  # of a handler: where it failed is shown, and this frame is not
            __tracebackhide__ = True
            raise
        told = str(error)
    if told:
        pytest.fail(f"syncws: {told}", pytrace=False)


def _options(request: pytest.FixtureRequest) -> dict[str, Any]:
    """The options of a test: of its marker, else of the ini file."""
    try:
        options: dict[str, Any] = {"timeout": float(request.config.getini("syncws_timeout"))}
    except ValueError:
        raise ValueError("syncws_timeout is a number of seconds") from None
    options["leaks"] = request.config.getini("syncws_leaks")
    marker = request.node.get_closest_marker("syncws")
    if marker is None:
        return options
    if marker.args or not marker.kwargs.keys() <= options.keys():
        raise TypeError("the marker is @pytest.mark.syncws(timeout=seconds, leaks='own', 'all' or 'off')")
    return {**options, **marker.kwargs}


@pytest.fixture
def ws_server(_syncws_workbench: Workbench) -> Callable[..., LiveServer]:
    """Start a server: ``ws_server(handler)``, ``ws_server(wsgi_app=app)`` or ``ws_server(Server(...))``.

    The server has ``url``, ``http_url``, ``dial(path)`` and ``raw(path)``. It is shut down at the end of the test,
    which fails if a handler does not end, or if an assertion failed in the handler.
    """
    return _syncws_workbench.serve


@pytest.fixture
def ws_client(_syncws_workbench: Workbench) -> Callable[..., Conn]:
    """Connect to a server: ``ws_client(url)``, or ``ws_client("/path")`` of the test's one ``ws_server``."""
    return _syncws_workbench.dial


@pytest.fixture
def ws_app(_syncws_workbench: Workbench) -> Callable[..., Conn]:
    """Connect to a WebSocket view of a WSGI application, without a port: ``ws_app(app, "/path", browser=client)``."""
    return _syncws_workbench.connect


@pytest.fixture
def ws_pair(_syncws_workbench: Workbench) -> Callable[..., tuple[Conn, Conn]]:
    """Two connections that talk to each other: ``server, client = ws_pair()``."""
    return _syncws_workbench.pair


@pytest.fixture
def ws_peer(_syncws_workbench: Workbench) -> Callable[..., tuple[Conn, Peer]]:
    """A connection and its raw other end, for frames good and bad: ``conn, raw = ws_peer(client=True)``."""
    return _syncws_workbench.peer
