"""What the tests of hosted WSGI applications share: a scripted client, and applications of every shape."""

from __future__ import annotations

import contextlib
import io
import logging
import math
import unittest
from collections.abc import Callable, Iterable, Iterator
from types import SimpleNamespace
from typing import Any
from unittest import mock
from wsgiref.validate import validator

import h11

from syncws._http import http11
from syncws._http.http11 import HTTPConnection
from syncws._http.request import BadRequest, Request
from syncws._server import gateway as gateway_module
from syncws._server import wsgi_input as input_module
from syncws._server.gateway import Gateway
from syncws._server.wsgi_answer import ClientGone
from tests.http.cases import Wire, head

GET = head()
TEXT = [("Content-Type", "text/plain")]
WHO = "the peer"


class Client(Wire):
    """A scripted client that keeps what it is sent, one item for each call of the system; it may leave."""

    def __init__(self, *pieces: Any, takes: float = math.inf, seconds_per_piece: float = 0.0) -> None:
        super().__init__(*pieces, seconds_per_piece=seconds_per_piece)
        self.sends: list[bytes] = []
        self.takes = takes  # bytes, and then it is gone
        self.stall: Any = "nothing was sent"

    def send(self, *buffers: Any, deadline: float | None = None, stall: float | None = None) -> None:
        data = b"".join(buffers)
        if len(self.sent) + len(data) > self.takes:
            raise BrokenPipeError(32, "Broken pipe")
        super().send(data)
        self.sends.append(data)
        self.stall = stall


class Answer:
    """One answer as a client reads it; ``body`` is None if the connection ended before it did."""

    def __init__(self, data: bytes, method: str = "GET", version: str = "1.1") -> None:
        client = h11.Connection(h11.CLIENT)
        client.send(h11.Request(method=method, target="/", headers=[("Host", "a.example")]))
        client.send(h11.EndOfMessage())
        client.receive_data(data)
        event = client.next_event()
        while isinstance(event, h11.InformationalResponse):
            event = client.next_event()
        assert isinstance(event, h11.Response), event
        self.status = event.status_code
        self.reason = event.reason.decode("latin-1")
        self.pairs = [(name.decode(), value.decode("latin-1")) for name, value in event.headers]
        self.headers = dict(self.pairs)
        self.body: bytes | None = b""
        self.rest = b""
        try:
            while not isinstance(event := client.next_event(), h11.EndOfMessage):
                if event is h11.NEED_DATA:
                    client.receive_data(b"")
                elif isinstance(event, h11.Data):
                    self.body += bytes(event.data)
        except h11.RemoteProtocolError:
            self.body = None
        else:
            self.rest = client.trailing_data[0]

    @property
    def closes(self) -> bool:
        return self.headers.get("connection") == "close"


class Hosted:
    """What became of a client whose requests an application answered, until there was none or the client had gone."""

    def __init__(self, client: Client) -> None:
        self.client = client
        self.http = HTTPConnection(client)  # type: ignore[arg-type]
        self.targets: list[str] = []
        self.kept = False  # whether the connection was good for more after the latest answer
        self.request: Request | None = None  # the latest
        self.refused: BadRequest | None = None
        self.gone: OSError | None = None

    @property
    def sent(self) -> bytes:
        return self.client.sent

    def answer(self, method: str = "GET") -> Answer:
        """The only answer."""
        answer = Answer(self.sent, method)
        assert answer.rest == b"", answer.rest
        return answer

    def answers(self) -> list[Answer]:
        found, rest = [], self.sent
        while rest:
            found.append(Answer(rest))
            rest = found[-1].rest
        return found


class Clock(SimpleNamespace):
    """Stands for the module `time`, with the client's clock."""

    def __init__(self, client: Client) -> None:
        super().__init__(monotonic=client.monotonic)


