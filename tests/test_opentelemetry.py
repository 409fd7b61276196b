"""The spans of connections and handshakes, as OpenTelemetry's own SDK exports them."""

from __future__ import annotations

import unittest
from contextlib import suppress
from typing import Any
from unittest import mock
from urllib.parse import urlsplit

import syncws
import syncws.wsgi
from syncws.testing import LeakChecks, await_, running
from tests.tasks import PATIENCE

try:
    from opentelemetry import trace
    from opentelemetry.sdk.trace import TracerProvider
    from opentelemetry.sdk.trace.export import SimpleSpanProcessor
    from opentelemetry.sdk.trace.export.in_memory_span_exporter import InMemorySpanExporter

    from syncws.opentelemetry import TracedDialer, TracedUpgrader, _place_in, span_of, traced
except ModuleNotFoundError as error:
    raise unittest.SkipTest(f"needs {error.name}") from None

EXPORTER = InMemorySpanExporter()
if not isinstance(trace.get_tracer_provider(), TracerProvider):  # a process has one, for good
    trace.set_tracer_provider(TracerProvider())
trace.get_tracer_provider().add_span_processor(SimpleSpanProcessor(EXPORTER))  # type: ignore[attr-defined]

PARENT = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01"


HANDSHAKE = {
    "CONNECTION": "Upgrade",
    "UPGRADE": "websocket",
    "SEC_WEBSOCKET_VERSION": "13",
    "SEC_WEBSOCKET_KEY": "dGhlIHNhbXBsZSBub25jZQ==",
}


class SpansCase(LeakChecks):
    def setUp(self) -> None:
        super().setUp()
        EXPORTER.clear()

    def serve(self, handler: Any, **options: Any) -> str:
        """A server whose handler gets a Conn of a TracedUpgrader; its URL."""

        def handle(request: syncws.Request) -> None:
            with TracedUpgrader(**options).upgrade(request) as conn:
                handler(conn)

        server = self.enterContext(running(syncws.Server(handle, port=0)))
        return f"ws://127.0.0.1:{server.address[1]}/chat?token=secret"

    def spans(self, count: int, kind: Any = None) -> list[Any]:
        """The spans that were exported, of a kind or of all, once there are so many; in the order of their ends."""
        self.assertTrue(await_(lambda: len(self._exported(kind)) >= count, PATIENCE), self._exported(None))
        found = self._exported(kind)
        self.assertEqual(len(found), count)
        return found

    def _exported(self, kind: Any) -> list[Any]:
        return [span for span in EXPORTER.get_finished_spans() if kind in (None, span.kind)]


def wait(conn: syncws.Conn) -> None:
    for _ in conn:
        pass


def echo(conn: syncws.Conn) -> None:
    for message in conn:
        conn.send(message)


