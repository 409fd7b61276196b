"""What an application is: its framework, under whatever middlewares, and what its program has made."""

from __future__ import annotations

import unittest
from typing import Any

import syncws
from syncws._cli.doctor import frameworks
from tests.partners import need

try:
    import flask
    from werkzeug.middleware.proxy_fix import ProxyFix
except ImportError:
    flask = None  # type: ignore[assignment]


def plain(environ: dict[str, Any], start_response: Any) -> list[bytes]:
    return []


class Middleware:
    def __init__(self, app: Any) -> None:
        self.app = app

    def __call__(self, environ: dict[str, Any], start_response: Any) -> Any:
        return self.app(environ, start_response)


class FrameworkTests(unittest.TestCase):
    def test_by_class(self) -> None:
        """The class and its package tell, also of a subclass; a class of the same name elsewhere does not."""
        for package, name, written in frameworks._FRAMEWORKS:
            kind = type(name, (), {"__module__": f"{package}.app"})
            self.assertEqual(frameworks.framework_of(type("Own", (kind,), {})()), written)
            self.assertIsNone(frameworks.framework_of(type(name, (), {"__module__": "other"})()))

    def test_plain(self) -> None:
        """A function is plain WSGI, and one that wraps itself is looked at once."""
        self.assertIsNone(frameworks.find_framework(plain))
        circle = Middleware(plain)
        circle.app = circle
        self.assertIsNone(frameworks.find_framework(circle))
        self.assertIsNone(frameworks.find_framework(Middleware(None)))

    def test_flask(self) -> None:
        """Flask's WebSocket rules; middlewares around and inside of it are seen through."""
        need(flask is not None, "Flask (PyPI) is not installed")
        from syncws.flask import Sock

        app = flask.Flask("x")

        def echo(conn: syncws.Conn) -> None:
            pass

        Sock(app).route("/echo")(echo)
        self.assertEqual(frameworks.find_framework(Middleware(app)), ("Flask", app))
        self.assertEqual(frameworks.websocket_rules(app), ["/echo"])
        self.assertFalse(frameworks.is_behind_proxy_fix(app))
        app.wsgi_app = ProxyFix(app.wsgi_app)  # type: ignore[method-assign]
        self.assertTrue(frameworks.is_behind_proxy_fix(app))

    def test_objects(self) -> None:
        """Every Upgrader and Manager of the program is found."""
        upgrader, manager = syncws.Upgrader(), syncws.Manager()
        self.assertTrue(any(each is upgrader for each in frameworks.upgraders()))
        self.assertTrue(any(each is manager for each in frameworks.managers()))
        self.assertEqual(frameworks.websocket_rules(plain), [])

    def test_versions(self) -> None:
        """Of what is installed, and None of what is not."""
        self.assertIsNotNone(frameworks.version_of("h11"))
        self.assertIsNone(frameworks.version_of("no-such-distribution-at-all"))


if __name__ == "__main__":
    unittest.main()
