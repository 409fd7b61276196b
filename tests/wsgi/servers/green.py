"""Servers of greenlets, in processes of their own, since patching one changes all of it."""

from __future__ import annotations

import json
import subprocess
import sys
from typing import TYPE_CHECKING, Any, ClassVar

from syncws.testing import LeakChecks
from tests.wsgi.servers.cases import EARLY
from tests.wsgi.serving import HANDSHAKE

GREEN = """
import sys
patched = sys.argv[2] == "patched"
if sys.argv[1] == "gevent":
    from gevent import monkey
    if patched:
        monkey.patch_all()
    import gevent, gevent.pywsgi, gevent.socket
else:
    import warnings
    warnings.simplefilter("ignore")
    import eventlet, eventlet.wsgi
    if patched:
        eventlet.monkey_patch()
import json
from syncws._wsgi.takers import find, http_version
EARLY, HANDSHAKE = eval(sys.stdin.read())
told = []

def app(environ, start_response):
    if sys.argv[1] == "eventlet":
        environ = {**environ, "wsgi.input": None}  # as behind a middleware with a stream that is not known
    taken = find(environ)
    if sys.argv[1] == "eventlet":
        before = getattr(eventlet.wsgi.WSGI_LOCAL, "already_handled", None)
    told.append({
        "server": taken.server, "class": type(taken.sock).__module__, "fd": taken.fd == taken.sock.fileno(),
        "early": repr(taken.read_early()), "again": repr(taken.read_early()), "swallow": taken.swallow,
        "detachable": taken.detachable, "pool": taken.pool, "green": taken.is_green, "version": http_version(environ),
    })
    if sys.argv[1] == "eventlet":
        assert eventlet.wsgi.WSGI_LOCAL.already_handled is before
        taken.on_taken()
        assert eventlet.wsgi.WSGI_LOCAL.already_handled is True
        eventlet.wsgi.WSGI_LOCAL.already_handled = False
    start_response("200 OK", [("Content-Type", "text/plain"), ("Content-Length", "2")])
    return [b"ok"]

def ask(connect, port, data):
    with connect(("127.0.0.1", port)) as client:
        client.sendall(data)
        assert client.recv(100).startswith(b"HTTP/1.1 200"), "no answer"

if sys.argv[1] == "gevent":
    server = gevent.pywsgi.WSGIServer(("127.0.0.1", 0), app, log=None)
    server.start()
    for early in (EARLY, b""):
        ask(gevent.socket.create_connection, server.server_port, HANDSHAKE + early)
    server.stop()
else:
    from eventlet.green import socket
    listener = eventlet.listen(("127.0.0.1", 0))
    eventlet.spawn(eventlet.wsgi.server, listener, app, log_output=False, debug=False)
    for early in (EARLY, b""):
        ask(socket.create_connection, listener.getsockname()[1], HANDSHAKE + early)
print(json.dumps(told))
"""


class GreenRules(LeakChecks if TYPE_CHECKING else object):  # type: ignore[misc]
    """A library's own server, in a process that is patched and in one that is not."""

    library: ClassVar[str]
    swallow: ClassVar[bool]

    def look(self, patched: str) -> list[dict[str, Any]]:
        """What is found of a handshake with an early frame, and of one without."""
        done = subprocess.run(
            [sys.executable, "-c", GREEN, self.library, patched],
            input=repr((EARLY, HANDSHAKE)),
            capture_output=True,
            text=True,
            timeout=120,
        )
        self.assertEqual(done.returncode, 0, done.stderr)
        told: list[dict[str, Any]] = json.loads(done.stdout)
        return told

    def test_its_requests(self) -> None:
        """Its socket is found, and its buffer; the version of HTTP is the client's."""
        for patched in ("patched", "not patched"):
            with self.subTest(patched):
                with_early, without = self.look(patched)
                self.assertEqual(with_early["early"], repr(EARLY))
                self.assertEqual((with_early["again"], without["early"]), ("b''", "b''"))
                for each in (with_early, without):
                    self.assertIn(self.library, each["server"])
                    self.assertTrue(each["class"].startswith(self.library), each["class"])
                    self.assertEqual((each["fd"], each["detachable"], each["pool"]), (True, True, None))
                    self.assertEqual((each["green"], each["version"]), (True, "1.1"))
                    self.assertEqual(each["swallow"], self.swallow)
