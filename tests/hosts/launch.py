"""The program that becomes a server.

python -m tests.hosts.launch PATH NAME PORT [CERTIFICATE KEY]: one of those below, with the application.
python -m tests.hosts.launch exec COMMAND ...: another program, such as gunicorn.

It ends with the process that started it (Linux), and takes SIGINT as a program does that was started from a terminal.
"""

from __future__ import annotations

import os
import signal
import sys
from typing import Any

HOST = "127.0.0.1"

#: Threads of the servers that have a pool.
THREADS = 4


def main() -> None:
    end_with_parent()
    signal.signal(signal.SIGINT, signal.default_int_handler)
    if sys.argv[1] == "exec":
        os.execv(sys.argv[2], sys.argv[2:])
    name, port, *certificate = sys.argv[1:]
    patch(name)
    import logging

    logging.basicConfig(level=logging.INFO, stream=sys.stderr)
    try:
        SERVERS[name](int(port), certificate)
    except KeyboardInterrupt:
        pass


def end_with_parent() -> None:
    if sys.platform == "linux":
        import ctypes

        ctypes.CDLL(None).prctl(1, signal.SIGKILL)  # PR_SET_PDEATHSIG; it survives exec


def patch(name: str) -> None:
    """Patch before anything else is imported, as gevent and eventlet demand."""
    if name == "gevent":
        import gevent.monkey

        gevent.monkey.patch_all()
    if name == "eventlet":
        import eventlet

        eventlet.monkey_patch()


def application() -> Any:
    from .app import app

    return app


def run_werkzeug(port: int, certificate: list[str], *, threaded: bool = True) -> None:
    from werkzeug.serving import run_simple

    tls = (certificate[0], certificate[1]) if certificate else None
    run_simple(HOST, port, application(), threaded=threaded, ssl_context=tls)


def run_werkzeug_single(port: int, certificate: list[str]) -> None:
    run_werkzeug(port, certificate, threaded=False)


def run_wsgiref(port: int, _certificate: list[str]) -> None:
    import socketserver
    import wsgiref.simple_server

    class Threaded(socketserver.ThreadingMixIn, wsgiref.simple_server.WSGIServer):
        daemon_threads = True

    wsgiref.simple_server.make_server(HOST, port, application(), server_class=Threaded).serve_forever()


def run_wsgiref_single(port: int, _certificate: list[str]) -> None:
    import wsgiref.simple_server

    wsgiref.simple_server.make_server(HOST, port, application()).serve_forever()


def run_cheroot(port: int, certificate: list[str]) -> None:
    import cheroot.ssl.builtin
    import cheroot.wsgi

    server = cheroot.wsgi.Server((HOST, port), application(), numthreads=THREADS)
    if certificate:
        server.ssl_adapter = cheroot.ssl.builtin.BuiltinSSLAdapter(*certificate)
    server.error_log = lambda message="", level=20, traceback=False: say_error(message, traceback)
    try:
        server.start()
    finally:
        server.stop()


def say_error(message: str, traceback: bool) -> None:
    """cheroot writes its errors to standard error; through logging they are flushed at once."""
    import logging

    logging.getLogger("cheroot").error(message, exc_info=traceback)


def run_waitress(port: int, _certificate: list[str], **options: int) -> None:
    import waitress

    waitress.serve(application(), host=HOST, port=port, threads=THREADS, **options)


def run_waitress_ahead(port: int, certificate: list[str]) -> None:
    run_waitress(port, certificate, channel_request_lookahead=5)


def run_gevent(port: int, certificate: list[str]) -> None:
    from gevent.pywsgi import WSGIServer

    keywords = {"certfile": certificate[0], "keyfile": certificate[1]} if certificate else {}
    WSGIServer((HOST, port), application(), **keywords).serve_forever()


def run_eventlet(port: int, _certificate: list[str]) -> None:
    import eventlet
    import eventlet.wsgi

    eventlet.wsgi.server(eventlet.listen((HOST, port)), application())


def run_rocket3(port: int, certificate: list[str]) -> None:
    import rocket3

    tls = (certificate[1], certificate[0]) if certificate else ()
    app_info = {"wsgi_app": application()}
    rocket3.Rocket3((HOST, port, *tls), "wsgi", app_info, min_threads=THREADS, max_threads=THREADS).start()


def run_own(port: int, certificate: list[str]) -> None:
    import ssl

    import syncws

    context = None
    if certificate:
        context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
        context.load_cert_chain(*certificate)
    syncws.Server(wsgi_app=application(), host=HOST, port=port, ssl_context=context).serve_forever()


def run_own_workers(port: int, _certificate: list[str]) -> None:
    import syncws

    syncws.Server(wsgi_app=application(), host=HOST, port=port, workers=4).serve_forever()


SERVERS = {
    "werkzeug": run_werkzeug,
    "werkzeug-single": run_werkzeug_single,
    "wsgiref": run_wsgiref,
    "wsgiref-single": run_wsgiref_single,
    "cheroot": run_cheroot,
    "waitress": run_waitress,
    "waitress-ahead": run_waitress_ahead,
    "gevent": run_gevent,
    "eventlet": run_eventlet,
    "rocket3": run_rocket3,
    "own": run_own,
    "own-workers": run_own_workers,
}

if __name__ == "__main__":
    main()
