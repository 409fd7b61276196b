"""The server: upgrading requests, serving them, a thread for each connection, processes if asked for.

Floor 5: imports the folders of floors 0 to 4.

* `refusal`: a handshake that is refused: what is said to whom.
* `checks`: whether a request is a handshake.
* `upgrader`: `Upgrader`: from a request, or an environ, to a connection.
* `views`: what the decorators of WebSocket views share, whatever the framework.
* `meeting`: the directory in which the workers of a server meet.
* `cores`: which cores a process may use, and which are chosen.
* `workers`: processes that are forked, watched and ended.
* `signals`: SIGTERM and SIGINT, noted for the loop of a server.
* `wsgi_input`: what a WSGI application reads of a request.
* `wsgi_answer`: what it answers.
* `gateway`: one call of a WSGI application (PEP 3333).
* `options`: what can be set on a `Server`.
* `capacity`: how many connections there may be, of one address, and before their first request.
* `retreat`: who is told to go, and when, while the server drains.
* `stats`: what a server counts, as it is handed out.
* `roster`: who is connected, and whether the server is closing.
* `health`: the health checks that a server answers by itself.
* `kept`: threads that are kept on one core, and what they start, which is not.
* `crowd`: whether others use that core.
* `judge`: whether keeping them pays.
* `pinning`: what a server keeps on a core while it accepts.
* `connection`: one connection, in its own thread.
* `acceptor`: the accept loop.
* `server`: `Server` and `serve`. Begin here.
"""
