"""environ.py: from an environ to a request."""

from __future__ import annotations

import logging
import unittest
from typing import Any
from unittest import mock

import syncws
from syncws._base import worker
from syncws._wsgi.environ import request_of, without_server

ENVIRON = {
    "REQUEST_METHOD": "GET",
    "SCRIPT_NAME": "/app",
    "PATH_INFO": "/rooms/gr\xc3\xbcn",  # UTF-8, in a str of Latin-1
    "QUERY_STRING": "a=1&b=%20",
    "SERVER_PROTOCOL": "HTTP/1.1",
    "HTTP_HOST": "example.com:8000",
    "HTTP_SEC_WEBSOCKET_PROTOCOL": "chat,news",
    "CONTENT_TYPE": "",
    "CONTENT_LENGTH": "",
    "REMOTE_ADDR": "192.0.2.1",
    "REMOTE_PORT": 4711,
    "wsgi.url_scheme": "https",
}


class RequestTests(unittest.TestCase):
    """From an environ to a request."""

    def test_what_it_holds(self) -> None:
        """Method, target, headers, scheme and client are those of the environ; bytes of the path are quoted again."""
        request = request_of(dict(ENVIRON))
        self.assertEqual((request.method, request.target), ("GET", "/app/rooms/gr%C3%BCn?a=1&b=%20"))
        self.assertEqual((request.path, request.query), ("/app/rooms/gr\xfcn", {"a": "1", "b": " "}))
        self.assertEqual(dict(request.headers), {"Host": "example.com:8000", "Sec-Websocket-Protocol": "chat,news"})
        self.assertEqual(request.headers["sec-webSocket-protocol"], "chat,news")
        self.assertEqual((request.scheme, request.http_version), ("https", "1.1"))
        self.assertEqual((request.host, request.remote_address), ("example.com:8000", ("192.0.2.1", 4711)))
        self.assertFalse(request.has_body)

    def test_the_same_request(self) -> None:
        """An environ has one request, however often it is asked for; a copy of the environ too."""
        environ = dict(ENVIRON)
        request = request_of(environ)
        self.assertIs(request_of(environ), request)
        self.assertIs(request_of({**environ, "more": 1}), request)

    def test_a_body(self) -> None:
        """A body that is announced is known of, so that the handshake is refused."""
        self.assertTrue(request_of({**ENVIRON, "CONTENT_LENGTH": "5"}).has_body)

    def test_clients(self) -> None:
        """A client on a Unix socket has no address; a port that is none is 0."""
        self.assertEqual(request_of({**ENVIRON, "REMOTE_ADDR": ""}).remote_address, "")
        self.assertEqual(request_of({**ENVIRON, "REMOTE_PORT": "x"}).remote_address, ("192.0.2.1", 0))

    def test_eventlet(self) -> None:
        """eventlet says HTTP/1.0 of every request; others mean it."""
        environ = {**ENVIRON, "SERVER_PROTOCOL": "HTTP/1.0"}
        self.assertEqual(request_of(dict(environ)).http_version, "1.0")
        self.assertEqual(request_of({**environ, "eventlet.input": object()}).http_version, "1.1")

    def test_several_processes(self) -> None:
        """A server that says that it has several processes is believed, except wsgiref and its heirs, who always do."""
        for environ, told in (
            ({"wsgi.multiprocess": True, "SERVER_SOFTWARE": "gunicorn/23.0.0"}, True),
            ({"wsgi.multiprocess": True}, True),
            ({"wsgi.multiprocess": False}, False),
            ({}, False),
            ({"wsgi.multiprocess": True, "SERVER_SOFTWARE": "WSGIServer/0.2 CPython/3.11"}, False),
        ):
            with self.subTest(environ), mock.patch.object(worker, "_is_worker", False):
                request_of({**ENVIRON, **environ})
                self.assertIs(worker.in_worker(), told)

    def test_no_environ(self) -> None:
        """What is no environ is a TypeError, a Host that is none a ValueError, which is answered with 400."""
        for wrong in (None, {}, [("REQUEST_METHOD", "GET")]):
            with self.subTest(wrong), self.assertRaises(TypeError):
                request_of(wrong)  # type: ignore[arg-type]
        wrong_host = {**ENVIRON, "HTTP_HOST": "a/b"}
        with self.assertRaises(ValueError):
            request_of(wrong_host)
        with self.assertLogs("syncws.server", logging.INFO):
            self.assertEqual(syncws.Upgrader().serve(wrong_host, print).status, 400)

    def test_no_body_to_read(self) -> None:
        """The body of a request that came by WSGI is wsgi.input's."""
        self.assertEqual(request_of(dict(ENVIRON)).body(), b"")

    def request(self, **more: Any) -> syncws.Request:
        return request_of({"REQUEST_METHOD": "GET", **more})

    def test_paths(self) -> None:
        """What the server has decoded is quoted again, except for what a path may hold as it is."""
        rows = [
            ("", "", "/"),
            ("/app", "", "/app"),
            ("", "/", "/"),
            ("/a b", "/100%", "/a%20b/100%25"),
            ("", "/who?/what#/", "/who%3F/what%23/"),
            ("", "/-._~:@!$&'()*+,;=/", "/-._~:@!$&'()*+,;=/"),
            ("", "/\xc3\xbc", "/%C3%BC"),
            ("", "//twice", "//twice"),
        ]
        for script, path, target in rows:
            with self.subTest(target):
                request = self.request(SCRIPT_NAME=script, PATH_INFO=path, QUERY_STRING="q=%3F")
                self.assertEqual(request.target, f"{target}?q=%3F")
                expected = (script + path or "/").encode("latin-1").decode()
                self.assertEqual((request.path, request.query), (expected, {"q": "?"}))

    def test_without_a_query(self) -> None:
        """Without a query there is no question mark; without anything there is a root."""
        self.assertEqual(self.request(PATH_INFO="/a", QUERY_STRING="").target, "/a")
        self.assertEqual(self.request().target, "/")
        self.assertEqual(self.request().http_version, "1.1")

    def test_joined_headers(self) -> None:
        """Headers that the server has joined are taken apart where they are lists."""
        request = self.request(
            HTTP_CONNECTION="keep-alive, Upgrade", HTTP_SEC_WEBSOCKET_PROTOCOL="a,b, c", HTTP_X_FORWARDED_FOR="1,2"
        )
        self.assertEqual(syncws.subprotocols(request), ["a", "b", "c"])
        self.assertEqual(request.headers["X-Forwarded-For"], "1,2")

    def test_content(self) -> None:
        """The two headers that an environ has under names of their own are there, if they say anything."""
        request = self.request(CONTENT_TYPE="text/plain", CONTENT_LENGTH="5")
        self.assertEqual(dict(request.headers), {"Content-Type": "text/plain", "Content-Length": "5"})
        self.assertEqual(dict(self.request(CONTENT_TYPE="", CONTENT_LENGTH="").headers), {})

    def test_the_environ_that_was_last(self) -> None:
        """A request knows the environ that it was asked for last, such as one that a middleware has added to."""
        environ = {"REQUEST_METHOD": "GET"}
        request = request_of(environ)
        request_of({**environ, "app.user": "ann"})
        assert request.environ is not None
        self.assertEqual(request.environ["app.user"], "ann")


class WithoutServerTests(unittest.TestCase):
    """What a detached connection keeps of an environ."""

    def test_what_is_left_out(self) -> None:
        """The streams of WSGI, the request, and what the server has under keys of its own."""
        left_out = ["wsgi.input", "wsgi.errors", "wsgi.file_wrapper", "syncws.request", "x.socket", "y.z"]
        kept = ["PATH_INFO", "HTTP_HOST", "wsgi.url_scheme", "app.user"]
        environ = dict.fromkeys([*left_out, *kept], "")
        self.assertEqual(list(without_server(environ, ("x.", "y."))), kept)
        self.assertEqual(without_server(None, ()), {})


if __name__ == "__main__":
    unittest.main()
