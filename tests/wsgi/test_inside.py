"""inside.py: through the streams of an environ, and up the calls of a thread."""

from __future__ import annotations

import io
import types
import unittest
from typing import Any

from syncws._wsgi.inside import buffered_reader, calling_objects, read_buffered, server_name
from syncws.testing import LeakChecks, socketpair


class StreamTests(LeakChecks):
    """From wsgi.input to the reader over the socket. `tests/wsgi/servers` has the streams of servers."""

    def test_where_streams_keep_others(self) -> None:
        """Each name that such a stream may have for the one inside is known, and a bound method of that one too."""
        server, client = socketpair()
        with server, client, server.makefile("rb") as reader:
            for name in ("rfile", "input", "_stream", "stream", "_file", "_read", "reader"):
                for inner in (reader, reader.read):
                    outer = types.SimpleNamespace(**{name: inner})
                    self.assertIs(buffered_reader(outer), reader)

    def test_a_stream_that_goes_in_circles(self) -> None:
        """A wsgi.input that wraps itself, or no end of others, is looked into only so far."""

        class Circle:
            @property
            def stream(self) -> Any:
                return self

        class Endless:
            def __getattr__(self, name: str) -> Any:
                if name == "stream":
                    endless.append(Endless())
                    return endless[-1]
                raise AttributeError(name)

        endless: list[Any] = []

        for stream in (Circle(), Endless(), None, object(), io.BytesIO(b"body")):
            self.assertIsNone(buffered_reader(stream))
        self.assertLess(len(endless), 100)

    def test_read_buffered(self) -> None:
        """What the reader holds is taken out once, nothing is read from the network, and no reader holds nothing."""
        server, client = socketpair()
        with server, client, server.makefile("rb") as reader:
            client.sendall(b"head\nearly")
            reader.readline()
            client.sendall(b"late")
            self.assertEqual([read_buffered(reader) for _ in range(2)], [b"early", b"late"])
            self.assertEqual(read_buffered(reader), b"")
        self.assertEqual(read_buffered(None), b"")


class CallTests(unittest.TestCase):
    """The objects whose methods have called."""

    def test_the_order(self) -> None:
        """The innermost call comes first, and a call of no method is no object."""

        class Caller:
            def call(self, inner: Any) -> Any:
                return inner()

        outer, inner = Caller(), Caller()
        found = outer.call(lambda: inner.call(lambda: list(calling_objects())))
        self.assertEqual([each for each in found if isinstance(each, Caller)], [inner, outer])
        self.assertIn(self, found)
        self.assertLess(found.index(inner), found.index(self))

    def test_so_many(self) -> None:
        """Calls that are too far away are not looked at."""

        def deep(levels: int) -> list[Any]:
            return list(calling_objects()) if levels == 0 else deep(levels - 1)

        self.assertIn(self, deep(50))
        self.assertNotIn(self, deep(250))


class NameTests(unittest.TestCase):
    """What a server is called."""

    def test_the_name(self) -> None:
        """It is what the server says, or else where its wsgi.input comes from."""
        self.assertEqual(server_name({"SERVER_SOFTWARE": "A server/1.0"}), "A server/1.0")
        self.assertEqual(server_name({"wsgi.input": io.BytesIO()}), "this server (_io)")


if __name__ == "__main__":
    unittest.main()
