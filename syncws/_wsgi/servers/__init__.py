"""The WSGI servers that are known: a file for each holds all that the package knows of it.

Floor 4: part of `_wsgi`, whose `taken` and `inside` it imports.

Each file has `find(environ)`, which gives a `Taken`, or None if the request is not of its server. It looks, and changes
nothing. docs/add-a-server.md says how another one is added. wsgiref, Django's runserver and gevent.pywsgi need no file:
`by_stream` finds their sockets, and there is nothing else to know of them.

* `by_stream`: any server whose wsgi.input reads from the socket. Begin here.
* `werkzeug`: it names its socket in the environ.
* `waitress`: its channel, which must not read ahead.
* `eventlet`: it says HTTP/1.0 of every request, and is told when a response is none of its concern.
* `cheroot`: its pool of threads, and when it stops.
* `rocket3`: its pool of threads, and that it logs what it cannot write.
* `uwsgi`: a descriptor, and a router that may be in the way.
* `gunicorn`: its workers, why they end, and what its parser has read.
* `refused`: those whose sockets cannot be had.
"""