class ServerTests(SpansCase):
    def test_a_connection(self) -> None:
        """A connection is a span from its request to its end, and its handshake one within it."""
        url = self.serve(wait, route="/<room>", subprotocols=["v1"])
        with syncws.dial(url, subprotocols=["v1"], proxy=None) as conn:
            (handshake,) = self.spans(1)
            conn.close(4001)
        connection = self.spans(2)[1]
        self.assertEqual((handshake.name, connection.name), ("websocket handshake", "GET /<room>"))
        self.assertEqual(handshake.parent.span_id, connection.context.span_id)
        self.assertLessEqual(connection.start_time, handshake.start_time)
        self.assertLessEqual(handshake.end_time, connection.end_time)
        self.assertIsNone(connection.parent)
        self.assertEqual(connection.kind, trace.SpanKind.SERVER)
        told = dict(connection.attributes)
        self.assertRegex(told.pop("syncws.connection_id"), "^[0-9a-f]{32}$")
        self.assertIsInstance(told.pop("network.peer.port"), int)
        self.assertEqual(
            told,
            {
                "http.request.method": "GET",
                "http.response.status_code": 101,
                "http.route": "/<room>",
                "network.peer.address": "127.0.0.1",
                "network.protocol.version": "1.1",
                "server.address": "127.0.0.1",
                "server.port": urlsplit(url).port,
                "url.path": "/chat",
                "url.scheme": "http",
                "user_agent.original": f"syncws/{syncws.__version__}",
                "websocket.close_code": 4001,
                "websocket.subprotocol": "v1",
            },
        )
        self.assertEqual(connection.status.status_code, trace.StatusCode.UNSET)

    def test_the_trace_of_the_request(self) -> None:
        """The spans go on with the trace that the traceparent header names."""
        url = self.serve(wait)
        syncws.dial(url, {"TraceParent": PARENT}, proxy=None).close()
        connection = self.spans(2)[1]
        self.assertEqual(f"{connection.context.trace_id:032x}", PARENT.split("-")[1])
        self.assertEqual(f"{connection.parent.span_id:016x}", PARENT.split("-")[2])

    def test_a_header_that_is_no_trace(self) -> None:
        """What is no traceparent begins a trace of its own: a peer's mistake fails nothing."""
        url = self.serve(wait)
        syncws.dial(url, {"traceparent": "00-zz"}, proxy=None).close()
        self.assertIsNone(self.spans(2)[1].parent)

    def test_a_refusal(self) -> None:
        """Of a refused handshake both spans end, with its status; that is the client's fault, and no error."""
        url = self.serve(wait)
        with self.assertRaises(syncws.BadHandshakeError):
            syncws.dial(url, {"Origin": "https://elsewhere.example"}, proxy=None)
        for span in self.spans(2):
            self.assertEqual(span.attributes["http.response.status_code"], 403)
            self.assertEqual(span.status.status_code, trace.StatusCode.UNSET)

    def test_a_fault_of_the_application(self) -> None:
        """A callable of the Upgrader that raises is an error of both spans."""

        def fail(request: syncws.Request) -> bool:
            raise ValueError("a mistake")

        url = self.serve(wait, check_origin=fail)
        with self.assertLogs("syncws.server"), self.assertRaises(syncws.BadHandshakeError):
            syncws.dial(url, proxy=None)
        for span in self.spans(2):
            self.assertEqual((span.attributes["error.type"], span.status.status_code), ("500", trace.StatusCode.ERROR))

    def test_a_wsgi_view(self) -> None:
        """`TracedUpgrader.serve` makes the same spans in a WSGI view, detached or not; one that is full refuses."""
        upgrader = TracedUpgrader()
        most = 1

        def app(environ: dict[str, Any], start_response: Any) -> Any:
            return upgrader.serve(environ, wait, max_connections=most)(environ, start_response)

        server = self.enterContext(running(syncws.Server(None, port=0, wsgi_app=app)))
        url = f"ws://127.0.0.1:{server.address[1]}/"
        syncws.dial(url, proxy=None).close()
        self.assertEqual([span.name for span in self.spans(2)], ["websocket handshake", "GET"])

    def test_what_a_client_says_of_itself(self) -> None:
        """A client that closes with 1011 is no failure of this side."""
        syncws.dial(self.serve(wait), proxy=None).close(1011)
        connection = self.spans(2)[1]
        self.assertEqual(connection.attributes["websocket.close_code"], 1011)
        self.assertEqual(connection.status.status_code, trace.StatusCode.UNSET)

    def test_the_host(self) -> None:
        """The name that was asked for is told without the port, or credentials; what is no address is not told."""
        for host, told in (
            ("example.com:81", {"server.address": "example.com", "server.port": 81}),
            ("[::1]:9", {"server.address": "::1", "server.port": 9}),
            ("example.com", {"server.address": "example.com", "server.port": None}),
            ("", {"server.address": None, "server.port": None}),
            ("a:b", {}),
        ):
            with self.subTest(host):
                self.assertEqual(_place_in(host), told)

    def test_a_handshake_that_is_never_answered(self) -> None:
        """An application that fails after it had the handshake agreed on, or forgets it, ends both spans."""
        upgrader = TracedUpgrader()

        def app(environ: dict[str, Any], start_response: Any) -> Any:
            upgrader.serve(environ, wait)
            raise ValueError("a mistake")

        def handler(request: syncws.Request) -> syncws.Response:
            upgrader.negotiate(request)
            return syncws.Response("no")

        for server in (syncws.Server(None, port=0, wsgi_app=app), syncws.Server(handler, port=0)):
            EXPORTER.clear()
            with running(server), self.subTest(server), suppress(AssertionError), self.assertLogs("syncws.server"):
                with self.assertRaises(syncws.BadHandshakeError):
                    syncws.dial(f"ws://127.0.0.1:{server.port}/", proxy=None)
            for span in self.spans(2):
                self.assertEqual(span.status.status_code, trace.StatusCode.ERROR)

    def test_a_connection_that_cannot_be_taken(self) -> None:
        """What is raised while a connection is taken from its server, of whatever kind, ends both spans."""
        for error in (RuntimeError("a taker's"), SystemExit(1), syncws.wsgi.Untakeable("why", "what to do")):
            EXPORTER.clear()
            environ: dict[str, Any] = {"REQUEST_METHOD": "GET", "PATH_INFO": "/", "HTTP_HOST": "a"}
            environ |= {"HTTP_" + name: value for name, value in HANDSHAKE.items()}
            for call in (TracedUpgrader().upgrade, lambda environ: TracedUpgrader().serve(environ, wait)):
                with self.subTest(error), mock.patch("syncws._wsgi.exchange.find", side_effect=error):
                    EXPORTER.clear()
                    with suppress(RuntimeError, SystemExit, syncws.HandshakeError):
                        call(dict(environ))
                    self.spans(2)

    def test_a_second_handshake(self) -> None:
        """A request that is upgraded twice is an error, and its connection keeps its spans."""

        def handle(request: syncws.Request) -> None:
            with TracedUpgrader().upgrade(request) as conn:
                span = span_of(conn)
                with self.assertRaises(ValueError):
                    TracedUpgrader().upgrade(request)
                TracedUpgrader().negotiate(request)
                self.assertIs(span_of(conn), span)
                wait(conn)

        server = self.enterContext(running(syncws.Server(handle, port=0)))
        syncws.dial(f"ws://127.0.0.1:{server.port}/", proxy=None).close()
        self.assertEqual(self.spans(2)[1].attributes["websocket.close_code"], 1000)