class GatewayCase(unittest.TestCase):
    def setUp(self) -> None:
        super().setUp()
        # What validate says in a destructor goes to stderr; it may be right, so it is a failure.
        self.stderr = self.enterContext(contextlib.redirect_stderr(io.StringIO()))
        self.addCleanup(lambda: self.assertEqual(self.stderr.getvalue(), ""))

    def host(
        self,
        app: Any,
        *pieces: Any,
        client: Client | None = None,
        valid: bool = True,
        max_body_size: int | None = 1 << 20,
        body_timeout: float | None = 30.0,
    ) -> Hosted:
        """Let an application answer all requests of a client; behind the validator if it keeps to the rules."""
        hosted = Hosted(client or Client(*(pieces or (GET,))))
        gateway = Gateway(validator(app) if valid else app, max_body_size=max_body_size, body_timeout=body_timeout)
        clock = Clock(hosted.client)
        with contextlib.ExitStack() as patches:
            for module in (http11, input_module, gateway_module):
                patches.enter_context(mock.patch.object(module, "time", clock))
            try:
                while (request := hosted.http.read_request(hosted.client.now + 60)) is not None:
                    hosted.request = request
                    hosted.targets.append(request.target)
                    gateway.answer(hosted.http, request, WHO)
                    hosted.kept = hosted.http.keep_alive
                    if hosted.http.taken_over or request.then:
                        break
            except BadRequest as exc:
                hosted.refused = exc
            except ClientGone as exc:
                hosted.gone = exc
        return hosted

    def environ(self, *pieces: Any, client: Client | None = None) -> dict[str, Any]:
        """The environ of a request."""
        environs = []

        def app(environ: dict[str, Any], start_response: Any) -> list[bytes]:
            environs.append(dict(environ))
            start_response("204 No Content", [])
            return []

        self.host(app, *pieces, client=client)
        self.assertEqual(len(environs), 1)
        return environs[0]

    @contextlib.contextmanager
    def logs(self, level: int, says: str = "", *, traceback: bool = False) -> Iterator[None]:
        """Inside, exactly one line is logged at INFO or above: of this level, with or without a traceback."""
        with self.assertLogs("syncws.server", logging.INFO) as logs:
            yield
        self.assertEqual(len(logs.records), 1, logs.output)
        record = logs.records[0]
        self.assertEqual(record.levelno, level, logs.output)
        self.assertIn(says, record.getMessage())
        self.assertIn(WHO, record.getMessage())
        self.assertEqual(bool(record.exc_info), traceback)

    @contextlib.contextmanager
    def silence(self) -> Iterator[None]:
        """Inside, nothing is logged at INFO or above."""
        with self.assertNoLogs("syncws.server", logging.INFO):
            yield


def answering(
    body: Iterable[bytes] | Callable[[dict[str, Any]], Iterable[bytes]],
    status: str = "200 OK",
    headers: list[tuple[str, str]] | None = None,
) -> Any:
    """An application that answers this."""

    def app(environ: dict[str, Any], start_response: Any) -> Iterable[bytes]:
        start_response(status, list(TEXT if headers is None else headers))
        return body(environ) if callable(body) else body

    return app


def reading(read: Callable[[Any], Any]) -> Any:
    """An application that answers what read(wsgi.input) gives, as text."""

    def app(environ: dict[str, Any], start_response: Any) -> list[bytes]:
        result = read(environ["wsgi.input"])
        start_response("200 OK", TEXT)
        return [result if isinstance(result, bytes) else repr(result).encode()]

    return app


def post(*lines: str, target: str = "/", version: str = "1.1") -> bytes:
    return head(*lines, start=f"POST {target} HTTP/{version}")


class Blocks:
    """An iterable of blocks, exceptions among them, that knows whether it was closed."""

    def __init__(self, *blocks: Any) -> None:
        self.blocks = list(blocks)
        self.closed = 0

    def __iter__(self) -> Iterator[Any]:
        while self.blocks:
            block = self.blocks.pop(0)
            if isinstance(block, BaseException):
                raise block
            yield block() if callable(block) else block

    def close(self) -> None:
        self.closed += 1