class Broken:
    """A part of OpenTelemetry of which each method raises."""

    def fail(self, *_: Any, **__: Any) -> Any:
        raise RuntimeError("a part is broken")

    on_start = _on_ending = on_end = inject = extract = shutdown = force_flush = fail


class BrokenPartsTests(SpansCase):
    """What a processor, a sampler or a propagator raises is a line in the log: connections go on."""

    def check(self) -> None:
        url = self.serve(traced(echo))
        with self.assertLogs("syncws.server", "DEBUG") as logs:
            with TracedDialer(proxy=None).dial(url) as conn:
                conn.send("hello")
                self.assertEqual(conn.receive(PATIENCE), "hello")
            with self.assertRaises(syncws.BadHandshakeError):
                TracedDialer(proxy=None).dial(url, {"Origin": "https://elsewhere.example"})
        self.assertTrue(
            any("a span is lost or incomplete: RuntimeError: a part is broken" in each for each in logs.output)
        )
        self.assertFalse(any("raised" in each for each in logs.output), logs.output)

    def test_a_processor(self) -> None:
        """Of a span's beginning and end."""
        for name in ("on_start", "on_end"):
            with self.subTest(name), mock.patch.object(SimpleSpanProcessor, name, Broken().fail):
                self.check()

    def test_a_propagator(self) -> None:
        """Of headers."""
        broken = Broken()
        with mock.patch("opentelemetry.propagate.get_global_textmap", return_value=broken):
            self.check()

    def test_a_tracer(self) -> None:
        """Of spans: a sampler, say."""
        with mock.patch.object(trace, "get_tracer", Broken().fail):
            self.check()


class ClientTests(SpansCase):
    def test_a_connection(self) -> None:
        """A client's spans are as a server's, of the kind CLIENT; the server's go on with its trace."""
        url = self.serve(wait)
        with TracedDialer(proxy=None).dial(url.replace("ws://", "ws://user:password@")) as conn:
            conn.close(1001)
        server, (client,) = self.spans(1, trace.SpanKind.SERVER)[0], self.spans(1, trace.SpanKind.CLIENT)
        self.assertEqual(server.context.trace_id, client.context.trace_id)
        self.assertEqual(server.parent.span_id, client.context.span_id)
        self.assertEqual(client.attributes["url.full"], url.partition("?")[0])
        self.assertEqual(client.attributes["websocket.close_code"], 1001)
        for value in [*client.attributes.values(), *server.attributes.values()]:
            self.assertNotRegex(str(value), "secret|password")

    def test_within_a_span(self) -> None:
        """They go on with the current trace."""
        url = self.serve(wait)
        with trace.get_tracer("test").start_as_current_span("job") as job:
            TracedDialer(proxy=None).dial(url).close()
        self.assertEqual(self.spans(1, trace.SpanKind.CLIENT)[0].parent.span_id, job.get_span_context().span_id)

    def test_no_connection(self) -> None:
        """Who cannot be reached, and who refuses, is an error of both spans, which says what it was."""
        url = self.serve(wait)
        with self.assertRaises(syncws.BadHandshakeError):
            TracedDialer(proxy=None).dial(url, {"Origin": "https://elsewhere.example"})
        self.assertEqual(self.spans(1, trace.SpanKind.CLIENT)[0].attributes["error.type"], "403")
        EXPORTER.clear()
        with self.assertRaises(ConnectionRefusedError):
            TracedDialer(proxy=None).dial("ws://127.0.0.1:1/")
        (client,) = self.spans(1, trace.SpanKind.CLIENT)
        self.assertEqual(client.attributes["error.type"], "ConnectionRefusedError")
        self.assertEqual(client.status.status_code, trace.StatusCode.ERROR)

    def test_a_trace_of_the_callers_own(self) -> None:
        """Headers that the caller gives stay, whatever their form; one of them may be the traceparent."""
        url = self.serve(wait)
        for headers in ({"traceparent": PARENT}, [("Traceparent", PARENT)], syncws.Headers({"traceparent": PARENT})):
            with self.subTest(type(headers)):
                EXPORTER.clear()
                TracedDialer(proxy=None).dial(url, headers).close()
                server = self.spans(1, trace.SpanKind.SERVER)[0]
                self.assertEqual(f"{server.context.trace_id:032x}", PARENT.split("-")[1])

    def test_mistakes(self) -> None:
        """An invalid URL and invalid headers are refused as a Dialer refuses them."""
        for url, headers, error in (("http://x/", None, ValueError), ("ws://127.0.0.1:1/", 5, TypeError)):
            with self.subTest(url), self.assertRaises(error) as traced_one:
                TracedDialer().dial(url, headers)  # type: ignore[arg-type]
            with self.assertRaises(error) as plain:
                syncws.Dialer().dial(url, headers)  # type: ignore[arg-type]
            self.assertEqual(str(traced_one.exception), str(plain.exception))


class HandlerTests(SpansCase):
    def test_children(self) -> None:
        """Spans in a traced handler are the connection's children."""

        @traced
        def handler(conn: syncws.Conn) -> None:
            with trace.get_tracer("test").start_as_current_span("work"):
                span_of(conn).add_event("worked")

        with syncws.dial(self.serve(handler), proxy=None) as conn:
            wait(conn)
        connection, work = self.spans(3)[-1], self.spans(1 + 1, trace.SpanKind.INTERNAL)[1]
        self.assertEqual((work.name, work.parent.span_id), ("work", connection.context.span_id))
        self.assertEqual([event.name for event in connection.events], ["worked"])

    def test_what_it_raises(self) -> None:
        """What a traced handler raises is recorded and raised; the end of its connection is no error."""

        @traced
        def broken(conn: syncws.Conn) -> None:
            raise KeyError("a mistake")

        @traced
        def reading(conn: syncws.Conn) -> None:
            while True:
                conn.receive()

        with self.assertLogs("syncws.server") as logs, syncws.dial(self.serve(broken), proxy=None) as conn:
            with self.assertRaises(syncws.CloseError):
                conn.receive(PATIENCE)
            self.assertTrue(await_(lambda: any("the handler raised" in line for line in logs.output), PATIENCE))
        failed = self.spans(2)[-1]
        self.assertEqual([event.name for event in failed.events], ["exception"])
        self.assertEqual(failed.status.status_code, trace.StatusCode.ERROR)
        self.assertEqual(failed.attributes["websocket.close_code"], 1011)
        EXPORTER.clear()
        syncws.dial(self.serve(reading), proxy=None).close()
        self.assertEqual(self.spans(2)[-1].status.status_code, trace.StatusCode.UNSET)

    def test_without_spans(self) -> None:
        """On a connection that nothing traces, a traced handler runs as it is, and the span records nothing."""
        seen = []

        @traced
        def handler(conn: syncws.Conn, number: int) -> int:
            seen.append(span_of(conn).is_recording())
            return number

        server = self.enterContext(running(syncws.Server(lambda request: self.handle(request, handler), port=0)))
        with syncws.dial(f"ws://127.0.0.1:{server.address[1]}/", proxy=None) as conn:
            wait(conn)
            self.assertFalse(span_of(conn).is_recording())
        self.assertEqual(seen, [False])

    def handle(self, request: syncws.Request, handler: Any) -> None:
        self.assertEqual(handler(syncws.Upgrader().upgrade(request), 5), 5)

    def test_what_is_no_connection(self) -> None:
        """`span_of` takes a Conn, and a route is a str."""
        with self.assertRaisesRegex(TypeError, "span_of takes a Conn, not None"):
            span_of(None)  # type: ignore[arg-type]
        with self.assertRaisesRegex(TypeError, "route is a str"):
            TracedUpgrader(route=5)  # type: ignore[arg-type]

    def test_what_cannot_be_called(self) -> None:
        """`traced` takes a plain function."""

        async def handler(conn: syncws.Conn) -> None: ...

        for wrong in (handler, None, 5):
            with self.subTest(wrong), self.assertRaises(TypeError):
                traced(wrong)  # type: ignore[arg-type]


if __name__ == "__main__":
    unittest.main()
